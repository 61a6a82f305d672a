"""Small networks and domains that are degenerate on purpose, seeded and as hypothesis strategies.

`random_degenerate_net(seed)` returns a `Case`: plain lists of numbers, each meant exactly, for the
engine and for `plverify.reference` alike. One generator serves both uses: hypothesis hands it a
random source that it can shrink. The sizes are such that the reference takes milliseconds.

What is drawn: widths 1 to 7 in 1 to 4 hidden layers; weights that are ternary, small integers,
quarters, generic float32 or of wildly different magnitudes (2**-40 to 2**40); biases zero, of the
weights' kind, or such that the hyperplanes of every layer pass through or near one point of the
domain. Then rows are spoilt: repeated, negated, scaled, zero, dead, always active, or equal to a
unit of the layer before. Slopes are ReLU, 0.01f, 0.5, -0.5, -1 (absolute value), 1 (no kink), 2,
per network or per unit. Domains are boxes (off the origin, thin, with infinite sides), triangles,
polygons with redundant constraints, half-planes, strips, wedges, the whole line or plane, each
possibly a slice of R^3 to R^6, which may lie inside a hyperplane of the first layer.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypedDict

from hypothesis import strategies as st

from plverify.reference import Domain, Net

Number = int | float | Fraction


class Case(TypedDict):
    """A network and a domain.

    `weights`, `biases`: per affine map, floats that are meant exactly. `slopes`: per hidden layer,
    per unit, the slope of the piece ``z <= 0``. `domain`: see `DomainDict`.
    """

    weights: list[list[list[float]]]
    biases: list[list[float]]
    slopes: list[list[float]]
    domain: DomainDict


class DomainDict(TypedDict, total=False):
    """A domain of dimension `dim` (1 or 2).

    `kind` is "box" (`lo`, `hi`; None is infinite), "polytope" (``a t <= b``) or "space". With
    `origin` (n numbers) and `basis` (n rows of `dim` numbers, of full rank) it is the slice
    ``x = origin + basis t``; without, ``x = t``. `inside` is a point t of its interior.
    """

    kind: str
    dim: int
    lo: list[Number | None]
    hi: list[Number | None]
    a: list[list[Number]]
    b: list[Number]
    origin: list[Number]
    basis: list[list[Number]]
    inside: list[Number]


def to_reference(case: Case) -> tuple[Net, Domain]:
    """Return the case as objects of the reference."""
    return Net(case["weights"], case["biases"], case["slopes"]), reference_domain(case["domain"])


def reference_domain(description: DomainDict) -> Domain:
    """Return the domain as an object of the reference."""
    if description["kind"] == "box":
        domain = Domain.box(description["lo"], description["hi"])
    elif description["kind"] == "polytope":
        domain = Domain.polytope(description["dim"], description["a"], description["b"])
    else:
        domain = Domain(description["dim"])
    if "basis" in description:
        domain = domain.along(description["origin"], description["basis"])
    return domain


def float32(value: float) -> float:
    """Return the nearest float32."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


# ---------------------------------------------------------------------------------- the numbers

SLOPES = (float32(0.01), 0.5, -0.5, -1.0, 1.0, 2.0, 0.0)


def _magnitude(rng: random.Random) -> float:
    mantissa, power = rng.choice((-3, -1, 0, 1, 5)), rng.randint(-40, 40)
    return mantissa * 2.0**power


WEIGHT_STYLES: dict[str, Callable[[random.Random], float]] = {
    "ternary": lambda rng: float(rng.choice((0, 1, -1))),
    "integer": lambda rng: float(rng.randint(-3, 3)),
    "quarter": lambda rng: rng.randint(-8, 8) / 4,
    "float32": lambda rng: float32(rng.uniform(-1.5, 1.5)),
    "magnitude": _magnitude,
}


def _exact_float(value: Fraction) -> float | None:
    """Return the value as a float if it is one."""
    rounded = float(value)
    return rounded if Fraction(rounded) == value else None


