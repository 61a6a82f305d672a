"""Tables of rows: per folder what was decided, what contradicts a known verdict, and the times."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from plverify.bench.instances import KNOWN
from plverify.bench.rows import STATUSES
from plverify.jsonl import Row


@dataclass(frozen=True)
class Summary:
    """The rows of one folder.

    Attributes
    ----------
    family : str
        The folder's name.
    total : int
        Rows.
    counts : dict
        Rows by status.
    wrong : int
        Rows that contradict a known verdict.
    missed : int
        Rows without a verdict though one is known.
    median_seconds, longest_seconds : float, optional
        Wall time of the decided ones.
    seconds, cpu_seconds : float
        Of all rows.
    search_seconds, check_seconds : float
        Of the "unsat" ones.
    leaf_bytes : float, optional
        Bytes of the proofs of the "unsat" ones, headers included, over their leaves.
    peak_mb : float, optional
        The largest.
    """

    family: str
    total: int
    counts: dict[str, int]
    wrong: int
    missed: int
    median_seconds: float | None
    longest_seconds: float | None
    seconds: float
    cpu_seconds: float
    search_seconds: float
    check_seconds: float
    leaf_bytes: float | None
    peak_mb: float | None

    @property
    def decided(self) -> int:
        """How many are "sat" or "unsat"."""
        return sum(self.counts[name] for name in KNOWN)

    def to_dict(self) -> dict[str, Any]:
        """The fields, and `decided`."""
        return dataclasses.asdict(self) | {"decided": self.decided}


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """One summary per folder, in order of first appearance."""
    folders: dict[str, list[Row]] = {}
    for row in rows:
        folders.setdefault(row["folder"], []).append(row)
    return [_summary(os.path.basename(folder), some) for folder, some in folders.items()]


def _summary(family: str, rows: Sequence[Row]) -> Summary:
    decided = [row["seconds"] for row in rows if row["status"] in KNOWN]
    proven = [row for row in rows if row["status"] == "unsat"]
    measured = [row for row in proven if row.get("leaves") and row.get("proof_bytes")]
    leaves = sum(row["leaves"] for row in measured)
    peaks = [row["peak_mb"] for row in rows if row.get("peak_mb") is not None]
    return Summary(
        family=family,
        total=len(rows),
        counts={name: sum(row["status"] == name for row in rows) for name in STATUSES},
        wrong=sum(bool(row.get("wrong")) for row in rows),
        missed=sum(row["status"] not in KNOWN and row.get("expected") in KNOWN for row in rows),
        median_seconds=median(decided) if decided else None,
        longest_seconds=max(decided, default=None),
        seconds=_total(rows, "seconds"),
        cpu_seconds=_total(rows, "cpu_seconds"),
        search_seconds=_total(proven, "search_seconds"),
        check_seconds=_total(proven, "check_seconds"),
        leaf_bytes=_total(measured, "proof_bytes") / leaves if leaves else None,
        peak_mb=max(peaks, default=None),
    )


def _total(rows: Iterable[Row], name: str) -> float:
    return float(sum(row.get(name) or 0.0 for row in rows))


COLUMNS = (
    "folder",
    "decided",
    "sat",
    "unsat",
    "timeout",
    "other",
    "wrong",
    "median",
    "longest",
    "total s",
    "CPU s",
    "check",
    "MB",
)
"""Median and longest are seconds; check is time of the proof checker over time of the search."""


def cells(found: Summary) -> list[str]:
    """A summary as a line of the table with `COLUMNS`."""
    counts = found.counts
    other = sum(counts[name] for name in ("unknown", "memory", "error"))
    return [
        found.family,
        f"{found.decided}/{found.total}",
        str(counts["sat"]),
        str(counts["unsat"]),
        str(counts["timeout"]),
        str(other),
        str(found.wrong),
        short(found.median_seconds),
        short(found.longest_seconds),
        short(found.seconds),
        short(found.cpu_seconds),
        short(found.check_seconds / found.search_seconds if found.search_seconds else None),
        "-" if found.peak_mb is None else f"{found.peak_mb:.0f}",
    ]


def short(value: float | None) -> str:
    """Three significant digits; a dash for nothing.

    >>> short(0.01234), short(1234.6), short(None)
    ('0.0123', '1,235', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
