"""`minimal_perturbation`: how far an input is from the nearest one with another label, proven.

The radius is the distance from ``x`` to the closed set ``S`` of inputs where some other output is
at least the label's (targeted: where the target's is at least all others). An incumbent, the
closest input of ``S`` known, comes from walks (`plverify.attacks.walk`). `plverify.question.decide`
is then asked whether any input of ``S`` is closer: that none is, is the proof; from one that is,
the next walk starts. Walks end at local minima of the distance, which has finitely many values
there, so this ends.

The question is put for the largest double below the incumbent's distance, so that the two ends of
the answer are neighbours and the search never has to tell a distance from itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from plverify import proof as proof_files
from plverify.attacks.base import Aim, Point, aims, strict_point
from plverify.attacks.walk import walk
from plverify.ball import header, question
from plverify.domain import Bound, Box
from plverify.network import Network, load
from plverify.question import Progress, check_limits, decide
from plverify.result import Result, Status, enclose, rounded
from plverify.verdict import Floats, keep_proof

_SHARE = 0.85
"""Of the time allowed, what the question about the incumbent may take; the rest is for less."""
_QUICK = 1.0
"""Seconds of a search after which more walks come first: a search whose incumbent is not the
nearest is in vain."""
_MORE_WALKS = 500
_SLOW = 0.999
"""A violation that is not closer than by this factor was not shortened."""
_HALVINGS = 8
"""Smaller radii that are tried where the incumbent's cannot be decided."""
_GROWTHS = 6
"""Radii, each sixteen times the last, that are tried where no other label is known on an unbounded
domain, before all of it."""


@dataclass(frozen=True)
class Perturbation(Result):
    """The distance of an input to the nearest one with another label, or what is known of it.

    Attributes
    ----------
    status : Status
        "complete": `exact`, or no other label exists and both ends are infinite. Otherwise why the
        interval is wider: "timeout", "interrupted", "unknown".
    reason : str or None
        Of "unknown", in words.
    norm : str
    label : int
        The label at the input: of the largest output, the first of several.
    target : int or None
        The label asked for.
    lower, upper : float
        Proven ends of the interval that holds the radius, in the norm. It is more than `lower`,
        unless that is 0 or infinite.
    lower_exact, upper_exact : Fraction or None
        What is proven, before rounding; the *squares* in l2. None where infinite.
    witness : tuple of Fraction, or None
        An exact input in ``S``, `upper` away: on the boundary, where two outputs tie.
    adversarial : tuple of float, or None
        A float32 input in the domain whose label is strictly different (strictly the target), in
        exact arithmetic, close to the witness.
    adversarial_norm : float or None
        How far away it is, rounded up.
    adversarial_label : int or None
    proof : bytes, str or None
        The proof of the interval, or the file it was written to.
    nodes : int
        Searched.
    rounds : int
        How often the search was asked.
    seconds : float
    stats : dict
        Seconds of the parts: "attack", "search", "check", "refine".

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])         # the label is the sign
    >>> found = minimal_perturbation(net, [0.75])
    >>> found.upper, found.upper_exact, found.witness, found.exact
    (0.75, Fraction(3, 4), (Fraction(0, 1),), True)
    >>> found.adversarial_label, found.adversarial_norm < 0.7501
    (1, True)
    """

    status: Status
    reason: str | None
    norm: str
    label: int
    target: int | None
    lower: float
    upper: float
    lower_exact: Fraction | None
    upper_exact: Fraction | None
    witness: Point | None = None
    adversarial: Floats | None = None
    adversarial_norm: float | None = None
    adversarial_label: int | None = None
    proof: bytes | str | None = field(default=None, repr=False)
    nodes: int = 0
    rounds: int = 0
    seconds: float = 0.0
    stats: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def exact(self) -> bool:
        """Whether the ends meet: no double lies strictly between them."""
        return self.upper <= math.nextafter(self.lower, math.inf)


