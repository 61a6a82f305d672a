"""Balls in dual trees: both checkers accept what is true and proven, and nothing else.

Trees are written from exact nearest points on all patterns of a network (`dual_proof_tools`); no
search has a part in it.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dual_cases import NAMES, RELU, both, cube, graphs, network, rejected, small_random
from dual_proof_tools import (
    Ball,
    DualProof,
    Row,
    System,
    full,
    halved,
    maximum,
    unsat,
)
from oracle_graph import Graph, evaluate
from proof_truth import Closest, holds
from tree_cases import linear

import plverify as pv
from plverify.checker_bounds import Bounds, Given
from plverify.checker_claims import Ball as CheckerBall
from plverify.checker_claims import Box as CheckerBox
from plverify.network import Network

F = Fraction
HAIR = F(1, 2**60)
NORMS = ("l1", "l2")


def distance(graph: Graph, system: System, center: list[Fraction], norm: str) -> Fraction:
    """Of the nearest solution of a system, squared in l2."""
    walk = Closest(graph, system, center, norm)
    walk.run()
    assert walk.best is not None
    found, point = walk.best
    for row in system.rows:
        assert holds(row, point, evaluate(graph, point)[0])
    return found


def some_center(rng: random.Random, box: Any) -> list[Fraction]:
    """Inside a box, on an edge of it, or outside."""
    out = []
    for lo, hi in box:
        out.append(rng.choice((lo, hi, (lo + hi) / 2, lo + (hi - lo) / 3, lo - F(1, 4))))
    return out


def violating(graph: Graph, rng: random.Random, box: Any) -> Row:
    """A row that holds somewhere in the box, but not everywhere."""
    top, _ = maximum(graph, box, {}, {0: 1})
    low = -maximum(graph, box, {}, {0: -1})[0]
    return Row({}, {0: -1}, -(low + (top - low) * F(rng.randint(1, 7), 8)))


# --------------------------------------------------------------------------------- what is true


def check_distance(graph: Graph, seed: int, norm: str) -> bool:
    """Whether the nearest violation is away from the center; up to it, and no farther."""
    rng = random.Random(seed)
    net, box = network(graph, seed), cube(graph.inputs)
    if seed % 3 == 0:  # flat
        box[0] = (F(-1, 2), F(-1, 2))
    row, center = violating(graph, rng, box), some_center(rng, box)
    found = distance(graph, System(box, [row]), center, norm)
    if not found:
        return False
    within = System(box, [row], Ball(norm, center, found - found * HAIR))
    records = full(graph, [within])
    assert records is not None
    proof = unsat(graph, net.digest, [within], records)
    assert both(proof.to_bytes(), net), both(proof.to_bytes(), net).reason
    # As far away, or farther, is a violation. The tree is exact: it shows nothing false.
    for size in (found, found * (1 + HAIR), found * 4):
        larger = System(box, [row], Ball(norm, center, size))
        assert full(graph, [larger]) is None, size
        assert rejected(unsat(graph, net.digest, [larger], records).to_bytes(), net, "nothing")
    smaller = System(box, [row], Ball(norm, center, found / 2))
    assert both(unsat(graph, net.digest, [smaller], records).to_bytes(), net)
    # So do other centers, norms, multipliers.
    others = [
        within._replace(ball=within.ball._replace(center=[c + d for c in center]))
        for d in (F(1, 16), F(-1, 16))
    ]
    others.append(within._replace(ball=within.ball._replace(norm=NORMS[norm == "l1"])))
    for system in others:
        verdict = both(unsat(graph, net.digest, [system], records).to_bytes(), net)
        assert not verdict or full(graph, [system]) is not None
    for change in (lambda m: -m, lambda m: 0):
        assert rejected(changed(proof, 1, change).to_bytes(), net, "positive")
    for factor in (2, 3):
        both(changed(proof, 1, lambda m, factor=factor: m * factor).to_bytes(), net)
    return True


def changed(proof: DualProof, ball: int, change: Any) -> DualProof:
    """With another multiplier of the ball in the first leaf that has one."""
    out = proof.copy()
    for k, record in enumerate(out.records):
        if record[0] == "dual" and record[2] and record[2][-1][0] == ball:
            kind, e, rows, v = record
            out.records[k] = (kind, e, [*rows[:-1], (ball, change(rows[-1][1]))], v)
            return out
    raise AssertionError("no leaf with the ball")


@pytest.mark.sanitize
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_nearest_violation_is_where_it_is(name: str, norm: str) -> None:
    seeds = range(1, 2) if name in ("three inputs", "ties", "zero rows") else range(3)
    done = [check_distance(graphs()[name], seed, norm) for seed in seeds]
    assert any(done) or name == "zero rows"


@pytest.mark.parametrize("norm", NORMS)
def test_random_networks(norm: str) -> None:
    done = []
    for seed in range(300):
        graph = small_random(seed)
        if graph is not None and len(done) < 12:
            box = cube(graph.inputs)
            if maximum(graph, box, {}, {0: 1})[0] > -maximum(graph, box, {}, {0: -1})[0]:
                done.append(check_distance(graph, seed, norm))
    assert sum(done) >= 5


def test_a_witness_lies_in_the_ball() -> None:
    graph = graphs()["relu"]
    net = network(graph)
    x = [F(1, 2), F(0)]
    y = evaluate(graph, x)[0][0]
    for norm, size in (("l1", F(1, 2)), ("l2", F(1, 4))):
        for less, good in ((F(0), True), (HAIR, False)):
            ball = Ball(norm, [F(0), F(0)], size - less)
            system = System(cube(2), [Row({}, {0: 1}, y)], ball)
            header = unsat(graph, net.digest, [system], []).header
            del header["evidence"]
            header |= {"claim": "sat", "disjunct": 0, "witness": [str(v) for v in x]}
            assert both(DualProof(header, []).to_bytes(), net).accepted == good


# ------------------------------------------------------------------------------- boxes and balls

IDENTITY = Graph(2, (linear(0, [[1, 0, 0], [0, 1, 0]]),))


def alone(net: Network, system: System, leaf: Any) -> pv.certificate.Verdict:
    return both(unsat(IDENTITY, net.digest, [system], [leaf]).to_bytes(), net)


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_beside_the_box(norm: str) -> None:
    """It touches a facet, or a corner, of the box, misses it by a hair, or cuts it."""
    net, box = network(IDENTITY), [(F(2), F(3)), (F(-1), F(1))]
    for center, value in (([F(0), F(0)], 2), ([F(0), F(4)], 5 if norm == "l1" else 13)):
        size = F(value if norm == "l1" or value > 2 else 4)
        for less, good in ((HAIR, True), (F(0), False), (-HAIR, False)):
            system = System(box, [], Ball(norm, center, size - less))
            assert alone(net, system, ("rule", [(0, 1)])).accepted == good
            assert alone(net, system, ("dual", 99, [(0, 2**60 + 1)], [])).accepted == good
            assert not alone(net, system, ("rule", []))
    assert rejected(unsat(IDENTITY, net.digest, [system], [("rule", [(1, 1)])]).to_bytes(), net,
                    "constraint")  # fmt: skip
    bare = System(box, [])
    assert "constraint" in alone(net, bare, ("rule", [(0, 1)])).reason


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_that_holds_the_box_changes_nothing(norm: str) -> None:
    graph = graphs()["three inputs"]
    net, box = network(graph), cube(3)
    top, _ = maximum(graph, box, {}, {0: 1})
    ball = Ball(norm, [F(1, 3)] * 3, F(100))
    for value, strict, good in ((top, True, True), (top, False, False), (top - HAIR, True, False)):
        system = System(box, [Row({}, {0: -1}, -value, strict)])
        records = full(graph, [system])
        assert (records is not None) == good
        if records is not None:
            around = system._replace(ball=ball)
            assert both(unsat(graph, net.digest, [around], records).to_bytes(), net)


@pytest.mark.parametrize("norm", NORMS)
def test_inputs_without_bounds(norm: str) -> None:
    """A linear function over a ball alone: the box is everything, half of it, or a line."""
    net = network(IDENTITY)
    size = F(5) if norm == "l1" else F(25)
    center = [F(1, 3), F(-2)]
    # The largest 3 x + 4 y: 4 * 5 or 5 * 5 more than at the center.
    top = 3 * center[0] + 4 * center[1] + (20 if norm == "l1" else 25)
    m = 4 if norm == "l1" else 1  # 2 m * 5 = |(3, 4)|, the row's doubled
    scale = 1 if norm == "l1" else 2
    ends = (None, None), (F(-50), None), (None, F(50)), (F(-50), F(50))
    for box in ([a, b] for a in ends for b in ends):
        for less, good in ((F(0), False), (-HAIR, True), (HAIR, False)):
            row = Row({}, {0: -3, 1: -4}, -(top - less))
            system = System(list(box), [row], Ball(norm, center, size))
            leaf = ("rule", [(0, scale), (1, m)])
            assert alone(net, system, leaf).accepted == good
            # Too small a multiplier for "l1": nothing holds the inputs, if the box does not.
            weak = alone(net, system, ("rule", [(0, 10 * scale), (1, m)]))
            assert not weak
            assert not alone(net, system, ("rule", [(0, scale)]))
            strict = system._replace(rows=[row._replace(strict=True)])
            assert alone(net, strict, leaf).accepted == (less <= 0)


# ------------------------------------------------------------------------------ bounds with balls


def behind_a_kink(shift: Fraction, weights: tuple[int, int]) -> Graph:
    """``relu(a . x + shift)``."""
    a, b = weights
    return Graph(2, (linear(0, [[a, b, shift]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))


@pytest.mark.sanitize
@pytest.mark.parametrize("norm", NORMS)
def test_bounds_use_the_ball_and_no_more(norm: str) -> None:
    """The largest pre-activation over the ball is 0 up to a hair: 3, 4 and 5, or the larger one."""
    rng = random.Random(norm)
    for _ in range(12):
        center = [F(rng.randint(-9, 9), rng.choice((1, 3, 4))) for _ in range(2)]
        radius = F(rng.randint(1, 9), rng.choice((1, 3, 8)))
        top = 3 * center[0] - 4 * center[1] + (4 if norm == "l1" else 5) * radius
        ball = Ball(norm, center, radius if norm == "l1" else radius**2)
        box = [(c - radius, c + radius) for c in center]
        for gap, good in ((F(1, 2**30), True), (-HAIR, False), (-F(1, 2**30), False)):
            graph = behind_a_kink(-top - gap, (3, -4))
            net = network(graph)
            row = Row({}, {0: -1}, F(0), True)  # y > 0
            system = System(box, [row], ball)
            records = [("bounds", 1), ("rule", [(0, 1)])]
            proof = unsat(graph, net.digest, [system], records)
            assert both(proof.to_bytes(), net).accepted == good
            bare = System(box, [row])
            assert not both(unsat(graph, net.digest, [bare], records).to_bytes(), net)


def test_trees_about_one_box_do_not_share_what_a_ball_says() -> None:
    graph = behind_a_kink(F(-3, 2), (1, 1))
    net, box, row = network(graph), cube(2), Row({}, {0: -1}, F(0), True)
    records = [("bounds", 1), ("rule", [(0, 1)])]
    center = [F(0), F(0)]
    small, large = (Ball("l2", center, size) for size in (F(1), F(2)))
    systems = [System(box, [row], ball) for ball in (small, large, None)]
    for first in systems:
        for second in systems:
            proof = unsat(graph, net.digest, [first, second], records * 2)
            proof.header["property"]["boxes"].pop()
            proof.header["property"]["disjuncts"][1]["box"] = 0
            good = first.ball == second.ball == small
            assert both(proof.to_bytes(), net).accepted == good


@pytest.mark.parametrize("rule", [0, 1])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_halvings_prove_what_has_a_margin(name: str, norm: str, rule: int) -> None:
    graph = graphs()[name]
    rng = random.Random(f"{name} {norm}")
    net, box = network(graph), cube(graph.inputs)
    center = [F(rng.randint(-3, 3), 4) for _ in box]
    row = violating(graph, rng, box)
    found = distance(graph, System(box, [row]), center, norm)
    if not found:
        return
    outcomes = []
    for share in (F(1, 4), F(9, 10), F(11, 10)):
        ball = Ball(norm, center, found * share)
        for m in (1, 8):
            records = halved(System(box, [row]), 5, [rule], ("rule", [(0, 2), (1, m)]))
            system = System(box, [row], ball)
            verdict = both(unsat(graph, net.digest, [system], records).to_bytes(), net)
            outcomes.append(verdict.accepted)
            assert not verdict or share < 1


# -------------------------------------------------------------------------- numbers, to the digit


def leaf_bound(net: Network, system: System, leaf: Any) -> Fraction | float:
    """What the leaf proves after interval propagation, in the words of the Python checker."""
    bounds = Bounds(net.exact_net)
    box = CheckerBox(tuple(lo for lo, _ in system.box), tuple(hi for _, hi in system.box))
    assert system.ball is not None
    norm, center, size, _ = system.ball
    cell = bounds.start(box, CheckerBall(norm == "l2", tuple(center), size))
    cell = bounds.propagate(cell)
    grad = [0] * net.output_size
    (_, m), (_, around) = leaf[1] if leaf[0] == "rule" else leaf[2]
    for j, c in system.rows[0].outputs.items():
        grad[j] = m * c
    given = Given(dict(leaf[3]), {}) if leaf[0] == "dual" else None
    start = {len(net.exact_net.nodes): (grad, 1)}
    return bounds.least(cell, start, -m * system.rows[0].bound, given, {}, around)


def wide_network(rng: np.random.Generator, n: int) -> Network:
    """Of numbers so short that intervals are exact: both checkers have the same ones."""
    weights = [rng.integers(-9, 9, (7, n)) / 16, rng.integers(-9, 9, (2, 7)) / 8]
    return Network.from_arrays(weights, [rng.integers(-9, 9, 7) / 4, np.zeros(2)])


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(16))
def test_both_checkers_compute_the_same_number(seed: int) -> None:
    """A leaf's bound is 0 after a shift of the row: a hair of it decides, in doubles or not."""
    draw, rng = np.random.default_rng(seed), random.Random(seed)
    n = (3, 10, 40)[seed % 3]
    net = wide_network(draw, n)
    kinds = (lambda v: F(v), lambda v: F(int(v * 30), 30), lambda v: F(float(np.float32(v))))
    exact = kinds[seed % 3]
    center = [exact(v) for v in draw.normal(size=n)]
    norm = NORMS[seed % 2]
    root = exact(abs(draw.normal()) + 0.1)
    ends = [(c - root * F(rng.choice((0, 1, 1, 1)), 2), c + root) for c in center]
    box = [(F(int(a * 8) - 1, 8), F(int(b * 8) + 1, 8)) for a, b in ends]
    if seed >= 12:
        center = [c + root for c in center]
    ball = Ball(norm, center, root if norm == "l1" else root * root)
    graph = Graph(n, (linear(0, [[*[0] * n, 0]] * 2),))  # of the same sizes, for the header
    for m in (1, 5, 2**40, 1000003, 1):
        around = rng.choice((1, 7, 2**20 + 1, 2**70 + 1)) * m
        row = Row({}, {0: -1, 1: 2}, F(0))
        leaf = ("dual", rng.randint(-9, 9), [(0, m), (1, around)], [(0, 3 * m), (2, -m)])
        if m == 5:
            leaf = ("rule", [(0, m), (1, around)])
        bound = leaf_bound(net, System(box, [row], ball), leaf)
        assert isinstance(bound, Fraction)
        scale = abs(bound) / m + 1
        for shift, good in (
            (F(0), False),
            (scale / 2**80, True),
            (-scale / 2**80, False),
            (scale / 2**20, True),
            (-scale / 2**20, False),
        ):
            system = System(box, [row._replace(bound=bound / m - shift)], ball)
            proof = unsat(graph, net.digest, [system], [("bounds", 0), leaf])
            assert both(proof.to_bytes(), net).accepted == good, (m, around, shift)
        strict = System(box, [row._replace(bound=bound / m, strict=True)], ball)
        assert both(unsat(graph, net.digest, [strict], [("bounds", 0), leaf]).to_bytes(), net)


