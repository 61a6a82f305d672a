"""The proof checker accepts honest region lists and nothing forged or malformed.

Proofs are written by `proof_tools` (Fractions, independent of the engine); `test_checker_mutations`
changes them at random.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import random
import struct
import tracemalloc
import zlib
from fractions import Fraction
from math import comb

import proof_tools as tools
import pytest
from checker_cases import (
    CASES,
    INTERVAL,
    SQUARE,
    around,
    float_layers,
    honest_proofs,
    middle,
    pick_slope,
    random_layers,
    rejected,
)
from proof_tools import box, make_layers, prove

from plverify import (
    checker,
    checker_claims,
    checker_dual,
    checker_nets,
    checker_tree,
    proof_reader,
)
from plverify import domain as domains
from plverify.checker import check, check_region_list
from plverify.exact_net import ExactNet


@pytest.fixture(scope="module")
def honest():
    return honest_proofs()


# ------------------------------------------------------------------------------------ honest proofs


@pytest.mark.parametrize("name", CASES)
def test_honest_proof_is_accepted(honest, name):
    _, net, proof = honest[name]
    verdict = check_region_list(proof.to_bytes(), net)
    assert verdict.reason == ""
    assert verdict.accepted
    assert verdict
    assert f"exactly {len(proof.regions)} activation regions" in verdict.claim
    assert net.digest() in verdict.claim
    assert verdict.stats["regions"] == len(proof.regions)
    assert verdict.stats["vertices"] == len(proof.vertices)


@pytest.mark.parametrize("seed", range(60))
def test_honest_proofs_of_random_networks_are_accepted(seed):
    rng = random.Random(seed)
    dim = rng.choice([1, 2])
    slope = pick_slope(rng, *rng.choice([(0,), (0, 1), (-1, 0, 1), (Fraction(1, 8), -2)]))
    sizes = [dim, *(rng.randint(1, 6) for _ in range(rng.randint(1, 3))), 1]
    den, reach = rng.choice([(1, 1), (1, 2), (3, 4), (64, 100)])
    layers = random_layers(rng, sizes, den, reach, slope, rng.random() < 0.6)
    sides = [
        rng.choice([(-1, 1), (None, None), (0, None), (-2, Fraction(1, 3))]) for _ in range(dim)
    ]
    proof = prove(layers, dim, box(*sides))
    verdict = check(proof.to_bytes(), ExactNet.from_bytes(tools.net_bytes(layers)))
    assert verdict.reason == ""


@pytest.mark.parametrize("units", range(1, 8))
def test_one_generic_layer_has_the_number_of_regions_of_an_arrangement(units):
    for dim in (1, 2):
        layers = float_layers(random.Random(units), [dim, units, 1])
        verdict = check(prove(layers, dim).to_bytes(), ExactNet.from_bytes(tools.net_bytes(layers)))
        assert verdict.stats["regions"] == sum(comb(units, k) for k in range(dim + 1))


def test_patterns_of_sampled_points_are_listed(honest):
    rng = random.Random(5)
    for name in ("box", "three layers", "mixed slopes", "duplicated units"):
        _, net, proof = honest[name]
        listed = {pattern for pattern, _ in proof.regions}
        for _ in range(300):
            point = [Fraction(rng.randint(-(10**6), 10**6), 10**6) for _ in range(2)]
            at = net.pattern_at(point)
            if not at.on_boundary:
                assert int.from_bytes(net.pack(at.bits), "little") in listed


def test_freedoms_of_the_format_are_accepted(honest):
    """Order of vertices and regions, first corner, unused vertices, compression, JSON layout."""
    rng = random.Random(3)
    for name in ("box", "plane", "line"):
        _, net, proof = honest[name]
        other = proof.copy()
        order = rng.sample(range(len(other.vertices)), len(other.vertices))
        other.vertices = [other.vertices[k] for k in order]
        new = {old: k for k, old in enumerate(order)}
        rng.shuffle(other.regions)
        for region in other.regions:
            region[1] = [new[i] for i in region[1]]
            if proof.header["dim"] == 2:
                turn = rng.randrange(len(region[1]))
                region[1] = region[1][turn:] + region[1][:turn]
        other.header["domain_vertices"] = [new[i] for i in other.header["domain_vertices"]]
        other.vertices.append([[1, 3][: proof.header["dim"]], [0, 0][: proof.header["dim"]], 7])
        other.recount()
        header = json.dumps(other.header, indent=3, sort_keys=True).encode()
        for level in (0, 1, 9):
            assert check(tools.pack(header, zlib.compress(other.body(), level)), net)


def test_domain_identity_is_that_of_the_domain_bytes(honest):
    _, net, proof = honest["slice interval"]
    scale, rows = CASES["slice interval"][3]
    data = b"PLDOM\x001\n" + struct.pack("<IIB", 1, 5, 1)
    data += struct.pack("<Bq", 1, scale) + struct.pack("<B10q", 1, *(v for r in rows for v in r))
    data += struct.pack("<IB4q", 2, 1, *(v for row in INTERVAL for v in row))
    verdict = check(proof.to_bytes(), net)
    assert verdict.stats["domain_sha256"] == hashlib.sha256(data).hexdigest()
    assert verdict.stats["domain_sha256"] in verdict.claim


@pytest.mark.parametrize("name", ["box", "quadrant", "plane", "line", "slice", "slice line"])
def test_domain_identity_is_that_of_plverify_domain(honest, name):
    _, net, proof = honest[name]
    dim = proof.header["dim"]
    inner = domains.Space(dim)
    if name in ("box", "slice"):
        inner = domains.Box([-1, -1], [1, 1])
    elif name == "quadrant":
        inner = domains.Box([0, float("-inf")], [float("inf"), 1])
    if name.startswith("slice"):
        scale, rows = CASES[name][3]
        exact = [[Fraction(v, scale) for v in row] for row in rows]
        inner = domains.Slice([r[-1] for r in exact], [r[:-1] for r in exact], inner)
    expected = hashlib.sha256(inner.to_bytes()).hexdigest()
    assert check(proof.to_bytes(), net).stats["domain_sha256"] == expected


def test_check_reads_files(honest, tmp_path):
    _, net, proof = honest["box"]
    path = tmp_path / "box.plproof"
    path.write_bytes(proof.to_bytes())
    assert check(path, net)
    assert check(str(path), net) == check(proof.to_bytes(), net)
    with pytest.raises(OSError, match="missing"):
        check(tmp_path / "missing", net)


def test_header_integers_of_any_accepted_length_are_read(honest):
    layers, net, _ = honest["interval"]
    proof = prove(layers, 1, [[3, 2], [-1, 0]])
    for digits in (1, 3998, 3999, 4000, 4001, 4300, 4301, 4900):
        rows = [["3" * digits, "2" * digits], ["-" + "1" * digits, "0"]]  # times 11...1
        proof.header["constraints"] = rows
        assert check(proof.to_bytes(), net).reason == ""
        rows[1][1] = "-1"
        assert rejected(proof, net)


def test_header_integers_have_one_spelling(honest):
    _, net, proof = honest["box"]
    good = json.dumps(proof.header)
    assert '"1", "0", "1"' in good
    stream = zlib.compress(proof.body())
    for one in ("01", "+1", " 1", "1 ", "1\\n", "1_", "1.0", "1e0", "\\u0661", "--1", "0x1"):
        text = good.replace('"1", "0", "1"', f'"{one}", "0", "1"')
        assert rejected(tools.pack(text.encode(), stream), net, "no decimal integer")
    for zero in ("-0", "00", "+0", "-", "", "0.0"):
        text = good.replace('"1", "0", "1"', f'"1", "{zero}", "1"')
        assert rejected(tools.pack(text.encode(), stream), net, "no decimal integer")
    _, net, proof = honest["no unit"]
    assert len(proof.regions) == 1
    for one in (True, 1.0, "1"):
        other = proof.copy()
        other.header["regions"] = one
        assert rejected(other, net)


def test_header_integers_are_not_too_long(honest):
    layers, net, _ = honest["interval"]
    proof = prove(layers, 1, [[3, 2], [-1, 0]])
    proof.header["constraints"][0][1] = "2" + "0" * 5000
    assert rejected(proof, net, "no decimal integer")


# ------------------------------------------------------------------------------- forged statements


def square_halves():
    """The square, cut in two by no unit: corners 0 to 3, then the middles of two sides."""
    corners = [[-1, -1], [1, -1], [1, 1], [-1, 1], [0, -1], [0, 1]]
    return [[c, [0, 0], 1] for c in corners], [[0, 4, 5, 3], [4, 1, 2, 5]]


@pytest.mark.parametrize(
    ("row", "bias", "slope"), [([0, 0], 0, 0), ([0, 0], 1, 0), ([1, 0], 0, 1), ([1, 2], 9, 0)]
)
def test_one_region_cut_in_two_is_rejected_whatever_the_patterns(row, bias, slope):
    """EXACTNESS A7: a unit that is identically zero must not label two halves of one region."""
    layers = make_layers([[row], [[1]]], [[bias], [0]], slope)
    net = ExactNet.from_bytes(tools.net_bytes(layers))
    proof = prove(layers, 2, SQUARE)
    if slope == 0:
        assert check(proof.to_bytes(), net).stats["regions"] == 1
    vertices, loops = square_halves()
    for patterns in [(0, 1), (1, 0), (0, 0), (1, 1), (0, 2), (1, 3), (1, 128), (0, 128), (1, 129)]:
        proof.vertices = vertices
        proof.header["domain_vertices"] = [0, 1, 2, 3]
        proof.regions = [[p, loop] for p, loop in zip(patterns, loops, strict=True)]
        assert rejected(proof.recount(), net)


def test_networks_without_units_have_one_region(honest):
    _, net, proof = honest["no unit"]
    vertices, loops = square_halves()
    proof = proof.copy()
    proof.vertices, proof.regions = vertices, [[0, loop] for loop in loops]
    proof.header["domain_vertices"] = [0, 1, 2, 3]
    assert rejected(proof.recount(), net, "pattern of an earlier region")


def test_rows_of_zeros_bound_nothing():
    """A triangle of the square whose third edge would lie 'on' the constraint 0 >= 0."""
    layers = make_layers([[[1]]], [[0]])
    layers[0].weights = [[Fraction(1), Fraction(0)]]
    net = ExactNet.from_bytes(tools.net_bytes(layers))
    proof = prove(layers, 2, [*SQUARE, [0, 0, 0]])
    assert check(proof.to_bytes(), net)
    proof.regions[0][1] = proof.header["domain_vertices"] = proof.regions[0][1][:3]
    assert rejected(proof, net, "domain edge")
    proof = prove(layers, 2, SQUARE)
    proof.header["constraints"].append(["0", "0", "-1"])
    assert rejected(proof, net, "outside the domain")


def test_a_bounded_part_of_an_unbounded_domain_is_rejected(honest):
    for name in ("plane", "half-plane", "strip", "quadrant", "line", "half-line"):
        layers, net, honest_proof = honest[name]
        dim = honest_proof.header["dim"]
        proof = prove(layers, dim, [*CASES[name][2], *box(*[(-50, 50)] * dim)])
        assert check(proof.to_bytes(), net)
        proof.header["constraints"] = honest_proof.header["constraints"]
        assert rejected(proof, net, "domain edge is on no constraint")


def test_the_unbounded_whole_is_no_proof_for_a_part(honest):
    for name in ("plane", "half-plane", "strip", "quadrant", "line", "half-line"):
        _, net, proof = honest[name]
        proof = proof.copy()
        dim = proof.header["dim"]
        proof.header["constraints"] += [list(map(str, r)) for r in box(*[(-(10**9), 10**9)] * dim)]
        assert rejected(proof, net, "outside the domain")


def test_vertices_at_infinity_are_compared_in_both_orders():
    """A wall x = 1 of the plane: at infinity, its foot (1, R) must not move by a finite amount."""
    layers = make_layers([[[1, 0]], [[1]]], [[-1], [0]])
    net = ExactNet.from_bytes(tools.net_bytes(layers))
    proof = prove(layers, 2)
    assert check(proof.to_bytes(), net)
    foot = next(k for k, (p, q, _) in enumerate(proof.vertices) if p == [1, 0] and q == [0, 1])
    for p, q, w in ([2, 0], [0, 1], 1), ([0, 0], [0, 1], 1), ([1, -1], [0, 1], 1), (
        [1, 0], [1, 1], 1), ([1, 1], [0, 1], 1), ([1001, 0], [0, 1000], 1000):  # fmt: skip
        proof.vertices[foot] = [p, q, w]
        assert rejected(proof, net)


def test_a_point_is_no_region():
    """Where relu(t) and relu(-t) meet, the signs of the point alone make a third pattern."""
    layers = make_layers([[[1], [-1]], [[1, 1]]], [[0, 0], [0]])
    net = ExactNet.from_bytes(tools.net_bytes(layers))
    for domain in (INTERVAL, []):
        proof = prove(layers, 1, domain)
        assert check(proof.to_bytes(), net).stats["regions"] == 2
        kink = proof.vertices.index([[0], [0], 1])
        for where in range(3):
            other = proof.copy()
            other.regions.insert(where, [0, [kink, kink]])
            assert rejected(other.recount(), net, "strictly convex")
    assert not checker._is_convex([((3,), (1,), 2)] * 2)
    assert not checker._is_convex([((3,), (1,), 2), ((2,), (1,), 2)])
    assert not checker._is_convex([((-9,), (2,), 3), ((9,), (1,), 2)])
    assert checker._is_convex([((9,), (1,), 2), ((-9,), (2,), 3)])


def test_edges_find_what_is_missing_without_the_areas(honest, monkeypatch):
    monkeypatch.setattr(checker, "_is_zero", lambda terms: True)
    for name, (_, net, proof) in honest.items():
        rng = random.Random(name)
        for _ in range(3):
            other = proof.copy()
            other.regions.pop(rng.randrange(len(other.regions)))
            other.recount()
            if other.regions:
                assert rejected(other, net, "other side")


def test_areas_find_what_is_missing_without_the_edges(honest):
    """Sums of the shoelace terms of a domain's edges minus those of some of the regions."""
    for _, _, proof in honest.values():
        dim, points = proof.header["dim"], proof.vertices
        for drop in range(len(proof.regions) + 1):
            loops = [loop for k, (_, loop) in enumerate(proof.regions) if k != drop]
            terms = []
            for sign, some in ((1, loops), (-1, [proof.header["domain_vertices"]])):
                for i, j in (f for loop in some for f in checker._facets(dim, loop)):
                    sorted_sign = sign if i < j else -sign
                    *parts, w = checker._shoelace(points, (min(i, j), max(i, j)))
                    terms.append((*(sorted_sign * v for v in parts), w))
            assert checker._is_zero(terms) == (drop == len(proof.regions))


