"""``plverify verify``: whether any input violates a property."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    model: Annotated[str, typer.Argument(help="A network file.", metavar="MODEL")],
    spec: Annotated[str, typer.Argument(help="A property, .vnnlib or .vnnlib.gz.", metavar="SPEC")],
    proof: Annotated[
        str | None, typer.Option(help="Write a proof of the answer.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Stop the search after this many seconds.")
    ] = None,
    threads: Annotated[
        int, typer.Option(help="Threads; 0 for one per core. The answer is the same.", min=0)
    ] = 1,
    no_float32: Annotated[
        bool, typer.Option("--no-float32", help="Do not run the model in float32 at all.")
    ] = False,
    float32_sound: Annotated[
        bool,
        typer.Option("--float32-sound", help="Prove unsat for every float32 execution, too."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decide exactly whether any input violates a property.

    The first line is sat (with an exact input that violates), unsat (nothing does), unknown or
    timeout; the exit code is 0 for sat and unsat, else 1. The statement is about the real function;
    whether the model as executed in float32 violates next to the witness is said beside it.

    Example: plverify verify model.onnx property.vnnlib --proof model.proof
    """
    workers = check_run(threads, timeout)
    if proof is not None:
        check_output(proof, "--proof")
    require_file(spec, "SPEC")

    from plverify.network import load
    from plverify.property import Property
    from plverify.verdict import verify as decide

    net = load(model)
    prop = Property.from_vnnlib(spec)
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
    else:
        _print(found, net, prop)
        if written:
            print(f"wrote {written} ({os.path.getsize(written):,} bytes)")
    if unwritten is not None:
        raise unwritten
    raise typer.Exit(0 if found.status in ("sat", "unsat") else 1)


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
    if status == "interrupted":
        rows.append(("reason", status))
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
