"""Slow, exact enumeration of the regions of a small network on a line or a plane: an oracle.

The engine cuts convex cells unit by unit. This module never cuts a cell, it *walks along lines*.
In a cell of the previous layers every unit of the next layer is an affine form; the forms that
change sign there are a set of lines. Each line, and each edge of the cell, is cut into pieces at
its crossings with the other lines. On the middle of a piece every other form has a strict sign, so
a piece of a line names the two children that it separates, and a piece of an edge names the one
child that it bounds. A child is not the whole cell, which is connected, so a piece of some line
bounds it: the walk finds all children with all their edges, and needs nothing but one-dimensional
intervals. The domain is one of the cells that the lines of its constraints cut the plane into.
Unbounded cells are ordinary: an interval may lack an end.

Everything is decided in Python integers and `fractions.Fraction`, without tolerance or rounding,
and nothing of the package is imported. Some 1,500 regions a second.

Vocabulary (DESIGN section 1): an *activation region* is a full-dimensional set of points of the
domain with one canonical activation pattern; a *linear region* is a maximal union of activation
regions, connected through facets, on which the output map is exactly the same. A pattern has one
bit per unit, layer after layer; 1 is the piece ``z > 0``. Canonical: a unit whose form is zero
everywhere on the region has bit 0, and so has a unit of slope exactly 1, which has one piece only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise
from math import gcd, lcm
from numbers import Integral
from typing import Any, NamedTuple, TypeAlias

Vector: TypeAlias = Iterable[Any]  # of ints, floats, Fractions, Decimals, NumPy scalars, "p/q"
Matrix: TypeAlias = Iterable[Iterable[Any]]
Point: TypeAlias = tuple[Fraction, ...]
Form: TypeAlias = tuple[int, ...]  # (a, ..., c): the affine form a . t + c, up to a positive factor
Pattern: TypeAlias = tuple[int, ...]
Span: TypeAlias = tuple["Fraction | None", "Fraction | None"]  # open interval; None is infinite


def exact(value: Any) -> Fraction:
    """Return the rational number that `value` is; floats are the dyadic rationals they are."""
    if isinstance(value, Integral):  # NumPy integers too, whose numerators would overflow
        return Fraction(int(value))
    if hasattr(value, "as_integer_ratio"):
        return Fraction(*map(int, value.as_integer_ratio()))
    return Fraction(value)


def _vector(values: Vector) -> tuple[Fraction, ...]:
    return tuple(exact(value) for value in values)


def _matrix(rows: Matrix) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(_vector(row) for row in rows)


def _dot(left: Sequence[Fraction | int], right: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


class LocalUnit(NamedTuple):
    """One unit at a point: its pre-activation, the gradient of that in the input, and its bit.

    The gradient `row` is taken under the pattern at the point, where a unit with ``value <= 0`` is
    on its piece 0. `bends` is false for a unit of slope 1.
    """

    value: Fraction
    row: tuple[Fraction, ...]
    bit: int
    bends: bool


class Net:
    """A chain ``affine, units, affine, ..., affine`` over the rationals.

    `weights` and `biases` are one matrix (outputs x inputs) and one vector per affine map. `slopes`
    are per hidden layer, per unit, the slope of the piece ``z <= 0``; None is ReLU everywhere.
    """

    def __init__(
        self,
        weights: Iterable[Matrix],
        biases: Iterable[Vector],
        slopes: Iterable[Vector] | None = None,
    ) -> None:
        self.weights = tuple(_matrix(matrix) for matrix in weights)
        self.biases = tuple(_vector(vector) for vector in biases)
        if len(self.weights) != len(self.biases) or not self.weights or not self.weights[0]:
            raise ValueError("weights and biases must be as many, at least one, and not empty")
        width = self.input_size = len(self.weights[0][0])
        for index, (matrix, vector) in enumerate(zip(self.weights, self.biases, strict=True)):
            if len(matrix) != len(vector) or any(len(row) != width for row in matrix):
                raise ValueError(f"weights[{index}] or biases[{index}] has the wrong shape")
            width = len(matrix)
        self.widths = tuple(len(vector) for vector in self.biases[:-1])
        zeros = ((Fraction(0),) * width for width in self.widths)
        self.slopes = tuple(zeros) if slopes is None else _matrix(slopes)
        if tuple(len(vector) for vector in self.slopes) != self.widths:
            raise ValueError(f"slopes do not match the hidden widths {self.widths}")

    def forward(self, x: Vector) -> Point:
        """Return the outputs at the input point x."""
        values = _vector(x)
        slopes = (*self.slopes, (Fraction(1),) * len(self.biases[-1]))
        for matrix, bias, slants in zip(self.weights, self.biases, slopes, strict=True):
            sums = (_dot(row, values) + b for row, b in zip(matrix, bias, strict=True))
            values = tuple(z if z > 0 else s * z for z, s in zip(sums, slants, strict=True))
        return values

    def units_at(self, x: Vector) -> list[LocalUnit]:
        """Return every unit at the input point x (in any dimension), layer after layer.

        The bits are the canonical pattern of the region around x, unless x is on a kink: a unit
        that bends has value 0 and a row that is not zero.
        """
        values = _vector(x)
        size = range(self.input_size)
        columns = [tuple(Fraction(int(i == j)) for j in size) for i in size]
        units: list[LocalUnit] = []
        for matrix, bias, slopes in zip(self.weights, self.biases, self.slopes, strict=False):
            layer: list[LocalUnit] = []
            for weights, offset, slope in zip(matrix, bias, slopes, strict=True):
                value = _dot(weights, values) + offset
                row = tuple(_dot(weights, column) for column in columns)
                layer.append(LocalUnit(value, row, int(slope != 1 and value > 0), slope != 1))
            factors = [1 if z.value > 0 else s for z, s in zip(layer, slopes, strict=True)]
            values = tuple(f * z.value for f, z in zip(factors, layer, strict=True))
            rows = ([f * a for a in z.row] for f, z in zip(factors, layer, strict=True))
            columns = list(zip(*rows, strict=True))
            units += layer
        return units

    def boundary_distance_squared(self, x: Vector) -> Fraction | None:
        """Return the squared l2 distance from x to the nearest boundary of an activation region.

        The domain is all of R^n, of any dimension. Zero on a kink; None when the whole space is one
        region. A region is the set where its units' forms have their strict signs, so the distance
        to its boundary is the least distance to one of their hyperplanes, redundant ones included.
        The first unit with a kink at x cuts the region of the units before it, which holds x.
        """
        units = [unit for unit in self.units_at(x) if unit.bends and any(unit.row)]
        return min((unit.value**2 / _dot(unit.row, unit.row) for unit in units), default=None)


# ----------------------------------------------------------------------------------- the domain


@dataclass(frozen=True)
class Domain:
    """A convex set of parameters t in R^1 or R^2, and where it lies in input space.

    `rows` are ``(a, ..., c)`` and mean ``a . t + c >= 0``; without rows it is the whole space. With
    `origin` (n numbers) and `basis` (n rows of `dim` numbers) the inputs are ``origin + basis t``.
    """

    dim: int
    rows: tuple[tuple[Fraction, ...], ...] = ()
    origin: tuple[Fraction, ...] | None = None
    basis: tuple[tuple[Fraction, ...], ...] | None = None

    @staticmethod
    def box(lo: Sequence[Any], hi: Sequence[Any]) -> Domain:
        """Return the box lo <= t <= hi; an end that is None or infinite is no constraint."""
        rows: list[tuple[Fraction, ...]] = []
        for i, ends in enumerate(zip(lo, hi, strict=True)):
            for end, side in zip(ends, (1, -1), strict=True):
                if end is not None and end != -side * float("inf"):
                    normal = [Fraction(side * int(i == j)) for j in range(len(lo))]
                    rows.append((*normal, -side * exact(end)))
        return Domain(len(lo), tuple(rows))

    @staticmethod
    def polytope(dim: int, a: Matrix, b: Vector) -> Domain:
        """Return the set of t in R^dim with ``a t <= b``."""
        pairs = zip(_matrix(a), _vector(b), strict=True)
        return Domain(dim, tuple((*(-entry for entry in row), end) for row, end in pairs))

    def along(self, origin: Vector, basis: Matrix) -> Domain:
        """Return the same set of t, placed in input space by ``x = origin + basis t``."""
        return Domain(self.dim, self.rows, _vector(origin), _matrix(basis))

    def embed(self, t: Sequence[Fraction]) -> Point:
        """Return the input point of the parameter t."""
        if self.origin is None or self.basis is None:
            return tuple(t)
        return tuple(o + _dot(row, t) for o, row in zip(self.origin, self.basis, strict=True))


@dataclass(frozen=True)
class Facet:
    """A facet: it lies in ``row . (t, 1) == 0``, its region in ``>= 0``; primitive integers.

    In 2-D it runs from `start` to `end` with the region on its left; None is at infinity. In 1-D
    both are the end point of the interval.
    """

    row: Form
    start: Point | None
    end: Point | None


@dataclass(frozen=True)
class Region:
    """One activation region; J (outputs x dim) and c are the output map in domain coordinates.

    `facets` are irredundant. `vertices` and `volume` (length or area) are None for an unbounded
    region; else both run from the least vertex counter-clockwise in 2-D, to the right in 1-D.
    """

    pattern: Pattern
    J: tuple[tuple[Fraction, ...], ...]
    c: tuple[Fraction, ...]
    interior_point: Point
    facets: tuple[Facet, ...]
    vertices: tuple[Point, ...] | None
    volume: Fraction | None

    def contains(self, t: Sequence[Fraction]) -> bool:
        """Tell whether t lies in the closed region."""
        return all(_dot(facet.row, (*t, Fraction(1))) >= 0 for facet in self.facets)

    def value(self, t: Sequence[Fraction]) -> Point:
        """Return J t + c."""
        return tuple(_dot(row, t) + c for row, c in zip(self.J, self.c, strict=True))


class Knot(NamedTuple):
    """A breakpoint of the pattern in 1-D, and whether the output map differs on its two sides."""

    position: Fraction
    changes_output: bool


class TieSegment(NamedTuple):
    """A segment on which the outputs `first` < `second` are equal and no output is greater."""

    first: int
    second: int
    start: Point
    end: Point


@dataclass(frozen=True)
class Partition:
    """All activation regions of a network on a domain, sorted by pattern (1-D: left to right).

    `neighbours` are the pairs i < j of regions whose closures meet in a set of dimension dim - 1.
    `linear_labels` numbers the linear region of each activation region. `knots` is empty in 2-D.
    """

    dim: int
    regions: tuple[Region, ...]
    neighbours: tuple[tuple[int, int], ...]
    linear_labels: tuple[int, ...]
    knots: tuple[Knot, ...]

    @property
    def activation_regions(self) -> int:
        """The number of activation regions."""
        return len(self.regions)

    @property
    def linear_regions(self) -> int:
        """The number of linear regions."""
        return len(set(self.linear_labels))

    @property
    def volume(self) -> Fraction | None:
        """The sum of the regions' volumes, or None when one is unbounded."""
        volumes = [region.volume for region in self.regions if region.volume is not None]
        return sum(volumes, Fraction(0)) if len(volumes) == len(self.regions) else None


