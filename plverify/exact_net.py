"""The canonical exact form of a network: plain Python integers, nothing else.

A network here is one exact continuous piecewise-linear function. Its canonical form
(``docs/developer.md``) stores every affine row as integers over ``2**shift * den`` and every unit
by the dyadic slope of its negative side, so that the bytes, and their SHA-256, identify the
function *as written* and every proof can name the network it is about.

Why integers with one shift per row and not `fractions.Fraction`: the exact affine map of an ACAS Xu
net costs 60 ms with fractions and 1.3 ms with integers that skip the columns a switched-off unit
kills. Nothing in this module rounds, uses a tolerance or imports another part of the package: the
proof checker reads networks through it and must share no reasoning code with the engine.

Points are *germs*: a list of integer vectors ``levels`` over one denominator stands for
``(levels[0] t_0 + levels[1] t_1 + ...) / den`` with ordered scales ``t_0 >> t_1 >> ...`` and
``t_{unit_level} = 1``. The sign of a value is the sign of its first nonzero level. A
piecewise-linear function maps germs to germs, which gives a clean answer to "on which side of a
kink": ask at ``x + eps d`` with an infinitesimal ``eps``.

>>> net = ExactNet(1, (Affine(0, 1, ((2, -1),), (1,), (1,)), Units(1, ((0, 0),)),
...                    Affine(2, 1, ((1, 0),), (0,), (3,))))
>>> net.evaluate([2])                       # relu((2 * 2 - 1) / 2) / 3
[Fraction(1, 2)]
>>> ExactNet.from_bytes(net.to_bytes()) == net
True
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from math import gcd, lcm
from operator import itemgetter, mul
from typing import Any, NamedTuple

MAGIC = b"PLNET\x001\n"
MAX_SHIFT = 1 << 16
"""Largest accepted exponent; beyond it a few bytes of input could ask for gigabytes of integer."""

Row = tuple[int, ...]
Slice = tuple[int, Sequence[Sequence[int]]]
"""``(scale, rows)``: input ``x_i = rows[i] . (t, 1) / scale`` for slice coordinates ``t``."""
Map = tuple[list[Row], int]
"""``(rows, den)``: value ``i`` is ``rows[i] . (x, 1) / den``; no common factor is left."""


@dataclass(frozen=True)
class Affine:
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
        shift = max(self.shifts)
        den = lcm(*self.dens)
        parts = tuple((shift - s, den // d) for s, d in zip(self.shifts, self.dens, strict=True))
        return den << shift, parts

    def common_rows(self, units: Sequence[int] | None = None) -> list[Row]:
        """The rows (or some of them) over the common denominator ``scaling[0]``."""
        parts = self.scaling[1]
        chosen = range(self.size) if units is None else units
        return [tuple((v << parts[i][0]) * parts[i][1] for v in self.rows[i]) for i in chosen]


@dataclass(frozen=True)
class Units:
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


class Forward(NamedTuple):
    """What `ExactNet.forward` returns: ``signs[layer][unit]`` and ``outputs = (levels, den)``."""

    signs: list[tuple[int, ...]]
    outputs: tuple[list[list[int]], int]


class PointPattern(NamedTuple):
    """Pattern of a full-dimensional region whose closure holds a point: one bit per unit."""

    bits: tuple[int, ...]
    on_boundary: bool

    @property
    def packed(self) -> bytes:
        """The pattern as bytes."""
        return pack_bits(self.bits)


def pack_bits(bits: Sequence[int]) -> bytes:
    """Pack bits, bit ``k`` into bit ``k % 8`` of byte ``k // 8``.

    >>> pack_bits([1, 0, 0, 1, 0, 0, 0, 0, 1])
    b'\\t\\x01'
    """
    value = sum(1 << k for k, bit in enumerate(bits) if bit)
    return value.to_bytes((len(bits) + 7) // 8, "little")


def unpack_bits(pattern: bytes, count: int) -> tuple[int, ...]:
    """Inverse of `pack_bits` for ``count`` bits; the padding must be zero.

    Raises
    ------
    ValueError
        If the length is wrong or a padding bit is set.
    """
    if len(pattern) != (count + 7) // 8:
        raise ValueError(f"{len(pattern)} pattern bytes do not fit {count} units")
    value = int.from_bytes(pattern, "little")
    if value >> count:
        raise ValueError("padding bits of the pattern are set")
    return tuple(value >> k & 1 for k in range(count))


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


def exact_fraction(value: Any) -> Fraction:
    """The exact value of a Fraction, int, float or any number with ``as_integer_ratio``.

    Raises
    ------
    ValueError
        If the value is NaN, infinite or no number.
    """
    if isinstance(value, Fraction):
        return value
    try:
        num, den = value.as_integer_ratio()
        return Fraction(int(num), int(den))
    except (AttributeError, ValueError, OverflowError, TypeError):
        raise ValueError(f"{value!r} is not a finite number") from None


def common_denominator(values: Sequence[Any]) -> tuple[list[int], int]:
    """Integers and one positive denominator for a vector of exact numbers.

    >>> common_denominator([0.5, Fraction(1, 3), 2])
    ([3, 2, 12], 6)
    """
    exact = [exact_fraction(v) for v in values]
    den = lcm(*(v.denominator for v in exact))
    return [v.numerator * (den // v.denominator) for v in exact], den


@dataclass(frozen=True)
class ExactNet:
    """A network as a chain ``Affine, Units, ..., Affine`` of exact nodes.

    Node ``k`` reads tensor ``k`` and makes tensor ``k + 1``; tensor 0 is the input.

    Raises
    ------
    ValueError
        If the nodes do not alternate, sizes do not fit, or a row or slope is not canonical.
    """

    input_size: int
    nodes: tuple[Affine | Units, ...]

    def __post_init__(self) -> None:
        size = self.input_size
        if not 0 < size < 1 << 32:
            raise ValueError(f"input size {size} is out of range")
        if len(self.nodes) % 2 == 0:
            raise ValueError(f"{len(self.nodes)} nodes: a network is Affine, Units, ..., Affine")
        for k, node in enumerate(self.nodes):
            if node.source != k:
                raise ValueError(f"node {k} reads tensor {node.source}; a chain reads tensor {k}")
            if isinstance(node, Affine) != (k % 2 == 0):
                raise ValueError(f"node {k} is {type(node).__name__}: nodes must alternate")
            if isinstance(node, Affine):
                _check_affine(k, node, size)
            else:
                _check_units(k, node, size)
            size = node.size

    # ------------------------------------------------------------------ shape

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.nodes[-1].size

    @cached_property
    def layers(self) -> list[tuple[Affine, Units]]:
        """The hidden layers, in order."""
        pairs = zip(self.nodes[0:-1:2], self.nodes[1::2], strict=True)
        return [(a, u) for a, u in pairs if isinstance(a, Affine) and isinstance(u, Units)]

    @property
    def final(self) -> Affine:
        """The last affine map."""
        last = self.nodes[-1]
        assert isinstance(last, Affine)
        return last

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of units per hidden layer."""
        return tuple(units.size for _, units in self.layers)

    @property
    def unit_count(self) -> int:
        """Number of units over all layers."""
        return sum(self.widths)

    # ---------------------------------------------------------- serialisation

    def to_bytes(self) -> bytes:
        """The canonical bytes (``docs/developer.md``)."""
        out = [MAGIC, struct.pack("<II", self.input_size, len(self.nodes))]
        for node in self.nodes:
            if isinstance(node, Affine):
                out.append(struct.pack("<BIII", 1, node.source, node.size, node.cols))
                out.append(struct.pack(f"<{node.size}I", *node.shifts))
                out.append(pack_ints(node.dens))
                out.append(pack_ints([v for row in node.rows for v in row]))
            else:
                out.append(struct.pack("<BII", 2, node.source, node.size))
                out.append(struct.pack(f"<{node.size}I", *(s for _, s in node.slopes)))
                out.append(pack_ints([n for n, _ in node.slopes]))
        return b"".join(out)

    @staticmethod
    def from_bytes(data: bytes) -> ExactNet:
        """Read canonical bytes; anything but the canonical bytes of some network is refused.

        Raises
        ------
        ValueError
            If the bytes are truncated, padded, not canonical or not a network. Sizes are compared
            with the bytes that are there before anything is allocated.
        """
        reader = _Reader(bytes(data))
        if reader.take(len(MAGIC), "magic") != MAGIC:
            raise ValueError("not a canonical network: wrong magic bytes")
        input_size, count = reader.u32("input size"), reader.u32("node count")
        nodes: list[Affine | Units] = []
        for k in range(count):
            kind = reader.take(1, "node kind")[0]
            source = reader.u32(f"source of node {k}")
            if kind == 1:
                rows, cols = reader.u32(f"rows of node {k}"), reader.u32(f"cols of node {k}")
                shifts = reader.u32s(rows, f"shifts of node {k}")
                dens = reader.ints(rows, f"denominators of node {k}")
                flat = reader.ints(rows * (cols + 1), f"rows of node {k}")
                step = cols + 1
                table = tuple(flat[i : i + step] for i in range(0, rows * step, step))
                nodes.append(Affine(source, cols, table, shifts, dens))
            elif kind == 2:
                units = reader.u32(f"size of node {k}")
                shifts = reader.u32s(units, f"slope shifts of node {k}")
                nums = reader.ints(units, f"slopes of node {k}")
                nodes.append(Units(source, tuple(zip(nums, shifts, strict=True))))
            else:
                raise ValueError(f"node {k} has unknown kind {kind}")
        if reader.pos != len(data):
            raise ValueError(f"{len(data) - reader.pos} bytes follow the last node")
        return ExactNet(input_size, tuple(nodes))

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex: the identity of the network in every proof."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    # ------------------------------------------------------------- evaluation

    def forward(self, levels: Sequence[Sequence[int]], den: int, unit_level: int = 0) -> Forward:
        """Map a germ through the network.

        Parameters
        ----------
        levels : sequence of integer vectors, each of length ``input_size``
        den : positive int
        unit_level : int
            The level whose scale is 1: the affine constants are added to it.

        Returns
        -------
        Forward
            ``signs`` per layer (-1, 0 or 1 per unit; 0 when every level is 0), and
            ``outputs = (levels, den)``.

        Raises
        ------
        ValueError
            On wrong lengths, ``den <= 0`` or a level out of range.
        """
        if den <= 0 or not 0 <= unit_level < len(levels):
            raise ValueError("den must be positive and unit_level the index of a level")
        if any(len(level) != self.input_size for level in levels):
            raise ValueError(f"every level needs {self.input_size} entries")
        values: Sequence[Sequence[int]] = levels
        signs = []
        for affine, units in self.layers:
            values, den = _apply(affine, values, den, unit_level)
            layer_signs = _germ_signs(values)
            signs.append(layer_signs)
            factors = _factors(units, [sign > 0 for sign in layer_signs])
            values = [list(map(mul, level, factors)) for level in values]
            den <<= units.shift
        return Forward(signs, _apply(self.final, values, den, unit_level))

    def evaluate(self, x: Sequence[Any]) -> list[Fraction]:
        """Exact outputs at an exact point (Fractions, ints or floats).

        Raises
        ------
        ValueError
            On a wrong length, NaN or infinity.
        """
        nums, den = common_denominator(x)
        levels, out_den = self.forward([nums], den).outputs
        return [Fraction(v, out_den) for v in levels[0]]

    # ------------------------------------------------- affine maps of a pattern

    def affine_maps(
        self, pattern: bytes | Sequence[int], slice: Slice | None = None
    ) -> Iterator[Map]:
        """Exact maps of every layer's pre-activations under a pattern, then of the outputs.

        Parameters
        ----------
        pattern : packed bytes, or one bit per unit
        slice : (scale, rows), optional
            Compose with ``x_i = rows[i] . (t, 1) / scale``.

        Yields
        ------
        (rows, den)
            Value ``i`` is ``rows[i] . (x, 1) / den`` (``t`` in place of ``x`` on a slice).
        """
        bits = self.layer_bits(pattern)
        columns: list[list[int]] = []
        den = 1
        if slice is not None:
            den = slice[0]
            dim = _check_slice(slice, self.input_size)
            columns = [[row[c] for row in slice[1]] for c in range(dim + 1)]
        for k, affine in enumerate(self._affines):
            if columns:
                columns, den = _apply(affine, columns, den, len(columns) - 1)
            else:
                columns = [list(column) for column in zip(*affine.common_rows(), strict=True)]
                den = affine.scaling[0]
            yield _lowest_terms(list(zip(*columns, strict=True)), den)
            if k < len(self.layers):
                units = self.layers[k][1]
                factors = _factors(units, bits[k])
                columns = [list(map(mul, column, factors)) for column in columns]
                den <<= units.shift

    def affine_map(
        self,
        pattern: bytes | Sequence[int],
        upto: int | None = None,
        slice: Slice | None = None,
    ) -> Map:
        """Exact affine map of the outputs, or of the pre-activations of layer ``upto``.

        Works forwards or backwards, whichever multiplies less; the result is the same: ``(rows,
        den)`` in lowest terms together.
        """
        layer = len(self.layers) if upto is None else upto
        size = self._affine(layer).size
        dim = self.input_size if slice is None else _check_slice(slice, self.input_size)
        if layer and size > dim + 1:
            return next(islice(self.affine_maps(pattern, slice), layer, None))
        rows, den = self._pull_back(layer, range(size), self.layer_bits(pattern), slice)
        return _lowest_terms(rows, den)

    def unit_row(
        self,
        layer: int,
        unit: int,
        pattern: bytes | Sequence[int],
        slice: Slice | None = None,
    ) -> tuple[Row, int]:
        """Exact row ``(a, c)`` and den of one pre-activation under a pattern, in lowest terms.

        One vector-Jacobian product: the affine maps of the layers are never formed. ``layer`` equal
        to the number of hidden layers asks for an output.
        """
        if not 0 <= unit < self._affine(layer).size:
            raise ValueError(f"layer {layer} has no unit {unit}")
        bits = self.layer_bits(pattern)
        (row,), den = _lowest_terms(*self._pull_back(layer, [unit], bits, slice))
        return row, den

    def layer_bits(self, pattern: bytes | Sequence[int]) -> list[tuple[int, ...]]:
        """Split a pattern (packed bytes, or one bit per unit) into one tuple of bits per layer."""
        if isinstance(pattern, (bytes, bytearray, memoryview)):
            flat = unpack_bits(bytes(pattern), self.unit_count)
        else:
            flat = tuple(1 if bit else 0 for bit in pattern)
            if len(flat) != self.unit_count:
                raise ValueError(f"{len(flat)} pattern bits do not fit {self.unit_count} units")
        out, start = [], 0
        for width in self.widths:
            out.append(flat[start : start + width])
            start += width
        return out

    @property
    def _affines(self) -> list[Affine]:
        return [affine for affine, _ in self.layers] + [self.final]

    def _affine(self, layer: int) -> Affine:
        if not 0 <= layer <= len(self.layers):
            raise ValueError(f"layer {layer} is out of range: there are {len(self.layers)}")
        return self._affines[layer]

    def _pull_back(
        self,
        layer: int,
        units: Sequence[int],
        bits: Sequence[Sequence[int]],
        slice: Slice | None,
    ) -> Map:
        """Rows of some pre-activations of ``layer``; reads the bits of the layers below only."""
        affine = self._affine(layer)
        den = affine.scaling[0]
        chosen = affine.common_rows(units)
        biases = [row[-1] for row in chosen]
        grads: list[Sequence[int]] = [row[:-1] for row in chosen]
        for (affine, slopes), layer_bits in zip(
            self.layers[layer - 1 :: -1] if layer else [], bits[layer - 1 :: -1], strict=False
        ):
            factors = _factors(slopes, layer_bits)
            grads = [list(map(mul, grad, factors)) for grad in grads]
            active = [i for i, column in enumerate(zip(*grads, strict=True)) if any(column)]
            common, parts = affine.scaling
            columns = list(zip(*(affine.rows[i] for i in active), strict=True))
            for r, grad in enumerate(grads):
                weights = [(grad[i] << parts[i][0]) * parts[i][1] for i in active]
                row = [sum(map(mul, weights, column)) for column in columns]
                row = row or [0] * (affine.cols + 1)
                grads[r], biases[r] = row[:-1], (biases[r] * common << slopes.shift) + row[-1]
            den *= common << slopes.shift
        rows = [(*grad, bias) for grad, bias in zip(grads, biases, strict=True)]
        if slice is None:
            return rows, den
        scale, table = slice
        by_column = list(zip(*table, strict=True))
        rows = [tuple(sum(map(mul, row, column)) for column in by_column) for row in rows]
        rows = [(*r[:-1], r[-1] + b * scale) for r, b in zip(rows, biases, strict=True)]
        return rows, den * scale

    # ------------------------------------------------------ pattern of a point

    def pattern_at(self, x: Sequence[Any], slice: Slice | None = None) -> PointPattern:
        """Pattern of one full-dimensional region whose closure holds ``x``, decided exactly.

        A unit that is zero at ``x`` takes the side of the germ ``x + eps d`` for a fixed generic
        direction ``d``. What is still zero there must be identically zero under the pattern (then
        its bit is 0, the canonical choice); otherwise the direction was unlucky and the next one is
        taken, at last the germ ``x + eps_1 e_1 + eps_2 e_2 + ...`` with ``eps_1 >> eps_2 >> ...``,
        on which a row that is not identically zero cannot vanish. So the search always ends.

        Parameters
        ----------
        x : sequence of exact numbers
            The point, or its slice coordinates where ``slice`` is given.
        slice : (scale, rows), optional
            "Full-dimensional" and "identically zero" are then meant within the slice.

        Returns
        -------
        PointPattern
            ``bits``, and ``on_boundary``: a unit whose row is not identically zero is 0 at ``x``.
        """
        dim = self.input_size if slice is None else _check_slice(slice, self.input_size)
        nums, den = common_denominator(x)
        if len(nums) != dim:
            raise ValueError(f"the point has {len(nums)} entries, expected {dim}")
        base = self._slice_germ([nums], den, slice)
        signs = self.forward([base[0][0]], base[1]).signs
        kinks = self._kinks(signs)
        if not kinks:
            return PointPattern(self._bits_of(signs), False)

        def alive(unit: tuple[int, int]) -> bool:
            """Whether the unit's row is not identically zero under the bits so far."""
            (row,), _ = self._pull_back(unit[0], [unit[1]], layered, slice)
            return any(row)

        for attempt in range(4):
            direction = _direction(dim, attempt)
            levels, scaled = self._slice_germ([nums, direction], den, slice)
            germ = self.forward(levels, scaled).signs
            bits = self._bits_of(germ)
            layered = self.layer_bits(bits)
            if not any(map(alive, self._kinks(germ))):
                break
        else:
            axes = [[int(i == k) for i in range(dim)] for k in range(dim)]
            levels, scaled = self._slice_germ([nums, *axes], den, slice)
            bits = self._bits_of(self.forward(levels, scaled).signs)
            layered = self.layer_bits(bits)
        return PointPattern(bits, any(map(alive, kinks)))

    def _kinks(self, signs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """Units with two pieces and sign 0, as (layer, unit)."""
        return [
            (k, i)
            for k, (_, units) in enumerate(self.layers)
            for i, (sign, slope) in enumerate(zip(signs[k], units.slopes, strict=True))
            if sign == 0 and slope != (1, 0)
        ]

    def _bits_of(self, signs: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """The pattern of nonzero signs; sign 0 and one-piece units give bit 0."""
        return tuple(
            int(sign > 0 and slope != (1, 0))
            for k, (_, units) in enumerate(self.layers)
            for sign, slope in zip(signs[k], units.slopes, strict=True)
        )

    def _slice_germ(
        self, levels: Sequence[Sequence[int]], den: int, slice: Slice | None
    ) -> tuple[list[Sequence[int]], int]:
        """Levels of the input for levels of slice coordinates (unit level 0)."""
        if slice is None:
            return list(levels), den
        scale, rows = slice
        out: list[Sequence[int]]
        out = [[sum(map(mul, row, level)) for row in rows] for level in levels]
        out[0] = [v + row[-1] * den for v, row in zip(out[0], rows, strict=True)]
        return out, den * scale


# ------------------------------------------------------------------- helpers


def _apply(
    affine: Affine, values: Sequence[Sequence[int]], den: int, unit_level: int
) -> tuple[list[list[int]], int]:
    common, parts = affine.scaling
    pick = _active(values)
    biases = [row[-1] for row in affine.rows]
    out = []
    if pick is None:
        products = [[0] * affine.size for _ in values]
    else:
        rows = [pick(row) for row in affine.rows]
        products = [[sum(map(mul, row, level)) for row in rows] for level in map(pick, values)]
    for k, column in enumerate(products):
        if k == unit_level:
            column = [v + b * den for v, b in zip(column, biases, strict=True)]
        out.append([(v << up) * f for v, (up, f) in zip(column, parts, strict=True)])
    return out, den * common


def _active(values: Sequence[Sequence[int]]) -> Any:
    """A function that picks the columns with a nonzero level, or None if there is none."""
    active = [j for j, column in enumerate(zip(*values, strict=True)) if any(column)]
    if not active:
        return None
    if len(active) == 1:
        only = active[0]
        return lambda row: (row[only],)
    return itemgetter(*active)


def _germ_signs(values: Sequence[Sequence[int]]) -> tuple[int, ...]:
    signs = [(v > 0) - (v < 0) for v in values[0]]
    for level in values[1:]:
        signs = [s or (v > 0) - (v < 0) for s, v in zip(signs, level, strict=True)]
    return tuple(signs)


def _factors(units: Units, bits: Sequence[int]) -> list[int]:
    """Integer factor of every unit over ``2**units.shift``."""
    top = units.shift
    one = 1 << top
    return [
        one if bit else num << (top - s) for bit, (num, s) in zip(bits, units.slopes, strict=True)
    ]


def _lowest_terms(rows: list[Row], den: int) -> Map:
    common = den
    for row in rows:
        common = gcd(common, *row)
        if common == 1:
            return rows, den
    return [tuple(v // common for v in row) for row in rows], den // common


def _check_slice(slice: Slice, size: int) -> int:
    """Dimension of a slice; raises ValueError where it does not fit the input."""
    scale, rows = slice
    if scale <= 0 or len(rows) != size or len({len(row) for row in rows}) != 1:
        raise ValueError(f"a slice of this network needs {size} equal rows and a positive scale")
    return len(rows[0]) - 1


def _direction(dim: int, attempt: int) -> list[int]:
    """A fixed pseudo-random integer direction; later attempts have more bits."""
    out = []
    for i in range(dim):
        word = hashlib.sha256(struct.pack("<II", attempt, i)).digest()
        value = int.from_bytes(word[: 2 + 4 * attempt], "little", signed=True)
        out.append(value or 1)
    return out


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
    return _Reader(data).ints(count, "integers")


class _Reader:
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


def _check_affine(k: int, node: Affine, size: int) -> None:
    if node.cols != size:
        raise ValueError(f"node {k} has {node.cols} columns, its source has {size} entries")
    if not 0 < len(node.rows) == len(node.shifts) == len(node.dens):
        raise ValueError(f"node {k} needs one shift and one denominator for each of its rows")
    for i, (row, shift, den) in enumerate(zip(node.rows, node.shifts, node.dens, strict=True)):
        if len(row) != size + 1:
            raise ValueError(f"node {k} row {i} has {len(row)} entries, expected {size + 1}")
        if not 0 <= shift <= MAX_SHIFT:
            raise ValueError(f"node {k} row {i}: shift {shift} is out of range")
        if den <= 0 or den % 2 == 0:
            raise ValueError(f"node {k} row {i}: denominator {den} is not odd and positive")
        reduced = (shift == 0 or any(v & 1 for v in row)) and (den == 1 or gcd(den, *row) == 1)
        if not reduced:
            raise ValueError(f"node {k} row {i} is not canonical: it can be reduced")


def _check_units(k: int, node: Units, size: int) -> None:
    if node.size != size:
        raise ValueError(f"node {k} has {node.size} units, its source has {size} entries")
    for i, (num, shift) in enumerate(node.slopes):
        if not 0 <= shift <= MAX_SHIFT:
            raise ValueError(f"node {k} unit {i}: slope shift {shift} is out of range")
        if shift and num % 2 == 0:
            raise ValueError(f"node {k} unit {i} is not canonical: its slope can be reduced")
