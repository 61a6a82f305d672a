"""Exact maxima and minima over a box, and the largest distance of two networks.

The best value known so far is attained at an exact point: first at the best of many sampled ones,
then at a corner of its activation region, found by an exact linear program, and of the regions
around that corner (in networks too large for that, by gradient ascent). `plverify.question.decide`
is then asked whether any input is strictly better. A better input starts the next climb; the
answer that there is none is the proof. Regions are finitely many and every climb by linear programs
ends on top of one, so this ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

import plverify._core as _core
from plverify import proof as proof_files
from plverify.compose import absolute_sum, difference
from plverify.constraint import Constraint
from plverify.domain import Box, polytope_bytes
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.exact_net import common_denominator, pack_ints
from plverify.local import region_rows
from plverify.network import Network, load
from plverify.nodes import Linear
from plverify.property import Disjunct, Property
from plverify.question import Progress, as_domain, check_limits, decide
from plverify.result import Result, Status, rounded
from plverify.verdict import Point, checked_witness, keep_proof

_SAMPLES = 512
_STARTS = 3
_DIRECTIONS = 24
"""Around a corner so many directions are followed into other regions."""
_STEPS = 40
"""Of gradient ascent, where regions are too large for exact linear programs."""
_MOST_INPUTS = 64
_MOST_PRODUCTS = 50_000_000
"""Of one region's exact rows, beyond which they take too long."""

