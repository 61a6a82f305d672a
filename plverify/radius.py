"""`minimal_perturbation`: how far an input is from the nearest one with another label, proven.

The radius is the distance from ``x`` to the closed set ``S`` of inputs where some other output is
at least the label's (targeted: where the target's is at least all others). An incumbent, the
closest input of ``S`` known, comes from local search. `plverify.question.decide` is then asked
whether any input of ``S`` is closer: that none is, is the proof; one that is, is moved to the
closest input of ``S`` in its own activation region (`plverify.vertex`) and is the next incumbent.
Regions are finitely many and every incumbent is the best of one, so this ends.

The question is put for the largest double below the incumbent's distance, so that the two ends of
the answer are neighbours and the search never has to tell a distance from itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from plverify import proof as proof_files
from plverify.ball import Aim, Point
from plverify.certificate import evaluate
from plverify.vertex import exact_vertex, float_sides, nearest_in_region
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import FloatArray
from plverify.float32 import float_sides as sides_of_type
from plverify.network import Network, load
from plverify.question import Progress, as_domain, check_limits, decide
from plverify.result import Result, Status, enclose, rounded
from plverify.verdict import Floats, keep_proof

_SHARE = 0.6
"""Of the time allowed, what the question about the incumbent may take; the rest is for less."""
_HALVINGS = 8
"""Smaller radii that are tried where the incumbent's cannot be decided."""
_STEPS = 60
_REGIONS = 40
_DIRECTIONS = 24
_DOUBLINGS = 40
"""Radii that are tried where no other label is known, on an unbounded domain."""


@dataclass(frozen=True)
class Perturbation(Result):
    """The distance of an input to the nearest one with another label, or what is known of it.

    Attributes
    ----------
    status : Status
        "complete": `exact`, or no other label exists and both ends are infinite. Otherwise why the
        interval is wider: "timeout", "interrupted", "unknown".
    norm : str
    label : int
        The label at the input: of the largest output, the first of several.
    target : int or None
        The label asked for.
    lower, upper : float
        Proven ends of the interval that holds the radius, in the norm.
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
    norm : "linf" or "l1"
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
    >>> [minimal_perturbation(net, [1, 1], norm).upper_exact for norm in ("linf", "l1")]
    [Fraction(4, 3), Fraction(2, 1)]
    >>> minimal_perturbation(net, [1, 1], domain=Box(0, 1, 2)).upper
    inf
    """
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    check_limits(threads, timeout)
    if domain is not None and not isinstance(domain, Box):
        raise InputError(f"domain is a {type(domain).__name__}, expected a Box")
    if domain is not None:
        as_domain(domain, network)
    if network.output_size < 2:
        raise InputError("the network has one output: labels need at least 2")
    for name, value in (("target", target), ("label", label)):
        if value is not None and not (
            isinstance(value, (int, np.integer))
            and not isinstance(value, bool)
            and 0 <= value < network.output_size
        ):
            raise InputError(f"{name} is {value!r:.30}, the network has {network.output_size}")
    first = Aim.of(network, x, 0, norm, domain=domain)
    outputs = evaluate(network, first.x)
    own = outputs.index(max(outputs)) if label is None else int(label)
    if target is None:
        aim = Aim.of(network, x, own, norm, domain=domain)
    else:
        aim = Aim.of(network, x, int(target), norm, targeted=True, domain=domain)
    search = _Search(aim, start, timeout, threads, progress)
    status = search.run()
    return search.result(status, own, target, proof, start)


