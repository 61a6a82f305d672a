"""Exact volumes of polytopes from vertices and facets, in any dimension."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import factorial

Point = Sequence[Fraction]
Face = frozenset[int]


def polytope_volume(vertices: Sequence[Point], facets: Sequence[Sequence[int]]) -> Fraction:
    """Volume of the convex hull of ``vertices``, full-dimensional in R^n.

    Parameters
    ----------
    vertices : (k, n) exact numbers
    facets : for every facet the numbers of the vertices on it

    Notes
    -----
    A pulling triangulation (see Bueler, Enge and Fukuda, "Exact volume computation for polytopes",
    2000): every face is the cone from one of its vertices over its facets that do not hold it. The
    faces of a face are the largest sets that other facets cut out of it, so the incidence is all
    that is needed.

    >>> square = [(0, 0), (2, 0), (2, 1), (0, 1)]
    >>> corners = [[Fraction(v) for v in p] for p in square]
    >>> polytope_volume(corners, [[0, 1], [1, 2], [2, 3], [0, 3]])
    Fraction(2, 1)
    """
    n = len(vertices[0])
    sets = [frozenset(facet) for facet in facets]
    total = Fraction(0)
    whole = frozenset(range(len(vertices)))
    stack: list[tuple[Face, list[Face], tuple[int, ...]]] = [(whole, sets, ())]
    while stack:
        face, below, chain = stack.pop()
        if len(chain) == n:
            base, *others = [vertices[i] for i in (*chain, *face)]
            rows = [[a - b for a, b in zip(p, base, strict=True)] for p in others]
            total += abs(_determinant(rows))
            continue
        apex = min(face)
        for side in below:
            if apex not in side:
                stack.append((side, _sides(side, below), (*chain, apex)))
    return total / factorial(n)


def _sides(face: frozenset[int], neighbours: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """The facets of a face: the maximal proper intersections with others of its dimension."""
    cuts = {face & other for other in neighbours if other != face}
    cuts.discard(frozenset())
    return [cut for cut in cuts if not any(cut < other for other in cuts)]


def _determinant(rows: list[list[Fraction]]) -> Fraction:
    rows = [list(row) for row in rows]
    out = Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot] = rows[pivot], rows[k]
            out = -out
        out *= rows[k][k]
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            if factor:
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return out
