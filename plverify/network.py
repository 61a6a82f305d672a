"""`Network`: one exact piecewise-linear function, immutable; and `load`, which reads one.

The weights are kept as canonical exact rows (`plverify.exact_array`); the bytes of the canonical
form, its SHA-256 and the plain-integer `ExactNet` are made when first asked for. Floating point is
used in two ways only: `Network.__call__` evaluates in float64 like everybody else, and
`Network.pattern` decides signs in float64 *with a rigorous running error bound*; where the bound
does not decide, the exact integers do. There is no tolerance.

>>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.0]])    # |x|
>>> net
<Network 1-2-1, 2 units>
>>> net([-3.0])
array([3.])
>>> net.pattern([-3.0])
array([False,  True])
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows, FloatArray, exact_number, join_columns
from plverify.exact_net import MAGIC, Affine, ExactNet, pack_ints

Slopes = tuple[tuple[int, int], ...]
"""One dyadic slope ``(num, shift)`` per unit of a layer."""

_U = 2.0**-53
_TINY = 2.0**-1000
_BATCH = 1024


@dataclass(frozen=True)
class AffineMap:
    """The affine map ``f(x) = J x + c`` of one region; unpacks as ``J, c``.

    Attributes
    ----------
    J : (m, n) array
    c : (m,) array
        float64, or Fractions where the exact map was asked for.
    pattern : (units,) bool array
        The region's activation pattern.
    on_boundary : bool
        Whether the point lies on the region's boundary, so that other maps agree with it there.
    """

    J: NDArray[Any]
    c: NDArray[Any]
    pattern: NDArray[np.bool_]
    on_boundary: bool

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter((self.J, self.c))


class Network:
    """A chain ``affine, units, affine, ..., affine`` with exact weights.

    Make one with `Network.from_arrays`, `Network.from_exact` or `load`. Two networks are equal when
    their canonical bytes are.

    Parameters
    ----------
    affines : sequence of ExactRows
        Canonical rows, bias last.
    slopes : sequence of slopes ``(num, shift)`` per unit, one sequence per hidden layer
    definitions : sequence of str
        How constants that are not taken exactly were rounded, one sentence each.
    input_shape : tuple of int, optional
        Shape of one input as its file states it, batch dimension included.

    Raises
    ------
    InputError
        If sizes do not fit.
    """

    def __init__(
        self,
        affines: Sequence[ExactRows],
        slopes: Sequence[Slopes],
        *,
        definitions: Sequence[str] = (),
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        if len(affines) != len(slopes) + 1:
            raise InputError(f"{len(affines)} affine maps do not fit {len(slopes)} layers of units")
        for k, (a, b) in enumerate(pairwise(affines)):
            if b.cols != a.rows:
                raise InputError(f"affine map {k + 1} reads {b.cols} values, {a.rows} are there")
        for k, (a, s) in enumerate(zip(affines, slopes, strict=False)):
            if len(s) != a.rows:
                raise InputError(f"layer {k} has {len(s)} units for {a.rows} values")
        if min(a.rows for a in affines) < 1 or affines[0].cols < 1:
            raise InputError("a network needs at least one input, one output and no empty layer")
        self._affines = tuple(affines)
        self._slopes = tuple(tuple(layer) for layer in slopes)
        self.definitions = tuple(definitions)
        self.input_shape = input_shape or (affines[0].cols,)

    # ------------------------------------------------------------------ making

    @staticmethod
    def from_arrays(
        weights: Sequence[Any],
        biases: Sequence[Any] | None = None,
        slope: Any = 0.0,
        *,
        definitions: Sequence[str] = (),
    ) -> Network:
        """A network with ReLU (or LeakyReLU) units between the layers, ``y = W x + b``.

        Parameters
        ----------
        weights : sequence of (m, n) arrays
            Floats of any width are taken as the dyadic rationals they are; ints, Fractions,
            Decimals and decimal strings exactly as written.
        biases : sequence of (m,) arrays, optional
            An entry may be None; default zeros.
        slope : number, or one number or vector of numbers per hidden layer
            The slope of the units at ``z <= 0``; it must be dyadic.

        Raises
        ------
        InputError
            On shapes that do not fit, NaN or infinity; names the tensor.

        >>> Network.from_arrays([[[2]]], [["0.1"]]).exact([1])
        [Fraction(21, 10)]
        """
        count = len(weights)
        if not count:
            raise InputError("weights is empty, expected at least one matrix")
        biases = [None] * count if biases is None else biases
        if len(biases) != count:
            raise InputError(f"{len(biases)} biases do not fit {count} weight matrices")
        affines: list[ExactRows] = []
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            matrix = ExactArray(weight, f"W{k}")
            wanted = f"(*, {affines[-1].rows})" if affines else "(*, n)"
            if len(matrix.shape) != 2 or (affines and matrix.shape[1] != affines[-1].rows):
                raise InputError(f"W{k} has shape {matrix.shape}, expected {wanted}")
            if 0 in matrix.shape:
                raise InputError(f"W{k} has shape {matrix.shape}, expected no empty dimension")
            m = matrix.shape[0]
            column = ExactArray(np.zeros(m) if bias is None else bias, f"b{k}")
            if column.shape != (m,):
                raise InputError(f"b{k} has shape {column.shape}, expected ({m},)")
            affines.append(ExactRows.from_array(join_columns(matrix, column)))
        slopes = _slopes(slope, [a.rows for a in affines[:-1]])
        return Network(affines, slopes, definitions=definitions)

    @staticmethod
    def from_exact(net: ExactNet, definitions: Sequence[str] = ()) -> Network:
        """The network of a canonical exact form."""

        def rows(node: Affine) -> ExactRows:
            dens = [d << s for d, s in zip(node.dens, node.shifts, strict=True)]
            return ExactRows.from_integers(node.rows, dens)

        affines = [rows(a) for a, _ in net.layers] + [rows(net.final)]
        return Network(affines, [u.slopes for _, u in net.layers], definitions=definitions)

    # ------------------------------------------------------------------ shape

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self._affines[0].cols

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self._affines[-1].rows

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of units per hidden layer."""
        return tuple(len(s) for s in self._slopes)

    @property
    def unit_count(self) -> int:
        """Number of units over all layers."""
        return sum(self.widths)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, (self.input_size, *self.widths, self.output_size)))
        return f"<Network {sizes}, {self.unit_count} units>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return self is other or self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.digest)

    # ------------------------------------------------------------- exact forms

    @cached_property
    def canonical(self) -> bytes:
        """The canonical bytes (``docs/developer.md``)."""
        count = len(self._affines) + len(self._slopes)
        parts = [MAGIC, struct.pack("<II", self.input_size, count)]
        for k, affine in enumerate(self._affines):
            parts.append(affine.node_bytes(2 * k))
            if k < len(self._slopes):
                slopes = self._slopes[k]
                parts.append(struct.pack("<BII", 2, 2 * k + 1, len(slopes)))
                parts.append(struct.pack(f"<{len(slopes)}I", *(s for _, s in slopes)))
                parts.append(pack_ints([n for n, _ in slopes]))
        return b"".join(parts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical).hexdigest()

    @cached_property
    def exact_net(self) -> ExactNet:
        """The plain-integer form, read from the canonical bytes."""
        return ExactNet.from_bytes(self.canonical)

    @cached_property
    def core(self) -> _core.Net:
        """The network in the compiled engine's form, read from the canonical bytes."""
        return _core.Net(self.canonical)

    @cached_property
    def float_layers(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """``(W, b)`` per affine map in float64; relative error 2**-53, plus 2**-1074, per entry."""
        out = []
        for affine in self._affines:
            table = affine.floats()
            table.flags.writeable = False
            out.append((table[:, :-1], table[:, -1]))
        return tuple(out)

    @cached_property
    def float_slopes(self) -> tuple[FloatArray, ...]:
        """Slopes per hidden layer in float64, each correctly rounded."""
        return tuple(np.array([n / (1 << s) for n, s in layer]) for layer in self._slopes)

    @cached_property
    def _single(self) -> tuple[NDArray[np.bool_], ...]:
        """Per hidden layer, the units with one piece only: slope exactly 1."""
        return tuple(np.array([s == (1, 0) for s in layer]) for layer in self._slopes)

    # -------------------------------------------------------------- evaluation

    def __call__(self, x: Any) -> FloatArray:
        """Outputs in float64, ``(m,)`` for one input, ``(batch, m)`` for a batch; rounds."""
        points, single = self._points(x)
        values = points.floats()
        with np.errstate(all="ignore"):
            for k, (weight, bias) in enumerate(self.float_layers):
                values = values @ weight.T + bias
                if k < len(self._slopes):
                    values = np.where(values > 0, values, self.float_slopes[k] * values)
        return values[0] if single else values

    def exact(self, x: Any) -> list[Fraction]:
        """Exact outputs at one exact point."""
        return self.exact_net.evaluate(self._point(x).data.tolist())

    def pattern(self, x: Any) -> NDArray[np.bool_]:
        """Activation pattern at ``x``: one bool per unit, layer after layer.

        On a kink it is the pattern of one full-dimensional region whose closure holds ``x``, the
        one of `ExactNet.pattern_at`, decided exactly.

        Parameters
        ----------
        x : (n,) or (batch, n) exact numbers

        Returns
        -------
        (units,) or (batch, units) bool array
        """
        bits, _ = self._patterns(*self._points(x))
        return bits

    def affine_map(self, x: Any, exact: bool = False) -> AffineMap:
        """The affine map ``f(x) = J x + c`` of a region whose closure holds ``x``.

        The region, `AffineMap.pattern` and `AffineMap.on_boundary` are always exact. ``J`` and
        ``c`` are float64 products of the layers' matrices: the error of an entry is at most
        ``2 (N + L) 2**-53`` times that entry of the same product of the absolute values, for ``L``
        layers and ``N`` the sum of their input sizes (NaN where float64 overflows). With ``exact``
        they are Fractions.

        >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])
        >>> J, c = net.affine_map([2.0])
        >>> J, net.affine_map([0]).on_boundary
        (array([[1.]]), True)
        """
        bits, boundary = self._patterns(*self._points(self._point(x)))
        if exact:
            rows, den = self.exact_net.affine_map(bits.tolist())
            matrix, offset = _fractions(rows, den)
        else:
            *_, (matrix, offset) = self._float_maps(bits)
        return AffineMap(matrix, offset, bits, boundary[0])

    def unit_maps(self, x: Any, exact: bool = False) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Affine maps ``(A, c)`` of every hidden layer's pre-activations on the region of ``x``.

        float64 with the error that `affine_map` states, or Fractions where ``exact``.
        """
        bits, _ = self._patterns(*self._points(self._point(x)))
        if exact:
            return [_fractions(*m) for m in list(self.exact_net.affine_maps(bits.tolist()))[:-1]]
        return list(self._float_maps(bits))[:-1]

    def _float_maps(self, bits: NDArray[np.bool_]) -> Iterator[tuple[FloatArray, FloatArray]]:
        start = 0
        for k, (weight, bias) in enumerate(self.float_layers):
            with np.errstate(all="ignore"):
                if k == 0:
                    matrix, offset = weight, bias
                else:
                    width = self.widths[k - 1]
                    factor = np.where(bits[start : start + width], 1.0, self.float_slopes[k - 1])
                    start += width
                    matrix = weight @ (factor[:, None] * matrix)
                    offset = weight @ (factor * offset) + bias
            yield matrix, offset

    # ----------------------------------------------------------------- filter

    def _patterns(self, points: ExactArray, single: bool) -> tuple[NDArray[np.bool_], list[bool]]:
        """Patterns and on-boundary flags, exact."""
        values = points.floats()
        error = np.zeros_like(values)
        if points.data.dtype == object:
            error = np.abs(values) * (2 * _U) + _TINY
        bits = np.zeros((len(values), self.unit_count), np.bool_)
        boundary = [False] * len(values)
        for start in range(0, len(values), _BATCH):
            part = slice(start, start + _BATCH)
            bits[part], decided = self._filter(values[part], error[part])
            for i in start + np.flatnonzero(~decided):
                result = self.exact_net.pattern_at(points.data[i].tolist())
                bits[i], boundary[i] = np.array(result.bits, np.bool_), result.on_boundary
        return (bits[0] if single else bits), boundary

    def _filter(
        self, values: FloatArray, error: FloatArray
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Unit signs in float64 and, per point, whether the error bound decides all of them.

        With ``|a - a~| <= e`` entrywise and ``n`` columns, any order of summation and rounded
        weights (relative error ``u``), ``|z - z~| <= |W| (e + K |a~|) + K |b|`` for
        ``K = 4 (n + 10) u``; that leaves half of ``K`` for the rounding of the bound itself.
        What underflows (a product, a weight, ``K |a~|`` itself) loses less than ``2**-1074`` each
        time; ``_TINY`` before and after the product covers it.
        """
        bits, decided = [], np.ones(len(values), np.bool_)
        with np.errstate(all="ignore"):
            for k, slope in enumerate(self.float_slopes):
                weight, bias = self.float_layers[k]
                grow = 4 * (weight.shape[1] + 10) * _U
                size = np.abs(values)
                z = values @ weight.T + bias
                total = 1 + (size + error).sum(axis=1, keepdims=True)
                error = (error + grow * size + _TINY) @ np.abs(weight).T + grow * np.abs(bias)
                error = error * (1 + grow) + _TINY * total * total
                positive = z > 0
                single = self._single[k]
                sure = (np.abs(z) > error) & np.isfinite(z) & np.isfinite(error)
                decided &= (sure | single).all(axis=1)
                bits.append(positive & ~single)
                values = np.where(positive, z, slope * z)
                error = error * np.maximum(1.0, np.abs(slope)) * (1 + 4 * _U)
                error += 4 * _U * np.abs(values) + _TINY
        return np.concatenate([np.zeros((len(values), 0), np.bool_), *bits], axis=1), decided

    def _points(self, x: Any) -> tuple[ExactArray, bool]:
        """``x`` as an exact ``(batch, n)`` array, and whether it was a single point."""
        points = x if isinstance(x, ExactArray) else ExactArray(x, "x")
        n, shape, item = self.input_size, points.shape, self.input_shape[1:]
        if prod(item) != n:
            item = self.input_shape
        if shape in ((n,), item):
            return points.reshape(1, n), True
        if shape[1:] in ((n,), item):
            return points.reshape(-1, n), False
        raise InputError(f"x has shape {shape}, expected ({n},) or (batch, {n})")

    def _point(self, x: Any) -> ExactArray:
        """One exact point of shape ``(n,)``."""
        points, _ = self._points(x)
        if points.shape[0] != 1:
            raise InputError(f"x holds {points.shape[0]} points, expected one")
        return points.reshape(self.input_size)


def load(obj: Any, *, replay: bool = True) -> Network:
    """Read a network from a file, a scikit-learn MLP or arrays.

    Parameters
    ----------
    obj : path, Network, ExactNet, scikit-learn estimator, or sequence of (W, b)
        Files by suffix: ``.onnx``, ``.onnx.gz``, ``.npz``, ``.nnet``. Arrays mean ``y = W x + b``
        with ReLU units between the layers.
    replay : bool
        Whether an ONNX file that was never loaded before is replayed against onnxruntime
        (`plverify.replay`), so that an import mistake cannot pass unseen.

    Raises
    ------
    InputError
        On a missing or unusable file, or an object of another kind; one line.
    MissingExtra
        If a package that is needed to read the object is not installed.

    >>> load([([[1.0, 2.0]], [3.0])])
    <Network 2-1, 0 units>
    """
    if isinstance(obj, Network):
        return obj
    if isinstance(obj, ExactNet):
        return Network.from_exact(obj)
    if isinstance(obj, (str, os.PathLike)):
        from plverify.io import read_file

        return read_file(os.fspath(obj), replay=replay)
    if type(obj).__module__.partition(".")[0] == "sklearn":
        from plverify.io.sklearn import from_sklearn

        return from_sklearn(obj)
    if isinstance(obj, (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in obj):
            raise InputError("a network given as a list is a list of pairs (W, b)")
        return Network.from_arrays([w for w, _ in obj], [b for _, b in obj])
    raise InputError(f"cannot read a network from {type(obj).__module__}.{type(obj).__qualname__}")


def dyadic_slope(value: Any, name: str = "slope") -> tuple[int, int]:
    """``(num, shift)`` of an exact dyadic number, the form of a unit's slope.

    Raises
    ------
    InputError
        If the number is not finite or not dyadic.

    >>> dyadic_slope(0.25)
    (1, 2)
    """
    exact = exact_number(value, name)
    assert isinstance(exact, Fraction)
    shift = exact.denominator.bit_length() - 1
    if exact.denominator != 1 << shift:
        raise InputError(f"{name} is {value!s:.40}, not a dyadic number; {float(exact)!r} would be")
    return exact.numerator, shift


def _slopes(slope: Any, widths: Sequence[int]) -> list[Slopes]:
    """Slopes per unit from one number, one per layer, or one vector per layer."""
    if not isinstance(slope, (list, tuple)) and np.ndim(slope) == 0:
        one = dyadic_slope(slope.item() if isinstance(slope, np.ndarray) else slope)
        return [(one,) * width for width in widths]
    if len(slope) != len(widths):
        raise InputError(
            f"slope has {len(slope)} entries, expected one per hidden layer, {len(widths)}"
        )
    out: list[Slopes] = []
    for k, (layer, width) in enumerate(zip(slope, widths, strict=True)):
        if isinstance(layer, (list, tuple)) or np.ndim(layer) > 0:
            if len(layer) != width:
                raise InputError(f"slope[{k}] has {len(layer)} entries, expected {width}")
            units = (dyadic_slope(v, f"slope[{k}][{i}]") for i, v in enumerate(layer))
            out.append(tuple(units))
        else:
            out.append((dyadic_slope(layer, f"slope[{k}]"),) * width)
    return out


def _fractions(rows: Sequence[Sequence[int]], den: int) -> tuple[NDArray[Any], NDArray[Any]]:
    table = np.array([[Fraction(v, den) for v in row] for row in rows], dtype=object)
    return table[:, :-1], table[:, -1]
