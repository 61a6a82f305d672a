"""Both checkers of region trees accept honest trees, and nothing forged or malformed.

`test_checker_tree_mutations` changes trees at random.
"""

from __future__ import annotations

import json
import random
import signal
import struct
import subprocess
import sys
import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tree_proof_tools as tools
from graph_strategies import to_nodes
from oracle_graph import Graph, chain
from oracle_nd import NdDomain, _leaves, _start
from proof_tools import big, pack, var
from tree_cases import CASES, Case, both, cases, cube, dense, linear, make, random_make, rejected
from tree_proof_tools import TreeProof, multiplier, with_body

import plverify as pv
from plverify import _check, checker_tree
from plverify.network import Network

# ------------------------------------------------------------------------------------ honest proofs


@pytest.mark.sanitize
@pytest.mark.parametrize("name", CASES)
def test_honest_trees_are_accepted(name: str) -> None:
    net, proof = cases()[name]
    verdict = both(proof.to_bytes(), net)
    assert verdict.reason == ""
    assert verdict.stats["regions"] == proof.leaves()
    assert f"exactly {proof.leaves()} activation regions" in verdict.claim
    assert net.digest in verdict.claim
    assert verdict.stats["domain_sha256"] in verdict.claim
    assert set(cases()) == set(CASES)


@pytest.mark.parametrize("block", range(6))
def test_honest_trees_of_random_graphs_are_accepted(block: int) -> None:
    seen = 0
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        made = random_make(seed)
        if made is None:
            continue
        graph, domain, net, proof = made
        verdict = both(proof.to_bytes(), net)
        assert verdict.reason == "", seed
        assert verdict.stats["regions"] == len(list(_leaves(graph, _start(graph, domain))))
        seen += 1
    assert seen > 5


@pytest.mark.parametrize("name", ["square", "line"])
def test_trees_and_tilings_agree(name: str) -> None:
    net, proof = cases()[name]
    dim = proof.header["dim"]
    tiling = pv.regions(net, pv.Box([-3 + dim] * dim, [3 - dim] * dim), exact=True).proof()
    for python in (False, True):
        other = pv.check(tiling, net, python=python)
        assert other.stats["regions"] == proof.leaves()
        assert other.stats["domain_sha256"] == both(proof.to_bytes(), net).stats["domain_sha256"]


def test_where_doubles_decide_there_is_no_exact_arithmetic() -> None:
    """Off the origin, too; the multipliers here are good enough to leave no certificate open."""
    for name in ("square", "cube", "five dimensions", "far"):
        net, proof = cases()[name]
        stats = pv.check(proof.to_bytes(), net).stats
        assert stats["exact_signs"] == 0, name
        assert stats["exact_certificates"] <= stats["certificates"] // 2, name
    net, proof = cases()["zero rows"]
    assert pv.check(proof.to_bytes(), net).stats["exact_signs"] > 0


def test_the_order_within_a_layer_is_free() -> None:
    """Fixed units of one layer in another order; nothing refers to them."""
    rng = random.Random(1)
    for name in ("cube", "simplex", "square"):
        net, proof = cases()[name]
        layer = [k for k, width in enumerate(net.exact_net.widths) for _ in range(width)]
        spots = [
            k
            for k in range(len(proof.records) - 1)
            if proof.records[k][0] == proof.records[k + 1][0] == "fix"
            and layer[proof.records[k][1]] == layer[proof.records[k + 1][1]]
        ]
        for k in rng.sample(spots, min(10, len(spots))):
            other = proof.copy()
            other.records[k : k + 2] = other.records[k + 1], other.records[k]
            assert both(other.to_bytes(), net)


def test_zero_constraints_that_do_not_hold_leave_nothing() -> None:
    net, proof = cases()["constraints of zeros"]
    other = proof.copy()
    assert other.header["constraints"][-1] == ["0"] * 3
    other.header["constraints"][-1] = ["0", "0", "-1"]
    assert rejected(other.to_bytes(), net)


# --------------------------------------------------------------------------------- false statements


