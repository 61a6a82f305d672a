"""Inputs that once got a wrong answer or none, each with what is true of it."""

from __future__ import annotations

import collections
import itertools
import signal
import sys
import threading
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tools import limited

import plverify as pv

F = Fraction
INF = np.inf
HUGE, FAR = 2.0**1000, 2.0**30


def relu_net(rows: Any, biases: Any = None) -> pv.Network:
    return pv.Network.from_arrays(
        [rows, [[1.0] * len(rows)]], None if biases is None else [biases, [0.0]]
    )


@pytest.mark.parametrize(
    ("row", "box", "count"),
    [
        ([HUGE, -1.5 * HUGE], pv.Box([FAR, FAR], [INF, 2 * FAR]), 2),
        ([HUGE, 1.5 * HUGE], pv.Box([-INF, FAR], [-FAR, 2 * FAR]), 2),
        ([HUGE, -3 * HUGE], pv.Box([FAR, FAR], [2 * FAR, INF]), 1),
    ],
)
def test_rows_whose_product_with_a_far_vertex_overflows(
    row: list[float], box: pv.Box, count: int
) -> None:
    """The threshold stayed finite where the value did not."""
    scaled = [v / HUGE for v in row]
    assert pv.count_regions(relu_net([scaled]), box).count == count
    assert pv.count_regions(relu_net([row]), box).count == count


def test_a_deep_row_that_overflows() -> None:
    for size in (2.0**300, 2.0**500, 2.0**1000):
        weights = [[[1.0, -1.5], [0.0, 1.0]], [[size, -size], [size, size]], [[1.0, 1.0]]]
        small = [weights[0], [[1.0, -1.0], [1.0, 1.0]], weights[2]]
        box = pv.Box([FAR, FAR], [INF, 2 * FAR])
        expected = pv.count_regions(pv.Network.from_arrays(small), box).count
        assert pv.count_regions(pv.Network.from_arrays(weights), box).count == expected


def test_a_distance_whose_products_underflow() -> None:
    net = pv.Network.from_arrays(
        [[[1e-170, 0], [0, 1e-20]], [[1e-170, 0], [0, 1e-20]], [[1e300, 1e-5]], [[1.0]]],
        [[0, 1e2], [0, 0], [1e-20], [0]],
        slope=[[1.0, 0.0], [1.0, 0.0], [0.0]],
    )
    found = pv.boundary_distance(net, [0, 0], "linf")
    assert found.unit == (2, 0)
    assert found.lower <= 1.00098999010009e20 * (1 + 1e-14)
    assert found.lower > 1e20


def test_vertices_that_floating_point_cannot_place() -> None:
    """They were listed as the centre of the domain."""
    net = relu_net([[0, 1], [-(2**-51), 1]], [-0.5, -0.5 + 0.75 * 2**-51])
    for region in pv.regions(net, pv.Box(0, 1, 2)):
        exact = np.array([[float(c) for c in v.p] for v in region.exact_vertices])
        assert np.abs(region.vertices - exact).max() < 1e-12
    found = pv.regions(relu_net([[1e-160]], [-1.0]), pv.Space(1))
    assert found.vertices.ravel().tolist() == [-1.0, 1e160, 1e160, 1.0]
    assert [region.rays.tolist() for region in found] == [[[-1.0]], [[1.0]]]


def interior_overlap(a: Any, b: Any) -> bool:
    """Whether two segments share more than a point."""
    (p, q), (r, s) = ((x.start.p, x.end.p) for x in (a, b))
    d = (q[0] - p[0], q[1] - p[1])

    def side(t: Any) -> Fraction:
        return d[0] * (t[1] - p[1]) - d[1] * (t[0] - p[0])

    if side(r) or side(s):
        return False
    along = sorted(d[0] * (t[0] - p[0]) + d[1] * (t[1] - p[1]) for t in (r, s))
    return along[0] < d[0] ** 2 + d[1] ** 2 and along[1] > 0


def tie_length(rows: list[tuple[int, int, int]], i: int, j: int, box: int) -> Fraction:
    """Length, in the parameter of a primitive direction, of {f_i = f_j >= all} in the box."""
    a, b, c = (F(u - v) for u, v in zip(rows[i], rows[j], strict=True))
    if not a and not b:
        return F(0)
    direction, point = (-b, a), (-c * a / (a * a + b * b), -c * b / (a * a + b * b))
    low, high = F(-(10**9)), F(10**9)
    limits = [(1, 0, box), (-1, 0, box), (0, 1, box), (0, -1, box)]
    limits += [tuple(u - v for u, v in zip(rows[i], row, strict=True)) for row in rows]
    for u, v, w in limits:
        slope = u * direction[0] + v * direction[1]
        value = u * point[0] + v * point[1] + w
        if slope > 0:
            low = max(low, -value / slope)
        elif slope < 0:
            high = min(high, -value / slope)
        elif value < 0:
            return F(0)
    return max(high - low, F(0))


