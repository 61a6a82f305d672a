"""The partition of a domain into activation regions, exactly, in any number of dimensions.

`regions` lists them, `count_regions` counts in constant memory, `stream_regions` hands them out in
batches, `knots` gives the breakpoints on a line. Counts, patterns, adjacency and merging to linear
regions are exact; coordinates, ``J`` and ``c`` in float64 arrays are rounded, and every one of them
can be had exactly from the `Region`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify import proof
from plverify.domain import Box, Domain, Slice, Space
from plverify.errors import InputError
from plverify.network import Network
from plverify.question import (
    MAX_DIMENSION,
    Progress,
    as_domain,
    enumerate_regions,
    status_of,
)
from plverify.region import ExactVertex, Region
from plverify.region_list import HalfspaceRegions, RegionList, Unit, fixed_units
from plverify.result import Result, Status, rounded

Array = NDArray[Any]


@dataclass(frozen=True)
class RegionCount(Result):
    """How many activation regions a domain has.

    Attributes
    ----------
    count : int
        All of them if ``complete``, else those found until the run ended.
    complete : bool
    status : Status
        "complete", "timeout" or "interrupted".
    dead_units, always_active_units : list of (layer, unit), or None if not complete
        Units that are never, or everywhere, on their piece ``z > 0`` in the interior of the domain.
        A unit with slope exactly 1 has no pieces and is neither.
    stats : dict
        CPU and wall seconds, and per layer how many signs floating point left to exact arithmetic.
    """

    count: int
    complete: bool
    status: Status
    dead_units: list[Unit] | None
    always_active_units: list[Unit] | None
    stats: dict[str, Any] = field(repr=False)

    @property
    def reason(self) -> str:
        """Why the run is not complete: "timeout", "interrupted", or ""."""
        return "" if self.complete else str(self.status)


def count_regions(
    net: Network,
    domain: Domain,
    threads: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> RegionCount:
    """Count the activation regions of a network on a domain, in constant memory.

    Parameters
    ----------
    net : Network
    domain : Box, Polytope, Slice or Space
    threads : int
        The count does not depend on it.
    timeout : float, optional
        Seconds of wall time; the count so far is returned then, with ``complete`` False.
    progress : callable, optional
        Called about ten times a second with the number of regions found so far.

    Raises
    ------
    InputError
        If the domain has no interior, or another ambient dimension than the network has inputs.

    Notes
    -----
    An activation region is a full-dimensional subset of the domain with one activation pattern,
    counted as in Hanin and Rolnick, "Deep ReLU networks have surprisingly few activation patterns"
    (NeurIPS 2019), except that a unit which vanishes identically has one piece only.

    >>> net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])
    >>> count_regions(net, Box(-1, 1, 2)).count
    4
    """
    domain = as_domain(domain, net)
    answer = enumerate_regions(
        net, domain, "count", threads=threads, timeout=timeout, progress=progress
    )
    dead, active = fixed_units(net, answer)
    return RegionCount(
        answer["count"], answer["complete"], status_of(answer), dead, active, answer["stats"]
    )


class RegionSet(RegionList):
    """The activation regions of a network on a domain, in the order of the engine's walk.

    In one dimension they run from left to right. The arrays are flat: the vertices of region ``i``
    are those from ``vertex_start[i]`` to ``vertex_start[i + 1]``, counter-clockwise in two
    dimensions (the left and the right end in one); its facets likewise. In one and two dimensions
    facet ``k`` goes from vertex ``k`` to the next (in one: is that end).

    Beside what `RegionList` has:

    Attributes
    ----------
    vertex_start : (count + 1,) int array
    vertices : (total, dim) float64 array
        Rounded, in domain coordinates: off by at most 2**-20 of the domain's size, and by some
        1e-15 on ordinary networks (`Region.exact_vertices` has them exactly); where
        ``vertex_at_infinity`` the direction in which the edge leaves.
    facet_start : (count + 1,) int array
    line_layer, line_unit, line_piece : (facets,) int arrays
        The unit on whose line or hyperplane the facet lies, and its piece beyond; ``line_layer``
        is -1 (``line_unit`` is then a constraint of the domain) or -2 (at infinity) on the boundary
        of the domain.
    facet_vertex, facet_vertex_start : int arrays
        From three dimensions on: the vertices on facet ``f``, as numbers in its region, are those
        from ``facet_vertex_start[f]`` to ``facet_vertex_start[f + 1]``.
    """

    def __init__(self, net: Network, domain: Domain, answer: dict[str, Any], exact: bool) -> None:
        super().__init__(net, domain, answer)
        self.vertex_start: Array = np.concatenate(
            [[0], np.cumsum(answer["vertex_count"], dtype=np.int64)]
        )
        self.vertices: Array = answer["vertices"]
        counts = answer.get("facet_count", answer["vertex_count"])
        self.facet_start: Array = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        sizes = answer.get("facet_size", np.zeros(0, np.int64))
        self.facet_vertex_start: Array = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.facet_vertex: Array = answer.get("facet_vertex", np.zeros(0, np.int32))
        self.line_layer: Array = answer["line_layer"]
        self.line_unit: Array = answer["line_unit"]
        self.line_piece: Array = answer["line_piece"]
        self.vertex_at_infinity: Array = (answer["flags"] & 1).astype(bool)
        self._complex = answer["complex"]
        self._exact = exact

    def _region(self, index: int) -> Region:
        return Region(self, index)

    @cached_property
    def linear_labels(self) -> Array:
        """(count,) int array: the number of the linear region of each activation region.

        Two regions that share a facet belong to one linear region if and only if their output maps
        are exactly the same; that is decided in integers.
        """
        return self._complex.linear_labels()

    @cached_property
    def neighbour_index(self) -> Array:
        """(facets,) int array: the region across each, -1 on the boundary, -2 if not listed."""
        return self._complex.neighbours()

    def areas(self) -> Array:
        """(count,) float64 array of areas (lengths, volumes), rounded; inf where unbounded."""
        starts = self.vertex_start[:-1]
        if self.count == 0:
            return np.zeros(0)
        if self.domain.dim == 1:
            sizes = self.vertices[starts + 1, 0] - self.vertices[starts, 0]
        elif self.domain.dim == 2:
            x, y = self.vertices[:, 0], self.vertices[:, 1]
            after = np.arange(1, len(x) + 1)
            after[self.vertex_start[1:] - 1] = starts
            first = np.repeat(starts, np.diff(self.vertex_start))
            # relative to a vertex of the same polygon, or far-away cells cancel
            u, v = x - x[first], y - y[first]
            sizes = np.add.reduceat(u * v[after] - u[after] * v, starts) / 2
        else:
            return np.array([region.volume for region in self])
        return np.where(np.logical_or.reduceat(self.vertex_at_infinity, starts), np.inf, sizes)

    def _proof(self, threads: int) -> bytes:
        if self.domain.dim > 2:
            return super()._proof(threads)
        if not self._exact:
            raise InputError("a proof needs exact vertices: make the regions with exact=True")
        body, vertices, corners = self._complex.proof_body()
        header = proof.region_list_header(self.net, self.domain, self.count, vertices, corners)
        return proof.encode(header, body)

    def _arrays(self) -> dict[str, Any]:
        return super()._arrays() | {
            "linear_labels": self.linear_labels,
            "vertex_start": self.vertex_start,
            "vertices": self.vertices,
            "vertex_at_infinity": self.vertex_at_infinity,
            "line_layer": self.line_layer,
            "line_unit": self.line_unit,
            "facet_start": self.facet_start,
            "facet_vertex": self.facet_vertex,
            "facet_vertex_start": self.facet_vertex_start,
        }


def regions(
    net: Network,
    domain: Domain,
    *,
    threads: int = 1,
    timeout: float | None = None,
    exact: bool = False,
    progress: Progress | None = None,
) -> RegionSet | HalfspaceRegions:
    """List the activation regions of a network on a domain.

    In at most eight dimensions the regions come with vertices and facets (`RegionSet`), in more
    with inequalities and an inner point (`HalfspaceRegions`).

    Parameters
    ----------
    net, domain, threads, timeout, progress
        As in `count_regions`.
    exact : bool
        Also compute every vertex exactly during the run, which `RegionSet.write_proof` needs in
        one and two dimensions. (Single regions give their exact vertices either way.)

    Raises
    ------
    InputError
        As `count_regions`.

    >>> rs = regions(Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]]), Box(-1, 1, 2))
    >>> rs.count, rs.linear_count, rs[0].volume
    (4, 4, 1.0)
    """
    domain = as_domain(domain, net)
    answer = enumerate_regions(
        net, domain, "regions", threads=threads, timeout=timeout, exact=exact, progress=progress
    )
    if domain.dim > MAX_DIMENSION:
        return HalfspaceRegions(net, domain, answer)
    return RegionSet(net, domain, answer, exact)


def regions_with_vertices(net: Network, domain: Domain, **options: Any) -> RegionSet:
    """`regions` in at most eight dimensions, with its options.

    Raises
    ------
    InputError
        As `count_regions`, and in more dimensions.
    """
    domain = as_domain(domain, net)
    if domain.dim > MAX_DIMENSION:
        raise InputError(
            f"the domain has {domain.dim} dimensions, vertices are listed in at most "
            f"{MAX_DIMENSION}: give a Slice"
        )
    found = regions(net, domain, **options)
    assert isinstance(found, RegionSet)
    return found


def stream_regions(
    net: Network,
    domain: Domain,
    *,
    threads: int = 1,
    timeout: float | None = None,
    batch: int = 4096,
) -> Iterator[dict[str, Any]]:
    """Hand out the regions in batches of at most ``batch``, in constant memory.

    Yields dictionaries with ``count`` and the arrays of `RegionSet` for that many regions
    (``patterns`` packed as bytes, ``vertex_count``, ``vertices``, ``line_layer``, ``line_unit``,
    ``flags``, ``jacobian``, ``offset``; above eight dimensions ``patterns``, ``points``,
    ``jacobian``, ``offset``). The engine runs ahead by a few batches and stops when the
    iterator is closed. With one thread the order is that of `regions`.

    Raises
    ------
    InputError
        As `count_regions`.
    TimeoutError
        After the last batch, where ``timeout`` came first and the regions are not all.

    >>> net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])
    >>> sum(part["count"] for part in stream_regions(net, Box(-1, 1, 2)))
    4
    """
    domain = as_domain(domain, net)
    if batch < 1:
        raise InputError(f"batch is {batch}, expected at least 1")
    try:
        start = _core.stream if domain.dim <= MAX_DIMENSION else _core.stream_halfspaces
        stream = start(net.core, domain.to_bytes(), threads=threads, timeout=timeout, batch=batch)
    except ValueError as error:
        raise InputError(str(error)) from None
    try:
        while (part := stream.next()) is not None:
            yield part
        end = stream.result()
        if not end["complete"]:
            found = end["count"]
            raise TimeoutError(f"{end['reason']} after {timeout} s: {found} regions, not all")
    finally:
        stream.close()


@dataclass(frozen=True)
class Knots(Result):
    """The breakpoints of a network on a line, in increasing order.

    Attributes
    ----------
    exact : tuple of Fraction
        Where the activation pattern changes.
    changes_output : (k,) bool array
        Whether the output map changes there too; if not, no output shows the breakpoint.
    units : tuple of (layer, unit)
        A unit that vanishes there.
    complete : bool
    status : Status
    """

    exact: tuple[Fraction, ...]
    changes_output: NDArray[np.bool_]
    units: tuple[Unit, ...]
    complete: bool
    status: Status

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(k,) float64 array: each position correctly rounded."""
        return np.array([rounded(x) for x in self.exact], dtype=np.float64)

    @property
    def visible_count(self) -> int:
        """How many of the knots the outputs show."""
        return int(self.changes_output.sum())


