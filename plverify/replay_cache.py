"""A file that passed a replay is remembered, by its hash, in the user's cache folder.

So loading it again imports neither onnxruntime nor `plverify.replay`. A cache that cannot be
written costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

from plverify.errors import MissingExtra
from plverify.io.onnx import read_bytes
from plverify.network import Network

if TYPE_CHECKING:
    from plverify.replay import Replay

VERSION = 2
"""Part of a marker's name: raise it when the replay becomes stricter."""


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


def replay_once(net: Network, path: str) -> Replay | None:
    """Replay a file at the default points unless this very file passed before.

    If onnxruntime is missing or cannot run the file (float16 on some machines), that is a warning
    here: the model is read but was not replayed.
    """
    marker = _marker(net, path)
    if marker is not None and os.path.isfile(marker):
        return None
    from plverify.replay import NotReplayed, replay

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


def _marker(net: Network, path: str) -> str | None:
    """Marker of one file *as read into one network*; None if there is no usable folder."""
    folder = cache_folder()
    if not os.path.isabs(folder):
        return None
    key = hashlib.sha256(read_bytes(path) + bytes.fromhex(net.digest)).hexdigest()
    return os.path.join(folder, f"replay-{VERSION}", key)
