"""Proofs: what they cost to make, to keep and to check: ``python benchmarks/proofs.py``.

    python benchmarks/proofs.py --markdown benchmarks/RESULTS.md     write what is committed

The first table is about lists of regions: CPU seconds of the enumeration that writes the split tree
(the engine with half-spaces, which all proofs in three dimensions and more come from), of the same
without a proof, and of the compiled checker. The second is about `pv.verify` on networks of the
competition's ACAS Xu family (300 units): the proof files with their headers, and the search beside
the checker. Least of several runs, one thread. A proof that is not accepted exits with 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cases import DATA, find
from parts import put_part
from run import describe, environment, milliseconds

import plverify as pv
from plverify import _core, proof

REGIONS = ("3-32-32-1", "3-64-64-1", "4-16-16-1", "6-16-16-1", "8-16-1", "10-12-12-1")
ACAS = DATA.parent / "vnncomp" / "acasxu"
INSTANCES = (("1_1", 1), ("4_6", 1), ("1_1", 2), ("1_1", 3), ("3_3", 2))

REGION_COLUMNS = (
    "case",
    "regions",
    "count ms",
    "with proof ms",
    "check ms",
    "check / with proof",
    "check us / region",
    "bytes / region",
)
ACAS_COLUMNS = (
    "network, property",
    "leaves",
    "bytes",
    "bytes / leaf",
    "search ms",
    "check ms",
    "check us / leaf",
)


def least(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least CPU seconds of several calls, and the last answer."""
    best, answer = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        answer = run()
        best = min(best, time.process_time() - start)
    return best, answer


def region_row(name: str, repeats: int) -> tuple[list[str], bool]:
    """A line of the first table, and whether the proof was accepted."""
    case = find(name)
    net, domain = case.network(), case.make_domain()
    data = domain.to_bytes()
    counting, _ = least(lambda: _core.halfspaces(net.core, data), repeats)
    proving, answer = least(lambda: _core.halfspaces(net.core, data, "proof"), repeats)
    count = answer["count"]
    whole = proof.encode(proof.region_tree_header(net, domain, count), answer["proof"])
    checking, verdict = least(lambda: pv.check(whole, net), repeats)
    row = [name, f"{count:,}", *map(milliseconds, (counting, proving, checking))]
    row += [f"{checking / proving:.2f}", f"{1e6 * checking / count:.1f}"]
    return [*row, f"{len(whole) / count:.0f}"], verdict.accepted and count == case.regions


def acas_row(model: str, spec: int, repeats: int) -> tuple[list[str], bool]:
    """A line of the second table, and whether the proof was accepted."""
    net = pv.load(ACAS / "onnx" / f"ACASXU_run2a_{model}_batch_2000.onnx.gz")
    question = pv.Property.from_vnnlib(ACAS / "vnnlib" / f"prop_{spec}.vnnlib.gz")
    found = pv.verify(net, question, proof=True, float32=False)
    if not isinstance(found.proof, bytes):
        return [f"{model}, prop_{spec}", str(found.status)], False
    whole = found.proof
    checking, verdict = least(lambda: pv.check(whole, net, question), repeats)
    size, leaves = len(whole), found.leaves
    row = [f"{model}, prop_{spec}", f"{leaves:,}", f"{size:,}", f"{size / leaves:.0f}"]
    row += [milliseconds(found.stats["cpu_seconds"]), milliseconds(checking)]
    return [*row, f"{1e6 * checking / leaves:.0f}"], verdict.accepted


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 if a proof is not accepted."""
    parser = argparse.ArgumentParser(description="Measure proofs and their checker.")
    parser.add_argument("--markdown", metavar="FILE", help="write the part of RESULTS.md")
    parser.add_argument("--quick", action="store_true", help="one small case, a second")
    given = parser.parse_args(arguments)
    before, repeats = os.getloadavg()[0], 1 if given.quick else 3
    names = REGIONS[2:3] if given.quick else REGIONS
    first = [region_row(name, repeats) for name in names]
    tables = [("Proofs of region lists", REGION_COLUMNS, first)]
    if ACAS.is_dir():
        asked = INSTANCES[:1] if given.quick else INSTANCES
        second = [acas_row(model, spec, repeats) for model, spec in asked]
        tables.append(("Proofs about ACAS Xu networks", ACAS_COLUMNS, second))
    lines = ["Written by `python benchmarks/proofs.py`.", f"{describe(environment(before))}."]
    for title, columns, rows in tables:
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines += ["", f"## {title}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (columns, rule, *(row for row, _ in rows))]
    print("\n".join(lines))
    if given.markdown:
        put_part(Path(given.markdown), "proofs", "\n".join(lines) + "\n")
    return 0 if all(fine for _, _, rows in tables for _, fine in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
