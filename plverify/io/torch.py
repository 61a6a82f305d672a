"""torch modules: `torch.export` and a table of aten operators, traced by `plverify.io.trace`.

The module is exported at one input of batch size 1; what the export cannot express (control flow
that depends on the data) is refused. Parameters and buffers are taken as the dyadic rationals they
are; a Python number in an expression is rounded to the module's element type, as torch does. Views
(reshape, permute, slicing, ...) are not in the table: torch itself moves the positions about.

>>> from plverify.io.torch import from_torch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from plverify.errors import InputError, MissingExtra
from plverify.io.trace import Graph, Live
from plverify.network import Network

ENDS = {"softmax", "log_softmax", "argmax", "_softmax", "_log_softmax"}
"""Dropped at the end, for they keep the order."""
CURVED = {"sigmoid", "tanh", "gelu", "silu", "elu", "softplus", "exp", "log", "pow", "sqrt", "erf"}
VIEWS = {
    "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "slice", "select", "flatten",
    "unflatten", "unsqueeze", "squeeze", "expand", "narrow", "contiguous", "clone", "alias",
    "detach", "movedim", "split", "split_with_sizes", "chunk", "unbind", "index_select", "flip",
    "roll", "lift_fresh_copy", "repeat", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "ravel", "swapaxes", "numpy_T", "tile", "diagonal",
}  # fmt: skip

Arguments: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[["_Reader", Arguments], Live]


@dataclass(frozen=True)
class TorchProgram:
    """What runs a torch module again: `Network.origin` of a network that was read from one.

    Attributes
    ----------
    program : torch.export.ExportedProgram
    outputs : tuple of str
        The value that is the network's output; behind a dropped Softmax it is what that reads.
    input_shape : tuple of int
    dtype : type
        numpy's name of the element type.
    """

    program: Any
    outputs: tuple[str, ...]
    input_shape: tuple[int, ...]
    dtype: Any


def from_torch(
    module: Any, input_shape: Sequence[int] | None = None, *, replay: bool = True
) -> Network:
    """Read the network of a torch module in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
    input_shape : sequence of int, optional
        Shape of one input without the batch dimension, such as ``(3, 32, 32)``. Not needed where
        the first layer is linear.
    replay : bool
        Run the module beside the import, operator by operator (`plverify.replay`).

    Raises
    ------
    InputError
        If the module is in training mode, cannot be exported, has no usable input shape or uses an
        operator that is not piecewise linear; one line.
    MissingExtra
        If torch is not installed.
    """
    network, graph, program = read_module(module, input_shape)
    if replay:
        from plverify.replay import replay_torch

        replay_torch(network, graph, program)
    network.origin = TorchProgram(program, graph.outputs, graph.input_shape, graph.dtype)
    return network


def read_module(
    module: Any, input_shape: Sequence[int] | None = None
) -> tuple[Network, Graph, Any]:
    """The network, the traced graph and the exported program, which a replay needs."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "reading torch modules", "torch") from error
    training = [name or "the module" for name, part in module.named_modules() if part.training]
    if training:
        raise InputError(f"{training[0]} is in training mode: call .eval() first")
    shape = _input_shape(module, input_shape)
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if len(kinds) > 1:
        raise InputError(f"parameters of several types: {', '.join(sorted(map(str, kinds)))}")
    dtype = kinds.pop() if kinds else torch.float32
    example = torch.zeros((1, *shape), dtype=dtype)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,))
    except Exception as error:  # torch raises many kinds, none of them ours
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        kind = type(error).__name__
        raise InputError(
            f"torch.export cannot express this module at input shape {(1, *shape)} "
            f"(control flow that depends on data is refused): {kind}: {first[:200]}"
        ) from error
    reader = _Reader(torch, program, (1, *shape), dtype)
    return reader.read(), reader.graph, program


def traced_again(program: TorchProgram) -> Graph:
    """The graph as traced of a program that was read before."""
    import torch

    kinds = {np.float16: torch.float16, np.float32: torch.float32, np.float64: torch.float64}
    reader = _Reader(torch, program.program, program.input_shape, kinds[program.dtype])
    reader.read()
    return reader.graph


