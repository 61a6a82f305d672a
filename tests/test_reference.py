"""The reference enumerator against theory, against elimination, and against itself by other routes.

`plverify.reference` is the oracle of the engine's tests, so nothing here touches the engine. Its
own oracles: counts of arrangements and of tight networks (THEORY B1, B2, B4), Fourier-Motzkin
elimination over all patterns of tiny networks, exact evaluation at sampled points, and areas
computed from the domain alone.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import comb
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    Case,
    degenerate_nets,
    float32,
    integer_nets,
    random_degenerate_net,
    rational_points,
    to_reference,
)

import plverify.reference
from plverify.reference import (
    Domain,
    Net,
    Partition,
    decision_boundary,
    enumerate_regions,
)

F = Fraction
PLANE, LINE = Domain(2), Domain(1)
SEEDS = range(80)


def generic_net(seed: int, *sizes: int, slope: float = 0.0, bias: float = 0.5) -> Net:
    """Return a network of float32 weights in general position with probability one."""
    rng = Random(seed)
    weights = [
        [[float32(rng.gauss(0, 1)) for _ in range(columns)] for _ in range(rows)]
        for columns, rows in pairwise(sizes)
    ]
    biases = [[float32(rng.gauss(0, bias)) for _ in range(rows)] for rows in sizes[1:]]
    return Net(weights, biases, [[slope] * size for size in sizes[1:-1]])


def test_reference_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(plverify.reference.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    assert names
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(tree))


# ------------------------------------------------------------------------------- counts from theory


@pytest.mark.parametrize("units", range(1, 11))
def test_lines_in_general_position_make_zaslavskys_count(units: int) -> None:
    found = enumerate_regions(generic_net(units, 2, units, 1), PLANE)
    assert found.activation_regions == sum(comb(units, i) for i in range(3))
    assert enumerate_regions(generic_net(units, 1, units, 1), LINE).activation_regions == units + 1


@pytest.mark.parametrize("units", range(1, 9))
def test_lines_through_one_point_make_twice_as_many_cones(units: int) -> None:
    net = generic_net(units, 2, units, 1, bias=0.0)
    for domain in (PLANE, Domain.box([-1, -2], [3, 1])):
        assert enumerate_regions(net, domain).activation_regions == 2 * units
    assert enumerate_regions(net, Domain.box([0, 0], [1, 1])).activation_regions <= units + 1


@pytest.mark.parametrize("units", range(1, 7))
def test_planes_cut_by_a_slice_are_lines_in_general_position(units: int) -> None:
    net = generic_net(units, 4, units, 1)
    domain = PLANE.along([1, 0, F(1, 3), -2], [[1, 0], [0, 1], [2, -1], [1, 1]])
    assert enumerate_regions(net, domain).activation_regions == 1 + units + comb(units, 2)


ZIGZAG = ([[F(-1)], [F(1)], [F(1)]], [F(3), F(0), F(-1)])  # relu(3 - x), relu(x), relu(x - 1)
READ_OUT = ([F(-1), F(-2), F(3, 2)], F(4))


def chen_net(widths: Sequence[int], negate: bool = True) -> Net:
    """Return the network of THEORY B2 that attains Chen's number of knots."""
    weights, biases = [ZIGZAG[0]], [ZIGZAG[1]]
    row, offset = READ_OUT
    for _ in widths[1:-1]:  # y = 6 g - 1 of the layer before
        weights.append([[6 * w * a[0] for w in row] for a in ZIGZAG[0]])
        biases.append([a[0] * (6 * offset - 1) + b for a, b in zip(*ZIGZAG, strict=True)])
    last = widths[-1]
    signs = [-1 if negate and k == 1 else 1 for k in range(1, last + 1)]
    weights.append([[s * w for w in row] for s in signs])
    biases.append([s * (offset - F(k, last + 1)) for k, s in enumerate(signs, 1)])
    weights.append([[F((-1) ** i * (2 * i + 1), 7) for i in range(last)]])
    return Net(weights, [*biases, [F(0)]])


