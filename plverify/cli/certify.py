"""``plverify certify``: which labels of a data set are proven to be robust."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import (
    check_output,
    cores,
    parse_box,
    print_json,
    print_rows,
    progress_bar,
    seconds_text,
)
from plverify.errors import InputError

if TYPE_CHECKING:
    from plverify.certification import Certification, PointResult

BAR = 40
"""Characters of the longest bar of the histogram."""


def certify(
    model: Annotated[str, Argument(help="A network file.", metavar="MODEL")],
    data: Annotated[
        str,
        Option(
            help="Points X (points, inputs), and labels y, maybe absent: the predicted ones.",
            metavar="FILE.npz",
        ),
    ],
    eps: Annotated[
        str, Option(help="Radius of the ball. Exact: 0.1 is a tenth.", metavar="E")
    ] = "0.05",
    norm: Annotated[str, Option(help="Of the distance: linf, l1 or l2.", metavar="NORM")] = "linf",
    box: Annotated[
        str | None,
        Option(help="Where inputs may lie: LO,HI for all, or 'LO,HI;LO,HI'.", metavar="LO,HI"),
    ] = None,
    radius: Annotated[
        bool, Option("--radius", help="Also find the exact distance to the nearest other label.")
    ] = False,
    method: Annotated[
        str,
        Option(
            help="exact: a search per point; lipschitz: margins over proven constants, for nets "
            "of any size, in milliseconds a point.",
            metavar="METHOD",
        ),
    ] = "exact",
    first: Annotated[
        int | None, Option(help="Only the first N points.", metavar="N", min=1)
    ] = None,
    out: Annotated[
        str | None,
        Option("--out", "-o", help="Append a row per point, as JSON.", metavar="FILE.jsonl"),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with --out: skip the points that it has.")
    ] = False,
    shard: Annotated[
        str | None,
        Option(help="Only the points whose number is I modulo N.", metavar="I/N"),
    ] = None,
    proofs: Annotated[
        str | None, Option(help="Write a proof per point to this folder.", metavar="FOLDER")
    ] = None,
    timeout: Annotated[float, Option(help="Seconds per point.", metavar="S")] = 60.0,
    workers: Annotated[int, Option(help="Processes at a time; 0 for one per core.", min=0)] = 1,
    scheduler: Annotated[
        str | None,
        Option(help="Let the workers of a Dask cluster do it.", metavar="tcp://HOST:PORT"),
    ] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Prove for the points of a data set that no input near them has another label.

    A label is robust if its output is strictly the largest on the whole closed ball of radius
    --eps, cut to --box: "yes" is proven, "no" comes with an input where it is not. Ctrl-C,
    crashes and kill -9 lose no row that is in --out; --resume goes on.

    The exit code is 1 if anything is left open: "unknown" points, Ctrl-C.

    Example: plverify certify model.onnx --data test.npz --eps 0.1 --box 0,1 --out results.jsonl
    """
    if not timeout > 0:
        raise InputError(f"--timeout is {timeout}, expected a positive number of seconds")
    if resume and out is None:
        raise InputError("--resume needs --out, the file to go on with")
    if workers > 1 and scheduler is not None:
        raise InputError("--workers and --scheduler cannot be given together")
    part = _shard(shard)
    if out is not None:
        check_output(out, "--out")

    from plverify.certification import certify as run
    from plverify.io.archive import read_points
    from plverify.network import load

    try:
        X, y = read_points(data)
    except InputError as error:
        raise InputError(f"--data {error}") from None
    net = load(model)
    domain: Any = None if box is None else parse_box(box, net.input_size)
    shown = _Lines(json)
    with progress_bar("points") as advance:

        def on_row(row: PointResult, total: int) -> None:
            advance(total, "")
            shown.row(row)

        found = run(
            net,
            X[:first],
            None if y is None else y[:first],
            eps,
            norm,
            domain,
            radius=radius,
            method=method,
            timeout=timeout,
            workers=workers or cores(),
            scheduler=scheduler,
            out=out,
            resume=resume,
            shard=part,
            proofs=proofs,
            names={"model": model, "data": data},
            on_row=on_row,
        )
    if json:
        rows = [row.to_dict() for row in found.rows]
        print_json({"model": model, "network": net.digest, **found.summary(), "rows": rows})
    else:
        print_summary(found)
    if found.interrupted:
        print(f"interrupted: {len(found.rows)} of {found.points} points are done", file=sys.stderr)
    raise Exit(0 if found.complete else 1)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal()):
        raise InputError(f"--shard is {text!r:.60}, expected I/N, such as 1/4")
    return int(i), int(n)


class _Lines:
    """A line per point as it is done."""

    def __init__(self, silent: bool) -> None:
        self.silent, self.begun = silent, False

    def row(self, row: PointResult) -> None:
        if self.silent:
            return
        if not self.begun:
            print("point  label  predicted  robust   distance to another label")
            self.begun = True
        print(f"{row.index:>5}  {row.label:>5}  {row.prediction:>9}  {_said(row)}", flush=True)


def _said(row: PointResult) -> str:
    answer = {True: "yes", False: "no", None: row.status}[row.robust]
    if row.exact:
        return f"{answer:<8} {row.upper:.8g}"
    if row.upper == float("inf"):
        return f"{answer:<8} at least {row.lower:.8g}"
    return f"{answer:<8} between {row.lower:.8g} and {row.upper:.8g}"


def print_summary(found: Certification) -> None:
    """Shares, the curve, and a histogram of exact radii."""
    rows = found.rows
    counts = [sum(row.robust is value for row in rows) for value in (True, False, None)]
    place = f"at {found.norm} distance {float(found.eps):.6g}"
    tally = f"{counts[0]} robust, {counts[1]} not, {counts[2]} unknown"
    texts = [
        ("points", f"{len(rows)} of {found.points}, {seconds_text(found.seconds)}"),
        ("accuracy", f"{100 * found.accuracy:.1f} %"),
        ("certified", f"{100 * found.certified:.1f} % {place}: {tally}"),
    ]
    print()
    print_rows(texts)
    print()
    print("distance  certified accuracy  at most")
    for radius, low, high in found.table():
        print(f"{radius:<8.6g}  {100 * low:>15.1f} %  {100 * high:>5.1f} %")
    if found.radii:
        ends, numbers = found.histogram()
        unit = max(max(numbers) / BAR, 1.0)
        print()
        print("exact distances")
        for low, high, number in zip(ends, ends[1:], numbers, strict=False):
            print(f"{low:.6g} - {high:.6g}".ljust(16) + f"{number:>4}  " + "#" * int(number / unit))
