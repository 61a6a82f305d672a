"""Whether an input of a box without bounds on all sides violates a property, exactly.

The engine's search bounds units over boxes, and where a side is infinite (or beyond the doubles)
these bounds say nothing. Here every unit is split, layer after layer: where all pieces are fixed
the network is affine, and linear programs in integers (`csrc/lp/exact.hpp`) say which closed cells
are empty and which hold a violation. The multipliers of a program without a solution are the proof
of its leaf (Farkas' lemma; ``docs/proof_format.md``, "Dual trees"). There are as many cells as
regions that meet the box, and each costs some programs: this is for small networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from math import gcd, lcm
from typing import Any

import plverify._core as _core
from plverify.domain import Box, polytope_bytes
from plverify.exact_nodes import Max
from plverify.network import Network
from plverify.proof import big_bytes, var_bytes
from plverify.property import Disjunct

Row = tuple[int, ...]
Place = tuple[list[int], int]
"""Numerators of a point and their denominator."""
Share = tuple[int, Fraction]
"""A unit input's number, and how much of its multiplier a row's multiplier makes."""

_BITS = 300
LARGEST = 2**_BITS
"""Sides of boxes that the engine's search takes are smaller."""
MOST = 100_000
"""Programs for one disjunct; then it is given up."""
_DUAL, _UNIT = 1, 3


def beyond_doubles(box: Box) -> bool:
    """Whether the engine's search does not take a box."""
    for v in (*box.lo, *box.hi):
        if isinstance(v, float):
            return True
        num, den = v.as_integer_ratio()
        if num.bit_length() - den.bit_length() >= _BITS and not abs(num) < LARGEST * den:
            return True
    return False


class GivenUp(Exception):
    """The walk did not come to its end; the text says why, "timeout" for the deadline."""