@pytest.mark.parametrize(
    ("widths", "knots"),
    [([3, 2], 11), ([3, 3], 15), ([3, 5], 23), ([3, 3, 2], 47), ([3, 3, 3], 63)],
)
def test_tight_network_attains_chens_bound_on_the_line(widths: list[int], knots: int) -> None:
    found = enumerate_regions(chen_net(widths), LINE)
    assert len(found.knots) == sum(knot.changes_output for knot in found.knots) == knots
    assert found.linear_regions == found.activation_regions == knots + 1


@pytest.mark.parametrize(("widths", "visible"), [([3, 3], 14), ([3, 5], 22), ([3, 3, 3], 56)])
def test_a_dead_last_layer_hides_knots_from_the_output(widths: list[int], visible: int) -> None:
    found, tight = (enumerate_regions(chen_net(widths, flag), LINE) for flag in (False, True))
    assert found.activation_regions == tight.activation_regions
    assert sum(knot.changes_output for knot in found.knots) == visible
    assert found.linear_regions == visible + 1


@pytest.mark.parametrize("depth", range(1, 7))
def test_sawtooth_has_two_tails_more_than_two_to_the_depth(depth: int) -> None:
    weights: list[list[list[Any]]] = [[[1], [1]]]
    biases: list[list[Any]] = [[0, F(-1, 2)]]
    for _ in range(depth - 1):  # the next layer reads relu(2 h1 - 4 h2), which is nonnegative here
        weights += [[[2, -4]], [[1], [1]]]
        biases += [[0], [0, F(-1, 2)]]
    weights += [[[2, -4]], [[1]]]
    biases += [[0], [0]]
    found = enumerate_regions(Net(weights, biases), LINE)
    assert found.linear_regions == 2**depth + 2
    assert sum(knot.changes_output for knot in found.knots) == 2**depth + 1


@pytest.mark.parametrize(("last", "regions"), [(1, 32), (2, 64), (3, 112), (4, 176)])
def test_folded_plane_attains_serras_lower_bound(last: int, regions: int) -> None:
    rng = Random(last)
    first = [[a[0], F(0)] for a in ZIGZAG[0]] + [[F(0), a[0]] for a in ZIGZAG[0]]
    row, offset = READ_OUT
    weights, biases = [first], [ZIGZAG[1] * 2]
    normals = [[F(rng.randint(-9, 9), 10), F(rng.randint(1, 9), 10)] for _ in range(last)]
    through = [[F(rng.randint(40, 60), 100), F(rng.randint(40, 60), 100)] for _ in range(last)]
    weights.append([[p * w for w in row] + [q * w for w in row] for p, q in normals])
    biases.append(
        [(p + q) * offset - p * x - q * y for (p, q), (x, y) in zip(normals, through, strict=True)]
    )
    net = Net([*weights, [[F(1)] * last]], [*biases, [F(0)]])
    assert enumerate_regions(net, PLANE).activation_regions == regions


@pytest.mark.parametrize("seed", range(8))
def test_vertices_of_a_generic_relu_box_are_four_per_region(seed: int) -> None:
    found = enumerate_regions(generic_net(seed, 2, 6, 5, 1), Domain.box([-2, -2], [2, 2]))
    assert sum(len(r.vertices or ()) for r in found.regions) == 4 * found.activation_regions


# -------------------------------------------------------- every pattern, by elimination (tiny nets)


def feasible(rows: list[tuple[Fraction, ...]]) -> bool:
    """Decide {a . t + c > 0 for all rows} by Fourier-Motzkin elimination."""
    for _ in range(len(rows[0]) - 1):
        lower = [[a / row[0] for a in row[1:]] for row in rows if row[0] > 0]
        upper = [[a / row[0] for a in row[1:]] for row in rows if row[0] < 0]
        rows = [row[1:] for row in rows if row[0] == 0]
        rows += [tuple(p - q for p, q in zip(x, y, strict=True)) for x in lower for y in upper]
        rows = list(dict.fromkeys(rows))
    return all(row[0] > 0 for row in rows)


def patterns_by_elimination(net: Net, domain: Domain) -> set[tuple[int, ...]]:
    """Return all canonical patterns whose open cell is not empty, trying every piece."""
    size = domain.dim + 1
    start = [tuple(F(int(i == j)) for j in range(size)) for i in range(size - 1)]
    if domain.basis is not None and domain.origin is not None:
        start = [(*row, o) for row, o in zip(domain.basis, domain.origin, strict=True)]
    one = (*(F(0),) * (size - 1), F(1))
    partials = [((), [one, *domain.rows], start)]
    for matrix, bias, slopes in zip(net.weights, net.biases, net.slopes, strict=False):
        found: list[Any] = []
        for pattern, rows, values in partials:
            branches: list[Any] = [(pattern, rows, [])]
            for weights, b, slope in zip(matrix, bias, slopes, strict=True):
                terms = zip((*weights, b), (*values, one), strict=True)
                scaled = [[w * a for a in form] for w, form in terms]
                z = tuple(sum(column, F(0)) for column in zip(*scaled, strict=True))
                off = tuple(slope * a for a in z)
                grown: list[Any] = []
                for bits, walls, forms in branches:
                    if slope == 1 or not any(z):
                        grown.append(((*bits, 0), walls, [*forms, off]))
                        continue
                    for bit, side, form in ((0, tuple(-a for a in z), off), (1, z, z)):
                        if feasible([*walls, side]):
                            grown.append(((*bits, bit), [*walls, side], [*forms, form]))
                branches = grown
            found += branches
        partials = found
    return {pattern for pattern, _, _ in partials}


TINY_DOMAINS = [
    PLANE,
    Domain.box([-1, -1], [1, 1]),
    Domain.box([0, None], [3, 2]),
    Domain.polytope(2, [[1, 1]], [1]),
    Domain.polytope(2, [[1, -2], [-1, 2]], [1, 0]),
    Domain.polytope(2, [[1, 1], [-1, 0], [0, -1], [1, 1]], [2, 0, 0, 5]),
]


@settings(deadline=None, max_examples=60)
@given(integer_nets(), st.sampled_from(TINY_DOMAINS))
def test_patterns_agree_with_elimination_in_the_plane(arrays: Any, domain: Domain) -> None:
    net = Net(**arrays)
    found = [region.pattern for region in enumerate_regions(net, domain).regions]
    assert len(set(found)) == len(found)
    assert set(found) == patterns_by_elimination(net, domain)


@settings(deadline=None, max_examples=60)
@given(
    integer_nets(input_size=1, max_units=10), st.sampled_from([(None, None), (-1, 2), (0, None)])
)
def test_patterns_agree_with_elimination_on_the_line(arrays: Any, ends: Any) -> None:
    net, domain = Net(**arrays), Domain.box(ends[:1], ends[1:])
    found = [region.pattern for region in enumerate_regions(net, domain).regions]
    assert len(set(found)) == len(found)
    assert set(found) == patterns_by_elimination(net, domain)


def test_patterns_agree_with_elimination_on_degenerate_cases() -> None:
    compared = 0
    for seed in range(200):
        net, domain = to_reference(random_degenerate_net(seed))
        patterns = {region.pattern for region in enumerate_regions(net, domain).regions}
        if len(patterns) <= 15:  # elimination is slow
            assert patterns == patterns_by_elimination(net, domain), seed
            compared += 1
    assert compared > 100


# --------------------------------------------------------------- exact evaluation at sampled points


def local_bits(net: Net, domain: Domain, t: Sequence[Fraction]) -> tuple[tuple[int, ...], bool]:
    """Return the pattern at the parameter t, and whether some unit has a kink there.

    A unit that is zero at t and whose row is orthogonal to the slice is zero around t.
    """
    units = net.units_at(domain.embed(t))
    columns = list(zip(*domain.basis, strict=True)) if domain.basis else []
    kink = False
    for unit in units:
        along = [sum(a * b for a, b in zip(unit.row, column, strict=True)) for column in columns]
        kink |= unit.bends and unit.value == 0 and any(along if domain.basis else unit.row)
    return tuple(unit.bit for unit in units), kink


