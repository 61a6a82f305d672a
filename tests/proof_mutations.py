"""Proofs of every kind that were changed in every way, and what must come of it.

`case_of(seed)` makes a valid proof about a small network: of any claim, written by the engine or by
the tests' own writers, on networks with all kinds of units, windows, convolutions and residual
sums. `mutants(case, rng)` changes it. `judge` asks both checkers: they must agree, and what they
accept must be true, as `proof_truth` decides it. ``dev/fuzz_proofs.py`` does this at length.

Only in the last digits of bounds by backward substitution may the checkers differ
(``docs/proof_format.md``): where one of them alone accepts what is true, the same body must prove
to both of them the same statement with a margin of `MARGIN`.

The classes of mutations:

* ``another network``: the same proof for a network with one weight moved by a hair, the header's
  hash forged or not;
* ``statement``: one number, flag or list of what the header states, the body as it was; past the
  truth by one unit in the last place among them;
* ``record``: a record of the body changed, lost, repeated or moved: multipliers negated, scaled,
  halved, moved to another unit; split values, units, rules for bounds;
* ``tree``: children swapped, equal or lost, subtrees exchanged, splits undone;
* ``tiling``: what `tiling_mutations` has;
* ``statement and body``: both at once;
* ``bytes``: bits of the body or the file flipped, characters of the header, bytes added;
* ``truncated``: the body or the file.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from dual_cases import NAMES, aim_at, at_most, cube, graphs, network, small_random
from dual_proof_tools import (
    Ball,
    DualProof,
    Records,
    Row,
    System,
    box_json,
    decode,
    full,
    halved,
    maximum,
    numbering,
    property_json,
    unsat,
    with_body,
)
from gain_cases import engine_gain, sharp_gain
from leaf_mutations import changed_leaf, statement_of
from oracle_graph import Graph
from oracle_nd import NdDomain, _leaves, _start
from proof_tools import Proof, pack, unpack
from proof_truth import Closest, Malformed, better_than_maximum, closest, is_true, systems_of
from tiling_mutations import FALSE_PROOFS
from tree_cases import BREAKING, mutate_breaking
from tree_proof_tools import TreeProof, prove_tree

import plverify as pv
from plverify.ball import radius_proof
from plverify.network import Network

AnyProof = DualProof | TreeProof | Proof
ULP = Fraction(1, 1 << 60)
MARGIN = Fraction(1, 10**9)
"""Relative to what a bound is compared with, and 1."""


@dataclass
class Case:
    """A valid proof, taken apart."""

    kind: str
    graph: Graph
    net: Network
    proof: AnyProof
    other: tuple[Graph, Network] | None = None  # the second network of a claim about two
    truths: dict[str, bool | None] = field(default_factory=dict)

    def states_truth(self, header: dict[str, Any], mutant: Mutant) -> bool | None:
        """Whether a header is true of a mutant's networks; None if it states nothing."""
        nets = mutant.graph.nodes, mutant.other and mutant.other[0].nodes
        key = json.dumps([nets, header], sort_keys=True, default=str)
        if key not in self.truths:
            try:
                second = mutant.other and mutant.other[0]
                self.truths[key] = is_true(mutant.graph, header, second)
            except Malformed:
                self.truths[key] = None
        return self.truths[key]


class Mutant(NamedTuple):
    """A changed proof, for a network that may have changed, too."""

    how: str
    data: bytes
    graph: Graph
    net: Network
    other: tuple[Graph, Network] | None = None


# ------------------------------------------------------------------------------------ valid proofs


@lru_cache(maxsize=1)
def _networks() -> list[Graph]:
    """Small networks of all kinds: at most 40 patterns to decide what is true of them."""
    named = [graphs()[name] for name in NAMES if name not in ("ties", "zero rows")]
    drawn = [graph for graph in map(small_random, range(260)) if graph is not None]
    return [*named, *(g for g in drawn if _size(g) <= 40)]


def _size(graph: Graph) -> int:
    patterns = 1
    for node in graph.nodes:
        for entry in node[2]:
            if node[0] == "units":
                patterns *= 2 - (entry == 1)
            elif node[0] == "max":
                patterns *= sum(j >= 0 for j in entry)
    return patterns


