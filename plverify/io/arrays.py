"""Networks in ``.npz`` archives.

Two layouts: ``W0, b0, W1, b1, ...`` with ``y = W x + b``, and the one of a torch ``state_dict`` of
an ``nn.Sequential`` of ``Linear`` layers, ``0.weight, 0.bias, 2.weight, ...``. Between the layers
stand ReLUs, or LeakyReLUs where an entry ``slope`` says so. Other entries are left alone, so a file
may hold test data beside its network. A network with convolutions or pools does not say in its
arrays how they are strided and padded: it is put together with `plverify.io.trace.Graph`, as in
``examples/from_npz.py``::

    graph = Graph((1, 1, 28, 28))
    x = graph.conv(graph.input(), z["0.weight"], z["0.bias"], (2, 2), (1, 1), (1, 1), (1, 1))
    x = graph.linear(graph.reshape(graph.relu(x), (1, -1)), z["2.weight"], z["2.bias"])
    net = graph.finish(x)

The zip directory states every member's size and the npy header its shape: both are compared before
anything is decompressed, and a small archive may not decompress to a large array.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.network import Network

MAX_BYTES = 1 << 30
"""Largest decompressed size of the arrays of one network."""
FREE_BYTES, MAX_RATIO = 1 << 25, 50
"""An archive may always decompress to the first, and beyond it by the second."""


def read_npz(path: str) -> Network:
    """Read a network from an ``.npz`` archive.

    Raises
    ------
    InputError
        On a damaged archive, missing or surplus tensors, shapes that do not fit, NaN, object
        arrays, or more than `MAX_BYTES` of data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            weights, biases = _tensor_names(list(members))
            wanted = [n for n in (*weights, *biases) if n is not None]
            if "slope" in members:
                wanted.append("slope")
            total = sum(members[n].file_size for n in wanted)
            packed = sum(members[n].compress_size for n in wanted)
            limit = min(MAX_BYTES, FREE_BYTES + MAX_RATIO * packed)
            if total > limit:
                raise InputError(f"its arrays take {total} bytes, more than {limit}")
            arrays = {}
            for name in wanted:
                with archive.open(members[name]) as member:
                    arrays[name] = _read_array(member, name, members[name].file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"not a usable npz archive: {str(error)[:200]}") from error
    return Network.from_arrays(
        [_named(arrays[n], n) for n in weights],
        [None if n is None else _named(arrays[n], n) for n in biases],
        arrays.get("slope", 0.0),
    )


def _tensor_names(names: list[str]) -> tuple[list[str], list[str | None]]:
    """Names of the weights and biases, in order."""
    plain = sorted(int(n[1:]) for n in names if re.fullmatch(r"W\d{1,6}", n))
    if plain:
        for k, index in enumerate(plain):
            if index != k:
                raise InputError(f"W{k} is missing: the archive holds W{index}")
            if f"b{k}" not in names:
                raise InputError(f"b{k} is missing")
        return [f"W{k}" for k in plain], [f"b{k}" for k in plain]
    layers = {}
    for name in names:
        found = re.fullmatch(r"((?:.*\.)?)(\d{1,6})\.weight", name)
        if found:
            layers[int(found[2])] = (found[1] + found[2], found[1])
    if not layers:
        listed = ", ".join(sorted(names)[:8]) or "nothing"
        raise InputError(f"no W0, b0, ... and no 0.weight, 0.bias, ...: it holds {listed}")
    if len({prefix for _, prefix in layers.values()}) > 1:
        raise InputError("several modules have weights; give one sequence of linear layers")
    stems = [layers[k][0] for k in sorted(layers)]
    weights = [f"{stem}.weight" for stem in stems]
    return weights, [f"{stem}.bias" if f"{stem}.bias" in names else None for stem in stems]


def _read_array(member: IO[bytes], name: str, size: int) -> NDArray[Any]:
    """One npy member, its header checked against its size first."""
    try:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            raise InputError(f"{name} has npy version {version}, expected 1.0 or 2.0")
    except InputError:
        raise
    except Exception as error:  # numpy parses the header as Python: any parser error is possible
        raise InputError(f"{name} has no usable npy header: {error}") from error
    if dtype.kind not in "fiu":
        raise InputError(f"{name} has element type {dtype}, expected numbers")
    if any(d < 0 for d in shape):
        raise InputError(f"{name} states the shape {shape}")
    expected = prod(shape) * dtype.itemsize
    if member.tell() + expected != size:
        raise InputError(f"{name} states the shape {shape}, which its {size} bytes do not hold")
    data = member.read(expected)
    if len(data) != expected:
        raise InputError(f"{name} is truncated")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _named(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The array, if it is free of NaN and infinity: an error names the tensor as the file does."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = np.argwhere(~np.isfinite(array))[0]
        what = "NaN" if np.isnan(array[tuple(index)]) else "infinite"
        raise InputError(f"{name}[{', '.join(map(str, index))}] is {what}")
    if name.endswith(".weight") and array.ndim != 2:
        raise InputError(
            f"{name} has shape {array.shape}: only linear layers are read here; "
            "plverify.io.trace.Graph puts convolutions together"
        )
    return array
