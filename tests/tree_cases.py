"""Networks with their honest region trees, ways to break a tree, and what the checkers say.

Trees are written by `tree_proof_tools` (exact linear programs, independent of the engine and of the
checkers).
"""

from __future__ import annotations

import random
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

from graph_strategies import random_case_nd, random_graph, to_nodes
from oracle_graph import Graph, chain
from oracle_nd import NdDomain, _leaves, _start
from tree_proof_tools import TreeProof, prove_tree

import plverify as pv
from plverify import checker
from plverify.network import Network

Case = tuple[Network, TreeProof]


def both(data: bytes, net: Network) -> checker.Verdict:
    """The verdict that the two checkers agree on."""
    compiled, python = pv.check(data, net), pv.check(data, net, python=True)
    assert compiled.accepted == python.accepted, (compiled.reason, python.reason)
    assert compiled.claim == python.claim
    assert compiled.reason.isprintable()
    assert bool(compiled.reason) != compiled.accepted
    if compiled:
        for key in ("nodes", "certificates", "regions", "domain_sha256"):
            assert compiled.stats[key] == python.stats[key]
    return compiled


def rejected(data: bytes, net: Network, why: str = "") -> bool:
    verdict = both(data, net)
    return not verdict and why in verdict.reason


def make(graph: Graph, domain: NdDomain, seed: int = 0) -> Case:
    net = Network(graph.inputs, to_nodes(graph, seed))
    return net, prove_tree(graph, domain, net.digest, seed)


def random_make(seed: int) -> tuple[Graph, NdDomain, Network, TreeProof] | None:
    """A degenerate random network in one to five dimensions; None if it has many regions."""
    if seed % 3 == 0:
        case = random_graph(seed)
        graph, description = case.net, case.domain
    else:
        graph, description = random_case_nd(seed)
    domain = NdDomain.of(description)
    try:
        start = _start(graph, domain)
    except ValueError:
        return None
    for count, _ in enumerate(_leaves(graph, start)):
        if count > 150:
            return None
    return graph, domain, *make(graph, domain, seed)


def dense(
    rng: random.Random, sizes: list[int], den: int = 16, slopes: Any = None, bias: bool = True
) -> Graph:
    def number() -> Fraction:
        return Fraction(rng.randint(-24, 24), den)

    pairs = list(pairwise(sizes))
    weights = [[[number() for _ in range(a)] for _ in range(b)] for a, b in pairs]
    biases = [[number() * bias for _ in range(b)] for b in sizes[1:]]
    return chain(weights, biases, slopes)


