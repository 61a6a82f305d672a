"""The oracle of any dimension, against `oracle_graph` on lines and planes, theorems, and by hand.

More dimensions are reached from fewer ones, where `oracle_graph` knows the answer: a plane case is
made a cylinder and sheared (`lifted`), two cases are put side by side (`product`), a space is cut
by a generic plane. Arrangements of hyperplanes have known numbers of regions and facets. Nothing
here runs the engine.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, pairwise, permutations
from math import comb, factorial
from pathlib import Path
from random import Random
from typing import Any

import oracle_nd
import pytest
from graph_strategies import GraphCase, oracle_regions, random_graph
from oracle_graph import Graph, Partition, chain, evaluate, regions, sources
from oracle_nd import Maker, NdDomain, NdPartition, NdRegion, oracle_regions_nd
from strategies import random_degenerate_net, reference_domain, to_reference

F = Fraction
Matrix = list[list[int]]


def dense(*rows: Sequence[Any]) -> list[tuple[list[tuple[int, Any]], Any]]:
    """Rows (weights..., bias) as those of a linear node."""
    return [([(j, F(w)) for j, w in enumerate(row[:-1])], F(row[-1])) for row in rows]


def arrangement(rows: Sequence[Sequence[Any]], slopes: Sequence[Any] | None = None) -> Graph:
    """One layer of units with the rows (weights..., bias); its outputs are the network's."""
    slopes = [F(0)] * len(rows) if slopes is None else slopes
    return Graph(len(rows[0]) - 1, (("linear", (0,), dense(*rows)), ("units", 1, list(slopes))))


def patterns(partition: NdPartition) -> list[tuple[int, ...]]:
    return [region.pattern for region in partition.regions]


def domain_of(case: GraphCase) -> NdDomain:
    return NdDomain.of(case.domain)


# ------------------------------------------------------------------------ what holds of any answer


def spread(found: NdPartition, rng: Random, count: int) -> Iterator[list[Fraction]]:
    """Yield points of the domain, from anywhere between the regions' interior points."""
    for _ in range(count):
        ends = [rng.choice(found.regions).point for _ in range(found.dim + 1)]
        mix = [F(rng.randint(1, 97)) for _ in ends]
        yield [
            sum(m * v for m, v in zip(mix, axis, strict=True)) / sum(mix)
            for axis in zip(*ends, strict=True)
        ]


def check(net: Graph, domain: NdDomain, found: NdPartition, count: int = 20) -> None:
    """Compare with plain evaluation in the regions and between them; look at all facets."""
    for region in found.regions:
        x = domain.embed(region.point)
        assert evaluate(net, x) == (region.value(region.point), region.pattern)
        assert [r for r in found.regions if r.contains(region.point)] == [region]
    for t in spread(found, Random(0), count):
        value, pattern = evaluate(net, domain.embed(t))
        around = [region for region in found.regions if region.contains(t)]
        assert around
        assert all(region.value(t) == value for region in around)
        if len(around) == 1:
            assert around[0].pattern == pattern
    crossed = set()
    for i, region in enumerate(found.regions):
        assert list(region.rows) == sorted(set(region.rows))
        for facet in region.facets:
            on = [r for r in region.rows if oracle_nd._apply(r, facet.point) == 0]
            assert on == [facet.row]
            assert region.contains(facet.point)
            walls = [domain.rows[maker.unit] for maker in facet.makers if maker.node < 0]
            assert bool(walls) == (facet.neighbour is None)
            for wall in walls:
                assert oracle_nd._coprime(oracle_nd._function(wall)[0]) == facet.row
            if facet.neighbour is not None:
                crossed.add(tuple(sorted((i, facet.neighbour))))
                check_makers(region, found.regions[facet.neighbour], facet.row)
    assert sorted(crossed) == list(found.neighbours)
    # no facet twice: the pairs are half of the facets inside of the domain
    inner = [f for r in found.regions for f in r.facets if f.neighbour is not None]
    assert len(inner) == 2 * len(found.neighbours)


