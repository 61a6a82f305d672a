"""One HTML file about the results of `plverify certify`, which opens without a network.

Curves and partitions are SVG, images are PNG in the page, and a few lines of JavaScript
(``page.html``) sort the rows and show what the pointer is on.
"""

from __future__ import annotations

import base64
import json
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.certification import Certification, PointResult
from plverify.certification.results import Data, certification_of, read_file
from plverify.errors import InputError, MissingExtra
from plverify.io.archive import read_points
from plverify.network import Network, load
from plverify.proof import write_atomically
from plverify.report.partition_svg import Place, draw_partition

Floats = NDArray[np.float64]

MOST_IMAGES = 48
"""Rows with images; those with the smallest radius first."""
_LEAST_PIXELS = 49
"""Inputs below which points are not taken for images."""
_STEPS = 400
"""Most corners of a curve."""


@dataclass(frozen=True)
class Source:
    """What a report can be drawn from besides the rows.

    Attributes
    ----------
    net : Network or None
    X : (points, n) array or None
    image : (height, width, channels) or None
        The shape of an input, if it is an image.
    model, data : str
        Their names.
    """

    net: Network | None = None
    X: Floats | None = None
    image: tuple[int, int, int] | None = None
    model: str = ""
    data: str = ""


def write_report(
    results: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    points: Sequence[int] = (),
    image: Sequence[int] | None = None,
) -> str | None:
    """Write one HTML page about a file of results.

    Parameters
    ----------
    results : path
        Of `certify`.
    out : path
    model, data : path, optional
        The network and the points; by default where the file says. Without them there are no
        images and no partitions.
    points : sequence of int
        For networks of more than two inputs: the plane through each of these points and its nearest
        boundary is drawn; by default through the one that is nearest to another label.
    image : (height, width) or (height, width, channels), optional
        The shape of an input, if it is an image and does not look like one.

    Returns
    -------
    str or None
        What is missing, in words, if model or data are not there.

    Raises
    ------
    InputError
        On a file that holds no results, a model or data that are not those of the results, a point
        without a row, or a page that cannot be written.
    MissingExtra
        If jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise MissingExtra("jinja2", "reports", "plot") from None
    head, rows = read_file(os.fspath(results))
    if head is None:
        raise InputError(f"{os.fspath(results)}: no results")
    found = certification_of(head, rows)
    source, absent = _source(head, model, data, image)
    places = _places(found, head, source, points)
    write_atomically(out, _page(found, head, source, places).encode())
    return absent


def _source(
    head: dict[str, Any],
    model: str | os.PathLike[str] | None,
    data: str | os.PathLike[str] | None,
    image: Sequence[int] | None,
) -> tuple[Source, str | None]:
    """The network and the points, or what is missing."""
    paths = {"model": model, "data": data}
    found = {key: os.fspath(path or head[key] or "") for key, path in paths.items()}
    names = {key: os.path.basename(path) for key, path in found.items()}
    for key, path in found.items():
        if os.path.isfile(path):
            continue
        if paths[key] is not None:
            raise InputError(f"{path}: no such file")
        return Source(
            model=names["model"], data=names["data"]
        ), f"the {key} is not where it was, give --{key}"
    net = load(found["model"])
    if net.digest != head["network"]:
        raise InputError(f"{found['model']} is not the network of the results")
    X, y = read_points(found["data"])
    X, y = X[: head["points"]], None if y is None else y[: head["points"]]
    if Data.of(net, X, y).sha256 != head["data_sha256"]:
        raise InputError(f"{found['data']} does not hold the points of the results")
    shape = image_shape(net.input_size, X.shape[1:] if X.ndim > 2 else net.input_shape)
    if image is not None:
        sides = [*image, 1, 1][:3] if len(image) in (2, 3) else [0]
        if math.prod(sides) != net.input_size:
            raise InputError(f"an image of shape {tuple(image)} has not {net.input_size} pixels")
        shape = (sides[0], sides[1], sides[2])
    return Source(net, np.asarray(X, np.float64).reshape(len(X), -1), shape, **names), None


def _page(
    found: Certification, head: dict[str, Any], source: Source, places: Sequence[Place]
) -> str:
    """The text of the page."""
    from jinja2 import Environment, StrictUndefined

    text = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    return template.render(
        title=f"{source.model or 'A network'} on {source.data or 'a data set'}",
        version=import_module("plverify").__version__,
        facts=_facts(found, head, source),
        tiles=_tiles(found),
        curve=_curve(found),
        histogram=_histogram(found),
        rows=[_row(row) for row in sorted(found.rows, key=lambda row: row.index)],
        images=_images(found, head, source),
        pictures=[draw_partition(place) for place in places],
    )


# ----------------------------------------------------------------------------------- numbers


def number(value: float | None, digits: int = 6) -> str:
    """A number for people; a dash for none, the sign for infinity."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:.{digits}g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _facts(found: Certification, head: dict[str, Any], source: Source) -> list[tuple[str, str]]:
    domain = "anywhere"
    if head["domain"] is not None:
        lo, hi = head["domain"]
        pairs = sorted(set(zip(lo, hi, strict=False)))
        domain = f"[{pairs[0][0]}, {pairs[0][1]}]" if len(pairs) == 1 else f"a box in R^{len(lo)}"
    inner = "" if source.net is None else f", {source.net!r}"[1:].replace("<", "").replace(">", "")
    return [
        ("network", f"{source.model or head['model'] or 'unnamed'}{inner and ',' + inner}"),
        ("network SHA-256", head["network"]),
        ("data", source.data or head["data"] or "unnamed"),
        ("data SHA-256", head["data_sha256"]),
        ("points", f"{len(found.rows)} of {found.points}"),
        ("asked", f"{found.norm} distance {head['eps']} = {number(float(found.eps))}"),
        ("inputs may lie", domain),
    ]


