"""The order cone: the steps that keep a label on top under one region's affine map.

The cone speaks of the affine map of the region of ``x`` only; what holds for the network after a
step says its `Move`. Linear programs go to HiGHS, nearest points to the solvers of
`plverify.nearest`; either way their ends are proven in rational arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import inf, isqrt, lcm, nextafter
from operator import mul
from typing import Any

import numpy as np

from plverify.domain import Bound, Box, Space
from plverify.errors import InputError
from plverify.exact_array import ExactArray, FloatArray
from plverify.exact_net import common_denominator
from plverify.local import region_rows
from plverify.nearest import Row as Rising
from plverify.nearest import nearest, size_of
from plverify.network import Network, load
from plverify.programs import Optimum, Program, Row, Vector, all_hold, integer_row, maximize, solve
from plverify.rank import rank_of
from plverify.result import Result, enclose, rounded
from plverify.sensitivity import Move, check_domain, check_label, label_of, move, vector

NORMS = ("l1", "l2", "linf")
_PLACES = 128
"""Binary places of dual norms in l2."""


@dataclass(frozen=True)
class ConeMove(Result):
    """A step with an extreme value, and what is proven about that value.

    Attributes
    ----------
    status : str
        "optimal": `lower` and `upper` are the value (of an l2 radius, which may be irrational: no
        double lies strictly between them). "bounded": the value is between them. "unbounded": `ray`
        can be followed for ever, starting at `move` or any other step of the cone. "infeasible":
        there is no such step, proven. "inconsistent": the rows cannot be as tight as asked.
        "unknown": the ends hold, but nothing else is known.
    lower, upper : Fraction or infinite float
        In l2 the squares of distances (`distance` has doubles about the distance itself).
    move : Move or None
        A step that attains one of the ends, exactly in the polyhedron.
    multipliers : tuple of Fraction, or None
        What proves the other end, or that there is no step: a number, at least 0, per row of
        `OrderCone.exact_A`, then per row of `OrderCone.region_rows`, then per side of the domain
        where a method says so. None where the exact simplex method had to decide.
    ray : tuple of Fraction, or None
    distance : pair of float, or None
        Of distances and radii: doubles about the value, proven.
    """

    status: str
    lower: Bound
    upper: Bound
    move: Move | None = None
    multipliers: Vector | None = field(default=None, repr=False)
    ray: Vector | None = None
    distance: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The public fields, JSON-ready, the move's among them."""
        told = None if self.move is None else self.move.to_dict()
        return {**super().to_dict(), "move": told}


