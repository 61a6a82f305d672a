"""The distance of a point to the inputs with another label, as a question and as a proof.

The inputs in question are a closed set ``S``: where some other output is at least the one of the
label, or, targeted, where the label's output is at least all others; within a box, if one is given.
`Aim` is that set and the point it is seen from. No input of ``S`` is closer to the point than ``r``
if and only if a property has no violation, of the network for "linf", of the network with its
input's distance as one more output for "l1". `radius_proof` joins the proof of that with an exact
input of ``S``.

``docs/proof_format.md`` calls the claim ``radius``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any

from plverify import proof as proof_files
from plverify.certificate import evaluate
from plverify.compose import with_distance
from plverify.constraint import Constraint
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import ExactArray, exact_number
from plverify.network import Network
from plverify.property import Disjunct, Property
from plverify.question import decide

NORMS = ("linf", "l1")
Point = tuple[Fraction, ...]


@dataclass(frozen=True)
class Aim:
    """The closed set ``S`` of inputs with another label, or a target's, and a point; `Aim.of`.

    Attributes
    ----------
    net : Network
    x : tuple of Fraction
        The point.
    label : int
    norm : "linf" or "l1"
    targeted : bool
        ``S`` is where output ``label`` is at least all others; else where some other is at least
        output ``label``.
    domain : Box
        Where the inputs of ``S`` lie.
    """

    net: Network
    x: Point
    label: int
    norm: str
    targeted: bool
    domain: Box

    @staticmethod
    def of(
        net: Network,
        x: Any,
        label: int,
        norm: str = "linf",
        *,
        targeted: bool = False,
        domain: Box | None = None,
    ) -> Aim:
        """The aim with these numbers, whatever types they have.

        Parameters
        ----------
        net : Network
        x : (n,) vector of numbers
        label, norm, targeted
            See `Aim`.
        domain : Box, optional
            Default all of R^n.

        Raises
        ------
        InputError
            On a label out of range, another norm, or sizes that do not fit.
        """
        n, m = net.input_size, net.output_size
        point = ExactArray(x, "x")
        if point.shape != (n,):
            raise InputError(f"x has shape {point.shape}, expected ({n},)")
        if norm not in NORMS:
            raise InputError(f"norm is {norm!r:.30}, expected 'linf' or 'l1'")
        if m < 2 or isinstance(label, bool) or not 0 <= label < m:
            raise InputError(
                f"label is {label!r:.30}, the network has {m} outputs, at least 2 needed"
            )
        where = Box(-inf, inf, n) if domain is None else domain
        if where.dim != n:
            raise InputError(f"the domain has {where.dim} inputs, expected {n}")
        return Aim(net, tuple(point.fractions().tolist()), int(label), norm, targeted, where)

    @property
    def others(self) -> list[int]:
        """The other outputs."""
        return [j for j in range(self.net.output_size) if j != self.label]

    @cached_property
    def cases(self) -> list[tuple[Constraint, ...]]:
        """Constraints on the outputs; in ``S`` those of some case hold."""
        pairs = [(self.label, j) if self.targeted else (j, self.label) for j in self.others]
        beats = [_row({}, {k: 1, j: -1}, 0) for j, k in pairs]
        return [tuple(beats)] if self.targeted else [(row,) for row in beats]

    @cached_property
    def joined(self) -> Network:
        """The network that questions with a finite radius are about."""
        return with_distance(self.net, self.x) if self.norm == "l1" else self.net

    def holds(self, point: Sequence[Fraction]) -> bool:
        """Whether an exact point lies in ``S``, decided exactly."""
        sides = zip(self.domain.lo, point, self.domain.hi, strict=True)
        if not all(a <= v <= b for a, v, b in sides):
            return False
        outputs = evaluate(self.net, point)
        return any(all(row.holds(point, outputs) for row in case) for case in self.cases)

    def distance(self, point: Sequence[Fraction]) -> Fraction:
        """The exact distance of a point from `x`."""
        gaps = [abs(v - c) for v, c in zip(point, self.x, strict=True)]
        return max(gaps) if self.norm == "linf" else sum(gaps, Fraction(0))

    def question(self, radius: Any, *, closed: bool = False) -> tuple[Network, Property]:
        """A network and the property that it violates where ``S`` is closer than a radius.

        Where ``closed``, also as far away as the radius; for "linf" the search is then spared two
        constraints per input.

        >>> aim = Aim.of(Network.from_arrays([[[1.0], [-1.0]]]), [0.75], 0)
        >>> for closed in (False, True):
        ...     print(aim.question("1/2", closed=closed)[1].describe())
        1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1 and x_0 < 5/4 and x_0 > 1/4
        1 input, 2 outputs; violated in box [1/4, 5/4] where y_0 <= y_1
        """
        n = self.net.input_size
        size = exact_number(radius, "the radius", allow_inf=True)
        if not isinstance(size, Fraction):
            cases = tuple(Disjunct(self.domain, rows) for rows in self.cases)
            return self.net, Property(n, self.net.output_size, cases)
        joined = self.joined
        ball = None if size < 0 or (size == 0 and not closed) else self._cube(size)
        if ball is None:
            return joined, Property(n, joined.output_size, ())
        if self.norm == "l1":
            near = [_row({}, {self.net.output_size: 1}, size, strict=not closed)]
        elif closed:
            near = []
        else:
            near = [
                _row({i: sign}, {}, size + sign * v, strict=True)
                for i, v in enumerate(self.x)
                for sign in (1, -1)
            ]
        disjuncts = tuple(Disjunct(ball, (*rows, *near)) for rows in self.cases)
        return joined, Property(n, joined.output_size, disjuncts)

    def header(self, lower: Bound, upper: Bound, witness: Point | None) -> dict[str, Any]:
        """The header of the claim that the distance is in an interval; see `radius_proof`."""
        return proof_files.radius_header(
            self.net,
            self.norm,
            self.x,
            self.label,
            self.targeted,
            self.domain,
            (lower, upper),
            witness,
        )

    def _cube(self, radius: Fraction) -> Box | None:
        """The part of the domain within a radius in every coordinate; None if there is none."""
        lo: list[Bound] = [max(a, v - radius) for a, v in zip(self.domain.lo, self.x, strict=True)]
        hi: list[Bound] = [min(b, v + radius) for b, v in zip(self.domain.hi, self.x, strict=True)]
        if any(a > b for a, b in zip(lo, hi, strict=True)):
            return None
        return Box.of_exact(lo, hi)


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
        As in `Aim.of`.
    lower, upper : number
        May be infinite.
    witness : (n,) vector of numbers, or None
        An input of ``S`` in the domain, not farther away than ``upper``; None if that is infinite.
    threads, timeout
        As in `plverify.verdict.verify`.

    Raises
    ------
    InputError
        As `Aim.of`.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> proof = radius_proof(net, [0.75], 0, 0.75, 0.75, [0])
    >>> import plverify as pv
    >>> pv.check(proof, net).accepted
    True
    """
    aim = Aim.of(net, x, label, norm, targeted=targeted, domain=domain)
    ends = [exact_number(v, "the radius", allow_inf=True) for v in (lower, upper)]
    at = None if witness is None else tuple(ExactArray(witness, "witness").fractions().tolist())
    joined, spec = aim.question(ends[0])
    answer = decide(
        joined,
        spec,
        want_proof=True,
        threads=threads,
        timeout=timeout,
        claim=(net, aim.header(ends[0], ends[1], at)),
    )
    return bytes(answer["file"]) if answer["status"] == "unsat" else None


def _row(
    inputs: dict[int, int], outputs: dict[int, int], bound: Any, strict: bool = False
) -> Constraint:
    row = Constraint.of(inputs, outputs, bound, strict)
    assert isinstance(row, Constraint)
    return row
