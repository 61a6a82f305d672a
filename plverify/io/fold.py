"""Folding of traced nodes: fewer, and never anything rounded.

What is traced has one node per operation of the file: a bias added behind a convolution, a batch
normalisation, a transposition before a matrix. Composing linear nodes is exact, so whatever does
not make the network larger is composed: matrices with matrices, scales and shifts and gathers with
their neighbours, per-channel maps with the convolution before them. A convolution never becomes a
matrix. A network that is one chain of small maps ends up as ``Dense, Units, ..., Dense``, the form
in which the engine and the tests know it.

Exact numbers grow: the integers of a product have as many bits as both factors together, and rows
over many different denominators need the least common one. Where that would take more than
`MAX_BITS` bits or `MAX_COST` steps, nodes simply stay apart, which is just as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.exact_array import ExactArray, ExactRows, int_matmul
from plverify.io import rows as exact
from plverify.io.rows import fractions, take
from plverify.nodes import Conv, Dense, Linear, Max, Node, Sparse, Units, with_sources

MAX_BITS = 4096
"""Longest integers that folding may make."""
MAX_COST = 1 << 26
"""Most Python-integer operations of all compositions, about 100 ns each."""
MAX_FLOPS = 1 << 35
"""Most floating-point operations of all compositions."""
SMALL = 1 << 14
"""A dense matrix of that many entries is welcome even where it repeats work."""
DENSE = 1 << 22
"""Consecutive matrices become one up to that many entries, even if it is the larger."""
CHAIN = 1 << 20
"""Scales, gathers and identities of a chain become matrices of up to that many entries in all."""
MERGED = 1 << 18
"""Most rows over few inputs that are composed as fractions."""

Index = NDArray[Any]


def fold(
    nodes: Sequence[Node], output: int, input_size: int, max_cost: int = MAX_COST
) -> list[Node]:
    """The nodes that the output needs, composed where that pays, the last one linear.

    Parameters
    ----------
    nodes : sequence of nodes
        Node ``k`` makes tensor ``k + 1``.
    output : int
        The tensor that is the network's output.
    input_size : int
    max_cost : int
        Most Python-integer operations of all compositions.
    """
    work = _Work(nodes, output, input_size, max_cost)
    for tensor in work.order():
        work.reduce(tensor)
    work.chain()
    return work.result()


class _Budget:
    """What compositions have cost so far; one that would cost too much is left out."""

    def __init__(self, max_cost: int) -> None:
        self.cost = max_cost
        self.flops = MAX_FLOPS

    def allows(self, cost: int, flops: int = 0) -> bool:
        """Whether there is enough left; if so it is spent."""
        if cost > self.cost or flops > self.flops:
            return False
        self.cost -= cost
        self.flops -= flops
        return True


class _Work:
    """Nodes by the tensor they make, and which nodes read each tensor."""

    def __init__(self, nodes: Sequence[Node], output: int, input_size: int, max_cost: int) -> None:
        self.input_size = input_size
        self.output = output
        self.budget = _Budget(max_cost)
        needed = {output}
        for k in range(len(nodes) - 1, -1, -1):
            if k + 1 in needed:
                needed.update(nodes[k].sources)
        self.made = {k + 1: node for k, node in enumerate(nodes) if k + 1 in needed}
        self.readers: dict[int, set[int]] = {tensor: set() for tensor in needed | {0}}
        for tensor, node in self.made.items():
            for source in node.sources:
                self.readers[source].add(tensor)

    def order(self) -> list[int]:
        """The tensors in an order that makes before it reads."""
        return sorted(self.made)

    def size(self, tensor: int) -> int:
        """Size of a tensor."""
        return self.made[tensor].size if tensor else self.input_size

    def put(self, tensor: int, node: Node) -> None:
        """Replace the node of a tensor; what nothing reads any more goes away."""
        old = self.made[tensor].sources
        self.made[tensor] = node
        for source in old:
            self.readers[source].discard(tensor)
        for source in node.sources:
            self.readers[source].add(tensor)
        stack = list(old)
        while stack:
            source = stack.pop()
            if source and source in self.made and not self._uses(source):
                gone = self.made.pop(source)
                for other in gone.sources:
                    self.readers[other].discard(source)
                stack += gone.sources

    def _uses(self, tensor: int) -> int:
        return len(self.readers[tensor]) + (tensor == self.output)

    def _single(self, tensor: int) -> bool:
        return self._uses(tensor) == 1

    def reduce(self, tensor: int) -> None:
        """Compose the node of a tensor with those before it until nothing changes."""
        if tensor not in self.made:
            return
        while True:
            found = self._composed(self.made[tensor])
            if found is None:
                break
            self.put(tensor, found)
        node = self.made[tensor]
        if isinstance(node, Sparse) and len(node.parts) == 1 and node.gathers:
            source = node.parts[0]
            if node.size == self.size(source) and _is_range(node.index[:, 0]):
                self._forget(tensor, source)

    def _forget(self, tensor: int, source: int) -> None:
        """Whoever reads ``tensor`` reads the equal ``source`` from now on."""
        del self.made[tensor]
        self.readers[source].discard(tensor)
        for reader in self.readers.pop(tensor):
            self.made[reader] = _renamed(self.made[reader], {tensor: source})
            self.readers[source].add(reader)
        if tensor == self.output:
            self.output = source

    def _composed(self, node: Node) -> Node | None:
        if isinstance(node, Sparse):
            return self._sparse(node)
        if isinstance(node, Dense):
            return self._dense(node)
        if isinstance(node, Conv):
            inner = self.made.get(node.source)
            if isinstance(inner, Sparse) and len(inner.parts) == 1:
                return _conv_after_gather(node, inner, self.size(inner.parts[0]))
        if isinstance(node, Max) and len(node.parts) == 1:
            inner = self.made.get(node.parts[0])
            if isinstance(inner, Sparse) and len(inner.parts) == 1:
                return _max_after_gather(node, inner, self.size(inner.parts[0]))
        return None

    def _sparse(self, node: Sparse) -> Node | None:
        for part in node.parts:
            inner = self.made.get(part)
            if isinstance(inner, Sparse) and inner.gathers:
                return self._gather_of_gather(node, part, inner)
        if len(node.parts) > 1:
            return None
        part = node.parts[0]
        inner = self.made.get(part)
        if isinstance(inner, Sparse) and (self._single(part) or inner.index.shape[1] == 1):
            return _sparse_after_sparse(self.budget, node, inner)
        if isinstance(inner, Dense):
            entries = node.size * (inner.rows.cols + 1)
            largest = max(_entries(inner), _entries(node))
            if entries <= SMALL or (self._single(part) and entries <= largest):
                return _sparse_after_dense(self.budget, node, inner)
        if isinstance(inner, Conv) and self._single(part):
            return _sparse_after_conv(self.budget, node, inner)
        return None

    def _gather_of_gather(self, node: Sparse, part: int, inner: Sparse) -> Sparse | None:
        """``node`` reads what the gather ``inner`` reads."""
        tensors = list(dict.fromkeys([*(p for p in node.parts if p != part), *inner.parts]))
        ends = np.cumsum([self.size(tensor) for tensor in tensors])
        if ends[-1] >= 1 << 31:
            return None
        starts = dict(zip(tensors, (ends - [self.size(t) for t in tensors]).tolist(), strict=True))
        which, place = self._located(node.parts, node.index)
        index = np.full(node.index.shape, -1, np.int64)
        for k, p in enumerate(node.parts):
            here = which == k
            if p != part:
                index[here] = place[here] + starts[p]
                continue
            behind = inner.index[place[here], 0]
            source, spot = self._located(inner.parts, behind)
            index[here] = spot + np.array([starts[q] for q in inner.parts])[source]
        return Sparse(tuple(tensors), index.astype(np.int32), node.rows)

    def _located(self, parts: Sequence[int], index: Index) -> tuple[Index, Index]:
        """Which part an index into joined tensors falls in (-1: none), and where there."""
        sizes = [self.size(part) for part in parts]
        ends = np.cumsum(sizes)
        which = np.searchsorted(ends, index, side="right")
        place = index - (ends - sizes)[which]
        return np.where(index < 0, -1, which), place

    def _dense(self, node: Dense) -> Dense | None:
        inner = self.made.get(node.source)
        if isinstance(inner, Dense):
            entries = node.size * (inner.rows.cols + 1)
            largest = max(_entries(inner), _entries(node), DENSE)
            if entries <= SMALL or (self._single(node.source) and entries <= largest):
                composed = _after(self.budget, node.rows, inner.rows)
                return None if composed is None else Dense(inner.source, composed)
        if isinstance(inner, Sparse) and len(inner.parts) == 1:
            columns = self.size(inner.parts[0])
            entries = node.size * (columns + 1)
            largest = max(_entries(inner), _entries(node))
            cheap = self._single(node.source) or inner.gathers
            if entries <= SMALL or (cheap and entries <= largest):
                composed = _dense_after_sparse(self.budget, node.rows, inner, columns)
                return None if composed is None else Dense(inner.parts[0], composed)
        return None

    # -------------------------------------------------------------------- chains

    def chain(self) -> None:
        """Make a chain of small maps ``Dense, Units, ..., Dense``."""
        last, grown = 0, 0
        steps: list[Node] = []
        for tensor in self.order():
            node = self.made[tensor]
            if not isinstance(node, (Dense, Sparse, Units)) or node.sources != (last,):
                return
            bare = not isinstance(self.made.get(last), (Dense, Sparse))
            if isinstance(node, Sparse) or (isinstance(node, Units) and bare):
                grown += node.size * (self.size(last) + 1)
            if grown > CHAIN:
                return
            steps.append(node)
            last = tensor
        if self.output != last:
            return
        maps: list[Node] = []
        for node in steps:
            if isinstance(node, Sparse):
                rows = exact.spread(node.index, node.rows, self.size(node.parts[0]))
                node = Dense(0, rows)
            if isinstance(node, Units) and (not maps or isinstance(maps[-1], Units)):
                maps.append(Dense(0, ExactRows.identity(node.size)))
            if isinstance(node, Dense) and maps and isinstance(maps[-1], Dense):
                entries = node.size * (maps[-1].rows.cols + 1)
                composed = None
                if entries <= DENSE:
                    composed = _after(self.budget, node.rows, maps[-1].rows)
                if composed is None:
                    return  # no alternating chain: better as it was
                maps[-1] = Dense(0, composed)
                continue
            maps.append(node)
        done: list[Node] = []
        for k, node in enumerate(maps):
            done.append(_renamed(node, {node.sources[0]: k}))
        self.made = {k + 1: node for k, node in enumerate(done)}
        self.output = len(done)

    def result(self) -> list[Node]:
        """The nodes with their tensors numbered anew, a linear one last."""
        numbers = {0: 0}
        out: list[Node] = []
        for tensor in self.order():
            out.append(_renamed(self.made[tensor], numbers))
            numbers[tensor] = len(out)
        output = numbers[self.output]
        if not out or output != len(out) or not isinstance(out[-1], Linear):
            size = self.size(self.output)
            if size * (size + 1) <= CHAIN:
                out.append(Dense(output, ExactRows.identity(size)))
            else:
                index = np.arange(size, dtype=np.int32)[:, None]
                out.append(Sparse((output,), index, exact.equal_rows([1], size)))
        return out


def _renamed(node: Node, numbers: dict[int, int]) -> Node:
    """A node whose sources have other numbers."""
    return with_sources(node, [numbers.get(s, s) for s in node.sources])


def _entries(node: Dense | Sparse) -> int:
    return node.rows.rows * (node.rows.cols + 1)


def _is_range(index: NDArray[np.int32]) -> bool:
    return bool((index == np.arange(len(index))).all())


# ------------------------------------------------------------------ compositions


def _after(budget: _Budget, outer: ExactRows, inner: ExactRows) -> ExactRows | None:
    """``outer`` after ``inner``; None where the integers or the cost would be too large."""
    common = exact.common_bits(inner.dens, MAX_BITS)
    left, right = exact.entry_bits(outer), exact.entry_bits(inner) + common
    if left + right > MAX_BITS:
        return None
    width = max(1, (53 - outer.cols.bit_length()) // 2)
    limbs = (left // width + 1, right // width + 1)
    entries = outer.rows * (inner.cols + 1)
    products = entries * limbs[0] * limbs[1]
    if not budget.allows(products, products * outer.cols):
        return None
    return outer.after(inner)


def _dense_after_sparse(
    budget: _Budget, outer: ExactRows, inner: Sparse, columns: int
) -> ExactRows | None:
    if inner.index.shape[1] > 1:
        if inner.size * (columns + 1) > CHAIN or not budget.allows(inner.size * (columns + 1)):
            return None
        return _after(budget, outer, exact.spread(inner.index, inner.rows, columns))
    index = inner.index[:, 0].astype(np.int64)
    there = index >= 0
    if len(np.unique(index[there])) != there.sum():
        if inner.size * (columns + 1) > CHAIN or not budget.allows(inner.size * (columns + 1)):
            return None
        return _after(budget, outer, exact.spread(inner.index, inner.rows, columns))
    if inner.gathers:
        return exact.place_columns(outer, index, columns)
    bits = exact.common_bits(inner.rows.dens, MAX_BITS) + exact.entry_bits(inner.rows)
    if bits + exact.entry_bits(outer) > MAX_BITS or not budget.allows(4 * outer.num.size):
        return None
    scale, shift = fractions(inner.rows, 0), fractions(inner.rows, 1)
    if all(s == 1 for s, t in zip(scale, there.tolist(), strict=True) if t):
        outer = outer.shifted(exact.exact_vector(shift))
        if not there.all():
            outer = exact.select_columns(outer, np.flatnonzero(there))
            index = index[there]
            # Without some of its entries a row may have a smaller denominator.
            outer = ExactRows.from_integers(outer.integers.tolist(), outer.dens)
        return exact.place_columns(outer, index, columns)
    factors, den = exact.common_scale(scale)
    offsets, offset_den = exact.common_scale(shift)
    table = outer.integers.astype(object)
    bias = int_matmul(outer.integers[:, :-1], _column(offsets))[:, 0]
    num = np.zeros((outer.rows, columns + 1), object)
    num[:, index[there]] = (table[:, :-1] * _vector(factors))[:, there] * offset_den
    num[:, -1] = (table[:, -1] * offset_den + bias) * den
    dens = [d * den * offset_den for d in outer.dens]
    return ExactRows.from_integers(num.tolist(), dens)


def _vector(values: Sequence[int]) -> NDArray[np.object_]:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _column(values: Sequence[int]) -> NDArray[np.object_]:
    return _vector(values)[:, None]


def _sparse_after_sparse(budget: _Budget, outer: Sparse, inner: Sparse) -> Sparse | None:
    """Rows of one input each, of anything with few inputs."""
    if outer.index.shape[1] > 1:
        return None
    chosen = outer.index[:, 0]
    width = inner.index.shape[1]
    entries = outer.size * (width + 1)
    if width > 1 and entries > max(_entries(inner), _entries(outer)):
        return None
    if (chosen < 0).any():
        return None
    index = inner.index[chosen]
    if outer.gathers:
        return Sparse(inner.parts, index, take(inner.rows, chosen))
    where, pairs = _distinct_pairs(outer.rows, inner.rows, chosen)
    if len(pairs[0]) * (width + 1) > MERGED:
        return None
    first, second = take(outer.rows, pairs[0]), take(inner.rows, pairs[1])
    if exact.entry_bits(first) + exact.entry_bits(second) > MAX_BITS:
        return None
    if not budget.allows(16 * second.num.size):
        return None
    rows = exact.scaled(second, fractions(first, 0), fractions(first, 1))
    return Sparse(inner.parts, index, take(rows, where))


def _distinct_pairs(
    outer: ExactRows, inner: ExactRows, chosen: NDArray[np.int32]
) -> tuple[Index, tuple[Index, Index]]:
    """The different pairs of (row of outer, row of inner) and which pair every row has."""
    a, b = _distinct(outer), _distinct(inner)
    pair = a[1] * len(b[0]) + b[1][chosen]
    _, first, where = np.unique(pair, return_index=True, return_inverse=True)
    return where, (first, chosen[first].astype(np.int64))


def _distinct(rows: ExactRows) -> tuple[Index, Index]:
    """First occurrence of every different row, and the number of every row among them."""
    columns = [rows.num, rows.shift[:, None]]
    if rows.up is not None:
        columns.append(rows.up)
    if rows.den is not None:
        columns.append(_column(rows.den))
    if any(column.dtype == object for column in columns):
        numbers: dict[tuple[int, ...], int] = {}
        first, which = [], []
        for i, key in enumerate(zip(*(map(tuple, c.tolist()) for c in columns), strict=True)):
            if key not in numbers:
                numbers[key] = len(numbers)
                first.append(i)
            which.append(numbers[key])
        return np.array(first, np.int64), np.array(which, np.int64)
    table = np.ascontiguousarray(np.concatenate(columns, axis=1))
    lines = table.view([("", table.dtype)] * table.shape[1]).reshape(-1)
    _, begin, where = np.unique(lines, return_index=True, return_inverse=True)
    return begin, where.reshape(-1)


def _sparse_after_dense(budget: _Budget, outer: Sparse, inner: Dense) -> Dense | None:
    width = outer.index.shape[1]
    if width > 1:
        if outer.size * (inner.size + 1) > CHAIN or not budget.allows(outer.size * inner.size):
            return None
        composed = _after(budget, exact.spread(outer.index, outer.rows, inner.size), inner.rows)
        return None if composed is None else Dense(inner.source, composed)
    chosen = outer.index[:, 0]
    if (chosen < 0).any():
        return None
    rows = inner.rows if _is_range(chosen) and outer.size == inner.size else None
    if rows is None:
        rows = take(inner.rows, chosen)
    if not outer.gathers:
        if exact.entry_bits(outer.rows) + exact.entry_bits(rows) > MAX_BITS:
            return None
        one = outer.rows
        if _is_shift(one):
            rows = rows.plus(_floats(one))
        elif not budget.allows(4 * rows.num.size):
            return None
        else:
            rows = exact.scaled(rows, fractions(one, 0), fractions(one, 1))
    return Dense(inner.source, rows)


def _is_shift(rows: ExactRows) -> bool:
    """Whether every row is ``x + constant``."""
    if rows.den is not None or rows.num.dtype == object:
        return False
    up = np.zeros(rows.rows, np.int64) if rows.up is None else rows.up[:, 0]
    bits = np.frexp(np.abs(rows.num[:, 0]).astype(np.float64))
    power = (bits[0] == 0.5) & (rows.num[:, 0] > 0)
    return bool((power & (bits[1] - 1 + up == rows.shift)).all())


def _floats(rows: ExactRows) -> ExactArray:
    """The biases of rows that were made of floats."""
    values = rows.floats()[:, -1]
    exactly = fractions(rows, rows.cols) if not _fits_float(rows) else None
    return ExactArray(values) if exactly is None else exact.exact_vector(exactly)


def _fits_float(rows: ExactRows) -> bool:
    """Whether float64 holds the biases: int64 numerators of at most 53 bits, no underflow."""
    if rows.den is not None or rows.num.dtype == object:
        return False
    num = rows.num[:, -1]
    odd = np.abs(num) // np.maximum(num & -num, 1)
    small = bool((odd < 1 << 53).all() and rows.shift.max(initial=0) < 1000)
    return small and (rows.up is None or bool((rows.up[:, -1] < 900).all()))


def _sparse_after_conv(budget: _Budget, outer: Sparse, inner: Conv) -> Conv | None:
    """A per-channel map of whole channels, or of the same positions of each."""
    if outer.index.shape[1] > 1:
        return None
    chosen = outer.index[:, 0].astype(np.int64)
    if (chosen < 0).any():
        return None
    channel, place = np.divmod(chosen, inner.places)
    width = int(np.argmax(channel != channel[0])) or len(channel)
    if len(channel) % width:
        return None
    channels, places = channel[::width], place[:width]
    if not (channel.reshape(-1, width) == channels[:, None]).all():
        return None
    if not (place.reshape(-1, width) == places).all():
        return None
    same = len(channels) == inner.rows.rows and _is_range(channels)
    if not same and inner.groups > 1:
        return None
    rows = inner.rows if same else take(inner.rows, channels)
    if not outer.gathers:
        one = take(outer.rows, np.arange(0, outer.size, width))
        if not _equal_rows(outer.rows, take(one, np.repeat(np.arange(len(channels)), width))):
            return None
        if exact.entry_bits(one) + exact.entry_bits(rows) > MAX_BITS:
            return None
        if not budget.allows(4 * rows.num.size):
            return None
        rows = exact.scaled(rows, fractions(one, 0), fractions(one, 1))
    taps = inner.taps
    if width != inner.places or not _is_range(places):
        taps = np.ascontiguousarray(taps[:, places])
    return replace(inner, taps=taps, rows=rows)


def _equal_rows(a: ExactRows, b: ExactRows) -> bool:
    up = (a.up is None) == (b.up is None) and (a.up is None or bool((a.up == b.up).all()))
    return up and a.den == b.den and bool((a.num == b.num).all() and (a.shift == b.shift).all())


def _spatial(inner: Sparse, channels: int, positions: int, size: int) -> Index | None:
    """Which old position every new one is, for a copy that moves positions alike in all channels.

    -1 stands for a zero. ``size`` is that of the tensor that ``inner`` reads.
    """
    if inner.index.shape[1] > 1 or inner.rows.up is not None or inner.rows.den is not None:
        return None
    num = inner.rows.num
    if size % channels or num.dtype == object or num[:, 1].any() or inner.rows.shift.any():
        return None
    index = inner.index[:, 0].astype(np.int64)
    if not (num[:, 0] == (index >= 0)).all():
        return None
    old = size // channels
    table = index.reshape(channels, positions)
    if table[0].max() >= old:
        return None
    expected = np.where(table[0] >= 0, table[0] + np.arange(channels)[:, None] * old, -1)
    return table[0] if (table == expected).all() else None


def _conv_after_gather(outer: Conv, inner: Sparse, size: int) -> Conv | None:
    """A convolution reads through a padding, a crop or a shuffle of positions."""
    table = _spatial(inner, outer.channels, outer.positions, size)
    if table is None:
        return None
    taps = np.append(table, -1)[outer.taps].astype(np.int32)
    return replace(outer, source=inner.parts[0], positions=size // outer.channels, taps=taps)


def _max_after_gather(outer: Max, inner: Sparse, size: int) -> Max | None:
    """A pool reads through a crop or a shuffle of positions; its padding is not zero."""
    table = _spatial(inner, outer.channels, outer.positions, size)
    if table is None or (table < 0).any():
        return None
    taps = exact.once(np.append(table, -1)[outer.taps])
    return replace(outer, parts=inner.parts, positions=size // outer.channels, taps=taps)
