"""VNN-LIB is read exactly: against direct evaluation, the `vnnlib` package and the data folder.

The oracle for a text is an evaluator of its nested expressions at one point, in Fractions, which
knows nothing of cases or boxes. Files of version 1.0 are also respelt in version 2.0, which the
`vnnlib` package reads.
"""

from __future__ import annotations

import gzip
import random
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plverify.errors import InputError
from plverify.io.vnnlib import MAX_DEPTH, parse_vnnlib, read_vnnlib
from plverify.io.vnnlib_terms import MAX_DIGITS

DATA = Path(__file__).parents[2] / "shared" / "data" / "vnncomp"
FOLDERS = sorted(p.parent.name for p in DATA.glob("*/vnnlib")) or ["absent"]

HEAD_1 = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
HEAD_2 = (
    "(vnnlib-version <2.0>)\n(declare-network net\n  (declare-input X real [1,2])\n"
    "  (declare-output Y real [1]))\n"
)


def files(folder):
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent")
    return sorted((DATA / folder / "vnnlib").rglob("*.vnnlib.gz"))


def two(body):
    """The respelling of a 1.0 file in version 2.0."""
    flat = re.sub(r";.*", "", body)
    names = {m: max(map(int, re.findall(rf"{m}_(\d+)", flat)), default=0) + 1 for m in "XY"}
    flat = re.sub(r"\(declare-const .*?\)", "", flat)
    flat = re.sub(r"([XY])_(\d+)", r"\1[\2]", flat)
    flat = re.sub(r"(?<=[\s(])(-?\d+)(?=[\s)])", r"\1.0", flat)
    return (
        "(vnnlib-version <2.0>)\n(declare-network net\n"
        f"  (declare-input X real [{names['X']}])\n"
        f"  (declare-output Y real [{names['Y']}]))\n{flat}"
    )


def attempt(text):
    """``(property, "")`` or ``(None, message)``."""
    try:
        return parse_vnnlib(text, "t"), ""
    except InputError as error:
        return None, str(error)


# ------------------------------------------------------------------- oracles

OPERATORS = {
    "+": lambda *v: sum(v, Fraction(0)),
    "-": lambda a, *v: a - sum(v, Fraction(0)) if v else -a,
    "*": lambda a, *v: a * OPERATORS["*"](*v) if v else a,
    "/": lambda a, *v: a / OPERATORS["*"](*v),
    "and": lambda *v: all(v),
    "or": lambda *v: any(v),
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def nested(text):
    """The assertions of a 1.0 text as nested lists."""
    stack = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)):
        if token == "(":
            stack.append([])
        elif token == ")":
            last = stack.pop()
            stack[-1].append(last)
        else:
            number = re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", token)
            stack[-1].append(Fraction(token) if number else token)
    return [entry[1] for entry in stack[0] if entry[0] == "assert"]


def evaluate(node, x, y):
    if isinstance(node, list):
        return OPERATORS[node[0]](*(evaluate(v, x, y) for v in node[1:]))
    if isinstance(node, Fraction):
        return node
    if node in ("true", "false"):
        return node == "true"
    return (x if node[0] == "X" else y)[int(node[2:])]


def evaluate_theirs(vnnlib, node, values):
    """The value of a node of the `vnnlib` package's tree, from its literals' text."""
    if isinstance(node, vnnlib.Var):
        return values[node.name, tuple(node.indices)]
    if isinstance(node, vnnlib.Literal):
        return Fraction(node.lexeme)
    names = {
        "Negate": "-",
        "Plus": "+",
        "Minus": "-",
        "Multiply": "*",
        "And": "and",
        "Or": "or",
        "LessEqual": "<=",
        "GreaterEqual": ">=",
        "LessThan": "<",
        "GreaterThan": ">",
        "Equal": "==",
        "NotEqual": "!=",
    }
    parts = (evaluate_theirs(vnnlib, child, values) for child in node.children())
    return OPERATORS[names[type(node).__name__]](*parts)


