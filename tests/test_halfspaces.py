"""Cells given by inequalities: the same regions as those with vertices, proofs, many dimensions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from math import comb
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_case_nd, to_domain, to_nodes

import plverify as pv
from plverify import _core, proof
from plverify.local import region_of_pattern
from plverify.network import Network
from plverify.partition import fixed_units

BEYOND = _core.max_dimension + 1


def random_net(sizes: tuple[int, ...], seed: int, zero_bias: bool = False) -> Network:
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairs]
    biases = [0.0 * w[:, 0] if zero_bias else rng.normal(size=len(w)) * 0.3 for w in weights]
    return Network.from_arrays(weights, biases)


def tree_proof(net: Network, domain: Any, threads: int) -> bytes:
    answer = _core.halfspaces(net.core, domain.to_bytes(), "proof", threads=threads)
    header = proof.region_tree_header(net, domain, answer["count"])
    return proof.encode(header, answer["proof"])


def compare_engines(net: Network, domain: pv.Box) -> None:
    """All that both engines say, and the proofs."""
    data = domain.to_bytes()
    other = pv.regions(net, domain)
    listed = _core.halfspaces(net.core, data, "regions", threads=2)
    counted = _core.halfspaces(net.core, data, "count")
    assert listed["count"] == counted["count"] == other.count
    by_pattern = np.argsort([bytes(row) for row in listed["patterns"]])
    theirs = np.argsort([bytes(row) for row in other.packed_patterns])
    np.testing.assert_array_equal(listed["patterns"][by_pattern], other.packed_patterns[theirs])
    np.testing.assert_allclose(listed["jacobian"][by_pattern], other.J[theirs], 1e-9, 1e-9)
    np.testing.assert_allclose(listed["offset"][by_pattern], other.c[theirs], 1e-9, 1e-7)
    for answer in (listed, counted):
        assert fixed_units(net, answer) == (other.dead_units, other.always_active_units)
    one, two = tree_proof(net, domain, 1), tree_proof(net, domain, 2)
    assert one == two
    assert pv.check(one, net)
    if other.count < 200:
        assert pv.check(one, net, python=True)


@pytest.mark.parametrize("block", range(4))
def test_degenerate_graphs_on_every_kind_of_domain(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        graph, description = random_case_nd(seed)
        net = Network(graph.inputs, to_nodes(graph, seed))
        try:
            compare_engines(net, to_domain(description))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("sizes", [(1, 6, 6, 2), (2, 8, 8, 1), (4, 6, 6, 2), (7, 7, 4, 1)])
@pytest.mark.parametrize("zero_bias", [False, True])
def test_ordinary_networks(sizes: tuple[int, ...], zero_bias: bool) -> None:
    compare_engines(random_net(sizes, 1, zero_bias), pv.Box(-1, 1, sizes[0]))


def test_a_box_far_from_the_origin_and_a_thin_one() -> None:
    net = random_net((3, 6, 6, 1), 2)
    compare_engines(net, pv.Box([1e6, -1e-7, 0.5], [1e6 + 1, 1e-7, 0.5 + 2**-40]))


def test_general_position_and_central_arrangements_in_many_dimensions() -> None:
    rng = np.random.default_rng(0)
    for dim in (BEYOND, 14, 30):
        units = dim + 1
        weight, bias = rng.normal(size=(units, dim)), rng.normal(size=units)
        if dim == 30:  # few of them, or there are too many cells
            weight, bias, units = weight[:8], bias[:8], 8
        ones = np.ones((1, units))
        whole = pv.Space(dim)
        generic = pv.count_regions(Network.from_arrays([weight, ones], [bias, [0.0]]), whole)
        assert generic.count == sum(comb(units, k) for k in range(dim + 1))
        if dim == BEYOND:
            central = pv.count_regions(
                Network.from_arrays([weight, ones], [0 * bias, [0.0]]), whole
            )
            assert central.count == 2 * sum(comb(units - 1, k) for k in range(dim))


def test_the_orthants_of_a_cube() -> None:
    net = Network.from_arrays([np.eye(BEYOND), np.ones((1, BEYOND))])
    found = pv.regions(net, pv.Box(-1, 1, BEYOND), threads=2)
    assert isinstance(found, pv.HalfspaceRegions)
    assert found.count == 2**BEYOND == found.linear_count
    assert {tuple(row) for row in found.patterns} == set(product((False, True), repeat=BEYOND))
    assert ((found.points > 0) == found.patterns).all()
    region = found.find([Fraction(1, 3)] * BEYOND)
    assert region.pattern.all()
    assert len(region.inequalities()) == 2 * BEYOND
    assert [unit for unit in region.units if unit] == [(0, k) for k in range(BEYOND)]
    beyond = region.neighbours
    assert len(beyond) == BEYOND
    assert all(near.pattern.sum() == BEYOND - 1 for near in beyond)
    assert region.contains(region.exact_interior_point, strict=True)
    assert pv.check(found.proof(), net)


def test_regions_of_a_list_agree_with_the_region_around_a_point(tmp_path: Any) -> None:
    net = random_net((BEYOND, 5, 4, 2), 3)
    box = pv.Box(-1, 1, BEYOND)
    found = pv.regions(net, box)
    assert found.count == pv.count_regions(net, box, threads=2).count > 8
    assert sum(part["count"] for part in pv.stream_regions(net, box, batch=7)) == found.count
    for region, point in zip(found[:8], found.points, strict=False):
        assert region.contains(point, strict=True)
        again = net.region(point, box)
        assert (again.pattern == region.pattern).all()
        assert list(again.inequalities) == region.inequalities()
        matrix, offset = region.affine_map()
        np.testing.assert_allclose(matrix @ point + offset, net(point[None])[0], 1e-9, 1e-9)
    beyond = found[0].neighbours
    assert len(beyond) == sum(unit is not None for unit in found[0].units) > 0
    for near in beyond:
        assert any((other.pattern == found.patterns[0]).all() for other in near.neighbours)
    found.save(tmp_path / "regions.npz")
    assert np.load(tmp_path / "regions.npz")["points"].shape == (found.count, BEYOND)


def test_linear_regions_merge_where_units_do_not_matter() -> None:
    weight = np.eye(BEYOND)[:3]
    net = Network.from_arrays([weight, [[1.0, 0.0, -1.0]]])  # unit 1 is not seen
    found = pv.regions(net, pv.Box(-1, 1, BEYOND))
    assert (found.count, found.linear_count) == (8, 4)


def test_what_stops_a_run_keeps_what_it_found() -> None:
    net = random_net((12, 20, 20, 1), 0)
    box = pv.Box(-1, 1, 12)
    found = pv.regions(net, box, timeout=0.5, threads=2)
    assert not found.complete
    assert str(found.status) == "timeout"
    assert found.count == len(found.patterns) > 0
    assert len({bytes(row) for row in found.packed_patterns}) == found.count
    with pytest.raises(pv.InputError, match="not complete"):
        found.proof()
    with pytest.raises(TimeoutError):
        list(pv.stream_regions(net, box, timeout=0.2))


def test_domains_without_an_interior_are_refused() -> None:
    net = random_net((BEYOND, 3, 1), 0)
    with pytest.raises(pv.InputError, match="no interior"):
        pv.count_regions(net, pv.Box([0.0] * BEYOND, [1.0] * (BEYOND - 1) + [0.0]))
    ones = np.ones((1, BEYOND))
    rows = np.concatenate([ones, -ones])
    with pytest.raises(pv.InputError, match="empty"):
        pv.count_regions(net, pv.Polytope(rows, [1.0, -2.0]))
    with pytest.raises(pv.InputError, match="no region"):
        region_of_pattern(
            Network.from_arrays([[[1.0] + [0.0] * (BEYOND - 1)], [[1.0]]]),
            pv.Box(1, 2, BEYOND),
            np.array([False]),
        )
    cube = pv.Box(-1, 1, 13)
    corner = pv.regions(Network.from_arrays([np.eye(13)[:1], [[1.0]]]), cube)[0]
    assert len(corner.neighbours) == 1
    assert corner.bounded
    for name in ("vertices", "volume_bounds"):
        with pytest.raises(pv.InputError, match="more than 4096 vertices"):
            getattr(corner, name)


def test_polytopes_and_slices_of_many_dimensions() -> None:
    rng = np.random.default_rng(5)
    n = BEYOND + 1
    net = random_net((n, 4, 3, 1), 4)
    simplex = pv.Polytope(np.concatenate([-np.eye(n), np.ones((1, n))]), [0.0] * n + [1.0])
    cut = pv.Slice(rng.normal(size=n), rng.integers(-3, 4, size=(n, BEYOND)), pv.Box(-1, 1, BEYOND))
    for domain in (simplex, cut):
        found = pv.regions(net, domain)
        assert found.count > 5
        assert pv.check(found.proof(threads=2), net)
        for region in found[:5]:
            inner = region.exact_interior_point
            assert found.find(inner).pattern.tolist() == region.pattern.tolist()


def test_regions_of_many_dimensions_are_those_of_the_plane_times_a_cube() -> None:
    """Units that read two of the inputs: areas, neighbours and linear regions of the plane."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-3, 4, size) / 2.0 for size in ((4, 2), (3, 4), (2, 3))]
    biases = [rng.integers(-3, 4, len(w)) / 4.0 for w in weights]
    plane = pv.regions(Network.from_arrays(weights, biases), pv.Box(0, 1, 2))
    assert plane.linear_count < plane.count
    weights[0] = np.pad(weights[0], ((0, 0), (0, BEYOND - 2)))
    found = pv.regions(Network.from_arrays(weights, biases), pv.Box(0, 1, BEYOND))
    assert (found.count, found.linear_count) == (plane.count, plane.linear_count)
    number = {tuple(row): i for i, row in enumerate(plane.patterns.tolist())}
    same = [plane[number[tuple(region.pattern.tolist())]] for region in found]
    pairs = {(a.linear_label, b.linear_label) for a, b in zip(found, same, strict=True)}
    assert len(pairs) == found.linear_count
    for region, flat in zip(found, same, strict=True):
        assert region.bounded
        assert region.exact_volume == flat.exact_volume
        assert region.volume_bounds[0] <= flat.volume <= region.volume_bounds[1]
        assert region.volume in region.volume_bounds
        assert len(region.vertices) == 2 ** (BEYOND - 2) * len(flat.vertices)
        corners = {vertex.p[:2] for vertex in region.exact_vertices}
        assert corners == {vertex.p for vertex in flat.exact_vertices}
        assert region.contains(region.interior_point, strict=True)
        assert len(region.A) == len(region.b) == len(flat.A) + 2 * (BEYOND - 2)
        beside = {tuple(near.pattern.tolist()) for near in region.neighbours}
        assert beside == {tuple(near.pattern.tolist()) for near in flat.neighbours}
        assert all(region in near.neighbours for near in region.neighbours)
    matrix, offset = found[0].affine_map(exact=True)
    right, constant = same[0].affine_map(exact=True)
    assert (matrix[:, :2] == right).all()
    assert (offset == constant).all()


def test_unbounded_regions_of_many_dimensions() -> None:
    net = Network.from_arrays([np.eye(BEYOND), np.ones((1, BEYOND))])
    half = pv.Box([0.0] + [-np.inf] * (BEYOND - 1), np.inf)
    found = pv.regions(net, half)
    assert found.count == 2 ** (BEYOND - 1)
    for region in found[:3]:
        assert region.exact_vertices == [pv.region.ExactVertex((Fraction(0),) * BEYOND)]
        assert (region.bounded, region.volume, region.exact_volume) == (False, np.inf, None)
    slab = pv.regions(Network.from_arrays([np.eye(BEYOND)[:1], [[1.0]]]), pv.Space(BEYOND))
    assert [(len(region.vertices), region.bounded) for region in slab] == [(0, False)] * 2


def test_regions_of_all_dimensions_have_the_same_names() -> None:
    """What is written for few dimensions works in many."""
    listed = {name for name in dir(pv.Region) if not name.startswith("_")}
    assert listed - {"incidence", "rays"} <= set(dir(pv.HalfspaceRegion))
    assert {name for name in dir(pv.HalfspaceRegion) if not name.startswith("_")} - {
        "units"
    } <= listed