def check_makers(one: NdRegion, two: NdRegion, row: tuple[int, ...]) -> None:
    """The first unit that makes a facet switches there, and what switches makes it on one side."""
    (facet,) = (f for f in one.facets if f.row == row)
    (other,) = (f for f in two.facets if f.row == tuple(-v for v in row))
    pairs = enumerate(zip(one.pattern, two.pattern, strict=True))
    switched = {k for k, (a, b) in pairs if a != b}
    assert facet.makers[0].position in switched
    assert facet.makers[0][:3] == other.makers[0][:3]
    assert switched <= {maker.position for maker in facet.makers + other.makers}


def check_volumes(found: NdPartition, whole: NdPartition) -> None:
    """The volumes add up to the domain's (the one region of a network without units)."""
    volumes = [region.volume() for region in found.regions]
    total = whole.regions[0].volume()
    assert (None in volumes) == (total is None)
    assert total is None or sum(volume for volume in volumes if volume) == total


def same(found: NdPartition, wanted: Partition) -> None:
    """Compare everything that the oracle of the plane knows."""
    assert found.neighbours == wanted.neighbours
    assert found.linear_labels == wanted.linear_labels
    assert found.linear_count == wanted.linear_count
    for one, two in zip(found.regions, wanted.regions, strict=True):
        assert one.pattern == two.pattern
        assert one.output == two.output
        assert one.rows == two.rows
        assert one.volume() == two.volume
        assert one.contains(two.point)
        assert two.contains(one.point)


# ----------------------------------------------------------------------- against the plane's oracle


@pytest.mark.parametrize("block", range(8))
def test_graphs_agree_with_the_oracle_of_the_plane(block: int) -> None:
    for seed in range(block * 15, (block + 1) * 15):
        case = random_graph(seed)
        found = oracle_regions_nd(case.net, case.domain)
        same(found, oracle_regions(case))
        check(case.net, domain_of(case), found, 3)


@pytest.mark.parametrize("block", range(4))
def test_chains_agree_with_the_oracle_of_the_plane(block: int) -> None:
    for seed in range(block * 15, (block + 1) * 15):
        case = random_degenerate_net(seed)
        net = to_reference(case)[0]
        graph = chain(net.weights, net.biases, net.slopes)
        found = oracle_regions_nd(graph, case["domain"])
        domain = reference_domain(case["domain"])
        placed = None if domain.origin is None else (domain.origin, domain.basis)
        same(found, regions(graph, domain.dim, domain.rows, placed))


def shear(rng: Random, size: int) -> Matrix:
    """Return an integer matrix of determinant 1."""
    made = [[int(i == j) for j in range(size)] for i in range(size)]
    for _ in range(2 * size):
        i, j = rng.sample(range(size), 2)
        factor = rng.choice((1, -1, 2))
        made[i] = [a + factor * b for a, b in zip(made[i], made[j], strict=True)]
    return made


def along(row: Sequence[Any], matrix: Any, shift: Sequence[Any]) -> tuple[Fraction, ...]:
    """Return the row of ``t -> row . (y, 1)`` for the first entries y of ``matrix t + shift``."""
    size = len(row) - 1
    constant = F(row[-1]) + sum(F(a) * s for a, s in zip(row, shift[:size], strict=False))
    columns = zip(*matrix[:size], strict=True)
    return (
        *(sum((F(a) * m for a, m in zip(row, column, strict=False)), F(0)) for column in columns),
        constant,
    )


@pytest.mark.parametrize("dim", [3, 4, 5, 6, 7])
def test_sheared_cylinders_over_the_plane(dim: int) -> None:
    for seed in range(200, {3: 212, 4: 208, 5: 204, 6: 203, 7: 202}[dim]):
        case, rng = random_graph(seed), Random(seed)
        base, wanted = domain_of(case), oracle_regions(case)
        matrix = shear(rng, dim)
        shift = [rng.randint(-2, 2) for _ in range(dim)]
        rows = [along(row, matrix, shift) for row in base.rows]
        bounded = rng.random() < 0.6
        for k in range(base.dim, dim if bounded else base.dim):  # from 0 to 1 the other ways
            for sign, end in ((1, 0), (-1, 1)):
                unit = [sign * int(j == k) for j in range(dim)]
                rows.append(along((*unit, end), matrix, shift))
        whole = [[int(i == j) for j in range(base.dim)] for i in range(base.dim)]
        placed = [
            along((*row, o), matrix, shift)
            for row, o in zip(base.basis or whole, base.origin or [0] * base.dim, strict=True)
        ]
        origin, basis = [row[-1] for row in placed], [row[:-1] for row in placed]
        domain = NdDomain(dim, tuple(rows)).along(origin, basis)
        found = oracle_regions_nd(case.net, domain)
        assert found.neighbours == wanted.neighbours
        assert found.linear_labels == wanted.linear_labels
        for one, two in zip(found.regions, wanted.regions, strict=True):
            assert one.pattern == two.pattern
            assert one.output == tuple(along(row, matrix, shift) for row in two.output)
            sheared = {along(row, matrix, shift) for row in two.rows}
            assert sheared <= set(one.rows)
            assert len(one.rows) == len(sheared) + 2 * (dim - base.dim) * bounded
            if dim < 5:
                assert one.volume() == (two.volume if bounded else None)
        check(case.net, domain, found, 2)


def product(one: GraphCase, two: GraphCase) -> tuple[Graph, NdDomain]:
    """Return two networks side by side, on the product of their domains."""
    n, m = one.net.inputs, two.net.inputs
    unit = [[int(i == j) for j in range(n + m)] + [0] for i in range(n + m)]
    nodes: list[Any] = [("linear", (0,), dense(*unit[:n])), ("linear", (0,), dense(*unit[n:]))]
    ends = []
    for first, case in ((1, one), (2, two)):
        place = [first, *range(len(nodes) + 1, len(nodes) + 1 + len(case.net.nodes))]
        for node in case.net.nodes:
            moved = tuple(place[s] for s in sources(node))
            nodes.append((node[0], moved[0] if node[0] == "units" else moved, node[2]))
        ends.append(place[-1])
    width = one.net.sizes[-1] + two.net.sizes[-1]
    unit = [[int(i == j) for j in range(width)] + [0] for i in range(width)]
    nodes.append(("linear", tuple(ends), dense(*unit)))
    a, b = domain_of(one), domain_of(two)
    left, right = (0,) * a.dim, (0,) * b.dim
    rows = [(*row[:-1], *right, row[-1]) for row in a.rows] + [(*left, *row) for row in b.rows]
    origin: list[Any] = []
    basis: list[Any] = []
    for domain, before, after in ((a, (), right), (b, left, ())):
        whole = [[int(i == j) for j in range(domain.dim)] for i in range(domain.dim)]
        origin += domain.origin or [0] * domain.dim
        basis += [(*before, *row, *after) for row in domain.basis or whole]
    return Graph(n + m, tuple(nodes)), NdDomain(a.dim + b.dim, tuple(rows)).along(origin, basis)


def test_products() -> None:
    seen = set()
    for seed in range(300, 330):
        one, two = random_graph(seed), random_graph(seed + 1000)
        left, right = oracle_regions(one), oracle_regions(two)
        count = len(right.regions)
        if len(left.regions) * count > 50:
            continue
        net, domain = product(one, two)
        found = oracle_regions_nd(net, domain)
        pairs = [(a, b) for a in left.regions for b in right.regions]
        assert patterns(found) == [a.pattern + b.pattern for a, b in pairs]
        assert found.linear_count == left.linear_count * right.linear_count
        met = [(i * count + k, j * count + k) for i, j in left.neighbours for k in range(count)]
        for k in range(len(left.regions)):
            met += [(k * count + i, k * count + j) for i, j in right.neighbours]
        assert found.neighbours == tuple(sorted(met))
        for region, (a, b) in zip(found.regions, pairs, strict=True):
            assert len(region.rows) == len(a.rows) + len(b.rows)
            if domain.dim < 4:
                bounded = a.volume is not None and b.volume is not None
                assert region.volume() == (a.volume * b.volume if bounded else None)
        seen.add((domain.dim, len(found.regions) > 20))
    assert {(3, True), (4, True)} <= seen


def dyadic_net(rng: Random, widths: Sequence[int]) -> Graph:
    def some(size: int, scale: int) -> list[Fraction]:
        return [F(rng.randint(-scale, scale), 2048) for _ in range(size)]

    weights = [[some(a, 4095) for _ in range(b)] for a, b in pairwise(widths)]
    return chain(weights, [some(b, 1500) for b in widths[1:]])


