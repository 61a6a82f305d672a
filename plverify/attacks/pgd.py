"""Projected gradient descent (Madry, Makelov, Schmidt, Tsipras, Vladu 2018), in l1, l2 or linf.

The loss is the gap between the outputs. With a radius, points stay within it; without one, radii
are doubled until some point reaches another label and then halved, all points side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plverify.attacks.base import Aim, Point, onto_boundary
from plverify.attacks.gradients import gradients
from plverify.attacks.steps import into_ball, movable, sizes, steepest
from plverify.exact_array import FloatArray

STEPS = 40
_PACE = 2.5
"""All steps together, in radii."""
_DOUBLINGS, _HALVINGS = 24, 12


def run(wanted: Sequence[Aim], eps: float | None, steps: int, seed: int) -> list[Point | None]:
    """One exact point per aim, or None."""
    if not wanted:
        return []
    random = np.random.default_rng(seed)
    if eps is not None:
        ends = _descend(wanted, np.full(len(wanted), eps), steps, random)
        return [onto_boundary(aim, [x]) for aim, x in zip(wanted, ends, strict=True)]
    centres = np.array([aim.centre for aim in wanted])
    slopes = np.array([aim.gradients(aim.centre[None])[0] for aim in wanted])
    norm = wanted[0].norm
    dual = {"l1": "linf", "l2": "l2", "linf": "l1"}[norm]
    gaps = np.array([-aim.margin(aim.net(aim.centre[None]))[0] for aim in wanted])
    lengths = sizes(dual, slopes)
    radii = np.divide(gaps, lengths, out=np.ones(len(wanted)), where=(lengths > 0) & (gaps > 0))
    low, high = np.zeros(len(wanted)), np.full(len(wanted), np.inf)
    best = centres.copy()
    for step in range(_DOUBLINGS + _HALVINGS):
        if step == _DOUBLINGS and not np.isfinite(high).any():
            break
        ends = _descend(wanted, radii, steps, random)
        for k, aim in enumerate(wanted):
            if aim.margin(aim.net(ends[k : k + 1]))[0] >= 0:
                if radii[k] < high[k]:
                    high[k], best[k] = radii[k], ends[k]
            else:
                low[k] = max(low[k], radii[k])
        if step < _DOUBLINGS and np.isfinite(high).all() and (high - low <= 1e-3 * high).all():
            break
        radii = np.where(np.isfinite(high), (low + np.minimum(high, 1e300)) / 2, 2 * radii)
    return [onto_boundary(aim, [x]) for aim, x in zip(wanted, best, strict=True)]


def _descend(
    wanted: Sequence[Aim], radii: FloatArray, steps: int, random: np.random.Generator
) -> FloatArray:
    """(points, n): the point of every descent at which the gap is best."""
    first = wanted[0]
    net, norm = first.net, first.norm
    centres = np.array([aim.centre for aim in wanted])
    noise = random.uniform(-1.0, 1.0, centres.shape)
    start = into_ball(norm, radii[:, None] * noise, radii)
    points = np.clip(centres + start, *first.sides)
    best, value = centres.copy(), np.full(len(wanted), -np.inf)
    for step in range(steps + 1):
        outputs = net(points)
        margins = np.array([a.margin(outputs[k : k + 1])[0] for k, a in enumerate(wanted)])
        better = margins > value
        best[better], value[better] = points[better], margins[better]
        if step == steps:
            break
        rows = np.concatenate([a.rows(outputs[k : k + 1]) for k, a in enumerate(wanted)])
        slopes = gradients(net, points, rows)
        slopes = np.where(movable(first, points, slopes), slopes, 0.0)
        moved = points + (_PACE / steps * radii)[:, None] * steepest(norm, slopes)
        points = np.clip(centres + into_ball(norm, moved - centres, radii), *first.sides)
    return best
