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
from math import gcd, isfinite, lcm
from operator import mul
from typing import Any, NamedTuple

from plverify.exact_nodes import (
    MAX_SIZE,
    Affine,
    Conv,
    LinearNode,
    Max,
    Node,
    Reader,
    Row,
    Sparse,
    UnitNode,
    Units,
    canonicalise_row,
    pack_ints,
    unpack_ints,
)

__all__ = [
    "Affine",
    "Conv",
    "ExactNet",
    "Max",
    "Node",
    "PointPattern",
    "Row",
    "Sparse",
    "Units",
    "canonicalise_row",
    "common_denominator",
    "exact_fraction",
    "join",
    "pack_bits",
    "pack_ints",
    "through",
    "unpack_bits",
    "unpack_ints",
]

MAGIC = b"PLNET\x001\n"

Slice = tuple[int, Sequence[Sequence[int]]]
"""``(scale, rows)``: input ``x_i = rows[i] . (t, 1) / scale`` for slice coordinates ``t``."""
Map = tuple[list[Row], int]
"""``(rows, den)``: value ``i`` is ``rows[i] . (x, 1) / den``; no common factor is left."""
Levels = tuple[list[list[int]], int]
"""``(levels, den)``: the values of one tensor at a germ."""
Pieces = Sequence[Sequence[int]]
"""Per layer, one piece per unit."""
Signs = tuple[Any, ...]
"""Of one layer at a germ: per unit of `Units` its sign, per window of `Max` the pieces that win."""


class Forward(NamedTuple):
    """What `ExactNet.forward` returns: ``signs[layer][unit]`` and ``outputs = (levels, den)``."""

    signs: list[Signs]
    outputs: Levels


class PointPattern(NamedTuple):
    """Pattern of a full-dimensional region whose closure holds a point: one piece per unit."""

    bits: tuple[int, ...]
    on_boundary: bool


