"""The published formulas against numbers computed without them.

Three oracles: the table of brute-force values in the design notes; sums written out term by term
(Serra over its index set J, a convolution layer over all position sets); and the two exact cell
counters of `theory_counters`, in Fractions, which know nothing of the package and confirm the
constructions.
"""

from __future__ import annotations

import ast
import doctest
import json
import random
import sys
from fractions import Fraction
from itertools import chain, combinations, pairwise, product
from math import comb, prod
from pathlib import Path

import pytest
from theory_counters import knots, patterns, pieces_on_a_line, regions_on_a_square

from plverify import cli, theory, theory_nets
from plverify.cli import bounds as bounds_command


def random_net(rng, sizes, span=5):
    """A network with small random integers and a scalar output."""
    shapes = list(pairwise([*sizes, 1]))
    weights = [[[rng.randint(-span, span) for _ in range(n)] for _ in range(m)] for n, m in shapes]
    return weights, [[rng.randint(-span, span) for _ in range(m)] for _, m in shapes]


ARCHITECTURES = [
    (n0, list(widths))
    for n0 in (1, 2, 3)
    for depth in (1, 2, 3)
    for widths in product((1, 2, 3, 5), repeat=depth)
]

# ---------------------------------------------------------------------------------- Zaslavsky, Chen


@pytest.mark.parametrize(
    ("q", "p", "regions"),
    [
        (3, 1, 4), (3, 2, 7), (3, 3, 8), (4, 2, 11), (4, 3, 15), (5, 2, 16), (5, 3, 26), (6, 2, 22),
        (6, 3, 42), (10, 2, 56), (10, 3, 176), (10, 5, 638),
    ],
)  # fmt: skip
def test_zaslavsky_table(q, p, regions):
    assert theory.zaslavsky(q, p) == regions


def test_zaslavsky_satisfies_deletion_and_restriction():
    for q, p in product(range(1, 12), range(1, 8)):
        smaller = theory.zaslavsky(q - 1, p) + theory.zaslavsky(q - 1, p - 1)
        assert theory.zaslavsky(q, p) == smaller
    assert theory.zaslavsky(0, 3) == theory.zaslavsky(3, 0) == 1


def test_zaslavsky_central_is_twice_an_affine_slice():
    """A central arrangement meets a parallel of one of its hyperplanes in q - 1 generic ones."""
    for q, p in product(range(1, 10), range(1, 7)):
        assert theory.zaslavsky_central(q, p) == 2 * theory.zaslavsky(q - 1, p - 1)
    assert theory.zaslavsky_central(5, 2) == 10
    assert theory.zaslavsky_central(3, 3) == 8
    assert theory.zaslavsky_central(0, 3) == theory.zaslavsky_central(3, 0) == 1


@pytest.mark.parametrize(
    ("widths", "value"),
    [([3], 3), ([3, 2], 11), ([2, 3], 11), ([3, 3], 15), ([4, 3, 2], 59), ([50] * 6, 17596287800)],
)
def test_chen_values(widths, value):
    assert theory.chen_knots(widths) == value
    assert theory.chen_pieces(widths) == value + 1


def test_chen_sum_telescopes():
    for widths in product(range(1, 6), repeat=3):
        terms = (m * prod(n + 1 for n in widths[i + 1 :]) for i, m in enumerate(widths))
        assert theory.chen_knots(widths) == sum(terms)


# ---------------------------------------------------------------------------- bounds of deep chains

LARGE = 177182044384474170195491259715982196736


