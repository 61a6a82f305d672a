"""``plverify lipschitz``: intervals that hold a network's Lipschitz constant, or its layers'."""

from __future__ import annotations

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
from plverify.errors import InputError


def lipschitz(
    model: Model,
    box: Annotated[
        str | None,
        Option(
            help="LO,HI for every coordinate, or 'LO,HI;LO,HI'; default all of R^n.",
            metavar="LO,HI",
        ),
    ] = None,
    norm: Annotated[
        str, Option(help="l1, l2 or linf, in which inputs and outputs are measured.")
    ] = "l2",
    method: Annotated[
        str, Option(help="exact, product, or for l2 also eclipse, lipsdp-layer, lipsdp.")
    ] = "exact",
    output: Annotated[int | None, Option(help="One output, from 0; default the whole map.")] = None,
    per_layer: Annotated[
        bool, Option("--per-layer", help="The norms of every layer instead, in l1, l2 and linf.")
    ] = False,
    compare: Annotated[
        bool, Option("--compare", help="All methods, and the largest Jacobian at samples.")
    ] = False,
    plot: Annotated[
        str | None,
        Option(help="Draw the layers' norms, or what the methods say.", metavar="FILE"),
    ] = None,
    proof: Annotated[
        str | None, Option(help="Write a proof of the upper end.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float | None, Option(help="Stop after this many seconds with the interval found.")
    ] = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Bound the Lipschitz constant of a network from below and from above.

    Both ends of the interval that is printed are proven. Ctrl-C and --timeout print what is known
    so far, and the exit code is 1.

    Example: plverify lipschitz model.onnx --box 0,1 --norm linf --output 3
    """
    workers = check_run(threads, timeout)
    if plot is not None:
        check_output(plot, "--plot", (".png", ".svg", ".pdf"))
    if proof is not None:
        check_output(proof, "--proof")
    if plot is not None and not (per_layer or compare):
        raise InputError("--plot needs --per-layer or --compare, which say what to draw")
    if per_layer and compare:
        raise InputError("--per-layer and --compare cannot be given together")
    if proof is not None and (per_layer or compare):
        raise InputError("--proof is of one constant, without --per-layer and --compare")
    if per_layer:
        _layers(model, plot, json)
        return

    from plverify import gain
    from plverify.cli.verify import write_proof
    from plverify.network import load
    from plverify.result import Status

    net = load(model)
    domain = None if box is None else parse_box(box, net.input_size)
    if compare:
        with progress_line("nodes") as progress:
            every = gain.compare(net, domain, norm, output, timeout=timeout, progress=progress)
        _compared(model, net, output, every, plot, json)
        return
    with progress_line("nodes") as progress:
        found = gain.lipschitz(
            net,
            domain,
            norm,
            method,
            output,
            timeout=timeout,
            threads=workers,
            proof=proof is not None,
            progress=progress,
        )
    unwritten, written = write_proof(found.proof, proof)
    if json:
        asked: dict[str, Any] = {"model": model, "network": net.digest, "output": output}
        print_json({**asked, **found.to_dict(), "proof": written})
    else:
        print_rows(
            [
                ("status", str(found.status)),
                ("constant", _interval(found.lower, found.upper) + _exactly(found)),
                ("norm", norm if output is None else f"{norm}, of output {output}"),
                ("domain", found.domain),
                ("method", method),
                *(
                    [("proof", f"{written} (of at most {found.proof_upper:.12g})")]
                    if written
                    else []
                ),
                ("time", seconds_text(found.seconds)),
            ]
        )
    if unwritten is not None:
        raise unwritten
    raise Exit(0 if found.status is Status.COMPLETE else 1)


def _compared(
    model: str, net: Any, output: int | None, found: Any, plot: str | None, json: bool
) -> None:
    from plverify.report.gain_plots import plot_constants

    sampled = max(one.lower for one in found.values() if one.method == "product")
    ends = {name: (one.lower if name == "exact" else one.upper, one.upper)
            for name, one in found.items()}  # fmt: skip
    ends["sampled"] = (sampled, sampled)
    first = next(iter(found.values()))
    if plot is not None:
        title = f"{first.norm} Lipschitz constant, {first.domain}"
        plot_constants(ends, plot, title=title)
    if json:
        asked = {"model": model, "network": net.digest, "output": output, "sampled": sampled}
        constants = [one.to_dict() for one in found.values()]
        print_json({**asked, "constants": constants})
        return
    print_rows(
        [
            *((name, f"{_end_text(*ends[name])}, {seconds_text(one.seconds)}")
              for name, one in found.items()),
            ("sampled", f"at least {sampled:.12g}"),
            ("norm", first.norm if output is None else f"{first.norm}, of output {output}"),
            ("domain", first.domain),
            *([("plot", plot)] if plot is not None else []),
        ]
    )  # fmt: skip


def _end_text(lower: float, upper: float) -> str:
    return f"at most {upper:.12g}" if lower == upper else _interval(lower, upper)


def _interval(lower: float, upper: float) -> str:
    return f"[{lower:.12g}, {upper:.12g}]"


def _exactly(found: Any) -> str:
    return " (exact)" if found.exact else ""


def _layers(model: str, plot: str | None, json: bool) -> None:
    import time

    from plverify.gain import layer_norms
    from plverify.network import load
    from plverify.report.gain_plots import plot_layer_norms

    net = load(model)
    start = time.perf_counter()
    with progress_line("layers") as progress:
        found = layer_norms(net, progress)
    seconds = time.perf_counter() - start
    if plot is not None:
        plot_layer_norms(found, plot)
    if json:
        layers = [row.to_dict() for row in found]
        print_json({"model": model, "network": net.digest, "layers": layers, "seconds": seconds})
        return
    head = ("node", "kind", "inputs", "outputs", "l1", "l2", "linf")
    table = [
        (
            str(row.node),
            row.kind,
            f"{row.inputs:,}",
            f"{row.outputs:,}",
            *(_norm_text(*row_ends) for row_ends in (row.l1, row.l2, row.linf)),
        )
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
    for entries in (head, *table):
        print("  ".join(f"{text:>{w}}" for text, w in zip(entries, widths, strict=True)).rstrip())
    if plot is not None:
        print(f"plot  {plot}")


def _norm_text(lower: float, upper: float) -> str:
    """One number of as many digits as both ends share, nine or six, else both.

    >>> _norm_text(1.0, 1.0 + 1e-12), _norm_text(1.23456711, 1.23456722), _norm_text(1.0, 1.5)
    ('1', '1.23457', '1..1.5')
    """
    if upper - lower <= 1e-9 * upper:
        return f"{upper:.9g}"
    ends = f"{lower:.6g}", f"{upper:.6g}"
    return ends[0] if ends[0] == ends[1] else "..".join(ends)
