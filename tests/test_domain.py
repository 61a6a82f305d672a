"""Domains hold exact numbers, decide membership exactly and write the documented bytes."""

from __future__ import annotations

import struct
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plverify.domain import Box, Domain, Polytope, Slice, Space
from plverify.errors import InputError

QUIET = settings(deadline=None)
TENTH = Fraction(1, 10)
numbers = st.one_of(
    st.fractions(min_value=-5, max_value=5, max_denominator=30),
    st.floats(-5, 5),
    st.integers(-5, 5),
    st.decimals(-5, 5, places=3),
)


def read_ints(data, pos, count):
    words = data[pos]
    size = 8 * words
    out = [
        int.from_bytes(data[pos + 1 + i * size :][:size], "little", signed=True)
        for i in range(count)
    ]
    limit = 1 << (64 * (words - 1) - 1) if words > 1 else 0
    assert words == 1 or any(not -limit <= v < limit for v in out)
    return out, pos + 1 + count * size


def decode(data):
    """The fields of domain bytes, read by the text of docs/developer.md."""
    assert data[:8] == b"PLDOM\x001\n"
    dim, ambient, is_slice = struct.unpack_from("<IIB", data, 8)
    pos, scale, table = 17, None, None
    if is_slice:
        (scale,), pos = read_ints(data, pos, 1)
        flat, pos = read_ints(data, pos, ambient * (dim + 1))
        table = [flat[i : i + dim + 1] for i in range(0, len(flat), dim + 1)]
    (count,) = struct.unpack_from("<I", data, pos)
    flat, pos = read_ints(data, pos + 4, count * (dim + 1))
    assert pos == len(data)
    rows = [flat[i : i + dim + 1] for i in range(0, len(flat), dim + 1)]
    return dim, ambient, scale, table, rows


def test_box_bytes_are_in_the_documented_order():
    box = Box([-1, float("-inf"), TENTH], [0.5, 2, float("inf")])
    rows = [[1, 0, 0, 1], [-2, 0, 0, 1], [0, -1, 0, 2], [0, 0, 10, -1]]
    assert decode(box.to_bytes()) == (3, 3, None, None, rows)
    assert decode(Space(4).to_bytes()) == (4, 4, None, None, [])


def test_polytope_bytes_keep_the_rows_in_order_and_in_lowest_terms():
    domain = Polytope([["0.5", 2], [0, 0], [4, -6]], [TENTH, -3, 8])
    assert decode(domain.to_bytes())[4] == [[-5, -20, 1], [0, 0, -1], [-2, 3, 4]]


def test_slice_bytes_give_the_map_over_one_scale():
    plane = Slice([0.5, 1, 0], [[1, 0], [0, TENTH], [0.25, 0]], Box(0, 1, 2))
    dim, ambient, scale, table, rows = decode(plane.to_bytes())
    assert (dim, ambient, scale) == (2, 3, 20)
    assert table == [[20, 0, 10], [0, 2, 20], [5, 0, 0]]
    assert rows == decode(Box(0, 1, 2).to_bytes())[4]
    assert plane.slice_map() == (scale, table)


@QUIET
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4), st.data())
def test_box_bytes_and_contains_agree_with_fractions(pairs, data):
    exact = [sorted(map(Fraction, p)) for p in pairs]
    sides = [sorted(p, key=Fraction) for p in pairs]
    box = Box([a for a, _ in sides], [b for _, b in sides])
    assert list(zip(box.lo, box.hi, strict=True)) == [tuple(p) for p in exact]
    x = [data.draw(st.one_of(numbers, st.sampled_from(p))) for p in sides]
    inside = all(a <= Fraction(v) <= b for (a, b), v in zip(exact, x, strict=True))
    assert box.contains(x) == inside
    dim, _, _, _, rows = decode(box.to_bytes())
    values = [*map(Fraction, x), 1]
    signs = [sum(a * v for a, v in zip(row, values, strict=True)) >= 0 for row in rows]
    assert len(rows) == 2 * dim
    assert all(signs) == inside