def _input_shape(module: Any, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        shape = tuple(int(d) for d in given)
        if not shape or min(shape) < 1:
            raise InputError(f"input_shape is {shape}, expected positive sizes")
        return shape
    for part in module.modules():
        if not list(part.children()) and list(part.parameters(recurse=False)):
            if type(part).__name__ == "Linear":
                return (int(part.in_features),)
            break
    raise InputError(
        "the shape of an input is not known: give it, as in load(module, input_shape=(3, 32, 32))"
    )


class _Reader:
    """One walk over an exported program."""

    def __init__(self, torch: Any, program: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.torch, self.program = torch, program
        narrow = {torch.float16: np.float16, torch.float64: np.float64}
        self.graph = Graph(shape, narrow.get(dtype, np.float32))
        self.values: dict[str, Any] = {}
        self.dropped: str | None = None

    def read(self) -> Network:
        signature = self.program.graph_signature
        tensors = {**self.program.state_dict, **self.program.constants}
        named = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                if node.name in named:
                    self.values[node.name] = self._constant(tensors, named[node.name])
                else:
                    if node.name not in signature.user_inputs or len(signature.user_inputs) != 1:
                        raise InputError(f"has {len(signature.user_inputs)} inputs, expected one")
                    self.values[node.name] = self.graph.input()
                    self.graph.name(node.name, self.values[node.name])
            elif node.op == "output":
                return self._finish(node.args[0])
            elif node.op == "call_function":
                self.values[node.name] = self._run(node)
                if isinstance(self.values[node.name], Live):
                    self.graph.name(node.name, self.values[node.name])
            else:
                raise InputError(f"node '{node.name}' ({node.op}) is not supported")
        raise InputError("the exported program has no output")

    def _constant(self, tensors: Any, name: str) -> Any:
        value = tensors[name]
        if value.is_floating_point() and not bool(self.torch.isfinite(value).all()):
            raise InputError(f"parameter '{name}' holds NaN or infinity")
        return value.detach()

    def _finish(self, outputs: Any) -> Network:
        found = [self.values[out.name] for out in outputs if hasattr(out, "name")]
        live = [value for value in found if isinstance(value, Live)]
        if len(live) != 1 or len(found) != 1:
            raise InputError(
                f"has {len(found)} outputs, {len(live)} of them computed; expected one"
            )
        self.graph.outputs = tuple(name for name, v in self.values.items() if v is live[0])[:1]
        if self.dropped is not None:
            self.graph.define(f"the final {self.dropped} is dropped: logits, in the same order")
        return self.graph.finish(live[0])

    def _run(self, node: Any) -> Any:
        where = _label(node)
        given = [self._argument(a) for a in node.args]
        keywords = {k: self._argument(v) for k, v in node.kwargs.items()}
        schema = getattr(node.target, "_schema", None)
        live = any(map(_has_live, (*given, *keywords.values())))
        if not live:
            return node.target(*given, **keywords)
        if schema is None:  # operator.getitem and the like
            if getattr(node.target, "__name__", "") == "getitem":
                return given[0][given[1]]
            raise InputError(f"{where}: is not supported")
        op = schema.name.partition("::")[2].rstrip("_") or schema.name
        arguments = _bind(schema, given, keywords)
        try:
            if self.dropped is not None:
                raise InputError(f"reads what {self.dropped} makes, which is not piecewise linear")
            if op in ENDS:
                self.dropped = op.lstrip("_")
                return arguments["self"]
            if op in VIEWS:
                return self._view(node.target, given, keywords)
            if op in HANDLERS:
                return HANDLERS[op](self, arguments)
            reason = "is not piecewise linear" if op in CURVED else "is not supported"
            raise InputError(reason)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def _argument(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._argument(v) for v in value]
        if hasattr(value, "op") and hasattr(value, "name"):
            return self.values[value.name]
        return value

    def _view(self, target: Any, given: list[Any], keywords: Arguments) -> Any:
        """Let torch move the positions: the view of an index is the index of the view."""
        if not isinstance(given[0], Live) or any(map(_has_live, given[1:])):
            raise InputError("moves something else than one computed value")
        source = given[0]
        moved = target(self.torch.from_numpy(source.index.copy()), *given[1:], **keywords)
        if isinstance(moved, (list, tuple)):
            return [self.graph.view(source, part.numpy()) for part in moved]
        return self.graph.view(source, moved.numpy())

    def array(self, value: Any) -> Any:
        """A constant as the float array torch computes with."""
        if isinstance(value, self.torch.Tensor):
            if not value.is_floating_point():
                return value.numpy().astype(np.float64)
            return value.to(self.torch.float64).numpy()
        if isinstance(value, (int, float)):
            return np.asarray(self.graph.dtype(value), np.float64)
        return np.asarray(value, np.float64)

    def operand(self, value: Any) -> Any:
        """A live value as it is, a constant as an array."""
        return value if isinstance(value, Live) else self.array(value)


def _has_live(value: Any) -> bool:
    return isinstance(value, Live) or (
        isinstance(value, (list, tuple)) and any(map(_has_live, value))
    )


def _bind(schema: Any, given: list[Any], keywords: Arguments) -> Arguments:
    out = {a.name: a.default_value for a in schema.arguments}
    out.update(zip((a.name for a in schema.arguments), given, strict=False))
    return {**out, **keywords}


def _label(node: Any) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0].replace("L['self'].", "") if stack else ""
    inside = f" in {path}" if path and "self" not in path else ""
    return f"node '{node.name}' ({node.target}){inside}"


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * rank if len(values) == 1 else values))


