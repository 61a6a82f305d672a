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
from onnx_tools import RNG, agrees, f32, ints, model, node, save, tensor

from plverify.errors import InputError, MissingExtra
from plverify.exact_array import ExactArray
from plverify.io import onnx as reader
from plverify.io.onnx import read_model, read_onnx
from plverify.network import Network, load
from plverify.nodes import Conv, Dense, Units

QUIET = settings(deadline=None, max_examples=40)


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
    """The network of a model in memory, compared with onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        return agrees(Path(folder), proto, rounding=256).network


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
    assert [type(n) for n in net.nodes] == [Dense]
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
        r"node 's7' \(Sigmoid\): is not piecewise linear",
    ),
    "Sign": (lambda: model([node("Sign", "x")], [1, 2]), r"\(Sign\): is not continuous"),
    "unknown": (lambda: model([node("Det", "x")], [2, 2]), r"\(Det\): this operator is not supp"),
    "product": (
        lambda: model([node("Relu", "x", out="a"), node("Mul", "a", "x")], [1, 2]),
        "multiplies two computed values: that is not piecewise linear",
    ),
    "matrix product": (lambda: model([node("MatMul", "x", "x")], [2, 2]), "two computed values"),
    "quotient": (lambda: model([node("Div", "w", "x")], [2], [("w", W)]), "by a computed value"),
    "division by 0": (lambda: model([node("Div", "x", "w")], [2], [("w", 0 * W)]), "divides by 0"),
    "softmax inside": (
        lambda: model([node("Softmax", "x", out="a", name="s"), node("Relu", "a")], [1, 2]),
        r"\(Relu\): reads node 's' \(Softmax\), which is supported at the end only",
    ),
    "unbroadcastable": (
        lambda: with_tensor(tensor("w", np.ones(3, np.float32)), [node("Add", "x", "w")]),
        r"shapes \(1, 2\) and \(3,\) do not fit",
    ),
    "conv": (
        lambda: model([node("Conv", "x", "w")], [1, 3, 4, 4], [("w", np.ones((1, 2, 3, 3)))]),
        "does not fit",
    ),
    "conv groups": (
        lambda: model([node("Conv", "x", "w", group=2)], [1, 3, 4, 4], [("w", f32(2, 1, 3, 3))]),
        "2 groups do not fit 3 channels",
    ),
    "large kernel": (
        lambda: model([node("Conv", "x", "w")], [1, 1, 2, 2], [("w", f32(1, 1, 3, 3))]),
        "a window of 3 with dilation 1 does not fit 2",
    ),
    "conv of a matrix": (
        lambda: model([node("Conv", "x", "w")], [1, 4], [("w", f32(1, 1, 3))]),
        "does not fit",
    ),
    "computed kernel": (
        lambda: model([node("Conv", "w", "x")], [1, 1, 2, 2], [("w", f32(1, 1, 3, 3))]),
        "'w' is a constant where a value is expected",
    ),
    "strides": (
        lambda: model([node("MaxPool", "x", kernel_shape=[2], strides=[0])], [1, 1, 4]),
        r"strides \[0\] do not fit",
    ),
    "pool of nothing": (
        lambda: model([node("MaxPool", "x", kernel_shape=[2], pads=[2, 2])], [1, 1, 4]),
        "wholly in the padding",
    ),
    "training norm": (
        lambda: model(
            [node("BatchNormalization", "x", *"sbmv", training_mode=1)],
            [1, 2],
            [(name, np.ones(2, np.float32)) for name in "sbmv"],
            opset=15,
        ),
        "training mode",
    ),
    "negative variance": (
        lambda: model(
            [node("BatchNormalization", "x", *"sbmv")],
            [1, 2],
            [(name, -np.ones(2, np.float32)) for name in "sbmv"],
        ),
        "channel 0: variance . eps is not positive",
    ),
    "cast": (lambda: model([node("Cast", "x", to=7)], [1, 2]), "casts a computed value"),
    "clip NaN": (
        lambda: model([node("Clip", "x", "w")], [1, 2], [("w", np.float32(np.nan))]),
        "'w' is NaN",
    ),
    "clip at infinity": (
        lambda: model([node("Clip", "x", "w")], [1, 2], [("w", np.float32(np.inf))]),
        "min is inf",
    ),
    "computed indices": (
        lambda: model([node("Gather", "w", "x")], [2], [("w", W)]),
        "which is not a constant, says how to move entries",
    ),
    "gather out of range": (
        lambda: model([node("Gather", "x", "i")], [2], [("i", ints(2))]),
        "an index is out of range for 2 entries along axis 0",
    ),
    "huge expansion": (
        lambda: model([node("Expand", "x", "s")], [1, 2], [("s", ints(1 << 40, 1))]),
        "more than",
    ),
    "huge fill": (
        lambda: model(
            [node("ConstantOfShape", "s", out="w"), node("Add", "x", "w")],
            [1, 2],
            [("s", ints(1 << 20, 1 << 20))],
        ),
        "computes a constant of 1099511627776 entries",
    ),
    "huge pad": (
        lambda: model([node("Pad", "x", "p")], [2], [("p", ints(0, 1 << 30))]),
        "more than",
    ),
    "huge tile": (
        lambda: model([node("Tile", "x", "p")], [2], [("p", ints(1 << 40))]),
        "more than",
    ),
    "huge kernel": (
        lambda: model(
            [node("AveragePool", "x", kernel_shape=[1 << 20], pads=[1 << 20, 1 << 20])],
            [1, 1, 1 << 20],
        ),
        "kernel entries at",
    ),
    "sparse tensor": (lambda: sparse_tensor(), "'w' is sparse"),
    "empty output": (
        lambda: model([node("Slice", "x", "a", "a")], [2], [("a", ints(1))]),
        "output 'y' is empty",
    ),
    "flag": (
        lambda: model([node("Gemm", "x", "w", transB=3)], [1, 2], [("w", W)]),
        "attribute transB is 3, expected 0 or 1",
    ),
    "attribute of another type": (
        lambda: model([node("Flatten", "x", axis=0.5)], [1, 2]),
        "attribute axis is not an integer",
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
    "wrong shapes": (lambda: with_tensor(tensor("w", np.ones((3, 2), np.float32))), "do not fit"),
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
        "which is not a constant, says how to move entries",
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
    "leaky NaN": (
        lambda: model([node("LeakyRelu", "x", alpha=float("nan"))], [1, 2]),
        "alpha is nan",
    ),
    "gemm of 3-D": (
        lambda: model([node("Gemm", "x", "w")], [1, 1, 2], [("w", W)]),
        "must be matrices",
    ),
    "sparse constant": (
        lambda: model([node("Constant", out="w", value_string=b"a"), node("Add", "x", "w")], [2]),
        "value_string is not supported",
    ),
    "no shape": (lambda: no_shape(), "states no shape"),
    "no inputs to a node": (lambda: model([node("Relu")], [2]), "has no input 0"),
    "no value": (
        lambda: model([node("Constant", out="w"), node("Add", "x", "w")], [2]),
        "exactly one value",
    ),
}


def sparse_tensor():
    proto = model([node("Add", "x", "w")], [2])
    values = helper.make_tensor("w", 1, [1], [2.0])
    where = helper.make_tensor("i", 7, [1], [1])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, [2]))
    return proto


def no_shape():
    proto = model([node("Relu", "x")], [2])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
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
    inside = load(save(tmp_path, proto, "in.onnx"), replay=False)
    onnx.save_model(
        proto,
        str(tmp_path / "out.onnx"),
        save_as_external_data=True,
        location="out.bin",
        size_threshold=0,
    )
    assert load(tmp_path / "out.onnx", replay=False) == inside


def external(location, **fields):
    entries = {"location": location, **fields}
    return with_tensor(
        TensorProto(
            name="w",
            data_type=1,
            dims=[2, 2],
            data_location=1,
            external_data=[
                onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in entries.items()
            ],
        )
    )


def test_external_data_stay_inside_the_folder(tmp_path):
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(np.ones(4, np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "sub" / "w.bin").write_bytes(bytes(8) + np.arange(4, dtype=np.float32).tobytes())
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "sub/../../x", ""):
        with pytest.raises(InputError, match="external data in .*outside the folder"):
            read_onnx(str(save(folder, external(location))))
    inside = read_onnx(str(save(folder, external("sub/w.bin", offset=8, length=16))))
    assert inside.exact([1, 1]) == [2, 4]
    for fields in (
        {"offset": 9},
        {"offset": -8},
        {"offset": 1 << 70},
        {"length": 15},
        {"offset": "x"},
        {"offset": 8, "length": 1 << 40},
    ):
        with pytest.raises(InputError, match="external data"):
            read_onnx(str(save(folder, external("sub/w.bin", **fields))))
    with pytest.raises(InputError, match="external data in 'sub', not found"):
        read_onnx(str(save(folder, external("sub"))))


def test_a_small_gzip_file_does_not_become_a_large_one(tmp_path):
    path = tmp_path / "bomb.onnx.gz"
    path.write_bytes(gzip.compress(bytes(1 << 27), 1))
    with pytest.raises(InputError, match="holds more than"):
        load(path)


def test_outputs_that_are_constant_are_read(tmp_path):
    proto = model([node("Constant", value=tensor("", f32(2, 3)))], [1, 2])
    net = agrees(tmp_path, proto).network
    assert "output 'y' does not depend on the input" in net.definitions
    nodes = [node("Relu", "x"), node("Constant", out="c", value=tensor("", f32(3)))]
    net = agrees(tmp_path, model(nodes, [1, 2], output=["c", "y"])).network
    assert net.output_size == 5


def test_what_used_to_need_a_chain(tmp_path):
    for nodes, constants in (
        ([node("Relu", "x", out="a"), node("Relu", "a", out="b"), node("Add", "a", "b")], []),
        ([node("Add", "v", "w", out="u"), node("Mul", "x", "u")], [("v", W), ("w", 2 * W)]),
        ([node("Add", "x", "w")], [("w", np.ones((5, 2), np.float32))]),
        ([node("Relu", "x", out="a"), node("Identity", "a")], []),
    ):
        agrees(tmp_path, model(nodes, [1, 2], constants))
    wide = model([node("MatMul", "x", "w")], [1 << 14, 2], [("w", W)])
    net = read_onnx(str(save(tmp_path, wide)))
    assert any(isinstance(made, Conv) for made in net.nodes)


def test_open_dimensions_can_be_given(tmp_path):
    path = str(save(tmp_path, model([node("Relu", "x")], ["n", 2, "w"])))
    with pytest.raises(InputError, match=r"dimension 2 \('w'\) of input 'x' is dynamic"):
        read_onnx(path)
    net = read_onnx(path, (1, 2, 3))
    assert net.input_shape == (1, 2, 3)
    with pytest.raises(InputError, match="is 2 in the file"):
        read_onnx(path, (1, 4, 3))
    with pytest.raises(InputError, match="has 3 dimensions, not 2"):
        read_onnx(path, (2, 3))
    assert read_onnx(str(save(tmp_path, no_shape())), (4,)).input_size == 4


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE])
def test_casts_between_floats_are_no_operation(tmp_path, element):
    nodes = [
        node("Cast", "x", out="a", to=11),
        node("Relu", "a", out="b"),
        node("Cast", "b", out="c", to=10),
        node("Neg", "c", out="d"),
        node("Cast", "d", to=element),
    ]
    read = read_model(str(save(tmp_path, model(nodes, [1, 3], element=element))))
    assert [type(made) for made in read.network.nodes] == [Dense, Units, Dense]
    assert read.network.exact([1, -1, 2]) == [-1, 0, -2]
    kinds = {made.name: made.dtype for made in read.graph.executed}
    assert kinds["b"] == np.float64
    assert kinds["d"] == np.float16


def test_damaged_texts_are_one_line(tmp_path):
    proto = model([node("Relu", "x", name="abcdefgh")], [1, 2]).SerializeToString()
    for old in (b"abcdefgh", b"Relu"):
        bad = proto.replace(old, b"\xff\n\xfe" + old[3:])
        try:
            read_onnx(str(save(tmp_path, bad)))
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    path = save(tmp_path, model([MATMUL, node("Relu", "z")], [1, 2], [("w", W)]))
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "onnx.onnx_ml_pb2", raising=False)
    with pytest.raises(
        MissingExtra, match="onnx is needed for reading ONNX files: pip install onnx"
    ):
        load(path)
