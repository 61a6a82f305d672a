"""Operator norms of the nodes of a network: l1, l2 and linf, each from below and from above.

The norm of a linear node in l1 is the largest absolute column sum, in linf the largest absolute
row sum; both are exact sums of rationals. Its spectral norm has two proven ends
(`plverify.gain.spectral`): by a Gram matrix where one side is small enough, else by the symbol of
a convolution (`plverify.gain.circular`), by Schur's test, and by ``l2^2 <= l1 linf``. Biases do not
matter.

A unit of slope ``s`` has the constant ``max(1, |s|)`` in every norm. Windows that overlap may all
take the same input: with ``c`` the most windows that one belongs to, a `Max` node has the constants
``c``, ``sqrt(c)`` and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.exact_array import ExactRows
from plverify.gain.circular import Lattice
from plverify.gain.rounding import gamma, norm_above, up
from plverify.gain.spectral import norm_bounds, operator_below, ratio_below, schur_above
from plverify.nodes import Conv, Dense, Linear, Node, Units
from plverify.result import enclose, rounded

Ends = tuple[float, float]
"""A proven lower and upper bound."""
NORMS = ("l1", "l2", "linf")

_GRAM_WORK = 4e11
"""Products up to which a spectral norm is computed by a Gram matrix."""
_MOST_TRIPLETS = 6_000_000
_MOST_MATRIX = 1 << 27
"""Entries of the largest matrix that is written out."""


@dataclass(frozen=True)
class Norms:
    """The three operator norms, each as ``(lower, upper)``."""

    l1: Ends
    l2: Ends
    linf: Ends

    def __getitem__(self, norm: str) -> Ends:
        ends: Ends = getattr(self, norm)
        return ends


def node_norms(node: Node, inputs: int) -> Norms:
    """The operator norms (Lipschitz constants) of a node that reads so many inputs.

    >>> from plverify.exact_array import ExactArray
    >>> node = Dense(0, ExactRows.from_array(ExactArray([[1.0, -2.0, 9.0], [3.0, 4.0, 9.0]])))
    >>> found = node_norms(node, 2)
    >>> found.l1, found.linf, round(found.l2[1], 9)
    ((6.0, 6.0), (7.0, 7.0), 5.116672736)
    """
    if isinstance(node, Linear):
        return Operator(node, inputs).norms
    if isinstance(node, Units):
        steepest = max(max(Fraction(1), abs(Fraction(n, 1 << s))) for n, s in set(node.slopes))
        ends = enclose(steepest)
        return Norms(ends, ends, ends)
    places = np.bincount(node.taps[node.taps >= 0], minlength=1)
    most = Fraction(int(places.max()))
    return Norms(enclose(most), enclose(most, root=True), (1.0, 1.0))


class Operator:
    """The linear part of a node, or of some of its columns.

    Parameters
    ----------
    node : Linear
    inputs : int
        How many it reads.
    columns : slice, optional
        Which of them count; the others are taken to be zero.
    """

    def __init__(self, node: Linear, inputs: int, columns: slice | None = None) -> None:
        self.node, self.inputs = node, inputs
        self.columns = columns or slice(0, inputs)
        self.whole = self.columns == slice(0, inputs)

    @cached_property
    def norms(self) -> Norms:
        """All three."""
        sums = _triplet_sums(self) if self._is_small else _kernel_sums(self.node)
        return Norms(sums[0], self._spectral(*sums), sums[1])

    @property
    def _is_small(self) -> bool:
        node = self.node
        dense = isinstance(node, Dense) and node.rows.num.size > _MOST_TRIPLETS
        return not dense and (not isinstance(node, Conv) or _products(node) <= _MOST_TRIPLETS)

    @property
    def _width(self) -> int:
        return len(range(*self.columns.indices(self.inputs)))

    # ------------------------------------------------------------------------------ spectral norm

    def _spectral(self, l1: Ends, linf: Ends) -> Ends:
        above = up(math.sqrt(up(l1[1] * linf[1])), 8) if l1[1] > 0 else 0.0
        if above == 0.0:
            return 0.0, 0.0
        rows, cols = self.node.size, self._width
        side, other = min(rows, cols), max(rows, cols)
        if float(side) * side * (side + other) <= _GRAM_WORK and side * other <= _MOST_MATRIX:
            low, high = norm_bounds(self._matrix())
            return low, min(high, above)
        below = self._column_below()
        if isinstance(self.node, Conv):
            above = min(above, self._symbol_above())
        if self._is_small:
            above = min(above, self._schur_above())
        return min(max(below, self._lanczos_below()), above), above

    def _matrix(self) -> NDArray[Any]:
        if isinstance(self.node, Dense):
            return self.node.weight[:, self.columns]
        return self.node.matrix(self.inputs)[:, self.columns].toarray()

    def _apply(self, x: NDArray[Any], absolute: bool = False) -> NDArray[Any]:
        full = x
        if not self.whole:
            full = np.zeros(self.inputs)
            full[self.columns] = x
        return self.node.product(full[None], absolute)[0]

    def _lanczos_below(self) -> float:
        return operator_below(
            self._apply,
            lambda y: self.node.adjoint(y[None], self.inputs)[0, self.columns],
            lambda x: self._apply(x, True),
            self._width,
            self.node.terms,
        )

    def _column_below(self) -> float:
        """The largest column, as far as it can be seen cheaply: exact for diagonal operators."""
        if not self._is_small:
            return 0.0
        matrix = self._sparse
        best = int(np.asarray(matrix.multiply(matrix).sum(axis=0)).argmax())
        x = np.zeros(self._width)
        x[best] = 1.0
        return ratio_below(self._apply, lambda v: self._apply(v, True), x, self.node.terms)

    @cached_property
    def _sparse(self) -> Any:
        return self.node.matrix(self.inputs)[:, self.columns]

    def _schur_above(self) -> float:
        # Entries that are sums of several (a position read twice) are rounded more than once.
        size = abs(self._sparse).tocsr()
        turned = size.T.tocsr()
        terms = 2 * max(int(np.diff(size.indptr).max()), int(np.diff(turned.indptr).max()))
        return schur_above(
            lambda x: size @ x, lambda y: turned @ y, self._width, terms + self.node.terms
        )

    def _symbol_above(self) -> float:
        node = self.node
        assert isinstance(node, Conv)
        kernels = node.kernels.reshape(node.groups, -1, *node.kernels.shape[1:])
        lattice = Lattice.find(node.taps, node.positions)
        if lattice is None:  # a transposed convolution is the transpose of one
            lattice = Lattice.find(_turned(node), node.places)
            kernels = kernels.swapaxes(1, 2)
        if lattice is None:
            return math.inf
        best = 0.0
        for part in kernels:
            error = up(2.0**-53 * norm_above(np.abs(part).sum(axis=2)) * len(node.taps))
            best = max(best, up(lattice.above(part) + error))
        return best


# ------------------------------------------------------------------------------ absolute sums


def _turned(node: Conv) -> NDArray[Any]:
    """The taps of the transpose: which output reads an input by a kernel entry; -1 for none."""
    out = np.full((len(node.taps), node.positions), -1, np.int64)
    for k, taps in enumerate(node.taps):
        places = np.flatnonzero(taps >= 0)
        if len(np.unique(taps[places])) < len(places):
            return np.full((1, 1), -1)  # more than one: no lattice
        out[k, taps[places]] = places
    return out


def _products(node: Conv) -> int:
    return int((node.taps >= 0).sum()) * node.rows.rows * (node.channels // node.groups)


def _triplet_sums(operator: Operator) -> tuple[Ends, Ends]:
    """The largest absolute column sum and row sum, exactly, from all entries."""
    node, rows = operator.node, operator.node.rows
    row, col, entry = node.triplets()
    if not operator.whole:
        start, stop, _ = operator.columns.indices(operator.inputs)
        chosen = (col >= start) & (col < stop)
        row, col, entry = row[chosen], col[chosen] - start, entry[chosen]
    if not len(row):
        return (0.0, 0.0), (0.0, 0.0)
    values = rows.integers.reshape(-1)[entry]
    kernel = entry // (rows.cols + 1)
    # A position that is read twice by one output counts with the sum of its entries.
    order = np.lexsort((col, row))
    row, col, values, kernel = row[order], col[order], values[order], kernel[order]
    new = np.ones(len(row), np.bool_)
    new[1:] = (np.diff(row) != 0) | (np.diff(col) != 0)
    first = np.flatnonzero(new)
    if len(first) < len(row):
        values = np.add.reduceat(values.astype(object), first)
        row, col, kernel = row[first], col[first], kernel[first]
    values = np.abs(values)
    return (
        _largest(values, col, kernel, rows, operator._width),
        _largest(values, row, kernel, rows, node.size),
    )


def _largest(
    values: NDArray[Any], at: NDArray[Any], kernel: NDArray[Any], rows: ExactRows, size: int
) -> Ends:
    """The largest of the exact sums of ``values / dens[kernel]`` by their places ``at``."""
    dens = rows.dens
    which = {d: k for k, d in enumerate(dict.fromkeys(dens))}
    group = np.array([which[d] for d in dens])[kernel]
    sums = {}
    for d, k in which.items():
        own = group == k
        if own.any():
            sums[d] = _exact_sums(values[own], at[own], size)
    # Few sums can be the largest: those whose rounded value is.
    rough = np.zeros(size)
    for d, part in sums.items():
        rough += [rounded(Fraction(v, d)) for v in part.tolist()]
    best = np.flatnonzero(rough >= rough.max() * (1 - 1e-12))
    unique = {tuple(int(part[k]) for part in sums.values()) for k in best.tolist()}
    exact = (
        sum((Fraction(v, d) for v, d in zip(parts, sums, strict=True)), Fraction(0))
        for parts in unique
    )
    return enclose(max(exact))


def _exact_sums(values: NDArray[Any], at: NDArray[Any], size: int) -> NDArray[Any]:
    """Sums of non-negative integers by their places, as Python integers."""
    if values.dtype == object:
        out = np.zeros(size, np.int64).astype(object)
        np.add.at(out, at, values)
        return out
    # 31 bits at a time: sums of 2^22 of them are exact in float64.
    low = np.bincount(at, weights=(values & 0x7FFFFFFF).astype(np.float64), minlength=size)
    high = np.bincount(at, weights=(values >> 31).astype(np.float64), minlength=size)
    return low.astype(np.int64).astype(object) + (high.astype(np.int64).astype(object) << 31)


def _kernel_sums(node: Linear) -> tuple[Ends, Ends]:
    """Bounds of the largest absolute column sum and row sum of a large node."""
    if isinstance(node, Conv):
        size = np.abs(node.kernels)
        per_group = node.rows.rows // node.groups
        valid = (node.taps >= 0).astype(np.float64)
        # Per kernel and tap, summed over channels; per group, channel and tap, over kernels.
        rows = size.sum(axis=1) @ np.unique(valid, axis=1)
        into = size.reshape(node.groups, per_group, *size.shape[1:]).sum(axis=1)
        reads = np.zeros((len(node.taps), node.positions))
        for k, taps in enumerate(node.taps):
            reads[k] = np.bincount(taps[taps >= 0], minlength=node.positions)
        columns = into.reshape(-1, len(node.taps)) @ np.unique(reads, axis=1)
        exact = reads.max() <= 1  # else sums of entries may be smaller than those of their sizes
        # Sums of sums: errors add up.
        summed = per_group + len(node.taps), size.shape[1] + len(node.taps)
    else:
        assert isinstance(node, Dense)
        step = max(1, (1 << 24) // node.rows.cols)
        parts = [np.abs(node.weight[k : k + step]) for k in range(0, node.size, step)]
        rows = np.concatenate([part.sum(axis=1) for part in parts])
        columns, exact = sum(part.sum(axis=0) for part in parts), True
        summed = node.size + len(parts), node.rows.cols
    return (
        _around(float(np.max(columns)), summed[0], exact),
        _around(float(np.max(rows)), summed[1], exact),
    )


def _around(value: float, terms: int, exact: bool) -> Ends:
    """Bounds of a sum of rounded non-negative numbers."""
    error = gamma(terms + 4) * value
    return (max(0.0, value - 2 * error) if exact else 0.0), up(value + 2 * error)
