"""The engine against theorems: constructions with a known number of regions, and bounds on any net.

The oracles are the closed formulas of `plverify.theory` and numbers that can be counted by hand
(``shared/THEORY.md`` B1 to B6, B10); no other enumerator is asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise
from math import comb
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from strategies import float32

import plverify as pv
from plverify import _core, theory, theory_nets

F = Fraction
PLANE, LINE = pv.Space(2), pv.Space(1)
REGIONS = Path(__file__).parents[2] / "shared" / "data" / "regions"

EVERY_WAY: list[dict[str, Any]] = [
    {},
    {"threads": 2},
    {"portable": True},
    {"decide": 1},
    {"decide": 2},
]


def make(weights: Any, biases: Any = None, slope: Any = 0) -> pv.Network:
    return pv.Network.from_arrays(weights, biases, slope)


def generic(seed: int, *sizes: int, slope: float = 0.0, bias: float = 0.5) -> pv.Network:
    """Float32 weights, in general position with probability one."""
    rng = Random(seed)
    weights = [
        [[float32(rng.gauss(0, 1)) for _ in range(columns)] for _ in range(rows)]
        for columns, rows in pairwise(sizes)
    ]
    biases = [[float32(rng.gauss(0, bias)) for _ in range(rows)] for rows in sizes[1:]]
    return make(weights, biases, slope)


def one_layer(lines: Sequence[Sequence[Any]], slope: Any = 0) -> pv.Network:
    """One hidden layer whose units are ``(a, ..., c)``, read by one generic output."""
    read_out = [[2 * k + 1 for k in range(len(lines))]]
    weights = [[row[:-1] for row in lines], read_out]
    return make(weights, [[row[-1] for row in lines], [0]], slope)


def activation(net: pv.Network, domain: Any) -> int:
    """The number of activation regions, the same in every way to decide signs."""
    data = domain.to_bytes()
    counts = [_core.enumerate(net.core, data, "count", **way)["count"] for way in EVERY_WAY]
    assert counts == [counts[0]] * len(counts)
    listed = pv.regions(net, domain)
    assert listed.count == len({row.tobytes() for row in listed.packed_patterns}) == counts[0]
    return counts[0]


def linear(net: pv.Network, domain: Any) -> int:
    return pv.regions(net, domain).linear_count


# ------------------------------------------------------------------------------------ constructions


@pytest.mark.sanitize
@pytest.mark.parametrize(
    ("widths", "knots"),
    [
        *(([3, 2], 11), ([3, 3], 15), ([3, 5], 23), ([3, 3, 2], 47), ([3, 3, 3], 63)),
        *(([3, 3, 3, 3], 255), ([7], 7), ([5, 4], 29), ([4, 3, 2], 59), ([3, 4, 5, 2], 359)),
    ],
)
def test_tight_network_has_chens_number_of_knots(widths: list[int], knots: int) -> None:
    assert knots == theory.chen_knots(widths)
    net = make(*theory_nets.chen_tight_net(widths))
    for domain in (LINE, pv.Box([-1], [2 * widths[0] - 1])):
        assert activation(net, domain) == linear(net, domain) == knots + 1
        found = pv.knots(net, domain)
        assert len(found) == found.visible_count == knots
        assert list(found.exact) == sorted(set(found.exact))


def published_chen_net(widths: Sequence[int], negate: bool) -> pv.Network:
    """THEORY B2 to the letter; its thirds and sevenths are no floats."""
    zigzag, shifts = ([-1], [1], [1]), (3, 0, -1)
    row, offset = (F(-1), F(-2), F(3, 2)), F(4)
    weights, biases = [[list(z) for z in zigzag]], [list(map(F, shifts))]
    for _ in widths[1:-1]:
        weights.append([[6 * w * z[0] for w in row] for z in zigzag])
        biases.append([z[0] * (6 * offset - 1) + s for z, s in zip(zigzag, shifts, strict=True)])
    last = widths[-1]
    signs = [-1 if negate and k == 0 else 1 for k in range(last)]
    weights.append([[s * w for w in row] for s in signs])
    biases.append([s * (offset - F(k, last + 1)) for k, s in enumerate(signs, 1)])
    weights.append([[F((-1) ** i * (2 * i + 1), 7) for i in range(last)]])
    return make(weights, [*biases, [0]])


@pytest.mark.parametrize(
    ("widths", "visible"),
    [([3, 2], None), ([3, 3], 14), ([3, 5], 22), ([3, 3, 2], None), ([3, 3, 3], 56)],
)
def test_knots_in_the_valleys_do_not_show_in_the_output(
    widths: list[int], visible: int | None
) -> None:
    knots = theory.chen_knots(widths)
    mixed = pv.knots(published_chen_net(widths, negate=True))
    assert len(mixed) == mixed.visible_count == knots
    plain = pv.knots(published_chen_net(widths, negate=False))
    assert len(plain) == knots
    if visible is not None:
        assert plain.visible_count == visible
        assert linear(published_chen_net(widths, negate=False), LINE) == visible + 1


@pytest.mark.parametrize(
    ("n0", "widths", "count"),
    [
        *((1, [3, 2], 12), (2, [6, 1], 32), (2, [6, 2], 64), (2, [6, 3], 112), (2, [6, 4], 176)),
        *((1, [3, 3, 4], 80), (2, [6, 6, 3], 1792), (2, [9, 7, 4], 4400), (1, [4, 3, 5], 120)),
    ],
)
def test_serras_network_has_its_number_of_regions(n0: int, widths: list[int], count: int) -> None:
    assert theory.serra_lower(n0, widths) == count
    net = make(*theory_nets.serra_net(n0, widths))
    high = 2 * (widths[0] // n0) - 1
    for domain in (pv.Space(n0), pv.Box([-1] * n0, [high] * n0)):
        assert activation(net, domain) == count
        if widths[-1] > n0:
            assert linear(net, domain) == count


def test_serras_network_with_a_cell_in_which_the_last_layer_is_off() -> None:
    """Mirror images of that cell touch across the folds and merge: 166 linear regions of 176."""
    weights, biases = theory_nets.serra_net(2, [6, 4])
    fold = [F(-1), F(-2), F(3, 2)]  # 4 + fold . h is the coordinate in which a tile is (0, 1)
    cuts = [(-2, 0, F(-9, 8)), (3, -7, F(-21, 8)), (7, 6, F(119, 16)), (3, -3, F(-9, 16))]
    weights[-2] = [[a * v for v in fold] + [b * v for v in fold] for a, b, _ in cuts]
    biases[-2] = [4 * a + 4 * b - t for a, b, t in cuts]
    net = make(weights, biases)
    assert activation(net, pv.Space(2)) == theory.serra_lower(2, [6, 4]) == 176
    assert linear(net, pv.Space(2)) == 166


@pytest.mark.parametrize(
    ("n0", "widths"),
    [(1, [2, 3]), (1, [3, 3, 2]), (2, [4, 3]), (2, [4, 4, 3]), (2, [6, 4]), (2, [3, 4]), (2, [5])],
)
def test_montufars_network_has_its_number_of_regions(n0: int, widths: list[int]) -> None:
    count = theory.montufar_lower(n0, widths)
    net = make(*theory_nets.montufar_net(n0, widths))
    unit = pv.Box([0] * n0, [1] * n0)
    assert activation(net, unit) == count
    assert widths[-1] <= n0 or linear(net, unit) == count
    assert activation(net, pv.Space(n0)) >= count


@pytest.mark.parametrize("n", range(1, 11))
def test_the_sawtooth_has_its_teeth(n: int) -> None:
    net = make(*theory_nets.sawtooth_net(n))
    assert linear(net, pv.Box([0], [1])) == theory.sawtooth_pieces(n) == 2**n
    assert linear(net, LINE) == theory.sawtooth_pieces(n, "line") == 2**n + 2
    found = pv.knots(net)
    assert found.visible_count == theory.sawtooth_knots(n, "line") == 2**n + 1
    visible = [x for x, shown in zip(found.exact, found.changes_output, strict=True) if shown]
    assert visible == [F(k, 2**n) for k in range(2**n + 1)]
    inside = pv.knots(net, 0, 1)
    assert inside.visible_count == theory.sawtooth_knots(n)


@pytest.mark.parametrize(("w", "k"), [(2, 1), (2, 3), (3, 2), (3, 3), (4, 2), (5, 4), (7, 3)])
def test_aroras_network_has_its_pieces(w: int, k: int) -> None:
    net = make(*theory_nets.arora_net(w, k))
    assert linear(net, pv.Box([0], [1])) == theory.arora_pieces(w, k) == w**k
    assert linear(net, LINE) == theory.arora_pieces(w, k, "line")


def test_a_slice_of_a_fold_is_the_fold() -> None:
    """A 1-D network along a direction of the plane, and a line through the plane."""
    weights, biases = theory_nets.sawtooth_net(5)
    tilted = make([[[3 * row[0], -2 * row[0]] for row in weights[0]], *weights[1:]], biases)
    line = pv.Slice([1, 1], [[1], [1]], pv.Box([-1], [0]))  # 3 x - 2 y = 1 + t
    assert linear(tilted, line) == 32
    assert linear(tilted, pv.segment([0, 0], [1, 1])) == 32
    assert linear(tilted, pv.segment([0, 0], [2, 3])) == 1  # the direction that it does not see
    assert linear(tilted, PLANE) == 34


# ------------------------------------------------------------------------- arrangements, one layer


@pytest.mark.sanitize
@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 6, 10, 17, 33])
def test_lines_in_general_position_attain_zaslavsky(units: int) -> None:
    net = generic(units, 2, units, 1)
    count = theory.zaslavsky(units, 2)
    assert count == 1 + units + comb(units, 2)
    assert activation(net, PLANE) == linear(net, PLANE) == count
    corners = {v.p for r in pv.regions(net, PLANE) for v in r.exact_vertices if not v.at_infinity}
    assert len(corners) == comb(units, 2)
    reach = 1 + max((abs(x) for p in corners for x in p), default=F(0))
    assert activation(net, pv.Box([-reach] * 2, [reach] * 2)) == count
    assert activation(generic(units, 1, units, 1), LINE) == units + 1


@pytest.mark.parametrize("units", [1, 2, 3, 5, 8, 30])
def test_a_central_arrangement_has_twice_as_many_cones(units: int) -> None:
    net = generic(units, 2, units, 1, bias=0.0)
    assert theory.zaslavsky_central(units, 2) == 2 * units
    for domain in (
        PLANE,
        pv.Box([-1, -2], [3, 1]),
        pv.Polytope([[-1, 0], [0, -1], [1, 1]], [1] * 3),
    ):
        assert activation(net, domain) == 2 * units
    # moved to another common point, which is a vertex of the box
    moved = one_layer([(k + 1, k * k - 3, -(k + 1) * 7 - (k * k - 3) * 5) for k in range(units)])
    assert activation(moved, PLANE) == 2 * units
    inside = activation(moved, pv.Box([7, 5], [8, 6]))
    assert inside == 1 + sum((k + 1) * (k * k - 3) < 0 for k in range(units))


def test_parallel_lines_make_strips() -> None:
    for count in (1, 2, 9):
        net = one_layer([(2, -3, k) for k in range(count)])
        assert activation(net, PLANE) == count + 1
        assert linear(net, PLANE) == count + 1
    grid = one_layer([(1, 0, k) for k in range(4)] + [(0, 1, k) for k in range(6)])
    assert activation(grid, PLANE) == 5 * 7


def test_braid_arrangement_in_the_plane() -> None:
    """x = y, y = z, x = z in barycentric coordinates: six chambers, three lines at one point."""
    assert activation(one_layer([(1, -1, 0), (1, 2, 0), (2, 1, 0)]), PLANE) == 6
    # more parallels of the same: regions = 1 + lines + sum over points of (lines through it - 1)
    lines = (
        [(1, -1, k) for k in (0, 1, -1)]
        + [(1, 0, -k) for k in (0, 1)]
        + [(0, 1, -k) for k in (0, 1)]
    )
    crossings: dict[Any, int] = {}
    for (a, b, c), (d, e, f) in combinations(lines, 2):
        if det := a * e - b * d:
            at = (F(b * f - c * e, det), F(c * d - a * f, det))
            crossings[at] = crossings.get(at, 0) + 1
    degrees = {1: 2, 3: 3, 6: 4}  # pairs at a point -> lines through it
    expected = 1 + len(lines) + sum(degrees[pairs] - 1 for pairs in crossings.values())
    assert activation(one_layer(lines), PLANE) == expected


# ------------------------------------------------------------------------------------ upper bounds


ARCHITECTURES = [
    (1, [3, 3]),
    (1, [1, 3]),
    (1, [5, 4, 3]),
    (2, [3, 3]),
    (2, [4, 3, 2]),
    (2, [2, 4]),
    (2, [1, 6]),
    (2, [5, 5]),
    (2, [4, 4, 4]),
    (2, [8, 8]),
    (2, [6, 1, 6]),
]


@pytest.mark.parametrize(("n0", "widths"), ARCHITECTURES)
def test_no_network_exceeds_the_upper_bounds(n0: int, widths: list[int]) -> None:
    for seed in range(12):
        slope = (0.0, 0.0, 0.1, -0.5, -1.0)[seed % 5]
        net = generic(seed, n0, *widths, 2, slope=slope, bias=(1.0, 0.3, 0.0)[seed % 3])
        table = theory.bounds_table(n0, widths, "leaky", leaky_slopes=slope)
        count = pv.count_regions(net, pv.Space(n0)).count
        assert theory.violated(count, table) == []
        assert linear(net, pv.Space(n0)) <= count
        assert pv.count_regions(net, pv.Box([-1] * n0, [1] * n0)).count <= count
        if n0 == 1:
            assert len(pv.knots(net)) <= theory.chen_knots(widths)


def test_rectifier_bounds_are_for_rectifiers_only() -> None:
    """THEORY B10 1: two nets with negative slopes that exceed Serra's bound, counted by hand."""
    line = make([[[1]], [[1]] * 3, [[1, 1, 1]]], [[0], [-1, -2, -3], [0]], -0.5)
    assert theory.serra_upper(1, [1, 3]) == 5
    assert activation(line, LINE) == 8
    absolute = [[1, 0], [0, 1]]
    cuts, offsets = [[1, 0], [0, 1], [1, 1], [1, -1]], [-10, -10, F(-41, 2), F(-1, 4)]
    plane = make([absolute, cuts, [[1, 2, 4, 8]]], [[0, 0], offsets, [0]], -1)
    assert theory.serra_upper(2, [2, 4]) == 22
    assert theory.montufar_upper(2, [2, 4]) == activation(plane, PLANE) == 44


