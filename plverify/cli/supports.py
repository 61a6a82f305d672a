"""``plverify supports``: what kinds of queries can be answered, as VNN-LIB 2.0 has tools ask."""

from __future__ import annotations

from typing import Annotated

from plverify.cli.arguments import Option
from plverify.errors import InputError


def supports(
    onnx_opset_versions: Annotated[bool, Option(help="Least and greatest ONNX opset.")] = False,
    onnx_element_types: Annotated[
        bool, Option(help="Element types whose analysis is sound.")
    ] = False,
    onnx_operators: Annotated[bool, Option(help="ONNX operators.")] = False,
    vnnlib_versions: Annotated[bool, Option(help="Least and greatest VNN-LIB version.")] = False,
    hidden_node_theories: Annotated[bool, Option(help="Of hidden nodes.")] = False,
    multiple_input_output_theories: Annotated[
        bool, Option(help="Of networks with several inputs or outputs.")
    ] = False,
    multiple_network_theories: Annotated[bool, Option(help="Of several networks.")] = False,
    multiple_node_comparison_theories: Annotated[
        bool, Option(help="Of comparisons between inputs and outputs.")
    ] = False,
    arithmetic_complexity_theories: Annotated[bool, Option(help="Of arithmetic.")] = False,
    optimised_disjunctive_reasoning: Annotated[
        bool, Option(help="Whether disjunctions are more than rewritten.")
    ] = False,
    serialise_assignments: Annotated[
        bool, Option(help="Whether witnesses are written as ONNX tensors.")
    ] = False,
    unsat_proofs: Annotated[
        bool, Option(help="Whether proofs are written in the format of VNN-LIB.")
    ] = False,
) -> None:
    """Print which queries of VNN-LIB 2.0 can be answered.

    Theorems are about real numbers, so the only element type is real. Proofs (plverify verify
    --proof) have a format of their own.

    Example: plverify supports --onnx-operators
    """
    from plverify.io.onnx import MAX_OPSET, MIN_OPSET, operators

    answers = [
        (onnx_opset_versions, [str(MIN_OPSET), str(MAX_OPSET)]),
        (onnx_element_types, ["real"]),
        (onnx_operators, operators()),
        (vnnlib_versions, ["2.0", "2.0"]),
        (hidden_node_theories, ["NH"]),
        (multiple_input_output_theories, ["MIO"]),
        (multiple_network_theories, ["SNET"]),
        (multiple_node_comparison_theories, ["MNC"]),
        (arithmetic_complexity_theories, ["LIN"]),
        (optimised_disjunctive_reasoning, ["false"]),
        (serialise_assignments, ["false"]),
        (unsat_proofs, ["false"]),
    ]
    lines = [line for asked, found in answers if asked for line in found]
    if not lines:
        raise InputError("ask for something (see plverify supports --help)")
    print("\n".join(lines))
