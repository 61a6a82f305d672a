"""Rule 3 of bounds: what holds where a system's constraints do, for that system and no other."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from dual_cases import NAMES, RELU, at_most, both, cube, graphs, network, rejected, small_random
from dual_proof_tools import Row, System, full, halved, numbering, unsat
from oracle_graph import Graph, evaluate
from tree_cases import linear

import plverify as pv
from plverify.checker_bounds import Bounds, Cell
from plverify.checker_claims import Box
from plverify.domain import Box as Domain
from plverify.network import Network

RULE = ("rule", [(0, 1)])


def rows_of(rng: random.Random, graph: Graph, points: list[list[Fraction]]) -> list[Row]:
    """A few rows, near the values that outputs have at a point."""
    y = evaluate(graph, rng.choice(points))[0]
    rows = []
    for _ in range(rng.randint(1, 3)):
        j = rng.randrange(graph.sizes[-1])
        sign = rng.choice((1, -1))
        slack = Fraction(rng.randint(-2, 6), rng.choice((8, 64)))
        rows.append(Row({}, {j: sign}, sign * y[j] + slack, rng.random() < 0.3))
    return rows


def sample(rng: random.Random, box: Any, count: int) -> list[list[Fraction]]:
    some = (Fraction(k, 16) for k in range(17))
    parts = list(some)
    return [[lo + rng.choice(parts) * (hi - lo) for lo, hi in box] for _ in range(count)]


def unit_inputs(graph: Graph, x: list[Fraction]) -> list[Fraction]:
    """The values of all unit inputs at a point."""
    tensors = [x]
    out: list[Fraction] = []
    for node in graph.nodes:
        value = evaluate(Graph(graph.inputs, (*graph.nodes[: len(tensors)],)), x)[0]
        if node[0] == "units":
            out += tensors[node[1]]
        elif node[0] == "max":
            joined = [v for source in node[1] for v in tensors[source]]
            out += [joined[j] for window in node[2] for j in window if j >= 0]
        tensors.append(list(value))
    return out


def narrowed(graph: Graph, net: Network, system: System, rules: list[int]) -> Cell:
    """The bounds of a box by the Python checker."""
    bounds = Bounds(net.exact_net)
    cell = bounds.start(Box(*zip(*system.box, strict=True)))
    where = []
    for row in system.rows:
        grad = [0] * graph.sizes[-1]
        for j, c in row.outputs.items():
            grad[j] = c
        where.append(({len(graph.nodes): (grad, 1)}, -row.bound))
    for rule in rules:
        if cell.empty:
            break
        cell = (
            bounds.propagate(cell)
            if rule == 0
            else bounds.substitute(cell, where[:8] * (rule == 3))
        )
    return cell


@pytest.mark.parametrize("seed", range(40))
def test_bounds_hold_where_the_constraints_do(seed: int) -> None:
    rng = random.Random(seed)
    graph = small_random(seed) or graphs()[rng.choice(["relu", "mixed", "residual", "thirds"])]
    net, box = network(graph, seed), cube(graph.inputs)
    points = sample(rng, box, 60)
    system = System(box, rows_of(rng, graph, points))
    cell = narrowed(graph, net, system, [1, 3, 3])
    inside = [
        x for x in points if all(row_holds(row, evaluate(graph, x)[0]) for row in system.rows)
    ]
    assert not (cell.empty and inside)
    for x in inside:
        values = unit_inputs(graph, x)
        assert len(values) == len(cell.lo) == sum(slots for _, slots in numbering(graph))
        for lo, z, hi in zip(cell.lo, values, cell.hi, strict=True):
            assert lo <= z <= hi


def row_holds(row: Row, y: Any) -> bool:
    value = sum(c * y[j] for j, c in row.outputs.items())
    return value < row.bound if row.strict else value <= row.bound


@pytest.mark.sanitize
@pytest.mark.parametrize("block", range(4))
def test_only_what_is_true_is_accepted(block: int) -> None:
    """By both checkers alike, and more than with rule 1."""
    plain = better = 0
    for seed in range(40 * block, 40 * block + 40):
        rng = random.Random(seed)
        graph = graphs()[rng.choice([name for name in NAMES if name != "no unit"])]
        net, box = network(graph, seed % 5), cube(graph.inputs)
        system = System(box, rows_of(rng, graph, sample(rng, box, 3)))
        leaf = ("rule", [(k, 1) for k in range(len(system.rows))])
        verdicts = []
        for rules in ([1, 1, 1], [1, 3, 3]):
            records = halved(system, rng.randint(0, 3), rules, leaf)
            proof = unsat(graph, net.digest, [system], records)
            verdicts.append(both(proof.to_bytes(), net).accepted)
        if any(verdicts):
            assert full(graph, [system]) is not None
        plain += verdicts[0]
        better += verdicts[1]
    assert better >= plain


def test_a_thin_set_needs_no_splits() -> None:
    """x = 1/2 where the constraints hold: there the unit x - 1/4 is active."""
    first = linear(0, [[1, Fraction(-1, 4)], [1, 1]])
    graph = Graph(1, (first, ("units", 1, [RELU, RELU]), linear(2, [[1, 0, 0], [0, 1, 0]])))
    net = network(graph)
    rows = [Row({}, {1: 1}, Fraction(3, 2), False), Row({}, {1: -1}, Fraction(-3, 2), False),
            Row({}, {0: 1}, Fraction(1, 5), False)]  # fmt: skip
    system = System(cube(1), rows)
    leaf = ("rule", [(0, 1), (2, 1)]), ("rule", [(1, 1), (2, 1)])
    for rule, good in ((1, False), (3, True)):
        records = [("bounds", 1), ("bounds", rule), leaf[1]]
        assert both(unsat(graph, net.digest, [system], records).to_bytes(), net).accepted == good


def test_it_says_nothing_about_other_systems() -> None:
    """What is stated behind it serves no other tree."""
    graph = Graph(1, (linear(0, [[1, 0]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    net = network(graph)
    # Where y >= 1/2 the unit is active; y <= 1/4 is another matter.
    first = System(cube(1), [Row({}, {0: -1}, Fraction(-2), False)])
    second = System(cube(1), [Row({}, {0: 1}, Fraction(1, 4), False)])
    state = ("statement", 0, 0, [], [])
    records = [("bounds", 1), ("bounds", 3), state, RULE, ("bounds", 2), RULE]
    proof = unsat(graph, net.digest, [first, second], records)
    assert rejected(proof.to_bytes(), net, "no bounds were stated")
    # Stated before it, bounds are those of the box alone: the second tree proves nothing.
    records = [("bounds", 1), state, ("bounds", 3), RULE, ("bounds", 2), RULE]
    proof = unsat(graph, net.digest, [first, second], records)
    assert rejected(proof.to_bytes(), net, "proves nothing")
    # Nor does it reach the first bounds of the next tree, which are those of this one else.
    for again in ([], [("bounds", 3)]):
        records = [("bounds", 1), ("bounds", 3), RULE, ("bounds", 1), *again, RULE]
        proof = unsat(graph, net.digest, [first, second], records)
        stated = proof.header["property"]  # about one box
        stated["boxes"] = stated["boxes"][:1]
        for case in stated["disjuncts"]:
            case["box"] = 0
        assert rejected(proof.to_bytes(), net, "proves nothing")


def test_networks_of_many_inputs_are_refused() -> None:
    n = 17
    graph = Graph(n, (linear(0, [[1] * n + [0]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    net = network(graph)
    system = System(cube(n), [at_most(Fraction(99), False)])
    proof = unsat(graph, net.digest, [system], [("bounds", 3), RULE])
    assert rejected(proof.to_bytes(), net, "too many inputs")
    fine = unsat(graph, net.digest, [system], [("bounds", 1), RULE])
    assert both(fine.to_bytes(), net)


def test_many_inputs_of_which_few_vary() -> None:
    """Rule 3 is for networks of at most 16 inputs, however few vary: the search does without."""
    rng = random.Random(5)
    sizes = [20, 8, 8, 1]
    weights = [[[rng.randint(-4, 4) for _ in range(a)] for _ in range(b)]
               for a, b in pairwise(sizes)]  # fmt: skip
    net = Network.from_arrays(weights)
    box = Domain([-1, -1] + [0] * 18, [1, 1] + [0] * 18)
    for value in (30, 60):
        spec = pv.Property.from_rows(box, None, [[-1]], [-value])
        found = pv.verify(net, spec, proof=True, float32=False, timeout=60)
        assert found.status == "unsat", found.reason
        assert found.nodes > 1
        assert pv.check(found.proof, net, spec)


@pytest.mark.parametrize("seed", range(12))
def test_the_search_agrees_with_exact_programs(seed: int) -> None:
    """Thin sets: outputs within a hair of what they are at a point, or of no point."""
    rng = random.Random(seed)
    graph = graphs()[rng.choice(["thirds", "three inputs"])]
    net, box = network(graph, seed), cube(graph.inputs)
    x = sample(rng, box, 1)[0]
    for shift in (Fraction(0), Fraction(1, 1000), Fraction(3), Fraction(1, 10**9)):
        y = [v + shift for v in evaluate(graph, x)[0]]
        width = Fraction(1, 10 ** rng.choice((3, 9, 14)))
        rows = [Row({}, {j: s}, s * v + width, False) for j, v in enumerate(y) for s in (1, -1)]
        system = System(box, rows)
        spec = pv.Property.from_rows(
            Domain([lo for lo, _ in box], [hi for _, hi in box]),
            None,
            [[s * (i == j) for i in range(len(y))] for j in range(len(y)) for s in (1, -1)],
            [row.bound for row in rows],
        )
        found = pv.verify(net, spec, proof=True, float32=False)
        wanted = "sat" if full(graph, [system]) is None else "unsat"
        assert found.status == wanted
        assert both(found.proof, net, spec)
