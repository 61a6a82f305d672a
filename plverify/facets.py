"""Which rows of a polyhedron make facets, in any dimension: proposed in doubles, decided exactly.

A row makes a facet if a point satisfies all other rows strictly and that one not. Such a point is
looked for by projections (`csrc/lp/nearest.hpp`) and evaluated exactly. Where none is found, the
least value of the row where the others hold is asked for (`plverify.programs`), with its proof; and
where that does not tell, the engine's exact simplex method decides, which takes a second per
facet in sixty dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import frexp, gcd, inf
from operator import mul
from typing import Literal

import numpy as np

import plverify._core as _core
from plverify.domain import polytope_bytes
from plverify.exact_array import FloatArray
from plverify.exact_net import common_denominator
from plverify.programs import Program, maximize
from plverify.result import rounded

Row = tuple[int, ...]
"""``(a, c)`` of ``a . t + c >= 0``."""
Point = tuple[list[int], int]
"""Numerators and a positive denominator."""

_MARGINS = (2.0**-2, 2.0**-7, 2.0**-14, 2.0**-24, 2.0**-34)
"""Distances from the rows at which points inside are looked for, relative to their size."""
_SHARES = (2.0**-3, 2.0**-12, 2.0**-24)
"""And those of points beyond one row, relative to the room inside."""
_GRAIN = 24
"""Bits of a point below those of the distances."""


def facets(rows: Sequence[Row], dim: int) -> tuple[Point, list[int], list[Point]] | None:
    """A point inside, the rows that make facets, and a point inside each facet.

    Of rows that say the same, the first counts. None where the polyhedron has no interior.

    Parameters
    ----------
    rows : sequence of (a, c)
    dim : int

    >>> inside, kept, on = facets([(1, 0, 0), (0, 1, 0), (-1, -1, 2), (-1, -1, 3)], 2)
    >>> kept, [float(sum(point) / den) for point, den in on][2]
    ([0, 1, 2], 2.0)
    """
    return _proposed(rows, dim) or _core.facets(polytope_bytes(rows, dim))


def _proposed(rows: Sequence[Row], dim: int) -> tuple[Point, list[int], list[Point]] | None:
    """As `facets`; None where it is left to the exact simplex method."""
    numbers = [k for k, row in enumerate(rows) if any(row[:-1]) or row[-1] < 0]
    unit = np.array([_scaled(rows[k]) for k in numbers]).reshape(-1, dim + 1)
    inside = _point_inside([rows[k] for k in numbers], unit)
    if inside is None:
        return None
    room = [_value(rows[k], inside) for k in numbers]
    kept, on = list(range(len(numbers))), []
    near = np.array([rounded(Fraction(v, inside[1])) for v in inside[0]])
    for r in reversed(range(len(numbers))):
        others = [k for k in kept if k != r]
        row, table = rows[numbers[r]], [rows[numbers[k]] for k in others]
        found = _point_beyond(row, table, unit[r], unit[others], near)
        if found is None:
            least = _least(row, table, inside)
            if least is None:
                return None
            if least is True:
                kept.remove(r)
                continue
            found = least
        # Between the two points the row is zero where the others are positive.
        here, there = room[r] * found[1], -_value(row, found) * inside[1]
        on.append(_mix(inside, there, found, here))
    return inside, [numbers[k] for k in kept], on[::-1]


def _scaled(row: Row) -> list[float]:
    """The row in doubles, over the length of its gradient."""
    most = max(map(abs, row))
    out = np.array([rounded(Fraction(v, most)) for v in row])
    scaled: list[float] = (out / (np.linalg.norm(out[:-1]) or 1.0)).tolist()
    return scaled


def _value(row: Row, at: Point) -> int:
    """The value of a row at a point, times the point's denominator."""
    return sum(map(mul, row, at[0])) + row[-1] * at[1]


def _mix(one: Point, weight: int, other: Point, rest: int) -> Point:
    """The mean of two points, with these weights."""
    (p, a), (q, b) = one, other
    out = [v * weight * b + w * rest * a for v, w in zip(p, q, strict=True)]
    den = (weight + rest) * a * b
    common = gcd(den, *out)
    return [v // common for v in out], den // common


# ------------------------------------------------------------------------------ proposals


def _point_inside(rows: Sequence[Row], unit: FloatArray) -> Point | None:
    """A point at which all rows are positive, away from them; None if none was found."""
    size = 1.0 + float(np.abs(unit[:, -1]).max(initial=0.0))
    for share in _MARGINS:
        found = _projected(unit[:, :-1], share * size - unit[:, -1], share * size)
        if found is not None and all(_value(row, found) > 0 for row in rows):
            return found
    return None


def _point_beyond(
    row: Row, table: Sequence[Row], own: FloatArray, others: FloatArray, near: FloatArray
) -> Point | None:
    """A point at which one row is negative and others are positive, not far from one inside."""
    slopes = np.concatenate([others[:, :-1], -own[None, :-1]])
    values = others[:, :-1] @ near + others[:, -1]
    here = float(own[:-1] @ near + own[-1])
    for share in _SHARES:
        margin = share * min(float(values.min(initial=here)), here)
        bounds = np.concatenate([margin - values, [margin + here]])
        found = _projected(slopes, bounds, margin, near)
        if found is None or _value(row, found) >= 0:
            continue
        if all(_value(other, found) > 0 for other in table):
            return found
    return None


def _projected(
    slopes: FloatArray, bounds: FloatArray, margin: float, start: FloatArray | None = None
) -> Point | None:
    """About the point ``start + d`` with ``slopes d >= bounds`` for the shortest ``d``."""
    n = slopes.shape[1]
    if not (margin > 0 and np.isfinite(slopes).all() and np.isfinite(bounds).all()):
        return None
    free = np.full(n, inf)
    found = _core.nearest(slopes, bounds, -free, free, "l2")
    if found is None or not np.isfinite(found[0]).all():
        return None
    point = found[0] if start is None else start + found[0]
    # Rounded by far less than the margin: what follows is exact, and shorter so.
    grain = frexp(margin)[1] - _GRAIN
    numbers = [Fraction(v) / Fraction(2) ** grain for v in point.tolist()]
    whole = [round(v) for v in numbers]
    return (whole, 1 << -grain) if grain < 0 else ([v << grain for v in whole], 1)


# ------------------------------------------------------------------------------- exactly


def _least(row: Row, table: Sequence[Row], inside: Point) -> Point | Literal[True] | None:
    """True if no point with ``others >= 0`` has a smaller value than 0, else such a point.

    Where it is a point, the others are positive there. None where neither was proven.
    """
    n = len(row) - 1
    rows = tuple(({j: -v for j, v in enumerate(a[:-1]) if v}, a[-1]) for a in table)
    start = [Fraction(v, inside[1]) for v in inside[0]]
    best = maximize(Program(rows, (-inf,) * n, (inf,) * n), [Fraction(-v) for v in row[:-1]], start)
    if best.upper <= row[-1]:
        return True
    if best.point is None:
        return None
    point = list(best.point)
    if best.ray is not None:
        rate = sum(map(mul, row, best.ray))  # less than 0
        far = (abs(sum(map(mul, row, point)) + row[-1]) + 1) / -rate
        point = [v + far * d for v, d in zip(point, best.ray, strict=True)]
    found = common_denominator(point)
    beyond = -_value(row, found)
    if beyond <= 0:
        return None
    # Halfway from the row to that point the others are positive.
    weight = beyond * inside[1], _value(row, inside) * found[1]
    return _mix(_mix(inside, weight[0], found, weight[1]), 1, found, 1)


__all__ = ["facets"]
