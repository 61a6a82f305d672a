"""Attacks: against exact radii, against linear programs region by region, against formulas."""

import csv
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

import plverify as pv
import plverify._core as core
from plverify.attacks import METHODS
from plverify.attacks.base import aims, onto_boundary, strict_point
from plverify.attacks.fgsm import ascent
from plverify.attacks.gradients import gradients
from plverify.attacks.steps import into_ball, sizes
from plverify.attacks.walk import nearest_boundary

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"
NORMS = ("l1", "l2", "linf")
AFFINE = pv.Network.from_arrays([[[2, 0], [0, 1], [-1, -1]]], [[0, 0.5, 0]])


def verified(net, found, x, norm, label, target, domain):
    """Everything that a result says, computed again in Fractions."""
    if not found.found:
        assert found.witness is None
        assert found.upper == np.inf
        return
    x = [Fraction(v) for v in x]
    size = size_of(norm, [a - b for a, b in zip(found.witness, x, strict=True)])
    assert size == found.distance
    assert Fraction(found.upper) ** (2 if norm == "l2" else 1) >= size
    y = net.exact_net.evaluate(found.witness)
    assert in_set(y, label, target, strict=False)
    assert y[found.reached] >= y[label] or target is not None
    assert domain is None or domain.contains(list(found.witness))
    if found.adversarial is not None:
        point = [Fraction(v) for v in found.adversarial]
        assert all(float(np.float32(v)) == v for v in found.adversarial)
        assert in_set(net.exact_net.evaluate(point), label, target, strict=True)
        assert domain is None or domain.contains(point)
        away = size_of(norm, [a - b for a, b in zip(point, x, strict=True)])
        assert Fraction(found.adversarial_norm) ** (2 if norm == "l2" else 1) >= away


def size_of(norm, gaps):
    if norm == "l2":
        return sum(v * v for v in gaps)
    return max(map(abs, gaps)) if norm == "linf" else sum(map(abs, gaps))


def in_set(y, label, target, strict):
    if target is None:
        gap = max(v for j, v in enumerate(y) if j != label) - y[label]
    else:
        gap = y[target] - max(v for j, v in enumerate(y) if j != target)
    return gap > 0 or (gap == 0 and not strict)


def random_net(rng, sizes, integers=False):
    def draw(*shape):
        return rng.integers(-2, 3, shape).astype(float) if integers else rng.standard_normal(shape)

    pairs = list(pairwise(sizes))
    return pv.Network.from_arrays([draw(b, a) for a, b in pairs], [draw(b) for _, b in pairs])


# -------------------------------------------------------------------- the projection underneath


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["dense", "sparse", "unbounded", "integer"])
def test_nearest_agrees_with_scipy_and_the_kkt_conditions(kind):
    rng = np.random.default_rng(3)
    solved = 0
    for _ in range(60):
        n, k = int(rng.integers(1, 25)), int(rng.integers(1, 10))
        A, b = rng.standard_normal((k, n)), rng.standard_normal(k)
        lo, hi = -rng.random(n), rng.random(n)
        if kind == "sparse":
            A *= rng.random((k, n)) < 0.4
        if kind == "unbounded":
            lo[:], hi[:] = -np.inf, np.inf
        if kind == "integer":
            A, b = (rng.integers(-2, 3, s).astype(float) for s in ((k, n), k))
        if kind != "dense":
            lo[rng.random(n) < 0.3] = 0.0
            hi[rng.random(n) < 0.3] = 0.0
        box = list(zip(lo, hi, strict=True))
        feasible = linprog(np.zeros(n), -A, -b, bounds=box).status == 0
        for norm in NORMS:
            found = core.nearest(A, b, lo, hi, norm)
            if not feasible:
                assert found is None
                continue
            if found is None:  # it may give up, on degenerate numbers
                assert kind == "integer"
                continue
            solved += 1
            d, y, _ = found
            assert (A @ d >= b - 1e-8).all()
            assert (d >= lo - 1e-9).all()
            assert (d <= hi + 1e-9).all()
            assert (y >= 0).all()
            if norm == "l2":
                assert np.allclose(d, np.clip(A.T @ y, lo, hi), atol=1e-8)
                assert np.allclose(y * (A @ d - b), 0, atol=1e-7)
            else:
                assert np.isclose(size_of(norm, d), least(A, b, lo, hi, norm), atol=1e-8)
    assert solved > 60


