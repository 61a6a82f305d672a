"""Patterns of points decided by error bounds: in float64, then in fixed point of many bits.

Neither guesses. `float_filter` carries an entrywise bound through the graph and serves batches; in
wide deep networks that bound grows by the absolute row sums of every layer, and the smallest of
half a million pre-activations falls below it. `fixed_filter` does the same walk for one point in
integers of 110 bits per tensor, with one bound per tensor: the products are taken limb by limb in
float64, where they are exact. What neither decides is a kink, or so close to one that only exact
arithmetic can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify.exact_array import ExactRows, FloatArray
from plverify.nodes import Conv, Linear, Max, Node, Sparse, Units

_U = 2.0**-53
_TINY = 2.0**-1000
_BITS = 110
"""Bits kept of a tensor in fixed point, below its largest entry."""
_SLICES = 5
"""Most parts of a weight matrix; what is left of it is part of the error."""

Take: TypeAlias = Callable[[dict[int, Any], int], Any]


def linear_bound(
    node: Linear, value: FloatArray, error: FloatArray, zero: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values, error bounds and surely-zero flags behind a linear node; see `Network._filter`."""
    if isinstance(node, Sparse) and node.gathers:
        at = node.index[:, 0]
        return value[:, at], error[:, at], zero[:, at]
    grow = 4 * (node.terms + 10) * _U
    size = np.abs(value)
    out = node.apply(value)
    total = 1 + (size + error).sum(axis=1, keepdims=True)
    bound = node.product(error + grow * size + _TINY, absolute=True) + grow * np.abs(node.bias)
    bound = bound * (1 + grow) + _TINY * total * total
    return out, bound, np.zeros_like(out)


