"""Exact counters of pieces and regions, independent of the package, for `test_theory`.

They cut a line or a square layer by layer, in Fractions. A network is ``(weights, biases)``.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise, product


def _affine(weights, bias, forms):
    """The affine forms ``weights . forms + bias``; a form is (slopes ..., constant)."""
    rows = []
    for row, shift in zip(weights, bias, strict=True):
        total = [sum(w * form[k] for w, form in zip(row, forms, strict=True))
                 for k in range(len(forms[0]))]  # fmt: skip
        total[-1] += shift
        rows.append(tuple(total))
    return rows


def pieces_on_a_line(net, slope=0, low=None, high=None):
    """Cut the line (or an interval) layer by layer; cells are (low, high, pattern, output form).

    Works on Fractions (exactly) and on floats. ``None`` is an infinite end. A unit that is zero
    on a whole cell has bit 0.
    """
    weights, biases = net
    cells = [(low, high, (), [(1, 0)])]
    for matrix, vector in zip(weights[:-1], biases[:-1], strict=True):
        after = []
        for left, right, pattern, forms in cells:
            before = _affine(matrix, vector, forms)
            cuts = {-c / a if isinstance(a, float) else Fraction(-c) / a for a, c in before if a}
            cuts = sorted(
                cut for cut in cuts
                if (left is None or left < cut) and (right is None or cut < right)
            )  # fmt: skip
            for start, end in pairwise([left, *cuts, right]):
                if start is None or end is None:
                    inside = 0 if start is end else start + 1 if end is None else end - 1
                else:
                    inside = (start + end) / (2 if isinstance(start, float) else Fraction(2))
                bits = tuple(int(a * inside + c > 0) for a, c in before)
                values = [
                    form if bit else tuple(slope * x for x in form)
                    for bit, form in zip(bits, before, strict=True)
                ]
                after.append((start, end, pattern + bits, values))
        cells = after
    return [
        (left, right, pattern, _affine(weights[-1], biases[-1], forms)[0])
        for left, right, pattern, forms in cells
    ]


def knots(net, **options):
    cells = pieces_on_a_line(net, **options)
    return sum(a[3] != b[3] for a, b in pairwise(cells))


def patterns(net, **options):
    cells = pieces_on_a_line(net, **options)
    count = 1 + sum(a[2] != b[2] for a, b in pairwise(cells))
    assert count == len({cell[2] for cell in cells})  # a pattern's cells are one interval
    return count


def _halves(polygon, form):
    """The convex polygon's parts where the form is <= 0 and where it is > 0."""
    parts = ([], [])
    values = [form[0] * x + form[1] * y + form[2] for x, y in polygon]
    for i, (here, value) in enumerate(zip(polygon, values, strict=True)):
        after, value_after = polygon[(i + 1) % len(polygon)], values[(i + 1) % len(polygon)]
        for part, sign in zip(parts, (-1, 1), strict=True):
            if value * sign >= 0:
                part.append(here)
            if value * value_after < 0:
                t = value / (value - value_after)
                part.append(tuple(a + t * (b - a) for a, b in zip(here, after, strict=True)))
    return parts


def regions_on_a_square(net, low, high):
    """Activation and linear regions of a network with two inputs on [low, high]^2, exactly."""
    weights, biases = net
    low, high = Fraction(low), Fraction(high)
    square = [(low, low), (high, low), (high, high), (low, high)]
    cells = [(square, (), [(Fraction(1), 0, 0), (0, Fraction(1), 0)])]
    for matrix, vector in zip(weights[:-1], biases[:-1], strict=True):
        after = []
        for polygon, pattern, forms in cells:
            before = _affine(matrix, vector, forms)
            parts = [(polygon, ())]
            for form in before:
                cut = []
                for part, bits in parts:
                    values = [form[0] * x + form[1] * y + form[2] for x, y in part]
                    if min(values) < 0 < max(values):
                        off, on = _halves(part, form)
                        cut += [(off, (*bits, 0)), (on, (*bits, 1))]
                    else:
                        cut.append((part, (*bits, int(max(values) > 0))))
                parts = cut
            for part, bits in parts:
                values = [
                    form if bit else (0, 0, 0) for bit, form in zip(bits, before, strict=True)
                ]
                after.append((part, pattern + bits, values))
        cells = after
    assert len({pattern for _, pattern, _ in cells}) == len(cells)
    maps: dict = {}
    for polygon, _, forms in cells:
        maps.setdefault(_affine(weights[-1], biases[-1], forms)[0], []).append(polygon)
    return len(cells), sum(map(_components, maps.values()))


def _components(polygons):
    """Number of groups of polygons connected through edges."""
    group = list(range(len(polygons)))
    for i, j in combinations(range(len(polygons)), 2):
        if group[i] != group[j] and _share_an_edge(polygons[i], polygons[j]):
            old, new = group[i], group[j]
            group = [new if g == old else g for g in group]
    return len(set(group))


def _share_an_edge(one, other):
    for (a, b), (c, d) in product(
        zip(one, one[1:] + one[:1], strict=True), zip(other, other[1:] + other[:1], strict=True)
    ):
        run = (b[0] - a[0], b[1] - a[1])
        if any(run[0] * (p[1] - a[1]) != run[1] * (p[0] - a[0]) for p in (c, d)):
            continue
        along = [run[0] * (p[0] - a[0]) + run[1] * (p[1] - a[1]) for p in (a, b, c, d)]
        if max(min(along[:2]), min(along[2:])) < min(max(along[:2]), max(along[2:])):
            return True
    return False