class _Search:
    """The interval that is known, and what is done to narrow it."""

    def __init__(
        self,
        aim: Aim,
        start: float,
        timeout: float | None,
        threads: int,
        progress: Progress | None,
    ) -> None:
        self.aim, self.threads, self.progress = aim, threads, progress
        self.start, self.timeout = start, timeout
        self.lower: Bound = Fraction(0)
        self.upper: Bound = math.inf
        self.witness: Point | None = None
        self.body: bytes | None = b""  # of the proof of `lower`
        self.nodes = self.rounds = 0
        self.seconds = dict.fromkeys(("attack", "search", "check", "refine"), 0.0)

    def run(self) -> Status:
        """Narrow the interval; how that ended."""
        try:
            self._take(self.aim.x)
            if self.witness is None:
                self._timed("attack", self._attack)
            if self.witness is None and not self._look_everywhere():
                return self._ended()
            return self._close()
        except KeyboardInterrupt:
            return Status.INTERRUPTED

    def result(
        self, status: Status, label: int, target: int | None, proof: Any, start: float
    ) -> Perturbation:
        """The answer, with the ends rounded outwards."""
        if self._met():
            status = Status.COMPLETE
        data = None
        if proof and self.body is not None:
            header = self.aim.header(self.lower, self.upper, self.witness)
            data = proof_files.encode(header, self.body)
        near = None if self.witness is None else strict_point(self.aim, self.witness)
        ends = [v if isinstance(v, Fraction) else None for v in (self.lower, self.upper)]
        return Perturbation(
            status=status,
            norm=self.aim.norm,
            label=label,
            target=target,
            lower=math.inf if ends[0] is None else enclose(ends[0])[0],
            upper=math.inf if ends[1] is None else enclose(ends[1])[1],
            lower_exact=ends[0],
            upper_exact=ends[1],
            witness=self.witness,
            adversarial=None if near is None else near[0],
            adversarial_norm=None if near is None else near[1],
            adversarial_label=None if near is None else near[2],
            proof=keep_proof(data, proof),
            nodes=self.nodes,
            rounds=self.rounds,
            seconds=time.perf_counter() - start,
            stats=dict(self.seconds),
        )

    # ------------------------------------------------------------------------ the incumbent

    def _take(self, point: Point | None) -> bool:
        """Whether a point is in ``S`` and closer than what is known; then it is the incumbent."""
        if point is None:
            return False
        distance = self.aim.distance(point)
        if distance >= self.upper or not self.aim.holds(point):
            return False
        self.upper, self.witness = distance, point
        return True

    def _attack(self) -> None:
        for point in _approaches(self.aim):
            self._descend(point)

    def _descend(self, point: FloatArray) -> None:
        """From region to region while the closest input of ``S`` gets closer."""
        seen: set[bytes] = set()
        waiting = list(_around(self.aim, point))
        for _ in range(_REGIONS):
            if not waiting or self._left() == 0:
                return
            pieces = waiting.pop(0)
            if pieces.tobytes() in seen:
                continue
            seen.add(pieces.tobytes())
            found = nearest_in_region(self.aim, pieces)
            if found is None:
                continue
            if self._take(exact_vertex(self.aim, found)):
                waiting = list(_around(self.aim, found))

    # ----------------------------------------------------------------------------- the search

    def _ask(self, radius: Bound, seconds: float | None) -> Status:
        """Whether ``S`` has no input as close as a radius; notes what that says of the ends."""
        joined, spec = self.aim.question(radius, closed=True)
        answer = decide(
            joined,
            spec,
            want_proof=True,
            threads=self.threads,
            timeout=seconds,
            progress=self.progress,
            attack=self.witness is None,
            claim=(self.aim.net, self.aim.header(radius, self.upper, self.witness)),
        )
        self.rounds += 1
        self.nodes += answer["nodes"]
        for name in ("search", "check"):
            self.seconds[name] += answer["stats"].get(f"{name}_seconds", 0.0)
        status = Status(answer["status"])
        if status is Status.UNSAT:
            self.lower, self.body = radius, bytes(answer["proof"])
        elif status is Status.SAT:
            numerators, den = answer["witness"]
            point = tuple(Fraction(v, den) for v in numerators)
            if not self._take(point):
                raise RuntimeError("the search returned a point that is not closer")
            self._timed("refine", self._descend, np.array([rounded(v) for v in point]))
        return status

    def _close(self) -> Status:
        """Ask about the incumbent until nothing is closer; else raise the lower end."""
        while not self._met():
            left = self._left()
            status = self._ask(self._below(), None if left is None else _SHARE * left)
            if status is Status.INTERRUPTED:
                return status
            if status not in (Status.SAT, Status.UNSAT):
                self._raise_lower()
                return self._ended()
        return Status.COMPLETE

    def _raise_lower(self) -> None:
        """Bisect for a radius that can be decided."""
        high = self.upper
        for _ in range(_HALVINGS):
            left = self._left()
            assert isinstance(self.lower, Fraction)
            assert isinstance(high, Fraction)
            middle = Fraction(rounded((self.lower + high) / 2))
            if left == 0 or not self.lower < middle < high:
                return
            status = self._ask(middle, None if left is None else left / 3)
            if status is Status.INTERRUPTED:
                return
            high = self.upper if status in (Status.SAT, Status.UNSAT) else middle

    def _look_everywhere(self) -> bool:
        """Where no input of ``S`` is known: find one; or the interval is as good as it gets."""
        if self.aim.domain.bounded:
            return self._ask(math.inf, self._left()) is Status.SAT
        radius = Fraction(1)
        for _ in range(_DOUBLINGS):
            left = self._left()
            status = self._ask(radius, None if left is None else left / 2)
            if status is not Status.UNSAT:
                return status is Status.SAT
            radius *= 4
        return False

    def _below(self) -> Fraction:
        """The largest double below the upper end."""
        assert isinstance(self.upper, Fraction)
        return Fraction(enclose(self.upper)[0] if enclose(self.upper)[0] < self.upper
                        else math.nextafter(enclose(self.upper)[0], 0.0))  # fmt: skip

    def _met(self) -> bool:
        return self.upper == 0 or self.lower >= self.upper or (
            isinstance(self.upper, Fraction) and self.lower >= self._below()
        )  # fmt: skip

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


