"""Slow, exact regions of a small network with branches and maxima on a line or a plane: an oracle.

The engine cuts convex cells, node after node; `plverify.reference` walks along the lines of one
layer at a time. This module does neither. It *floods*: it knows how to find the one region around
a point, takes the edges of that polygon, steps over each of them, and finds the region there, until
no edge is left. The regions are connected through facets, so that is all of them, and who is next
to whom comes for free.

The point is an infinitesimal one: ``p + eps u + eps**2 v`` with u, v a basis of the plane. Affine
functions are compared there by ``(f(p), slope along u, slope along v)``, lexicographically: equal
only if they are the same function, and otherwise in the order that holds on a full-dimensional set
next to p. So one forward pass that carries affine functions, not numbers, finds the canonical
pattern of a region that has p in its closure, its inequalities and its output map; ties need no
rule of their own. Stepping over an edge at p along u: the region on the other side that the edge's
next bit, from p on, bounds. From where that region's edge ends, the next step.

A line is studied as the strip ``line x [0, 1]`` on which nothing depends on the second coordinate;
areas are then lengths. Unbounded regions are ordinary: an edge may lack an end.

A network is a tuple of nodes. Tensor 0 is the input, node ``k`` makes tensor ``k + 1``, tensors are
flat vectors, and the last one is the output. The nodes are plain tuples:

* ``("linear", sources, rows)``: a row is ``(terms, bias)``, a term ``(position, coefficient)`` with
  the position in the joined sources. More entries of the tuple are ignored.
* ``("units", source, slopes)``: ``z`` where ``z > 0``, else ``slope * z``.
* ``("max", sources, windows)``: a window lists positions in the joined sources; -1 is no input.

Vocabulary (DESIGN section 1): the pattern has one number per unit, unit nodes in order. A unit of a
"units" node has 1 where ``z > 0``; 0 also where z is zero everywhere on the region or the slope is
exactly 1. A window has the place of its winner; of inputs that are one function on the region, the
first. A linear region is a maximal union of regions, connected through facets, with one output map.

Everything is decided in integers and `fractions.Fraction`; nothing of the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple, TypeAlias

Node: TypeAlias = tuple[Any, ...]
Vector: TypeAlias = tuple[Fraction, ...]
Function: TypeAlias = tuple[int, int, int, int]  # (a, b, c, d): (a x + b y + c) / d, reduced, d > 0
Line: TypeAlias = tuple[int, int, int]  # coprime (a, b, c): a x + b y + c, >= 0 inside of an edge
Pattern: TypeAlias = tuple[int, ...]
End: TypeAlias = "Fraction | None"  # None: the edge never ends

ZERO, ONE = Fraction(0), Fraction(1)


class Graph(NamedTuple):
    """A network: the number of inputs, and the nodes."""

    inputs: int
    nodes: tuple[Node, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of all tensors, the input's first."""
        return (self.inputs, *(len(node[2]) for node in self.nodes))

    @property
    def unit_count(self) -> int:
        """The number of units, each window being one: the length of a pattern."""
        return sum(len(node[2]) for node in self.nodes if node[0] != "linear")


def chain(weights: Any, biases: Any, slopes: Any = None) -> Graph:
    """Return the network ``affine, units, ..., affine`` of matrices, vectors and slopes.

    As in `plverify.reference.Net`: `slopes` per hidden layer, per unit; None is ReLU everywhere.
    """
    nodes: list[Node] = []
    for k, (matrix, vector) in enumerate(zip(weights, biases, strict=True)):
        rows = [
            ([(j, Fraction(w)) for j, w in enumerate(row)], Fraction(b))
            for row, b in zip(matrix, vector, strict=True)
        ]
        nodes.append(("linear", (2 * k,), rows))
        if k + 1 < len(weights):
            slants = [0] * len(rows) if slopes is None else slopes[k]
            nodes.append(("units", 2 * k + 1, [Fraction(slant) for slant in slants]))
    return Graph(len(weights[0][0]), tuple(nodes))


def sources(node: Node) -> tuple[int, ...]:
    """Return the tensors that a node reads."""
    return (node[1],) if node[0] == "units" else tuple(node[1])


# ------------------------------------------------------------------------------------- at a point


