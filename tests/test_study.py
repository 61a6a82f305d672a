"""Statistics for studies: counts along paths against brute force, checkpoints, pictures, CLI."""

import itertools
import json
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import plverify as pv
from plverify import reference, theory
from plverify.cli import run
from plverify.question import MAX_DIMENSION
from plverify.study import region_scale, regions_along, training_study


def tables(sizes, seed, kind="floats"):
    """Weights and biases; "small" makes integers, so that kinks meet and units die."""
    rng = np.random.default_rng(seed)
    if kind == "small":
        draw = lambda *shape: rng.integers(-1, 2, shape).astype(float)  # noqa: E731
    else:
        draw = lambda *shape: rng.standard_normal(shape)  # noqa: E731
    return [draw(b, a) for a, b in pairwise(sizes)], [0.5 * draw(b) for b in sizes[1:]]


def polyline(m, n, seed, kind="floats"):
    rng = np.random.default_rng(seed)
    if kind != "small":
        return rng.uniform(-1, 1, (m, n))
    points = [rng.integers(-2, 3, n) / 2]
    while len(points) < m:
        new = rng.integers(-2, 3, n) / 2
        if (new != points[-1]).any():
            points.append(new)
    return np.array(points)


def kinks_inside(net, a, b):
    """Where patterns change between a and b, from exact values alone.

    Starting with the whole segment, a piece on which all earlier units are affine is cut at the
    zero of the next one; values at the ends of a piece decide, by exact interpolation.
    """

    def at(t):
        return [p + t * (q - p) for p, q in zip(a, b, strict=True)]

    cuts = [Fraction(0), Fraction(1)]
    for k in range(sum(net.widths)):
        new = []
        for low, high in pairwise(cuts):
            # a unit is affine on the closed piece, and continuous up to its ends
            v, w = (net.units_at(at(t))[k].value for t in (low, high))
            if v * w < 0:
                new.append(low + (high - low) * v / (v - w))
        cuts = sorted({*cuts, *new})
    patterns = []
    for low, high in pairwise(cuts):
        patterns.append(tuple(unit.bit for unit in net.units_at(at((low + high) / 2))))
    return cuts, patterns


def brute(net, points):
    """Counts per segment, knots of the path and the patterns met, in order."""
    points = [[Fraction(v) for v in point] for point in np.asarray(points).tolist()]
    counts, knots, met = [], [], []
    for i, (a, b) in enumerate(pairwise(points)):
        cuts, patterns = kinks_inside(net, a, b)
        runs = []
        for low, pattern in zip(cuts, patterns, strict=False):
            if not met or pattern != met[-1]:
                if met:
                    knots.append(i + low)
                met.append(pattern)
            if not runs or runs[-1] != pattern:
                runs.append(pattern)
        counts.append(len(runs))
    return counts, knots, met


CASES = [
    *(([2, 4, 3, 1], seed, "floats") for seed in range(4)),
    ([3, 5, 2], 9, "floats"),
    ([1, 4, 4, 1], 5, "floats"),
    *(([2, 4, 3, 2], seed, "small") for seed in range(12)),
    *(([3, 4, 4, 1], seed, "small") for seed in range(6)),
]


@pytest.mark.parametrize(("sizes", "seed", "kind"), CASES)
def test_counts_and_knots_equal_brute_force(sizes, seed, kind):
    weights, biases = tables(sizes, seed, kind)
    net = pv.Network.from_arrays(weights, biases)
    points = polyline(7, sizes[0], seed, kind)
    counts, knots, met = brute(reference.Net(weights, biases), points)
    along = regions_along(net, points)
    assert along.counts.tolist() == counts
    assert list(along.exact) == knots
    assert along.total == along.cumulative[-1] == len(met) == len(knots) + 1
    assert along.distinct == len(set(met))
    assert along.complete
    assert along.segment_complete.all()
    for (layer, unit), (before, after) in zip(along.units, pairwise(met), strict=True):
        flat = sum(sizes[1 : layer + 1]) + unit
        assert before[flat] != after[flat]


