"""Patterns decided by error bounds: what a filter says is what exact integers say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from graph_strategies import random_graph, to_nodes

from plverify import network
from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.filters import fixed_filter, float_filter
from plverify.network import Network


def check_both(net: Network, x: list[float] | list[Fraction]) -> tuple[bool, bool]:
    """Which of the two filters decides; both must agree with the integers where they do."""
    exact = net.exact_net.pattern_at(x)
    points = ExactArray([x])
    error = np.abs(points.floats()) * 2.0**-52
    floats, sure = float_filter(net.nodes, net._take, points.floats(), error)
    assert not sure[0] or tuple(floats[0]) == tuple(exact.bits)
    fixed, decided = fixed_filter(net.nodes, net._sources, points.data[0])
    assert not decided or tuple(fixed) == tuple(exact.bits)
    assert decided or not exact.on_boundary or not sure[0]
    return bool(sure[0]), decided


def test_filters_agree_with_integers_on_random_graphs() -> None:
    floats = fixed = 0
    for seed in range(150):
        case = random_graph(seed)
        net = Network(case.net.inputs, to_nodes(case.net, seed))
        rng = np.random.default_rng(seed)
        for x in (rng.normal(size=net.input_size), rng.integers(-3, 4, net.input_size) / 3):
            first, second = check_both(net, x.tolist())
            floats, fixed = floats + first, fixed + second
    assert fixed >= floats > 50


@pytest.mark.parametrize("digits", [10, 14, 20, 24])
def test_fixed_point_decides_what_floats_cannot(digits: int) -> None:
    rng = np.random.default_rng(digits)
    net = Network.from_arrays(
        [rng.normal(size=(30, 4)), rng.normal(size=(30, 30)), rng.normal(size=(1, 30))],
        [rng.normal(size=30), rng.normal(size=30), np.zeros(1)],
    )
    # A point that lies 10**-digits off the zero of a unit of the first layer.
    maps, offsets = net.unit_maps([0] * 4, exact=True)[0]
    row, bias = maps[5].tolist(), offsets[5]
    start = [Fraction(int(v), 16) for v in rng.integers(-20, 20, 4)]
    value = sum(Fraction(a) * v for a, v in zip(row, start, strict=True)) + bias
    step = -value / Fraction(row[0])
    for sign in (1, -1):
        x = [start[0] + step + Fraction(sign, 10**digits), *start[1:]]
        first, second = check_both(net, x)
        assert second
        assert not first or digits < 14
    assert check_both(net, [start[0] + step, *start[1:]]) == (False, False)


def test_large_networks_use_fixed_point_and_refuse_kinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_FIXED_FROM", 0)
    monkeypatch.setattr(network, "_EXACT_LIMIT", 0)
    net = Network.from_arrays([[[1.0]], [[1.0]], [[1.0]]], [[2.0**60], [-(2.0**60)], [0.0]])
    assert net.pattern([[0.25], [-0.25]]).tolist() == [[True, True], [True, False]]
    with pytest.raises(InputError, match="kink"):
        net.pattern([0.0])


def test_weights_that_float64_does_not_hold_widen_the_bound() -> None:
    third = [[Fraction(1, 3), -(2**80) - 1]]
    net = Network.from_arrays([third, [[1]]], [[0], [0]])
    for x in ([3 * (2**80 + 1), 1], [3 * (2**80 + 2), 1], [3, 1]):
        _, decided = check_both(net, [Fraction(v) for v in x])
        assert decided == (x[0] == 3)
    huge = Network.from_arrays([[[2**2000, 1]], [[1]]])
    assert check_both(huge, [Fraction(1), Fraction(1)]) == (False, False)
    assert huge.pattern([1, 1]).tolist() == [True]