@pytest.mark.parametrize("name", CASES)
def test_false_statements_are_rejected(name: str) -> None:
    net, proof = cases()[name]
    for count in (0, proof.leaves() - 1, proof.leaves() + 1, 1 << 39):
        other = proof.copy()
        other.header["regions"] = count
        assert rejected(other.to_bytes(), net)
    other = proof.copy()
    other.header["network"] = "0" * 64
    assert rejected(other.to_bytes(), net, "another network")
    for key in list(proof.header):
        other = proof.copy()
        del other.header[key]
        assert rejected(other.to_bytes(), net)
    other.header.update(proof.header, surplus=1)
    assert rejected(other.to_bytes(), net)
    for evidence in ("tiling", None, 1, ["tree"], {}):
        other.header = {**proof.header, "evidence": evidence}
        assert rejected(other.to_bytes(), net)
    # The whole of a larger domain, and a witness that a smaller one does not hold.
    other = proof.copy()
    row = ["0"] * proof.header["dim"]
    e, p = next(r[1:] for r in proof.records if r[0] == "leaf")
    wall = [str(1 << e), *row[1:], str(-p[0])]
    other.header["constraints"].append(wall)
    assert rejected(other.to_bytes(), net)


def test_trees_of_another_network_are_rejected() -> None:
    _, proof = cases()["cube"]
    other_net, _ = make(dense(random.Random(99), [3, 5, 3, 1]), cube(3))
    other = proof.copy()
    other.header["network"] = other_net.digest
    assert rejected(proof.to_bytes(), other_net, "another network")
    assert rejected(other.to_bytes(), other_net)


@pytest.mark.parametrize("edit", [
    {"claim": None}, {"claim": "sat"}, {"dim": 0}, {"dim": 2}, {"dim": 1 << 39}, {"dim": "3"},
    {"slice": {}}, {"slice": {"scale": "1", "rows": []}}, {"constraints": [["1"]]},
    {"constraints": [[1, 2, 3, 4]]}, {"definitions": 0}, {"regions": "8"}, {"regions": True},
    {"vertices": 3},
], ids=str)  # fmt: skip
def test_malformed_headers_are_rejected(edit: dict[str, Any]) -> None:
    net, proof = cases()["cube"]
    other = proof.copy()
    other.header.update(edit)
    assert rejected(other.to_bytes(), net)


# ------------------------------------------------------------------------------------ forged trees


def test_units_of_later_layers_come_later() -> None:
    seen = 0
    for net, proof in cases().values():
        layer = [k for k, width in enumerate(net.exact_net.widths) for _ in range(width)]
        for k in range(len(proof.records) - 1):
            one, two = proof.records[k : k + 2]
            if one[0] == two[0] == "fix" and layer[one[1]] < layer[two[1]] and seen < 20:
                other = proof.copy()
                other.records[k : k + 2] = two, one
                assert rejected(other.to_bytes(), net, "earlier layer")
                seen += 1
    assert seen == 20


def test_witnesses_on_walls_are_rejected() -> None:
    """Every wall of the square and of its first layer, met exactly."""
    graph = chain([[[1, 0], [0, 1], [1, 1]], [[1, 1, 1]]], [[0, 0, 0], [0]])
    net, proof = make(graph, cube(2))
    for at, record in enumerate(proof.records):
        if record[0] != "leaf":
            continue
        x, y = (Fraction(v, 1 << record[1]) for v in record[2])
        for point in ((0, y), (x, 0), (x, -x), (1, y), (-1, y), (x, 1), (x, -1), (0, 0)):
            p = [int(Fraction(v) * (1 << record[1])) for v in point]
            for more in (0, 60, 1100):
                other = proof.copy()
                other.records[at] = ("leaf", record[1] + more, [v << more for v in p])
                assert rejected(other.to_bytes(), net)
        # A hair beside it is as good as any other place.
        for point, side in (((0, y), (x > 0) - (x < 0)), ((-1, y), 1)):
            if point[0] == -1 and (x > 0 or (x + y > 0) == (y - 1 <= 0)):
                continue
            moved = [int(Fraction(v) * (1 << record[1])) << 1100 for v in point]
            moved[0] += side
            other = proof.copy()
            other.records[at] = ("leaf", record[1] + 1100, moved)
            whole = (moved[0] + moved[1] > 0) == (x + y > 0)
            assert rejected(other.to_bytes(), net) != whole