def independent(basis):
    """Whether the columns are linearly independent, by elimination in Fractions."""
    rows = [[Fraction(v) for v in row] for row in basis]
    for c in range(len(rows[0])):
        pivot = next((i for i in range(c, len(rows)) if rows[i][c]), None)
        if pivot is None:
            return False
        rows[c], rows[pivot] = rows[pivot], rows[c]
        for i in range(c + 1, len(rows)):
            f = rows[i][c] / rows[c][c]
            rows[i] = [a - f * b for a, b in zip(rows[i], rows[c], strict=True)]
    return True


@QUIET
@given(st.integers(1, 3), st.integers(0, 3), st.data())
def test_slice_contains_exactly_the_images_of_its_inner_points(dim, extra, data):
    n = dim + extra
    vectors = st.lists(numbers, min_size=n, max_size=n)
    origin = data.draw(vectors)
    basis = [list(row) for row in zip(*(data.draw(vectors) for _ in range(dim)), strict=True)]
    inner = Box(-1, 1, dim)
    if not independent(basis):
        with pytest.raises(InputError, match="rank"):
            Slice(origin, basis, inner)
        return
    domain = Slice(origin, basis, inner)
    t = data.draw(st.lists(numbers, min_size=dim, max_size=dim))
    x = domain.point(t)
    expected = tuple(
        Fraction(o) + sum(Fraction(b) * Fraction(v) for b, v in zip(row, t, strict=True))
        for o, row in zip(origin, basis, strict=True)
    )
    assert x == expected
    assert domain.coordinates(x) == tuple(map(Fraction, t))
    assert domain.contains(x) == inner.contains(t)
    if extra:
        off = data.draw(vectors)
        t = domain.coordinates(off)
        assert (t is None) or domain.point(t) == tuple(map(Fraction, off))


def test_rank_is_decided_exactly():
    a = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(InputError, match="rank 1"):
        Slice([0, 0], a)
    a[1, 1] = np.nextafter(1, 2)
    assert Slice([0, 0], a).dim == 2
    # 2147483647 and 2147483629 divide the determinant, which is not 0.
    assert Slice([0, 0], [[2147483647 * 2147483629, 0], [0, 1]]).dim == 2
    with pytest.raises(InputError, match="rank 1"):
        Slice([0, 0], [[1, 3], [Fraction(1, 3), 1]])
    with pytest.raises(InputError, match="rank 1"):
        Slice([0], [[1, 2]])


def test_a_decimal_a_string_and_a_float_are_told_apart():
    assert Box("0.1", 1, 1) == Box(Decimal("0.1"), 1, 1) == Box(TENTH, 1, 1)
    assert Box(0.1, 1, 1) != Box("0.1", 1, 1)
    assert Box(np.float32(0.1), 1, 1).lo == (Fraction(float(np.float32(0.1))),)
    assert not Box("0.1", 1, 1).contains([Fraction(1, 10) - Fraction(1, 10**40)])
    ball = Box.ball(np.array([0.25, 0.5]), "0.1")
    assert ball.lo == (Fraction(3, 20), Fraction(2, 5))
    assert ball.hi == (Fraction(7, 20), Fraction(3, 5))
    assert Box([2**60 + 1, 0.5], [2**60 + 1, 0.5]).lo[0] == 2**60 + 1


