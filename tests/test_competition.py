"""The competition's scripts: verdicts, and witnesses that replay as its rules want them.

The judge here is onnxruntime with its default options on the bytes of the file, as in the scoring
scripts; inputs and outputs are then compared with the property exactly.
"""

import os
import re
import subprocess
import sys
from fractions import Fraction as F
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import plverify as pv
from plverify.cli import run
from plverify.property import Property

onnxruntime = pytest.importorskip("onnxruntime")
from onnx_tools import model, node  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[1] / "competition"


def layers(*weights, shape):
    """A chain of MatMul and Add with Relu between."""
    nodes, constants, last = [], [], "x"
    for k, (w, b) in enumerate(weights):
        constants += [(f"W{k}", np.array(w, np.float32)), (f"b{k}", np.array(b, np.float32))]
        nodes.append(node("MatMul", last, f"W{k}", out=f"m{k}"))
        final = k == len(weights) - 1
        nodes.append(node("Add", f"m{k}", f"b{k}", out="y" if final else f"s{k}"))
        if not final:
            nodes.append(node("Relu", f"s{k}", out=f"r{k}"))
        last = f"r{k}"
    return model(nodes, shape, constants)


ABSOLUTE = layers(([[1, -1]], [0, 0]), ([[1], [1]], [0]), shape=(1, 1))
SHIFT = layers(([[1]], [2.0**25]), ([[1]], [-(2.0**25)]), shape=(1, 1))  # float32 rounds 3 to 4
TWO = layers(([[1, 2], [3, -1]], [0, 1]), ([[1, 0], [0, 1]], [0, 0]), shape=(1, 2))


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """``instance(proto, property)`` writes both files; returns their paths."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLVERIFY_PYTHON", sys.executable)

    def write(proto, spec):
        (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
        text = spec if isinstance(spec, str) else spec.to_vnnlib()
        (tmp_path / "prop.vnnlib").write_text(text)
        return str(tmp_path / "net.onnx"), str(tmp_path / "prop.vnnlib")

    return write


def script(name, *arguments, cwd=None):
    command = ["bash", str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def compete(tmp_path, onnx, vnnlib, timeout=20):
    """The lines of the results file."""
    done = script("prepare_instance.sh", "v1", "test", onnx, vnnlib, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.txt").write_text("no_result_in_file\n")
    done = script("run_instance.sh", "v1", "test", onnx, vnnlib, "out.txt", timeout, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return (tmp_path / "out.txt").read_text().splitlines(), done.stderr


def replay(onnx, x):
    """What the scoring script computes from a witness's inputs."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    point = np.array(x, np.float32)
    return point, session.run(None, {given.name: point.reshape(given.shape)})[0].ravel()


def read_witness(lines):
    """Inputs and outputs of a witness of version 1.0, read as strictly as its rules allow."""
    text = " ".join(lines)
    assert re.fullmatch(r"\((\([XY]_\d+ [-+.e\d]+\) ?)+\)", text)
    values = re.findall(r"\(([XY])_(\d+) ([-+.e\d]+)\)", text)
    for letter in "XY":
        found = [int(k) for a, k, _ in values if a == letter]
        assert found == list(range(len(found)))
    return tuple([float(v) for a, _, v in values if a == letter] for letter in "XY")


@pytest.mark.parametrize(
    ("proto", "spec"),
    [
        (ABSOLUTE, Property.output_at_most(pv.Box([-1], [2]), 0, "1.9")),
        (ABSOLUTE, Property.output_at_most(pv.Box(["-0.1"], ["0.1"]), 0, "0.0999999")),
        (TWO, Property.from_rows(pv.Box(-1, 1, 2), None, [[-1, 1], [1, 0]], [0, 3])),
        # only beyond 2**25 does float32 round what a real number does not
        (SHIFT, Property.output_at_most(pv.Box([0], [3]), 0, 3)),
    ],
)
def test_a_sat_replays_strictly(instance, tmp_path, proto, spec):
    onnx, vnnlib = instance(proto, spec)
    (verdict, *lines), _ = compete(tmp_path, onnx, vnnlib)
    assert verdict == "sat"
    x, y = read_witness(lines)
    point, outputs = replay(onnx, x)
    assert point.astype(float).tolist() == x  # the text is the float32 number
    assert spec.contains(x, outputs.astype(float))
    np.testing.assert_allclose(y, outputs, rtol=1e-3)


def test_a_real_unsat_that_is_violated_as_executed_is_sat_here(instance, tmp_path):
    spec = Property.output_at_most(pv.Box([0], [3]), 0, 3)
    onnx, vnnlib = instance(SHIFT, spec)
    assert pv.verify(pv.load(onnx), spec).status == "unsat"
    (verdict, *_), said = compete(tmp_path, onnx, vnnlib)
    assert verdict == "sat"
    assert "nothing real violates" in said


