"""The region engine in three to ten dimensions against an oracle that solves linear programs."""

from __future__ import annotations

from fractions import Fraction
from math import comb, gcd
from random import Random
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_net, to_domain, to_nodes
from oracle_graph import Graph
from oracle_nd import NdDomain, NdPartition, oracle_regions_nd

import plverify as pv
from plverify import _core
from plverify.network import Network


def random_case(seed: int) -> tuple[Graph, dict[str, Any]]:
    """A degenerate network of about ten units and a domain of three to five dimensions."""
    rng = Random(seed)
    dim = rng.choice((3, 3, 3, 3, 4, 4, 5))
    kind = rng.choice(("box", "box", "polytope", "space", "half"))
    centre = [Fraction(rng.randint(-4, 4), 2) for _ in range(dim)]
    domain: dict[str, Any] = {"kind": "space", "dim": dim}
    if kind in ("box", "half"):
        lo: list[Any] = [float(c) - rng.choice((0.5, 1, 2)) for c in centre]
        hi: list[Any] = [float(c) + rng.choice((0.5, 1, 2)) for c in centre]
        if kind == "half":
            for side in (lo, hi):
                for k in range(dim):
                    if rng.random() < 0.4:
                        side[k] = None
        domain = {"kind": "box", "dim": dim, "lo": lo, "hi": hi}
    elif kind == "polytope":  # around the centre; coincident and redundant rows are welcome
        rows = [[rng.randint(-1, 1) for _ in range(dim)] for _ in range(rng.randint(1, dim + 3))]
        ends = [
            float(sum(a * c for a, c in zip(r, centre, strict=True)) + rng.randint(1, 3))
            for r in rows
        ]
        kept = [(r, e) for r, e in zip(rows, ends, strict=True) if any(r)]
        if kept:
            domain = {
                "kind": "polytope",
                "dim": dim,
                "a": [r for r, _ in kept],
                "b": [e for _, e in kept],
            }
    inputs = dim
    if rng.random() < 0.25:
        inputs = dim + rng.randint(0, 2)
        domain["basis"] = [[int(i == j) for j in range(dim)] for i in range(inputs)]
        for row in domain["basis"][dim:]:
            row[:] = [rng.randint(-2, 2) for _ in range(dim)]
        domain["origin"] = [rng.choice((0, 0, 1, -1, 0.5)) for _ in range(inputs)]
        centre = [
            Fraction(o) + sum(b * t for b, t in zip(row, centre, strict=True))
            for o, row in zip(domain["origin"], domain["basis"], strict=True)
        ]
    return random_net(rng, centre, 2), domain  # of the smaller size, also in more dimensions


def coprime(row: tuple[int, ...]) -> tuple[int, ...]:
    common = gcd(*row)
    return tuple(v // common for v in row)


def compare(net: Network, domain: Any, truth: NdPartition, volumes: bool) -> None:
    """Counts, patterns, maps, facets, vertices' signs, neighbours, linear regions, volumes."""
    wanted = {region.pattern: region for region in truth.regions}
    for decide in (0, 1, 2):
        for threads in (1, 2):
            found = _core.enumerate(net.core, domain.to_bytes(), decide=decide, threads=threads)
            assert found["count"] == len(wanted), (decide, threads)
    for threads in (1, 2):
        found = _core.halfspaces(net.core, domain.to_bytes(), threads=threads)
        assert found["count"] == len(wanted), threads
    for exact in (False, True):
        listed = pv.regions(net, domain, exact=exact)
        patterns = [tuple(int(v) for v in row) for row in listed.patterns]
        assert sorted(patterns) == sorted(wanted)
        assert listed.linear_count == truth.linear_count
        number = {region.pattern: i for i, region in enumerate(truth.regions)}
        pairs = set()
        for i, region in enumerate(listed):
            right = wanted[patterns[i]]
            matrix, offset = region.affine_map(exact=True)
            table = [(*row, c) for row, c in zip(matrix.tolist(), offset.tolist(), strict=True)]
            assert table == [tuple(row) for row in right.output]
            rows = sorted(coprime(row) for row in region.inequalities())
            assert rows == sorted(facet.row for facet in right.facets)
            assert right.contains(region.exact_interior_point)
            if volumes and region.bounded:
                assert region.exact_volume == right.volume()
            for other in region.neighbours:
                a, b = number[patterns[i]], number[patterns[other.index]]
                pairs.add((min(a, b), max(a, b)))
        assert pairs == set(truth.neighbours)


@pytest.mark.parametrize("block", [0, 3, 4, 5])
def test_random_graphs_agree_with_the_oracle(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        graph, description = random_case(seed)
        truth = oracle_regions_nd(graph, NdDomain.of(description))
        net = Network(graph.inputs, to_nodes(graph, seed))
        try:
            compare(net, to_domain(description), truth, graph.inputs < 5)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("dim", range(1, 11))
def test_hyperplanes_in_general_position_and_through_a_point(dim: int) -> None:
    rng = np.random.default_rng(dim)
    for units in (1, dim, dim + 2, 9 if dim < 6 else dim + 1):
        weight, bias = rng.normal(size=(units, dim)), rng.normal(size=units)
        ones = np.ones((1, units))
        whole = pv.Space(dim)
        generic = pv.count_regions(Network.from_arrays([weight, ones], [bias, [0.0]]), whole)
        assert generic.count == sum(comb(units, k) for k in range(dim + 1))
        central = pv.count_regions(Network.from_arrays([weight, ones], [0 * bias, [0.0]]), whole)
        assert central.count == 2 * sum(comb(units - 1, k) for k in range(dim))


def test_cells_without_a_vertex() -> None:
    rng = np.random.default_rng(0)
    net = Network.from_arrays([rng.normal(size=(3, 5)), np.ones((1, 3))])
    found = pv.regions(net, pv.Space(5))
    assert found.count == 8
    for region in found:
        assert len(region.vertices) == 0
        assert len(region.neighbours) == 3
        assert region.volume == np.inf


def test_volumes_fill_the_box() -> None:
    rng = np.random.default_rng(1)
    net = Network.from_arrays([rng.normal(size=(8, 4)), rng.normal(size=(4, 8)), np.ones((1, 4))])
    found = pv.regions(net, pv.Box(-1, 1, 4), exact=True)
    assert sum(region.exact_volume for region in found) == 16
    assert (found.areas() > 0).all()
