"""A slow, independent writer of dual trees (``docs/proof_format.md``), and trees taken apart.

Three ways to prove a property, none of which uses the engine or the checkers:

* `full`: splits on all units, one after the other, and exact rational linear programs at the
  leaves. The program's multipliers are the proof. Where one has no solution, the cell holds a
  violation: so this decides every property of a small network, with margin zero, too.
* `halved`: splits of inputs down to a depth, each cell with new bounds and a rule.
* `slopes`: one leaf, with the multipliers of lines that are drawn between bounds from here.

A network is a `Graph` of `oracle_graph`. A tree is a list of records in pre-order:

    ("rule", rows)    ("dual", e, rows, v)    ("input", index, num, den)    ("unit", unit)
    ("bounds", rule)    ("envelope", e, rows, v, units)    ("statement", which, shift, v, units)

with ``rows`` and ``v`` lists of ``(index, multiplier)``, ``units`` one of ``(unit, shares)``, with
``shares`` a list of ``(point, share)``, or of a window one of ``(window, (shift, coefficients))``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import lcm
from operator import mul
from typing import Any, NamedTuple

from flint import fmpq, fmpq_mat
from oracle_graph import Graph, sources
from proof_tools import big, pack, var

Affine = Sequence[Any]
"""Coefficients of the inputs, then the constant: `Fraction` or, which is quicker, `fmpq`."""
Records = list[tuple[Any, ...]]
ZERO, ONE = Fraction(0), Fraction(1)


def quick(value: Any) -> fmpq:
    """A rational for arithmetic."""
    return value if isinstance(value, fmpq) else fmpq(value.numerator, value.denominator)


def plain(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


class Row(NamedTuple):
    """``sum inputs x + sum outputs y <= bound``, ``<`` if strict; or of one unit input ``z``."""

    inputs: dict[int, int]
    outputs: dict[int, int]
    bound: Fraction
    strict: bool = False
    unit: tuple[int, int] | None = None  # (unit, coefficient of its pre-activation)


class Ball(NamedTuple):
    """``sum |x_i - c_i| <= size`` ("l1"), or of squares ("l2"); ``<`` if strict."""

    norm: str
    center: list[Fraction]
    size: Fraction
    strict: bool = False

    def measure(self, x: Sequence[Fraction]) -> Fraction:
        gaps = [abs(a - c) for a, c in zip(x, self.center, strict=True)]
        return sum((g if self.norm == "l1" else g * g for g in gaps), ZERO)

    def holds(self, x: Sequence[Fraction]) -> bool:
        value = self.measure(x)
        return value < self.size if self.strict else value <= self.size


class System(NamedTuple):
    """A box, ``(lo, hi)`` per input with None for no bound, rows, and maybe a ball."""

    box: list[tuple[Fraction | None, Fraction | None]]
    rows: list[Row]
    ball: Ball | None = None


@dataclass
class DualProof:
    """A proof taken apart."""

    header: dict[str, Any]
    records: Records

    def copy(self) -> DualProof:
        return deepcopy(self)

    def body(self) -> bytes:
        return b"".join(map(encode, self.records))

    def to_bytes(self) -> bytes:
        return with_body(self.header, self.body())


def with_body(header: dict[str, Any], body: bytes) -> bytes:
    return pack(json.dumps(header).encode(), zlib.compress(body))


def encode(record: tuple[Any, ...]) -> bytes:
    kind, *rest = record
    if kind == "rule":
        return b"\0" + _multiplied(rest[0])
    if kind in ("dual", "envelope"):
        e, rows, v = rest[:3]
        out = b"\1" if kind == "dual" else b"\7"
        out += var(2 * e if e >= 0 else -2 * e - 1) + _multiplied(rows) + _listed(v, big)
        return out if kind == "dual" else out + _listed(rest[3], _envelope)
    if kind == "statement":
        which, shift, v, units = rest
        return b"\x08" + var(which) + var(shift) + _listed(v, big) + _listed(units, _envelope)
    if kind == "input":
        return b"\2" + var(rest[0]) + big(rest[1]) + big(rest[2])
    if kind == "norm":
        return b"\6"
    return {"unit": b"\3", "bounds": b"\4", "slopes": b"\5"}[kind] + var(rest[0])


def _steps(terms: Sequence[tuple[int, Any]]) -> list[int]:
    numbers = [number for number, _ in terms]
    return [b - a for a, b in zip([0, *numbers], numbers, strict=False)]


def _listed(terms: Sequence[tuple[int, Any]], content: Callable[[Any], bytes]) -> bytes:
    pairs = zip(_steps(terms), terms, strict=True)
    return var(len(terms)) + b"".join(var(step) + content(value) for step, (_, value) in pairs)


def _envelope(terms: Any) -> bytes:
    if isinstance(terms, tuple):  # of a window
        return var(terms[0]) + _listed(terms[1], big)
    return _listed(terms, var)


def _multiplied(terms: Sequence[tuple[int, int]]) -> bytes:
    return var(len(terms)) + b"".join(var(index) + big(m) for index, m in terms)


def decode(body: bytes, windows: Iterable[int] = ()) -> Records:
    """The records of a well-formed body about a network with these windows."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (body[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if body[at - 1] < 128:
                return value

    def integer() -> int:
        nonlocal at
        size = number()
        at += size
        return int.from_bytes(body[at - size : at], "little", signed=True)

    def envelopes() -> list[tuple[int, Any]]:
        out, last = [], 0
        for _ in range(number()):
            last += number()
            if last in windows:
                out.append((last, (number(), increasing(integer))))
            else:
                out.append((last, increasing(number)))
        return out

    def increasing(content: Callable[[], Any]) -> list[tuple[int, Any]]:
        out, last = [], 0
        for _ in range(number()):
            last += number()
            out.append((last, content()))
        return out

    records: Records = []
    while at < len(body):
        code = number()
        if code in (1, 7):
            e = number()
            e = -(e + 1) // 2 if e & 1 else e // 2
        if code in (0, 1, 7):
            rows = [(number(), integer()) for _ in range(number())]
            records.append(("rule", rows))
        if code in (1, 7):
            records[-1] = ("dual", e, rows, increasing(integer))
        if code == 7:
            records[-1] = ("envelope", *records[-1][1:], envelopes())
        elif code == 8:
            which, shift = number(), number()
            records.append(("statement", which, shift, increasing(integer), envelopes()))
        elif code == 2:
            records.append(("input", number(), integer(), integer()))
        elif code == 6:
            records.append(("norm",))
        elif code in (3, 4, 5):
            records.append(({3: "unit", 4: "bounds", 5: "slopes"}[code], number()))
    assert b"".join(map(encode, records)) == body
    return records


