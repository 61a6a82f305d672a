"""The CUDA extension imports without a driver and never claims a wrong sign."""

import random
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

from plverify import cuda
from plverify.errors import InputError, MissingExtra
from plverify.exact_net import Affine, ExactNet, Units, common_denominator

built = pytest.mark.skipif(
    find_spec("plverify._cuda") is None, reason="plverify._cuda is not built (PLVERIFY_CUDA=1)"
)
DEVICES = cuda.device_count()
on_device = pytest.mark.skipif(DEVICES == 0, reason="no CUDA device")


def chain(widths, seed, *, bits=53, slope=(0, 0)):
    """A random exact net; `bits` of 53 and less make every weight a double."""
    rng = random.Random(seed)
    half = 1 << (bits - 1)
    nodes = []
    for k, (cols, size) in enumerate(pairwise([*widths, 1])):
        rows = tuple(
            tuple(rng.randrange(-half, half) | 1 for _ in range(cols + 1)) for _ in range(size)
        )
        nodes.append(Affine(2 * k, cols, rows, (bits - 1,) * size, (1,) * size))
        nodes.append(Units(2 * k + 1, (slope,) * size))
    return ExactNet(widths[0], tuple(nodes[:-1]))


def exact_signs(net, points):
    """The oracle: integers all the way."""
    out = []
    for point in points.tolist():
        nums, den = common_denominator(point)
        out.append([s for layer in net.forward([nums], den).signs for s in layer])
    return np.array(out, dtype=np.int8)


def assert_exact(net, points):
    """No claim of the device is wrong, and the exact re-check completes them."""
    exact = exact_signs(net, points)
    claimed = cuda.claimed_signs(net, points)
    assert ((claimed == exact) | (claimed == 0)).all()
    np.testing.assert_array_equal(cuda.activation_signs(net, points), exact)


def test_without_the_extension_the_error_says_how_to_build_it(monkeypatch):
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert cuda.device_count() == 0
    with pytest.raises(MissingExtra, match="PLVERIFY_CUDA=1"):
        cuda.activation_signs(chain([2, 3], 0), np.zeros((1, 2)))


