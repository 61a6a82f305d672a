"""ONNX files: what every node means, exactly, and bad models are one clear line, never a crash."""

from __future__ import annotations

import gzip
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from plverify.errors import InputError, MissingExtra
from plverify.exact_array import ExactArray
from plverify.io import onnx as reader
from plverify.network import Network, load
from plverify.replay import replay

RNG = np.random.default_rng(0)
QUIET = settings(deadline=None, max_examples=40)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes, shape, constants=(), output="y", opset=13, element=TensorProto.FLOAT, inputs=("x",)
):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, element, shape) for name in inputs],
        [helper.make_tensor_value_info(output, element, None)],
        [tensor(name, array) for name, array in constants],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10
    )


def save(tmp_path, proto, name="m.onnx"):
    path = tmp_path / name
    raw = proto if isinstance(proto, bytes) else proto.SerializeToString()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def node(op, *inputs, out="y", **attributes):
    return helper.make_node(op, list(inputs), [out], **attributes)


def exact(array):
    return ExactArray(np.asarray(array, np.float64)).fractions()


# ------------------------------------------------------------------------------------ what it means


@QUIET
@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1.0, 0.1, -2.5]),
    st.sampled_from([1.0, 0.0, 0.3]),
    st.sampled_from(["none", "row", "full", "scalar", "one"]),
)
def test_gemm_agrees_with_fractions_and_onnxruntime(first, ta, tb, alpha, beta, bias):
    m, k, n = (1, 3, 4) if first else (4, 3, 1)
    a = RNG.standard_normal((k, m) if ta else (m, k)).astype(np.float32)
    b = RNG.standard_normal((n, k) if tb else (k, n)).astype(np.float32)
    live, weight = (a, b) if first else (b, a)
    c = {"row": f32(n), "full": f32(m, n), "scalar": np.float32(0.7), "one": f32(1)}.get(bias)
    names = ["x", "W"] if first else ["W", "x"]
    constants = [("W", weight)]
    if c is not None:
        names.append("C")
        constants.append(("C", c))
    gemm = node("Gemm", *names, alpha=alpha, beta=beta, transA=int(ta), transB=int(tb))
    proto = model([gemm], live.shape, constants)
    net = read_proto(proto)
    left, right = exact(a.T if ta else a), exact(b.T if tb else b)
    value = Fraction(float(np.float32(alpha))) * left.dot(right)
    if c is not None:
        value = value + Fraction(float(np.float32(beta))) * np.broadcast_to(exact(c), (m, n))
    assert net.exact(live.reshape(-1)) == list(value.reshape(-1))


