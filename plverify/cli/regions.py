"""``plverify regions``: count, list, draw and prove the regions of a network on a domain."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from plverify import theory
from plverify.cli import bounds as bounds_module
from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import (
    check_output,
    check_run,
    cores,
    print_json,
    print_rows,
    progress_line,
    read_domain,
    refuse_both,
    seconds_text,
    units_text,
)
from plverify.errors import InputError
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.domain import Domain
    from plverify.network import Network
    from plverify.partition import RegionCount
    from plverify.region_list import RegionList


def regions(
    model: Annotated[str, Argument(help="A network file.", metavar="MODEL")],
    box: Annotated[
        str | None,
        Option(
            help="LO,HI for every coordinate, or 'LO,HI;LO,HI'. Exact: 0.1 is a tenth; inf is "
            "allowed. Default -1,1 (for --segment 0,1).",
            metavar="LO,HI",
        ),
    ] = None,
    slice_file: Annotated[
        str | None,
        Option(
            "--slice",
            help="Study x = origin + basis t: an npz file with arrays origin (n,) and basis "
            "(n, k), also called c and P; optional lo, hi of t.",
            metavar="FILE.npz",
        ),
    ] = None,
    segment: Annotated[
        str | None,
        Option(
            help="Study the segment from a to b, 'a1,a2,...;b1,b2,...' or an npz file with arrays "
            "a and b; t is 0 at a and 1 at b.",
            metavar="'a;b'",
        ),
    ] = None,
    space: Annotated[bool, Option("--space", help="Study all of space instead of a box.")] = False,
    polygon: Annotated[
        str | None,
        Option(
            help="Study a convex polygon: 'x,y;x,y;...' in order, a text file with one corner per "
            "line, or an npy file.",
            metavar="POINTS",
        ),
    ] = None,
    along: Annotated[
        str | None,
        Option(
            help="Follow the path through given inputs: an npz file with an array points (m, n), "
            "also called X.",
            metavar="PATH.npz",
        ),
    ] = None,
    count: Annotated[bool, Option("--count", help="Only count, in constant memory.")] = False,
    threads: Annotated[
        int, Option(help="Threads; 0 for one per core. The answer is the same.", min=0)
    ] = 1,
    timeout: Annotated[
        float | None,
        Option(help="Stop the enumeration after this many seconds with what is found."),
    ] = None,
    plot: Annotated[
        str | None,
        Option(help="Draw the regions to a png, svg or pdf file.", metavar="OUT.png"),
    ] = None,
    color: Annotated[
        str, Option(help="Of the drawing: map, class, norm, random, layer or plain.")
    ] = "map",
    layer: Annotated[
        int | None, Option(help="Draw where this hidden layer bends; 0 is the first.")
    ] = None,
    mesh: Annotated[
        str | None,
        Option(
            help="In three dimensions, write the decision boundary (of one output: where it is 0) "
            "as a triangle mesh, obj or ply.",
            metavar="OUT.ply",
        ),
    ] = None,
    out: Annotated[
        str | None, Option(help="Write the regions to an npz file.", metavar="FILE.npz")
    ] = None,
    proof: Annotated[
        str | None,
        Option(help="Write a proof that these are all regions.", metavar="FILE"),
    ] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the regions of a network on a box, slice or line, exactly.

    An activation region is a full-dimensional set of inputs with one activation pattern; a linear
    region a maximal union of those with one affine map. Models of more than 32 inputs need
    a --slice or a --segment. Ctrl-C and --timeout print what is found so far, marked incomplete.

    Example: plverify regions model.onnx --box -1,1 --plot regions.png
    """
    files = {"--plot": plot, "--mesh": mesh, "--out": out, "--proof": proof}
    _check_options(count, threads, timeout, files)
    if along is not None:
        from plverify.cli.along import run_along

        others: dict[str, Any] = {"--box": box, "--slice": slice_file, "--segment": segment}
        others |= {"--space": space or None, "--polygon": polygon, "--count": count or None}
        others |= {"--mesh": mesh, "--out": out, "--proof": proof, "--layer": layer}
        others |= {"--color": None if color == "map" else color}
        workers = threads or cores()
        run_along(model, along, workers, timeout, plot, json=json, others=others)
    if plot is not None:
        from plverify.report.drawing import check_target
        from plverify.report.plots import COLORS

        check_target(plot)
        if color not in COLORS:
            raise InputError(f"--color is {color!r}, expected one of {', '.join(COLORS)}")
    elif layer is not None or color != "map":
        raise InputError("--layer and --color are about the drawing: give --plot too")

    from plverify.network import load
    from plverify.partition import count_regions
    from plverify.partition import regions as list_regions
    from plverify.region_list import RegionList

    net = load(model)
    domain = read_domain(net, box, slice_file, segment, space, polygon)
    if domain.dim > 2 and plot is not None:
        raise InputError(
            f"--plot is for one and two dimensions, this domain has {domain.dim}: give a --slice"
        )
    if domain.dim != 3 and mesh is not None:
        raise InputError(f"--mesh is for three dimensions, this domain has {domain.dim}")
    if layer is not None and not 0 <= layer < len(net.widths):
        raise InputError(f"--layer is {layer}, the model has {plural(len(net.widths), 'layer')}")
    limit = timeout if timeout is None or timeout < 1e9 else None
    options: dict[str, Any] = {"threads": threads or cores(), "timeout": limit}
    found: RegionList | RegionCount
    with progress_line("regions") as progress:
        if count:
            found = count_regions(net, domain, progress=progress, **options)
        else:
            exact = proof is not None and domain.dim <= 2
            found = list_regions(net, domain, exact=exact, progress=progress, **options)
    table = bounds_for(net, domain)
    broken = theory.violated(found.count, table)
    if broken:
        raise RuntimeError(
            f"{found.count} regions are more than the proven bound of {broken[0].value} "
            f"({broken[0].name})"
        )
    answer = _answer(found, model, net, domain, table)
    failure: Exception | None = None
    if not json:
        try:
            _print(answer, net)
            sys.stdout.flush()
        except OSError as error:  # nobody reads on, or no room: the files are still wanted
            failure = error
    if isinstance(found, RegionList):
        quiet = json or failure is not None
        writers: list[tuple[str, str | None, Callable[[str], None]]] = [
            ("plot", plot, partial(_draw, found, color, layer)),
            ("mesh", mesh, partial(_write_mesh, found, answer, options)),
            ("out", out, found.save),
            ("proof", proof, partial(found.write_proof, threads=options["threads"])),
        ]
        unwritten = _write_files(found, answer, writers, quiet)
        failure = failure or unwritten
    if json:
        print_json(answer)
    if failure is not None:
        raise failure
    raise Exit(0 if answer["status"] == "complete" else 1)


