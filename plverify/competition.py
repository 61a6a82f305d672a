"""One instance of the verification competition, answered by its replay rules.

The competition (VNN-COMP 2025 and 2026) believes a ``sat`` if onnxruntime, run on the CPU with its
default options on the witness's inputs, gives outputs that violate the property. A witness inside
the box counts in full ("establishes sat"); one at most `SLACK` outside brings credit, and one that
does not replay costs more than no answer. So this prints by replay, not by theorem:

* ``sat`` where a point of the model's element type inside the box violates as executed, also where
  no real point does;
* else, where the property is violated over the reals, ``sat`` with the nearest point outside the
  box that violates as executed (``X = 0.1`` has no float32 number inside), and a note;
* else ``unknown``; ``unsat`` is a theorem, as always.

Points are taken as far inside the violations as they can be, because another machine rounds in
another way.

Source: the scoring scripts of github.com/VNN-COMP/vnncomp2026_results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from plverify.float32 import FloatPoint, Goal, float_sides, runtime_of, violation
from plverify.io.vnnlib import Query
from plverify.network import Network
from plverify.property import Property
from plverify.result import Status, rounded
from plverify.verdict import verify

SLACK = 1e-4
"""How far outside the box a witness may lie to be credited."""
REPLAY_SECONDS = 10.0
"""Kept for the search of a point that replays, or a tenth of the time limit."""
ROUNDS = 40
"""Steps of that search per box."""


@dataclass(frozen=True)
class Entry:
    """What the results file gets.

    Attributes
    ----------
    verdict : str
        "sat", "unsat", "unknown" or "timeout".
    point : FloatPoint, optional
        The witness of a "sat".
    note : str
        Where the verdict is not the theorem's, why.
    """

    verdict: str
    point: FloatPoint | None = None
    note: str = ""


def answer(
    net: Network, spec: Property, *, timeout: float | None = None, threads: int = 1
) -> Entry:
    """Verify, and replay.

    Raises
    ------
    InputError
        If the property does not fit the network, or the network cannot be run.
    MissingExtra
        If onnxruntime is needed and not installed.

    >>> from plverify.domain import Box
    >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])         # |x|
    >>> answer(net, Property.output_at_most(Box(-1, 2, 1), 0, "1.9")).point.point
    (2.0,)
    """
    start = time.monotonic()
    kept = 0.0 if timeout is None else min(REPLAY_SECONDS, timeout / 10)
    limit = None if timeout is None else timeout - kept
    found = verify(net, spec, timeout=limit, threads=threads, float32=False)
    left = REPLAY_SECONDS if timeout is None else timeout - (time.monotonic() - start)
    if found.status is Status.UNSAT:
        point = violation(net, spec, left, optimised=True)
        if point is None:
            return Entry("unsat")
        return Entry("sat", point, "violated as executed, though nothing real violates")
    if found.status is not Status.SAT:
        return Entry("timeout" if found.status is Status.TIMEOUT else "unknown")
    assert found.disjunct is not None
    assert found.witness is not None
    for slack, note in (
        (0.0, ""),
        (SLACK, f"no input inside the box violates as executed: one within {SLACK} of it is given"),
    ):
        deadline = time.monotonic() + left * (0.7 if slack == 0.0 else 0.3)
        point = _replayed(net, spec, found.disjunct, found.witness, slack, deadline)
        if point is not None:
            return Entry("sat", point, note)
    return Entry("unknown", None, "violated over the reals, but by no input as executed")


def _replayed(
    net: Network,
    spec: Property,
    disjunct: int,
    witness: Sequence[Fraction],
    slack: float,
    deadline: float,
) -> FloatPoint | None:
    """A point that violates as executed, next to the witness or in another box."""
    start = np.array([rounded(v) for v in witness])
    for goal in _goals(net, spec, disjunct, slack):
        first = goal.inside(start[None])
        found = goal.climb(first[0], deadline, rounds=ROUNDS, tried=False)
        if found is not None or time.monotonic() > deadline:
            return found
    return None


def _goals(net: Network, spec: Property, disjunct: int, slack: float) -> Iterator[Goal]:
    runtime = runtime_of(net, optimised=True)
    home = spec.disjuncts[disjunct].box
    for group in sorted(spec.groups, key=lambda group: group.box != home):
        sides = float_sides(group.box, runtime.dtype, slack)
        if sides is not None:
            yield Goal(net, group, sides, runtime, loose=slack > 0)


# ------------------------------------------------------------------------------------ witness files


def witness_text(point: FloatPoint, query: Query) -> str:
    """The witness as the competition reads it: in the way of the query's VNN-LIB version."""
    if query.tensors:
        return assignment_text(point.point, point.outputs, query)
    values = [("X", point.point), ("Y", point.outputs)]
    lines = [f"({letter}_{k} {v!r})" for letter, row in values for k, v in enumerate(row)]
    return "(" + "\n".join(lines) + ")\n"


def assignment_text(inputs: Sequence[float], outputs: Sequence[float], query: Query) -> str:
    """Values of all declared tensors, as the VNN-LIB 2.0 standard has solvers print them."""
    lines: list[str] = []
    at = {True: 0, False: 0}
    for tensor in query.tensors:
        shape = ",".join(map(str, tensor.shape))
        lines.append(f"{tensor.name} {tensor.kind} [{shape}]")
        end = at[tensor.is_input] + int(np.prod(tensor.shape, dtype=int))
        values = inputs if tensor.is_input else outputs
        lines += [repr(v) for v in values[at[tensor.is_input] : end]]
        at[tensor.is_input] = end
    return "\n".join(lines) + "\n"
