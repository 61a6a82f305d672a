"""Readers take every tensor exactly, and bad files are one clear line, never a crash."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
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
from plverify.io import arrays
from plverify.io import onnx as reader
from plverify.network import Network, load
from plverify.replay import replay

DATA = Path(__file__).parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)
QUIET = settings(deadline=None, max_examples=40)


def data(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


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


# ------------------------------------------------------------------------------ onnx: what it means


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


# -------------------------------------------------------------------------------- onnx: what is bad

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
        ("a.onnx.gz", gzip.compress(bytes(10000))[:30], "not a usable gzip"),
        ("a.onnx.gz", gzip.compress(b"nonsense " * 50), "not an ONNX model"),
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


# ---------------------------------------------------------------------------------------------- npz


def write_npz(path, **entries):
    np.savez(path, **entries)
    return path


def test_npz_layouts(tmp_path):
    w0, b0, w1, b1 = f32(4, 3), f32(4), f32(2, 4), f32(2)
    net = Network.from_arrays([w0, w1], [b0, b1])
    plain = write_npz(tmp_path / "a.npz", W0=w0, b0=b0, W1=w1, b1=b1, lo=[-1], data=np.ones(3))
    assert load(plain) == net
    torch = {"0.weight": w0, "0.bias": b0, "2.weight": w1, "2.bias": b1}
    assert load(write_npz(tmp_path / "b.npz", **torch)) == net
    prefixed = {f"net.{key}": value for key, value in torch.items()}
    assert load(write_npz(tmp_path / "c.npz", **prefixed)) == net
    del torch["2.bias"]
    assert load(write_npz(tmp_path / "d.npz", **torch)) == Network.from_arrays([w0, w1], [b0, None])
    leaky = write_npz(tmp_path / "e.npz", W0=w0, b0=b0, W1=w1, b1=b1, slope=np.float32(0.01))
    assert load(leaky) == Network.from_arrays([w0, w1], [b0, b1], np.float32(0.01))
    np.savez_compressed(tmp_path / "f.npz", W0=np.asfortranarray(w0), b0=b0, W1=w1, b1=b1)
    assert load(tmp_path / "f.npz") == net
    ten = {f"{2 * k}.weight": np.eye(1) * (k + 1) for k in range(11)}
    assert load(write_npz(tmp_path / "g.npz", **ten)).exact([1])[0] == 39916800


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"a": np.ones(2)}, "it holds a"),
        ({}, "it holds nothing"),
        ({"W0": np.ones((2, 2))}, "b0 is missing"),
        (
            {"W0": np.ones((2, 2)), "b0": np.ones(2), "W2": np.ones((2, 2)), "b2": [0]},
            "W1 is missing",
        ),
        ({"W0": np.ones((2, 2)), "b0": np.ones(3)}, r"b0 has shape \(3,\)"),
        ({"W0": np.ones((2, 2)) * np.nan, "b0": np.ones(2)}, r"W0\[0, 0\] is NaN"),
        ({"0.weight": np.array([[1.0, np.inf]])}, r"0.weight\[0, 1\] is infinite"),
        ({"0.weight": np.ones((2, 2, 3, 3))}, "0.weight has shape"),
        ({"W0": np.array([[None]]), "b0": np.ones(1)}, "element type object"),
        ({"W0": np.array([["a"]]), "b0": np.ones(1)}, "element type"),
        ({"W0": np.ones((1, 1), complex), "b0": np.ones(1)}, "element type complex128"),
        ({"a.0.weight": np.ones((1, 1)), "b.2.weight": np.ones((1, 1))}, "several modules"),
        ({"W0": np.ones((1, 1)), "b0": np.ones(1), "slope": np.ones(3)}, "slope has 3"),
    ],
)
def test_unusable_npz_files(tmp_path, entries, text):
    with pytest.raises(InputError, match=text):
        load(write_npz(tmp_path / "a.npz", **entries))


def npy(header, body=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
            "do not hold",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}"), "shape"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", bytes(15)),
            "do not hold",
        ),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}", bytes(8)),
            "element type object",
        ),
        (npy("{'shape': "), "no usable npy header"),
        (b"\x93NUMPY\x09\x00", "npy"),
        (b"", "npy header"),
        (b"rubbish", "npy header"),
    ],
)
def test_npy_members_that_lie_about_themselves(tmp_path, member, text):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W0.npy", member)
        buffer = io.BytesIO()
        np.save(buffer, np.ones(2))
        archive.writestr("b0.npy", buffer.getvalue())
    with pytest.raises(InputError, match=text):
        load(path)


def test_npz_bombs_and_damage(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, W0=np.zeros((500, 500)), b0=np.zeros(500))
    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    with pytest.raises(InputError, match="more than 10000"):
        load(path)
    monkeypatch.undo()
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="not a usable npz"):
            load(path)
    broken = bytearray(whole)
    broken[120] ^= 255
    path.write_bytes(bytes(broken))
    with pytest.raises(InputError):
        load(path)


# --------------------------------------------------------------------------------------------- nnet

NNET = """// a comment
2,2,1,3,
2,3,1,
0,
-1,-1,
1,1,
0.5,0.25,10.0,
2.0,4.0,3.0,
1,2,
-1,0.1,
0,1e-3,
0.5,
-1,
0,
1,1,-1,
0.1,
"""


def test_nnet_normalisation_is_folded_exactly(tmp_path):
    path = tmp_path / "a.nnet"
    path.write_text(NNET)
    net = load(path)
    x = [Fraction(1, 3), Fraction(2)]
    a = [(x[0] - Fraction(1, 2)) / 2, (x[1] - Fraction(1, 4)) / 4]
    rows = [[1, 2], [-1, Fraction(0.1)], [0, Fraction(1e-3)]]
    bias = [Fraction(1, 2), -1, 0]
    hidden = [max(0, r[0] * a[0] + r[1] * a[1] + c) for r, c in zip(rows, bias, strict=True)]
    y = hidden[0] + hidden[1] - hidden[2] + Fraction(0.1)
    assert net.exact(x) == [3 * y + 10]
    assert any("clipped" in text for text in net.definitions)
    assert load(net).definitions == net.definitions


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("2,2,1,3,", "two,2,1,3,", "line 2: the header is not a list of integers"),
        ("2,2,1,3,", "0,2,1,3,", "0 layers"),
        ("2,2,1,3,", "2,2", "has 2 entries"),
        ("2,3,1,", "2,3,2,", "do not fit the header"),
        ("2,3,1,", "2,300000000000,1,", "truncated|entries"),
        ("2,2,1,3,", "999999999,2,1,3,", "has 3 entries"),
        ("2.0,4.0,3.0,", "2.0,0.0,3.0,", "range 1 is 0"),
        ("2.0,4.0,3.0,", "2.0,4.0,", "the ranges has 2 entries"),
        ("1,2,\n", "1,2,3,\n", "row 0 of weights 0 has 3 entries"),
        ("1e-3", "nan", "holds nan"),
        ("1e-3", "inf", "holds inf"),
        ("1e-3", "x", "holds 'x'"),
        ("0.1,\n", "", "truncated|entries"),
        ("//", "\x80", "not a .nnet text file"),
    ],
)
def test_unusable_nnet_files_name_the_line(tmp_path, old, new, text):
    path = tmp_path / "a.nnet"
    path.write_bytes(NNET.replace(old, new, 1).encode("latin-1"))
    with pytest.raises(InputError, match=text):
        load(path)


def test_every_truncation_of_an_nnet_file_is_refused(tmp_path):
    path = tmp_path / "a.nnet"
    lines = NNET.splitlines(keepends=True)
    for k in range(len(lines)):
        path.write_text("".join(lines[:k]))
        with pytest.raises(InputError, match="truncated"):
            load(path)


# ------------------------------------------------------------------------------------------ sklearn


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_scikit_learn_models_agree_with_their_own_outputs(activation, classes):
    neural = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4))
    y = x[:, 0] + x[:, 1] ** 2 if not classes else np.arange(60) % classes
    kind = neural.MLPClassifier if classes else neural.MLPRegressor
    mlp = kind(hidden_layer_sizes=(7, 5), activation=activation, max_iter=30, random_state=0).fit(
        x, y
    )
    net = load(mlp)
    assert net.widths == ((7, 5) if activation == "relu" else ())
    if not classes:
        assert np.allclose(net(x)[:, 0], mlp.predict(x))
        assert net.definitions == ()
    elif classes == 2:
        assert net.output_size == 1
        assert np.allclose(1 / (1 + np.exp(-net(x)[:, 0])), mlp.predict_proba(x)[:, 1])
    else:
        logits = np.exp(net(x))
        assert np.allclose(logits / logits.sum(axis=1, keepdims=True), mlp.predict_proba(x))
    value = exact(x[0])
    for k, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        value = value.dot(exact(w)) + exact(b)
        if activation == "relu" and k < 2:
            value = np.maximum(value, 0)
    assert net.exact(x[0]) == list(value)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_other_scikit_learn_models_are_refused_by_name():
    neural = pytest.importorskip("sklearn.neural_network")
    from sklearn.linear_model import LinearRegression

    with pytest.raises(InputError, match="LinearRegression is not supported"):
        load(LinearRegression())
    with pytest.raises(InputError, match="this MLPRegressor is not fitted"):
        load(neural.MLPRegressor())
    x, y = np.zeros((4, 1)), np.arange(4.0)
    mlp = neural.MLPRegressor(activation="tanh", max_iter=1, solver="lbfgs").fit(x, y)
    with pytest.raises(InputError, match="'tanh' is not piecewise linear"):
        load(mlp)


# ------------------------------------------------------------------------------- files of the world


@pytest.mark.parametrize(
    "name", ["mlp_64_32_10", "mlp_64_64_64_10", "mlp_64_128_128_10", "moons_2_32_32_2"]
)
def test_lipadv_npz_and_onnx_agree(name):
    folder = data("lipadv")
    net = load(folder / f"{name}.onnx")
    assert net.digest == load(folder / f"{name}.npz").digest
    with np.load(folder / "points.npz") as points:
        x, y = (points["x20"], points["y20"]) if "64" in name else (points["mx20"], points["my20"])
    assert (net(x).argmax(axis=1) == y).all()
    for row in x[:3]:
        assert tuple(net.pattern(row).astype(int)) == net.exact_net.pattern_at(row.tolist()).bits


def test_acasxu_loads_and_replays():
    files = sorted(data("vnncomp", "acasxu", "onnx").glob("*.onnx.gz"))
    for path in files[:2]:
        net = load(path, replay=False)
        assert net.widths == (50,) * 6
        assert net.input_shape == (1, 1, 1, 5)
        found = replay(net, str(path))
        assert found.points == 16
        assert found.worst < 1


@pytest.mark.slow
def test_every_chain_of_the_data_folder_loads_and_replays():
    count = 0
    for path in sorted(data("vnncomp").rglob("*.onnx.gz")):
        try:
            net = load(path, replay=False)
        except InputError as error:
            assert "supported" in str(error)  # noqa: PT017
            continue
        count += 1
        replay(net, str(path))
    assert count > 100


def test_regions_nets_agree_across_formats():
    for path in sorted(data("regions").glob("mlp_*.onnx")):
        assert load(path, replay=False).digest == load(path.with_suffix(".npz")).digest


# --------------------------------------------------------------------------------------- start-up


def test_optional_packages_are_imported_only_when_needed(tmp_path):
    path = write_npz(tmp_path / "a.npz", W0=np.ones((1, 1)), b0=np.zeros(1))
    code = (
        "import json, sys, plverify.network as n, plverify.domain, plverify.io;"
        f"n.load({str(path)!r}).pattern([1.0]);"
        "names = ['onnx', 'onnxruntime', 'sklearn', 'torch', 'matplotlib'];"
        "print(json.dumps([m for m in names if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    path = save(tmp_path, model([MATMUL, node("Relu", "z")], [1, 2], [("w", W)]))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingExtra, match="onnx is needed for reading ONNX files: pip install onnx"
    ):
        load(path)
