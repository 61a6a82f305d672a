"""What the subcommands share: domains from options, output files, progress, plain tables.

Numbers on the command line are exact: ``0.1`` is a tenth and ``1/3`` a third. Everything a user can
get wrong is an `InputError` of one line, which `plverify.cli.run` prints before it exits with 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from plverify.errors import InputError

if TYPE_CHECKING:
    from plverify.domain import Domain
    from plverify.network import Network

MOST_INPUTS = 32
"""Dimensions of a domain beyond which no list of regions ends."""

Number = Fraction | float
Progress = Callable[[int], None]


# ------------------------------------------------------------------------------------ numbers


def numbers(text: str, name: str, count: int | None = None) -> list[Number]:
    """The exact numbers of ``"0,1/3,-inf"``.

    >>> numbers("0.1,-inf", "--box")
    [Fraction(1, 10), -inf]
    """
    from plverify.exact_array import exact_number

    parts = [part.strip() for part in text.split(",")]
    if count is not None and len(parts) != count:
        raise InputError(f"{name} is {text!r:.60}, expected {count} numbers separated by commas")
    if any(not part for part in parts):
        raise InputError(f"{name} is {text!r:.60}, expected numbers separated by commas")
    return [exact_number(part, name, allow_inf=True) for part in parts]


def points(text: str, name: str) -> list[list[Number]]:
    """The points of ``"x,y;x,y;..."``, all of one length."""
    rows = [numbers(part, name) for part in text.split(";") if part.strip()]
    if len({len(row) for row in rows}) != 1:
        raise InputError(f"{name} is {text!r:.60}, expected points of one length separated by ';'")
    return rows


# ------------------------------------------------------------------------------------ domains


def read_domain(
    net: Network,
    box: str | None = None,
    slice_file: str | None = None,
    segment: str | None = None,
    space: bool = False,
    polygon: str | None = None,
) -> Domain:
    """The domain that the options describe (default: [-1, 1] per coordinate).

    ``slice_file`` and ``segment`` place a plane or a line in the input space; the other options
    then speak about the coordinates ``t`` in it.

    Raises
    ------
    InputError
        On options that contradict each other, cannot be read or do not fit the network.
    """
    from plverify.domain import Box, Slice, Space

    refuse_both({"--slice": slice_file, "--segment": segment})
    refuse_both({"--box": box, "--space": space or None, "--polygon": polygon})
    n = net.input_size
    origin: Any = None
    basis: Any = None
    stored: tuple[Any, Any] | None = None
    if slice_file is not None:
        origin, basis, stored = _read_slice(slice_file, n)
    elif segment is not None:
        origin, basis = _read_segment(segment, n)
        stored = (0, 1)
    elif n > MOST_INPUTS:
        raise InputError(
            f"the model has {n} inputs, the regions of more than {MOST_INPUTS} are too many to "
            "list: give a "
            f"plane by --slice FILE.npz with arrays origin ({n},) and basis ({n}, 2), or a line "
            f"by --segment 'a1,...,a{n};b1,...,b{n}'"
        )
    dim = n if basis is None else _columns(basis)
    if dim > MOST_INPUTS:
        raise InputError(
            f"the slice has {dim} dimensions, the regions of more than {MOST_INPUTS} are too many "
            "to list"
        )
    inner: Domain
    if space:
        inner = Space(dim)
    elif polygon is not None:
        inner = _read_polygon(polygon, dim)
    elif box is not None:
        inner = parse_box(box, dim)
    else:
        lo, hi = stored if stored is not None else (-1, 1)
        inner = Box(lo, hi, dim)
    return inner if basis is None else Slice(origin, basis, inner)


def refuse_both(options: dict[str, Any]) -> None:
    """Raise if more than one of these options is given (not None)."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} cannot be given together")


def parse_box(text: str, dim: int) -> Domain:
    """``"lo,hi"`` for every coordinate, or ``"lo1,hi1;lo2,hi2"``.

    >>> parse_box("0,1;-1/2,1/2", 2).describe()
    'box [0, 1] x [-1/2, 1/2]'
    """
    from plverify.domain import Box

    sides = [numbers(part, "--box", 2) for part in text.split(";")]
    if len(sides) not in (1, dim):
        raise InputError(f"--box has {len(sides)} pairs, expected 1 or {dim}")
    low, high = ([side[k] for side in sides * (dim if len(sides) == 1 else 1)] for k in (0, 1))
    try:
        return Box(low, high)
    except InputError as error:
        raise InputError(f"--box: {error}") from None


def _columns(basis: Any) -> int:
    return len(basis[0])


