"""Radius, distance of two networks, units that never switch: what is stated, and what is not.

`proof_truth` decides by exact linear programs what is true.
"""

from __future__ import annotations

import json
import math
import random
import zlib
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import pytest
from dual_cases import NAMES, TINY, aim_at, both, graphs, network, small_random
from dual_proof_tools import Ball, Row, System, encode, full, with_body
from oracle_graph import Graph, evaluate
from proof_tools import unpack
from proof_truth import closest, is_true

import plverify as pv
from plverify import certificate, checker_claims, checker_nets, compose
from plverify.ball import _root_above, radius_proof
from plverify.network import Network
from plverify.proof import radius_header

F = Fraction


def changed(data: bytes, **entries: Any) -> bytes:
    """The same body under another statement."""
    header, stream = unpack(data)
    return with_body({**header, **entries}, zlib.decompress(stream))


def two_outputs() -> list[tuple[Graph, Network]]:
    drawn = [graph for graph in map(small_random, range(120)) if graph is not None]
    named = [graphs()[name] for name in NAMES]
    some = [graph for graph in (*named, *drawn) if graph.sizes[-1] >= 2]
    return [(graph, network(graph, k)) for k, graph in enumerate(some)]


# -------------------------------------------------------------------------------- composed networks


@pytest.mark.parametrize("seed", range(6))
def test_the_checker_makes_the_networks_that_the_search_is_asked_about(seed: int) -> None:
    rng = random.Random(seed)
    pairs = two_outputs()
    _, f = pairs[seed]
    same = [g for _, g in pairs if (g.input_size, g.output_size) == (f.input_size, f.output_size)]
    g = rng.choice(same)
    x = [F(rng.randint(-9, 9), 7) for _ in range(f.input_size)]
    joint = compose.difference(f, g)
    exact = checker_nets.difference(f.exact_net, g.exact_net)
    assert exact.evaluate(x) == [a - b for a, b in zip(f.exact(x), g.exact(x), strict=True)]
    assert exact.digest() == joint.digest
    total = checker_nets.absolute_sum(exact)
    assert total.evaluate(x) == [sum(map(abs, exact.evaluate(x)))]
    assert total.digest() == compose.absolute_sum(joint).digest


# ------------------------------------------------------------------------------------------- radius


def drawn_question(graph: Graph, rng: random.Random) -> tuple[list[F], int, pv.Box | None, Any]:
    """A point, a label, and a domain, also as its sides."""
    x = [F(rng.randint(-8, 8), 8) for _ in range(graph.inputs)]
    label = rng.randrange(graph.sizes[-1])
    if rng.random() < 0.5:
        return x, label, None, [(None, None)] * len(x)
    low = [F(rng.randint(-8, 4), 4) for _ in x]
    domain = pv.Box(low, [a + F(rng.randint(0, 6), 4) for a in low])
    return x, label, domain, list(zip(domain.lo, domain.hi, strict=True))


def nothing_sharper(data: bytes, graph: Graph, net: Network, distance: F) -> None:
    """What a valid proof of a distance proves when its statement is changed."""
    verdict = both(data, net)
    assert verdict, verdict.reason
    header, _ = unpack(data)
    assert f"the {header['norm']} distance is at least" in verdict.claim
    assert ("the square root of" in verdict.claim) == (header["norm"] == "l2")
    assert is_true(graph, header)
    for more in (TINY, TINY**2):
        assert not both(changed(data, lower=str(distance + more)), net)
    assert not both(changed(data, lower="inf"), net)
    if distance:
        assert not both(changed(data, upper=str(distance - TINY)), net)
    for entries in (
        {"lower": str(distance / 2)},
        {"closed": True},
        {"norm": "linf"},
        {"norm": "l1"},
        {"norm": "l2"},
    ):
        other = both(changed(data, **entries), net)
        assert not other or is_true(graph, header | entries)
    assert both(changed(data, upper=str(distance + 1)), net)
    assert both(changed(data, upper="inf", witness=None), net)
    assert not both(changed(data, upper="inf"), net)


