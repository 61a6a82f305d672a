"""Whether what the header of a proof states is true, decided without the engine and the checkers.

Exact linear programs on all patterns of a network (`dual_proof_tools.full`), its regions one by one
(`oracle_nd`), its value at a point (`oracle_graph.evaluate`); everything in fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from dual_proof_tools import Row, System, full, numbering
from oracle_graph import Graph, evaluate
from oracle_nd import NdDomain, _leaves, _start


class Malformed(Exception):
    """The header states nothing: it must be rejected."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Malformed(what)


def is_true(net: Graph, header: dict[str, Any]) -> bool:
    """Whether the statement of a header holds for a network.

    Raises
    ------
    Malformed
        If there is no statement.
    """
    claim = header["claim"]
    need(isinstance(claim, str) and claim in _TRUTHS, "claim")
    try:
        return _TRUTHS[claim](net, header)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Malformed(str(error)) from None


def no_solution(net: Graph, system: System) -> bool:
    """Whether a system of constraints has no solution."""
    return full(net, [system]) is not None


def _unsat(net: Graph, header: dict[str, Any]) -> bool:
    return all(no_solution(net, system) for system in systems_of(net, header["property"]))


def _sat(net: Graph, header: dict[str, Any]) -> bool:
    at = header["disjunct"]
    need(type(at) is int and at >= 0, "disjunct")
    system, x = systems_of(net, header["property"])[at], point_of(header["witness"])
    need(len(x) == net.inputs, "witness")
    y = evaluate(net, x)[0]
    return inside(system.box, x) and all(holds(row, x, y) for row in system.rows)


def _dead_unit(net: Graph, header: dict[str, Any]) -> bool:
    unit, piece = header["unit"], header["piece"]
    slopes = [s if node[0] == "units" else None for node in net.nodes if node[0] != "linear"
              for s in node[2]]  # fmt: skip
    need(type(unit) is int and 0 <= unit < len(numbering(net)), "unit")
    need(slopes[unit] not in (None, 1), "a unit of two pieces")
    need(type(piece) is int and piece in (0, 1), "piece")
    row = Row({}, {}, Fraction(0), True, (unit, 1 if piece else -1))
    return no_solution(net, System(box_of(header["box"], net.inputs), [row]))


def _maximum(net: Graph, header: dict[str, Any]) -> bool:
    x = point_of(header["witness"])
    need(len(x) == net.inputs, "witness")
    system, y = better_than_maximum(net, header), evaluate(net, x)[0]
    attained = left_side(system.rows[0], x, y) == system.rows[0].bound
    return inside(system.box, x) and attained and no_solution(net, system)


def better_than_maximum(net: Graph, header: dict[str, Any]) -> System:
    """Inputs whose objective is above the value stated."""
    inputs = terms_of(header["objective"]["inputs"], net.inputs)
    outputs = terms_of(header["objective"]["outputs"], net.sizes[-1])
    need(inputs or outputs, "objective")
    den = lcm(*(a.denominator for a in (*inputs.values(), *outputs.values())))
    sides = [{k: int(-a * den) for k, a in side.items()} for side in (inputs, outputs)]
    top = gcd(*sides[0].values(), *sides[1].values())
    sides = [{k: a // top for k, a in side.items()} for side in sides]
    bound = -Fraction(header["value"]) * den / top
    return System(box_of(header["box"], net.inputs), [Row(sides[0], sides[1], bound, True)])


def _region_list(net: Graph, header: dict[str, Any]) -> bool:
    dim, rows = header["dim"], [tuple(map(whole, row)) for row in header["constraints"]]
    need(type(dim) is int and dim >= 0 and all(len(row) == dim + 1 for row in rows), "dim")
    domain = NdDomain(dim, tuple(tuple(map(Fraction, row)) for row in rows))
    if header["slice"] is not None:
        scale = whole(header["slice"]["scale"])
        need(scale > 0, "scale")
        table = [[Fraction(whole(v), scale) for v in row] for row in header["slice"]["rows"]]
        need(all(len(row) == dim + 1 for row in table), "slice")
        domain = domain.along([row[-1] for row in table], [row[:-1] for row in table])
    need(len(domain.embed([0] * dim)) == net.inputs, "inputs")
    try:
        start = _start(net, domain)
    except ValueError:
        return False  # a domain without interior has no region list
    count = header["regions"]
    need(type(count) is int and count >= 0, "regions")
    return sum(1 for _ in _leaves(net, start)) == count


_TRUTHS = {
    "unsat": _unsat,
    "sat": _sat,
    "dead_unit": _dead_unit,
    "maximum": _maximum,
    "region_list": _region_list,
}


# --------------------------------------------------------------------------------- parts of headers


def systems_of(net: Graph, entry: dict[str, Any]) -> list[System]:
    """The systems of a property."""
    need((entry["n_inputs"], entry["n_outputs"]) == (net.inputs, net.sizes[-1]), "sizes")
    boxes = [box_of(box, net.inputs) for box in entry["boxes"]]
    out = []
    for case in entry["disjuncts"]:
        need(type(case["box"]) is int and case["box"] >= 0, "box")
        rows = [row_of(net, row) for row in case["constraints"]]
        out.append(System(boxes[case["box"]], rows))
    return out


def row_of(net: Graph, entry: dict[str, Any]) -> Row:
    inputs = {i: whole(a) for i, a in entry["inputs"]}
    outputs = {j: whole(c) for j, c in entry["outputs"]}
    need(type(entry["strict"]) is bool, "strict")
    need(gcd(*inputs.values(), *outputs.values()) == 1, "coprime coefficients")
    need(all(type(i) is int and 0 <= i < net.inputs for i in inputs), "index")
    need(all(type(j) is int and 0 <= j < net.sizes[-1] for j in outputs), "index")
    return Row(inputs, outputs, Fraction(entry["bound"]), entry["strict"])


def terms_of(entry: list[Any], size: int) -> dict[int, Fraction]:
    terms = {k: Fraction(a) for k, a in entry}
    need(all(type(k) is int and 0 <= k < size for k in terms) and all(terms.values()), "terms")
    return terms


def box_of(entry: dict[str, Any], size: int) -> list[tuple[Fraction | None, Fraction | None]]:
    lo = [None if v == "-inf" else Fraction(v) for v in entry["lo"]]
    hi = [None if v == "inf" else Fraction(v) for v in entry["hi"]]
    need(len(lo) == len(hi) == size, "box")
    box = list(zip(lo, hi, strict=True))
    need(all(a is None or b is None or a <= b for a, b in box), "an empty box")
    return box


def point_of(entry: list[Any]) -> list[Fraction]:
    need(isinstance(entry, list), "point")
    return list(map(Fraction, entry))


def whole(text: Any) -> int:
    need(isinstance(text, str), "a number is no text")
    return int(text)


def inside(box: Sequence[Any], x: Sequence[Fraction]) -> bool:
    ends = zip(box, x, strict=True)
    return all((a is None or a <= v) and (b is None or v <= b) for (a, b), v in ends)


def holds(row: Row, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
    value = left_side(row, x, y)
    return value < row.bound if row.strict else value <= row.bound


def left_side(row: Row, x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
    value = sum((a * x[i] for i, a in row.inputs.items()), Fraction(0))
    return value + sum((c * y[j] for j, c in row.outputs.items()), Fraction(0))
