"""Networks in the text format ``.nnet`` of the ACAS Xu nets (github.com/sisl/NNet).

After ``//`` comments: layer count, sizes, a flag, minima, maxima, means and ranges, then weights
and biases row by row. A file defines ``f(x) = net((x - mean) / range) * range_out + mean_out``. The
normalisation is folded into the first and the last layer exactly, as rationals. Three definitions
are made and recorded in `Network.definitions`: a decimal means the float64 nearest to its text; the
normalisation is part of the function; clipping of inputs to the minima and maxima is not.

Source: K. Julian, M. Kochenderfer, M. Owen, "Deep neural network compression for aircraft collision
avoidance systems", JGCD 2019, and the README of the format's repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.network import Network

DEFINITIONS = (
    "every decimal of the .nnet file is the float64 nearest to its text",
    "inputs are normalised as (x - mean) / range and outputs scaled back, folded exactly",
    "inputs are not clipped to the file's minima and maxima",
)


def read_nnet(path: str) -> Network:
    """Read a ``.nnet`` text file.

    Raises
    ------
    InputError
        On a truncated file, counts that do not fit, NaN, infinity or a range of 0; names the line.
    """
    try:
        with open(path, encoding="ascii") as file:
            return _parse(_Lines(file))
    except UnicodeDecodeError as error:
        raise InputError("not a .nnet text file") from error


class _Lines:
    """Lines of comma-separated numbers, counted; comments and empty lines are skipped."""

    def __init__(self, file: Iterator[str]) -> None:
        self.number = 0
        self._file = file

    def next(self, what: str) -> list[str]:
        for line in self._file:
            self.number += 1
            text = line.strip()
            if text and not text.startswith("//"):
                return [part.strip() for part in text.rstrip(",").split(",")]
        raise InputError(f"truncated: {what} is missing after line {self.number}")

    def integers(self, what: str, count: int) -> list[int]:
        parts = self.next(what)
        try:
            values = [int(part) for part in parts]
        except ValueError:
            raise InputError(f"line {self.number}: {what} is not a list of integers") from None
        if len(values) < count:
            raise InputError(f"line {self.number}: {what} has {len(values)} entries, not {count}")
        return values

    def floats(self, what: str, count: int, exactly: bool = True) -> list[float]:
        parts = self.next(what)
        if len(parts) < count or (exactly and len(parts) != count):
            raise InputError(f"line {self.number}: {what} has {len(parts)} entries, not {count}")
        out = []
        for part in parts[:count]:
            try:
                value = float(part)
            except ValueError:
                raise InputError(f"line {self.number}: {what} holds {part!r:.40}") from None
            if value != value or value in (float("inf"), float("-inf")):
                raise InputError(f"line {self.number}: {what} holds {part}")
            out.append(value)
        return out


def _parse(lines: _Lines) -> Network:
    layers, inputs, outputs, _ = lines.integers("the header", 4)[:4]
    if layers < 1 or inputs < 1 or outputs < 1:
        raise InputError(
            f"line {lines.number}: {layers} layers, {inputs} inputs, {outputs} outputs"
        )
    sizes = lines.integers("the layer sizes", layers + 1)[: layers + 1]
    if sizes[0] != inputs or sizes[-1] != outputs or min(sizes) < 1:
        raise InputError(f"line {lines.number}: layer sizes {sizes} do not fit the header")
    lines.next("the flag")
    lines.floats("the input minima", inputs, exactly=False)
    lines.floats("the input maxima", inputs, exactly=False)
    means = [Fraction(v) for v in lines.floats("the means", inputs + 1)]
    ranges = [Fraction(v) for v in lines.floats("the ranges", inputs + 1)]
    if 0 in ranges:
        raise InputError(f"line {lines.number}: range {ranges.index(Fraction(0))} is 0")
    weights: list[object] = []
    biases: list[object] = []
    for k in range(layers):
        matrix: list[list[float]] = []
        for i in range(sizes[k + 1]):
            matrix.append(lines.floats(f"row {i} of weights {k}", sizes[k]))
        bias = [lines.floats(f"bias {i} of layer {k}", 1)[0] for i in range(sizes[k + 1])]
        weights.append(matrix)
        biases.append(bias)
        if k in (0, layers - 1):
            weights[k], biases[k] = _normalise(matrix, bias, means, ranges, k, layers)
    return Network.from_arrays(weights, biases, definitions=DEFINITIONS)


def _normalise(
    matrix: list[list[float]],
    bias: list[float],
    means: list[Fraction],
    ranges: list[Fraction],
    k: int,
    layers: int,
) -> tuple[object, object]:
    """Fold the input normalisation into layer 0 and the output's into the last, exactly."""
    rows = [[Fraction(v) for v in row] for row in matrix]
    shift = [Fraction(v) for v in bias]
    if k == 0:
        rows = [[v / r for v, r in zip(row, ranges[:-1], strict=True)] for row in rows]
        pairs = zip(shift, rows, strict=True)
        shift = [
            c - sum((v * m for v, m in zip(row, means[:-1], strict=True)), Fraction(0))
            for c, row in pairs
        ]
    if k == layers - 1:
        rows = [[v * ranges[-1] for v in row] for row in rows]
        shift = [c * ranges[-1] + means[-1] for c in shift]
    return ExactArray(rows, f"W{k}").fractions(), ExactArray(shift, f"b{k}").fractions()
