"""Exact Lipschitz constants against oracles, and the proofs that come with them."""

from __future__ import annotations

import csv
from fractions import Fraction
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_strategies import oracle_regions, random_graph, to_domain, to_nodes

import plverify as pv
from plverify.gain.jacobian import exact_jacobian, output_rows
from plverify.gain.local import enumerate_regions
from plverify.network import Network

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"
NORMS = ("l1", "l2", "linf")
F = Fraction


def norm_of(rows: Any, norm: str) -> Any:
    """The operator norm of a rational matrix: exact in l1 and linf and, its square, of a row in l2.

    Of several rows in l2 it is rounded.
    """
    if norm == "linf":
        return max(sum((abs(v) for v in row), F(0)) for row in rows)
    if norm == "l1":
        return max(sum((abs(v) for v in column), F(0)) for column in zip(*rows, strict=True))
    if len(rows) == 1:
        return sum((v * v for v in rows[0]), F(0))
    return np.linalg.norm(np.array([[float(v) for v in row] for row in rows]), 2) ** 2


def agrees(found: pv.LipschitzConstant, truth: Any) -> bool:
    if isinstance(truth, Fraction):
        return found.exact and found.value == truth
    close = 1e-9 * max(1.0, sqrt(truth))
    return found.lower <= sqrt(truth) + close and sqrt(truth) <= found.upper + close


# ------------------------------------------------------------------------------ against oracles


def cases(count: int, first: int = 0) -> list[int]:
    """Seeds of random graphs whose domain is a bounded box or polytope without a slice."""
    out: list[int] = []
    seed = first
    while len(out) < count:
        domain = random_graph(seed).domain
        bounded = domain["kind"] == "polytope" or (
            domain["kind"] == "box" and None not in (*domain["lo"], *domain["hi"])
        )
        if bounded and "basis" not in domain:
            out.append(seed)
        seed += 1
    return out


DOUBTFUL = (132, 160, 499)
"""Programs through windows, 28 units with one kink, and a unit that is 0 at a corner of the box."""


@pytest.mark.parametrize("seed", [*cases(40), *DOUBTFUL])
def test_degenerate_graphs_against_all_regions(seed: int) -> None:
    case = random_graph(seed)
    net = Network(case.net.inputs, to_nodes(case.net, seed))
    domain = to_domain(case.domain)
    regions = oracle_regions(case).regions
    for output in (None, 0):
        rows = output_rows(net, output)
        for norm in NORMS:
            jacobians = [[row[:-1] for row in region.output] for region in regions]
            if output is not None:
                jacobians = [[j[output]] for j in jacobians]
            truth = max(norm_of(j, norm) for j in jacobians)
            found = pv.lipschitz(net, domain, norm, output=output, proof=True)
            assert found.status == "complete", (norm, output)
            assert agrees(found, truth), (norm, output, truth, found)
            assert len(rows) == net.output_size or output is not None
            # Unbounded polytopes are searched by listing all regions, without a proof. The slow
            # checker sees one proof in three, if it is small.
            if found.proof is not None and norm == NORMS[seed % 3] and found.nodes < 200:
                assert pv.check(found.proof, net, python=True), (norm, output)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sizes", [(3, 8, 6, 2), (4, 9, 3), (5, 7, 5, 1)])