def test_a_random_line_through_a_random_network_has_few_knots() -> None:
    """THEORY B5 (Hanin, Rolnick): about one per unit whatever the depth; Chen's maximum is 10^6."""
    means = []
    for depth, width in ((1, 60), (3, 20), (6, 10)):
        counts = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            sizes = (1, *[width] * depth, 1)
            weights = [rng.normal(0, np.sqrt(2 / a), (b, a)) for a, b in pairwise(sizes)]
            biases = [rng.normal(0, 0.1, b) for b in sizes[1:]]
            counts.append(len(pv.knots(make(weights, biases), -1, 1)))
        means.append(np.mean(counts) / (depth * width))
    assert all(0.5 < mean < 1.2 for mean in means), means


# -------------------------------------------------------------------------------------- invariants


@pytest.mark.parametrize("widths", [[6], [16, 16], [10, 10, 10], [8] * 5, [40, 3], [3, 40]])
def test_generic_polygons_have_four_corners_on_average(widths: list[int]) -> None:
    """Euler: inner vertices have degree 4 and boundary vertices 3, in a generic box."""
    for seed in range(4):
        net = generic(seed, 2, *widths, 1)
        found = pv.regions(net, pv.Box(-1, 1, 2))
        assert len(found.vertices) == 4 * found.count
        assert found.linear_count <= found.count


