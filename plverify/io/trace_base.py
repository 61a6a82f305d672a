"""Traced values, constants, and the part of a graph that needs no weights.

`Live` values and everything that only moves them about, sums, scales and units; `plverify.io.trace`
has the rest of `Graph` and says what all of it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.io import rows as exact
from plverify.io.fold import MAX_COST, fold
from plverify.io.rows import affine_rows, equal_rows, take
from plverify.network import Network, dyadic_slope
from plverify.nodes import Max, Node, Sparse, Units

MAX_ENTRIES = 3 << 26
"""Most entries of all tables of numbers and positions together."""
MAX_WORK = 1 << 27
"""Most entries that all traced operations may touch, weights not counted: a few seconds."""
MAX_VALUE = 1 << 22
"""Most entries of one traced value."""
MAX_RANK = 16
_SLOW = 256
"""What a number that is a Python object costs, counted in entries of an array."""

Positions: TypeAlias = NDArray[np.int64]
Constant: TypeAlias = Any
"""A numpy array of floats, an `ExactArray`, or whatever makes one: numbers, lists, Fractions."""


@dataclass(frozen=True, eq=False)
class Live:
    """A computed value: entry ``i`` is entry ``index[i]`` of the flat tensor ``tensor``."""

    tensor: int
    index: Positions

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.index.shape

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.index.size)


Value: TypeAlias = Live | Constant


@dataclass(eq=False)
class Executed:
    """What one traced node was in the file.

    Attributes
    ----------
    node : Node
        As traced: its sources are tensors of the graph.
    name : str or None
        The first named tensor that is exactly this node's output; `Graph.names` has its `Live`,
        whose positions are a permutation of the node's tensor. None inside an operation that takes
        several nodes.
    terms : int
        Bound on the roundings that one entry goes through.
    extra : float or (size,) array
        Magnitude that the file's own way to compute it may add to ``|W| |x| + |b|``.
    dtype : numpy dtype
        Element type in which it is computed.
    """

    node: Node
    name: str | None
    terms: int
    extra: float | FloatArray
    dtype: Any


class Structure:
    """The graph itself, and everything that only moves values about."""

    def __init__(
        self, input_shape: Sequence[int], dtype: Any = np.float32, max_entries: int = MAX_ENTRIES
    ) -> None:
        self.max_entries = min(max_entries, MAX_ENTRIES)
        self.fold_cost = MAX_COST
        self.input_shape = tuple(int(d) for d in input_shape)
        self.dtype = dtype
        self.nodes: list[Node] = []
        self.executed: list[Executed] = []
        self.names: dict[str, Live] = {}
        self.definitions: list[str] = []
        self.outputs: tuple[str, ...] = ()
        self._work = 0
        self._entries = 0
        self._ranges: dict[int, Positions] = {}
        self._wholes: dict[int, tuple[Live, int]] = {}
        self.sizes = [_size(self.input_shape)]
        if self.sizes[0] < 1:
            raise InputError(f"the input has shape {self.input_shape}")

    def input(self) -> Live:
        """The input."""
        return self.live(0, self.input_shape)

    def live(self, tensor: int, shape: Sequence[int]) -> Live:
        """A whole tensor in its own order."""
        return Live(tensor, self._arange(self.sizes[tensor]).reshape(tuple(shape)))

    def emit(
        self, node: Node, shape: Sequence[int], terms: int = 0, extra: float | FloatArray = 0.0
    ) -> Live:
        """Append a node; its output as a value of the given shape."""
        if node.size > MAX_VALUE:
            raise InputError(f"makes {node.size} values, more than {MAX_VALUE}")
        try:
            node.check([self.sizes[source] for source in node.sources])
        except InputError as error:
            raise InputError(f"makes a node that {error}") from None
        self.nodes.append(node)
        self.sizes.append(node.size)
        self.executed.append(Executed(node, None, terms, extra, self.dtype))
        self._charge(node.size)
        return self.live(len(self.nodes), shape)

    def name(self, name: str, value: Live) -> None:
        """Remember what the file's tensor ``name`` is."""
        self.names[name] = value
        if value.tensor:
            made = self.executed[value.tensor - 1]
            if made.name is None and value.size == self.sizes[value.tensor]:
                seen = np.zeros(value.size, np.bool_)
                seen[value.index] = True
                if seen.all():
                    made.name = name

    def define(self, sentence: str) -> None:
        """Add a sentence to the network's definitions, once."""
        if sentence not in self.definitions:
            self.definitions.append(sentence)

    def _arange(self, size: int) -> Positions:
        found = self._ranges.get(size)
        if found is None:
            found = np.arange(size, dtype=np.int64)
            found.flags.writeable = False
            self._ranges[size] = found
        return found

    def _charge(self, work: int, entries: int = 0) -> None:
        """Count work and table entries before they are allocated."""
        self._work += work + 64
        self._entries += entries
        if self._work > MAX_WORK or self._entries > self.max_entries:
            raise InputError("is too large: the network exceeds the limits of the importer")

    def view(self, x: Live, index: Positions) -> Live:
        """A value made of entries of the tensor that ``x`` shows, at the given positions."""
        if index.size > MAX_VALUE or index.ndim > MAX_RANK:
            raise InputError(f"makes a value of shape {index.shape}, too large")
        self._charge(index.size // 4)
        return Live(x.tensor, index)

    # -------------------------------------------------------------------- views

    def reshape(self, x: Live, shape: Sequence[int]) -> Live:
        """The entries in another shape; one dimension may be -1."""
        wanted = resolve_shape(shape, x.size)
        if wanted is None:
            raise InputError(f"cannot reshape {x.shape} to {tuple(shape)}")
        return self.view(x, x.index.reshape(wanted))

    def transpose(self, x: Live, perm: Sequence[int]) -> Live:
        """The axes in the order ``perm``."""
        rank = len(x.shape)
        axes = [normal_axis(axis, rank) for axis in perm]
        if sorted(axes) != list(range(rank)):
            raise InputError(f"permutation {list(perm)[:MAX_RANK]} does not fit shape {x.shape}")
        return self.view(x, x.index.transpose(axes))

    def index(self, x: Live, item: Any) -> Live:
        """``x[item]`` with anything that numpy takes between the brackets, constants only."""
        try:
            return self.view(x, np.asarray(x.index[item], np.int64))
        except (IndexError, TypeError, ValueError, MemoryError) as error:
            raise InputError(f"an index does not fit shape {x.shape}: {error}") from None

    def expand(self, x: Live, shape: Sequence[int]) -> Live:
        """``x`` repeated to the broadcast of its shape and ``shape``."""
        wanted = broadcast(x.shape, shape)
        return self.view(x, np.broadcast_to(x.index, wanted))

    def concat(self, parts: Sequence[Value], axis: int) -> Live:
        """Values and constants one after the other along an axis."""
        shapes = [_shape(part) for part in parts]
        if not parts or not shapes[0]:
            raise InputError("joins nothing" if not parts else "joins scalars")
        axis = normal_axis(axis, len(shapes[0]))
        rest = {(len(s), *s[:axis], *s[axis + 1 :]) for s in shapes}
        if len(rest) > 1:
            raise InputError(f"shapes {_listed(shapes)} do not fit along axis {axis}")
        shape = list(shapes[0])
        shape[axis] = sum(s[axis] for s in shapes)
        _size(shape)
        live = [part for part in parts if isinstance(part, Live)]
        if not live:
            raise InputError("joins constants only")
        if len(live) == len(parts) and len({part.tensor for part in live}) == 1:
            return self.view(live[0], np.concatenate([part.index for part in live], axis=axis))
        tensors = list(dict.fromkeys(part.tensor for part in live if part.size))
        starts = self._starts(tensors)
        columns, values = [], []
        for part in parts:
            if isinstance(part, Live):
                columns.append(part.index + starts.get(part.tensor, 0))
                values.append(ExactArray(np.zeros(part.shape)))
            else:
                constant = as_exact(part)
                columns.append(np.full(constant.shape, -1, np.int64))
                values.append(constant)
        joined = np.concatenate(columns, axis=axis)
        if not tensors or not joined.size:
            raise InputError("joins empty values only")
        if all(v.data.dtype != object for v in values):
            shift = ExactArray(np.concatenate([v.data for v in values], axis=axis))
        else:
            shift = ExactArray(np.concatenate([v.fractions() for v in values], axis=axis))
        return self._select(tensors, joined, shift)

    def pad(
        self, x: Live, before: Sequence[int], after: Sequence[int], value: Constant = 0
    ) -> Live:
        """``value`` around ``x``; negative amounts cut off."""
        rank = len(x.shape)
        if len(before) != rank or len(after) != rank:
            raise InputError(f"{len(before)} pads do not fit shape {x.shape}")
        shape = [s + b + a for s, b, a in zip(x.shape, before, after, strict=True)]
        if min(shape, default=1) < 1:
            raise InputError(f"its pads make shape {tuple(shape)}")
        _size(shape)
        cut = tuple(
            slice(max(-b, 0), s - max(-a, 0))
            for s, b, a in zip(x.shape, before, after, strict=True)
        )
        inner = self.view(x, x.index[cut])
        grow = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
        if not any(b or a for b, a in grow):
            return inner
        index = np.pad(inner.index, grow, constant_values=-1)
        fill = as_exact(value)
        if fill.shape != ():
            raise InputError(f"pads with a constant of shape {fill.shape}, expected a scalar")
        flat = fill.fractions().item()
        if flat == 0:
            shift = ExactArray(np.zeros(index.shape))
        elif fill.data.dtype != object:
            shift = ExactArray(np.where(index < 0, float(fill.data), 0.0))
        else:
            table = np.full(index.shape, Fraction(0), object)
            table[index < 0] = flat
            shift = ExactArray(table)
        return self._select([x.tensor], index, shift)

    def _select(self, tensors: Sequence[int], index: Positions, shift: ExactArray) -> Live:
        """Copies of entries of joined tensors, constants ``shift`` where the index is -1."""
        flat = index.reshape(-1)
        self._charge(8 * flat.size, 2 * flat.size)
        scale = (flat >= 0).astype(np.float64)
        rows = affine_rows(ExactArray(scale), shift.reshape(flat.size))
        node = Sparse(tuple(tensors), flat[:, None].astype(np.int32), rows)
        return self.emit(node, index.shape)

    def _starts(self, tensors: Sequence[int]) -> dict[int, int]:
        """Where each tensor begins when they are joined."""
        starts, at = {}, 0
        for tensor in tensors:
            starts[tensor] = at
            at += self.sizes[tensor]
        return starts

    # ------------------------------------------------------------ whole tensors

    def _is_whole(self, x: Live) -> bool:
        """Whether ``x`` is all of its tensor in order."""
        size = self.sizes[x.tensor]
        return x.size == size and bool((x.index.reshape(-1) == self._arange(size)).all())

    def whole(self, x: Live) -> int:
        """A tensor that holds exactly the entries of ``x`` in order."""
        if not x.size:
            raise InputError(f"reads an empty value of shape {x.shape}")
        if self._is_whole(x):
            return x.tensor
        known = self._wholes.get(id(x))
        if known is not None:
            return known[1]
        self._charge(4 * x.size, 2 * x.size)
        index = x.index.reshape(-1, 1).astype(np.int32)
        made = self.emit(Sparse((x.tensor,), index, equal_rows([1], x.size)), (x.size,)).tensor
        self._wholes[id(x)] = (x, made)  # the value is kept so that its id stays its own
        return made

    def finish(self, x: Live) -> Network:
        """The network whose output is ``x``."""
        nodes = fold(self.nodes, self.whole(x), self.sizes[0], self.fold_cost)
        return Network(
            self.sizes[0],
            nodes,
            definitions=self.definitions,
            input_shape=self.input_shape,
        )


class Elementwise(Structure):
    """Sums, scales and units."""

    # --------------------------------------------------------------- arithmetic

    def add(self, a: Value, b: Value) -> Live:
        """``a + b``, broadcasting both ways."""
        return self.sum([a, b])

    def sub(self, a: Value, b: Value) -> Live:
        """``a - b``, broadcasting both ways."""
        if isinstance(a, Live) and isinstance(b, Live):
            return self._combine([(1, a), (-1, b)])
        if isinstance(a, Live):
            return self.affine(a, 1, _negative(as_exact(b)))
        return self.affine(_need(b), -1, a)

    def sum(self, parts: Sequence[Value]) -> Live:
        """The sum of values and constants, broadcasting."""
        live = [part for part in parts if isinstance(part, Live)]
        if not live:
            raise InputError("has no computed input")
        out = live[0] if len(live) == 1 else self._combine([(1, part) for part in live])
        for part in parts:
            if not isinstance(part, Live):
                out = self.affine(out, 1, part)
        return out

    def neg(self, x: Live) -> Live:
        """``-x``."""
        return self.affine(x, -1, 0)

    def mul(self, x: Value, factor: Value) -> Live:
        """``x * factor`` with one constant factor."""
        if isinstance(x, Live) and isinstance(factor, Live):
            raise InputError("multiplies two computed values: that is not piecewise linear")
        if not isinstance(x, Live):
            x, factor = factor, x
        return self.affine(_need(x), factor, 0, terms=1)

    def div(self, x: Value, divisor: Value) -> Live:
        """``x / divisor`` with a constant divisor, as an exact fraction."""
        if isinstance(divisor, Live) or not isinstance(x, Live):
            raise InputError("divides by a computed value: that is not piecewise linear")
        values = as_exact(divisor)
        if (values.data == 0).any():
            raise InputError("divides by 0")
        self._charge(_SLOW * values.data.size)
        flat = values.data.reshape(-1).tolist()
        known = {v: 1 / Fraction(v) for v in set(flat)}
        factors = exact.exact_vector([known[v] for v in flat])
        return self.affine(x, factors.reshape(*values.shape), 0, terms=1)

    def affine(
        self,
        x: Live,
        scale: Constant,
        shift: Constant,
        terms: int = 2,
        extra: Constant = 0.0,
    ) -> Live:
        """``x * scale + shift`` with exact constants, broadcasting."""
        factors, offsets = as_exact(scale), as_exact(shift)
        small = broadcast(factors.shape, offsets.shape)
        shape = broadcast(x.shape, small)
        if not prod(shape):
            raise InputError(f"reads an empty value of shape {shape}")
        slow = object in (factors.data.dtype, offsets.data.dtype)
        self._charge(8 * prod(shape) + (_SLOW if slow else 8) * prod(small), 2 * prod(shape))
        rows = affine_rows(_stretch(factors, small), _stretch(offsets, small))
        if prod(small) != prod(shape):
            which = np.arange(prod(small)).reshape(small)
            rows = take(rows, np.broadcast_to(which, shape).reshape(-1))
        index = np.broadcast_to(x.index, shape).reshape(-1, 1).astype(np.int32)
        size = np.broadcast_to(np.asarray(extra, np.float64), shape).reshape(-1)
        more: float | FloatArray = size if size.any() else 0.0
        return self.emit(Sparse((x.tensor,), index, rows), shape, terms, more)

    def product(self, values: ExactArray, factor: Fraction) -> ExactArray:
        """An exact constant multiplied by an exact number."""
        if factor == 1:
            return values
        self._charge(_SLOW * values.data.size)
        return ExactArray(np.asarray(values.fractions() * factor, object), values.name)

    def _combine(self, terms: Sequence[tuple[int, Live]]) -> Live:
        """A sum of values with small integer coefficients."""
        shape: tuple[int, ...] = ()
        for _, part in terms:
            shape = broadcast(shape, part.shape)
        if not prod(shape):
            raise InputError(f"reads an empty value of shape {shape}")
        merged: list[tuple[int, Live]] = []
        for coefficient, part in terms:
            for k, (known, other) in enumerate(merged):
                if other.tensor == part.tensor and _same(other.index, part.index):
                    merged[k] = (known + coefficient, other)
                    break
            else:
                merged.append((coefficient, part))
        count = prod(shape)
        self._charge(8 * count * len(merged), count * (len(merged) + 1))
        if len(merged) == 1 and merged[0][0] == 0:
            return self.affine(self.expand(merged[0][1], shape), 0, 0)
        tensors = list(dict.fromkeys(part.tensor for _, part in merged))
        starts = self._starts(tensors)
        columns = [
            np.broadcast_to(part.index + starts[part.tensor], shape).reshape(-1)
            for _, part in merged
        ]
        index = np.stack(columns, axis=1).astype(np.int32)
        rows = equal_rows([coefficient for coefficient, _ in merged], count)
        return self.emit(Sparse(tuple(tensors), index, rows), shape, len(terms))

    # -------------------------------------------------------------------- units

    def relu(self, x: Live) -> Live:
        """``max(x, 0)``."""
        return self._units(x, (0, 0))

    def leaky_relu(self, x: Live, slope: Any) -> Live:
        """``x`` where it is positive, ``slope * x`` elsewhere; the slope is a dyadic number."""
        return self._units(x, dyadic_slope(slope))

    def abs(self, x: Live) -> Live:
        """``|x|``."""
        return self._units(x, (-1, 0))

    def prelu(self, x: Live, slopes: Constant) -> Live:
        """`leaky_relu` with a slope per entry; ``slopes`` broadcasts to ``x``."""
        values = as_exact(slopes)
        if not fits(values.shape, x.shape):
            raise InputError(f"slopes of shape {values.shape} do not fit {x.shape}")
        self._charge(16 * x.size + _SLOW * values.data.size)
        kinds: dict[Any, tuple[int, int]] = {}
        for v in values.data.reshape(-1).tolist():
            if v not in kinds:
                kinds[v] = dyadic_slope(v)
        if len(kinds) == 1:
            return self._units(x, next(iter(kinds.values())))
        numbers = {v: k for k, v in enumerate(kinds)}
        table = list(kinds.values())
        flat = np.array([numbers[v] for v in values.data.reshape(-1).tolist()])
        which = np.broadcast_to(flat.reshape(values.shape), x.shape).reshape(-1)
        # Every entry is a unit of its own, because an entry read twice may have two slopes.
        source = self.whole(x)
        return self.emit(Units(source, tuple(table[k] for k in which.tolist())), x.shape)

    def _units(self, x: Live, slope: tuple[int, int]) -> Live:
        """One unit for every entry of the tensor that ``x`` shows."""
        if not x.size:
            raise InputError(f"reads an empty value of shape {x.shape}")
        source, index = x.tensor, x.index
        if not self._is_whole(x):
            self._charge(self.sizes[source])
            seen = np.zeros(self.sizes[source], np.bool_)
            seen[x.index] = True
            if not seen.all():
                # Entries that nothing shows are no units: only the others get through.
                needed = np.flatnonzero(seen)
                place = np.cumsum(seen) - 1
                index = place[x.index]
                source = self.whole(Live(source, needed))
        made = self.emit(Units(source, (slope,) * self.sizes[source]), (self.sizes[source],))
        return Live(made.tensor, index)

    def clip(self, x: Live, lo: Constant = -np.inf, hi: Constant = np.inf) -> Live:
        """``min(max(x, lo), hi)``; the bounds may be infinite."""
        low, high = as_exact(lo, allow_inf=True), as_exact(hi, allow_inf=True)
        for bound in (low, high):
            if not fits(bound.shape, x.shape):
                raise InputError(f"bounds of shape {bound.shape} do not fit {x.shape}")
        some_low, some_high = _finite(low, -np.inf, "min"), _finite(high, np.inf, "max")
        if not some_low and not some_high:
            return x
        if not some_high:
            return self.affine(self.relu(self.affine(x, 1, _negative(low))), 1, low)
        if not some_low:
            return self.affine(self.relu(self.affine(x, -1, high)), -1, high)
        self._charge(_SLOW * (low.data.size + high.data.size))
        first = self.relu(self.affine(x, 1, _negative(low)))
        width = ExactArray(np.asarray(high.fractions() - low.fractions(), object))
        second = self.relu(self.affine(first, -1, width))
        return self.affine(second, -1, high)

    def maximum(self, *parts: Value) -> Live:
        """The entrywise maximum of values and constants, broadcasting."""
        live = [part for part in parts if isinstance(part, Live)]
        if not live:
            raise InputError("has no computed input")
        shape: tuple[int, ...] = ()
        for part in parts:
            shape = broadcast(shape, _shape(part))
        distinct: list[Live] = []
        for part in live:
            if not any(p.tensor == part.tensor and _same(p.index, part.index) for p in distinct):
                distinct.append(part)
        out = self.expand(distinct[0], shape)
        if len(distinct) > 1:
            if not prod(shape):
                raise InputError(f"reads an empty value of shape {shape}")
            tensors = list(dict.fromkeys(part.tensor for part in distinct))
            starts = self._starts(tensors)
            self._charge(8 * prod(shape) * len(distinct), prod(shape) * len(distinct))
            taps = np.stack(
                [
                    np.broadcast_to(part.index + starts[part.tensor], shape).reshape(-1)
                    for part in distinct
                ]
            )
            total = sum(self.sizes[tensor] for tensor in tensors)
            node = Max(tuple(tensors), 1, total, exact.once(taps))
            out = self.emit(node, shape)
        for part in parts:
            if not isinstance(part, Live):
                out = self.clip(out, lo=part)
        return out

    def minimum(self, *parts: Value) -> Live:
        """The entrywise minimum of values and constants, broadcasting."""
        live = [part for part in parts if isinstance(part, Live)]
        if not live:
            raise InputError("has no computed input")
        out = live[0]
        if len(live) > 1:
            out = self.neg(self.maximum(*(self.neg(part) for part in live)))
        for part in parts:
            if not isinstance(part, Live):
                out = self.clip(self.expand(out, _shape(part)), hi=part)
        return out


# ------------------------------------------------------------------- constants


def as_exact(value: Constant, name: str = "a constant", allow_inf: bool = False) -> ExactArray:
    """A constant as an exact array; an `ExactArray` keeps its name."""
    if isinstance(value, ExactArray):
        return value
    if isinstance(value, Live):
        raise InputError(f"{name} is a computed value, expected a constant")
    return ExactArray(value, name, allow_inf)


def _negative(values: ExactArray) -> ExactArray:
    return ExactArray(-values.data, values.name, allow_inf=True)


def _stretch(values: ExactArray, shape: tuple[int, ...]) -> ExactArray:
    """An exact array broadcast to ``shape``, as a vector."""
    return ExactArray(np.broadcast_to(values.data, shape).reshape(-1), values.name)


def _finite(bound: ExactArray, nothing: float, what: str) -> bool:
    """Whether a bound is there; one that is infinite on the wrong side is refused."""
    infinite = [v for v in bound.data.reshape(-1).tolist() if v in (np.inf, -np.inf)]
    if any(v != nothing for v in infinite):
        raise InputError(f"{what} is {infinite[0]}")
    if infinite and len(infinite) != bound.data.size:
        raise InputError(f"{what} is infinite in some entries only, which is not supported")
    return not infinite


def _need(value: Value) -> Live:
    if not isinstance(value, Live):
        raise InputError("has no computed input")
    return value


def _same(a: Positions, b: Positions) -> bool:
    return a is b or (a.shape == b.shape and bool((a == b).all()))


# ---------------------------------------------------------------------- shapes


def normal_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} is out of range for {rank} dimensions")
    return int(axis) + rank if axis < 0 else int(axis)


