"""The command line: answers, exit codes, one line for every bad input, files, Ctrl-C."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tools import child, signal_soon, write_net

import plverify as pv
from plverify import theory
from plverify.cli import run
from plverify.cli import selftest as selftest_module
from plverify.cli.common import convex_polygon, numbers, units_text

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of models; ``files("plane")`` is a path in it."""
    folder = tmp_path_factory.mktemp("models")
    write_net(folder / "plane.npz", [2, 8, 8, 3])
    write_net(folder / "other.npz", [2, 8, 8, 3], 1)
    write_net(folder / "line.npz", [1, 6, 6, 1])
    write_net(folder / "five.npz", [5, 8, 8, 2])
    write_net(folder / "many.npz", [33, 4, 1])
    write_net(folder / "leaky.npz", [2, 6, 6, 2], slope=0.25)
    write_net(folder / "large.npz", [2, *[300] * 6, 3])
    np.savez(folder / "slice.npz", origin=np.zeros(5), basis=np.eye(5)[:, :2], lo=-0.5, hi=0.5)
    np.savez(folder / "slice_cp.npz", c=np.zeros(5), P=np.eye(5)[:, :2])
    return lambda name: str(folder / name)


def answer_of(cli, *arguments, code=0):
    got, out, err = cli(*arguments, "--json")
    assert (got, err) == (code, "")
    return json.loads(out)


# ------------------------------------------------------------------------------------- answers


def test_regions_prints_counts_and_bounds(cli, files):
    rs = pv.regions(pv.load(files("plane.npz")), pv.Box(-1, 1, 2))
    code, out, err = cli("regions", files("plane.npz"), "--box", "-1,1")
    assert (code, err) == (0, "")
    lines = {line[:20].strip(): line[20:].strip() for line in out.splitlines()}
    assert lines["activation regions"] == f"{rs.count:,}"
    assert lines["linear regions"] == f"{rs.linear_count:,}"
    assert lines["dead units"] == units_text(rs.dead_units, 16)
    assert f"at most {theory.serra_upper(2, [8, 8]):,}" in out
    assert f"some net has {theory.montufar_lower(2, [8, 8]):,}" in out


def test_regions_json_has_the_fields_of_the_result(cli, files):
    net = pv.load(files("plane.npz"))
    rs = pv.regions(net, pv.Box(0, 1, 2))
    answer = answer_of(cli, "regions", files("plane.npz"), "--box", "0,1")
    assert (answer["count"], answer["linear_count"]) == (rs.count, rs.linear_count)
    assert (answer["complete"], answer["status"]) == (True, "complete")
    assert answer["network"] == net.digest
    assert answer["dead_units"] == [list(u) for u in rs.dead_units]
    assert answer["always_active_units"] == [list(u) for u in rs.always_active_units]
    values = {b["name"]: b["value"] for b in answer["bounds"]}
    assert values["Serra et al. 2018"] == theory.serra_upper(2, [8, 8])
    assert answer["domain"] == "box [0, 1]^2"


def test_count_and_threads_agree_with_the_list(cli, files):
    listed = answer_of(cli, "regions", files("plane.npz"))["count"]
    for more in (["--threads", "2"], ["--threads", "0"], ["--timeout", "1e30"]):
        answer = answer_of(cli, "regions", files("plane.npz"), "--count", *more)
        assert answer["count"] == listed
        assert answer["linear_count"] is None


def test_box_is_exact_and_per_coordinate(cli, files):
    answer = answer_of(cli, "regions", files("plane.npz"), "--box", "-1,0.1;-inf,1/3")
    domain = pv.Box([-1, -np.inf], ["0.1", "1/3"])
    assert answer["domain"] == domain.describe()
    assert answer["count"] == pv.count_regions(pv.load(files("plane.npz")), domain).count


def test_default_domain_is_the_unit_box_and_space_is_everything(cli, files):
    net = pv.load(files("plane.npz"))
    box = answer_of(cli, "regions", files("plane.npz"))
    assert box["count"] == pv.count_regions(net, pv.Box(-1, 1, 2)).count
    whole = answer_of(cli, "regions", files("plane.npz"), "--space")
    assert whole["count"] == pv.count_regions(net, pv.Space(2)).count


