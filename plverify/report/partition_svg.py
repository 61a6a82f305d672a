"""The partition of a plane into activation regions as SVG, with points and certified balls.

Every region carries its pattern and affine map as text, which the page shows under the pointer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.boundary import DecisionBoundary, decision_boundary
from plverify.certification import Certification, PointResult
from plverify.domain import Box, Domain, Slice
from plverify.errors import InputError
from plverify.network import Network
from plverify.partition import RegionSet, regions
from plverify.report.palette import class_shades, map_colors

Floats = NDArray[np.float64]

SIDE = 640
"""Width of a picture in pixels."""
MOST_REGIONS = 30_000
_SECONDS = 60.0
_ANGLES = 720
_MARGIN = 1.35
"""How much farther than the nearest boundary a plane through a point reaches."""


@dataclass(frozen=True)
class Mark:
    """A point of the plane, its ball and the nearest boundary.

    Attributes
    ----------
    index, label : int
    at : (x, y)
    ball : list of (x, y)
        The outline of the ball on which the label is proven, cut by the plane; empty if none is.
    witness : (x, y) or None
    """

    index: int
    label: int
    at: tuple[float, float]
    ball: list[tuple[float, float]]
    witness: tuple[float, float] | None


@dataclass(frozen=True)
class Place:
    """A plane to draw: its regions' domain and what lies on it."""

    net: Network
    domain: Domain
    frame: tuple[float, float, float, float]
    title: str
    marks: tuple[Mark, ...]

    @staticmethod
    def of_plane(
        net: Network, X: Floats, found: Certification, sides: Sequence[Sequence[str]] | None
    ) -> Place:
        """The input plane of a network of two inputs, as far as the domain or the points reach."""
        lo, hi = X.min(axis=0), X.max(axis=0)
        reach = max([r.lower for r in found.rows if math.isfinite(r.lower)] + [0.0])
        low, high = (lo - reach - 0.05 * (hi - lo), hi + reach + 0.05 * (hi - lo))
        if sides is not None:
            ends = [np.array([_number(v) for v in side]) * np.ones(2) for side in sides]
            low = np.where(np.isfinite(ends[0]), ends[0], low)
            high = np.where(np.isfinite(ends[1]), ends[1], high)
        marks = []
        for row in found.rows:
            x = X[row.index]
            ball = _outline(np.eye(2), found.norm, row.lower if row.correct else 0.0)
            near = None if row.witness is None else tuple(float(v) for v in row.witness)
            marks.append(
                Mark(
                    row.index,
                    row.label,
                    (float(x[0]), float(x[1])),
                    [(float(x[0] + a), float(x[1] + b)) for a, b in ball],
                    near,  # type: ignore[arg-type]
                )
            )
        frame = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
        box = Box([Fraction(v) for v in low.tolist()], [Fraction(v) for v in high.tolist()])
        return Place(net, box, frame, "The input plane", tuple(marks))

    @staticmethod
    def through(net: Network, X: Floats, found: Certification, row: PointResult) -> Place | None:
        """The plane through a point, its nearest boundary, and the closest other point."""
        if row.witness is None:
            return None
        x = X[row.index]
        first = np.array([float(v) for v in row.witness]) - x
        length = float(np.linalg.norm(first))
        if not length > 0:
            return None
        u = first / length
        others = [r for r in found.rows if r.index != row.index and r.label != row.label]
        others = others or [r for r in found.rows if r.index != row.index]
        gaps = [X[r.index] - x for r in others]
        v = min(gaps, key=lambda g: float(np.linalg.norm(g))) if gaps else np.roll(u, 1)
        v = v - (v @ u) * u
        if not float(np.linalg.norm(v)) > 1e-9:
            v = np.roll(u, 1) - (np.roll(u, 1) @ u) * u
        v = v / float(np.linalg.norm(v))
        basis = np.stack([u, v], axis=1)
        reach = _MARGIN * length * 1.5
        ball = _outline(basis, found.norm, row.lower)
        reach = max([reach, *(1.1 * abs(c) for p in ball for c in p)])
        mark = Mark(row.index, row.label, (0.0, 0.0), ball, (length, 0.0))
        domain = Slice(x, basis, Box(-reach, reach, 2))
        title = f"The plane through point {row.index} and its nearest boundary"
        return Place(net, domain, (-reach, reach, -reach, reach), title, (mark,))