def _read_segment(text: str, n: int) -> tuple[Any, Any]:
    """Origin and basis of the segment from a (t = 0) to b (t = 1)."""
    if text.endswith(".npz"):
        arrays = read_npz(text, "--segment")
        ends = [npz_entry(arrays, (name,), text, "--segment") for name in ("a", "b")]
        from plverify.exact_array import ExactArray

        a, b = (ExactArray(end, name).fractions() for end, name in zip(ends, "ab", strict=True))
        rows = [a.ravel().tolist(), b.ravel().tolist()]
    else:
        rows = points(text, "--segment")
        if len(rows) != 2:
            raise InputError(f"--segment has {len(rows)} points, expected two separated by ';'")
    if len(rows[0]) != n or len(rows[1]) != n:
        raise InputError(
            f"--segment has points of {len(rows[0])} and {len(rows[1])} numbers, "
            f"the model has {n} inputs"
        )
    if any(isinstance(v, float) for row in rows for v in row):
        raise InputError("--segment has an infinite coordinate; use --box -inf,inf for a line")
    if rows[0] == rows[1]:
        raise InputError("--segment has twice the same point")
    return rows[0], [[q - p] for p, q in zip(*rows, strict=True)]


def _read_slice(path: str, n: int) -> tuple[Any, Any, tuple[Any, Any] | None]:
    """Origin, basis and, if the file has them, bounds of t."""
    arrays = read_npz(path, "--slice")
    origin = npz_entry(arrays, ("origin", "c"), path, "--slice")
    basis = npz_entry(arrays, ("basis", "P"), path, "--slice")
    if basis.ndim == 1:
        basis = basis[:, None]
    if origin.ndim != 1 or basis.ndim != 2 or basis.shape[0] != n or origin.shape[0] != n:
        raise InputError(
            f"--slice {path}: origin has shape {origin.shape} and basis {basis.shape}, "
            f"expected ({n},) and ({n}, 1) or ({n}, 2) for this model"
        )
    if ("lo" in arrays) != ("hi" in arrays):
        raise InputError(f"--slice {path}: lo and hi must be given together")
    if "lo" not in arrays:
        return origin, basis, None
    return origin, basis, (arrays["lo"][()], arrays["hi"][()])


def npz_entry(arrays: dict[str, Any], names: Sequence[str], path: str, option: str) -> Any:
    for name in names:
        if name in arrays:
            return arrays[name]
    listed = ", ".join(sorted(arrays)[:8]) or "nothing"
    raise InputError(f"{option} {path}: no array '{' or '.join(names)}', it holds {listed}")


def read_npz(path: str, option: str) -> dict[str, Any]:
    """All arrays of an ``.npz`` archive of numbers."""
    from plverify.io.archive import read_archive

    try:
        return read_archive(path)
    except InputError as error:
        raise InputError(f"{option} {error}") from None