def test_areas_sum_to_the_domains() -> None:
    net = generic(3, 2, 12, 12, 1)
    triangle = pv.Polytope([[-1, 0], [0, -1], [1, 1]], [1, F(1, 3), F(7, 5)])
    corner = F(7, 5) + F(1, 3) + 1
    for domain, area in ((pv.Box([-1, -2], [F(1, 3), 5]), F(28, 3)), (triangle, corner**2 / 2)):
        exact = [region.exact_volume for region in pv.regions(net, domain)]
        assert sum(exact) == area
        assert pv.regions(net, domain).areas().sum() == pytest.approx(float(area), rel=1e-12)


@pytest.mark.skipif(not REGIONS.exists(), reason=f"no reference data at {REGIONS}")
@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_the_whole_plane_holds_572_regions(way: dict[str, Any]) -> None:
    data = np.load(REGIONS / "mlp_2_16_16_1.npz")
    net = make([data[f"W{k}"] for k in range(3)], [data[f"b{k}"] for k in range(3)])
    assert _core.enumerate(net.core, PLANE.to_bytes(), **way)["count"] == 572
    found = pv.regions(net, PLANE)
    assert found.count == 572
    box = pv.regions(net, pv.Box(-1, 1, 2))
    assert box.count == 127
    patterns = {row.tobytes() for row in found.packed_patterns}
    assert {row.tobytes() for row in box.packed_patterns} <= patterns


