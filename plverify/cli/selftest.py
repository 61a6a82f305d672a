"""``plverify selftest``: does this installation get its answers right on this machine?

Random small networks and domains, most of them degenerate on purpose, go through the engine and
through `plverify.reference`, which enumerates the regions by another method in plain integers and
shares no code with it. Everything is compared exactly: patterns, vertices, affine maps, linear
regions, knots, dead units, bounds. Every list is then proven and the proof checked, and spoilt
proofs must be rejected. Networks with a known number of regions come last.

A case is determined by the seed and its number, so a failure can be repeated anywhere.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from plverify import theory, theory_nets
from plverify.cli.arguments import Exit, Option
from plverify.cli.common import print_json, progress_line, seconds_text
from plverify.result import plural

if TYPE_CHECKING:
    from plverify import reference
    from plverify.domain import Domain
    from plverify.network import Network
    from plverify.partition import RegionSet


def selftest(
    cases: Annotated[int, Option(help="Random networks.", min=1)] = 60,
    seed: Annotated[int, Option(help="Chooses the random networks.")] = 0,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the engine with an independent reference on random networks.

    Also writes and checks proofs, and counts the regions of networks whose number is known. The
    exit code is 0 if all agrees, 1 if interrupted, 3 if anything differs.
    """
    report = Report(cases=cases, seed=seed)
    try:
        with progress_line("self-test, checks") as progress:
            for group, name, compare in [*_random_checks(cases, seed), *_theory_checks()]:
                report.run(group, name, compare)
                if progress is not None:
                    progress(report.done)
    except KeyboardInterrupt:
        report.interrupted = True
    if json:
        print_json(report.to_dict())
    else:
        report.show()
    raise Exit(3 if report.failures else 1 if report.interrupted else 0)


class Difference(Exception):
    """Two answers that should be the same are not."""


def require(what: str, ours: Any, theirs: Any) -> None:
    """Raise `Difference` unless both are the same."""
    if ours != theirs:
        raise Difference(f"{what}: {_short(ours)} here, {_short(theirs)} expected")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


Check = tuple[str, str, Callable[[], None]]


