"""Statistics for studies: regions along a path of inputs, and regions in the course of training.

`regions_along` follows a polyline through given inputs with the one-dimensional engine: how many
activation regions every segment meets, where exactly the path goes from one to the next, how dense
these knots are, how far the given points are from a boundary. `training_study` asks the same, or
the number of regions of a box or slice, of one checkpoint after the other.

Counts, knots, patterns and squared distances are exact; lengths are rounded, as they are square
roots. `plverify.report.study_plots` draws the results.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify import theory
from plverify.boundary import BoundaryDistance, boundary_distance
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.network import Network, load
from plverify.nodes import Units
from plverify.partition import count_regions, regions_with_vertices, segment
from plverify.question import as_domain
from plverify.region import ExactVertex
from plverify.region_list import Unit
from plverify.result import Result, Status, enclose, jsonable, rounded

Array = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# ---------------------------------------------------------------------------------- along a path


@dataclass(frozen=True)
class Along(Result):
    """The activation regions that a polyline through ``m`` inputs meets, in its order.

    A place on the path is its *parameter* ``s`` from 0 to ``m - 1``: the point ``points[i]`` is at
    ``s = i``, and between two points ``s`` grows linearly.

    Attributes
    ----------
    network : str
        Digest of the network.
    input_size, unit_count : int
    counts : (m - 1,) int array
        How many activation regions each segment meets.
    cumulative : (m - 1,) int array
        The same up to the end of each segment. Where the path goes on in the same region behind a
        given point, that region is counted once; one that it comes back to is counted again.
    total : int
        Regions that the whole path meets: ``cumulative[-1]``; one more than knots if complete.
    distinct : int
        The same, but a region that the path comes back to is counted once.
    exact : tuple of Fraction
        Parameter of every knot, increasing: where the pattern changes. A whole number ``i`` says
        that it changes at ``points[i]``, between the ends of the two segments that meet there.
    units : tuple of (layer, unit)
        A unit that changes its piece there.
    lengths : (m - 1,) float64 array
        l2 lengths of the segments, rounded down by less than one unit in the last place.
    pattern_changes : (m - 1,) int array
        Units whose piece differs between one given point and the next (`Network.pattern`).
    distances : tuple of BoundaryDistance, or None if not asked for
        From every given point to the nearest boundary of a region, in l2; those computed in time.
    segment_complete : (m - 1,) bool array
        False where ``timeout`` or Ctrl-C came first: that count (0 if not begun) is a lower bound.
    complete : bool
    status : Status
        "complete", "timeout" or "interrupted".
    seconds : float
        Wall time.

    Notes
    -----
    The pattern of a segment is that of its interior. A unit that is 0 on all of a segment counts
    as off there, as everywhere in plverify, so a path that leaves such a hyperplane has a knot
    there on one side and none on the other.
    """

    network: str
    input_size: int
    unit_count: int
    counts: Ints
    cumulative: Ints
    total: int
    distinct: int
    exact: tuple[Fraction, ...]
    units: tuple[Unit, ...]
    lengths: Floats
    pattern_changes: Ints
    distances: tuple[BoundaryDistance, ...] | None
    segment_complete: NDArray[np.bool_]
    complete: bool
    status: Status
    seconds: float
    _points: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def length(self) -> float:
        """l2 length of the path."""
        return math.fsum(self.lengths.tolist())

    @property
    def point_positions(self) -> Floats:
        """(m,) float64 array: length of the path up to each given point."""
        return np.concatenate([[0.0], np.cumsum(self.lengths)])

    @property
    def positions(self) -> Floats:
        """(knots,) float64 array: length of the path up to each knot."""
        start = self.point_positions
        where = [(math.floor(s), s) for s in self.exact]
        return np.array([start[i] + rounded(s - i) * self.lengths[i] for i, s in where], np.float64)

    @property
    def knot_counts(self) -> Ints:
        """(m - 1,) int array: knots on each segment, one at its start included."""
        on = np.array([math.floor(s) for s in self.exact], np.int64)
        return np.bincount(on, minlength=len(self)).astype(np.int64)

    @property
    def density(self) -> Floats:
        """(m - 1,) float64 array: knots per unit of length on each segment.

        Of knots, not regions: the density must not depend on how many segments cut the path.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.knot_counts / self.lengths, np.float64)

    @property
    def mean_density(self) -> float:
        """Knots per unit of length on the whole path."""
        return len(self.exact) / self.length if self.length else math.inf

    def at(self, s: Any) -> tuple[Fraction, ...]:
        """The input at parameter ``s`` of the path, exactly.

        Raises
        ------
        InputError
            If ``s`` is not between 0 and ``m - 1``.
        """
        place = Fraction(s)
        if not 0 <= place <= len(self):
            raise InputError(f"s is {s}, expected a number from 0 to {len(self)}")
        i = min(math.floor(place), len(self) - 1)
        t, (a, b) = place - i, self._points[i : i + 2].tolist()
        return tuple(p + t * (q - p) for p, q in zip(a, b, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The public fields, with knots per unit of length and positions, JSON-ready."""
        if self.distances is None:
            distances = None
        else:
            distances = [distance.to_dict() for distance in self.distances]
        more = {
            "knots": len(self.exact),
            "length": self.length,
            "positions": self.positions,
            "point_positions": self.point_positions,
            "knot_counts": self.knot_counts,
            "density": self.density,
            "mean_density": self.mean_density,
            "distances": distances,
        }
        return {**super().to_dict(), **jsonable(more)}


def path_points(points: Any, input_size: int, name: str = "points") -> ExactArray:
    """Check the points of a path: (m, n), two or more, no two equal in a row.

    Raises
    ------
    InputError
        Names the first of two equal consecutive points.
    """
    table = ExactArray(points, name)
    if len(table.shape) != 2 or table.shape[1] != input_size or table.shape[0] < 2:
        raise InputError(
            f"{name} has shape {table.shape}, expected (m, {input_size}) with m of at least 2"
        )
    same = (table.data[1:] == table.data[:-1]).all(axis=1)
    if same.any():
        i = int(np.flatnonzero(same)[0])
        raise InputError(f"{name}[{i}] and {name}[{i + 1}] are the same point")
    return table


@dataclass
class _Walk:
    """What is gathered segment by segment."""

    counts: list[int] = field(default_factory=list)
    cumulative: list[int] = field(default_factory=list)
    complete: list[bool] = field(default_factory=list)
    exact: list[Fraction] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    end: Array | None = None
    """Packed pattern at the end of the last segment, if that is known."""


def regions_along(
    net: Network,
    points: Any,
    *,
    threads: int = 1,
    timeout: float | None = None,
    distances: bool = False,
) -> Along:
    """Follow a polyline through inputs: the regions it meets and the knots between them, exactly.

    Parameters
    ----------
    net : Network
        Of any number of inputs.
    points : (m, n) exact numbers
        Two or more inputs; the path may cross itself or come back.
    threads : int
        The answer does not depend on it.
    timeout : float, optional
        Seconds of wall time for all segments and distances; what is known by then is returned,
        with ``complete`` False.
    distances : bool
        Also compute the distance of every given point to the nearest boundary of a region
        (`boundary_distance` in l2).

    Raises
    ------
    InputError
        On a wrong shape, NaN, or equal consecutive points.

    >>> tent = Network.from_arrays([[[2.0], [4.0]], [[1.0, -1.0]]], [[0.0, -2.0], [0.0]])
    >>> path = regions_along(tent, [[-1], [0.5], [1], [0.25]])
    >>> path.counts.tolist(), path.total, path.distinct
    ([2, 1, 2], 4, 3)
    >>> [str(s) for s in path.exact], path.units
    (['2/3', '1', '8/3'], ((0, 0), (0, 1), (0, 1)))
    """
    table = path_points(points, net.input_size)
    began = time.perf_counter()
    if timeout is not None and not timeout >= 0:
        raise InputError(f"timeout is {timeout}, expected at least 0 seconds")
    where = table.fractions()
    # First: it is quick, and what a network is too large for should not come after the long part.
    patterns = net.pattern(table.data)
    lengths = [
        enclose(sum(((q - p) ** 2 for p, q in zip(a, b, strict=True)), Fraction(0)), root=True)[0]
        for a, b in pairwise(where.tolist())
    ]
    walk, status = _Walk(), Status.COMPLETE
    found: list[BoundaryDistance] = []
    try:
        for a, b in pairwise(where):
            left = None if timeout is None else timeout - (time.perf_counter() - began)
            if left is not None and left <= 0:
                status = Status.TIMEOUT
                break
            status = _step(net, walk, a, b, threads, left)
            if status is not Status.COMPLETE:
                break
        for x in table.data if distances and status is Status.COMPLETE else ():
            if timeout is not None and time.perf_counter() - began >= timeout:
                status = Status.TIMEOUT
                break
            found.append(boundary_distance(net, x))
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    rest = len(where) - 1 - len(walk.counts)
    last = walk.cumulative[-1] if walk.cumulative else 0
    return Along(
        network=net.digest,
        input_size=net.input_size,
        unit_count=net.unit_count,
        counts=np.array(walk.counts + [0] * rest, np.int64),
        cumulative=np.array(walk.cumulative + [last] * rest, np.int64),
        total=last,
        distinct=len(walk.seen),
        exact=tuple(walk.exact),
        units=tuple(walk.units),
        lengths=np.array(lengths, np.float64),
        pattern_changes=(patterns[1:] != patterns[:-1]).sum(axis=1).astype(np.int64),
        distances=tuple(found) if distances else None,
        segment_complete=np.array(walk.complete + [False] * rest, np.bool_),
        complete=status is Status.COMPLETE,
        status=status,
        seconds=time.perf_counter() - began,
        _points=where,
    )


def _step(
    net: Network, walk: _Walk, a: Array, b: Array, threads: int, timeout: float | None
) -> Status:
    """Follow one segment.

    The knots inside come from the engine, which looks at the open segment. A kink exactly at a
    given point is therefore inside none of the two segments that meet there: it is a knot of the
    path if and only if their patterns beside the point differ, and so none is ever counted twice.
    """
    place = len(walk.counts)
    part = regions_with_vertices(net, segment(a, b), threads=threads, timeout=timeout, exact=True)
    packed = part.packed_patterns
    at_start = part.complete or (part.count > 0 and _starts_at_zero(part))
    joined = False
    if place and part.count and walk.end is not None and at_start:
        joined = packed[0].tobytes() == walk.end.tobytes()
        if not joined:
            old, new = net.unpack(walk.end), net.unpack(packed[0])
            walk.exact.append(Fraction(place))
            walk.units.append(_unit_of(net, int(np.flatnonzero(old != new)[0])))
    index, points = part._complex.point_index(), part._complex.points()
    left, right = index[0::2], index[1::2]
    at = np.flatnonzero(right[:-1] == left[1:])  # an incomplete run may have gaps
    walk.exact += [place + ExactVertex.of(points[i]).p[0] for i in right[at].tolist()]
    layers, units = part.line_layer[1::2][at].tolist(), part.line_unit[1::2][at].tolist()
    walk.units += list(zip(layers, units, strict=True))
    walk.seen.update(row.tobytes() for row in packed)
    # Where the start was not reached in time, its region may be the one before: a lower bound.
    again = bool(place and part.count and (joined or not at_start))
    before = walk.cumulative[-1] if walk.cumulative else 0
    walk.counts.append(part.count)
    walk.cumulative.append(before + part.count - again)
    walk.complete.append(part.complete)
    walk.end = packed[-1] if part.complete else None
    return part.status


def _starts_at_zero(part: Any) -> bool:
    first = part[0].exact_vertices
    return any(vertex.p[0] == 0 for vertex in first)


def _unit_of(net: Network, flat: int) -> Unit:
    """(layer, unit) of a place in the pattern."""
    for layer, width in enumerate(net.widths):
        if flat < width:
            return layer, flat
        flat -= width
    raise IndexError(flat)


# ------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Checkpoint(Result):
    """One row of a `TrainingStudy`.

    Attributes
    ----------
    label : str, int or float
    network : str
        Digest of the network.
    count : int
        Activation regions of the domain, or that the path meets.
    distinct, knots, pattern_changes : int, or None
        Of a path, as in `Along`; ``pattern_changes`` is their sum.
    density : float or None
        Of a path: knots per unit of length.
    dead_units, always_active_units : int or None
        On a domain, how many, as in `RegionCount`.
    distances : tuple of float
        l2 distances of the study's points to the nearest boundary, rounded down.
    complete : bool
    status : Status
    seconds : float
    """

    label: str | int | float
    network: str
    count: int
    distinct: int | None
    knots: int | None
    pattern_changes: int | None
    density: float | None
    dead_units: int | None
    always_active_units: int | None
    distances: tuple[float, ...] = field(repr=False)
    complete: bool
    status: Status
    seconds: float

    @property
    def least_distance(self) -> float | None:
        """The least of the distances; None if there are none."""
        return min(self.distances, default=None)

    @property
    def median_distance(self) -> float | None:
        """The median of the distances; None if there are none."""
        return float(np.median(self.distances)) if self.distances else None

    def to_dict(self) -> dict[str, Any]:
        """The public fields with the least and the median distance, JSON-ready."""
        more = {"least_distance": self.least_distance, "median_distance": self.median_distance}
        return {**super().to_dict(), **jsonable(more)}


@dataclass(frozen=True)
class TrainingStudy(Result):
    """Regions of one checkpoint after the other, on the same domain or path.

    Attributes
    ----------
    rows : tuple of Checkpoint
        In the order given; checkpoints that ``timeout`` left no time for are missing.
    sizes : tuple of int
        Inputs, hidden widths, outputs: the same for all.
    where : str
        The domain or the path in words.
    dim : int
        Dimension of the domain; 1 for a path.
    segments : int
        Of the path; 0 for a domain.
    bounds : tuple of theory.Bound
        The published bounds on ``count`` that hold for all checkpoints; empty for networks that are
        not chains. For a path the proven upper bounds on a line, times the number of segments.
    complete : bool
    status : Status
    """

    rows: tuple[Checkpoint, ...]
    sizes: tuple[int, ...]
    where: str
    dim: int
    segments: int
    bounds: tuple[theory.Bound, ...] = field(repr=False)
    complete: bool
    status: Status

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def neurons(self) -> int:
        """Number of units."""
        return sum(self.sizes[1:-1])

    @property
    def counts(self) -> list[int]:
        """Region counts of the rows."""
        return [row.count for row in self.rows]

    @property
    def scale(self) -> Fraction:
        """``neurons ** dim / dim!``, what counts are compared with; see `region_scale`."""
        return region_scale(self.neurons, self.dim)

    def to_dict(self) -> dict[str, Any]:
        """The public fields with neurons and scale, JSON-ready."""
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        known["rows"] = [row.to_dict() for row in self.rows]
        known["bounds"] = [_bound_dict(bound) for bound in self.bounds]
        return dict(jsonable({**known, "neurons": self.neurons, "scale": self.scale}))


def region_scale(neurons: int, dim: int) -> Fraction:
    """``neurons ** dim / dim!``: the order of the mean number of regions of random networks.

    Hanin and Rolnick bound the expected number of activation regions, at initialisation, by the
    volume times ``(T neurons) ** dim / dim!`` with a ``T`` that depends on the distribution of the
    weights and not on the depth. On a line that is proportional to the neurons
    (`plverify.theory.hanin_rolnick_line_estimate`), in the plane to half their square. An order of
    magnitude of a mean, never a bound for one network.

    Reference: B. Hanin, D. Rolnick, "Deep ReLU networks have surprisingly few activation patterns",
    NeurIPS 2019, arXiv:1906.00904; dimension 1 also ICML 2019, arXiv:1901.09021.

    >>> region_scale(96, 1), region_scale(64, 2)
    (Fraction(96, 1), Fraction(2048, 1))
    """
    return Fraction(neurons**dim, math.factorial(dim))


def _bound_dict(bound: theory.Bound) -> dict[str, Any]:
    """A bound for JSON; of a huge value only its logarithm, as Python prints no longer integers."""
    entries = dataclasses.asdict(bound)
    value = bound.value
    entries["log10"] = math.log10(value) if value else None
    entries["value"] = value if value is None or value < 10**300 else None
    return entries


def training_study(
    networks: Iterable[Any],
    domain_or_path: Any,
    labels: Sequence[Any] | None = None,
    *,
    points: Any = None,
    threads: int = 1,
    timeout: float | None = None,
) -> TrainingStudy:
    """Count the regions of checkpoints of one network, on a domain or along a path.

    Parameters
    ----------
    networks : iterable of networks
        `Network` or whatever `load` reads; all of one shape.
    domain_or_path : Box, Polytope, Slice or Space as in `count_regions`, or (m, n) points
        Points mean the polyline through them, as in `regions_along`.
    labels : sequence of str or numbers, optional
        One per checkpoint, epochs for example; default 0, 1, 2, ...
    points : (k, n) exact numbers, optional
        Inputs whose l2 distance to the nearest boundary is computed for every checkpoint. Default:
        the points of the path, none for a domain. An empty list: none.
    threads, timeout
        As in `regions_along`; the time is for all checkpoints together.

    Raises
    ------
    InputError
        If a checkpoint cannot be read or has other sizes than the first, and as `count_regions`
        and `regions_along`.

    >>> from plverify.domain import Box
    >>> def net(b): return Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]], [[b, b], [0]])
    >>> study = training_study([net(2), net(0)], Box(-1, 1, 2), labels=["start", "end"])
    >>> [(row.label, row.count) for row in study.rows]
    [('start', 1), ('end', 4)]
    """
    nets = _checkpoints(networks)
    first = nets[0]
    names = list(range(len(nets))) if labels is None else [_label(v) for v in labels]
    if len(names) != len(nets):
        raise InputError(f"{len(names)} labels do not fit {len(nets)} checkpoints")
    if timeout is not None and not timeout >= 0:
        raise InputError(f"timeout is {timeout}, expected at least 0 seconds")
    domain: Domain | None = None
    if isinstance(domain_or_path, Domain):
        domain = as_domain(domain_or_path, first)
        path = np.zeros((1, 0))
        where, dim = domain.describe(), domain.dim
    else:
        path = path_points(domain_or_path, first.input_size).data
        where, dim = f"path of {len(path)} points in R^{first.input_size}", 1
    segments = len(path) - 1
    probes = _probes(points, path if domain is None else path[:0], first.input_size)
    deadline = None if timeout is None else time.perf_counter() + timeout
    bounds = _bounds(nets, dim, segments)
    rows: list[Checkpoint] = []
    status = Status.COMPLETE
    for name, net in zip(names, nets, strict=True):
        left = None if deadline is None else deadline - time.perf_counter()
        if left is not None and left <= 0:
            status = Status.TIMEOUT
            break
        target = path if domain is None else domain
        row = _row(name, net, target, probes, threads, deadline)
        rows.append(row)
        broken = theory.violated(row.count, bounds)
        if broken:
            raise RuntimeError(
                f"checkpoint {name}: {row.count} regions are more than the proven bound of "
                f"{broken[0].value} ({broken[0].name})"
            )
        if not row.complete:
            status = row.status
            break
    return TrainingStudy(
        rows=tuple(rows),
        sizes=_sizes(first),
        where=where,
        dim=dim,
        segments=segments,
        bounds=bounds,
        complete=status is Status.COMPLETE,
        status=status,
    )


def _checkpoints(networks: Iterable[Any]) -> list[Network]:
    """Read all checkpoints and compare their shapes, before the work of the first begins."""
    if isinstance(networks, (str, bytes, Network)) or not isinstance(networks, Iterable):
        raise InputError(f"networks is a {type(networks).__name__}, expected a list of networks")
    nets: list[Network] = []
    for k, given in enumerate(networks):
        try:
            net = load(given)
        except InputError as error:
            raise InputError(f"checkpoint {k}: {error}") from error
        if nets and _shape(net) != _shape(nets[0]):
            a, b = ("-".join(map(str, _sizes(n))) for n in (net, nets[0]))
            other = f"sizes {a}" if a != b else "a layer of another kind"
            raise InputError(f"checkpoint {k} has {other}, checkpoint 0 has {b}")
        nets.append(net)
    if not nets:
        raise InputError("networks is empty, expected at least one checkpoint")
    return nets


def _sizes(net: Network) -> tuple[int, ...]:
    return net.input_size, *net.widths, net.output_size


def _shape(net: Network) -> list[tuple[bool, int, tuple[int, ...]]]:
    """What checkpoints must have in common; how a linear node stores its matrix does not matter."""
    layers = dict(net.unit_nodes)
    start = (False, net.input_size, ())
    return [start, *((k in layers, n.size, tuple(n.sources)) for k, n in enumerate(net.nodes))]


def _label(value: Any) -> str | int | float:
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, (int, float)) else str(plain)


def _probes(points: Any, default: Array, input_size: int) -> Array:
    """Points whose distances are asked for, (k, n)."""
    if points is None:
        return default
    table = ExactArray(points, "points")
    if 0 in table.shape[:1]:
        return table.data.reshape(0, input_size)
    if len(table.shape) != 2 or table.shape[1] != input_size:
        raise InputError(f"points has shape {table.shape}, expected (k, {input_size})")
    return table.data


def _bounds(nets: Sequence[Network], dim: int, segments: int) -> tuple[theory.Bound, ...]:
    """Bounds that hold for every checkpoint on the domain, or on the whole path."""
    if not all(net.is_chain for net in nets):
        return ()  # the published bounds are about chains
    units = [node for net in nets for _, node in net.unit_nodes if isinstance(node, Units)]
    slopes = {float(slope) for node in units for slope in node.slope}
    if slopes <= {0.0}:
        table = theory.bounds_table(dim, nets[0].widths)
    else:
        table = theory.bounds_table(dim, nets[0].widths, "leaky", leaky_slopes=sorted(slopes))
    kinds = ("upper", "max-lower") if segments <= 1 else ("upper",)
    known = [b for b in table if b.applies and b.proven and b.kind in kinds]
    times = max(1, segments)
    return tuple(dataclasses.replace(b, value=b.value * times) for b in known if b.value)


def _row(
    label: Any,
    net: Network,
    target: Domain | Array,
    probes: Array,
    threads: int,
    deadline: float | None,
) -> Checkpoint:
    """Study one checkpoint."""
    began = time.perf_counter()
    left = None if deadline is None else max(deadline - began, 0.0)
    path: dict[str, Any] = dict.fromkeys(("distinct", "knots", "pattern_changes", "density"))
    fixed: dict[str, Any] = dict.fromkeys(("dead_units", "always_active_units"))
    if isinstance(target, Domain):
        counted = count_regions(net, target, threads=threads, timeout=left)
        count, status = counted.count, counted.status
        if counted.dead_units is not None and counted.always_active_units is not None:
            fixed["dead_units"] = len(counted.dead_units)
            fixed["always_active_units"] = len(counted.always_active_units)
    else:
        along = regions_along(net, target, threads=threads, timeout=left)
        count, status = along.total, along.status
        path["distinct"], path["knots"] = along.distinct, len(along.exact)
        path["pattern_changes"] = int(along.pattern_changes.sum())
        path["density"] = along.mean_density
    distances: list[float] = []
    try:
        for x in probes if status is Status.COMPLETE else ():
            if deadline is not None and time.perf_counter() >= deadline:
                status = Status.TIMEOUT
                break
            distances.append(boundary_distance(net, x).lower)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return Checkpoint(
        label=label,
        network=net.digest,
        count=count,
        **path,
        **fixed,
        distances=tuple(distances),
        complete=status is Status.COMPLETE,
        status=status,
        seconds=time.perf_counter() - began,
    )