def pack_bits(bits: Sequence[int], widths: Sequence[int] | None = None) -> bytes:
    """Pack one piece per unit, ``widths[k]`` bits each (1 by default), least bit first.

    >>> pack_bits([1, 0, 0, 1, 0, 0, 0, 0, 1])
    b'\\t\\x01'
    >>> pack_bits([2, 1], [2, 1])
    b'\\x06'
    """
    value = at = 0
    for k, bit in enumerate(bits):
        value |= int(bit) << at
        at += 1 if widths is None else widths[k]
    return value.to_bytes((at + 7) // 8, "little")


def unpack_bits(pattern: bytes, widths: int | Sequence[int]) -> tuple[int, ...]:
    """Inverse of `pack_bits`, for a number of one-bit units or the units' widths.

    Raises
    ------
    ValueError
        If the length is wrong or a padding bit is set.
    """
    each = [1] * widths if isinstance(widths, int) else widths
    total = sum(each)
    if len(pattern) != (total + 7) // 8:
        raise ValueError(f"{len(pattern)} pattern bytes do not fit {len(each)} units")
    value = int.from_bytes(pattern, "little")
    if value >> total:
        raise ValueError("padding bits of the pattern are set")
    out, at = [], 0
    for width in each:
        out.append(value >> at & ((1 << width) - 1))
        at += width
    return tuple(out)


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
    ratios = [
        v.as_integer_ratio()
        if type(v) is Fraction or (type(v) is float and isfinite(v))  # most, in half the time
        else exact_fraction(v).as_integer_ratio()
        for v in values
    ]
    den = lcm(*(q for _, q in ratios))
    return [p * (den // q) for p, q in ratios], den


@dataclass(frozen=True)
class ExactNet:
    """A network as a directed acyclic graph of exact nodes, the last of them linear.

    Node ``k`` makes tensor ``k + 1`` from earlier tensors; tensor 0 is the input. A *layer* is a
    node of units; its pre-activations are the joined sources it reads. A chain ``Affine, Units,
    ..., Affine`` has its affine maps folded.

    Raises
    ------
    ValueError
        If a node reads what is not there, sizes do not fit, or a row or slope is not canonical.
    """

    input_size: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not 0 < self.input_size <= MAX_SIZE:
            raise ValueError(f"input size {self.input_size} is out of range")
        if not self.nodes or isinstance(self.nodes[-1], (Units, Max)):
            raise ValueError("a network ends in a linear node")
        sizes = [self.input_size]
        used: set[int] = set()
        for k, node in enumerate(self.nodes):
            for source in node.sources:
                if not 0 <= source <= k:
                    raise ValueError(f"node {k} reads tensor {source}, which is not there yet")
            if not node.sources:
                raise ValueError(f"node {k} reads nothing")
            used.update(node.sources)
            try:
                node.check(sum(sizes[source] for source in node.sources))
            except ValueError as error:
                raise ValueError(f"node {k} {error}") from None
            if not 0 < node.size <= MAX_SIZE:
                raise ValueError(f"node {k} has {node.size} outputs, out of range")
            sizes.append(node.size)
        if len(used | {0}) < len(self.nodes):
            raise ValueError("the output does not depend on every node")

    # ------------------------------------------------------------------ shape

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.nodes[-1].size

    @cached_property
    def unit_nodes(self) -> list[tuple[int, UnitNode]]:
        """``(node number, node)`` of every layer."""
        return [(k, n) for k, n in enumerate(self.nodes) if isinstance(n, (Units, Max))]

    @cached_property
    def layers(self) -> list[tuple[Affine, Units]]:
        """The hidden layers of a chain, in order.

        Raises
        ------
        ValueError
            If the network is no chain ``Affine, Units, ..., Affine``.
        """
        out: list[tuple[Affine, Units]] = []
        chain = len(self.nodes) % 2 == 1 and isinstance(self.nodes[-1], Affine)
        for affine, units in zip(self.nodes[0:-1:2], self.nodes[1::2], strict=False):
            chain = chain and isinstance(affine, Affine) and isinstance(units, Units)
            if isinstance(affine, Affine) and isinstance(units, Units):
                out.append((affine, units))
        if not chain or any(node.sources != (k,) for k, node in enumerate(self.nodes)):
            raise ValueError("the network is not a chain of affine maps and units")
        return out

    @property
    def final(self) -> LinearNode:
        """The last, linear node."""
        last = self.nodes[-1]
        assert not isinstance(last, (Units, Max))
        return last

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of units per layer."""
        return tuple(node.size for _, node in self.unit_nodes)

    @property
    def unit_count(self) -> int:
        """Number of units over all layers."""
        return sum(self.widths)

    @cached_property
    def unit_bits(self) -> tuple[int, ...]:
        """Bits of every unit in a packed pattern."""
        return tuple(node.bits for _, node in self.unit_nodes for _ in range(node.size))

    def pack(self, pieces: Sequence[int]) -> bytes:
        """A pattern, one piece per unit, as bytes."""
        return pack_bits(pieces, self.unit_bits)

    # ---------------------------------------------------------- serialisation

    def to_bytes(self) -> bytes:
        """The canonical bytes (``docs/developer.md``)."""
        return self._bytes

    @cached_property
    def _bytes(self) -> bytes:
        head = MAGIC + struct.pack("<II", self.input_size, len(self.nodes))
        return head + b"".join(node.to_bytes() for node in self.nodes)

    @staticmethod
    def from_bytes(data: bytes) -> ExactNet:
        """Read canonical bytes; anything but the canonical bytes of some network is refused.

        Raises
        ------
        ValueError
            If the bytes are truncated, padded, not canonical or not a network. Sizes are compared
            with the bytes that are there before anything is allocated.
        """
        reader = Reader(bytes(data))
        if reader.take(len(MAGIC), "magic") != MAGIC:
            raise ValueError("not a canonical network: wrong magic bytes")
        input_size, count = reader.u32("input size"), reader.u32("node count")
        nodes = tuple(reader.node(k) for k in range(count))
        if reader.pos != len(data):
            raise ValueError(f"{len(data) - reader.pos} bytes follow the last node")
        net = ExactNet(input_size, nodes)
        net.__dict__["_bytes"] = reader.data  # a network has one form
        return net

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex: the identity of the network in every proof."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
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
            ``signs`` per layer: of `Units` -1, 0 or 1 per unit (0 when every level is 0), of `Max`
            the pieces that attain the maximum, per window; and ``outputs = (levels, den)``.

        Raises
        ------
        ValueError
            On wrong lengths, ``den <= 0`` or a level out of range.
        """
        if den <= 0 or not 0 <= unit_level < len(levels):
            raise ValueError("den must be positive and unit_level the index of a level")
        if any(len(level) != self.input_size for level in levels):
            raise ValueError(f"every level needs {self.input_size} entries")
        signs: list[Signs] = []
        for _, node, value in self._tensors(levels, den, unit_level, None):
            if isinstance(node, Units):
                signs.append(_germ_signs(value[0]))
            elif isinstance(node, Max):
                signs.append(_winners(node, value[0]))
        return Forward(signs, value)

    def _tensors(
        self,
        levels: Sequence[Sequence[int]] | None,
        den: int,
        unit_level: int,
        pieces: Pieces | None,
    ) -> Iterator[tuple[int, Node, Levels]]:
        """Per node: for a layer its pre-activations, for the last node the outputs.

        The pieces are those of the germ, unless they are given: then every level goes through the
        same affine map. Without ``levels`` they are the columns of the identity, and one of zeros.
        """
        if levels is None:
            size = self.input_size
            first = self.nodes[0]
            if isinstance(first, Affine) and all(0 not in n.sources for n in self.nodes[1:]):
                # its columns are the product already
                head = [list(column) for column in zip(*first.common_rows(), strict=True)]
                yield from self._from_tensor(1, {1: (head, first.scaling[0])}, unit_level, pieces)
                return
            levels = [[int(i == c) for i in range(size)] for c in range(size + 1)]
        yield from self._from_tensor(
            0, {0: ([list(level) for level in levels], den)}, unit_level, pieces
        )

    def _from_tensor(
        self, start: int, tensors: dict[int, Levels], unit_level: int, pieces: Pieces | None
    ) -> Iterator[tuple[int, Node, Levels]]:
        last_use = {source: k for k, node in enumerate(self.nodes) for source in node.sources}
        layer = 0
        for k, node in enumerate(self.nodes[start:], start):
            joined = join([tensors[source] for source in node.sources])
            for source in node.sources:
                if last_use[source] == k:
                    tensors.pop(source, None)
            if isinstance(node, (Units, Max)):
                yield k, node, joined
                chosen = _germ_pieces(node, joined[0]) if pieces is None else pieces[layer]
                layer += 1
                tensors[k + 1] = through(node, joined, chosen)
            else:
                tensors[k + 1] = node.apply(*joined, unit_level)
        yield len(self.nodes), self.nodes[-1], tensors[len(self.nodes)]

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
        pattern : packed bytes, or one piece per unit
        slice : (scale, rows), optional
            Compose with ``x_i = rows[i] . (t, 1) / scale``.

        Yields
        ------
        (rows, den)
            Value ``i`` is ``rows[i] . (x, 1) / den`` (``t`` in place of ``x`` on a slice).
        """
        pieces = self.layer_bits(pattern)
        size = self.input_size
        columns: list[list[int]] | None = None
        dim, den = size, 1
        if slice is not None:
            den = slice[0]
            dim = _check_slice(slice, size)
            columns = [[row[c] for row in slice[1]] for c in range(dim + 1)]
        for _, node, (levels, scale) in self._tensors(columns, den, dim, pieces):
            if isinstance(node, (Units, Max)) or node is self.nodes[-1]:
                yield _lowest_terms(list(zip(*levels, strict=True)), scale)

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
        layer = len(self.unit_nodes) if upto is None else upto
        size = self.layer_size(layer)
        dim = self.input_size if slice is None else _check_slice(slice, self.input_size)
        if layer and size > dim + 1:
            for k, found in enumerate(self.affine_maps(pattern, slice)):
                if k == layer:
                    return found
        chosen = [{i: 1} for i in range(size)]
        return _lowest_terms(*self._pull_back(layer, chosen, self.layer_bits(pattern), slice))

    def unit_row(
        self,
        layer: int,
        unit: int,
        pattern: bytes | Sequence[int],
        slice: Slice | None = None,
        minus: int | None = None,
    ) -> tuple[Row, int]:
        """Exact row ``(a, c)`` and den of one pre-activation under a pattern, in lowest terms.

        One vector-Jacobian product: the affine maps of the layers are never formed. ``layer`` equal
        to the number of hidden layers asks for an output. With ``minus`` it is the difference of
        two pre-activations (of `Max`: of two entries of its joined sources).
        """
        size = self.layer_size(layer)
        if not 0 <= unit < size or (minus is not None and not 0 <= minus < size):
            raise ValueError(f"layer {layer} has no unit {unit}")
        chosen = {unit: 1} if minus is None or minus == unit else {unit: 1, minus: -1}
        rows = self._pull_back(layer, [chosen], self.layer_bits(pattern), slice)
        (row,), den = _lowest_terms(*rows)
        return row, den

    def layer_size(self, layer: int) -> int:
        """Number of pre-activations of a layer, or of outputs for the number of layers."""
        if not 0 <= layer <= len(self.unit_nodes):
            raise ValueError(f"layer {layer} is out of range: there are {len(self.unit_nodes)}")
        return sum(self._sizes[source] for source in self._read_by(layer))

    def layer_bits(self, pattern: bytes | Sequence[int]) -> list[tuple[int, ...]]:
        """Split a pattern (packed bytes, or one piece per unit) into one tuple per layer."""
        if isinstance(pattern, (bytes, bytearray, memoryview)):
            flat = unpack_bits(bytes(pattern), self.unit_bits)
        else:
            flat = tuple(int(piece) for piece in pattern)
            if len(flat) != self.unit_count:
                raise ValueError(f"{len(flat)} pattern bits do not fit {self.unit_count} units")
        out, start = [], 0
        for width in self.widths:
            out.append(flat[start : start + width])
            start += width
        return out

    @cached_property
    def _sizes(self) -> list[int]:
        return [self.input_size, *(node.size for node in self.nodes)]

    def _read_by(self, layer: int) -> tuple[int, ...]:
        """The tensors that a layer reads; the output tensor for the number of layers."""
        if layer == len(self.unit_nodes):
            return (len(self.nodes),)
        return self.unit_nodes[layer][1].sources

    def _pull_back(
        self,
        layer: int,
        chosen: Sequence[dict[int, int]],
        pieces: Pieces,
        slice: Slice | None,
    ) -> Map:
        """Rows of combinations of a layer's pre-activations; reads the pieces of layers below."""
        count = len(chosen)
        grads: dict[int, tuple[list[list[int]], int]] = {}
        biases, bias_den = [0] * count, 1
        sources = self._read_by(layer)
        starts = [[0] * sum(self._sizes[s] for s in sources) for _ in range(count)]
        for row, entries in zip(starts, chosen, strict=True):
            for i, factor in entries.items():
                row[i] = factor
        self._scatter(grads, sources, starts, 1)
        number = layer
        for k in range(max(grads, default=0) - 1, -1, -1):
            node = self.nodes[k]
            if isinstance(node, (Units, Max)):
                number = next(n for n, (at, _) in enumerate(self.unit_nodes) if at == k)
            if k + 1 not in grads:
                continue
            rows, den = grads.pop(k + 1)
            if isinstance(node, Units):
                factors = node.factors(pieces[number])
                rows = [list(map(mul, row, factors)) for row in rows]
                den <<= node.shift
            elif isinstance(node, Max):
                rows = [_unpool(node, row, pieces[number], self._joined_size(node)) for row in rows]
            else:
                common = node.scaling[0]
                pulled = []
                for r, row in enumerate(rows):
                    if isinstance(node, Affine):
                        back, bias = node.pull(row)
                    else:
                        back = [0] * self._joined_size(node)
                        bias = node.pull_into(row, back)
                    pulled.append(back)
                    total = lcm(bias_den, den * common)
                    if total != bias_den:
                        biases = [b * (total // bias_den) for b in biases]
                        bias_den = total
                    biases[r] += bias * (total // (den * common))
                rows, den = pulled, den * common
            self._scatter(grads, node.sources, rows, den)
        inputs, den = grads.get(0, ([[0] * self.input_size for _ in range(count)], 1))
        total = lcm(den, bias_den)
        up, more = total // den, total // bias_den
        out: list[Row] = [
            (*(v * up for v in row), b * more) for row, b in zip(inputs, biases, strict=True)
        ]
        if slice is None:
            return out, total
        scale, table = slice
        by_column = list(zip(*table, strict=True))
        rows_in_t: list[Row] = []
        for whole in out:
            combined = [sum(map(mul, whole, column)) for column in by_column]
            combined[-1] += whole[-1] * scale
            rows_in_t.append(tuple(combined))
        return rows_in_t, total * scale

    def _joined_size(self, node: Node) -> int:
        return sum(self._sizes[source] for source in node.sources)

    def _scatter(
        self,
        grads: dict[int, tuple[list[list[int]], int]],
        sources: Sequence[int],
        rows: list[list[int]],
        den: int,
    ) -> None:
        """Add rows over joined sources to the gradients of those tensors."""
        start = 0
        for source in sources:
            stop = start + self._sizes[source]
            part = [row[start:stop] for row in rows] if len(sources) > 1 else rows
            start = stop
            if not any(any(row) for row in part):
                continue
            if source in grads:
                old, old_den = grads[source]
                total = lcm(old_den, den)
                a, b = total // old_den, total // den
                part = [
                    [u * a + v * b for u, v in zip(x, y, strict=True)]
                    for x, y in zip(old, part, strict=True)
                ]
                grads[source] = part, total
            else:
                grads[source] = part, den

    # ------------------------------------------------------ pattern of a point

    def pattern_at(
        self, x: Sequence[Any], slice: Slice | None = None, toward: Sequence[int] | None = None
    ) -> PointPattern:
        """Pattern of one full-dimensional region whose closure holds ``x``, decided exactly.

        A unit that is zero at ``x`` takes the side of the germ ``x + eps d`` for a fixed generic
        direction ``d``. What is still zero there must be identically zero under the pattern (then
        its bit is 0, the canonical choice); otherwise the direction was unlucky and the next one is
        taken, at last the germ ``x + eps_1 e_1 + eps_2 e_2 + ...`` with ``eps_1 >> eps_2 >> ...``,
        on which a row that is not identically zero cannot vanish. So the search always ends. In the
        same way inputs of a window that tie must be the same function; the first one is the piece.

        Parameters
        ----------
        x : sequence of exact numbers
            The point, or its slice coordinates where ``slice`` is given.
        slice : (scale, rows), optional
            "Full-dimensional" and "identically zero" are then meant within the slice.
        toward : sequence of int, optional
            The region is one that ``x + eps toward + eps**2 d`` lies in: into a domain, where ``x``
            is on its boundary.

        Returns
        -------
        PointPattern
            ``bits``, and ``on_boundary``: a unit whose row is not identically zero is 0 at ``x``,
            or inputs of a window that are different functions tie for its maximum.
        """
        dim = self.input_size if slice is None else _check_slice(slice, self.input_size)
        nums, den = common_denominator(x)
        if len(nums) != dim:
            raise ValueError(f"the point has {len(nums)} entries, expected {dim}")
        base = self._slice_germ([nums], den, slice)
        signs = self.forward([base[0][0]], base[1]).signs
        kinks = self._kinks(signs)
        if not kinks:
            return PointPattern(self._pieces_of(signs), False)

        def alive(kink: tuple[int, tuple[int, ...]]) -> bool:
            """Whether the unit's row, or a difference of tied rows, is not identically zero."""
            layer, entries = kink
            chosen = [{entries[0]: 1, e: -1} for e in entries[1:]] or [{entries[0]: 1}]
            rows, _ = self._pull_back(layer, chosen, layered, slice)
            return any(any(row) for row in rows)

        first = [nums] if toward is None else [nums, toward]
        for attempt in range(4):
            direction = _direction(dim, attempt)
            levels, scaled = self._slice_germ([*first, direction], den, slice)
            germ = self.forward(levels, scaled).signs
            bits = self._pieces_of(germ)
            layered = self.layer_bits(bits)
            if not any(map(alive, self._kinks(germ))):
                break
        else:
            axes = [[int(i == k) for i in range(dim)] for k in range(dim)]
            levels, scaled = self._slice_germ([*first, *axes], den, slice)
            bits = self._pieces_of(self.forward(levels, scaled).signs)
            layered = self.layer_bits(bits)
        return PointPattern(bits, any(map(alive, kinks)))

    def pattern_of_germ(
        self,
        levels: Sequence[Sequence[int]],
        den: int,
        unit_level: int = 0,
        slice: Slice | None = None,
    ) -> tuple[int, ...]:
        """The pattern on a germ, as `forward` takes it, in slice coordinates where given.

        What vanishes on all of the germ takes the piece of lowest number.
        """
        placed, scaled = self._slice_germ(levels, den, slice, unit_level)
        return self._pieces_of(self.forward(placed, scaled, unit_level).signs)

    def _kinks(self, signs: Sequence[Signs]) -> list[tuple[int, tuple[int, ...]]]:
        """``(layer, entries)``: a unit of two pieces with sign 0, or inputs that tie for a maximum.

        The entries are positions among the layer's pre-activations.
        """
        out: list[tuple[int, tuple[int, ...]]] = []
        for layer, (_, node) in enumerate(self.unit_nodes):
            if isinstance(node, Units):
                for i, (sign, slope) in enumerate(zip(signs[layer], node.slopes, strict=True)):
                    if sign == 0 and slope != (1, 0):
                        out.append((layer, (i,)))
            else:
                for won, window in zip(signs[layer], node.windows, strict=True):
                    if len(won) > 1:
                        out.append((layer, tuple(at for piece, at in window if piece in won)))
        return out

    def _pieces_of(self, signs: Sequence[Signs]) -> tuple[int, ...]:
        """The pattern of a germ; sign 0 and one-piece units give piece 0, ties the first piece."""
        out: list[int] = []
        for layer, (_, node) in zip(signs, self.unit_nodes, strict=True):
            if isinstance(node, Units):
                pairs = zip(layer, node.slopes, strict=True)
                out += (int(sign > 0 and slope != (1, 0)) for sign, slope in pairs)
            else:
                out += (min(won) for won in layer)
        return tuple(out)

    def _slice_germ(
        self,
        levels: Sequence[Sequence[int]],
        den: int,
        slice: Slice | None,
        unit_level: int = 0,
    ) -> tuple[list[Sequence[int]], int]:
        """Levels of the input for levels of slice coordinates."""
        if slice is None:
            return list(levels), den
        scale, rows = slice
        out: list[Sequence[int]]
        out = [[sum(map(mul, row, level)) for row in rows] for level in levels]
        at = out[unit_level]
        out[unit_level] = [v + row[-1] * den for v, row in zip(at, rows, strict=True)]
        return out, den * scale


# ------------------------------------------------------------------- helpers


def join(tensors: Sequence[Levels]) -> Levels:
    """Tensors joined end to end, over one denominator."""
    if len(tensors) == 1:
        return tensors[0]
    den = lcm(*(d for _, d in tensors))
    out: list[list[int]] = [[] for _ in tensors[0][0]]
    for levels, d in tensors:
        for joined, level in zip(out, levels, strict=True):
            joined += level if d == den else [v * (den // d) for v in level]
    return out, den


def _germ_signs(values: Sequence[Sequence[int]]) -> tuple[int, ...]:
    signs = [(v > 0) - (v < 0) for v in values[0]]
    for level in values[1:]:
        signs = [s or (v > 0) - (v < 0) for s, v in zip(signs, level, strict=True)]
    return tuple(signs)


def _winners(node: Max, values: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Per window, the pieces that attain the maximum at a germ."""
    keys: Sequence[Any] = values[0] if len(values) == 1 else list(zip(*values, strict=True))
    tops = [max(keys[at] for _, at in window) for window in node.windows]
    pairs = zip(node.windows, tops, strict=True)
    return tuple(tuple(piece for piece, at in w if keys[at] == top) for w, top in pairs)


def _germ_pieces(node: UnitNode, values: Sequence[Sequence[int]]) -> Sequence[int]:
    if isinstance(node, Units):
        return [int(sign > 0) for sign in _germ_signs(values)]
    return [won[0] for won in _winners(node, values)]


def through(node: UnitNode, value: Levels, pieces: Sequence[int]) -> Levels:
    """The activations of a layer whose units are on the given pieces."""
    levels, den = value
    if isinstance(node, Units):
        factors = node.factors(pieces)
        return [list(map(mul, level, factors)) for level in levels], den << node.shift
    places = [dict(window)[k] for window, k in zip(node.windows, pieces, strict=True)]
    return [[level[at] for at in places] for level in levels], den


def _unpool(node: Max, grad: Sequence[int], pieces: Sequence[int], size: int) -> list[int]:
    out = [0] * size
    for g, window, k in zip(grad, node.windows, pieces, strict=True):
        if g:
            out[dict(window)[k]] += g
    return out


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
    words = [hashlib.sha256(struct.pack("<II", attempt, i)).digest() for i in range(dim)]
    return [int.from_bytes(w[: 2 + 4 * attempt], "little", signed=True) or 1 for w in words]