# -------------------------------------------------------------------------------------- statements


def text(value: Fraction | None, sign: int = 1) -> str:
    return str(value) if value is not None else "inf" if sign > 0 else "-inf"


def box_json(box: Any) -> dict[str, Any]:
    return {"lo": [text(a, -1) for a, _ in box], "hi": [text(b) for _, b in box]}


def property_json(net: Graph, systems: Sequence[System]) -> dict[str, Any]:
    """The property as the header states it: one box per disjunct."""
    cases: list[dict[str, Any]] = [
        {
            "box": k,
            "constraints": [
                {
                    "inputs": [[i, str(a)] for i, a in sorted(row.inputs.items())],
                    "outputs": [[j, str(c)] for j, c in sorted(row.outputs.items())],
                    "bound": str(row.bound),
                    "strict": row.strict,
                }
                for row in system.rows
            ],
        }
        for k, system in enumerate(systems)
    ]
    for case, system in zip(cases, systems, strict=True):
        if system.ball is not None:
            case["ball"] = {
                "norm": system.ball.norm,
                "center": [str(v) for v in system.ball.center],
                "size": str(system.ball.size),
            }
    boxes = [box_json(system.box) for system in systems]
    sizes = {"n_inputs": net.inputs, "n_outputs": net.sizes[-1]}
    return {**sizes, "boxes": boxes, "disjuncts": cases}


def unsat(net: Graph, digest: str, systems: Sequence[System], records: Records) -> DualProof:
    header = {
        "claim": "unsat",
        "evidence": "tree",
        "network": digest,
        "definitions": "exact",
        "property": property_json(net, systems),
    }
    return DualProof(header, records)


# -------------------------------------------------------------------------------- linear programs


class Optimum(NamedTuple):
    """Of a linear program: the values of the cost levels, the variables, the shadow prices."""

    values: list[Fraction]
    variables: list[Fraction]
    prices: list[Fraction]  # of the last level


