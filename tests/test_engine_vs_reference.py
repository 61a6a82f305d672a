"""Every mode of the engine against `plverify.reference`, on networks degenerate on purpose.

One test body, every implementation: the modes are those of `dev/fuzz.py` (filtered, two threads,
portable kernels, exact points, exact signs), and so are the comparisons. What `dev/fuzz` once found
lies shrunk under ``regressions`` and is replayed here.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import fuzz_cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Case, degenerate_nets, integer_nets
from tools import script

import plverify as pv

fuzz = script("dev/fuzz.py")
F = Fraction
BLOCK = 20
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
every_mode = pytest.mark.parametrize("mode", fuzz.MODES)
every_block = pytest.mark.parametrize("block", range(12))


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A test that takes a minute has hung; the signal also interrupts the engine."""

    def alarm(*_: Any) -> None:
        raise TimeoutError("no answer in 60 seconds")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@lru_cache(maxsize=512)
def oracle(seed: int) -> Any:
    return fuzz.Oracle(fuzz.random_case(seed))


# ------------------------------------------------------------------------------------ fixed seeds


@every_block
@every_mode
def test_count_agrees_with_reference(mode: str, block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        fuzz.check_count(oracle(seed), **fuzz.MODES[mode])


@pytest.mark.parametrize("mode", ["filtered", "exact points", "exact signs"])
@every_block
def test_regions_agree_with_reference(mode: str, block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        fuzz.check_regions(oracle(seed), **fuzz.MODES[mode])


@pytest.mark.sanitize
@every_mode
def test_a_few_regions_agree_with_reference(mode: str) -> None:
    for seed in range(1000, 1012):
        fuzz.check_count(oracle(seed), **fuzz.MODES[mode])
        fuzz.check_regions(oracle(seed), **fuzz.MODES[mode])


@every_block
def test_decision_boundary_agrees_with_reference(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        results = [
            set(oracle(seed).run("ties", **options)["segments"]) for options in fuzz.MODES.values()
        ]
        assert results.count(results[0]) == len(results), seed
        fuzz.check_ties(oracle(seed), results[0])


@every_block
def test_arrays_do_not_depend_on_threads_nor_streaming(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        fuzz.check_threads(oracle(seed))
        fuzz.check_threads(oracle(seed), decide=1)
        fuzz.check_stream(oracle(seed))
        fuzz.check_stream(oracle(seed), batch=1, threads=2)


@every_block
def test_checker_accepts_the_proof(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK, 2):
        fuzz.check_proof(oracle(seed), threads=1 + seed // 2 % 2)


def test_an_error_bound_that_is_not_a_number_hides_nothing() -> None:
    """Entries of 1e270 cancel; the bound of what is left was NaN, and then counted as 0."""
    fuzz.check_case(fuzz.random_case(4344))


@every_block
def test_public_functions_agree_with_reference(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK, 4):
        fuzz.check_public(oracle(seed), exact=seed % 8 == 0, threads=1 + seed // 8 % 2)


@every_block
def test_boundary_distance_agrees_with_reference(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK, 4):
        subject = oracle(seed)
        inside = subject.truth.regions[-1].interior_point
        for t in [inside, *sorted(subject.corners)[:1]]:
            fuzz.check_distance(subject, subject.reference_domain.embed(t))


@pytest.mark.parametrize("seed", range(10))
def test_medium_networks_agree_with_themselves(seed: int) -> None:
    """All ways to decide signs, exact areas, the independent checker."""
    fuzz.check_self(fuzz.medium_case(seed))


# ------------------------------------------------------------------------------------- hypothesis


@settings(deadline=None, max_examples=40)
@given(degenerate_nets())
def test_any_degenerate_network_agrees_with_reference(case: Case) -> None:
    fuzz.check_case(case, thorough=False)


PLAIN_DOMAINS: list[Any] = [
    {"kind": "space", "dim": 2},
    {"kind": "box", "dim": 2, "lo": [-1, -1], "hi": [1, 1]},
    {"kind": "box", "dim": 2, "lo": [0, None], "hi": [F(1, 3), 1]},
    {"kind": "polytope", "dim": 2, "a": [[1, 1], [-1, 0], [0, -1]], "b": [2, 0, 0]},
]


@settings(deadline=None, max_examples=40)
@given(integer_nets(), st.sampled_from(PLAIN_DOMAINS))
def test_any_integer_network_agrees_with_reference(net: Any, domain: Any) -> None:
    fuzz.check_case({**net, "domain": domain}, thorough=False)


# -------------------------------------------------------------------------- regressions, shrinking


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_replay_of_what_fuzzing_found(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    fuzz.CHECKS[record["check"]](fuzz_cases.from_json(record["case"]))


@pytest.mark.parametrize("seed", range(0, 40, 8))
def test_cases_survive_json(seed: int) -> None:
    case: Any = fuzz.random_case(seed)
    again = fuzz_cases.from_json(json.loads(json.dumps(fuzz_cases.to_json(case))))
    case["domain"].pop("inside")
    assert again == case


def test_the_shrinker_finds_the_least_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that miscounts where a unit has slope -1 and one before it a nonzero bias."""
    honest = fuzz.Subject.run

    def run(self: Any, want: str = "count", **options: Any) -> Any:
        out = honest(self, want, **options)
        slopes, biases = self.case["slopes"], self.case["biases"]
        bad = any(any(biases[k]) and -1 in slopes[k + 1] for k in range(len(slopes) - 1))
        return {**out, "count": out["count"] + bad}

    monkeypatch.setattr(fuzz.Subject, "run", run)

    monkeypatch.setitem(fuzz.CHECKS, "count", lambda case: fuzz.check_count(fuzz.Oracle(case)))

    def wrong(case: Any) -> bool:
        found = fuzz.verdict("count", case)
        return found is not None and found[0] == "count"

    seed = next(seed for seed in range(500) if wrong(fuzz.random_case(seed)))
    case = fuzz_cases.shrink(fuzz.random_case(seed), wrong, seconds=60)
    assert case["slopes"] == [[0], [-1]]
    assert case["weights"][1:] == [[[0]], [[0]]]
    assert case["biases"] in ([[1], [0], [0]], [[-1], [0], [0]])
    assert case["domain"]["kind"] in ("space", "box")
    monkeypatch.undo()
    fuzz.check_case(case)


def altered(name: str, change: Any) -> Any:
    """Change one array of a listing."""

    def sabotage(out: Any) -> Any:
        array = out[name].copy()
        array.reshape(-1)[...] = change(array.reshape(-1))
        return {**out, name: array}

    return sabotage


class Lying:
    """A complex of which one answer is altered."""

    def __init__(self, honest: Any, name: str, change: Any) -> None:
        self._honest, self._name, self._change = honest, name, change

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._honest, name)
        if name != self._name:
            return method
        return lambda *args: self._change(method(*args))


def lying(name: str, change: Any) -> Any:
    return lambda out: {**out, "complex": Lying(out["complex"], name, change)}


def first(value: Any) -> Any:
    """Change the first entry of an array."""

    def change(array: Any) -> Any:
        array = array.copy()
        array[0] = value(array[0])
        return array

    return change


def without_first_tie(out: Any) -> Any:
    """Without the first segment, which both of its cells list."""
    gone = set(out["segments"][0][:2])
    return {**out, "segments": [s for s in out["segments"] if set(s[:2]) != gone]}


SABOTAGE: dict[str, tuple[str, Any]] = {
    "a region too many": ("count", lambda out: {**out, "count": out["count"] + 1}),
    "a unit that is never on": ("count", altered("ever_on", first(lambda v: 0))),
    "a wrong pattern": ("regions", altered("patterns", first(lambda v: v ^ 1))),
    "a wrong wall": ("regions", altered("line_unit", lambda a: (a + 1) % 2)),
    "a wall that is no constraint": ("regions", altered("line_layer", lambda a: a.clip(0))),
    "a vertex at infinity": ("regions", altered("flags", first(lambda v: v ^ 1))),
    "a wrong slope": ("regions", altered("jacobian", first(lambda v: v + 1e-9))),
    "a wrong constant": ("regions", altered("offset", first(lambda v: v + 1e-9))),
    "a wrong neighbour": ("regions", lying("neighbours", lambda a: a[::-1].copy())),
    "one linear region": ("regions", lying("linear_labels", lambda a: a * 0)),
    "a wrong orientation": ("regions", lying("exact_vertices", lambda ring: ring[::-1])),
    "a moved vertex": (
        "regions",
        lying("exact_vertices", lambda ring: [((ring[0][0][0] + 1, ring[0][0][1]), 1), *ring[1:]]),
    ),
    "a tie too few": ("ties", without_first_tie),
    "a tie of the wrong pair": (
        "ties",
        lambda out: {**out, "segments": [(a, b, i, j + 1, s) for a, b, i, j, s in out["segments"]]},
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_checks_notice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of wrong answer fails the comparison, so that agreement means something."""
    target, sabotage = SABOTAGE[name]
    case: Any = {
        "weights": [[[1, 0.5], [0.25, 1]], [[1, 1], [1, -1]], [[1, 2], [2, 1], [0, 3]]],
        "biases": [[0.125, 0.25], [-0.5, 0], [0, 0.5, -0.25]],
        "slopes": [[0.5, 0.25], [0, 0]],
        "domain": {"kind": "box", "dim": 2, "lo": [-1, -1], "hi": [1, 1]},
    }
    fuzz.check_case(case)
    honest = fuzz.Subject.run

    def run(self: Any, want: str = "count", **options: Any) -> Any:
        out = honest(self, want, **options)
        return sabotage(out) if want == target else out

    monkeypatch.setattr(fuzz.Subject, "run", run)
    with pytest.raises(fuzz.Mismatch):
        fuzz.check_case(case)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(100, 115))
def test_more_seeds_agree_with_reference(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        fuzz.check_case(fuzz.random_case(seed), thorough=False)


@pytest.mark.parametrize("power", [-1074, -1000, -500, -30, 0, 20, 32, 53, 100, 600, 1000])
def test_distances_of_every_size_are_enclosed_at_once(power: int) -> None:
    """Found by fuzzing: squares far outside the range of doubles, and those of some 100 bits."""
    signal.alarm(20)
    net = pv.Network.from_arrays([[[1.0]], [[1.0]]])
    for x in (2.0**power, 1.1 * 2.0**power):
        start = time.monotonic()
        found = pv.boundary_distance(net, [x])
        assert (found.lower, found.upper, found.exact) == (x, x, F(x) ** 2)
        between = pv.boundary_distance(net, [F(x) * F(10**20 + 1, 10**20)])
        assert between.lower <= F(x) * F(10**20 + 1, 10**20) <= between.upper
        assert between.upper <= np.nextafter(between.lower, np.inf)
        assert time.monotonic() - start < 5
