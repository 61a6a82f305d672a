"""Cactus plots: how many instances a run decides within how many seconds each.

The conventions are those of `plverify.report.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plverify.errors import InputError
from plverify.report.drawing import check_target, draw_on, dress, stroke
from plverify.report.palette import INK, curve_colors

LEAST = 1e-3
"""Seconds below which an instance is drawn as if it had taken them."""


def plot_cactus(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    target: Any,
    *,
    title: str | None = None,
    dpi: int = 200,
) -> None:
    """Draw one curve per run: the decided instances in order of their wall times.

    Parameters
    ----------
    runs : mapping
        Rows of `plverify.bench` by the name of their run.
    target : path or matplotlib Axes
        A file ending in ``.png``, ``.svg`` or ``.pdf``, or axes to draw into.
    title : str, optional
    dpi : int
        Resolution of PNG files.

    Raises
    ------
    InputError
        On another suffix, a file that cannot be written, or if there is nothing to draw.
    MissingExtra
        If matplotlib is not installed.
    """
    check_target(target)
    times = {
        name: sorted(max(LEAST, r["seconds"]) for r in rows if r["status"] in ("sat", "unsat"))
        for name, rows in runs.items()
    }
    if not any(times.values()):
        raise InputError("no instance was decided: there is nothing to draw")

    def draw(axes: Any) -> None:
        legend = []
        for color, (name, found) in zip(curve_colors(len(times)), times.items(), strict=True):
            axes.step(range(1, len(found) + 1), found, where="mid", color=color, lw=1.6, zorder=4)
            legend.append((stroke(color, 1.6), f"{name}: {len(found)} of {len(runs[name])}"))
        axes.set_yscale("log")
        axes.set_xlim(0, 1.02 * max(map(len, times.values())))
        axes.set_xlabel("instances decided", color=INK)
        axes.set_ylabel("seconds each", color=INK)
        families = sorted({row["folder"].rpartition("/")[2] for r in runs.values() for row in r})
        shown = ", ".join(families[:6]) + (", ..." if len(families) > 6 else "")
        dress(axes, title or "Instances decided within a time", shown, legend, columns=2)

    draw_on(target, draw, dpi)
