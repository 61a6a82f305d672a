"""Archives of arrays that are no networks: points, planes."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Any

import numpy as np

from plverify.errors import InputError


def read_archive(path: str) -> dict[str, Any]:
    """All arrays of an ``.npz`` archive of numbers.

    Raises
    ------
    InputError
        If there is no such archive.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
    try:
        archive = np.load(path, allow_pickle=False)
        if not hasattr(archive, "files"):
            raise InputError(f"{path}: a single array, expected an npz archive")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a usable npz archive: {error}") from None


def read_points(path: str) -> tuple[Any, Any]:
    """Points ``X`` (or ``x``) and labels ``y`` of an archive; the labels are None if absent.

    Raises
    ------
    InputError
        If there is no such archive, or no points in it.
    """
    arrays = read_archive(path)
    found = [
        next((arrays[name] for name in names if name in arrays), None)
        for names in (("X", "x"), ("y", "Y"))
    ]
    if found[0] is None:
        listed = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise InputError(f"{path}: no array 'X', it holds {listed}")
    return found[0], found[1]
