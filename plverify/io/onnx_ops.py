"""What each ONNX operator does to a computed value: one table, one small handler per operator.

A handler receives an `plverify.io.onnx_node.Node` and returns the value of its output (or a list,
one per output). Operators that only move entries about are in `plverify.io.onnx_views`, operators
whose inputs are all constant in `plverify.io.onnx_const`. To support another operator, add a
handler here that says it in terms of `plverify.io.trace.Graph`.

Meanings are those of https://onnx.ai/onnx/operators/, opset 7 to 23.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from plverify.exact_array import ExactArray
from plverify.io import geometry
from plverify.io.onnx_const import pad_mode, pad_value, pads, reduced_axes, shape_of, size_of
from plverify.io.onnx_node import Handler, Node, Result
from plverify.io.trace import Live

FLOAT_TYPES: dict[int, Any] = {1: np.float32, 10: np.float16, 11: np.float64}

# ---------------------------------------------------------------- linear nodes


def _add(node: Node) -> Result:
    return node.graph.add(node.operand(0), node.operand(1))


def _sub(node: Node) -> Result:
    return node.graph.sub(node.operand(0), node.operand(1))


def _mul(node: Node) -> Result:
    return node.graph.mul(node.operand(0), node.operand(1))


def _div(node: Node) -> Result:
    return node.graph.div(node.operand(0), node.operand(1))


def _neg(node: Node) -> Result:
    return node.graph.neg(node.live())


def _sum(node: Node) -> Result:
    return node.graph.sum(node.operands())


def _mean(node: Node) -> Result:
    total = node.graph.sum(node.operands())
    return node.graph.div(total, ExactArray(float(len(node.inputs))))


def _matmul(node: Node) -> Result:
    return node.graph.matmul(node.operand(0), node.operand(1))


def _gemm(node: Node) -> Result:
    graph = node.graph
    alpha, beta = Fraction(node.number("alpha", 1.0)), Fraction(node.number("beta", 1.0))
    sides = []
    for k, flag in enumerate(("transA", "transB")):
        side = node.operand(k)
        if len(side.shape) != 2:
            raise node.error(f"A and B must be matrices, {'AB'[k]} has shape {side.shape}")
        if node.flag(flag, 0):
            if isinstance(side, Live):
                side = graph.transpose(side, [1, 0])
            else:
                side = ExactArray(side.data.T, side.name)
        sides.append(side)
    a, b = sides
    c = None if node.get(2) is None else node.operand(2)
    if isinstance(a, Live) and isinstance(b, ExactArray) and not isinstance(c, Live):
        if a.shape[1] != b.shape[0]:
            raise node.error(f"multiplies shapes {a.shape} and {b.shape}, which do not fit")
        return graph.linear(a, ExactArray(b.data.T, b.name), c, alpha, beta)
    out = graph.matmul(a, b)
    if alpha != 1:
        out = graph.mul(out, ExactArray([alpha]).reshape())
    if c is None:
        return out
    if beta != 1:
        if isinstance(c, Live):
            c = graph.mul(c, ExactArray([beta]).reshape())
        else:
            c = graph.product(c, beta)
    shape = out.shape
    out = graph.add(out, c)
    if out.shape != shape:
        raise node.error(f"C of shape {c.shape} does not fit {shape}")
    return out


def _window(
    node: Node, spatial: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Strides, pads before and after, dilations."""
    rank = len(spatial)
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        lower = auto == "SAME_LOWER"
        before, after = geometry.same_padding(spatial, kernel, strides, dilations, lower)
        return strides, before, after, dilations
    amounts = node.integers("pads") or [0] * (2 * rank)
    if auto == "VALID":
        amounts = [0] * (2 * rank)
    elif auto != "NOTSET":
        raise node.error(f"auto_pad {auto!r:.40} is not supported")
    if len(amounts) != 2 * rank:
        raise node.error(f"pads {amounts[:16]} do not fit {rank} dimensions")
    return strides, amounts[:rank], amounts[rank:], dilations


