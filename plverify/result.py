"""What every answer looks like: frozen, printable, and one JSON object.

A subclass is a frozen dataclass; `to_dict` gives its public fields in JSON's own types (exact
numbers as strings such as ``"3/8"``), `to_json` the text.
"""

from __future__ import annotations

import dataclasses
import json
import math
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


def plural(count: int, noun: str) -> str:
    """A number of things in words.

    >>> plural(1, "region"), plural(1234, "region")
    ('1 region', '1,234 regions')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def rounded(value: Fraction) -> float:
    """``value`` correctly rounded; beyond float64 an infinity rather than an error.

    >>> rounded(Fraction(-(10**400)))
    -inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


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