def evaluate(net: Graph, x: Iterable[Any]) -> tuple[Vector, Pattern]:
    """Return the outputs at an input point, and the pattern that the numbers there give.

    It is the canonical pattern of the region around x if x is in the interior of one.
    """
    tensors: list[Vector] = [tuple(Fraction(value) for value in x)]
    pattern: list[int] = []
    for node in net.nodes:
        joined = [value for source in sources(node) for value in tensors[source]]
        if node[0] == "linear":
            sums = (sum((c * joined[j] for j, c in terms), bias) for terms, bias in node[2])
            tensors.append(tuple(Fraction(value) for value in sums))
        elif node[0] == "units":
            pairs = list(zip(joined, node[2], strict=True))
            tensors.append(tuple(z if z > 0 else slope * z for z, slope in pairs))
            pattern += [int(z > 0 and slope != 1) for z, slope in pairs]
        else:
            windows = [[(joined[j], -k) for k, j in enumerate(w) if j >= 0] for w in node[2]]
            winners = [max(window) for window in windows]
            tensors.append(tuple(value for value, _ in winners))
            pattern += [-k for _, k in winners]
    return tensors[-1], tuple(pattern)


# ------------------------------------------------------------------------------------ the regions


class Region(NamedTuple):
    """One activation region, in the domain's coordinates t.

    `output` has one row (J row, c) per output; `rows` are the irredundant inequalities
    ``row . (t, 1) >= 0`` in coprime integers. `volume` (length or area) and `vertices` (left to
    right, or counter-clockwise from the least) are None for an unbounded region.
    """

    pattern: Pattern
    output: tuple[Vector, ...]
    point: Vector
    rows: tuple[tuple[int, ...], ...]
    volume: Fraction | None
    vertices: tuple[Vector, ...] | None

    def contains(self, t: Sequence[Any]) -> bool:
        """Tell whether t lies in the closed region."""
        return all(_apply(row, t) >= 0 for row in self.rows)

    def value(self, t: Sequence[Any]) -> Vector:
        """Return the region's output map at t."""
        return tuple(_apply(row, t) for row in self.output)


class Partition(NamedTuple):
    """All activation regions of a network on a domain, sorted by pattern.

    `neighbours` are the pairs i < j of regions with a common facet, `linear_labels` the number of
    each region's linear region.
    """

    dim: int
    regions: tuple[Region, ...]
    neighbours: tuple[tuple[int, int], ...]
    linear_labels: tuple[int, ...]

    @property
    def linear_count(self) -> int:
        """The number of linear regions."""
        return len(set(self.linear_labels))

    @property
    def volume(self) -> Fraction | None:
        """The length or area of the domain, or None where it is unbounded."""
        volumes = [region.volume for region in self.regions if region.volume is not None]
        return sum(volumes, ZERO) if len(volumes) == len(self.regions) else None


def _apply(row: Sequence[Any], t: Sequence[Any]) -> Fraction:
    return sum((Fraction(a) * x for a, x in zip(row, t, strict=False)), Fraction(row[-1]))


def regions(
    net: Graph, dim: int, constraints: Iterable[Sequence[Any]], slice: Any = None
) -> Partition:
    """Return all activation regions of a network on a line or plane, or a convex part of it.

    Parameters
    ----------
    dim : 1 or 2
    constraints : rows (a, ..., c)
        The domain: ``a . t + c >= 0``. None at all: the whole line or plane.
    slice : (origin, basis), optional
        n numbers and n rows of `dim` numbers: the input is ``x = origin + basis t``, else t.

    Raises
    ------
    ValueError
        Where the domain has no interior.
    """
    size = net.inputs
    if slice is None:
        slice = ([0] * size, [[int(i == j) for j in range(dim)] for i in range(size)])
        if size != dim:
            raise ValueError("the domain does not have the dimension of the input")
    origin, basis = slice
    inputs = [_function(dim, (*row, o)) for o, row in zip(origin, basis, strict=True)]
    if len(inputs) != size:
        raise ValueError(f"the slice lies in R^{len(inputs)}, the input in R^{size}")
    walls = [_function(dim, row) for row in constraints]
    if dim == 1:
        walls += [(0, 1, 0, 1), (0, -1, 1, 1)]
    cells, pairs = _flood(net, inputs, _lines(walls))
    order = sorted(range(len(cells)), key=lambda i: cells[i].pattern)
    rank = {old: new for new, old in enumerate(order)}
    joined = sorted({(min(rank[i], rank[j]), max(rank[i], rank[j])) for i, j in pairs})
    cells = [cells[i] for i in order]
    same = [(i, j) for i, j in joined if cells[i].output == cells[j].output]
    found = tuple(_region(dim, cell) for cell in cells)
    return Partition(dim, found, tuple(joined), _components(len(cells), same))


