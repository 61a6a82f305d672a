"""How many regions a piecewise-linear network can have: the published formulas, in integers.

Every function evaluates one formula with Python integers, so nothing overflows or rounds, and
imports nothing else of the package: the numbers can serve as oracles against the engine.

**What is counted.** ``n0`` is the dimension of the studied domain: the input size, or the
dimension of the slice when an affine slice is studied. ``widths`` are the hidden widths
``n_1 .. n_L``; the output layer is affine and does not count. An *activation region* is a
full-dimensional set of inputs with one activation pattern, a *linear region* a maximal
facet-connected union of them with one affine map. Every upper bound here bounds the activation
regions of every network of its class, hence the linear regions too, on all of R^n0 and on every
convex part of it. (The literature has several notions of region that are not equivalent:
Stargalla, Hertrich and Reichman 2025, arXiv:2505.16716.)

**Where the upper bounds hold.** Serra et al. and Hinz and van de Geer use that a unit which is off
is constant, so they hold for ReLU only: a leaky network with slope -1/2, n0 = 1 and widths [1, 3]
has 8 regions where they say 5. Montufar 2017 uses only that a layer is affine on every region and
that its image has at most ``n_l`` dimensions, so it holds for any unit with two pieces, and, with
the ``pieces`` argument, for any scalar unit with that many pieces. The product of the layers'
Zaslavsky numbers holds even with skip connections and concatenations.

**Lower bounds** are of another kind: "some network of these widths has at least that many
regions". They say nothing about a given network; ``plverify.theory_nets`` builds the witnesses.

**How sure.** :func:`bounds_table` marks as ``proven`` only what has a proof in the cited source or
in the docstring here. :func:`maxout_upper` is quoted from memory and is never proven there.

Cost: a number of big-integer operations linear in the sum of the widths, except for the two
convolution formulas.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import comb, isfinite, prod
from typing import Any, Literal

ACTIVATIONS = ("relu", "leaky", "abs", "clip", "maxout")
"""The activations that :func:`bounds_table` knows; ``leaky`` covers LeakyReLU and PReLU."""

HANIN_ROLNICK_BAND = (Fraction(1, 2), Fraction(6, 5))
"""Band for the mean number of breakpoints per neuron in a statistical smoke test."""

Domain = Literal["unit", "line"]


# ---------------------------------------------------------------------------------- one layer


def zaslavsky(q: int, p: int) -> int:
    """Regions of ``q`` hyperplanes of R^p in general position; at most that for any ``q``.

    ``r(q, p) = sum_{i=0}^{min(p, q)} C(q, i)``. This is the largest number of activation regions
    of one hidden layer of ``q`` two-piece units on ``p`` inputs, reached exactly in general
    position. Inside a box it is reached only if every vertex of the arrangement lies in the box.

    Reference: T. Zaslavsky, "Facing up to arrangements", Memoirs of the AMS 154, 1975.

    >>> zaslavsky(4, 2), zaslavsky(10, 5)
    (11, 638)
    """
    return _cells(_integer("q", q, 0), _integer("p", p, 0))


def zaslavsky_central(q: int, p: int) -> int:
    """Regions of ``q`` hyperplanes of R^p through the origin (a layer without biases).

    ``2 sum_{i=0}^{p-1} C(q-1, i)`` in general position, at most that always; 1 if ``q == 0`` or
    ``p == 0``.

    Reference: T. Zaslavsky, "Facing up to arrangements", Memoirs of the AMS 154, 1975.

    >>> zaslavsky_central(4, 2), zaslavsky_central(3, 3)
    (8, 8)
    """
    q, p = _integer("q", q, 0), _integer("p", p, 0)
    return 1 if q == 0 or p == 0 else 2 * _cells(q - 1, p - 1)


# ------------------------------------------------------------------------- upper bounds, chains


def chen_knots(widths: Iterable[int], pieces: int = 2) -> int:
    """Largest number of knots of a network with a one-dimensional input.

    ``sum_i m_i prod_{j>i} (m_j + 1)``, which telescopes to ``prod_i (m_i + 1) - 1``. Holds for
    every chain of two-piece units: a unit adds at most one knot per piece of its pre-activation.
    (``pieces = k``: at most ``k - 1`` knots per piece, so ``m_i`` becomes ``m_i (k - 1)``.)

    The bound is attained by :func:`plverify.theory_nets.chen_tight_net` if every width before the
    last is at least 3 and the last at least 2, and always for one hidden layer. It is **not**
    attained for all widths: the true maximum is 6 for [2, 2] (bound 8) and 4 for [1, 3] (bound 7).

    Reference: K. K. Chen, "The upper bound on knots in neural networks", 2016, arXiv:1611.09448.

    >>> chen_knots([3, 2]), chen_knots([3, 3, 3]), chen_knots([50] * 6)
    (11, 63, 17596287800)
    """
    return chen_pieces(widths, pieces) - 1


def chen_pieces(widths: Iterable[int], pieces: int = 2) -> int:
    """Largest number of pieces on a one-dimensional input: :func:`chen_knots` plus one.

    >>> chen_pieces([4, 3, 2])
    60
    """
    cuts = _integer("pieces", pieces, 1) - 1
    return prod(m * cuts + 1 for m in _checked_widths(widths))


def product_upper(n0: int, widths: Iterable[int], pieces: int = 2) -> int:
    """Product of the layers' Zaslavsky numbers, ``prod_l r(n_l, n0)``.

    Holds for every network whose layers are affine on each region of the layers before, also with
    skip connections and concatenations: each layer cuts a region of dimension ``n0`` by ``n_l``
    hyperplanes. Asymptotically O(k^(n0 L)) for widths k.

    ``pieces = k`` is for scalar units with ``k`` pieces (a clip has 3): ``C(n_l, j)`` becomes
    ``C(n_l, j) (k-1)^j``. Proof: a unit's cuts are parallel; an arrangement has as many regions
    as it has no-broken-circuit sets; those have a common point and independent normals, so they
    take at most one hyperplane of each unit and at most ``n0`` in all.

    Reference: R. Pascanu, G. Montufar, Y. Bengio, 2013, arXiv:1312.6098; M. Raghu et al., "On the
    expressive power of deep neural networks", ICML 2017, arXiv:1606.05336.

    >>> product_upper(2, [4, 3, 2]), product_upper(3, [4, 4])
    (308, 225)
    """
    n0, pieces = _integer("n0", n0, 1), _integer("pieces", pieces, 1)
    return prod(_cells(n, n0, pieces) for n in _checked_widths(widths))


def montufar_upper(n0: int, widths: Iterable[int], pieces: int = 2) -> int:
    """The bound of Montufar 2017: ``prod_l sum_{j=0}^{d_l} C(n_l, j)``.

    ``d_l = min(n0, n_1, .., n_{l-1})`` bounds the dimension of what layer ``l`` receives. Holds
    for chains of any two-piece units (ReLU, leaky, absolute value); with ``pieces = k`` for any
    scalar units with ``k`` pieces, by the argument in :func:`product_upper`. Not with skips:
    widths [1, 4], n0 = 2 give 10, but four generic lines alone make 11 regions.

    Reference: G. Montufar, "Notes on the number of linear regions of deep neural networks",
    SampTA 2017.

    >>> montufar_upper(2, [4, 3, 2]), montufar_upper(1, [1, 3])
    (308, 8)
    """
    pieces = _integer("pieces", pieces, 1)
    return _chain_product(n0, widths, lambda units, dim: _cells(units, dim, pieces))


def serra_upper(n0: int, widths: Iterable[int]) -> int:
    """The bound of Serra, Tjandraatmadja and Ramalingam; for ReLU chains **only**.

    ``sum over (j_1 .. j_L) in J of prod_l C(n_l, j_l)`` with
    ``J = {0 <= j_l <= min(n0, n_1 - j_1, .., n_{l-1} - j_{l-1}, n_l)}``. It uses that the rank of
    a ReLU layer on a region is at most its number of active units.

    The sum is evaluated from the last layer to the first. With ``N(d)`` the sum over the layers
    from ``l`` on, entered with dimension ``d <= n``, where ``n = n_l``,
    ``N(d) = sum_{j <= min(d, n-d)} C(n, j) N'(d) + sum_{n-d <= i < d} C(n, i) N'(i)``: both sums
    are differences of prefix sums.

    Reference: T. Serra, C. Tjandraatmadja, S. Ramalingam, "Bounding and counting linear regions
    of deep neural networks", ICML 2018, arXiv:1711.02114.

    >>> serra_upper(3, [4, 4]), serra_upper(2, [4, 3, 2])
    (161, 275)
    >>> serra_upper(5, [50] * 6)
    177182044384474170195491259715982196736
    """
    sizes = _checked_widths(widths)
    # dims[l] bounds what enters layer l; more dimensions than first-layer units change nothing.
    dims = list(accumulate(sizes, min, initial=min([_integer("n0", n0, 1), *sizes[:1]])))
    tail = [1] * (dims[-1] + 1)  # N of the layers behind, by the dimension that enters them
    for n, d_in, d_out in zip(sizes[::-1], dims[-2::-1], dims[:0:-1], strict=True):
        row = _binomials(n, d_out)
        below = list(accumulate(row))  # below[m] = sum_{j <= m} C(n, j)
        lost = list(accumulate(map(operator.mul, row, tail), initial=0))
        by_kept = [
            below[min(d, n - d)] * tail[d] + (lost[d] - lost[n - d] if n - d < d else 0)
            for d in range(d_out + 1)
        ]
        tail = by_kept + by_kept[-1:] * (d_in - d_out)
    return tail[-1]


def hinz_upper(n0: int, widths: Iterable[int]) -> int:
    """The bound of Hinz and van de Geer with their sharpest matrices; for ReLU chains **only**.

    A histogram ``v[d]`` of regions by the dimension ``d`` of their image starts as ``v[n0] = 1``;
    a layer of ``n`` units sends it to ``v'[min(d, n - j)] += v[d] C(n, j)`` for
    ``0 <= j <= min(d, n)``; the bound is the sum of the last histogram. It equals
    :func:`serra_upper`; the two are computed in opposite directions and check each other.

    Reference: P. Hinz, S. van de Geer, "A framework for the construction of upper bounds on the
    number of affine linear regions of ReLU feed-forward neural networks", IEEE Transactions on
    Information Theory 2019, arXiv:1806.01918.

    >>> hinz_upper(2, [3, 3]), hinz_upper(1, [1, 3])
    (40, 5)
    """
    sizes = _checked_widths(widths)
    histogram = [0] * min([_integer("n0", n0, 1), *sizes[:1]]) + [1]
    for n in sizes:
        top = min(len(histogram) - 1, n)
        histogram = [*histogram[:top], sum(histogram[top:])]
        at_least = [*list(accumulate(reversed(histogram)))[::-1], 0]  # sum over d >= index
        row = _binomials(n, top)
        below = list(accumulate(row))
        histogram = [
            histogram[i] * below[min(i, n - i)] + row[i] * at_least[min(max(i + 1, n - i), top + 1)]
            for i in range(top + 1)
        ]
    return sum(histogram)


def maxout_upper(n0: int, widths: Iterable[int], k: int) -> int:
    """Regions of a chain of rank-``k`` maxout layers: ``prod_l sum_{j<=d_l} C(n_l, j) (k-1)^j``.

    ``d_l = min(n0, n_1, .., n_{l-1})``. Quoted from memory; brute force over random layers never
    exceeded it and reached it in four of seven cases. Not proven here, so :func:`bounds_table`
    lists beside it the proven bound that counts a unit as ``C(k, 2)`` hyperplanes.

    Reference: G. Montufar, Y. Ren, L. Zhang, "Sharp bounds for the number of regions of maxout
    networks and vertices of Minkowski sums", 2021, arXiv:2104.08135.

    >>> maxout_upper(2, [2], 3), maxout_upper(1, [2, 2], 3), maxout_upper(2, [2], 4)
    (9, 25, 16)
    """
    k = _integer("k", k, 1)
    return _chain_product(n0, widths, lambda units, dim: _cells(units, dim, k))


# ------------------------------------------------------------------- lower bounds on the maximum


def montufar_lower(n0: int, widths: Iterable[int]) -> int:
    """Regions that some ReLU network of these widths has (Montufar et al. 2014).

    ``(prod_{l<L} floor(n_l / n0)^n0) sum_{j=0}^{n0} C(n_L, j)``. Condition: ``n_l >= n0`` before
    the last layer (the source asks it of the last too; the construction does not need it). Not a
    lower bound for a given network. Attained by :func:`plverify.theory_nets.montufar_net`.

    Reference: G. Montufar, R. Pascanu, K. Cho, Y. Bengio, "On the number of linear regions of deep
    neural networks", NeurIPS 2014, arXiv:1402.1869.

    >>> montufar_lower(2, [8, 8]), montufar_lower(2, [16, 16]), montufar_lower(3, [4, 4])
    (592, 8768, 15)
    """
    return _folding_lower(n0, widths, least=1, extra=0)


def serra_lower(n0: int, widths: Iterable[int]) -> int:
    """Activation regions that some ReLU network of these widths has (Serra et al. 2018).

    ``(prod_{l<L} (floor(n_l / n0) + 1)^n0) sum_{j=0}^{n0} C(n_L, j)``. Condition:
    ``n_l >= 3 n0`` before the last layer, whose width is free. Not a lower bound for a given
    network. :func:`plverify.theory_nets.serra_net` has exactly this many activation regions, and
    as many linear regions if ``n_L > n0``.

    Reference: T. Serra, C. Tjandraatmadja, S. Ramalingam, ICML 2018, arXiv:1711.02114.

    >>> serra_lower(2, [6, 4]), serra_lower(2, [8, 8]), serra_lower(1, [3, 2])
    (176, 925, 12)
    """
    return _folding_lower(n0, widths, least=3, extra=1)


# --------------------------------------------------------------------------- explicit functions


def sawtooth_pieces(n: int, domain: Domain = "unit") -> int:
    """Linear pieces of the ``n``-fold mirror map ``m(x) = relu(2 relu(x) - 4 relu(x - 1/2))``.

    ``2^n`` on [0, 1] (``domain="unit"``); ``2^n + 2`` on R (``domain="line"``), where a constant
    tail joins at either end. The network is :func:`plverify.theory_nets.sawtooth_net`.

    Reference: M. Telgarsky, "Representation benefits of deep feedforward networks", 2015,
    arXiv:1509.08101.

    >>> sawtooth_pieces(5), sawtooth_pieces(5, domain="line")
    (32, 34)
    """
    tails = 2 if _checked_domain(domain) == "line" else 0
    return (1 << _integer("n", n, 1)) + tails


def sawtooth_knots(n: int, domain: Domain = "unit") -> int:
    """Knots of the ``n``-fold mirror map: inside (0, 1), or on R with ``domain="line"``.

    >>> [sawtooth_knots(n, domain="line") for n in range(1, 7)]
    [3, 5, 9, 17, 33, 65]
    """
    return sawtooth_pieces(n, domain) - 1


def arora_pieces(width: int, depth: int, domain: Domain = "unit") -> int:
    """Linear pieces of :func:`plverify.theory_nets.arora_net`: ``width^depth`` on [0, 1].

    On R (``domain="line"``) the constant tail ``x < 0`` is one more piece. A second tail appears
    at ``x > 1`` if the width is even and the depth at least 2: the first read-out is negative
    there, and the later layers switch it off. (Derived here; agrees with exact counts.)

    Reference: R. Arora, A. Basu, P. Mianjy, A. Mukherjee, "Understanding deep neural networks
    with rectified linear units", ICLR 2018, arXiv:1611.01491.

    >>> arora_pieces(3, 2), arora_pieces(3, 2, domain="line"), arora_pieces(4, 2, domain="line")
    (9, 10, 18)
    """
    width, depth = _integer("width", width, 1), _integer("depth", depth, 1)
    on_unit: int = width**depth
    if _checked_domain(domain) == "unit":
        return on_unit
    return on_unit + (2 if width % 2 == 0 and depth >= 2 else 1)


# --------------------------------------------------------------------------------- convolutions


def conv_layer_regions(n: int, f: int, stride: int, d0: int, d1: int) -> int:
    """Largest number of activation regions of one 1-D convolution layer with ReLU.

    Input of length ``n`` with ``d0`` channels, ``d1`` filters of length ``f``, no padding. The
    formula, its proof and its source are in :func:`conv_layer_regions_from_fields`; here the
    receptive fields are intervals with increasing ends, so serving the positions in order, each
    from the first free entries of its field, decides feasibility, and the sum is taken over the
    first entry that is still free.

    >>> conv_layer_regions(3, 2, 1, 1, 2), conv_layer_regions(4, 2, 1, 1, 2)
    (15, 55)
    """
    n, f, stride = _integer("n", n, 1), _integer("f", f, 1), _integer("stride", stride, 1)
    d0, d1 = _integer("d0", d0, 1), _integer("d1", d1, 1)
    if f > n:
        raise ValueError(f"f must be at most n = {n}, got {f}")
    choose = _binomials(d1, d1)
    by_first_free = {0: 1}
    for position in range((n - f) // stride + 1):
        start, end = position * stride * d0, (position * stride + f) * d0
        after: dict[int, int] = {}
        for first_free, ways in by_first_free.items():
            first = max(first_free, start)
            for used in range(min(d1, end - first) + 1):
                after[first + used] = after.get(first + used, 0) + ways * choose[used]
        by_first_free = after
    return sum(by_first_free.values())


def conv_layer_regions_from_fields(
    fields: Iterable[Iterable[Hashable]], d1: int, limit: int = 1_000_000
) -> int:
    """Largest number of activation regions of one convolution layer with given receptive fields.

    ``fields[i]`` are the input entries (all channels) that output position ``i`` sees, ``d1`` the
    number of filters. The value is the sum of ``prod_i C(d1, t_i)`` over all ``t`` with
    ``sum_{i in S} t_i <= |union_{i in S} fields[i]|`` for every set ``S`` of positions, that is
    (Hall), for which every position can be given ``t_i`` entries of its field, none twice.

    It bounds every such layer, with shared weights or not: an arrangement has as many regions as
    no-broken-circuit sets, those have independent normals, and independent vectors with given
    supports have a transversal. Generic parameters reach it, even shared ones; the formula was
    quoted from memory and equals brute force in the eight cases of the tests.

    Reference: H. Xiong et al., "On the number of linear regions of convolutional neural
    networks", ICML 2020, arXiv:2006.00978.

    Raises ``ValueError`` beyond ``limit`` vectors ``t``: their number is exponential in the
    number of positions.

    >>> conv_layer_regions_from_fields([{0, 1}, {1, 2}], 2)
    15
    """
    positions = [list(dict.fromkeys(field)) for field in fields]
    d1, left = _integer("d1", d1, 1), _integer("limit", limit, 1)
    choose = _binomials(d1, d1)

    def give(position: int, holder: dict[Hashable, int], tried: set[Hashable]) -> bool:
        """Give `position` one more entry along an augmenting path."""
        for entry in positions[position]:
            if entry not in tried:
                tried.add(entry)
                owner = holder.get(entry)
                if owner is None or give(owner, holder, tried):
                    holder[entry] = position
                    return True
        return False

    total = 0
    open_branches: list[tuple[int, dict[Hashable, int], int]] = [(0, {}, 1)]
    while open_branches:
        position, holder, weight = open_branches.pop()
        if position == len(positions):
            total += weight
            left -= 1
            if left < 0:
                raise ValueError(f"fields have more than limit = {limit} feasible vectors")
            continue
        for used in range(d1 + 1):
            open_branches.append((position + 1, holder, weight * choose[used]))
            holder = dict(holder)
            if used == d1 or not give(position, holder, set()):
                break
    return total


# ------------------------------------------------------------- smooth and random networks


def rolnick_tegmark_shallow(exponents: Iterable[int]) -> int:
    """Neurons that one hidden layer needs for ``prod_i x_i^{r_i}``: ``prod_i (r_i + 1)``.

    For **smooth** activations with nonzero Taylor coefficients and arbitrarily good
    approximation near 0; says nothing about a piecewise-linear network.

    Reference: D. Rolnick, M. Tegmark, "The power of deeper networks for expressing natural
    functions", ICLR 2018, arXiv:1705.05502.

    >>> rolnick_tegmark_shallow([1, 1, 1]), rolnick_tegmark_shallow([2, 3])
    (8, 12)
    """
    return prod(r + 1 for r in _integers("exponents", exponents, 1))


def rolnick_tegmark_deep(exponents: Iterable[int]) -> int:
    """Neurons that suffice in a deep network: ``sum_i (7 ceil(log2 r_i) + 4)``.

    Condition and reference as in :func:`rolnick_tegmark_shallow`.

    >>> rolnick_tegmark_deep([1, 1, 1]), rolnick_tegmark_deep([2, 3])
    (12, 29)
    """
    return sum(7 * (r - 1).bit_length() + 4 for r in _integers("exponents", exponents, 1))


def hanin_rolnick_line_estimate(
    widths: Iterable[int], per_neuron: int | Fraction = Fraction(1)
) -> Fraction:
    """Typical number of breakpoints along a line at random initialisation: ``c * #neurons``.

    An **expectation** over random networks, never a bound for one: with independent weights and
    biases of bounded density, the expected number of breakpoints along a line grows linearly in
    the number of neurons, whatever the depth. The constant ``per_neuron`` depends on the
    distribution; 1 is its order of magnitude (He weights, bias deviation 0.1, on [-1, 1], 96
    neurons: 0.96 at depth 1 down to 0.84 at depth 8). For a statistical smoke test compare the
    mean of many networks with ``HANIN_ROLNICK_BAND``.

    Reference: B. Hanin, D. Rolnick, "Complexity of linear regions in deep networks", ICML 2019,
    arXiv:1901.09021, and "Deep ReLU networks have surprisingly few activation patterns",
    NeurIPS 2019, arXiv:1906.00904.

    >>> hanin_rolnick_line_estimate([32, 32, 32])
    Fraction(96, 1)
    """
    constant = Fraction(per_neuron)
    if constant <= 0:
        raise ValueError(f"per_neuron must be positive, got {per_neuron}")
    return constant * sum(_checked_widths(widths))


# ------------------------------------------------------------------------------------ the table


@dataclass(frozen=True)
class Bound:
    """One formula evaluated for one architecture.

    ``kind`` is ``"upper"`` (no network of the class has more activation regions), ``"max-lower"``
    (some network of these widths has at least as many) or ``"expectation"`` (a mean at random
    initialisation). ``applies`` says whether the condition holds for the architecture asked for;
    ``value`` is None where the formula itself is undefined. ``proven`` is False for a formula
    quoted from memory and for an expectation.
    """

    name: str
    value: int | None
    kind: Literal["upper", "max-lower", "expectation"]
    applies: bool
    proven: bool
    reference: str
    condition: str


def bounds_table(
    n0: int,
    widths: Iterable[int],
    activation: str = "relu",
    *,
    leaky_slopes: Any = None,
    rank: int | None = None,
    chain: bool = True,
) -> list[Bound]:
    """Every region bound for one architecture, each with the condition under which it holds.

    Parameters
    ----------
    n0 : int
        Dimension of the studied domain: the input size, or the dimension of a slice.
    widths : iterable of int
        Hidden widths.
    activation : str
        One of ``ACTIVATIONS``. ``"clip"`` is any scalar unit with three pieces.
    leaky_slopes : number or iterable of numbers, optional
        Slopes for ``z <= 0`` of ``"leaky"`` units. If all are 0 the units are ReLU; any other
        value (or none given) excludes the ReLU-only formulas.
    rank : int, optional
        Number of affine pieces of a ``"maxout"`` unit, or inputs of a pooling window.
    chain : bool
        False for a network with skip connections or concatenations, where only the product holds.

    >>> [(b.name, b.value) for b in bounds_table(2, [3, 3]) if b.kind == "upper"]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('Layer product', 49), ('Montufar 2017', 49), ('Serra et al. 2018', 40),
     ('Hinz-van de Geer 2018', 40)]
    >>> [b.applies for b in bounds_table(2, [3, 3], "leaky") if b.kind == "upper"]
    [True, True, False, False]
    """
    n0, sizes = _integer("n0", n0, 1), _checked_widths(widths)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if leaky_slopes is not None and activation != "leaky":
        raise ValueError(f"leaky_slopes is for activation 'leaky', got {activation!r}")
    if (rank is not None) != (activation == "maxout"):
        raise ValueError(f"rank must be given for 'maxout' and only there, got {rank!r}")
    rectified = activation == "relu" or (leaky_slopes is not None and _all_zero(leaky_slopes))

    if rank is not None:
        pairs = comb(_integer("rank", rank, 1), 2)
        unit = "units that cut like C(k, 2) hyperplanes"

        def cells(units: int, dim: int) -> int:
            return _cells(units * pairs, dim)
    else:
        pieces = 3 if activation == "clip" else 2
        unit = f"{pieces}-piece units"

        def cells(units: int, dim: int) -> int:
            return _cells(units, dim, pieces)

    table: list[Bound] = []

    def upper(
        name: str, value: int, applies: bool, source: str, condition: str, proven: bool = True
    ) -> None:
        table.append(Bound(name, value, "upper", applies, proven, source, condition))

    def max_lower(
        name: str, formula: Callable[[int, Sequence[int]], int], source: str, condition: str
    ) -> None:
        try:
            value = formula(n0, sizes)
        except ValueError:
            value = None  # the widths are too small for the construction
        applies = value is not None and rectified and chain
        table.append(Bound(name, value, "max-lower", applies, True, source, condition))

    source = "Pascanu et al. 2013, arXiv:1312.6098; Raghu et al. 2017, arXiv:1606.05336"
    product = prod(cells(n, n0) for n in sizes)
    upper("Layer product", product, True, source, f"{unit}, skip connections included")
    value = _chain_product(n0, sizes, cells)
    upper("Montufar 2017", value, chain, "Montufar 2017, SampTA", f"chains of {unit}")
    if n0 == 1 and rank is None:
        source, condition = "Chen 2016, arXiv:1611.09448", f"chains of {unit}, n0 = 1"
        upper("Chen 2016 (pieces)", chen_pieces(sizes, pieces), chain, source, condition)
    if rank is not None:
        source = "Montufar, Ren, Zhang 2021, arXiv:2104.08135 (quoted from memory)"
        value = maxout_upper(n0, sizes, rank)
        condition = "chains of rank-k maxout layers"
        upper("Montufar-Ren-Zhang 2021", value, chain, source, condition, proven=False)
    else:
        serra = "Serra, Tjandraatmadja, Ramalingam 2018, arXiv:1711.02114"
        applies = rectified and chain
        upper("Serra et al. 2018", serra_upper(n0, sizes), applies, serra, "ReLU chains")
        source = "Hinz, van de Geer 2018, arXiv:1806.01918"
        upper("Hinz-van de Geer 2018", hinz_upper(n0, sizes), applies, source, "ReLU chains")
        source = "Montufar, Pascanu, Cho, Bengio 2014, arXiv:1402.1869"
        condition = "some ReLU chain on R^n0; n_l >= n0 before the last layer"
        max_lower("Montufar et al. 2014", montufar_lower, source, condition)
        condition = "some ReLU chain on R^n0; n_l >= 3 n0 before the last layer"
        max_lower("Serra et al. 2018 (lower)", serra_lower, serra, condition)
    table.append(
        Bound(
            "Hanin-Rolnick 2019 (mean)",
            int(hanin_rolnick_line_estimate(sizes)) + 1 if n0 == 1 else None,
            "expectation",
            n0 == 1 and rectified and chain,
            False,
            "Hanin, Rolnick 2019, arXiv:1901.09021",
            "ReLU, n0 = 1; order of magnitude of a mean over random networks, not a bound",
        )
    )
    return table


def violated(count: int, table: Iterable[Bound]) -> list[Bound]:
    """The proven upper bounds of ``table`` that apply and are smaller than ``count``.

    A non-empty answer means an error: in the count, or in how the table was asked for. Lower
    bounds, expectations and formulas quoted from memory never appear.

    >>> [b.name for b in violated(44, bounds_table(2, [3, 3]))]
    ['Serra et al. 2018', 'Hinz-van de Geer 2018']
    >>> violated(44, bounds_table(2, [3, 3], "leaky"))
    []
    """
    count = _integer("count", count, 0)
    return [
        bound
        for bound in table
        if bound.kind == "upper"
        and bound.applies
        and bound.proven
        and bound.value is not None
        and bound.value < count
    ]


# -------------------------------------------------------------------------------------- helpers


def _cells(units: int, dim: int, pieces: int = 2) -> int:
    """``sum_{j <= min(dim, units)} C(units, j) (pieces - 1)^j``."""
    total, term = 0, 1
    for j in range(min(dim, units) + 1):
        total += term
        term = term * (units - j) * (pieces - 1) // (j + 1)
    return total


def _binomials(n: int, last: int) -> list[int]:
    """``C(n, 0) .. C(n, last)``."""
    row = [1]
    for j in range(last):
        row.append(row[-1] * (n - j) // (j + 1))
    return row


def _chain_product(n0: int, widths: Iterable[int], cells: Callable[[int, int], int]) -> int:
    """``prod_l cells(n_l, d_l)`` with ``d_l = min(n0, n_1, .., n_{l-1})``."""
    value, dim = 1, _integer("n0", n0, 1)
    for n in _checked_widths(widths):
        value *= cells(n, dim)
        dim = min(dim, n)
    return value


def _folding_lower(n0: int, widths: Iterable[int], least: int, extra: int) -> int:
    """Regions when each layer before the last folds every coordinate ``n_l // n0 + extra`` ways."""
    n0, sizes = _integer("n0", n0, 1), _checked_widths(widths)
    for index, n in enumerate(sizes[:-1]):
        if n < least * n0:
            raise ValueError(
                f"widths[{index}] must be at least {least * n0} for n0 = {n0}, got {n}"
            )
    folds: int = prod(n // n0 + extra for n in sizes[:-1]) ** n0
    return folds * (_cells(sizes[-1], n0) if sizes else 1)


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


def _integers(name: str, values: Any, least: int) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a sequence of integers, got {values!r}")
    return tuple(_integer(f"{name}[{i}]", value, least) for i, value in enumerate(values))


def _checked_widths(widths: Iterable[int]) -> tuple[int, ...]:
    return _integers("widths", widths, 1)


def _checked_domain(domain: str) -> str:
    if domain not in ("unit", "line"):
        raise ValueError(f"domain must be 'unit' ([0, 1]) or 'line' (R), got {domain!r}")
    return domain


def _all_zero(slopes: Any) -> bool:
    values = list(slopes) if isinstance(slopes, Iterable) else [slopes]
    try:
        finite = values != [] and all(isfinite(float(value)) for value in values)
    except (TypeError, ValueError):
        finite = False
    if not finite or isinstance(slopes, str):
        raise ValueError(f"leaky_slopes must be finite numbers, got {slopes!r}")
    return all(value == 0 for value in values)
