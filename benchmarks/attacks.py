"""Attacks: how close to the radius, and how long: ``python benchmarks/attacks.py``.

    python benchmarks/attacks.py                                      small networks, a minute
    python benchmarks/attacks.py --exact 5 --markdown benchmarks/RESULTS.md    what is committed
    python benchmarks/attacks.py --quick                              two points of one network

Twenty digits, inputs in the unit box. The reference of a point is its proven radius, from
``expected_radii.csv`` or (``--exact S``) by `pv.minimal_perturbation` within S seconds; where there
is none, the least distance of all attacks here. Times are CPU time of `pv.attack` per point, one
thread: with the walk or the steps, the exact point, its verification in rationals and the float32
input. A distance below a proven radius exits with 1.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from cases import DATA
from parts import put_part
from run import describe, environment

import plverify as pv
from plverify.attacks import METHODS

FOLDER = DATA.parent / "lipadv"
NETWORKS = ("mlp_64_32_10", "mlp_64_64_64_10", "mlp_64_128_128_10", "conv_pool_digits")
NORMS = ("linf", "l2", "l1")
POINTS = 20
RADIUS = "minimal_perturbation"
GOAL_RATIO, GOAL_MS = 1.002, 5.0
"""Of the walk on the first network: the mean ratio to the radius, milliseconds a point."""

COLUMNS = (
    "network",
    "norm",
    "method",
    "mean ratio",
    "largest",
    "found",
    "float32",
    "proven radii",
    "CPU ms a point",
)
NOTE = """\
minimal_perturbation: whole calls, of the points whose radius was exact within the time allowed.
ratio: distance found over the reference, mean and largest over the points where the attack found
something; proven radii: how many references are that; float32: points with a float32 input whose
label is strictly different in exact arithmetic. The goal for exact-deepfool on mlp_64_32_10 is a
mean ratio of 1.002 in 5 ms. Public attacks measured there before, on the same kind of machine (time
per point without any verification in exact arithmetic): DDN with 1,000 steps 1.0013 in 45 ms,
SuperDeepFool 1.016 in 5 ms, DeepFool 1.042 in 6 ms, FMN with 1,000 steps fails on 14 of the 20
points (l2); FMN with 100 steps 1.016 in 5 ms, DeepFool 1.043 in 4 ms, PGD with 40 steps and
bisection 1.158 in 100 ms (linf)."""


def known(name: str, norm: str) -> dict[int, Fraction]:
    """Proven radii of a network's points in the unit box, as the table has them."""
    with open(FOLDER / "expected_radii.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["inputs_in_unit_box"] == "yes"]
    here = [row for row in rows if (row["net"], row["norm"]) == (name, norm)]
    return {int(row["point"]): Fraction(row["radius"]) for row in here}


def measure(
    name: str, norm: str, count: int, exact: float | None
) -> tuple[list[list[str]], list[str]]:
    """Lines of the table for one network and norm, and what is wrong."""
    points = np.load(FOLDER / "points.npz")
    x, y = points["x20"].reshape(POINTS, -1)[:count], points["y20"].tolist()[:count]
    net, box = pv.load(str(FOLDER / f"{name}.onnx")), pv.Box(0, 1, x.shape[1])
    _ = net.core  # reading the network is not what is measured
    answers: dict[str, list[pv.Adversarial]] = {}
    seconds: dict[str, float] = {}
    for method in METHODS:
        start = time.process_time()
        found = pv.attack(net, x, method, norm, domain=box, label=y)
        seconds[method] = time.process_time() - start
        assert isinstance(found, list)
        answers[method] = found
    proven = {k: float(v) for k, v in known(name, norm).items() if k < count}
    slack = dict.fromkeys(proven, 1e-6)  # the table's
    took = []
    for k in range(count) if exact else ():
        start = time.process_time()
        radius = pv.minimal_perturbation(net, x[k], norm, box, label=y[k], timeout=exact)
        if radius.exact:
            took.append(1000 * (time.process_time() - start))
            proven[k], slack[k] = radius.lower, 0.0
    wrong = [
        f"{name} {norm} {method}: point {k} is nearer than its radius"
        for method, found in answers.items()
        for k, radius in proven.items()
        if found[k].upper < radius * (1 - slack[k])
    ]
    least = [min(found[k].upper for found in answers.values()) for k in range(count)]
    reference = [proven.get(k, least[k]) for k in range(count)]
    lines = []
    for method, points_found in answers.items():
        hits = [k for k in range(count) if points_found[k].found]
        ratios = [points_found[k].upper / reference[k] for k in hits if reference[k] > 0]
        lines.append(
            [
                name,
                norm,
                method,
                f"{np.mean(ratios):.6f}" if ratios else "-",
                f"{max(ratios):.5f}" if ratios else "-",
                f"{len(hits)}/{count}",
                str(sum(points_found[k].adversarial is not None for k in hits)),
                str(len(proven)),
                f"{1000 * seconds[method] / count:.1f}",
            ]
        )
    if took:
        ms = f"{np.mean(took):.1f} (median {np.median(took):.1f}, most {max(took):.0f})"
        found = f"{len(took)}/{count}"
        lines.append([name, norm, RADIUS, "1", "1", found, "", str(len(proven)), ms])
    return lines, wrong


def markdown(lines: Sequence[Sequence[str]], facts: dict[str, Any]) -> str:
    """The part of RESULTS.md."""
    rule = ["---", "---", "---", *["---:"] * (len(COLUMNS) - 3)]
    out = ["## Attacks", "", "Written by `python benchmarks/attacks.py`.", "", describe(facts), ""]
    out += [f"| {' | '.join(row)} |" for row in (COLUMNS, rule, *lines)]
    return "\n".join([*out, "", NOTE])


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; 1 if an attack went below a proven radius."""
    parser = argparse.ArgumentParser(description="Attacks on the networks of ../shared.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default all")
    parser.add_argument("--quick", action="store_true", help="two points of the first network")
    parser.add_argument("--exact", type=float, metavar="S", help="seconds per proven radius")
    parser.add_argument("--markdown", metavar="FILE", help="write the part of RESULTS.md")
    given = parser.parse_args(arguments)
    if not FOLDER.is_dir():
        parser.error(f"there is no folder {FOLDER}")
    names = given.networks or (NETWORKS[:1] if given.quick else NETWORKS)
    for name in names:
        if not Path(FOLDER / f"{name}.onnx").is_file():
            parser.error(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    facts = environment(os.getloadavg()[0])
    lines: list[list[str]] = []
    wrong: list[str] = []
    print(" | ".join(COLUMNS))
    for name in names:
        for norm in NORMS:
            some, bad = measure(name, norm, 2 if given.quick else POINTS, given.exact)
            lines += some
            wrong += bad
            print("\n".join(" | ".join(line) for line in some), flush=True)
    print("\n".join(wrong))
    if given.markdown:
        put_part(given.markdown, "attacks", markdown(lines, facts))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
