"""Cases, oracles and shrinking for random differential tests of the region engine.

A seed makes a small network and domain that are degenerate on purpose (`tests/strategies.py`, with
a few twists of its own); every mode of the engine and the public functions must agree on it with
`plverify.reference`, a slow enumerator in rationals that shares no code and no idea with the
engine. What is too large for that is tested against itself: all ways to decide signs must find the
same patterns, areas must sum to the domain's, and the independent checker must accept the proof.

Those are in one and two dimensions; `tests/fuzz_nd.py` does the like in up to nine.

A check raises `Mismatch`, whose kind says what differs. `dev/fuzz` runs all this over many seeds;
`tests/test_engine_vs_reference.py` calls the same checks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import combinations, pairwise
from math import prod
from operator import add, mul
from typing import Any

import fuzz_nd
import numpy as np
from fuzz_cases import Mismatch, require
from strategies import Case, float32, random_degenerate_net, reference_domain, to_reference

import plverify as pv
from plverify import _core, reference

Vector = tuple[Fraction, ...]
Germ = tuple[Vector, Vector | None]
"""A point p, or p + R q with R beyond every number."""

MODES: dict[str, dict[str, Any]] = {
    "filtered": {},
    "two threads": {"threads": 2},
    "portable kernels": {"portable": True},
    "exact points": {"decide": 1, "threads": 2},
    "exact signs": {"decide": 2},
}
STRUCTURE = ("patterns", "vertex_count", "line_layer", "line_unit", "flags")
ARRAYS = (*STRUCTURE, "vertices", "jacobian", "offset")


# ------------------------------------------------------------------------------- cases and oracles


def engine_domain(description: dict[str, Any]) -> Any:
    """The domain of a case as the package's object."""
    kind = description["kind"]
    if kind == "box":
        low = [-np.inf if v is None else v for v in description["lo"]]
        high = [np.inf if v is None else v for v in description["hi"]]
        domain = pv.Box(low, high)
    elif kind == "space":
        domain = pv.Space(description["dim"])
    else:
        domain = pv.Polytope(description["a"], description["b"])
    if "basis" in description:
        domain = pv.Slice(description["origin"], description["basis"], domain)
    return domain


