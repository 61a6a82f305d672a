"""A region around a point: the same as in the list of all regions, found without it."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from random import Random

import numpy as np
import pytest
from graph_strategies import random_case_nd, random_net, to_domain, to_nodes

import plverify as pv
from plverify import _core
from plverify.domain import polytope_bytes
from plverify.facets import _proposed, facets
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


def _polyhedron(random: Random) -> tuple[list[tuple[int, ...]], int]:
    """Rows with all kinds of coincidences, and the dimension."""
    dim = random.choice([1, 2, 3, 5, 9])
    big = random.choice([2, 3, 50, 10**6, 10**20])
    rows: dict[tuple[int, ...], None] = {}
    for _ in range(random.randint(1, 2 * dim + 4)):
        a = [random.randint(-big, big) * (random.random() < 0.7) for _ in range(dim)]
        c = random.randint(-big // 4, big * 2) * (random.random() < 0.8)
        if any(a):
            rows[tuple(v // gcd(*a, c) for v in (*a, c))] = None
    if random.random() < 0.4:
        for k in range(dim):
            for sign in (1, -1):
                side = [sign * (j == k) for j in range(dim)]
                rows[(*side, random.choice([1, 2, 3]))] = None
    return list(rows), dim


@pytest.mark.parametrize("block", range(4))
def test_facets_are_those_of_the_exact_simplex_method(block: int) -> None:
    kinds = set()
    for seed in range(25 * block, 25 * block + 25):
        rows, dim = _polyhedron(Random(seed))
        want, found = _core.facets(polytope_bytes(rows, dim)), facets(rows, dim)
        kinds.add(found is None)
        if found is None:
            assert want is None
            continue
        inside, kept, on = found
        assert kept == list(want[1])
        assert _proposed(rows, dim) == found  # the exact simplex method was not needed

        def values(point: tuple[list[int], int], rows: list[tuple[int, ...]] = rows) -> list[int]:
            assert point[1] > 0
            return [sum(a * v for a, v in zip(r, (*point[0], point[1]), strict=True)) for r in rows]

        assert min(values(inside), default=1) > 0
        for k, point in zip(kept, on, strict=True):
            here = values(point)
            assert here[k] == 0
            assert all(here[j] > 0 for j in kept if j != k)
    assert kinds == {False, True} or block > 1


def test_facets_of_a_thin_polyhedron() -> None:
    thin = [(1, 0, 0), (-(10**30), 1, 1), (10**30, -1, 0), (0, 1, 1), (0, -1, 1), (0, -1, 2)]
    want = _core.facets(polytope_bytes(thin, 2))
    found = facets(thin, 2)
    assert found is not None
    assert found[1] == list(want[1])
