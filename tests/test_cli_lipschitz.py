"""``plverify lipschitz``: the interval, its proof, the layers' table, all methods side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tools import write_net

import plverify as pv
from plverify import gain
from plverify.report.gain_plots import plot_constants, plot_layer_norms


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_net(tmp_path / "net.npz", [2, 6, 5, 3])


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_json_is_what_python_gives_and_the_proof_is_accepted(
    cli: Any, model: str, tmp_path: Path, norm: str
) -> None:
    proof = str(tmp_path / "steep.proof")
    asked = ("lipschitz", model, "--box", "-1,1", "--norm", norm, "--output", "2")
    code, text, _ = cli(*asked, "--proof", proof, "--json")
    answer = json.loads(text)
    found = pv.lipschitz(model, pv.Box(-1, 1, 2), norm, output=2)
    assert code == 0
    assert (answer["lower"], answer["upper"]) == (found.lower, found.upper)
    assert (answer["status"], answer["proof"]) == ("complete", proof)
    assert cli("check", proof, model)[0] == 0
    code, text, _ = cli(*asked, "--proof", proof)
    assert code == 0
    assert "(exact)" in text
    assert f"{proof} (of at most " in text


def test_methods_side_by_side(cli: Any, model: str, tmp_path: Path) -> None:
    plot = tmp_path / "constants.png"
    code, text, _ = cli("lipschitz", model, "--box", "-1,1", "--compare", "--plot", plot, "--json")
    assert code == 0
    answer = json.loads(text)
    uppers = {one["method"]: one["upper"] for one in answer["constants"]}
    assert list(uppers) == ["product", "eclipse", "lipsdp-layer", "lipsdp", "exact"]
    assert answer["sampled"] <= uppers["exact"] <= uppers["lipsdp"] <= uppers["product"]
    assert uppers["lipsdp"] <= uppers["lipsdp-layer"] * (1 + 1e-6)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert list(gain.compare(model, pv.Box(-1, 1, 2), "linf")) == ["product", "exact"]


def test_the_table_of_layers(cli: Any, model: str, tmp_path: Path) -> None:
    plot = tmp_path / "layers.svg"
    code, text, _ = cli("lipschitz", model, "--per-layer", "--plot", plot)
    assert code == 0
    assert [line.split()[1] for line in text.splitlines()[1:6]] == [
        "dense", "units", "dense", "units", "dense",
    ]  # fmt: skip
    assert "<svg" in plot.read_text()
    code, text, _ = cli("lipschitz", model, "--per-layer", "--json")
    rows = pv.layer_norms(pv.load(model))
    assert [entry["l2"] for entry in json.loads(text)["layers"]] == [list(row.l2) for row in rows]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--norm", "l3"), "norm"),
        (("--method", "guess"), "method"),
        (("--output", "9"), "output is 9"),
        (("--box", "0,0"), "interior"),
        (("--plot", "x.png"), "--per-layer or --compare"),
        (("--per-layer", "--compare"), "together"),
        (("--compare", "--proof", "x.proof"), "--proof"),
        (("--method", "lipsdp", "--norm", "l1"), "l2"),
    ],
)
def test_bad_options_get_one_line(cli: Any, model: str, more: tuple[str, ...], words: str) -> None:
    code, out, err = cli("lipschitz", model, *more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_plots_need_something_to_draw(tmp_path: Path) -> None:
    with pytest.raises(pv.InputError, match="no layers"):
        plot_layer_norms([], tmp_path / "x.png")
    with pytest.raises(pv.InputError, match="no bounds"):
        plot_constants({}, tmp_path / "x.png")
