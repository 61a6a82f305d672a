"""Pictures of a partition: the regions of a plane, or the graph of a network on a line.

`plot_regions` is the only entry. In the plane every activation region is a polygon whose colour
says something about the affine map on it, facets are thin lines, the decision boundary (computed
exactly by `plverify.decision_boundary`, rounded only to be drawn) is a strong one. On a line it is
the graph of the outputs with its knots: a filled dot where an output bends, a hollow tick on the
axis where only the activation pattern changes.

Equal affine maps get equal colours in ``color="map"``: the hue is the direction of the gradient (of
several outputs, its first two principal components), the strength its length. `palette` has them.

Polygons go to matplotlib in one array per number of vertices, and every facet once, as one array of
segments: a million polygons one by one would take minutes. matplotlib is imported inside the
functions and never through pyplot, so no global state or display is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from plverify.domain import Box, Domain, Slice
from plverify.errors import InputError
from plverify.report.drawing import (
    SQUARE,
    WIDE,
    Legend,
    check_target,
    dot,
    draw_on,
    dress,
    patch,
    stroke,
)
from plverify.report.palette import (
    BOUNDARY,
    INK,
    PAPER,
    QUIET,
    Floats,
    class_shades,
    curve_colors,
    jitter,
    layer_colors,
    map_colors,
    ramp,
    random_colors,
    unit_color,
)
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.partition import RegionSet

Frame = tuple[float, float, float, float]
"""``(left, right, bottom, top)`` in domain coordinates."""

COLORS = ("map", "class", "norm", "random", "layer", "plain")
"""What ``color`` of `plot_regions` may be."""

LARGE = 1e150
"""Nothing larger is drawn: matplotlib overflows."""
MANY = 20_000
"""With more polygons than this, vector files hold the cells as an image."""


def plot_regions(
    regions: RegionSet,
    target: Any,
    color: str = "map",
    *,
    layer: int | None = None,
    boundary: bool = True,
    frame: Sequence[float] | None = None,
    title: str | None = None,
    dpi: int = 200,
) -> None:
    """Draw the partition of a domain of one or two dimensions.

    Parameters
    ----------
    regions : RegionSet
        From `plverify.regions`.
    target : path or matplotlib Axes
        A file ending in ``.png``, ``.svg`` or ``.pdf``, or axes to draw into.
    color : str
        In the plane: "map" (the affine map), "class" (the largest output; with one output its
        sign), "norm" (length of the gradient), "random", "layer" (facets by the layer of the unit
        that bends there) or "plain". On a line "class" shades the classes; the rest do not differ.
    layer : int, optional
        Show only where the units of this hidden layer bend, each unit in a colour of its own; 0 is
        the first hidden layer.
    boundary : bool
        Draw the decision boundary: where the two largest outputs tie; with one output, where it is
        0, and that only for ``color="class"``.
    frame : (left, right, bottom, top) or (left, right), optional
        What to show, in domain coordinates. Default: the whole domain, or the part of an unbounded
        one in which most vertices lie.
    title : str, optional
        Default: the network and the domain.
    dpi : int
        Resolution of PNG files.

    Raises
    ------
    InputError
        On another suffix, ``color`` or ``layer``, an empty list of regions, or a file that cannot
        be written; nothing is left behind then.
    MissingExtra
        If matplotlib is not installed.

    Notes
    -----
    The picture is not part of any proof: coordinates are float64 and thin cells may not show. The
    counts in the caption are exact.
    """
    check_target(target)
    if color not in COLORS:
        raise InputError(f"color is {color!r}, expected one of {', '.join(COLORS)}")
    depth = len(regions.net.widths)
    if layer is not None and not 0 <= layer < depth:
        raise InputError(f"layer is {layer}, the network has hidden layers 0 to {depth - 1}")
    if regions.count == 0:
        raise InputError("there are no regions to draw")
    dim = regions.domain.dim
    if frame is not None and not _is_frame(frame, dim):
        raise InputError(f"frame is {tuple(frame)}, expected {dim} pairs of increasing numbers")
    shape, size = (_draw_plane, SQUARE) if dim == 2 else (_draw_line, WIDE)

    def draw(axes: Any) -> None:
        shape(regions, axes, color, layer, boundary, frame, title)

    draw_on(target, draw, dpi, size)


def _is_frame(frame: Sequence[float], dim: int) -> bool:
    return (
        len(frame) == 2 * dim
        and bool(np.isfinite(frame).all())
        and all(frame[k] < frame[k + 1] for k in range(0, 2 * dim, 2))
    )


# ---------------------------------------------------------------------------- geometry to draw


@dataclass
class _Cells:
    """Polygons in groups of one vertex count, with the region each belongs to."""

    groups: list[tuple[NDArray[np.int64], Floats]] = field(default_factory=list)

    def add(self, regions: Any, corners: Floats) -> None:
        """Add polygons (n, k, 2) of these regions (n,)."""
        if len(corners):
            self.groups.append((np.asarray(regions, np.int64), corners))


def _points(regions: RegionSet, frame: Frame) -> Floats:
    """(total, 2) vertices, those at infinity moved to a finite point far outside the frame.

    An edge that leaves for infinity leaves from its finite end in the direction stored there. Where
    a whole line without any vertex bounds a region, its two ends are taken from the exact vertices.
    """
    points: Floats = regions.vertices
    far = regions.vertex_at_infinity
    if not far.any():
        return points
    points = points.copy()
    reach = 8 * (frame[1] - frame[0] + frame[3] - frame[2] + max(map(abs, frame)))
    start, owner = _owners(regions)
    size = np.diff(regions.vertex_start)[owner]
    place = np.arange(len(owner)) - start
    after, before = start + (place + 1) % size, start + (place - 1) % size
    line = regions.line_layer != -2  # the edge from here to the next vertex is not at infinity
    middle = np.array([frame[0] + frame[1], frame[2] + frame[3]]) / 2
    base = np.broadcast_to(middle, points.shape).copy()
    forward, backward = line & far & ~far[after], line[before] & far & ~far[before]
    base[forward] = points[after[forward]]
    base[backward] = points[before[backward]]
    step = np.abs(base - middle).max(axis=1) + reach
    points[far] = (base + step[:, None] * points)[far]
    for i in np.unique(owner[line & far & far[after]]).tolist():
        vertices = regions[i].exact_vertices
        for k, vertex in enumerate(vertices):
            if vertex.q is not None:
                p, q = ([float(v) for v in w] for w in (vertex.p, vertex.q))
                away = reach + max(abs(v) for v in p)
                points[regions.vertex_start[i] + k] = [
                    u + away * v for u, v in zip(p, q, strict=True)
                ]
    return points


def _owners(regions: RegionSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per vertex, the first vertex of its region and the region."""
    sizes = np.diff(regions.vertex_start)
    return np.repeat(regions.vertex_start[:-1], sizes), np.repeat(np.arange(regions.count), sizes)


