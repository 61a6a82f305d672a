"""``plverify report``: one HTML file about the results of ``plverify certify``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from plverify.cli.arguments import Argument, Option
from plverify.cli.common import check_output, require_file
from plverify.errors import InputError


def report(
    results: Annotated[
        str, Argument(help="A file of plverify certify --out, or merge.", metavar="RESULTS")
    ],
    out: Annotated[str, Option("--out", "-o", help="The page to write.", metavar="REPORT.html")],
    model: Annotated[
        str | None, Option(help="The network, if not where certify read it.", metavar="MODEL")
    ] = None,
    data: Annotated[
        str | None, Option(help="The points, if not where certify read them.", metavar="FILE.npz")
    ] = None,
    point: Annotated[
        list[str] | None,
        Option(help="Draw the plane through this point; repeatable.", metavar="N"),
    ] = None,
    image: Annotated[
        str | None, Option(help="Inputs are images of this shape: H,W or H,W,C.", metavar="H,W")
    ] = None,
) -> None:
    """Write one HTML file about results: curves, points, images, partitions.

    It opens in any browser without a network. Images and partitions are drawn from the model and
    the data, which are looked for where certify read them. Of a network of two inputs the whole
    plane is drawn, of others the plane through a point and its nearest boundary.

    Example: plverify report results.jsonl -o report.html
    """
    check_output(out, "--out", (".html", ".htm"))
    require_file(results, "RESULTS")
    chosen = [_index(text, "--point") for text in point or ()]

    shape = None if image is None else [_index(part, "--image") for part in image.split(",")]

    from plverify.report.page import write_report

    absent = write_report(results, out, model=model, data=data, points=chosen, image=shape)
    if absent:
        print(f"no images or partitions: {absent}", file=sys.stderr)
    print(f"wrote {out} ({os.path.getsize(out):,} bytes)")


def _index(text: str, option: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{option} has {text!r:.40}, expected a number")
    return int(text)
