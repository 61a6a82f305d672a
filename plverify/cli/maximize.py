"""``plverify maximize``: the exact maximum or minimum of an output over a box."""

from __future__ import annotations

import os
from typing import Annotated, Any

from plverify.cli.arguments import Exit, Json, Model, Option, Threads
from plverify.cli.common import (
    check_output,
    check_run,
    parse_box,
    print_json,
    print_rows,
    progress_line,
    seconds_text,
)
from plverify.cli.verify import point_text, write_proof
from plverify.result import plural

SHORT = 40
"""Characters up to which a fraction is printed as one."""


def maximize(
    model: Model,
    output: Annotated[int, Option(help="The number of the output, from 0.")] = 0,
    box: Annotated[
        str,
        Option(
            help="LO,HI for every coordinate, or 'LO,HI;LO,HI'. Exact: 0.1 is a tenth.",
            metavar="LO,HI",
        ),
    ] = "-1,1",
    minimize: Annotated[
        bool, Option("--minimize", help="The minimum instead of the maximum.")
    ] = False,
    proof: Annotated[
        str | None, Option(help="Write a proof of the optimum.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float | None,
        Option(help="Stop after this many seconds with the best value found."),
    ] = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Find the exact maximum of an output over a box, and an input that attains it.

    Ctrl-C and --timeout print the best value found so far, and the exit code is 1.

    Example: plverify maximize model.onnx --output 2 --box 0,1
    """
    workers = check_run(threads, timeout)
    if proof is not None:
        check_output(proof, "--proof")

    from plverify.domain import Box
    from plverify.extremum import maximize as find_maximum
    from plverify.extremum import minimize as find_minimum
    from plverify.network import load

    net = load(model)
    domain = parse_box(box, net.input_size)
    assert isinstance(domain, Box)
    find = find_minimum if minimize else find_maximum
    with progress_line("nodes") as progress:
        found = find(
            net,
            output,
            domain,
            timeout=timeout,
            threads=workers,
            proof=proof is not None,
            progress=progress,
        )
    unwritten, written = write_proof(found.proof, proof)
    if json:
        asked: dict[str, Any] = {"model": model, "network": net.digest}
        asked |= {"output": output, "box": domain.describe()}
        print_json({**asked, **found.to_dict(), "proof": written})
    else:
        shown = "not known"
        if found.value is not None:
            shown = point_text([found.value])
            if len(exact := str(found.value)) <= SHORT and exact != shown:
                shown = f"{shown} = {exact}"
        if not found.exact:
            side = "" if found.value is None else "at most " if minimize else "at least "
            shown = f"{side}{shown} (incomplete: {found.status})"
        rows = [(found.sense, shown)]
        if found.witness is not None:
            rows.append(("at", point_text(found.witness)))
        rows.append(("search", f"{plural(found.nodes, 'node')}, {seconds_text(found.seconds)}"))
        rows.append(("network", f"{net!r}"[1:-1] + f", sha256 {net.digest[:16]}..."))
        rows.append(("domain", domain.describe()))
        print_rows(rows)
        if written:
            print(f"wrote {written} ({os.path.getsize(written):,} bytes)")
    if unwritten is not None:
        raise unwritten
    raise Exit(0 if found.exact else 1)
