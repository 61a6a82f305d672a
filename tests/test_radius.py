"""`minimal_perturbation` against exact programs over all patterns, a big-M program, and a table."""

from __future__ import annotations

import csv
import json
import math
import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dual_cases import NAMES, aim_at, graphs, network, small_random
from oracle_graph import Graph
from proof_truth import closest
from scipy.optimize import Bounds, LinearConstraint, milp

import plverify as pv
from plverify.network import Network
from plverify.nodes import Max
from plverify.radius import Perturbation

F = Fraction
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"


def two_outputs() -> list[tuple[Graph, Network]]:
    drawn = [graph for graph in map(small_random, range(60)) if graph is not None]
    some = [g for g in (*(graphs()[name] for name in NAMES), *drawn) if g.sizes[-1] >= 2]
    return [(graph, network(graph, k)) for k, graph in enumerate(some)]


def consistent(found: Perturbation, net: Network, x: Any, domain: pv.Box | None = None) -> None:
    """What every answer promises."""
    assert found.lower <= found.upper
    if found.witness is None:
        assert found.upper == math.inf
        assert found.adversarial is None
    else:
        aimed = found.label if found.target is None else found.target
        aim = aim_at(net, x, aimed, found.norm, found.target is not None, domain)
        assert aim.reached(found.witness) is not None
        assert aim.distance(found.witness) == found.upper_exact
        if found.adversarial is not None:
            near = [F(v) for v in found.adversarial]
            y = net.exact(near)
            assert all(float(np.float32(v)) == v for v in found.adversarial)
            assert y.index(max(y)) == found.adversarial_label != found.label
            assert y.count(max(y)) == 1
            assert found.target in (None, found.adversarial_label)
            top = F(found.adversarial_norm) ** (2 if found.norm == "l2" else 1)
            assert found.lower_exact <= aim.distance(near) <= top
            assert domain is None or domain.contains(near)
    if found.proof is not None:
        verdict = pv.check(found.proof, net)
        assert verdict, verdict.reason
        assert found.norm in verdict.claim
    json.loads(found.to_json())


# ------------------------------------------------------------------------------ exact oracles


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_small_networks_agree_with_exact_programs_over_all_patterns(
    norm: str, targeted: bool
) -> None:
    rng = random.Random(f"{norm} {targeted}")
    pairs = two_outputs()
    met = far = 0
    for _ in range(24):
        graph, net = rng.choice(pairs)
        x = [F(rng.randint(-8, 8), 8) for _ in range(graph.inputs)]
        low = [v - F(rng.randint(-1, 8), 4) for v in x]
        domain = pv.Box(low, [a + F(rng.randint(0, 16), 4) for a in low])
        outputs = net.exact(x)
        label = outputs.index(max(outputs))
        target = rng.choice([j for j in range(len(outputs)) if j != label]) if targeted else None
        sides = list(zip(domain.lo, domain.hi, strict=True))
        aimed = label if target is None else target
        truth = closest(graph, x, aimed, targeted, sides, norm)
        found = pv.minimal_perturbation(net, x, norm, domain, target, timeout=10, proof=True)
        consistent(found, net, x, domain)
        assert found.label == label
        distance = math.inf if truth is None else truth[0]
        assert (0 if found.lower_exact is None else found.lower_exact) <= distance
        assert distance <= (math.inf if found.upper_exact is None else found.upper_exact)
        if found.exact and truth is not None:
            assert found.upper_exact == distance
            met += 1
        far += truth is None and found.lower == math.inf
    assert met >= 5
    assert met + far >= 20


def widened(graph: Graph, times: int) -> Graph:
    """The same function of sums of so many inputs each."""

    def later(sources: Any) -> Any:
        return tuple(s + 1 for s in sources) if isinstance(sources, tuple) else sources + 1

    rows = [(tuple((i * times + k, F(1)) for k in range(times)), F(0)) for i in range(graph.inputs)]
    rest = [(kind, later(sources), *more) for kind, sources, *more in graph.nodes]
    return Graph(graph.inputs * times, (("linear", (0,), tuple(rows)), *rest))


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_many_inputs_agree_with_few(norm: str) -> None:
    """Searches of more than sixteen inputs split units and windows, and bound them by ascent."""
    rng = random.Random(f"wide {norm}")
    times = 18
    drawn = [graph for graph in map(small_random, range(200)) if graph is not None]
    pooled = [g for g in drawn if g.sizes[-1] >= 2 and any(n[0] == "max" for n in g.nodes)]
    met = 0
    for graph in rng.sample(pooled, 8):
        net = network(widened(graph, times))
        x = [F(rng.randint(-8, 8), 8) for _ in range(graph.inputs)]
        low = [v - F(rng.randint(0, 8), 4) for v in x]
        high = [v + F(rng.randint(0, 8), 4) for v in x]
        outputs = network(graph).exact(x)
        label = outputs.index(max(outputs))
        truth = closest(graph, x, label, False, list(zip(low, high, strict=True)), norm)
        center, bottom, top = ([v / times for v in s for _ in range(times)] for s in (x, low, high))
        domain = pv.Box(bottom, top)
        found = pv.minimal_perturbation(net, center, norm, domain, timeout=20, proof=True)
        consistent(found, net, center, domain)
        # The step of an input is shared out evenly, but in l1, where it does not matter.
        share = {"linf": F(1, times), "l1": F(1), "l2": F(1, times)}[norm]
        distance = math.inf if truth is None else truth[0] * share
        assert (0 if found.lower_exact is None else found.lower_exact) <= distance
        assert distance <= (math.inf if found.upper_exact is None else found.upper_exact)
        met += found.exact or (truth is None and found.lower == math.inf)
    assert met >= 7