def test_rows_of_zeros_have_the_canonical_piece() -> None:
    net, proof = cases()["zero rows"]
    for at, record in enumerate(proof.records):
        if record[0] == "fix" and record[1] == 0:
            other = proof.copy()
            other.records[at] = ("fix", 0, 1, (1, 0), [])
            assert rejected(other.to_bytes(), net, "strictly")
            end = proof.subtree(at)
            other.records[at:end] = [("split", 0), *proof.records[at + 1 : end] * 2]
            other.header["regions"] = other.leaves()
            assert rejected(other.to_bytes(), net)


@pytest.mark.sanitize
def test_equal_slots_cannot_drop_each_other() -> None:
    """z_0 = z_1 > z_2: dropping 0 because of 1 and 1 because of 0 would lose a region."""
    net, _ = cases()["ties"]
    rows = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    graph = Graph(2, (linear(0, rows), ("max", (1,), [[0, 1, 2]]), linear(2, [[1, 0]])))
    net, proof = make(graph, cube(2))
    assert proof.leaves() == 2
    assert both(proof.to_bytes(), net)
    one = (1, 0)
    forged = proof.copy()
    last = forged.records[-1]
    drop = {0: ([(1, one)], []), 1: ([(0, one)], [])}
    forged.records = [("window", 0, [2], drop), last]
    forged.header["regions"] = 1
    assert rejected(forged.to_bytes(), net, "nothing that could beat it")
    for first in ([(1, one), (2, one)], [(2, one)]):
        forged.records[0] = ("window", 0, [2], {**drop, 0: (first, [])})
        assert rejected(forged.to_bytes(), net)
    # The second of two equal slots is not the canonical one.
    forged.records = [("window", 0, [1, 2], {0: ([(1, one)], [])}), *proof.records[1:]]
    forged.header["regions"] = 2
    assert rejected(forged.to_bytes(), net)


@pytest.mark.parametrize("kind", ["units", "max"])
def test_nodes_must_fit_their_units(kind: str) -> None:
    net, proof = cases()["ties" if kind == "max" else "mixed slopes"]
    records = proof.records
    one = (1, 0)
    wrong: list[tuple[Any, ...]] = [
        ("split", 1 << 62), ("fix", 1 << 40, 0, one, []), ("split", len(net.exact_net.unit_bits)),
        ("leaf", 0, [0, 0]), ("window", 0, [], {}), ("window", 0, [99], {}),
        ("window", 0, [1 << 50], {}), ("window", 0, [0, 0], {}),
    ]  # fmt: skip
    wrong += [("split", 0), ("fix", 0, 0, one, [])] if kind == "max" else [("window", 0, [0], {})]
    if kind == "units":
        wrong += [("split", 3), ("fix", 3, 0, one, [])]  # slope 1: it has one piece
    for record in wrong:
        other = proof.copy()
        other.records = [record, *records]
        assert rejected(other.to_bytes(), net)
        other.records = [record, *records[1:]]
        assert rejected(other.to_bytes(), net)


# ------------------------------------------------------------------------------------ certificates


def wedge(excess: Fraction) -> Case:
    """The unit x + y - 2 - excess on [0, 1]^2, which is off if and only if excess >= 0."""
    graph = chain([[[1, 1]], [[1]]], [[-2 - excess], [0]])
    net = Network(2, to_nodes(graph))
    domain = NdDomain.box([0, 0], [1, 1])
    records = [("fix", 0, 0, (1, 0), []), ("leaf", 1, [1, 1])]
    constraints = [[1, 0, 0], [-1, 0, 1], [0, 1, 0], [0, -1, 1]]
    return net, TreeProof(tools.tree_header(net.digest, domain, 1, constraints), records)


