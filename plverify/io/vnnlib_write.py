"""A `Property` as VNN-LIB 1.0 text, exact: what `plverify.io.vnnlib` reads back as the same.

Where all cases share one box its bounds are assertions of their own, and the cases a disjunction;
else every case carries its bounds. Comparisons keep the simple forms that every tool reads, a
variable against a number or another variable, wherever the coefficients allow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from plverify.constraint import Constraint
from plverify.domain import Box
from plverify.errors import InputError
from plverify.property import Property

MAX_PLACES = 1_100
"""Longer decimals are written as a quotient; every float64 has fewer places."""


def vnnlib_text(spec: Property) -> str:
    """The text; see `Property.to_vnnlib`."""
    if any(group.ball is not None for group in spec.groups):
        raise InputError("VNN-LIB has no balls: write the property as JSON instead")
    lines = [f"; {spec.describe()}"]
    lines += [f"(declare-const X_{i} Real)" for i in range(spec.n_inputs)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(spec.n_outputs)]
    one_box = len(spec.groups) == 1
    if one_box:
        lines += [f"(assert {row})" for row in _bounds(spec.groups[0].box)]
    cases = [
        [*([] if one_box else _bounds(d.box)), *(_comparison(c) for c in d.constraints)]
        for d in spec.disjuncts
    ]
    if not cases:
        lines.append("(assert false)")
    elif len(cases) == 1:
        lines += [f"(assert {row})" for row in cases[0]]
    else:
        lines.append("(assert (or")
        lines += [f"    (and {' '.join(case)})" if case else "    true" for case in cases]
        lines.append("))")
    return "\n".join(lines) + "\n"


def _bounds(box: Box) -> Iterator[str]:
    for i, (low, high) in enumerate(zip(box.lo, box.hi, strict=True)):
        if isinstance(low, Fraction):
            yield f"(>= X_{i} {number(low)})"
        if isinstance(high, Fraction):
            yield f"(<= X_{i} {number(high)})"


def _comparison(c: Constraint) -> str:
    terms = [(f"X_{i}", a) for i, a in c.inputs] + [(f"Y_{j}", v) for j, v in c.outputs]
    sign = "<" if c.strict else "<="
    if len(terms) == 1:
        [(name, value)] = terms  # the coefficient is 1 or -1
        if value > 0:
            return f"({sign} {name} {number(c.bound)})"
        return f"({sign.replace('<', '>')} {name} {number(-c.bound)})"
    if not c.bound and sorted(v for _, v in terms) == [-1, 1]:
        (first, a), (second, _) = terms
        return f"({sign} {first} {second})" if a > 0 else f"({sign} {second} {first})"
    parts = [name if v == 1 else f"(* {number(Fraction(v))} {name})" for name, v in terms]
    return f"({sign} (+ {' '.join(parts)}) {number(c.bound)})"


def number(value: Fraction) -> str:
    """The exact decimal, or ``(/ p q)`` where there is none of `MAX_PLACES` places.

    >>> number(Fraction(-1, 8)), number(Fraction(1, 3)), number(Fraction(2))
    ('-0.125', '(/ 1 3)', '2.0')
    """
    twos, rest = _strip(value.denominator, 2)
    fives, rest = _strip(rest, 5)
    places = max(twos, fives, 1)
    if rest != 1 or places > MAX_PLACES:
        return f"(/ {value.numerator} {value.denominator})"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}"
    return "-" + text if value < 0 else text


def _strip(value: int, prime: int) -> tuple[int, int]:
    """How often `prime` divides `value` (at most `MAX_PLACES` + 1 times), and what is left."""
    count = 0
    while value % prime == 0 and count <= MAX_PLACES:
        value //= prime
        count += 1
    return count, value
