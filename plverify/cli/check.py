"""``plverify check``: validate a proof with the independent checker."""

from __future__ import annotations

from typing import Annotated

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import print_json, require_file


def check(
    proof: Annotated[str, Argument(help="A proof file.", metavar="PROOF")],
    model: Annotated[str, Argument(help="The network that the proof is about.", metavar="MODEL")],
    spec: Annotated[
        str | None,
        Argument(help="The VNN-LIB file that the proof must be about, .gz too.", metavar="[SPEC]"),
    ] = None,
    python: Annotated[
        bool, Option("--python", help="Read trees in plain Python integers, slowly.")
    ] = False,
    float32: Annotated[
        bool, Option("--float32", help="Ask for unsat of every float32 execution, too.")
    ] = False,
    other: Annotated[
        str | None, Option(help="The second network of a proof about two.", metavar="MODEL")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print what a proof claims, then whether it proves it: accepted or rejected.

    The proof is validated in exact arithmetic by code that shares no reasoning with the engine. The
    exit code is 0 if it is accepted and 1 if it is rejected. With a SPEC, a proof about any other
    property is rejected, too.

    Example: plverify check model.proof model.onnx property.vnnlib
    """
    from plverify.certificate import check as validate
    from plverify.network import load
    from plverify.property import Property

    require_file(proof, "proof")
    asked = None
    if spec is not None:
        require_file(spec, "specification")
        asked = Property.from_vnnlib(spec)
    second = None if other is None else load(other)
    verdict = validate(proof, load(model), asked, python=python, float32=float32, other=second)
    if json:
        print_json(
            {
                "accepted": verdict.accepted,
                "claim": verdict.claim,
                "reason": verdict.reason,
                "stats": verdict.stats,
            }
        )
    else:
        print(verdict.claim or "(no claim could be read)")
        print("accepted" if verdict else f"rejected: {verdict.reason}")
    raise Exit(0 if verdict else 1)
