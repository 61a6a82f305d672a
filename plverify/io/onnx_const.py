"""Constant subgraphs of an ONNX file, evaluated with numpy when the file is read.

Exporters compute shapes (``Shape -> Gather -> Concat -> Reshape``) and sometimes weights in the
graph. Each operator is evaluated in the element type of its inputs, as the program that runs the
file does; where that may round, `ROUNDS` has the operator and the network's definitions say so.
The size of every result is checked before it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from plverify.io.onnx_node import Array, Handler, Node, Result
from plverify.io.trace_base import broadcast, normal_axis

DEFINITION = (
    "constants that the file computes are evaluated in their own element type, as numpy rounds"
)
ROUNDS = {
    "Add", "Cast", "Div", "Exp", "Gemm", "Log", "MatMul", "Mean", "Mod", "Mul", "Pow",
    "Reciprocal", "ReduceMean", "ReduceProd", "ReduceSum", "Sqrt", "Sub", "Sum",
}  # fmt: skip
DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
"""Element types by their number in the format."""
TYPE_NAMES = {8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16"}


def need(node: Node, k: int) -> Array:
    """Input ``k``, a constant that must be there."""
    value = node.constant(k, "input")
    if value is None:
        raise node.error(f"has no input {k}")
    return value


def _pairwise(function: Callable[[Any, Any], Any]) -> Handler:
    """An operator of two or more inputs that broadcast."""

    def evaluate(node: Node) -> Result:
        values = [need(node, k) for k in range(len(node.inputs))]
        if len({v.dtype for v in values}) != 1:
            raise node.error(f"mixes element types {', '.join(str(v.dtype) for v in values[:4])}")
        shape: tuple[int, ...] = ()
        for value in values:
            shape = broadcast(shape, value.shape)
        node.reserve(shape)
        out = np.asarray(reduce(function, values))
        return out if out.dtype == np.bool_ else out.astype(values[0].dtype, copy=False)

    return evaluate


def _single(function: Callable[[Any], Any]) -> Handler:
    def evaluate(node: Node) -> Result:
        value = need(node, 0)
        node.reserve(value.shape)
        return np.asarray(function(value)).astype(value.dtype, copy=False)

    return evaluate


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if (b == 0).any():
        raise ZeroDivisionError("an integer is divided by 0")
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _mod(node: Node) -> Result:
    a, b = need(node, 0), need(node, 1)
    node.reserve(broadcast(a.shape, b.shape))
    if a.dtype.kind != "f" and (b == 0).any():
        raise node.error("an integer is divided by 0")
    function = np.fmod if node.flag("fmod", 0) else np.mod
    return np.asarray(function(a, b)).astype(a.dtype, copy=False)


def _pow(node: Node) -> Result:
    base, power = need(node, 0), need(node, 1)
    node.reserve(broadcast(base.shape, power.shape))
    return np.asarray(np.power(base, power)).astype(base.dtype, copy=False)


def _mean(node: Node) -> Result:
    total = _pairwise(np.add)(node)
    assert isinstance(total, np.ndarray)
    return np.asarray(total / total.dtype.type(len(node.inputs)))


def _where(node: Node) -> Result:
    condition, a, b = (need(node, k) for k in range(3))
    node.reserve(broadcast(condition.shape, broadcast(a.shape, b.shape)))
    return np.where(condition.astype(np.bool_), a, b)


def _constant(node: Node) -> Result:
    given = [(k, v) for k, v in node.attributes.items() if k.startswith(("value", "sparse"))]
    if len(given) != 1:
        raise node.error("needs exactly one value")
    name, value = given[0]
    kinds: dict[str, Any] = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if name == "value" and isinstance(value, np.ndarray):
        return value
    if name not in kinds:
        raise node.error(f"attribute {name} is not supported")
    return np.array(value, kinds[name])


def _constant_of_shape(node: Node) -> Result:
    shape = node.list_of(0, "its shape")
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if shape is None or min(shape, default=1) < 0:
        raise node.error("has no usable shape")
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise node.error("its value is not a tensor of one entry")
    node.reserve(shape)
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _range(node: Node) -> Result:
    start, limit, step = (need(node, k) for k in range(3))
    if start.size * limit.size * step.size != 1 or not step.any():
        raise node.error("needs a start, a limit and a step that is not 0")
    first, last, by = (v.reshape(-1)[0].item() for v in (start, limit, step))
    count = max(0, int(np.ceil((last - first) / by)))
    node.reserve((count,))
    return (first + by * np.arange(count)).astype(start.dtype)


def cast(node: Node) -> Result:
    """The constant in another element type."""
    value = need(node, 0)
    dtype = DTYPES.get(node.integer("to", 0))
    if dtype is None:
        raise node.error(f"element type {node.integer('to', 0)} is not supported")
    node.reserve(value.shape)
    return value.astype(dtype)


def _concat(node: Node) -> Result:
    values = [need(node, k) for k in range(len(node.inputs))]
    if not values or not values[0].ndim or len({v.dtype for v in values}) != 1:
        raise node.error("joins nothing, scalars or different element types")
    axis = normal_axis(node.integer("axis", 0), values[0].ndim)
    shapes = [v.shape for v in values]
    if len({(len(s), *s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise node.error(f"shapes {shapes[:4]} do not fit along axis {axis}")
    total = list(shapes[0])
    total[axis] = sum(s[axis] for s in shapes)
    node.reserve(total)
    return np.concatenate(values, axis=axis)


def _pad(node: Node) -> Result:
    value = need(node, 0)
    before, after = pads(node, value.ndim)
    mode = node.text("mode", "constant")
    node.reserve([d + b + a for d, b, a in zip(value.shape, before, after, strict=True)])
    if min([*before, *after], default=0) < 0:
        raise node.error("cuts off a constant, which is not supported")
    grow = list(zip(before, after, strict=True))
    if mode != "constant":
        return np.pad(value, grow, mode=pad_mode(node, mode))
    fill = pad_value(node)
    return np.pad(value, grow, constant_values=value.dtype.type(fill.reshape(-1)[0]))


def pads(node: Node, rank: int) -> tuple[list[int], list[int]]:
    """Amounts before and after every axis."""
    given = node.integers("pads") if node.opset < 11 else node.list_of(1, "its pads")
    if given is None:
        raise node.error("has no pads")
    axes = node.list_of(3, "its axes") if node.opset >= 18 else None
    chosen = range(rank) if axes is None else [normal_axis(axis, rank) for axis in axes]
    if len(given) != 2 * len(chosen) or max(map(abs, given), default=0) > 1 << 31:
        raise node.error(f"pads {given[:16]} do not fit {rank} dimensions")
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(chosen):
        before[axis], after[axis] = given[k], given[k + len(chosen)]
    return before, after


def pad_mode(node: Node, mode: str) -> Any:
    """numpy's name of a mode that repeats entries."""
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in modes:
        raise node.error(f"mode {mode!r:.40} is not supported")
    return modes[mode]