def _conv_parts(node: Node) -> tuple[Live, ExactArray, ExactArray | None, list[int]]:
    x, weight = node.live(), node.weight(1)
    bias = None if node.get(2) is None else node.weight(2)
    kernel = list(weight.shape[2:])
    if node.integers("kernel_shape") not in (None, kernel):
        raise node.error(f"kernel_shape {node.integers('kernel_shape')} is not {kernel}")
    if len(x.shape) != len(weight.shape) or len(kernel) < 1:
        raise node.error(f"a weight of shape {weight.shape} does not fit {x.shape}")
    return x, weight, bias, kernel


def _conv(node: Node) -> Result:
    x, weight, bias, kernel = _conv_parts(node)
    strides, before, after, dilations = _window(node, x.shape[2:], kernel)
    groups = node.integer("group", 1)
    return node.graph.conv(x, weight, bias, strides, before, after, dilations, groups)


def _conv_transpose(node: Node) -> Result:
    x, weight, bias, kernel = _conv_parts(node)
    rank, spatial = len(kernel), x.shape[2:]
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    more = node.integers("output_padding") or [0] * rank
    auto = node.text("auto_pad", "NOTSET")
    wanted = node.integers("output_shape")
    if not len(strides) == len(dilations) == len(more) == rank:
        raise node.error(f"its attributes do not fit {rank} dimensions")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [d * s for d, s in zip(spatial, strides, strict=True)]
    if wanted is not None:
        before, after = [], []
        wanted = wanted[-rank:]
        if len(wanted) != rank:
            raise node.error(f"output_shape {wanted} does not fit {rank} dimensions")
        for d, k, s, e, p, w in zip(spatial, kernel, strides, dilations, more, wanted, strict=True):
            total = (d - 1) * s + p + (k - 1) * e + 1 - w
            if total < 0:
                # The format leaves open where surplus output goes; it would have to be zeros.
                raise node.error(f"output_shape {wanted} is larger than what the kernel reaches")
            half = total // 2
            before.append(half if auto == "SAME_UPPER" else total - half)
            after.append(total - half if auto == "SAME_UPPER" else half)
    else:
        _, before, after, _ = _window(node, spatial, kernel)
    groups = node.integer("group", 1)
    return node.graph.conv_transpose(
        x, weight, bias, strides, before, after, more, dilations, groups
    )


def _batch_norm(node: Node) -> Result:
    if node.flag("training_mode", 0) or len([n for n in node.outputs if n]) > 1:
        raise node.error("is in training mode; export the model in inference mode")
    if not node.flag("spatial", 1):
        raise node.error("spatial = 0 is not supported")
    eps = node.number("epsilon", float(np.float32(1e-5)))
    gamma, beta, mean, variance = (node.weight(k) for k in range(1, 5))
    return node.graph.batch_norm(node.live(), gamma, beta, mean, variance, Fraction(eps))


# -------------------------------------------------------------------- pooling


def _kernel_shape(node: Node, x: Live) -> list[int]:
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) != len(x.shape) - 2 or not kernel:
        raise node.error(f"kernel_shape {kernel} does not fit a value of shape {x.shape}")
    return kernel


def _max_pool(node: Node) -> Result:
    x = node.live()
    kernel = _kernel_shape(node, x)
    strides, before, after, dilations = _window(node, x.shape[2:], kernel)
    ceil_mode = node.flag("ceil_mode", 0)
    return node.graph.max_pool(x, kernel, strides, before, after, dilations, ceil_mode)


def _average_pool(node: Node) -> Result:
    x = node.live()
    kernel = _kernel_shape(node, x)
    strides, before, after, dilations = _window(node, x.shape[2:], kernel)
    return node.graph.avg_pool(
        x,
        kernel,
        strides,
        before,
        after,
        dilations,
        node.flag("ceil_mode", 0),
        node.flag("count_include_pad", 0),
    )


def _global_average_pool(node: Node) -> Result:
    return node.graph.global_average_pool(node.live())


def _global_max_pool(node: Node) -> Result:
    x = node.live()
    return node.graph.reduce_max(x, range(2, len(x.shape)), True)


# ------------------------------------------------------------------ reductions


def _reduce_sum(node: Node) -> Result:
    axes, keep = _reduction(node, 13)
    return node.graph.reduce_sum(node.live(), axes, keep)


def _reduce_mean(node: Node) -> Result:
    axes, keep = _reduction(node, 18)
    return node.graph.reduce_mean(node.live(), axes, keep)


def _reduce_max(node: Node) -> Result:
    axes, keep = _reduction(node, 18)
    return node.graph.reduce_max(node.live(), axes, keep)