class Subject:
    """A case in the engine's terms."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = pv.Network.from_arrays(case["weights"], case["biases"], slope=case["slopes"])
        self.domain = engine_domain(dict(case["domain"]))
        self.core = _core.Net(self.net.canonical)
        self.dim: int = case["domain"]["dim"]

    def run(self, want: str = "count", **options: Any) -> dict[str, Any]:
        """One complete run of the engine."""
        out: dict[str, Any] = _core.enumerate(self.core, self.domain.to_bytes(), want, **options)
        require(out["complete"] and out["reason"] == "", "incomplete", out["reason"])
        return out

    def patterns(self, packed: Any) -> list[tuple[int, ...]]:
        """Unpacked patterns; the padding must be zero."""
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        require(not bits[:, self.net.unit_count :].any(), "padding")
        return [tuple(row) for row in bits[:, : self.net.unit_count].tolist()]


class Oracle(Subject):
    """A case and what the reference says about it."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.reference_net, self.reference_domain = to_reference(case)
        self.truth = reference.enumerate_regions(self.reference_net, self.reference_domain)
        self.index = {region.pattern: i for i, region in enumerate(self.truth.regions)}
        self.bounded = all(region.vertices is not None for region in self.truth.regions)
        unit = [[Fraction(int(i == j)) for j in range(self.dim)] for i in range(self.dim)]
        self.basis: Any = self.reference_domain.basis or unit
        self._values: dict[Vector, Vector] = {}
        self._ties: dict[Any, set[Any]] = {}

    @cached_property
    def ever(self) -> tuple[list[int], list[int]]:
        """Per unit, whether it is ever on and ever off."""
        columns = list(zip(*self.index, strict=True))
        return [max(c) for c in columns], [1 - min(c) for c in columns]

    @cached_property
    def corners(self) -> set[Vector]:
        """All finite vertices."""
        facets = (f for region in self.truth.regions for f in region.facets)
        return {end for f in facets for end in (f.start, f.end) if end is not None}

    @cached_property
    def slack(self) -> tuple[Any, Any]:
        """Bounds of the rounding errors of J and c, from the same product of absolute values.

        `Walker::prepare_map` adds at most ``n + (n + 32)`` columns to a map of ``n`` inputs.
        """
        net, dim = self.reference_net, self.dim
        reach, width = np.zeros(dim), np.ones(dim)
        if self.bounded:  # the engine works around the middle of the domain, in units of its size
            sides = [(min(c), max(c)) for c in zip(*self.corners, strict=True)]
            reach = np.array([float(max(-low, high)) for low, high in sides])
            width = np.array([float(high - low) for low, high in sides])
        with np.errstate(all="ignore"):
            rows = zip(self.basis, self.reference_domain.origin or [0] * dim, strict=True)
            place = np.array([[*row, o] for row, o in rows], dtype=object)
            table = np.array(net.weights[0], dtype=object) @ place
            table[:, -1] += np.array(net.biases[0], dtype=object)
            size = np.abs(table.astype(float))
            size[:, -1] += 2 * size[:, :-1] @ reach
            growth = 16 * 2.0**-53
            lost = np.full(len(size), 1e-290)  # to underflow
            for k, slopes in enumerate(net.slopes):
                factor = np.array([max(1, abs(s), abs(1 - s)) for s in slopes], dtype=float)
                weight = np.abs(np.array(net.weights[k + 1], dtype=float))
                size, lost = weight @ (factor[:, None] * size), weight @ (factor * lost) + 1e-290
                size[:, -1] += np.abs(np.array(net.biases[k + 1], dtype=float))
                growth += (16 * len(slopes) + 300) * 2.0**-53
            bound = 2 * growth * size
            bound[:, :-1] += 4 * lost[:, None] / width
            bound[:, -1] += 4 * lost
            return bound[:, :-1], bound[:, -1] + 2 * bound[:, :-1] @ reach

    def outputs(self, t: Vector) -> Vector:
        """The outputs at a point of the domain."""
        if t not in self._values:
            self._values[t] = self.reference_net.forward(self.reference_domain.embed(t))
        return self._values[t]

    @cached_property
    def units(self) -> list[list[reference.LocalUnit]]:
        """The units inside each region."""
        inside = (self.reference_domain.embed(r.interior_point) for r in self.truth.regions)
        return [self.reference_net.units_at(x) for x in inside]

    def ties(self, reach: Fraction | None) -> set[Any]:
        """The decision boundary as a set of points, within ``|t| <= reach`` if that is given."""
        if reach not in self._ties:
            partition, domain = self.truth, self.reference_domain
            if reach is not None:
                box = reference.Domain.box([-reach] * 2, [reach] * 2)
                rows = domain.rows + box.rows
                inside = reference.Domain(2, rows, domain.origin, domain.basis)
                partition = reference.enumerate_regions(self.reference_net, inside)
            segments = reference.decision_boundary(partition)
            self._ties[reach] = point_set((tie.start, tie.end) for tie in segments)
        return self._ties[reach]

    @cached_property
    def open_ties(self) -> list[list[Vector]]:
        """Polygons on which two outputs agree and no other is larger, of a bounded plane domain."""
        cells = []
        for region in self.truth.regions:
            rows = list(zip(region.J, region.c, strict=True))
            for i, j in combinations(range(len(rows)), 2):
                if rows[i] == rows[j]:
                    cell = list(region.vertices or ())
                    for slope, value in rows:
                        form = [a - b for a, b in zip(rows[i][0], slope, strict=True)]
                        cell = _clip(cell, (*form, rows[i][1] - value))
                    cells += [cell] if len(cell) > 2 else []
        return cells