def _read_polygon(text: str, dim: int) -> Domain:
    """The convex polygon with these corners, given in order, either way round."""
    if dim != 2:
        raise InputError(f"--polygon is for 2 dimensions, this domain has {dim}")
    corners: list[Any]
    if text.endswith(".npy"):
        import numpy as np

        require_file(text, "--polygon")
        try:
            corners = np.load(text, allow_pickle=False).tolist()
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"--polygon {text}: not a usable npy file: {error}") from None
    elif ";" in text:
        corners = points(text, "--polygon")
    else:
        require_file(text, "--polygon")
        try:
            with open(text, encoding="utf-8") as file:
                lines = [line.partition("#")[0].strip() for line in file.read(1 << 24).splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--polygon {text}: not a readable text file: {error}") from None
        corners = [
            numbers(",".join(line.replace(",", " ").split()), f"--polygon {text}", 2)
            for line in lines
            if line
        ]
    return convex_polygon(corners)


def convex_polygon(corners: Sequence[Any]) -> Domain:
    """The polytope with these corners, which go round once.

    Raises
    ------
    InputError
        If they do not describe a convex polygon with an interior; decided exactly.

    >>> convex_polygon([(0, 0), (0, 1), (1, 0)]).contains([0.25, 0.25])
    True
    """
    from plverify.domain import Polytope
    from plverify.exact_array import ExactArray

    table = ExactArray(corners, "--polygon")
    if len(table.shape) != 2 or table.shape[1] != 2 or table.shape[0] < 3:
        raise InputError(f"--polygon has shape {table.shape}, expected three or more points (x, y)")
    ring: list[tuple[Fraction, Fraction]] = []
    for x, y in table.fractions().tolist():
        if not ring or ring[-1] != (x, y):
            ring.append((x, y))
    if ring[0] == ring[-1]:
        ring.pop()
    steps = [(q[0] - p[0], q[1] - p[1]) for p, q in zip(ring, ring[1:] + ring[:1], strict=True)]
    turns = [d[0] * e[1] - d[1] * e[0] for d, e in zip(steps, steps[1:] + steps[:1], strict=True)]
    side = 1 if sum(turns) > 0 else -1
    # One turn of 2 pi is one change from the lower to the upper half-plane of directions.
    upper = [side * d[1] > 0 or (d[1] == 0 and side * d[0] > 0) for d in steps]
    laps = sum(not a and b for a, b in zip(upper, upper[1:] + upper[:1], strict=True))
    back = any(
        t == 0 and d[0] * e[0] + d[1] * e[1] < 0
        for t, d, e in zip(turns, steps, steps[1:] + steps[:1], strict=True)
    )
    if not any(turns) or back:
        raise InputError("--polygon has no interior or turns back on itself")
    if any(side * t < 0 for t in turns) or laps != 1:
        raise InputError("--polygon is not convex, or its corners are not in order")
    rows = [(side * d[1], -side * d[0]) for d in steps]
    ends = [a * p[0] + b * p[1] for (a, b), p in zip(rows, ring, strict=True)]
    return Polytope([list(row) for row in rows], ends)


# -------------------------------------------------------------------------------------- files


def require_file(path: str, option: str) -> None:
    """Raise unless ``path`` is a readable file."""
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "no such file"
        raise InputError(f"{option} {path}: {what}")


def check_run(threads: int, timeout: float | None) -> int:
    """The number of threads to use; raises on numbers that mean nothing."""
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout is {timeout}, expected a positive number of seconds")
    if threads > 4096:
        raise InputError(f"--threads is {threads}, expected at most 4096")
    return threads or cores()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_output(path: str, option: str, suffixes: Sequence[str] = ()) -> None:
    """Raise if a result could not be written there, before the work for it is done.

    Only regular files are written (a result appears under its name by a rename, which would replace
    a device by a file).
    """
    if suffixes and not path.lower().endswith(tuple(suffixes)):
        raise InputError(f"{option} {path}: the name must end in {' or '.join(suffixes)}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise InputError(f"{option} {path}: no folder {folder}")
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InputError(f"{option} {path}: is {what}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{option} {path}: the folder {folder} is not writable")


# --------------------------------------------------------------------------------- the screen


@contextlib.contextmanager
def progress_line(what: str) -> Iterator[Progress | None]:
    """A callback that shows a running count on stderr; None unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    start = time.perf_counter()
    with Console(stderr=True).status(f"{what} ...", spinner="line") as status:

        def show(count: int) -> None:
            seconds = time.perf_counter() - start
            status.update(f"{what} ... {count:,} in {seconds:.0f} s ({count / seconds:,.0f}/s)")

        yield show


@contextlib.contextmanager
def progress_bar(noun: str) -> Iterator[Callable[[int, str], None]]:
    """A callback for every thing done, ``(how many in all, a note)``: a bar on stderr with the
    time that is left; nothing unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda total, note: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(noun, total=None, note="")

        def advance(total: int, note: str) -> None:
            bar.update(task, advance=1, total=total, note=note)

        yield advance


def print_json(answer: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    from plverify.result import jsonable

    print(json.dumps(jsonable(answer), indent=2))


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """``label  text`` lines, the texts aligned."""
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        print(f"{label:<{width}}  {text}".rstrip())


def seconds_text(seconds: float) -> str:
    """A duration for people.

    >>> seconds_text(0.01234), seconds_text(7.2), seconds_text(4000)
    ('12.3 ms', '7.20 s', '1 h 6 min 40 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h " if hours else "") + f"{minutes} min {rest} s"


def units_text(units: Sequence[tuple[int, int]], total: int, shown: int = 12) -> str:
    """``2 of 32 (layer 0: 3, 5)``.

    >>> units_text([(0, 3), (0, 5), (1, 2)], 32)
    '3 of 32 (layer 0: 3, 5; layer 1: 2)'
    """
    text = f"{len(units)} of {total}"
    if not units:
        return text
    by_layer: dict[int, list[str]] = {}
    for layer, unit in list(units)[:shown]:
        by_layer.setdefault(layer, []).append(str(unit))
    listed = "; ".join(f"layer {layer}: {', '.join(v)}" for layer, v in by_layer.items())
    return f"{text} ({listed}{', ...' if len(units) > shown else ''})"
