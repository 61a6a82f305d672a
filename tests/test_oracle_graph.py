"""The oracle of networks with branches and maxima, against `plverify.reference` and by hand.

`oracle_graph` floods from region to region, the reference walks along lines, so that they check
each other. The reference knows chains of two-piece units only. `as_chain` therefore writes any
network as one: what is needed later passes through units of slope 1, and a maximum is taken input
by input, ``m + relu(z - m)``. Its regions refine those of the network: put together by the pattern
that plain evaluation gives inside them, they must be the oracle's. Nothing here runs the engine.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import oracle_graph
import pytest
from graph_strategies import GraphCase, graph_cases, oracle_regions, random_graph, to_nodes
from hypothesis import given, settings
from oracle_graph import Graph, Partition, chain, evaluate, regions, sources
from strategies import random_degenerate_net, reference_domain, to_reference

from plverify.reference import Domain, Net, enumerate_regions

F = Fraction
Row = tuple[list[tuple[int, Any]], Any]
LINE = [(1, 1), (-1, 1)]  # -1 <= t <= 1
SQUARE = [(1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1)]


def dense(*rows: Sequence[Any]) -> list[Row]:
    """Rows (weights..., bias) as those of a linear node."""
    return [([(j, F(w)) for j, w in enumerate(row[:-1])], F(row[-1])) for row in rows]


def patterns(partition: Partition) -> set[tuple[int, ...]]:
    return {region.pattern for region in partition.regions}


def ask(net: Graph, dim: int, rows: Any, slice: Any = None) -> Any:
    """The regions, to be compared with plain integers."""
    return regions(net, dim, rows, slice)


def volumes(partition: Partition) -> list[Fraction | None]:
    return [region.volume for region in partition.regions]


# ---------------------------------------------------------------------------- against the reference


class _Chain:
    """A chain in the making; a tensor's entries are affine rows over the last layer's outputs."""

    def __init__(self, inputs: int) -> None:
        self.width = inputs
        rows = [[F(int(i == j)) for j in range(inputs)] + [F(0)] for i in range(inputs)]
        self.tensors: list[list[list[Fraction]]] = [rows]
        self.maps: list[list[list[Fraction]]] = []
        self.slopes: list[list[Fraction]] = []

    def joined(self, node: Any) -> list[list[Fraction]]:
        return [row for source in sources(node) for row in self.tensors[source]]

    def layer(self, rows: list[list[Fraction]], slopes: Sequence[Any]) -> list[list[Fraction]]:
        """Add a layer of units; return its outputs as rows."""
        size, old = len(rows), self.width
        kept = [[F(int(i == j)) for j in range(old)] + [F(0)] for i in range(old)]
        self.maps.append(rows + kept)
        self.slopes.append([*map(F, slopes), *[F(1)] * old])
        self.width += size
        self.tensors = [[[F(0)] * size + row for row in rows] for rows in self.tensors]
        return [[F(int(i == j)) for j in range(self.width)] + [F(0)] for i in range(size)]


def combine(rows: Sequence[Sequence[Fraction]], factors: Sequence[Any]) -> list[Fraction]:
    return [
        sum((F(f) * a for f, a in zip(factors, column, strict=True)), F(0))
        for column in zip(*rows, strict=True)
    ]


def as_chain(net: Graph) -> Net:
    """The same function as a chain of units, on which the regions are finer."""
    made = _Chain(net.inputs)
    for node in net.nodes:
        entries = made.joined(node)
        if node[0] == "linear":
            out = []
            for terms, bias in node[2]:
                constant = [F(0)] * made.width + [F(bias)]
                picked = [constant, *(entries[j] for j, _ in terms)]
                out.append(combine(picked, [F(1), *(w for _, w in terms)]))
        elif node[0] == "units":
            out = made.layer(entries, node[2])
        else:
            windows = [[j for j in window if j >= 0] for window in node[2]]
            out = [entries[window[0]] for window in windows]
            for k in range(1, max(map(len, windows))):
                at = [i for i, window in enumerate(windows) if k < len(window)]
                entries = made.joined(node)
                steps = [combine([entries[windows[i][k]], out[i]], [1, -1]) for i in at]
                gains = made.layer(steps, [0] * len(steps))
                out = [[F(0)] * len(steps) + row for row in out]
                for i, gain in zip(at, gains, strict=True):
                    out[i] = combine([out[i], gain], [1, 1])
        made.tensors.append(out)
    maps = [*made.maps, made.tensors[-1]]
    weights = [[row[:-1] for row in rows] for rows in maps]
    return Net(weights, [[row[-1] for row in rows] for rows in maps], made.slopes)


def test_oracle_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(oracle_graph.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names
        assert not isinstance(node, ast.Import)


def check_against_chain(case: GraphCase) -> None:
    domain = reference_domain(case.domain)
    found, finer = oracle_regions(case), enumerate_regions(as_chain(case.net), domain)
    assert found.linear_count == finer.linear_regions
    areas: defaultdict[tuple[int, ...], Fraction] = defaultdict(Fraction)
    unbounded = set()
    for part in finer.regions:
        _, pattern = evaluate(case.net, domain.embed(part.interior_point))
        areas[pattern] += part.volume or F(0)
        unbounded |= {pattern} if part.volume is None else set()
    assert patterns(found) == set(areas)
    for region in found.regions:
        assert region.volume == (None if region.pattern in unbounded else areas[region.pattern])


def check_points(case: GraphCase, rng: Random, count: int) -> None:
    """Evaluate at points inside the regions and between them; sum up the areas."""
    domain, found = reference_domain(case.domain), oracle_regions(case)
    empty = Net([[[0] * case.net.inputs]], [[0]])
    whole = enumerate_regions(empty, domain).regions[0]
    assert found.volume == whole.volume
    for region in found.regions:
        assert evaluate(case.net, domain.embed(region.point)) == (
            region.value(region.point),
            region.pattern,
        )
        assert [r for r in found.regions if r.contains(region.point)] == [region]
    for i, j in found.neighbours:
        a, b = found.regions[i], found.regions[j]
        shared = {tuple(-v for v in row) for row in a.rows} & set(b.rows)
        assert len(shared) == 1  # convex sets with disjoint interiors meet in one line at most
    # The function is continuous, so the regions fit facet to facet: one neighbour for each.
    outer = {facet.row for facet in whole.facets}
    beside = Counter(i for pair in found.neighbours for i in pair)
    for i, region in enumerate(found.regions):
        assert beside[i] == len(set(region.rows) - outer)
    for _ in range(count):
        ends = [rng.choice(found.regions).point for _ in "abc"]
        mix = [F(rng.randint(0, 8)) for _ in ends]
        mix[0] += 1
        t = [
            sum(m * v for m, v in zip(mix, axis, strict=True)) / sum(mix)
            for axis in zip(*ends, strict=True)
        ]
        value, _ = evaluate(case.net, domain.embed(t))
        around = [region for region in found.regions if region.contains(t)]
        assert around
        assert all(region.value(t) == value for region in around)


@pytest.mark.parametrize("block", range(8))
def test_chains_agree_with_reference(block: int) -> None:
    for seed in range(block * 15, (block + 1) * 15):
        net, domain = to_reference(random_degenerate_net(seed))
        placed = None if domain.origin is None else (domain.origin, domain.basis)
        graph = chain(net.weights, net.biases, net.slopes)
        found = regions(graph, domain.dim, domain.rows, placed)
        wanted = enumerate_regions(net, domain)
        assert len(found.neighbours) == len(wanted.neighbours)
        assert found.linear_count == wanted.linear_regions
        expected = sorted(wanted.regions, key=lambda region: region.pattern)
        for one, two in zip(found.regions, expected, strict=True):
            assert one.pattern == two.pattern
            assert one.volume == two.volume
            assert one.vertices == two.vertices
            assert one.rows == tuple(sorted(facet.row for facet in two.facets))
            assert one.output == tuple((*row, c) for row, c in zip(two.J, two.c, strict=True))


@pytest.mark.parametrize("block", range(8))
def test_graphs_agree_with_their_chains(block: int) -> None:
    for seed in range(block * 10, (block + 1) * 10):
        check_against_chain(random_graph(seed))


@pytest.mark.parametrize("block", range(5))
def test_areas_and_values(block: int) -> None:
    for seed in range(100 + block * 10, 110 + block * 10):
        check_points(random_graph(seed), Random(seed), 20)


@given(graph_cases())
@settings(max_examples=25, deadline=None)
def test_any_graph_agrees_with_its_chain(case: GraphCase) -> None:
    check_against_chain(case)
    check_points(case, Random(0), 5)


def test_generator_covers_what_it_is_for() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        case = random_graph(seed)
        found = oracle_regions(case)
        kinds = [node[0] for node in case.net.nodes for _ in node[2] if node[0] != "linear"]
        columns = list(zip(*patterns(found), strict=True))
        windows = [set(c) for c, kind in zip(columns, kinds, strict=True) if kind == "max"]
        seen["a window with two winners"] += any(len(window) > 1 for window in windows)
        seen["a window with three winners"] += any(len(window) > 2 for window in windows)
        seen["fewer linear regions"] += found.linear_count < len(found.regions)
        seen["ten regions"] += len(found.regions) >= 10
        seen["unbounded"] += found.volume is None
        seen["a line"] += found.dim == 1
        seen["a slice"] += "basis" in case.domain
        seen["a convolution"] += any(len(node) > 3 for node in case.net.nodes)
        seen["two sources"] += any(len(sources(node)) > 1 for node in case.net.nodes)
        on = {k + 1 for k, node in enumerate(case.net.nodes) if node[0] == "max"}
        nested = (node for node in case.net.nodes if node[0] == "max")
        seen["nested maxima"] += any(on.intersection(node[1]) for node in nested)
    assert len(seen) == 10
    assert min(seen.values()) >= 3, seen


# ------------------------------------------------------------------------------------------ by hand


def test_maximum_of_three_planes() -> None:
    net = Graph(
        2,
        (
            ("linear", (0,), dense((1, 0, 0), (0, 1, 0), (-1, -1, 0))),
            ("max", (1,), [[0, 1, 2]]),
            ("linear", (2,), dense((2, 1))),
        ),
    )
    found = ask(net, 2, SQUARE)
    assert patterns(found) == {(0,), (1,), (2,)}
    assert volumes(found) == [F(5, 4), F(5, 4), F(3, 2)]
    assert found.regions[2].vertices == ((-1, -1), (F(1, 2), -1), (0, 0), (-1, F(1, 2)))
    assert found.regions[0].output == ((2, 0, 1),)
    assert found.neighbours == ((0, 1), (0, 2), (1, 2))
    assert found.linear_count == 3
    everywhere = ask(net, 2, [])
    assert volumes(everywhere) == [None] * 3
    assert everywhere.volume is None


def test_a_maximum_of_units_that_are_off_is_one_piece() -> None:
    net = Graph(
        2,
        (
            ("linear", (0,), dense((1, 0, -5), (0, 1, -5), (1, 1, -20))),
            ("units", 1, [F(0)] * 3),
            ("max", (2,), [[0, 1, 2], [2, 1], [-1, 2]]),
        ),
    )
    found = ask(net, 2, SQUARE)
    assert patterns(found) == {(0, 0, 0, 0, 0, 1)}
    assert found.regions[0].output == ((0, 0, 0),) * 3
    # On the whole plane the last unit is on only where one of the others is (x + y > 20).
    assert all(p[0] or p[1] for p in patterns(ask(net, 2, [])) if p[2])


def test_ties_on_open_sets_go_to_the_first() -> None:
    net = Graph(
        1,
        (
            ("linear", (0,), dense((1, 0), (2, 0), (1, 0))),
            ("units", 1, [F(0)] * 3),
            ("max", (2,), [[0, 1], [0, 2], [2, 1, 0]]),
        ),
    )
    found = ask(net, 1, LINE)
    assert [(r.pattern, r.volume) for r in found.regions] == [
        ((0, 0, 0, 0, 0, 0), 1),
        ((1, 1, 1, 1, 0, 1), 1),
    ]
    twice = Graph(
        2, (("linear", (0, 0), dense((0, 1, 0, 0, 0), (0, 0, 0, 1, 0), (1, 0, 0, 0, 0))),)
    )
    tied = Graph(2, (*twice.nodes, ("max", (1,), [[0, 1, 2], [1, 0, 2], [2, 0]])))
    assert patterns(ask(tied, 2, SQUARE)) == {(0, 0, 1), (2, 2, 0)}


def test_absolute_values() -> None:
    net = Graph(2, (("units", 0, [F(-1), F(-1)]), ("linear", (1,), dense((1, 1, 0)))))
    found = ask(net, 2, SQUARE)
    assert volumes(found) == [1] * 4
    assert [r.output for r in found.regions] == [
        ((-1, -1, 0),),
        ((-1, 1, 0),),
        ((1, -1, 0),),
        ((1, 1, 0),),
    ]
    assert found.neighbours == ((0, 1), (0, 2), (1, 3), (2, 3))
    by_maxima = Graph(
        2,
        (
            ("linear", (0,), dense((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))),
            ("max", (1,), [[1, 0], [3, 2]]),
            ("linear", (2,), dense((1, 1, 0))),
        ),
    )
    assert ask(by_maxima, 2, SQUARE) == found


def test_a_maxout_network() -> None:
    # max(t, -t, 1/2), then the maximum of that and of 3/4 - t/2: on [1/2, 1] and on [-1, -1/2]
    # the outer one switches, in the middle the constant loses for t < 1/2.
    net = Graph(
        1,
        (
            ("linear", (0,), dense((1, 0), (-1, 0), (0, F(1, 2)))),
            ("max", (1,), [[0, 1, 2]]),
            ("linear", (0, 2), dense((F(-1, 2), 0, F(3, 4)))),
            ("max", (2, 3), [[0, 1]]),
        ),
    )
    found = ask(net, 1, LINE)
    assert [(r.pattern, r.volume, r.vertices) for r in found.regions] == [
        ((0, 0), F(1, 2), ((F(1, 2),), (1,))),
        ((1, 1), F(1, 2), ((-1,), (F(-1, 2),))),
        ((2, 1), 1, ((F(-1, 2),), (F(1, 2),))),
    ]
    assert found.neighbours == ((0, 2), (1, 2))
    assert found.linear_count == 2


def test_a_residual_connection_can_undo_a_kink() -> None:
    net = Graph(
        1,
        (
            ("linear", (0,), dense((1, 0), (-1, 0))),
            ("units", 1, [F(0), F(0)]),
            ("linear", (0, 2), dense((1, -1, 1, 5))),  # t - relu(t) + relu(-t) + 5 = 5
        ),
    )
    found = ask(net, 1, LINE)
    assert patterns(found) == {(0, 1), (1, 0)}
    assert found.linear_count == 1
    assert found.regions[0].output == found.regions[1].output == ((0, 5),)


def test_one_map_on_two_sides_is_two_linear_regions() -> None:
    hat = Graph(1, (("units", 0, [F(-1)]), ("linear", (1,), dense((-1, 1))), ("units", 2, [F(0)])))
    found = ask(hat, 1, [(1, 2), (-1, 2)])
    assert [(r.pattern, r.output) for r in found.regions] == [
        ((0, 0), ((0, 0),)),
        ((0, 1), ((1, 1),)),
        ((1, 0), ((0, 0),)),
        ((1, 1), ((-1, 1),)),
    ]
    assert found.linear_count == 4


def test_units_without_a_kink_and_units_that_vanish() -> None:
    net = Graph(2, (("linear", (0,), dense((1, 0, 0), (0, 0, 0))), ("units", 1, [F(1), F(2)])))
    found = ask(net, 2, SQUARE)
    assert [(r.pattern, r.volume) for r in found.regions] == [((0, 0), 4)]


def test_slices_and_domains() -> None:
    net = Graph(3, (("max", (0,), [[0, 1, 2]]),))
    line = ask(net, 1, LINE, ([0, 0, 0], [[1], [-1], [0]]))
    assert [(r.pattern, r.volume) for r in line.regions] == [((0,), 1), ((1,), 1)]
    plane = ask(net, 2, [], ([0, 0, 1], [[1, 0], [0, 1], [0, 0]]))
    assert patterns(plane) == {(0,), (1,), (2,)}
    assert plane.regions[2].rows == ((-1, 0, 1), (0, -1, 1))
    ray = ask(net, 1, [(1, 0)], ([0, 0, 1], [[1], [-1], [0]]))
    assert [(r.pattern, r.volume, r.rows) for r in ray.regions] == [
        ((0,), None, ((1, -1),)),
        ((2,), 1, ((-1, 1), (1, 0))),
    ]
    with pytest.raises(ValueError):
        ask(net, 1, [(1, 0), (-1, 0)], ([0, 0, 1], [[1], [-1], [0]]))
    with pytest.raises(ValueError):
        ask(net, 1, [(0, -1)], ([0, 0, 1], [[1], [-1], [0]]))
    with pytest.raises(ValueError):
        ask(net, 2, [])


def test_without_any_kink_the_plane_is_one_region() -> None:
    found = ask(Graph(2, (("linear", (0,), dense((1, 2, 3))),)), 2, [])
    assert len(found.regions) == found.linear_count == 1
    assert found.regions[0].rows == ()
    assert found.regions[0].pattern == ()


def test_the_chain_of_a_graph_is_the_same_function() -> None:
    rng = Random(1)
    for seed in range(30):
        net = random_graph(seed).net
        for _ in range(3):
            x = [F(rng.randint(-16, 16), 4) for _ in range(net.inputs)]
            assert as_chain(net).forward(x) == evaluate(net, x)[0]


def test_a_domain_without_constraints_is_known_to_both() -> None:
    net = chain([[[1, 0], [0, 1]], [[1, 1]]], [[0, 0], [0]])
    assert len(ask(net, 2, []).regions) == 4
    reference = Net([[[1, 0], [0, 1]], [[1, 1]]], [[0, 0], [0]])
    assert enumerate_regions(reference, Domain(2)).activation_regions == 4


# --------------------------------------------------------------------------------- the conversions


def test_to_nodes_computes_the_same() -> None:
    from plverify.network import Network

    kinds = set()
    for seed in range(60):
        case = random_graph(seed)
        net = Network(case.net.inputs, to_nodes(case.net, seed))
        kinds |= {type(node).__name__ for node in net.nodes}
        rng = Random(seed)
        for _ in range(3):
            x = [F(rng.randint(-16, 16), 8) for _ in range(net.input_size)]
            assert tuple(net.exact(x)) == evaluate(case.net, x)[0]
    assert kinds == {"Dense", "Sparse", "Conv", "Units", "Max"}
