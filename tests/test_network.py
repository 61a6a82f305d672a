"""`Network` agrees with the plain-integer form it stands for, and its filter never guesses."""

from __future__ import annotations

import itertools
import random
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows, int_matmul
from plverify.exact_net import ExactNet, canonicalise_row
from plverify.filters import float_filter
from plverify.network import Network, load
from plverify.nodes import Dense

QUIET = settings(deadline=None)
DATA = Path(__file__).parents[2] / "shared" / "data"
STYLES = {
    "normal": lambda rng: rng.gauss(0, 1),
    "float32": lambda rng: float(np.float32(rng.gauss(0, 1))),
    "integer": lambda rng: float(rng.randint(-2, 2)),
    "wide": lambda rng: rng.choice([0.0, 1.0, -3.0]) * 2.0 ** rng.randint(-70, 70),
    "huge": lambda rng: rng.choice([1.0, -1.0]) * 2.0 ** rng.choice([-1074, -500, 500, 1000]),
}


def random_arrays(rng, style, depth=3, width=5, bias=True):
    sizes = [rng.randint(1, width) for _ in range(rng.randint(2, depth + 1))]
    pick = STYLES[style]
    pairs = list(itertools.pairwise(sizes))
    weights = [np.array([[pick(rng) for _ in range(n)] for _ in range(m)]) for n, m in pairs]
    biases = [np.array([pick(rng) if bias else 0.0 for _ in range(m)]) for _, m in pairs]
    slopes = [
        np.array([rng.choice([0.0, 0.25, -1.0, 1.0]) for _ in range(m)]) for _, m in pairs[:-1]
    ]
    return weights, biases, slopes


@st.composite
def networks(draw, styles=tuple(STYLES)):
    rng = random.Random(draw(st.integers(0, 2**32)))
    style = draw(st.sampled_from(styles))
    weights, biases, slopes = random_arrays(rng, style, bias=draw(st.booleans()))
    if not draw(st.booleans()):
        slopes = 0.0
    return rng, weights, biases, slopes


def by_definition(weights, biases, slopes):
    """The canonical network, row by row in Fractions."""
    nodes = []
    from plverify.exact_net import Affine, Units

    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        rows = []
        for row, c in zip(w.tolist(), b.tolist(), strict=True):
            exact = [Fraction(v) for v in [*row, c]]
            den = 1
            for v in exact:
                den = max(den, v.denominator)
            rows.append(canonicalise_row([int(v * den) for v in exact], den))
        nodes.append(Affine(len(nodes), w.shape[1], *zip(*rows, strict=True)))
        if k < len(weights) - 1:
            per = slopes[k].tolist() if isinstance(slopes, list) else [slopes] * len(b)
            units = [(Fraction(s).numerator, Fraction(s).denominator.bit_length() - 1) for s in per]
            nodes.append(Units(len(nodes), tuple(units)))
    return ExactNet(weights[0].shape[1], tuple(nodes))


@QUIET
@given(networks())
def test_canonical_bytes_agree_with_the_definition(case):
    _, weights, biases, slopes = case
    net = Network.from_arrays(weights, biases, slopes)
    reference = by_definition(weights, biases, slopes)
    assert net.canonical == reference.to_bytes()
    assert net.digest == reference.digest()
    assert net.exact_net == reference
    assert Network.from_exact(reference) == net
    assert (net.input_size, net.output_size) == (reference.input_size, reference.output_size)
    assert net.widths == reference.widths
    assert net.unit_count == reference.unit_count