def points(spec, rng, count):
    """Points at, in and just outside the boxes, outputs at thresholds or anywhere."""
    for _ in range(count):
        d = rng.choice(spec.disjuncts)
        x = [rng.choice([a, b, (a + b) / 2]) for a, b in zip(d.box.lo, d.box.hi, strict=True)]
        if rng.random() < 0.3:
            i = rng.randrange(len(x))
            x[i] += rng.choice([-1, 1]) * Fraction(1, 10**20)
        levels = [c.bound * v for c in d.constraints for _, v in c.outputs]
        step = Fraction(rng.choice([-1, 0, 1]), 10**20)
        level = rng.choice([*levels, Fraction(0)])
        # Mostly ties: that is where `<` and `<=` differ.
        y = [level + step * rng.randrange(2) for _ in range(spec.n_outputs)]
        if rng.random() < 0.3:
            y = [Fraction(rng.randrange(-9, 9), 7) for _ in y]
        yield x, y


# --------------------------------------------------------------- competition


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_read_and_agrees_with_direct_evaluation(folder):
    rng = random.Random(folder)
    found = files(folder)
    chosen = set(rng.sample(found, min(4, len(found))))
    for path in found:
        spec = read_vnnlib(str(path))
        assert spec.disjuncts
        assert all(d.box.bounded for d in spec.disjuncts)
        if path not in chosen:
            continue
        tree = nested(gzip.decompress(path.read_bytes()).decode())
        for x, y in points(spec, rng, 6):
            assert spec.contains(x, y) == all(evaluate(node, x, y) for node in tree)


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_respelt_in_version_2_agree_with_the_vnnlib_package(folder):
    vnnlib = pytest.importorskip("vnnlib")
    rng = random.Random(folder)
    found = files(folder)
    for path in rng.sample(found, min(2, len(found))):
        text = gzip.decompress(path.read_bytes()).decode()
        spec, again = read_vnnlib(str(path)), parse_vnnlib(two(text))
        assert spec == again
        theirs = [a.expr for a in vnnlib.parse_query_string(two(text)).assertions]
        for x, y in points(spec, rng, 4):
            values = {("X", (i,)): v for i, v in enumerate(x)}
            values |= {("Y", (j,)): v for j, v in enumerate(y)}
            expected = all(evaluate_theirs(vnnlib, node, values) for node in theirs)
            assert again.contains(x, y) == expected


def test_several_boxes_are_kept_apart_and_shared_by_neighbours():
    [path] = [p for p in files("nn4sys") if p.name == "lindex_600.vnnlib.gz"]
    spec = read_vnnlib(str(path))
    assert len(spec.disjuncts) == 1200
    assert len(spec.groups) == 600
    assert spec.disjuncts[0].box is spec.disjuncts[1].box
    start = time.perf_counter()
    read_vnnlib(str(path))
    assert time.perf_counter() - start < 5  # 0.1 s on an idle machine


# -------------------------------------------------------------- generated

ATOMS = st.sampled_from(["X_0", "X_1", "Y_0", "0", "-1", "1", "2", "0.5", "-1.5", "1e0", "5e-1"])
NUMBERS = st.sampled_from(["0", "-1", "1", "2", "0.5", "-1.5", "25e-2"])


def call(names, parts):
    return st.builds(lambda op, v: f"({op} {' '.join(v)})", st.sampled_from(names), parts)


def scaled(inner):
    return st.one_of(
        st.builds("(* {} {})".format, NUMBERS, inner),
        st.builds("(* {} {} 2)".format, inner, NUMBERS),
        st.builds("(/ {} {})".format, inner, st.sampled_from(["3", "-2", "0.5"])),
    )


TERMS = st.recursive(
    ATOMS,
    lambda inner: call(["+", "-"], st.lists(inner, min_size=1, max_size=3)) | scaled(inner),
    max_leaves=4,
)
COMPARISONS = st.builds(
    "({} {} {})".format,
    st.sampled_from(["<=", ">=", "<", ">", "=", "==", "!="]),
    st.one_of(ATOMS, TERMS),
    st.one_of(ATOMS, TERMS),
)
FORMULAS = st.recursive(
    COMPARISONS | st.sampled_from(["true", "false"]),
    lambda inner: call(["and", "or"], st.lists(inner, min_size=1, max_size=3)),
    max_leaves=8,
)
VALUES = st.sampled_from([Fraction(v, 2) for v in range(-4, 5)])


