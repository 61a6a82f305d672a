"""Vertices of a polyhedron in any dimension, exactly, from its inequalities.

The double description method (Motzkin, Raiffa, Thompson and Thrall, 1953; Fukuda and Prodon,
"Double description method revisited", 1996): the extreme rays of the cone over the polyhedron,
inequality by inequality. Two rays on different sides of a new hyperplane make a new one where they
are adjacent, that is, where no third ray lies on all hyperplanes that hold both. For the few
vertices of one region, in dimensions that the engine's cells with vertices do not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from flint import fmpq_mat, fmpz_mat

from plverify.errors import InputError

Row = Sequence[int]
Ray = tuple[int, ...]
Rays = list[tuple[Ray, int]]
"""Each with a bit for every inequality that is zero there."""


class Vertices(NamedTuple):
    """The vertices of a polyhedron.

    Attributes
    ----------
    points : list of points
    on : list of lists
        For every inequality the numbers of the vertices at which it is zero.
    bounded : bool
    """

    points: list[tuple[Fraction, ...]]
    on: list[list[int]]
    bounded: bool


def vertices_of(rows: Sequence[Row], dim: int, most: int = 1 << 12) -> Vertices:
    """All vertices of ``{t : a . t + c >= 0 for all rows (a, c)}``, which is not empty.

    Parameters
    ----------
    rows : sequence of integer rows ``(a, c)``
    dim : int
    most : int
        Of vertices and rays, also on the way.

    Raises
    ------
    InputError
        If there are more.

    >>> corner = [(1, 0, 0), (0, 1, 0), (-2, -1, 2)]
    >>> found = vertices_of(corner, 2)
    >>> sorted((str(x), str(y)) for x, y in found.points), found.bounded
    ([('0', '0'), ('0', '2'), ('1', '0')], True)
    >>> vertices_of(corner[:2], 2)
    Vertices(points=[(Fraction(0, 1), Fraction(0, 1))], on=[[0], [0]], bounded=False)
    """
    cone = [(*([0] * dim), 1), *(tuple(row) for row in rows)]
    first = _independent(cone)
    if len(first) <= dim:  # it contains a line
        return Vertices([], [[] for _ in rows], False)
    rays = _simplicial(cone, first)
    for k in range(len(cone)):
        if k not in first:
            rays = _cut(rays, cone[k], k, dim + 1)
        if len(rays) > most:
            raise InputError(
                f"a region of {dim} dimensions has more than {most} vertices, or its outline by "
                "some of its facets has: they are not listed"
            )
    finite = [(ray, zeros) for ray, zeros in rays if ray[-1]]
    points = [tuple(Fraction(v, ray[-1]) for v in ray[:-1]) for ray, _ in finite]
    on = [[i for i, (_, z) in enumerate(finite) if z >> k & 1] for k in range(1, len(cone))]
    return Vertices(points, on, len(finite) == len(rays))


def _independent(rows: Sequence[Ray]) -> list[int]:
    """Numbers of linearly independent rows that span the others, the first ones there are."""
    columns = fmpz_mat(
        len(rows[0]), len(rows), [row[k] for k in range(len(rows[0])) for row in rows]
    )
    reduced, _, rank = columns.rref()
    first, found = 0, []
    for k in range(rank):
        first = next(j for j in range(first, len(rows)) if reduced[k, j])
        found.append(first)
    return found


def _simplicial(rows: Sequence[Ray], chosen: Sequence[int]) -> Rays:
    """The rays of the cone of as many independent inequalities as there are dimensions."""
    size = len(chosen)
    inverse = fmpq_mat(fmpz_mat(size, size, [v for k in chosen for v in rows[k]])).inv()
    numerators, _ = inverse.numer_denom()
    zeros = sum(1 << k for k in chosen)
    return [
        (_coprime([int(numerators[i, j]) for i in range(size)]), zeros & ~(1 << k))
        for j, k in enumerate(chosen)
    ]


def _cut(rays: Rays, row: Ray, number: int, size: int) -> Rays:
    """The rays of a cone's part on one side of a hyperplane."""
    values = [sum(a * v for a, v in zip(row, ray, strict=True) if a) for ray, _ in rays]
    kept = [
        (ray, zeros | (1 << number) * (not value))
        for (ray, zeros), value in zip(rays, values, strict=True)
        if value >= 0
    ]
    beyond = [(ray, zeros, -v) for (ray, zeros), v in zip(rays, values, strict=True) if v < 0]
    for (ray, zeros), value in zip(rays, values, strict=True):
        if value <= 0:
            continue
        for other, theirs, far in beyond:
            common = zeros & theirs
            if common.bit_count() < size - 2:
                continue
            if sum(common & z == common for _, z in rays) == 2:
                between = [far * a + value * b for a, b in zip(ray, other, strict=True)]
                kept.append((_coprime(between), common | 1 << number))
    return kept


def _coprime(entries: Sequence[int]) -> Ray:
    common = gcd(*entries)
    return tuple(v // common for v in entries)