@QUIET
@given(networks())
def test_pattern_is_that_of_the_exact_net_on_and_off_kinks(case):
    rng, weights, biases, slopes = case
    net = Network.from_arrays(weights, biases, slopes)
    n = net.input_size
    points = [[rng.gauss(0, 1) for _ in range(n)] for _ in range(3)]
    points += [[float(rng.randint(-2, 2)) for _ in range(n)] for _ in range(3)] + [[0.0] * n]
    batch = net.pattern(np.array(points))
    for x, bits in zip(points, batch, strict=True):
        exact = net.exact_net.pattern_at(x)
        assert tuple(bits.astype(int)) == exact.bits
        assert (net.pattern(x) == bits).all()
        found = net.affine_map(x)
        assert found.on_boundary == exact.on_boundary
        assert (found.pattern == bits).all()
    fractions = [Fraction(v) / 3 for v in points[0]]
    assert tuple(net.pattern(fractions).astype(int)) == net.exact_net.pattern_at(fractions).bits


def test_filter_settles_generic_points_and_leaves_the_rest_to_integers():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((64, 8)), rng.standard_normal((64, 64)), np.ones((1, 64))]
    net = Network.from_arrays(weights)
    x = rng.standard_normal((200, 8))
    _, decided = float_filter(net.nodes, net._take, x, np.zeros_like(x))
    assert decided.mean() > 0.99
    _, decided = float_filter(net.nodes, net._take, np.zeros((1, 8)), np.zeros((1, 8)))
    assert not decided.any()


def test_filter_is_right_where_float64_is_wrong():
    # f = relu(x + 2**60) - 2**60 loses x in float64; the second unit's sign is that of x.
    big = 2.0**60
    net = Network.from_arrays([[[1.0]], [[1.0]], [[1.0]]], [[big], [-big], [0.0]])
    x = [[1.0], [-1.0], [0.25], [-0.25]]
    assert net.pattern(x)[:, 1].tolist() == [True, False, True, False]
    assert net.exact([0.25]) == [Fraction(1, 4)]


def test_filter_bound_survives_underflow():
    # Subnormal inputs, huge weights and a cancellation: K |x| underflows, the rounding does not.
    rng, wrong = random.Random(0), 0
    for _ in range(300):
        x = [rng.randint(1, 2**12) * 2.0**-1074 for _ in range(3)]
        w = [rng.gauss(0, 1) * 2.0**990 for _ in range(2)]
        rest = sum(Fraction(a) * Fraction(b) for a, b in zip(w, x, strict=False))
        net = Network.from_arrays([[[*w, float(-rest / Fraction(x[2]))]], [[1.0]]])
        bits, decided = float_filter(net.nodes, net._take, np.array([x]), np.zeros((1, 3)))
        wrong += decided[0] and tuple(bits[0].astype(int)) != net.exact_net.pattern_at(x).bits
    assert wrong == 0


def test_infinities_inside_the_filter_mean_undecided():
    net = Network.from_arrays([[[1e300]], [[1e300], [-1e300]], [[1.0, 1.0]]])
    assert net.pattern([1e300]).tolist() == [True, True, False]


@QUIET
@given(networks(["normal", "float32", "integer", "wide"]))
def test_affine_map_agrees_with_the_exact_one(case):
    rng, weights, biases, slopes = case
    net = Network.from_arrays(weights, biases, slopes)
    x = [rng.gauss(0, 1) for _ in range(net.input_size)]
    J, c = net.affine_map(x, exact=True)
    value = [
        sum(a * Fraction(v) for a, v in zip(r, x, strict=True)) + d
        for r, d in zip(J, c, strict=True)
    ]
    assert value == net.exact(x)
    # The documented bound, against the product of the absolute values.
    sizes = sum(w.shape[1] for w in weights)
    factor = 2 * (sizes + len(weights)) * 2.0**-53
    absolute = Network.from_arrays([abs(w) for w in weights], [abs(b) for b in biases], 1.0)
    big, big_c = absolute.affine_map(np.zeros(net.input_size), exact=True)
    near, near_c = net.affine_map(x)
    assert (abs(near - J) <= Fraction(factor) * big).all()
    assert (abs(near_c - c) <= Fraction(factor) * big_c).all()
    maps = net.unit_maps(x, exact=True)
    assert [len(A) for A, _ in maps] == list(net.widths)
    for (A, a), (B, b) in zip(maps, net.unit_maps(x), strict=True):
        assert np.allclose(A.astype(float), B, rtol=1e-6, atol=1e-300 + float(abs(A).max()) * 1e-6)
        assert a.shape == b.shape


