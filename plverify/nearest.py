"""The nearest point of a polyhedron within a box, with a certificate, in l1, l2 or linf.

HiGHS (l1, linf) or the engine's active-set method (l2) proposes which rows are tight and where each
coordinate is: at an end of the box, at the ball's, at the centre, or free. That is a small linear
system, solved in rationals. The multipliers ``y >= 0`` of the rows ``a . d >= b`` prove a lower
bound of every distance, whatever they are:

    min ||d||  >=  y . b  +  min over d in the box of  ||d|| - (A' y) . d

(in l2 with ``||d||^2 / 2`` on both sides). The last minimum goes coordinate by coordinate, so that
it is exact. Where both ends meet, tight rows, multipliers and point are the KKT conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from operator import mul
from typing import Any

import numpy as np

import plverify._core as _core
from plverify.domain import Bound
from plverify.exact_net import common_denominator
from plverify.programs import WORK, Program, Vector, feasible_near, maximize, solve, work
from plverify.result import rounded

Row = tuple[Sequence[int], int]
"""``(a, b)`` of ``a . d >= b``, in integers."""

_MOST_INPUTS = 200
"""Inputs beyond which the basis of the program for linf takes too long."""

# csrc/lp/nearest.hpp, Place
FREE, STILL, LOW, HIGH, MINUS, PLUS = range(6)


@dataclass(frozen=True)
class NearestPoint:
    """A point near the origin, and what is known of the nearest one.

    Attributes
    ----------
    status : str
        "optimal": the point is the nearest, exactly. "bounded": its distance is `upper`, and none
        is nearer than `lower`. "infeasible": the polyhedron is empty in the box, proven.
        "unknown": no point was found.
    point : tuple of Fraction, or None
        In the polyhedron and the box, exactly.
    lower, upper : Fraction or inf
        Distances; in l2 their squares.
    multipliers : tuple of Fraction
        One per row, at least 0: what proves `lower`.
    """

    status: str
    point: Vector | None
    lower: Bound
    upper: Bound
    multipliers: Vector


def size_of(norm: str, d: Sequence[Fraction]) -> Fraction:
    """The norm of a vector, exactly; in l2 its square."""
    if norm == "l2":
        return sum((v * v for v in d), Fraction(0))
    size = [abs(v) for v in d]
    return max(size, default=Fraction(0)) if norm == "linf" else sum(size, Fraction(0))


def nearest(
    norm: str, rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]
) -> NearestPoint:
    """The point with all ``a . d >= b`` in the box that is nearest to 0.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
    rows : sequence of (a, b)
    lo, hi : sequences of Fraction or infinite float
        ``lo <= hi``.

    >>> found = nearest("l2", [((1, 1), 2)], (-inf, -inf), (Fraction(1, 2), inf))
    >>> found.status, found.point, found.lower, found.multipliers
    ('optimal', (Fraction(1, 2), Fraction(3, 2)), Fraction(5, 2), (Fraction(3, 2),))
    """
    none = (Fraction(0),) * len(rows)
    if _around_zero(lo, hi) and all(b <= 0 for _, b in rows):
        zero = (Fraction(0),) * len(lo)
        return NearestPoint("optimal", zero, Fraction(0), Fraction(0), none)
    best = NearestPoint("unknown", None, Fraction(0), inf, none)
    for search in (_by_highs, _by_engine):
        best = _better(best, search(norm, rows, lo, hi))
        if best.status in ("optimal", "infeasible"):
            return best
    return best if best.point else _better(best, _by_any_point(norm, rows, lo, hi))


def _around_zero(lo: Sequence[Bound], hi: Sequence[Bound]) -> bool:
    return all(a <= 0 <= b for a, b in zip(lo, hi, strict=True))


def _better(one: NearestPoint, other: NearestPoint | None) -> NearestPoint:
    """What is known from both."""
    if other is None or other.status == "infeasible":
        return other or one
    low = max(one, other, key=lambda found: found.lower)
    high = min(one, other, key=lambda found: found.upper)
    known = "unknown" if high.point is None else "bounded"
    status = "optimal" if low.lower == high.upper else known
    return NearestPoint(status, high.point, low.lower, high.upper, low.multipliers)


def _proven(
    norm: str,
    rows: Sequence[Row],
    lo: Sequence[Bound],
    hi: Sequence[Bound],
    guess: Sequence[float],
    places: Sequence[int],
    y: Vector,
) -> NearestPoint:
    """What can be proven from a guess of the point, of places and multipliers."""
    active = [k for k, m in enumerate(y) if m > 0]
    part = [rows[k] for k in active]
    short = work([a for a, _ in part]) <= WORK
    exact = _multipliers(norm, part, lo, hi, places) if short else None
    proposed = [y]
    if exact is not None and min(exact, default=Fraction(0)) >= 0:
        whole = [Fraction(0)] * len(rows)
        for k, v in zip(active, exact, strict=True):
            whole[k] = v
        proposed.append(tuple(whole))
    lower, multipliers = max(
        ((lower_bound(norm, rows, lo, hi, m), m) for m in proposed), key=lambda pair: pair[0]
    )
    zero = [Fraction(0)] * len(lo)
    point = place_point(norm, part, zero, lo, hi, places) if short else None
    if point is None or not _holds(point, rows, lo, hi):
        point = feasible_near(_program(rows, lo, hi), guess)
    if point is None:
        return NearestPoint("unknown", None, max(lower, Fraction(0)), inf, multipliers)
    return _known(norm, rows, lo, hi, point, multipliers)


def _program(rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]) -> Program:
    table = tuple(({j: -v for j, v in enumerate(a) if v}, -b) for a, b in rows)
    return Program(table, tuple(lo), tuple(hi))


def _holds(
    d: Sequence[Fraction], rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]
) -> bool:
    nums, den = common_denominator(d)
    return all(a <= v <= b for a, v, b in zip(lo, d, hi, strict=True)) and all(
        sum(map(mul, a, nums)) >= b * den for a, b in rows
    )


# ----------------------------------------------------------------------------- exact systems


def place_point(
    norm: str,
    rows: Sequence[Row],
    centre: Sequence[Fraction],
    lo: Sequence[Bound],
    hi: Sequence[Bound],
    places: Sequence[int],
) -> Vector | None:
    """The point at which rows are tight and coordinates are at their places; None without one.

    In l2 free coordinates are where the rows' combination takes them from the centre, in l1 and
    linf the rows determine them, in linf also how far ``PLUS`` and ``MINUS`` are.

    Parameters
    ----------
    rows : sequence of (a, b)
        Tight: ``a . x = b``.
    centre, lo, hi : sequences
        Of ``x``, not of the offset.
    places : sequence of int
        Per coordinate ``FREE``, ``STILL`` (at the centre), ``LOW``, ``HIGH``, ``MINUS``, ``PLUS``.
    """
    start = _known_parts(centre, lo, hi, places)
    moves = _moves(norm, rows, places)
    if start is None or not rows or len(moves) != len(rows):
        return None
    nums, den = common_denominator(start)
    table = [[sum(a[j] * v for j, v in move.items()) for move in moves] for a, _ in rows]
    sizes = solve(table, [b * den - sum(map(mul, a, nums)) for a, b in rows])
    if sizes is None:
        return None
    steps, scale = common_denominator(sizes)
    out = [n * scale for n in nums]
    for move, size in zip(moves, steps, strict=True):
        for j, v in move.items():
            out[j] += v * size
    return tuple(Fraction(v, den * scale) for v in out)


def _known_parts(
    centre: Sequence[Fraction], lo: Sequence[Bound], hi: Sequence[Bound], places: Sequence[int]
) -> list[Fraction] | None:
    """The centre, but for coordinates at an end; None where such an end is infinite."""
    out = []
    for v, low, high, place in zip(centre, lo, hi, places, strict=True):
        end = low if place == LOW else high if place == HIGH else v
        if isinstance(end, float):
            return None
        out.append(end)
    return out


def _moves(norm: str, rows: Sequence[Row], places: Sequence[int]) -> list[dict[int, int]]:
    """What is unknown of a point: steps along which free coordinates move."""
    free = [j for j, place in enumerate(places) if place == FREE]
    if norm == "l2":
        return [{j: a[j] for j in free if a[j]} for a, _ in rows]
    moves = [{j: 1} for j in free]
    if norm == "linf":
        away = {PLUS: 1, MINUS: -1}
        moves.append({j: away[place] for j, place in enumerate(places) if place in away})
    return moves


def _multipliers(
    norm: str,
    rows: Sequence[Row],
    lo: Sequence[Bound],
    hi: Sequence[Bound],
    places: Sequence[int],
) -> list[Fraction] | None:
    """The multipliers for which the KKT conditions hold at the places; None without any.

    In l2 those of the point. In linf the combination of the rows vanishes on free coordinates and
    its other entries add up to 1; in l1 it is 1 or -1 on free coordinates, by the side they are on.
    """
    moves = _moves(norm, rows, places)
    if not rows or len(moves) != len(rows):
        return None
    table = [[sum(a[j] * v for j, v in move.items()) for a, _ in rows] for move in moves]
    if norm == "linf":
        return solve(table, [0] * (len(rows) - 1) + [1])
    zero = [Fraction(0)] * len(lo)
    if norm == "l1":
        point = place_point(norm, rows, zero, lo, hi, places)
        if point is None:
            return None
        sides = [1 if point[j] > 0 else -1 for move in moves for j in move]
        return solve(table, sides)
    start = _known_parts(zero, lo, hi, places)
    if start is None:
        return None
    nums, den = common_denominator(start)
    found = solve(table, [b * den - sum(map(mul, a, nums)) for a, b in rows])
    return None if found is None else [v / den for v in found]


def lower_bound(
    norm: str,
    rows: Sequence[Row],
    lo: Sequence[Bound],
    hi: Sequence[Bound],
    y: Sequence[Fraction],
) -> Bound:
    """A proven lower bound of all distances (in l2 squares), from multipliers at least 0."""
    total = sum((m * b for (_, b), m in zip(rows, y, strict=True)), Fraction(0))
    used = [(a, m) for (a, _), m in zip(rows, y, strict=True) if m]
    scaled, den = common_denominator([m for _, m in used])
    weights = [
        Fraction(sum(a[j] * m for (a, _), m in zip(used, scaled, strict=True)), den)
        for j in range(len(lo))
    ]
    if norm == "linf":
        return total + _least_radius(weights, lo, hi)
    for w, low, high in zip(weights, lo, hi, strict=True):
        if norm == "l2":
            d = max(low, min(w, high))
            assert isinstance(d, Fraction)
            total += d * d / 2 - w * d
            continue
        # Of ``|d| - w d`` at the ends, or at 0 between them.
        side = high if w > 0 else low
        if abs(w) > 1 and isinstance(side, float):
            return -inf
        ends = (low, high, max(low, min(Fraction(0), high)))
        total += min(abs(d) - w * d for d in ends if isinstance(d, Fraction))
    return 2 * total if norm == "l2" else total


def _least_radius(weights: Sequence[Fraction], lo: Sequence[Bound], hi: Sequence[Bound]) -> Bound:
    """The minimum of ``r - sum |w_j| min(r, room_j)``, which is convex, over balls with a point."""
    rooms: list[tuple[Any, Fraction]] = [
        (high if w > 0 else -low, abs(w)) for w, low, high in zip(weights, lo, hi, strict=True) if w
    ]
    rooms.sort()
    at = Fraction(max((*lo, *(-v for v in hi), Fraction(0))))
    value = at - sum((w * min(room, at) for room, w in rooms), Fraction(0))
    rooms = [(room, w) for room, w in rooms if room > at]
    slope = 1 - sum((w for _, w in rooms), Fraction(0))
    for room, w in rooms:
        if slope >= 0:
            return value
        if isinstance(room, float):
            return -inf
        value += slope * (room - at)
        at = room
        slope += w
    return value


# ---------------------------------------------------------------------------------- proposals


def _by_engine(
    norm: str, rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]
) -> NearestPoint | None:
    """By the engine's dual method; None in l1 and linf if 0 is outside the box."""
    if norm != "l2" and not _around_zero(lo, hi):
        return None
    scale = [max(map(abs, a)) or 1 for a, _ in rows]
    table = [[v / s for v in a] for (a, _), s in zip(rows, scale, strict=True)]
    ends = [rounded(Fraction(b, s)) for (_, b), s in zip(rows, scale, strict=True)]
    low, high = (
        np.array([rounded(v) if isinstance(v, Fraction) else v for v in side]) for side in (lo, hi)
    )
    found = _core.nearest(np.array(table).reshape(len(rows), len(lo)), ends, low, high, norm)
    if found is None:
        return None
    guess, sizes, places = found
    y = tuple(max(Fraction(v), Fraction(0)) / s for v, s in zip(sizes.tolist(), scale, strict=True))
    return _proven(norm, rows, lo, hi, guess.tolist(), places.tolist(), y)