def big_m(
    layers: list[tuple[Any, Any]],
    x: Any,
    label: int,
    norm: str,
    radius: float,
    box: Any,
    pooled: int | None = None,
) -> float:
    """The least distance at which some other output is as large, by HiGHS on a big-M program.

    The units of layer ``pooled`` are pooled in pairs, neighbour with neighbour.
    """
    n = len(x)
    lo, hi = np.maximum(x - radius, box[0]), np.minimum(x + radius, box[1])
    # Variables: input, then pre-activations and activations and a binary per unit, then distances.
    rows, low, high, sides, whole = [], [], [], [(lo, hi)], [np.zeros(n)]
    at, count = 0, n
    for number, (W, b) in enumerate(layers[:-1]):
        m = len(b)
        zl = np.maximum(W, 0) @ lo + np.minimum(W, 0) @ hi + b
        zu = np.maximum(W, 0) @ hi + np.minimum(W, 0) @ lo + b
        zl, zu = np.minimum(zl, 0), np.maximum(zu, 0)
        z, a, d = count, count + m, count + 2 * m
        sides += [(zl, zu), (np.zeros(m), zu), (np.zeros(m), np.ones(m))]
        whole += [np.zeros(m), np.zeros(m), np.ones(m)]
        for i in range(m):
            rows.append({**{at + k: -W[i, k] for k in range(W.shape[1])}, z + i: 1.0})
            low.append(b[i])
            high.append(b[i])
            for terms, bound in (
                ({a + i: 1.0, z + i: -1.0}, 0.0),
                ({a + i: -1.0, z + i: 1.0, d + i: zl[i]}, zl[i]),
                ({a + i: -1.0, d + i: zu[i]}, 0.0),
            ):
                rows.append(terms)
                low.append(bound)
                high.append(np.inf)
        at, count, lo, hi = a, count + 3 * m, np.zeros(m), zu
        if number != pooled:
            continue
        w, d, h = count, count + m // 2, m // 2
        top = np.maximum(zu[0::2], zu[1::2])
        sides += [(np.zeros(h), top), (np.zeros(h), np.ones(h))]
        whole += [np.zeros(h), np.ones(h)]
        for i in range(h):
            for k, sign in ((2 * i, 1.0), (2 * i + 1, -1.0)):
                # w >= a_k, and w <= a_k where the binary takes this one.
                rows += [{w + i: 1.0, a + k: -1.0}, {w + i: -1.0, a + k: 1.0, d + i: sign * top[i]}]
                low += [0.0, 0.0 if sign > 0 else -top[i]]
                high += [np.inf, np.inf]
        at, count, lo, hi = w, count + 2 * h, np.zeros(h), top
    extra = 1 if norm == "linf" else n
    sides.append((np.zeros(extra), np.full(extra, np.inf)))
    whole.append(np.zeros(extra))
    for i in range(n):
        for sign in (1.0, -1.0):
            rows.append({count + (i if extra > 1 else 0): 1.0, i: -sign})
            low.append(-sign * x[i])
            high.append(np.inf)
    total = count + extra
    cost = np.r_[np.zeros(count), np.ones(extra)]
    W, b = layers[-1]
    best = np.inf
    for j in range(len(b)):
        if j == label:
            continue
        tie = {at + k: W[j, k] - W[label, k] for k in range(W.shape[1])}
        table = np.zeros((len(rows) + 1, total))
        for r, terms in enumerate([*rows, tie]):
            for k, v in terms.items():
                table[r, k] += v
        constraint = LinearConstraint(table, [*low, b[label] - b[j]], [*high, np.inf])
        ends = Bounds(*(np.concatenate([s[k] for s in sides]) for k in (0, 1)))
        found = milp(cost, constraints=constraint, bounds=ends, integrality=np.concatenate(whole))
        if found.status == 0:
            best = min(best, found.fun)
    return best


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("seed", range(3))
def test_trained_size_networks_agree_with_a_big_m_program(seed: int, norm: str) -> None:
    rng = np.random.default_rng(seed)
    sizes = [3, 8, 6, 3]
    layers = []
    for a, b in pairwise(sizes):
        W = rng.standard_normal((b, a)).astype(np.float32).astype(float)
        layers.append((W, (0.3 * rng.standard_normal(b)).astype(np.float32).astype(float)))
    net = Network.from_arrays([W for W, _ in layers], [b for _, b in layers])
    box = pv.Box(-1, 1, 3)
    for x in rng.uniform(-1, 1, (2, 3)):
        found = pv.minimal_perturbation(net, x, norm, box, timeout=30, proof=True)
        consistent(found, net, x, box)
        assert found.exact
        truth = big_m(layers, x, found.label, norm, 2.0, (-np.ones(3), np.ones(3)))
        assert found.lower == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_pooled_networks_over_many_inputs_agree_with_a_big_m_program(seed: int) -> None:
    """The ball below the radius is closed by programs and by exact multipliers of open units."""
    rng = np.random.default_rng(seed)
    sizes = [(24, 20), (10, 12), (12, 3)]
    layers = []
    for a, b in sizes:
        W = rng.standard_normal((b, a)).astype(np.float32).astype(float)
        layers.append((W, (0.3 * rng.standard_normal(b)).astype(np.float32).astype(float)))
    (first, low), rest = layers[0], layers[1:]
    below = Network.from_arrays([first, np.ones((1, 20))], [low, np.zeros(1)]).nodes[:2]
    above = Network.from_arrays([W for W, _ in rest], [b for _, b in rest]).nodes
    pool = Max((2,), 1, 20, np.arange(20, dtype=np.int32).reshape(10, 2).T)
    net = Network(24, [*below, pool, *(replace(n, source=n.source + 3) for n in above)])
    box = pv.Box(-1, 1, 24)
    for x in rng.uniform(-1, 1, (3, 24)):
        found = pv.minimal_perturbation(net, x, "linf", box, timeout=30, proof=True)
        consistent(found, net, x, box)
        assert found.exact
        near = 1.01 * found.upper  # the witness is as close
        truth = big_m(layers, x, found.label, "linf", near, (-np.ones(24), np.ones(24)), pooled=0)
        assert found.lower == pytest.approx(truth, abs=1e-6)