# ---------------------------------------------------------------- geometry on lines of the plane
#
# A point of the line (a, b, c) has the parameter t = x, or t = y where the line is vertical, b = 0.
# Points are homogeneous integers (X, Y, W) with W > 0; forms and lines are integers.


def _primitive(form: Form) -> Form:
    divisor = gcd(*form)
    return tuple(entry // divisor for entry in form)


def _unoriented(form: Form) -> Form:
    """Return the primitive form without its orientation: the same for the same line only."""
    line = _primitive(form)
    return max(line, tuple(-a for a in line))


def _along(line: Form, form: Form) -> Form:
    """Return the form on the line, as a form (slope, value) of the parameter."""
    (a, b, c), (p, q, r) = line, form
    if b:
        return (_sign(b) * (p * b - q * a), _sign(b) * (r * b - q * c))
    return (_sign(a) * q * a, _sign(a) * (r * a - p * c))


def _solve(forms: Iterable[Form], closed: bool = False) -> Span | None:
    """Return the interior of {t : slope t + value > 0 for all} (closed: >= 0), or None if empty."""
    lo: Fraction | None = None
    hi: Fraction | None = None
    for slope, value in forms:
        if slope == 0:
            if value < 0 or (value == 0 and not closed):
                return None
            continue
        root = Fraction(-value, slope)
        if slope > 0:
            lo = root if lo is None else max(lo, root)
        else:
            hi = root if hi is None else min(hi, root)
    return None if lo is not None and hi is not None and lo >= hi else (lo, hi)


def _cut(span: Span, forms: Iterable[Form]) -> list[Span]:
    """Cut an open interval where a form (slope, value) vanishes inside it."""
    lo, hi = span
    roots = {Fraction(-value, slope) for slope, value in forms if slope}
    inside = [t for t in roots if (lo is None or lo < t) and (hi is None or t < hi)]
    return list(pairwise([lo, *sorted(inside), hi]))


def _between(span: Span) -> Fraction:
    """Return a number inside an open interval."""
    lo, hi = span
    if lo is None:
        return Fraction(0) if hi is None else hi - 1
    return lo + 1 if hi is None else (lo + hi) / 2


def _at(line: Form, t: Fraction) -> Form:
    """Return the point of the line with parameter t."""
    a, b, c = line
    p, q = t.numerator, t.denominator
    if b:
        return (_sign(b) * p * b, -_sign(b) * (a * p + c * q), q * abs(b))
    return (-_sign(a) * c * q, p * abs(a), q * abs(a))


def _value(form: Form, point: Form) -> int:
    """Return the form at a homogeneous point, times the point's positive last entry."""
    return sum([a * x for a, x in zip(form, point, strict=True)])


def _step(point: Form, normal: Form, forms: Iterable[Form]) -> Form:
    """Move a point along `normal`, so little that no form (all are nonzero there) changes sign."""
    (x, y, w), (p, q) = point, normal
    step = Fraction(1, abs(p) + abs(q))
    for form in forms:
        value, slope = _value(form, point), form[0] * p + form[1] * q
        if value * slope < 0:
            step = min(step, abs(Fraction(value, 2 * w * slope)))
    u, v = step.numerator, step.denominator
    return _primitive((x * v + p * u * w, y * v + q * u * w, w * v))


def _coordinates(point: Form) -> Point:
    return tuple(Fraction(x, point[-1]) for x in point[:-1])


_Outline: TypeAlias = tuple[tuple[Facet, ...], "tuple[Point, ...] | None", "Fraction | None"]


@dataclass
class _Interval:
    """An open interval."""

    span: Span

    @property
    def witness(self) -> Form:
        inside = _between(self.span)
        return (inside.numerator, inside.denominator)

    def split(self, forms: Sequence[Form]) -> list[_Interval]:
        """Return the parts on which no form vanishes, from left to right."""
        return [_Interval(span) for span in _cut(self.span, forms)]

    def outline(self) -> _Outline:
        """Return the facets, and the vertices and the length of a bounded interval."""
        ends = [(t, side) for t, side in zip(self.span, (1, -1), strict=True) if t is not None]
        rows = [(side * t.denominator, -side * t.numerator) for t, side in ends]
        facets = tuple(Facet(row, (t,), (t,)) for row, (t, _) in zip(rows, ends, strict=True))
        if len(ends) < 2:
            return facets, None, None
        return facets, tuple((t,) for t, _ in ends), ends[1][0] - ends[0][0]


@dataclass
class _Polygon:
    """An open convex set of the plane: a homogeneous point inside it, and its edges.

    An edge is a primitive form, positive in the cell, and the open interval of its line.
    """

    witness: Form
    edges: list[tuple[Form, Span]]

    def split(self, forms: Sequence[Form]) -> list[_Polygon]:
        """Return the parts on which no form vanishes, by walking along the lines and the edges."""
        own = [form for form, _ in self.edges]
        lines = {_unoriented(form): None for form in forms}  # a set in a fixed order
        spans = ((line, _solve(_along(line, form) for form in own)) for line in lines)
        walls = {line: span for line, span in spans if span is not None}
        parts: dict[tuple[int, ...], _Polygon] = {}  # by the signs of the walls
        for i, (line, span) in enumerate(walls.items()):
            for piece in _cut(span, (_along(line, other) for other in walls)):
                middle = _at(line, _between(piece))
                signs = [_sign(_value(other, middle)) for other in walls]
                for side in (1, -1):
                    signs[i] = side
                    form = tuple(side * a for a in line)
                    part = parts.get(tuple(signs))
                    if part is None:
                        rest = own + [other for other in walls if other != line]
                        part = _Polygon(_step(middle, form[:2], rest), [])
                        parts[tuple(signs)] = part
                    part.edges.append((form, piece))
        if not parts:
            return [self]
        for form, span in self.edges:
            for piece in _cut(span, (_along(form, line) for line in walls)):
                middle = _at(form, _between(piece))
                part = parts[tuple(_sign(_value(line, middle)) for line in walls)]
                part.edges.append((form, piece))
        return list(parts.values())

    def outline(self) -> _Outline:
        """Return the facets, and the vertices and the area of a bounded cell."""
        facets: list[Facet] = []
        for form, span in self.edges:
            ends = [None if end is None else _coordinates(_at(form, end)) for end in span]
            forward = form[1] > 0 or (form[1] == 0 and form[0] < 0)  # along the direction (b, -a)
            start, end = ends if forward else reversed(ends)
            facets.append(Facet(form, start, end))
        after = {facet.start: facet for facet in facets}
        if not facets or None in after or any(facet.end is None for facet in facets):
            return tuple(facets), None, None
        vertices = [min(start for start in after if start is not None)]
        ring = [after[vertices[0]]]
        while (end := ring[-1].end) is not None and end != vertices[0]:
            vertices.append(end)
            ring.append(after[end])
        if len(ring) != len(facets):
            raise AssertionError("the edges of a bounded cell do not form one closed ring")
        crosses = [p[0] * q[1] - q[0] * p[1] for p, q in pairwise([*vertices, vertices[0]])]
        return tuple(ring), tuple(vertices), sum(crosses, Fraction(0)) / 2


def _root(domain: Domain) -> _Interval | _Polygon:
    """Return the interior of the domain: one of the parts that its constraints cut space into."""
    if domain.dim not in (1, 2) or any(len(row) != domain.dim + 1 for row in domain.rows):
        raise ValueError("the reference knows domains of dimension 1 and 2 only")
    forms = [_integers([row])[0][0] for row in domain.rows]
    space = _Interval((None, None)) if domain.dim == 1 else _Polygon((0, 0, 1), [])
    for part in space.split([form for form in forms if any(form[:-1])]):
        if all(_value(form, part.witness) >= 0 for form in forms):
            return part
    raise ValueError("the domain has no interior")


# ------------------------------------------------------------------------------ the enumeration

# A cell of the layers so far, its pattern, and the forms of the last layer's outputs on it.
_Partial: TypeAlias = "tuple[_Interval | _Polygon, Pattern, list[Form]]"


def _integers(rows: Iterable[Sequence[Fraction]]) -> tuple[list[Form], int]:
    """Return the rows times their least common denominator, and that denominator."""
    rows = list(rows)
    scale = lcm(*[entry.denominator for row in rows for entry in row])
    return [tuple((entry * scale).numerator for entry in row) for row in rows], scale


def _affine(weights: list[Form], rows: list[Form], scale: int) -> list[Form]:
    """Return weights . (rows, 1) as forms; `scale` is the denominator of the rows."""
    columns = [(*column, 0) for column in zip(*rows, strict=True)]
    columns[-1] = (*columns[-1][:-1], scale)
    return [tuple(_value(row, column) for column in columns) for row in weights]


def _children(
    parent: _Interval | _Polygon, pattern: Pattern, forms: list[Form], slants: Form, unit: int
) -> Iterator[_Partial]:
    """Split a cell at the next layer's units, given by forms; the slopes are slants / unit."""
    bends = [slant != unit for slant in slants]
    walls = [form for form, bend in zip(forms, bends, strict=True) if bend and any(form[:-1])]
    for cell in parent.split(walls):
        values = [_value(form, cell.witness) for form in forms]
        if any(value == 0 and form in walls for form, value in zip(forms, values, strict=True)):
            raise AssertionError("a witness lies on the line of a unit")
        bits = [int(bend and value > 0) for bend, value in zip(bends, values, strict=True)]
        factors = [unit if v > 0 else slant for v, slant in zip(values, slants, strict=True)]
        rows = [tuple(f * a for a in form) for f, form in zip(factors, forms, strict=True)]
        yield cell, (*pattern, *bits), rows


def enumerate_regions(net: Net, domain: Domain) -> Partition:
    """Return all activation regions of a network on a domain of dimension 1 or 2, exactly.

    A domain without interior, of another dimension or outside the network's inputs is a ValueError.
    """
    root, size = _root(domain), range(domain.dim + 1)
    start = [tuple(Fraction(int(i == j)) for j in size) for i in size[:-1]]
    if domain.origin is not None and domain.basis is not None:
        start = [(*row, o) for row, o in zip(domain.basis, domain.origin, strict=True)]
    if len(start) != net.input_size or any(len(row) != len(size) for row in start):
        raise ValueError(f"the domain does not lie in the network's inputs R^{net.input_size}")
    inputs, scale = _integers(start)
    partials: list[_Partial] = [(root, (), inputs)]
    affine = zip(net.weights, net.biases, strict=True)
    maps = [_integers((*row, b) for row, b in zip(*layer, strict=True)) for layer in affine]
    for (weights, divisor), slopes in zip(maps, net.slopes, strict=False):
        (slants,), unit = _integers([slopes])
        partials = [
            child
            for cell, pattern, rows in partials
            for child in _children(cell, pattern, _affine(weights, rows, scale), slants, unit)
        ]
        scale *= divisor * unit
    if domain.dim == 2:
        partials.sort(key=lambda partial: partial[1])
    cells = [cell for cell, _, _ in partials]
    outputs = [_affine(maps[-1][0], rows, scale) for _, _, rows in partials]
    scale *= maps[-1][1]
    regions: list[Region] = []
    for (cell, pattern, _), rows in zip(partials, outputs, strict=True):
        jacobian = tuple(tuple(Fraction(a, scale) for a in row[:-1]) for row in rows)
        constant = tuple(Fraction(row[-1], scale) for row in rows)
        inside = _coordinates(cell.witness)
        regions.append(Region(pattern, jacobian, constant, inside, *cell.outline()))
    pairs = list(pairwise(range(len(regions))))
    if domain.dim == 2:
        pairs = _shared_edges([cell for cell in cells if isinstance(cell, _Polygon)])
    same = [(i, j) for i, j in pairs if outputs[i] == outputs[j]]
    lefts = [cell.span[0] for cell in cells if isinstance(cell, _Interval)][1:]
    knots = [Knot(t, (i, i + 1) not in same) for i, t in enumerate(lefts) if t is not None]
    labels = _components(len(regions), same)
    return Partition(domain.dim, tuple(regions), tuple(pairs), labels, tuple(knots))


def _shared_edges(cells: Sequence[_Polygon]) -> list[tuple[int, int]]:
    """Return the pairs of cells that lie on the two sides of a common piece of a line."""
    sides: dict[Form, tuple[list[tuple[int, Span]], list[tuple[int, Span]]]] = {}
    for index, cell in enumerate(cells):
        for form, span in cell.edges:
            line = _unoriented(form)
            sides.setdefault(line, ([], []))[int(form == line)].append((index, span))
    pairs: set[tuple[int, int]] = set()
    for left, right in sides.values():
        for i, (lo, hi) in left:
            for j, (low, high) in right:
                bottom = low if lo is None else lo if low is None else max(lo, low)
                top = high if hi is None else hi if high is None else min(hi, high)
                if bottom is None or top is None or bottom < top:
                    pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _components(size: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the connected component of each of `size` nodes, numbered from 0 by first member."""
    labels = list(range(size))
    for i, j in pairs:
        old, new = max(labels[i], labels[j]), min(labels[i], labels[j])
        if old != new:
            labels = [new if label == old else label for label in labels]
    names = {label: name for name, label in enumerate(dict.fromkeys(labels))}
    return tuple(names[label] for label in labels)


def decision_boundary(partition: Partition) -> tuple[TieSegment, ...]:
    """Return the segments on which two outputs tie for the maximum, on a bounded 2-D domain.

    One segment per region and pair of outputs that are not identical on the region; a segment on a
    facet, seen from both sides, is listed once. A tie is listed whether or not the label changes
    across it. Where two outputs agree on a whole region, nothing is listed for that pair in it; its
    facets towards regions where they differ are listed if the tie is for the maximum.
    """
    segments: set[TieSegment] = set()
    for region in partition.regions:
        if partition.dim != 2 or region.vertices is None:
            raise ValueError("the decision boundary is for bounded domains of dimension 2")
        inside = [facet.row for facet in region.facets]
        forms, _ = _integers((*row, c) for row, c in zip(region.J, region.c, strict=True))
        for i, j in combinations(range(len(forms)), 2):
            above = [tuple(a - b for a, b in zip(forms[i], f, strict=True)) for f in forms]
            line = above[j]
            if any(line[:2]):
                span = _solve((_along(line, form) for form in inside + above), closed=True)
                ends = [_coordinates(_at(line, t)) for t in span or () if t is not None]
                segments |= {TieSegment(i, j, min(ends), max(ends))} if ends else set()
    return tuple(sorted(segments))
