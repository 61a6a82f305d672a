"""The headers of the claims that are proved by refuting linear constraints, or by a witness.

What ``docs/proof_format.md`` calls ``unsat``, ``dead_unit`` and ``maximum`` says that some systems
of constraints have no solution; `Claim.systems` lists them, and the body holds one tree for each.
What it calls ``sat``, and one half of ``maximum``, is settled by evaluating the network exactly at
a witness. Headers are parsed strictly: every number has one spelling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple, TypeAlias

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


class System(NamedTuple):
    """Inputs of a box that satisfy all rows together with the values of the network."""

    box: Box
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Claim:
    """What a proof states.

    The systems have no solution; and if there is a `witness`, it lies in `at.box`, satisfies
    `at.rows`, and if there is a `value`, the left side of the first row of `systems[0]` has this
    value there.
    """

    words: str
    stats: dict[str, Any]
    systems: tuple[System, ...] = ()
    witness: tuple[Fraction, ...] | None = None
    at: System | None = None
    value: Fraction | None = None


COMMON = {"claim", "network", "definitions"}
KEYS = {
    "unsat": COMMON | {"evidence", "property"},
    "sat": COMMON | {"property", "disjunct", "witness"},
    "dead_unit": COMMON | {"evidence", "box", "unit", "piece"},
    "maximum": COMMON | {"evidence", "box", "objective", "value", "witness"},
}


def read_claim(header: dict[str, Any], net: ExactNet) -> Claim:
    """Validate a header whose claim is one of `KEYS`."""
    keys = KEYS[header["claim"]]
    require(set(header) == keys, f"the header's keys are not {', '.join(sorted(keys))}")
    require(header["network"] == net.digest(), "the proof is about another network")
    require(isinstance(header["definitions"], str), "definitions is no text")
    if "evidence" in keys:
        require(header["evidence"] == "tree", "unknown evidence")
    read = {"unsat": _unsat, "sat": _sat, "dead_unit": _dead_unit, "maximum": _maximum}
    return read[header["claim"]](header, net)


def _unsat(header: dict[str, Any], net: ExactNet) -> Claim:
    systems, stats, words = _property(header["property"], net)
    return Claim(
        f"{_subject(net)} has no input that violates {words}: no pair of an input and its output "
        "lies in any of the disjuncts.",
        stats,
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
        witness=witness,
        at=systems[at],
    )


def _dead_unit(header: dict[str, Any], net: ExactNet) -> Claim:
    box, words = _box(header["box"], net.input_size), _box_words(header["box"])
    unit, piece = count(header["unit"], "unit"), header["piece"]
    require(type(piece) is int and piece in (0, 1), "piece is neither 0 nor 1")
    first = number = 0
    for _, node in net.unit_nodes:
        if isinstance(node, Units):
            if first <= unit < first + node.size:
                require(node.slopes[unit - first] != (1, 0), "the unit has one piece only")
                number += unit - first
                break
            number += node.size
        else:
            require(not first <= unit < first + node.size, "the unit is a window")
            number += sum(map(len, node.windows))
        first += node.size
    else:
        require(False, "there is no such unit")
    row = Row((), (), Fraction(0), True, (number, 1 if piece else -1))
    return Claim(
        f"{_subject(net)} is never strictly {'below' if piece else 'above'} the kink of unit "
        f"{unit} (always piece {piece}) on {words}.",
        {},
        (System(box, (row,)),),
    )


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
        (System(box, (row,)),),
        _point(header["witness"], net),
        System(box, ()),
        value * scale,
    )


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
    systems = []
    for case in entry["disjuncts"]:
        good = isinstance(case, dict) and set(case) == {"box", "constraints"}
        require(good and isinstance(case["constraints"], list), "malformed disjunct")
        at = count(case["box"], "box")
        require(at < len(boxes), "there is no such box")
        rows = tuple(_row(row, net) for row in case["constraints"])
        systems.append(System(boxes[at], rows))
    identity = _sha(entry)
    stats = {"property_sha256": identity, "disjuncts": len(systems)}
    words = f"the property with SHA-256 {identity} ({len(systems)} disjuncts)"
    if len(systems) == 1 and sum(map(_size, systems[0].rows)) <= 12:
        rows_shown = " and ".join(map(_row_words, systems[0].rows)) or "anything holds"
        words += f", which is: {_box_words(entry['boxes'][0])}, where {rows_shown}"
    return tuple(systems), stats, words


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


__all__ = ["KEYS", "Box", "Claim", "Row", "Side", "System", "read_claim"]
