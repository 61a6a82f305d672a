"""Level sets in three dimensions: watertight, exact, and right where they are degenerate."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise, product
from random import Random
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_net, to_domain, to_nodes

import plverify as pv
from plverify import mesh as module
from plverify.exact_array import ExactArray, ExactRows
from plverify.mesh import Mesh, level_set
from plverify.network import Network
from plverify.nodes import Dense, Units
from plverify.result import Status

SIDES = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
X, Y, Z = ([2 * k, 2 * k + 1] for k in range(3))  # the two units of |x|, |y|, |z|


def of_sides(*terms: tuple[list[int], list[float]], bias: float = 0) -> Network:
    """A network on those of the units x+, x-, y+, .. that are given output coefficients."""
    chosen = [(unit, v) for units, factors in terms for unit, v in zip(units, factors, strict=True)]
    rows = [SIDES[unit] for unit, _ in chosen]
    return Network.from_arrays([rows, [[v for _, v in chosen]]], [[0] * len(rows), [bias]])


def octahedron() -> Network:
    return of_sides((X, [1, 1]), (Y, [1, 1]), (Z, [1, 1]), bias=-1)


def trained_like(seed: int, widths: tuple[int, ...] = (10, 10), outputs: int = 1) -> Network:
    rng = np.random.default_rng(seed)
    sizes = (3, *widths, outputs)
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [(rng.normal(size=p) / p[1] ** 0.5).astype(np.float32) for p in pairs]
    biases = [(rng.normal(size=p[0]) / 3).astype(np.float32) for p in pairs]
    return Network.from_arrays(weights, biases)


def flux(mesh: Mesh, centre: list[Fraction], sides: tuple[int, ...] = (0, 1, -1)) -> Fraction:
    """The exact flux of ``t - centre`` through the mesh: three times the volume it encloses."""
    total = Fraction(0)
    for polygon in mesh.polygons:
        if polygon.side in sides:
            corners = [
                [v - c for v, c in zip(mesh.exact[i], centre, strict=True)]
                for i in polygon.vertices
            ]
            for b, c in pairwise(corners[1:]):
                total += dot(corners[0], cross(b, c)) / 2
    return total


def cross(a: Any, b: Any) -> list[Fraction]:
    return [a[(k + 1) % 3] * b[(k + 2) % 3] - a[(k + 2) % 3] * b[(k + 1) % 3] for k in range(3)]


def dot(a: Any, b: Any) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def on_boundary(domain: Any, *points: Any) -> bool:
    """Whether one constraint of the domain holds with equality at all points."""
    rows = domain.constraint_rows()
    return any(all(dot(row[:-1], p) + row[-1] == 0 for p in points) for row in rows)


def cut_off(net: Network, output: int, level: Fraction) -> Network:
    """The network ``relu(f_output - level)``: its last unit tells where f is above the level."""
    row: list[Any] = [Fraction(0)] * net.output_size + [-level]
    row[output] = Fraction(1)
    one = ExactRows.from_array(ExactArray([[1, 0]]))
    end = len(net.nodes)
    tail = [
        Dense(end, ExactRows.from_array(ExactArray([row]))),
        Units(end + 1, ((0, 0),)),
        Dense(end + 2, one),
    ]
    return Network(net.input_size, [*net.nodes, *tail])


def above(net: Network, domain: Any) -> Fraction:
    """Exact volume (area) of the regions in which the last unit is on."""
    found = pv.regions(net, domain)
    return sum((r.exact_volume for r in found if r.pattern[-1]), Fraction(0))


def check(mesh: Mesh, net: Network, domain: Any, output: int = 0, level: Any = 0) -> None:
    """Everything that holds for every complete level set of one output."""
    level = Fraction(level)
    assert mesh.complete
    place = getattr(domain, "point", list)
    for point in mesh.exact:
        assert net.exact(list(place(point)))[output] == level
    for point, row in zip(mesh.exact, mesh.vertices.tolist(), strict=True):
        assert [float(v) for v in point] == row
    assert len(set(mesh.exact)) == len(mesh.exact)
    assert sorted({i for t in mesh.triangles.tolist() for i in t}) == list(range(len(mesh.exact)))
    for polygon in mesh.polygons:  # strictly convex, counter-clockwise about the gradient
        corners = [mesh.exact[i] for i in polygon.vertices]
        assert corners[0] == min(corners)
        for a, b, c in zip(
            corners, corners[1:] + corners[:1], corners[2:] + corners[:2], strict=True
        ):
            u, v = ([q - p for p, q in zip(*ends, strict=True)] for ends in ((a, b), (b, c)))
            assert dot(cross(u, v), polygon.normal) > 0
            assert dot(u, polygon.normal) == 0
        gradient = mesh.regions[polygon.region].affine_map(exact=True)[0][output]
        assert tuple(gradient) == polygon.normal
    # watertight: no T-junction, no crack; where regions are open, without the sheets below
    edges: Counter[tuple[int, int]] = Counter()
    for polygon in mesh.polygons:
        if polygon.side >= 0 or not mesh.open_regions:
            ring = polygon.vertices
            edges.update(zip(ring, (*ring[1:], ring[0]), strict=True))
    inner = domain.inner if isinstance(domain, pv.Slice) else domain
    for (i, j), uses in edges.items():
        if edges[j, i] != uses:
            assert on_boundary(inner, mesh.exact[i], mesh.exact[j])
    for i, j in mesh.boundary_edges.tolist():
        assert on_boundary(inner, mesh.exact[i], mesh.exact[j])
    # nothing is missing: every vertex of a region at the level lies on one of the parts
    listed = set(mesh.exact) | {p for part in mesh.thin for p in part}
    for i in mesh.open_regions:
        listed |= {v.p for v in mesh.regions[i].exact_vertices}
    for region in mesh.regions:
        matrix, offset = region.affine_map(exact=True)
        for vertex in region.exact_vertices:
            if dot(matrix[output], vertex.p) + offset[output] == level:
                assert vertex.p in listed


def check_volume(mesh: Mesh, net: Network, box: pv.Box, output: int = 0, level: Any = 0) -> None:
    """Divergence theorem: three volumes above the level = flux out of the box - through the mesh.

    The volume and the areas on the sides come from the engine, which cuts the regions itself.
    """
    level = Fraction(level)
    sharp = cut_off(net, output, level)
    lo, hi = box.lo, box.hi
    centre = [(a + b) / 2 for a, b in zip(lo, hi, strict=True)]
    outward = Fraction(0)
    for k in range(3):
        others = [i for i in range(3) if i != k]
        basis = [[int(i == j) for j in others] for i in range(3)]
        for end in (lo[k], hi[k]):
            origin = [end if i == k else 0 for i in range(3)]
            inner = pv.Box([lo[i] for i in others], [hi[i] for i in others])
            # a facet of the box at the level is a facet of the mesh and no part of what is above
            area = above(sharp, pv.Slice(origin, basis, inner))
            outward += (hi[k] - lo[k]) / 2 * area
    flat = Fraction(0)  # below the level inside, on it at the side of the box: not a side of above
    for polygon in mesh.polygons:
        corners = [mesh.exact[i] for i in polygon.vertices]
        if polygon.side == -1 and on_boundary(box, *corners):
            part = Mesh(mesh.exact, (polygon,), (), (), True, Status.COMPLETE, mesh.regions)
            flat += flux(part, centre)
    sides = (0, 1) if mesh.open_regions else (0, 1, -1)
    through = flux(mesh, centre, sides) - (0 if mesh.open_regions else flat)
    assert 3 * above(sharp, box) == outward - through


# ------------------------------------------------------------------------------------- solids


def test_octahedron() -> None:
    box = pv.Box(-2, 2, 3)
    mesh = level_set(octahedron(), box)
    assert len(mesh.exact) == 6
    assert mesh.triangles.shape == (8, 3)
    assert mesh.triangles.dtype == np.int64
    assert len(mesh.exact) - 12 + len(mesh.triangles) == 2
    assert mesh.closed
    assert mesh.boundary_edges.shape == (0, 2)
    assert flux(mesh, [Fraction(0)] * 3) / 3 == Fraction(4, 3)
    assert mesh.thin == mesh.open_regions == ()
    assert mesh.status == Status.COMPLETE
    check(mesh, octahedron(), box)
    check_volume(mesh, octahedron(), box)
    assert level_set(octahedron(), box, threads=2).triangles.shape == (8, 3)


def test_octahedron_that_touches_the_domain_and_one_that_is_cut() -> None:
    for size in (Fraction(1), Fraction(3, 4), Fraction(1, 3)):
        box = pv.Box([-size] * 3, [size] * 3)
        mesh = level_set(octahedron(), box)
        check(mesh, octahedron(), box)
        check_volume(mesh, octahedron(), box)
        assert mesh.closed == (size == 1 or not mesh.polygons)
        assert bool(mesh.polygons) == (size > Fraction(1, 3))
    # the level set touches the smallest box in its corners only
    corners = [((a, b, c),) for a, b, c in product((-size, size), repeat=3)]
    assert sorted(mesh.thin) == sorted(corners)


def test_cube() -> None:
    """max(|x|, |y|, |z|): twelve triangles or more, volume 8/27, level a text."""
    net = Network.from_arrays(
        [
            [*SIDES],
            [[1, 1, -1, -1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]],
            [[1, 1, -1], [0, 0, 1]],  # max(x, y) = relu(x - y) + y
            [[1, 1]],
        ]
    )
    box = pv.Box(-1, 1, 3)
    mesh = level_set(net, box, level="1/3")
    assert mesh.closed
    assert flux(mesh, [Fraction(0)] * 3) / 3 == Fraction(8, 27)
    check(mesh, net, box, level=Fraction(1, 3))
    check_volume(mesh, net, box, level=Fraction(1, 3))


def test_plane_without_a_unit_and_a_level_nowhere() -> None:
    net = Network.from_arrays([[[1, 2, 3]]], [[-1]])
    box = pv.Box(0, 1, 3)
    mesh = level_set(net, box)
    assert len(mesh.polygons) == 1
    assert not mesh.closed
    assert len(mesh.boundary_edges) == len(mesh.polygons[0].vertices)
    check(mesh, net, box)
    check_volume(mesh, net, box)
    nothing = level_set(net, box, level=100)
    assert nothing.closed
    assert nothing.vertices.shape == nothing.triangles.shape == (0, 3)
    assert nothing.boundary_edges.shape == (0, 2)


@pytest.mark.parametrize("seed", range(3))
def test_trained_like_networks(seed: int) -> None:
    net, box = trained_like(seed), pv.Box(-2, 2, 3)
    level = net.exact([0.1, 0.2, -0.3])[0]
    mesh = level_set(net, box, level=level)
    assert len(mesh.polygons) > 20
    for uses in Counter(tuple(sorted(e)) for e in mesh._edges[0].tolist()).values():
        assert uses <= 2
    check(mesh, net, box, level=level)
    check_volume(mesh, net, box, level=level)


def test_decision_boundary_on_a_slice() -> None:
    rng = np.random.default_rng(5)
    net = Network.from_arrays(
        [rng.normal(size=(10, 5)), rng.normal(size=(8, 10)), rng.normal(size=(3, 8))]
    )
    corner = pv.Polytope([[-1, 0, 0], [0, -1, 0], [0, 0, -1], [1, 1, 1]], [1, 1, 1, 2])
    domain = pv.Slice([0.5, 0, 0, 0.25, -1], rng.integers(-3, 4, size=(5, 3)), corner)
    mesh = level_set(net, domain, [1, 0, -1])
    assert mesh.polygons
    for point in mesh.exact:
        first, _, last = net.exact(list(domain.point(point)))
        assert first == last
    for i, j in mesh.boundary_edges.tolist():
        assert on_boundary(corner, mesh.exact[i], mesh.exact[j])
    difference = Network(
        5, [*net.nodes, Dense(len(net.nodes), ExactRows.from_array(ExactArray([[1, 0, -1, 0]])))]
    )
    check(level_set(difference, domain), difference, domain)
    assert set(level_set(difference, domain).exact) == set(mesh.exact)
    single = level_set(net, domain, [0, "0.5", 0], level="0.05")
    assert set(single.exact) == set(level_set(net, domain, 1, "0.1").exact)


# --------------------------------------------------------------------------------- degenerate


def test_facets_between_above_and_below_come_once() -> None:
    net, box = of_sides((X, [1, -2])), pv.Box(-1, 1, 3)  # x, twice as steep on the left
    mesh = level_set(net, box)
    assert [p.side for p in mesh.polygons] == [1]
    assert flux(mesh, [Fraction(-1), Fraction(0), Fraction(0)]) == 4
    check(mesh, net, box)
    check_volume(mesh, net, box)


def test_sheet_that_is_touched_is_there_from_both_sides() -> None:
    for sign, side in ((1, 1), (-1, -1)):
        net, box = of_sides((X, [sign, sign])), pv.Box(-1, 1, 3)
        mesh = level_set(net, box)
        assert [p.side for p in mesh.polygons] == [side, side]
        assert len(mesh.exact) == 4
        assert mesh.closed
        assert flux(mesh, [Fraction(-1), Fraction(0), Fraction(0)]) == 0
        check(mesh, net, box)
        check_volume(mesh, net, box)
        # a square that ends inside the domain
        steep = Network.from_arrays(
            [[*SIDES[:2], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], [[sign] * 6]],
            [[0, 0, -1, -1, -1, -1], [0]],
        )
        mesh = level_set(steep, pv.Box(-2, 2, 3))
        assert mesh.closed
        assert len(mesh.polygons) == 2
        check(mesh, steep, pv.Box(-2, 2, 3))


def test_side_of_the_domain() -> None:
    net, box = Network.from_arrays([[[1, 0, 0]]]), pv.Box(0, 1, 3)
    for level, side in ((0, 1), (1, -1)):
        mesh = level_set(net, box, level=level)
        assert [p.side for p in mesh.polygons] == [side]
        assert len(mesh.boundary_edges) == 4
        check(mesh, net, box, level=level)
        check_volume(mesh, net, box, level=level)


def test_points_and_segments() -> None:
    box, origin = pv.Box(-1, 1, 3), (Fraction(0),) * 3
    point = level_set(of_sides((X, [1, 1]), (Y, [1, 1]), (Z, [1, 1])), box)
    assert point.thin == ((origin,),)
    assert not point.polygons
    line = level_set(of_sides((X, [1, 1]), (Y, [1, 1])), box)
    assert {p for part in line.thin for p in part} == {(0, 0, z) for z in (-1, 1)}
    assert all(len(part) == 2 for part in line.thin)
    # |x| - |y|: two planes that cross along the z axis; no part is thin
    net = of_sides((X, [1, 1]), (Y, [-1, -1]))
    cone = level_set(net, box)
    assert not cone.thin
    assert not cone.closed
    check(cone, net, box)
    check_volume(cone, net, box)


def test_open_set() -> None:
    """Where f vanishes on an open set its outline is the mesh."""
    box = pv.Box(-2, 2, 3)
    hinge = Network.from_arrays([SIDES, [[1] * 6], [[1]]], [[0] * 6, [-1], [0]])  # a plateau
    mesh = level_set(hinge, box)
    assert len(mesh.open_regions) == 8
    assert mesh.closed
    assert {p.side for p in mesh.polygons} == {1}
    assert flux(mesh, [Fraction(0)] * 3) / 3 == Fraction(4, 3)
    check(mesh, hinge, box)
    check_volume(mesh, hinge, box)
    # x, with a plateau: relu(x - 1) - relu(-x - 1); above and below do not meet
    ramp = Network.from_arrays([SIDES[:2], [[1, -1]]], [[-1, -1], [0]])
    mesh = level_set(ramp, box)
    assert sorted(p.side for p in mesh.polygons) == [-1, 1]
    assert len(mesh.open_regions) == 1
    check(mesh, ramp, box)
    check_volume(mesh, ramp, box)
    whole = level_set(Network.from_arrays([[[0, 0, 0]]]), box)
    assert whole.open_regions == (0,)
    assert not whole.polygons
    assert whole.thin == ()


def random_case(seed: int) -> tuple[Network, Any, int, Fraction]:
    """A degenerate network with windows and slopes; the level taken at a vertex or a plateau."""
    rng = Random(seed)
    centre = [Fraction(rng.randint(-2, 2), 2) for _ in range(3)]
    widths = [rng.choice((0.5, 1, 2)) for _ in range(3)]
    lo, hi = ([float(c) + s * w for c, w in zip(centre, widths, strict=True)] for s in (-1, 1))
    description: dict[str, Any] = {"kind": "box", "dim": 3, "lo": lo, "hi": hi}
    if seed % 3 == 2:
        rows = [[s * v for v in row] for row in ([1, 0, 0], [0, 1, 1], [1, -1, 1]) for s in (1, -1)]
        ends = [float(dot(row, centre)) + rng.choice((0.5, 1, 2)) for row in rows]
        description = {"kind": "polytope", "dim": 3, "a": rows, "b": ends}
    graph = random_net(rng, centre, 2)
    net, domain = Network(graph.inputs, to_nodes(graph, seed)), to_domain(description)
    output = rng.randrange(net.output_size)
    found = pv.regions(net, domain)
    region = found[rng.randrange(len(found))]
    for other in found:  # a plateau, if there is one
        if rng.random() < 0.5 and not any(other.affine_map(exact=True)[0][output]):
            region = other
    matrix, offset = region.affine_map(exact=True)
    vertex = rng.choice(region.exact_vertices).p
    return net, domain, output, dot(matrix[output], vertex) + offset[output]


@pytest.mark.parametrize("block", range(6))
def test_random_degenerate_networks(block: int) -> None:
    for seed in range(15 * block, 15 * block + 15):
        net, domain, output, level = random_case(seed)
        mesh = level_set(net, domain, output, level)
        try:
            check(mesh, net, domain, output, level)
            if isinstance(domain, pv.Box):
                check_volume(mesh, net, domain, output, level)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def test_floats_set_aside_only_what_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    net, box = trained_like(7), pv.Box([-1, 999, -1], [1, 1001, 1])
    level = net.exact([0, 1000, 0])[0]
    quick = level_set(net, box, level=level)
    asked: list[int] = []
    add = module._Builder.add

    def counted(self: Any, found: Any, index: int, *rest: Any) -> None:
        asked.append(index)
        add(self, found, index, *rest)

    monkeypatch.setattr(module._Builder, "add", counted)
    assert level_set(net, box, level=level).exact == quick.exact
    assert len(asked) <= len(quick.polygons) + 5
    monkeypatch.setattr(module, "_undecided", lambda found, *_: range(found.count))
    assert level_set(net, box, level=level).exact == quick.exact


# ------------------------------------------------------------------------- files and errors


def read_obj(text: str) -> tuple[list[list[float]], list[list[int]]]:
    lines = [line.split() for line in text.splitlines()]
    vertices = [[float(v) for v in line[1:]] for line in lines if line[0] == "v"]
    return vertices, [[int(v) - 1 for v in line[1:]] for line in lines if line[0] == "f"]


def read_ply(text: str) -> tuple[list[list[float]], list[list[int]]]:
    head, _, body = text.partition("end_header\n")
    words = [line.split() for line in head.splitlines()]
    counts = {w[1]: int(w[2]) for w in words if w[0] == "element"}
    lines = [line.split() for line in body.splitlines()]
    assert len(lines) == counts["vertex"] + counts["face"]
    vertices = [[float(v) for v in line] for line in lines[: counts["vertex"]]]
    faces = [[int(v) for v in line] for line in lines[counts["vertex"] :]]
    assert all(face[0] == 3 for face in faces)
    return vertices, [face[1:] for face in faces]


def test_files(tmp_path: Any) -> None:
    net = trained_like(1)
    for mesh in (level_set(net, pv.Box(-1, 1, 3)), level_set(net, pv.Box(-1, 1, 3), level=99)):
        for name, read in (("a.obj", read_obj), ("b.PLY", read_ply)):
            mesh.save(tmp_path / name)
            vertices, faces = read((tmp_path / name).read_text())
            assert vertices == mesh.vertices.tolist()
            assert faces == mesh.triangles.tolist()
    with pytest.raises(pv.InputError, match="saved as .obj or .ply"):
        mesh.save(tmp_path / "mesh.stl")
    with pytest.raises(pv.InputError, match="cannot write"):
        mesh.save(tmp_path / "nowhere" / "mesh.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.obj", "b.PLY"]


def test_errors() -> None:
    net, box = octahedron(), pv.Box(-1, 1, 3)
    for domain, text in (
        (pv.Space(3), "unbounded"),
        (pv.Box([-1, -1, -np.inf], 1), "unbounded"),
        (pv.Polytope([[1, 0, 0], [0, 1, 0]], [1, 1]), "unbounded"),
        (pv.Slice([0, 0, 0], np.eye(3)), "unbounded"),
        (pv.Slice([0, 0, 0], np.eye(3)[:, :2], pv.Box(0, 1, 2)), "2"),
        (pv.Box(-1, 1, 2), "R\\^2"),
        (pv.Box([0, 0, 0], [1, 1, 0]), "interior"),
        (3, "domain is a int"),
    ):
        with pytest.raises(pv.InputError, match=text):
            level_set(net, domain)
    for output in (1, -1, [1, 2], [[1]], "x", [np.nan], None, True):
        with pytest.raises(pv.InputError, match="output"):
            level_set(net, box, output)
    for level in (np.inf, "x", np.nan):
        with pytest.raises(pv.InputError, match="level"):
            level_set(net, box, level=level)


def test_an_interrupted_run_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    net, box = trained_like(2), pv.Box(-1, 1, 3)
    level = net.exact([0, 0, 0])[0]
    stopped = level_set(net, box, level=level, timeout=0)
    assert not stopped.complete
    assert stopped.status == Status.TIMEOUT
    add = module._Builder.add

    def interrupted(self: Any, *rest: Any) -> None:
        if self._polygons:
            raise KeyboardInterrupt
        add(self, *rest)

    monkeypatch.setattr(module._Builder, "add", interrupted)
    part = level_set(net, box, level=level)
    assert not part.complete
    assert part.status == Status.INTERRUPTED
    assert len(part.polygons) == 1
    part.save(tmp_path / "part.obj")
    assert "incomplete (interrupted)" in (tmp_path / "part.obj").read_text()


def test_json() -> None:
    answer = level_set(octahedron(), pv.Box(-2, 2, 3))
    assert set(answer.to_dict()) == {
        "exact", "polygons", "thin", "open_regions", "complete", "status",
    }  # fmt: skip
    assert "Fraction" not in answer.to_json()
