"""Networks for the tests of dual trees, and what the two checkers say together."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import lru_cache
from typing import Any

from dual_proof_tools import Row
from graph_strategies import random_net, to_nodes
from oracle_graph import Graph
from tree_cases import MIXED, TIES, ZEROS, dense, linear

import plverify as pv
from plverify import checker
from plverify.attacks.base import Aim, aims
from plverify.network import Network

TINY = Fraction(1, 10**15)
RELU = Fraction(0)


def both(data: bytes, net: Network, spec: Any = None) -> checker.Verdict:
    """The verdict that the two checkers agree on."""
    compiled, python = pv.check(data, net, spec), pv.check(data, net, spec, python=True)
    assert compiled.accepted == python.accepted, (compiled.reason, python.reason)
    assert compiled.claim == python.claim
    assert compiled.reason.isprintable()
    assert bool(compiled.reason) != compiled.accepted
    if compiled:
        for key in ("nodes", "leaves", "definitions", "units"):
            assert compiled.stats[key] == python.stats[key]
    return compiled


def rejected(data: bytes, net: Network, why: str = "") -> bool:
    verdict = both(data, net)
    return not verdict and why in verdict.reason


def aim_at(
    net: Network, x: Any, label: int, norm: str = "linf", targeted: bool = False, domain: Any = None
) -> Aim:
    """A point and the inputs that the claim ``radius`` with these entries is about."""
    own, target = (None, label) if targeted else (label, None)
    [aim] = aims(net, x, own, norm, target, domain)
    return aim


def cube(dim: int, half: Any = 1) -> list[tuple[Fraction, Fraction]]:
    return [(-Fraction(half), Fraction(half))] * dim


RESIDUAL = Graph(
    2,
    (
        linear(0, [[1, -1, 0], [1, 2, -1]]),
        ("units", 1, [RELU, Fraction(1, 4)]),
        ("linear", (1, 2), [([(0, Fraction(1)), (2, Fraction(-2))], Fraction(1, 3)),
                            ([(1, Fraction(1, 3)), (3, Fraction(1))], RELU)]),
        ("units", 3, [RELU, Fraction(2)]),
        ("linear", (3, 4, 0), [([(0, Fraction(1)), (2, Fraction(1)), (4, Fraction(-1, 2))], RELU),
                               ([(1, Fraction(2)), (3, Fraction(-1))], Fraction(1))]),
    ),
)  # fmt: skip


@lru_cache(maxsize=1)
def graphs() -> dict[str, Graph]:
    rng = random.Random(11)
    return {
        "relu": dense(rng, [2, 3, 2, 1]),
        "thirds": dense(rng, [2, 3, 2, 2], den=3),
        "mixed": dense(rng, [2, 4, 2, 1], slopes=[MIXED[0][:4], MIXED[1][:2]]),
        "mixed with one piece": dense(rng, [1, 4, 1], slopes=[MIXED[0][1:5]]),
        "three inputs": dense(rng, [3, 3, 2, 2], den=5),
        "no unit": dense(rng, [2, 1]),
        "residual": RESIDUAL,
        "ties": TIES,
        "zero rows": ZEROS,
    }


NAMES = (
    "relu", "thirds", "mixed", "mixed with one piece", "three inputs", "no unit", "residual",
    "ties", "zero rows",
)  # fmt: skip


def network(graph: Graph, seed: int = 0) -> Network:
    return Network(graph.inputs, to_nodes(graph, seed))


def small_random(seed: int) -> Graph | None:
    rng = random.Random(seed)
    dim = rng.randint(1, 2)
    graph = random_net(rng, [Fraction(rng.randint(-2, 2), 4) for _ in range(dim)], dim)
    patterns = 1
    for node in graph.nodes:
        if node[0] == "units":
            patterns *= 2 ** sum(slope != 1 for slope in node[2])
        elif node[0] == "max":
            for window in node[2]:
                patterns *= sum(j >= 0 for j in window)
    return graph if patterns <= 100 else None


def at_most(value: Fraction, strict: bool) -> Row:
    """What violates ``y_0 <= value``, or ``y_0 < value`` where not strict."""
    return Row({}, {0: -1}, -value, strict)
