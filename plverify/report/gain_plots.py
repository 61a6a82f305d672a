"""Bars of Lipschitz constants: of the layers of a network, and of the same map by several methods.

The conventions are those of `plverify.report.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plverify.errors import InputError
from plverify.report.drawing import check_target, draw_on, dress, patch, stroke
from plverify.report.palette import INK, QUIET, curve_colors

if TYPE_CHECKING:
    from plverify.gain.product import LayerNorms

NAMES = (("l1", "l1"), ("l2", "l2"), ("linf", "l∞"))


def plot_layer_norms(
    layers: Sequence[LayerNorms], target: Any, *, title: str | None = None, dpi: int = 200
) -> None:
    """Draw the operator norms of all layers as bars, one colour per norm.

    A bar ends at the proven upper bound; where the lower bound is visibly smaller, a line marks it.

    Parameters
    ----------
    layers : sequence of LayerNorms
        As `plverify.layer_norms` gives them.
    target : path or matplotlib Axes
        A file ending in ``.png``, ``.svg`` or ``.pdf``, or axes to draw into.
    title : str, optional
    dpi : int
        Resolution of PNG files.

    Raises
    ------
    InputError
        On another suffix, a file that cannot be written, or without layers.
    MissingExtra
        If matplotlib is not installed.
    """
    check_target(target)
    if not layers:
        raise InputError("there are no layers to draw")

    def draw(axes: Any) -> None:
        at = np.arange(len(layers))
        colors = curve_colors(len(NAMES))
        width = 0.8 / len(NAMES)
        for k, (norm, _) in enumerate(NAMES):
            lower, upper = np.array([getattr(row, norm) for row in layers], np.float64).T
            place = at + (k - 1) * width
            axes.bar(place, upper, width, color=colors[k], zorder=3)
            apart = lower < 0.999 * upper
            axes.scatter(place[apart], lower[apart], marker="_", s=30, color=INK, zorder=4)
        if max(max(row.l1[1], row.linf[1]) for row in layers) > 20:
            axes.set_yscale("log")
        axes.set_xticks(at, [f"{row.kind}\n{row.node}" for row in layers])
        axes.set_ylabel("operator norm", color=INK)
        axes.margins(x=0.01)
        legend = [(patch(c), name) for c, (_, name) in zip(colors, NAMES, strict=True)]
        legend.append((stroke(INK, 1.2), "proven from below, where it is less"))
        caption = f"{len(layers)} layers; bars are proven upper bounds"
        dress(axes, title or "Lipschitz constants of the layers", caption, legend, columns=4)

    draw_on(target, draw, dpi)


def plot_constants(
    bounds: Mapping[str, tuple[float, float]],
    target: Any,
    *,
    title: str | None = None,
    dpi: int = 200,
) -> None:
    """Draw what several methods say about one Lipschitz constant, side by side.

    Parameters
    ----------
    bounds : mapping from name to (lower, upper)
        Such as ``{"product": ..., "LipSDP": ..., "exact": ..., "sampled": (value, value)}``. A bar
        reaches to the upper end and is darker from the lower one on; a line marks both.
    target, title, dpi
        As in `plot_layer_norms`.

    Raises
    ------
    InputError, MissingExtra
        As `plot_layer_norms`.
    """
    check_target(target)
    if not bounds:
        raise InputError("there are no bounds to draw")

    def draw(axes: Any) -> None:
        colors = curve_colors(len(bounds))
        for k, (lower, upper) in enumerate(bounds.values()):
            axes.bar(k, upper, 0.6, color=colors[k], alpha=0.15, zorder=2)
            axes.bar(k, upper - lower, 0.6, bottom=lower, color=colors[k], alpha=0.35, zorder=3)
            for end in {lower, upper}:
                axes.hlines(end, k - 0.3, k + 0.3, color=colors[k], lw=2.2, zorder=4)
            text = f"{upper:.5g}" if lower >= 0.9999 * upper else f"{lower:.4g} .. {upper:.5g}"
            axes.annotate(
                text,
                (k, upper),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=QUIET,
            )
        axes.set_xticks(range(len(bounds)), list(bounds))
        axes.set_ylim(0, 1.12 * max(upper for _, upper in bounds.values()))
        axes.set_ylabel("Lipschitz constant", color=INK)
        dress(axes, title or "One constant by several methods", "", [], columns=1)

    draw_on(target, draw, dpi)
