"""Exact rows for the nodes that the readers make: few distinct ones, repeated and put together.

A per-channel scale stands in every row of its channel, a sum has the same row everywhere. So rows
are made once per distinct value, in fractions where floats do not do, and taken by index.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.exact_array import ExactArray, ExactRows, join_columns

Index = NDArray[Any]


_BLOCK = 1 << 21
"""Entries of a weight matrix that are made exact in one stroke."""


def weight_rows(weight: ExactArray, bias: ExactArray | None) -> ExactRows:
    """Canonical rows of a weight matrix and its bias (default 0).

    Large matrices go block by block, because exact rows take several times the memory of a matrix
    while they are made.
    """
    m, n = weight.shape
    column = ExactArray(np.zeros(m)) if bias is None else bias
    step = max(1, _BLOCK // (n + 1))
    if m <= step or object in (weight.data.dtype, column.data.dtype):
        return ExactRows.from_array(join_columns(weight, column))
    num = np.empty((m, n + 1), np.int64)
    up: NDArray[np.int64] | None = None
    shift = np.empty(m, np.int64)
    for at in range(0, m, step):
        part = slice(at, at + step)
        table = np.column_stack([weight.data[part], column.data[part]])
        rows = ExactRows.from_array(ExactArray(table))
        num[part], shift[part] = rows.num, rows.shift
        if rows.up is not None:
            if up is None:
                up = np.zeros((m, n + 1), np.int64)
            up[part] = rows.up
    return ExactRows(num, up, shift, None)


def take(rows: ExactRows, index: Index) -> ExactRows:
    """The rows at ``index``."""
    up = None if rows.up is None else rows.up[index]
    den = rows.den
    if den is not None:
        den = tuple(den[i] for i in index.tolist())
        den = None if all(d == 1 for d in den) else den
    return ExactRows(rows.num[index], up, rows.shift[index], den)


def equal_rows(coefficients: Sequence[int], count: int) -> ExactRows:
    """``count`` times the row of small integer ``coefficients``, bias 0."""
    num = np.zeros((count, len(coefficients) + 1), np.int64)
    num[:, :-1] = coefficients
    return ExactRows(num, None, np.zeros(count, np.int64), None)


def mean_rows(present: NDArray[np.bool_], counts: NDArray[np.int64]) -> ExactRows:
    """Rows whose ``present`` entries (m, w) are ``1 / counts[i]``, bias 0."""
    m, w = present.shape
    num = np.zeros((m, w + 1), np.int64)
    num[:, :-1] = present
    low = counts & -counts
    shift = np.frexp(low.astype(np.float64))[1].astype(np.int64) - 1
    odd = tuple((counts // low).tolist())
    return ExactRows(num, None, shift, None if set(odd) == {1} else odd)


def once(taps: Index) -> NDArray[np.int32]:
    """Windows (a column each) in which every entry is listed once; -1 where it comes again."""
    out = taps.astype(np.int32)
    order = np.argsort(out, axis=0, kind="stable")
    ordered = np.take_along_axis(out, order, axis=0)
    again = np.zeros(out.shape, np.bool_)
    again[1:] = ordered[1:] == ordered[:-1]
    drop = np.zeros(out.shape, np.bool_)
    np.put_along_axis(drop, order, again, axis=0)
    out[drop] = -1
    return out


def affine_rows(scale: ExactArray, shift: ExactArray) -> ExactRows:
    """Rows ``(scale[i], shift[i])`` of two exact vectors."""
    if object not in (scale.data.dtype, shift.data.dtype):
        return ExactRows.from_array(ExactArray(np.column_stack([scale.data, shift.data])))
    pairs = zip(scale.fractions().tolist(), shift.fractions().tolist(), strict=True)
    seen: dict[tuple[Fraction, Fraction], int] = {}
    index = np.array([seen.setdefault(pair, len(seen)) for pair in pairs], np.int64)
    ints, dens = [], []
    for s, t in seen:
        den = lcm(s.denominator, t.denominator)
        row = [s.numerator * (den // s.denominator), t.numerator * (den // t.denominator)]
        ints.append(row)
        dens.append(den)
    return take(ExactRows.from_integers(ints, dens), index)


def fractions(rows: ExactRows, column: int) -> list[Fraction]:
    """One column of the rows as Fractions."""
    ints = rows.integers[:, column].tolist()
    return [Fraction(v, d) for v, d in zip(ints, rows.dens, strict=True)]


def exact_vector(values: Sequence[Fraction]) -> ExactArray:
    """Fractions as an exact vector, in float64 where that is exact."""
    try:
        floats = [float(v) for v in values]
    except OverflowError:
        return ExactArray(list(values))
    if all(f == v for f, v in zip(floats, values, strict=True)):
        return ExactArray(np.array(floats, np.float64))
    return ExactArray(list(values))


def scaled(rows: ExactRows, scale: Sequence[Fraction], shift: Sequence[Fraction]) -> ExactRows:
    """``scale[i] * row[i] + shift[i]``."""
    kinds = set(scale)
    if kinds <= {Fraction(1)} and not any(shift):
        return rows
    if kinds == {Fraction(-1)} and not any(shift):
        return ExactRows(-rows.num, rows.up, rows.shift, rows.den)
    table, dens = [], []
    for row, den, s, t in zip(rows.integers.tolist(), rows.dens, scale, shift, strict=True):
        den *= s.denominator
        common = lcm(den, t.denominator)
        factor = s.numerator * (common // den)
        line = [v * factor for v in row]
        line[-1] += t.numerator * (common // t.denominator)
        table.append(line)
        dens.append(common)
    return ExactRows.from_integers(table, dens)


def place_columns(rows: ExactRows, index: Index, columns: int) -> ExactRows:
    """The rows read through a gather without repetition: column ``j`` moves to ``index[j]``."""
    num = np.zeros((rows.rows, columns + 1), rows.num.dtype)
    num[:, index] = rows.num[:, :-1]
    num[:, -1] = rows.num[:, -1]
    up = None
    if rows.up is not None:
        up = np.zeros((rows.rows, columns + 1), np.int64)
        up[:, index] = rows.up[:, :-1]
        up[:, -1] = rows.up[:, -1]
    return ExactRows(num, up, rows.shift, rows.den)


def select_columns(rows: ExactRows, index: Index) -> ExactRows:
    """The columns at ``index``; the caller keeps all that are not zero."""
    columns = np.append(index, rows.cols)
    up = None if rows.up is None else rows.up[:, columns]
    return ExactRows(rows.num[:, columns], up, rows.shift, rows.den)


def spread(index: Index, rows: ExactRows, columns: int) -> ExactRows:
    """Rows over few inputs (a `plverify.nodes.Sparse`) as rows over all of them."""
    m = len(index)
    line, j = np.nonzero(index >= 0)
    place = line * (columns + 1) + index[line, j]
    if len(np.unique(place)) == len(place):
        num = np.zeros(m * (columns + 1), rows.num.dtype)
        num[columns :: columns + 1] = rows.num[:, -1]
        num[place] = rows.num[line, j]
        up = None
        if rows.up is not None:
            up = np.zeros(m * (columns + 1), np.int64)
            up[columns :: columns + 1] = rows.up[:, -1]
            up[place] = rows.up[line, j]
        wide = None if up is None else up.reshape(m, -1)
        return ExactRows(num.reshape(m, -1), wide, rows.shift, rows.den)
    table = rows.integers.astype(object)
    total = np.zeros(m * (columns + 1), object)
    total[columns :: columns + 1] = table[:, -1]
    np.add.at(total, place, table[line, j])
    return ExactRows.from_integers(total.reshape(m, -1).tolist(), rows.dens)


def common_bits(dens: Sequence[int], limit: int) -> int:
    """Bits of the least common multiple of denominators; ``limit + 1`` where it has more."""
    common = 1
    for den in set(dens):
        common = lcm(common, den)
        if common.bit_length() > limit:
            return limit + 1
    return common.bit_length()


def entry_bits(rows: ExactRows) -> int:
    """Bits of the largest integer of the rows."""
    num = rows.num
    if num.dtype == object:
        flat = num.reshape(-1)
        return max(int(flat.max()), -int(flat.min())).bit_length()
    size = np.frexp(np.abs(num).astype(np.float64))[1].astype(np.int64)
    if rows.up is not None:
        size = np.where(num != 0, size + rows.up, 0)
    return int(size.max(initial=0))


def common_scale(values: Sequence[Fraction]) -> tuple[list[int], int]:
    """Integers over the least common denominator of fractions."""
    den = reduce(lcm, (v.denominator for v in set(values)), 1)
    return [v.numerator * (den // v.denominator) for v in values], den


def rounded_scale(gamma: Any, variance: Any, eps: Any) -> Fraction:
    """``gamma / sqrt(variance + eps)`` rounded to float64 once, as the fraction it then is.

    Raises
    ------
    ValueError
        Where ``variance + eps`` is not positive or the quotient overflows.

    >>> rounded_scale(1, Fraction(1, 4), 0)
    Fraction(2, 1)
    """
    from math import isqrt

    square = Fraction(variance) + Fraction(eps)
    if square <= 0:
        raise ValueError("variance + eps is not positive")
    gamma = Fraction(gamma)
    if not gamma:
        return Fraction(0)
    root = gamma * gamma / square
    # An integer root of at least 64 bits and a sticky bit behind it round like the real number.
    up = max(0, 66 - (root.numerator.bit_length() - root.denominator.bit_length()) // 2)
    wide = root.numerator << (2 * up)
    whole = isqrt(wide // root.denominator)
    sticky = whole * whole * root.denominator != wide
    try:
        value = (2 * whole + sticky) / (1 << (up + 1))
    except OverflowError:
        raise ValueError("the scale overflows float64") from None
    return Fraction(value if gamma > 0 else -value)
