"""The differential of a network as linear forms of its inputs and of its open units' outputs.

*Points* are the inputs and the outputs of all units that may be on more than one piece. Between
two inputs the difference of every tensor is a linear form of the differences of points, if a window
of ``k`` inputs is written with ``k - 1`` ReLU units: ``max(a, b) = a + relu(b - a)``. The
difference of an open unit's output is between ``alpha`` and ``beta`` times that of what it reads,
its least and largest slope; that is all that is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.domain import Box
from plverify.errors import InputError
from plverify.exact_array import FloatArray
from plverify.filters import linear_bound
from plverify.gain.rounding import gamma
from plverify.network import Network
from plverify.nodes import Linear, Max, Units
from plverify.result import rounded

MOST_POINTS = 2500
"""Matrices of that size are inverted some fifty times."""

Known = NDArray[np.int64]
"""Per unit of a layer the piece it is surely on, -1 where that is open."""


@dataclass(frozen=True)
class Forms:
    """Everything that a semidefinite program needs of a network.

    Attributes
    ----------
    inputs : int
        The points are these, then the open units.
    units : (N, points) array
        What every open unit reads.
    alpha, beta : (N,) arrays
        Least and largest slopes.
    outputs : (m, points) array
        The rows asked for, times the network's outputs.
    unit_sizes, output_sizes : arrays of the same shapes
        The forms of absolute values: entries are off by at most ``relative`` times these.
    relative : float
    layer : (N,) array
        The node that an open unit belongs to.
    """

    inputs: int
    units: FloatArray
    alpha: FloatArray
    beta: FloatArray
    outputs: FloatArray
    unit_sizes: FloatArray
    output_sizes: FloatArray
    relative: float
    layer: NDArray[np.int64]


def fits(net: Network, most: int = MOST_POINTS) -> bool:
    """Whether there are at most so many points, whatever the domain is."""
    count = sum(
        node.size * (1 if isinstance(node, Units) else node.pieces - 1)
        for _, node in net.unit_nodes
    )
    return net.input_size + count <= most


def known_pieces(net: Network, box: Box | None) -> list[Known]:
    """Per layer, the pieces that units are surely on in a box, by interval arithmetic."""
    out: list[Known] = []
    if box is None or not box.bounded:
        return [np.full(node.size, -1, np.int64) for _, node in net.unit_nodes]
    lo, hi = (np.array([rounded(Fraction(v)) for v in side]) for side in (box.lo, box.hi))
    middle = lo + (hi - lo) / 2
    # The doubles next to the box's ends are outside of it or on its sides.
    radius = np.maximum(np.nextafter(hi, np.inf) - middle, middle - np.nextafter(lo, -np.inf))
    radius = np.nextafter(radius * (1 + 4 * 2.0**-53), np.inf)
    tensors = {0: (middle[None], radius[None])}
    for k, node in enumerate(net.nodes):
        value, error = (
            np.concatenate([tensors[s][i] for s in node.sources], axis=1) for i in (0, 1)
        )
        if isinstance(node, Linear):
            value, error, _ = linear_bound(node, value, error, np.zeros_like(value))
            tensors[k + 1] = value, error
            continue
        low, high = value - error, value + error
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
        if isinstance(node, Units):
            piece = np.where(low[0] > 0, 1, np.where(high[0] < 0, 0, -1))
            piece = np.where(node.single, 1, piece)
            bent = np.stack([node.slope * low, node.slope * high])
            outside = np.stack([np.minimum(bent[0], 0.0), np.maximum(bent[0], high)])
            inside = np.where(piece == 0, [bent.min(axis=0), bent.max(axis=0)], outside)
            low, high = np.where(piece == 1, [low, high], inside)
        else:
            below, above = node.windows(low, -np.inf)[0], node.windows(high, -np.inf)[0]
            leads = below.argmax(axis=0)
            others = np.where(np.arange(node.pieces)[:, None] == leads, -np.inf, above)
            piece = np.where(below.max(axis=0) > others.max(axis=0), leads, -1)
            low, high = below.max(axis=0)[None], above.max(axis=0)[None]
        out.append(piece.astype(np.int64))
        value = low + (high - low) / 2
        error = np.maximum(high - value, value - low) * (1 + 8 * 2.0**-53) + 1e-300
        tensors[k + 1] = value, error
    return out


def network_forms(net: Network, rows: Sequence[Sequence[Fraction]], box: Box | None) -> Forms:
    """The forms of a network, on a box or everywhere.

    Raises
    ------
    InputError
        If there are more than `MOST_POINTS` points.
    """
    from scipy.sparse import csr_matrix, eye, hstack, vstack

    known = known_pieces(net, box)
    total = net.input_size + sum(
        int((piece < 0).sum()) * (1 if isinstance(node, Units) else node.pieces - 1)
        for (_, node), piece in zip(net.unit_nodes, known, strict=True)
    )
    if total > MOST_POINTS:
        raise InputError(
            f"a semidefinite program for {total:,} inputs and units is too large, "
            f"more than {MOST_POINTS:,}; method 'product' is for networks of any size"
        )
    n = net.input_size
    tensors: dict[int, tuple[Any, Any]] = {}
    first = hstack([eye(n, format="csr"), csr_matrix((n, total - n))], format="csr")
    tensors[0] = (first, first)
    units: list[Any] = []
    sizes: list[Any] = []
    slopes: list[tuple[float, float]] = []
    layer: list[int] = []
    terms = depth = 0
    number = 0

    def new_point(form: Any, size: Any, ends: tuple[float, float], node: int) -> Any:
        units.append(form)
        sizes.append(size)
        slopes.append(ends)
        layer.append(node)
        at = n + len(units) - 1
        return csr_matrix(([1.0], ([0], [at])), shape=(1, total))

    for k, node in enumerate(net.nodes):
        form, size = (vstack([tensors[s][i] for s in node.sources], format="csr") for i in (0, 1))
        if isinstance(node, Linear):
            matrix = node.matrix(form.shape[0])
            terms = max(terms, node.terms)
            depth += 1
            tensors[k + 1] = ((matrix @ form).tocsr(), (abs(matrix) @ size).tocsr())
            continue
        piece = known[number]
        number += 1
        made, made_sizes = [], []
        for i in range(node.size):
            if isinstance(node, Units):
                z, s = form[i], size[i]
                slope = 1.0 if piece[i] == 1 else float(node.slope[i])
                if piece[i] >= 0:
                    made.append(z * slope)
                    made_sizes.append(s * abs(slope))
                    continue
                point = new_point(z, s, _slope_ends(*node.slopes[i]), k)
                made.append(point)
                made_sizes.append(point)
                continue
            taps = [int(t) for t in node.table[:, i] if t >= 0]
            if piece[i] >= 0:
                taps = [int(node.table[piece[i], i])]
            best, best_size = form[taps[0]], size[taps[0]]
            for t in taps[1:]:
                point = new_point(form[t] - best, size[t] + best_size, (0.0, 1.0), k)
                best, best_size = best + point, best_size + point
            made.append(best)
            made_sizes.append(best_size)
        tensors[k + 1] = (vstack(made, format="csr"), vstack(made_sizes, format="csr"))
    points = n + len(units)  # windows at an edge have fewer inputs
    last, last_size = (form[:, :points] for form in tensors[len(net.nodes)])
    weights = np.array([[rounded(v) for v in row] for row in rows])
    lines = vstack(units, format="csr")[:, :points] if units else csr_matrix((0, points))
    line_sizes = vstack(sizes, format="csr")[:, :points] if sizes else csr_matrix((0, points))
    alpha, beta = np.array(slopes).reshape(-1, 2).T
    most = max((node.pieces for _, node in net.unit_nodes if isinstance(node, Max)), default=0)
    return Forms(
        inputs=n,
        units=lines.toarray(),
        alpha=alpha,
        beta=beta,
        outputs=np.asarray(weights @ last),
        unit_sizes=line_sizes.toarray(),
        output_sizes=np.asarray(np.abs(weights) @ last_size),
        # Every entry went through so many sums and products, at most.
        relative=gamma((depth + 1) * (terms + 4) + net.output_size + most * len(known) + 16),
        layer=np.array(layer, np.int64),
    )


def _slope_ends(num: int, shift: int) -> tuple[float, float]:
    """The least and largest slope of a unit, outside of the exact ones where they are no doubles.

    >>> _slope_ends(1, 2), _slope_ends(3, 0)
    ((0.25, 1.0), (1.0, 3.0))
    """
    exact = Fraction(num, 1 << shift)
    near = rounded(exact)
    if exact < 1:
        return (near if Fraction(near) <= exact else np.nextafter(near, -np.inf)), 1.0
    return 1.0, (near if Fraction(near) >= exact else np.nextafter(near, np.inf))