def test_an_unsat_has_no_witness(instance, tmp_path):
    onnx, vnnlib = instance(ABSOLUTE, Property.output_at_most(pv.Box([-1], [2]), 0, 2))
    assert compete(tmp_path, onnx, vnnlib)[0] == ["unsat"]


def test_point_intervals_get_the_nearest_input_and_a_note(instance, tmp_path):
    box = pv.Box(["0.1", -1], ["0.1", 1])
    onnx, vnnlib = instance(TWO, Property.output_at_most(box, 0, 2, 2))
    (verdict, *lines), said = compete(tmp_path, onnx, vnnlib)
    assert verdict == "sat"
    assert "within 0.0001" in said
    x, _ = read_witness(lines)
    point, outputs = replay(onnx, x)
    assert point[0] == np.float32(0.1)
    assert outputs[0] > 2
    assert -1 <= point[1] <= 1


def test_what_no_float32_input_violates_is_unknown(instance, tmp_path):
    tenth, tiny = F(1, 10), F(1, 10**12)
    rows, bounds = [[1], [-1]], [tenth + tiny, tiny - tenth]
    onnx, vnnlib = instance(ABSOLUTE, Property.from_rows(pv.Box([0], [1]), None, rows, bounds))
    (verdict, *lines), said = compete(tmp_path, onnx, vnnlib)
    assert (verdict, lines) == ("unknown", [])
    assert "over the reals" in said


def test_the_timeout_is_kept(instance, tmp_path):
    rng = np.random.default_rng(0)
    sizes = [12, 100, 100, 100, 100, 1]
    made = [rng.standard_normal((a, b)) for a, b in pairwise(sizes)]
    proto = layers(*((w, 0.4 * rng.standard_normal(w.shape[1])) for w in made), shape=(1, 12))
    spec = Property.output_at_most(pv.Box(-3, 3, 12), 0, 10**6)
    onnx, vnnlib = instance(proto, spec)
    assert compete(tmp_path, onnx, vnnlib, timeout=1)[0] == ["timeout"]


QUERY = """(vnnlib-version <2.0>)
(declare-network f
  (declare-input X {kind} [1,2])
  (declare-output Y {kind} [2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0)))
(assert (and (>= X[0,1] -1.0) (<= X[0,1] 1.0)))
(assert (>= Y[0] {bound}))
"""


def read_assignment(lines):
    """Values by the name of their tensor."""
    out, rest = {}, list(lines)
    while rest:
        name, kind, shape = rest.pop(0).split(" ")
        dims = [int(n) for n in shape[1:-1].split(",")]
        count = int(np.prod(dims))
        out[name] = kind, dims, [float(v) for v in rest[:count]]
        del rest[:count]
    return out


@pytest.mark.parametrize("kind", ["real", "float32"])
def test_queries_of_version_2(instance, tmp_path, kind):
    onnx, vnnlib = instance(TWO, QUERY.format(kind=kind, bound="3.5"))
    (verdict, *lines), _ = compete(tmp_path, f"[('f', '{onnx}')]", vnnlib)
    assert verdict == "sat"
    found = read_assignment(lines)
    assert list(found) == ["X", "Y"]
    assert found["X"][:2] == (kind, [1, 2])
    assert found["Y"][:2] == (kind, [2])
    point, outputs = replay(onnx, found["X"][2])
    assert (abs(point) <= 1).all()
    assert outputs[0] >= 3.5


def test_what_cannot_be_read_is_skipped_by_prepare(instance, tmp_path):
    onnx, vnnlib = instance(model([node("Sin", "x")], (1, 1)), QUERY.format(kind="real", bound="1"))
    done = script("prepare_instance.sh", "v1", "test", onnx, vnnlib, cwd=tmp_path)
    assert done.returncode == 2
    assert "Sin" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["install_tool.sh", "prepare_instance.sh", "run_instance.sh"])
def test_scripts_refuse_other_calls(name):
    for arguments in ((), ("v2", "test", "a", "b", "c", "1"), ("v1", "a", "b", "c", "d", "e", "f")):
        if name == "install_tool.sh" and arguments[:1] == ("v1",):
            continue
        done = script(name, *arguments)
        assert done.returncode == 1
        assert "expected" in done.stderr
    assert os.access(SCRIPTS / name, os.X_OK)


# --------------------------------------------------------- the command line of the VNN-LIB standard


@pytest.fixture
def cli(capsys):
    def call(*arguments):
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


