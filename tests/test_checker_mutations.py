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
from checker_cases import (
    around,
    honest_proofs,
    lowest,
    middle,
    rejected,
    rejected_or_true,
)
from proof_tools import make_layers

from plverify import checker
from plverify.exact_net import ExactNet


@pytest.fixture(scope="module")
def honest():
    return honest_proofs()


# ---------------------------------------------------------------------------------------- mutations


def random_bit(proof, rng):
    return 1 << rng.randrange(proof.units) if proof.units else 0


def false_count(proof, rng):
    proof.header["regions"] += rng.choice([-1, 1, 7, 1 << 20])


def dropped_region(proof, rng):
    proof.regions.pop(rng.randrange(len(proof.regions)))
    proof.recount()


def duplicated_region(proof, rng):
    proof.regions.insert(rng.randrange(len(proof.regions)), rng.choice(proof.regions))
    proof.recount()


def duplicated_region_with_another_pattern(proof, rng):
    pattern, loop = rng.choice(proof.regions)
    proof.regions.append([pattern ^ random_bit(proof, rng), loop])
    proof.recount()


def moved_vertex(proof, rng):
    k = rng.choice(rng.choice(proof.regions)[1])
    p, q, w = proof.vertices[k]
    scale = rng.choice([1, 2, 10**3, 10**9, 1 << 60, 10**40])
    step = [rng.choice([-1, 1]) if i == rng.randrange(len(p)) else 0 for i in range(len(p))]
    step[rng.randrange(len(p))] = rng.choice([-1, 1])
    p, q, w = [v * scale for v in p], [v * scale for v in q], w * scale
    if any(q) and rng.random() < 0.5:
        q = [v + d for v, d in zip(q, step, strict=True)]
    else:
        p = [v + d for v, d in zip(p, step, strict=True)]
    proof.vertices[k] = lowest(p, q, w)


def flipped_pattern_bit(proof, rng):
    proof.regions[rng.randrange(len(proof.regions))][0] ^= random_bit(proof, rng)
    return proof.units > 0


def set_padding_bit(proof, rng):
    padding = range(proof.units, -proof.units % 8 + proof.units)
    if padding:
        proof.regions[rng.randrange(len(proof.regions))][0] |= 1 << rng.choice(padding)
    return bool(padding)


def swapped_patterns(proof, rng):
    if len(proof.regions) < 2:
        return False
    one, two = rng.sample(proof.regions, 2)
    one[0], two[0] = two[0], one[0]
    return True


def swapped_corners(proof, rng):
    _, loop = rng.choice(proof.regions)
    i, j = rng.sample(range(len(loop)), 2)
    loop[i], loop[j] = loop[j], loop[i]


def reversed_region(proof, rng):
    rng.choice(proof.regions)[1].reverse()


def region_walked_twice(proof, rng):
    region = rng.choice(proof.regions)
    region[1] = region[1] * 2


def dropped_corner(proof, rng):
    _, loop = rng.choice(proof.regions)
    loop.pop(rng.randrange(len(loop)))


def replaced_corner(proof, rng):
    _, loop = rng.choice(proof.regions)
    k = rng.randrange(len(loop))
    loop[k] = rng.choice([i for i in range(len(proof.vertices) + 2) if i != loop[k]])


def merged_regions(proof, rng):
    """Two neighbours become one polygon (or interval) under the pattern of either."""
    pairs = [
        (one, two, i)
        for one in proof.regions
        for two in proof.regions
        if one is not two
        for i in common_edge(proof.header["dim"], one[1], two[1])
    ]
    if not pairs:
        return False
    one, two, (i, j) = rng.choice(pairs)
    a, b = one[1], two[1]
    if proof.header["dim"] == 1:
        loop = [a[0], b[1]]
    else:  # a runs i -> j, b runs j -> i
        a = a[a.index(j) :] + a[: a.index(j)]
        b = b[b.index(i) :] + b[: b.index(i)]
        loop = straightened(proof, a + b[1:-1])
    proof.regions = [r for r in proof.regions if r is not one and r is not two]
    proof.regions.append([rng.choice([one[0], two[0], one[0] | two[0], one[0] & two[0]]), loop])
    proof.recount()
    return True


