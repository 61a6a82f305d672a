"""The cone-walking attack, "exact DeepFool": the nearest input of another class, by regions.

``csrc/search/walk.hpp`` describes the walk, which is in floating point. What it finds is one corner
of a polyhedron (in l2 a projection onto one), determined by a small linear system whose rows are
known exactly; that is solved again in rationals, and the solution is verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

import plverify._core as _core
from plverify.attacks.base import Aim, Point, aims, onto_boundary, pushed
from plverify.domain import Box
from plverify.errors import InputError
from plverify.nearest import place_point
from plverify.network import Network

RESTARTS = {"l1": 100, "l2": 20, "linf": 60}
"""Walks from random points, beyond which hardly any found a nearer point of the digits networks
(2,000 did); those in l1 see the fewest regions, and cost the least."""


@dataclass(frozen=True)
class BoundaryPoint:
    """A close input of the closed set ``S`` of another label (`plverify.attacks.base.Aim`).

    Attributes
    ----------
    point : tuple of Fraction
        Verified to be in ``S`` and the domain, exactly.
    distance : Fraction
        From the input, exactly; in l2 its square.
    target : int
        An output that is at least the label's there; where targeted, the target.
    """

    point: Point
    distance: Fraction
    target: int


def nearest_boundary(
    net: Network,
    X: Any,
    labels: int | Sequence[int] | None,
    norm: str,
    target: int | Sequence[int] | None = None,
    domain: Box | None = None,
    *,
    starts: Any = None,
    restarts: int | None = None,
    timeout: float | None = None,
) -> list[BoundaryPoint | None]:
    """Close inputs of another label, one per point: local minima of the distance.

    Parameters
    ----------
    net : Network
    X : (n,) or (batch, n) exact numbers
    labels : int, sequence of int, or None
        Of the points; None: their own.
    norm : "l1", "l2" or "linf"
    target : int or sequence of int, optional
    domain : Box, optional
        Where the inputs lie; default anywhere.
    starts : (batch, n) array of float64, optional
        Points of ``S`` at which the only walks begin.
    restarts : int, optional
        Walks from random points, the same ones every time.
    timeout : float, optional
        Seconds after which the points that are left get None.

    Returns
    -------
    list of BoundaryPoint or None
        None where nothing was found, which proves nothing. A point that is in ``S`` itself is its
        own answer.

    Raises
    ------
    InputError
        As `plverify.attacks.base.aims`.

    >>> net = Network.from_arrays([[[2, 0], [0, 1], [-1, -1]]], [[0, 0.5, 0]])
    >>> for norm in ("l1", "l2", "linf"):
    ...     [found] = nearest_boundary(net, [1.0, 0.25], 0, norm)
    ...     print(found.target, found.distance)
    1 5/8
    1 5/16
    1 5/12
    """
    wanted = aims(net, X, labels, norm, target, domain)
    return walk(wanted, starts=starts, restarts=restarts, timeout=timeout)


def walk(
    wanted: Sequence[Aim],
    *,
    starts: Any = None,
    restarts: int | None = None,
    timeout: float | None = None,
) -> list[BoundaryPoint | None]:
    """As `nearest_boundary`, of aims that share network, norm and domain."""
    if isinstance(restarts, bool) or not 0 <= (restarts or 0) <= 1_000_000:
        raise InputError(f"restarts is {restarts}, expected a number from 0")
    out: list[BoundaryPoint | None] = [None] * len(wanted)
    todo = []
    for k, aim in enumerate(wanted):
        label = aim.reached(aim.x) if aim.inside else None
        if label is None:
            todo.append(k)
        else:
            out[k] = BoundaryPoint(aim.x, Fraction(0), label)
    if not todo:
        return out
    first = wanted[0]
    found = _core.walk(
        first.net.core,
        np.array([wanted[k].centre for k in todo]),
        *first.sides,
        [wanted[k].label for k in todo],
        [-1 if (to := wanted[k].target) is None else to for k in todo],
        first.targeted,
        first.norm,
        RESTARTS[first.norm] if restarts is None else restarts,
        None if starts is None else np.asarray(starts, np.float64)[todo],
        timeout,
    )
    for k, raw in zip(todo, found, strict=True):
        if raw is not None:
            out[k] = _settled(wanted[k], raw)
    return out


def _settled(aim: Aim, raw: dict[str, Any]) -> BoundaryPoint | None:
    """The exact point of ``S`` that the walk's stands for, or one close to it."""
    point = _solution(aim, raw)
    label = None if point is None else aim.reached(point)
    if point is None or label is None:
        near = raw["point"]
        point = pushed(aim, near, raw["inwards"], aim.size(near - aim.centre))
        if point is None and len(raw["safe"]):
            point = onto_boundary(aim, [raw["safe"]])
        label = None if point is None else aim.reached(point)
    if point is None or label is None:
        return None
    return BoundaryPoint(point, aim.distance(point), label)


def _solution(aim: Aim, raw: dict[str, Any]) -> Point | None:
    """The solution of the linear system that determines the walk's point; None without one."""
    lo, hi = aim.domain.lo, aim.domain.hi
    rows = [(row[:-1], -row[-1]) for row in raw["active"]]
    # An input outside the domain was attacked from its nearest point there.
    return place_point(aim.norm, rows, aim.nearest_start, lo, hi, raw["places"].tolist())


def run(wanted: Sequence[Aim], restarts: int | None) -> list[Point | None]:
    """The attack ``"exact-deepfool"``: one exact point per aim."""
    return [None if found is None else found.point for found in walk(wanted, restarts=restarts)]
