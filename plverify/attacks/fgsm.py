"""The fast gradient sign method (Goodfellow, Shlens, Szegedy 2015): one step, in l1, l2 or linf.

With a radius, the step has its length. Without one, points along it are tried, farther and farther.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plverify.attacks.base import Aim, Point, onto_boundary
from plverify.attacks.steps import steepest
from plverify.exact_array import FloatArray

_LENGTHS = np.geomspace(2.0**-20, 2.0**20, 121)


def run(wanted: Sequence[Aim], eps: float | None) -> list[Point | None]:
    """One exact point per aim, or None."""
    return [_one(aim, eps) for aim in wanted]


def _one(aim: Aim, eps: float | None) -> Point | None:
    x = aim.centre
    slope = aim.gradients(x[None])[0]
    unit = max(1.0, float(np.abs(x).max())) if eps is None else eps
    lengths = unit * (_LENGTHS if eps is None else np.ones(1))
    points = np.array([x + ascent(aim, slope, length) for length in lengths.tolist()])
    reached = np.flatnonzero(aim.margin(aim.net(points)) >= 0)
    return onto_boundary(aim, points[reached[:1]])


def ascent(aim: Aim, slope: FloatArray, length: float) -> FloatArray:
    """The step of this length, within the domain, along which a function of this gradient grows.

    In l1 and linf it grows most of all such steps; in l2 the gradient is scaled and cut off at the
    domain.
    """
    lo, hi = (side - aim.centre for side in aim.sides)
    if aim.norm != "l1":
        return np.clip(length * steepest(aim.norm, slope[None])[0], lo, hi)
    room = np.where(slope > 0, hi, -lo) * (slope != 0)
    order = np.argsort(-np.abs(slope), kind="stable")
    before = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    step = np.zeros_like(slope)
    step[order] = np.clip(length - before, 0.0, room[order])
    return step * np.sign(slope)
