"""Searches that leave known units out: wrong rows there would be proofs that no checker accepts."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dual_cases import network
from oracle_graph import Graph
from tree_cases import linear

import plverify as pv
from plverify.domain import Box
from plverify.network import Network


def rows(rng: random.Random, count: int, width: int) -> Any:
    return [[*(Fraction(rng.randint(-9, 9), 8) for _ in range(width)),
             Fraction(rng.randint(-12, 12), 8)] for _ in range(count)]  # fmt: skip


def deep(rng: random.Random, slopes: list[Any], share: float) -> Graph:
    """Three layers, of which the last reads all and the input, with so many of their weights."""
    count, wide = (24, 16, 8), (24, 16 + 3 + 24)
    units = [("units", n, [rng.choice(slopes) for _ in range(k)])
             for n, k in zip((1, 3, 5), count, strict=True)]  # fmt: skip

    def joined(sources: tuple[int, ...], count: int, width: int) -> Any:
        table = [([(j, w) for j, w in enumerate(row[:-1]) if rng.random() < share], row[-1])
                 for row in rows(rng, count, width)]  # fmt: skip
        return ("linear", sources, table)

    return Graph(3, (
        linear(0, rows(rng, count[0], 3)), units[0],
        joined((2,), count[1], wide[0]), units[1],
        joined((4, 0, 2), count[2], wide[1]), units[2],
        linear(6, rows(rng, 2, count[2])),
    ))  # fmt: skip


def question(net: Network, seed: int, goals: int) -> pv.Property:
    """That one output, or both at once, are hardly more than they are at points of the box."""
    y = net(np.random.default_rng(seed).uniform(-1, 1, (20000, 3)))
    box = Box(-1, 1, 3)
    if goals == 1:
        return pv.Property.from_rows(box, None, [[-1, 0]], [-(y[:, 0].max() + 0.02 * np.ptp(y))])
    sums = y.sum(axis=1)
    first, second = y[np.argmax(sums)] + 0.02 * np.ptp(sums)
    return pv.Property.from_rows(box, None, [[-1, 0], [0, -1]], [-first, -second])


@pytest.mark.sanitize
@pytest.mark.parametrize("goals", [1, 2])
@pytest.mark.parametrize("kind", ["relu", "leaky", "sparse"])
def test_proofs_are_accepted(kind: str, goals: int) -> None:
    leaky = [Fraction(1, 8), Fraction(-1, 4), Fraction(3, 2)]
    slopes, share = {"relu": ([0], 1.0), "leaky": (leaky, 1.0), "sparse": ([0, *leaky], 0.2)}[kind]
    statuses, nodes = [], 0
    for seed in range(16):
        net = network(deep(random.Random(seed), [Fraction(s) for s in slopes], share), seed)
        found = pv.verify(net, question(net, seed, goals), float32=False, timeout=60)
        statuses.append(str(found.status))
        assert found.status != "unknown", found.reason
        nodes += found.nodes
    assert statuses.count("unsat") > 10
    assert nodes > 100