def test_polygons_must_turn_once():
    def points(*pairs):
        return [((x, y), (0, 0), 1) for x, y in pairs]

    square = points((0, 0), (1, 0), (1, 1), (0, 1))
    pentagram = points((0, -10), (6, 8), (-10, -3), (10, -3), (-6, 8))
    assert checker._is_convex(square)
    for k in range(4):
        assert checker._is_convex(square[k:] + square[:k])
    assert checker._is_convex(points((0, -10), (10, -3), (6, 8), (-6, 8), (-10, -3)))
    sides = [checker._step(a, b) for a, b in around(pentagram)]
    assert all(checker._cross(d, e) > (0, 0, 0) for d, e in around(sides))
    assert not checker._is_convex(pentagram)
    for times in (2, 3):
        assert not checker._is_convex(square * times)
        assert not checker._is_convex(square[:3] * times)
    assert not checker._is_convex(square[::-1])
    assert not checker._is_convex(points((0, 0), (1, 0), (2, 0), (1, 1)))
    assert not checker._is_convex(points((0, 0), (2, 0), (1, 0), (1, 1)))
    assert not checker._is_convex(points((0, 0), (0, 0), (1, 0), (1, 1)))
    assert not checker._is_convex(points((0, 0), (1, 0), (1, 1), (2, -1)))
    assert not checker._is_convex(points((0, 0), (1, 1), (2, 2)))
    for k in range(7, 40):  # regular enough polygons, turned once, and by steps of 2 and 3
        wheel = [((x, y), (0, 0), 1) for x, y in convex_ring(k)]
        assert checker._is_convex(wheel)
        for step in (2, 3):
            if k % step:
                assert not checker._is_convex([wheel[step * i % k] for i in range(k)])