def _dot(left: Sequence[Number], right: Sequence[Number]) -> Fraction:
    pairs = zip(left, right, strict=True)
    return sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))


# ---------------------------------------------------------------------------------- the domains


def _interval(rng: random.Random) -> DomainDict:
    kind = rng.choice(("unit", "integer", "far", "thin", "ray", "line"))
    if kind == "line":
        return {"kind": "space", "dim": 1, "inside": [rng.randint(-2, 2)]}
    lo: Number = {"unit": -1, "far": 1000, "thin": rng.randint(-2, 2)}.get(kind, rng.randint(-4, 2))
    width = {"unit": 2, "far": 1, "thin": 2.0 ** -rng.randint(10, 30)}.get(kind, rng.randint(1, 6))
    hi = lo + width
    inside: list[Number] = [lo + width / 2]
    ends: list[list[Number | None]] = [[lo], [hi]]
    if kind == "ray":
        ends[rng.randint(0, 1)] = [None]
    return {"kind": "box", "dim": 1, "lo": ends[0], "hi": ends[1], "inside": inside}


def _box(rng: random.Random) -> DomainDict:
    kind = rng.choice(("unit", "integer", "far", "thin", "open"))
    sides = [(-1.0, 1.0), (-1.0, 1.0)]
    if kind == "far":
        sides = [(1000.0, 1001.0), (-3.0, 5.0)]
    elif kind != "unit":
        sides = [(low, low + rng.randint(1, 6)) for low in (rng.randint(-4, 2) * 1.0 for _ in "xy")]
    if kind == "thin":
        low = sides[0][0]
        sides[0] = (low, low + 2.0 ** -rng.randint(10, 30))
    if rng.random() < 0.5:
        sides.reverse()
    inside: list[Number] = [(low + high) / 2 for low, high in sides]
    lo: list[Number | None] = [low for low, _ in sides]
    hi: list[Number | None] = [high for _, high in sides]
    if kind == "open":
        for _ in range(rng.randint(1, 3)):
            rng.choice((lo, hi))[rng.randint(0, 1)] = None
    return {"kind": "box", "dim": 2, "lo": lo, "hi": hi, "inside": inside}


def _polytope(rng: random.Random) -> DomainDict:
    """Integer normals around a point: a triangle, a strip, a wedge, a half-plane or any polygon."""
    center: list[Number] = [rng.randint(-2, 2) + rng.choice((0, 0.5)) for _ in "xy"]
    if rng.random() < 0.15:
        center[0] += 1000
    (x, y), (p, q) = (rng.choice(((1, 0), (0, 1), (1, 1), (2, -1), (-3, 1))) for _ in "ab")
    shapes: dict[str, list[list[Number]]] = {
        "half-plane": [[x, y]],
        "strip": [[x, y], [-x, -y]],
        "wedge": [[x, y], [-y, x]],
        "triangle": [[x, y], [-y, x], [y - x, -x - y]],
        "triangle 2": [[1, 0], [0, 1], [-1, -2]],
        "polygon": [[rng.randint(-3, 3), rng.randint(-3, 3)] for _ in range(rng.randint(3, 6))],
    }
    a = shapes[rng.choice(sorted(shapes))]
    if rng.random() < 0.3:
        a.append([p, q])
    a = [row if any(row) else [-1, 2] for row in a]
    slack: list[Number] = [rng.choice((1, 2, 0.5, 3, Fraction(1, 3))) for _ in a]
    b = [_dot(row, center) + Fraction(end) for row, end in zip(a, slack, strict=True)]
    if rng.random() < 0.3:  # a repeated and a redundant constraint
        a += [[2 * a[0][0], 2 * a[0][1]], list(a[-1])]
        b += [2 * b[0], b[-1] + rng.randint(0, 1)]
    numbers: list[Number] = [
        number if (number := _exact_float(end)) is not None else end for end in b
    ]
    return {"kind": "polytope", "dim": 2, "a": a, "b": numbers, "inside": center}