def random_case(seed: int) -> Case:
    """The case of a seed: a degenerate net, at times with more outputs or stranger numbers."""
    case = random_degenerate_net(seed)
    rng = random.Random(f"twist {seed}")
    twist = rng.choice(("none", "none", "outputs", "outputs", "scales", "thirds", "grid", "rows"))
    weights, biases, domain = case["weights"], case["biases"], case["domain"]
    if twist == "outputs":
        for _ in range(rng.randint(2, 4)):
            i = rng.randrange(len(weights[-1]))
            weights[-1].append([w + rng.choice((0, 0, 1, -1)) for w in weights[-1][i]])
            biases[-1].append(biases[-1][i] + rng.choice((0, 0, 1)))
    elif twist == "scales":
        layer = rng.randrange(len(weights))
        for i in range(len(biases[layer])):
            factor = 2.0 ** rng.choice((-900, -300, 300, 900))
            weights[layer][i] = [w * factor for w in weights[layer][i]]
            biases[layer][i] *= factor
    elif twist == "thirds":
        layer, third = rng.randrange(len(weights)), Fraction(1, rng.choice((3, 7, 49)))
        weights[layer] = [[Fraction(w) * third for w in row] for row in weights[layer]]
        biases[layer] = [Fraction(b) / 3 for b in biases[layer]]
    elif twist == "rows" and domain["kind"] == "box":  # as a polytope, touched at its corners
        ends = reference_domain(domain).rows
        scaled = [[k * v for v in row] for row in ends for k in (1, rng.randint(2, 3))]
        scaled += [[*map(add, *rng.choices(ends, k=2))] for _ in range(rng.randint(0, 3))]
        del domain["lo"], domain["hi"]
        domain["a"], domain["b"] = [[-v for v in r[:-1]] for r in scaled], [r[-1] for r in scaled]
        domain["kind"] = "polytope"
    elif twist == "grid" and domain["kind"] == "box":
        step = Fraction(1, rng.choice((3, 10, 2**40)))
        for side in ("lo", "hi"):
            domain[side] = [v if v is None else Fraction(v) * step for v in domain[side]]
    return case


# ------------------------------------------------------------------------------- the comparisons


def germ(raw: tuple[Any, ...]) -> Germ:
    """A point from the engine's integers."""
    *rows, den = raw
    points = [tuple(Fraction(v, den) for v in row) for row in rows]
    return points[0], points[1] if len(points) > 1 else None


def finite(vertex: Germ) -> Vector | None:
    """The point, or None at infinity: as the reference names the end of a facet."""
    return vertex[0] if vertex[1] is None else None


def vanishes(row: Sequence[Any], vertex: Germ) -> bool:
    """Whether an affine form (a, ..., c) is zero at the point."""
    p, q = vertex
    return not (q and sum(map(mul, row, q))) and not sum(map(mul, row, (*p, 1)))


def check_count(oracle: Oracle, **options: Any) -> None:
    """Count and units that are ever on or off."""
    out = oracle.run(**options)
    require(out["count"] == len(oracle.index), "count", options, out["count"], len(oracle.index))
    found = (out["ever_on"].tolist(), out["ever_off"].tolist())
    require(found == oracle.ever, "units", options, found, oracle.ever)