@settings(max_examples=400, deadline=None)
@given(st.lists(FORMULAS, min_size=1, max_size=4), st.data())
def test_cases_agree_with_direct_evaluation(formulas, data):
    text = HEAD_1 + "\n".join(f"(assert {f})" for f in formulas)
    tree = nested(text)
    spec, message = attempt(text)
    assert spec is not None or "no input is left" in message
    for _ in range(12):
        x = [data.draw(VALUES), data.draw(VALUES)]
        y = [data.draw(VALUES)]
        expected = all(evaluate(node, x, y) for node in tree)
        assert (spec is not None and spec.contains(x, y)) == expected
    if spec is not None:
        assert parse_vnnlib(spec.to_vnnlib()) == spec


@settings(max_examples=150, deadline=None)
@given(st.lists(FORMULAS, min_size=1, max_size=3), st.data())
def test_version_2_agrees_with_the_vnnlib_package(formulas, data):
    vnnlib = pytest.importorskip("vnnlib")
    body = "\n".join(f"(assert {f})" for f in formulas)
    body = body.replace("X_0", "X[0,0]").replace("X_1", "X [0, 1]").replace("Y_0", "Y[0]")
    body = body.replace("25e-2", "0.25").replace("5e-1", "0.5").replace("1e0", "1.0")
    body = re.sub(r"(?<=[\s(])(-?\d+)(?=[\s)])", r"\1.0", body)
    text = HEAD_2 + body
    try:
        query = vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException:
        return  # `=`, `/`, `true`: more than the grammar has
    spec, message = attempt(text)
    assert spec is not None or "no input is left" in message
    for _ in range(8):
        x = [data.draw(VALUES), data.draw(VALUES)]
        y = [data.draw(VALUES)]
        values = {("X", (0, 0)): x[0], ("X", (0, 1)): x[1], ("Y", (0,)): y[0]}
        expected = all(evaluate_theirs(vnnlib, a.expr, values) for a in query.assertions)
        assert (spec is not None and spec.contains(x, y)) == expected


# ------------------------------------------------------------------- decisions


def test_decimals_stay_rationals():
    spec = parse_vnnlib(HEAD_1 + "(assert (<= X_0 0.1)) (assert (>= Y_0 (/ 1 3)))")
    assert spec.disjuncts[0].box.hi[0] == Fraction(1, 10)
    assert spec.contains([0, 0], [Fraction(1, 3)])
    assert not spec.contains([0, 0], [1 / 3])
    assert not spec.contains([0.1, 0], [1])
    long = "0." + "1234567890" * 100
    spec = parse_vnnlib(HEAD_1 + f"(assert (<= X_0 {long}))")
    assert spec.disjuncts[0].box.hi[0] == Fraction(long)


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [("<=", 1, 1, 0), ("<", 1, 0, 0), (">=", 0, 1, 1), (">", 0, 0, 1), ("=", 0, 1, 0)],
)
@pytest.mark.parametrize("form", ["({} Y_0 0.1)", "({} (- Y_0 X_0) 0.1)", "({} (* 2 X_1) 0.2)"])
def test_strict_is_not_weak(operator, below, at, above, form):
    spec = parse_vnnlib(HEAD_1 + f"(assert {form.format(operator)})")
    tiny = Fraction(1, 10**30)
    for shift, expected in ((-tiny, below), (0, at), (tiny, above)):
        value = Fraction(1, 10) + shift
        assert spec.contains([0, value], [value]) == bool(expected)


def test_point_intervals_and_unbounded_inputs():
    spec = parse_vnnlib(HEAD_1 + "(assert (>= X_0 0.1))(assert (<= X_0 0.1))(assert (<= Y_0 0))")
    assert spec.disjuncts[0].box.lo == (Fraction(1, 10), float("-inf"))
    assert spec.disjuncts[0].box.hi == (Fraction(1, 10), float("inf"))
    assert spec.contains([Fraction(1, 10), 10**9], [0])
    assert parse_vnnlib(HEAD_1 + "(assert (= X_0 0.1))(assert (<= Y_0 0))") == spec


