"""`difference_of_convex`: exact equality with the network, convexity, small known cases, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_graph, random_net, to_domain, to_nodes
from strategies import random_degenerate_net

import plverify as pv
from plverify import convex
from plverify.convex import ConvexDifference, MaxAffine, difference_of_convex
from plverify.network import Network
from plverify.result import Status

F = Fraction


def exact_output(net: Network, domain: Any, t: Any, output: int = 0) -> Fraction:
    x = domain.point(t) if isinstance(domain, pv.Slice) else t
    return net.exact(list(x))[output]


def assert_right(
    net: Network, domain: Any, output: int = 0, seed: int = 0, points: int = 25
) -> ConvexDifference:
    """Everything that is promised, by exact evaluation at points of the network's own regions."""
    found = difference_of_convex(net, domain, output)
    assert found.complete
    assert found.status is Status.COMPLETE
    listed = pv.regions(net, domain)
    assert max(len(found.g), len(found.h)) <= found.cells
    assert listed.count <= found.cells
    for rows in (found.g, found.h):
        assert len(set(rows)) == len(rows)
        assert list(rows) == sorted(rows, reverse=True)
        assert all(len(row) == domain.dim + 1 for row in rows)

    rng = Random(seed)
    inner = [region.exact_interior_point for region in listed]
    corners = [v.p for region in listed for v in region.exact_vertices if not v.at_infinity]
    corners = rng.sample(corners, min(len(corners), 100))
    for t in [*inner[:100], *corners]:
        assert found(t) == exact_output(net, domain, t, output)
    for _ in range(points):
        a, b = (rng.choice(inner + corners) for _ in range(2))
        weight = F(rng.randint(1, 6), 7)
        middle = [weight * u + (1 - weight) * v for u, v in zip(a, b, strict=True)]
        assert found.g(middle) - found.h(middle) == exact_output(net, domain, middle, output)
        for part in (found.g, found.h):
            assert part(middle) <= weight * part(a) + (1 - weight) * part(b)
    assert found.verify(inner[:5])
    if found.cells <= 250:
        assert found.check()
    return found


def dense(rng: Random, sizes: list[int], low: int = -4, high: int = 4) -> Network:
    """Small integers over 2, so that hyperplanes coincide and meet in one point now and then."""

    def draw() -> Fraction:
        return F(rng.randint(low, high), 2)

    pairs = list(pairwise(sizes))
    weights = [[[draw() for _ in range(n)] for _ in range(m)] for n, m in pairs]
    biases = [[draw() for _ in range(m)] for _, m in pairs]
    return Network.from_arrays(weights, biases)


# ------------------------------------------------------------------------------------ known cases

SIZE = Network.from_arrays([[[1], [-1]], [[1, 1]]])
TENT = Network.from_arrays([[[2], [4]], [[1, -1]]], [[0, -2], [0]])
MAXIMUM = Network.from_arrays([[[1, -1], [0, 1], [0, -1]], [[1, 1, -1]]])
MINIMUM = Network.from_arrays([[[1, -1], [1, 0], [-1, 0]], [[-1, 1, -1]]])


@pytest.mark.parametrize("domain", [pv.Box([-1], [2]), pv.Space(1), pv.Box([-1], [np.inf])])
def test_absolute_value(domain):
    found = assert_right(SIZE, domain)
    assert found.g == ((1, 0), (-1, 0))
    assert found.h == ((0, 0),)
    assert found.formula() == "max(x, -x)"
    assert found.hyperplanes == 0


def test_minus_absolute_value():
    found = assert_right(Network.from_arrays([[[1], [-1]], [[-1, -1]]]), pv.Space(1))
    assert found.g == ((0, 0),)
    assert found.h == ((1, 0), (-1, 0))
    assert found.formula() == "-max(x, -x)"


def test_tent():
    found = assert_right(TENT, pv.Box(0, 1, 1))
    assert found.formula() == "-max(2x - 2, -2x)"
    # on the whole line it has an upward bend at 0 too; a tie goes to g = f + h
    found = assert_right(TENT, pv.Space(1))
    assert found.formula() == "max(2x, 0) - max(4x - 2, 0)"


@pytest.mark.parametrize("domain", [pv.Box(-1, 1, 2), pv.Space(2)])
def test_maximum_and_minimum_of_two_maps(domain):
    larger = assert_right(MAXIMUM, domain)
    assert (larger.g, larger.h) == (((1, 0, 0), (0, 1, 0)), ((0, 0, 0),))
    assert larger.formula() == "max(x, y)"
    smaller = assert_right(MINIMUM, domain)
    assert (smaller.g, smaller.h) == (((0, 0, 0),), ((0, -1, 0), (-1, 0, 0)))
    assert smaller.formula() == "-max(-y, -x)"


def test_an_affine_output_and_one_of_several():
    net = Network.from_arrays([[[1, 0], [-1, 0]], [[1, -1], [1, 1]]], [None, [3, 0]])
    first = assert_right(net, pv.Box(-1, 1, 2), 0)
    assert (first.formula(), len(first.h)) == ("x + 3", 1)
    second = assert_right(net, pv.Box(-1, 1, 2), 1)
    assert second.formula() == "max(x, -x)"
    assert second.output == 1
    zero = assert_right(Network.from_arrays([[[0, 0]]]), pv.Space(2))
    assert zero.formula() == "0"