def minimise(
    matrix: Sequence[Sequence[Any]], right: Sequence[Any], costs: Sequence[Any]
) -> Optimum | str:
    """Minimise, one level of costs after the other, where ``matrix y = right`` and ``y >= 0``.

    The simplex algorithm in exact rationals, with Bland's rule; "infeasible" or "unbounded" (in the
    first level that is) if there is no optimum.
    """
    size, count = len(right), len(costs[0])
    zero, one = fmpq(0), fmpq(1)
    signs = [-1 if v < 0 else 1 for v in right]
    table = [
        [*(quick(s * v) for v in line), *(fmpq(r == k) for k in range(size)), quick(s * v)]
        for r, (line, v, s) in enumerate(zip(matrix, right, signs, strict=True))
    ]
    basis = list(range(count, count + size))
    # What is infeasible comes first; artificial variables (count and on) never come back.
    levels = [[zero] * count + [one] * size + [zero]]
    levels += [[*map(quick, cost), *[zero] * size, zero] for cost in costs]
    for line in table:
        levels[0] = [a - b for a, b in zip(levels[0], line, strict=True)]
    while True:
        entering = next((k for k in range(count) if _falls(levels, k)), None)
        if entering is None:
            break
        # An artificial variable at zero leaves even where its coefficient is negative.
        stuck = [
            r
            for r, line in enumerate(table)
            if basis[r] >= count and not line[-1] and line[entering]
        ]
        ratios = [
            (line[-1] / line[entering], basis[r], r)
            for r, line in enumerate(table)
            if line[entering] > 0
        ]
        if not stuck and not ratios:
            return "unbounded"
        r = stuck[0] if stuck else min(ratios)[2]
        pivot = table[r][entering]
        table[r] = [v / pivot for v in table[r]]
        moved = [(k, v) for k, v in enumerate(table[r]) if v]
        for line in (*table[:r], *table[r + 1 :], *levels):
            factor = line[entering]
            if factor:
                for k, v in moved:
                    line[k] -= factor * v
        basis[r] = entering
    if levels[0][-1]:
        return "infeasible"
    out = [ZERO] * (count + size)
    for k, line in zip(basis, table, strict=True):
        out[k] = plain(line[-1])
    prices = [-s * plain(v) for s, v in zip(signs, levels[-1][count:-1], strict=True)]
    return Optimum([-plain(level[-1]) for level in levels[1:]], out[:count], prices)


def _falls(levels: list[list[fmpq]], k: int) -> bool:
    """Whether the first level that a variable changes becomes less with it."""
    return next((level[k] < 0 for level in levels if level[k]), False)


def farkas(rows: Sequence[Affine], strict: Sequence[bool]) -> list[Fraction] | None:
    """Multipliers >= 0 that show that no point has all rows >= 0 (> 0 if strict), or None.

    The sum of all rows, multiplied, has no coefficients, and its constant is < 0, or 0 with a
    strict row in it.
    """
    size = len(rows[0])
    matrix = [[row[k] for row in rows] for k in range(size - 1)] + [[ONE] * len(rows)]
    right = [ZERO] * (size - 1) + [ONE]
    found = minimise(matrix, right, [[row[-1] for row in rows], [-int(s) for s in strict]])
    if isinstance(found, str):
        assert found == "infeasible"
        return None
    constant, gain = found.values
    if constant > 0 or (constant == 0 and gain == 0):
        return None
    total = combine(size, zip(found.variables, rows, strict=True))
    assert total == (*[0] * (size - 1), quick(constant))
    return found.variables


def highest(rows: Sequence[Affine], goal: Affine) -> tuple[Fraction, list[Fraction]] | None:
    """The maximum of a function where all rows are >= 0, and a point; None if there is no point.

    Raises
    ------
    OverflowError
        If it is unbounded, or may be.
    """
    matrix = [[row[k] for row in rows] for k in range(len(goal) - 1)]
    found = minimise(matrix, [-v for v in goal[:-1]], [[row[-1] for row in rows]])
    if found == "unbounded":
        return None
    if isinstance(found, str):
        raise OverflowError
    point = [-v for v in found.prices]
    assert all(_at(row, point) >= 0 for row in rows)
    value = plain(_at(goal, point))
    assert value == found.values[0] + plain(quick(goal[-1]))
    return value, point


def _at(row: Affine, point: Sequence[Any]) -> fmpq:
    return sum(map(mul, map(quick, row), map(quick, point)), quick(row[-1]))


# ------------------------------------------------------------------------------- nearest points


class Nearest(NamedTuple):
    """The point of a polyhedron that is nearest to a center, and the multipliers that prove it."""

    value: Fraction  # what `Ball.measure` says there
    point: list[Fraction]
    prices: list[Fraction]  # of the rows


