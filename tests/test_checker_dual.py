"""Both checkers of dual trees accept what is true and proven, and nothing else; they always agree.

Proofs are written by `dual_proof_tools`, which also decides what is true, in exact fractions.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dual_cases import (
    NAMES,
    RELU,
    RESIDUAL,
    TINY,
    at_most,
    both,
    cube,
    graphs,
    network,
    rejected,
    small_random,
)
from dual_proof_tools import (
    Row,
    System,
    box_json,
    encode,
    full,
    halved,
    maximum,
    numbering,
    property_json,
    slopes,
    unsat,
    with_body,
)
from oracle_graph import Graph, evaluate
from proof_tools import big, unpack
from tree_cases import MAXIMA, TIES, dense, linear

import plverify as pv
from plverify.checker_bounds import Bounds, Given
from plverify.exact_array import ExactRows
from plverify.network import Network
from plverify.nodes import Dense, Sparse, Units
from plverify.property import Constraint, Disjunct, Property

# --------------------------------------------------------------------------------- what is true


def check_maximum_of(graph: Graph, seed: int = 0) -> None:
    """``y_0 <= v`` for the exact maximum v, and nothing sharper than that."""
    net, box = network(graph, seed), cube(graph.inputs)
    top, _ = maximum(graph, box, {}, {0: 1})
    sharp = System(box, [at_most(top, True)])
    records = full(graph, [sharp])
    assert records is not None
    assert both(unsat(graph, net.digest, [sharp], records).to_bytes(), net)
    # The same tree proves no false statement: no other threshold, strictness, box.
    low, high = box[0]
    wide = [(low, high + Fraction(1, 2**52)), *box[1:]], [(low - TINY, high), *box[1:]]
    false = [
        System(box, [at_most(top, False)]),
        System(box, [at_most(top - TINY, True)]),
        System(box, [at_most(top - TINY, False)]),
        System(box, []),
        *(System(b, [at_most(top, True)]) for b in wide),
    ]
    for system in false:
        decided = full(graph, [system])
        proof = unsat(graph, net.digest, [system], records)
        if decided is None:
            assert rejected(proof.to_bytes(), net)
        else:
            both(proof.to_bytes(), net)
            assert both(unsat(graph, net.digest, [system], decided).to_bytes(), net)
    system = System(box, [at_most(top + TINY, False)])
    decided = full(graph, [system])
    assert decided is not None
    assert both(unsat(graph, net.digest, [system], decided).to_bytes(), net)


@pytest.mark.sanitize
@pytest.mark.parametrize("name", NAMES)
def test_true_statements_are_accepted_and_false_ones_are_not(name: str) -> None:
    check_maximum_of(graphs()[name])


@pytest.mark.parametrize("block", range(4))
def test_random_networks(block: int) -> None:
    seen = 0
    for seed in range(100 * block, 100 * block + 20):
        graph = small_random(seed)
        if graph is not None:
            check_maximum_of(graph, seed)
            seen += 1
    assert seen >= 2


def random_system(rng: random.Random, graph: Graph) -> System:
    """A box, some of whose sides may be missing or equal, and a few rows."""
    box: list[Any] = []
    for _ in range(graph.inputs):
        lo = Fraction(rng.randint(-6, 3), rng.choice((1, 2, 3)))
        hi = lo + Fraction(rng.randint(0, 6), rng.choice((1, 2, 5)))
        box.append((lo if rng.random() < 0.9 else None, hi if rng.random() < 0.9 else None))
    rows = []
    for _ in range(rng.randint(1, 3)):
        inputs = {rng.randrange(graph.inputs): rng.choice((-1, 2))} if rng.random() < 0.4 else {}
        outputs = {j: rng.randint(-3, 3) for j in range(graph.sizes[-1])}
        outputs = {j: c for j, c in outputs.items() if c} or {0: 1}
        first = next(iter(outputs))
        outputs[first] = 1 if outputs[first] > 0 else -1  # coprime
        bound = Fraction(rng.randint(-40, 8), rng.choice((1, 4, 7)))
        rows.append(Row(inputs, outputs, bound, rng.random() < 0.5))
    return System(box, rows)


def test_random_properties() -> None:
    rng = random.Random(3)
    outcomes: list[bool] = []
    for name in NAMES[:-2] * 4:
        graph = graphs()[name]
        net = network(graph, rng.randrange(9))
        systems = [random_system(rng, graph) for _ in range(rng.randint(1, 3))]
        trees = [full(graph, [system]) for system in systems]
        outcomes.append(None not in trees)
        guess = [record for tree in trees for record in tree or [("rule", [(0, 1)])]]
        verdict = both(unsat(graph, net.digest, systems, guess).to_bytes(), net)
        assert verdict.accepted == outcomes[-1], name
    assert set(outcomes) == {True, False}


def test_no_disjunct_and_no_tree() -> None:
    graph = graphs()["relu"]
    net = network(graph)
    assert both(unsat(graph, net.digest, [], []).to_bytes(), net)
    assert rejected(unsat(graph, net.digest, [], [("rule", [])]).to_bytes(), net, "follow")
    system = System(cube(2), [at_most(Fraction(1000), False)])
    assert rejected(unsat(graph, net.digest, [system], []).to_bytes(), net, "truncated")
    assert rejected(unsat(graph, net.digest, [system], [("rule", [])]).to_bytes(), net, "nothing")


def test_another_network_is_refused() -> None:
    one, other = network(graphs()["relu"]), network(graphs()["mixed"])
    box = cube(2)
    top, _ = maximum(graphs()["relu"], box, {}, {0: 1})
    system = System(box, [at_most(top, True)])
    records = full(graphs()["relu"], [system])
    assert records is not None
    data = unsat(graphs()["relu"], one.digest, [system], records).to_bytes()
    assert both(data, one)
    assert rejected(data, other, "another network")


# --------------------------------------------------------------------------- rules, bounds, slopes


@pytest.mark.sanitize
@pytest.mark.parametrize("rules", [[0], [1], [3], [1, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_halvings_prove_what_has_a_margin(name: str, rules: list[int]) -> None:
    graph = graphs()[name]
    net, box = network(graph), cube(graph.inputs)
    top, _ = maximum(graph, box, {}, {0: 1})
    outcomes = []
    for depth in (0, 2, 5):
        for margin in (Fraction(-1, 100), Fraction(1, 4), Fraction(100)):
            system = System(box, [at_most(top + margin, False)])
            records = halved(system, depth, rules, ("rule", [(0, 3)]))
            verdict = both(unsat(graph, net.digest, [system], records).to_bytes(), net)
            outcomes.append(verdict.accepted)
            assert not verdict or margin > 0
    assert outcomes[-1]


def leaf_bound(graph: Graph, net: Network, records: list[Any], m: int) -> Fraction:
    """What the leaf proves about ``-y_0`` times m, in the words of the Python checker."""
    bounds = Bounds(net.exact_net)
    box = checker_box(cube(graph.inputs))
    cell = bounds.start(box)
    for record in records[:-1]:
        cell = bounds.propagate(cell) if record == ("bounds", 0) else cell
    kind, *rest = records[-1]
    given = None
    if kind != "rule":
        envelopes = rest[3] if kind == "envelope" else []
        given = Given(dict(rest[2]), {unit: numbers(terms) for unit, terms in envelopes})
    grad = [0] * graph.sizes[-1]
    grad[0] = -m
    out = bounds.least(cell, {len(graph.nodes): (grad, 1)}, Fraction(0), given, {})
    assert isinstance(out, Fraction)
    return out


def numbers(terms: Any) -> dict[int, Fraction]:
    shift, terms = terms if isinstance(terms, tuple) else (8, terms)
    return {point: Fraction(value, 1 << shift) for point, value in terms}


def checker_box(box: Any) -> Any:
    from plverify.checker_claims import Box

    return Box(tuple(lo for lo, _ in box), tuple(hi for _, hi in box))


def with_envelopes(rng: random.Random, graph: Graph, leaf: Any) -> Any:
    """The leaf with any shares for some units in place of their multipliers."""
    _, e, rows, v = leaf
    units = []
    points = graph.inputs + len(numbering(graph))
    window = [node[0] == "max" for node in graph.nodes if node[0] != "linear" for _ in node[2]]
    first_of_node: list[int] = []
    for node in graph.nodes:
        if node[0] != "linear":
            first_of_node += [len(first_of_node)] * len(node[2])
    for unit, (own, slots) in enumerate(numbering(graph)):
        if rng.random() < 0.3:
            continue
        v = [term for term in v if not own <= term[0] < own + slots]
        some = sorted(rng.sample(range(points), rng.randint(0, points)))
        if window[unit]:
            some = [point for point in some if point < graph.inputs + first_of_node[unit]]
            terms = [(point, rng.randint(-40, 40) or 1) for point in some]
            units.append((unit, (rng.randint(0, 6), terms)))
        else:
            units.append((unit, [(point, rng.randint(1, 256)) for point in some]))
    return ("envelope", e, rows, v, units)


@pytest.mark.parametrize("seed", range(40))
def test_an_envelope_is_a_bound(seed: int) -> None:
    """Whatever its shares are: no point of the box is below."""
    rng = random.Random(seed)
    graph = small_random(seed) or graphs()[rng.choice(["relu", "mixed", "residual"])]
    net, box = network(graph, seed), cube(graph.inputs)
    v = [(k, rng.choice((-1, 1)) << rng.randint(0, 3)) for k in range(len(numbering(graph)))]
    for _ in range(5):
        leaf = with_envelopes(rng, graph, ("dual", 0, [(0, 1)], v))
        bound = leaf_bound(graph, net, [("bounds", 0), leaf], 1)
        for _ in range(30):
            x = [rng.choice((lo, hi, Fraction(rng.randint(-8, 8), 8))) for lo, hi in box]
            assert -evaluate(graph, x)[0][0] >= bound


def test_an_envelope_is_exact_for_one_unit() -> None:
    """Of one unit over two inputs it attains the largest value, and below a line as well."""
    graph = Graph(2, (linear(0, [[2, 1, -1]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    net = network(graph)
    faces = [(0, 128)], [(1, 256)], [(0, 64), (1, 128)], []
    for shares in faces:
        assert leaf_bound(graph, net, [("envelope", 0, [(0, 1)], [], [(0, shares)])], 1) == -2
    bad = ("envelope", 0, [(0, 1)], [], [(0, [(0, 256), (1, 256)])])
    assert leaf_bound(graph, net, [bad], 1) == -6
    # On the cell where the unit is active only that piece counts.
    system = System(cube(2), [at_most(Fraction(2), True)])
    for records, good in (([bad], False), ([("unit", 0), bad, ("rule", [(0, 1)])], True)):
        proof = unsat(graph, net.digest, [system], [("bounds", 0), *records])
        assert both(proof.to_bytes(), net).accepted == good


@pytest.mark.parametrize(
    ("units", "why"),
    [
        ([(7, [])], "not in order"),
        ([(0, [(0, 257)])], "out of range"),
        ([(0, [(0, 0)])], "out of range"),
        ([(0, [(2, 1), (2, 1)])], "not in order"),
        ([(0, [(0, 1)]), (0, [])], "not in order"),
        ([(0, [(99, 1)])], "not in order"),
    ],
)
def test_envelopes_that_are_malformed(units: Any, why: str) -> None:
    graph = Graph(2, (linear(0, [[2, 1, -1]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    net = network(graph)
    system = System(cube(2), [at_most(Fraction(-9), True)])
    proof = unsat(graph, net.digest, [system], [("envelope", 0, [(0, 1)], [], units)])
    assert rejected(proof.to_bytes(), net, why)
    listed = unsat(graph, net.digest, [system], [("envelope", 0, [(0, 1)], [(0, 1)], [(0, [])])])
    assert rejected(listed.to_bytes(), net, "a multiplier and an envelope")


def test_the_envelope_of_a_window_is_that_of_what_its_units_read() -> None:
    """max(0, x, y) over a square: of the corners 1 is the largest value; c is its average slope."""
    inner = linear(0, [[1, 0, 0], [0, 1, 0]])
    relu = ("units", 1, [RELU, RELU])
    graph = Graph(2, (inner, relu, ("max", (2,), [[0, 1]]), linear(3, [[1, 0]])))
    net = network(graph)
    for shift, terms, bound in (
        (0, [], -1),
        (1, [(0, 1), (1, 1)], -2),
        (2, [(0, 1), (1, 1)], Fraction(-3, 2)),
    ):
        leaf = ("envelope", 0, [(0, 1)], [], [(2, (shift, terms))])
        assert leaf_bound(graph, net, [("bounds", 0), leaf], 1) == bound
    # Of a window that is fixed one slot counts, and of a unit that is fixed its piece.
    bad = ("envelope", 0, [(0, 1)], [], [(2, (1, [(0, 1)]))])
    system = System(cube(2), [at_most(Fraction(1), True)])
    plain = ("rule", [(0, 1)])
    for records, good in (([bad], False), ([("unit", 2), bad, plain], True)):
        proof = unsat(graph, net.digest, [system], [("bounds", 0), *records])
        assert both(proof.to_bytes(), net).accepted == good
    for shift, terms, why in (
        (1 << 17, [], "exponent"),
        (0, [(0, 0)], "zero"),
        (0, [(9, 1)], "in"),
    ):
        leaf = ("envelope", 0, [(0, 1)], [], [(2, (shift, terms))])
        assert rejected(unsat(graph, net.digest, [system], [leaf]).to_bytes(), net, why)
    for later in (4, 5):
        leaf = ("envelope", 0, [(0, 1)], [], [(2, (0, [(later, 1)]))])
        proof = unsat(graph, net.digest, [system], [leaf])
        assert rejected(proof.to_bytes(), net, "after" if later == 4 else "in order")
    leaf = ("envelope", 0, [(0, 1)], [(3, 1)], [(2, (0, []))])
    assert rejected(unsat(graph, net.digest, [system], [leaf]).to_bytes(), net, "an envelope")


def test_the_envelope_of_a_row_that_reads_an_input_twice() -> None:
    """relu(x + x) is up to 2: the terms of a row add up, whatever computes with it."""
    rows = ExactRows.from_integers([[1, 1, 0]], [1])
    twice = Sparse((0,), np.array([[0, 0]], np.int32), rows)
    last = Dense(2, ExactRows.from_integers([[1, 0]], [1]))
    net = Network(1, [twice, Units(1, ((0, 0),)), last])
    graph = Graph(1, (linear(0, [[2, 0]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    leaf = ("envelope", 0, [(0, 1)], [], [(0, [(0, 128)])])
    for value, good in ((Fraction(3, 2), False), (Fraction(5, 2), True)):
        system = System(cube(1), [at_most(value, False)])
        proof = unsat(graph, net.digest, [system], [("bounds", 0), leaf])
        assert both(proof.to_bytes(), net).accepted == good


@pytest.mark.parametrize(("coefficient", "good"), [(1, True), (-7, False)])
def test_the_envelope_of_a_window_by_outputs_of_units(coefficient: int, good: bool) -> None:
    """max(x, -x) is at most 1; less a multiple of relu(x) it has another bound, for both alike."""
    ends = linear(0, [[1, 0], [-1, 0]])
    joined = ("linear", (4, 2), [([(0, Fraction(1)), (2, Fraction(0))], Fraction(0))])
    graph = Graph(1, (ends, ("units", 1, [RELU, RELU]), ends, ("max", (3,), [[0, 1]]), joined))
    net = network(graph)
    leaf = ("envelope", 0, [(0, 1)], [], [(2, (0, [(1, coefficient)]))])
    system = System(cube(1), [at_most(Fraction(5), False)])
    proof = unsat(graph, net.digest, [system], [("bounds", 0), leaf])
    assert both(proof.to_bytes(), net).accepted == good


def test_slopes_that_doubles_do_not_hold() -> None:
    """2^-1080 is 0 as a double, but not where the weights behind it are large enough."""
    scale = 10**96
    rows = [linear(k, [[-scale if k == 2 else scale, 0]]) for k in (2, 3, 4)]
    slope = Fraction(1, 2**1080)
    graph = Graph(1, (linear(0, [[1, 0]]), ("units", 1, [slope]), *rows))
    net = network(graph)
    box = [(Fraction(-(10**45)), Fraction(0))]
    top = -(scale**3) * slope * box[0][0]
    for value, good in ((Fraction(1), False), (top + 1, True)):
        proof = unsat(
            graph,
            net.digest,
            [System(box, [at_most(value, False)])],
            [("bounds", 0), ("dual", 0, [(0, 1)], [])],
        )
        assert both(proof.to_bytes(), net).accepted == good


def deep(seed: int) -> Graph:
    return dense(random.Random(seed), [2, 4, 3, 1])


@pytest.mark.parametrize("seed", range(20))
def test_statements_bound_unit_inputs(seed: int) -> None:
    """With any multipliers: what is stated holds at all points, for both checkers alike."""
    rng = random.Random(seed)
    graph = deep(seed)
    net, box = network(graph, seed), cube(2)
    which, shift = rng.randrange(8, 14), rng.choice((0, 2, 70))
    v = [(k, rng.randint(-2, 2) << shift or 1) for k in range(4)]
    leaf = with_envelopes(rng, graph, ("dual", 0, [], v))
    units = [one for one in leaf[4] if one[0] < 4]
    v = [term for term in v if term[0] not in dict(units)]
    statement = ("statement", which, shift, v, units)
    # The unit's own sign: what is stated shows a half of its split empty, or does not.
    bounds = Bounds(net.exact_net)
    cell = bounds.propagate(bounds.start(checker_box(box)))
    grad = [0] * 3
    sign = -1 if which % 2 else 1
    grad[which // 2 - 4] = sign << shift
    given = Given(dict(v), {unit: numbers(terms) for unit, terms in units})
    least = bounds.least(cell, {3: (grad, 1)}, Fraction(0), given, {})
    assert isinstance(least, Fraction)
    for _ in range(40):
        x = [rng.choice((lo, hi, Fraction(rng.randint(-8, 8), 8))) for lo, hi in box]
        hidden = evaluate(Graph(2, graph.nodes[:3]), x)[0]
        assert (sign << shift) * hidden[which // 2 - 4] >= least
    half = ("rule", [(0, 1)]), ("rule", [(0, 1)])
    system = System(box, [at_most(Fraction(10**6), False)])
    records = [("bounds", 0), statement, ("unit", which // 2), *half]
    assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)


def test_what_is_stated_once_serves_later_trees_of_the_box() -> None:
    """The unit is x - 1 <= 0: that is stated, or else both trees need a split."""
    size = linear(0, [[1, 0], [-1, 0]]), ("units", 1, [RELU, RELU]), linear(2, [[1, 1, -1]])
    graph = Graph(1, (*size, ("units", 3, [RELU]), linear(4, [[1, 0]])))
    net = network(graph)
    system = System(cube(1), [at_most(Fraction(0), False)])  # |x| - 1 <= 0
    other = System(cube(1, Fraction(1, 2)), [at_most(Fraction(0), False)])
    # relu(x) <= (x + 1) / 2 and relu(-x) <= (1 - x) / 2.
    stated = ("statement", 5, 1, [(0, -1), (1, -1)], [])
    leaf = ("rule", [(0, 1)])
    strict = System(cube(1), [at_most(Fraction(0), True)])
    tree = [("bounds", 0), stated, leaf]
    again = [("bounds", 2), leaf]
    for systems, records, good in (
        ([strict], tree, True),
        ([strict], [("bounds", 0), leaf], False),
        ([strict, strict], [*tree, *again], True),
        ([strict, strict], [*tree, ("bounds", 0), leaf], False),
        ([strict, other], [*tree, *again], False),
        ([strict], again, False),
        # Not what is stated of a part of the box, nor what is found there.
        ([strict, strict], [("input", 0, 1, 2), *tree, *tree, *again], False),
    ):
        proof = unsat(graph, net.digest, systems, records)
        assert both(proof.to_bytes(), net).accepted == good, records
    assert system != strict
    for which, shift, why in ((6, 0, "no such unit input"), (0, 1 << 17, "exponent")):
        records = [("statement", which, shift, [], []), leaf]
        assert rejected(unsat(graph, net.digest, [strict], records).to_bytes(), net, why)


@pytest.mark.parametrize("seed", range(40))
def test_both_checkers_compute_the_same_number(seed: int) -> None:
    """The bound of a leaf is exactly 0 after a shift: accepted only if strict; a hair decides."""
    rng = random.Random(seed)
    graph = small_random(seed) if seed % 2 else graphs()[rng.choice(["relu", "mixed", "residual"])]
    if graph is None or (graph is RESIDUAL):  # thirds: bounds are rounded, not the same digits
        graph = TIES if seed % 4 else graphs()["zero rows"]
    net, box = network(graph, seed), cube(graph.inputs)
    picks: dict[int, Fraction] = {}

    def choose(unit: int) -> Fraction:
        return picks.setdefault(unit, Fraction(rng.randint(0, 8), 8))

    v, m = slopes(graph, box, Row({}, {0: -1}, Fraction(0)), choose)
    leaves = [("rule", [(0, 1)]), ("dual", rng.randint(-99, 99), [(0, m)], v)]
    some = [(number, rng.choice((-1, 1)) << rng.randint(0, 90)) for number, _ in v]
    leaves.append(("dual", 0, [(0, m)], some))
    leaves += [with_envelopes(rng, graph, leaf) for leaf in leaves[1:]]
    for leaf in leaves:
        records = [("bounds", 0), leaf]
        scale = leaf[1][0][1] if leaf[0] == "rule" else m
        bound = -leaf_bound(graph, net, records, scale) / scale  # y_0 <= bound is what it proves
        for value, strict, good in (
            (bound, True, True),
            (bound, False, False),
            (bound + Fraction(1, 10**40), False, True),
            (bound - Fraction(1, 10**40), True, False),
        ):
            proof = unsat(graph, net.digest, [System(box, [at_most(value, strict)])], records)
            assert both(proof.to_bytes(), net).accepted == good


def test_a_cell_that_the_bounds_show_empty_needs_no_multiplier() -> None:
    inner = linear(0, [[1, 5], [1, -5]])
    graph = Graph(1, (inner, ("units", 1, [RELU, RELU]), linear(2, [[1, 1, 0]])))
    net = network(graph)
    system = System(cube(1), [at_most(Fraction(7), False)])
    leaf = ("rule", [(0, 1)])
    for rule in (0, 1):
        records = [("bounds", rule), ("unit", 0), leaf, ("rule", [])]
        assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
        records = [("unit", 0), ("bounds", rule), leaf, ("bounds", rule), ("dual", 0, [], [])]
        assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
        # What is below an empty cell is read like everything else.
        records = [("unit", 0), ("bounds", rule), leaf, ("bounds", rule), ("dual", 0, [(1, 1)], [])]
        assert rejected(unsat(graph, net.digest, [system], records).to_bytes(), net, "constraint")


def test_a_window_whose_piece_cannot_win_is_an_empty_cell() -> None:
    graph = Graph(1, (linear(0, [[1, 5], [1, -5]]), ("max", (1,), [[0, 1]]), linear(2, [[1, 0]])))
    net = network(graph)
    system = System(cube(1), [at_most(Fraction(7), False)])
    records = [("bounds", 0), ("unit", 0), ("rule", [(0, 1)]), ("bounds", 1), ("rule", [])]
    assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
    records = [("unit", 0), ("bounds", 0), ("rule", [(0, 1)]), ("bounds", 0), ("rule", [])]
    assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
    records = [("unit", 0), ("bounds", 0), ("rule", []), ("bounds", 0), ("rule", [])]
    assert rejected(unsat(graph, net.digest, [system], records).to_bytes(), net, "nothing")


@pytest.mark.parametrize("sides", [(None, Fraction(1)), (Fraction(-1), None), (None, None)])
def test_inputs_without_bounds(sides: Any) -> None:
    """``|x| >= 0`` on an unbounded line; with an added x it is false somewhere."""
    graph = Graph(
        1, (linear(0, [[1, 0], [-1, 0]]), ("units", 1, [RELU, RELU]), linear(2, [[1, 1, 0]]))
    )
    net = network(graph)
    for value, strict in ((Fraction(0), True), (-TINY, False)):
        system = System([sides], [Row({}, {0: 1}, value, strict)])
        records = full(graph, [system])
        assert records is not None
        assert both(unsat(graph, net.digest, [system], records).to_bytes(), net)
        for rule in (0, 1):
            split = [("input", 0, 0, 1)]
            split += [("bounds", rule), ("rule", [(0, 1)])] * 2
            both(unsat(graph, net.digest, [system], split).to_bytes(), net)
    system = System([sides], [Row({}, {0: 1}, Fraction(0), False)])
    assert full(graph, [system]) is None
    assert rejected(unsat(graph, net.digest, [system], records).to_bytes(), net)


@pytest.mark.sanitize
def test_what_one_tree_says_about_sizes_is_no_help_to_the_next() -> None:
    """A leaf whose gradient, 2/5, vanishes in doubles; the tree before ends in a tiny cell."""
    graph = Graph(1, (linear(0, [[Fraction(1, 5), 0]]),))
    net, far = network(graph), Fraction(2**61)
    box = [(-far, Fraction(1, 2**60))]
    p = (2**55 + 2) // 5  # 2^55 / 5 is 2/5 less
    systems = [
        System(box, [at_most(Fraction(2**70), False)]),
        System(box, [Row({}, {0: -1}, Fraction(0)), Row({0: 1}, {}, Fraction(-1))]),
    ]
    first = [("input", 0, 0, 1), ("rule", [(0, 1)]), ("bounds", 0), ("rule", [(0, 1)])]
    leaf = ("rule", [(0, 2**55), (1, p)])
    proof = unsat(graph, net.digest, systems, [*first, leaf])
    for system in systems:  # one box that both share
        assert system.box is box
    proof.header["property"]["boxes"].pop()
    proof.header["property"]["disjuncts"][1]["box"] = 0
    assert rejected(proof.to_bytes(), net, "a leaf proves nothing")


# ------------------------------------------------------------------------------------ other claims


def sat_header(graph: Graph, net: Network, systems: Any, at: int, x: Any) -> dict[str, Any]:
    return {
        "claim": "sat",
        "network": net.digest,
        "definitions": "",
        "property": property_json(graph, systems),
        "disjunct": at,
        "witness": [str(v) for v in x],
    }


@pytest.mark.parametrize("name", NAMES)
def test_witnesses(name: str) -> None:
    graph = graphs()[name]
    net, box = network(graph), cube(graph.inputs)
    top, x = maximum(graph, box, {}, {0: 1})
    assert evaluate(graph, x)[0][0] == top
    other = System(cube(graph.inputs, 2), [at_most(top + 1000, False)])
    for value, strict, good in (
        (top, False, True),
        (top, True, False),
        (top - TINY, True, True),
        (top + TINY, False, False),
    ):
        systems = [other, System(box, [at_most(value, strict)])]
        header = sat_header(graph, net, systems, 1, x)
        assert both(with_body(header, b""), net).accepted == good
        assert rejected(with_body({**header, "disjunct": 0}, b""), net, "constraint")
        assert rejected(with_body({**header, "disjunct": 2}, b""), net, "disjunct")
        outside = [str(box[0][1] + TINY), *header["witness"][1:]]
        assert rejected(with_body({**header, "witness": outside}, b""), net)
        if good:
            assert rejected(with_body(header, b"\0"), net, "follow")


@pytest.mark.parametrize("name", ["relu", "mixed", "residual", "zero rows", "three inputs"])
def test_maxima(name: str) -> None:
    graph = graphs()[name]
    net, box = network(graph), cube(graph.inputs)
    inputs, outputs = {graph.inputs - 1: Fraction(-1, 2)}, {0: Fraction(3)}
    whole = {i: int(2 * a) for i, a in inputs.items()}, {j: int(2 * c) for j, c in outputs.items()}
    doubled, x = maximum(graph, box, *whole)
    top = doubled / 2
    row = Row(
        {i: -a for i, a in whole[0].items()}, {j: -c for j, c in whole[1].items()}, -doubled, True
    )
    records = full(graph, [System(box, [row])])
    assert records is not None
    header = {
        "claim": "maximum",
        "evidence": "tree",
        "network": net.digest,
        "definitions": "",
        "box": box_json(box),
        "objective": {
            "inputs": [[i, str(a)] for i, a in inputs.items()],
            "outputs": [[j, str(c)] for j, c in outputs.items()],
        },
        "value": str(top),
        "witness": [str(v) for v in x],
    }
    body = b"".join(map(encode, records))
    verdict = both(with_body(header, body), net)
    assert verdict
    assert f"exactly {top}" in verdict.claim
    for value in (top + TINY, top - TINY, -top if top else Fraction(1)):
        assert rejected(with_body({**header, "value": str(value)}, body), net, "attain")
    assert rejected(with_body({**header, "value": "0.5"}, body), net, "decimal")
    none = {"inputs": [], "outputs": []}
    assert rejected(with_body({**header, "objective": none}, body), net, "variable")
    wide = box_json([(box[0][0] - 1, box[0][1] + 1), *box[1:]])
    larger = maximum(graph, [(box[0][0] - 1, box[0][1] + 1), *box[1:]], *whole)[0] > doubled
    assert not larger or rejected(with_body({**header, "box": wide}, body), net)


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("name", ["relu", "mixed", "residual"])
def test_dead_units(name: str, piece: int) -> None:
    graph = graphs()[name]
    net = network(graph)
    accepted = refused = 0
    flat = [s if node[0] == "units" else None for node in graph.nodes if node[0] != "linear"
            for s in node[2]]  # fmt: skip
    for unit, slope in enumerate(flat):
        for half in (1, Fraction(1, 8)):
            box = cube(graph.inputs, half)
            row = Row({}, {}, Fraction(0), True, (unit, 1 if piece else -1))
            records = full(graph, [System(box, [row])])
            header = {
                "claim": "dead_units",
                "evidence": "tree",
                "network": net.digest,
                "definitions": "",
                "box": box_json(box),
                "units": [[unit, piece]],
            }
            guess = b"".join(map(encode, records or [("bounds", 1), ("rule", [(0, 1)])]))
            verdict = both(with_body(header, guess), net)
            assert verdict.accepted == (records is not None and slope != 1)
            accepted += verdict.accepted
            refused += not verdict
    assert refused
    assert accepted or name != "relu"
    number = len(numbering(graph))
    for units, why in (([[number, piece]], "unit"), ([[0, 2]], "piece"), ([0], "malformed"),
                       ([[0, 0], [0, 0]], "in order")):  # fmt: skip
        assert rejected(with_body({**header, "units": units}, guess), net, why)
    assert both(with_body({**header, "units": []}, b""), net)


def test_a_window_is_no_dead_unit() -> None:
    net = network(TIES)
    header = {
        "claim": "dead_units",
        "evidence": "tree",
        "network": net.digest,
        "definitions": "",
        "box": box_json(cube(2)),
        "units": [[0, 0]],
    }
    assert rejected(with_body(header, b"\0\0"), net, "window")


# --------------------------------------------------------------------------- the question and CLI


def test_the_property_asked_for_is_the_one_that_is_proven(tmp_path: Path) -> None:
    graph = graphs()["relu"]
    net, box = network(graph), cube(2)
    top, _ = maximum(graph, box, {}, {0: 1})
    spec = pv.Property.output_at_most(pv.Box([-1, -1], [1, 1]), 0, top)
    system = System(box, [at_most(top, True)])
    records = full(graph, [system])
    assert records is not None
    proof = unsat(graph, net.digest, [system], records)
    assert proof.header["property"] == json.loads(spec.to_json())
    assert both(proof.to_bytes(), net, spec)
    weaker = pv.Property.output_at_most(pv.Box([-1, -1], [1, 1]), 0, top + 1)
    assert "another property" in both(proof.to_bytes(), net, weaker).reason
    regions = pv.regions(net, pv.Box([-1, -1], [1, 1]), exact=True).proof()
    assert pv.check(regions, net)
    assert "about none" in pv.check(regions, net, spec).reason
    with pytest.raises(pv.InputError, match="expected a Property"):
        pv.check(regions, net, "spec.vnnlib")  # type: ignore[arg-type]


def test_files_are_checked_from_the_command_line(tmp_path, capsys) -> None:
    from plverify.cli import run

    weights = [[[1.0, -1.0], [0.5, 2.0]], [[1.0, 1.0]]]
    net = pv.Network.from_arrays(weights, [[0.0, 0.5], [0.0]])
    arrays = {f"W{k}": np.array(w) for k, w in enumerate(weights)}
    np.savez(tmp_path / "net.npz", **arrays, b0=np.array([0.0, 0.5]), b1=np.array([0.0]))
    spec = pv.Property.output_at_most(pv.Box([-1, -1], [1, 1]), 0, 100)
    (tmp_path / "spec.vnnlib").write_text(spec.to_vnnlib())
    other = pv.Property.output_at_most(pv.Box([-1, -1], [1, 1]), 0, 101)
    (tmp_path / "other.vnnlib").write_text(other.to_vnnlib())
    header = {
        "claim": "unsat",
        "evidence": "tree",
        "network": net.digest,
        "definitions": "",
        "property": json.loads(spec.to_json()),
    }
    (tmp_path / "proof").write_bytes(with_body(header, b"\4\1\0\1\0" + big(1)))
    files = [str(tmp_path / name) for name in ("proof", "net.npz", "spec.vnnlib")]
    for more in ([], ["--python"]):
        assert run(["check", *files, *more]) == 0
        output = capsys.readouterr().out
        assert "accepted" in output
        assert "SHA-256" in output
    assert run(["check", *files[:2], str(tmp_path / "other.vnnlib")]) == 1
    assert "another property" in capsys.readouterr().out


def test_maxima_of_windows_have_the_true_maximum() -> None:
    box = cube(3)
    top, x = maximum(MAXIMA, box, {}, {0: 1})
    assert evaluate(MAXIMA, x)[0][0] == top


def test_bounds_of_one_tree_are_not_those_of_a_child_of_another() -> None:
    """The compiled checker keeps what trees of one box begin with, up to their first split."""
    net = Network.from_arrays([[[-1.0]], [[1.0]]], [[1.0], [0.0]])  # relu(1 - x)
    box = pv.Box(0, 1, 1)
    large = Property(1, 1, (Disjunct(box, (Constraint((), ((0, -1),), Fraction(-2)),)),))
    rows = (
        Constraint((), ((0, -1),), Fraction(-2, 5)),
        Constraint(((0, -2),), ((0, -1),), Fraction(-3, 2)),  # on the graph: x >= 1/2
    )
    spec = large | Property(1, 1, (Disjunct(box, rows),))  # the second holds at 1/2
    header, _ = unpack(pv.verify(net, large, proof=True).proof)
    header |= {"property": json.loads(spec.to_json())}
    tree = [("bounds", 1), ("input", 0, 9, 10), ("rule", [(0, 1)])]
    tree += [("bounds", 1), ("rule", [(0, 1)])]
    other = [("bounds", 1), ("input", 0, 1, 4), ("rule", [(1, 1)])]
    other += [("bounds", 1), ("dual", 0, [(0, 1000)], [(0, -1)])]
    body = b"".join(map(encode, tree + other))
    assert rejected(with_body(header, body), net, "a leaf proves nothing")


# ------------------------------------------------------------------------- rounding that adds up


def test_many_rows_in_a_leaf_round_as_often() -> None:
    """y = 3/2 and a bit satisfies all rows; 3,000 roundings one way say that nothing does."""
    graph = Graph(1, (linear(0, [[1, 0]]), ("units", 1, [RELU]), linear(2, [[1, 0]])))
    net, rng, count = network(graph), random.Random(1), 3000
    least = Fraction(3, 2) + Fraction(1, 3 << 20)
    rows, used, lower = [], [], 0.0
    for k in range(count):
        bound = least + Fraction(k, 1 << 75)
        gains = []
        for m in (rng.randrange(1 << 40, 1 << 41) for _ in range(12)):
            new = lower - float(m) * float(bound)
            gains.append(((Fraction(new) - Fraction(lower) + m * bound) / m, m, new))
        _, m, lower = max(gains)
        rows.append(Row({}, {0: 1}, bound, False))
        used.append((k, m))
    rows.append(Row({}, {0: -1}, -least, False))
    used.append((count, sum(m for _, m in used)))
    system = System([(Fraction(0), Fraction(2))], rows)
    leaf = ("dual", 0, used, [])
    proof = unsat(graph, net.digest, [system], [("bounds", 0), ("unit", 0), leaf, leaf])
    assert rejected(proof.to_bytes(), net, "proves nothing")


def test_a_window_rounds_at_its_bounds_and_not_at_what_the_cell_leaves() -> None:
    """x = 0 satisfies all rows; at bounds near 2^40 large terms of both signs meet."""
    slots = 8
    window = ("max", (1,), [list(range(slots))])
    graph = Graph(1, (linear(0, [[1, 0]] * slots), window, linear(2, [[1, 0]])))
    net = network(graph)
    v = [484232373192494, 243932146516233, 242350442771478, 400472755323449,
         503289351054313, 128158329881787, 556370120535742, 376400679075640]  # fmt: skip
    low, high = (
        Fraction(float.fromhex(f"0x1.{digits}p+40"))
        for digits in ("77c409c7b4784", "dd4f075a28adb")
    )
    rows = [Row({0: -1}, {0: 1}, Fraction(100153, 475313583), False),
            Row({0: 1}, {}, Fraction(1), False), Row({0: -1}, {}, Fraction(1), False)]  # fmt: skip
    system = System([(-low, high)], rows)
    leaf = ("dual", 0, [(0, sum(v))], list(enumerate(v)))
    records = [("bounds", 0), ("input", 0, 2, 1), ("input", 0, -2, 1), ("rule", [(2, 1)]), leaf,
               ("rule", [(1, 1)])]  # fmt: skip
    proof = unsat(graph, net.digest, [system], records)
    assert rejected(proof.to_bytes(), net, "proves nothing")
