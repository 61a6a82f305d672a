"""What a VNN-LIB expression means: exact numbers, linear forms, formulas as disjunctions of cases.

Nothing here recurses, and what a hostile file could make large is bounded: numbers by
`plverify.constraint.MAX_BITS`, the cases that a conjunction of disjunctions multiplies into by
`Budget`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

from plverify.constraint import MAX_BITS, Constraint

MAX_DIGITS = 3_600
"""Characters of a number; also the largest decimal exponent."""

MAX_NUMBER_BITS = 1 << 31
"""Bits of all numbers of a file together."""

MAX_REFERENCES = 10_000_000
"""Comparisons in all cases of a file together, one that stands in several cases counted often."""

NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,12}))?")


class SpecError(Exception):
    """What is wrong at which offset of the text."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


class Budget:
    """Counters that keep memory in bounds whatever the file says."""

    def __init__(self) -> None:
        self._bits = self._references = 0

    def number(self, value: Fraction, at: int) -> Fraction:
        """Count a number that was read or computed."""
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if bits > MAX_BITS:
            raise SpecError(at, f"a number of more than {MAX_BITS} bits")
        self._bits += bits
        if self._bits > MAX_NUMBER_BITS:
            raise SpecError(at, f"numbers of more than {MAX_NUMBER_BITS} bits in total")
        return value

    def references(self, count: int, at: int) -> None:
        """Count comparisons before they are copied into cases."""
        self._references += count
        if self._references > MAX_REFERENCES:
            raise SpecError(
                at, f"as a disjunction of cases this has over {MAX_REFERENCES} comparisons"
            )


def read_number(text: str, at: int) -> Fraction:
    """The exact value of a decimal such as ``-1.25e-3``.

    Raises
    ------
    SpecError
        On anything else, and on numbers too long.

    >>> read_number("-1.25e-1", 0)
    Fraction(-1, 8)
    """
    if len(text) > MAX_DIGITS:
        raise SpecError(at, f"a number of {len(text)} characters, at most {MAX_DIGITS} are read")
    match = NUMBER.fullmatch(text)
    whole, part = (match[2], match[3] or "") if match else ("", "")
    if match is None or not (whole or part):
        raise SpecError(at, f"{text!r:.60} is not a number")
    exponent = int(match[4] or 0)
    if abs(exponent) > MAX_DIGITS:
        raise SpecError(at, f"the number {text!r:.60} has an exponent beyond {MAX_DIGITS}")
    digits = int(match[1] + whole + part)
    power = exponent - len(part)
    return Fraction(digits * 10**power) if power >= 0 else Fraction(digits, 10**-power)


class Linear:
    """``scale * (sum of terms) + constant``; scaling is lazy, so that nesting costs no copies.

    Variables are numbered: input ``i`` is ``i``, output ``j`` is ``-1 - j``.
    """

    __slots__ = ("constant", "scale", "terms")

    def __init__(self, terms: dict[int, Fraction], constant: Fraction) -> None:
        self.scale, self.terms, self.constant = Fraction(1), terms, constant

    @staticmethod
    def of(value: int | Fraction) -> Linear:
        """A variable (its number) or a constant."""
        if isinstance(value, Fraction):
            return Linear({}, value)
        return Linear({value: Fraction(1)}, Fraction(0))

    def times(self, factor: Fraction, budget: Budget, at: int) -> None:
        """Multiply by a constant."""
        if not factor:
            self.scale, self.terms = Fraction(1), {}
        self.scale = budget.number(self.scale * (factor or 1), at)
        self.constant = budget.number(self.constant * factor, at)

    @staticmethod
    def sum(parts: Sequence[Linear], budget: Budget, at: int) -> Linear:
        """The sum; the parts are used up. The longest takes the others in."""
        out = max(parts, key=lambda p: len(p.terms))
        for part in parts:
            if part is out:
                continue
            out.constant = budget.number(out.constant + part.constant, at)
            ratio = part.scale / out.scale
            for variable, value in part.terms.items():
                old = out.terms.get(variable)
                new = value * ratio if old is None else old + value * ratio
                out.terms[variable] = budget.number(new, at)
        return out


Case: TypeAlias = list[Constraint]
"""A conjunction of comparisons."""


class Formula:
    """A conjunction of comparisons and of disjunctions (`factors`), each a list of cases.

    True has neither; false has a factor without cases. Conjunctions are multiplied out only where
    a disjunction needs their cases, so that the bounds of all inputs beside a thousand cases are
    not copied a thousand times.
    """

    __slots__ = ("atoms", "factors")

    def __init__(self, atoms: Case, factors: list[list[Case]]) -> None:
        self.atoms, self.factors = atoms, factors

    @staticmethod
    def of(value: Constraint | bool) -> Formula:
        """One comparison, or a constant."""
        if isinstance(value, bool):
            return Formula([], [] if value else [[]])
        return Formula([value], [])

    @staticmethod
    def all_of(parts: Sequence[Formula]) -> Formula:
        """The conjunction; the parts are used up."""
        out = parts[0]
        for part in parts[1:]:
            out.atoms.extend(part.atoms)
            out.factors.extend(part.factors)
        return out

    @staticmethod
    def any_of(parts: Sequence[Formula], budget: Budget, at: int) -> Formula:
        """The disjunction; the parts are used up."""
        if len(parts) == 1:
            return parts[0]
        cases = parts[0].cases(budget, at)
        for part in parts[1:]:
            cases.extend(part.cases(budget, at))
        return Formula([], [cases])

    def cases(self, budget: Budget, at: int) -> list[Case]:
        """The formula as a disjunction of cases.

        >>> a, b, c = (Constraint((), ((j, 1),), Fraction(0)) for j in range(3))
        >>> either = Formula.any_of([Formula.of(a), Formula.of(b)], Budget(), 0)
        >>> [len(case) for case in Formula.all_of([Formula.of(c), either]).cases(Budget(), 0)]
        [2, 2]
        """
        if not self.factors:
            return [self.atoms]
        if len(self.factors) == 1 and not self.atoms:
            return self.factors[0]
        out = [self.atoms]
        for factor in self.factors:
            left = sum(1 + len(case) for case in out)
            right = sum(1 + len(case) for case in factor)
            budget.references(left * len(factor) + right * len(out), at)
            out = [a + b for a in out for b in factor]
        return out
