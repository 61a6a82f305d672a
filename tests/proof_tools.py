"""A slow, independent writer of region-list proofs, for the tests of the checker.

Everything is `fractions.Fraction` and follows ``docs/developer.md`` and ``docs/proof_format.md``
word by word; nothing of plverify is imported. Numbers of the plane cut by ``|t_i| <= R`` are germs
``(lead, rest)`` standing for ``lead R + rest``. A cell is a convex polygon that remembers the line
of every edge, so that a new corner is the intersection of two lines (Cramer's rule) and stays
affine in ``R``; its sign under an affine form is Python's order on pairs.

`Proof` is the proof taken apart: tests change it and write it again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from typing import Any

Germ = tuple[Fraction, Fraction]
Vertex = tuple[Germ, ...]
Line = tuple[Fraction, ...]  # (a, c, r) in 1-D, (a, b, c, r) in 2-D: a . t + c + r R = 0
Cell = list[tuple[Vertex, Line]]  # corners, each with the line of the edge that leaves it


@dataclass
class Layer:
    """An affine map ``x -> weights x + bias``, then units of the given slopes (None: outputs)."""

    weights: list[list[Fraction]]
    bias: list[Fraction]
    slopes: list[Fraction] | None


def make_layers(weights, biases, slopes=None) -> list[Layer]:
    """Layers of a network; `slopes` per hidden layer, or one number for all (default ReLU)."""
    layers = []
    for k, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        rows = [[Fraction(v) for v in row] for row in matrix]
        if k == len(weights) - 1:
            some = None
        elif isinstance(slopes, (list, tuple)):
            some = [Fraction(s) for s in slopes[k]]
        else:
            some = [Fraction(slopes or 0)] * len(rows)
        layers.append(Layer(rows, [Fraction(v) for v in bias], some))
    return layers


def unit_count(layers: Sequence[Layer]) -> int:
    return sum(len(layer.bias) for layer in layers[:-1])


# -------------------------------------------------------------------------- canonical network bytes


def _ints(values: Sequence[int]) -> bytes:
    words = 1
    while any(not -(1 << (64 * words - 1)) <= v < 1 << (64 * words - 1) for v in values):
        words += 1
    return bytes([words]) + b"".join(v.to_bytes(8 * words, "little", signed=True) for v in values)


def _two_part(den: int) -> int:
    return (den & -den).bit_length() - 1


def net_bytes(layers: Sequence[Layer]) -> bytes:
    """The canonical bytes of the network."""
    out = struct.pack("<II", len(layers[0].weights[0]), 2 * len(layers) - 1)
    source = 0
    for layer in layers:
        size, cols = len(layer.bias), len(layer.weights[0])
        table, shifts, dens = [], [], []
        for row, bias in zip(layer.weights, layer.bias, strict=True):
            den = lcm(*(v.denominator for v in [*row, bias]))
            table += [int(v * den) for v in [*row, bias]]
            shifts.append(_two_part(den))
            dens.append(den >> shifts[-1])
        out += (
            struct.pack(f"<BIII{size}I", 1, source, size, cols, *shifts)
            + _ints(dens)
            + _ints(table)
        )
        source += 1
        if layer.slopes is not None:
            shifts = [_two_part(s.denominator) for s in layer.slopes]
            out += struct.pack(f"<BII{size}I", 2, source, size, *shifts)
            out += _ints([s.numerator for s in layer.slopes])
            source += 1
    return b"PLNET\x001\n" + out


# -------------------------------------------------------------------------------------- enumeration


def _value(form: Sequence[Fraction], vertex: Vertex) -> Germ:
    """Value of ``(a, c)`` or ``(a, c, r)`` at a vertex."""
    dim = len(vertex)
    lead = sum(a * v[0] for a, v in zip(form, vertex, strict=False))
    rest = sum(a * v[1] for a, v in zip(form, vertex, strict=False)) + form[dim]
    return (lead + (form[dim + 1] if len(form) > dim + 1 else 0), rest)


def _meet(one: Line, two: Line) -> Vertex:
    (a, b, c, r), (d, e, f, s) = one, two
    det = a * e - b * d
    return (
        ((b * s - e * r) / det, (b * f - e * c) / det),
        ((d * r - a * s) / det, (d * c - a * f) / det),
    )


def _clip(cell: Cell, form: Line) -> Cell:
    """The part of a cell where the form is >= 0; it must have corners strictly on both sides."""
    zero = (Fraction(0), Fraction(0))
    values = [_value(form, v) for v, _ in cell]
    if len(form) == 3:  # an interval: [lower end, upper end]
        point = (((-form[2] / form[0], -form[1] / form[0]),), form)
        return [point, cell[1]] if values[1] > zero else [cell[0], point]
    out: Cell = []
    for k, (vertex, line) in enumerate(cell):
        here, there = values[k], values[(k + 1) % len(cell)]
        if here >= zero:
            out.append((vertex, form if here == zero and there < zero else line))
            if here > zero and there < zero:
                out.append((_meet(line, form), form))
        elif there > zero:
            out.append((_meet(line, form), line))
    return out


def domain_cell(dim: int, constraints: Sequence[Sequence[Any]]) -> Cell:
    """The polygon ``{a . t + c >= 0} & {|t_i| <= R}``; ValueError where it has no interior."""
    f = Fraction
    if dim == 1:
        cell = [(((f(-1), f(0)),), (f(1), f(0), f(1))), (((f(1), f(0)),), (f(-1), f(0), f(1)))]
    else:
        rows = [(0, 1, 0, 1), (-1, 0, 0, 1), (0, -1, 0, 1), (1, 0, 0, 1)]
        lines = [tuple(map(f, row)) for row in rows]
        cell = [(_meet(lines[k - 1], lines[k]), lines[k]) for k in range(4)]
    for row in constraints:
        form = (*map(f, row), f(0))
        values = [_value(form, v) for v, _ in cell]
        if max(values) <= (0, 0) and any(row):
            raise ValueError("the domain has no interior")
        if min(values) < (0, 0):
            cell = _clip(cell, form)
    return cell


def enumerate_regions(
    layers: Sequence[Layer], dim: int, constraints=(), slice_rows=None
) -> tuple[list[Vertex], list[tuple[int, list[Vertex]]]]:
    """Corners of the domain, and (pattern, corners) of every region.

    `slice_rows` are the rational rows of ``x = rows . (t, 1)``.
    """
    domain = domain_cell(dim, constraints)
    if slice_rows is None:
        slice_rows = [[int(i == j) for j in range(dim + 1)] for i in range(dim)]
    found: list[tuple[int, list[Vertex]]] = []

    def descend(
        depth: int, cell: Cell, pattern: int, first: int, inputs: list[list[Fraction]]
    ) -> None:
        layer = layers[depth]
        if layer.slopes is None:
            found.append((pattern, [v for v, _ in cell]))
            return
        forms = [
            [
                sum((w * row[c] for w, row in zip(weights, inputs, strict=True)), Fraction(0))
                + (bias if c == dim else 0)
                for c in range(dim + 1)
            ]
            for weights, bias in zip(layer.weights, layer.bias, strict=True)
        ]

        def split(unit: int, part: Cell, bits: int) -> None:
            if unit == len(forms):
                outputs = [
                    [v * (1 if bits >> i & 1 else slope) for v in form]
                    for i, (form, slope) in enumerate(zip(forms, layer.slopes, strict=True))
                ]
                descend(depth + 1, part, pattern | bits << first, first + len(forms), outputs)
                return
            form = (*forms[unit], Fraction(0))
            values = [_value(form, v) for v, _ in part]
            if layer.slopes[unit] == 1 or max(values) <= (0, 0):
                split(unit + 1, part, bits)
            elif min(values) >= (0, 0):
                split(unit + 1, part, bits | 1 << unit)
            else:
                split(unit + 1, _clip(part, tuple(-v for v in form)), bits)
                split(unit + 1, _clip(part, form), bits | 1 << unit)

        split(0, cell, 0)

    descend(0, domain, 0, 0, [[Fraction(v) for v in row] for row in slice_rows])
    return [v for v, _ in domain], found


# ------------------------------------------------------------------------------------------ writing


def var(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def big(value: int) -> bytes:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1 if value else 0
    return var(size) + value.to_bytes(size, "little", signed=True)


@dataclass
class Proof:
    """A proof taken apart. A vertex is ``[p, q, w]``, a region ``[pattern, corner indices]``."""

    header: dict[str, Any]
    units: int
    vertices: list[list[Any]] = field(default_factory=list)
    regions: list[list[Any]] = field(default_factory=list)

    def copy(self) -> Proof:
        return deepcopy(self)

    def recount(self) -> Proof:
        """Make the header's counts those of the lists."""
        self.header["regions"], self.header["vertices"] = len(self.regions), len(self.vertices)
        return self

    @staticmethod
    def from_bytes(data: bytes, units: int) -> Proof:
        """Read the file of a network with that many units; it must be well-formed."""
        header, stream = unpack(data)
        body, at, dim = zlib.decompress(stream), 0, header["dim"]

        def take(size: int) -> bytes:
            nonlocal at
            at += size
            return body[at - size : at]

        def number() -> int:
            parts = [take(1)[0]]
            while parts[-1] > 127:
                parts.append(take(1)[0])
            return sum((part & 127) << 7 * k for k, part in enumerate(parts))

        def integers(count: int) -> list[int]:
            return [int.from_bytes(take(number()), "little", signed=True) for _ in range(count)]

        proof = Proof(header, units)
        for _ in range(header["vertices"]):
            kind = take(1)[0]
            p, q = integers(dim), integers(dim) if kind else [0] * dim
            proof.vertices.append([p, q, integers(1)[0]])
        for _ in range(header["regions"]):
            pattern = int.from_bytes(take((units + 7) // 8), "little")
            proof.regions.append([pattern, [number() for _ in range(number())]])
        assert at == len(body)
        return proof

    def body(self) -> bytes:
        out = []
        for p, q, w in self.vertices:
            numbers = [*p, *(q if any(q) else ()), w]
            out.append(bytes([any(q)]) + b"".join(map(big, numbers)))
        for pattern, loop in self.regions:
            out.append(pattern.to_bytes((self.units + 7) // 8, "little"))
            out.append(var(len(loop)) + b"".join(map(var, loop)))
        return b"".join(out)

    def to_bytes(self) -> bytes:
        return pack(json.dumps(self.header).encode(), zlib.compress(self.body()))


def pack(header: bytes, body: bytes) -> bytes:
    return b"PLPROOF\x001\n" + struct.pack("<I", len(header)) + header + body


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and compressed body of a well-formed file."""
    start = len(b"PLPROOF\x001\n")
    size = int.from_bytes(data[start : start + 4], "little")
    return json.loads(data[start + 4 : start + 4 + size]), data[start + 4 + size :]


def integer_vertex(vertex: Vertex) -> list[Any]:
    """``[p, q, w]`` in lowest terms."""
    w = lcm(*(part.denominator for germ in vertex for part in germ))
    p, q = [int(g[1] * w) for g in vertex], [int(g[0] * w) for g in vertex]
    assert gcd(w, *p, *q) == 1
    return [p, q, w]


def write_proof(
    layers: Sequence[Layer],
    dim: int,
    constraints: Sequence[Sequence[int]],
    corners: Sequence[Vertex],
    regions: Sequence[tuple[int, list[Vertex]]],
    slice_part: tuple[int, list[list[int]]] | None = None,
) -> Proof:
    """The proof that `regions` are the regions on the domain with those corners."""
    index: dict[Vertex, int] = {}
    loops = [[index.setdefault(v, len(index)) for v in loop] for _, loop in regions]
    ends = [index.setdefault(v, len(index)) for v in corners]
    header = {
        "claim": "region_list",
        "network": hashlib.sha256(net_bytes(layers)).hexdigest(),
        "definitions": "none",
        "dim": dim,
        "slice": slice_part
        and {"scale": str(slice_part[0]), "rows": [list(map(str, r)) for r in slice_part[1]]},
        "constraints": [list(map(str, row)) for row in constraints],
        "regions": 0,
        "vertices": 0,
        "domain_vertices": ends,
    }
    patterns = [[pattern, loop] for (pattern, _), loop in zip(regions, loops, strict=True)]
    return Proof(header, unit_count(layers), list(map(integer_vertex, index)), patterns).recount()


def prove(layers: Sequence[Layer], dim: int, constraints=(), slice_part=None) -> Proof:
    """Enumerate and write; `slice_part` is ``(scale, integer rows)``, constraints have integers."""
    rows = slice_part and [[Fraction(v, slice_part[0]) for v in row] for row in slice_part[1]]
    corners, regions = enumerate_regions(layers, dim, constraints, rows)
    return write_proof(layers, dim, constraints, corners, regions, slice_part)


def box(*sides: tuple[Any, Any]) -> list[list[int]]:
    """Constraint rows of a box in the order of ``docs/developer.md``; None is an infinite side."""
    rows = []
    for k, (low, high) in enumerate(sides):
        for value, sign in ((low, 1), (high, -1)):
            if value is not None:
                exact = Fraction(value)
                row = [0] * len(sides) + [-sign * exact.numerator]
                row[k] = sign * exact.denominator
                rows.append(row)
    return rows
