"""Decision boundaries in three dimensions: against level sets, lines, exact values and volumes."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from test_mesh import (
    check_volume,
    cross,
    dot,
    on_boundary,
    random_case,
    read_obj,
)

import plverify as pv
from plverify.cli import run
from plverify.decision_mesh import DecisionMesh
from plverify.exact_array import ExactRows
from plverify.mesh import level_set
from plverify.network import Network
from plverify.nodes import Dense, Max, Sparse


def boundary_of(net: Network, domain: Any, **options: Any) -> DecisionMesh:
    mesh = pv.decision_boundary(net, domain, **options)
    assert isinstance(mesh, DecisionMesh)
    return mesh


def balanced(seed: int, widths: tuple[int, ...], outputs: int) -> Network:
    """A random network whose outputs are 0 on average, so that all of them win somewhere."""
    rng = np.random.default_rng(seed)
    sizes = (3, *widths, outputs)
    weights = [rng.normal(size=(b, a)) for a, b in pairwise(sizes)]
    biases = [rng.normal(size=b) for b in sizes[1:]]
    mean = Network.from_arrays(weights, biases)(rng.uniform(-1, 1, (500, 3))).mean(axis=0)
    return Network.from_arrays(weights, [*biases[:-1], biases[-1] - mean])


def margin(net: Network, label: int) -> Network:
    """``f_label - max of the others``, by a window over the others."""
    others = np.array([[k] for k in range(net.output_size) if k != label], np.int32)
    last = len(net.nodes)
    if len(others) == 1:
        index, parts = np.array([[label, 1 - label]], np.int32), (last,)
        nodes = list(net.nodes)
    else:
        nodes = [*net.nodes, Max((last,), 1, net.output_size, others)]
        index, parts = np.array([[label, net.output_size]], np.int32), (last, last + 1)
    rows = ExactRows.from_integers([[1, -1, 0]], [1])
    return Network(net.input_size, [*nodes, Sparse(parts, index, rows)])


def outputs_at(net: Network, domain: Any, point: Any) -> list[Fraction]:
    place = domain.point(point) if isinstance(domain, pv.Slice) else point
    values = net.exact(list(place))
    return values if len(values) > 1 else [values[0], Fraction(0)]


def check(mesh: DecisionMesh, net: Network, domain: Any) -> None:
    """Everything that holds for every complete boundary."""
    assert mesh.complete
    assert len(set(mesh.exact)) == len(mesh.exact)
    for sheet in mesh.polygons:
        assert sheet.i < sheet.j
        corners = [mesh.exact[k] for k in sheet.vertices]
        assert corners[0] == min(corners)
        for point in corners:
            values = outputs_at(net, domain, point)
            assert values[sheet.i] == values[sheet.j] == max(values)
        for a, b, c in zip(
            corners, corners[1:] + corners[:1], corners[2:] + corners[:2], strict=True
        ):
            u, v = ([q - p for p, q in zip(*ends, strict=True)] for ends in ((a, b), (b, c)))
            assert dot(cross(u, v), sheet.normal) > 0
            assert dot(u, sheet.normal) == 0
        for cell, label, sign in zip(sheet.cells, (sheet.i, sheet.j), (1, -1), strict=True):
            assert mesh.labels[cell] == label
            inner = mesh.cells[cell].exact_interior_point
            offset = [p - q for p, q in zip(inner, corners[0], strict=True)]
            assert sign * dot(offset, sheet.normal) > 0
    # every label on its own is the boundary of a solid, but for the domain's sides
    inner_domain = domain.inner if isinstance(domain, pv.Slice) else domain
    for label in sorted(set(mesh.labels.tolist())):
        edges: Counter[tuple[int, int]] = Counter()
        solid = mesh.solid(label)
        for polygon in solid.polygons:
            ring = polygon.vertices
            edges.update(zip(ring, (*ring[1:], ring[0]), strict=True))
        for (i, j), uses in edges.items():
            if edges[j, i] != uses:
                assert on_boundary(inner_domain, solid.exact[i], solid.exact[j])
    uses = Counter(frozenset(edge) for edge in mesh._edges[0].tolist())
    for edge, times in uses.items():
        if times == 1:
            assert on_boundary(inner_domain, *(mesh.exact[k] for k in edge))
    # nothing is missing, and every label is right
    listed = set(mesh.exact) | {p for part in mesh.thin for p in part}
    for k in mesh.open_cells:
        listed |= {v.p for v in mesh.cells[k].exact_vertices}
    for cell, label in zip(mesh.cells, mesh.labels.tolist(), strict=True):
        values = outputs_at(net, domain, cell.exact_interior_point)
        assert values.index(max(values)) == label
        assert (values.count(max(values)) > 1) == (cell.index in mesh.open_cells)
        for vertex in cell.exact_vertices:
            values = outputs_at(net, domain, vertex.p)
            assert (values.count(max(values)) > 1) == (vertex.p in listed)


def flat(mesh: Any) -> set[tuple[Any, ...]]:
    """The polygons as rings of points."""
    return {tuple(mesh.exact[k] for k in polygon.vertices) for polygon in mesh.polygons}


def inside(mesh: DecisionMesh, sheet: Any, point: Any) -> bool:
    """Whether a point lies in a closed polygon."""
    corners = [mesh.exact[k] for k in sheet.vertices]
    offsets = [[p - q for p, q in zip(point, corner, strict=True)] for corner in corners]
    if dot(offsets[0], sheet.normal):
        return False
    ring = zip(corners, corners[1:] + corners[:1], offsets, strict=True)
    return all(
        dot(cross([q - p for p, q in zip(a, b, strict=True)], offset), sheet.normal) >= 0
        for a, b, offset in ring
    )


def check_lines(mesh: DecisionMesh, net: Network, seed: int, count: int) -> None:
    """Where lines through the box cross the mesh is where the engine in one dimension says."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        a, b = ([Fraction(int(v), 997) for v in rng.integers(-990, 990, 3)] for _ in range(2))
        line = pv.segment(a, b)
        ties = pv.decision_boundary(net, line)
        truth = {line.point(v.p) for piece in ties.exact for v in piece}
        found = set()
        for sheet in mesh.polygons:
            corner = mesh.exact[sheet.vertices[0]]
            up, down = (
                dot([v - w for v, w in zip(end, corner, strict=True)], sheet.normal)
                for end in (a, b)
            )
            if up * down >= 0:
                continue
            t = up / (up - down)
            point = tuple(p + t * (q - p) for p, q in zip(a, b, strict=True))
            if inside(mesh, sheet, point):
                found.add(point)
        assert found == truth


