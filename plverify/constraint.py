"""Linear constraints between inputs and outputs, and their folding into an input box.

What `plverify.property` is made of. Everything is rational and nothing rounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any, TypeAlias

from plverify.domain import Bound, number_text
from plverify.errors import InputError
from plverify.exact_array import exact_number

MAX_BITS = 12_000
"""Numerators and denominators have at most so many bits: hostile numbers stay affordable."""

Term: TypeAlias = tuple[int, int]
"""``(index, coefficient)``."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """``sum a_i x_i + sum c_j y_j <= bound``, or ``<`` where `strict`; see `Constraint.of`.

    Attributes
    ----------
    inputs, outputs : tuple of (index, coefficient)
        Sorted by index; no zeros; all coefficients together are coprime integers.
    bound : Fraction
    strict : bool
        Whether equality is excluded.
    """

    inputs: tuple[Term, ...]
    outputs: tuple[Term, ...]
    bound: Fraction
    strict: bool = False

    def __post_init__(self) -> None:
        common = 0
        for terms in (self.inputs, self.outputs):
            last = -1
            for index, coefficient in terms:
                if type(index) is not int or type(coefficient) is not int or not coefficient:
                    raise InputError(f"a constraint has the term {(index, coefficient)!r:.60}")
                if index <= last:
                    raise InputError(f"a constraint lists index {index} after {last}")
                last, common = index, gcd(common, coefficient)
        if common != 1:
            raise InputError(f"a constraint has coefficients with common divisor {common}")
        if type(self.bound) is not Fraction:
            raise InputError(f"a constraint has the bound {self.bound!r:.60}, expected a Fraction")
        check_size(self.bound, "the bound of a constraint")

    @staticmethod
    def of(
        inputs: Mapping[int, Any], outputs: Mapping[int, Any], bound: Any, strict: bool = False
    ) -> Constraint | bool:
        """The constraint with these exact numbers, in lowest terms.

        Parameters
        ----------
        inputs, outputs : mapping from index to number
        bound : number
        strict : bool

        Returns
        -------
        Constraint or bool
            A bool where no variable is left: whether ``0 <= bound`` (``0 < bound``) holds.

        Raises
        ------
        InputError
            On NaN, infinity, a negative index or numbers of more than `MAX_BITS` bits.

        >>> Constraint.of({}, {0: "0.5", 1: -1}, 3)
        Constraint(inputs=(), outputs=((0, 1), (1, -2)), bound=Fraction(6, 1), strict=False)
        """
        sides = [
            [(i, finite(v, f"coefficient {i}")) for i, v in sorted(side.items())]
            for side in (inputs, outputs)
        ]
        values = [v for side in sides for _, v in side if v]
        limit = finite(bound, "the bound")
        if not values:
            return limit > 0 if strict else limit >= 0
        den = lcm(*(v.denominator for v in values))
        top = gcd(*(v.numerator * (den // v.denominator) for v in values))
        scale = Fraction(den, top)
        rows = [tuple((i, int(v * scale)) for i, v in side if v) for side in sides]
        for _, v in (*rows[0], *rows[1]):
            check_size(Fraction(v), "a coefficient")
        return Constraint(rows[0], rows[1], limit * scale, bool(strict))

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether the exact point satisfies the constraint."""
        value = sum((a * x[i] for i, a in self.inputs), Fraction(0))
        value += sum((c * y[j] for j, c in self.outputs), Fraction(0))
        return value < self.bound if self.strict else value <= self.bound

    def describe(self) -> str:
        """A short text for people.

        >>> Constraint((), ((0, 1), (3, -1)), Fraction(0)).describe()
        'y_0 <= y_3'
        """
        terms = [("x", i, a) for i, a in self.inputs] + [("y", j, c) for j, c in self.outputs]
        flip = all(v < 0 for _, _, v in terms)
        left = [t for t in terms if (t[2] > 0) != flip]
        right = [t for t in terms if (t[2] > 0) == flip]
        bound = -self.bound if flip else self.bound
        sign = (">" if flip else "<") + ("" if self.strict else "=")
        tail = _sum_text(right)
        if bound or not tail:
            number = number_text(abs(bound)) if tail else number_text(bound)
            tail += (" - " if bound < 0 else " + ") * bool(tail) + number
        return f"{_sum_text(left)} {sign} {tail}"


class Fold:
    """A box that takes constraints one by one and folds bounds on one input into itself.

    ``lo`` and ``hi`` are copied when first changed, so that many branches share one box.
    """

    def __init__(self, lo: Sequence[Bound], hi: Sequence[Bound]) -> None:
        self.lo, self.hi = lo, hi
        self.rest: list[Constraint] = []
        self._own: tuple[list[Bound], list[Bound]] | None = None
        self._strict = False

    def extend(self, count: int) -> None:
        """Append so many inputs without bounds."""
        if self._own is None:
            self._own = (list(self.lo), list(self.hi))
            self.lo, self.hi = self._own
        self._own[0].extend([-math.inf] * count)
        self._own[1].extend([math.inf] * count)

    def add(self, constraint: Constraint) -> bool:
        """Take one more constraint; False where the box is now empty."""
        if constraint.outputs or len(constraint.inputs) != 1:
            self.rest.append(constraint)
            return True
        [(i, sign)] = constraint.inputs
        if constraint.strict:
            self.rest.append(constraint)
            self._strict = True
        return self.bound(i, constraint.bound if sign > 0 else -constraint.bound, sign > 0)

    def bound(self, i: int, value: Fraction, upper: bool) -> bool:
        """Take ``x_i <= value``, or ``x_i >= value``; False where the box is now empty."""
        side = self.hi if upper else self.lo
        old = side[i]
        # A float is an infinite side, which every number tightens.
        if isinstance(old, float) or (value < old if upper else value > old):
            if self._own is None:
                self._own = (list(self.lo), list(self.hi))
                self.lo, self.hi = self._own
            self._own[upper][i] = value
        other = (self.lo if upper else self.hi)[i]
        return isinstance(other, float) or self.lo[i] <= self.hi[i]

    def finish(self) -> tuple[Constraint, ...] | Constraint:
        """The constraints that the box does not express, or one that leaves no input."""
        kept = self.rest
        if self._strict:
            kept = []
            for c in self.rest:
                if c.strict and not c.outputs and len(c.inputs) == 1:
                    [(i, sign)] = c.inputs
                    if sign * c.bound != (self.hi if sign > 0 else self.lo)[i]:
                        continue  # a tighter bound says it already
                    if self.lo[i] == self.hi[i]:
                        return c
                kept.append(c)
        return tuple(dict.fromkeys(kept))


def finite(value: Any, name: str) -> Fraction:
    """The exact number, finite and of at most `MAX_BITS` bits; `InputError` with `name` else."""
    number = exact_number(value, name)
    assert isinstance(number, Fraction)
    check_size(number, name)
    return number


def check_size(value: Fraction, name: str) -> None:
    """Raise `InputError` if the number has more than `MAX_BITS` bits."""
    num, den = value.as_integer_ratio()
    if num.bit_length() > MAX_BITS or den.bit_length() > MAX_BITS:
        raise InputError(f"{name} has more than {MAX_BITS} bits")


def _sum_text(terms: Sequence[tuple[str, int, int]]) -> str:
    return " + ".join(
        f"{name}_{i}" if abs(v) == 1 else f"{number_text(Fraction(abs(v)))} {name}_{i}"
        for name, i, v in terms
    )