@pytest.mark.parametrize(
    ("n0", "widths", "values"),
    [
        (1, [3, 3], (16, 16, 16, 12, 16)),
        (2, [3, 3], (49, 49, 40, 7, None)),
        (2, [4, 4], (121, 121, 121, 44, None)),
        (2, [4, 3, 2], (308, 308, 275, 16, None)),
        (3, [4, 4], (225, 225, 161, 15, None)),
        (2, [8, 8], (1369, 1369, 1369, 592, 925)),
        (2, [16, 16], (18769, 18769, 18769, 8768, 11097)),
        (5, [50] * 6, (LARGE, LARGE, LARGE, 2369936 * 10**25, 256775596646500652680927017733936)),
    ],
)
def test_table_of_bounds(n0, widths, values):
    layer_product, montufar, serra, montufar_low, serra_low = values
    assert theory.product_upper(n0, widths) == layer_product
    assert theory.montufar_upper(n0, widths) == montufar
    assert theory.serra_upper(n0, widths) == serra
    assert theory.hinz_upper(n0, widths) == serra
    assert theory.montufar_lower(n0, widths) == montufar_low
    if serra_low is None:
        with pytest.raises(ValueError, match=r"widths\[0\] must be at least"):
            theory.serra_lower(n0, widths)
    else:
        assert theory.serra_lower(n0, widths) == serra_low


@pytest.mark.parametrize(
    ("n0", "widths", "low"),
    [
        (1, [2, 3], 8), (1, [3, 3, 2], 27), (2, [4, 3], 28), (2, [4, 4, 3], 112), (2, [6, 4], 99),
        (3, [6, 4], 120), (3, [3, 4], 15),
    ],
)  # fmt: skip
def test_montufar_lower_values(n0, widths, low):
    assert theory.montufar_lower(n0, widths) == low


@pytest.mark.parametrize(
    ("n0", "widths", "low"),
    [(1, [3, 2], 12), (2, [6, 1], 32), (2, [6, 2], 64), (2, [6, 3], 112), (2, [6, 4], 176)],
)
def test_serra_lower_values(n0, widths, low):
    assert theory.serra_lower(n0, widths) == low


def serra_term_by_term(n0, widths):
    """The sum over J as the paper writes it."""
    total = 0
    for js in product(*(range(min(n0, n) + 1) for n in widths)):
        free = n0
        for j, n in zip(js, widths, strict=True):
            if j > free:
                break
            free = min(free, n - j)
        else:
            total += prod(map(comb, widths, js))
    return total


def test_serra_equals_its_sum_and_hinz_and_the_bounds_are_ordered():
    for n0, widths in ARCHITECTURES:
        serra = theory.serra_upper(n0, widths)
        assert serra == serra_term_by_term(n0, widths)
        assert serra == theory.hinz_upper(n0, widths)
        assert serra <= theory.montufar_upper(n0, widths) <= theory.product_upper(n0, widths)


def test_serra_equals_hinz_on_larger_architectures():
    rng = random.Random(1)
    for _ in range(200):
        n0, widths = rng.randint(1, 40), [rng.randint(1, 40) for _ in range(rng.randint(1, 6))]
        serra = theory.serra_upper(n0, widths)
        assert serra == theory.hinz_upper(n0, widths)
        assert serra <= theory.montufar_upper(n0, widths) <= theory.product_upper(n0, widths)
    assert theory.serra_upper(10**9, [4, 3]) == theory.serra_upper(4, [4, 3])
    assert theory.hinz_upper(10**9, [4, 3]) == theory.serra_upper(4, [4, 3])


def test_lower_bounds_do_not_exceed_upper_bounds():
    for n0, widths in chain(ARCHITECTURES, [(2, [6, 4, 9]), (3, [9, 12, 4]), (1, [7, 3, 3])]):
        lows = [b.value for b in theory.bounds_table(n0, widths) if b.kind == "max-lower"]
        assert all(low is None or low <= theory.serra_upper(n0, widths) for low in lows)


def test_one_dimensional_bounds_are_chens():
    for widths in product(range(1, 6), repeat=3):
        assert theory.montufar_upper(1, widths) == theory.chen_pieces(widths)
    for widths in product(range(2, 6), repeat=3):
        assert theory.serra_upper(1, widths) == theory.chen_pieces(widths)


def test_no_hidden_layer_is_one_region():
    for formula in (theory.product_upper, theory.montufar_upper, theory.serra_upper,
                    theory.hinz_upper, theory.montufar_lower, theory.serra_lower):  # fmt: skip
        assert formula(3, []) == 1
    assert theory.chen_knots([]) == 0


