"""Results of a data set: the file they are kept in, what they say together, and joining parts.

The first line of a file is its header, which states what was asked about which network and data
(by SHA-256); each further line is a `PointResult`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from plverify import proof as proof_files
from plverify.certification.point import Number, PointResult, Settings
from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.jsonl import Row, read_lines
from plverify.network import Network
from plverify.result import Result, ratio

FORMAT = "plverify certification 1"
ASKED = {
    "network": "model",
    "points": "number of points",
    "data_sha256": "data",
    "eps": "eps",
    "norm": "norm",
    "domain": "domain",
    "radius": "choice of --radius",
    "method": "method",
    "shard": "shard",
}
"""What two runs that share a file agree on, and what it is called."""
_STEPS = (1, 2, 5)
_COLUMNS = 8


@dataclass(frozen=True)
class Data:
    """Points and labels.

    Attributes
    ----------
    points : list of list of numbers
        One list per point.
    labels : list of int, or None
        None: the predicted ones.
    sha256 : str
    """

    points: list[list[Number]] = field(repr=False)
    labels: list[int] | None = field(repr=False)
    sha256: str

    @staticmethod
    def of(net: Network, X: Any, y: Any) -> Data:
        """Points and labels for a network.

        Parameters
        ----------
        X : (points, n) or (points, *input shape) array of numbers
        y : (points,) ints, or None

        Raises
        ------
        InputError
            On shapes that do not fit, NaN, or labels that are none of the network's.
        """
        table = ExactArray(X, "X")
        shape, n = table.shape, net.input_size
        if len(shape) < 2 or math.prod(shape[1:]) != n:
            raise InputError(f"X has shape {shape}, expected (points, {n})")
        if not shape[0]:
            raise InputError("X holds no points")
        flat = table.reshape(shape[0], n)
        points: list[list[Number]]
        if flat.data.dtype == object:
            points = [[ratio(Fraction(v)) for v in row] for row in flat.fractions().tolist()]
        else:
            points = flat.data.tolist()
        labels = None
        if y is not None:
            given = np.asarray(y)
            if given.shape != shape[:1] or given.dtype.kind not in "iuf":
                raise InputError(f"y has shape {given.shape}, expected {shape[:1]} integers")
            whole = given.astype(np.int64)
            bad = np.flatnonzero((whole != given) | (whole < 0) | (whole >= net.output_size))
            if len(bad):
                k = int(bad[0])
                raise InputError(f"y[{k}] is {given[k]}, the network has {net.output_size} outputs")
            labels = [int(v) for v in whole]
        text = json.dumps([points, labels], separators=(",", ":"))
        return Data(points, labels, hashlib.sha256(text.encode()).hexdigest())


def header_of(
    net: Network,
    data: Data,
    settings: Settings,
    shard: tuple[int, int] | None,
    names: dict[str, str | None],
) -> Row:
    """The first line of a file; ``names`` has the paths of "model" and "data", if any."""
    return {
        "format": FORMAT,
        **names,
        "network": net.digest,
        "definitions": " ".join(net.definitions),
        "inputs": net.input_size,
        "outputs": net.output_size,
        "data_sha256": data.sha256,
        "points": len(data.points),
        **settings.to_dict(),
        "shard": None if shard is None else list(shard),
    }


def read_file(path: str, *, mend: bool = False) -> tuple[Row | None, list[PointResult]]:
    """Header and rows of a file; no header if a killed run had not even written that.

    Raises
    ------
    InputError
        If it is no such file.
    """
    lines = read_lines(path, lambda row: True, "line of plverify certify", mend=mend)
    if not lines:
        return None, []
    head, *rest = lines
    if head.get("format") != FORMAT or not {*ASKED, "inputs", "outputs"} <= head.keys():
        raise InputError(f"{path}:1: no header of plverify certify")
    rows = []
    seen: set[int] = set()
    for number, line in enumerate(rest, 2):
        try:
            row = PointResult.from_dict(line)
        except InputError as error:
            raise InputError(f"{path}:{number}: {error}") from None
        if row.index in seen:
            raise InputError(f"{path}:{number}: point {row.index} a second time")
        seen.add(row.index)
        rows.append(row)
    return head, rows


def refuse_other(path: str, found: Row, wanted: Row, keys: Iterable[str] = ASKED) -> None:
    """Raise unless two headers ask the same."""
    for key in keys:
        if found[key] != wanted[key]:
            name = ASKED[key]
            detail = ""
            if key not in ("network", "data_sha256"):
                detail = f": {_shown(found[key])}, not {_shown(wanted[key])}"
            raise InputError(f"{path} was made for another {name}{detail}")


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value!s:.60}"


def merge(parts: Sequence[str]) -> tuple[Row, list[PointResult]]:
    """Header and rows of some files about the same question, in the order of the points.

    Raises
    ------
    InputError
        If they ask different things, or two of them have the same point.
    """
    whole: Row | None = None
    found: dict[int, tuple[str, PointResult]] = {}
    for path in parts:
        head, rows = read_file(path)
        if head is None:
            continue
        if whole is None:
            whole = head | {"shard": None}
        refuse_other(path, head, whole, (key for key in ASKED if key != "shard"))
        for row in rows:
            if row.index in found:
                raise InputError(f"point {row.index} is in {found[row.index][0]} and in {path}")
            found[row.index] = path, row
    if whole is None:
        raise InputError("the files hold no results")
    return whole, [found[index][1] for index in sorted(found)]


def write_file(path: str, head: Row, rows: Iterable[PointResult]) -> None:
    """Write header and rows, all or nothing."""
    lines = [head, *(row.to_dict() for row in rows)]
    data = "".join(json.dumps(line) + "\n" for line in lines)
    proof_files.write_atomically(path, data.encode())


def absolute(path: str | None) -> str | None:
    """Where a file is, for a header."""
    return None if path is None else os.path.abspath(path)


# ------------------------------------------------------------------------------------ together


@dataclass(frozen=True)
class Certification(Result):
    """What is proven about the points of a data set.

    Attributes
    ----------
    eps : Fraction
    norm : str
    points : int
        Asked about; without an interruption, as many as `rows`.
    rows : tuple of PointResult
        In the order of the points.
    interrupted : bool
    seconds : float
        Wall time.
    """

    eps: Fraction
    norm: str
    points: int
    rows: tuple[PointResult, ...] = field(repr=False)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every point has a row, and every row all that was asked."""
        done = all(row.status == "complete" for row in self.rows)
        return done and len(self.rows) == self.points

    @property
    def accuracy(self) -> float:
        """The share of points with the right prediction."""
        return self._share(row.correct for row in self.rows)

    @property
    def certified(self) -> float:
        """The share of points that are proven to be classified rightly all over their ball."""
        return self._share(bool(row.robust) for row in self.rows)

    @property
    def at_most(self) -> float:
        """The share of points without a known counterexample: what `certified` could be."""
        return self._share(row.robust is not False for row in self.rows)

    @property
    def radii(self) -> list[float]:
        """The radii that are known exactly, of points with the right prediction."""
        return [row.lower for row in self.rows if row.correct and row.exact]

    def curve(self, radii: Sequence[float]) -> tuple[list[float], list[float]]:
        """Certified accuracy at some radii, and what it could be at most given the attacks.

        A point counts at ``r`` if its label is proven to win at all distances up to ``r``; it may
        count unless an input at distance ``r`` or less is known where it does not.
        """
        right = [row for row in self.rows if row.correct]
        count, eps = max(len(self.rows), 1), float(self.eps)
        wins = [[row.lower > r or (bool(row.robust) and r <= eps) for row in right] for r in radii]
        may = [[row.upper > r for row in right] for r in radii]
        return [sum(flags) / count for flags in wins], [sum(flags) / count for flags in may]

    def table(self) -> list[tuple[float, float, float]]:
        """``(radius, certified, at most)`` at some round radii, from 0 to the largest known."""
        known = [v for r in self.rows if r.correct for v in (r.lower, r.upper) if math.isfinite(v)]
        radii = round_steps(max([*known, float(self.eps)]))
        return list(zip(radii, *self.curve(radii), strict=True))

    def histogram(self) -> tuple[list[float], list[int]]:
        """Ends of intervals from 0 on, and how many exact radii each holds."""
        known = [r for r in self.radii if math.isfinite(r)]
        ends = round_steps(max(known, default=1.0), 2 * _COLUMNS)
        counts, _ = np.histogram(known, ends)
        return ends, counts.tolist()

    def _share(self, flags: Iterable[bool]) -> float:
        return sum(flags) / max(len(self.rows), 1)

    def summary(self) -> dict[str, Any]:
        """The numbers above, for JSON."""
        names = ("eps", "norm", "points", "interrupted", "seconds", "complete", "accuracy")
        out = {name: getattr(self, name) for name in (*names, "certified", "at_most")}
        out |= {"eps": ratio(self.eps), "done": len(self.rows)}
        for name, value in (("robust", True), ("not_robust", False), ("unknown", None)):
            out[name] = sum(row.robust is value for row in self.rows)
        out["curve"] = [list(line) for line in self.table()]
        return out


def certification_of(head: Row, rows: Sequence[PointResult]) -> Certification:
    """The results of a file."""
    shard = head["shard"]
    points = head["points"]
    if shard is not None:
        points = len(range(shard[0] % shard[1], points, shard[1]))
    seconds = round(sum(row.seconds for row in rows), 3)
    return Certification(
        Fraction(head["eps"]), head["norm"], points, tuple(rows), len(rows) < points, seconds
    )


def round_steps(largest: float, count: int = _COLUMNS) -> list[float]:
    """Round numbers from 0 to beyond ``largest``, about ``count`` of them.

    >>> round_steps(0.14, 8)
    [0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16]
    """
    if not 0 < largest < math.inf:
        return [0.0, 1.0]
    power = math.floor(math.log10(largest / count))
    scale = next(s for p in (power, power + 1) for s in _scaled(p) if s * count >= 0.999 * largest)
    steps = math.floor(largest / scale + 1e-9) + 1
    return [round(k * scale, 12 - power) for k in range(steps + 1)]


def _scaled(power: int) -> list[float]:
    return [step * 10.0**power for step in _STEPS]
