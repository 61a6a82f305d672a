"""Reader of VNN-LIB, versions 1.0 and 2.0, plain or gzipped, into an exact `Property`.

A file states the *violations*: an assignment that satisfies all assertions is a counterexample.
Version 1.0 is the subset of SMT-LIB that the verification competition uses: ``declare-const`` of
``X_i`` and ``Y_j``, and ``assert``. Version 2.0 declares tensors inside ``declare-network``, which
are indexed as in ``X[0,3]`` and flattened row by row. Both share one machine that evaluates every
parenthesis when it closes, so that no nesting is too deep for the interpreter's stack.

What is read: any nesting of ``and`` and ``or``; ``<= < >= > = == !=`` between two linear
expressions over ``+ - * /``; ``true`` and ``false``. Decimals are the rational numbers they spell,
``/`` divides exactly. Version 1.0 files may also use ``declare-fun`` without arguments, and the
commands of SMT-LIB that ask rather than state are skipped.

Decisions:

* An input without a bound is unbounded, an infinite side of the box.
* Bounds that contradict each other in every case are an error: the file would hold vacuously.
* Integers may stand for decimals in version 2.0, whose grammar asks for ``1.0``; ``-x`` may be
  written before a number in version 1.0, whose grammar asks for ``(- x)``.
* Element types ``real`` and ``float...`` are read alike: a property is about real numbers.
* Several inputs or outputs of a 2.0 network are joined in the order of their declaration, as the
  ONNX reader joins the model's; with ONNX names, whose order may be another, they are refused.
* Refused: a second network, ``declare-hidden``, inputs with initial values, integer types, products
  of variables, ``not``, ``=>``, ``let``, ``ite``.

Source: the VNN-LIB standard, github.com/VNNLIB/VNNLIB-Standard (grammar of version 2.0), and the
competition's benchmark files for version 1.0.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import NamedTuple, TypeAlias

from plverify.constraint import Constraint, Fold
from plverify.domain import Box, number_text
from plverify.errors import InputError
from plverify.io.vnnlib_terms import Budget, Case, Formula, Linear, SpecError, read_number
from plverify.property import Disjunct, Property

MAX_BYTES = 1 << 27
"""Length of a file after decompression."""

MAX_DEPTH = 10_000
"""Nesting of parentheses."""

MAX_ITEMS = 2_000_000
"""Words and comparisons held at a time: a top-level assertion is dropped once it is read."""

MAX_VARIABLES = 1 << 22
"""Inputs and outputs of a file."""

MAX_SIDES = 1 << 24
"""Sides of all boxes together: inputs times distinct boxes, times two."""

_CACHED = 100_000  # numbers of a file that are parsed once

_TOKEN = re.compile(
    r"""[()]                    # expressions
    | \[[^\[\]();"]*\]          # indices or a shape
    | "[^"\n]*"                 # an ONNX name
    | ;[^\n]*                   # a comment
    | [^\s()\[\]";]+            # a word
    | \S                        # a bracket or quote without its counterpart""",
    re.VERBOSE,
)
_SIMPLE = re.compile(
    r"""\s*\(\s*(?:
        declare-const\s+([XY])_(0|[1-9][0-9]{0,8})\s+Real
      | assert\s*\(\s*([<>]=)\s+([^\s()\[\]";]+(?:\[[0-9,]*\])?)\s+([-+]?[0-9][^\s()\[\]";]*)\s*\)
    )\s*\)""",
    re.VERBOSE,
)
_FLAT_NAME = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_REALS = {"real", "Real", "float16", "bfloat16", "float32", "float64"}
_SKIPPED = {"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit"}
_REFUSED = {"not", "=>", "let", "ite", "xor", "forall", "exists", "distinct", "abs", "min", "max"}


class _Word(NamedTuple):
    text: str
    at: int
    bracket: str = ""  # that follows, such as "[0,3]"


class Tensor(NamedTuple):
    """What version 2.0 declares of an input or output."""

    name: str
    at: int  # where in the text
    is_input: bool
    kind: str  # the element type, as written
    shape: tuple[int, ...]
    named: bool  # whether it has an ONNX name


class Query(NamedTuple):
    """A file with what version 2.0 declares in it; version 1.0 declares no network."""

    property: Property
    network: str
    tensors: tuple[Tensor, ...]  # in the order of their declaration


_Item: TypeAlias = _Word | Tensor | Linear | Formula


class _Frame(NamedTuple):
    at: int
    items: list[_Item]


def read_vnnlib(path: str) -> Property:
    """Read a VNN-LIB file, plain or gzipped (told by its first bytes).

    Raises
    ------
    InputError
        One line: ``path: ...`` where the file cannot be read, ``path:line:column: ...`` where it
        is wrong.
    """
    return parse_vnnlib(_read_text(path), path)


def _read_text(path: str) -> str:
    """The text of a file, decompressed."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as inner:
                    data = inner.read(MAX_BYTES + 1)
            else:
                data = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path}: damaged gzip data") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path!r:.80}: {error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: longer than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise InputError(f"{path}:{_place(before, len(before))}: not UTF-8 text") from None


def read_query(path: str) -> Query:
    """Read a file as `read_vnnlib` does, with its declarations."""
    text = _read_text(path)
    reader = _Reader(text)
    spec = _run(reader, text, path)
    return Query(spec, reader.network, reader.tensors)


def parse_vnnlib(text: str, name: str = "<text>") -> Property:
    """The property that a VNN-LIB text states; `name` is what errors call the file.

    >>> spec = parse_vnnlib('''(declare-const X_0 Real) (declare-const Y_0 Real)
    ...     (assert (and (>= X_0 0) (<= X_0 0.1)))
    ...     (assert (or (> Y_0 3) (<= (+ Y_0 (* 2 X_0)) -1)))''')
    >>> spec.describe()
    '1 input, 1 output; violated in box [0, 1/10] where y_0 > 3, or 2 x_0 + y_0 <= -1'
    """
    return _run(_Reader(text), text, name)


def _run(reader: _Reader, text: str, name: str) -> Property:
    try:
        return reader.read()
    except SpecError as error:
        raise InputError(f"{name}:{_place(text, error.at)}: {error}") from None


def _place(text: str, at: int) -> str:
    """``line:column`` of an offset, both from 1."""
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


class _Reader:
    """One pass over the tokens; see the module's text."""

    def __init__(self, text: str) -> None:
        self.network = ""
        self.tensors: tuple[Tensor, ...] = ()
        self._text = text
        self._budget = Budget()
        # Words with a value: variables as in `Linear`, numbers once they were parsed.
        self._values: dict[str, int | Fraction] = {}
        self._tensors: dict[str, Tensor] = {}
        self._base: dict[str, int] = {}  # number of the first element of a tensor
        self._sizes = [0, 0]  # highest declared output and input, plus one
        self._declared = [0, 0]
        self._version = 0  # 2 once the file has shown to be 2.0, 1 for 1.0
        self._fold = Fold([], [])  # constraints that stand in every case
        self._factors: list[list[Case]] = []
        self._where: dict[int, int] = {}  # offset of a constraint, by its id
        self._held = 0
        self._commands: dict[str, Callable[[_Frame], None]] = {
            "assert": self._assert,
            "declare-const": self._declare_const,
            "declare-fun": self._declare_const,
            "declare-network": self._declare_network,
            "vnnlib-version": self._read_version,
        }

    def read(self) -> Property:
        text, at = self._text, 0
        while at < len(text):
            simple = _SIMPLE.match(text, at)
            at = simple.end() if simple is not None and self._take(simple) else self._read_one(at)
        return self._finish()

    def _take(self, match: re.Match[str]) -> bool:
        """Take a command that most of every file consists of; False if it is not that simple."""
        letter, index, operator, name, number = match.groups()
        if letter is not None:
            name, at = f"{letter}_{index}", int(index)
            if self._version > 1 or name in self._values or at >= MAX_VARIABLES:
                return False
            self._version = 1
            self._declare(name, letter == "X", at)
            return True
        variable, value = self._values.get(name), self._values.get(number)
        if not isinstance(variable, int) or variable < 0:
            return False
        if value is None:
            value = self._resolve(_Word(number, match.start(5)))
            if len(self._values) < _CACHED:
                self._values[number] = value
        assert isinstance(value, Fraction)
        upper = operator == "<="
        if not self._fold.bound(variable, value, upper):
            sign = 1 if upper else -1
            row = Constraint(((variable, sign),), (), sign * value)
            at = self._text.rindex("(", 0, match.start(3))
            raise SpecError(at, self._contradiction(self._fold, row))
        return True

    def _read_one(self, start: int) -> int:
        """Read one command; where it ends."""
        stack: list[_Frame] = []
        for match in _TOKEN.finditer(self._text, start):
            token, at = match[0], match.start()
            head = token[0]
            if head == ";":
                continue
            if head == "(":
                if len(stack) == MAX_DEPTH:
                    raise SpecError(at, f"nested deeper than {MAX_DEPTH}")
                stack.append(_Frame(at, []))
                continue
            if not stack:
                raise SpecError(at, f"{token!r:.60} outside parentheses")
            if head != ")":
                items = stack[-1].items
                if token in ("[", "]", '"'):
                    raise SpecError(at, f"{token!r} without its counterpart")
                if head == "[":
                    last = items[-1] if items else None
                    if not isinstance(last, _Word) or last.bracket:
                        raise SpecError(at, f"{token!r:.60} follows no name")
                    items[-1] = last._replace(bracket=token)
                    continue
                self._held += 1
                if self._held > MAX_ITEMS:
                    raise SpecError(at, f"more than {MAX_ITEMS} words and comparisons at a time")
                items.append(_Word(token, at))
                continue
            frame = stack.pop()
            if stack:
                stack[-1].items.append(self._value(frame, stack))
            else:
                self._command(frame)
                return match.end()
        if stack:
            raise SpecError(stack[-1].at, "this '(' is not closed")
        return len(self._text)

    # ------------------------------------------------------------ commands

    def _command(self, frame: _Frame) -> None:
        word = self._head(frame)
        self._held -= sum(isinstance(item, _Word) for item in frame.items)
        if word.text in _SKIPPED:
            return
        command = self._commands.get(word.text)
        if command is None:
            raise SpecError(word.at, f"{word.text!r:.60} is no command")
        if word.text != "assert":
            wanted = 1 if word.text.startswith(("declare-const", "declare-fun")) else 2
            if self._version not in (0, wanted):
                raise SpecError(word.at, f"{word.text} in a file of version {self._version}.0")
            self._version = wanted
        command(frame)

    def _assert(self, frame: _Frame) -> None:
        if len(frame.items) != 2:
            raise SpecError(frame.at, f"assert has {len(frame.items) - 1} operands, expected 1")
        formula = self._formula(frame.items[1], frame)
        for atom in formula.atoms:
            if not self._fold.add(atom):
                raise SpecError(self._where[id(atom)], self._contradiction(self._fold, atom))
        self._held -= len(formula.atoms)
        self._factors.extend(formula.factors)

    def _declare_const(self, frame: _Frame) -> None:
        words = [self._word(item, frame) for item in frame.items]
        if words[0].text == "declare-fun":
            # The empty list of arguments is the one empty expression there is.
            words = [w for w in words if w.text != "()"]
        if len(words) != 3:
            raise SpecError(frame.at, f"{words[0].text} takes a name and a type")
        _, name, kind = words
        match = _FLAT_NAME.fullmatch(name.text)
        if match is None or name.bracket:
            raise SpecError(name.at, f"{name.text!r:.60} is not a name like X_0 or Y_0")
        if kind.text != "Real" or kind.bracket:
            raise SpecError(kind.at, f"{kind.text!r:.60} is not the type Real")
        if name.text in self._values:
            raise SpecError(name.at, f"{name.text} is declared twice")
        is_input, index = match[1] == "X", int(match[2])
        if index >= MAX_VARIABLES:
            raise SpecError(name.at, f"{name.text}: more than {MAX_VARIABLES} variables")
        self._declare(name.text, is_input, index)

    def _declare(self, name: str, is_input: bool, index: int) -> None:
        self._values[name] = index if is_input else -1 - index
        self._declared[is_input] += 1
        self._grow(is_input, index + 1)

    def _grow(self, is_input: bool, size: int) -> None:
        more = size - self._sizes[is_input]
        if more > 0:
            self._sizes[is_input] = size
            if is_input:
                self._fold.extend(more)

    def _read_version(self, frame: _Frame) -> None:
        words = [self._word(item, frame) for item in frame.items]
        if len(words) != 2:
            raise SpecError(frame.at, "vnnlib-version takes a version such as <2.0>")
        if self._tensors:
            raise SpecError(frame.at, "vnnlib-version after a network")
        match = re.fullmatch(r"<?([0-9]{1,9})\.([0-9]{1,9})>?", words[1].text)
        if match is None or int(match[1]) != 2:
            raise SpecError(words[1].at, f"version {words[1].text!r:.60} is not supported")

    def _declare_network(self, frame: _Frame) -> None:
        items = frame.items
        if len(items) < 2 or not isinstance(items[1], _Word):
            raise SpecError(frame.at, "declare-network takes a name and declarations")
        self._new_name(items[1])
        if self._tensors:
            raise SpecError(frame.at, "a second network is not supported")
        tensors = []
        for item in items[2:]:
            if not isinstance(item, Tensor):
                raise SpecError(frame.at, "declare-network holds something that is no declaration")
            tensors.append(item)
        self.network, self.tensors = items[1].text, tuple(tensors)
        for is_input, what in ((True, "input"), (False, "output")):
            found = [t for t in tensors if t.is_input == is_input]
            if not found:
                raise SpecError(frame.at, f"the network has no {what}")
            if len(found) > 1 and any(t.named for t in found):
                raise SpecError(
                    found[1].at,
                    f"several {what}s by ONNX name: declare them in the model's order without",
                )
            for tensor in found:
                if tensor.name in self._tensors or tensor.name == items[1].text:
                    raise SpecError(tensor.at, f"{tensor.name} is declared twice")
                self._tensors[tensor.name] = tensor
                first = self._sizes[is_input]
                self._base[tensor.name] = first
                if first + prod(tensor.shape) > MAX_VARIABLES:
                    raise SpecError(tensor.at, f"more than {MAX_VARIABLES} variables")
                self._declared[is_input] = first + prod(tensor.shape)
                self._grow(is_input, self._declared[is_input])

    def _new_name(self, word: _Word) -> str:
        if word.bracket or not _NAME.fullmatch(word.text):
            raise SpecError(word.at, f"{word.text!r:.60} is not a name")
        return word.text

    # --------------------------------------------------------- expressions

    def _head(self, frame: _Frame) -> _Word:
        if not frame.items:
            raise SpecError(frame.at, "an empty expression")
        word = frame.items[0]
        if not isinstance(word, _Word) or word.bracket:
            raise SpecError(frame.at, "an expression does not start with an operator")
        return word

    def _value(self, frame: _Frame, stack: list[_Frame]) -> _Item:
        """The value of an expression inside another one, which has just been closed."""
        if not frame.items and stack[-1].items[:1]:
            outer = stack[-1].items[0]
            if isinstance(outer, _Word) and outer.text == "declare-fun":
                self._held += 1
                return _Word("()", frame.at)
        word = self._head(frame)
        operator, count = word.text, len(frame.items) - 1
        if operator in ("and", "or"):
            self._held -= sum(isinstance(item, _Word) for item in frame.items)
            parts = [self._formula(item, frame) for item in frame.items[1:]]
            if not parts:
                raise SpecError(frame.at, f"{operator} without operands")
            if operator == "and":
                return Formula.all_of(parts)
            return Formula.any_of(parts, self._budget, frame.at)
        self._held -= count  # the operator's word stands for the result
        if operator in ("<=", ">=", "<", ">", "=", "==", "!="):
            if count != 2:
                raise SpecError(frame.at, f"{operator} has {count} operands, expected 2")
            return self._comparison(frame)
        if operator in ("+", "-", "*", "/"):
            if not count:
                raise SpecError(frame.at, f"{operator} without operands")
            return self._arithmetic(frame)
        if operator in ("declare-input", "declare-output"):
            return self._tensor(frame, operator == "declare-input")
        if operator == "declare-hidden":
            raise SpecError(frame.at, "constraints on hidden values are not supported")
        if operator in ("equal-to", "isomorphic-to"):
            raise SpecError(frame.at, f"{operator}: a second network is not supported")
        if operator in _REFUSED:
            raise SpecError(word.at, f"{operator!r} is not part of VNN-LIB")
        if operator in self._commands:
            raise SpecError(word.at, f"{operator} inside another expression")
        raise SpecError(word.at, f"{operator!r:.60} is no operator")

    def _tensor(self, frame: _Frame, is_input: bool) -> Tensor:
        words = [self._word(item, frame) for item in frame.items]
        if any(w.text == "initialized" for w in words[3:]):
            raise SpecError(frame.at, "inputs with initial values are not supported")
        named = len(words) == 4 and words[3].text.startswith('"')
        if len(words) != 3 + named or not words[2].bracket:
            raise SpecError(
                frame.at, f"{words[0].text} takes a name, a type and a shape such as X real [1,5]"
            )
        kind = words[2]
        if kind.text not in _REALS:
            raise SpecError(kind.at, f"the element type {kind.text!r:.60} is not supported")
        shape = self._integers(kind)
        if 0 in shape:
            raise SpecError(kind.at, f"the shape {kind.bracket:.60} has a dimension 0")
        return Tensor(self._new_name(words[1]), words[1].at, is_input, kind.text, shape, named)

    def _integers(self, word: _Word) -> tuple[int, ...]:
        """The numbers in the bracket that follows a word."""
        parts = word.bracket[1:-1].split(",") if word.bracket[1:-1].strip() else []
        if len(parts) > 64 or not all(re.fullmatch(r"\s*[0-9]{1,18}\s*", p) for p in parts):
            raise SpecError(word.at, f"{word.bracket!r:.60} is not a list of indices")
        return tuple(int(p) for p in parts)

    def _comparison(self, frame: _Frame) -> Formula:
        operator, left, right = frame.items
        assert isinstance(operator, _Word)
        a, b = self._operand(left, frame), self._operand(right, frame)
        text = operator.text
        if text in (">=", ">"):
            a, b = b, a
        if text in ("<=", ">=", "<", ">"):
            return self._less(a, b, len(text) == 1, frame.at)
        difference = self._difference(a, b, frame.at)
        parts = [self._atom(difference, sign, text == "!=", frame.at) for sign in (1, -1)]
        if text == "!=":
            return Formula.any_of(parts, self._budget, frame.at)
        return Formula.all_of(parts)

    def _less(
        self, a: int | Fraction | Linear, b: int | Fraction | Linear, strict: bool, at: int
    ) -> Formula:
        """``a <= b`` or ``a < b``."""
        # Bounds of one variable are most of every file.
        if isinstance(a, int) and isinstance(b, Fraction):
            term, bound = (a, 1), b
        elif isinstance(a, Fraction) and isinstance(b, int):
            term, bound = (b, -1), -a
        else:
            return self._atom(self._difference(a, b, at), 1, strict, at)
        variable, sign = term
        if variable >= 0:
            constraint = Constraint((term,), (), bound, strict)
        else:
            constraint = Constraint((), ((-1 - variable, sign),), bound, strict)
        self._where[id(constraint)] = at
        return Formula([constraint], [])

    def _difference(
        self, a: int | Fraction | Linear, b: int | Fraction | Linear, at: int
    ) -> Linear:
        left, right = (v if isinstance(v, Linear) else Linear.of(v) for v in (a, b))
        right.times(Fraction(-1), self._budget, at)
        return Linear.sum([left, right], self._budget, at)

    def _atom(self, form: Linear, sign: int, strict: bool, at: int) -> Formula:
        """``sign * form <= 0`` or ``< 0``."""
        scale = sign if form.scale > 0 else -sign
        terms = {v: scale * c for v, c in form.terms.items()}
        bound = -sign * form.constant / abs(form.scale)
        try:
            constraint = Constraint.of(
                {v: c for v, c in terms.items() if v >= 0},
                {-1 - v: c for v, c in terms.items() if v < 0},
                bound,
                strict,
            )
        except InputError as error:
            raise SpecError(at, str(error)) from None
        if isinstance(constraint, Constraint):
            self._where[id(constraint)] = at
        return Formula.of(constraint)

    def _arithmetic(self, frame: _Frame) -> Linear:
        operator = frame.items[0]
        assert isinstance(operator, _Word)
        at, budget = frame.at, self._budget
        parts = []
        for item in frame.items[1:]:
            value = self._operand(item, frame)
            parts.append(value if isinstance(value, Linear) else Linear.of(value))
        if operator.text == "-":
            for part in parts[1:] or parts:
                part.times(Fraction(-1), budget, at)
        if operator.text in "+-":
            return Linear.sum(parts, budget, at)
        if operator.text == "*":
            forms = [p for p in parts if p.terms and any(p.terms.values())]
            if len(forms) > 1:
                raise SpecError(at, "a product of variables: only linear constraints are supported")
            out = forms[0] if forms else parts[0]
            for part in parts:
                if part is not out:
                    out.times(part.constant, budget, at)
            return out
        out = parts[0]
        for part in parts[1:]:
            if part.terms and any(part.terms.values()):
                raise SpecError(at, "a division by a variable: only linear constraints are read")
            if not part.constant:
                raise SpecError(at, "a division by zero")
            out.times(1 / part.constant, budget, at)
        return out

    # --------------------------------------------------------------- items

    def _word(self, item: _Item, frame: _Frame) -> _Word:
        if not isinstance(item, _Word):
            raise SpecError(frame.at, "an expression where a word is expected")
        return item

    def _formula(self, item: _Item, frame: _Frame) -> Formula:
        if isinstance(item, Formula):
            return item
        if isinstance(item, _Word):
            if item.text in ("true", "false") and not item.bracket:
                return Formula.of(item.text == "true")
            raise SpecError(item.at, f"{item.text!r:.60} is not a formula")
        raise SpecError(frame.at, "a number where a formula is expected")

    def _operand(self, item: _Item, frame: _Frame) -> int | Fraction | Linear:
        if isinstance(item, Linear):
            return item
        if not isinstance(item, _Word):
            raise SpecError(frame.at, "a formula where a number is expected")
        key = item.text + item.bracket
        value = self._values.get(key)
        if value is None:
            value = self._resolve(item)
            if len(self._values) < _CACHED or isinstance(value, int):
                self._values[key] = value
        return value

    def _resolve(self, word: _Word) -> int | Fraction:
        """A number, or an element of a tensor; flat names are known already."""
        text = word.text
        if text in self._tensors:
            tensor, index = self._tensors[text], self._integers(word)
            if len(index) != len(tensor.shape):
                raise SpecError(
                    word.at, f"{text} has {len(tensor.shape)} dimensions, {len(index)} are indexed"
                )
            flat = 0
            for i, n in zip(index, tensor.shape, strict=True):
                if i >= n:
                    raise SpecError(word.at, f"{text}{word.bracket:.60} is outside its shape")
                flat = flat * n + i
            flat += self._base[text]
            return flat if tensor.is_input else -1 - flat
        if text[0] in "+-.0123456789" and not word.bracket:
            return self._budget.number(read_number(text, word.at), word.at)
        raise SpecError(word.at, f"{text!r:.60} is not declared")

    # -------------------------------------------------------------- result

    def _finish(self) -> Property:
        end = len(self._text)
        for is_input, letter in ((True, "X"), (False, "Y")):
            if not self._sizes[is_input]:
                what = "input" if is_input else "output"
                raise SpecError(end, f"the file declares no {what}")
            if self._declared[is_input] < self._sizes[is_input]:
                names = (f"{letter}_{i}" for i in range(self._sizes[is_input]))
                missing = next(name for name in names if name not in self._values)
                last = self._sizes[is_input] - 1
                raise SpecError(end, f"{letter}_{last} is declared, {missing} is not")
        cases = Formula([], self._factors).cases(self._budget, end)
        disjuncts = self._disjuncts(cases)
        outputs, inputs = self._sizes
        return Property(inputs, outputs, tuple(disjuncts))

    def _disjuncts(self, cases: list[Case]) -> list[Disjunct]:
        """One disjunct per case that some input satisfies; neighbours share a box if they can."""
        common = self._fold.finish()
        if isinstance(common, Constraint):
            raise SpecError(self._where[id(common)], self._contradiction(self._fold, common))
        shared = last = Box.of_exact(self._fold.lo, self._fold.hi)
        out, sides = [], 2 * shared.dim
        conflict: tuple[int, str] | None = None
        for case in cases:
            fold = Fold(shared.lo, shared.hi)
            culprit = next((c for c in (*common, *case) if not fold.add(c)), None)
            rest = fold.finish() if culprit is None else culprit
            if isinstance(rest, Constraint):
                if conflict is None:
                    conflict = (self._where[id(rest)], self._contradiction(fold, rest))
                continue
            if fold.lo is shared.lo:
                box = shared
            elif tuple(fold.lo) == last.lo and tuple(fold.hi) == last.hi:
                box = last
            else:
                sides += 2 * shared.dim
                if sides > MAX_SIDES:
                    raise SpecError(self._where[id(case[0])], "too many input boxes")
                box = last = Box.of_exact(fold.lo, fold.hi)
            out.append(Disjunct(box, rest))
        if conflict is not None and not out:
            raise SpecError(*conflict)
        return out

    def _contradiction(self, fold: Fold, constraint: Constraint) -> str:
        [(i, _)] = constraint.inputs
        return (
            f"no input is left: input {i} has the lower bound {number_text(fold.lo[i])} and the "
            f"upper bound {number_text(fold.hi[i])}" + ", one of them strict" * constraint.strict
        )
