"""What the engines say in any dimension, held against `oracle_nd`: comparisons, cases, shrinking.

`tests/test_engine_nd.py` calls the comparisons on fixed seeds, ``dev/fuzz`` on any
number of them. A case is a dictionary of a network's nodes as `oracle_graph` has them and a
domain as `strategies` describes it, so that it can be written as JSON and made smaller.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, isqrt
from typing import Any

import numpy as np
from fuzz_cases import require
from graph_strategies import ConvTable, random_case_nd, to_domain, to_nodes
from oracle_graph import Graph
from oracle_nd import NdDomain, NdPartition, oracle_regions_nd

import plverify as pv
from plverify import _core, proof
from plverify.local import region_of_pattern
from plverify.network import Network
from plverify.nodes import Max
from plverify.region_list import fixed_units

Case = dict[str, Any]
Pattern = tuple[int, ...]
DIMENSIONS = (1, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 7, 9)
MODES: tuple[dict[str, Any], ...] = (
    {},
    {"threads": 2},
    {"portable": True},
    {"decide": 1, "threads": 2},
    {"decide": 2},
)


def coprime(row: tuple[int, ...]) -> tuple[int, ...]:
    common = gcd(*row)
    return tuple(v // common for v in row)


def same(found: Any, right: Any, kind: str, *details: Any) -> None:
    """Compare, or raise a `Mismatch` of that kind."""
    require(found == right, kind, *details, found, "where this is right:", right)


def patterns_of(net: Network, packed: Any) -> list[Pattern]:
    return [tuple(int(v) for v in row) for row in net.unpack(packed)]


def check_engines(net: Network, domain: pv.Space, truth: NdPartition) -> None:
    """Counts, patterns and units of both engines in all modes, and the proof by split tree."""
    wanted = sorted(region.pattern for region in truth.regions)
    data = domain.to_bytes()
    two = list(zip(_two_pieces(net), zip(*wanted, strict=True), strict=True))
    dead = [unit for unit, column in two if unit is not None and not any(column)]
    active = [unit for unit, column in two if unit is not None and all(column)]
    answers = []
    if domain.dim <= _core.max_dimension:
        answers += [(_core.enumerate, options) for options in MODES]
    answers += [(_core.halfspaces, {"threads": threads}) for threads in (1, 2)]
    for run, options in answers:
        counted, listed = (run(net.core, data, want, **options) for want in ("count", "regions"))
        same(counted["count"], len(wanted), run.__name__, options)
        same(sorted(patterns_of(net, listed["patterns"])), wanted, run.__name__, options)
        for answer in (counted, listed):
            same(fixed_units(net, answer), (dead, active), "dead and active", run.__name__)
    one, again = (
        _core.halfspaces(net.core, data, "proof", threads=threads)["proof"] for threads in (1, 2)
    )
    same(one, again, "proofs of one and two threads")
    whole = proof.encode(proof.region_tree_header(net, domain, len(wanted)), one)
    verdict = pv.check(whole, net)
    same(verdict.accepted, True, "proof", verdict)
    if len(wanted) < 60:
        same(pv.check(whole, net, python=True).accepted, True, "proof, checker in Python")


def _two_pieces(net: Network) -> list[tuple[int, int] | None]:
    """(layer, unit) of every place in a pattern, None for windows and units with slope 1."""
    return [
        None if isinstance(node, Max) or node.single[unit] else (layer, unit)
        for layer, (_, node) in enumerate(net.unit_nodes)
        for unit in range(node.size)
    ]


def check_regions(net: Network, domain: pv.Space, truth: NdPartition, volumes: bool) -> None:
    """Maps, facets, interior points, neighbours, linear regions, volumes of the regions listed."""
    parts = list(pv.stream_regions(net, domain, batch=3))
    same(sum(part["count"] for part in parts), len(truth.regions), "stream")
    same(max(part["count"] for part in parts) <= 3, True, "batches")
    wanted = {region.pattern: region for region in truth.regions}
    number = {region.pattern: i for i, region in enumerate(truth.regions)}
    for exact in (False, True)[: 1 + (domain.dim <= _core.max_dimension)]:
        listed = pv.regions(net, domain, exact=exact)
        patterns = [tuple(int(v) for v in row) for row in listed.patterns]
        same(sorted(patterns), sorted(wanted), "patterns")
        same(listed.linear_count, truth.linear_count, "linear regions")
        groups: dict[int, set[int]] = {}
        for pattern, label in zip(patterns, listed.linear_labels.tolist(), strict=True):
            groups.setdefault(label, set()).add(truth.linear_labels[number[pattern]])
        same(sum(len(group) for group in groups.values()), len(groups), "linear labels")
        pairs = set()
        for i, region in enumerate(listed):
            right = wanted[patterns[i]]
            matrix, offset = region.affine_map(exact=True)
            table = [(*row, c) for row, c in zip(matrix.tolist(), offset.tolist(), strict=True)]
            same(table, [tuple(row) for row in right.output], "map")
            rows = sorted(coprime(row) for row in region.inequalities())
            same(rows, sorted(facet.row for facet in right.facets), "facets")
            same(right.contains(region.exact_interior_point), True, "interior point")
            if volumes and region.bounded:
                same(region.exact_volume, right.volume(), "volume")
            for other in region.neighbours:
                a, b = number[patterns[i]], number[tuple(int(v) for v in other.pattern)]
                pairs.add((min(a, b), max(a, b)))
        same(pairs, set(truth.neighbours), "neighbours")


def check_local(net: Network, domain: pv.Space, truth: NdPartition) -> None:
    """The region around a point, made without the others, and its neighbours."""
    for region in truth.regions[:6]:
        local = net.region(region.point, domain)
        same(tuple(int(v) for v in local.pattern), region.pattern, "pattern of a point")
        same(sorted(local.inequalities), sorted(region.rows), "facets of a point's region")
        beside = {tuple(int(v) for v in other.pattern) for other in local.neighbours()}
        across = {f.neighbour for f in region.facets if f.neighbour is not None}
        same(beside, {truth.regions[j].pattern for j in across}, "neighbours of a point's region")
        again = region_of_pattern(net, domain, np.array(region.pattern, net.pattern_type))
        same(again.inequalities, local.inequalities, "facets of a pattern")


def check_distance(net: Network, truth: NdPartition) -> None:
    """The distance to the nearest facet, on all of R^n."""
    for region in truth.regions[:6]:
        for norm in ("l1", "l2", "linf"):
            best = None
            for facet in region.facets:
                *a, c = facet.row
                value = abs(sum(v * x for v, x in zip(a, region.point, strict=True)) + c)
                size: Any = {
                    "l1": max(map(abs, a)),
                    "l2": sum(v * v for v in a),
                    "linf": sum(map(abs, a)),
                }[norm]
                far = Fraction(value**2 if norm == "l2" else value) / size
                best = far if best is None else min(best, far)
            same(pv.boundary_distance(net, region.point, norm).exact, best, "distance", norm)


def check_within(net: Network, domain: pv.Space, truth: NdPartition) -> None:
    """The regions within a distance: of a vertex-free neighbourhood, by the oracle's facets.

    Every neighbour is at most as far as the facet's point; the point's own region is at distance
    0, and what is listed at that distance is what holds the point.
    """
    region = truth.regions[len(truth.regions) // 2]
    for facet in region.facets[:2]:
        around = pv.regions_within(net, facet.point, 0, "linf", domain)
        holds = {r.pattern for r in truth.regions if r.contains(facet.point)}
        found = {tuple(int(v) for v in row) for row in around.patterns}
        same(found, holds, "regions that hold a point")
        step = [abs(a - b) for a, b in zip(facet.point, region.point, strict=True)]
        lengths = {"l1": sum(step), "linf": max(step), "l2": root_above(sum(v * v for v in step))}
        for norm, radius in lengths.items():
            near = pv.regions_within(net, region.point, radius, norm, domain)
            found = {tuple(int(v) for v in row) for row in near.patterns}
            same(holds - found, set(), "regions within", norm)
            for far, p, pattern in zip(near.distances, near.nearest, near.patterns, strict=True):
                other = next(r for r in truth.regions if r.pattern == tuple(map(int, pattern)))
                same(other.contains(p), True, "nearest point", norm)
                gap = [abs(a - b) for a, b in zip(p, region.point, strict=True)]
                length = {"l1": sum(gap), "linf": max(gap), "l2": sum(v * v for v in gap)}[norm]
                same(length, far, "distance", norm)


def root_above(square: Fraction) -> Fraction:
    scale = 2**20
    return Fraction(isqrt(square.numerator * scale**2 // square.denominator) + 1, scale)


# ------------------------------------------------------------------------------------------- cases


def random_case(seed: int) -> Case:
    """The case of a seed: one to nine dimensions; fewer units in many, where the oracle is slow."""
    dim = DIMENSIONS[seed % len(DIMENSIONS)]
    budget = {1: None, 2: None, 3: None, 4: 20, 9: 8}.get(dim, 14)
    graph, domain = random_case_nd(seed, (dim,), budget)
    nodes = []
    for kind, source, entries, *table in graph.nodes:
        if kind == "linear":
            entries = [[[list(term) for term in row], bias] for row, bias in entries]
        node = {"kind": kind, "source": source, "entries": entries}
        nodes.append(node | ({"table": table[0]._asdict()} if table else {}))
    return {"inputs": graph.inputs, "nodes": nodes, "domain": domain, "seed": seed}


def graph_of(case: Case) -> Graph:
    """The network of a case, which may have been read from JSON."""
    nodes: list[Any] = []
    for node in case["nodes"]:
        kind, source, entries = node["kind"], node["source"], node["entries"]
        if kind == "linear":
            rows = [([(int(j), Fraction(w)) for j, w in row], Fraction(b)) for row, b in entries]
            extra = [ConvTable(**node["table"])] if "table" in node else []
            nodes.append((kind, tuple(source), rows, *extra))
        elif kind == "units":
            nodes.append((kind, source, [Fraction(v) for v in entries]))
        else:
            nodes.append((kind, tuple(source), entries))
    return Graph(case["inputs"], tuple(nodes))


def check_case(case: Case) -> None:
    """Everything above on one case."""
    graph, domain = graph_of(case), to_domain(case["domain"])
    truth = oracle_regions_nd(graph, NdDomain.of(case["domain"]))
    net = Network(graph.inputs, to_nodes(graph, case["seed"]))
    check_engines(net, domain, truth)
    check_regions(net, domain, truth, domain.dim < 5)
    check_local(net, domain, truth)
    if case["domain"]["kind"] == "space" and "basis" not in case["domain"]:
        check_distance(net, truth)
    check_within(net, domain, truth)
