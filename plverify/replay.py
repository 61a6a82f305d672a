"""Replay: run an ONNX file or a torch module beside the imported network.

A theorem about the imported function is worth nothing if the import misread the file. So the file
is run (CPU, one thread, graph optimisation off) at random and extreme points with every layer's
tensors made visible, and each layer of the network is applied to the values that onnxruntime itself
computed for its input. Layer by layer the two may differ only by the rounding of that layer, for
which there is a rigorous bound; bounds propagated through the whole network would let almost
anything pass (10.3 on ACAS Xu, whose outputs are below 1; per layer they are about 1e-6).

The bound (``EXACTNESS`` A5 C4): for one executed operator ``v~ -> fl(W v~ + b)`` with ``n`` terms,
in any order of summation, with or without FMA, ``|error_i| <= gamma_k (|W| |v~| + |b|)_i + k t``
where ``k = n + 4``, ``gamma_k = k u / (1 - k u)``, ``u`` the unit roundoff of the element type and
``t`` its least positive number; through the operators between two layers it is carried along as
``|W| e + ...``. float16 operators round at least as well as that: they compute in float32.

First the graph as traced, operator by operator, is held against the runtime's values; then the
network, whose linear nodes are folded, is held against them layer by layer.

`plverify.replay_cache` remembers which files passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.filters import linear_bound
from plverify.io.execute import CannotRun, onnx_feeds, onnx_runner, torch_runner
from plverify.io.onnx import OnnxModel, read_model
from plverify.io.trace import Graph
from plverify.network import Network
from plverify.nodes import Linear, Max, Sparse, Units


@dataclass(frozen=True)
class Replay:
    """A replay that found no difference.

    Attributes
    ----------
    points : int
        Points at which every layer agreed; fewer than were run where a value overflowed.
    worst : float
        The largest difference as a fraction of its bound, at most 1.
    largest : float
        The largest difference.
    """

    points: int
    worst: float
    largest: float


class NotReplayed(InputError):
    """onnxruntime cannot run the file: nothing was compared, so nothing was found wrong."""


def replay(net: Network, path: str, points: Any = None) -> Replay:
    """Compare a network with its ONNX file, layer by layer, as onnxruntime executes it.

    Parameters
    ----------
    net : Network
    path : str
        The ``.onnx`` or ``.onnx.gz`` file it was read from.
    points : (batch, n) array, optional
        Inputs, rounded to the file's element type; default `default_points`.

    Raises
    ------
    InputError
        If they differ by more than the rounding bound, naming the first tensor that does;
        `NotReplayed` if onnxruntime cannot run the file.
    MissingExtra
        If onnxruntime is not installed.
    """
    model = read_model(path)
    if net.widths != model.network.widths or net.input_size != model.network.input_size:
        raise InputError(f"{net!r} does not have the layers of {os.path.basename(path)}")
    if net.output_size != model.network.output_size:
        raise InputError(f"{net!r} does not have the outputs of {os.path.basename(path)}")
    rows = (
        default_points(net.input_size) if points is None else ExactArray(points, "points").floats()
    )
    names = _visible(model)
    try:
        execute = onnx_runner(model, names, "replaying ONNX files")

        def run(row: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            feeds = onnx_feeds(model, row)
            x = np.concatenate([np.asarray(v, np.float64).ravel() for v in feeds.values()])
            return x, dict(zip(names, execute(feeds), strict=True))

        return _replay(net, model.graph, rows.reshape(-1, net.input_size), run, "onnxruntime")
    except CannotRun as error:
        raise NotReplayed(str(error)) from error


def replay_torch(net: Network, graph: Graph, program: Any, points: Any = None) -> Replay:
    """Compare a network with the exported torch program it was read from, layer by layer.

    Raises
    ------
    InputError
        If they differ by more than the rounding bound, naming the first value that does.
    """
    import torch

    execute = torch_runner(program, set(graph.names))
    kinds = {np.float16: torch.float16, np.float32: torch.float32, np.float64: torch.float64}

    def run(row: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
        x = torch.from_numpy(row).to(kinds[graph.dtype]).reshape(graph.input_shape)
        return x.double().numpy().ravel(), execute(x)

    rows = default_points(net.input_size) if points is None else np.asarray(points, np.float64)
    if net.input_size > 20_000:
        rows = rows[:4]
    return _replay(net, graph, rows, run, "torch")


Run = Callable[[FloatArray], tuple[FloatArray, dict[str, FloatArray]]]
"""From an input row to the row as rounded and the runtime's values by name."""