@pytest.mark.sanitize
@pytest.mark.parametrize("bits", [0, 10, 52, 53, 60, 200, 1100, 4000])
def test_certificates_are_decided_to_the_last_bit(bits: int) -> None:
    """x + y - 2 - excess is at most -excess on the square: a statement about its sign."""
    hair = Fraction(1, 2**bits)
    for excess in (hair, Fraction(0), -hair):
        net, proof = wedge(excess)
        for y0 in ((1, 0), (3, 8000), (3, -8192), (12345678901234567890123, 17)):
            proof.records[0] = ("fix", 0, 0, y0, [])
            assert both(proof.to_bytes(), net).accepted == (excess >= 0)
            # Rows of the box say nothing new.
            proof.records[0] = ("fix", 0, 0, y0, [(1, y0), (3, y0)])
            assert both(proof.to_bytes(), net).accepted == (excess >= 0)
        proof.records[0] = ("fix", 0, 0, (1, 0), [(0, (1, 0))])
        assert both(proof.to_bytes(), net).accepted == (excess >= 1)


def test_unbounded_coordinates_need_coefficient_zero() -> None:
    """In the plane 0 < x and x + y < 1 - x are asked of rows that cancel exactly, or nearly."""
    graph = chain([[[3, 0], [1, 0]], [[1, 1]]], [[0, 1], [0]])
    net = Network(2, to_nodes(graph))
    one, third = (1, 0), (0x55555555555555, -56)
    tail = ("leaf", 0, [-2, 0])
    for y0, y, good in (((3, 0), one, True), ((6, 5), (1, 6), True), (one, third, False)):
        right = [("fix", 1, 1, y0, [(0, y)]), ("leaf", 0, [1, 0])]
        middle = [("split", 1), ("leaf", 1, [-1, 0]), tail]
        header = tools.tree_header(net.digest, NdDomain.space(2), 3, [])
        proof = TreeProof(header, [("split", 0), *right, *middle])
        assert both(proof.to_bytes(), net).accepted == good


# ------------------------------------------------------------------------------------- raw bytes


@pytest.mark.sanitize
def test_streams_must_end_with_the_tree() -> None:
    net, proof = cases()["cube"]
    body, header = proof.body(), json.dumps(proof.header).encode()
    stream = zlib.compress(body)
    assert both(pack(header, stream), net)
    assert both(pack(header, zlib.compress(body, 0)), net)
    for size in (*range(0, len(body), 7), len(body) - 1):
        assert rejected(with_body(proof.header, body[:size]), net)
    for size in (*range(0, len(stream), 5), len(stream) - 1):
        assert rejected(pack(header, stream[:size]), net)
    for more in (b"\0", body, bytes(1 << 17)):
        assert rejected(with_body(proof.header, body + more), net, "bytes follow")
        assert rejected(pack(header, stream + more), net, "bytes follow")
    rng = random.Random(0)
    for _ in range(60):
        noise = rng.randbytes(rng.randrange(300))
        assert rejected(noise, net)
        assert rejected(pack(header, noise), net)
        assert rejected(with_body(proof.header, noise), net)


@pytest.mark.sanitize
def test_numbers_have_a_limit() -> None:
    net, proof = cases()["square"]
    body = proof.body()
    good = var(0) + big(0) * 2
    assert rejected(with_body(proof.header, b"\xff" * 9 + body), net)
    assert rejected(with_body(proof.header, b"\x80\x00" + good + body), net)
    head = b"\2" + var(0) + var(0)
    for start in (
        b"\0" + var(1 << 17), b"\0" + var(0) + var(125_001), head + var(125_001),
        head + multiplier((1, 8193)), head + big(1) + var(1 << 62),
        head + multiplier((1, 0)) + var(1 << 62), b"\4", b"\xff\xff\xff\xff\x7f", b"\3\0",
    ):  # fmt: skip
        assert rejected(with_body(proof.header, start + bytes(200_000)), net)
    # Longer than necessary is no harm, as everywhere in the format.
    last = max(k for k, record in enumerate(proof.records) if record[0] == "leaf")
    e, p = proof.records[last][1:]
    spelt = b"".join(var(40) + v.to_bytes(40, "little", signed=True) for v in p)
    tail = b"\x80\x80\0" + bytes([e | 128, 128, 0]) + spelt
    start = b"".join(map(tools.encode, proof.records[:last]))
    assert both(with_body(proof.header, start + tail), net)


