"""Whether what the header of a proof states is true, decided without the engine and the checkers.

Exact linear programs on all patterns of a network (`dual_proof_tools.full`), its regions one by one
(`oracle_nd`), its value at a point (`oracle_graph.evaluate`); everything in fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import gcd, lcm
from operator import mul
from typing import Any

from dual_proof_tools import Ball, Full, Row, System, combine, full, highest, nearest, plain
from oracle_graph import Graph, evaluate, sources
from oracle_nd import NdDomain, _leaves, _start


class Malformed(Exception):
    """The header states nothing: it must be rejected."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Malformed(what)


def is_true(net: Graph, header: dict[str, Any], other: Graph | None = None) -> bool:
    """Whether the statement of a header holds for a network, or for two.

    Raises
    ------
    Malformed
        If there is no statement.
    """
    claim = header["claim"]
    need(isinstance(claim, str) and claim in _TRUTHS, "claim")
    need((claim == "sup_distance") == (other is not None), "a second network")
    try:
        if other is not None:
            return _sup_distance(net, other, header)
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
    near = system.ball is None or system.ball.holds(x)
    return near and inside(system.box, x) and all(holds(row, x, y) for row in system.rows)


def _dead_units(net: Graph, header: dict[str, Any]) -> bool:
    slopes = [s if node[0] == "units" else None for node in net.nodes if node[0] != "linear"
              for s in node[2]]  # fmt: skip
    box, last, out = box_of(header["box"], net.inputs), -1, True
    for unit, piece in header["units"]:
        need(type(unit) is int and last < unit < len(slopes), "unit")
        need(slopes[unit] not in (None, 1), "a unit of two pieces")
        need(type(piece) is int and piece in (0, 1), "piece")
        row = Row({}, {}, Fraction(0), True, (unit, 1 if piece else -1))
        out = no_solution(net, System(box, [row])) and out
        last = unit
    return out


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


def _sup_distance(f: Graph, g: Graph, header: dict[str, Any]) -> bool:
    joined = difference(f, g)
    x, value = point_of(header["witness"]), Fraction(header["value"])
    box = box_of(header["box"], f.inputs)
    need(len(x) == f.inputs and header["norm"] in ("linf", "l1"), "witness or norm")
    gaps = list(map(abs, evaluate(joined, x)[0]))
    if not inside(box, x) or value != (max(gaps) if header["norm"] == "linf" else sum(gaps)):
        return False
    # Any combination of signs for "l1", one output at a time for "linf".
    m = joined.sizes[-1]
    rows = [{j: s} for j in range(m) for s in (1, -1)]
    if header["norm"] == "l1":
        rows = [dict(enumerate(signs)) for signs in product((1, -1), repeat=m)]
    return all(no_solution(joined, System(box, [Row({}, row, -value, True)])) for row in rows)


def difference(f: Graph, g: Graph) -> Graph:
    """The network ``f - g``."""
    need((f.inputs, f.sizes[-1]) == (g.inputs, g.sizes[-1]), "sizes")
    shift, m = len(f.nodes), f.sizes[-1]
    moved = []
    for node in g.nodes:
        places = [s + shift if s else 0 for s in sources(node)]
        moved.append((node[0], places[0] if node[0] == "units" else tuple(places), node[2]))
    last = [([(j, Fraction(1)), (j + m, Fraction(-1))], Fraction(0)) for j in range(m)]
    ends = (shift, shift + len(g.nodes))
    return Graph(f.inputs, (*f.nodes, *moved, ("linear", ends, last)))


def _radius(net: Graph, header: dict[str, Any]) -> bool:
    x, label, targeted = point_of(header["x"]), header["label"], header["targeted"]
    need(type(label) is int and 0 <= label < net.sizes[-1] > 1, "label")
    need(type(header["closed"]) is bool, "closed")
    need(type(targeted) is bool and header["norm"] in ("linf", "l1", "l2"), "targeted or norm")
    need(len(x) == net.inputs, "x")
    domain = box_of(header["domain"], net.inputs)
    lower, upper = (None if header[k] == "inf" else Fraction(header[k]) for k in ("lower", "upper"))
    found = closest(net, x, label, targeted, domain, header["norm"])
    if found is not None and (lower is None or lower > found[0]):
        return False
    if found is not None and header["closed"] and lower == found[0]:
        return False
    if upper is None:
        need(header["witness"] is None, "witness")
        return True
    w = point_of(header["witness"])
    need(len(w) == net.inputs, "witness")
    gaps, y = [abs(a - b) for a, b in zip(w, x, strict=True)], evaluate(net, w)[0]
    others = [v for j, v in enumerate(y) if j != label]
    there = y[label] >= max(others) if targeted else max(others) >= y[label]
    if header["norm"] == "l2":
        gaps = [v * v for v in gaps]
    near = (max(gaps) if header["norm"] == "linf" else sum(gaps)) <= upper
    return inside(domain, w) and there and near


