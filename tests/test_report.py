"""``plverify report``: one page that needs nothing from elsewhere, and says what the rows say."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tools import write_net

import plverify as pv
from plverify.report.page import image_shape, write_report

pytest.importorskip("jinja2")


class Page(html.parser.HTMLParser):
    """Elements by tag, and whether they nest."""

    VOID = ("meta", "img", "br", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        found = [attrs for name, attrs in self.tags if name == tag]
        return [a for a in found if kind in (a.get("class") or "").split()] if kind else found


def results(folder: Path, inputs: int, **options: Any) -> tuple[str, pv.Certification]:
    """A file of results about points of a random network."""
    model = write_net(folder / "net.npz", [inputs, 8, 8, 3])
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (6, inputs)).astype(np.float32)
    y = pv.load(model)(X).argmax(axis=1)
    y[5] = (y[5] + 1) % 3
    np.savez(folder / "data.npz", X=X, y=y)
    out = str(folder / "r.jsonl")
    names = {"model": model, "data": str(folder / "data.npz")}
    options = {"eps": "0.1", "domain": pv.Box(0, 1, inputs), "radius": True} | options
    return out, pv.certify(model, X, y, out=out, names=names, **options)


def shown(path: Path) -> tuple[Page, str]:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", text), "nothing is fetched"
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    return Page(text), text


def test_the_plane_of_two_inputs(cli: Any, tmp_path: Path) -> None:
    out, found = results(tmp_path, 2)
    page = tmp_path / "r.html"
    code, text, err = cli("report", out, "-o", page)
    assert (code, err) == (0, "")
    assert "wrote" in text
    tree, text = shown(page)
    net = pv.load(tmp_path / "net.npz")
    rs = pv.regions(net, pv.Box(0, 1, 2))
    assert len(tree.all("polygon", "region")) == rs.count
    assert len(tree.all("circle")) == 6
    known = [row for row in found.rows if row.correct and row.lower > 0]
    assert len(tree.all("polygon", "ball")) == len([r for r in known if np.isfinite(r.lower)])
    [plane] = tree.all("div", "plane")
    texts = json.loads(plane["data-texts"] or "")
    patterns = {"".join(str(int(v)) for v in region.pattern) for region in rs}
    assert {entry[0].replace("|", "") for entry in texts} == patterns
    rows = [attrs for tag, attrs in tree.tags if tag == "tr" and "data-point" in attrs]
    assert [row["data-point"] for row in rows] == [str(k) for k in range(6)]
    assert "wrong" in (rows[5].get("class") or "")
    for row in found.rows:
        assert f"{row.upper:.8g}" in text or np.isinf(row.upper)
    assert f"{100 * found.certified:.1f} %" in text
    assert "<script>" in text


def test_images_and_a_plane_through_a_point(cli: Any, tmp_path: Path) -> None:
    out, found = results(tmp_path, 64, eps="0.01", radius=False, timeout=20)
    broken = [row.index for row in found.rows if row.adversarial is not None and row.correct]
    page = tmp_path / "r.html"
    code, _, err = cli("report", out, "-o", page, *([] if not broken else ["--point", broken[0]]))
    assert (code, err) == (0, "")
    tree, _ = shown(page)
    assert len(tree.all("img")) == 3 * len(broken)
    assert len(tree.all("div", "plane")) == bool(broken)
    code, _, _ = cli("report", out, "-o", page, "--image", "4,16")
    assert code == 0
    for words, named in (
        (["--image", "4,4"], "64 pixels"),
        (["--image", "a"], "--image"),
        (["--point", "77"], "no row"),
        (["--point", "x"], "--point"),
        (["--point", "5"], "boundary"),
        (["--model", "missing.npz"], "no such file"),
        (["--data", tmp_path / "net.npz"], "no array"),
        (["-o", tmp_path / "r.pdf"], "name must end"),
    ):
        code, _, err = cli("report", out, *(["-o", page] if "-o" not in words else []), *words)
        assert (code, err.count("\n")) == (2, 1), words
        assert named in err


def test_other_models_and_data_are_refused(cli: Any, tmp_path: Path) -> None:
    out, _ = results(tmp_path, 2, radius=False)
    page = tmp_path / "r.html"
    other = write_net(tmp_path / "other.npz", [2, 8, 8, 3], 1)
    np.savez(tmp_path / "more.npz", X=np.zeros((6, 2)))
    for words, named in (
        (["--model", other], "not the network"),
        (["--data", tmp_path / "more.npz"], "not hold the points"),
    ):
        code, _, err = cli("report", out, "-o", page, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert named in err
    (tmp_path / "data.npz").unlink()
    code, _, err = cli("report", out, "-o", page)
    assert code == 0
    assert "--data" in err
    tree, _ = shown(page)
    assert not tree.all("div", "plane")
    assert len([a for t, a in tree.tags if t == "tr" and "data-point" in a]) == 6
    (tmp_path / "empty.jsonl").write_text("")
    assert cli("report", tmp_path / "empty.jsonl", "-o", page)[0] == 2
    assert cli("report", tmp_path / "net.npz", "-o", page)[0] == 2


def test_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "<b>").mkdir()
    out, _ = results(tmp_path / "<b>", 2, radius=False)
    write_report(out, tmp_path / "r.html")
    assert "<b>/" not in (tmp_path / "r.html").read_text()


def test_what_looks_like_an_image() -> None:
    assert image_shape(784, (1, 784)) == (28, 28, 1)
    assert image_shape(784, (1, 1, 28, 28)) == (28, 28, 1)
    assert image_shape(60, (1, 1, 6, 10)) == (6, 10, 1)
    assert image_shape(16, (1, 16)) is None
    assert image_shape(50, (1, 50)) is None
