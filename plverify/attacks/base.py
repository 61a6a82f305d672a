"""What all attacks share: what they look for, and what is made of the points that they return.

An attack may return anything. Here its points are moved to the boundary, evaluated exactly, and
only what holds in exact arithmetic is reported (`sealed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from math import inf, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.attacks.gradients import gradients
from plverify.certificate import evaluate
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.exact_net import common_denominator
from plverify.float32 import float_sides
from plverify.network import Network
from plverify.result import Result, enclose, rounded

NORMS = ("l1", "l2", "linf")
_ORDERS = {"l1": 1, "l2": 2, "linf": inf}
Point = tuple[Fraction, ...]
Exact = Sequence[Fraction] | Sequence[float]
"""A point; floats are the dyadic rationals they are."""

_HALVINGS = 50
_SMALLEST, _LARGEST = 2.0**-50, 2.0**-6
"""Steps across the boundary that are tried, relative to the distance."""
_STRICT_STEPS = np.array([0.0, *np.geomspace(2.0**-26, 1.0, 27)])
"""And those to an input of float32 that is strictly beyond it."""


@dataclass(frozen=True)
class Aim:
    """An input, and the closed set ``S`` of inputs with another label, or with a target's.

    Attributes
    ----------
    net : Network
    x : tuple of Fraction
    label : int
        Of ``x``, or the one that is to be left.
    target : int or None
        Where None, ``S`` is where some other output is at least output ``label``; else where output
        ``target`` is at least all others.
    norm : "l1", "l2" or "linf"
    domain : Box
        Where the inputs of ``S`` lie.
    inside : bool
        Whether ``x`` is in ``S`` itself, decided exactly.
    sides : pair of (n,) arrays of float64
        Ends of the domain, inside it where there are such doubles.
    """

    net: Network
    x: Point
    label: int
    target: int | None
    norm: str
    domain: Box
    inside: bool
    sides: tuple[FloatArray, FloatArray]

    @property
    def targeted(self) -> bool:
        """Whether there is a target."""
        return self.target is not None

    @cached_property
    def centre(self) -> FloatArray:
        """(n,) float64: ``x`` rounded, moved into the domain."""
        lo, hi = self.sides
        return np.clip(np.array([rounded(v) for v in self.x]), lo, hi)

    @cached_property
    def nearest_start(self) -> Point:
        """The point of the domain that is nearest to ``x``: itself if it is in it."""
        if self.holds(self.x):
            return self.x
        sides = zip(self.domain.lo, self.x, self.domain.hi, strict=True)
        return tuple(Fraction(max(a, min(v, b))) for a, v, b in sides)

    def holds(self, point: Exact) -> bool:
        """Whether the domain holds an exact point."""
        # In integers over one denominator; Fractions would take three times as long.
        (lowest, highest), whole = scaled_sides(self.domain)
        values, den = self.scaled if point is self.x else common_denominator(point)
        return all(
            (a is None or a * den <= v * whole) and (b is None or v * whole <= b * den)
            for a, v, b in zip(lowest, values, highest, strict=True)
        )

    @cached_property
    def scaled(self) -> tuple[list[int], int]:
        """``x`` as integers over one denominator."""
        return common_denominator(self.x)

    def margin(self, outputs: FloatArray) -> FloatArray:
        """(k,): how far outputs (k, m) are in ``S``, in floating point; negative outside."""
        own = self.label if self.target is None else self.target
        others = outputs.copy()
        others[:, own] = -inf
        gap: FloatArray = others.max(axis=1) - outputs[:, own]
        return gap if self.target is None else -gap

    def rows(self, outputs: FloatArray) -> FloatArray:
        """(k, m): the function of the outputs whose value at each of the points is `margin`."""
        own = self.label if self.target is None else self.target
        others = outputs.copy()
        others[:, own] = -inf
        out = np.zeros_like(outputs)
        out[np.arange(len(out)), others.argmax(axis=1)] = 1.0
        out[:, own] = -1.0
        return out if self.target is None else -out

    def reached(self, point: Exact, *, strict: bool = False) -> int | None:
        """The label of a point of ``S``; None outside. Decided exactly.

        Parameters
        ----------
        point : (n,) exact numbers
        strict : bool
            Whether the label's output must be less than another, a target's more than all others.

        Returns
        -------
        int or None
            The output, other than `label`, that is largest (the target).
        """
        if not self.holds(point):
            return None
        return attained(evaluate(self.net, point), self.label, self.target, strict=strict)

    def distance(self, point: Exact) -> Fraction:
        """The exact distance of a point from `x`; in l2 its square."""
        (own, scale), (ends, den) = self.scaled, common_denominator(point)
        common = lcm(scale, den)
        grow, stretch = common // scale, common // den
        gaps = [abs(a * grow - b * stretch) for a, b in zip(own, ends, strict=True)]
        if self.norm == "l2":
            return Fraction(sum(v * v for v in gaps), common * common)
        return Fraction(max(gaps) if self.norm == "linf" else sum(gaps), common)

    def gradients(self, points: FloatArray) -> FloatArray:
        """(k, n): the gradients of `margin` at points (k, n), in floating point."""
        return gradients(self.net, points, self.rows)

    def size(self, step: FloatArray) -> float:
        """The norm of a step, in floating point."""
        return float(np.linalg.norm(step, _ORDERS[self.norm]))


def attained(
    outputs: Sequence[Fraction], label: int, target: int | None, *, strict: bool = False
) -> int | None:
    """See `Aim.reached`; of the outputs at a point."""
    if target is None:
        others = [j for j in range(len(outputs)) if j != label]
        best = max(others, key=outputs.__getitem__)
        gap = outputs[best] - outputs[label]
    else:
        best = target
        gap = outputs[target] - max(v for j, v in enumerate(outputs) if j != target)
    return best if gap > 0 or (gap == 0 and not strict) else None


def aims(
    net: Network,
    X: Any,
    labels: int | Sequence[int] | None = None,
    norm: str = "linf",
    target: int | Sequence[int] | None = None,
    domain: Box | None = None,
) -> list[Aim]:
    """One `Aim` per point.

    Parameters
    ----------
    net : Network
    X : (n,) or (batch, n) exact numbers
        Or the network's input shape instead of n.
    labels : int or sequence of int, optional
        Default the labels of the points: the largest output, the first of several.
    norm : "l1", "l2" or "linf"
    target : int or sequence of int, optional
    domain : Box, optional
        Default anywhere.

    Raises
    ------
    InputError
        On another norm, labels out of range, or sizes that do not fit.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> [aim.label for aim in aims(net, [[3], [-2], [0]])]
    [0, 1, 0]
    """
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r:.30}, expected 'l1', 'l2' or 'linf'")
    if net.output_size < 2:
        raise InputError(f"the network has {net.output_size} output, labels need at least 2")
    if domain is not None and not isinstance(domain, Box):
        raise InputError(f"domain is a {type(domain).__name__}, expected a Box")
    where = Box(-inf, inf, net.input_size) if domain is None else domain
    if where.dim != net.input_size:
        raise InputError(f"the domain has {where.dim} inputs, expected {net.input_size}")
    points, _ = net._points(X)
    table = [tuple(row) for row in points.fractions().tolist()]
    named = _per_point(labels, "label", len(table), net.output_size)
    wanted = _per_point(target, "target", len(table), net.output_size)
    sides = _domain_sides(where)
    out = []
    for x, label, to in zip(table, named, wanted, strict=True):
        outputs = evaluate(net, x)
        own = max(range(len(outputs)), key=outputs.__getitem__) if label is None else label
        aim = Aim(net, x, own, to, norm, where, False, sides)
        inside = attained(outputs, own, to) is not None and aim.holds(x)
        out.append(replace(aim, inside=True) if inside else aim)
    return out


def _per_point(
    values: int | Sequence[int] | None, name: str, count: int, classes: int
) -> list[int | None]:
    if values is None:
        return [None] * count
    if isinstance(values, bool):
        raise InputError(f"{name} is {values}, expected the number of an output")
    if type(values) is int and 0 <= values < classes:
        return [values] * count
    table = ExactArray(values, name)
    listed = table.fractions().ravel().tolist() * (count if table.shape == () else 1)
    if len(listed) != count:
        raise InputError(f"{name} has shape {table.shape}, there are {count} points")
    for value in listed:
        if value.denominator != 1 or not 0 <= value < classes:
            raise InputError(f"{name} is {value}, the network has {classes} outputs")
    return [int(v) for v in listed]


@lru_cache(maxsize=4)  # all points of a data set have the same domain
def scaled_sides(domain: Box) -> tuple[list[list[int | None]], int]:
    """The sides of a box as integers over one denominator, None where infinite."""
    finite = [v for v in (*domain.lo, *domain.hi) if isinstance(v, Fraction)]
    den = lcm(*(v.denominator for v in finite))
    sides = [
        [None if isinstance(v, float) else int(v * den) for v in side]
        for side in (domain.lo, domain.hi)
    ]
    return sides, den


@lru_cache(maxsize=4)
def _domain_sides(domain: Box) -> tuple[FloatArray, FloatArray]:
    """Ends of a box in float64: within it, but for sides that hold no double."""
    ends = []
    for side, inwards in ((domain.lo, 1), (domain.hi, -1)):
        end = np.array([v if isinstance(v, float) else rounded(v) for v in side])
        for i, v in enumerate(side):
            if isinstance(v, Fraction) and (Fraction(end[i]) - v) * inwards < 0:
                end[i] = np.nextafter(end[i], inwards * inf)
        ends.append(end)
    out = ends[0], np.maximum(*ends)
    for end in out:
        end.flags.writeable = False
    return out


# -------------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Adversarial(Result):
    """What an attack found, verified in exact arithmetic.

    Attributes
    ----------
    method, norm : str
    label : int
        The label that is to be left.
    target : int or None
        The label asked for.
    found : bool
        Whether there is a `witness`.
    witness : tuple of Fraction, or None
        An exact input of the domain at which another output (the target's) is at least the label's
        (all others): an upper bound of the radius, mostly on the boundary.
    reached : int or None
        That output.
    distance : Fraction or None
        From the input to the witness, exactly; its *square* in l2.
    upper : float
        The distance, rounded up; inf if nothing was found.
    adversarial : tuple of float, or None
        A float32 input of the domain whose label is strictly different (strictly the target) in
        exact arithmetic, close to the witness.
    adversarial_label : int or None
    adversarial_norm : float or None
        Its distance, rounded up.
    """

    method: str
    norm: str
    label: int
    target: int | None
    found: bool
    witness: Point | None = None
    reached: int | None = None
    distance: Fraction | None = None
    upper: float = inf
    adversarial: tuple[float, ...] | None = None
    adversarial_label: int | None = None
    adversarial_norm: float | None = None


def sealed(
    method: str, aim: Aim, witness: Point | None, eps: Fraction | None = None
) -> Adversarial:
    """The result of an attack that ended at a point, which is checked here.

    Where the point is not in ``S``, or farther away than ``eps``, nothing was found.
    """
    square = aim.norm == "l2"
    reached = None if witness is None else aim.reached(witness)
    nothing = Adversarial(method, aim.norm, aim.label, aim.target, False)
    if witness is None or reached is None:
        return nothing
    distance = aim.distance(witness)
    if eps is not None and distance > (eps * eps if square else eps):
        return nothing
    strict = strict_point(aim, witness)
    far = None if strict is None else aim.distance(strict.point)
    return Adversarial(
        method=method,
        norm=aim.norm,
        label=aim.label,
        target=aim.target,
        found=True,
        witness=witness,
        reached=reached,
        distance=distance,
        upper=enclose(distance, root=square)[1],
        adversarial=None if strict is None else strict.point,
        adversarial_label=None if strict is None else strict.label,
        adversarial_norm=None if far is None else enclose(far, root=square)[1],
    )


# --------------------------------------------------------------------------- towards exact points


def onto_boundary(aim: Aim, candidates: Iterable[FloatArray]) -> Point | None:
    """The closest of candidates in ``S``, moved towards the input as far as they stay in it.

    Parameters
    ----------
    aim : Aim
    candidates : (n,) arrays of float64
        Anything; those that are not in ``S`` are passed over.

    Returns
    -------
    tuple of Fraction, or None
        Verified to be in ``S``, exactly.
    """
    lo, hi = aim.sides
    best: tuple[float, FloatArray] | None = None
    for candidate in candidates:
        end = np.clip(candidate, lo, hi)
        if not np.isfinite(end).all() or not aim.margin(aim.net(end[None]))[0] >= 0:
            continue
        near, far = 0.0, 1.0
        for _ in range(_HALVINGS):
            t = (near + far) / 2
            if aim.margin(aim.net((aim.centre + t * (end - aim.centre))[None]))[0] >= 0:
                far = t
            else:
                near = t
        size = far * aim.size(end - aim.centre)
        if best is None or size < best[0]:
            best = size, end
            share = far
    if best is None:
        return None
    step = best[1] - aim.centre
    return pushed(aim, aim.centre + share * step, step, best[0])


def pushed(aim: Aim, point: FloatArray, inwards: FloatArray, scale: float) -> Point | None:
    """The first of points from ``point`` on that is in ``S``, decided exactly; None if none is."""
    sizes = np.concatenate([[0.0], np.geomspace(_SMALLEST, _LARGEST, 23)])
    length = float(np.abs(inwards).max(initial=0.0)) or 1.0
    lo, hi = aim.sides
    tried = np.clip(point + (sizes * scale / length)[:, None] * inwards, lo, hi)
    for k in _promising(aim, tried):
        exact = tuple(Fraction(v) for v in tried[k].tolist())
        if aim.reached(exact) is not None:
            return exact
    return None


def _promising(aim: Aim, points: FloatArray) -> list[int]:
    """The points from the first on that seems to be in ``S`` with some room for rounding."""
    values = aim.net(points)
    room = 2.0**-46 * np.abs(values).max()
    good = np.flatnonzero(aim.margin(values) > room)
    if not len(good):
        return []
    return list(range(int(good[0]), len(points)))


@dataclass(frozen=True)
class StrictPoint:
    """A float32 input and its label."""

    point: tuple[float, ...]
    label: int


def strict_point(aim: Aim, near: Point) -> StrictPoint | None:
    """A float32 input whose label is strictly different, close to a point of ``S``.

    Strictly: another output is more than the label's (the target's is more than all others), in
    exact arithmetic. Points are tried along the gradient of that difference, and away from the
    input, farther and farther.

    Parameters
    ----------
    aim : Aim
    near : tuple of Fraction

    Returns
    -------
    StrictPoint or None
        In the domain; None where none was found.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])
    >>> [aim] = aims(net, [0.75])
    >>> found = strict_point(aim, (Fraction(0),))
    >>> found.label, -1e-6 < found.point[0] < 0
    (1, True)
    """
    ends = _single_sides(aim.domain)
    if ends is None:
        return None
    start = np.array([rounded(v) for v in near])
    scale = max(aim.size(start - aim.centre), 2.0**-24 * float(np.abs(start).max(initial=1e-30)))
    slope = aim.gradients(start[None])[0]
    steps = []
    for direction in (slope, np.sign(slope), start - aim.centre):
        length = aim.size(direction)
        if length > 0:
            steps.append(direction / length)
    ways = np.array(steps or [0 * start])
    tried = (start + (scale * _STRICT_STEPS)[:, None, None] * ways).reshape(-1, len(start))
    with np.errstate(over="ignore"):
        points = np.clip(tried.astype(np.float32), *ends).astype(np.float64)
    seems = _seems_strict(aim, points)
    far = np.linalg.norm(points[seems] - aim.centre, _ORDERS[aim.norm], axis=1)
    for k in seems[far.argsort(kind="stable")[:8]]:
        point = tuple(points[k].tolist())
        label = aim.reached(point, strict=True)
        if label is not None:
            return StrictPoint(point, label)
    return None


def _seems_strict(aim: Aim, points: FloatArray) -> NDArray[np.intp]:
    return np.flatnonzero(aim.margin(aim.net(points)) > 0)


@lru_cache(maxsize=4)
def _single_sides(domain: Box) -> tuple[Any, Any] | None:
    """As `float_sides` in float32, infinite sides being the largest numbers."""
    if domain.bounded:
        return float_sides(domain, np.float32)
    top = float(np.finfo(np.float32).max)
    lo: list[Bound] = [Fraction(-top) if isinstance(v, float) else v for v in domain.lo]
    hi: list[Bound] = [Fraction(top) if isinstance(v, float) else v for v in domain.hi]
    return float_sides(Box.of_exact(lo, hi), np.float32)
