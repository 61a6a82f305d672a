"""Linear programs and nearest points with proven ends: against scipy, and with bad guesses."""

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
from scipy.optimize import linprog, nnls

import plverify.nearest as nearest_module
import plverify.programs as programs
from plverify.nearest import lower_bound, nearest, size_of
from plverify.programs import Program, all_hold, integer_row, maximize

NORMS = ("l1", "l2", "linf")


def random_program(rng, integers=False, bounded=True):
    n, m = int(rng.integers(1, 8)), int(rng.integers(0, 8))

    def draw(*shape):
        return rng.integers(-3, 4, shape).astype(float) if integers else rng.standard_normal(shape)

    A, b = draw(m, n), draw(m) + 1
    lo, hi = -rng.integers(0, 4, n).astype(float), rng.integers(0, 4, n).astype(float)
    if not bounded:
        lo[rng.random(n) < 0.5] = -inf
        hi[rng.random(n) < 0.5] = inf
    c = draw(n)
    rows = tuple(
        integer_row({j: Fraction(v) for j, v in enumerate(row)}, Fraction(s))
        for row, s in zip(A.tolist(), b.tolist(), strict=True)
    )
    sides = [tuple(v if np.isinf(v) else Fraction(v) for v in side.tolist()) for side in (lo, hi)]
    done = linprog(-c, A if m else None, b if m else None, bounds=list(zip(lo, hi, strict=True)))
    return Program(rows, *sides), [Fraction(v) for v in c.tolist()], done


def check(program, c, found, done):
    """All that an optimum says holds exactly, and agrees with scipy."""
    names = {0: "optimal", 2: "infeasible", 3: "unbounded"}
    if done.status in names:
        assert found.status == names[done.status]
    if found.point is not None:
        assert program.contains(found.point)
    if found.status == "optimal":
        assert found.lower == found.upper == sum(a * v for a, v in zip(c, found.point, strict=True))
        assert found.upper <= program.bound(c, found.multipliers)
        assert float(found.upper) == pytest.approx(-done.fun, abs=1e-7)
    if found.status == "unbounded":
        assert sum(a * v for a, v in zip(c, found.ray, strict=True)) > 0
        assert all_hold([(row, 0) for row, _ in program.rows], found.ray)
        for r, low, high in zip(found.ray, program.lo, program.hi, strict=True):
            assert not (r > 0 and high < inf)
            assert not (r < 0 and low > -inf)


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
def test_maxima_agree_with_scipy_and_are_exact(integers, bounded):
    rng = np.random.default_rng(11)
    seen = set()
    for _ in range(120):
        program, c, done = random_program(rng, integers, bounded)
        found = maximize(program, c)
        check(program, c, found, done)
        seen.add(found.status)
    assert seen == {"optimal", "infeasible"} | (set() if bounded else {"unbounded"})


def test_every_multiplier_gives_a_bound():
    rng = np.random.default_rng(12)
    for _ in range(60):
        program, c, done = random_program(rng)
        y = [Fraction(v) for v in rng.exponential(size=len(program.rows)).tolist()]
        if done.status == 0:
            assert float(program.bound(c, y)) >= -done.fun - 1e-9


def test_proofs_that_there_is_no_point_are_proofs():
    rng = np.random.default_rng(13)
    proofs = 0
    for _ in range(200):
        program, c, done = random_program(rng, integers=True)
        found = maximize(program, c)
        if found.status == "infeasible" and found.multipliers is not None:
            proofs += 1
            assert program.bound([Fraction(0)] * program.size, found.multipliers) < 0
            assert done.status == 2
    assert proofs > 5