def test_equality_hash_and_text():
    assert Box.cube(2) == Box([-1.0, -1], [Decimal(1), 1]) != Box.cube(3)
    assert len({Box.cube(2), Box(-1, 1, 2), Space(2)}) == 2
    assert Box(-np.inf, np.inf, 2) != Space(2)
    assert Box.cube(2) != "box"
    assert repr(Box.cube(2)) == "<Box: box [-1, 1]^2>"
    assert Box([0, "0.5"], [1, 2]).describe() == "box [0, 1] x [1/2, 2]"
    assert Box(0, np.inf, 1).describe() == "box [0, inf]"
    assert Polytope([[1, 1]], [1]).describe() == "polytope of 1 half-space in R^2"
    assert Slice([0, 0, 0], [[1], [0], [0]]).describe() == "line in R^3: all of R^1"
    assert "about 2^" in Box(0, Fraction(10) ** 400 / 3, 1).describe()
    assert isinstance(Space(1), Domain)
    assert not Box(0, np.inf, 1).bounded
    assert Box(0, 1, 1).bounded


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Box([0, 2], [1, 1]), r"lo\[1\] is 2, greater than hi\[1\], 1"),
        (lambda: Box([0, float("nan")], [1, 1]), r"lo\[1\] is NaN"),
        (lambda: Box([0, 0], [1, Decimal("nan")]), r"hi\[1\] is NaN"),
        (lambda: Box([0, 0], [1, "nan"]), r"hi\[1\] is NaN"),
        (lambda: Box(np.inf, np.inf, 1), r"lo\[0\] is inf"),
        (lambda: Box(-np.inf, -np.inf, 1), r"hi\[0\] is -inf"),
        (lambda: Box(0, 1), "give the number of coordinates"),
        (lambda: Box([0, 0], [1, 1, 1]), "vectors of one length"),
        (lambda: Box([0, 0], 1, 3), "vectors of one length"),
        (lambda: Box([[0]], [[1]]), "vectors of one length"),
        (lambda: Box([], []), "dimension is 0"),
        (lambda: Box(0, 1, 0), "dimension is 0"),
        (lambda: Box(0, "a tenth", 1), "'a tenth', not a number"),
        (lambda: Box(0, None, 1), "None, not a number"),
        (lambda: Box([[1], [1, 2]], 3), "rectangular"),
        (lambda: Box("1e999999999", 1, 1), "exponent is out of range"),
        (lambda: Box(Decimal("1e999999999"), 1, 1), "exponent is out of range"),
        (lambda: Box.ball([0, 0], -1), "cannot be negative"),
        (lambda: Box.ball([0, float("inf")], 1), r"x\[1\] is infinite"),
        (lambda: Box.ball(0, 1), "expected a vector"),
        (lambda: Polytope([[1, 2]], [1, 2]), "expected"),
        (lambda: Polytope([1, 2], [1, 2]), "expected"),
        (lambda: Polytope([[1, float("nan")]], [1]), r"A\[0, 1\] is NaN"),
        (lambda: Polytope([[1, 1]], [np.inf]), r"b\[0\] is infinite"),
        (lambda: Space(0), "dimension is 0"),
        (lambda: Space(2.0), "dimension is 2.0"),
        (lambda: Slice([0, 0], [[1, 0]]), "expected"),
        (lambda: Slice([0, 0], [[1], [1]], Box.cube(2)), "inner has dimension 2"),
        (lambda: Slice([0], [[1]], Slice([0], [[1]])), "expected a Box"),
        (lambda: Slice([0], [[1]], "all"), "expected a Box"),
        (lambda: Box.cube(2).contains([0]), r"x has shape \(1,\)"),
        (lambda: Box.cube(1).contains([float("nan")]), r"x\[0\] is NaN"),
    ],
)
def test_bad_input_is_one_line_that_names_the_entry(make, text):
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_numbers_of_many_words_are_written_exactly():
    tiny = 2.0**-1074
    box = Box([tiny, -1], [1e300, 1])
    rows = decode(box.to_bytes())[4]
    assert rows[0] == [2**1074, 0, -1]
    assert rows[1] == [-1, 0, int(1e300)]
    wide = Box([tiny] * 40, [1.0] * 40)
    rows = decode(wide.to_bytes())[4]
    assert rows[78] == [0] * 39 + [2**1074, -1]
    line = Slice([tiny, 3], [[1e20], [1]])
    assert decode(line.to_bytes())[2:4] == (2**1074, [[10**20 << 1074, 1], [1 << 1074, 3 << 1074]])


def test_bytes_of_a_784_by_2_slice_are_fast():
    rng = np.random.default_rng(0)
    origin, basis = rng.random(784), rng.standard_normal((784, 2))
    start = time.perf_counter()
    domain = Slice(origin, basis, Box.cube(2))
    domain.to_bytes()
    assert time.perf_counter() - start < 0.25  # 2 ms on a quiet machine
    assert domain.point([0.5, -1])[7] == Fraction(origin[7]) + Fraction(basis[7, 0]) / 2 - Fraction(
        basis[7, 1]
    )