def check_regions(oracle: Oracle, **options: Any) -> dict[str, Any]:
    """Patterns, exact outlines, walls, neighbours, linear regions and maps of a listing."""
    truth, dim = oracle.truth, oracle.dim
    out = oracle.run("regions", **options)
    found = oracle.patterns(out["patterns"])
    require(out["count"] == len(found), "count", options)
    require(len(set(found)) == len(found), "repeated", options)
    missing, extra = set(oracle.index) - set(found), set(found) - set(oracle.index)
    require(not missing and not extra, "patterns", options, f"{missing=}", f"{extra=}")
    name = [oracle.index[pattern] for pattern in found]  # engine's number -> reference's
    if dim == 1:
        require(name == list(range(len(name))), "order", options, name)
    complex_ = out["complex"]
    neighbour = complex_.neighbours().tolist()
    labels = complex_.linear_labels().tolist()
    groups = {(a, truth.linear_labels[i]) for a, i in zip(labels, name, strict=True)}
    require(len(groups) == truth.linear_regions == max(labels) + 1, "linear", options, groups)
    start = np.concatenate([[0], np.cumsum(out["vertex_count"])]).tolist()
    layer, unit = out["line_layer"].tolist(), out["line_unit"].tolist()
    at_infinity = (out["flags"] & 1).tolist()
    pairs = set()
    for i, r in enumerate(name):
        region, edges = truth.regions[r], range(start[i], start[i + 1])
        ring = [germ(raw) for raw in complex_.exact_vertices(i)]
        far = [at_infinity[k] for k in edges]
        require([v[1] is not None for v in ring] == far, "infinity", options)
        expected = Counter((f.start, f.end) for f in region.facets)
        rows = {(f.start, f.end): f.row for f in region.facets}
        seen: Counter[Any] = Counter()
        for k, at in enumerate(edges):
            ends = (ring[k], ring[k] if dim == 1 else ring[(k + 1) % len(ring)])
            if layer[at] == -2:  # a side of the symbolic box
                require(ends[0][1] is not None and ends[1][1] is not None, "side", options)
                require(neighbour[at] == -1, "neighbours", options, "across infinity")
                continue
            key = (finite(ends[0]), finite(ends[1]))
            seen[key] += 1
            if key == (None, None):  # whole lines are told apart by their forms
                lines = [f.row for f in region.facets if (f.start, f.end) == key]
                match = [row for row in lines if all(vanishes(row, v) for v in ends)]
                require(len(match) == 1, "outline", options, ends, lines)
            else:
                require(key in rows, "outline", options, found[i], key, sorted(expected, key=str))
                require(all(vanishes(rows[key], v) for v in ends), "direction", options, ends)
            require((neighbour[at] == -1) == (layer[at] == -1), "neighbours", options, "boundary")
            require(neighbour[at] >= -1, "neighbours", options, "not found")
            if neighbour[at] >= 0:
                pairs.add((min(r, name[neighbour[at]]), max(r, name[neighbour[at]])))
        require(seen == expected, "outline", options, found[i], seen, expected)
        check_walls(oracle, r, ring, [(layer[k], unit[k]) for k in edges])
        check_map(oracle, r, out["jacobian"][i], out["offset"][i])
    require(pairs == set(truth.neighbours), "neighbours", options, pairs ^ set(truth.neighbours))
    return out


def check_walls(oracle: Oracle, r: int, ring: list[Germ], walls: list[tuple[int, int]]) -> None:
    """Every edge lies on the line of the unit, or on the constraint, that is named for it."""
    region, domain = oracle.truth.regions[r], oracle.reference_domain
    widths = oracle.reference_net.widths
    for k, (layer, unit) in enumerate(walls):
        if layer == -2:
            continue
        if layer == -1:
            row = domain.rows[unit]
        else:
            z = oracle.units[r][sum(widths[:layer]) + unit]
            columns = zip(*oracle.basis, strict=True)
            slope = [sum(a * b for a, b in zip(z.row, c, strict=True)) for c in columns]
            shift = sum(a * t for a, t in zip(slope, region.interior_point, strict=True))
            row = (*slope, z.value - shift)
            require(z.bends and any(slope), "wall", layer, unit)
        ends = (ring[k], ring[k] if oracle.dim == 1 else ring[(k + 1) % len(ring)])
        require(all(vanishes(row, end) for end in ends), "wall", layer, unit, ends)


def check_map(oracle: Oracle, r: int, jacobian: Any, offset: Any) -> None:
    """J and c are within their rounding errors of the exact map."""
    region = oracle.truth.regions[r]
    slack_j, slack_c = oracle.slack
    try:
        exact = np.array([[float(v) for v in row] for row in region.J]).reshape(jacobian.shape)
        constant = np.array([float(v) for v in region.c])
    except OverflowError:
        return
    if not (np.isfinite(slack_j).all() and np.isfinite(slack_c).all()):
        return  # beyond the range of doubles, where J and c promise nothing
    for name, value, true, slack in (
        ("J", jacobian, exact, slack_j),
        ("c", offset, constant, slack_c),
    ):
        bad = ~(np.abs(value - true) <= slack)
        require(not bad.any(), name, value.tolist(), true.tolist(), slack.tolist())