def _tiles(found: Certification) -> list[tuple[str, str, str]]:
    radii = sorted(r for r in found.radii if math.isfinite(r))
    unknown = sum(row.robust is None for row in found.rows)
    tiles = [
        ("accuracy", _percent(found.accuracy), "predicted as labelled"),
        ("certified", _percent(found.certified), f"robust at {number(float(found.eps))}, proven"),
        ("at most", _percent(found.at_most), f"{unknown} unknown"),
    ]
    if radii:
        middle = radii[len(radii) // 2]
        tiles.append(("median radius", number(middle, 4), f"of {len(radii)} known exactly"))
    return tiles


def _row(row: PointResult) -> dict[str, Any]:
    answer = {True: "yes", False: "no", None: row.status}[row.robust]
    return {
        "index": row.index,
        "label": row.label,
        "prediction": row.prediction,
        "robust": answer,
        "lower": number(row.lower, 8),
        "upper": number(row.upper, 8),
        "exact": row.exact,
        "adversarial_label": "–" if row.adversarial_label is None else row.adversarial_label,
        "adversarial_norm": number(row.adversarial_norm, 8),
        "nodes": row.nodes,
        "seconds": number(row.seconds, 3),
        "proof": (row.proof_sha256 or "–")[:12],
        "sort": [row.lower, row.upper if math.isfinite(row.upper) else 1e308],
    }


# ------------------------------------------------------------------------------------ curves

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 46, 34, 12


@dataclass(frozen=True)
class _Axes:
    """A frame from (0, 0) to (right, top) of values."""

    right: float
    top: float

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 12) * value / self.right, 2)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / self.top, 2)

    def ticks(self, values: Sequence[float], across: bool) -> list[tuple[float, str]]:
        place = self.x if across else self.y
        return [(place(v), f"{v:.6g}") for v in values]


def _curve(found: Certification) -> dict[str, Any]:
    """Certified accuracy against the distance, and its upper bound, as steps."""
    marks = [line[0] for line in found.table()]
    axes = _Axes(marks[-1], 1.0)
    own = [r for row in found.rows for r in (row.lower, row.upper)]
    inner = sorted({r for r in own if 0 < r < marks[-1]} | {float(found.eps)})
    if len(inner) > _STEPS:
        inner = list(np.linspace(0, marks[-1], _STEPS))
    at = sorted({0.0, *inner, marks[-1]})
    low, high = found.curve(at)

    def steps(values: Sequence[float]) -> str:
        # A share holds from its radius on: level, then down.
        path = [f"M{axes.x(at[0])},{axes.y(values[0])}"]
        for r, v in zip(at[1:], values[1:], strict=True):
            path.append(f"H{axes.x(r)}V{axes.y(v)}")
        return "".join(path)

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "base": HEIGHT - BOTTOM,
        "low": steps(low),
        "high": steps(high),
        "eps": axes.x(float(found.eps)) if float(found.eps) <= marks[-1] else None,
        "xticks": axes.ticks(marks, True),
        "yticks": [(axes.y(v), f"{100 * v:.0f} %") for v in (0, 0.25, 0.5, 0.75, 1)],
        "data": json.dumps({"x": [axes.x(r) for r in at], "r": at, "low": low, "high": high}),
        "table": [(number(r), _percent(a), _percent(b)) for r, a, b in found.table()],
    }