class Closest(Full):
    """The least distance of a point to where all rows hold, over all patterns; squared in l2."""

    best: tuple[Fraction, list[Fraction]] | None = None

    def __init__(self, net: Graph, system: System, x: Sequence[Fraction], norm: str) -> None:
        super().__init__(net, system)
        self.x, self.norm = x, norm

    def leaf(self, outputs: list[Any]) -> bool:
        rows = [*self.sides, *(row for row, _ in self.path), *self.functions(outputs)]
        found = self.nearest(rows)
        if found is not None and (self.best is None or found[0] < self.best[0]):
            self.best = found
        return True

    def nearest(self, rows: list[Any]) -> tuple[Fraction, list[Fraction]] | None:
        if self.norm != "linf":
            found = nearest(rows, Ball(self.norm, list(self.x), Fraction(1)))
            return None if found is None else (found.value, found.point)
        n = len(self.x)
        more = [(*row[:-1], Fraction(0), row[-1]) for row in rows]
        for i, v in enumerate(self.x):
            for sign in (1, -1):  # t >= sign (x_i - v)
                row = [Fraction(0)] * n + [Fraction(1), sign * v]
                row[i] = Fraction(-sign)
                more.append(tuple(row))
        top = highest(more, (*[Fraction(0)] * n, Fraction(-1), Fraction(0)))
        return None if top is None else (-top[0], top[1][:n])


def closest(
    net: Graph, x: Sequence[Fraction], label: int, targeted: bool, domain: Any, norm: str
) -> tuple[Fraction, list[Fraction]] | None:
    """The exact distance to another label (squared in l2), and an input there; None for none."""
    m = net.sizes[-1]
    pairs = [(label, j) if targeted else (j, label) for j in range(m) if j != label]
    beats = [Row({}, {j: -1, k: 1}, Fraction(0)) for j, k in pairs]
    best = None
    for rows in [beats] if targeted else [[row] for row in beats]:
        walk = Closest(net, System(list(domain), rows), x, norm)
        walk.run()
        if walk.best is not None and (best is None or walk.best[0] < best[0]):
            best = walk.best
    return best


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


# ------------------------------------------------------------------------------ Lipschitz constants

Matrix = list[list[Fraction]]


def _lipschitz(net: Graph, header: dict[str, Any]) -> bool:
    norm, domain = header["norm"], gain_domain(net, header)
    lower, upper = Fraction(header["lower"]), Fraction(header["upper"])
    need(norm in ("l1", "l2", "linf"), "norm")
    rows = [terms_of(row, net.sizes[-1]) for row in header["rows"]]
    need(rows, "rows")
    direction = header["direction"]
    if direction is not None:
        direction = point_of(direction)
        need(norm == "l2" and len(direction) == len(rows) > 1, "direction")
    x = point_of(header["witness"])
    need(len(x) == net.inputs, "witness")
    sides = [_apply(row, x) for row in domain.rows]
    strict = sides[len(sides) - len(header["constraints"]) :]
    jacobian = jacobian_at(net, x)
    if jacobian is None or any(v < 0 for v in sides) or any(v <= 0 for v in strict):
        return False
    here = times(rows, jacobian)
    if norm == "l2" and len(rows) > 1:
        if direction is None or not any(direction):
            return False
        image = [sum(map(mul, direction, column)) for column in zip(*here, strict=True)]
        attained = sum(v * v for v in image) / sum(v * v for v in direction)
        if attained < lower:
            return False
    elif norm_below(here, norm, lower):
        return False
    return all(norm_at_most(times(rows, j), norm, upper) for j, _ in jacobians(net, domain))


def gain_domain(net: Graph, header: dict[str, Any]) -> NdDomain:
    """Where the header of a Lipschitz constant says it holds: its constraints come last."""
    box = box_of(header["box"], net.inputs)
    need(all(a is None or b is None or a < b for a, b in box), "a flat box")
    rows = [tuple(Fraction(whole(v)) for v in row) for row in header["constraints"]]
    need(all(len(row) == net.inputs + 1 and any(row[:-1]) for row in rows), "constraints")
    lo, hi = zip(*box, strict=True)
    sides = NdDomain.box(lo, hi)
    return sides._replace(rows=(*sides.rows, *rows))


