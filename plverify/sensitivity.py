"""How outputs react to steps of the input: gradient images, moves, the order cone.

All of it is about one affine map, that of the region of ``x``; a step may leave the region. So
every step that is returned (`Move`) says, decided exactly, whether it ends in the same region and
whether the label holds there, and knows how far it may go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.certificate import evaluate
from plverify.domain import Bound, Box, Slice, Space
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.network import Network, load
from plverify.nodes import Max
from plverify.partition import knots
from plverify.programs import Vector
from plverify.rank import null_space
from plverify.result import Result, rounded


def gradient_images(
    net: Network | Any, x: Any, layer: int | None = None, *, exact: bool = False
) -> NDArray[Any]:
    """The Jacobian on the region of ``x``, one image of the input's shape per output.

    Parameters
    ----------
    net : Network, or what `load` reads
        Of dense layers, convolutions, pooling, or anything else.
    x : exact numbers
        Of the network's input shape, or flat. On a kink the region is that of `Network.pattern`.
    layer : int, optional
        Pre-activations of this layer instead of the outputs; of a pooling the entries that it
        reads.
    exact : bool
        Fractions instead of float64.

    Returns
    -------
    (outputs, *input shape) array
        float64, with the error that `Network.affine_map` states.

    Raises
    ------
    InputError
        On a layer that is not there, or sizes that do not fit.

    >>> net = Network.from_arrays([[[1.0, 2.0], [0.0, 1.0]], [[1.0, -1.0]]])
    >>> gradient_images(net, [1, -3]), gradient_images(net, [1, 3], layer=0)[0]
    (array([[0., 0.]]), array([1., 2.]))
    """
    network = net if isinstance(net, Network) else load(net)
    found = network.affine_map(x, exact=exact, layer=layer)
    shape = network.input_shape[1:]
    if prod(shape) != network.input_size or not shape:
        shape = network.input_shape
    if prod(shape) != network.input_size:
        shape = (network.input_size,)
    return found.J.reshape(len(found.J), *shape)


# -------------------------------------------------------------------------------------- moves


@dataclass(frozen=True)
class Move(Result):
    """A step of the input, and what is proven about where it ends.

    Attributes
    ----------
    x, v : tuple of Fraction
        The input and the step; the move ends at ``x + v``.
    label : int
        The label that is to hold: the one of ``x``, unless another was asked for.
    label_holds : bool
        Whether it is the label of ``x + v`` (the largest output, the first of several), exactly.
    on_top : bool
        Whether its output is at least all others there.
    same_region : bool
        Whether ``x + v`` lies in the closed activation region of ``x``, exactly.
    region_step : Fraction or inf
        The largest ``t`` with ``x + t v`` in that region.
    in_domain : bool
        Whether ``x + v`` lies in the domain asked for.
    """

    x: Vector
    v: Vector
    label: int
    label_holds: bool
    on_top: bool
    same_region: bool
    region_step: Bound
    in_domain: bool
    _net: Network = field(repr=False, compare=False)
    _domain: Box | None = field(repr=False, compare=False)

    @property
    def point(self) -> Vector:
        """``x + v``."""
        return tuple(a + b for a, b in zip(self.x, self.v, strict=True))

    @property
    def step(self) -> FloatArray:
        """(n,) float64: ``v``, rounded."""
        return np.array([rounded(a) for a in self.v])

    @property
    def label_step(self) -> Bound:
        """The least ``t >= 0`` at which, or just after which, the label changes; inf if never.

        Along ``x + t v`` from the label of ``x``, in the domain, exactly.

        >>> tent = Network.from_arrays([[[1], [1]], [[1, -2], [0, 0]]], [[0, -1], [0, "1/2"]])
        >>> walk = move(tent, [1], [1])
        >>> walk.label_step, walk.next_label, walk.region_step
        (Fraction(1, 2), 1, inf)
        """
        return self._change[0]

    @property
    def next_label(self) -> int | None:
        """The label from `label_step` on, at first; None if it never changes."""
        return self._change[1]

    @cached_property
    def _change(self) -> tuple[Bound, int | None]:
        return _first_change(self._net, self.x, self.v, _exit(self._domain, self.x, self.v))


def move(
    net: Network | Any,
    x: Any,
    v: Any,
    *,
    label: int | None = None,
    domain: Box | None = None,
) -> Move:
    """A step of the input, with everything that is proven about it.

    Parameters
    ----------
    net : Network, or what `load` reads
    x, v : (n,) exact numbers
    label : int, optional
        The label that is to hold; default that of ``x``.
    domain : Box, optional
        Where inputs may lie; default anywhere.

    Raises
    ------
    InputError
        On sizes that do not fit, or a label out of range.

    >>> net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 0], [0, 1]]])
    >>> step = move(net, [2, 1], [1, -3])
    >>> step.label_holds, step.same_region, step.region_step, step.label_step
    (True, False, Fraction(1, 3), inf)
    """
    network = net if isinstance(net, Network) else load(net)
    start, step = vector(network, x, "x"), vector(network, v, "v")
    check_domain(network, domain)
    end = tuple(a + b for a, b in zip(start, step, strict=True))
    outputs = evaluate(network, end)
    own = label_of(evaluate(network, start)) if label is None else check_label(network, label)
    reach = _region_step(network, start, step)
    return Move(
        x=start,
        v=step,
        label=own,
        label_holds=label_of(outputs) == own,
        on_top=outputs[own] == max(outputs),
        same_region=reach >= 1,
        region_step=reach,
        in_domain=domain is None or domain.contains(list(end)),
        _net=network,
        _domain=domain,
    )


def null_space_move(
    net: Network | Any, x: Any, x0: Any, layer: int | None = None, *, domain: Box | None = None
) -> Move:
    """The step nearest to ``x0`` that leaves the outputs of the region of ``x`` as they are.

    ``x0 - G' (G G')^+ G x0`` for the Jacobian ``G``, exactly: the projection onto its null space.
    Along the step the outputs do not change up to `Move.region_step`.

    Parameters
    ----------
    net : Network, or what `load` reads
    x, x0 : (n,) exact numbers
    layer : int, optional
        Pre-activations of this layer instead of the outputs.
    domain : Box, optional

    Raises
    ------
    InputError
        As `null_space` and `move`.

    >>> net = Network.from_arrays([[[1, 2, 0], [0, 1, 1]]])
    >>> null_space_move(net, [0, 0, 0], [1, 1, 1]).v
    (Fraction(2, 3), Fraction(-1, 3), Fraction(1, 3))
    """
    network = net if isinstance(net, Network) else load(net)
    step = null_space(network, x, layer).project(vector(network, x0, "x0"))
    return move(network, x, step, domain=domain)


def vector(net: Network, values: Any, name: str) -> Vector:
    """Exact numbers of the network's input size, whatever shape they have."""
    array = values if isinstance(values, ExactArray) else ExactArray(values, name)
    if prod(array.shape) != net.input_size:
        raise InputError(f"{name} has shape {array.shape}, expected ({net.input_size},)")
    return tuple(array.fractions().ravel().tolist())


