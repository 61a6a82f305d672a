"""What a process imports before it has an answer: modules are counted here, no time is looked at.

Starting up is most of the time that a small question takes, and importing is most of starting up.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

import plverify as pv
from plverify.property import Property

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx_tools import model, node  # noqa: E402

SLOW = {
    "concurrent.futures",
    "highspy",
    "importlib.metadata",
    "matplotlib",
    "multiprocessing",
    "numpy.ma",
    "numpy.random",
    "numpy.testing",
    "onnx",
    "onnxruntime",
    "pathlib._local",
    "plverify.boundary",
    "plverify.partition",
    "plverify.theory",
    "pydantic",
    "rich",
    "scipy",
    "shutil",
    "torch",
    "typer",
}
"""Not needed for a verdict on a model that was replayed before."""

SCRIPT = """
import json, sys
before = set(sys.modules)
{code}
print("modules", json.dumps(sorted(set(sys.modules) - before)))
"""


def imported(tmp_path, code):
    """The modules that a fresh process imports for some code, and what else it prints."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code=code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, last = done.stdout.splitlines()
    return set(json.loads(last.removeprefix("modules "))), lines


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model and a property that holds, in a folder with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = [("W", np.eye(2, dtype=np.float32)), ("b", np.zeros(2, np.float32))]
    # the sum makes a sparse node
    nodes = [
        node("Gemm", "x", "W", "b", out="h"),
        node("Relu", "h", out="r"),
        node("Add", "r", "x"),
    ]
    onnx.save(model(nodes, (1, 2), weights), tmp_path / "m.onnx")
    holds = Property.output_at_most(pv.Box(-1, 1, 2), 0, 3, 2)
    (tmp_path / "holds.vnnlib").write_text(holds.to_vnnlib())
    return tmp_path


VERIFY = "from plverify.cli import run; run(['verify', 'm.onnx', 'holds.vnnlib'])"


def test_a_verdict_on_a_model_replayed_before_imports_what_it_needs(files):
    first, lines = imported(files, VERIFY)
    assert lines[0] == "unsat"
    assert "onnxruntime" in first  # the replay of a model that was never seen
    again, lines = imported(files, VERIFY)
    assert lines[0] == "unsat"
    assert sorted(again & SLOW) == []
    own = {name for name in again if name.startswith("plverify")}
    assert len(own) <= 49, sorted(own)
    assert len(again) <= 330, sorted(again)


def test_importing_the_package_imports_no_library(tmp_path):
    modules, _ = imported(tmp_path, "import plverify")
    assert {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) == {
        "plverify"
    }
    assert {name for name in modules if name.startswith("plverify.")} == {"plverify._core"}


def test_the_command_line_imports_the_command_that_was_asked_for(tmp_path):
    modules, _ = imported(tmp_path, "from plverify.cli import run; run(['bounds', '--help'])")
    commands = {name.rpartition(".")[2] for name in modules if name.startswith("plverify.cli.")}
    assert commands == {"arguments", "bounds"}


def test_every_public_name_is_there():
    assert all(getattr(pv, name) is not None for name in pv.__all__)
    assert set(pv.__all__) <= set(dir(pv))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pv.nonsense
    assert pv.theory.zaslavsky(2, 2) == 4
