"""Slow, exact activation regions of a small network in any dimension: an oracle.

The engine cuts cells that have vertices, and `oracle_graph` floods a plane from edge to edge. This
module knows no vertices and no edges. It goes depth first over the units in the order of the
nodes, with one question: is there a point where the inequalities chosen so far hold strictly, and
the one of the unit's next piece too? Every cell keeps a point of its interior, so the piece that
holds it needs no answer; for the others an exact simplex method with Bland's rule starts from that
point, where everything but the new inequality already holds, and maximises the new one.

No answer is taken on trust. A point that comes out is put into all inequalities; "there is none"
comes with multipliers (Farkas), and those are multiplied out. In the end every facet of a region
must be one of the domain's or be met, at a point of its relative interior, by the same facet of
exactly one other region; the regions found are then closed under crossing facets, hence all.

Networks are those of `oracle_graph`: `Graph`, tuples for nodes, one pattern entry per unit or
window. A piece is canonical as there (DESIGN section 1): 0 for a unit whose slope is exactly 1 or
whose input is zero everywhere on the cell; of slots that are one function there, the first.

Rows are tuples of integers ``(a, ..., c)`` that stand for ``a . t + c``, with gcd 1; points are
tuples of integers ``(x w, ..., w)`` with w > 0 and gcd 1, fractions only where the user sees them.
Everything is decided in integers; nothing of the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import gcd, isinf, lcm
from operator import mul
from typing import Any, NamedTuple, TypeAlias

from oracle_graph import Graph, Node, sources

Row: TypeAlias = tuple[int, ...]
Place: TypeAlias = tuple[int, ...]  # a point in homogeneous integers, the last one positive
Vector: TypeAlias = tuple[Fraction, ...]
Function: TypeAlias = tuple[Row, int]  # (row, d): the affine function row . (t, 1) / d, d > 0
Pattern: TypeAlias = tuple[int, ...]


# ------------------------------------------------------------------------------------ the question


class NdDomain(NamedTuple):
    """A domain of dimension `dim`: the points t with ``row . (t, 1) >= 0`` for all rows.

    With `origin` (n numbers) and `basis` (n rows of `dim` numbers) the input is
    ``x = origin + basis t``, without them t itself. No rows at all: the whole space.
    """

    dim: int
    rows: tuple[Vector, ...] = ()
    origin: Vector | None = None
    basis: tuple[Vector, ...] | None = None

    @staticmethod
    def space(dim: int) -> NdDomain:
        """Return all of R^dim."""
        return NdDomain(dim)

    @staticmethod
    def box(lo: Sequence[Any], hi: Sequence[Any]) -> NdDomain:
        """Return a box; None or an infinity is no bound. Per coordinate the lower bound first."""
        dim, rows = len(lo), []
        for k, ends in enumerate(zip(lo, hi, strict=True)):
            for sign, end in zip((1, -1), ends, strict=True):
                if end is not None and not (isinstance(end, float) and isinf(end)):
                    unit = [Fraction(sign * (j == k)) for j in range(dim)]
                    rows.append((*unit, -sign * Fraction(end)))
        return NdDomain(dim, tuple(rows))

    @staticmethod
    def polytope(dim: int, a: Sequence[Sequence[Any]], b: Sequence[Any]) -> NdDomain:
        """Return ``{t : a t <= b}``."""
        pairs = zip(a, b, strict=True)
        return NdDomain(dim, tuple((*(-Fraction(v) for v in row), Fraction(c)) for row, c in pairs))

    @staticmethod
    def of(description: Mapping[str, Any]) -> NdDomain:
        """Return the domain of a `strategies.DomainDict`, of any dimension."""
        if description["kind"] == "box":
            domain = NdDomain.box(description["lo"], description["hi"])
        elif description["kind"] == "polytope":
            domain = NdDomain.polytope(description["dim"], description["a"], description["b"])
        else:
            domain = NdDomain(description["dim"])
        if "basis" in description:
            domain = domain.along(description["origin"], description["basis"])
        return domain

    def along(self, origin: Sequence[Any], basis: Sequence[Sequence[Any]]) -> NdDomain:
        """Return the slice ``x = origin + basis t`` for the t of this domain."""
        rows = tuple(tuple(Fraction(v) for v in row) for row in basis)
        return self._replace(origin=tuple(Fraction(v) for v in origin), basis=rows)

    def embed(self, t: Sequence[Any]) -> Vector:
        """Return the input x of a point t."""
        if self.origin is None or self.basis is None:
            return tuple(Fraction(v) for v in t)
        return tuple(_apply((*row, o), t) for o, row in zip(self.origin, self.basis, strict=True))


# -------------------------------------------------------------------------------------- the answer


class Maker(NamedTuple):
    """What an inequality comes from: a unit, a slot of a window, or a constraint of the domain.

    `node` is the place in ``net.nodes``, -1 for the domain; `unit` the place in the node, or of
    the constraint in ``domain.rows``; `position` the place in the pattern, -1 for the domain;
    `slot` the slot of a window that ties with the winner there, else -1. Of slots that are one
    function on the region only the first is named.
    """

    node: int
    unit: int
    position: int = -1
    slot: int = -1


class Facet(NamedTuple):
    """A facet of a region: ``row . (t, 1) >= 0`` on the region, in coprime integers.

    `makers` are all units and constraints whose own inequality on the region is this row, those of
    the domain first, then in pattern order. `point` is in the relative interior of the facet,
    `neighbour` the number of the region on the other side, None at the end of the domain.
    """

    row: Row
    makers: tuple[Maker, ...]
    point: Vector
    neighbour: int | None


class NdRegion(NamedTuple):
    """One activation region, in the domain's coordinates t.

    `output` has one row (J row, c) per output, `point` is an interior point, `facets` are sorted
    by row and not redundant.
    """

    pattern: Pattern
    output: tuple[Vector, ...]
    point: Vector
    facets: tuple[Facet, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the facets, sorted: `oracle_graph.Region.rows`."""
        return tuple(facet.row for facet in self.facets)

    def contains(self, t: Sequence[Any]) -> bool:
        """Tell whether t lies in the closed region."""
        return all(_apply(row, t) >= 0 for row in self.rows)

    def value(self, t: Sequence[Any]) -> Vector:
        """Return the region's output map at t."""
        return tuple(_apply(row, t) for row in self.output)

    def volume(self) -> Fraction | None:
        """Return the volume in the coordinates t, None if it is unbounded; slow from dim 4 on."""
        return _volume(self.rows, len(self.point))