def check_radius(
    graph: Graph, net: Network, rng: random.Random, norm: str, targeted: bool
) -> Fraction | None:
    """The exact distance, -1 for none, if the search proves it; nothing sharper is proven."""
    x, label, domain, sides = drawn_question(graph, rng)
    found = closest(graph, x, label, targeted, sides, norm)
    aim = aim_at(net, x, label, norm, targeted, domain)
    upper, witness = found if found is not None else (inf, None)
    # In l1 and l2 the search is asked about closed balls.
    lower = upper if norm == "linf" or not isinstance(upper, F) else upper * (1 - F(1, 2**30))
    data = radius_proof(aim, lower, upper, witness)
    if data is None:  # too much for the search
        return None
    assert both(data, net), both(data, net).reason
    assert is_true(graph, unpack(data)[0])
    if found is None:
        return F(-1)
    nothing_sharper(data, graph, net, found[0])
    assert radius_proof(aim, found[0] + TINY, inf, None) is None
    return found[0]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_the_radius_is_proven_and_nothing_sharper(norm: str, targeted: bool) -> None:
    rng = random.Random(f"{norm} {targeted}")
    pairs = two_outputs()
    seen = [check_radius(*rng.choice(pairs), rng, norm, targeted) for _ in range(14)]
    assert seen.count(None) <= 5
    assert sum(distance is not None and distance > 0 for distance in seen) >= 2


def open_systems(
    graph: Graph, x: list[F], label: int, targeted: bool, sides: Any, norm: str, lower: Any
) -> list[System]:
    """What the format says that the body of a claim refutes."""
    pairs = [(label, j) if targeted else (j, label) for j in range(graph.sizes[-1]) if j != label]
    beats = [Row({}, {j: -1, k: 1}, F(0)) for j, k in pairs]
    cases = [beats] if targeted else [[row] for row in beats]
    if lower == inf:
        return [System(sides, rows) for rows in cases]
    reach = _root_above(lower) if norm == "l2" else lower
    box = []
    for c, (a, b) in zip(x, sides, strict=True):
        lo, hi = c - reach, c + reach
        box.append((lo if a is None else max(a, lo), hi if b is None else min(b, hi)))
    near = []
    for i, (c, (a, b)) in enumerate(zip(x, box, strict=True)):
        ends = [(1, c + reach)] * (b == c + reach) + [(-1, reach - c)] * (a == c - reach)
        if lower <= 0 or a > b or (norm == "linf" and a == b and ends):
            return []
        near += [Row({i: sign}, {}, end, True) for sign, end in ends]
    if norm == "linf":
        return [System(box, [*rows, *near]) for rows in cases]
    return [System(box, rows, Ball(norm, x, lower, True)) for rows in cases]


def by_hand(net: Network, x: list[F], label: int, targeted: bool, domain: pv.Box | None, norm: str,
            ends: Any, witness: Any, records: Any) -> bytes:  # fmt: skip
    where = pv.Box(-inf, inf, len(x)) if domain is None else domain
    header = radius_header(net, norm, x, label, targeted, where, ends, witness)
    return with_body(header, b"".join(map(encode, records)))


@pytest.mark.sanitize
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_trees_made_by_hand_reach_the_sphere(norm: str, targeted: bool) -> None:
    """The two ends are equal: the ball is open, the nearest input is on its sphere."""
    rng = random.Random(f"{norm} {targeted}")
    pairs = two_outputs()
    away = 0
    for _ in range(16):
        graph, net = rng.choice(pairs)
        x, label, domain, sides = drawn_question(graph, rng)
        found = closest(graph, x, label, targeted, sides, norm)
        lower, witness = found if found is not None else (inf, None)
        systems = open_systems(graph, x, label, targeted, sides, norm, lower)
        records = full(graph, systems)
        assert records is not None
        data = by_hand(net, x, label, targeted, domain, norm, (lower, lower), witness, records)
        verdict = both(data, net)
        assert verdict, verdict.reason
        if found is not None:
            nothing_sharper(data, graph, net, found[0])
            away += found[0] > 0
    assert away >= 3


