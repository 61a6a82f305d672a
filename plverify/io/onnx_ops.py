"""What each ONNX operator does to a symbolic value: one table, one small handler per operator.

A tensor of the graph is either a `Const` (a numpy array) or a `Live` value: an exact affine map of
the last layer's units (or of the input), with a shape. Linear operators compose with that map, a
unit operator closes the layer. To support another operator, add a handler to `HANDLERS`; it
receives the node's name, its attributes and its values, and returns the value of its output.

Every `Live` also keeps the `Step`s it went through, as executed before folding: `plverify.replay`
needs them for its float32 error bound.

Meanings are those of https://onnx.ai/onnx/operators/, opset 7 to 23.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows, FloatArray, join_columns
from plverify.network import Slopes, dyadic_slope

MAX_ENTRIES = 1 << 27
"""Most entries of one expanded matrix: one gigabyte of float64."""


@dataclass(frozen=True)
class Step:
    """One executed linear node: ``v -> scale * (matrix v) + offset``; None is identity or zero."""

    tensor: str
    matrix: FloatArray | None = None
    offset: FloatArray | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Const:
    """A tensor known when the file is read."""

    array: NDArray[Any]


@dataclass(frozen=True)
class Live:
    """An exact affine map of the flattened values at the last units (or the input).

    ``rows`` is None while that map is ``x + offset`` (``offset`` None: the identity).
    """

    shape: tuple[int, ...]
    rows: ExactRows | None = None
    offset: ExactArray | None = None
    steps: tuple[Step, ...] = ()

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def affine(self) -> ExactRows:
        """The map as canonical rows."""
        if self.rows is not None:
            return self.rows
        identity = ExactRows.identity(self.size)
        return identity if self.offset is None else identity.plus(self.offset)

    def linear(self, matrix: FloatArray, shape: tuple[int, ...], step: Step) -> Live:
        """The value multiplied by an exact matrix."""
        weight = ExactArray(matrix, step.tensor)
        zeros = ExactArray(np.zeros(len(matrix)))
        outer = ExactRows.from_array(join_columns(weight, zeros))
        if self.rows is not None:
            outer = outer.after(self.rows)
        elif self.offset is not None:
            outer = outer.shifted(self.offset)
        return Live(shape, outer, None, (*self.steps, step))

    def plus(self, offset: ExactArray, step: Step, shape: tuple[int, ...] | None = None) -> Live:
        """The value with an exact vector added."""
        steps = (*self.steps, step)
        where = self.shape if shape is None else shape
        if self.rows is not None:
            return Live(where, self.rows.plus(offset), None, steps)
        if self.offset is not None:
            offset = ExactArray(self.offset.fractions() + offset.fractions())
        return Live(where, None, offset, steps)

    def times(self, factor: Fraction) -> Live:
        """The value multiplied by an exact number (no step: the caller's step has it)."""
        if factor == 1:
            return self
        rows = self.affine()
        return replace(self, rows=rows.times([factor] * rows.rows), offset=None)


Value: TypeAlias = Const | Live


@dataclass
class Layer:
    """One closed layer: its exact map and slopes, and the tensors it was made from."""

    source: str
    rows: ExactRows
    steps: tuple[Step, ...]
    pre: str
    slopes: Slopes | None
    post: str


@dataclass
class Node:
    """One node as a handler sees it. ``layers`` collects the layers that units close."""

    name: str
    op: str
    opset: int
    attributes: dict[str, Any]
    inputs: list[Value | None]
    input_names: list[str]
    output: str
    layers: list[Layer]
    base: str

    def error(self, reason: str) -> InputError:
        """An error that names this node."""
        return InputError(f"node '{self.name}' ({self.op}): {reason}")

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def const(self, index: int, what: str) -> NDArray[Any]:
        """Input ``index``, which must be a constant."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(value, Const):
            raise self.error(f"{what} is not a constant")
        return value.array

    def weight(self, value: Value | None, index: int) -> FloatArray:
        """A constant of floats as float64 (exact), checked for NaN and infinity."""
        assert isinstance(value, Const)
        if value.array.dtype.kind != "f":
            raise self.error(f"'{self.input_names[index]}' has element type {value.array.dtype}")
        if value.array.size == 0:
            raise self.error(f"'{self.input_names[index]}' is empty, shape {value.array.shape}")
        return ExactArray(value.array, f"'{self.input_names[index]}'").data

    def live(self) -> tuple[int, Live]:
        """The only computed input and its index."""
        found = [(k, v) for k, v in enumerate(self.inputs) if isinstance(v, Live)]
        if not found:
            raise self.error("works on constants only, which is not folded here")
        if len(found) > 1:
            raise self.error("joins two computed tensors; only chains are supported")
        return found[0]


Handler: TypeAlias = Callable[[Node], Value]


# ---------------------------------------------------------------- linear nodes


def _matmul(node: Node) -> Value:
    index, live = node.live()
    weight = node.weight(node.inputs[1 - index], 1 - index)
    return _product(node, live, weight, live_first=index == 0)


def _gemm(node: Node) -> Value:
    alpha, beta = (_float_attribute(node, name, 1.0) for name in ("alpha", "beta"))
    trans_a, trans_b = (bool(node.attribute(name, 0)) for name in ("transA", "transB"))
    index, live = node.live()
    if index > 1:
        raise node.error("its C is a computed tensor; only chains are supported")
    weight = node.weight(node.inputs[1 - index], 1 - index)
    if len(live.shape) != 2 or weight.ndim != 2:
        raise node.error(f"A and B must be matrices, they are {live.shape} and {weight.shape}")
    if trans_b if index == 0 else trans_a:
        weight = weight.T
    if (trans_a if index == 0 else trans_b) and min(live.shape) > 1:
        raise node.error(f"transposes a computed tensor of shape {live.shape}")
    if trans_a if index == 0 else trans_b:
        live = replace(live, shape=live.shape[::-1])
    out = _product(node, live, weight, index == 0, alpha)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return out
    offset = _broadcast(node, node.weight(node.inputs[2], 2), out.shape)
    # One executed node is one step: C joins the step of the product.
    step = replace(out.steps[-1], offset=beta * offset)
    steps = (*out.steps[:-1], step)
    if beta == 1.0:
        exact = ExactArray(offset)
    else:
        exact = ExactArray([Fraction(beta) * v for v in ExactArray(offset).fractions()])
    return replace(out.plus(exact, step), steps=steps)


def _product(
    node: Node, live: Live, weight: FloatArray, live_first: bool, alpha: float = 1.0
) -> Live:
    """``alpha * live @ weight`` or ``alpha * weight @ live`` on row-major flattened values."""
    shape = live.shape
    if weight.ndim not in (1, 2) or not shape:
        raise node.error(f"multiplies shapes {shape} and {weight.shape}")
    inner = shape[-1] if live_first or len(shape) == 1 else shape[-2]
    if weight.shape[0 if live_first else -1] != inner:
        pair = (shape, weight.shape) if live_first else (weight.shape, shape)
        raise node.error(f"multiplies shapes {pair[0]} and {pair[1]}, which do not fit")
    if live_first:
        block = weight.reshape(inner, -1).T
        copies = live.size // inner
        matrix = _kron(node, copies, block, 1)
        out_shape = (*shape[:-1], *weight.shape[1:])
    else:
        columns = shape[-1] if len(shape) > 1 else 1
        copies = live.size // (inner * columns)
        matrix = _kron(node, copies, weight.reshape(-1, inner), columns)
        out_shape = (*shape[:-2], *weight.shape[:-1], *((columns,) if len(shape) > 1 else ()))
    matrix = np.ascontiguousarray(matrix)
    out = live.linear(matrix, out_shape, Step(node.output, matrix, None, alpha))
    return out.times(Fraction(alpha))


def _kron(node: Node, left: int, block: FloatArray, right: int) -> FloatArray:
    """``I_left x block x I_right``, refused where it would be huge."""
    if left * right == 1:
        return block
    if block.size * (left * right) ** 2 > MAX_ENTRIES:
        raise node.error(f"expands to more than {MAX_ENTRIES} matrix entries")
    return np.kron(np.kron(np.eye(left), block), np.eye(right))


def _add(node: Node) -> Value:
    index, live = node.live()
    return _shifted(node, live, node.weight(node.inputs[1 - index], 1 - index))


def _sub(node: Node) -> Value:
    index, live = node.live()
    other = node.weight(node.inputs[1 - index], 1 - index)
    if index == 0:
        return _shifted(node, live, -other)
    return _shifted(node, live.times(Fraction(-1)), other, -1.0)


def _shifted(node: Node, live: Live, other: FloatArray, scale: float = 1.0) -> Live:
    shape = np.broadcast_shapes(live.shape, other.shape) if _fits(live.shape, other.shape) else None
    if shape is None or prod(shape) != live.size:
        raise node.error(
            f"shapes {live.shape} and {other.shape}: the computed tensor must not grow"
        )
    offset = _broadcast(node, other, shape)
    return live.plus(ExactArray(offset), Step(node.output, None, offset, scale), tuple(shape))


def _fits(a: Sequence[int], b: Sequence[int]) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x == y or 1 in (x, y) for x, y in pairs)


def _broadcast(node: Node, array: FloatArray, shape: Sequence[int]) -> FloatArray:
    try:
        return np.broadcast_to(array, tuple(shape)).reshape(-1)
    except ValueError:
        raise node.error(f"a constant of shape {array.shape} does not fit {tuple(shape)}") from None


# ----------------------------------------------------------------- unit nodes


def _relu(node: Node) -> Value:
    return _units(node, (0, 0))


def _leaky_relu(node: Node) -> Value:
    alpha = _float_attribute(node, "alpha", float(np.float32(0.01)))
    return _units(node, dyadic_slope(alpha))


def _units(node: Node, slope: tuple[int, int]) -> Value:
    _, live = node.live()
    layer = Layer(
        source=node.base,
        rows=live.affine(),
        steps=live.steps,
        pre=node.input_names[0],
        slopes=(slope,) * live.size,
        post=node.output,
    )
    node.layers.append(layer)
    return Live(live.shape)


# ---------------------------------------------------------------- shape nodes


def _flatten(node: Node) -> Value:
    _, live = node.live()
    rank = len(live.shape)
    axis = int(node.attribute("axis", 1))
    if not -rank <= axis <= rank:
        raise node.error(f"axis {axis} is out of range for shape {live.shape}")
    axis += rank if axis < 0 else 0
    return replace(live, shape=(prod(live.shape[:axis]), prod(live.shape[axis:])))


def _reshape(node: Node) -> Value:
    data = node.inputs[0] if node.inputs else None
    if data is None:
        raise node.error("has no data")
    target = node.const(1, "its shape")
    if target.dtype.kind != "i" or target.ndim > 1:
        raise node.error("its shape is not a list of integers")
    source = data.shape if isinstance(data, Live) else data.array.shape
    wanted = [int(v) for v in target.reshape(-1)]
    shape = [
        source[k] if v == 0 and not node.attribute("allowzero", 0) and k < len(source) else v
        for k, v in enumerate(wanted)
    ]
    known = prod(v for v in shape if v != -1)
    if shape.count(-1) == 1 and known > 0:
        shape[shape.index(-1)] = prod(source) // known
    if min(shape, default=1) < 0 or prod(shape) != prod(source):
        raise node.error(f"cannot reshape {tuple(source)} to {tuple(wanted)}")
    if isinstance(data, Const):
        return Const(data.array.reshape(shape))
    return replace(data, shape=tuple(shape))


def _identity(node: Node) -> Value:
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise node.error("has no input")
    return value


def _dropout(node: Node) -> Value:
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is not None and not (isinstance(mode, Const) and not mode.array.any()):
        raise node.error("is in training mode")
    return _identity(node)


def _constant(node: Node) -> Value:
    given = [(k, v) for k, v in node.attributes.items() if k.startswith(("value", "sparse"))]
    if len(given) != 1:
        raise node.error("needs exactly one value")
    name, value = given[0]
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}  # type: ignore[dict-item]
    if name == "value":
        return Const(value)
    if name not in kinds:
        raise node.error(f"attribute {name} is not supported")
    return Const(np.array(value, kinds[name]))


def _float_attribute(node: Node, name: str, default: float) -> float:
    value = float(node.attribute(name, default))
    if not np.isfinite(value):
        raise node.error(f"{name} is {value}")
    return value


HANDLERS: dict[str, Handler] = {
    "Add": _add,
    "Constant": _constant,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sub": _sub,
}