@QUIET
@given(networks(["normal", "float32", "integer"]))
def test_call_is_near_the_exact_value(case):
    rng, weights, biases, slopes = case
    net = Network.from_arrays(weights, biases, slopes)
    x = np.array([[rng.gauss(0, 1) for _ in range(net.input_size)] for _ in range(4)])
    exact = np.array([net.exact(row) for row in x], dtype=object).astype(float)
    assert np.allclose(net(x), exact, rtol=1e-9, atol=1e-9)
    assert (net(x[0]) == net(x)[0]).all() or np.allclose(net(x[0]), net(x)[0], rtol=1e-12)


def test_exact_numbers_of_every_kind_are_taken_as_written():
    net = Network.from_arrays([[[Fraction(1, 3), Decimal("0.1")]]], [["0.25"]])
    assert net.exact([1, 1]) == [Fraction(1, 3) + Fraction(1, 10) + Fraction(1, 4)]
    half = Network.from_arrays([np.array([[0.1]], np.float16)])
    assert half.exact([1]) == [Fraction(float(np.float16(0.1)))]
    single = Network.from_arrays([np.array([[0.1]], np.float32)])
    assert single.exact([1]) == [Fraction(float(np.float32(0.1)))]
    ints = Network.from_arrays([np.array([[2**62 + 1]])])
    assert ints.exact([1]) == [2**62 + 1]
    assert Network.from_arrays([[[np.int64(3), True]]]).exact([1, 1]) == [4]
    assert Network.from_arrays([[[2**60 + 1, 0.5]]]).exact([1, 0]) == [2**60 + 1]
    assert single.exact(np.array([255], np.uint8)) == [255 * single.exact([1])[0]]
    assert ExactArray(np.array([-(2**63)])).fractions()[0] == -(2**63)
    assert ExactArray(np.array([2**64 - 1], np.uint64)).fractions()[0] == 2**64 - 1


def test_slopes_per_network_layer_and_unit():
    w = [[[1.0], [1.0]], [[1.0, 1.0]]]
    assert Network.from_arrays(w, slope=0.5).exact([-1]) == [-1]
    assert Network.from_arrays(w, slope=[0.25]).exact([-1]) == [Fraction(-1, 2)]
    assert Network.from_arrays(w, slope=[[0.5, "0.25"]]).exact([-1]) == [Fraction(-3, 4)]
    assert Network.from_arrays(w, slope=np.array([[0.5, 0.25]])).exact([-1]) == [Fraction(-3, 4)]
    assert Network.from_arrays(w, slope=np.float32(0.01)).exact_net.layers[0][1].slopes[0][1] > 20


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Network.from_arrays([]), "weights is empty"),
        (
            lambda: Network.from_arrays([np.ones((5, 2)), np.ones((3, 4))]),
            r"W1 has shape \(3, 4\), expected \(\*, 5\)",
        ),
        (lambda: Network.from_arrays([np.ones(3)]), r"W0 has shape \(3,\)"),
        (lambda: Network.from_arrays([np.ones((0, 3))]), "empty"),
        (
            lambda: Network.from_arrays([np.ones((2, 3))], [[1.0]]),
            r"b0 has shape \(1,\), expected \(2,\)",
        ),
        (lambda: Network.from_arrays([np.ones((2, 3))], []), "0 biases"),
        (lambda: Network.from_arrays([[[1.0, float("nan")]]]), r"W0\[0, 1\] is NaN"),
        (lambda: Network.from_arrays([[[1.0]]], [[float("inf")]]), r"b0\[0\] is infinite"),
        (lambda: Network.from_arrays([np.array([[np.nan]])]), r"W0\[0, 0\] is NaN"),
        (lambda: Network.from_arrays([[[1.0], [1.0, 2.0]]]), "W0 is not a rectangular"),
        (lambda: Network.from_arrays([[["x"]]]), r"W0\[0, 0\] is 'x', not a number"),
        (lambda: Network.from_arrays([[[1]], [[1]]], slope=Fraction(1, 3)), "not a dyadic"),
        (lambda: Network.from_arrays([[[1]], [[1]]], slope=float("nan")), "slope is NaN"),
        (lambda: Network.from_arrays([[[1]], [[1]]], slope=[0, 0]), "one per hidden layer"),
        (lambda: Network.from_arrays([[[1]], [[1]]], slope=[[0, 0]]), r"slope\[0\] has 2"),
        (lambda: load([1, 2]), "pairs"),
        (lambda: load(3), "cannot read a network from builtins.int"),
        (lambda: load("nowhere.onnx"), "no such file"),
        (lambda: load(__file__), "unknown kind of file"),
    ],
)
def test_bad_input_is_one_line_that_names_the_tensor(make, text):
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_points_of_wrong_shape_are_refused():
    net = Network.from_arrays([np.ones((2, 3))])
    for bad in ([1, 2], np.ones((2, 2)), np.ones((1, 1, 2)), 1.0):
        with pytest.raises(InputError, match="x has shape"):
            net(bad)
    with pytest.raises(InputError, match="expected one"):
        net.affine_map(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"x\[1\] is NaN"):
        net.pattern([0, float("nan"), 1])
    assert net(np.ones((1, 3))).shape == (1, 2)
    assert net.pattern(np.ones((4, 3))).shape == (4, 0)
    assert net([1, "0.5", Fraction(1, 2)]).tolist() == [2.0, 2.0]


