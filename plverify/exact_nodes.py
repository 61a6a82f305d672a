"""The nodes of the canonical exact form in plain Python integers, and their bytes.

Part of `plverify.exact_net`, which says what the form is for. Every linear node computes
``(rows . x + bias) / (2**shift * den)`` row by row over its joined sources, with canonical rows;
`Units` and `Max` are the two kinds of unit. Nothing here rounds or imports another part of the
package.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm
from operator import itemgetter, mul
from typing import Any, TypeAlias

MAX_SHIFT = 1 << 16
"""Largest accepted exponent; beyond it a few bytes of input could ask for gigabytes of integer."""
MAX_SIZE = 1 << 24
"""Largest tensor."""

Row = tuple[int, ...]
Term = tuple[tuple[int, ...], tuple[int, ...], int]
"""``(inputs, coefficients, bias)`` of one output before its denominator."""


def canonicalise_row(entries: Sequence[int], den: int) -> tuple[Row, int, int]:
    """Lowest terms of ``entries / den`` as ``(row, shift, odd den)``.

    Raises
    ------
    ValueError
        If ``den`` is not positive.

    >>> canonicalise_row([4, 6, 0], 24)
    ((2, 3, 0), 2, 3)
    >>> canonicalise_row([0, 0], 7)
    ((0, 0), 0, 1)
    """
    if den <= 0:
        raise ValueError(f"a denominator must be positive, not {den}")
    common = gcd(den, *entries)
    if common != 1:
        entries = [v // common for v in entries]
        den //= common
    shift = (den & -den).bit_length() - 1
    return tuple(entries), shift, den >> shift


def scaling_of(
    shifts: Sequence[int], dens: Sequence[int]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """``(common, parts)``; ``(row << up) * factor`` is a row over ``common``."""
    shift = max(shifts)
    den = lcm(*dens)
    parts = tuple((shift - s, den // d) for s, d in zip(shifts, dens, strict=True))
    return den << shift, parts


class OneSource:
    """A node that reads one tensor."""

    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        """The tensor read."""
        return (self.source,)


class JoinedSources:
    """A node that reads several tensors, joined end to end."""

    parts: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """The tensors read, in this order."""
        return self.parts


@dataclass(frozen=True)
class Affine(OneSource):
    """Output ``i`` is ``(sum_j rows[i][j] x_j + rows[i][cols]) / (2**shifts[i] * dens[i])``.

    Canonical rows (see `canonicalise_row`): ``dens[i]`` odd and positive, no common factor, and
    some entry odd unless the shift is 0.
    """

    source: int
    cols: int
    rows: tuple[Row, ...]
    shifts: tuple[int, ...]
    dens: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.rows)

    @cached_property
    def scaling(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """``(common, parts)``; ``(row << up) * factor`` is a row over ``common``."""
        return scaling_of(self.shifts, self.dens)

    def common_rows(self, units: Sequence[int] | None = None) -> list[Row]:
        """The rows (or some of them) over the common denominator ``scaling[0]``."""
        parts = self.scaling[1]
        chosen = range(self.size) if units is None else units
        return [tuple((v << parts[i][0]) * parts[i][1] for v in self.rows[i]) for i in chosen]

    def apply(
        self, values: Sequence[Sequence[int]], den: int, unit_level: int
    ) -> tuple[list[list[int]], int]:
        """The levels of the outputs for the levels of the joined sources."""
        common, parts = self.scaling
        pick = _active(values)
        biases = [row[-1] for row in self.rows]
        out = []
        if pick is None:
            products = [[0] * self.size for _ in values]
        else:
            rows = [pick(row) for row in self.rows]
            products = [[sum(map(mul, row, level)) for row in rows] for level in map(pick, values)]
        for k, column in enumerate(products):
            if k == unit_level:
                column = [v + b * den for v, b in zip(column, biases, strict=True)]
            out.append([(v << up) * f for v, (up, f) in zip(column, parts, strict=True)])
        return out, den * common

    def pull(self, grad: Sequence[int]) -> tuple[list[int], int]:
        """``(row, bias)`` over ``scaling[0]``: the combination ``grad`` of the outputs."""
        parts = self.scaling[1]
        active = [i for i, g in enumerate(grad) if g]
        weights = [(grad[i] << parts[i][0]) * parts[i][1] for i in active]
        columns = zip(*(self.rows[i] for i in active), strict=True)
        row = [sum(map(mul, weights, column)) for column in columns] or [0] * (self.cols + 1)
        return row[:-1], row[-1]

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack("<BIII", 1, self.source, self.size, self.cols)
        return head + _rows_bytes(self)

    def check(self, size: int) -> None:
        """Refuse what does not fit a source of ``size`` entries or is not canonical."""
        if self.cols != size:
            raise ValueError(f"has {self.cols} columns, its source has {size} entries")
        _check_rows(self, size)


class _ByTerms(ABC):
    """A linear node that knows its outputs one by one."""

    shifts: tuple[int, ...]
    dens: tuple[int, ...]

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of outputs."""

    @abstractmethod
    def term(self, i: int) -> Term:
        """Inputs, coefficients and bias of output ``i``, before its denominator."""

    @cached_property
    def scaling(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """``(common, parts)`` with one part per output; see `Affine.scaling`."""
        return scaling_of(self.shifts, self.dens)

    def apply(
        self, values: Sequence[Sequence[int]], den: int, unit_level: int
    ) -> tuple[list[list[int]], int]:
        """The levels of the outputs for the levels of the joined sources."""
        common, _ = self.scaling
        out: list[list[int]] = [[] for _ in values]
        for i in range(self.size):
            inputs, coefficients, bias = self.term(i)
            up, factor = self.part(i)
            for k, level in enumerate(values):
                total = sum(map(mul, coefficients, [level[j] for j in inputs]))
                if k == unit_level:
                    total += bias * den
                out[k].append((total << up) * factor)
        return out, den * common

    def part(self, i: int) -> tuple[int, int]:
        """The entry of ``scaling[1]`` that output ``i`` takes."""
        return self.scaling[1][i]

    def pull_into(self, grad: Sequence[int], row: list[int]) -> int:
        """Add the combination ``grad`` of the outputs to ``row``; returns its bias."""
        bias = 0
        for i, g in enumerate(grad):
            if not g:
                continue
            up, factor = self.part(i)
            weight = (g << up) * factor
            inputs, coefficients, constant = self.term(i)
            for j, c in zip(inputs, coefficients, strict=True):
                row[j] += weight * c
            bias += weight * constant
        return bias


@dataclass(frozen=True)
class Conv(OneSource, _ByTerms):
    """Kernels shared by all output positions; see `plverify.nodes.Conv`.

    ``taps[k][p]`` is the input position that kernel entry ``k`` reads for output position ``p``, or
    -1; row ``o`` of ``rows`` holds kernel ``o`` by (channel of the group, k), then the bias.
    """

    source: int
    channels: int
    positions: int
    groups: int
    taps: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    shifts: tuple[int, ...]
    dens: tuple[int, ...]

    @property
    def places(self) -> int:
        """Number of output positions."""
        return len(self.taps[0])

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.rows) * self.places

    def part(self, i: int) -> tuple[int, int]:
        """The entry of ``scaling[1]`` that output ``i`` takes."""
        return self.scaling[1][i // self.places]

    def term(self, i: int) -> Term:
        """Inputs, coefficients and bias of output ``i``."""
        kernel, place = divmod(i, self.places)
        inner = self.channels // self.groups
        first = kernel // (len(self.rows) // self.groups) * inner
        row, width = self.rows[kernel], len(self.taps)
        reads = [(k, self.taps[k][place]) for k in range(width) if self.taps[k][place] >= 0]
        inputs, coefficients = [], []
        for c in range(inner):
            base = (first + c) * self.positions
            for k, tap in reads:
                inputs.append(base + tap)
                coefficients.append(row[c * width + k])
        return tuple(inputs), tuple(coefficients), row[-1]

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        shape = (len(self.taps), self.places, len(self.rows))
        head = struct.pack(
            "<B7I", 3, self.source, self.channels, self.positions, self.groups, *shape
        )
        return head + _index_bytes(self.taps) + _rows_bytes(self)

    def check(self, size: int) -> None:
        """Refuse what does not fit a source of ``size`` entries or is not canonical."""
        if self.channels < 1 or self.channels * self.positions != size:
            raise ValueError(f"reads {self.channels} channels of a source of {size} entries")
        if self.groups < 1 or self.channels % self.groups or len(self.rows) % self.groups:
            raise ValueError(f"{self.groups} groups do not fit its channels")
        _check_index(self.taps, self.positions)
        _check_rows(self, self.channels // self.groups * len(self.taps))


@dataclass(frozen=True)
class Sparse(JoinedSources, _ByTerms):
    """Output ``i`` is ``sum_j rows[i][j] x[index[i][j]] + rows[i][-1]`` over its denominator.

    ``index`` points into the joined sources; -1 (with coefficient 0) where a row has fewer terms.
    """

    parts: tuple[int, ...]
    index: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    shifts: tuple[int, ...]
    dens: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.rows)

    def term(self, i: int) -> Term:
        """Inputs, coefficients and bias of output ``i``."""
        row = self.rows[i]
        pairs = [(j, c) for j, c in zip(self.index[i], row, strict=False) if c]
        return tuple(j for j, _ in pairs), tuple(c for _, c in pairs), row[-1]

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack(f"<BI{len(self.parts)}I", 4, len(self.parts), *self.parts)
        head += struct.pack("<II", self.size, len(self.index[0]))
        return head + _index_bytes(self.index) + _rows_bytes(self)

    def check(self, size: int) -> None:
        """Refuse what does not fit joined sources of ``size`` entries or is not canonical."""
        if len(self.index) != len(self.rows):
            raise ValueError(f"has {len(self.index)} rows of inputs for {len(self.rows)} rows")
        _check_index(self.index, size)
        _check_rows(self, len(self.index[0]))
        for i, (inputs, row) in enumerate(zip(self.index, self.rows, strict=True)):
            if any(j < 0 and c for j, c in zip(inputs, row, strict=False)):
                raise ValueError(f"row {i} has a coefficient without an input")


@dataclass(frozen=True)
class Units(OneSource):
    """Unit ``i`` is ``z`` where ``z > 0`` (piece 1) and ``slope_i z`` where ``z <= 0`` (piece 0).

    ``slopes[i] = (num, shift)`` means ``num / 2**shift``; ReLU is ``(0, 0)``. A unit of slope 1 has
    one piece only and always bit 0.
    """

    source: int
    slopes: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.slopes)

    @cached_property
    def shift(self) -> int:
        """Largest shift of a slope: the exponent by which a layer's denominator grows."""
        return max(s for _, s in self.slopes)

    @property
    def bits(self) -> int:
        """Bits of a unit in a packed pattern."""
        return 1

    def factors(self, pieces: Sequence[int]) -> list[int]:
        """Integer factor of every unit over ``2**shift``."""
        top = self.shift
        one = 1 << top
        return [
            one if piece else num << (top - s)
            for piece, (num, s) in zip(pieces, self.slopes, strict=True)
        ]

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        out = struct.pack("<BII", 2, self.source, self.size)
        out += struct.pack(f"<{self.size}I", *(s for _, s in self.slopes))
        return out + pack_ints([n for n, _ in self.slopes])

    def check(self, size: int) -> None:
        """Refuse what does not fit a source of ``size`` entries or is not canonical."""
        if self.size != size:
            raise ValueError(f"has {self.size} units, its source has {size} entries")
        for i, (num, shift) in enumerate(self.slopes):
            if not 0 <= shift <= MAX_SHIFT:
                raise ValueError(f"unit {i}: slope shift {shift} is out of range")
            if shift and num % 2 == 0:
                raise ValueError(f"unit {i} is not canonical: its slope can be reduced")


