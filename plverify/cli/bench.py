"""``plverify bench``: all instances of benchmark folders, each within its limits."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import check_output, cores, print_json, progress_bar, require_file
from plverify.errors import InputError

if TYPE_CHECKING:
    from plverify.bench import Instance, Row, Summary

LISTED = 20
"""Errors that are listed below the table."""


def bench(
    folders: Annotated[
        list[str] | None,
        Argument(
            help="Folders with instances.csv (onnx,vnnlib,timeout) and maybe expected.csv.",
            metavar="FOLDER",
        ),
    ] = None,
    out: Annotated[
        str | None,
        Option("--out", "-o", help="Append a row per instance, as JSON.", metavar="FILE.jsonl"),
    ] = None,
    resume: Annotated[
        bool, Option(help="Go on with --out: skip the instances that it has.")
    ] = False,
    timeout: Annotated[
        float | None, Option(help="Seconds per instance, instead of the listed ones.")
    ] = None,
    memory: Annotated[
        float | None, Option(help="Memory that a worker may use, in GB.", metavar="GB")
    ] = None,
    workers: Annotated[
        int, Option(help="Processes at a time; 0 for one per core and thread.", min=0)
    ] = 1,
    threads: Annotated[int, Option(help="Threads of the engine per instance.", min=1)] = 1,
    pattern: Annotated[
        str | None,
        Option("--filter", help="Only models or properties whose name fits.", metavar="GLOB"),
    ] = None,
    no_float32: Annotated[bool, Option(help="Do not run the models in float32.")] = False,
    compare: Annotated[
        list[str] | None,
        Option(help="Show the rows of another run, too; repeatable.", metavar="FILE.jsonl"),
    ] = None,
    plot: Annotated[
        str | None,
        Option(help="Draw a cactus plot to a png, svg or pdf file.", metavar="OUT.png"),
    ] = None,
    json: Annotated[bool, Option(help="Print one JSON object.")] = False,
) -> None:
    """Verify all instances of benchmark folders, each within its limits.

    A folder is laid out as in the verification competition. The table says per folder what was
    decided and how long it took; verdicts that contradict expected.csv are listed. Errors,
    crashes, timeouts and lack of memory end their own instance only. An interrupted run is taken
    up again with --resume. Without a FOLDER the runs of --compare are shown.

    The exit code is 1 if a verdict is wrong, an instance ends in an error, or on Ctrl-C.

    Example: plverify bench acasxu --timeout 60 --memory 4 --out acasxu.jsonl --plot acasxu.png
    """
    from plverify.bench import Options, read_folder, read_rows, resumable

    for name, value in (("--timeout", timeout), ("--memory", memory)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, expected a positive number")
    if not folders and not compare:
        raise InputError("no FOLDER given, and no run to --compare (see plverify bench --help)")
    if resume and out is None:
        raise InputError("--resume needs --out, the file to go on with")
    if plot is not None:
        check_output(plot, "--plot", (".png", ".svg", ".pdf"))
    runs: dict[str, list[Row]] = {}
    for path in compare or ():
        require_file(path, "--compare")
        runs[_name(path, runs)] = read_rows(path)
    options = Options(timeout, memory, threads, not no_float32)
    instances = _unique(i for folder in folders or () for i in read_folder(folder, pattern))
    if folders and not instances:
        raise InputError("no instances" + ("" if pattern is None else f" fit --filter {pattern}"))
    rows: list[Row] = []
    todo = instances
    if out is not None:
        check_output(out, "--out")
        if os.path.exists(out) and os.path.getsize(out):
            if not resume:
                raise InputError(f"--out {out} is there: give --resume to go on with it")
            rows = read_rows(out, mend=True)
            todo = resumable(out, rows, folders or (), instances, options)
    interrupted = False
    if folders:
        before = len(rows)
        count = workers or max(1, cores() // threads)
        interrupted = _run(todo, rows, options, count, out)
        runs[_name(out or "this run", runs)] = rows
        if interrupted:
            print(
                f"interrupted: {len(rows) - before} of {len(todo)} instances are done",
                file=sys.stderr,
            )
    _show(runs, json=json, interrupted=interrupted)
    if plot is not None:
        from plverify.report.bench_plots import plot_cactus

        plot_cactus(runs, plot)
    bad = any(row["wrong"] or row["status"] == "error" for row in rows)
    raise Exit(1 if bad or interrupted else 0)


def _unique(found: Iterator[Instance]) -> list[Instance]:
    """Each instance once, however often its folder is named."""
    return list({instance.key: instance for instance in found}.values())


def _name(path: str, taken: dict[str, Any]) -> str:
    """A name of a run that no other has."""
    from plverify.bench.rows import display

    name = display(path)
    return name if name not in taken else path


def _run(
    todo: Sequence[Instance], rows: list[Row], options: Any, workers: int, out: str | None
) -> bool:
    """Verify instances, adding their rows; whether Ctrl-C ended it."""
    from plverify.bench import bench
    from plverify.jsonl import RowFile

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(RowFile(out, append=True)) if out is not None else None
        advance = stack.enter_context(progress_bar("instances"))
        undecided = wrong = 0

        def on_row(row: Row) -> None:
            nonlocal undecided, wrong
            if file is not None:
                file.write(row)
            rows.append(row)
            undecided += row["status"] not in ("sat", "unsat")
            wrong += row["wrong"]
            note = f"{undecided} undecided" + (f", {wrong} WRONG" if wrong else "")
            advance(len(todo), note)

        try:
            bench(todo, options, workers=workers, on_row=on_row)
        except KeyboardInterrupt:
            return True
    return False


# ------------------------------------------------------------------------------------- results


def _show(runs: dict[str, list[Row]], *, json: bool, interrupted: bool) -> None:
    from plverify.bench import summarise

    tables = {name: summarise(rows) for name, rows in runs.items()}
    if json:
        print_json(
            {
                "interrupted": interrupted,
                "runs": [
                    {
                        "name": name,
                        "folders": [summary.to_dict() for summary in table],
                        "wrong": [row for row in runs[name] if row.get("wrong")],
                        "rows": runs[name],
                    }
                    for name, table in tables.items()
                ],
            }
        )
        return
    for name, table in tables.items():
        _print_table(name if len(tables) > 1 else None, table)
        _list_rows(runs[name])


def _print_table(name: str | None, table: Sequence[Summary]) -> None:
    from plverify.bench.summary import COLUMNS, cells

    lines = [list(COLUMNS), *map(cells, table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if name is not None:
        print(name)
    for first, *rest in lines:
        numbers = (f"{text:>{width}}" for text, width in zip(rest, widths[1:], strict=True))
        print("  ".join([f"{first:<{widths[0]}}", *numbers]))


def _list_rows(rows: Sequence[Row]) -> None:
    """What contradicts a known verdict, and errors."""
    for row in rows:
        if row.get("wrong"):
            print(f"WRONG: {_where(row)}: {row['status']}, known: {row['expected']}")
    failed = [row for row in rows if row.get("error") is not None]
    for row in failed[:LISTED]:
        print(f"{row['status']}: {_where(row)}: {row['error']}")
    if len(failed) > LISTED:
        print(f"... and {len(failed) - LISTED} more")


def _where(row: Row) -> str:
    return f"{os.path.basename(row['folder'])} {row['onnx']} {row['vnnlib']}"
