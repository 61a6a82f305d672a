"""``plverify verify`` and ``plverify maximize``: answers, exit codes, files, bad input."""

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
from tools import child, signal_soon, write_net

import plverify as pv
from plverify.cli.verify import point_text
from plverify.property import Property
from plverify.result import Status


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """``files("plane.npz")`` is a path in a folder of models and properties."""
    folder = tmp_path_factory.mktemp("models")
    write_net(folder / "plane.npz", [2, 6, 6, 2])
    write_net(folder / "hard.npz", [8, 60, 60, 60, 60, 1])
    np.savez(folder / "shift.npz", W0=[[1.0]], b0=[2.0**25], W1=[[1.0]], b1=[-(2.0**25)])
    np.savez(folder / "abs.npz", W0=[[1.0], [-1.0]], b0=[0.0, 0], W1=[[1.0, 1]], b1=[0.0])

    def spec(name, prop):
        (folder / name).write_text(prop.to_vnnlib())

    box = pv.Box(-1, 1, 2)
    spec("high.vnnlib", Property.output_at_most(box, 0, 1000, 2))
    spec("low.vnnlib", Property.output_at_most(box, 0, -1000, 2))
    spec("hard.vnnlib", Property.output_at_most(pv.Box(-3, 3, 8), 0, 30_000))
    spec("shift.vnnlib", Property.output_at_most(pv.Box([0], [3]), 0, 3))
    spec("abs.vnnlib", Property.output_at_most(pv.Box([-1], [2]), 0, "1.9"))
    spec("half.vnnlib", Property.output_at_most(pv.Box([-1], [np.inf]), 0, 9))
    (folder / "broken.vnnlib").write_text("(declare-const X_0 Real")
    return lambda name: str(folder / name)


def test_the_first_line_is_the_status(cli, files):
    code, out, err = cli("verify", files("plane.npz"), files("high.vnnlib"))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "unsat"
    code, out, err = cli("verify", files("abs.npz"), files("abs.vnnlib"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "sat"
    rows = {line.split("  ")[0]: line for line in lines[1:]}
    assert {"input", "output", "violates", "float32", "search", "network", "property"} <= set(rows)
    assert rows["violates"].endswith("y_0 > 19/10")
    assert "confirmed by numpy" in rows["float32"]


def test_unknown_says_why(cli, files, monkeypatch):
    code, out, _ = cli("verify", files("abs.npz"), files("half.vnnlib"))
    assert (code, out.splitlines()[0]) == (0, "sat")
    monkeypatch.setattr("plverify.unbounded.MOST", 0)
    code, out, _ = cli("verify", files("abs.npz"), files("half.vnnlib"))
    assert code == 1
    assert out.splitlines()[0] == "unknown"
    assert "more than 0 programs" in out.splitlines()[1]


def test_json_has_the_fields_of_the_result(cli, files, tmp_path):
    proof = tmp_path / "p.proof"
    code, out, err = cli(
        "verify", files("plane.npz"), files("low.vnnlib"), "--json", "--proof", proof
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    net = pv.load(files("plane.npz"))
    assert answer["status"] == "sat"
    assert answer["network"] == net.digest
    assert answer["spec"] == files("low.vnnlib")
    assert answer["proof"] == str(proof)
    assert [Fraction(v) for v in answer["outputs"]] == net.exact(
        [Fraction(v) for v in answer["witness"]]
    )
    assert proof.read_bytes().startswith(b"PLPROOF")


def test_float32_beside_the_theorem(cli, files):
    code, out, _ = cli("verify", files("shift.npz"), files("shift.vnnlib"))
    assert code == 0
    assert out.startswith("unsat\n")
    assert "violates as executed by numpy" in out
    code, out, _ = cli("verify", files("shift.npz"), files("shift.vnnlib"), "--no-float32")
    assert code == 0
    assert out.startswith("unsat\n")
    assert "executed" not in out
    answer = json.loads(cli("verify", files("shift.npz"), files("shift.vnnlib"), "--json")[1])
    assert answer["float32_violation"] is not None


def test_a_proof_is_written_and_said(cli, files, tmp_path):
    proof = tmp_path / "p.proof"
    code, out, err = cli("verify", files("plane.npz"), files("high.vnnlib"), "--proof", proof)
    assert (code, err) == (0, "")
    assert f"wrote {proof}" in out.splitlines()[-1]


def test_timeout_exits_with_1(cli, files, tmp_path):
    proof = tmp_path / "p.proof"
    code, out, err = cli(
        "verify", files("hard.npz"), files("hard.vnnlib"), "--timeout", 0.2, "--proof", proof
    )
    assert (code, out.splitlines()[0]) == (1, "timeout")
    assert "no proof" in err
    assert not proof.exists()


def test_an_interrupted_run_prints_unknown(cli, files, monkeypatch):
    answer = {"status": "interrupted", "nodes": 7, "leaves": 2, "stats": {}}
    monkeypatch.setattr("plverify.verdict.decide", lambda *a, **k: answer)
    code, out, _ = cli("verify", files("plane.npz"), files("high.vnnlib"))
    assert code == 1
    assert out.splitlines()[0] == "unknown"
    assert "interrupted" in out
    _, out, _ = cli("verify", files("plane.npz"), files("high.vnnlib"), "--json")
    assert json.loads(out)["status"] == "interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_from_outside(files):
    done = child(signal_soon("verify"), "verify", files("hard.npz"), files("hard.vnnlib"))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0] == "unknown"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plane.npz", "missing.vnnlib"), "no such file"),
        (("missing.npz", "high.vnnlib"), "no such file"),
        (("plane.npz", "broken.vnnlib"), "broken.vnnlib:1:"),
        (("abs.npz", "high.vnnlib"), "2 inputs and 2 outputs, the network has 1 and 1"),
        (("plane.npz", "high.vnnlib", "--timeout", "0"), "--timeout"),
        (("plane.npz", "high.vnnlib", "--threads", "5000"), "--threads"),
        (("plane.npz", "high.vnnlib", "--proof", "no/such/p"), "no folder"),
        (("plane.npz",), "SPEC"),
    ],
)
def test_bad_input_is_one_line(cli, files, arguments, says):
    named = [files(a) if a.endswith((".npz", ".vnnlib")) else a for a in arguments]
    code, out, err = cli("verify", *named)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_the_answer_is_printed_though_the_proof_cannot_be_written(cli, files, monkeypatch):
    def full(*arguments):
        raise pv.InputError("cannot write p: No space left on device")

    monkeypatch.setattr("plverify.proof.write_atomically", full)
    code, out, err = cli("verify", files("plane.npz"), files("high.vnnlib"), "--proof", "p")
    assert code == 2
    assert out.startswith("unsat\n")
    assert "No space left" in err


