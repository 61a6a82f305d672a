"""Exact Jacobians, their norms, and the largest one seen at sampled points: lower bounds.

The operator norm of a matrix ``J`` for perturbations and outputs measured alike: in l1 the largest
absolute column sum, in linf the largest absolute row sum, in l2 the largest singular value. For one
row it is the dual norm of the gradient. Rational numbers stand for the norm itself in l1 and linf,
and for its square in l2.
"""

from __future__ import annotations

from fractions import Fraction
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from plverify.domain import Box, Domain
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.exact_net import common_denominator
from plverify.gain.operators import NORMS
from plverify.network import Network
from plverify.result import rounded

Rows = list[list[Fraction]]
"""Combinations of the outputs, one per row."""

_SAMPLES = 256
_MOST_PRODUCTS = 20_000_000
"""Of one exact Jacobian, beyond which it takes too long."""


class Attained(NamedTuple):
    """A point inside an activation region, and a lower bound of its Jacobian's norm.

    ``value`` is the norm in l1 and linf, in l2 its square, or of several rows ``|y' J|^2 / |y|^2``
    for the ``direction`` y.
    """

    point: tuple[Fraction, ...]
    value: Fraction
    direction: tuple[Fraction, ...] | None = None

    @staticmethod
    def of(point: tuple[Fraction, ...], jacobian: Rows, norm: str) -> Attained:
        """What a region's Jacobian attains.

        >>> Attained.of((), [[Fraction(3), Fraction(-4)]], "l2").value
        Fraction(25, 1)
        """
        flat, den = common_denominator([v for row in jacobian for v in row])
        n = len(jacobian[0])
        ints = [flat[k : k + n] for k in range(0, len(flat), n)]
        if norm != "l2":
            lines: Any = ints if norm == "linf" else zip(*ints, strict=True)
            return Attained(point, Fraction(max(sum(map(abs, line)) for line in lines), den))
        if len(ints) == 1:
            return Attained(point, Fraction(sum(v * v for v in ints[0]), den * den))
        floats = float_matrix(jacobian)
        vectors = np.linalg.eigh(floats @ floats.T)[1]
        direction = tuple(Fraction(v) for v in vectors[:, -1].tolist())
        y, _ = common_denominator(direction)
        image = [sum(map(mul, y, column)) for column in zip(*ints, strict=True)]
        value = Fraction(sum(v * v for v in image), den * den * sum(v * v for v in y))
        return Attained(point, value, direction)


def float_matrix(rows: Rows) -> FloatArray:
    """Fractions rounded to float64."""
    return np.array([[rounded(v) for v in row] for row in rows])


def check_norm(norm: str) -> None:
    """Raise `InputError` on another norm than "l1", "l2" and "linf"."""
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r:.30}, expected 'l1', 'l2' or 'linf'")


def output_rows(net: Network, output: Any) -> Rows:
    """The rows of the map that is meant: all outputs (None), one of them, or a combination.

    Raises
    ------
    InputError
        If there is no such output or the vector does not fit.

    >>> output_rows(Network.from_arrays([[[1], [2]]]), [1, "-1/2"])
    [[Fraction(1, 1), Fraction(-1, 2)]]
    """
    m = net.output_size
    if output is None:
        return [[Fraction(int(i == j)) for j in range(m)] for i in range(m)]
    if isinstance(output, (int, np.integer)) and not isinstance(output, bool):
        if not 0 <= output < m:
            raise InputError(f"output is {output}, the network has {m}, numbered from 0")
        return [[Fraction(int(j == output)) for j in range(m)]]
    vector = ExactArray(output, "output")
    if vector.shape != (m,):
        raise InputError(f"output has shape {vector.shape}, expected ({m},)")
    return [vector.fractions().tolist()]


def exact_jacobian(net: Network, pieces: Any, rows: Rows) -> Rows:
    """``rows @ J`` for the Jacobian of a pattern."""
    table, den = net.exact_net.affine_map(pieces)
    out = []
    for row in rows:
        ints, scale = common_denominator(row)
        total = [0] * net.input_size
        for c, entries in zip(ints, table, strict=True):
            if c:
                total = [t + c * a for t, a in zip(total, entries, strict=False)]
        out.append([Fraction(t, den * scale) for t in total])
    return out


def float_norms(jacobians: FloatArray, norm: str) -> FloatArray:
    """The norms of matrices (batch, rows, inputs) in float64."""
    if norm == "l1":
        return np.abs(jacobians).sum(axis=1).max(axis=1)
    if norm == "linf":
        return np.abs(jacobians).sum(axis=2).max(axis=1)
    if jacobians.shape[1] == 1:
        return np.linalg.norm(jacobians[:, 0], axis=1)
    gram = jacobians @ jacobians.swapaxes(1, 2)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0.0))


def sample_points(domain: Domain | None, inputs: int, count: int) -> FloatArray:
    """Points of a box (its corners among them), or of all of R^n at several scales."""
    rng = np.random.default_rng(0)
    if isinstance(domain, Box) and domain.bounded:
        lo, hi = (np.array([rounded(Fraction(v)) for v in side]) for side in (domain.lo, domain.hi))
        inner = rng.random((count, inputs))
        inner[::2] = inner[::2] < 0.5
        return lo + (hi - lo) * inner
    scale = np.exp(rng.normal(size=(count, 1)) * 2)
    return rng.normal(size=(count, inputs)) * scale


def sampled(
    net: Network, domain: Domain | None, norm: str, rows: Rows, count: int = _SAMPLES
) -> Attained | None:
    """The largest norm of a Jacobian at sampled points, exactly; None where that takes too long.

    Points on kinks are left out: they lie inside no region.
    """
    if net.products * net.input_size > _MOST_PRODUCTS:
        return None
    weights = float_matrix(rows)
    points = sample_points(domain, net.input_size, count)
    values = float_norms(np.array([net.vjp(x, weights) for x in points]), norm)
    for k in np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")[:8]:
        point = tuple(Fraction(v) for v in points[k].tolist())
        if domain is not None and not domain.contains(point):
            continue
        found = net.exact_net.pattern_at(point)
        if not found.on_boundary:
            return Attained.of(point, exact_jacobian(net, found.bits, rows), norm)
    return None
