"""The engine on the networks of ``shared/data/regions``, whose counts several methods found.

The counts are in ``expected.csv`` there; areas, volumes and proofs say independently that each
listing is right. The planes through LeNet's inputs are in `test_engine_graphs.py`.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plverify as pv
from plverify import _core, theory

DATA = Path(__file__).parents[2] / "shared" / "data" / "regions"
SMALL = ["mlp_2_16_16_1", "mlp_2_32_32_32_1"]
NETWORKS = [*SMALL, "mlp_2_64_64_64_1", "mlp_2_128_128_128_1", "mnist_mlp_784_256_256_256_10"]
MANY_DIMENSIONS = {
    "mlp_3_16_16_1": (3, 1276),
    "mlp_3_32_32_1": (3, 11512),
    "mlp_4_16_16_1": (4, 6658),
    "mlp_8_16_1": (8, 16730),
}
ARRAYS = ("patterns", "vertex_count", "vertices", "line_layer", "line_unit", "flags")

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no reference data at {DATA}")


@lru_cache(maxsize=1)
def expected() -> dict[str, int]:
    with open(DATA / "expected.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {row["net"]: int(row["activation_regions"]) for row in rows if row["dim"] == "2"}
    return {name: known[name] for name in NETWORKS}


@lru_cache(maxsize=8)
def load(name: str) -> tuple[pv.Network, Any]:
    """The network and its plane, from the arrays alone."""
    data = np.load(DATA / f"{name}.npz")
    depth = sum(key.startswith("W") for key in data)
    weights, biases = ([data[f"{letter}{k}"] for k in range(depth)] for letter in "Wb")
    box = pv.Box(data["lo"], data["hi"])
    domain = pv.Slice(data["c"], data["P"], box) if "P" in data else box
    return pv.Network.from_arrays(weights, biases), domain


def run(name: str, want: str = "count", **options: Any) -> dict[str, Any]:
    net, domain = load(name)
    out: dict[str, Any] = _core.enumerate(net.core, domain.to_bytes(), want, **options)
    assert out["complete"]
    return out


def test_the_rows_of_the_table() -> None:
    assert expected() == {
        "mlp_2_16_16_1": 127,
        "mlp_2_32_32_32_1": 1180,
        "mlp_2_64_64_64_1": 6668,
        "mlp_2_128_128_128_1": 20714,
        "mnist_mlp_784_256_256_256_10": 51828,
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_count_agrees_with_the_table(name: str, threads: int) -> None:
    assert run(name, threads=threads)["count"] == expected()[name]
    net, domain = load(name)
    found = pv.count_regions(net, domain, threads=threads)
    assert (found.complete, found.count) == (True, expected()[name])
    assert theory.violated(found.count, theory.bounds_table(2, net.widths)) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_lists_agree_with_the_table_and_not_with_the_threads(name: str) -> None:
    lists = [run(name, "regions", threads=threads) for threads in (1, 2, 5)]
    for out in lists:
        assert out["count"] == len(out["patterns"]) == expected()[name]
        assert len({row.tobytes() for row in out["patterns"]}) == expected()[name]
        # generic plain ReLU networks in a box: four corners to a region (Euler)
        assert out["vertex_count"].sum() == 4 * out["count"]
        for array in (*ARRAYS, "jacobian", "offset"):
            assert out[array].tobytes() == lists[0][array].tobytes(), array
        assert out["ever_on"].tolist() == lists[0]["ever_on"].tolist()


@pytest.mark.sanitize
def test_the_smallest_agrees_with_the_table() -> None:
    for options in ({}, {"threads": 2}, {"portable": True}, {"decide": 1}, {"decide": 2}):
        assert run(SMALL[0], **options)["count"] == 127
        assert run(SMALL[0], "regions", **options)["count"] == 127


@pytest.mark.parametrize("name", NETWORKS[:3])
@pytest.mark.parametrize("options", [{"portable": True}, {"decide": 1}, {"decide": 2}], ids=str)
def test_every_way_to_decide_agrees_with_the_table(name: str, options: dict[str, Any]) -> None:
    assert run(name, **options)["count"] == expected()[name]
    out = run(name, "regions", **options)
    filtered = run(name, "regions")
    rows = (sorted(row.tobytes() for row in run["patterns"]) for run in (out, filtered))
    assert next(rows) == next(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS[3:])
@pytest.mark.parametrize("options", [{"portable": True}, {"decide": 1}], ids=str)
def test_every_way_agrees_with_the_table_on_the_large(name: str, options: dict[str, Any]) -> None:
    assert run(name, threads=2, **options)["count"] == expected()[name]


@pytest.mark.parametrize("name", SMALL)
def test_exact_areas_sum_to_the_domains(name: str) -> None:
    net, domain = load(name)
    found = pv.regions(net, domain, exact=True)
    areas = [region.exact_volume for region in found]
    assert all(area is not None and area > 0 for area in areas)
    while len(areas) > 1:  # pairwise, or the denominators pile up
        areas = [sum(areas[k : k + 2], Fraction(0)) for k in range(0, len(areas), 2)]
    assert areas == [4]
    assert found.areas().sum() == pytest.approx(4, rel=1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_rounded_areas_sum_to_the_domains(name: str) -> None:
    found = pv.regions(*load(name))
    assert found.areas().sum() == pytest.approx(4, rel=1e-9)
    assert (found.areas() >= 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_the_checker_accepts_the_proof(name: str) -> None:
    net, domain = load(name)
    verdict = pv.check(pv.regions(net, domain, exact=True, threads=2).proof(), net)
    assert verdict.accepted, verdict.reason
    assert str(expected()[name]) in verdict.claim.replace(",", "")


@pytest.mark.parametrize("name", NETWORKS)
def test_streams_agree_with_the_table(name: str) -> None:
    parts = list(pv.stream_regions(*load(name), threads=2, batch=1000))
    assert sum(part["count"] for part in parts) == expected()[name]
    assert len({row.tobytes() for part in parts for row in part["patterns"]}) == expected()[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_neighbours_and_maps_fit_together(name: str) -> None:
    """Across an edge lies the pattern with the edge's unit flipped; the maps meet there."""
    net, domain = load(name)
    found = pv.regions(net, domain)
    across, start = found.neighbour_index, found.vertex_start
    assert ((across == -1) == (found.line_layer == -1)).all()
    assert (across >= -1).all()
    owner = np.repeat(np.arange(found.count), np.diff(start))
    inner = np.flatnonzero(across >= 0)
    assert len(inner) % 2 == 0
    pairs = {(int(a), int(b)) for a, b in zip(owner[inner], across[inner], strict=True)}
    assert {(b, a) for a, b in pairs} == pairs
    assert len(pairs) == len(inner)
    flips = found.patterns[owner[inner]] ^ found.patterns[across[inner]]
    first = np.concatenate([[0], np.cumsum(net.widths)])
    wall = first[found.line_layer[inner]] + found.line_unit[inner]
    assert (flips.sum(axis=1) == 1).all()
    assert flips[np.arange(len(inner)), wall].all()
    t = found.vertices[inner]
    values = [
        np.einsum("kij,kj->ki", found.J[r], t) + found.c[r] for r in (owner[inner], across[inner])
    ]
    assert np.allclose(values[0], values[1], rtol=0, atol=1e-9)


