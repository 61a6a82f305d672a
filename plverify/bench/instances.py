"""Benchmark folders: which instances there are, what is known about them, and the limits."""

from __future__ import annotations

import ast
import csv
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from plverify.errors import InputError

KNOWN = ("sat", "unsat")


@dataclass(frozen=True)
class Options:
    """The limits and settings of a run; rows of one file share them.

    Attributes
    ----------
    timeout : float, optional
        Seconds per instance, instead of the listed ones.
    memory : float, optional
        10**9 bytes per worker.
    threads : int
        Of the engine.
    float32 : bool
        Whether witnesses are executed, too.
    """

    timeout: float | None = None
    memory: float | None = None
    threads: int = 1
    float32: bool = True


@dataclass(frozen=True)
class Instance:
    """A question of a benchmark.

    Attributes
    ----------
    folder : str
        Absolute.
    onnx, vnnlib : str
        As listed, relative to the folder.
    timeout : float
        Seconds, as listed.
    expected : str, optional
        "sat" or "unsat" where that is known.
    """

    folder: str
    onnx: str
    vnnlib: str
    timeout: float
    expected: str | None = None

    @property
    def family(self) -> str:
        """The folder's own name."""
        return os.path.basename(self.folder)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells instances apart."""
        return self.folder, self.onnx, self.vnnlib

    def matches(self, pattern: str) -> bool:
        """Whether a glob pattern fits the name of either file, with or without folder or .gz.

        >>> Instance("b", "onnx/net_1.onnx.gz", "vnnlib/p.vnnlib", 1).matches("net_?.onnx")
        True
        """
        names = {n for name in (self.onnx, self.vnnlib) for n in (name, posixpath.basename(name))}
        names |= {name.removesuffix(".gz") for name in names}
        return any(fnmatchcase(name, pattern) for name in names)

    def paths(self) -> tuple[str, str]:
        """The two files, each as listed or with or without ``.gz``.

        Raises
        ------
        InputError
            If one is not there.
        """
        return self._find(network_file(self.onnx)), self._find(self.vnnlib)

    def _find(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        for found in (path, path + ".gz", path.removesuffix(".gz")):
            if os.path.isfile(found):
                return found
        raise InputError(f"{name}: no such file")


def network_file(text: str) -> str:
    """The file of an entry: a path, or for VNN-LIB 2.0 a list of one network and its path.

    Raises
    ------
    InputError
        If there are several networks.

    >>> network_file("onnx/f.onnx"), network_file("[('f', 'onnx/f.onnx')]")
    ('onnx/f.onnx', 'onnx/f.onnx')
    """
    if not text.lstrip().startswith("[("):
        return text
    try:
        listed = [(str(name), str(path)) for name, path in ast.literal_eval(text)]
    except (ValueError, SyntaxError, TypeError):
        raise InputError(f"{text!r:.80} is no file, nor a list [('name', 'file')]") from None
    if len(listed) != 1:
        raise InputError(f"{len(listed)} networks are given, one is supported")
    return listed[0][1]


def read_folder(folder: str | os.PathLike[str], pattern: str | None = None) -> list[Instance]:
    """The instances of a benchmark folder, in the listed order, each once.

    Parameters
    ----------
    folder : path
    pattern : str, optional
        Only what `Instance.matches`.

    Raises
    ------
    InputError
        If there is no usable list.
    """
    place = os.path.realpath(folder)
    listed = os.path.join(place, "instances.csv")
    if not os.path.isfile(listed):
        what = "no instances.csv in it" if os.path.isdir(place) else "no such folder"
        raise InputError(f"{os.fspath(folder)}: {what}")
    known = _expected(os.path.join(place, "expected.csv"))
    found: dict[tuple[str, str, str], Instance] = {}
    for number, row in _lines(listed):
        label = f"{listed}:{number}"
        if len(row) != 3:
            raise InputError(f"{label}: {len(row)} columns, expected onnx,vnnlib,timeout")
        onnx, vnnlib, seconds = row
        try:
            timeout = float(seconds)
        except ValueError:
            timeout = -1.0
        if not 0 < timeout < float("inf"):
            raise InputError(f"{label}: the timeout is {seconds!r:.40}, expected seconds")
        verdict = known.get((_bare(onnx), _bare(vnnlib)))
        instance = Instance(place, onnx, vnnlib, timeout, verdict)
        if pattern is None or instance.matches(pattern):
            found.setdefault(instance.key, instance)
    return list(found.values())


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of a csv file, without empty lines."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for row in (reader := csv.reader(file, strict=True)):
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _expected(path: str) -> dict[tuple[str, str], str]:
    """Known verdicts by the bare names of both files."""
    if not os.path.isfile(path):
        return {}
    rows = [cells for _, cells in _lines(path)]
    head = rows[0] if rows else []
    missing = {"onnx", "vnnlib", "verdict"} - set(head)
    if missing:
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
    at = [head.index(name) for name in ("onnx", "vnnlib", "verdict")]
    out = {}
    for row in rows[1:]:
        if len(row) <= max(at):
            raise InputError(f"{path}: a row of {len(row)} columns, expected {len(head)}")
        onnx, vnnlib, verdict = (row[k] for k in at)
        if verdict in KNOWN:
            out[_bare(onnx), _bare(vnnlib)] = verdict
    return out


def _bare(name: str) -> str:
    return posixpath.normpath(name.removesuffix(".gz"))
