"""The benchmarks run, and the regions they count are right; nothing here looks at a time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from tools import script

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def run(*arguments):
    command = [sys.executable, str(FOLDER / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def cases():
    return script("benchmarks/cases.py")


def test_quick_mode_counts_what_others_count(tmp_path, cases):
    done = run("--quick", "--json", tmp_path / "out.json", "--markdown", tmp_path / "out.md")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out.json").read_text())
    expected = {case.name: case.regions for case in cases.CASES if case.quick}
    assert {row["case"]: row["regions"] for row in results["cases"]} == expected
    assert all(row["correct"] for row in results["cases"])
    assert all(f"| {name} |" in (tmp_path / "out.md").read_text() for name in expected)


def test_memory_is_measured_in_a_fresh_process():
    done = run("--memory-of", "2-16-16-1")
    assert done.returncode == 0, done.stderr
    memory = json.loads(done.stdout)
    assert 0 <= memory["memory_growth_mib"] < memory["memory_peak_mib"]


def test_an_unknown_case_is_one_line_that_lists_the_cases():
    done = run("nonsense")
    assert done.returncode == 2
    assert "no case 'nonsense'; there are '2-16-16-1'" in done.stderr


def test_made_networks_have_the_bits_of_pytorch(cases):
    # The digest is that of the tensors PyTorch 2 itself wrote, 2-16-16-1, seed 0.
    digest = hashlib.sha256()
    for pair in cases.torch_layers((2, 16, 16, 1)):
        for tensor in pair:
            digest.update(tensor.astype("<f4").tobytes())
    assert digest.hexdigest() == "3c5ed44f519883dd2e6c840188572a1b6d0ffcccb82b740b8610484a7ef8f744"


def test_made_networks_equal_those_of_an_installed_pytorch(cases):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    sizes = (5, 33, 7)
    linears = [torch.nn.Linear(n, m) for n, m in pairwise(sizes)]
    for linear, (weight, bias) in zip(linears, cases.torch_layers(sizes, 3), strict=True):
        assert (linear.weight.detach().numpy() == weight).all()
        assert (linear.bias.detach().numpy() == bias).all()