def _replay(net: Network, graph: Graph, rows: FloatArray, run: Run, runtime: str) -> Replay:
    compared, worst, largest = 0, 0.0, 0.0
    with np.errstate(all="ignore"):
        for row in rows:
            x, seen = run(row)
            if not np.isfinite(x).all():
                continue
            check = _Check(graph, seen, runtime)
            if check.graph_agrees(x):
                check.network_agrees(net, x)
                compared += 1
            worst, largest = max(worst, check.worst), max(largest, check.largest)
    if not compared:
        raise NotReplayed(f"no replay point gave finite values in {runtime}")
    return Replay(compared, worst, largest)


def default_points(n: int, seed: int = 0) -> FloatArray:
    """Sixteen points: corners of small and large boxes, the origin, random and sparse ones."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (4, n))
    return np.concatenate(
        [
            np.zeros((1, n)),
            np.ones((1, n)),
            -np.ones((1, n)),
            signs[:2],
            1000 * signs[2:3],
            1e-3 * signs[3:4],
            rng.uniform(-1, 1, (3, n)),
            rng.uniform(0, 1, (3, n)),
            10 * rng.standard_normal((2, n)),
            rng.uniform(-1, 1, (1, n)) * (rng.random((1, n)) < 0.1),
        ]
    )


@dataclass
class _Layer:
    """A layer of units as the runtime computed it: what it read, within what bound, and made."""

    pre: FloatArray
    bound: FloatArray
    rounding: FloatArray  # of the units themselves
    post: FloatArray
    pre_name: str
    post_name: str


class _Check:
    """One input's values in the runtime against the graph, and then against the network."""

    def __init__(self, graph: Graph, seen: dict[str, FloatArray], runtime: str) -> None:
        self.graph, self.seen, self.runtime = graph, seen, runtime
        self.layers: list[_Layer] = []
        self.output: tuple[FloatArray, FloatArray, str] | None = None
        self.worst = self.largest = 0.0
        self.needed = _needed(graph)

    def graph_agrees(self, x: FloatArray) -> bool:
        """Walk the graph; whether every value was finite."""
        graph = self.graph
        tensors: list[tuple[FloatArray, FloatArray]] = [(x, np.zeros_like(x))]
        names = ["input"]
        for k, (node, made) in enumerate(zip(graph.nodes, graph.executed, strict=True)):
            value = np.concatenate([tensors[t][0] for t in node.sources])
            error = np.concatenate([tensors[t][1] for t in node.sources])
            info = np.finfo(made.dtype)
            if isinstance(node, Linear):
                out, bound, top = _linear_step(node, value, error, made.terms, made.extra, info)
            elif isinstance(node, Units):
                out = np.where(value > 0, value, node.slope * value)
                grow = np.maximum(1.0, np.abs(node.slope))
                bound = grow * error + 4 * _unit_roundoff(info) * np.abs(out)
                bound = bound + 2 * float(info.smallest_subnormal)
            else:
                out = node.windows(value[None], -np.inf)[0].max(axis=0)
                bound = node.windows(error[None], 0.0)[0].max(axis=0)
            if not isinstance(node, Linear):
                top = float(np.abs(out).max() + bound.max())
            label = made.name or names[-1]
            got = self._seen(made.name, k + 1)
            if got is not None:
                if not np.isfinite(got).all():
                    if top < 0.5 * float(info.max):  # no sum on the way can have overflowed
                        raise self._mismatch(label, "is not finite")
                    return False
                if k in self.needed:
                    self._require(label, got, out, bound)
            if isinstance(node, (Units, Max)) and k in self.needed:
                rounding = 4 * _unit_roundoff(info) * np.abs(out) + 2 * float(
                    info.smallest_subnormal
                )
                if got is not None:
                    out, bound = got, np.zeros_like(got)
                pre_name = names[node.sources[-1]]
                self.layers.append(_Layer(value, error, rounding, out, pre_name, label))
            elif got is not None:
                # what the network is compared with is the runtime's value, not the prediction
                out = got
            if not np.isfinite(out).all():
                return False
            tensors.append((out, bound))
            names.append(label)
        self.tensors = tensors
        return True

    def _seen(self, name: str | None, tensor: int) -> FloatArray | None:
        if name is None or name not in self.seen:
            return None
        out = np.empty(self.graph.sizes[tensor])
        out[self.graph.names[name].index.ravel()] = self.seen[name].ravel()
        return out

    def network_agrees(self, net: Network, x: FloatArray) -> None:
        """Walk the network from the runtime's activations of each layer to the next."""
        zero = np.zeros((1, 1))
        tensors: dict[int, tuple[FloatArray, FloatArray]] = {0: (x[None], zero * x[None])}
        layer = 0
        for k, node in enumerate(net.nodes):
            value = np.concatenate([tensors[t][0] for t in node.sources], axis=1)
            error = np.concatenate([tensors[t][1] for t in node.sources], axis=1)
            if isinstance(node, Linear):
                made, slack, _ = linear_bound(node, value, error, zero * value)
                tensors[k + 1] = made, slack
                continue
            if len(self.layers) != len(net.widths):
                return  # nothing to hold it against: folding has dropped a layer
            seen = self.layers[layer]
            if seen.pre.size != value.size:
                raise self._mismatch(seen.pre_name, f"(affine map {layer}) has another size")
            name = f"{seen.pre_name}' (affine map {layer})"
            self._require(name, seen.pre, value[0], seen.bound + error[0])
            if isinstance(node, Units):
                expected = np.where(seen.pre > 0, seen.pre, node.slope * seen.pre)
                allowed = np.maximum(1.0, np.abs(node.slope)) * seen.bound + seen.rounding
                self._require(f"{seen.post_name}' (layer {layer})", seen.post, expected, allowed)
            layer += 1
            tensors[k + 1] = seen.post[None], zero * seen.post[None]
        found = self._outputs()
        if found is not None and found[0].size == net.output_size:
            got, bound, label = found
            name = f"{label}' (affine map {layer})"
            self._require(
                name, got, tensors[len(net.nodes)][0][0], bound + tensors[len(net.nodes)][1][0]
            )

    def _outputs(self) -> tuple[FloatArray, FloatArray, str] | None:
        last = self.graph.outputs
        parts = [self.graph.names[name] for name in last if name in self.graph.names]
        if not parts:
            return None
        values = [self.tensors[p.tensor][0][p.index.ravel()] for p in parts]
        bounds = [self.tensors[p.tensor][1][p.index.ravel()] for p in parts]
        return np.concatenate(values), np.concatenate(bounds), str(last[0])

    def _require(
        self, name: str, got: FloatArray, expected: FloatArray, allowed: FloatArray
    ) -> None:
        difference = np.abs(got - expected)
        allowed = allowed * (1 + 2.0**-20) + 1e-300
        if not (difference <= allowed).all():
            i = int(np.argmax(~(difference <= allowed)))
            raise self._mismatch(
                name,
                f"entry {i} is {got[i]:.9g} in {self.runtime}, {expected[i]:.9g} in the imported "
                f"network, more than rounding ({allowed[i]:.2g}) explains",
            )
        if difference.size:
            self.largest = max(self.largest, float(difference.max()))
            self.worst = max(self.worst, float((difference / allowed).max()))

    def _mismatch(self, name: str, what: str) -> InputError:
        close = "" if name.endswith(")") else "'"
        return InputError(f"replay: tensor '{name}{close} {what}; the import is wrong")


