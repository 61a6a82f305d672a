"""The region engine in three to ten dimensions against an oracle that solves linear programs."""

from __future__ import annotations

import json
from math import comb

import fuzz_cases
import fuzz_nd
import numpy as np
import pytest
from fuzz_nd import check_engines, check_regions
from graph_strategies import random_case_nd, to_domain, to_nodes
from oracle_nd import NdDomain, oracle_regions_nd

import plverify as pv
from plverify.network import Network


@pytest.mark.parametrize("block", [0, 3, 4, 5])
def test_random_graphs_agree_with_the_oracle(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        if seed in (0, 2):  # hundreds of regions
            continue
        graph, description = random_case_nd(seed)
        truth = oracle_regions_nd(graph, NdDomain.of(description))
        net = Network(graph.inputs, to_nodes(graph, seed))
        volumes = graph.inputs < 4 or (graph.inputs == 4 and len(truth.regions) < 30)
        try:
            check_engines(net, to_domain(description), truth)
            check_regions(net, to_domain(description), truth, volumes)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 8, 11, 12, 14, 29])
def test_cases_of_one_to_nine_dimensions(seed: int) -> None:
    """All comparisons of `fuzz_nd`, on what comes back from JSON."""
    case = fuzz_nd.random_case(seed)
    fuzz_nd.check_case(fuzz_cases.from_json(json.loads(json.dumps(fuzz_cases.to_json(case)))))


def test_a_mismatch_is_seen_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that loses a facet of every cell with more than three."""
    honest = pv.Region.inequalities

    def lying(self: pv.Region) -> list[tuple[int, ...]]:
        rows = honest(self)
        return rows[1:] if len(rows) > 3 else rows

    monkeypatch.setattr(pv.Region, "inequalities", lying)

    def fails(case: fuzz_cases.Case) -> bool:
        try:
            fuzz_nd.check_case(case)
        except fuzz_cases.Mismatch as error:
            return error.kind == "facets"
        except Exception:
            return False
        return False

    case = fuzz_nd.random_case(2)
    assert fails(case)
    small = fuzz_cases.shrink(case, fails, seconds=20)
    assert fails(small)
    assert len(small["nodes"]) < len(case["nodes"])


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
