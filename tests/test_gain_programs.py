"""Semidefinite bounds, margins and training aids: oracles, and proofs seen again in rationals."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import inf, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from graph_strategies import random_graph, to_nodes
from torch import nn

import plverify as pv
from plverify.gain.forms import known_pieces, network_forms
from plverify.gain.jacobian import output_rows, sampled
from plverify.gain.lipsdp import Multipliers, fast_start, minimise, proven_square
from plverify.gain.margins import predictions
from plverify.network import Network

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"
F = Fraction
PROGRAMS = ("eclipse", "lipsdp-layer", "lipsdp")


def random_net(seed: int, sizes: tuple[int, ...] = (3, 6, 5, 2), slope: Any = 0) -> Network:
    biases = [0.5 * np.random.default_rng(seed).normal(size=b) for b in sizes[1:]]
    return Network.from_arrays(random_weights(seed, sizes), biases, slope)


def random_weights(seed: int, sizes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes)]


# ------------------------------------------------------------------------------ programs


def test_one_unit_is_exact() -> None:
    net = Network.from_arrays([[[3]], [[-2]]])
    for method in PROGRAMS:
        assert pv.lipschitz(net, method=method).upper == pytest.approx(6, rel=1e-6)


def test_values_of_the_literature() -> None:
    identity = Network.from_arrays([[[1], [-1]], [[1, -1]]])
    weights = [[[1, 2], [-1, 1], ["0.5", -1]], [[1, -1, 2]]]
    three = Network.from_arrays(weights, [["0.1", "-0.2", "0.3"], [0]])
    assert pv.lipschitz(identity, method="lipsdp").upper == pytest.approx(2, rel=1e-6)
    assert pv.lipschitz(identity, method="product").upper == pytest.approx(2, rel=1e-12)
    assert pv.lipschitz(three, method="lipsdp").upper == pytest.approx(sqrt(13), rel=1e-6)
    assert pv.lipschitz(three, method="lipsdp").upper >= sqrt(13)
    assert pv.lipschitz(three, method="product").upper == pytest.approx(6.03267, rel=1e-6)


def test_coupled_multipliers_would_be_unsound() -> None:
    # LipSDP-Network proves 0 here; the constant is 1.
    net = Network.from_arrays([[[1], [1]], [[1, -1]]], [[0, -1], [0]])
    assert pv.lipschitz(net, method="lipsdp").upper >= 1
    assert pv.lipschitz(net).value == 1


def exact_definite(matrix: list[list[Fraction]]) -> bool:
    """Elimination in rationals: whether a symmetric matrix is positive semidefinite."""
    a = [row[:] for row in matrix]
    for p in range(len(a)):
        if a[p][p] < 0 or (a[p][p] == 0 and any(a[p][p:])):
            return False
        for i in range(p + 1, len(a)):
            if a[p][p]:
                factor = a[i][p] / a[p][p]
                a[i] = [x - factor * y for x, y in zip(a[i], a[p], strict=True)]
    return True


@pytest.mark.parametrize("slope", [0, "0.25", "-0.5", 2])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_proven_holds_in_rationals(seed: int, slope: Any) -> None:
    net = random_net(seed, (2, 4, 3, 2), slope)
    forms = network_forms(net, output_rows(net, None), None)
    start = fast_start(forms)
    assert start is not None
    found = minimise(forms, start, False)
    for given in (start, found, Multipliers(found.rho * 0.9, found.t), Multipliers(1e-9, found.t)):
        rho = proven_square(forms, given)
        if rho is None:
            continue
        # Q from the exact weights: inputs, then units, in the order of the forms.
        points, lines = 2, []
        for weight in random_weights(seed, (2, 4, 3, 2)):
            first = 0 if not lines else points - len(lines[-1])
            lines.append([[F(0)] * first + [F(float(v)) for v in row] for row in weight])
            points += len(weight)
        size = 2 + 4 + 3
        full = [row + [F(0)] * (size - len(row)) for layer in lines for row in layer]
        alpha = min(F(slope), F(1))
        beta = max(F(slope), F(1))
        q = [[F(rho) * (i == j < 2) for j in range(size)] for i in range(size)]
        for k, t in enumerate(given.t.tolist()):
            own = [F(j == 2 + k) for j in range(size)]
            p = [a - alpha * b for a, b in zip(own, full[k], strict=True)]
            r = [a - beta * b for a, b in zip(own, full[k], strict=True)]
            for i in range(size):
                for j in range(size):
                    q[i][j] += F(max(t, 0.0)) * (p[i] * r[j] + p[j] * r[i]) / 2
        for row in full[7:]:
            for i in range(size):
                for j in range(size):
                    q[i][j] -= row[i] * row[j]
        assert exact_definite(q)


@pytest.mark.parametrize("seed", range(3))
def test_programs_are_above_what_is_attained_on_graphs(seed: int) -> None:
    case = random_graph(seed)
    net = Network(case.net.inputs, to_nodes(case.net, seed))
    rows = output_rows(net, None)
    attained = sampled(net, None, "l2", rows)
    assert attained is not None
    low = sqrt(attained.value)
    for method in (*PROGRAMS, "product"):
        assert pv.lipschitz(net, method=method).upper >= low


@pytest.mark.parametrize("seed", range(4))
def test_a_box_fixes_units_and_only_lowers_bounds(seed: int) -> None:
    net, box = random_net(seed), pv.Box(0, "1/8", 3)
    assert any((piece >= 0).any() for piece in known_pieces(net, box))
    truth = pv.lipschitz(net, box)
    for method in PROGRAMS:
        inside = pv.lipschitz(net, box, method=method)
        assert truth.lower <= inside.upper
        assert inside.upper <= pv.lipschitz(net, method=method).upper * (1 + 1e-6)


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
def test_the_digits_network_is_below_34() -> None:
    net = pv.load(DATA / "mlp_64_64_64_10.onnx")
    found = pv.lipschitz(net, method="lipsdp", timeout=60)
    assert 33.5 < found.upper < 33.7


# ------------------------------------------------------------------------------ margins


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("seed", range(3))
def test_constants_of_pairs_and_radii(norm: str, seed: int) -> None:
    net = random_net(seed, (2, 6, 5, 3))
    every = {m: pv.pair_constants(net, norm, method=m) for m in ("product", "fast")}
    exact = pv.pair_constants(net, norm, method="exact")
    for constants in every.values():
        assert (constants == constants.T).all()
        assert (constants >= exact * (1 - 1e-12)).all()
    assert (every["fast"] <= every["product"]).all()
    x = np.random.default_rng(seed).uniform(-1, 1, (6, 2))
    labels = net(x).argmax(axis=1)
    assert (predictions(net, x) == labels).all()
    fast = pv.margin_radii(net, x, labels, norm, every["fast"])
    sharp = pv.margin_radii(net, x, labels, norm, exact)
    for k, point in enumerate(x):
        radius = pv.minimal_perturbation(net, point, norm).upper
        assert 0 < fast[k] <= sharp[k] * (1 + 1e-12)
        assert sharp[k] <= radius
    wrong = (labels + 1) % 3
    assert (pv.margin_radii(net, x, wrong, norm) == 0).all()


def test_local_constants_hold_inside_their_box_only() -> None:
    net = Network.from_arrays([[[1], [1]], [[1, 100], [0, 0]]], [[0, -1], [0, 0]])
    box = pv.Box(0, 1, 1)
    constants = pv.pair_constants(net, "linf", box, "exact")
    assert constants[0, 1] == 1
    near = pv.margin_radii(net, [["0.75"]], [0], "linf", constants, box)
    assert near[0] == 0.25
    far = pv.margin_radii(net, [["0.25"]], [0], "linf", constants, box)
    assert far[0] == pytest.approx(0.25)
    assert pv.margin_radii(net, [[2]], [0], "linf", constants, box)[0] == 0


def test_a_margin_that_rounding_hides_is_seen() -> None:
    net = Network.from_arrays([[[1, 1], [1, 1]]], [[0, F(1, 1 << 80)]])
    assert pv.margin_radii(net, [[1, 1]], [0], "linf")[0] == 0
    assert pv.margin_radii(net, [[1, 1]], [1], "linf")[0] > 0
    assert predictions(net, [[1, 1]])[0] == 1
    same = Network.from_arrays([[[0, 0], [0, 0]]], [[1, 0]])
    assert pv.margin_radii(same, [[1, 1]], [0], "l2")[0] == inf


def test_margins_refuse_what_does_not_fit() -> None:
    net = random_net(0)
    for bad, match in [
        (([[1, 2]], [0]), "shape"),
        (([[1, 2, 3]], [5]), "label"),
        (([[1, 2, 3]], [0, 1]), "labels"),
        (([[1, 2, 3]], [0], "l3"), "norm"),
        (([[1, 2, 3]], [0], "l2", np.zeros((3, 3))), "constants"),
    ]:
        with pytest.raises(pv.InputError, match=match):
            pv.margin_radii(net, *bad)
    with pytest.raises(pv.InputError, match="method"):
        pv.pair_constants(net, "l2", method="guess")


# ------------------------------------------------------------------------------ training


def small_conv() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2),
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_projected_layers_are_contractions(norm: str) -> None:
    module = small_conv()
    for parameter in module.parameters():
        parameter.data.mul_(9)
    proven = pv.project_norms_(module, (1, 6, 6), norm)
    assert module.training
    assert len(proven) == 4
    assert max(proven) <= 1
    net = pv.load(module.eval(), input_shape=(1, 6, 6))
    assert pv.lipschitz(net, norm=norm, method="product").upper <= 1 + 1e-12
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    for k, node in enumerate(net.nodes):
        if hasattr(node, "matrix"):
            size = sum(net.source_sizes(k))
            assert np.linalg.norm(node.matrix(size).toarray(), order) > 0.999
    kept = [p.detach().clone() for p in module.parameters()]
    pv.project_norms_(module, (1, 6, 6), norm)
    assert all(torch.equal(a, b) for a, b in zip(kept, module.parameters(), strict=True))
    assert prod(p.numel() for p in kept) > 0


def test_the_penalty_pulls_towards_orthonormal_rows() -> None:
    module = small_conv()
    steps = torch.optim.Adam(module.parameters(), lr=0.02)
    first = float(pv.parseval_penalty(module).detach())
    for _ in range(150):
        steps.zero_grad()
        loss = pv.parseval_penalty(module)
        loss.backward()
        steps.step()
    assert float(loss.detach()) < 0.01 * first
    weight = module[7].weight.detach().numpy()
    assert np.abs(weight @ weight.T - np.eye(2)).max() < 0.1
    with pytest.raises(pv.InputError, match="no dense layer"):
        pv.parseval_penalty(nn.ReLU())
