"""Data sets as commands read them: points, and labels where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plverify.cli.common import npz_entry, read_npz
from plverify.errors import InputError

if TYPE_CHECKING:
    from plverify.network import Network

POINTS, LABELS = ("x", "X"), ("y", "Y", "labels")


def read_data(path: str, net: Network) -> tuple[Any, list[int] | None]:
    """Points ``(batch, n)`` and labels of an ``.npz`` archive with arrays ``x`` and, maybe, ``y``.

    Numbers are taken as they are: an image of bytes has values up to 255.

    Raises
    ------
    InputError
        On a missing or unusable file, points that do not fit the network, labels out of range.
    """
    arrays = read_npz(path, "--data")
    points = npz_entry(arrays, POINTS, path, "--data")
    if points.dtype.kind not in "fiub" or points.ndim < 2 or not len(points):
        raise InputError(f"--data {path}: x has shape {points.shape}, expected numbers by points")
    flat = points.reshape(len(points), -1)
    if flat.shape[1] != net.input_size:
        raise InputError(
            f"--data {path}: x has {flat.shape[1]} numbers per point, "
            f"the model has {net.input_size} inputs"
        )
    name = next((name for name in LABELS if name in arrays), None)
    if name is None:
        return flat, None
    labels = arrays[name]
    if labels.dtype.kind not in "iub" or labels.shape != (len(points),):
        raise InputError(
            f"--data {path}: {name} has shape {labels.shape}, expected {len(points)} whole numbers"
        )
    listed = labels.tolist()
    for value in listed:
        if not 0 <= value < net.output_size:
            raise InputError(
                f"--data {path}: a label is {value}, the model has {net.output_size} outputs"
            )
    return flat, [int(value) for value in listed]
