"""`verify`: whether any input violates a property, as a theorem about the real function.

``sat`` comes with an exact rational input that lies exactly in the property's box and violates it,
``unsat`` can come with a proof that no input does. What a float32 execution of the network does is
reported beside that and never changes it.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from plverify import float32 as executed
from plverify import proof as proof_files
from plverify.certificate import evaluate
from plverify.errors import InputError, MissingExtra
from plverify.network import Network, load
from plverify.property import Property
from plverify.question import Progress, decide
from plverify.result import Result, Status

Point = tuple[Fraction, ...]
Floats = tuple[float, ...]


@dataclass(frozen=True)
class Verification(Result):
    """The answer to "does any input violate this property?".

    Attributes
    ----------
    status : Status
        "sat": `witness` violates. "unsat": nothing does. "unknown", "timeout", "interrupted":
        neither is known.
    reason : str or None
        Why "unknown": a box without bounds on all sides in which there are too many cells
        (`plverify.unbounded`), or a proof that the checker did not accept.
    witness, outputs : tuple of Fraction, or None
        For "sat" an input, exactly inside the box, and the exact outputs there.
    disjunct : int or None
        Which of the property's disjuncts the witness lies in.
    float32 : str or None
        For "sat": "confirmed" if a float32 input exactly inside a box violates as executed,
        "not_confirmed" if none was found, "no_float32_point" if no box holds one. For "unsat",
        where a proof about executions was asked for: "proved" if no float32 input violates as
        executed, with all rounding that `plverify.executed` allows, else "unknown". None if nothing
        was tried.
    float32_witness, float32_outputs : tuple of float, or None
        That input, and what came out.
    float32_violation : tuple of float, or None
        For "unsat": a float32 input whose execution violates all the same.
    float32_runtime : str or None
        What executed it: "onnxruntime", "torch", or "numpy" for networks that came from arrays.
    proof : bytes, str or None
        The proof, or the file it was written to.
    nodes, leaves : int
        Of the search.
    seconds : float
        Wall time.
    stats : dict
        What the engine counted.

    >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])         # |x|
    >>> from plverify.domain import Box
    >>> found = verify(net, Property.output_at_most(Box(-1, 2, 1), 0, "1.9"))
    >>> found.status.value, found.outputs > (Fraction(19, 10),), found.float32
    ('sat', True, 'confirmed')
    >>> verify(net, Property.output_at_most(Box(-1, 2, 1), 0, 2)).status.value
    'unsat'
    """

    status: Status
    reason: str | None = None
    witness: Point | None = None
    outputs: Point | None = None
    disjunct: int | None = None
    float32: str | None = None
    float32_witness: Floats | None = None
    float32_outputs: Floats | None = None
    float32_violation: Floats | None = None
    float32_runtime: str | None = None
    proof: bytes | str | None = field(default=None, repr=False)
    nodes: int = 0
    leaves: int = 0
    seconds: float = 0.0
    stats: dict[str, Any] = field(default_factory=dict, repr=False)


def verify(
    net: Network | Any,
    spec: Property | str | os.PathLike[str],
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    float32: bool = True,
    float32_sound: bool = False,
) -> Verification:
    """Decide whether any input of a network violates a property, exactly.

    Parameters
    ----------
    net : Network, or what `load` reads
    spec : Property, or path of a VNN-LIB file
    timeout : float, optional
        Seconds after which the search stops and the status is "timeout".
    threads : int
        The status does not depend on it.
    proof : True, path, optional
        Keep a proof in `Verification.proof`, or write it to a file, where the status is "sat" or
        "unsat".
    progress : callable, optional
        Called about ten times a second with the number of nodes searched so far.
    float32 : bool
        Whether float32 inputs near the witness are executed, too.
    float32_sound : bool
        Whether "unsat" is to be proved for float32 executions, too, with the same proof or one with
        more room for rounding (`plverify.float32.prove`). The answer is in `Verification.float32`.

    Raises
    ------
    InputError
        If the property does not have the network's inputs and outputs, a file cannot be read, or
        the proof cannot be written.
    """
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    prop = spec if isinstance(spec, Property) else Property.from_vnnlib(spec)
    answer = decide(
        network,
        prop,
        want_proof=bool(proof) or float32_sound,
        threads=threads,
        timeout=timeout,
        progress=progress,
    )
    status = Status(answer["status"])
    known: dict[str, Any] = {}
    written: bytes | None = None
    if status is Status.SAT:
        known = checked_witness(network, prop, answer)
        if proof:
            header = proof_files.sat_header(network, prop, known["disjunct"], known["witness"])
            written = proof_files.encode(header, b"")
    if float32 and status in (Status.SAT, Status.UNSAT):
        left = math.inf if timeout is None else timeout - (time.perf_counter() - start)
        known |= _execution(network, prop, known, min(executed.SECONDS, max(left, 0.0)))
    if status is Status.UNSAT:
        written = answer["file"] if proof else None
        if float32_sound:
            known["float32"] = executed.UNKNOWN
            if "float32_violation" not in known:
                seconds = None if timeout is None else timeout - (time.perf_counter() - start)
                limits: dict[str, Any] = {
                    "threads": threads,
                    "timeout": seconds,
                    "progress": progress,
                }
                stronger = _proof_of_execution(network, prop, answer["proof"], limits)
                if stronger is not None:
                    known["float32"] = executed.PROVED
                    if proof:
                        header = proof_files.unsat_header(network, prop)
                        written = proof_files.encode(header, stronger)
    return Verification(
        status=status,
        reason=answer.get("reason"),
        **known,
        proof=keep_proof(written, proof),
        nodes=answer["nodes"],
        leaves=answer["leaves"],
        seconds=time.perf_counter() - start,
        stats=dict(answer["stats"]),
    )


def checked_witness(net: Network, spec: Property, answer: dict[str, Any]) -> dict[str, Any]:
    """``witness``, ``outputs`` and ``disjunct`` of a "sat" answer, checked without the engine.

    Raises
    ------
    RuntimeError
        If the witness does not violate: an error of the engine.
    """
    numerators, den = answer["witness"]
    witness = tuple(Fraction(v, den) for v in numerators)
    outputs = tuple(evaluate(net, witness))
    disjunct = answer["disjunct"]
    if not spec.disjuncts[disjunct].contains(witness, outputs):
        raise RuntimeError(f"the witness does not lie in disjunct {disjunct}")
    return {"witness": witness, "outputs": outputs, "disjunct": disjunct}


def _execution(
    net: Network, spec: Property, known: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """The fields about float32; none where nothing can be run, or Ctrl-C ends the search."""
    try:
        if known:
            status, found = executed.confirm(
                net, spec, known["disjunct"], known["witness"], seconds
            )
            out: dict[str, Any] = {"float32": status}
            if found is not None:
                out |= {"float32_witness": found.point, "float32_outputs": found.outputs}
        else:
            found = executed.violation(net, spec, seconds)
            out = {} if found is None else {"float32_violation": found.point}
            if found is not None:
                out["float32_outputs"] = found.outputs
        return out if found is None else out | {"float32_runtime": found.runtime}
    except (InputError, MissingExtra) as error:
        warnings.warn(f"nothing was run in float32: {error}", stacklevel=3)
    except KeyboardInterrupt:
        pass
    return {}


def _proof_of_execution(
    net: Network, spec: Property, body: bytes, limits: dict[str, Any]
) -> bytes | None:
    """A body that also proves "unsat" of executions; None if there is none, or Ctrl-C comes."""
    try:
        return executed.prove(net, spec, body, **limits)
    except (InputError, MissingExtra) as error:
        warnings.warn(f"nothing is proved about float32: {error}", stacklevel=3)
    except KeyboardInterrupt:
        pass
    return None


# ------------------------------------------------------------------ what results share


def keep_proof(
    data: bytes | None, where: bool | str | os.PathLike[str] | None
) -> bytes | str | None:
    """The proof itself, or the path it is now in."""
    if data is None or isinstance(where, bool) or where is None:
        return data
    proof_files.write_atomically(where, data)
    return os.fspath(where)
