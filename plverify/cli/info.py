"""``plverify info``: what a model file says, as plverify understands it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from plverify.cli.arguments import Argument, Option
from plverify.cli.common import print_json, print_rows
from plverify.result import plural

if TYPE_CHECKING:
    from plverify.network import Network


def info(
    model: Annotated[str, Argument(help="A network file.", metavar="MODEL")],
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a model's layers, identity and definitions, and replay it against onnxruntime.

    An ONNX file is run in onnxruntime beside the imported network, layer by layer; a difference
    that rounding does not explain is an error.

    Example: plverify info model.onnx
    """
    from plverify.network import load

    net = load(model, replay=False)
    answer = {
        "model": model,
        "format": _format(model),
        "bytes": os.path.getsize(model),
        "inputs": net.input_size,
        "input_shape": list(net.input_shape),
        "outputs": net.output_size,
        "layers": _layers(net),
        "units": net.unit_count,
        **_weights(net),
        "digest": net.digest,
        "definitions": list(net.definitions),
        "replay": _replay(net, model),
    }
    if json:
        print_json(answer)
    else:
        _print(answer)


def _format(path: str) -> str:
    name = path.lower()
    return "onnx" if name.endswith(".onnx.gz") else name.rpartition(".")[2]


def kind_of(slopes: Any) -> str:
    """The kind of a layer's units by their slopes at ``z <= 0``.

    >>> kind_of([0.0, 0.0]), kind_of([0.25]), kind_of([-1.0]), kind_of([0.0, 1.0])
    ('ReLU', 'LeakyReLU(0.25)', 'Abs', 'mixed')
    """
    different = sorted({float(slope) for slope in slopes})
    if len(different) != 1:
        return "mixed"
    slope = different[0]
    named = {0.0: "ReLU", 1.0: "Identity", -1.0: "Abs"}
    return named.get(slope, f"LeakyReLU({slope:.9g})")


def _layers(net: Network) -> list[dict[str, Any]]:
    from plverify.nodes import Units

    out: list[dict[str, Any]] = []
    for k, (_, node) in enumerate(net.unit_nodes):
        if isinstance(node, Units):
            slopes = sorted({float(slope) for slope in node.slope})
            kind = kind_of(slopes)
            out.append({"layer": k, "units": node.size, "kind": kind, "slopes": slopes[:8]})
        else:
            out.append({"layer": k, "units": node.size, "kind": f"Max of {node.pieces}"})
    return out


def _weights(net: Network) -> dict[str, int]:
    """Numbers that the folded linear nodes store; shared kernels count once."""
    from plverify.nodes import Linear

    tables = [node.rows.num for node in net.nodes if isinstance(node, Linear)]
    total = sum(table.size for table in tables)
    return {"parameters": total, "zeros": total - sum(int((table != 0).sum()) for table in tables)}


def _replay(net: Network, path: str) -> dict[str, Any] | None:
    """The outcome of running the file in onnxruntime; None for other kinds of files."""
    if _format(path) != "onnx":
        return None
    from plverify.errors import MissingExtra
    from plverify.replay import NotReplayed, replay

    try:
        result = replay(net, path)
    except (MissingExtra, NotReplayed) as error:
        return {"replayed": False, "reason": str(error)}
    return {
        "replayed": True,
        "points": result.points,
        "largest_difference": result.largest,
        "fraction_of_bound": result.worst,
    }


def _print(answer: dict[str, Any]) -> None:
    shape = "x".join(map(str, answer["input_shape"]))
    shaped = f" (shape {shape})" if len(answer["input_shape"]) > 1 else ""
    total, zeros = answer["parameters"], answer["zeros"]
    rows = [
        ("model", answer["model"]),
        ("format", f"{answer['format']}, {answer['bytes']:,} bytes"),
        ("inputs", f"{answer['inputs']:,}{shaped}"),
        ("outputs", f"{answer['outputs']:,}"),
        ("units", f"{answer['units']:,} in {plural(len(answer['layers']), 'layer')}"),
    ]
    rows += [
        (f"  layer {entry['layer']}", f"{entry['units']:,} {_kind_text(entry)}")
        for entry in answer["layers"]
    ]
    rows += [
        ("parameters", f"{total:,} after folding, {zeros:,} of them zero"),
        ("digest", f"sha256 {answer['digest']}"),
    ]
    rows += [("definition", text) for text in answer["definitions"]]
    if not answer["definitions"]:
        rows.append(("definition", "none: every constant is taken exactly as stored"))
    rows.append(("replay", _replay_text(answer["replay"])))
    print_rows(rows)


def _kind_text(entry: dict[str, Any]) -> str:
    if entry["kind"] != "mixed":
        return str(entry["kind"])
    return f"units with slopes {', '.join(f'{slope:.9g}' for slope in entry['slopes'])}"


def _replay_text(result: dict[str, Any] | None) -> str:
    if result is None:
        return "not an ONNX file: nothing to run beside it"
    if not result["replayed"]:
        return f"not replayed: {result['reason']}"
    return (
        f"agrees with onnxruntime at {result['points']} points, layer by layer; "
        f"largest difference {result['largest_difference']:.3g}, "
        f"{result['fraction_of_bound']:.2g} of the rounding bound"
    )