def convex_ring(count):
    """Integer corners of a strictly convex polygon, counter-clockwise (points of a circle)."""
    return [
        (((1 - t * t) * 10**12) // (1 + t * t), (2 * t * 10**12) // (1 + t * t))
        for t in (Fraction(2 * k - count + 1, count) for k in range(count))
    ]


def test_extra_collinear_corners_and_twin_vertices_are_rejected(honest):
    """Neither can be used to hide that two regions share an edge or leave a gap."""
    _, net, proof = honest["box"]
    for k, (_, loop) in enumerate(proof.regions):
        other = proof.copy()
        p, q, w = other.vertices[loop[0]]
        other.vertices.append([list(p), list(q), w])
        other.regions[k][1][0] = len(other.vertices) - 1
        assert rejected(other.recount(), net, "listed twice")
        other.vertices[-1] = [[2 * v for v in p], q, 2 * w]
        assert rejected(other, net, "lowest terms")
        other = proof.copy()
        other.vertices.append(middle(proof, loop[0], loop[1]))
        other.regions[k][1].insert(1, len(other.vertices) - 1)
        assert rejected(other.recount(), net, "strictly convex")


# ---------------------------------------------------------------------------------- malformed input


def test_trailing_bytes_are_rejected(honest):
    _, net, proof = honest["box"]
    header, stream = json.dumps(proof.header).encode(), zlib.compress(proof.body())
    assert check(tools.pack(header, stream), net)
    assert rejected(tools.pack(header, stream + b"\0"), net, "bytes follow the body")
    assert rejected(tools.pack(header, stream + stream), net, "bytes follow the body")
    assert rejected(tools.pack(header, stream + b"x" * (1 << 18)), net, "bytes follow the body")
    assert rejected(tools.pack(header, zlib.compress(proof.body() + b"\0")), net, "last region")
    assert rejected(tools.pack(header, zlib.compress(proof.body() * 2)), net, "last region")
    assert rejected(tools.pack(header, stream[:-1]), net, "truncated")
    assert rejected(tools.pack(header, proof.body()), net, "zlib")
    assert rejected(tools.pack(header, b""), net, "truncated")


@pytest.mark.parametrize(
    "edit",
    [
        {"claim": None}, {"claim": "regions"}, {"claim": ["region_list"]}, {"claim": 3},
        {"network": None}, {"network": "0" * 64}, {"definitions": 3}, {"definitions": None},
        {"dim": 1}, {"dim": 3}, {"dim": 0}, {"dim": -2}, {"dim": "2"}, {"dim": True}, {"dim": None},
        {"dim": 1 << 70}, {"dim": [2]},
        {"slice": []}, {"slice": {}}, {"slice": 1}, {"slice": {"scale": "1", "rows": []}},
        {"slice": {"scale": "0", "rows": [["1", "0", "0"], ["0", "1", "0"]]}},
        {"slice": {"scale": "-1", "rows": [["1", "0", "0"], ["0", "1", "0"]]}},
        {"slice": {"scale": 1, "rows": [["1", "0", "0"], ["0", "1", "0"]]}},
        {"slice": {"scale": "1", "rows": [["1", "0", "0"]]}},
        {"slice": {"scale": "1", "rows": [["1", "0"], ["0", "1"]]}},
        {"slice": {"scale": "1", "rows": [["1", "0", "0"]] * 3}},
        {"slice": {"scale": "1", "rows": [["1", "0", "0"], ["0", "1", "0"]], "more": 0}},
        {"constraints": None}, {"constraints": []}, {"constraints": {}}, {"constraints": [[]]},
        {"constraints": [["1", "0"]]}, {"constraints": [[1, 0, 0]]}, {"constraints": ["101"]},
        {"constraints": [["1", "0", "x"]]}, {"constraints": [["1", "0", "1_0"]]},
        {"constraints": [["1", "0", " 1"]]}, {"constraints": [["1", "0", "1\n"]]},
        {"constraints": [["1", "0", "+1"]]}, {"constraints": [["1", "0", "01"]]},
        {"constraints": [["1", "0", "-0"]]}, {"constraints": [["1", "0", "\u0661"]]},
        {"constraints": [["1", "0", ""]]}, {"constraints": [["1", "0", "-"]]},
        {"constraints": [["1", "0", "1.0"]]}, {"constraints": [["1", "0", "9" * 4950]]},
        {"regions": 0}, {"regions": -1}, {"regions": 1 << 39}, {"regions": 1 << 64},
        {"regions": "9"}, {"regions": None}, {"regions": True}, {"regions": [1]},
        {"vertices": 0}, {"vertices": 1}, {"vertices": -1}, {"vertices": 1 << 39},
        {"vertices": None}, {"vertices": {}},
        {"domain_vertices": []}, {"domain_vertices": None}, {"domain_vertices": "0123"},
        {"domain_vertices": [0, 1, 2, -1]}, {"domain_vertices": [0, 1, 2, 1 << 50]},
        {"domain_vertices": [0, 0, 0, 0]}, {"domain_vertices": [0, 1, 2, "3"]},
        {"domain_vertices": [0, 1, 2, 1 << 30]}, {"domain_vertices": [False, True, 2, 3]},
        {"surplus": 1},
    ],
    ids=str,
)  # fmt: skip
def test_malformed_header_is_rejected(honest, edit):
    _, net, proof = honest["box"]
    other = proof.copy()
    other.header.update(edit)
    assert rejected(other, net)


def test_missing_keys_are_rejected(honest):
    _, net, proof = honest["box"]
    for key in proof.header:
        other = proof.copy()
        del other.header[key]
        assert rejected(other, net)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"1", b'"region_list"', b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{}",
        b"[" * 200_000, b'{"a":' * 200_000, b'{"claim": NaN}', b'{"claim": 1e999}', b"{} {}",
        b'{"claim": "region_list", "claim": "region_list"}', b'{"dim": ' + b"9" * 100_000 + b"}",
        b'{"claim": {"a": 1, "a": 2}}', b'{"claim": 2.0}', b'{"claim": "\\ud800"}',
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_header_that_is_not_the_json_expected_is_rejected(honest, text):
    _, net, proof = honest["box"]
    assert rejected(tools.pack(text, zlib.compress(proof.body())), net)


def test_repeated_key_and_float_counts_are_rejected(honest):
    _, net, proof = honest["box"]
    good = json.dumps(proof.header)
    count = len(proof.regions)
    assert f'"regions": {count}' in good
    stream = zlib.compress(proof.body())
    for new in (
        f'"regions": {count}.0',
        f'"regions": 1, "regions": {count}',
        f'"regions": {count}e0',
    ):
        text = good.replace(f'"regions": {count}', new).encode()
        assert rejected(tools.pack(text, stream), net)


@pytest.mark.parametrize("dim", [0, 3])
def test_other_dimensions_are_rejected(dim):
    layers = make_layers([[[1, 2, 3]], [[1]]], [[1], [0]])
    net = ExactNet.from_bytes(tools.net_bytes(layers))
    part = None if dim == 3 else {"scale": "1", "rows": [["1"]] * 3}
    proof = prove(layers, 2, SQUARE, (1, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    assert check(proof.to_bytes(), net)
    proof.header.update(dim=dim, slice=part, constraints=[["0"] * dim + ["1"]])
    assert rejected(proof, net, "dimension 1 and 2")


def test_headers_and_bodies_have_a_limit(honest, monkeypatch):
    _, net, proof = honest["box"]
    data = proof.to_bytes()
    head, body = len(json.dumps(proof.header)), len(proof.body())
    for where, name, size in ((proof_reader, "MAX_HEADER", head), (checker, "MAX_BODY", body)):
        monkeypatch.setattr(where, name, size)
        assert check(data, net)
        monkeypatch.setattr(where, name, size - 1)
        assert rejected(data, net, "long")
        monkeypatch.undo()


def test_header_lengths_that_lie_are_rejected(honest):
    _, net, proof = honest["box"]
    data = proof.to_bytes()
    start = len(proof_reader.MAGIC)
    for size in (0, 1, 10, len(data), (1 << 25) + 1, (1 << 32) - 1):
        assert rejected(data[:start] + struct.pack("<I", size) + data[start + 4 :], net)


def test_magic_is_required(honest):
    _, net, proof = honest["box"]
    data = proof.to_bytes()
    assert rejected(b"", net, "not a proof file")
    assert rejected(b"PLPROOF\x002\n" + data[len(proof_reader.MAGIC) :], net, "not a proof file")
    assert check(bytearray(data), net)


def raw(proof, net, vertex=None, region=None):
    """Replace the bytes of the first vertex or the last region, and check."""
    other = proof.copy()
    body = other.body()
    if vertex is not None:
        other.vertices = other.vertices[:1]
        other.regions = []
        body = vertex + body[len(other.body()) :]
    if region is not None:
        last = other.regions.pop()
        assert body == other.body() + body[len(other.body()) :]
        assert last
        body = other.body() + region
    return check(tools.pack(json.dumps(proof.header).encode(), zlib.compress(body)), net)


def test_malformed_vertices_and_regions_are_rejected(honest):
    layers, net, _ = honest["one unit"]
    proof = prove(layers, 2, SQUARE)
    p, _, w = proof.vertices[0]
    number = tools.big
    good = b"\0" + number(p[0]) + number(p[1]) + number(w)
    assert raw(proof, net, vertex=good)
    long_zero = b"\xff\xff\xff\xff\xff\xff\xff\xff\x00"  # a length of 2**56 - 1
    for bad, why in [
        (b"\2" + good[1:], "unknown vertex kind"),
        (b"\xff" + good[1:], "unknown vertex kind"),
        (b"\0" + number(p[0]) + number(p[1]) + number(0), "denominator"),
        (b"\0" + number(-p[0]) + number(-p[1]) + number(-w), "denominator"),
        (b"\0" + number(2 * p[0]) + number(2 * p[1]) + number(2 * w), "lowest terms"),
        (b"\1" + number(p[0]) + number(p[1]) + b"\0\0" + number(w), "finite"),
        (b"\0" + long_zero, "too long"),
        (b"\0" + tools.var(proof_reader.MAX_NUMBER + 1), "too long"),
        (b"\0" + b"\xff" * 9 + b"\1", "too long"),
        (b"\1" + number(p[0]) + number(p[1]) + number(1) + number(0) + number(w), "outside"),
    ]:
        verdict = raw(proof, net, vertex=bad)
        assert not verdict
        assert why in verdict.reason
    pattern, loop = proof.regions[-1]
    good = bytes([pattern, len(loop), *loop])
    assert raw(proof, net, region=good)
    for bad in [
        bytes([pattern, 0]), bytes([pattern, 1, loop[0]]), bytes([pattern, 2, *loop[:2]]),
        bytes([pattern, 200, 200, 200, 1, *loop]), bytes([pattern, len(loop), *loop[:-1], 99]),
        bytes([pattern | 2, len(loop), *loop]), b"", bytes([pattern, 255, 255, 255, 255, 255]),
        bytes([pattern, len(loop), *loop[:-1]]) + b"\xff" * 12,
        bytes([pattern, len(loop), *loop]) + b"\0",
    ]:  # fmt: skip
        assert not raw(proof, net, region=bad)


def test_bombs_are_rejected_in_little_memory(honest, monkeypatch):
    _, net, proof = honest["box"]
    other = proof.copy()
    other.header["vertices"] = other.header["regions"] = (1 << 40) - 1
    header = json.dumps(other.header).encode()
    packer = zlib.compressobj()
    zeros = b"".join([packer.compress(bytes(1 << 20)) for _ in range(64)] + [packer.flush()])
    zero, one = tools.big(0), tools.big(1)
    vertices = b"".join(b"\0" + zero + tools.big(k << 900_000 | 1) + one for k in range(1, 30))
    wide = prove(CASES["box"][0], 2, box((-1, 1), (-1, None)))  # large vertices lie in the domain
    wide.header["vertices"] = 1 << 30
    tracemalloc.start()
    assert rejected(tools.pack(header, zeros), net)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    honest_part = proof.body() + bytes(1 << 24)
    tracemalloc.reset_peak()
    stream = zlib.compress(honest_part)
    tracemalloc.reset_peak()
    assert rejected(tools.pack(json.dumps(proof.header).encode(), stream), net, "last region")
    assert tracemalloc.get_traced_memory()[1] < len(honest_part) + (4 << 20)
    tracemalloc.stop()
    monkeypatch.setattr(checker, "MAX_BODY", 1 << 20)
    stream = zlib.compress(vertices)
    assert rejected(tools.pack(json.dumps(wide.header).encode(), stream), net, "counts allow")


def test_random_bytes_are_rejected(honest):
    _, net, proof = honest["box"]
    rng = random.Random(41)
    header = json.dumps(proof.header).encode()
    for size in [*range(40), *(rng.randrange(4000) for _ in range(60))]:
        noise = rng.randbytes(size)
        assert rejected(noise, net)
        assert rejected(proof_reader.MAGIC + noise, net)
        assert rejected(tools.pack(noise, zlib.compress(proof.body())), net)
        assert rejected(tools.pack(header, noise), net)
        assert rejected(tools.pack(header, zlib.compress(noise)), net)


def test_text_of_the_header_cannot_reach_the_terminal(honest):
    _, net, proof = honest["box"]
    other = proof.copy()
    other.header["definitions"] = "a\x1b[2Jb\u202ec\ud800"
    verdict = check(other.to_bytes(), net)
    assert verdict
    assert verdict.stats["definitions"] == "a?[2Jb?c?"
    assert "a?" not in verdict.claim
    other.header["claim"] = "\x1b[2J"
    assert check(other.to_bytes(), net).reason.isprintable()


# ------------------------------------------------------------------------------------ independence


@pytest.mark.parametrize(
    "module", [checker, checker_claims, checker_dual, checker_nets, checker_tree, proof_reader]
)
def test_checker_uses_no_float_and_nothing_but_exact_net(module):
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, (float, complex))
        if isinstance(node, ast.Name):
            assert node.id not in ("float", "complex", "round", "sqrt", "eval", "exec")
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("plverify") for name in node.names)
        if isinstance(node, ast.ImportFrom) and (node.module or "") == "plverify":
            assert {name.name for name in node.names} == {"checker_tree", "checker_dual"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plverify"):
            ours = ("exact_net", "proof_reader", "checker_tree", "checker_dual", "checker_claims")
            # In the last two doubles stand for themselves.
            ours += ("checker_nets", "checker_minima", "checker_bounds", "checker_gain")
            assert node.module.removeprefix("plverify.") in ours