def _polygons(regions: RegionSet, points: Floats) -> _Cells:
    """All regions as polygons."""
    cells = _Cells()
    sizes = np.diff(regions.vertex_start)
    for k in np.unique(sizes).tolist():
        index = np.flatnonzero(sizes == k)
        cells.add(index, points[regions.vertex_start[index][:, None] + np.arange(k)])
    return cells


def _edges(regions: RegionSet, points: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """(n, 2, 2) the chosen edges, each facet between two regions once."""
    start, owner = _owners(regions)
    size = np.diff(regions.vertex_start)[owner]
    after = start + (np.arange(len(owner)) - start + 1) % size
    a, b = points, points[after]
    once = (b[:, 0] > a[:, 0]) | ((b[:, 0] == a[:, 0]) & (b[:, 1] > a[:, 1]))
    keep = chosen & (once | (regions.line_layer < 0) | ~np.full(len(once), regions.complete))
    return np.stack([a[keep], b[keep]], axis=1)


def _by_class(regions: RegionSet, cells: _Cells) -> tuple[_Cells, NDArray[np.int64], list[str]]:
    """Polygons cut where the class changes, the class of each, and the names of the classes.

    A convex polygon on which one output is largest at all corners has that class throughout; the
    others are cut by the half-planes ``f_i >= f_j``, in floating point.
    """
    jacobian, offset = regions.J, regions.c
    if regions.net.output_size == 1:  # the sign: compare with an output that is 0
        jacobian = np.concatenate([np.zeros_like(jacobian), jacobian], axis=1)
        offset = np.concatenate([np.zeros_like(offset), offset], axis=1)
        names = ["output <= 0", "output > 0"]
    else:
        names = [f"class {i}" for i in range(offset.shape[1])]
    parts = _Cells()
    classes: list[NDArray[np.int64]] = []
    for index, corners in cells.groups:
        value = _values(jacobian[index], corners, offset[index])
        top = value.argmax(axis=2)
        pure = (top == top[:, :1]).all(axis=1)
        parts.add(index[pure], corners[pure])
        if pure.any():
            classes.append(top[pure, 0])
        for n in np.flatnonzero(~pure).tolist():
            found: list[int] = []
            for i in range(value.shape[2]):
                piece = np.concatenate([corners[n], value[n]], axis=1)
                for j in range(value.shape[2]):
                    if j != i and len(piece):
                        piece = _clip(piece, piece[:, 2 + i] - piece[:, 2 + j])
                if len(piece) >= 3:
                    parts.add([index[n]], piece[None, :, :2])
                    found.append(i)
            classes += [np.array([i]) for i in found]
    return parts, np.concatenate(classes), names


def _values(jacobian: Floats, points: Floats, offset: Floats) -> Floats:
    """(n, k, outputs) outputs at points (n, k, dim) of the regions, clipped where they overflow."""
    with np.errstate(all="ignore"):
        value = np.einsum("nod,nkd->nko", jacobian, points) + offset[:, None]
    return np.clip(np.nan_to_num(value), -LARGE, LARGE)


def _clip(polygon: Floats, height: Floats) -> Floats:
    """The part of a polygon where ``height >= 0``; rows may hold more than coordinates."""
    if (height >= 0).all():
        return polygon
    rows: list[Floats] = []
    for k in range(len(polygon)):
        a, b = height[k - 1], height[k]
        if (a > 0 and b < 0) or (a < 0 and b > 0):
            rows.append(polygon[k - 1] + (polygon[k] - polygon[k - 1]) * (a / (a - b)))
        if b >= 0:
            rows.append(polygon[k])
    return np.array(rows) if len(rows) > 2 else polygon[:0]


def _frame_of(regions: RegionSet) -> tuple[float, ...]:
    """What to show: the domain if it is a bounded box, else where the finite vertices are."""
    placed: Domain = regions.domain
    inner = placed.inner if isinstance(placed, Slice) else placed
    dim = inner.dim
    finite = regions.vertices[~regions.vertex_at_infinity]
    finite = finite[np.isfinite(finite).all(axis=1)]
    if not len(finite) and dim == 2:
        finite = _feet(regions)
    bounded = not regions.vertex_at_infinity.any()
    out: list[float] = []
    for k in range(dim):
        low, high = (-1.0, 1.0)
        if len(finite):
            low, high = np.quantile(finite[:, k], [0, 1] if bounded else [0.15, 0.85])
            pad = 0.0 if bounded else 0.5 * (high - low) or max(1.0, 0.1 * abs(low))
            low, high = low - pad, high + pad
        if isinstance(inner, Box):
            low = max(low, float(inner.lo[k])) if not bounded else float(inner.lo[k])
            high = min(high, float(inner.hi[k])) if not bounded else float(inner.hi[k])
        if not low < high:
            low, high = low - 1, high + 1
        out += [float(low), float(high)]
    if dim == 2 and not bounded and not isinstance(inner, Box):  # one scale for both axes
        half = max(out[1] - out[0], out[3] - out[2]) / 2
        x, y = (out[0] + out[1]) / 2, (out[2] + out[3]) / 2
        out = [x - half, x + half, y - half, y + half]
    return tuple(out)


def _feet(regions: RegionSet) -> Floats:
    """Where lines that have no vertex come nearest to the origin: then all lines are parallel."""
    feet = []
    for i, region in enumerate(regions):
        first, last = regions.vertex_start[i : i + 2]
        layers = regions.line_layer[first:last].tolist()
        for vertex, layer in zip(region.exact_vertices, layers, strict=True):
            if layer != -2 and vertex.q is not None:
                p, q = (np.array([float(v) for v in w]) for w in (vertex.p, vertex.q))
                feet.append(p - (p @ q) / (q @ q) * q)
    return np.array(feet).reshape(-1, 2)


# ------------------------------------------------------------------------------------ the plane


def _draw_plane(
    regions: RegionSet,
    axes: Any,
    color: str,
    layer: int | None,
    boundary: bool,
    asked: Sequence[float] | None,
    title: str | None,
) -> None:
    frame = cast(Frame, tuple(map(float, asked)) if asked is not None else _frame_of(regions))
    points = _points(regions, frame)
    cells = _polygons(regions, points)
    legend: Legend = []
    if layer is not None:
        _fill(axes, regions, cells, np.full((regions.count, 3), 0.985))
    elif color == "class":
        parts, classes, names = _by_class(regions, cells)
        _fill_classes(axes, regions, parts, classes)
        legend += [(patch(class_shades(i)), names[i]) for i in np.unique(classes)[:12]]
    elif color == "norm":
        _fill_norm(axes, regions, cells)
    elif color == "random":
        _fill(axes, regions, cells, random_colors(regions.linear_labels))
    elif color == "map":
        _fill(axes, regions, cells, map_colors(regions))
    else:
        _fill(axes, regions, cells, np.full((regions.count, 3), 0.985))
    if layer is not None:
        legend += _draw_layer(axes, regions, points, layer)
    elif color == "layer":
        legend += _draw_layers(axes, regions, points)
    else:
        _draw_facets(axes, regions, points)
    if boundary and (regions.net.output_size > 1 or color == "class"):
        legend += _draw_boundary(axes, regions, frame, dashed=layer is not None)
    if isinstance(regions.domain, Box) or not regions.vertex_at_infinity.any():
        rim = _edges(regions, points, regions.line_layer == -1)
        _lines(axes, rim, INK, 0.9, zorder=6)
    axes.set_xlim(frame[0], frame[1])
    axes.set_ylim(frame[2], frame[3])
    wide = (frame[1] - frame[0]) / (frame[3] - frame[2])
    axes.set_aspect("equal" if 0.25 < wide < 4 else "auto", adjustable="box")
    placed = isinstance(regions.domain, Slice)
    axes.set_xlabel("t0" if placed else "x0", color=INK)
    axes.set_ylabel("t1" if placed else "x1", color=INK)
    _dress(axes, regions, title, legend)


def _fill(axes: Any, regions: RegionSet, cells: _Cells, colors: Floats) -> None:
    for index, corners in cells.groups:
        _add_polygons(axes, regions, corners, colors[index])


def _fill_classes(axes: Any, regions: RegionSet, parts: _Cells, classes: NDArray[np.int64]) -> None:
    light = 0.84 + 0.03 * jitter(np.arange(regions.count))  # so that the cells can be told apart
    by_size: dict[int, list[tuple[Floats, Floats]]] = {}
    start = 0
    for owner, corners in parts.groups:
        own = classes[start : start + len(owner)]
        start += len(owner)
        by_size.setdefault(corners.shape[1], []).append((corners, class_shades(own, light[owner])))
    for pieces in by_size.values():
        corners = np.concatenate([c for c, _ in pieces])
        _add_polygons(axes, regions, corners, np.concatenate([s for _, s in pieces]))


def _fill_norm(axes: Any, regions: RegionSet, cells: _Cells) -> None:
    """Colour by the l2 norm of the gradient (of the Jacobian, with several outputs), with a bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    with np.errstate(all="ignore"):
        table = np.clip(np.nan_to_num(regions.J), -LARGE, LARGE)
        size = np.linalg.norm(table, ord=2, axis=(1, 2))
    low, high = float(size.min()), float(size.max())
    steep = low > 0 and high > 100 * low
    scale = LogNorm(low, high) if steep else Normalize(low, high if high > low else low + 1)
    colors = ListedColormap(ramp())
    _fill(axes, regions, cells, colors(scale(size))[:, :3])
    # Beside the axes, whatever their shape, and without taking room from the caption.
    beside = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = axes.figure.colorbar(ScalarMappable(scale, colors), cax=beside)
    bar.set_label("norm of the gradient", color=INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=QUIET, width=0.5)


def _add_polygons(axes: Any, regions: RegionSet, corners: Floats, colors: Floats) -> None:
    """Fill polygons (n, k, 2) without seams between neighbours."""
    from matplotlib.collections import PolyCollection

    collection = PolyCollection(
        cast(Any, corners),
        facecolors=colors,
        edgecolors=colors,
        linewidths=0.25,
        antialiased=True,
        zorder=1,
    )
    if regions.count > MANY:
        # So many that edges of their own colour cost more than they mend.
        collection.set(edgecolor="none", antialiased=False, rasterized=True)
    axes.add_collection(collection, autolim=False)


def _lines(axes: Any, segments: Any, color: Any, width: float, **options: Any) -> None:
    """Draw polylines; an (n, 2, 2) array of segments goes in a few long paths, which is fast."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.path import Path

    if not len(segments):
        return
    style = {"linewidths": width, "capstyle": "round", **options}
    if not isinstance(segments, np.ndarray):
        lines: Any = LineCollection(segments, colors=color, **style)
    else:
        step = 4000  # pieces per path: Agg has a limit
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], np.uint8), step)
        flat = segments.reshape(-1, 2)
        paths = [
            Path(part, codes[: len(part)])
            for part in (flat[k : k + 2 * step] for k in range(0, len(flat), 2 * step))
        ]
        lines = PathCollection(paths, facecolors="none", edgecolors=[color], **style)
    axes.add_collection(lines, autolim=False)


