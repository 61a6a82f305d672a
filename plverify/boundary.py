"""Distances to region boundaries, and the decision boundary: exact polylines in the plane."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plverify.compose import with_zero_output
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.network import Network
from plverify.nodes import Linear, Max, Units
from plverify.question import Progress, as_domain, enumerate_regions, status_of
from plverify.region import ExactVertex
from plverify.region_list import Unit
from plverify.result import Result, Status, enclose, rounded

if TYPE_CHECKING:
    from plverify.decision_mesh import DecisionMesh

Array = NDArray[Any]

# ------------------------------------------------------------------------- distance to a boundary


@dataclass(frozen=True)
class BoundaryDistance(Result):
    """The distance from a point to the nearest boundary of an activation region.

    Attributes
    ----------
    lower, upper : float
        Proven bounds; ``upper <= nextafter(lower)``. Both are ``inf`` where no unit has a boundary.
    exact : Fraction or None
        The distance itself in l1 and linf, its *square* in l2; None if infinite.
    unit : (layer, unit) or None
        A unit whose boundary is nearest.
    norm : str
    """

    lower: float
    upper: float
    exact: Fraction | None
    unit: Unit | None
    norm: str


def _dual_float(norm: str, rows: Array) -> Array:
    if norm == "l2":
        return np.linalg.norm(rows, axis=1)
    size = np.abs(rows)
    return size.max(axis=1, initial=0) if norm == "l1" else size.sum(axis=1)


def _exact_distance(norm: str, value: Fraction, row: list[Fraction]) -> Fraction:
    """The exact distance to ``row . x + .. = 0`` given the value there; squared in l2."""
    if norm == "l2":
        return value * value / sum((a * a for a in row), Fraction(0))
    size = [abs(a) for a in row]
    return abs(value) / (max(size) if norm == "l1" else sum(size, Fraction(0)))


def boundary_distance(net: Network, x: Any, norm: str = "l2") -> BoundaryDistance:
    """The exact distance from ``x`` to the nearest boundary between activation regions.

    On the region of ``x`` every pre-activation is affine, ``z_i = a_i . x + c_i``, and the distance
    to the region's boundary is the least ``|z_i(x)| / ||a_i||_*`` with the dual norm: a redundant
    hyperplane is never nearer than the boundary. (Of a window, the differences of the winner and
    the others.) Floating point with a rigorous error bound finds
    the candidates, exact arithmetic decides among them.

    Parameters
    ----------
    net : Network
    x : (n,) exact numbers
        A point of input space, in any dimension.
    norm : "l2", "l1" or "linf"

    Raises
    ------
    InputError
        On another norm or a wrong shape.

    >>> net = Network.from_arrays([[[3, 4]], [[1]]], [[-5], [0]])
    >>> boundary_distance(net, [0, 0]).lower, boundary_distance(net, [0, 0], "linf").exact
    (1.0, Fraction(5, 7))
    """
    if norm not in ("l1", "l2", "linf"):
        raise InputError(f"norm is {norm!r}, expected 'l1', 'l2' or 'linf'")
    at = net.affine_map(x)
    exact, bits = net.exact_net, at.pattern.tolist()
    point = [Fraction(v) for v in net._point(x).data.tolist()]
    walls, low = walls_of(net, at.pattern, np.array([rounded(v) for v in point]), norm)
    best: tuple[Fraction, Unit] | None = None
    if at.on_boundary:
        low = np.zeros_like(low)
    for k in np.argsort(low, kind="stable").tolist():
        if np.isinf(low[k]):
            break
        if best is not None:
            reached = enclose(best[0], norm == "l2")[1]
            if low[k] > reached or best[0] == 0:
                break
        layer, unit, entry, minus = walls[k].tolist()
        row, den = exact.unit_row(layer, entry, bits, minus=None if minus < 0 else minus)
        if not any(row[:-1]):
            continue
        gradient = [Fraction(v, den) for v in row[:-1]]
        value = sum((a * v for a, v in zip(gradient, point, strict=True)), Fraction(row[-1], den))
        distance = _exact_distance(norm, value, gradient)
        if best is None or distance < best[0]:
            best = distance, (layer, unit)
    if best is None:
        return BoundaryDistance(math.inf, math.inf, None, None, norm)
    lower, upper = enclose(best[0], norm == "l2")
    return BoundaryDistance(lower, upper, best[0], best[1], norm)


def walls_of(net: Network, pieces: Array, x: Array, norm: str) -> tuple[Array, Array]:
    """Every hyperplane that may bound the region, and a rigorous lower bound of its distance.

    A wall is a row ``(layer, unit, entry, minus)``: the zero of the layer's pre-activation
    ``entry``, less ``minus`` where that is not -1. The bound is inf where the row is surely zero.

    Beside every product ``P`` runs the product ``|P|`` of the absolute values; the entries of ``P``
    are off by at most ``2 (N + L + 2) 2**-53`` times those of ``|P|`` (Higham, "Accuracy and
    Stability of Numerical Algorithms", section 3), which is doubled here for the rounding of the
    bound itself. What overflows or underflows gives the trivial bound 0. Beside both runs an
    indicator of what depends on the input at all.
    """
    n = net.input_size
    terms = sum(node.terms for node in net.nodes if isinstance(node, Linear))
    grow = 4 * (n + terms + 2 * len(net.nodes) + 8) * 2.0**-53
    start = np.zeros((2 * n + 3, n))
    start[:n] = start[n + 1 : 2 * n + 1] = np.eye(n)
    start[-1] = 1.0
    tensors: dict[int, Array] = {0: start}
    split = net.layer_pieces(pieces)
    walls: list[Array] = [np.zeros((0, 4), np.int64)]
    lows: list[Array] = [np.zeros(0)]
    with np.errstate(all="ignore"):
        for k, node in enumerate(net.nodes):
            joined = np.concatenate([tensors[source] for source in node.sources], axis=1)
            if isinstance(node, Linear):
                out = np.empty((len(joined), node.size))
                out[: n + 1] = node.product(joined[: n + 1])
                out[n + 1 :] = node.product(joined[n + 1 :], absolute=True)
                out[n] += node.bias
                out[2 * n + 1] += np.abs(node.bias)
                # what underflowed is missing from both products; later weights may amplify it
                out[n + 1 : -1] += 1e-290
            else:
                layer = len(walls) - 1
                table = _layer_walls(node, layer, split[layer])
                walls.append(table)
                lows.append(_wall_bounds(joined, table[:, 2], table[:, 3], x, grow, norm))
                if isinstance(node, Units):
                    out = joined * np.where(split[layer] > 0, 1.0, node.slope)
                    out[n + 1 :] = np.abs(out[n + 1 :])
                else:
                    out = joined[:, node.table[split[layer], np.arange(node.size)]]
            tensors[k + 1] = out
    return np.concatenate(walls), np.concatenate(lows)


def _layer_walls(node: Units | Max, layer: int, pieces: Array) -> Array:
    """Rows ``(layer, unit, entry, minus)`` of a layer under its pieces."""
    unit: Array
    entry: Array
    minus: Array
    if isinstance(node, Units):
        unit = np.flatnonzero(~node.single)
        entry, minus = unit, np.full(len(unit), -1)
    else:
        won = node.table[pieces, np.arange(node.size)]
        other, unit = np.nonzero((node.table >= 0) & (node.table != won))
        entry, minus = won[unit], node.table[other, unit]
    return np.column_stack([np.full(len(unit), layer), unit, entry, minus]).astype(np.int64)


def _wall_bounds(
    joined: Array, entry: Array, minus: Array, x: Array, grow: float, norm: str
) -> Array:
    """Lower bounds of the distances from ``x`` to the walls of one layer; see `walls_of`."""
    n = len(x)
    two = minus >= 0
    rows = joined[:, entry]
    if two.any():
        signs = np.where(np.arange(len(joined)) <= n, -1.0, 1.0)[:, None]
        rows = rows + signs * np.where(two, joined[:, minus], 0.0)
    value_error = grow * (np.abs(x) @ rows[n + 1 : 2 * n + 1] + rows[2 * n + 1]) + 1e-280
    value = x @ rows[:n] + rows[n]
    length = _dual_float(norm, rows[:n].T)
    length_error = grow * _dual_float(norm, rows[n + 1 : 2 * n + 1].T) + 1e-280
    low = np.maximum(np.abs(value) - value_error, 0) / (length + length_error) * (1 - 1e-14)
    regular = np.isfinite(low) & (length > length_error)
    regular &= (length > 1e-150) & (length < 1e150) & (value_error < 1e150)
    return np.where(rows[-1] == 0, np.inf, np.where(regular, low, 0.0))


# ------------------------------------------------------------------------------- decision boundary


@dataclass(frozen=True)
class TieSegment:
    """A segment on which the outputs ``i < j`` are equal and no other is larger.

    ``open_set`` says that they are equal on a whole cell, of whose outline the segment is part.
    """

    start: ExactVertex
    end: ExactVertex
    i: int
    j: int
    open_set: bool


@dataclass(frozen=True)
class DecisionBoundary(Result):
    """Where the label changes: all points at which two outputs tie for the maximum.

    For a network with one output, where the output is 0.

    Attributes
    ----------
    segments : tuple of TieSegment
        One per cell that it crosses, exact; in one dimension single points.
    exact : tuple of tuples of ExactVertex
        The segments joined into polylines; a closed one ends where it begins.
    complete : bool
    status : Status
    """

    segments: tuple[TieSegment, ...] = field(repr=False)
    exact: tuple[tuple[ExactVertex, ...], ...] = field(repr=False)
    complete: bool
    status: Status

    @property
    def polylines(self) -> list[Array]:
        """The polylines as (k, dim) float64 arrays; ends at infinity are left out."""
        lines = [
            [[rounded(c) for c in v.p] for v in line if not v.at_infinity] for line in self.exact
        ]
        return [np.array(line) for line in lines if line]

    def __len__(self) -> int:
        return len(self.exact)


def decision_boundary(
    net: Network,
    domain: Domain,
    *,
    threads: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> DecisionBoundary | DecisionMesh:
    """The decision boundary on a domain of one to three dimensions, exactly.

    In one and two dimensions as points and polylines (`DecisionBoundary`), in three as a watertight
    triangle mesh (`plverify.decision_mesh.DecisionMesh`), for which the domain must be bounded.

    Raises
    ------
    InputError
        As `plverify.count_regions`, on more dimensions, or on an unbounded domain of three.

    >>> from plverify.domain import Box
    >>> net = Network.from_arrays([[[1, 1], [1, -1]], [[1, 0], [0, 1]]])
    >>> [[float(c) for c in v.p] for v in decision_boundary(net, Box(0, 1, 2)).exact[0]]
    [[0.0, 0.0], [1.0, 0.0]]
    """
    domain = as_domain(domain, net)
    if domain.dim > 3:
        raise InputError(
            f"decision boundaries are for at most 3 dimensions, this domain has {domain.dim}: "
            "give a Slice"
        )
    asked = with_zero_output(net) if net.output_size == 1 else net
    if domain.dim == 3:
        from plverify.decision_mesh import decision_mesh

        return decision_mesh(asked, domain, threads=threads, timeout=timeout, progress=progress)
    answer = enumerate_regions(
        asked, domain, "ties", threads=threads, timeout=timeout, progress=progress
    )
    raw = [
        TieSegment(ExactVertex.of(start), ExactVertex.of(end), i, j, open_set)
        for start, end, i, j, open_set in answer["segments"]
    ]
    segments: dict[Any, TieSegment] = {}
    for segment in _cut_at_ends(raw):
        key = (frozenset((segment.start, segment.end)), segment.i, segment.j)
        if key not in segments or segments[key].open_set:
            segments[key] = segment
    found = tuple(segments.values())
    return DecisionBoundary(found, _join(found), answer["complete"], status_of(answer))


def _line_of(segment: TieSegment) -> tuple[Fraction, ...] | None:
    """Canonical ``(a, b, c)`` of the segment's line ``a x + b y = c``; None for a point.

    Also None for an edge at infinity, which lies on no line.
    """
    a, b = segment.start, segment.end
    if a == b:
        return None
    if a.q is not None and b.q is not None:
        along = a.q  # a whole line leaves in two opposite directions
        if a.q[0] * b.q[1] != a.q[1] * b.q[0] or a.q[0] * b.q[0] + a.q[1] * b.q[1] > 0:
            return None
    else:
        far = a.q if a.q is not None else b.q
        along = far if far is not None else (b.p[0] - a.p[0], b.p[1] - a.p[1])
    base = a.p if a.q is None else b.p
    lead = along[0] if along[0] else along[1]
    dx, dy = along[0] / lead, along[1] / lead
    return dy, -dx, dy * base[0] - dx * base[1]


def _cut_at_ends(segments: list[TieSegment]) -> list[TieSegment]:
    """Cut segments of one line where another ends, so that no two overlap in part.

    The cells on the two sides of a tie need not have the same corners on it.
    """
    lines: dict[tuple[Fraction, ...], list[TieSegment]] = defaultdict(list)
    out: list[TieSegment] = []
    for segment in segments:
        line = _line_of(segment)
        if line is None:
            out.append(segment)
        else:
            lines[line].append(segment)
    for line, members in lines.items():
        axis = 0 if line[1] else 1

        def place(v: ExactVertex, axis: int = axis) -> tuple[int, Fraction]:
            side = 0 if v.q is None else (1 if v.q[axis] > 0 else -1)
            return side, v.p[axis] if side == 0 else Fraction(0)

        ends = {place(v): v for segment in members for v in (segment.start, segment.end)}
        order = sorted(ends)
        rank = {key: k for k, key in enumerate(order)}
        for s in members:
            first, last = rank[place(s.start)], rank[place(s.end)]
            step = 1 if first < last else -1
            corners = [ends[order[k]] for k in range(first, last + step, step)]
            out += [TieSegment(a, b, s.i, s.j, s.open_set) for a, b in pairwise(corners)]
    return out


def _join(segments: tuple[TieSegment, ...]) -> tuple[tuple[ExactVertex, ...], ...]:
    """Join segments with common ends into polylines, broken only where three or more meet."""
    at: dict[ExactVertex, list[int]] = defaultdict(list)
    ends: list[tuple[ExactVertex, ExactVertex]] = []
    seen: set[frozenset[ExactVertex]] = set()
    for segment in segments:
        pair = frozenset((segment.start, segment.end))
        if pair in seen:
            continue
        seen.add(pair)
        for vertex in dict.fromkeys((segment.start, segment.end)):
            at[vertex].append(len(ends))
        ends.append((segment.start, segment.end))
    used = [False] * len(ends)
    lines: list[tuple[ExactVertex, ...]] = []

    def walk(vertex: ExactVertex, edge: int) -> None:
        line = [vertex]
        while True:
            used[edge] = True
            a, b = ends[edge]
            vertex = b if a == vertex else a
            line.append(vertex)
            onward = [e for e in at[vertex] if not used[e]]
            if len(at[vertex]) != 2 or not onward:
                break
            edge = onward[0]
        lines.append(tuple(line))

    for edge, (a, b) in enumerate(ends):
        if a == b:  # one dimension
            used[edge] = True
            lines.append((a,))
    for vertex, edges in at.items():
        if len(edges) != 2:
            for edge in edges:
                if not used[edge]:
                    walk(vertex, edge)
    for edge, (a, _) in enumerate(ends):
        if not used[edge]:
            walk(a, edge)
    return tuple(lines)