@dataclass(frozen=True, eq=False)
class OrderCone:
    """``{v : A v <= b}``: steps ``v`` of ``x`` after which output `label` is at least all others.

    Row ``k`` is ``(grad f_j - grad f_i) . v <= f_i - f_j`` for the label ``i`` and the k-th other
    output ``j``, all of the affine map of the region of ``x``. Made by `order_cone`.

    Attributes
    ----------
    net : Network
    x : tuple of Fraction
    label : int
    others : tuple of int
        The output of each row.
    exact_A : tuple of tuples of Fraction
    exact_b : tuple of Fraction
    domain : Box or None
        Where inputs may lie: steps that are found end there (it does not change `contains`).
    within_region : bool
        Whether steps that are found end in the region, too.
    """

    net: Network
    x: Vector
    label: int
    others: tuple[int, ...]
    exact_A: tuple[Vector, ...] = field(repr=False)
    exact_b: Vector = field(repr=False)
    domain: Box | None
    within_region: bool

    @property
    def A(self) -> FloatArray:
        """(rows, n) float64: `exact_A`, rounded."""
        return np.array([[rounded(a) for a in row] for row in self.exact_A])

    @property
    def b(self) -> FloatArray:
        """(rows,) float64: `exact_b`, rounded."""
        return np.array([rounded(v) for v in self.exact_b])

    def contains(self, v: Any) -> bool:
        """Whether a step is in the closed cone, exactly."""
        return all_hold(self._rows, vector(self.net, v, "v"))

    def move(self, v: Any) -> Move:
        """A step with what is proven about where it ends."""
        return move(self.net, self.x, v, label=self.label, domain=self.domain)

    @property
    def region_rows(self) -> tuple[Row, ...]:
        """Rows ``(entries, b)`` that steps into the region satisfy: ``sum entries[j] v_j <= b``.

        In integers; none unless `within_region`.
        """
        return tuple(({j: -v for j, v in enumerate(a) if v}, -b) for a, b in self._region_rising)

    # ------------------------------------------------------------------- linear programs

    def feasible_move(self) -> ConeMove:
        """Some step of the cone in the domain (and region), or a proof that there is none."""
        zero = [Fraction(0)] * self.net.input_size
        return self._answer(maximize(self._program, zero, self._at_rest))

    def extreme_move(self, direction: Any) -> ConeMove:
        """The step that goes farthest in a direction, in the domain (and region).

        Parameters
        ----------
        direction : (n,) exact numbers
            The value is ``direction . v``.

        Examples
        --------
        >>> net = Network.from_arrays([[[1, 0], [0, 1]]])
        >>> far = order_cone(net, [2, 1], domain=Box(0, 4, 2)).extreme_move([-1, 0])
        >>> far.upper, far.lower, far.move.v, far.move.label_holds
        (Fraction(2, 1), Fraction(2, 1), (Fraction(-2, 1), Fraction(-1, 1)), True)
        >>> order_cone(net, [2, 1]).extreme_move([1, 0]).status
        'unbounded'
        """
        return self._answer(
            maximize(self._program, vector(self.net, direction, "direction"), self._at_rest)
        )

    def chebyshev_center(self, norm: str = "l2") -> ConeMove:
        """The middle of the largest ball in the cone, the domain (and region): its radius.

        The multipliers are of rows ``a . v + ||a||_* r <= b``; those of the domain's finite sides
        come last, coordinate by coordinate, the upper side first.

        Parameters
        ----------
        norm : "l1", "l2" or "linf"
            Of the ball.

        >>> net = Network.from_arrays([[[1, 0], [0, 1]]])
        >>> ball = order_cone(net, [3, 1], domain=Box(0, 4, 2)).chebyshev_center("linf")
        >>> ball.lower, ball.upper, ball.move.point
        (Fraction(1, 1), Fraction(1, 1), (Fraction(3, 1), Fraction(1, 1)))
        """
        _check_norm(norm)
        goal = [Fraction(0)] * self.net.input_size + [Fraction(1)]
        rest = self._at_rest
        start = None if rest is None else (*rest, Fraction(0))
        program, scales = self._balls(norm, True)
        inner = outer = maximize(program, goal, start)
        if norm == "l2":
            program, scales = self._balls(norm, False)
            outer = maximize(program, goal, start)
        found = self._answer(inner)
        if inner.status in ("unbounded", "infeasible"):
            return found
        upper = max(inner.lower, outer.upper)
        y = outer.multipliers
        return ConeMove(
            self._status(inner.lower, upper, found.move),
            inner.lower,
            upper,
            found.move,
            None if y is None else tuple(map(mul, y, scales)),
            None,
            (_double(inner.lower, 0), _double(upper, 1)),
        )

    # ---------------------------------------------------------------------- nearest steps

    def boundary_distance(self, norm: str = "l2") -> ConeMove:
        """The shortest step to the cone's boundary, within the domain (and region).

        Where one region's map is all there is, this is the radius. In l2 without a domain the step
        is ``a y`` for the row ``a`` that is reached and its multiplier, the only one of a row of
        the cone that is not 0, less ``R' z`` for rows of the region.

        Parameters
        ----------
        norm : "l1", "l2" or "linf"

        Raises
        ------
        InputError
            If the label is not on top at ``x``.

        >>> net = Network.from_arrays([[[2, 0], [0, 1], [-1, -1]]], [[0, "1/2", 0]])
        >>> cone = order_cone(net, [1, "1/5"])
        >>> [cone.boundary_distance(norm).upper for norm in ("l1", "l2", "linf")]
        [Fraction(13, 20), Fraction(169, 500), Fraction(13, 30)]
        """
        _check_norm(norm)
        if any(v < 0 for v in self.exact_b):
            raise InputError(f"output {self.label} is not the largest at x: no boundary is around")
        # Without domain and region a row is b / ||a||_* away: the nearest ones come first.
        rows = [self._dense(entries) for entries, _ in self._rows]
        alone = [_row_distance(norm, row, b) for row, (_, b) in zip(rows, self._rows, strict=True)]
        best: ConeMove | None = None
        lower: Bound = inf
        for k in sorted(range(len(rows)), key=alone.__getitem__):
            if best is not None and alone[k] >= best.upper:
                break
            wanted = [(rows[k], self._rows[k][1]), *self._region_rising]
            found = self._nearest(norm, wanted, (Fraction(0),) * self.net.input_size, k)
            lower = min(lower, found.lower)
            if found.status != "infeasible" and (best is None or found.upper < best.upper):
                best = found
        if best is None:
            return ConeMove("infeasible", inf, inf)
        square = norm == "l2"
        ends = (_double(lower, 0, square), _double(best.upper, 1, square))
        status = self._status(lower, best.upper, best.move)
        return ConeMove(status, lower, best.upper, best.move, best.multipliers, None, ends)

    def nearest_move(self, v0: Any = None, norm: str = "l2") -> ConeMove:
        """The step of the cone nearest to ``v0`` (default 0), in the domain (and region).

        In l2 a quadratic program. Where it is "optimal" the KKT conditions hold exactly: the
        multipliers are at least 0, rows with a positive one are tight, and ``v = v0 - A' y`` (less
        ``R' z`` for rows of the region) but for coordinates at an end of the domain. For another
        label than that of ``x`` it is the least step to it under the affine map.

        Parameters
        ----------
        v0 : (n,) exact numbers, optional
        norm : "l1", "l2" or "linf"

        >>> net = Network.from_arrays([[[1, 0], [0, 1]]])
        >>> to_other = order_cone(net, [2, 1], label=1).nearest_move()
        >>> to_other.move.v, to_other.upper, to_other.move.on_top
        ((Fraction(-1, 2), Fraction(1, 2)), Fraction(1, 2), True)
        """
        _check_norm(norm)
        start = (Fraction(0),) * self.net.input_size if v0 is None else vector(self.net, v0, "v0")
        rows = [([-a for a in self._dense(entries)], -b) for entries, b in self._rows]
        return self._nearest(norm, [*rows, *self._region_rising], start)

    # ---------------------------------------------------------------------- closed forms

    def interior_moves(self, c: Any = 0) -> ConeMove | list[ConeMove]:
        """The least step that makes row ``k`` slack by ``c_k``: ``A' (A A')^+ (b - c)``.

        ``c = 0`` is the intersection of all boundaries; larger ``c`` move inside. It is not the
        least step of the cone (that is `nearest_move`).

        Parameters
        ----------
        c : number, (rows,) or (k, rows) exact numbers
            At least 0.

        Returns
        -------
        ConeMove, or a list of them
            "optimal" with ``A v = b - c`` exactly, the value being the square of the step's length;
            "inconsistent" where there is no such step.

        Raises
        ------
        InputError
            On a negative ``c`` or sizes that do not fit.
        """
        table = ExactArray(c, "c")
        count = len(self.exact_b)
        if table.shape == ():
            rows = [[table.fractions().item()] * count]
        elif table.shape[-1:] == (count,) and len(table.shape) <= 2:
            rows = table.fractions().reshape(-1, count).tolist()
        else:
            raise InputError(f"c has shape {table.shape}, expected ({count},)")
        if any(v < 0 for row in rows for v in row):
            raise InputError("c has a negative entry: the step would leave the cone")
        found = [self._inner_move(row) for row in rows]
        return found if len(table.shape) == 2 else found[0]

    def combination(self, moves: Sequence[Move], weights: Any) -> Move:
        """A convex combination of steps; of steps of the cone it is one of the cone.

        Raises
        ------
        InputError
            If the weights are negative or do not add up to 1, exactly.
        """
        shares = ExactArray(weights, "weights").fractions().ravel().tolist()
        if len(shares) != len(moves) or not moves:
            raise InputError(f"{len(shares)} weights do not fit {len(moves)} moves")
        if any(w < 0 for w in shares) or sum(shares) != 1:
            raise InputError("the weights of a convex combination are at least 0 and add up to 1")
        steps = zip(*(m.v for m in moves), strict=True)
        return self.move([sum(map(mul, shares, step), Fraction(0)) for step in steps])

    # ------------------------------------------------------------------------- internals

    @cached_property
    def _scales(self) -> list[int]:
        """What the rows are multiplied by to be in integers."""
        return [
            lcm(b.denominator, *(a.denominator for a in row))
            for row, b in zip(self.exact_A, self.exact_b, strict=True)
        ]

    @cached_property
    def _rows(self) -> list[Row]:
        return [
            integer_row(dict(enumerate(row)), b)
            for row, b in zip(self.exact_A, self.exact_b, strict=True)
        ]

    def _dense(self, entries: dict[int, int]) -> list[int]:
        return [entries.get(j, 0) for j in range(self.net.input_size)]

    @cached_property
    def _region_rising(self) -> list[Rising]:
        """The region as rows ``a . v >= b``; none unless steps are to end in it."""
        if not self.within_region:
            return []
        pattern = self.net.pattern(list(self.x))
        rows, _ = region_rows(self.net, Space(self.net.input_size), pattern)
        nums, den = common_denominator(self.x)
        return [
            ([a * den for a in row[:-1]], -sum(map(mul, row, nums)) - row[-1] * den) for row in rows
        ]

    @cached_property
    def _sides(self) -> tuple[tuple[Bound, ...], tuple[Bound, ...]]:
        """Bounds of the steps."""
        if self.domain is None:
            n = self.net.input_size
            return (-inf,) * n, (inf,) * n
        lo = tuple(a - v for a, v in zip(self.domain.lo, self.x, strict=True))
        return lo, tuple(b - v for b, v in zip(self.domain.hi, self.x, strict=True))

    @cached_property
    def _program(self) -> Program:
        return Program((*self._rows, *self.region_rows), *self._sides)

    @property
    def _at_rest(self) -> Vector | None:
        """The step 0, if it is in the cone."""
        zero = (Fraction(0),) * self.net.input_size
        return zero if min(self.exact_b) >= 0 else None

    def _answer(self, found: Optimum) -> ConeMove:
        n = self.net.input_size
        step = None if found.point is None else self.move(found.point[:n])
        ray = None if found.ray is None else found.ray[:n]
        y = None if found.multipliers is None else self._unscaled(found.multipliers)
        return ConeMove(found.status, found.lower, found.upper, step, y, ray)

    def _unscaled(self, y: Sequence[Fraction]) -> Vector:
        """Multipliers of `exact_A` from those of its rows in integers."""
        own = len(self._scales)
        return (*map(mul, y[:own], self._scales), *y[own:])

    def _status(self, lower: Bound, upper: Bound, move: Move | None) -> str:
        if move is None or isinstance(upper, float):
            return "unknown"
        near = lower == upper or nextafter(_double(lower, 0), inf) >= _double(upper, 1)
        return "optimal" if near else "bounded"

    def _balls(self, norm: str, within: bool) -> tuple[Program, list[int]]:
        """Middles and radii of balls: rows ``a . v + ||a||_* r <= b``, and what they are scaled by.

        Dual norms that are irrational are rounded up, so that balls are within; else down.
        """
        n = self.net.input_size
        rows: list[Row] = []
        scales = []
        factors = self._scales + [1] * len(self._region_rising)
        for (entries, b), factor in zip(self._program.rows, factors, strict=True):
            size = _dual_size(norm, list(entries.values()), within)
            rows.append(integer_row({**dict(_fractions(entries)), n: size}, Fraction(b)))
            scales.append(factor * size.denominator)
        lo, hi = self._sides
        for j, (low, high) in enumerate(zip(lo, hi, strict=True)):
            for end, sign in ((high, 1), (low, -1)):
                if isinstance(end, Fraction):
                    rows.append(
                        integer_row({j: Fraction(sign), n: Fraction(1)}, Fraction(sign) * end)
                    )
                    scales.append(end.denominator)
        return Program(tuple(rows), (*lo, Fraction(0)), (*hi, inf)), scales

    def _nearest(
        self, norm: str, rows: Sequence[Rising], start: Vector, reached: int | None = None
    ) -> ConeMove:
        """The nearest step to ``start`` with all rows, in the domain.

        The rows are those of the cone, or only the one that is to be `reached`, then the region's.
        """
        lo, hi = self._sides
        nums, den = common_denominator(start)
        moved = [([v * den for v in a], b * den - sum(map(mul, a, nums))) for a, b in rows]
        low = [v - s for v, s in zip(lo, start, strict=True)]
        high = [v - s for v, s in zip(hi, start, strict=True)]
        found = nearest(norm, moved, low, high)
        step = None
        if found.point is not None:
            step = self.move([a + b for a, b in zip(start, found.point, strict=True)])
        square = norm == "l2"
        between = (_double(found.lower, 0, square), _double(found.upper, 1, square))
        y = [m * den for m in found.multipliers]
        if reached is not None:
            none = [Fraction(0)] * len(self._rows)
            none[reached] = y[0]
            y[:1] = none
        told = self._unscaled(y)
        return ConeMove(found.status, found.lower, found.upper, step, told, None, between)

    def _inner_move(self, c: Sequence[Fraction]) -> ConeMove:
        rows = [self._dense(entries) for entries, _ in self._rows]
        wanted = [
            b - slack * scale
            for (_, b), slack, scale in zip(self._rows, c, self._scales, strict=True)
        ]
        part = rank_of(rows).rows
        nums, den = common_denominator([wanted[i] for i in part])
        gram = [[sum(map(mul, rows[i], rows[k])) for k in part] for i in part]
        weights = solve(gram, nums)
        assert weights is not None  # independent rows
        step = [
            sum((w * rows[i][j] for w, i in zip(weights, part, strict=True)), Fraction(0)) / den
            for j in range(self.net.input_size)
        ]
        values = (sum(map(mul, row, step), Fraction(0)) for row in rows)
        if any(value != want for value, want in zip(values, wanted, strict=True)):
            return ConeMove("inconsistent", Fraction(0), inf)
        size = size_of("l2", step)
        return ConeMove(
            "optimal", size, size, self.move(step), None, None, enclose(size, root=True)
        )


