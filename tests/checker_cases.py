"""Networks on domains with their honest proofs, for the tests of the checker.

`honest_proofs` writes them with `proof_tools` (Fractions, independent of the engine); `rejected`
and `rejected_or_true` say what the checker must do with a proof that was changed.
"""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from functools import lru_cache
from itertools import count, pairwise
from math import gcd

import proof_tools as tools
from proof_tools import Proof, box, make_layers, prove

from plverify.checker import check
from plverify.exact_net import ExactNet

# ---------------------------------------------------------------------------------------- networks


def random_layers(rng, sizes, den=16, reach=24, slope=0, bias=True):
    def number():
        return Fraction(rng.randint(-reach, reach), den)

    weights = [[[number() for _ in range(a)] for _ in range(b)] for a, b in pairwise(sizes)]
    biases = [[number() * bias for _ in range(b)] for b in sizes[1:]]
    slopes = [[slope() if callable(slope) else slope for _ in range(b)] for b in sizes[1:-1]]
    return make_layers(weights, biases, slopes)


def float32(value):
    return Fraction(struct.unpack("<f", struct.pack("<f", value))[0])


def float_layers(rng, sizes):
    weights = [
        [[float32(rng.gauss(0, 1)) for _ in range(a)] for _ in range(b)] for a, b in pairwise(sizes)
    ]
    return make_layers(weights, [[float32(rng.gauss(0, 0.5)) for _ in range(b)] for b in sizes[1:]])


def duplicated(rng, sizes):
    """Copies of the first unit of every layer: equal, scaled, negated; and units that are 0, 1."""
    layers = random_layers(rng, sizes)
    for layer in layers[:-1]:
        row, bias = layer.weights[0], layer.bias[0]
        zero = [Fraction(0)] * len(row)
        layer.weights[1:5] = [list(row), [3 * w for w in row], [-w for w in row], zero]
        layer.bias[1:5] = [bias, 3 * bias, -bias, Fraction(0)]
        layer.weights[5], layer.bias[5] = zero, Fraction(1)
    return layers


SQUARE = box((-1, 1), (-1, 1))
PENTAGON = [[0, 1, 1], [-1, 0, 2], [-1, -1, 3], [1, -2, 4], [3, 1, 5], [0, 0, 7], [0, 1, 1]]
INTERVAL = box((-2, Fraction(5, 3)))


def pick_slope(rng, *slopes):
    return lambda: rng.choice(slopes)


