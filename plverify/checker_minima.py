"""Exact minima over boxes and balls, and numbers that may be infinite: for the Python checkers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import inf, lcm, nextafter, sqrt
from operator import sub
from typing import NamedTuple, TypeAlias

from plverify.checker_claims import Ball, Box, Side

Extended: TypeAlias = Fraction | float
"""A rational number, or an infinity."""
Gradient: TypeAlias = tuple[list[int], int]
"""Integers over a denominator, one per entry of a tensor."""
ZERO, ONE = Fraction(0), Fraction(1)
FLAT = 2.0**-30
"""Of the terms of a half-space: how much the minimum grows with it, that counts as nothing."""
TRIES = 6
"""Most multipliers of an l2 ball that are tried for a row."""


def over_box(gradient: Gradient, box: Box, ball: Ball | None, m: Fraction) -> Extended:
    """The minimum over a box of ``gradient . x + m (phi(x) - size)``; without a ball ``m = 0``."""
    values, den = gradient
    total = ZERO if ball is None else -m * ball.size
    for i, (v, lo, hi) in enumerate(zip(values, box.lo, box.hi, strict=True)):
        if not v and not m:
            continue
        g = Fraction(v, den)
        at: Side
        if ball is not None and m and (ball.squares or abs(g) <= m):
            middle = ball.centre[i] - (g / (2 * m) if ball.squares else 0)
            above = middle if lo is None else max(lo, middle)
            at = above if hi is None else min(above, hi)
        else:
            at = lo if v > 0 else hi
        if at is None:
            return -inf
        total += g * at
        if ball is not None and m:
            total += m * ball.term(i, at)
    return total


class HalfSpace(NamedTuple):
    """``slopes . x + constant``, which is at most 0 where it matters."""

    slopes: tuple[Fraction, ...]
    constant: Fraction


def over_half_spaces(
    gradient: Gradient, box: Box, halves: Sequence[HalfSpace]
) -> tuple[Fraction, Gradient]:
    """What multiples of half-spaces make of a function: what is added to it, and its gradient.

    As all multipliers are sound, they are found in doubles: of one half-space after the other the
    best one, where a coefficient becomes 0. (Where one is 0, the minimum of the function with a
    little more of the half-space lies where this is least.)
    """
    values, den = gradient
    exact_slopes, constant = [Fraction(v, den) for v in values], ZERO
    try:
        c = [float(v) for v in exact_slopes]
        ends = [(float(a), float(b)) for a, b in zip(box.lo, box.hi, strict=True)
                if a is not None and b is not None]  # fmt: skip
        floats = [([float(a) for a in half.slopes], float(half.constant)) for half in halves]
    except OverflowError:
        return ZERO, gradient
    if len(ends) < len(c):
        return ZERO, gradient
    for half, (slopes, offset) in zip(halves, floats, strict=True):
        beyond = offset - FLAT * (
            abs(offset)
            + sum(abs(a) * max(map(abs, side)) for a, side in zip(slopes, ends, strict=True))
        )
        for g, a, (lo, hi) in zip(c, slopes, ends, strict=True):
            beyond += a * (lo if g > 0 or (g == 0 and a > 0) else hi)
        bends = [-g / a if a else 0.0 for g, a in zip(c, slopes, strict=True)]
        m = 0.0
        for at in sorted({v for v in bends if 0 < v < inf}):
            if beyond <= 0:
                break
            m = at
            beyond -= sum(
                abs(a) * (hi - lo)
                for v, a, (lo, hi) in zip(bends, slopes, ends, strict=True)
                if v == at
            )
        if not 1e-150 < m < 1e150:
            continue
        c = [0.0 if v == m else g + m * a for g, a, v in zip(c, slopes, bends, strict=True)]
        times_exactly = Fraction(m)
        pairs = zip(exact_slopes, half.slopes, strict=True)
        exact_slopes = [g + times_exactly * a for g, a in pairs]
        constant += times_exactly * half.constant
    common = lcm(*(v.denominator for v in exact_slopes))
    return constant, ([v.numerator * (common // v.denominator) for v in exact_slopes], common)


def multipliers(gradient: Gradient, box: Box, ball: Ball) -> Iterator[Fraction]:
    """Multipliers of a ball that are worth trying for a function; as all are sound, in doubles.

    The best one is where the minimum lies on the sphere. For absolute values inputs use the radius
    up in the order of their slopes. For squares this is Newton's method: which inputs the box holds
    back is taken as known from the multiplier before.
    """
    values, den = gradient
    try:
        slopes = [v / den for v in values]
        centre, size = list(map(float, ball.centre)), float(ball.size)
        lows = [-inf if v is None else float(v) for v in box.lo]
        highs = [inf if v is None else float(v) for v in box.hi]
    except OverflowError:
        return
    inputs = list(zip(slopes, centre, lows, highs, strict=True))
    if not ball.squares:
        near = [abs(min(max(lo, c), hi) - c) for _, c, lo, hi in inputs]
        far = [abs((lo if g > 0 else hi) - c) for g, c, lo, hi in inputs]
        used = sum(near)
        for g, step in sorted(zip(map(abs, slopes), map(sub, far, near), strict=True))[::-1]:
            used += step
            if used > size:
                if g > 0:
                    yield Fraction(g)
                return
        return
    m, free, held = 0.0, sum(g * g for g in slopes), 0.0
    for _ in range(TRIES):
        better = sqrt(free / (size - held)) / 2 if free > 0 and size > held else 0.0
        if not 1e-150 < better < 1e150 or abs(better - m) <= 1e-14 * better:
            return
        yield Fraction(better)
        m, free, held = better, 0.0, 0.0
        for g, c, lo, hi in inputs:
            middle = c - g * (0.5 / m)
            if lo <= middle <= hi:
                free += g * g
            else:
                step = (lo if middle < lo else hi) - c
                held += step * step


def least_maximum(
    c: int, parts: Sequence[tuple[int, float, float]], low: float, top: float
) -> Extended:
    """The minimum of ``c t - sum v z`` for ``low <= t <= top`` and ``l <= z <= min(u, t)``.

    Parts are ``(v, l, u)`` with ``l <= low``. In `t` the minimum over the ``z`` is convex and
    piecewise linear with kinks at the ``u`` of parts with ``v > 0``.
    """
    total: Extended = ZERO
    for v, lo, _ in parts:
        if v < 0:
            if lo == -inf:
                return -inf
            total -= v * Fraction(lo)
    rising = [(v, u) for v, _, u in parts if v > 0]
    if low == -inf and c > sum(v for v, _ in rising):
        return -inf
    if top == inf and c < sum(v for v, u in rising if u == inf):
        return -inf
    kinks = {low, top, *(u for _, u in rising if low < u < top)} - {-inf, inf}
    values = []
    for t in map(Fraction, kinks or {0.0}):
        bounded = (v * (t if u == inf or u > t else Fraction(u)) for v, u in rising)
        values.append(c * t - sum(bounded))
    return total + min(values)


def least_term(c: int, lo: float, hi: float) -> Extended:
    """The minimum of ``c z``."""
    if not c:
        return ZERO
    end = lo if c > 0 else hi
    return -inf if end in (inf, -inf) else c * Fraction(end)


def exact(value: float) -> Extended:
    """A double as a rational number, if it is one."""
    return value if value in (inf, -inf) else Fraction(value)


def down(value: Extended) -> float:
    """The largest double that is not above."""
    try:
        near = float(value)
    except OverflowError:
        return -inf if value < 0 else nextafter(inf, 0)
    return near if near in (inf, -inf) or Fraction(near) <= value else nextafter(near, -inf)


def up(value: Extended) -> float:
    """The smallest double that is not below."""
    return -down(-value)


def plus(a: Extended, b: Extended) -> Extended:
    """A sum of what is finite or minus infinity."""
    return -inf if -inf in (a, b) else a + b


def times(factor: Fraction, value: float) -> Extended:
    """A product with a double; 0 where the factor is."""
    if not factor:
        return ZERO
    if value in (inf, -inf):
        return value if factor > 0 else -value
    return factor * Fraction(value)
