"""Pictures: every kind of file and domain, what is drawn where, and what is refused."""

import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

import plverify as pv
from plverify.report import palette, plots
from plverify.report.plots import COLORS, plot_regions

pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import imread


def random_net(sizes, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(sizes)]
    return pv.Network.from_arrays(weights, [0.4 * rng.standard_normal(n) for n in sizes[1:]])


@pytest.fixture(scope="module")
def net():
    return random_net([2, 8, 8, 3])


@pytest.fixture(scope="module")
def square(net):
    return pv.regions(net, pv.Box(-1, 1, 2))


def axes_of(regions, *arguments, **options):
    axes = Figure().add_subplot()
    plot_regions(regions, axes, *arguments, **options)
    return axes


def colors_in(path):
    """The number of different colours, rounded to 5 bits, that cover at least 20 pixels."""
    pixels = (imread(path)[..., :3].reshape(-1, 3) * 31).round().astype(int)
    return int((np.unique(pixels, axis=0, return_counts=True)[1] >= 20).sum())


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


# ------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("color", COLORS)
def test_png_has_content_in_every_coloring(square, tmp_path, color):
    path = tmp_path / "a.png"
    plot_regions(square, path, color, dpi=80)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert colors_in(path) > 8
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89")]
)
def test_kind_of_file_follows_the_suffix(square, tmp_path, suffix, magic):
    path = tmp_path / f"a{suffix}"
    plot_regions(square, str(path), dpi=60)
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 5000