def _histogram(found: Certification) -> dict[str, Any] | None:
    """How many exact radii lie in which interval."""
    if not [r for r in found.radii if math.isfinite(r)]:
        return None
    ends, counts = found.histogram()
    axes = _Axes(ends[-1], max([*counts, 1]))
    bars = [
        {
            "x": axes.x(a) + 1,
            "y": axes.y(n),
            "w": round(axes.x(b) - axes.x(a) - 2, 2),
            "h": round(axes.y(0) - axes.y(n), 2),
            "text": f"{a:.6g} to {b:.6g}: {n}",
        }
        for a, b, n in zip(ends, ends[1:], counts, strict=False)
    ]
    levels = sorted({0, (max(counts) + 1) // 2, max(counts)})
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "base": HEIGHT - BOTTOM,
        "bars": bars,
        "xticks": axes.ticks(ends[:: max(1, len(ends) // 8)], True),
        "yticks": axes.ticks(levels, False),
    }


# ------------------------------------------------------------------------------------- images


def image_shape(inputs: int, shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(height, width, channels) of an input that looks like an image; None if none does.

    >>> image_shape(64, (1, 64)), image_shape(3072, (1, 3, 32, 32)), image_shape(5, (1, 5))
    ((8, 8, 1), (32, 32, 3), None)
    """
    sides = [s for s in shape if s > 1]
    if len(sides) == 3 and sides[0] == 3:
        return sides[1], sides[2], 3
    if len(sides) == 2 and math.prod(sides) == inputs:
        return sides[0], sides[1], 1
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if inputs >= _LEAST_PIXELS and channels * side * side == inputs:
            return side, side, channels
    return None


def _images(found: Certification, head: dict[str, Any], source: Source) -> list[dict[str, Any]]:
    """Clean, perturbed and difference of the points that are nearest to another label."""
    if source.X is None or source.image is None:
        return []
    some = [row for row in found.rows if row.adversarial is not None and row.correct]
    some.sort(key=lambda row: row.upper)
    lo, hi = float(source.X.min()), float(source.X.max())
    if head["domain"] is not None and all(len(side) == 1 for side in head["domain"]):
        ends = [float(_ratio(side[0])) for side in head["domain"]]
        if all(map(math.isfinite, ends)):
            lo, hi = ends
    out = []
    for row in some[:MOST_IMAGES]:
        clean, other = source.X[row.index], np.array(row.adversarial)
        change = other - clean
        size = float(np.abs(change).max()) or 1.0
        out.append(
            {
                "index": row.index,
                "label": row.label,
                "other": row.adversarial_label,
                "norm": number(row.adversarial_norm, 4),
                "clean": _picture((clean - lo) / (hi - lo or 1.0), source.image),
                "perturbed": _picture((other - lo) / (hi - lo or 1.0), source.image),
                "change": _picture(_diverging(change / size, source.image[2]), source.image, True),
                "size": number(size, 3),
            }
        )
    return out


def _ratio(text: str) -> float:
    num, _, den = text.partition("/")
    return float(num) / float(den or "1")


def _diverging(change: Floats, channels: int) -> Floats:
    """(pixels, 3) colours of numbers in [-1, 1]: blue, white, red."""
    mean = change.reshape(channels, -1).mean(axis=0) if channels > 1 else change
    strong = np.abs(mean)[:, None]
    warm, cold = np.array([0.73, 0.10, 0.16]), np.array([0.10, 0.31, 0.65])
    return 1 - strong * (1 - np.where(mean[:, None] > 0, warm, cold))


def _picture(values: Floats, shape: tuple[int, int, int], color: bool = False) -> str:
    """A PNG as a data URI; pixels in [0, 1], channels first, or (pixels, 3) where ``color``."""
    height, width, channels = shape
    table = values if color else values.reshape(channels, -1).T
    pixels = np.clip(np.round(255 * table), 0, 255).astype(np.uint8)
    lines = pixels.reshape(height, -1)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)
    kind = 2 if color or channels == 3 else 0
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


# -------------------------------------------------------------------------------------- places


def _places(
    found: Certification, head: dict[str, Any], source: Source, chosen: Sequence[int]
) -> list[Place]:
    """What to draw the partition of: the input plane, or planes through points.

    A plane goes through a point, the boundary nearest to it, and the next point of another label.

    Raises
    ------
    InputError
        If a chosen point has no row, or no other label is known for it.
    """
    if source.net is None or source.X is None:
        return []
    rows = {row.index: row for row in found.rows}
    for index in chosen:
        if index not in rows:
            raise InputError(f"point {index} has no row")
    if source.net.input_size == 2:
        return [Place.of_plane(source.net, source.X, found, head["domain"])]
    some = [rows[index] for index in chosen]
    if not some:
        known = [row for row in found.rows if row.correct and row.witness is not None]
        some = sorted(known, key=lambda row: row.upper)[:1]
    places = []
    for row in some:
        place = Place.through(source.net, source.X, found, row)
        if place is None:
            raise InputError(f"point {row.index} has no known boundary to draw a plane to")
        places.append(place)
    return places
