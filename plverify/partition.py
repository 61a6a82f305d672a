"""The partition of a domain of one or two dimensions into activation regions, exactly.

`regions` lists them, `count_regions` counts in constant memory, `stream_regions` hands them out in
batches, `knots` gives the breakpoints on a line. Counts, patterns, adjacency and merging to linear
regions are exact; coordinates, ``J`` and ``c`` in float64 arrays are rounded, and every one of them
can be had exactly from the `Region`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify import exact_net, proof
from plverify.domain import Box, Domain, Slice, Space
from plverify.errors import InputError
from plverify.network import Network
from plverify.nodes import Units
from plverify.question import Progress, as_domain, enumerate_regions, status_of
from plverify.result import Result, Status, jsonable, rounded

Array = NDArray[Any]
Point = tuple[Fraction, ...]
Unit = tuple[int, int]

CONSTRAINT = -1
"""`RegionSet.line_layer` of an edge on a constraint of the domain; ``line_unit`` is its number."""

BOX_SIDE = -2
"""`RegionSet.line_layer` of an edge at infinity: a side of the box around an unbounded domain."""


@dataclass(frozen=True)
class ExactVertex:
    """An exact vertex: the point ``p``, or at infinity ``p + R q`` for ``R`` beyond all numbers."""

    p: Point
    q: Point | None = None

    @property
    def at_infinity(self) -> bool:
        """Whether the vertex is a direction rather than a point."""
        return self.q is not None

    @staticmethod
    def of(raw: tuple[Any, ...]) -> ExactVertex:
        """From the engine's integers ``(p, den)`` or ``(p, q, den)``."""
        *coordinates, den = raw
        points = [tuple(Fraction(v, den) for v in row) for row in coordinates]
        return ExactVertex(*points)


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


def _units_that(net: Network, never: Array) -> list[Unit]:
    """Units (layer, unit) of two pieces whose flag in ``never`` is 0."""
    layer_of = np.repeat(np.arange(len(net.widths)), net.widths)
    start = np.concatenate([[0], np.cumsum(net.widths)])
    two = [np.zeros(0, bool)]
    two += [
        ~n.single if isinstance(n, Units) else np.zeros(n.size, bool) for _, n in net.unit_nodes
    ]
    flat = np.flatnonzero((never == 0) & np.concatenate(two))
    return [(int(layer_of[f]), int(f - start[layer_of[f]])) for f in flat]


def _fixed_units(
    net: Network, answer: dict[str, Any]
) -> tuple[list[Unit] | None, list[Unit] | None]:
    """Dead and always-active units of a complete run."""
    if not answer["complete"]:
        return None, None
    return _units_that(net, answer["ever_on"]), _units_that(net, answer["ever_off"])


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
    domain : Box, Polytope, Slice or Space of one or two dimensions
    threads : int
        The count does not depend on it.
    timeout : float, optional
        Seconds of wall time; the count so far is returned then, with ``complete`` False.
    progress : callable, optional
        Called about ten times a second with the number of regions found so far.

    Raises
    ------
    InputError
        If the domain has no interior, another ambient dimension than the network has inputs, or
        more than two dimensions.

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
    dead, active = _fixed_units(net, answer)
    return RegionCount(
        answer["count"], answer["complete"], status_of(answer), dead, active, answer["stats"]
    )


