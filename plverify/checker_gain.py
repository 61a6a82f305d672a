"""Bounds of a network's Jacobian on a cell, in exact numbers.

What ``docs/proof_format.md`` says under "Lipschitz constants". *Points* are the inputs and, behind
them, the outputs of all units. Whatever a unit reads, and every output of the network, is one
affine function of points; `Form` holds its coefficients. On a cell a unit multiplies by one of some
slopes, and a window passes on one of some slots. Then, for one combination of the outputs:

* *Backwards*, gradients in the points lie in intervals: that of a point is the sum over the forms
  that read it, of coefficient times the gradient in what is read.
* *Forwards*, let the points have any numbers ``m``, the *tangents*. With ``r`` a form at the
  tangents of the points before it, ``f`` the slope of a unit, ``g`` the gradient in its output,

      sum over inputs of m g = (form of the outputs) at m + sum over units of (f r - m) g,

  since ``g`` in a point is what the forms that read it pass back. Each term of the last sum is at
  most its maximum over the slopes that are left and the interval of ``g``. So every choice of the
  tangents of units gives an upper bound.

Gradients are kept as doubles, rounded outwards. Tangents are rounded to `BITS` bits, in which
direction does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import inf, isqrt, lcm
from typing import NamedTuple

from plverify.checker_bounds import Bounds, Cell
from plverify.checker_claims import Gain
from plverify.checker_minima import down, up

BITS = 64
ZERO, ONE = Fraction(0), Fraction(1)

Interval = tuple[Fraction, Fraction]
Ranges = tuple[list[float], list[float]]
"""Lower and upper bounds of one row's gradients in all points."""


class Form(NamedTuple):
    """``sum num * point / den``."""

    terms: tuple[tuple[int, int], ...]  # (point, num)
    den: int

    def at(self, values: Sequence[int]) -> int:
        """``den`` times its value at integers."""
        return sum(c * values[p] for p, c in self.terms)


