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

from plverify.domain import Bound, Box, Domain
from plverify.errors import InputError
from plverify.network import Network
from plverify.property import Disjunct, Property
from plverify.result import decimal, ratio

MAGIC = b"PLPROOF\x001\n"
_LEVEL = 2
"""Of zlib: level 6 takes up to three times as long, for proofs a fifth smaller in the mean."""


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
        "witness": [ratio(v) for v in witness],
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
    inputs, outputs = ([[i, ratio(v)] for i, v in terms] for terms in objective)
    return {
        "claim": "maximum",
        "evidence": "tree",
        **_identity(net),
        "box": _sides(box),
        "objective": {"inputs": inputs, "outputs": outputs},
        "value": ratio(value),
        "witness": [ratio(v) for v in witness],
    }


def dead_units_header(net: Network, box: Box, units: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The header of a proof that units stay on one piece: flat numbers, in order, and pieces."""
    return {
        "claim": "dead_units",
        "evidence": "tree",
        **_identity(net),
        "box": _sides(box),
        "units": [list(pair) for pair in units],
    }


def sup_distance_header(
    f: Network, g: Network, norm: str, box: Box, value: Fraction, witness: Sequence[Fraction]
) -> dict[str, Any]:
    """The header of a proof that this is the largest distance of two networks' outputs."""
    told = dict.fromkeys(f.definitions + g.definitions)
    return {
        "claim": "sup_distance",
        "evidence": "tree",
        "network": f.digest,
        "other": g.digest,
        "definitions": " ".join(told),
        "norm": norm,
        "box": _sides(box),
        "value": ratio(value),
        "witness": [ratio(v) for v in witness],
    }


def radius_header(
    net: Network,
    norm: str,
    x: Sequence[Fraction],
    label: int,
    targeted: bool,
    domain: Box,
    ends: tuple[Bound, Bound],
    witness: Sequence[Fraction] | None,
    closed: bool = False,
) -> dict[str, Any]:
    """The header of a proof about the distance to another label; see `plverify.ball`."""
    lower, upper = (ratio(v) if isinstance(v, Fraction) else "inf" for v in ends)
    return {
        "claim": "radius",
        "evidence": "tree",
        **_identity(net),
        "norm": norm,
        "x": [ratio(v) for v in x],
        "label": label,
        "targeted": targeted,
        "domain": _sides(domain),
        "lower": lower,
        "closed": closed,
        "upper": upper,
        "witness": None if witness is None else [ratio(v) for v in witness],
    }


def lipschitz_header(
    net: Network,
    norm: str,
    rows: Sequence[Sequence[Fraction]],
    domain: Disjunct,
    ends: tuple[Fraction, Fraction],
    witness: Sequence[Fraction],
    direction: Sequence[Fraction] | None,
) -> dict[str, Any]:
    """The header of a proof of both ends of a Lipschitz constant, in l2 of its square.

    ``rows`` are combinations of the outputs; the domain's constraints are about inputs only.
    """
    constraints = []  # a . x + c > 0
    for row in domain.constraints:
        terms = [0] * net.input_size
        for i, a in row.inputs:
            terms[i] = -a * row.bound.denominator
        constraints.append([*terms, row.bound.numerator])
    return {
        "claim": "lipschitz",
        "evidence": "tree",
        **_identity(net),
        "norm": norm,
        "rows": [[[j, ratio(v)] for j, v in enumerate(row) if v] for row in rows],
        "box": _sides(domain.box),
        "constraints": [[decimal(v) for v in row] for row in constraints],
        "lower": ratio(ends[0]),
        "upper": ratio(ends[1]),
        "witness": [ratio(v) for v in witness],
        "direction": None if direction is None else [ratio(v) for v in direction],
    }


def _sides(box: Box) -> dict[str, Any]:
    sides = {"lo": box.lo, "hi": box.hi}
    return {
        name: [ratio(v) if isinstance(v, Fraction) else str(v) for v in side]
        for name, side in sides.items()
    }


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
        "constraints": [[decimal(v) for v in row] for row in domain.constraint_rows()],
    }


def encode(header: dict[str, Any], body: bytes) -> bytes:
    """The bytes of a proof file."""
    head = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(head)) + head + zlib.compress(body, _LEVEL)


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
        if not name or (os.path.exists(target) and not os.path.isfile(target)):
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


def var_bytes(value: int) -> bytes:
    """A number that is not negative as the format's VAR.

    >>> var_bytes(300)
    b'\\xac\\x02'
    """
    if value < 128:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


_ONE_BYTE = [bytes((v,)) for v in range(128)]


def big_bytes(value: int) -> bytes:
    """An integer as the format's BIG.

    >>> big_bytes(-1), big_bytes(0)
    (b'\\x01\\xff', b'\\x00')
    """
    size = (value.bit_length() + 8) // 8 if value else 0
    head = _ONE_BYTE[size] if size < 128 else var_bytes(size)
    return head + value.to_bytes(size, "little", signed=True)


def ratio_bytes(value: Fraction | float) -> bytes:
    """A number, exactly, as BIG numerator, BIG denominator."""
    num, den = value.as_integer_ratio()
    return big_bytes(num) + big_bytes(den)