# ------------------------------------------------------------------------------- maximize


def test_maximize_and_minimize(cli, files, tmp_path):
    net, box = pv.load(files("plane.npz")), pv.Box(-1, "0.5", 2)
    proof = tmp_path / "p.proof"
    code, out, err = cli(
        "maximize", files("plane.npz"), "--output", 1, "--box", "-1,0.5", "--json", "--proof", proof
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert Fraction(answer["value"]) == pv.maximize(net, 1, box).value
    assert (answer["status"], answer["sense"]) == ("complete", "maximum")
    assert proof.read_bytes().startswith(b"PLPROOF")
    _, out, _ = cli("maximize", files("plane.npz"), "--box", "-1,0.5", "--minimize", "--json")
    assert Fraction(json.loads(out)["value"]) == pv.minimize(net, 0, box).value
    code, out, _ = cli("maximize", files("abs.npz"), "--box", "-1,1/3")
    assert code == 0
    assert out.splitlines()[0] == "maximum  1"
    _, out, _ = cli("maximize", files("abs.npz"), "--box", "1/7,1/3")
    assert out.splitlines()[0] == "maximum  0.333333333333 = 1/3"


def test_maximize_says_what_is_incomplete(cli, files, monkeypatch):
    code, out, _ = cli("maximize", files("hard.npz"), "--box", "-3,3", "--timeout", 0.2)
    assert code == 1
    assert out.splitlines()[0].startswith("maximum  at least ")
    assert out.splitlines()[0].endswith("(incomplete: timeout)")
    nothing = pv.Extremum(Status.INTERRUPTED, "minimum")
    monkeypatch.setattr("plverify.extremum.minimize", lambda *a, **k: nothing)
    code, out, _ = cli("maximize", files("abs.npz"), "--minimize")
    assert (code, out.splitlines()[0]) == (1, "minimum  not known (incomplete: interrupted)")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--output", "5"), "output is 5"),
        (("--box", "0,inf"), "bounded"),
        (("--box", "0,1;0,1;0,1"), "3 pairs"),
        (("--box", "1,0"), "--box"),
        (("--timeout", "-1"), "--timeout"),
    ],
)
def test_maximize_bad_input(cli, files, arguments, says):
    code, out, err = cli("maximize", files("plane.npz"), *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_points_are_shortened():
    assert point_text([Fraction(k) for k in range(9)]).endswith("7, ... (9 numbers)")
