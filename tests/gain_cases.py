"""Proofs of Lipschitz constants of small networks, by the engine and by a plain full split."""

from __future__ import annotations

import random
from fractions import Fraction
from math import gcd
from operator import mul
from typing import Any

import numpy as np
from dual_proof_tools import (
    Affine,
    DualProof,
    Full,
    Records,
    Row,
    System,
    box_json,
    farkas,
    text,
)
from oracle_graph import Graph
from proof_truth import Matrix, gain_domain, jacobians, norm_at_most, times

import plverify as pv
from plverify.network import Network

NORMS = ("l1", "l2", "linf")
ROOM = Fraction(1, 1 << 32)
"""Relative, above the square of a spectral norm: a checker in doubles needs some."""


class Regions(Full):
    """Splits on every unit; a leaf is a region, or multipliers show that it has no interior."""

    def leaf(self, outputs: list[Affine]) -> bool:
        rows = [*self.sides, *(row for row, _ in self.path), *self.functions(outputs)]
        # What is 0 everywhere is no wall: inputs of a window that are one function.
        found = farkas(rows, [any(row) for row in rows])
        if found is None:
            self.records.append(("norm",))
        else:
            self.refute(found)
        return True


def sharp_gain(rng: random.Random, graph: Graph, net: Network, box: Any) -> DualProof:
    """The largest norm, by all regions; in l2 rounded up."""
    norm, outputs = rng.choice(NORMS), graph.sizes[-1]
    rows = [{j: Fraction(1)} for j in range(outputs)]
    if rng.random() < 0.5:
        rows = [{j: Fraction(rng.randint(-3, 3) or 1, 2) for j in range(outputs)}]
    header: dict[str, Any] = {
        "claim": "lipschitz",
        "evidence": "tree",
        "network": net.digest,
        "definitions": "",
        "norm": norm,
        "rows": [[[j, text(c)] for j, c in row.items()] for row in rows],
        "box": box_json(box),
        "constraints": [],
    }
    if rng.random() < 0.3:  # through the centre of the box
        normal = [rng.randint(-2, 2) for _ in range(graph.inputs - 1)] + [1]
        middle = sum(Fraction(a) * (lo + hi) / 2 for a, (lo, hi) in zip(normal, box, strict=True))
        row = [*(a * middle.denominator for a in normal), -middle.numerator]
        header["constraints"] = [list(map(str, row))]
    domain = gain_domain(graph, header)
    best: tuple[Fraction, Matrix, list[Fraction]] | None = None
    for jacobian, point in jacobians(graph, domain):
        matrix = times(rows, jacobian)
        value = _norm(matrix, norm)
        if best is None or value > best[0]:
            best = value, matrix, point
    assert best is not None
    upper, matrix, point = best
    header |= {"lower": text(upper), "upper": text(upper), "witness": list(map(text, point))}
    header["direction"] = None
    if norm == "l2" and len(rows) > 1:
        direction, lower = _direction(matrix)
        header |= {"direction": list(map(text, direction)), "lower": text(lower)}
    walk = Regions(graph, System(box, [_canonical(row) for row in header["constraints"]]))
    records: Records = []
    for _ in rows if norm == "linf" else rows[:1]:
        walk.records = []
        walk.run()
        records += walk.records
    return DualProof(header, records)


def _canonical(constraint: list[str]) -> Row:
    """``a . x + c > 0`` with coprime coefficients, which multipliers are for."""
    *terms, constant = map(int, constraint)
    common = gcd(*terms)
    left = {i: -a // common for i, a in enumerate(terms) if a}
    return Row(left, {}, Fraction(constant, common), True)


def _norm(matrix: Matrix, norm: str) -> Fraction:
    """The operator norm; in l2 its square, of several rows rounded up."""
    if norm != "l2":
        lines = matrix if norm == "linf" else list(zip(*matrix, strict=True))
        return max(sum(map(abs, line), Fraction(0)) for line in lines)
    if len(matrix) == 1:
        return sum((v * v for v in matrix[0]), Fraction(0))
    rough = Fraction(np.linalg.norm(np.array(matrix, dtype=float), 2) ** 2)
    assert norm_at_most(matrix, norm, rough * (1 + ROOM))
    return rough * (1 + ROOM)


def _direction(matrix: Matrix) -> tuple[list[Fraction], Fraction]:
    """Nearly the left singular vector, and the square of the norm along it."""
    left = np.linalg.svd(np.array(matrix, dtype=float))[0][:, 0]
    y = [Fraction(round(float(v) * 4096), 4096) for v in left]
    image = [sum(map(mul, y, column)) for column in zip(*matrix, strict=True)]
    return y, sum((v * v for v in image), Fraction(0)) / sum(v * v for v in y)


def engine_gain(rng: random.Random, graph: Graph, net: Network, box: Any) -> bytes | None:
    """A proof by the engine, on a box or a polytope; None where it does not decide."""
    domain: Any = pv.Box(*zip(*box, strict=True))
    if rng.random() < 0.3:
        normal = [rng.randint(-2, 2) for _ in box[1:]] + [1]
        middle = sum(a * (lo + hi) / 2 for a, (lo, hi) in zip(normal, box, strict=True))
        sides = [[sign * (i == j) for j in range(len(box))] for i in range(len(box))
                 for sign in (-1, 1)]  # fmt: skip
        ends = [end for lo, hi in box for end in (-lo, hi)]
        domain = pv.Polytope([*sides, normal], [*ends, middle])
    output = rng.choice((None, rng.randrange(graph.sizes[-1])))
    found = pv.lipschitz(net, domain, rng.choice(NORMS), output=output, proof=True, timeout=10)
    return found.proof if isinstance(found.proof, bytes) else None