# -------------------------------------------------------------------------------- degenerate units


def test_units_that_vanish_identically_make_no_region() -> None:
    zero = one_layer([(0, 0, 0), (1, 1, 0), (0, 0, 0)])
    assert activation(zero, PLANE) == 2
    assert {tuple(p) for p in pv.regions(zero, PLANE).patterns.tolist()} == {
        (False, False, False),
        (False, True, False),
    }
    constant = one_layer([(0, 0, 5), (0, 0, -5), (0, 0, F(1, 2**300))])
    assert activation(constant, PLANE) == 1
    assert pv.regions(constant, PLANE).patterns.tolist() == [[True, False, True]]
    # second layer: relu(x) - relu(x) on one side only, and 0 on the dead half-plane
    net = make([[[1, 0], [1, 0]], [[1, -1], [1, 1]], [[1, 1]]], [[0, 0], [0, 0], [0]])
    assert activation(net, PLANE) == 2
    count = pv.count_regions(net, PLANE)
    assert count.dead_units == [(1, 0)]
    assert count.always_active_units == []
    shifted = make([[[1, 0]], [[1]], [[1]]], [[0], [-1], [0]])
    assert activation(shifted, PLANE) == 3
    assert activation(shifted, pv.Box([-1, -1], [1, 1])) == 2  # x = 1 is the edge of the box