def case_of(seed: int) -> Case:
    """The valid proof of a seed."""
    rng = random.Random(seed)
    kind = list(_MAKERS)[seed % len(_MAKERS)]
    while True:
        graph = rng.choice(_networks())
        made = _MAKERS[kind](rng, graph, network(graph, rng.randrange(9)))
        if made is not None:
            return made


def _box(rng: random.Random, graph: Graph) -> list[tuple[Fraction, Fraction]]:
    """A box around the origin, sometimes flat, or not centred."""
    if rng.random() < 0.4:
        return cube(graph.inputs)
    lows = [Fraction(rng.randint(-6, 2), rng.choice((1, 2, 3))) for _ in range(graph.inputs)]
    return [(lo, lo + Fraction(rng.choice((0, 1, 2, 4)), rng.choice((1, 2, 3)))) for lo in lows]


def _objective(rng: random.Random, graph: Graph) -> tuple[dict[int, int], dict[int, int]]:
    inputs = {rng.randrange(graph.inputs): rng.choice((-1, 1, 2))} if rng.random() < 0.3 else {}
    return inputs, {rng.randrange(graph.sizes[-1]): rng.choice((-1, 1))}


def _sharp(rng: random.Random, graph: Graph, box: Any) -> tuple[System, Fraction]:
    """What violates the least bound that holds: ``objective > top`` has no solution."""
    inputs, outputs = _objective(rng, graph)
    top, _ = maximum(graph, box, inputs, outputs)
    negative = [{k: -a for k, a in side.items()} for side in (inputs, outputs)]
    return System(box, [Row(negative[0], negative[1], -top, True)]), top