def check_threads(subject: Subject, **options: Any) -> None:
    """The arrays of a listing are the same to the last bit for any number of threads."""
    one, more = (subject.run("regions", threads=n, **options) for n in (1, 3))
    for name in ARRAYS:
        same = one[name].tobytes() == more[name].tobytes() and one[name].shape == more[name].shape
        require(same, "threads", options, name)


def check_stream(subject: Subject, batch: int = 3, threads: int = 1) -> None:
    """A stream hands out the regions of the list, in its order with one thread."""
    listed = subject.run("regions")
    stream = _core.stream(subject.core, subject.domain.to_bytes(), threads=threads, batch=batch)
    parts = list(iter(stream.next, None))
    require(stream.result()["complete"], "stream", "not complete")
    require(stream.result()["count"] == listed["count"], "stream", "count")
    require(all(1 <= part["count"] <= batch for part in parts), "stream", "size of a batch")
    rows = [row.tobytes() for part in parts for row in part["patterns"]]
    expected = [row.tobytes() for row in listed["patterns"]]
    require(sorted(rows) == sorted(expected), "stream", "patterns")
    require(threads > 1 or rows == expected, "stream", "order")
    total = sum(len(part["vertices"]) for part in parts)
    require(total == len(listed["vertices"]), "stream", "vertices")


def check_proof(subject: Subject, threads: int = 1) -> None:
    """The independent checker accepts the engine's proof."""
    verdict = pv.check(
        pv.regions(subject.net, subject.domain, exact=True, threads=threads).proof(), subject.net
    )
    require(verdict.accepted, "proof", verdict.reason)


# ----------------------------------------------------------------------------- decision boundaries


def form_through(u: Vector, v: Vector) -> tuple[int, ...]:
    """The line through two points: the same primitive integers for the same line."""
    row = (v[1] - u[1], u[0] - v[0], v[0] * u[1] - u[0] * v[1])
    return reference._unoriented(reference._integers([row])[0][0])


def point_set(segments: Iterable[tuple[Vector, Vector]]) -> set[Any]:
    """The union of segments, however they are cut: the maximal intervals on each line."""
    lines: dict[tuple[int, ...], list[tuple[Vector, Vector]]] = {}
    for u, v in segments:
        if u != v:
            lines.setdefault(form_through(u, v), []).append((min(u, v), max(u, v)))
    union = set()
    for line, parts in lines.items():
        parts.sort()
        low, high = parts[0]
        for a, b in parts[1:]:
            if a > high:
                union.add((line, low, high))
                low, high = a, b
            high = max(high, b)
        union.add((line, low, high))
    return union


def along(u: Germ, v: Germ, reach: Fraction) -> tuple[Vector, Vector]:
    """An edge inside the box ``|t| <= reach``, which holds all finite vertices in its interior."""

    def cut(vertex: Germ, other: Germ) -> Vector:
        p, q = vertex
        if q is None:
            return p
        base = other[0] if other[1] is None else p  # a point of the line inside the box
        steps = [(reach - (b if d > 0 else -b)) / abs(d) for b, d in zip(base, q, strict=True) if d]
        return tuple(b + min(steps) * d for b, d in zip(base, q, strict=True))

    return cut(u, v), cut(v, u)


