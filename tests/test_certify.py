"""``pv.certify`` and ``plverify certify``, ``merge``: rows, kills, shards, workers, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tools import write_net

import plverify as pv
from plverify.certification import workers
from plverify.certification.results import merge, read_file, round_steps
from plverify.network import Network

F = Fraction


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_net(tmp_path / "net.npz", [2, 12, 12, 3])


@pytest.fixture
def data(tmp_path: Path, model: str) -> str:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (12, 2)).astype(np.float32)
    y = pv.load(model)(X).argmax(axis=1)
    y[3] = (y[3] + 1) % 3
    np.savez(tmp_path / "data.npz", X=X, y=y)
    return str(tmp_path / "data.npz")


def lines(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        ({k: v for k, v in row.items() if k not in ("seconds", "proof")} for row in rows),
        key=lambda row: row.get("index", -1),
    )


# ---------------------------------------------------------------------------------- what rows say


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.parametrize("radius", [False, True])
def test_every_row_is_proven(
    model: str, data: str, tmp_path: Path, norm: str, radius: bool
) -> None:
    net, arrays = pv.load(model), np.load(data)
    box = pv.Box(-1, 1, 2)
    found = pv.certify(
        net, arrays["X"], arrays["y"], "0.125", norm, box, radius=radius, proofs=tmp_path / "proofs"
    )
    assert found.complete
    assert [row.index for row in found.rows] == list(range(12))
    verdicts = {row.robust for row in found.rows}
    assert verdicts == {True, False}
    for row, x, y in zip(found.rows, arrays["X"], arrays["y"], strict=True):
        outputs = net.exact(x)
        assert row.prediction == outputs.index(max(outputs))
        assert row.label == y
        assert row.correct == (row.index != 3)
        assert row.lower <= row.upper
        assert (row.lower >= 0.125) if row.robust else (row.upper <= 0.125)
        assert row.exact or not (radius or not row.correct)
        data_bytes = Path(row.proof).read_bytes()
        assert hashlib.sha256(data_bytes).hexdigest() == row.proof_sha256
        assert pv.check(data_bytes, net)
        if row.witness is not None:
            beaten = net.exact(row.witness)
            assert max(v for j, v in enumerate(beaten) if j != y) >= beaten[y]
            assert box.contains(row.witness)
            gaps = [abs(a - F(float(b))) for a, b in zip(row.witness, x, strict=True)]
            far = {"linf": max(gaps), "l1": sum(gaps), "l2": sum(g * g for g in gaps)}[norm]
            assert far <= F(row.upper) ** (2 if norm == "l2" else 1)
        if row.adversarial is not None:
            beaten = net.exact([F(v) for v in row.adversarial])
            assert beaten.index(max(beaten)) == row.adversarial_label != y
        if row.robust is False:
            assert row.witness is not None
    assert found.certified == sum(bool(r.robust) for r in found.rows) / 12 == found.at_most
    low, high = found.curve([0.0, 0.125])
    assert low[1] == high[1] == found.certified
    assert found.accuracy == 11 / 12


def test_the_ball_is_closed_and_wins_are_strict() -> None:
    net = Network.from_arrays([[[1.0], [-1.0]]])
    for norm, inside in (("linf", "0.49999999999999999999"), ("l1", "0.499"), ("l2", "0.499")):
        for eps, robust in (("0.5", False), (inside, True)):
            for radius in (False, True):
                (row,) = pv.certify(net, [[0.5]], None, eps, norm, radius=radius).rows
                assert row.robust is robust, (eps, norm, radius)
    (row,) = pv.certify(net, [[0.5]], [0], 0).rows
    assert row.robust
    (row,) = pv.certify(net, [[0.0]], [0], 0).rows
    assert row.robust is False, "a tie does not win strictly"


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_lipschitz_radii_stand_beside_exact_ones(
    cli: Any, model: str, data: str, norm: str
) -> None:
    net, arrays = pv.load(model), np.load(data)
    fast = pv.certify(net, arrays["X"], arrays["y"], "0.01", norm, method="lipschitz")
    slow = pv.certify(net, arrays["X"], arrays["y"], "0.01", norm, radius=True)
    for row, other in zip(fast.rows, slow.rows, strict=True):
        assert (row.method, other.method) == ("lipschitz", "exact")
        assert row.prediction == other.prediction
        assert row.lower <= other.upper
        assert row.robust in (other.robust, None)
        assert (row.lower > 0.01) == (row.robust is True)
        assert row.robust is not None or (row.status, row.upper) == ("unknown", np.inf)
    assert fast.certified > 0
    asked = ("certify", model, "--data", data, "--eps", "0.01", "--norm", norm, "--json")
    code, text, _ = cli(*asked, "--method", "lipschitz")
    assert code == int(not fast.complete)
    assert untimed(json.loads(text)["rows"]) == untimed([r.to_dict() for r in fast.rows])


def test_lipschitz_rows_of_ties_and_of_one_class_beyond_reach() -> None:
    net = Network.from_arrays([[[1.0], [-1.0]]])
    for x, eps, robust in ((0.0, "0", False), (0.5, "0.5", None), (0.5, "0.49", True)):
        (row,) = pv.certify(net, [[x]], [0], eps, method="lipschitz").rows
        assert row.robust is robust
    constant = Network.from_arrays([[[0.0], [0.0]]], [[1, 0]])
    (row,) = pv.certify(constant, [[3.0]], [0], 100, method="lipschitz").rows
    assert (row.robust, row.lower) == (True, np.inf)


def test_lipschitz_gives_no_radius_and_no_proofs(model: str, data: str, tmp_path: Path) -> None:
    arrays = np.load(data)
    for bad in ({"radius": True}, {"proofs": tmp_path}, {"method": "guess"}):
        with pytest.raises(pv.InputError, match="method"):
            pv.certify(model, arrays["X"], None, **({"method": "lipschitz"} | bad))


def test_labels_may_be_absent_and_points_exact(model: str) -> None:
    found = pv.certify(model, [[F(1, 3), F(1, 7)]], None, "1/100", radius=True)
    assert found.accuracy == 1
    assert pv.certify(model, np.zeros((2, 1, 2)), [0, 1], 0).points == 2


def test_round_steps() -> None:
    for largest in (1e-300, 3e-5, 0.999, 1.0, 7, 1e10):
        steps = round_steps(largest)
        assert steps[0] == 0
        assert steps[-2] <= largest * (1 + 1e-9)
        assert steps[-1] > largest
        assert 3 <= len(steps) <= 12
    assert round_steps(0) == [0.0, 1.0]


# ----------------------------------------------------------------------------- files, kills, shards


def test_results_are_written_resumed_and_shown(
    cli: Any, model: str, data: str, tmp_path: Path
) -> None:
    out = tmp_path / "r.jsonl"
    asked = ["certify", model, "--data", data, "--eps", "0.1", "--box", "-1,1", "--out", out]
    code, text, err = cli(*asked)
    assert (code, err) == (0, "")
    assert "certified accuracy" in text
    assert text.count("\n    ") >= 10
    whole = lines(out)
    assert len(whole) == 13
    assert whole[0]["network"] == pv.load(model).digest
    assert whole[0]["eps"] == "1/10"
    code, _, err = cli(*asked)
    assert code == 2
    assert "--resume" in err
    # Torn in the middle of a row: the row is asked again, and is the same.
    raw = out.read_bytes()
    out.write_bytes(raw[: raw.index(b"\n", len(raw) // 2) - 5])
    assert cli(*asked, "--resume")[0] == 0
    assert untimed(lines(out)) == untimed(whole)
    code, text, _ = cli(*asked, "--resume", "--json")
    assert code == 0
    assert json.loads(text)["done"] == 12
    assert len(lines(out)) == 13


def test_resume_refuses_another_question(cli: Any, model: str, data: str, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    asked = {"--data": data, "--eps": "0.1", "--norm": "linf", "--out": out, "--first": 2}

    def call(model: str = model, *more: str, **other: Any) -> tuple[int, str, str]:
        words = asked | {f"--{k}": v for k, v in other.items()}
        return cli("certify", model, *[w for pair in words.items() for w in pair], *more)

    assert call()[0] == 0
    before = out.read_bytes()
    moved = tmp_path / "moved.npz"
    arrays = dict(np.load(data))
    np.savez(moved, X=np.nextafter(arrays["X"], 2), y=arrays["y"])
    other = write_net(tmp_path / "other.npz", [2, 12, 12, 3], 1)
    for result, named in (
        (call(other, "--resume"), "another model"),
        (call(model, "--resume", data=moved), "another data"),
        (call(model, "--resume", eps="0.2"), "another eps: 1/10, not 1/5"),
        (call(model, "--resume", norm="l1"), "another norm: linf, not l1"),
        (call(model, "--resume", "--radius"), "another choice of --radius"),
        (call(model, "--resume", box="-1,1"), "another domain"),
        (call(model, "--resume", shard="0/2"), "another shard"),
    ):
        code, _, err = result
        assert (code, err.count("\n")) == (2, 1)
        assert named in err
    assert out.read_bytes() == before


def test_kill_and_resume_lose_nothing_and_double_nothing(
    model: str, data: str, tmp_path: Path
) -> None:
    out = tmp_path / "r.jsonl"
    words = ["certify", model, "--data", data, "--eps", "0.1", "--radius", "--out", str(out)]
    slow = """
