"""The distance of a point to the inputs with another label, as a question and as a proof.

The inputs in question are a closed set ``S``: where some other output is at least the one of the
label, or, targeted, where the label's output is at least all others; within a box, if one is given.
No input of ``S`` is closer to the point than ``r`` if and only if a property has no violation, of
the network for "linf", of the network with its input's distance as one more output for "l1": that
is `nearer`. `radius_proof` joins the proof of that with an exact input of ``S``.

``docs/proof_format.md`` calls the claim ``radius``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import Any

from plverify import proof as proof_files
from plverify.compose import with_distance
from plverify.constraint import Constraint
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import ExactArray, exact_number
from plverify.network import Network
from plverify.property import Disjunct, Property
from plverify.question import decide

NORMS = ("linf", "l1")


def nearer(
    net: Network,
    x: Any,
    radius: Any,
    label: int,
    norm: str = "linf",
    *,
    targeted: bool = False,
    domain: Box | None = None,
) -> tuple[Network, Property]:
    """Whether an input of ``S`` is closer to a point than a radius: a network and its violations.

    Parameters
    ----------
    net : Network
    x : (n,) vector of numbers
    radius : number
        Infinite: anywhere.
    label : int
    norm : "linf" or "l1"
    targeted : bool
        ``S`` is where output ``label`` is at least all others; else where some other is at least
        output ``label``.
    domain : Box, optional
        Where inputs may lie.

    Raises
    ------
    InputError
        On a label out of range, another norm, or sizes that do not fit.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])           # the labels of positive and negative
    >>> _, spec = nearer(net, [0.75], "1/2", 0)
    >>> spec.describe()
    '1 input, 2 outputs; violated in box [1/4, 5/4] where x_0 < 5/4 and x_0 > 1/4 and y_0 <= y_1'
    """
    n, m = net.input_size, net.output_size
    point = ExactArray(x, "x")
    if point.shape != (n,):
        raise InputError(f"x has shape {point.shape}, expected ({n},)")
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r:.30}, expected 'linf' or 'l1'")
    if m < 2 or isinstance(label, bool) or not 0 <= label < m:
        raise InputError(f"label is {label!r:.30}, the network has {m} outputs, at least 2 needed")
    where = Box(-inf, inf, n) if domain is None else domain
    if where.dim != n:
        raise InputError(f"the domain has {where.dim} inputs, expected {n}")
    size = exact_number(radius, "the radius", allow_inf=True)
    pairs = [(label, j) if targeted else (j, label) for j in range(m) if j != label]
    beats = [_row({}, {k: 1, j: -1}, 0) for j, k in pairs]
    cases = [tuple(beats)] if targeted else [(row,) for row in beats]
    if not isinstance(size, Fraction):
        return net, Property(n, m, tuple(Disjunct(where, rows) for rows in cases))
    centre = point.fractions().tolist()
    joined = with_distance(net, centre) if norm == "l1" else net
    ball = _ball(centre, size, where)
    if ball is None:
        return joined, Property(n, joined.output_size, ())
    if norm == "l1":
        near = [_row({}, {m: 1}, size, strict=True)]
    else:
        near = [
            _row({i: sign}, {}, size + sign * v, strict=True)
            for i, v in enumerate(centre)
            for sign in (1, -1)
        ]
    disjuncts = tuple(Disjunct(ball, (*near, *rows)) for rows in cases)
    return joined, Property(n, joined.output_size, disjuncts)


def radius_proof(
    net: Network,
    x: Any,
    label: int,
    lower: Any,
    upper: Any,
    witness: Sequence[Any] | None,
    norm: str = "linf",
    *,
    targeted: bool = False,
    domain: Box | None = None,
    threads: int = 1,
    timeout: float | None = None,
) -> bytes | None:
    """A proof that the distance to ``S`` is in an interval; None where the search finds none.

    Parameters
    ----------
    net, x, label, norm, targeted, domain
        As in `nearer`.
    lower, upper : number
        May be infinite.
    witness : (n,) vector of numbers, or None
        An input of ``S`` in the domain, not farther away than ``upper``; None if that is infinite.
    threads, timeout
        As in `plverify.verdict.verify`.

    Raises
    ------
    InputError
        As `nearer`.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> proof = radius_proof(net, [0.75], 0, 0.75, 0.75, [0])
    >>> import plverify as pv
    >>> pv.check(proof, net).accepted
    True
    """
    joined, spec = nearer(net, x, lower, label, norm, targeted=targeted, domain=domain)
    answer = decide(joined, spec, want_proof=True, threads=threads, timeout=timeout)
    if answer["status"] != "unsat":
        return None
    ends = [exact_number(v, "the radius", allow_inf=True) for v in (lower, upper)]
    header = proof_files.radius_header(
        net,
        norm,
        ExactArray(x, "x").fractions().tolist(),
        label,
        targeted,
        Box(-inf, inf, net.input_size) if domain is None else domain,
        (ends[0], ends[1]),
        None if witness is None else ExactArray(witness, "witness").fractions().tolist(),
    )
    return proof_files.encode(header, answer["proof"])


def _ball(centre: Sequence[Fraction], radius: Fraction, domain: Box) -> Box | None:
    """The part of a box within a radius of a point in every coordinate; None if there is none."""
    if radius <= 0:
        return None
    lo: list[Bound] = [max(a, v - radius) for a, v in zip(domain.lo, centre, strict=True)]
    hi: list[Bound] = [min(b, v + radius) for b, v in zip(domain.hi, centre, strict=True)]
    if any(a > b for a, b in zip(lo, hi, strict=True)):
        return None
    return Box.of_exact(lo, hi)


def _row(
    inputs: dict[int, int], outputs: dict[int, int], bound: Any, strict: bool = False
) -> Constraint:
    row = Constraint.of(inputs, outputs, bound, strict)
    assert isinstance(row, Constraint)
    return row
