"""The input of a closed set that is closest to a point, in one activation region.

On a region ``S`` (`plverify.ball.Aim`) is a polyhedron: HiGHS finds its closest input in floating
point (`nearest_in_region`). What is tight there (units on their kinks, the outputs that tie, inputs
at the end of the domain or as far away as any) describes that input as the solution of a small
linear system, solved again in rationals (`exact_vertex`). What comes out is verified to lie in
``S``, so nothing rests on the choice of what is tight.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.ball import Aim, Point
from plverify.exact_array import FloatArray
from plverify.network import Network
from plverify.nodes import Linear, Units
from plverify.result import rounded

_TIGHT = 1e-8
"""Relative distance below which a constraint is taken to be tight; only a guess."""
_RANK = 1e-9
"""Relative size below which a pivot is taken to be zero; only a guess."""

Row = tuple[Sequence[int], int]
"""Integers ``(a, c)`` of a function ``a . x + c`` that is zero."""


def float_sides(aim: Aim) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The point and the ends of the domain, rounded."""
    return tuple(np.array([v if isinstance(v, float) else rounded(v) for v in side])  # type: ignore[return-value]
                 for side in (aim.x, aim.domain.lo, aim.domain.hi))  # fmt: skip


# ----------------------------------------------------------------------------- in floating point


def nearest_in_region(aim: Aim, pieces: NDArray[Any]) -> FloatArray | None:
    """The closest input of ``S`` in the closed region of a pattern, in floating point.

    None where there is none, or HiGHS does not find it.
    """
    rows, limits = _region_rows(aim.net, pieces)
    J, c = aim.net._float_map(pieces, None)
    best: tuple[float, FloatArray] | None = None
    x = float_sides(aim)[0]
    for case in aim.cases:
        above = [_gap(aim.net.output_size, row.outputs) for row in case]
        table = np.concatenate([rows, [g @ J for g in above]])
        ends = np.concatenate([limits, [-(g @ c) for g in above]])
        point = _program(aim, table, ends)
        if point is not None:
            size = _norm(aim.norm, point - x)
            if best is None or size < best[0]:
                best = size, point
    return None if best is None else best[1]


def _gap(size: int, terms: Sequence[tuple[int, int]]) -> FloatArray:
    """The function that is at least 0 where a constraint of ``S`` holds."""
    out = np.zeros(size)
    for j, v in terms:
        out[j] = -v
    return out


def _norm(norm: str, v: FloatArray) -> float:
    return float(np.abs(v).max() if norm == "linf" else np.abs(v).sum())


