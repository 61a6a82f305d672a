"""Mutated proofs: rejected, unless what they state is still true.

A mutated proof that is accepted is confirmed by enumerating its own header in Fractions. What is
forged on purpose or malformed is in `test_checker`.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from fractions import Fraction

import proof_tools as tools
import pytest
from checker_cases import honest_proofs, rejected, rejected_or_true
from proof_tools import make_layers
from tiling_mutations import FALSE_PROOFS, OTHER_STATEMENTS

from plverify.exact_net import ExactNet


@pytest.fixture(scope="module")
def honest():
    return honest_proofs()


@pytest.mark.parametrize("mutate", FALSE_PROOFS, ids=lambda f: f.__name__)
def test_false_proof_is_rejected(honest, mutate):
    done = 0
    for name, (_, net, proof) in honest.items():
        rng = random.Random(f"{mutate.__name__} {name}")
        for _ in range(3):
            other = proof.copy()
            if mutate(other, rng) is not False:
                assert other != proof
                assert rejected(other, net), (name, other)
                done += 1
    assert done > 20


@pytest.mark.parametrize("mutate", OTHER_STATEMENTS, ids=lambda f: f.__name__)
def test_changed_statement_is_rejected_or_true(honest, mutate):
    done = count = 0
    for name, (layers, net, proof) in honest.items():
        rng = random.Random(f"{mutate.__name__} {name}")
        for _ in range(3):
            other = proof.copy()
            if mutate(other, rng) is not False:
                done += 1
                count += rejected_or_true(other.to_bytes(), layers, net)
    assert count > 0.5 * done > 10


def test_two_mutations_at_once_are_rejected_or_true(honest):
    rng = random.Random(17)
    names = list(honest)
    for _ in range(400):
        layers, net, proof = honest[rng.choice(names)]
        other = proof.copy()
        try:
            for mutate in rng.sample(FALSE_PROOFS + OTHER_STATEMENTS, 2):
                mutate(other, rng)
            data = other.to_bytes()
        except (IndexError, ValueError):  # the second does not apply to what the first has left
            continue
        rejected_or_true(data, layers, net)


def test_another_network_is_rejected(honest):
    """One weight moved by one unit in the last place, with and without the forged hash."""
    layers, net, proof = honest["box of float32 weights"]
    rng = random.Random(8)
    data = proof.to_bytes()
    for _ in range(20):
        others = make_layers([layer.weights for layer in layers], [layer.bias for layer in layers])
        depth = rng.randrange(len(layers))
        row = rng.choice(others[depth].weights)
        k = rng.randrange(len(row))
        bits = struct.unpack("<i", struct.pack("<f", row[k]))[0] + rng.choice([-1, 1])
        row[k] = Fraction(struct.unpack("<f", struct.pack("<i", bits))[0])
        other = ExactNet.from_bytes(tools.net_bytes(others))
        assert rejected(data, other, "another network")
        forged = proof.copy()
        forged.header["network"] = other.digest()
        assert rejected(forged, net, "another network")
        if depth == 0:
            assert rejected(forged, other)
        else:  # a weight of the outputs, or of a unit that meets only zeros, bends nothing
            assert rejected_or_true(forged.to_bytes(), others, other) or depth > 0


def test_bytes_flipped_in_the_body_are_rejected_or_true(honest):
    """The stream is compressed again, so that its checksum does not help."""
    rng = random.Random(23)
    names = list(honest)
    bodies = {name: proof.body() for name, (_, _, proof) in honest.items()}
    count = 0
    for _ in range(1600):
        name = rng.choice(names)
        layers, net, proof = honest[name]
        body = bytearray(bodies[name])
        for _ in range(rng.choice([1, 1, 2])):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.1:
            at = rng.randrange(len(body))
            body[at:at] = rng.randbytes(rng.randrange(3))
        if body != bodies[name]:
            data = tools.pack(json.dumps(proof.header).encode(), zlib.compress(bytes(body), 1))
            count += rejected_or_true(data, layers, net)
    assert count > 1450


def test_bytes_flipped_in_the_file_are_rejected_or_true(honest):
    rng = random.Random(29)
    for name in ("box", "line", "slice plane"):
        layers, net, proof = honest[name]
        data = proof.to_bytes()
        for _ in range(300):
            other = bytearray(data)
            other[rng.randrange(len(other))] ^= 1 << rng.randrange(8)
            rejected_or_true(bytes(other), layers, net)


def test_characters_changed_in_the_header_are_rejected_or_true(honest):
    rng = random.Random(31)
    for name in ("slice", "half-plane", "interval"):
        layers, net, proof = honest[name]
        text = json.dumps(proof.header)
        stream = zlib.compress(proof.body(), 1)
        for _ in range(200):
            at = rng.randrange(len(text))
            new = text[:at] + rng.choice('0123456789-[]{}," e.n') + text[at + rng.randrange(2) :]
            rejected_or_true(tools.pack(new.encode(), stream), layers, net)


def test_truncated_files_are_rejected(honest):
    for name, step in (("one unit", 1), ("no unit", 1), ("plane", 7)):
        _, net, proof = honest[name]
        data = proof.to_bytes()
        for end in range(0, len(data), step):
            assert rejected(data[:end], net)
        body = proof.body()
        for end in range(0, len(body), step):
            cut = tools.pack(json.dumps(proof.header).encode(), zlib.compress(body[:end], 1))
            assert rejected(cut, net, "truncated")
