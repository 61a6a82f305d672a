"""Writing proof files (`docs/proof_format.md`): a header that states the claim, and the body.

A proof appears under its name only when it is complete: it is written beside it first.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

from plverify.domain import Box, Domain
from plverify.errors import InputError
from plverify.exact_net import unpack_ints
from plverify.network import Network
from plverify.property import Property

MAGIC = b"PLPROOF\x001\n"
DIGITS = 512
"""Digits that `str` converts at once: its limit is 4,300 and cannot be set below 640."""


def decimal(value: int) -> str:
    """Decimal text of an integer of any length.

    >>> len(decimal(-(10**5000)))
    5002
    """
    if value < 0:
        return "-" + decimal(-value)
    half = DIGITS
    if value < 10**half:
        return str(value)
    while 10 ** (2 * half) <= value:
        half *= 2
    high, low = divmod(value, 10**half)
    return decimal(high) + decimal(low).zfill(half)


def constraint_rows(domain: Domain) -> list[tuple[int, ...]]:
    """Integer rows ``(a, c)`` of the constraints ``a . t + c >= 0``, in the domain's order."""
    data = domain.constraint_bytes()
    (count,) = struct.unpack_from("<I", data)
    width = domain.dim + 1
    flat = unpack_ints(data[4:], count * width)
    return [tuple(flat[k : k + width]) for k in range(0, count * width, width)]


def region_list_header(
    net: Network, domain: Domain, regions: int, vertices: int, domain_vertices: list[int]
) -> dict[str, Any]:
    """The header of a region-list proof."""
    return {
        "claim": "region_list",
        **_subject(net, domain),
        "regions": regions,
        "vertices": vertices,
        "domain_vertices": domain_vertices,
    }


def region_tree_header(net: Network, domain: Domain, regions: int) -> dict[str, Any]:
    """The header of a region-list proof by its split tree."""
    return {
        "claim": "region_list",
        "evidence": "tree",
        **_subject(net, domain),
        "regions": regions,
    }


def unsat_header(net: Network, spec: Property) -> dict[str, Any]:
    """The header of a proof that no input violates a property."""
    return {
        "claim": "unsat",
        "evidence": "tree",
        **_identity(net),
        "property": json.loads(spec.to_json()),
    }


def sat_header(
    net: Network, spec: Property, disjunct: int, witness: Sequence[Fraction]
) -> dict[str, Any]:
    """The header, and all, of a proof that an input violates a property."""
    return {
        "claim": "sat",
        **_identity(net),
        "property": json.loads(spec.to_json()),
        "disjunct": disjunct,
        "witness": [_ratio(v) for v in witness],
    }


def maximum_header(
    net: Network,
    box: Box,
    objective: tuple[Sequence[tuple[int, Fraction]], Sequence[tuple[int, Fraction]]],
    value: Fraction,
    witness: Sequence[Fraction],
) -> dict[str, Any]:
    """The header of a proof that an affine function of inputs and outputs has this maximum.

    ``objective`` has ``(index, coefficient)`` of the inputs, and of the outputs.
    """
    inputs, outputs = ([[i, _ratio(v)] for i, v in terms] for terms in objective)
    return {
        "claim": "maximum",
        "evidence": "tree",
        **_identity(net),
        "box": {"lo": [str(v) for v in box.lo], "hi": [str(v) for v in box.hi]},
        "objective": {"inputs": inputs, "outputs": outputs},
        "value": _ratio(value),
        "witness": [_ratio(v) for v in witness],
    }


def _ratio(value: Fraction) -> str:
    """``str(value)`` for numbers of any length."""
    if value.denominator == 1:
        return decimal(value.numerator)
    return f"{decimal(value.numerator)}/{decimal(value.denominator)}"


def _identity(net: Network) -> dict[str, Any]:
    return {"network": net.digest, "definitions": " ".join(net.definitions)}


def _subject(net: Network, domain: Domain) -> dict[str, Any]:
    affine = domain.slice_map()
    placed = None
    if affine is not None:
        scale, rows = affine
        placed = {"scale": decimal(scale), "rows": [[decimal(v) for v in row] for row in rows]}
    return {
        **_identity(net),
        "dim": domain.dim,
        "slice": placed,
        "constraints": [[decimal(v) for v in row] for row in constraint_rows(domain)],
    }


def encode(header: dict[str, Any], body: bytes) -> bytes:
    """The bytes of a proof file."""
    head = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(head)) + head + zlib.compress(body, 6)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that it is there in full or not at all.

    Raises
    ------
    InputError
        If it cannot be written (no such folder, no permission, disk full, a device or folder of
        that name); nothing is left behind.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    partial = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            raise InputError(f"cannot write {target}: it is not a regular file")
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {target}: {error.strerror or error}") from None
        raise
