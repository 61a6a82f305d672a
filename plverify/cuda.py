"""Signs of all units at many points on a CUDA device, re-checked where the device cannot decide.

The device works in float64 with directed rounding and claims a sign only where an enclosure of
the exact pre-activation excludes zero (``csrc/cuda/patterns.h``); what it leaves open is decided
here by one exact integer forward pass per point. The extension is optional (build it with
``PLVERIFY_CUDA=1`` where the CUDA toolkit is installed). It makes things faster and nothing else: a
caller that builds a claim on these signs verifies the claim on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from math import inf
from sys import float_info
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError, MissingExtra
from plverify.exact_net import ExactNet, common_denominator


class CudaNotBuilt(MissingExtra):
    """plverify was built without its CUDA extension."""

    def __init__(self) -> None:
        ImportError.__init__(
            self,
            "plverify was built without CUDA: PLVERIFY_CUDA=1 pip install . in its sources, "
            "with the CUDA toolkit's nvcc on the PATH",
        )
        self.package = "plverify._cuda"


def _extension() -> Any:
    if find_spec("plverify._cuda") is None:
        raise CudaNotBuilt
    return import_module("plverify._cuda")


def device_count() -> int:
    """Number of usable CUDA devices; 0 without the extension or without a driver."""
    try:
        return int(_extension().device_count())
    except CudaNotBuilt:
        return 0


def activation_signs(net: ExactNet, points: NDArray[np.float64]) -> NDArray[np.int8]:
    """Exact sign (-1, 0 or 1) of every unit's pre-activation at every point.

    Arguments and errors are those of `claimed_signs`.
    """
    signs = claimed_signs(net, points)
    for k in np.flatnonzero((signs == 0).any(axis=1)):
        nums, den = common_denominator(points[k].tolist())
        signs[k] = [sign for layer in net.forward([nums], den).signs for sign in layer]
    return signs


def claimed_signs(net: ExactNet, points: NDArray[np.float64]) -> NDArray[np.int8]:
    """The signs that the device can decide; 0 for a sign that it cannot.

    Parameters
    ----------
    net : ExactNet
    points : array, shape (count, net.input_size)
        Finite; each float64 is the dyadic rational it is.

    Returns
    -------
    array of int8, shape (count, net.unit_count)
        Units layer after layer.

    Raises
    ------
    CudaNotBuilt
        If the CUDA extension is not built.
    RuntimeError
        If there is no usable device.
    InputError
        On a wrong shape, NaN or infinity, or a number outside float64's normal range.
    """
    cuda = _extension()
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != net.input_size:
        raise InputError(f"points have shape {points.shape}, expected (*, {net.input_size})")
    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinity")
    weights, biases, slopes = [], [], []
    for layer, (affine, units) in enumerate(net.layers):
        dens = [den << shift for den, shift in zip(affine.dens, affine.shifts, strict=True)]
        rows = [_doubles(row, den, layer) for row, den in zip(affine.rows, dens, strict=True)]
        entries = np.array(rows)
        weights.append(entries[:, :-1])
        biases.append(entries[:, -1])
        slopes.append(np.array([_doubles([n], 1 << s, layer)[0] for n, s in units.slopes]))
    signs: NDArray[np.int8] = cuda.activation_signs(weights, biases, slopes, points)
    return signs


def _doubles(nums: Sequence[int], den: int, layer: int) -> list[float]:
    """Round ``nums / den`` to nearest; every result is exactly zero or normal and finite."""
    try:
        values = [num / den for num in nums]  # Python rounds a quotient of integers correctly
    except OverflowError:
        values = [inf] * len(nums)
    for num, value in zip(nums, values, strict=True):
        if num and not float_info.min <= abs(value) <= float_info.max:
            raise InputError(f"layer {layer} holds a number outside float64's normal range")
    return values
