"""Small networks with branches, maxima and convolutions, degenerate on purpose, seeded.

`random_graph(seed)` returns a `GraphCase`: a network as `oracle_graph` describes it, and a domain
as `strategies` does. `graph_cases()` is the same as a hypothesis strategy, `to_nodes` and
`to_domain` make plverify's objects of it.

What is drawn: inputs of size 1 to 6, chains, sums of two branches, joined branches, tensors without
effect, the same tensor read twice, convolutions, units on units, units and maxima on the input
itself, maxima of 1 to 5 inputs in windows that overlap, nested maxima, maxima that join several
tensors, absent inputs. Slopes are 0, 1/4, -1, 1 and 2; weights ternary, small integers,
quarters or generic dyadic numbers, sometimes thirds; biases zero, or of the weights' kind. Rows are
repeated, negated, zero or constant, so that ties on open sets are the normal case.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf, lcm
from typing import Any, NamedTuple

from hypothesis import strategies as st
from oracle_graph import Graph, Node, Partition, evaluate, regions, sources
from strategies import DomainDict, random_domain, reference_domain

F = Fraction
SLOPES = (F(0), F(0), F(0), F(1, 4), F(-1), F(1), F(2))
WEIGHTS: dict[str, Callable[[random.Random], Fraction]] = {
    "ternary": lambda rng: F(rng.choice((0, 1, -1))),
    "integer": lambda rng: F(rng.randint(-3, 3)),
    "quarter": lambda rng: F(rng.randint(-8, 8), 4),
    "generic": lambda rng: F(rng.randint(-4095, 4095), 2048),
    "third": lambda rng: F(rng.randint(-6, 6), 3),
}


class GraphCase(NamedTuple):
    """A network, and a domain as `strategies.DomainDict` describes it."""

    net: Graph
    domain: DomainDict


class ConvTable(NamedTuple):
    """A convolution: as plverify's `Conv`; the fourth entry of a linear node that is one.

    `taps[k][p]` is the input position that kernel entry k reads for output position p, or -1;
    `kernels` has one row per output channel, by (input channel of its group, k), the bias last.
    """

    channels: int
    positions: int
    groups: int
    taps: list[list[int]]
    kernels: list[list[Fraction]]

    @property
    def rows(self) -> list[tuple[list[tuple[int, Fraction]], Fraction]]:
        """The same map as the rows of a linear node."""
        made: list[tuple[list[tuple[int, Fraction]], Fraction]] = []
        inner, outer = self.channels // self.groups, len(self.kernels) // self.groups
        for o, kernel in enumerate(self.kernels):
            weights = iter(kernel)
            entries = [
                (self.positions * (o // outer * inner + c), taps, next(weights))
                for c in range(inner)
                for taps in self.taps
            ]
            for p in range(len(self.taps[0])):
                terms = [(base + taps[p], w) for base, taps, w in entries if taps[p] >= 0]
                made.append((terms, kernel[-1]))
        return made


def oracle_regions(case: GraphCase) -> Partition:
    """Return the regions of a case."""
    domain = reference_domain(case.domain)
    placed = None if domain.origin is None else (domain.origin, domain.basis)
    return regions(case.net, domain.dim, domain.rows, placed)


# ------------------------------------------------------------------------------------- generators


class _Builder:
    """A network in the making: every method adds one node and returns its tensor.

    `values` are those of the tensors at one point of the domain, so that kinks can pass near it.
    """

    def __init__(self, rng: random.Random, centre: Sequence[Fraction], budget: int) -> None:
        self.rng = rng
        self.nodes: list[Node] = []
        self.sizes = [len(centre)]
        self.values: list[Sequence[Fraction]] = [centre]
        self.budget = budget  # how many candidate lines may still be added, roughly
        self.draw = WEIGHTS[rng.choice(sorted(WEIGHTS))]
        far = any(abs(x) > 100 for x in centre)
        self.biases = rng.choice(
            ("near", "near", "near", "through", *(() if far else ("zero", "like")))
        )
        self.spread = F(rng.choice((1, 1, 1, 2)), rng.choice((4, 4, 4, 1 << 12)))
        self.slope = rng.choice((F(0), F(0), F(0), F(1, 4), F(-1), F(2), None))  # None: per unit
        self.spoilt = rng.choice((0.0, 0.15, 0.4))

    def add(self, node: Node, size: int) -> int:
        joined = [value for source in sources(node) for value in self.values[source]]
        alone = Graph(len(joined), ((node[0], 0 if node[0] == "units" else (0,), node[2]),))
        self.values.append(evaluate(alone, joined)[0])
        self.nodes.append(node)
        self.sizes.append(size)
        return len(self.nodes)

    def some(self) -> int:
        """Return a tensor to read: the last one most of the time."""
        last = len(self.sizes) - 1
        return last if self.rng.random() < 0.75 else self.rng.randint(0, last)

    def bias(self, value: Fraction) -> Fraction:
        """Return a bias for a row that has a value at the point in the domain."""
        if self.biases in ("near", "through"):
            offset = 0 if self.biases == "through" else self.rng.randint(-3, 3)
            return offset * self.spread - value
        return F(0) if self.biases == "zero" else self.draw(self.rng)

    def affine(self, reads: Sequence[int], size: int, width: int | None = None) -> int:
        """Add a linear node of the first `width` entries: full or sparse rows, some spoilt."""
        rng, width = self.rng, width or sum(self.sizes[source] for source in reads)
        joined = [value for source in reads for value in self.values[source]]
        thin = rng.random() < 0.3
        rows: list[tuple[list[tuple[int, Fraction]], Fraction]] = []
        for _ in range(size):
            places = list(range(width))
            if thin:
                places = [rng.randrange(width) for _ in range(rng.randint(1, 3))]  # may repeat
            terms = [(j, self.draw(rng)) for j in places]
            bias = self.bias(sum((w * joined[j] for j, w in terms), F(0)))
            if rng.random() < self.spoilt:
                kind = rng.choice(("repeat", "negate", "scale", "shift", "zero", "copy"))
                old, constant = rng.choice(rows) if rows else (terms, bias)
                factor = {"negate": F(-1), "scale": F(2)}.get(kind, F(1))
                if kind == "zero":
                    terms, bias = [], rng.choice((F(0), F(0), F(1), F(-1)))
                elif kind == "copy":
                    terms, bias = [(rng.randrange(width), F(1))], F(0)
                else:
                    terms, bias = [(j, factor * w) for j, w in old], factor * constant
                    bias += F(kind == "shift")
            rows.append((terms, bias))
        return self.add(("linear", tuple(reads), rows), size)

    def units(self, source: int) -> int:
        size = self.sizes[source]
        slopes = [self.rng.choice(SLOPES) if self.slope is None else self.slope] * size
        if self.slope is None and self.rng.random() < 0.7:
            slopes = [self.rng.choice(SLOPES) for _ in slopes]
        self.budget -= size
        return self.add(("units", source, slopes), size)

    def residual(self) -> int:
        """Add the sum (or the difference, or twice one tensor) of two tensors of one size."""
        rng, a = self.rng, self.some()
        pool = [t for t, size in enumerate(self.sizes) if size == self.sizes[a]]
        b, size = rng.choice(pool), self.sizes[a]
        sign = rng.choice((F(1), F(1), F(-1)))
        reads, base = ((a, b), size) if a != b or rng.random() < 0.5 else ((a,), 0)
        rows = [([(i, F(1)), (base + i, sign)], F(0)) for i in range(size)]
        return self.add(("linear", reads, rows), size)

    def join(self) -> int:
        """Add a gather of entries of several tensors."""
        rng = self.rng
        reads = tuple(self.some() for _ in range(rng.randint(2, 3)))
        width = sum(self.sizes[source] for source in reads)
        places = list(range(width))
        rng.shuffle(places)
        places = places[: rng.randint(1, 6)]
        return self.add(("linear", reads, [([(j, F(1))], F(0)) for j in places]), len(places))

    def maxima(self) -> int:
        """Add maxima of windows: sliding, of equal distance (maxout), or anyhow."""
        rng = self.rng
        reads = [self.some()]
        while (rng.random() < 0.3 and len(reads) < 3) or len(reads) < 1:
            reads.append(self.some())
        width = sum(self.sizes[source] for source in reads)
        most = min(5, width)
        if most < 2:
            reads = [*reads, rng.randint(0, len(self.sizes) - 1)]
            width = sum(self.sizes[source] for source in reads)
            most = min(5, width)
        size, kind = rng.randint(2, most), rng.choice(("slide", "stripe", "any", "any"))
        windows: list[list[int]] = []
        if kind == "slide":
            stride, pad = rng.randint(1, size), rng.randint(0, 1)
            for at in range(-pad, width - size + pad + 1, stride):
                windows.append([j if 0 <= j < width else -1 for j in range(at, at + size)])
        elif kind == "stripe":
            step = width // size
            windows = [[i + k * step for k in range(size)] for i in range(step)]
        else:
            for _ in range(rng.randint(1, 3)):
                window = rng.sample(range(width), rng.randint(rng.choice((1, 2, 2, 2)), size))
                if rng.random() < 0.2:
                    window.insert(rng.randint(0, len(window)), -1)
                windows.append(window)
        windows = windows[: rng.randint(1, 4)]
        self.budget -= sum(len(w) * (len(w) - 1) // 2 for w in windows)
        return self.add(("max", tuple(reads), windows), len(windows))

    def pooled(self) -> int:
        """Add maxima over the positions of channels, as a pooling layer has them."""
        rng = self.rng
        channels, positions = rng.choice(((2, 2), (2, 3), (3, 2)))
        wide = self.affine([self.some()], channels * positions)
        taps = [[p, p + 1] for p in range(positions - 1)]
        windows = [[c * positions + j for j in tap] for c in range(channels) for tap in taps]
        self.budget -= len(windows)
        return self.add(("max", (wide,), windows), len(windows))

    def convolution(self) -> int:
        """Add a convolution: a table of taps, padding, one or two groups."""
        rng = self.rng
        groups, inner, outer = rng.choice(((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 2, 2)))
        positions, size = rng.randint(2, 3), rng.randint(1, 3)
        source = self.affine([self.some()], groups * inner * positions)
        stride, pad = rng.randint(1, 2), rng.randint(0, 1)
        starts = range(-pad, max(positions - size + pad, -pad) + 1, stride)
        taps = [[s + k if 0 <= s + k < positions else -1 for s in starts] for k in range(size)]
        kernels = [
            [*(self.draw(rng) for _ in range(inner * size)), self.draw(rng)]
            for _ in range(groups * outer)
        ]
        table = ConvTable(groups * inner, positions, groups, taps, kernels)
        rows = table.rows
        return self.add(("linear", (source,), rows, table), len(rows))


def random_net(
    rng: random.Random, centre: Sequence[Fraction], dim: int, budget: int | None = None
) -> Graph:
    """Return a network of about ten units whose kinks are near a point of the input space."""
    if budget is None:
        budget = rng.randint(6, 40) if dim == 2 else rng.randint(10, 60)
    build = _Builder(rng, centre, budget)
    steps = ["affine", "units", "max"] * 3 + ["residual", "residual", "join", "conv", "pool"]
    wanted = rng.randint(2, 9)
    if rng.random() < 0.85:  # else units or a maximum of the input itself
        build.affine([0], rng.randint(3, 6))
    while len(build.nodes) < wanted or build.budget > 8:
        kind = rng.choice(steps)
        if build.budget <= 0 or len(build.nodes) > 20:
            break
        if kind == "affine":
            reads = [build.some()] if rng.random() < 0.7 else [build.some(), build.some()]
            build.affine(reads, rng.randint(1, 5))
        elif kind == "units":
            if build.sizes[source := build.some()] <= build.budget + 2:
                build.units(source)
        else:
            makers = {"max": build.maxima, "residual": build.residual, "join": build.join}
            makers |= {"conv": build.convolution, "pool": build.pooled}
            makers[kind]()
    read = {source for node in build.nodes for source in sources(node)}
    ends = [t for t in range(len(build.sizes) - 1, 0, -1) if t not in read] or [0]
    alive = build.sizes[ends[0]] if rng.random() < 0.2 else None  # the rest has no effect
    build.affine(ends, rng.randint(1, 3), alive)
    return Graph(len(centre), tuple(build.nodes))


def random_graph(seed: int | random.Random) -> GraphCase:
    """Return the network and the domain of a seed (or drawn from a random source)."""
    rng = random.Random(seed) if isinstance(seed, int) else seed
    domain, inputs = random_domain(rng)
    if "basis" not in domain and rng.random() < 0.3:  # a slice of R^2 to R^4
        dim = domain["dim"]
        inputs = rng.randint(max(2, dim), 4)
        domain["basis"] = [[int(i == j) for j in range(dim)] for i in range(inputs)]
        for row in domain["basis"][dim:]:
            row[:] = [rng.randint(-2, 2) for _ in range(dim)]
        domain["origin"] = [rng.choice((0, 0, 1, -1, 0.5)) for _ in range(inputs)]
    centre = reference_domain(domain).embed([F(t) for t in domain["inside"]])
    return GraphCase(random_net(rng, centre, domain["dim"]), domain)


def random_case_nd(
    seed: int, dims: Sequence[int] = (3, 3, 3, 3, 4, 4, 5), budget: int | None = None
) -> tuple[Graph, dict[str, Any]]:
    """Return a network of about ten units and a domain of one of these dimensions."""
    rng = random.Random(seed)
    dim = rng.choice(dims)
    kind = rng.choice(("box", "box", "polytope", "space", "half"))
    centre = [F(rng.randint(-4, 4), 2) for _ in range(dim)]
    domain: dict[str, Any] = {"kind": "space", "dim": dim}
    if kind in ("box", "half"):
        lo: list[Any] = [float(c) - rng.choice((0.5, 1, 2)) for c in centre]
        hi: list[Any] = [float(c) + rng.choice((0.5, 1, 2)) for c in centre]
        if kind == "half":
            for side in (lo, hi):
                for k in range(dim):
                    if rng.random() < 0.4:
                        side[k] = None
        domain = {"kind": "box", "dim": dim, "lo": lo, "hi": hi}
    elif kind == "polytope":  # around the centre; coincident and redundant rows are welcome
        rows = [[rng.randint(-1, 1) for _ in range(dim)] for _ in range(rng.randint(1, dim + 3))]
        ends = [
            float(sum(a * c for a, c in zip(r, centre, strict=True)) + rng.randint(1, 3))
            for r in rows
        ]
        kept = [(r, e) for r, e in zip(rows, ends, strict=True) if any(r)]
        if kept:
            domain = {
                "kind": "polytope",
                "dim": dim,
                "a": [r for r, _ in kept],
                "b": [e for _, e in kept],
            }
    inputs = dim
    if rng.random() < 0.25:
        inputs = dim + rng.randint(0, 2)
        domain["basis"] = [[int(i == j) for j in range(dim)] for i in range(inputs)]
        for row in domain["basis"][dim:]:
            row[:] = [rng.randint(-2, 2) for _ in range(dim)]
        domain["origin"] = [rng.choice((0, 0, 1, -1, 0.5)) for _ in range(inputs)]
        centre = [
            F(o) + sum(b * t for b, t in zip(row, centre, strict=True))
            for o, row in zip(domain["origin"], domain["basis"], strict=True)
        ]
    # of the smaller size, also in more dimensions
    return random_net(rng, centre, 2, budget), domain


def graph_cases() -> st.SearchStrategy[GraphCase]:
    """Return a strategy of `random_graph`, from a source that hypothesis can shrink."""
    return st.randoms(use_true_random=False).map(random_graph)


# ------------------------------------------------------------------------------ plverify's objects
#
# The package is imported inside the functions: the oracle's own tests do without the engine.


def to_nodes(net: Graph, seed: int | random.Random = 0) -> list[Any]:
    """Return the network as `plverify.nodes`; which kind of a linear node is up to the seed.

    A linear node that reads one tensor is `Dense` or `Sparse`, one with a table `Conv` or either;
    maxima whose windows repeat from channel to channel have channels, or one. All of them compute
    the same function with the same patterns.
    """
    from plverify.nodes import Units

    rng = random.Random(seed) if isinstance(seed, int) else seed
    made: list[Any] = []
    for node in net.nodes:
        kind, source, entries = node[:3]
        if kind == "linear":
            width = sum(net.sizes[s] for s in source)
            made.append(_linear(rng, tuple(source), width, entries, node[3:]))
        elif kind == "units":
            made.append(Units(source, tuple(_dyadic(slope) for slope in entries)))
        else:
            made.append(_maximum(rng, tuple(source), sum(net.sizes[s] for s in source), entries))
    return made


def _linear(
    rng: random.Random, sources: tuple[int, ...], width: int, rows: Any, extra: tuple[Any, ...]
) -> Any:
    import numpy as np

    from plverify.nodes import Conv, Dense, Sparse

    if extra and rng.random() < 0.7:
        table: ConvTable = extra[0]
        taps = np.array(table.taps, np.int32)
        sizes = (table.channels, table.positions, table.groups)
        return Conv(sources[0], *sizes, taps, _exact_rows(table.kernels))
    if len(sources) == 1 and rng.random() < 0.6:
        matrix = [[F(0)] * width + [F(bias)] for _, bias in rows]
        for row, (terms, _) in zip(matrix, rows, strict=True):
            for j, coefficient in terms:
                row[j] += coefficient
        return Dense(sources[0], _exact_rows(matrix))
    most = max(1, *(len(terms) for terms, _ in rows)) + int(rng.random() < 0.2)
    index = [[j for j, _ in terms] + [-1] * (most - len(terms)) for terms, _ in rows]
    padded = [
        [w for _, w in terms] + [F(0)] * (most - len(terms)) + [F(bias)] for terms, bias in rows
    ]
    return Sparse(sources, np.array(index, np.int32), _exact_rows(padded))


def _maximum(rng: random.Random, sources: tuple[int, ...], width: int, windows: Any) -> Any:
    import numpy as np

    from plverify.nodes import Max

    most = max(2, *(len(window) for window in windows))
    padded = [list(window) + [-1] * (most - len(window)) for window in windows]
    options = [c for c in range(2, width + 1) if _repeats(padded, c, width)]
    channels = rng.choice(options) if options and rng.random() < 0.7 else 1
    taps = np.array(padded[: len(padded) // channels], np.int32).T
    return Max(sources, channels, width // channels, np.ascontiguousarray(taps))


def _repeats(windows: list[list[int]], channels: int, width: int) -> bool:
    """Tell whether windows are the same in all channels of a tensor."""
    count, positions = len(windows) // channels, width // channels
    if width % channels or len(windows) % channels:
        return False
    first = windows[:count]
    return all(j < positions for window in first for j in window) and all(
        windows[c * count + i] == [j if j < 0 else j + c * positions for j in window]
        for c in range(channels)
        for i, window in enumerate(first)
    )


def _exact_rows(table: Sequence[Sequence[Fraction]]) -> Any:
    from plverify.exact_array import ExactRows

    dens = [lcm(*(F(value).denominator for value in row)) for row in table]
    rows = [[int(F(v) * den) for v in row] for row, den in zip(table, dens, strict=True)]
    return ExactRows.from_integers(rows, dens)


def _dyadic(slope: Fraction) -> tuple[int, int]:
    shift = slope.denominator.bit_length() - 1
    if slope.denominator != 1 << shift:
        raise ValueError(f"the slope {slope} is not dyadic")
    return slope.numerator, shift


def to_domain(description: DomainDict) -> Any:
    """Return the domain as an object of plverify."""
    from plverify.domain import Box, Domain, Polytope, Slice, Space

    domain: Domain
    if description["kind"] == "box":
        lo = [-inf if end is None else end for end in description["lo"]]
        hi = [inf if end is None else end for end in description["hi"]]
        domain = Box(lo, hi)
    elif description["kind"] == "polytope":
        domain = Polytope(description["a"], description["b"])
    else:
        domain = Space(description["dim"])
    if "basis" in description:
        domain = Slice(description["origin"], description["basis"], domain)
    return domain
