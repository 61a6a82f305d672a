"""`Property`: membership, canonical form, constructors and formats, all exact."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plverify as pv
from plverify.constraint import MAX_BITS, Constraint, Fold
from plverify.domain import Box
from plverify.errors import InputError
from plverify.io.vnnlib import parse_vnnlib
from plverify.io.vnnlib_write import MAX_PLACES, number
from plverify.property import Disjunct, Property

INF = float("inf")
TINY = Fraction(1, 10**40)

# Any rational a file can hold: decimals, dyadics, thirds, wild magnitudes.
RATIONALS = st.one_of(
    st.fractions(max_denominator=12),
    st.integers(-3, 3).map(Fraction),
    st.floats(allow_nan=False, allow_infinity=False).map(Fraction),
    st.builds(lambda n, k: Fraction(n, 10**k), st.integers(-(10**6), 10**6), st.integers(0, 9)),
    st.sampled_from([Fraction(1, 3**700), Fraction(7) ** 500, Fraction(1, 2**1200)]),
)


@st.composite
def properties(draw, numbers=RATIONALS):
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def box():
        lo, hi = [], []
        for _ in range(n):
            a, b = sorted([draw(numbers), draw(numbers)])
            lo.append(draw(st.sampled_from([a, a, -INF])))
            hi.append(draw(st.sampled_from([b, b, INF])) if lo[-1] != a else b)
        return Box(lo, hi)

    boxes = [box() for _ in range(draw(st.integers(1, 2)))]
    disjuncts = []
    for _ in range(draw(st.integers(0, 4))):
        rows = []
        for _ in range(draw(st.integers(0, 3))):
            sides = [
                {i: draw(numbers) for i in draw(st.sets(st.integers(0, k - 1)))} for k in (n, m)
            ]
            row = Constraint.of(sides[0], sides[1], draw(numbers), draw(st.booleans()))
            if isinstance(row, Constraint):
                rows.append(row)
        disjuncts.append(Disjunct(draw(st.sampled_from(boxes)), tuple(rows)))
    return Property(n, m, tuple(disjuncts))


def raw_contains(disjuncts, x, y):
    """Membership before anything is folded."""
    return any(
        all(a <= v <= b for a, v, b in zip(d.box.lo, x, d.box.hi, strict=True))
        and all(c.holds(x, y) for c in d.constraints)
        for d in disjuncts
    )


# -------------------------------------------------------------- round trips


@settings(max_examples=200, deadline=None)
@given(properties())
def test_formats_give_back_an_equal_property(spec):
    assert Property.from_json(spec.to_json()) == spec
    assert hash(Property.from_json(spec.to_json())) == hash(spec)
    again = parse_vnnlib(spec.to_vnnlib())
    assert again == spec
    assert again.describe() == spec.describe()
    assert "\n" not in spec.describe()


SMALL = st.sampled_from([Fraction(v, 2) for v in range(-3, 4)])


@settings(max_examples=200, deadline=None)
@given(properties(SMALL), st.data())
def test_folding_bounds_into_boxes_changes_no_membership(spec, data):
    rows = [
        Constraint.of({0: data.draw(SMALL)}, {}, data.draw(SMALL), data.draw(st.booleans()))
        for _ in range(4)
    ]
    rows = tuple(c for c in rows if isinstance(c, Constraint))
    raw = [Disjunct(d.box, d.constraints + rows) for d in spec.disjuncts]
    folded = Property(spec.n_inputs, spec.n_outputs, tuple(raw))
    assert Property(spec.n_inputs, spec.n_outputs, folded.disjuncts) == folded
    for _ in range(10):
        x = [data.draw(SMALL) for _ in range(spec.n_inputs)]
        y = [data.draw(SMALL) for _ in range(spec.n_outputs)]
        assert folded.contains(x, y) == raw_contains(raw, x, y)
        assert folded.contains(x, y) == any(
            box.contains(x) and any(all(c.holds(x, y) for c in case) for case in cases)
            for box, cases, _ in folded.groups
        )
    for d in folded.disjuncts:
        assert not [
            c for c in d.constraints if len(c.inputs) == 1 and not c.outputs and not c.strict
        ]


def test_equal_statements_are_equal_and_hash_alike():
    box = Box(0, 1, 2)
    first = Property.from_rows(box, [[2, 0]], [[-2, 4]], ["0.2"])
    second = Property.from_rows(Box([0, 0], [1.0, "1"]), [[1, 0]], [[-1, 2]], [Fraction(1, 10)])
    assert first == second
    assert len({first, second}) == 1
    assert first != Property.from_rows(box, [[2, 0]], [[-2, 4]], ["0.2"], strict=True)
    assert first != Property.from_rows(box, [[2, 0]], [[-2, 4]], [0.2])


def test_a_property_is_frozen_and_exported():
    spec = pv.Property.output_at_most(pv.Box(0, 1, 1), 0, 1)
    with pytest.raises(AttributeError):
        spec.n_inputs = 2
    with pytest.raises(AttributeError):
        spec.disjuncts[0].box = None
    assert isinstance(spec.disjuncts[0], pv.Disjunct)
    assert isinstance(spec.disjuncts[0].constraints[0], pv.Constraint)


# ------------------------------------------------------------- constructors


def test_robust_is_violated_by_a_tie():
    x = np.array([0.25, 0.5], np.float32)
    spec = Property.robust(x, 1, "0.1", 3)
    assert (spec.n_inputs, spec.n_outputs, len(spec.disjuncts), len(spec.groups)) == (2, 3, 2, 1)
    assert spec.disjuncts[0].box is spec.disjuncts[1].box
    assert spec.groups[0][0] == Box([Fraction(3, 20), "0.4"], ["0.35", "0.6"])
    at = [Fraction(3, 20), Fraction(3, 5)]
    assert spec.contains(at, [1, 1, 0])
    assert spec.contains(at, [0, 1, 1])
    assert not spec.contains(at, [1 - TINY, 1, 1 - TINY])
    assert not spec.contains([at[0] - TINY, at[1]], [1, 1, 0])


def test_robust_is_cut_to_the_range_of_inputs():
    spec = Property.robust([0.0, 1.0, 0.5], 0, 0.25, 2, lo=0, hi=[1, 1, 0.5])
    assert spec.groups[0][0] == Box([0, 0.75, 0.25], [0.25, 1, 0.5])
    assert Property.robust([0.5], 0, 0, 2).groups[0][0] == Box([0.5], [0.5])
    with pytest.raises(InputError, match=r"lo\[0\] is 2"):
        Property.robust([3.0], 0, 1, 2, lo=0, hi=1)


def test_output_bounds_are_violated_strictly():
    box = Box(-1, 1, 1)
    most, least = Property.output_at_most(box, 1, "0.1"), Property.output_at_least(box, 1, "0.1", 4)
    assert (most.n_outputs, least.n_outputs) == (2, 4)
    tenth = Fraction(1, 10)
    assert not most.contains([0], [0, tenth])
    assert most.contains([0], [0, tenth + TINY])
    assert not least.contains([0], [0, tenth, 0, 0])
    assert least.contains([0], [0, tenth - TINY, 0, 0])


def test_rows_may_be_constant():
    box = Box(0, 1, 1)
    assert Property.from_rows(box, None, [[0], [1]], [0, 1]).disjuncts[0].constraints == (
        Constraint((), ((0, 1),), Fraction(1)),
    )
    assert Property.from_rows(box, None, [[0]], [0], strict=True).disjuncts == ()
    assert Property.from_rows(box, [[0]], [[0]], [-1]).disjuncts == ()
    assert Property.from_rows(box, None, np.zeros((0, 2)), []).contains([0], [5, 5])
    mixed = Property.from_rows(box, None, [[1], [-1]], [1, 0], strict=[True, False])
    assert [c.strict for c in mixed.disjuncts[0].constraints] == [True, False]


def test_union():
    low = Property.output_at_least(Box(0, 1, 1), 0, 0)
    high = Property.output_at_most(Box(2, 3, 1), 0, 1)
    both = low | high
    assert both.contains([0], [-1])
    assert both.contains([2], [2])
    assert not both.contains([0], [2])
    assert len(both.groups) == 2
    with pytest.raises(InputError):
        low | Property.output_at_most(Box(0, 1, 2), 0, 1)
    with pytest.raises(TypeError):
        low | 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Property.robust([0.5], 2, 0.1, 2),
        lambda: Property.robust([0.5], -1, 0.1, 2),
        lambda: Property.robust([0.5], True, 0.1, 2),
        lambda: Property.robust([0.5], 0, -0.1, 2),
        lambda: Property.robust([float("nan")], 0, 0.1, 2),
        lambda: Property.robust([[0.5]], 0, 0.1, 2),
        lambda: Property.robust([0.5], 0, 0.1, 1),
        lambda: Property.robust([0.5], 0, 0.1, 2, lo=[0, 0]),
        lambda: Property.output_at_most(Box(0, 1, 1), 2, 0, 2),
        lambda: Property.output_at_most(Box(0, 1, 1), -1, 0),
        lambda: Property.output_at_most(Box(0, 1, 1), 0, INF),
        lambda: Property.output_at_most("box", 0, 1),
        lambda: Property.from_rows(Box(0, 1, 1), None, [[1]], [1, 2]),
        lambda: Property.from_rows(Box(0, 1, 1), [[1, 2]], [[1]], [1]),
        lambda: Property.from_rows(Box(0, 1, 1), None, [[INF]], [1]),
        lambda: Property.from_rows(Box(0, 1, 1), None, [[1]], [1], strict=[True, False]),
        lambda: Property.from_rows(Box(0, 1, 1), None, np.zeros((1, 0)), [1]),
        lambda: Property(0, 1, ()),
        lambda: Property(1, True, ()),
        lambda: Property(2, 1, (Disjunct(Box(0, 1, 1)),)),
        lambda: Property(
            1, 1, (Disjunct(Box(0, 1, 1), (Constraint((), ((1, 1),), Fraction(0)),)),)
        ),
        lambda: Property(1, 1, (Disjunct(Box(0, Fraction(1, 3**9000), 1)),)),
        lambda: Property.from_vnnlib("no/such/file.vnnlib"),
    ],
)
def test_bad_arguments_are_one_line(make):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_contains_wants_finite_points_of_the_right_length():
    spec = Property.output_at_most(Box(0, 1, 2), 0, 1)
    for x, y in (([0], [0]), ([0, 0], [0, 0]), ([0, INF], [0]), ([0, 0], [float("nan")])):
        with pytest.raises(InputError):
            spec.contains(x, y)


# -------------------------------------------------------------- constraints


def test_a_constraint_is_in_lowest_terms():
    row = Constraint.of({1: 0.5, 0: 0}, {2: "-0.75"}, Fraction(1, 3), strict=True)
    assert row == Constraint(((1, 2),), ((2, -3),), Fraction(4, 3), True)
    assert Constraint.of({}, {0: 0}, 0) is True
    assert Constraint.of({}, {0: 0}, 0, strict=True) is False
    for terms, bound in (
        (((0, 2),), Fraction(1)),
        (((0, 0),), Fraction(1)),
        (((1, 1), (0, 1)), Fraction(1)),
        (((0, 0.5),), Fraction(1)),
        (((0, 1),), 1),
        ((), Fraction(1)),
        (((0, 1),), Fraction(1, 3**9000)),
    ):
        with pytest.raises(InputError):
            Constraint(terms, (), bound)
    for bad in (float("nan"), INF, 10 ** (MAX_BITS // 3), "x"):
        with pytest.raises(InputError):
            Constraint.of({0: bad}, {1: 1}, 0)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (({}, {0: 1}, 1, False), "y_0 <= 1"),
        (({}, {0: -1}, 1, True), "y_0 > -1"),
        (({}, {0: 1, 3: -1}, 0, False), "y_0 <= y_3"),
        (({}, {0: -1, 3: 1}, 0, True), "y_3 < y_0"),
        (({0: 2}, {0: -3}, Fraction(1, 2), False), "2 x_0 <= 3 y_0 + 1/2"),
        (({}, {0: 1, 1: -1}, -2, False), "y_0 <= y_1 - 2"),
        (({}, {0: -1, 1: -2}, 0, False), "y_0 + 2 y_1 >= 0"),
    ],
)
def test_description_of_a_constraint(row, text):
    assert Constraint.of(*row).describe() == text


def test_description_of_many_cases_stays_short():
    box = Box(0, 1, 2)
    many = Property(
        2, 9, tuple(Disjunct(box, (Constraint((), ((j, 1),), Fraction(0)),)) for j in range(9))
    )
    assert many.describe().endswith("where y_0 <= 0, or y_1 <= 0, or y_2 <= 0, or 6 more cases")
    boxes = Property(1, 1, tuple(Disjunct(Box(k, k + 1, 1)) for k in range(5)))
    assert boxes.describe() == "1 input, 1 output; violated in any of 5 cases over 5 boxes"
    assert Property(1, 1, ()).describe() == "1 input, 1 output; nothing violates"
    assert Property(1, 1, (Disjunct(Box(0, 1, 1)),)).describe().endswith("violated in box [0, 1]")


def test_a_fold_copies_its_box_only_to_change_it():
    lo, hi = (Fraction(0),), (Fraction(1),)
    fold = Fold(lo, hi)
    assert fold.add(Constraint(((0, 1),), (), Fraction(2)))
    assert fold.lo is lo
    assert fold.add(Constraint(((0, 1),), (), Fraction(1, 2)))
    assert (lo, hi, fold.hi) == ((0,), (1,), [Fraction(1, 2)])
    assert not fold.add(Constraint(((0, -1),), (), Fraction(-1)))


# ------------------------------------------------------------------ formats


@given(RATIONALS)
def test_numbers_are_written_exactly(value):
    text = number(value)
    if text.startswith("("):
        p, q = text[3:-1].split()
        assert Fraction(int(p), int(q)) == value
        places = max(value.denominator.bit_length(), 1)
        odd = value.denominator
        for prime in (2, 5):
            while odd % prime == 0:
                odd //= prime
        assert odd != 1 or places > MAX_PLACES
    else:
        assert Fraction(text) == value


def test_vnnlib_text_keeps_the_forms_that_every_tool_reads():
    spec = Property.robust([0.5, 0.5], 0, 0.25, 3)
    body = spec.to_vnnlib().splitlines()[6:]
    assert body == [
        "(assert (>= X_0 0.25))",
        "(assert (<= X_0 0.75))",
        "(assert (>= X_1 0.25))",
        "(assert (<= X_1 0.75))",
        "(assert (or",
        "    (and (<= Y_0 Y_1))",
        "    (and (<= Y_0 Y_2))",
        "))",
    ]
    assert (
        "(assert (> Y_0 (/ 1 3)))"
        in Property.output_at_most(Box(0, 1, 1), 0, Fraction(1, 3)).to_vnnlib()
    )


GOOD = json.loads(Property.output_at_most(Box(0, 1, 1), 0, 1).to_json())


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.pop("boxes"),
        lambda e: e.update(n_inputs=2),
        lambda e: e.update(n_inputs="1"),
        lambda e: e.update(n_outputs=0),
        lambda e: e["boxes"][0].update(lo=["2"]),
        lambda e: e["boxes"][0].update(lo=["inf"]),
        lambda e: e["boxes"][0].update(lo=["1/0"]),
        lambda e: e["boxes"][0].update(lo=["nan"]),
        lambda e: e["boxes"][0].update(lo=[0]),
        lambda e: e["boxes"][0].update(lo=["0", "0"]),
        lambda e: e["boxes"][0].update(lo=["9" * 5000]),
        lambda e: e["boxes"][0].update(lo=["1e999999999"]),
        lambda e: e["boxes"][0].update(lo=["1_0"]),
        lambda e: e["disjuncts"][0].update(box=1),
        lambda e: e["disjuncts"][0].update(box=-1),
        lambda e: e["disjuncts"][0].update(box="0"),
        lambda e: e["disjuncts"][0].update(constraints=3),
        lambda e: e["disjuncts"][0]["constraints"][0].update(strict=1),
        lambda e: e["disjuncts"][0]["constraints"][0].update(bound="inf"),
        lambda e: e["disjuncts"][0]["constraints"][0].update(outputs=[[5, "1"]]),
        lambda e: e["disjuncts"][0]["constraints"][0].update(outputs=[[-1, "1"]]),
        lambda e: e["disjuncts"][0]["constraints"][0].update(outputs=[[0]]),
        lambda e: e["disjuncts"][0]["constraints"][0].update(outputs=[]),
        lambda e: e["disjuncts"][0]["constraints"][0].update(outputs=[[[], "1"]]),
    ],
)
def test_damaged_json_is_one_line(change):
    entry = json.loads(json.dumps(GOOD))
    change(entry)
    with pytest.raises(InputError, match=r"^property in JSON: "):
        Property.from_json(json.dumps(entry))


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "[" * 10**5, "9" * 10**5, '"', "null"])
def test_other_json_is_one_line(text):
    with pytest.raises(InputError, match=r"^property in JSON: "):
        Property.from_json(text)
