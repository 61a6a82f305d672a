"""``plverify verify``: whether any input violates a property."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import (
    check_output,
    check_run,
    print_json,
    print_rows,
    progress_line,
    require_file,
    seconds_text,
)
from plverify.errors import InputError
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.network import Network
    from plverify.property import Property
    from plverify.verdict import Verification

SHOWN = 8
"""Coordinates of a point that are printed."""


def verify(
    model: Annotated[str, Argument(help="A network file, or a query.", metavar="MODEL")],
    spec: Annotated[
        str | None, Argument(help="A property, .vnnlib or .vnnlib.gz.", metavar="SPEC")
    ] = None,
    proof: Annotated[
        str | None, Option(help="Write a proof of the answer.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float | None, Option(help="Stop the search after this many seconds.")
    ] = None,
    threads: Annotated[
        int, Option(help="Threads; 0 for one per core. The answer is the same.", min=0)
    ] = 1,
    no_float32: Annotated[
        bool, Option("--no-float32", help="Do not run the model in float32 at all.")
    ] = False,
    float32_sound: Annotated[
        bool,
        Option("--float32-sound", help="Prove unsat for every float32 execution, too."),
    ] = False,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
    network: Annotated[
        list[str] | None,
        Option(help="The model of a VNN-LIB 2.0 query's network.", metavar="NAME=MODEL"),
    ] = None,
    real: Annotated[bool, Option(help="Read the element types of a query as real.")] = False,
) -> None:
    """Decide exactly whether any input violates a property.

    The first line is sat (with an exact input that violates), unsat (nothing does), unknown or
    timeout; the exit code is 0 for sat and unsat, else 1. The statement is about the real function;
    whether the model as executed in float32 violates next to the witness is said beside it.

    With --network, the arguments and the answer are those of the VNN-LIB 2.0 standard: its query
    instead of MODEL SPEC; sat, unsat, unknown or timed-out; the values of all declared tensors.

    Example: plverify verify model.onnx property.vnnlib --proof model.proof
    Example: plverify verify query.vnnlib --network f=model.onnx --timeout 60
    """
    workers = check_run(threads, timeout)
    if proof is not None:
        check_output(proof, "--proof")

    from plverify.network import load
    from plverify.property import Property
    from plverify.verdict import verify as decide

    query = None
    if network:
        from plverify.cli import query as standard

        if spec is not None:
            raise InputError("with --network the query is the only argument")
        query, net = standard.read(model, network, real=real)
        prop, spec, model = query.property, model, network[0].partition("=")[2]
    else:
        if spec is None:
            raise InputError("no SPEC given (see plverify verify --help)")
        require_file(spec, "SPEC")
        net, prop = load(model), Property.from_vnnlib(spec)
    with progress_line("nodes") as progress:
        found = decide(
            net,
            prop,
            timeout=timeout,
            threads=workers,
            proof=proof is not None,
            progress=progress,
            float32=not no_float32,
            float32_sound=float32_sound,
        )
    unwritten, written = write_proof(found.proof, proof)
    if json:
        asked = {"model": model, "network": net.digest, "spec": spec, "property": prop.describe()}
        print_json({**asked, **found.to_dict(), "proof": written})
    elif query is not None:
        standard.show(found, query)
    else:
        _print(found, net, prop)
        if written:
            print(f"wrote {written} ({os.path.getsize(written):,} bytes)")
    if unwritten is not None:
        raise unwritten
    raise Exit(0 if found.status in ("sat", "unsat") else 1)


def write_proof(data: Any, path: str | None) -> tuple[InputError | None, str | None]:
    """Write a proof where one is wanted and there is one: what went wrong, or the path.

    The answer is printed either way.
    """
    from plverify.proof import write_atomically

    if path is None:
        return None, None
    if data is None:
        print("no proof: the question is not decided", file=sys.stderr)
        return None, None
    try:
        write_atomically(path, data)
    except InputError as error:
        return InputError(f"--proof {path}: {error}"), None
    return None, path


def point_text(values: Sequence[Fraction | float]) -> str:
    """The coordinates of a point, rounded, the first few of them.

    >>> point_text([Fraction(1, 3), 2.0])
    '0.333333333333, 2'
    """
    from plverify.result import rounded

    shown = [f"{rounded(Fraction(v)):.12g}" for v in values[:SHOWN]]
    return ", ".join(shown) + (f", ... ({len(values)} numbers)" if len(values) > SHOWN else "")


def _print(found: Verification, net: Network, prop: Property) -> None:
    """The answer for people, the status first."""
    status = str(found.status)
    print("unknown" if status == "interrupted" else status)
    rows = []
    if status == "interrupted" or found.reason:
        rows.append(("reason", found.reason or status))
    if found.witness is not None and found.outputs is not None and found.disjunct is not None:
        rows.append(("input", point_text(found.witness)))
        rows.append(("output", point_text(found.outputs)))
        broken = prop.disjuncts[found.disjunct].constraints
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        if broken:
            rows.append(("violates", " and ".join(c.describe() for c in broken[:3]) + more))
    if found.float32 is not None:
        by = f" by {found.float32_runtime}" if found.float32_runtime else ""
        rows.append(("float32", found.float32.replace("_", " ") + by))
        run = found.float32_witness
        if run is not None and tuple(map(Fraction, run)) != found.witness:
            rows.append(("", f"at {point_text(run)}"))
    if found.float32_violation is not None:
        rows.append(
            (
                "float32",
                f"violates as executed by {found.float32_runtime}, though nothing real does",
            )
        )
        rows.append(("", f"at {point_text(found.float32_violation)}"))
    rows.append(("search", f"{plural(found.nodes, 'node')}, {seconds_text(found.seconds)}"))
    rows.append(("network", f"{net!r}"[1:-1] + f", sha256 {net.digest[:16]}..."))
    rows.append(("property", prop.describe()))
    print_rows(rows)