def _reduce_min(node: Node) -> Result:
    axes, keep = _reduction(node, 18)
    negative = node.graph.neg(node.live())
    return node.graph.neg(node.graph.reduce_max(negative, axes, keep))


def _reduction(node: Node, since: int) -> tuple[list[int], bool]:
    axes = reduced_axes(node, len(node.live().shape), since)
    return axes, node.flag("keepdims", 1)


# ----------------------------------------------------------------- unit nodes


def _relu(node: Node) -> Result:
    return node.graph.relu(node.live())


def _leaky_relu(node: Node) -> Result:
    return node.graph.leaky_relu(node.live(), node.number("alpha", float(np.float32(0.01))))


def _prelu(node: Node) -> Result:
    return node.graph.prelu(node.live(), node.weight(1))


def _abs(node: Node) -> Result:
    return node.graph.abs(node.live())


def _clip(node: Node) -> Result:
    bounds = []
    for k, name, nothing in ((1, "min", -np.inf), (2, "max", np.inf)):
        if node.opset < 11:
            value = node.attributes.get(name, nothing)
            if not isinstance(value, float):
                raise node.error(f"attribute {name} is not a float")
            # Without a bound of its own the attribute form has the largest float32.
            limit = float(np.finfo(np.float32).max)
            value = nothing if abs(value) == limit and (value > 0) == (nothing > 0) else value
            bounds.append(ExactArray(value, name, allow_inf=True))
        elif node.get(k) is None:
            bounds.append(ExactArray(nothing, name, allow_inf=True))
        else:
            bound = node.weight(k, allow_inf=True)
            if bound.data.size != 1:
                raise node.error(f"its {name} has shape {bound.shape}, expected a scalar")
            bounds.append(ExactArray(bound.data.reshape(()), bound.name, allow_inf=True))
    return node.graph.clip(node.live(), bounds[0], bounds[1])


def _max(node: Node) -> Result:
    return node.graph.maximum(*node.operands())


def _min(node: Node) -> Result:
    return node.graph.minimum(*node.operands())


# ---------------------------------------------------------------- moving about


def _concat(node: Node) -> Result:
    parts = [
        value if isinstance(value := node.need(k), Live) or value.size == 0 else node.weight(k)
        for k in range(len(node.inputs))
    ]
    return node.graph.concat(parts, node.integer("axis", 1))


def _pad(node: Node) -> Result:
    x = node.live()
    before, after = pads(node, len(x.shape))
    mode = node.text("mode", "constant")
    if mode == "constant":
        value = pad_value(node)
        if value.dtype.kind != "f":
            raise node.error(f"its padding value has element type {value.dtype}")
        return node.graph.pad(x, before, after, ExactArray(value, "its padding value"))
    if min([*before, *after]) < 0:
        raise node.error(f"cuts off in mode {mode}, which is not supported")
    grow = list(zip(before, after, strict=True))
    for size, amounts in zip(x.shape, grow, strict=True):
        if max(amounts) > (0 if not size else 1 << 24 if mode == "edge" else size - 1):
            raise node.error(f"pads {before}, {after} do not fit {x.shape} in mode {mode}")
    node.reserve([d + b + a for d, (b, a) in zip(x.shape, grow, strict=True)])
    return node.graph.view(x, np.pad(x.index, grow, mode=pad_mode(node, mode)))


def _cast(node: Node) -> Result:
    x = node.live()
    to = node.integer("to", 0)
    dtype = FLOAT_TYPES.get(to)
    if dtype is None:
        raise node.error("casts a computed value to a type other than float16, float32, float64")
    if np.dtype(dtype).itemsize >= np.dtype(node.graph.dtype).itemsize:
        return x
    # A rounding in the file, so a node of its own there; in exact arithmetic it is no operation.
    rounded = node.graph.affine(x, 1, 0, terms=1)
    node.graph.executed[-1].dtype = dtype
    return rounded


HANDLERS: dict[str, Handler] = {
    "Abs": _abs,
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _div,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Max": _max,
    "MaxPool": _max_pool,
    "Mean": _mean,
    "Min": _min,
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceMin": _reduce_min,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Shape": shape_of,
    "Size": size_of,
    "Sub": _sub,
    "Sum": _sum,
}