def test_the_rows_of_many_dimensions() -> None:
    with open(DATA / "expected.csv", newline="", encoding="utf-8") as file:
        rows = {row["net"]: row for row in csv.DictReader(file) if int(row["dim"]) > 2}
    found = {name: (int(r["dim"]), int(r["activation_regions"])) for name, r in rows.items()}
    assert found == MANY_DIMENSIONS


@pytest.mark.parametrize("name", MANY_DIMENSIONS)
def test_both_engines_count_the_rows_of_many_dimensions(name: str) -> None:
    net, domain = load(name)
    dim, count = MANY_DIMENSIONS[name]
    assert domain.dim == dim
    for threads in (1, 2):
        assert pv.count_regions(net, domain, threads=threads).count == count
    assert _core.halfspaces(net.core, domain.to_bytes())["count"] == count
    assert theory.violated(count, theory.bounds_table(dim, net.widths)) == []
    streamed = pv.stream_regions(net, domain, batch=1000)
    patterns = {row.tobytes() for part in streamed for row in part["patterns"]}
    assert len(patterns) == count


@pytest.mark.parametrize("name", ["mlp_3_16_16_1", "mlp_4_16_16_1"])
def test_proofs_and_neighbours_in_many_dimensions(name: str) -> None:
    net, domain = load(name)
    found = pv.regions(net, domain)
    verdict = pv.check(found.proof(), net)
    assert verdict.accepted, verdict.reason
    assert found.linear_count == found.count
    across, start = found.neighbour_index, found.facet_start
    owner = np.repeat(np.arange(found.count), np.diff(start))
    inner = np.flatnonzero(across >= 0)
    pairs = {(int(a), int(b)) for a, b in zip(owner[inner], across[inner], strict=True)}
    assert {(b, a) for a, b in pairs} == pairs
    flips = found.patterns[owner[inner]] ^ found.patterns[across[inner]]
    assert (flips.sum(axis=1) == 1).all()


def test_volumes_of_the_smallest_of_three_dimensions_sum_to_the_box() -> None:
    found = pv.regions(*load("mlp_3_16_16_1"))
    assert found.areas().sum() == pytest.approx(8, rel=1e-12)