@dataclass
class Report:
    """What was compared, per group, and what differed."""

    cases: int
    seed: int
    interrupted: bool = False
    groups: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Checks made so far."""
        return sum(len(seconds) for seconds in self.groups.values())

    def run(self, group: str, name: str, compare: Callable[[], None]) -> None:
        """Make one check; whatever it raises is a failure."""
        start = time.perf_counter()
        try:
            compare()
        except Difference as error:
            self._fail(group, f"{name}: {error}")
        except Exception as error:
            self._fail(group, f"{name}: {type(error).__name__}: {error}")
        self.groups.setdefault(group, []).append(time.perf_counter() - start)

    def _fail(self, group: str, text: str) -> None:
        self.failures.append(f"{group}: {text}")
        self.failed[group] = self.failed.get(group, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "passed": not self.failures and not self.interrupted,
            "interrupted": self.interrupted,
            "cases": self.cases,
            "seed": self.seed,
            "checks": self.done,
            "groups": [
                {
                    "name": name,
                    "checks": len(seconds),
                    "failed": self.failed.get(name, 0),
                    "seconds": sum(seconds),
                }
                for name, seconds in self.groups.items()
            ],
            "failures": self.failures,
        }

    def show(self) -> None:
        """Print a table and, below it, every failure."""
        width = max((len(name) for name in self.groups), default=8)
        print(f"{'check':<{width}}  {'passed':>9}  {'time':>8}")
        for name, seconds in self.groups.items():
            passed = len(seconds) - self.failed.get(name, 0)
            share = f"{passed}/{len(seconds)}"
            print(f"{name:<{width}}  {share:>9}  {seconds_text(sum(seconds)):>8}")
        for text in self.failures[:20]:
            print(f"FAILED  {text}")
        if self.interrupted:
            print(f"interrupted after {plural(self.done, 'check')}")
        elif self.failures:
            print(f"FAILED: {plural(len(self.failures), 'check')} of {self.done}, seed {self.seed}")
        else:
            print(f"passed: {plural(self.done, 'check')}, seed {self.seed}")


# ----------------------------------------------------------------------------- random networks


@dataclass(frozen=True)
class Case:
    """A network and a domain as plain numbers, each meant exactly."""

    weights: list[list[list[float]]]
    biases: list[list[float]]
    slopes: list[list[float]]
    dim: int
    rows: list[list[int]]
    """Constraints ``a . t <= b`` as rows ``(a, b)``; none: the whole space."""
    origin: list[float] | None
    basis: list[list[float]] | None

    def build(self) -> tuple[Network, Domain]:
        """As objects of the engine."""
        from plverify.domain import Polytope, Slice, Space
        from plverify.network import Network

        inner: Domain = Space(self.dim)
        if self.rows:
            inner = Polytope([row[:-1] for row in self.rows], [row[-1] for row in self.rows])
        net = Network.from_arrays(self.weights, self.biases, self.slopes)
        return net, inner if self.origin is None else Slice(self.origin, self.basis, inner)

    def build_reference(self) -> tuple[reference.Net, reference.Domain]:
        """As objects of the reference."""
        from plverify import reference

        net = reference.Net(self.weights, self.biases, self.slopes)
        matrix, bound = [row[:-1] for row in self.rows], [row[-1] for row in self.rows]
        domain = reference.Domain.polytope(self.dim, matrix, bound)
        if self.origin is not None and self.basis is not None:
            domain = domain.along(self.origin, self.basis)
        return net, domain


SLOPES = (0.0, 0.25, -0.5, -1.0, 1.0, 2.0)


def random_case(seed: str) -> Case:
    """The case of a seed: small weights, many coincidences, domains of every shape.

    >>> random_case("0:0") == random_case("0:0")
    True
    """
    rng = random.Random(seed)
    dim = rng.choice((1, 2, 2))
    size = rng.choice((dim, dim, dim + 1, dim + 2))
    shape = rng.choice(("box", "box", "triangle", "half-plane", "strip", "space"))
    r, s = rng.randint(1, 4), rng.randint(1, 4)
    if dim == 1:
        rows = {"space": [], "half-plane": [[1, r]]}.get(shape, [[1, r], [-1, s]])
    else:
        box = [[1, 0, r], [-1, 0, s], [0, 1, s], [0, -1, r]]
        rows = {
            "box": box,
            "triangle": [[-1, 0, r], [0, -1, s], [rng.randint(1, 3), rng.randint(1, 3), r]],
            "half-plane": [[rng.randint(1, 3), rng.randint(-2, 2), r]],
            "strip": [[1, -2, r], [-1, 2, s]],
            "space": [],
        }[shape]
    widths = [rng.randint(1, 6 if dim == 2 else 8) for _ in range(rng.choice((1, 2, 2, 3)))]
    draw: Callable[[], float] = {
        "ternary": lambda: float(rng.choice((-1, 0, 1))),
        "quarters": lambda: rng.randint(-8, 8) / 4,
        "real": lambda: rng.uniform(-1.5, 1.5),
        "wild": lambda: rng.choice((-3, -1, 0, 1, 5)) * 2.0 ** rng.randint(-30, 30),
    }[rng.choice(("ternary", "quarters", "real", "real", "wild"))]
    central = rng.random() < 0.3  # no biases: every hyperplane of a layer through one point
    sizes = [size, *widths, rng.randint(1, 3)]
    weights = [
        [[draw() for _ in range(columns)] for _ in range(rows_)]
        for columns, rows_ in pairwise(sizes)
    ]
    biases = [[0.0 if central else draw() for _ in range(width)] for width in sizes[1:]]
    for matrix, bias in zip(weights[:-1], biases[:-1], strict=True):
        if rng.random() < 0.3:  # the same line twice, seen from either side
            i, j, k = rng.randrange(len(bias)), rng.randrange(len(bias)), rng.choice((-1.0, 2.0))
            matrix[i], bias[i] = [k * w for w in matrix[j]], k * bias[j]
    style = rng.choice(("relu", "relu", "one", "many"))
    slope = 0.0 if style == "relu" else rng.choice(SLOPES)
    slopes = [[rng.choice(SLOPES) if style == "many" else slope] * width for width in widths]
    origin: list[float] | None = None
    basis: list[list[float]] | None = None
    if size > dim:
        basis = [[float(i == j) for j in range(dim)] for i in range(dim)]
        basis += [[float(rng.randint(-2, 2)) for _ in range(dim)] for _ in range(size - dim)]
        origin = [rng.choice((0.0, 1.0, -0.5)) for _ in range(size)]
    return Case(weights, biases, slopes, dim, rows, origin, basis)


class Trial:
    """One case, answered by the engine and the reference once, compared in several checks."""

    def __init__(self, seed: str, number: int) -> None:
        self.case = random_case(seed)
        self.number = number
        self._answers: tuple[RegionSet, reference.Partition] | None = None

    def answers(self) -> tuple[RegionSet, reference.Partition]:
        """The regions by the engine and by the reference."""
        if self._answers is None:
            from plverify import reference
            from plverify.partition import regions_with_vertices

            net, domain = self.case.build()
            theirs = reference.enumerate_regions(*self.case.build_reference())
            self._answers = regions_with_vertices(net, domain, exact=True), theirs
        return self._answers

    def compare_regions(self) -> None:
        """Patterns, vertices, affine maps, linear regions, dead and always active units."""
        ours, theirs = self.answers()
        require("number of regions", ours.count, len(theirs.regions))
        expected = {region.pattern: region for region in theirs.regions}
        require("patterns", {tuple(map(int, p)) for p in ours.patterns}, set(expected))
        for region in ours:
            other = expected[tuple(map(int, region.pattern))]
            matrix, offset = region.affine_map(exact=True)
            require("Jacobian", [tuple(row) for row in matrix.tolist()], list(other.J))
            require("constant", tuple(offset.tolist()), tuple(other.c))
            require("bounded", region.bounded, other.vertices is not None)
            if other.vertices is not None:
                corners = {vertex.p for vertex in region.exact_vertices}
                require("vertices", corners, set(other.vertices))
                require("area", region.exact_volume, other.volume)
        require("linear regions", ours.linear_count, len(set(theirs.linear_labels)))
        for ours_units, bit in ((ours.dead_units, 1), (ours.always_active_units, 0)):
            slopes = [s for _, units in ours.net.exact_net.layers for s in units.slopes]
            flat = [
                k
                for k in range(ours.net.unit_count)
                if slopes[k] != (1, 0)
                and not any(region.pattern[k] == bit for region in theirs.regions)
            ]
            starts = [sum(ours.net.widths[:k]) for k in range(len(ours.net.widths))]
            require("fixed units", [starts[a] + b for a, b in ours_units or []], flat)

    def compare_counts(self) -> None:
        """Counting in constant memory, on two threads, and the published bounds."""
        from plverify.cli.regions import bounds_for
        from plverify.partition import count_regions

        ours, _ = self.answers()
        for threads in (1, 2):
            again = count_regions(ours.net, ours.domain, threads=threads)
            require(f"count on {threads} threads", again.count, ours.count)
        broken = theory.violated(ours.count, bounds_for(ours.net, ours.domain))
        require("bounds that are exceeded", [bound.name for bound in broken], [])

    def compare_knots(self) -> None:
        """Knots on a line: where, and whether the output shows them."""
        from plverify.partition import knots

        ours, theirs = self.answers()
        found = knots(ours.net, ours.domain)
        require("knots", list(found.exact), [knot.position for knot in theirs.knots])
        visible = [knot.changes_output for knot in theirs.knots]
        require("visible knots", found.changes_output.tolist(), visible)

    def compare_proof(self) -> None:
        """The proof is accepted; spoilt, or for another network, it is rejected."""
        from plverify.checker import check

        ours, _ = self.answers()
        data = ours.proof()
        verdict = check(data, ours.net.exact_net)
        require("the proof", verdict.reason or "accepted", "accepted")
        stated = f'"regions": {ours.count}'.encode()
        require("a header that states the count", stated in data, True)
        spoilt = data.replace(stated, f'"regions": {ours.count + 1}'.encode())
        for name, wrong in (("another count", spoilt), ("its end cut off", data[:-1])):
            verdict = check(wrong, ours.net.exact_net)
            require(f"a proof with {name}", verdict.accepted, False)
        shifted = [*self.case.biases[:-1], [b + 1.0 for b in self.case.biases[-1]]]
        other = replace(self.case, biases=shifted)
        verdict = check(data, other.build()[0].exact_net)
        require("a proof about another network", verdict.accepted, False)


def _random_checks(cases: int, seed: int) -> Iterator[Check]:
    for number in range(cases):
        trial = Trial(f"{seed}:{number}", number)
        name = f"case {number}"
        yield "regions against the reference", name, trial.compare_regions
        yield "counts, threads and bounds", name, trial.compare_counts
        if trial.case.dim == 1:
            yield "knots against the reference", name, trial.compare_knots
        yield "proofs, checked and spoilt", name, trial.compare_proof


# ----------------------------------------------------------------- networks with known counts


def _theory_checks() -> Iterator[Check]:
    """Constructions from the literature, whose counts the formulas give."""
    from plverify.domain import Box, Space
    from plverify.network import Network
    from plverify.partition import count_regions, knots

    def check(name: str, made: theory_nets.Net, expected: int, domain: Domain | None) -> Check:
        """Regions on the domain; without one, the knots that the output shows on the line."""

        def compare() -> None:
            net = Network.from_arrays(*made)
            if domain is None:
                require("visible knots", knots(net).visible_count, expected)
            else:
                require("regions", count_regions(net, domain).count, expected)

        return "constructions of known size", name, compare

    for widths in ([3, 2], [3, 3, 3], [5, 4, 2]):
        most = theory.chen_knots(widths)
        yield check(f"Chen {widths}", theory_nets.chen_tight_net(widths), most, None)
    for n in (1, 4, 8):
        most = theory.sawtooth_knots(n, "line")
        yield check(f"sawtooth {n}", theory_nets.sawtooth_net(n), most, None)
    for width, depth in ((2, 3), (3, 2), (4, 3)):
        most = theory.arora_pieces(width, depth, "line") - 1
        yield check(f"Arora {width}, {depth}", theory_nets.arora_net(width, depth), most, None)
    for n0, widths in ((1, [4, 3]), (2, [4, 4]), (2, [6, 4, 4])):
        most = theory.montufar_lower(n0, widths)
        made = theory_nets.montufar_net(n0, widths)
        yield check(f"Montufar {n0}, {widths}", made, most, Box(0, 1, n0))
    for n0, widths in ((1, [3, 3]), (2, [6, 4]), (2, [8, 8])):
        most = theory.serra_lower(n0, widths)
        made = theory_nets.serra_net(n0, widths)
        yield check(f"Serra {n0}, {widths}", made, most, Space(n0))
