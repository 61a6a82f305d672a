"""The benchmarks run, and the regions they count are right; nothing here looks at a time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tools import script

import plverify as pv
from plverify.property import Property

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def run(*arguments, program="run.py"):
    command = [sys.executable, str(FOLDER / program), *map(str, arguments)]
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


def test_proofs_are_measured_and_accepted(tmp_path):
    done = run("--quick", "--markdown", tmp_path / "out.md", program="proofs.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| 4-16-16-1 | 6,658 |" in (tmp_path / "out.md").read_text()


def test_radii_are_measured_once_and_agree_with_the_table(tmp_path):
    if not (FOLDER.parents[1] / "shared" / "data" / "lipadv").is_dir():
        pytest.skip("the shared data folder is not there")
    rows = tmp_path / "rows.jsonl"
    given = ("mlp_64_32_10", "--rows", rows, "--markdown", tmp_path / "out.md", "--points")
    for points in ((3,), (3, 1)):
        done = run(*given, *points, program="radii.py")
        assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(row)["point"] for row in rows.read_text().splitlines()] == [3, 1]
    assert "2 of 2 exact, 2 of them in 60 s" in (tmp_path / "out.md").read_text()
    wrong = [row | {"upper": 0.01} for row in map(json.loads, rows.read_text().splitlines())]
    rows.write_text("".join(json.dumps(row) + "\n" for row in wrong))
    assert run("mlp_64_32_10", "--rows", rows, "--points", program="radii.py").returncode == 1


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


# -------------------------------------------------------------------------------- verification


@pytest.fixture
def families(tmp_path):
    """Two families of tiny instances, one of which has a wrong known verdict on request."""
    net = {"W0": [[1.0], [-1.0]], "b0": [0.0, 0.0], "W1": [[1.0, 1.0]], "b1": [0.0]}  # |x|
    box = pv.Box([-1], [2])

    def write(known="unsat"):
        for name in ("acasxu", "unheard"):
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / "abs.npz", **net)
            for bound in ("1.9", "2"):
                spec = Property.output_at_most(box, 0, bound)
                (folder / f"{bound}.vnnlib").write_text(spec.to_vnnlib())
            (folder / "instances.csv").write_text("abs.npz,1.9.vnnlib,9\nabs.npz,2.vnnlib,9\n")
        (folder / "expected.csv").write_text(f"onnx,vnnlib,verdict\nabs.npz,2.vnnlib,{known}\n")
        return tmp_path / "data"

    return write


def test_verification_goes_into_its_own_part(families, tmp_path):
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\n<!-- begin regions -->\nkept\n<!-- end regions -->\n")
    rows = tmp_path / "rows"
    first = run("--run", families(), "--rows", rows, "--markdown", results, program="verify.py")
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines() == ["acasxu: 2 of 2 to do", "unheard: 2 of 2 to do"]
    text = results.read_text()
    assert "\nkept\n" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[:4] for line in lines[2:]] == [
        ["| acasxu", "2/2", "0/0", "0"],
        ["| unheard", "2/2", "1/1", "0"],
    ]
    assert "nnenum 186/186" in lines[2]
    assert "the listed time limits, 4 GB, 1 thread" in text
    again = run("--run", families(), "--rows", rows, "--markdown", results, program="verify.py")
    assert again.stderr.splitlines() == ["acasxu: 0 of 2 to do", "unheard: 0 of 2 to do"]
    assert results.read_text() == text
    put_part = script("benchmarks/parts.py").put_part
    put_part(results, "regions", "new")
    assert "kept" not in results.read_text()
    assert "\n## Verification\n" in results.read_text()


def test_wrong_verdicts_exit_with_1_and_are_listed(families, tmp_path):
    rows, results = tmp_path / "rows", tmp_path / "RESULTS.md"
    done = run("--run", families("sat"), "--rows", rows, "--markdown", results, program="verify.py")
    assert done.returncode == 1
    assert "| **1** |" in results.read_text()
    assert "WRONG: unheard abs.npz 2.vnnlib: unsat, known: sat" in results.read_text()


def test_the_committed_results_have_their_parts():
    text = (FOLDER / "RESULTS.md").read_text()
    assert "## Counting regions" in script("benchmarks/parts.py").read_part(text, "regions")
