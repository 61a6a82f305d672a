"""ONNX files: a chain of affine and unit nodes becomes a `Network`, exactly.

The reader walks the graph once, from the input to the output, through the table of
`plverify.io.onnx_ops`; consecutive affine nodes are folded without rounding. float16, float32 and
float64 tensors are taken as the dyadic rationals they are, and so are float attributes. A dynamic
batch dimension counts as 1. Only the nodes that the output needs are read.

Whatever is not understood is an error of one line that names the node or tensor; nothing is
guessed. What *is* understood is replayed against onnxruntime by `plverify.replay`.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError, MissingExtra
from plverify.io.onnx_ops import HANDLERS, Const, Layer, Live, Node, Value
from plverify.network import Network

MAX_BYTES = 1 << 31
"""Largest (decompressed) file: no protobuf is larger."""
MAX_INPUTS = 1 << 24
MIN_OPSET, MAX_OPSET = 7, 23

_FLOATS: dict[int, Any] = {1: np.float32, 10: np.float16, 11: np.float64}
_TYPES: dict[int, Any] = {**_FLOATS, 6: np.int32, 7: np.int64, 9: np.bool_}
_TYPE_NAMES = {2: "uint8", 3: "int8", 5: "int16", 8: "string", 14: "complex64", 16: "bfloat16"}


@dataclass(frozen=True)
class OnnxModel:
    """A model as read: the network and what `plverify.replay` needs to run it beside the file.

    ``layers`` are the closed layers and, last, the affine map of the output (``slopes`` None).
    """

    network: Network
    layers: list[Layer]
    proto: Any
    input_name: str
    input_shape: tuple[int, ...]
    dtype: Any
    output_name: str


def read_onnx(path: str) -> Network:
    """Read the network of an ``.onnx`` or ``.onnx.gz`` file.

    Raises
    ------
    InputError
        On a damaged file, an unsupported node, graph, type or opset, or unusable weights.
    MissingExtra
        If onnx is not installed.
    """
    return read_model(path).network


def read_model(path: str) -> OnnxModel:
    """Read a file and keep what a replay needs."""
    data = read_bytes(path)
    proto = _parse(data)
    _load_external(proto, os.path.dirname(os.path.abspath(path)))
    return _Reader(proto).read()


def read_bytes(path: str) -> bytes:
    """The bytes of an ONNX file, decompressed up to `MAX_BYTES`."""
    try:
        if not path.lower().endswith(".gz"):
            with open(path, "rb") as file:
                return _limited(file)
        with gzip.open(path, "rb") as file:
            return _limited(file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"not a usable gzip file: {error}") from error


def _limited(file: Any) -> bytes:
    data = bytes(file.read(MAX_BYTES + 1))
    if len(data) > MAX_BYTES:
        raise InputError(f"holds more than {MAX_BYTES} bytes")
    return data


def _parse(data: bytes) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "reading ONNX files") from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError; its class differs between back ends
        raise InputError(f"not an ONNX model: {error}") from error
    if not proto.graph.node and not proto.graph.output:
        raise InputError("not an ONNX model, or one without a graph")
    return proto


def _load_external(proto: Any, folder: str) -> None:
    external = [t for t in proto.graph.initializer if t.data_location == 1]
    for tensor in external:
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if not where or not os.path.isfile(os.path.join(folder, where)):
            raise InputError(f"tensor '{tensor.name}' is external data in '{where}', not found")
    if external:
        from onnx.external_data_helper import load_external_data_for_model

        try:
            load_external_data_for_model(proto, folder)
        except Exception as error:
            raise InputError(f"external data cannot be read: {error}") from error


def tensor_array(tensor: Any, name: str) -> NDArray[Any]:
    """The array of a TensorProto; its size is checked before anything is allocated.

    Raises
    ------
    InputError
        On an unsupported element type, or data that do not fit the dimensions.
    """
    dtype = _TYPES.get(tensor.data_type)
    if dtype is None:
        kind = _TYPE_NAMES.get(tensor.data_type, f"type {tensor.data_type}")
        raise InputError(f"tensor '{name}' has element type {kind}, which is not supported")
    if tensor.data_location == 1:
        raise InputError(f"tensor '{name}' is external data, which is not read here")
    dims = [int(d) for d in tensor.dims]
    if any(d < 0 for d in dims):
        raise InputError(f"tensor '{name}' has dimensions {dims}")
    count = prod(dims)
    if tensor.raw_data:
        stored = np.dtype(dtype).newbyteorder("<")
        if len(tensor.raw_data) != count * stored.itemsize:
            size = len(tensor.raw_data)
            raise InputError(f"tensor '{name}' of shape {dims} has {size} bytes of data")
        return np.frombuffer(tensor.raw_data, stored).astype(dtype).reshape(dims)
    fields = {np.float32: tensor.float_data, np.float64: tensor.double_data}
    values = fields.get(dtype, tensor.int64_data if dtype is np.int64 else tensor.int32_data)
    if len(values) != count:
        raise InputError(f"tensor '{name}' of shape {dims} has {len(values)} entries")
    if dtype is np.float16:
        # float16 travels as the bit patterns of uint16 in int32_data.
        return np.array(values, np.uint16).view(np.float16).reshape(dims)
    return np.array(values, dtype).reshape(dims)


class _Reader:
    """One walk over a graph."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.graph = proto.graph
        self.layers: list[Layer] = []
        self.values: dict[str, Value] = {}
        self.spent: set[str] = set()
        self.initializers = {t.name: t for t in proto.graph.initializer}
        self.opset = self._check_opset()

    def read(self) -> OnnxModel:
        input_name, shape, dtype = self._input()
        if len(self.graph.output) != 1:
            raise InputError(f"has {len(self.graph.output)} outputs; one is supported")
        output = self.graph.output[0].name
        nodes = self._needed(output, input_name)
        self.values[input_name] = Live(shape)
        base = input_name
        for node in nodes:
            count = len(self.layers)
            self._run(node, base)
            if len(self.layers) > count:
                base = self.layers[-1].post
        value = self.values.get(output)
        if value is None and output not in self.initializers:
            raise InputError(f"output '{output}' is computed by no node")
        if not isinstance(value, Live):
            raise InputError(f"output '{output}' does not depend on the input")
        self.layers.append(Layer(base, value.affine(), value.steps, output, None, output))
        slopes = [layer.slopes for layer in self.layers if layer.slopes is not None]
        network = Network(
            [layer.rows for layer in self.layers],
            slopes,
            input_shape=shape,
        )
        return OnnxModel(network, self.layers, self.proto, input_name, shape, dtype, output)

    def _check_opset(self) -> int:
        versions = [o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")]
        version = int(versions[0]) if versions else 0
        if not MIN_OPSET <= version <= MAX_OPSET:
            raise InputError(f"opset {version} is out of range {MIN_OPSET} to {MAX_OPSET}")
        return version

    def _input(self) -> tuple[str, tuple[int, ...], Any]:
        inputs = [i for i in self.graph.input if i.name not in self.initializers]
        if len(inputs) != 1:
            names = ", ".join(repr(i.name) for i in inputs[:5]) or "none"
            raise InputError(f"has {len(inputs)} inputs ({names}); one is supported")
        info = inputs[0]
        kind = info.type.tensor_type
        dtype = _FLOATS.get(kind.elem_type)
        if dtype is None:
            raise InputError(f"input '{info.name}' is not a float16, float32 or float64 tensor")
        if not kind.HasField("shape"):
            raise InputError(f"input '{info.name}' states no shape")
        shape = []
        for k, dim in enumerate(kind.shape.dim):
            fixed = dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0
            if not fixed and k > 0:
                label = dim.dim_param or "?"
                raise InputError(
                    f"dimension {k} ('{label}') of input '{info.name}' is dynamic; "
                    "only the batch dimension may be"
                )
            shape.append(int(dim.dim_value) if fixed else 1)
        if prod(shape) > MAX_INPUTS:
            raise InputError(
                f"input '{info.name}' has shape {shape}, more than {MAX_INPUTS} values"
            )
        return info.name, tuple(shape), dtype

    def _needed(self, output: str, source: str) -> list[Any]:
        """The nodes that the output depends on, in an order that makes before it reads."""
        makers: dict[str, Any] = {}
        for node in self.graph.node:
            for name in filter(None, node.output):
                if name in makers or name in self.initializers or name == source:
                    raise InputError(f"{_label(node)}: makes '{name}', which exists already")
                makers[name] = node
        order: list[Any] = []
        state: dict[int, bool] = {}
        stack = [(makers[output], False)] if output in makers else []
        while stack:
            node, finished = stack.pop()
            if finished:
                state[id(node)] = True
                order.append(node)
            elif id(node) not in state:
                state[id(node)] = False
                stack.append((node, True))
                for name in filter(None, node.input):
                    if name == source or name in self.initializers:
                        continue
                    if name not in makers:
                        raise InputError(f"{_label(node)}: reads '{name}', which nothing makes")
                    if state.get(id(makers[name])) is False:
                        raise InputError(f"{_label(node)}: depends on its own output (a cycle)")
                    stack.append((makers[name], False))
        return order

    def _run(self, proto: Any, base: str) -> None:
        label = _label(proto)
        handler = HANDLERS.get(proto.op_type)
        if proto.domain not in ("", "ai.onnx"):
            raise InputError(f"{label}: operators of domain '{proto.domain}' are not supported")
        if handler is None:
            raise InputError(f"{label}: this operator is not supported")
        inputs = [self._value(name, label) if name else None for name in proto.input]
        node = Node(
            name=proto.name or proto.output[0],
            op=proto.op_type,
            opset=self.opset,
            attributes={a.name: _attribute(a, label) for a in proto.attribute},
            inputs=inputs,
            input_names=list(proto.input),
            output=proto.output[0],
            layers=self.layers,
            base=base,
        )
        try:
            self.values[node.output] = handler(node)
        except InputError as error:
            if str(error).startswith("node '"):
                raise
            raise InputError(f"{label}: {error}") from error
        for name, value in zip(proto.input, inputs, strict=True):
            if isinstance(value, Live):
                # A chain: whoever reads a computed tensor is the only one.
                self.values.pop(name, None)
                self.spent.add(name)

    def _value(self, name: str, label: str) -> Value:
        value = self.values.get(name)
        if value is None:
            if name in self.spent:
                raise InputError(
                    f"{label}: tensor '{name}' is read a second time; only chains are supported"
                )
            if name not in self.initializers:
                raise InputError(
                    f"{label}: reads '{name}', a second output, which is not supported"
                )
            value = Const(tensor_array(self.initializers[name], name))
            self.values[name] = value
        return value


def _label(node: Any) -> str:
    return f"node '{node.name or (node.output[0] if node.output else '?')}' ({node.op_type})"


def _attribute(attribute: Any, label: str) -> Any:
    """The value of an attribute: a number, text, list or array."""
    kind = attribute.type
    if kind == 1:
        return attribute.f
    if kind == 2:
        return attribute.i
    if kind == 3:
        return attribute.s
    if kind == 4:
        return tensor_array(attribute.t, f"{attribute.name} of {label}")
    if kind == 6:
        return list(attribute.floats)
    if kind == 7:
        return list(attribute.ints)
    return None