# ---------------------------------------------------------------------- maxout, convolution, others


@pytest.mark.parametrize(
    ("n0", "widths", "k", "value"),
    [
        (1, [2], 3, 5), (2, [2], 3, 9), (2, [3], 2, 7), (3, [2], 3, 9), (1, [3], 3, 7),
        (2, [3], 3, 19), (2, [2], 4, 16), (1, [2, 2], 3, 25), (2, [2, 2], 3, 81),
    ],
)  # fmt: skip
def test_maxout_values(n0, widths, k, value):
    assert theory.maxout_upper(n0, widths, k) == value


def test_maxout_of_rank_two_is_the_two_piece_bound():
    for n0, widths in ARCHITECTURES:
        assert theory.maxout_upper(n0, widths, 2) == theory.montufar_upper(n0, widths)
        assert theory.maxout_upper(n0, widths, 1) == 1


CONVOLUTIONS = [
    ((3, 2, 1, 1, 1), 4), ((3, 2, 1, 1, 2), 15), ((3, 2, 1, 1, 3), 40), ((3, 1, 1, 1, 2), 27),
    ((3, 3, 1, 1, 4), 15), ((4, 2, 2, 1, 2), 16), ((4, 2, 1, 1, 2), 55), ((2, 1, 1, 2, 3), 49),
]  # fmt: skip


def fields_of(n, f, stride, d0):
    return [
        {(x, channel) for x in range(start, start + f) for channel in range(d0)}
        for start in range(0, n - f + 1, stride)
    ]


def conv_term_by_term(fields, d1):
    """The sum with its condition over all sets of positions, as the formula is stated."""
    subsets = list(chain.from_iterable(
        combinations(range(len(fields)), size) for size in range(1, len(fields) + 1)
    ))  # fmt: skip
    limits = [(s, len(set().union(*(fields[i] for i in s)))) for s in subsets]
    return sum(
        prod(comb(d1, t) for t in ts)
        for ts in product(range(d1 + 1), repeat=len(fields))
        if all(sum(ts[i] for i in s) <= limit for s, limit in limits)
    )


@pytest.mark.parametrize(("shape", "value"), CONVOLUTIONS)
def test_convolution_values(shape, value):
    assert theory.conv_layer_regions(*shape) == value
    assert theory.conv_layer_regions_from_fields(fields_of(*shape[:4]), shape[4]) == value


def test_convolution_forms_agree_with_the_stated_sum():
    for n, f, stride, d0, d1 in product(range(1, 6), range(1, 4), (1, 2), (1, 2), (1, 3)):
        if f <= n:
            fields = fields_of(n, f, stride, d0)
            stated = conv_term_by_term(fields, d1)
            assert theory.conv_layer_regions(n, f, stride, d0, d1) == stated
            assert theory.conv_layer_regions_from_fields(fields, d1) == stated


def test_convolution_on_irregular_fields_agrees_with_the_stated_sum():
    rng = random.Random(2)
    for _ in range(60):
        fields = [set(rng.sample(range(5), rng.randint(0, 4))) for _ in range(rng.randint(1, 4))]
        d1 = rng.randint(1, 3)
        assert theory.conv_layer_regions_from_fields(fields, d1) == conv_term_by_term(fields, d1)


def test_dense_field_is_zaslavsky():
    for n, d1 in product(range(1, 6), range(1, 6)):
        assert theory.conv_layer_regions(n, n, 1, 1, d1) == theory.zaslavsky(d1, n)


def test_convolution_with_too_many_terms_is_refused():
    with pytest.raises(ValueError, match="limit = 100"):
        theory.conv_layer_regions_from_fields([{i} for i in range(10)], 2, limit=100)


