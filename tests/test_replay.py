"""The replay lets rounding pass and catches every change that rounding does not explain."""

from __future__ import annotations

import os
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from plverify import replay as module
from plverify.errors import InputError
from plverify.network import Network, load
from plverify.replay import NotReplayed, Replay, default_points, replay
from plverify.replay_cache import cache_folder, replay_once

RNG = np.random.default_rng(0)
SIZES = [6, 20, 20, 3]
WEIGHTS = [RNG.standard_normal((m, n)).astype(np.float32) for n, m in pairwise(SIZES)]
BIASES = [RNG.standard_normal(m).astype(np.float32) for m in SIZES[1:]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(path, element=TensorProto.FLOAT, slope=None):
    dtype = {1: np.float32, 10: np.float16, 11: np.float64}[element]
    nodes, tensors, name = [], [], "x"
    for k, (w, b) in enumerate(zip(WEIGHTS, BIASES, strict=True)):
        last = k == len(WEIGHTS) - 1
        nodes.append(helper.make_node("MatMul", [name, f"W{k}"], [f"m{k}"]))
        nodes.append(helper.make_node("Add", [f"m{k}", f"b{k}"], ["y" if last else f"z{k}"]))
        tensors.append(numpy_helper.from_array(w.T.astype(dtype), f"W{k}"))
        tensors.append(numpy_helper.from_array(b.astype(dtype), f"b{k}"))
        if not last:
            op, more = ("Relu", {}) if slope is None else ("LeakyRelu", {"alpha": slope})
            nodes.append(helper.make_node(op, [f"z{k}"], [f"a{k}"], **more))
            name = f"a{k}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, ["n", SIZES[0]])],
        [helper.make_tensor_value_info("y", element, None)],
        tensors,
    )
    opset = [helper.make_opsetid("", 13)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return str(path)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "m.onnx")


@pytest.mark.parametrize(("element", "slope"), [(1, None), (1, 0.1), (1, -0.5), (11, None)])
def test_an_honest_import_passes_with_room(tmp_path, element, slope):
    path = write(tmp_path / "m.onnx", element, slope)
    found = replay(load(path, replay=False), path)
    assert found.points == len(default_points(6)) == 16
    assert 0 < found.worst < 0.6
    assert found.largest < (0.01 if element == 1 else 1e-10)


def changed(k, bias=False, by=1e-3):
    weights, biases = [w.copy() for w in WEIGHTS], [b.copy() for b in BIASES]
    if bias:
        biases[k][1] += by
    else:
        weights[k][1, 2] += by
    return Network.from_arrays(weights, biases)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("k", "name"), [(0, "z0"), (1, "z1"), (2, "y")])
def test_a_changed_weight_is_found_in_its_own_tensor(path, k, name, bias):
    with pytest.raises(InputError, match=f"tensor '{name}' .affine map {k}. entry 1 is"):
        replay(changed(k, bias), path)


def test_swapped_rows_another_slope_and_other_shapes_are_found(path):
    weights = [WEIGHTS[0][::-1], *WEIGHTS[1:]]
    with pytest.raises(InputError, match="tensor 'z0'"):
        replay(Network.from_arrays(weights, BIASES), path)
    with pytest.raises(InputError, match="tensor 'a0'"):
        replay(Network.from_arrays(WEIGHTS, BIASES, slope=0.01), path)
    with pytest.raises(InputError, match="does not have the layers"):
        replay(Network.from_arrays(WEIGHTS[:2], BIASES[:2]), path)
    with pytest.raises(InputError, match="does not have the outputs"):
        replay(
            Network.from_arrays([*WEIGHTS[:2], WEIGHTS[2][:2]], [*BIASES[:2], BIASES[2][:2]]), path
        )


def test_the_bound_is_sharp_enough_for_one_float32_step_of_a_bias(path):
    # A bias changed by 1e-4 of the pre-activations' size is not rounding at the origin.
    with pytest.raises(InputError, match="tensor 'z0'"):
        replay(changed(0, bias=True, by=1e-5), path, np.zeros((1, 6)))


def test_points_of_the_caller_and_points_that_overflow(path):
    net = load(path, replay=False)
    assert replay(net, path, np.ones((3, 6))).points == 3
    assert replay(net, path, [np.ones(6), np.full(6, 1e38)]).points == 1
    assert replay(net, path, [np.ones(6), np.full(6, 1e300)]).points == 1
    with pytest.raises(NotReplayed, match="no replay point"):
        replay(net, path, np.full((1, 6), 1e300))
    with pytest.raises(InputError, match="NaN"):
        replay(net, path, np.full((1, 6), np.nan))


def test_float16_is_read_and_replayed_where_onnxruntime_can(tmp_path):
    path = write(tmp_path / "m.onnx", 10)
    net = load(path, replay=False)
    try:
        assert replay(net, path).worst <= 1
    except NotReplayed:
        with pytest.warns(UserWarning, match="was not replayed"):
            assert load(path) == net


def test_a_file_is_replayed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "m.onnx")
    net = load(path, replay=False)
    assert isinstance(replay_once(net, path), Replay)
    assert os.path.isdir(cache_folder())
    assert replay_once(net, path) is None
    monkeypatch.setattr(module, "onnx_runner", lambda *a: pytest.fail("replayed again"))
    assert load(path) == net
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Another network is not excused by the file's marker, nor another file by the network's.
    with pytest.raises(InputError, match="tensor 'z1'"):
        replay_once(changed(1), path)
    assert isinstance(replay_once(load(write(Path(path), slope=0.5), replay=False), path), Replay)


def test_a_failed_replay_is_not_remembered(tmp_path):
    path = write(tmp_path / "m.onnx")
    for _ in range(2):
        with pytest.raises(InputError, match="the import is wrong"):
            replay_once(changed(2), path)


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "m.onnx")
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    for folder in (str(blocker), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(path).widths == (20, 20)
    assert not os.path.exists("relative")


def test_a_missing_onnxruntime_is_a_warning_on_load_and_an_error_when_asked(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(UserWarning, match="onnxruntime is needed for replaying ONNX files"):
        net = load(path)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        replay(net, path)


def test_platform_folders(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().endswith("plverify")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Caches" in cache_folder()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "C:\\cache")
    assert cache_folder().startswith("C:\\cache")