@pytest.mark.parametrize("integers", [False, True])
def test_a_bad_guess_costs_no_correctness(integers, monkeypatch):
    guess = programs._highs

    def bad(program, c):
        found = guess(program, c)
        basic = sorted((v + 1) % program.size for v in found.basic)
        wrong = [-v for v in found.multipliers]
        return replace(found, basic=basic, multipliers=wrong)

    monkeypatch.setattr(programs, "_highs", bad)
    rng = np.random.default_rng(14)
    for _ in range(60):
        program, c, done = random_program(rng, integers)
        found = maximize(program, c)
        check(program, c, found, done) if found.status != "optimal" else None
        if found.status == "optimal":
            assert program.contains(found.point)
            assert float(found.lower) <= -done.fun + 1e-7
            assert float(found.upper) >= -done.fun - 1e-7


def test_ends_hold_where_nothing_is_exact(monkeypatch):
    monkeypatch.setattr(programs, "WORK", -1)  # no rational systems
    monkeypatch.setattr(programs, "_EXACT", 0)  # no exact simplex method
    rng = np.random.default_rng(15)
    tight = 0
    for _ in range(60):
        program, c, done = random_program(rng)
        found = maximize(program, c)
        if done.status == 0:
            assert found.status in ("optimal", "bounded", "unknown")
            assert found.upper >= -done.fun - 1e-9
            assert found.lower <= -done.fun + 1e-9
            assert found.point is None or program.contains(found.point)
            assert found.upper <= program.bound(c, found.multipliers)
            tight += float(found.upper) <= -done.fun + 1e-6 and found.lower >= -done.fun - 1e-6
    assert tight > 30


def test_a_point_near_a_guess_is_feasible():
    rng = np.random.default_rng(16)
    moved = 0
    for _ in range(60):
        program, _, done = random_program(rng)
        if done.status == 0:
            guess = (done.x + 1e-6 * rng.standard_normal(program.size)).tolist()
            point = programs.feasible_near(program, guess)
            if point is not None:
                moved += 1
                assert program.contains(point)
                assert np.allclose(np.array(point, float), guess, atol=1e-3)
    assert moved > 30


def test_a_point_that_misses_a_row_is_moved_inside():
    square = Program((({0: 1, 1: 1}, 1),), (Fraction(0),) * 2, (Fraction(1),) * 2)
    outside, zero = (Fraction(1), Fraction(1, 2)), (Fraction(0),) * 2
    moved = programs._between(square, outside, zero)
    assert moved == (Fraction(2, 3), Fraction(1, 3))
    assert programs._between(square, zero, outside) is None


# ------------------------------------------------------------------------------ nearest points


def random_polyhedron(rng, integers=False, bounded=True):
    n, k = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    draw = rng.integers(-3, 4, (k, n)) if integers else rng.standard_normal((k, n))
    b = rng.integers(-2, 3, k) if integers else rng.standard_normal(k)
    lo, hi = -rng.integers(0, 3, n).astype(float), rng.integers(0, 3, n).astype(float)
    if not bounded:
        lo[:], hi[:] = -inf, inf
    rows = [
        integer_row({j: Fraction(v) for j, v in enumerate(row)}, Fraction(s))
        for row, s in zip(draw.tolist(), b.tolist(), strict=True)
    ]
    dense = [([entries.get(j, 0) for j in range(n)], s) for entries, s in rows]
    sides = [tuple(v if np.isinf(v) else Fraction(v) for v in side.tolist()) for side in (lo, hi)]
    return dense, sides, (np.asarray(draw, float), np.asarray(b, float), lo, hi)