def test_a_strict_bound_keeps_the_box_closed():
    spec = parse_vnnlib(HEAD_1 + "(assert (< X_0 1)) (assert (<= X_0 2)) (assert (> X_0 -1))")
    [d] = spec.disjuncts
    assert (d.box.lo[0], d.box.hi[0], len(d.constraints)) == (-1, 1, 2)
    assert not spec.contains([1, 0], [0])
    spec = parse_vnnlib(HEAD_1 + "(assert (< X_0 1)) (assert (<= X_0 0.5))")
    assert spec.disjuncts[0].constraints == ()


def test_cases_without_inputs_are_dropped_but_not_all():
    either = "(assert (or (and (<= X_0 0) (>= X_0 1)) (<= Y_0 {})))"
    assert len(parse_vnnlib(HEAD_1 + either.format(3)).disjuncts) == 1
    assert parse_vnnlib(HEAD_1 + "(assert false)").disjuncts == ()
    with pytest.raises(InputError, match=r"a:5:9: no input is left: input 0 .* 2 .* 1"):
        parse_vnnlib(HEAD_1 + "(assert (<= X_0 1))\n(assert (>= X_0 2))", "a")
    with pytest.raises(InputError, match=r"a:4:29: no input is left"):
        parse_vnnlib(HEAD_1 + "(assert (or (and (<= X_0 1) (>= X_0 2)) (< X_1 X_1)))", "a")
    with pytest.raises(InputError, match=r"one of them strict"):
        parse_vnnlib(HEAD_1 + "(assert (< X_0 1)) (assert (>= X_0 1))")


def test_tensors_are_flattened_row_by_row_and_joined_in_order():
    spec = parse_vnnlib(
        "; comment\n(vnnlib-version <2.0>)\n(declare-network n (declare-input A real [2, 3])\n"
        "(declare-input B float32 []) (declare-output C Real [1,2] ))\n"
        "(assert (<= A[1,0] 1.0)) (assert (>= B -2)) (assert (> C [0, 1] C[0,0]))"
    )
    assert (spec.n_inputs, spec.n_outputs) == (7, 2)
    [d] = spec.disjuncts
    assert (d.box.hi[3], d.box.lo[6]) == (1, -2)
    assert d.constraints[0].describe() == "y_0 < y_1"


def test_other_spellings_of_version_1():
    plain = parse_vnnlib("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 -1))")
    other = parse_vnnlib(
        "(set-logic QF_LRA)\r\n(declare-fun Y_0 () Real)\r\n(declare-fun X_0 () Real) ; é\r\n"
        "(assert (>= (- 1) X_0))\r\n(check-sat)"
    )
    assert plain == other


def test_plain_and_gzipped_files_with_a_byte_order_mark(tmp_path):
    text = (HEAD_1 + "(assert (<= X_0 1))").encode()
    (tmp_path / "a.vnnlib").write_bytes(b"\xef\xbb\xbf" + text)
    (tmp_path / "b.vnnlib.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.vnnlib").write_bytes(gzip.compress(text))
    specs = [read_vnnlib(str(path)) for path in sorted(tmp_path.iterdir())]
    assert specs[0] == specs[1] == specs[2] == parse_vnnlib(text.decode())


# ---------------------------------------------------------------- bad input

