"""What all proof checkers share: the file's framing, the header's numbers, the body's stream.

A proof file (``docs/proof_format.md``) is a magic, a JSON header that states the claim, and a zlib
stream. Whatever is in it, reading ends in numbers of bounded size or in `Rejected` with a reason,
and what was not yet found good takes no memory: the body is decompressed piece by piece.

The domain is identified by the SHA-256 of its canonical bytes (``docs/developer.md``).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import Any, BinaryIO, NamedTuple

from plverify.exact_net import ExactNet, pack_ints

MAGIC = b"PLPROOF\x001\n"
MAX_HEADER = 1 << 25
"""Longest accepted header in bytes."""
MAX_BODY = 1 << 28
"""Most bytes the body of a tiling may decompress to: some million regions."""
MAX_TREE = 1 << 36
"""Most bytes the body of a tree may decompress to; it is read once and never kept."""
MAX_NUMBER = 125_000
"""Longest accepted integer of the body in bytes (a million bits)."""
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
MAX_DIGITS = 5000
"""Longest accepted integer of the header in characters (domain bytes hold 16,320 bits)."""


@dataclass(frozen=True)
class Verdict:
    """What a proof states and whether it proves it. True in a condition exactly when accepted.

    ``claim`` is the statement in words (empty where it could not be read): a theorem if
    ``accepted``, hearsay if not. ``reason`` says why the proof was rejected. ``stats`` holds sizes,
    the domain's identity and the header's free text ``definitions``, which is not checked.
    """

    accepted: bool
    claim: str
    reason: str
    stats: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.accepted


class Rejected(Exception):
    """The proof is malformed or does not prove its claim; `counts` says how far it was read."""

    def __init__(self, reason: str, counts: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.counts = counts or {}


def require(condition: object, reason: str) -> None:
    """Reject the proof for a reason unless the condition holds."""
    if not condition:
        raise Rejected(reason)


def short(value: object) -> str:
    """A printable word about a value of the header."""
    text = ascii(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


# ------------------------------------------------------------------------------------------ header


def read_header(file: BinaryIO) -> dict[str, Any]:
    """The JSON object of the header; the file is then where the body starts."""
    start = file.read(len(MAGIC) + 4)
    require(start.startswith(MAGIC) and len(start) == len(MAGIC) + 4, "not a proof file")
    size = int.from_bytes(start[-4:], "little")
    text = file.read(size) if size <= MAX_HEADER else b""
    require(len(text) == size, "the header is truncated or too long")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        require(len(dict(pairs)) == len(pairs), "the header repeats a key")
        return dict(pairs)

    def refuse(text: str) -> Any:
        raise Rejected(f"the header holds {short(text)}, which is no integer")

    try:
        header = json.loads(
            text.decode(),
            object_pairs_hook=unique,
            parse_float=refuse,
            parse_constant=refuse,
        )
    except (ValueError, RecursionError) as error:
        raise Rejected(f"the header is not JSON: {short(str(error))}") from None
    require(isinstance(header, dict), "the header is no JSON object")
    return header


class Statement(NamedTuple):
    """The part of a header that all region lists have; ``x = rows . (t, 1) / scale`` on a slice."""

    dim: int
    scale: int
    slice_rows: list[tuple[int, ...]] | None
    constraints: list[tuple[int, ...]]
    regions: int
    domain: bytes  # the canonical domain bytes of docs/developer.md

    @property
    def domain_sha256(self) -> str:
        """The identity of the domain."""
        return hashlib.sha256(self.domain).hexdigest()


KEYS = frozenset({"claim", "network", "definitions", "dim", "slice", "constraints", "regions"})


def read_statement(header: dict[str, Any], net: ExactNet, more: Collection[str] = ()) -> Statement:
    """Validate a header of the keys `KEYS` and `more`; what is under `more` is left to the caller.

    The dimension is any number: zero too.
    """
    keys = KEYS.union(more)
    require(set(header) == keys, f"the header's keys are not {', '.join(sorted(keys))}")
    require(header["network"] == net.digest(), "the proof is about another network")
    require(isinstance(header["definitions"], str), "definitions is no text")
    dim = count(header["dim"], "dim")
    constraints = _rows(header["constraints"], dim + 1, "constraints")
    scale, rows, ambient, prefix = 1, None, dim, b""
    if header["slice"] is not None:
        parts = header["slice"]
        require(isinstance(parts, dict) and set(parts) == {"scale", "rows"}, "malformed slice")
        scale, rows = _integer(parts["scale"]), _rows(parts["rows"], dim + 1, "slice rows")
        require(scale > 0, "the scale of the slice is not positive")
        ambient, prefix = len(rows), _ints([[scale]]) + _ints(rows)
    require(ambient == net.input_size, f"{ambient} inputs, but the network has {net.input_size}")
    domain = b"PLDOM\x001\n" + struct.pack("<IIB", dim, ambient, rows is not None) + prefix
    domain += struct.pack("<I", len(constraints)) + _ints(constraints)
    return Statement(dim, scale, rows, constraints, count(header["regions"], "regions"), domain)


def definitions(header: dict[str, Any]) -> str:
    """The free text of the header, safe to print."""
    return "".join(c if c.isprintable() else "?" for c in header["definitions"])


def count(value: Any, what: str) -> int:
    """A count of the header: a JSON integer."""
    require(type(value) is int and 0 <= value < 1 << 40, f"{what} is no count: {short(value)}")
    return int(value)


def _integer(text: Any) -> int:
    """A decimal string without superfluous characters."""
    good = isinstance(text, str) and len(text) <= MAX_DIGITS
    if not good or not _INTEGER.fullmatch(text):
        raise Rejected(f"no decimal integer: {short(text)}")
    if len(text) < 4000:
        return int(text)
    head, tail = text[:2500], text[2500:]  # Python converts at most 4300 digits at once
    return int(head) * 10 ** len(tail) + (-int(tail) if head[0] == "-" else int(tail))


def rational(value: Any) -> Fraction:
    """A rational number of the header: ``"p"`` or ``"p/q"`` in lowest terms with ``q > 1``."""
    if not isinstance(value, str):
        raise Rejected(f"no rational number: {short(value)}")
    head, bar, tail = value.partition("/")
    if not bar:
        return Fraction(_integer(head))
    num, den = _integer(head), _integer(tail)
    if not (den > 1 and gcd(num, den) == 1):
        raise Rejected(f"no rational number in lowest terms: {short(value)}")
    return Fraction(num, den)


def _rows(table: Any, width: int, what: str) -> list[tuple[int, ...]]:
    good = isinstance(table, list) and all(isinstance(r, list) and len(r) == width for r in table)
    require(good, f"{what} is no list of rows of {width} integers")
    return [tuple(map(_integer, row)) for row in table]


def _ints(rows: Sequence[Sequence[int]]) -> bytes:
    try:
        return pack_ints([v for row in rows for v in row])
    except ValueError as error:
        raise Rejected(f"domain: {error}") from None


# -------------------------------------------------------------------------------------------- body


class Body:
    """Reads a zlib stream piece by piece, so that what was not yet found good takes no memory."""

    PIECE = 1 << 16

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file, self.left = file, limit
        self.stream = zlib.decompressobj()
        self.pending = self.buffer = b""
        self.at = 0

    def more(self) -> bytes:
        """The next decompressed bytes; empty only at the end of the stream or of the input."""
        piece, starved = b"", False
        while not piece and not self.stream.eof and not starved:
            if not self.pending:
                self.pending = self.file.read(self.PIECE)
                starved = not self.pending
            try:
                piece = self.stream.decompress(self.pending, self.PIECE)
            except zlib.error as error:
                raise Rejected(f"the body is no zlib stream: {error}") from None
            self.pending = self.stream.unconsumed_tail
        self.left -= len(piece)
        require(self.left >= 0, "the body is longer than the header's counts allow")
        return piece

    def take(self, count: int) -> bytes:
        """The next bytes of the body."""
        while len(self.buffer) - self.at < count:
            piece = self.more()
            require(piece, "the body is truncated")
            self.buffer, self.at = self.buffer[self.at :] + piece, 0
        self.at += count
        return self.buffer[self.at - count : self.at]

    def var(self) -> int:
        """``VAR``: unsigned LEB128 of at most 9 bytes."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise Rejected("a variable-length integer is too long")

    def big(self) -> int:
        """``BIG``: a signed integer behind its length."""
        size = self.var()
        require(size <= MAX_NUMBER, f"an integer of {size} bytes is too long")
        return int.from_bytes(self.take(size), "little", signed=True)

    def finish(self, last: str = "region") -> None:
        """Reject whatever follows the last thing of a name, inside or behind the stream."""
        require(self.at == len(self.buffer) and not self.more(), f"bytes follow the last {last}")
        require(self.stream.eof, "the body is truncated")
        require(
            not (self.stream.unused_data or self.pending or self.file.read(1)),
            "bytes follow the body",
        )
