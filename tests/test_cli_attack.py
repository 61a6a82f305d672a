"""``plverify attack``: answers, files, bad input."""

import json
from fractions import Fraction

import numpy as np
import pytest
from tools import write_net

import plverify as pv


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((5, 4)).astype(np.float32)
    model = write_net(tmp_path / "net.npz", [4, 8, 3])
    y = np.argmax(pv.load(model)(x), axis=1)
    np.savez(tmp_path / "data.npz", x=x.reshape(5, 2, 2), y=y)
    np.savez(tmp_path / "plain.npz", x=x)
    return tmp_path, model, x, y


@pytest.mark.parametrize("data", ["data.npz", "plain.npz"])
def test_results_are_those_of_the_function(cli, files, data):
    folder, model, x, y = files
    out = folder / "out.npz"
    code, text, _ = cli(
        "attack", model, "--data", folder / data, "--box", "0,1", "--norm", "l2",
        "--json", "--out", out,
    )  # fmt: skip
    assert code == 0
    answer = json.loads(text)
    want = pv.attack(pv.load(model), x, norm="l2", domain=pv.Box(0, 1, 4), label=y.tolist())
    assert [pv.Adversarial.from_dict(point) for point in answer["points"]] == want
    with np.load(out) as arrays:
        assert arrays["upper"].tolist() == [at.upper for at in want]
        assert arrays["label"].tolist() == y.tolist()
        for row, at in zip(arrays["adversarial"].tolist(), want, strict=True):
            assert tuple(row) == at.adversarial if at.found else np.isnan(row).all()


def test_text_and_radius(cli, files):
    folder, model, *_ = files
    code, text, _ = cli("attack", model, "--data", folder / "data.npz", "--method", "deepfool")
    assert code == 0
    assert text.startswith("found     5 of 5 points")
    code, text, _ = cli("attack", model, "--data", folder / "data.npz", "--eps", "1e-9")
    assert code == 0
    assert text.startswith("found  0 of 5 points")


def test_the_radius_is_exact(cli, tmp_path):
    np.savez(tmp_path / "net.npz", W0=[[1.0], [-1.0]], b0=[0.0, 0.0])
    np.savez(tmp_path / "data.npz", x=[[0.5]])
    for eps, count in (("1/2", 1), ("0.49", 0)):
        _, text, _ = cli(
            "attack", tmp_path / "net.npz", "--data", tmp_path / "data.npz", "--eps", eps, "--json"
        )
        answer = json.loads(text)
        assert Fraction(answer["eps"]) == Fraction(eps)
        assert sum(point["found"] for point in answer["points"]) == count


def test_bad_input_is_one_line(cli, files):
    folder, model, x, y = files
    np.savez(folder / "wide.npz", x=np.zeros((2, 5)))
    np.savez(folder / "labels.npz", x=x, y=y + 3)
    np.savez(folder / "few.npz", x=x, y=y[:2])
    np.savez(folder / "other.npz", z=x)
    np.savez(folder / "nan.npz", x=x * np.nan)
    np.savez(folder / "text.npz", x=np.array([["a"]]))
    (folder / "broken.npz").write_bytes(b"PK")
    data = ["--data", folder / "data.npz"]
    for arguments, says in (
        (["--data", folder / "none.npz"], "no such file"),
        (["--data", folder / "broken.npz"], "npz archive"),
        (["--data", folder / "other.npz"], "no array 'x or X'"),
        (["--data", folder / "wide.npz"], "5 numbers per point"),
        (["--data", folder / "labels.npz"], "a label is"),
        (["--data", folder / "few.npz"], "y has shape"),
        (["--data", folder / "nan.npz"], "NaN"),
        (["--data", folder / "text.npz"], "x has shape"),
        ([], "--data"),
        ([*data, "--method", "newton"], "method is 'newton'"),
        ([*data, "--norm", "l3"], "norm is 'l3'"),
        ([*data, "--eps", "-1"], "cannot be negative"),
        ([*data, "--eps", "x"], "--eps"),
        ([*data, "--target", "3"], "target is 3"),
        ([*data, "--box", "1,0"], "--box"),
        ([*data, "--out", folder / "a.txt"], ".npz"),
    ):
        code, out, err = cli("attack", model, *arguments)
        assert code == 2
        assert out == ""
        assert says in err
        assert err.count("\n") == 1