def value_at(row: Sequence[Fraction | int], t: Sequence[Fraction]) -> Fraction:
    """Return row . (t, 1)."""
    return sum((a * x for a, x in zip(row, (*t, F(1)), strict=True)), F(0))


def check_regions(net: Net, domain: Domain, found: Partition) -> None:
    """Check each region's witness, map and geometry, and that regions meet in whole facets."""
    ends: dict[Any, list[int]] = {}
    for index, region in enumerate(found.regions):
        point = region.interior_point
        assert local_bits(net, domain, point) == (region.pattern, False)
        assert region.value(point) == net.forward(domain.embed(point))
        assert all(value_at(facet.row, point) > 0 for facet in region.facets)
        for vertex in region.vertices or ():
            assert region.contains(vertex)
            assert region.value(vertex) == net.forward(domain.embed(vertex))
        for facet in region.facets:
            ends.setdefault((facet.row, facet.start, facet.end), []).append(index)
    assert all(len(owners) == 1 for owners in ends.values())
    domain_rows = [row for row in domain.rows if any(row[:-1])]
    pairs = set()
    for (row, start, end), (owner,) in ends.items():
        other = ends.get((tuple(-a for a in row), end, start))
        if other is not None:
            pairs.add((min(owner, other[0]), max(owner, other[0])))
        else:
            ratios = [[F(a, b) for a, b in zip(row, r, strict=True) if b] for r in domain_rows]
            zeros = [
                all((a == 0) == (b == 0) for a, b in zip(row, r, strict=True)) for r in domain_rows
            ]
            assert any(
                z and len(set(q)) == 1 and q[0] > 0 for z, q in zip(zeros, ratios, strict=True)
            )
    assert tuple(sorted(pairs)) == found.neighbours
    maps = [(region.J, region.c) for region in found.regions]
    reached = list(range(len(maps)))  # the least region of the same map reachable through facets
    for _ in maps:
        for i, j in pairs:
            if maps[i] == maps[j]:
                reached[i] = reached[j] = min(reached[i], reached[j])
    firsts = {label: i for i, label in reversed(list(enumerate(found.linear_labels)))}
    assert reached == [firsts[label] for label in found.linear_labels]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_region_has_its_pattern_and_its_map(seed: int) -> None:
    net, domain = to_reference(random_degenerate_net(seed))
    check_regions(net, domain, enumerate_regions(net, domain))


@pytest.mark.slow
def test_more_cases_hold_together() -> None:
    for seed in range(1000, 1300):
        net, domain = to_reference(random_degenerate_net(seed))
        found = enumerate_regions(net, domain)
        check_regions(net, domain, found)
        assert found.volume is None or found.volume == domain_volume(domain), seed


@settings(deadline=None, max_examples=40)
@given(degenerate_nets())
def test_every_drawn_region_has_its_pattern_and_its_map(case: Case) -> None:
    net, domain = to_reference(case)
    check_regions(net, domain, enumerate_regions(net, domain))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_sampled_pattern_is_listed(seed: int) -> None:
    """Sample points of the domain, which is convex, on segments between interior points."""
    net, domain = to_reference(random_degenerate_net(seed))
    found = enumerate_regions(net, domain)
    regions = {region.pattern: region for region in found.regions}
    rng = Random(seed)
    for _ in range(30):
        p, q = (rng.choice(found.regions).interior_point for _ in "pq")
        weight = F(rng.randint(-3, 19), 16)
        t = tuple(x + weight * (y - x) for x, y in zip(p, q, strict=True))
        inside = all(value_at(row, t) > 0 for row in domain.rows)
        pattern, kink = local_bits(net, domain, t)
        holders = [region for region in found.regions if region.contains(t)]
        assert all(region.value(t) == net.forward(domain.embed(t)) for region in holders)
        if inside and not kink:
            assert holders == [regions[pattern]]
        elif inside:
            assert len(holders) >= 2