# --------------------------------------------------------------------------- degenerate networks


def test_a_tie_has_radius_zero_and_a_misclassified_point_too() -> None:
    net = Network.from_arrays([[[1], [-1]]])
    for x, label in (([0], None), ([1], 1)):
        for norm in ("linf", "l1", "l2"):
            found = pv.minimal_perturbation(net, x, norm, label=label, proof=True)
            assert (found.status, found.lower, found.upper_exact) == ("complete", 0, 0)
            consistent(found, net, x) if label is None else None
            assert pv.check(found.proof, net)


def test_no_other_label_is_an_infinite_radius() -> None:
    constant = Network.from_arrays([[[0, 0], [0, 0]]], [[1, 0]])
    dead = Network.from_arrays([[[1, 1]], [[1], [1]]], [[-5], [2, 1]])
    for net in (constant, dead):
        found = pv.minimal_perturbation(net, [0, 0], domain=pv.Box(0, 1, 2), proof=True)
        assert (found.status, found.lower, found.upper) == ("complete", math.inf, math.inf)
        consistent(found, net, [0, 0], pv.Box(0, 1, 2))


def test_no_other_label_anywhere() -> None:
    """On all of the space: every region is looked at."""
    valley = Network.from_arrays(
        [[[1, 0], [-1, 0], [0, 1]], [[1, 1, 1], [0, 0, 0]]], [None, [1, 0]]
    )
    for norm in ("linf", "l1", "l2"):
        found = pv.minimal_perturbation(valley, [0, 0], norm, proof=True)
        assert (found.status, found.lower, found.upper) == ("complete", math.inf, math.inf)
        consistent(found, valley, [0, 0])
    ramp = Network.from_arrays(
        [[[1, 0], [-1, 0], [0, 1]], [[1, 1, 1], [0, 0, 0]]], [None, [-(10**9), 0]]
    )
    far = pv.minimal_perturbation(ramp, [0, 10**10])
    assert far.exact
    assert far.upper_exact == 9 * 10**9
    half = pv.Box([-math.inf, 0], [math.inf, math.inf])
    assert pv.minimal_perturbation(valley, [3, 1], domain=half).lower == math.inf


