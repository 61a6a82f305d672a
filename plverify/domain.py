"""Domains: the polyhedron of inputs that a question is asked about, in exact numbers.

A `Box`, a `Polytope` ``{t : A t <= b}``, all of R^n (`Space`), or a `Slice`, the affine image
``x = origin + basis t`` of one of those. A float bound means the dyadic rational it is; write
``Fraction(1, 10)``, ``Decimal("0.1")`` or the string ``"0.1"`` for a tenth. Bounds are closed.
Nothing here rounds: `contains` decides exactly, and the bytes that the engine, the checker and the
proofs read (``docs/developer.md``) are integers.

Floats stay in numpy arrays and become integers without a Python loop, so that the bytes of a
784 x 2 slice take a millisecond.

>>> box = Box([-1, 0], ["0.1", 1])
>>> box.contains([-1, 0.1]), box.contains([0.1, 0])      # 0.1 the float is above 1/10
(True, False)
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import gcd
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_array import (
    ExactArray,
    ExactRows,
    exact_number,
    join_columns,
    pack_table,
    reduce_row,
)
from plverify.exact_net import pack_ints, unpack_ints

MAGIC = b"PLDOM\x001\n"

Bound: TypeAlias = Fraction | float
"""An exact bound; a float only where it is infinite."""


class Domain(ABC):
    """What every domain has; use `Box`, `Polytope`, `Slice` or `Space`.

    Equality and hash compare the kind and the bytes: boxes with the same bounds are equal however
    the bounds were written.
    """

    dim: int
    """Number of coordinates ``t``: the dimension the question is asked in."""

    @property
    def ambient(self) -> int:
        """Number of network inputs."""
        return self.dim

    @abstractmethod
    def constraint_bytes(self) -> bytes:
        """``u32`` count and ``INTS`` of the constraint rows ``(a, c)``, ``a . t + c >= 0``."""

    def constraint_rows(self) -> list[tuple[int, ...]]:
        """The constraints as integer rows ``(a, c)``, ``a . t + c >= 0``, in the domain's order."""
        data, width = self.constraint_bytes(), self.dim + 1
        (count,) = struct.unpack_from("<I", data)
        flat = unpack_ints(data[4:], count * width)
        return [tuple(flat[k : k + width]) for k in range(0, count * width, width)]

    @abstractmethod
    def contains(self, x: Any) -> bool:
        """Whether the point (network inputs, exact numbers) lies in the closed domain, exactly.

        Raises
        ------
        InputError
            On a wrong length, NaN or infinity.
        """

    @abstractmethod
    def describe(self) -> str:
        """A short text for people."""

    def slice_map(self) -> tuple[int, list[list[int]]] | None:
        """``(scale, rows)`` with ``x_i = rows[i] . (t, 1) / scale``; None where ``x = t``."""
        return None

    def to_bytes(self) -> bytes:
        """The bytes of ``docs/developer.md``."""
        return self._bytes

    @cached_property
    def _bytes(self) -> bytes:
        head = MAGIC + struct.pack("<IIB", self.dim, self.ambient, isinstance(self, Slice))
        body = self.map_bytes() if isinstance(self, Slice) else b""
        return head + body + self.constraint_bytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain):
            return NotImplemented
        return type(self) is type(other) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"


