"""Which input position a kernel entry reads where: tables of taps for convolutions and pools.

A table has one row per kernel entry and one column per output position, both row-major, and holds
input positions, or -1 for padding (`plverify.nodes.Conv`). It is an outer sum of one small table
per axis, so any number of dimensions, strides, dilations and paddings cost the same few lines.
Sizes are compared with `MAX_TAPS` before anything is allocated.

>>> shape, taps = windows((4,), (3,), (1,), (1,), (1,), (1,))
>>> shape, taps.tolist()
((4,), [[-1, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, -1]])
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError

MAX_TAPS = 1 << 24
"""Most entries of one table."""

Ints = Sequence[int]
Table = NDArray[np.int32]


def windows(
    spatial: Ints,
    kernel: Ints,
    strides: Ints,
    before: Ints,
    after: Ints,
    dilations: Ints,
    ceil_mode: bool = False,
) -> tuple[tuple[int, ...], Table]:
    """Output shape and taps of a sliding window."""
    shape = window_shape(spatial, kernel, strides, before, after, dilations, ceil_mode)
    _check_size(kernel, shape)
    axes = []
    for size, k, s, b, d, out in zip(
        spatial, kernel, strides, before, dilations, shape, strict=True
    ):
        reads = np.arange(k)[:, None] * d + np.arange(out) * s - b
        axes.append(np.where((reads >= 0) & (reads < size), reads, -1))
    return shape, outer(axes, spatial)


def padded_counts(
    spatial: Ints,
    kernel: Ints,
    strides: Ints,
    before: Ints,
    after: Ints,
    dilations: Ints,
    shape: Ints,
) -> NDArray[np.int64]:
    """How many entries of every window lie inside the padded input: what an average divides by."""
    count = np.ones(1, np.int64)
    for size, k, s, b, a, d, out in zip(
        spatial, kernel, strides, before, after, dilations, shape, strict=True
    ):
        reads = np.arange(k)[:, None] * d + np.arange(out) * s - b
        inside = ((reads >= -b) & (reads < size + a)).sum(axis=0)
        count = (count[:, None] * inside).reshape(-1)
    return count


def window_shape(
    spatial: Ints,
    kernel: Ints,
    strides: Ints,
    before: Ints,
    after: Ints,
    dilations: Ints,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Output shape of a sliding window; with ``ceil_mode`` a last window may lie partly outside."""
    _check(spatial, kernel, strides, before, after, dilations)
    shape = []
    for size, k, s, b, a, d in zip(spatial, kernel, strides, before, after, dilations, strict=True):
        room = size + b + a - ((k - 1) * d + 1)
        if room < 0:
            raise InputError(f"a window of {k} with dilation {d} does not fit {size + b + a}")
        out = (-(-room // s) if ceil_mode else room // s) + 1
        # A last window that would start behind the input is left out.
        if ceil_mode and (out - 1) * s >= size + b:
            out -= 1
        shape.append(out)
    return tuple(shape)


def transposed_windows(
    spatial: Ints,
    kernel: Ints,
    strides: Ints,
    before: Ints,
    after: Ints,
    output_padding: Ints,
    dilations: Ints,
) -> tuple[tuple[int, ...], Table]:
    """Output shape and taps of a transposed convolution.

    Input ``i`` is added to output ``i * stride - before + k * dilation`` for every kernel entry
    ``k``; read backwards, an output position gathers from at most one input position per entry.
    """
    _check(spatial, kernel, strides, before, after, dilations)
    _check_length("output_padding", output_padding, len(spatial), 0)
    shape = []
    for size, k, s, b, a, p, d in zip(
        spatial, kernel, strides, before, after, output_padding, dilations, strict=True
    ):
        out = (size - 1) * s + (k - 1) * d + 1 + p - b - a
        if out < 1:
            raise InputError(f"its padding {b}, {a} leaves no output")
        shape.append(out)
    _check_size(kernel, shape)
    axes = []
    for size, k, s, b, d, out in zip(
        spatial, kernel, strides, before, dilations, shape, strict=True
    ):
        scaled = np.arange(out) + b - np.arange(k)[:, None] * d
        reads = scaled // s
        axes.append(np.where((scaled % s == 0) & (reads >= 0) & (reads < size), reads, -1))
    return tuple(shape), outer(axes, spatial)


def same_padding(
    spatial: Ints, kernel: Ints, strides: Ints, dilations: Ints, lower: bool
) -> tuple[list[int], list[int]]:
    """Padding of ``SAME_UPPER`` or ``SAME_LOWER``: ``ceil(size / stride)`` outputs."""
    _check(spatial, kernel, strides, [0] * len(spatial), [0] * len(spatial), dilations)
    before, after = [], []
    for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        total = (-(-size // s) - 1) * s + (k - 1) * d + 1 - size
        if total < -1:
            # Some programs start at 0 then, some in the middle of what is left over.
            raise InputError(f"a window of {k} with stride {s} skips inputs under auto_pad SAME")
        total = max(total, 0)
        small, large = total // 2, total - total // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return before, after


def outer(axes: Sequence[NDArray[np.int64]], spatial: Ints) -> Table:
    """The table of all axes from one (kernel entries, positions) table each."""
    taps = np.zeros((1, 1), np.int64)
    for reads, size in zip(axes, spatial, strict=True):
        known = (taps >= 0)[:, None, :, None] & (reads >= 0)[None, :, None, :]
        joined = taps[:, None, :, None] * size + reads[None, :, None, :]
        shape = (len(taps) * len(reads), taps.shape[1] * reads.shape[1])
        taps = np.where(known, joined, -1).reshape(shape)
    return taps.astype(np.int32)


def _check(
    spatial: Ints, kernel: Ints, strides: Ints, before: Ints, after: Ints, dilations: Ints
) -> None:
    rank = len(spatial)
    if rank < 1 or min(spatial) < 1:
        raise InputError(f"has spatial shape {tuple(spatial)}")
    _check_length("kernel shape", kernel, rank, 1)
    _check_length("strides", strides, rank, 1)
    _check_length("pads", before, rank, 0)
    _check_length("pads", after, rank, 0)
    _check_length("dilations", dilations, rank, 1)


def _check_length(what: str, values: Ints, rank: int, least: int) -> None:
    if len(values) != rank or min(values) < least or max(values) > 1 << 31:
        listed = f"{list(values)[:8]}"
        raise InputError(f"{what} {listed} do not fit {rank} dimensions")


def _check_size(kernel: Ints, shape: Ints) -> None:
    entries = prod(kernel) * prod(shape)
    if entries > MAX_TAPS:
        raise InputError(
            f"{prod(kernel)} kernel entries at {prod(shape)} positions: more than {MAX_TAPS}"
        )