def nearest(rows: Sequence[Affine], ball: Ball) -> Nearest | None:
    """The nearest point to the center where all rows are >= 0, exactly; None if there is none.

    For "l1" a linear program; for "l2" all sets of tight rows are tried: the conditions of Karush,
    Kuhn and Tucker suffice, and there is a nearest point where there is a point at all.
    """
    n = len(ball.center)
    if ball.norm == "l1":
        more = [(*row[:-1], *[ZERO] * n, row[-1]) for row in rows]
        for i, v in enumerate(ball.center):
            for sign in (1, -1):  # t_i >= sign (x_i - v)
                row = [ZERO] * (2 * n) + [sign * v]
                row[i], row[n + i] = Fraction(-sign), ONE
                more.append(tuple(row))
        goal = (*[ZERO] * n, *[-ONE] * n, ZERO)
        found = highest(more, goal)
        if found is None:
            return None
        matrix = [[row[k] for row in more] for k in range(2 * n)]
        least = minimise(matrix, [-v for v in goal[:-1]], [[row[-1] for row in more]])
        assert not isinstance(least, str)
        return Nearest(-found[0], found[1][:n], least.variables[: len(rows)])
    if farkas(rows, [False] * len(rows)) is not None:
        return None
    table = [[quick(v) for v in row] for row in rows]
    center = [quick(v) for v in ball.center]
    values = [_at(row, center) for row in table]
    gram = [[sum(map(mul, f[:-1], g[:-1]), fmpq(0)) for g in table] for f in table]
    for count in range(n + 1):
        for tight in combinations(range(len(rows)), count):
            matrix = [[gram[j][k] for k in tight] for j in tight]
            steps = _solve(matrix, [-values[j] for j in tight])
            if steps is None or min(steps, default=0) < 0:
                continue
            point = list(center)
            for s, j in zip(steps, tight, strict=True):
                point = [v + s * a for v, a in zip(point, table[j], strict=False)]
            if all(_at(row, point) >= 0 for row in table):
                prices = [ZERO] * len(rows)
                for s, j in zip(steps, tight, strict=True):
                    prices[j] = 2 * plain(s)
                found = [plain(v) for v in point]
                return Nearest(ball.measure(found), found, prices)
    raise AssertionError("no nearest point, but a point")


def _solve(matrix: list[list[fmpq]], right: list[fmpq]) -> list[fmpq] | None:
    """The solution of a square system; None if it has not just one."""
    try:
        return list(fmpq_mat(matrix).solve(fmpq_mat([[v] for v in right])).entries())
    except ZeroDivisionError:
        return None


# ------------------------------------------------------------------------------------- full splits


def combine(size: int, terms: Iterable[tuple[Any, Affine]], bias: Any = 0) -> Affine:
    out = [fmpq(0)] * size
    for factor, row in terms:
        c = quick(factor)
        out = [a + c * quick(b) for a, b in zip(out, row, strict=True)]
    out[-1] += quick(bias)
    return tuple(out)


def numbering(net: Graph) -> list[tuple[int, int]]:
    """Per unit, its first unit input and how many it has."""
    out, at = [], 0
    for node in net.nodes:
        if node[0] == "linear":
            continue
        for entry in node[2]:
            n = 1 if node[0] == "units" else sum(j >= 0 for j in entry)
            out.append((at, n))
            at += n
    return out


