"""The nodes of a network as arrays: what each computes, in float64 and in canonical bytes.

A network is a directed acyclic graph. Tensor 0 is the input, node ``k`` makes tensor ``k + 1``, and
every tensor is a flat vector. Convolutions of any dimension, stride, padding and dilation, and
transposed ones, are one kind of node: kernel rows shared by all output positions, and a table of
*taps* that says which input position a kernel entry reads where. Pooling uses the same tables.
Whatever else is linear (sums, gathers, per-entry scales, averages) is `Sparse`. Numbers are exact;
`plverify.exact_net` has the same nodes in plain integers.

>>> from plverify.exact_array import ExactArray
>>> node = Sparse((0,), np.array([[0, 1]]), ExactRows.from_array(ExactArray([[1.0, -1.0, 0.5]])))
>>> node.apply(np.array([[3.0, 1.0]]))
array([[2.5]])
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_array import ExactRows, FloatArray
from plverify.exact_net import pack_ints
from plverify.exact_nodes import JoinedSources, OneSource

Slopes = tuple[tuple[int, int], ...]
"""One dyadic slope ``(num, shift)`` per unit of a layer."""

IndexArray = NDArray[np.int32]

MAX_SIZE = 1 << 24
"""Largest tensor."""
_CHUNK = 1 << 25
"""Most entries of a temporary array."""


class Linear(ABC):
    """What the linear nodes have in common: ``y = W x + b`` over the joined sources."""

    rows: ExactRows

    @property
    @abstractmethod
    def sources(self) -> tuple[int, ...]:
        """The tensors read, joined in this order."""

    @property
    def size(self) -> int:
        """Number of outputs."""
        return self.rows.rows

    @property
    def terms(self) -> int:
        """Most products that are summed for one output."""
        return self.rows.cols

    @cached_property
    def table(self) -> FloatArray:
        """The numbers of `rows` in float64."""
        table = self.rows.floats()
        table.flags.writeable = False
        return table

    @property
    def bias(self) -> FloatArray:
        """``b`` in float64, one entry per output."""
        return self.table[:, -1]

    def apply(self, x: FloatArray, absolute: bool = False) -> FloatArray:
        """``W x + b``, or ``|W| x + |b|``, for rows ``x`` of shape (batch, inputs)."""
        out = self.product(x, absolute)
        bias = self.bias
        out += np.abs(bias) if absolute else bias
        return out

    @abstractmethod
    def product(
        self, x: FloatArray, absolute: bool = False, table: FloatArray | None = None
    ) -> FloatArray:
        """``W x``, or ``|W| x``, for rows ``x`` of shape (batch, inputs).

        With ``table`` (of the shape of `rows`) other numbers take the place of ``W``'s.
        """

    def _weights(self, absolute: bool, table: FloatArray | None) -> FloatArray:
        weights = (self.table if table is None else table)[:, :-1]
        return np.abs(weights) if absolute else weights

    @abstractmethod
    def adjoint(self, g: FloatArray, inputs: int) -> FloatArray:
        """``W' g`` for rows ``g`` of shape (batch, outputs)."""

    @abstractmethod
    def triplets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """``(output, input, entry)`` of every nonzero of ``W``, entry into the flat `rows`."""

    def matrix(self, inputs: int) -> Any:
        """``W`` as a `scipy.sparse.csr_matrix` of float64."""
        from scipy.sparse import csr_matrix

        row, col, entry = self.triplets()
        values = self.table.reshape(-1)[entry]
        return csr_matrix((values, (row, col)), shape=(self.size, inputs))


