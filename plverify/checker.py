"""The proof checker: plain integers, one forward pass per vertex, and nothing of the engine.

A region-list proof (``docs/proof_format.md``) lists the activation regions of a network on a domain
of dimension 1 or 2 as intervals or convex polygons with exact vertices. Nothing in it is believed:

1. The *domain polygon* is strictly convex, turns once, satisfies every constraint and has every
   edge on one. So it is the intersection of its edges' half-planes and contains the domain, and
   lies in it, too.
2. Every *region polygon* is strictly convex, turns once and has its vertices in the domain.
3. One exact forward pass per vertex gives the sign of every unit there. No unit is positive at one
   vertex of a region and negative at another; by induction over the layers the network is affine
   on the polygon. The pattern is 1 exactly for the units that are positive at some vertex, which
   are those positive inside the polygon. (A unit that is zero at all vertices is zero on the
   polygon: bit 0. A unit of slope 1 has one piece: bit 0 and no condition.)
4. The patterns are *distinct*. Take two and the first unit where they differ: below it they agree,
   so both polygons see the same affine function there, positive inside the one and nowhere
   positive inside the other. So the interiors are disjoint.
5. Every directed edge occurs once, and its reverse occurs or it lies on the domain's boundary; and
   the areas sum to the domain's area. Either one shows, with 2 and 4 (the first: if there is a
   region at all), that nothing is missing; hence every polygon is the whole region of its pattern,
   and the count is exact.

Unbounded domains are cut by the box ``|t_i| <= R``, ``R`` a symbol larger than every number: a
coordinate is ``(p + q R) / w``, its sign is that of the first nonzero of ``(q, p)``, which is
Python's order on tuples, and areas are polynomials in ``R``. Finitely many signs are asked, so all
that is found holds for every real ``R`` from some number on, and a region with an interior meets
those boxes in a set with an interior.

Vertices are in lowest terms and distinct: equal points have equal indices. There is no tolerance
and no float. Trusted are Python's integers, json, zlib and SHA-256, and `plverify.exact_net` (the
network and its forward pass). Time goes into the forward passes, one per vertex; there are about as
many vertices as regions. Memory is bounded by what was read and by `MAX_HEADER` and `MAX_BODY`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import gcd
from operator import and_, mul
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from plverify import checker_dual, checker_tree
from plverify.checker_dual import DualTools, Executed
from plverify.checker_tree import TreeWalk
from plverify.exact_net import ExactNet, Units
from plverify.proof_reader import (
    MAX_BODY,
    MAX_NUMBER,
    Body,
    Rejected,
    Statement,
    Verdict,
    count,
    definitions,
    read_header,
    read_statement,
    require,
    short,
)

__all__ = ["Verdict", "check", "check_region_list"]

Point: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]
"""``(p, q, w)``: the point ``(p + q R) / w`` with ``w > 0``; ``q`` is zero for a finite point."""
Vector: TypeAlias = tuple[int, int, int, int]
"""``(X, Y, x, y)``: the plane vector ``(X R + x, Y R + y)`` up to a positive factor."""
Facet: TypeAlias = tuple[int, int]
"""A directed edge ``(i, j)``. On the line: a lower end ``(i, -1)``, an upper end ``(-1, i)``."""


def check(
    proof: str | os.PathLike[str] | bytes,
    exact_net: ExactNet,
    tree: TreeWalk | None = None,
    dual: DualTools | None = None,
    executed: Executed | None = None,
    other: ExactNet | None = None,
) -> Verdict:
    """Check a proof, given as a path or as bytes, against a network.

    Whatever the bytes are, the answer is a `Verdict`.

    Parameters
    ----------
    proof : path or bytes
    exact_net : ExactNet
        The network that the proof must be about.
    tree : callable, optional
        What reads the body of a region tree; by default the walk of `plverify.checker_tree`, which
        like everything here is plain integers.
    dual : DualTools, optional
        What reads dual trees and evaluates networks; by default `plverify.checker_dual`.
    executed : Executed, optional
        Whether an "unsat" proof holds for this, too: the network as it is executed.
    other : ExactNet, optional
        The second network of a proof about two.

    Raises
    ------
    OSError
        If a path is given and the file cannot be read.
    """
    walk = checker_tree.walk if tree is None else tree
    tools = checker_dual.PYTHON if dual is None else dual
    if isinstance(proof, (str, os.PathLike)):
        with open(proof, "rb") as file:
            return _check(file, exact_net, walk, tools, executed, other)
    return _check(io.BytesIO(proof), exact_net, walk, tools, executed, other)


def check_region_list(proof_bytes: bytes, exact_net: ExactNet) -> Verdict:
    """Check a proof that is given as bytes; as `check`."""
    return check(bytes(proof_bytes), exact_net)


def _check(
    file: BinaryIO,
    net: ExactNet,
    walk: TreeWalk,
    tools: DualTools,
    executed: Executed | None,
    other: ExactNet | None,
) -> Verdict:
    stated: list[str] = []
    stats: dict[str, Any] = {}
    try:
        header = read_header(file)
        claim = header.get("claim")
        known = isinstance(claim, str) and (claim == "region_list" or claim in checker_dual.KEYS)
        require(known, f"unknown claim {short(claim)}")
        if claim in checker_dual.KEYS:
            checker_dual.refutation(header, file, net, stated, stats, tools, executed, other)
        elif other is not None:
            raise Rejected("the proof is about one network, not two")
        elif executed is not None:
            raise Rejected("only 'unsat' can be proved about an execution")
        elif "evidence" in header:
            checker_tree.region_tree(header, file, net, stated, stats, walk)
        else:
            _region_list(header, file, net, stated, stats)
    except Rejected as error:
        return Verdict(False, "".join(stated), str(error), stats | error.counts)
    return Verdict(True, "".join(stated), "", stats)


# ------------------------------------------------------------------------------ header and vertices


class _Tiling(NamedTuple):
    """The header of a tiling."""

    base: Statement
    vertices: int
    corners: list[int]


def _read_tiling(header: dict[str, Any], net: ExactNet) -> _Tiling:
    base = read_statement(header, net, ("vertices", "domain_vertices"))
    found = f"dim is {base.dim}, and tilings exist in dimension 1 and 2"
    require(base.dim in (1, 2), found)
    require(isinstance(header["domain_vertices"], list), "domain_vertices is no list")
    corners = [count(v, "a domain vertex") for v in header["domain_vertices"]]
    return _Tiling(base, count(header["vertices"], "vertices"), corners)


def _point(body: Body, dim: int) -> Point:
    """The next vertex."""
    kind = body.take(1)[0]
    require(kind in (0, 1), f"unknown vertex kind {kind}")
    p = tuple([body.big() for _ in range(dim)])
    q = tuple([body.big() for _ in range(dim)]) if kind else (0,) * dim
    w = body.big()
    require(w > 0, "the denominator of a vertex is not positive")
    require(any(q) or not kind, "a vertex said to be at infinity is finite")
    require(gcd(w, *p, *q) == 1, "a vertex is not in lowest terms")
    return p, q, w


# ---------------------------------------------------------------------------------------- geometry


def _step(a: Point, b: Point) -> Vector:
    """The direction from ``a`` to ``b``."""
    (px, py), (qx, qy), w = a
    (rx, ry), (sx, sy), u = b
    return sx * w - qx * u, sy * w - qy * u, rx * w - px * u, ry * w - py * u


def _cross(d: Vector, e: Vector) -> tuple[int, int, int]:
    """Coefficients of ``R**2, R, 1``; the sign of the polynomial is the sign of the tuple."""
    dX, dY, dx, dy = d
    eX, eY, ex, ey = e
    return dX * eY - dY * eX, dX * ey + dx * eY - dY * ex - dy * eX, dx * ey - dy * ex


def _is_upper(d: Vector) -> bool:
    """Whether the angle of a direction lies in [0, pi)."""
    return (d[1], d[3], d[0], d[2]) > (0, 0, 0, 0)


def _is_convex(points: Sequence[Point]) -> bool:
    """Whether a polygon is strictly convex, counter-clockwise, and turns once.

    At a left turn the angle of the edge grows by less than pi, so it meets both half-planes in each
    full turn: two changes of half-plane mean one turn. Then the polygon is simple and its corners
    are distinct. On the line: whether the two ends increase.
    """
    if len(points[0][0]) == 1:
        ((p,), (q,), w), ((r,), (s,), u) = points
        return (s * w - q * u, r * w - p * u) > (0, 0)
    edges = [_step(a, b) for a, b in pairwise([*points, points[0]])]
    corners = list(pairwise([*edges, edges[0]]))
    return sum(_is_upper(d) != _is_upper(e) for d, e in corners) == 2 and all(
        _cross(d, e) > (0, 0, 0) for d, e in corners
    )


def _facets(dim: int, loop: Sequence[int]) -> list[Facet]:
    return list(pairwise([*loop, loop[0]])) if dim == 2 else [(loop[0], -1), (-1, loop[1])]


def _shoelace(points: Sequence[Point], facet: Facet) -> tuple[int, int, int, int]:
    """What ``(i, j)``, ``i < j``, adds to twice the area (the length): polynomial, denominator."""
    i, j = facet
    p, q, w = points[j]
    if i < 0:
        return 0, q[0], p[0], w
    r, s, u = points[i]
    return *_cross((s[0], s[1], r[0], r[1]), (q[0], q[1], p[0], p[1])), w * u


def _is_zero(terms: list[tuple[int, int, int, int]]) -> bool:
    """Whether fractions sum to 0; adding in pairs lets big numbers meet big numbers only."""
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [
            (a * z + w * d, b * z + x * d, c * z + y * d, d * z)
            for (a, b, c, d), (w, x, y, z) in pairs
        ] + terms[len(terms) & ~1 :]
    return not any(term[:3] != (0, 0, 0) for term in terms)


def _tight_rows(point: Point, rows: Sequence[tuple[tuple[int, ...], int, int]]) -> int:
    """Bit mask of the rows ``a . t + c + r R >= 0`` that are tight; all must hold."""
    p, q, w = point
    mask = 0
    for k, (a, c, r) in enumerate(rows):
        value = sum(map(mul, a, q)) + r * w, sum(map(mul, a, p)) + c * w
        require(value >= (0, 0), "a vertex lies outside the domain")
        if value == (0, 0) and any(a):  # a row of zeros bounds nothing
            mask |= 1 << k
    return mask


# ----------------------------------------------------------------------------------- region lists

_POSITIVE, _NEGATIVE = (bytes.maketrans(b"\0\1\2", digits) for digits in (b"001", b"100"))


class _Units(NamedTuple):
    """Where the units are in a pattern: its length in bits, two-piece units as a mask, windows."""

    bits: int
    kinked: int
    windows: tuple[int, ...]  # offset of each window's piece


def _unit_layout(net: ExactNet) -> _Units:
    at = kinked = 0
    windows: list[int] = []
    for _, node in net.unit_nodes:
        if isinstance(node, Units):
            for k, (num, shift) in enumerate(node.slopes):
                kinked |= (num != 1 << shift) << (at + k)
        else:
            windows += range(at, at + node.size * node.bits, node.bits)
        at += node.size * node.bits
    return _Units(at, kinked, tuple(windows))


def _signs(
    net: ExactNet, statement: Statement, point: Point, units: _Units
) -> tuple[int, int, tuple[int, ...]]:
    """Bit masks of the two-piece units that are positive and that are negative at a point.

    And per window a mask of the pieces that attain its maximum there.
    """
    p, q, w = point
    levels: list[Sequence[int]] = [q, p] if any(q) else [p]  # the constants go with the last one
    if statement.slice_rows is not None:
        rows = statement.slice_rows
        levels = [[sum(map(mul, row, level)) for row in rows] for level in levels]
        levels[-1] = [v + row[-1] * w for v, row in zip(levels[-1], rows, strict=True)]
        w *= statement.scale
    signs = net.forward(levels, w, unit_level=len(levels) - 1).signs
    positive = negative = at = 0
    winners: list[int] = []
    for (_, node), layer in zip(net.unit_nodes, signs, strict=True):
        if isinstance(node, Units):
            digits = b"\1" + bytes([s + 1 for s in layer])[::-1]  # unit 0 comes last
            positive |= int(digits.translate(_POSITIVE), 2) << at
            negative |= int(digits.translate(_NEGATIVE), 2) << at
        else:
            winners += [sum(1 << piece for piece in won) for won in layer]
        at += node.size * node.bits
    return positive & units.kinked, negative & units.kinked, tuple(winners)


def _region_list(
    header: dict[str, Any],
    file: BinaryIO,
    net: ExactNet,
    stated: list[str],
    stats: dict[str, Any],
) -> None:
    statement, vertices, corners = _read_tiling(header, net)
    dim, units = statement.dim, net.unit_count
    text = definitions(header)
    stats.update(definitions=text, domain_sha256=statement.domain_sha256, units=units)
    layout = _unit_layout(net)
    pattern_bytes = (layout.bits + 7) // 8

    # A variable-length integer has 9 bytes, a planar map of n vertices under 6 n directed edges.
    limit = vertices * (1 + (2 * dim + 1) * (9 + MAX_NUMBER) + 6 * 9)
    limit += statement.regions * (pattern_bytes + 3 * 9)
    body = Body(file, min(limit, MAX_BODY))

    # The vertices: distinct points of the domain.
    rows = [(row[:dim], row[dim], 0) for row in statement.constraints]
    rows += [(tuple(s * (i == k) for i in range(dim)), 0, 1) for k in range(dim) for s in (1, -1)]
    points: list[Point] = []
    tight: list[int] = []
    seen: set[Point] = set()
    for _ in range(vertices):
        point = _point(body, dim)
        require(point not in seen, "a vertex is listed twice")
        seen.add(point)
        points.append(point)
        tight.append(_tight_rows(point, rows))
    tight.append(-1)  # all rows, for the index -1 in the facets of intervals

    # The domain: every edge lies on a constraint.
    _require_polygon(dim, corners, points, "the domain")
    boundary = _facets(dim, corners)
    require(all(tight[i] & tight[j] for i, j in boundary), "a domain edge is on no constraint")
    stated.append(_in_words(statement, net, [points[i] for i in corners]))

    # The regions: convex, no unit of two signs, distinct canonical patterns, no edge twice.
    signs = [_signs(net, statement, point, layout) for point in points]
    patterns: set[int] = set()
    facets: set[Facet] = set()
    for k in range(statement.regions):
        pattern = int.from_bytes(body.take(pattern_bytes), "little")
        size = body.var()
        require(size <= vertices, f"region {k} has more corners than there are vertices")
        loop = [body.var() for _ in range(size)]
        _require_polygon(dim, loop, points, f"region {k}")
        positive = negative = 0
        winners = signs[loop[0]][2]
        for i in loop:
            positive |= signs[i][0]
            negative |= signs[i][1]
            winners = tuple(map(and_, winners, signs[i][2]))
        require(not positive & negative, f"a unit changes its sign inside region {k}")
        require(all(winners), f"a window changes its piece inside region {k}")
        # Pieces that win at all corners are one function on the region; the first one counts.
        for at, won in zip(layout.windows, winners, strict=True):
            positive |= ((won & -won).bit_length() - 1) << at
        require(pattern == positive, f"region {k} has another pattern, or it is not canonical")
        require(pattern not in patterns, f"region {k} has the pattern of an earlier region")
        patterns.add(pattern)
        edges = _facets(dim, loop)
        require(facets.isdisjoint(edges), f"region {k} shares a directed edge with another")
        facets.update(edges)
    body.finish()

    # Completeness, first: every edge has a region on its other side, or is the domain's.
    outer = [(i, j) for i, j in facets if (j, i) not in facets]
    require(all(tight[i] & tight[j] for i, j in outer), "an edge has no region on its other side")

    # Second: the areas' shoelace terms minus the domain's sum to 0, like terms collected first.
    balance: dict[Facet, int] = {}
    for sign, some in ((1, facets), (-1, boundary)):
        for i, j in some:
            key, times = ((i, j), sign) if i < j else ((j, i), -sign)
            balance[key] = balance.get(key, 0) + times
    terms = [(times, _shoelace(points, key)) for key, times in balance.items() if times]
    sums = [(times * a, times * b, times * c, w) for times, (a, b, c, w) in terms]
    require(_is_zero(sums), "the areas of the regions do not add up to the domain's")

    stats.update(
        regions=statement.regions,
        vertices=vertices,
        vertices_at_infinity=sum(any(q) for _, q, _ in points),
        inner_edges=(len(facets) - len(outer)) // 2,
        boundary_edges=len(outer),
        largest_bits=max(abs(v).bit_length() for p, q, w in points for v in (*p, *q, w)),
    )


def _require_polygon(dim: int, loop: Sequence[int], points: Sequence[Point], what: str) -> None:
    require(len(loop) >= 3 if dim == 2 else len(loop) == 2, f"{what} has {len(loop)} corners")
    require(max(loop) < len(points), f"{what} has a corner that is not in the vertex table")
    require(_is_convex([points[i] for i in loop]), f"{what} is not strictly convex and in order")


def _in_words(statement: Statement, net: ExactNet, corners: Sequence[Point]) -> str:
    def coordinate(p: int, q: int, w: int) -> str:
        if max(abs(p), abs(q), w).bit_length() > 64:
            return "(long)"
        return f"{Fraction(p, w)} + {Fraction(q, w)} R" if q else str(Fraction(p, w))

    shown = [
        f"({', '.join(coordinate(a, b, w) for a, b in zip(p, q, strict=True))})"
        for p, q, w in corners[:8]
    ]
    unbounded = any(any(q) for _, q, _ in corners)
    return (
        f"The network with SHA-256 {net.digest()} (canonical exact form, real arithmetic) has "
        f"exactly {statement.regions} activation regions on the {statement.dim}-dimensional"
        f"{' unbounded' if unbounded else ''} domain with SHA-256 {statement.domain_sha256}"
        f"{'' if statement.slice_rows is None else ' (a slice of the input space)'}. The domain"
        f"{' within |t_i| <= R, R larger than every number,' if unbounded else ''} has the corners "
        f"{', '.join(shown)}{', ...' if len(corners) > 8 else ''}. The patterns are listed."
    )