@pytest.mark.parametrize("widths", [(3, 6, 4, 1), (3, 4, 3, 3, 2), (4, 5, 3, 1), (5, 5, 2, 1)])
def test_generic_nets_and_their_plane_sections(widths: tuple[int, ...]) -> None:
    rng, dim = Random(sum(widths)), widths[0]
    net = dyadic_net(rng, widths)
    domain = NdDomain.box([-1] * dim, [1] * dim)
    found = oracle_regions_nd(net, domain)
    check(net, domain, found)
    if dim == 3:
        empty = Graph(dim, (("linear", (0,), dense([0] * (dim + 1))),))
        check_volumes(found, oracle_regions_nd(empty, domain))
        assert len(found.regions) > 30
    known = {region.pattern: region for region in found.regions}
    for _ in range(4):
        origin = [F(rng.randint(-512, 512), 1024) for _ in range(dim)]
        basis = [[F(rng.randint(-999, 999), 999) for _ in "xy"] for _ in range(dim)]
        rows = [along(row, basis, origin) for row in domain.rows]
        section = regions(net, 2, rows, (origin, basis))
        at = domain.along(origin, basis)
        for region in section.regions:
            assert known[region.pattern].contains(at.embed(region.point))
        pairs = {(found.regions[i].pattern, found.regions[j].pattern) for i, j in found.neighbours}
        for i, j in section.neighbours:
            assert (section.regions[i].pattern, section.regions[j].pattern) in pairs


# ------------------------------------------------------------------------------------ arrangements


def moments(count: int, dim: int, bias: bool) -> list[tuple[int, ...]]:
    """Rows of which any `dim` (with a bias: any `dim` + 1) are independent, by Vandermonde."""
    nodes = [0, 1, -1, 2, -2, 3, -3, 4, -4][:count]
    return [(*(t**k for k in range(dim)), t**dim if bias else 0) for t in nodes]


SIZES = [(dim, count) for dim in range(1, 6) for count in range(1, 9 if dim < 4 else dim + 4)]


@pytest.mark.parametrize(("dim", "count"), SIZES)
def test_generic_hyperplanes(dim: int, count: int) -> None:
    net = arrangement(moments(count, dim, True))
    found = oracle_regions_nd(net, NdDomain.space(dim))
    assert len(found.regions) == sum(comb(count, k) for k in range(dim + 1))  # Zaslavsky
    # every hyperplane is cut by the others: as many facets as it has regions
    facets = count * sum(comb(count - 1, k) for k in range(dim))
    assert len(found.neighbours) == facets
    assert found.linear_count == len(found.regions)
    if dim < 4:
        bounded = [r for r in found.regions if r.volume() is not None]
        assert len(bounded) == comb(count - 1, dim)
    if count <= 6:
        check(net, NdDomain.space(dim), found, 5)


@pytest.mark.parametrize(("dim", "count"), SIZES)
def test_generic_hyperplanes_through_a_common_point(dim: int, count: int) -> None:
    rows = moments(count, dim, False)  # on a line they are all the same point
    point = range(1, dim + 1)
    moved = [(*row[:-1], -sum(a * p for a, p in zip(row, point, strict=False))) for row in rows]
    wanted = 2 * sum(comb(count - 1, k) for k in range(dim))
    for net in (arrangement(rows), arrangement(moved)):
        found = oracle_regions_nd(net, NdDomain.space(dim))
        assert len(found.regions) == wanted
        facets = 1  # a hyperplane that no other one cuts; else each has a central arrangement
        if dim > 1 and count > 1:
            facets = 2 * count * sum(comb(count - 2, k) for k in range(dim - 1))
        assert len(found.neighbours) == facets


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_differences_of_coordinates(size: int) -> None:
    rows = [
        [(k == i) - (k == j) for k in range(size)] + [0] for i, j in combinations(range(size), 2)
    ]
    found = oracle_regions_nd(arrangement(rows), NdDomain.space(size))
    assert len(found.regions) == factorial(size)
    assert len(found.neighbours) == factorial(size) * (size - 1) // 2
    orders = {tuple(sorted(range(size), key=lambda k: r.point[k])) for r in found.regions}
    assert orders == set(permutations(range(size)))
    assert all(len(region.rows) == size - 1 for region in found.regions)
    if size == 4:
        cube = oracle_regions_nd(arrangement(rows), NdDomain.box([0] * 4, [1] * 4))
        assert [region.volume() for region in cube.regions] == [F(1, 24)] * 24


