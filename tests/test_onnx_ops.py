"""Every ONNX operator and its variants agree with onnxruntime at random points.

Weights and inputs are small dyadic numbers, so that everything but divisions is exact in the
runtime too: most comparisons are equalities.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import helper
from onnx_tools import agrees, eighths, f32, ints, model, node, save, tensor

from plverify.exact_array import ExactArray
from plverify.io.onnx import read_model
from plverify.nodes import Conv, Dense, Max, Sparse, Units


def one(op, shape, constants=(), opset=13, before=False, **attributes):
    """A model of one operator on the input (or on its ReLU) and constants."""
    names = [name for name, _ in constants]
    source = "r" if before else "x"
    nodes = [node("Relu", "x", out="r")] if before else []
    return model([*nodes, node(op, source, *names, **attributes)], shape, constants, opset=opset)


# ------------------------------------------------------------------- arithmetic

C234 = [("c", eighths(2, 3, 4))]
ARITHMETIC = {
    "Add": one("Add", [1, 2, 3, 4], C234),
    "Add that grows": one("Add", [1, 3, 1], [("c", eighths(2, 1, 4))]),
    "Add of a scalar": one("Add", [1, 5], [("c", np.float32(0.5))]),
    "Add from the left": model([node("Add", "c", "x")], [2, 3, 4], C234),
    "Add of itself": model([node("Add", "x", "x")], [1, 4]),
    "Add of itself, moved": model(
        [node("Transpose", "x", out="t", perm=[1, 0]), node("Add", "x", "t")], [3, 3]
    ),
    "Sub": one("Sub", [1, 2, 3, 4], C234),
    "Sub from a constant": model([node("Sub", "c", "x")], [2, 3, 4], C234),
    "Sub of itself": model([node("Sub", "x", "x")], [1, 4]),
    "Sub, broadcast": model(
        [node("Relu", "x", out="r"), node("Transpose", "r", out="t"), node("Sub", "t", "x")], [1, 3]
    ),
    "Neg": one("Neg", [1, 2, 3]),
    "Mul": one("Mul", [1, 2, 3, 4], C234),
    "Mul per channel": one("Mul", [1, 2, 3, 3], [("c", eighths(2, 1, 1))]),
    "Mul from the left": model([node("Mul", "c", "x")], [2, 3, 4], C234),
    "Mul by 0": one("Mul", [1, 4], [("c", np.float32(0))]),
    "Div by powers of two": one("Div", [1, 4], [("c", np.float32([2, 0.5, -4, 8]))]),
    "Sum": model(
        [node("Relu", "x", out="r"), node("Sum", "x", "r", "c")], [1, 4], [("c", eighths(4))]
    ),
    "Sum of one": model([node("Sum", "x")], [1, 4]),
}


@pytest.mark.parametrize("case", ARITHMETIC)
def test_arithmetic(tmp_path, case):
    agrees(tmp_path, ARITHMETIC[case])


def test_divisions_are_exact_fractions(tmp_path):
    divisor = np.float32([3, 0.3081, -7, 255])
    read = agrees(tmp_path, one("Div", [1, 4], [("c", divisor)]), rounding=2)
    got = read.network.exact([1, 1, 1, 1])
    assert got == [1 / Fraction(float(v)) for v in divisor]
    nodes = [node("Relu", "x", out="r"), node("Mean", "x", "r", "x")]
    read = agrees(tmp_path, model(nodes, [1, 2]), rounding=2)
    assert read.network.exact([1, -1]) == [1, Fraction(-2, 3)]


MATMULS = {
    "vector": ([3], (3, 4), True),
    "matrix": ([1, 3], (3, 4), True),
    "rows": ([2, 5, 3], (3, 4), True),
    "many rows": ([40, 3], (3, 4), True),
    "batch": ([2, 5, 3], (2, 3, 4), True),
    "batch of one": ([1, 5, 3], (2, 3, 4), True),
    "batch, broadcast": ([2, 1, 5, 3], (3, 3, 4), True),
    "by a vector": ([2, 5, 3], (3,), True),
    "left": ([3, 2], (4, 3), False),
    "left, many": ([3, 40], (4, 3), False),
    "left, batch": ([2, 3, 5], (2, 4, 3), False),
    "left, broadcast": ([3, 5], (2, 4, 3), False),
    "left, vector": ([3], (2, 4, 3), False),
    "left by a vector": ([2, 3, 5], (3,), False),
}


@pytest.mark.parametrize("case", MATMULS)
def test_matmul_of_all_ranks(tmp_path, case):
    shape, weight, first = MATMULS[case]
    names = "xw" if first else "wx"
    agrees(tmp_path, model([node("MatMul", *names)], shape, [("w", eighths(*weight))]))
    relu = [node("Relu", "x", out="r"), node("MatMul", *names.replace("x", "r"))]
    agrees(tmp_path, model(relu, shape, [("w", eighths(*weight))]))


@pytest.mark.parametrize("c", ["x", "r"])
def test_gemm_with_a_computed_c_is_a_residual(tmp_path, c):
    nodes = [node("Relu", "x", out="r"), node("Gemm", "r", "w", c, alpha=0.5, beta=2.0, transB=1)]
    agrees(tmp_path, model(nodes, [2, 3], [("w", eighths(3, 3))]))
    nodes = [node("Relu", "x", out="r"), node("Gemm", "w", "r", c, alpha=0.5, transB=1)]
    agrees(tmp_path, model(nodes, [3, 3], [("w", eighths(3, 3))]))


# ---------------------------------------------------------------- convolutions


def conv(shape, weight, bias=True, op="Conv", opset=13, **attributes):
    kernels = weight[0] if op == "Conv" else weight[1] * attributes.get("group", 1)
    constants = [("w", eighths(*weight))] + ([("b", eighths(kernels))] if bias else [])
    return one(op, shape, constants, opset, **attributes)


CONVS = {
    "1-D": conv([1, 2, 7], (3, 2, 3)),
    "2-D": conv([1, 2, 5, 6], (3, 2, 3, 2)),
    "3-D": conv([1, 2, 3, 4, 3], (2, 2, 2, 2, 2), strides=[1, 2, 1], pads=[1, 0, 0, 0, 1, 1]),
    "1x1": conv([1, 3, 2, 2], (4, 3, 1, 1)),
    "no bias, opset 7": conv([1, 2, 5, 5], (3, 2, 3, 3), bias=False, opset=7),
    "opset 23": conv([1, 2, 5, 5], (3, 2, 3, 3), opset=22),
    "stride": conv([1, 2, 7, 8], (2, 2, 3, 3), strides=[2, 3]),
    "pads of four sizes": conv([1, 1, 4, 4], (2, 1, 3, 3), pads=[0, 1, 2, 1]),
    "dilations": conv([1, 1, 7, 7], (1, 1, 3, 2), dilations=[2, 3], pads=[1, 1, 1, 1]),
    "groups": conv([1, 4, 4, 4], (6, 2, 2, 2), group=2),
    "depthwise": conv([1, 3, 4, 4], (3, 1, 3, 3), group=3, pads=[1, 1, 1, 1]),
    "depthwise, more kernels": conv([1, 3, 4, 4], (6, 1, 3, 3), group=3),
    "same upper": conv([1, 1, 5, 6], (1, 1, 3, 2), auto_pad="SAME_UPPER", strides=[2, 1]),
    "same lower": conv([1, 1, 5, 6], (1, 1, 2, 4), auto_pad="SAME_LOWER", strides=[2, 3]),
    "valid": conv([1, 1, 5, 6], (1, 1, 3, 3), auto_pad="VALID"),
    "kernel_shape": conv([1, 1, 5, 6], (1, 1, 3, 2), kernel_shape=[3, 2]),
    "kernel as large as the input": conv([1, 2, 3, 3], (5, 2, 3, 3)),
    "batch": conv([3, 2, 4, 4], (3, 2, 3, 3), pads=[1, 1, 1, 1]),
    "batch, groups": conv([2, 4, 3], (4, 2, 2), group=2),
}
TRANSPOSED = {
    "1-D": conv([1, 2, 4], (2, 3, 3), op="ConvTranspose"),
    "2-D": conv([1, 2, 3, 4], (2, 3, 2, 3), op="ConvTranspose"),
    "3-D": conv([1, 2, 2, 3, 2], (2, 1, 2, 2, 2), op="ConvTranspose", strides=[2, 1, 2]),
    "no bias": conv([1, 2, 3, 3], (2, 2, 2, 2), False, op="ConvTranspose", opset=7),
    "stride": conv([1, 2, 3, 3], (2, 2, 3, 3), op="ConvTranspose", strides=[2, 3]),
    "pads": conv([1, 2, 4, 4], (2, 2, 3, 3), op="ConvTranspose", strides=[2, 2], pads=[1, 0, 1, 2]),
    "output padding": conv(
        [1, 2, 3, 3],
        (2, 2, 3, 3),
        op="ConvTranspose",
        strides=[3, 2],
        pads=[1, 1, 1, 1],
        output_padding=[2, 1],
    ),
    "dilations": conv([1, 1, 3, 3], (1, 2, 3, 2), op="ConvTranspose", dilations=[2, 3]),
    "groups": conv([1, 4, 3, 3], (4, 3, 2, 2), op="ConvTranspose", group=2, strides=[2, 2]),
    "output shape": conv(
        [1, 1, 3, 3], (1, 1, 4, 4), op="ConvTranspose", strides=[2, 2], output_shape=[5, 6]
    ),
    "same upper": conv(
        [1, 1, 3, 4], (1, 1, 3, 3), op="ConvTranspose", strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "same lower": conv(
        [1, 1, 3, 4], (1, 1, 4, 3), op="ConvTranspose", strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "batch": conv([2, 2, 3, 3], (2, 3, 2, 2), op="ConvTranspose", strides=[2, 2]),
}


@pytest.mark.parametrize("case", CONVS)
def test_conv(tmp_path, case):
    read = agrees(tmp_path, CONVS[case])
    assert any(isinstance(n, Conv) for n in read.network.nodes)
    assert not any(isinstance(n, Dense) for n in read.network.nodes)


@pytest.mark.parametrize("case", TRANSPOSED)
def test_conv_transpose(tmp_path, case):
    read = agrees(tmp_path, TRANSPOSED[case])
    assert any(isinstance(n, Conv) for n in read.network.nodes)


def test_output_of_a_transposed_convolution_beyond_its_kernel_is_refused(tmp_path):
    proto = conv([1, 1, 3, 3], (1, 1, 2, 2), op="ConvTranspose", output_shape=[9, 9])
    with pytest.raises(ValueError, match="larger than what the kernel reaches"):
        agrees(tmp_path, proto)


# ----------------------------------------------------------- batch normalisation


def norm_constants(channels):
    return [
        ("scale", f32(channels)),
        ("bias", f32(channels)),
        ("mean", f32(channels)),
        ("var", np.abs(f32(channels)) + np.float32(0.1)),
    ]


@pytest.mark.parametrize("opset", [7, 9, 13, 15])
@pytest.mark.parametrize("shape", [[1, 3], [1, 3, 4], [1, 3, 2, 2]])
def test_batch_norm(tmp_path, opset, shape):
    proto = one("BatchNormalization", shape, norm_constants(3), opset, epsilon=1e-3)
    agrees(tmp_path, proto, rounding=200)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_batch_norm_folds_into_the_convolution_before_it(tmp_path, op):
    constants = [("w", eighths(3, 2, 2, 2) if op == "Conv" else eighths(2, 3, 2, 2))]
    constants += norm_constants(3)
    nodes = [
        node(op, "x", "w", out="c"),
        node("BatchNormalization", "c", "scale", "bias", "mean", "var", out="n"),
        node("Relu", "n"),
    ]
    read = agrees(tmp_path, model(nodes, [1, 2, 4, 4], constants), rounding=400)
    assert [type(n) for n in read.network.nodes][:2] == [Conv, Units]


def test_the_scale_of_a_batch_norm_is_the_nearest_float64(tmp_path):
    constants = norm_constants(4)
    gamma, beta, mean, var = (array.astype(np.float64).tolist() for _, array in constants)
    proto = one("BatchNormalization", [1, 4], constants, 15, epsilon=1e-5)
    read = agrees(tmp_path, proto, rounding=200)
    eps = Fraction(float(np.float32(1e-5)))
    x = [Fraction(1, 3), Fraction(2), Fraction(-7, 5), Fraction(0)]
    for c, got in enumerate(read.network.exact(x)):
        scale = (got - Fraction(beta[c])) / (x[c] - Fraction(mean[c]))
        assert Fraction(float(scale)) == scale
        assert (scale > 0) == (gamma[c] > 0)
        # |scale| is nearest: the root lies between the middles to both neighbours.
        square = Fraction(gamma[c]) ** 2 / (Fraction(var[c]) + eps)
        above, below = np.nextafter(abs(float(scale)), np.inf), np.nextafter(abs(float(scale)), 0.0)
        assert ((abs(scale) + Fraction(below)) / 2) ** 2 <= square
        assert square <= ((abs(scale) + Fraction(above)) / 2) ** 2
    assert any("batch normalisation" in text for text in read.network.definitions)


# ---------------------------------------------------------------------- pooling


def pool(op, shape, kernel, opset=13, **attributes):
    return one(op, shape, opset=opset, kernel_shape=kernel, **attributes)


AUTO = {"shape": [1, 1, 5, 6], "kernel": [2, 3], "strides": [2, 2]}
WINDOWS = {
    "1-D": {"shape": [1, 2, 7], "kernel": [3]},
    "2-D": {"shape": [1, 2, 4, 6], "kernel": [2, 2], "strides": [2, 2]},
    "3-D": {"shape": [1, 1, 3, 4, 4], "kernel": [2, 2, 2], "strides": [1, 2, 2]},
    "overlapping": {"shape": [1, 1, 5, 5], "kernel": [3, 3], "strides": [2, 2]},
    "pads": {"shape": [1, 2, 4, 4], "kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "pads of four sizes": {"shape": [1, 1, 4, 5], "kernel": [3, 3], "pads": [0, 2, 1, 1]},
    "ceil": {"shape": [1, 1, 5, 6], "kernel": [2, 2], "strides": [2, 4], "ceil_mode": 1},
    "ceil, pads": {
        "shape": [1, 1, 6, 5],
        "kernel": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "ceil_mode": 1,
    },
    "same upper": {
        "shape": [1, 1, 5, 6],
        "kernel": [2, 3],
        "strides": [2, 2],
        "auto_pad": "SAME_UPPER",
    },
    "same lower": {
        "shape": [1, 1, 5, 6],
        "kernel": [2, 3],
        "strides": [2, 2],
        "auto_pad": "SAME_LOWER",
    },
    "valid": {"shape": [1, 1, 5, 6], "kernel": [2, 3], "strides": [2, 2], "auto_pad": "VALID"},
    "one entry": {"shape": [1, 2, 5, 5], "kernel": [1, 1], "strides": [2, 2]},
    "batch": {"shape": [2, 2, 4, 4], "kernel": [2, 2], "strides": [2, 2]},
}


@pytest.mark.parametrize("case", WINDOWS)
def test_max_pool(tmp_path, case):
    read = agrees(tmp_path, pool("MaxPool", opset=12, **WINDOWS[case]))
    assert any(isinstance(n, Max) for n in read.network.nodes) == (case != "one entry")


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 1, 2]])
def test_max_pool_with_dilations(tmp_path, pads):
    proto = pool("MaxPool", [1, 1, 7, 8], [2, 3], dilations=[2, 3], pads=pads)
    agrees(tmp_path, proto)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("case", WINDOWS)
def test_average_pool(tmp_path, case, count):
    opset = 19 if "ceil" in case else 11
    proto = pool("AveragePool", opset=opset, count_include_pad=count, **WINDOWS[case])
    agrees(tmp_path, proto, rounding=8)


@pytest.mark.parametrize("count", [0, 1])
def test_average_pool_with_dilations(tmp_path, count):
    attributes = {"dilations": [2, 1], "pads": [1, 1, 1, 1], "count_include_pad": count}
    proto = pool("AveragePool", [1, 1, 6, 5], [2, 3], opset=19, **attributes)
    agrees(tmp_path, proto, rounding=8)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path, op):
    agrees(tmp_path, one(op, [1, 3, 3, 5]), rounding=8)
    agrees(tmp_path, one(op, [1, 3, 7], before=True), rounding=8)


def test_averages_are_exact_fractions(tmp_path):
    read = agrees(tmp_path, pool("AveragePool", [1, 1, 3], [3]), rounding=4)
    assert read.network.exact([1, 0, 1]) == [Fraction(2, 3)]


# ------------------------------------------------------------------------ units

UNITS = {
    "Relu": (one("Relu", [1, 5]), 5),
    "Abs": (one("Abs", [1, 5]), 5),
    "LeakyRelu": (one("LeakyRelu", [1, 5], alpha=0.25), 5),
    "LeakyRelu, steep": (one("LeakyRelu", [1, 5], alpha=-2.0), 5),
    "PRelu, one slope": (one("PRelu", [1, 2, 3], [("s", np.float32([0.25]))]), 6),
    "PRelu per channel": (one("PRelu", [1, 3, 2, 2], [("s", eighths(3, 1, 1))]), 12),
    "PRelu per entry": (one("PRelu", [1, 2, 3], [("s", eighths(2, 3))]), 6),
    "Clip, attributes": (one("Clip", [1, 5], opset=6 + 1, min=-1.0, max=0.5), 10),
    "Clip, attribute": (one("Clip", [1, 5], opset=9, max=0.5), 5),
    "Clip, inputs": (
        one("Clip", [1, 5], [("lo", np.float32(-1)), ("hi", np.float32(0.5))], 11),
        10,
    ),
    "Clip, min": (one("Clip", [1, 5], [("lo", np.float32(-1))]), 5),
    "Clip, max": (model([node("Clip", "x", "", "hi")], [1, 5], [("hi", np.float32(0.5))]), 5),
    "Clip, infinite": (
        one("Clip", [1, 5], [("lo", np.float32(-np.inf)), ("hi", np.float32(np.inf))]),
        0,
    ),
    "Clip, nothing": (one("Clip", [1, 5]), 0),
    "Max with a constant": (one("Max", [1, 5], [("c", eighths(5))]), 5),
    "Max of one": (one("Max", [1, 5]), 0),
    "Max of itself": (model([node("Max", "x", "x")], [1, 5]), 0),
    "Min with a constant": (one("Min", [1, 1], [("c", eighths(2, 3))]), 6),
    "ReduceMax": (one("ReduceMax", [1, 3, 4], axes=[1]), 4),
    "ReduceMax, all": (one("ReduceMax", [1, 3, 4], keepdims=0), 1),
    "ReduceMin": (one("ReduceMin", [1, 3, 4], axes=[-1], keepdims=0), 3),
}


@pytest.mark.parametrize("case", UNITS)
def test_units(tmp_path, case):
    proto, count = UNITS[case]
    assert agrees(tmp_path, proto).network.unit_count == count


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("shape", [[1, 4], [2, 3]])
def test_maximum_and_minimum_of_computed_values(tmp_path, op, shape):
    w = eighths(shape[1], shape[1])
    first = [node("MatMul", "x", "w", out="a"), node("Neg", "x", out="b")]
    read = agrees(tmp_path, model([*first, node(op, "a", "b")], shape, [("w", w)]))
    assert read.network.unit_count == np.prod(shape)
    three = node(op, "a", "b", "x", "c")
    constants = [("w", w), ("c", np.float32(0.5))]
    read = agrees(tmp_path, model([*first, three], shape, constants))
    assert read.network.unit_count == 2 * np.prod(shape)
    row = [node("Split", "x", out=["p", "q"], axis=0), node(op, "p", "x")]
    agrees(tmp_path, model(row, [2, 3]))


def test_clip_with_the_bounds_the_wrong_way_round_is_constant(tmp_path):
    proto = one("Clip", [1, 3], [("lo", np.float32(1)), ("hi", np.float32(-1))])
    agrees(tmp_path, proto)


def test_units_act_on_what_is_read_and_on_nothing_else(tmp_path):
    nodes = [
        node("MatMul", "x", "w", out="z"),
        node("Slice", "z", "from", "to", "axis", out="s"),
        node("Relu", "s"),
    ]
    constants = [("w", eighths(3, 6)), ("from", ints(1)), ("to", ints(5)), ("axis", ints(1))]
    net = agrees(tmp_path, model(nodes, [1, 3], constants)).network
    assert net.widths == (4,)
    assert [type(n) for n in net.nodes] == [Dense, Units, Dense]
    turned = [node("Transpose", "x", out="t"), node("Relu", "t")]
    assert agrees(tmp_path, model(turned, [3, 2])).network.unit_count == 6
    grown = [node("Expand", "x", "shape", out="e"), node("Relu", "e")]
    assert agrees(tmp_path, model(grown, [1, 2], [("shape", ints(3, 2))])).network.unit_count == 2


# ----------------------------------------------------------------- moving about

WIDE = np.iinfo(np.int64).max
MOVES = {
    "Flatten": one("Flatten", [2, 3, 4]),
    "Flatten, axis 0": one("Flatten", [2, 3, 4], axis=0),
    "Flatten, last axis": one("Flatten", [2, 3, 4], axis=-1),
    "Reshape": one("Reshape", [2, 3, 4], [("s", ints(0, -1, 2))]),
    "Reshape, allowzero": one("Reshape", [2, 3, 4], [("s", ints(4, 6))], 14, allowzero=1),
    "Reshape to a scalar": one("Reshape", [1], [("s", np.zeros(0, np.int64))]),
    "Transpose": one("Transpose", [2, 3, 4], perm=[2, 0, 1]),
    "Transpose, default": one("Transpose", [2, 3, 4]),
    "Squeeze": one("Squeeze", [1, 2, 1, 3]),
    "Squeeze, attribute": one("Squeeze", [1, 2, 1, 3], opset=11, axes=[-2]),
    "Squeeze, input": one("Squeeze", [1, 2, 1, 3], [("a", ints(0, 2))]),
    "Unsqueeze, attribute": one("Unsqueeze", [2, 3], opset=11, axes=[0, 3]),
    "Unsqueeze, input": one("Unsqueeze", [2, 3], [("a", ints(-1, 1))]),
    "Slice, attributes": one("Slice", [4, 5], opset=9, starts=[1, -3], ends=[3, WIDE]),
    "Slice, attributes, axes": one("Slice", [4, 5], opset=9, starts=[1], ends=[-1], axes=[1]),
    "Slice": one("Slice", [4, 5], [("s", ints(1)), ("e", ints(WIDE)), ("a", ints(-1))]),
    "Slice, step": one(
        "Slice", [6, 5], [("s", ints(1)), ("e", ints(6)), ("a", ints(0)), ("t", ints(2))]
    ),
    "Slice, backwards": one(
        "Slice",
        [6, 5],
        [("s", ints(WIDE, 3)), ("e", ints(-WIDE, 0)), ("a", ints(0, 1)), ("t", ints(-1, -2))],
    ),
    "Gather": one("Gather", [4, 3], [("i", ints(2, 0, -1))]),
    "Gather, one": one("Gather", [4, 3], [("i", np.array(1, np.int64))], axis=1),
    "Gather, a table": one("Gather", [4, 3], [("i", np.array([[0, 2], [1, 1]]))], axis=1),
    "Gather, int32": one("Gather", [4, 3], [("i", np.array([3], np.int32))]),
    "Expand": one("Expand", [3, 1], [("s", ints(2, 1, 4))]),
    "Tile": one("Tile", [2, 3], [("r", ints(2, 2))]),
    "Identity": one("Identity", [2, 3]),
    "Dropout": one("Dropout", [2, 3], opset=11, ratio=0.5),
    "Dropout, inputs": one(
        "Dropout", [2, 3], [("r", np.float32(0.5)), ("t", np.array(False))], opset=13
    ),
    "DepthToSpace": one("DepthToSpace", [1, 8, 2, 3], blocksize=2),
    "DepthToSpace, CRD": one("DepthToSpace", [1, 8, 2, 3], blocksize=2, mode="CRD"),
    "SpaceToDepth": one("SpaceToDepth", [1, 2, 4, 6], blocksize=2),
    "Pad": one("Pad", [1, 2, 3], [("p", ints(0, 1, 2, 0, 0, 1))]),
    "Pad, attributes": one("Pad", [1, 2, 3], opset=9, pads=[0, 1, 2, 0, 0, 1], value=0.5),
    "Pad, value": one("Pad", [1, 2, 3], [("p", ints(0, 1, 2, 0, 0, 1)), ("v", np.float32(-2))]),
    "Pad, negative": one("Pad", [1, 4, 5], [("p", ints(0, -1, 2, 0, 1, -2))]),
    "Pad, reflect": one("Pad", [1, 3, 4], [("p", ints(0, 1, 2, 0, 2, 3))], mode="reflect"),
    "Pad, edge": one("Pad", [1, 3, 4], [("p", ints(0, 1, 2, 0, 2, 3))], mode="edge"),
    "Pad, axes": model(
        [node("Pad", "x", "p", "", "a")],
        [1, 3, 4],
        [("p", ints(1, 2)), ("a", ints(-1))],
        opset=18,
    ),
    "Concat with itself": model([node("Concat", "x", "x", axis=1)], [2, 3]),
    "Concat with a constant": model(
        [node("Concat", "c", "x", axis=-1)], [2, 3], [("c", eighths(2, 2))]
    ),
    "Concat of values": model(
        [
            node("Relu", "x", out="r"),
            node("Neg", "x", out="n"),
            node("Concat", "n", "x", "r", axis=0),
        ],
        [2, 3],
    ),
    "ReduceSum, attribute": one("ReduceSum", [2, 3, 4], opset=11, axes=[1]),
    "ReduceSum, input": one("ReduceSum", [2, 3, 4], [("a", ints(0, -1))], keepdims=0),
    "ReduceSum, all": one("ReduceSum", [2, 3, 4]),
    "ReduceSum, no axes": one(
        "ReduceSum", [2, 3], [("a", np.zeros(0, np.int64))], noop_with_empty_axes=1
    ),
    "ReduceMean, attribute": one("ReduceMean", [2, 4, 4], opset=13, axes=[1, 2]),
    "ReduceMean, input": one("ReduceMean", [2, 4, 4], [("a", ints(-1))], opset=18, keepdims=0),
    "Cast": one("Cast", [2, 3], to=11),
    "Shape, unused": model([node("Shape", "x", out="s"), node("Reshape", "x", "s")], [2, 3]),
}


@pytest.mark.parametrize("case", MOVES)
def test_moving_about(tmp_path, case):
    agrees(tmp_path, MOVES[case])
    proto = MOVES[case]
    # The same behind a layer: positions are those of a computed tensor.
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    last = [node("Identity", "x0", out="x1"), node("Abs", "x1", out="x")]
    moved = model([*last, *proto.graph.node], shape, opset=proto.opset_import[0].version)
    moved.graph.initializer.extend(proto.graph.initializer)
    moved.graph.input[0].name = "x0"
    agrees(tmp_path, moved)


@pytest.mark.parametrize(
    ("opset", "constants", "attributes", "count"),
    [
        (11, [], {"axis": 1}, 2),
        (11, [], {"axis": 1, "split": [1, 4, 1]}, 3),
        (13, [("s", ints(5, 1))], {"axis": -1}, 2),
        (13, [], {"axis": 0}, 2),
        (18, [], {"axis": 1, "num_outputs": 4}, 4),
    ],
)
def test_split(tmp_path, opset, constants, attributes, count):
    outs = [f"p{k}" for k in range(count)]
    names = [name for name, _ in constants]
    nodes = [
        node("Split", "x", *names, out=outs, **attributes),
        node("Relu", outs[-1], out="r"),
        node("Concat", *outs[:-1], "r", axis=attributes["axis"]),
    ]
    agrees(tmp_path, model(nodes, [2, 6 if opset < 18 else 7], constants, opset=opset))


# -------------------------------------------------------------- constant folding


def test_shape_arithmetic_is_folded(tmp_path):
    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "zero", out="n"),
        node("Unsqueeze", "n", "zeros", out="n1"),
        node("Mul", "two", "three", out="six"),
        node("Div", "six", "minus", out="quotient"),
        node("Add", "quotient", "two", out="back"),
        node("Mod", "six", "four", out="two2"),
        node("Sub", "two2", "three", out="minus1"),
        node("Concat", "n1", "minus1", axis=0, out="target"),
        node("Reshape", "x", "target", out="flat"),
        node("ConstantOfShape", "n1", out="fill", value=tensor("", np.float32([0.5]))),
        node("Add", "flat", "fill", out="z"),
        node("Range", "zero", "six0", "one0", out="range"),
        node("Cast", "range", out="floats", to=1),
        node("Cast", "back", out="noughts", to=1),
        node("Add", "floats", "noughts", out="shift"),
        node("Where", "mask", "shift", "floats", out="chosen"),
        node("Expand", "chosen", "one", out="wide"),
        node("Mul", "z", "wide"),
    ]
    constants = [
        ("zero", np.array(0)),
        ("zeros", ints(0)),
        ("two", ints(2)),
        ("three", ints(3)),
        ("four", ints(4)),
        ("minus", ints(-4)),
        ("six0", np.array(6)),
        ("one0", np.array(1)),
        ("one", ints(1)),
        ("mask", np.array([True, False] * 3)),
    ]
    agrees(tmp_path, model(nodes, ["n", 2, 3], constants))


FOLDED = {
    "Abs": ["c"], "Add": ["c", "d"], "Ceil": ["c"], "Div": ["c", "d"], "Exp": ["c"],
    "Floor": ["c"], "MatMul": ["c", "d"], "Max": ["c", "d", "c"], "Mean": ["c", "d"],
    "Min": ["c", "d"], "Mul": ["c", "d"], "Neg": ["c"], "Pow": ["e", "d"], "Reciprocal": ["d"],
    "Relu": ["c"], "Sqrt": ["e"], "Log": ["e"], "Sub": ["c", "d"], "Sum": ["c", "d", "e"],
    "ReduceSum": ["c"], "ReduceMean": ["c"], "ReduceMax": ["c"], "ReduceMin": ["c"],
    "ReduceProd": ["c"], "Transpose": ["c"], "Flatten": ["c"], "Identity": ["c"],
    "Gemm": ["c", "d", "e"],
}  # fmt: skip


@pytest.mark.parametrize("op", FOLDED)
def test_constants_are_folded(tmp_path, op):
    c, d = f32(3, 3), np.abs(f32(3, 3)) + np.float32(0.5)
    nodes = [node(op, *FOLDED[op], out="k"), node("Mul", "x", "k")]
    constants = [("c", c), ("d", d), ("e", d.T.copy())]
    read = agrees(tmp_path, model(nodes, [3, 3], constants), rounding=64)
    rounds = op not in ("Abs", "Ceil", "Floor", "Max", "Min", "Neg", "Relu", "ReduceMax")
    rounds &= op not in ("ReduceMin", "Transpose", "Flatten", "Identity")
    assert bool(read.network.definitions) == rounds


def test_comparisons_fold_too(tmp_path):
    c, d = eighths(3), eighths(3)
    for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        nodes = [
            node(op, "c", "d", out="k"),
            node("Not", "k", out="n"),
            node("Or", "n", "n", out="o"),
            node("And", "o", "n", out="p"),
            node("Where", "p", "c", "d", out="w"),
            node("Add", "x", "w"),
        ]
        agrees(tmp_path, model(nodes, [3], [("c", c), ("d", d)], opset=16))


# ------------------------------------------------------------- whole small nets


def test_a_residual_network(tmp_path):
    w = [eighths(2, 2, 3, 3) for _ in range(2)]
    nodes = [
        node("Conv", "x", "w0", out="a", pads=[1, 1, 1, 1]),
        node("Relu", "a", out="b"),
        node("Conv", "b", "w1", out="c", pads=[1, 1, 1, 1]),
        node("Add", "c", "x", out="d"),
        node("Relu", "d", out="e"),
        node("GlobalAveragePool", "e", out="f"),
        node("Flatten", "f"),
    ]
    read = agrees(tmp_path, model(nodes, [1, 2, 4, 4], [("w0", w[0]), ("w1", w[1])]), rounding=8)
    kinds = [type(n) for n in read.network.nodes]
    assert kinds == [Conv, Units, Conv, Sparse, Units, Sparse]


def test_a_concatenating_network(tmp_path):
    nodes = [
        node("Conv", "x", "w0", out="a"),
        node("Relu", "a", out="b"),
        node("MaxPool", "x", out="c", kernel_shape=[2, 2]),
        node("Concat", "b", "c", out="d", axis=1),
        node("Conv", "d", "w1", out="e"),
        node("Flatten", "e"),
    ]
    constants = [("w0", eighths(2, 1, 2, 2)), ("w1", eighths(2, 3, 2, 2))]
    agrees(tmp_path, model(nodes, [1, 1, 4, 4], constants))


def test_pads_and_shuffles_before_convolutions_and_pools_fold(tmp_path):
    pad = [("p", ints(0, 0, 1, 1, 0, 0, 1, 2))]
    nodes = [node("Pad", "x", "p", out="z"), node("Conv", "z", "w")]
    read = agrees(tmp_path, model(nodes, [1, 2, 3, 4], [*pad, ("w", eighths(2, 2, 2, 2))]))
    assert [type(n) for n in read.network.nodes] == [Conv]
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 1, 3, 2]),
        node("MaxPool", "t", out="m", kernel_shape=[2, 2]),
        node("Transpose", "m", perm=[0, 1, 3, 2]),
    ]
    read = agrees(tmp_path, model(nodes, [1, 2, 3, 4]))
    assert isinstance(read.network.nodes[0], Max)


def test_a_network_of_another_layout_needs_one_gather(tmp_path):
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 3, 1, 2]),
        node("Conv", "t", "w", "b", out="c"),
        node("Relu", "c", out="r"),
        node("Transpose", "r", out="u", perm=[0, 2, 3, 1]),
        node("Reshape", "u", "s", out="f"),
        node("MatMul", "f", "v"),
    ]
    constants = [("w", eighths(3, 2, 2, 2)), ("b", eighths(3)), ("s", ints(-1, 18))]
    constants.append(("v", eighths(18, 2)))
    read = agrees(tmp_path, model(nodes, [1, 3, 4, 2], constants))
    assert [type(n) for n in read.network.nodes] == [Sparse, Conv, Units, Dense]


def test_several_inputs_and_outputs_are_joined(tmp_path):
    nodes = [
        node("Add", "x", "u", out="a"),
        node("Relu", "a", out="b"),
        node("MatMul", "b", "w", out="c"),
    ]
    proto = model(nodes, [1, 2], [("w", eighths(2, 3))], output=["c", "b"], inputs=("x", "u"))
    read = agrees(tmp_path, proto)
    assert (read.network.input_size, read.network.output_size) == (4, 5)
    assert [i.start for i in read.inputs] == [0, 2]
    assert any("'x', 'u' are joined" in text for text in read.network.definitions)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "ArgMax"])
@pytest.mark.parametrize("behind", [False, True])
def test_the_end_is_dropped_with_a_notice(tmp_path, op, behind):
    attributes = {"axis": 1}
    last = [node(op, "z", out="y" if not behind else "s", name="last", **attributes)]
    if behind:
        last.append(node("Identity", "s"))
    proto = model([node("MatMul", "x", "w", out="z"), *last], [1, 3], [("w", eighths(3, 4))])
    if op == "ArgMax":
        proto.graph.output[0].type.tensor_type.elem_type = 7
    proto.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    del proto.graph.output[0]
    only_z = agrees(tmp_path, proto).network
    proto.graph.output[0].name = "y"
    if op == "ArgMax":
        proto.graph.output[0].type.tensor_type.elem_type = 7
    read = read_model(str(save(tmp_path, proto)))
    assert read.network == only_z
    assert read.outputs == ("z",)
    assert any("'last'" in text and "dropped" in text for text in read.network.definitions)


def test_exactness_of_a_chain_through_a_convolution(tmp_path):
    w, b = f32(2, 1, 2, 2), f32(2)
    proto = one("Conv", [1, 1, 3, 3], [("w", w), ("b", b)])
    net = agrees(tmp_path, proto, rounding=16).network
    x = f32(3, 3)
    fx, fw, fb = (ExactArray(np.asarray(v, np.float64)).fractions() for v in (x, w, b))
    want = [
        (fw[o, 0] * fx[i : i + 2, j : j + 2]).sum() + fb[o]
        for o in range(2)
        for i in range(2)
        for j in range(2)
    ]
    assert net.exact(x.reshape(-1)) == want
