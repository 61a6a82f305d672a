"""Proofs about executions: what onnxruntime, torch and numpy compute stays in what is proven."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest
from dual_cases import graphs, network, small_random
from proof_tools import unpack

import plverify as pv
from plverify.certificate import check_executed
from plverify.checker_bounds import Bounds, Rounding
from plverify.checker_claims import Box as ExactBox
from plverify.checker_dual import Executed
from plverify.executed import executed
from plverify.float32 import emulate, prove
from plverify.network import Network
from plverify.nodes import Linear
from plverify.proof import encode, unsat_header
from plverify.property import Property

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto  # noqa: E402
from onnx_tools import execute, model, node, save, session  # noqa: E402

from plverify.io.onnx import read_model  # noqa: E402


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# ------------------------------------------------------------------------------------ the networks


def drawn(rng, *shape, size=1.0):
    return (size * rng.standard_normal(shape)).astype(np.float32)


def dense_model(rng):
    """Normalisation, matrices with large biases that cancel, units of several kinds."""
    far = 2.0 ** rng.integers(0, 20)
    nodes = [
        node("Sub", "x", "mean", out="c"),
        node("Div", "c", "range", out="n"),
        node("MatMul", "n", "W0", out="m0"),
        node("Add", "m0", "b0", out="z0"),
        node("LeakyRelu", "z0", out="a0", alpha=float(rng.choice([0.1, 0.25, 0.01]))),
        node("Gemm", "a0", "W1", "b1", out="z1", alpha=0.7, beta=1.3, transB=1),
        node("Clip", "z1", "low", "high", out="a1"),
        node("Concat", "a1", "a0", out="j", axis=1),
        node("Gemm", "j", "W2", "b2", out="y"),
    ]
    b0 = drawn(rng, 5) + np.float32(far)
    constants = [
        ("mean", drawn(rng, 3)),
        ("range", np.abs(drawn(rng, 3)) + np.float32(0.5)),
        ("W0", drawn(rng, 3, 5)),
        ("b0", b0),
        ("W1", drawn(rng, 4, 5)),
        ("b1", -np.float32(0.5) * drawn(rng, 4, size=far)),
        ("low", np.float32(-far)),
        ("high", np.float32(far)),
        ("W2", drawn(rng, 9, 2)),
        ("b2", -drawn(rng, 2, size=far)),
    ]
    return model(nodes, [1, 3], constants)


def conv_model(rng):
    """Convolutions, a batch normalisation, pools, and a residual sum."""
    nodes = [
        node("Conv", "x", "K0", "k0", out="c0", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c0", "g", "b", "m", "v", out="n0", epsilon=1e-3),
        node("Relu", "n0", out="a0"),
        node("Conv", "a0", "K1", "k1", out="c1", pads=[1, 1, 1, 1]),
        node("Add", "c1", "a0", out="s"),
        node("Relu", "s", out="a1"),
        node("AveragePool", "a1", out="p", kernel_shape=[2, 2], strides=[1, 1]),
        node("MaxPool", "p", out="q", kernel_shape=[2, 2]),
        node("Flatten", "q", out="f"),
        node("Gemm", "f", "W", "w", out="y"),
    ]
    constants = [
        ("K0", drawn(rng, 2, 1, 3, 3)),
        ("k0", drawn(rng, 2, size=100)),
        ("g", drawn(rng, 2)),
        ("b", drawn(rng, 2)),
        ("m", drawn(rng, 2, size=100)),
        ("v", np.abs(drawn(rng, 2)) + np.float32(0.01)),
        ("K1", drawn(rng, 2, 2, 3, 3)),
        ("k1", drawn(rng, 2)),
        ("W", drawn(rng, 2, 1)),
        ("w", drawn(rng, 1)),
    ]
    return model(nodes, [1, 1, 3, 3], constants)


def load(tmp_path, proto):
    return pv.load(save(tmp_path, proto))


# ---------------------------------------------------------------------------------- the error model


def range_of_outputs(model, box, scale=1):
    """Bounds of the outputs as executed on a box; `scale` for the errors."""
    rounding = {
        k: Rounding(r.relative * scale, tuple(a * scale for a in r.absolute), r.limit)
        for k, r in model.rounding.items()
    }
    bounds = Bounds(model.net, rounding)
    cell, errors = bounds.with_errors(bounds.start(box))
    out = []
    for j in range(model.net.output_size):
        ends = []
        for sign in (1, -1):
            grad = [0] * model.net.output_size
            grad[j] = sign
            start = {len(model.net.nodes): (grad, 1)}
            ends.append(sign * bounds.least(cell, start, Fraction(0), None, errors))
        out.append((ends[0], ends[1]))
    return out


def point_box(x):
    exact = tuple(Fraction(float(v)) for v in x)
    return ExactBox(exact, exact)


@pytest.mark.parametrize("make", [dense_model, conv_model])
def test_executions_stay_within_the_error_model(tmp_path, make):
    """At points; a thousandth of the errors would be too little somewhere."""
    rng = np.random.default_rng(1)
    beyond = 0
    for trial in range(12):
        proto = make(rng)
        net = load(tmp_path, proto)
        running, read = session(proto), read_model(net.origin.path)
        found = executed(net)
        assert found.net.unit_count >= net.exact_net.unit_count
        for _ in range(6):
            x = drawn(rng, net.input_size, size=rng.choice([1e-3, 1, 100]))
            got = execute(running, read, x)
            for v, (lo, hi) in zip(got, range_of_outputs(found, point_box(x)), strict=True):
                assert lo <= Fraction(v) <= hi, trial
            small = range_of_outputs(found, point_box(x), 2.0**-10)
            beyond += any(
                not lo <= Fraction(v) <= hi for v, (lo, hi) in zip(got, small, strict=True)
            )
    assert beyond


def test_arrays_are_executed_in_float32(tmp_path):
    rng = np.random.default_rng(2)
    for _ in range(30):
        far = 2.0 ** rng.integers(0, 20)
        weights = [rng.standard_normal(s) for s in ((4, 2), (1, 4))]
        biases = [rng.standard_normal(4) + far, rng.standard_normal(1) * far]
        net = Network.from_arrays(weights, biases, 0.3)
        found = executed(net)
        x = drawn(rng, 2)
        [got] = emulate(net, x[None])[0].tolist()
        [(lo, hi)] = range_of_outputs(found, point_box(x))
        assert lo <= Fraction(got) <= hi


def test_torch_modules_are_traced_again():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.LeakyReLU(0.1), torch.nn.Linear(8, 1)
    ).eval()
    net = pv.load(module)
    found = executed(net)
    assert found.words == "torch in float32"
    spec = Property.output_at_most(pv.Box(-1, 1, 3), 0, 10)
    assert pv.verify(net, spec, float32_sound=True).float32 == "proved"
    for _ in range(20):
        x = np.random.default_rng(0).standard_normal(3).astype(np.float32)
        got = float(module(torch.from_numpy(x)[None]).detach())
        [(lo, hi)] = range_of_outputs(found, point_box(x))
        assert lo <= Fraction(got) <= hi


def test_what_has_no_error_model_is_unknown(tmp_path):
    half = model([node("Relu", "x", out="y")], [1, 2], element=TensorProto.FLOAT16)
    computed = model(
        [node("Exp", "c", out="e"), node("Mul", "x", "e", out="y")],
        [1, 2],
        [("c", np.float32([1, 2]))],
    )
    narrow = node("Cast", "r", out="y", to=int(TensorProto.FLOAT16))
    cast = model([node("Relu", "x", out="r"), narrow], [1, 2])
    cast.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for proto, why in ((half, "float16"), (computed, "computes"), (cast, "float16, float32")):
        net = load(tmp_path, proto)
        with pytest.raises(pv.InputError, match=why):
            executed(net)
        spec = Property.output_at_most(pv.Box(-1, 1, 2), 0, 100, 2)
        with pytest.warns(UserWarning, match="nothing is proved"):
            found = pv.verify(net, spec, float32_sound=True, float32=False)
        assert (found.status, found.float32) == ("unsat", "unknown")
    tiny = Network.from_arrays([[[1e-45 * 0.7]]])
    with pytest.raises(pv.InputError, match="does not hold"):
        executed(tiny)
    steep = Network.from_arrays([[[1.0]], [[1.0]]], None, 2.0**-200)
    with pytest.raises(pv.InputError, match="does not hold"):
        executed(steep)


def test_sums_that_may_overflow_are_not_proved():
    net = Network.from_arrays([[[3e38, 3e38]], [[1]]])
    spec = Property.output_at_least(pv.Box(-1, 1, 2), 0, -1)
    found = pv.verify(net, spec, float32_sound=True, proof=True)
    assert (found.status, found.float32) == ("unsat", "unknown")
    for python in (False, True):
        verdict = pv.check(found.proof, net, float32=True, python=python)
        assert "overflow" in verdict.reason
        assert pv.check(found.proof, net, python=python)
    unbounded = Property.output_at_least(pv.Box([-np.inf, 0], [0, 1]), 0, -1)
    proof = encode(unsat_header(net, unbounded), b"\4\1\0\1\0\1\1")
    for python in (False, True):
        assert pv.check(proof, net, python=python)
        assert "overflow" in pv.check(proof, net, float32=True, python=python).reason


# ------------------------------------------------------------------------------------------- proofs


def test_a_violation_by_rounding_is_never_proved_away(tmp_path):
    """relu(x + 2^25) - 2^25 is the identity, and 4 at x = 3 in float32."""
    big = np.float32([2.0**25])
    nodes = [node("Add", "x", "b", out="z"), node("Relu", "z", out="a"), node("Sub", "a", "b")]
    shifted = load(tmp_path, model(nodes, [1, 1], [("b", big)]))
    box, seen = pv.Box(0, 3, 1), []
    for top in (3, "3.5", 4, 5, 100):
        found = pv.verify(shifted, Property.output_at_most(box, 0, top), float32_sound=True)
        assert found.status == "unsat"
        assert found.float32 == ("proved" if top == 100 else "unknown")
        seen.append(found.float32_violation is not None)
    assert seen == [True, True, False, False, False]


@pytest.mark.parametrize("make", [dense_model, conv_model])
def test_what_is_proved_is_never_violated(tmp_path, make):
    """Bounds from far above the maximum down to the maximum itself, and onnxruntime at points."""
    rng = np.random.default_rng(3)
    statuses = []
    for _ in range(6):
        proto = make(rng)
        net = load(tmp_path, proto)
        running, read = session(proto), read_model(net.origin.path)
        n = net.input_size
        centre = rng.integers(-8, 8, n) / 8
        box = pv.Box(centre - 1 / 64, centre + 1 / 64)
        top = pv.maximize(net, 0, box, timeout=5)
        if not top.exact:
            continue
        lo, hi = (np.array([float(v) for v in s]) for s in (box.lo, box.hi))
        points = np.concatenate([lo + (hi - lo) * rng.random((200, n)),
                                 np.where(rng.random((100, n)) < 0.5, lo, hi)])  # fmt: skip
        runs = [execute(running, read, x)[0] for x in points.astype(np.float32)]
        size = 1 + abs(float(top.value))
        for gap in (0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-1):
            bound = top.value + Fraction(gap * size)
            spec = Property.output_at_most(box, 0, bound, net.output_size)
            found = pv.verify(net, spec, float32_sound=True, float32=False, proof=True, timeout=20)
            statuses.append(found.float32)
            if found.float32 == "proved":
                assert Fraction(max(runs)) <= bound
                for python in (False, True):
                    assert pv.check(found.proof, net, spec, python=python)
                    assert pv.check(found.proof, net, spec, python=python, float32=True)
    assert {"proved", "unknown"} <= set(statuses)


def test_without_the_errors_a_false_statement_would_be_proved():
    """The error terms are what decides: a network whose float32 runs exceed the real maximum."""
    rng = np.random.default_rng(5)
    caught = 0
    for _ in range(40):
        far = 2.0 ** rng.integers(10, 22)
        weights = [drawn(rng, 3, 2), drawn(rng, 1, 3)]
        biases = [drawn(rng, 3) + np.float32(far), drawn(rng, 1)]
        net, box = Network.from_arrays(weights, biases), pv.Box(-1, 1, 2)
        top = pv.maximize(net, 0, box).value
        runs = emulate(net, (2 * rng.random((500, 2)) - 1).astype(np.float32))
        spec = Property.output_at_most(box, 0, top)
        found = pv.verify(net, spec, float32=False, proof=True)
        model = executed(net)
        none = {k: Rounding(0.0, (0.0,) * len(r.absolute), r.limit)
                for k, r in model.rounding.items()}  # fmt: skip
        exact = Executed(model.net, none, "exact arithmetic")
        for python in (False, True):
            assert check_executed(found.proof, net, spec, exact, python=python)
            assert not check_executed(found.proof, net, spec, model, python=python)
        assert prove(net, spec, zlib.decompress(unpack(found.proof)[1])) is None
        caught += Fraction(float(runs.max())) > top
    assert caught


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(30))
def test_the_checkers_agree_about_executions(seed):
    """All kinds of nodes; errors of any size, so that they decide."""
    rng = np.random.default_rng(seed)
    graph = small_random(seed) or graphs()[sorted(graphs())[seed % 9]]
    net, box = network(graph, seed), pv.Box(-1, 1, graph.inputs)
    top = pv.maximize(net, 0, box).value
    sizes = {k: node.size for k, node in enumerate(net.nodes) if isinstance(node, Linear)}
    outcomes = set()
    for gap in (Fraction(1, 10**6), Fraction(1, 10), Fraction(10)):
        spec = Property.output_at_most(box, 0, top + gap, net.output_size)
        found = pv.verify(net, spec, float32=False, proof=True)
        for power in (-60, -30, -20, -10, -5, -1):
            off = 2.0**power
            rounding = {
                k: Rounding(off, tuple((off * rng.random(n)).tolist()), 1e30)
                for k, n in sizes.items()
            }
            model = Executed(net.exact_net, rounding, "a test")
            both = {
                bool(check_executed(found.proof, net, spec, model, python=python))
                for python in (False, True)
            }
            assert len(both) == 1
            outcomes |= both
    assert outcomes == {False, True}


def test_the_error_of_a_row_that_reads_nothing_is_rounded_outwards():
    """relative |b| + absolute is no double here, and that is no reason to lose the smaller one."""
    net = Network.from_arrays([[[1.0]], [[0.0]]], [[0.0], [1.0]])
    rounding = Rounding(2.0**-24, (2.0**-140,), 1e30)
    bounds = Bounds(net.exact_net, {0: rounding, 2: rounding})
    root = bounds.start(ExactBox((Fraction(0),), (Fraction(1),)))
    [error] = bounds.with_errors(root)[1][2]
    assert error > 2.0**-24


def test_only_unsat_is_proved_about_executions():
    net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])
    top = pv.maximize(net, 0, pv.Box(-1, 1, 1), proof=True)
    regions = pv.regions(net, pv.Box(-1, 1, 1), exact=True).proof()
    for proof in (top.proof, regions):
        assert pv.check(proof, net)
        verdict = pv.check(proof, net, float32=True)
        assert "only 'unsat'" in verdict.reason


def test_executions_on_the_command_line(cli, tmp_path):
    nodes = [node("Gemm", "x", "W", "b", out="z"), node("Relu", "z", out="y")]
    constants = [("W", np.float32([[1, 2], [3, -1]])), ("b", np.float32([0.5, 0]))]
    path = save(tmp_path, model(nodes, [1, 2], constants))
    for top, said, code in ((9, "proved", 0), ("4.5", "unknown", 1)):
        spec = Property.output_at_most(pv.Box(-1, 1, 2), 0, top, 2)
        (tmp_path / "s.vnnlib").write_text(spec.to_vnnlib())
        files = [str(path), str(tmp_path / "s.vnnlib")]
        proof = str(tmp_path / "p")
        done, out, _ = cli("verify", *files, "--float32-sound", "--proof", proof)
        assert done == 0
        assert out.startswith("unsat\n")
        assert f"float32   {said}" in out
        assert cli("check", proof, *files, "--float32")[0] == code
        assert cli("check", proof, *files)[0] == 0
