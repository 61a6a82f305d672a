"""What all pictures share: targets, files, the legend's handles, title and caption.

matplotlib is imported inside the functions and never through pyplot, so no global state or display
is touched.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from plverify.errors import InputError, MissingExtra
from plverify.report.palette import INK, PAPER, QUIET

Legend = list[tuple[Any, str]]
"""Handles and labels."""

SUFFIXES = (".png", ".svg", ".pdf")
"""Kinds of files that are written."""

SQUARE, WIDE = (6.6, 7.2), (8.4, 5.0)
"""Sizes of figures in inches."""


def check_target(target: Any) -> None:
    """Refuse what is no target of a picture, before any work is done.

    Raises
    ------
    InputError
        On another suffix, or what is neither a path nor axes.
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("matplotlib", "pictures", "plot") from error
    if isinstance(target, (str, os.PathLike)):
        if not os.fspath(target).lower().endswith(SUFFIXES):
            name = os.path.basename(os.fspath(target))
            raise InputError(f"cannot draw {name}: the name must end in {', '.join(SUFFIXES)}")
    elif not hasattr(target, "add_collection"):
        raise InputError(f"target is a {type(target).__name__}, expected a path or matplotlib Axes")


def draw_on(
    target: Any, draw: Callable[[Any], None], dpi: int, size: tuple[float, float] = WIDE
) -> None:
    """Draw into axes, or into a new figure that is written to a file.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind then.
    """
    if not isinstance(target, (str, os.PathLike)):
        draw(target)
        return
    from matplotlib.figure import Figure

    from plverify.proof import write_atomically

    figure = Figure(figsize=size, facecolor=PAPER)
    draw(figure.add_axes((0.09, 0.13, 0.88, 0.76)))
    path = os.fspath(target)
    kind = path.rpartition(".")[2].lower()
    stamp: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format=kind,
        dpi=dpi if kind == "png" else 300,
        metadata=stamp,
        bbox_inches="tight",
        pad_inches=0.12,
    )
    write_atomically(path, buffer.getvalue())


def patch(color: Any) -> Any:
    """A filled square of a legend."""
    from matplotlib.patches import Patch

    return Patch(facecolor=color, edgecolor="none")


def stroke(color: Any, width: float, style: Any = "solid") -> Any:
    """A line of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, lw=width, ls=style)


def dot(fill: Any, rim: Any) -> Any:
    """A marker of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="none", marker="o", ms=6, mfc=fill, mec=rim, mew=1.1)


def dress(
    axes: Any,
    title: str,
    caption: str,
    legend: Legend,
    *,
    columns: int,
    framed: bool = False,
) -> None:
    """Title, caption, legend below, quiet ticks; a frame all around or two axes."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=22)
    axes.annotate(
        caption,
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=QUIET,
    )
    axes.tick_params(which="both", labelsize=8.5, colors=QUIET, width=0.6, length=3)
    for side, spine in axes.spines.items():
        spine.set(color=QUIET, linewidth=0.6, zorder=9)
        spine.set_visible(framed or side in ("left", "bottom"))
    if legend:
        axes.legend(
            [handle for handle, _ in legend],
            [label for _, label in legend],
            loc="upper left",
            bbox_to_anchor=(0, -0.09 if framed else -0.13),
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            handlelength=1.4,
            columnspacing=1.6,
            borderaxespad=0,
        )
