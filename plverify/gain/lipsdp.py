"""Upper bounds of l2 constants by semidefinite programs, solved here and proven afterwards.

Let ``x`` be the difference of two inputs, ``z_i = w_i . (x, a)`` that of what unit ``i`` reads, and
``a_i`` that of its output, which lies between ``alpha_i z_i`` and ``beta_i z_i``. If for some
``t >= 0``

    Q = rho |x|^2 - |C (x, a)|^2 + sum t_i (a_i - alpha_i z_i) (a_i - beta_i z_i)

is a non-negative quadratic form, then ``|C (x, a)|^2 <= rho |x|^2``, as no term of the sum is
positive: ``sqrt(rho)`` bounds the constant (LipSDP-Neuron: M. Fazlyab et al., "Efficient and
accurate estimation of Lipschitz constants for deep neural networks", NeurIPS 2019). In LipSDP-Layer
all ``t`` of a layer are one number. (Multipliers that couple units, LipSDP-Network, would be
unsound.)

`fast_start` chooses one number per layer, from the input on, so that what the layer adds to the
form is as large as it can be (ECLipsE-Fast: Y. Xu, S. Sivaranjani, NeurIPS 2024). From there a
barrier method minimises ``rho``. All matrices of the sum have rank two, so that Newton's
equations come out of four products of matrices. Whatever the outcome, `proven_square` decides:
by a Cholesky factorisation of ``Q`` with all rounding bounded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.exact_array import FloatArray
from plverify.gain.forms import Forms
from plverify.gain.rounding import U, gamma
from plverify.gain.spectral import is_definite

_GAP = 1e-7
"""Of the barrier method, relative to ``rho``."""
_STEPS = 400
_RAISES = 30


@dataclass(frozen=True)
class Multipliers:
    """``rho`` and ``t`` for which ``Q`` should be positive definite."""

    rho: float
    t: FloatArray


def _factors(forms: Forms) -> tuple[FloatArray, FloatArray]:
    """Columns ``p_i`` and ``q_i`` of which unit ``i`` adds ``t_i p_i q_i'``, made symmetric."""
    n, count = forms.inputs, len(forms.units)
    own = np.zeros((n + count, count))
    own[n:] = np.eye(count)
    lines = forms.units.T
    return own - lines * forms.alpha, own - lines * forms.beta


def _form(forms: Forms, rho: float, t: FloatArray) -> FloatArray:
    """``Q`` in floating point."""
    p, q = _factors(forms)
    half = (p * t) @ q.T
    matrix = (half + half.T) / 2 - forms.outputs.T @ forms.outputs
    matrix[np.arange(forms.inputs), np.arange(forms.inputs)] += rho
    return (matrix + matrix.T) / 2


def proven_square(forms: Forms, found: Multipliers) -> float | None:
    """A number not far above ``rho`` that is proven to bound the constant's square."""
    n, count = forms.inputs, len(forms.units)
    t = np.maximum(found.t, 0.0)
    own = np.zeros((n + count, count))
    own[n:] = np.eye(count)
    sizes = forms.unit_sizes.T
    p = own + sizes * np.abs(forms.alpha)
    q = own + sizes * np.abs(forms.beta)
    half = (p * t) @ q.T
    magnitude = (half + half.T) / 2 + forms.output_sizes.T @ forms.output_sizes
    # The entries of p, q and C are off by `relative` of these, and so are sums of products.
    terms = gamma(count + len(forms.outputs) + 8)
    error = magnitude * (4 * forms.relative + 4 * terms)
    rho = found.rho
    for _ in range(_RAISES):
        if not rho < np.inf:
            return None
        error[np.arange(n), np.arange(n)] += 4 * U * rho
        if is_definite(_form(forms, rho, t), error):
            return rho
        rho += max(1e-9 * rho, rho - found.rho)
    return None


