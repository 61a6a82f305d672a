"""The command line of the VNN-LIB 2.0 standard: ``plverify verify QUERY --network NAME=MODEL``.

The standard asks for an error where a query declares an element type that the solver does not
analyse soundly. plverify's theorems are about real numbers, so it takes queries whose types are
``real``, and others with ``--real``, which says as much.

Source: the VNN-LIB standard, chapter "Solver Command-line Interface".
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plverify.cli.common import require_file
from plverify.errors import InputError

if TYPE_CHECKING:
    from plverify.io.vnnlib import Query
    from plverify.network import Network
    from plverify.verdict import Verification


def read(path: str, networks: Sequence[str], *, real: bool) -> tuple[Query, Network]:
    """A query and the model of its network.

    Raises
    ------
    InputError
        If the models given are not those declared, or an element type is not ``real``.
    """
    from plverify.io.vnnlib import read_query
    from plverify.network import load

    require_file(path, "QUERY")
    query = read_query(path)
    if not query.tensors:
        raise InputError(f"{path}: of version 1.0: give plverify verify MODEL {path}")
    given: dict[str, str] = {}
    for text in networks:
        name, sign, model = text.partition("=")
        if not sign or not model or name in given:
            raise InputError(f"--network is {text!r:.80}, expected NAME=MODEL, each name once")
        given[name] = model
    if list(given) != [query.network]:
        raise InputError(f"--network names {', '.join(given)}, the query declares {query.network}")
    rounding = [tensor for tensor in query.tensors if tensor.kind.lower() != "real"]
    if rounding and not real:
        name, kind = rounding[0].name, rounding[0].kind
        raise InputError(
            f"{name} is declared {kind}, and theorems are about real numbers: give --real to read "
            "it as real"
        )
    net = load(given[query.network])
    stored = getattr(net.origin, "dtype", None)
    for tensor in rounding:
        if stored is not None and tensor.kind != stored.__name__:
            raise InputError(
                f"{tensor.name} is declared {tensor.kind}, in the model {stored.__name__}"
            )
    return query, net


def show(found: Verification, query: Query) -> None:
    """The status, and for "sat" the values of all declared tensors."""
    from plverify.competition import assignment_text
    from plverify.result import rounded

    status = str(found.status)
    print({"timeout": "timed-out", "interrupted": "unknown"}.get(status, status))
    point: tuple[Any, Any] = (found.float32_witness, found.float32_outputs)
    if found.witness is not None and found.outputs is not None and point[0] is None:
        point = [rounded(v) for v in found.witness], [rounded(v) for v in found.outputs]
        if any(a != b for a, b in zip(point[0], found.witness, strict=True)):
            print("the values are rounded; --json has them exactly", file=sys.stderr)
    if status == "sat":
        print(assignment_text(*point, query), end="")
