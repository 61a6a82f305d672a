"""Exact Lipschitz constants by the engine's search, or by listing all regions.

On a box or bounded polytope the engine (``csrc/search/gain.hpp``) looks for the activation region
with the largest norm and writes a proof that no other one has a larger; a checker that shares no
code with it decides whether that is believed. On unbounded domains of few dimensions all regions
are listed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, nextafter

import plverify._core as _core
from plverify import proof as proof_files
from plverify.certificate import check
from plverify.constraint import Constraint
from plverify.domain import Box, Domain, Polytope, Space, polytope_bytes
from plverify.errors import InputError
from plverify.exact_net import common_denominator, pack_ints
from plverify.gain.jacobian import Attained, Rows, exact_jacobian, float_matrix
from plverify.gain.spectral import norm_bounds
from plverify.network import Network
from plverify.partition import regions
from plverify.property import Disjunct, Property
from plverify.question import MAX_DIMENSION, Progress, property_bytes
from plverify.result import Status

_ROOM = 1e-9
"""By how much a bound found in floating point is raised before it is proven."""
_SHARE = {True: 1 / 4, False: 1 / 2}
"""Of a timeout, what the search may take: the checker takes as long, for matrices thrice that."""


@dataclass(frozen=True)
class Found:
    """What is known of a constant, or in l2 of its square: `upper` is None where nothing is.

    `proven` is the upper end that the proof states.
    """

    status: Status
    attained: Attained | None
    upper: Fraction | None
    proof: bytes | None
    nodes: int
    proven: Fraction | None = None


def search(
    net: Network,
    domain: Disjunct,
    norm: str,
    rows: Rows,
    timeout: float | None,
    progress: Progress | None,
) -> Found:
    """The largest norm of ``rows @ J`` over the regions of what `search_domain` gave."""
    ints, den = common_denominator([v for row in rows for v in row])
    weights = struct.pack("<I", len(rows)) + pack_ints([den]) + pack_ints(ints)
    spec = property_bytes(Property(net.input_size, net.output_size, (domain,)))
    limit = None if timeout is None else timeout * _SHARE[norm == "l2" and len(rows) > 1]
    try:
        answer = _core.lipschitz(net.core, norm, spec, weights, limit, progress)
    except ValueError as error:
        raise InputError(str(error)) from None
    status = Status(answer["status"])
    if answer["witness"] is None:
        return Found(status, None, None, None, answer["nodes"])
    numerators, common = answer["witness"]
    attained = _at(net, tuple(Fraction(v, common) for v in numerators), norm, rows)
    if attained is None:
        return Found(Status.UNKNOWN, None, None, None, answer["nodes"])
    if answer["attained"]:
        upper = attained.value
    else:
        upper = max(attained.value, Fraction(nextafter(answer["upper"] * (1 + _ROOM), inf)))
    header = proof_files.lipschitz_header(
        net, norm, rows, domain, (attained.value, upper), attained.point, attained.direction
    )
    proof = proof_files.encode(header, answer["proof"])
    # The search proposes in floating point; the checker decides.
    if not check(proof, net):
        return Found(Status.UNKNOWN, attained, None, None, answer["nodes"])
    return Found(status, attained, upper, proof, answer["nodes"], upper)


def _at(net: Network, point: tuple[Fraction, ...], norm: str, rows: Rows) -> Attained | None:
    """The norm at a point, None on a kink."""
    pattern = net.exact_net.pattern_at(list(point))
    if pattern.on_boundary:
        return None
    return Attained.of(point, exact_jacobian(net, pattern.bits, rows), norm)


def search_domain(net: Network, domain: Domain | None) -> Disjunct | None:
    """A bounded box or polytope as the engine searches it: a box, and constraints; else None.

    Raises
    ------
    InputError
        If the domain has no interior.
    """
    box, rows = domain, tuple[Constraint, ...]()
    if isinstance(domain, Polytope):
        sides = _sides(domain)
        if sides is None:
            return None
        box = Box(*sides)
        rows = tuple(_constraint(row) for row in domain.rows if any(row[:-1]))
    if not isinstance(box, Box) or not box.bounded:
        return None
    if any(a == b for a, b in zip(box.lo, box.hi, strict=True)):
        assert domain is not None
        raise InputError(f"the domain ({domain.describe()}) has no interior")
    # In the canonical form, which is that of the engine and of proofs.
    [case] = Property(net.input_size, net.output_size, (Disjunct(box, rows),)).disjuncts
    return case


def _constraint(row: Sequence[int]) -> Constraint:
    """``a . x + c >= 0``."""
    made = Constraint.of(
        {i: -Fraction(a) for i, a in enumerate(row[:-1]) if a}, {}, Fraction(row[-1])
    )
    assert isinstance(made, Constraint)
    return made


def _sides(domain: Polytope) -> tuple[list[Fraction], list[Fraction]] | None:
    """The least box around a polytope with an interior, None if there is none."""
    data = polytope_bytes(domain.rows, domain.dim)
    if len(_core.mixed_point(data, [True] * len(domain.rows))) == 1:
        raise InputError(f"the domain ({domain.describe()}) has no interior")
    sides: tuple[list[Fraction], list[Fraction]] = ([], [])
    for i in range(domain.dim):
        for side, sign in zip(sides, (-1, 1), strict=True):
            objective = [sign * (j == i) for j in range(domain.dim)]
            found = _core.exact_maximum(data, pack_ints(objective) + pack_ints([0]))
            if found is None:
                return None
            point, den = found
            side.append(Fraction(point[i], den))
    return sides


def enumerate_regions(
    net: Network, domain: Domain | None, norm: str, rows: Rows, timeout: float | None
) -> Found | None:
    """The largest norm among all regions of a domain of few dimensions, None if it has many.

    Jacobians of regions are exact; a list that was not completed gives a lower bound only.
    """
    where = Space(net.input_size) if domain is None else domain
    if where.dim > MAX_DIMENSION or where.dim != net.input_size:
        return None
    found = regions(net, where, timeout=timeout)
    best: tuple[Attained, int] | None = None
    upper = Fraction(0)
    for k, region in enumerate(found):
        jacobian = exact_jacobian(net, region.pattern.tolist(), rows)
        attained = Attained.of((), jacobian, norm)
        if best is None or attained.value > best[0].value:
            best = attained, k
        above = attained.value
        if attained.direction is not None:  # the quotient in one direction is a bit less
            above = Fraction(norm_bounds(float_matrix(jacobian))[1]) ** 2
        upper = max(upper, above)
    if best is None:
        return None
    point = tuple(found[best[1]].exact_interior_point)
    status = Status.COMPLETE if found.complete else Status.TIMEOUT
    whole = upper if found.complete else None
    return Found(status, best[0]._replace(point=point), whole, None, found.count)