def _place(rng: random.Random, domain: DomainDict) -> int:
    """Make the domain a slice of R^3 to R^6; return the input size."""
    size, dim = rng.randint(3, 6), domain["dim"]
    basis: list[list[Number]] = [[rng.randint(-2, 2) for _ in range(dim)] for _ in range(size)]
    for axis in range(dim):  # full rank: the first rows are triangular
        basis[axis] = [1 if k == axis else 0 if k > axis else basis[axis][k] for k in range(dim)]
    basis[-1] = [0] * dim  # the last input is constant on the slice
    if rng.random() < 0.5:
        rng.shuffle(basis)
    domain["basis"] = basis
    domain["origin"] = [rng.choice((0, 0, 1, -1, 0.5)) for _ in range(size)]
    return size


def random_domain(rng: random.Random) -> tuple[DomainDict, int]:
    """Return a domain, and the dimension of the input space that it lies in."""
    if rng.random() < 0.25:
        domain = _interval(rng)
    else:
        shape = rng.choice((_box, _box, _polytope, _polytope, None))
        domain = shape(rng) if shape else {"kind": "space", "dim": 2, "inside": [0, 0]}
    if rng.random() < 0.25:
        return domain, _place(rng, domain)
    return domain, domain["dim"]


# --------------------------------------------------------------------------------- the networks


def random_widths(rng: random.Random, dim: int) -> list[int]:
    """Return 1 to 4 hidden widths of 1 to 7, few enough units for milliseconds in the reference."""
    depth = rng.choice((1, 2, 2, 3, 3, 4))
    units = {1: 24, 2: {1: 7, 2: 13, 3: 16, 4: 18}[depth]}[dim]
    widths = [rng.choice((4, 5, 3, 2, 6, 7, 1, 4, 5)) for _ in range(depth)]
    while sum(widths) > units:
        widths[widths.index(max(widths))] -= 1
    return widths


def _spoil(
    rng: random.Random, rows: list[list[float]], bias: list[float], parent: list[list[float]] | None
) -> None:
    """Make one unit of a layer degenerate; `parent` are the rows of the layer before."""
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    width = len(rows[i])
    kind = rng.choice(("repeat", "negate", "scale", "zero", "dead", "active", "echo", "echo"))
    if kind in ("repeat", "negate", "scale"):
        factor = {"repeat": 1.0, "negate": -1.0}.get(kind, rng.choice((2.0, 0.5, -4.0, 2.0**30)))
        rows[i], bias[i] = [factor * w for w in rows[j]], factor * bias[j]
        if rng.random() < 0.2:  # parallel only
            bias[i] = rng.choice((0.0, 1.0, -bias[i]))
    elif kind == "zero":
        rows[i], bias[i] = [0.0] * width, rng.choice((0.0, 0.0, 1.0, -1.0))
    elif kind in ("dead", "active"):
        side = 1.0 if kind == "active" else -1.0
        if parent is not None:
            rows[i] = [side * abs(w) for w in rows[i]]
        bias[i] = side * rng.choice((0.0, 4.0, 4096.0))
    elif parent is not None:  # the same hyperplane as a unit before, or as the sum of two of them
        k, m = rng.randrange(width), rng.randrange(width)
        rows[i] = [0.0] * width
        rows[i][k] += rng.choice((1.0, -1.0, 2.0))
        if parent[m] == [-w for w in parent[k]] or rng.random() < 0.3:
            rows[i][m] -= 1.0
        bias[i] = rng.choice((0.0, 0.0, 0.0, 1.0, -1.0))


