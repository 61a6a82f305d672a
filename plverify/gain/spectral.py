"""Proven bounds of spectral norms of matrices of doubles.

*From above.* ``c I - W W'`` is positive semidefinite if and only if ``c`` is at least the square of
the norm. Its Cholesky factor in floating point proves that, whatever the factorisation did:
multiplied with its transpose again, it is off by a residual that is seen and a rounding error that
is bounded (after S. M. Rump, "Verification of positive definiteness", BIT 46, 2006). The level
``c`` is an estimate of the largest eigenvalue, raised until the factorisation succeeds.

*From below.* ``|W v| / |v|`` at an approximate singular vector, with the rounding error taken off.

*Non-negative operators* too large for both: if ``|W|' |W| v <= c v`` for some ``v > 0``, then the
norm of ``|W|``, and with it that of ``W``, is at most ``sqrt(c)`` (Schur's test).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.gain.rounding import TINY, U, down, gamma, norm_above, norm_below, up

Array = NDArray[Any]
Map = Callable[[Array], Array]

_DENSE_EIGEN = 700
"""Rows up to which eigenvalues are computed densely."""
_STEPS = 40
"""Of the Lanczos method on large operators."""
_ATTEMPTS = 12


def scale_of(size: float) -> int:
    """The exponent ``e`` for which ``size * 2**-e`` lies in [1/2, 1); 0 for zero."""
    return math.frexp(size)[1] if 0 < size < math.inf else 0


def norm_bounds(matrix: Array) -> tuple[float, float]:
    """Proven lower and upper bounds of the spectral norm of a matrix.

    Parameters
    ----------
    matrix : (m, n) array of doubles
        Taken to be off by a relative error of ``2**-53`` in each entry, as rounded weights are.

    >>> low, high = norm_bounds(np.array([[3.0, 0.0], [0.0, -4.0]]))
    >>> low <= 4 <= high, high - low < 1e-12
    (True, True)
    """
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return 0.0, largest
    e = scale_of(largest)
    a = np.ldexp(matrix, -e)
    if a.shape[0] > a.shape[1]:
        a = a.T
    above, vector = _above(a[None])
    above += up(2 * U * norm_above(a))
    x = vector @ a
    size = norm_above(x)
    below = 0.0
    if size > 0:
        y = a @ x
        error = gamma(a.shape[1] + 2) * (np.abs(a) @ np.abs(x)) + TINY
        below = down(norm_below(np.maximum(np.abs(y) - error, 0.0)) / size, 8)
    return math.ldexp(below, e), math.ldexp(up(above), e)


def largest_above(stack: Array) -> float:
    """An upper bound of the spectral norms of all matrices ``(F, r, c)``, real or complex."""
    largest = float(np.abs(stack).max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    e = scale_of(largest)
    a = stack * math.ldexp(1.0, -e)
    if a.shape[1] > a.shape[2]:
        a = a.swapaxes(1, 2)
    return math.ldexp(_above(a)[0], e)


def _above(a: Array) -> tuple[float, Array]:
    """An upper bound for scaled ``(F, r, c)``, r <= c, and a left singular vector of the first."""
    rows, inner = a.shape[1:]
    # A complex product is four real ones.
    terms = inner if a.dtype.kind == "f" else 4 * inner + 8
    frobenius = max(norm_above(one) for one in a)
    gram = _squares(a)
    loss = 2 * gamma(terms) * up(frobenius * frobenius) + TINY
    top, vector = _largest_eigenvalue(gram)
    slack = max(1e-13, 16 * rows * U)
    for attempt in range(_ATTEMPTS):
        level = top * (1 + slack) + TINY
        residual = _residual(gram, level)
        if residual is not None:
            return up(math.sqrt(up(level + residual + loss, 8))), vector
        if attempt == 0 and len(a) > 1:
            top = max(top, float(np.linalg.eigvalsh(gram)[:, -1].max()))
        slack *= 8
    return frobenius, vector


def _squares(a: Array) -> Array:
    """``a a*`` of all matrices of a stack."""
    if a.dtype.kind == "c":
        return np.matmul(a, a.conj().swapaxes(1, 2))
    if len(a) == 1:  # then NumPy computes half of it
        out: Array = (a[0] @ a[0].T)[None]
        return out
    return np.matmul(a, a.swapaxes(1, 2))


def _residual(gram: Array, level: float) -> float | None:
    """``d`` such that the largest eigenvalue of all ``gram`` is at most ``level + d``."""
    rows = gram.shape[1]
    terms = rows if gram.dtype.kind == "f" else 4 * rows + 8
    worst = 0.0
    step = max(1, (1 << 24) // (rows * rows))
    for at in range(0, len(gram), step):
        part = -gram[at : at + step]
        diagonal: Any = (slice(None), np.arange(rows), np.arange(rows))
        part[diagonal] += level
        try:
            factor = np.linalg.cholesky(part)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(factor).all():
            return None
        sizes = [norm_above(one) for one in factor]
        part -= _squares(factor)
        # The matrix of which only one triangle was read is Hermitian up to the rounding of `gram`,
        # which the residual sees; differences are rounded once.
        seen = max(norm_above(one) for one in part)
        lost = 2 * gamma(terms) * up(max(sizes) ** 2)
        worst = max(worst, up(seen * (1 + 4 * U) + lost + 4 * U * rows * level))
    return worst + TINY


def _largest_eigenvalue(gram: Array) -> tuple[float, Array]:
    """An estimate of the largest eigenvalue of a stack, and an eigenvector of its first matrix."""
    rows = gram.shape[1]
    if len(gram) == 1:
        if rows <= _DENSE_EIGEN:
            values, vectors = np.linalg.eigh(gram[0])
            return float(values[-1]), vectors[:, -1]
        return _ritz(lambda x: gram[0] @ x, rows, 200)
    v = np.ones((len(gram), rows, 1), gram.dtype) + np.arange(rows)[:, None] % 7
    for _ in range(_STEPS):
        v = np.matmul(gram, v)
        v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
    rayleigh = np.real(np.matmul(v.conj().swapaxes(1, 2), np.matmul(gram, v)))[:, 0, 0]
    best = np.argsort(rayleigh)[-3:]
    return max(float(np.linalg.eigvalsh(gram[k])[-1]) for k in best), v[0, :, 0]


def _ritz(apply: Map, size: int, steps: int) -> tuple[float, Array]:
    """The largest Ritz value and vector of a symmetric operator (Lanczos, reorthogonalised)."""
    rng = np.random.default_rng(0)
    basis = np.zeros((min(steps, size) + 1, size))
    basis[0] = rng.normal(size=size)
    basis[0] /= np.linalg.norm(basis[0])
    diagonal: list[float] = []
    beside: list[float] = []
    last = 0.0
    for k in range(len(basis) - 1):
        w = apply(basis[k])
        diagonal.append(float(basis[k] @ w))
        for _ in range(2):
            w -= basis[: k + 1].T @ (basis[: k + 1] @ w)
        left = float(np.linalg.norm(w))
        small = left <= 1e-14 * max(map(abs, diagonal))
        if small or k % 10 == 9 or k == len(basis) - 2:
            matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
            values, vectors = np.linalg.eigh(matrix)
            if small or values[-1] - last <= 1e-15 * values[-1] or k == len(basis) - 2:
                return float(values[-1]), vectors[:, -1] @ basis[: k + 1]
            last = float(values[-1])
        beside.append(left)
        basis[k + 1] = w / left
    raise AssertionError("no step was taken")


def operator_below(
    apply: Map, adjoint: Map, absolute: Map, size: int, terms: int, steps: int = _STEPS
) -> float:
    """A lower bound of the spectral norm of an operator that is too large for a matrix.

    Parameters
    ----------
    apply, adjoint, absolute : callables
        ``W x``, ``W' y`` and ``|W| x`` in float64, with entries rounded once.
    size : int
        Number of inputs.
    terms : int
        Most products in an entry of ``W x``.
    steps : int
        Of the Lanczos method.
    """
    _, x = _ritz(lambda v: adjoint(apply(v)), size, steps)
    return ratio_below(apply, absolute, x, terms)


def ratio_below(apply: Map, absolute: Map, x: Array, terms: int) -> float:
    """A lower bound of ``|W x| / |x|``."""
    size = norm_above(x)
    if not 0 < size < 1e150:
        return 0.0
    error = gamma(terms + 2) * absolute(np.abs(x)) * (1 + gamma(terms)) + TINY
    return down(norm_below(np.maximum(np.abs(apply(x)) - error, 0.0)) / size, 8)


def schur_above(absolute: Map, absolute_adjoint: Map, size: int, terms: int) -> float:
    """An upper bound of the spectral norm of ``|W|``.

    Parameters
    ----------
    absolute, absolute_adjoint : callables
        ``|W| x`` and ``|W|' y`` in float64, with entries rounded once.
    size : int
        Number of inputs.
    terms : int
        Most products in an entry of either.
    """
    v = np.ones(size)
    best = math.inf
    for _ in range(_STEPS):
        w = absolute_adjoint(absolute(v))
        # All terms are non-negative: the error is relative.
        best = min(best, float((w / v).max()) * (1 + 4 * gamma(terms + 2)) + TINY)
        top = float(w.max())
        if not 0 < top < 1e200:
            break
        v = np.maximum(np.sqrt(v * (w / top)), 1e-6)
    return up(math.sqrt(best), 8)


def is_definite(matrix: Array, error: Array) -> bool:
    """Whether every symmetric matrix within an entrywise error is positive semidefinite, for sure.

    Parameters
    ----------
    matrix : (n, n) array of doubles, symmetric
    error : (n, n) array of non-negative doubles

    >>> is_definite(np.array([[2.0, 1.0], [1.0, 1.0]]), np.full((2, 2), 1e-9))
    True
    """
    rows = len(matrix)
    diagonal = np.diagonal(matrix)
    if not (np.isfinite(matrix).all() and np.isfinite(error).all() and (diagonal > 0).all()):
        return False
    # Scaled by powers of two, exactly, all entries of the diagonal are about 1.
    scale = np.ldexp(1.0, -(np.frexp(diagonal)[1] // 2))
    a = matrix * scale[:, None] * scale
    off = up(norm_above(error * scale[:, None] * scale) * (1 + 4 * U))
    trace = up(float(np.trace(a)) * (1 + gamma(rows)))
    shift = 1.01 * (off + 4 * gamma(rows) * trace + 1e-300)
    a[np.arange(rows), np.arange(rows)] -= shift
    try:
        factor = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return False
    if not np.isfinite(factor).all():
        return False
    lost = 2 * gamma(rows) * up(norm_above(factor) ** 2) + 4 * U * trace
    seen = norm_above(a - factor @ factor.T)
    return up(up(seen + lost) + off) <= shift