BAD_1 = [
    ("(assert (<= X_0 1)", "2:1: this '(' is not closed"),
    ("(assert (<= X_0 1)))", "2:20: ')' outside parentheses"),
    ("(assert (<= X_2 1))", "2:13: 'X_2' is not declared"),
    ("(assert (<= X_0 nan))", "'nan' is not declared"),
    ("(assert (<= X_0 1.2.3))", "2:17: '1.2.3' is not a number"),
    ("(assert (<= X_0 0x10))", "'0x10' is not a number"),
    ("(assert (<= X_0 .))", "'.' is not a number"),
    ("(assert (<= X_0 1e999999999))", "exponent beyond"),
    ("(assert (<= X_0 1e9999999999999999))", "is not a number"),
    ("(assert (<= X_0 ٣))", "is not declared"),
    ("(assert (<= X_0 1²))", "is not a number"),
    ("(assert (<= X_0 1 2))", "2:9: <= has 3 operands, expected 2"),
    ("(assert (<= X_0))", "<= has 1 operands"),
    ("(assert X_0)", "'X_0' is not a formula"),
    ("(assert (+ X_0 1))", "a number where a formula is expected"),
    ("(assert (<= (and true) 1))", "2:9: a formula where a number is expected"),
    ("(assert (and))", "2:9: and without operands"),
    ("(assert (<= (+) 1))", r"+ without operands"),
    ("(assert ())", "2:9: an empty expression"),
    ("()", "2:1: an empty expression"),
    ("(assert)", "assert has 0 operands"),
    ("(assert true true)", "assert has 2 operands"),
    ("(assert (not (<= X_0 1)))", "'not' is not part of VNN-LIB"),
    ("(assert (frob X_0 1))", "2:10: 'frob' is no operator"),
    ("(assert ((<=) X_0 1))", "<= has 0 operands"),
    ("(assert ((+ 1 1) X_0 1))", "does not start with an operator"),
    ("(frob)", "2:2: 'frob' is no command"),
    ("(<= X_0 1)", "'<=' is no command"),
    ("(assert (assert true))", "assert inside another expression"),
    ("(assert (<= (* X_0 Y_0) 1))", "2:13: a product of variables"),
    ("(assert (<= (/ 1 X_0) 1))", "a division by a variable"),
    ("(assert (<= (/ X_0 0.0) 1))", "a division by zero"),
    ("(declare-const X_0 Real)", "2:16: X_0 is declared twice"),
    ("(declare-const X_3 Real)", "X_3 is declared, X_2 is not"),
    ("(declare-const X_00 Real)", "'X_00' is not a name like"),
    ("(declare-const X_999999999 Real)", "more than"),
    ("(declare-const Z_0 Real)", "'Z_0' is not a name like"),
    ("(declare-const X_2 Int)", "2:20: 'Int' is not the type Real"),
    ("(declare-const X_2)", "takes a name and a type"),
    ("(declare-fun X_2 (Real) Real)", "is no operator"),
    ("(declare-network n)", "in a file of version 1.0"),
    ("X_0", "'X_0' outside parentheses"),
    ("(assert (<= X_0 [1]))", "2:9: <= has 1 operands"),
    ("(assert (<= [0] 1))", "2:9: an expression does not start"),
    ("(assert ([0] <= 1))", "2:10: '[0]' follows no name"),
    ("(assert (<= X_0 1]))", "2:18: ']' without its counterpart"),
    ('(assert (<= X_0 "1"))', "'\"1\"' is not declared"),
    ('(assert (<= X_0 "1))', "2:17: '\"' without its counterpart"),
    ("(assert (<= X_0 \x00))", "'\\x00' is not declared"),
]


@pytest.mark.parametrize(("body", "message"), BAD_1, ids=[b for b, _ in BAD_1])
def test_malformed_version_1_is_one_line_with_its_place(body, message):
    with pytest.raises(InputError) as caught:
        parse_vnnlib(HEAD_1.replace("\n", " ") + "\n" + body, "f.vnnlib")
    assert re.match(r"f\.vnnlib:\d+:\d+: \S", str(caught.value))
    assert len(str(caught.value)) < 250
    assert message in str(caught.value)