@pytest.mark.parametrize("seed", range(3))
def test_one_output_gives_the_zero_level_set(seed: int) -> None:
    net, box = balanced(seed, (10, 10), 1), pv.Box(-1, 1, 3)
    mesh, other = boundary_of(net, box), level_set(net, box)
    assert len(mesh.polygons) > 5
    assert flat(mesh) == flat(other)  # with orientation: both point to where f is positive
    check(mesh, net, box)
    check_lines(mesh, net, seed, 10)


@pytest.mark.parametrize(("seed", "outputs"), [(0, 2), (1, 3), (2, 4), (3, 6)])
def test_classes(seed: int, outputs: int) -> None:
    net, box = balanced(seed, (8, 6), outputs), pv.Box(-1, 1, 3)
    mesh = boundary_of(net, box, threads=2)
    assert len(set(mesh.labels.tolist())) == outputs
    assert mesh.thin == mesh.open_cells == ()
    check(mesh, net, box)
    check_lines(mesh, net, seed, 10)
    for label in set(mesh.labels.tolist()):
        solid = mesh.solid(label)
        check_volume(solid, margin(net, label), box)
        alone = level_set(margin(net, label), box)
        assert flat(solid) == flat(alone)


def test_three_labels_meet_in_edges() -> None:
    net = Network.from_arrays([np.eye(3)])
    mesh = boundary_of(net, pv.Box(-1, 1, 3))
    assert sorted((p.i, p.j) for p in mesh.polygons) == [(0, 1), (0, 2), (1, 2)]
    uses = Counter(frozenset(edge) for edge in mesh._edges[0].tolist())
    diagonal = frozenset(mesh.exact.index((Fraction(s),) * 3) for s in (-1, 1))
    assert uses[diagonal] == 3
    assert not mesh.closed
    check(mesh, net, pv.Box(-1, 1, 3))
    # a class that wins inside an octahedron: closed, although two others meet outside
    sides = [[s if i == k else 0 for i in range(3)] for k in range(3) for s in (1, -1)]
    island = Network.from_arrays(
        [sides, [[-1] * 6, [1, -1, 0, 0, 0, 0], [-1, 1, 0, 0, 0, 0]]], [[0] * 6, [1, 0, 0]]
    )
    mesh = boundary_of(island, pv.Box(-2, 2, 3))
    assert mesh.solid(0).closed
    assert not mesh.solid(1).closed
    assert 3 in Counter(frozenset(edge) for edge in mesh._edges[0].tolist()).values()
    check(mesh, island, pv.Box(-2, 2, 3))