def _thin(count: int) -> float:
    """Width of a facet line in points: thinner the more there are."""
    return float(np.clip(11 / np.sqrt(count), 0.05, 0.75))


def _draw_facets(axes: Any, regions: RegionSet, points: Floats) -> None:
    segments = _edges(regions, points, regions.line_layer >= 0)
    alpha = 0.75 if regions.count < 2000 else 0.5 if regions.count < MANY else 0.32
    many = regions.count > MANY
    _lines(axes, segments, INK, _thin(regions.count), alpha=alpha, zorder=3, rasterized=many)


def _draw_layers(axes: Any, regions: RegionSet, points: Floats) -> Legend:
    """Every facet in the colour of the layer whose unit bends there."""
    depth = len(regions.net.widths)
    colors = layer_colors(depth)
    legend = []
    for k in reversed(range(depth)):
        segments = _edges(regions, points, regions.line_layer == k)
        width = max(_thin(regions.count) * (2.4 - 1.4 * k / max(1, depth - 1)), 0.12)
        _lines(axes, segments, colors[k], width, zorder=4 + (depth - k) / (depth + 1))
    for k in range(depth):
        legend.append((stroke(colors[k], 1.8), f"layer {k}: {regions.net.widths[k]} units"))
    return legend[:10]


def _draw_layer(axes: Any, regions: RegionSet, points: Floats, layer: int) -> Legend:
    """The bent hyperplanes of one layer, a colour per unit, over the other facets in grey."""
    own = regions.line_layer == layer
    _lines(
        axes,
        _edges(regions, points, (regions.line_layer >= 0) & ~own),
        QUIET,
        _thin(regions.count) * 0.8,
        alpha=0.3,
        zorder=3,
        rasterized=regions.count > MANY,
    )
    units = np.unique(regions.line_unit[own])
    width = float(np.clip(9 / np.sqrt(max(1, len(units))), 0.8, 2.2))
    legend: Legend = []
    if len(units) > 10:
        seen = f"{len(units)} of {regions.net.widths[layer]} units of layer {layer} bend here"
        legend.append((stroke(unit_color(1), 2.0), seen))
    for place, unit in enumerate(units.tolist()):
        shade = unit_color(place)
        bent = _edges(regions, points, own & (regions.line_unit == unit))
        _lines(axes, bent, shade, width, zorder=4)
        if len(units) <= 10:
            legend.append((stroke(shade, 2.0), f"unit {unit}"))
    below = layer + 1 < len(regions.net.widths) or layer > 0
    if below:
        legend.append((stroke(QUIET, 0.8), "other layers"))
    return legend


