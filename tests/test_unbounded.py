"""`verify` in boxes without bounds: exact programs in every cell, against another enumeration."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from dual_proof_tools import Row, System
from graph_strategies import random_case_nd, to_domain, to_nodes
from oracle_graph import Graph
from proof_truth import no_solution

import plverify as pv
from plverify import question, unbounded
from plverify.network import Network
from plverify.property import Ball, Disjunct, Property

INF = np.inf


def accepted(found: pv.Verification, net: Network) -> bool:
    """Both checkers accept the proof."""
    assert found.proof is not None
    return all(pv.check(found.proof, net, python=python).accepted for python in (False, True))


def absolute() -> Network:
    return Network.from_arrays([[[1], [-1]], [[1, 1]]])


pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("box", [pv.Box([-INF], [INF]), pv.Box([-INF], [3]), pv.Box([0], [INF])])
def test_absolute_value(box: pv.Box) -> None:
    net = absolute()
    found = pv.verify(net, Property.output_at_most(box, 0, 5), proof=True)
    assert found.status == "sat"
    assert found.outputs is not None
    assert found.outputs[0] > 5
    assert accepted(found, net)
    for spec in (
        Property.output_at_least(box, 0, 0),
        Property.from_rows(box, [[0]], [[1]], ["-1e-300"]),
    ):
        found = pv.verify(net, spec, proof=True)
        assert (found.status, found.reason) == ("unsat", None)
        assert accepted(found, net)
    weak = pv.verify(net, Property.from_rows(box, [[0]], [[1]], [0]))
    assert (weak.status, weak.witness) == ("sat", (0,))


def test_the_triangle_inequality_everywhere() -> None:
    rows = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1]]
    net = Network.from_arrays([rows, [[1, 1, 1, 1, -1, -1]]])
    spec = Property.output_at_least(pv.Box(-INF, INF, 2), 0, 0)
    found = pv.verify(net, spec, proof=True)
    assert found.status == "unsat"
    assert accepted(found, net)
    assert found.stats["exact_programs"] > 6


def test_sides_beyond_the_doubles() -> None:
    net = absolute()
    box = pv.Box([-(2**400)], [Fraction(2**400, 3)])
    assert pv.verify(net, Property.output_at_most(box, 0, 2**400)).status == "unsat"
    found = pv.verify(net, Property.output_at_most(box, 0, 2**400 - 1), proof=True)
    assert (found.status, found.witness) == ("sat", (-(2**400),))
    assert accepted(found, net)


def test_a_window_and_slopes_without_bounds() -> None:
    """The larger of x and y is at least their mean, |x - y| / 2 above it."""
    graph = Graph(
        2,
        (
            ("max", (0,), [[0, 1]]),
            ("linear", (0,), [([(0, Fraction(1)), (1, Fraction(-1))], Fraction(0))]),
            ("units", 2, [Fraction(-1)]),
            (
                "linear",
                (1, 0, 3),
                [
                    ([(0, Fraction(2)), (1, Fraction(-1)), (2, Fraction(-1))], Fraction(0)),
                    (
                        [(0, Fraction(2)), (1, Fraction(-1)), (2, Fraction(-1)), (3, Fraction(-1))],
                        Fraction(0),
                    ),
                ],
            ),
        ),
    )
    net, box = Network(2, to_nodes(graph, 0)), pv.Box(-INF, INF, 2)
    zero = Property.output_at_most(box, 1, 0, 2) | Property.output_at_least(box, 1, 0, 2)
    for spec in (Property.output_at_least(box, 0, 0, 2), zero):
        found = pv.verify(net, spec, proof=True)
        assert found.status == "unsat"
        assert accepted(found, net)
    assert pv.verify(net, Property.output_at_most(box, 0, 10**9, 2)).status == "sat"


@pytest.mark.parametrize("block", range(3))
def test_random_graphs_agree_with_the_oracle(block: int) -> None:
    seen: dict[str, int] = {"sat": 0, "unsat": 0}
    for seed in range(400 + 40 * block, 440 + 40 * block):
        graph, description = random_case_nd(seed, (1, 2, 2, 3), 8)
        if description["kind"] == "polytope" or "basis" in description:
            continue
        rng = Random(seed)
        lo = list(description.get("lo", [None] * graph.inputs))
        hi = list(description.get("hi", [None] * graph.inputs))
        free = rng.randrange(graph.inputs)
        lo[free], hi[free] = rng.choice(((None, hi[free]), (lo[free], None), (None, None)))
        net = Network(graph.inputs, to_nodes(graph, seed))
        box = to_domain({"kind": "box", "dim": graph.inputs, "lo": lo, "hi": hi})
        inside = [
            Fraction(a if a is not None else b if b is not None else 0)
            for a, b in zip(lo, hi, strict=True)
        ]
        value = net.exact(inside)
        outputs = [rng.choice((0, 1, 1, -1, 2)) for _ in value]
        shift = rng.choice((Fraction(0), Fraction(-1, 10**12), Fraction(-1), Fraction(-3)))
        bound = sum((c * v for c, v in zip(outputs, value, strict=True)), shift)
        strict = rng.random() < 0.5
        inputs = [rng.choice((0, 0, 1, -1)) for _ in inside]
        bound += sum((a * v for a, v in zip(inputs, inside, strict=True)), Fraction(0))
        spec = Property.from_rows(box, [inputs], [outputs], [bound], strict=strict)
        found = pv.verify(net, spec, proof=True, float32=False)
        sides: Any = [
            tuple(None if v is None else Fraction(v) for v in ends)
            for ends in zip(lo, hi, strict=True)
        ]
        row = Row(
            {i: a for i, a in enumerate(inputs) if a},
            {j: c for j, c in enumerate(outputs) if c},
            bound,
            strict,
        )
        right = "unsat" if no_solution(graph, System(sides, [row])) else "sat"
        assert found.status == right, seed
        assert accepted(found, net), seed
        seen[right] += 1
    assert min(seen.values()) > 2


def test_disjuncts_keep_their_numbers() -> None:
    net = absolute()
    fine = Property.output_at_most(pv.Box([-1], [1]), 0, 1)
    half = Property.output_at_least(pv.Box([0], [INF]), 0, 0)
    broken = Property.output_at_most(pv.Box([-1], [2]), 0, 1)
    found = pv.verify(net, half | fine | half, proof=True)
    assert found.status == "unsat"
    assert accepted(found, net)
    found = pv.verify(net, half | broken, proof=True)
    assert (found.status, found.disjunct) == ("sat", 1)
    assert accepted(found, net)


def test_what_ends_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    net = Network.from_arrays([rng.normal(size=(12, 3)), rng.normal(size=(1, 12))])
    spec = Property.output_at_least(pv.Box(-INF, INF, 3), 0, 0)
    convex = Network.from_arrays([rng.normal(size=(12, 3)), np.ones((1, 12))])
    assert pv.verify(convex, spec).status == "unsat"
    late = pv.verify(convex, spec, timeout=0)
    assert (late.status, late.witness) == ("timeout", None)
    monkeypatch.setattr(unbounded, "MOST", 20)
    found = pv.verify(convex, spec)
    assert found.status == "unknown"
    assert found.reason == "a box without bounds on all sides takes more than 20 programs"
    monkeypatch.undo()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(question.Walk, "run", interrupt)
    assert pv.verify(convex, spec).status == "interrupted"
    assert net.unit_count == 12


def test_dead_units_without_bounds() -> None:
    """relu(x) + 1 is never off, and relu(-relu(x) - 1) never on, wherever x is."""
    net = Network.from_arrays([[[1]], [[1], [-1]], [[1, 1]]], [[0], [1, -1], [0]])
    found = pv.dead_units(net, pv.Box([-INF], [INF]), proof=True)
    assert (found.dead, found.always_active, found.unknown) == ([(1, 1)], [(1, 0)], [])


def test_balls_need_bounds() -> None:
    box, ball = pv.Box([-INF], [INF]), Ball("l2", [0], 1)
    spec = Property(1, 1, (Disjunct(box, (), ball),))
    found = pv.verify(absolute(), spec)
    assert (found.status, found.reason) == ("unknown", "boxes about balls need bounds on all sides")
