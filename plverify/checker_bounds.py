"""Bounds of a network on a cell, in exact numbers; ``docs/proof_format.md``, "Dual trees".

A *cell* is a box of inputs, pieces of some units, and bounds of all unit inputs, doubles that were
proven here. Three questions are answered about it:

* `Bounds.propagate`: intervals of all tensors, one node after the other;
* `Bounds.substitute`: bounds of the unit inputs by backward substitution;
* `Bounds.least`: a lower bound of a linear function of inputs, outputs and at most one unit input,
  for given multipliers or for the default ones.

The last two are one formula. Give every unit input ``z`` a multiplier ``h``, whatever it be. Going
backwards, the gradient ``g`` of a tensor is the sum over those who read it: a linear node passes on
its weights times the gradient of its output, a unit the ``h`` of its inputs. Then the function is,
at any ``x`` and the values that the network takes there,

    constants + sum over units of (g a - sum h z) + (gradient of the inputs) . x,

because for a linear node the two ways of writing its output cancel, and what a unit adds, ``g a``,
and what it passes on, ``h z``, is all that is left. Each unit's term is at least its minimum over
what the cell allows for ``(z, a)``, the last term is at least its minimum over the box, and the
sum of the minima is the bound. Only its quality depends on the multipliers.

In a ball ``phi(x) <= size``, and ``m (phi(x) - size)`` may be added for any ``m >= 0``: what has
this as a lower bound has no smaller minimum. As ``phi`` is a sum over the inputs, so is the minimum
over the box.

Numbers are integers over a common denominator or `Fraction`; a double stands for itself. Nothing is
rounded but the bounds of unit inputs and tensors, outwards.

A network *as executed* (``docs/proof_format.md``, "Rounding") may add to every entry of a linear
node an error that `Rounding` bounds. Wherever the gradient of an entry is ``g``, a lower bound then
loses ``|g|`` times that, and intervals are as much wider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, inf, lcm
from typing import Any, NamedTuple, TypeAlias, cast

from plverify.checker_claims import Ball, Box, Side
from plverify.checker_minima import (
    ONE,
    ZERO,
    Extended,
    Gradient,
    HalfSpace,
    down,
    exact,
    least_maximum,
    least_term,
    multipliers,
    over_box,
    over_half_spaces,
    plus,
    times,
    up,
)
from plverify.exact_net import Affine, Conv, ExactNet, Sparse, Units

Interval: TypeAlias = tuple[float, float]
TIE = 1 + 2.0**-10
"""Of the default slopes. Not 1: networks with small integers have ``hi = -lo``."""
NEAR = 2.0**-20
"""Slots of windows this near count as equal: last digits decide nothing."""
CHORD_BITS = 52
"""Slopes of chords are rounded down to multiples of ``2**-CHORD_BITS``."""


class Unit(NamedTuple):
    """A unit of the network."""

    node: int
    first: int  # number of its first unit input
    at: tuple[int, ...]  # where its inputs are among the joined sources of its node
    slope: Fraction | None  # of the negative side; None for a window

    @property
    def pieces(self) -> int:
        """How many pieces it has."""
        return len(self.at) if self.slope is None else 1 if self.slope == 1 else 2


@dataclass(frozen=True)
class Cell:
    """A part of the input space and what is known there; lists are never changed, only replaced.

    ``pieces[u]`` is the piece a unit is fixed to, or -1. (Where there is only one: 1 for a unit of
    slope 1, 0 for a window.)
    """

    box: Box
    pieces: list[int]
    lo: list[float]
    hi: list[float]
    empty: bool = False
    ball: Ball | None = None


class LinearRow(NamedTuple):
    """``(sum weight * x[at] + bias) / den``."""

    at: tuple[int, ...]
    weights: tuple[int, ...]
    bias: int
    den: int


class Rounding(NamedTuple):
    """How far a linear node's outputs, as executed, are from the exact ones, for what it reads.

    With ``R = sum |w| |x| + |b|`` at what is read, output ``i`` is off by at most
    ``relative * R + absolute[i]``, provided that this and ``R`` are at most ``limit`` together.
    """

    relative: float
    absolute: tuple[float, ...]
    limit: float


class Given(NamedTuple):
    """What a leaf lists: multipliers of unit inputs, and units and windows with envelopes.

    An envelope has numbers for points, for inputs and after them for outputs of units: for a unit
    of two pieces shares of what it reads, for a window coefficients.
    """

    multipliers: Mapping[int, int]
    envelopes: Mapping[int, Mapping[int, Fraction]]


Function: TypeAlias = tuple[dict[int, Gradient], Fraction]
"""Of tensors' entries: gradients by tensor, and a constant."""
Errors: TypeAlias = dict[int, list[float]]
"""Per linear node of a network as executed, bounds of its outputs' errors on a cell."""