@pytest.mark.parametrize("scale", [F(1, 2**600), F(1, 10**170), F(10**170), F(2**900)])
@pytest.mark.parametrize("norm", NORMS)
def test_balls_of_any_size(norm: str, scale: Fraction) -> None:
    """Beyond what doubles hold, exact arithmetic decides: ``3 x + 4 y`` over a ball, and a hair."""
    net, center = network(IDENTITY), [F(1), F(-1)]
    size = scale if norm == "l1" else scale**2
    box = [(c - scale, c + scale) for c in center]
    top = -1 + (4 if norm == "l1" else 5) * scale
    # 4 for "l1"; 5 / (2 scale) for "l2".
    m, around = (1, 4) if norm == "l1" else (2 * scale.numerator, 5 * scale.denominator)
    for shift, good in ((scale * HAIR, True), (F(0), False), (-scale * HAIR, False)):
        row = Row({}, {0: -3, 1: -4}, -top - shift)
        leaf = ("rule", [(0, m), (1, around)])
        system = System(box, [row], Ball(norm, center, size))
        assert alone(net, system, leaf).accepted == good


# ------------------------------------------------------------------------------ hostile headers


def test_balls_are_read_strictly() -> None:
    graph, net = IDENTITY, network(IDENTITY)
    system = System([(F(2), F(3))] * 2, [], Ball("l2", [F(0), F(0)], F(7)))
    proof = unsat(graph, net.digest, [system], [("rule", [(0, 1)])])
    assert both(proof.to_bytes(), net)
    for key, values in (
        ("norm", ("linf", "L2", 2, None, ["l2"], "l3")),
        ("center", (["0"], ["0", "0", "0"], "00", None, ["0", "0.5"], ["0", 0], ["0", "inf"])),
        ("size", ("0", "-1", "inf", 7, None, "14/2", "nan", ["7"])),
    ):
        for value in values:
            lying = proof.copy()
            lying.header["property"]["disjuncts"][0]["ball"][key] = value
            assert rejected(lying.to_bytes(), net), (key, value)
        lying = proof.copy()
        del lying.header["property"]["disjuncts"][0]["ball"][key]
        assert rejected(lying.to_bytes(), net, "malformed ball")
    for ball in (None, [], {}, "l2"):
        lying = proof.copy()
        lying.header["property"]["disjuncts"][0]["ball"] = ball
        assert rejected(lying.to_bytes(), net, "ball")
    lying = proof.copy()
    lying.header["property"]["disjuncts"][0]["ball"]["strict"] = True
    assert rejected(lying.to_bytes(), net, "malformed ball")


def test_the_claim_says_what_the_ball_is() -> None:
    net = network(IDENTITY)
    system = System([(F(2), F(3))] * 2, [], Ball("l2", [F(0), F(1, 2)], F(4)))
    verdict = both(unsat(IDENTITY, net.digest, [system], [("rule", [(0, 1)])]).to_bytes(), net)
    assert verdict
    assert "and the l2 ball of squared radius 4 about (0, 1/2), where anything" in verdict.claim