def scaled(rng: random.Random, sizes: list[int], exponents: Any) -> Graph:
    """A dense network whose layers are multiplied by powers of two."""
    nodes: list[Any] = []
    total = 0
    for node in dense(rng, sizes).nodes:
        if node[0] == "linear":
            e = Fraction(2) ** exponents[len(nodes) // 2]
            total += exponents[len(nodes) // 2]
            rows = [([(j, w * e) for j, w in t], b * Fraction(2) ** total) for t, b in node[2]]
            node = (node[0], node[1], rows)
        nodes.append(node)
    return Graph(sizes[0], tuple(nodes))


def cube(dim: int, half: Any = 1, centre: Any = 0) -> NdDomain:
    exact = Fraction(centre)
    return NdDomain.box([exact - half] * dim, [exact + half] * dim)


def linear(source: int, rows: Any) -> Any:
    table = [
        ([(j, Fraction(w)) for j, w in enumerate(row[:-1]) if w], Fraction(row[-1])) for row in rows
    ]
    return ("linear", (source,), table)


MIXED = [[0, Fraction(1, 4), -1, 1, 2, 0], [0, -1, 1, 0]]
TIES = Graph(  # windows of equal, of opposite and of constant inputs, one of a single input
    2,
    (
        linear(0, [[1, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ("max", (1,), [[0, 1, 2], [1, 0], [3, 0, 1], [4, 5], [4, 0], [5, 4, 2], [2]]),
        linear(2, [[1] * 7 + [0]]),
    ),
)
MAXIMA = Graph(
    3,
    (
        linear(0, [[1, 2, 0, 0], [0, 1, -1, 1], [2, 0, 1, 0], [-1, 0, 1, 0], [1, 1, 1, 0]]),
        ("max", (1,), [[0, 1, 2], [1, 3, 4], [4, 0]]),
        linear(2, [[1, -1, 0, 0], [0, 1, -2, 1]]),
        ("units", 3, [Fraction(0), Fraction(1, 4)]),
        ("max", (4, 2), [[0, 1, 2], [-1, 3, 4]]),
        linear(5, [[1, 1, 0]]),
    ),
)
ZEROS = Graph(
    2,
    (
        linear(0, [[0, 0, 0], [0, 0, 1], [0, 0, -1], [1, 1, 0], [1, 1, 0], [-1, -1, 0]]),
        ("units", 1, [Fraction(0)] * 6),
        linear(2, [[1, 0, 0, 1, -1, 0, 0], [0, 0, 0, 1, 0, -1, 0], [0, 1, 0, 0, 0, 0, -1]]),
        ("units", 3, [Fraction(0), Fraction(-1), Fraction(1)]),
        linear(4, [[1, 1, 1, 0]]),
    ),
)


def slice_of(dim: int, ambient: int) -> NdDomain:
    rng = random.Random(ambient)
    basis = [[Fraction(rng.randint(-3, 3), 2) for _ in range(dim)] for _ in range(ambient)]
    return cube(dim).along([Fraction(k, 3) for k in range(ambient)], basis)


@lru_cache(maxsize=1)
def cases() -> dict[str, Case]:
    rng = random.Random(7)
    simplex = NdDomain.polytope(3, [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [1, 2, 1]], [0, 0, 0, 3])
    half = NdDomain.box([0, None, -1], [None, 1, 1])
    zero = NdDomain(2, (*cube(2).rows, (Fraction(0), Fraction(0), Fraction(5)), (Fraction(0),) * 3))
    small = Fraction(1, 2**300)
    return {
        "line": make(dense(rng, [1, 5, 4, 1]), cube(1, 2)),
        "square": make(dense(rng, [2, 5, 4, 1]), cube(2)),
        "cube": make(dense(rng, [3, 5, 3, 1]), cube(3)),
        "five dimensions": make(dense(rng, [5, 5, 3, 1]), cube(5)),
        "integers": make(dense(rng, [3, 4, 3, 1], den=12), cube(3)),
        "thirds": make(dense(rng, [2, 4, 4, 1], den=3), cube(2)),
        "mixed slopes": make(dense(rng, [2, 6, 4, 1], slopes=MIXED), cube(2)),
        "no unit": make(dense(rng, [2, 1]), cube(2)),
        "ties": make(TIES, cube(2)),
        "maxima": make(MAXIMA, cube(3)),
        "zero rows": make(ZEROS, cube(2)),
        "zero rows of the plane": make(ZEROS, NdDomain.space(2)),
        "plane": make(dense(rng, [2, 4, 3, 1]), NdDomain.space(2)),
        "space": make(dense(rng, [3, 3, 2, 1]), NdDomain.space(3)),
        "half-bounded": make(dense(rng, [3, 4, 3, 1]), half),
        "simplex": make(dense(rng, [3, 5, 3, 1]), simplex),
        "constraints of zeros": make(dense(rng, [2, 4, 3, 1]), zero),
        "slice": make(dense(rng, [5, 5, 3, 1]), slice_of(3, 5)),
        "slice of a slice's rank": make(dense(rng, [2, 5, 3, 1]), slice_of(3, 2)),
        "far": make(dense(rng, [2, 5, 4, 1]), cube(2, Fraction(1, 64), 1_000_000)),
        "far and small": make(dense(rng, [2, 4, 1]), cube(2, small, 10**9)),
        "large": make(dense(rng, [2, 4, 3, 1]), cube(2, 1 << 400)),
        "large and small weights": make(scaled(rng, [2, 4, 3, 2, 1], (600, -900, 800, 0)), cube(2)),
        "small and large weights": make(scaled(rng, [2, 4, 3, 2, 1], (-900, 1100, -1, 0)), cube(2)),
        "no bias": make(dense(rng, [3, 6, 5, 1], bias=False), cube(3)),
        "deep": make(dense(rng, [2, *[3] * 12, 1]), cube(2, Fraction(1, 4))),
    }


CASES = (
    "line", "square", "cube", "five dimensions", "integers", "thirds", "mixed slopes", "no unit",
    "ties", "maxima", "zero rows", "zero rows of the plane", "plane", "space", "half-bounded",
    "simplex", "constraints of zeros", "slice", "slice of a slice's rank", "far", "far and small",
    "large", "large and small weights", "small and large weights", "no bias", "deep",
)  # fmt: skip


# ---------------------------------------------------------------------------------- breaking trees


def find(proof: TreeProof, kind: str, rng: random.Random) -> int | None:
    spots = [k for k, record in enumerate(proof.records) if record[0] == kind]
    return rng.choice(spots) if spots else None


def mutate_breaking(proof: TreeProof, name: str, rng: random.Random) -> TreeProof | None:
    """A change after which the tree proves nothing, whatever the network is."""
    out = proof.copy()
    records = out.records
    kind = name.split(":")[0]
    at = find(out, kind, rng)
    if at is None:
        return None
    record = list(records[at])
    if name == "leaf: dropped":
        del records[at]
    elif name == "leaf: twice":
        records.insert(at, records[at])
    elif name == "leaf: of another region":
        other = find(out, "leaf", rng)
        if other == at or other is None:
            return None
        records[at] = records[other]
    elif name == "leaf: far away":
        rows = [row[:-1] for row in out.header["constraints"]]
        walls = {
            (k, row[k][0] == "-")
            for row in rows
            for k in range(len(row))
            if row[k] != "0" and sum(v != "0" for v in row) == 1
        }
        if len(walls) < 2 * len(record[2]):
            return None  # the domain may be unbounded
        record[2] = [x + (1 << record[1] + 5000) for x in record[2]]
        records[at] = tuple(record)
    elif name == "split: merged":
        first, second, end = at + 1, out.subtree(at + 1), out.subtree(at)
        piece = rng.randrange(2)
        kept = records[first:second] if piece else records[second:end]
        terms = []
        if out.header["constraints"] and rng.random() < 0.5:
            terms = [(rng.randrange(len(out.header["constraints"])), (1, rng.randint(-9, 9)))]
        records[at:end] = [("fix", record[1], piece, (1, 0), terms), *kept]
        out.header["regions"] = out.leaves()
    elif name == "split: swapped children":
        first, second, end = at + 1, out.subtree(at + 1), out.subtree(at)
        records[first:end] = records[second:end] + records[first:second]
    elif name == "split: one child dropped":
        second, end = out.subtree(at + 1), out.subtree(at)
        del records[second:end]
        out.header["regions"] = out.leaves()
    elif name == "split: the same child twice":
        second, end = out.subtree(at + 1), out.subtree(at)
        records[second:end] = records[at + 1 : second]
        out.header["regions"] = out.leaves()
    elif name == "fix: the other side":
        record[2] = 1 - record[2]
        records[at] = tuple(record)
    elif name == "fix: no such side":
        record[2] = rng.choice((2, 3, 255))
        records[at] = tuple(record)
    elif name == "fix: twice":
        records.insert(at, records[at])
    elif name == "fix: as a split":
        end = out.subtree(at)
        records[at:end] = [("split", record[1]), *records[at + 1 : end] * 2]
        out.header["regions"] = out.leaves()
    elif name == "fix: left out":
        del records[at]
    elif name == "fix: multiplier 0":
        record[3] = rng.choice(((0, 0), (-1, 0), (-(1 << 80), 3), (1, 8193), (1, -8193)))
        records[at] = tuple(record)
    elif name == "fix: a term's multiplier 0":
        rows = len(out.header["constraints"])
        spare = [k for k in range(rows) if k not in dict(record[4])]
        if not spare:
            return None
        zero = rng.choice(((0, 0), (-1, 5), (1, 9000)))
        record[4] = sorted([*record[4], (rng.choice(spare), zero)])
        records[at] = tuple(record)
    elif name == "fix: index out of range":
        record[4] = [*record[4], (1 << rng.choice((20, 40, 60)), (1, 0))]
        records[at] = tuple(record)
    elif name == "fix: terms out of order":
        if not record[4]:
            return None
        record[4] = [*record[4], rng.choice(record[4])]
        records[at] = tuple(record)
    elif name == "window: a piece dropped":
        if len(record[2]) < 2:
            return None
        which = rng.randrange(len(record[2]))
        slot = record[2][which]
        ends = [at + 1]
        for _ in record[2]:
            ends.append(out.subtree(ends[-1]))
        lost = records[ends[which] : ends[which + 1]]
        other = rng.choice([p for p in record[2] if p != slot])
        dropped = {**record[3], slot: ([(other, (1, 0))], [])}
        kept = [p for p in record[2] if p != slot]
        records[at : ends[which + 1]] = [
            ("window", record[1], kept, dropped),
            *records[at + 1 : ends[which]],
        ]
        assert lost
        out.header["regions"] = out.leaves()
    elif name == "window: pieces out of order":
        if len(record[2]) < 2:
            return None
        record[2] = record[2][::-1]
        records[at] = tuple(record)
    elif name == "window: against nothing":
        if not record[3]:
            return None
        slot = rng.choice(sorted(record[3]))
        record[3] = {**record[3], slot: ([], record[3][slot][1])}
        records[at] = tuple(record)
    elif name == "window: against itself":
        if not record[3]:
            return None
        slot = rng.choice(sorted(record[3]))
        record[3] = {**record[3], slot: ([(slot, (1, 0))], [])}
        records[at] = tuple(record)
    else:
        raise AssertionError(name)
    return out


BREAKING = (
    "leaf: dropped", "leaf: twice", "leaf: of another region", "leaf: far away",
    "split: merged", "split: swapped children", "split: one child dropped",
    "split: the same child twice", "fix: the other side", "fix: no such side", "fix: twice",
    "fix: as a split", "fix: left out", "fix: multiplier 0", "fix: a term's multiplier 0",
    "fix: index out of range", "fix: terms out of order", "window: a piece dropped",
    "window: pieces out of order", "window: against nothing", "window: against itself",
)  # fmt: skip
