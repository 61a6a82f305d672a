"""ONNX files: a graph of piecewise-linear operators becomes a `Network`, exactly.

The nodes that the output needs are walked once, in order: operators on constants are evaluated
(`plverify.io.onnx_const`), the others are traced (`plverify.io.onnx_views`, `plverify.io.onnx_ops`
on a `plverify.io.trace.Graph`) and folded without rounding. float16, float32 and float64 tensors
are taken as the dyadic rationals they are, and so are float attributes. A dynamic batch dimension
counts as 1. Several inputs or outputs are joined in the order of the file. A Softmax, LogSoftmax or
ArgMax at the end is dropped, because the order of its inputs is that of its outputs.

Whatever is not understood is an error of one line that names the node or tensor; nothing is
guessed. Sizes are compared before anything is allocated, and nothing that a file says makes the
reader leave the file's folder.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError, MissingExtra
from plverify.exact_array import ExactArray
from plverify.io.onnx_const import CONSTANTS, DEFINITION, DTYPES, ROUNDS, TYPE_NAMES
from plverify.io.onnx_node import Array, Budget, Node, Result, Value
from plverify.io.onnx_ops import FLOAT_TYPES, HANDLERS
from plverify.io.onnx_proto import messages
from plverify.io.onnx_views import VIEWS
from plverify.io.trace import Graph, Live
from plverify.network import Network

MAX_BYTES = 1 << 31
"""Largest (decompressed) file: no protobuf is larger."""
GZIP_FREE, GZIP_RATIO = 1 << 26, 32
"""A compressed file may always grow to the first, and beyond it by the second."""
MAX_INPUTS = 1 << 22
MAX_NODES = 20_000
MIN_ENTRIES = 1 << 24
"""Entries of all tables together, and steps of folding, that the smallest file may ask for."""
MIN_OPSET, MAX_OPSET = 7, 23

ENDS = ("ArgMax", "LogSoftmax", "Softmax")
"""Dropped at the end."""
AFTER_END = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""What may stand behind a dropped operator: nothing of it changes an order."""
CURVED = {
    "Atan", "BitShift", "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSwish", "Log", "Mish",
    "Pow", "Reciprocal", "ReduceL2", "Selu", "Sigmoid", "Sin", "Softmax", "LogSoftmax", "Softplus",
    "Softsign", "Sqrt", "Swish", "Tanh", "InstanceNormalization", "LayerNormalization",
    "GroupNormalization", "LpNormalization", "LpPool", "LRN", "GRU", "LSTM", "RNN",
}  # fmt: skip
JUMPS = {
    "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Mod", "NonZero", "Not", "Round", "Shrink", "Sign", "ThresholdedRelu", "TopK",
}  # fmt: skip


def operators() -> list[str]:
    """The operators that may read computed values, and those dropped at the end."""
    return sorted({*HANDLERS, *VIEWS, *ENDS, "Constant"})