def order_cone(
    net: Network | Any,
    x: Any,
    label: int | None = None,
    *,
    domain: Box | None = None,
    within_region: bool = False,
) -> OrderCone:
    """The steps that keep a label on top under the affine map of the region of ``x``.

    Parameters
    ----------
    net : Network, or what `load` reads
    x : (n,) exact numbers
    label : int, optional
        Default that of ``x``; of another one the cone holds the steps to it.
    domain : Box, optional
        Bounds of the inputs, for the steps that are searched for.
    within_region : bool
        Whether these are also to end in the region, where the map is the network.

    Raises
    ------
    InputError
        On a network with one output, a label out of range, or ``x`` outside the domain.

    >>> net = Network.from_arrays([[[2, 0], [0, 1], [-1, -1]]], [[0, "1/2", 0]])
    >>> cone = order_cone(net, [1, "1/5"])
    >>> cone.label, cone.A.tolist(), cone.exact_b
    (0, [[-2.0, 1.0], [-3.0, -1.0]], (Fraction(13, 10), Fraction(16, 5)))
    >>> cone.contains([-0.5, 0]), cone.contains([-1, 0])
    (True, False)
    """
    network = net if isinstance(net, Network) else load(net)
    if network.output_size < 2:
        raise InputError(f"the network has {network.output_size} output, an order needs at least 2")
    start = vector(network, x, "x")
    check_domain(network, domain)
    if domain is not None and not domain.contains(list(start)):
        raise InputError("x lies outside the domain")
    rows, den = network.exact_net.affine_map(network.pattern(list(start)).tolist())
    nums, scale = common_denominator(start)
    values = [sum(map(mul, row, nums)) + row[-1] * scale for row in rows]
    own = label_of([Fraction(v) for v in values]) if label is None else check_label(network, label)
    others = tuple(j for j in range(network.output_size) if j != own)
    return OrderCone(
        net=network,
        x=start,
        label=own,
        others=others,
        exact_A=tuple(
            tuple(Fraction(a - b, den) for a, b in zip(rows[j][:-1], rows[own][:-1], strict=True))
            for j in others
        ),
        exact_b=tuple(Fraction(values[own] - values[j], den * scale) for j in others),
        domain=domain,
        within_region=within_region,
    )