def oracle(norm, A, b, lo, hi):
    """The distance by scipy; inf if there is no point."""
    n = A.shape[1]
    rows = [A, *(s * np.eye(n)[np.isfinite(e)] for s, e in ((1, lo), (-1, hi)))]
    ends = [b, *(s * e[np.isfinite(e)] for s, e in ((1, lo), (-1, hi)))]
    G, h = np.vstack(rows), np.concatenate(ends)
    if linprog(np.zeros(n), -G, -h, bounds=(None, None)).status != 0:
        return inf
    if norm == "l2":  # least distance programming by Lawson and Hanson
        u, _ = nnls(np.vstack([G.T, h]), np.r_[np.zeros(n), 1.0], maxiter=1000)
        r = np.vstack([G.T, h]) @ u - np.r_[np.zeros(n), 1.0]
        return float(np.sum((r[:n] / r[n]) ** 2))
    if norm == "l1":
        done = linprog(np.ones(2 * n), np.hstack([-G, G]), -h)
    else:
        eye, one = np.eye(n), np.ones((n, 1))
        table = np.block([[-G, np.zeros((len(G), 1))], [eye, -one], [-eye, -one]])
        done = linprog(
            np.r_[np.zeros(n), 1], table, np.r_[-h, np.zeros(2 * n)],
            bounds=[(None, None)] * n + [(0, None)],
        )  # fmt: skip
    return float(done.fun)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
def test_nearest_points_agree_with_scipy_and_are_exact(norm, integers, bounded):
    rng = np.random.default_rng(21)
    exact = 0
    for _ in range(50):
        rows, (lo, hi), raw = random_polyhedron(rng, integers, bounded)
        want = oracle(norm, *raw)
        found = nearest(norm, rows, lo, hi)
        if np.isinf(want):
            assert found.status == "infeasible"
            continue
        assert found.point is not None
        assert nearest_module._holds(found.point, rows, lo, hi)
        assert size_of(norm, found.point) == found.upper
        assert found.lower <= found.upper
        assert float(found.lower) <= want + 1e-7
        assert float(found.upper) >= want - 1e-7
        assert all(y >= 0 for y in found.multipliers)
        assert max(lower_bound(norm, rows, lo, hi, found.multipliers), 0) >= found.lower
        exact += found.status == "optimal"
        if found.status == "optimal":
            assert found.lower == found.upper
            if norm == "l2":
                kkt(rows, lo, hi, found)
    assert exact >= 20


def kkt(rows, lo, hi, found):
    """The KKT conditions of a projection, exactly."""
    for j, (d, low, high) in enumerate(zip(found.point, lo, hi, strict=True)):
        w = sum(y * a[j] for (a, _), y in zip(rows, found.multipliers, strict=True))
        assert d == max(low, min(w, high))
    for (a, b), y in zip(rows, found.multipliers, strict=True):
        slack = sum(v * d for v, d in zip(a, found.point, strict=True)) - b
        assert y >= 0
        assert slack >= 0
        assert y * slack == 0


def test_every_multiplier_gives_a_bound_of_the_distance():
    rng = np.random.default_rng(22)
    for _ in range(80):
        rows, (lo, hi), raw = random_polyhedron(rng, bounded=bool(rng.integers(2)))
        y = [Fraction(v) for v in (rng.exponential(size=len(rows)) * 0.2).tolist()]
        for norm in NORMS:
            assert float(lower_bound(norm, rows, lo, hi, y)) <= oracle(norm, *raw) + 1e-9


@pytest.mark.parametrize("norm", NORMS)
def test_ends_of_distances_hold_without_highs_or_engine(norm, monkeypatch):
    rng = np.random.default_rng(23)
    for name in ("_by_highs", "_by_engine"):
        with monkeypatch.context() as patch:
            patch.setattr(nearest_module, name, lambda *_: None)
            for _ in range(20):
                rows, (lo, hi), raw = random_polyhedron(rng, integers=True)
                want = oracle(norm, *raw)
                found = nearest(norm, rows, lo, hi)
                if np.isinf(want):
                    assert found.status == "infeasible"
                else:
                    assert float(found.lower) <= want + 1e-7
                    assert float(found.upper) >= want - 1e-7


def test_no_point_is_nearer_than_0():
    found = nearest("l2", [((1, 1), -1)], (-inf, -inf), (inf, inf))
    assert found.status == "optimal"
    assert found.point == (0, 0)
    assert found.upper == 0
