"""The distance of a point to the inputs with another label, as a question and as a proof.

The inputs in question are the closed set ``S`` of `plverify.attacks.base.Aim`. None of them is
closer to the point than ``r`` if and only if a property has no violation, of the network for
"linf", of the network with its input's distance as one more output for "l1": that is `question`.
`radius_proof` joins the proof of that with an exact input of ``S``.

``docs/proof_format.md`` calls the claim ``radius``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from plverify import proof as proof_files
from plverify.attacks.base import Aim, Point, aims
from plverify.compose import with_distance
from plverify.constraint import Constraint
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import ExactArray, exact_number
from plverify.network import Network
from plverify.property import Disjunct, Property
from plverify.question import decide

NORMS = ("linf", "l1")
"""That the search knows."""


def question(aim: Aim, radius: Any, *, closed: bool = False) -> tuple[Network, Property]:
    """A network and the property that it violates where ``S`` is closer than a radius.

    Where ``closed``, also as far away as the radius; for "linf" the search is then spared two
    constraints per input.

    Raises
    ------
    InputError
        On a norm that the search does not know.

    >>> [aim] = aims(Network.from_arrays([[[1.0], [-1.0]]]), [0.75])
    >>> for closed in (False, True):
    ...     print(question(aim, "1/2", closed=closed)[1].describe())
    1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1 and x_0 < 5/4 and x_0 > 1/4
    1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1
    """
    net, n = aim.net, aim.net.input_size
    if aim.norm not in NORMS:
        raise InputError(f"norm is {aim.norm!r:.30}, expected {' or '.join(map(repr, NORMS))}")
    size = exact_number(radius, "the radius", allow_inf=True)
    if not isinstance(size, Fraction):
        everywhere = tuple(Disjunct(aim.domain, rows) for rows in cases_of(aim))
        return net, Property(n, net.output_size, everywhere)
    joined = with_distance(net, aim.x) if aim.norm == "l1" else net
    cube = None if size < 0 or (size == 0 and not closed) else _cube(aim, size)
    if cube is None:
        return joined, Property(n, joined.output_size, ())
    if aim.norm == "l1":
        near = [_row({}, {net.output_size: 1}, size, strict=not closed)]
    elif closed:
        near = []
    else:
        near = [
            _row({i: sign}, {}, size + sign * v, strict=True)
            for i, v in enumerate(aim.x)
            for sign in (1, -1)
        ]
    disjuncts = tuple(Disjunct(cube, (*rows, *near)) for rows in cases_of(aim))
    return joined, Property(n, joined.output_size, disjuncts)


def header(aim: Aim, lower: Bound, upper: Bound, witness: Point | None) -> dict[str, Any]:
    """The header of the claim that the distance is in an interval; see `radius_proof`."""
    return proof_files.radius_header(
        aim.net,
        aim.norm,
        aim.x,
        _own(aim),
        aim.targeted,
        aim.domain,
        (lower, upper),
        witness,
    )


def _own(aim: Aim) -> int:
    """The output that all others are compared with."""
    return aim.label if aim.target is None else aim.target


def cases_of(aim: Aim) -> list[tuple[Constraint, ...]]:
    """Constraints on the outputs; in ``S`` those of some case hold."""
    own = _own(aim)
    others = [j for j in range(aim.net.output_size) if j != own]
    pairs = [(own, j) if aim.targeted else (j, own) for j in others]
    beats = [_row({}, {k: 1, j: -1}, 0) for j, k in pairs]
    return [tuple(beats)] if aim.targeted else [(row,) for row in beats]


def _cube(aim: Aim, radius: Fraction) -> Box | None:
    """The part of the domain within a radius in every coordinate; None if there is none."""
    lo: list[Bound] = [max(a, v - radius) for a, v in zip(aim.domain.lo, aim.x, strict=True)]
    hi: list[Bound] = [min(b, v + radius) for b, v in zip(aim.domain.hi, aim.x, strict=True)]
    if any(a > b for a, b in zip(lo, hi, strict=True)):
        return None
    return Box.of_exact(lo, hi)


def radius_proof(
    aim: Aim,
    lower: Any,
    upper: Any,
    witness: Sequence[Any] | None,
    *,
    threads: int = 1,
    timeout: float | None = None,
) -> bytes | None:
    """A proof that the distance to ``S`` is in an interval; None where the search finds none.

    Parameters
    ----------
    aim : Aim
    lower, upper : number
        May be infinite.
    witness : (n,) vector of numbers, or None
        An input of ``S`` in the domain, not farther away than ``upper``; None if that is infinite.
    threads, timeout
        As in `plverify.verdict.verify`.

    Raises
    ------
    InputError
        On numbers that are none.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> [aim] = aims(net, [0.75])
    >>> proof = radius_proof(aim, 0.75, 0.75, [0])
    >>> import plverify as pv
    >>> pv.check(proof, net).accepted
    True
    """
    ends = [exact_number(v, "the radius", allow_inf=True) for v in (lower, upper)]
    at = None if witness is None else tuple(ExactArray(witness, "witness").fractions().tolist())
    joined, spec = question(aim, ends[0])
    answer = decide(
        joined,
        spec,
        want_proof=True,
        threads=threads,
        timeout=timeout,
        claim=(aim.net, header(aim, ends[0], ends[1], at)),
    )
    return bytes(answer["file"]) if answer["status"] == "unsat" else None


def _row(
    inputs: dict[int, int], outputs: dict[int, int], bound: Any, strict: bool = False
) -> Constraint:
    row = Constraint.of(inputs, outputs, bound, strict)
    assert isinstance(row, Constraint)
    return row


__all__ = ["NORMS", "aims", "header", "question", "radius_proof"]