def test_repeated_negated_and_scaled_units_make_no_region() -> None:
    line = (3, -2, F(1, 7))
    many = [
        line,
        line,
        [-a for a in line],
        [F(1, 1000) * a for a in line],
        [2**80 * a for a in line],
    ]
    net = one_layer(many)
    assert activation(net, PLANE) == linear(net, PLANE) == 2
    assert {tuple(p) for p in pv.regions(net, PLANE).patterns.tolist()} == {
        (True, True, False, True, True),
        (False, False, True, False, False),
    }
    found = pv.regions(net, PLANE)
    assert found[0].neighbours == [found[1]]
    # an echo: the second layer repeats the kinks of the first, and sees nothing new
    echo = make([[[1, 0], [0, 1]], [[1, 0], [0, 1], [1, -1]], [[1, 1, 1]]], [[0, 0], [0] * 3, [0]])
    assert activation(echo, PLANE) == 5  # four quadrants, and x = y in the first


def test_slopes_of_all_kinds() -> None:
    net: Any = [[[1, 0], [0, 1]], [[1, 1], [1, -1]], [[1, 3]]]
    biases: Any = [[0, 0], [-1, 0], [0]]
    # slope 1 in the first layer: no kink there, four cells of two crossing lines
    assert activation(make(net, biases, [1, 0]), PLANE) == 4
    assert activation(make(net, biases, [1, 1]), PLANE) == 1
    assert activation(make(net, biases, [[0, 1], [1, 1]]), PLANE) == 2
    # absolute values: |x| + |y| = 1 and |x| = |y| cut every quadrant into four
    assert activation(make(net, biases, -1), PLANE) == 16
    assert activation(make(net, biases, [-1, 1]), PLANE) == 4
    # slope 1/2: both lines in the first quadrant, x = y in the third, one in each of the others
    assert activation(make(net, biases, 0.5), PLANE) == 4 + 2 + 2 + 2
    slopes = make(net, biases, [[2, -0.5], [0, 1]])
    assert pv.regions(slopes, PLANE).patterns[:, 3].sum() == 0  # slope 1 has one piece, bit 0


