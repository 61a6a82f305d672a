"""The decision boundary in three dimensions, as an exact watertight mesh.

A maximum over the outputs, appended as one more layer, cuts every activation region into the parts
on which one output is largest (`plverify.compose.with_maximum`). These *cells* meet face to face,
as activation regions do, and the boundary is made of all facets between cells of different labels:
no polygon needs to be cut here. What is left are ties without a change of label, which only
degenerate networks have; floating point sets aside cells that are clear of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plverify.compose import with_maximum
from plverify.domain import Domain
from plverify.mesh import (
    Mesh,
    Points,
    Polygon,
    Surface,
    domain_corners,
    magnitude,
    ordered,
    value_ranges,
)
from plverify.network import Network
from plverify.partition import RegionSet, regions_with_vertices
from plverify.question import Progress
from plverify.region import Point, Region
from plverify.result import Result, Status

Array = NDArray[Any]
Face = frozenset[Point]


class Sheet(NamedTuple):
    """A flat convex polygon of a decision boundary: a facet between two cells.

    Attributes
    ----------
    i, j : int
        The labels on its two sides, ``i < j``.
    vertices : tuple of int
        Numbers in `DecisionMesh.exact`, counter-clockwise about ``normal``, the lexicographically
        smallest point first. No three of them lie on a line.
    normal : tuple of Fraction
        Points to the side of ``i``: the gradient of ``f_i - f_j`` on the cell of label ``j``.
    cells : (int, int)
        The numbers of the cells of labels ``i`` and ``j`` in `DecisionMesh.cells`.
    """

    i: int
    j: int
    vertices: tuple[int, ...]
    normal: Point
    cells: tuple[int, int]


@dataclass(frozen=True)
class DecisionMesh(Surface, Result):
    """Where the label changes in three dimensions: a triangle mesh with exact vertices.

    The label is the number of the largest output; where several are equal on an open set, the first
    of them. A network of one output has the label 0 where that is positive, or zero on an open set,
    and 1 where it is negative.

    The mesh is made of whole facets that share their vertices: it has no crack and no T-junction.
    Inside the domain every edge is used by two triangles or more, by three where three labels meet;
    such edges are no manifold, and should not be. `solid` is the boundary of the set with one
    label: there every edge inside the domain is used as often in one direction as in the other.

    Attributes
    ----------
    exact : tuple of points
        The vertices, all different, as Fractions, in domain coordinates.
    polygons : tuple of Sheet
        Before triangulation.
    thin : tuple of tuples of points
        What else there is of the points at which two outputs tie for the maximum: polygons,
        segments and points where they touch and the label is the same on both sides, or that lie
        on the boundary of the domain.
    open_cells : tuple of int
        Numbers in `cells` of the cells on all of which two outputs or more are largest.
    complete : bool
    status : Status
    """

    exact: Points = field(repr=False)
    polygons: tuple[Sheet, ...] = field(repr=False)
    thin: tuple[Points, ...]
    open_cells: tuple[int, ...]
    complete: bool
    status: Status
    _cells: RegionSet = field(repr=False, compare=False)
    _name = "decision boundary"

    @property
    def cells(self) -> RegionSet:
        """The activation regions, cut along the decision boundary; see `labels`."""
        return self._cells

    @property
    def labels(self) -> NDArray[np.int64]:
        """(cells,) int array: the label of every cell."""
        return self._cells.patterns[:, -1].astype(np.int64)

    @property
    def _labels(self) -> list[tuple[int, int]]:
        return [(p.i, p.j) for p in self.polygons for _ in p.vertices[2:]]

    def solid(self, label: int) -> Mesh:
        """The boundary of the set with one label, oriented into it, without the domain's sides.

        The level set of what the label's output has over the largest other one, at 0, as in
        `plverify.mesh.level_set`.
        """
        polygons = []
        for sheet in self.polygons:
            if sheet.i == label:
                polygons.append(Polygon(sheet.cells[0], sheet.vertices, sheet.normal, 1))
            elif sheet.j == label:
                first, *rest = sheet.vertices
                normal = tuple(-v for v in sheet.normal)
                polygons.append(Polygon(sheet.cells[1], (first, *rest[::-1]), normal, 1))
        used = sorted({i for polygon in polygons for i in polygon.vertices})
        number = {old: new for new, old in enumerate(used)}
        moved = tuple(p._replace(vertices=tuple(number[i] for i in p.vertices)) for p in polygons)
        exact = tuple(self.exact[i] for i in used)
        return Mesh(exact, moved, (), (), self.complete, self.status, self._cells)


def decision_mesh(
    net: Network,
    domain: Domain,
    *,
    threads: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> DecisionMesh:
    """`plverify.decision_boundary` of two outputs or more in three dimensions.

    Raises
    ------
    InputError
        If the domain is unbounded, and as `plverify.count_regions`.

    Notes
    -----
    About half a millisecond is spent on every polygon.

    >>> from plverify.domain import Box
    >>> net = Network.from_arrays([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]])  # the largest coordinate
    >>> mesh = decision_mesh(net, Box(0, 1, 3))
    >>> sorted((sheet.i, sheet.j, len(sheet.vertices)) for sheet in mesh.polygons)
    [(0, 1, 3), (0, 2, 3), (1, 2, 3)]
    """
    start = time.monotonic()
    corners = domain_corners(domain)
    cells = regions_with_vertices(
        with_maximum(net), domain, threads=threads, timeout=timeout, progress=progress
    )
    build = _Builder(cells)
    status = cells.status
    try:
        for step in build.steps(corners):
            if timeout is not None and time.monotonic() - start > timeout:
                status = Status.TIMEOUT
                break
            step()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    exact, polygons, thin, open_cells = build.result()
    complete = status is Status.COMPLETE
    return DecisionMesh(exact, polygons, thin, open_cells, complete, status, cells)


class _Builder:
    """The boundary so far; vertices are shared by their coordinates."""

    def __init__(self, cells: RegionSet) -> None:
        self.cells = cells
        self.labels: list[int] = cells.patterns[:, -1].tolist()
        self._number: dict[Point, int] = {}
        self._sheets: list[Sheet] = []
        self._ties: dict[Face, None] = {}
        self._open: dict[int, None] = {}

    def steps(self, corners: Sequence[Point]) -> Iterator[Any]:
        """The work, piece by piece: first the facets between labels, then ties that may be left."""
        start = self.cells.facet_start
        owner = np.repeat(np.arange(self.cells.count), np.diff(start))
        across = self.cells.neighbour_index
        label = np.array([*self.labels, -1])  # the last one for no neighbour
        seen = (across >= 0) & (label[owner] > label[across])
        served = {(int(owner[f]), int(label[across[f]])) for f in np.flatnonzero(seen)}
        for f in np.flatnonzero(seen).tolist():
            cell = int(owner[f])
            yield lambda cell=cell, f=f: self.add(cell, f - int(start[cell]), int(across[f]))
        for cell, other in self._undecided(corners):
            if (cell, other) not in served:
                yield lambda cell=cell, other=other: self.tie(cell, other)

    def add(self, cell: int, facet: int, beyond: int) -> None:
        """Add the facet of a cell towards one of a smaller label."""
        region: Region = self.cells[cell]
        i, j = self.labels[beyond], self.labels[cell]
        normal = self._lead(region, i, j)[:-1]
        points = [region.exact_vertices[k].p for k in region.incidence[facet]]
        corners = tuple(
            self._number.setdefault(p, len(self._number)) for p in ordered(points, normal)
        )
        self._sheets.append(Sheet(i, j, corners, normal, (beyond, cell)))

    def tie(self, cell: int, other: int) -> None:
        """Note where an output equals the largest one on a cell: on a face of it, or nowhere."""
        region: Region = self.cells[cell]
        *gradient, offset = self._lead(region, self.labels[cell], other)
        points = [vertex.p for vertex in region.exact_vertices]
        face = [
            p for p in points if not sum((a * v for a, v in zip(gradient, p, strict=True)), offset)
        ]
        if len(face) == len(points):
            self._open[cell] = None
        elif face:
            self._ties[frozenset(face)] = None

    def _lead(self, region: Region, i: int, j: int) -> Point:
        """``f_i - f_j`` on a cell, up to a positive factor: gradient and offset."""
        exact = self.cells.net.exact_net
        row, _ = exact.unit_row(
            len(exact.unit_nodes), i, region.pattern.tolist(), self.cells.domain.slice_map(), j
        )
        return tuple(map(Fraction, row))

    def _undecided(self, corners: Sequence[Point]) -> list[tuple[int, int]]:
        """Cells, and outputs that may equal the largest one somewhere on them."""
        cells, count = self.cells, self.cells.count
        if not count:
            return []
        out: list[tuple[int, int]] = []
        label, each = np.array(self.labels), np.arange(count)
        with np.errstate(all="ignore"):
            sizes = magnitude(cells, corners)
        for j in range(cells.net.output_size - 1):  # the last one is the maximum
            with np.errstate(all="ignore"):
                gradient = cells.J[each, label] - cells.J[:, j]
                offset = cells.c[each, label] - cells.c[:, j]
                size = sizes[label] + sizes[j]
            least, _, margin = value_ranges(cells, gradient, offset, size, corners)
            near = np.flatnonzero(~(least > margin) & (label != j))
            out += [(k, j) for k in near.tolist()]
        return sorted(out)

    def result(self) -> tuple[Points, tuple[Sheet, ...], tuple[Points, ...], tuple[int, ...]]:
        """Vertices, polygons, thin parts and open cells."""
        points = tuple(self._number)
        known: list[Face] = [frozenset(points[i] for i in sheet.vertices) for sheet in self._sheets]
        known += [frozenset(v.p for v in self.cells[k].exact_vertices) for k in self._open]
        # A tie is a face of a cell: it lies in another part if and only if its vertices do.
        around: dict[Point, list[Face]] = {}

        def enter(face: Face) -> None:
            for point in face:
                around.setdefault(point, []).append(face)

        for face in known:
            enter(face)
        thin = []
        for face in sorted(self._ties, key=len, reverse=True):
            if not any(face <= other for other in around.get(next(iter(face)), ())):
                enter(face)
                thin.append(tuple(sorted(face)))
        return points, tuple(self._sheets), tuple(thin), tuple(sorted(self._open))