def float_filter(
    nodes: Sequence[Node], take: Take, values: FloatArray, error: FloatArray
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pieces in float64 and, per point, whether the error bound decides all of them.

    With ``|a - a~| <= e`` entrywise and ``n`` terms, any order of summation and rounded weights
    (relative error ``u``), ``|z - z~| <= |W| (e + K |a~|) + K |b|`` for ``K = 4 (n + 10) u``;
    that leaves half of ``K`` for the rounding of the bound itself. What underflows (a product,
    a weight, ``K |a~|`` itself) loses less than ``2**-1074`` each time; ``_TINY`` before and
    after the product covers it.

    Beside value and error runs a third array: what is surely the zero function around the
    point, because a ReLU is off. Such inputs of a window tie, and that decides it.
    """
    out: list[NDArray[Any]] = [np.zeros((len(values), 0), np.int64)]
    decided = np.ones(len(values), np.bool_)
    tensors: dict[int, FloatArray] = {0: np.stack([values, error, np.zeros_like(values)], 2)}
    with np.errstate(all="ignore"):
        for k, node in enumerate(nodes):
            joined = take(tensors, k)
            value, error, zero = joined[..., 0], joined[..., 1], joined[..., 2]
            if isinstance(node, Linear):
                value, error, zero = linear_bound(node, value, error, zero)
            elif isinstance(node, Units):
                positive = value > 0
                sure = (np.abs(value) > error) & np.isfinite(value) & np.isfinite(error)
                sure |= zero > 0
                decided &= (sure | node.single).all(axis=1)
                out.append(positive & ~node.single)
                zero = np.where(node.slope == 0, sure & ~positive, zero > 0).astype(np.float64)
                value = np.where(positive, value, node.slope * value)
                error = error * np.maximum(1.0, np.abs(node.slope)) * (1 + 4 * _U)
                error = np.where(zero > 0, 0.0, error + 4 * _U * np.abs(value) + _TINY)
            else:
                taken = node.windows(value, -np.inf)
                slack = node.windows(error, 0.0)
                zeros = node.windows(zero, 0.0) > 0
                best = taken.argmax(axis=1)
                pick = best[:, None]
                value = np.take_along_axis(taken, pick, 1)[:, 0]
                error = np.take_along_axis(slack, pick, 1)[:, 0]
                zero_won = np.take_along_axis(zeros, pick, 1)[:, 0]
                below = taken + slack < (value - error)[:, None]
                same = zeros & zero_won[:, None]
                itself = np.arange(node.pieces)[:, None] == pick
                fine = (below | same | itself).all(axis=1)
                fine &= np.isfinite(value) & np.isfinite(error)
                decided &= fine.all(axis=1)
                out.append(np.where(zero_won, zeros.argmax(axis=1), best))
                zero = zero_won.astype(np.float64)
            tensors[k + 1] = np.stack([value, error, zero], 2)
    return np.concatenate(out, axis=1), decided


# ----------------------------------------------------------------- fixed point


class _Fixed:
    """A tensor ``num / 2**point``, each entry off by at most ``error / 2**point``.

    ``zero`` marks what is surely the zero function around the point.
    """

    def __init__(self, num: NDArray[Any], point: int, error: int, zero: NDArray[np.bool_]) -> None:
        drop = max(0, _bits(num) - _BITS)
        self.num, self.point, self.zero = num >> drop, point - drop, zero
        self.error = (error >> drop) + 2 if drop else error

    def at(self, point: int) -> tuple[NDArray[Any], int]:
        """Entries and error at a lower point."""
        drop = self.point - point
        return self.num >> drop, (self.error >> drop) + 2 if drop else self.error


def fixed_filter(
    nodes: Sequence[Node], sources: Take, x: NDArray[Any]
) -> tuple[NDArray[np.int64], bool]:
    """Pieces at one point, and whether they are decided.

    Parameters
    ----------
    nodes : the network's
    sources : the list of the tensors that a node reads, from the table of tensors and its number
    x : (n,) floats or Fractions, exact
    """
    exact = [Fraction(v) for v in x.tolist()]
    point = max([_BITS] + [v.denominator.bit_length() for v in exact if v])
    num = _objects([(v.numerator << point) // v.denominator for v in exact])
    tensors: dict[int, _Fixed] = {0: _Fixed(num, point, 1, np.zeros(len(exact), np.bool_))}
    out: list[NDArray[Any]] = [np.zeros(0, np.int64)]
    decided = True
    for k, node in enumerate(nodes):
        read = _join(sources(tensors, k))
        if isinstance(node, Linear):
            try:
                made = _linear(node, read)
            except OverflowError:
                return np.concatenate(out), False
        elif isinstance(node, Units):
            sure = (np.abs(read.num) > read.error) | read.zero
            on = (read.num > 0) & ~node.single
            decided &= bool((sure | node.single).all())
            out.append(on.astype(np.int64))
            made = _bend(node, read, on | node.single)
        else:
            pieces, made, sure = _maximum(node, read)
            decided &= bool(sure.all())
            out.append(pieces)
        tensors[k + 1] = made
    return np.concatenate(out), decided


def _join(parts: Sequence[_Fixed]) -> _Fixed:
    if len(parts) == 1:
        return parts[0]
    point = min(part.point for part in parts)
    moved = [part.at(point) for part in parts]
    return _Fixed(
        np.concatenate([num for num, _ in moved]),
        point,
        max(error for _, error in moved),
        np.concatenate([part.zero for part in parts]),
    )


def _bend(node: Units, read: _Fixed, on: NDArray[np.bool_]) -> _Fixed:
    num, error = read.num.copy(), read.error
    off = np.flatnonzero(~on)
    num[off] = [
        v * node.slopes[i][0] >> node.slopes[i][1]
        for i, v in zip(off.tolist(), num[off].tolist(), strict=True)
    ]
    steepest = max((abs(Fraction(n, 1 << s)) for n, s in set(node.slopes)), default=Fraction(1))
    error = ceil(error * max(steepest, Fraction(1))) + 1
    return _Fixed(num, read.point, error, read.zero | (~on & (node.slope == 0)))


def _maximum(node: Max, read: _Fixed) -> tuple[NDArray[Any], _Fixed, NDArray[np.bool_]]:
    absent = -(1 << (2 * _BITS))
    taken = node.windows(read.num[None], absent)[0]
    zeros = node.windows(read.zero[None], False)[0]
    best = taken.argmax(axis=0)
    each = np.arange(node.size)
    value, zero_won = taken[best, each], zeros[best, each]
    below = (value - taken) > 2 * read.error
    itself = np.arange(node.pieces)[:, None] == best
    sure = (below | (zeros & zero_won) | itself).all(axis=0)
    pieces = np.where(zero_won, zeros.argmax(axis=0), best)
    return pieces, _Fixed(value, read.point, read.error, zero_won), sure


def _linear(node: Linear, read: _Fixed) -> _Fixed:
    """``W x + b``: ``W`` in parts ``2**scale S_k 2**(-width k)`` and ``x`` in limbs of that width.

    The entries of every ``S_k`` and limb are integers so small that float64 sums their products
    exactly. What the parts leave of ``W``, and a ``W`` that float64 does not hold, add to the
    error.
    """
    if isinstance(node, Sparse) and node.gathers:
        at = node.index[:, 0]
        return _Fixed(read.num[at], read.point, read.error, read.zero[at])
    table, inexact = _numerators(node.rows)
    width = (53 - (2 * _SLICES * (node.terms + 1)).bit_length()) // 2
    weights = table[:, :-1]
    norm = float(np.abs(weights).sum(axis=1).max()) * (1 + 2.0**-20)
    scale = int(np.frexp(_largest(weights))[1])
    bits = _bits(read.num)
    limbs = _limbs(read.num, width)

    np.ldexp(table, -scale, out=table)
    sums: dict[int, FloatArray] = {}  # by powers of 2**width
    parts, left = 0, 1.0
    while left > 0 and parts < _SLICES:
        np.ldexp(table, width, out=table)
        part = np.rint(table)
        table -= part
        for j, made in enumerate(node.product(limbs, table=part)):
            sums[j - parts] = sums[j - parts] + made if j - parts in sums else made
        parts += 1
        left = _largest(weights)
    num = _objects([0] * node.size)
    for power, total in sums.items():
        num += total.astype(np.int64).astype(object) << width * (power + parts - 1)
    # One unit of `num` is 2**-point, and that of `read` is 2**grow of them.
    grow = width * parts - scale
    point = read.point + grow
    norm_units = Fraction(norm) * Fraction(2) ** grow
    error = ceil(read.error * norm_units + Fraction(left) * node.terms * (1 << bits)) + 1
    if inexact:
        error += ceil(norm_units * (1 << bits) / (1 << 52))
    places = node.places if isinstance(node, Conv) else 1
    bias = [floor(b * Fraction(2) ** point) for b in _biases(node.rows)]
    num += np.repeat(_objects(bias), places)
    if node.rows.den is not None:
        num //= np.repeat(_objects(node.rows.den), places)
        error += 1
    return _Fixed(num, point, error, np.zeros(node.size, np.bool_))


def _numerators(rows: ExactRows) -> tuple[FloatArray, bool]:
    """The rows times `ExactRows.den` in float64, and whether weights had to be rounded.

    Entries that float64 rounds are off by ``2**-53`` relatively; OverflowError beyond its range.
    """
    num = rows.num
    if num.dtype != object:
        up = 0 if rows.up is None else rows.up
        exponent = np.broadcast_to(up - rows.shift[:, None], num.shape)
        if max(-int(exponent.min()), int(exponent.max())) < 900:
            table = num.astype(np.float64)
            inexact = table[:, :-1].astype(np.int64) != num[:, :-1]
            return np.ldexp(table, exponent.astype(np.int32), out=table), bool(inexact.any())
    shifts = [1 << int(s) for s in rows.shift]
    integers = rows.integers.tolist()
    out = np.array([[v / d for v in row] for row, d in zip(integers, shifts, strict=True)])
    if ((out != 0) & (np.abs(out) < 2.0**-1000)).any():
        raise OverflowError
    return out, True


def _biases(rows: ExactRows) -> list[Fraction]:
    """The last column times `ExactRows.den`."""
    up = np.zeros(rows.rows, np.int64) if rows.up is None else rows.up[:, -1]
    columns = rows.num[:, -1].tolist(), up.tolist(), rows.shift.tolist()
    return [Fraction(v << u, 1 << s) for v, u, s in zip(*columns, strict=True)]


def _limbs(num: NDArray[Any], width: int) -> FloatArray:
    """(limbs, n): signed limbs of integers, least first."""
    rest, sign = np.abs(num), np.where(num < 0, -1.0, 1.0)
    out = []
    for _ in range(max(1, -(-_bits(num) // width))):
        out.append((rest & ((1 << width) - 1)).astype(np.float64) * sign)
        rest = rest >> width
    return np.array(out)


def _bits(num: NDArray[Any]) -> int:
    return max(int(num.min()).bit_length(), int(num.max()).bit_length())


def _largest(table: FloatArray) -> float:
    return max(float(table.max()), -float(table.min()))


def _objects(values: Sequence[int]) -> NDArray[Any]:
    out = np.empty(len(values), object)
    out[:] = values
    return out