def test_load_passes_networks_and_pairs_through():
    net = Network.from_arrays([[[1.0, 2.0]]])
    assert load(net) is net
    assert load(net.exact_net) == net
    assert load([([[1.0, 2.0]], [0.0])]) == net
    assert hash(load(net.exact_net)) == hash(net)
    assert net != 3
    with pytest.raises(ValueError):
        net.nodes[0].weight[0, 0] = 5


# ------------------------------------------------------------------------------------ exact arrays


def one_map(rows):
    return Network(rows.cols, [Dense(0, rows)])


@QUIET
@given(networks(), st.integers(0, 3))
def test_composition_shift_and_scaling_are_exact(case, seed):
    rng, weights, biases, _ = case
    n = weights[0].shape[1]
    net = Network.from_arrays(weights, biases, slope=1.0)
    tables = [node.rows for node in net.nodes if isinstance(node, Dense)]
    folded = tables[0]
    for rows in tables[1:]:
        folded = rows.after(folded)
    x = [Fraction(rng.randint(-9, 9), 7) for _ in range(n)]
    assert one_map(folded).exact(x) == net.exact(x)
    d = [rng.choice([0.0, 0.1, 3.0, 2.0**-80]) for _ in range(n)]
    moved = one_map(folded.shifted(ExactArray(d)))
    assert moved.exact(x) == net.exact([a + Fraction(b) for a, b in zip(x, d, strict=True)])
    e = [rng.choice([0.0, 0.1, 3.0, 2.0**-80, Fraction(1, 3)]) for _ in range(folded.rows)]
    more = one_map(folded.plus(ExactArray(e)))
    expected = [a + Fraction(b) for a, b in zip(net.exact(x), e, strict=True)]
    assert more.exact(x) == expected
    assert more == Network.from_exact(more.exact_net)
    scaled = one_map(folded.times([Fraction(2, 3)] * folded.rows))
    assert scaled.exact(x) == [v * Fraction(2, 3) for v in net.exact(x)]


@QUIET
@given(networks())
def test_bias_added_later_gives_the_same_bytes(case):
    _, weights, biases, _ = case
    for w, b in zip(weights, biases, strict=True):
        at_once = Network.from_arrays([w], [b])
        later = one_map(Network.from_arrays([w]).nodes[0].rows.plus(ExactArray(b)))
        assert later.canonical == at_once.canonical
        twice = one_map(later.nodes[0].rows.plus(ExactArray(-b)))
        assert twice.canonical == Network.from_arrays([w]).canonical