class NdPartition(NamedTuple):
    """All activation regions of a network on a domain, sorted by pattern.

    `neighbours` are the pairs i < j of regions that share an (n-1)-dimensional facet, sorted;
    `linear_labels` the number of each region's linear region, in order of appearance.
    """

    dim: int
    regions: tuple[NdRegion, ...]
    neighbours: tuple[tuple[int, int], ...]
    linear_labels: tuple[int, ...]

    @property
    def linear_count(self) -> int:
        """The number of linear regions."""
        return len(set(self.linear_labels))


def oracle_regions_nd(net: Graph, domain: NdDomain | Mapping[str, Any]) -> NdPartition:
    """Return all activation regions of a network on a domain of any dimension, exactly.

    Parameters
    ----------
    net : Graph
        As in `oracle_graph`; `oracle_graph.chain` makes one of matrices and vectors.
    domain : NdDomain or DomainDict
        A box, a polytope or a whole space, bounded or not, possibly a slice.

    Returns
    -------
    NdPartition
        The regions with their patterns, facets, interior points and output maps; who is next to
        whom; and the linear regions.

    Raises
    ------
    ValueError
        Where the domain has no interior, or not the dimension of the network's input.
    """
    if not isinstance(domain, NdDomain):
        domain = NdDomain.of(domain)
    cells = sorted(_leaves(net, _start(net, domain)), key=lambda cell: cell.pattern)
    if len({cell.pattern for cell in cells}) != len(cells):
        raise AssertionError("two regions have one pattern")
    sides = [_facets(cell) for cell in cells]
    walls = [{row for row, made in cell.rows.items() if min(made).node < 0} for cell in cells]
    beyond = _across(sides, walls)
    found: list[NdRegion] = []
    for cell, facets, others in zip(cells, sides, beyond, strict=True):
        ends = [
            Facet(row, tuple(sorted(cell.rows[row])), _vector(facets[row]), others[row])
            for row in sorted(facets)
        ]
        output = tuple(tuple(Fraction(v, d) for v in row) for row, d in cell.tensors[-1])
        found.append(NdRegion(cell.pattern, output, _vector(cell.point), tuple(ends)))
    met = [(i, j) for i, others in enumerate(beyond) for j in others.values() if j is not None]
    pairs = {(min(pair), max(pair)) for pair in met}
    same = [(i, j) for i, j in pairs if found[i].output == found[j].output]
    labels = _components(len(found), same)
    return NdPartition(domain.dim, tuple(found), tuple(sorted(pairs)), labels)