def test_rolnick_tegmark():
    assert theory.rolnick_tegmark_shallow([1] * 10) == 1024
    assert theory.rolnick_tegmark_deep([1] * 10) == 40
    assert theory.rolnick_tegmark_deep([2, 3, 4, 5]) == (7 + 4) + (14 + 4) + (14 + 4) + (21 + 4)


def test_mean_breakpoints_of_random_nets_lie_in_the_hanin_rolnick_band():
    """A statistical smoke test with a fixed seed; the formula is an expectation, not a bound."""
    rng = random.Random(3)
    widths = [32, 32, 32]
    counts = []
    for _ in range(6):
        shapes = list(pairwise([1, *widths, 1]))
        weights = [
            [[rng.gauss(0, (2 / n) ** 0.5) for _ in range(n)] for _ in range(m)] for n, m in shapes
        ]
        biases = [[rng.gauss(0, 0.1) for _ in range(m)] for _, m in shapes]
        counts.append(len(pieces_on_a_line((weights, biases), low=-1.0, high=1.0)) - 1)
    low, high = theory.HANIN_ROLNICK_BAND
    estimate = theory.hanin_rolnick_line_estimate(widths)
    assert estimate == 96
    assert low * estimate < Fraction(sum(counts), len(counts)) < high * estimate


# ------------------------------------------------------------------- constructions, counted exactly


def is_dyadic(net):
    entries = chain(chain.from_iterable(chain.from_iterable(net[0])), chain.from_iterable(net[1]))
    return all((d := Fraction(x).denominator) & (d - 1) == 0 for x in entries)


@pytest.mark.parametrize(
    ("widths", "count"),
    [([3, 2], 11), ([3, 3], 15), ([3, 5], 23), ([3, 3, 2], 47), ([3, 3, 3], 63), ([3] * 4, 255)],
)
def test_chen_tight_net_has_the_listed_output_knots(widths, count):
    net = theory_nets.chen_tight_net(widths)
    assert knots(net) == count == theory.chen_knots(widths)
    assert patterns(net) == count + 1
    assert knots(net, low=Fraction(-1), high=Fraction(5)) == count
    assert is_dyadic(net)


@pytest.mark.parametrize("widths", [[1], [2], [7], [4, 2], [5, 3], [6, 7], [4, 5, 2], [3, 8, 3]])
def test_chen_tight_net_reaches_chen_for_other_widths(widths):
    net = theory_nets.chen_tight_net(widths)
    assert knots(net) == theory.chen_knots(widths)
    assert [len(matrix) for matrix in net[0]] == [*widths, 1]


def test_without_the_negated_unit_valleys_do_not_show():
    """A pitfall of counting outputs: patterns stay, output knots drop from 15 to 14, and so on."""
    for widths, fewer in (([3, 3], 14), ([3, 5], 22), ([3, 3, 3], 56)):
        weights, biases = theory_nets.chen_tight_net(widths)
        weights[-2][0] = [-entry for entry in weights[-2][0]]
        biases[-2][0] = -biases[-2][0]
        assert patterns((weights, biases)) == theory.chen_pieces(widths)
        assert knots((weights, biases)) == fewer


@pytest.mark.parametrize("n", range(1, 7))
def test_sawtooth_on_the_line_and_on_the_unit_interval(n):
    net = theory_nets.sawtooth_net(n)
    assert knots(net) == theory.sawtooth_knots(n, domain="line") == 2**n + 1
    unit = knots(net, low=Fraction(0), high=Fraction(1))
    assert unit == theory.sawtooth_knots(n) == theory.sawtooth_pieces(n) - 1 == 2**n - 1
    assert theory.sawtooth_pieces(n, domain="line") == 2**n + 2


@pytest.mark.parametrize(
    ("w", "k", "on_line"), [(2, 1, 3), (2, 3, 10), (3, 2, 10), (3, 3, 28), (4, 2, 18)]
)
def test_arora_listed_counts_on_the_line(w, k, on_line):
    assert knots(theory_nets.arora_net(w, k)) + 1 == on_line
    assert theory.arora_pieces(w, k, domain="line") == on_line