def _draw_boundary(axes: Any, regions: RegionSet, frame: Frame, dashed: bool) -> Legend:
    """The exact decision boundary, rounded to be drawn, with a light casing.

    Dashed and dark beside the many colours of one layer's bent hyperplanes.
    """
    from plverify.boundary import DecisionBoundary, decision_boundary

    limit = None if regions.complete else 10.0
    found = decision_boundary(regions.net, regions.domain, timeout=limit)
    assert isinstance(found, DecisionBoundary)
    reach = 8 * (frame[1] - frame[0] + frame[3] - frame[2] + max(map(abs, frame)))
    lines = []
    for line in found.exact:
        row = []
        for vertex in line:
            p = [float(v) for v in vertex.p]
            if vertex.q is not None:
                away = reach + max(map(abs, p))
                p = [u + away * float(v) for u, v in zip(p, vertex.q, strict=True)]
            row.append(p)
        lines.append(np.array(row))
    if not lines:
        return []
    ink, style = (INK, (0, (4, 2))) if dashed else (BOUNDARY, "solid")
    _lines(axes, lines, PAPER, 3.6, alpha=0.85, zorder=7, joinstyle="round")
    _lines(axes, lines, ink, 2.0, zorder=8, joinstyle="round", linestyles=[style])
    what = "decision boundary" if regions.net.output_size > 1 else "output = 0"
    return [(stroke(ink, 2.0, style), what)]


