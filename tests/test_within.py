"""Regions within a distance of a point: against an oracle without vertices and brute distances."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import lcm
from random import Random
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_case_nd, to_domain, to_nodes
from oracle_nd import NdDomain, oracle_regions_nd

import plverify as pv
from plverify import _core, within
from plverify.closest import closest_point
from plverify.exact_net import pack_ints
from plverify.network import Network

Row = tuple[int, ...]
Point = Sequence[Fraction]


def value(row: Row, p: Point) -> Fraction:
    return sum((a * v for a, v in zip(row[:-1], p, strict=True)), Fraction(row[-1]))


def length(d: Point, norm: str) -> Fraction:
    size = [abs(v) for v in d]
    if norm == "l2":
        return sum((v * v for v in size), Fraction(0))
    return sum(size, Fraction(0)) if norm == "l1" else max(size)


def solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """The solution of a regular square system."""
    rows = [[*row, v] for row, v in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for i, row in enumerate(rows):
            if i != k:
                rows[i] = [a - row[k] * b for a, b in zip(row, rows[k], strict=True)]
    return [row[-1] for row in rows]


def brute_l2(rows: Sequence[Row], x: Point) -> Fraction | None:
    """The squared distance: the least one to an intersection of hyperplanes that is inside."""
    best = None
    n = len(x)
    for size in range(n + 1):
        for chosen in combinations(rows, size):
            gram = [
                [Fraction(sum(a * b for a, b in zip(r[:-1], s[:-1], strict=True))) for s in chosen]
                for r in chosen
            ]
            weights = solve(gram, [-value(r, x) for r in chosen])
            if weights is None:
                continue
            p = [
                v + sum(w * r[k] for w, r in zip(weights, chosen, strict=True))
                for k, v in enumerate(x)
            ]
            if all(value(r, p) >= 0 for r in rows):
                far = length([a - b for a, b in zip(p, x, strict=True)], "l2")
                best = far if best is None else min(best, far)
    return best


def by_program(rows: Sequence[Row], x: Point, norm: str) -> Fraction | None:
    """The distance in l1 or linf as a linear program for the engine's criss-cross method."""
    n = len(x)
    den = lcm(*(v.denominator for v in x))
    place = [v.numerator * (den // v.denominator) for v in x]
    more = 1 if norm == "linf" else n
    table = [(*row[:-1], *([0] * more), row[-1]) for row in rows]
    for i, sign in product(range(n), (1, -1)):
        row = [0] * (n + more + 1)
        row[i], row[-1] = sign * den, -sign * place[i]
        row[n + (i if norm == "l1" else 0)] = den
        table.append(tuple(row))
    goal = pack_ints([0] * n + [-1] * more) + pack_ints([0])
    bound = pv.Polytope([[-v for v in row[:-1]] for row in table], [row[-1] for row in table])
    found = _core.exact_maximum(bound.to_bytes(), goal)
    if found is None:
        return None
    best, scale = found
    return Fraction(sum(best[n:]), scale)


def distance(rows: Sequence[Row], x: Point, norm: str) -> Fraction | None:
    return brute_l2(rows, x) if norm == "l2" else by_program(rows, x, norm)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_closest_points(norm: str) -> None:
    rng = np.random.default_rng(0)
    empty = inside = 0
    for case in range(120):
        n, count = int(rng.integers(1, 5)), int(rng.integers(1, 7))
        top = int(rng.integers(1, 4))
        rows = [tuple(rng.integers(-top, top + 1, n + 1).tolist()) for _ in range(count)]
        if case % 3 == 0:
            table = rng.normal(size=(count, n + 1)) * 2.0**40
            table[:, -1] = abs(table[:, -1]) - 2.0**40
            rows = [tuple(int(v) for v in row) for row in table]
        rows = [row for row in rows if any(row[:-1])] or [(1,) * (n + 1)]
        x = [Fraction(int(v), 2) for v in rng.integers(-4, 5, n)]
        found, right = closest_point(rows, x, norm), distance(rows, x, norm)
        assert (found is None) == (right is None)
        if found is None:
            empty += 1
            continue
        assert found[0] == right
        assert length([a - b for a, b in zip(found[1], x, strict=True)], norm) == right
        assert all(value(row, found[1]) >= 0 for row in rows)
        inside += right == 0
    assert empty > 10
    assert inside > 2


def test_closest_points_of_special_polyhedra() -> None:
    zero = [Fraction(0)] * 3
    for norm in ("l1", "l2", "linf"):
        assert closest_point([(0, 0, 0, -1)], zero, norm) is None  # a constant that is negative
        assert closest_point([(0, 0, 0, 1)], zero, norm) == (0, tuple(zero))
        point = [
            (1, 0, 0, -3),
            (-1, 0, 0, 3),
            (0, 1, 0, 0),
            (0, -1, 0, 0),
            (0, 0, 1, 4),
            (0, 0, -1, -4),
        ]
        found = closest_point(point * 2, zero, norm)
        assert found is not None
        assert found == ({"l1": 7, "l2": 25, "linf": 4}[norm], (3, 0, -4))


def check(
    net: Network, domain: Any, regions: Any, x: Point, norms: Sequence[str], seed: int
) -> int:
    """Compare with regions that an oracle listed, at radii between and at their distances."""
    rng, seen = Random(seed), 0
    for norm in norms:
        truth = {region.pattern: distance(region.rows, x, norm) for region in regions}
        assert None not in truth.values()
        sizes = sorted({d for d in truth.values() if d is not None})
        roots = [d for d in sizes if norm != "l2" or is_square(d)]
        radii: list[Any] = [
            0,
            Fraction(7, 10),
            rng.choice(roots) if norm != "l2" else root(roots[-1]),
        ]
        for radius in radii:
            limit = Fraction(radius) ** (2 if norm == "l2" else 1)
            right = sorted((d, p) for p, d in truth.items() if d is not None and d <= limit)
            found = pv.regions_within(net, x, radius, norm, domain)
            assert found.complete
            patterns = [tuple(map(int, row)) for row in found.patterns]
            assert list(zip(found.distances, patterns, strict=True)) == right
            by_pattern = {region.pattern: region for region in regions}
            for pattern, far, p in zip(patterns, found.distances, found.nearest, strict=True):
                assert by_pattern[pattern].contains(p)
                assert length([a - b for a, b in zip(p, x, strict=True)], norm) == far
            seen += sum(d == limit > 0 for d in found.distances)
    return seen


def root(square: Fraction) -> Fraction:
    from math import isqrt

    return Fraction(isqrt(square.numerator), isqrt(square.denominator))


def is_square(v: Fraction) -> bool:
    return root(v) ** 2 == v


@pytest.mark.parametrize("flood", [False, True])
@pytest.mark.parametrize("block", range(2))
def test_random_graphs_agree_with_the_oracle(
    flood: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flood:
        monkeypatch.setattr(within, "MAX_DIMENSION", 0)
    ties = cases = 0
    for seed in range(36 + 16 * block, 52 + 16 * block):
        graph, description = random_case_nd(seed)
        truth = oracle_regions_nd(graph, NdDomain.of(description))
        most = max(len(region.rows) for region in truth.regions)
        if len(truth.regions) > (12 if flood else 40) or most > (9 if truth.dim > 3 else 11):
            continue  # brute force is slow
        net, domain = Network(graph.inputs, to_nodes(graph, seed)), to_domain(description)
        # a vertex of several regions, a point on a facet, or one inside
        region = Random(seed).choice(truth.regions)
        places = [region.point, *(facet.point for facet in region.facets)]
        x = places[seed % len(places)]
        try:
            ties += check(net, domain, truth.regions, x, ("l1", "l2", "linf"), seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        cases += 1
    assert cases > 5
    assert ties > 5


def test_many_dimensions_agree_with_the_engine() -> None:
    """An linf ball is a box, whose regions the engine counts without this module."""
    cases = ((9, 5, 4, 1), "0.3"), ((12, 6, 3, 1), "0.2"), ((30, 5, 1), "0.1")
    for seed, (sizes, radius) in enumerate(cases, 3):
        rng = np.random.default_rng(seed)
        net = Network.from_arrays(
            [rng.normal(size=(b, a)) for a, b in pairwise(sizes)],
            [rng.normal(size=b) for b in sizes[1:]],
        )
        x = rng.normal(size=sizes[0]) / 3
        found = pv.regions_within(net, x, radius, "linf")
        assert found.count > 3
        assert found.count == pv.count_regions(net, pv.Box.ball(x, radius)).count
        assert found.distances[0] == 0
        near = pv.boundary_distance(net, x, "linf")
        assert found.distances[1] == near.exact
        round_ball = pv.regions_within(net, x, radius, "l2")
        assert round_ball.distances[1] == pv.boundary_distance(net, x, "l2").exact
        assert 1 < round_ball.count <= found.count
        for p, far in zip(round_ball.nearest, round_ball.distances, strict=True):
            start = [Fraction(v) for v in x.tolist()]
            assert length([a - b for a, b in zip(p, start, strict=True)], "l2") == far


@pytest.mark.parametrize("flood", [False, True])
def test_an_arrangement_with_known_distances(flood: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinks at all coordinate planes: an orthant is as far as the coordinates to give up."""
    if flood:
        monkeypatch.setattr(within, "MAX_DIMENSION", 0)
    net = Network.from_arrays([np.eye(4), np.ones((1, 4))])
    x = [1, 2, 3, 6]
    for norm, power in (("l1", 1), ("l2", 2), ("linf", 1)):
        given = [
            max(c) if norm == "linf" and c else sum(v**power for v in c)
            for k in range(5)
            for c in combinations(x, k)
        ]
        for radius in (0, 1, 2, 3, 5, 6, 7, 12):
            right = sorted(v for v in given if v <= radius**power)
            assert list(pv.regions_within(net, x, radius, norm).distances) == right
            half = pv.regions_within(net, x, radius, norm, pv.Box([0, -9, 0, -9], 9))
            assert half.count == sum(
                (max([*c, 0]) if norm == "linf" else sum(v**power for v in c)) <= radius**power
                for k in range(3)
                for c in combinations((2, 6), k)
            )
    # at the origin all orthants meet, on the side of a domain half of them
    assert pv.regions_within(net, [0] * 4, 0).count == 16
    assert pv.regions_within(net, [0] * 4, 0, "l1", pv.Box([0, -1, -1, -1], 1)).count == 8
    corner = pv.regions_within(net, [0] * 4, 1, "linf", pv.Box(0, 1, 4))
    assert corner.patterns.tolist() == [[True] * 4]


def test_slices_lists_and_errors() -> None:
    rng = np.random.default_rng(0)
    net = Network.from_arrays([rng.normal(size=(6, 5)), rng.normal(size=(2, 6))])
    plane = pv.Slice(
        [0.5] * 5, rng.integers(-2, 3, (5, 2)), pv.Polytope([[1, 1], [-1, 0], [0, -1]], [1, 1, 1])
    )
    found = pv.regions_within(net, [0, 0], "0.5", "l1", plane)
    assert [region.contains(p) for region, p in zip(found, found.nearest, strict=True)] == [
        True
    ] * len(found)
    assert found[0].contains([0, 0])
    assert found.to_dict()["count"] == found.count == len(found)
    assert found.to_dict()["distances"][0] == "0"
    again = pv.regions_within(net, [0, 0], "0.5", "l1", plane, threads=2)
    assert again.patterns.tolist() == found.patterns.tolist()
    late = pv.regions_within(net, np.zeros(5), 5, timeout=0)
    assert not late.complete
    assert late.status == "timeout"
    for x, radius, norm, domain, text in (
        ([0, 0], 1, "l2", None, "2 entries"),
        ([0] * 5, -1, "l2", None, "negative"),
        ([0] * 5, np.inf, "l2", None, "radius"),
        ([0] * 5, 1, "l3", None, "norm is 'l3'"),
        ([2] * 5, 1, "l2", pv.Box(-1, 1, 5), "outside"),
        ([0], 1, "l2", pv.Space(1), "the network has 5 inputs"),
    ):
        with pytest.raises(pv.InputError, match=text):
            pv.regions_within(net, x, radius, norm, domain)


def test_net_region_on_a_side_of_the_domain() -> None:
    """A kink along a side: the region inside is taken, whatever the fixed direction says."""
    net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])
    for low, high in product((-1, 0), repeat=2):
        box = pv.Box([low, high], [low + 1, high + 1])
        region = net.region([0, 0], box)
        assert region.pattern.tolist() == [low == 0, high == 0]
        assert region.contains([low + 0.5, high + 0.5], strict=True)
    wedge = pv.Polytope([[-1, 1], [-1, -1]], [0, 0])
    assert net.region([0, 0], wedge).pattern[0]
    with pytest.raises(pv.InputError, match="interior"):
        net.region([0, 0], pv.Polytope([[1, 0], [-1, 0]], [0, 0]))