def make_cases():
    seeds = count(101)

    def rng():
        return random.Random(next(seeds))

    some, half = random_layers, Fraction(1, 2)
    mixed = (0, 1, half, -half, -1, 2, Fraction(3, 8), -3)
    slice_5d = (3, [[1, 2, 0], [0, -1, 1], [2, 1, -1], [-1, 0, 2], [1, 1, 1]])
    line_5d = (4, [[1, 2], [-1, 0], [3, 1], [0, 2], [2, -5]])
    flat = (1, [[1, 1, 0], [2, 2, 1], [-1, -1, 0]])  # rank 1
    return {
        "box": (some(rng(), [2, 5, 5, 1]), 2, SQUARE),
        "box of float32 weights": (float_layers(rng(), [2, 6, 6, 2]), 2, box((-2, 2), (-1, 3))),
        "three layers": (some(rng(), [2, 4, 4, 4, 1]), 2, SQUARE),
        "wide layer": (some(rng(), [2, 11, 1]), 2, SQUARE),
        "no unit": (some(rng(), [2, 1]), 2, SQUARE),
        "one unit": (make_layers([[[1, 1]], [[1]]], [[0], [0]]), 2, SQUARE),
        "walls on the boundary": (make_layers([[[1, 0], [0, 1], [1, 1]], [[1, 1, 1]]],
                                              [[1, -1, 0], [0]]), 2, SQUARE),
        "zero biases": (some(rng(), [2, 6, 6, 1], bias=False), 2, SQUARE),
        "integer weights": (some(rng(), [2, 5, 5, 1], den=1, reach=1), 2, box((-2, 2), (-2, 2))),
        "integer weights deep": (some(rng(), [2, 4, 4, 4, 1], den=1, reach=1), 2, SQUARE),
        "thirds": (some(rng(), [2, 5, 4, 1], den=3, reach=3), 2, SQUARE),
        "duplicated units": (duplicated(rng(), [2, 7, 7, 1]), 2, SQUARE),
        "all dead": (make_layers([[[0, 0]] * 3, [[0] * 3] * 2, [[1, 1]]],
                                 [[0] * 3, [0] * 2, [0]]), 2, SQUARE),
        "leaky": (some(rng(), [2, 5, 5, 1], slope=half), 2, SQUARE),
        "leaky negative": (some(rng(), [2, 5, 5, 1], slope=-half), 2, SQUARE),
        "absolute values": (some(rng(), [2, 5, 5, 1], slope=-1), 2, SQUARE),
        "mixed slopes": (some(rng(), [2, 6, 6, 1], slope=pick_slope(rng(), *mixed)), 2, SQUARE),
        "slope 1": (some(rng(), [2, 4, 4, 1], slope=1), 2, SQUARE),
        "pentagon": (some(rng(), [2, 5, 5, 1]), 2, PENTAGON),
        "plane": (some(rng(), [2, 5, 5, 1]), 2, []),
        "plane zero biases": (some(rng(), [2, 5, 5, 1], bias=False), 2, []),
        "plane integer weights": (some(rng(), [2, 5, 4, 1], den=1, reach=1), 2, []),
        "plane mixed slopes": (some(rng(), [2, 5, 5, 1], slope=pick_slope(rng(), *mixed)), 2, []),
        "plane duplicated units": (duplicated(rng(), [2, 6, 6, 1]), 2, []),
        "half-plane": (some(rng(), [2, 5, 5, 1]), 2, [[2, -1, 1]]),
        "strip": (some(rng(), [2, 5, 5, 1]), 2, box((0, 1), (None, None))),
        "slanted strip": (some(rng(), [2, 5, 5, 1]), 2, [[1, -2, 1], [-1, 2, 3]]),
        "diagonal strip": (some(rng(), [2, 5, 5, 1]), 2, [[1, -1, 1], [-1, 1, 3]]),
        "quadrant": (some(rng(), [2, 5, 5, 1]), 2, box((0, None), (None, 1))),
        "wedge": (some(rng(), [2, 5, 5, 1], bias=False), 2, [[1, 0, 0], [1, 1, 0]]),
        "slice": (some(rng(), [5, 5, 5, 1]), 2, SQUARE, slice_5d),
        "slice plane": (some(rng(), [5, 5, 4, 1]), 2, [], slice_5d),
        "slice of rank 1": (some(rng(), [3, 5, 4, 1]), 2, SQUARE, flat),
        "slice plane of rank 1": (some(rng(), [3, 5, 4, 1]), 2, [], flat),
        "slice of rank 0": (some(rng(), [1, 5, 4, 1]), 2, SQUARE, (1, [[0, 0, 2]])),
        "interval": (some(rng(), [1, 7, 6, 1]), 1, INTERVAL),
        "interval zero biases": (some(rng(), [1, 7, 6, 1], bias=False), 1, INTERVAL),
        "interval integer weights": (some(rng(), [1, 9, 6, 5, 1], den=1, reach=1), 1, INTERVAL),
        "interval mixed": (some(rng(), [1, 8, 1], slope=pick_slope(rng(), *mixed)), 1, INTERVAL),
        "interval duplicated": (duplicated(rng(), [1, 6, 6, 1]), 1, INTERVAL),
        "interval rescaled rows": (some(rng(), [1, 5, 1]), 1, [[3, 1], [0, 0], [-2, 7], [1, 9]]),
        "line": (some(rng(), [1, 7, 6, 1]), 1, []),
        "line zero biases": (some(rng(), [1, 5, 5, 1], bias=False), 1, []),
        "half-line": (some(rng(), [1, 7, 6, 1]), 1, [[-2, 1]]),
        "slice line": (some(rng(), [5, 6, 6, 1]), 1, [], line_5d),
        "slice interval": (some(rng(), [5, 6, 6, 1]), 1, INTERVAL, line_5d),
    }  # fmt: skip


CASES = make_cases()


@lru_cache(maxsize=1)
def honest_proofs():
    """Name -> (layers, network, proof) of every case; do not change the proof, copy it."""
    out = {}
    for name, (layers, *domain) in CASES.items():
        out[name] = layers, ExactNet.from_bytes(tools.net_bytes(layers)), prove(layers, *domain)
    return out


# -------------------------------------------------------------------------------------------- tools


def around(loop):
    """The pairs of neighbours in a cycle."""
    return list(pairwise([*loop, loop[0]]))


def rejected(proof, net, contains=""):
    """Check that a proof is rejected with a reason; return whether the reason contains a text."""
    verdict = check(proof if isinstance(proof, bytes) else proof.to_bytes(), net)
    assert not verdict.accepted, f"accepted: {verdict.claim}"
    assert not verdict
    assert verdict.reason
    return contains in verdict.reason


def rejected_or_true(data, layers, net):
    """Whether the proof is rejected; if it is accepted, what it states must be true."""
    if not check(data, net):
        return True
    proof = Proof.from_bytes(data, tools.unit_count(layers))
    rows = [list(map(int, row)) for row in proof.header["constraints"]]
    part = proof.header["slice"]
    if part is not None:
        part = int(part["scale"]), [list(map(int, row)) for row in part["rows"]]
    truth = prove(layers, proof.header["dim"], rows, part)
    assert proof.header["network"] == truth.header["network"]
    assert sorted(p for p, _ in proof.regions) == sorted(p for p, _ in truth.regions)
    return False


def lowest(p, q, w):
    common = gcd(w, *p, *q)
    return [[v // common for v in p], [v // common for v in q], w // common]


def middle(proof, i, j):
    (p, q, w), (r, s, u) = proof.vertices[i], proof.vertices[j]
    return lowest(
        [a * u + b * w for a, b in zip(p, r, strict=True)],
        [a * u + b * w for a, b in zip(q, s, strict=True)],
        2 * w * u,
    )