@pytest.mark.parametrize("dim", range(1, 8))
def test_coordinates(dim: int) -> None:
    net = Graph(dim, (("units", 0, [F(-1)] * dim), ("linear", (1,), dense([1] * dim + [0]))))
    box = NdDomain.box([-1] * dim, [1] * dim)
    for domain in (box, NdDomain.space(dim)):
        found = oracle_regions_nd(net, domain)
        assert len(found.regions) == found.linear_count == 2**dim
        assert len(found.neighbours) == dim * 2 ** (dim - 1)
        for region in found.regions:
            signs = tuple(1 if bit else -1 for bit in region.pattern)
            assert region.output == ((*signs, 0),)
            if dim < 5:
                assert region.volume() == (1 if domain.rows else None)


@pytest.mark.parametrize("dim", range(2, 6))
def test_maxima_of_coordinates(dim: int) -> None:
    net = Graph(dim, (("max", (0,), [list(range(dim))]),))
    found = oracle_regions_nd(net, NdDomain.space(dim))
    assert patterns(found) == [(k,) for k in range(dim)]
    assert found.neighbours == tuple(combinations(range(dim), 2))
    for k, region in enumerate(found.regions):
        assert len(region.facets) == dim - 1
        for facet in region.facets:
            others = {maker.slot for maker in facet.makers}
            assert facet.neighbour in others
            assert {maker[:3] for maker in facet.makers} == {(0, 0, 0)}
            assert k not in others
    cube = oracle_regions_nd(net, NdDomain.box([0] * dim, [1] * dim))
    if dim < 5:
        assert [region.volume() for region in cube.regions] == [F(1, dim)] * dim


# ------------------------------------------------------------------------------------------ by hand


def test_repeated_and_opposite_rows() -> None:
    net = arrangement([(1, 0, 0, 0), (1, 0, 0, 0), (-2, 0, 0, 0), (0, 1, 0, 0)])
    found = oracle_regions_nd(net, NdDomain.space(3))
    assert patterns(found) == [(0, 0, 1, 0), (0, 0, 1, 1), (1, 1, 0, 0), (1, 1, 0, 1)]
    assert found.neighbours == ((0, 1), (0, 2), (1, 3), (2, 3))
    first = found.regions[0].facets
    assert [facet.row for facet in first] == [(-1, 0, 0, 0), (0, -1, 0, 0)]
    assert first[0].makers == (Maker(1, 0, 0), Maker(1, 1, 1), Maker(1, 2, 2))
    assert first[1].makers == (Maker(1, 3, 3),)
    assert [facet.neighbour for facet in first] == [2, 1]


def test_zero_and_constant_rows() -> None:
    rows = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, -1), (1, 1, 1, 0)]
    found = oracle_regions_nd(arrangement(rows, [F(2)] * 4), NdDomain.box([-1] * 3, [1] * 3))
    assert patterns(found) == [(0, 1, 0, 0), (0, 1, 0, 1)]
    assert found.regions[0].output == ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, -2), (2, 2, 2, 0))
    assert [region.volume() for region in found.regions] == [4, 4]
    assert [len(region.facets) for region in found.regions] == [7, 7]


def test_a_slope_of_one_is_no_kink() -> None:
    net = arrangement([(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)], [F(1), F(1, 4), F(1)])
    found = oracle_regions_nd(net, NdDomain.space(3))
    assert patterns(found) == [(0, 0, 0), (0, 1, 0)]
    assert found.regions[0].output == ((1, 0, 0, 0), (0, F(1, 4), 0, 0), (0, 0, 1, 0))
    assert found.linear_count == 2


def test_pencils() -> None:
    # Three planes through a line, and one across it that the line's other planes do not see.
    rows = [(1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0), (0, 0, 1, -1)]
    found = oracle_regions_nd(arrangement(rows), NdDomain.space(3))
    assert len(found.regions) == 12
    assert len(found.neighbours) == 18
    # Two of the three planes bound a wedge; the third is redundant there.
    assert {len(region.facets) for region in found.regions} == {3}


