"""Region trees that were changed: broken on purpose, or at random.

Whatever is done to one, the two checkers agree, and nothing is accepted that states another number
of regions than there are.
"""

from __future__ import annotations

import random

import pytest
from tree_cases import BREAKING, both, cases, find, mutate_breaking, random_make, rejected
from tree_proof_tools import with_body


@pytest.mark.parametrize("name", BREAKING)
def test_broken_trees_are_rejected(name: str) -> None:
    rng = random.Random(name)
    seen = 0
    for net, proof in cases().values():
        for _ in range(12 if name.startswith("window") else 3):
            other = mutate_breaking(proof, name, rng)
            if other is not None:
                assert rejected(other.to_bytes(), net), proof.header
                seen += 1
    assert seen >= 2


@pytest.mark.parametrize("seed", range(12))
def test_changed_multipliers_are_judged_alike(seed: int) -> None:
    rng = random.Random(seed)
    outcomes = set()
    for net, proof in cases().values():
        at = find(proof, "fix", rng)
        if at is None or proof.leaves() > 60:
            continue
        for _ in range(4):
            other = proof.copy()
            kind, unit, piece, (m, e), terms = other.records[at]
            how = rng.randrange(4)
            if how == 0:
                m, e = (m << 20) + rng.choice((-1, 1)), e - 20
            elif how == 1:
                e += rng.choice((-300, -40, -1, 1, 40, 300))
            elif terms and how == 2:
                terms = [t for k, t in enumerate(terms) if k != rng.randrange(len(terms))]
            elif terms:
                k = rng.randrange(len(terms))
                index, (v, f) = terms[k]
                moved = ((v << 12) + rng.choice((-1, 1)), f - 12)
                terms = [*terms[:k], (index, moved), *terms[k + 1 :]]
            other.records[at] = (kind, unit, piece, (m, e), terms)
            outcomes.add(both(other.to_bytes(), net).accepted)
    assert outcomes == {False, True}


def flip(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body))
    kind = rng.randrange(5)
    if kind == 0:
        return body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :]
    if kind == 1:
        return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
    if kind == 2:
        return body[:at] + rng.randbytes(rng.randint(1, 3)) + body[at:]
    if kind == 3:
        return body[:at] + body[at + rng.randint(1, 3) :]
    end = min(len(body), at + rng.randint(1, 40))
    to = rng.randrange(len(body))
    return body[:to] + body[at:end] + body[to:]


def fuzz(seeds: range, flips: int) -> None:
    """Whatever the bytes: the checkers agree, and what they accept is true."""
    for seed in seeds:
        made = random_make(seed)
        if made is None:
            continue
        _, _, net, proof = made
        rng = random.Random(seed)
        body = proof.body()
        for _ in range(flips):
            header = dict(proof.header)
            header["regions"] += rng.choice((0, 0, 0, 0, 0, -1, 1))
            verdict = both(with_body(header, flip(body, rng)), net)
            assert not verdict or header["regions"] == proof.leaves(), seed
            name = rng.choice(BREAKING)
            other = mutate_breaking(proof, name, rng)
            if other is not None and rng.random() < 0.2:
                assert rejected(other.to_bytes(), net), (seed, name)


@pytest.mark.parametrize("block", range(4))
def test_flipped_bytes_are_judged_alike(block: int) -> None:
    fuzz(range(2000 + 10 * block, 2010 + 10 * block), 25)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_many_flipped_bytes_are_judged_alike(block: int) -> None:
    fuzz(range(3000 + 10 * block, 3010 + 10 * block), 100)