@dataclass(frozen=True)
class Max(JoinedSources):
    """Maxima over windows; a unit has one piece per input of its window.

    The joined sources are seen as (channels, positions); output (c, p) is the maximum over ``k`` of
    ``x[c][taps[k][p]]``, -1 for none. Piece ``k`` is the winner; of inputs that are one function on
    the region, the first.
    """

    parts: tuple[int, ...]
    channels: int
    positions: int
    taps: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of windows."""
        return self.channels * len(self.taps[0])

    @property
    def bits(self) -> int:
        """Bits of a unit in a packed pattern."""
        return (len(self.taps) - 1).bit_length()

    @cached_property
    def windows(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Per window, ``(piece, position in the joined sources)`` of its inputs."""
        places = range(len(self.taps[0]))
        return tuple(
            tuple((k, c * self.positions + t[p]) for k, t in enumerate(self.taps) if t[p] >= 0)
            for c in range(self.channels)
            for p in places
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes (``docs/developer.md``)."""
        head = struct.pack(f"<BI{len(self.parts)}I", 5, len(self.parts), *self.parts)
        shape = (self.channels, self.positions, len(self.taps), len(self.taps[0]))
        return head + struct.pack("<IIII", *shape) + _index_bytes(self.taps)

    def check(self, size: int) -> None:
        """Refuse what does not fit joined sources of ``size`` entries or is not canonical."""
        if self.channels < 1 or self.channels * self.positions != size:
            raise ValueError(f"reads {self.channels} channels of {size} entries")
        if not 2 <= len(self.taps) < 1 << 16:
            raise ValueError(f"windows of {len(self.taps)} inputs, expected 2 to 65535")
        _check_index(self.taps, self.positions)
        for column in zip(*self.taps, strict=True):
            taken = [t for t in column if t >= 0]
            if not taken or len(set(taken)) < len(taken):
                raise ValueError("a window is empty or lists an input twice")


LinearNode: TypeAlias = Affine | Conv | Sparse
UnitNode: TypeAlias = Units | Max
Node: TypeAlias = Affine | Units | Conv | Sparse | Max


def _active(values: Sequence[Sequence[int]]) -> Any:
    """A function that picks the columns with a nonzero level, or None if there is none."""
    active = [j for j, column in enumerate(zip(*values, strict=True)) if any(column)]
    if not active:
        return None
    if len(active) == 1:
        only = active[0]
        return lambda row: (row[only],)
    return itemgetter(*active)


def _rows_bytes(node: Affine | Conv | Sparse) -> bytes:
    shifts = struct.pack(f"<{len(node.shifts)}I", *node.shifts)
    return shifts + pack_ints(node.dens) + pack_ints([v for row in node.rows for v in row])


def _index_bytes(table: Sequence[Sequence[int]]) -> bytes:
    flat = [v for row in table for v in row]
    return struct.pack(f"<{len(flat)}i", *flat)


def _check_rows(node: Affine | Conv | Sparse, cols: int) -> None:
    if not 0 < len(node.rows) == len(node.shifts) == len(node.dens):
        raise ValueError("needs one shift and one denominator for each of its rows")
    for i, (row, shift, den) in enumerate(zip(node.rows, node.shifts, node.dens, strict=True)):
        if len(row) != cols + 1:
            raise ValueError(f"row {i} has {len(row)} entries, expected {cols + 1}")
        if not 0 <= shift <= MAX_SHIFT:
            raise ValueError(f"row {i}: shift {shift} is out of range")
        if den <= 0 or den % 2 == 0:
            raise ValueError(f"row {i}: denominator {den} is not odd and positive")
        odd = shift == 0 or any(v & 1 for v in filter(None, row))  # many entries may be 0
        reduced = odd and (den == 1 or gcd(den, *row) == 1)
        if not reduced:
            raise ValueError(f"row {i} is not canonical: it can be reduced")


def _check_index(table: Sequence[Sequence[int]], size: int) -> None:
    if not table or not table[0] or len({len(row) for row in table}) != 1:
        raise ValueError("has an empty or ragged table of inputs")
    if not all(-1 <= v < size for row in table for v in row):
        raise ValueError(f"reads outside its {size} inputs")


def pack_ints(values: Sequence[int]) -> bytes:
    """``INTS(n)`` of ``docs/developer.md``: u8 words, then two's complement little-endian."""
    low, high = min(values, default=0), max(values, default=0)
    bits = max(high.bit_length(), (~low if low < 0 else low).bit_length()) + 1
    words = (bits + 63) // 64
    if words == 1:
        return b"\x01" + struct.pack(f"<{len(values)}q", *values)
    if words > 255:
        raise ValueError(f"an integer of {bits} bits does not fit the format")
    return bytes([words]) + b"".join(v.to_bytes(8 * words, "little", signed=True) for v in values)


def unpack_ints(data: bytes, count: int) -> tuple[int, ...]:
    """The integers of ``INTS(count)`` at the start of ``data``.

    >>> unpack_ints(pack_ints((1, -2)), 2)
    (1, -2)
    """
    return Reader(data).ints(count, "integers")


class Reader:
    """Bounds-checked reader of little-endian fields."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def take(self, count: int, what: str) -> bytes:
        if count > len(self.data) - self.pos:
            raise ValueError(
                f"truncated at {what}: {count} bytes needed, {len(self.data) - self.pos} left"
            )
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u32s(self, count: int, what: str) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.take(4 * count, what))

    def ints(self, count: int, what: str) -> tuple[int, ...]:
        words = self.take(1, what)[0]
        if words == 0:
            raise ValueError(f"{what}: integers of zero words")
        data = self.take(8 * words * count, what)
        if words == 1:
            return struct.unpack(f"<{count}q", data)
        size = 8 * words
        out = tuple(
            int.from_bytes(data[i : i + size], "little", signed=True)
            for i in range(0, len(data), size)
        )
        limit = 1 << (64 * (words - 1) - 1)
        if all(-limit <= v < limit for v in out):
            raise ValueError(f"{what}: {words} words an integer, fewer would do")
        return out

    def index(self, count: int, width: int, what: str) -> tuple[tuple[int, ...], ...]:
        """A table of ``count`` rows of signed 32-bit numbers."""
        flat = struct.unpack(f"<{count * width}i", self.take(4 * count * width, what))
        return tuple(flat[i : i + width] for i in range(0, count * width, width))

    def rows(self, count: int, width: int, what: str) -> tuple[Any, Any, Any]:
        """``(rows, shifts, dens)`` of a linear node."""
        shifts = self.u32s(count, f"shifts of {what}")
        dens = self.ints(count, f"denominators of {what}")
        flat = self.ints(count * width, f"rows of {what}")
        return tuple(flat[i : i + width] for i in range(0, count * width, width)), shifts, dens

    def node(self, k: int) -> Node:
        """The next node, number ``k``."""
        name = f"node {k}"
        kind = self.take(1, "node kind")[0]
        if kind == 1:
            source, size, cols = (self.u32(name) for _ in range(3))
            return Affine(source, cols, *self.rows(size, cols + 1, name))
        if kind == 2:
            source, size = self.u32(name), self.u32(name)
            shifts = self.u32s(size, f"slope shifts of {name}")
            nums = self.ints(size, f"slopes of {name}")
            return Units(source, tuple(zip(nums, shifts, strict=True)))
        if kind == 3:
            source, channels, positions, groups, k_size, places, kernels = (
                self.u32(name) for _ in range(7)
            )
            taps = self.index(k_size, places, f"taps of {name}")
            width = channels // max(groups, 1) * k_size + 1
            rows = self.rows(kernels, width, name)
            return Conv(source, channels, positions, groups, taps, *rows)
        if kind in (4, 5):
            parts = self.u32s(self.u32(f"sources of {name}"), f"sources of {name}")
            if kind == 4:
                size, width = self.u32(name), self.u32(name)
                index = self.index(size, width, f"inputs of {name}")
                return Sparse(parts, index, *self.rows(size, width + 1, name))
            channels, positions, k_size, places = (self.u32(name) for _ in range(4))
            return Max(parts, channels, positions, self.index(k_size, places, f"taps of {name}"))
        raise ValueError(f"{name} has unknown kind {kind}")