@settings(deadline=None)
@given(integer_nets(), rational_points(2))
def test_a_point_is_on_a_kink_exactly_when_two_closed_regions_hold_it(
    arrays: Any, point: list[Fraction]
) -> None:
    net = Net(**arrays)
    holders = [r for r in enumerate_regions(net, PLANE).regions if r.contains(point)]
    pattern, kink = local_bits(net, PLANE, point)
    assert kink == (len(holders) > 1)
    assert kink or holders[0].pattern == pattern


# -------------------------------------------------------------------------- areas and unboundedness


def domain_volume(domain: Domain) -> Fraction:
    """Return the length or area of a bounded domain from its constraints alone."""
    if domain.dim == 1:
        ends = [(F(-c) / a, a > 0) for a, c in domain.rows]
        return min(t for t, low in ends if not low) - max(t for t, low in ends if low)
    corners = set()
    for (a, b, c), (p, q, r) in combinations(domain.rows, 2):
        if a * q != b * p:
            x, y = (b * r - c * q) / (a * q - b * p), (c * p - a * r) / (a * q - b * p)
            if all(u * x + v * y + w >= 0 for u, v, w in domain.rows):
                corners.add((x, y))
    hull: list[tuple[Fraction, Fraction]] = []
    for points in (sorted(corners), sorted(corners, reverse=True)):  # Andrew's monotone chain
        chain: list[tuple[Fraction, Fraction]] = []
        for x, y in points:
            while len(chain) > 1 and (chain[-1][0] - chain[-2][0]) * (y - chain[-2][1]) <= (
                chain[-1][1] - chain[-2][1]
            ) * (x - chain[-2][0]):
                chain.pop()
            chain.append((x, y))
        hull += chain[:-1]
    shifted = hull[1:] + hull[:1]
    return sum((p[0] * q[1] - q[0] * p[1] for p, q in zip(hull, shifted, strict=True)), F(0)) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_sum_to_the_domains(seed: int) -> None:
    net, domain = to_reference(random_degenerate_net(seed))
    found = enumerate_regions(net, domain)
    assert all(region.volume is None or region.volume > 0 for region in found.regions)
    if found.volume is not None:
        assert found.volume == domain_volume(domain)


@pytest.mark.parametrize("seed", SEEDS)
def test_unbounded_domain_has_the_regions_of_a_large_box_in_it(seed: int) -> None:
    net, domain = to_reference(random_degenerate_net(seed))
    found = enumerate_regions(net, domain)
    size = 1 + max(abs(x) for region in found.regions for x in region.interior_point)
    box = Domain.box([-size] * domain.dim, [size] * domain.dim)
    inner = Domain(domain.dim, domain.rows + box.rows, domain.origin, domain.basis)
    cut = enumerate_regions(net, inner)
    assert {r.pattern for r in cut.regions} == {r.pattern for r in found.regions}
    assert cut.volume is not None
    assert len(cut.neighbours) <= len(found.neighbours)


# --------------------------------------------------------------------------------------- invariance


def changed(case: Case, rng: Random, kind: str) -> Net:
    """Return the case's network with one hidden layer permuted, or one of its units doubled."""
    weights = [[list(row) for row in matrix] for matrix in case["weights"]]
    biases = [list(vector) for vector in case["biases"]]
    slopes = [list(vector) for vector in case["slopes"]]
    layer = rng.randrange(len(slopes))
    width = len(slopes[layer])
    if kind == "permute":
        order = rng.sample(range(width), width)
        weights[layer] = [weights[layer][k] for k in order]
        biases[layer] = [biases[layer][k] for k in order]
        slopes[layer] = [slopes[layer][k] for k in order]
        weights[layer + 1] = [[row[k] for k in order] for row in weights[layer + 1]]
        return Net(weights, biases, slopes)
    k, factor = rng.randrange(width), {"repeat": 1, "scale": 4, "negate": -1}[kind]
    weights[layer].append([factor * w for w in weights[layer][k]])
    biases[layer].append(factor * biases[layer][k])
    slopes[layer].append(slopes[layer][k])
    for row in weights[layer + 1]:
        row.append(0.0)
    return Net(weights, biases, slopes)


