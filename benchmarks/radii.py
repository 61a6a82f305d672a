"""Exact radii, point by point: ``python benchmarks/radii.py --markdown benchmarks/RESULTS.md``.

    python benchmarks/radii.py NETWORK --norm l2 --points 0 5 --timeout 60 --rows rows.jsonl

Twenty digits, inputs in the unit box, one thread. A row per point: the proven interval, CPU seconds
of the whole call of `pv.minimal_perturbation` with the checking of its proof, and boxes visited.
With ``--rows`` rows are appended to a file, and its points are not asked about again. An interval
that ends below the one of ``expected_radii.csv`` exits with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attacks import FOLDER, NETWORKS, NORMS, POINTS, known
from parts import put_part
from run import describe, environment

import plverify as pv

COLUMNS = ("point", "proven interval", "gap", "exact", "CPU s", "boxes")


def measure(net: pv.Network, point: int, norm: str, timeout: float) -> dict[str, Any]:
    """The row of a point."""
    data = np.load(FOLDER / "points.npz")
    x = data["x20"].reshape(POINTS, -1)[point]
    start = time.process_time()
    found = pv.minimal_perturbation(net, x, norm, pv.Box(0, 1, len(x)), timeout=timeout)
    seconds = time.process_time() - start
    ends = {"lower": found.lower, "upper": found.upper, "exact": found.exact}
    return {"point": point, "norm": norm, **ends, "cpu_seconds": seconds, "nodes": found.nodes}


def line(row: dict[str, Any]) -> list[str]:
    """The row of the table."""
    gap = row["upper"] / row["lower"] - 1 if row["lower"] > 0 else float("inf")
    return [
        str(row["point"]),
        f"[{row['lower']:.8f}, {row['upper']:.8f}]",
        "0" if row["exact"] else f"{gap:.2%}",
        "yes" if row["exact"] else "no",
        f"{row['cpu_seconds']:.1f}",
        str(row["nodes"]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; 1 if a radius contradicts the table."""
    parser = argparse.ArgumentParser(description="Exact radii on the networks of ../shared.")
    parser.add_argument("network", nargs="?", default=NETWORKS[-1], choices=NETWORKS)
    parser.add_argument("--norm", default="linf", choices=NORMS)
    parser.add_argument("--points", type=int, nargs="*", default=range(POINTS), metavar="K")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="per point")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="append rows here, as JSON")
    parser.add_argument("--markdown", metavar="FILE", help="write the part of RESULTS.md")
    given = parser.parse_args(arguments)
    if not FOLDER.is_dir():
        parser.error(f"there is no folder {FOLDER}")
    facts = environment(os.getloadavg()[0])
    net = pv.load(str(FOLDER / f"{given.network}.onnx"))
    _ = net.core  # reading the network is not what is measured
    rows: dict[int, dict[str, Any]] = {}
    if given.rows and given.rows.exists():
        rows = {row["point"]: row for row in map(json.loads, given.rows.read_text().splitlines())}
    for point in given.points:
        if point not in rows:
            rows[point] = measure(net, point, given.norm, given.timeout)
            if given.rows:
                with given.rows.open("a") as file:
                    file.write(json.dumps(rows[point]) + "\n")
        print(" | ".join(line(rows[point])), flush=True)
    table = known(given.network, given.norm)
    wrong = [k for k, row in rows.items() if k in table and row["upper"] < table[k] - 1e-6]
    exact = sum(row["exact"] for row in rows.values())
    soon = sum(row["exact"] and row["cpu_seconds"] <= given.timeout for row in rows.values())
    result = (
        f"{exact} of {len(rows)} exact, {soon} of them in {given.timeout:g} s with all checking"
    )
    print(result, *(f"point {k} is below the table" for k in wrong))
    if given.markdown:
        title = f"{given.network}, {given.norm}, a search of {given.timeout:g} s a point: {result}."
        lines = [COLUMNS, ["---:", "---", "---:", "---", "---:", "---:"]]
        lines += [line(rows[k]) for k in sorted(rows)]
        head = [
            "## Exact radii",
            "",
            "Written by `python benchmarks/radii.py`.",
            "",
            describe(facts),
        ]
        head += ["", title, ""]
        put_part(given.markdown, "radii", "\n".join(head + [f"| {' | '.join(r)} |" for r in lines]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
