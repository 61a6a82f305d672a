"""The checker of dual trees: exact numbers, and nothing of the engine.

A tree (``docs/proof_format.md``, "Dual trees") proves that a system of linear constraints between
inputs and outputs of a network has no solution in a box, or a box and a ball. It is read in
pre-order; a path of it stands for a *cell*: a box of inputs, pieces of some units, and bounds of
all unit inputs. Nothing in it is believed:

1. *Nothing is missing.* At an ``INPUT`` node the two closed halves of the cell's box go to the
   children, at a ``UNIT`` node the closed sets where the unit is on one of its pieces. They cover
   the cell.
2. *Bounds hold on the cell*: `plverify.checker_bounds` proves them here, from the cell alone.
3. *No leaf holds a solution.* A positive combination of the constraints, the ball's among them,
   would be ``<= 0`` at a solution, ``< 0`` if a strict one takes part. The leaf's multipliers give
   a lower bound of it on the cell that says otherwise. Or the bounds contradict each other, so that
   the cell is empty.

A tree may be about a norm of Jacobians instead. Then ``SLOPES`` bounds gradients on the cell, and a
leaf ``NORM`` is one where `plverify.checker_gain` finds that norm bounded as claimed.

There is no recursion and no tolerance. Trusted are Python's integers, fractions, json, zlib and
SHA-256, and `plverify.exact_net`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf
from operator import gt
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from plverify.checker_bounds import Bounds, Cell, Given, Rounding
from plverify.checker_claims import KEYS, Ball, Box, Claim, Gain, Row, System, read_claim
from plverify.checker_gain import Gradients, Ranges
from plverify.checker_minima import down
from plverify.exact_net import ExactNet
from plverify.proof_reader import MAX_TREE, Body, Rejected, definitions, require

RULE, DUAL, INPUT, UNIT, BOUNDS, SLOPES, NORM, ENVELOPE, STATEMENT = range(9)
MAX_EXPONENT = 1 << 16
"""Largest accepted exponent of a leaf's multipliers, up and down."""
MAX_SPLIT = 1 << 16
"""Most bits of the numerator and of the denominator of a split value."""
MAX_HELD = 1 << 27
"""Most numbers kept for the nodes with children that were not read."""
MAX_INPUTS, MAX_ROWS = 16, 8
"""Of a network, and of a system: that rule 3 of bounds looks at."""

Model: TypeAlias = Mapping[int, Rounding] | None
"""Of the linear nodes of a network as executed; None for the exact function."""
DualWalk: TypeAlias = Callable[[Sequence[System], ExactNet, Body, Model], dict[str, Any]]
"""Reads the trees of some systems, one after the other; raises `Rejected`."""
Evaluate: TypeAlias = Callable[[ExactNet, Sequence[Fraction]], list[Fraction]]
"""The exact outputs at a point."""


class DualTools(NamedTuple):
    """What does the work of a check."""

    walk: DualWalk
    evaluate: Evaluate


class Executed(NamedTuple):
    """A network as it is executed: nodes that round.

    Attributes
    ----------
    net : ExactNet
        The nodes as they are executed, in exact arithmetic.
    rounding : mapping from node to Rounding
        For all linear nodes; the others are exact.
    words : str
        What executes it, such as "float32".
    """

    net: ExactNet
    rounding: Mapping[int, Rounding]
    words: str


def refutation(
    header: dict[str, Any],
    file: BinaryIO,
    net: ExactNet,
    stated: list[str],
    stats: dict[str, Any],
    tools: DualTools,
    executed: Executed | None = None,
    other: ExactNet | None = None,
) -> None:
    """Check a proof of one of the claims in `KEYS`; see `plverify.checker.check`.

    Raises
    ------
    Rejected
        Unless the proof is accepted. `stated` and `stats` hold what was found out until then.
    """
    claim = read_claim(header, net, other)
    stats.update(definitions=definitions(header), units=claim.net.unit_count, **claim.stats)
    stated.append(claim.words)
    if claim.witness is not None:
        _witness(claim, claim.witness, tools.evaluate(claim.net, claim.witness))
    body = Body(file, MAX_TREE)
    if executed is None:
        stats.update(tools.walk(claim.systems, claim.net, body, None))
    else:
        require(header["claim"] == "unsat", "only 'unsat' can be proved about an execution")
        sizes = [(n.input_size, n.output_size) for n in (net, executed.net)]
        require(sizes[0] == sizes[1], "what is executed has other inputs or outputs")
        stated.append(f" Here the network is what {executed.words} computes, rounding included.")
        stats.update(tools.walk(claim.systems, executed.net, body, executed.rounding))
    body.finish("leaf")


