"""The headers of the claims that are proved by refuting linear constraints, or by a witness.

What ``docs/proof_format.md`` calls ``unsat``, ``dead_units``, ``maximum``, ``sup_distance`` and
``radius`` says that some systems of constraints have no solution; `Claim.systems` lists them, and
the body holds one tree for each. What it calls ``sat``, and one half of the last three, is settled
by evaluating the network exactly at a witness. The systems of ``lipschitz`` come with a `Gain` that
their tree bounds; the other half is settled by an exact Jacobian. Headers are parsed strictly:
every number has one spelling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt, lcm
from operator import mul
from typing import Any, NamedTuple, TypeAlias

from plverify.checker_nets import absolute_sum, difference
from plverify.exact_net import ExactNet, Units
from plverify.proof_reader import count, rational, require, short

Terms: TypeAlias = tuple[tuple[int, int], ...]
"""``(index, coefficient)``, the indices increasing."""
Side: TypeAlias = Fraction | None
"""An end of an interval; None where it is infinite."""


class Row(NamedTuple):
    """``sum a_i x_i + sum c_j y_j + e z <= bound``, ``<`` if strict; ``z`` is one unit input."""

    inputs: Terms
    outputs: Terms
    bound: Fraction
    strict: bool
    unit: tuple[int, int] | None = None  # (unit input, e)

    def value(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """The left side at a point, for a row without a unit."""
        total = sum((a * x[i] for i, a in self.inputs), Fraction(0))
        return total + sum((c * y[j] for j, c in self.outputs), Fraction(0))

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether a point satisfies the row."""
        value = self.value(x, y)
        return value < self.bound if self.strict else value <= self.bound


class Box(NamedTuple):
    """A closed box of inputs."""

    lo: tuple[Side, ...]
    hi: tuple[Side, ...]

    def holds(self, x: Sequence[Fraction]) -> bool:
        """Whether a point lies in the box."""
        ends = zip(self.lo, x, self.hi, strict=True)
        return all((a is None or a <= v) and (b is None or v <= b) for a, v, b in ends)


class Gain(NamedTuple):
    """The operator norm, in l2 its square, of combinations of the outputs is at most `bound`.

    Of the Jacobian at any point inside an activation region, inside the box and the constraints.
    """

    norm: str
    rows: tuple[tuple[Fraction, ...], ...]  # one number per output
    bound: Fraction


class Ball(NamedTuple):
    """``phi(x) <= size``, ``<`` if strict, for the sum ``phi`` of the terms of all inputs."""

    squares: bool
    centre: tuple[Fraction, ...]
    size: Fraction
    strict: bool = False

    def term(self, i: int, v: Fraction) -> Fraction:
        """``|v - c_i|``, or ``(v - c_i)**2``."""
        step = v - self.centre[i]
        return step * step if self.squares else abs(step)

    def holds(self, x: Sequence[Fraction]) -> bool:
        """Whether a point lies in the ball."""
        total = sum((self.term(i, v) for i, v in enumerate(x)), Fraction(0))
        return total < self.size if self.strict else total <= self.size