def test_random_networks_against_enumeration(sizes: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    biases = [0.5 * rng.normal(size=b).astype(np.float32) for b in sizes[1:]]
    slope = (0.0, 0.125, -0.5)[seed % 3]
    net = Network.from_arrays(weights, biases, slope)
    box = pv.Box(-1, 1, sizes[0])
    regions = pv.regions(net, box)
    for norm in NORMS:
        for output in (None, 0, [F(k + 1, 3) for k in range(sizes[-1])]):
            rows = output_rows(net, output)
            truth = max(
                norm_of(exact_jacobian(net, region.pattern.tolist(), rows), norm)
                for region in regions
            )
            found = pv.lipschitz(net, box, norm, output=output)
            assert agrees(found, truth), (norm, output)
            listed = enumerate_regions(net, box, norm, rows, None)
            assert listed is not None
            assert listed.upper is not None
            assert listed.attained is not None
            assert listed.attained.value <= listed.upper <= found.upper**2 * F(101, 100) + 1


def test_a_leaf_is_judged_by_its_own_bound() -> None:
    """The bound of a matrix by centre and radius may be larger on a part than on the whole."""
    rng = np.random.default_rng(40)
    sizes = (3, 8, 6, 2)
    weights = [rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    biases = [0.5 * rng.normal(size=b).astype(np.float32) for b in sizes[1:]]
    net = Network.from_arrays(weights, biases, -3.0)
    found = pv.lipschitz(net, pv.Box(-1, 1, 3), "l2", proof=True)
    assert found.status == "complete"
    assert found.upper <= found.lower * (1 + 1e-8)
    assert pv.check(found.proof, net, python=True)


def test_all_of_the_plane() -> None:
    net = Network.from_arrays(
        [[[1, 2], [-1, 1], ["0.5", -1]], [[1, -1, 2]]], [["0.1", "-0.2", "0.3"], [0]]
    )
    found = {norm: pv.lipschitz(net, norm=norm) for norm in NORMS}
    assert {norm: f.value for norm, f in found.items()} == {"l1": 3, "l2": 13, "linf": 5}
    assert all(f.exact for f in found.values())


def test_units_that_cancel() -> None:
    identity = Network.from_arrays([[[1], [-1]], [[1, -1]]])
    for domain in (None, pv.Box(-1, 1, 1)):
        assert pv.lipschitz(identity, domain).value == 1
    # Both units on would be steeper, but only the point 0 has that pattern.
    bent = Network.from_arrays([[[1], [-1]], [[1, -2]]])
    found = pv.lipschitz(bent, pv.Box(-1, 1, 1), "linf", proof=True)
    assert found.value == 2
    assert pv.check(found.proof, bent)
    assert pv.check(found.proof, bent, python=True)
    leaky = Network.from_arrays([[[1], [-1]], [[3, 3]]], [[0, 0], [0]], "0.5")
    assert pv.lipschitz(leaky, pv.Box(-1, 1, 1)).value == F(9, 4)


def test_constant_functions() -> None:
    net = Network.from_arrays([[[1, 1], [2, 0]], [[0, 0]]], [[1, 1], [7]])
    for norm in NORMS:
        found = pv.lipschitz(net, pv.Box(-1, 1, 2), norm, proof=True)
        assert (found.lower, found.upper, found.proof_upper) == (0.0, 0.0, 0.0)
        assert pv.check(found.proof, net, python=True)
    affine = Network.from_arrays([[[3, -4]]])
    assert pv.lipschitz(affine, pv.Box(-1, 1, 2)).value == 25


def test_polytope() -> None:
    # On the triangle x, y >= 0, x + y <= 1 the unit x + y - 2 is off, beyond it would be steep.
    net = Network.from_arrays([[[1, 1], [1, 0]], [[100, 1]]], [[-2, 0], [0]])
    triangle = pv.Polytope([[-1, 0], [0, -1], [1, 1]], [0, 0, 1])
    found = pv.lipschitz(net, triangle, "linf", proof=True)
    assert found.value == 1
    assert pv.check(found.proof, net)
    assert pv.check(found.proof, net, python=True)
    assert pv.lipschitz(net, pv.Box(0, 2, 2), "linf").value == 201
    assert pv.lipschitz(net, pv.Polytope([[1, 0]], [1]), "linf").value == 201


def test_thin_domains_are_refused() -> None:
    net = Network.from_arrays([[[1, 1]]])
    with pytest.raises(pv.InputError, match="interior"):
        pv.lipschitz(net, pv.Box([0, 0], [0, 1]))
    with pytest.raises(pv.InputError, match="interior"):
        pv.lipschitz(net, pv.Polytope([[1, 1], [-1, -1]], [0, 0]))


def test_what_is_asked_must_fit() -> None:
    net = Network.from_arrays([[[1, 1]]])
    box = pv.Box(0, 1, 2)
    for bad, match in [
        ({"norm": "l3"}, "norm"),
        ({"method": "guess"}, "method"),
        ({"output": 1}, "output is 1"),
        ({"output": [1, 2]}, "shape"),
        ({"method": "lipsdp", "norm": "l1"}, "l2"),
        ({"timeout": -1}, "timeout"),
    ]:
        with pytest.raises(pv.InputError, match=match):
            pv.lipschitz(net, box, **bad)
    with pytest.raises(pv.InputError, match=r"R\^3"):
        pv.lipschitz(net, pv.Box(0, 1, 3))


# ------------------------------------------------------------------------------ shared data


def digits(name: str) -> Network:
    return pv.load(DATA / f"{name}.onnx")


def ball(name: str, point: int, radius: str) -> tuple[np.ndarray, pv.Box]:
    points = np.load(DATA / "points.npz")
    key = "mx20" if name.startswith("moons") else "x5"
    centre = points[key][point].astype(np.float64).reshape(-1)
    return centre, pv.Box.ball(centre, radius)


def quantities() -> list[tuple[Any, ...]]:
    path = DATA / "expected_lipschitz.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (r["net"], r["quantity"], r["box_radius"], int(r["point"]), r["attained_lower"],
         r["exact_or_best_upper"], r["upper_kind"])
        for r in rows
    ]  # fmt: skip


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
@pytest.mark.parametrize(
    ("name", "quantity", "radius", "point", "lower", "upper", "kind"), quantities()
)
def test_reference_values(
    name: str, quantity: str, radius: str, point: int, lower: str, upper: str, kind: str
) -> None:
    net = digits(name)
    centre, box = ball(name, point, radius)
    output = None
    if quantity[0] == "s":
        order = np.argsort(-net(centre))
        output = [int(j == order[0]) - int(j == order[1]) for j in range(net.output_size)]
    # The spectral norm of all of the larger network is not closed in minutes.
    large = name == "mlp_64_64_64_10" and quantity == "v_l2"
    found = pv.lipschitz(
        net, box, quantity[2:], output=output, proof=True, timeout=20 if large else None
    )
    assert found.status == ("timeout" if large else "complete")
    if large:
        assert found.upper <= 1.1 * found.lower
    else:
        assert found.exact or (quantity == "v_l2" and found.upper <= found.lower * (1 + 1e-8))
    assert found.proof_upper is not None
    assert found.proof_upper >= found.upper
    if lower:
        assert found.upper >= float(lower) * (1 - 1e-7)
    if upper:  # a solver's value may be above the truth by its tolerance
        assert found.lower <= float(upper) * (1 + 1e-6)
        if not kind.startswith("upper bound"):  # it is the constant, or above it by 2e-3
            assert found.upper >= float(upper) - 3e-3
    assert found.proof is None or pv.check(found.proof, net)


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
def test_between_samples_and_product() -> None:
    net = digits("mlp_64_64_64_10")
    centre, box = ball("mlp_64_64_64_10", 2, "0.1")
    rng = np.random.default_rng(1)
    x = centre + 0.1 * rng.choice([-1.0, 1.0], (100_000, 64)) * rng.random((100_000, 1)) ** 0.2
    weights = [(node.weight, node.bias) for node in net.nodes if hasattr(node, "weight")]
    # Gradients of all points at once.
    gradient = np.zeros((len(x), 10))
    gradient[:, [0, 1]] = [1.0, -1.0]
    active, value = [], x
    for weight, bias in weights[:-1]:
        value = np.maximum(value @ weight.T + bias, 0)
        active.append(value > 0)
    gradient = gradient @ weights[-1][0]
    for (weight, _), on in zip(weights[-2::-1], active[::-1], strict=True):
        gradient = (gradient * on) @ weight
    output = [1, -1] + [0] * 8
    for norm, seen in (
        ("l1", np.abs(gradient).max(axis=1)),
        ("l2", np.linalg.norm(gradient, axis=1)),
        ("linf", np.abs(gradient).sum(axis=1)),
    ):
        found = pv.lipschitz(net, box, norm, output=output)
        assert found.upper >= seen.max() * (1 - 1e-9)
        assert found.upper <= pv.lipschitz(net, box, norm, "product", output).upper


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
def test_convolutions_and_windows_within_a_timeout() -> None:
    net = digits("conv_pool_digits")
    centre, box = ball("conv_pool_digits", 0, "0.02")
    for norm in ("linf", "l2"):
        found = pv.lipschitz(
            net, box, norm, output=int(net(centre).argmax()), timeout=3, proof=True
        )
        assert 0 < found.lower <= found.upper
        assert found.upper < pv.lipschitz(net, None, norm, "product", 0).upper
        assert found.proof is not None
        assert pv.check(found.proof, net)