# ------------------------------------------------------------------------------------- the line


def _draw_line(
    regions: RegionSet,
    axes: Any,
    color: str,
    layer: int | None,
    boundary: bool,
    asked: Sequence[float] | None,
    title: str | None,
) -> None:
    left, right = tuple(map(float, asked)) if asked is not None else _frame_of(regions)
    ends = regions.vertices[:, 0].reshape(-1, 2)
    far = regions.vertex_at_infinity.reshape(-1, 2)
    away = 9 * (right - left)  # an end at infinity moves to where it cannot be seen
    low = min(left, float(ends[~far].min(initial=left))) - away
    high = max(right, float(ends[~far].max(initial=right))) + away
    ends = np.where(far, [[low, high]], ends)
    value = _values(regions.J, ends[:, :, None], regions.c)
    outputs = regions.net.output_size
    curves = curve_colors(outputs)
    legend: Legend = []
    shown = (ends[:, 1] > left) & (ends[:, 0] < right)
    if color == "class":
        legend += _shade_classes(axes, regions, ends, shown)
    for o in range(outputs):
        graph = np.stack([ends, value[:, :, o]], axis=2).reshape(-1, 2)
        axes.plot(graph[:, 0], graph[:, 1], color=curves[o], lw=1.9, zorder=4)
        if outputs > 1 and o < 10:
            legend.append((stroke(curves[o], 1.9), f"output {o}"))
    legend += _draw_knots(axes, regions, ends, value, curves, layer)
    axes.set_xlim(left, right)
    inside = np.clip(ends[shown], left, right)
    at = _values(regions.J[shown], inside[:, :, None], regions.c[shown])
    least, most = float(at.min()), float(at.max())
    pad = 0.08 * (most - least) or 1.0
    axes.set_ylim(least - 1.6 * pad, most + pad)
    if boundary and (outputs > 1 or color == "class"):
        from plverify.boundary import DecisionBoundary, decision_boundary

        limit = None if regions.complete else 10.0
        found = decision_boundary(regions.net, regions.domain, timeout=limit)
        assert isinstance(found, DecisionBoundary)
        places = sorted({float(v.p[0]) for line in found.exact for v in line if not v.at_infinity})
        for x in places:
            axes.axvline(x, color=BOUNDARY, lw=1.3, zorder=3)
        if places:
            what = "class changes" if outputs > 1 else "output = 0"
            legend.append((stroke(BOUNDARY, 1.3), what))
    axes.set_xlabel("t" if isinstance(regions.domain, Slice) else "x", color=INK)
    axes.set_ylabel("output" if outputs == 1 else "outputs", color=INK)
    axes.grid(axis="y", color="#e6e9ef", lw=0.6, zorder=0)
    _dress(axes, regions, title, legend)