def test_ties_without_a_change_of_label() -> None:
    box = pv.Box(-1, 1, 3)
    same = Network.from_arrays([[[1, 0, 0], [1, 0, 0]]])
    mesh = boundary_of(same, box)
    assert not mesh.polygons
    assert mesh.open_cells == (0,)
    assert mesh.thin == ()
    check(mesh, same, box)
    touch = Network.from_arrays([[[1, 0, 0], [-1, 0, 0]], [[1, 1], [0, 0]]])  # |x| against 0
    mesh = boundary_of(touch, box)
    assert not mesh.polygons
    assert [len(part) for part in mesh.thin] == [4]
    check(mesh, touch, box)
    sides = [[s if i == k else 0 for i in range(3)] for k in range(3) for s in (1, -1)]
    for terms, corners in ((4, 2), (6, 1)):  # |x| + |y| (+ |z|) against 0: a line, a point
        row = [1] * terms + [0] * (6 - terms)
        cone = Network.from_arrays([sides, [row, [0] * 6]])
        mesh = boundary_of(cone, box)
        assert {len(part) for part in mesh.thin} == {corners}
        check(mesh, cone, box)
    side = Network.from_arrays([[[1, 0, 0], [0, 0, 0]]])  # a tie on a side of the box
    mesh = boundary_of(side, pv.Box(0, 1, 3))
    assert not mesh.polygons
    assert [len(part) for part in mesh.thin] == [4]
    check(mesh, side, pv.Box(0, 1, 3))
    # relu(x) against 0: equal on one half, where the first label stands
    half = Network.from_arrays([[[1, 0, 0]], [[0], [1]]])
    mesh = boundary_of(half, box)
    assert [(p.i, p.j, len(p.vertices)) for p in mesh.polygons] == [(0, 1, 4)]
    assert len(mesh.open_cells) == 1
    check(mesh, half, box)


@pytest.mark.parametrize("block", range(3))
def test_random_degenerate_networks(block: int) -> None:
    degenerate = several = 0
    for seed in range(20 * block, 20 * block + 20):
        net, domain, _, _ = random_case(seed)
        mesh = boundary_of(net, domain)
        try:
            check(mesh, net, domain)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        degenerate += bool(mesh.thin or mesh.open_cells)
        several += len({(p.i, p.j) for p in mesh.polygons}) > 1
    assert degenerate > 2
    assert several > 0


def test_slices_and_files(tmp_path: Any) -> None:
    rng = np.random.default_rng(5)
    net = Network.from_arrays([rng.normal(size=(10, 5)), rng.normal(size=(4, 10))])
    corner = pv.Polytope([[-1, 0, 0], [0, -1, 0], [0, 0, -1], [1, 1, 1]], [1, 1, 1, 2])
    domain = pv.Slice([0.5, 0, 0, 0.25, -1], rng.integers(-3, 4, size=(5, 3)), corner)
    mesh = boundary_of(net, domain)
    assert len(mesh.polygons) > 3
    check(mesh, net, domain)
    mesh.save(tmp_path / "a.obj")
    text = (tmp_path / "a.obj").read_text()
    vertices, faces = read_obj(text)
    assert (vertices, faces) == (mesh.vertices.tolist(), mesh.triangles.tolist())
    groups = [line for line in text.splitlines() if line.startswith("g ")]
    pairs = [(p.i, p.j) for p in mesh.polygons]
    runs = [pairs[0], *(b for a, b in pairwise(pairs) if a != b)]
    assert groups == [f"g labels_{i}_{j}" for i, j in runs]
    mesh.save(tmp_path / "a.ply")
    head, _, body = (tmp_path / "a.ply").read_text().partition("end_header\n")
    assert "property int label_i\nproperty int label_j\n" in head
    rows = [[int(v) for v in line.split()] for line in body.splitlines()[len(mesh.exact) :]]
    labels = [pair for p, pair in zip(mesh.polygons, pairs, strict=True) for _ in p.vertices[2:]]
    assert rows == [[3, *t, *pair] for t, pair in zip(mesh.triangles.tolist(), labels, strict=True)]
    mesh.solid(pairs[0][0]).save(tmp_path / "solid.ply")
    assert "label_i" not in (tmp_path / "solid.ply").read_text()
    assert set(mesh.to_dict()) == {
        "exact", "polygons", "thin", "open_cells", "complete", "status",
    }  # fmt: skip