def minimal_perturbation(
    net: Network | Any,
    x: Any,
    norm: str = "linf",
    domain: Box | None = None,
    target: int | None = None,
    timeout: float | None = None,
    label: int | None = None,
    *,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> Perturbation:
    """The distance from an input to the nearest one with another label, with both ends proven.

    Parameters
    ----------
    net : Network, or what `load` reads
        Its label is that of the largest output, of equal ones the first.
    x : (n,) vector of numbers
        Floats are the dyadic rationals they are.
    norm : "linf", "l1" or "l2"
    domain : Box, optional
        Where the other input may lie, such as ``Box(0, 1, n)``; default anywhere.
    target : int, optional
        Only inputs with this label count; by default any other one does.
    timeout : float, optional
        Seconds after which the interval proven so far is returned.
    label : int, optional
        The label that is to be left; default that of ``x``. Where it is another one the radius is
        0, if ``x`` is in the domain.
    threads : int
        Of the search.
    proof : True, path, optional
        Keep a proof of the interval in `Perturbation.proof`, or write it to a file.
    progress : callable, optional
        Called about ten times a second with the number of nodes searched in this round.

    Returns
    -------
    Perturbation
        At a tie of the largest outputs the radius is 0; where no input of the domain has another
        label it is infinite.

    Raises
    ------
    InputError
        On another norm, a label out of range, sizes that do not fit, or numbers that are none.

    >>> net = Network.from_arrays([[[1.0, 2.0], [0.0, 0.0]]], [[1.0, 0.0]])
    >>> [minimal_perturbation(net, [1, 1], norm).upper_exact for norm in ("linf", "l1", "l2")]
    [Fraction(4, 3), Fraction(2, 1), Fraction(16, 5)]
    >>> minimal_perturbation(net, [1, 1], domain=Box(0, 1, 2)).upper
    inf
    """
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    check_limits(threads, timeout)
    [aim] = aims(network, x, label, norm, target, domain)
    search = _Search(aim, start, timeout, threads, bool(proof), progress)
    return search.result(search.run(), proof)


class _Search:
    """The interval that is known, and what is done to narrow it."""

    def __init__(
        self,
        aim: Aim,
        start: float,
        timeout: float | None,
        threads: int,
        keep: bool,
        progress: Progress | None,
    ) -> None:
        self.aim, self.threads, self.progress = aim, threads, progress
        self.keep = keep  # proofs
        self.start, self.timeout = start, timeout
        self.square = aim.norm == "l2"  # then the ends are squares
        self.lower: Bound = Fraction(0)
        self.upper: Bound = math.inf
        self.witness: Point | None = None
        self.body = b""  # of the proof of `lower`
        self.closed = False  # whether the radius is proven to be more than `lower`
        self.file: bytes | None = None  # the last proof
        self.stated: Any = None  # and the interval that it states
        self.reason: str | None = None
        self.nodes = self.rounds = 0
        self.seconds = dict.fromkeys(("attack", "search", "check", "refine"), 0.0)

    def run(self) -> Status:
        """Narrow the interval; how that ended."""
        try:
            self._timed("attack", self._descend)
            if self.witness is None and not self._look_everywhere():
                return Status.COMPLETE if self._met() else self._ended()
            return self._close()
        except KeyboardInterrupt:
            return Status.INTERRUPTED

    def result(self, status: Status, proof: Any) -> Perturbation:
        """The answer, with the ends rounded outwards."""
        aim = self.aim
        data = None
        if proof:
            stated = (self.lower, self.closed, self.upper)
            data = self.file if stated == self.stated else None
            data = data or proof_files.encode(self._header(self.lower, self.closed), self.body)
        near = None if self.witness is None else strict_point(aim, self.witness)
        far = None if near is None else self._double(aim.distance(near.point), up=True)
        ends = [v if isinstance(v, Fraction) else None for v in (self.lower, self.upper)]
        if self._met():
            status = Status.COMPLETE
        return Perturbation(
            status=status,
            reason=self.reason if status is Status.UNKNOWN else None,
            norm=aim.norm,
            label=aim.label,
            target=aim.target,
            lower=self._double(self.lower),
            upper=self._double(self.upper, up=True),
            lower_exact=ends[0],
            upper_exact=ends[1],
            witness=self.witness,
            adversarial=None if near is None else near.point,
            adversarial_norm=far,
            adversarial_label=None if near is None else near.label,
            proof=keep_proof(data, proof),
            nodes=self.nodes,
            rounds=self.rounds,
            seconds=time.perf_counter() - self.start,
            stats=dict(self.seconds),
        )

    def _double(self, end: Bound, up: bool = False) -> float:
        """The distance that an end stands for, rounded."""
        return enclose(end, root=self.square)[up] if isinstance(end, Fraction) else end

    def _end(self, distance: float) -> Fraction:
        """The end that stands for a distance."""
        return Fraction(distance) ** (2 if self.square else 1)

    # ------------------------------------------------------------------------ the incumbent

    def _take(self, point: Point) -> bool:
        """Whether a point of ``S`` is closer than what is known; then it is the incumbent."""
        distance = self.aim.distance(point)
        if distance >= self.upper:
            return False
        self.upper, self.witness = distance, point
        return True

    def _descend(self, start: Point | None = None, restarts: int | None = None) -> None:
        """Walk to a local minimum of the distance, from a point of ``S`` or by an attack."""
        starts = None if start is None else np.array([[rounded(v) for v in start]])
        [found] = walk([self.aim], starts=starts, restarts=restarts, timeout=self._left())
        if found is not None:
            self._take(found.point)

    # ----------------------------------------------------------------------------- the search

    def _ask(self, radius: Bound, seconds: float | None, attack: bool = True) -> Status:
        """Whether ``S`` has no input as close as a radius; notes what that says of the ends.

        The radius is given as the ends are: by its square in l2. Attacks in the search take time
        where the incumbent is the closest input.
        """
        answer = decide(
            self.aim.net,
            question(self.aim, radius, closed=True),
            want_proof=self.keep,
            threads=self.threads,
            timeout=seconds,
            progress=self.progress,
            attack=attack or self.witness is None,
            claim=(self.aim.net, self._header(radius, closed=True)) if self.keep else None,
        )
        self.rounds += 1
        self.nodes += answer["nodes"]
        for name in ("search", "check"):
            self.seconds[name] += answer["stats"].get(f"{name}_seconds", 0.0)
        status = Status(answer["status"])
        self.reason = answer.get("reason", self.reason)
        if status is Status.UNSAT:
            self.lower, self.closed = radius, True
            if self.keep:
                self.body, self.file = bytes(answer["proof"]), bytes(answer["file"])
                self.stated = (radius, True, self.upper)
        elif status is Status.SAT:
            numerators, den = answer["witness"]
            point = tuple(Fraction(v, den) for v in numerators)
            if self.aim.reached(point) is None or not self._take(point):
                raise RuntimeError("the search returned a point that is not closer")
            self._timed("refine", self._descend, point)
        return status

    def _header(self, lower: Bound, closed: bool) -> dict[str, Any]:
        return header(self.aim, lower, self.upper, self.witness, closed=closed)

    def _close(self) -> Status:
        """Ask about the incumbent until nothing is closer; else raise the lower end.

        Where walks do not shorten what the search finds (an input outside the domain, say), the
        radius in the middle is asked about next.
        """
        slow = walked = False
        while not self._met():
            left, before = self._left(), self._double(self.upper, up=True)
            radius = self._below()
            if slow:
                middle = self._end((self._double(self.lower) + before) / 2)
                radius = middle if self.lower < middle < self.upper else radius
            limit = math.inf if left is None else _SHARE * left
            quick = not walked and limit > _QUICK
            limit = _QUICK if quick else limit
            status = self._ask(radius, None if math.isinf(limit) else limit, attack=walked)
            if status is Status.INTERRUPTED:
                return status
            if not walked and (quick or status is Status.SAT) and status is not Status.UNSAT:
                walked = True
                self._timed("attack", self._descend, None, _MORE_WALKS)
                continue
            if status not in (Status.SAT, Status.UNSAT):
                self._raise_lower()
                return self._ended()
            slow = status is Status.SAT and self._double(self.upper, up=True) > _SLOW * before
        return Status.COMPLETE

    def _raise_lower(self) -> None:
        """Bisect for a radius that can be decided."""
        high = self.upper
        for _ in range(_HALVINGS):
            left = self._left()
            low, top = self._double(self.lower), self._double(high)
            middle = self._end((low + top) / 2)
            if left == 0 or not self.lower < middle < high:
                return
            status = self._ask(middle, None if left is None else left / 3)
            if status is Status.INTERRUPTED:
                return
            high = self.upper if status in (Status.SAT, Status.UNSAT) else middle

    def _look_everywhere(self) -> bool:
        """Whether there is an input of ``S`` where none is known; else the interval is final."""
        if self.aim.domain.bounded:
            return self._ask(math.inf, self._left()) is Status.SAT
        radius = 1.0
        for _ in range(_GROWTHS):
            left = self._left()
            status = self._ask(self._end(radius), None if left is None else left / 4)
            if status is Status.SAT or left == 0:
                return status is Status.SAT
            if status is not Status.UNSAT:
                break
            radius *= 16
        return self._ask(math.inf, self._left()) is Status.SAT

    def _below(self) -> Fraction:
        """The end that stands for the largest double below the incumbent's distance."""
        near = self._double(self.upper)
        end = self._end(near)
        return end if end < self.upper else self._end(math.nextafter(near, 0.0))

    def _met(self) -> bool:
        """Whether the ends are as close as they get."""
        if self.upper == 0 or self.lower >= self.upper:
            return True
        return self.witness is not None and self.lower >= self._below()

    # --------------------------------------------------------------------------------- time

    def _left(self) -> float | None:
        """Seconds that are left; None without a limit."""
        if self.timeout is None:
            return None
        return max(0.0, self.timeout - (time.perf_counter() - self.start))

    def _ended(self) -> Status:
        return Status.TIMEOUT if self._left() == 0 else Status.UNKNOWN

    def _timed(self, name: str, work: Any, *arguments: Any) -> None:
        begun = time.perf_counter()
        work(*arguments)
        self.seconds[name] += time.perf_counter() - begun
