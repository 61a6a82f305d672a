"""The canonical exact form agrees with naive Fractions, and refuses every other byte string."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise, product

import pytest
from dual_cases import graphs, network, small_random
from hypothesis import given, settings
from hypothesis import strategies as st

from plverify import _check
from plverify.exact_net import (
    MAGIC,
    Affine,
    ExactNet,
    Units,
    _direction,
    canonicalise_row,
    pack_bits,
    pack_ints,
    unpack_bits,
)

QUIET = settings(deadline=None)
MODULE_FILE = sys.modules[ExactNet.__module__].__file__
SLOPES = [(0, 0), (0, 0), (1, 3), (-1, 1), (1, 0), (2, 0), (-1, 0)]


def random_net(rng, sizes, slopes=((0, 0),), reach=3, bias=True):
    nodes = []
    for k, (n, m) in enumerate(pairwise(sizes)):
        rows = []
        for _ in range(m):
            entries = [rng.randint(-reach, reach) for _ in range(n)]
            entries.append(rng.randint(-reach, reach) if bias else 0)
            rows.append(canonicalise_row(entries, rng.choice([1, 1, 2, 3, 6, 8])))
        columns = list(zip(*rows, strict=True))
        nodes.append(Affine(len(nodes), n, *columns))
        if k < len(sizes) - 2:
            nodes.append(Units(len(nodes), tuple(rng.choice(slopes) for _ in range(m))))
    return ExactNet(sizes[0], tuple(nodes))


def naive(net, x):
    """Outputs and pre-activations by the definition, in Fractions."""
    values, pre = [Fraction(v) for v in x], []
    for node in net.nodes:
        if isinstance(node, Affine):
            rows = zip(node.rows, node.shifts, node.dens, strict=True)
            values = [
                Fraction(sum(a * b for a, b in zip(r, [*values, 1], strict=True))) / (d << s)
                for r, s, d in rows
            ]
            pre.append(values)
        else:
            pairs = zip(values, node.slopes, strict=True)
            values = [v if v > 0 else v * Fraction(n, 1 << s) for v, (n, s) in pairs]
    return values, pre


def apply_map(rows, den, x):
    return [Fraction(sum(a * b for a, b in zip(r, [*x, 1], strict=True))) / den for r in rows]


@st.composite
def cases(draw):
    rng = random.Random(draw(st.integers(0, 2**32)))
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(2, 5))]
    slopes = SLOPES if draw(st.booleans()) else [(0, 0)]
    net = random_net(rng, sizes, slopes, draw(st.sampled_from([1, 3, 10**12])), draw(st.booleans()))
    x = [Fraction(rng.randint(-3, 3), rng.choice([1, 1, 2, 3])) for _ in range(sizes[0])]
    return rng, net, x


@QUIET
@given(cases())
def test_evaluation_and_affine_maps_agree_with_naive_fractions(case):
    _, net, x = case
    outputs, pre = naive(net, x)
    assert net.evaluate(x) == outputs
    bits = net.pattern_at(x).bits
    maps = list(net.affine_maps(bits))
    assert [apply_map(*m, x) for m in maps] == pre
    for k, (rows, den) in enumerate(maps):
        assert net.affine_map(pack_bits(bits), upto=k) == (rows, den)
        for i, row in enumerate(rows):
            one, one_den = net.unit_row(k, i, bits)
            assert [Fraction(v, one_den) for v in one] == [Fraction(v, den) for v in row]
    assert net.affine_map(bits) == maps[-1]


@QUIET
@given(cases())
def test_slices_agree_with_the_points_they_map_to(case):
    rng, net, _ = case
    dim = rng.randint(1, 3)
    rows = [[rng.randint(-2, 2) for _ in range(dim + 1)] for _ in range(net.input_size)]
    slice = (3, rows)
    t = [Fraction(rng.randint(-4, 4), 2) for _ in range(dim)]
    _, pre = naive(net, apply_map(rows, 3, t))
    bits = net.pattern_at(t, slice).bits
    maps = list(net.affine_maps(bits, slice))
    assert [apply_map(*m, t) for m in maps] == pre
    for k, (table, den) in enumerate(maps):
        assert net.affine_map(bits, upto=k, slice=slice) == (table, den)
        row, one = net.unit_row(k, 0, bits, slice)
        assert [Fraction(v, one) for v in row] == [Fraction(v, den) for v in table[0]]


@QUIET
@given(cases())
def test_pattern_at_is_a_full_dimensional_region_whose_closure_holds_the_point(case):
    _, net, x = case
    found = net.pattern_at(x)
    bits = iter(found.bits)
    _, pre = naive(net, x)
    boundary = False
    for (_, units), (rows, _), z in zip(
        net.layers, net.affine_maps(found.bits), pre[:-1], strict=False
    ):
        for slope, row, value in zip(units.slopes, rows, z, strict=True):
            bit = next(bits)
            if slope == (1, 0) or not any(row):
                assert bit == 0
                continue
            assert value >= 0 if bit else value <= 0
            boundary |= value == 0
    assert found.on_boundary == boundary
    # Full-dimensional: at a point nearby every unit is strictly on its side.
    eps = Fraction(1, 10**60)
    attempts = [_direction(net.input_size, k) for k in range(4)]
    nearby = [[v + eps * d for v, d in zip(x, direction, strict=True)] for direction in attempts]
    assert any(strictly_inside(net, found.bits, y) for y in nearby)


def strictly_inside(net, bits, y):
    _, pre = naive(net, y)
    flat = iter(bits)
    for (_, units), (rows, _), z in zip(net.layers, net.affine_maps(bits), pre[:-1], strict=False):
        for slope, row, value in zip(units.slopes, rows, z, strict=True):
            bit = next(flat)
            if slope != (1, 0) and any(row) and not (value > 0 if bit else value < 0):
                return False
    return True


def test_pattern_takes_the_next_direction_where_the_first_lies_in_a_hyperplane(monkeypatch):
    a, b = _direction(2, 0)
    net = random_net(random.Random(0), [2, 1, 1])
    first = Affine(0, 2, ((b, -a, 0),), (0,), (1,))
    rows = [canonicalise_row(r, 1)[0] for r in first.rows]
    net = ExactNet(2, (Affine(0, 2, tuple(rows), (0,), (1,)), *net.nodes[1:]))
    found = net.pattern_at([0, 0])
    assert found.on_boundary
    # With every generic direction unlucky, the germ along the axes decides.
    monkeypatch.setattr("plverify.exact_net._direction", lambda dim, attempt: [a, b])
    assert net.pattern_at([0, 0]).bits in ((0,), (1,))
    assert net.pattern_at([0, 0]).on_boundary


def test_pattern_at_a_point_with_a_dead_layer_is_canonical_and_off_the_boundary():
    # relu(0 x - 1) is 0 everywhere; what reads it is identically 0: bit 0 and no boundary.
    net = ExactNet(
        1,
        (
            Affine(0, 1, ((0, -1),), (0,), (1,)),
            Units(1, ((0, 0),)),
            Affine(2, 1, ((1, 0),), (0,), (1,)),
            Units(3, ((0, 0),)),
            Affine(4, 1, ((1, 0),), (0,), (1,)),
        ),
    )
    assert net.pattern_at([5]) == ((0, 0), False)
    assert net.pack(net.pattern_at([5]).bits) == b"\0"


@QUIET
@given(cases())
def test_germs_have_the_signs_of_points_nearby(case):
    rng, net, x = case
    d = [rng.randint(-2, 2) for _ in x]
    den = 6
    nums = [int(v * den) for v in x]
    signs, (levels, out_den) = net.forward([nums, d], den)
    eps = Fraction(1, 10**80)
    outputs, pre = naive(net, [v + eps * Fraction(e, den) for v, e in zip(x, d, strict=True)])
    flat = [(v > 0) - (v < 0) for z in pre[:-1] for v in z]
    assert [s for layer in signs for s in layer] == flat
    sums = [
        Fraction(a) / out_den + eps * Fraction(b) / out_den for a, b in zip(*levels, strict=True)
    ]
    assert sums == outputs
    # The same point seen from infinity: levels [q, p], constants on the second.
    signs, (levels, out_den) = net.forward([d, nums], den, unit_level=1)
    big = 10**80
    outputs, pre = naive(net, [v + big * Fraction(e, den) for v, e in zip(x, d, strict=True)])
    assert [s for layer in signs for s in layer] == [(v > 0) - (v < 0) for z in pre[:-1] for v in z]
    sums = [Fraction(q * big + p) / out_den for q, p in zip(*levels, strict=True)]
    assert sums == outputs


# --------------------------------------------------------------------------------------- the bytes


def written(net):
    """The same network without the bytes that it was read from."""
    return ExactNet(net.input_size, net.nodes)


@QUIET
@given(cases())
def test_bytes_round_trip_and_identify(case):
    _, net, _ = case
    data = net.to_bytes()
    again = ExactNet.from_bytes(data)
    assert again == net
    assert again.digest() == net.digest() == written(again).digest()
    assert len(net.digest()) == 64


@QUIET
@given(cases(), st.data())
def test_truncated_padded_and_flipped_bytes_are_refused_or_another_network(case, data):
    _, net, _ = case
    good = net.to_bytes()
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(ValueError):
        ExactNet.from_bytes(good[:cut])
    with pytest.raises(ValueError):
        ExactNet.from_bytes(good + b"\0")
    bad = bytearray(good)
    bad[cut] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = ExactNet.from_bytes(bytes(bad))
    except ValueError:
        with pytest.raises(ValueError):
            _check.Net(bytes(bad))
        return
    _check.Net(bytes(bad))
    assert other.to_bytes() == written(other).to_bytes() == bytes(bad)
    assert other != net


def affine_bytes(source=0, rows=1, cols=1, shifts=(0,), dens=(1,), entries=(1, 0), words=None):
    head = struct.pack("<BIII", 1, source, rows, cols) + struct.pack(f"<{len(shifts)}I", *shifts)
    table = pack_ints(entries)
    if words:
        packed = b"".join(v.to_bytes(8 * words, "little", signed=True) for v in entries)
        table = bytes([words]) + packed
    return head + pack_ints(dens) + table


def net_bytes(*nodes, size=1, count=None):
    return (
        MAGIC + struct.pack("<II", size, len(nodes) if count is None else count) + b"".join(nodes)
    )


UNITS = struct.pack("<BIII", 2, 1, 1, 0) + pack_ints([0])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "truncated at magic"),
        (b"PLNET\x002\n" + bytes(20), "wrong magic"),
        (net_bytes(affine_bytes(source=1)), "reads tensor 1"),
        (net_bytes(affine_bytes(cols=2, entries=(1, 0, 0))), "2 columns"),
        (net_bytes(affine_bytes(dens=(2,))), "not odd and positive"),
        (net_bytes(affine_bytes(dens=(-1,))), "not odd and positive"),
        (net_bytes(affine_bytes(dens=(3,), entries=(3, 6))), "not canonical"),
        (net_bytes(affine_bytes(shifts=(1,), entries=(2, 4))), "not canonical"),
        (net_bytes(affine_bytes(shifts=(1,), entries=(0, 0))), "not canonical"),
        (net_bytes(affine_bytes(shifts=(1 << 31,))), "out of range"),
        (net_bytes(affine_bytes(words=2)), "fewer would do"),
        (net_bytes(affine_bytes(), UNITS), "ends in a linear node"),
        (net_bytes(UNITS), "ends in a linear node"),
        (net_bytes(affine_bytes(), affine_bytes(source=0)), "depend on every node"),
        (net_bytes(b"\x07" + bytes(8)), "unknown kind 7"),
        (net_bytes(affine_bytes(), count=2**32 - 1), "truncated"),
        (net_bytes(affine_bytes(rows=2**32 - 1)), "truncated"),
        (net_bytes(affine_bytes(cols=2**32 - 1)), "truncated"),
        (net_bytes(affine_bytes(), size=0), "input size 0"),
        (net_bytes(affine_bytes(rows=0, shifts=(), dens=(), entries=())), "one shift"),
        (net_bytes(count=0), "ends in a linear node"),
        (
            net_bytes(
                affine_bytes(),
                struct.pack("<BIII", 2, 1, 1, 2) + pack_ints([2]),
                affine_bytes(source=2),
            ),
            "slope can be reduced",
        ),
    ],
)
def test_bytes_that_are_no_canonical_network_are_refused_with_the_reason(data, text):
    with pytest.raises(ValueError, match=text):
        ExactNet.from_bytes(data)
    with pytest.raises(ValueError, match="malformed"):
        _check.Net(data)


@QUIET
@given(st.lists(st.integers(-(2**130), 2**130), max_size=5))
def test_pack_ints_uses_the_least_words(values):
    data = pack_ints(values)
    words = data[0]
    assert len(data) == 1 + 8 * words * len(values)
    size = 8 * words
    chunks = [data[1 + i * size : 1 + (i + 1) * size] for i in range(len(values))]
    assert [int.from_bytes(c, "little", signed=True) for c in chunks] == values
    limit = 1 << (64 * (words - 1) - 1) if words > 1 else 0
    assert words == 1 or any(not -limit <= v < limit for v in values)


def test_pack_ints_at_the_edge_of_a_word():
    assert pack_ints([2**63 - 1, -(2**63)])[0] == 1
    assert pack_ints([2**63])[0] == 2
    assert pack_ints([])[0] == 1


# ----------------------------------------------------------------------------------------- the rest


def test_wrong_arguments_are_value_errors():
    net = random_net(random.Random(1), [2, 3, 1])
    calls = [
        lambda: net.evaluate([1]),
        lambda: net.evaluate([1, float("nan")]),
        lambda: net.evaluate([1, float("inf")]),
        lambda: net.forward([[1, 2]], 0),
        lambda: net.forward([[1, 2]], 1, unit_level=1),
        lambda: net.affine_map([0, 0]),
        lambda: net.affine_map(b"\x08"),
        lambda: net.affine_map(b"\0\0"),
        lambda: net.affine_map([0, 0, 0], upto=2),
        lambda: net.unit_row(2, 0, [0, 0, 0]),
        lambda: net.unit_row(0, 3, [0, 0, 0]),
        lambda: net.unit_row(0, -1, [0, 0, 0]),
        lambda: net.pattern_at([1, 2, 3]),
        lambda: net.pattern_at([1], (1, [[1, 2]])),
        lambda: canonicalise_row([1], 0),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()


def test_pattern_bits_pack_little_endian():
    for bits in product((0, 1), repeat=9):
        assert unpack_bits(pack_bits(bits), 9) == bits


def test_a_network_without_units_is_one_affine_map():
    net = ExactNet(1, (Affine(0, 1, ((1, 1),), (1,), (3,)),))
    assert net.evaluate([2]) == [Fraction(1, 2)]
    assert net.affine_map(b"") == ([(1, 1)], 6)
    assert net.pattern_at([0]) == ((), False)


def test_the_module_imports_nothing_but_the_standard_library():
    folder = os.path.dirname(MODULE_FILE)
    code = (
        "import sys, types; before = set(sys.modules); import importlib.util as u;"
        f"sys.modules['plverify'] = p = types.ModuleType('plverify'); p.__path__ = [{folder!r}];"
        "import plverify.exact_net;"
        "new = set(sys.modules) - before - {'plverify.exact_net', 'plverify.exact_nodes'};"
        "print(sorted({n.partition('.')[0] for n in new - {'plverify'}}"
        " - set(sys.stdlib_module_names)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_both_readers_refuse_the_same_bytes() -> None:
    """The compiled checker's reader, too, takes nothing but canonical bytes of networks."""
    rng = random.Random(5)
    some = [*graphs().values(), *filter(None, map(small_random, range(30)))]
    verdicts = set()
    for seed, graph in enumerate(some):
        good = network(graph, seed).canonical
        for _ in range(120):
            bad = bytearray(good)
            at = rng.randrange(len(MAGIC), len(bad))
            bad[at] = rng.choice([0, 1, 2, 3, 255, bad[at] ^ 1 << rng.randrange(8)])
            taken = []
            for read in (ExactNet.from_bytes, _check.Net):
                try:
                    read(bytes(bad))
                    taken.append(True)
                except ValueError:
                    taken.append(False)
            assert taken[0] == taken[1], (seed, at, bad[at])
            verdicts.add((good[at] != bad[at], taken[0]))
    assert len(verdicts) == 3  # what was changed is refused or taken, what was not is taken