def test_integer_weights_and_repeated_units() -> None:
    rng = np.random.default_rng(4)
    done = 0
    for seed in range(12):
        W0 = rng.integers(-2, 3, (4, 2))
        W0[3] = W0[2]
        net = Network.from_arrays([W0, rng.integers(-2, 3, (2, 4))], [rng.integers(-1, 2, 4), None])
        x = [F(int(v), 4) for v in rng.integers(-4, 5, 2)]
        domain = pv.Box(-2, 2, 2)
        for norm in ("linf", "l1", "l2"):
            found = pv.minimal_perturbation(net, x, norm, domain, timeout=10, proof=True)
            consistent(found, net, x, domain)
            if found.upper_exact:
                assert found.exact, (seed, norm, found)
                assert found.upper_exact.denominator <= 10_000, "no number that rounding made"
                done += 1
    assert done >= 6


def test_a_point_outside_the_domain() -> None:
    net = Network.from_arrays([[[1, 0], [-1, 0]]])
    domain = pv.Box([-2, 3], [2, 4])
    found = pv.minimal_perturbation(net, [1, 0], domain=domain, proof=True)
    assert found.upper_exact == 3  # (0, 3) is 3 away in the second input
    consistent(found, net, [1, 0], domain)


def test_a_timeout_still_proves_a_lower_end() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal(s) / 4 for s in ((40, 20), (40, 40), (40, 40), (5, 40))]
    net = Network.from_arrays(layers)
    x = rng.uniform(0, 1, 20)
    found = pv.minimal_perturbation(net, x, domain=pv.Box(0, 1, 20), timeout=0.5, proof=True)
    assert found.seconds < 5
    assert 0 <= found.lower <= found.upper
    consistent(found, net, x, pv.Box(0, 1, 20))
    none = pv.minimal_perturbation(net, x, timeout=0)
    assert none.status == "timeout" or none.exact
    consistent(none, net, x)


def test_bad_input_gets_one_line() -> None:
    net = Network.from_arrays([[[1, 0], [-1, 0]]])
    for arguments, options, why in (
        (([0],), {}, "shape"),
        (([0, 0], "l3"), {}, "norm"),
        (([0, float("nan")],), {}, "NaN"),
        (([0, 0],), {"target": 2}, "target"),
        (([0, 0],), {"label": True}, "label"),
        (([0, 0],), {"domain": pv.Box(0, 1, 3)}, "inputs"),
        (([0, 0],), {"domain": pv.Space(2)}, "Box"),
        (([0, 0],), {"timeout": -1}, "timeout"),
    ):
        with pytest.raises(pv.InputError, match=why):
            pv.minimal_perturbation(net, *arguments, **options)
    with pytest.raises(pv.InputError, match="at least 2"):
        pv.minimal_perturbation(Network.from_arrays([[[1]]]), [0])


# ------------------------------------------------------------------------------ the known radii


def known(name: str, norm: str, box: str) -> dict[int, float]:
    with open(DATA / "expected_radii.csv", newline="") as file:
        return {
            int(row["point"]): float(row["radius"])
            for row in csv.DictReader(file)
            if (row["net"], row["norm"], row["inputs_in_unit_box"]) == (name, norm, box)
        }


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
@pytest.mark.parametrize(
    ("name", "norm", "bounded", "count"),
    [
        ("mlp_64_32_10", "linf", "yes", 3),
        ("mlp_64_32_10", "l2", "yes", 3),
        ("mlp_64_32_10", "l2", "no", 3),
        pytest.param("mlp_64_32_10", "linf", "yes", 12, marks=pytest.mark.slow),
        pytest.param("mlp_64_32_10", "l2", "yes", 12, marks=pytest.mark.slow),
        pytest.param("mlp_64_32_10", "l2", "no", 12, marks=pytest.mark.slow),
        pytest.param("mlp_64_64_64_10", "linf", "yes", 5, marks=pytest.mark.slow),
    ],
)
def test_the_table_of_radii(name: str, norm: str, bounded: str, count: int) -> None:
    net, points = pv.load(DATA / f"{name}.onnx"), np.load(DATA / "points.npz")
    domain = pv.Box(0, 1, net.input_size) if bounded == "yes" else None
    for k, radius in list(known(name, norm, bounded).items())[:count]:
        x = points["x20"][k]
        found = pv.minimal_perturbation(net, x, norm, domain, timeout=60, proof=True)
        consistent(found, net, x, domain)
        assert found.label == points["y20"][k]
        assert found.exact
        assert found.lower - 1e-6 <= radius <= found.upper + 1e-6
        assert found.adversarial_norm <= radius * 1.001
