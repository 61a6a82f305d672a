"""The moves that leave the outputs of one region as they are: the null space of the Jacobian.

The rank is decided, not estimated. A square part of the Jacobian that is regular modulo a prime is
regular: that many rows are independent. Every other row is shown to be a combination of these, by
an exact vector ``y`` with ``y J = 0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import inf
from operator import mul
from typing import Any

import numpy as np
from flint import fmpz, fmpz_mat, nmod_mat

from plverify.exact_array import FloatArray
from plverify.exact_net import common_denominator
from plverify.network import Network, load
from plverify.programs import Vector, solve
from plverify.result import Result

PRIMES = ((1 << 61) - 1, (1 << 62) - 57, (1 << 63) - 25)
"""What is tried first; then the primes below the last one."""
_UNIT = 2.0**-53


@dataclass(frozen=True)
class Rank:
    """The rank of an integer matrix, proven.

    Attributes
    ----------
    rows, columns : tuple of int
        The part with these rows and columns is regular modulo `prime`; there are as many as the
        rank.
    combinations : dict of int to tuple of Fraction
        Every other row as a combination of `rows`, verified entry by entry; empty where the rank
        is as large as it can be.
    prime : int
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    combinations: dict[int, Vector]
    prime: int

    @property
    def rank(self) -> int:
        """The rank."""
        return len(self.rows)


def rank_of(table: Sequence[Sequence[int]]) -> Rank:
    """The rank of a matrix of integers, with its proof.

    >>> found = rank_of([[1, 2, 3], [2, 4, 6], [0, 1, 1]])
    >>> found.rank, found.combinations
    (2, {1: (Fraction(2, 1), Fraction(0, 1))})
    """
    # Modulo a prime the rank is less only where it divides all the largest regular minors: a finite
    # number of primes.
    for prime in _primes():
        columns = _pivots(table, prime)
        rows = _pivots([[row[j] for row in table] for j in columns], prime)
        if len(rows) == min(len(table), len(table[0])):
            return Rank(tuple(rows), tuple(columns), {}, prime)
        rest = [i for i in range(len(table)) if i not in rows]
        found = _combinations(table, rows, columns, rest)
        if found is not None:
            return Rank(tuple(rows), tuple(columns), found, prime)
    raise AssertionError("there are more primes")


def _primes() -> Iterator[int]:
    yield from PRIMES
    number = PRIMES[-1]
    while True:
        number -= 2
        if fmpz(number).is_prime():
            yield number


def _combinations(
    table: Sequence[Sequence[int]], rows: Sequence[int], columns: Sequence[int], rest: Sequence[int]
) -> dict[int, Vector] | None:
    """The rows ``rest`` as combinations of ``rows``, verified in every column; None if not so."""
    if not rows:
        return None if any(map(any, table)) else dict.fromkeys(rest, ())
    square = fmpz_mat([[table[i][j] for i in rows] for j in columns])
    found: Any = square.solve(fmpz_mat([[table[i][j] for i in rest] for j in columns]))
    numerators, den = found.numer_denom()
    weights = numerators.transpose()
    if weights * fmpz_mat([table[i] for i in rows]) != fmpz_mat([table[i] for i in rest]) * den:
        return None
    scale = int(den)
    return {
        i: tuple(Fraction(int(v), scale) for v in row)
        for i, row in zip(rest, weights.tolist(), strict=True)
    }


def _pivots(table: Sequence[Sequence[int]], prime: int) -> list[int]:
    """Columns that are independent modulo a prime, as many as the rank there."""
    if not table or not table[0]:
        return []
    reduced, rank = nmod_mat([[v % prime for v in row] for row in table], prime).rref()
    out: list[int] = []
    for i in range(rank):
        start = out[-1] + 1 if out else 0
        out.append(next(j for j in range(start, len(table[0])) if int(reduced[i, j])))
    return out