def check_ties(oracle: Oracle, segments: set[Any]) -> None:
    """The decision boundary as a set of points; every segment's pair of outputs ties there.

    An unbounded domain is compared inside a box that holds all vertices.
    """
    edges = [(germ(a), germ(b), *rest) for a, b, *rest in segments]
    far = Fraction(10) ** 1500  # beyond every number of a case, as R is
    for a, b, i, j, _ in edges:
        require(0 <= i < j < oracle.net.output_size, "tie pair", i, j)
        for p, q in (a, b):
            t = p if q is None else tuple(x + far * y for x, y in zip(p, q, strict=True))
            values = oracle.outputs(t)
            require(values[i] == values[j] == max(values), "tie", i, j, p, q)
    if oracle.dim == 1:
        found = {a[0] for a, b, _, _, open_set in edges if not open_set and a == b}
        require(found == _tie_points(oracle), "tie points", found)
        return
    reach = None
    parts = [(a[0], b[0]) for a, b, *_ in edges]
    if not oracle.bounded:
        ends = [abs(x) for v in oracle.corners for x in v]
        ends += [abs(x) for region in oracle.truth.regions for x in region.interior_point]
        ends += [abs(x) for edge in edges for p, _ in edge[:2] for x in p]
        reach = 2 * max(ends, default=Fraction(0)) + 7
        parts = [along(a, b, reach) for a, b, *_ in edges]
    mine = point_set(part for part, edge in zip(parts, edges, strict=True) if not edge[4])
    theirs = oracle.ties(reach)
    require(mine == theirs, "ties", f"missing {theirs - mine}", f"extra {mine - theirs}")
    if oracle.bounded:
        shown = [part for part, edge in zip(parts, edges, strict=True) if edge[4]]
        _check_open_ties(oracle.open_ties, shown, point_set(parts))


def _tie_points(oracle: Oracle) -> set[Vector]:
    points = set()
    for region in oracle.truth.regions:
        for i, j in combinations(range(len(region.c)), 2):
            slope, value = region.J[i][0] - region.J[j][0], region.c[i] - region.c[j]
            if slope:
                t = (-value / slope,)
                values = region.value(t)
                if region.contains(t) and values[i] == max(values):
                    points.add(t)
    return points


def _check_open_ties(cells: list[list[Vector]], shown: list[Any], everything: set[Any]) -> None:
    """Where two outputs tie on an open set, its outline is shown; nothing else is shown as open."""
    require(bool(cells) == bool(shown), "open ties", len(cells), len(shown))
    for cell in cells:
        for u, v in pairwise([*cell, cell[0]]):
            low, high, line = min(u, v), max(u, v), form_through(u, v)
            drawn = any(k == line and a <= low and high <= b for k, a, b in everything)
            require(drawn, "open ties", "outline", u, v)
    for u, v in shown:
        middle = tuple((a + b) / 2 for a, b in zip(u, v, strict=True))
        require(any(_holds(cell, middle) for cell in cells), "open ties", "not open", u, v)


def _clip(cell: list[Vector], row: tuple[Fraction, ...]) -> list[Vector]:
    """The part of a polygon where the form is not negative; [] where it has no interior."""
    values = [row[0] * x + row[1] * y + row[2] for x, y in cell]
    if all(v < 0 or (v == 0 and any(row)) for v in values):
        return []
    out = []
    for (u, a), (v, b) in pairwise([*zip(cell, values, strict=True), (cell[0], values[0])]):
        if a >= 0:
            out.append(u)
        if a * b < 0:
            out.append(tuple(p + (q - p) * a / (a - b) for p, q in zip(u, v, strict=True)))
    return out


def _holds(cell: list[Vector], t: Vector) -> bool:
    edges = pairwise([*cell, cell[0]])
    return all((v[0] - u[0]) * (t[1] - u[1]) >= (v[1] - u[1]) * (t[0] - u[0]) for u, v in edges)


# ------------------------------------------------------------------------------ the public surface


