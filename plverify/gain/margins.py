"""Certified radii from Lipschitz constants: ``|f_i - f_j|`` over the constant of ``f_i - f_j``.

A point at which output ``i`` leads output ``j`` by ``m`` is at least ``m / L`` away from where
``j`` catches up, if ``L`` bounds the constant of ``f_i - f_j``. The constants are computed once per
network, the radii of many points cost an evaluation each: the fast path for large networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.certificate import evaluate
from plverify.domain import Box, Domain
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.filters import linear_bound
from plverify.gain.constant import lipschitz
from plverify.gain.forms import fits, network_forms
from plverify.gain.jacobian import check_norm, output_rows
from plverify.gain.product import PathProduct
from plverify.gain.rounding import U
from plverify.network import Network, load
from plverify.nodes import Linear, Units
from plverify.result import enclose

_BATCH = 256
_MOST_POINTS = 1_200
"""Inputs and units for which matrices of that size are inverted without being asked for."""
_EXACT_PRODUCTS = 50_000_000
"""Of one evaluation, beyond which exact integers take too long."""


def pair_constants(
    net: Network | Any,
    norm: str = "l2",
    domain: Domain | None = None,
    method: str = "product",
    *,
    timeout: float | None = None,
) -> FloatArray:
    """Proven upper bounds of the constants of all differences of two outputs.

    Parameters
    ----------
    net : Network, or what `load` reads
    norm : "l1", "l2" or "linf"
        Of the input's perturbation.
    domain : Domain, optional
        Convex; default all of R^n. The constants hold between two points of it.
    method : str
        As in `plverify.lipschitz`; "product" and, for l2, "eclipse" take about as long for all
        pairs as for one. "fast" is the smaller one of these two, of networks so large that the
        second takes minutes the first.
    timeout : float, optional
        Seconds per pair.

    Returns
    -------
    (m, m) array
        Entry ``(i, j)``: ``|(f_i - f_j)(x) - (f_i - f_j)(x')| <= it * |x - x'|``.

    >>> pair_constants(Network.from_arrays([[[3, 0], [0, -4]]]), "linf").round(9).tolist()
    [[0.0, 7.0], [7.0, 0.0]]
    """
    check_norm(norm)
    network = load(net)
    if method in ("product", "fast"):
        found = PathProduct(network, norm).pairs_above()
        if method == "product" or norm != "l2" or not fits(network, _MOST_POINTS):
            return found
        return np.minimum(found, _by_programs(network, domain))
    if method == "eclipse" and norm == "l2":
        return np.minimum(_by_programs(network, domain), PathProduct(network, norm).pairs_above())
    m = network.output_size
    out = np.zeros((m, m))
    for i in range(m):
        for j in range(i):
            row = [int(k == i) - int(k == j) for k in range(m)]
            above = lipschitz(network, domain, norm, method, row, timeout=timeout).upper
            out[i, j] = out[j, i] = above
    return out


def _by_programs(net: Network, domain: Domain | None) -> FloatArray:
    """ECLipsE-Fast for all pairs."""
    from plverify.gain.lipsdp import pair_squares

    forms = network_forms(net, output_rows(net, None), domain if isinstance(domain, Box) else None)
    squares = pair_squares(forms)
    if squares is None:
        return np.full((net.output_size, net.output_size), np.inf)
    return np.nextafter(np.sqrt(squares), np.inf)


def margin_radii(
    net: Network | Any,
    points: Any,
    labels: Sequence[int] | Any,
    norm: str = "l2",
    constants: FloatArray | None = None,
    domain: Domain | None = None,
) -> FloatArray:
    """Proven lower bounds of the distances from points to where another output is at least theirs.

    Parameters
    ----------
    net : Network, or what `load` reads
    points : (k, n) exact numbers
    labels : (k,) ints
    norm : "l1", "l2" or "linf"
    constants : (m, m) array, optional
        As `pair_constants` gives them for this norm and domain; default its "product".
    domain : Domain, optional
        That of the constants. Balls that leave a box are cut at the distance to its sides.

    Returns
    -------
    (k,) array
        ``min over j of (f_label - f_j) / constants[label, j]``, rounded down; 0 where the label is
        not the strict maximum or the point not in the domain; ``inf`` where nothing else can catch
        up.

    Raises
    ------
    InputError
        On shapes or labels that do not fit, or a domain that is no box.

    >>> net = Network.from_arrays([[[1, 0], [0, 1]]])
    >>> margin_radii(net, [[3, 1], [0, 1]], [0, 0], "linf").round(9).tolist()
    [1.0, 0.0]
    """
    check_norm(norm)
    network = load(net)
    table = ExactArray(points, "points")
    n, m = network.input_size, network.output_size
    if len(table.shape) < 2 or math.prod(table.shape[1:]) != n:
        raise InputError(f"points have shape {table.shape}, expected (k, {n})")
    table = table.reshape(table.shape[0], n)
    chosen = np.asarray(labels)
    if chosen.shape != (table.shape[0],) or chosen.dtype.kind not in "iu":
        raise InputError(f"labels have shape {chosen.shape}, expected ({table.shape[0]},) integers")
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < m):
        raise InputError(f"a label is out of range for {m} outputs")
    if domain is not None and not isinstance(domain, Box):
        raise InputError(f"the domain is {domain.describe()}, expected a Box")
    if constants is None:
        constants = pair_constants(network, norm)
    if constants.shape != (m, m):
        raise InputError(f"constants have shape {constants.shape}, expected ({m}, {m})")
    out = np.empty(len(chosen))
    for at in range(0, len(chosen), _BATCH):
        part = slice(at, at + _BATCH)
        out[part] = _radii(network, table.data[part], chosen[part], constants)
    if domain is not None:
        for k, x in enumerate(table.fractions()):
            out[k] = min(out[k], _room(domain, x.tolist()))
    return out


def _radii(net: Network, points: Any, labels: Any, constants: FloatArray) -> FloatArray:
    values, errors = _outputs(net, points)
    each = np.arange(len(labels))
    margins = values[each, labels][:, None] - values
    loss = errors[each, labels][:, None] + errors
    size = np.abs(values[each, labels])[:, None] + np.abs(values)
    lower = margins - loss * (1 + 8 * U) - 4 * U * size
    upper = margins + loss * (1 + 8 * U) + 4 * U * size
    lower[each, labels] = upper[each, labels] = np.inf
    small = net.products <= _EXACT_PRODUCTS
    out = np.zeros(len(labels))
    for k, label in enumerate(labels.tolist()):
        least = lower[k]
        if not (least > 0).all() and small and not (upper[k] < 0).any():
            least = _exact_margins(net, points[k], label)
        if not (least > 0).all():
            continue
        reach = np.full(len(least), np.inf)
        moves = constants[label] > 0
        # A quotient rounded to nearest, rounded down once more.
        with np.errstate(over="ignore"):
            reach[moves] = np.nextafter(least[moves] / constants[label][moves], 0.0)
        reach[label] = np.inf
        out[k] = reach.min()
    return out


def predictions(net: Network, points: Any) -> NDArray[np.int64]:
    """The labels of points: of the largest outputs the first, in exact arithmetic where needed.

    Parameters
    ----------
    net : Network
    points : (k, n) exact numbers
    """
    table = ExactArray(points, "points")
    out = np.empty(table.shape[0], np.int64)
    for at in range(0, len(out), _BATCH):
        values, errors = _outputs(net, table.data[at : at + _BATCH])
        best = values.argmax(axis=1)
        each = np.arange(len(best))
        slack = errors + 4 * U * (np.abs(values) + errors)  # of these sums themselves
        rest = values + slack
        rest[each, best] = -np.inf
        sure = (values - slack)[each, best] > rest.max(axis=1)
        for k in np.flatnonzero(~sure):
            exact = evaluate(net, [Fraction(v) for v in table.data[at + k].tolist()])
            best[k] = exact.index(max(exact))
        out[at : at + len(best)] = best
    return out


def _exact_margins(net: Network, point: Any, label: int) -> FloatArray:
    exact = evaluate(net, [Fraction(v) for v in point.tolist()])
    gaps = [max(exact[label] - value, Fraction(0)) for value in exact]
    out = np.array([enclose(gap)[0] for gap in gaps])
    out[label] = np.inf
    return out


def _outputs(net: Network, points: Any) -> tuple[FloatArray, FloatArray]:
    """Outputs in float64 and bounds of their errors."""
    rounded_points = ExactArray(points, "points").floats()
    error = np.zeros_like(rounded_points)
    if points.dtype == object:
        error = np.abs(rounded_points) * 2 * U + 1e-300
    tensors = {0: (rounded_points, error)}
    with np.errstate(all="ignore"):
        for k, node in enumerate(net.nodes):
            value, error = (
                np.concatenate([tensors[s][i] for s in node.sources], axis=1) for i in (0, 1)
            )
            if isinstance(node, Linear):
                value, error, _ = linear_bound(node, value, error, np.zeros_like(value))
            elif isinstance(node, Units):
                value = np.where(value > 0, value, node.slope * value)
                error = error * np.maximum(1.0, np.abs(node.slope)) * (1 + 4 * U)
                error = error + 4 * U * np.abs(value) + 1e-300
            else:
                # A maximum is off by no more than the worst of its inputs.
                error = node.windows(error, 0.0).max(axis=1)
                value = node.windows(value, -np.inf).max(axis=1)
            tensors[k + 1] = value, error
    return value, np.where(np.isfinite(error) & np.isfinite(value), error, np.inf)


def _room(box: Box, x: Sequence[Fraction]) -> float:
    """The distance from a point to the sides of a box, in every norm; 0 outside."""
    gaps = [v - a for a, v in zip(box.lo, x, strict=True) if isinstance(a, Fraction)]
    gaps += [b - v for b, v in zip(box.hi, x, strict=True) if isinstance(b, Fraction)]
    least = min(gaps, default=None)
    if least is None:
        return math.inf
    return enclose(least)[0] if least > 0 else 0.0