class Full:
    """Splits on every unit of two pieces or more; see `full`."""

    def __init__(self, net: Graph, system: System) -> None:
        self.net, self.system, self.size = net, system, net.inputs + 1
        self.numbers = numbering(net)
        self.records: Records = []
        self.inputs = [tuple(fmpq(i == j) for j in range(self.size)) for i in range(net.inputs)]
        self.sides = []
        for i, (lo, hi) in enumerate(system.box):
            unit = self.inputs[i]
            if lo is not None:
                self.sides.append(combine(self.size, [(1, unit)], -lo))
            if hi is not None:
                self.sides.append(combine(self.size, [(-1, unit)], hi))
        self.path: list[tuple[Affine, list[tuple[int, int]]]] = []  # with what multiplies them
        self.z: dict[int, Affine] = {}

    def run(self) -> bool:
        return self.descend([self.inputs], [], 0)

    def descend(self, tensors: list[Any], made: list[Any], unit: int) -> bool:
        k = len(tensors) - 1
        if k == len(self.net.nodes):
            return self.leaf(tensors[-1])
        node = self.net.nodes[k]
        joined = [f for source in sources(node) for f in tensors[source]]
        if node[0] == "linear":
            out = [combine(self.size, [(c, joined[j]) for j, c in t], b) for t, b in node[2]]
            return self.descend([*tensors, out], [], unit)
        if len(made) == len(node[2]):
            return self.descend([*tensors, made], [], unit)
        entry, (first, n) = node[2][len(made)], self.numbers[unit]
        if node[0] == "units":
            z = self.z[unit] = joined[len(made)]
            low = combine(self.size, [(Fraction(entry), z)])
            if entry == 1:
                return self.descend(tensors, [*made, z], unit + 1)
            self.records.append(("unit", unit))
            minus = combine(self.size, [(-1, z)])
            return self.child(z, [(first, 1)], tensors, [*made, z], unit) and self.child(
                minus, [(first, 1)], tensors, [*made, low], unit
            )
        window = [joined[j] for j in entry if j >= 0]
        if n == 1:
            return self.descend(tensors, [*made, window[0]], unit + 1)
        self.records.append(("unit", unit))
        for p, best in enumerate(window):
            length = len(self.path)
            for j, other in enumerate(window):
                if j != p:
                    ahead = combine(self.size, [(1, best), (-1, other)])
                    self.path.append((ahead, [(first + p, 1), (first + j, 1)]))
            if not self.descend(tensors, [*made, best], unit + 1):
                return False
            del self.path[length:]
        return True

    def child(self, row: Affine, v: Any, tensors: Any, made: Any, unit: int) -> bool:
        self.path.append((row, v))
        done = self.descend(tensors, made, unit + 1)
        if done:
            self.path.pop()
        return done

    def functions(self, outputs: list[Affine]) -> list[Affine]:
        """Bound minus left side of the system's rows."""
        out = []
        for row in self.system.rows:
            terms = [(-a, self.inputs[i]) for i, a in row.inputs.items()]
            terms += [(-c, outputs[j]) for j, c in row.outputs.items()]
            if row.unit is not None:
                terms.append((-row.unit[1], self.z[row.unit[0]]))
            out.append(combine(self.size, terms, row.bound))
        return out

    def leaf(self, outputs: list[Affine]) -> bool:
        rows = list(self.sides) + [row for row, _ in self.path]
        first = len(rows)
        rows += self.functions(outputs)
        strict = [False] * first + [row.strict for row in self.system.rows]
        found, around = farkas(rows, strict), ZERO
        if found is None and self.system.ball is not None:
            found, around = self.outside(rows, strict), ONE
        if found is None:
            return False
        self.refute(found, around)
        return True

    def refute(self, found: Sequence[Fraction], around: Fraction = ZERO) -> None:
        """A leaf with multipliers of sides, path and system's rows, and of the ball."""
        first = len(self.sides) + len(self.path)
        den = lcm(*(y.denominator for y in found))
        whole = [int(y * den) for y in found]
        v: dict[int, int] = {}
        for (_, places), m in zip(self.path, whole[len(self.sides) :], strict=False):
            for number, sign in places:
                v[number] = v.get(number, 0) + sign * m
        used = [(r, m) for r, m in enumerate(whole[first:]) if m]
        if around:
            used.append((len(self.system.rows), den))
        self.records.append(("dual", 0, used, sorted((k, m) for k, m in v.items() if m)))

    def outside(self, rows: list[Affine], strict: list[bool]) -> list[Fraction] | None:
        """Multipliers that show with the ball's that no point where the rows hold is in it."""
        ball = self.system.ball
        assert ball is not None
        found = nearest(rows, ball)
        assert found is not None
        if found.value > ball.size or (found.value == ball.size and ball.strict):
            return found.prices
        if found.value < ball.size or not any(strict):
            return None
        if not any(s and price for s, price in zip(strict, found.prices, strict=True)):
            raise ArithmeticError("undecided")
        return found.prices


def full(net: Graph, systems: Sequence[System]) -> Records | None:
    """A tree that splits on all units, or None if some input is a solution of a system."""
    records: Records = []
    for system in systems:
        made = Full(net, system)
        if not made.run():
            return None
        records += made.records
    return records


# ------------------------------------------------------------------------------------ other proofs