def read_proto(proto):
    """The network of a model in memory, replayed against onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(proto.SerializeToString())
        net = load(path, replay=False)
        replay(net, str(path))
        return net


@pytest.mark.parametrize(
    ("shape", "weight", "first"),
    [
        ((1, 3), (3, 2), True),
        ((3,), (3, 2), True),
        ((3,), (2, 3), False),
        ((1, 3), (3,), True),
        ((3, 2), (3,), False),
        ((2, 3), (3, 2), True),
        ((3, 2), (2, 3), False),
        ((2, 2, 3), (3, 4), True),
        ((2, 3, 2), (4, 3), False),
    ],
)
def test_matmul_of_every_shape_agrees_with_numpy(shape, weight, first):
    x, w = f32(*shape), f32(*weight)
    proto = model([node("MatMul", *("xw" if first else "wx"))], shape, [("w", w)])
    net = read_proto(proto)
    product = exact(x) @ exact(w) if first else exact(w) @ exact(x)
    assert net.exact(x.reshape(-1)) == list(np.reshape(product, -1))


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21, 23])
def test_a_chain_of_every_supported_node(opset):
    w0, w1, b, c, mean = f32(6, 5), f32(4, 6), f32(5), f32(4), f32(1, 2, 3)
    nodes = [
        node("Sub", "x", "mean", out="a"),
        node("Identity", "a", out="a2"),
        node("Flatten", "a2", out="b"),
        node("MatMul", "b", "w0", out="c"),
        node("Add", "bias", "c", out="d"),
        node("Relu", "d", out="e"),
        helper.make_node("Dropout", ["e"], ["f"]),
        node("Constant", out="w2", value=tensor("", f32(5, 6))),
        node("MatMul", "f", "w2", out="g"),
        node("LeakyRelu", "g", out="h", alpha=0.1),
        node("LeakyRelu", "h", out="h2"),
        node("Constant", out="shape", value=tensor("", np.array([0, -1], np.int64))),
        node("Reshape", "h2", "shape", out="i"),
        node("Gemm", "i", "w1", "c1", out="j", transB=1),
        node("Constant", out="one", value=tensor("", np.float32(0.3))),
        node("Sub", "one", "j"),
    ]
    proto = model(
        nodes, ["batch", 2, 3], [("w0", w0), ("w1", w1), ("bias", b), ("c1", c), ("mean", mean)]
    )
    proto.opset_import[0].version = opset
    net = read_proto(proto)
    assert (net.input_size, net.widths, net.output_size) == (6, (5, 6, 6), 4)
    assert net.input_shape == (1, 2, 3)
    x = f32(3, 2, 3)
    assert net(x).shape == (3, 4)
    assert np.allclose(net(x[0]), net(x)[0])
    w2 = numpy_helper.to_array(nodes[7].attribute[0].t)
    z = exact(x[0]) - exact(mean)[0]
    z = np.maximum(z.reshape(-1).dot(exact(w0)) + exact(b), 0).dot(exact(w2))
    for alpha in (0.1, 0.01):
        z = np.where(z > 0, z, z * Fraction(float(np.float32(alpha))))
    assert net.exact(x[0]) == list(Fraction(float(np.float32(0.3))) - exact(w1).dot(z) - exact(c))


def test_consecutive_affine_nodes_fold_without_rounding():
    parts = [f32(3, 7), f32(7, 5), f32(5, 2)]
    shifts = [f32(7), f32(5), f32(2)]
    nodes, name = [], "x"
    for k in range(3):
        nodes += [
            node("MatMul", name, f"w{k}", out=f"m{k}"),
            node("Add", f"m{k}", f"b{k}", out=f"a{k}"),
        ]
        name = f"a{k}"
    constants = [(f"w{k}", w) for k, w in enumerate(parts)] + [
        (f"b{k}", b) for k, b in enumerate(shifts)
    ]
    net = read_proto(model(nodes, [1, 3], constants, output="a2"))
    x = f32(3)
    value = exact(x)
    for w, b in zip(parts, shifts, strict=True):
        value = value.dot(exact(w)) + exact(b)
    assert net.exact(x) == list(value)
    assert net.unit_count == 0


@pytest.mark.parametrize(
    ("dtype", "element"), [(np.float16, 10), (np.float32, 1), (np.float64, 11)]
)
def test_tensors_of_every_float_type_and_both_encodings(tmp_path, dtype, element):
    w = RNG.standard_normal((3, 2)).astype(dtype)
    proto = model(
        [node("MatMul", "x", "w", out="z"), node("Relu", "z")], [1, 3], [("w", w)], element=element
    )
    raw = load(save(tmp_path, proto), replay=False)
    flat = w.reshape(-1)
    values = flat.view(np.uint16) if dtype is np.float16 else flat
    proto.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", element, w.shape, values.tolist(), raw=False)
        if dtype is not np.float16
        else TensorProto(name="w", data_type=10, dims=w.shape, int32_data=values.tolist())
    )
    listed = load(save(tmp_path, proto, "n.onnx"), replay=False)
    assert raw.digest == listed.digest
    assert raw.exact([1, 0, 0]) == [max(Fraction(float(v)), 0) for v in w[0]]


def test_nodes_in_any_order_and_nodes_that_nothing_needs():
    nodes = [
        node("Relu", "z"),
        node("Sigmoid", "z", out="unused"),
        node("MatMul", "x", "w", out="z"),
        node("Constant", out="w", value_floats=[1.0, 2.0]),
    ]
    nodes[3] = node("Constant", out="w", value=tensor("", np.array([[1.0], [2.0]], np.float32)))
    net = read_proto(model(nodes, [1, 2]))
    assert net.exact([1, 1]) == [3]


# -------------------------------------------------------------------------------------- what is bad

W = np.ones((2, 2), np.float32)
HUGE = TensorProto(name="w", data_type=1, dims=[1 << 40, 1 << 40], raw_data=b"\0\0\0\0")
MATMUL = node("MatMul", "x", "w", out="z")


RELU = node("Relu", "z")


def with_tensor(t, nodes=(MATMUL, RELU)):
    proto = model(list(nodes), [1, 2])
    proto.graph.initializer.append(t)
    return proto


def custom(op, **fields):
    out = node(op, "x")
    for key, value in fields.items():
        setattr(out, key, value)
    return out


BAD_MODELS = {
    "Sigmoid": (
        lambda: model([node("Sigmoid", "x", name="s7")], [1, 2]),
        r"node 's7' \(Sigmoid\): this op",
    ),
    "custom domain": (lambda: model([custom("Relu", domain="my")], [1, 2]), "domain 'my'"),
    "cycle": (
        lambda: model(
            [node("Add", "x", "b", out="a"), node("Relu", "a", out="b"), node("Relu", "b")], [1, 2]
        ),
        "a cycle",
    ),
    "self loop": (lambda: model([node("Relu", "y")], [1, 2]), "a cycle"),
    "missing tensor": (
        lambda: model([node("MatMul", "x", "w")], [1, 2]),
        "reads 'w', which nothing makes",
    ),
    "made twice": (
        lambda: model([node("Relu", "x"), node("Relu", "x")], [1, 2]),
        "'y', which exists already",
    ),
    "no output": (
        lambda: model([node("Relu", "x", out="z")], [1, 2]),
        "'y' is computed by no node",
    ),
    "constant output": (
        lambda: model([node("Constant", value=tensor("", W))], [1, 2]),
        "does not depend on the input",
    ),
    "two inputs": (
        lambda: model([node("Add", "x", "u")], [1, 2], inputs=("x", "u")),
        r"2 inputs \('x', 'u'\)",
    ),
    "branch": (
        lambda: model(
            [node("Relu", "x", out="a"), node("Relu", "a", out="b"), node("Add", "a", "b")], [1, 2]
        ),
        "only chains are supported",
    ),
    "doubling": (lambda: model([node("Add", "x", "x")], [1, 2]), "only chains are supported"),
    "wrong shapes": (lambda: with_tensor(tensor("w", np.ones((3, 2), np.float32))), "do not fit"),
    "growing": (
        lambda: with_tensor(tensor("w", np.ones((5, 2), np.float32)), [node("Add", "x", "w")]),
        "must not grow",
    ),
    "unbroadcastable": (
        lambda: with_tensor(tensor("w", np.ones(3, np.float32)), [node("Add", "x", "w")]),
        "must not grow",
    ),
    "gemm C": (
        lambda: model(
            [node("Gemm", "x", "w", "c")], [1, 2], [("w", W), ("c", np.ones(3, np.float32))]
        ),
        "does not fit",
    ),
    "NaN": (lambda: with_tensor(tensor("w", W * np.nan)), r"'w'\[0, 0\] is NaN"),
    "Inf": (
        lambda: with_tensor(tensor("w", W * np.float32(np.inf))),
        r"'w'\[0, 0\] is infinite",
    ),
    "empty": (lambda: with_tensor(tensor("w", np.ones((2, 0), np.float32))), "'w' is empty"),
    "integers": (lambda: with_tensor(tensor("w", np.ones((2, 2), np.int64))), "element type int64"),
    "bfloat16": (
        lambda: with_tensor(TensorProto(name="w", data_type=16, dims=[1], raw_data=b"\0\0")),
        "element type bfloat16",
    ),
    "huge dims": (lambda: with_tensor(HUGE), "has 4 bytes of data"),
    "negative dims": (
        lambda: with_tensor(TensorProto(name="w", data_type=1, dims=[-2, 2], raw_data=bytes(16))),
        r"dimensions \[-2, 2\]",
    ),
    "short data": (
        lambda: with_tensor(TensorProto(name="w", data_type=1, dims=[2, 2], float_data=[1.0])),
        "has 1 entries",
    ),
    "external": (
        lambda: with_tensor(
            TensorProto(
                name="w",
                data_type=1,
                dims=[2, 2],
                data_location=1,
                external_data=[onnx.StringStringEntryProto(key="location", value="gone.bin")],
            )
        ),
        "external data in 'gone.bin', not found",
    ),
    "dynamic": (
        lambda: model([node("Relu", "x")], [1, "width"]),
        r"dimension 1 \('width'\) of input 'x'",
    ),
    "huge input": (lambda: model([node("Relu", "x")], [1 << 20, 1 << 20]), "more than"),
    "integer input": (
        lambda: model([node("Relu", "x")], [2], element=TensorProto.INT64),
        "not a float",
    ),
    "old opset": (lambda: model([node("Relu", "x")], [2], opset=6), "opset 6 is out of range"),
    "new opset": (lambda: model([node("Relu", "x")], [2], opset=99), "opset 99 is out of range"),
    "reshape": (
        lambda: model([node("Reshape", "x", "s")], [1, 2], [("s", np.array([3], np.int64))]),
        "cannot reshape",
    ),
    "reshape by two unknowns": (
        lambda: model([node("Reshape", "x", "s")], [1, 2], [("s", np.array([-1, -1], np.int64))]),
        "cannot reshape",
    ),
    "reshape by floats": (
        lambda: model([node("Reshape", "x", "s")], [1, 2], [("s", np.array([2.0], np.float32))]),
        "not a list of integers",
    ),
    "computed reshape": (
        lambda: model([node("Relu", "x", out="a"), node("Reshape", "w", "a")], [2], [("w", W)]),
        "its shape is not a constant",
    ),
    "flatten": (lambda: model([node("Flatten", "x", axis=5)], [1, 2]), "axis 5 is out of range"),
    "training": (
        lambda: model(
            [node("Dropout", "x", "r", "t")],
            [1, 2],
            [("r", np.float32(0.5)), ("t", np.array(True))],
        ),
        "training mode",
    ),
    "mask": (
        lambda: model(
            [helper.make_node("Dropout", ["x"], ["a", "m"]), node("Add", "a", "m")],
            [1, 2],
            [("r", W)],
        ),
        "a second output",
    ),
    "constants only": (
        lambda: model(
            [node("Add", "v", "w", out="u"), node("Add", "x", "u")], [2, 2], [("v", W), ("w", W)]
        ),
        "constants only",
    ),
    "leaky NaN": (
        lambda: model([node("LeakyRelu", "x", alpha=float("nan"))], [1, 2]),
        "alpha is nan",
    ),
    "gemm of 3-D": (
        lambda: model([node("Gemm", "x", "w")], [1, 1, 2], [("w", W)]),
        "must be matrices",
    ),
    "gemm of computed C": (
        lambda: model([node("Gemm", "w", "w", "x")], [2, 2], [("w", W)]),
        "its C is a computed tensor",
    ),
    "kron": (
        lambda: model([node("MatMul", "x", "w")], [1 << 14, 2], [("w", W)]),
        "expands to more than",
    ),
    "sparse constant": (
        lambda: model([node("Constant", out="w", value_string=b"a"), node("Add", "x", "w")], [2]),
        "value_string is not supported",
    ),
    "no shape": (lambda: no_shape(), "states no shape"),
    "two outputs": (lambda: two_outputs(), "has 2 outputs"),
    "no inputs to a node": (lambda: model([node("Relu")], [2]), "constants only"),
    "no value": (
        lambda: model([node("Constant", out="w"), node("Add", "x", "w")], [2]),
        "exactly one value",
    ),
}


def no_shape():
    proto = model([node("Relu", "x")], [2])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    return proto


def two_outputs():
    proto = model([node("Relu", "x")], [2])
    proto.graph.output.append(helper.make_tensor_value_info("x", 1, [2]))
    return proto


@pytest.mark.parametrize("case", BAD_MODELS)
def test_unusable_models_are_one_line_that_names_the_part(tmp_path, case):
    make, text = BAD_MODELS[case]
    path = save(tmp_path, make())
    with pytest.raises(InputError, match=text) as caught:
        load(path)
    assert str(caught.value).startswith("m.onnx: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.onnx", b"", "not an ONNX model"),
        ("a.onnx", b"nonsense " * 50, "not an ONNX model"),
        ("a.onnx.gz", b"not gzip", "not a usable gzip"),
        ("a.onnx.gz", gzip.compress(bytes(10000), mtime=0)[:30], "not a usable gzip"),
        ("a.onnx.gz", gzip.compress(b"nonsense " * 50, mtime=0), "not an ONNX model"),
    ],
)
def test_damaged_files(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        load(path)


def test_truncations_and_flipped_bits_never_crash(tmp_path):
    proto = model([MATMUL, node("Relu", "z")], [1, 2], [("w", W)]).SerializeToString()
    rng = np.random.default_rng(1)
    for k in range(150):
        raw = bytearray(proto)
        if k % 2:
            raw = raw[: rng.integers(len(raw))]
        else:
            raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        path = save(tmp_path, bytes(raw))
        try:
            net = load(path, replay=False)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert isinstance(net, Network)


def test_a_gzip_bomb_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BYTES", 1000)
    path = tmp_path / "bomb.onnx.gz"
    path.write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(InputError, match="more than 1000 bytes"):
        load(path)


def test_external_data_beside_the_file_is_read(tmp_path):
    proto = model([MATMUL, node("Relu", "z")], [1, 2], [("w", W)])
    inside = load(save(tmp_path, proto, "in.onnx"))
    onnx.save_model(
        proto,
        str(tmp_path / "out.onnx"),
        save_as_external_data=True,
        location="out.bin",
        size_threshold=0,
    )
    assert load(tmp_path / "out.onnx", replay=False) == inside


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    path = save(tmp_path, model([MATMUL, node("Relu", "z")], [1, 2], [("w", W)]))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingExtra, match="onnx is needed for reading ONNX files: pip install onnx"
    ):
        load(path)
