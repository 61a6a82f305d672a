"""Arrays of exact numbers, and exact affine rows, at numpy speed where the numbers are dyadic.

Weights, bounds and bases arrive as floats almost always. A float is a dyadic rational, so a float64
array *is* an exact array, and its integers over a power of two come out of `numpy.frexp` without a
Python loop: 340,000 float32 weights become canonical bytes in some 20 ms, where fractions take a
second. Everything else (fractions, decimals, products of folded layers) goes through Python
integers. Nothing here rounds except the functions that say so.

`ExactArray` holds numbers as given; `ExactRows` holds the rows of an affine map in the canonical
form of ``docs/developer.md``: integers over ``2**shift * den``, each row in lowest terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_net import canonicalise_row, pack_ints

FloatArray = NDArray[np.float64]
IntArray = NDArray[Any]
"""int64 where every entry is below 2**62 in magnitude, otherwise an object array of Python ints."""

_SAFE_BITS = 62


def exact_number(value: Any, name: str, allow_inf: bool = False) -> Fraction | float:
    """The exact value of a float, int, Fraction, Decimal or decimal string.

    Returns an infinite float only where ``allow_inf`` says so.

    Raises
    ------
    InputError
        On NaN, an infinity that is not allowed, or anything that is no number; names the entry.

    >>> exact_number("0.1", "eps")
    Fraction(1, 10)
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, np.integer):
        value = int(value)
    try:
        if isinstance(value, (str, int)):
            if isinstance(value, str) and len(value) > 10_000:
                raise InputError(f"{name} is a text of {len(value)} characters, not a number")
            text = str(value).strip().lower() if isinstance(value, str) else ""
            if text.lstrip("+-") in ("inf", "infinity", "nan"):
                return exact_number(float(text), name, allow_inf)
            if "e" in text and abs(int(text.partition("e")[2])) > 10_000:
                raise InputError(f"{name} is {value!r}: the exponent is out of range")
            return Fraction(value)
        if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > 10_000:
            raise InputError(f"{name} is {value}: the exponent is out of range")
        num, den = value.as_integer_ratio()
        return Fraction(int(num), int(den))
    except InputError:
        raise
    except OverflowError:
        if allow_inf:
            return float(value)
        raise InputError(f"{name} is infinite") from None
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        if value != value:
            raise InputError(f"{name} is NaN") from None
        raise InputError(f"{name} is {value!r:.60}, not a number") from None


def entry_name(name: str, index: Sequence[int]) -> str:
    """``W0[2, 1]`` for an entry of an array, the bare name for a scalar."""
    return f"{name}[{', '.join(str(int(i)) for i in index)}]" if len(index) else name