def _by_highs(
    norm: str, rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]
) -> NearestPoint | None:
    """By a linear program; None in l2, and where the engine's dual method is faster."""
    n, one = len(lo), Fraction(1)
    if norm == "l2" or (norm == "linf" and n > _MOST_INPUTS and _around_zero(lo, hi)):
        return None
    zero = Fraction(0)
    table = [({j: -v for j, v in enumerate(a) if v}, -b) for a, b in rows]
    if norm == "l1":  # d = p - q
        for entries, _ in table:
            entries.update({n + j: -v for j, v in entries.items()})
        parts = [(*lo, *(-v for v in hi)), (*hi, *(-v for v in lo))]
        ends = [tuple(max(zero, v) for v in side) for side in parts]
        program = Program(tuple(table), *ends)
        found = maximize(program, [-one] * (2 * n))
    else:  # |d| <= r
        table += [({j: sign, n: -1}, 0) for j in range(n) for sign in (1, -1)]
        program = Program(tuple(table), (*lo, zero), (*hi, inf))
        found = maximize(program, [zero] * n + [-one])
    y = (found.multipliers or (zero,) * len(rows))[: len(rows)]
    if found.status == "infeasible":
        return NearestPoint("infeasible", None, inf, inf, y)
    if found.point is None:
        return None
    point = found.point[:n]
    if norm == "l1":
        point = tuple(p - q for p, q in zip(point, found.point[n:], strict=True))
    return _known(norm, rows, lo, hi, point, y)


def _by_any_point(
    norm: str, rows: Sequence[Row], lo: Sequence[Bound], hi: Sequence[Bound]
) -> NearestPoint | None:
    """Where nothing is near enough to be proven: whether there is a point at all."""
    found = maximize(_program(rows, lo, hi), [Fraction(0)] * len(lo))
    none = (Fraction(0),) * len(rows)
    if found.status == "infeasible":
        return NearestPoint("infeasible", None, inf, inf, (found.multipliers or none)[: len(rows)])
    return None if found.point is None else _known(norm, rows, lo, hi, found.point, none)


def _known(
    norm: str,
    rows: Sequence[Row],
    lo: Sequence[Bound],
    hi: Sequence[Bound],
    point: Vector,
    y: Vector,
) -> NearestPoint:
    """What a feasible point and multipliers prove."""
    lower, upper = max(lower_bound(norm, rows, lo, hi, y), Fraction(0)), size_of(norm, point)
    return NearestPoint("optimal" if lower >= upper else "bounded", point, lower, upper, y)