def test_bombs_are_rejected_in_little_memory() -> None:
    net, proof = cases()["square"]
    header = json.dumps({**proof.header, "regions": (1 << 40) - 1}).encode()
    packer = zlib.compressobj()
    zeros = b"".join([packer.compress(bytes(1 << 20)) for _ in range(32)] + [packer.flush()])
    head = b"\2" + var(0) + var(0) + multiplier((1, 0)) + var(1 << 60)
    long = zlib.compress(head + b"".join(var(k) + multiplier((1, 0)) for k in range(1 << 16)))
    tracemalloc.start()
    for stream in (zeros, long):
        assert rejected(pack(header, stream), net)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


# ------------------------------------------------------------------------------------- deep paths


def test_deep_paths_of_one_layer() -> None:
    """3000 units on one path, some of them split: recursion would not survive it."""
    units, splits = 3000, 40
    weights = [[[1]] * units, [[1] * units]]
    biases = [[Fraction(k + 1) for k in range(units)], [0]]
    for k in range(splits):
        biases[0][units - 1 - k * 60] = Fraction(-k - 1, splits + 1)
    graph = chain(weights, biases)
    net = Network(1, to_nodes(graph))
    kinks = {units - 1 - k * 60: k + 1 for k in range(splits)}
    # Passed in the order of the units; above a kink all lower kinks are passed, too.
    records: list[tuple[Any, ...]] = []

    def walk(unit: int, low: int, high: int) -> None:
        while unit < units and not (unit in kinks and low < kinks[unit] < high):
            side = int(unit not in kinks or kinks[unit] <= low)
            terms: list[Any] = []
            if unit in kinks:
                terms = [(row_of[low if side else high], (1, 0))] if (low if side else high) else []
                if (side and low == 0) or (not side and high == splits + 1):
                    terms = []
            records.append(("fix", unit, side, (1, 0), terms))
            unit += 1
        if unit == units:
            x = Fraction(low + high, 2 * (splits + 1))
            records.append(("leaf", 40, [int(x * (1 << 40))]))
            return
        records.append(("split", unit))
        for part in ((kinks[unit], high), (low, kinks[unit])):
            before = dict(row_of)
            row_of[kinks[unit]] = 2 + (len(row_of) - 2)
            walk(unit + 1, *part)
            row_of.clear()
            row_of.update(before)

    row_of = {0: 0, splits + 1: 1}
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        walk(0, 0, splits + 1)
    finally:
        sys.setrecursionlimit(limit)
    domain = NdDomain.box([0], [1])
    header = tools.tree_header(net.digest, domain, splits + 1, [[1, 0], [-1, 1]])
    assert both(TreeProof(header, records).to_bytes(), net).reason == ""


@pytest.mark.sanitize
def test_deep_paths_of_many_layers() -> None:
    """3000 layers of one unit; a row of the last layer goes through all of them."""
    depth = 3000
    weights = [[[1.0]]] * (depth + 1)
    biases = [[Fraction(0)] for _ in range(depth)]
    biases[-1] = [Fraction(-1, 2)]
    net = Network.from_arrays(weights, [*biases, [0]])
    records: list[tuple[Any, ...]] = [("fix", k, 1, (1, 0), []) for k in range(depth - 1)]
    records += [("split", depth - 1), ("leaf", 2, [3]), ("leaf", 2, [1])]
    header = tools.tree_header(net.digest, NdDomain.box([0], [1]), 2, [[1, 0], [-1, 1]])
    assert both(TreeProof(header, records).to_bytes(), net).reason == ""
    records[5] = ("fix", 5, 0, (1, 0), [])
    assert rejected(TreeProof(header, records).to_bytes(), net)
    # Zero biases at the end, a domain around 0: everything is decided exactly.
    biases[-1] = [Fraction(0)]
    net = Network.from_arrays(weights, [*biases, [0]])
    dead = [("fix", k, 0, (1, 0), []) for k in range(1, depth)]
    live = [("fix", k, 1, (1, 0), [(2, (1, 0))]) for k in range(1, depth)]
    records = [("split", 0), *live, ("leaf", 0, [1]), *dead, ("leaf", 0, [-1])]
    header = tools.tree_header(net.digest, NdDomain.box([-2], [2]), 2, [[1, 2], [-1, 2]])
    assert both(TreeProof(header, records).to_bytes(), net).reason == ""


