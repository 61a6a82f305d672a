"""Bounds from the norms of the nodes, along the paths of the network.

The constant of a tensor is at most that of the node that makes it times that of what it reads. A
node that reads several tensors is seen in two ways: as one map of the joined tensors, and as a sum
of its parts, one per tensor; for a residual block the second gives ``1 + L`` instead of
``sqrt(2 (1 + L^2))``. In a chain this is the product of the nodes' constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from plverify.exact_array import FloatArray
from plverify.gain.operators import Norms, Operator, node_norms
from plverify.gain.rounding import U, gamma, norm_above, up
from plverify.gain.spectral import norm_bounds
from plverify.network import Network
from plverify.nodes import Dense, Linear
from plverify.result import Result


@dataclass(frozen=True)
class LayerNorms(Result):
    """The Lipschitz constants of one node of a network, in three norms.

    Attributes
    ----------
    node : int
        Its number.
    kind : str
        "dense", "conv", "sparse" (sums, scales, averages, gathers), "units" or "max".
    inputs, outputs : int
        Sizes of what it reads and makes.
    l1, l2, linf : pair of float
        A proven lower and upper bound.
    """

    node: int
    kind: str
    inputs: int
    outputs: int
    l1: tuple[float, float]
    l2: tuple[float, float]
    linf: tuple[float, float]


def layer_norms(net: Network, progress: Callable[[int], None] | None = None) -> list[LayerNorms]:
    """Operator norms of all nodes of a network, in l1, l2 and linf, from below and from above.

    Convolutions and poolings are the finite operators that they are, padding and stride included;
    a batch normalisation that was folded into its neighbour has no node of its own, and dropout is
    the identity. Sources: `plverify.gain.operators`.

    Parameters
    ----------
    net : Network
    progress : callable, optional
        Called with the number of nodes that are done.

    >>> net = Network.from_arrays([[[3.0, 4.0]], [[2.0]]])
    >>> [(row.kind, row.l1[1], round(row.l2[1], 9), row.linf[1]) for row in layer_norms(net)]
    [('dense', 4.0, 5.0, 7.0), ('units', 1.0, 1.0, 1.0), ('dense', 2.0, 2.0, 2.0)]
    """
    out = []
    for k, node in enumerate(net.nodes):
        inputs = sum(net.source_sizes(k))
        found = node_norms(node, inputs)
        kind = type(node).__name__.lower()
        out.append(LayerNorms(k, kind, inputs, node.size, found.l1, found.l2, found.linf))
        if progress is not None:
            progress(k + 1)
    return out


class PathProduct:
    """Upper bounds of the constants of all tensors of a network, in one norm.

    Attributes
    ----------
    bounds : list of float
        Per tensor, 1 for the input.
    """

    def __init__(self, net: Network, norm: str) -> None:
        self.net, self.norm = net, norm
        self.bounds = [1.0]
        for k in range(len(net.nodes)):
            self.bounds.append(self._node(k))

    @property
    def above(self) -> float:
        """That of the output."""
        return self.bounds[-1]

    def _node(self, k: int) -> float:
        node = self.net.nodes[k]
        read = [self.bounds[source] for source in node.sources]
        norms = node_norms(node, sum(self.net.source_sizes(k)))
        joined = up(norms[self.norm][1] * self._joined(read))
        if len(read) == 1 or not isinstance(node, Linear):
            return joined
        return min(joined, self._sum(node, k, read))

    def _sum(self, node: Linear, k: int, read: Sequence[float]) -> float:
        """By the parts of a node that reads several tensors."""
        total, at = 0.0, 0
        sizes = self.net.source_sizes(k)
        for size, bound in zip(sizes, read, strict=True):
            part: Norms = Operator(node, sum(sizes), slice(at, at + size)).norms
            total = up(total + up(part[self.norm][1] * bound))
            at += size
        return total

    def _joined(self, read: Sequence[float]) -> float:
        """The constant of tensors joined end to end."""
        if len(read) == 1:
            return read[0]
        if self.norm == "linf":
            return max(read)
        if self.norm == "l1":
            return up(sum(read), len(read))
        return norm_above(np.array(read))

    def rows_above(self, rows: FloatArray) -> float:
        """A bound for ``rows @ f`` instead of ``f``; entries are rounded once.

        Where the last node is dense it is multiplied with the rows, which is sharper than another
        factor.
        """
        last = self.net.nodes[-1]
        weight, below = rows, self.above
        error = 0.0
        if isinstance(last, Dense):
            weight, below = rows @ last.weight, self.bounds[last.source]
            terms = last.size + 4
            error = 2 * terms * U * norm_above(np.abs(rows) @ np.abs(last.weight))
            error *= math.sqrt(weight.size)  # every norm is at most so many times that one
        return up(up(matrix_above(weight, self.norm) + error) * below)

    def pairs_above(self) -> FloatArray:
        """Bounds for the differences of any two outputs, (m, m); as `rows_above` for each."""
        m = self.net.output_size
        last = self.net.nodes[-1]
        weight, below = np.eye(m), self.above
        if isinstance(last, Dense):
            weight, below = last.weight, self.bounds[last.source]
        out = np.zeros((m, m))
        for i in range(m):
            rows = weight - weight[i]
            # Weights are rounded once, and so are differences.
            error = 4 * U * (np.abs(weight) + np.abs(weight[i]))
            sizes = np.abs(rows) + error
            if self.norm == "l2":
                square = (sizes * sizes).sum(axis=1)
                norms = np.sqrt(square * (1 + gamma(weight.shape[1] + 8))) + 1e-150
            elif self.norm == "l1":
                norms = sizes.max(axis=1)
            else:
                norms = sizes.sum(axis=1) * (1 + gamma(weight.shape[1] + 8))
            out[i] = np.nextafter(norms * (1 + 8 * U) * below * (1 + 4 * U), np.inf)
            out[i, ~sizes.any(axis=1)] = 0.0
        np.fill_diagonal(out, 0.0)
        return np.maximum(out, out.T)


def matrix_above(matrix: FloatArray, norm: str) -> float:
    """An upper bound of an operator norm of a matrix whose entries were rounded once.

    >>> matrix_above(np.array([[1.0, -2.0]]), "linf") >= 3.0
    True
    """
    if norm == "l2":
        return norm_bounds(matrix)[1]
    axis = 0 if norm == "l1" else 1
    return up(float(np.abs(matrix).sum(axis=axis).max(initial=0.0)), matrix.shape[axis] + 4)