def check_label(net: Network, label: Any) -> int:
    """The label, if it is one."""
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
        raise InputError(f"label is {label!r:.30}, expected the number of an output")
    if not 0 <= label < net.output_size:
        raise InputError(f"label is {label}, the network has {net.output_size} outputs")
    return int(label)


def check_domain(net: Network, domain: Any) -> None:
    """Raise unless the domain is None or a box of the network's inputs."""
    if domain is not None and not isinstance(domain, Box):
        raise InputError(f"domain is a {type(domain).__name__}, expected a Box")
    if domain is not None and domain.dim != net.input_size:
        raise InputError(f"the domain has {domain.dim} inputs, expected {net.input_size}")


def label_of(outputs: Sequence[Fraction]) -> int:
    """The largest output, the first of several."""
    return max(range(len(outputs)), key=outputs.__getitem__)


def _region_step(net: Network, x: Vector, v: Vector) -> Bound:
    """The largest ``t`` with ``x + t v`` in the closed region of ``x``."""
    if not any(v):
        return inf
    pattern = net.pattern(list(x))
    exact, split = net.exact_net, net.layer_pieces(pattern)
    line = Slice(list(x), [[a] for a in v], Space(1)).slice_map()
    best: Bound = inf
    maps = exact.affine_maps(pattern.tolist(), line)
    for layer, (_, node) in enumerate(exact.unit_nodes):
        rows, _ = next(maps)
        pieces = split[layer].tolist()
        pairs: list[tuple[int, int]] = []
        if isinstance(net.unit_nodes[layer][1], Max):
            for piece, window in zip(pieces, node.windows, strict=True):  # type: ignore[union-attr]
                rate, value = rows[dict(window)[piece]]
                pairs += [(rate - rows[at][0], value - rows[at][1]) for _, at in window]
        else:
            for (rate, value), piece, slope in zip(rows, pieces, node.slopes, strict=True):  # type: ignore[union-attr]
                if slope != (1, 0):
                    pairs.append((rate, value) if piece else (-rate, -value))
        for rate, value in pairs:
            if rate < 0:
                best = min(best, Fraction(value, -rate))
    return best