def test_a_wall_on_a_kink_is_a_wall() -> None:
    net = arrangement([(1, 0, 0, 0), (1, 1, 0, 0)])
    found = oracle_regions_nd(net, NdDomain.box([0, -1, None], [1, 1, float("inf")]))
    assert patterns(found) == [(1, 0), (1, 1)]
    (wall,) = (facet for facet in found.regions[1].facets if facet.row == (1, 0, 0, 0))
    assert wall.makers == (Maker(-1, 0), Maker(1, 0, 0))
    assert wall.neighbour is None


def test_units_that_are_off_tie_in_a_window() -> None:
    net = Graph(
        3,
        (
            ("units", 0, [F(0)] * 3),
            ("max", (1,), [[2, 1, 0], [-1, 1, 2]]),
        ),
    )
    found = oracle_regions_nd(net, NdDomain.box([-1] * 3, [1] * 3))
    check(net, NdDomain.box([-1] * 3, [1] * 3), found)
    volumes = {region.pattern: region.volume() for region in found.regions}
    assert volumes[0, 0, 0, 0, 1] == 1  # all are off: the first slots
    assert volumes[1, 0, 0, 2, 1] == 1
    assert volumes[0, 1, 1, 1, 1] == volumes[0, 1, 1, 0, 2] == F(1, 2)
    assert sum(volumes.values()) == 8
    # 1 + 3 with one unit on, 3 pairs of units in two orders; all on: the first window has three
    # winners, the second two, and the coordinate that is the largest leaves the order of the others
    assert len(found.regions) == 1 + 3 + 6 + 4


def test_a_kink_upstream_hides_the_unit_behind_it() -> None:
    net = Graph(
        2, (("units", 0, [F(-1), F(1)]), ("linear", (1,), dense((1, 0, 0))), ("units", 2, [F(0)]))
    )
    found = oracle_regions_nd(net, NdDomain.space(2))
    assert patterns(found) == [(0, 0, 1), (1, 0, 1)]
    assert found.regions[0].facets[0].makers == (Maker(0, 0, 0), Maker(2, 0, 2))


def test_a_tent_has_one_map_on_two_sides() -> None:
    # max(1 - |x| - |y| - |z|, 0): an octahedron of 8 pieces, and 8 outside that are one.
    net = Graph(
        3,
        (
            ("units", 0, [F(-1)] * 3),
            ("linear", (1,), dense((-1, -1, -1, 1))),
            ("units", 2, [F(0)]),
        ),
    )
    found = oracle_regions_nd(net, NdDomain.space(3))
    assert len(found.regions) == 16
    assert found.linear_count == 9
    inside = [region for region in found.regions if region.pattern[3]]
    assert [region.volume() for region in inside] == [F(1, 6)] * 8
    hidden = oracle_regions_nd(net, NdDomain.box([1, 0, 0], [2, 1, 1]))
    assert patterns(hidden) == [(1, 1, 1, 0)]


def test_domains() -> None:
    ball = arrangement([(1, 1, 1, 0)])
    simplex = NdDomain.polytope(3, [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [1, 1, 1]], [0, 0, 0, 1])
    (region,) = oracle_regions_nd(ball, simplex).regions
    assert region.volume() == F(1, 6)
    assert len(region.rows) == 4
    description = {"kind": "polytope", "dim": 3, "a": [[1, 0, 0], [0.5, 0, 0]], "b": [1, 0.25]}
    half = oracle_regions_nd(ball, description)
    assert [r.rows for r in half.regions] == [
        ((-2, 0, 0, 1), (-1, -1, -1, 0)),
        ((-2, 0, 0, 1), (1, 1, 1, 0)),
    ]
    assert half.regions[0].volume() is None
    assert len(oracle_regions_nd(ball, {"kind": "space", "dim": 3}).regions) == 2
    inside = {"kind": "space", "dim": 2, "origin": [0, 0, 0], "basis": [[1, 0], [0, 1], [-1, -1]]}
    assert patterns(oracle_regions_nd(ball, inside)) == [(0,)]  # the slice lies in the kink
    lifted = dict(inside, origin=[0, 0, F(1, 3)])
    assert patterns(oracle_regions_nd(ball, lifted)) == [(1,)]
    plain = Graph(3, (("linear", (0,), dense((1, 2, 3, 4))),))
    (region,) = oracle_regions_nd(plain, NdDomain.space(3)).regions
    assert (region.rows, region.pattern, region.output) == ((), (), ((1, 2, 3, 4),))
    trivial = NdDomain.polytope(3, [[0, 0, 0]], [0])
    assert len(oracle_regions_nd(ball, trivial).regions) == 2