@dataclass(frozen=True, eq=False)
class Dense(OneSource, Linear):
    """A dense affine map: ``rows`` has one row per output, the bias last."""

    source: int
    rows: ExactRows

    @property
    def weight(self) -> FloatArray:
        """``W`` in float64."""
        return self.table[:, :-1]

    def product(
        self, x: FloatArray, absolute: bool = False, table: FloatArray | None = None
    ) -> FloatArray:
        """``W x``."""
        return np.asarray(x @ self._weights(absolute, table).T, np.float64)

    def adjoint(self, g: FloatArray, inputs: int) -> FloatArray:
        """``W' g``."""
        return np.asarray(g @ self.weight, np.float64)

    def triplets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """All nonzeros."""
        row, col = np.nonzero(self.rows.num[:, :-1])
        return row, col, row * (self.rows.cols + 1) + col

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack("<BIII", 1, self.source, self.rows.rows, self.rows.cols)
        return head + self.rows.to_bytes()

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse sizes that do not fit."""
        if self.rows.cols != sizes[0]:
            raise InputError(f"reads {self.rows.cols} values, {sizes[0]} are there")


@dataclass(frozen=True, eq=False)
class Conv(OneSource, Linear):
    """One kernel for all output positions: a convolution, or a transposed one.

    The input is (channels, positions) row-major, the output (kernels, P). Output channel ``o``
    belongs to group ``o // (kernels / groups)`` and reads that group's input channels.

    Attributes
    ----------
    taps : (K, P) int32 array
        Input position that kernel entry ``k`` reads for output position ``p``; -1: none (zero).
    rows : ExactRows of shape (kernels, channels / groups * K + 1)
        Kernel entries by (input channel of the group, k), then the bias.
    """

    source: int
    channels: int
    positions: int
    groups: int
    taps: IndexArray
    rows: ExactRows

    @property
    def size(self) -> int:
        """Number of outputs."""
        return self.rows.rows * self.places

    @property
    def places(self) -> int:
        """Number of output positions."""
        return int(self.taps.shape[1])

    @property
    def bias(self) -> FloatArray:
        """The kernels' biases, once per position."""
        return np.repeat(self.table[:, -1], self.places)

    @property
    def kernels(self) -> FloatArray:
        """(kernels, channels of a group, K) in float64."""
        return self._weights(False, None).reshape(self.rows.rows, -1, len(self.taps))

    @cached_property
    def _apart(self) -> list[bool]:
        """Per kernel entry, whether it reads no position twice."""
        counts = [np.bincount(taps[taps >= 0], minlength=1).max() for taps in self.taps]
        return [bool(most <= 1) for most in counts]

    def _columns(self, x: FloatArray) -> FloatArray:
        """(batch, groups, entries, P): what every kernel entry reads at every position."""
        batch, k = len(x), len(self.taps)
        wide = _with_extra(x.reshape(batch, self.channels, -1), 0.0)
        return wide[:, :, self.taps].reshape(
            batch, self.groups, self.channels // self.groups * k, self.places
        )

    def product(
        self, x: FloatArray, absolute: bool = False, table: FloatArray | None = None
    ) -> FloatArray:
        """``W x``."""
        kernel = self._weights(absolute, table).reshape(self.groups, -1, self.rows.cols)
        step = max(1, _CHUNK // (self.channels * self.taps.size))
        out = np.empty((len(x), self.size))
        for at in range(0, len(x), step):
            part = self._columns(x[at : at + step])
            out[at : at + step] = np.matmul(kernel, part).reshape(len(part), -1)
        return out

    def adjoint(self, g: FloatArray, inputs: int) -> FloatArray:
        """``W' g``."""
        kernel = self._weights(False, None).reshape(self.groups, -1, self.rows.cols)
        kernel = kernel.transpose(0, 2, 1)
        step = max(1, _CHUNK // (self.channels * self.taps.size))
        out = np.zeros((len(g), self.channels, self.positions + 1))
        for at in range(0, len(g), step):
            part = g[at : at + step].reshape(-1, self.groups, kernel.shape[2], self.places)
            spread = np.matmul(kernel, part).reshape(len(part), self.channels, -1, self.places)
            for k, places in enumerate(self.taps):
                index: Any = (slice(None), slice(None), places)
                if self._apart[k]:  # what is lost at -1 does not matter
                    out[at : at + step][index] += spread[:, :, k]
                else:
                    np.add.at(out[at : at + step], index, spread[:, :, k])
        return out[:, :, :-1].reshape(len(g), inputs)

    def triplets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """All kernel entries at all positions where they read something."""
        k, p = np.nonzero(self.taps >= 0)
        place = self.taps[k, p].astype(np.int64)
        per_group = self.channels // self.groups
        kernels = np.arange(self.rows.rows)
        first = kernels // (self.rows.rows // self.groups) * per_group
        inner = np.arange(per_group)
        row = kernels[:, None, None] * self.places + p
        col = (first[:, None, None] + inner[:, None]) * self.positions + place
        entry = kernels[:, None, None] * (self.rows.cols + 1) + inner[:, None] * len(self.taps) + k
        shape = (self.rows.rows, per_group, len(k))
        parts = [np.broadcast_to(a, shape).reshape(-1) for a in (row, col, entry)]
        live = self.rows.num.reshape(-1)[parts[2]] != 0
        return parts[0][live], parts[1][live], parts[2][live]

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        k, p = self.taps.shape
        head = struct.pack(
            "<B7I", 3, self.source, self.channels, self.positions, self.groups, k, p, self.rows.rows
        )
        return head + self.taps.astype("<i4").tobytes() + self.rows.to_bytes()

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse sizes that do not fit."""
        if self.channels < 1 or self.channels * self.positions != sizes[0]:
            raise InputError(f"reads {self.channels} channels of {sizes[0]} values")
        if self.groups < 1 or self.channels % self.groups or self.rows.rows % self.groups:
            raise InputError(f"{self.groups} groups do not fit its channels")
        if self.rows.cols != self.channels // self.groups * len(self.taps):
            raise InputError("kernel and taps do not fit")
        _check_taps(self.taps, self.positions)


@dataclass(frozen=True, eq=False)
class Sparse(JoinedSources, Linear):
    """Few terms per output: output ``i`` is ``sum_j rows[i, j] x[index[i, j]] + rows[i, w]``.

    Attributes
    ----------
    index : (m, w) int32 array
        Into the joined sources; -1 where a row has fewer terms (its coefficient is 0 there).
    rows : ExactRows of shape (m, w + 1)
    """

    parts: tuple[int, ...]
    index: IndexArray
    rows: ExactRows

    @cached_property
    def gathers(self) -> bool:
        """Whether every output is a copy of an input."""
        if self.index.shape[1] != 1 or self.rows.up is not None or self.rows.den is not None:
            return False
        num, plain = self.rows.num, not self.rows.shift.any()
        return bool(
            plain and (num[:, 0] == 1).all() and not num[:, 1].any() and self.index.min() >= 0
        )

    def product(
        self, x: FloatArray, absolute: bool = False, table: FloatArray | None = None
    ) -> FloatArray:
        """``W x``."""
        wide = _with_extra(x, 0.0)
        weight = self._weights(absolute, table)
        out = np.empty((len(x), self.size))
        step = max(1, _CHUNK // max(1, self.index.size))
        for at in range(0, len(x), step):
            taken = wide[at : at + step][:, self.index]
            out[at : at + step] = np.einsum("bmw,mw->bm", taken, weight)
        return out

    def adjoint(self, g: FloatArray, inputs: int) -> FloatArray:
        """``W' g``."""
        row, col, entry = self.triplets()
        values = self.table.reshape(-1)[entry]
        out = np.empty((len(g), inputs))
        for k, given in enumerate(g):  # scipy.sparse would do, and takes 0.2 s to import
            out[k] = np.bincount(col, weights=values * given[row], minlength=inputs)
        return out

    def triplets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """All nonzeros; a position may occur twice in a row."""
        row, j = np.nonzero((self.index >= 0) & (self.rows.num[:, :-1] != 0))
        return row, self.index[row, j].astype(np.int64), row * (self.rows.cols + 1) + j

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack(f"<BI{len(self.parts)}I", 4, len(self.parts), *self.parts)
        head += struct.pack("<II", *self.index.shape)
        return head + self.index.astype("<i4").tobytes() + self.rows.to_bytes()

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse sizes that do not fit."""
        if self.index.shape != (self.rows.rows, self.rows.cols) or not self.rows.cols:
            raise InputError(f"index {self.index.shape} does not fit its rows")
        if self.index.min() < -1 or self.index.max() >= sum(sizes):
            raise InputError(f"index is out of range for {sum(sizes)} values")
        if (self.rows.num[:, :-1][self.index < 0] != 0).any():
            raise InputError("a coefficient has no input")


@dataclass(frozen=True, eq=False)
class Units(OneSource):
    """Unit ``i`` is ``z`` where ``z > 0`` (piece 1) and ``slope_i z`` elsewhere (piece 0)."""

    source: int
    slopes: Slopes

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.slopes)

    @cached_property
    def slope(self) -> FloatArray:
        """The slopes in float64, each correctly rounded."""
        known = {s: s[0] / (1 << s[1]) for s in set(self.slopes)}
        return np.array([known[s] for s in self.slopes])

    @cached_property
    def single(self) -> NDArray[np.bool_]:
        """The units with one piece only: slope exactly 1."""
        return np.array([s == (1, 0) for s in self.slopes])

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        out = struct.pack("<BII", 2, self.source, self.size)
        out += np.array([s for _, s in self.slopes], "<u4").tobytes()
        return out + pack_ints([n for n, _ in self.slopes])

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse sizes that do not fit."""
        if self.size != sizes[0]:
            raise InputError(f"has {self.size} units for {sizes[0]} values")


@dataclass(frozen=True, eq=False)
class Max(JoinedSources):
    """Maxima over windows: a unit with one piece per input of its window.

    The joined sources are seen as (channels, positions) row-major; output (channels, P):
    ``max over k of x[c, taps[k, p]]``; -1 in ``taps`` (K, P): nothing. Piece ``k`` is the winner;
    of inputs that are the same function on the region, the first.
    """

    parts: tuple[int, ...]
    channels: int
    positions: int
    taps: IndexArray

    @property
    def size(self) -> int:
        """Number of windows."""
        return self.channels * int(self.taps.shape[1])

    @property
    def pieces(self) -> int:
        """Inputs of the largest window."""
        return len(self.taps)

    def windows(self, x: NDArray[Any], absent: Any) -> NDArray[Any]:
        """(batch, K, windows): the inputs of every window, ``absent`` where there is none."""
        wide = _with_extra(x.reshape(len(x), self.channels, self.positions), absent)
        cols = wide[:, :, self.taps]
        return np.ascontiguousarray(cols.transpose(0, 2, 1, 3)).reshape(len(x), self.pieces, -1)

    @cached_property
    def table(self) -> IndexArray:
        """(K, windows) positions in the joined sources, -1 for none."""
        base = np.arange(self.channels, dtype=np.int64)[:, None] * self.positions
        taps = self.taps[:, None, :].astype(np.int64)
        out = np.where(taps >= 0, base[None] + taps, -1)
        return out.reshape(self.pieces, -1).astype(np.int32)

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack(f"<BI{len(self.parts)}I", 5, len(self.parts), *self.parts)
        head += struct.pack("<IIII", self.channels, self.positions, *self.taps.shape)
        return head + self.taps.astype("<i4").tobytes()

    def check(self, sizes: Sequence[int]) -> None:
        """Refuse sizes that do not fit."""
        if self.channels < 1 or self.channels * self.positions != sum(sizes):
            raise InputError(f"reads {self.channels} channels of {sum(sizes)} values")
        if not 2 <= self.pieces < 1 << 16:
            raise InputError(f"its windows have {self.pieces} inputs, expected 2 to 65535")
        _check_taps(self.taps, self.positions)
        if (self.taps < 0).all(axis=0).any():
            raise InputError("a window is empty")


Node: TypeAlias = Dense | Conv | Sparse | Units | Max
AnyNode = TypeVar("AnyNode", bound=Node)


def with_sources(node: AnyNode, sources: Sequence[int]) -> AnyNode:
    """The node, reading other tensors."""
    if isinstance(node, (Sparse, Max)):
        return replace(node, parts=tuple(sources))
    return replace(node, source=sources[0])


def copies(tensors: Sequence[int], index: NDArray[np.integer[Any]]) -> Sparse:
    """A node that copies entries of joined tensors."""
    rows = ExactRows.from_integers([[1, 0]] * index.size, [1] * index.size)
    return Sparse(tuple(tensors), index.reshape(-1, 1).astype(np.int32), rows)


def _with_extra(x: NDArray[Any], value: Any) -> NDArray[Any]:
    """``x`` with one more entry at the end of its last axis, which index -1 then reads."""
    out = np.empty((*x.shape[:-1], x.shape[-1] + 1), x.dtype)
    out[..., :-1] = x
    out[..., -1] = value
    return out


def _check_taps(taps: IndexArray, positions: int) -> None:
    if taps.ndim != 2 or not taps.size:
        raise InputError("has no taps")
    if taps.min() < -1 or taps.max() >= positions:
        raise InputError(f"taps are out of range for {positions} positions")
