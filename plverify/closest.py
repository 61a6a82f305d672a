"""The point of a polyhedron that is closest to a given one, exactly, in l1, l2 or linf.

In l2 the dual active-set method of Goldfarb and Idnani ("A numerically stable dual method for
solving strictly convex quadratic programs", 1983): constraints that are violated enter one by one,
and the distance grows. In l1 and linf the step ``d`` to the closest point is a nonnegative
combination of corners of the unit ball, whose coefficients sum to the distance: a linear program
with one row per constraint and a column per corner, of which the dual norm finds the one that helps
most (column generation). Ties are broken lexicographically, so that the simplex method ends. Both
work in rational numbers, and what they cost grows with the constraints near the point rather than
with the dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

from flint import fmpq, fmpq_mat

Row: TypeAlias = Sequence[int]
Vector: TypeAlias = list[fmpq]
Table: TypeAlias = list[Vector]

NORMS = ("l1", "l2", "linf")
_ZERO = fmpq(0)


def closest_point(
    rows: Sequence[Row], x: Sequence[Fraction], norm: str, limit: Fraction | None = None
) -> tuple[Fraction, tuple[Fraction, ...]] | None:
    """The distance from ``x`` to ``{p : a . p + c >= 0 for all rows (a, c)}``, and where it is.

    Parameters
    ----------
    rows : sequence of integer rows ``(a, c)``
        Redundant and repeated ones do no harm.
    x : (n,) Fractions
    norm : "l1", "l2" or "linf"
    limit : Fraction, optional
        Of the distance, as it is returned.

    Returns
    -------
    (distance, point), or None
        The distance is squared in l2. None if the polyhedron is empty, or farther than ``limit``.
        In l1 and linf the point is one of several that may be as close.

    >>> corner = [(1, 0, -3), (0, 1, -4)]
    >>> closest_point(corner, (Fraction(0), Fraction(0)), "l2")
    (Fraction(25, 1), (Fraction(3, 1), Fraction(4, 1)))
    >>> [closest_point(corner, (Fraction(0), Fraction(0)), norm)[0] for norm in ("l1", "linf")]
    [Fraction(7, 1), Fraction(4, 1)]
    """
    normals = [[fmpq(v) for v in row[:-1]] for row in rows]
    start = [fmpq(v.numerator, v.denominator) for v in x]
    values = [_dot(a, start) + row[-1] for a, row in zip(normals, rows, strict=True)]
    if all(value >= 0 for value in values):
        return Fraction(0), tuple(x)
    most = None if limit is None else fmpq(limit.numerator, limit.denominator)
    found = (
        _step_l2(normals, values, most) if norm == "l2" else _step_in(normals, values, most, norm)
    )
    if found is None:
        return None
    length, step = found
    return _fraction(length), tuple(p + _fraction(d) for p, d in zip(x, step, strict=True))


def _dot(a: Vector, b: Vector) -> fmpq:
    return sum((p * q for p, q in zip(a, b, strict=True) if p and q), _ZERO)


def _combine(factors: Vector, rows: Sequence[Vector], size: int) -> Vector:
    """The sum of factor times row."""
    used = [(f, row) for f, row in zip(factors, rows, strict=True) if f]
    return [sum((f * row[k] for f, row in used if row[k]), _ZERO) for k in range(size)]


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


# --------------------------------------------------------------------------------------------- l2


def _step_l2(normals: Table, values: Vector, limit: fmpq | None) -> tuple[fmpq, Vector] | None:
    """The shortest ``d`` with ``a . d + value >= 0`` for all, and its squared length."""
    size = len(normals)
    gram: dict[tuple[int, int], fmpq] = {}

    def product(i: int, j: int) -> fmpq:
        key = (min(i, j), max(i, j))
        if key not in gram:
            gram[key] = _dot(normals[i], normals[j])
        return gram[key]

    active: list[int] = []
    weights: Vector = []  # d is the sum of weight times normal over the active constraints
    while True:
        now = [v + _dot(weights, [product(i, j) for j in active]) for i, v in enumerate(values)]
        violated = [i for i in range(size) if now[i] < 0]
        length = _dot(weights, [now[i] - values[i] for i in active])
        if limit is not None and length > limit:
            return None
        if not violated:
            return length, _combine(weights, [normals[i] for i in active], len(normals[0]))
        # far beyond its hyperplane first: any order ends, this one soon
        enter = max(violated, key=lambda i: now[i] ** 2 / (product(i, i) or 1))
        weight, value = _ZERO, now[enter]
        while True:
            beside = [product(i, enter) for i in active]
            turn = _solve([[product(i, j) for j in active] for i in active], beside)
            slope = product(enter, enter) - _dot(turn, beside)
            full = -value / slope if slope else None
            least = min(
                ((w / r, k) for k, (w, r) in enumerate(zip(weights, turn, strict=True)) if r > 0),
                default=None,
            )
            if full is not None and (least is None or full <= least[0]):
                t, leave = full, -1
            elif least is not None:
                t, leave = least
            else:
                return None
            weights = [w - t * r for w, r in zip(weights, turn, strict=True)]
            weight, value = weight + t, value + t * slope
            if leave < 0:
                active.append(enter)
                weights.append(weight)
                break
            del active[leave], weights[leave]


def _solve(matrix: Table, right: Vector) -> Vector:
    if not matrix:
        return []
    size = len(matrix)
    flat = [v for row in matrix for v in row]
    found = fmpq_mat(size, size, flat).solve(fmpq_mat(size, 1, right))
    return [found[i, 0] for i in range(size)]


# ------------------------------------------------------------------------------------ l1 and linf


def _step_in(
    normals: Table, values: Vector, limit: fmpq | None, norm: str
) -> tuple[fmpq, Vector] | None:
    """As `_step_l2`, but the length in the norm, not squared: few of the constraints matter."""
    used: list[int] = []
    step = [_ZERO] * len(normals[0])
    length = _ZERO
    while True:
        violated = {i: now for i, a in enumerate(normals) if (now := values[i] + _dot(a, step)) < 0}
        if not violated:
            return length, step
        used.append(min(violated, key=violated.__getitem__))
        found = _step_by_corners([normals[i] for i in used], [values[i] for i in used], norm)
        if found is None or (limit is not None and found[0] > limit):
            return None
        length, step = found


def _step_by_corners(normals: Table, values: Vector, norm: str) -> tuple[fmpq, Vector] | None:
    """As `_step_in`, by the revised simplex method.

    Constraint ``i`` reads ``a_i . d - surplus_i = -value_i``. A row with a negative right side is
    negated, so that its surplus is a start; the others start with an artificial variable. The first
    of the two costs counts those, the second the coefficients of corners.
    """
    size, n = len(normals), len(normals[0])
    flips = [fmpq(1 if value < 0 else -1) for value in values]
    flat = [f * v for f, a in zip(flips, normals, strict=True) for v in a]
    rows = fmpq_mat(size, n, flat)
    unit = [[fmpq(int(i == k)) for k in range(size)] for i in range(size)]
    # a row of the tableau: the value of the basic variable, then its row of the basis' inverse
    table: Table = [[abs(value), *unit[i]] for i, value in enumerate(values)]
    costs = [(fmpq(int(f > 0)), _ZERO) for f in flips]
    basis: list[Vector | None] = [None] * size  # the corners
    while True:
        duals = [_combine(list(cost), table, size + 1)[1:] for cost in zip(*costs, strict=True)]
        corner = _corner(fmpq_mat(2, size, duals[0] + duals[1]) * rows, norm)
        if corner is not None:
            cost, column = (_ZERO, fmpq(1)), (rows * fmpq_mat(n, 1, corner)).entries()
        else:
            prices = [(f * a, f * b) for f, a, b in zip(flips, *duals, strict=True)]
            enter = next((i for i, (a, b) in enumerate(prices) if a < 0 or (not a and b < 0)), None)
            if enter is None:
                break
            cost, column = (_ZERO, _ZERO), [-flips[enter] * v for v in unit[enter]]
        moved = [_dot(row[1:], column) for row in table]
        leave = min(
            (i for i in range(size) if moved[i] > 0),
            key=lambda i: [v / moved[i] for v in table[i]],
        )
        table[leave] = [v / moved[leave] for v in table[leave]]
        for i, m in enumerate(moved):
            if i != leave and m:
                table[i] = [v - m * w for v, w in zip(table[i], table[leave], strict=True)]
        costs[leave], basis[leave] = cost, corner
    if any(cost[0] and row[0] for cost, row in zip(costs, table, strict=True)):
        return None
    used = [(row[0], found) for row, found in zip(table, basis, strict=True) if found is not None]
    factors = [factor for factor, _ in used]
    return sum(factors, _ZERO), _combine(factors, [found for _, found in used], n)


def _corner(pulls: fmpq_mat, norm: str) -> Vector | None:
    """The corner of the unit ball whose reduced cost is least, if that is negative.

    The rows of ``pulls`` are the gradients of what the two costs gain.
    """
    n = pulls.ncols()
    entries = pulls.entries()
    for pull, cost in ((entries[:n], 0), (entries[n:], 1)):
        size = [abs(v) for v in pull]
        most = max(range(n), key=size.__getitem__)
        if (size[most] if norm == "l1" else sum(size, _ZERO)) > cost:
            corner = [fmpq(1 if v >= 0 else -1) for v in pull]
            return corner if norm == "linf" else [v * int(k == most) for k, v in enumerate(corner)]
    return None
