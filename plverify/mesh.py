"""Level sets of a network on a bounded domain of three dimensions, as exact watertight meshes.

On every activation region the function is affine, so its level set there is one flat convex
polygon. The regions meet face to face; so do the polygons, whose corners are shared by their exact
coordinates. Which regions are crossed, where, and in which order the corners of a polygon follow
one another is decided in fractions; floating point only sets aside regions that are clear.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, cmp_to_key
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify import proof
from plverify.domain import Domain, Slice
from plverify.errors import InputError
from plverify.exact_array import ExactArray, exact_number
from plverify.network import Network
from plverify.nodes import Max, Units
from plverify.partition import RegionSet, regions_with_vertices
from plverify.question import as_domain
from plverify.region import Point, Region
from plverify.result import Result, Status, rounded

Array = NDArray[Any]
Points: TypeAlias = tuple[Point, ...]
Weights: TypeAlias = dict[int, Fraction]
"""Outputs with their coefficients, none of which is zero."""


class Polygon(NamedTuple):
    """A flat convex polygon of a level set: what one region has of it.

    Attributes
    ----------
    region : int
        The region's number in `Mesh.regions`.
    vertices : tuple of int
        Numbers in `Mesh.exact`, counter-clockwise about ``normal``, the lexicographically smallest
        point first. No three of them lie on a line.
    normal : tuple of Fraction
        The function's gradient on the region.
    side : int
        0 where the polygon cuts the region in two; else it is a facet of the region, in which the
        function is above the level (1) or below (-1).
    """

    region: int
    vertices: tuple[int, ...]
    normal: Point
    side: int


class Surface:
    """Flat convex polygons on exact points that they share, and their triangles.

    Attributes
    ----------
    exact : tuple of points
        The vertices, all different, as Fractions.
    polygons : sequence of objects with ``vertices``
        Numbers in `exact`, counter-clockwise.
    complete : bool
    status : Status
    """

    exact: Points
    polygons: Sequence[Any]
    complete: bool
    status: Status
    _name = "surface"

    @cached_property
    def vertices(self) -> NDArray[np.float64]:
        """(k, 3) float64 array: `exact`, every coordinate correctly rounded."""
        table = [[rounded(v) for v in point] for point in self.exact]
        return np.array(table, dtype=np.float64).reshape(-1, 3)

    @cached_property
    def triangles(self) -> NDArray[np.int64]:
        """(m, 3) array of vertex numbers: the polygons, each as a fan from its first vertex."""
        fans = [
            (polygon.vertices[0], *polygon.vertices[k : k + 2])
            for polygon in self.polygons
            for k in range(1, len(polygon.vertices) - 1)
        ]
        return np.array(fans, dtype=np.int64).reshape(-1, 3)

    @property
    def _labels(self) -> list[tuple[int, int]]:
        """Two labels of each triangle, for files; empty if they have none."""
        return []

    @cached_property
    def _edges(self) -> tuple[Array, Array, Array]:
        """Directed edges of the triangles, per edge its undirected number, and their senses."""
        edges = self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        low, high = edges.min(axis=1), edges.max(axis=1)
        _, number = np.unique(low * len(self.exact) + high, return_inverse=True)
        return edges, number.reshape(-1), np.where(edges[:, 0] == low, 1, -1)

    @property
    def boundary_edges(self) -> NDArray[np.int64]:
        """(e, 2) array: the edges used by one triangle only, in its direction.

        Of a complete mesh they lie on the boundary of the domain, all of them.
        """
        edges, number, _ = self._edges
        alone: NDArray[np.int64] = edges[np.bincount(number)[number] == 1]
        return alone

    @property
    def closed(self) -> bool:
        """Whether all edges are used as often in one direction as in the other.

        A closed mesh is the oriented boundary of a solid (the divergence theorem holds for it).
        """
        _, number, senses = self._edges
        return not np.bincount(number, weights=senses).any()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vertices (as float64, to the last digit) and triangles to ``.obj`` or ``.ply``.

        Raises
        ------
        InputError
            On another suffix, a vertex beyond float64, or if the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in (".obj", ".ply"):
            raise InputError(f"cannot write {path}: a mesh is saved as .obj or .ply")
        if not np.isfinite(self.vertices).all():
            raise InputError(f"cannot write {path}: a vertex lies beyond the range of float64")
        text = self._obj() if suffix == ".obj" else self._ply()
        proof.write_atomically(path, text.encode())

    def _note(self) -> str:
        left = "" if self.complete else f", incomplete ({self.status})"
        size = f"{len(self.exact)} vertices, {len(self.triangles)} triangles"
        return f"plverify {self._name}: {size}{left}"

    def _obj(self) -> str:
        lines = [f"# {self._note()}"]
        lines += [f"v {x!r} {y!r} {z!r}" for x, y, z in self.vertices.tolist()]
        last = None
        for labels, (a, b, c) in zip_longest(self._labels, (self.triangles + 1).tolist()):
            if labels != last:
                lines.append("g labels_{}_{}".format(*labels))
                last = labels
            lines.append(f"f {a} {b} {c}")
        return "\n".join(lines) + "\n"

    def _ply(self) -> str:
        lines = ["ply", "format ascii 1.0", f"comment {self._note()}"]
        lines += [f"element vertex {len(self.exact)}"]
        lines += [f"property double {axis}" for axis in "xyz"]
        lines += [f"element face {len(self.triangles)}"]
        lines += ["property list uchar int vertex_indices"]
        lines += ["property int label_i", "property int label_j"] if self._labels else []
        lines += ["end_header"]
        lines += [f"{x!r} {y!r} {z!r}" for x, y, z in self.vertices.tolist()]
        for labels, corners in zip_longest(self._labels, self.triangles.tolist()):
            lines.append(" ".join(map(str, (3, *corners, *(labels or ())))))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Mesh(Surface, Result):
    """A level set as a triangle mesh with exact vertices, in domain coordinates.

    Every triangle is oriented: its normal points to where the function increases. The polygons are

    - the section of every region in which the function takes values on both sides of the level;
    - every facet on which the function equals the level between a region above and one below,
      once, as a facet of the region above;
    - every such facet between a region above or below and an open region, or on the boundary of
      the domain, once;
    - every such facet between two regions above, or two below, where the function touches the
      level and does not cross it: twice, once from either region, in opposite orientations.

    Hence every edge inside the domain is used by two triangles or more, as often in one direction
    as in the other; the one exception are edges at which a region above, one below and an open
    region meet, where the sheet splits in two (polygons with ``side >= 0`` alone, which bound the
    set above the level, are balanced there too).

    Attributes
    ----------
    exact : tuple of points
        The vertices, all different, as Fractions.
    polygons : tuple of Polygon
        Before triangulation, by region.
    thin : tuple of tuples of points
        Segments (two points) and single points of the level set that are not on the mesh: where
        the function touches the level without crossing it.
    open_regions : tuple of int
        Numbers in `regions` of the regions on all of which the function equals the level. The level
        set is the union of the mesh, these regions and the thin parts.
    complete : bool
    status : Status
    """

    exact: Points = field(repr=False)
    polygons: tuple[Polygon, ...] = field(repr=False)
    thin: tuple[Points, ...]
    open_regions: tuple[int, ...]
    complete: bool
    status: Status
    _regions: RegionSet = field(repr=False, compare=False)
    _name = "level set"

    @property
    def regions(self) -> RegionSet:
        """The activation regions of the domain."""
        return self._regions


def level_set(
    net: Network,
    domain: Domain,
    output: Any = 0,
    level: Any = 0,
    *,
    threads: int = 1,
    timeout: float | None = None,
) -> Mesh:
    """The exact level set of an output on a bounded domain of three dimensions, as a mesh.

    Parameters
    ----------
    net : Network
    domain : Box, Polytope or Slice of three dimensions, bounded
    output : int or (outputs,) exact numbers
        The number ``i`` of an output, or coefficients ``c``: the function is ``f_i`` or ``c . f``.
        Between the labels of two outputs lies the level set of ``c = (1, -1)`` at 0.
    level : exact number
    threads : int
        Of the enumeration of the regions. The mesh is the same, numbered in another order.
    timeout : float, optional
        Seconds of wall time; the mesh so far is returned then, with ``complete`` False.

    Raises
    ------
    InputError
        If the domain has no interior, is unbounded or not three-dimensional, if there is no such
        output, or on numbers that are none.

    Notes
    -----
    About a millisecond is spent on every region that the level set meets.

    >>> from plverify.domain import Box
    >>> rows = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    >>> net = Network.from_arrays([rows, [[1] * 6]])               # |x| + |y| + |z|
    >>> octahedron = level_set(net, Box(-2, 2, 3), level=1)
    >>> octahedron.vertices.shape, octahedron.triangles.shape, octahedron.closed
    ((6, 3), (8, 3), True)
    """
    start = time.monotonic()
    domain = as_domain(domain, net)
    if domain.dim != 3:
        raise InputError(f"a mesh needs a domain of 3 dimensions; this one has {domain.dim}")
    weights = _weights(net, output)
    height = exact_number(level, "level")
    assert isinstance(height, Fraction)
    corners = domain_corners(domain)
    found = regions_with_vertices(net, domain, threads=threads, timeout=timeout)
    build = _Builder()
    status = found.status
    try:
        for index in _undecided(found, weights, height, corners):
            if timeout is not None and time.monotonic() - start > timeout:
                status = Status.TIMEOUT
                break
            build.add(found, index, weights, height)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    exact, polygons, thin = build.result()
    open_regions = tuple(build.open_regions)
    complete = status is Status.COMPLETE
    return Mesh(exact, polygons, thin, open_regions, complete, status, found)


def _weights(net: Network, output: Any) -> Weights:
    """What ``output`` means."""
    size = net.output_size
    if isinstance(output, (int, np.integer)) and not isinstance(output, bool):
        if not 0 <= output < size:
            raise InputError(f"output is {output}, the network's outputs are 0 to {size - 1}")
        return {int(output): Fraction(1)}
    given = ExactArray(output, "output")
    if given.shape != (size,):
        raise InputError(
            f"output has shape {given.shape}, expected a number or one coefficient for each of "
            f"the {size} outputs"
        )
    return {i: v for i, v in enumerate(given.fractions().tolist()) if v}


def domain_corners(domain: Domain) -> list[Point]:
    """The corners of a domain of three dimensions; refuses an unbounded one before any work."""
    inner = domain.inner if isinstance(domain, Slice) else domain
    (whole,) = regions_with_vertices(Network.from_arrays([[[0, 0, 0]]]), inner)
    if not whole.bounded:
        raise InputError(f"the domain ({domain.describe()}) is unbounded, expected a bounded one")
    return [vertex.p for vertex in whole.exact_vertices]


# ---------------------------------------------------------------------- regions that are clear


def _undecided(
    found: RegionSet, weights: Weights, level: Fraction, corners: Sequence[Point]
) -> list[int]:
    """The regions that the level set may meet: all but those where floats are clearly one-sided."""
    if not found.count:
        return []
    chosen, factors = list(weights), np.array([rounded(v) for v in weights.values()])
    with np.errstate(all="ignore"):
        gradient = np.einsum("o,rok->rk", factors, found.J[:, chosen])
        offset = found.c[:, chosen] @ factors - rounded(level)
        size = np.abs(factors) @ magnitude(found, corners)[chosen] + abs(rounded(level))
    least, most, margin = value_ranges(found, gradient, offset, size, corners)
    clear = (least > margin) | (most < -margin)
    listed: list[int] = np.flatnonzero(~clear).tolist()
    return listed


def value_ranges(
    found: RegionSet, gradient: Array, offset: Array, size: Any, corners: Sequence[Point]
) -> tuple[Array, Array, Array]:
    """Least and largest value of an affine function on every region, and how far they may be off.

    The margin is generous: the vertices are off by 2**-20 of the domain's size, ``size`` (no term
    of the function is larger) times the number of roundings (a few thousand) times 2**-53 bounds
    what else was rounded. What is infinite or NaN is neither above nor below a margin.
    """
    low, high = ([f(column) for column in zip(*corners, strict=True)] for f in (min, max))
    extent = np.array([rounded(b - a) for a, b in zip(low, high, strict=True)])
    starts = found.vertex_start[:-1]
    of = np.repeat(np.arange(found.count), np.diff(found.vertex_start))
    with np.errstate(all="ignore"):
        values = (found.vertices * gradient[of]).sum(axis=1) + offset[of]
        margin = 2.0**-16 * (np.abs(gradient) @ extent) + 1e-9 * size + 1e-280
        return np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts), margin


def magnitude(found: RegionSet, corners: Sequence[Point]) -> Array:
    """(outputs,) array: the network with every number replaced by its absolute value.

    No term in any order of evaluation of the outputs, or of their affine maps, on the domain of
    these corners is larger.
    """
    place = found.domain.slice_map()
    entry = [*(max(map(abs, column)) for column in zip(*corners, strict=True)), Fraction(1)]
    if place is not None:
        scale, rows = place
        entry = [
            sum((abs(a) * t for a, t in zip(row, entry, strict=True)), Fraction(0)) / abs(scale)
            for row in rows
        ]
    else:
        entry.pop()
    tensors = [np.array([[rounded(v) for v in entry]])]
    for node in found.net.nodes:
        joined = np.concatenate([tensors[source] for source in node.sources], axis=1)
        if isinstance(node, Units):
            joined = joined * np.maximum(1.0, np.abs(node.slope))
        elif isinstance(node, Max):
            joined = node.windows(joined, 0.0).max(axis=1)
        else:  # products that underflow are missing here; later weights may amplify them
            joined = node.apply(joined, absolute=True) + 1e-290
        tensors.append(joined)
    last: Array = tensors[-1][0]
    return last


# -------------------------------------------------------------------------------- exact polygons


class _Builder:
    """The polygons of the regions added so far; vertices are shared by their coordinates."""

    def __init__(self) -> None:
        self.open_regions: list[int] = []
        self._number: dict[Point, int] = {}
        self._polygons: list[Polygon] = []
        self._touched: dict[frozenset[Point], None] = {}

    def add(self, found: RegionSet, index: int, weights: Weights, level: Fraction) -> None:
        """Add what a region has of the level set."""
        region: Region = found[index]
        normal, offset = _function(found, region, weights)
        offset -= level
        points = [vertex.p for vertex in region.exact_vertices]
        values = [sum((a * v for a, v in zip(normal, p, strict=True)), offset) for p in points]
        if not any(normal):
            if not offset:
                self.open_regions.append(index)
            return
        face = [p for p, value in zip(points, values, strict=True) if not value]
        side = (max(values) > 0) - (min(values) < 0)
        if side == 0:
            face += _crossings(points, values, region.incidence)
        # On one side of the plane lies a face: with three corners or more it is a facet.
        if len(face) >= 3:
            corners = tuple(
                self._number.setdefault(p, len(self._number)) for p in ordered(face, normal)
            )
            self._polygons.append(Polygon(index, corners, normal, side))
        elif face:
            self._touched[frozenset(face)] = None

    def result(self) -> tuple[Points, tuple[Polygon, ...], tuple[Points, ...]]:
        """Vertices, polygons, and thin parts."""
        above = {frozenset(p.vertices) for p in self._polygons if p.side == 1}
        polygons = tuple(
            p for p in self._polygons if p.side >= 0 or frozenset(p.vertices) not in above
        )
        # A segment or point on the mesh is an edge or vertex of it: the regions meet face to face.
        points = tuple(self._number)
        on_mesh = {
            frozenset((points[a], points[b]))
            for p in polygons
            for a, b in zip(p.vertices, (*p.vertices[1:], p.vertices[0]), strict=True)
        }
        segments = [s for s in self._touched if len(s) == 2 and s not in on_mesh]
        ends = {p for s in segments for p in s}
        alone = [s for s in self._touched if len(s) == 1 and not s & ends]
        thin = segments + [s for s in alone if not s & self._number.keys()]
        return points, polygons, tuple(tuple(sorted(part)) for part in thin)


def _function(found: RegionSet, region: Region, weights: Weights) -> tuple[Point, Fraction]:
    """Gradient and offset of ``c . f`` on a region, exactly, in domain coordinates."""
    if len(weights) == 1:  # one product with the Jacobian's transpose, however many outputs
        ((output, factor),) = weights.items()
        exact = found.net.exact_net
        pattern, place = region.pattern.tolist(), found.domain.slice_map()
        row, den = exact.unit_row(len(exact.unit_nodes), output, pattern, place)
        terms = [factor * Fraction(v, den) for v in row]
    else:
        matrix, offset = region.affine_map(exact=True)
        terms = [
            sum((w * column[i] for i, w in weights.items()), Fraction(0))
            for column in (*matrix.T, offset)
        ]
    return tuple(terms[:-1]), terms[-1]


def _crossings(
    points: Sequence[Point], values: Sequence[Fraction], incidence: Sequence[Sequence[int]]
) -> Iterator[Point]:
    """Where the edges of a polytope cross the zero of an affine function in their interior."""
    on = [0] * len(points)
    for k, facet in enumerate(incidence):
        for i in facet:
            on[i] |= 1 << k
    above = [i for i, value in enumerate(values) if value > 0]
    below = [i for i, value in enumerate(values) if value < 0]
    for i in above:
        for j in below:
            common = on[i] & on[j]
            # the smallest face that holds both is an edge if it holds no third vertex
            if sum(facets & common == common for facets in on) == 2:
                a, b = values[i], -values[j]
                yield tuple(
                    (b * p + a * q) / (a + b) for p, q in zip(points[i], points[j], strict=True)
                )


def ordered(points: Sequence[Point], normal: Point) -> list[Point]:
    """Corners of a flat convex polygon, counter-clockwise about ``normal``, the smallest first.

    Seen from a corner, all others lie in an angle of less than 180 degrees, so the sign of one
    determinant orders them. It is taken in the projection along the normal's largest coordinate.
    """
    axis = max(range(3), key=lambda k: abs(normal[k]))
    u, v = (axis + 1) % 3, (axis + 2) % 3
    if normal[axis] < 0:
        u, v = v, u
    first = min(points)

    def turn(p: Point, q: Point) -> int:
        left = (p[u] - first[u]) * (q[v] - first[v])
        right = (p[v] - first[v]) * (q[u] - first[u])
        return (left < right) - (left > right)

    others = [p for p in points if p != first]
    return [first, *sorted(others, key=cmp_to_key(turn))]