def _sharp_unsat(rng: random.Random, graph: Graph, net: Network) -> Case:
    systems = [_sharp(rng, graph, _box(rng, graph))[0] for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.5:
        more = Row({}, {0: 1}, Fraction(10**6), rng.random() < 0.5)
        systems[-1] = systems[-1]._replace(rows=[*systems[-1].rows, more])
    records = full(graph, systems)
    assert records is not None
    return Case("unsat", graph, net, unsat(graph, net.digest, systems, records))


def _engine_unsat(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    system, top = _sharp(rng, graph, _box(rng, graph))
    margin = rng.choice((Fraction(0), ULP, Fraction(1, 100), 1 + abs(top)))
    [row] = system.rows
    entry = property_json(graph, [system._replace(rows=[row._replace(bound=row.bound - margin)])])
    spec = pv.Property.from_json(json.dumps(entry))
    found = pv.verify(net, spec, proof=True, float32=False)
    return _engine_case("unsat", graph, net, found.proof)


def _around(rng: random.Random, graph: Graph, least: Fraction) -> System | None:
    """A threshold that is passed, but not as close to a center as a ball: by so much of it."""
    box = _box(rng, graph)
    top = maximum(graph, box, {}, {0: 1})[0]
    low = -maximum(graph, box, {}, {0: -1})[0]
    row = at_most(low + (top - low) * Fraction(rng.randint(1, 8), 8), False)
    center = [rng.choice((lo, hi, (lo + hi) / 2, lo - Fraction(1, 3))) for lo, hi in box]
    norm = rng.choice(("l1", "l2"))
    walk = Closest(graph, System(box, [row]), center, norm)
    walk.run()
    if walk.best is None or not walk.best[0]:
        return None
    return System(box, [row], Ball(norm, center, walk.best[0] * (1 - least)))


def _unsat_in_a_ball(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    system = _around(rng, graph, rng.choice((ULP, ULP, Fraction(1, 3))))
    if system is None:
        return None
    records = full(graph, [system])
    assert records is not None
    return Case("unsat", graph, net, unsat(graph, net.digest, [system], records))


def _engine_in_a_ball(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    """Also "sat", where the ball is as large as the distance, or larger."""
    share = rng.choice((ULP, Fraction(1, 100), Fraction(1, 3), -Fraction(1, 3)))
    system = _around(rng, graph, share)
    if system is None:
        return None
    spec = pv.Property.from_json(json.dumps(property_json(graph, [system])))
    found = pv.verify(net, spec, proof=True, float32=False, timeout=10)
    return _engine_case(str(found.status), graph, net, found.proof)


def _halved_unsat(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    box = _box(rng, graph)
    top, _ = maximum(graph, box, {}, {0: 1})
    system = System(box, [at_most(top + rng.randint(1, 20), False)])
    records = halved(system, rng.randint(1, 3), rng.choice(([0], [1, 3])), ("rule", [(0, 1)]))
    proof = unsat(graph, net.digest, [system], records)
    return Case("unsat", graph, net, proof) if pv.check(proof.to_bytes(), net) else None


def _engine_sat(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    system, _ = _sharp(rng, graph, _box(rng, graph))
    [row] = system.rows
    entry = property_json(graph, [system._replace(rows=[row._replace(strict=False)])])
    spec = pv.Property.from_json(json.dumps(entry))
    found = pv.verify(net, spec, proof=True, float32=False)
    return _engine_case("sat", graph, net, found.proof)


def _engine_maximum(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    inputs, outputs = _objective(rng, graph)
    box = _box(rng, graph)
    goal = [
        [side.get(k, 0) for k in range(n)]
        for side, n in ((inputs, graph.inputs), (outputs, graph.sizes[-1]))
    ]
    where = pv.Box([lo for lo, _ in box], [hi for _, hi in box])
    found = pv.maximize(net, (goal[0], goal[1]), where, proof=True)
    return _engine_case("maximum", graph, net, found.proof)


def _engine_case(kind: str, graph: Graph, net: Network, data: Any) -> Case | None:
    """A proof by the engine; None where it does not decide."""
    if not isinstance(data, bytes):
        return None
    header, stream = unpack(data)
    return Case(kind, graph, net, DualProof(header, decode(zlib.decompress(stream))))


def _dead_units(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    box = cube(graph.inputs, rng.choice((1, Fraction(1, 2), Fraction(1, 8))))
    header: dict[str, Any] = {
        "claim": "dead_units",
        "evidence": "tree",
        "network": net.digest,
        "definitions": "",
        "box": box_json(box),
        "units": [],
    }
    systems = []
    for unit in range(len(numbering(graph))):
        for piece in (0, 1):
            with suppress(Malformed):
                if is_true(graph, {**header, "units": [[unit, piece]]}):
                    header["units"].append([unit, piece])
                    row = Row({}, {}, Fraction(0), True, (unit, 1 if piece else -1))
                    systems.append(System(box, [row]))
                    break
        if len(systems) == 3:
            break
    records = full(graph, systems)
    assert records is not None
    return Case("dead units", graph, net, DualProof(header, records)) if systems else None


def _engine_dead_units(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    box = pv.Box(*zip(*_box(rng, graph), strict=True))
    found = pv.dead_units(net, box, proof=True)
    if not found.dead and not found.always_active:
        return None
    return _engine_case("dead units", graph, net, found.proof)


def _engine_distance(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    """To a network of which one weight differs, or to any other of the same sizes."""
    sizes = (graph.inputs, graph.sizes[-1])
    some = [g for g in _networks() if (g.inputs, g.sizes[-1]) == sizes and _size(g) <= 8]
    other = rng.choice(some) if some and _size(graph) <= 8 else None
    if other is None or sizes[1] > 2:
        return None
    box, second = pv.Box(*zip(*_box(rng, graph), strict=True)), network(other, rng.randrange(9))
    found = pv.sup_distance(net, second, box, rng.choice(("linf", "l1")), proof=True)
    made = _engine_case("sup distance", graph, net, found.proof)
    if made is not None:
        made.other = other, second
    return made


def _engine_radius(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    """Between the exact distance and itself, or between rougher bounds."""
    if graph.sizes[-1] < 2:
        return None
    x = [Fraction(rng.randint(-8, 8), 8) for _ in range(graph.inputs)]
    label, targeted = rng.randrange(graph.sizes[-1]), rng.random() < 0.3
    norm, box = rng.choice(("linf", "l1", "l2")), None
    if rng.random() < 0.5:
        box = pv.Box(*zip(*cube(graph.inputs, rng.choice((1, 2, Fraction(1, 2)))), strict=True))
    sides = [(None, None)] * graph.inputs if box is None else list(zip(box.lo, box.hi, strict=True))
    found = closest(graph, x, label, targeted, sides, norm)
    if found is None:
        ends: Any = rng.choice((inf, Fraction(5))), inf, None
    else:
        most = 1 if norm == "linf" else 1 - Fraction(1, 2**40)  # the search knows closed balls
        lower = found[0] * rng.choice((most, most, most, Fraction(1, 2)))
        ends = lower, found[0] + rng.choice((0, 0, 1)), found[1]
    data = radius_proof(aim_at(net, x, label, norm, targeted, box), *ends, timeout=10)
    return _engine_case("radius", graph, net, data)


def _sharp_lipschitz(rng: random.Random, graph: Graph, net: Network) -> Case:
    return Case("lipschitz", graph, net, sharp_gain(rng, graph, net, _wide_box(rng, graph.inputs)))


def _engine_lipschitz(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    data = engine_gain(rng, graph, net, _wide_box(rng, graph.inputs))
    return _engine_case("lipschitz", graph, net, data)


def _region_tree(rng: random.Random, graph: Graph, net: Network) -> Case:
    domain = NdDomain.box(*zip(*_wide_box(rng, graph.inputs), strict=True))
    return Case("region tree", graph, net, prove_tree(graph, domain, net.digest, rng.randrange(99)))


def _tiling(rng: random.Random, graph: Graph, net: Network) -> Case | None:
    box = _wide_box(rng, graph.inputs)
    domain: Any = pv.Box([lo for lo, _ in box], [hi for _, hi in box])
    if graph.inputs > 2:
        basis = [[rng.randint(-2, 2) for _ in range(2)] for _ in range(graph.inputs)]
        basis[0], basis[1] = [1, rng.randint(-2, 2)], [0, 1]
        domain = pv.Slice([0] * graph.inputs, basis, pv.Box(-1, 1, 2))
    data = pv.regions(net, domain, exact=True).proof()
    return Case("tiling", graph, net, Proof.from_bytes(data, _bits(net)))


def _wide_box(rng: random.Random, dim: int) -> list[tuple[Fraction, Fraction]]:
    lows = [Fraction(rng.randint(-4, 0), rng.choice((1, 2))) for _ in range(dim)]
    return [(lo, lo + rng.randint(1, 3)) for lo in lows]


def _bits(net: Network) -> int:
    """Bits of a pattern."""
    return sum(net.exact_net.unit_bits)


_MAKERS: dict[str, Callable[[random.Random, Graph, Network], Case | None]] = {
    "unsat, sharp": _sharp_unsat,
    "unsat by the engine": _engine_unsat,
    "unsat by halving": _halved_unsat,
    "unsat in a ball": _unsat_in_a_ball,
    "in a ball by the engine": _engine_in_a_ball,
    "sat": _engine_sat,
    "maximum": _engine_maximum,
    "dead units": _dead_units,
    "dead units by the engine": _engine_dead_units,
    "sup distance": _engine_distance,
    "radius": _engine_radius,
    "lipschitz": _sharp_lipschitz,
    "lipschitz by the engine": _engine_lipschitz,
    "region tree": _region_tree,
    "tiling": _tiling,
}


# ---------------------------------------------------------------------------------------- mutations


def mutants(case: Case, rng: random.Random) -> Iterator[Mutant]:
    """Changed proofs, without end."""
    makers = [
        *(_another_network, _record, _tree, _bytes, _truncated),
        *(_statement, _statement, _statement, _statement_and_body, _statement_and_body),
    ]
    while True:
        maker = rng.choice(makers)
        try:
            found = maker(case, rng)
        except (IndexError, ValueError, KeyError):  # does not apply to what there is
            continue
        if found is not None:
            yield found


def _mutant(how: str, case: Case, proof: AnyProof) -> Mutant:
    return _as_bytes(how, case, proof.to_bytes())


def _as_bytes(how: str, case: Case, data: bytes) -> Mutant:
    return Mutant(how, data, case.graph, case.net, case.other)


def _another_network(case: Case, rng: random.Random) -> Mutant | None:
    """One coefficient or bias moved by a hair, the hash in the header forged or not."""
    second = case.other is not None and rng.random() < 0.5
    graph = _moved(case.other[0] if second and case.other else case.graph, rng)
    net, proof = network(graph), case.proof.copy()
    if rng.random() < 0.8:
        proof.header["other" if second else "network"] = net.digest
    data = proof.to_bytes()
    if second:
        return Mutant("another network", data, case.graph, case.net, (graph, net))
    return Mutant("another network", data, graph, net, case.other)


def _moved(graph: Graph, rng: random.Random) -> Graph:
    nodes = [list(node) for node in graph.nodes]
    k = rng.choice([k for k, node in enumerate(nodes) if node[0] == "linear"])
    rows = [(list(terms), bias) for terms, bias in nodes[k][2]]
    r = rng.randrange(len(rows))
    terms, bias = rows[r]
    step = rng.choice((ULP, -ULP, Fraction(1, 100), Fraction(-1)))
    if terms and rng.random() < 0.7:
        t = rng.randrange(len(terms))
        terms[t] = (terms[t][0], terms[t][1] + step)
    else:
        rows[r] = (terms, bias + step)
    nodes[k] = [*nodes[k][:2], rows]  # a convolution is none any more
    return Graph(graph.inputs, tuple(map(tuple, nodes)))


def _statement(case: Case, rng: random.Random) -> Mutant | None:
    proof = case.proof.copy()
    if not change_statement(proof.header, rng):
        return None
    return _mutant("statement", case, proof)


def change_statement(header: dict[str, Any], rng: random.Random) -> bool:
    """Change one place of what a header states."""
    fixed = {"claim", "evidence", "network", "definitions"}
    if rng.random() < 0.03:
        header[rng.choice(sorted(fixed))] = rng.choice(("unsat", "sat", "tree", "", 0, None))
        return True
    keys = [key for key in header if key not in fixed and header[key] is not None]
    at, key = header, rng.choice(keys)
    while isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.95:
        at = at[key]
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
    old = at[key]
    at[key] = _changed(old, rng)
    return bool(at[key] != old)


def _changed(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.03:
        return rng.choice((None, 0, -1, 1.5, "", "0.5", "+1", "01", "2/4", "1/0", [], {}, "nan"))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 1, -1, 1 << 20))
    if not isinstance(value, str):
        return _changed_parts(value, rng)
    if value in ("inf", "-inf"):
        return rng.choice(("0", "1", "-1", "1000000"))
    if value in ("linf", "l1", "l2"):
        return rng.choice(("linf", "l1", "l2"))
    number = Fraction(value)
    steps = (ULP, -ULP, ULP, -ULP, Fraction(1, 10**9), Fraction(-1, 10**9), 1, -1, -2 * number)
    if rng.random() < 0.05:
        return rng.choice(("inf", "-inf"))
    return str(number + rng.choice(steps))


def _changed_parts(value: Any, rng: random.Random) -> Any:
    """A list or object with a part lost, repeated or moved."""
    if not value:
        return rng.choice(([[0, "1"]], [0], None))
    if isinstance(value, list):
        out = list(value)
        k = rng.randrange(len(out))
        how = rng.randrange(3)
        if how == 0:
            del out[k]
        elif how == 1:
            out.insert(k, rng.choice(value))
        else:
            out[k], out[0] = out[0], out[k]
        return out
    out = dict(value)
    del out[rng.choice(sorted(out))]
    return out


def _record(case: Case, rng: random.Random) -> Mutant | None:
    if isinstance(case.proof, Proof):
        return _false_tiling(case, rng)
    if isinstance(case.proof, DualProof):
        return _mutant("record", case, changed_record(case.proof, rng))
    name = rng.choice([name for name in BREAKING if not name.startswith("split")])
    other = mutate_breaking(case.proof, name, rng)
    return None if other is None else _mutant("record", case, other)


def changed_record(proof: DualProof, rng: random.Random) -> DualProof:
    """A change of one record or two of a dual tree."""
    out = proof.copy()
    records = out.records
    if not records:
        return out
    at = rng.randrange(len(records))
    record = records[at]
    how = rng.randrange(8)
    if how == 0:
        del records[at]
    elif how == 1:
        records.insert(at, records[rng.randrange(len(records))])
    elif how == 2:
        other = rng.randrange(len(records))
        records[at], records[other] = records[other], records[at]
    elif how == 3 and proof.header["claim"] == "lipschitz" and rng.random() < 0.5:
        records.insert(at, rng.choice((("norm",), ("slopes", rng.choice((0, 1, 2))))))
    elif how == 3:
        records.insert(at, ("bounds", rng.choice((0, 1, 1, 2, 3))))
    elif how == 4:
        records.insert(at, statement_of(record, rng))
    elif record[0] in ("dual", "rule", "envelope"):
        records[at] = changed_leaf(record, rng)
    elif record[0] in ("unit", "bounds", "slopes"):
        records[at] = (record[0], max(0, record[1] + rng.choice((-1, 1))))
    elif record[0] == "input":
        kind, i, num, den = record
        records[at] = (kind, max(0, i + rng.choice((-1, 0, 1))), num + rng.choice((-9, 0, 1)),
                       den * rng.choice((-1, 0, 1, 3)))  # fmt: skip
    return out


def _tree(case: Case, rng: random.Random) -> Mutant | None:
    if isinstance(case.proof, Proof):
        return _false_tiling(case, rng)
    if isinstance(case.proof, TreeProof):
        other = mutate_breaking(case.proof, rng.choice(BREAKING[4:8]), rng)
        return None if other is None else _mutant("tree", case, other)
    return _mutant("tree", case, changed_tree(case.proof, case.graph, rng))


def changed_tree(proof: DualProof, graph: Graph, rng: random.Random) -> DualProof:
    """Subtrees of a dual tree swapped, repeated or left out."""
    out = proof.copy()
    records, counts = out.records, _children(graph)
    at = rng.choice([k for k, record in enumerate(records) if record[0] in ("input", "unit")])
    ends = [at + 1]
    n = 2 if records[at][0] == "input" else counts[records[at][1]]
    for _ in range(n):
        ends.append(_subtree_end(records, ends[-1], counts))
    parts = [records[a:b] for a, b in pairwise(ends)]
    how = rng.randrange(5)
    if how == 0:
        rng.shuffle(parts)
    elif how == 1:
        parts = [rng.choice(parts)] * n
    elif how == 2:
        parts.pop(rng.randrange(n))
    elif how == 3:  # the split undone
        records[at : ends[-1]] = rng.choice(parts)
        return out
    else:
        other = rng.randrange(len(records))
        foreign = records[other : _subtree_end(records, other, counts)]
        parts[rng.randrange(n)] = foreign
    records[at + 1 : ends[-1]] = [record for part in parts for record in part]
    return out


def _children(graph: Graph) -> list[int]:
    """Per unit, how many children its split has."""
    return [2 if n == 1 else n for _, n in numbering(graph)]


def _subtree_end(records: Records, at: int, counts: list[int]) -> int:
    left = 1
    while left:
        kind = records[at][0]
        left -= 1
        if kind == "input":
            left += 2
        elif kind == "unit":
            left += counts[records[at][1]]
        elif kind in ("bounds", "slopes"):
            left += 1
        at += 1
    return at


def _false_tiling(case: Case, rng: random.Random) -> Mutant | None:
    other = case.proof.copy()
    if rng.choice(FALSE_PROOFS)(other, rng) is False:
        return None
    return _mutant("tiling", case, other)


def _statement_and_body(case: Case, rng: random.Random) -> Mutant | None:
    found = rng.choice((_record, _tree))(case, rng)
    if found is None:
        return None
    header, stream = unpack(found.data)
    if not change_statement(header, rng):
        return None
    data = pack(json.dumps(header).encode(), stream)
    return _as_bytes("statement and body", case, data)


def _bytes(case: Case, rng: random.Random) -> Mutant | None:
    header, body = case.proof.header, bytearray(case.proof.body())
    how = rng.randrange(4)
    if how == 0 and body:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(body))
            body[at] = rng.choice((body[at] ^ 1 << rng.randrange(8), 0, 255, 128))
    elif how == 1:
        at = rng.randrange(len(body) + 1)
        body[at:at] = rng.randbytes(rng.randint(1, 3))
    elif how == 2:
        text = json.dumps(header)
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice('0123456789-[]{}," e.n') + text[at + rng.randrange(2) :]
        data = pack(text.encode(), zlib.compress(bytes(body)))
        return _as_bytes("bytes", case, data)
    else:
        data = bytearray(case.proof.to_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return _as_bytes("bytes", case, bytes(data))
    return _as_bytes("bytes", case, with_body(header, bytes(body)))


def _truncated(case: Case, rng: random.Random) -> Mutant | None:
    if rng.random() < 0.5:
        body = case.proof.body()
        data = with_body(case.proof.header, body[: rng.randrange(len(body))])
    else:
        whole = case.proof.to_bytes()
        data = whole[: rng.randrange(len(whole))]
    return _as_bytes("truncated", case, data)


# ---------------------------------------------------------------------------------------- judgement


class Judgement(NamedTuple):
    """What came of a mutant: `wrong` says what must not be, or is empty."""

    accepted: bool
    false: bool  # whether the header states what is not true
    wrong: str
    differ: bool = False  # in the last digits of bounds


def judge(case: Case, mutant: Mutant) -> Judgement:
    """Ask both checkers, and the truth."""
    second = mutant.other and mutant.other[1]
    verdicts = [pv.check(mutant.data, mutant.net, python=p, other=second) for p in (False, True)]
    try:
        header, stream = unpack(mutant.data)
        assert isinstance(header, dict)
        truth = case.states_truth(header, mutant) if "claim" in header else None
    except (ValueError, AssertionError):
        header, stream, truth = {}, b"", None
    accepted = [verdict.accepted for verdict in verdicts]
    wrong = ""
    if any(accepted) and not truth:
        wrong = f"accepted: {verdicts[0].claim}"
    elif any(accepted) and not all(accepted) and not _accept_with_a_margin(mutant, header, stream):
        wrong = f"{verdicts[0].reason!r} against {verdicts[1].reason!r}"
    elif all(accepted) and case.kind == "tiling" and not _patterns_are_right(mutant, header):
        wrong = "accepted with other patterns"
    elif not all(v.accepted or (v.reason and v.reason.isprintable()) for v in verdicts):
        wrong = "no reason"
    return Judgement(all(accepted), truth is False, wrong, any(accepted) and not all(accepted))


def _accept_with_a_margin(mutant: Mutant, header: dict[str, Any], stream: bytes) -> bool:
    """Whether both checkers accept the body for a slightly weaker statement."""
    graph = mutant.graph
    if header["claim"] == "unsat":
        systems = systems_of(graph, header["property"])
    elif header["claim"] == "maximum":
        systems = [better_than_maximum(graph, header)]
    elif header["claim"] == "lipschitz":
        upper = Fraction(header["upper"])
        weaker = header | {"upper": str(upper + MARGIN * (1 + abs(upper)))}
        return _both_accept(mutant, weaker, stream)
    else:  # no such statement about one network and its outputs
        return ("bounds", 1) in decode(zlib.decompress(stream))
    for system in systems:
        system.rows[:] = [
            row._replace(bound=row.bound - MARGIN * (1 + abs(row.bound))) for row in system.rows
        ]
    return _both_accept(mutant, unsat(graph, mutant.net.digest, systems, []).header, stream)


def _both_accept(mutant: Mutant, header: dict[str, Any], stream: bytes) -> bool:
    data = pack(json.dumps(header).encode(), stream)
    return all(pv.check(data, mutant.net, python=python) for python in (False, True))


def _patterns_are_right(mutant: Mutant, header: dict[str, Any]) -> bool:
    proof = Proof.from_bytes(mutant.data, _bits(mutant.net))
    dim = header["dim"]
    domain = NdDomain(dim, tuple(tuple(map(Fraction, row)) for row in header["constraints"]))
    if header["slice"] is not None:
        scale = int(header["slice"]["scale"])
        rows = [[Fraction(int(v), scale) for v in row] for row in header["slice"]["rows"]]
        domain = domain.along([row[-1] for row in rows], [row[:-1] for row in rows])
    true = [cell.pattern for cell in _leaves(mutant.graph, _start(mutant.graph, domain))]
    size = (_bits(mutant.net) + 7) // 8
    exact = mutant.net.exact_net
    stated = [
        tuple(piece for layer in exact.layer_bits(p.to_bytes(size, "little")) for piece in layer)
        for p, _ in proof.regions
    ]
    return sorted(true) == sorted(stated)


@dataclass
class Tally:
    """Counts of a run."""

    mutants: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    differ: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case, mutant: Mutant, found: Judgement) -> None:
        self.mutants[mutant.how] += 1
        self.kinds[case.kind] += 1
        self.false[mutant.how] += found.false
        self.accepted[mutant.how] += found.accepted
        self.differ += found.differ


def run(seed: int, count: int, tally: Tally) -> None:
    """So many mutants of the proof of a seed, which must itself be accepted."""
    case, rng = case_of(seed), random.Random(f"mutants {seed}")
    honest = judge(case, _as_bytes("", case, case.proof.to_bytes()))
    if not honest.accepted or honest.wrong:
        tally.wrong.append(f"seed {seed}: the valid proof: {honest.wrong or 'rejected'}")
        return
    for k, mutant in zip(range(count), mutants(case, rng), strict=False):
        found = judge(case, mutant)
        tally.add(case, mutant, found)
        if found.wrong:
            tally.wrong.append(f"seed {seed}, mutant {k}, {mutant.how}: {found.wrong}")