import time
from plverify.certification import point
real = point.Certifier.point
def slowly(*arguments):
    row = real(*arguments)
    time.sleep(0.15)
    return row
point.Certifier.point = slowly
from plverify.cli import main
main()
"""
    seen = -1
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", slow, *words, *(["--resume"] if out.exists() else [])],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < until:
            if out.exists() and out.read_bytes().count(b"\n") > max(seen, 1) + 2:
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
        code = child.wait()
        now = out.read_bytes().count(b"\n")
        assert now > seen or code == 0  # or it was killed behind the last row
        seen = now
        if code == 0:
            break
    assert code == 0
    rows = lines(out)
    assert [row.get("index", -1) for row in rows].count(-1) == 1
    assert sorted(row["index"] for row in rows[1:]) == list(range(12))
    straight = pv.certify(model, *(np.load(data)[k] for k in "Xy"), "0.1", radius=True)
    assert untimed(rows[1:]) == untimed([row.to_dict() for row in straight.rows])


@pytest.mark.parametrize("shards", [["0/3", "1/3", "2/3"], ["1/2", "2/2"]])
def test_shards_make_the_whole(
    cli: Any, model: str, data: str, tmp_path: Path, shards: list[str]
) -> None:
    parts = []
    for k, shard in enumerate(shards):
        parts.append(tmp_path / f"{k}.jsonl")
        words = ["certify", model, "--data", data, "--eps", "0.1", "--shard", shard]
        assert cli(*words, "--out", parts[-1])[0] == 0
    whole = tmp_path / "whole.jsonl"
    code, text, _ = cli("merge", *parts, "-o", whole)
    assert code == 0
    assert "12 of 12" in text
    head, rows = read_file(str(whole))
    assert head["shard"] is None
    straight = pv.certify(model, *(np.load(data)[k] for k in "Xy"), "0.1")
    assert untimed([r.to_dict() for r in rows]) == untimed([r.to_dict() for r in straight.rows])
    # The merged file can be resumed like any other.
    words = ["certify", model, "--data", data, "--eps", "0.1", "--out", whole, "--resume"]
    assert cli(*words)[0] == 0
    code, text, _ = cli("merge", parts[0], "-o", tmp_path / "some.jsonl")
    assert code == 1
    assert "in none of the files" in text
    for wrong, named in (
        ([parts[0], parts[0]], "point"),
        ([parts[0], tmp_path / "missing"], "no such file"),
        ([model], "line"),
    ):
        code, _, err = cli("merge", *wrong, "-o", tmp_path / "no.jsonl")
        assert (code, err.count("\n")) == (2, 1)
        assert named in err
    other = tmp_path / "other.jsonl"
    assert cli("certify", model, "--data", data, "--eps", "0.2", "--out", other)[0] == 0
    with pytest.raises(pv.InputError, match="another eps"):
        merge([str(parts[0]), str(other)])


def test_a_file_is_written_by_one_run_at_a_time(model: str, tmp_path: Path) -> None:
    out = str(tmp_path / "r.jsonl")

    def again(row: Any, total: int) -> None:
        with pytest.raises(pv.InputError, match="another run"):
            pv.certify(model, [[0, 0]], out=out, resume=True)

    pv.certify(model, [[0, 0]], out=out, on_row=again)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_gets_one_line(model: str) -> None:
    with pytest.raises(pv.InputError, match="space"):
        pv.certify(model, [[0, 0]], out="/dev/full")


# ------------------------------------------------------------------------------------------ workers


def test_workers_give_the_same_rows(model: str, data: str) -> None:
    arrays = [np.load(data)[k] for k in "Xy"]
    alone = pv.certify(model, *arrays, "0.1", radius=True)
    two = pv.certify(model, *arrays, "0.1", radius=True, workers=2)
    assert untimed([r.to_dict() for r in two.rows]) == untimed([r.to_dict() for r in alone.rows])


STRANGE = """
import json, os, signal, sys
sys.path[:] = json.loads({paths!r})
from plverify.certification import point, workers
real = point.Certifier.point
def strange(self, index, x, label):
    if index == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(self, index, x, label)