@pytest.mark.parametrize(
    "domain",
    [
        NdDomain.box([0, 0, 0], [1, 0, 1]),
        NdDomain.box([0, 2, 0], [1, 1, 1]),
        NdDomain.polytope(3, [[0, 0, 0]], [-1]),
        NdDomain.polytope(3, [[1, 1, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], [0, 0, 0, 0]),
        NdDomain.space(2),
        NdDomain.space(2).along([0, 0], [[1, 0], [0, 1]]),
        NdDomain(3, ((F(1), F(0)),)),
    ],
)
def test_no_domain(domain: NdDomain) -> None:
    with pytest.raises(ValueError):
        oracle_regions_nd(arrangement([(1, 1, 1, 0)]), domain)


def test_thin_cells_are_found() -> None:
    thin = F(1, 2**90)
    net = arrangement([(1, 0, 0, 0), (1, 0, 0, -thin), (1, 1, thin, thin)])
    found = oracle_regions_nd(net, NdDomain.box([-1] * 3, [1] * 3))
    assert len(found.regions) == 6
    volumes = {region.pattern: region.volume() for region in found.regions}
    assert volumes[1, 0, 0] + volumes[1, 0, 1] == 4 * thin


# ----------------------------------------------------------------------------------- the arithmetic


def test_certificates_are_multiplied_out() -> None:
    rows, goal = [(1, 0, 0), (0, 1, 0)], (-1, -2, 0)  # x > 0, y > 0, and -x - 2 y > 0
    assert oracle_nd._reach(rows, (1, 1, 1), goal) is None
    oracle_nd._check_empty(rows, goal, 1, {2: -1, 3: -2})
    for wrong in ({2: -1, 3: -1}, {2: -1}, {2: 1, 3: -2}):
        with pytest.raises(AssertionError):
            oracle_nd._check_empty(rows, goal, 1, wrong)
    with pytest.raises(AssertionError):
        oracle_nd._check_empty(rows, (-1, -2, 1), 1, {2: -1, 3: -2})


def test_points_are_strictly_inside() -> None:
    rng, seen = Random(5), {True: 0, False: 0}
    for _ in range(400):
        dim = rng.randint(1, 6)
        rows = [[rng.randint(-3, 3) for _ in range(dim)] for _ in range(rng.randint(0, 9))]
        inside = [(*row, rng.randint(1, 4)) for row in rows if any(row)]
        goal = (*(rng.randint(-3, 3) for _ in range(dim)), -rng.randint(0, 6))
        found = oracle_nd._reach(inside, (*[0] * dim, 1), goal)
        seen[found is not None] += 1
        if found is not None:
            assert all(oracle_nd._dot(row, found) > 0 for row in (*inside, goal))
    assert min(seen.values()) > 40


def test_a_missing_region_does_not_pass() -> None:
    net, domain = arrangement(moments(4, 3, True)), NdDomain.space(3)
    cells = list(oracle_nd._leaves(net, oracle_nd._start(net, domain)))
    sides = [oracle_nd._facets(cell) for cell in cells]
    oracle_nd._across(sides, [set()] * len(sides))
    with pytest.raises(AssertionError):
        oracle_nd._across(sides[1:], [set()] * (len(sides) - 1))
    with pytest.raises(AssertionError):
        oracle_nd._across([*sides, sides[0]], [set()] * (len(sides) + 1))


def test_oracle_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(oracle_nd.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            name = (node.module or "").split(".")[0]
            assert name in sys.stdlib_module_names or name == "oracle_graph"
        assert not isinstance(node, ast.Import)