class Box(Domain):
    """All ``x`` with ``lo <= x <= hi``; infinite sides are allowed.

    Parameters
    ----------
    lo, hi : sequence of numbers, or scalars
        A scalar stands for that bound on every coordinate; ``n`` is needed if both are scalars.
    n : int, optional
        The number of coordinates.

    Raises
    ------
    InputError
        On NaN, ``lo > hi``, wrong lengths, or an infinite bound on the wrong side.

    >>> Box(0, 1, 3).describe()
    'box [0, 1]^3'
    >>> Box([0, 1], 1).dim
    2
    """

    def __init__(self, lo: Any, hi: Any, n: int | None = None) -> None:
        low = ExactArray(lo, "lo", allow_inf=True)
        high = ExactArray(hi, "hi", allow_inf=True)
        sizes = {a.shape[0] for a in (low, high) if len(a.shape) == 1}
        if n is not None:
            sizes.add(_dimension(n))
        if any(len(a.shape) > 1 for a in (low, high)) or len(sizes) > 1:
            raise InputError(
                f"lo has shape {low.shape} and hi {high.shape}, expected vectors of one length"
                + ("" if n is None else f" {n}")
            )
        if not sizes:
            raise InputError("lo and hi are both scalars: give the number of coordinates n")
        self.dim = _dimension(sizes.pop())
        self._low = _broadcast(low, self.dim)
        self._high = _broadcast(high, self.dim)
        for i, (a, b) in enumerate(zip(self._low.data, self._high.data, strict=True)):
            _check_side(i, a, b)

    @staticmethod
    def cube(n: int, lo: Any = -1, hi: Any = 1) -> Box:
        """The box ``[lo, hi]^n``."""
        return Box(lo, hi, n)

    @staticmethod
    def ball(x: Any, r: Any) -> Box:
        """The closed linf ball of radius ``r`` about ``x``, with exact sides ``x - r``, ``x + r``.

        >>> Box.ball([0.5], "0.1").lo
        (Fraction(2, 5),)
        """
        centre = ExactArray(x, "x")
        if len(centre.shape) != 1:
            raise InputError(f"x has shape {centre.shape}, expected a vector")
        radius = exact_number(r, "r")
        if radius < 0:
            raise InputError(f"r is {number_text(radius)}, a radius cannot be negative")
        entries = centre.fractions().tolist()
        return Box([v - radius for v in entries], [v + radius for v in entries])

    @staticmethod
    def of_exact(lo: Sequence[Bound], hi: Sequence[Bound]) -> Box:
        """The box of sides that are Fractions or infinite floats already, in a tenth of the time.

        Raises
        ------
        InputError
            On no coordinate at all, or ``lo > hi``.
        """
        box = Box.__new__(Box)
        box.dim = _dimension(len(lo))
        for i, (a, b) in enumerate(zip(lo, hi, strict=True)):
            if type(a) is type(b) is Fraction:
                (p, q), (r, s) = a.as_integer_ratio(), b.as_integer_ratio()
                if p * s <= r * q:  # as Fractions compare, in a third of the time
                    continue
            _check_side(i, a, b)
        box.__dict__.update(lo=tuple(lo), hi=tuple(hi))  # what the two properties would cache
        return box

    @cached_property
    def lo(self) -> tuple[Bound, ...]:
        """Lower bounds, Fractions or -inf."""
        return tuple(self._low.fractions().tolist())

    @cached_property
    def hi(self) -> tuple[Bound, ...]:
        """Upper bounds, Fractions or inf."""
        return tuple(self._high.fractions().tolist())

    @property
    def bounded(self) -> bool:
        """Whether every side is finite."""
        return not any(isinstance(v, float) for v in self.lo + self.hi)

    def contains(self, x: Any) -> bool:
        point = _point(x, self.dim)
        return all(a <= v <= b for a, v, b in zip(self.lo, point, self.hi, strict=True))

    # The same equality as by bytes, which hold a dense table: 75 MB for an image.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Box):
            return super().__eq__(other)
        return self.lo == other.lo and self.hi == other.hi

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.lo, self.hi))

    def constraint_bytes(self) -> bytes:
        entries: list[tuple[int, int, int]] = []
        for i, (low, high) in enumerate(zip(self.lo, self.hi, strict=True)):
            if isinstance(low, Fraction):
                entries.append((i, low.denominator, -low.numerator))
            if isinstance(high, Fraction):
                entries.append((i, -high.denominator, high.numerator))
        count = len(entries)
        top = max((abs(v) for _, a, c in entries for v in (a, c)), default=0)
        table: NDArray[Any] = np.zeros((count, self.dim + 1), object if top >> 62 else np.int64)
        if count:
            at = np.arange(count)
            table[at, [i for i, _, _ in entries]] = [a for _, a, _ in entries]
            table[at, self.dim] = [c for _, _, c in entries]
        return struct.pack("<I", count) + pack_table(table)

    def describe(self) -> str:
        sides = sorted(set(zip(self.lo, self.hi, strict=True)))
        if len(sides) == 1:
            power = f"^{self.dim}" if self.dim > 1 else ""
            return f"box [{number_text(sides[0][0])}, {number_text(sides[0][1])}]{power}"
        if self.dim > 3:
            return f"box in R^{self.dim}"
        pairs = zip(self.lo, self.hi, strict=True)
        return "box " + " x ".join(f"[{number_text(a)}, {number_text(b)}]" for a, b in pairs)


