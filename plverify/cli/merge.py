"""``plverify merge``: results of shards in one file."""

from __future__ import annotations

from typing import Annotated

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.certify import print_summary
from plverify.cli.common import check_output, require_file
from plverify.result import plural


def merge(
    parts: Annotated[list[str], Argument(help="Files of plverify certify --out.", metavar="PARTS")],
    out: Annotated[str, Option("--out", "-o", help="The file to write.", metavar="FILE.jsonl")],
) -> None:
    """Join files of plverify certify about one question, such as those of shards.

    They must be about the same model, data and eps, and no point may be in two of them. The exit
    code is 1 if points are missing.

    Example: plverify merge shard1.jsonl shard2.jsonl -o results.jsonl
    """
    check_output(out, "--out")
    for path in parts:
        require_file(path, "PARTS")

    from plverify.certification.results import certification_of, write_file
    from plverify.certification.results import merge as join

    head, rows = join(parts)
    write_file(out, head, rows)
    found = certification_of(head, rows)
    print_summary(found)
    missing = found.points - len(rows)
    if missing:
        print(f"{plural(missing, 'point')} of {found.points} in none of the files")
    print(f"wrote {out}")
    raise Exit(1 if missing else 0)
