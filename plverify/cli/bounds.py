"""``plverify bounds``: the published bounds on the number of regions of an architecture.

The table, or with ``--json`` one JSON object, goes to stdout. In JSON ``value`` is the exact
integer, ``null`` where a formula is undefined for the widths or has more digits than a JSON reader
can be expected to take (``DIGITS``); ``scientific`` and ``log10`` are then still there.
"""

from __future__ import annotations

import json as json_module
import math
from dataclasses import asdict
from typing import Annotated, Any

from plverify import theory
from plverify.cli.arguments import Option
from plverify.errors import InputError

DIGITS = 4000  # Python itself refuses to convert longer integers to and from text by default
SHOWN = 60  # longer integers appear in the table in scientific form only


def bounds(
    inputs: Annotated[
        int, Option("--inputs", help="Input size, or the dimension of the studied slice.")
    ],
    widths: Annotated[str, Option("--widths", help="Hidden widths, separated by commas: 16,16.")],
    activation: Annotated[
        str, Option("--activation", help=f"One of {', '.join(theory.ACTIVATIONS)}.")
    ] = "relu",
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
    rank: Annotated[
        int | None, Option("--rank", help="Pieces of a maxout unit (maxout only).")
    ] = None,
) -> None:
    """Print how many regions a network of these widths can have, by every known formula.

    An upper bound holds for every network of the class that its condition names.
    A max-lower bound says only that some network of these widths reaches it.
    An expectation is a mean over random networks.

    Example: plverify bounds --inputs 2 --widths 16,16
    """
    try:
        if inputs < 1:
            raise ValueError(f"inputs must be at least 1, got {inputs}")
        table = theory.bounds_table(inputs, parse_widths(widths), activation, rank=rank)
    except ValueError as error:
        raise InputError(str(error)) from None
    if json:
        answer = {
            "inputs": inputs,
            "widths": parse_widths(widths),
            "activation": activation,
            "rank": rank,
            "bounds": [row(bound) for bound in table],
        }
        print(json_module.dumps(answer, indent=2))
    else:
        print_table(table, f"{inputs} inputs, hidden widths {widths}, {activation}")


def parse_widths(text: str) -> list[int]:
    """The integers of ``"16,16"``; a ``ValueError`` that quotes the text otherwise."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"widths must be integers separated by commas, got {text!r}") from None


def row(bound: theory.Bound) -> dict[str, Any]:
    """The JSON form of one bound."""
    value = bound.value
    fields = asdict(bound)
    fields["value"] = value if value is not None and value < 10**DIGITS else None
    fields["scientific"] = None if value is None else scientific(value)
    fields["log10"] = None if value is None else math.log10(value)
    return fields


def scientific(value: int) -> str:
    """A positive integer with four significant digits, rounded half up, of any size.

    >>> scientific(16000), scientific(177182044384474170195491259715982196736), scientific(7)
    ('1.600e+04', '1.772e+38', '7.000e+00')
    """
    exponent = int(math.log10(value))
    exponent += (10 ** (exponent + 1) <= value) - (10**exponent > value)  # log10 is rounded
    digits = (value * 2000 // 10**exponent + 1) // 2
    if digits == 10000:
        digits, exponent = 1000, exponent + 1
    return f"{digits // 1000}.{digits % 1000:03d}e+{exponent:02d}"


def readable(value: int | None) -> str:
    """The table's form of a value; a long integer takes several lines.

    >>> readable(18769), readable(10**15), readable(10**80), readable(None)
    ('18,769', '1.000e+15\\n1,000,000,000,000,000', '1.000e+80', '-')
    """
    if value is None:
        return "-"
    if value < 10**15:
        return f"{value:,}"
    if value >= 10**SHOWN:
        return scientific(value)
    groups = f"{value:,}".split(",")
    lines = [",".join(groups[start : start + 6]) for start in range(0, len(groups), 6)]
    return "\n".join([scientific(value), *(line + "," for line in lines[:-1]), lines[-1]])


def print_table(table: list[theory.Bound], title: str) -> None:
    """Print the table on stdout; a row that does not apply says so and is dimmed."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title=title, title_justify="left")
    view.add_column("bound")
    view.add_column("value", justify="right", no_wrap=True)
    view.add_column("kind")
    view.add_column("condition")
    view.add_column("reference", overflow="fold")
    for bound in table:
        unproven = bound.kind == "upper" and not bound.proven
        view.add_row(
            bound.name,
            readable(bound.value),
            "upper, unproven" if unproven else bound.kind,
            bound.condition if bound.applies else f"does not apply, needs: {bound.condition}",
            bound.reference,
            style=None if bound.applies else "dim",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # nobody's window: do not squeeze a file into 80 columns
    console.print(view)