# ------------------------------------------------------------------------------- the aten table


def _add(reader: _Reader, a: Arguments) -> Live:
    other = reader.operand(a["other"])
    if a.get("alpha", 1) not in (None, 1):
        scale = reader.array(a["alpha"])
        other = reader.graph.mul(other, scale) if isinstance(other, Live) else other * scale
    return reader.graph.add(reader.operand(a["self"]), other)


def _sub(reader: _Reader, a: Arguments) -> Live:
    if a.get("alpha", 1) not in (None, 1):
        raise InputError(f"alpha is {a['alpha']}, which is not supported")
    return reader.graph.sub(reader.operand(a["self"]), reader.operand(a["other"]))


def _rsub(reader: _Reader, a: Arguments) -> Live:
    return _sub(reader, {**a, "self": a["other"], "other": a["self"]})


def _mul(reader: _Reader, a: Arguments) -> Live:
    return reader.graph.mul(reader.operand(a["self"]), reader.operand(a["other"]))


def _div(reader: _Reader, a: Arguments) -> Live:
    if a.get("rounding_mode") is not None:
        raise InputError("rounds, which is not piecewise linear and continuous")
    return reader.graph.div(reader.operand(a["self"]), reader.operand(a["other"]))


def _linear(reader: _Reader, a: Arguments) -> Live:
    out = reader.graph.matmul(a["input"], reader.array(a["weight"]).T)
    return out if a["bias"] is None else reader.graph.add(out, reader.array(a["bias"]))


def _addmm(reader: _Reader, a: Arguments) -> Live:
    if a.get("alpha", 1) != 1 or a.get("beta", 1) != 1:
        raise InputError("alpha and beta other than 1 are not supported")
    out = reader.graph.matmul(reader.operand(a["mat1"]), reader.operand(a["mat2"]))
    return reader.graph.add(out, reader.operand(a["self"]))


def _matmul(reader: _Reader, a: Arguments) -> Live:
    other = a.get("other", a.get("mat2", a.get("vec")))
    return reader.graph.matmul(reader.operand(a["self"]), reader.operand(other))


