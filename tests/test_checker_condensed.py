"""Bounds of cells where the pieces of most units are known: by networks without these units.

Both checkers are asked; the Python one knows no such networks. Trees have bounds in every node, so
that those of the nodes below come from what is left of the network there.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from dual_cases import RELU, at_most, both, network, rejected
from dual_proof_tools import Ball, Records, Row, System, full, maximum, unsat
from oracle_graph import Graph, evaluate
from tools import limited
from tree_cases import linear

import plverify as pv

LEAF = ("rule", [(0, 1)])


def tree(
    box: Sequence[Any],
    depth: int,
    rules: Sequence[int],
    leaf: Any,
    unit: int = -1,
    first: Sequence[int] | None = None,
) -> Records:
    """All cells after so many halvings of the widest side, with bounds in every node (`first` in
    the first one); at last a split of a unit."""
    records: Records = [("bounds", rule) for rule in (rules if first is None else first)]
    if depth == 0:
        return [*records, leaf] if unit < 0 else [*records, ("unit", unit), *[*records, leaf] * 2]
    i = max(range(len(box)), key=lambda k: box[k][1] - box[k][0])
    lo, hi = box[i]
    value = (lo + hi) / 2
    records.append(("input", i, value.numerator, value.denominator))
    for part in ((lo, value), (value, hi)):
        records += tree([*box[:i], part, *box[i + 1 :]], depth - 1, rules, leaf, unit)
    return records


def layer(rng: random.Random, rows: int, cols: int, shift: int, den: int) -> Any:
    """Rows that mostly keep away from zero."""
    return [
        [*(Fraction(rng.randint(-6, 6), den) for _ in range(cols)),
         Fraction(rng.choice((-shift, 0, shift, shift)), den)] for _ in range(rows)
    ]  # fmt: skip


def deep(rng: random.Random, residual: bool) -> Graph:
    """Two inputs, two layers of units, of which most are known on small cells."""
    den, slopes = rng.choice((1, 3, 4)), [RELU, RELU, RELU, Fraction(1, 8), Fraction(3, 2)]
    sizes = (7, 4)
    first = linear(0, layer(rng, sizes[0], 2, 7, den))
    units = [("units", n, [rng.choice(slopes) for _ in range(k)]) for n, k in ((1, 7), (3, 4))]
    read = (2, 0) if residual else (2,)
    width = sizes[0] + 2 * residual
    second = ("linear", read, [
        ([(j, w) for j, w in enumerate(row[:-1]) if w], row[-1])
        for row in layer(rng, sizes[1], width, 20, den)
    ])  # fmt: skip
    last = linear(4, layer(rng, 2, sizes[1], 1, 1))
    return Graph(2, (first, units[0], second, units[1], last))


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(24))
def test_only_what_is_true_is_accepted(seed: int) -> None:
    rng = random.Random(seed)
    graph = deep(rng, seed % 2 == 1)
    net, box = network(graph, seed), [(Fraction(0), Fraction(1)), (Fraction(0), Fraction(1, 2))]
    top, _ = maximum(graph, box, {}, {0: 1})
    unit = rng.choice((-1, rng.randrange(11)))
    accepted = []
    for slack in (-1, Fraction(-1, 1000), Fraction(1, 1000), Fraction(1, 20), 1, 30):
        rows = [at_most(top + slack, False)]
        if seed % 3 == 0:  # a second one, which leaves part of the box in question
            y = evaluate(graph, [Fraction(1, 3), Fraction(1, 7)])[0]
            rows.append(Row({}, {1: 1}, y[1], False))
        system = System(box, rows)
        for rules in ([1], [3], [1, 3], [0, 1]):
            proof = unsat(graph, net.digest, [system], tree(box, 4, rules, LEAF, unit))
            verdict = both(proof.to_bytes(), net)
            accepted.append(verdict.accepted)
            assert slack > 0 or len(rows) > 1 or not verdict
    assert any(accepted)


@pytest.mark.sanitize
@pytest.mark.parametrize("block", range(4))
def test_balls(block: int) -> None:
    """Of each cell, not of those that were met before.

    The multipliers of balls come from iterations in doubles, so that the checkers may differ.
    """
    both_accept = rejected_by_both = 0
    for seed in (block, block + 4):
        rng = random.Random(seed)
        graph = deep(rng, False)
        net, box = network(graph, seed), [(Fraction(0), Fraction(1)), (Fraction(0), Fraction(1, 2))]
        center = [Fraction(rng.randint(0, 8), 8), Fraction(rng.randint(0, 4), 8)]
        ball = Ball(rng.choice(("l1", "l2")), center, Fraction(rng.randint(2, 9), 32))
        middle = evaluate(graph, center)[0][0]
        leaf = ("rule", [(0, 1), (1, rng.randint(1, 9))])
        for slack in (Fraction(1, 2), 2, 5, 9, 14, 20, 30, 60):
            system = System(box, [at_most(middle + slack, False)], ball)
            compiled = False
            for some in (LEAF, leaf):
                data = unsat(graph, net.digest, [system], tree(box, 3, [1], some)).to_bytes()
                verdicts = [pv.check(data, net, python=python) for python in (False, True)]
                assert verdicts[0] or not verdicts[1], (seed, slack)
                compiled = compiled or verdicts[0].accepted
                both_accept += verdicts[1].accepted
                rejected_by_both += not verdicts[0]
            if compiled:
                assert full(graph, [system]) is not None
                break
    assert both_accept
    assert rejected_by_both


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(40))
def test_what_known_units_round_is_not_forgotten(seed: int) -> None:
    """Large known units cancel up to x / 4 - 1 / 8, which is lost in what doubles round.

    A unit reads it: if doubles were believed it would seem to be 0 in half of these networks.
    """
    rng = random.Random(seed)
    count, scale = 16, 1 << rng.randint(40, 60)
    first = [[Fraction(rng.randint(1, scale), 7), Fraction(rng.randint(scale, 2 * scale), 3)]
             for _ in range(count)]  # fmt: skip
    factors = [Fraction(rng.randint(-1 << 20, 1 << 20), 5) for _ in range(count)]
    slope = Fraction(1, 4) - sum(c * a for c, (a, _) in zip(factors, first, strict=True))
    bias = Fraction(-1, 8) - sum(c * b for c, (_, b) in zip(factors, first, strict=True))
    graph = Graph(
        1,
        (
            linear(0, first),
            ("units", 1, [RELU] * count),
            ("linear", (2, 0), [([*enumerate(factors), (count, slope)], bias)]),
            ("units", 3, [RELU]),
            linear(4, [[1, 0]]),
        ),
    )
    net, box = network(graph, seed), [(Fraction(0), Fraction(1))]
    assert evaluate(graph, [Fraction(1)])[0][0] == Fraction(1, 8)
    for value in (Fraction(0), Fraction(1, 9)):
        system = System(box, [at_most(value, True)])
        for depth in (1, 2, 3):
            proof = unsat(graph, net.digest, [system], tree(box, depth, [1], LEAF))
            assert rejected(proof.to_bytes(), net)


# Fifteen units that are active on [0, 1], beside those of a test.
MANY = [[1, 1] for _ in range(15)]


def beside(rows: Sequence[Any], outputs: Sequence[Any]) -> Graph:
    top = [[*row[:-1], *([0] * (len(MANY) - 1)), row[-1]] for row in outputs]
    units = ("units", 1, [RELU] * (len(rows) + len(MANY)))
    return Graph(1, (linear(0, [*rows, *MANY]), units, linear(2, top)))


def test_a_unit_that_was_left_out_may_be_split() -> None:
    """x >= 0 on [0, 1]: the piece 0 of max(x, 0) leaves nothing of [1/8, 1], as bounds show."""
    # y = 2 - 4 max(x, 0) + 3 x; the unit x - 1/3 stays.
    graph = beside([[1, 0], [1, Fraction(-1, 3)]], [[-4, 0, 3, -1]])
    net, system = network(graph), System([(Fraction(0), Fraction(1))], [])
    system.rows.append(at_most(Fraction(5, 2), False))
    # Rule 0 is exact about x >= 0.
    first, left = [("bounds", 0), ("bounds", 1), ("input", 0, 1, 8)], [LEAF]
    records = [*first, *left, ("unit", 0), LEAF, ("bounds", 1), LEAF]
    assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
    del records[-2]
    assert rejected(unsat(graph, net.digest, [system], records).to_bytes(), net)


def test_bounds_where_rows_hold_below_bounds_that_hold_everywhere() -> None:
    """x <= 1/4 where the rows hold: there the unit x - 1/3 is inactive."""
    graph = beside([[1, Fraction(-1, 3)]], [[10, 0, 0], [0, 1, -1]])
    net = network(graph)
    rows = [at_most(Fraction(1, 10), False), Row({}, {1: 1}, Fraction(1, 4), False)]
    system = System([(Fraction(0), Fraction(1))], rows)
    for rule, good in ((1, False), (3, True)):
        records = [("bounds", 1), ("input", 0, 1, 2), ("bounds", rule), LEAF, ("rule", [(1, 1)])]
        assert both(unsat(graph, net.digest, [system], records).to_bytes(), net).accepted == good


def test_the_next_tree_is_about_the_whole_network() -> None:
    """On [0, 1] the last unit reads 1/2 - x, and on [2, 3], the second tree's, x - 5/2."""
    first = beside([[-1, Fraction(3, 2)], [1, 0]], [[2, 1, 0, Fraction(-5, 2)]])
    graph = Graph(1, (*first.nodes, ("units", 3, [RELU]), linear(4, [[1, 0]])))
    net = network(graph)
    boxes = [(Fraction(0), Fraction(1))], [(Fraction(2), Fraction(3))]
    start: Records = [("bounds", 0), ("bounds", 1)]
    for value, good in ((Fraction(1, 4), False), (Fraction(3, 4), True)):  # y = 1/2 at 3
        one, two = (
            System(box, [at_most(v, False)]) for box, v in zip(boxes, (2, value), strict=True)
        )
        records = [*start, ("input", 0, 1, 2), LEAF, ("bounds", 1), LEAF, *start, LEAF]
        proof = unsat(graph, net.digest, [one, two], records)
        assert both(proof.to_bytes(), net).accepted == good


