"""Small ONNX models for the tests, and onnxruntime as their judge."""

from __future__ import annotations

import gzip

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from plverify.io.onnx import read_model

ELEMENTS = {np.float16: 10, np.float32: 1, np.float64: 11}
RNG = np.random.default_rng(0)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def eighths(*shape):
    """Random multiples of 1/8 up to 2: sums of products of a few are exact in float32."""
    return (RNG.integers(-16, 17, shape) / 8).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, *inputs, out="y", **attributes):
    outputs = [out] if isinstance(out, str) else list(out)
    return helper.make_node(op, list(inputs), outputs, **attributes)


def model(
    nodes, shape, constants=(), output="y", opset=13, element=TensorProto.FLOAT, inputs=("x",)
):
    outputs = [output] if isinstance(output, str) else output
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, element, shape) for name in inputs],
        [helper.make_tensor_value_info(name, element, None) for name in outputs],
        [tensor(name, array) for name, array in constants],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10
    )


def widened(proto):
    """The same model in float64."""
    out = onnx.ModelProto()
    out.CopyFrom(proto)
    tensors = list(out.graph.initializer)
    for n in out.graph.node:
        tensors += [a.t for a in n.attribute if a.name == "value" and a.type == 4]
    for t in tensors:
        if t.data_type == TensorProto.FLOAT:
            t.CopyFrom(tensor(t.name, numpy_helper.to_array(t).astype(np.float64)))
    for info in [*out.graph.input, *out.graph.output]:
        info.type.tensor_type.elem_type = TensorProto.DOUBLE
    return out


def save(tmp_path, proto, name="m.onnx"):
    path = tmp_path / name
    raw = proto if isinstance(proto, bytes) else proto.SerializeToString()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def session(proto):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def execute(running, read, x, names=None):
    """Outputs of onnxruntime for the network's input ``x``, flattened and joined."""
    feed = {}
    for given in read.inputs:
        size = int(np.prod(given.shape))
        part = x[given.start : given.start + size]
        feed[given.name] = part.astype(given.dtype).reshape(given.shape)
    found = running.run(names, feed)
    return np.concatenate([np.asarray(v, np.float64).reshape(-1) for v in found])


def agrees(tmp_path, proto, rounding=0.0, points=6, outputs=None):
    """Read a model and compare it with onnxruntime, in float64 where that has kernels.

    ``rounding``: relative to the largest output, in units of the element type's roundoff. Inputs
    are multiples of 1/4, so that 0 asks for equality wherever all sums are exact.
    """
    running, kind = None, np.float32
    if all(i.type.tensor_type.elem_type == TensorProto.FLOAT for i in proto.graph.input):
        try:
            running = session(widened(proto))
            proto, kind = widened(proto), np.float64
        except Exception:
            running = None
    if running is None:
        running = session(proto)
    read = read_model(str(save(tmp_path, proto)))
    net = read.network
    for k in range(points):
        x = RNG.integers(-12, 13, net.input_size) / 4
        if k == 0:
            x = np.zeros(net.input_size)
        expected = execute(running, read, x, outputs)
        got = np.array([float(v) for v in net.exact(x)])
        assert got.shape == expected.shape
        slack = rounding * np.finfo(kind).eps * (1 + np.abs(expected).max(initial=0))
        assert np.abs(got - expected).max(initial=0) <= slack, (got, expected)
        assert np.abs(net(x) - got).max(initial=0) <= 1e-12 * (1 + np.abs(got).max(initial=0))
    return read
