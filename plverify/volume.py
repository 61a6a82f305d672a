"""Volumes of polytopes from vertices and facets, in any dimension: exact, or as an interval.

Every face is cut into cones from one of its vertices over its own facets that do not hold it
(Bueler, Enge and Fukuda, "Exact volume computation for polytopes: a practical study", 2000), and
each face is measured once, however many cones it is part of: of a region with 822 vertices in eight
dimensions ten thousand faces instead of two hundred thousand simplices. The determinants are exact
integers. What is slow about an exact volume is the sum, whose denominator is a product of most
vertices' denominators; the interval adds the same terms, all of them positive, in ball arithmetic
(Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import count
from random import Random
from typing import Any, NamedTuple

from flint import arb, ctx, fmpq, fmpz, fmpz_mat

Point = Sequence[Fraction]
Mask = int
"""A face: a bit for each of its vertices."""

_BITS = 192
"""Of the ball arithmetic; a volume comes out with more than 150 of them."""


def polytope_volume(vertices: Sequence[Point], facets: Sequence[Sequence[int]]) -> Fraction:
    """Volume of the convex hull of ``vertices``, full-dimensional in R^n.

    Parameters
    ----------
    vertices : (k, n) exact numbers
    facets : for every facet the numbers of the vertices on it

    >>> square = [(0, 0), (2, 0), (2, 1), (0, 1)]
    >>> corners = [[Fraction(v) for v in p] for p in square]
    >>> polytope_volume(corners, [[0, 1], [1, 2], [2, 3], [0, 3]])
    Fraction(2, 1)
    """
    total = _measure(vertices, facets, lambda a, b: fmpq(a, b))
    return Fraction(int(total.p), int(total.q))


def volume_bounds(
    vertices: Sequence[Point], facets: Sequence[Sequence[int]]
) -> tuple[Fraction, Fraction]:
    """Proven ``lower <= volume <= upper``, apart by less than 2**-150 of their size.

    In at most three dimensions both are the volume. Parameters as in `polytope_volume`.

    >>> corners = [[Fraction(i == k) for i in range(4)] for k in range(5)]  # the last is the origin
    >>> lower, upper = volume_bounds(corners, [[i for i in range(5) if i != k] for k in range(5)])
    >>> lower < Fraction(1, 24) < upper, upper - lower < Fraction(1, 2**150)
    (True, True)
    """
    if len(vertices[0]) <= 3:
        exact = polytope_volume(vertices, facets)
        return exact, exact
    with ctx.workprec(_BITS):
        total = _measure(vertices, facets, lambda a, b: arb(a) / arb(b))
        ends = [end.man_exp() for end in (total.lower(), total.upper())]
    lower, upper = (Fraction(int(m)) * Fraction(2) ** int(e) for m, e in ends)
    return lower, upper


class _Face(NamedTuple):
    """A measured face: its volume is ``share`` times that of the simplex of ``corners``."""

    share: Any
    corners: tuple[int, ...]


def _measure(
    vertices: Sequence[Point],
    facets: Sequence[Sequence[int]],
    quotient: Callable[[fmpz, fmpz], Any],
) -> Any:
    """The volume, with quotients of integers in the arithmetic of ``quotient``.

    A face of dimension ``k`` is measured by its shadow on the first ``k`` coordinates, after a
    shear of the space by small integers; where a shadow is flat another shear is tried.
    """
    masks = [sum(1 << i for i in facet) for facet in facets]
    for seed in count():
        shadows = _Shadows(vertices, seed, quotient)
        try:
            whole = shadows.face((1 << len(vertices)) - 1, masks, len(vertices[0]))
        except _Flat:
            continue
        size = shadows.simplex(whole.corners)
        return whole.share * quotient(size[0], size[1] * math.factorial(len(vertices[0])))
    raise AssertionError


class _Flat(Exception):
    """The shadow of a face has a smaller dimension than the face."""


class _Shadows:
    """Faces of one polytope by their shadows under one shear."""

    def __init__(
        self, vertices: Sequence[Point], seed: int, quotient: Callable[[fmpz, fmpz], Any]
    ) -> None:
        n, rng = len(vertices[0]), Random(seed)
        shear = [
            [int(i == j) if j <= i else rng.randint(-99, 99) for j in range(n)] for i in range(n)
        ]
        self._rows: list[list[fmpz]] = []
        for point in vertices:
            den = math.lcm(*(v.denominator for v in point))
            whole = [v.numerator * (den // v.denominator) for v in point]
            moved = [sum(a * v for a, v in zip(row, whole, strict=True)) for row in shear]
            self._rows.append([fmpz(den), *map(fmpz, moved)])
        self._quotient = quotient
        self._known: dict[Mask, _Face] = {}

    def simplex(self, corners: Sequence[int]) -> tuple[fmpz, fmpz]:
        """``k!`` times the volume of the shadow of a simplex, as a fraction."""
        size = len(corners)
        entries = [v for i in corners for v in self._rows[i][:size]]
        dens = [self._rows[i][0] for i in corners]
        return abs(fmpz_mat(size, size, entries).det()), math.prod(dens, start=fmpz(1))

    def face(self, mask: Mask, sides: Sequence[Mask], dim: int) -> _Face:
        """Measure a face of dimension ``dim`` whose facets are ``sides``."""
        if dim == 0:
            return _Face(self._quotient(fmpz(1), fmpz(1)), (mask.bit_length() - 1,))
        if mask not in self._known:
            apex = mask & -mask
            top = apex.bit_length() - 1
            parts = [
                self.face(side, _sides(side, sides), dim - 1) for side in sides if not side & apex
            ]
            sizes = [self.simplex((top, *part.corners)) for part in parts]
            numerator, denominator = sizes[0]
            if not numerator:
                raise _Flat
            share = parts[0].share
            for part, (up, down) in zip(parts[1:], sizes[1:], strict=True):
                share += part.share * self._quotient(up * denominator, down * numerator)
            self._known[mask] = _Face(share, (top, *parts[0].corners))
        return self._known[mask]


def _sides(face: Mask, neighbours: Sequence[Mask]) -> list[Mask]:
    """The facets of a face: the maximal proper intersections with others of its dimension."""
    cuts = {face & other for other in neighbours if other != face}
    cuts.discard(0)
    return [cut for cut in cuts if not any(cut & other == cut != other for other in cuts)]
