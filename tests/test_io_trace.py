"""Tracing: values are what numpy says they are, folding changes nothing, and work is bounded."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_tools import agrees, eighths, execute, f32, ints, model, node, save, session, widened

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows
from plverify.io import fold as folding
from plverify.io import rows as exact_rows
from plverify.io.geometry import padded_counts, transposed_windows, windows
from plverify.io.onnx import read_model
from plverify.io.trace import Graph, Live
from plverify.network import Network
from plverify.nodes import Conv, Dense, Linear, Max, Sparse, Units

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RNG = np.random.default_rng(1)
QUICK = settings(deadline=None, max_examples=60)


def tensors(graph, x):
    """All tensors of a traced graph in float64, for one input."""
    values = [np.asarray(x, np.float64).reshape(1, -1)]
    for made in graph.nodes:
        joined = np.concatenate([values[source] for source in made.sources], axis=1)
        if isinstance(made, Linear):
            values.append(made.apply(joined))
        elif isinstance(made, Units):
            values.append(np.where(joined > 0, joined, made.slope * joined))
        else:
            values.append(made.windows(joined, -np.inf).max(axis=1))
    return [v[0] for v in values]


def value(graph, live, x):
    return tensors(graph, x)[live.tensor][live.index]


def kinds(net):
    return [type(n) for n in net.nodes]


# ------------------------------------------------------------------------ values


def test_views_cost_nothing_and_move_entries_as_numpy_does():
    graph = Graph((2, 3, 4))
    x = graph.input()
    a = np.arange(24.0).reshape(2, 3, 4)
    pairs = [
        (graph.reshape(x, (4, -1)), a.reshape(4, -1)),
        (graph.transpose(x, (2, 0, 1)), a.transpose(2, 0, 1)),
        (graph.index(x, (slice(None), [2, 0, 0])), a[:, [2, 0, 0]]),
        (graph.index(x, (1, ..., slice(None, None, -2))), a[1, ..., ::-2]),
        (graph.expand(graph.index(x, (slice(None), slice(0, 1))), (5, 2, 3, 4)),
         np.broadcast_to(a[:, :1], (5, 2, 3, 4))),
        (graph.concat([x, graph.index(x, slice(1, 2))], 0), np.concatenate([a, a[1:2]])),
        (graph.pad(x, (0, -1, 0), (0, 0, -2)), a[:, 1:, :2]),
    ]  # fmt: skip
    assert not graph.nodes
    for live, want in pairs:
        assert live.shape == want.shape
        assert (value(graph, live, a) == want).all()


def test_arithmetic_agrees_with_numpy():
    graph = Graph((2, 3))
    x = graph.input()
    t = graph.transpose(graph.reshape(x, (3, 2)), (1, 0))
    a = RNG.integers(-8, 9, (2, 3)) / 4
    b = a.reshape(3, 2).T
    c = eighths(4, 1, 3).astype(np.float64)
    pairs = [
        (graph.add(x, c), a + c),
        (graph.add(x, t), a + b),
        (graph.sub(c, x), c - a),
        (graph.sub(t, x), b - a),
        (graph.sub(x, x), 0 * a),
        (graph.sum([x, t, x, c]), 2 * a + b + c),
        (graph.neg(t), -b),
        (graph.mul(c, t), c * b),
        (graph.div(x, np.array([2.0, -0.5, 4.0])), a / [2.0, -0.5, 4.0]),
        (graph.affine(x, [1.0, 2.0, 3.0], 0.5), a * [1.0, 2.0, 3.0] + 0.5),
        (graph.matmul(x, c[:, 0].T), a @ c[:, 0].T),
        (graph.matmul(c[:, 0, :2], x), c[:, 0, :2] @ a),
        (graph.linear(x, c[:, 0], [1.0, 2.0, 3.0, 4.0], Fraction(1, 2), 2),
         a @ c[:, 0].T / 2 + [2, 4, 6, 8]),
        (graph.maximum(x, t, 0.25), np.maximum(np.maximum(a, b), 0.25)),
        (graph.minimum(x, c), np.minimum(a, c)),
        (graph.clip(x, [-1.0, 0.0, 0.5], 1.0), np.clip(a, [-1.0, 0.0, 0.5], 1.0)),
        (graph.relu(t), np.maximum(b, 0)),
        (graph.abs(graph.index(x, (slice(None), [0, 0]))), np.abs(a[:, [0, 0]])),
        (graph.prelu(t, [0.5, 2.0, 0.0]), np.where(b > 0, b, [0.5, 2.0, 0.0] * b)),
        (graph.concat([t, c[0], x], 0), np.concatenate([b, c[0], a])),
        (graph.pad(x, (1, 0), (0, 2), -3.0),
         np.pad(a, ((1, 0), (0, 2)), constant_values=-3.0)),
        (graph.reduce_sum(t, [0], True), b.sum(axis=0, keepdims=True)),
        (graph.reduce_max(t, [1], False), b.max(axis=1)),
        (graph.adaptive_avg_pool(graph.reshape(x, (1, 1, 6)), [4]),
         np.array([[[a.flat[0] + a.flat[1], a.flat[1] + a.flat[2],
                     a.flat[3] + a.flat[4], a.flat[4] + a.flat[5]]]]) / 2),
    ]  # fmt: skip
    for live, want in pairs:
        assert live.shape == want.shape
        assert np.allclose(value(graph, live, a), want, rtol=1e-14, atol=1e-14)
        net = graph.finish(live)
        assert np.array_equal([float(v) for v in net.exact(a.reshape(-1))], want.reshape(-1))


def test_mixed_exact_constants():
    graph = Graph((2,))
    third = Fraction(1, 3)
    x = graph.affine(graph.input(), [third, 2], [0, third])
    net = graph.finish(graph.pad(graph.concat([x, ExactArray([third])], 0), [1], [0], third))
    assert net.exact([1, 1]) == [third, third, 2 + third, third]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda g, x: g.reshape(x, (5, -1)), "cannot reshape"),
        (lambda g, x: g.reshape(x, (-1, -1)), "cannot reshape"),
        (lambda g, x: g.transpose(x, (0, 0)), "does not fit shape"),
        (lambda g, x: g.transpose(x, (0, 2)), "axis 2 is out of range"),
        (lambda g, x: g.index(x, 7), "an index does not fit"),
        (lambda g, x: g.expand(x, (4, 3)), "do not fit"),
        (lambda g, x: g.concat([], 0), "joins nothing"),
        (lambda g, x: g.concat([x, np.ones((3, 2))], 1), "do not fit along axis 1"),
        (lambda g, x: g.pad(x, [1], [1]), "1 pads do not fit"),
        (lambda g, x: g.pad(x, [-1, 0], [-1, 0]), "its pads make shape"),
        (lambda g, x: g.add(x, np.ones(4)), "do not fit"),
        (lambda g, x: g.add(x, [np.nan, 1, 1]), "is NaN"),
        (lambda g, x: g.mul(x, x), "that is not piecewise linear"),
        (lambda g, x: g.div(1.0, x), "that is not piecewise linear"),
        (lambda g, x: g.div(x, 0.0), "divides by 0"),
        (lambda g, x: g.matmul(x, x), "that is not piecewise linear"),
        (lambda g, x: g.matmul(x, np.ones((2, 2))), "which do not fit"),
        (lambda g, x: g.linear(x, np.ones((2, 2))), "does not fit"),
        (lambda g, x: g.linear(x, np.ones((2, 3)), np.ones(3)), "a bias of shape"),
        (lambda g, x: g.leaky_relu(x, Fraction(1, 3)), "not a dyadic number"),
        (lambda g, x: g.leaky_relu(x, float("nan")), "is NaN"),
        (lambda g, x: g.prelu(x, np.ones(2)), "do not fit"),
        (lambda g, x: g.clip(x, np.inf), "min is inf"),
        (lambda g, x: g.clip(x, [-np.inf, 0, 0]), "infinite in some entries"),
        (lambda g, x: g.reduce_sum(x, [2], True), "axis 2 is out of range"),
        (lambda g, x: g.relu(g.index(x, slice(0, 0))), "empty value"),
        (lambda g, x: g.batch_norm(x, *[np.ones(2)] * 4, 0), "its scale has shape"),
        (lambda g, x: g.max_pool(x, [2], [1], [0], [0], [1]), "does not fit"),
        (lambda g, x: g.adaptive_avg_pool(x, [0]), "does not fit"),
        (lambda g, x: g.expand(x, (1 << 23, 2, 3)), "more than"),
        (lambda g, x: Graph((1 << 30,)), "more than"),
    ],
)
def test_what_does_not_fit_is_one_line(build, text):
    graph = Graph((2, 3))
    with pytest.raises(InputError, match=text) as caught:
        build(graph, graph.input())
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------- geometry


@QUICK
@given(st.data())
def test_windows_agree_with_their_definition(data):
    draw = lambda lo, hi: data.draw(st.integers(lo, hi))  # noqa: E731
    rank = draw(1, 2)
    spatial = [draw(2, 5) for _ in range(rank)]
    kernel = [draw(1, 2) for _ in range(rank)]
    strides, dilations = [draw(1, 3) for _ in range(rank)], [draw(1, 2) for _ in range(rank)]
    before, after = [draw(0, 2) for _ in range(rank)], [draw(0, 2) for _ in range(rank)]
    ceil_mode = data.draw(st.booleans())
    sizes = zip(spatial, kernel, before, after, dilations, strict=True)
    if any(n + b + a < (k - 1) * d + 1 for n, k, b, a, d in sizes):
        with pytest.raises(InputError, match="does not fit"):
            windows(spatial, kernel, strides, before, after, dilations, ceil_mode)
        return
    shape, taps = windows(spatial, kernel, strides, before, after, dilations, ceil_mode)
    counts = padded_counts(spatial, kernel, strides, before, after, dilations, shape)
    assert taps.shape == (np.prod(kernel), np.prod(shape))
    for p, out in enumerate(np.ndindex(*shape)):
        inside = 0
        for k, entry in enumerate(np.ndindex(*kernel)):
            reads = [
                o * s - b + e * d
                for o, s, b, e, d in zip(out, strides, before, entry, dilations, strict=True)
            ]
            known = all(0 <= r < n for r, n in zip(reads, spatial, strict=True))
            assert taps[k, p] == (np.ravel_multi_index(reads, spatial) if known else -1)
            inside += all(r < n + a for r, n, a in zip(reads, spatial, after, strict=True))
        assert counts[p] == inside
    for o, n, b, a, k, d, s in zip(
        shape, spatial, before, after, kernel, dilations, strides, strict=True
    ):
        room = n + b + a - ((k - 1) * d + 1)
        assert o == room // s + 1 or ceil_mode
        if ceil_mode:
            assert (o - 1) * s < n + b or a > (k - 1) * d
            assert o in (-(-room // s), -(-room // s) + 1)


@QUICK
@given(st.data())
def test_transposed_windows_are_windows_read_backwards(data):
    draw = lambda lo, hi: data.draw(st.integers(lo, hi))  # noqa: E731
    n, k, s, d, b, a = draw(2, 5), draw(1, 3), draw(1, 3), draw(1, 2), draw(0, 1), draw(0, 1)
    p = draw(0, s - 1)
    try:
        (out,), taps = transposed_windows([n], [k], [s], [b], [a], [p], [d])
    except InputError:
        assert (n - 1) * s + (k - 1) * d + 1 + p - b - a < 1
        return
    for o in range(out):
        for e in range(k):
            found = [i for i in range(n) if i * s - b + e * d == o]
            assert taps[e, o] == (found[0] if found else -1)


# ----------------------------------------------------------------------- folding


def draw_graph(data):
    """A random graph over all kinds of nodes; values stay small dyadic numbers."""
    draw = data.draw
    graph = Graph((1, 2, 3, 3))
    live = [graph.input()]
    for _ in range(draw(st.integers(1, 9))):
        x = draw(st.sampled_from(live))
        kind = draw(st.integers(0, 12))
        size = x.size
        if kind == 0:
            x = graph.affine(x, eighths(*x.shape[-1:]), eighths(*x.shape[-1:]))
        elif kind == 1:
            x = graph.linear(graph.reshape(x, (1, -1)), eighths(4, size), eighths(4))
        elif kind == 2:
            x = graph.relu(x)
        elif kind == 3:
            same = [y for y in live if y.shape == x.shape]
            x = graph.sub(x, draw(st.sampled_from(same)))
        elif kind == 4:
            x = graph.transpose(x, draw(st.permutations(range(len(x.shape)))))
        elif kind == 5:
            x = graph.index(x, (..., slice(None, None, -1)))
        elif kind == 6:
            x = graph.index(graph.reshape(x, (-1,)), slice(0, max(1, size // 2)))
        elif kind == 7:
            parts = [graph.reshape(draw(st.sampled_from(live)), (-1,)) for _ in range(2)]
            x = graph.concat([*parts, eighths(1)], 0)
        elif kind == 8 and len(x.shape) == 4:
            w = eighths(2, x.shape[1], 2, 2)
            x = graph.pad(x, (0, 0, 1, 1), (0, 0, 1, 0))
            x = graph.conv(x, w, eighths(2), (1, 1), (0, 0), (1, 0), (1, 1), 1)
        elif kind == 9 and len(x.shape) == 4:
            x = graph.affine(x, eighths(x.shape[1], 1, 1), eighths(x.shape[1], 1, 1))
        elif kind == 10 and len(x.shape) == 4 and min(x.shape[2:]) > 1:
            x = graph.max_pool(x, (2, 2), (1, 1), (0, 0), (1, 0), (1, 1))
        elif kind == 11:
            x = graph.reduce_sum(x, [len(x.shape) - 1], draw(st.booleans()))
            x = x if x.shape else graph.reshape(x, (1,))
        elif kind == 12:
            same = [y for y in live if y.shape == x.shape]
            x = graph.maximum(x, draw(st.sampled_from(same)), 0.5)
        if x.size <= 200:
            live.append(x)
    return graph, live[-1]


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_folding_changes_nothing(data):
    graph, out = draw_graph(data)
    net = graph.finish(out)
    plain = graph.nodes[:]
    size = graph.sizes[out.tensor]
    plain.append(Sparse((out.tensor,), out.index.reshape(-1, 1).astype(np.int32),
                        exact_rows.equal_rows([1], out.size)))  # fmt: skip
    unfolded = Network(18, _needed(plain))
    assert size == graph.sizes[out.tensor]
    for _ in range(3):
        x = (RNG.integers(-9, 10, 18) / 4).tolist()
        assert net.exact(x) == unfolded.exact(x)
    # Canonical bytes: every row in lowest terms, as the integer form checks when it reads them.
    assert net.exact_net.to_bytes() == net.canonical
    assert sum(n.size for n in net.nodes if isinstance(n, (Units, Max))) == unfolded.unit_count


def _needed(nodes):
    """The nodes that the last one depends on, numbered anew."""
    keep = {len(nodes)}
    for k in range(len(nodes) - 1, -1, -1):
        if k + 1 in keep:
            keep.update(nodes[k].sources)
    numbers, out = {0: 0}, []
    for k, made in enumerate(nodes):
        if k + 1 in keep:
            out.append(folding._renamed(made, numbers))
            numbers[k + 1] = len(out)
    return out


def test_a_chain_on_vectors_folds_to_dense_and_units():
    w = [f32(4, 3), f32(5, 4), f32(2, 5)]
    b = [f32(4), f32(5), f32(2)]
    graph = Graph((1, 3))
    x = graph.sub(graph.input(), f32(3))
    x = graph.mul(x, 0.25)
    x = graph.relu(graph.add(graph.matmul(x, w[0].T), b[0]))
    x = graph.div(graph.linear(x, w[1], b[1]), 3.0)
    x = graph.relu(graph.index(x, (slice(None), slice(None, None, -1))))
    net = graph.finish(graph.neg(graph.linear(x, w[2], b[2])))
    assert kinds(net) == [Dense, Units, Dense, Units, Dense]
    assert net.is_chain
    plain = Graph((1, 3))
    x = plain.relu(plain.linear(plain.input(), w[0], b[0]))
    x = plain.relu(plain.linear(x, w[1], b[1]))
    assert plain.finish(plain.linear(x, w[2], b[2])) == Network.from_arrays(w, b)


def test_identities_stand_where_a_chain_needs_matrices():
    graph = Graph((3,))
    net = graph.finish(graph.relu(graph.abs(graph.input())))
    assert kinds(net) == [Dense, Units, Dense, Units, Dense]
    assert net.exact([-1, 2, 0]) == [1, 2, 0]
    assert kinds(Graph((3,)).finish(Graph((3,)).input())) == [Dense]
    large = Graph((3000,))
    assert kinds(large.finish(large.relu(large.input()))) == [Units, Sparse]


def test_what_would_grow_stays_apart():
    graph = Graph((1, 3000))
    x = graph.linear(graph.input(), f32(1, 3000))
    net = graph.finish(graph.linear(x, f32(3000, 1)))
    assert kinds(net) == [Dense, Dense]
    # Many different denominators in one row would need their least common multiple.
    graph = Graph((1, 900))
    x = graph.div(graph.input(), 1 + RNG.random(900))
    net = graph.finish(graph.linear(x, f32(2, 900)))
    assert Sparse in kinds(net)
    x = RNG.random(900)
    assert np.allclose([float(v) for v in net.exact(x)], net(x))


def test_unused_values_are_dropped():
    graph = Graph((1, 3))
    graph.relu(graph.input())
    net = graph.finish(graph.linear(graph.input(), f32(2, 3)))
    assert kinds(net) == [Dense]


def test_convolutions_absorb_their_neighbours():
    graph = Graph((1, 2, 4, 4))
    x = graph.pad(graph.input(), (0, 0, 1, 1), (0, 0, 1, 1))
    x = graph.conv(x, eighths(3, 2, 3, 3), None, (1, 1), (0, 0), (0, 0), (1, 1), 1)
    x = graph.affine(x, eighths(3, 1, 1), eighths(3, 1, 1))
    x = graph.index(x, (slice(None), slice(1, 3), slice(None), slice(0, 2)))
    net = graph.finish(graph.relu(x))
    assert kinds(net) == [Conv, Units, Dense]
    assert net.nodes[0].taps.shape == (9, 8)
    assert net.nodes[0].rows.rows == 2


# -------------------------------------------------------------- rows, in detail


@QUICK
@given(st.floats(2.0**-60, 2.0**60), st.floats(-1e6, 1e6), st.floats(1e-12, 1e12))
def test_the_rounded_scale_is_nearest(variance, gamma, eps):
    scale = exact_rows.rounded_scale(gamma, variance, eps)
    square = Fraction(gamma) ** 2 / (Fraction(variance) + Fraction(eps))
    size = float(abs(scale))
    above, below = Fraction(np.nextafter(size, np.inf)), Fraction(np.nextafter(size, 0.0))
    if size:
        assert ((Fraction(size) + below) / 2) ** 2 <= square <= ((Fraction(size) + above) / 2) ** 2
    assert (scale < 0) == (gamma < 0 and size > 0)


def test_spread_and_taken_rows_are_canonical():
    rows = exact_rows.affine_rows(ExactArray([0.5, "1/3", 3]), ExactArray([1, 2, "0.1"]))
    index = np.array([[1], [0], [3]])
    table = exact_rows.spread(index, rows, 4)
    assert table.floats().tolist()[0] == [0, 0.5, 0, 0, 1]
    twice = exact_rows.spread(np.array([[1, 1]]), exact_rows.equal_rows([1, 1], 1), 2)
    assert twice.num.tolist() == [[0, 2, 0]]
    back = exact_rows.take(rows, np.array([0, 0]))
    assert back.den is None
    assert exact_rows.scaled(rows, [Fraction(-1)] * 3, [Fraction(0)] * 3).dens == rows.dens
    assert isinstance(back, ExactRows)


# ------------------------------------------------------- what replay is told


@pytest.mark.parametrize("op", ["Clip", "Min", "BatchNormalization", "Conv", "Gemm"])
def test_every_tensor_of_the_file_is_named(tmp_path, op):
    shape, constants, attributes = [1, 2, 3, 3], [], {}
    if op == "Clip":
        constants = [("lo", np.float32(-1)), ("hi", np.float32(1))]
    elif op == "BatchNormalization":
        constants = [(name, np.abs(f32(2))) for name in "sbmv"]
    elif op == "Conv":
        constants = [("w", f32(2, 2, 1, 1)), ("b", f32(2))]
    elif op == "Gemm":
        shape, constants = [1, 4], [("w", f32(4, 4)), ("c", f32(4))]
        attributes = {"alpha": 0.5, "beta": 2.0, "transB": 1}
    nodes = [
        node("Neg", "x", out="n"),
        node("Relu", "n", out="r"),
        node("Min", "x", "r", out="y0") if op == "Min" else
        node(op, "r", *[name for name, _ in constants], out="y0", **attributes),
        node("Transpose", "y0", out="t"),
        node("Relu", "t"),
    ]  # fmt: skip
    read = agrees(tmp_path, model(nodes, shape, constants), rounding=400)
    assert set(read.graph.names) == {"x", "n", "r", "y0", "t", "y"}
    check_names(read, read.proto, 1e-6)


def check_names(read, proto, tolerance):
    """Every named tensor has the value that onnxruntime gives it, and every node its name."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    kind = whole.graph.input[0].type.tensor_type.elem_type
    known = {output.name for output in whole.graph.output} | {i.name for i in read.inputs}
    wanted = [name for name in read.graph.names if name not in {i.name for i in read.inputs}]
    for name in wanted:
        if name not in known:
            whole.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    running = session(whole)
    x = RNG.uniform(-1, 1, read.network.input_size).astype(read.inputs[0].dtype)
    values = tensors(read.graph, x)
    for name in wanted:
        live = read.graph.names[name]
        assert isinstance(live, Live)
        expected = execute(running, read, x, [name])
        got = values[live.tensor][live.index].reshape(-1)
        slack = tolerance * (1 + np.abs(expected).max())
        assert np.abs(got - expected).max() <= slack, name
    for k, made in enumerate(read.graph.executed):
        assert made.node is read.graph.nodes[k]
        if made.name is not None:
            live = read.graph.names[made.name]
            assert live.tensor == k + 1
            assert sorted(live.index.reshape(-1).tolist()) == list(range(read.graph.sizes[k + 1]))
    named = {made.name for made in read.graph.executed}
    assert {i.name for i in read.inputs}.isdisjoint(named)


