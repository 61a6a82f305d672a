"""RESULTS.md: several programs write to it, each its own part.

A part stands between two comments that name it, and whoever writes it leaves the others as they
are.
"""

from __future__ import annotations

from pathlib import Path

TITLE = "# Results\n"
PARTS = ("regions", "proofs", "verification", "attacks", "radii", "lipschitz")
"""In the order of the file."""


def put_part(path: str | Path, name: str, text: str) -> None:
    """Write one part of a file; the file is made if it is not there."""
    file = Path(path)
    old = file.read_text() if file.exists() else ""
    found = {part: text if part == name else read_part(old, part) for part in PARTS}
    blocks = [
        f"{_begin(part)}\n{body.strip()}\n{_end(part)}\n" for part, body in found.items() if body
    ]
    file.write_text("\n".join([TITLE, *blocks]))


def read_part(text: str, name: str) -> str:
    """The part of this name; empty if there is none."""
    _, begin, rest = text.partition(_begin(name))
    body, end, _ = rest.partition(_end(name))
    return body if begin and end else ""


def _begin(name: str) -> str:
    return f"<!-- begin {name} -->"


def _end(name: str) -> str:
    return f"<!-- end {name} -->"
