"""Linear programs with rigorous ends: HiGHS proposes, rational arithmetic decides.

The largest ``c . v`` over ``A v <= b``, ``lo <= v <= hi``. HiGHS ends at a basis in floating point.
The point and the multipliers that the basis stands for are computed again in rationals (where that
takes too long, the point in floating point is moved inside); the point is a lower end if it
satisfies everything, exactly. For any ``y >= 0`` the dual bound

    c . v  <=  y . b  +  sum over j of the maximum of r_j v_j on [lo_j, hi_j],   r = c - A' y,

holds (Neumaier and Shcherbina 2004), so the multipliers give an upper end whatever they are: those
of the basis mostly the same value, then the optimum is known exactly. Emptiness is the same bound
for ``c = 0``, below 0. A ray is an optimum of the program of directions, cut off at 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isinf, lcm
from typing import Any

import numpy as np
from flint import fmpz_mat

import plverify._core as _core
from plverify.domain import Bound, polytope_bytes
from plverify.exact_net import common_denominator, pack_ints
from plverify.result import rounded

Row = tuple[dict[int, int], int]
"""``(entries, b)`` of ``sum entries[j] v_j <= b``, in integers."""
Vector = tuple[Fraction, ...]

WORK = 2_000_000_000
"""Steps (`work`) of the rational systems of one program beyond which they take too long."""
_EXACT = 4_000
"""Entries of a table beyond which the exact simplex method from the start takes too long."""
_PIVOTS = 50


@dataclass(frozen=True)
class Program:
    """The polyhedron of a linear program.

    Attributes
    ----------
    rows : tuple of (dict, int)
        See `Row`.
    lo, hi : tuple of Fraction or infinite float
    """

    rows: tuple[Row, ...]
    lo: tuple[Bound, ...]
    hi: tuple[Bound, ...]

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.lo)

    def contains(self, v: Sequence[Fraction]) -> bool:
        """Whether a point satisfies everything, exactly."""
        inside = all(a <= p <= b for a, p, b in zip(self.lo, v, self.hi, strict=True))
        return inside and all_hold(self.rows, v)

    def bound(self, c: Sequence[Fraction], y: Sequence[Fraction]) -> Bound:
        """The dual bound of multipliers ``y >= 0``: no feasible ``c . v`` is larger."""
        total = sum((m * b for (_, b), m in zip(self.rows, y, strict=True) if m), Fraction(0))
        for r, low, high in zip(self.rest(c, y), self.lo, self.hi, strict=True):
            end = high if r > 0 else low
            if r:
                if isinstance(end, float):
                    return inf
                total += r * end
        return total

    def rest(self, c: Sequence[Fraction], y: Sequence[Fraction]) -> list[Fraction]:
        """``c - A' y``."""
        weights, den = common_denominator(y)
        costs, scale = common_denominator(c)
        total = [0] * self.size
        for (entries, _), m in zip(self.rows, weights, strict=True):
            if m:
                for j, a in entries.items():
                    total[j] += m * a
        both = den * scale
        return [Fraction(p * den - q * scale, both) for p, q in zip(costs, total, strict=True)]


@dataclass(frozen=True)
class Optimum:
    """What is known of a largest value.

    Attributes
    ----------
    status : str
        "optimal": `lower` and `upper` are the value, exactly. "bounded": it is between them, and
        both are finite. "unbounded", with a `ray` along which the value grows for ever from
        `point`. "infeasible", proven. "unknown": the ends hold, but nothing else is known.
    lower, upper : Fraction or infinite float
    point : tuple of Fraction, or None
        Feasible, exactly; its value is `lower` unless there is a ray.
    multipliers : tuple of Fraction, or None
        Of the rows: what proves `upper`, or that there is no feasible point. None where the exact
        simplex method had to decide.
    ray : tuple of Fraction, or None
    """

    status: str
    lower: Bound = -inf
    upper: Bound = inf
    point: Vector | None = None
    multipliers: Vector | None = None
    ray: Vector | None = None