def check_public(oracle: Oracle, exact: bool = False, threads: int = 1) -> None:
    """`pv.regions` and what its regions tell, against the reference, without tolerance."""
    net, domain, truth = oracle.net, oracle.domain, oracle.truth
    found = pv.regions(net, domain, exact=exact, threads=threads)
    require(found.complete and found.count == len(found) == len(truth.regions), "count", found)
    require(found.linear_count == truth.linear_regions, "linear", found.linear_count)
    flat = [
        (k, i, s) for k, (_, u) in enumerate(net.exact_net.layers) for i, s in enumerate(u.slopes)
    ]
    for units, seen in zip((found.dead_units, found.always_active_units), oracle.ever, strict=True):
        fixed = [u[:2] for u, s in zip(flat, seen, strict=True) if not s and u[2] != (1, 0)]
        require(units == fixed, "fixed", units)
    beside: list[set[int]] = [set() for _ in truth.regions]
    for a, b in truth.neighbours:
        beside[a].add(b)
        beside[b].add(a)
    for region in found:
        r = oracle.index[tuple(map(int, region.pattern))]
        true = truth.regions[r]
        rows = sorted(reference._primitive(row) for row in region.inequalities())
        require(rows == sorted(f.row for f in true.facets), "inequalities", rows)
        require(region.exact_volume == true.volume, "volume", region.exact_volume, true.volume)
        require(region.bounded == (true.vertices is not None), "bounded", r)
        if true.vertices is not None:
            ring = [v.p for v in region.exact_vertices]
            turn = ring.index(true.vertices[0]) if true.vertices[0] in ring else 0
            require((*ring[turn:], *ring[:turn]) == true.vertices, "vertices", ring, true.vertices)
        t = region.exact_interior_point
        require(
            all(sum(a * x for a, x in zip(f.row, (*t, 1), strict=True)) > 0 for f in true.facets),
            "interior",
        )
        require(found.find(t) == region, "find", t)
        J, c = region.affine_map(exact=True)
        require((J.tolist(), c.tolist()) == ([*map(list, true.J)], [*true.c]), "exact map", r)
        near = {oracle.index[tuple(map(int, other.pattern))] for other in region.neighbours}
        require(near == beside[r], "neighbours", near, beside[r])
    if oracle.dim == 1:
        knots = pv.knots(net, domain, threads=threads)
        expected = [(knot.position, knot.changes_output) for knot in truth.knots]
        pairs = [*zip(knots.exact, knots.changes_output.tolist(), strict=True)]
        require(knots.complete and pairs == expected, "knots", pairs, expected)
    elif oracle.bounded and net.output_size > 1:
        lines = pv.decision_boundary(net, domain, threads=threads)
        drawn = point_set((s.start.p, s.end.p) for s in lines.segments if not s.open_set)
        require(drawn == oracle.ties(None), "decision boundary", drawn ^ oracle.ties(None))
        joined = point_set((a.p, b.p) for line in lines.exact for a, b in pairwise(line))
        whole = point_set((s.start.p, s.end.p) for s in lines.segments)
        require(joined == whole, "polylines", joined ^ whole)


def check_distance(oracle: Oracle, x: Sequence[Any]) -> None:
    """The exact distance to the nearest region boundary, in all three norms."""
    units = [u for u in oracle.reference_net.units_at(x) if u.bends and any(u.row)]
    for norm in ("l2", "l1", "linf"):
        found = pv.boundary_distance(oracle.net, x, norm)
        if norm == "l2":
            true = oracle.reference_net.boundary_distance_squared(x)
        else:
            dual: Callable[[Any], Fraction] = max if norm == "l1" else sum
            true = min((abs(u.value) / dual([abs(a) for a in u.row]) for u in units), default=None)
        require(found.exact == true, "distance", norm, x, found.exact, true)
        if true is not None and np.isfinite(found.upper):
            power = 2 if norm == "l2" else 1
            low, high = Fraction(found.lower) ** power, Fraction(found.upper) ** power
            require(low <= true <= high, "distance", norm, x, found)
            require(found.upper <= np.nextafter(found.lower, np.inf), "distance", "not tight")


def check_case(case: Case, thorough: bool = True) -> None:
    """Everything about a case that the reference can answer."""
    oracle = Oracle(case)
    seen: list[dict[str, Any]] = []
    drawn: list[set[Any]] = []
    for options in MODES.values():
        check_count(oracle, **options)
        again = oracle.run("regions", **options) if seen else {}
        if not any(all(a[k].tobytes() == again[k].tobytes() for k in ARRAYS) for a in seen):
            seen.append(check_regions(oracle, **options))
        ties = set(oracle.run("ties", **options)["segments"])
        if ties not in drawn:
            drawn.append(ties)
            check_ties(oracle, ties)
    check_threads(oracle)
    check_stream(oracle)
    check_proof(oracle)
    if thorough:
        check_public(oracle)
        for t in [oracle.truth.regions[0].interior_point, *sorted(oracle.corners)[:1]]:
            check_distance(oracle, oracle.reference_domain.embed(t))