def common_edge(dim, one, two):
    if dim == 1:
        return [(one[1], two[0])] if one[1] == two[0] else []
    return [(i, j) for i, j in around(one) if (j, i) in around(two)]


def straightened(proof, loop):
    """The loop without corners on a straight line."""
    steps = [checker._step(*(proof.vertices[i] for i in edge)) for edge in around(loop)]
    turns = [checker._cross(d, e) for d, e in around(steps)]
    return [i for i, turn in zip(loop[1:] + loop[:1], turns, strict=True) if turn != (0, 0, 0)]


def split_region(proof, rng):
    """One region becomes two along a chord; a half gets the pattern, one maybe a flipped bit."""
    k = rng.randrange(len(proof.regions))
    pattern, loop = proof.regions[k]
    if proof.header["dim"] == 1:
        proof.vertices.append(middle(proof, *loop))
        halves = [loop[0], len(proof.vertices) - 1], [len(proof.vertices) - 1, loop[1]]
    elif len(loop) > 3 and rng.random() < 0.5:
        j = rng.randrange(2, len(loop) - 1)
        halves = loop[: j + 1], [*loop[j:], loop[0]]
    else:  # from a corner to the middle of an edge; the neighbour learns of the new vertex, or not
        j = rng.randrange(1, len(loop) - 1)
        new, edge = len(proof.vertices), (loop[j + 1], loop[j])
        proof.vertices.append(middle(proof, *edge))
        halves = [*loop[: j + 1], new], [new, *loop[j + 1 :], loop[0]]
        for _, other in proof.regions:
            if edge in around(other) and rng.random() < 0.5:
                other.insert(other.index(edge[0]) + 1, new)
    bit = rng.choice([0, random_bit(proof, rng)])
    patterns = [pattern, pattern ^ bit]
    rng.shuffle(patterns)
    proof.regions[k : k + 1] = [[p, list(h)] for p, h in zip(patterns, halves, strict=True)]
    proof.recount()


def wrong_domain_polygon(proof, rng):
    corners = proof.header["domain_vertices"]
    way = rng.randrange(6)
    if way == 0:
        corners.pop(rng.randrange(len(corners)))
    elif way == 1:
        corners.reverse()
    elif way == 2:
        corners += corners
    elif way == 3:
        k = rng.randrange(len(corners))
        corners[k] = rng.choice([i for i in range(len(proof.vertices)) if i != corners[k]])
    elif way == 4:
        corners.insert(rng.randrange(len(corners)), rng.randrange(len(proof.vertices)))
    else:
        proof.header["domain_vertices"] = list(rng.choice(proof.regions)[1])
        return len(proof.regions) > 1
    return True


def changed_constraint(proof, rng):
    rows = proof.header["constraints"]
    if not rows:
        return False
    row = rng.choice(rows)
    k = rng.randrange(len(row))
    row[k] = str(int(row[k]) + rng.choice([-1, 1, 10**6]))
    return None


def dropped_constraint(proof, rng):
    rows = proof.header["constraints"]
    if rows:
        rows.pop(rng.randrange(len(rows)))
        return None
    return False


def changed_slice(proof, rng):
    part = proof.header["slice"]
    if part is None:
        return False
    row = rng.choice(part["rows"])
    k = rng.randrange(len(row))
    row[k] = str(int(row[k]) + rng.choice([-1, 1, 3]))
    return None


def changed_scale(proof, rng):
    part = proof.header["slice"]
    if part is None:
        return False
    part["scale"] = str(int(part["scale"]) + rng.choice([-1, 1, 5]))
    return None


# Each returns True (or nothing) if the proof must be rejected now, False if it did not apply, and
# those that change the statement return None: rejected, or what it states is true.
FALSE_PROOFS = [
    false_count, dropped_region, duplicated_region, duplicated_region_with_another_pattern,
    moved_vertex, flipped_pattern_bit, set_padding_bit, swapped_patterns, swapped_corners,
    reversed_region, region_walked_twice, dropped_corner, replaced_corner, merged_regions,
    split_region, wrong_domain_polygon,
]  # fmt: skip
OTHER_STATEMENTS = [changed_constraint, dropped_constraint, changed_slice, changed_scale]


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