def _number(text: str) -> float:
    num, _, den = text.partition("/")
    return float(num) / float(den or "1")


def _outline(basis: Floats, norm: str, radius: float) -> list[tuple[float, float]]:
    """The ball of a radius, cut by a plane through its centre: corners in the plane."""
    if not 0 < radius < math.inf:
        return []
    angles = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    ways = np.stack([np.cos(angles), np.sin(angles)])
    moved = basis @ ways
    size = {
        "linf": np.abs(moved).max(axis=0),
        "l1": np.abs(moved).sum(axis=0),
        "l2": np.linalg.norm(moved, axis=0),
    }[norm]
    return [(float(a), float(b)) for a, b in (radius * ways / size).T]


def draw_partition(place: Place) -> dict[str, Any]:
    """What the page needs of a plane: polygons, their texts, marks, the decision boundary.

    Raises
    ------
    InputError
        If there are too many regions to draw.
    """
    found = regions(place.net, place.domain, timeout=_SECONDS)
    assert isinstance(found, RegionSet)  # in two dimensions
    if found.count > MOST_REGIONS:
        raise InputError(f"{found.count} regions are too many for a report")
    x0, x1, y0, y1 = place.frame
    height = SIDE * (y1 - y0) / (x1 - x0)

    def at(p: Sequence[float]) -> str:
        return f"{SIDE * (p[0] - x0) / (x1 - x0):.2f},{height * (y1 - p[1]) / (y1 - y0):.2f}"

    colors = map_colors(found)
    polygons = []
    for k in range(found.count):
        first, last = found.vertex_start[k : k + 2]
        corners = " ".join(at(p) for p in found.vertices[first:last].tolist())
        polygons.append({"points": corners, "fill": _hex(colors[k])})
    lines = decision_boundary(place.net, place.domain, timeout=_SECONDS)
    assert isinstance(lines, DecisionBoundary)
    marks = []
    for mark in place.marks:
        marks.append(
            {
                "index": mark.index,
                "at": at(mark.at).split(","),
                "color": _hex(class_shades([mark.label], 0.5, 0.15)[0]),
                "ball": " ".join(map(at, mark.ball)),
                "witness": None if mark.witness is None else at(mark.witness).split(","),
                "text": f"point {mark.index}, label {mark.label}",
            }
        )
    return {
        "title": place.title,
        "width": SIDE,
        "height": round(height, 2),
        "count": found.count,
        "polygons": polygons,
        "texts": json.dumps(_texts(found)),
        "boundary": [" ".join(map(at, line.tolist())) for line in lines.polylines],
        "marks": marks,
        "coordinates": "inputs" if found.domain.ambient == 2 else "coordinates of the plane",
        "frame": [f"{v:.4g}" for v in place.frame],
    }


def _texts(found: RegionSet) -> list[list[Any]]:
    """Per region its pattern, layer after layer, and its affine map."""
    widths = found.net.widths
    J, c, patterns = found.J, found.c, found.patterns
    out = []
    for k in range(found.count):
        layers, start = [], 0
        for width in widths:
            layers.append("".join(str(int(v)) for v in patterns[k][start : start + width]))
            start += width
        rows = [[float(f"{v:.5g}") for v in row] for row in J[k].tolist()]
        out.append(["|".join(layers), rows, [float(f"{v:.5g}") for v in c[k].tolist()]])
    return out


def _hex(color: Floats) -> str:
    red, green, blue = (round(255 * float(v)) for v in color)
    return f"#{red:02x}{green:02x}{blue:02x}"
