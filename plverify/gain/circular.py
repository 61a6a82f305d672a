"""Convolutions seen as parts of circular ones, whose norm is that of their symbol.

A node of convolution has a table of taps and no geometry. `Lattice.find` looks for a grid on which
the table is a translation: entry ``k`` of the kernel reads position ``o(p) + d(k)`` for output
``p``, or nothing where that is outside. The operator is then a part (some outputs, some inputs) of
a circular convolution on a larger grid, so its norm is at most the largest norm of the matrices

    B(t) = sum over k of w_k exp(i t d(k)),    t in the dual of that grid,

(H. Sedghi, V. Gupta, P. M. Long, "The singular values of convolutional layers", ICLR 2019). The
grid must be so large that nothing outside is read by going round: then zero padding is zero, and
circular padding needs no larger grid at all. A stride becomes channels: positions are sorted by
their remainder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.gain.rounding import gamma, norm_above, up
from plverify.gain.spectral import largest_above

Ints = NDArray[np.int64]

_PHASE = 1e-14
"""Bounds the error of a computed ``exp(2 pi i q / N)``: some units in the last place of 1."""
_MOST_ENTRIES = 1 << 27
"""Of all symbols together."""


@dataclass(frozen=True)
class Lattice:
    """Where a table of taps is a translation.

    Attributes
    ----------
    sizes : per dimension, positions of the circular grid
    entries : (E,) the kernel entries that are read anywhere
    phases : (E,) the class of the remainders of their positions
    steps : (E, d) by how much they move on the grid
    classes : int
        How many classes of remainders there are.
    """

    sizes: tuple[int, ...]
    entries: Ints
    phases: Ints
    steps: Ints
    classes: int

    @staticmethod
    def find(taps: NDArray[Any], positions: int) -> Lattice | None:
        """A grid for a table ``(K, P)``, or None if there is none of up to three dimensions."""
        for shape in _shapes(positions):
            found = _on_grid(taps, shape)
            if found is not None:
                return found
        return None

    def above(self, kernels: NDArray[Any]) -> float:
        """An upper bound of the norm, for kernels ``(out, in, K)`` rounded to doubles."""
        frequencies = self._frequencies()
        kernels = kernels[:, :, self.entries]
        outs, ins, _ = kernels.shape
        if len(frequencies) * outs * ins * self.classes > _MOST_ENTRIES:
            return np.inf
        waves = np.ones((len(self.steps), len(frequencies)), np.complex128)
        for d, size in enumerate(self.sizes):
            angle = 2 * np.pi * (np.arange(size) / size)
            table = np.cos(angle) + 1j * np.sin(angle)
            waves *= table[(self.steps[:, d, None] * frequencies[None, :, d]) % size]
        symbol = np.zeros((len(frequencies), outs, self.classes * ins), np.complex128)
        for c in range(self.classes):
            own = np.flatnonzero(self.phases == c)
            part = kernels[:, :, own].reshape(outs * ins, -1) @ waves[own]
            symbol[:, :, c * ins : (c + 1) * ins] = part.T.reshape(-1, outs, ins)
        total = norm_above(np.abs(kernels).sum(axis=2))
        error = (4 * len(self.sizes) * _PHASE + 2 * gamma(4 * len(self.steps) + 8)) * total
        return up(largest_above(symbol) + up(error))

    def _frequencies(self) -> Ints:
        """One of each pair of opposite points of the dual grid: kernels are real."""
        grid = np.stack(np.meshgrid(*map(np.arange, self.sizes), indexing="ij"), axis=-1)
        grid = grid.reshape(-1, len(self.sizes)).astype(np.int64)
        weights = np.array([prod(self.sizes[d + 1 :]) for d in range(len(self.sizes))])
        opposite = (-grid % np.array(self.sizes)) @ weights
        return grid[np.arange(len(grid)) <= opposite]


def _shapes(positions: int) -> Iterator[tuple[int, ...]]:
    """Shapes of so many positions, the likely ones first."""
    divisors = [d for k in range(1, isqrt(positions) + 1) if positions % k == 0
                for d in {k, positions // k}]  # fmt: skip
    pairs = sorted(((d, positions // d) for d in divisors), key=lambda s: abs(s[0] - s[1]))
    side = round(positions ** (1 / 3))
    if side**3 == positions:
        yield (side,) * 3
    yield from (pair for pair in pairs if 1 not in pair)
    yield (positions,)
    yield from (
        (d, *pair)
        for d in divisors
        for pair in ((e, positions // d // e) for e in divisors if positions // d % e == 0)
        if 1 not in (d, *pair)
    )


def _on_grid(taps: NDArray[Any], shape: tuple[int, ...]) -> Lattice | None:
    entries = np.flatnonzero((taps >= 0).any(axis=1))
    table = taps[entries][:, (taps >= 0).any(axis=0)]
    if not table.size:
        return None
    valid = table >= 0
    places = np.stack(np.unravel_index(np.where(valid, table, 0), shape), axis=-1)
    origins, moves, rounds = [], [], []
    for d, size in enumerate(shape):
        found = _translation(places[..., d], valid, 0)
        rounds.append(found is None)
        if found is None:
            found = _translation(places[..., d], valid, size)
        if found is None:
            return None
        origins.append(found[0])
        moves.append(found[1])
    inside = np.ones(table.shape, np.bool_)
    for d, size in enumerate(shape):
        if not rounds[d]:
            at = origins[d] + moves[d][:, None]
            inside &= (at >= 0) & (at < size)
    if (inside != valid).any():
        return None
    return _fold(entries, np.array(origins), np.array(moves), rounds, shape)


def _translation(places: Ints, valid: NDArray[Any], modulus: int) -> tuple[Ints, Ints] | None:
    """``(o, d)`` with ``places[k, p] = o[p] + d[k]``, modulo `modulus` unless it is 0."""
    entries, outputs = places.shape
    origin, move = np.zeros(outputs, np.int64), np.zeros(entries, np.int64)
    known, moved = np.zeros(outputs, np.bool_), np.zeros(entries, np.bool_)
    known[valid.sum(axis=0).argmax()] = True
    while True:
        links = valid & known & ~moved[:, None]
        new = links.any(axis=1)
        first = links.argmax(axis=1)
        move[new] = (places[np.arange(entries), first] - origin[first])[new]
        moved |= new
        links = valid & moved[:, None] & ~known
        more = links.any(axis=0)
        first = links.argmax(axis=0)
        origin[more] = (places[first, np.arange(outputs)] - move[first])[more]
        known |= more
        if not (new.any() or more.any()):
            break
    if not (known.all() and moved.all()):
        return None  # the table falls apart: entries that are never read together
    if modulus:
        origin, move = origin % modulus, move % modulus
    wrong = places - origin - move[:, None]
    wrong = wrong % modulus if modulus else wrong
    if (wrong != 0)[valid].any():
        return None
    return origin, move


def _fold(
    entries: Ints, origins: Ints, moves: Ints, rounds: list[bool], shape: tuple[int, ...]
) -> Lattice | None:
    """The lattice of outputs at `origins` (d, P) and kernel entries at `moves` (d, E)."""
    if len(np.unique(origins, axis=1).T) != origins.shape[1]:
        return None  # outputs that read the same
    sizes, steps, classes = [], [], 1
    phases = np.zeros(moves.shape[1], np.int64)
    for d, size in enumerate(shape):
        base = int(origins[d].min())
        stride = gcd(*(int(v) for v in np.unique(origins[d] - base))) or 1
        if rounds[d]:
            stride = gcd(stride, size)
        places = (origins[d] - base) // stride
        step, phase = np.divmod(moves[d] + base, stride)
        length = -(-size // stride)
        if not rounds[d]:
            below = -int(step.min() + places.min())
            above = int(step.max() + places.max()) - (length - 1)
            length += max(below, above, 0)
        sizes.append(length)
        steps.append(step)
        phases = phases * stride + phase
        classes *= stride
    found, phases = np.unique(phases, return_inverse=True)
    return Lattice(tuple(sizes), entries, phases, np.stack(steps, axis=1), len(found))