# ------------------------------------------------------------------- larger networks, no reference


def medium_case(seed: int) -> Case:
    """A network that is too large for the reference, with many exact zeros."""
    rng = random.Random(f"medium {seed}")
    widths = rng.choice(((20, 20, 20), (16, 16), (12, 12, 12, 12), (24, 24), (10,) * 6))
    bound, parts = rng.choice(((1, 1), (2, 2), (4, 4), (8, 4), (0, 0)))
    centred = rng.random() < 0.3

    def draw() -> float:
        return rng.randint(-bound, bound) / parts if bound else float32(rng.uniform(-1, 1))

    dim = rng.choice((1, 2, 2, 2))
    sizes = (dim, *widths, rng.randint(1, 4))
    weights = [[[draw() for _ in range(a)] for _ in range(b)] for a, b in pairwise(sizes)]
    biases = [[0.0 if centred else draw() for _ in range(b)] for b in sizes[1:]]
    slope = rng.choice((0.0, 0.0, 0.0, 0.5, -1.0, float32(0.01)))
    low = rng.choice((-1.0, -2.0, 0.5))
    domain: Any = {"kind": "space", "dim": dim}
    if rng.random() < 0.8:
        sides = {"lo": [low, -1.0][:dim], "hi": [low + 2, rng.choice((1.0, 3.0))][:dim]}
        domain = {"kind": "box", "dim": dim, **sides}
    slopes = [[slope] * width for width in widths]
    return {"weights": weights, "biases": biases, "slopes": slopes, "domain": domain}


def exact_area(out: dict[str, Any]) -> Fraction:
    """The sum of the areas (lengths) of a listing with exact points, in rationals."""
    points = [tuple(Fraction(v, raw[1]) for v in raw[0]) for raw in out["complex"].points()]
    at, total = 0, []
    index = out["complex"].point_index().tolist()
    for size in out["vertex_count"].tolist():
        ring = [points[i] for i in index[at : at + size]]
        at += size
        if len(ring) == 2:
            total.append(2 * (ring[1][0] - ring[0][0]))
        else:
            total.append(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairwise([*ring, ring[0]])))
    while len(total) > 1:  # pairwise, or the denominators pile up
        total = [sum(total[k : k + 2], Fraction(0)) for k in range(0, len(total), 2)]
    return total[0] / 2


def check_self(case: Case, most: int = 1200) -> None:
    """All ways to decide signs agree; areas sum to the domain's; the checker accepts the proof."""
    subject = Subject(case)
    found = {}
    for name, options in MODES.items():
        out = subject.run("regions", **options)
        found[name] = sorted(subject.patterns(out["patterns"]))
        sizes = len(found[name]), len(found["filtered"])
        require(found[name] == found["filtered"], "modes", name, sizes)
        require(subject.run(**options)["count"] == len(found[name]), "modes", name, "count")
        if options.get("decide") == 1 and "lo" in case["domain"]:
            sides = zip(case["domain"]["lo"], case["domain"]["hi"], strict=True)
            area = prod(Fraction(high) - Fraction(low) for low, high in sides)
            require(exact_area(out) == area, "area", name)
    require(len(set(found["filtered"])) == len(found["filtered"]), "repeated")
    check_threads(subject)
    check_stream(subject, batch=100, threads=2)
    if len(found["filtered"]) <= most:
        check_proof(subject, threads=2)


CHECKS: dict[str, Callable[[Any], None]] = {
    "reference": check_case,
    "self": check_self,
    "dimensions": fuzz_nd.check_case,
}
MAKERS: dict[str, Callable[[int], Any]] = {
    "reference": random_case,
    "self": medium_case,
    "dimensions": fuzz_nd.random_case,
}


def verdict(check: str, case: Any) -> tuple[str, str] | None:
    """What is wrong with a case: a kind and a text, or None."""
    try:
        CHECKS[check](case)
    except Mismatch as error:
        return error.kind, str(error)
    except Exception as error:  # anything that the engine throws is a finding
        return type(error).__name__, f"{type(error).__name__}: {error}"
    return None
