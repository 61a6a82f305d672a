"""ONNX operators that only move entries about, for constants and computed values alike.

Each handler works on a numpy array: the constant itself, or the positions of a computed value.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import numpy as np

from plverify.io.onnx_node import Array, Node
from plverify.io.trace_base import broadcast, normal_axis, resolve_shape

View: TypeAlias = Callable[[Node, Array], "Array | list[Array]"]


def _identity(node: Node, array: Array) -> Array:
    return array


def _dropout(node: Node, array: Array) -> Array:
    mode = node.constant(2, "its training mode")
    if mode is not None and mode.any():
        raise node.error("is in training mode; export the model in inference mode")
    return array


def _flatten(node: Node, array: Array) -> Array:
    rank = array.ndim
    axis = node.integer("axis", 1)
    if not -rank <= axis <= rank:
        raise node.error(f"axis {axis} is out of range for shape {array.shape}")
    axis += rank if axis < 0 else 0
    return array.reshape(prod(array.shape[:axis]), prod(array.shape[axis:]))


def _reshape(node: Node, array: Array) -> Array:
    wanted = node.list_of(1, "its shape")
    if wanted is None:
        raise node.error("has no shape")
    keep = not node.flag("allowzero", 0)
    shape = [
        array.shape[k] if v == 0 and keep and k < array.ndim else v for k, v in enumerate(wanted)
    ]
    found = resolve_shape(shape, array.size)
    if found is None:
        raise node.error(f"cannot reshape {array.shape} to {tuple(wanted[:16])}")
    return array.reshape(found)


def _transpose(node: Node, array: Array) -> Array:
    perm = node.integers("perm")
    if perm is None:
        return array.transpose()
    if sorted(perm) != list(range(array.ndim)):
        raise node.error(f"perm {perm[:16]} does not fit shape {array.shape}")
    return array.transpose(perm)


def _squeeze(node: Node, array: Array) -> Array:
    axes = node.axes(13)
    if axes is None:
        chosen = [k for k, d in enumerate(array.shape) if d == 1]
    else:
        chosen = sorted({normal_axis(axis, array.ndim) for axis in axes})
    if any(array.shape[k] != 1 for k in chosen):
        raise node.error(f"axes {axes} of shape {array.shape} are not all 1")
    return array.reshape([d for k, d in enumerate(array.shape) if k not in chosen])


def _unsqueeze(node: Node, array: Array) -> Array:
    axes = node.axes(13)
    if axes is None or array.ndim + len(axes) > 16:
        raise node.error("has no axes" if axes is None else f"has {len(axes)} axes")
    rank = array.ndim + len(axes)
    chosen = {normal_axis(axis, rank) for axis in axes}
    if len(chosen) != len(axes):
        raise node.error(f"names an axis twice: {axes}")
    rest = iter(array.shape)
    return array.reshape([1 if k in chosen else next(rest) for k in range(rank)])


def _slice(node: Node, array: Array) -> Array:
    if node.opset < 10:
        starts, ends, axes = (node.integers(name) for name in ("starts", "ends", "axes"))
        steps = None
    else:
        starts, ends = node.list_of(1, "its starts"), node.list_of(2, "its ends")
        axes, steps = node.list_of(3, "its axes"), node.list_of(4, "its steps")
    if starts is None or ends is None:
        raise node.error("has no starts or ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error("its starts, ends, axes and steps do not fit")
    item = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        item[normal_axis(axis, array.ndim)] = slice(start, end, step)
    return array[tuple(item)]


def _split(node: Node, array: Array) -> list[Array]:
    axis = normal_axis(node.integer("axis", 0), array.ndim)
    size, count = array.shape[axis], len(node.outputs)
    sizes = node.list_of(1, "its split") if node.opset >= 13 else node.integers("split")
    if sizes is None:
        if node.opset >= 18 and node.integer("num_outputs", count) != count:
            raise node.error(f"has {count} outputs, num_outputs is another number")
        if node.opset < 18 and size % count:
            raise node.error(f"cannot split {size} entries into {count} equal parts")
        chunk = -(-size // count)
        sizes = [chunk] * (count - 1) + [size - chunk * (count - 1)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != size:
        raise node.error(f"parts {sizes[:16]} do not fit {size} entries and {count} outputs")
    ends = np.cumsum(sizes)[:-1]
    return [np.asarray(part) for part in np.split(array, ends, axis=axis)]


def _gather(node: Node, array: Array) -> Array:
    index = node.constant(1, "its index")
    if index is None or index.dtype.kind not in "iu":
        raise node.error("its indices are not integers")
    axis = normal_axis(node.integer("axis", 0), array.ndim)
    size = array.shape[axis]
    if index.size and not (-size <= int(index.min()) and int(index.max()) < size):
        raise node.error(f"an index is out of range for {size} entries along axis {axis}")
    node.reserve((*array.shape[:axis], *index.shape, *array.shape[axis + 1 :]))
    return np.asarray(np.take(array, index.astype(np.int64), axis=axis))


def _expand(node: Node, array: Array) -> Array:
    wanted = node.list_of(1, "its shape")
    if wanted is None or min(wanted, default=1) < 0:
        raise node.error("has no usable shape")
    shape = broadcast(array.shape, wanted)
    node.reserve(shape)
    return np.broadcast_to(array, shape)


def _tile(node: Node, array: Array) -> Array:
    repeats = node.list_of(1, "its repeats")
    if repeats is None or len(repeats) != array.ndim or min(repeats, default=1) < 0:
        raise node.error(f"its repeats do not fit shape {array.shape}")
    node.reserve([d * r for d, r in zip(array.shape, repeats, strict=True)])
    return np.tile(array, repeats)


def _depth_to_space(node: Node, array: Array) -> Array:
    block = node.integer("blocksize", 0)
    if array.ndim != 4 or block < 1 or array.shape[1] % (block * block):
        raise node.error(f"blocks of {block} do not fit shape {array.shape}")
    n, c, h, w = array.shape
    if node.text("mode", "DCR") == "DCR":
        parts = array.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = array.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(node: Node, array: Array) -> Array:
    block = node.integer("blocksize", 0)
    if array.ndim != 4 or block < 1 or array.shape[2] % block or array.shape[3] % block:
        raise node.error(f"blocks of {block} do not fit shape {array.shape}")
    n, c, h, w = array.shape
    parts = array.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


VIEWS: dict[str, View] = {
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
