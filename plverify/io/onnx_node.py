"""One ONNX node as its handler sees it: checked attributes and inputs, and errors that name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plverify.errors import InputError
from plverify.exact_array import ExactArray
from plverify.io.trace import Graph, Live

Array: TypeAlias = NDArray[Any]
Value: TypeAlias = Live | Array
"""A tensor is computed from the input (`Live`) or known when the file is read (an array)."""

MAX_GROWTH = 1 << 22
"""Most entries of a constant that the file computes, unless one of its inputs is larger."""
MAX_COMPUTED = 1 << 27
"""Most entries of all computed constants together."""


@dataclass
class Budget:
    """How many entries of constants were computed so far."""

    spent: int = 0


@dataclass
class Node:
    """One node: its values and attributes, and the graph that collects what it does."""

    name: str
    op: str
    opset: int
    attributes: dict[str, Any]
    inputs: list[Value | None]
    input_names: list[str]
    outputs: list[str]
    graph: Graph
    budget: Budget

    def error(self, reason: str) -> InputError:
        """An error that names this node."""
        return InputError(f"node '{self.name}' ({self.op}): {reason}")

    # ---------------------------------------------------------------- attributes

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.error(f"attribute {name} is not an integer")
        return value

    def flag(self, name: str, default: int) -> bool:
        """An attribute that is 0 or 1."""
        value = self.integer(name, default)
        if value not in (0, 1):
            raise self.error(f"attribute {name} is {value}, expected 0 or 1")
        return value == 1

    def number(self, name: str, default: float) -> float:
        """A finite float attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, float):
            raise self.error(f"attribute {name} is not a float")
        if not np.isfinite(value):
            raise self.error(f"{name} is {value}")
        return value

    def integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers; None where it is absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            raise self.error(f"attribute {name} is not a list of integers")
        return value

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.error(f"attribute {name} is not a text")
        return value

    # ------------------------------------------------------------------- inputs

    def get(self, k: int) -> Value | None:
        """Input ``k``; None where it is left out."""
        return self.inputs[k] if k < len(self.inputs) else None

    def need(self, k: int = 0) -> Value:
        """Input ``k``, which must be there."""
        value = self.get(k)
        if value is None:
            raise self.error(f"has no input {k}")
        return value

    def live(self, k: int = 0) -> Live:
        """Input ``k``, which must be computed."""
        value = self.need(k)
        if not isinstance(value, Live):
            raise self.error(f"'{self.input_names[k]}' is a constant where a value is expected")
        return value

    def constant(self, k: int, what: str) -> Array | None:
        """Input ``k``, which must be a constant if it is there."""
        value = self.get(k)
        if isinstance(value, Live):
            raise self.error(f"{what} '{self.input_names[k]}' is not a constant")
        return value

    def list_of(self, k: int, what: str) -> list[int] | None:
        """Input ``k``, a constant list of integers; None where it is absent."""
        value = self.constant(k, what)
        if value is None:
            return None
        if value.dtype.kind not in "iu" or value.ndim > 1 or value.size > 1 << 16:
            raise self.error(f"{what} is not a list of integers")
        return [int(v) for v in value.reshape(-1).tolist()]

    def axes(self, since: int) -> list[int] | None:
        """The ``axes``: an input from opset ``since`` on, an attribute before."""
        if self.opset >= since:
            return self.list_of(1, "its list of axes")
        return self.integers("axes")

    def weight(self, k: int, allow_inf: bool = False) -> ExactArray:
        """Input ``k``, a constant of floats, exactly; NaN is an error that names the tensor."""
        value = self.constant(k, "tensor")
        if value is None:
            raise self.error(f"has no input {k}")
        name = self.input_names[k]
        if value.dtype.kind != "f":
            raise self.error(f"'{name}' has element type {value.dtype}, expected floats")
        if value.size == 0:
            raise self.error(f"'{name}' is empty, shape {value.shape}")
        return ExactArray(value, f"'{name}'", allow_inf)

    def operand(self, k: int) -> Live | ExactArray:
        """Input ``k``: computed, or a constant of floats."""
        value = self.need(k)
        return value if isinstance(value, Live) else self.weight(k)

    def operands(self) -> list[Live | ExactArray]:
        """All inputs."""
        return [self.operand(k) for k in range(len(self.inputs))]

    # ----------------------------------------------------------------- constants

    def reserve(self, shape: Any, more: int = 0) -> None:
        """Refuse a computed constant of this shape if it is too large to be meant.

        ``more`` is work on top of one operation per entry.
        """
        size = prod(int(d) for d in shape)
        largest = max((v.size for v in self.inputs if isinstance(v, np.ndarray)), default=0)
        self.budget.spent += size + more
        if len(shape) > 32 or size > max(MAX_GROWTH, largest):
            raise self.error(f"computes a constant of {size} entries, more than {MAX_GROWTH}")
        if self.budget.spent > MAX_COMPUTED:
            raise self.error(f"computed constants have more than {MAX_COMPUTED} entries")


Result: TypeAlias = Value | list[Value]
Handler: TypeAlias = Callable[[Node], Result]