@pytest.mark.parametrize("kind", ["permute", "repeat", "scale", "negate"])
@pytest.mark.parametrize("seed", range(25))
def test_permuted_or_doubled_units_change_no_count_and_no_cell(seed: int, kind: str) -> None:
    case = random_degenerate_net(seed)
    net, domain = to_reference(case)
    before = enumerate_regions(net, domain)
    after = enumerate_regions(changed(case, Random(seed), kind), domain)
    assert after.activation_regions == before.activation_regions
    assert after.linear_regions == before.linear_regions
    assert len(after.neighbours) == len(before.neighbours)
    assert {(frozenset(f.row for f in r.facets), r.J, r.c) for r in after.regions} == {
        (frozenset(f.row for f in r.facets), r.J, r.c) for r in before.regions
    }


# ------------------------------------------------------------------------------ conventions by hand


def test_an_identically_zero_unit_has_bit_zero_and_is_no_wall() -> None:
    found = enumerate_regions(Net([[[0, 0]], [[1]]], [[0], [3]]), Domain.box([-1, -1], [1, 1]))
    assert [region.pattern for region in found.regions] == [(0,)]
    # relu(relu(x)): the second unit is the first one's function, zero where that is off
    found = enumerate_regions(Net([[[1]], [[1]], [[1]]], [[0], [0], [0]]), LINE)
    assert [region.pattern for region in found.regions] == [(0, 0), (1, 1)]


def test_a_unit_of_slope_one_has_bit_zero_and_is_no_wall() -> None:
    net = Net([[[1], [1]], [[1, 1]]], [[0, -1], [0]], [[1, 0.5]])
    found = enumerate_regions(net, LINE)
    assert [region.pattern for region in found.regions] == [(0, 0), (0, 1)]
    assert [region.J for region in found.regions] == [((F(3, 2),),), ((F(2),),)]


def test_a_constant_unit_has_the_bit_of_its_sign() -> None:
    found = enumerate_regions(Net([[[0], [0]], [[1, 1]]], [[2, -2], [0]]), LINE)
    assert [region.pattern for region in found.regions] == [(1, 0)]


def test_absolute_value_is_two_regions() -> None:
    found = enumerate_regions(Net([[[1]], [[1]]], [[0], [0]], [[-1]]), Domain.box([-1], [2]))
    assert [(r.pattern, r.J, r.volume) for r in found.regions] == [
        ((0,), ((F(-1),),), F(1)),
        ((1,), ((F(1),),), F(2)),
    ]


def test_a_knot_that_the_output_does_not_see() -> None:
    net = Net([[[1], [-1], [1]], [[1, -1, 1]]], [[0, 0, -1], [0]])  # x, then x + relu(x - 1)
    found = enumerate_regions(net, LINE)
    assert [tuple(knot) for knot in found.knots] == [(0, False), (1, True)]
    assert (found.activation_regions, found.linear_regions) == (3, 2)


def test_equal_maps_that_do_not_touch_are_different_linear_regions() -> None:
    hat = Net([[[1], [1], [1]], [[1, -2, 1]]], [[0, -1, -2], [0]])
    assert enumerate_regions(hat, LINE).linear_regions == 4


def test_equal_maps_that_meet_in_a_corner_are_different_linear_regions() -> None:
    # relu(min(x, y)) + relu(min(-x, -y)): 0 on two opposite quadrants, four maps on the others
    first = [[0, 1], [0, -1], [1, 0], [-1, 0], [-1, 1]]  # y+, y-, x+, x-, (y - x)+
    second = [[1, -1, 0, 0, -1], [0, 0, -1, 1, -1]]  # min(x, y); -max(x, y)
    net = Net([first, second, [[1, 1]]], [[0] * 5, [0, 0], [0]])
    found = enumerate_regions(net, PLANE)
    assert (found.activation_regions, found.linear_regions) == (6, 6)
    assert sum(not any(any(row) for row in region.J) for region in found.regions) == 2


