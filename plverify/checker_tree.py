"""The checker of region trees: plain integers, and nothing of the engine.

A tree (``docs/proof_format.md``, "Region tree") proves in any dimension how many activation regions
a network has on a domain. It is a search tree over the units, layer after layer, in pre-order. A
path of it fixes a piece for every unit; its *cell* is the part of the domain where the rows of its
path list are >= 0. Nothing in it is believed:

1. *Nothing is missing.* Take a region and walk down. At a split, and at a window that keeps the
   region's piece, go to the child of that piece. Where a unit is fixed without a split, or a window
   drops a piece, a certificate shows that the other side holds no region: positive multiples of
   rows that would all be >= 0, one of them > 0, inside such a region add up to a function that is
   <= 0 on the whole domain. So the walk ends in the leaf of the region's pattern.
2. *Every leaf is a region.* Its witness lies strictly inside the domain, and every unit is strictly
   on its piece there, so the pattern holds around the witness. Where a row vanishes identically it
   has no strict side, and the piece must be the canonical one.
3. *No region is counted twice.* Different leaves have different canonical patterns, because the
   children of a node differ in the piece of a unit.

So the leaves are the regions, and their number is the claim.

The affine map of a layer's pre-activations is computed once per choice of pieces below it and
serves all nodes under it. At a witness these maps have the values of the forward pass: layer by
layer, all units were found to be on the pieces that the map of the next layer assumes.

There is no recursion, no tolerance and no float. Memory is bounded by the network and the header:
a path meets every unit once. Trusted are Python's integers, json, zlib and SHA-256, and
`plverify.exact_net` (the network and its linear nodes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd, lcm
from operator import mul, neg, sub
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from plverify.exact_net import ExactNet, Max, Units, join, through
from plverify.proof_reader import (
    MAX_TREE,
    Body,
    Rejected,
    Statement,
    definitions,
    read_statement,
    require,
)

MAX_SCALE = 1 << 13
"""Largest accepted exponent of a multiplier, up and down."""
MAX_DEPTH = 1 << 16
"""Largest accepted exponent of a witness's denominator."""
LEAF, SPLIT, FIX, WINDOW = range(4)

TreeWalk: TypeAlias = Callable[[Statement, ExactNet, Body], dict[str, Any]]
"""Reads a body to its end and returns what it counted; raises `Rejected`."""
Function: TypeAlias = tuple[tuple[int, ...], int]
"""``(row, den)``: the affine function ``row . (t, 1) / den`` with ``den > 0``."""
Term: TypeAlias = tuple[int, int, Function]
"""``(m, e, function)``: ``m 2**e`` times the function, ``m > 0``."""


def region_tree(
    header: dict[str, Any],
    file: BinaryIO,
    net: ExactNet,
    stated: list[str],
    stats: dict[str, Any],
    tree: TreeWalk,
) -> None:
    """Check a region list whose evidence is a tree; see `plverify.checker.check`.

    Raises
    ------
    Rejected
        Unless the proof is accepted. `stated` and `stats` hold what was found out until then.
    """
    require(header["evidence"] == "tree", "unknown evidence")
    statement = read_statement(header, net, ("evidence",))
    require(statement.dim > 0, "dim is 0")
    stats.update(
        definitions=definitions(header),
        domain_sha256=statement.domain_sha256,
        units=net.unit_count,
        regions=statement.regions,
    )
    stated.append(_in_words(statement, net))
    body = Body(file, MAX_TREE)
    stats.update(tree(statement, net, body))
    body.finish()


def walk(statement: Statement, net: ExactNet, body: Body) -> dict[str, Any]:
    """Read a tree in plain integers.

    Returns
    -------
    dict
        How many nodes and certificates there were.

    Raises
    ------
    Rejected
        If the tree does not prove the statement.
    """
    return _Walk(statement, net, body).run()


class _Layer(NamedTuple):
    """A node of units."""

    node: int
    units: Units | Max
    first: int  # the flat number of its first unit


class _Branch(NamedTuple):
    """A node with children that were not read yet, and the state to go back to."""

    unit: int
    pieces: list[int]  # of those children, the next one last
    path: int  # length of the path list
    fixed: int  # number of units that have a piece
    layer: int