@pytest.mark.parametrize("seed", range(3))
def test_segments_equal_knots_of_the_parts(seed):
    net = pv.Network.from_arrays(*tables([5, 12, 12, 2], seed))
    points = polyline(6, 5, seed)
    along = regions_along(net, points, distances=True)
    inside = []
    for i, (a, b) in enumerate(pairwise(points)):
        part = pv.knots(net, pv.segment(a, b))
        assert along.counts[i] == len(part) + 1
        inside += [i + t for t in part.exact]
    assert [s for s in along.exact if s.denominator > 1] == inside
    assert along.knot_counts.sum() == len(along.exact)
    np.testing.assert_allclose(along.lengths, np.linalg.norm(np.diff(points, axis=0), axis=1))
    np.testing.assert_allclose(along.density, along.knot_counts / along.lengths)
    changed = (net.pattern(points)[1:] != net.pattern(points)[:-1]).sum(axis=1)
    assert along.pattern_changes.tolist() == changed.tolist()
    assert list(along.distances) == [pv.boundary_distance(net, x) for x in points]
    for s, place in zip(along.exact, along.positions.tolist(), strict=True):
        assert pv.boundary_distance(net, along.at(s)).exact == 0
        i = int(s)
        here = np.linalg.norm(np.array([float(v) for v in along.at(s)]) - points[i])
        np.testing.assert_allclose(place, along.lengths[:i].sum() + here)


def test_cutting_a_segment_changes_no_total():
    net = pv.Network.from_arrays(*tables([2, 10, 10, 1], 3))
    a, b = np.array([-1.0, -0.5]), np.array([1.0, 0.75])
    whole = regions_along(net, [a, b])
    fine = regions_along(net, [a + k / 8 * (b - a) for k in range(9)])
    assert fine.total == whole.total == whole.counts[0]
    assert fine.distinct == whole.distinct
    assert list(fine.exact) == [8 * s for s in whole.exact]
    assert regions_along(net, [a, b], threads=2).exact == whole.exact


CORNER = pv.Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])  # kinks on the two axes


@pytest.mark.parametrize(
    ("points", "counts", "knots", "distinct"),
    [
        ([[-1, 1], [0, 1], [1, 1]], [1, 1], [1], 2),  # a given point on the kink: one knot
        ([[-1, 1], [0, 1], [-1, 2]], [1, 1], [], 1),  # touches it and turns back
        ([[-1, -1], [0, 0], [1, 1]], [1, 1], [1], 2),  # two units at once
        ([[-1, 1], [1, 1], [-1, 1]], [2, 2], [Fraction(1, 2), Fraction(3, 2)], 2),  # comes back
        ([[-1, -1], [0, -1], [0, 1], [-1, 1]], [1, 2, 1], [Fraction(3, 2)], 2),  # along a kink
        ([[1, -1], [0, -1], [0, 1], [1, 1]], [1, 2, 1], [1, Fraction(3, 2), 2], 4),
    ],
)
def test_a_vertex_exactly_on_a_kink(points, counts, knots, distinct):
    along = regions_along(CORNER, points)
    assert along.counts.tolist() == counts
    assert list(along.exact) == knots
    assert (along.total, along.distinct) == (len(knots) + 1, distinct)


def test_degenerate_networks():
    points = [[0, 0], [1, 1], [0.5, -1]]
    affine = regions_along(pv.Network.from_arrays([[[1, 2]]]), points, distances=True)
    assert (affine.counts.tolist(), affine.total, affine.distinct) == ([1, 1], 1, 1)
    assert [d.lower for d in affine.distances] == [np.inf] * 3
    assert affine.to_dict()["distances"][0]["lower"] == "inf"
    dead = pv.Network.from_arrays([[[0, 0], [1, 0], [1, 0]], [[1, 1, 1]]], [[-1, 0, 0], [0]])
    twice = regions_along(dead, [[-1, 0], [1, 0], [1, 5]])
    assert (twice.counts.tolist(), list(twice.exact)) == ([2, 1], [Fraction(1, 2)])
    assert twice.units in (((0, 1),), ((0, 2),))  # both vanish there
    leaky = pv.Network.from_arrays([[[1.0, 0.0]], [[1.0]]], slope=0.25)
    assert regions_along(leaky, [[-1, 0], [2, 0]]).exact == (Fraction(1, 3),)