def _check_options(
    count: bool, threads: int, timeout: float | None, files: dict[str, str | None]
) -> None:
    """Refuse what cannot work before any work is done."""
    check_run(threads, timeout)
    suffixes = {"--out": [".npz"], "--mesh": [".obj", ".ply"]}
    for option, path in files.items():
        refuse_both({"--count": count or None, option: path})
        if path is not None:
            check_output(path, option, suffixes.get(option, []))


def bounds_for(net: Network, domain: Domain) -> list[theory.Bound]:
    """The published bounds on the regions of this network on a domain of this dimension."""
    from plverify.nodes import Units

    if not net.is_chain:
        return []  # the published bounds are about chains
    units = [node for _, node in net.unit_nodes if isinstance(node, Units)]
    slopes = {float(slope) for node in units for slope in node.slope}
    if slopes <= {0.0}:
        return theory.bounds_table(domain.dim, net.widths)
    return theory.bounds_table(domain.dim, net.widths, "leaky", leaky_slopes=sorted(slopes))


def _answer(
    found: RegionList | RegionCount,
    model: str,
    net: Network,
    domain: Domain,
    table: list[theory.Bound],
) -> dict[str, Any]:
    """The JSON object: the fields of the result, what was asked, and the bounds."""
    from plverify.partition import RegionSet

    answer: dict[str, Any] = {
        "model": model,
        "network": net.digest,
        "widths": list(net.widths),
        "domain": domain.describe(),
        "dim": domain.dim,
        "count": found.count,
        "linear_count": None,
        "complete": found.complete,
        "status": str(found.status),
        "dead_units": found.dead_units,
        "always_active_units": found.always_active_units,
        "knots": found.count - 1 if domain.dim == 1 and found.complete else None,
        "visible_knots": None,
        "seconds": found.stats["wall_seconds"],
        "stats": found.stats,
        "bounds": [bounds_module.row(bound) for bound in table],
        "files": {},
    }
    if isinstance(found, RegionSet):
        try:
            answer["linear_count"] = found.linear_count
            if answer["knots"] is not None:
                labels = found.linear_labels
                answer["visible_knots"] = int((labels[1:] != labels[:-1]).sum())
        except KeyboardInterrupt:
            answer["status"] = "interrupted"
    return answer