def _draw_knots(
    axes: Any, regions: RegionSet, ends: Floats, value: Floats, curves: Floats, layer: int | None
) -> Legend:
    """Dots where an output bends, ticks on the axis where only the pattern changes."""
    joined = np.flatnonzero(ends[:-1, 1] == ends[1:, 0])  # an incomplete list has gaps
    visible = regions.linear_labels[joined] != regions.linear_labels[joined + 1]
    own = np.ones(len(joined), bool)
    if layer is not None:
        own = regions.line_layer[1::2][joined] == layer
    size = float(np.clip(900 / max(1, len(joined)), 3, 26))
    legend: Legend = []
    where = "" if layer is None else f" of layer {layer}"
    kinds = ((visible, "seen in the output"), (~visible, "pattern only"))
    for k, (mask, label) in enumerate(kinds):
        at = joined[mask & own]
        if not len(at):
            continue
        many = f"{len(at):,} knot{'s' * (len(at) != 1)}{where}, {label}"
        if k == 1:
            axes.plot(
                ends[at, 1],
                np.full(len(at), 0.025),
                transform=axes.get_xaxis_transform(),
                ls="none",
                marker="o",
                ms=max(3.0, size**0.5),
                mfc=PAPER,
                mec=QUIET,
                mew=1.1,
                zorder=6,
                clip_on=False,
            )
            legend.append((dot(PAPER, QUIET), many))
            continue
        for o, shade in enumerate(curves):
            bends = (regions.J[at, o] != regions.J[at + 1, o]).any(axis=1)
            spots = at[bends] if bends.any() else at
            axes.scatter(
                ends[spots, 1], value[spots, 1, o], s=size, color=shade, ec=PAPER, lw=0.7, zorder=7
            )
        legend.append((dot(curves[0] if len(curves) == 1 else INK, PAPER), many))
    return legend