def products(rows: Sequence[Row], v: Sequence[Fraction]) -> list[Fraction]:
    """The left sides of rows at a point."""
    nums, den = common_denominator(v)
    return [Fraction(sum(a * nums[j] for j, a in entries.items()), den) for entries, _ in rows]


def all_hold(rows: Sequence[Row], v: Sequence[Fraction]) -> bool:
    """Whether a point satisfies rows, exactly."""
    nums, den = common_denominator(v)
    return all(sum(a * nums[j] for j, a in entries.items()) <= b * den for entries, b in rows)


def integer_row(entries: dict[int, Fraction], b: Fraction) -> Row:
    """The row with the same meaning in integers."""
    scale = lcm(b.denominator, *(a.denominator for a in entries.values()))
    return {j: int(a * scale) for j, a in entries.items() if a}, int(b * scale)


def maximize(
    program: Program, c: Sequence[Fraction], inside: Sequence[Fraction] | None = None
) -> Optimum:
    """The largest value of ``c . v``, with proven ends.

    Parameters
    ----------
    program : Program
    c : sequence of Fraction
    inside : sequence of Fraction, optional
        A feasible point.

    >>> square = Program((({0: 1, 1: 2}, 3),), (Fraction(0),) * 2, (Fraction(2),) * 2)
    >>> best = maximize(square, [Fraction(1), Fraction(3)])
    >>> best.status, best.lower, best.upper, best.point
    ('optimal', Fraction(9, 2), Fraction(9, 2), (Fraction(0, 1), Fraction(3, 2)))
    """
    if not any(c) and inside is not None:
        none = (Fraction(0),) * len(program.rows)
        return Optimum("optimal", Fraction(0), Fraction(0), tuple(inside), none)
    free = any(isinstance(v, float) for v in program.lo + program.hi)
    if free and any(c):
        ray = _ray(program, c)
        if ray is not None:
            start = tuple(inside) if inside is not None else _feasible(program)
            if isinstance(start, Optimum):
                return start
            return Optimum("unbounded", inf, inf, start, None, ray)
    guess = _highs(program, c)
    best = _from_basis(program, c, guess)
    small = program.size * (len(program.rows) + 1) <= _EXACT
    if best.status in ("bounded", "unknown") and small:
        best = _from_engine(program, c, best)
    if best.status == "unknown" and guess.optimal:
        point = feasible_near(program, guess.point, inside)
        return best if point is None else _between_ends(c, point, best.upper, best.multipliers)
    return best


def _between_ends(c: Sequence[Fraction], point: Vector, upper: Bound, y: Vector | None) -> Optimum:
    """The optimum as far as a feasible point and an upper end tell it."""
    lower = sum((a * v for a, v in zip(c, point, strict=True)), Fraction(0))
    status = "unknown" if isinf(upper) else "optimal" if lower == upper else "bounded"
    return Optimum(status, lower, upper, point, y)


def _feasible(program: Program) -> Vector | Optimum:
    """A feasible point, or what is known instead."""
    found = maximize(program, [Fraction(0)] * program.size)
    return found if found.point is None else found.point


def _ray(program: Program, c: Sequence[Fraction]) -> Vector | None:
    """A direction in which the program never ends and ``c . v`` grows; None if none was found."""
    rows = tuple((entries, 0) for entries, _ in program.rows)
    lo = tuple(Fraction(-1 if isinstance(v, float) else 0) for v in program.lo)
    hi = tuple(Fraction(1 if isinstance(v, float) else 0) for v in program.hi)
    zero = (Fraction(0),) * program.size
    best = maximize(Program(rows, lo, hi), c, zero)
    return best.point if best.lower > 0 else None


# ------------------------------------------------------------------------------------- HiGHS


@dataclass(frozen=True)
class _Guess:
    """How HiGHS ended: basic columns, tight rows, ends of the other columns, multipliers, point."""

    optimal: bool
    basic: list[int]
    tight: list[int]
    ends: dict[int, Fraction]
    multipliers: list[Fraction]
    point: list[float]


