"""What every answer looks like: frozen, printable, and one JSON object.

A subclass is a frozen dataclass; `to_dict` gives its public fields in JSON's own types (exact
numbers as strings such as ``"3/8"``), `to_json` the text. `from_dict` and `from_json` read them
back by the types of the fields, where these are numbers, texts and lists of them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
import sys
import types
import typing
from enum import Enum
from fractions import Fraction
from typing import Any, TypeVar

from plverify.errors import InputError

_RATIONAL = re.compile(r"-?[0-9]+(/[0-9]+)?")
_DIGITS = 512
"""Digits that `str` converts at once: its limit is 4,300 and cannot be set below 640."""
AnyResult = TypeVar("AnyResult", bound="Result")


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


def decimal(value: int) -> str:
    """Decimal text of an integer of any length.

    >>> len(decimal(-(10**5000)))
    5002
    """
    if value < 0:
        return "-" + decimal(-value)
    half = _DIGITS
    if value < 10**half:
        return str(value)
    while 10 ** (2 * half) <= value:
        half *= 2
    high, low = divmod(value, 10**half)
    return decimal(high) + decimal(low).zfill(half)


def ratio(value: Fraction) -> str:
    """``str(value)`` for numbers of any length.

    >>> ratio(Fraction(-3, 8)), ratio(Fraction(2))
    ('-3/8', '2')
    """
    if value.denominator == 1:
        return decimal(value.numerator)
    return f"{decimal(value.numerator)}/{decimal(value.denominator)}"


def _integer(text: str) -> int:
    """Inverse of `decimal`."""
    if len(text) <= _DIGITS:
        return int(text)
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    rest = _integer(tail)
    return _integer(head) * 10 ** len(tail) + (-rest if text[0] == "-" else rest)


def jsonable(value: Any) -> Any:
    """``value`` in JSON's types: Fractions as ``"p/q"``, infinities as strings, arrays as lists.

    Bytes, such as a proof that is not in a file, become ``{"base64": ...}``.

    >>> jsonable({"d": Fraction(3, 8), "x": (1.5, float("inf"))})
    {'d': '3/8', 'x': [1.5, 'inf']}
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return ratio(value)
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
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
        num, den = value.as_integer_ratio()
        return num / den  # of integers, so it rounds once; float(value) does the same, slowly
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
        p, q = x.as_integer_ratio()
        ours, its = (p * p, q * q) if root else (p, q)
        difference = ours * denominator - numerator * its
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

    @classmethod
    def from_dict(cls: type[AnyResult], entry: Any) -> AnyResult:
        """The result that `to_dict` described.

        Raises
        ------
        InputError
            On anything else, and for results that hold more than numbers and texts.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(entry, dict) or entry.keys() != set(names):
            raise InputError(f"a {cls.__name__} in JSON has the fields {', '.join(names)}")
        hints = typing.get_type_hints(cls)
        try:
            return cls(**{name: _read(entry[name], hints[name]) for name in names})
        except (ArithmeticError, TypeError, ValueError) as error:
            raise InputError(f"a {cls.__name__} in JSON: {error!s:.100}") from None

    @classmethod
    def from_json(cls: type[AnyResult], text: str) -> AnyResult:
        """The result that `to_json` wrote.

        Raises
        ------
        InputError
            As `from_dict`, and where the text is no JSON.
        """
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"a {cls.__name__} in JSON: {error!s:.100}") from None
        return cls.from_dict(entry)


def _read(value: Any, kind: Any) -> Any:
    """What `jsonable` made a value of, where its type is known; ValueError on anything else."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for option in inner:
            try:
                return _read(value, option)
            except ValueError:
                continue
    elif kind is Any or (origin is dict and isinstance(value, dict)):
        return value
    elif origin in (tuple, list) and isinstance(value, list):
        if origin is list or inner[1:] == (Ellipsis,):
            return origin(_read(v, inner[0]) for v in value)
        if len(value) == len(inner):
            return tuple(_read(v, k) for v, k in zip(value, inner, strict=True))
    elif kind is bytes and isinstance(value, dict) and value.keys() == {"base64"}:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (TypeError, binascii.Error):
            raise ValueError("no base64 text") from None
    elif kind is Fraction and isinstance(value, str) and _RATIONAL.fullmatch(value):
        num, _, den = value.partition("/")
        return Fraction(_integer(num), _integer(den or "1"))
    elif kind is float and (type(value) in (int, float) or value in ("inf", "-inf", "nan")):
        return float(value)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    elif kind in (int, bool, str, type(None)) and type(value) is kind:
        return value
    raise ValueError(f"{value!r:.60} is unexpected")
