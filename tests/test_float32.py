"""What the model does as executed in float32, beside the theorem about the real function."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import plverify as pv
from plverify import float32 as executed
from plverify.domain import Box
from plverify.errors import InputError
from plverify.float32 import confirm, emulate, float_sides, runtime_of, violation
from plverify.network import Network
from plverify.property import Property
from plverify.verdict import verify

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto  # noqa: E402
from onnx_tools import f32, model, node, save  # noqa: E402

F = Fraction
INF = float("inf")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def shifted():
    """relu(x + 2^25) - 2^25: the identity, but float32 has no odd numbers there."""
    return Network.from_arrays([[[1.0]], [[1.0]]], [[2.0**25], [-(2.0**25)]])


def shifted_file(tmp_path, element=TensorProto.FLOAT):
    kind = np.float32 if element == TensorProto.FLOAT else np.float64
    big = np.array([2.0**25], kind)
    nodes = [node("Add", "x", "b", out="z"), node("Relu", "z", out="a"), node("Sub", "a", "b")]
    return save(tmp_path, model(nodes, [1, 1], [("b", big)], element=element))


def mlp_file(tmp_path, sizes, softmax=False):
    nodes, constants, name = [], [], "x"
    for k, (a, b) in enumerate(pairwise(sizes)):
        last = k == len(sizes) - 2
        constants += [(f"W{k}", f32(a, b)), (f"b{k}", f32(b))]
        nodes.append(node("Gemm", name, f"W{k}", f"b{k}", out="y" if last else f"z{k}"))
        if not last:
            nodes.append(node("Relu", f"z{k}", out=f"a{k}"))
            name = f"a{k}"
    if softmax:
        nodes.append(node("Softmax", "y", out="p", axis=1))
    output = "p" if softmax else "y"
    return save(tmp_path, model(nodes, [1, sizes[0]], constants, output))


def exactly(values):
    return [F(v) for v in values]


# ----------------------------------------------------------------------- points that exist


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_sides_are_the_outermost_numbers_inside(kind):
    rng = np.random.default_rng(0)
    for _ in range(300):
        den = int(rng.integers(1, 10**6))
        a, b = sorted(
            F(int(v), den) * F(10) ** int(rng.integers(-9, 5)) for v in rng.integers(-999, 999, 2)
        )
        sides = float_sides(Box([a], [b]), kind)
        (below,), (above,) = executed._at_least([a], kind), -executed._at_least([-b], kind)
        assert F(float(below)) >= a > F(float(np.nextafter(below, kind(-np.inf))))
        assert F(float(above)) <= b < F(float(np.nextafter(above, kind(np.inf))))
        assert (sides is None) == (below > above)


def test_sides_beyond_the_range():
    top = np.finfo(np.float32).max
    assert float_sides(Box([10**39], [10**40]), np.float32) is None
    assert float_sides(Box([-(10**400)], [-(10**39)]), np.float32) is None
    lo, hi = float_sides(Box([-(10**400), 0], [10**400, INF]), np.float32)
    assert lo.tolist() == [-top, 0]
    assert hi.tolist() == [top, top]


# -------------------------------------------------------------------------------- verdicts


def test_a_confirmed_point_lies_exactly_inside_and_violates():
    rng = np.random.default_rng(4)
    weights = [rng.standard_normal((9, 3)), rng.standard_normal((2, 9))]
    net = Network.from_arrays([w.astype(np.float32) for w in weights])
    box = Box(["0.1", "-0.3", 0], ["0.7", "1/3", "0.9"])
    top = pv.maximize(net, 1, box)
    spec = Property.output_at_most(box, 1, top.value - F(1, 10**3), 2)
    found = verify(net, spec)
    assert (found.status, found.float32, found.float32_runtime) == ("sat", "confirmed", "numpy")
    assert box.contains(found.float32_witness)
    assert spec.contains(found.float32_witness, found.float32_outputs)
    point = np.array(found.float32_witness, np.float32)
    assert point.astype(np.float64).tolist() == list(found.float32_witness)
    assert emulate(net, point[None])[0].tolist() == list(found.float32_outputs)


def test_margins_below_rounding_are_those_of_the_execution():
    net = Network.from_arrays([[["1/3"]], [[3]]])
    found = verify(net, Property.output_at_most(Box([0], [1]), 0, 1 - F(1, 10**15)))
    assert (found.status, found.float32) == ("sat", "confirmed")
    assert (found.float32_witness, found.float32_outputs) == ((1,), (1,))
    # -|x - 1/3|: only within 1e-12 of a third it is as large as that, where no float32 number lies;
    # but the constant is rounded as well.
    third = Network.from_arrays([[[1], [-1]], [[-1, -1]]], [["-1/3", "1/3"], None])
    inside = Property.from_rows(Box([0], [1]), None, [[-1]], [F(1, 10**12)])
    found = verify(third, inside)
    assert (found.status, found.float32) == ("sat", "confirmed")
    assert abs(found.witness[0] - F(1, 3)) <= F(1, 10**12)
    assert found.float32_witness == (float(np.float32(1 / 3)),)
    assert found.float32_outputs == (0,)
    assert not inside.contains(found.float32_witness, third.exact(exactly(found.float32_witness)))
    # One part in 10^9 above what a float32 run can return is never confirmed.
    found = verify(net, Property.output_at_most(Box([0], ["1.000000001"]), 0, 1))
    assert (found.status, found.float32) == ("sat", "not_confirmed")


def test_no_float32_point():
    net = Network.from_arrays([[[1, 1]]])
    box = Box(["0.1", 0], ["0.1", 1])
    found = verify(net, Property.output_at_most(box, 0, "0.5"))
    assert (found.status, found.float32) == ("sat", "no_float32_point")
    assert found.float32_witness is None
    # another box has one
    both = Property.output_at_most(box, 0, "0.5") | Property.output_at_most(Box(0, 1, 2), 0, 1)
    found = verify(net, both)
    assert (found.status, found.float32) == ("sat", "confirmed")
    only = Property.output_at_most(box, 0, "0.5") | Property.output_at_most(Box(0, 1, 2), 0, 9)
    assert verify(net, only).float32 == "not_confirmed"


def test_unsat_that_float32_violates():
    box = Box([0], [3])
    spec = Property.output_at_most(box, 0, 3)
    found = verify(shifted(), spec)
    assert found.status == "unsat"
    assert found.float32 is None
    assert found.float32_violation is not None
    assert found.float32_outputs == (4,)
    assert spec.contains(found.float32_violation, found.float32_outputs)
    assert pv.Verification.from_json(found.to_json()) == found
    quiet = verify(shifted(), spec, float32=False)
    assert quiet.float32_violation is None
    assert quiet.status == "unsat"


def test_sat_that_float32_does_not_show():
    """Real f(1) = 1 exceeds 1/2; float32 gives 0 or 2."""
    spec = Property.from_rows(Box([1], [1]), None, [[-1]], ["-0.5"])
    found = verify(shifted(), spec)
    assert (found.status, found.witness, found.float32) == ("sat", (1,), "not_confirmed")


def test_float32_false_runs_nothing(monkeypatch):
    def fail(*arguments):
        raise AssertionError

    monkeypatch.setattr(executed, "emulate", fail)
    monkeypatch.setattr(executed, "runtime_of", fail)
    net = Network.from_arrays([[[1]]])
    assert verify(net, Property.output_at_most(Box(0, 1, 1), 0, 0), float32=False).float32 is None


# ---------------------------------------------------------------------------- onnxruntime


def test_onnxruntime_confirms(tmp_path):
    path = mlp_file(tmp_path, [3, 8, 2])
    net = pv.load(path)
    box = Box(["-0.1"] * 3, ["0.3"] * 3)
    top = pv.maximize(net, 0, box)
    spec = Property.output_at_most(box, 0, top.value - F(1, 100), 2)
    for given in (net, path, str(path)):
        found = verify(given, spec)
        assert (found.float32, found.float32_runtime) == ("confirmed", "onnxruntime")
        assert spec.contains(found.float32_witness, found.float32_outputs)
        assert box.contains(found.float32_witness)


def test_onnxruntime_and_numpy_agree_on_the_large_constant(tmp_path):
    net = pv.load(shifted_file(tmp_path))
    spec = Property.output_at_most(Box([0], [3]), 0, 3)
    found = verify(net, spec)
    assert (found.status, found.float32_runtime) == ("unsat", "onnxruntime")
    assert found.float32_outputs == (4,)
    run = runtime_of(net).run(np.array([3], np.float32))
    assert run.tolist() == [4]
    assert emulate(net, np.array([[3]], np.float32)).tolist() == [[4]]


def test_float64_models_are_run_in_float64(tmp_path):
    net = pv.load(shifted_file(tmp_path, TensorProto.DOUBLE))
    found = verify(net, Property.output_at_most(Box([0], [3]), 0, "2.5"))
    assert found.float32 == "confirmed"
    assert runtime_of(net).dtype is np.float64
    assert runtime_of(net).run(np.array([1.0])).tolist() == [1]
    assert verify(net, Property.output_at_most(Box([0], [3]), 0, 3)).float32_violation is None


def test_a_dropped_softmax_is_not_executed(tmp_path):
    net = pv.load(mlp_file(tmp_path, [2, 5, 3], softmax=True))
    top = pv.maximize(net, 2, Box(-2, 2, 2))
    found = verify(net, Property.output_at_most(Box(-2, 2, 2), 2, top.value - F(1, 50), 3))
    assert found.float32 == "confirmed"
    assert abs(found.float32_outputs[2] - top.value) < F(1, 40)


def test_a_file_that_changed_is_told_and_nothing_is_run(tmp_path):
    path = mlp_file(tmp_path, [2, 4, 1])
    net = pv.load(path)
    spec = Property.output_at_most(Box(-1, 1, 2), 0, -1000)
    mlp_file(tmp_path, [2, 4, 1])  # other weights, the same name
    with pytest.warns(UserWarning, match="no longer holds"):
        found = verify(net, spec)
    assert (found.status, found.float32) == ("sat", None)
    path.unlink()
    with pytest.warns(UserWarning, match=r"float32.*m\.onnx"):
        assert verify(net, spec).float32 is None
    with pytest.raises(InputError):
        runtime_of(net)


def test_onnxruntime_is_not_loaded_for_unsat_with_room(tmp_path, monkeypatch):
    net = pv.load(mlp_file(tmp_path, [2, 4, 1]))
    top = pv.maximize(net, 0, Box(-1, 1, 2)).value

    def fail(*arguments):
        raise AssertionError

    monkeypatch.setattr(executed, "runtime_of", fail)
    spec = Property.output_at_most(Box(-1, 1, 2), 0, top + 1)
    assert verify(net, spec).status == "unsat"


def test_torch_runs_its_own_module():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    net = pv.load(module.eval())
    spec = Property.output_at_most(
        Box(-1, 1, 2), 0, pv.maximize(net, 0, Box(-1, 1, 2)).value - F(1, 100), 2
    )
    found = verify(net, spec)
    assert (found.float32, found.float32_runtime) == ("confirmed", "torch")
    with torch.no_grad():
        made = module(torch.tensor([found.float32_witness])).double().numpy()[0]
    assert np.allclose(made, found.float32_outputs, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------- searches


@pytest.mark.parametrize("seed", range(10))
def test_points_are_moved_inside(seed):
    """A witness on the edge of the violations: float32 rounds it out, a step inside does not."""
    rng = np.random.default_rng(seed)
    n = 2 + seed % 3
    weights = [rng.standard_normal(s).astype(np.float32) for s in ((12, n), (8, 12), (2, 8))]
    net = Network.from_arrays(weights)
    box = Box(["-0.37"] * n, ["1.1"] * n)
    x = [F(int(v), 997) for v in rng.integers(-300, 900, n)]
    y = net.exact(x)
    spec = Property.from_rows(box, None, [[-1, 0], [0, -1]], [-y[0], -y[1]])
    assert spec.contains(x, y)
    status, found = confirm(net, spec, 0, x)
    if status == "confirmed":
        assert box.contains(found.point)
        assert spec.contains(found.point, found.outputs)
    else:
        rows, _ = net.exact_net.affine_map(net.exact_net.pattern_at(x).bits)
        directions = np.array(rows, float)[:, :-1]
        # The two outputs cannot both grow, or only at a corner.
        assert np.linalg.matrix_rank(directions) < 2


def test_points_without_any_room_end_quietly():
    zero = Network.from_arrays([[[0, 0]]])
    spec = Property.from_rows(Box(0, 1, 2), None, [[1]], [-1])
    assert violation(zero, spec) is None
    status, found = confirm(
        zero, Property.from_rows(Box(0, 1, 2), None, [[1]], [0]), 0, [F(1, 3)] * 2
    )
    assert status == "confirmed"
    assert exactly(found.outputs) == [0]


def test_values_beyond_float32_do_not_confirm():
    huge = Network.from_arrays([[[2.0**100]], [[2.0**100]]])
    spec = Property.output_at_most(Box([1], [10]), 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = verify(huge, spec)
    assert (found.status, found.float32) == ("sat", "not_confirmed")
    assert emulate(huge, np.array([[1]], np.float32)).tolist() == [[INF]]


def test_properties_without_rows_and_without_bounds():
    net = Network.from_arrays([[[1]]])
    anything = Property(1, 1, (pv.Disjunct(Box([0], [1])),))
    status, found = confirm(net, anything, 0, [F(1, 3)])
    assert (status, len(found.point)) == ("confirmed", 1)
    wide = Property.output_at_most(Box([-INF], [INF]), 0, 7)
    status, _ = confirm(net, wide, 0, [F(8)])
    assert status == "confirmed"
    assert violation(net, Property.from_rows(Box([-INF], [INF]), [[-1]], [[1]], [-1])) is None