@pytest.mark.parametrize(("w", "k"), list(product(range(1, 6), range(1, 4))))
def test_arora_counts_on_both_domains(w, k):
    net = theory_nets.arora_net(w, k)
    assert [len(matrix) for matrix in net[0]] == [w] * k + [1]
    assert knots(net) + 1 == theory.arora_pieces(w, k, domain="line")
    unit = knots(net, low=Fraction(0), high=Fraction(1)) + 1
    assert unit == theory.arora_pieces(w, k) == w**k


@pytest.mark.parametrize(("widths", "on_line"), [([2, 3], 9), ([3, 3, 2], 28)])
def test_montufar_net_on_the_line(widths, on_line):
    assert patterns(theory_nets.montufar_net(1, widths)) == on_line
    assert knots(theory_nets.montufar_net(1, widths)) == on_line - 1


@pytest.mark.parametrize("widths", [[4], [2, 3], [3, 3, 2], [1, 5], [4, 2, 3], [5, 1]])
def test_montufar_net_on_the_unit_interval_has_exactly_the_bound(widths):
    net = theory_nets.montufar_net(1, widths)
    unit = {"low": Fraction(0), "high": Fraction(1)}
    assert patterns(net, **unit) == theory.montufar_lower(1, widths)
    if widths[-1] > 1:
        assert knots(net, **unit) + 1 == theory.montufar_lower(1, widths)
    assert patterns(net) >= theory.montufar_lower(1, widths)
    assert is_dyadic(net)


@pytest.mark.parametrize("widths", [[4], [3, 2], [3, 3], [4, 3], [5, 4, 2], [7, 3, 3], [6, 1]])
def test_serra_net_on_the_line_has_exactly_the_bound(widths):
    net = theory_nets.serra_net(1, widths)
    low = theory.serra_lower(1, widths)
    assert patterns(net) == low
    if widths[-1] > 1:
        assert knots(net) + 1 == low
    assert is_dyadic(net)


@pytest.mark.parametrize(
    "widths", [[5], [4, 3], [6, 4], [4, 4, 3], [5, 3], [2, 2], [4, 1]], ids=str
)
def test_montufar_net_on_the_unit_square_has_exactly_the_bound(widths):
    activation, linear = regions_on_a_square(theory_nets.montufar_net(2, widths), 0, 1)
    assert activation == theory.montufar_lower(2, widths)
    assert (linear == activation) if widths[-1] > 2 else (linear <= activation)


