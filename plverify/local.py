"""One activation region around a point, without enumerating the others.

The units' rows under the pattern of the point describe its region; the engine turns them into
vertices and facets, exactly (above eight dimensions into facets and a point in each, by exact
linear programs; vertices follow when asked for), and the pattern beyond a facet comes from an exact
germ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify.closest import closest_point
from plverify.domain import Domain, Space, polytope_bytes
from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.exact_net import common_denominator, pack_ints
from plverify.exact_nodes import Max
from plverify.facets import facets
from plverify.result import enclose
from plverify.vertices import Vertices, vertices_of
from plverify.volume import polytope_volume, volume_bounds

if TYPE_CHECKING:
    from plverify.network import Network

Array = NDArray[Any]
Row = tuple[int, ...]
Unit = tuple[int, int]
Levels = list[list[int]]


@dataclass(frozen=True, eq=False)
class LocalRegion:
    """The closed activation region of one pattern in a domain.

    Attributes
    ----------
    net, domain
    pattern : (units,) array
    inequalities : tuple of integer rows ``(a, c)``
        ``a . t + c >= 0`` on the region, non-redundant, one per facet.
    units : tuple of (layer, unit) or None
        Whose kink each facet is (the first of several); None for a constraint of the domain.
    """

    net: Network = field(repr=False)
    domain: Domain
    pattern: Array = field(repr=False)
    inequalities: tuple[Row, ...] = field(repr=False)
    units: tuple[Unit | None, ...]
    _shape: _Corners | _Points = field(repr=False)

    @property
    def A(self) -> Array:
        """(facets, dim) float64: with `b` the region is ``A t <= b``, rounded."""
        return -self._table[:, :-1]

    @property
    def b(self) -> Array:
        """(facets,) float64: see `A`; `inequalities` has the exact rows."""
        return self._table[:, -1]

    @cached_property
    def _table(self) -> Array:
        scaled = [[v / max(map(abs, row)) for v in row] for row in self.inequalities]
        return np.array(scaled, dtype=np.float64).reshape(len(scaled), self.domain.dim + 1)

    def affine_map(self, *, exact: bool = False) -> tuple[Array, Array]:
        """``(J, c)`` of the outputs in domain coordinates; Fractions where ``exact``."""
        rows, den = self.net.exact_net.affine_map(
            self.pattern.tolist(), slice=self.domain.slice_map()
        )
        table: Array = np.array([[Fraction(v, den) for v in row] for row in rows], dtype=object)
        if not exact:
            table = table.astype(np.float64)
        return table[:, :-1], table[:, -1]

    @property
    def J(self) -> Array:
        """(outputs, dim) float64: the Jacobian in domain coordinates, rounded."""
        return self.affine_map()[0]

    @property
    def c(self) -> Array:
        """(outputs,) float64: the constant of the output map, rounded."""
        return self.affine_map()[1]

    @cached_property
    def _corners(self) -> Vertices:
        if isinstance(self._shape, _Points):
            return vertices_of(self.inequalities, self.domain.dim)
        finite = [k for k, (_, far, _) in enumerate(self._shape.corners) if far is None]
        number = {k: i for i, k in enumerate(finite)}
        corners = [self._shape.corners[k] for k in finite]
        return Vertices(
            [tuple(Fraction(v, den) for v in p) for p, _, den in corners],
            [[number[k] for k in facet if k in number] for facet in self._shape.facets],
            len(finite) == len(self._shape.corners),
        )

    @property
    def bounded(self) -> bool:
        """Whether the region is bounded."""
        if isinstance(self._shape, _Corners):
            return self._corners.bounded
        dim = self.domain.dim
        body = polytope_bytes(self.inequalities, dim)
        goals = ([sign * (i == k) for i in range(dim)] for k in range(dim) for sign in (1, -1))
        return all(_core.exact_maximum(body, pack_ints(g) + pack_ints([0])) for g in goals)

    @property
    def exact_vertices(self) -> list[tuple[Fraction, ...]]:
        """The finite vertices.

        Raises
        ------
        InputError
            Like volumes, where a region of more than eight dimensions has more than 4,096.
        """
        return self._corners.points

    @cached_property
    def exact_interior_point(self) -> tuple[Fraction, ...]:
        """A point strictly inside."""
        if isinstance(self._shape, _Points):
            point, den = self._shape.inside
            return tuple(Fraction(v, den) for v in point)
        found = facets(self.inequalities, self.domain.dim)
        assert found is not None
        (point, den), _, _ = found
        return tuple(Fraction(v, den) for v in point)

    @property
    def interior_point(self) -> Array:
        """(dim,) float64: a point inside, rounded."""
        return np.array(self.exact_interior_point, dtype=np.float64)

    @property
    def vertices(self) -> Array:
        """(k, dim) float64: the finite vertices, rounded."""
        return np.array(self.exact_vertices, dtype=np.float64).reshape(-1, self.domain.dim)

    @cached_property
    def exact_volume(self) -> Fraction | None:
        """The volume (area, length), or None if unbounded."""
        if not self.bounded:
            return None
        return polytope_volume(self._corners.points, self._corners.on)

    @cached_property
    def volume_interval(self) -> tuple[Fraction, Fraction]:
        """Exact bounds of the volume of a bounded region, apart by less than 2**-150 of it."""
        return volume_bounds(self._corners.points, self._corners.on)

    @property
    def volume_bounds(self) -> tuple[float, float]:
        """As `Region.volume_bounds`."""
        if not self.bounded:
            return float("inf"), float("inf")
        lower, upper = self.volume_interval
        return enclose(lower)[0], enclose(upper)[1]

    def contains(self, t: Sequence[Any], strict: bool = False) -> bool:
        """Whether the closed region (its interior where ``strict``) holds ``t``, exactly."""
        point = [*ExactArray(list(t), "t").fractions().tolist(), Fraction(1)]
        values = [sum(a * v for a, v in zip(r, point, strict=True)) for r in self.inequalities]
        return all(v > 0 if strict else v >= 0 for v in values)

    def patterns_beyond(self) -> list[Array]:
        """The patterns of `neighbours`, without their regions."""
        out = []
        for k, (row, unit) in enumerate(zip(self.inequalities, self.units, strict=True)):
            if unit is None:
                continue
            levels, den, unit_level = self._shape.on_facet(k)
            levels.append([-v for v in row[:-1]])
            pieces = self.net.exact_net.pattern_of_germ(
                levels, den, unit_level, self.domain.slice_map()
            )
            out.append(np.array(pieces, self.pattern.dtype))
        return out

    def neighbours(self) -> list[LocalRegion]:
        """The regions across the facets, in their order; none beyond the domain."""
        return [
            region_of_pattern(self.net, self.domain, pattern) for pattern in self.patterns_beyond()
        ]


@dataclass(frozen=True, eq=False)
class _Corners:
    """A region by its vertices, and which of them lie on each facet."""

    corners: tuple[tuple[list[int], list[int] | None, int], ...]
    facets: tuple[tuple[int, ...], ...]

    def on_facet(self, k: int) -> tuple[Levels, int, int]:
        """A point in the relative interior of a facet: as a germ, since it may be at infinity."""
        dim = len(self.corners[0][0])
        near, far, den = [0] * dim, [0] * dim, 1
        for corner in self.facets[k]:
            p, q, scale = self.corners[corner]
            near = [a * scale + v * den for a, v in zip(near, p, strict=True)]
            far = [a * scale + v * den for a, v in zip(far, q or [0] * len(p), strict=True)]
            den *= scale
        if any(far):
            return [far, near], den * len(self.facets[k]), 1
        return [near], den * len(self.facets[k]), 0


@dataclass(frozen=True, eq=False)
class _Points:
    """A region by a point inside and one inside each facet, as numerators and a denominator."""

    inside: tuple[list[int], int]
    on: tuple[tuple[list[int], int], ...]

    def on_facet(self, k: int) -> tuple[Levels, int, int]:
        """As `_Corners.on_facet`; the point is finite."""
        point, den = self.on[k]
        return [list(point)], den, 0


def region_at(net: Network, x: Any, domain: Domain | None = None) -> LocalRegion:
    """One full-dimensional activation region whose closure holds ``x``; see `Network.region`."""
    point, domain = point_of(net, x, domain)
    return region_of_pattern(net, domain, pattern_in(net, domain, point))


def point_of(net: Network, x: Any, domain: Domain | None) -> tuple[list[Fraction], Domain]:
    """Check a point and its domain, by default all of R^n."""
    domain = Space(net.input_size) if domain is None else domain
    if domain.ambient != net.input_size:
        raise InputError(
            f"the domain ({domain.describe()}) lies in R^{domain.ambient}, "
            f"the network has {net.input_size} inputs"
        )
    point = ExactArray(x, "x").fractions().ravel().tolist()
    if len(point) != domain.dim:
        raise InputError(f"x has {len(point)} entries, expected {domain.dim}")
    return point, domain


def pattern_in(net: Network, domain: Domain, point: Sequence[Fraction]) -> Array:
    """The pattern of one region in the domain whose closure holds a point.

    Raises
    ------
    InputError
        If the point lies outside the domain, or the domain has no interior there.
    """
    rows = domain.constraint_rows()
    values = [value_at(row, point) for row in rows]
    if any(value < 0 for value in values):
        raise InputError("x lies outside the domain")
    tight = [r for r, value in zip(rows, values, strict=True) if not value and any(r[:-1])]
    toward = direction_into(tight, domain.dim) if tight else None
    if tight and toward is None:
        raise InputError("the domain has no interior")
    found = net.exact_net.pattern_at(point, domain.slice_map(), toward)
    return np.array(found.bits, net.pattern_type)


def value_at(row: Row, point: Sequence[Fraction]) -> Fraction:
    """``a . t + c`` for a row ``(a, c)``."""
    return sum((a * v for a, v in zip(row[:-1], point, strict=True) if a), Fraction(row[-1]))


def direction_into(rows: Sequence[Row], dim: int, along: Row | None = None) -> list[int] | None:
    """A direction in which all rows grow (and ``along`` stays as it is), or None."""
    cone = [(*row[:-1], -1) for row in rows]
    if along is not None:
        cone += [(*along[:-1], 0), (*(-v for v in along[:-1]), 0)]
    found = closest_point(cone, [Fraction(0)] * dim, "l2")
    return None if found is None else common_denominator(found[1])[0]


def region_of_pattern(net: Network, domain: Domain, pattern: Array) -> LocalRegion:
    """The activation region of a pattern that has one.

    Raises
    ------
    InputError
        If its closure has no interior.
    """
    rows, owners = region_rows(net, domain, pattern)
    if domain.dim > _core.max_dimension:
        found = facets(rows, domain.dim)
        if found is None:
            raise InputError("the pattern has no region in the domain")
        inside, kept, on = found
        table = tuple(rows[k] for k in kept)
        units = tuple(owners[k] for k in kept)
        return LocalRegion(net, domain, pattern, table, units, _Points(inside, tuple(on)))
    try:
        answer = _core.enumerate(
            _constant(domain.dim), polytope_bytes(rows, domain.dim), "regions", decide=1
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    layers, numbers = answer["line_layer"].tolist(), answer["line_unit"].tolist()
    if domain.dim > 2:
        ends = np.cumsum(answer["facet_size"])[:-1]
        listed = [part.tolist() for part in np.split(answer["facet_vertex"], ends)]
    else:
        steps = [0, 1][: domain.dim]
        listed = [[(k + step) % len(layers) for step in steps] for k in range(len(layers))]
    sides = [
        (rows[number], owners[number], tuple(corners))
        for layer, number, corners in zip(layers, numbers, listed, strict=True)
        if layer == -1
    ]
    corners = [
        (list(raw[0]), list(raw[1]) if len(raw) == 3 else None, raw[-1])
        for raw in answer["complex"].exact_vertices(0)
    ]
    table, units, members = zip(*sides, strict=True) if sides else ((), (), ())
    return LocalRegion(net, domain, pattern, table, units, _Corners(tuple(corners), members))


def _constant(dim: int) -> _core.Net:
    """A network without units: the whole domain is its one region."""
    from plverify.network import Network

    return Network.from_arrays([np.zeros((1, dim))]).core


def region_rows(
    net: Network, domain: Domain, pattern: Array
) -> tuple[list[Row], list[Unit | None]]:
    """Rows ``>= 0`` on the region, each once, the domain's first, and who makes them."""
    found: dict[Row, Unit | None] = {}

    def add(row: Sequence[int], owner: Unit | None) -> None:
        common = gcd(*row)
        if any(row[:-1]):  # else it is constant on the domain
            found.setdefault(tuple(v // common for v in row), owner)

    for row in domain.constraint_rows():
        add(row, None)
    exact = net.exact_net
    maps = exact.affine_maps(pattern.tolist(), domain.slice_map())
    split = net.layer_pieces(pattern)
    for layer, (_, node) in enumerate(exact.unit_nodes):
        table, _ = next(maps)
        pieces = split[layer].tolist()
        if isinstance(node, Max):
            for unit, (piece, window) in enumerate(zip(pieces, node.windows, strict=True)):
                won = table[dict(window)[piece]]
                for _, at in window:
                    add([a - b for a, b in zip(won, table[at], strict=True)], (layer, unit))
            continue
        for unit, (piece, slope) in enumerate(zip(pieces, node.slopes, strict=True)):
            if slope != (1, 0):
                add(table[unit] if piece else [-v for v in table[unit]], (layer, unit))
    return list(found), list(found.values())
