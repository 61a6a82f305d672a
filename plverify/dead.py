"""Units that never switch on a box, in any dimension.

A unit is settled as switching by an exact input on either side of its kink, which sampling finds
for most; for the rest `plverify.question.decide` is asked about the network that ends at the unit's
layer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from plverify import proof as proof_files
from plverify.compose import layer_network
from plverify.constraint import Constraint
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import FloatArray
from plverify.exact_net import common_denominator
from plverify.network import Network, load
from plverify.nodes import Units
from plverify.property import Disjunct, Property
from plverify.question import Progress, as_domain, check_limits, decide
from plverify.result import Result, Status, rounded
from plverify.verdict import checked_witness, keep_proof

Unit = tuple[int, int]
Sign = tuple[Unit, int]

_LIMITS = (0.25, 4.0, None)
"""Seconds for one question in the first, second and last pass over the units."""
_SAMPLES = 512
_FAR = 10.0
"""Where an input has no bound, samples lie between -10 and 10."""


@dataclass(frozen=True)
class UnitReport(Result):
    """Which units of two pieces switch on a box.

    Attributes
    ----------
    status : Status
        "complete" if every unit is settled; else "timeout", "interrupted" or "unknown".
    dead : list of (layer, unit)
        ``z <= 0`` on all of the box: the unit is its negative side there.
    always_active : list of (layer, unit)
        ``z >= 0`` on all of the box, and positive somewhere: the unit passes ``z`` on. (Unlike in
        `RegionCount` ``z`` may be 0 on a part of full dimension.)
    both : list of (layer, unit)
        Inputs with ``z > 0`` and with ``z < 0`` are known.
    unknown : list of (layer, unit)
    nodes : int
        Searched.
    seconds : float
    proof : bytes, str or None
        Where wanted, the proof that the units listed as dead and always active are, or the file it
        was written to.
    """

    status: Status
    dead: list[Unit]
    always_active: list[Unit]
    both: list[Unit]
    unknown: list[Unit]
    nodes: int
    seconds: float
    proof: bytes | str | None = field(default=None, repr=False)

    def kind(self, layer: int, unit: int) -> str:
        """ "dead", "always_active", "both" or "unknown".

        Raises
        ------
        InputError
            If there is no such unit of two pieces.
        """
        for name in ("dead", "always_active", "both", "unknown"):
            if (layer, unit) in getattr(self, name):
                return name
        raise InputError(f"layer {layer} has no unit {unit} of two pieces")


def dead_units(
    net: Network | Any,
    box: Box,
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> UnitReport:
    """Find the units that are on one piece everywhere on a box.

    Units of a pooling, and units with slope exactly 1, have no two pieces and are not listed.

    Parameters
    ----------
    net : Network, or what `load` reads
    box : Box
    timeout : float, optional
        Seconds after which the units not settled are "unknown".
    threads : int
    proof : True, path, optional
        Keep a proof in `UnitReport.proof`, or write it to a file. What was found until a timeout is
        proven, too.
    progress : callable, optional
        Called about ten times a second with the number of nodes searched for the current unit.

    Raises
    ------
    InputError
        If the box does not have the network's inputs, or the proof cannot be written.

    >>> net = Network.from_arrays([[[1], [1], [1]], [[1, 1, 1]]], [[0, 2, -2], [0]])
    >>> found = dead_units(net, Box(-1, 1, 1))
    >>> found.dead, found.always_active, found.both
    ([(0, 2)], [(0, 1)], [(0, 0)])
    """
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    check_limits(threads, timeout)
    as_domain(box, network)
    if not isinstance(box, Box):
        raise InputError(f"the domain is {box.describe()}, expected a Box")
    search = _Search(network, box, timeout, threads, bool(proof), progress)
    status = search.run()
    groups: dict[str, list[Unit]] = {k: [] for k in ("dead", "always_active", "both", "unknown")}
    for unit in search.units:
        groups[search.kind(unit)].append(unit)
    if status is Status.COMPLETE and groups["unknown"]:
        status = Status.UNKNOWN
    data = search.proof(groups["dead"], groups["always_active"]) if proof else None
    return UnitReport(
        status,
        **groups,
        nodes=search.nodes,
        seconds=time.perf_counter() - start,
        proof=keep_proof(data, proof),
    )


class _Search:
    """What is known of every unit: whether ``z`` takes each sign on the box."""

    def __init__(
        self,
        net: Network,
        box: Box,
        timeout: float | None,
        threads: int,
        want_proof: bool,
        progress: Progress | None,
    ) -> None:
        self.net, self.box = net, box
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.threads, self.want_proof, self.progress = threads, want_proof, progress
        self.trees: dict[Sign, bytes] = {}
        self.layers = {
            layer: np.flatnonzero(~node.single).tolist()
            for layer, (_, node) in enumerate(net.unit_nodes)
            if isinstance(node, Units)
        }
        self.units: list[Unit] = [(k, i) for k, found in self.layers.items() for i in found]
        self.takes: dict[Sign, bool] = {}
        self.nodes = 0

    def kind(self, unit: Unit) -> str:
        """What is known of a unit."""
        above, below = (self.takes.get((unit, sign)) for sign in (1, -1))
        if above is False:
            return "dead"
        if above and below is not None:
            return "both" if below else "always_active"
        return "unknown"

    def run(self) -> Status:
        """Settle all units, or as many as there is time for: those that are cheap first."""
        try:
            self._sample()
            for limit in _LIMITS:
                for layer, units in self.layers.items():
                    asked = self._open(layer, units)
                    if not asked:
                        continue
                    head = layer_network(self.net, layer)
                    for at in asked:
                        if at not in self._open(layer, [at[0][1]]):
                            continue  # settled meanwhile
                        left = None if self.deadline is None else self.deadline - time.monotonic()
                        if left is not None and left <= 0:
                            return Status.TIMEOUT
                        if self._ask(head, at, _least(limit, left)) is Status.INTERRUPTED:
                            return Status.INTERRUPTED
        except KeyboardInterrupt:
            return Status.INTERRUPTED
        late = self.deadline is not None and time.monotonic() >= self.deadline
        settled = not any(self._open(layer, units) for layer, units in self.layers.items())
        return Status.TIMEOUT if late and not settled else Status.COMPLETE

    def _open(self, layer: int, units: Sequence[int]) -> list[Sign]:
        """What is still to ask about units: a unit that is never positive is dead in any case."""
        out = []
        for unit in units:
            above = self.takes.get(((layer, unit), 1))
            if above is None:
                out.append(((layer, unit), 1))
            if above is not False and ((layer, unit), -1) not in self.takes:
                out.append(((layer, unit), -1))
        return out

    def _ask(self, head: Network, at: Sign, left: float | None) -> Status:
        """Whether a unit of the layer that ``head`` ends in takes a sign."""
        (_, unit), sign = at
        row = Constraint.of({}, {unit: -sign}, 0, strict=True)
        assert isinstance(row, Constraint)
        spec = Property(self.net.input_size, head.output_size, (Disjunct(self.box, (row,)),))
        answer = decide(
            head,
            spec,
            want_proof=self.want_proof,
            threads=self.threads,
            timeout=left,
            progress=self.progress,
        )
        self.nodes += answer["nodes"]
        status = Status(answer["status"])
        if status is Status.UNSAT:
            self.takes[at] = False
            self.trees[at] = answer.get("proof", b"")
        elif status is Status.SAT:
            self._see(checked_witness(head, spec, answer)["witness"])
            assert self.takes[at]
        return status

    def proof(self, dead: Sequence[Unit], active: Sequence[Unit]) -> bytes:
        """The proof that units stay on a piece: the trees that were found, one after the other."""
        starts = [sum(self.net.widths[:layer]) for layer in range(len(self.net.widths))]
        known = {starts[at[0]] + at[1]: (0, self.trees[at, 1]) for at in dead}
        known |= {starts[at[0]] + at[1]: (1, self.trees[at, -1]) for at in active}
        units = [(unit, known[unit][0]) for unit in sorted(known)]
        header = proof_files.dead_units_header(self.net, self.box, units)
        return proof_files.encode(header, b"".join(known[unit][1] for unit, _ in units))

    def _see(self, x: Sequence[Fraction]) -> None:
        """Take note of the exact signs of all units at a point."""
        numerators, den = common_denominator(x)
        signs = self.net.exact_net.forward([numerators], den).signs
        for layer, units in self.layers.items():
            for unit in units:
                if signs[layer][unit]:
                    self.takes[(layer, unit), signs[layer][unit]] = True

    def _sample(self) -> None:
        """Exact signs at few of many sampled points: those that show signs not seen yet."""
        rng = np.random.default_rng(0)
        lo, hi = (_floats(side) for side in (self.box.lo, self.box.hi))
        shape = (_SAMPLES, self.net.input_size)
        points = np.concatenate(
            [lo + (hi - lo) * rng.random(shape), np.where(rng.random(shape) < 0.5, lo, hi)]
        )
        sources = {node.sources[0]: k for k, (_, node) in enumerate(self.net.unit_nodes)}
        seen = []
        values = {0: points}
        with np.errstate(all="ignore"):
            for tensor, made in self.net.node_values(points):
                if tensor in sources:
                    values[tensor] = made
        for layer, units in self.layers.items():
            z = values[self.net.unit_nodes[layer][1].sources[0]][:, units]
            seen += [z > 0, z < 0]
        if not seen:
            return
        table = np.concatenate(seen, axis=1)
        while table.any():
            k = int(table.sum(axis=1).argmax())
            sides = zip(points[k].tolist(), self.box.lo, self.box.hi, strict=True)
            self._see([Fraction(min(max(Fraction(v), a), b)) for v, a, b in sides])
            table = table[:, ~table[k]]


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _floats(side: Sequence[Bound]) -> FloatArray:
    """A side of a box in float64, where samples are drawn."""
    values = [rounded(v) if isinstance(v, Fraction) else v for v in side]
    return np.clip(np.array(values), -_FAR, _FAR)