def _conv(reader: _Reader, a: Arguments) -> Live:
    weight = reader.array(a["weight"])
    rank = weight.ndim - 2
    bias = None if a["bias"] is None else reader.array(a["bias"])
    strides, dilations = _tuple(a["stride"], rank), _tuple(a["dilation"], rank)
    if isinstance(a["padding"], str):
        if a["padding"] == "valid":
            before = after = (0,) * rank
        else:
            whole = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
            before = tuple(w // 2 for w in whole)
            after = tuple(w - w // 2 for w in whole)
    else:
        before = after = _tuple(a["padding"], rank)
    return reader.graph.conv(
        _batched(reader, a["input"], rank), weight, bias, strides, before, after, dilations,
        int(a["groups"]),
    )  # fmt: skip


def _conv_transpose(reader: _Reader, a: Arguments) -> Live:
    weight = reader.array(a["weight"])
    rank = weight.ndim - 2
    bias = None if a["bias"] is None else reader.array(a["bias"])
    pads = _tuple(a["padding"], rank)
    return reader.graph.conv_transpose(
        _batched(reader, a["input"], rank), weight, bias, _tuple(a["stride"], rank), pads, pads,
        _tuple(a["output_padding"], rank), _tuple(a["dilation"], rank), int(a["groups"]),
    )  # fmt: skip


def _batched(reader: _Reader, x: Live, rank: int) -> Live:
    if len(x.shape) != rank + 2:
        raise InputError(f"reads shape {x.shape}, expected (1, channels, ...)")
    return x


def _batch_norm(reader: _Reader, a: Arguments) -> Live:
    if a.get("training"):
        raise InputError("is in training mode: call .eval() first")
    if a["running_mean"] is None or a["running_var"] is None:
        raise InputError("has no running statistics, so it depends on the whole batch")
    x = a["input"]
    channels = x.shape[1]
    gamma = np.ones(channels) if a["weight"] is None else reader.array(a["weight"])
    beta = np.zeros(channels) if a["bias"] is None else reader.array(a["bias"])
    mean, variance = reader.array(a["running_mean"]), reader.array(a["running_var"])
    return reader.graph.batch_norm(x, gamma, beta, mean, variance, float(a["eps"]))


def _max_pool(reader: _Reader, a: Arguments) -> Live:
    kernel = a["kernel_size"]
    rank = len(a["self"].shape) - 2
    pads = _tuple(a["padding"], rank)
    strides = a["stride"] if a["stride"] else kernel
    return reader.graph.max_pool(
        a["self"], _tuple(kernel, rank), _tuple(strides, rank), pads, pads,
        _tuple(a["dilation"], rank), bool(a["ceil_mode"]),
    )  # fmt: skip


def _avg_pool(reader: _Reader, a: Arguments) -> Live:
    if a.get("divisor_override") is not None:
        raise InputError("divisor_override is not supported")
    kernel = a["kernel_size"]
    rank = len(a["self"].shape) - 2
    pads = _tuple(a["padding"], rank)
    strides = a["stride"] if a["stride"] else kernel
    return reader.graph.avg_pool(
        a["self"], _tuple(kernel, rank), _tuple(strides, rank), pads, pads, None,
        bool(a["ceil_mode"]), bool(a["count_include_pad"]),
    )  # fmt: skip


def _adaptive(reader: _Reader, a: Arguments) -> Live:
    sizes = list(a["output_size"])
    return reader.graph.adaptive_avg_pool(a["self"], sizes)


def _clamp(reader: _Reader, a: Arguments) -> Live:
    low = a.get("min", a.get("min_val"))
    high = a.get("max", a.get("max_val"))
    return reader.graph.clip(
        a["self"],
        -np.inf if low is None else reader.array(low),
        np.inf if high is None else reader.array(high),
    )


def _slope(reader: _Reader, a: Arguments) -> Live:
    return reader.graph.leaky_relu(a["self"], float(reader.array(a["negative_slope"])))


def _prelu(reader: _Reader, a: Arguments) -> Live:
    slopes = reader.array(a["weight"])
    x = a["self"]
    if slopes.size > 1:
        slopes = slopes.reshape(-1, *(1,) * (len(x.shape) - 2))
    return reader.graph.prelu(x, slopes)


def _pair(best: str) -> Handler:
    def handler(reader: _Reader, a: Arguments) -> Live:
        if "other" not in a:
            raise InputError("of one tensor is not supported; of two it is")
        method = reader.graph.maximum if best == "max" else reader.graph.minimum
        return method(reader.operand(a["self"]), reader.operand(a["other"]))

    return handler


def _reduce(kind: str) -> Handler:
    def handler(reader: _Reader, a: Arguments) -> Live:
        x = a["self"]
        axes = a.get("dim")
        axes = list(range(len(x.shape))) if not axes and axes != 0 else axes
        axes = [axes] if isinstance(axes, int) else [int(d) for d in axes]
        method = reader.graph.reduce_sum if kind == "sum" else reader.graph.reduce_mean
        return method(x, axes, bool(a.get("keepdim", False)))

    return handler


def _amax(reader: _Reader, a: Arguments) -> Live:
    axes = [a["dim"]] if isinstance(a["dim"], int) else list(a["dim"])
    return reader.graph.reduce_max(a["self"], axes or range(len(a["self"].shape)), a["keepdim"])


def _cat(reader: _Reader, a: Arguments) -> Live:
    return reader.graph.concat([reader.operand(t) for t in a["tensors"]], int(a["dim"]))


def _stack(reader: _Reader, a: Arguments) -> Live:
    parts = [reader.operand(t) for t in a["tensors"]]
    axis = int(a["dim"]) % (len(parts[0].shape) + 1)
    wide = []
    for part in parts:
        shape = (*part.shape[:axis], 1, *part.shape[axis:])
        wide.append(
            reader.graph.reshape(part, shape) if isinstance(part, Live) else part.reshape(shape)
        )
    return reader.graph.concat(wide, axis)


def _pad(reader: _Reader, a: Arguments) -> Live:
    x, pads = a["self"], [int(p) for p in a["pad"]]
    if a.get("mode", "constant") not in (None, "constant"):
        return reader._view(reader.torch.nn.functional.pad, [x, pads, a["mode"]], {})
    rank = len(x.shape)
    before, after = [0] * rank, [0] * rank
    for k in range(len(pads) // 2):
        before[rank - 1 - k], after[rank - 1 - k] = pads[2 * k], pads[2 * k + 1]
    return reader.graph.pad(x, before, after, float(a.get("value") or 0.0))


def _same(reader: _Reader, a: Arguments) -> Live:
    same: Live = a["self"]
    return same


def _dropout(reader: _Reader, a: Arguments) -> Live:
    if a.get("train"):
        raise InputError("is in training mode: call .eval() first")
    same: Live = a["input"]
    return same


def _to(reader: _Reader, a: Arguments) -> Live:
    kind = a.get("dtype")
    if kind is not None and not kind.is_floating_point:
        raise InputError(f"converts a computed value to {kind}, which is not piecewise linear")
    return a["self"]


HANDLERS: dict[str, Handler] = {
    "abs": lambda r, a: r.graph.abs(a["self"]),
    "adaptive_avg_pool1d": _adaptive,
    "adaptive_avg_pool2d": _adaptive,
    "adaptive_avg_pool3d": _adaptive,
    "add": _add,
    "addmm": _addmm,
    "amax": _amax,
    "avg_pool1d": _avg_pool,
    "avg_pool2d": _avg_pool,
    "avg_pool3d": _avg_pool,
    "batch_norm": _batch_norm,
    "bmm": _matmul,
    "cat": _cat,
    "clamp": _clamp,
    "clamp_max": _clamp,
    "clamp_min": _clamp,
    "constant_pad_nd": _pad,
    "conv1d": _conv,
    "conv2d": _conv,
    "conv3d": _conv,
    "conv_transpose1d": _conv_transpose,
    "conv_transpose2d": _conv_transpose,
    "conv_transpose3d": _conv_transpose,
    "div": _div,
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "hardtanh": _clamp,
    "leaky_relu": _slope,
    "linear": _linear,
    "matmul": _matmul,
    "max": _pair("max"),
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "max_pool3d": _max_pool,
    "maximum": _pair("max"),
    "mean": _reduce("mean"),
    "min": _pair("min"),
    "minimum": _pair("min"),
    "mm": _matmul,
    "mul": _mul,
    "mv": _matmul,
    "neg": lambda r, a: r.graph.neg(a["self"]),
    "pad": _pad,
    "prelu": _prelu,
    "relu": lambda r, a: r.graph.relu(a["self"]),
    "relu6": lambda r, a: r.graph.clip(a["self"], 0.0, 6.0),
    "rsub": _rsub,
    "stack": _stack,
    "sub": _sub,
    "sum": _reduce("sum"),
    "to": _to,
    "_to_copy": _to,
    "type_as": _same,
}