def fresh_python(code, folder):
    """Standard output of `code` in a new process, away from the checkout's sources."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_module_does_not_load_the_extension(tmp_path):
    code = "import sys, plverify.cuda; print('plverify._cuda' in sys.modules)"
    assert fresh_python(code, tmp_path) == "False"


@built
def test_hidden_devices_are_counted_as_none(tmp_path):
    hidden = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = '-1'\n"
    code = hidden + "import plverify._cuda as c; print(c.device_count())"
    assert fresh_python(code, tmp_path) == "0"


@built
@pytest.mark.skipif(DEVICES > 0, reason="there is a CUDA device")
def test_without_a_device_a_run_fails_with_one_clear_line():
    with pytest.raises(RuntimeError, match=r"^no usable CUDA device: [^\n]+$"):
        cuda.activation_signs(chain([2, 3], 0), np.zeros((1, 2)))


@built
@pytest.mark.parametrize(
    "points", [np.zeros((4, 3)), np.zeros(2), np.array([[0.0, np.nan]]), np.array([[np.inf, 0.0]])]
)
def test_bad_points_are_refused_before_the_device_is_asked(points):
    with pytest.raises(InputError, match="^points "):
        cuda.activation_signs(chain([2, 3], 0), points)


@built
@pytest.mark.parametrize("exponent", [-1080, -1030, 1100])
def test_numbers_outside_the_normal_range_are_refused(exponent):
    row, shift = ((3, 1), -exponent) if exponent < 0 else ((3 << exponent, 1), 0)
    net = ExactNet(
        1,
        (
            Affine(0, 1, (row,), (shift,), (1,)),
            Units(1, ((0, 0),)),
            Affine(2, 1, ((1, 0),), (0,), (1,)),
        ),
    )
    with pytest.raises(InputError, match="layer 0 holds a number outside"):
        cuda.activation_signs(net, np.ones((1, 1)))


@built
def test_the_extension_checks_shapes():
    from plverify import _cuda

    w, b = np.ones((3, 2)), np.ones(3)
    with pytest.raises(ValueError, match=r"weights\[0\]: expected an array of shape \(3, 4\)"):
        _cuda.activation_signs([w], [b], [b], np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"slopes\[0\]: expected an array of shape \(3\)"):
        _cuda.activation_signs([w], [b], [b[:2]], np.ones((1, 2)))
    with pytest.raises(ValueError, match="lists of the same length"):
        _cuda.activation_signs([w], [b], [], np.ones((1, 2)))


@built
@on_device
@pytest.mark.parametrize("slope", [(0, 0), (1, 3), (-1, 0)], ids=["relu", "leaky", "abs"])
@pytest.mark.parametrize("bits", [3, 53, 80])
@pytest.mark.parametrize("widths", [[2, 16, 16, 16], [5, 40, 33], [1, 1], [100, 7]])
def test_signs_agree_with_exact_integers(widths, bits, slope):
    net = chain(widths, 1, bits=bits, slope=slope)
    points = np.random.default_rng(2).normal(size=(37, widths[0]))
    points[:8] = np.round(points[:8])  # integer points make exact zeros of small weights
    points[8] = 0.0
    assert_exact(net, points)


@built
@on_device
def test_the_device_never_claims_a_wrong_sign_next_to_a_hyperplane():
    # Rows that nearly vanish on the points: x0 - x1 (1 + 2^-52) at x1 = x0 and one ulp beside it.
    one = 1 << 52
    net = ExactNet(
        2,
        (
            Affine(0, 2, ((one, -one - 1, 0), (one + 1, -one, 0)), (52, 52), (1, 1)),
            Units(1, ((0, 0), (0, 0))),
            Affine(2, 2, ((1, 1, 0),), (0,), (1,)),
        ),
    )
    x = np.random.default_rng(3).uniform(0.5, 2.0, 200)
    points = np.concatenate(
        [
            np.stack([x, x], 1),
            np.stack([x, np.nextafter(x, 3)], 1),
            np.stack([np.nextafter(x, 3), x], 1),
        ]
    )
    assert_exact(net, points)


@built
@on_device
@pytest.mark.parametrize("bits", [53, 80])
def test_the_device_decides_every_sign_of_generic_points_by_itself(bits):
    net = chain([4, 48, 48, 48, 20], 5, bits=bits)
    points = np.random.default_rng(6).normal(size=(100, 4))
    np.testing.assert_array_equal(cuda.claimed_signs(net, points), exact_signs(net, points))


@built
@on_device
def test_rounded_weights_do_not_flip_a_sign():
    # The exact sum is 1, the sum of the rounded weights is -2^27.
    up, down, double = 2**79 + 2**26 + 1, 2**79 + 2**26 - 1, 2**80 + 2**27 - 5
    row = (down, down, down, -up, -double, 0)
    net = ExactNet(
        5,
        (
            Affine(0, 5, (row,), (0,), (1,)),
            Units(1, ((0, 0),)),
            Affine(2, 1, ((1, 0),), (0,), (1,)),
        ),
    )
    assert sum(map(float, row)) == -(2.0**27)
    assert exact_signs(net, np.ones((1, 5))).tolist() == [[1]]
    assert_exact(net, np.ones((1, 5)))


@built
@on_device
def test_rounded_activations_do_not_flip_a_sign():
    # relu(x / 3) * 3 - 1 is 0 at x = 1; in float64 the product falls short of 1.
    net = ExactNet(
        1,
        (
            Affine(0, 1, ((1, 0),), (0,), (3,)),
            Units(1, ((0, 0),)),
            Affine(2, 1, ((3, -1),), (0,), (1,)),
            Units(3, ((0, 0),)),
            Affine(4, 1, ((1, 0),), (0,), (1,)),
        ),
    )
    assert exact_signs(net, np.ones((1, 1))).tolist() == [[1, 0]]
    assert_exact(net, np.ones((1, 1)))


@built
@on_device
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("slope", [(0, 0), (1, 3)], ids=["relu", "leaky"])
def test_a_long_sum_and_the_unit_after_it_stay_enclosed(side, slope):
    # Layer 0 is 1 - side (2^-60 + ... + 2^-60) - 1 + side 2^-45 = side 2^-45 (1 - 2^-5): rounding
    # towards zero or away from it, a thousand times, carries the sum across 0. Layer 1 tells the
    # exact value from everything else in the enclosure, its ends and its middle.
    terms = 1024
    row = (2**60, *[-side] * terms, -(2**60), side * 2**15)
    gain = 2**50 if side > 0 else -(2**53)
    net = ExactNet(
        terms + 2,
        (
            Affine(0, terms + 2, (row,), (60,), (1,)),
            Units(1, (slope,)),
            Affine(2, 1, ((gain, -20),), (0,), (1,)),
            Units(3, (slope,)),
            Affine(4, 1, ((1, 0),), (0,), (1,)),
        ),
    )
    points = np.ones((3, terms + 2))
    exact = [side, 1 if side > 0 or slope != (0, 0) else -1]
    assert exact_signs(net, points).tolist() == [exact] * 3
    assert_exact(net, points)


@built
@on_device
def test_overflow_on_the_way_is_undecided_not_wrong():
    from plverify import _cuda

    big = np.full((1, 1), 1e300)
    zeros = [np.zeros(1)] * 3
    points = np.array([[1.0], [-1.0]])
    signs = _cuda.activation_signs([big, big, -big], zeros, zeros, points)
    exact = np.array([[1, 1, -1], [-1, 0, 0]])
    np.testing.assert_array_equal(signs[:, 0], exact[:, 0])
    assert ((signs == exact) | (signs == 0)).all()