# ------------------------------------------------------------------------------ rows and functions


def _apply(row: Sequence[Any], t: Sequence[Any]) -> Fraction:
    return sum((Fraction(a) * x for a, x in zip(row[:-1], t, strict=True)), Fraction(row[-1]))


def _vector(place: Place) -> Vector:
    return tuple(Fraction(x, place[-1]) for x in place[:-1])


def _dot(row: Row, place: Place) -> int:
    """Return the value of a row at a point, times the point's last entry (so with its sign)."""
    return sum(map(mul, row, place))


def _coprime(entries: Sequence[int]) -> tuple[int, ...]:
    shared = gcd(*entries) or 1
    return tuple(v // shared for v in entries)


def _minus(row: Row) -> Row:
    return tuple(-v for v in row)


def _function(row: Sequence[Any]) -> Function:
    """Return the affine function with the coefficients ``(a, ..., c)``."""
    values = [Fraction(v) for v in row]
    scale = lcm(*(v.denominator for v in values))
    return tuple(v.numerator * (scale // v.denominator) for v in values), scale


def _combine(size: int, terms: Iterable[tuple[Fraction, Function]]) -> Function:
    """Return a sum of numbers times functions (of `size` coefficients), reduced."""
    known = [(factor, f) for factor, f in terms if factor]
    scale = lcm(*(factor.denominator * f[1] for factor, f in known))
    total = [0] * size
    for factor, (row, d) in known:
        n = factor.numerator * (scale // (factor.denominator * d))
        total = [v + n * a for v, a in zip(total, row, strict=True)]
    shared = gcd(scale, *total)
    return tuple(v // shared for v in total), scale // shared


# ---------------------------------------------------------------------------- the one LP, in exact


def _reach(rows: Sequence[Row], point: Place, goal: Row) -> Place | None:
    """Return a point where all rows and the goal are positive, or None if there is none.

    At `point` all rows are positive and the goal is not. The goal is maximised from there on the
    closed set, by steps of the simplex method, and only until it is positive. The table says, with
    one denominator for everything,

        basic = (entries . free + last entry) / den,

    where at first the "free" columns are the coordinates relative to `point`, times its last entry,
    and the lines are the rows and, last, the goal. A coordinate that has entered never leaves, so
    Bland's rule needs to look at the rows only. The entries stay integers, for they are minors.
    """
    size = len(goal) - 1
    table = [[*row[:-1], _dot(row, point)] for row in (*rows, goal)]
    columns = list(range(size))  # names: coordinates below `size`, then the rows
    lines = list(range(size, size + len(rows)))
    den = 1
    while (aim := table[-1])[-1] <= 0:
        entering = [
            (name, k) for k, name in enumerate(columns) if aim[k] > 0 or (aim[k] and name < size)
        ]
        if not entering:
            _check_empty(rows, goal, den, {n: v for n, v in zip(columns, aim, strict=False) if v})
            return None
        k = min(entering)[1]
        sense = 1 if aim[k] > 0 else -1
        leaving = _leaving(table, lines, size, k, sense)
        if leaving is None:  # nothing in the way: go as far as the goal needs
            far = -aim[-1] // abs(aim[k]) + 1
            for line in table:
                line[-1] += sense * far * line[k]
            shift = {columns[k]: sense * far * den}
            return _inwards(rows, point, goal, _read(point, table, lines, den, shift))
        den = _pivot(table, leaving, k, den)
        columns[k], lines[leaving] = lines[leaving], columns[k]
    return _inwards(rows, point, goal, _read(point, table, lines, den, {}))


def _leaving(table: list[list[int]], lines: list[int], size: int, k: int, sense: int) -> int | None:
    """Return the line of the row that becomes 0 first, by Bland's rule; None if none does."""
    best: tuple[int, int, int] | None = None  # numerator and denominator of the step, the line
    for i, name in enumerate(lines):
        fall = -sense * table[i][k]
        if fall <= 0 or name < size:
            continue
        if best is not None:
            order = table[i][-1] * best[1] - best[0] * fall
            if order > 0 or (order == 0 and name > lines[best[2]]):
                continue
        best = (table[i][-1], fall, i)
    return None if best is None else best[2]


def _pivot(table: list[list[int]], r: int, k: int, den: int) -> int:
    """Exchange the basic variable of a line with that of a column; return the new denominator."""
    line = table[r]
    pivot = line[k]
    sign = 1 if pivot > 0 else -1
    for i, other in enumerate(table):
        if i == r:
            continue
        factor = other[k]
        # exact: the entries are minors of the first table, and den the one of the pivots so far
        fresh = [sign * (v * pivot - factor * u) // den for v, u in zip(other, line, strict=True)]
        fresh[k] = sign * factor
        table[i] = fresh
    table[r] = [-sign * v for v in line]
    table[r][k] = sign * den
    return abs(pivot)


def _read(
    point: Place, table: list[list[int]], lines: list[int], den: int, shift: dict[int, int]
) -> Place:
    """Return the point that a table stands for; `shift` are coordinates that are not basic."""
    values = {name: table[i][-1] for i, name in enumerate(lines)} | shift
    moved = [x * den + values.get(k, 0) for k, x in enumerate(point[:-1])]
    return _coprime([*moved, point[-1] * den])


def _inwards(rows: Sequence[Row], start: Place, goal: Row, end: Place) -> Place:
    """Return a point between two where all rows and the goal are positive.

    At the start all rows are positive, at the end none is negative, and the goal is positive.
    """
    missing, reached = -_dot(goal, start) * end[-1], _dot(goal, end) * start[-1]
    # The goal is 0 at missing / (missing + reached) of the way; half of the rest is left over.
    found = _mix(start, reached, end, 2 * missing + reached)
    if _dot(goal, found) <= 0 or any(_dot(row, found) <= 0 for row in rows):
        raise AssertionError("the simplex method left the cell")
    return found


def _mix(p: Place, alpha: int, q: Place, beta: int) -> Place:
    """Return the point ``(alpha p + beta q) / (alpha + beta)``."""
    u, v = alpha * q[-1], beta * p[-1]
    return _coprime([u * x + v * y for x, y in zip(p, q, strict=True)])


def _check_empty(rows: Sequence[Row], goal: Row, den: int, factors: dict[int, int]) -> None:
    """Check that ``den goal = sum of (factor <= 0) row + (constant <= 0)``: it is never positive.

    The keys of `factors` are the names of `_reach`.
    """
    rest = [den * v for v in goal]
    for name, factor in factors.items():
        row = rows[name - len(goal) + 1]
        rest = [v - factor * u for v, u in zip(rest, row, strict=True)]
    fits = den > 0 and all(factor <= 0 for factor in factors.values())
    if not fits or any(rest[:-1]) or rest[-1] > 0:
        raise AssertionError("multipliers that prove nothing")


def _rounded(point: Place, rows: Iterable[Row]) -> Place:
    """Return a point with small numbers near one, where all rows are positive too."""
    rows = tuple(rows)
    for bits in (0, 2, 5, 10, 20, 40):
        if point[-1] <= 1 << bits:
            break
        near = [((x << bits + 1) + point[-1]) // (2 * point[-1]) for x in point[:-1]]
        place = _coprime([*near, 1 << bits])
        if all(_dot(row, place) > 0 for row in rows):
            return place
    return point


# --------------------------------------------------------------------------------------- the cells


class _Cell(NamedTuple):
    """The open set where all rows are positive, and what the network is on it so far.

    `made` are the entries of the tensor in the making: the node with the number
    ``len(tensors) - 1`` is at work on its unit ``len(made)``.
    """

    rows: dict[Row, tuple[Maker, ...]]
    point: Place
    pattern: Pattern
    tensors: tuple[tuple[Function, ...], ...]
    made: tuple[Function, ...]


class _Piece(NamedTuple):
    """A piece of a unit: its number, its function, and what must be positive."""

    number: int
    function: Function
    demands: list[tuple[Function, Maker]]


def _start(net: Graph, domain: NdDomain) -> _Cell:
    """Return the interior of the domain."""
    size = domain.dim
    identity: list[Sequence[Any]] = [[int(j == k) for j in range(size + 1)] for k in range(size)]
    if domain.origin is not None and domain.basis is not None:
        identity = [(*row, o) for o, row in zip(domain.origin, domain.basis, strict=True)]
    if len(identity) != net.inputs:
        raise ValueError(f"the domain lies in R^{len(identity)}, the input in R^{net.inputs}")
    if any(len(row) != size + 1 for row in (*identity, *domain.rows)):
        raise ValueError("rows that do not have the dimension of the domain")
    walls = [(_function(row), Maker(-1, k)) for k, row in enumerate(domain.rows)]
    # Unlike a piece, the domain is closed: a constraint 0 >= 0 is met everywhere.
    walls = [(f, maker) for f, maker in walls if any(f[0])]
    inputs = tuple(_function(row) for row in identity)
    everything = _Cell({}, (*[0] * size, 1), (), (inputs,), ())
    entered = _enter(everything, walls)
    if entered is None:
        raise ValueError("a domain without interior")
    return everything._replace(rows=entered[0], point=entered[1])


def _leaves(net: Graph, start: _Cell) -> Iterator[_Cell]:
    """Yield the cells on which all units have one piece, depth first."""
    size = len(start.point)
    todo = [start]
    while todo:
        cell = todo.pop()
        k = len(cell.tensors) - 1
        if k == len(net.nodes):
            yield cell
            continue
        node = net.nodes[k]
        joined = [f for source in sources(node) for f in cell.tensors[source]]
        if node[0] == "linear":
            made = tuple(_affine(size, joined, terms, bias) for terms, bias in node[2])
            todo.append(cell._replace(tensors=(*cell.tensors, made)))
        elif len(cell.made) == len(node[2]):
            todo.append(cell._replace(tensors=(*cell.tensors, cell.made), made=()))
        else:
            maker = Maker(k, len(cell.made), len(cell.pattern))
            pieces = _slot_pieces if node[0] == "max" else _unit_pieces
            todo += reversed(_split(cell, pieces(size, node, joined, maker)))


def _affine(size: int, joined: Sequence[Function], terms: Any, bias: Any) -> Function:
    one: Function = ((*[0] * (size - 1), 1), 1)
    weighted = [(Fraction(c), joined[j]) for j, c in terms]
    return _combine(size, [*weighted, (Fraction(bias), one)])


def _unit_pieces(size: int, node: Node, joined: Sequence[Function], maker: Maker) -> list[_Piece]:
    """Return the pieces of a unit ``z if z > 0 else slope z``."""
    z, slope = joined[maker.unit], Fraction(node[2][maker.unit])
    scaled = _combine(size, [(slope, z)])
    if slope == 1 or not any(z[0]):
        return [_Piece(0, scaled, [])]
    opposite = (_minus(z[0]), z[1])
    return [_Piece(0, scaled, [(opposite, maker)]), _Piece(1, z, [(z, maker)])]


def _slot_pieces(size: int, node: Node, joined: Sequence[Function], maker: Maker) -> list[_Piece]:
    """Return the pieces of a window: one per function, under the first slot that has it."""
    first: dict[Function, int] = {}
    for slot, j in enumerate(node[2][maker.unit]):
        if j >= 0:
            first.setdefault(joined[j], slot)  # functions are reduced: equal as tuples or not
    one = Fraction(1)
    return [
        _Piece(
            slot,
            f,
            [
                (_combine(size, [(one, f), (-one, g)]), maker._replace(slot=other))
                for g, other in first.items()
                if other != slot
            ],
        )
        for f, slot in first.items()
    ]


def _split(cell: _Cell, pieces: list[_Piece]) -> list[_Cell]:
    """Return the parts of a cell on which a unit has one piece each."""
    parts: list[_Cell] = []
    for number, function, demands in pieces:
        entered = _enter(cell, demands)
        if entered is not None:
            pattern, made = (*cell.pattern, number), (*cell.made, function)
            parts.append(_Cell(entered[0], entered[1], pattern, cell.tensors, made))
    if not parts:
        raise AssertionError("the pieces of a unit do not cover the cell")
    if len(parts) == 1:  # then the new rows follow from the old ones
        rows = parts[0].rows
        parts[0] = parts[0]._replace(rows={row: rows[row] for row in cell.rows})
    return parts


def _enter(
    cell: _Cell, demands: Iterable[tuple[Function, Maker]]
) -> tuple[dict[Row, tuple[Maker, ...]], Place] | None:
    """Return the part of a cell where functions are positive, and a point of it, if there is."""
    rows, point = dict(cell.rows), cell.point
    for (entries, _), maker in demands:
        if not any(entries[:-1]):
            if entries[-1] <= 0:
                return None
            continue
        row = _coprime(entries)
        if _minus(row) in rows:
            return None
        if row not in rows and _dot(row, point) <= 0:
            found = _reach(tuple(rows), point, row)
            if found is None:
                return None
            point = _rounded(found, (*rows, row))
        rows[row] = (*rows.get(row, ()), maker)
    return rows, point


# ------------------------------------------------------------------------- facets and who is beside


def _facets(cell: _Cell) -> dict[Row, Place]:
    """Return the rows that are not redundant, each with a point in the interior of its facet.

    A row is needed if and only if a point exists where it is negative and all others are positive:
    the rows are coprime and different, and the cell has an interior.
    """
    found: dict[Row, Place] = {}
    needed = list(cell.rows)
    for row in cell.rows:
        others = [other for other in needed if other != row]
        outside = _reach(others, cell.point, _minus(row))
        if outside is None:
            needed = others
            continue
        inner, outer = _dot(row, cell.point) * outside[-1], -_dot(row, outside) * cell.point[-1]
        found[row] = _mix(cell.point, outer, outside, inner)
    return found


def _across(
    sides: Sequence[dict[Row, Place]], walls: Sequence[set[Row]]
) -> list[dict[Row, int | None]]:
    """Return for every region and facet the region on the other side, None at the domain's end.

    Pre-activations are continuous. So none of them changes its sign inside of a facet, whichever
    side it is computed on, and regions meet facet to facet: there is one region beyond, and the
    facet's point is in the relative interior of that region's facet. Both is checked.
    """
    by_row: dict[Row, list[int]] = {}
    for i, facets in enumerate(sides):
        for row in facets:
            by_row.setdefault(row, []).append(i)
    beyond: list[dict[Row, int | None]] = []
    for facets, ends in zip(sides, walls, strict=True):
        beyond.append({})
        for row, point in facets.items():
            opposite = _minus(row)
            beside = [
                j
                for j in by_row.get(opposite, ())
                if all(_dot(other, point) > 0 for other in sides[j] if other != opposite)
            ]
            beyond[-1][row] = beside[0] if beside else None
            if len(beside) != (row not in ends):
                raise AssertionError(f"{len(beside)} regions beyond a facet")
    for i, others in enumerate(beyond):
        for row, j in others.items():
            if j is not None and beyond[j][_minus(row)] != i:
                raise AssertionError("neighbours do not agree")
    return beyond


def _components(size: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the connected component of each of `size` nodes, numbered in order of appearance."""
    parent = list(range(size))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(root(i), len(numbers)) for i in range(size))


# ------------------------------------------------------------------------------------- the volumes


def _volume(rows: Iterable[Row], size: int) -> Fraction | None:
    """Return the volume of ``{t : all rows >= 0}`` in R^size, None if it is unbounded.

    Lasserre's formula: the sum over the facets of height times volume, divided by `size`, where a
    facet is measured by its shadow along a coordinate. Redundant rows do no harm (their faces are
    flat, or empty), the same row twice would. An unbounded set that is not the whole space has an
    unbounded facet, if size > 1, so that it shows on some line in the end.
    """
    rows = list(rows)
    if any(row[-1] < 0 for row in rows if not any(row[:-1])):
        return Fraction(0)
    rows = [row for row in rows if any(row[:-1])]
    if size == 1:
        low = [Fraction(-c, a) for a, c in rows if a > 0]
        high = [Fraction(-c, a) for a, c in rows if a < 0]
        return max(Fraction(0), min(high) - max(low)) if low and high else None
    total = Fraction(0)
    for row in rows:
        k = next(k for k, a in enumerate(row) if a)
        sign = 1 if row[k] > 0 else -1
        shadow = {
            _coprime(
                [
                    sign * (v * row[k] - other[k] * a)
                    for j, (v, a) in enumerate(zip(other, row, strict=True))
                    if j != k
                ]
            )
            for other in rows
            if other is not row
        }
        part = _volume(shadow, size - 1)
        if part is None:
            return None
        total += Fraction(row[-1], abs(row[k])) * part
    return total / size if rows else None