@pytest.mark.parametrize("seed", range(3))
def test_the_box_of_a_ball_is_the_same_for_search_and_checker(seed: int) -> None:
    rng = random.Random(seed)
    bits = [(rng.randint(1, 2200), rng.randint(1, 2300)) for _ in range(60)]
    values = [F(rng.getrandbits(a) + 1, rng.getrandbits(b) + 1) for a, b in bits]
    values += [F(rng.random()) ** 2 for _ in range(20)]
    values += [F(2) ** 2046, F(2) ** 2048, F(1, 10**700), F(4), F(9, 16), F(1, 2**2148)]
    for value in values:
        root = _root_above(value)
        assert root == checker_claims._root_above(value)
        if root is None:
            assert value > F(2) ** 2047
            continue
        assert F(float(root)) == root
        assert F(math.nextafter(float(root), 0)) ** 2 < value <= root**2


def plain() -> Network:
    """The label is the sign of x_0."""
    return Network.from_arrays([[[1, 0], [-1, 0]]])


def test_balls_that_hold_nothing() -> None:
    """The open ball at the end of a domain, beside it, and of radius 0."""
    net = plain()
    cases = (
        ([1, 0], 1, pv.Box([0, 0], [0, 0])),  # the only point of the domain is at distance 1
        ([1, 0], 1, pv.Box([-5, -5], [0, 5])),
        ([1, 0], 1, pv.Box([-5, 3], [-3, 5])),
        ([1, 0], 0, None),
        ([-1, 0], 0, None),
    )
    for norm in ("linf", "l1", "l2"):
        for k, (x, radius, domain) in enumerate(cases):
            data = radius_proof(aim_at(net, x, 0, norm, domain=domain), radius, inf, None)
            if k < 2 and norm != "linf":  # the closed ball holds a point
                assert data is None
                leaf = [("rule", [(1, 1)])]  # the box is as far away as the sphere
                at = list(map(F, x))
                data = by_hand(net, at, 0, False, domain, norm, (F(1), inf), None, leaf)
            assert data is not None
            assert both(data, net), both(data, net).reason
    far = radius_proof(aim_at(net, [1, 0], 0, domain=pv.Box([1, 0], [9, 9])), inf, inf, None)
    assert far is not None
    assert "at least infinite" in both(far, net).claim
    near = aim_at(net, [1, 0], 0, domain=pv.Box([0, 0], [9, 9]))
    assert radius_proof(near, inf, inf, None) is None


def test_headers_about_radii_are_read_strictly() -> None:
    net = plain()
    aim = aim_at(net, ["3/4", 0], 0)
    data = radius_proof(aim, "3/4", "3/4", [0, "1/2"])
    assert data is not None
    assert both(data, net)
    for entries, why in (
        ({"norm": "l3"}, "norm"),
        ({"norm": 1}, "norm"),
        ({"label": 2}, "label"),
        ({"label": True}, "label"),
        ({"targeted": 0}, "truth value"),
        ({"x": ["3/4"]}, "per input"),
        ({"x": ["0.75", "0"]}, "decimal"),
        ({"lower": "-inf"}, "decimal"),
        ({"lower": None}, "rational"),
        ({"closed": 1}, "truth value"),
        ({"witness": None}, "per input"),
        ({"witness": ["0", "7/8"]}, "farther"),
        ({"witness": ["1/8", "0"]}, "violates"),
        ({"domain": {"lo": ["1/8", "-inf"], "hi": ["inf", "inf"]}}, "not in the box"),
    ):
        verdict = both(changed(data, **entries), net)
        assert not verdict
        assert why in verdict.reason, (entries, verdict.reason)
    # A negative bound says nothing, and needs no tree.
    header, _ = unpack(data)
    assert both(with_body({**header, "lower": "-1"}, b""), net)
    with pytest.raises(pv.InputError, match="radius"):
        radius_proof(aim, "x", 1, None)


# ------------------------------------------------------------------------------ two networks, units


