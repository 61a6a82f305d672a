"""ReLU networks with a known number of regions, in exact numbers.

Each function returns ``(weights, biases)`` with one matrix (a list of rows) and one bias vector
per layer, ``y = W x + b``, hidden layers first and the scalar output layer last; ReLU acts after
every hidden layer. Entries are integers, or Fractions whose denominator is a power of two, so the
networks survive the conversion to floating point unchanged (float64 for all but huge widths).
The counts they attain are the formulas of :mod:`plverify.theory`; this module imports nothing of
the package, so either side can check the other.

**How they fold.** All constructions follow one plan. Before the last layer, the units are shared
out over the ``n0`` coordinates; the ``p`` units of a coordinate and the affine map behind them
(the *read-out*) form a zig-zag ``g`` of one variable, each piece of which covers [0, 1]. So every
layer multiplies the copies of the unit cube. The last hidden layer then cuts every copy by
hyperplanes in general position whose vertices all lie inside the open cube. Units left over when
``n0`` does not divide a width are off everywhere (weights 0, bias -1).

* Montufar et al. 2014: units ``relu(p x - k)``, ``k = 0 .. p-1``, read-out ``1, -2, 2, -2, ..``:
  ``p`` pieces on [0, 1]. Outside the unit cube nothing is promised.
* Serra et al. 2018, Chen 2016: units ``relu(3 - y), relu(y), relu(y - 1), relu(y - 5), ..`` with
  read-out ``-1, -2, 3/2, 1, -1, 1, ..`` and constant 4: ``p + 1`` pieces, because the one unit
  that looks left gives the leftmost piece a slope. The next layer reads ``y = 2 p g - 1``.

**The hyperplanes.** With ``u`` the point relative to the cube's centre and distinct ``t_k`` in
(0, 1], hyperplane ``k`` is ``u_0 + u_1 t_k + .. + u_{n-1} t_k^{n-1} = e t_k^n``, that is, ``t_k``
is a root of the polynomial ``Q(t) = sum_i u_i t^i - e t^n``. A polynomial of degree ``n`` has at
most ``n`` roots, hence general position; the vertices are ``e`` times elementary symmetric
functions of the ``t_k``, hence small for small ``e``. Unit ``k`` looks to alternating sides, the
last to the side ``Q < 0``: all units are off together only if ``Q`` alternates at all ``t_k`` and
ends positive, which takes more than ``n`` roots (the leading coefficient is negative). So for
more than ``n`` hyperplanes no cell has all units off. The output adds the units with the sign of
their side: its derivative in each coordinate of ``g`` is then positive wherever some unit is on,
so every fold is visible in the output and no two neighbouring regions merge.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from fractions import Fraction
from math import comb
from typing import Any, NamedTuple

__all__ = ["arora_net", "chen_tight_net", "montufar_net", "sawtooth_net", "serra_net"]

Number = int | Fraction
Matrix = list[list[Number]]
Net = tuple[list[Matrix], list[list[Number]]]


class _Zigzag(NamedTuple):
    """Units ``relu(slope y + offset)`` of one coordinate and the affine map that reads them."""

    units: list[tuple[int, int]]
    readout: list[Number]
    constant: int
    scale: int  # the layer reads y = scale g + shift, g the previous layer's read-out
    shift: int


class _Builder:
    """A growing network and the affine maps that read ``g`` from its last layer."""

    def __init__(self, size: int) -> None:
        self.weights: list[Matrix] = []
        self.biases: list[list[Number]] = []
        self.reading: Matrix = [[int(i == j) for j in range(size)] for i in range(size)]
        self.constants: list[Number] = [0] * size

    def add(self, rows: Matrix, biases: list[Number]) -> None:
        """Append the affine map ``rows g + biases``, folded with the reading of ``g``."""
        columns = list(zip(*self.reading, strict=True))
        self.weights.append(
            [[_plain(sum(map(operator.mul, row, column))) for column in columns] for row in rows]
        )
        self.biases.append(
            [
                _plain(sum(map(operator.mul, row, self.constants)) + bias)
                for row, bias in zip(rows, biases, strict=True)
            ]
        )

    def fold(self, width: int, zigzag: _Zigzag, first: bool) -> None:
        """Append a layer that applies ``zigzag`` to every coordinate."""
        scale, shift = (1, 0) if first else (zigzag.scale, zigzag.shift)
        count = len(self.reading)
        rows: Matrix = []
        biases: list[Number] = []
        reading: Matrix = [[0] * width for _ in range(count)]
        for i in range(count):
            for (slope, offset), coefficient in zip(zigzag.units, zigzag.readout, strict=True):
                reading[i][len(rows)] = coefficient
                rows.append([slope * scale * (i == j) for j in range(count)])
                biases.append(slope * shift + offset)
        for _ in range(len(rows), width):
            rows.append([0] * count)
            biases.append(-1)
        self.add(rows, biases)
        self.reading, self.constants = reading, [zigzag.constant] * count

    def finish(self, rows: Matrix, biases: list[Number], output: list[Number]) -> Net:
        """Append the last hidden layer and the output layer."""
        self.add(rows, biases)
        return [*self.weights, [output]], [*self.biases, [0]]


def chen_tight_net(widths: Iterable[int]) -> Net:
    """A network with one input whose output has ``chen_knots(widths)`` knots, the most possible.

    All knots lie inside ``(-1, 2 widths[0] - 1)`` (in (0, 1) for a single hidden layer). The last
    layer is ``relu(2^-r - g), relu(g - 2^-r k)`` for ``k = 2 .. m`` with ``2^r > m`` and output
    weights ``1, -3, 5, -7, ..``. Its first unit is negated: otherwise all of them are off at the
    valleys ``g = 0`` and those knots do not show in the output.

    Condition: every width before the last at least 3, the last at least 2; a single layer may
    have any width. For other widths Chen's bound is not attained by the output.

    Reference: K. K. Chen, "The upper bound on knots in neural networks", 2016, arXiv:1611.09448
    (the bound); widths of 3 before the last as computed for plverify, wider ones derived here.

    >>> weights, biases = chen_tight_net([3, 2])
    >>> weights[0], biases[0]
    ([[-1], [1], [1]], [3, 0, -1])
    >>> weights[1], biases[1]
    ([[1, 2, Fraction(-3, 2)], [-1, -2, Fraction(3, 2)]], [Fraction(-15, 4), Fraction(7, 2)])
    """
    sizes = _checked_widths(widths, 3)
    if len(sizes) > 1 and sizes[-1] < 2:
        raise ValueError(f"widths[{len(sizes) - 1}] must be at least 2, got {sizes[-1]}")
    net = _Builder(1)
    for index, n in enumerate(sizes[:-1]):
        net.fold(n, _alternating(n), first=index == 0)
    m = sizes[-1]
    cuts = [Fraction(k, _power_above(m)) for k in range(1, m + 1)]
    rows: Matrix = [[1 if i else -1] for i in range(m)]
    biases: list[Number] = [cuts[0], *(-cut for cut in cuts[1:])]
    return net.finish(rows, biases, [(-1) ** i * (2 * i + 1) for i in range(m)])


def montufar_net(n0: int, widths: Iterable[int]) -> Net:
    """A network with exactly ``montufar_lower(n0, widths)`` activation regions on [0, 1]^n0.

    They are as many linear regions if ``widths[-1] > n0``. On R^n0 there are at least as many.
    Condition: every width before the last at least ``n0``.

    Reference: G. Montufar, R. Pascanu, K. Cho, Y. Bengio, NeurIPS 2014, arXiv:1402.1869; the
    hyperplanes of the last layer are chosen here.

    >>> weights, biases = montufar_net(1, [2, 3])
    >>> weights[0], biases[0]
    ([[2], [2]], [0, -1])
    """
    n0 = _integer("n0", n0, 1)
    sizes = _checked_widths(widths, n0)
    net = _Builder(n0)
    for n in sizes[:-1]:
        net.fold(n, _rising(n // n0), first=False)
    return net.finish(*_generic_cuts(n0, sizes[-1]))


def serra_net(n0: int, widths: Iterable[int]) -> Net:
    """A network with exactly ``serra_lower(n0, widths)`` activation regions on R^n0.

    They are as many linear regions if ``widths[-1] > n0``, and the same counts hold on the box
    ``[-1, 2 p - 1]^n0`` with ``p = widths[0] // n0`` (on [0, 1]^n0 for a single hidden layer).
    Condition: every width before the last at least ``3 n0``.

    Reference: T. Serra, C. Tjandraatmadja, S. Ramalingam, ICML 2018, arXiv:1711.02114; the
    zig-zag and the hyperplanes of the last layer are chosen here.

    >>> weights, biases = serra_net(2, [6, 3])
    >>> [len(matrix) for matrix in weights], weights[0][:3], biases[0][:3]
    ([6, 3, 1], [[-1, 0], [1, 0], [1, 0]], [3, 0, -1])
    """
    n0 = _integer("n0", n0, 1)
    sizes = _checked_widths(widths, 3 * n0)
    net = _Builder(n0)
    for index, n in enumerate(sizes[:-1]):
        net.fold(n, _alternating(n // n0), first=index == 0)
    return net.finish(*_generic_cuts(n0, sizes[-1]))


def sawtooth_net(n: int) -> Net:
    """The ``n``-fold composition of ``m(x) = relu(2 relu(x) - 4 relu(x - 1/2))``.

    Hidden widths ``[2, 1] * n``. It has ``2^n`` linear pieces on [0, 1] and ``2^n + 2`` on R,
    where it vanishes outside (0, 1); see :func:`plverify.theory.sawtooth_pieces`.

    Reference: M. Telgarsky, 2015, arXiv:1509.08101.

    >>> sawtooth_net(1)
    ([[[1], [1]], [[2, -4]], [[1]]], [[0, Fraction(-1, 2)], [0], [0]])
    """
    weights: list[Matrix] = []
    biases: list[list[Number]] = []
    for _ in range(_integer("n", n, 1)):
        weights += [[[1], [1]], [[2, -4]]]
        biases += [[0, Fraction(-1, 2)], [0]]
    return [*weights, [[1]]], [*biases, [0]]


def arora_net(w: int, k: int) -> Net:
    """A network of ``k`` hidden layers of width ``w`` with ``w^k`` linear pieces on [0, 1].

    Units ``relu(w g - j)``, ``j = 0 .. w-1``, read-out ``1, -2, 2, -2, ..``; on R one or two
    tails are added, see :func:`plverify.theory.arora_pieces`.

    Reference: R. Arora, A. Basu, P. Mianjy, A. Mukherjee, ICLR 2018, arXiv:1611.01491.

    >>> arora_net(2, 1)
    ([[[2], [2]], [[1, -2]]], [[0, -1], [0]])
    """
    w, k = _integer("w", w, 1), _integer("k", k, 1)
    net = _Builder(1)
    for _ in range(k):
        net.fold(w, _rising(w), first=False)
    net.add([[1]], [0])
    return net.weights, net.biases


def _rising(p: int) -> _Zigzag:
    """``p`` pieces on [0, 1], starting upwards from ``g(0) = 0``."""
    readout: list[Number] = [1, *(2 if k % 2 == 0 else -2 for k in range(1, p))]
    return _Zigzag([(1, -k) for k in range(p)], readout, 0, p, 0)


def _alternating(p: int) -> _Zigzag:
    """``p + 1`` pieces on [-1, 2 p - 1], each onto [0, 1], with knots 0, 1, 3, 5, .. 2 p - 3.

    Slopes 1, -1, 1/2, -1/2, 1/2, ..: the unit that looks left, at 3, is both the slope 1 of the
    leftmost piece and the change from 1/2 to -1/2, which ties those slopes together.
    """
    units = [(-1, 3), (1, 0), (1, -1), *((1, 3 - 2 * k) for k in range(4, p + 1))]
    readout: list[Number] = [-1, -2, Fraction(3, 2), *((-1) ** k for k in range(4, p + 1))]
    return _Zigzag(units, readout, 4, 2 * p, -1)


def _generic_cuts(n0: int, m: int) -> tuple[Matrix, list[Number], list[Number]]:
    """Rows and biases of ``m`` generic units over ``g``, and the output weights (see the top)."""
    moment = [Fraction(k, _power_above(m)) for k in range(1, m + 1)]
    small = Fraction(1, _power_above(2 * max(comb(n0, j) for j in range(1, n0 + 1))))
    rows: Matrix = []
    biases: list[Number] = []
    sides: list[Number] = [(-1) ** (m - k) for k in range(m)]  # the last is -1
    for t, side in zip(moment, sides, strict=True):
        normal = [t**i for i in range(n0)]
        rows.append([side * entry for entry in normal])
        biases.append(side * (-sum(normal, Fraction(0)) / 2 - small * t**n0))
    return rows, biases, sides


def _power_above(value: int) -> int:
    """The least power of two greater than ``value``."""
    return 1 << value.bit_length()


def _plain(value: Number) -> Number:
    """An integer where the value is one."""
    return int(value) if value.denominator == 1 else value


def _integer(name: str, value: Any, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _checked_widths(widths: Any, least: int) -> tuple[int, ...]:
    """At least one width, those before the last at least ``least``, the last at least 1."""
    if isinstance(widths, str) or not isinstance(widths, Iterable):
        raise ValueError(f"widths must be a sequence of integers, got {widths!r}")
    values = list(widths)
    if not values:
        raise ValueError("widths must name at least one hidden layer")
    last = len(values) - 1
    return tuple(
        _integer(f"widths[{i}]", value, 1 if i == last else least) for i, value in enumerate(values)
    )
