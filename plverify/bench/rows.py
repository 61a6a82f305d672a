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
import os
from collections.abc import Iterable
from typing import Any

from plverify.bench.instances import KNOWN, Instance, Options
from plverify.errors import InputError
from plverify.jsonl import Row, read_lines

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


def read_rows(path: str, *, mend: bool = False) -> list[Row]:
    """The rows of a file; see `plverify.jsonl.read_lines`."""
    return read_lines(path, _is_row, "row of plverify bench", mend=mend)


def _is_row(row: Row) -> bool:
    needed = {"folder", "onnx", "vnnlib", "timeout", "status", "seconds", "options"}
    return needed <= row.keys()


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
