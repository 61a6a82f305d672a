"""Pictures of studies: regions along a path, and region counts in the course of training.

`plot_along` draws how many regions a path has met by then, with its knots; `plot_training` the
counts of checkpoints beside the published bounds; `plot_scaling` the counts of several studies
against what Hanin and Rolnick expect from the number of neurons. The conventions are those of
`plverify.report.plots`: a file or axes as target, matplotlib imported inside the functions and
never through pyplot, exact numbers in the caption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plverify.errors import InputError
from plverify.report.drawing import Legend, check_target, dot, draw_on, dress, stroke
from plverify.report.palette import BOUNDARY, INK, PAPER, QUIET, curve_colors, layer_colors
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.study import Along, TrainingStudy

IN_VIEW = 30
"""A bound is drawn if it is at most so many times the largest count; else the caption names it."""
STEEP = 6
"""Counts and bounds that differ by more than this factor get a logarithmic axis."""
MANY_POINTS = 60
"""With more given points than this they are not marked one by one."""


def plot_along(along: Along, target: Any, *, title: str | None = None, dpi: int = 200) -> None:
    """Draw the number of regions met along a path, with its knots by layer.

    A bar about a given point reaches as far along the path as the nearest boundary of a region is
    away, in any direction (if distances were computed): no knot can lie under it.

    Parameters
    ----------
    along : Along
        From `plverify.study.regions_along`.
    target : path or matplotlib Axes
        A file ending in ``.png``, ``.svg`` or ``.pdf``, or axes to draw into.
    title : str, optional
    dpi : int
        Resolution of PNG files.

    Raises
    ------
    InputError
        On another suffix, a file that cannot be written, or if nothing was counted.
    MissingExtra
        If matplotlib is not installed.
    """
    if along.total == 0:
        raise InputError("there are no regions to draw")

    def draw(axes: Any) -> None:
        legend = _draw_path(axes, along)
        knots = len(along.exact)
        caption = (
            f"{plural(along.total, 'region')} met, {along.distinct:,} different · "
            f"{plural(knots, 'knot')}, {along.mean_density:.4g} per unit of length"
        )
        name = f"path of {plural(len(along), 'segment')} in R^{along.input_size}"
        _dress(axes, title or f"Regions along a {name}", _marked(caption, along), legend)

    check_target(target)
    draw_on(target, draw, dpi)


def _draw_path(axes: Any, along: Along) -> Legend:
    places, points = along.positions, along.point_positions
    length = max(along.length, 1e-300)
    met = np.arange(1, len(places) + 2)
    stairs = np.concatenate([[0.0], places, [length]])
    axes.step(stairs, np.append(met, met[-1]), where="post", color=INK, lw=1.6, zorder=4)
    legend: Legend = [(stroke(INK, 1.6), "regions met so far")]
    layers = np.array([layer for layer, _ in along.units], int)
    colors = layer_colors(int(layers.max(initial=0)) + 1)
    for layer in np.unique(layers).tolist():
        at = places[layers == layer]
        # a rug under the stairs: where each layer bends
        axes.vlines(
            at,
            0.0,
            0.035,
            transform=axes.get_xaxis_transform(),
            color=colors[layer],
            lw=float(np.clip(200 / len(places), 0.3, 1.4)),
            zorder=5,
        )
        legend.append((stroke(colors[layer], 1.8), f"layer {layer}: {plural(len(at), 'knot')}"))
    if len(points) <= MANY_POINTS:
        height = 1 + np.searchsorted(places, points, side="right")
        for x in points.tolist():
            axes.axvline(x, color=QUIET, lw=0.5, alpha=0.5, zorder=2)
        dots = {"ls": "none", "marker": "o", "ms": 5, "mfc": PAPER, "mec": INK, "mew": 1.1}
        axes.plot(points, height, clip_on=False, zorder=6, **dots)
        legend.append((dot(PAPER, INK), "given points"))
        if along.distances:
            near = [min(distance.lower, 2 * length) for distance in along.distances]
            some = points[: len(near)]
            low, high = np.maximum(some - near, 0), np.minimum(some + near, length)
            axes.hlines(height[: len(near)], low, high, color=BOUNDARY, lw=2.4, zorder=5)
            legend.append((stroke(BOUNDARY, 2.4), "no boundary nearer"))
    axes.set_xlim(0, length)
    axes.set_ylim(0, 1.06 * max(2, int(met[-1])))
    axes.set_xlabel("length along the path (l2)", color=INK)
    axes.set_ylabel("activation regions", color=INK)
    return legend


def plot_training(
    study: TrainingStudy, target: Any, *, title: str | None = None, dpi: int = 200
) -> None:
    """Draw the region count of every checkpoint, with the published bounds near it.

    The axis on the right is the count over ``neurons ** dim / dim!``, the order of the mean at
    random weights (`plverify.study.region_scale`). Bounds far above all counts are named below the
    title instead of flattening the curve.

    Parameters
    ----------
    study : TrainingStudy
        From `plverify.study.training_study`; labels that are all numbers are placed as such.
    target, title, dpi
        As in `plot_along`.

    Raises
    ------
    InputError
        As `plot_along`.
    MissingExtra
        If matplotlib is not installed.
    """
    if not any(study.counts):
        raise InputError("there are no regions to draw")

    def draw(axes: Any) -> None:
        labels = [row.label for row in study.rows]
        numeric = all(isinstance(label, (int, float)) for label in labels)
        at = [float(label) for label in labels] if numeric else list(range(len(labels)))
        counts = np.array(study.counts, float)
        axes.plot(at, counts, color=INK, lw=1.6, zorder=4)
        for x, row in zip(at, study.rows, strict=True):
            fill = INK if row.complete else PAPER  # hollow: a lower bound only
            axes.plot([x], [row.count], ls="none", marker="o", ms=5, mfc=fill, mec=INK, zorder=5)
        if not numeric:
            step = max(1, math.ceil(len(labels) / 12))
            axes.set_xticks(at[::step], [str(label) for label in labels[::step]])
        legend: Legend = [(stroke(INK, 1.6), "activation regions")]
        shown, beyond = _bounds_in_view(study)
        colors = curve_colors(len(shown))
        for color, (value, names, kind) in zip(colors, shown, strict=True):
            style = "solid" if kind == "upper" else (0, (4, 2))
            axes.axhline(value, color=color, lw=1.2, ls=style, zorder=3)
            what = "at most" if kind == "upper" else "some net has"
            legend.append((stroke(color, 1.2, style), f"{what} {value:,}: {names}"))
        heights = [*counts[counts > 0].tolist(), *(value for value, _, _ in shown)]
        if max(heights) > STEEP * min(heights):
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.08 * max(heights))
        scale = float(study.scale)
        if scale > 0:
            side = axes.secondary_yaxis(
                "right", functions=(lambda y: y / scale, lambda y: y * scale)
            )
            side.set_ylabel(f"count / ({_power(study.dim)})", color=QUIET, fontsize=9)
            side.tick_params(labelsize=8.5, colors=QUIET, width=0.6, length=3)
            side.spines["right"].set(color=QUIET, linewidth=0.6)
        axes.set_xlabel("epoch or step" if numeric else "checkpoint", color=INK)
        axes.set_ylabel("activation regions", color=INK)
        first, last = study.counts[0], study.counts[-1]
        caption = f"{first:,} → {last:,} regions on the {study.where} · {study.neurons:,} neurons"
        caption = _marked(caption, study)
        if beyond:
            caption += f" · at most {beyond[0]:.3g} ({beyond[1]}, not drawn)"
        name = "-".join(map(str, study.sizes)) if len(study.sizes) < 12 else "network"
        _dress(axes, title or f"Regions of {name} in training", caption, legend)

    check_target(target)
    draw_on(target, draw, dpi)


def _bounds_in_view(
    study: TrainingStudy,
) -> tuple[list[tuple[int, str, str]], tuple[float, str] | None]:
    """``(value, names, kind)`` of bounds worth a line, and the least upper bound if it is not."""
    top = max(study.counts)
    values: dict[tuple[int, str], list[str]] = {}  # equal values on one line
    for bound in study.bounds:
        if bound.value is not None:
            values.setdefault((bound.value, bound.kind), []).append(bound.name)
    ordered = sorted(values)
    shown = [(v, ", ".join(values[v, k]), k) for v, k in ordered if v <= IN_VIEW * top]
    uppers = [(v, k) for v, k in ordered if k == "upper"]
    if not uppers or uppers[0][0] <= IN_VIEW * top:
        return shown, None
    least = uppers[0]
    huge = least[0].bit_length() > 1000
    return shown, (math.inf if huge else float(least[0]), ", ".join(values[least]))


def plot_scaling(
    studies: Sequence[TrainingStudy],
    target: Any,
    *,
    title: str | None = None,
    dpi: int = 200,
) -> None:
    """Draw counts against ``neurons ** dim / dim!`` for studies of networks of several sizes.

    Per study a hollow dot for the first checkpoint, a filled one for the last and a line through
    all. On the dashed diagonal the count equals ``neurons ** dim / dim!``: what Hanin and Rolnick
    show is that at random weights the mean is at most proportional to it, whatever the depth
    (`plverify.study.region_scale`); for one network it is no bound.

    Parameters
    ----------
    studies : sequence of TrainingStudy
        On domains of one dimension.
    target, title, dpi
        As in `plot_along`.

    Raises
    ------
    InputError
        On studies of different dimensions, and as `plot_along`.
    MissingExtra
        If matplotlib is not installed.
    """
    drawn = [study for study in studies if any(study.counts) and study.neurons]
    if not drawn:
        raise InputError("there are no regions to draw")
    dims = sorted({study.dim for study in drawn})
    if len(dims) > 1:
        raise InputError(f"the studies have dimensions {dims}, expected one")

    def draw(axes: Any) -> None:
        legend: Legend = []
        for color, study in zip(curve_colors(len(drawn)), drawn, strict=True):
            counts = [max(count, 1) for count in study.counts]
            at = float(study.scale)
            axes.plot([at] * len(counts), counts, color=color, lw=1.0, alpha=0.6, zorder=3)
            style = {"ls": "none", "marker": "o", "ms": 6, "mec": color}
            axes.plot([at], counts[-1:], mfc=color, zorder=4, **style)
            axes.plot([at], counts[:1], mfc=PAPER, zorder=5, **style)
            if len(drawn) <= 10:
                legend.append((dot(color, color), "-".join(map(str, study.sizes))))
        values = [float(study.scale) for study in drawn]
        ends = [min(values) / 2, max(values) * 2]
        axes.plot(ends, ends, color=QUIET, lw=1.0, ls=(0, (4, 2)), zorder=2)
        legend.append((stroke(QUIET, 1.0, (0, (4, 2))), f"{_power(dims[0])} (Hanin-Rolnick 2019)"))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(_power(dims[0]), color=INK)
        axes.set_ylabel("activation regions", color=INK)
        caption = "hollow: first checkpoint · filled: last · a mean at random weights, not a bound"
        _dress(axes, title or "Regions against neurons", caption, legend)

    check_target(target)
    draw_on(target, draw, dpi)


# ------------------------------------------------------------------------------------- helpers


def _power(dim: int) -> str:
    """``neurons ** dim / dim!`` for people."""
    return "neurons" if dim == 1 else f"neurons^{dim} / {math.factorial(dim)}"


def _marked(caption: str, answer: Along | TrainingStudy) -> str:
    return caption if answer.complete else f"{caption} (incomplete: {answer.status})"


def _dress(axes: Any, title: str, caption: str, legend: Legend) -> None:
    axes.grid(axis="y", color="#e6e9ef", lw=0.6, zorder=0)
    axes.set_axisbelow(True)
    columns = 3 if max(len(label) for _, label in legend) < 36 else 1
    dress(axes, title, caption, legend, columns=columns)
