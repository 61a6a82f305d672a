"""What every answer looks like: frozen, printable, and one JSON object.

A subclass is a frozen dataclass; `to_dict` gives its public fields in JSON's own types (exact
numbers as strings such as ``"3/8"``), `to_json` the text.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from enum import Enum
from fractions import Fraction
from typing import Any


class Status(str, Enum):
    """How a question ended."""

    COMPLETE = "complete"
    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    def __str__(self) -> str:
        return self.value


def jsonable(value: Any) -> Any:
    """``value`` in JSON's types: Fractions as ``"p/q"``, infinities as strings, arrays as lists.

    >>> jsonable({"d": Fraction(3, 8), "x": (1.5, float("inf"))})
    {'d': '3/8', 'x': [1.5, 'inf']}
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return jsonable(value.tolist())
    return value


def rounded(value: Fraction) -> float:
    """``value`` correctly rounded; beyond float64 an infinity rather than an error.

    >>> rounded(Fraction(-(10**400)))
    -inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def enclose(value: Fraction, root: bool = False) -> tuple[float, float]:
    """The tightest doubles about ``value >= 0``, or about its square root where ``root``.

    >>> enclose(Fraction(1, 4), root=True)
    (0.5, 0.5)
    >>> low, high = enclose(Fraction(2), root=True); low < high == math.nextafter(low, 9)
    True
    """

    def over(x: float) -> int:
        """Sign of ``x - value`` (of ``x^2 - value`` where ``root``), ``x >= 0``."""
        if math.isinf(x):
            return 1
        difference = Fraction(x) ** (2 if root else 1) - value
        return (difference > 0) - (difference < 0)

    numerator, denominator = value.numerator, value.denominator
    try:
        if root:  # 61 bits of the root, so that the search below takes a step or two
            scale = (122 - numerator.bit_length() + denominator.bit_length()) // 2
            up, down = 2 * max(scale, 0), 2 * max(-scale, 0)
            root_bits = math.isqrt((numerator << up) // (denominator << down))
            guess = math.ldexp(root_bits, -scale)
        else:
            guess = numerator / denominator
    except OverflowError:
        guess = sys.float_info.max
    guess = min(guess, sys.float_info.max)
    while over(guess) > 0:
        guess = math.nextafter(guess, 0.0)
    while over(math.nextafter(guess, math.inf)) <= 0:
        guess = math.nextafter(guess, math.inf)
    return guess, guess if over(guess) == 0 else math.nextafter(guess, math.inf)


@dataclasses.dataclass(frozen=True)
class Result:
    """Base of all answers."""

    def to_dict(self) -> dict[str, Any]:
        """The public fields as one JSON-ready dictionary."""
        fields = (f.name for f in dataclasses.fields(self) if not f.name.startswith("_"))
        return {name: jsonable(getattr(self, name)) for name in fields}

    def to_json(self, indent: int | None = None) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)