def least(A, b, lo, hi, norm):
    """The distance by a linear program; inf where there is no point."""
    n, k = A.shape[1], len(b)
    if norm == "l1":
        table, cost = np.hstack([-A, A]), np.ones(2 * n)
        box = [(0, v) for v in hi] + [(0, -v) for v in lo]
        done = linprog(cost, table, -b, bounds=box)
    else:
        eye, ones = np.eye(n), np.ones((n, 1))
        table = np.vstack(
            [np.hstack([-A, np.zeros((k, 1))]), np.hstack([eye, -ones]), np.hstack([-eye, -ones])]
        )
        box = [*zip(lo, hi, strict=True), (0, None)]
        done = linprog([0.0] * n + [1.0], table, [*-b, *[0.0] * (2 * n)], bounds=box)
    return done.fun if done.status == 0 else np.inf


def test_steps_into_balls_are_projections():
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((200, 7))
    radii = rng.uniform(0.1, 4, 200)
    for norm in NORMS:
        inside = into_ball(norm, steps, radii)
        assert (sizes(norm, inside) <= radii * (1 + 1e-12)).all()
        # No other point of the ball is nearer: (step - inside) . (p - inside) <= 0.
        other = into_ball(norm, rng.standard_normal((200, 7)), radii)
        assert (((steps - inside) * (other - inside)).sum(axis=1) <= 1e-12).all()


def test_gradients_are_those_of_the_affine_maps():
    rng = np.random.default_rng(1)
    net = random_net(rng, (5, 8, 8, 3))
    x, rows = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    want = [row @ net.affine_map(p).J for p, row in zip(x, rows, strict=True)]
    assert np.allclose(gradients(net, x, rows), want)


# --------------------------------------------------------------------------- formulas (THEORY B8)


@pytest.mark.parametrize(
    ("norm", "step", "size"),
    [
        ("l1", (-0.65, 0), Fraction(13, 20)),
        ("l2", (-0.52, 0.26), Fraction(169, 500)),
        ("linf", (-13 / 30, 13 / 30), Fraction(13, 30)),
    ],
)
def test_affine_classifier_has_the_closed_form_of_deepfool(norm, step, size):
    x = [1, "0.2"]
    found = pv.attack(AFFINE, x, norm=norm)
    assert found.distance == size
    assert found.reached == 1
    assert np.allclose(np.array(found.witness, float) - [1, 0.2], step)
    plain = pv.attack(AFFINE, x, "deepfool", norm)
    assert np.isclose(plain.upper, found.upper, rtol=1e-9)
    assert plain.distance >= size
    to_two = pv.attack(AFFINE, x, norm=norm, target=2)
    assert to_two.reached == 2
    if norm == "linf":
        assert to_two.upper == pytest.approx(0.8)


# ------------------------------------------------------------------- oracle: region by region


def oracle(net, x, norm, label, target, box):
    """The distance by one linear program per region (l1, linf)."""
    best = np.inf
    lo, hi = np.array(box.lo, float) - x, np.array(box.hi, float) - x
    m = net.output_size
    for region in pv.regions(net, box):
        J, c = np.asarray(region.J, float), np.asarray(region.c, float)
        pairs = [(j, label) for j in range(m) if j != label]
        cases = [[p] for p in pairs]
        if target is not None:
            cases = [[(target, j) for j in range(m) if j != target]]
        for case in cases:
            A = np.vstack([-np.asarray(region.A), *[J[i] - J[j] for i, j in case]])
            b = np.concatenate([-np.asarray(region.b), [c[j] - c[i] for i, j in case]])
            best = min(best, least(A, b - A @ x, np.minimum(lo, 0), np.maximum(hi, 0), norm))
    return best


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("targeted", [False, True])
def test_walk_agrees_with_an_oracle_over_all_regions(integers, targeted):
    rng = np.random.default_rng(5)
    exact = total = 0
    for _ in range(16):
        net = random_net(rng, (2, int(rng.integers(2, 7)), int(rng.integers(2, 7)), 3), integers)
        box = pv.Box(-2, 2, 2)
        x = rng.uniform(-2, 2, 2) if not integers else rng.integers(-2, 3, 2).astype(float)
        label = int(np.argmax(net(x)))
        target = (label + 1) % 3 if targeted else None
        for norm in ("l1", "linf"):
            want = oracle(net, x, norm, label, target, box)
            found = pv.attack(net, x, norm=norm, target=target, domain=box, label=label)
            verified(net, found, x, norm, label, target, box)
            assert found.upper >= want - 1e-7
            if np.isfinite(want):
                total += 1
                exact += found.upper <= want + 1e-7
    assert total > 10
    assert exact >= 0.95 * total