def _linear_step(
    node: Linear, value: FloatArray, error: FloatArray, terms: int, extra: Any, info: Any
) -> tuple[FloatArray, FloatArray, float]:
    """A linear operator as executed: value in float64, bound of its rounding, largest magnitude."""
    if isinstance(node, Sparse) and node.gathers and terms == 0:
        at = node.index[:, 0]
        return value[at], error[at], float(np.abs(value).max())
    out = node.apply(value[None])[0]
    both = np.stack([np.abs(value) + error, error])
    size, carried = node.product(both, absolute=True)
    size = size + np.abs(node.bias) + extra
    k = terms + 4
    unit, tiny = _unit_roundoff(info), float(info.smallest_subnormal)
    gamma = k * unit / (1 - k * unit) if k * unit < 1 else np.inf
    # What this function itself rounds, in float64, and a factor for the bound's own rounding.
    own = 4 * (node.terms + 10) * 2.0**-53
    bound = (carried + (gamma + own) * size + k * tiny) * (1 + 2.0**-20)
    # An average may be summed before it is divided.
    return out, bound, k * float(size.max(initial=0))


def _needed(graph: Graph) -> set[int]:
    """The nodes that the outputs depend on."""
    last = [graph.names[name].tensor for name in graph.outputs]
    stack, out = last or list(range(1, len(graph.sizes))), set[int]()
    while stack:
        tensor = stack.pop()
        if tensor and tensor - 1 not in out:
            out.add(tensor - 1)
            stack += graph.nodes[tensor - 1].sources
    return out


def _unit_roundoff(info: Any) -> float:
    return float(info.eps) / 2


def _visible(model: OnnxModel) -> list[str]:
    """The file's tensors to look at: those that are exactly one node's output, and the outputs."""
    fed = {i.name for i in model.inputs}
    named = [made.name for made in model.graph.executed if made.name is not None]
    return [n for n in dict.fromkeys([*named, *model.outputs]) if n not in fed]
