"""What random differential tests share: what a mismatch is, smaller cases, cases as JSON.

`shrink` makes a failing case smaller while it still fails: fewer layers, units, outputs and
constraints first, then zeros and small integers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from fractions import Fraction
from math import copysign, frexp
from operator import mul
from typing import Any


class Mismatch(AssertionError):
    """The engine disagrees with its oracle; `kind` is one word for what differs."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def require(condition: Any, kind: str, *details: Any) -> None:
    """Raise a `Mismatch` unless the condition holds."""
    if not condition:
        raise Mismatch(kind, ", ".join(str(detail)[:300] for detail in details))


Case = Any  # `strategies.Case`, or a dictionary of `fuzz_nd`


def simpler(case: Case) -> Iterator[Case]:
    """Simpler variants of a case, the large steps first; not all of them are valid."""
    weights, domain = case["weights"], case["domain"]
    depth = len(case["slopes"])

    def changed(change: Callable[[Any], Any]) -> Case:
        copy: Any = deepcopy(case)
        change(copy)
        return copy

    def without_layer(c: Any, k: int) -> None:
        del c["slopes"][k], c["biases"][k]
        columns = len(c["weights"][k][0])
        del c["weights"][k]
        c["weights"][k] = [(row + [0] * columns)[:columns] for row in c["weights"][k]]

    def without_unit(c: Any, k: int, i: int) -> None:
        del c["weights"][k][i], c["biases"][k][i]
        if k < depth:
            del c["slopes"][k][i]
            c["weights"][k + 1] = [row[:i] + row[i + 1 :] for row in c["weights"][k + 1]]

    def without_input(c: Any, i: int) -> None:
        del c["domain"]["basis"][i], c["domain"]["origin"][i]
        c["weights"][0] = [row[:i] + row[i + 1 :] for row in c["weights"][0]]

    def without_slice(c: Any) -> None:
        basis, origin = c["domain"].pop("basis"), c["domain"].pop("origin")
        rows = [[Fraction(w) for w in row] for row in c["weights"][0]]
        place = [*zip(*basis, strict=True), origin]
        table = [[sum(map(mul, row, column)) for column in place] for row in rows]
        c["weights"][0] = [row[:-1] for row in table]
        c["biases"][0] = [b + row[-1] for b, row in zip(c["biases"][0], table, strict=True)]

    def put(c: Any, path: Sequence[Any], value: Any) -> None:
        for key in path[:-1]:
            c = c[key]
        c[path[-1]] = value

    for k in range(depth):
        yield changed(lambda c, k=k: without_layer(c, k))
    for k, matrix in enumerate(weights):
        for i in range(len(matrix) if len(matrix) > 1 else 0):
            yield changed(lambda c, k=k, i=i: without_unit(c, k, i))
    if "basis" in domain:
        yield changed(without_slice)
        for i in range(len(domain["basis"])):
            yield changed(lambda c, i=i: without_input(c, i))
    elif domain["kind"] != "space":
        dim = domain["dim"]
        unit_box = {"kind": "box", "dim": dim, "lo": [-1] * dim, "hi": [1] * dim}
        for plain in ({"kind": "space", "dim": dim}, unit_box):
            if plain != {key: v for key, v in domain.items() if key != "inside"}:
                yield changed(lambda c, plain=plain: put(c, ["domain"], plain))
    for i in range(len(domain.get("a", ()))):
        yield changed(lambda c, i=i: (c["domain"]["a"].pop(i), c["domain"]["b"].pop(i)))
    for key in ("biases", "slopes"):
        for k, vector in enumerate(case[key]):
            if any(vector):
                yield changed(lambda c, at=(key, k), v=vector: put(c, at, [0] * len(v)))
    for path, value in list(_numbers(case)):
        power = copysign(2.0 ** (frexp(float(value))[1] - 1), value) if value else 0
        rounded = (round(value), round(value / 2)) if abs(value) < 2**40 else (power,)
        for new in (0, 1, -1, *rounded):
            if new == value and type(new) is type(value):
                break
            if abs(new) <= abs(value):
                yield changed(lambda c, path=path, new=new: put(c, path, new))


def simpler_graph(case: Case) -> Iterator[Case]:
    """`simpler` for the cases of `fuzz_nd`, which are graphs."""
    nodes, domain = case["nodes"], case["domain"]

    def put(path: Sequence[Any], value: Any) -> Case:
        copy = at = deepcopy(case)
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        return copy

    for k, node in enumerate(nodes[:-1]):
        if node["kind"] == "linear":
            yield put(["nodes"], nodes[: k + 1])
    if domain["kind"] != "space" and "basis" not in domain:
        yield put(["domain"], {"kind": "space", "dim": domain["dim"]})
    for i in range(len(domain.get("a", ()))):
        a, b = ([*domain[key][:i], *domain[key][i + 1 :]] for key in "ab")
        yield put(["domain"], {**domain, "a": a, "b": b})
    for k, node in enumerate(nodes):
        at, entries = ["nodes", k, "entries"], node["entries"]
        if "table" in node:  # a linear node like any other
            yield put(["nodes", k], {key: v for key, v in node.items() if key != "table"})
        elif node["kind"] == "linear":
            for i in range(len(entries) if k == len(nodes) - 1 > 0 and len(entries) > 1 else 0):
                yield put(at, entries[:i] + entries[i + 1 :])
            for i, (row, bias) in enumerate(entries):
                rows = [row[:j] + row[j + 1 :] for j in range(len(row))]
                if any(weight != round(weight) for _, weight in row):
                    rows.append([[j, round(weight)] for j, weight in row])
                for new in rows:
                    yield put([*at, i, 0], new)
                for less in dict.fromkeys((0, round(bias))):
                    if less != bias:
                        yield put([*at, i, 1], less)
        elif node["kind"] == "units" and any(entries):
            yield put(at, [0] * len(entries))


def _numbers(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All numbers of a case with the way to them; `dim` and the point inside are none."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        if isinstance(value, (dict, list)) and key != "inside":
            yield from _numbers(value, (*path, key))
        elif isinstance(value, (int, float, Fraction)) and key != "dim":
            yield (*path, key), value


def shrink(case: Case, fails: Callable[[Case], bool], seconds: float = 120.0) -> Case:
    """A case that still fails and none of whose simpler variants does, if time allows."""
    end = time.monotonic() + seconds

    def step() -> Case | None:
        variants = simpler_graph if "nodes" in case else simpler
        return next((c for c in variants(case) if time.monotonic() < end and fails(c)), None)

    while (smaller := step()) is not None:
        case = smaller
    return case


def to_json(value: Any) -> Any:
    """A case in JSON's types; Fractions become text."""
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items() if key != "inside"}
    if isinstance(value, (list, tuple)):
        return [to_json(entry) for entry in value]
    return str(value) if isinstance(value, Fraction) else value


def from_json(value: Any) -> Any:
    """The inverse of `to_json`."""
    if isinstance(value, dict):
        return {key: v if key == "kind" else from_json(v) for key, v in value.items()}
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    return Fraction(value) if isinstance(value, str) else value