# ------------------------------------------------------------------------------- trained networks

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder shared/data is not here")


def expected(name):
    points = np.load(DATA / "points.npz")
    with open(DATA / "expected_radii.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["net"] == name]
    x, y = points["x20"].reshape(20, -1), points["y20"].tolist()
    return x, y, rows


@needs_data
def test_walk_reaches_the_exact_radii():
    x, y, rows = expected("mlp_64_32_10")
    net = pv.load(str(DATA / "mlp_64_32_10.onnx"))
    ratios = {}
    for norm, inside in {(row["norm"], row["inputs_in_unit_box"]) for row in rows}:
        domain = pv.Box(0, 1, 64) if inside == "yes" else None
        known = {
            int(row["point"]): float(row["radius"])
            for row in rows
            if (row["norm"], row["inputs_in_unit_box"]) == (norm, inside)
        }
        found = nearest_boundary(net, x[list(known)], [y[k] for k in known], norm, None, domain)
        sizes = [float(at.distance) ** (0.5 if norm == "l2" else 1) for at in found]
        ratios[norm, inside] = np.array(sizes) / np.array(list(known.values()))
    for ratio in ratios.values():
        assert ratio.min() >= 1 - 1e-6  # else the table is wrong
        assert ratio.mean() <= 1.002


@needs_data
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mlp_64_32_10", "conv_pool_digits"])
def test_results_hold_in_exact_arithmetic(method, name):
    x, y, _ = expected(name)
    net, box = pv.load(str(DATA / f"{name}.onnx")), pv.Box(0, 1, 64)
    for norm in NORMS:
        found = pv.attack(net, x[:2], method, norm, domain=box, label=y[:2], restarts=2)
        for at, point, label in zip(found, x[:2].tolist(), y[:2], strict=True):
            verified(net, at, point, norm, label, None, box)
            assert at.found
            assert at.adversarial is not None
            assert at.adversarial_norm <= at.upper * (1 + 1e-5)


@needs_data
def test_the_walk_is_the_best_of_the_attacks():
    x, y, _ = expected("mlp_64_64_64_10")
    net, box = pv.load(str(DATA / "mlp_64_64_64_10.onnx")), pv.Box(0, 1, 64)
    for norm in NORMS:
        best = [at.upper for at in pv.attack(net, x[:6], norm=norm, domain=box, label=y[:6])]
        for method in METHODS[1:]:
            others = pv.attack(net, x[:6], method, norm, domain=box, label=y[:6])
            for ours, other in zip(best, others, strict=True):
                assert ours <= other.upper * (1 + 1e-9)


@needs_data
def test_a_walk_from_a_given_point_does_not_end_farther_away():
    x, y, _ = expected("mlp_64_32_10")
    net, box = pv.load(str(DATA / "mlp_64_32_10.onnx")), pv.Box(0, 1, 64)
    wanted = aims(net, x[:4], y[:4], "linf", None, box)
    plain = [pv.attack(net, p, "fgsm", domain=box) for p in x[:4]]
    starts = np.array([[float(v) for v in at.adversarial] for at in plain])
    found = nearest_boundary(net, x[:4], y[:4], "linf", None, box, starts=starts)
    for aim, start, at in zip(wanted, starts.tolist(), found, strict=True):
        assert at.distance <= aim.distance([Fraction(v) for v in start])


# ---------------------------------------------------------------------------------- degenerate


def test_a_tie_at_the_input_is_at_distance_0():
    found = pv.attack(pv.Network.from_arrays([[[1, 0], [0, 1]]]), [1, 1])
    assert found.upper == 0
    assert found.witness == (1, 1)
    assert found.label == 0
    assert found.adversarial_label == 1


def test_a_set_without_interior_is_reached_exactly():
    minus_abs = [[[1], [-1]], [[0, 0], [-3, -3]]]
    net = pv.Network.from_arrays(minus_abs)  # f_1 = -3 |x| reaches f_0 = 0 at 0 only
    for norm in NORMS:
        found = pv.attack(net, ["1/3"], norm=norm)
        assert found.witness == (0,)
        assert found.adversarial is None
    assert pv.attack(net, [1], domain=pv.Box("0.1", 2, 1)).found is False


def test_no_other_label_anywhere_is_found_nowhere():
    net = pv.Network.from_arrays([[[1.0], [1.0]]], [[0.0, -1.0]])
    for method in METHODS:
        assert pv.attack(net, [0.5], method).found is False
        assert pv.attack(net, [0.5], method).upper == np.inf


def test_a_flat_region_is_left():
    # Around 0 all outputs are constant; far away on the right the second one wins.
    net = pv.Network.from_arrays([[[1.0]], [[0.0], [1.0]]], [[-3.0], [1.0, 0.0]])
    for norm in NORMS:
        assert pv.attack(net, [0.0], norm=norm).distance == (16 if norm == "l2" else 4)
        inside = pv.attack(net, [0.0], norm=norm, domain=pv.Box(-5, 5, 1))
        assert inside.upper == 4


def test_fixed_inputs_stay_where_they_are():
    box = pv.Box([0, "0.2"], [1, "0.2"])
    for norm in NORMS:
        found = pv.attack(AFFINE, [1, "0.2"], norm=norm, domain=box)
        assert found.witness == (Fraction(7, 20), Fraction(1, 5))


def test_an_input_outside_the_domain_is_attacked_from_its_edge():
    box = pv.Box(0, 1, 2)
    found = pv.attack(AFFINE, [2, 0], norm="l1", domain=box)
    verified(AFFINE, found, [2, 0], "l1", 0, None, box)
    assert found.upper == 1.75


def test_duplicated_and_dead_units_do_no_harm():
    rng = np.random.default_rng(2)
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(4)
    out = rng.standard_normal((2, 4))
    plain = pv.Network.from_arrays([w, out], [b, [0.0, 0.0]])
    twice = pv.Network.from_arrays(
        [np.vstack([w, w, 0 * w]), np.hstack([out / 2, out / 2, out])],
        [np.concatenate([b, b, -np.abs(b)]), [0.0, 0.0]],
    )
    for norm in NORMS:
        for x in rng.standard_normal((5, 3)):
            label = int(np.argmax(plain(x)))
            ours, want = (pv.attack(n, x, norm=norm, label=label).upper for n in (twice, plain))
            assert ours == pytest.approx(want, rel=1e-9)


def test_eps_bounds_what_counts():
    x = [1, "0.2"]
    assert not pv.attack(AFFINE, x, norm="l2", eps="0.58").found
    assert pv.attack(AFFINE, x, norm="l2", eps="0.582").found
    for method in ("fgsm", "pgd"):
        assert not pv.attack(AFFINE, x, method, "linf", eps="0.43").found
        assert pv.attack(AFFINE, x, method, "linf", eps="0.44").found


def test_fgsm_takes_the_best_step_of_a_length():
    rng = np.random.default_rng(4)
    [aim] = aims(random_net(rng, (6, 3)), rng.random(6), None, "l1", None, pv.Box(0, 1, 6))
    slope = rng.standard_normal(6)
    step = ascent(aim, slope, 0.8)
    lo, hi = -aim.centre, 1 - aim.centre
    box = [(0, v) for v in hi] + [(0, -v) for v in lo]
    best = linprog([*-slope, *slope], np.ones((1, 12)), [0.8], bounds=box)
    assert slope @ step == pytest.approx(-best.fun)


def test_the_same_answer_every_time():
    rng = np.random.default_rng(8)
    net, x = random_net(rng, (6, 12, 12, 4)), rng.standard_normal(6)
    for method in METHODS:
        assert pv.attack(net, x, method) == pv.attack(net, x, method)


def test_points_that_are_no_adversarial_inputs_are_refused():
    [aim] = aims(AFFINE, [[1, "0.2"]])
    assert onto_boundary(aim, [np.array([1.0, 0.2]), np.array([np.nan, 0.0])]) is None
    assert strict_point(aim, (Fraction(0), Fraction(1, 4))).label == 1


def test_bad_input_is_one_clear_line():
    net = AFFINE
    for change in (
        {"method": "newton"},
        {"norm": "l3"},
        {"target": 3},
        {"label": -1},
        {"label": [0, 1]},
        {"label": 0.5},
        {"domain": pv.Box(0, 1, 3)},
        {"domain": pv.Space(2)},
        {"eps": -1},
        {"eps": "nan"},
        {"steps": 0},
        {"restarts": -1},
        {"x": [1, 2, 3]},
        {"x": [np.nan, 0]},
    ):
        with pytest.raises(pv.InputError):
            pv.attack(net, **({"x": [1, 2]} | change))
    with pytest.raises(pv.InputError, match="at least 2"):
        pv.attack(pv.Network.from_arrays([[[1.0]]]), [0])


def test_results_go_through_json():
    found = pv.attack(AFFINE, [1, "0.2"], norm="l2")
    assert pv.Adversarial.from_json(found.to_json()) == found
