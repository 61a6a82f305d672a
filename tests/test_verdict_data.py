"""`verify` on competition instances with known verdicts; every unsat is a checked proof."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import plverify as pv

ROOT = Path(__file__).resolve().parents[2] / "shared" / "data" / "vnncomp"
SMALL = 100  # units of the sat_relu networks that are asked for


def instances(family: str) -> list[dict[str, str]]:
    path = ROOT / family / "expected.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not ROOT.exists(), reason="the shared data folder is not there")
@pytest.mark.parametrize("family", ["test", "sat_relu"])
def test_known_verdicts(family: str) -> None:
    asked = 0
    for row in instances(family):
        net = pv.load(ROOT / family / row["onnx"])
        if sum(net.widths) > SMALL and family != "test":
            continue
        found = pv.verify(net, ROOT / family / row["vnnlib"], timeout=60, float32=False)
        assert found.status == row["verdict"], row
        asked += 1
    assert asked >= 5


@pytest.mark.skipif(not ROOT.exists(), reason="the shared data folder is not there")
@pytest.mark.parametrize(("model", "spec"), [("3_3", 4), ("1_5", 3), ("3_1", 3)])
def test_acas_is_proved_for_float32_executions(model: str, spec: int) -> None:
    net = pv.load(ROOT / "acasxu" / "onnx" / f"ACASXU_run2a_{model}_batch_2000.onnx.gz")
    path = ROOT / "acasxu" / "vnnlib" / f"prop_{spec}.vnnlib.gz"
    found = pv.verify(net, path, float32_sound=True, proof=True, timeout=60)
    assert (found.status, found.float32) == ("unsat", "proved")
    assert found.proof is not None
    assert pv.check(found.proof, net, pv.Property.from_vnnlib(path), float32=True)


@pytest.mark.skipif(not ROOT.exists(), reason="the shared data folder is not there")
def test_units_that_are_known_for_violations_only_are_split() -> None:
    """Affine leaves of this search find points that are none: bounds told pieces of violations."""
    net = pv.load(ROOT / "acasxu" / "onnx" / "ACASXU_run2a_3_3_batch_2000.onnx.gz")
    path = ROOT / "acasxu" / "vnnlib" / "prop_2.vnnlib.gz"
    found = pv.verify(net, path, float32=False, timeout=60)
    assert found.status == "unsat", found.reason
