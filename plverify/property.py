"""`Property`: what a network must not do, as an exact set of violations.

A property is stated the way VNN-LIB states it, by its violations: a finite union of *disjuncts*,
each an input box and linear constraints between inputs ``x`` and outputs ``y``. Beyond VNN-LIB,
a disjunct may have a `Ball` of inputs, too. The network has the property if and only if no
``(x, f(x))`` lies in that set. Every number is rational, ``<`` is kept apart from ``<=``, and
membership (`Property.contains`) is decided exactly, so that a margin of 0 counts as what the
comparison says.

Canonical form, which makes equality and hash mean something: coefficients of a `Constraint` are
coprime integers; a bound on one input is part of the box (a strict one also stays a constraint,
the box being closed); a disjunct that no input satisfies is dropped.

>>> spec = Property.output_at_most(Box(-1, 1, 2), 0, "0.1")      # violated where y_0 > 1/10
>>> spec.contains([0, 0], [Fraction(1, 10)]), spec.contains([0, 0], [0.1])
(False, True)
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from plverify.constraint import Constraint, Fold, check_size, finite
from plverify.domain import Bound, Box, number_text
from plverify.errors import InputError
from plverify.exact_array import ExactArray

_RATIONAL = re.compile(r"-?[0-9]{1,3700}(/[0-9]{1,3700})?")
BALL_NORMS = ("l1", "l2")


@dataclass(frozen=True)
class Ball:
    """A closed ball of inputs: those no farther from a center than a radius, in the l1 or l2 norm.

    Attributes
    ----------
    norm : "l1" or "l2"
        (The linf ball is a box: `Box.ball`.)
    center : tuple of Fraction
        Any vector of numbers is accepted.
    size : Fraction
        Positive. The radius for "l1"; for "l2" the *square* of the radius, which need not be
        rational itself.

    Raises
    ------
    InputError
        On another norm, no center, a size that is not positive, NaN, infinity.

    >>> Ball("l2", [0.5, 0], "0.25").contains([Fraction(1, 2), Fraction(-1, 2)])
    True
    """

    norm: str
    center: tuple[Fraction, ...]
    size: Fraction

    def __post_init__(self) -> None:
        if self.norm not in BALL_NORMS:
            raise InputError(f"the norm of a ball is {self.norm!r:.30}, expected 'l1' or 'l2'")
        if type(self.center) is not tuple or {type(v) for v in self.center} != {Fraction}:
            center = ExactArray(self.center, "the center of a ball")
            if len(center.shape) != 1 or not center.shape[0]:
                shape = center.shape
                raise InputError(f"the center of a ball has shape {shape}, expected a vector")
            object.__setattr__(self, "center", tuple(center.fractions().tolist()))
        for v in self.center:
            check_size(v, "the center of a ball")
        object.__setattr__(self, "size", finite(self.size, "the size of a ball"))
        if self.size <= 0:
            raise InputError(f"the size of a ball is {number_text(self.size)}, it must be positive")

    def measure(self, x: Sequence[Fraction]) -> Fraction:
        """What is at most `size` in the ball: the l1 distance, or the square of the l2 distance."""
        steps = [v - c for v, c in zip(x, self.center, strict=True)]
        return sum((abs(d) if self.norm == "l1" else d * d for d in steps), Fraction(0))

    def contains(self, x: Sequence[Fraction]) -> bool:
        """Whether the exact point lies in the ball."""
        return self.measure(x) <= self.size

    def meets(self, box: Box) -> bool:
        """Whether the ball and a box have a point in common, decided exactly.

        >>> Ball("l2", [0, 0], 2).meets(Box(1, 3, 2)), Ball("l1", [0, 0], 2).meets(Box(2, 3, 2))
        (True, False)
        """
        out = Fraction(0)
        for a, c, b in zip(box.lo, self.center, box.hi, strict=True):
            if a <= c <= b:
                continue
            gap = Fraction(a - c if c < a else c - b)
            out += gap if self.norm == "l1" else gap * gap
        return out <= self.size

    def describe(self) -> str:
        """A short text for people.

        >>> Ball("l2", [0, 1], "0.25").describe()
        'the l2 ball of squared radius 1/4 about (0, 1)'
        """
        shown = ", ".join(map(number_text, self.center[:3])) + ", ..." * (len(self.center) > 3)
        what = "squared radius" if self.norm == "l2" else "radius"
        return f"the {self.norm} ball of {what} {number_text(self.size)} about ({shown})"


@dataclass(frozen=True)
class Disjunct:
    """The points ``(x, y)`` with ``x`` in `box` and `ball` that satisfy all of `constraints`.

    Attributes
    ----------
    box : Box
        Closed; disjuncts may share one object. Sides are infinite where an input has no bound.
        Where there is a ball, what is asked about is easier to answer with a box no larger than
        it.
    constraints : tuple of Constraint
    ball : Ball, optional
        Disjuncts may share one object.
    """

    box: Box
    constraints: tuple[Constraint, ...] = ()
    ball: Ball | None = None

    def contains(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Whether the exact point lies in the disjunct."""
        inside = all(a <= v <= b for a, v, b in zip(self.box.lo, x, self.box.hi, strict=True))
        near = inside and (self.ball is None or self.ball.contains(x))
        return near and all(c.holds(x, y) for c in self.constraints)