def jacobians(net: Graph, domain: NdDomain) -> Iterator[tuple[Matrix, list[Fraction]]]:
    """The Jacobian of every region that meets the interior of a domain, and a point inside."""
    try:
        start = _start(net, domain)
    except ValueError:
        return  # no interior, no region
    for cell in _leaves(net, start):
        point = [Fraction(v, cell.point[-1]) for v in cell.point[:-1]]
        yield [[Fraction(v, den) for v in row[:-1]] for row, den in cell.tensors[-1]], point


def jacobian_at(net: Graph, x: Sequence[Fraction]) -> Matrix | None:
    """The Jacobian of the region that a point lies inside, None on a kink."""
    size = net.inputs + 1
    unit = [tuple(Fraction(i == j) for j in range(size)) for i in range(net.inputs)]
    tensors = [unit]
    for node in net.nodes:
        joined = [f for source in sources(node) for f in tensors[source]]
        made = []
        for k, entry in enumerate(node[2]):
            if node[0] == "linear":
                made.append(tuple(map(plain, combine(size, [(c, joined[j]) for j, c in entry[0]],
                                                     entry[1]))))  # fmt: skip
            elif node[0] == "units":
                z = _apply(joined[k], x)
                if z == 0 and any(joined[k]) and entry != 1:
                    return None
                made.append(tuple(v * (1 if z > 0 else entry) for v in joined[k]))
            else:
                some = {joined[j] for j in entry if j >= 0}
                most = max(_apply(f, x) for f in some)
                best = [f for f in some if _apply(f, x) == most]
                if len(best) > 1:
                    return None
                made.append(best[0])
        tensors.append(made)
    return [list(f[:-1]) for f in tensors[-1]]


def _apply(row: Sequence[Fraction], x: Sequence[Fraction]) -> Fraction:
    return sum(map(mul, row[:-1], x), row[-1])


def times(rows: Sequence[dict[int, Fraction]], jacobian: Matrix) -> Matrix:
    """Combinations of the outputs' gradients."""
    return [
        [sum((c * jacobian[j][i] for j, c in row.items()), Fraction(0))
         for i in range(len(jacobian[0]))]
        for row in rows
    ]  # fmt: skip


def norm_at_most(matrix: Matrix, norm: str, bound: Fraction) -> bool:
    """Whether an operator norm, in l2 its square, is at most a bound."""
    if norm != "l2":
        lines = matrix if norm == "linf" else list(zip(*matrix, strict=True))
        return max(sum(map(abs, line)) for line in lines) <= bound
    # Elimination: bound I - M M' has no negative pivot, and nothing beside a pivot that is 0.
    n = len(matrix)
    left = [[bound * (p == q) - sum(map(mul, matrix[p], matrix[q])) for q in range(n)]
            for p in range(n)]  # fmt: skip
    for p in range(n):
        if left[p][p] < 0 or (left[p][p] == 0 and any(left[p][p + 1 :])):
            return False
        for i in range(p + 1, n):
            if left[i][p]:
                factor = left[i][p] / left[p][p]
                left[i] = [a - factor * b for a, b in zip(left[i], left[p], strict=True)]
    return True


def norm_below(matrix: Matrix, norm: str, bound: Fraction) -> bool:
    """Whether a norm, in l2 the square of that of one row, is below a bound."""
    if norm == "l2":
        return sum(v * v for v in matrix[0]) < bound
    lines = matrix if norm == "linf" else list(zip(*matrix, strict=True))
    return max(sum(map(abs, line)) for line in lines) < bound


_TRUTHS: dict[str, Any] = {
    "unsat": _unsat,
    "sat": _sat,
    "dead_units": _dead_units,
    "maximum": _maximum,
    "radius": _radius,
    "sup_distance": None,
    "region_list": _region_list,
    "lipschitz": _lipschitz,
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
        ball = ball_of(case["ball"], net.inputs) if "ball" in case else None
        out.append(System(boxes[case["box"]], rows, ball))
    return out


def ball_of(entry: dict[str, Any], size: int) -> Ball:
    ball = Ball(entry["norm"], point_of(entry["center"]), Fraction(entry["size"]))
    need(ball.norm in ("l1", "l2") and len(ball.center) == size and ball.size > 0, "ball")
    return ball


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
