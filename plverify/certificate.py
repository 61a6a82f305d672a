"""`check`: hand a proof and a network to the independent checkers."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any

from plverify import _check, checker
from plverify.checker_claims import Ball, Box, Gain, Row, System
from plverify.checker_dual import DualTools, DualWalk, Executed, Model
from plverify.errors import InputError
from plverify.exact_net import ExactNet
from plverify.exact_nodes import Node
from plverify.executed import executed
from plverify.network import Network, load
from plverify.proof import big_bytes, ratio_bytes, var_bytes
from plverify.proof_reader import Body, Rejected, Statement, Verdict, read_header
from plverify.property import Property


def check(
    proof: str | os.PathLike[str] | bytes,
    net: Network | Any,
    property: Property | None = None,
    *,
    python: bool = False,
    timeout: float | None = None,
    float32: bool = False,
    other: Network | Any = None,
) -> Verdict:
    """Validate a proof in exact arithmetic, with code that shares no reasoning with the engine.

    Lists of polygons are read by the Python checker. Trees, which may be long, are read by a
    compiled one, unless `python` is set.

    Parameters
    ----------
    proof : path or bytes
    net : Network, or what `load` reads
        The network that the proof must be about.
    property : Property, optional
        The property that the proof must be about; without it, the property is the one that the
        proof states, whatever it is.
    python : bool
        Read trees in plain Python integers, too: slower by a factor of fifty and more, with
        less to trust.
    timeout : float, optional
        Seconds after which the compiled checker gives up; the proof then counts as rejected.
    float32 : bool
        Ask whether a proof of "unsat" also holds for the network as it is executed, with all
        rounding that the model in `plverify.executed` allows.
    other : Network, or what `load` reads, optional
        The second network of a proof about two (`sup_distance`).

    Returns
    -------
    Verdict
        True in a boolean context if accepted; ``claim`` says in words what is proven.

    Raises
    ------
    InputError
        If the proof file cannot be read, or the execution has no error model.

    Examples
    --------
    >>> import plverify as pv
    >>> net = pv.Network.from_arrays([[[1.0], [2.0]], [[1.0, -1.0]]], [[0.0, -1.0], [0.0]])
    >>> proof = pv.regions(net, pv.Box([-1], [1]), exact=True).proof()
    >>> bool(pv.check(proof, net))
    True
    """
    asked: Any = property
    if asked is not None and not isinstance(asked, Property):
        kind = type(asked).__name__
        raise InputError(f"property is a {kind}, expected a Property: see Property.from_vnnlib")
    if timeout is not None and not timeout >= 0:
        raise InputError("a timeout must be at least 0 seconds")
    network = net if isinstance(net, Network) else load(net)
    model = executed(network) if float32 else None
    second = None if other is None else load(other)
    return check_executed(proof, network, property, model, second, python=python, timeout=timeout)


def check_executed(
    proof: str | os.PathLike[str] | bytes,
    network: Network,
    property: Property | None,
    model: Executed | None,
    other: Network | None = None,
    *,
    python: bool = False,
    timeout: float | None = None,
) -> Verdict:
    """As `check`, for a model of the execution that is known."""
    tree = None if python else _compiled(timeout)
    exact = network.exact_net if python else _Unread(network)

    def read(net: ExactNet) -> _check.Net:
        return network.checked if net is exact else _check.Net(net.to_bytes())

    def outputs(net: ExactNet, point: Sequence[Fraction]) -> list[Fraction]:
        return _evaluate(read(net), point)

    dual = None if python else DualTools(_compiled_dual(read, timeout), outputs)
    try:
        second = None if other is None else other.exact_net
        verdict = checker.check(proof, exact, tree, dual, model, second)
        if property is None or not verdict.accepted or _is_about(proof, property):
            return verdict
    except OSError as error:
        raise InputError(f"cannot read the proof {proof!r}: {error.strerror or error}") from None
    reason = "the proof is about another property, or about none"
    return Verdict(False, verdict.claim, reason, verdict.stats)


class _Unread(ExactNet):
    """A network of which Python reads the nodes only if a claim asks for them.

    Most claims need the sizes and the digest: sizes as the compiled checker reads them, which
    refuses what is not canonical as Python does, and the digest of the same bytes.
    """

    def __init__(self, network: Network) -> None:
        self.__dict__.update(_network=network, _bytes=network.canonical)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:  # type: ignore[override]
        exact: ExactNet = self.__dict__["_network"].exact_net
        return exact.nodes

    @property
    def _read(self) -> _check.Net:
        net: _check.Net = self.__dict__["_network"].checked
        return net

    @property
    def input_size(self) -> int:  # type: ignore[override]
        return self._read.input_size

    @property
    def output_size(self) -> int:
        return self._read.output_size

    @property
    def unit_count(self) -> int:
        return self._read.unit_count


def check_body(body: bytes, net: Network, property: Property) -> Verdict:
    """Whether the body of a proof shows, by the compiled checker, that nothing violates a property.

    As `check` of a proof of "unsat" in a file, without writing and reading one.
    """
    boxes: dict[int, Box] = {}
    balls: dict[int, Ball] = {}
    systems = []
    for case in property.disjuncts:  # they share boxes and balls
        if id(case.box) not in boxes:
            ends = (case.box.lo, case.box.hi)
            sides = [tuple(None if isinstance(v, float) else v for v in end) for end in ends]
            boxes[id(case.box)] = Box(*sides)
        near = case.ball
        if near is not None and id(near) not in balls:
            balls[id(near)] = Ball(near.norm == "l2", near.center, near.size)
        rows = tuple(
            Row(row.inputs, row.outputs, row.bound, row.strict) for row in case.constraints
        )
        systems.append(System(boxes[id(case.box)], rows, None if near is None else balls[id(near)]))
    pieces = iter((body,))
    accepted, reason, counts = _check.check_dual(
        net.checked, question_bytes(systems), lambda: next(pieces, b"")
    )
    return Verdict(accepted, "no input violates the property", reason, counts)


def evaluate(net: Network, point: Sequence[Fraction] | Sequence[float]) -> list[Fraction]:
    """The exact outputs at an exact point, by the compiled checker.

    As `Network.exact`, without the engine, and fifty times as fast on networks of convolutions.

    >>> evaluate(Network.from_arrays([[[2.0]], [[1.0]]], [[1.0], [0.0]]), [Fraction(1, 3)])
    [Fraction(5, 3)]
    """
    return _evaluate(net.checked, point)


def _is_about(proof: str | os.PathLike[str] | bytes, property: Property) -> bool:
    """Whether the header states this property, number by number."""
    try:
        if isinstance(proof, (str, os.PathLike)):
            with open(proof, "rb") as file:
                header = read_header(file)
        else:
            header = read_header(io.BytesIO(proof))
    except Rejected:
        return False
    return "property" in header and header["property"] == json.loads(property.to_json())


def _compiled(
    timeout: float | None,
) -> Callable[[Statement, ExactNet, Body], dict[str, Any]]:
    """The compiled checker of region trees, as `checker.check` takes it."""

    def walk(statement: Statement, net: ExactNet, body: Body) -> dict[str, Any]:
        accepted, reason, counts = _check.check_tree(
            net.to_bytes(), statement.domain, statement.regions, body.more, timeout
        )
        return _counts(accepted, reason, counts)

    return walk


# --------------------------------------------------------------------- the compiled dual checker


def _compiled_dual(read: Callable[[ExactNet], _check.Net], timeout: float | None) -> DualWalk:
    """The compiled checker of dual trees, as `checker.check` takes it."""

    def walk(
        systems: Sequence[System], net: ExactNet, body: Body, rounding: Model
    ) -> dict[str, Any]:
        accepted, reason, counts = _check.check_dual(
            read(net), question_bytes(systems), body.more, timeout, _rounding_bytes(rounding)
        )
        return _counts(accepted, reason, counts)

    return walk


def _counts(accepted: bool, reason: str, counts: dict[str, Any]) -> dict[str, Any]:
    """How far a body was read; raises `Rejected` with it unless it was accepted."""
    if not accepted:
        raise Rejected(reason, counts)
    return counts


def _rounding_bytes(rounding: Model) -> bytes:
    """What the compiled checker reads of the linear nodes as executed (``DualNet``)."""
    out = []
    for _, node in sorted((rounding or {}).items()):
        out.append(struct.pack("<2d", node.relative, node.limit))
        out.append(struct.pack(f"<{len(node.absolute)}d", *node.absolute))
    return b"".join(out)


def _evaluate(network: _check.Net, point: Sequence[Fraction] | Sequence[float]) -> list[Fraction]:
    packed = b"".join(map(ratio_bytes, point))
    return [Fraction(num, den) for num, den in _check.evaluate(network, packed)]


def question_bytes(systems: Sequence[System]) -> bytes:
    """What the compiled checker reads of a claim (``DualQuestion::parse``): boxes, balls, rows."""
    boxes: dict[int, int] = {}
    shared: list[Box] = []
    for system in systems:
        if id(system.box) not in boxes:
            boxes[id(system.box)] = len(shared)
            shared.append(system.box)
    out = [var_bytes(len(shared))]
    for box in shared:
        for ends in zip(box.lo, box.hi, strict=True):
            for end in ends:
                out.append(b"\0" if end is None else b"\1" + ratio_bytes(end))
    balls: dict[int, int] = {id(None): 0}
    around: list[Ball] = []
    for system in systems:
        if system.ball is not None and id(system.ball) not in balls:
            around.append(system.ball)
            balls[id(system.ball)] = len(around)
    out.append(var_bytes(len(around)))
    for ball in around:
        out.append(var_bytes(ball.squares) + var_bytes(ball.strict))
        out += map(ratio_bytes, (*ball.centre, ball.size))
    out.append(var_bytes(len(systems)))
    rows: dict[int, bytes] = {}
    for system in systems:
        out.append(var_bytes(boxes[id(system.box)]) + var_bytes(balls[id(system.ball)]))
        out.append(var_bytes(len(system.rows)))
        for row in system.rows:  # systems share rows
            if id(row) not in rows:
                rows[id(row)] = _row_bytes(row)
            out.append(rows[id(row)])
        out.append(b"\0" if system.gain is None else b"\1" + _gain_bytes(system.gain))
    return b"".join(out)


def _row_bytes(row: Row) -> bytes:
    out = [var_bytes(row.strict) + ratio_bytes(row.bound)]
    for terms in (row.inputs, row.outputs):
        out.append(var_bytes(len(terms)))
        out += [var_bytes(i) + big_bytes(a) for i, a in terms]
    if row.unit is None:
        out.append(b"\0")
    else:
        out.append(b"\1" + var_bytes(row.unit[0]) + big_bytes(row.unit[1]))
    return b"".join(out)


def _gain_bytes(gain: Gain) -> bytes:
    """What a tree shows about gradients (``GainClaim``)."""
    common = lcm(*(v.denominator for row in gain.rows for v in row))
    out = [
        var_bytes(("linf", "l1", "l2").index(gain.norm)),
        big_bytes(common),
        var_bytes(len(gain.rows)),
    ]
    out += [big_bytes(int(v * common)) for row in gain.rows for v in row]
    return b"".join(out) + ratio_bytes(gain.bound)
