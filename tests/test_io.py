"""Readers take every tensor exactly, and bad files are one clear line, never a crash.

Here npz, nnet and scikit-learn, and the files of the data folder; ONNX is in `test_io_onnx`.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.io import arrays
from plverify.network import Network, load
from plverify.replay import default_points, replay

DATA = Path(__file__).parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)


def data(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def exact(array):
    return ExactArray(np.asarray(array, np.float64)).fractions()


# ---------------------------------------------------------------------------------------------- npz


def write_npz(path, **entries):
    np.savez(path, **entries)
    return path


def test_npz_layouts(tmp_path):
    w0, b0, w1, b1 = f32(4, 3), f32(4), f32(2, 4), f32(2)
    net = Network.from_arrays([w0, w1], [b0, b1])
    plain = write_npz(tmp_path / "a.npz", W0=w0, b0=b0, W1=w1, b1=b1, lo=[-1], data=np.ones(3))
    assert load(plain) == net
    torch = {"0.weight": w0, "0.bias": b0, "2.weight": w1, "2.bias": b1}
    assert load(write_npz(tmp_path / "b.npz", **torch)) == net
    prefixed = {f"net.{key}": value for key, value in torch.items()}
    assert load(write_npz(tmp_path / "c.npz", **prefixed)) == net
    del torch["2.bias"]
    assert load(write_npz(tmp_path / "d.npz", **torch)) == Network.from_arrays([w0, w1], [b0, None])
    leaky = write_npz(tmp_path / "e.npz", W0=w0, b0=b0, W1=w1, b1=b1, slope=np.float32(0.01))
    assert load(leaky) == Network.from_arrays([w0, w1], [b0, b1], np.float32(0.01))
    np.savez_compressed(tmp_path / "f.npz", W0=np.asfortranarray(w0), b0=b0, W1=w1, b1=b1)
    assert load(tmp_path / "f.npz") == net
    ten = {f"{2 * k}.weight": np.eye(1) * (k + 1) for k in range(11)}
    assert load(write_npz(tmp_path / "g.npz", **ten)).exact([1])[0] == 39916800


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"a": np.ones(2)}, "it holds a"),
        ({}, "it holds nothing"),
        ({"W0": np.ones((2, 2))}, "b0 is missing"),
        (
            {"W0": np.ones((2, 2)), "b0": np.ones(2), "W2": np.ones((2, 2)), "b2": [0]},
            "W1 is missing",
        ),
        ({"W0": np.ones((2, 2)), "b0": np.ones(3)}, r"b0 has shape \(3,\)"),
        ({"W0": np.ones((2, 2)) * np.nan, "b0": np.ones(2)}, r"W0\[0, 0\] is NaN"),
        ({"0.weight": np.array([[1.0, np.inf]])}, r"0.weight\[0, 1\] is infinite"),
        ({"0.weight": np.ones((2, 2, 3, 3))}, "0.weight has shape"),
        ({"W0": np.array([[None]]), "b0": np.ones(1)}, "element type object"),
        ({"W0": np.array([["a"]]), "b0": np.ones(1)}, "element type"),
        ({"W0": np.ones((1, 1), complex), "b0": np.ones(1)}, "element type complex128"),
        ({"a.0.weight": np.ones((1, 1)), "b.2.weight": np.ones((1, 1))}, "several modules"),
        ({"W0": np.ones((1, 1)), "b0": np.ones(1), "slope": np.ones(3)}, "slope has 3"),
    ],
)
def test_unusable_npz_files(tmp_path, entries, text):
    with pytest.raises(InputError, match=text):
        load(write_npz(tmp_path / "a.npz", **entries))


def npy(header, body=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
            "do not hold",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}"), "shape"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", bytes(15)),
            "do not hold",
        ),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}", bytes(8)),
            "element type object",
        ),
        (npy("{'shape': "), "no usable npy header"),
        (b"\x93NUMPY\x09\x00", "npy"),
        (b"", "npy header"),
        (b"rubbish", "npy header"),
    ],
)
def test_npy_members_that_lie_about_themselves(tmp_path, member, text):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W0.npy", member)
        buffer = io.BytesIO()
        np.save(buffer, np.ones(2))
        archive.writestr("b0.npy", buffer.getvalue())
    with pytest.raises(InputError, match=text):
        load(path)


def test_npz_bombs_and_damage(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, W0=np.zeros((500, 500)), b0=np.zeros(500))
    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    with pytest.raises(InputError, match="more than 10000"):
        load(path)
    monkeypatch.undo()
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="not a usable npz"):
            load(path)
    broken = bytearray(whole)
    broken[120] ^= 255
    path.write_bytes(bytes(broken))
    with pytest.raises(InputError):
        load(path)


# --------------------------------------------------------------------------------------------- nnet

NNET = """// a comment
2,2,1,3,
2,3,1,
0,
-1,-1,
1,1,
0.5,0.25,10.0,
2.0,4.0,3.0,
1,2,
-1,0.1,
0,1e-3,
0.5,
-1,
0,
1,1,-1,
0.1,
"""


def test_nnet_normalisation_is_folded_exactly(tmp_path):
    path = tmp_path / "a.nnet"
    path.write_text(NNET)
    net = load(path)
    x = [Fraction(1, 3), Fraction(2)]
    a = [(x[0] - Fraction(1, 2)) / 2, (x[1] - Fraction(1, 4)) / 4]
    rows = [[1, 2], [-1, Fraction(0.1)], [0, Fraction(1e-3)]]
    bias = [Fraction(1, 2), -1, 0]
    hidden = [max(0, r[0] * a[0] + r[1] * a[1] + c) for r, c in zip(rows, bias, strict=True)]
    y = hidden[0] + hidden[1] - hidden[2] + Fraction(0.1)
    assert net.exact(x) == [3 * y + 10]
    assert any("clipped" in text for text in net.definitions)
    assert load(net).definitions == net.definitions


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("2,2,1,3,", "two,2,1,3,", "line 2: the header is not a list of integers"),
        ("2,2,1,3,", "0,2,1,3,", "0 layers"),
        ("2,2,1,3,", "2,2", "has 2 entries"),
        ("2,3,1,", "2,3,2,", "do not fit the header"),
        ("2,3,1,", "2,300000000000,1,", "truncated|entries"),
        ("2,2,1,3,", "999999999,2,1,3,", "has 3 entries"),
        ("2.0,4.0,3.0,", "2.0,0.0,3.0,", "range 1 is 0"),
        ("2.0,4.0,3.0,", "2.0,4.0,", "the ranges has 2 entries"),
        ("1,2,\n", "1,2,3,\n", "row 0 of weights 0 has 3 entries"),
        ("1e-3", "nan", "holds nan"),
        ("1e-3", "inf", "holds inf"),
        ("1e-3", "x", "holds 'x'"),
        ("0.1,\n", "", "truncated|entries"),
        ("//", "\x80", "not a .nnet text file"),
    ],
)
def test_unusable_nnet_files_name_the_line(tmp_path, old, new, text):
    path = tmp_path / "a.nnet"
    path.write_bytes(NNET.replace(old, new, 1).encode("latin-1"))
    with pytest.raises(InputError, match=text):
        load(path)


def test_every_truncation_of_an_nnet_file_is_refused(tmp_path):
    path = tmp_path / "a.nnet"
    lines = NNET.splitlines(keepends=True)
    for k in range(len(lines)):
        path.write_text("".join(lines[:k]))
        with pytest.raises(InputError, match="truncated"):
            load(path)


# ------------------------------------------------------------------------------------------ sklearn


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_scikit_learn_models_agree_with_their_own_outputs(activation, classes):
    neural = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4))
    y = x[:, 0] + x[:, 1] ** 2 if not classes else np.arange(60) % classes
    kind = neural.MLPClassifier if classes else neural.MLPRegressor
    mlp = kind(hidden_layer_sizes=(7, 5), activation=activation, max_iter=30, random_state=0).fit(
        x, y
    )
    net = load(mlp)
    assert net.widths == ((7, 5) if activation == "relu" else ())
    if not classes:
        assert np.allclose(net(x)[:, 0], mlp.predict(x))
        assert net.definitions == ()
    elif classes == 2:
        assert net.output_size == 1
        assert np.allclose(1 / (1 + np.exp(-net(x)[:, 0])), mlp.predict_proba(x)[:, 1])
    else:
        logits = np.exp(net(x))
        assert np.allclose(logits / logits.sum(axis=1, keepdims=True), mlp.predict_proba(x))
    value = exact(x[0])
    for k, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        value = value.dot(exact(w)) + exact(b)
        if activation == "relu" and k < 2:
            value = np.maximum(value, 0)
    assert net.exact(x[0]) == list(value)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_other_scikit_learn_models_are_refused_by_name():
    neural = pytest.importorskip("sklearn.neural_network")
    from sklearn.linear_model import LinearRegression

    with pytest.raises(InputError, match="LinearRegression is not supported"):
        load(LinearRegression())
    with pytest.raises(InputError, match="this MLPRegressor is not fitted"):
        load(neural.MLPRegressor())
    x, y = np.zeros((4, 1)), np.arange(4.0)
    mlp = neural.MLPRegressor(activation="tanh", max_iter=1, solver="lbfgs").fit(x, y)
    with pytest.raises(InputError, match="'tanh' is not piecewise linear"):
        load(mlp)


# ------------------------------------------------------------------------------- files of the world


@pytest.mark.parametrize(
    "name", ["mlp_64_32_10", "mlp_64_64_64_10", "mlp_64_128_128_10", "moons_2_32_32_2"]
)
def test_lipadv_npz_and_onnx_agree(name):
    folder = data("lipadv")
    net = load(folder / f"{name}.onnx")
    assert net.digest == load(folder / f"{name}.npz").digest
    with np.load(folder / "points.npz") as points:
        x, y = (points["x20"], points["y20"]) if "64" in name else (points["mx20"], points["my20"])
    assert (net(x).argmax(axis=1) == y).all()
    for row in x[:3]:
        assert tuple(net.pattern(row).astype(int)) == net.exact_net.pattern_at(row.tolist()).bits


def test_acasxu_loads_and_replays():
    files = sorted(data("vnncomp", "acasxu", "onnx").glob("*.onnx.gz"))
    for path in files[:2]:
        net = load(path, replay=False)
        assert net.widths == (50,) * 6
        assert net.input_shape == (1, 1, 1, 5)
        found = replay(net, str(path))
        assert found.points == 16
        assert found.worst < 1


@pytest.mark.slow
def test_every_model_of_the_data_folder_replays_at_a_hundred_points():
    """The largest, which takes a minute for a hundred, at sixteen."""
    refused, count = {}, 0
    for path in sorted(data().rglob("*.onnx*")):
        try:
            net = load(path, replay=False)
        except InputError as error:
            refused[path.name] = str(error)
            continue
        extreme = default_points(net.input_size)
        random = np.random.default_rng(1).uniform(-1, 1, (100, net.input_size))
        points = extreme if net.unit_count > 50_000 else np.concatenate([extreme, random])
        assert replay(net, str(path), points).points == len(points)
        count += 1
    assert count > 180
    for name, reason in refused.items():
        words = ("Sigmoid", "Tanh", "training mode")
        assert any(word in reason for word in words), f"{name}: {reason}"


def test_regions_nets_agree_across_formats():
    for path in sorted(data("regions").glob("mlp_*.onnx")):
        assert load(path, replay=False).digest == load(path.with_suffix(".npz")).digest


# --------------------------------------------------------------------------------------- start-up


def test_optional_packages_are_imported_only_when_needed(tmp_path):
    path = write_npz(tmp_path / "a.npz", W0=np.ones((1, 1)), b0=np.zeros(1))
    code = (
        "import json, sys, plverify.network as n, plverify.domain, plverify.io;"
        f"n.load({str(path)!r}).pattern([1.0]);"
        "names = ['onnx', 'onnxruntime', 'sklearn', 'torch', 'matplotlib'];"
        "print(json.dumps([m for m in names if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []
