"""Dual trees that were changed, malformed headers and bodies, and hostile bytes.

Whatever is done to a proof, the two checkers agree, and nothing false is accepted.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from dual_cases import NAMES, at_most, both, cube, graphs, network, rejected
from dual_proof_tools import (
    DualProof,
    Row,
    System,
    full,
    halved,
    maximum,
    property_json,
    unsat,
    with_body,
)
from oracle_graph import Graph
from proof_mutations import changed_record
from proof_tools import big, pack, var
from tree_cases import linear

import plverify as pv
from plverify.network import Network

# ------------------------------------------------------------------------------------ mutated trees


def honest(seed: int) -> tuple[Graph, Network, list[System], DualProof, bool]:
    rng = random.Random(seed)
    graph = graphs()[rng.choice(NAMES[:-1])]
    net, box = network(graph, seed), cube(graph.inputs)
    top, _ = maximum(graph, box, {}, {0: 1})
    if seed % 3:
        system = System(box, [at_most(top, True), Row({}, {0: 1}, Fraction(10**6))])
        records = full(graph, [system])
        assert records is not None
    else:
        system = System(box, [at_most(top + 2, False)])
        records = halved(system, 3, [seed % 2], ("rule", [(0, 1)]))
    return graph, net, [system], unsat(graph, net.digest, [system], records), seed % 3 > 0


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(24))
def test_changed_trees_are_judged_alike(seed: int) -> None:
    graph, net, systems, proof, sharp = honest(seed)
    rng = random.Random(seed)
    lying = proof.copy()  # a false statement: nothing may be accepted about it
    if sharp:
        false = [System(s.box, [s.rows[0]._replace(strict=False), *s.rows[1:]]) for s in systems]
        assert full(graph, false) is None
        lying.header["property"] = property_json(graph, false)
    for _ in range(12):
        both(changed_record(proof, rng).to_bytes(), net)
        if sharp:
            assert not both(changed_record(lying, rng).to_bytes(), net)
            assert not both(changed_record(changed_record(lying, rng), rng).to_bytes(), net)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_are_judged_alike(seed: int) -> None:
    _, net, _, proof, _ = honest(seed)
    rng, body = random.Random(seed), proof.body()
    for _ in range(30):
        changed = bytearray(body)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(changed))
            changed[at] = rng.choice((changed[at] ^ 1 << rng.randrange(8), 0, 255, 128))
        if rng.random() < 0.3:
            del changed[rng.randrange(len(changed)) :]
        both(with_body(proof.header, bytes(changed)), net)


BAD_BODIES = {
    "unknown kind": (b"\5", "unknown kind"),
    "one constraint too many": (b"\0\1\1" + big(1), "constraint"),
    "the same constraint twice": (b"\0\2\0" + big(1) + b"\0" + big(1), "constraint"),
    "a multiplier of zero": (b"\0\1\0" + big(0), "not positive"),
    "a negative multiplier": (b"\0\1\0" + big(-1), "not positive"),
    "an exponent too large": (b"\1" + var(2 * 65537) + b"\0\0", "exponent"),
    "an exponent too small": (b"\1" + var(2 * 65537 - 1) + b"\0\0", "exponent"),
    "a unit input that is not there": (b"\1\0\0\1" + var(5) + big(1), "unit input"),
    "a unit input twice": (b"\1\0\0\2\0" + big(1) + b"\0" + big(1), "order"),
    "v of zero": (b"\1\0\0\1\0" + big(0), "zero"),
    "no such input": (b"\2\2" + big(0) + big(1), "no such input"),
    "a split by nothing": (b"\2\0" + big(0) + big(0), "denominator"),
    "a split with a negative denominator": (b"\2\0" + big(0) + big(-1), "denominator"),
    "a split at the end": (b"\2\0" + big(1) + big(1), "inside"),
    "a split outside": (b"\2\0" + big(-9) + big(1), "inside"),
    "a split value too long": (b"\2\0" + big(1) + big(1 << 65536), "too long"),
    "no such unit": (b"\3\5", "no such unit"),
    "a unit twice": (b"\3\0\3\0", "piece already"),
    "an unknown rule": (b"\4\4", "rule"),
    "an endless number": (b"\3" + b"\xff" * 12, "too long"),
    "a number that is too long": (b"\2\0" + var(125_001), "too long"),
    "nothing": (b"", "truncated"),
    "half a number": (b"\2\0\4\1", "truncated"),
    "a huge count": (b"\0" + b"\xff" * 8 + b"\x7f", "truncated"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_malformed_bodies(name: str) -> None:
    graph = graphs()["relu"]
    net = network(graph)
    body, why = BAD_BODIES[name]
    system = System(cube(2), [at_most(Fraction(1000), False)])
    header = unsat(graph, net.digest, [system], []).header
    assert rejected(with_body(header, body), net, why)


def test_a_unit_of_one_piece_is_not_split() -> None:
    graph = Graph(1, (linear(0, [[1, 0]]), ("units", 1, [Fraction(1)]), linear(2, [[1, 0]])))
    net = network(graph)
    header = unsat(graph, net.digest, [System(cube(1), [at_most(Fraction(2), False)])], []).header
    assert rejected(with_body(header, b"\3\0"), net, "piece already")
    assert both(with_body(header, b"\0\1\0" + big(1)), net)
    # It has no kink that a bound could be cut at.
    assert both(with_body(header, b"\4\1\0\1\0" + big(1)), net)


# ------------------------------------------------------------------------------------ hostile bytes


def good_proof() -> tuple[Network, DualProof]:
    graph = graphs()["relu"]
    net, box = network(graph), cube(2)
    system = System(box, [at_most(maximum(graph, box, {}, {0: 1})[0], True)])
    records = full(graph, [system])
    assert records is not None
    return net, unsat(graph, net.digest, [system], records)


def test_headers_are_read_strictly() -> None:
    net, proof = good_proof()
    body = proof.body()
    assert both(proof.to_bytes(), net)

    def refused(**changes: Any) -> bool:
        return rejected(with_body({**proof.header, **changes}, body), net)

    for key in proof.header:
        for value in (None, 0, "", [], {}, True, [[]], "unsat", "tree"):
            if proof.header[key] != value and not (key == "definitions" and isinstance(value, str)):
                assert refused(**{key: value}), (key, value)
        other = dict(proof.header)
        del other[key]
        assert rejected(with_body(other, body), net)
    assert refused(extra=1)
    entry = proof.header["property"]
    spots: list[Any] = []

    def walk(node: Any, path: tuple[Any, ...]) -> None:
        spots.append(path)
        if isinstance(node, (dict, list)):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            for key, value in items:
                walk(value, (*path, key))

    walk(entry, ())
    for path in spots:
        for value in (None, -1, 7, 1.5, "", "01", "+1", "1/1", "2/4", "1/-2", "nan", "-inf", [], {},
                      [0], "0", "6" * 6000):  # fmt: skip
            changed = json.loads(json.dumps(entry))
            at = changed
            if not path:
                changed = value
            else:
                for key in path[:-1]:
                    at = at[key]
                if at[path[-1]] == value:
                    continue
                at[path[-1]] = value
            both(with_body({**proof.header, "property": changed}, body), net)
    twice = json.dumps(proof.header).replace('"claim"', '"claim": "unsat", "claim"')
    spoiled = pack(twice.encode(), zlib.compress(body))
    assert rejected(spoiled, net, "repeats")


def test_frames_are_read_strictly() -> None:
    net, proof = good_proof()
    data, body = proof.to_bytes(), proof.body()
    assert rejected(data + b"\0", net, "follow")
    assert rejected(with_body(proof.header, body + b"\0"), net, "follow")
    for length in (0, 5, 12, 40, len(data) - 1, len(data) - 10):
        assert rejected(data[:length], net)
    head = data[: -len(zlib.compress(body))]
    assert rejected(head + body, net)
    assert rejected(head, net)


def test_a_rejected_proof_says_how_far_it_was_read() -> None:
    net, proof = good_proof()
    leaves = [k for k, record in enumerate(proof.records) if record[0] == "dual"]
    proof.records[leaves[3]] = ("rule", [])
    for python in (False, True):
        verdict = pv.check(proof.to_bytes(), net, python=python)
        assert verdict.reason == "a leaf proves nothing"
        assert verdict.stats["leaves"] == 4
        assert verdict.stats["nodes"] == leaves[3] + 1


@pytest.mark.parametrize("seed", range(4))
def test_random_bodies(seed: int) -> None:
    net, proof = good_proof()
    rng = random.Random(seed)
    for _ in range(150):
        body = bytes(rng.choice((0, 1, 2, 3, 4, 1, 0, rng.randrange(256))) for _ in range(40))
        assert not both(with_body(proof.header, body), net)


def left_deep(depth: int) -> bytes:
    """Nested splits of the first input whose first child is always the split one."""
    out = []
    for k in range(depth):
        out.append(b"\2\0" + big(1) + big(k + 2))
    return b"".join(out)


def right_deep(depth: int, leaf: bytes) -> bytes:
    """Nested splits whose second child is always the split one."""
    return b"".join(b"\2\0" + big(k) + big(k + 1) + leaf for k in range(1, depth + 1)) + leaf


@pytest.mark.sanitize
def test_deep_trees_need_no_stack() -> None:
    graph = graphs()["relu"]
    net = network(graph)
    system = System([(Fraction(0), Fraction(1))] * 2, [at_most(Fraction(1000), False)])
    leaf = b"\0\1\0" + big(1)
    header = unsat(graph, net.digest, [system], []).header
    depth = 100_000
    verdict = pv.check(with_body(header, b"\4\1" + right_deep(depth, leaf)), net)
    assert verdict, verdict.reason
    assert verdict.stats["leaves"] == depth + 1
    left = b"\4\1" + left_deep(depth) + leaf * (depth + 1)
    assert pv.check(with_body(header, left), net)
    assert not pv.check(with_body(header, left[:-1]), net)
    assert not pv.check(with_body(header, left + leaf), net)
    small = b"\4\1" + left_deep(3000)
    assert both(with_body(header, small + leaf * 3001), net)


def test_memory_is_bounded() -> None:
    net, proof = good_proof()
    header = proof.header
    bombs = [
        b"\4\0" * 2_000_000,
        b"\2\0" + var(100_000) + b"\0" * 100_000 + var(100_000) + b"\0" * 99_999 + b"\1",
        b"\0" + b"\xff" * 8 + b"\1" + b"\0" * 3_000_000,
    ]
    tracemalloc.start()
    for bomb in bombs:
        assert not pv.check(with_body(header, bomb), net)
    assert tracemalloc.get_traced_memory()[1] < 80_000_000
    tracemalloc.stop()


def test_a_timeout_is_a_verdict_and_ctrl_c_is_heard(tmp_path: Path) -> None:
    net, proof = good_proof()
    leaf = b"\0\1\0" + big(1)
    system = {"lo": ["0", "0"], "hi": ["1", "1"]}
    header = json.loads(json.dumps(proof.header))
    header["property"]["boxes"] = [system]
    header["property"]["disjuncts"][0]["constraints"][0]["bound"] = "-1000"
    body = b"".join(b"\2\0" + big(k) + big(k + 1) + b"\4\1" + leaf for k in range(1, 200_000))
    data = with_body(header, body + leaf)
    assert "time allowed" in pv.check(data, net, timeout=0.02).reason
    code = f"""
import os, signal, threading, plverify as pv
from plverify.exact_net import ExactNet
from plverify import checker, certificate
from plverify.checker_dual import DualTools
net = ExactNet.from_bytes({net.exact_net.to_bytes()!r})
data = open("proof", "rb").read()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
tools = DualTools(certificate._compiled_dual(None), certificate._evaluate)
while True:
    checker.check(data, net, None, tools)
"""
    (tmp_path / "proof").write_bytes(data)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert b"KeyboardInterrupt" in done.stderr
    assert done.returncode in (1, -signal.SIGINT)