def _region_rows(net: Network, pieces: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """``(A, b)`` such that the closed region is ``A x >= b``, in floating point."""
    rows: list[FloatArray] = [np.zeros((0, net.input_size))]
    ends: list[FloatArray] = [np.zeros(0)]
    for (_, node), (A, c), on in zip(
        net.unit_nodes, net._forward_maps(pieces), net.layer_pieces(pieces), strict=False
    ):
        if isinstance(node, Units):
            sign = np.where(on > 0, 1.0, -1.0)
            use = ~node.single
            rows.append((sign[:, None] * A)[use])
            ends.append((-sign * c)[use])
        else:
            slots = node.table
            won = slots[on, np.arange(node.size)]
            for taps in slots:
                use = (taps >= 0) & (taps != won)
                rows.append(A[won[use]] - A[taps[use]])
                ends.append(c[taps[use]] - c[won[use]])
    table, end = np.concatenate(rows), np.concatenate(ends)
    use = np.abs(table).max(axis=1, initial=0.0) > 0.0
    return table[use], end[use]


def _program(aim: Aim, table: FloatArray, ends: FloatArray) -> FloatArray | None:
    """The closest ``x`` of the domain with ``table x >= ends``; None where HiGHS finds none."""
    import highspy

    x, lo, hi = float_sides(aim)
    n, m = len(x), len(table)
    # linf: one variable more, the distance. l1: one more per input, how far it is away.
    extra = 1 if aim.norm == "linf" else n
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n + extra, m + 2 * n
    lp.col_cost_ = np.concatenate([np.zeros(n), np.ones(extra)])
    lp.col_lower_ = np.concatenate([lo, np.zeros(extra)])
    lp.col_upper_ = np.concatenate([hi, np.full(extra, inf)])
    lp.row_lower_ = np.concatenate([ends, x, -x])
    lp.row_upper_ = np.full(m + 2 * n, inf)
    count = np.concatenate([np.full(m, n), np.full(2 * n, 2)])
    each = np.arange(n)
    away = np.full(n, n) if extra == 1 else n + each
    columns = np.concatenate([np.tile(each, m), np.tile(np.stack([each, away], 1).ravel(), 2)])
    pairs = np.ones((2, n, 2))
    pairs[1, :, 0] = -1.0
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    lp.a_matrix_.index_ = columns.astype(np.int32)
    lp.a_matrix_.value_ = np.concatenate([table.ravel(), pairs.ravel()])
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("presolve", "off")
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return np.array(solver.getSolution().col_value[:n])


# ---------------------------------------------------------------------------------- in rationals


def exact_vertex(aim: Aim, point: FloatArray) -> Point | None:
    """The exact input of ``S`` that a point in floating point stands for; None if there is none.

    Parameters
    ----------
    aim : Aim
    point : (n,) array
        As `nearest_in_region` gives it: a local minimum of the distance, up to rounding.
    """
    net, (x, lo, hi) = aim.net, float_sides(aim)
    pieces = net.pattern(np.clip(point, lo, hi))
    rows = [*_ties(aim, point, pieces), *_kinks(net, point, pieces)]
    rows = [row for row in rows if any(row[0])]
    radius = _norm(aim.norm, point - x)
    near = _TIGHT * max(radius, 1e-300)
    at_lo, at_hi = np.abs(point - lo) <= near, np.abs(point - hi) <= near
    system = _System(aim, rows, point)
    for i in range(len(x)):
        gap = point[i] - x[i]
        if at_lo[i] or at_hi[i]:
            end = (aim.domain.lo if at_lo[i] else aim.domain.hi)[i]
            assert isinstance(end, Fraction)
            system.fix(i, end)
        elif aim.norm == "linf" and abs(gap) >= radius - near and radius > 0:
            system.move(i, 1 if gap > 0 else -1)
        elif aim.norm == "l1" and abs(gap) <= near:
            system.fix(i, aim.x[i])
    for found in (system.solve(), tuple(map(Fraction, np.clip(point, lo, hi).tolist()))):
        if found is not None and aim.holds(found):
            return found
    return None


class _System:
    """Rows that are zero; inputs that are free, known, or as far away from the point as any."""

    def __init__(self, aim: Aim, rows: Sequence[Row], point: FloatArray) -> None:
        self.aim, self.rows, self.point = aim, rows, point
        self.fixed: dict[int, Fraction] = {}
        self.moved: dict[int, int] = {}

    def fix(self, i: int, value: Fraction) -> None:
        self.fixed[i] = value

    def move(self, i: int, sign: int) -> None:
        self.moved[i] = sign

    def solve(self) -> Point | None:
        """The solution that keeps most free inputs where the point is; None if there is none."""
        x, n = self.aim.x, len(self.aim.x)
        free = [i for i in range(n) if i not in self.fixed and i not in self.moved]
        # Columns: the free inputs, then the distance.
        columns = [[row[i] for row, _ in self.rows] for i in free]
        constant = [
            c
            + sum((row[i] * v for i, v in self.fixed.items()), Fraction(0))
            + sum((row[i] * x[i] for i in self.moved), Fraction(0))
            for row, c in self.rows
        ]
        if self.moved:
            columns.append([sum(row[i] * s for i, s in self.moved.items()) for row, _ in self.rows])
        used, kept = _pivots(columns, len(self.rows), bool(self.moved))
        if self.moved and len(columns) - 1 not in used:
            return None
        values = {i: Fraction(float(self.point[i])) for i in free}
        for k, i in enumerate(free):
            if k not in used:
                constant = [b + a * values[i] for a, b in zip(columns[k], constant, strict=True)]
        answer = _solve([[columns[k][r] for k in used] for r in kept], [-constant[r] for r in kept])
        if answer is None:
            return None
        distance = Fraction(0)
        for k, value in zip(used, answer, strict=True):
            if k < len(free):
                values[free[k]] = value
            else:
                distance = value
        values |= self.fixed
        values |= {i: x[i] + s * distance for i, s in self.moved.items()}
        return tuple(values[i] for i in range(n))


def _pivots(
    columns: Sequence[Sequence[int]], count: int, last: bool
) -> tuple[list[int], list[int]]:
    """Columns and rows of a square system, by Gauss elimination in floating point.

    Where ``last``, the last column is the first choice.
    """
    if not columns or not count:
        return [], []
    table = np.array([[rounded(Fraction(v)) for v in col] for col in columns]).T
    size = np.abs(table).max(axis=1, initial=0.0)
    table = table / np.where(size > 0, size, 1.0)[:, None]
    used: list[int] = []
    kept: list[int] = []
    for step in range(min(table.shape)):
        part = np.abs(table)
        if last and step == 0:
            part = part * (np.arange(table.shape[1]) == table.shape[1] - 1)
        r, k = np.unravel_index(int(part.argmax()), part.shape)
        if not part[r, k] > _RANK:
            break
        used.append(int(k))
        kept.append(int(r))
        table = table - np.outer(table[:, k] / table[r, k], table[r])
        table[r], table[:, k] = 0.0, 0.0
    return used, kept


def _solve(table: Sequence[Sequence[int]], right: Sequence[Fraction]) -> list[Fraction] | None:
    """The solution of a square system; None if it is singular."""
    import flint

    size = len(table)
    if not size:
        return []
    matrix = flint.fmpq_mat(size, size, [flint.fmpq(v) for row in table for v in row])
    vector = flint.fmpq_mat(size, 1, [flint.fmpq(v.numerator, v.denominator) for v in right])
    try:
        found = matrix.solve(vector)
    except ZeroDivisionError:
        return None
    return [Fraction(int(v.p), int(v.q)) for v in found.entries()]


def _ties(aim: Aim, point: FloatArray, pieces: NDArray[Any]) -> list[Row]:
    """The differences of outputs that vanish at a point."""
    *_, (_, y) = aim.net.node_values(point[None])
    gaps = {j: abs(y[0][j] - y[0][aim.label]) for j in aim.others}
    if not aim.targeted:
        top = max(aim.others, key=lambda j: y[0][j])
        gaps = {top: gaps[top]}
    size = float(np.abs(y).max())
    layer = len(aim.net.unit_nodes)
    bits = pieces.tolist()
    tied = [j for j, gap in gaps.items() if not aim.targeted or gap <= _TIGHT * size]
    rows = (aim.net.exact_net.unit_row(layer, j, bits, minus=aim.label)[0] for j in tied)
    return [(row[:-1], row[-1]) for row in rows]


def _kinks(net: Network, point: FloatArray, pieces: NDArray[Any]) -> list[Row]:
    """The rows of units that are on their kink at a point, and of entries of a window that tie."""
    tensors = {0: point[None]} | dict(net.node_values(point[None]))
    sizes = {0: np.abs(point[None])}
    out: list[Row] = []
    bits, split, layer = pieces.tolist(), net.layer_pieces(pieces), 0
    for k, node in enumerate(net.nodes):
        values, size = (
            np.concatenate([t[s] for s in node.sources], axis=1) for t in (tensors, sizes)
        )
        if isinstance(node, Linear):
            sizes[k + 1] = node.apply(np.abs(values), absolute=True)
            continue
        small = _TIGHT * size[0]
        pairs: list[tuple[int, int | None]] = []
        if isinstance(node, Units):
            near = (np.abs(values[0]) <= small) & ~node.single
            pairs = [(i, None) for i in np.flatnonzero(near).tolist()]
        else:
            won = node.table[split[layer], np.arange(node.size)]
            for taps in node.table:
                use = np.flatnonzero((taps >= 0) & (taps != won))
                gap = np.abs(values[0][won[use]] - values[0][taps[use]])
                tie = use[gap <= small[won[use]]]
                pairs += zip(won[tie].tolist(), taps[tie].tolist(), strict=True)
        for i, minus in pairs:
            row, _ = net.exact_net.unit_row(layer, i, bits, minus=minus)
            out.append((row[:-1], row[-1]))
        sizes[k + 1] = tensors[k + 1]
        layer += 1
    return out