def pad_value(node: Node) -> Array:
    """The constant that is put around a tensor, one entry."""
    if node.opset < 11:
        return np.array(node.number("value", 0.0), np.float32)
    value = node.constant(2, "its padding value")
    if value is None:
        return np.zeros((), np.float32)
    if value.size != 1:
        raise node.error(f"its padding value has shape {value.shape}")
    return value.reshape(())


def _reduce(function: Any, since: int) -> Handler:
    def evaluate(node: Node) -> Result:
        value = need(node, 0)
        axes = reduced_axes(node, value.ndim, since)
        node.reserve(value.shape)
        keep = node.flag("keepdims", 1)
        out = function(value, axis=tuple(axes), keepdims=keep)
        return np.asarray(out).astype(value.dtype, copy=False)

    return evaluate


def reduced_axes(node: Node, rank: int, since: int) -> list[int]:
    """The axes that a reduction removes."""
    axes = node.axes(since)
    if not axes:
        if axes is not None or node.opset >= since:
            return [] if node.flag("noop_with_empty_axes", 0) else list(range(rank))
        return list(range(rank))
    return sorted({normal_axis(axis, rank) for axis in axes})


def _matmul(node: Node) -> Result:
    a, b = need(node, 0), need(node, 1)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise node.error(f"multiplies shapes {a.shape} and {b.shape}, which do not fit")
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    lines = a.shape[-2] if a.ndim > 1 else 1
    shape = (*batch, lines, b.shape[-1] if b.ndim > 1 else 1)
    node.reserve(shape, prod(shape) * a.shape[-1] // 16)
    return np.asarray(a @ b)


def _gemm(node: Node) -> Result:
    a, b = need(node, 0), need(node, 1)
    c = node.constant(2, "input")
    a = a.T if node.flag("transA", 0) else a
    b = b.T if node.flag("transB", 0) else b
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise node.error(f"multiplies shapes {a.shape} and {b.shape}, which do not fit")
    node.reserve((a.shape[0], b.shape[1]), a.shape[0] * b.size // 16)
    out = a.dtype.type(node.number("alpha", 1.0)) * (a @ b)
    if c is not None:
        out = out + a.dtype.type(node.number("beta", 1.0)) * c
    return np.asarray(out).astype(a.dtype, copy=False)


def _nonzero(node: Node) -> Result:
    value = need(node, 0)
    node.reserve((value.ndim, value.size))
    return np.array(np.nonzero(value), np.int64).reshape(value.ndim, -1)


def shape_of(node: Node) -> Result:
    """The shape of a constant or computed value."""
    shape = list(node.need(0).shape)
    if node.opset >= 15:
        start, end = node.integer("start", 0), node.integer("end", len(shape))
        shape = shape[slice(start, end)]
    return np.array(shape, np.int64)


def size_of(node: Node) -> Result:
    """The number of entries of a constant or computed value."""
    return np.array(node.need(0).size, np.int64)


CONSTANTS: dict[str, Handler] = {
    "Abs": _single(np.abs),
    "Add": _pairwise(np.add),
    "And": _pairwise(np.logical_and),
    "Cast": cast,
    "Ceil": _single(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _pairwise(_divide),
    "Equal": _pairwise(np.equal),
    "Exp": _single(np.exp),
    "Floor": _single(np.floor),
    "Gemm": _gemm,
    "Greater": _pairwise(np.greater),
    "GreaterOrEqual": _pairwise(np.greater_equal),
    "Less": _pairwise(np.less),
    "LessOrEqual": _pairwise(np.less_equal),
    "Log": _single(np.log),
    "MatMul": _matmul,
    "Max": _pairwise(np.maximum),
    "Mean": _mean,
    "Min": _pairwise(np.minimum),
    "Mod": _mod,
    "Mul": _pairwise(np.multiply),
    "Neg": _single(np.negative),
    "NonZero": _nonzero,
    "Not": _single(np.logical_not),
    "Or": _pairwise(np.logical_or),
    "Pad": _pad,
    "Pow": _pow,
    "Range": _range,
    "Reciprocal": _single(np.reciprocal),
    "ReduceMax": _reduce(np.max, 18),
    "ReduceMean": _reduce(np.mean, 18),
    "ReduceMin": _reduce(np.min, 18),
    "ReduceProd": _reduce(np.prod, 18),
    "ReduceSum": _reduce(np.sum, 13),
    "Relu": _single(lambda v: np.maximum(v, 0)),
    "Shape": shape_of,
    "Size": size_of,
    "Sqrt": _single(np.sqrt),
    "Sub": _pairwise(np.subtract),
    "Sum": _pairwise(np.add),
    "Where": _where,
}