@dataclass(frozen=True)
class ModelInput:
    """One input of the file: where it stands in the network's input is ``start``."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    start: int


@dataclass(frozen=True)
class OnnxModel:
    """A model as read: the network and what `plverify.replay` needs to run it beside the file.

    Attributes
    ----------
    network : Network
    graph : Graph
        As traced; ``graph.names`` has every computed tensor of the file that the output needs.
    proto : onnx.ModelProto
        External data included.
    inputs : tuple of ModelInput
        In order; the network's input is all of them, flattened, one after the other.
    outputs : tuple of str
        Names of the traced tensors whose values, flattened and joined, are the network's output.
        Behind a dropped Softmax it is what that reads. Empty for a constant output.
    """

    network: Network
    graph: Graph
    proto: Any
    inputs: tuple[ModelInput, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxFile:
    """The file that a network was read from, for `Network.origin`: it can be run beside it.

    Attributes
    ----------
    path : str
    input_shape : sequence of int, or None
        As `read_onnx` was given it.
    dtype : type
        numpy's name of the inputs' element type.
    runtimes : dict
        What `plverify.float32` has started for it.
    """

    path: str
    input_shape: Sequence[int] | None
    dtype: Any
    runtimes: dict[bool, Any] = field(default_factory=dict, compare=False, repr=False)


def read_onnx(path: str, input_shape: Sequence[int] | None = None) -> Network:
    """Read the network of an ``.onnx`` or ``.onnx.gz`` file.

    Parameters
    ----------
    path : str
    input_shape : sequence of int, optional
        The shape of the input where the file leaves dimensions open.

    Raises
    ------
    InputError
        On a damaged file, an unsupported node, graph, type or opset, or unusable weights.
    MissingExtra
        If onnx is not installed.
    """
    model = read_model(path, input_shape)
    kind = np.dtype(model.inputs[0].dtype).type
    model.network.origin = OnnxFile(os.path.abspath(path), input_shape, kind)
    return model.network


def read_model(path: str, input_shape: Sequence[int] | None = None) -> OnnxModel:
    """Read a file and keep what a replay needs; see `read_onnx`."""
    data = read_bytes(path)
    proto = _parse(data)
    _load_external(proto, os.path.dirname(os.path.abspath(path)))
    reader = _Reader(proto, len(data), input_shape)
    try:
        value, names = reader.trace()
    except (InputError, MissingExtra):
        raise
    except MemoryError as error:
        raise InputError("needs more memory than there is") from error
    except Exception as error:  # what a hostile file reaches beyond the checks is its fault too
        raise InputError(f"unusable ({type(error).__name__}: {error})") from error
    network = reader.graph.finish(value)
    reader.graph.outputs = tuple(names)
    return OnnxModel(network, reader.graph, proto, tuple(reader.inputs), tuple(names))


def read_bytes(path: str) -> bytes:
    """The bytes of an ONNX file, decompressed up to a limit."""
    try:
        if not path.lower().endswith(".gz"):
            with open(path, "rb") as file:
                return _limited(file, MAX_BYTES)
        limit = min(MAX_BYTES, GZIP_FREE + GZIP_RATIO * os.path.getsize(path))
        with gzip.open(path, "rb") as file:
            return _limited(file, limit)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"not a usable gzip file: {error}") from error


def _limited(file: Any, limit: int) -> bytes:
    data = bytes(file.read(limit + 1))
    if len(data) > limit:
        raise InputError(f"holds more than {limit} bytes")
    return data


def _parse(data: bytes) -> Any:
    proto = messages().ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError; its class differs between back ends
        raise InputError(f"not an ONNX model: {error}") from error
    if not proto.graph.node and not proto.graph.output:
        raise InputError("not an ONNX model, or one without a graph")
    if len(proto.graph.node) > MAX_NODES:
        raise InputError(f"has {len(proto.graph.node)} nodes, more than {MAX_NODES}")
    return proto


# --------------------------------------------------------------------- tensors


def _load_external(proto: Any, folder: str) -> None:
    """Put external data into the tensors; only files inside ``folder`` are opened."""
    tensors = [t for t in proto.graph.initializer if t.data_location == 1]
    for node in proto.graph.node:
        if node.op_type == "Constant":
            tensors += [a.t for a in node.attribute if a.type == 4 and a.t.data_location == 1]
    total = 0
    for tensor in tensors:
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        label = f"tensor '{tensor.name}' is external data in '{location:.80}'"
        root = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(root, location)) if "\0" not in location else root
        if os.path.isabs(location) or not path.startswith(root + os.sep):
            raise InputError(f"{label}, outside the folder of the model")
        if not os.path.isfile(path):
            raise InputError(f"{label}, not found")
        try:
            start = int(where.get("offset") or 0)
            length = int(where["length"]) if where.get("length") else None
        except ValueError:
            raise InputError(f"{label} with an unusable offset or length") from None
        count, dtype = _size_of(tensor, tensor.name)
        size = count * dtype.itemsize
        room = os.path.getsize(path) - start
        if start < 0 or (length is not None and length != size) or size > room:
            stated = room if length is None else length
            raise InputError(f"{label}: {stated} bytes for {size} of shape {list(tensor.dims)}")
        total += size
        if total > MAX_BYTES:
            raise InputError(f"its external data take more than {MAX_BYTES} bytes")
        with open(path, "rb") as file:
            file.seek(start)
            tensor.raw_data = file.read(size)
        tensor.data_location = 0
        del tensor.external_data[:]


def _size_of(tensor: Any, name: str) -> tuple[int, Any]:
    """Number of entries and element type that a TensorProto states."""
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None:
        kind = TYPE_NAMES.get(tensor.data_type, f"number {tensor.data_type}")
        raise InputError(f"tensor '{name}' has element type {kind}, which is not supported")
    dims = [int(d) for d in tensor.dims]
    if any(d < 0 for d in dims) or len(dims) > 32:
        raise InputError(f"tensor '{name}' has dimensions {dims[:32]}")
    return prod(dims), np.dtype(dtype)


def tensor_array(tensor: Any, name: str) -> NDArray[Any]:
    """The array of a TensorProto; its size is checked before anything is allocated.

    Raises
    ------
    InputError
        On an unsupported element type, or data that do not fit the dimensions.
    """
    count, dtype = _size_of(tensor, name)
    dims = [int(d) for d in tensor.dims]
    if tensor.data_location == 1:
        raise InputError(f"tensor '{name}' is external data, which is not read here")
    if tensor.raw_data:
        if len(tensor.raw_data) != count * dtype.itemsize:
            size = len(tensor.raw_data)
            raise InputError(f"tensor '{name}' of shape {dims} has {size} bytes of data")
        stored = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
        return stored.astype(dtype).reshape(dims)
    fields = {"f4": tensor.float_data, "f8": tensor.double_data, "i8": tensor.int64_data}
    fields |= {"u4": tensor.uint64_data, "u8": tensor.uint64_data}
    values = fields.get(dtype.str[1:], tensor.int32_data)
    if len(values) != count:
        raise InputError(f"tensor '{name}' of shape {dims} has {len(values)} entries")
    try:
        if dtype == np.float16:
            # float16 travels as the bit patterns of uint16 in int32_data.
            return np.array(values, np.uint16).view(np.float16).reshape(dims)
        return np.array(values, dtype).reshape(dims)
    except (OverflowError, ValueError):
        raise InputError(f"tensor '{name}' has entries that {dtype} does not hold") from None


# ---------------------------------------------------------------------- reader


@dataclass(frozen=True)
class _Dropped:
    """What a dropped Softmax, LogSoftmax or ArgMax reads, and which node it was."""

    value: Live
    name: str
    label: str


class _Reader:
    """One walk over a graph."""

    def __init__(self, proto: Any, size: int, input_shape: Sequence[int] | None) -> None:
        self.proto = proto
        self.graph_proto = proto.graph
        self.initializers = {t.name: t for t in proto.graph.initializer}
        self.values: dict[str, Value | _Dropped] = {}
        self.types: dict[str, Any] = {}
        self.left: dict[str, int] = {}
        self.budget = Budget()
        self.opset = self._check_opset()
        self.inputs = self._inputs(input_shape)
        total = sum(prod(i.shape) for i in self.inputs)
        if total > MAX_INPUTS:
            raise InputError(f"its inputs have {total} values, more than {MAX_INPUTS}")
        one = len(self.inputs) == 1
        shape = self.inputs[0].shape if one else (total,)
        # A file of many weights may have tables of as many entries, a small one may not.
        self.graph = Graph(shape, self.inputs[0].dtype, MIN_ENTRIES + size)
        self.graph.fold_cost = MIN_ENTRIES + size

    def trace(self) -> tuple[Live, list[str]]:
        """Trace the nodes that the outputs need: the output, and which tensors it is made of."""
        outputs = [output.name for output in self.graph_proto.output]
        if not outputs or len(set(outputs)) != len(outputs):
            raise InputError(f"has {len(outputs)} outputs, expected one or several of own names")
        whole = self.graph.input()
        for given in self.inputs:
            flat = whole.index.reshape(-1)[given.start : given.start + prod(given.shape)]
            self.values[given.name] = Live(0, flat.reshape(given.shape))
            self.types[given.name] = np.dtype(given.dtype)
            self.graph.name(given.name, Live(0, flat.reshape(given.shape)))
        nodes = self._needed(outputs)
        for node in nodes:
            for name in node.input:
                self.left[name] = self.left.get(name, 0) + 1
        for name in outputs:
            self.left[name] = self.left.get(name, 0) + 1
        for node in nodes:
            self._run(node)
        value, names = self._output(outputs)
        if not value.size:
            raise InputError(f"output '{outputs[0]}' is empty, shape {value.shape}")
        return value, names

    def _output(self, outputs: Sequence[str]) -> tuple[Live, list[str]]:
        graph, names = self.graph, []
        parts: list[Live | ExactArray] = []
        for name in outputs:
            value = self._value(name, f"output '{name}'")
            if isinstance(value, _Dropped):
                graph.define(
                    f"the final {value.label} is dropped: outputs are its inputs, in the same order"
                )
                names.append(value.name)
                parts.append(value.value)
            elif isinstance(value, Live):
                names.append(name)
                parts.append(value)
            else:
                graph.define(f"output '{name}' does not depend on the input")
                if value.dtype.kind != "f" or not value.size:
                    raise InputError(f"output '{name}' is a constant of type {value.dtype}")
                parts.append(ExactArray(value, f"output '{name}'"))
        if len(self.inputs) > 1:
            graph.define(f"the inputs {_listed([i.name for i in self.inputs])} are joined")
        if len(parts) == 1 and isinstance(parts[0], Live):
            return parts[0], names
        if len(parts) > 1:
            graph.define(f"the outputs {_listed(outputs)} are joined")
        flat: list[Any] = []
        for part in parts:
            if isinstance(part, Live):
                flat.append(graph.reshape(part, [-1]))
            else:
                flat.append(part.reshape(part.data.size))
        if not any(isinstance(part, Live) for part in flat):
            nothing = graph.affine(graph.index(graph.reshape(graph.input(), [-1]), [0]), 0, 0)
            first, *rest = flat
            flat = [graph.affine(nothing, 0, first), *rest]
        return graph.concat(flat, 0), names

    # --------------------------------------------------------------- structure

    def _check_opset(self) -> int:
        versions = [o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")]
        version = int(versions[0]) if versions else 0
        if not MIN_OPSET <= version <= MAX_OPSET:
            raise InputError(f"opset {version} is out of range {MIN_OPSET} to {MAX_OPSET}")
        return version

    def _inputs(self, given: Sequence[int] | None) -> list[ModelInput]:
        infos = [i for i in self.graph_proto.input if i.name not in self.initializers]
        if not infos:
            raise InputError("has 0 inputs (none), expected at least one")
        if given is not None and len(infos) > 1:
            raise InputError(f"has {len(infos)} inputs: a shape can be given for one only")
        out: list[ModelInput] = []
        start = 0
        for info in infos:
            kind = info.type.tensor_type
            dtype = FLOAT_TYPES.get(kind.elem_type)
            if dtype is None:
                raise InputError(f"input '{info.name}' is not a float16, float32 or float64 tensor")
            shape = self._shape(info.name, kind, given)
            if out and dtype is not out[0].dtype:
                raise InputError(f"inputs '{out[0].name}', '{info.name}' differ in element type")
            if any(known.name == info.name for known in out):
                raise InputError(f"has two inputs '{info.name}'")
            out.append(ModelInput(info.name, shape, dtype, start))
            start += prod(shape)
        return out

    def _shape(self, name: str, kind: Any, given: Sequence[int] | None) -> tuple[int, ...]:
        if not kind.HasField("shape"):
            if given is None:
                raise InputError(f"input '{name}' states no shape")
            dims: list[Any] = [None] * len(given)
        else:
            dims = list(kind.shape.dim)
        if given is not None and len(given) != len(dims):
            raise InputError(f"input '{name}' has {len(dims)} dimensions, not {len(given)}")
        shape = []
        for k, dim in enumerate(dims):
            fixed = dim is not None and dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0
            if fixed:
                shape.append(int(dim.dim_value))
                if given is not None and int(given[k]) != shape[-1]:
                    raise InputError(f"dimension {k} of input '{name}' is {shape[-1]} in the file")
            elif given is not None:
                shape.append(int(given[k]))
            elif k:
                label = dim.dim_param or "?"
                raise InputError(
                    f"dimension {k} ('{label:.40}') of input '{name}' is dynamic; "
                    "only the batch dimension may be"
                )
            else:
                shape.append(1)
        if not 0 < prod(shape) <= MAX_INPUTS or len(shape) > 16:
            raise InputError(
                f"input '{name}' has shape {shape[:16]}: more than {MAX_INPUTS} values"
            )
        return tuple(shape)

    def _needed(self, outputs: Sequence[str]) -> list[Any]:
        """The nodes that the outputs depend on, in an order that makes before it reads."""
        given = {i.name for i in self.inputs}
        makers: dict[str, Any] = {}
        for node in self.graph_proto.node:
            for name in filter(None, node.output):
                if name in makers or name in self.initializers or name in given:
                    raise InputError(f"{_label(node)}: makes '{name}', which exists already")
                makers[name] = node
        sparse = {t.values.name for t in self.graph_proto.sparse_initializer}
        order: list[Any] = []
        state: dict[int, bool] = {}
        for output in outputs:
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
                        if name in given or name in self.initializers:
                            continue
                        if name in sparse:
                            raise InputError(f"tensor '{name}' is sparse, which is not supported")
                        if name not in makers:
                            raise InputError(f"{_label(node)}: reads '{name}', which nothing makes")
                        if state.get(id(makers[name])) is False:
                            raise InputError(f"{_label(node)}: depends on its own output (a cycle)")
                        stack.append((makers[name], False))
        self.keep = makers  # the nodes must live as long as their ids are used
        return order

    # ------------------------------------------------------------------- nodes

    def _run(self, proto: Any) -> None:
        label = _label(proto)
        if proto.domain not in ("", "ai.onnx"):
            raise InputError(
                f"{label}: operators of domain '{str(proto.domain)[:80]}' are not supported"
            )
        names = list(proto.input)
        inputs = [self._value(name, label) if name else None for name in names]
        dropped = [v for v in inputs if isinstance(v, _Dropped)]
        if dropped:
            if proto.op_type not in AFTER_END:
                raise InputError(
                    f"{label}: reads {dropped[0].label}, which is supported at the end only"
                )
            self.values[proto.output[0]] = dropped[0]
            return
        values: list[Any] = inputs
        node = Node(
            name=_name(proto),
            op=proto.op_type,
            opset=self.opset,
            attributes={a.name: _attribute(a, label) for a in proto.attribute},
            inputs=values,
            input_names=names,
            outputs=list(proto.output),
            graph=self.graph,
            budget=self.budget,
        )
        try:
            with np.errstate(all="ignore"):
                self._store(node, self._result(node))
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith("node '") else f"{label}: {text}") from error
        except MemoryError as error:
            raise InputError(f"{label}: needs more memory than there is") from error
        except Exception as error:  # what a hostile file reaches beyond the checks is its fault too
            raise InputError(f"{label}: unusable ({type(error).__name__}: {error})") from error
        for name in names:
            self.left[name] -= 1
            if not self.left[name]:
                self.values.pop(name, None)

    def _result(self, node: Node) -> Result | _Dropped:
        live = [(k, v) for k, v in enumerate(node.inputs) if isinstance(v, Live)]
        if live:
            first = node.input_names[live[0][0]]
            self.graph.dtype = self.types[first]
            if node.op in ENDS:
                label = f"node '{node.name}' ({node.op})"
                return _Dropped(live[0][1], first, label)
        view = VIEWS.get(node.op)
        if view is not None:
            source = node.need()
            if isinstance(source, Live):
                found = view(node, source.index)
                if isinstance(found, list):
                    return [self.graph.view(source, index) for index in found]
                return self.graph.view(source, found)
            if live:
                raise node.error(f"'{first}', which is not a constant, says how to move entries")
            out = view(node, source)
            return list(out) if isinstance(out, list) else out
        if not live or node.op in ("Shape", "Size"):
            handler = CONSTANTS.get(node.op)
            if handler is None and node.op in HANDLERS:
                raise node.error("works on constants only, which is not evaluated here")
        else:
            handler = HANDLERS.get(node.op)
        if handler is None:
            raise node.error(_reason(node.op))
        made = handler(node)
        if not live and node.op in ROUNDS and isinstance(made, np.ndarray):
            known = node.get(0)
            if made.dtype.kind == "f" and not (node.op == "Cast" and _widens(known, made)):
                self.graph.define(DEFINITION)
        return made

    def _store(self, node: Node, made: Result | _Dropped) -> None:
        results = made if isinstance(made, list) else [made]
        if isinstance(made, Live) and node.op == "Cast":
            dtype = np.dtype(FLOAT_TYPES[node.integer("to", 0)])
        else:
            dtype = np.dtype(self.graph.dtype)
        for name, value in zip(node.outputs, results, strict=False):
            if not name:
                continue
            self.values[name] = value
            if isinstance(value, Live):
                self.types[name] = dtype
                self.graph.name(name, value)

    def _value(self, name: str, label: str) -> Value | _Dropped:
        value = self.values.get(name)
        if value is None:
            if name not in self.initializers:
                if label.startswith("output"):
                    raise InputError(f"{label} is computed by no node")
                raise InputError(
                    f"{label}: reads '{name}', a second output, which is not supported"
                )
            value = tensor_array(self.initializers[name], name)
            self.values[name] = value
        return value


def _widens(before: Any, after: Array) -> bool:
    """Whether a cast cannot round."""
    return isinstance(before, np.ndarray) and bool(np.can_cast(before.dtype, after.dtype))


def _reason(op: str) -> str:
    """Why an operator is refused."""
    if op in CURVED:
        return "is not piecewise linear"
    if op in JUMPS:
        return "is not continuous"
    return "this operator is not supported"


def _name(node: Any) -> str:
    # A damaged text is bytes in some back ends of protobuf.
    return str(node.name or next(filter(None, node.output), "?"))[:200]


def _label(node: Any) -> str:
    return f"node '{_name(node)}' ({str(node.op_type)[:80]})"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 8 else ""
    return ", ".join(f"'{name:.80}'" for name in names[:8]) + more


def _attribute(attribute: Any, label: str) -> Any:
    """The value of an attribute: a number, text, list or array; None for anything else."""
    kind = attribute.type
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")
    if kind == 4:
        return tensor_array(attribute.t, f"{attribute.name} of {label}")
    if kind == 6:
        return list(attribute.floats)
    if kind == 7:
        return list(attribute.ints)
    return None