class ExactArray:
    """An immutable array of exact numbers: float64 where all are floats, else Fractions.

    Parameters
    ----------
    values : array or nested sequence of floats, ints, Fractions, Decimals, decimal strings
    name : str
        How errors call it.
    allow_inf : bool
        Whether infinities may stay (as floats).

    Raises
    ------
    InputError
        On NaN, infinity, ragged nesting or entries that are no numbers.

    >>> ExactArray([0.5, "0.1"], "b").fractions().tolist()
    [Fraction(1, 2), Fraction(1, 10)]
    >>> ints, den = ExactArray([0.5, 3.0], "b").integers()
    >>> ints.tolist(), den
    ([1, 6], 2)
    """

    def __init__(self, values: Any, name: str = "array", allow_inf: bool = False) -> None:
        self.name = name
        if not isinstance(values, np.ndarray) and hasattr(values, "__array__"):
            values = np.asarray(values)
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.itemsize <= 8:
            self.data: NDArray[Any] = np.array(values, dtype=np.float64)
        elif isinstance(values, np.ndarray) and _small_integers(values):
            self.data = values.astype(np.float64)
        else:
            self.data = self._parse(values, allow_inf)
        if self.data.dtype != object:
            bad = np.isnan(self.data) if allow_inf else ~np.isfinite(self.data)
            if bad.any():
                index = np.argwhere(bad)[0]
                what = "NaN" if np.isnan(self.data[tuple(index)]) else "infinite"
                raise InputError(f"{entry_name(name, index)} is {what}")
        self.data.flags.writeable = False

    def _parse(self, values: Any, allow_inf: bool) -> NDArray[Any]:
        try:
            table = np.array(values, dtype=object)
        except (ValueError, TypeError):
            raise InputError(f"{self.name} is not a rectangular array of numbers") from None
        flat = table.ravel()
        if any(isinstance(v, (list, tuple)) for v in flat):
            raise InputError(f"{self.name} is not a rectangular array of numbers")
        if all(
            isinstance(v, (float, np.float32, np.float16))
            or (isinstance(v, (int, np.integer)) and abs(int(v)) <= 1 << 53)
            for v in flat
        ):
            return table.astype(np.float64)
        out = np.empty(table.shape, dtype=object)
        for index in np.ndindex(table.shape):
            out[index] = exact_number(table[index], entry_name(self.name, index), allow_inf)
        return out

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.data.shape

    def reshape(self, *shape: int) -> ExactArray:
        """The same numbers in another shape."""
        out = ExactArray.__new__(ExactArray)
        out.name, out.data = self.name, self.data.reshape(shape)
        return out

    def fractions(self) -> NDArray[Any]:
        """Object array of Fractions (infinities stay floats)."""
        if self.data.dtype == object:
            return self.data
        out = np.empty(self.shape, dtype=object)
        flat = out.reshape(-1) if out.ndim else out[None]
        for k, v in enumerate(self.data.ravel().tolist()):
            flat[k] = v if v in (np.inf, -np.inf) else Fraction(v)
        return flat.reshape(self.shape)

    def integers(self) -> tuple[IntArray, int]:
        """Integers over one positive denominator, the least there is; all entries finite."""
        if self.data.dtype != object:
            mant, up, shift = _split_floats(self.data.reshape(1, -1))
            return _materialise(mant, up).reshape(self.shape), 1 << int(shift[0])
        flat = self.data.ravel().tolist()
        den = lcm(*(v.denominator for v in flat))
        ints = [v.numerator * (den // v.denominator) for v in flat]
        return _shrink(_object_array(ints)).reshape(self.shape), den

    def floats(self) -> FloatArray:
        """float64 values, each correctly rounded."""
        if self.data.dtype != object:
            return self.data
        return np.array([_round(v) for v in self.data.ravel()], np.float64).reshape(self.shape)


@dataclass(frozen=True)
class ExactRows:
    """Canonical rows ``(a, c)`` of an affine map: row ``i`` is ``num[i] / (2**shift[i] den[i])``.

    Attributes
    ----------
    num : (m, n + 1) int64, or object array of ints
        The bias is the last column.
    up : (m, n + 1) int array or None
        Where given, entry ``(i, j)`` of the integers is ``num[i, j] << up[i, j]``: floats of a wide
        exponent range stay int64 until somebody asks for `integers`.
    shift : (m,) int64
    den : tuple of int, or None for all ones
    """

    num: IntArray
    up: NDArray[np.int64] | None
    shift: NDArray[np.int64]
    den: tuple[int, ...] | None

    @staticmethod
    def from_array(rows: ExactArray) -> ExactRows:
        """Canonical rows of an ``(m, n + 1)`` array."""
        if rows.data.dtype != object:
            if np.abs(rows.data).max(initial=0) < 1 << 53:  # small integers, often
                whole = rows.data.astype(np.int64)
                if np.array_equal(whole, rows.data):
                    return ExactRows(whole, None, np.zeros(len(whole), np.int64), None)
            mant, up, shift = _split_floats(rows.data)
            if _total_bits(mant, up).max(initial=0) <= _SAFE_BITS:
                return ExactRows(mant << up, None, shift, None)
            return ExactRows(mant, up, shift, None)
        table = []
        for row in rows.data.tolist():
            den = lcm(*(v.denominator for v in row))
            table.append(([v.numerator * (den // v.denominator) for v in row], den))
        return ExactRows.from_integers([r for r, _ in table], [d for _, d in table])

    @staticmethod
    def from_integers(rows: Sequence[Sequence[int]], dens: Sequence[int]) -> ExactRows:
        """Canonical rows of integers over any positive denominators."""
        done = [canonicalise_row(row, den) for row, den in zip(rows, dens, strict=True)]
        flat = _object_array([v for row, _, _ in done for v in row])
        den = tuple(d for _, _, d in done)
        return ExactRows(
            _shrink(flat).reshape(len(done), -1),
            None,
            np.array([s for _, s, _ in done], np.int64),
            None if all(d == 1 for d in den) else den,
        )

    @staticmethod
    def identity(size: int) -> ExactRows:
        """The identity map of ``size`` inputs."""
        return ExactRows(
            np.eye(size, size + 1, dtype=np.int64), None, np.zeros(size, np.int64), None
        )

    @property
    def rows(self) -> int:
        """Number of outputs ``m``."""
        return int(self.num.shape[0])

    @property
    def cols(self) -> int:
        """Number of inputs ``n``."""
        return int(self.num.shape[1]) - 1

    @cached_property
    def integers(self) -> IntArray:
        """The integers of the rows, ``(m, n + 1)``."""
        return self.num if self.up is None else _materialise(self.num, self.up)

    @property
    def dens(self) -> list[int]:
        """Full denominators ``2**shift * den``, one per row."""
        odd = self.den or (1,) * self.rows
        return [d << int(s) for d, s in zip(odd, self.shift, strict=True)]

    def floats(self) -> FloatArray:
        """Entries as float64, ``(m, n + 1)``: relative error 2**-53 at most, plus 2**-1074."""
        if self.den is None and self.num.dtype != object:
            exponent = -self.shift[:, None] if self.up is None else self.up - self.shift[:, None]
            # astype rounds once, ldexp only where it underflows: never twice in the normal range.
            exponent = np.clip(exponent, -(1 << 20), 1 << 20).astype(np.int32)
            with np.errstate(over="ignore", under="ignore"):
                return np.ldexp(self.num.astype(np.float64), exponent)
        table = self.integers
        out = [
            [_divide(v, d) for v in row] for row, d in zip(table.tolist(), self.dens, strict=True)
        ]
        return np.array(out, np.float64).reshape(self.num.shape)

    def to_bytes(self) -> bytes:
        """Shifts, denominators and integers as a node's bytes have them (``docs/developer.md``)."""
        odd = self.den or (1,) * self.rows
        shifts = self.shift.astype("<u4").tobytes()
        return shifts + pack_ints(odd) + pack_table(self.num, self.up)

    # --------------------------------------------------------------- algebra

    def after(self, inner: ExactRows) -> ExactRows:
        """The composition ``x -> self(inner(x))``, exactly."""
        if self.cols != inner.rows:
            raise InputError(f"{self.cols} inputs do not fit {inner.rows} outputs")
        small = self._after_small(inner)
        if small is not None:
            return small
        dens = inner.dens
        common = lcm(*dens)
        table = inner.integers
        if any(d != common for d in dens):
            factors = _object_array([common // d for d in dens])
            table = _shrink(table.astype(object) * factors[:, None])
        product = int_matmul(self.integers[:, :-1], table)
        product[:, -1] += self.integers[:, -1].astype(object) * common
        return ExactRows.from_integers(product.tolist(), [d * common for d in self.dens])

    def _after_small(self, inner: ExactRows) -> ExactRows | None:
        """The same where all sums are exact in float64; None where that is not sure."""
        for rows in (self, inner):
            if rows.den is not None or rows.up is not None or rows.num.dtype == object:
                return None
        weights, bias = self.num[:, :-1], self.num[:, -1]
        common = int(inner.shift.max(initial=0))
        grow = common - inner.shift
        bits = (
            _bit_length(weights).max(initial=0)
            + _total_bits(inner.num, grow[:, None]).max(initial=0)
            + self.cols.bit_length()
        )
        if max(bits, int(_bit_length(bias).max(initial=0)) + common) > 53:
            return None
        table = np.where(inner.num != 0, inner.num << np.minimum(grow, 63)[:, None], 0)
        product = (weights.astype(np.float64) @ table.astype(np.float64)).astype(np.int64)
        product[:, -1] += bias << common
        return ExactRows(*_reduce_powers(product, self.shift + common), None)

    def plus(self, offset: ExactArray) -> ExactRows:
        """The rows with ``offset`` (shape ``(m,)``) added to the biases."""
        values = ExactRows.from_array(offset.reshape(-1, 1))
        if (
            values.den is None
            and self.den is None
            and object not in (self.num.dtype, values.num.dtype)
        ):
            shift = np.maximum(self.shift, values.shift)
            grow = shift - self.shift
            more = shift - values.shift
            if not self.num[:, -1].any():
                # Both sides are in lowest terms and share no column: so is the sum.
                num, up = self.num.copy(), self._shifts() + grow[:, None] * (self.num != 0)
                num[:, -1:] = values.num
                up[:, -1:] = values._shifts() + more[:, None] * (values.num != 0)
                if _total_bits(num, up).max(initial=0) <= _SAFE_BITS:
                    return ExactRows(num << up, None, shift, None)
                return ExactRows(num, up, shift, None)
            bits = _total_bits(values.num, values._shifts())[:, 0] + more
            bits = np.maximum(bits, _total_bits(self.num, self._shifts()).max(axis=1) + grow)
            if bits.max(initial=0) < _SAFE_BITS:
                num = self.integers << grow[:, None]
                num[:, -1] += values.integers[:, 0] << more
                return ExactRows(*_reduce_powers(num, shift), None)
        rows, dens = [], []
        extra = zip(values.integers[:, 0].tolist(), values.dens, strict=True)
        for row, den, (p, q) in zip(self.integers.tolist(), self.dens, extra, strict=True):
            common = lcm(den, q)
            row = [v * (common // den) for v in row]
            row[-1] += p * (common // q)
            rows.append(row)
            dens.append(common)
        return ExactRows.from_integers(rows, dens)

    def shifted(self, offset: ExactArray) -> ExactRows:
        """The composition ``x -> self(x + offset)`` with ``offset`` of shape ``(n,)``, exactly."""
        values, den = offset.integers()
        product = int_matmul(self.integers[:, :-1], values.reshape(-1, 1))[:, 0].tolist()
        more = [Fraction(p, d * den) for p, d in zip(product, self.dens, strict=True)]
        return self.plus(ExactArray(more, offset.name))

    def _shifts(self) -> NDArray[np.int64]:
        return np.zeros(self.num.shape, np.int64) if self.up is None else self.up

    def times(self, factors: Sequence[Fraction]) -> ExactRows:
        """The rows multiplied by exact numbers, one per row."""
        rows = [
            [v * f.numerator for v in r]
            for r, f in zip(self.integers.tolist(), factors, strict=True)
        ]
        dens = [d * f.denominator for d, f in zip(self.dens, factors, strict=True)]
        return ExactRows.from_integers(rows, dens)


# -------------------------------------------------------------- integer arrays


def int_matmul(a: IntArray, b: IntArray) -> NDArray[Any]:
    """Exact product of two integer matrices, as an object array of Python ints.

    Splits both into limbs so small that float64 products and sums of them are exact integers, and
    lets BLAS do the work; the limbs are put together at the end, once per entry of the result.

    >>> int_matmul(np.array([[2**61, 3]]), np.array([[5], [7]])).tolist()
    [[11529215046068469781]]
    """
    inner = a.shape[1]
    width = (53 - max(inner, 1).bit_length()) // 2
    if inner == 0 or a.shape[0] * b.shape[1] * inner < 4096:
        return np.asarray(np.dot(a.astype(object), b.astype(object)), dtype=object) + _object_zeros(
            (a.shape[0], b.shape[1])
        )
    out = _object_zeros((a.shape[0], b.shape[1]))
    right = _limbs(b, width)
    sums: dict[int, list[FloatArray]] = {}
    for i, x in enumerate(_limbs(a, width)):
        for j, y in enumerate(right):
            sums.setdefault(i + j, []).append(x @ y)
    for power, parts in sums.items():
        for part in parts:
            out += part.astype(np.int64).astype(object) << (width * power)
    return out


def pack_table(num: IntArray, up: NDArray[np.int64] | None = None) -> bytes:
    """``INTS`` of ``num`` (or ``num << up``), row-major: u8 words, then two's complement words."""
    if up is not None:
        return _pack_shifted(num, up)
    if num.dtype != object:
        return b"\x01" + num.astype("<i8").tobytes()
    flat = num.ravel()
    nonzero = np.flatnonzero(flat != 0)
    if 4 * len(nonzero) > flat.size:
        return pack_ints(flat.tolist())
    # A box in many dimensions is nearly all zeros: write those in one stroke.
    packed = pack_ints(flat[nonzero].tolist())
    words = packed[0]
    out = np.zeros((flat.size, 8 * words), np.uint8)
    out[nonzero] = np.frombuffer(packed, np.uint8, offset=1).reshape(-1, 8 * words)
    return bytes([words]) + out.tobytes()


def _pack_shifted(mant: IntArray, up: NDArray[np.int64]) -> bytes:
    # -2**k needs k bits and a sign, one less than every other number of k + 1 bits.
    power = (mant < 0) & ((-mant & (-mant - 1)) == 0)
    bits = int((_total_bits(mant, up) - power).max(initial=0)) + 1
    words = (bits + 63) // 64
    if words > 255:
        raise InputError(f"an integer of {bits} bits does not fit the canonical form")
    out = np.zeros((*mant.shape, words), np.uint64)
    unsigned = mant.view(np.uint64)
    for j in range(words):
        left = up - 64 * j
        low = unsigned << np.clip(left, 0, 63).astype(np.uint64)
        high = (mant >> np.clip(-left, 0, 63)).view(np.uint64)
        out[..., j] = np.where(left >= 64, np.uint64(0), np.where(left >= 0, low, high))
    return bytes([words]) + out.astype("<u8").tobytes()


def _split_floats(a: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Odd mantissas, left shifts and row shifts of a matrix: a = (mant << up) / 2**shift."""
    fraction, exponent = np.frexp(a)
    mant = np.ldexp(fraction, 53).astype(np.int64)
    low = mant & -mant
    zeros = np.frexp(low.astype(np.float64))[1].astype(np.int64) - 1
    nonzero = mant != 0
    zeros = np.where(nonzero, zeros, 0)
    lowest = np.where(nonzero, exponent.astype(np.int64) - 53 + zeros, 0)
    mant >>= zeros
    shift = np.maximum(-lowest.min(axis=1, initial=0), 0)
    up = np.where(nonzero, lowest + shift[:, None], 0)
    return mant, up, shift


def _bit_length(a: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bit lengths of int64 magnitudes below 2**63, from the exponents of exact floats."""
    size = np.abs(a)
    if size.max(initial=0) > 1 << 53:  # in halves
        high = size >> 32
        return np.where(high > 0, _bit_length(high) + 32, _bit_length(np.where(high > 0, 0, size)))
    return np.maximum((size.astype(np.float64).view(np.int64) >> 52) - 1022, 0)


def _total_bits(mant: NDArray[np.int64], up: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(mant != 0, _bit_length(mant) + up, 0)


def _materialise(mant: IntArray, up: NDArray[np.int64]) -> IntArray:
    if mant.dtype != object and _total_bits(mant, up).max(initial=0) <= _SAFE_BITS:
        return mant << up
    return np.left_shift(mant.astype(object), up.astype(object))


def _reduce_powers(
    num: NDArray[np.int64], shift: NDArray[np.int64]
) -> tuple[NDArray[np.int64], None, NDArray[np.int64]]:
    """Divide rows by the powers of two that they share with their denominators."""
    bits = np.bitwise_or.reduce(num, axis=1)
    low = bits & -bits
    zeros = np.frexp(low.astype(np.float64))[1].astype(np.int64) - 1
    cut = np.where(bits == 0, shift, np.minimum(np.maximum(zeros, 0), shift))
    return num >> np.minimum(cut, 63)[:, None], None, shift - cut


def _limbs(a: IntArray, width: int) -> list[FloatArray]:
    """Signed limbs of ``width`` bits, least first, as float64 matrices."""
    out = []
    sign, rest = np.sign(a).astype(np.float64), np.abs(a)
    mask = (1 << width) - 1
    while True:
        out.append((rest & mask).astype(np.float64) * sign)
        rest = rest >> width
        if not rest.any():
            return out


def _small_integers(a: NDArray[Any]) -> bool:
    """Whether an array holds integers that float64 holds exactly."""
    if a.dtype.kind not in "iub":
        return False
    return a.itemsize <= 4 or a.size == 0 or max(-int(a.min()), int(a.max())) <= 1 << 53


def _object_array(values: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _object_zeros(shape: tuple[int, ...]) -> NDArray[Any]:
    return np.zeros(shape, dtype=np.int64).astype(object)


def _shrink(a: NDArray[Any]) -> IntArray:
    """int64 where every entry is below 2**62 in magnitude."""
    if a.dtype == object and (a.size == 0 or max(-a.min(), a.max()) < 1 << _SAFE_BITS):
        return a.astype(np.int64)
    return a


def join_columns(matrix: ExactArray, column: ExactArray) -> ExactArray:
    """The exact matrix ``[matrix | column]``."""
    if object not in (matrix.data.dtype, column.data.dtype):
        return ExactArray(np.column_stack([matrix.data, column.data]), matrix.name)
    table = np.empty((matrix.shape[0], matrix.shape[1] + 1), dtype=object)
    table[:, :-1], table[:, -1] = matrix.fractions(), column.fractions()
    return ExactArray(table, matrix.name)


def _divide(num: int, den: int) -> float:
    """Correctly rounded quotient; infinite where it overflows."""
    try:
        return num / den
    except OverflowError:
        return float("inf") if num > 0 else float("-inf")


def _round(value: Fraction | float) -> float:
    return value if isinstance(value, float) else _divide(value.numerator, value.denominator)


def reduce_row(row: Sequence[int]) -> list[int]:
    """A row divided by the positive greatest common divisor of its entries."""
    common = gcd(*row)
    return [v // common for v in row] if common > 1 else list(row)
