"""``plverify regions MODEL --along PATH.npz``: regions along a path through given inputs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from plverify.cli.arguments import Exit
from plverify.cli.common import (
    npz_entry,
    print_json,
    print_rows,
    read_npz,
    refuse_both,
    seconds_text,
)
from plverify.errors import InputError
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.network import Network
    from plverify.study import Along

SHOWN = 60
"""Rows of the table; --json has all."""


def run_along(
    model: str,
    path: str,
    threads: int,
    timeout: float | None,
    plot: str | None,
    *,
    json: bool,
    others: dict[str, Any],
) -> NoReturn:
    """Answer ``--along``: print the table or the JSON object, draw, and exit.

    Parameters
    ----------
    others : dict
        Options that describe another domain or ask for what a path does not have; all must be None.

    Raises
    ------
    InputError
        On such an option, or a path or model that cannot be used.
    Exit
        0 if complete, else 1.
    """
    for option, value in others.items():
        refuse_both({"--along": path, option: value})
    if plot is not None:
        from plverify.report.drawing import check_target

        check_target(plot)
    from plverify.network import load
    from plverify.study import path_points, regions_along

    net = load(model)
    arrays = read_npz(path, "--along")
    points = npz_entry(arrays, ("points", "X"), path, "--along")
    try:
        points = path_points(points, net.input_size).data
    except InputError as error:
        raise InputError(f"--along {path}: {error}") from None
    limit = timeout if timeout is None or timeout < 1e9 else None
    found = regions_along(net, points, threads=threads, timeout=limit, distances=True)
    answer = {
        "model": model,
        "path": path,
        "widths": list(net.widths),
        **found.to_dict(),
        "files": {},
    }
    failure: Exception | None = None
    if not json:
        try:
            _print(found, net, path)
            sys.stdout.flush()
        except OSError as error:  # nobody reads on, or no room: the picture is still wanted
            failure = error
    if plot is not None:
        failure = _draw(found, plot, answer, json or failure is not None) or failure
    if json:
        print_json(answer)
    if failure is not None:
        raise failure
    raise Exit(0 if found.complete else 1)


def _draw(found: Along, plot: str, answer: dict[str, Any], quiet: bool) -> InputError | None:
    """Draw; a failure is returned, so that the answer is printed first."""
    from plverify.report.study_plots import plot_along

    try:
        plot_along(found, plot)
    except InputError as error:
        return InputError(f"--plot {plot}: {error}")
    answer["files"]["plot"] = plot
    if not quiet:
        print(f"wrote {plot} ({os.path.getsize(plot):,} bytes)", flush=True)
    return None


def _print(found: Along, net: Network, path: str) -> None:
    """The answer for people: a row per segment, then the totals."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title=f"regions along {os.path.basename(path)}", title_justify="left")
    for head in ("points", "length", "regions", "so far", "knots/length", "units changed"):
        view.add_column(head, justify="right", no_wrap=True)
    view.add_column("boundary at start", justify="right", no_wrap=True)
    distances = [distance.lower for distance in found.distances or ()]
    density = found.density.tolist()
    for i in range(min(len(found), SHOWN)):
        least = "" if found.segment_complete[i] else ">= "
        view.add_row(
            f"{i} - {i + 1}",
            f"{found.lengths[i]:.6g}",
            f"{least}{found.counts[i]:,}",
            f"{found.cumulative[i]:,}",
            f"{density[i]:.4g}",
            f"{found.pattern_changes[i]:,}",
            f"{distances[i]:.4g}" if i < len(distances) else "-",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # nobody's window: do not squeeze a file into 80 columns
    console.print(view)
    if len(found) > SHOWN:
        print(f"... and {plural(len(found) - SHOWN, 'segment')} more: --json has all")
    total, knots = f"{found.total:,}", f"{len(found.exact):,}"
    if not found.complete:
        # the counts may be whole even where a distance came too late
        note = f"(incomplete: {found.status})"
        least = "" if found.segment_complete.all() else "at least "
        total, knots = f"{least}{total} {note}", f"{least}{knots}"
    rows = [
        ("activation regions", total),
        ("different ones", f"{found.distinct:,}"),
        ("knots", f"{knots}, {found.mean_density:.4g} per unit of length"),
        ("length (l2)", f"{found.length:.6g}"),
    ]
    if distances:
        near = min(range(len(distances)), key=distances.__getitem__)
        rows.append(("nearest boundary", f"{distances[near]:.6g} from point {near}"))
    widths = "-".join(map(str, (net.input_size, *net.widths, net.output_size)))
    rows.append(("time", seconds_text(found.seconds)))
    rows.append(("network", f"{widths}, sha256 {net.digest[:16]}..."))
    print_rows(rows)