BAD_2 = [
    ("(vnnlib-version <2.0>)", "vnnlib-version after a network"),
    ("(declare-const X_0 Real)", "in a file of version 2.0"),
    (
        "(declare-network m (declare-input A real [1]) (declare-output B real [1]))",
        "second network",
    ),
    ("(declare-network m (equal-to net) (declare-input A real [1]))", "equal-to: a second"),
    ("(declare-network m (isomorphic-to net))", "isomorphic-to: a second"),
    ('(declare-network m (declare-hidden H real [2] "h"))', "hidden values"),
    ("(declare-network m (declare-input A real [5] initialized))", "initial values"),
    ("(declare-network m (declare-input A real))", "a shape such as"),
    ("(declare-network m (declare-input A int8 [1]))", "'int8' is not supported"),
    ("(declare-network m (declare-input A real [0]))", "dimension 0"),
    ("(declare-network m (declare-input A real [-1]))", "not a list of indices"),
    ("(declare-network m (declare-input A real [1 2]))", "not a list of indices"),
    ("(declare-network m (declare-input A real [1,]))", "not a list of indices"),
    ("(declare-network m (declare-input A real [99999999999]))", "second network"),
    ("(declare-network 7)", "'7' is not a name"),
    ("(declare-network)", "takes a name"),
    ("(assert (<= X 1.0))", "2 dimensions, 0 are indexed"),
    ("(assert (<= X[0] 1.0))", "2 dimensions, 1 are indexed"),
    ("(assert (<= X[0,2] 1.0))", "X[0,2] is outside its shape"),
    ("(assert (<= X[0,-1] 1.0))", "not a list of indices"),
    ("(assert (<= X[0,1][0] 1.0))", "5:19: '[0]' follows no name"),
    ("(assert (<= X[0,1 1.0))", "5:14: '[' without its counterpart"),
    ("(assert (<= Z[0] 1.0))", "'Z' is not declared"),
    ("(assert (<= 1.0[0] 1.0))", "'1.0' is not declared"),
]


@pytest.mark.parametrize(("body", "message"), BAD_2, ids=[b for b, _ in BAD_2])
def test_malformed_version_2_is_one_line_with_its_place(body, message):
    with pytest.raises(InputError) as caught:
        parse_vnnlib(HEAD_2 + body, "f")
    assert re.match(r"f:\d+:\d+: ", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("(declare-input A real [1])", "no output"),
        ("(declare-output A real [1])", "no input"),
        ("(declare-input A real [1]) (declare-output A real [1])", "A is declared twice"),
        ("(declare-input A real [99999999]) (declare-output B real [1])", "variables"),
        ("(declare-input A real [9,9999999,9]) (declare-output B real [1])", "variables"),
        (
            '(declare-input A real [] "a") (declare-input B real []) (declare-output C real [])',
            "several inputs by ONNX name",
        ),
        ("(declare-input A real [1]) (<= 1 2) (declare-output B real [1])", "no declaration"),
        ("(declare-input A real [1]) B", "no declaration"),
    ],
)
def test_networks_that_are_not_understood(network, message):
    with pytest.raises(InputError, match=message):
        parse_vnnlib(f"(vnnlib-version <2.0>) (declare-network n {network})")


@pytest.mark.parametrize("version", ["<3.0>", "<1.0>", "two", "<2.0.1>", ""])
def test_other_versions(version):
    with pytest.raises(InputError, match=r"^v:1:\d+: .*version"):
        parse_vnnlib(HEAD_2.replace("<2.0>", version), "v")


@pytest.mark.parametrize("text", ["", "; nothing\n", "(declare-const X_0 Real)", "(assert true)"])
def test_missing_declarations(text):
    with pytest.raises(InputError, match=r"^e:\d+:\d+: the file declares no (in|out)put$"):
        parse_vnnlib(text, "e")


def test_unreadable_files(tmp_path):
    cases = {
        "missing": None,
        "latin": HEAD_1.encode() + b"\n; \xe9",
        "cut.gz": gzip.compress(HEAD_1.encode() * 99)[:-9],
        "bad.gz": b"\x1f\x8b" + bytes(40),
        "bent.gz": gzip.compress(HEAD_1.encode())[:20] + b"\xff" * 40,
    }
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_vnnlib(str(tmp_path / name))
        assert str(caught.value).startswith(f"{tmp_path / name}:")
    with pytest.raises(InputError, match=r"latin:5:3: not UTF-8 text"):
        read_vnnlib(str(tmp_path / "latin"))
    with pytest.raises(InputError):
        read_vnnlib(str(tmp_path))
    with pytest.raises(InputError):
        read_vnnlib("a\0b")