def test_errors_and_incomplete_runs() -> None:
    net = balanced(0, (8,), 3)
    with pytest.raises(pv.InputError, match="unbounded"):
        pv.decision_boundary(net, pv.Space(3))
    wide = Network.from_arrays([np.eye(4)])
    with pytest.raises(pv.InputError, match="at most 3 dimensions"):
        pv.decision_boundary(wide, pv.Box(0, 1, 4))
    assert not boundary_of(net, pv.Box(-1, 1, 3), timeout=0).complete


def test_all_pairs_are_found() -> None:
    """Voronoi cells of seven points: every pair that shares a facet, and no other."""
    rng = np.random.default_rng(2)
    sites = rng.integers(-4, 5, (7, 3))
    # -|x - s|^2 = 2 s.x - |s|^2 up to what all have in common
    net = Network.from_arrays([2 * sites], [-(sites**2).sum(axis=1)])
    mesh = boundary_of(net, pv.Box(-4, 4, 3))
    check(mesh, net, pv.Box(-4, 4, 3))
    pairs = {(p.i, p.j) for p in mesh.polygons}
    for i, j in combinations(range(7), 2):
        rows = [2 * (sites[k] - sites[i]) for k in range(7) if k not in (i, j)]
        ends = [
            int((sites[k] ** 2).sum() - (sites[i] ** 2).sum()) for k in range(7) if k not in (i, j)
        ]
        facet = 2 * (sites[j] - sites[i])
        level = int((sites[j] ** 2).sum() - (sites[i] ** 2).sum())
        axis = int(np.flatnonzero(facet)[0])
        others = [k for k in range(3) if k != axis]
        basis = np.zeros((3, 2), object)
        basis[others, [0, 1]] = 1
        origin = np.zeros(3, object)
        origin[axis] = Fraction(level, int(facet[axis]))
        for column, k in enumerate(others):
            basis[axis, column] = -Fraction(int(facet[k]), int(facet[axis]))
        box = [*np.eye(3, dtype=int), *-np.eye(3, dtype=int)]
        table = np.array([*rows, *box], object)
        bound = np.array([*ends, *[4] * 6], object) - table @ origin
        try:
            flat = pv.count_regions(
                Network.from_arrays([[[0, 0]]]),
                pv.Polytope((table @ basis).tolist(), bound.tolist()),
            )
            assert flat.count == 1
            assert (i, j) in pairs
        except pv.InputError:
            assert (i, j) not in pairs


def test_command_line(tmp_path: Any, capsys: Any) -> None:
    net = balanced(1, (8,), 3)
    arrays: dict[str, Any] = {}
    for k, node in enumerate(n for n in net.nodes if isinstance(n, Dense)):
        arrays |= {f"W{k}": node.weight, f"b{k}": node.bias}
    model, out = str(tmp_path / "net.npz"), str(tmp_path / "mesh.ply")
    np.savez(model, **arrays)
    assert run(["regions", model, "--box", "-1,1", "--mesh", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == {"mesh": out}
    boundary_of(net, pv.Box(-1, 1, 3)).save(tmp_path / "same.ply")
    assert (tmp_path / "same.ply").read_bytes() == (tmp_path / "mesh.ply").read_bytes()
    for options, text in (
        (["--box", "-1,1", "--mesh", str(tmp_path / "mesh.stl")], "must end in .obj or .ply"),
        (["--box", "-1,1", "--count", "--mesh", out], "--mesh"),
        (["--segment", "0,0,0;1,1,1", "--mesh", out], "three dimensions"),
        (["--space", "--mesh", out], "unbounded"),
    ):
        assert run(["regions", model, *options]) == 2
        assert text in capsys.readouterr().err
