"""Bounds of rounding errors of float64 sums and products, rounded upwards themselves.

``u = 2**-53``. A sum of ``n`` products in any order, with fused multiplications or without, is off
by at most ``gamma(n)`` times the sum of the absolute products (Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 3.1), unless it underflows. That holds for every BLAS that
multiplies matrices by their definition, which is what NumPy comes with. Callers scale what they
multiply, so that underflow costs less than `TINY`, and add that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

U = 2.0**-53
TINY = 1e-290
"""What underflow costs at most where the largest number is about 1."""


def gamma(n: float) -> float:
    """The relative error of a sum of ``n`` products, in absolute terms.

    >>> gamma(10) > 10 * 2.0**-53
    True
    """
    return (n + 4) * U * (1 + 2.0**-20) if n < 2.0**30 else math.inf


def up(value: float, steps: int = 4) -> float:
    """A double above what ``value`` was rounded from, if that took at most ``steps`` operations."""
    return math.nextafter(value * (1 + 2 * steps * U), math.inf)


def down(value: float, steps: int = 4) -> float:
    """A double below; for ``value >= 0``."""
    return math.nextafter(value * (1 - 2 * steps * U), 0.0)


def norm_above(x: NDArray[Any]) -> float:
    """An upper bound of the Euclidean (Frobenius) norm of an array of doubles.

    >>> norm_above(np.array([3.0, 4.0])) >= 5.0
    True
    """
    flat = x.reshape(-1)
    square = float(np.vdot(flat, flat).real)
    return up(math.sqrt(square * (1 + gamma(2 * flat.size)))) + 1e-150


def norm_below(x: NDArray[Any]) -> float:
    """A lower bound of the Euclidean norm of an array of doubles; 0 where squares overflow."""
    flat = x.reshape(-1)
    square = float(np.vdot(flat, flat).real)
    if not square < math.inf:
        return 0.0
    return down(math.sqrt(max(0.0, square * (1 - gamma(2 * flat.size)) - 1e-300)))