class System(NamedTuple):
    """Inputs of a box, and a ball, that satisfy all rows together with the network's values.

    There is none, or where there is a `gain`, it bounds the Jacobians there.
    """

    box: Box
    rows: tuple[Row, ...]
    ball: Ball | None = None
    gain: Gain | None = None

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether a point of the box and its outputs are a solution."""
        near = self.ball is None or self.ball.holds(x)
        return near and all(row.holds(x, y) for row in self.rows)


@dataclass(frozen=True)
class Claim:
    """What a proof states.

    The systems have no solution in `net`. If there is a `witness`, it lies in `at.box` and
    satisfies `at.rows`; and if it is `sharp`, the first row of some system is tight there, and none
    is below its bound.
    """

    words: str
    stats: dict[str, Any]
    net: ExactNet
    systems: tuple[System, ...] = ()
    witness: tuple[Fraction, ...] | None = None
    at: tuple[System, ...] = ()  # one of them
    sharp: bool = False


COMMON = {"claim", "network", "definitions"}
TREE = COMMON | {"evidence"}
KEYS = {
    "unsat": TREE | {"property"},
    "sat": COMMON | {"property", "disjunct", "witness"},
    "dead_units": TREE | {"box", "units"},
    "maximum": TREE | {"box", "objective", "value", "witness"},
    "sup_distance": TREE | {"other", "norm", "box", "value", "witness"},
    "radius": TREE
    | {"norm", "x", "label", "targeted", "domain", "lower", "closed", "upper", "witness"},
    "lipschitz": TREE
    | {"norm", "rows", "box", "constraints", "lower", "upper", "witness", "direction"},
}


def read_claim(header: dict[str, Any], net: ExactNet, other: ExactNet | None = None) -> Claim:
    """Validate a header whose claim is one of `KEYS`; `other` is the second network, if any."""
    keys = KEYS[header["claim"]]
    require(set(header) == keys, f"the header's keys are not {', '.join(sorted(keys))}")
    require(header["network"] == net.digest(), "the proof is about another network")
    require(isinstance(header["definitions"], str), "definitions is no text")
    if "evidence" in keys:
        require(header["evidence"] == "tree", "unknown evidence")
    if header["claim"] == "sup_distance":
        return _sup_distance(header, net, other)
    require(other is None, "the proof is about one network, not two")
    read = {
        "unsat": _unsat,
        "sat": _sat,
        "dead_units": _dead_units,
        "maximum": _maximum,
        "radius": _radius,
        "lipschitz": _lipschitz,
    }
    return read[header["claim"]](header, net)


def _unsat(header: dict[str, Any], net: ExactNet) -> Claim:
    systems, stats, words = _property(header["property"], net)
    return Claim(
        f"{_subject(net)} has no input that violates {words}: no pair of an input and its output "
        "lies in any of the disjuncts.",
        stats,
        net,
        systems,
    )


def _sat(header: dict[str, Any], net: ExactNet) -> Claim:
    systems, stats, words = _property(header["property"], net)
    at = count(header["disjunct"], "disjunct")
    require(at < len(systems), "there is no such disjunct")
    witness = _point(header["witness"], net)
    return Claim(
        f"{_subject(net)} violates {words}: an input is given that lies, with its output, in "
        f"disjunct {at}.",
        stats,
        net,
        witness=witness,
        at=(systems[at],),
    )


def _dead_units(header: dict[str, Any], net: ExactNet) -> Claim:
    box, words = _box(header["box"], net.input_size), _box_words(header["box"])
    entry = header["units"]
    good = isinstance(entry, list) and all(isinstance(t, list) and len(t) == 2 for t in entry)
    require(good, "malformed units")
    kinked = _kinked_units(net)
    systems, shown, last = [], [], -1
    for number, piece in entry:
        unit = count(number, "unit")
        require(last < unit < net.unit_count, "there is no such unit, or not in order")
        require(unit in kinked, "a unit has one piece only, or is a window")
        require(type(piece) is int and piece in (0, 1), "a piece is neither 0 nor 1")
        row = Row((), (), Fraction(0), True, (kinked[unit], 1 if piece else -1))
        systems.append(System(box, (row,)))
        shown.append(f"{unit} never strictly {'below' if piece else 'above'} its kink")
        last = unit
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return Claim(
        f"{_subject(net)} on {words}: of its units, {'; '.join(shown[:8]) or 'nothing'}{more}.",
        {"dead_units": len(systems)},
        net,
        tuple(systems),
    )


def _kinked_units(net: ExactNet) -> dict[int, int]:
    """The units of two pieces, and which unit input is theirs."""
    out: dict[int, int] = {}
    unit = number = 0
    for _, node in net.unit_nodes:
        for k in range(node.size):
            if not isinstance(node, Units):
                number += len(node.windows[k])
            else:
                if node.slopes[k] != (1, 0):
                    out[unit] = number
                number += 1
            unit += 1
    return out


def _maximum(header: dict[str, Any], net: ExactNet) -> Claim:
    box, words = _box(header["box"], net.input_size), _box_words(header["box"])
    objective = header["objective"]
    good = isinstance(objective, dict) and set(objective) == {"inputs", "outputs"}
    require(good, "malformed objective")
    sides = [
        _terms(objective[name], size, rational)
        for name, size in (("inputs", net.input_size), ("outputs", net.output_size))
    ]
    values = [a for side in sides for _, a in side]
    require(values, "the objective has no variable")
    # The constraint "objective > value" in the canonical form of constraints.
    den = lcm(*(a.denominator for a in values))
    top = gcd(*(a.numerator * (den // a.denominator) for a in values))
    scale = Fraction(-den, top)
    inputs, outputs = (tuple((i, int(a * scale)) for i, a in side) for side in sides)
    value = rational(header["value"])
    row = Row(inputs, outputs, value * scale, True)
    text = json.dumps(objective, sort_keys=True)
    shown = text if len(text) <= 400 else f"with SHA-256 {_sha(objective)}"
    amount = header["value"] if len(header["value"]) <= 200 else "given in the header"
    return Claim(
        f"{_subject(net)}: the maximum of the objective {shown} on {words} is exactly {amount}, "
        "and an input is given that attains it.",
        {"value": header["value"]},
        net,
        (System(box, (row,)),),
        _point(header["witness"], net),
        (System(box, ()),),
        sharp=True,
    )


def _sup_distance(header: dict[str, Any], f: ExactNet, g: ExactNet | None) -> Claim:
    require(g is not None, "the proof is about two networks: the other one is missing")
    assert g is not None
    require(header["other"] == g.digest(), "the proof is about another second network")
    sizes = [(net.input_size, net.output_size) for net in (f, g)]
    require(sizes[0] == sizes[1], "the networks have other numbers of inputs or outputs")
    norm = header["norm"]
    require(norm in ("linf", "l1"), f"unknown norm {short(norm)}")
    box, value = _box(header["box"], f.input_size), rational(header["value"])
    net = difference(f, g) if norm == "linf" else absolute_sum(difference(f, g))
    signs = (1, -1) if norm == "linf" else (1,)
    rows = [Row((), ((j, -s),), -value, True) for j in range(net.output_size) for s in signs]
    return Claim(
        f"{_subject(f)} and the one with SHA-256 {g.digest()}: the largest {norm} distance of "
        f"their outputs on {_box_words(header['box'])} is exactly {_number(value)}, and an input "
        "is given that attains it.",
        {"value": header["value"], "other": g.digest()},
        net,
        tuple(System(box, (row,)) for row in rows),
        _point(header["witness"], f),
        (System(box, ()),),
        sharp=True,
    )


# ------------------------------------------------------------------------------------------- radius


def _radius(header: dict[str, Any], net: ExactNet) -> Claim:
    norm, label, targeted = header["norm"], count(header["label"], "label"), header["targeted"]
    require(norm in ("linf", "l1", "l2"), f"unknown norm {short(norm)}")
    require(label < net.output_size > 1, "there is no such label, or only one")
    require(type(targeted) is bool, "targeted is no truth value")
    closed = header["closed"]
    require(type(closed) is bool, "closed is no truth value")
    centre = _point(header["x"], net)
    domain = _box(header["domain"], net.input_size)
    lower, upper = (
        None if header[name] == "inf" else rational(header[name]) for name in ("lower", "upper")
    )
    # The closed set that the distance is to: in some of these all rows hold.
    others = [j for j in range(net.output_size) if j != label]
    beats = [_beats(label, j) if targeted else _beats(j, label) for j in others]
    sides = [tuple(beats)] if targeted else [(row,) for row in beats]
    near = _around(centre, lower, norm, domain, closed)
    systems = [] if near is None else [near._replace(rows=(*rows, *near.rows)) for rows in sides]
    witness = None
    if upper is None:
        require(header["witness"] is None, "a witness without a distance")
    else:
        witness = _point(header["witness"], net)
        gaps = [abs(v - c) for v, c in zip(witness, centre, strict=True)]
        if norm == "l2":
            gaps = [v * v for v in gaps]
        distance = max(gaps) if norm == "linf" else sum(gaps)
        require(distance <= upper, "the witness is farther away than stated")
    where = f"on {_box_words(header['domain'])}" if any(map(_finite, domain)) else "anywhere"
    what = (
        f"output {label} at least all others"
        if targeted
        else (f"some output at least output {label}")
    )
    text = f"({', '.join(header['x'])})"
    place = text if len(text) <= 200 else f"with SHA-256 {_sha(header['x'])}"
    return Claim(
        f"{_subject(net)}: from the point {place} to the closest input {where} that has {what}, "
        f"the {norm} distance is {'more than' if closed else 'at least'} "
        f"{_length(lower, norm)} and at most "
        f"{_length(upper, norm)}.",
        {"lower": header["lower"], "upper": header["upper"]},
        net,
        tuple(systems),
        witness,
        () if witness is None else tuple(System(domain, rows) for rows in sides),
    )


def _beats(j: int, k: int) -> Row:
    """``y_j >= y_k``."""
    return Row((), tuple(sorted(((j, -1), (k, 1)))), Fraction(0), False)


def _around(
    centre: tuple[Fraction, ...], size: Fraction | None, norm: str, domain: Box, closed: bool
) -> System | None:
    """The points of a box closer than a radius, all points for None; None if there are none.

    Where ``closed``, also those as far away as the radius. Of "l2" the size is its square.
    """
    if size is None:
        return System(domain, ())
    if size < 0 or (size == 0 and not closed):
        return None
    radius = size if norm != "l2" else _root_above(size)
    if radius is None:
        return System(domain, (), Ball(True, centre, size, not closed))
    ends = [(c - radius, c + radius) for c in centre]
    lo = tuple(p if a is None else max(a, p) for a, (p, _) in zip(domain.lo, ends, strict=True))
    hi = tuple(q if b is None else min(b, q) for b, (_, q) in zip(domain.hi, ends, strict=True))
    if any(a > b for a, b in zip(lo, hi, strict=True)):
        return None
    if norm != "linf" and size > 0:
        gaps = [max(a - c, c - b, Fraction(0)) for a, b, c in zip(lo, hi, centre, strict=True)]
        if sum(v * v if norm == "l2" else v for v in gaps) > size:
            return None
        return System(Box(lo, hi), (), Ball(norm == "l2", centre, size, not closed))
    if closed:
        return System(Box(lo, hi), ())
    rows: list[Row] = []
    for i, (a, b, (p, q)) in enumerate(zip(lo, hi, ends, strict=True)):
        tight = [(1, q)] * (b == q) + [(-1, -p)] * (a == p)
        if a == b and tight:
            return None
        rows += [Row(((i, sign),), (), end, True) for sign, end in tight]
    return System(Box(lo, hi), tuple(rows))


def _finite(side: Sequence[Side]) -> bool:
    return any(v is not None for v in side)


def _root_above(value: Fraction) -> Fraction | None:
    """The least double whose square is at least a positive number; None if there is none."""
    num, den = value.numerator, value.denominator
    e = max((num.bit_length() - den.bit_length()) // 2 - 54, -1074)
    while True:
        a, b = (num << -2 * e, den) if e < 0 else (num, den << 2 * e)
        m = isqrt(a // b)
        while m * m * b < a:
            m += 1
        if m <= 1 << 53:
            break
        e += 1  # too many digits
    if m.bit_length() + e > 1024 or m << max(e, 0) > ((1 << 53) - 1) << 971:
        return None
    return Fraction(m << e) if e >= 0 else Fraction(m, 1 << -e)


def _length(value: Fraction | None, norm: str) -> str:
    if value is None:
        return "infinite"
    return f"the square root of {_number(value)}" if norm == "l2" else _number(value)


# ------------------------------------------------------------------------------ Lipschitz constants


def _lipschitz(header: dict[str, Any], net: ExactNet) -> Claim:
    norm, n = header["norm"], net.input_size
    require(norm in ("l1", "l2", "linf"), f"unknown norm {short(norm)}")
    require(isinstance(header["rows"], list) and header["rows"], "rows is no list")
    rows = []
    for entry in header["rows"]:
        row = [Fraction(0)] * net.output_size
        for j, value in _terms(entry, net.output_size, rational):
            row[j] = value
        rows.append(tuple(row))
    box = _box(header["box"], n)
    for a, b in zip(box.lo, box.hi, strict=True):
        require(a is None or b is None or a < b, "the box has no interior")
    require(isinstance(header["constraints"], list), "constraints is no list")
    inside = []
    for entry in header["constraints"]:
        require(isinstance(entry, list) and len(entry) == n + 1, "malformed constraint")
        *terms, constant = (int(_whole(v)) for v in entry)
        require(any(terms), "a constraint has no variable")
        # a . x + c > 0, in the canonical form of constraints.
        common = gcd(*terms)
        left = tuple((i, -a // common) for i, a in enumerate(terms) if a)
        inside.append(Row(left, (), Fraction(constant, common), True))
    lower, upper = rational(header["lower"]), rational(header["upper"])
    witness, direction = _point(header["witness"], net), None
    if header["direction"] is not None:
        good = isinstance(header["direction"], list) and len(header["direction"]) == len(rows)
        require(good and norm == "l2" and len(rows) > 1, "a direction without a use")
        direction = tuple(map(rational, header["direction"]))
    found = _attained(net, norm, rows, witness, direction)
    require(found >= lower, "the Jacobian at the witness is smaller than stated")
    parts = [(row,) for row in rows] if norm == "linf" else [tuple(rows)]
    systems = tuple(System(box, tuple(inside), None, Gain(norm, part, upper)) for part in parts)
    what = "the square of the l2" if norm == "l2" else f"the {norm}"
    where = f"in {_box_words(header['box'])}" if any(map(_finite, box)) else "anywhere"
    more = f" and {len(inside)} half-spaces" if inside else ""
    shown = json.dumps(header["rows"])
    if len(shown) > 400:
        shown = f"with SHA-256 {_sha(header['rows'])}"
    return Claim(
        f"{_subject(net)}: {what} operator norm of the rows {shown} (of terms with the outputs) "
        f"times the Jacobian is at most {_number(upper)} in every activation region that meets the "
        f"interior of what lies {where}{more}, and at least {_number(lower)} in one of them: so is "
        f"{'the square of ' * (norm == 'l2')}their Lipschitz constant there.",
        {"lower": header["lower"], "upper": header["upper"]},
        net,
        systems,
        witness,
        (System(box, tuple(inside)),),
    )


def _attained(
    net: ExactNet,
    norm: str,
    rows: Sequence[Sequence[Fraction]],
    witness: Sequence[Fraction],
    direction: Sequence[Fraction] | None,
) -> Fraction:
    """The norm of the Jacobian of the region around a point, in l2 a lower bound of its square."""
    pattern = net.pattern_at(list(witness))
    require(not pattern.on_boundary, "the witness does not lie inside a region")
    table, den = net.affine_map(pattern.bits)
    common = lcm(*(c.denominator for row in rows for c in row))
    den *= common
    product = []  # over den
    for row in rows:
        total = [0] * net.input_size
        for c, entries in zip(row, table, strict=True):
            if factor := int(c * common):
                total = [t + factor * a for t, a in zip(total, entries, strict=False)]
        product.append(total)
    if norm == "linf":
        return Fraction(max(sum(map(abs, row)) for row in product), den)
    if norm == "l1":
        return Fraction(max(sum(map(abs, column)) for column in zip(*product, strict=True)), den)
    if len(rows) == 1:
        return Fraction(sum(v * v for v in product[0]), den * den)
    require(direction is not None and any(direction), "a direction is missing")
    assert direction is not None
    common = lcm(*(v.denominator for v in direction))
    y = [int(v * common) for v in direction]
    image = [sum(map(mul, y, column)) for column in zip(*product, strict=True)]
    return Fraction(sum(v * v for v in image), den * den * sum(v * v for v in y))


# --------------------------------------------------------------------------------------- properties


def _property(entry: Any, net: ExactNet) -> tuple[tuple[System, ...], dict[str, Any], str]:
    """The systems of a property, its numbers, and words for it."""
    keys = {"n_inputs", "n_outputs", "boxes", "disjuncts"}
    require(isinstance(entry, dict) and set(entry) == keys, "malformed property")
    sizes = count(entry["n_inputs"], "n_inputs"), count(entry["n_outputs"], "n_outputs")
    require(
        sizes == (net.input_size, net.output_size),
        f"a property of {sizes[0]} inputs and {sizes[1]} outputs, but the network has "
        f"{net.input_size} and {net.output_size}",
    )
    require(isinstance(entry["boxes"], list), "boxes is no list")
    require(isinstance(entry["disjuncts"], list), "disjuncts is no list")
    boxes = [_box(box, net.input_size) for box in entry["boxes"]]
    systems: list[System] = []
    shown: Any = None
    ball: Ball | None = None  # what is shown: neighbours often share it
    for case in entry["disjuncts"]:
        good = isinstance(case, dict) and set(case) - {"ball"} == {"box", "constraints"}
        require(good and isinstance(case["constraints"], list), "malformed disjunct")
        at = count(case["box"], "box")
        require(at < len(boxes), "there is no such box")
        rows = tuple(_row(row, net) for row in case["constraints"])
        if "ball" in case and (ball is None or case["ball"] != shown):
            ball, shown = _ball(case["ball"], net.input_size), case["ball"]
        systems.append(System(boxes[at], rows, ball if "ball" in case else None))
    identity = _sha(entry)
    stats = {"property_sha256": identity, "disjuncts": len(systems)}
    words = f"the property with SHA-256 {identity} ({len(systems)} disjuncts)"
    if len(systems) == 1 and sum(map(_size, systems[0].rows)) <= 12:
        [case], rows_shown = entry["disjuncts"], " and ".join(map(_row_words, systems[0].rows))
        words += f", which is: {_box_words(entry['boxes'][case['box']])}"
        words += f" and {_ball_words(case['ball'])}" if "ball" in case else ""
        words += f", where {rows_shown or 'anything holds'}"
    return tuple(systems), stats, words


def _ball(entry: Any, size: int) -> Ball:
    good = isinstance(entry, dict) and set(entry) == {"norm", "center", "size"}
    good = good and isinstance(entry["center"], list) and len(entry["center"]) == size
    require(good, "malformed ball")
    require(entry["norm"] in ("l1", "l2"), f"unknown norm {short(entry['norm'])}")
    ball = Ball(
        entry["norm"] == "l2", tuple(map(rational, entry["center"])), rational(entry["size"])
    )
    require(ball.size > 0, "the size of a ball is not positive")
    return ball


def _row(entry: Any, net: ExactNet) -> Row:
    good = isinstance(entry, dict) and set(entry) == {"inputs", "outputs", "bound", "strict"}
    require(good and type(entry["strict"]) is bool, "malformed constraint")
    inputs, outputs = (
        tuple((i, int(a)) for i, a in _terms(entry[name], size, _whole))
        for name, size in (("inputs", net.input_size), ("outputs", net.output_size))
    )
    common = gcd(*(a for _, a in (*inputs, *outputs)))
    require(common == 1, "the coefficients of a constraint are not coprime")
    return Row(inputs, outputs, rational(entry["bound"]), entry["strict"])


def _whole(value: Any) -> Fraction:
    number = rational(value)
    require(number.denominator == 1, f"no integer: {short(value)}")
    return number


def _terms(entry: Any, size: int, read: Any) -> tuple[tuple[int, Fraction], ...]:
    good = isinstance(entry, list) and all(isinstance(t, list) and len(t) == 2 for t in entry)
    require(good, "malformed terms")
    out: list[tuple[int, Fraction]] = []
    for index, value in entry:
        at, number = count(index, "index"), read(value)
        require(at < size and (not out or out[-1][0] < at), "an index is out of range or order")
        require(number, "a coefficient is zero")
        out.append((at, number))
    return tuple(out)


def _box(entry: Any, size: int) -> Box:
    good = isinstance(entry, dict) and set(entry) == {"lo", "hi"}
    good = good and all(isinstance(v, list) and len(v) == size for v in entry.values())
    require(good, "malformed box")
    lo = tuple(None if v == "-inf" else rational(v) for v in entry["lo"])
    hi = tuple(None if v == "inf" else rational(v) for v in entry["hi"])
    for a, b in zip(lo, hi, strict=True):
        require(a is None or b is None or a <= b, "a box is empty")
    return Box(lo, hi)


def _point(entry: Any, net: ExactNet) -> tuple[Fraction, ...]:
    good = isinstance(entry, list) and len(entry) == net.input_size
    require(good, "the witness is no list of one number per input")
    return tuple(map(rational, entry))


# -------------------------------------------------------------------------------------------- words


def _subject(net: ExactNet) -> str:
    return f"The network with SHA-256 {net.digest()} (canonical exact form, real arithmetic)"


def _sha(entry: Any) -> str:
    """The identity of a part of the header: of its JSON without spaces, with sorted keys."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _box_words(entry: dict[str, list[str]]) -> str:
    sides = [f"[{a}, {b}]" for a, b in zip(entry["lo"], entry["hi"], strict=True)]
    text = " x ".join(sides)
    return f"the box {text}" if len(text) <= 400 else f"the box with SHA-256 {_sha(entry)}"


def _ball_words(entry: dict[str, Any]) -> str:
    what = "squared radius" if entry["norm"] == "l2" else "radius"
    text = (
        f"the {entry['norm']} ball of {what} {entry['size']} about ({', '.join(entry['center'])})"
    )
    return text if len(text) <= 400 else f"the ball with SHA-256 {_sha(entry)}"


def _size(row: Row) -> int:
    return len(row.inputs) + len(row.outputs)


def _row_words(row: Row) -> str:
    named = [("x", *term) for term in row.inputs] + [("y", *term) for term in row.outputs]
    terms = [f"{_number(a)} {name}_{i}" for name, i, a in named]
    return f"{' + '.join(terms)} {'<' if row.strict else '<='} {_number(row.bound)}"


def _number(value: Fraction | int) -> str:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 500:
        return "(a long number)"
    return str(value)


__all__ = ["KEYS", "Ball", "Box", "Claim", "Gain", "Row", "Side", "System", "read_claim"]