def segment(a: Any, b: Any) -> Slice:
    """The segment from ``a`` to ``b`` in input space, with parameter ``t`` from 0 to 1.

    >>> segment([0, 0], [2, 4]).point([0.5])
    (Fraction(1, 1), Fraction(2, 1))
    """
    from plverify.exact_array import ExactArray

    start, end = ExactArray(a, "a").fractions(), ExactArray(b, "b").fractions()
    if start.ndim != 1 or start.shape != end.shape:
        raise InputError(f"a has shape {start.shape} and b {end.shape}, expected two equal vectors")
    if not (start != end).any():
        raise InputError("the segment's two ends are the same point")
    return Slice(start, (end - start)[:, None], Box([0], [1]))


def knots(
    net: Network,
    lo: Any = None,
    hi: Any = None,
    *,
    threads: int = 1,
    timeout: float | None = None,
) -> Knots:
    """All breakpoints of a network on an interval, line or one-dimensional slice, exactly sorted.

    Parameters
    ----------
    net : Network
    lo, hi : numbers, or a domain
        ``knots(net, lo, hi)`` for a network of one input (either end may be infinite),
        ``knots(net)`` for the whole line, ``knots(net, domain)`` for a one-dimensional domain such
        as `segment`.

    Raises
    ------
    InputError
        If the domain is not one-dimensional.

    Notes
    -----
    Chen, "The upper bound on knots in neural networks" (arXiv 1611.09448, 2016) bounds their number
    by ``prod(widths + 1) - 1`` (`plverify.theory.chen_knots`).

    >>> tent = Network.from_arrays([[[2.0], [4.0]], [[1.0, -1.0]]], [[0.0, -2.0], [0.0]])
    >>> knots(tent, 0, 1).exact
    (Fraction(1, 2),)
    """
    if isinstance(lo, Domain):
        domain = lo
    elif net.input_size != 1:
        raise InputError(f"the network has {net.input_size} inputs: give a one-dimensional domain")
    elif lo is None and hi is None:
        domain = Space(1)
    else:
        domain = Box([-np.inf if lo is None else lo], [np.inf if hi is None else hi])
    if domain.dim != 1:
        raise InputError(f"knots lie on a line; the domain has {domain.dim} dimensions")
    domain = as_domain(domain, net)
    found = regions_with_vertices(net, domain, threads=threads, timeout=timeout, exact=True)
    points = found._complex.points()
    index = found._complex.point_index()
    left, right = index[0::2], index[1::2]
    at = np.flatnonzero(right[:-1] == left[1:])  # an incomplete run may have gaps
    layers, units = found.line_layer[1::2][at].tolist(), found.line_unit[1::2][at].tolist()
    labels = found.linear_labels
    return Knots(
        tuple(ExactVertex.of(points[i]).p[0] for i in right[at].tolist()),
        labels[at + 1] != labels[at],
        tuple(zip(layers, units, strict=True)),
        found.complete,
        found.status,
    )