CROWD = """
import resource
from fractions import Fraction
from dual_cases import network, at_most
from dual_proof_tools import System, unsat
from oracle_graph import Graph
from tree_cases import linear


def report(sizes, known, steps, extra):
    \"""The verdict on a path on which every split may keep a network, and megabytes.\"""
    free, more = sizes
    first = [[1, Fraction(-(i + 1), 8 * free)] for i in range(free)] + [[1, 1]] * known
    second = [[*((i + j) % 2 * 2 - 1 for i in range(free)), *[0] * (known + 1)]
              for j in range(more)]
    units = lambda node, count: ("units", node, [Fraction(0)] * count)
    top = (linear(4, [[1] * more + [0]]) if more else linear(2, [[1] * (free + known) + [0]]))
    middle = [linear(2, second), units(3, more)] if more else []
    graph = Graph(1, (linear(0, first), units(1, free + known), *middle, top))
    net = network(graph)
    system = System([(Fraction(0), Fraction(1))], [at_most(Fraction(0), False)])
    records = []
    for k in range(steps):
        records += [("bounds", 1), ("input", 0, 4 * steps - k - 1, 4 * steps), *extra(k)]
    leaves = 1 + sum(r[0] in ("input", "unit") for r in records)
    proof = unsat(graph, net.digest, [system], [*records, *[("rule", [(0, 1)])] * leaves])
    data = proof.to_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert pv.check(data, net).reason == "a leaf proves nothing"
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)


"""


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
@pytest.mark.parametrize(
    ("most", "case"),
    [
        (100, "(8000, 0), 0, 1, lambda k: []"),
        (250, "(6000, 0), 6000, 200, lambda k: [('bounds', 3), ('input', 0, 1597 - 2 * k, 1600)]"),
        (100, "(300, 300), 600, 300, lambda k: [('unit', 300 + k)]"),
    ],
    ids=["many units", "two rules in turn", "known units"],
)
def test_what_is_kept_is_limited(most: int, case: str) -> None:
    """Megabytes of short proofs, longer ones of which would have the checker keep gigabytes."""
    assert int(limited("RLIMIT_AS", 1 << 33, f"{CROWD}report({case})")) < most
