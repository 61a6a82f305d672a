"""A region around a point: the same as in the list of all regions, found without it."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from random import Random

import numpy as np
import pytest
from graph_strategies import random_case_nd, random_net, to_domain, to_nodes

import plverify as pv
from plverify.local import LocalRegion
from plverify.network import Network


def coprime(rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return sorted(tuple(v // gcd(*row) for v in row) for row in rows)


@pytest.mark.parametrize("block", range(4))
def test_local_regions_are_those_of_the_list(block: int) -> None:
    for seed in range(12 * block, 12 * block + 12):
        if seed % 3:
            graph, description = random_case_nd(seed)
            net, domain = Network(graph.inputs, to_nodes(graph, seed)), to_domain(description)
        else:
            rng = Random(seed)
            graph = random_net(rng, [Fraction(0)] * 2, 2)
            net = Network(graph.inputs, to_nodes(graph, seed))
            domain = pv.Box(-1, 1, 2) if seed % 2 else pv.Space(2)
        listed = pv.regions(net, domain)
        patterns = [tuple(map(int, row)) for row in listed.patterns]
        picks = Random(seed).sample(range(listed.count), min(8, listed.count))
        for region in (listed[i] for i in picks):
            point = region.exact_interior_point
            found = net.region(point, domain)
            assert tuple(map(int, found.pattern)) == patterns[region.index], seed
            assert coprime(list(found.inequalities)) == coprime(region.inequalities()), seed
            assert found.contains(point, strict=True)
            assert found.bounded == region.bounded
            finite = {vertex.p for vertex in region.exact_vertices if vertex.q is None}
            assert set(found.exact_vertices) == finite
            around = {tuple(map(int, other.pattern)) for other in found.neighbours()}
            assert around == {patterns[other.index] for other in region.neighbours}, seed
            matrix, offset = found.affine_map(exact=True)
            right, constant = region.affine_map(exact=True)
            assert (matrix == right).all()
            assert (offset == constant).all()


def test_flooding_from_one_region_finds_all() -> None:
    rng = np.random.default_rng(0)
    net = Network.from_arrays(
        [rng.normal(size=(6, 3)), rng.normal(size=(5, 6)), rng.normal(size=(1, 5))],
        [rng.normal(size=6), rng.normal(size=5), np.zeros(1)],
    )
    box = pv.Box(-1, 1, 3)
    todo: list[LocalRegion] = [net.region([0, 0, 0], box)]
    seen = {todo[0].pattern.tobytes()}
    volume = Fraction(0)
    while todo:
        region = todo.pop()
        assert region.exact_volume is not None
        volume += region.exact_volume
        for other in region.neighbours():
            if other.pattern.tobytes() not in seen:
                seen.add(other.pattern.tobytes())
                todo.append(other)
    assert volume == 8
    assert len(seen) == pv.count_regions(net, box).count


def test_a_kink_a_ray_and_a_region_without_facets() -> None:
    ramp = Network.from_arrays([[[1, 0]], [[1]]])
    on_kink = ramp.region([0, 5])
    assert on_kink.contains([0, 5])
    assert not on_kink.contains([0, 5], strict=True)
    assert on_kink.units == ((0, 0),)
    assert on_kink.exact_volume is None
    flat = Network.from_arrays([[[0, 0]], [[1]]]).region([1, 1])
    assert flat.inequalities == ()
    assert flat.neighbours() == []
    assert flat.A.shape == (0, 2)


def test_errors() -> None:
    net = Network.from_arrays([[[1, 1]], [[1]]])
    with pytest.raises(pv.InputError, match="outside"):
        net.region([2, 0], pv.Box(-1, 1, 2))
    with pytest.raises(pv.InputError, match="3 entries"):
        net.region([0, 0, 0])
    with pytest.raises(pv.InputError, match="the network has 2 inputs"):
        net.region([0], pv.Space(1))


def test_many_inputs() -> None:
    wide = Network.from_arrays([np.ones((1, 40)), [[1]]])
    assert wide.region(np.ones(40)).inequalities == ((1,) * 40 + (0,),)
    line = pv.Slice(np.zeros(40), np.ones((40, 1)), pv.Space(1))
    assert wide.region([1], line).inequalities == ((1, 0),)