def test_unbounded_cells_without_vertices() -> None:
    net = Net([[[1, 0], [1, 0]], [[1, 1]]], [[0, -1], [0]])  # a strip between two half-planes
    found = enumerate_regions(net, PLANE)
    assert [len(region.facets) for region in found.regions] == [1, 2, 1]
    assert [region.vertices for region in found.regions] == [None] * 3
    assert found.neighbours == ((0, 1), (1, 2))
    assert found.volume is None


@pytest.mark.parametrize(
    "domain",
    [
        Domain.box([0], [0]),
        Domain.box([1], [0]),
        Domain.box([0, 0], [1, 0]),
        Domain.polytope(2, [[1, 1], [-1, -1]], [0, 0]),
        Domain.polytope(2, [[1, 0], [0, 1], [-1, -1]], [0, 0, -1]),
        Domain.polytope(2, [[0, 0]], [-1]),
        Domain(3),
    ],
)
def test_a_domain_without_interior_is_an_error(domain: Domain) -> None:
    net = Net([[[1] * domain.dim], [[1]]], [[0], [0]])
    with pytest.raises(ValueError, match="interior|dimension"):
        enumerate_regions(net, domain)


def test_trivial_and_repeated_constraints_change_nothing() -> None:
    net = generic_net(3, 2, 5, 1)
    a = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    plain = enumerate_regions(net, Domain.polytope(2, a, [1, 1, 1, 1]))
    more = Domain.polytope(2, [*a, [0, 0], [3, 0], [1, 1], [1, 2]], [1, 1, 1, 1, 0, 3, 2, 7])
    assert enumerate_regions(net, more) == plain


# ------------------------------------------------------------------------- distance to the boundary


@settings(deadline=None)
@given(integer_nets(), rational_points(2))
def test_boundary_distance_agrees_with_the_facets_of_the_region(
    arrays: Any, point: list[Fraction]
) -> None:
    net = Net(**arrays)
    holder = next(r for r in enumerate_regions(net, PLANE).regions if r.contains(point))
    gaps = [
        (a * point[0] + b * point[1] + c) ** 2 / F(a * a + b * b)
        for a, b, c in (facet.row for facet in holder.facets)
    ]
    assert net.boundary_distance_squared(point) == min(gaps, default=None)


def test_boundary_distance_by_hand() -> None:
    net = Net([[[3, 0, 4, 0], [0, 1, 0, 0]], [[1, 1]], [[1]]], [[5, 2], [-100], [0]])
    assert net.boundary_distance_squared([0, 0, 0, 0]) == 1
    assert net.boundary_distance_squared([0, 0, F(-5, 4), 7]) == 0
    assert net.boundary_distance_squared([10, 60, 10, 0]) == F(37**2, 26)
    assert Net([[[0, 0]], [[1]]], [[0], [0]]).boundary_distance_squared([1, 2]) is None
    assert Net([[[1]], [[1]]], [[0], [0]], [[1]]).boundary_distance_squared([0]) is None


# -------------------------------------------------------------------------------- decision boundary


def test_decision_boundary_of_three_affine_outputs() -> None:
    net = Net([[[1, 0], [0, 1], [-1, -1]]], [[0, 0, 0]])
    found = decision_boundary(enumerate_regions(net, Domain.box([-1, -1], [1, 1])))
    assert [tuple(segment) for segment in found] == [
        (0, 1, (0, 0), (1, 1)),
        (0, 2, (0, 0), (F(1, 2), -1)),
        (1, 2, (-1, F(1, 2)), (0, 0)),
    ]


def test_decision_boundary_on_a_facet_is_listed_once() -> None:
    net = Net([[[1, 0]], [[1], [0]]], [[0], [0, 0]], [[-1]])  # |x| against 0: a tie on x = 0
    found = decision_boundary(enumerate_regions(net, Domain.box([-1, -1], [1, 1])))
    assert [tuple(segment) for segment in found] == [(0, 1, (0, -1), (0, 1))]


