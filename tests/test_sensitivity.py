"""Gradient images, null spaces, moves and the order cone."""

from fractions import Fraction
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

import plverify as pv
from plverify.rank import PRIMES, rank_of

NORMS = ("l1", "l2", "linf")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder shared/data is not here")


def random_net(rng, sizes, integers=False):
    def draw(*shape):
        return rng.integers(-2, 3, shape).astype(float) if integers else rng.standard_normal(shape)

    pairs = list(pairwise(sizes))
    return pv.Network.from_arrays([draw(b, a) for a, b in pairs], [draw(b) for _, b in pairs])


def fractions(values):
    return [Fraction(v) for v in np.asarray(values, dtype=object).ravel().tolist()]


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def cone_of(A, b, **options):
    """The order cone whose rows are these: of an affine classifier at 0."""
    n = len(A[0])
    weights = [[0] * n, *A]
    net = pv.Network.from_arrays([weights], [[0, *(-Fraction(v) for v in b)]])
    return pv.order_cone(net, [0] * n, label=0, **options)


# -------------------------------------------------------------------------- gradient images


def test_gradient_images_of_convolutions_and_pooling_are_those_of_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = (
        torch.nn.Sequential(
            torch.nn.Conv2d(2, 4, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(36, 5),
            torch.nn.LeakyReLU(0.25),
            torch.nn.Linear(5, 3),
        )
        .double()
        .eval()
    )
    loaded = pv.load(module, input_shape=(2, 6, 6))
    x = torch.randn(2, 6, 6, dtype=torch.float64)
    want = torch.autograd.functional.jacobian(lambda v: module(v[None])[0], x).numpy()
    assert pv.gradient_images(loaded, x.numpy()).shape == (3, 2, 6, 6)
    assert np.allclose(pv.gradient_images(loaded, x.numpy()), want, atol=1e-12)
    exact = pv.gradient_images(loaded, x.numpy(), exact=True)
    assert exact.shape == (3, 2, 6, 6)
    assert np.allclose(exact.astype(float), want, atol=1e-12)
    assert np.allclose(pv.gradient_images(loaded, x.numpy().ravel()), want, atol=1e-12)
    hidden = torch.autograd.functional.jacobian(lambda v: module[:5](v[None])[0], x).numpy()
    layer = len(loaded.widths) - 1
    assert np.allclose(pv.gradient_images(loaded, x.numpy(), layer), hidden, atol=1e-12)


def test_gradient_images_refuse_layers_that_are_not_there():
    with pytest.raises(pv.InputError):
        pv.gradient_images(random_net(np.random.default_rng(0), (2, 3, 2)), [0, 0], 5)


# ------------------------------------------------------------------------------- null space


def rank_by_elimination(table):
    rows = [fractions(row) for row in table]
    rank = 0
    for j in range(len(table[0])):
        lead = next((i for i in range(rank, len(rows)) if rows[i][j]), None)
        if lead is None:
            continue
        rows[rank], rows[lead] = rows[lead], rows[rank]
        for i in range(rank + 1, len(rows)):
            f = rows[i][j] / rows[rank][j]
            rows[i] = [a - f * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def test_ranks_are_those_of_elimination():
    rng = np.random.default_rng(1)
    deficient = 0
    for _ in range(150):
        m, n, r = (int(v) for v in rng.integers(1, 8, 3))
        table = (rng.integers(-3, 4, (m, r)) @ rng.integers(-3, 4, (r, n))).tolist()
        found = rank_of(table)
        assert found.rank == rank_by_elimination(table)
        deficient += found.rank < min(m, n)
        if found.rank < min(m, n):
            assert len(found.combinations) == m - found.rank
        for i, weights in found.combinations.items():
            rows = [table[k] for k in found.rows]
            assert [dot(weights, column) for column in zip(*rows, strict=True)] == table[i]
    assert deficient > 30


def test_a_prime_that_hides_the_rank_is_not_believed():
    table = [[PRIMES[0], 0], [0, 1]]  # rank 1 modulo the first prime
    assert rank_of(table).rank == 2
    assert rank_of(table).prime == PRIMES[1]
    assert rank_of([[PRIMES[0] * PRIMES[1], 1], [0, 1]]).rank == 2
    many = PRIMES[0] * PRIMES[1] * PRIMES[2]
    assert rank_of([[many, 0], [0, 1]]).rank == 2  # a fourth prime is needed
    assert rank_of([[0, 0], [0, 0]]).rank == 0


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("sizes", [(6, 5, 3), (2, 7, 5), (4, 2, 6), (5, 3, 3, 4), (1, 3, 1)])
def test_null_spaces_are_null_spaces(integers, sizes):
    rng = np.random.default_rng(2)
    for _ in range(8):
        net = random_net(rng, sizes, integers)
        x = rng.integers(-3, 4, sizes[0]) / 2
        found = pv.null_space(net, x)
        J = net.affine_map(x, exact=True).J.tolist()
        assert found.rank == rank_by_elimination(J)
        assert found.dim == sizes[0] - found.rank == found.basis.shape[1]
        assert found.full_rank == (found.rank == min(sizes[0], sizes[-1]))
        assert np.allclose(found.basis.T @ found.basis, np.eye(found.dim), atol=1e-12)
        for v, bound in zip(found.basis.T.tolist(), found.bounds.tolist(), strict=True):
            product = [dot(row, fractions(v)) for row in J]
            assert dot(product, product) <= Fraction(bound) ** 2
            assert bound < 1e-11
        assert len(found.exact_basis) == found.dim
        for v in found.exact_basis:
            assert not any(dot(row, v) for row in J)
        assert not found.dim or rank_by_elimination(found.exact_basis) == found.dim


def test_null_space_of_a_layer():
    rng = np.random.default_rng(3)
    net, x = random_net(rng, (5, 3, 4, 2)), rng.standard_normal(5)
    assert pv.null_space(net, x, 0).rank == 3
    assert pv.null_space(net, x, 0).shape == (3, 5)


def test_null_space_move_of_the_formulas():
    net = pv.Network.from_arrays([[[1, 2, 0], [0, 1, 1]]])
    step = pv.null_space_move(net, [0, 0, 0], [1, 1, 1])
    third = Fraction(1, 3)
    assert step.v == (2 * third, -third, third)
    gap = [1 - v for v in step.v]
    assert float(dot(gap, gap)) ** 0.5 == pytest.approx(1.5275252317, abs=1e-10)
    assert step.region_step == step.label_step == inf


@pytest.mark.parametrize("integers", [False, True])
def test_outputs_stay_as_they_are_along_null_space_moves(integers):
    rng = np.random.default_rng(4)
    for _ in range(12):
        net = random_net(rng, (6, 5, 4, 3), integers)
        x, x0 = fractions(rng.integers(-9, 10, 6) / 4), rng.integers(-3, 4, 6)
        step = pv.null_space_move(net, x, x0)
        J = net.affine_map(x, exact=True).J.tolist()
        pinv = np.linalg.pinv(np.array(J, float))
        want = x0 - pinv @ (np.array(J, float) @ x0)
        assert np.allclose(step.step, want, atol=1e-9)
        far = min(step.region_step, Fraction(5))
        for t in (far, far / 3):
            end = [a + t * b for a, b in zip(x, step.v, strict=True)]
            assert net.exact(end) == net.exact(x)


# ------------------------------------------------------------------------------------ moves


@pytest.mark.parametrize("integers", [False, True])
def test_steps_of_moves_agree_with_patterns_and_labels_along_them(integers):
    rng = np.random.default_rng(5)
    changes = 0
    for _ in range(40):
        net = random_net(rng, (3, 5, 4, 3), integers)
        x, v = fractions(rng.integers(-8, 9, 3) / 4), fractions(rng.integers(-3, 4, 3))
        step = pv.move(net, x, v)

        def at(t, x=x, v=v):
            return [a + t * b for a, b in zip(x, v, strict=True)]

        def label(t, net=net, at=at):
            y = net.exact(at(t))
            return y.index(max(y))

        assert step.label == label(0)
        assert step.label_holds == (label(1) == step.label)
        region = net.region(x)
        assert step.same_region == region.contains(at(1))
        if step.region_step == inf:
            assert region.contains(at(10**6))
        else:
            assert region.contains(at(step.region_step))
            assert not region.contains(at(step.region_step + Fraction(1, 10**9)))
        stops = np.linspace(0, 12, 60).tolist() if any(v) else [0.0]
        if step.label_step == inf:
            assert step.next_label is None
            assert all(label(Fraction(t)) == step.label for t in stops)
        else:
            changes += 1
            end = step.label_step
            assert all(label(Fraction(t)) == step.label for t in stops if t < end)
            assert label(end - Fraction(1, 10**9)) == step.label or end == 0
            just_after = label(end + Fraction(1, 10**9))
            assert step.next_label in (label(end), just_after)
            assert step.next_label != step.label
    assert changes > 10


def test_a_label_that_is_only_touched():
    # f_1 = -|x - 1| reaches f_0 = 0 at 1 only: the label 0 stays, the first of two; seen from the
    # other side (f_0 and f_1 exchanged) it changes at that one point.
    tent = [[[1], [-1]], [[0, 0], [-1, -1]]]
    later = pv.Network.from_arrays(tent, [[-1, 1], [0, 0]])
    assert pv.move(later, [0], [1]).label_step == inf
    tent[1].reverse()
    earlier = pv.Network.from_arrays(tent, [[-1, 1], [0, 0]])
    step = pv.move(earlier, [0], [1])
    assert step.label == 1
    assert step.label_step == 1
    assert step.next_label == 0


def test_moves_end_with_the_domain():
    net = pv.Network.from_arrays([[[1.0], [-1.0]]])
    box = pv.Box(-1, 3, 1)
    assert pv.move(net, [2], [-1]).label_step == 2
    assert pv.move(net, [2], [-1], domain=pv.Box(1, 3, 1)).label_step == inf
    assert pv.move(net, [2], [-4], domain=box).in_domain is False
    assert pv.move(net, [2], [-3], domain=box).in_domain is True
    assert pv.move(net, [9], [-9], domain=box).label_step == inf
    still = pv.move(net, [2], [0])
    assert (still.label_step, still.region_step, still.same_region) == (inf, inf, True)


# ------------------------------------------------------------------------------- order cone


def test_rows_are_gaps_of_gradients_and_outputs():
    rng = np.random.default_rng(6)
    net, x = random_net(rng, (4, 6, 5)), rng.standard_normal(4)
    for label in (None, 2):
        cone = pv.order_cone(net, x, label)
        J, y = net.affine_map(x).J, net(x)
        own = int(np.argmax(y)) if label is None else label
        others = [j for j in range(5) if j != own]
        assert cone.label == own
        assert cone.others == tuple(others)
        assert np.allclose(cone.A, J[others] - J[own])
        assert np.allclose(cone.b, y[own] - y[others])
    for v in rng.standard_normal((50, 4)):
        assert cone.contains(v) == bool((cone.A @ v <= cone.b).all())


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("within_region", [False, True])
def test_moves_in_the_cone_say_what_the_network_says(integers, within_region):
    rng = np.random.default_rng(7)
    kinds = set()
    for _ in range(12):
        net, box = random_net(rng, (3, 5, 4), integers), pv.Box(-2, 2, 3)
        x = fractions(rng.integers(-8, 9, 3) / 4)
        cone = pv.order_cone(net, x, domain=box, within_region=within_region)
        found = [
            cone.extreme_move(rng.integers(-3, 4, 3)),
            cone.chebyshev_center(),
            cone.feasible_move(),
            cone.nearest_move(rng.integers(-3, 4, 3)),
            cone.boundary_distance("linf"),
        ]
        for at in found:
            kinds.add(at.status)
            if at.move is None:
                continue
            end = at.move.point
            y = net.exact(end)
            assert cone.contains(at.move.v)
            assert box.contains(end)
            assert at.move.in_domain
            assert at.move.label == cone.label
            assert at.move.label_holds == (y.index(max(y)) == cone.label)
            assert at.move.on_top == (y[cone.label] == max(y))
            assert at.move.same_region == net.region(x).contains(end)
            assert at.move.same_region or not within_region
            # In the region the cone is the truth.
            assert at.move.on_top or not at.move.same_region
    assert "optimal" in kinds


@pytest.mark.parametrize("integers", [False, True])
def test_extreme_moves_agree_with_scipy(integers):
    rng = np.random.default_rng(8)
    for _ in range(20):
        net, x = random_net(rng, (5, 6, 4), integers), rng.integers(-4, 5, 5) / 4
        direction = rng.integers(-3, 4, 5)
        cone = pv.order_cone(net, x, domain=pv.Box(-1, 1, 5))
        done = linprog(-direction, cone.A, cone.b, bounds=[(-1 - v, 1 - v) for v in x])
        found = cone.extreme_move(direction)
        assert found.status == "optimal"
        assert found.lower == found.upper == dot(direction.tolist(), found.move.v)
        assert float(found.upper) == pytest.approx(-done.fun, abs=1e-8)
        # Without bounds: some ray, or the same kind of optimum.
        free = pv.order_cone(net, x).extreme_move(direction)
        plain = linprog(-direction, cone.A, cone.b, bounds=(None, None))
        assert (free.status == "unbounded") == (plain.status == 3)
        if free.status == "unbounded":
            assert dot(direction.tolist(), free.ray) > 0
            for t in (1, 10**6):
                assert cone.contains([t * v for v in free.ray])
        else:
            assert float(free.upper) == pytest.approx(-plain.fun, abs=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_chebyshev_centres_agree_with_scipy(norm):
    rng = np.random.default_rng(9)
    for _ in range(10):
        net, x = random_net(rng, (4, 6, 3)), rng.uniform(-1, 1, 4)
        cone = pv.order_cone(net, x, domain=pv.Box(-1, 1, 4))
        dual = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
        sizes = np.linalg.norm(cone.A, dual, axis=1)
        eye, one = np.eye(4), np.ones((4, 1))
        table = np.block([[cone.A, sizes[:, None]], [eye, one], [-eye, one]])
        ends = np.concatenate([cone.b, 1 - x, 1 + x])
        done = linprog([0, 0, 0, 0, -1], table, ends, bounds=[(None, None)] * 4 + [(0, None)])
        found = cone.chebyshev_center(norm)
        assert found.lower <= found.upper
        assert found.distance[0] <= -done.fun + 1e-9
        assert found.distance[1] >= -done.fun - 1e-9
        assert found.distance[1] - found.distance[0] < 1e-12
        # A ball of that radius around it is inside, exactly (linf: in the corners).
        slack = [b - dot(a, found.move.v) for a, b in zip(cone.exact_A, cone.exact_b, strict=True)]
        for room, row in zip(slack, cone.exact_A, strict=True):
            size = max(map(abs, row)) if norm == "l1" else sum(map(abs, row))
            if norm != "l2":
                assert room >= found.lower * size
            else:
                assert room * room >= found.lower**2 * dot(row, row)


def test_a_cone_without_bounds_holds_balls_of_any_size():
    found = cone_of([[1, 0], [0, 1]], [1, 1]).chebyshev_center()
    assert found.status == "unbounded"
    assert found.ray is not None


def test_labels_that_cannot_be_reached_are_proven_so():
    cone = cone_of([[1, 0], [-1, 0]], [-1, -1])  # v <= -1 and -v <= -1
    for found in (cone.feasible_move(), cone.nearest_move(), cone.chebyshev_center()):
        assert found.status == "infeasible"
        assert found.move is None
    assert cone.extreme_move([1, 0]).status == "infeasible"
    far = cone_of([[1, 0]], [-3], domain=pv.Box(-2, 2, 2))
    assert far.feasible_move().status == "infeasible"
    assert cone_of([[1, 0]], [-2], domain=pv.Box(-2, 2, 2)).feasible_move().status == "optimal"


@pytest.mark.parametrize("norm", NORMS)
def test_distances_to_the_boundary_are_the_least_over_rows(norm):
    rng = np.random.default_rng(10)
    dual = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
    for _ in range(10):
        net, x = random_net(rng, (4, 6, 3)), rng.uniform(-1, 1, 4)
        cone = pv.order_cone(net, x)
        want = (cone.b / np.linalg.norm(cone.A, dual, axis=1)).min()
        found = cone.boundary_distance(norm)
        assert found.status == "optimal"
        assert found.lower == found.upper
        assert found.distance[1] == pytest.approx(want)
        slack = [b - dot(a, found.move.v) for a, b in zip(cone.exact_A, cone.exact_b, strict=True)]
        assert min(slack) == 0
        # Within bounds it is no nearer, and a linear program for each row says how far.
        box = pv.Box(-1.1, 1.1, 4)
        inside = pv.order_cone(net, x, domain=box).boundary_distance(norm)
        assert inside.lower >= found.lower
        if norm == "linf" and inside.move is not None:
            best = inf
            for a, b in zip(cone.A, cone.b, strict=True):
                eye, one = np.eye(4), np.ones((4, 1))
                table = np.block([[-a[None], np.zeros((1, 1))], [eye, -one], [-eye, -one]])
                done = linprog(
                    [0, 0, 0, 0, 1], table, [-b, *[0.0] * 8],
                    bounds=[(-1.1 - v, 1.1 - v) for v in x] + [(0, None)],
                )  # fmt: skip
                best = min(best, done.fun if done.status == 0 else inf)
            assert inside.distance[1] == pytest.approx(best)


def test_the_boundary_may_be_out_of_reach():
    assert cone_of([[0, 0]], [1]).boundary_distance().status == "infeasible"
    assert cone_of([[1, 0]], [3], domain=pv.Box(-2, 2, 2)).boundary_distance("l1").lower == inf
    with pytest.raises(pv.InputError, match="not the largest"):
        cone_of([[1, 0]], [-1]).boundary_distance()


@pytest.mark.parametrize("integers", [False, True])
def test_projections_satisfy_the_kkt_conditions(integers):
    rng = np.random.default_rng(11)
    for _ in range(15):
        net, x = random_net(rng, (4, 5, 4), integers), rng.integers(-4, 5, 4) / 4
        v0 = fractions(rng.integers(-4, 5, 4))
        for label in range(2):
            cone = pv.order_cone(net, x, label)
            found = cone.nearest_move(v0)
            if found.status == "infeasible":
                assert linprog(np.zeros(4), cone.A, cone.b, bounds=(None, None)).status == 2
                continue
            assert found.status == "optimal"
            assert found.lower == found.upper
            kkt(cone, v0, found)


def kkt(cone, v0, found):
    """The conditions of Karush, Kuhn and Tucker of a projection without bounds, exactly."""
    rows = [*zip(cone.exact_A, cone.exact_b, strict=True), *dense(cone)]
    assert len(rows) == len(found.multipliers)
    step = [a - b for a, b in zip(v0, found.move.v, strict=True)]
    for j, moved in enumerate(step):
        total = sum(m * row[j] for m, (row, _) in zip(found.multipliers, rows, strict=True))
        assert moved == total
    for m, (row, b) in zip(found.multipliers, rows, strict=True):
        assert m >= 0
        assert dot(row, found.move.v) <= b
        assert m * (b - dot(row, found.move.v)) == 0


def dense(cone):
    """The rows of the region."""
    n = cone.net.input_size
    return [([entries.get(j, 0) for j in range(n)], b) for entries, b in cone.region_rows]


@pytest.mark.parametrize("integers", [False, True])
def test_projections_and_distances_in_the_region_satisfy_the_kkt_conditions(integers):
    rng = np.random.default_rng(16)
    reached = pulled = 0
    for _ in range(15):
        net, x = random_net(rng, (4, 5, 4), integers), rng.integers(-4, 5, 4) / 4
        cone = pv.order_cone(net, x, within_region=True)
        v0 = fractions(rng.integers(-8, 9, 4) / 3)
        found = cone.nearest_move(v0)
        assert found.status == "optimal"
        kkt(cone, v0, found)
        near = cone.boundary_distance()
        if near.status == "infeasible":
            continue
        reached += 1
        own, region = near.multipliers[:3], near.multipliers[3:]
        assert sum(m != 0 for m in own) <= 1
        pulled += any(region)
        for j, v in enumerate(near.move.v):
            up = sum(m * row[j] for m, row in zip(own, cone.exact_A, strict=True))
            assert v == up - sum(
                m * row[j] for m, (row, _) in zip(region, dense(cone), strict=True)
            )
    assert reached > 5
    assert pulled > 0


@pytest.mark.parametrize("norm", NORMS)
def test_multipliers_of_centres_and_extreme_moves_prove_the_upper_ends(norm):
    rng = np.random.default_rng(17)
    for within in (False, True):
        net, x = random_net(rng, (3, 5, 4)), rng.uniform(-1, 1, 3)
        cone = pv.order_cone(net, x, domain=pv.Box(-1, 1, 3), within_region=within)
        rows = [*zip(cone.exact_A, cone.exact_b, strict=True), *dense(cone)]
        goal = fractions(rng.integers(-3, 4, 3))
        far = cone.extreme_move(goal)
        rest, value = list(goal), Fraction(0)
        for m, (row, b) in zip(far.multipliers, rows, strict=True):
            rest, value = [r - m * a for r, a in zip(rest, row, strict=True)], value + m * b
        value += sum(abs(r) - r * v for r, v in zip(rest, cone.x, strict=True))
        assert value == far.upper == far.lower
        ball = cone.chebyshev_center(norm)
        for j, v in enumerate(cone.x):
            for sign in (1, -1):
                rows.append(([sign * (i == j) for i in range(3)], 1 - sign * v))
        assert len(rows) == len(ball.multipliers)
        assert min(ball.multipliers) >= 0
        total = [sum(m * a[j] for m, (a, _) in zip(ball.multipliers, rows, strict=True))
                 for j in range(3)]  # fmt: skip
        assert total == [0, 0, 0]
        size = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
        of_radius = sum(float(m) * np.linalg.norm(np.array(a, float), size)
                        for m, (a, _) in zip(ball.multipliers, rows, strict=True))  # fmt: skip
        assert of_radius == pytest.approx(1)
        assert sum(m * b for m, (_, b) in zip(ball.multipliers, rows, strict=True)) == ball.upper
        assert ball.status == "optimal"


def test_projections_agree_with_cvxpy():
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(12)
    for _ in range(5):
        net, x = random_net(rng, (4, 5, 4)), rng.uniform(-1, 1, 4)
        cone = pv.order_cone(net, x, domain=pv.Box(-1, 1, 4))
        v0 = rng.standard_normal(4)
        v = cvxpy.Variable(4)
        limits = [cone.A @ v <= cone.b, v <= 1 - x, v >= -1 - x]
        problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.norm(v - v0)), limits)
        problem.solve(solver=cvxpy.CLARABEL)
        assert cone.nearest_move(v0).distance[1] == pytest.approx(problem.value, abs=1e-6)


# ------------------------------------------------------------------- formulas (THEORY B8)

A8, B8 = [[1, 1, 0], [0, 1, -1]], [1, 2]


@pytest.mark.parametrize(
    ("c", "want", "square"),
    [
        ([0, 0], (0, 1, -1), 2),
        (["1/2", 0], (Fraction(-1, 3), Fraction(5, 6), Fraction(-7, 6)), None),
        (["1/2", 1], (0, Fraction(1, 2), Fraction(-1, 2)), Fraction(1, 2)),
    ],
)
def test_moves_inside_have_the_closed_form(c, want, square):
    cone = cone_of(A8, B8)
    found = cone.interior_moves(c)
    assert found.status == "optimal"
    assert found.move.v == want
    assert square is None or found.upper == square
    assert cone.contains(found.move.v)
    both = cone.interior_moves([c, [0, 0]])
    assert [at.move.v for at in both] == [want, (0, 1, -1)]


def test_the_intersection_is_not_the_least_step():
    cone = cone_of(A8, B8)
    assert cone.interior_moves(0).upper == 2
    assert cone.nearest_move().upper == 0  # b >= 0: staying is best
    assert cone.nearest_move([3, 3, 0]).upper < dot([3, 2, 1], [3, 2, 1])


def test_rows_that_depend_on_each_other_can_be_inconsistent():
    cone = cone_of([[1, 1, 0], [2, 2, 0], [0, 1, -1]], [1, 3, 2])
    assert cone.interior_moves(0).status == "inconsistent"
    assert cone.interior_moves(0).move is None
    consistent = cone.interior_moves([0, 1, 0])  # v_0 + v_1 = 1 both times
    assert consistent.move.v == (0, 1, -1)
    flat = cone_of([[0, 0, 0], [0, 1, -1]], ["1/3", 2])
    assert flat.interior_moves(0).status == "inconsistent"
    assert flat.interior_moves(["1/3", 0]).move.v == (0, 1, -1)


def test_interior_moves_are_those_of_the_pseudo_inverse():
    rng = np.random.default_rng(13)
    for _ in range(10):
        net, x = random_net(rng, (6, 5, 4)), rng.standard_normal(6)
        cone, c = pv.order_cone(net, x), rng.integers(0, 4, 3)
        found = cone.interior_moves(c)
        if np.linalg.matrix_rank(cone.A) < 3:
            assert found.status == "inconsistent"
            continue
        assert found.status == "optimal"
        assert np.allclose(found.move.step, np.linalg.pinv(cone.A) @ (cone.b - c), atol=1e-8)
        gaps = [b - dot(a, found.move.v) for a, b in zip(cone.exact_A, cone.exact_b, strict=True)]
        assert gaps == c.tolist()


def test_convex_combinations_stay_in_the_cone():
    rng = np.random.default_rng(14)
    net, x = random_net(rng, (4, 6, 3)), rng.uniform(-1, 1, 4)
    cone = pv.order_cone(net, x, domain=pv.Box(-1, 1, 4))
    ends = [cone.extreme_move(d).move for d in rng.standard_normal((3, 4))]
    mixed = cone.combination(ends, ["1/2", "1/3", "1/6"])
    assert cone.contains(mixed.v)
    assert mixed.in_domain
    for weights in ([1, 1, -1], ["1/2", "1/3", 0], [0.5, 0.5]):
        with pytest.raises(pv.InputError):
            cone.combination(ends, weights)


@needs_data
def test_a_trained_network_is_answered_in_all_ways():
    points = np.load(DATA / "points.npz")
    for name in ("mlp_64_32_10", "conv_pool_digits"):
        net = pv.load(str(DATA / f"{name}.onnx"))
        x = points["x20"].reshape(20, 64)[0]
        images = pv.gradient_images(net, x)
        assert images.reshape(10, -1).shape == (10, 64)
        space = pv.null_space(net, x)
        assert (space.rank, space.dim) == (10, 54)
        assert space.bounds.max() < 1e-12
        cone = pv.order_cone(net, x, domain=pv.Box(0, 1, 64))
        far = cone.extreme_move(images[cone.label].ravel())
        assert far.lower == far.upper
        assert cone.contains(far.move.v)
        for norm in NORMS:
            near = cone.boundary_distance(norm)
            assert near.lower == near.upper
        assert cone.chebyshev_center("linf").status == "optimal"
        inside = cone.interior_moves(0)
        assert all(dot(a, inside.move.v) == b for a, b in
                   zip(cone.exact_A, cone.exact_b, strict=True))  # fmt: skip


def test_bad_input_is_one_clear_line():
    net = pv.Network.from_arrays([[[1, 0], [0, 1]]])
    cone = pv.order_cone(net, [1, 0])
    for call in (
        lambda: pv.order_cone(net, [1, 0, 0]),
        lambda: pv.order_cone(net, [1, np.nan]),
        lambda: pv.order_cone(net, [1, 0], label=2),
        lambda: pv.order_cone(net, [1, 0], label=0.5),
        lambda: pv.order_cone(net, [1, 0], domain=pv.Space(2)),
        lambda: pv.order_cone(net, [1, 0], domain=pv.Box(2, 3, 2)),
        lambda: pv.order_cone(net, [1, 0], domain=pv.Box(0, 1, 3)),
        lambda: pv.order_cone(pv.Network.from_arrays([[[1, 0]]]), [1, 0]),
        lambda: cone.extreme_move([1]),
        lambda: cone.chebyshev_center("l3"),
        lambda: cone.nearest_move(norm="l0"),
        lambda: cone.interior_moves([1, 2]),
        lambda: cone.interior_moves([-1]),
        lambda: cone.combination([], []),
        lambda: pv.move(net, [1, 0], [1]),
        lambda: pv.null_space(net, [1, 0], 3),
        lambda: pv.null_space_move(net, [1, 0], [1, 2, 3]),
    ):
        with pytest.raises(pv.InputError):
            call()


def test_results_are_plain_numbers():
    net = pv.Network.from_arrays([[[1, 0], [0, 1]]])
    entry = pv.order_cone(net, [2, 1], domain=pv.Box(0, 4, 2)).extreme_move([-1, 0]).to_dict()
    assert entry["status"] == "optimal"
    assert entry["lower"] == entry["upper"] == "2"
    assert entry["move"]["label_holds"] is True
    assert pv.null_space(net, [0, 0]).to_dict()["rank"] == 2


def test_deep_networks_have_numbers_beyond_doubles():
    rng = np.random.default_rng(18)
    sizes = [3, *[4] * 22, 3]
    net = pv.Network.from_arrays(
        [rng.standard_normal((b, a)) + np.eye(b, a) for a, b in pairwise(sizes)],
        [abs(rng.standard_normal(b)) for b in sizes[1:]],
    )
    x = rng.standard_normal(3)
    for within in (False, True):
        cone = pv.order_cone(net, x, domain=pv.Box(-3, 3, 3), within_region=within)
        assert max(v.denominator for row in cone.exact_A for v in row) > 1 << 1024
        found = [cone.extreme_move([1, 2, 3]), cone.chebyshev_center("linf")]
        found += [cone.nearest_move([1, 2, 3], norm) for norm in NORMS]
        found += [cone.boundary_distance(norm) for norm in NORMS]
        assert {at.status for at in found} <= {"optimal", "infeasible"}
        assert found[0].status == "optimal"
    assert pv.null_space(net, x).rank <= 3


@pytest.mark.parametrize("norm", NORMS)
def test_starts_outside_the_domain(norm):
    rng = np.random.default_rng(19)
    for _ in range(8):
        net, x = random_net(rng, (3, 5, 3)), fractions(rng.integers(-4, 5, 3) / 4)
        box = pv.Box(-1, 1, 3)
        cone = pv.order_cone(net, x, domain=box)
        v0 = fractions(rng.integers(-9, 10, 3))
        found = cone.nearest_move(v0, norm)
        assert found.status == "optimal"
        gap = np.array([float(a - b) for a, b in zip(found.move.v, v0, strict=True)])
        size = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
        assert np.linalg.norm(gap, size) == pytest.approx(found.distance[1])
        # No other step of the cone in the domain is nearer.
        for point in rng.uniform(-1, 1, (400, 3)):
            step = point - np.array(x, float)
            if (cone.A @ step <= cone.b).all():
                away = np.linalg.norm(step - np.array(v0, float), size)
                assert away >= found.distance[0] - 1e-9


def test_many_rows_end_in_proven_ends():
    rng = np.random.default_rng(20)
    net, x = random_net(rng, (120, 150, 6)), rng.uniform(0, 1, 120)
    cone = pv.order_cone(net, x, domain=pv.Box(0, 1, 120), within_region=True)
    found = [
        cone.extreme_move(rng.standard_normal(120)),
        cone.chebyshev_center(),
        cone.boundary_distance(),
        cone.nearest_move(rng.uniform(-2, 2, 120)),
    ]
    for at in found:
        assert at.status in ("optimal", "bounded")
        assert at.lower <= at.upper <= at.lower * (1 + Fraction(1, 10**6))
        assert at.move.same_region
        assert at.move.in_domain
        assert cone.contains(at.move.v)
    space = pv.null_space(net, x)
    assert space.rank == 6


def test_the_rank_of_a_tall_table():
    rng = np.random.default_rng(21)
    table = rng.integers(-(2**20), 2**20, (80, 12)) @ rng.integers(-(2**20), 2**20, (12, 90))
    found = rank_of(table.tolist())
    assert found.rank == 12
    assert len(found.combinations) == 68