# ------------------------------------------------------------------------ first points of `S`


def _approaches(aim: Aim) -> Iterator[FloatArray]:
    """Points near the boundary of ``S``, by linearised steps (DeepFool) and then bisection."""
    net, (x, lo, hi) = aim.net, float_sides(aim)
    start = np.clip(x, lo, hi)
    point = start
    for _ in range(_STEPS):
        if _reached(aim, point):
            inside, outside = point, start
            for _ in range(_STEPS):
                middle = (inside + outside) / 2
                if _reached(aim, middle):
                    inside = middle
                else:
                    outside = middle
            yield inside
            return
        J, c = net._float_map(net.pattern(point), None)
        step = _cheapest_step(aim, J, J @ point + c, lo, hi, point)
        if step is None:
            return
        point = np.clip(point + 1.02 * step, lo, hi)


def _reached(aim: Aim, point: FloatArray) -> bool:
    y = aim.net(point)
    others = max(y[j] for j in aim.others)
    return bool(y[aim.label] >= others) if aim.targeted else bool(others >= y[aim.label])


def _cheapest_step(
    aim: Aim, J: FloatArray, y: FloatArray, lo: FloatArray, hi: FloatArray, point: FloatArray
) -> FloatArray | None:
    """The shortest step of all that close the gap between two outputs, were they affine."""
    best: tuple[float, FloatArray] | None = None
    for j in aim.others:
        sign = -1 if aim.targeted else 1
        gradient, gap = sign * (J[j] - J[aim.label]), sign * (y[aim.label] - y[j])
        free = np.where(gradient > 0, point < hi, point > lo) & (gradient != 0)
        if not free.any():
            continue
        gradient = np.where(free, gradient, 0.0)
        if aim.norm == "l1":
            k = int(np.abs(gradient).argmax())
            step = np.zeros_like(point)
            step[k] = gap / gradient[k]
        else:
            step = gap / np.abs(gradient).sum() * np.sign(gradient)
        size = float(np.abs(step).sum() if aim.norm == "l1" else np.abs(step).max())
        worse = best is not None and (size > best[0]) != aim.targeted
        if not worse:
            best = size, step
    return None if best is None else best[1]


def _around(aim: Aim, point: FloatArray) -> Iterator[Any]:
    """Patterns of regions that a point lies in or next to."""
    x, lo, hi = float_sides(aim)
    size = max(float(np.abs(point - x).max()), 1e-12)
    draws = np.random.default_rng(0).standard_normal((_DIRECTIONS, len(x)))
    points = np.clip(np.concatenate([point[None], point + 1e-7 * size * draws]), lo, hi)
    found = {pieces.tobytes(): pieces for pieces in aim.net.pattern(points)}
    yield from found.values()


def strict_point(aim: Aim, witness: Point) -> tuple[Floats, float, int] | None:
    """A float32 input near a witness whose label is strictly another, how far it is, its label."""
    sides = sides_of_type(aim.domain, np.float32)
    if sides is None:
        return None
    net, x = aim.net, float_sides(aim)[0]
    start = np.array([rounded(v) for v in witness])
    J, _ = net._float_map(net.pattern(start), None)
    y = net(start)
    j = max(aim.others, key=lambda k: y[k])
    gradient = (J[aim.label] - J[j]) if aim.targeted else (J[j] - J[aim.label])
    size = max(float(np.abs(start - x).max()), 1e-6)
    ways = np.stack([np.sign(gradient), gradient / max(float(np.abs(gradient).max()), 1e-300)])
    steps = size * np.concatenate([[0.0], 2.0 ** np.arange(-30, 1)])
    points = (start + steps[:, None, None] * ways).reshape(-1, len(x)).astype(np.float32)
    points = np.clip(points, *sides)
    values = net(points.astype(np.float64))
    others = values[:, aim.others].max(axis=1)
    margins = (values[:, aim.label] - others) * (1 if aim.targeted else -1)
    for k in np.flatnonzero(margins > 0).tolist():
        exact = tuple(Fraction(float(v)) for v in points[k])
        outputs = evaluate(net, exact)
        best = outputs.index(max(outputs))
        tops = outputs.count(max(outputs))
        if (best == aim.label) == aim.targeted and tops == 1 and aim.domain.contains(exact):
            distance = enclose(aim.distance(exact))[1]
            return tuple(float(v) for v in points[k]), distance, best
    return None
