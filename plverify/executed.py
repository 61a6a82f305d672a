"""Networks as they are executed: every node of the file or module, and how it may round.

The model. An operator is executed node by node, as the file or module has it: constants are not
folded into each other, graph optimisation is off. A linear operator of ``n`` terms in an element
type with unit roundoff ``u`` and least positive number ``t`` (float32: ``2**-24``, ``2**-149``)
makes of the numbers ``v`` that it reads

    fl(W v + b) = W v + b + e,    |e_i| <= gamma_k (|W| |v| + |b| + extra)_i + k t,

``gamma_k = k u / (1 - k u)``, ``k = n + 4``. That holds for sums in any order, with or without
fused operations, as long as every operation rounds to nearest, numbers below the normal range are
not flushed to zero, accumulators are at least as wide as the element type, and no sum overflows,
which the checker excludes. It does not hold for products in bfloat16 or TF32, nor for Winograd's
convolutions. Copies are exact, and so are ReLU, absolute values, minima and maxima; other slopes
round once, as a node of their own. ``extra`` is what a batch normalisation adds that computes its
scale and shift in its own way. `plverify.replay` holds files to the same bounds, layer by layer.

A network that was given as arrays is executed as `plverify.float32.emulate` does it: node by node
of the canonical form in float32, with every number of it rounded first, one rounding more per term.

`plverify.checker_bounds` proves with that what it proves about exact networks: its tree, its
multipliers, one more term per node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from plverify.checker_bounds import Rounding
from plverify.checker_dual import Executed
from plverify.checker_minima import up
from plverify.errors import InputError
from plverify.exact_array import FloatArray
from plverify.network import Network
from plverify.nodes import Linear, Node, Sparse, Units, copies, with_sources

_EXACT_SLOPES = {(0, 0), (1, 0), (-1, 0)}
_TYPES = (np.float32, np.float64)


class _Step(NamedTuple):
    """A node as executed."""

    node: Node
    terms: int
    extra: Any
    dtype: Any


class _Output(NamedTuple):
    """Entries of a tensor that are the next outputs."""

    tensor: int
    index: Any


def executed(net: Network) -> Executed:
    """A network as it is executed; see the module's description.

    Parameters
    ----------
    net : Network
        From an ONNX file that is still there, from a torch module, or from numbers.

    Raises
    ------
    InputError
        If there is no error model: an element type other than float32 and float64, or several;
        constants that the file computes itself; numbers that are not normal.
    MissingExtra
        If what reads the file or module again is not installed.

    >>> model = executed(Network.from_arrays([[[1.0]], [[1.0]]], [[2.0**25], [-(2.0**25)]]))
    >>> model.words
    'numpy in float32'
    >>> model.rounding[0].relative < 8 * 2.0**-24
    True
    """
    steps, outputs, runtime = _steps(net)
    kinds = {np.dtype(step.dtype).type for step in steps} or {np.float32}
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        names = ", ".join(sorted(np.dtype(kind).name for kind in kinds))
        raise InputError(f"there is no error model for an execution in {names}")
    info = np.finfo(kinds.pop())
    nodes: list[Node] = []
    rounding: dict[int, Rounding] = {}
    place = {0: 0}
    for k in _needed(steps, [part.tensor for part in outputs]):
        node, terms, extra, _ = steps[k]
        node = with_sources(node, [place[source] for source in node.sources])
        nodes.append(node)
        if isinstance(node, Linear):
            rounding[len(nodes) - 1] = _rounding(node, terms, extra, info)
        elif isinstance(node, Units) and not _EXACT_SLOPES.issuperset(node.slopes):
            _require_normal(np.abs(node.slope), info)
            rounded = copies([len(nodes)], np.arange(node.size))
            nodes.append(rounded)
            rounding[len(nodes) - 1] = _rounding(rounded, 2, 0.0, info)
        place[k + 1] = len(nodes)
    tensors = list(dict.fromkeys(part.tensor for part in outputs))
    sizes = {t: steps[t - 1].node.size if t else net.input_size for t in tensors}
    starts = {t: sum(sizes[s] for s in tensors[:k]) for k, t in enumerate(tensors)}
    index = np.concatenate([part.index.reshape(-1) + starts[part.tensor] for part in outputs])
    last = copies([place[t] for t in tensors], index)
    nodes.append(last)
    rounding[len(nodes) - 1] = _rounding(last, 0, 0.0, info)
    exact = Network(net.input_size, nodes).exact_net
    return Executed(exact, rounding, f"{runtime} in {np.dtype(info.dtype).name}")


def _steps(net: Network) -> tuple[list[_Step], list[_Output], str]:
    """The nodes as executed, the outputs, and the runtime's name."""
    if net.origin is None:
        # Numbers are rounded to float32 first: at most one rounding more per term.
        steps = [
            _Step(node, node.terms + 2 if isinstance(node, Linear) else 0, 0.0, np.float32)
            for node in net.nodes
        ]
        return steps, [_Output(len(steps), np.arange(net.output_size))], "numpy"
    from plverify.io.onnx import OnnxFile, read_model
    from plverify.io.onnx_const import DEFINITION

    if isinstance(net.origin, OnnxFile):
        path = net.origin.path
        try:
            model = read_model(path, net.origin.input_shape)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if model.network != net:
            raise InputError(f"{path} no longer holds the network that was loaded from it")
        if DEFINITION in model.graph.definitions:
            raise InputError("there is no error model for constants that the file computes")
        graph, names, runtime = model.graph, model.outputs, "onnxruntime"
    else:
        from plverify.io.torch import traced_again

        graph, names, runtime = traced_again(net.origin), net.origin.outputs, "torch"
    steps = [_Step(made.node, made.terms, made.extra, made.dtype) for made in graph.executed]
    parts = [graph.names[name] for name in names]
    if not parts:
        raise InputError("there is no error model for a constant output")
    return steps, [_Output(part.tensor, part.index) for part in parts], runtime