def _shade_classes(axes: Any, regions: RegionSet, ends: Floats, shown: NDArray[np.bool_]) -> Legend:
    """Bands in the colour of the largest output (with one output: of its sign)."""
    jacobian, offset = regions.J[:, :, 0], regions.c
    if offset.shape[1] == 1:
        jacobian, offset = (np.concatenate([0 * a, a], axis=1) for a in (jacobian, offset))
        names = ["output <= 0", "output > 0"]
    else:
        names = [f"class {i}" for i in range(offset.shape[1])]
    base = class_shades(np.arange(len(names)), 0.93, 0.045)
    bands: list[tuple[float, float, int]] = []
    for n in np.flatnonzero(shown).tolist():
        a, b = ends[n].tolist()
        slopes, heights = jacobian[n], offset[n]
        cuts = {a, b}
        for i in range(len(names)):
            for j in range(i):
                tilt = slopes[i] - slopes[j]
                x = (heights[j] - heights[i]) / tilt if tilt else a
                if a < x < b:
                    cuts.add(float(x))
        places = sorted(cuts)
        for p, q in pairwise(places):
            top = int(np.argmax(slopes * (p + q) / 2 + heights))
            if bands and bands[-1][2] == top and bands[-1][1] == p:
                bands[-1] = (bands[-1][0], q, top)
            else:
                bands.append((p, q, top))
    for p, q, top in bands:
        axes.axvspan(p, q, color=base[top], lw=0, zorder=1)
    return [(patch(base[i]), names[i]) for i in sorted({top for _, _, top in bands})[:12]]


# ----------------------------------------------------------------------------- title and legend


def caption_of(regions: RegionSet) -> str:
    """The counts in words, as under the picture."""
    counts = [(regions.count, "activation region"), (regions.linear_count, "linear region")]
    if regions.domain.dim == 1 and regions.complete:
        counts.append((regions.count - 1, "knot"))
    text = " · ".join(plural(count, noun) for count, noun in counts)
    return text if regions.complete else f"{text} (incomplete: {regions.reason})"


def _dress(axes: Any, regions: RegionSet, title: str | None, legend: Legend) -> None:
    if title is None:
        sizes = (regions.net.input_size, *regions.net.widths, regions.net.output_size)
        title = "-".join(map(str, sizes)) if len(sizes) < 12 else f"{len(sizes) - 2} hidden layers"
        where = regions.domain.describe()
        title += f" on {where if where.startswith('all') else 'the ' + where}"
    columns = min(4, len(legend))
    plane = regions.domain.dim == 2
    dress(axes, title, caption_of(regions), legend, columns=columns, framed=plane)
