"""DeepFool (Moosavi-Dezfooli, Fawzi, Frossard 2016), as published: a heuristic.

Step by step onto the nearest class boundary of the affine map at hand, a little beyond it. Inputs
that are at an end of the domain and would leave it do not move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plverify.attacks.base import Aim, Point, onto_boundary
from plverify.attacks.gradients import gradients
from plverify.attacks.steps import movable, sizes, steepest
from plverify.exact_array import FloatArray

STEPS = 50
_OVERSHOOT = 0.02
_DUAL = {"l1": "linf", "l2": "l2", "linf": "l1"}


def run(wanted: Sequence[Aim], steps: int) -> list[Point | None]:
    """One exact point per aim, or None."""
    return [onto_boundary(aim, [_walk(aim, steps)]) for aim in wanted]


def _walk(aim: Aim, steps: int) -> FloatArray:
    x = aim.centre
    for _ in range(steps):
        outputs = aim.net(x)
        if aim.margin(outputs[None])[0] > 0:
            break
        step = nearest_step(aim, x, outputs)
        if step is None:
            break
        x = np.clip(x + (1 + _OVERSHOOT) * step, *aim.sides)
    return x


def nearest_step(aim: Aim, x: FloatArray, outputs: FloatArray) -> FloatArray | None:
    """The least step onto a class boundary of the affine map at ``x``.

    For rows ``w`` and gaps ``g`` to the classes it is the one with the least ``|g| / ||w||_q``, q
    being the dual norm. Without a target every other output is a class; with one, its rival is.
    """
    if aim.target is None:
        others = np.array([j for j in range(len(outputs)) if j != aim.label])
        rows = np.zeros((len(others), len(outputs)))
        rows[np.arange(len(others)), others] = 1.0
        rows[:, aim.label] = -1.0
    else:
        rows = aim.rows(outputs[None])
    gaps = np.maximum(-(rows @ outputs), 0.0)
    points = np.repeat(x[None], len(rows), axis=0)
    slopes = gradients(aim.net, points, rows)
    slopes = np.where(movable(aim, points, slopes), slopes, 0.0)
    lengths = sizes(_DUAL[aim.norm], slopes)
    far = np.divide(gaps, lengths, out=np.full(len(rows), np.inf), where=lengths > 0)
    best = int(far.argmin())
    if not np.isfinite(far[best]):
        return None
    # At a tie the step is 0: then a little of any length leads on.
    length = max(float(far[best]), 1e-12 * float(np.abs(x).max(initial=1.0)))
    return length * steepest(aim.norm, slopes[best : best + 1])[0]