def hostile():
    deep = MAX_DEPTH - 10
    ands = "(assert " + "(and " * deep + "true" + ")" * deep + ")"
    sums = "(assert (<= " + "(+ X_0 (- " * (deep // 2) + "Y_0" + "))" * (deep // 2) + " 1))"
    mixed = "(assert " + "(and true (or false " * (deep // 2) + "true" + "))" * (deep // 2) + ")"
    halves = "(assert (<= " + "(* 0.5 (+ X_0 X_1 " * 4000 + "Y_0" + "))" * 4000 + " 1))"
    either = "(or (<= X_0 0) (<= X_1 0) (<= Y_0 0))"
    big = "9" * MAX_DIGITS
    right = "(assert " + "(and (<= X_0 1) " * deep + "true" + ")" * deep + ")"
    right_or = "(assert " + "(or (<= X_0 1) " * deep + "true" + ")" * deep + ")"
    yield "deep and to the right", right, True
    yield "deep or to the right", right_or, True
    yield (
        "deep and to the left",
        "(assert " + "(and " * deep + "true" + " (<= X_0 1))" * deep + ")",
        True,
    )
    yield "deep and", ands, True
    yield "deep sums", sums, True
    yield "deep and/or", mixed, True
    yield "too deep", "(" * 10**6, False
    yield "too deep, with operators", "(and " * 10**5, False
    yield "product of cases", f"(assert (and {either * 40}))", False
    yield "product of asserted cases", f"(assert {either})" * 40, False
    yield "long number", f"(assert (<= X_0 {'9' * 10**6}))", False
    yield "long word", f"(assert (<= X_0 {'a' * 10**6}))", False
    yield "power", f"(assert (<= (* {big} {big}) X_0))", False
    yield "powers", f"(assert (<= (* {'1e3000 ' * 10**4}) X_0))", False
    yield "lazy powers", halves, True
    yield (
        "sums of fractions",
        (f"(assert (<= (+ {' '.join(f'(/ 1 {n})' for n in range(1, 40000, 2))}) X_0))"),
        False,
    )
    yield "many words", "(assert (+ " + "1 " * 3 * 10**6 + "))", False
    yield "many comparisons", "(assert (and " + "(<= X_0 1)" * 50_000 + "))", True
    yield "many comments", ";\n" * 10**6, True
    yield "brackets", "(assert (<= X_0 " + "[" * 10**5, False
    yield "quotes", "(assert (<= X_0 " + '" ' * 10**5, False
    yield "many cases", "(assert (or " + "(<= X_0 1)" * 50_000 + "))", True
    yield "many numbers", "".join(f"(assert (<= X_0 {n}e-3000))" for n in range(1, 20_000)), True


HOSTILE = list(hostile())


@pytest.mark.parametrize(("name", "body", "fine"), HOSTILE, ids=[h[0] for h in HOSTILE])
def test_hostile_files_cost_bounded_time(name, body, fine):
    start = time.perf_counter()
    spec, message = attempt(HEAD_1 + body)
    assert fine == (spec is not None), message
    assert fine or re.match(r"t:\d+:\d+: \S", message)
    assert len(message) < 250
    assert time.perf_counter() - start < 30


def test_a_decompression_bomb_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("plverify.io.vnnlib.MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.vnnlib.gz"
    path.write_bytes(gzip.compress(bytes(1 << 25)))
    with pytest.raises(InputError, match=r"bomb.vnnlib.gz: longer than 1048576 bytes"):
        read_vnnlib(str(path))
    path.write_bytes(gzip.compress(b" " * (1 << 20)))
    with pytest.raises(InputError, match="declares no input"):
        read_vnnlib(str(path))


VALID = [
    HEAD_1
    + "(assert (>= X_0 -0.5)) ; comment\n(assert (<= X_0 5e-1))\n(assert (or (and (<= X_1 2) "
    "(> Y_0 (* 2 X_0)))\n (!= (+ Y_0 (- X_1)) (/ 1 3)) true))\n",
    HEAD_2 + "(assert (<= X[0,0] 1.0)) (assert (or (> Y[0] 2.5) (<= (- X[0,1] Y [0] 3.0) 0.25)))\n",
]
PIECES = ["(", ")", "[", "]", '"', ";", "\n", " ", ",", "0", "-", "e9", ".", "X_0", "Y[0]", "and"]
PIECES += ["or", "<=", "*", "/", "true", "\x00", "é", "assert", "()", "[0]", "<2.0>", "1e400"]


@pytest.mark.parametrize("seed", range(8))
def test_mutations_are_read_or_refused_in_one_line(seed):
    rng = random.Random(seed)
    outcomes = set()
    for _ in range(500):
        text = rng.choice(VALID)
        for _ in range(rng.randrange(1, 5)):
            i = rng.randrange(len(text) + 1)
            j = min(len(text), i + rng.choice([0, 1, 1, 3, 20]))
            what = rng.random()
            if what < 0.4:
                text = text[:i] + rng.choice(PIECES) + text[j:]
            elif what < 0.7:
                text = text[:i] + text[j:]
            else:
                k = rng.randrange(len(text) + 1)
                text = text[:k] + text[i:j] + text[k:]
        spec, message = attempt(text)
        outcomes.add(spec is not None)
        if spec is None:
            assert re.match(r"t:\d+:\d+: \S", message)
            assert "\n" not in message
        else:
            assert parse_vnnlib(spec.to_vnnlib()) == spec
    assert outcomes == {True, False}


# ---------------------------------------------- the short way through most lines of a file


def slowly(text):
    """The same text, but for comments that keep every command from the short way."""
    return re.sub(r"\((assert|declare-const)\b", r"(\1 ;\n", text)


LINES = (
    HEAD_1
    + "(assert (<= X_0 {})) (assert (>= X_0 -1.5e-1))(assert(<= X_1 +.5))( assert ( >= X_1 0 ) )"
)


@pytest.mark.parametrize(
    "text",
    [
        LINES.format("0.25"),
        LINES.format("-0.25"),  # no input is left
        LINES.format("1e99999"),
        LINES.format("0.2.5"),
        LINES.format("X_1"),
        LINES.format("Y_0"),
        LINES.format("X_7"),
        LINES.format("0.25") + "(assert (<= Y_0 1))(assert (<= X_0 0.125))(assert (< X_1 0.5))",
        LINES.format("0.25") + "(assert (>= X_1 0.5))(assert (< X_1 0.5))",
        HEAD_1 + "(declare-const X_0 Real)",
        HEAD_1 + "(declare-const X_99999999 Real)",
        HEAD_1 + "(declare-const X_3 Real)",
        HEAD_1 + "(declare-const Y_1 Int)",
        HEAD_2 + "(assert (<= X[0,0] 1.0))(assert (<= X[0,0] 0.5))(assert (>= X[0,0] 0.75))",
        HEAD_2 + "(assert (<= X[0,1] 1.0))(assert (<= X[0,1] 0.5))(assert (<= Y[0] 0.75))",
        HEAD_2 + "(declare-const X_0 Real)",
        "(assert (<= X_0 1.0))",
    ],
)
def test_both_ways_agree(text):
    first, one = attempt(text)
    second, two = attempt(slowly(text))
    assert first == second
    # comments move lines and columns
    assert re.sub(r":\d+:\d+:", "", one) == re.sub(r":\d+:\d+:", "", two)


def test_both_ways_name_the_same_place():
    text = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n"
    text += "(assert (<= X_0 0))\n(assert (>= X_0 1))"
    assert attempt(text)[1].startswith("t:4:9: ")
    assert attempt(text.replace("(assert (>=", "(assert ;\n        (>="))[1].startswith("t:5:9: ")


@pytest.mark.parametrize("folder", FOLDERS)
def test_both_ways_agree_on_the_data(folder):
    for path in files(folder)[:2]:
        text = gzip.decompress(path.read_bytes()).decode()
        if len(text) < 100_000:
            assert parse_vnnlib(text) == parse_vnnlib(slowly(text))
