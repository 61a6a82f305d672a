"""Proofs of Lipschitz constants: false claims and damaged proofs are rejected by both checkers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import nextafter
from typing import Any

import numpy as np
import pytest
from dual_proof_tools import with_body

import plverify as pv
from plverify.network import Network
from plverify.proof import MAGIC

F = Fraction


def small_net(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    sizes = (2, 6, 4, 2)
    weights = [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    return Network.from_arrays(weights, [0.3 * rng.normal(size=b) for b in sizes[1:]])


def split(proof: bytes) -> tuple[dict[str, Any], bytes]:
    start = len(MAGIC) + 4
    size = int.from_bytes(proof[len(MAGIC) : start], "little")
    return json.loads(proof[start : start + size]), zlib.decompress(proof[start + size :])


def verdicts(proof: bytes, net: Network) -> tuple[bool, bool]:
    return bool(pv.check(proof, net)), bool(pv.check(proof, net, python=True))


QUESTIONS = [("l1", 0), ("l2", 0), ("linf", [F(1, 3), -1]), ("l1", None), ("l2", None),
             ("linf", None)]  # fmt: skip


def proven(norm: str, output: Any, seed: int = 0) -> tuple[Network, dict[str, Any], bytes]:
    net = small_net(seed)
    found = pv.lipschitz(net, pv.Box(-1, 1, 2), norm, output=output, proof=True)
    assert found.status == "complete"
    assert isinstance(found.proof, bytes)
    return net, *split(found.proof)


@pytest.mark.parametrize(("norm", "output"), QUESTIONS)
def test_both_checkers_accept(norm: str, output: Any) -> None:
    net, header, body = proven(norm, output)
    assert verdicts(with_body(header, body), net) == (True, True)


def false_statements(header: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    upper, lower = F(header["upper"]), F(header["lower"])
    # Below what is attained, by an ulp where it is.
    less = min(lower, upper) * F(nextafter(1.0, 0.0))
    yield "a smaller upper end", {"upper": str(less), "lower": str(less)}
    if upper == lower:
        yield "a larger lower end", {"lower": str(lower * F(nextafter(1.0, 2.0)))}
    else:
        yield "a larger lower end", {"lower": str(upper * F(1001, 1000)), "upper": str(upper * 2)}
    wide = {"lo": ["-4"] * 2, "hi": ["4"] * 2}
    yield "a larger box", {"box": wide}
    yield "another witness", {"witness": ["9", "9"]}
    rows = [[[j, str(2 * F(v))] for j, v in row] for row in header["rows"]]
    yield "other rows", {"rows": rows}
    norm = {"l1": "linf", "linf": "l1", "l2": "linf"}[header["norm"]]
    if header["direction"] is None:
        yield "another norm", {"norm": norm, "lower": "0"}


@pytest.mark.parametrize(("norm", "output"), QUESTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_false_statements_are_rejected(norm: str, output: Any, seed: int) -> None:
    net, header, body = proven(norm, output, seed)
    for what, changes in false_statements(header):
        changed = header | changes
        if what in ("a larger box", "another norm"):
            domain = pv.Box(*(list(map(F, changed["box"][k])) for k in ("lo", "hi")))
            truth = pv.lipschitz(net, domain, changed["norm"], output=output)
            end = F(changed["upper"])
            if truth.value is not None and truth.value <= end:
                continue  # it is not false
        assert verdicts(with_body(changed, body), net) == (False, False), what


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "l3"},
        {"rows": []},
        {"rows": [[[0, "0"]]]},
        {"rows": [[[9, "1"]]]},
        {"constraints": [["0", "0", "1"]]},
        {"constraints": [["1", "0"]]},
        {"box": {"lo": ["0", "0"], "hi": ["0", "1"]}},
        {"witness": ["0"]},
        {"direction": ["1"]},
        {"lower": "inf"},
        {"network": "0" * 64},
    ],
)
def test_malformed_statements_are_rejected(changes: dict[str, Any]) -> None:
    net, header, body = proven("l2", 0)
    assert verdicts(with_body(header | changes, body), net) == (False, False)


def test_a_witness_on_a_kink_is_rejected() -> None:
    net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, -2.0]]])
    found = pv.lipschitz(net, pv.Box(-1, 1, 1), "linf", proof=True)
    assert isinstance(found.proof, bytes)
    header, body = split(found.proof)
    assert verdicts(with_body(header, body), net) == (True, True)
    assert verdicts(with_body(header | {"witness": ["0"], "lower": "1"}, body), net) == (
        False,
        False,
    )


@pytest.mark.parametrize(("norm", "output"), QUESTIONS)
def test_damaged_bodies_are_rejected_or_still_prove(norm: str, output: Any) -> None:
    net, header, body = proven(norm, output)
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(12):
        data = bytearray(body)
        kind = rng.integers(4)
        at = int(rng.integers(len(data)))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + 1 + int(rng.integers(3))]
        elif kind == 2:
            data[at:at] = bytes(rng.integers(0, 8, 1 + int(rng.integers(3)), dtype=np.uint8))
        else:
            other = int(rng.integers(len(data)))
            data[at], data[other] = data[other], data[at]
        one, two = verdicts(with_body(header, bytes(data)), net)
        assert one == two
        accepted += one
        # The statement is true: a body that is accepted is another proof of it.
    assert accepted < 12


def test_a_tree_that_splits_nothing_proves_nothing_sharp() -> None:
    net, header, _ = proven("linf", 0)
    for body in (
        b"\x06",
        b"\x05\x01\x06",
        b"\x04\x01\x05\x01\x06",
        b"\x05\x00\x06",
        b"\x05\x02\x06",
        b"",
    ):
        assert verdicts(with_body(header, body), net) == (False, False)
    loose = header | {"upper": "100000"}
    assert verdicts(with_body(loose, b"\x06"), net) == (True, True)
    assert verdicts(with_body(loose, b"\x04\x01\x05\x01\x06"), net) == (True, True)
    # Nodes of gradients mean nothing in other claims.
    spec = pv.Property.output_at_most(pv.Box(-1, 1, 2), 0, 1000, 2)
    found = pv.verify(net, spec, proof=True)
    assert isinstance(found.proof, bytes)
    other, _ = split(found.proof)
    assert verdicts(with_body(other, b"\x06"), net) == (False, False)


def test_all_of_space_can_be_stated() -> None:
    net, header, _ = proven("linf", 0)
    box = {"lo": ["-inf"] * 2, "hi": ["inf"] * 2}
    above = pv.lipschitz(net, None, "linf", "product", 0).upper
    loose = header | {"box": box, "upper": str(F(above))}
    assert verdicts(with_body(loose, b"\x06"), net) == (True, True)


def test_larger_bodies_agree() -> None:
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=s) for s in ((12, 6), (10, 12), (9, 10), (3, 9))]
    net = Network.from_arrays(weights, [0.2 * rng.normal(size=len(w)) for w in weights], 0.25)
    found = pv.lipschitz(net, pv.Box(0, "1/4", 6), "l2", output=1, proof=True)
    assert found.exact
    assert isinstance(found.proof, bytes)
    assert verdicts(found.proof, net) == (True, True)