def _function(dim: int, row: Sequence[Any]) -> Function:
    """Return an affine function of t, given by its coefficients, as one of the plane."""
    if dim not in (1, 2) or len(row) != dim + 1:
        raise ValueError(f"a row of {len(row)} numbers in dimension {dim}")
    x, y, one = (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1)
    pairs = zip(row, (x, y, one) if dim == 2 else (x, one), strict=True)
    return _combine((Fraction(value), f) for value, f in pairs)


def _region(dim: int, cell: _Cell) -> Region:
    """Return a cell as the user sees it: without the second coordinate of a strip."""
    rows: list[tuple[int, ...]] = [edge.line for edge in cell.polygon.edges]
    output: list[Vector] = [tuple(Fraction(a, f[3]) for a in f[:3]) for f in cell.output]
    point, ring = cell.polygon.point, cell.polygon.ring
    if dim == 1:
        rows = [(a, c) for a, b, c in rows if b == 0]
        output = [(row[0], row[2]) for row in output]
        point = point[:1]
        ring = None if ring is None else tuple(sorted({vertex[:1] for vertex in ring}))
    volume = cell.polygon.area
    return Region(cell.pattern, tuple(output), point, tuple(sorted(rows)), volume, ring)


# ------------------------------------------------------------------------------- one forward pass


class Germ(NamedTuple):
    """The infinitesimal point ``p + eps u + eps**2 v``; u and v are a basis of the plane.

    `p` is ``(x w, y w, w)`` with integers and w > 0.
    """

    p: tuple[int, int, int]
    u: tuple[int, int]
    v: tuple[int, int]

    @staticmethod
    def near(point: Vector, u: tuple[int, int], v: tuple[int, int]) -> Germ:
        """Return the germ at a point."""
        x, y = point
        w = lcm(x.denominator, y.denominator)
        return Germ((int(x * w), int(y * w), w), u, v)

    def key(self, f: Function) -> Vector:
        """Return what orders affine functions as their values at the germ are ordered."""
        (x, y, w), (s, t), (q, r) = self
        a, b, c, d = f
        value = Fraction(a * x + b * y + c * w, d * w)
        return (value, Fraction(a * s + b * t, d), Fraction(a * q + b * r, d))


class _Around(NamedTuple):
    """The region around a germ, by its inequalities ``f >= 0``, which may be redundant."""

    pattern: Pattern
    output: tuple[Function, ...]
    inside: list[Function]