def _witness(claim: Claim, x: Sequence[Fraction], y: Sequence[Fraction]) -> None:
    """Require that a point and its outputs are what the claim says."""
    require(claim.at[0].box.holds(x), "the witness is not in the box")
    meets = any(system.holds(x, y) for system in claim.at)
    require(meets, "the witness violates a constraint")
    if claim.sharp:
        rows = [system.rows[0] for system in claim.systems]
        least = min(row.value(x, y) - row.bound for row in rows)
        require(least == 0, "the witness does not attain the value")


def walk(
    systems: Sequence[System], net: ExactNet, body: Body, rounding: Model = None
) -> dict[str, Any]:
    """Read trees in exact numbers; with `rounding`, about all that it allows.

    Returns
    -------
    dict
        How many nodes and leaves there were.

    Raises
    ------
    Rejected
        If a tree does not refute its system.
    """
    return _Walk(net, body, rounding).run(systems)


def evaluate(net: ExactNet, point: Sequence[Fraction]) -> list[Fraction]:
    """The exact outputs at a point."""
    return net.evaluate(point)


class _Walk:
    """What is known on the path from the root to the node that is read next."""

    def __init__(self, net: ExactNet, body: Body, rounding: Model) -> None:
        self.net, self.body = net, body
        self.bounds = Bounds(net, rounding)
        self.rows: tuple[Row, ...] = ()
        self.ball: Ball | None = None
        self.gain: Gain | None = None
        self.gradients: Gradients | None = None
        self.cell: Cell
        # The root; what was known when the last beginning with statements ended; whether this tree
        # begins still, and has begun with statements.
        self.root: Cell
        self.stated: Cell | None = None
        self.begins = self.states = False
        self.ranges: list[Ranges] = []  # of gradients on the cell
        # Children that were not read, the next one last, with what is known of gradients there.
        self.waiting: list[tuple[Cell, list[Ranges]]] = []
        self.room = MAX_HELD // (2 * net.input_size + 2 * self.bounds.inputs + net.unit_count)
        self.nodes = self.leaves = 0

    def run(self, systems: Sequence[System]) -> dict[str, Any]:
        """Read all trees."""
        try:
            self._read(systems)
        except Rejected as error:
            error.counts = self.counts()
            raise
        return self.counts()

    def counts(self) -> dict[str, Any]:
        """How far the trees were read."""
        return {"nodes": self.nodes, "leaves": self.leaves}

    def _read(self, systems: Sequence[System]) -> None:
        for system in systems:
            self.rows, self.ball, self.gain = system.rows, system.ball, system.gain
            root = self.root = self.bounds.start(system.box, system.ball)
            self.begins, self.states = True, False
            self.waiting = [(root, self._no_ranges())]
            _, errors = self.bounds.with_errors(root)
            finite = all(error < inf for some in errors.values() for error in some)
            require(finite, "a sum may overflow as executed")
            while self.waiting:
                self.cell, self.ranges = self.waiting.pop()
                while self._node():
                    pass

    def _no_ranges(self) -> list[Ranges]:
        if self.gain is None:
            return []
        if self.gradients is None:
            self.gradients = Gradients(self.bounds)
        return self.gradients.start(self.gain)

    def _node(self) -> bool:
        """Read a node; False for a leaf, otherwise `cell` is the first child's."""
        code = self.body.var()
        self.nodes += 1
        if code not in (BOUNDS, STATEMENT):
            self._keep_stated()
        if code == INPUT:
            self._input()
        elif code == UNIT:
            self._unit()
        elif code == BOUNDS:
            self._bounds()
        elif code == STATEMENT:
            self._statement()
        elif code == SLOPES and self.gain is not None:
            self._slopes()
        elif code == NORM and self.gain is not None:
            self._norm_leaf()
            return False
        else:
            require(code in (RULE, DUAL, ENVELOPE), "unknown kind of node")
            self._leaf(code)
            return False
        require(len(self.waiting) <= self.room, "too many nodes wait for their children")
        return True

    def _keep_stated(self) -> None:
        """At the end of a tree's beginning."""
        if self.begins and self.states:
            self.stated = replace(self.cell, box=self.root.box)
        self.begins = False

    # ------------------------------------------------------------------------------------- leaves

    def _leaf(self, code: int) -> None:
        if code != RULE:
            zigzag = self.body.var()
            e = zigzag >> 1 ^ -(zigzag & 1)
            # All multipliers share this factor, so that it does not matter any more.
            require(abs(e) <= MAX_EXPONENT, "an exponent is out of range")
        used, last = [], -1
        around, strict = 0, False  # of the ball
        for _ in range(self.body.var()):
            last = self._index(last, len(self.rows) + (self.ball is not None), "constraint")
            m = self.body.big()
            require(m > 0, "a multiplier is not positive")
            if self.ball is not None and last == len(self.rows):
                around, strict = m, strict or self.ball.strict
            else:
                used.append((m, self.rows[last]))
                strict = strict or self.rows[last].strict
        given = None
        if code != RULE:
            multipliers = self._multipliers()
            envelopes = self._envelopes(multipliers) if code == ENVELOPE else {}
            given = Given(multipliers, envelopes)
        self.leaves += 1
        if self.bounds.is_empty(self.cell):
            return
        seen, errors = self.bounds.with_errors(self.cell)
        if seen.empty:
            return
        least = self.bounds.least(self.cell, *self._combination(used), given, errors, around)
        if least == 0 and not strict and given is not None and self.gradients is not None:
            thin = self.gradients.is_thin(self.cell, given.multipliers)
            strict = self.gain is not None and thin
        require(least > 0 or (strict and least == 0), "a leaf proves nothing")

    def _multipliers(self) -> dict[int, int]:
        out: dict[int, int] = {}
        at = 0
        for k in range(self.body.var()):
            at = self._after(at, k == 0, self.bounds.inputs, "unit inputs")
            out[at] = self.body.big()
            require(out[at], "a multiplier is zero")
        return out

    def _envelopes(self, multipliers: Mapping[int, int]) -> dict[int, dict[int, Fraction]]:
        units = self.bounds.units
        points = self.net.input_size + len(units)
        out: dict[int, dict[int, Fraction]] = {}
        number = 0
        for k in range(self.body.var()):
            number = self._after(number, k == 0, len(units), "units")
            unit = units[number]
            listed = any(unit.first + i in multipliers for i in range(len(unit.at)))
            require(not listed, "a unit has a multiplier and an envelope")
            shift = 8
            if unit.slope is None:
                shift = self.body.var()
                require(shift <= MAX_EXPONENT, "an exponent is out of range")
            terms: dict[int, Fraction] = {}
            point = 0
            for p in range(self.body.var()):
                point = self._after(point, p == 0, points, "what a unit reads")
                value = self.body.var() if unit.slope is not None else self.body.big()
                if unit.slope is not None:
                    require(1 <= value <= 256, "a share is out of range")
                else:
                    before = self.bounds.tensor(point) <= unit.node
                    require(before, "a window is bounded by what comes after it")
                require(value, "a coefficient is zero")
                terms[point] = Fraction(value, 1 << shift)
            out[number] = terms
        return out

    def _statement(self) -> None:
        which, shift = self.body.var(), self.body.var()
        require(which // 2 < self.bounds.inputs, "there is no such unit input")
        require(shift <= MAX_EXPONENT, "an exponent is out of range")
        multipliers = self._multipliers()
        given = Given(multipliers, self._envelopes(multipliers))
        self.states = self.states or self.begins
        if self.bounds.is_empty(self.cell):
            return
        seen, errors = self.bounds.with_errors(self.cell)
        if seen.empty:
            self.cell = seen
            return
        number, upper = divmod(which, 2)
        tensor, at = self.bounds.read(number)
        grad = [0] * self.bounds.sizes[tensor]
        grad[at] = -(1 << shift) if upper else 1 << shift
        least = self.bounds.least(self.cell, {tensor: (grad, 1)}, Fraction(0), given, errors)
        if least == -inf:
            return
        lo, hi = list(self.cell.lo), list(self.cell.hi)
        end = down(least * Fraction(1, 1 << shift))
        if upper:
            hi[number] = min(hi[number], -end)
        else:
            lo[number] = max(lo[number], end)
        empty = lo[number] > hi[number]
        self.cell = replace(self.cell, lo=lo, hi=hi, empty=empty)

    def _after(self, last: int, first: bool, end: int, what: str) -> int:
        """The next one of increasing numbers, given by its difference."""
        step = self.body.var()
        require((first or step > 0) and last + step < end, f"{what} are not in order, or not there")
        return last + step

    def _norm_leaf(self) -> None:
        self.leaves += 1
        assert self.gradients is not None
        assert self.gain is not None
        if not self.bounds.is_empty(self.cell):
            met = self.gradients.is_met(self.gain, self.cell, self.ranges)
            require(met, "a leaf proves nothing")

    def _combination(self, used: list[tuple[int, Row]]) -> tuple[dict[int, Any], Fraction]:
        """The sum of ``m (row - bound)``: gradients of tensors and a constant."""
        grads: dict[int, Any] = {}
        constant = Fraction(0)
        for m, row in used:
            constant -= m * row.bound
            places = [(0, i, a) for i, a in row.inputs]
            places += [(len(self.net.nodes), j, c) for j, c in row.outputs]
            if row.unit is not None:
                places.append((*self.bounds.read(row.unit[0]), row.unit[1]))
            for tensor, at, a in places:
                if tensor not in grads:
                    grads[tensor] = ([0] * self.bounds.sizes[tensor], 1)
                grads[tensor][0][at] += m * a
        return grads, constant

    def _index(self, last: int, size: int, what: str) -> int:
        index = self.body.var()
        require(last < index < size, f"a leaf uses no {what}")
        return index

    # ------------------------------------------------------------------------------------- splits

    def _input(self) -> None:
        index = self.body.var()
        num, den = self.body.big(), self.body.big()
        require(index < self.net.input_size, "there is no such input")
        require(den > 0, "a split value has no positive denominator")
        short = max(num.bit_length(), den.bit_length()) <= MAX_SPLIT
        require(short, "a split value is too long")
        value, box = Fraction(num, den), self.cell.box
        lo, hi = box.lo[index], box.hi[index]
        inside = (lo is None or lo < value) and (hi is None or value < hi)
        require(inside, "a split value is not inside its interval")
        above, below = list(box.lo), list(box.hi)
        above[index] = below[index] = value
        self.waiting.append((self._with(box._replace(lo=tuple(above))), self.ranges))
        self.cell = self._with(box._replace(hi=tuple(below)))

    def _with(self, box: Box) -> Cell:
        return replace(self.cell, box=box)

    def _unit(self) -> None:
        number = self.body.var()
        require(number < len(self.bounds.units), "there is no such unit")
        require(self.cell.pieces[number] < 0, "a unit has a piece already")
        unit = self.bounds.units[number]
        order = [1, 0] if unit.slope is not None else list(range(unit.pieces))
        children = [self.bounds.fix(self.cell, number, piece) for piece in order]
        self.cell = children[0]
        self.waiting += [(child, self.ranges) for child in children[:0:-1]]

    def _bounds(self) -> None:
        rule = self.body.var()
        require(rule in (0, 1, 2, 3), "unknown rule for bounds")
        if rule == 3:
            require(self.gain is None, "bounds where rows hold say nothing of gradients")
            require(self.net.input_size <= MAX_INPUTS, "too many inputs for rule 3")
            self._keep_stated()  # these are bounds of one system
        if rule == 2:
            stated = self.stated
            known = stated is not None and stated.box == self.root.box
            known = known and stated is not None and stated.ball == self.root.ball
            require(known, "no bounds were stated for this box")
            assert stated is not None
            if not self.bounds.is_empty(self.cell):
                lo = list(map(max, self.cell.lo, stated.lo))
                hi = list(map(min, self.cell.hi, stated.hi))
                empty = stated.empty or any(map(gt, lo, hi))
                self.cell = replace(self.cell, lo=lo, hi=hi, empty=empty)
            return
        if self.bounds.is_empty(self.cell):
            return
        if rule == 0:
            self.cell = self.bounds.propagate(self.cell)
            return
        rows = self.rows[:MAX_ROWS] if rule == 3 else ()
        where = [self._combination([(1, row)]) for row in rows]
        self.cell = self.bounds.substitute(self.cell, where)

    def _slopes(self) -> None:
        rule = self.body.var()
        require(rule in (0, 1), "unknown rule for gradients")
        assert self.gradients is not None
        assert self.gain is not None
        if not self.bounds.is_empty(self.cell):
            tight = rule == 1
            self.ranges = self.gradients.narrow(self.gain, self.cell, self.ranges, tight)


PYTHON = DualTools(walk, evaluate)

__all__ = ["KEYS", "PYTHON", "DualTools", "DualWalk", "Evaluate", "Executed", "Model", "evaluate",
           "refutation", "walk"]  # fmt: skip