class Bounds:
    """What is asked about the cells of one network, or of one as executed.

    `rounding` has all linear nodes, or none.
    """

    def __init__(self, net: ExactNet, rounding: Mapping[int, Rounding] | None = None) -> None:
        self.net = net
        self.rounding = dict(rounding or {})
        self.sizes = [net.input_size, *(node.size for node in net.nodes)]
        self.units: list[Unit] = []
        self.of_node: dict[int, range] = {}
        self.inputs = 0
        for k, node in net.unit_nodes:
            start = len(self.units)
            for i in range(node.size):
                at: tuple[int, ...] = (i,)
                slope = None
                if isinstance(node, Units):
                    num, shift = node.slopes[i]
                    slope = Fraction(num, 1 << shift)
                else:
                    at = tuple(place for _, place in node.windows[i])
                self.units.append(Unit(k, self.inputs, at, slope))
                self.inputs += len(at)
            self.of_node[k] = range(start, len(self.units))
        self.rows = {
            k: [_linear_row(node, i) for i in range(node.size)]
            for k, node in enumerate(net.nodes)
            if isinstance(node, (Affine, Conv, Sparse))
        }
        self.dens = {k: lcm(*{row.den for row in rows}) for k, rows in self.rows.items()}

    def start(self, box: Box, ball: Ball | None = None) -> Cell:
        """The cell of a root: nothing known but the box and the ball."""
        pieces = [-1 if u.pieces > 1 else int(u.slope is not None) for u in self.units]
        return Cell(box, pieces, [-inf] * self.inputs, [inf] * self.inputs, ball=ball)

    def fix(self, cell: Cell, unit: int, piece: int) -> Cell:
        """The part of a cell where a unit is on a piece."""
        pieces = list(cell.pieces)
        pieces[unit] = piece
        if self.units[unit].slope is None:
            return replace(cell, pieces=pieces)
        at, lo, hi = self.units[unit].first, list(cell.lo), list(cell.hi)
        if piece:
            lo[at] = max(lo[at], 0.0)
        else:
            hi[at] = min(hi[at], 0.0)
        return replace(cell, pieces=pieces, lo=lo, hi=hi, empty=cell.empty or lo[at] > hi[at])

    def is_empty(self, cell: Cell) -> bool:
        """Whether the bounds contradict each other, or a window's bounds its piece."""
        if cell.empty:
            return True
        for unit, piece in zip(self.units, cell.pieces, strict=True):
            if unit.slope is None and piece >= 0:
                at = range(unit.first, unit.first + len(unit.at))
                if max(cell.lo[i] for i in at) > cell.hi[unit.first + piece]:
                    return True
        return False

    def state(self, cell: Cell, number: int) -> int:
        """1 where a unit of two pieces is known active, 0 where inactive, -1 where it is free."""
        unit, piece = self.units[number], cell.pieces[number]
        if piece >= 0:
            return piece
        if cell.lo[unit.first] >= 0:
            return 1
        return 0 if cell.hi[unit.first] <= 0 else -1

    # --------------------------------------------------------------------------------- intervals

    def propagate(self, cell: Cell) -> Cell:
        """The cell with the unit inputs' bounds from interval propagation."""
        return self._propagate(cell)[0]

    def with_errors(self, cell: Cell) -> tuple[Cell, Errors]:
        """A cell that is not empty, with the errors on it; where there are none, as it is."""
        return self._propagate(cell) if self.rounding else (cell, {})

    def _propagate(self, cell: Cell) -> tuple[Cell, Errors]:
        lo, hi = list(cell.lo), list(cell.hi)
        out, errors = replace(cell, lo=lo, hi=hi), {}
        ends = zip(cell.box.lo, cell.box.hi, strict=True)
        tensors = [[(-inf if a is None else down(a), inf if b is None else up(b)) for a, b in ends]]
        for k, node in enumerate(self.net.nodes):
            joined = [interval for source in node.sources for interval in tensors[source]]
            if k in self.rows:
                if k in self.rounding:
                    errors[k] = _errors(self.rows[k], joined, self.rounding[k])
                tensors.append(_through_rows(self.rows[k], joined, errors.get(k)))
                continue
            images: list[Interval] = []
            for number in self.of_node[k]:
                unit = self.units[number]
                for i, place in enumerate(unit.at, unit.first):
                    lo[i] = max(lo[i], joined[place][0])
                    hi[i] = min(hi[i], joined[place][1])
                    if lo[i] > hi[i]:
                        return replace(out, empty=True), errors
                images.append(self._image(out, number))
                if images[-1][0] > images[-1][1]:
                    return replace(out, empty=True), errors
            tensors.append(images)
        return out, errors

    def _image(self, cell: Cell, number: int) -> Interval:
        """What a unit can be for inputs within their bounds."""
        unit, piece = self.units[number], cell.pieces[number]
        at = range(unit.first, unit.first + len(unit.at))
        if unit.slope is None:
            lo = max(cell.lo[i] for i in at)
            return lo, cell.hi[at[piece]] if piece >= 0 else max(cell.hi[i] for i in at)
        state = self.state(cell, number)
        lo, hi = cell.lo[at[0]], cell.hi[at[0]]
        if state == 1:
            return lo, hi
        left = times(unit.slope, lo)
        values = (left, times(unit.slope, hi)) if state == 0 else (left, ZERO, exact(hi))
        return down(min(values)), up(max(values))

    # --------------------------------------------------------------------------- back substitution

    def substitute(self, cell: Cell, where: Sequence[Function] = ()) -> Cell:
        """The cell with bounds by backward substitution, one node of units after the other.

        Only of unit inputs that they may matter for: a unit whose piece is known keeps its bounds.
        The bounds hold where functions, if there are any, are at most 0.
        """
        seen, errors = self.with_errors(cell)
        if seen.empty:
            return seen
        halves = []
        for start, constant in where:
            total, (values, den) = self._pull_back(cell, start, constant, None, errors)
            if isinstance(total, Fraction):
                halves.append(HalfSpace(tuple(Fraction(v, den) for v in values), total))
        out = replace(cell, lo=list(cell.lo), hi=list(cell.hi))
        for k, numbers in self.of_node.items():
            places = [
                (source, j)
                for source in self.net.nodes[k].sources
                for j in range(self.sizes[source])
            ]
            for number in numbers:
                unit = self.units[number]
                free = unit.slope is None or self.state(out, number) < 0
                if unit.pieces == 1 or not (free or cell.pieces[number] >= 0):
                    continue
                for i, place in enumerate(unit.at, unit.first):
                    source, j = places[place]
                    ends = []
                    for sign in (1, -1):
                        grad = [0] * self.sizes[source]
                        grad[j] = sign
                        ends.append(self._best(out, {source: (grad, 1)}, errors, halves))
                    out.lo[i] = max(out.lo[i], down(ends[0]))
                    out.hi[i] = min(out.hi[i], up(-ends[1]))
                    if out.lo[i] > out.hi[i]:
                        return replace(out, empty=True)
        return out

    # -------------------------------------------------------------------------------- lower bounds

    def least(
        self,
        cell: Cell,
        start: dict[int, Gradient],
        constant: Fraction,
        given: Given | None,
        errors: Errors,
        around: int = 0,
    ) -> Extended:
        """A lower bound of a linear function on a cell that is not empty.

        Parameters
        ----------
        cell : Cell
        start : mapping from tensor to gradient
            The function, in terms of the tensors' entries.
        constant : Fraction
        given : Given or None
            The numbers ``v`` and shares of a leaf; none: the default slopes.
        errors : Errors
            As `with_errors` gives them for the cell or a larger one.
        around : int
            The ball's multiplier.
        """
        total, gradient = self._pull_back(cell, start, constant, given, errors)
        return plus(total, over_box(gradient, cell.box, cell.ball, Fraction(around)))

    def _best(
        self,
        cell: Cell,
        start: dict[int, Gradient],
        errors: Errors,
        halves: Sequence[HalfSpace],
    ) -> Extended:
        """The best lower bound by default slopes, of some multipliers for ball and half-spaces."""
        total, gradient = self._pull_back(cell, start, ZERO, None, errors)
        tried = [ZERO]
        if cell.ball is not None:
            tried += multipliers(gradient, cell.box, cell.ball)
        best = max(over_box(gradient, cell.box, cell.ball, m) for m in tried)
        if halves:
            more, other = over_half_spaces(gradient, cell.box, halves)
            best = max(best, plus(more, over_box(other, cell.box, None, ZERO)))
        return plus(total, best)

    def _pull_back(
        self,
        cell: Cell,
        start: dict[int, Gradient],
        constant: Fraction,
        given: Given | None,
        errors: Errors,
    ) -> tuple[Extended, Gradient]:
        """What all nodes add to a lower bound, and the gradient of the inputs that is left."""
        nothing: Gradient = ([0] * self.sizes[0], 1)
        total: Extended = constant
        grads = dict(start)
        for k in range(len(self.net.nodes) - 1, -1, -1):
            node = self.net.nodes[k]
            out = grads.pop(k + 1, None)
            if k in self.rows:
                if out is None or not any(out[0]):
                    continue
                for g, error in zip(out[0], errors.get(k, ()), strict=False):
                    if g:
                        total += least_term(-abs(g), -inf, error) / out[1]
                back, bias, den = self._pull(k, *out)
                total += Fraction(bias, den)
            else:
                if out is None and not given:
                    continue
                out = out or ([0] * self.sizes[k + 1], 1)
                if given is not None:
                    for number in self.of_node[k]:
                        i = number - self.of_node[k].start
                        if number not in given.envelopes or not out[0][i]:
                            continue
                        shares, y = given.envelopes[number], Fraction(out[0][i], out[1])
                        own = self._envelope(cell, number, y, shares, grads, errors)
                        if own == -inf:
                            return -inf, nothing
                        total += own
                back, den, term = self._units(cell, k, out, given)
                if term == -inf:
                    return -inf, nothing
                total += term
            self._scatter(grads, node.sources, back, den)
        return total, grads.get(0, nothing)

    def _pull(self, k: int, out: list[int], den: int) -> tuple[list[int], int, int]:
        common = self.dens[k]
        back, bias = [0] * sum(self.sizes[s] for s in self.net.nodes[k].sources), 0
        for g, row in zip(out, self.rows[k], strict=True):
            if g:
                factor = g * (common // row.den)
                bias += factor * row.bias
                for j, c in zip(row.at, row.weights, strict=True):
                    back[j] += factor * c
        return back, bias, den * common

    def _units(
        self, cell: Cell, k: int, out: Gradient, given: Given | None
    ) -> tuple[list[int], int, Extended]:
        """What a node of units passes on and what it adds."""
        node = self.net.nodes[k]
        grad, den = out
        shift = (node.shift if isinstance(node, Units) else 0) + CHORD_BITS * (given is None)
        den <<= shift
        back = [0] * sum(self.sizes[s] for s in node.sources)
        total: Extended = ZERO
        for value, number in zip(grad, self.of_node[k], strict=True):
            unit, g = self.units[number], value << shift
            numbers = range(unit.first, unit.first + len(unit.at))
            if given is None:
                v = [0] * len(numbers)
            else:
                v = [given.multipliers.get(i, 0) * den for i in numbers]
            if not (g or any(v)) or (given is not None and number in given.envelopes):
                continue
            if unit.slope is not None:
                h, term = self._unit(cell, number, g, v[0] if given is not None else None)
                back[unit.at[0]] += h
            else:
                hs, term = self._window(cell, number, g, v if given is not None else None)
                for place, h in zip(unit.at, hs, strict=True):
                    back[place] += h
            if term == -inf:
                return back, den, term
            total += term / den
        return back, den, total

    def _unit(self, cell: Cell, number: int, g: int, v: int | None) -> tuple[int, Extended]:
        """``h`` and the minimum of ``g a - h z`` of a unit of two pieces or of slope 1."""
        unit = self.units[number]
        assert unit.slope is not None
        lo, hi, slope = cell.lo[unit.first], cell.hi[unit.first], unit.slope
        state = self.state(cell, number)
        # Of a unit that is not fixed the multiplier itself is listed, whatever is known.
        whole = cell.pieces[number] < 0 and bool(v)
        if state == 1:
            h = (v or 0) if whole else g - (v or 0)
            return h, least_term(g - h, lo, hi)
        if state == 0:
            low = int(g * slope)
            h = (v or 0) if whole else low + (v or 0)
            return h, least_term(low - h, lo, hi)
        if v is None:
            line = self._line(lo, hi, slope, g > 0)
            if line is None:
                return 0, -inf
            v = int(g * line)
        right, left = least_term(g - v, 0.0, hi), least_term(int(g * slope) - v, lo, 0.0)
        return v, min(right, left)

    def _form(self, entry: int, errors: Errors) -> tuple[dict[int, Fraction], Fraction, Extended]:
        """What a unit input is, in terms of points, and how far that may be off as executed."""
        tensor, at = self.read(entry)
        waiting: dict[tuple[int, int], Fraction] = {(tensor, at): ONE}
        terms: dict[int, Fraction] = {}
        constant, off = ZERO, cast("Extended", ZERO)
        while waiting:
            tensor, at = max(waiting)
            c = waiting.pop((tensor, at))
            if tensor - 1 in self.of_node:
                terms[self.net.input_size + self.of_node[tensor - 1][at]] = c
            elif tensor == 0:
                terms[at] = c
            else:
                row = self.rows[tensor - 1][at]
                if tensor - 1 in errors:
                    off += abs(c) * exact(errors[tensor - 1][at])
                constant += c * Fraction(row.bias, row.den)
                for place, weight in zip(row.at, row.weights, strict=True):
                    source = self.place(tensor - 1, place)
                    old = waiting.get(source, ZERO)
                    waiting[source] = old + c * Fraction(weight, row.den)
        return {point: c for point, c in terms.items() if c}, constant, off

    def tensor(self, point: int) -> int:
        """The one that has an input or, numbered after these, an output of a unit."""
        unit = point - self.net.input_size
        return 0 if unit < 0 else self.units[unit].node + 1

    def read(self, number: int) -> tuple[int, int]:
        """The tensor and its entry that a unit reads as its input of this number."""
        for unit in self.units:
            if unit.first <= number < unit.first + len(unit.at):
                return self.place(unit.node, unit.at[number - unit.first])
        raise AssertionError("there is no such unit input")

    def place(self, node: int, joined: int) -> tuple[int, int]:
        """The tensor and its entry that a place among the joined sources of a node is."""
        for source in self.net.nodes[node].sources:
            if joined < self.sizes[source]:
                return source, joined
            joined -= self.sizes[source]
        raise AssertionError("a node reads what is not there")

    def _pieces(self, cell: Cell, number: int) -> list[tuple[int, Fraction]]:
        """The unit input and the factor of every piece that is left to a unit or window."""
        unit, own = self.units[number], cell.pieces[number]
        if unit.slope is not None:
            both = [(1, ONE), (0, unit.slope)]
            return [(unit.first, factor) for piece, factor in both if own in (-1, piece)]
        out: list[tuple[int, Fraction]] = []
        for slot, place in enumerate(unit.at):
            if own not in (-1, slot):
                continue
            tensor, at = self.place(unit.node, place)
            inner = self.of_node[tensor - 1][at] if tensor - 1 in self.of_node else None
            slope = self.units[inner].slope if inner is not None else None
            if inner is not None and slope is not None and slope <= 1:
                out += self._pieces(cell, inner)
            else:
                out.append((unit.first + slot, ONE))
        return out

    def _envelope(
        self,
        cell: Cell,
        number: int,
        g: Fraction,
        given: Mapping[int, Fraction],
        grads: dict[int, Gradient],
        errors: Errors,
    ) -> Extended:
        """What a unit with an envelope adds; what it passes on is added to `grads`."""
        unit = self.units[number]
        if unit.slope is None:
            passed = {point: g * c for point, c in given.items()}
        else:
            terms = self._form(unit.first, errors)[0]
            passed = {point: g * w * given.get(point, ZERO) for point, w in terms.items()}
        tried: list[Extended] = []
        for at, factor in self._pieces(cell, number):
            terms, constant, off = self._form(at, errors)
            if off == inf:
                return -inf
            y = g * factor
            total: Extended = y * constant - abs(y) * off
            for point in {*terms, *passed}:
                c = y * terms.get(point, ZERO) - passed.get(point, ZERO)
                total = plus(total, self._least_point(cell, point, c))
            tried.append(total)
        for point, value in passed.items():
            tensor, at = self.tensor(point), point
            if tensor:
                at -= self.net.input_size + self.of_node[tensor - 1].start
            back = [0] * self.sizes[tensor]
            back[at] = value.numerator
            self._scatter(grads, (tensor,), back, value.denominator)
        return min(tried)

    def _least_point(self, cell: Cell, point: int, c: Fraction) -> Extended:
        """The minimum of ``c`` times an input or output of a unit."""
        if not c:
            return ZERO
        if point < self.net.input_size:
            end = cell.box.lo[point] if c > 0 else cell.box.hi[point]
            return -inf if end is None else c * end
        lo, hi = self._image(cell, point - self.net.input_size)
        value = exact(lo if c > 0 else hi)
        return -inf if value in (inf, -inf) else c * value

    def _line(self, lo: float, hi: float, slope: Fraction, below: bool) -> Fraction | None:
        """The slope of the default line below or above a free unit."""
        if below == (slope < 1):  # the graph is convex and the line below, or neither
            return ONE if hi > TIE * -lo else slope
        if -lo == inf or hi == inf:
            return None
        left, right = Fraction(lo), Fraction(hi)
        chord = (right - slope * left) / (right - left)
        return Fraction((chord.numerator << CHORD_BITS) // chord.denominator, 1 << CHORD_BITS)

    def _window(
        self, cell: Cell, number: int, g: int, v: list[int] | None
    ) -> tuple[list[int], Extended]:
        """``h`` and the minimum of ``g a - sum h z`` of a window."""
        unit, piece = self.units[number], cell.pieces[number]
        ends = slice(unit.first, unit.first + len(unit.at))
        lo, hi, slots = cell.lo[ends], cell.hi[ends], range(len(unit.at))
        if piece >= 0:
            others = [] if v is None else [(v[j], lo[j], hi[j]) for j in slots if j != piece]
            h = [0] * len(slots) if v is None else list(v)
            h[piece] = g - h[piece]
            return h, least_maximum(g - h[piece], others, max(lo), hi[piece])
        if v is None:
            v = [0] * len(slots)
            if g > 0:
                v[_largest(lo, hi)] = g
            elif (share := _share(lo, hi, p := max(slots, key=lambda j: hi[j]))) is not None:
                v[p] = int(g * share)
        if g >= 0:
            return v, least_maximum(g, list(zip(v, lo, hi, strict=True)), max(lo), max(hi))
        apart = [least_term(-c, a, b) for c, a, b in zip(v, lo, hi, strict=True)]
        first = [least_term(g - c, a, b) for c, a, b in zip(v, lo, hi, strict=True)]
        if -inf in apart or -inf in first:
            return v, -inf
        total = sum(apart, ZERO)
        return v, min(total - rest + own for rest, own in zip(apart, first, strict=True))

    def _scatter(
        self, grads: dict[int, Gradient], sources: Iterable[int], back: list[int], den: int
    ) -> None:
        """Add gradients of joined sources to those of the tensors."""
        at = 0
        for source in sources:
            part = back[at : at + self.sizes[source]]
            at += self.sizes[source]
            if not any(part):
                continue
            old, old_den = grads.get(source, ([0] * len(part), 1))
            common = gcd(den, *part) if source not in grads else 1
            mine = den // common
            total = lcm(old_den, mine)
            grads[source] = (
                [
                    a * (total // old_den) + b // common * (total // mine)
                    for a, b in zip(old, part, strict=True)
                ],
                total,
            )


# ----------------------------------------------------------------------------------------- helpers


def _largest(lo: Sequence[float], hi: Sequence[float]) -> int:
    """The slot of the default line below a free window."""
    best = 0
    for j in range(1, len(lo)):
        size = abs(lo[j]) + abs(hi[j]) + abs(lo[best]) + abs(hi[best])
        if lo[j] + hi[j] - (lo[best] + hi[best]) > NEAR * size:
            best = j
    return best


def _share(lo: Sequence[float], hi: Sequence[float], p: int) -> Fraction | None:
    """The slope of the default line above a free window, of its slot ``p``; None: there is none."""
    start = max(lo[p], *(hi[j] for j in range(len(hi)) if j != p))
    if start == lo[p]:
        return ONE
    if -lo[p] == inf or hi[p] == inf:
        return None
    share = (Fraction(hi[p]) - Fraction(start)) / (Fraction(hi[p]) - Fraction(lo[p]))
    return Fraction((share.numerator << CHORD_BITS) // share.denominator, 1 << CHORD_BITS)


def _linear_row(node: Any, i: int) -> LinearRow:
    if isinstance(node, Affine):
        at = tuple(j for j, c in enumerate(node.rows[i][:-1]) if c)
        weights = tuple(node.rows[i][j] for j in at)
        return LinearRow(at, weights, node.rows[i][-1], node.dens[i] << node.shifts[i])
    inputs, coefficients, bias = node.term(i)
    row = i // node.places if isinstance(node, Conv) else i
    return LinearRow(tuple(inputs), tuple(coefficients), bias, node.dens[row] << node.shifts[row])


def _through_rows(
    rows: Sequence[LinearRow], joined: Sequence[Interval], errors: Sequence[float] | None
) -> list[Interval]:
    """The intervals of a linear node, exactly but for rounding outwards once."""
    sides = [[exact(v) for v in ends] for ends in zip(*joined, strict=True)]
    den = lcm(*(v.denominator for side in sides for v in side if isinstance(v, Fraction)))
    scaled = [
        [v.numerator * (den // v.denominator) if isinstance(v, Fraction) else None for v in side]
        for side in sides
    ]
    out = []
    for i, row in enumerate(rows):
        ends: list[Extended] = []
        for side in (0, 1):
            total, infinite = row.bias * den, False
            for j, c in zip(row.at, row.weights, strict=True):
                value = scaled[side if c > 0 else 1 - side][j]
                if value is None:
                    infinite = infinite or c != 0
                else:
                    total += c * value
            ends.append((inf if side else -inf) if infinite else Fraction(total, den * row.den))
        error = exact(errors[i]) if errors is not None else ZERO
        out.append((down(ends[0] - error), up(ends[1] + error)))
    return out


def _errors(
    rows: Sequence[LinearRow], joined: Sequence[Interval], rounding: Rounding
) -> list[float]:
    """Bounds of the errors of a linear node's outputs where what it reads is in intervals."""
    size = [max(-lo, hi) for lo, hi in joined]
    relative, out = Fraction(rounding.relative), []
    for row, absolute in zip(rows, rounding.absolute, strict=True):
        terms = [(abs(c), size[j]) for j, c in zip(row.at, row.weights, strict=True) if c]
        if any(a == inf for _, a in terms):
            out.append(inf)
            continue
        total = (sum((c * Fraction(a) for c, a in terms), ZERO) + abs(row.bias)) / row.den
        error = relative * total + Fraction(absolute)
        out.append(up(error) if total + error <= rounding.limit else inf)
    return out


__all__ = ["Bounds", "Cell", "Errors", "Given", "Rounding", "Side", "Unit", "down",
           "least_maximum", "up"]  # fmt: skip
