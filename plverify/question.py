"""The one place where Python calls the compiled engine.

A question is a network, a domain and what is wanted; the engine answers it in one call, with the
GIL released, and Ctrl-C or a timeout ends it with what it has found so far.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import plverify._core as _core
from plverify.certificate import check, check_body
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.exact_net import pack_ints
from plverify.network import Network
from plverify.proof import encode, unsat_header
from plverify.property import BALL_NORMS, Disjunct, Property
from plverify.result import Status
from plverify.unbounded import GivenUp, Walk, beyond_doubles

SPEC_MAGIC = b"PLVSPEC3"
_FOREVER = 1e9
"""Seconds that no clock of the engine need count."""

MAX_DIMENSION: int = _core.max_dimension
"""Regions come with vertices over domains of at most so many dimensions."""

Want = Literal["count", "regions", "ties"]
Progress = Callable[[int], None]


def as_domain(domain: Any, net: Network) -> Domain:
    """Check that ``domain`` is one and lies in the network's input space.

    Raises
    ------
    InputError
        If it is no domain, or has another ambient dimension than the network has inputs.
    """
    if not isinstance(domain, Domain):
        raise InputError(
            f"domain is a {type(domain).__name__}, expected a Box, Polytope, Slice or Space"
        )
    if domain.ambient != net.input_size:
        raise InputError(
            f"the domain ({domain.describe()}) lies in R^{domain.ambient}, "
            f"the network has {net.input_size} inputs"
        )
    return domain


def enumerate_regions(
    net: Network,
    domain: Domain,
    want: Want,
    *,
    threads: int = 1,
    timeout: float | None = None,
    exact: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask the engine for the activation regions of a network on a domain.

    Parameters
    ----------
    want : "count", "regions" or "ties"
        Count in constant memory, list, or find where two outputs tie for the maximum.
    threads : int
        The answer does not depend on it.
    timeout : float, optional
        Seconds of wall time after which the engine stops with what it has.
    exact : bool
        Whether every vertex is also computed exactly, where there are vertices: in at most
        `MAX_DIMENSION` dimensions.
    progress : callable, optional
        Called about ten times a second with the number of regions found so far.

    Raises
    ------
    InputError
        On a domain without interior, or of more than two dimensions for "ties".
    """
    check_limits(threads, timeout)
    options: dict[str, Any] = {"threads": threads, "timeout": timeout, "progress": progress}
    try:
        if domain.dim > MAX_DIMENSION and want != "ties":
            return _core.halfspaces(net.core, domain.to_bytes(), want, **options)
        return _core.enumerate(net.core, domain.to_bytes(), want, decide=int(exact), **options)
    except ValueError as error:
        raise InputError(str(error)) from None