def _exit(domain: Box | None, x: Vector, v: Vector) -> Bound:
    """The largest ``t`` with ``x + t v`` in the domain; -1 if there is none from ``t = 0`` on."""
    best: Bound = inf
    if domain is None:
        return best
    for a, rate, low, high in zip(x, v, domain.lo, domain.hi, strict=True):
        if not low <= a <= high:
            return Fraction(-1)
        end = high if rate > 0 else low
        if rate and isinstance(end, Fraction):
            best = min(best, (end - a) / rate)
    return best


def _first_change(net: Network, x: Vector, v: Vector, last: Bound) -> tuple[Bound, int | None]:
    """Where the label first changes along ``x + t v``, ``0 <= t <= last``, and to what.

    Between two breakpoints of the network on the ray the outputs are affine in ``t``.
    """
    if not any(v) or last <= 0:
        return inf, None
    ray = Slice(list(x), [[a] for a in v], Box([0], [last]))
    found = knots(net, ray)
    if not found.complete:
        raise KeyboardInterrupt
    inner = [t for t in found.exact if 0 < t < last]
    stops = [Fraction(0), *inner]
    stops.append(last if isinstance(last, Fraction) else stops[-1] + 1)

    def at(t: Fraction) -> list[Fraction]:
        return evaluate(net, [a + t * b for a, b in zip(x, v, strict=True)])

    values = at(stops[0])
    own = label_of(values)
    for k in range(len(stops) - 1):
        begin, end = stops[k], stops[k + 1]
        following = at(end)
        open_ended = k == len(stops) - 2 and not isinstance(last, Fraction)
        step = _change_between(values, following, own, open_ended)
        if step is not None:
            t = begin + (end - begin) * step
            rates = [q - p for p, q in zip(values, following, strict=True)]
            now = [p + step * r for p, r in zip(values, rates, strict=True)]
            # At the change itself, or just after it.
            after = label_of(now)
            if after == own:
                tied = [j for j, y in enumerate(now) if y == max(now)]
                after = max(tied, key=lambda j: (rates[j], -j))
            return t, after
        values = following
    return inf, None


def _change_between(
    values: Sequence[Fraction], following: Sequence[Fraction], own: int, open_ended: bool
) -> Fraction | None:
    """The least ``s`` in [0, 1] (any ``s >= 0`` if open ended) where the label stops to hold.

    An output before it takes over where it is equal, one after it where it is larger.
    """
    best: Fraction | None = None
    for j, (p, q) in enumerate(zip(values, following, strict=True)):
        gap, then = values[own] - p, following[own] - q
        if j == own or then >= gap:
            continue
        if not open_ended and (then > 0 or (then == 0 and j > own)):
            continue
        step = gap / (gap - then)
        if best is None or step < best:
            best = step
    return best
