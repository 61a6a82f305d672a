"""Networks made of others, exactly: the difference of two, and what a layer of units reads.

What is asked about two networks, or about units inside one, is then a question about one network.
"""

from __future__ import annotations

import numpy as np

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows
from plverify.network import Network
from plverify.nodes import Dense, Linear, Max, Node, Sparse, Units, copies, with_sources


def difference(f: Network, g: Network) -> Network:
    """The network ``f - g``, exactly; both read the same input.

    Raises
    ------
    InputError
        If the networks have other numbers of inputs or outputs.

    >>> double, triple = (Network.from_arrays([[[k]]]) for k in (2, 3))
    >>> difference(triple, double).exact([5])
    [Fraction(5, 1)]
    """
    nodes, first, second = _beside(f, g)
    nodes.append(_combination(first, second, f.output_size))
    told = tuple(dict.fromkeys(f.definitions + g.definitions))
    return Network(f.input_size, nodes, definitions=told, input_shape=f.input_shape)


def absolute_sum(net: Network) -> Network:
    """The network of one output, the sum of the absolute values of the outputs.

    >>> absolute_sum(Network.from_arrays([[[2], [-3]]])).exact([1])
    [Fraction(5, 1)]
    """
    last, size = len(net.nodes), net.output_size
    rows = ExactRows.from_integers([[1] * size + [0]], [1])
    total = Sparse((last + 1,), np.arange(size, dtype=np.int32)[None], rows)
    nodes = [*net.nodes, Units(last, ((-1, 0),) * size), total]
    return Network(net.input_size, nodes, definitions=net.definitions)


def layer_network(net: Network, layer: int) -> Network:
    """The network whose outputs are the pre-activations of a layer.

    It has all nodes before the layer, read or not, so that its units have the numbers they have.

    Parameters
    ----------
    net : Network
    layer : int
        Number among `Network.unit_nodes`, from 0. Of a pooling, the outputs are the joined tensors
        that it reads.

    Raises
    ------
    InputError
        If there is no such layer.

    >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.0, 5.0], [0.0]])
    >>> layer_network(net, 0).exact([2])
    [Fraction(2, 1), Fraction(3, 1)]
    """
    if not 0 <= layer < len(net.unit_nodes):
        raise InputError(f"layer is {layer}, the network has {len(net.unit_nodes)}")
    end, node = net.unit_nodes[layer]
    nodes, sources = list(net.nodes[:end]), node.sources
    read = {source for earlier in nodes for source in earlier.sources}
    loose = [t for t in range(1, end + 1) if t not in read and t not in sources]
    if not nodes or sources != (end,) or loose or not isinstance(nodes[-1], Linear):
        sizes = [net.input_size, *(n.size for n in nodes)]
        first = sum(sizes[t] for t in loose)
        width = sum(sizes[t] for t in sources)
        nodes.append(copies([*loose, *sources], first + np.arange(width)))
    return Network(net.input_size, nodes, definitions=net.definitions, input_shape=net.input_shape)


def with_zero_output(net: Network) -> Network:
    """The network with one more output that is 0, so that a tie is a zero of the first.

    >>> with_zero_output(Network.from_arrays([[[2]]])).exact([1])
    [Fraction(2, 1), Fraction(0, 1)]
    """
    rows = ExactRows.from_array(ExactArray([[1.0, 0.0], [0.0, 0.0]]))
    last = net.nodes[-1]
    if isinstance(last, Dense):
        both = ExactRows.from_integers(
            [*last.rows.integers.tolist(), [0] * (last.rows.cols + 1)], [*last.rows.dens, 1]
        )
        return Network(net.input_size, [*net.nodes[:-1], Dense(last.source, both)])
    index = np.array([[0], [-1]], np.int32)
    return Network(net.input_size, [*net.nodes, Sparse((len(net.nodes),), index, rows)])


def with_maximum(net: Network) -> Network:
    """The network with one more output, the maximum of the others.

    Its piece on a region, the last of the pattern, is the label: which output is largest, of those
    that are equal on all of the region the first.

    >>> net = with_maximum(Network.from_arrays([[[1], [-1]]]))
    >>> net.exact([-2]), net.pattern([-2])
    ([Fraction(-2, 1), Fraction(2, 1), Fraction(2, 1)], array([1], dtype=uint8))
    """
    last, size = len(net.nodes), net.output_size
    each = np.arange(size + 1, dtype=np.int32)[:, None]
    copies = ExactRows.from_integers([[1, 0]] * (size + 1), [1] * (size + 1))
    nodes = [*net.nodes, Max((last,), 1, size, each[:-1]), Sparse((last, last + 1), each, copies)]
    return Network(net.input_size, nodes, definitions=net.definitions, input_shape=net.input_shape)


def _beside(f: Network, g: Network) -> tuple[list[Node], int, int]:
    """The nodes of both on one input, and the tensors that are their outputs."""
    for what, a, b in (
        ("inputs", f.input_size, g.input_size),
        ("outputs", f.output_size, g.output_size),
    ):
        if a != b:
            raise InputError(f"the networks have {a} and {b} {what}")
    shift = len(f.nodes)
    moved = [with_sources(n, [s + shift if s else 0 for s in n.sources]) for n in g.nodes]
    return [*f.nodes, *moved], shift, shift + len(g.nodes)


def _combination(first: int, second: int, size: int) -> Sparse:
    """The difference of two tensors."""
    at = np.arange(size, dtype=np.int32)
    rows = ExactRows.from_integers([[1, -1, 0]] * size, [1] * size)
    return Sparse((first, second), np.stack([at, at + size], axis=1), rows)
