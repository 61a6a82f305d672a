"""The distance of a point to the inputs with another label, as a question and as a proof.

The inputs in question are the closed set ``S`` of `plverify.attacks.base.Aim`. That none of them is
closer to the point than ``r`` is a property of the network: of a box for "linf", of a
`plverify.property.Ball` for "l1" and "l2". That is `question`. `radius_proof` joins the proof of
that with an exact input of ``S``. In l2 all distances here are *squared*: so they are rational.

``docs/proof_format.md`` calls the claim ``radius``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isinf, lcm
from typing import Any

from plverify import proof as proof_files
from plverify.attacks.base import Aim, Point, aims, scaled_sides
from plverify.constraint import Constraint
from plverify.domain import Bound, Box
from plverify.exact_array import ExactArray, exact_number
from plverify.property import Ball, Disjunct, Property
from plverify.question import decide
from plverify.result import enclose


def question(aim: Aim, radius: Any, *, closed: bool = False) -> Property:
    """The property that the network violates where ``S`` is closer than a radius.

    Where ``closed``, and always in l1 and l2, also as far away as the radius. (For "linf" the
    search is then spared two constraints per input. Its balls are closed.)

    Parameters
    ----------
    aim : Aim
    radius : number
        In l2 its square; may be infinite.
    closed : bool

    >>> from plverify.network import Network
    >>> [aim] = aims(Network.from_arrays([[[1.0], [-1.0]]]), [0.75])
    >>> for closed in (False, True):
    ...     print(question(aim, "1/2", closed=closed).describe())
    1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1 and x_0 < 5/4 and x_0 > 1/4
    1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1
    """
    sizes = aim.net.input_size, aim.net.output_size
    size = exact_number(radius, "the radius", allow_inf=True)
    if not isinstance(size, Fraction):
        return Property(*sizes, tuple(Disjunct(aim.domain, rows) for rows in _cases(aim)))
    cube = None if size < 0 or (size == 0 and not closed) else _cube(aim, size)
    if cube is None:
        return Property(*sizes, ())
    near: list[Constraint] = []
    if aim.norm == "linf" and not closed:
        near = [
            _row({i: sign}, {}, size + sign * v, strict=True)
            for i, v in enumerate(aim.x)
            for sign in (1, -1)
        ]
    ball = Ball(aim.norm, aim.x, size) if aim.norm != "linf" and size else None
    disjuncts = tuple(Disjunct(cube, (*rows, *near), ball) for rows in _cases(aim))
    return Property(*sizes, disjuncts)


def header(
    aim: Aim, lower: Bound, upper: Bound, witness: Point | None, *, closed: bool = False
) -> dict[str, Any]:
    """The header of the claim that the distance is in an interval; see `radius_proof`.

    Where ``closed``, that it is more than ``lower``, not only at least that.
    """
    return proof_files.radius_header(
        aim.net,
        aim.norm,
        aim.x,
        _own(aim),
        aim.targeted,
        aim.domain,
        (lower, upper),
        witness,
        closed,
    )


def _own(aim: Aim) -> int:
    """The output that all others are compared with."""
    return aim.label if aim.target is None else aim.target


def _cases(aim: Aim) -> list[tuple[Constraint, ...]]:
    """Constraints on the outputs; in ``S`` those of some case hold."""
    own = _own(aim)
    others = [j for j in range(aim.net.output_size) if j != own]
    pairs = [(own, j) if aim.targeted else (j, own) for j in others]
    beats = [Constraint((), tuple(sorted(((k, 1), (j, -1)))), Fraction(0)) for j, k in pairs]
    return [tuple(beats)] if aim.targeted else [(row,) for row in beats]


def _cube(aim: Aim, radius: Fraction) -> Box | None:
    """The part of the domain within a radius in every coordinate; None if there is none."""
    if aim.norm == "l2":
        above = _root_above(radius)
        if above is None:
            return aim.domain
        radius = above
    # In integers over one denominator; Fractions would take three times as long.
    (lowest, highest), whole = scaled_sides(aim.domain)
    centre, own = aim.scaled
    den = lcm(whole, own, radius.denominator)
    size, grow, stretch = int(radius * den), den // own, den // whole
    lo, hi = list(aim.domain.lo), list(aim.domain.hi)
    for i, (a, v, b) in enumerate(zip(lowest, centre, highest, strict=True)):
        low, high = v * grow - size, v * grow + size
        if a is None or a * stretch < low:
            lo[i] = Fraction(low, den)
        elif a * stretch > high:
            return None
        if b is None or high < b * stretch:
            hi[i] = Fraction(high, den)
        elif low > b * stretch:
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
        May be infinite; in l2 the squares.
    witness : (n,) vector of numbers, or None
        An input of ``S`` in the domain, not farther away than ``upper``; None if that is infinite.
        In l1 and l2 nothing is found where it is no farther away than ``lower``.
    threads, timeout
        As in `plverify.verdict.verify`.

    Raises
    ------
    InputError
        On numbers that are none.

    >>> from plverify.network import Network
    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> [aim] = aims(net, [0.75])
    >>> proof = radius_proof(aim, 0.75, 0.75, [0])
    >>> import plverify as pv
    >>> pv.check(proof, net).accepted
    True
    """
    ends = [exact_number(v, "the radius", allow_inf=True) for v in (lower, upper)]
    at = None if witness is None else tuple(ExactArray(witness, "witness").fractions().tolist())
    answer = decide(
        aim.net,
        question(aim, ends[0]),
        want_proof=True,
        threads=threads,
        timeout=timeout,
        claim=(aim.net, header(aim, ends[0], ends[1], at)),
    )
    return bytes(answer["file"]) if answer["status"] == "unsat" else None


def _root_above(value: Fraction) -> Fraction | None:
    """The least double whose square is at least a number; None if there is none.

    >>> _root_above(Fraction(9)), _root_above(Fraction(2)) ** 2 > 2
    (Fraction(3, 1), True)
    """
    above = enclose(value, root=True)[1]
    return None if isinf(above) else Fraction(above)


def _row(
    inputs: dict[int, int], outputs: dict[int, int], bound: Any, strict: bool = False
) -> Constraint:
    row = Constraint.of(inputs, outputs, bound, strict)
    assert isinstance(row, Constraint)
    return row


__all__ = ["aims", "header", "question", "radius_proof"]