class _Box:
    """The box that the constraints of one coordinate each imply: bounds over one denominator."""

    def __init__(self, dim: int, constraints: Sequence[Sequence[int]]) -> None:
        ends: tuple[list[tuple[int, int] | None], ...] = ([None] * dim, [None] * dim)
        for row in constraints:
            used = [k for k in range(dim) if row[k]]
            if len(used) != 1:
                continue
            (k,) = used
            a, c = row[k], row[dim]
            upper = a < 0
            num, den = (c, -a) if upper else (-c, a)
            old = ends[upper][k]
            # The tightest bound is the least upper or the largest lower one.
            if old is None or (num * old[1] < old[0] * den) == upper:
                ends[upper][k] = num, den
        self.den = lcm(*(end[1] for side in ends for end in side if end is not None))
        self.lower, self.upper = (
            [None if end is None else end[0] * (self.den // end[1]) for end in side]
            for side in ends
        )

    def is_nonpositive(self, row: Sequence[int]) -> bool:
        """Whether ``row . (t, 1) <= 0`` on all of the box."""
        most = row[-1] * self.den
        for a, lower, upper in zip(row, self.lower, self.upper, strict=False):
            if a:
                end = upper if a > 0 else lower
                if end is None:
                    return False
                most += a * end
        return most <= 0


class _Walk:
    """One pass over the nodes, with the state of the path to the node that is being read."""

    def __init__(self, statement: Statement, net: ExactNet, body: Body) -> None:
        self.net, self.body, self.regions = net, body, statement.regions
        self.dim = statement.dim
        self.constraints = statement.constraints
        self.box = _Box(statement.dim, statement.constraints)
        self.layers: list[_Layer] = []
        self.place: list[tuple[int, int]] = []  # of a unit: its layer, its number there
        for number, (at, node) in enumerate(net.unit_nodes):
            self.layers.append(_Layer(at, node, len(self.place)))
            self.place += [(number, i) for i in range(node.size)]
        self.windows = [n.units.windows if isinstance(n.units, Max) else () for n in self.layers]

        # Of the path. A unit of slope 1 has its one piece from the beginning.
        self.single = [self._has_one_piece(unit) for unit in range(len(self.place))]
        self.pieces = [0 if single else -1 for single in self.single]
        self.fixed: list[int] = []
        self.open = [0] * len(self.layers)
        for unit, (layer, _) in enumerate(self.place):
            self.open[layer] += not self.single[unit]
        self.path: list[Function] = [(row, 1) for row in self.constraints]
        self.branches: list[_Branch] = []

        # Of the layers up to the first one with an open unit: what the network is on the cell.
        size = statement.dim
        rows = statement.slice_rows
        if rows is None:
            rows = [tuple(int(i == k) for i in range(size + 1)) for k in range(size)]
        inputs = ([list(column) for column in zip(*rows, strict=True)], statement.scale)
        self.tensors: list[Any] = [inputs] + [None] * len(net.nodes)
        self.maps: list[Any] = [None] * len(self.layers)
        self.layer = -1
        self._settle()

        self.leaves = self.nodes = self.certificates = 0

    def run(self) -> dict[str, Any]:
        """Read all nodes."""
        try:
            self._read()
        except Rejected as error:
            error.counts = self.counts()
            raise
        return self.counts()

    def counts(self) -> dict[str, Any]:
        """How far the tree was read."""
        return {"nodes": self.nodes, "certificates": self.certificates}

    def _read(self) -> None:
        while True:
            code = self.body.var()
            self.nodes += 1
            if code == SPLIT:
                self._split()
            elif code == FIX:
                self._fix()
            elif code == WINDOW:
                self._window()
            else:
                require(code == LEAF, "unknown kind of node")
                self._leaf()
                if not self.branches:
                    break
                self._next_child()
        require(self.leaves == self.regions, f"the tree has {self.leaves} leaves")

    # ------------------------------------------------------------------------------------- nodes

    def _leaf(self) -> None:
        require(self.layer == len(self.layers), "a leaf before all units are fixed")
        depth = self.body.var()
        require(depth <= MAX_DEPTH, "the denominator of a witness is too long")
        point = (*(self.body.big() for _ in range(self.dim)), 1 << depth)
        for row in self.constraints:
            inside = sum(map(mul, row, point)) > 0 or (not any(row[:-1]) and row[-1] >= 0)
            require(inside, "a witness is not inside the domain")
        for number, layer in enumerate(self.layers):
            rows, _ = self.maps[number]
            values = [sum(map(mul, row, point)) for row in rows]
            if isinstance(layer.units, Units):
                for i, (value, row) in enumerate(zip(values, rows, strict=True), layer.first):
                    # A row of zeros has piece 0, the canonical one.
                    strict = value != 0 or not any(row)
                    require(
                        self.single[i] or (strict and self.pieces[i] == (value > 0)),
                        "a witness is not strictly on the piece of a unit",
                    )
                continue
            for i, window in enumerate(self.windows[number], layer.first):
                piece = self.pieces[i]
                best = dict(window)[piece]
                for slot, at in window:
                    same = values[at] == values[best] and piece < slot and rows[at] == rows[best]
                    require(
                        slot == piece or values[at] < values[best] or same,
                        "a witness is not strictly on the piece of a window",
                    )
        self.leaves += 1
        require(self.leaves <= self.regions, "the tree has more leaves than the header says")

    def _split(self) -> None:
        unit = self._next_unit(Units)
        self._branch(unit, [0, 1])

    def _fix(self) -> None:
        unit = self._next_unit(Units)
        piece = self.body.var()
        require(piece in (0, 1), "a unit has no such piece")
        own = self.body.big(), self.body.var()
        self._certificate([self._term(*own, self._side(unit, 1 - piece))])
        self._set(unit, piece)
        self._settle()

    def _window(self) -> None:
        unit = self._next_unit(Max)
        layer, i = self.place[unit]
        slots = dict(self.windows[layer][i])
        kept = self._slots(slots, -1)
        for slot in slots:
            if slot in kept:
                continue
            own: list[Term] = []
            lost = False  # whether a region with this piece would contradict the certificate
            count, last = self.body.var(), -1
            for _ in range(count):
                other = self.body.var()
                require(last < other and other in slots and other != slot, "a window has no slot")
                last = other
                row = self._ahead(layer, slots[slot], slots[other])
                # Where the two are one function, only the second one loses for sure.
                lost = lost or other < slot or any(row[0])
                own.append(self._term(self.body.big(), self.body.var(), row))
            require(lost, "a certificate compares a piece with nothing that could beat it")
            self._certificate(own)
        self._branch(unit, kept[::-1])

    def _next_unit(self, kind: type) -> int:
        """The unit that a node is about: one without a piece, in the layer that is next."""
        unit = self.body.var()
        require(unit < len(self.place), "there is no such unit")
        layer, _ = self.place[unit]
        require(self.pieces[unit] < 0, "a unit has a piece already")
        require(layer == self.layer, "a unit comes before an earlier layer is done")
        require(isinstance(self.layers[layer].units, kind), "the node does not fit its unit")
        return unit

    def _slots(self, slots: dict[int, int], last: int) -> list[int]:
        """The kept slots of a window."""
        kept: list[int] = []
        for _ in range(self.body.var()):
            slot = self.body.var()
            require(last < slot and slot in slots, "a window has no slot")
            kept.append(slot)
            last = slot
        require(kept, "a window keeps no slot")
        return kept

    # ------------------------------------------------------------------------------ certificates

    def _term(self, m: int, zigzag: int, function: Function) -> Term:
        """A multiplier times a function."""
        e = zigzag >> 1 ^ -(zigzag & 1)
        require(m > 0 and abs(e) <= MAX_SCALE, "a multiplier is not positive or out of range")
        return m, e, function

    def _certificate(self, terms: list[Term]) -> None:
        """Read the rest of a certificate; the sum of all its terms must be <= 0 on the box."""
        count, last = self.body.var(), -1
        for _ in range(count):
            index = self.body.var()
            require(last < index < len(self.path), "a certificate uses no row of the path")
            terms.append(self._term(self.body.big(), self.body.var(), self.path[index]))
            last = index
        low = min(e for _, e, _ in terms)
        den = lcm(*{function[1] for _, _, function in terms})
        total = [0] * (self.dim + 1)
        for m, e, (row, d) in terms:
            factor = (m << (e - low)) * (den // d)
            total = [v + factor * a for v, a in zip(total, row, strict=True)]
        require(self.box.is_nonpositive(total), "a certificate proves nothing")
        self.certificates += 1

    # -------------------------------------------------------------------------------------- rows

    def _side(self, unit: int, piece: int) -> Function:
        """The row that is >= 0 where a unit is on a piece."""
        layer, i = self.place[unit]
        rows, den = self.maps[layer]
        return (rows[i] if piece else tuple(map(neg, rows[i]))), den

    def _ahead(self, layer: int, at: int, other: int) -> Function:
        """The difference of two pre-activations of a layer."""
        rows, den = self.maps[layer]
        return tuple(map(sub, rows[at], rows[other])), den

    # ---------------------------------------------------------------------------------- the path

    def _branch(self, unit: int, pieces: list[int]) -> None:
        """Go on with the children that give a unit these pieces, the last one first."""
        state = _Branch(unit, pieces, len(self.path), len(self.fixed), self.layer)
        self.branches.append(state)
        self._enter(state)

    def _next_child(self) -> None:
        """Go back to the last node with a child that was not read, and enter that child."""
        state = self.branches[-1]
        for unit in self.fixed[state.fixed :]:
            self.pieces[unit] = -1
            self.open[self.place[unit][0]] += 1
        del self.fixed[state.fixed :]
        del self.path[state.path :]
        self.layer = state.layer
        self._enter(state)

    def _enter(self, state: _Branch) -> None:
        piece = state.pieces.pop()
        if not state.pieces:
            self.branches.pop()
        layer, i = self.place[state.unit]
        if self.windows[layer]:
            slots = dict(self.windows[layer][i])
            others = [at for slot, at in slots.items() if slot != piece]
            self.path += [self._ahead(layer, slots[piece], at) for at in others]
        else:
            self.path.append(self._side(state.unit, piece))
        self._set(state.unit, piece)
        self._settle()

    def _set(self, unit: int, piece: int) -> None:
        self.pieces[unit] = piece
        self.fixed.append(unit)
        self.open[self.place[unit][0]] -= 1

    def _settle(self) -> None:
        """Go on to the next layer with an open unit; all layers below it have their pieces."""
        while self.layer < 0 or (self.layer < len(self.layers) and not self.open[self.layer]):
            self.layer += 1
            if self.layer < len(self.layers):
                self._map_layer(self.layer)

    def _map_layer(self, number: int) -> None:
        """The affine map of a layer's pre-activations; the layers below have their pieces."""
        start = 0
        if number:
            below = self.layers[number - 1]
            start = below.node + 1
            value = self._read_by(below.units)
            chosen = self.pieces[below.first : below.first + below.units.size]
            self.tensors[start] = through(below.units, value, chosen)
        for k in range(start, self.layers[number].node):
            node = self.net.nodes[k]
            assert not isinstance(node, (Units, Max))
            levels, den = self._read_by(node)
            self.tensors[k + 1] = node.apply(levels, den, self.dim)
        levels, den = self._read_by(self.layers[number].units)
        common = gcd(den, *(v for level in levels for v in level))
        columns = [[v // common for v in level] for level in levels]
        self.maps[number] = list(zip(*columns, strict=True)), den // common

    def _read_by(self, node: Any) -> Any:
        return join([self.tensors[source] for source in node.sources])

    def _has_one_piece(self, unit: int) -> bool:
        layer, i = self.place[unit]
        units = self.layers[layer].units
        return isinstance(units, Units) and units.slopes[i] == (1, 0)


def _in_words(statement: Statement, net: ExactNet) -> str:
    bounds = len(statement.constraints)
    return (
        f"The network with SHA-256 {net.digest()} (canonical exact form, real arithmetic) has "
        f"exactly {statement.regions} activation regions on the {statement.dim}-dimensional "
        f"domain with SHA-256 {statement.domain_sha256}"
        f"{'' if statement.slice_rows is None else ' (a slice of the input space)'}, "
        f"{'the whole space' if not bounds else f'given by {bounds} linear constraints'}. "
        f"A point of every region is given."
    )


__all__ = ["MAX_DEPTH", "MAX_SCALE", "Rejected", "TreeWalk", "region_tree", "walk"]