# ------------------------------------------------------------------------------------- the domains


@pytest.mark.parametrize("power", [4, 30, 60, 200, 900])
def test_a_thin_or_tiny_box_holds_what_crosses_it(power: int) -> None:
    thin = F(1, 2**power)
    net = one_layer([(1, 0, -k) for k in range(-3, 4)] + [(0, 1, 0), (1, -1, 0)])
    # x in (0, thin) and y in (-3, 3): the axis y = 0 and the diagonal
    assert activation(net, pv.Box([0, -3], [thin, 3])) == 3
    assert activation(net, pv.Box([-thin, -3], [thin, 3])) == 6
    assert activation(net, pv.Box([-thin, -thin], [thin, thin])) == 6
    assert activation(net, pv.Box([thin, thin], [2 * thin, 2 * thin])) == 2
    flat = [region.exact_volume for region in pv.regions(net, pv.Box([0, 0], [thin, 1]))]
    assert sum(flat) == thin


@pytest.mark.parametrize("far", [1000, 2**20, 10**9, 2**52, 10**18, 10**40])
def test_a_box_far_off_the_origin_holds_what_crosses_it(far: int) -> None:
    net = one_layer([(1, 0, -far), (0, 1, far), (1, 1, F(-1, 4)), (1, -1, -2 * far)])
    # around (far, -far): a grid, the diagonal through its middle, the other one a quarter off
    box = pv.Box([far - 1, -far - 1], [far + 1, -far + 1])
    assert activation(net, box) == 10
    assert activation(net, PLANE) == 10
    vertices = {v.p for region in pv.regions(net, box) for v in region.exact_vertices}
    assert (F(far), F(-far)) in vertices
    assert (far + F(1, 8), -far + F(1, 8)) in vertices


def test_unbounded_domains_of_every_shape() -> None:
    net = one_layer([(1, 0, 0), (0, 1, 0), (1, 1, -1)])
    assert activation(net, PLANE) == 7
    assert activation(net, pv.Box([0, -np.inf], [np.inf, np.inf])) == 4  # right half-plane
    assert activation(net, pv.Box([0, 0], [np.inf, np.inf])) == 2
    assert activation(net, pv.Polytope([[1, -1], [-1, 1]], [F(1, 10), F(1, 10)])) == 5  # a strip
    assert activation(net, pv.Polytope([[1, 1]], [1])) == 4
    assert activation(net, pv.Polytope([[1, 1]], [0])) == 3
    assert activation(net, pv.Polytope([[1, 1]], [F(-1, 2**200)])) == 3
    assert activation(net, pv.Polytope([[0, 0]], [0])) == 7  # no constraint at all


def test_a_slice_counts_as_the_plane_it_is() -> None:
    net = generic(5, 6, 9, 1)
    rng = Random(1)
    for trial in range(4):
        basis = [[rng.randint(-3, 3) for _ in range(2)] for _ in range(6)]
        origin = [rng.randint(-3, 3) for _ in range(6)]
        assert activation(net, pv.Slice(origin, basis)) == theory.zaslavsky(9, 2), trial
        line = pv.Slice(origin, [row[:1] for row in basis])
        assert len(pv.knots(net, line)) == 9
    # inside a unit's hyperplane: the unit is zero all over the slice and has one piece
    inside = one_layer([(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, -1)])
    flat = pv.Slice([0, 0, 1], [[1, 0], [0, 1], [0, 0]])
    assert activation(inside, flat) == 4
    assert not pv.regions(inside, flat).patterns[:, 2].any()