class Walk:
    """The split tree of one disjunct of a property.

    Attributes
    ----------
    witness : numerators and a denominator, or None
        An input that violates, after `run`.
    body : bytearray
        The tree so far; all of it if there is no witness.
    nodes, leaves, programs : int
    """

    def __init__(
        self,
        net: Network,
        case: Disjunct,
        deadline: float | None = None,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        self.witness: Place | None = None
        self.body = bytearray()
        self.nodes = self.leaves = self.programs = 0
        self._told = time.monotonic()
        self._net, self._case, self._deadline, self._tick = net, case, deadline, tick
        self._bits = [0] * net.unit_count
        self._rows: list[Row] = case.box.constraint_rows()
        self._shares: list[list[Share]] = [[] for _ in self._rows]
        self._first = [0, *accumulate(net.widths)]
        self._inputs: list[list[list[int]]] = []
        count = 0
        for _, node in net.exact_net.unit_nodes:
            windows = node.windows if isinstance(node, Max) else [[0]] * len(node.slopes)
            self._inputs.append([])
            for window in windows:
                self._inputs[-1].append(list(range(count, count + len(window))))
                count += len(window)

    def run(self) -> bool:
        """Whether a violation was found.

        Raises
        ------
        GivenUp
            After the deadline, or `MOST` programs.
        """
        corner = [
            low if isinstance(low, Fraction) else high if isinstance(high, Fraction) else Fraction()
            for low, high in zip(self._case.box.lo, self._case.box.hi, strict=True)
        ]
        den = lcm(*(v.denominator for v in corner))
        place = [v.numerator * (den // v.denominator) for v in corner]
        stack = [self._layer(0, (place, den))]
        while stack:  # a generator per split, as networks may have more units than Python has calls
            deeper = next(stack[-1], None)
            if self.witness is not None:
                return True
            if deeper is None:
                stack.pop()
            else:
                stack.append(deeper)
        return False

    def _layer(self, layer: int, point: Place) -> Iterator[Any]:
        """Walk the cells of a cell; yields what is to be walked first."""
        exact = self._net.exact_net
        maps = exact.affine_maps(self._bits)
        for _ in range(layer):
            next(maps)
        table, den = next(maps)
        if layer == len(exact.unit_nodes):
            self._leaf(table, den, point)
            return
        yield from self._unit(layer, 0, table, den, point)

    def _unit(
        self, layer: int, unit: int, table: Sequence[Row], den: int, point: Place
    ) -> Iterator[Any]:
        while unit < self._net.widths[layer]:
            sides = self._sides(layer, unit, table, den)
            if len(sides) > 1:
                break
            self._bits[self._first[layer] + unit] = sides[0][0]
            unit += 1
        else:
            yield self._layer(layer + 1, point)
            return
        flat = self._first[layer] + unit
        self.body += var_bytes(_UNIT) + var_bytes(flat)
        self.nodes += 1
        known = len(self._rows)
        for piece, rows, shares in sides:
            self._bits[flat] = piece
            self._rows += rows
            self._shares += shares
            inner = point if _holds(rows, point) else self._point(0)
            if inner is not None:
                yield self._unit(layer, unit + 1, table, den, inner)
            del self._rows[known:], self._shares[known:]

    def _sides(
        self, layer: int, unit: int, table: Sequence[Row], den: int
    ) -> list[tuple[int, list[Row], list[list[Share]]]]:
        """The pieces of a unit in the order of a proof, each with its rows."""
        node = self._net.exact_net.unit_nodes[layer][1]
        numbers = self._inputs[layer][unit]
        if not isinstance(node, Max):
            if node.slopes[unit] == (1, 0):
                return [(0, [], [])]
            row, scale = _coprime(table[unit], den)
            share = [(numbers[0], scale)]
            return [(1, [row], [share]), (0, [tuple(-v for v in row)], [share])]
        slots = node.windows[unit]
        out = []
        for number, (piece, at) in zip(numbers, slots, strict=True):
            rows, shares = [], []
            for other, (_, beside) in zip(numbers, slots, strict=True):
                if other != number:
                    gap = [a - b for a, b in zip(table[at], table[beside], strict=True)]
                    row, scale = _coprime(gap, den)
                    rows.append(row)
                    shares.append([(number, scale), (other, scale)])
            out.append((piece, rows, shares))
        return out

    def _leaf(self, table: Sequence[Row], den: int, point: Place) -> None:
        """A cell on which the network is affine: is there a violation?"""
        goals = []
        for constraint in self._case.constraints:
            scale = den * constraint.bound.denominator
            row = [0] * self._net.input_size + [constraint.bound.numerator * den]
            for i, a in constraint.inputs:
                row[i] -= a * scale
            for j, c in constraint.outputs:
                row = [
                    v - c * constraint.bound.denominator * w
                    for v, w in zip(row, table[j], strict=True)
                ]
            goals.append((*_coprime(row, scale), constraint.strict))
        known = len(self._rows)
        self._rows += [row for row, _, _ in goals]
        met = _holds(self._rows[known:], point, [strict for _, _, strict in goals])
        self.witness = point if met else self._point(len(goals), goals)
        del self._rows[known:]

    def _point(self, count: int, goals: Sequence[tuple[Row, Fraction, bool]] = ()) -> Place | None:
        """A point of the cell (of the last rows' strict side), or None and a leaf."""
        self.programs += 1
        now = time.monotonic()
        if self._deadline is not None and now > self._deadline:
            raise GivenUp("timeout")
        if self.programs > MOST:
            raise GivenUp(f"a box without bounds on all sides takes more than {MOST:,} programs")
        if self._tick is not None and now > self._told + 0.1:
            self._told = now
            self._tick(self.nodes)
        strict = [False] * (len(self._rows) - count) + [strict for _, _, strict in goals]
        body = polytope_bytes(self._rows, self._net.input_size)
        answer = _core.mixed_point(body, strict)
        if len(answer) == 2:
            return answer
        first = len(self._rows) - count
        listed: dict[int, Fraction] = {}
        used: list[tuple[int, Fraction]] = []
        for number, y in answer[0]:
            if number >= first:
                used.append((number - first, y * goals[number - first][1]))
                continue
            for unit_input, share in self._shares[number]:
                listed[unit_input] = listed.get(unit_input, Fraction()) + y * share
        scale = lcm(*(v.denominator for _, v in used), *(v.denominator for v in listed.values()))
        self.body += var_bytes(_DUAL) + var_bytes(0) + var_bytes(len(used))
        for number, m in used:
            self.body += var_bytes(number) + big_bytes(int(m * scale))
        self.body += var_bytes(len(listed))
        last = 0
        for unit_input in sorted(listed):
            self.body += var_bytes(unit_input - last) + big_bytes(int(listed[unit_input] * scale))
            last = unit_input
        self.leaves += 1
        self.nodes += 1
        return None


def _coprime(row: Sequence[int], den: int) -> tuple[Row, Fraction]:
    """A row in lowest terms, and ``row / den`` is how many times the function."""
    common = gcd(*row) or 1
    return tuple(v // common for v in row), Fraction(den, common)


def _holds(rows: Sequence[Row], point: Place, strict: Sequence[bool] = ()) -> bool:
    place, den = point
    values = (
        sum(a * v for a, v in zip(row[:-1], place, strict=True) if a) + row[-1] * den
        for row in rows
    )
    weak = strict or [False] * len(rows)
    return all(v > 0 if s else v >= 0 for v, s in zip(values, weak, strict=True))