def data_models():
    if not DATA.is_dir():
        return []
    folders = ("models", "regions", "lipadv", "vnncomp")
    found = [p for f in folders for p in sorted((DATA / f).rglob("*.onnx*"))]
    seen, out = {}, []
    for path in found:
        count = seen[path.parent] = seen.get(path.parent, 0) + 1
        if count <= 3 or path.parent.name in ("marabou", "layer-zoo"):
            out.append(path)
    return out


REFUSED = {
    "sigmoid.onnx": r"\(Sigmoid\): is not piecewise linear",
    "tanh.onnx": r"\(Tanh\): is not piecewise linear",
    "dropout_training_mode_true.onnx": "training mode",
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
@pytest.mark.parametrize("path", data_models(), ids=lambda p: p.name)
def test_models_of_the_data_folder_agree_with_onnxruntime(path):
    if path.name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[path.name]):
            read_model(str(path))
        return
    read = read_model(str(path))
    check_names(read, read.proto, 1e-4)
    running = session(read.proto)
    for scale in (1, 10):
        x = (scale * RNG.standard_normal(read.network.input_size)).astype(read.inputs[0].dtype)
        expected = execute(running, read, x)
        got = read.network(x)
        assert np.abs(got - expected).max() <= 1e-4 * (1 + np.abs(expected).max())


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
def test_reading_is_quick():
    path = next((DATA / "vnncomp/acasxu/onnx").iterdir())
    read_model(str(path))
    best = min(_seconds(lambda: read_model(str(path))) for _ in range(5))
    assert best < 0.1
    resnet = next((DATA / "vnncomp/cifar10_resnet/onnx").iterdir())
    assert _seconds(lambda: read_model(str(resnet))) < 2