def test_the_same_regions_give_the_same_vector_file(square, tmp_path):
    for name in ("a.pdf", "b.pdf"):
        plot_regions(square, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys, plverify as pv\n"
        "from plverify.report.plots import plot_regions\n"
        "net = pv.Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])\n"
        f"plot_regions(pv.regions(net, pv.Box(-1, 1, 2)), {str(tmp_path / 'a.png')!r}, dpi=40)\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------- what is drawn


def test_every_region_is_one_polygon_and_every_facet_one_segment(square):
    axes = axes_of(square, boundary=False)
    polygons = [p for c in axes.collections if isinstance(c, PolyCollection) for p in c.get_paths()]
    assert len(polygons) == square.count
    segments = sum(
        len(path.vertices) // 2
        for c in axes.collections
        if isinstance(c, PathCollection)
        for path in c.get_paths()
    )
    inner = int((square.line_layer >= 0).sum())
    assert inner % 2 == 0
    assert segments == inner // 2 + int((square.line_layer == -1).sum())


def test_class_colors_are_those_of_the_largest_output():
    net = pv.Network.from_arrays([[[1, 0], [0, 1]], [[1, 0], [0, 1]]], [[5, 5], [0, 0]])
    axes = axes_of(pv.regions(net, pv.Box(-1, 1, 2)), "class")
    for collection in axes.collections:
        if isinstance(collection, PolyCollection):
            for path, face in zip(
                collection.get_paths(), collection.get_facecolors(), strict=False
            ):
                x, y = path.vertices[:-1].mean(axis=0)
                expected = palette.class_shades(0 if x > y else 1)
                assert np.abs(face[:3] - expected).max() < 0.1
    assert legend_of(axes) == ["class 0", "class 1", "decision boundary"]


def test_boundary_is_the_exact_one(square, net):
    axes = axes_of(square, "class")
    drawn = [c for c in axes.collections if isinstance(c, LineCollection)][-1].get_segments()
    exact = pv.decision_boundary(net, pv.Box(-1, 1, 2)).polylines
    assert len(exact) > 0
    assert len(drawn) == len(exact)
    for a, b in zip(drawn, exact, strict=True):
        np.testing.assert_array_equal(a, b)
    values = np.sort(net(np.concatenate(exact)), axis=1)
    np.testing.assert_allclose(values[:, -1], values[:, -2], atol=1e-9)
    assert "decision boundary" not in str(axes_of(square, "map", boundary=False).get_legend())


def test_one_output_is_classified_by_its_sign():
    net = random_net([2, 6, 6, 1], 3)
    axes = axes_of(pv.regions(net, pv.Box(-1, 1, 2)), "class")
    assert legend_of(axes) == ["output <= 0", "output > 0", "output = 0"]


def test_layer_shows_the_lines_of_its_units(square):
    axes = axes_of(square, layer=1)
    units = np.unique(square.line_unit[square.line_layer == 1])
    assert [t for t in legend_of(axes) if t.startswith("unit")] == [f"unit {u}" for u in units]
    assert "other layers" in legend_of(axes)
    assert [t for t in legend_of(axes_of(square, "layer")) if t.startswith("layer")] == [
        "layer 0: 8 units",
        "layer 1: 8 units",
    ]


def test_equal_affine_maps_have_equal_colors():
    net = pv.Network.from_arrays(
        [[[1, 0], [-1, 0], [0, 1]], [[1, -1, 0]]]
    )  # relu(x) - relu(-x) = x
    rs = pv.regions(net, pv.Box(-1, 1, 2))
    assert (rs.count, rs.linear_count) == (4, 1)
    assert len(np.unique(palette.map_colors(rs), axis=0)) == 1
    assert len(np.unique(palette.random_colors(rs.linear_labels), axis=0)) == 1


def test_caption_states_the_exact_counts(square):
    text = plots.caption_of(square)
    assert text == f"{square.count:,} activation regions · {square.linear_count:,} linear regions"
    net = pv.Network.from_arrays([[[1]], [[1]]])
    assert plots.caption_of(pv.regions(net, pv.Box(-1, 1, 1))).endswith("2 linear regions · 1 knot")


def test_huge_weights_are_drawn_too(tmp_path):
    net = pv.Network.from_arrays([[[1e200, 0], [0, 1e200]], [[1e200, 1], [1, 1]]])
    for color in ("map", "class", "norm"):
        plot_regions(pv.regions(net, pv.Box(-1, 1, 2)), tmp_path / "a.png", color, dpi=40)
        line = pv.Slice([0, 0], [[1], [-1]], pv.Box(-1, 1, 1))
        plot_regions(pv.regions(net, line), tmp_path / "b.png", color, dpi=40)
    assert colors_in(tmp_path / "a.png") >= 2


def test_network_without_units(tmp_path):
    rs = pv.regions(pv.Network.from_arrays([[[1, 2], [2, 1]]]), pv.Box(-1, 1, 2))
    for color in ("map", "norm"):
        plot_regions(rs, tmp_path / "a.png", color, dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 1000


# --------------------------------------------------------------------------- unbounded domains


def cover(axes, frame, count=400):
    """Share of random points of the frame that lie in some polygon."""
    rng = np.random.default_rng(0)
    points = rng.uniform([frame[0], frame[2]], [frame[1], frame[3]], (count, 2))
    held = np.zeros(count, int)
    for collection in axes.collections:
        if isinstance(collection, PolyCollection):
            for path in collection.get_paths():
                held += path.contains_points(points)
    assert held.max() <= 1
    return held.mean()


@pytest.mark.parametrize(
    "domain",
    [
        pv.Space(2),
        pv.Box([-np.inf, -1], [1, 1]),
        pv.Box([0, 0], [np.inf, np.inf]),
        pv.Polytope([[1, 1]], [1]),
    ],
    ids=lambda d: d.describe(),
)
@pytest.mark.parametrize("frame", [None, (-30, 30, -30, 30)])
def test_unbounded_regions_fill_the_frame(net, domain, frame):
    axes = axes_of(pv.regions(net, domain), boundary=False, frame=frame)
    shown = (*axes.get_xlim(), *axes.get_ylim())
    if frame is not None:
        assert shown == frame
    rng = np.random.default_rng(1)
    points = rng.uniform([shown[0], shown[2]], [shown[1], shown[3]], (400, 2))
    expected = np.mean([domain.contains(p) for p in points])
    assert abs(cover(axes, shown) - expected) < 0.08


def test_parallel_lines_without_any_vertex():
    net = pv.Network.from_arrays([[[1, 1], [1, 1], [2, 2]], [[1, 2, -3]]], [[0, 1, -5], [0]])
    rs = pv.regions(net, pv.Space(2))
    assert rs.count == 4
    axes = axes_of(rs, "random")
    frame = (*axes.get_xlim(), *axes.get_ylim())
    assert cover(axes, frame) > 0.98
    colors = [c.get_facecolors() for c in axes.collections if isinstance(c, PolyCollection)]
    assert sum(map(len, colors)) == 4
    for offset in (0, -1, 2.5):  # every line x + y = offset crosses the frame
        assert frame[0] + frame[2] < offset < frame[1] + frame[3]


def test_slices_have_their_own_coordinates(net):
    plane = pv.Slice([0, 0], [[1, 1], [1, -1]], pv.Box(0, 1, 2))
    axes = axes_of(pv.regions(net, plane))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("t0", "t1")
    assert axes.get_xlim() == (0, 1)


# ------------------------------------------------------------------------------------ on a line


def test_graph_and_knots_seen_and_unseen():
    weights = [[[1.0]] * 5, [[1.0, -2.0, 2.0, -2.0, 0.0]]]
    net = pv.Network.from_arrays(weights, [[0.6, 0.2, -0.2, -0.6, -0.4], [0.0]])
    axes = axes_of(pv.regions(net, pv.Box(-1, 1, 1)))
    assert legend_of(axes) == ["4 knots, seen in the output", "1 knot, pattern only"]
    graph, unseen = axes.lines[0].get_xydata(), axes.lines[-1].get_xydata()
    np.testing.assert_allclose(net(graph[:, :1])[:, 0], graph[:, 1], atol=1e-12)
    np.testing.assert_allclose(unseen[:, 0], [0.4])
    np.testing.assert_allclose(
        axes.collections[0].get_offsets()[:, 0], [-0.6, -0.2, 0.2, 0.6], atol=1e-15
    )


@pytest.mark.parametrize(
    ("color", "domain"),
    [("map", pv.Box(-1, 1, 1)), ("class", pv.Space(1)), ("norm", pv.Box([0], [np.inf]))],
)
def test_lines_are_written(tmp_path, color, domain):
    plot_regions(pv.regions(random_net([1, 6, 6, 3], 2), domain), tmp_path / "a.png", color, dpi=60)
    assert colors_in(tmp_path / "a.png") >= 3


def test_classes_on_a_line_change_where_outputs_cross():
    net = pv.Network.from_arrays([[[1], [-1]], [[1, 0], [0, 1]]], [[2, 2], [0, 0]])
    axes = axes_of(pv.regions(net, pv.Box(-1, 1, 1)), "class")
    bands = sorted((p.get_x(), p.get_x() + p.get_width()) for p in axes.patches)
    np.testing.assert_allclose(bands, [(-1, 0), (0, 1)], atol=1e-12)
    assert "class changes" in legend_of(axes)


def test_knots_of_one_layer():
    rs = pv.regions(random_net([1, 6, 6, 1], 2), pv.Space(1))
    of_layer = [int((rs.line_layer[1::2] == k).sum()) for k in (0, 1)]
    for k in (0, 1):
        assert legend_of(axes_of(rs, layer=k))[0].startswith(f"{of_layer[k]} knot")


# --------------------------------------------------------------------------- incomplete and big


def test_incomplete_list_is_marked(tmp_path):
    rs = pv.regions(random_net([2, 300, 300, 300, 3]), pv.Box(-1, 1, 2), timeout=0.2)
    if rs.complete or rs.count == 0:
        pytest.skip("this machine was too fast or too slow")
    assert "incomplete: timeout" in plots.caption_of(rs)
    axes_of(rs, "map", boundary=False)


@pytest.mark.slow
def test_eighty_thousand_regions_take_seconds(tmp_path):
    rs = pv.regions(random_net([2, 160, 160, 160, 3]), pv.Box(-1, 1, 2))
    assert rs.count > 50_000
    start = time.process_time()
    plot_regions(rs, tmp_path / "a.png")
    assert time.process_time() - start < 15
    plot_regions(rs, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 20e6


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.png.txt"])
def test_other_suffixes_are_refused(square, tmp_path, name):
    with pytest.raises(pv.InputError, match=r"must end in \.png, \.svg, \.pdf"):
        plot_regions(square, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"color": "red"}, "color is 'red'"),
        ({"layer": 2}, "layer is 2"),
        ({"layer": -1}, "layer is -1"),
        ({"frame": (0, 1)}, "frame"),
        ({"frame": (0, 1, 0, np.nan)}, "frame"),
        ({"frame": (1, 0, 0, 1)}, "frame"),
    ],
)
def test_bad_options_are_named(square, tmp_path, options, named):
    with pytest.raises(pv.InputError, match=named):
        plot_regions(square, tmp_path / "a.png", **options)


def test_target_must_be_a_path_or_axes(square):
    with pytest.raises(pv.InputError, match="target is a int"):
        plot_regions(square, 3)


def test_unwritable_file_is_one_line(square, tmp_path):
    with pytest.raises(pv.InputError, match="cannot write") as caught:
        plot_regions(square, tmp_path / "no" / "a.png", dpi=40)
    assert "\n" not in str(caught.value)


def test_missing_matplotlib_names_the_extra(square, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(pv.MissingExtra, match=r"pip install 'plverify\[plot\]'"):
        plot_regions(square, tmp_path / "a.png")
