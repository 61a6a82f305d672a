"""Vertices from inequalities: against the engine's cells and against brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest

import plverify as pv
from plverify import _core
from plverify.domain import polytope_bytes
from plverify.exact_net import pack_ints
from plverify.network import Network
from plverify.vertices import vertices_of
from plverify.volume import polytope_volume

Row = tuple[int, ...]


def goal(dim: int, k: int, sign: int) -> bytes:
    return pack_ints([sign * int(i == k) for i in range(dim)]) + pack_ints([0])


def brute(rows: list[Row], dim: int) -> set[tuple[Fraction, ...]]:
    """The points where hyperplanes meet, as many as there are dimensions, that are inside."""
    found = set()
    for chosen in combinations(rows, dim):
        table = [[Fraction(v) for v in row] for row in chosen]
        for k in range(dim):
            pivot = next((i for i in range(k, dim) if table[i][k]), None)
            if pivot is None:
                break
            table[k], table[pivot] = table[pivot], table[k]
            table[k] = [v / table[k][k] for v in table[k]]
            for i in range(dim):
                if i != k:
                    table[i] = [
                        a - table[i][k] * b for a, b in zip(table[i], table[k], strict=True)
                    ]
        else:
            point = tuple(-row[-1] for row in table)
            if all(sum(a * x for a, x in zip(r, (*point, 1), strict=True)) >= 0 for r in rows):
                found.add(point)
    return found


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_random_polyhedra_agree_with_brute_force(dim: int) -> None:
    rng = np.random.default_rng(dim)
    bounded = several = 0
    for _ in range(60 if dim < 4 else 24):
        top = int(rng.integers(1, 4))
        count = int(rng.integers(1, 9))
        table = rng.integers(-top, top + 1, (count, dim + 1))
        table[:, -1] = abs(table[:, -1])  # the origin is inside; many hyperplanes through it
        rows = [tuple(row) for row in table.tolist() if any(row[:-1])]
        if rng.random() < 0.5:
            rows += [
                (*(s * int(i == k) for i in range(dim)), 2) for k in range(dim) for s in (1, -1)
            ]
        rows = rows or [(1,) * (dim + 1)]
        found = vertices_of(rows, dim)
        assert set(found.points) == brute(rows, dim)
        assert len(set(found.points)) == len(found.points)
        for row, on in zip(rows, found.on, strict=True):
            zero = [
                i
                for i, p in enumerate(found.points)
                if not sum(a * x for a, x in zip(row, (*p, 1), strict=True))
            ]
            assert on == zero
        assert found.bounded == all(
            _core.exact_maximum(polytope_bytes(rows, dim), goal(dim, k, sign))
            for k in range(dim)
            for sign in (1, -1)
        )
        bounded += found.bounded
        several += len(found.points) > 1
    assert several > 5
    assert 5 < bounded < 50


@pytest.mark.parametrize("sizes", [(3, 7, 5, 1), (5, 7, 4, 1), (7, 8, 1), (8, 6, 1)])
def test_vertices_of_regions_agree_with_the_engine(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(sizes))
    weights = [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    net = Network.from_arrays(weights, [rng.normal(size=len(w)) / 3 for w in weights])
    for region in pv.regions(net, pv.Box(-1, 1, sizes[0]))[:6]:
        found = vertices_of(region.inequalities(), sizes[0])
        assert found.bounded
        assert set(found.points) == {vertex.p for vertex in region.exact_vertices}
        if sizes[0] < 6:
            assert polytope_volume(found.points, found.on) == region.exact_volume


def test_a_function_without_a_maximum_because_no_inequality_sees_it() -> None:
    rows = polytope_bytes([(1, 0, 0), (-1, 0, 1)], 2)
    assert _core.exact_maximum(rows, goal(2, 1, 1)) is None
    assert _core.exact_maximum(rows, goal(2, 0, 1)) == ([1, 0], 1)


def test_unbounded_polyhedra_and_too_many_vertices() -> None:
    assert vertices_of([(1, 0, 0)], 2) == ([], [[]], False)
    assert vertices_of([(1, 1), (1, 0)], 1) == ([(Fraction(0),)], [[], [0]], False)
    strip = vertices_of([(1, 0, 0), (-1, 0, 1), (0, 1, 0)], 2)
    assert set(strip.points) == {(0, 0), (1, 0)}
    assert not strip.bounded
    cube = [(*(s * int(i == k) for i in range(6)), 1) for k in range(6) for s in (1, -1)]
    assert len(vertices_of(cube, 6, most=64).points) == 64
    with pytest.raises(pv.InputError, match="more than 63 vertices"):
        vertices_of(cube, 6, most=63)