def test_a_network_without_units_is_one_region() -> None:
    affine = make([[[1, 2], [3, -1], [0, 1]]], [[0, 1, F(1, 3)]])
    corner = pv.Box([0, -np.inf], [np.inf, 3])
    for domain in (PLANE, pv.Box(-1, 1, 2), pv.segment([0, 0], [1, 1]), corner):
        assert activation(affine, domain) == linear(affine, domain) == 1
        for threads in (1, 3):
            found = pv.regions(affine, domain, threads=threads, exact=True)
            assert found.patterns.shape == (1, 0)
            assert found[0].neighbours == []
            assert found[0].affine_map(exact=True)[1].shape == (3,)
            assert pv.check(found.proof(), affine)
    assert found.dead_units == found.always_active_units == []
    # the classifier's boundary: 3 x - y + 1 = x + 2 y where both are at least y + 1/3
    ties = pv.decision_boundary(make([[[1, 2], [3, -1]]], [[0, 1]]), pv.Box(-1, 1, 2))
    ends = {v.p for segment in ties.segments for v in (segment.start, segment.end)}
    assert ends == {(F(-1), F(-1, 3)), (F(1), F(1))}


def test_redundant_and_touching_constraints_change_nothing() -> None:
    sides = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    touching = [[1, 1], [2, 1], [-1, 1], [F(-1, 3), -1]]  # each through a corner of the square
    beyond = [[1, 0], [3, 5], [0, 0]]
    for seed in range(20):
        net = generic(seed, 2, 5, 5, 1, bias=(0.5, 0.0)[seed % 2])
        box = pv.regions(net, pv.Box(-1, 1, 2))
        a, b = [*touching, *sides, *beyond], [2, 3, 2, F(4, 3), 1, 1, 1, 1, 1, 9, 0]
        order = Random(seed).sample(range(len(a)), len(a))
        domain = pv.Polytope([a[i] for i in order], [b[i] for i in order])
        assert activation(net, domain) == box.count
        found = pv.regions(net, domain, exact=True)
        assert {row.tobytes() for row in found.packed_patterns} == {
            row.tobytes() for row in box.packed_patterns
        }
        assert sum(region.exact_volume for region in found) == 4
        assert found.linear_count == box.linear_count
        assert pv.check(found.proof(), net)
    interval = pv.Polytope([[2], [-3], [5], [1], [0]], [1, 1, F(5, 2), 7, 1])  # -1/3 to 1/2, twice
    line = generic(1, 1, 9, 4, 1)
    ends = pv.Box([F(-1, 3)], [F(1, 2)])
    assert pv.knots(line, interval).exact == pv.knots(line, ends).exact
    assert activation(line, interval) == activation(line, ends)


@pytest.mark.parametrize("sides", [3, 60, 400])
def test_a_polygon_of_many_sides_holds_what_crosses_it(sides: int) -> None:
    """The tangents of the parabola y = x^2 at integers; inside, the lines x = k + 1/2."""
    at = range(-sides, sides + 1)
    domain = pv.Polytope([[2 * k, -1] for k in at], [k * k for k in at])
    stripes = one_layer([(1, 0, -k - F(1, 2)) for k in range(-5, 5)])
    assert activation(stripes, domain) == 11
    empty = one_layer([(2 * k, -1, -k * k) for k in at])  # the tangents themselves
    assert activation(empty, domain) == 1
    assert pv.regions(empty, domain).count == 1


def test_many_lines_and_many_knots() -> None:
    units = 300
    net = generic(2, 2, units, 1)
    assert pv.count_regions(net, PLANE, threads=2).count == theory.zaslavsky(units, 2) == 45151
    shuffled = Random(0).sample(range(5000), 5000)
    many = make([[[1]] * 5000, [[1] * 5000]], [[-k for k in shuffled], [0]])
    assert pv.count_regions(many, LINE).count == 5001
    assert pv.knots(many).exact == tuple(map(F, range(5000)))


@pytest.mark.slow
def test_echoes_of_many_lines_see_nothing_new() -> None:
    """Every vertex is an exact zero of the second layer: more points than a thread remembers."""
    units = 210
    lines = [[k, -1] for k in range(units)]  # tangents of a parabola: no three meet
    echo = [[int(i == j) for j in range(units)] for i in range(units)]
    biases = [[-k * k for k in range(units)], [0] * units, [0]]
    net = make([lines, echo, [[1] * units]], biases)
    out = _core.enumerate(net.core, PLANE.to_bytes(), "regions")
    assert out["count"] == theory.zaslavsky(units, 2) == 22156
    assert out["stats"]["exact_points"] > 20000
    assert len({row.tobytes() for row in out["patterns"]}) == 22156