def test_slices_use_their_own_bounds_unless_others_are_given(cli, files):
    net = pv.load(files("five.npz"))

    def expected(inner):
        return pv.count_regions(net, pv.Slice(np.zeros(5), np.eye(5)[:, :2], inner)).count

    for name, more, inner in [
        ("slice.npz", [], pv.Box(-0.5, 0.5, 2)),
        ("slice.npz", ["--box", "-2,2"], pv.Box(-2, 2, 2)),
        ("slice.npz", ["--space"], pv.Space(2)),
        ("slice_cp.npz", [], pv.Box(-1, 1, 2)),
        ("slice_cp.npz", ["--polygon", "0,0;1,0;0,1"], convex_polygon([(0, 0), (1, 0), (0, 1)])),
    ]:
        answer = answer_of(cli, "regions", files("five.npz"), "--slice", files(name), *more)
        assert answer["count"] == expected(inner)
        assert answer["dim"] == 2


def test_segment_counts_the_knots_between_two_points(cli, files, tmp_path):
    net = pv.load(files("five.npz"))
    a, b = [-1, 0, 0.5, 1, 0], [1, 1, -0.5, 0, 2]
    knots = pv.knots(net, pv.segment(a, b))
    texts = [",".join(map(str, p)) for p in (a, b)]
    np.savez(tmp_path / "ends.npz", a=a, b=b)
    for given in (";".join(texts), tmp_path / "ends.npz"):
        answer = answer_of(cli, "regions", files("five.npz"), "--segment", given)
        assert (answer["knots"], answer["visible_knots"]) == (len(knots), knots.visible_count)
        assert answer["count"] == len(knots) + 1
    _, out, _ = cli("regions", files("five.npz"), "--segment", ";".join(texts))
    assert f"{len(knots):,} ({knots.visible_count:,} seen in the output)" in out


def test_polygon_from_a_file(cli, files, tmp_path):
    (tmp_path / "p.txt").write_text("# a triangle\n0 0\n0,1\n\n1 , 0\n")
    np.save(tmp_path / "p.npy", [[0, 0], [1, 0], [0, 1]])
    inline = answer_of(cli, "regions", files("plane.npz"), "--polygon", "0,0;1,0;0,1")
    for name in ("p.txt", "p.npy"):
        answer = answer_of(cli, "regions", files("plane.npz"), "--polygon", tmp_path / name)
        assert answer["count"] == inline["count"]


def test_leaky_networks_get_the_bounds_that_hold_for_them(cli, files):
    answer = answer_of(cli, "regions", files("leaky.npz"))
    applies = {b["name"]: b["applies"] for b in answer["bounds"]}
    assert applies["Montufar 2017"]
    assert not applies["Serra et al. 2018"]


def test_info_describes_a_model(cli, files):
    answer = answer_of(cli, "info", files("leaky.npz"))
    net = pv.load(files("leaky.npz"))
    assert (answer["inputs"], answer["outputs"], answer["units"]) == (2, 2, 12)
    assert [layer["kind"] for layer in answer["layers"]] == ["LeakyReLU(0.25)"] * 2
    assert answer["digest"] == net.digest
    assert answer["parameters"] == 6 * 3 + 6 * 7 + 2 * 7
    assert answer["replay"] is None
    code, out, err = cli("info", files("leaky.npz"))
    assert (code, err) == (0, "")
    assert net.digest in out


def test_bounds_is_registered(cli):
    assert answer_of(cli, "bounds", "--inputs", 2, "--widths", "16,16")["bounds"]


def test_selftest_passes_and_is_reproducible(cli):
    answer = answer_of(cli, "selftest", "--cases", 12, "--seed", 5)
    assert answer["passed"]
    assert answer["checks"] > 40
    assert all(group["failed"] == 0 for group in answer["groups"])
    code, out, err = cli("selftest", "--cases", 2)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("passed: ")


def test_selftest_reports_a_wrong_engine(cli, monkeypatch):
    monkeypatch.setattr(theory, "serra_lower", lambda n0, widths: 7)
    answer = answer_of(cli, "selftest", "--cases", 1, code=3)
    assert not answer["passed"]
    assert len(answer["failures"]) == 3
    assert "7 expected" in answer["failures"][0]
    code, out, _ = cli("selftest", "--cases", 1)
    assert code == 3
    assert "FAILED" in out.splitlines()[-1]


def test_selftest_cases_cover_lines_planes_slices_and_unbounded_domains():
    cases = [selftest_module.random_case(f"0:{k}") for k in range(60)]
    assert {case.dim for case in cases} == {1, 2}
    assert {case.origin is None for case in cases} == {True, False}
    assert any(not case.rows for case in cases)