def halved(system: System, depth: int, rules: Iterable[int], leaf: tuple[Any, ...]) -> Records:
    """All cells of a finite box after so many halvings, each with new bounds and the same leaf."""
    records: Records = []

    def descend(box: list[Any], left: int) -> None:
        if not left:
            records.extend([*(("bounds", rule) for rule in rules), leaf])
            return
        i = max(range(len(box)), key=lambda k: box[k][1] - box[k][0])
        lo, hi = box[i]
        if lo == hi:
            descend(box, 0)
            return
        value = (lo + hi) / 2
        records.append(("input", i, value.numerator, value.denominator))
        descend([*box[:i], (lo, value), *box[i + 1 :]], left - 1)
        descend([*box[:i], (value, hi), *box[i + 1 :]], left - 1)

    descend(list(system.box), depth)
    return records


def intervals(net: Graph, box: Sequence[Any]) -> list[list[tuple[Fraction, Fraction]]]:
    """Intervals of all tensors on a finite box."""
    tensors = [list(box)]
    for node in net.nodes:
        joined = [f for source in sources(node) for f in tensors[source]]
        out = []
        for i, entry in enumerate(node[2]):
            if node[0] == "linear":
                terms, bias = entry
                ends = [sorted((c * joined[j][0], c * joined[j][1])) for j, c in terms]
                out.append(tuple(sum((e[s] for e in ends), Fraction(bias)) for s in (0, 1)))
            elif node[0] == "units":
                lo, hi = joined[i]
                values = [v if v > 0 else Fraction(entry) * v for v in (lo, hi)]
                out.append(
                    (min(values + [ZERO] * (lo < 0 < hi)), max(values + [ZERO] * (lo < 0 < hi)))
                )
            else:
                window = [joined[j] for j in entry if j >= 0]
                out.append((max(lo for lo, _ in window), max(hi for _, hi in window)))
        tensors.append(out)
    return tensors


def slopes(
    net: Graph, box: Sequence[Any], row: Row, choose: Callable[[int], Fraction]
) -> tuple[list[tuple[int, int]], int]:
    """``v`` and ``m`` of a leaf for ``row`` after ``("bounds", 0)``: gradients times slopes.

    `choose` gives a number in [0, 1] for a unit: where between its pieces' slopes, or which slot.
    """
    tensors, numbers = intervals(net, box), numbering(net)
    grads = [[ZERO] * n for n in (net.inputs, *(len(node[2]) for node in net.nodes))]
    for j, c in row.outputs.items():
        grads[-1][j] += c
    unit = len(numbers)
    v: dict[int, Fraction] = {}
    for k in range(len(net.nodes) - 1, -1, -1):
        node = net.nodes[k]
        places = [(s, j) for s in sources(node) for j in range(len(tensors[s]))]
        for i in range(len(node[2]) - 1, -1, -1):
            g, entry = grads[k + 1][i], node[2][i]
            if node[0] == "linear":
                for j, c in entry[0]:
                    s, at = places[j]
                    grads[s][at] += c * g
                continue
            unit -= 1
            first, _ = numbers[unit]
            if node[0] == "max":
                window = [j for j in entry if j >= 0]
                p = min(int(choose(unit) * len(window)), len(window) - 1)
                s, at = places[window[p]]
                grads[s][at] += g
                if len(window) > 1 and g:
                    v[first + p] = g
                continue
            s, at = places[i]
            lo, hi = tensors[s][at]
            slope = Fraction(entry)
            if slope == 1 or lo >= 0:
                h = g
            elif hi <= 0:
                h = slope * g
            else:
                low = slope * lo
                chord = (hi - low) / (hi - lo)
                part = slope + (1 - slope) * choose(unit)
                h = v[first] = g * (chord if (g < 0) == (slope < 1) else part)
            grads[s][at] += h
    den = lcm(*(c.denominator for c in v.values()))
    return [(number, int(c * den)) for number, c in sorted(v.items()) if c], den


# ---------------------------------------------------------------------------------- what is true


class Highest(Full):
    """The maximum of ``bound - row`` of the system's only row, over all patterns."""

    best: tuple[Fraction, list[Fraction]] | None = None

    def leaf(self, outputs: list[Affine]) -> bool:
        rows = list(self.sides) + [row for row, _ in self.path]
        found = highest(rows, self.functions(outputs)[0])
        if found is not None and (self.best is None or found[0] > self.best[0]):
            self.best = found
        return True


def maximum(
    net: Graph, box: Any, inputs: dict[int, int], outputs: dict[int, int]
) -> tuple[Fraction, list[Fraction]]:
    """The exact maximum of a function over a box, and a point that attains it."""
    row = Row({i: -a for i, a in inputs.items()}, {j: -c for j, c in outputs.items()}, ZERO)
    walk = Highest(net, System(list(box), [row]))
    walk.run()
    assert walk.best is not None
    return walk.best