Terms = tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True)
class Extremum(Result):
    """A maximum, a minimum, or what is known of it.

    Attributes
    ----------
    status : Status
        "complete": `value` is the exact optimum. "timeout", "interrupted", "unknown": it is the
        best value found so far.
    sense : str
        "maximum" or "minimum".
    value : Fraction or None
        None only if the run ended before any point was looked at.
    witness, outputs : tuple of Fraction, or None
        An exact input of that value, and the outputs there (of `sup_distance` those of the
        difference).
    proof : bytes, str or None
        Where complete, the proof that there is no better input, or the file it was written to.
    nodes : int
        Searched.
    rounds : int
        How often the search was asked for a better input.
    seconds : float

    >>> from plverify.domain import Box
    >>> tent = Network.from_arrays([[[3], [3]], [[1, -2]]], [[0, -1], ["1/7"]])
    >>> top = maximize(tent, 0, Box(0, 1, 1))
    >>> top.value, top.witness, top.exact
    (Fraction(8, 7), (Fraction(1, 3),), True)
    """

    status: Status
    sense: str
    value: Fraction | None = None
    witness: Point | None = None
    outputs: Point | None = None
    proof: bytes | str | None = field(default=None, repr=False)
    nodes: int = 0
    rounds: int = 0
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether `value` is proven to be the optimum."""
        return self.status is Status.COMPLETE

    @property
    def lower(self) -> Fraction | None:
        """A proven lower bound of the optimum, None if there is none."""
        return self.value if self.exact or self.sense == "maximum" else None

    @property
    def upper(self) -> Fraction | None:
        """A proven upper bound of the optimum, None if there is none."""
        return self.value if self.exact or self.sense == "minimum" else None


def maximize(
    net: Network | Any,
    c: Any,
    box: Box,
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> Extremum:
    """The exact maximum of an output, or an affine function of outputs and inputs, over a box.

    Parameters
    ----------
    net : Network, or what `load` reads
    c : int, vector, or pair of vectors
        The number of an output; coefficients of the outputs; or ``(coefficients of the inputs,
        coefficients of the outputs)``. For a hidden unit take `layer_network`.
    box : Box
        Bounded; sides may be points.
    timeout : float, optional
        Seconds after which the best value so far is returned.
    threads : int
    proof : True, path, optional
        Keep a proof in `Extremum.proof`, or write it to a file, where the status is "complete".
    progress : callable, optional
        Called about ten times a second with the number of nodes searched in this round.

    Raises
    ------
    InputError
        On an unbounded box, sizes that do not fit, or an objective without outputs.
    """
    return _extremum(net, c, box, 1, timeout, threads, proof, progress)


def minimize(
    net: Network | Any,
    c: Any,
    box: Box,
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> Extremum:
    """The exact minimum; see `maximize`. Its proof is about the maximum of the negated function.

    >>> from plverify.domain import Box
    >>> minimize(Network.from_arrays([[[1, 2]]]), [3], Box(-1, 1, 2)).value
    Fraction(-9, 1)
    """
    return _extremum(net, c, box, -1, timeout, threads, proof, progress)


def sup_distance(
    f: Network | Any,
    g: Network | Any,
    box: Box,
    norm: str = "linf",
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> Extremum:
    """The exact largest distance of the outputs of two networks over a box.

    Parameters
    ----------
    f, g : Network, or what `load` reads
        With the same inputs and outputs.
    box, timeout, threads, progress
        As in `maximize`.
    norm : "linf" or "l1"
        Of ``f(x) - g(x)``.
    proof : True, path, optional
        As in `maximize`. The proof names both networks: ``check(proof, f, other=g)``.

    Raises
    ------
    InputError
        As `maximize`, and on another norm.

    >>> from plverify.domain import Box
    >>> f, g = (Network.from_arrays([[[1], [1]], w]) for w in ([[1, 1]], [["1", "1.25"]]))
    >>> sup_distance(f, g, Box(-1, 2, 1)).value
    Fraction(1, 2)
    """
    start = time.perf_counter()
    if norm not in ("linf", "l1"):
        raise InputError(f"norm is {norm!r:.30}, expected 'linf' or 'l1'")
    one, two = load(f), load(g)
    joint = difference(one, two)
    signs = [Fraction(1), Fraction(-1)]
    if norm == "l1":
        joint, signs = absolute_sum(joint), signs[:1]
    goals = [Objective((), ((j, s),)) for j in range(joint.output_size) for s in signs]
    climb = _Climb(joint, box, goals, timeout, threads, bool(proof), progress)
    status, body = climb.run()
    data = None
    if body is not None:
        assert climb.value is not None
        assert climb.witness is not None
        header = proof_files.sup_distance_header(one, two, norm, box, climb.value, climb.witness)
        data = proof_files.encode(header, body)
    return climb.result(status, "maximum", 1, keep_proof(data, proof), start)


# ------------------------------------------------------------------------------ objectives


@dataclass(frozen=True)
class Objective:
    """The function ``sum a_i x_i + sum c_j y_j``, as ``(index, coefficient)`` without zeros."""

    inputs: Terms
    outputs: Terms

    @staticmethod
    def of(net: Network, c: Any, sign: int = 1) -> Objective:
        """The objective that `maximize` takes, times ``sign``."""
        n, m = net.input_size, net.output_size
        if isinstance(c, (int, np.integer)) and not isinstance(c, bool):
            if not 0 <= c < m:
                raise InputError(f"output is {c}, the network has {m}, numbered from 0")
            return Objective((), ((int(c), Fraction(sign)),))
        parts = (None, c)
        if isinstance(c, (list, tuple)) and len(c) == 2 and np.ndim(c[1]) == 1:
            parts = (c[0], c[1])
        terms: list[Terms] = []
        for name, values, size in (("inputs", parts[0], n), ("outputs", parts[1], m)):
            if values is None:
                terms.append(())
                continue
            vector = ExactArray(values, f"the objective's {name}")
            if vector.shape != (size,):
                raise InputError(f"{vector.name} have shape {vector.shape}, expected ({size},)")
            terms.append(tuple((k, sign * v) for k, v in enumerate(vector.fractions()) if v))
        if not terms[1]:
            raise InputError("the objective involves no output")
        return Objective(terms[0], terms[1])

    def value(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """The value at a point."""
        parts = [a * x[i] for i, a in self.inputs] + [c * y[j] for j, c in self.outputs]
        return sum(parts, Fraction(0))

    def floats(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """The values at rows of points, in float64."""
        total = np.zeros(len(x))
        for table, terms in ((x, self.inputs), (y, self.outputs)):
            for k, v in terms:
                total = total + rounded(v) * table[:, k]
        return total

    def row(self, rows: Sequence[Sequence[int]], den: int) -> tuple[list[int], int]:
        """Integers ``(a, c)`` and a denominator, where the outputs are ``rows . (x, 1) / den``."""
        scale = lcm(*(v.denominator for _, v in (*self.inputs, *self.outputs)))
        total = [0] * len(rows[0])
        for j, v in self.outputs:
            factor = int(v * scale)
            total = [t + factor * a for t, a in zip(total, rows[j], strict=True)]
        for i, v in self.inputs:
            total[i] += int(v * scale) * den
        return total, den * scale

    def exceeds(self, value: Fraction) -> Constraint:
        """The constraint that the objective is above ``value``."""
        negative = [{k: -v for k, v in terms} for terms in (self.inputs, self.outputs)]
        row = Constraint.of(negative[0], negative[1], -value, strict=True)
        assert isinstance(row, Constraint)
        return row


def _extremum(
    net: Network | Any,
    c: Any,
    box: Box,
    sign: int,
    timeout: float | None,
    threads: int,
    proof: Any,
    progress: Progress | None,
) -> Extremum:
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    goal = Objective.of(network, c, sign)
    climb = _Climb(network, box, [goal], timeout, threads, bool(proof), progress)
    status, body = climb.run()
    data = None
    if body is not None:
        assert climb.value is not None
        assert climb.witness is not None
        header = proof_files.maximum_header(
            network, box, (goal.inputs, goal.outputs), climb.value, climb.witness
        )
        data = proof_files.encode(header, body)
    sense = "maximum" if sign > 0 else "minimum"
    return climb.result(status, sense, sign, keep_proof(data, proof), start)


class _Climb:
    """The search for the largest value of several objectives over a box."""

    def __init__(
        self,
        net: Network,
        box: Box,
        goals: Sequence[Objective],
        timeout: float | None,
        threads: int,
        want_proof: bool,
        progress: Progress | None,
    ) -> None:
        check_limits(threads, timeout)
        as_domain(box, net)
        if not isinstance(box, Box) or not box.bounded:
            raise InputError(f"the domain is {box.describe()}, expected a bounded Box")
        self.net, self.box, self.goals = net, box, goals
        self.lo = [v for v in box.lo if isinstance(v, Fraction)]
        self.hi = [v for v in box.hi if isinstance(v, Fraction)]
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.threads, self.want_proof, self.progress = threads, want_proof, progress
        self.value: Fraction | None = None
        self.witness: Point | None = None
        self.outputs: Point | None = None
        self.nodes = self.rounds = 0
        self.rng = np.random.default_rng(0)
        self.seen: set[tuple[int, tuple[int, ...]]] = set()
        nodes = [node for node in net.nodes if isinstance(node, Linear)]
        products = sum(node.terms * node.size for node in nodes) * (net.input_size + 1)
        small = net.input_size <= _MOST_INPUTS and products <= _MOST_PRODUCTS
        self.improve = self._climb if small else self._ascend

    def run(self) -> tuple[Status, bytes | None]:
        """How it ended, and the body of the proof where wanted."""
        try:
            for start in self._starts():
                self.improve(start)
            while True:
                left = self._left()
                if left is not None and left <= 0:
                    return Status.TIMEOUT, None
                answer = decide(
                    self.net,
                    self.better(),
                    want_proof=self.want_proof,
                    threads=self.threads,
                    timeout=left,
                    progress=self.progress,
                )
                self.nodes += answer["nodes"]
                self.rounds += 1
                status = Status(answer["status"])
                if status is Status.UNSAT:
                    return Status.COMPLETE, answer["proof"] if self.want_proof else None
                if status is not Status.SAT:
                    return status, None
                self.improve(checked_witness(self.net, self.better(), answer)["witness"])
        except KeyboardInterrupt:
            return Status.INTERRUPTED, None

    def result(
        self, status: Status, sense: str, sign: int, proof: bytes | str | None, start: float
    ) -> Extremum:
        """The answer, with the sign of the value turned back."""
        return Extremum(
            status=status,
            sense=sense,
            value=None if self.value is None else sign * self.value,
            witness=self.witness,
            outputs=self.outputs,
            proof=proof,
            nodes=self.nodes,
            rounds=self.rounds,
            seconds=time.perf_counter() - start,
        )

    def better(self) -> Property:
        """The property that is violated where some objective exceeds the best value known."""
        assert self.value is not None
        cases = tuple(Disjunct(self.box, (goal.exceeds(self.value),)) for goal in self.goals)
        return Property(self.net.input_size, self.net.output_size, cases)

    def _left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    # ------------------------------------------------------------------- climbing

    def _starts(self) -> Iterator[Point]:
        """Points of the box to start from, the best of a sample."""
        lo, hi = self._float_sides()
        shape = (_SAMPLES, self.net.input_size)
        inner = lo + (hi - lo) * self.rng.random(shape)
        corners = np.where(self.rng.random(shape) < 0.5, lo, hi)
        points = np.concatenate([(lo + (hi - lo) / 2)[None], corners, inner])
        y = self.net(points)
        with np.errstate(all="ignore"):
            values = np.max([goal.floats(points, y) for goal in self.goals], axis=0)
        order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
        for k in order[:_STARTS]:
            yield self._inside(points[k])

    def _float_sides(self) -> tuple[FloatArray, FloatArray]:
        lo, hi = (np.array([rounded(v) for v in side]) for side in (self.lo, self.hi))
        return lo, hi

    def _inside(self, point: FloatArray) -> Point:
        """The exact point, moved into the box where rounding has led out of it."""
        sides = zip(point.tolist(), self.lo, self.hi, strict=True)
        return tuple(min(max(Fraction(v), a), b) for v, a, b in sides)

    def _best_goal(self, x: Point) -> int:
        outputs = self.net.exact(x)
        return max(range(len(self.goals)), key=lambda k: self.goals[k].value(x, outputs))

    def _ascend(self, start: Point) -> None:
        """Projected gradient ascent in float64; the best point is then taken exactly."""
        self._take(start)
        goal = self.goals[self._best_goal(start)]
        inputs, outputs = np.zeros(self.net.input_size), np.zeros(self.net.output_size)
        for table, terms in ((inputs, goal.inputs), (outputs, goal.outputs)):
            for k, v in terms:
                table[k] = rounded(v)
        lo, hi = self._float_sides()
        x = np.array([rounded(v) for v in start])
        tried = [x]
        try:
            for step in np.geomspace(0.25, 2.0**-20, _STEPS):
                left = self._left()
                if left is not None and left <= 0:
                    break
                slope = inputs + self.net.vjp(x, outputs)
                x = np.clip(x + step * (hi - lo) * np.sign(slope), lo, hi)
                tried.append(x)
        except InputError:  # too large to be sure of a region
            pass
        points = np.array(tried)
        values = goal.floats(points, self.net(points))
        self._take(self._inside(points[int(np.nanargmax(values))]))

    def _take(self, x: Point) -> int | None:
        """Remember a point if it is the best so far; the objective that is best there."""
        outputs = tuple(self.net.exact(x))
        values = [goal.value(x, outputs) for goal in self.goals]
        best = max(range(len(values)), key=values.__getitem__)
        if self.value is not None and values[best] <= self.value:
            return None
        self.value, self.witness, self.outputs = values[best], x, outputs
        return best

    def _climb(self, start: Point) -> None:
        """From region to region upwards, until no region around a corner has a better one."""
        self._take(start)
        number = self._best_goal(start)
        waiting = [self.net.exact_net.pattern_at(start).bits]
        while waiting:
            pieces = waiting.pop(0)
            if (number, pieces) in self.seen:
                continue
            left = self._left()
            if left is not None and left <= 0 and self.value is not None:
                return
            self.seen.add((number, pieces))
            top = self._top(number, pieces)
            if top is None or self._take(top) is None:
                continue
            waiting = [self.net.exact_net.pattern_at(top).bits, *self._around(top)]

    def _top(self, number: int, pieces: tuple[int, ...]) -> Point | None:
        """Where the objective is largest on the part of a region in the box, if it has any."""
        pattern = np.array(pieces, self.net.pattern_type)
        rows, _ = region_rows(self.net, self.box, pattern)
        row, _ = self.goals[number].row(*self.net.exact_net.affine_map(pieces))
        objective = pack_ints(row[:-1]) + pack_ints(row[-1:])
        found = _core.exact_maximum(polytope_bytes(rows, self.box.dim), objective)
        if found is None:
            return None
        point, den = found
        return tuple(Fraction(v, den) for v in point)

    def _around(self, x: Point) -> list[tuple[int, ...]]:
        """Patterns of regions of the box that meet at a point."""
        point, den = common_denominator(x)
        found: dict[tuple[int, ...], None] = {}
        for _ in range(_DIRECTIONS):
            step = self.rng.integers(-1000, 1001, len(x)).tolist()
            for i, (v, a, b) in enumerate(zip(x, self.lo, self.hi, strict=True)):
                if v in (a, b):  # stay in the box
                    step[i] = 0 if a == b else abs(step[i]) if v == a else -abs(step[i])
            found[self.net.exact_net.pattern_of_germ([point, step], den)] = None
        return list(found)