def test_version_and_help(cli):
    assert cli("--name") == (0, "plverify\n", "")
    assert cli("--version") == (0, f"{pv.__version__}\n", "")
    for arguments in (["--help"], ["regions", "--help"], ["-h"], ["check", "-h"]):
        code, out, err = cli(*arguments)
        assert (code, err) == (0, "")
        assert "Usage: plverify" in out


# --------------------------------------------------------------------------------------- files


def test_out_holds_the_arrays(cli, files, tmp_path):
    path = tmp_path / "r.npz"
    code, out, _ = cli("regions", files("plane.npz"), "--out", path)
    assert code == 0
    assert f"wrote {path}" in out
    rs = pv.regions(pv.load(files("plane.npz")), pv.Box(-1, 1, 2))
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["patterns"], rs.patterns)
        np.testing.assert_array_equal(arrays["vertices"], rs.vertices)


@pytest.mark.parametrize("domain", [["--box", "-1,1"], ["--space"]])
def test_proof_is_accepted_for_its_model_and_rejected_for_another(cli, files, tmp_path, domain):
    proof = tmp_path / "p.plproof"
    answer = answer_of(cli, "regions", files("plane.npz"), *domain, "--proof", proof)
    assert answer["files"] == {"proof": str(proof)}
    code, out, err = cli("check", proof, files("plane.npz"))
    assert (code, err) == (0, "")
    claim, verdict = out.splitlines()
    assert f"exactly {answer['count']} activation regions" in claim
    assert verdict == "accepted"
    code, out, err = cli("check", proof, files("other.npz"))
    assert (code, err) == (1, "")
    assert out.splitlines()[-1] == "rejected: the proof is about another network"
    rejected = answer_of(cli, "check", proof, files("other.npz"), code=1)
    assert not rejected["accepted"]


