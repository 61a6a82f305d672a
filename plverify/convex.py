"""A network's output as a difference of two maxima of affine functions, exactly.

Every continuous piecewise-linear function is ``g - h`` with ``g`` and ``h`` convex, and a convex
one is the maximum of the affine maps of its cells. `difference_of_convex` makes both from the list
of regions. Nothing is decided in floating point: the maps are rational, and that ``g`` and ``h``
are convex is proven on the cells' exact vertices before they are returned.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.domain import Domain, Slice
from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows
from plverify.network import Network
from plverify.nodes import Dense, Node, Sparse, Units, with_sources
from plverify.partition import RegionSet, regions_with_vertices
from plverify.question import as_domain
from plverify.result import Result, Status, jsonable, rounded

Array = NDArray[Any]
Row = tuple[Fraction, ...]
IntRow = tuple[int, ...]

_SHORT = 10**6
"""`ConvexDifference.formula` writes fractions of smaller terms exactly."""


class MaxAffine(tuple[Row, ...]):
    """A maximum of affine functions: a tuple of exact rows ``(a..., c)`` that can be called.

    >>> size = MaxAffine([(Fraction(1), Fraction(0)), (Fraction(-1), Fraction(0))])
    >>> len(size), size(["-1/3"])
    (2, Fraction(1, 3))
    """

    __slots__ = ()

    def __call__(self, t: Any) -> Fraction:
        """``max_i a_i . t + c_i`` at a point of exact numbers (domain coordinates).

        Raises
        ------
        InputError
            On a wrong length, NaN or infinity, or if there are no rows (an incomplete run).
        """
        if not self:
            raise InputError("there is nothing to evaluate: the run was not complete")
        point = [*_coordinates(t, len(self[0]) - 1), Fraction(1)]
        return max(sum((a * v for a, v in zip(r, point, strict=True)), Fraction(0)) for r in self)


@dataclass(frozen=True)
class ConvexDifference(Result):
    """An output of a network on a domain as ``g - h``, each a maximum of affine functions.

    No row is superfluous: each is the maximum on a cell with interior. Outside the domain ``g - h``
    need not be the network.

    Attributes
    ----------
    g, h : MaxAffine
        Exact rows ``(a..., c)`` in domain coordinates, largest first; ``g(t)`` evaluates exactly.
        Empty if not complete.
    output : int
    hyperplanes : int
        How many of them were drawn through the domain to cut its regions into `cells`.
    cells : int
        The pieces of the domain on which ``g`` and ``h`` are both affine, neighbours of equal maps
        counted apart; neither has more rows.
    complete : bool
    status : Status
        "complete", "timeout" or "interrupted".
    """

    g: MaxAffine
    h: MaxAffine
    output: int
    hyperplanes: int
    cells: int
    complete: bool
    status: Status
    _net: Network = field(repr=False, compare=False)
    _domain: Domain = field(repr=False, compare=False)
    _proof: _Cells | None = field(repr=False, compare=False, default=None)

    @property
    def reason(self) -> str:
        """Why the run is not complete: "timeout", "interrupted", or ""."""
        return "" if self.complete else str(self.status)

    @property
    def g_rows(self) -> NDArray[np.float64]:
        """(len(g), dim + 1) float64 array: the rows of ``g``, each number correctly rounded."""
        return _floats(self.g, self._domain.dim)

    @property
    def h_rows(self) -> NDArray[np.float64]:
        """(len(h), dim + 1) float64 array: the rows of ``h``, each number correctly rounded."""
        return _floats(self.h, self._domain.dim)

    def __call__(self, t: Any) -> Fraction:
        """``g(t) - h(t)``."""
        return self.g(t) - self.h(t)

    def formula(self, limit: int = 12) -> str:
        """The difference as text; of a longer maximum only the first ``limit`` terms.

        The coordinates are x, y, z, or x1, x2, ... from four on, and t or t1, t2, ... on a slice.
        Fractions with a term of seven digits or more are rounded to six.

        >>> from plverify.domain import Box
        >>> bump = Network.from_arrays([[[2], [2]], [[1, -1]]], [[1, -1], [0]])
        >>> difference_of_convex(bump, Box([-1], [1])).formula()
        'max(2x + 1, 0) - max(2x - 1, 0)'
        """
        if not self.complete:
            return f"incomplete ({self.reason})"
        dim, sliced = self._domain.dim, isinstance(self._domain, Slice)
        if sliced:
            names = ["t"] if dim == 1 else [f"t{k + 1}" for k in range(dim)]
        else:
            names = list("xyz")[:dim] if dim <= 3 else [f"x{k + 1}" for k in range(dim)]
        left, right = (_max_text(part, names, limit) for part in (self.g, self.h))
        if right == "0":
            return left
        if len(self.h) == 1:
            right = f"({right})"
        return f"-{right}" if left == "0" else f"{left} - {right}"

    def verify(self, points: Iterable[Any]) -> bool:
        """Whether ``g - h`` is the network's output at points of the domain, exactly.

        Parameters
        ----------
        points : iterable of (dim,) exact numbers
            In domain coordinates.

        Raises
        ------
        InputError
            If a point has a wrong length or lies outside the domain, or the run is not complete.

        >>> from plverify.domain import Box
        >>> net = Network.from_arrays([[[1, 1], [1, -1]], [[1, -1]]])
        >>> difference_of_convex(net, Box(-1, 1, 2)).verify([[0, 0], ["1/3", 0.1]])
        True
        """
        for t in points:
            point: Any = _coordinates(t, self._domain.dim)
            inner = self._domain.inner if isinstance(self._domain, Slice) else self._domain
            if not inner.contains(point):
                raise InputError(f"the point {t!r} lies outside the domain")
            x = self._domain.point(point) if isinstance(self._domain, Slice) else point
            if self(point) != self._net.exact(x)[self.output]:
                return False
        return True

    def check(self) -> bool:
        """Prove once more, directly, that ``g`` and ``h`` are what they should be on the domain.

        On every cell one row of ``g`` and one of ``h`` differ by the network's affine map there,
        and are at least all other rows at the cell's exact vertices, hence on the cell. That takes
        time proportional to rows times vertices; before ``g`` and ``h`` were returned the
        comparison was with the rows of adjacent cells only, which suffices by the theorem quoted at
        `difference_of_convex`.

        Raises
        ------
        InputError
            If the run is not complete.
        """
        if self._proof is None:
            raise InputError(f"the decomposition is not complete ({self.reason})")
        return self._proof.holds(self.g, self.h)

    def to_dict(self) -> dict[str, Any]:
        """The fields as one JSON-ready dictionary, with what was asked."""
        asked = {"network": self._net.digest, "domain": self._domain.describe()}
        return {**super().to_dict(), **jsonable(asked)}


def difference_of_convex(
    net: Network,
    domain: Domain,
    output: int = 0,
    *,
    threads: int = 1,
    timeout: float | None = None,
) -> ConvexDifference:
    """Write an output of a network on a domain as a difference of two maxima of affine functions.

    Parameters
    ----------
    net : Network
    domain : Box, Polytope, Slice or Space of at most eight dimensions
    output : int
        Which output ``f`` is meant.
    threads : int
        The answer does not depend on it.
    timeout : float, optional
        Seconds of wall time; after them the answer comes without rows, with ``complete`` False.

    Raises
    ------
    InputError
        If there is no such output; and as `plverify.count_regions`.

    Notes
    -----
    Across a facet between two regions ``f`` bends up or down. For every hyperplane that holds a
    facet where it bends down, ``h`` gets a term ``max(0, w . t + b)`` that bends up by the largest
    of those amounts; then ``g = f + h`` bends up, or not at all, across every facet. A continuous
    piecewise-affine function on a convex domain that does so is convex (along a line that meets no
    two facets at once its slope never falls; other lines are limits of such), and a convex one is
    the maximum of its affine maps. Where fewer hyperplanes bend up than down, the same is done to
    ``-f``. So ``h`` is 0 where ``f`` is convex, and ``g`` is 0 where ``f`` is concave and not
    affine.

    Bends are read off the exact maps. In the end the map of ``g`` on every cell is compared with
    those of the adjacent cells at the cell's exact vertices, and that of ``h`` too.

    The hyperplanes cut the whole domain: ``k`` of them make up to the order of ``k**dim`` cells, of
    which `ConvexDifference.cells` tells the number. It is not the shortest decomposition.

    References: A. Kripfganz and R. Schulze, "Piecewise affine functions as a difference of two
    convex functions", Optimization 18 (1987); S. Wang, "General constructive representations for
    continuous piecewise-linear functions", IEEE Transactions on Circuits and Systems I 51 (2004).

    >>> from plverify.domain import Box, Space
    >>> saw = Network.from_arrays([[[1], [1], [1]], [[2, -4, 4]]], [[0, -1, -2], [0]])
    >>> difference_of_convex(saw, Box([0], [3])).formula()
    'max(6x - 8, 2x) - max(4x - 4, 0)'
    >>> smaller = Network.from_arrays([[[1, -1]], [[-1]]])
    >>> print(difference_of_convex(smaller, Space(2)).formula())
    -max(x - y, 0)
    """
    domain = as_domain(domain, net)
    wrong = not isinstance(output, (int, np.integer)) or isinstance(output, bool)
    if wrong or not 0 <= output < net.output_size:
        raise InputError(f"output is {output!r}, the network has {net.output_size}, counted from 0")
    clock = _Clock(timeout)
    try:
        return _decompose(net, domain, int(output), threads, clock)
    except _Stopped as stopped:
        nothing = MaxAffine()
        return ConvexDifference(
            nothing, nothing, int(output), 0, 0, False, stopped.status, net, domain
        )


# ------------------------------------------------------------------------------------ construction


class _Stopped(Exception):
    """The run ended before its answer."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


