"""Readers, one per format; `plverify.network.load` chooses between them.

Every reader checks what it reads before it believes it (sizes before allocation, shapes, NaN) and
raises `plverify.errors.InputError` with one line that names the file and the offending part.
"""

from __future__ import annotations

import os

from plverify.errors import InputError
from plverify.network import Network

SUFFIXES = (".onnx", ".onnx.gz", ".npz", ".nnet")


def read_file(path: str, *, replay: bool = True) -> Network:
    """Read a network file by its suffix.

    Parameters
    ----------
    path : str
        A file ending in one of `SUFFIXES`.
    replay : bool
        See `plverify.network.load`.

    Raises
    ------
    InputError
        If the file is missing, unreadable, of unknown kind or unusable; the line starts with its
        name.
    """
    name = os.path.basename(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
    lower = name.lower()
    try:
        if lower.endswith((".onnx", ".onnx.gz")):
            from plverify.io.onnx import read_onnx

            net = read_onnx(path)
            if replay:
                from plverify.replay_cache import replay_once

                replay_once(net, path)
            return net
        if lower.endswith(".npz"):
            from plverify.io.arrays import read_npz

            return read_npz(path)
        if lower.endswith(".nnet"):
            from plverify.io.nnet import read_nnet

            return read_nnet(path)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from error
    raise InputError(f"{name}: unknown kind of file, expected {', '.join(SUFFIXES)}")