def test_damaged_proofs_are_rejected(cli, files, tmp_path):
    proof = tmp_path / "p.plproof"
    assert cli("regions", files("plane.npz"), "--proof", proof)[0] == 0
    data = proof.read_bytes()
    for damaged in (data[:-3], data[: len(data) // 2], b"", b"no proof", data[:400] + data[401:]):
        proof.write_bytes(damaged)
        code, out, err = cli("check", proof, files("plane.npz"))
        assert (code, err) == (1, "")
        assert out.splitlines()[-1].startswith("rejected: ")


def test_plot_is_written_in_every_kind(cli, files, tmp_path):
    pytest.importorskip("matplotlib")
    for name, more in [
        ("a.png", ["--color", "class"]),
        ("a.svg", ["--layer", 1]),
        ("a.pdf", ["--space"]),
    ]:
        path = tmp_path / name
        assert cli("regions", files("plane.npz"), "--plot", path, *more)[0] == 0
        assert path.stat().st_size > 5000
    assert cli("regions", files("line.npz"), "--plot", tmp_path / "l.png")[0] == 0
    assert (tmp_path / "l.png").stat().st_size > 5000


def test_full_disk_leaves_no_half_proof(files, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    for option, name in (("--proof", "p.plproof"), ("--out", "r.npz")):
        done = child(limit, "regions", files("plane.npz"), option, tmp_path / name)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "File too large" in done.stderr
        assert "activation regions" in done.stdout  # the answer is not lost
        assert list(tmp_path.iterdir()) == []


def test_full_stdout_is_an_error_and_a_closed_one_is_quiet(files, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    script = "from plverify.cli import main; main()"
    path = tmp_path / "r.npz"
    command = [sys.executable, "-c", script, "regions", files("plane.npz"), "--out", str(path)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    path.unlink()  # files are written all the same
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    assert path.exists()


# ------------------------------------------------------------------ stopped before the last region


def test_timeout_prints_what_was_found(cli, files):
    for more in ([], ["--count"]):
        code, out, err = cli("regions", files("large.npz"), "--timeout", 0.2, *more)
        assert (code, err) == (1, "")
        assert out.startswith("activation regions  at least ")
        assert "incomplete: timeout" in out.splitlines()[0]
        assert "dead units" not in out
    answer = answer_of(cli, "regions", files("large.npz"), "--timeout", 0.2, "--count", code=1)
    assert (answer["status"], answer["complete"]) == ("timeout", False)


def test_an_incomplete_list_is_written_but_not_proven(cli, files, tmp_path):
    paths = tmp_path / "r.npz", tmp_path / "p.plproof"
    code, _, err = cli(
        "regions", files("large.npz"), "--timeout", 0.2, "--out", paths[0], "--proof", paths[1]
    )
    assert code == 1
    assert err == "no proof of an incomplete list (timeout)\n"
    assert [p.exists() for p in paths] == [True, False]
    with np.load(paths[0]) as arrays:
        assert not arrays["complete"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("more", [["--count"], []])
def test_interrupt_prints_what_was_found(files, name, more):
    done = child(signal_soon("enumerate", name), "regions", files("large.npz"), "--json", *more)
    assert (done.returncode, done.stderr) == (1, "")
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["complete"]) == ("interrupted", False)
    assert answer["count"] > 0
    assert answer["dead_units"] is None


def test_interrupt_elsewhere_is_one_line(files):
    code = """
import signal
import plverify.network as network
def load(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
network.load = load
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
    done = child(code, "regions", files("plane.npz"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "plverify regions: interrupted\n"


# ------------------------------------------------------------------------------- internal errors


def test_internal_error_is_one_line_and_debug_shows_the_traceback(cli, files, monkeypatch):
    def broken(*arguments):
        return [theory.Bound("Nobody 2000", 1, "upper", True, True, "", "")]

    monkeypatch.setattr(theory, "bounds_table", broken)
    code, out, err = cli("regions", files("plane.npz"))
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert "more than the proven bound of 1 (Nobody 2000)" in err
    assert "--debug" in err
    with pytest.raises(RuntimeError, match="Nobody"):
        run(["regions", files("plane.npz"), "--debug"])


# ------------------------------------------------------------------------------------- bad input


def refused(cli, *arguments):
    """Run a command line that must be refused; its one line."""
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"plverify {arguments[0]}: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--box", "1,-1"], "lo[0] is 1, greater than hi[0]"),
        (["--box", "1,1"], "no interior"),
        (["--box", "1"], "expected 2 numbers"),
        (["--box", "a,b"], "'a', not a number"),
        (["--box", "nan,1"], "NaN"),
        (["--box", "inf,inf"], "nothing between"),
        (["--box", ""], "--box"),
        (["--box", "0,1;0,1;0,1"], "3 pairs, expected 1 or 2"),
        (["--box", "0,1", "--space"], "--box and --space cannot"),
        (["--space", "--polygon", "0,0;1,0;0,1"], "cannot be given together"),
        (["--polygon", "0,0;1,0;2,0"], "no interior"),
        (["--polygon", "0,0;1,1;1,0;0,1"], "not convex"),
        (["--polygon", "0,0;1,0"], "three or more"),
        (["--polygon", "0,0;1,0;1"], "points of one length"),
        (["--polygon", "0,0,0;1,0,0;0,1,0"], "three or more points (x, y)"),
        (["--polygon", "nofile.txt"], "no such file"),
        (["--segment", "1;2"], "the model has 2 inputs"),
        (["--segment", "1,2"], "1 points, expected two"),
        (["--segment", "1,2;1,2"], "twice the same point"),
        (["--segment", "0,0;1,inf"], "infinite"),
        (["--segment", "0,0;1,1", "--slice", "x.npz"], "--slice and --segment cannot"),
        (["--segment", "0,0;1,1", "--polygon", "0,0;1,0;0,1"], "--polygon is for 2 dimensions"),
        (["--slice", "nofile.npz"], "no such file"),
        (["--timeout", "0"], "--timeout is 0.0"),
        (["--timeout", "nan"], "--timeout is nan"),
        (["--timeout", "x"], "--timeout"),
        (["--threads", "-1"], "--threads"),
        (["--threads", "100000"], "--threads is 100000"),
        (["--count", "--plot", "a.png"], "--count and --plot cannot"),
        (["--count", "--out", "a.npz"], "--count and --out cannot"),
        (["--count", "--proof", "a"], "--count and --proof cannot"),
        (["--plot", "a.bmp"], "must end in .png"),
        (["--plot", "a.png", "--color", "red"], "--color is 'red'"),
        (["--plot", "a.png", "--layer", "2"], "--layer is 2"),
        (["--layer", "0"], "give --plot too"),
        (["--out", "a.txt"], "must end in .npz"),
        (["--out", "nofolder/a.npz"], "no folder nofolder"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["surplus"], "unrecognized arguments: surplus"),
    ],
)
def test_bad_options_get_one_line(cli, files, options, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named in refused(cli, "regions", files("plane.npz"), *options)
    assert list(tmp_path.iterdir()) == []


def test_more_inputs_need_a_slice(cli, files):
    line = refused(cli, "regions", files("many.npz"))
    assert "33 inputs" in line
    assert "--slice FILE.npz with arrays origin (33,) and basis (33, 2)" in line
    assert "--segment" in line


def test_five_inputs_without_a_slice(cli, files, tmp_path):
    net = pv.load(files("five.npz"))
    answer = answer_of(cli, "regions", files("five.npz"), "--box", "0,0.25", "--count")
    assert answer["count"] == pv.count_regions(net, pv.Box(0, 0.25, 5)).count > 1
    path = tmp_path / "a.png"
    assert "--plot is for" in refused(cli, "regions", files("five.npz"), "--plot", path)
    assert not path.exists()
    proof = tmp_path / "five.proof"
    answer_of(cli, "regions", files("five.npz"), "--box", "0,0.25", "--proof", proof)
    assert pv.check(proof, net)


def test_bad_slices_get_one_line(cli, files, tmp_path):
    path = tmp_path / "s.npz"
    for arrays, named in [
        ({"origin": np.zeros(5)}, "no array 'basis or P'"),
        ({"origin": np.zeros(4), "basis": np.eye(5)[:, :2]}, "origin has shape (4,)"),
        ({"origin": np.zeros(5), "basis": np.eye(5)[:2]}, "basis (2, 5)"),
        ({"origin": np.zeros(5), "basis": np.ones((5, 33))}, "33 dimensions"),
        ({"origin": np.zeros(5), "basis": np.ones((5, 2))}, "rank 1"),
        ({"origin": np.full(5, np.nan), "basis": np.eye(5)[:, :2]}, "NaN"),
        ({"origin": np.zeros(5), "basis": np.eye(5)[:, :2], "lo": 0}, "lo and hi"),
        ({"origin": np.zeros(5), "basis": np.eye(5)[:, :2], "lo": 1, "hi": 0}, "greater"),
        ({"origin": np.zeros(5), "basis": np.eye(5)[:, :2], "lo": 0, "hi": 0}, "no interior"),
        ({"origin": np.array(["a"] * 5), "basis": np.eye(5)[:, :2]}, "not a number"),
    ]:
        np.savez(path, **arrays)
        assert named in refused(cli, "regions", files("five.npz"), "--slice", path)
    path.write_bytes(path.read_bytes()[:100])
    assert "not a usable npz" in refused(cli, "regions", files("five.npz"), "--slice", path)
    np.save(tmp_path / "s.npy", np.zeros(5))
    os.rename(tmp_path / "s.npy", path)
    assert "npz archive" in refused(cli, "regions", files("five.npz"), "--slice", path)


def onnx_file(path, nodes, outputs=("y",), shape=(1, 2), opset=17, inputs=1, weights=()):
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [tensor(f"x{k}" if k else "x", kind, shape) for k in range(inputs)],
        [tensor(name, kind, None) for name in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights],
    )
    ids = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=ids, ir_version=8), path)
    return path


def gemm(path, **options):
    node = onnx.helper.make_node
    nodes = [node("Gemm", ["x", "W", "b"], ["h"]), node("Relu", ["h"], ["y"])]
    weights = [("W", np.eye(2, dtype=np.float32)), ("b", np.zeros(2, np.float32))]
    return onnx_file(path, nodes, weights=options.pop("weights", weights), **options)


def test_onnx_is_replayed_by_info_and_studied_by_regions(cli, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = gemm(tmp_path / "a.onnx")
    answer = answer_of(cli, "info", path)
    assert answer["format"] == "onnx"
    assert answer["replay"]["replayed"]
    assert answer["replay"]["fraction_of_bound"] <= 1
    assert "agrees with onnxruntime" in cli("info", path)[1]
    assert answer_of(cli, "regions", path)["count"] == 4


@pytest.mark.parametrize("command", ["info", "regions"])
def test_bad_models_get_one_line(cli, files, tmp_path, command):
    def bad(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    with open(files("plane.npz"), "rb") as file:
        good = file.read()
    np.savez(tmp_path / "nan.npz", W0=[[np.nan]], b0=[0.0])
    np.savez(tmp_path / "shape.npz", W0=np.eye(2), b0=np.zeros(2), W1=np.eye(3), b1=np.zeros(3))
    node = onnx.helper.make_node
    gemm(tmp_path / "cut.onnx")
    whole = (tmp_path / "cut.onnx").read_bytes()
    for path, named in [
        (tmp_path / "none.onnx", "no such file"),
        (tmp_path, "is a folder"),
        (bad("a.npz", good[:200]), "npz"),
        (bad("b.npz", b""), "npz"),
        (bad("c.txt", b"x"), "unknown kind of file"),
        (bad("d.onnx", b"nonsense"), "d.onnx"),
        (bad("e.nnet", b"1,2"), "e.nnet"),
        (bad("cut.onnx", whole[: len(whole) // 2]), "cut.onnx"),
        (tmp_path / "nan.npz", "NaN"),
        (tmp_path / "shape.npz", "W1 has shape (3, 3)"),
        (onnx_file(tmp_path / "f.onnx", [node("Sin", ["x"], ["y"], "wave")]), "Sin"),
        (gemm(tmp_path / "g.onnx", opset=3), "opset"),
        (gemm(tmp_path / "i.onnx", shape=("n", "m")), "i.onnx"),
    ]:
        assert named in refused(cli, command, path)


def test_external_data_that_is_not_there_gets_one_line(cli, tmp_path):
    gemm(
        tmp_path / "a.onnx", weights=[("W", np.eye(2, dtype=np.float32)), ("b", np.zeros(2, "f4"))]
    )
    model = onnx.load(tmp_path / "a.onnx")
    onnx.save(
        model,
        tmp_path / "a.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (tmp_path / "weights.bin").unlink()
    assert "weights.bin" in refused(cli, "info", tmp_path / "a.onnx")


def test_check_needs_files_it_can_read(cli, files, tmp_path):
    assert "no such file" in refused(cli, "check", tmp_path / "p", files("plane.npz"))
    assert "is a folder" in refused(cli, "check", tmp_path, files("plane.npz"))
    (tmp_path / "p").write_bytes(b"")
    assert "no such file" in refused(cli, "check", tmp_path / "p", tmp_path / "m.npz")
    assert "required: MODEL" in refused(cli, "check", tmp_path / "p")


def test_outputs_are_regular_files(cli, files, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    line = refused(cli, "regions", files("plane.npz"), "--proof", tmp_path / "pipe")
    assert "not a regular file" in line
    (tmp_path / "folder.npz").mkdir()
    line = refused(cli, "regions", files("plane.npz"), "--out", tmp_path / "folder.npz")
    assert "a folder" in line


def test_missing_extra_gets_one_line(cli, files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = refused(cli, "regions", files("plane.npz"), "--plot", tmp_path / "a.png")
    assert "pip install 'plverify[plot]'" in line


def test_no_command_and_unknown_commands(cli):
    code, out, err = cli()
    assert code == 2
    assert "regions" in out
    assert err == "plverify: no command given\n"
    code, out, err = cli("nonsense")
    assert (code, out) == (2, "")
    assert err.startswith("plverify: No such command 'nonsense'")
    assert err.count("\n") == 1
    assert "at least 1" in refused(cli, "bounds", "--inputs", "0", "--widths", "3")
    assert "--cases" in refused(cli, "selftest", "--cases", "0")


# ------------------------------------------------------------------------------------- helpers


def test_numbers_are_exact():
    assert numbers("0.1,1/3,-2", "x") == [numbers("1/10", "x")[0], pv.Box([0], ["1/3"]).hi[0], -2]
    with pytest.raises(pv.InputError, match="x is '1,,2'"):
        numbers("1,,2", "x")


@pytest.mark.parametrize("turned", [False, True])
def test_polygons_may_go_either_way_and_have_flat_corners(turned):
    corners = [(0, 0), (1, 0), (2, 0), (2, 2), (2, 2), (0, 2), (0, 1), (0, 0)]
    domain = convex_polygon(corners[::-1] if turned else corners)
    assert domain.contains([2, 2])
    assert not domain.contains([2, 2.000001])
    assert not domain.contains([-0.000001, 1])


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (2, 0), (0, 0), (0, 2)],  # back and forth
        [(0, 0), (2, 0), (1, 0), (1, 2)],  # a spike along an edge
        [(0, 2), (1, -2), (-2, 1), (2, 1), (-1, -2)],  # a pentagram turns left only
        [(0, 0), (1, 0), (0, 1), (0, 0), (1, 0), (0, 1)],  # round twice
        [(0, 0), (2, 0), (1, 1), (2, 2), (0, 2)],  # a notch
    ],
)
def test_what_is_no_convex_polygon_is_refused(corners):
    with pytest.raises(pv.InputError, match="convex|interior"):
        convex_polygon(corners)