class Group(NamedTuple):
    """Disjuncts about the same inputs: those of a box, and of a ball if there is one.

    One of them violates if it satisfies all constraints of some alternative.
    """

    box: Box
    alternatives: tuple[tuple[Constraint, ...], ...]
    ball: Ball | None = None


@dataclass(frozen=True)
class Property:
    """A property of a network: the exact set of its violations, a union of `Disjunct`.

    Parameters
    ----------
    n_inputs, n_outputs : int
    disjuncts : sequence of Disjunct
        Brought into the canonical form; none at all means that nothing violates.

    Raises
    ------
    InputError
        On sizes or indices that do not fit.

    >>> box = Box([0, 0], [1, 1])
    >>> spec = Property.from_rows(box, [[1, 0]], [[-1]], [0])      # violated where x_0 <= y_0
    >>> spec.describe()
    '2 inputs, 1 output; violated in box [0, 1]^2 where x_0 <= y_0'
    >>> Property.from_json(spec.to_json()) == spec
    True
    """

    n_inputs: int
    n_outputs: int
    disjuncts: tuple[Disjunct, ...]

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs"):
            count = getattr(self, name)
            if type(count) is not int or count < 1:
                raise InputError(f"{name} is {count!r:.60}, expected a positive integer")
        object.__setattr__(self, "disjuncts", tuple(self._canonical(self.disjuncts)))

    def _canonical(self, disjuncts: Iterable[Disjunct]) -> Iterator[Disjunct]:
        checked: dict[int, Box] = {}
        met: dict[tuple[int, int], tuple[Box, Ball, bool]] = {}
        for k, disjunct in enumerate(disjuncts):
            box, rows, ball = disjunct.box, disjunct.constraints, disjunct.ball
            if id(box) not in checked:
                checked[id(box)] = box
                if box.dim != self.n_inputs:
                    raise InputError(f"disjunct {k} has {box.dim} inputs, expected {self.n_inputs}")
                for v in (*box.lo, *box.hi):
                    if isinstance(v, Fraction):
                        check_size(v, f"a bound of disjunct {k}")
            if ball is not None and len(ball.center) != self.n_inputs:
                raise InputError(
                    f"the ball of disjunct {k} has {len(ball.center)} inputs, "
                    f"expected {self.n_inputs}"
                )
            fold = Fold(box.lo, box.hi)
            empty = False
            for c in rows:
                for what, terms, n in (
                    ("input", c.inputs, self.n_inputs),
                    ("output", c.outputs, self.n_outputs),
                ):
                    if terms and terms[-1][0] >= n:
                        raise InputError(
                            f"disjunct {k} constrains {what} {terms[-1][0]}, there are {n}"
                        )
                empty = not fold.add(c) or empty
            rest = fold.finish()
            if empty or isinstance(rest, Constraint):
                continue
            if fold.lo is not box.lo:
                box = Box.of_exact(fold.lo, fold.hi)
            if ball is not None:
                pair = id(box), id(ball)
                if pair not in met:  # disjuncts share both; what is kept keeps its number
                    met[pair] = box, ball, ball.meets(box)
                if not met[pair][-1]:
                    continue
            yield disjunct if box is disjunct.box and rest == rows else Disjunct(box, rest, ball)

    # ---------------------------------------------------------- constructors

    @staticmethod
    def from_vnnlib(path: str | os.PathLike[str]) -> Property:
        """Read a VNN-LIB file, version 1.0 or 2.0, plain or gzipped.

        Raises
        ------
        InputError
            If the file cannot be used; ``file:line:column: what was wrong``.
        """
        from plverify.io.vnnlib import read_vnnlib

        return read_vnnlib(os.fspath(path))

    @staticmethod
    def robust(
        x: Any, label: int, eps: Any, n_classes: int, *, lo: Any = None, hi: Any = None
    ) -> Property:
        """Local robustness: ``label`` wins strictly on the closed linf ball about ``x``.

        As in the competition, a tie violates: the violations are the points where
        ``y_j >= y_label`` for some ``j != label``.

        Parameters
        ----------
        x : (n,) vector of numbers
        label : int
        eps : number
            The radius. Sides are ``x - eps`` and ``x + eps`` exactly: give ``"0.1"`` for a tenth.
        n_classes : int
            The number of outputs, at least 2.
        lo, hi : number or (n,) vector, optional
            Where inputs may lie, such as 0 and 1 for pixels; the ball is cut to it.

        Raises
        ------
        InputError
            On a label out of range, NaN, a negative radius, or a ball outside ``[lo, hi]``.

        >>> spec = Property.robust([0.5], 0, "0.6", 2, lo=0)
        >>> spec.describe()
        '1 input, 2 outputs; violated in box [0, 11/10] where y_0 <= y_1'
        """
        classes = _count(n_classes, "n_classes", 2)
        top = _index(label, "label", classes)
        box = Box.ball(x, eps)
        if lo is not None or hi is not None:
            limit = Box(-math.inf if lo is None else lo, math.inf if hi is None else hi, box.dim)
            box = Box(
                [max(a, b) for a, b in zip(box.lo, limit.lo, strict=True)],
                [min(a, b) for a, b in zip(box.hi, limit.hi, strict=True)],
            )
        rows = []
        for j in range(classes):
            if j != top:
                terms = tuple(sorted(((top, 1), (j, -1))))
                rows.append((Constraint((), terms, Fraction(0)),))
        return Property(box.dim, classes, tuple(Disjunct(box, row) for row in rows))

    @staticmethod
    def output_at_most(box: Box, i: int, bound: Any, n_outputs: int | None = None) -> Property:
        """``y_i <= bound`` on the box: violated where ``y_i > bound``, strictly.

        Parameters
        ----------
        box : Box
        i : int
            The output.
        bound : number
        n_outputs : int, optional
            Default ``i + 1``.

        >>> Property.output_at_most(Box(0, 1, 2), 0, 3).contains([0, 0], [3])
        False
        """
        return _output_bound(box, i, bound, n_outputs, -1)

    @staticmethod
    def output_at_least(box: Box, i: int, bound: Any, n_outputs: int | None = None) -> Property:
        """``y_i >= bound`` on the box: violated where ``y_i < bound``, strictly.

        >>> Property.output_at_least(Box(0, 1, 2), 0, 3).describe()
        '2 inputs, 1 output; violated in box [0, 1]^2 where y_0 < 3'
        """
        return _output_bound(box, i, bound, n_outputs, 1)

    @staticmethod
    def from_rows(
        box: Box, inputs: Any, outputs: Any, bounds: Any, strict: bool | Sequence[bool] = False
    ) -> Property:
        """One disjunct: violated where ``inputs @ x + outputs @ y <= bounds`` in the box.

        Unions of such sets are written with ``|``.

        Parameters
        ----------
        box : Box
        inputs : (m, n_inputs) matrix of numbers, or None for zeros
        outputs : (m, n_outputs) matrix of numbers
        bounds : (m,) vector of numbers
        strict : bool, or m of them
            Whether a row is ``<`` rather than ``<=``.

        Raises
        ------
        InputError
            On NaN, infinity or shapes that do not fit.

        >>> low = Property.from_rows(Box(0, 1, 1), None, [[1]], [0])
        >>> high = Property.from_rows(Box(0, 1, 1), None, [[-1]], [-2], strict=True)
        >>> (low | high).describe()
        '1 input, 1 output; violated in box [0, 1] where y_0 <= 0, or y_0 > 2'
        """
        _check_box(box)
        right, bound = ExactArray(outputs, "outputs"), ExactArray(bounds, "bounds")
        shape = right.shape
        if len(shape) != 2 or not shape[1] or bound.shape != shape[:1]:
            raise InputError(
                f"outputs has shape {shape} and bounds {bound.shape}, expected (m, n) and (m,)"
            )
        left = None if inputs is None else ExactArray(inputs, "inputs")
        if left is not None and left.shape != (shape[0], box.dim):
            raise InputError(f"inputs has shape {left.shape}, expected {(shape[0], box.dim)}")
        flags = [strict] * shape[0] if isinstance(strict, bool) else list(strict)
        if len(flags) != shape[0]:
            raise InputError(f"strict has {len(flags)} entries, expected {shape[0]}")
        rows: list[Constraint] = []
        for k, (c, d) in enumerate(zip(right.fractions(), bound.fractions(), strict=True)):
            a = {} if left is None else dict(enumerate(left.fractions()[k]))
            row = Constraint.of(a, dict(enumerate(c)), d, flags[k])
            if row is False:
                return Property(box.dim, shape[1], ())
            if isinstance(row, Constraint):
                rows.append(row)
        return Property(box.dim, shape[1], (Disjunct(box, tuple(rows)),))

    def __or__(self, other: Property) -> Property:
        """The property whose violations are those of both."""
        if not isinstance(other, Property):
            return NotImplemented
        sizes = [(p.n_inputs, p.n_outputs) for p in (self, other)]
        if sizes[0] != sizes[1]:
            raise InputError(f"properties of {sizes[0]} and {sizes[1]} inputs and outputs")
        return replace(self, disjuncts=self.disjuncts + other.disjuncts)

    # -------------------------------------------------------------- queries

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The disjuncts of each distinct box and ball, in order of first appearance."""
        out: dict[tuple[Box, Ball | None], list[tuple[Constraint, ...]]] = {}
        for d in self.disjuncts:
            out.setdefault((d.box, d.ball), []).append(d.constraints)
        return tuple(Group(box, tuple(rows), ball) for (box, ball), rows in out.items())

    def contains(self, x: Any, y: Any) -> bool:
        """Whether the pair of input and output is a violation, exactly.

        Parameters
        ----------
        x : (n_inputs,) vector of numbers
        y : (n_outputs,) vector of numbers

        Raises
        ------
        InputError
            On a wrong length, NaN or infinity.
        """
        points = []
        for name, values, n in (("x", x, self.n_inputs), ("y", y, self.n_outputs)):
            point = ExactArray(values, name)
            if point.shape != (n,):
                raise InputError(f"{name} has shape {point.shape}, expected ({n},)")
            points.append(point.fractions().tolist())
        return any(d.contains(*points) for d in self.disjuncts)

    def describe(self) -> str:
        """A short text for people, one line."""
        sizes = ", ".join(
            f"{n} {name}{'s' * (n != 1)}"
            for n, name in ((self.n_inputs, "input"), (self.n_outputs, "output"))
        )
        if not self.disjuncts:
            return f"{sizes}; nothing violates"
        if len(self.groups) > 1:
            count = len(self.disjuncts)
            return f"{sizes}; violated in any of {count} cases over {len(self.groups)} boxes"
        [(box, cases, ball)] = self.groups
        text = f"{sizes}; violated in {box.describe()}"
        if ball is not None:
            text += f" and {ball.describe()}"
        if any(not rows for rows in cases):
            return text
        shown = [" and ".join(c.describe() for c in rows[:3]) for rows in cases[:3]]
        shown = [
            s + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
            for s, rows in zip(shown, cases, strict=False)
        ]
        if len(cases) > 3:
            shown.append(f"{len(cases) - 3} more cases")
        return f"{text} where {', or '.join(shown)}"

    def __repr__(self) -> str:
        return f"<Property: {self.describe()}>"

    # -------------------------------------------------------------- formats

    def to_vnnlib(self) -> str:
        """The property as VNN-LIB 1.0 text, which `from_vnnlib` reads back as an equal property.

        A number is written as its exact decimal; where it has none (or one of over a thousand
        digits) as ``(/ p q)``, which other readers may refuse.

        Raises
        ------
        InputError
            If there is a ball, which linear constraints cannot state.
        """
        from plverify.io.vnnlib_write import vnnlib_text

        return vnnlib_text(self)

    def to_json(self) -> str:
        """One JSON object; numbers are strings such as ``"3/8"``, boxes are listed once."""
        boxes: dict[Box, int] = {}
        cases: list[dict[str, Any]] = []
        for d in self.disjuncts:
            at = boxes.setdefault(d.box, len(boxes))
            rows = [
                {
                    "inputs": [[i, str(a)] for i, a in c.inputs],
                    "outputs": [[j, str(v)] for j, v in c.outputs],
                    "bound": str(c.bound),
                    "strict": c.strict,
                }
                for c in d.constraints
            ]
            cases.append({"box": at, "constraints": rows})
            if d.ball is not None:
                center = [str(v) for v in d.ball.center]
                cases[-1]["ball"] = {
                    "norm": d.ball.norm,
                    "center": center,
                    "size": str(d.ball.size),
                }
        sides = [{"lo": [str(v) for v in b.lo], "hi": [str(v) for v in b.hi]} for b in boxes]
        head = {"n_inputs": self.n_inputs, "n_outputs": self.n_outputs}
        return json.dumps({**head, "boxes": sides, "disjuncts": cases})

    @staticmethod
    def from_json(text: str) -> Property:
        """The property that `to_json` wrote.

        Raises
        ------
        InputError
            On anything else.
        """
        try:
            entry = json.loads(text)
            boxes = [
                Box.of_exact(*([_parse(v) for v in side[name]] for name in ("lo", "hi")))
                for side in entry["boxes"]
            ]
            disjuncts = []
            for case in entry["disjuncts"]:
                rows = [_parse_constraint(row) for row in case["constraints"]]
                at = _index(case["box"], "box", len(boxes))
                ball = _parse_ball(case["ball"]) if "ball" in case else None
                disjuncts.append(Disjunct(boxes[at], tuple(rows), ball))
            return Property(entry["n_inputs"], entry["n_outputs"], tuple(disjuncts))
        except InputError as error:
            raise InputError(f"property in JSON: {error}") from None
        except KeyError as error:
            raise InputError(f"property in JSON: {error} is missing") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"property in JSON: {error!s:.100}") from None


# ------------------------------------------------------------------- helpers


def _count(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise InputError(f"{name} is {value!r:.60}, expected an integer of at least {least}")
    return int(value)


def _index(value: Any, name: str, n: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= int(value) < n:
        raise InputError(f"{name} is {value!r:.60}, expected an integer from 0 to {n - 1}")
    return int(value)


def _check_box(box: Any) -> None:
    if not isinstance(box, Box):
        raise InputError(f"box is a {type(box).__name__}, expected a Box")


def _output_bound(box: Box, i: int, bound: Any, n_outputs: int | None, sign: int) -> Property:
    _check_box(box)
    at = _count(i, "i", 0)
    outputs = at + 1 if n_outputs is None else _count(n_outputs, "n_outputs", 1)
    at = _index(at, "i", outputs)
    row = Constraint((), ((at, sign),), sign * finite(bound, "bound"), strict=True)
    return Property(box.dim, outputs, (Disjunct(box, (row,)),))


def _parse(text: Any) -> Bound:
    if text in ("inf", "-inf"):
        return float(text)
    if not isinstance(text, str) or not _RATIONAL.fullmatch(text):
        raise InputError(f"{text!r:.60} is not a rational number")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise InputError(f"{text!r:.60} has denominator 0") from None


def _parse_ball(entry: Any) -> Ball:
    center = tuple(finite(_parse(v), "a center") for v in entry["center"])
    return Ball(entry["norm"], center, finite(_parse(entry["size"]), "a size"))


def _parse_constraint(row: Any) -> Constraint:
    terms = [
        {_count(i, "index", 0): finite(_parse(v), "coefficient") for i, v in row[name]}
        for name in ("inputs", "outputs")
    ]
    if type(row["strict"]) is not bool:
        raise InputError(f"strict is {row['strict']!r:.60}")
    out = Constraint.of(terms[0], terms[1], finite(_parse(row["bound"]), "bound"), row["strict"])
    if isinstance(out, bool):
        raise InputError("a constraint has no variable")
    return out