@QUIET
@given(st.integers(0, 2**32), st.sampled_from([1, 20, 62, 200]))
def test_int_matmul_agrees_with_python(seed, bits):
    rng = random.Random(seed)
    m, k, n = rng.randint(1, 20), rng.randint(1, 40), rng.randint(1, 20)

    def table(a, b):
        rows = [[rng.randint(-(1 << bits), 1 << bits) for _ in range(b)] for _ in range(a)]
        return rows, ExactRows.from_integers(rows, [1] * a).num

    a, x = table(m, k)
    b, y = table(k, n)
    expected = [
        [sum(p * q for p, q in zip(r, c, strict=True)) for c in zip(*b, strict=True)] for r in a
    ]
    assert int_matmul(x, y).tolist() == expected


@QUIET
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 10, 20, 24, 26, 40, 52]))
def test_compositions_agree_with_fractions(seed, bits):
    # Sums are taken in float64 where they are exact there: up to 53 bits.
    rng = random.Random(seed)
    m, k, n = (rng.randint(1, 5) for _ in range(3))

    def rows(a, b):
        table = [
            [rng.choice([0, rng.randint(-(1 << bits), 1 << bits)]) for _ in range(b + 1)]
            for _ in range(a)
        ]
        dens = [1 << rng.choice([0, 0, 1, 5, 30, 60]) for _ in range(a)]
        return ExactRows.from_integers(table, dens)

    def fractions(of):
        pairs = zip(of.integers.tolist(), of.dens, strict=True)
        return [[Fraction(v, d) for v in row] for row, d in pairs]

    outer, inner = rows(m, k), rows(k, n)
    weights, values = fractions(outer), [*fractions(inner), [Fraction(0)] * n + [Fraction(1)]]
    expected = [
        [sum(w * v[j] for w, v in zip(row, values, strict=True)) for j in range(n + 1)]
        for row in weights
    ]
    dens = [max(v.denominator for v in row) for row in expected]
    integers = [[int(v * d) for v in row] for row, d in zip(expected, dens, strict=True)]
    found = outer.after(inner)
    assert fractions(found) == expected
    assert found.to_bytes() == ExactRows.from_integers(integers, dens).to_bytes()


def test_floats_of_exact_rows_are_correctly_rounded():
    values = [[Fraction(1, 3), Fraction(2**70 + 1, 7)], [Fraction(1, 5), Fraction(-1, 10**30)]]
    rows = ExactRows.from_array(ExactArray(values))
    assert rows.floats().tolist() == [[float(v) for v in row] for row in values]
    floats = np.array([[0.1, 2.0**-1074, -1e300], [3.0, 0.0, 1e-300]])
    assert (ExactRows.from_array(ExactArray(floats)).floats() == floats).all()


# ------------------------------------------------------------------------------------------- speed


def test_canonical_form_of_an_mnist_sized_net_is_fast():
    rng = np.random.default_rng(0)
    sizes = [784, 256, 256, 256, 10]
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.standard_normal((m, n)).astype(np.float32) for n, m in pairs]
    biases = [rng.standard_normal(m).astype(np.float32) for _, m in pairs]
    best = 1e9
    for _ in range(3):
        start = time.perf_counter()
        Network.from_arrays(weights, biases).canonical  # noqa: B018
        best = min(best, time.perf_counter() - start)
    assert best < 0.3  # 0.05 s on a quiet machine


@pytest.mark.parametrize(
    "name", ["mlp_2_16_16_1", "mlp_2_64_64_64_1", "mnist_mlp_784_256_256_256_10"]
)
def test_npz_and_onnx_of_one_network_have_one_digest(name):
    folder = DATA / "regions"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    a, b = (load(folder / f"{name}{suffix}", replay=False) for suffix in (".npz", ".onnx"))
    assert a.digest == b.digest
