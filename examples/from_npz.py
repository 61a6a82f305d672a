"""Networks from weight archives of other projects: a few lines each.

`plverify.load` reads ``.npz`` files of fully connected networks itself. Anything else is said in
terms of `plverify.io.trace.Graph`, one call per layer; the result is exact, convolutions stay
convolutions. Run as ``python from_npz.py KIND FILE.npz`` to see what comes out.
"""

from __future__ import annotations

import sys

import numpy as np

import plverify as pv
from plverify.io.trace import Graph


def transposed(path: str) -> pv.Network:
    """``W0, b0, W1, b1, ...`` with ``y = relu(x W + b)``: plverify has ``W x + b``."""
    z = np.load(path)
    layers = range(len(z.files) // 2)
    return pv.Network.from_arrays([z[f"W{k}"].T for k in layers], [z[f"b{k}"] for k in layers])


def wong_kolter(path: str) -> pv.Network:
    """MNIST, a torch ``state_dict``: conv 16 and conv 32 (4x4, stride 2, padding 1), 100, 10."""
    z = np.load(path)
    graph = Graph((1, 1, 28, 28))
    x = graph.input()
    two, one = (2, 2), (1, 1)
    for k in (0, 2):
        x = graph.relu(graph.conv(x, z[f"{k}.weight"], z[f"{k}.bias"], two, one, one, one))
    x = graph.reshape(x, (1, -1))
    x = graph.relu(graph.linear(x, z["5.weight"], z["5.bias"]))
    return graph.finish(graph.linear(x, z["7.weight"], z["7.bias"]))


def lenet(path: str) -> pv.Network:
    """``W0, b0, ...``: conv 6 5x5 (padding 2), pool, conv 16 5x5, pool, 120, 84, 10."""
    z = np.load(path)
    graph = Graph((1, 1, 28, 28))
    x = graph.input()
    none, one, two = (0, 0), (1, 1), (2, 2)
    for k, pad in ((0, two), (1, none)):
        x = graph.relu(graph.conv(x, z[f"W{k}"], z[f"b{k}"], one, pad, pad, one))
        x = graph.max_pool(x, two, two, none, none, one)
    x = graph.reshape(x, (1, -1))
    for k in (2, 3):
        x = graph.relu(graph.linear(x, z[f"W{k}"], z[f"b{k}"]))
    return graph.finish(graph.linear(x, z["W4"], z["b4"]))


KINDS = {"transposed": transposed, "wong_kolter": wong_kolter, "lenet": lenet}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: python from_npz.py {'|'.join(KINDS)} FILE.npz")
    net = KINDS[sys.argv[1]](sys.argv[2])
    print(net, "outputs at 0:", net(np.zeros(net.input_size)).round(4).tolist())