class Graph:
    """The forms of a network.

    Attributes
    ----------
    forms : list of Form
        Per unit input.
    levels : mapping from node to int
        How many nodes of units lie behind a node of units; ``levels[-1]``: behind the inputs.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds, self.net = bounds, bounds.net
        self.inputs = self.net.input_size
        self.points = self.inputs + len(bounds.units)
        self._known: dict[tuple[int, int], Form] = {}
        places = {
            k: [(s, j) for s in self.net.nodes[k].sources for j in range(bounds.sizes[s])]
            for k in bounds.of_node
        }
        self.forms = [
            self._expand(*places[unit.node][place]) for unit in bounds.units for place in unit.at
        ]
        self.levels = dict.fromkeys([-1, *bounds.of_node], 0)
        for k in reversed(list(bounds.of_node)):
            for number in bounds.of_node[k]:
                unit = bounds.units[number]
                for form in self.forms[unit.first : unit.first + len(unit.at)]:
                    for point, _ in form.terms:
                        at = -1
                        if point >= self.inputs:
                            at = bounds.units[point - self.inputs].node
                        self.levels[at] = max(self.levels[at], self.levels[k] + 1)

    def outputs(self, row: Sequence[Fraction]) -> Form:
        """The form of a combination of the outputs."""
        last = len(self.net.nodes)
        return _sum([(c, self._expand(last, j)) for j, c in enumerate(row) if c])

    def _expand(self, tensor: int, entry: int) -> Form:
        """The form of an entry of a tensor."""
        if tensor == 0:
            return Form(((entry, 1),), 1)
        node = tensor - 1
        if node not in self.bounds.rows:
            return Form(((self.inputs + self.bounds.of_node[node][entry], 1),), 1)
        if (tensor, entry) not in self._known:
            row = self.bounds.rows[node][entry]
            parts = []
            for place, c in zip(row.at, row.weights, strict=True):
                source, j = self._source(node, place)
                parts.append((Fraction(c, row.den), self._expand(source, j)))
            self._known[tensor, entry] = _sum(parts)
        return self._known[tensor, entry]

    def _source(self, node: int, place: int) -> tuple[int, int]:
        for source in self.net.nodes[node].sources:
            if place < self.bounds.sizes[source]:
                return source, place
            place -= self.bounds.sizes[source]
        raise AssertionError("a node reads past its sources")


def _sum(parts: Sequence[tuple[Fraction, Form]]) -> Form:
    total: dict[int, Fraction] = {}
    for c, form in parts:
        for point, num in form.terms:
            total[point] = total.get(point, ZERO) + c * Fraction(num, form.den)
    total = {point: v for point, v in sorted(total.items()) if v}
    den = lcm(*(v.denominator for v in total.values()))
    return Form(tuple((p, v.numerator * (den // v.denominator)) for p, v in total.items()), den)


class Left(NamedTuple):
    """What a cell leaves to a unit: slopes, and forms that may be passed on."""

    slopes: tuple[Fraction, ...]
    forms: tuple[Form, ...]

    @property
    def dead(self) -> bool:
        """Whether nothing is passed on."""
        return not any(self.slopes)


class Gradients:
    """What is asked about the gradients on the cells of one network."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.graph = Graph(bounds)

    def start(self, gain: Gain) -> list[Ranges]:
        """Nothing known, per row."""
        n = self.graph.points
        return [([-inf] * n, [inf] * n) for _ in gain.rows]

    def left(self, cell: Cell) -> list[Left]:
        """What a cell leaves to every unit."""
        out = []
        for number, unit in enumerate(self.bounds.units):
            forms = self.graph.forms[unit.first : unit.first + len(unit.at)]
            if unit.slope is not None:
                state = self.bounds.state(cell, number)
                slopes = {1: (ONE,), 0: (unit.slope,), -1: (unit.slope, ONE)}[state]
                out.append(Left(slopes, tuple(forms)))
                continue
            at = range(unit.first, unit.first + len(unit.at))
            piece = cell.pieces[number]
            least = max(cell.lo[i] for i in at)
            kept = [f for f, i in zip(forms, at, strict=True) if cell.hi[i] >= least]
            if piece >= 0:
                kept = [forms[piece]]
            out.append(Left((ONE,), tuple(dict.fromkeys(kept))))
        return out

    def narrow(self, gain: Gain, cell: Cell, ranges: Sequence[Ranges], tight: bool) -> list[Ranges]:
        """The ranges intersected with what is found on the cell, rounded outwards."""
        left = self.left(cell)
        return [
            self._rounded(self.graph.outputs(row), left, known, tight)
            for row, known in zip(gain.rows, ranges, strict=True)
        ]

    def _rounded(self, row: Form, left: list[Left], known: Ranges, tight: bool) -> Ranges:
        lo, hi = list(known[0]), list(known[1])
        self._backwards(row, left, (lo, hi), tight)
        return lo, hi

    def _backwards(self, row: Form, left: list[Left], known: Ranges, tight: bool) -> list[Interval]:
        """Exact intervals of the gradients in the inputs; `known` is narrowed on the way."""
        graph = self.graph
        sums: list[list[Fraction]] = [[ZERO, ZERO] for _ in range(graph.points)]

        def spread(form: Form, lo: Fraction, hi: Fraction) -> None:
            for point, num in form.terms:
                c = Fraction(num, form.den)
                ends = (c * lo, c * hi) if num > 0 else (c * hi, c * lo)
                sums[point][0] += ends[0]
                sums[point][1] += ends[1]

        def settle(point: int) -> None:
            lo, hi = sums[point]
            if known[0][point] > lo:
                lo = Fraction(known[0][point])
            if known[1][point] < hi:
                hi = Fraction(known[1][point])
            sums[point] = [lo, max(lo, hi)]  # if none is left, no region is in the cell
            known[0][point] = max(known[0][point], down(lo))
            known[1][point] = max(known[0][point], min(known[1][point], up(sums[point][1])))

        spread(row, ONE, ONE)
        for node in reversed(list(self.bounds.of_node)):
            numbers = self.bounds.of_node[node]
            for number in numbers:
                settle(graph.inputs + number)
            if tight and graph.levels[node] > 1:
                alive = [graph.inputs + number for number in numbers if not left[number].dead]
                self._single(alive, node, row, left, known)
                for point in alive:
                    settle(point)
            for number in numbers:
                lo, hi = sums[graph.inputs + number]
                unit = left[number]
                if len(unit.forms) > 1:
                    lo, hi = min(lo, ZERO), max(hi, ZERO)
                ends = [s * v for s in unit.slopes for v in (lo, hi)]
                lo, hi = min(ends), max(ends)
                if lo or hi:
                    for form in unit.forms:
                        spread(form, lo, hi)
        for point in range(graph.inputs):
            settle(point)
        if tight and graph.levels[-1] > 1:
            self._single(list(range(graph.inputs)), -1, row, left, known)
            for point in range(graph.inputs):
                settle(point)
        return [(lo, hi) for lo, hi in sums[: graph.inputs]]

    def _single(
        self, points: list[int], node: int, row: Form, left: list[Left], known: Ranges
    ) -> None:
        """Narrow the gradients in some points, one by one, by tangents."""
        for point in points:
            for sign in (1, -1):
                start = [ZERO] * self.graph.points
                start[point] = Fraction(sign)
                most = self._forwards(start, node, row, left, known)
                if most is None:
                    continue
                if sign > 0:
                    known[1][point] = min(known[1][point], up(most))
                else:
                    known[0][point] = max(known[0][point], down(-most))
            known[1][point] = max(known[0][point], known[1][point])

    def _forwards(
        self, start: list[Fraction], node: int, row: Form, left: list[Left], known: Ranges
    ) -> Fraction | None:
        """An upper bound of ``sum start * gradient``, by the nodes behind a node of units.

        None where a range is infinite.
        """
        den = lcm(*(v.denominator for v in start))
        grid = den.bit_length() + BITS
        values = [(v.numerator << grid) // v.denominator for v in start]
        assert den & (den - 1) == 0
        total = ZERO
        inputs = self.graph.inputs
        for k, numbers in self.bounds.of_node.items():
            if k <= node:
                continue
            for number in numbers:
                unit, point = left[number], inputs + number
                ends = []
                for form in unit.forms:
                    r = form.at(values)
                    ends += [Fraction(r, form.den) * s for s in unit.slopes]
                low, high = min(ends), max(ends)
                if not (low or high):
                    continue
                lo, hi = known[0][point], known[1][point]
                if -inf in (lo, hi) or inf in (lo, hi):
                    return None
                if lo >= 0:
                    chosen = high
                elif hi <= 0:
                    chosen = low
                else:
                    share = Fraction(hi) / (Fraction(hi) - Fraction(lo))
                    chosen = share * high + (1 - share) * low
                m = chosen.numerator // chosen.denominator
                values[point] = m
                total += max((r - m) * Fraction(g) for r in (low, high) for g in (lo, hi))
        return (total + Fraction(row.at(values), row.den)) / (1 << grid)

    # ------------------------------------------------------------------------------------- goals

    def is_met(self, gain: Gain, cell: Cell, ranges: Sequence[Ranges]) -> bool:
        """Whether the bound of `gain` holds on a cell that is not empty, as far as is seen here."""
        left = self.left(cell)
        rows = [self.graph.outputs(row) for row in gain.rows]
        copies = [(list(lo), list(hi)) for lo, hi in ranges]
        found = [
            self._backwards(row, left, known, False)
            for row, known in zip(rows, copies, strict=True)
        ]
        sizes = [[max(-lo, hi) for lo, hi in row] for row in found]
        if gain.norm == "l1":
            return max(sum(column, ZERO) for column in zip(*sizes, strict=True)) <= gain.bound
        square = gain.norm == "l2"
        if sum((v * v if square else v for row in sizes for v in row), ZERO) <= gain.bound:
            return True
        if len(rows) > 1:
            return square and _spectral(found, gain.bound)
        start, constant = [ZERO] * self.graph.points, ZERO
        for j, (lo, hi) in enumerate(found[0]):
            # A convex function less a linear one is largest at an end.
            slope = lo + hi if square else ONE if lo >= 0 else -ONE if hi <= 0 else None
            if slope is None:
                slope = (hi + lo) / (hi - lo)
            start[j] = Fraction(down(slope))
            constant += max((v * v if square else abs(v)) - start[j] * v for v in (lo, hi))
        most = self._forwards(start, -1, rows[0], left, copies[0])
        return most is not None and constant + most <= gain.bound

    # --------------------------------------------------------------------------------- thin cells

    def is_thin(self, cell: Cell, given: Mapping[int, int]) -> bool:
        """Whether a leaf whose bound is 0 shows that its cell has no interior.

        A bound of 0 for the function 0 is attained everywhere on the cell. So a fixed unit with a
        multiplier is at its kink all over it; and it is not constant there, so the cell is thin.
        """
        left = self.left(cell)
        for number, unit in enumerate(self.bounds.units):
            piece = cell.pieces[number]
            if piece < 0 or unit.pieces == 1:
                continue
            values = [given.get(i, 0) for i in range(unit.first, unit.first + len(unit.at))]
            forms = self.graph.forms[unit.first : unit.first + len(unit.at)]
            if unit.slope is not None:
                if values[0] and self._varies([(ONE, forms[0])], left):
                    return True
                continue
            # sum v_j (z_p - z_j) with v_j >= 0 is 0 only where z_j = z_p for all v_j > 0.
            others = [j for j in range(len(values)) if j != piece]
            if values[piece] != sum(values[j] for j in others) or min(values) < 0:
                continue
            for j in others:
                if values[j] and self._varies([(ONE, forms[piece]), (-ONE, forms[j])], left):
                    return True
        return False

    def _varies(self, parts: Sequence[tuple[Fraction, Form]], left: list[Left]) -> bool:
        """Whether a combination of forms is not constant on the cell, as far as can be seen."""
        form = _sum(parts)
        total = {point: Fraction(num, form.den) for point, num in form.terms}
        while total and max(total) >= self.graph.inputs:
            point = max(total)
            g, unit = total.pop(point), left[point - self.graph.inputs]
            if not g:
                continue
            if len(unit.slopes) > 1 or len(unit.forms) > 1:
                return False
            for p, num in unit.forms[0].terms:
                c = g * unit.slopes[0] * Fraction(num, unit.forms[0].den)
                total[p] = total.get(p, ZERO) + c
        return any(total.values())


def _spectral(ranges: Sequence[Sequence[Interval]], bound: Fraction) -> bool:
    """Whether all matrices within intervals have a spectral norm whose square is at most a bound.

    With ``C`` their centre and ``R`` what they are away from it, norms are at most ``|C| + |R|``;
    ``|R|`` is at most its Frobenius norm, and the root of its largest row sum times its largest
    column sum.
    """
    if bound <= 0:
        return False
    centre = [[Fraction(down((lo + hi) / 2)) for lo, hi in row] for row in ranges]
    radius = [
        [max(hi - c, c - lo) for c, (lo, hi) in zip(cs, row, strict=True)]
        for cs, row in zip(centre, ranges, strict=True)
    ]
    apart = min(
        sum((v * v for row in radius for v in row), ZERO),
        max(sum(row, ZERO) for row in radius)
        * max(sum(column, ZERO) for column in zip(*radius, strict=True)),
    )
    room = _root(bound, down=True) - _root(apart, down=False)
    if room <= 0:
        return False
    level = room * room
    rows = len(centre)
    matrix = [
        [
            (level if p == q else ZERO)
            - sum((a * b for a, b in zip(centre[p], centre[q], strict=True)), ZERO)
            for q in range(rows)
        ]
        for p in range(rows)
    ]
    # Elimination: all pivots positive.
    for p in range(rows):
        if matrix[p][p] <= 0:
            return False
        for i in range(p + 1, rows):
            factor = matrix[i][p] / matrix[p][p]
            for j in range(p, rows):
                matrix[i][j] -= factor * matrix[p][j]
    return True


def _root(value: Fraction, down: bool) -> Fraction:
    """A square root to about 60 digits more than asked for, from below or above."""
    shift = 120 + max(0, value.denominator.bit_length() - value.numerator.bit_length())
    scaled = (value.numerator << 2 * shift) // value.denominator
    root = isqrt(scaled)
    return Fraction(root if down else root + 1, 1 << shift)


__all__ = ["Gradients", "Ranges"]
