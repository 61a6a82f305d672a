"""Rows of results: one JSON object per line, appended as soon as an instance is done.

Fields of a row:

=================  ================================================================================
folder             absolute path of the benchmark's folder
onnx, vnnlib       as listed
timeout            seconds that were allowed
status             "sat", "unsat", "unknown", "timeout", "memory" or "error"
seconds            wall time: reading both files, search, checking the proof, float32 runs
cpu_seconds        CPU time of the process for the same
search_seconds     of them, wall time of the search
check_seconds      of them, wall time of the proof checker ("unsat")
replay_seconds     CPU time of comparing a model with onnxruntime, which happens once per file and
                   machine; not in the others
nodes, leaves      of the search
proof_bytes        size of the proof file
checked            true for an "unsat" whose proof the checker accepted, and a "sat" whose witness
                   it evaluated
float32            see `Verification`; "violation" for an "unsat" that is violated as executed
peak_mb            most memory of the process meanwhile, 10**6 bytes
expected, wrong    the known verdict, and whether the status contradicts it
error              one line, for "error" and "memory"
options            the run's `Options`
=================  ================================================================================
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from plverify.bench.instances import KNOWN, Instance, Options
from plverify.errors import InputError

Row = dict[str, Any]
STATUSES = ("sat", "unsat", "unknown", "timeout", "memory", "error")
FOUND = (
    "seconds",
    "cpu_seconds",
    "search_seconds",
    "check_seconds",
    "replay_seconds",
    "nodes",
    "leaves",
    "proof_bytes",
    "checked",
    "float32",
    "peak_mb",
    "error",
)
"""What a worker finds out."""


def row_of(instance: Instance, options: Options, answer: dict[str, Any]) -> Row:
    """The row of an instance; ``answer`` has what a worker found out."""
    found = {name: answer.get(name) for name in FOUND}
    known = instance.expected
    return {
        "folder": instance.folder,
        "onnx": instance.onnx,
        "vnnlib": instance.vnnlib,
        "timeout": limit_of(instance, options),
        "status": answer["status"],
        **{k: round(v, 6) if isinstance(v, float) else v for k, v in found.items()},
        "expected": known,
        "wrong": known is not None and answer["status"] in {*KNOWN} - {known},
        "options": dataclasses.asdict(options),
    }


def limit_of(instance: Instance, options: Options) -> float:
    """Seconds that an instance may take."""
    return instance.timeout if options.timeout is None else options.timeout


class RowFile:
    """A file that rows are appended to; each is on the disk before the next instance counts."""

    def __init__(self, path: str, *, append: bool) -> None:
        try:
            self._file = open(path, "a" if append else "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None

    def write(self, row: Row) -> None:
        """Append a row."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def read_rows(path: str, *, mend: bool = False) -> list[Row]:
    """The rows of a file.

    Parameters
    ----------
    path : str
    mend : bool
        Cut off a last line that a killed run left unfinished, so that rows can be appended.

    Raises
    ------
    InputError
        If it cannot be read, or holds anything else; names the line.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    whole, rows = 0, []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        row = _row(line)
        if row is None:
            if whole + len(line) == len(data):
                break  # torn
            raise InputError(f"{path}:{number}: no row of plverify bench")
        rows.append(row)
        whole += len(line)
    if mend and whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
    return rows


def _row(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    needed = {"folder", "onnx", "vnnlib", "timeout", "status", "seconds", "options"}
    return row if isinstance(row, dict) and needed <= row.keys() else None


def resumable(
    path: str,
    rows: Iterable[Row],
    folders: Iterable[str],
    instances: Iterable[Instance],
    options: Options,
) -> list[Instance]:
    """The instances that ``rows`` of an earlier run, in the file ``path``, do not have.

    Raises
    ------
    InputError
        If the rows are about other folders or were made with other options.
    """
    asked = dataclasses.asdict(options)
    left = {instance.key: instance for instance in instances}
    places = {os.path.realpath(folder) for folder in folders}
    for row in rows:
        if row["folder"] not in places:
            raise InputError(f"{path} is about another folder, {row['folder']}")
        for name, value in asked.items():
            if row["options"].get(name) != value:
                had = row["options"].get(name)
                raise InputError(f"{path} was made with {name} = {had}, not {value}")
        left.pop((row["folder"], row["onnx"], row["vnnlib"]), None)
    return list(left.values())


def display(path: str) -> str:
    """What a file is called in tables and plots: its name without suffix.

    >>> display("results/first.jsonl")
    'first'
    """
    return os.path.splitext(os.path.basename(path))[0]
