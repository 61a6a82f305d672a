"""``plverify bench``: rows, limits, crashes, interrupted runs, known verdicts, pictures."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tools import write_net

import plverify as pv
from plverify.bench import Options, bench, pool, read_folder, read_rows, resumable, summarise
from plverify.bench.rows import FOUND
from plverify.cli import run
from plverify.property import Property

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def write_folder(folder, rows, expected=()):
    """A benchmark folder: two small nets, a slow one, properties, and lists of them."""
    folder.mkdir()
    write_net(folder / "one.npz", [2, 6, 2])
    write_net(folder / "two.npz", [2, 8, 2], 1)
    write_net(folder / "slow.npz", [12, 100, 100, 100, 100, 1])
    box, wide = pv.Box(-1, 1, 2), pv.Box(-3, 3, 12)
    points = np.random.default_rng(0).choice([-3.0, 3.0], (1000, 12))
    large = 3 * int(abs(pv.load(folder / "slow.npz")(points)).max())
    for name, spec in {
        "holds": Property.output_at_most(box, 0, 1000, 2),
        "fails": Property.output_at_most(box, 0, -1000, 2),
        "slow": Property.output_at_most(wide, 0, large),
        "crash": Property.output_at_most(box, 0, 1000, 2),
        "hang": Property.output_at_most(box, 0, 1000, 2),
        "hog": Property.output_at_most(box, 0, 1000, 2),
        "greedy": Property.output_at_most(box, 0, 1000, 2),
        "exit": Property.output_at_most(box, 0, 1000, 2),
        "bug": Property.output_at_most(box, 0, 1000, 2),
    }.items():
        (folder / f"{name}.vnnlib").write_text(spec.to_vnnlib())
    (folder / "instances.csv").write_text("".join(f"{row}\n" for row in rows))
    if expected:
        lines = ["onnx,vnnlib,timeout,verdict", *expected]
        (folder / "expected.csv").write_text("\n".join(lines))
    return str(folder)


EASY = ["one.npz,holds.vnnlib,20", "one.npz,fails.vnnlib,20", "two.npz,holds.vnnlib,20"]
KNOWN = ["one.npz,holds.vnnlib,20,unsat", "one.npz,fails.vnnlib,20,sat", "two.npz,x,20,sat"]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "family", EASY, KNOWN)


@pytest.fixture
def cli(capsys):
    """Run ``plverify bench``; the exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["bench", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


STRANGE = """
import json, os, signal, sys, time
sys.path[:] = json.loads({paths!r})
from plverify.bench import worker
real, read_file = worker.read_vnnlib, worker.read_file
def slow_file(path, **options):
    if "endless" in path:
        time.sleep(600)
    return read_file(path, **options)
worker.read_file = slow_file
def strange(path):
    name = os.path.basename(path)
    if name == "crash.vnnlib":
        os.write(2, b"a last word\\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif name == "hang.vnnlib":
        time.sleep(600)
    elif name == "hog.vnnlib":
        kept = [bytearray(1 << 24) for _ in range(1000)]
    elif name == "greedy.vnnlib":
        import mmap
        kept = mmap.mmap(-1, 1 << 30)  # shared: no limit of the process counts it
        for _ in range(64):
            kept.write(b"x" * (1 << 23))
        time.sleep(600)
    elif name == "exit.vnnlib":
        os._exit(7)
    elif name == "bug.vnnlib":
        raise KeyError("two\\nlines")
    return real(path)
worker.read_vnnlib = strange
worker.main()
"""


@pytest.fixture
def strange(monkeypatch):
    """Workers in which some properties do what an engine must not do."""
    monkeypatch.setattr(pool, "_START", STRANGE)


# ----------------------------------------------------------------------------------------- rows


def test_rows_say_what_happened(cli, folder, tmp_path):
    out = tmp_path / "rows.jsonl"
    code, text, err = cli(folder, "--out", out, "--memory", 4)
    assert (code, err) == (0, "")
    assert "family" in text
    assert "3/3" in text
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    found = {(r["onnx"], r["vnnlib"]): r for r in rows}
    assert set(found) == {tuple(line.split(",")[:2]) for line in EASY}
    for row in rows:
        assert row["folder"] == os.path.realpath(folder)
        assert set(row) >= {"timeout", "status", "expected", "wrong", "options", *FOUND}
        assert row["timeout"] == 20
        assert row["checked"] is True
        assert row["wrong"] is False
        assert row["error"] is None
        assert row["nodes"] >= 1
        assert 0 < row["cpu_seconds"] < 10
        assert 0 < row["search_seconds"] <= row["seconds"] < 20
        assert row["options"] == {"timeout": None, "memory": 4.0, "threads": 1, "float32": True}
    holds, fails = found["one.npz", "holds.vnnlib"], found["one.npz", "fails.vnnlib"]
    assert (holds["status"], holds["expected"]) == ("unsat", "unsat")
    assert (fails["status"], fails["expected"]) == ("sat", "sat")
    assert fails["float32"] == "confirmed"
    assert found["two.npz", "holds.vnnlib"]["expected"] is None
    spec = Property.from_vnnlib(Path(folder, "holds.vnnlib"))
    net = pv.load(Path(folder, "one.npz"))
    assert holds["proof_bytes"] == len(pv.verify(net, spec, proof=True).proof)
    assert holds["leaves"] >= 1
    (summary,) = summarise([holds, fails])
    assert summary.leaf_bytes == holds["proof_bytes"] / holds["leaves"]
    assert summarise([fails])[0].leaf_bytes is None
    assert holds["check_seconds"] > 0
    assert fails["check_seconds"] is None
    if sys.platform == "linux":
        assert 20 < holds["peak_mb"] < 1000


def test_json_is_one_object_with_all_rows(cli, folder):
    code, out, err = cli(folder, "--json", "--workers", 2)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    (only,) = answer["runs"]
    assert answer["interrupted"] is False
    assert len(only["rows"]) == 3
    (table,) = only["folders"]
    assert (table["family"], table["decided"], table["total"], table["wrong"]) == (
        "family",
        3,
        3,
        0,
    )
    assert table["counts"]["sat"] == 1


def test_wrong_verdicts_are_listed_and_exit_with_1(cli, tmp_path):
    wrong = ["one.npz,holds.vnnlib.gz,20,sat", "one.npz,fails.vnnlib,20,unknown"]
    folder = write_folder(tmp_path / "family", EASY, wrong)
    code, out, _ = cli(folder)
    assert code == 1
    assert "WRONG: family one.npz holds.vnnlib: unsat, known: sat" in out
    assert out.count("WRONG") == 1


def test_several_folders_are_summed_up_apart(cli, folder, tmp_path):
    other = write_folder(tmp_path / "other", EASY[:1])
    _, out, _ = cli(folder, other, folder, "--json")
    assert [(f["family"], f["total"]) for f in json.loads(out)["runs"][0]["folders"]] == [
        ("family", 3),
        ("other", 1),
    ]


def test_onnx_models_are_replayed_once_and_found_zipped(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    import gzip

    from onnx_tools import model, node

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "family", ["m.onnx,holds.vnnlib,20", "m.onnx,fails.vnnlib,20"])
    eye = np.eye(2, dtype=np.float32)
    proto = model([node("MatMul", "x", "W", out="h"), node("Relu", "h")], (1, 2), [("W", eye)])
    with gzip.open(Path(folder, "m.onnx.gz"), "wb") as file:
        file.write(proto.SerializeToString())
    first, second = bench(read_folder(folder))
    assert (first["status"], second["status"], second["float32"]) == ("unsat", "sat", "confirmed")
    assert first["replay_seconds"] > 0.01
    assert second["replay_seconds"] == 0.0
    again, _ = bench(read_folder(folder))
    assert again["replay_seconds"] < first["replay_seconds"]


# ---------------------------------------------------------------------------------- bad instances


def test_a_bad_file_is_the_error_of_its_instance(cli, tmp_path):
    rows = [*EASY, "none.npz,holds.vnnlib,5", "one.npz,none.vnnlib,5", "one.npz,slow.vnnlib,5"]
    rows += ["bad.npz,holds.vnnlib,5", "one.npz,bad.vnnlib,5"]
    folder = write_folder(tmp_path / "family", rows)
    Path(folder, "bad.npz").write_bytes(b"nonsense")
    Path(folder, "bad.vnnlib").write_text("(assert")
    code, out, _ = cli(folder, "--json")
    assert code == 1
    found = {(r["onnx"], r["vnnlib"]): r for r in json.loads(out)["runs"][0]["rows"]}
    assert [r["status"] for r in found.values()].count("error") == 5
    for key, named in [
        (("none.npz", "holds.vnnlib"), "none.npz: no such file"),
        (("one.npz", "none.vnnlib"), "none.vnnlib: no such file"),
        (("one.npz", "slow.vnnlib"), "12 inputs"),
        (("bad.npz", "holds.vnnlib"), "bad.npz"),
        (("one.npz", "bad.vnnlib"), "not closed"),
    ]:
        assert named in found[key]["error"]
        assert "\n" not in found[key]["error"]
    assert [found[tuple(r.split(",")[:2])]["status"] for r in EASY] == ["unsat", "sat", "unsat"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_is_one_row_and_the_worker_is_replaced(strange, tmp_path, workers):
    rows = [EASY[0], "one.npz,crash.vnnlib,5", "one.npz,exit.vnnlib,5", "one.npz,bug.vnnlib,5"]
    folder = write_folder(tmp_path / "family", [*rows, *EASY[1:]])
    found = {r["vnnlib"]: r for r in bench(read_folder(folder), workers=workers)}
    assert found["crash.vnnlib"]["status"] == "error"
    assert found["crash.vnnlib"]["error"] == "the worker was killed by SIGSEGV: a last word"
    assert found["exit.vnnlib"]["error"] == "the worker exited with code 7"
    assert found["bug.vnnlib"]["error"] == "KeyError: 'two\\nlines'"
    assert {found[name]["status"] for name in ("holds.vnnlib", "fails.vnnlib")} == {"sat", "unsat"}


def test_a_model_that_takes_too_long_to_read_is_an_error(strange, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "PREPARE", 0.3)
    folder = write_folder(
        tmp_path / "family", ["one.npz,holds.vnnlib,0.1", "endless.npz,holds.vnnlib,0.1"]
    )
    write_net(Path(folder, "endless.npz"), [2, 6, 2])
    found = {r["onnx"]: r for r in bench(read_folder(folder))}
    assert found["one.npz"]["status"] == "unsat"
    assert found["endless.npz"]["error"] == "reading and replaying the model took more than 0.3 s"


def test_timeouts_are_kept_even_by_a_worker_that_hangs(strange, tmp_path):
    rows = ["slow.npz,slow.vnnlib,100", "one.npz,hang.vnnlib,0.5", EASY[1]]
    folder = write_folder(tmp_path / "family", rows)
    found = {r["vnnlib"]: r for r in bench(read_folder(folder), Options(timeout=0.5))}
    for name in ("slow.vnnlib", "hang.vnnlib"):
        assert found[name]["status"] == "timeout"
        assert found[name]["timeout"] == 0.5
        assert 0.5 <= found[name]["seconds"] < 2.5
        assert found[name]["error"] is None
    assert found["slow.vnnlib"]["cpu_seconds"] > 0.05
    assert found["fails.vnnlib"]["status"] == "sat"


@linux
def test_memory_is_limited(strange, tmp_path):
    rows = ["one.npz,hog.vnnlib,60", EASY[0], "one.npz,greedy.vnnlib,60", EASY[1]]
    folder = write_folder(tmp_path / "family", rows)
    found = {r["vnnlib"]: r for r in bench(read_folder(folder), Options(memory=0.4))}
    assert found["hog.vnnlib"]["status"] == "memory"
    assert found["hog.vnnlib"]["peak_mb"] < 450
    assert found["greedy.vnnlib"]["status"] == "memory"
    assert "MB in use" in found["greedy.vnnlib"]["error"]
    assert found["greedy.vnnlib"]["seconds"] < 10
    assert (found["holds.vnnlib"]["status"], found["fails.vnnlib"]["status"]) == ("unsat", "sat")


def test_workers_that_never_start_are_an_error(folder, monkeypatch):
    monkeypatch.setattr(pool, "_START", "raise SystemExit('no such library')")
    with pytest.raises(pv.InputError, match="no worker can be started.*no such library"):
        bench(read_folder(folder))


# ------------------------------------------------------------------------------------ interrupted


def test_a_run_is_resumed(cli, folder, tmp_path):
    out = tmp_path / "rows.jsonl"
    assert cli(folder, "--out", out, "--filter", "one.*")[0] == 0
    first = out.read_bytes()
    assert first.count(b"\n") == 2
    code, text, err = cli(folder, "--out", out)
    assert (code, text) == (2, "")
    assert "give --resume" in err
    out.write_bytes(first + first[:100])  # killed while it wrote a line
    assert cli(folder, "--out", out, "--resume")[0] == 0
    assert out.read_bytes().startswith(first)
    rows = read_rows(str(out))
    assert [(r["onnx"], r["vnnlib"]) for r in rows[2:]] == [("two.npz", "holds.vnnlib")]
    whole = out.read_bytes()
    code, text, _ = cli(folder, "--out", out, "--resume")
    assert code == 0
    assert "3/3" in text
    assert out.read_bytes() == whole


def test_other_runs_are_not_resumed(cli, folder, tmp_path):
    out = tmp_path / "rows.jsonl"
    assert cli(folder, "--out", out, "--timeout", 3)[0] == 0
    other = write_folder(tmp_path / "other", EASY)
    whole = out.read_bytes()
    for more, named in [
        ([folder], "was made with timeout = 3.0, not None"),
        ([folder, "--timeout", 3, "--memory", 2], "was made with memory = None, not 2.0"),
        ([folder, "--timeout", 3, "--no-float32"], "float32 = True, not False"),
        ([other, "--timeout", 3], "about another folder"),
    ]:
        code, _, err = cli(*more, "--out", out, "--resume")
        assert code == 2
        assert named in err
    out.write_bytes(whole.replace(b"{", b"[", 1))
    code, _, err = cli(folder, "--timeout", 3, "--out", out, "--resume")
    assert (code, err.count("\n")) == (2, 1)
    assert "rows.jsonl:1: no row" in err
    assert resumable("x", [], [folder], [], Options()) == []


RUN = """
from plverify.bench import pool
from plverify.cli import main
pool._START = {start!r}
main()
"""


def started(folder, out, *more):
    """A run in a process of its own, when its first row is written."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(start=STRANGE), "bench", folder, "--out", out, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (Path(out).is_file() and Path(out).read_text().count("\n")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def children(pid):
    """Processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def gone(pid):
    """Whether a process has ended, after a while."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@linux
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_worker_outlives_a_run_that_is_stopped(tmp_path, name):
    rows = [EASY[0], "one.npz,hang.vnnlib,600", EASY[1]]
    folder = write_folder(tmp_path / "family", rows)
    out = str(tmp_path / "rows.jsonl")
    process = started(folder, out)
    workers = children(process.pid)
    assert len(workers) == 1
    process.send_signal(getattr(signal, name))
    text, err = process.communicate(timeout=60)
    assert all(gone(pid) for pid in workers)
    assert [r["vnnlib"] for r in read_rows(out)] == ["holds.vnnlib"]
    if name != "SIGKILL":
        assert process.returncode == 1
        assert err == "interrupted: 1 of 3 instances are done\n"
        assert "1/1" in text


# -------------------------------------------------------------------------------- lists and options


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a.npz,b.vnnlib", "instances.csv:1: 2 columns"),
        ("\n\na.npz,b.vnnlib,x\n", "instances.csv:3: the timeout is 'x'"),
        ("a.npz,b.vnnlib,-1", "the timeout is '-1'"),
        ("a.npz,b.vnnlib,inf", "the timeout is 'inf'"),
        ('a.npz,"b.vnnlib,3', "instances.csv: "),
    ],
)
def test_bad_lists_get_one_line(cli, tmp_path, text, named):
    (tmp_path / "instances.csv").write_text(text)
    code, out, err = cli(tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["none"], "none: no such folder"),
        (["."], "no instances.csv"),
        ([], "no FOLDER"),
        (["family", "--filter", "nothing"], "no instances fit --filter nothing"),
        (["family", "--timeout", "0"], "--timeout is 0.0"),
        (["family", "--memory", "-1"], "--memory is -1.0"),
        (["family", "--memory", "nan"], "--memory is nan"),
        (["family", "--resume"], "--resume needs --out"),
        (["family", "--out", "none/rows.jsonl"], "no folder none"),
        (["family", "--plot", "a.bmp"], "must end in"),
        (["family", "--compare", "none.jsonl"], "none.jsonl: no such file"),
        (["--compare", "family/instances.csv"], "instances.csv:1: no row"),
        (["family", "--workers", "-1"], "--workers: -1 is less than 0"),
    ],
)
def test_bad_options_get_one_line(cli, folder, monkeypatch, arguments, named):
    monkeypatch.chdir(Path(folder).parent)
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


def test_lists_are_read_as_the_competition_writes_them(tmp_path):
    line = "onnx/a.onnx, vnnlib/p.vnnlib ,116\r\n"
    (tmp_path / "instances.csv").write_text(f"\ufeff{line}\r\n{line}./b,q,1.5")
    (tmp_path / "expected.csv").write_text(
        "verdict,onnx,vnnlib\nsat,onnx/a.onnx.gz,vnnlib/p.vnnlib.gz\ntimeout,b,q\n"
    )
    first, second = read_folder(tmp_path)
    assert (first.onnx, first.vnnlib, first.timeout) == ("onnx/a.onnx", "vnnlib/p.vnnlib", 116)
    assert (first.expected, second.expected, second.timeout) == ("sat", None, 1.5)
    assert [i.onnx for i in read_folder(tmp_path, "a.onnx")] == ["onnx/a.onnx"]
    assert [i.onnx for i in read_folder(tmp_path, "vnnlib/*")] == ["onnx/a.onnx"]
    (tmp_path / "expected.csv").write_text("onnx,vnnlib\n")
    with pytest.raises(pv.InputError, match="no column verdict"):
        read_folder(tmp_path)


def test_folders_of_no_rows_have_summaries():
    row = {"folder": "/a/b", "status": "timeout", "seconds": 1.0, "expected": "sat", "wrong": False}
    (found,) = summarise([row])
    assert (found.family, found.decided, found.missed, found.median_seconds) == ("b", 0, 1, None)
    assert summarise([]) == []


def test_runs_are_drawn_and_compared(cli, folder, tmp_path):
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    picture = tmp_path / "cactus.svg"
    assert cli(folder, "--out", first)[0] == 0
    code, out, _ = cli(folder, "--out", second, "--compare", first, "--plot", picture)
    assert code == 0
    assert out.count("3/3") == 2
    text = picture.read_text()
    assert picture.stat().st_size > 5000
    picture.unlink()
    code, out, _ = cli("--compare", first, "--compare", second, "--plot", picture)
    assert code == 0
    assert picture.stat().st_size > 5000
    assert text.count("<svg") == 1
    first.write_text("")
    code, out, err = cli("--compare", first, "--plot", picture)
    assert code == 2
    assert "nothing to draw" in err
