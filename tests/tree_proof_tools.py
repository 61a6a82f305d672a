"""A slow, independent writer of region trees (``docs/proof_format.md``), and the tree taken apart.

Regions come from exact rational linear programs, with the pivots of `oracle_nd`: depth first over
the units, one program for every piece that does not hold the point at hand. Where there is no such
point, the program's multipliers are the certificate. Nothing here uses the engine or the checkers.

A tree is a list of records in pre-order:

    ("leaf", e, p)    ("split", unit)    ("fix", unit, piece, y0, terms)
    ("window", unit, kept, {slot: (others, terms)})

with ``terms`` and ``others`` lists of ``(index, multiplier)`` and multipliers ``(m, e)``.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import oracle_nd
from oracle_graph import Graph, sources
from oracle_nd import Function, NdDomain, Place
from proof_tools import big, pack, var

Multiplier = tuple[int, int]


@dataclass
class TreeProof:
    """A proof taken apart."""

    header: dict[str, Any]
    records: list[tuple[Any, ...]]

    def copy(self) -> TreeProof:
        return deepcopy(self)

    def body(self) -> bytes:
        return b"".join(map(encode, self.records))

    def to_bytes(self) -> bytes:
        return with_body(self.header, self.body())

    def subtree(self, start: int) -> int:
        """Where the subtree of a record ends."""
        left, at = 1, start
        while left:
            left += children(self.records[at]) - 1
            at += 1
        return at

    def leaves(self) -> int:
        return sum(record[0] == "leaf" for record in self.records)


def with_body(header: dict[str, Any], body: bytes) -> bytes:
    return pack(json.dumps(header).encode(), zlib.compress(body))


def children(record: tuple[Any, ...]) -> int:
    return {"leaf": 0, "split": 2, "fix": 1}.get(record[0]) or (
        len(record[2]) if record[0] == "window" else 0
    )


def encode(record: tuple[Any, ...]) -> bytes:
    kind, *rest = record
    if kind == "leaf":
        depth, point = rest
        return b"\0" + var(depth) + b"".join(map(big, point))
    if kind == "split":
        return b"\1" + var(rest[0])
    if kind == "fix":
        unit, piece, y0, terms = rest
        return b"\2" + var(unit) + var(piece) + multiplier(y0) + multiplied(terms)
    unit, kept, dropped = rest
    out = b"\3" + var(unit) + var(len(kept)) + b"".join(map(var, kept))
    for slot in sorted(dropped):
        out += b"".join(map(multiplied, dropped[slot]))
    return out


def multiplier(y: Multiplier) -> bytes:
    return big(y[0]) + var(2 * y[1] if y[1] >= 0 else -2 * y[1] - 1)


def multiplied(terms: Sequence[tuple[int, Multiplier]]) -> bytes:
    return var(len(terms)) + b"".join(var(index) + multiplier(y) for index, y in terms)


# ----------------------------------------------------------------------------------------- programs


def search(rows: dict[int, tuple[int, ...]], point: Place, goal: tuple[int, ...]) -> Any:
    """A point where all rows and the goal are positive; or ``(y0, {name: y})``: see below.

    All rows are positive at `point`, the goal is not. Where there is no such point, ``y0 goal`` and
    the sum of ``y row`` add up to a constant that is <= 0, with ``y0 > 0`` and all ``y > 0``.
    """
    names, size = list(rows), len(goal) - 1
    listed = [rows[name] for name in names]
    table = [[*row[:-1], oracle_nd._dot(row, point)] for row in (*listed, goal)]
    columns, lines, den = list(range(size)), list(range(size, size + len(listed))), 1
    while (aim := table[-1])[-1] <= 0:
        entering = [
            (name, k) for k, name in enumerate(columns) if aim[k] > 0 or (aim[k] and name < size)
        ]
        if not entering:
            pairs = zip(columns, aim, strict=False)
            return den, {names[n - size]: -v for n, v in pairs if v and n >= size}
        k = min(entering)[1]
        sense = 1 if aim[k] > 0 else -1
        leaving = oracle_nd._leaving(table, lines, size, k, sense)
        shift = {}
        if leaving is None:
            far = -aim[-1] // abs(aim[k]) + 1
            for line in table:
                line[-1] += sense * far * line[k]
            shift = {columns[k]: sense * far * den}
            break
        den = oracle_nd._pivot(table, leaving, k, den)
        columns[k], lines[leaving] = lines[leaving], columns[k]
    else:
        shift = {}
    end = oracle_nd._read(point, table, lines, den, shift)
    return oracle_nd._inwards(listed, point, goal, end)


# ------------------------------------------------------------------------------------------- maker


class Maker:
    """Writes the tree of a network on a domain."""

    def __init__(self, net: Graph, domain: NdDomain, rng: random.Random) -> None:
        self.net, self.rng, self.size = net, rng, domain.dim + 1
        start = oracle_nd._start(net, domain)
        self.constraints = []
        for row in domain.rows:
            entries = oracle_nd._function(row)[0]
            common = gcd(*entries) or 1
            self.constraints.append(tuple(v // common for v in entries))
        self.path: list[Function] = [(row, 1) for row in self.constraints]
        self.records: list[tuple[Any, ...]] = []
        self.inputs = start.tensors[0]
        self.descend(start.point, [self.inputs], [], 0)

    def descend(self, point: Place, tensors: list[Any], made: list[Any], unit: int) -> None:
        """Write the subtree of a cell; `made` are the pieces of the node that is next."""
        k = len(tensors) - 1
        if k == len(self.net.nodes):
            self.leaf(point)
            return
        node = self.net.nodes[k]
        joined = [f for source in sources(node) for f in tensors[source]]
        if node[0] == "linear":
            out = [oracle_nd._affine(self.size, joined, terms, bias) for terms, bias in node[2]]
            self.descend(point, [*tensors, out], [], unit)
        elif len(made) == len(node[2]):
            self.descend(point, [*tensors, made], [], unit)
        elif node[0] == "units":
            self.unit(point, tensors, made, unit, joined[len(made)], node[2][len(made)])
        else:
            window = {s: joined[j] for s, j in enumerate(node[2][len(made)]) if j >= 0}
            self.window(point, tensors, made, unit, window)

    def unit(self, point: Place, tensors: Any, made: Any, unit: int, z: Any, slope: Any) -> None:
        low = oracle_nd._combine(self.size, [(Fraction(slope), z)])
        if slope == 1:
            self.descend(point, tensors, [*made, low], unit + 1)
            return
        sides = {1: z, 0: (oracle_nd._minus(z[0]), z[1])}
        if not any(z[0]):
            self.records.append(("fix", unit, 0, self.some(), []))
            self.descend(point, tensors, [*made, low], unit + 1)
            return
        found = {piece: self.enter(point, row) for piece, row in sides.items()}
        both = all(answer[0] is not None for answer in found.values())
        if both:
            self.records.append(("split", unit))
        for piece in (1, 0):
            inside, _ = found[piece]
            if inside is None:
                continue
            if not both:
                y0, terms = self.shorten(sides[1 - piece], found[1 - piece][1])
                self.records.append(("fix", unit, piece, y0, terms))
            else:
                self.path.append(sides[piece])
            self.descend(inside, tensors, [*made, z if piece else low], unit + 1)
            if both:
                self.path.pop()

    def window(self, point: Place, tensors: Any, made: Any, unit: int, slots: Any) -> None:
        first: dict[Function, int] = {}
        for slot, f in slots.items():
            first.setdefault(f, slot)
        one = Fraction(1)
        inside: dict[int, Place] = {}
        dropped: dict[int, Any] = {}
        ahead = {
            (a, b): oracle_nd._combine(self.size, [(one, f), (-one, g)])
            for a, f in slots.items()
            for b, g in slots.items()
            if a != b
        }
        for slot, f in slots.items():
            if first[f] != slot:
                dropped[slot] = [(first[f], self.some())], []
                continue
            others = [other for g, other in first.items() if g != f]
            self.rng.shuffle(others)
            here, extra = point, {}
            for other in others:
                answer, certificate = self.enter(here, ahead[slot, other], extra)
                if answer is None:
                    y0, terms = self.shorten(ahead[slot, other], certificate, extra)
                    mine = [(-1 - n, y) for n, y in terms if n < 0]
                    mine = sorted([*mine, (other, y0)])
                    dropped[slot] = mine, [(n, y) for n, y in terms if n >= 0]
                    break
                here = answer
                extra[-1 - other] = ahead[slot, other]
            else:
                inside[slot] = here
        kept = sorted(inside)
        self.records.append(("window", unit, kept, dropped))
        for slot in kept:
            rows = [ahead[slot, other] for other in slots if other != slot]
            self.path += rows
            self.descend(inside[slot], tensors, [*made, slots[slot]], unit + 1)
            del self.path[len(self.path) - len(rows) :]

    def enter(self, point: Place, row: Function, extra: Any = ()) -> tuple[Any, Any]:
        """``(point, None)`` inside of the cell where a row is positive, or ``(None, multipliers)``.

        `extra` are more rows of the cell; their numbers are negative.
        """
        if not any(row[0][:-1]):
            return (point, None) if row[0][-1] > 0 else (None, (Fraction(1), {}))
        if oracle_nd._dot(row[0], point) > 0:
            return point, None
        all_rows = self.rows(extra)
        found = search({n: f[0] for n, f in all_rows.items()}, point, row[0])
        if len(found) == 2 and isinstance(found[1], dict):
            y0, terms = found
            scaled = {n: Fraction(y * all_rows[n][1]) for n, y in terms.items()}
            return None, (Fraction(y0 * row[1]), scaled)
        used = [f[0] for f in (*all_rows.values(), row)]
        return oracle_nd._rounded(found, used), None

    def rows(self, extra: Any = ()) -> dict[int, Function]:
        out = {n: f for n, f in enumerate(self.path) if any(f[0][:-1])}
        return out | dict(extra)

    def shorten(self, goal: Function, certificate: Any, extra: Any = ()) -> Any:
        """Multipliers as the format has them: rounded where that holds, and the box left out."""
        y0, terms = certificate
        all_rows = self.rows(extra)
        bits = self.rng.choice((2, 6, 20, None))
        while bits is not None and bits < 80:
            rounded = {n: _rounded(y / y0, bits) for n, y in terms.items()}
            short = {n: y for n, y in rounded.items() if not self.is_box_row(n)}
            one = (1, self.rng.randint(-3, 3))
            moved = {n: (m, e + one[1]) for n, (m, e) in short.items()}
            if self.proves(goal, one, moved, all_rows):
                return one, sorted(moved.items())
            bits *= 2
        scale = lcm(y0.denominator, *(y.denominator for y in terms.values()))
        whole = {n: _shifted(int(y * scale)) for n, y in terms.items()}
        own = _shifted(int(y0 * scale))
        if not self.proves(goal, own, whole, all_rows):
            raise AssertionError("multipliers that prove nothing")
        return own, sorted(whole.items())

    def is_box_row(self, n: int) -> bool:
        return 0 <= n < len(self.constraints) and sum(map(bool, self.constraints[n][:-1])) == 1

    def proves(self, goal: Function, y0: Multiplier, terms: Any, rows: Any) -> bool:
        sums = [(_value(y0), goal), *((_value(y), rows[n]) for n, y in terms.items())]
        row, _ = oracle_nd._combine(self.size, sums) if sums else ((0,), 1)
        most = Fraction(row[-1])
        for k, a in enumerate(row[:-1]):
            ends = [
                (Fraction(-c[-1], c[k]), c[k] > 0)
                for n, c in enumerate(self.constraints)
                if self.is_box_row(n) and c[k]
            ]
            lower = [v for v, is_lower in ends if is_lower]
            upper = [v for v, is_lower in ends if not is_lower]
            if a and not (upper if a > 0 else lower):
                return False
            if a:
                most += a * (min(upper) if a > 0 else max(lower))
        return most <= 0

    def some(self) -> Multiplier:
        return self.rng.randint(1, 9), self.rng.randint(-9, 9)

    def leaf(self, point: Place) -> None:
        rows = [f[0] for f in self.rows().values()]
        for depth in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 300, 900, 3000, 20000):
            p = [((x << depth + 1) + point[-1]) // (2 * point[-1]) for x in point[:-1]]
            if all(oracle_nd._dot(row, (*p, 1 << depth)) > 0 for row in rows):
                self.records.append(("leaf", depth, p))
                return
        raise AssertionError(f"no dyadic point near {point}")


def _value(y: Multiplier) -> Fraction:
    return y[0] * Fraction(2) ** y[1]


def _shifted(v: int) -> Multiplier:
    e = (v & -v).bit_length() - 1
    return v >> e, e


def _rounded(y: Fraction, bits: int) -> Multiplier:
    e = y.numerator.bit_length() - y.denominator.bit_length() - bits
    m = round(y / Fraction(2) ** e)
    return (m, e) if m else (1, e)


# ------------------------------------------------------------------------------------------- proofs


def tree_header(digest: str, domain: NdDomain, regions: int, constraints: Any) -> dict[str, Any]:
    placed = None
    if domain.origin is not None and domain.basis is not None:
        table = [(*row, o) for row, o in zip(domain.basis, domain.origin, strict=True)]
        scale = lcm(*(v.denominator for row in table for v in row))
        rows = [[str(int(v * scale)) for v in row] for row in table]
        placed = {"scale": str(scale), "rows": rows}
    return {
        "claim": "region_list",
        "evidence": "tree",
        "network": digest,
        "definitions": "none",
        "dim": domain.dim,
        "slice": placed,
        "constraints": [[str(v) for v in row] for row in constraints],
        "regions": regions,
    }


def prove_tree(net: Graph, domain: NdDomain, digest: str, seed: int = 0) -> TreeProof:
    """The tree of a network; `digest` is that of its canonical form."""
    maker = Maker(net, domain, random.Random(seed))
    leaves = sum(record[0] == "leaf" for record in maker.records)
    return TreeProof(tree_header(digest, domain, leaves, maker.constraints), maker.records)
