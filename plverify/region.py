"""One activation region: its polyhedron, its affine map and its neighbours, exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plverify import exact_net
from plverify.result import enclose, rounded
from plverify.volume import polytope_volume, volume_bounds

if TYPE_CHECKING:
    from plverify.partition import RegionSet
    from plverify.region_list import RegionList

Array = NDArray[Any]
Point = tuple[Fraction, ...]

CONSTRAINT = -1
"""`RegionSet.line_layer` of a facet on a constraint of the domain; ``line_unit`` is its number."""

BOX_SIDE = -2
"""`RegionSet.line_layer` of a facet at infinity: a side of the box around an unbounded domain."""


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


class ListedRegion(ABC):
    """What the regions of every list have; see `Region` and `plverify.HalfspaceRegion`."""

    def __init__(self, regions: RegionList, index: int) -> None:
        self._list, self.index = regions, index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ListedRegion):
            return NotImplemented
        return self._list is other._list and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self._list), self.index))

    @property
    def pattern(self) -> Array:
        """(units,) array, as `RegionSet.patterns`."""
        return self._list.net.unpack(self._list.packed_patterns[self.index])

    @property
    def J(self) -> Array:
        """(outputs, dim) float64: the Jacobian in domain coordinates, rounded."""
        return self._list.J[self.index]

    @property
    def c(self) -> Array:
        """(outputs,) float64: the constant of the output map in domain coordinates, rounded."""
        return self._list.c[self.index]

    def affine_map(self, *, exact: bool = False, inputs: bool = False) -> tuple[Array, Array]:
        """``(J, c)`` of the output map; Fractions where ``exact``, in x where ``inputs``."""
        if not exact and not inputs:
            return self.J, self.c
        place = None if inputs else self._list.domain.slice_map()
        rows, den = self._list.net.exact_net.affine_map(self.pattern.tolist(), slice=place)
        fractions = [[Fraction(v, den) for v in row] for row in rows]
        if exact:
            table: Array = np.array(fractions, dtype=object)
        else:
            table = np.array([[rounded(v) for v in row] for row in fractions])
        return table[:, :-1], table[:, -1]

    @abstractmethod
    def inequalities(self) -> list[tuple[int, ...]]:
        """Non-redundant exact rows ``(a, c)``: ``a . t + c >= 0`` on the region, facet by facet.

        Integers, in domain coordinates; one row per facet.
        """

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
        dim = self._list.domain.dim
        scaled = [[Fraction(v, max(map(abs, row))) for v in row] for row in rows]
        return np.array(scaled, dtype=float).reshape(len(rows), dim + 1)

    def contains(self, t: Sequence[Any], strict: bool = False) -> bool:
        """Whether the closed region (its interior where ``strict``) holds ``t``, exactly."""
        point = [*(Fraction(v) for v in t), Fraction(1)]
        values = [sum(a * v for a, v in zip(r, point, strict=True)) for r in self.inequalities()]
        return all(v > 0 if strict else v >= 0 for v in values)

    @property
    @abstractmethod
    def vertices(self) -> Array:
        """(k, dim) float64: the finite vertices, rounded."""

    @property
    @abstractmethod
    def bounded(self) -> bool:
        """Whether the region is bounded."""

    @property
    @abstractmethod
    def exact_volume(self) -> Fraction | None:
        """The exact volume (area, length), or None if unbounded.

        In six dimensions and more a region may have hundreds of vertices; the fraction then has
        that many thousand digits and takes seconds. `volume_bounds` does not.
        """

    @property
    @abstractmethod
    def _volume_interval(self) -> tuple[Fraction, Fraction]:
        """Bounds of the volume of a bounded region."""

    @property
    def volume_bounds(self) -> tuple[float, float]:
        """Proven doubles ``lower <= volume <= upper``, the closest or next to it; inf if unbounded.

        >>> import plverify as pv
        >>> net = pv.Network.from_arrays([[[1, 1, 1, 1]], [[1]]], [[-1], [0]])
        >>> [region.volume_bounds for region in pv.regions(net, pv.Box(0, 1, 4))]
        [(0.9583333333333333, 0.9583333333333334), (0.041666666666666664, 0.04166666666666667)]
        """
        if not self.bounded:
            return float("inf"), float("inf")
        lower, upper = self._volume_interval
        return enclose(lower)[0], enclose(upper)[1]

    @property
    def volume(self) -> float:
        """The volume (area, length), rounded; inf if unbounded.

        In at most three dimensions to the nearest double, above to one of `volume_bounds`.
        """
        if not self.bounded:
            return float("inf")
        lower, upper = self._volume_interval
        return rounded((lower + upper) / 2)

    @property
    @abstractmethod
    def exact_interior_point(self) -> Point:
        """A rational point strictly inside."""

    @property
    def interior_point(self) -> Array:
        """(dim,) point strictly inside: float64 if the rounded point is, else Fractions."""
        exact = self.exact_interior_point
        point = np.array([rounded(v) for v in exact])
        if np.isfinite(point).all() and self.contains(point.tolist(), strict=True):
            return point
        return np.array(exact, dtype=object)

    @property
    @abstractmethod
    def neighbours(self) -> list[Any]:
        """The regions of the list across the facets, each once, facet by facet."""

    @property
    def linear_label(self) -> int:
        """The number of the linear region that this activation region is part of."""
        return int(self._list.linear_labels[self.index])


class Region(ListedRegion):
    """One activation region: the polyhedron on which the network is ``J t + c``."""

    def __init__(self, regions: RegionSet, index: int) -> None:
        super().__init__(regions, index)
        self._set = regions
        start, facets = regions.vertex_start, regions.facet_start
        self._corners = slice(int(start[index]), int(start[index + 1]))
        self._facets = slice(int(facets[index]), int(facets[index + 1]))

    def __repr__(self) -> str:
        corners = self._corners.stop - self._corners.start
        return f"<Region {self.index} of {self._set.count}, {corners} vertices>"

    def inequalities(self) -> list[tuple[int, ...]]:
        net, domain = self._set.net.exact_net, self._set.domain
        pattern = self.pattern.tolist()
        start = np.concatenate([[0], np.cumsum(self._set.net.widths)])
        constraints = domain.constraint_rows()
        out: list[tuple[int, ...]] = []
        for layer, unit, beyond in zip(
            self._set.line_layer[self._facets].tolist(),
            self._set.line_unit[self._facets].tolist(),
            self._set.line_piece[self._facets].tolist(),
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
    def vertices(self) -> Array:
        finite = ~self._set.vertex_at_infinity[self._corners]
        return self._set.vertices[self._corners][finite]

    @cached_property
    def exact_vertices(self) -> list[ExactVertex]:
        """All vertices exactly, those at infinity too, in the order of `RegionSet.vertices`."""
        return [ExactVertex.of(raw) for raw in self._set._complex.exact_vertices(self.index)]

    @property
    def bounded(self) -> bool:
        return not self._set.vertex_at_infinity[self._corners].any()

    @cached_property
    def incidence(self) -> list[list[int]]:
        """For every facet the numbers of the vertices on it, those at infinity included."""
        if self._set.domain.dim <= 2:
            n = self._corners.stop - self._corners.start
            wrap = [0] if self._set.domain.dim == 1 else [0, 1]
            return [sorted((k + step) % n for step in wrap) for k in range(n)]
        first = self._set.facet_vertex_start
        listed = self._set.facet_vertex
        return [
            listed[first[f] : first[f + 1]].tolist()
            for f in range(self._facets.start, self._facets.stop)
        ]

    @property
    def rays(self) -> Array:
        """(k, dim) float64: directions in which the region's unbounded edges leave."""
        sides = self._set.line_layer[self._facets] == BOX_SIDE
        on_sides = np.zeros(self._corners.stop - self._corners.start, int)
        for side, corners in zip(sides, self.incidence, strict=True):
            on_sides[corners] += side
        # a corner of the symbolic box lies on several of its sides and is no edge of the region
        far = self._set.vertex_at_infinity[self._corners]
        return self._set.vertices[self._corners][far & (on_sides == 1)]

    @cached_property
    def exact_volume(self) -> Fraction | None:
        if not self.bounded:
            return None
        points = [vertex.p for vertex in self.exact_vertices]
        return polytope_volume(points, self.incidence)

    @cached_property
    def _volume_interval(self) -> tuple[Fraction, Fraction]:
        return volume_bounds([vertex.p for vertex in self.exact_vertices], self.incidence)

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
    def neighbours(self) -> list[Region]:
        across = self._set.neighbour_index[self._facets].tolist()
        return [self._set[i] for i in dict.fromkeys(across) if i >= 0]