def random_degenerate_net(seed: int | random.Random) -> Case:
    """Return the network and the domain of a seed (or drawn from a random source)."""
    rng = random.Random(seed) if isinstance(seed, int) else seed
    domain, inputs = random_domain(rng)
    widths = random_widths(rng, domain["dim"])
    slope_style = rng.choice(("relu", "relu", "one", "per unit"))
    slope = 0.0 if slope_style == "relu" else rng.choice(SLOPES)
    slopes = [
        [rng.choice(SLOPES) if slope_style == "per unit" else slope for _ in range(width)]
        for width in widths
    ]
    draw = WEIGHT_STYLES[rng.choice(("ternary", "integer", "quarter", "float32", "magnitude"))]
    bias_style = rng.choice(("zero", "like", "near", "near", "through"))
    offsets = [scale * k / 4 for scale in (1.0, 2.0**-12) for k in range(-3, 4)]
    spoilt = rng.choice((0, 0, 1, 2, 4))
    centre = [Fraction(t) for t in domain["inside"]]  # then the values of each layer there
    if "basis" in domain:
        origin = [Fraction(o) for o in domain["origin"]]
        centre = [o + _dot(row, centre) for o, row in zip(origin, domain["basis"], strict=True)]
    far = any(abs(x) > 100 for x in centre)
    weights: list[list[list[float]]] = []
    biases: list[list[float]] = []
    for layer, width in enumerate((*widths, rng.randint(1, 3))):
        rows = [[draw(rng) for _ in centre] for _ in range(width)]
        bias = [0.0 if bias_style == "zero" else draw(rng) for _ in range(width)]
        if layer < len(widths) and (bias_style in ("near", "through") or (far and layer == 0)):
            for i, row in enumerate(rows):
                offset = 0.0 if bias_style == "through" else rng.choice(offsets)
                through = _exact_float(Fraction(offset) - _dot(row, centre))
                bias[i] = bias[i] if through is None else through
        for _ in range(spoilt if layer < len(widths) else rng.randint(0, 1)):
            _spoil(rng, rows, bias, weights[-1] if weights else None)
        if layer == 0 and "basis" in domain and rng.random() < 0.3:
            flat = [k for k, row in enumerate(domain["basis"]) if not any(row)]
            rows[-1] = [float(k == flat[0]) for k in range(inputs)]  # zero on the whole slice
            bias[-1] = -float(domain["origin"][flat[0]])
        weights.append(rows)
        biases.append(bias)
        values = [_dot(row, centre) + Fraction(b) for row, b in zip(rows, bias, strict=True)]
        if layer < len(widths):
            pairs = zip(values, slopes[layer], strict=True)
            centre = [z if z > 0 else Fraction(s) * z for z, s in pairs]
    return {"weights": weights, "biases": biases, "slopes": slopes, "domain": domain}


# -------------------------------------------------------------------- strategies for hypothesis


def degenerate_nets() -> st.SearchStrategy[Case]:
    """Return a strategy of `random_degenerate_net`, from a source that hypothesis can shrink."""
    return st.randoms(use_true_random=False).map(random_degenerate_net)


def rational_points(dim: int, bound: int = 4) -> st.SearchStrategy[list[Fraction]]:
    """Return a strategy of points with small denominators, many of them on kinks of small nets."""
    numbers = st.fractions(min_value=-bound, max_value=bound, max_denominator=8)
    return st.lists(numbers, min_size=dim, max_size=dim)


@st.composite
def integer_nets(
    draw: st.DrawFn, input_size: int = 2, max_units: int = 7, max_depth: int = 3
) -> dict[str, Any]:
    """Return a strategy of tiny networks with weights in -2..2, which shrink to readable ones."""
    depth = draw(st.integers(1, max_depth))
    widths = [draw(st.integers(1, max(1, max_units // depth))) for _ in range(depth)]
    sizes = [input_size, *widths, draw(st.integers(1, 2))]
    entry = st.integers(-2, 2)
    weights = [
        [[draw(entry) for _ in range(columns)] for _ in range(rows)]
        for columns, rows in pairwise(sizes)
    ]
    biases = [[draw(entry) for _ in range(rows)] for rows in sizes[1:]]
    slope = st.sampled_from((0, 0, 0, 0.5, -1, 1))
    slopes = [[draw(slope) for _ in range(width)] for width in widths]
    return {"weights": weights, "biases": biases, "slopes": slopes}