def _print(answer: dict[str, Any], net: Network) -> None:
    """The answer for people."""
    shown = f"{answer['count']:,}"
    if not answer["complete"]:
        shown = f"at least {shown} (incomplete: {answer['status']})"
    rows = [("activation regions", shown)]
    if answer["linear_count"] is not None:
        among = "" if answer["complete"] else " among those found"
        rows.append(("linear regions", f"{answer['linear_count']:,}{among}"))
    elif answer["status"] == "interrupted" and answer["complete"]:
        rows.append(("linear regions", "not known (interrupted)"))
    if answer["knots"] is not None:
        seen = answer["visible_knots"]
        visible = "" if seen is None else f" ({seen:,} seen in the output)"
        rows.append(("knots", f"{answer['knots']:,}{visible}"))
    for label, key in (("dead units", "dead_units"), ("always active", "always_active_units")):
        if answer[key] is not None:
            rows.append((label, units_text(answer[key], net.unit_count)))
    widths = "-".join(map(str, (net.input_size, *net.widths, net.output_size)))
    rows.append(("time", seconds_text(answer["seconds"])))
    rows.append(("network", f"{widths}, sha256 {net.digest[:16]}..."))
    rows.append(("domain", answer["domain"]))
    print_rows(rows)
    _print_bounds(answer)


def _print_bounds(answer: dict[str, Any]) -> None:
    """The bounds that apply, nearest first, beside the count."""
    count = answer["count"]
    known = [b for b in answer["bounds"] if b["applies"] and b["scientific"] is not None]
    upper = [b for b in known if b["kind"] == "upper" and b["proven"]]
    lower = [b for b in known if b["kind"] == "max-lower"]
    mean = [b for b in known if b["kind"] == "expectation"]
    print()
    names: dict[float, list[str]] = {}  # equal values on one line
    for bound in sorted(upper, key=lambda b: b["log10"]):
        names.setdefault(bound["log10"], []).append(bound["name"])
    values = {bound["log10"]: bound for bound in upper}
    rows = [
        (f"at most {_value(values[key])}", f"{', '.join(names[key])}{_share(count, values[key])}")
        for key in names
    ]
    rows += [(f"some net has {_value(b)}", b["name"]) for b in lower]
    rows += [(f"mean about {_value(b)}", f"{b['name']}, at random weights") for b in mean]
    print_rows(rows)


def _value(bound: dict[str, Any]) -> str:
    value = bound["value"]
    return f"{value:,}" if value is not None and value < 10**15 else str(bound["scientific"])


def _share(count: int, bound: dict[str, Any]) -> str:
    value = bound["value"]
    if value is None or value > 10**12:
        return ""
    return ": attained" if value == count else f": {100 * count / value:.3g} % of it"


def _draw(found: RegionList, color: str, layer: int | None, path: str) -> None:
    from plverify.partition import RegionSet
    from plverify.report.plots import plot_regions

    assert isinstance(found, RegionSet)  # in one and two dimensions
    plot_regions(found, path, color, layer=layer)


def _write_mesh(
    found: RegionList, answer: dict[str, Any], options: dict[str, Any], path: str
) -> None:
    from plverify.boundary import decision_boundary
    from plverify.decision_mesh import DecisionMesh

    boundary = decision_boundary(found.net, found.domain, **options)
    assert isinstance(boundary, DecisionMesh)  # in three dimensions
    boundary.save(path)
    if answer["complete"]:  # the list is; the mesh may have come too late
        answer["status"] = str(boundary.status)


def _write_files(
    found: RegionList,
    answer: dict[str, Any],
    writers: list[tuple[str, str | None, Callable[[str], None]]],
    quiet: bool,
) -> InputError | None:
    """Write what was asked for; the first failure is returned, so that the answer is printed."""
    failure = None
    for key, path, write in writers:
        if path is None:
            continue
        if key == "proof" and not found.complete:
            print(f"no proof of an incomplete list ({found.reason})", file=sys.stderr)
            continue
        try:
            write(path)
        except InputError as error:
            failure = failure or InputError(f"--{key} {path}: {error}")
            continue
        except KeyboardInterrupt:
            answer["status"] = "interrupted"
            break
        answer["files"][key] = path
        if not quiet:
            print(f"wrote {path} ({os.path.getsize(path):,} bytes)", flush=True)
    return failure