def resolve_shape(shape: Sequence[int], size: int) -> tuple[int, ...] | None:
    """The shape with its one -1 filled in; None if ``size`` entries do not fit it."""
    wanted = [int(d) for d in shape]
    known = prod(d for d in wanted if d != -1)
    if wanted.count(-1) == 1 and known > 0 and size % known == 0:
        wanted[wanted.index(-1)] = size // known
    if len(wanted) > MAX_RANK or min(wanted, default=1) < 0 or prod(wanted) != size:
        return None
    return tuple(wanted)


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The broadcast of two shapes, refused where it does not exist or is too large."""
    rank = max(len(a), len(b))
    left = (1,) * (rank - len(a)) + tuple(a)
    right = (1,) * (rank - len(b)) + tuple(b)
    if rank > MAX_RANK or any(x != y and 1 not in (x, y) for x, y in zip(left, right, strict=True)):
        raise InputError(f"shapes {tuple(a)} and {tuple(b)} do not fit")
    out = tuple(y if x == 1 else x for x, y in zip(left, right, strict=True))
    _size(out)
    return out


def fits(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Whether a value of one shape broadcasts to exactly the other."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(d in (1, t) for d, t in zip(shape, target[lead:], strict=True))


def _size(shape: Iterable[int]) -> int:
    """Number of entries of a shape, refused where there are too many."""
    size = prod(shape)
    if size > MAX_VALUE or size < 0:
        raise InputError(f"shape {tuple(shape)} has {size} entries, more than {MAX_VALUE}")
    return size


def _shape(value: Value) -> tuple[int, ...]:
    if isinstance(value, (Live, ExactArray)):
        return value.shape
    return np.shape(value)


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes[:4])) + (", ..." if len(shapes) > 4 else "")