class RegionSet:
    """The activation regions of a network on a domain, in the order of the engine's walk.

    In one dimension they run from left to right. The arrays are flat: the vertices of region ``i``
    are those from ``vertex_start[i]`` to ``vertex_start[i + 1]``, counter-clockwise in two
    dimensions (the left and the right end in one).

    Attributes
    ----------
    net, domain
        What was asked.
    count, complete, status, dead_units, always_active_units, stats
        As in `RegionCount`.
    vertex_start : (count + 1,) int array
    vertices : (total, dim) float64 array
        Rounded, in domain coordinates: off by at most 2**-20 of the domain's size, and by some
        1e-15 on ordinary networks (`Region.exact_vertices` has them exactly); where
        ``vertex_at_infinity`` the direction in which the edge leaves.
    line_layer, line_unit, line_piece : (total,) int arrays
        The unit on whose line the edge from the vertex to the next lies (in one dimension: the
        unit that bends at the end), and its piece beyond; ``line_layer`` is `CONSTRAINT` or
        `BOX_SIDE` on the boundary of the domain.
    J : (count, outputs, dim) float64 array
    c : (count, outputs) float64 array
        The output map in domain coordinates, ``f = J t + c``, rounded.
    """

    def __init__(self, net: Network, domain: Domain, answer: dict[str, Any], exact: bool) -> None:
        self.net, self.domain = net, domain
        self.count: int = answer["count"]
        self.complete: bool = answer["complete"]
        self.status = status_of(answer)
        self.dead_units, self.always_active_units = _fixed_units(net, answer)
        self.stats: dict[str, Any] = answer["stats"]
        self.packed_patterns: Array = answer["patterns"]
        self.vertex_start: Array = np.concatenate(
            [[0], np.cumsum(answer["vertex_count"], dtype=np.int64)]
        )
        self.vertices: Array = answer["vertices"]
        self.line_layer: Array = answer["line_layer"]
        self.line_unit: Array = answer["line_unit"]
        self.line_piece: Array = answer["line_piece"]
        self.vertex_at_infinity: Array = (answer["flags"] & 1).astype(bool)
        self.J: Array = answer["jacobian"]
        self.c: Array = answer["offset"]
        self._complex = answer["complex"]
        self._exact = exact

    @property
    def reason(self) -> str:
        """Why the run is not complete: "timeout", "interrupted", or ""."""
        return "" if self.complete else str(self.status)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.count))]
        i = index + self.count if index < 0 else index
        if not 0 <= i < self.count:
            raise IndexError(f"region {index} of {self.count}")
        return Region(self, int(i))

    def __iter__(self) -> Iterator[Region]:
        return (Region(self, i) for i in range(self.count))

    def __repr__(self) -> str:
        left = "" if self.complete else f" ({self.reason}: incomplete)"
        where = self.domain.describe()
        return f"<RegionSet: {self.count} activation regions of {self.net!r} on {where}{left}>"

    @cached_property
    def patterns(self) -> Array:
        """(count, units) array of activation patterns, unit after unit, layer after layer.

        bool where every unit has two pieces, else the units' pieces as unsigned integers.
        """
        return self.net.unpack(self.packed_patterns)

    @cached_property
    def linear_labels(self) -> Array:
        """(count,) int array: the number of the linear region of each activation region.

        Two regions that share a facet belong to one linear region if and only if their output maps
        are exactly the same; that is decided in integers.
        """
        return self._complex.linear_labels()

    @property
    def linear_count(self) -> int:
        """The number of linear regions."""
        return int(self.linear_labels.max(initial=-1)) + 1

    @cached_property
    def neighbour_index(self) -> Array:
        """(total,) int array: the region across each edge, -1 on the boundary, -2 if not listed."""
        return self._complex.neighbours()

    @cached_property
    def _index(self) -> dict[bytes, int]:
        return {row.tobytes(): i for i, row in enumerate(self.packed_patterns)}

    def find(self, t: Any) -> Region | None:
        """The region that holds the point ``t`` of the domain (domain coordinates), exactly.

        On a facet it is one of the regions that meet there. None if the point lies outside the
        domain or its region was not listed (an incomplete run).

        >>> rs = regions(Network.from_arrays([[[1.0]], [[1.0]]]), Box([-1], [1]))
        >>> rs.find([0.5]).pattern.tolist()
        [True]
        """
        point = [Fraction(v) for v in np.asarray(t, dtype=object).ravel().tolist()]
        if len(point) != self.domain.dim:
            raise InputError(f"t has {len(point)} entries, expected {self.domain.dim}")
        at = self.net.exact_net.pattern_at(point, self.domain.slice_map())
        index = self._index.get(self.net.exact_net.pack(at.bits))
        if index is not None and self[index].contains(point):
            return self[index]
        return next((region for region in self if region.contains(point)), None)

    def areas(self) -> Array:
        """(count,) float64 array of areas (lengths in one dimension), rounded; inf if unbounded."""
        starts = self.vertex_start[:-1]
        if self.count == 0:
            return np.zeros(0)
        if self.domain.dim == 1:
            sizes = self.vertices[starts + 1, 0] - self.vertices[starts, 0]
        else:
            x, y = self.vertices[:, 0], self.vertices[:, 1]
            after = np.arange(1, len(x) + 1)
            after[self.vertex_start[1:] - 1] = starts
            first = np.repeat(starts, np.diff(self.vertex_start))
            # relative to a vertex of the same polygon, or far-away cells cancel
            u, v = x - x[first], y - y[first]
            sizes = np.add.reduceat(u * v[after] - u[after] * v, starts) / 2
        return np.where(np.logical_or.reduceat(self.vertex_at_infinity, starts), np.inf, sizes)

    def write_proof(self, path: str | os.PathLike[str]) -> None:
        """Write a proof that these are all activation regions, for `plverify check`.

        Raises
        ------
        InputError
            If the run is not complete or was made without ``exact=True``, or on a disk error.
        """
        proof.write_atomically(path, self.proof())

    def proof(self) -> bytes:
        """The proof as bytes; see `write_proof`."""
        if not self.complete:
            raise InputError(
                f"the list of regions is not complete ({self.reason}): nothing to prove"
            )
        if not self._exact:
            raise InputError("a proof needs exact vertices: make the regions with exact=True")
        body, vertices, corners = self._complex.proof_body()
        header = proof.region_list_header(self.net, self.domain, self.count, vertices, corners)
        return proof.encode(header, body)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays to an ``.npz`` file.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        import io

        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            patterns=self.patterns,
            vertex_start=self.vertex_start,
            vertices=self.vertices,
            vertex_at_infinity=self.vertex_at_infinity,
            line_layer=self.line_layer,
            line_unit=self.line_unit,
            J=self.J,
            c=self.c,
            linear_labels=self.linear_labels,
            complete=self.complete,
            network=self.net.digest,
            domain=self.domain.describe(),
        )
        proof.write_atomically(path, buffer.getvalue())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready summary."""
        return {
            "count": self.count,
            "linear_count": self.linear_count,
            "complete": self.complete,
            "status": str(self.status),
            "dead_units": jsonable(self.dead_units),
            "always_active_units": jsonable(self.always_active_units),
            "network": self.net.digest,
            "domain": self.domain.describe(),
            "stats": jsonable(self.stats),
        }


class Region:
    """One activation region: the polygon (or interval) on which the network is ``J t + c``."""

    def __init__(self, regions: RegionSet, index: int) -> None:
        self._set, self.index = regions, index
        self._edges = slice(int(regions.vertex_start[index]), int(regions.vertex_start[index + 1]))

    def __repr__(self) -> str:
        corners = self._edges.stop - self._edges.start
        return f"<Region {self.index} of {self._set.count}, {corners} vertices>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        return self._set is other._set and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self._set), self.index))

    @property
    def pattern(self) -> Array:
        """(units,) array, as `RegionSet.patterns`."""
        return self._set.net.unpack(self._set.packed_patterns[self.index])

    @property
    def J(self) -> Array:
        """(outputs, dim) float64: the Jacobian in domain coordinates, rounded."""
        return self._set.J[self.index]

    @property
    def c(self) -> Array:
        """(outputs,) float64: the constant of the output map in domain coordinates, rounded."""
        return self._set.c[self.index]

    def affine_map(self, *, exact: bool = False, inputs: bool = False) -> tuple[Array, Array]:
        """``(J, c)`` of the output map; Fractions where ``exact``, in x where ``inputs``."""
        if not exact and not inputs:
            return self.J, self.c
        place = None if inputs else self._set.domain.slice_map()
        rows, den = self._set.net.exact_net.affine_map(self.pattern.tolist(), slice=place)
        fractions = [[Fraction(v, den) for v in row] for row in rows]
        if exact:
            table: Array = np.array(fractions, dtype=object)
        else:
            table = np.array([[rounded(v) for v in row] for row in fractions])
        return table[:, :-1], table[:, -1]

    def inequalities(self) -> list[tuple[int, ...]]:
        """Non-redundant exact rows ``(a, c)`` with ``a . t + c >= 0`` on the region, in edge order.

        Integers, in domain coordinates; one row per facet.
        """
        net, domain = self._set.net.exact_net, self._set.domain
        pattern = self.pattern.tolist()
        start = np.concatenate([[0], np.cumsum(self._set.net.widths)])
        constraints = proof.constraint_rows(domain)
        out: list[tuple[int, ...]] = []
        for layer, unit, beyond in zip(
            self._set.line_layer[self._edges].tolist(),
            self._set.line_unit[self._edges].tolist(),
            self._set.line_piece[self._edges].tolist(),
            strict=True,
        ):
            if layer == BOX_SIDE:
                continue
            if layer == CONSTRAINT:
                out.append(constraints[unit])
                continue
            piece, node = pattern[start[layer] + unit], net.unit_nodes[layer][1]
            if isinstance(node, exact_net.Max):
                at = dict(node.windows[unit])
                row, _ = net.unit_row(
                    layer, at[piece], pattern, domain.slice_map(), minus=at[beyond]
                )
                out.append(row)
                continue
            row, _ = net.unit_row(layer, unit, pattern, domain.slice_map())
            out.append(tuple(v if piece else -v for v in row))
        return out

    @property
    def A(self) -> Array:
        """(facets, dim) float64: with `b` the non-redundant description ``A t <= b``, rounded."""
        return -self._table()[:, :-1]

    @property
    def b(self) -> Array:
        """(facets,) float64: see `A`; `inequalities` has the exact rows."""
        return self._table()[:, -1]

    def _table(self) -> Array:
        rows = self.inequalities()
        dim = self._set.domain.dim
        scaled = [[Fraction(v, max(map(abs, row))) for v in row] for row in rows]
        return np.array(scaled, dtype=float).reshape(len(rows), dim + 1)

    def contains(self, t: Sequence[Any], strict: bool = False) -> bool:
        """Whether the closed region (its interior where ``strict``) holds ``t``, exactly."""
        point = [*(Fraction(v) for v in t), Fraction(1)]
        values = [sum(a * v for a, v in zip(r, point, strict=True)) for r in self.inequalities()]
        return all(v > 0 if strict else v >= 0 for v in values)

    @property
    def vertices(self) -> Array:
        """(k, dim) float64: the finite vertices, rounded."""
        finite = ~self._set.vertex_at_infinity[self._edges]
        return self._set.vertices[self._edges][finite]

    @cached_property
    def exact_vertices(self) -> list[ExactVertex]:
        """All vertices exactly, those at infinity included, in the order of the edges."""
        return [ExactVertex.of(raw) for raw in self._set._complex.exact_vertices(self.index)]

    @property
    def bounded(self) -> bool:
        """Whether the region is bounded."""
        return not self._set.vertex_at_infinity[self._edges].any()

    @property
    def rays(self) -> Array:
        """(k, dim) float64: directions in which the region's unbounded edges leave."""
        layers = self._set.line_layer[self._edges]
        far = self._set.vertex_at_infinity[self._edges]
        # a corner of the symbolic box lies on two of its sides and is no edge of the region
        on_edge = (layers != BOX_SIDE) | (np.roll(layers, 1) != BOX_SIDE)
        if self._set.domain.dim == 1:
            on_edge[:] = True
        return self._set.vertices[self._edges][far & on_edge]

    @cached_property
    def exact_volume(self) -> Fraction | None:
        """The exact area (length in one dimension), or None if unbounded."""
        if not self.bounded:
            return None
        points = [vertex.p for vertex in self.exact_vertices]
        if self._set.domain.dim == 1:
            return points[1][0] - points[0][0]
        turns = zip(points, points[1:] + points[:1], strict=True)
        return sum((a[0] * b[1] - a[1] * b[0] for a, b in turns), Fraction(0)) / 2

    @property
    def volume(self) -> float:
        """The area (length in one dimension), correctly rounded; inf if unbounded."""
        exact = self.exact_volume
        return float("inf") if exact is None else rounded(exact)

    @cached_property
    def exact_interior_point(self) -> Point:
        """A rational point strictly inside: the vertices' mean, moved in along the rays."""
        corners = self.exact_vertices
        dim = range(self._set.domain.dim)
        mean = [sum((v.p[k] for v in corners), Fraction(0)) / len(corners) for k in dim]
        far = [sum((v.q[k] for v in corners if v.q), Fraction(0)) / len(corners) for k in dim]
        distance = 1
        while True:  # mean + R far lies inside for symbolic R, hence for every large number
            point = tuple(m + distance * f for m, f in zip(mean, far, strict=True))
            if self.contains(point, strict=True):
                return point
            distance *= 2

    @property
    def interior_point(self) -> Array:
        """(dim,) point strictly inside: float64 if the rounded point is, else Fractions."""
        exact = self.exact_interior_point
        point = np.array([rounded(v) for v in exact])
        if np.isfinite(point).all() and self.contains(point.tolist(), strict=True):
            return point
        return np.array(exact, dtype=object)

    @property
    def neighbours(self) -> list[Region]:
        """The regions across the facets, each once, in edge order."""
        across = self._set.neighbour_index[self._edges].tolist()
        return [self._set[i] for i in dict.fromkeys(across) if i >= 0]

    @property
    def linear_label(self) -> int:
        """The number of the linear region that this activation region is part of."""
        return int(self._set.linear_labels[self.index])


def regions(
    net: Network,
    domain: Domain,
    *,
    threads: int = 1,
    timeout: float | None = None,
    exact: bool = False,
    progress: Progress | None = None,
) -> RegionSet:
    """List the activation regions of a network on a domain of one or two dimensions.

    Parameters
    ----------
    net, domain, threads, timeout, progress
        As in `count_regions`.
    exact : bool
        Also compute every vertex exactly during the run, which `RegionSet.write_proof` needs.
        (Single regions give their exact vertices either way.)

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
    return RegionSet(net, domain, answer, exact)


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
    ``flags``, ``jacobian``, ``offset``). The engine runs ahead by a few batches and stops when the
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
        stream = _core.stream(
            net.core, domain.to_bytes(), threads=threads, timeout=timeout, batch=batch
        )
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
    found = regions(net, domain, threads=threads, timeout=timeout, exact=True)
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