def _seconds(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


# ------------------------------------------------------------------------- bombs


def chain(op, count, shape, constants=(), **attributes):
    names = ["x", *(f"t{k}" for k in range(count - 1)), "y"]
    extra = [name for name, _ in constants]
    nodes = [node(op, names[k], *extra, out=names[k + 1], **attributes) for k in range(count)]
    return model(nodes, shape, constants)


def doubled(count):
    nodes = [node("Concat", f"c{k}", f"c{k}", out=f"c{k + 1}", axis=0) for k in range(count)]
    last = [node("ReduceSum", f"c{count}", out="s", keepdims=0), node("Mul", "x", "s")]
    return model([*nodes, *last], [2, 2], [("c0", f32(2, 2))])


WILD = RNG.integers(-90, 90, (100, 100))
BOMBS = {
    "many nodes": lambda: chain("Relu", 5000, [1, 4]),
    "many identities": lambda: chain("Relu", 2000, [1, 1000]),
    "too many nodes": lambda: chain("Relu", 20_001, [1, 4]),
    "large values": lambda: chain("Relu", 500, [1 << 21]),
    "expansion": lambda: chain("Expand", 9, [1, 1 << 20], [("s", ints(1 << 20, 1))]),
    "shared weights": lambda: chain("MatMul", 300, [1, 500], [("w", f32(500, 500))]),
    "long products": lambda: chain("MatMul", 1000, [1, 20], [("w", f32(20, 20))]),
    "wild exponents": lambda: widened(
        chain("MatMul", 5, [1, 100], [("w", np.ldexp(f32(100, 100), WILD))])
    ),
    "denominators": lambda: chain("Div", 40, [1, 100], [("c", f32(100))]),
    "doubling": lambda: doubled(40),
    "doubling values": lambda: model(
        [node("Concat", f"c{k}" if k else "x", f"c{k}" if k else "x", out=f"c{k + 1}", axis=0)
         for k in range(40)],
        [2, 2], output="c40",
    ),
    "convolutions": lambda: chain(
        "Conv", 300, [1, 1, 256, 256], [("w", f32(1, 1, 3, 3))], pads=[1] * 4
    ),
    "channels": lambda: model(
        [node("Conv", "x", "w")], [1, 1, 256, 256], [("w", f32(4000, 1, 1, 1))]
    ),
    "pool": lambda: model([node("MaxPool", "x", kernel_shape=[200, 200])], [1, 1, 400, 400]),
    "average": lambda: model(
        [node("AveragePool", "x", kernel_shape=[50, 50], pads=[25] * 4)], [1, 30, 60, 60]
    ),
    "operands": lambda: model([node("Max", *["x"] * 3000)], [1, 1000]),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
def test_small_files_cannot_ask_for_much(tmp_path, case):
    path = save(tmp_path, BOMBS[case]())
    begin = time.perf_counter()
    try:
        read_model(str(path))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    # Measured: 3 s at most on a slow machine.
    assert time.perf_counter() - begin < 20