def _fractions(entries: dict[int, int]) -> list[tuple[int, Fraction]]:
    return [(j, Fraction(a)) for j, a in entries.items()]


def _dual_size(norm: str, row: Sequence[int], up: bool) -> Fraction:
    """The dual norm of a row; rounded up or down where irrational."""
    if norm == "l1":
        return Fraction(max(map(abs, row), default=0))
    if norm == "linf":
        return Fraction(sum(map(abs, row)))
    root = isqrt(sum(a * a for a in row) << 2 * _PLACES)
    exact = root * root == sum(a * a for a in row) << 2 * _PLACES
    return Fraction(root + (up and not exact), 1 << _PLACES)


def _row_distance(norm: str, row: Sequence[int], b: int) -> Bound:
    """How far ``row . v >= b >= 0`` is from 0; in l2 the square."""
    if not any(row):
        return inf if b else Fraction(0)
    if norm == "l2":
        return Fraction(b * b, sum(a * a for a in row))
    return Fraction(b) / _dual_size(norm, row, True)


def _double(value: Bound, side: int, root: bool = False) -> float:
    """The double next to a value, or its root, below (side 0) or above (1)."""
    if not isinstance(value, Fraction):
        return value
    return enclose(value, root=root)[side]


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r:.30}, expected 'l1', 'l2' or 'linf'")