point.Certifier.point = strange
workers.main()
"""


def test_a_crash_costs_one_point(model: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", STRANGE)
    found = pv.certify(model, *(np.load(data)[k] for k in "Xy"), "0.1", workers=2)
    assert [row.status for row in found.rows].count("crashed") == 1
    assert found.rows[4].robust is None
    assert not found.complete
    monkeypatch.setattr(workers, "_START", "raise SystemExit('no such library')")
    with pytest.raises(pv.InputError, match="no such library"):
        pv.certify(model, *(np.load(data)[k] for k in "Xy"), "0.1", workers=2)


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_keeps_what_is_known(model: str, data: str, tmp_path: Path, count: int) -> None:
    out = tmp_path / "r.jsonl"
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from plverify.cli import main
main()
"""
    many = tmp_path / "many.npz"
    np.savez(many, X=np.random.default_rng(1).uniform(-1, 1, (2000, 2)))
    words = ["certify", model, "--data", str(many), "--radius", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--workers", str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not (out.exists() and out.read_bytes().count(b"\n") > 4):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    text, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "interrupted: " in err
    assert "Traceback" not in err
    assert "certified accuracy" in text
    _, rows = read_file(str(out))
    assert 4 <= len(rows) < 2000


def test_a_dask_cluster_gives_the_same_rows(
    cli: Any, model: str, data: str, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    alone = pv.certify(model, *(np.load(data)[k] for k in "Xy"), "0.1")
    out = tmp_path / "r.jsonl"
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=True, **options) as cluster:
        address = cluster.scheduler_address
        words = ["--eps", "0.1", "--scheduler", address, "--out", out]
        code, text, err = cli("certify", model, "--data", data, *words)
        assert (code, err) == (0, "")
        assert "12 of 12" in text
    _, rows = read_file(str(out))
    assert untimed([r.to_dict() for r in rows]) == untimed([r.to_dict() for r in alone.rows])


def test_a_cluster_that_is_not_there(cli: Any, model: str, data: str) -> None:
    pytest.importorskip("distributed")
    code, _, err = cli("certify", model, "--data", data, "--scheduler", "tcp://127.0.0.1:9")
    assert (code, err.count("\n")) == (2, 1)
    assert "no Dask scheduler" in err


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--eps", "-1"], "eps"),
        (["--eps", "nan"], "eps"),
        (["--eps", "inf"], "eps"),
        (["--norm", "l7"], "norm"),
        (["--box", "0,1"], "outside the domain"),
        (["--box", "1,0"], "--box"),
        (["--shard", "3/2"], "shard"),
        (["--shard", "a/b"], "--shard"),
        (["--shard", "0/0"], "shard"),
        (["--resume"], "--out"),
        (["--timeout", "0"], "--timeout"),
        (["--out", "/no/such/folder/r.jsonl"], "folder"),
        (["--data", "missing.npz"], "no such file"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "together"),
    ],
)
def test_bad_options_get_one_line(
    cli: Any, model: str, data: str, words: list[str], named: str
) -> None:
    given = [] if "--data" in words else ["--data", data]
    code, out, err = cli("certify", model, *given, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


@pytest.mark.parametrize(
    ("X", "y", "named"),
    [
        (np.zeros((3, 5)), None, "shape"),
        (np.zeros(2), None, "shape"),
        (np.zeros((0, 2)), None, "points"),
        (np.full((2, 2), np.nan), None, "NaN"),
        (np.zeros((2, 2)), [0, 3], "outputs"),
        (np.zeros((2, 2)), [0, -1], "outputs"),
        (np.zeros((2, 2)), [0, 0.5], "outputs"),
        (np.zeros((2, 2)), [0], "shape"),
    ],
)
def test_bad_data_gets_one_line(
    cli: Any, model: str, tmp_path: Path, X: Any, y: Any, named: str
) -> None:
    arrays = {"X": X} if y is None else {"X": X, "y": np.array(y)}
    np.savez(tmp_path / "d.npz", **arrays)
    code, out, err = cli("certify", model, "--data", tmp_path / "d.npz")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


def test_data_without_points(cli: Any, model: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", z=np.zeros(3))
    code, _, err = cli("certify", model, "--data", tmp_path / "d.npz")
    assert code == 2
    assert "no array 'X', it holds z" in err
    (tmp_path / "cut.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:50])
    assert cli("certify", model, "--data", tmp_path / "cut.npz")[0] == 2