def decide(
    net: Network,
    spec: Property,
    *,
    want_proof: bool = False,
    threads: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
    attack: bool = True,
    claim: tuple[Network, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Ask the engine whether some input of the network violates a property.

    Parameters
    ----------
    attack : bool
        False leaves out the search for violations by gradients: for a caller that has a nearest
        violation already and asks for nearer ones.
    claim : (Network, dict), optional
        What the file is to prove, if not just "unsat": the header of a proof, and the network that
        it is about. Without a file it is the body alone that is checked.

    Returns
    -------
    dict
        ``status`` ("sat", "unsat", "unknown", "timeout", "interrupted"); for "sat" ``disjunct`` and
        ``witness``, numerators and a denominator; ``proof`` and ``file``, the body of an "unsat"
        proof and all of it, where wanted; for "unknown" the ``reason``; ``nodes``, ``leaves``,
        ``stats``.

    Raises
    ------
    InputError
        If the property does not have the network's inputs and outputs.
    """
    check_limits(threads, timeout)
    sizes, wanted = (spec.n_inputs, spec.n_outputs), (net.input_size, net.output_size)
    if sizes != wanted:
        raise InputError(
            f"the property is about {sizes[0]} inputs and {sizes[1]} outputs, "
            f"the network has {wanted[0]} and {wanted[1]}"
        )
    limit = timeout if timeout is None or timeout < _FOREVER else None
    start = time.perf_counter()

    def search(asked: Property, seconds: float | None) -> dict[str, Any]:
        data = property_bytes(asked)
        return _core.verify(net.core, data, True, threads, seconds, progress, attack)

    boxes = {id(case.box): case.box for case in spec.disjuncts}  # disjuncts share them
    if any(map(beyond_doubles, boxes.values())):
        answer = _one_by_one(net, spec, limit, progress, search)
    else:
        answer = search(spec, limit)
    searched = time.perf_counter()
    answer["stats"]["search_seconds"] = searched - start
    if answer["status"] == "unsat":
        # The search proposes in floating point; the checker, which shares no code with it, decides.
        if not want_proof:
            verdict = check_body(answer["proof"], net, spec)
        elif claim is None:
            answer["file"] = encode(unsat_header(net, spec), answer["proof"])
            verdict = check(answer["file"], net, spec)
        else:
            answer["file"] = encode(claim[1], answer["proof"])
            verdict = check(answer["file"], claim[0])
        answer["stats"]["checked"] = verdict.stats
        answer["stats"]["check_seconds"] = time.perf_counter() - searched
        if not verdict:
            answer["status"] = "unknown"
            answer["stats"]["rejected"] = verdict.reason
            answer["reason"] = f"the checker does not accept the proof: {verdict.reason}"
    if answer["status"] == "unknown":
        answer.setdefault(
            "reason",
            "floating point mistook a unit for one that cannot switch, and no point refutes it",
        )
    if not want_proof:
        answer.pop("proof", None)
        answer.pop("file", None)
    return answer


def _one_by_one(
    net: Network,
    spec: Property,
    limit: float | None,
    progress: Progress | None,
    search: Callable[[Property, float | None], dict[str, Any]],
) -> dict[str, Any]:
    """The disjuncts by themselves, those first whose boxes the engine's search takes."""
    deadline = None if limit is None else time.monotonic() + limit
    order = sorted(range(len(spec.disjuncts)), key=lambda k: beyond_doubles(spec.disjuncts[k].box))
    whole: dict[str, Any] = {"status": "unsat", "nodes": 0, "leaves": 0, "stats": {}}
    bodies: dict[int, bytes] = {}
    for k in order:
        case = spec.disjuncts[k]
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not beyond_doubles(case.box):
            found = search(Property(spec.n_inputs, spec.n_outputs, (case,)), left)
        elif case.ball is None:
            found = _walk(net, case, deadline, progress)
        else:
            reason = "boxes about balls need bounds on all sides"
            found = {"status": "unknown", "reason": reason, "nodes": 0, "leaves": 0, "stats": {}}
        for name in ("nodes", "leaves"):
            whole[name] += found[name]
        for name, value in found["stats"].items():
            whole["stats"][name] = whole["stats"].get(name, 0) + value
        if found["status"] == "unsat":
            bodies[k] = found["proof"]
            continue
        whole |= {key: found[key] for key in ("status", "reason", "witness") if key in found}
        if found["status"] != "unknown":
            return whole | {"disjunct": k}
    return whole | {"proof": b"".join(bodies[k] for k in sorted(bodies))}


def _walk(
    net: Network, case: Disjunct, deadline: float | None, progress: Progress | None
) -> dict[str, Any]:
    """What the engine's search answers, of a disjunct whose box it does not take."""
    walk = Walk(net, case, deadline, progress)
    cpu, start = time.process_time(), time.perf_counter()
    answer: dict[str, Any] = {}
    try:
        answer["status"] = "sat" if walk.run() else "unsat"
    except KeyboardInterrupt:
        answer["status"] = "interrupted"
    except GivenUp as reason:
        answer |= {"status": "unknown", "reason": str(reason)}
        if str(reason) == "timeout":
            answer = {"status": "timeout"}
    answer |= {"nodes": walk.nodes, "leaves": walk.leaves, "proof": bytes(walk.body)}
    if walk.witness is not None:
        answer["witness"] = walk.witness
    answer["stats"] = {
        "programs": 0,
        "exact_programs": walk.programs,
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - start,
    }
    return answer


def property_bytes(spec: Property) -> bytes:
    """A property as the engine reads it."""
    numbers: dict[tuple[int, int], int] = {}  # disjuncts share boxes and balls
    shared: dict[bytes, int] = {}
    out = []
    for case in spec.disjuncts:
        pair = id(case.box), id(case.ball)
        if pair not in numbers:
            numbers[pair] = shared.setdefault(_inputs_bytes(case), len(shared))
        out.append(struct.pack("<II", numbers[pair], len(case.constraints)))
        for row in case.constraints:
            out.append(struct.pack("<B", row.strict))
            for terms in (row.inputs, row.outputs):
                out.append(struct.pack(f"<I{len(terms)}I", len(terms), *(i for i, _ in terms)))
            out += [pack_ints([v for _, v in terms]) for terms in (row.inputs, row.outputs)]
            out.append(pack_ints((row.bound.numerator, row.bound.denominator)))
    sizes = spec.n_inputs, spec.n_outputs, len(shared)
    cases = struct.pack("<I", len(spec.disjuncts))
    return b"".join([SPEC_MAGIC, struct.pack("<III", *sizes), *shared, cases, *out])


def _inputs_bytes(case: Disjunct) -> bytes:
    """The box and the ball of a disjunct."""
    out = []
    for value in (*case.box.lo, *case.box.hi):
        if isinstance(value, float):
            out.append(b"\x01")
        else:
            out += (b"\x00", _ratio_bytes(value))
    if case.ball is None:
        out.append(b"\x00")
    else:
        out.append(struct.pack("<B", 1 + BALL_NORMS.index(case.ball.norm)))
        out += map(_ratio_bytes, (*case.ball.center, case.ball.size))
    return b"".join(out)


_one_word = struct.Struct("<Bqq").pack


def _ratio_bytes(value: Fraction) -> bytes:
    """``INTS(2)`` of numerator and denominator, as `pack_ints` in a fifth of the time."""
    num, den = value.as_integer_ratio()
    words = max(num.bit_length(), den.bit_length()) // 64 + 1
    if words == 1:
        return _one_word(1, num, den)
    if words > 255:
        return pack_ints((num, den))  # raises
    ends = [v.to_bytes(8 * words, "little", signed=True) for v in (num, den)]
    return bytes((words,)) + ends[0] + ends[1]


def check_limits(threads: int, timeout: float | None) -> None:
    """Raise `InputError` on a number of threads or seconds that means nothing."""
    if timeout is not None and not timeout >= 0:
        raise InputError(f"timeout is {timeout}, expected at least 0 seconds")
    if threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")


def status_of(answer: dict[str, Any]) -> Status:
    """The status of an engine answer."""
    return Status.COMPLETE if answer["complete"] else Status(answer["reason"])