def test_verify_as_the_standard_has_it(cli, instance):
    onnx, vnnlib = instance(TWO, QUERY.format(kind="real", bound="3.5"))
    code, out, err = cli("verify", vnnlib, "--network", f"f={onnx}", "--timeout", 60)
    assert (code, err) == (0, "")
    status, *lines = out.splitlines()
    assert status == "sat"
    found = read_assignment(lines)
    assert [found[name][:2] for name in "XY"] == [("real", [1, 2]), ("real", [2])]
    assert found["Y"][2][0] >= 3.5
    onnx, vnnlib = instance(TWO, QUERY.format(kind="real", bound="5.5"))
    assert cli("verify", vnnlib, "--network", f"f={onnx}") == (0, "unsat\n", "")


def test_a_timeout_of_the_standard_is_timed_out(cli, instance, monkeypatch):
    onnx, vnnlib = instance(TWO, QUERY.format(kind="real", bound="3.5"))
    answer = {"status": "timeout", "nodes": 7, "leaves": 2, "stats": {}}
    monkeypatch.setattr("plverify.verdict.decide", lambda *a, **k: answer)
    assert cli("verify", vnnlib, "--network", f"f={onnx}") == (1, "timed-out\n", "")


def test_values_that_are_rounded_are_said_to_be(cli, tmp_path):
    np.savez(tmp_path / "third.npz", W0=[[1.0], [1.0]], b0=[0.0, 0.0])
    (tmp_path / "q.vnnlib").write_text(
        "(declare-network f (declare-input X real [1]) (declare-output Y real [2]))"
        "(assert (and (>= X[0] 0.0) (<= X[0] 1.0) (== (* 3.0 Y[0]) 1.0)))"
    )
    network = f"f={tmp_path / 'third.npz'}"
    code, out, err = cli("verify", tmp_path / "q.vnnlib", "--network", network)
    assert code == 0
    assert out.splitlines()[2] == repr(1 / 3)
    assert "rounded" in err


def test_queries_that_do_not_fit_get_one_line(cli, instance, tmp_path):
    onnx, vnnlib = instance(TWO, QUERY.format(kind="float32", bound="3.5"))
    doubles = str(tmp_path / "doubles.vnnlib")
    Path(doubles).write_text(QUERY.format(kind="float64", bound="3.5"))
    first = str(tmp_path / "first.vnnlib")
    Path(first).write_text(Property.output_at_most(pv.Box(-1, 1, 2), 0, 2, 2).to_vnnlib())
    good = ["--network", f"f={onnx}"]
    for arguments, named in [
        ([vnnlib, *good], "X is declared float32"),
        ([doubles, *good, "--real"], "X is declared float64, in the model float32"),
        ([vnnlib, "--network", f"g={onnx}", "--real"], "names g, the query declares f"),
        ([vnnlib, *good, "--network", f"g={onnx}", "--real"], "names f, g"),
        ([vnnlib, *good, *good, "--real"], "each name once"),
        ([vnnlib, "--network", onnx, "--real"], "expected NAME=MODEL"),
        ([first, *good], "of version 1.0"),
        ([onnx, vnnlib, *good], "the only argument"),
        ([onnx], "no SPEC"),
    ]:
        code, out, err = cli("verify", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert named in err
    assert cli("verify", vnnlib, *good, "--real")[1].startswith("sat\nX float32 [1,2]\n")


def test_capabilities_are_those_that_the_standard_knows(cli):
    for option, expected in {
        "--onnx-opset-versions": ["7", "23"],
        "--onnx-element-types": ["real"],
        "--vnnlib-versions": ["2.0", "2.0"],
        "--hidden-node-theories": ["NH"],
        "--multiple-input-output-theories": ["MIO"],
        "--multiple-network-theories": ["SNET"],
        "--multiple-node-comparison-theories": ["MNC"],
        "--arithmetic-complexity-theories": ["LIN"],
        "--optimised-disjunctive-reasoning": ["false"],
        "--serialise-assignments": ["false"],
        "--unsat-proofs": ["false"],
    }.items():
        code, out, err = cli("supports", option)
        assert (code, err) == (0, "")
        assert out.splitlines() == expected
    operators = cli("supports", "--onnx-operators")[1].splitlines()
    assert {"Conv", "Gemm", "MatMul", "MaxPool", "Relu"} <= set(operators)
    assert not {"Sigmoid", "Exp", ""} & set(operators)
    assert cli("supports")[0] == 2


def test_lists_of_networks(cli, instance, tmp_path):
    _, vnnlib = instance(TWO, QUERY.format(kind="real", bound="3.5"))
    for text, named in [
        ("[('f', 'a.onnx'), ('g', 'b.onnx')]", "2 networks are given"),
        ("[('f',", "is no file, nor a list"),
        ("[(1,)]", "is no file, nor a list"),
    ]:
        code, _, err = cli("compete", text, vnnlib, tmp_path / "out.txt")
        assert code == 2
        assert named in err
    assert not (tmp_path / "out.txt").exists()