def _highs(program: Program, c: Sequence[Fraction]) -> _Guess:
    import highspy

    n, m = program.size, len(program.rows)
    entries = [(i, j, a) for i, (row, _) in enumerate(program.rows) for j, a in row.items()]
    scale = [max((abs(a) for a in row.values()), default=1) for row, _ in program.rows]
    most = max((abs(v) for v in c), default=Fraction(0)) or Fraction(1)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n, m
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_ = np.array([float(v / most) for v in c])
    lp.col_lower_ = np.array([_double(v) for v in program.lo])
    lp.col_upper_ = np.array([_double(v) for v in program.hi])
    lp.row_lower_ = np.full(m, -inf)
    lp.row_upper_ = np.array(
        [rounded(Fraction(b, s)) for (_, b), s in zip(program.rows, scale, strict=True)]
    )
    count = np.bincount([i for i, _, _ in entries], minlength=m) if entries else np.zeros(m)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    lp.a_matrix_.index_ = np.array([j for _, j, _ in entries], np.int32)
    lp.a_matrix_.value_ = np.array([a / scale[i] for i, _, a in entries])
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (("output_flag", False), ("threads", 1), ("presolve", "off")):
        solver.setOptionValue(name, value)
    solver.setOptionValue("solver", "simplex")
    solver.setOptionValue("small_matrix_value", 1e-12)
    solver.passModel(lp)
    solver.run()
    optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    solution = solver.getSolution()
    if optimal:
        dual = list(solution.row_dual)
    else:
        _, has_ray, ray = solver.getDualRay()
        dual = [-v for v in ray] if has_ray else [0.0] * m
    basis, status = solver.getBasis(), highspy.HighsBasisStatus
    ends: dict[int, Fraction] = {}
    basic = []
    for j, kind in enumerate(basis.col_status):
        end = program.hi[j] if kind == status.kUpper else program.lo[j]
        if kind == status.kBasic:
            basic.append(j)
        else:
            ends[j] = end if isinstance(end, Fraction) else Fraction(0)
    tight = [i for i, kind in enumerate(basis.row_status) if kind != status.kBasic]
    # HiGHS states duals of scaled rows and of the scaled objective.
    size = most if optimal else Fraction(1)
    multipliers = [
        size * Fraction(v) / s if np.isfinite(v) else Fraction(0)
        for v, s in zip(dual, scale, strict=True)
    ]
    return _Guess(optimal, basic, tight, ends, multipliers, list(solution.col_value))


def _double(value: Bound) -> float:
    return rounded(value) if isinstance(value, Fraction) else value


def _from_basis(program: Program, c: Sequence[Fraction], guess: _Guess) -> Optimum:
    """The optimum at the basis, with what can be proven about it."""
    # Whatever sign HiGHS gives its multipliers, one of the two is the right one.
    signed: list[Vector] = [
        tuple(max(sign * v, Fraction(0)) for v in guess.multipliers) for sign in (1, -1)
    ]
    if not guess.optimal:
        zero = [Fraction(0)] * program.size
        for y in signed:
            if program.bound(zero, y) < 0:
                return Optimum("infeasible", -inf, -inf, None, y)
        return Optimum("unknown")
    point, exact = _Vertex(program, c, guess).climb()
    proposed = signed if exact is None else [exact, *signed]
    upper, y = min(((program.bound(c, y), y) for y in proposed), key=lambda pair: pair[0])
    if point is None or not program.contains(point):
        return Optimum("unknown", -inf, upper, None, y)
    return _between_ends(c, point, upper, y)