def staircase(units: int, leaves: int) -> tuple[Network, bytes]:
    """Steps relu(x - k / (units + 1)) on [0, 1], and the beginning of a tree of single steps."""
    weights = [[[1.0]] * units, [[1.0] * units]]
    biases: list[Any] = [[Fraction(-k - 1, units + 1) for k in range(units)], [0]]
    net = Network.from_arrays(weights, biases)
    body = [tools.encode(("split", k)) for k in range(units)]
    depth = 60
    for k in range(units, units - leaves, -1):  # units 0, ..., k - 1 are on
        # Off at unit k: off at all units after it. The row of unit k is number 2 + k of the path.
        body += [
            tools.encode(("fix", j, 0, (1, 0), [(2 + k, (1, 0))])) for j in range(k + 1, units)
        ]
        body.append(tools.encode(("leaf", depth, [((2 * k + 1) << depth) // (2 * units + 2)])))
    return net, b"".join(body)


def step_domain() -> bytes:
    """The canonical bytes of [0, 1]."""
    rows = struct.pack("<IB4q", 2, 1, 1, 0, -1, 1)
    return b"PLDOM\x001\n" + struct.pack("<IIB", 1, 1, 0) + rows


def test_stairs_of_one_path() -> None:
    units = 300
    net, body = staircase(units, units + 1)
    domain = NdDomain.box([0], [1])
    header = tools.tree_header(net.digest, domain, units + 1, [[1, 0], [-1, 1]])
    assert both(with_body(header, body), net).reason == ""


def test_a_timeout_ends_a_run_and_errors_of_the_reader_come_through() -> None:
    net, proof = cases()["cube"]
    assert "time" in pv.check(proof.to_bytes(), net, timeout=0).reason
    assert pv.check(proof.to_bytes(), net, timeout=60)

    def read() -> bytes:
        raise ArithmeticError("no more")

    net, _ = staircase(5, 1)
    with pytest.raises(ArithmeticError, match="no more"):
        _check.check_tree(net.exact_net.to_bytes(), step_domain(), 6, read)


def test_ctrl_c_stops_the_compiled_checker() -> None:
    net, body = staircase(6_000, 1)
    k = 5_999
    again = tools.encode(("leaf", 60, [((2 * k + 1) << 60) // 12_002]))
    pieces = iter([body + again])
    args = (net.exact_net.to_bytes(), step_domain(), 6_001)
    assert "truncated" in _check.check_tree(*args, lambda: next(pieces, b""))[1]

    # Many units and many leaves: this runs for a second and more.
    net, body = staircase(100_000, 2000)
    pieces = iter([body])
    args = (net.exact_net.to_bytes(), step_domain(), 100_001)

    def handler(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            _check.check_tree(*args, lambda: next(pieces, b""))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_bad_arguments_of_the_module() -> None:
    net, proof = cases()["cube"]
    good = net.exact_net.to_bytes()
    for network, domain in ((b"", step_domain()), (good, b""), (good, step_domain())):
        with pytest.raises(ValueError, match="malformed"):
            _check.check_tree(network, domain, 1, lambda: b"")
    for size in range(0, len(good), 11):
        with pytest.raises(ValueError, match="malformed"):
            _check.check_tree(good[:size], step_domain(), 1, lambda: b"")
    with pytest.raises(pv.InputError):
        pv.check(proof.to_bytes(), net, timeout=-1)


def test_the_command_line_has_both_checkers(tmp_path: Path) -> None:
    _, proof = wedge(Fraction(1, 2))
    model, path = tmp_path / "net.npz", tmp_path / "net.proof"
    np.savez(model, W0=[[1.0, 1.0]], b0=[-2.5], W1=[[1.0]], b1=[0.0])
    proof.header["network"] = pv.load(str(model)).digest
    path.write_bytes(proof.to_bytes())
    for options in ([], ["--python"]):
        done = subprocess.run(
            [sys.executable, "-m", "plverify", "check", str(path), str(model), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("accepted\n")
        assert f"exactly {proof.leaves()} activation regions" in done.stdout


def test_limits_are_those_of_the_format() -> None:
    assert (checker_tree.MAX_SCALE, checker_tree.MAX_DEPTH) == (8192, 65536)