@pytest.mark.parametrize("seed", range(12))
def test_the_label_changes_on_listed_segments_only(seed: int) -> None:
    if seed % 2:
        net = generic_net(seed, 2, 4, 4, 3)
    else:
        rng = Random(seed)
        sizes = (2, 4, 4, 3)
        net = Net(
            [
                [[rng.randint(-2, 2) for _ in range(n)] for _ in range(m)]
                for n, m in pairwise(sizes)
            ],
            [[rng.randint(-1, 1) for _ in range(m)] for m in sizes[1:]],
        )
    found = enumerate_regions(net, Domain.box([-3, -3], [3, 3]))
    segments = decision_boundary(found)
    for tie in segments:
        middle = [(a + b) / 2 for a, b in zip(tie.start, tie.end, strict=True)]
        values = net.forward(middle)
        assert values[tie.first] == values[tie.second] == max(values)
    for region in found.regions:
        corners = [*(region.vertices or ()), region.interior_point]
        for p, q in product(corners, corners):
            at_p, at_q = region.value(p), region.value(q)
            label = at_p.index(max(at_p))
            losses = [(b - at_q[label], at_p[label] - a) for a, b in zip(at_p, at_q, strict=True)]
            times = [lead / (lead + gain) for gain, lead in losses if gain > 0]
            if times and min(times) > 0:  # the label is lost at this time on the way from p to q
                x, y = (a + min(times) * (b - a) for a, b in zip(p, q, strict=True))
                assert any(
                    min(s.start[0], s.end[0]) <= x <= max(s.start[0], s.end[0])
                    and min(s.start[1], s.end[1]) <= y <= max(s.start[1], s.end[1])
                    and (s.end[0] - s.start[0]) * (y - s.start[1])
                    == (s.end[1] - s.start[1]) * (x - s.start[0])
                    for s in segments
                )


# ------------------------------------------------------------------------------------ the generator


def test_generator_is_deterministic_and_its_numbers_are_exact() -> None:
    for seed in range(200):
        case = random_degenerate_net(seed)
        assert case == random_degenerate_net(seed)
        for layer in case["weights"]:
            assert all(isinstance(w, float) for row in layer for w in row)
        assert all(isinstance(b, float) for vector in case["biases"] for b in vector)
        assert 1 <= len(case["slopes"]) <= 4
        assert all(1 <= len(vector) <= 7 for vector in case["slopes"])
        _, domain = to_reference(case)
        inside = [F(t) for t in case["domain"]["inside"]]
        assert all(value_at(row, inside) > 0 for row in domain.rows)


def test_generator_reaches_the_degeneracies_it_promises() -> None:
    seen: dict[str, int] = {}
    for seed in range(250):
        case = random_degenerate_net(seed)
        net, domain = to_reference(case)
        found = enumerate_regions(net, domain)
        units = net.units_at(domain.embed([F(t) for t in case["domain"]["inside"]]))
        facts = {
            "many regions": found.activation_regions > 40,
            "merged": found.linear_regions < found.activation_regions,
            "unseen knot": any(not knot.changes_output for knot in found.knots),
            "unbounded": found.volume is None,
            "thin": found.volume is not None and found.volume < F(1, 10**4),
            "slice": domain.basis is not None,
            "zero unit": any(not any(unit.row) for unit in units),
            "common point": sum(u.value == 0 and any(u.row) and u.bends for u in units) > 2,
            "no kink": any(not unit.bends for unit in units),
            "negative slope": any(s < 0 for slopes in net.slopes for s in slopes),
            "far": any(abs(x) > 500 for x in found.regions[0].interior_point),
            "four layers": len(net.widths) == 4,
        }
        for name, fact in facts.items():
            seen[name] = seen.get(name, 0) + fact
    assert min(seen.values()) >= 5, seen
