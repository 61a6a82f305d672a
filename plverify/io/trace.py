"""Symbolic execution: a network file or module becomes a graph of exact nodes.

A reader calls one method of `Graph` per operation it finds. Operations that only move values about
(reshape, transpose, slice, gather, expand, split) cost nothing: a `Live` value is a shaped array of
positions in one flat tensor, and numpy moves the positions. A node is made where arithmetic
happens. `Graph.finish` folds the traced nodes (`plverify.io.fold`) into a `Network`, without
rounding.

Constants are numpy arrays of floats, taken as the dyadic rationals they are, or exact arrays. What
was traced stays available: `Graph.names` says which traced value every named tensor of the file is,
and `Graph.executed` what each traced node was in the file, so that `plverify.replay` can compare
with the program that runs the file.

Sizes are checked before anything is allocated, and all work is charged to one budget, so that a
small file cannot ask for gigabytes or minutes.

>>> graph = Graph((1, 2))
>>> hidden = graph.relu(graph.linear(graph.input(), [[1.0, 2.0], [0.0, -1.0]], [0.5, 0.0]))
>>> graph.finish(graph.reduce_sum(hidden, [1], False)).exact([1, 1])
[Fraction(7, 2)]
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows
from plverify.io import geometry
from plverify.io.rows import mean_rows, once, rounded_scale, weight_rows
from plverify.io.trace_base import (
    Constant,
    Elementwise,
    Executed,
    Live,
    Value,
    as_exact,
    broadcast,
    fits,
    normal_axis,
)
from plverify.nodes import Conv, Dense, Max, Sparse

__all__ = ["Constant", "Executed", "Graph", "Live", "Value", "as_exact"]

BATCH_NORM = (
    "the scale of a batch normalisation is the float64 nearest to gamma / sqrt(variance + eps), "
    "its shift is beta - scale * mean exactly"
)

_SMALL = 4096
"""Matrix products of several rows become a dense matrix up to this many entries."""

Ints = Sequence[int]


class Graph(Elementwise):
    """A network as it is traced; see the module's description.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one input, batch dimension (of size 1) included.
    dtype : numpy float type
        Element type in which the file's program computes; `plverify.replay` bounds its rounding.
    max_entries : int
        Most entries of all tables of numbers and positions together.

    Attributes
    ----------
    nodes : list of nodes
        As traced; node ``k`` makes tensor ``k + 1``, tensor 0 is the flattened input.
    sizes : list of int
        Size of every tensor.
    executed : list of Executed
        One per node.
    names : dict of str to Live
        Every tensor of the file that was traced.
    definitions : list of str
        Sentences for `Network.definitions`.
    outputs : tuple of str
        Which of the names, one after the other, are the network's outputs.
    """

    # ----------------------------------------------------------------- matrices

    def matmul(self, a: Value, b: Value) -> Live:
        """``a @ b`` as numpy has it; one side is constant."""
        if isinstance(a, Live) and isinstance(b, Live):
            raise InputError("multiplies two computed values: that is not piecewise linear")
        if isinstance(a, Live):
            x, weight = a, as_exact(b)
        elif isinstance(b, Live):
            x, weight = b, as_exact(a)
        else:
            raise InputError("has no computed input")
        pair = (x.shape, weight.shape) if x is a else (weight.shape, x.shape)
        if not x.shape or not weight.shape:
            raise InputError(f"multiplies shapes {pair[0]} and {pair[1]}")
        live, table = x.index, weight.data
        vector, flat = live.ndim == 1, table.ndim == 1
        # The other order is this one, transposed: x' W'.
        if vector:
            live = live[None]
        elif x is b:
            live = live.swapaxes(-1, -2)
        if flat:
            table = table[:, None]
        elif x is b:
            table = table.swapaxes(-1, -2)
        if live.shape[-1] != table.shape[-2]:
            raise InputError(f"multiplies shapes {pair[0]} and {pair[1]}, which do not fit")
        out = self._product(Live(x.tensor, live), table, weight.name)
        index = out.index
        if x is b and not (vector or flat):
            index = index.swapaxes(-1, -2)
        if flat:
            index = index[..., 0]
        if vector:
            index = index[..., 0, :] if not flat else index[..., 0]
        return Live(out.tensor, index)

    def _product(self, x: Live, table: Any, name: str) -> Live:
        """``x @ table`` for shapes (..., m, k) and (..., k, n)."""
        (*own, m, k), (*given, _, n) = x.shape, table.shape
        batch = broadcast(own, given)
        if not prod((*batch, m, k, n)):
            raise InputError(f"multiplies empty shapes {x.shape} and {table.shape}")
        groups = prod(batch) if prod(given) > 1 else 1
        lines = prod(batch) * m // groups
        self._charge(0, groups * k * n)
        x = self.expand(x, (*batch, m, k))
        out_shape = (*batch, m, n)
        if groups == 1:
            weight = table.reshape(k, n).T
            if lines == 1:
                return self.dense(x, ExactArray(weight, name), None, out_shape)
            if lines * lines * k * n <= _SMALL and table.dtype != object:
                self._charge(0, lines * lines * k * n)
                block = np.kron(np.eye(lines), weight)
                return self.dense(x, ExactArray(block, name), None, out_shape, terms=k)
        else:
            spread = np.broadcast_to(table, (*batch, k, n))
            weight = spread.reshape(groups, k, n).transpose(0, 2, 1).reshape(groups * n, k)
        # Many rows with one matrix: a convolution whose positions are the rows.
        columns = x.index.reshape(groups, lines, k).transpose(0, 2, 1)
        source = self.whole(Live(x.tensor, columns))
        taps = np.arange(lines, dtype=np.int32)[None]
        rows = weight_rows(ExactArray(weight, name), None)
        made = self.emit(Conv(source, groups * k, lines, groups, taps, rows), (groups, n, lines), k)
        return Live(made.tensor, made.index.transpose(0, 2, 1).reshape(out_shape))

    def dense(
        self,
        x: Live,
        weight: ExactArray,
        bias: ExactArray | None,
        shape: Sequence[int] | None = None,
        terms: int | None = None,
    ) -> Live:
        """``W x + b`` for the flattened ``x``, as a value of the given shape."""
        m, n = weight.shape
        node = Dense(self.whole(x), weight_rows(weight, bias))
        return self.emit(node, (m,) if shape is None else shape, n if terms is None else terms)

    def linear(
        self,
        x: Live,
        weight: Constant,
        bias: Constant | None = None,
        alpha: Any = 1,
        beta: Any = 1,
    ) -> Live:
        """``alpha * x W' + beta * bias`` for a weight of shape (outputs, inputs)."""
        table = as_exact(weight)
        if len(table.shape) != 2 or not x.shape or x.shape[-1] != table.shape[1]:
            raise InputError(f"a weight of shape {table.shape} does not fit {x.shape}")
        lead, out = x.shape[:-1], table.shape[0]
        one, factor = Fraction(alpha), Fraction(beta)
        offset = None if bias is None else as_exact(bias)
        if offset is not None:
            offset = self.product(offset, factor)
        if offset is not None and not fits(offset.shape, (*lead, out)):
            raise InputError(f"a bias of shape {offset.shape} does not fit {(*lead, out)}")
        if prod(lead) == 1 and one == 1 and 0 not in table.shape:
            vector = None
            if offset is not None:
                vector = ExactArray(
                    np.broadcast_to(offset.data, (*lead, out)).reshape(out), offset.name
                )
            self._charge(0, table.data.size)
            terms = table.shape[1] + (factor != 1)
            return self.dense(x, table, vector, (*lead, out), terms)
        product = self._product(self._at_least_matrix(x), table.data.T, table.name)
        result = Live(product.tensor, product.index.reshape((*lead, out)))
        if one != 1:
            result = self.affine(result, ExactArray([one]).reshape(), 0, terms=1)
        return result if offset is None else self.affine(result, 1, offset)

    def _at_least_matrix(self, x: Live) -> Live:
        return x if len(x.shape) > 1 else Live(x.tensor, x.index[None])

    # ------------------------------------------------------------- convolutions

    def conv(
        self,
        x: Live,
        weight: Constant,
        bias: Constant | None,
        strides: Ints,
        pads_before: Ints,
        pads_after: Ints,
        dilations: Ints,
        groups: int = 1,
    ) -> Live:
        """A convolution of (batch, channels, ...), weight (kernels, channels / groups, ...)."""
        table = as_exact(weight)
        kernels, inner, *kernel = _weight_shape(table)
        batch, channels, *spatial = self._conv_shape(x, len(kernel), groups)
        if inner * groups != channels or kernels % groups:
            raise InputError(
                f"a weight of shape {table.shape} with {groups} groups does not fit {x.shape}"
            )
        shape, taps = geometry.windows(spatial, kernel, strides, pads_before, pads_after, dilations)
        rows = self._kernel(table.reshape(kernels, -1), bias, kernels)
        return self._convolve(x, batch, taps, groups, rows, (kernels, *shape))

    def conv_transpose(
        self,
        x: Live,
        weight: Constant,
        bias: Constant | None,
        strides: Ints,
        pads_before: Ints,
        pads_after: Ints,
        output_padding: Ints,
        dilations: Ints,
        groups: int = 1,
    ) -> Live:
        """A transposed convolution with a weight (channels, kernels / groups, ...)."""
        table = as_exact(weight)
        given, inner, *kernel = _weight_shape(table)
        batch, channels, *spatial = self._conv_shape(x, len(kernel), groups)
        if given != channels:
            raise InputError(f"a weight of shape {table.shape} does not fit {x.shape}")
        shape, taps = geometry.transposed_windows(
            spatial, kernel, strides, pads_before, pads_after, output_padding, dilations
        )
        kernels = inner * groups
        split = table.data.reshape(groups, channels // groups, inner, prod(kernel))
        flat = split.transpose(0, 2, 1, 3).reshape(kernels, -1)
        rows = self._kernel(ExactArray(flat, table.name), bias, kernels)
        return self._convolve(x, batch, taps, groups, rows, (kernels, *shape))

    def _conv_shape(self, x: Live, rank: int, groups: int) -> tuple[int, ...]:
        if len(x.shape) != rank + 2:
            raise InputError(
                f"a kernel of {rank} dimensions does not fit a value of shape {x.shape}"
            )
        if not x.size:
            raise InputError(f"reads an empty value of shape {x.shape}")
        if groups < 1 or x.shape[1] % groups:
            raise InputError(f"{groups} groups do not fit {x.shape[1]} channels")
        return x.shape

    def _kernel(self, weight: ExactArray, bias: Constant | None, kernels: int) -> ExactRows:
        self._charge(0, weight.data.size)
        offset = None if bias is None else as_exact(bias)
        if offset is not None and offset.shape != (kernels,):
            raise InputError(f"a bias of shape {offset.shape} does not fit {kernels} kernels")
        return weight_rows(weight, offset)

    def _convolve(
        self, x: Live, batch: int, taps: Any, groups: int, rows: ExactRows, shape: Ints
    ) -> Live:
        channels, positions = x.shape[1], prod(x.shape[2:])
        self._charge(2 * taps.size * batch, taps.size * batch)
        if batch > 1:
            # The images of a batch stand side by side as positions of one.
            at = (np.arange(batch, dtype=np.int64) * positions)[:, None]
            taps = np.where(taps[:, None] >= 0, taps[:, None] + at, -1)
            taps = taps.reshape(len(taps), -1).astype(np.int32)
            x = Live(x.tensor, x.index.swapaxes(0, 1))
        node = Conv(self.whole(x), channels, batch * positions, groups, taps, rows)
        made = self.emit(node, (shape[0], batch, *shape[1:]), node.terms)
        return Live(made.tensor, made.index.swapaxes(0, 1))

    def batch_norm(
        self,
        x: Live,
        gamma: Constant,
        beta: Constant,
        mean: Constant,
        variance: Constant,
        eps: Any,
    ) -> Live:
        """Normalisation per channel with fixed statistics; see `BATCH_NORM`."""
        if len(x.shape) < 2:
            raise InputError(f"normalises a value of shape {x.shape}, which has no channels")
        channels = x.shape[1]
        columns = []
        for what, values in (
            ("scale", gamma),
            ("bias", beta),
            ("mean", mean),
            ("variance", variance),
        ):
            table = as_exact(values)
            if table.shape != (channels,):
                raise InputError(f"its {what} has shape {table.shape}, expected ({channels},)")
            columns.append(table.fractions().tolist())
        self._charge(4096 * channels)
        scale, shift, extra = [], [], []
        for c, (g, b, m, v) in enumerate(zip(*columns, strict=True)):
            try:
                s = rounded_scale(g, v, eps)
                extra.append(abs(float(b)) + abs(float(s * m)))
            except (ValueError, OverflowError) as error:
                raise InputError(f"channel {c}: {error}") from None
            scale.append(s)
            shift.append(b - s * m)
        self.define(BATCH_NORM)
        across = (channels,) + (1,) * (len(x.shape) - 2)
        return self.affine(
            x,
            ExactArray(np.array([float(s) for s in scale])).reshape(*across),
            ExactArray(shift).reshape(*across),
            terms=12,
            extra=np.array(extra).reshape(across),
        )

    # ------------------------------------------------------------------ pooling

    def max_pool(
        self,
        x: Live,
        kernel: Ints,
        strides: Ints,
        pads_before: Ints,
        pads_after: Ints,
        dilations: Ints,
        ceil_mode: bool = False,
    ) -> Live:
        """Maxima over windows of (batch, channels, ...); padding counts as minus infinity."""
        shape, taps = self._windows(
            x, kernel, strides, pads_before, pads_after, dilations, ceil_mode
        )
        lead, positions = x.shape[:2], prod(x.shape[2:])
        if not (taps >= 0).any(axis=0).all():
            raise InputError("a window lies wholly in the padding")
        out = (*lead, *shape)
        if len(taps) == 1:
            return Live(x.tensor, x.index.reshape(*lead, positions)[..., taps[0]].reshape(out))
        node = Max((self.whole(x),), prod(lead), positions, taps)
        return self.emit(node, out)

    def avg_pool(
        self,
        x: Live,
        kernel: Ints,
        strides: Ints,
        pads_before: Ints,
        pads_after: Ints,
        dilations: Ints | None = None,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> Live:
        """Averages over windows; ``count_include_pad``: padding counts as zeros."""
        spread = [1] * len(kernel) if dilations is None else dilations
        spatial = x.shape[2:]
        shape, taps = self._windows(x, kernel, strides, pads_before, pads_after, spread, ceil_mode)
        if count_include_pad:
            counts = geometry.padded_counts(
                spatial, kernel, strides, pads_before, pads_after, spread, shape
            )
        else:
            counts = (taps >= 0).sum(axis=0)
        if not counts.all():
            raise InputError("a window lies wholly in the padding")
        lead, positions = x.shape[:2], prod(spatial)
        flat = x.index.reshape(prod(lead), positions)
        self._charge(8 * len(flat) * taps.size, 2 * len(flat) * taps.size)
        index = np.where(taps.T >= 0, flat[:, taps.T], -1)
        return self._average(x, index, np.tile(counts, len(flat)), (*lead, *shape))

    def _windows(
        self,
        x: Live,
        kernel: Ints,
        strides: Ints,
        before: Ints,
        after: Ints,
        dilations: Ints,
        ceil_mode: bool,
    ) -> tuple[tuple[int, ...], Any]:
        if len(x.shape) != len(kernel) + 2 or not x.size:
            raise InputError(
                f"a window of {len(kernel)} dimensions does not fit a value of shape {x.shape}"
            )
        found = geometry.windows(x.shape[2:], kernel, strides, before, after, dilations, ceil_mode)
        self._charge(2 * found[1].size, found[1].size)
        return found

    def _average(self, x: Live, index: Any, counts: Any, shape: Ints) -> Live:
        """Means (or sums, where counts are 1) of entries of ``x.tensor``; -1: nothing."""
        width = index.shape[-1]
        table = index.reshape(-1, width)
        if width == 1 and (counts == 1).all() and (table >= 0).all():
            return Live(x.tensor, table.reshape(tuple(shape)))
        rows = mean_rows(table >= 0, counts)
        node = Sparse((x.tensor,), table.astype(np.int32), rows)
        return self.emit(node, shape, width + 2)

    def global_average_pool(self, x: Live) -> Live:
        """The mean of every channel."""
        if len(x.shape) < 3:
            raise InputError(f"a value of shape {x.shape} has no spatial dimensions")
        return self.reduce_mean(x, range(2, len(x.shape)), True)

    def adaptive_avg_pool(self, x: Live, output_size: Ints) -> Live:
        """Averages over windows that split every axis into the given number of parts (torch)."""
        rank = len(output_size)
        spatial = x.shape[len(x.shape) - rank :]
        if len(x.shape) <= rank or not x.size or min(output_size, default=0) < 1:
            raise InputError(f"output size {list(output_size)} does not fit {x.shape}")
        lead = x.shape[: len(x.shape) - rank]
        starts = [[i * s // o for i in range(o)] for s, o in zip(spatial, output_size, strict=True)]
        ends = [
            [-(-(i + 1) * s // o) for i in range(o)]
            for s, o in zip(spatial, output_size, strict=True)
        ]
        kernel = [
            max(e - b for b, e in zip(first, last, strict=True))
            for first, last in zip(starts, ends, strict=True)
        ]
        entries = prod(lead) * prod(kernel) * prod(output_size)
        self._charge(16 * entries, 2 * entries)
        axes = []
        for first, last, k in zip(starts, ends, kernel, strict=True):
            reads = np.array(first) + np.arange(k)[:, None]
            axes.append(np.where(reads < np.array(last), reads, -1))
        taps = geometry.outer(axes, spatial)
        flat = x.index.reshape(prod(lead), prod(spatial))
        index = np.where(taps.T >= 0, flat[:, taps.T], -1)
        counts = np.tile((taps >= 0).sum(axis=0), len(flat))
        return self._average(x, index, counts, (*lead, *output_size))

    # --------------------------------------------------------------- reductions

    def reduce_sum(self, x: Live, axes: Ints, keepdims: bool) -> Live:
        """The sum over axes."""
        lines, shape = self._lines(x, axes, keepdims)
        self._charge(8 * x.size, 2 * x.size)
        return self._average(x, lines, np.ones(len(lines), np.int64), shape)

    def reduce_mean(self, x: Live, axes: Ints, keepdims: bool) -> Live:
        """The mean over axes, as an exact fraction."""
        lines, shape = self._lines(x, axes, keepdims)
        self._charge(8 * x.size, 2 * x.size)
        return self._average(x, lines, np.full(len(lines), lines.shape[1], np.int64), shape)

    def reduce_max(self, x: Live, axes: Ints, keepdims: bool) -> Live:
        """The maximum over axes."""
        lines, shape = self._lines(x, axes, keepdims)
        if lines.shape[1] == 1:
            return Live(x.tensor, lines.reshape(shape))
        self._charge(8 * x.size, x.size)
        taps = once(lines.T)
        return self.emit(Max((x.tensor,), 1, self.sizes[x.tensor], taps), shape)

    def _lines(self, x: Live, axes: Ints, keepdims: bool) -> tuple[Any, tuple[int, ...]]:
        """(results, entries) positions of what is reduced together, and the result's shape."""
        rank = len(x.shape)
        chosen = sorted({normal_axis(axis, rank) for axis in axes})
        kept = [axis for axis in range(rank) if axis not in chosen]
        if not x.size:
            raise InputError(f"reduces an empty value of shape {x.shape}")
        lines = x.index.transpose(kept + chosen).reshape(prod(x.shape[a] for a in kept), -1)
        if keepdims:
            return lines, tuple(1 if a in chosen else d for a, d in enumerate(x.shape))
        return lines, tuple(x.shape[a] for a in kept)


def _weight_shape(weight: ExactArray) -> tuple[int, ...]:
    if len(weight.shape) < 3 or 0 in weight.shape:
        raise InputError(f"a kernel has shape {weight.shape}")
    return weight.shape