def test_decision_boundaries_of_many_outputs_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    cases = [[(1, 2, 0), (-2, -1, 2), (-4, -3, -3), (-2, -1, 0), (4, -1, 0)]]
    cases += [
        [tuple(int(v) for v in row) for row in rng.integers(-4, 5, (int(n), 3))]
        for n in rng.integers(2, 8, 60)
    ]
    for rows in cases:
        if len({row[:2] for row in rows}) < len(rows):
            continue  # ties on open sets, where other outputs may share the boundary
        net = pv.Network.from_arrays([[r[:2] for r in rows]], [[r[2] for r in rows]])
        found = pv.decision_boundary(net, pv.Box(-2, 2, 2)).segments
        for a, b in itertools.combinations(found, 2):
            assert (a.i, a.j) != (b.i, b.j) or not interior_overlap(a, b), (rows, a, b)
        for i, j in itertools.combinations(range(len(rows)), 2):
            a, b = rows[i][0] - rows[j][0], rows[i][1] - rows[j][1]
            length = F(0)
            for s in found:
                if (s.i, s.j) == (i, j):
                    dx, dy = s.end.p[0] - s.start.p[0], s.end.p[1] - s.start.p[1]
                    length += abs(a * dy - b * dx) / (a * a + b * b)
            three_way = any(
                tie_length(rows, i, j, 2)
                and tie_length(rows, i, k, 2)
                and tie_length(rows, j, k, 2)
                and (rows[k][0] - rows[i][0]) * b == (rows[k][1] - rows[i][1]) * a
                for k in range(len(rows))
                if k not in (i, j)
            )
            if not three_way:
                assert length == tie_length(rows, i, j, 2), (rows, i, j)


def test_a_stream_that_is_cut_short_says_so() -> None:
    rng = np.random.default_rng(0)
    shapes = [(512, 2), (512, 512), (512, 512), (1, 512)]  # takes 20 ms and more
    net = pv.Network.from_arrays([rng.normal(size=shape) for shape in shapes])
    found = 0

    def take() -> None:
        nonlocal found
        for part in pv.stream_regions(net, pv.Box(-1, 1, 2), timeout=0.001):
            found += part["count"]

    with pytest.raises(TimeoutError, match="not all"):
        take()
    assert found < pv.count_regions(net, pv.Box(-1, 1, 2)).count


def test_units_without_a_kink_are_neither_dead_nor_always_active() -> None:
    net = pv.Network.from_arrays([[[1.0], [1.0]], [[1.0, 1.0]]], slope=[[1.0, 0.5]])
    found = pv.count_regions(net, pv.Box(1, 2, 1))
    assert found.dead_units == []
    assert found.always_active_units == [(0, 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
def test_fewer_threads_than_asked_for_are_enough() -> None:
    script = "import numpy as np\nnet = pv.Network.from_arrays([[[1, 0], [0, 1.]], [[1, 1.]]])\n"
    script += "print(pv.count_regions(net, pv.Box(-1, 1, 2), threads=1000).count)"
    assert limited("RLIMIT_AS", 1_300_000_000, script) == "4"


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
def test_a_deep_network_on_a_small_stack() -> None:
    script = "net = pv.Network.from_arrays([[[1.0]]] * 9001)\n"
    script += "print(pv.count_regions(net, pv.Box(-1, 1, 1)).count)"
    assert limited("RLIMIT_STACK", 512 * 1024, script) == "2"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_what_a_signal_handler_raises_arrives_unchanged() -> None:
    class Alarm(Exception):
        pass

    def handler(*_: Any) -> None:
        raise Alarm

    rng = np.random.default_rng(0)
    shapes = [(96, 2), (96, 96), (96, 96), (2, 96)]
    found = pv.regions(
        pv.Network.from_arrays([rng.normal(size=s) for s in shapes]), pv.Box(-1, 1, 2)
    )
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(Alarm):
            collections.deque(found._complex.linear_labels() for _ in range(1000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_two_threads_may_ask_for_neighbours_at_once() -> None:
    rng = np.random.default_rng(0)
    shapes = [(96, 2), (96, 96), (2, 96)]
    net = pv.Network.from_arrays([rng.normal(size=shape) for shape in shapes])
    found = pv.regions(net, pv.Box(-1, 1, 2))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(found._complex.neighbours()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all((answers[0] == other).all() for other in answers)
