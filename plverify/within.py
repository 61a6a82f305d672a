"""The regions within a distance of a point, exactly, in l1, l2 or linf.

In at most eight dimensions the engine lists the regions of a box about the ball, and every one of
them is measured (`plverify.closest`). In more dimensions the box is far larger than the ball; there
the regions are found from one to the next, across facets that meet the ball, and of a region only
the hyperplanes are looked at that meet the ball. That reaches all: a straight way from the point to
one of a region stays in the ball, and around every point of it the regions hang together through
facets that hold that point.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.boundary import walls_of
from plverify.closest import NORMS, closest_point
from plverify.domain import Box, Domain, Polytope, Slice, Space
from plverify.errors import InputError
from plverify.exact_array import exact_number
from plverify.exact_net import common_denominator
from plverify.local import (
    LocalRegion,
    Row,
    direction_into,
    pattern_in,
    point_of,
    region_of_pattern,
    region_rows,
    value_at,
)
from plverify.network import Network
from plverify.partition import regions_with_vertices
from plverify.question import MAX_DIMENSION, check_limits
from plverify.result import Result, Status, rounded

Array = NDArray[Any]
Point = tuple[Fraction, ...]
Found = tuple[Fraction, tuple[int, ...], Point]
"""Distance, pattern, closest point."""


@dataclass(frozen=True)
class NearRegions(Result):
    """The regions within a distance of a point, the nearest first; ``found[i]`` is a `LocalRegion`.

    Attributes
    ----------
    point : tuple of Fraction
    radius : Fraction
    norm : str
    patterns : (count, units) array
        As `Network.pattern`.
    distances : tuple of Fraction
        From the point to each closed region, exactly; in l2 their *squares*. Regions at the radius
        itself are listed, too.
    nearest : tuple of points
        A point of each closed region at that distance.
    complete : bool
    status : Status
        "complete", "timeout" or "interrupted".
    """

    point: Point
    radius: Fraction
    norm: str
    patterns: Array = field(repr=False)
    distances: tuple[Fraction, ...] = field(repr=False)
    nearest: tuple[Point, ...] = field(repr=False)
    complete: bool
    status: Status
    _net: Network = field(repr=False)
    _domain: Domain = field(repr=False)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.distances)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> LocalRegion:
        return region_of_pattern(self._net, self._domain, self.patterns[index])

    def __iter__(self) -> Iterator[LocalRegion]:
        return (self[i] for i in range(self.count))

    def to_dict(self) -> dict[str, Any]:
        """The public fields with the count, JSON-ready."""
        return {**super().to_dict(), "count": self.count}


def regions_within(
    net: Network,
    x: Any,
    radius: Any,
    norm: str = "l2",
    domain: Domain | None = None,
    *,
    threads: int = 1,
    timeout: float | None = None,
) -> NearRegions:
    """The activation regions whose distance from ``x`` is at most ``radius``, exactly.

    Parameters
    ----------
    net : Network
    x : (dim,) exact numbers
        In domain coordinates, in which the distance is meant, too.
    radius : exact number
        Zero: the regions that meet at ``x``.
    norm : "l2", "l1" or "linf"
    domain : Domain, optional
        Default all of R^n.
    threads : int
        Of the enumeration, in at most eight dimensions. The answer does not depend on it.
    timeout : float, optional
        Seconds of wall time; what is found by then is returned, with ``complete`` False.

    Raises
    ------
    InputError
        If ``x`` lies outside the domain, on another norm, or a radius that is negative or infinite.

    Notes
    -----
    About a millisecond per region of the box around the ball in few dimensions; in many, some
    milliseconds per region and hyperplane that meets the ball.

    >>> net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])         # kinks on the two axes
    >>> [regions_within(net, [3, 4], 4, norm).count for norm in ("l1", "l2", "linf")]
    [3, 3, 4]
    >>> [str(d) for d in regions_within(net, [3, 4], 5).distances]      # squares
    ['0', '9', '16', '25']
    """
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r}, expected 'l1', 'l2' or 'linf'")
    reach = exact_number(radius, "radius")
    assert isinstance(reach, Fraction)
    if reach < 0:
        raise InputError(f"radius is {radius}, it cannot be negative")
    check_limits(threads, timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    point, domain = point_of(net, x, domain)
    start = tuple(pattern_in(net, domain, point).tolist())
    search = _Ball(net, domain, point, reach, norm)
    found: list[Found] = []
    status = Status.COMPLETE
    answers: Iterable[Found | None]
    try:
        if reach and domain.dim <= MAX_DIMENSION:
            inside = _clip(domain, Box.ball(point, reach * Fraction(1025, 1024)))
            listed = regions_with_vertices(net, inside, threads=threads, timeout=timeout)
            status = listed.status
            steps = ((region.pattern, region.inequalities()) for region in listed)
            answers = (search.measured(pattern, rows) for pattern, rows in steps)
        else:
            answers = search.flood(start)
        for answer in answers:
            if answer is not None:
                found.append(answer)
            if deadline is not None and time.monotonic() > deadline:
                status = Status.TIMEOUT
                break
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    found.sort()
    patterns = np.array([pattern for _, pattern, _ in found], net.pattern_type)
    return NearRegions(
        point=tuple(point),
        radius=reach,
        norm=norm,
        patterns=patterns.reshape(len(found), net.unit_count),
        distances=tuple(distance for distance, _, _ in found),
        nearest=tuple(place for _, _, place in found),
        complete=status is Status.COMPLETE,
        status=status,
        _net=net,
        _domain=domain,
    )


def _clip(domain: Domain, box: Box) -> Domain:
    """The part of a domain in a box, in its own coordinates."""
    if isinstance(domain, Slice):
        return Slice(domain.origin, domain.basis, _clip(domain.inner, box))
    if isinstance(domain, Space):
        return box
    if isinstance(domain, Box):
        low = [max(a, b) for a, b in zip(domain.lo, box.lo, strict=True)]
        high = [min(a, b) for a, b in zip(domain.hi, box.hi, strict=True)]
        return Box.of_exact(low, high)
    rows = [*domain.constraint_rows(), *box.constraint_rows()]
    return Polytope([[-v for v in row[:-1]] for row in rows], [row[-1] for row in rows])


class _Ball:
    """A closed ball and the regions that meet it."""

    def __init__(
        self, net: Network, domain: Domain, point: Sequence[Fraction], radius: Fraction, norm: str
    ) -> None:
        self.net, self.domain, self.point, self.norm = net, domain, point, norm
        self.radius = radius
        self.limit = radius**2 if norm == "l2" else radius
        rows = (row for row in domain.constraint_rows() if any(row[:-1]))
        self._constraints = [row for row in rows if self._meets(row)]

    def measured(self, pattern: Array, rows: Sequence[Row]) -> Found | None:
        """A region with its distance, if that is not too large."""
        if any(not self._meets(row) and value_at(row, self.point) < 0 for row in rows):
            return None
        nearest = closest_point(rows, self.point, self.norm, self.limit)
        if nearest is None:
            return None
        return nearest[0], tuple(pattern.tolist()), nearest[1]

    def _meets(self, row: Row) -> bool:
        """Whether the hyperplane of a row meets the ball."""
        value, normal = abs(value_at(row, self.point)), row[:-1]
        if self.norm == "l2":
            return value**2 <= self.limit * sum(a * a for a in normal)
        size = max(map(abs, normal)) if self.norm == "l1" else sum(map(abs, normal))
        return value <= self.limit * size

    def flood(self, start: tuple[int, ...]) -> Iterator[Found]:
        """All regions that meet the ball, each with its distance."""
        todo, seen = [start], {start}
        crossed: set[tuple[tuple[int, ...], Row]] = set()  # from the other side
        while todo:
            pattern = todo.pop()
            walls = self._walls(pattern)
            rows = [*self._constraints, *walls]
            nearest = closest_point(rows, self.point, self.norm)
            assert nearest is not None
            yield nearest[0], pattern, nearest[1]
            for row in walls:
                if (pattern, row) in crossed:
                    continue
                beyond = self._across(row, rows)
                if beyond is None:
                    continue
                crossed.add((beyond, tuple(-v for v in row)))
                if beyond not in seen:
                    seen.add(beyond)
                    todo.append(beyond)

    def _walls(self, pattern: tuple[int, ...]) -> list[Row]:
        """Rows, nonnegative on a region, of the units whose hyperplanes meet the ball, each once.

        Without those of the domain's constraints, which cannot be crossed.
        """
        found = (_coprime(row) for row in self._unit_rows(pattern) if any(row[:-1]))
        own = set(map(_coprime, self._constraints))
        return [row for row in dict.fromkeys(found) if row not in own and self._meets(row)]

    def _unit_rows(self, pattern: tuple[int, ...]) -> Iterator[Row]:
        net, pieces = self.net, np.array(pattern, self.net.pattern_type)
        if isinstance(self.domain, Slice):
            rows, owners = region_rows(net, self.domain, pieces)
            yield from (row for row, unit in zip(rows, owners, strict=True) if unit is not None)
            return
        walls, low = walls_of(net, pieces, np.array([rounded(v) for v in self.point]), self.norm)
        near = np.flatnonzero(low <= np.nextafter(rounded(self.radius), np.inf))
        for layer, unit, entry, minus in walls[near].tolist():
            other = None if minus < 0 else minus
            row, _ = net.exact_net.unit_row(layer, entry, pattern, minus=other)
            flip = minus < 0 and not net.layer_pieces(pieces)[layer][unit]
            yield tuple(-v for v in row) if flip else row

    def _across(self, row: Row, rows: Sequence[Row]) -> tuple[int, ...] | None:
        """The pattern beyond the facet of a row, None if it is none or does not meet the ball."""
        opposite = tuple(-v for v in row)
        nearest = closest_point([*rows, opposite], self.point, self.norm, self.limit)
        if nearest is None:
            return None
        # From that point, where other rows may vanish as well, into the facet and then across.
        tight = [
            other
            for other in rows
            if not value_at(other, nearest[1]) and _coprime(other) != _coprime(row)
        ]
        along = direction_into(tight, self.domain.dim, row)
        if along is None:
            return None
        place, den = common_denominator(nearest[1])
        return self.net.exact_net.pattern_of_germ(
            [place, along, list(opposite[:-1])], den, 0, self.domain.slice_map()
        )


def _coprime(row: Row) -> Row:
    common = gcd(*row)
    return tuple(v // common for v in row)
