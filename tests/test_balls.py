"""Properties with balls: what they say, how they are written, and what the search makes of them."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dual_cases import both, cube, graphs, network
from dual_proof_tools import Row, System, maximum
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_truth import Closest
from test_property import SMALL, properties, raw_contains

import plverify as pv
from plverify import question
from plverify.constraint import Constraint
from plverify.domain import Box
from plverify.errors import InputError
from plverify.float32 import confirm
from plverify.property import Ball, Disjunct, Property

F = Fraction
INF = float("inf")


@st.composite
def with_balls(draw):
    spec = draw(properties(SMALL))
    numbers = st.sampled_from([F(v, 3) for v in range(-5, 6)])
    balls = [
        Ball(
            draw(st.sampled_from(["l1", "l2"])),
            [draw(numbers) for _ in range(spec.n_inputs)],
            draw(st.sampled_from([F(1, 9), F(1), F(3)])),
        )
        for _ in range(2)
    ]
    return [replace(d, ball=draw(st.sampled_from([None, *balls]))) for d in spec.disjuncts], spec


# ------------------------------------------------------------------------------ what they say


@settings(max_examples=150, deadline=None)
@given(with_balls(), st.data())
def test_membership_is_that_of_box_ball_and_rows(made: Any, data: Any) -> None:
    raw, plain = made
    spec = replace(plain, disjuncts=tuple(raw))
    assert Property.from_json(spec.to_json()) == spec
    assert hash(Property.from_json(spec.to_json())) == hash(spec)
    assert Property(spec.n_inputs, spec.n_outputs, spec.disjuncts) == spec
    assert "\n" not in spec.describe()
    for _ in range(10):
        x = [data.draw(SMALL) for _ in range(spec.n_inputs)]
        y = [data.draw(SMALL) for _ in range(spec.n_outputs)]
        assert spec.contains(x, y) == any(
            raw_contains([d], x, y) and (d.ball is None or d.ball.contains(x)) for d in raw
        )
        assert spec.contains(x, y) == any(
            group.box.contains(x)
            and (group.ball is None or group.ball.contains(x))
            and any(all(c.holds(x, y) for c in case) for case in group.alternatives)
            for group in spec.groups
        )


def test_a_ball_ends_exactly_on_its_sphere() -> None:
    three_four = Ball("l2", [0, "0.5"], 25)
    for norm, x, size in (("l2", [3, 4.5], 25), ("l1", [3, 4.5], 7)):
        ball = Ball(norm, [0, 0.5], size)
        point = [F(v) for v in x]
        assert ball.measure(point) == size
        assert ball.contains(point)
        assert not ball.contains([point[0] + F(1, 2**200), point[1]])
    assert three_four == Ball("l2", np.array([0, 0.5]), "25")
    assert three_four.center == (0, F(1, 2))
    assert three_four != Ball("l1", [0, 0.5], 25)
    assert len({three_four, Ball("l2", [0, F(1, 2)], 25.0)}) == 1
    with pytest.raises(AttributeError):
        three_four.size = F(1)  # type: ignore[misc]


def test_a_ball_that_misses_its_box_violates_nowhere() -> None:
    box = Box([1, 1], [2, 2])
    for norm, size in (("l1", 2), ("l2", 2)):
        touching = Property(2, 1, (Disjunct(box, (), Ball(norm, [0, 0], size)),))
        assert len(touching.disjuncts) == 1
        assert touching.contains([1, 1], [0])
        apart = Ball(norm, [0, 0], size - F(1, 2**99))
        assert Property(2, 1, (Disjunct(box, (), apart),)).disjuncts == ()
        # Of a box that constraints make smaller, too.
        row = Constraint(((0, -1),), (), F(-3, 2))
        assert Property(2, 1, (Disjunct(box, (row,), Ball(norm, [0, 0], size)),)).disjuncts == ()
    far = Box([-INF, 3], [INF, INF])
    assert Ball("l2", [7, 0], 9).meets(far)
    assert not Ball("l2", [7, 0], 8).meets(far)


def test_texts() -> None:
    ball = Ball("l2", [0, "0.5"], "1/4")
    row = Constraint((), ((0, 1), (1, -1)), F(0))
    spec = Property(2, 2, (Disjunct(Box(-1, 1, 2), (row,), ball),))
    assert spec.describe() == (
        "2 inputs, 2 outputs; violated in box [-1, 1]^2 and the l2 ball of squared radius 1/4 "
        "about (0, 1/2) where y_0 <= y_1"
    )
    entry = json.loads(spec.to_json())
    assert entry["disjuncts"][0]["ball"] == {"norm": "l2", "center": ["0", "1/2"], "size": "1/4"}
    assert Ball("l1", [0] * 9, 2).describe() == "the l1 ball of radius 2 about (0, 0, 0, ...)"
    many = Property(2, 2, (*spec.disjuncts, Disjunct(Box(-1, 1, 2), (row,))))
    assert len(many.groups) == 2
    with pytest.raises(InputError, match="VNN-LIB has no balls"):
        spec.to_vnnlib()
    with pytest.raises(InputError, match="VNN-LIB has no balls"):
        many.to_vnnlib()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("linf", [0], 1), "norm"),
        ((2, [0], 1), "norm"),
        (("l2", [0], 0), "positive"),
        (("l2", [0], -1), "positive"),
        (("l2", [0], INF), "infinite"),
        (("l2", [0], float("nan")), "NaN"),
        (("l2", [0], "big"), "number"),
        (("l2", [], 1), "shape"),
        (("l2", [[0]], 1), "shape"),
        (("l2", 0, 1), "shape"),
        (("l2", [float("nan")], 1), "NaN"),
        (("l2", [INF], 1), "infinite"),
        (("l2", [F(1, 3**9000)], 1), "bits"),
        (("l2", [0], F(1, 3**9000)), "bits"),
    ],
)
def test_balls_of_nonsense_are_refused_in_a_line(arguments: Any, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        Ball(*arguments)
    assert "\n" not in str(caught.value)


def test_a_ball_of_another_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="ball of disjunct 0 has 2 inputs, expected 1"):
        Property(1, 1, (Disjunct(Box(0, 1, 1), (), Ball("l1", [0, 0], 1)),))


@pytest.mark.parametrize(
    "ball",
    [
        None,
        [],
        "l2",
        {},
        {"norm": "l2", "center": ["0"]},
        {"norm": "l3", "center": ["0"], "size": "1"},
        {"norm": "l2", "center": ["0", "0"], "size": "1"},
        {"norm": "l2", "center": [0], "size": "1"},
        {"norm": "l2", "center": "0", "size": "inf"},
        {"norm": "l2", "center": ["inf"], "size": "1"},
        {"norm": "l2", "center": ["0"], "size": "-1"},
        {"norm": "l2", "center": ["0"], "size": "1/0"},
    ],
)
def test_malformed_json_is_refused_in_a_line(ball: Any) -> None:
    entry = json.loads(Property.output_at_most(Box(0, 1, 1), 0, 1).to_json())
    entry["disjuncts"][0]["ball"] = ball
    with pytest.raises(InputError) as caught:
        Property.from_json(json.dumps(entry))
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------- what becomes of them


def test_the_engine_reads_what_is_written() -> None:
    net = pv.Network.from_arrays([[[1.0, 0.0]]])
    row = Constraint((), ((0, -1),), F(-1))  # y >= 1
    for norm, size in (("l1", F(1)), ("l2", F(1))):
        for less, status in ((F(-1, 1000), "sat"), (F(1, 1000), "unsat")):
            ball = Ball(norm, [0, F(1, 3)], size - less)
            spec = Property(2, 1, (Disjunct(Box(-2, 2, 2), (row,), ball),))
            answer = question.decide(net, spec, want_proof=True)
            assert answer["status"] == status
            if status == "sat":
                whole, den = answer["witness"]
                assert spec.contains([F(v, den) for v in whole], [F(whole[0], den)])
            else:
                assert both(answer["file"], net, spec)
    broken = question.property_bytes(spec)
    with pytest.raises(ValueError, match="ball|malformed|property|truncated|bytes"):
        pv._core.verify(net.core, broken.replace(b"PLVSPEC3", b"PLVSPEC2"))
    number = broken.rindex(struct.pack("<III", 1, 0, 1)) + 4  # of the only case's box
    with pytest.raises(ValueError, match="no such box"):
        pv._core.verify(net.core, broken[:number] + b"\1" + broken[number + 1 :])


def test_cases_of_one_box_and_several_balls() -> None:
    net = pv.Network.from_arrays([[[1.0, 0.0]]])
    row = Constraint((), ((0, -1),), F(-1))  # y >= 1
    box, center = Box(-2, 2, 2), (F(0), F(0))
    for norm in ("l1", "l2"):
        near, close, far = (Ball(norm, center, F(size)) for size in ("1/10", "99/100", "101/100"))
        for balls, status in (((near, far), "sat"), ((far, near), "sat"), ((near, close), "unsat")):
            spec = Property(2, 1, tuple(Disjunct(box, (row,), ball) for ball in balls))
            answer = question.decide(net, spec, want_proof=True)
            assert answer["status"] == status
            assert status == "sat" or both(answer["file"], net, spec)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("name", ["relu", "thirds", "mixed", "three inputs", "residual"])
def test_verdicts_agree_with_nearest_points_on_all_patterns(name: str, norm: str) -> None:
    graph = graphs()[name]
    rng = random.Random(f"{name} {norm}")
    net, box = network(graph), cube(graph.inputs)
    top = maximum(graph, box, {}, {0: 1})[0]
    low = -maximum(graph, box, {}, {0: -1})[0]
    for _ in range(4):
        center = [F(rng.randint(-5, 5), 4) for _ in box]
        bound = low + (top - low) * F(rng.randint(1, 7), 8)
        walk = Closest(graph, System(box, [Row({}, {0: -1}, -bound)]), center, norm)
        walk.run()
        assert walk.best is not None
        if not walk.best[0]:
            continue
        for share, status in ((F(1, 2), "unsat"), (F(999, 1000), "unsat"), (F(1001, 1000), "sat")):
            ball = Ball(norm, center, walk.best[0] * share)
            row = Constraint((), ((0, -1),), -bound)
            spec = Property(graph.inputs, graph.sizes[-1], (
                Disjunct(Box(*zip(*box, strict=True)), (row,), ball),))  # fmt: skip
            found = pv.verify(net, spec, proof=True, timeout=20)
            assert found.status.value == status, (share, center)
            assert both(found.proof, net, spec)
            if found.witness is not None:
                assert spec.contains(found.witness, net.exact(found.witness))


def test_a_witness_as_executed_lies_in_the_ball() -> None:
    net = pv.Network.from_arrays([[[1.0, 1.0]], [[1.0]]])
    row = Constraint((), ((0, -1),), F(-1))
    ball = Ball("l2", [F(1, 3), F(1, 3)], F(1, 2))
    spec = Property(2, 1, (Disjunct(Box(-1, 2, 2), (row,), ball),))
    found = pv.verify(net, spec)
    assert found.status.value == "sat"
    assert found.float32 == "confirmed"
    assert found.float32_witness is not None
    assert ball.contains([F(v) for v in found.float32_witness])
    # On the sphere there is no float32 number: the only real violation is at (5/6, 5/6).
    point = (F(5, 6), F(5, 6))
    tight = Constraint((), ((0, -1),), F(-5, 3))
    spec = Property(2, 1, (Disjunct(Box(-1, 2, 2), (tight,), ball),))
    assert spec.contains(point, net.exact(point))
    assert confirm(net, spec, 0, point) == ("not_confirmed", None)