class _Vertex:
    """A basis in rationals: as many tight rows as basic columns, the other columns at an end.

    HiGHS's last basis is optimal but for rounding: a multiplier that ought to be 0 may be less than
    0 by 1e-17. Some steps of the primal simplex method, exactly, settle that.
    """

    def __init__(self, program: Program, c: Sequence[Fraction], guess: _Guess) -> None:
        self.program, self.c = program, c
        self.basic, self.tight, self.ends = [*guess.basic], [*guess.tight], dict(guess.ends)
        self.point: Vector = ()
        self.y: Vector = ()
        self.work = 0

    def climb(self) -> tuple[Vector | None, Vector | None]:
        """The point and the multipliers in the end; the latter at least 0, None if they are not."""
        if len(self.tight) != len(self.basic):
            return None, None
        for _ in range(_PIVOTS + 1):
            table = self._table
            self.work += 3 * work(table)
            if self.work > WORK:
                break
            if not self._solve(table):
                return None, None
            if not self.program.contains(self.point) or not self._pivot(table):
                break
        if not self.point:
            return None, None
        return self.point, tuple(max(v, Fraction(0)) for v in self.y)

    @property
    def _table(self) -> list[list[int]]:
        return [[self.program.rows[i][0].get(j, 0) for j in self.basic] for i in self.tight]

    def _solve(self, table: Sequence[Sequence[int]]) -> bool:
        rows, n = self.program.rows, self.program.size
        known, den = common_denominator([self.ends.get(j, Fraction(0)) for j in range(n)])
        right = [
            rows[i][1] * den - sum(a * known[j] for j, a in rows[i][0].items()) for i in self.tight
        ]
        costs, scale = common_denominator([self.c[j] for j in self.basic])
        values, weights = solve(table, right), solve(list(zip(*table, strict=True)), costs)
        if values is None or weights is None:
            return False
        point = [Fraction(v, den) for v in known]
        for j, v in zip(self.basic, values, strict=True):
            point[j] = v / den
        y = [Fraction(0)] * len(rows)
        for i, v in zip(self.tight, weights, strict=True):
            y[i] = v / scale
        self.point, self.y = tuple(point), tuple(y)
        return True

    def _pivot(self, table: Sequence[Sequence[int]]) -> bool:
        """One step to a vertex that is better or as good; False where there is none."""
        program, rows = self.program, self.program.rows
        leaving = self._fault()
        if leaving is None:
            return False
        kind, index, sign = leaving
        d = [Fraction(0)] * program.size
        if kind == "row":
            right = [-int(i == index) for i in self.tight]
        else:
            d[index] = Fraction(sign)
            right = [-sign * rows[i][0].get(index, 0) for i in self.tight]
        steps = solve(table, right)
        if steps is None:
            return False
        for j, v in zip(self.basic, steps, strict=True):
            d[j] = v
        room: list[tuple[Fraction, str, int]] = []
        for j in (*self.basic, *([index] if kind == "column" else ())):
            end = program.hi[j] if d[j] > 0 else program.lo[j]
            if d[j] and isinstance(end, Fraction):
                room.append(((end - self.point[j]) / d[j], "column", j))
        rates, values = products(rows, d), products(rows, self.point)
        for i, (rate, value) in enumerate(zip(rates, values, strict=True)):
            if i not in self.tight and rate > 0:
                room.append(((rows[i][1] - value) / rate, "row", i))
        if not room:
            return False
        _, entering, at = min(room)
        if kind == "row":
            self.tight.remove(index)
        else:
            del self.ends[index]
            self.basic.append(index)
        if entering == "row":
            self.tight.append(at)
        else:
            end = program.hi[at] if d[at] > 0 else program.lo[at]
            assert isinstance(end, Fraction)
            self.basic.remove(at)
            self.ends[at] = end
        return True

    def _fault(self) -> tuple[str, int, int] | None:
        """What leaves the basis, the first of all (Bland 1977): a column and its way, or a row."""
        rest = self.program.rest(self.c, self.y)
        for j, end in sorted(self.ends.items()):
            low, high = self.program.lo[j], self.program.hi[j]
            if (rest[j] > 0 and end != high) or (rest[j] < 0 and end != low):
                return "column", j, 1 if rest[j] > 0 else -1
        for i in sorted(self.tight):
            if self.y[i] < 0:
                return "row", i, 0
        return None