@pytest.mark.parametrize("widths", [[5], [6, 1], [6, 2], [6, 3], [6, 4], [7, 3], [8, 3]], ids=str)
def test_serra_net_in_the_plane_has_exactly_the_bound(widths):
    net = theory_nets.serra_net(2, widths)
    low, high = (0, 1) if len(widths) == 1 else (-1, 2 * (widths[0] // 2) - 1)
    activation, linear = regions_on_a_square(net, low, high)
    assert activation == theory.serra_lower(2, widths)
    assert (linear == activation) if widths[-1] > 2 else (linear < activation)
    assert regions_on_a_square(net, -1000, 1000)[0] == activation
    assert is_dyadic(net)


def solution(rows):
    """The unique solution of the square system ``a . x + c = 0`` with rows (a, c)."""
    rows = [[Fraction(x) for x in row] for row in rows]
    for i in range(len(rows)):
        pivot = next(k for k in range(i, len(rows)) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(len(rows)):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [-row[-1] for row in rows]


@pytest.mark.parametrize(("n0", "m"), [(1, 9), (2, 9), (3, 3), (3, 8), (4, 7), (5, 7)])
def test_last_layer_is_generic_with_all_vertices_inside_the_cube(n0, m):
    """Then every flat meets the open cube, so it holds all r(m, n0) regions of the arrangement."""
    weights, biases = theory_nets.serra_net(n0, [m])
    forms = [[*row, bias] for row, bias in zip(weights[0], biases[0], strict=True)]
    for chosen in combinations(range(m), n0):
        vertex = solution([forms[k] for k in chosen])
        assert all(0 < x < 1 for x in vertex)
        through = {k for k, form in enumerate(forms)
                   if sum(a * x for a, x in zip(form, [*vertex, 1], strict=True)) == 0}  # fmt: skip
        assert through == set(chosen)


@pytest.mark.parametrize("build", [theory_nets.montufar_net, theory_nets.serra_net])
def test_nets_in_higher_dimension_have_the_asked_shape(build):
    weights, biases = build(3, [10, 9, 5])
    assert [(len(m), len(m[0])) for m in weights] == [(10, 3), (9, 10), (5, 9), (1, 5)]
    assert [len(vector) for vector in biases] == [10, 9, 5, 1]


# ----------------------------------------------------------------------- what random nets can reach


def test_random_relu_nets_on_a_line_obey_every_upper_bound():
    rng = random.Random(4)
    for _ in range(150):
        widths = [rng.randint(1, 5) for _ in range(rng.randint(1, 3))]
        net = random_net(rng, [1, *widths])
        assert theory.violated(patterns(net), theory.bounds_table(1, widths)) == []
        assert knots(net) <= theory.chen_knots(widths)


def test_random_relu_nets_on_a_square_obey_every_upper_bound():
    rng = random.Random(5)
    for _ in range(40):
        widths = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
        activation, linear = regions_on_a_square(random_net(rng, [2, *widths]), -50, 50)
        assert linear <= activation
        assert theory.violated(activation, theory.bounds_table(2, widths)) == []


def test_random_leaky_nets_on_a_line_obey_the_bounds_that_apply():
    rng = random.Random(6)
    for _ in range(100):
        widths = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
        slope = Fraction(rng.choice([1, -5]), 10)
        count = patterns(random_net(rng, [1, *widths]), slope=slope)
        table = theory.bounds_table(1, widths, "leaky", leaky_slopes=slope)
        assert theory.violated(count, table) == []


def test_leaky_net_exceeds_the_relu_only_bounds():
    """Widths [1, 3], slope -1/2: the image is folded, not collapsed, so all three cut twice."""
    net = ([[[1]], [[1], [1], [1]], [[1, 1, 1]]], [[0], [-1, -2, -3], [0]])
    count = patterns(net, slope=Fraction(-1, 2))
    assert count == 8 == theory.montufar_upper(1, [1, 3])
    assert theory.serra_upper(1, [1, 3]) == theory.hinz_upper(1, [1, 3]) == 5
    as_relu = theory.violated(count, theory.bounds_table(1, [1, 3]))
    assert [b.name for b in as_relu] == ["Serra et al. 2018", "Hinz-van de Geer 2018"]
    as_leaky = theory.bounds_table(1, [1, 3], "leaky", leaky_slopes=[Fraction(-1, 2)])
    assert theory.violated(count, as_leaky) == []


def test_four_lines_beside_a_skip_exceed_montufar():
    """n0 = 2, widths [1, 4] with a skip: four generic lines alone make 11 regions."""
    count = theory.zaslavsky(4, 2)
    assert count == 11 > theory.montufar_upper(2, [1, 4]) == 10
    assert theory.violated(count, theory.bounds_table(2, [1, 4]))
    assert theory.violated(count, theory.bounds_table(2, [1, 4], chain=False)) == []


# ---------------------------------------------------------------------------------------- the table


def by_name(table):
    return {bound.name: bound for bound in table}


def test_table_rows_for_relu():
    table = by_name(theory.bounds_table(1, [3, 3]))
    assert [b.kind for b in table.values()] == ["upper"] * 5 + ["max-lower"] * 2 + ["expectation"]
    assert all(b.applies for b in table.values())
    assert all(b.proven == (b.kind != "expectation") for b in table.values())
    assert all(b.reference and b.condition for b in table.values())
    assert table["Chen 2016 (pieces)"].value == 16
    assert table["Serra et al. 2018 (lower)"].value == 16


def test_table_leaves_undefined_lower_bounds_empty():
    table = by_name(theory.bounds_table(2, [3, 3]))
    assert table["Serra et al. 2018 (lower)"].value is None
    assert not table["Serra et al. 2018 (lower)"].applies
    assert table["Montufar et al. 2014"].value == 7
    assert "Chen 2016 (pieces)" not in table


@pytest.mark.parametrize("slopes", [None, 0.1, -0.5, [0, 0.25], (Fraction(1, 3),)])
def test_leaky_excludes_the_relu_only_formulas(slopes):
    table = theory.bounds_table(2, [4, 4], "leaky", leaky_slopes=slopes)
    assert [b.name for b in table if b.applies] == ["Layer product", "Montufar 2017"]


@pytest.mark.parametrize("slopes", [0, 0.0, [0, 0], [Fraction(0)]])
def test_leaky_with_zero_slopes_is_relu(slopes):
    relu = theory.bounds_table(2, [4, 4])
    assert theory.bounds_table(2, [4, 4], "leaky", leaky_slopes=slopes) == relu


def test_clip_counts_two_parallel_cuts_per_unit():
    table = by_name(theory.bounds_table(2, [2], "clip"))
    assert table["Layer product"].value == 9  # a 3 x 3 grid
    assert table["Montufar 2017"].value == 9
    assert not table["Serra et al. 2018"].applies
    assert by_name(theory.bounds_table(1, [3], "clip"))["Chen 2016 (pieces)"].value == 7


def test_formula_from_memory_is_never_proven():
    table = by_name(theory.bounds_table(2, [2, 2], "maxout", rank=3))
    assert not table["Montufar-Ren-Zhang 2021"].proven
    assert table["Montufar-Ren-Zhang 2021"].value == 81
    assert table["Layer product"].value == theory.zaslavsky(6, 2) ** 2
    names = [b.name for b in theory.violated(10**6, table.values())]
    assert names == ["Layer product", "Montufar 2017"]


def test_lower_bounds_and_expectations_are_never_violated():
    table = theory.bounds_table(1, [3, 3])
    assert {b.kind for b in theory.violated(10**9, table)} == {"upper"}
    assert theory.violated(1, table) == []


# ------------------------------------------------------------------------------------ bad arguments


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.zaslavsky(-1, 2), "q must be at least 0"),
        (lambda: theory.zaslavsky(2.0, 2), "q must be an integer"),
        (lambda: theory.zaslavsky(True, 2), "q must be an integer"),
        (lambda: theory.chen_knots([3, 0]), r"widths\[1\] must be at least 1"),
        (lambda: theory.chen_knots("3,3"), "widths must be a sequence"),
        (lambda: theory.chen_knots(3), "widths must be a sequence"),
        (lambda: theory.serra_upper(0, [3]), "n0 must be at least 1"),
        (lambda: theory.hinz_upper(2, [None]), r"widths\[0\] must be an integer"),
        (lambda: theory.montufar_lower(2, [1, 4]), r"widths\[0\] must be at least 2"),
        (lambda: theory.maxout_upper(2, [2], 0), "k must be at least 1"),
        (lambda: theory.conv_layer_regions(3, 4, 1, 1, 1), "f must be at most n = 3"),
        (lambda: theory.sawtooth_knots(2, domain="R"), "domain must be"),
        (lambda: theory.rolnick_tegmark_deep([0]), r"exponents\[0\] must be at least 1"),
        (lambda: theory.hanin_rolnick_line_estimate([3], per_neuron=0), "per_neuron must be"),
        (lambda: theory.bounds_table(2, [3], "tanh"), "activation must be one of"),
        (lambda: theory.bounds_table(2, [3], leaky_slopes=0.1), "leaky_slopes is for"),
        (lambda: theory.bounds_table(2, [3], "leaky", leaky_slopes="x"), "leaky_slopes must be"),
        (lambda: theory.bounds_table(2, [3], "leaky", leaky_slopes=[]), "leaky_slopes must be"),
        (lambda: theory.bounds_table(2, [3], "leaky", leaky_slopes=float("nan")), "leaky_slopes"),
        (lambda: theory.bounds_table(2, [3], "maxout"), "rank must be given"),
        (lambda: theory.bounds_table(2, [3], rank=3), "rank must be given"),
        (lambda: theory.violated(-1, []), "count must be at least 0"),
        (lambda: theory_nets.chen_tight_net([2, 3]), r"widths\[0\] must be at least 3"),
        (lambda: theory_nets.chen_tight_net([3, 1]), r"widths\[1\] must be at least 2"),
        (lambda: theory_nets.chen_tight_net([]), "at least one hidden layer"),
        (lambda: theory_nets.serra_net(2, [5, 2]), r"widths\[0\] must be at least 6"),
        (lambda: theory_nets.montufar_net(2, "22"), "widths must be a sequence"),
        (lambda: theory_nets.sawtooth_net(0), "n must be at least 1"),
        (lambda: theory_nets.arora_net(1.5, 1), "w must be an integer"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


# ------------------------------------------------------------------------------ command and modules


@pytest.fixture
def run(capsys):
    """Run ``plverify bounds``; the exit code, stdout and stderr."""

    def call(*arguments):
        code = cli.run(["bounds", *arguments])
        return code, *capsys.readouterr()

    return call


def test_command_prints_a_table(run):
    code, out, _ = run("--inputs", "2", "--widths", "16,16")
    assert code == 0
    for text in ("18,769", "8,768", "11,097", "Montufar 2017", "arXiv:1711.02114"):
        assert text in out


def test_command_writes_large_values_also_in_scientific_form(run):
    _, out, _ = run("--inputs", "5", "--widths", "50,50,50,50,50,50")
    assert "1.772e+38" in out
    assert "177,182,044,384,474," in out


def test_command_json_is_one_object_with_exact_integers(run):
    _, out, _ = run("--inputs", "5", "--widths", "50,50,50,50,50,50", "--json")
    answer = json.loads(out)
    assert (answer["inputs"], answer["widths"], answer["activation"]) == (5, [50] * 6, "relu")
    values = {bound["name"]: bound["value"] for bound in answer["bounds"]}
    assert values["Serra et al. 2018"] == LARGE
    assert set(answer["bounds"][0]) >= set(theory.Bound.__dataclass_fields__)


def test_command_survives_values_too_long_for_json(run):
    _, out, _ = run("--inputs", "1000", "--widths", ",".join(["5000"] * 4), "--json")
    first = json.loads(out)["bounds"][0]
    assert first["value"] is None
    assert first["log10"] > 4000
    assert run("--inputs", "1000", "--widths", ",".join(["5000"] * 4))[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--inputs", "0", "--widths", "3"),
        ("--inputs", "2", "--widths", "3,x"),
        ("--inputs", "2", "--widths", ""),
        ("--inputs", "2", "--widths", "3,-1"),
        ("--inputs", "2", "--widths", "3", "--activation", "tanh"),
        ("--inputs", "2", "--widths", "3", "--activation", "maxout", "--json"),
    ],
)
def test_command_answers_bad_input_with_one_line_and_code_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("plverify bounds: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("value", [1, 9, 10, 99994, 99995, 10**15 - 1, 10**15, 10**22, 10**400 - 1])
def test_scientific_form_is_correctly_rounded(value):
    mantissa, exponent = bounds_command.scientific(value).split("e+")
    shown = Fraction(mantissa) * 10 ** int(exponent)
    assert 1 <= Fraction(mantissa) < 10
    assert abs(shown - value) * 2000 <= 10 ** int(exponent)


@pytest.mark.parametrize("module", [theory, theory_nets, bounds_command], ids=lambda m: m.__name__)
def test_examples_in_the_documentation(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize("module", [theory, theory_nets], ids=lambda m: m.__name__)
def test_only_the_standard_library_is_imported(module):
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        assert all(name.partition(".")[0] in sys.stdlib_module_names for name in names)