def fast_start(forms: Forms) -> Multipliers | None:
    """ECLipsE-Fast: one multiplier per layer in closed form; None where that overflows."""
    begun = _fast_inverse(forms)
    if begun is None:
        return None
    inverse, t = begun
    gram = forms.outputs @ inverse @ forms.outputs.T
    rho = float(np.linalg.eigvalsh((gram + gram.T) / 2)[-1]) * (1 + 1e-9) + 1e-300
    return Multipliers(rho, t * rho) if np.isfinite(rho) else None


def _fast_inverse(forms: Forms) -> tuple[FloatArray, FloatArray] | None:
    """The inverse of ``Q`` for ``rho = 1`` without the outputs, and the multipliers."""
    n, count = forms.inputs, len(forms.units)
    inverse: NDArray[Any] = np.eye(n)  # on the points so far
    t = np.zeros(count)
    at = 0
    with np.errstate(all="ignore"):
        while at < count:
            own = _next_layer(forms, at)
            line = forms.units[own, : n + at]
            spread = line @ inverse @ line.T
            size = float(np.linalg.eigvalsh((spread + spread.T) / 2)[-1])
            alpha, beta = forms.alpha[own].min(), forms.beta[own].max()
            weight = 2 / max((alpha + beta) ** 2 * size, 1e-300)
            if alpha * beta < 0:
                weight = min(weight, 0.5 / (-alpha * beta * size))
            t[own] = weight
            at = own.stop
            part = Forms(
                n, forms.units[:at, : n + at], forms.alpha[:at], forms.beta[:at],
                np.zeros((1, n + at)), forms.unit_sizes, forms.output_sizes, 0.0, forms.layer[:at],
            )  # fmt: skip
            try:
                inverse = np.linalg.inv(_form(part, 1.0, t[:at]))
            except np.linalg.LinAlgError:
                return None
    return (inverse, t) if np.isfinite(inverse).all() and np.isfinite(t).all() else None


def pair_squares(forms: Forms) -> FloatArray | None:
    """Bounds of the squares of the constants of all differences of two outputs, by `fast_start`.

    The forms are those of all outputs, one per row. None where the start overflows.
    """
    begun = _fast_inverse(forms)
    if begun is None:
        return None
    inverse, t = begun
    m = len(forms.outputs)
    gram = forms.outputs @ inverse @ forms.outputs.T
    out = np.full((m, m), np.inf)
    np.fill_diagonal(out, 0.0)
    for i in range(m):
        for j in range(i):
            rho = max(float(gram[i, i] + gram[j, j] - gram[i, j] - gram[j, i]), 0.0) * (1 + 1e-9)
            pair = replace(
                forms,
                outputs=forms.outputs[[i]] - forms.outputs[[j]],
                output_sizes=forms.output_sizes[[i]] + forms.output_sizes[[j]],
            )
            rho += 1e-300
            proven = proven_square(pair, Multipliers(rho, t * rho))
            if proven is not None:
                out[i, j] = out[j, i] = proven
    return out


def _next_layer(forms: Forms, at: int) -> slice:
    """The next units, of one layer, none of which reads another one of them."""
    end = at + 1
    while end < len(forms.units) and forms.layer[end] == forms.layer[at]:
        if forms.units[end, forms.inputs + at : forms.inputs + end].any():
            break
        end += 1
    return slice(at, end)


