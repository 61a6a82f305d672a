"""``plverify compete``: one instance of the verification competition."""

from __future__ import annotations

import sys
import time
from typing import Annotated

from plverify.cli.arguments import Argument, Option
from plverify.cli.common import check_output, check_run, require_file


def compete(
    model: Annotated[
        str, Argument(help="An ONNX file, or a list [('name', 'file')].", metavar="MODEL")
    ],
    spec: Annotated[str, Argument(help="A VNN-LIB file, version 1.0 or 2.0.", metavar="SPEC")],
    result: Annotated[
        str | None,
        Argument(
            help="The results file to write; without it files are only read.", metavar="RESULT"
        ),
    ] = None,
    timeout: Annotated[float | None, Option(help="Seconds for everything.")] = None,
    threads: Annotated[int, Option(help="Threads; 0 for one per core.", min=0)] = 0,
) -> None:
    """Answer one instance of the verification competition, by its replay rules.

    The results file gets sat, unsat, unknown or timeout, and a witness that onnxruntime replays:
    here sat means that an input violates as executed in the model's own element type, which need
    not be true of the real function. See competition/README.md. Without RESULT both files are read
    and the model is compared with onnxruntime, which is then remembered.

    Example: plverify compete net.onnx prop.vnnlib out.txt --timeout 116
    """
    start = time.monotonic()
    workers = check_run(threads, timeout)
    if result is not None:
        check_output(result, "RESULT")
    require_file(spec, "SPEC")

    from plverify.bench.instances import network_file
    from plverify.competition import answer, witness_text
    from plverify.io.vnnlib import read_query
    from plverify.network import load
    from plverify.proof import write_atomically

    net = load(network_file(model))
    query = read_query(spec)
    if result is None:
        return
    left = None if timeout is None else max(0.0, timeout - (time.monotonic() - start))
    entry = answer(net, query.property, timeout=left, threads=workers)
    text = f"{entry.verdict}\n"
    if entry.point is not None:
        text += witness_text(entry.point, query)
    if entry.note:
        print(f"plverify compete: {entry.note}", file=sys.stderr)
    write_atomically(result, text.encode())
    print(entry.verdict)