@dataclass(frozen=True, eq=False)
class NullSpace(Result):
    """The steps ``v`` with ``J v = 0`` for the Jacobian ``J`` of one region.

    Attributes
    ----------
    shape : (int, int)
        Of ``J``: outputs (or pre-activations of a layer), inputs.
    rank : int
        Proven.
    dim : int
        Of the null space: inputs less `rank`.
    full_rank : bool
        Whether no rank is larger for this shape.
    basis : (n, dim) array of float64
        Orthonormal columns, but for rounding.
    bounds : (dim,) array of float64
        ``||J v||_2 <= bounds[k]`` for column ``k`` as it is, proven.
    proof : Rank
        Why the rank is what it is.
    """

    shape: tuple[int, int]
    rank: int
    dim: int
    full_rank: bool
    basis: FloatArray = field(repr=False)
    bounds: FloatArray = field(repr=False)
    proof: Rank = field(repr=False)
    _rows: tuple[tuple[int, ...], ...] = field(repr=False)
    _den: int = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The public fields but the proof, JSON-ready."""
        out = Result.to_dict(self)
        del out["proof"]
        return out

    @cached_property
    def exact_basis(self) -> list[tuple[int, ...]]:
        """``dim`` integer vectors that span the null space, exactly (not orthogonal)."""
        part, columns = self.proof.rows, self.proof.columns
        square = [[self._rows[i][j] for j in columns] for i in part]
        out = []
        for free in range(self.shape[1]):
            if free in columns:
                continue
            weights = solve(square, [-self._rows[i][free] for i in part])
            assert weights is not None
            nums, den = common_denominator(weights)
            vector = [0] * self.shape[1]
            vector[free] = den
            for j, v in zip(columns, nums, strict=True):
                vector[j] = v
            out.append(tuple(vector))
        return out

    def project(self, x0: Sequence[Any]) -> Vector:
        """The vector of the null space nearest to ``x0`` (in l2), exactly.

        ``x0 - J' (J J')^+ J x0``, the pseudo-inverse by independent rows.
        """
        rows = [self._rows[i] for i in self.proof.rows]
        nums, den = common_denominator(x0)
        gram = [[sum(map(mul, a, b)) for b in rows] for a in rows]
        weights = solve(gram, [sum(map(mul, a, nums)) for a in rows])
        assert weights is not None  # independent rows
        sizes, scale = common_denominator(weights)
        out = [v * scale for v in nums]
        for row, w in zip(rows, sizes, strict=True):
            out = [v - w * a for v, a in zip(out, row, strict=True)]
        return tuple(Fraction(v, den * scale) for v in out)


def null_space(net: Network | Any, x: Any, layer: int | None = None) -> NullSpace:
    """The null space of the Jacobian on the region of ``x``, its dimension proven.

    Steps in it leave all outputs as they are, while they stay in the region.

    Parameters
    ----------
    net : Network, or what `load` reads
    x : (n,) exact numbers
        On a kink the region is that of `Network.pattern`.
    layer : int, optional
        Pre-activations of this layer instead of the outputs.

    Raises
    ------
    InputError
        On a layer that is not there, or sizes that do not fit.

    >>> net = Network.from_arrays([[[1, 2, 0], [0, 1, 1], [1, 3, 1]]])
    >>> found = null_space(net, [1, 1, 1])
    >>> found.shape, found.rank, found.dim, found.exact_basis
    ((3, 3), 2, 1, [(2, -1, 1)])
    >>> bool(found.bounds[0] < 1e-14)
    True
    """
    network = net if isinstance(net, Network) else load(net)
    rows, den = jacobian_rows(network, x, layer)
    proof = rank_of(rows)
    n = network.input_size
    matrix = np.array([[Fraction(v, den) for v in row] for row in rows], dtype=object)
    J = matrix.reshape(len(rows), n).astype(np.float64)
    basis = _orthonormal(J, n - proof.rank)
    return NullSpace(
        shape=(len(rows), n),
        rank=proof.rank,
        dim=n - proof.rank,
        full_rank=proof.rank == min(len(rows), n),
        basis=basis,
        bounds=_product_bounds(J, basis),
        proof=proof,
        _rows=tuple(rows),
        _den=den,
    )


def jacobian_rows(
    net: Network, x: Any, layer: int | None = None
) -> tuple[list[tuple[int, ...]], int]:
    """``(rows, den)``: the exact Jacobian ``rows / den`` on the region of ``x``."""
    pattern = net.affine_map(x, layer=layer).pattern
    rows, den = net.exact_net.affine_map(pattern.tolist(), layer)
    return [row[:-1] for row in rows], den


def _orthonormal(J: FloatArray, dim: int) -> FloatArray:
    """(n, dim): right singular vectors of the ``dim`` smallest singular values."""
    size = np.abs(J).max(axis=1, initial=0.0)
    scaled = J / np.where(size > 0, size, 1.0)[:, None]
    *_, right = np.linalg.svd(scaled, full_matrices=True)
    return np.ascontiguousarray(right[len(right) - dim :].T)


def _product_bounds(J: FloatArray, V: FloatArray) -> FloatArray:
    """Proven upper bounds of ``||J v||_2`` for the columns ``v``, ``J`` being rounded to nearest.

    A sum of ``n`` products is off by at most ``(n + 1) u`` times the sum of the absolute values
    (Higham, "Accuracy and Stability of Numerical Algorithms", section 3), and ``J`` by ``u``; twice
    that covers the rounding of the bound, 1e-290 what underflowed.
    """
    n = J.shape[1]
    with np.errstate(all="ignore"):
        size = np.abs(J @ V) + 2 * (n + 4) * _UNIT * (np.abs(J) @ np.abs(V)) + n * 1e-290
        top = size.max(axis=0, initial=0.0)
        scaled = size / np.where(top > 0, top, 1.0)
        bounds = top * np.sqrt((scaled * scaled).sum(axis=0)) * (1 + (len(J) + 8) * 2 * _UNIT)
    return np.where(np.isfinite(bounds), bounds, inf)
