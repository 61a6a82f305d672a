"""Steps in a norm: steepest directions and projections onto balls, in floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plverify.attacks.base import Aim
from plverify.exact_array import FloatArray


def sizes(norm: str, steps: FloatArray) -> FloatArray:
    """(k,): the norms of steps (k, n)."""
    if norm == "l2":
        return np.sqrt((steps * steps).sum(axis=1))
    size = np.abs(steps)
    return size.max(axis=1) if norm == "linf" else size.sum(axis=1)


def steepest(norm: str, slopes: FloatArray) -> FloatArray:
    """(k, n): steps of norm 1 along which functions with these gradients grow most, or 0.

    >>> steepest("linf", np.array([[3.0, -4.0]])), steepest("l1", np.array([[3.0, -4.0]]))
    (array([[ 1., -1.]]), array([[ 0., -1.]]))
    """
    if norm == "linf":
        return np.sign(slopes)
    if norm == "l1":
        size = np.abs(slopes)
        first = np.zeros(slopes.shape, bool)
        first[np.arange(len(slopes)), size.argmax(axis=1)] = True
        return np.where(first, np.sign(slopes), 0.0)
    length = sizes("l2", slopes)[:, None]
    return np.divide(slopes, length, out=np.zeros_like(slopes), where=length > 0)


def movable(aim: Aim, points: FloatArray, slopes: FloatArray) -> NDArray[np.bool_]:
    """(k, n): where a point can move in the direction of the slope without leaving the domain."""
    lo, hi = aim.sides
    return ((slopes > 0) & (points < hi)) | ((slopes < 0) & (points > lo))


def into_ball(norm: str, steps: FloatArray, radii: FloatArray) -> FloatArray:
    """(k, n): the nearest steps (in l2) with norms of at most the radii (k,).

    >>> into_ball("l1", np.array([[3.0, -2.0]]), np.array([3.0]))
    array([[ 2., -1.]])
    """
    if norm == "linf":
        return np.clip(steps, -radii[:, None], radii[:, None])
    length = sizes(norm, steps)
    inside = length <= radii
    if norm == "l2":
        factor = np.divide(radii, length, out=np.ones_like(radii), where=~inside)
        return steps * factor[:, None]
    # Duchi, Shalev-Shwartz, Singer, Chandra 2008: a threshold is taken off all entries.
    size = -np.sort(-np.abs(steps), axis=1)
    count = np.arange(1, steps.shape[1] + 1)
    over = (np.cumsum(size, axis=1) - radii[:, None]) / count
    last = np.count_nonzero(size > over, axis=1) - 1
    cut = np.where(inside, 0.0, over[np.arange(len(over)), np.maximum(last, 0)])
    return np.sign(steps) * np.maximum(np.abs(steps) - cut[:, None], 0.0)