def _needed(steps: Sequence[_Step], outputs: Iterable[int]) -> list[int]:
    """The nodes that the outputs depend on, in order."""
    found: set[int] = set()
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor and tensor - 1 not in found:
            found.add(tensor - 1)
            stack += steps[tensor - 1].node.sources
    return sorted(found)


def _rounding(node: Linear, terms: int, extra: Any, info: Any) -> Rounding:
    """The bound of one linear operator's rounding."""
    largest = Fraction(float(info.max))
    if isinstance(node, Sparse) and node.gathers and terms == 0:
        return Rounding(0.0, (0.0,) * node.size, float(largest))
    _require_normal(np.abs(node.rows.floats()), info)
    # An average may be summed before it is divided: partial sums are up to k times the result.
    k = terms + 4
    limit = largest / (2 * k)
    unit, tiny = Fraction(float(info.eps)) / 2, Fraction(float(info.smallest_subnormal))
    if not np.all(np.asarray(extra) <= float(limit)) or k * unit >= Fraction(1, 2):
        raise InputError(f"there is no error model for sums of {terms} terms or of this size")
    gamma = k * unit / (1 - k * unit)
    more = np.broadcast_to(np.asarray(extra, np.float64), (node.size,)).tolist()
    slack = 1 + Fraction(1, 1 << 20)  # `extra` was computed in float64
    known = {v: up(gamma * Fraction(v) * slack + k * tiny) for v in set(more)}
    return Rounding(up(gamma), tuple(known[v] for v in more), float(limit))


def _require_normal(numbers: FloatArray, info: Any) -> None:
    """Refuse magnitudes that the element type does not hold up to one rounding."""
    with np.errstate(over="ignore", under="ignore"):
        held = numbers.astype(info.dtype).astype(np.float64) == numbers
    normal = (numbers >= float(info.smallest_normal)) & (numbers <= float(info.max))
    if not (held | normal).all():
        raise InputError(f"there is no error model for numbers that {info.dtype} does not hold")