class _Clock:
    """The time that is left to a run."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout, self._start = timeout, time.monotonic()

    @property
    def left(self) -> float | None:
        """Seconds; the engine refuses a timeout that is no time, so that one is handed on."""
        if self._timeout is None or not self._timeout >= 0:
            return self._timeout
        return max(0.0, self._timeout - (time.monotonic() - self._start))

    def tick(self) -> None:
        """Stop if there is none left."""
        if self.left == 0:
            raise _Stopped(Status.TIMEOUT)


def _decompose(
    net: Network, domain: Domain, output: int, threads: int, clock: _Clock
) -> ConvexDifference:
    """`difference_of_convex`, or `_Stopped`."""
    found = _listed(net, domain, threads, clock)
    table, label, den = _output_maps(net, output, domain, found, clock)
    down, up = _bends(found, table, label, clock)
    # With f for f = g - h, and with -f for -f = h - g: whichever needs fewer hyperplanes.
    sign = 1 if len(down) <= len(up) else -1
    bends = down if sign == 1 else up
    number, maps = output, table[label]
    hinge_maps = np.zeros_like(maps)
    if bends:
        hinges: Array = np.array([[k * v for v in row] for row, k in bends.items()], dtype=object)
        found = _listed(*_with_hinges(net, output, domain, hinges, den), threads, clock)
        number, known = 0, den
        table, label, den = _output_maps(net, output, domain, found, clock)
        if den != known:
            raise AssertionError("the cells have other maps than the regions that they are part of")
        maps = table[label]
        hinge_maps = found.patterns[:, net.unit_count :].astype(object).dot(hinges)
    added, total = _Pieces.of(hinge_maps, den), _Pieces.of(sign * maps + hinge_maps, den)
    g, h = (total, added) if sign == 1 else (added, total)
    cells = _Cells(found, number, g.label, h.label)
    if not cells.convex((g, h), clock):
        raise AssertionError("a decomposition into convex functions failed its own check")
    exact, counts = (g.exact(), h.exact()), (len(bends), found.count)
    return ConvexDifference(*exact, output, *counts, True, found.status, net, domain, cells)


def _listed(net: Network, domain: Domain, threads: int, clock: _Clock) -> RegionSet:
    """All regions."""
    found = regions_with_vertices(net, domain, threads=threads, timeout=clock.left)
    if not found.complete:
        raise _Stopped(found.status)
    return found


def _output_maps(
    net: Network, output: int, domain: Domain, found: RegionSet, clock: _Clock
) -> tuple[Array, Array, int]:
    """The distinct maps of an output as integer rows over one denominator, and which is where.

    ``found`` are regions of ``net`` or of `_with_hinges`, whose patterns begin with those of
    ``net``.
    """
    exact, place, layer = net.exact_net, domain.slice_map(), len(net.widths)
    patterns = np.ascontiguousarray(found.patterns[:, : net.unit_count])
    numbers: dict[Row, int] = {}
    known: dict[bytes, int] = {}
    label = np.zeros(found.count, np.int64)
    for i, pattern in enumerate(patterns):
        key = pattern.tobytes()
        if key not in known:
            clock.tick()
            ints, den = exact.unit_row(layer, output, pattern.tolist(), place)
            known[key] = numbers.setdefault(tuple(Fraction(v, den) for v in ints), len(numbers))
        label[i] = known[key]
    table, den = _common(list(numbers))
    return table, label, den


def _bends(
    found: RegionSet, table: Array, label: Array, clock: _Clock
) -> tuple[dict[IntRow, int], dict[IntRow, int]]:
    """Hyperplanes across which the output bends down, and up, with the largest such bend.

    A hyperplane is a primitive integer row ``(w, b)`` whose first nonzero entry is positive, a bend
    the factor that makes it the difference of the two maps (over the table's denominator).
    """
    down: dict[IntRow, int] = {}
    up: dict[IntRow, int] = {}
    for i, across in enumerate(_neighbours(found)):
        clock.tick()
        corners: Array | None = None
        for j in across:
            if j < i or label[i] == label[j]:
                continue
            difference: list[int] = (table[label[j]] - table[label[i]]).tolist()
            size = gcd(*difference)
            first = next(v for v in difference if v)
            row = tuple(v // (size if first > 0 else -size) for v in difference)
            # Region i lies on one side of the hyperplane, where the sign of the difference says
            # which of the two maps is the larger.
            corners = _corners(found, i) if corners is None else corners
            sides = _signs(np.array([difference], dtype=object), corners)
            bend = down if (sides > 0).any() else up
            bend[row] = max(bend.get(row, 0), size)
    return down, up


def _with_hinges(
    net: Network, output: int, domain: Domain, hinges: Array, den: int
) -> tuple[Network, Domain]:
    """The network in domain coordinates with a unit ``max(0, w . t + b)`` per hyperplane beside it.

    Output 0 is the network's ``output``, output 1 the sum of the new units, which come last.
    """
    nodes: list[Node] = []
    place = domain.slice_map()
    if place is not None:
        assert isinstance(domain, Slice)
        scale, rows = place
        nodes.append(Dense(0, ExactRows.from_integers(rows, [scale] * len(rows))))
        domain = domain.inner
    before = len(nodes)
    nodes += [with_sources(node, [s + before for s in node.sources]) for node in net.nodes]
    end, count = len(nodes), len(hinges)
    nodes.append(Dense(0, ExactRows.from_integers(hinges.tolist(), [den] * count)))
    nodes.append(Units(end + 1, ((0, 0),) * count))
    index = np.full((2, count), -1, np.int32)
    index[0, 0] = output
    index[1] = np.arange(count) + net.output_size
    ones = [[1] + [0] * count, [1] * count + [0]]
    nodes.append(Sparse((end, end + 2), index, ExactRows.from_integers(ones, [1, 1])))
    return Network(domain.dim, nodes), domain


@dataclass(frozen=True, eq=False)
class _Pieces:
    """A function's distinct maps as integer rows over one denominator, and which is where."""

    table: Array
    den: int
    label: Array

    @staticmethod
    def of(maps: Array, den: int) -> _Pieces:
        """From the map of every cell; the rows are sorted, so that no order of cells shows."""
        rows = [tuple(row) for row in maps.tolist()]
        order = sorted(set(rows), reverse=True)
        number = {row: k for k, row in enumerate(order)}
        table: Array = np.array(order, dtype=object)
        return _Pieces(table, den, np.array([number[row] for row in rows], np.int64))

    def exact(self) -> MaxAffine:
        """The rows as Fractions."""
        return MaxAffine(tuple(Fraction(v, self.den) for v in row) for row in self.table.tolist())


# ------------------------------------------------------------------------------------ proof


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells on which ``g`` and ``h`` are affine, with the number of the row of each.

    ``output`` is the network output of the cells' own network that is decomposed.
    """

    found: RegionSet
    output: int
    g: Array
    h: Array

    def convex(self, parts: Sequence[_Pieces], clock: _Clock) -> bool:
        """Whether functions with one map per cell are convex across all facets between cells."""
        for i, across in enumerate(_neighbours(self.found)):
            clock.tick()
            corners: Array | None = None
            for part in parts:
                own = int(part.label[i])
                others = {int(part.label[j]) for j in across} - {own}
                if others:
                    corners = _corners(self.found, i) if corners is None else corners
                    above = part.table[own] - part.table[sorted(others)]
                    if (_signs(above, corners) < 0).any():
                        return False
        return True

    def holds(self, g: MaxAffine, h: MaxAffine) -> bool:
        """`ConvexDifference.check`."""
        net, place = self.found.net, self.found.domain.slice_map()
        tables = [_common(part)[0] for part in (g, h)]
        for i, pattern in enumerate(self.found.patterns):
            at = int(self.g[i]), int(self.h[i])
            ints, den = net.exact_net.unit_row(
                len(net.widths), self.output, pattern.tolist(), place
            )
            mine = tuple(a - b for a, b in zip(g[at[0]], h[at[1]], strict=True))
            if mine != tuple(Fraction(v, den) for v in ints):
                return False
            corners = _corners(self.found, i)
            for table, own in zip(tables, at, strict=True):
                if (_signs(table[own] - table, corners) < 0).any():
                    return False
        return True


def _neighbours(found: RegionSet) -> list[list[int]]:
    """For every region those across its facets, each once.

    Raises
    ------
    AssertionError
        If one is not listed, which in a complete run would be the engine's fault.
    """
    across, start = found.neighbour_index.tolist(), found.facet_start.tolist()
    if min(across, default=-1) < -1:
        raise AssertionError("a facet leads to a region that is not listed")
    return [
        sorted({j for j in across[start[i] : start[i + 1]] if j >= 0}) for i in range(found.count)
    ]


def _corners(found: RegionSet, index: int) -> Array:
    """(2, dim + 1, vertices) integers: ``(q, 0)`` and ``(p, den)`` of ``p / den + R q / den``.

    ``q`` is 0 at a finite vertex; ``R`` is beyond all numbers (`plverify.region.ExactVertex`).
    """
    far, near = [], []
    for *coordinates, den in found._complex.exact_vertices(index):
        p, q = coordinates if len(coordinates) == 2 else (coordinates[0], (0,) * found.domain.dim)
        near.append([*p, den])
        far.append([*q, 0])
    return np.array([far, near], dtype=object).transpose(0, 2, 1)


def _signs(rows: Array, corners: Array) -> Array:
    """(rows, vertices): a positive number, 0 or a negative one, as affine functions are there.

    One that is nowhere negative at the vertices is nowhere negative on the region: for every large
    ``R`` that holds on the convex hull of the vertices, and these hulls exhaust the region.
    """
    far, near = rows.dot(corners[0]), rows.dot(corners[1])
    return np.where(far != 0, far, near)


# ------------------------------------------------------------------------------------ rows and text


def _common(rows: Sequence[Row]) -> tuple[Array, int]:
    """Rows as integers over their common denominator."""
    den = lcm(*(v.denominator for row in rows for v in row))
    ints = [[v.numerator * (den // v.denominator) for v in row] for row in rows]
    return np.array(ints, dtype=object), den


def _coordinates(t: Any, dim: int) -> list[Fraction]:
    point = ExactArray(t, "t")
    if point.shape != (dim,):
        raise InputError(f"t has shape {point.shape}, expected ({dim},)")
    return point.fractions().tolist()


def _floats(rows: MaxAffine, dim: int) -> NDArray[np.float64]:
    table = [[rounded(v) for v in row] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), dim + 1)


def _max_text(rows: MaxAffine, names: Sequence[str], limit: int) -> str:
    terms = [_affine_text(row, names) for row in rows[: max(1, limit)]]
    if len(rows) == 1:
        return terms[0]
    if len(rows) > len(terms):
        terms.append(f"... {len(rows) - len(terms)} more")
    return f"max({', '.join(terms)})"


def _affine_text(row: Row, names: Sequence[str]) -> str:
    out = ""
    for value, name in zip(row, [*names, ""], strict=True):
        if not value:
            continue
        size = _number_text(abs(value))
        if name:
            size = "" if size == "1" else size if size.isdigit() else f"({size})"
        lead = (" - " if value < 0 else " + ") if out else ("-" if value < 0 else "")
        out += f"{lead}{size}{name}"
    return out or "0"


def _number_text(value: Fraction) -> str:
    if value.numerator < _SHORT and value.denominator < _SHORT:
        return str(value)
    return f"{rounded(value):.6g}"