class Polytope(Domain):
    """All ``t`` with ``A t <= b``; it need not be bounded.

    Parameters
    ----------
    A : (m, n) matrix of numbers
    b : (m,) vector of numbers

    Raises
    ------
    InputError
        On NaN, infinity or shapes that do not fit.

    >>> triangle = Polytope([[-1, 0], [0, -1], [1, 1]], [0, 0, 1])
    >>> triangle.contains([0.5, 0.5]), triangle.contains([0.5, 0.6])
    (True, False)
    """

    def __init__(self, A: Any, b: Any) -> None:
        matrix, bound = ExactArray(A, "A"), ExactArray(b, "b")
        if len(matrix.shape) != 2 or bound.shape != matrix.shape[:1]:
            raise InputError(
                f"A has shape {matrix.shape} and b {bound.shape}, expected (m, n) and (m,)"
            )
        self.dim = _dimension(matrix.shape[1])
        self._matrix, self._bound = matrix, bound

    @cached_property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Integer rows ``(a, c)`` in lowest terms, ``a . t + c >= 0``, in the order given."""
        joined = join_columns(self._matrix, self._bound)
        table = ExactRows.from_array(joined).integers.tolist()
        return tuple(tuple(reduce_row([*(-v for v in row[:-1]), row[-1]])) for row in table)

    @property
    def A(self) -> NDArray[Any]:
        """The matrix, as given, in Fractions."""
        return self._matrix.fractions()

    @property
    def b(self) -> NDArray[Any]:
        """The right-hand side, as given, in Fractions."""
        return self._bound.fractions()

    def contains(self, x: Any) -> bool:
        point = [*_point(x, self.dim), Fraction(1)]
        return all(sum(a * v for a, v in zip(r, point, strict=True)) >= 0 for r in self.rows)

    def constraint_bytes(self) -> bytes:
        return _rows_bytes(self.rows)

    def describe(self) -> str:
        count = len(self.rows)
        return f"polytope of {count} half-space{'s' * (count != 1)} in R^{self.dim}"


class Space(Domain):
    """All of R^n.

    >>> Space(2).contains([1e300, -1])
    True
    """

    def __init__(self, n: int) -> None:
        self.dim = _dimension(n)

    def contains(self, x: Any) -> bool:
        _point(x, self.dim)
        return True

    def constraint_bytes(self) -> bytes:
        return struct.pack("<I", 0) + pack_ints(())

    def describe(self) -> str:
        return f"all of R^{self.dim}"


class Slice(Domain):
    """The points ``x = origin + basis t`` for ``t`` in ``inner``.

    Parameters
    ----------
    origin : (ambient,) vector of numbers
    basis : (ambient, dim) matrix of numbers, one column per coordinate ``t``
    inner : Box, Polytope or Space of dimension ``dim``, optional
        Default all of R^dim.

    Raises
    ------
    InputError
        On NaN, infinity, shapes that do not fit, or a basis whose columns are linearly dependent
        (decided exactly).

    >>> line = Slice([0, 1], [[1], [2]], Box(0, 1, 1))
    >>> line.contains([0.5, 2]), line.contains([0.5, 2.5])
    (True, False)
    """

    def __init__(self, origin: Any, basis: Any, inner: Domain | None = None) -> None:
        start, matrix = ExactArray(origin, "origin"), ExactArray(basis, "basis")
        if len(start.shape) != 1 or len(matrix.shape) != 2 or matrix.shape[:1] != start.shape:
            raise InputError(
                f"origin has shape {start.shape} and basis {matrix.shape}, "
                "expected (n,) and (n, dim)"
            )
        self.dim = _dimension(matrix.shape[1])
        self.inner = Space(self.dim) if inner is None else inner
        if isinstance(self.inner, Slice) or not isinstance(self.inner, Domain):
            raise InputError(f"inner is {self.inner!r}, expected a Box, Polytope or Space")
        if self.inner.dim != self.dim:
            raise InputError(f"inner has dimension {self.inner.dim}, the basis has {self.dim}")
        self._origin, self._basis = start, matrix
        self._joined = join_columns(matrix, start)
        rank = _rank(self._integers[0][:, :-1], self.dim)
        if rank < self.dim:
            raise InputError(f"basis has rank {rank}, expected {self.dim} independent columns")

    @property
    def ambient(self) -> int:
        return self._origin.shape[0]

    @property
    def origin(self) -> NDArray[Any]:
        """The origin in Fractions."""
        return self._origin.fractions()

    @property
    def basis(self) -> NDArray[Any]:
        """The basis in Fractions."""
        return self._basis.fractions()

    @cached_property
    def _integers(self) -> tuple[NDArray[Any], int]:
        return self._joined.integers()

    def slice_map(self) -> tuple[int, list[list[int]]]:
        table, scale = self._integers
        return scale, table.tolist()

    def map_bytes(self) -> bytes:
        """``INTS(1: scale)`` and ``INTS`` of the rows, the part of the bytes that gives the map."""
        table, scale = self._integers
        return pack_ints((scale,)) + pack_table(table)

    def point(self, t: Any) -> tuple[Fraction, ...]:
        """The network input ``origin + basis t``, exactly."""
        scale, rows = self.slice_map()
        entries = [*_point(t, self.dim), Fraction(1)]
        return tuple(
            Fraction(sum(a * v for a, v in zip(r, entries, strict=True))) / scale for r in rows
        )

    def coordinates(self, x: Any) -> tuple[Fraction, ...] | None:
        """The ``t`` with ``origin + basis t == x``, or None if ``x`` is off the slice."""
        scale, rows = self.slice_map()
        point = _point(x, self.ambient)
        system = [
            [*(Fraction(v) for v in row[:-1]), p * scale - row[-1]]
            for row, p in zip(rows, point, strict=True)
        ]
        return _solve(system, self.dim)

    def contains(self, x: Any) -> bool:
        t = self.coordinates(x)
        return t is not None and self.inner.contains(t)

    def constraint_bytes(self) -> bytes:
        return self.inner.constraint_bytes()

    def describe(self) -> str:
        kind = {1: "line", 2: "plane"}.get(self.dim, f"{self.dim}-dimensional slice")
        return f"{kind} in R^{self.ambient}: {self.inner.describe()}"


# ------------------------------------------------------------------- helpers


def polytope_bytes(rows: Sequence[Sequence[int]], dim: int) -> bytes:
    """The bytes of the polytope with these constraint rows, taken as they are."""
    return MAGIC + struct.pack("<IIB", dim, dim, False) + _rows_bytes(rows)


def _rows_bytes(rows: Sequence[Sequence[int]]) -> bytes:
    return struct.pack("<I", len(rows)) + pack_ints([v for row in rows for v in row])


def _dimension(n: Any) -> int:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or not 0 < n < 1 << 32:
        raise InputError(f"the dimension is {n!r}, expected a positive integer")
    return int(n)


def _check_side(i: int, low: Bound, high: Bound) -> None:
    if low == np.inf or high == -np.inf:
        raise InputError(
            f"lo[{i}] is {number_text(low)} and hi[{i}] is {number_text(high)}: nothing between"
        )
    if low > high:
        raise InputError(
            f"lo[{i}] is {number_text(low)}, greater than hi[{i}], {number_text(high)}"
        )


def _broadcast(values: ExactArray, n: int) -> ExactArray:
    if values.shape == (n,):
        return values
    return ExactArray(np.full(n, values.data[()], dtype=values.data.dtype), values.name, True)


def _point(x: Any, dim: int) -> list[Fraction]:
    point = ExactArray(x, "x")
    if point.shape != (dim,):
        raise InputError(f"x has shape {point.shape}, expected ({dim},)")
    return point.fractions().tolist()


def number_text(value: Bound) -> str:
    """Short text of a bound: an integer, a float that it equals, or a fraction."""
    if isinstance(value, Fraction):
        if value.denominator == 1 and abs(value) < 10**12:
            return str(value.numerator)
        short = f"{value.numerator}/{value.denominator}" if value.denominator < 10**6 else ""
        return short if short and len(short) < 12 else _decimal(value)
    return (
        f"{float(value):g}"
        if np.isinf(value) or float(f"{value:g}") == value
        else repr(float(value))
    )


def _decimal(value: Fraction) -> str:
    try:
        near = float(value)
    except OverflowError:
        return f"about 2^{abs(value.numerator).bit_length() - value.denominator.bit_length()}"
    return repr(near) if near == value else f"about {near:.6g}"


_PRIMES = (2147483647, 2147483629)


def _rank(table: NDArray[Any], full: int) -> int:
    """Exact rank of an integer matrix.

    The rank modulo a prime never exceeds the rank, so a full rank there is a proof; only where it
    falls short are the integers themselves eliminated (Bareiss: every division is exact).
    """
    for prime in _PRIMES:
        reduced = (table % prime).astype(np.int64)
        if _rank_modulo(reduced, prime) == full:
            return full
    rows = [[int(v) for v in row] for row in table]
    rank, previous = 0, 1
    for c in range(full):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][c]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        top = rows[rank]
        for i in range(rank + 1, len(rows)):
            low = rows[i]
            rows[i] = [(top[c] * v - low[c] * t) // previous for v, t in zip(low, top, strict=True)]
        previous = top[c]
        rank += 1
    return rank


def _rank_modulo(table: NDArray[np.int64], prime: int) -> int:
    rank = 0
    for c in range(table.shape[1]):
        nonzero = np.flatnonzero(table[rank:, c])
        if not len(nonzero):
            continue
        pivot = rank + int(nonzero[0])
        table[[rank, pivot]] = table[[pivot, rank]]
        top = table[rank, c:] * pow(int(table[rank, c]), -1, prime) % prime
        below = table[rank + 1 :, c:]
        table[rank + 1 :, c:] = (below - below[:, :1] * top % prime) % prime
        rank += 1
        if rank == table.shape[0]:
            break
    return rank


def _solve(system: list[list[Fraction]], dim: int) -> tuple[Fraction, ...] | None:
    """The unique solution of a full-rank system ``[matrix | right side]``, or None."""
    rows = [_integer_row(row) for row in system]
    for c in range(dim):
        pivot = next(i for i in range(c, len(rows)) if rows[i][c])
        rows[c], rows[pivot] = rows[pivot], rows[c]
        top = rows[c]
        for i, low in enumerate(rows):
            if i != c and low[c]:
                g = gcd(top[c], low[c])
                a, b = top[c] // g, low[c] // g
                rows[i] = [a * v - b * t for v, t in zip(low, top, strict=True)]
    if any(row[dim] for row in rows[dim:]):
        return None
    return tuple(Fraction(rows[c][dim], rows[c][c]) for c in range(dim))


def _integer_row(row: Sequence[Fraction]) -> list[int]:
    den = 1
    for v in row:
        den = den * v.denominator // gcd(den, v.denominator)
    return reduce_row([v.numerator * (den // v.denominator) for v in row])
