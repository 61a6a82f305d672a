"""What a network was read from, executed as it is deployed: ONNX files and exported torch modules.

onnxruntime runs on the CPU, with one thread and, unless asked for, without graph optimisation, so
that every tensor of the file is computed as the file says; torch interprets the exported program.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from plverify.errors import InputError, MissingExtra
from plverify.exact_array import FloatArray
from plverify.io.onnx import OnnxModel


class CannotRun(InputError):
    """onnxruntime cannot load or run a model."""


def onnx_feeds(model: OnnxModel, row: Any) -> dict[str, Any]:
    """The inputs of a model, in their element types, from the network's input (one row)."""
    return {
        i.name: row[i.start : i.start + int(np.prod(i.shape))].astype(i.dtype).reshape(i.shape)
        for i in model.inputs
    }


def onnx_runner(
    model: OnnxModel, names: Sequence[str], purpose: str, *, optimised: bool = False
) -> Callable[[dict[str, Any]], list[FloatArray]]:
    """A function from `onnx_feeds` to the values of tensors, in float64.

    ``optimised`` leaves onnxruntime's graph optimisation on, as it is where models are deployed.

    Raises
    ------
    CannotRun
        If onnxruntime refuses the model; the function raises it, too.
    MissingExtra
        If onnxruntime is not installed; it is needed for ``purpose``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", purpose) from error
    from plverify.io.onnx_proto import messages

    proto = messages().ModelProto()
    proto.CopyFrom(model.proto)
    stated = {output.name for output in proto.graph.output}
    for name in names:
        if name not in stated:
            proto.graph.output.append(messages().ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes, all derived from Exception
        raise CannotRun(f"onnxruntime cannot load the model: {error}") from error

    def run(feeds: dict[str, Any]) -> list[FloatArray]:
        try:
            found = session.run(list(names), feeds) if names else []
        except Exception as error:
            raise CannotRun(f"onnxruntime cannot run the model: {error}") from error
        return [np.asarray(value, np.float64) for value in found]

    return run


def torch_runner(program: Any, names: Collection[str]) -> Callable[[Any], dict[str, FloatArray]]:
    """A function from an input tensor to the values of an exported program's nodes, in float64.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "running torch modules", "torch") from error

    class Recorder(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, n: Any) -> Any:
            value = super().run_node(n)
            if n.name in names and isinstance(value, torch.Tensor):
                seen[n.name] = value.detach().double().numpy()
            return value

    seen: dict[str, FloatArray] = {}
    recorder = Recorder(program.module())

    def run(x: Any) -> dict[str, FloatArray]:
        seen.clear()
        with torch.no_grad():
            recorder.run(x)
        return dict(seen)

    return run
