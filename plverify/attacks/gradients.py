"""Gradients of many points at a time, in floating point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plverify.exact_array import FloatArray
from plverify.network import Network
from plverify.nodes import Linear, Units


def gradients(
    net: Network, points: FloatArray, rows: FloatArray | Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """``rows[k] . df`` at ``points[k]``, of one of the pieces where two meet; rounds.

    Parameters
    ----------
    net : Network
    points : (k, n) array of float64
    rows : (k, m) array of float64
        Or a function of the outputs (k, m) at the points that returns it.

    Returns
    -------
    (k, n) array of float64

    >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])         # |x|
    >>> gradients(net, np.array([[2.0], [-3.0]]), np.ones((2, 1))).tolist()
    [[1.0], [-1.0]]
    """
    tensors = {0: points} | dict(net.node_values(points))
    sizes = [tensors[t].shape[1] for t in range(len(net.nodes) + 1)]
    last = len(net.nodes)
    flow: dict[int, FloatArray] = {last: rows(tensors[last]) if callable(rows) else rows}
    with np.errstate(all="ignore"):
        for k in range(last - 1, -1, -1):
            grad = flow.pop(k + 1, None)
            if grad is None:
                continue
            node = net.nodes[k]
            joined = np.concatenate([tensors[source] for source in node.sources], axis=1)
            if isinstance(node, Linear):
                back = node.adjoint(grad, joined.shape[1])
            elif isinstance(node, Units):
                back = grad * np.where(joined > 0, 1.0, node.slope)
            else:
                won = node.windows(joined, -np.inf).argmax(axis=1)
                columns = node.table[won, np.arange(node.size)]
                back = np.zeros_like(joined)
                np.add.at(back, (np.arange(len(back))[:, None], columns), grad)
            at = 0
            for source in node.sources:
                part = back[:, at : at + sizes[source]]
                flow[source] = flow[source] + part if source in flow else part
                at += sizes[source]
    return flow.get(0, np.zeros_like(points))
