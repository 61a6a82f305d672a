"""Properties that hold or fail by a hair: small networks whose exact extrema are known.

The extrema of an output over a box are those over all vertices of all activation regions, in
fractions. A bound next to one, or on it, makes a property whose status is known whatever the gap;
`mistakes` asks the engine for it and has the proof checked. `tests/test_verdict.py` runs some
seeds, `dev/fuzz_verify.py` as many as there is time for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import plverify as pv
from plverify.domain import Box
from plverify.network import Network
from plverify.property import Property

SLOPES = (0, 0, 0, 0.25, -1, -0.5, 1)
GAPS = [0, *(s * Fraction(1, 10**k) for k in (3, 7, 11, 15, 18, 25, 40) for s in (1, -1))]


def over_vertices(net, box, output=0):
    """The exact minimum and maximum of an output over the vertices of all regions."""
    values = []
    for region in pv.regions(net, box, exact=True):
        J, c = region.affine_map(exact=True)
        values += [
            sum(a * v for a, v in zip(J[output], corner.p, strict=True)) + c[output]
            for corner in region.exact_vertices
        ]
    return min(values), max(values)


def bound(net, box, sign, value, strict):
    """Violated where ``sign y_0 >= sign value`` (``>`` if strict)."""
    row = [0] * net.output_size
    row[0] = -sign
    return Property.from_rows(box, None, [row], [-sign * value], strict)


def _number(rng: random.Random, style: str) -> Fraction:
    if style == "integer":
        return Fraction(rng.randint(-3, 3))
    if style == "rational":
        return Fraction(rng.randint(-9, 9), rng.choice([1, 3, 7, 10]))
    value = Fraction(rng.gauss(0, 1))
    return value if style == "float64" else value * Fraction(10) ** rng.randint(-12, 12)


def random_case(seed: int) -> tuple[Network, Box]:
    """A network of up to three inputs and fifteen units, and a box with an interior."""
    rng = random.Random(seed)
    style = rng.choice(["integer", "rational", "float64", "wild"])
    dim = rng.randint(1, 3)
    sizes = [dim, *(rng.randint(1, 5) for _ in range(rng.randint(1, 3))), rng.randint(1, 2)]
    weights = [
        [[_number(rng, style) for _ in range(a)] for _ in range(b)] for a, b in pairwise(sizes)
    ]
    other = rng.choice([style, "integer"])
    biases = [[_number(rng, other) for _ in range(b)] for b in sizes[1:]]
    lo = [Fraction(rng.randint(-9, 9), rng.choice([1, 3, 10])) for _ in range(dim)]
    hi = [a + Fraction(rng.randint(1, 20), rng.choice([1, 3, 7, 10**6])) for a in lo]
    return Network.from_arrays(weights, biases, rng.choice(SLOPES)), Box(lo, hi)


def statements(net, box) -> Iterator[tuple[str, Property, str]]:
    """``(words, property, status)`` around both extrema, and at the only point of a box."""
    low, high = over_vertices(net, box)
    point = Box(box.hi, box.hi)
    [value, *_] = net.exact(box.hi)
    for name, where, sign, top in (
        ("maximum", box, 1, high),
        ("minimum", box, -1, low),
        ("point", point, 1, value),
    ):
        for gap in GAPS:
            for strict in (False, True):
                status = "unsat" if gap > 0 or (strict and gap == 0) else "sat"
                words = f"{name}, gap {float(gap)}, {'strict' if strict else 'closed'}"
                yield words, bound(net, where, sign, top + sign * gap, strict), status


def mistakes(seed: int, timeout: float = 60.0) -> list[str]:
    """What the engine gets wrong on a seed, one line each."""
    net, box = random_case(seed)
    out = []
    for words, spec, status in statements(net, box):
        found = pv.verify(net, spec, proof=True, float32=False, timeout=timeout)
        if found.status != status:
            out.append(f"seed {seed}: {words}: {found.status}, expected {status}")
        if found.status not in ("sat", "unsat"):
            continue
        for python in (False, True):
            verdict = pv.check(found.proof, net, spec, python=python)
            if not verdict:
                out.append(f"seed {seed}: {words}: {found.status}, but {verdict.reason}")
    top = pv.maximize(net, 0, box, timeout=timeout)
    if top.exact and top.value != over_vertices(net, box)[1]:
        out.append(f"seed {seed}: maximize gives {float(top.value)}")
    if not top.exact:
        out.append(f"seed {seed}: maximize ends with {top.status}")
    return out