def test_points_are_exact_numbers():
    net = pv.Network.from_arrays([[[1]], [[1]]], [["-0.1"], [0]])
    assert regions_along(net, [["0"], ["0.1"], ["1"]]).exact == (Fraction(1),)
    assert regions_along(net, [[0.0], [0.1], [1.0]]).exact != (Fraction(1),)
    path = regions_along(net, [["0"], ["0.2"]])
    assert path.at(path.exact[0]) == (Fraction(1, 10),)
    with pytest.raises(pv.InputError, match="from 0 to 1"):
        path.at(2)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0], [1, 1], [1, 1], [2, 2]], r"points\[1\] and points\[2\] are the same point"),
        ([[0, 0]], r"shape \(1, 2\), expected \(m, 2\)"),
        ([0, 1], r"shape \(2,\)"),
        ([[0, 0, 0], [1, 1, 1]], r"shape \(2, 3\)"),
        ([[0, 0], [np.nan, 1]], r"points\[1, ?1?0?\].*NaN|NaN"),
    ],
)
def test_unusable_paths(points, message):
    with pytest.raises(pv.InputError, match=message):
        regions_along(CORNER, points)


def test_a_timeout_gives_what_is_known(monkeypatch):
    net = pv.Network.from_arrays(*tables([2, 8, 1], 0))
    points = polyline(5, 2, 0)
    none = regions_along(net, points, timeout=0, distances=True)
    assert (none.complete, str(none.status), none.total) == (False, "timeout", 0)
    assert none.counts.tolist() == [0] * 4
    assert none.distances == ()
    json.dumps(none.to_dict())
    ticks = itertools.count()
    monkeypatch.setattr("plverify.study.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    many = polyline(100, 2, 1)
    some = regions_along(net, many, timeout=50)  # one tick per look at the clock
    assert (some.complete, str(some.status)) == (False, "timeout")
    done = int(some.segment_complete.sum())
    whole = regions_along(net, many[: done + 1])
    assert 0 < done < 99
    assert some.counts.tolist() == whole.counts.tolist() + [0] * (99 - done)
    assert (some.total, some.exact, some.distinct) == (whole.total, whole.exact, whole.distinct)
    late = regions_along(net, points, timeout=7, distances=True)
    assert (late.total, late.complete) == (regions_along(net, points).total, False)
    assert 0 < len(late.distances) < 5
    monkeypatch.undo()
    study = training_study([net, net], pv.Box(-1, 1, 2), timeout=0)
    assert (study.complete, len(study)) == (False, 0)


def test_json_of_a_path():
    answer = json.loads(regions_along(CORNER, [[-1, 1], [0, 1], [1, 1]], distances=True).to_json())
    assert answer["exact"] == ["1"]
    assert answer["positions"] == [1.0]
    assert (answer["knots"], answer["total"], answer["status"]) == (1, 2, "complete")
    assert [d["lower"] for d in answer["distances"]] == [1.0, 0.0, 1.0]
    assert not any(key.startswith("_") for key in answer)


# ------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def nets():
    weights, biases = tables([2, 6, 5, 2], 1)
    return [
        pv.Network.from_arrays(weights, [scale * b for b in biases]) for scale in (0.125, 0.5, 1.0)
    ]


def test_study_on_a_domain(nets):
    box = pv.Box(-1, 1, 2)
    probes = polyline(3, 2, 4)
    study = training_study(nets, box, labels=[0, 5, 10], points=probes)
    assert study.counts == [pv.count_regions(net, box).count for net in nets]
    assert (study.sizes, study.neurons, study.scale) == ((2, 6, 5, 2), 11, Fraction(121, 2))
    for row, net in zip(study.rows, nets, strict=True):
        expected = tuple(pv.boundary_distance(net, x).lower for x in probes)
        assert row.distances == expected
        assert (row.least_distance, row.median_distance) == (min(expected), np.median(expected))
        assert row.dead_units == len(pv.count_regions(net, box).dead_units)
        assert (row.knots, row.network) == (None, net.digest)
    values = {bound.name: bound.value for bound in study.bounds}
    assert values["Serra et al. 2018"] == theory.serra_upper(2, [6, 5])
    assert not any(bound.kind == "expectation" for bound in study.bounds)
    answer = json.loads(study.to_json())
    assert [row["label"] for row in answer["rows"]] == [0, 5, 10]
    assert (answer["scale"], answer["neurons"]) == ("121/2", 11)


def test_study_along_a_path(nets):
    path = polyline(5, 2, 2)
    study = training_study(nets, path)
    for k, (row, net) in enumerate(zip(study.rows, nets, strict=True)):
        along = regions_along(net, path, distances=True)
        assert (row.label, row.count, row.distinct) == (k, along.total, along.distinct)
        assert (row.knots, row.density) == (len(along.exact), along.mean_density)
        assert row.pattern_changes == along.pattern_changes.sum()
        assert row.distances == tuple(d.lower for d in along.distances)
    values = {bound.name: bound.value for bound in study.bounds}
    assert values["Chen 2016 (pieces)"] == 4 * theory.chen_pieces([6, 5])
    assert training_study(nets, path, points=[]).rows[0].distances == ()
    assert region_scale(11, 1) == theory.hanin_rolnick_line_estimate([6, 5])


def test_study_reads_files_and_takes_slices(tmp_path):
    weights, biases = tables([4, 3, 2], 0)
    arrays = {f"W{k}": w for k, w in enumerate(weights)}
    arrays |= {f"b{k}": b for k, b in enumerate(biases)}
    np.savez(tmp_path / "a.npz", **arrays)
    plane = pv.Slice(np.zeros(4), np.eye(4)[:, :2], pv.Box(-1, 1, 2))
    path = tmp_path / "a.npz"
    study = training_study([path, pv.load(path)], plane)
    assert study.counts[0] == study.counts[1]
    leaky = [pv.Network.from_arrays(weights, biases, slope=s) for s in (0.0, 0.25)]
    assert "Serra et al. 2018" not in {b.name for b in training_study(leaky, plane).bounds}


def test_unusable_studies(nets):
    box = pv.Box(-1, 1, 2)
    other = pv.Network.from_arrays(*tables([2, 6, 4, 2], 1))
    with pytest.raises(
        pv.InputError, match="checkpoint 2 has sizes 2-6-4-2, checkpoint 0 has 2-6-5-2"
    ):
        training_study([*nets[:2], other], box)
    with pytest.raises(pv.InputError, match="checkpoint 1: .*no such file"):
        training_study([nets[0], "missing.npz"], box)
    with pytest.raises(pv.InputError, match="2 labels do not fit 3 checkpoints"):
        training_study(nets, box, labels=["a", "b"])
    with pytest.raises(pv.InputError, match="empty"):
        training_study([], box)
    with pytest.raises(pv.InputError, match="expected a list"):
        training_study(nets[0], box)
    with pytest.raises(pv.InputError, match="lies in R"):
        training_study(nets, pv.Box(-1, 1, 3))
    with pytest.raises(pv.InputError, match=r"points has shape \(3,\)"):
        training_study(nets, box, points=[1, 2, 3])
    n = MAX_DIMENSION + 1
    wide = pv.Network.from_arrays(*tables([n, 3, 1], 0))
    assert training_study([wide], pv.Box(-1, 1, n)).complete
    assert training_study([wide], np.eye(n)[:2]).complete


# ------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_files(nets, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    from plverify.report import study_plots

    studies = [training_study(nets, pv.Box(-1, 1, 2), labels=labels) for labels in (None, "abc")]
    small = training_study([CORNER], pv.Box(-1, 1, 2))
    along = regions_along(nets[0], polyline(4, 2, 1), distances=True)
    drawn = {
        "along": lambda path: study_plots.plot_along(along, path, dpi=60),
        "train": lambda path: study_plots.plot_training(studies[0], path, dpi=60),
        "names": lambda path: study_plots.plot_training(studies[1], path, dpi=60),
        "scale": lambda path: study_plots.plot_scaling([small, studies[0]], path, dpi=60),
    }
    for name, draw in drawn.items():
        path = tmp_path / f"{name}.{suffix}"
        draw(path)
        assert path.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def test_pictures_show_the_numbers(nets):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from plverify.report.study_plots import plot_along, plot_scaling, plot_training

    axes = Figure().add_subplot()
    along = regions_along(nets[0], polyline(4, 2, 1))
    plot_along(along, axes)
    stairs = axes.lines[0]
    assert stairs.get_ydata()[-1] == along.total
    np.testing.assert_allclose(stairs.get_xdata()[1:-1], along.positions)

    axes = Figure().add_subplot()
    study = training_study(nets, pv.Box(-1, 1, 2), labels=[0, 5, 10])
    plot_training(study, axes)
    assert axes.lines[0].get_xdata().tolist() == [0, 5, 10]
    assert axes.lines[0].get_ydata().tolist() == study.counts
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(f"at most {theory.serra_upper(2, [6, 5]):,}" in word for word in words)

    empty = training_study(nets, pv.Box(-1, 1, 2), timeout=0)
    for draw, answer in ((plot_training, empty), (plot_scaling, [empty])):
        with pytest.raises(pv.InputError, match="no regions to draw"):
            draw(answer, axes)
    line = training_study(nets, polyline(2, 2, 0))
    with pytest.raises(pv.InputError, match="dimensions"):
        plot_scaling([study, line], axes)
    with pytest.raises(pv.InputError, match="must end in"):
        plot_along(along, "a.gif")


# ----------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    weights, biases = tables([2, 8, 8, 2], 0)
    arrays = {f"W{k}": w for k, w in enumerate(weights)}
    np.savez(folder / "net.npz", **arrays, **{f"b{k}": b for k, b in enumerate(biases)})
    path = polyline(5, 2, 0)
    np.savez(folder / "path.npz", points=path)
    np.savez(folder / "xpath.npz", X=path)
    np.savez(folder / "same.npz", points=path[[0, 1, 1]])
    np.savez(folder / "three.npz", points=np.zeros((2, 3)))
    np.savez(folder / "other.npz", a=path)
    np.savez(folder / "long.npz", points=polyline(100, 2, 0))
    return lambda name: str(folder / name)


def cli(capsys, *arguments):
    code = run(["regions", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_cli_table_and_picture(capsys, files, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    command = [files("net.npz"), "--along", files("path.npz"), "--plot", picture]
    code, out, err = cli(capsys, *command)
    assert (code, err) == (0, "")
    along = regions_along(pv.load(files("net.npz")), np.load(files("path.npz"))["points"])
    lines = {line[:20].strip(): line[20:].strip() for line in out.splitlines()}
    assert lines["activation regions"] == f"{along.total:,}"
    assert lines["knots"].startswith(f"{len(along.exact):,}, ")
    assert "3 - 4" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, _ = cli(capsys, files("net.npz"), "--along", files("long.npz"))
    assert code == 0
    assert "39 segments more" in out


@pytest.mark.parametrize("name", ["path.npz", "xpath.npz"])
def test_cli_json(capsys, files, name):
    command = [files("net.npz"), "--along", files(name), "--json", "--threads", "2"]
    code, out, err = cli(capsys, *command)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    along = regions_along(pv.load(files("net.npz")), np.load(files("path.npz"))["points"])
    assert answer["counts"] == along.counts.tolist()
    assert answer["exact"] == [str(s) for s in along.exact]
    assert len(answer["distances"]) == 5
    assert (answer["widths"], answer["status"]) == ([8, 8], "complete")


def test_cli_timeout(capsys, files):
    command = [files("net.npz"), "--along", files("path.npz"), "--timeout", "1e-9"]
    code, out, _ = cli(capsys, *command)
    assert code == 1
    assert "at least 0 (incomplete: timeout)" in out
    code, out, _ = cli(capsys, *command, "--json")
    assert (code, json.loads(out)["complete"]) == (1, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "0,1"], "--along and --box cannot be given together"),
        (["--slice", "a.npz"], "--along and --slice"),
        (["--segment", "0,0;1,1"], "--along and --segment"),
        (["--space"], "--along and --space"),
        (["--polygon", "0,0;1,0;0,1"], "--along and --polygon"),
        (["--count"], "--along and --count"),
        (["--out", "a.npz"], "--along and --out"),
        (["--proof", "a.proof"], "--along and --proof"),
        (["--layer", "0"], "--along and --layer"),
        (["--color", "class"], "--along and --color"),
        (["--plot", "a.gif"], "must end in"),
        (["--timeout", "0"], "--timeout is 0"),
    ],
)
def test_cli_refuses_other_options(capsys, files, options, message):
    code, out, err = cli(capsys, files("net.npz"), "--along", files("path.npz"), *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("same.npz", "points[1] and points[2] are the same point"),
        ("three.npz", "points has shape (2, 3), expected (m, 2)"),
        ("other.npz", "no array 'points or X'"),
        ("missing.npz", "no such file"),
    ],
)
def test_cli_refuses_unusable_paths(capsys, files, name, message):
    code, out, err = cli(capsys, files("net.npz"), "--along", files(name))
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("plverify regions: --along ")
    assert err.count("\n") == 1
