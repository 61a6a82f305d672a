"""Formulas in conjunctive normal form as networks, against all assignments of their variables."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

import plverify as pv

Clause = list[tuple[int, bool]]


def _formula(rng: random.Random, variables: int, clauses: int, size: int) -> list[Clause]:
    return [
        [(v, rng.random() < 0.5) for v in rng.sample(range(variables), min(size, variables))]
        for _ in range(clauses)
    ]


def _satisfiable(variables: int, clauses: list[Clause]) -> bool:
    all_of_them = np.array(list(itertools.product((False, True), repeat=variables)))
    holds = np.ones(len(all_of_them), dtype=bool)
    for clause in clauses:
        holds &= np.any([all_of_them[:, v] == sign for v, sign in clause], axis=0)
    return bool(holds.any())


def _network(variables: int, clauses: list[Clause]) -> pv.Network:
    """Outputs: minus how far clauses fail, and how far inputs in [0, 1] are from 0 and 1, in sum.

    A clause fails by relu(1 - sum of its literals); an input is off by x - relu(2 x - 1).
    """
    n, m = variables, len(clauses)
    rows = np.zeros((m + 2 * n, n))
    bias = np.zeros(m + 2 * n)
    for i, clause in enumerate(clauses):
        bias[i] = 1.0
        for v, sign in clause:
            rows[i, v] -= 1.0 if sign else -1.0
            bias[i] -= 0.0 if sign else 1.0
    rows[m : m + n] = np.eye(n)
    rows[m + n :] = 2.0 * np.eye(n)
    bias[m + n :] = -1.0
    out = np.zeros((2, m + 2 * n))
    out[0, :m] = -1.0
    out[1, m : m + n], out[1, m + n :] = 1.0, -1.0
    return pv.Network.from_arrays([rows, out], [bias, np.zeros(2)])


def _property(variables: int, path: Path) -> pv.Property:
    inputs = "".join(
        f"(declare-const X_{i} Real)(assert (>= X_{i} 0.0))(assert (<= X_{i} 1.0))"
        for i in range(variables)
    )
    outputs = "(declare-const Y_0 Real)(declare-const Y_1 Real)"
    path.write_text(f"{inputs}{outputs}(assert (>= Y_0 0.0))(assert (<= Y_1 0.0))")
    return pv.Property.from_vnnlib(path)


@pytest.mark.parametrize("seed", range(24))
def test_a_formula_is_satisfiable_iff_some_assignment_satisfies_it(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    variables = rng.choice((3, 5, 8, 10, 17))
    size = rng.choice((1, 2, 3, 3))
    clauses = _formula(rng, variables, int(variables * (0.3, 1.2, 4.2)[size - 1]) + 1, size)
    net = _network(variables, clauses)
    spec = _property(variables, tmp_path / "formula.vnnlib")
    found = pv.verify(net, spec, proof=True)
    if _satisfiable(variables, clauses):
        assert found.status == "sat"
        assert all(v in (0, 1) for v in found.witness)
    else:
        assert found.status == "unsat"
        assert pv.check(found.proof, net, spec)