def minimise(
    forms: Forms, start: Multipliers, layers: bool, deadline: float | None = None
) -> Multipliers:
    """The barrier method from a start for which ``Q`` is positive definite.

    Parameters
    ----------
    layers : bool
        Whether the units of a layer share one multiplier.
    deadline : float, optional
        Of `time.monotonic`; what was found by then is returned.
    """
    count = len(forms.units)
    groups = np.arange(count)
    if layers:
        groups = np.unique(forms.layer, return_inverse=True)[1]
    size = int(groups.max(initial=-1)) + 1
    spread = np.zeros((count, size))
    spread[np.arange(count), groups] = 1.0
    barrier = _Barrier(forms, spread)
    # All multipliers of a group start from its mean: in `fast_start` they are one number.
    t = np.maximum(spread.T @ start.t / np.maximum(spread.sum(axis=0), 1.0), 1e-12 * start.rho)
    rho = start.rho * 1.5
    point = np.append(t * 1.5, rho)
    weight = (len(barrier.identity) + size) / rho
    best = start
    for _ in range(_STEPS):
        if deadline is not None and time.monotonic() > deadline:
            break
        with np.errstate(all="ignore"):  # what is not finite is no step
            moved = barrier.step(point, weight)
        if moved is None:
            break
        point, decrement = moved
        if point[-1] < best.rho:
            best = Multipliers(float(point[-1]), spread @ point[:-1])
        if decrement < 0.1:
            if (len(barrier.identity) + size) / weight < _GAP * point[-1]:
                break
            weight *= 5
    return best


class _Barrier:
    """``weight rho - log det Q(t, rho) - sum log t`` and Newton's steps."""

    def __init__(self, forms: Forms, spread: FloatArray) -> None:
        self.forms, self.spread = forms, spread
        self.p, self.q = _factors(forms)
        self.fixed = forms.outputs.T @ forms.outputs
        self.identity = np.zeros(len(self.p))
        self.identity[: forms.inputs] = 1.0

    def value(self, point: NDArray[Any], weight: float) -> float:
        """The barrier's value, infinite outside."""
        t, rho = point[:-1], float(point[-1])
        if not (t > 0).all():
            return np.inf
        factor = self._factor(t, rho)
        if factor is None:
            return np.inf
        return weight * rho - 2 * float(np.log(np.diag(factor)).sum()) - float(np.log(t).sum())

    def _factor(self, t: NDArray[Any], rho: float) -> FloatArray | None:
        half = (self.p * (self.spread @ t)) @ self.q.T
        matrix = (half + half.T) / 2 - self.fixed + np.diag(rho * self.identity)
        try:
            return np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return None

    def step(self, point: NDArray[Any], weight: float) -> tuple[NDArray[Any], float] | None:
        """The next point and the Newton decrement; None where nothing moves any more."""
        from scipy.linalg import cho_solve

        t, rho = point[:-1], float(point[-1])
        factor = self._factor(t, rho)
        if factor is None:
            return None
        inverse = cho_solve((factor, True), np.eye(len(factor)))
        up, uq = inverse @ self.p, inverse @ self.q
        pp, pq, qq = self.p.T @ up, self.p.T @ uq, self.q.T @ uq
        spread = self.spread
        n = self.forms.inputs
        corner = inverse[:n, :n]
        gradient = np.append(-(spread.T @ np.diag(pq)) - 1 / t, weight - np.trace(corner))
        hessian = np.zeros((len(point), len(point)))
        hessian[:-1, :-1] = spread.T @ ((pp * qq + pq * pq.T) / 2) @ spread
        hessian[np.arange(len(t)), np.arange(len(t))] += 1 / t**2
        cross = (up[:n] * uq[:n]).sum(axis=0) @ spread
        hessian[:-1, -1] = hessian[-1, :-1] = cross
        hessian[-1, -1] = (corner * corner).sum()
        scale = 1 / np.sqrt(np.diag(hessian))
        try:
            move = -scale * np.linalg.solve(hessian * scale[:, None] * scale, scale * gradient)
        except np.linalg.LinAlgError:
            return None
        decrement = float(-gradient @ move)
        if not np.isfinite(move).all():
            return None
        if not decrement > 1e-12:
            return point, 0.0
        before, length = self.value(point, weight), 1.0
        while length > 1e-10:
            tried = point + length * move
            if self.value(tried, weight) <= before - 0.1 * length * decrement:
                return tried, decrement
            length /= 2
        return None