def _combine(terms: Iterable[tuple[Fraction, Function]]) -> Function:
    """Return a sum of functions times numbers."""
    known = [(factor, f) for factor, f in terms if factor]
    scale = lcm(*[factor.denominator * f[3] for factor, f in known])
    a = b = c = 0
    for factor, (p, q, r, d) in known:
        n = factor.numerator * (scale // (factor.denominator * d))
        a, b, c = a + n * p, b + n * q, c + n * r
    shared = gcd(a, b, c, scale)
    return (a // shared, b // shared, c // shared, scale // shared)


def _around(net: Graph, inputs: Sequence[Function], germ: Germ) -> _Around:
    """Return the region around a germ."""
    tensors: list[list[Function]] = [list(inputs)]
    pattern: list[int] = []
    inside: list[Function] = []
    for node in net.nodes:
        joined = [f for source in sources(node) for f in tensors[source]]
        made: list[Function] = []
        if node[0] == "linear":
            for terms, bias in node[2]:
                weighted = [(Fraction(c), joined[j]) for j, c in terms]
                made.append(_combine([*weighted, (Fraction(bias), (0, 0, 1, 1))]))
        elif node[0] == "units":
            for f, slope in zip(joined, node[2], strict=True):
                on = germ.key(f) > (ZERO, ZERO, ZERO)
                made.append(f if on else _combine([(Fraction(slope), f)]))
                pattern.append(int(on and slope != 1))
                if slope != 1:
                    inside.append(f if on else _combine([(-ONE, f)]))
        else:
            for window in node[2]:
                keys = {k: germ.key(joined[j]) for k, j in enumerate(window) if j >= 0}
                top = max(keys.values())
                winner = min(k for k, key in keys.items() if key == top)
                best = joined[window[winner]]
                made.append(best)
                pattern.append(winner)
                inside += [_combine([(ONE, best), (-ONE, joined[window[k]])]) for k in keys]
        tensors.append(made)
    return _Around(tuple(pattern), tuple(tensors[-1]), inside)


# ---------------------------------------------------------------------------------------- polygons
#
# A point of the line (a, b, c) is foot + s (b, -a), the foot being the point nearest to the origin.
# In this direction the side where the function is positive is on the left. Places s on an edge are
# those of its *track*, the line without its orientation, so that both sides have the same.


class _Edge(NamedTuple):
    """An edge of a polygon: its line, oriented, and where it starts and ends on the track."""

    line: Line
    lo: End
    hi: End

    @property
    def track(self) -> Line:
        """The line without its orientation: the first entry that is not 0 is positive."""
        return max(self.line, _negative(self.line))


class _Polygon(NamedTuple):
    """A convex polygon with interior, bounded or not: edges, a point inside, area, corners."""

    edges: tuple[_Edge, ...]
    point: Vector
    area: Fraction | None
    ring: tuple[Vector, ...] | None


def _negative(line: Line) -> Line:
    a, b, c = line
    return (-a, -b, -c)


def _lines(functions: Iterable[Function]) -> list[Line]:
    """Return the lines on which the functions vanish; a constant must not be negative."""
    found: dict[Line, None] = {}
    for a, b, c, _ in functions:
        if a or b:
            shared = gcd(a, b, c)
            found[(a // shared, b // shared, c // shared)] = None
        elif c < 0:
            raise ValueError("a constraint that is never met")
    return list(found)


def _place(track: Line, s: Fraction) -> Vector:
    """Return the point of a line with a parameter."""
    a, b, c = track
    norm = a * a + b * b
    return (Fraction(-a * c, norm) + s * b, Fraction(-b * c, norm) - s * a)


def _stretch(track: Line, lines: Iterable[Line]) -> tuple[End, End] | None:
    """Return where on a track all functions are nonnegative, or None if that is one point at most.

    A function is ``(slope s + value) / norm`` on the track.
    """
    a, b, c = track
    norm = a * a + b * b
    low: tuple[int, int] | None = None  # numerator and positive denominator
    high: tuple[int, int] | None = None
    for p, q, r in lines:
        slope, value = norm * (p * b - q * a), norm * r - c * (p * a + q * b)
        if slope == 0:
            if value < 0:
                return None
            continue
        if slope > 0:
            if low is None or -value * low[1] > low[0] * slope:
                low = (-value, slope)
        elif high is None or value * high[1] < high[0] * -slope:
            high = (value, -slope)
        if low is not None and high is not None and low[0] * high[1] >= high[0] * low[1]:
            return None
    return (None if low is None else Fraction(*low), None if high is None else Fraction(*high))


def _middle(lo: End, hi: End) -> Fraction:
    if lo is None:
        return ZERO if hi is None else hi - 1
    return lo + 1 if hi is None else (lo + hi) / 2


def _polygon(lines: Sequence[Line]) -> _Polygon:
    """Return the set on the positive sides of all lines; without interior it is a ValueError."""
    edges: list[_Edge] = []
    for line in lines:
        track = max(line, _negative(line))
        ends = _stretch(track, lines)
        if ends is not None:
            edges.append(_Edge(line, *ends))
    on_edges = [_place(edge.track, _middle(edge.lo, edge.hi)) for edge in edges]
    if not edges:
        point: Vector = (ZERO, ZERO)
    elif len(edges) == 1:
        point = (on_edges[0][0] + edges[0].line[0], on_edges[0][1] + edges[0].line[1])
    else:
        point = (
            sum((x for x, _ in on_edges), ZERO) / len(edges),
            sum((y for _, y in on_edges), ZERO) / len(edges),
        )
    if any(_apply(line, point) <= 0 for line in lines):
        raise ValueError("a set without interior")
    steps: dict[Vector, Vector] = {}
    for edge in edges:
        if edge.lo is None or edge.hi is None:
            return _Polygon(tuple(edges), point, None, None)
        ends_of = _place(edge.track, edge.lo), _place(edge.track, edge.hi)
        start, end = ends_of if edge.line == edge.track else reversed(ends_of)
        steps[start] = end
    if not edges:
        return _Polygon((), point, None, None)
    ring = [min(steps)]
    while len(ring) < len(edges):
        ring.append(steps[ring[-1]])
    if len(set(ring)) != len(edges) or steps[ring[-1]] != ring[0]:
        raise AssertionError("the edges of a polygon do not close")
    doubled = sum((p[0] * q[1] - p[1] * q[0] for p, q in steps.items()), ZERO)
    return _Polygon(tuple(edges), point, doubled / 2, tuple(ring))


# ------------------------------------------------------------------------------------ the flooding


class _Cell(NamedTuple):
    pattern: Pattern
    output: tuple[Function, ...]
    polygon: _Polygon


def _flood(
    net: Graph, inputs: Sequence[Function], walls: list[Line]
) -> tuple[list[_Cell], set[tuple[int, int]]]:
    """Return the regions inside the walls, and the pairs of them that share a piece of an edge."""
    domain = _polygon(walls)
    cells: list[_Cell] = []
    pairs: set[tuple[int, int]] = set()
    known: dict[Line, list[tuple[End, End, int]]] = {}  # the edges of the cells, by oriented line

    def add(germ: Germ) -> None:
        pattern, output, inside = _around(net, inputs, germ)
        polygon = _polygon(list(dict.fromkeys([*walls, *_lines(inside)])))
        for edge in polygon.edges:
            known.setdefault(edge.line, []).append((edge.lo, edge.hi, len(cells)))
        cells.append(_Cell(pattern, output, polygon))

    def beyond(edge: _Edge, start: Fraction, sense: int) -> Iterator[tuple[int, End]]:
        """Yield what lies over an edge from a place on, and where the edge over there ends."""
        other, at = _negative(edge.line), start
        while True:
            hit = _over(known.get(other, []), at, sense)
            if hit is None:
                a, b, _ = edge.track
                add(Germ.near(_place(edge.track, at), (sense * b, -sense * a), other[:2]))
                hit = _over(known.get(other, []), at, sense)
                if hit is None:
                    raise AssertionError("the region over an edge does not have that edge")
            yield hit
            if hit[1] is None:
                return
            at = hit[1]

    add(Germ.near(domain.point, (1, 0), (0, 1)))
    for i, cell in enumerate(cells):  # the list grows meanwhile
        for edge in cell.polygon.edges:
            if edge.line in walls:
                continue
            middle = _middle(edge.lo, edge.hi) if edge.lo is None else edge.lo
            for sense, end in ((1, edge.hi), (-1, edge.lo)):
                if end == middle:
                    continue
                for j, reached in beyond(edge, middle, sense):
                    pairs.add((i, j))
                    if reached is None or (end is not None and sense * (reached - end) >= 0):
                        break
    if len({cell.pattern for cell in cells}) != len(cells):
        raise AssertionError("two regions have one pattern")
    areas = [cell.polygon.area for cell in cells if cell.polygon.area is not None]
    if (domain.area is None) != (len(areas) < len(cells)):
        raise AssertionError("the regions of a bounded domain are bounded")
    if domain.area is not None and sum(areas, ZERO) != domain.area:
        raise AssertionError("the areas of the regions do not add up to the domain's")
    return cells, pairs


def _over(
    spans: Iterable[tuple[End, End, int]], at: Fraction, sense: int
) -> tuple[int, End] | None:
    """Return the edge that covers the track from a place on in a sense, and its end there."""
    for lo, hi, cell in spans:
        if sense > 0 and (lo is None or lo <= at) and (hi is None or at < hi):
            return cell, hi
        if sense < 0 and (lo is None or lo < at) and (hi is None or at <= hi):
            return cell, lo
    return None


def _components(size: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the connected component of each of `size` nodes, numbered in order of appearance."""
    beside: list[list[int]] = [[] for _ in range(size)]
    for i, j in pairs:
        beside[i].append(j)
        beside[j].append(i)
    labels = [-1] * size
    count = 0
    for first in range(size):
        if labels[first] < 0:
            labels[first], todo = count, [first]
            while todo:
                fresh = [j for j in beside[todo.pop()] if labels[j] < 0]
                for j in fresh:
                    labels[j] = count
                todo += fresh
            count += 1
    return tuple(labels)
