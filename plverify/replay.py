"""Replay: run an ONNX file in onnxruntime beside the imported network.

A theorem about the imported function is worth nothing if the import misread the file. So the file
is run (CPU, one thread, graph optimisation off) at random and extreme points with every layer's
tensors made visible, and each layer of the network is applied to the values that onnxruntime itself
computed for its input. Layer by layer the two may differ only by the rounding of that layer, for
which there is a rigorous bound; bounds propagated through the whole network would let almost
anything pass (10.3 on ACAS Xu, whose outputs are below 1; per layer they are about 1e-6).

The bound (``EXACTNESS`` A5 C4): for one executed node ``v~ -> fl(W v~ + b)`` with ``n`` terms, in
any order of summation, with or without FMA, ``|error_i| <= gamma_k (|W| |v~| + |b|)_i + k t`` where
``k = n + 4``, ``gamma_k = k u / (1 - k u)``, ``u`` the unit roundoff of the element type and ``t``
its least positive number; through the nodes between two layers it is carried along as
``|W| e + ...``. float16 nodes round at least as well as that: they compute in float32.

A file that passed is remembered by its hash in the user's cache folder, so that loading it again
does not import onnxruntime. A cache that cannot be written costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError, MissingExtra
from plverify.exact_array import ExactArray, FloatArray
from plverify.io.onnx import OnnxModel, read_bytes, read_model
from plverify.io.onnx_ops import Layer
from plverify.network import Network

VERSION = 1
"""Part of the cache key: raise it when the replay becomes stricter."""


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


def replay_once(net: Network, path: str) -> Replay | None:
    """Replay a file at the default points unless this very file passed before.

    If onnxruntime is missing or cannot run the file (float16 on some machines), that is a warning
    here: the model is read but was not replayed.
    """
    marker = _cache_path(net, path)
    if marker is not None and os.path.isfile(marker):
        return None
    try:
        result = replay(net, path)
    except (MissingExtra, NotReplayed) as error:
        warnings.warn(f"{os.path.basename(path)} was not replayed: {error}", stacklevel=2)
        return None
    if marker is not None:
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(marker), exist_ok=True)
            with open(marker, "w", encoding="utf-8") as file:
                file.write(f"{result}\n")
    return result


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
    rows = rows.reshape(-1, net.input_size)
    session = _session(model)
    names = list(dict.fromkeys(n for layer in model.layers for n in (layer.pre, layer.post)))
    compared, worst, largest = 0, 0.0, 0.0
    with np.errstate(all="ignore"):
        for row in rows:
            x = row.astype(model.dtype)
            if not np.isfinite(x).all():
                continue
            outputs = _run(session, names, model, x)
            outputs[model.input_name] = x.astype(np.float64)
            ratio, difference, complete = _compare(net, model, outputs)
            worst, largest = max(worst, ratio), max(largest, difference)
            compared += complete
    if not compared:
        raise NotReplayed("no replay point gave finite values in onnxruntime")
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


def _compare(
    net: Network, model: OnnxModel, outputs: dict[str, FloatArray]
) -> tuple[float, float, bool]:
    """Largest difference per bound, largest difference, and whether every layer was finite."""
    worst, largest = 0.0, 0.0
    info = np.finfo(model.dtype)
    for k, layer in enumerate(model.layers):
        source, seen = outputs[layer.source], outputs[layer.pre]
        bound, top = _bound(layer, source, info)
        if not np.isfinite(seen).all():
            if top < 0.5 * float(info.max):
                raise _mismatch(layer.pre, k, "is not finite")
            return worst, largest, False
        weight, bias = net.float_layers[k]
        grow = 4 * (weight.shape[1] + 10) * 2.0**-53
        bound = bound + grow * (np.abs(weight) @ np.abs(source) + np.abs(bias)) + 2.0**-1000
        pairs = [(layer.pre, seen, weight @ source + bias, bound)]
        if layer.slopes is not None:
            slope = net.float_slopes[k]
            value = np.where(seen > 0, seen, slope * seen)
            slack = 4 * _unit_roundoff(info) * np.abs(value) + 2 * float(info.smallest_subnormal)
            pairs.append((layer.post, outputs[layer.post], value, slack))
        for name, got, expected, allowed in pairs:
            difference = np.abs(got - expected)
            if not (difference <= allowed).all():
                i = int(np.argmax(~(difference <= allowed)))
                raise _mismatch(
                    name,
                    k,
                    f"entry {i} is {got[i]:.9g} in onnxruntime, {expected[i]:.9g} in the imported "
                    f"network, more than rounding ({allowed[i]:.2g}) explains",
                )
            largest = max(largest, float(difference.max()))
            worst = max(worst, float((difference / allowed).max()))
    return worst, largest, True


def _bound(layer: Layer, source: FloatArray, info: Any) -> tuple[FloatArray, float]:
    """Rigorous bound on the rounding of one layer as executed, and the largest magnitude in it."""
    unit, tiny = _unit_roundoff(info), float(info.smallest_subnormal)
    value, error = source, np.zeros_like(source)
    top = float(np.abs(value).max(initial=0))
    for step in layer.steps:
        scale = abs(step.scale)
        if step.matrix is None:
            terms, size, carried = 1, scale * (np.abs(value) + error), scale * error
            value = step.scale * value
        else:
            table = np.abs(step.matrix)
            terms = table.shape[1]
            size, carried = scale * (table @ (np.abs(value) + error)), scale * (table @ error)
            value = step.scale * (step.matrix @ value)
        if step.offset is not None:
            value, size = value + step.offset, size + np.abs(step.offset)
        k = terms + 4
        gamma = k * unit / (1 - k * unit) if k * unit < 1 else np.inf
        # A factor for the float64 arithmetic of this function itself.
        error = (carried + gamma * size + k * tiny * max(1.0, scale)) * (1 + 2.0**-20)
        top = max(top, float((size + error).max(initial=0)))
    return error, top


def _unit_roundoff(info: Any) -> float:
    return float(info.eps) / 2


def _mismatch(name: str, k: int, what: str) -> InputError:
    return InputError(f"replay: tensor '{name}' (affine map {k}) {what}; the import is wrong")


def _session(model: OnnxModel) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "replaying ONNX files") from error
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    element = {np.float32: 1, np.float16: 10, np.float64: 11}[model.dtype]
    stated = {output.name for output in proto.graph.output}
    for layer in model.layers:
        for name in (layer.pre, layer.post):
            if name not in stated and name != model.input_name:
                stated.add(name)
                proto.graph.output.append(onnx.helper.make_tensor_value_info(name, element, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes, all derived from Exception
        raise NotReplayed(f"onnxruntime cannot load the model: {error}") from error


def _run(
    session: Any, names: list[str], model: OnnxModel, x: NDArray[Any]
) -> dict[str, FloatArray]:
    wanted = [name for name in names if name != model.input_name]
    feed = {model.input_name: x.reshape(model.input_shape)}
    try:
        results = session.run(wanted, feed) if wanted else []
    except Exception as error:
        raise NotReplayed(f"onnxruntime cannot run the model: {error}") from error
    flat = {n: np.asarray(v, np.float64).ravel() for n, v in zip(wanted, results, strict=True)}
    return {model.input_name: x.astype(np.float64), **flat}


# --------------------------------------------------------------------- cache


def cache_folder() -> str:
    """The per-user cache folder of plverify (``XDG_CACHE_HOME``, or what the platform uses)."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = os.environ["XDG_CACHE_HOME"]
    elif sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.path.expanduser("~/.cache")
    return os.path.join(base, "plverify")


def _cache_path(net: Network, path: str) -> str | None:
    """Marker of one file *as read into one network*; None if there is no usable folder."""
    folder = cache_folder()
    if not os.path.isabs(folder):
        return None
    key = hashlib.sha256(read_bytes(path) + bytes.fromhex(net.digest)).hexdigest()
    return os.path.join(folder, f"replay-{VERSION}", key)