def test_a_distance_is_about_two_networks(cli: Any, tmp_path: Any) -> None:
    paths = []
    for name, w in (("f", [[1.0, 1.0], [2.0, 0.0]]), ("g", [[1.0, 0.5], [1.0, 0.0]])):
        tables = {"W0": np.array([[1.0], [-1.0]]), "W1": np.array(w)}
        np.savez(tmp_path / name, **tables, b0=np.zeros(2), b1=np.zeros(2))
        paths.append(str(tmp_path / f"{name}.npz"))
    f, g = map(pv.load, paths)
    for norm, value in (("linf", 2), ("l1", 2)):  # 2 x or -x / 2
        found = pv.sup_distance(f, g, pv.Box(-2, 2, 1), norm, proof=tmp_path / norm)
        assert found.value == value
        assert found.proof is not None
        header, _ = unpack((tmp_path / norm).read_bytes())
        assert (header["network"], header["other"]) == (f.digest, g.digest)
        command = ["check", str(found.proof), paths[0]]
        code, out, _ = cli(*command, "--other", paths[1])
        assert code == 0, out
        assert f.digest in out
        assert g.digest in out
        for more in ([], ["--other", paths[0]]):
            assert cli(*command, *more)[0] == 1
        data = (tmp_path / norm).read_bytes()
        for entries in ({"value": "3"}, {"value": "1"}, {"norm": "l2"}, {"witness": ["1"]}):
            for python in (False, True):
                assert not pv.check(changed(data, **entries), f, other=g, python=python)
    assert "one network" in pv.check(pv.regions(f, pv.Box(0, 1, 1), exact=True).proof(), f,
                                     other=g).reason  # fmt: skip
    spec = pv.Property.output_at_most(pv.Box(0, 1, 1), 0, 100, 2)
    assert "one network" in pv.check(pv.verify(f, spec, proof=True).proof, f, other=g).reason


def test_the_distance_of_other_sizes_is_refused() -> None:
    one, two = Network.from_arrays([[[1.0]]]), Network.from_arrays([[[1.0, 1.0]]])
    found = pv.sup_distance(one, one, pv.Box(0, 1, 1), proof=True)
    assert found.proof is not None
    data = changed(bytes(found.proof), other=two.digest)
    assert "inputs or outputs" in pv.check(data, one, other=two).reason


@pytest.mark.parametrize("block", range(3))
def test_units_of_all_networks_that_never_switch(block: int, tmp_path: Any) -> None:
    """Residual sums, windows, dead branches: numbers are those of the whole network."""
    proven = asked = 0
    for seed in range(60 * block, 60 * block + 60):
        graph = small_random(seed)
        if graph is None:
            continue
        net = network(graph, seed)
        box = pv.Box(F(-1, 4), F(1, 4), graph.inputs)
        found = pv.dead_units(net, box, proof=tmp_path / "units")
        data = (tmp_path / "units").read_bytes()
        assert found.proof == str(tmp_path / "units")
        header, _ = unpack(data)
        assert both(data, net)
        assert is_true(graph, header)
        assert len(header["units"]) == len(found.dead) + len(found.always_active)
        proven += len(header["units"])
        asked += 1
        middle = evaluate(graph, [0] * graph.inputs)[1]
        for unit, piece in header["units"]:
            if middle[unit] == 1:
                assert piece == 1
            flipped = [[u, 1 - p if u == unit else p] for u, p in header["units"]]
            if not is_true(graph, {**header, "units": flipped}):
                assert not both(changed(data, units=flipped), net)
    assert asked >= 5
    assert proven or block == 1


def test_python_reads_a_network_only_where_a_claim_asks_for_it() -> None:
    net = plain()
    case = pv.Disjunct(pv.Box(0, 1, 2), (pv.Constraint((), ((0, 1),), F(-1)),))  # y_0 <= -1
    spec = pv.Property(2, 2, (case,))
    proof = pv.verify(net, spec, proof=True).proof
    assert isinstance(proof, bytes)
    assert pv.check(proof, net, spec)
    assert "exact_net" not in net.__dict__
    assert pv.check(proof, net, spec, python=True)
    assert "exact_net" in net.__dict__
    for graph in graphs().values():
        some = network(graph)
        unread, exact = certificate._Unread(some), some.exact_net
        for name in ("input_size", "output_size", "unit_count", "nodes"):
            assert getattr(unread, name) == getattr(exact, name)
        assert unread.digest() == exact.digest() == some.digest


def test_no_proof_is_written_where_none_is_wanted() -> None:
    net = Network.from_arrays([[[1], [1]], [[1, 1]]], [[2, 0], [0]])
    found = pv.dead_units(net, pv.Box(-1, 1, 1))
    assert found.proof is None
    assert json.loads(found.to_json())["proof"] is None