def solve(table: Sequence[Sequence[int]], right: Sequence[int]) -> list[Fraction] | None:
    """The solution of a square system in integers; None if it is singular.

    >>> solve([[2, 1], [1, 3]], [1, 0])
    [Fraction(3, 5), Fraction(-1, 5)]
    """
    if not table:
        return []
    try:
        found: Any = fmpz_mat([list(row) for row in table]).solve(fmpz_mat([[v] for v in right]))
    except ZeroDivisionError:
        return None
    numerators, den = found.numer_denom()
    return [Fraction(int(row[0]), int(den)) for row in numerators.tolist()]


def work(table: Sequence[Sequence[int]]) -> int:
    """About how much it takes to solve a system: about 1e-9 s a unit."""
    bits = max((abs(v).bit_length() for row in table for v in row), default=0)
    return len(table) ** 3 * bits


# --------------------------------------------------------------------------- feasible points


def feasible_near(
    program: Program, guess: Sequence[float], inside: Sequence[Fraction] | None = None
) -> Vector | None:
    """A feasible point close to one in floating point; None if none was found.

    The guess, moved into the bounds, and from there as far as it takes towards a point with room on
    all sides, or towards ``inside``.

    Parameters
    ----------
    program : Program
    guess : sequence of float
    inside : sequence of Fraction, optional
        A feasible point.
    """
    point = _clipped(program, guess)
    if point is None or program.contains(point):
        return point
    n = program.size
    rows = tuple(
        ({**row, n: max(map(abs, row.values()))} if row else row, b) for row, b in program.rows
    )
    one = Fraction(1)
    roomy = Program(rows, (*program.lo, Fraction(0)), (*program.hi, one))
    middle = _clipped(program, _highs(roomy, [Fraction(0)] * n + [one]).point[:n])
    for start in (middle, inside):
        found = None if start is None else _between(program, point, start)
        if found is not None:
            return found
    return None


def _clipped(program: Program, point: Sequence[float]) -> Vector | None:
    """The point, moved into the bounds."""
    if not np.isfinite(point).all():
        return None
    sides = zip(program.lo, map(Fraction, point), program.hi, strict=True)
    return tuple(Fraction(max(low, min(v, high))) for low, v, high in sides)


def _between(program: Program, point: Vector, inside: Sequence[Fraction]) -> Vector | None:
    """The feasible point nearest to ``point`` on the way from a feasible one."""
    if not program.contains(inside):
        return None
    step = [p - q for p, q in zip(point, inside, strict=True)]
    share = Fraction(1)
    rates, values = products(program.rows, step), products(program.rows, inside)
    sides = [
        (rate, b - value) for rate, value, (_, b) in zip(rates, values, program.rows, strict=True)
    ]
    for s, q, low, high in zip(step, inside, program.lo, program.hi, strict=True):
        if isinstance(high, Fraction):
            sides.append((s, high - q))
        if isinstance(low, Fraction):
            sides.append((-s, q - low))
    for rate, room in sides:
        if rate > 0:
            share = min(share, Fraction(room) / rate)
    return tuple(q + share * s for q, s in zip(inside, step, strict=True))


def _from_engine(program: Program, c: Sequence[Fraction], known: Optimum) -> Optimum:
    """The answer of the exact simplex method."""
    n = program.size
    table = [[-row.get(j, 0) for j in range(n)] + [b] for row, b in program.rows]
    for j, (low, high) in enumerate(zip(program.lo, program.hi, strict=True)):
        for end, sign in ((low, 1), (high, -1)):
            if isinstance(end, Fraction):
                line = [0] * (n + 1)
                line[j], line[n] = sign * end.denominator, -sign * end.numerator
                table.append(line)
    data = polytope_bytes([tuple(line) for line in table], n)
    costs, _ = common_denominator(c)
    found = _core.exact_maximum(data, pack_ints(costs) + pack_ints([0]))
    if found is None:
        zero = pack_ints([0] * n) + pack_ints([0])
        empty = not any(costs) or _core.exact_maximum(data, zero) is None
        return Optimum("infeasible", -inf, -inf) if empty else known
    point = tuple(Fraction(v, found[1]) for v in found[0])
    value = sum((a * v for a, v in zip(c, point, strict=True)), Fraction(0))
    proof = known.multipliers if known.upper == value else None
    return Optimum("optimal", value, value, point, proof)
