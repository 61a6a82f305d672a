"""Volumes: closed forms, Lasserre's recursion over inequalities, and regions that fill a box."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_case_nd, to_domain, to_nodes
from oracle_nd import NdDomain, oracle_regions_nd

import plverify as pv
from plverify.volume import polytope_volume, volume_bounds

Corners = list[tuple[Fraction, ...]]


def cube(n: int) -> tuple[Corners, list[list[int]]]:
    corners = [tuple(map(Fraction, p)) for p in product((0, 1), repeat=n)]
    sides = product(range(n), (0, 1))
    return corners, [[i for i, p in enumerate(corners) if p[k] == end] for k, end in sides]


def cross_polytope(n: int) -> tuple[Corners, list[list[int]]]:
    corners = [tuple(Fraction(s * (i == k)) for i in range(n)) for k in range(n) for s in (1, -1)]
    return corners, [
        [2 * k + s for k, s in enumerate(signs)] for signs in product((0, 1), repeat=n)
    ]


def simplex(n: int) -> tuple[Corners, list[list[int]]]:
    corners = [tuple(Fraction(int(i == k)) for i in range(n)) for k in range(-1, n)]
    return corners, [list(facet) for facet in combinations(range(n + 1), n)]


def moved(corners: Corners, seed: int, scale: Fraction) -> tuple[Corners, Fraction]:
    """An affine image, and the determinant of the map."""
    n = len(corners[0])
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.integers(-3, 4, (n, n)), -1) + np.eye(n, dtype=int)
    matrix = (lower @ np.diag(rng.integers(1, 4, n)) @ lower.T).tolist()
    factor = Fraction(math.prod(int(v) for v in np.linalg.det(np.array(matrix)).round(0).ravel()))
    offset = [Fraction(int(v), 7) for v in rng.integers(-99, 99, n)]
    image = [
        tuple(
            scale * sum(a * v for a, v in zip(row, p, strict=True)) + o
            for row, o in zip(matrix, offset, strict=True)
        )
        for p in corners
    ]
    return image, abs(factor) * scale**n


@pytest.mark.parametrize("n", range(1, 9))
def test_closed_forms(n: int) -> None:
    for make, volume in (
        (cube, Fraction(1)),
        (simplex, Fraction(1, math.factorial(n))),
        (cross_polytope, Fraction(2**n, math.factorial(n))),
    ):
        corners, facets = make(n)
        image, factor = moved(corners, n, Fraction(1, 10**20))
        for points, right in ((corners, volume), (image, volume * factor)):
            assert polytope_volume(points, facets) == right
            low, high = volume_bounds(points, facets)
            assert low <= right <= high
            assert high - low < right / 2**150
            assert n > 3 or low == high


def agree(region: Any, right: Fraction) -> None:
    """Exact volume, interval and rounded volume of a bounded region."""
    assert region.exact_volume == right
    low, high = region.volume_bounds
    assert Fraction(low) <= right <= Fraction(high)
    assert math.nextafter(math.nextafter(low, math.inf), math.inf) >= high
    assert low <= region.volume <= high


@pytest.mark.parametrize("block", range(2))
def test_random_graphs_agree_with_lasserre(block: int) -> None:
    seen = 0
    for seed in range(308 + 16 * block, 324 + 16 * block):
        graph, description = random_case_nd(seed)
        if graph.inputs > 4:
            continue
        truth = oracle_regions_nd(graph, NdDomain.of(description))
        net, domain = pv.Network(graph.inputs, to_nodes(graph, seed)), to_domain(description)
        listed = pv.regions(net, domain)
        for region in truth.regions:
            if len(region.rows) > (12 if domain.dim == 3 else 8):
                continue  # the oracle is slow
            found = listed.find(region.point)
            if not found.bounded:
                assert found.volume_bounds == (math.inf, math.inf)
                assert found.volume == math.inf
                continue
            right = region.volume()
            assert right is not None
            agree(found, right)
            near = net.region(region.point, domain)
            assert (near.exact_volume, near.volume_bounds) == (right, found.volume_bounds)
            seen += 1
    assert seen > 40


@pytest.mark.parametrize(("dim", "widths"), [(4, (6, 4)), (5, (5, 3)), (6, (5, 2)), (7, (4, 2))])
def test_regions_fill_the_box(dim: int, widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(dim)
    sizes = (dim, *widths, 1)
    net = pv.Network.from_arrays([rng.normal(size=(b, a)) for a, b in pairwise(sizes)])
    found = pv.regions(net, pv.Box(-1, 1, dim))
    assert found.count > 20
    bounds = [tuple(map(Fraction, region.volume_bounds)) for region in found]
    low, high = (sum(column, Fraction(0)) for column in zip(*bounds, strict=True))
    assert low <= 2**dim <= high
    assert high - low < Fraction(1, 2**40)
    np.testing.assert_allclose(found.areas().sum(), 2.0**dim)


def test_a_thin_region() -> None:
    """A slab of 2^-60 between two parallel kinks: relative accuracy, not absolute."""
    wide = Fraction(1, 2**60)
    net = pv.Network.from_arrays([[[1, 1, 1, 1]] * 2, [[1, 1]]], [[0, -wide], [0]])
    found = pv.regions(net, pv.Box(-1, 1, 4))
    slab = found.find([wide / 8] * 4)
    assert slab.exact_volume < wide * 8
    agree(slab, slab.exact_volume)
