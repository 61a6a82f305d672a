"""Answers are frozen, and those of numbers and texts come back from JSON as they were."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator
from fractions import Fraction

import pytest

import plverify as pv
from plverify.dead import UnitReport
from plverify.extremum import Extremum
from plverify.partition import RegionCount
from plverify.result import Result, decimal, ratio
from plverify.study import Checkpoint
from plverify.verdict import Verification

NET = pv.Network.from_arrays([[[1, 0.5], [-1, 2]], [[1, -1], [2, 1]]], [[0.25, 0], [0, 1]])
BOX = pv.Box(-1, 1, 2)


def subclasses(kind: type) -> Iterator[type]:
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_every_answer_is_frozen() -> None:
    for module in pkgutil.iter_modules(pv.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"plverify.{module.name}")
    kinds = list(subclasses(Result))
    assert len(kinds) >= 12
    for kind in kinds:
        assert dataclasses.fields(kind)
        params = kind.__dataclass_params__  # type: ignore[attr-defined]
        assert params.frozen, kind


def answers() -> list[Result]:
    spec = pv.Property.output_at_most(BOX, 0, 0, 2)
    far = pv.Property.output_at_most(BOX, 0, 100, 2)
    return [
        pv.verify(NET, spec, proof=True),
        pv.verify(NET, far, proof=True, float32_sound=True),
        pv.verify(NET, far, timeout=0.0),
        pv.maximize(NET, 0, BOX, proof=True),
        pv.minimize(NET, [1, "1/3"], BOX),
        pv.maximize(NET, 0, BOX, timeout=0.0),
        pv.sup_distance(NET, NET, BOX, "l1", proof=True),
        pv.dead_units(NET, BOX, proof=True),
        pv.count_regions(NET, BOX),
        pv.count_regions(NET, BOX, timeout=0.0),
        pv.boundary_distance(NET, [0.25, 0.5]),
        pv.boundary_distance(pv.Network.from_arrays([[[1.0]]]), [0]),
    ]


@pytest.mark.parametrize("number", range(len(answers())))
def test_answers_come_back_from_json(number: int) -> None:
    answer = answers()[number]
    kind = type(answer)
    again = kind.from_json(answer.to_json())
    assert again == answer
    assert type(again) is kind
    assert kind.from_dict(answer.to_dict()).to_json() == answer.to_json()
    entry = json.loads(answer.to_json())
    for name in entry:
        rest = {k: v for k, v in entry.items() if k != name}
        for other in (rest, {**rest, "more": 1}, {**entry, name: {"a": object}}):
            if other is not rest and name == "stats":
                continue
            with pytest.raises(pv.InputError, match=kind.__name__):
                kind.from_dict(other)


def test_numbers_of_any_length_come_back() -> None:
    long = Fraction(10**9000 + 1, 3**5000)
    answer = Extremum(pv.Status.COMPLETE, "maximum", -long, (long, Fraction(0)), None)
    assert Extremum.from_json(answer.to_json()) == answer
    assert ratio(Fraction(-7)) == "-7"
    assert len(decimal(10**9000)) == 9001


def test_what_is_no_answer_is_refused() -> None:
    good = json.loads(pv.maximize(NET, 0, BOX).to_json())
    for name, value in (
        ("value", 0.5),
        ("value", "1/0"),
        ("value", "0.5"),
        ("value", "1e9"),
        ("witness", "12"),
        ("witness", ["1", 2]),
        ("status", "perhaps"),
        ("nodes", 1.0),
        ("nodes", True),
        ("seconds", "fast"),
        ("proof", {"base64": "?"}),
        ("proof", {"base64": 3}),
        ("proof", {"base64": "", "more": 1}),
        ("sense", None),
    ):
        with pytest.raises(pv.InputError, match="Extremum in JSON"):
            Extremum.from_dict({**good, name: value})
    for text in ("", "[]", "null", "{", "1" * 10, "[" * 100_000):
        for kind in (Verification, Extremum, UnitReport, RegionCount, Checkpoint):
            with pytest.raises(pv.InputError):
                kind.from_json(text)
