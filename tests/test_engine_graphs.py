"""The engine on networks that are no chains, against an oracle that shares no code with it.

Residual sums, concatenations, convolutions, maxima over windows and units of every slope, generic
and degenerate, on lines and planes (`graph_strategies`, `oracle_graph`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_strategies import oracle_regions, random_graph, to_domain, to_nodes

import plverify as pv
from plverify import _core, checker
from plverify.exact_net import exact_fraction
from plverify.network import Network

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "regions"
BLOCK = 20


def build(seed: int) -> tuple[Network, Any, Any]:
    case = random_graph(seed)
    net = Network(case.net.inputs, to_nodes(case.net, seed))
    return net, to_domain(case.domain), oracle_regions(case)


@pytest.mark.parametrize("block", range(10))
def test_regions_of_random_graphs(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        net, domain, truth = build(seed)
        found = pv.regions(net, domain, exact=True, threads=1 + seed % 2)
        assert found.count == len(truth.regions), seed
        assert found.linear_count == truth.linear_count, seed
        expected = {region.pattern: region for region in truth.regions}
        patterns = [tuple(int(v) for v in row) for row in found.patterns]
        assert sorted(patterns) == sorted(expected), seed
        beside = {
            (patterns[region.index], patterns[other.index])
            for region in found
            for other in region.neighbours
        }
        assert len(beside) == 2 * len(truth.neighbours), seed
        for region, pattern in zip(found, patterns, strict=True):
            other = expected[pattern]
            assert region.exact_volume == other.volume, seed
            matrix, offset = region.affine_map(exact=True)
            rows = [(*j, c) for j, c in zip(matrix.tolist(), offset.tolist(), strict=True)]
            assert rows == [tuple(row) for row in other.output], seed
            assert region.contains(other.point, strict=True), seed
        assert checker.check(found.proof(), net.exact_net).accepted, seed


@pytest.mark.parametrize("decide", [0, 1, 2])
@pytest.mark.parametrize("portable", [False, True])
def test_every_way_to_decide(decide: int, portable: bool) -> None:
    for seed in range(200, 230):
        net, domain, truth = build(seed)
        out = _core.enumerate(
            net.core, domain.to_bytes(), want="count", decide=decide, portable=portable
        )
        assert out["count"] == len(truth.regions), seed


@pytest.mark.parametrize("threads", [1, 2])
def test_arrays_do_not_depend_on_the_threads(threads: int) -> None:
    for seed in range(230, 260):
        net, domain, _ = build(seed)
        one, other = pv.regions(net, domain), pv.regions(net, domain, threads=threads)
        for name in ("packed_patterns", "vertices", "line_piece", "J", "c"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), (seed, name)


@pytest.mark.parametrize("block", range(5))
def test_patterns_maps_and_distances_at_points(block: int) -> None:
    for seed in range(300 + block * BLOCK, 300 + (block + 1) * BLOCK):
        net, _, _ = build(seed)
        rng = np.random.default_rng(seed)
        for x in (rng.integers(-2, 3, net.input_size), rng.normal(size=net.input_size)):
            point = [float(v) for v in x]
            exact = net.exact_net.pattern_at(point)
            assert tuple(net.pattern(point).astype(int)) == exact.bits, seed
            at = net.affine_map(point, exact=True)
            assert [*(at.J @ [exact_fraction(v) for v in point] + at.c)] == net.exact(point)
            rounded = net.affine_map(point)
            assert np.allclose(rounded.J, at.J.astype(float)), seed
            distance = pv.boundary_distance(net, point, "l1")
            assert distance.lower <= distance.upper
            if exact.on_boundary:
                assert distance.upper == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
@pytest.mark.parametrize(("plane", "count"), [("P_small", 6331), ("P", 76682)])
def test_lenet_on_a_plane(plane: str, count: int) -> None:
    net = pv.load(DATA / "lenet_1x28x28.onnx")
    table = np.load(DATA / "lenet_1x28x28.npz")
    domain = pv.Slice(table["c"].ravel(), table[plane], pv.Box(-1, 1, 2))
    found = pv.count_regions(net, domain)
    assert found.count == count
    assert found.stats["exact_passes"] < 100