def test_the_largest_bend_on_a_hyperplane_counts(monkeypatch):
    # deep nets bend by different amounts along one hyperplane; the smallest is not enough
    nets = [dense(Random(seed), [2, 3, 3, 1]) for seed in (0, 3, 6, 8, 9, 12)]
    for net in nets:
        assert_right(net, pv.Space(2), points=10)
    monkeypatch.setattr(convex, "max", lambda old, new: min(old or new, new), raising=False)
    refused = 0
    for net in nets:
        try:
            difference_of_convex(net, pv.Space(2))
        except AssertionError:
            refused += 1
    assert refused >= 3


def test_a_bend_that_is_too_small_is_refused(monkeypatch):
    right = convex._bends

    def halved(*args):
        down, up = right(*args)
        return {row: size // 2 for row, size in down.items()}, {**up, (1, 5): 1, (1, 6): 1}

    monkeypatch.setattr(convex, "_bends", halved)
    with pytest.raises(AssertionError, match="its own check"):
        difference_of_convex(TENT, pv.Space(1))


def test_nets_that_are_convex_by_their_weights_have_h_zero():
    rng = Random(5)
    for dim in (1, 2, 3, 4):
        first = [[rng.randint(-3, 3) for _ in range(dim)] for _ in range(5)]
        second = [[rng.randint(0, 2) for _ in range(5)] for _ in range(3)]
        biases = [[rng.randint(-2, 2) for _ in range(5)], [rng.randint(-3, 0) for _ in range(3)]]
        for sign in (1, -1):
            last = [[sign * rng.randint(1, 3) for _ in range(3)]]
            net = Network.from_arrays([first, second, last], [*biases, None])
            found = assert_right(net, pv.Box(-2, 2, dim), points=10)
            zero = found.h if sign == 1 else found.g
            assert zero == ((0,) * (dim + 1),)
            assert found.cells == pv.count_regions(net, pv.Box(-2, 2, dim)).count


# ------------------------------------------------------------------------------------ random cases


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_random_nets(dim):
    rng = Random(dim)
    sizes = {1: [[8], [5, 5]], 2: [[7], [4, 4], [3, 3, 3]], 3: [[5], [3, 3]], 4: [[4], [3, 2]]}
    for width in sizes[dim]:
        net = dense(rng, [dim, *width, 1])
        for domain in (pv.Box(-1, 1, dim), pv.Space(dim)):
            assert_right(net, domain, seed=dim, points=15)
    simplex = pv.Polytope([*(-np.eye(dim)), [1] * dim], [1] * dim + ["4/3"])
    assert_right(dense(rng, [dim, 4, 3, 2]), simplex, 1)


def test_degenerate_nets():
    done = 0
    for seed in range(60):
        case = random_degenerate_net(seed)
        domain = to_domain(case["domain"])
        net = Network.from_arrays(case["weights"], case["biases"], case["slopes"])
        if pv.count_regions(net, domain).count > 40:
            continue
        found = assert_right(net, domain, seed % net.output_size, seed=seed, points=8)
        done += found.hyperplanes > 0
    assert done >= 15


def test_graphs_with_maxima_and_convolutions():
    done = 0
    for seed in range(60):
        case = random_graph(seed)
        net, domain = Network(case.net.inputs, to_nodes(case.net, seed)), to_domain(case.domain)
        if pv.count_regions(net, domain).count > 40:
            continue
        done += assert_right(net, domain, seed % net.output_size, seed=seed, points=8).cells > 2
    assert done >= 20


def test_degenerate_graphs_in_three_and_four_dimensions():
    for seed in range(12):
        dim = 3 + seed % 2
        graph = random_net(Random(seed), [F(0)] * dim, dim)
        net, domain = Network(dim, to_nodes(graph, seed)), pv.Box(-1, 1, dim)
        if pv.count_regions(net, domain).count <= 30:
            assert_right(net, domain, seed=seed, points=6)


def test_slices():
    net = dense(Random(9), [5, 6, 4, 1])
    basis = [[1, 0], [0, 1], ["1/3", 1], [2, -1], [0, "0.1"]]
    for inner in (pv.Box(-1, 1, 2), None, pv.Polytope([[1, 1], [-1, 0], [0, -1]], [1, 1, 1])):
        plane = pv.Slice([0, 1, "1/7", 0, -1], basis, inner)
        found = assert_right(net, plane)
        assert "t1" in found.formula(4)
        assert "more)" in found.formula(1)
    line = pv.segment([0] * 5, ["1/3", 1, -1, 2, 1])
    assert "t" in assert_right(net, line).formula()


# ------------------------------------------------------------------------------------ the contract


def test_fractions_and_floats():
    net = Network.from_arrays([[["1/3"], [-1]], [[1, -1]]], [["1/7", 0], [0.1]])
    found = assert_right(net, pv.Space(1))
    assert found.formula() == "max((4/3)x + 0.242857, x + 0.1) - max(x, 0)"
    assert found.g_rows.dtype == np.float64
    assert found.g_rows.shape == (len(found.g), 2)
    assert found.h_rows.tolist() == [[float(v) for v in row] for row in found.h]
    assert MaxAffine([(F(1, 3), F(-1, 2))])([F(3)]) == F(1, 2)


def test_names_of_coordinates():
    net = Network.from_arrays([[[1, 2, 3, 4]]], [["1/2"]])
    assert difference_of_convex(net, pv.Space(4)).formula() == "x1 + 2x2 + 3x3 + 4x4 + 1/2"
    net = Network.from_arrays([[[-1, 0, "-5/2"]]])
    assert difference_of_convex(net, pv.Space(3)).formula() == "-x - (5/2)z"


def test_threads_and_repetition_change_nothing():
    net = dense(Random(3), [2, 8, 5, 1])
    one, two = (difference_of_convex(net, pv.Space(2), threads=k) for k in (1, 2))
    assert one == two
    assert hash(one) == hash(two)


def test_json():
    found = difference_of_convex(TENT, pv.Space(1))
    data = json.loads(found.to_json())
    assert data["g"] == [["2", "0"], ["0", "0"]]
    assert data["h"] == [["4", "-2"], ["0", "0"]]
    assert (data["complete"], data["status"], data["hyperplanes"]) == (True, "complete", 1)
    assert data["network"] == TENT.digest
    assert not any(key.startswith("_") for key in data)


def test_what_is_wrong_is_seen():
    net = dense(Random(4), [2, 5, 3, 1])
    domain = pv.Box(-1, 1, 2)
    found = difference_of_convex(net, domain)
    assert found.check()
    centres = [region.exact_interior_point for region in pv.regions(net, domain)]
    for part in ("g", "h"):
        rows = getattr(found, part)
        for k, row in enumerate(rows):
            raised = (*row[:-1], row[-1] + F(1, 10**30))
            wrong = replace(found, **{part: MaxAffine([*rows[:k], raised, *rows[k + 1 :]])})
            assert not wrong.check()
    both = replace(found, g=MaxAffine((*r[:-1], r[-1] + 1) for r in found.g))
    assert not both.check()
    assert not both.verify(centres)


def test_an_extra_row_that_dominates_somewhere_is_seen():
    found = difference_of_convex(SIZE, pv.Space(1))
    assert replace(found, g=MaxAffine([*found.g, (F(0), F(0))])).check()  # nowhere larger
    assert not replace(found, g=MaxAffine([*found.g, (F(0), F(1))])).check()
    assert not replace(found, g=MaxAffine([*found.g, (F(2), F(-(10**9)))])).check()  # far out


def test_a_timeout_leaves_an_incomplete_answer():
    net = dense(Random(2), [3, 12, 12, 1])
    found = difference_of_convex(net, pv.Box(-1, 1, 3), timeout=0)
    assert not found.complete
    assert found.status is Status.TIMEOUT
    assert found.reason == "timeout"
    assert found.g == found.h == ()
    assert found.g_rows.shape == (0, 4)
    assert found.formula() == "incomplete (timeout)"
    assert json.loads(found.to_json())["complete"] is False
    with pytest.raises(pv.InputError, match="not complete"):
        found.g([0, 0, 0])
    with pytest.raises(pv.InputError, match="not complete"):
        found.check()
    with pytest.raises(pv.InputError, match="not complete"):
        found.verify([[0, 0, 0]])


def test_the_timeout_holds_for_the_whole_run():
    net = dense(Random(2), [3, 8, 8, 1])
    found = difference_of_convex(net, pv.Space(3), timeout=0.3)
    assert not found.complete
    assert found.reason == "timeout"


@pytest.mark.parametrize("output", [-1, 1, 0.0, True, None])
def test_a_bad_output_index(output):
    with pytest.raises(pv.InputError, match="output is"):
        difference_of_convex(TENT, pv.Space(1), output)


def test_bad_domains():
    with pytest.raises(pv.InputError, match="dimension"):
        difference_of_convex(Network.from_arrays([[[1] * 11], [[1]]]), pv.Box(0, 1, 11))
    with pytest.raises(pv.InputError, match="the network has 1 inputs"):
        difference_of_convex(TENT, pv.Space(2))
    with pytest.raises(pv.InputError, match="interior"):
        difference_of_convex(TENT, pv.Box([0], [0]))
    with pytest.raises(pv.InputError, match="timeout"):
        difference_of_convex(TENT, pv.Space(1), timeout=-1)
    with pytest.raises(pv.InputError, match="timeout"):
        difference_of_convex(TENT, pv.Space(1), timeout=float("nan"))


def test_bad_points():
    found = difference_of_convex(TENT, pv.Box([0], [1]))
    with pytest.raises(pv.InputError, match="outside"):
        found.verify([[2]])
    with pytest.raises(pv.InputError, match="shape"):
        found.g([0, 0])
    with pytest.raises(pv.InputError):
        found.h([float("nan")])
