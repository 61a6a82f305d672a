"""The deployed network beside the theorem: float32 runs near a witness, proofs about all runs.

A verdict is about the function over the reals; what is deployed rounds. Here floating-point inputs
that lie *exactly* inside the property's box are run as the network is deployed: by onnxruntime (one
thread, graph optimisation off) or torch where the network was loaded from one of them, else node
by node in numpy. Whether such a run violates is decided exactly, from the numbers it returned.

Which points are worth a run is guessed: candidates are ranked by evaluating them all at once in
float64 and in float32. The element type is that of the model (float16 and float64 models exist).

`prove` asks for more: that no execution whatever violates. The tree that proves it for the real
function is checked again with all rounding that `plverify.executed` allows; where it has no room
for that, the search is asked for trees of a stricter property.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plverify.certificate import check_executed
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import FloatArray
from plverify.executed import executed
from plverify.network import Network
from plverify.nodes import Conv, Linear, Units
from plverify.proof import encode, unsat_header
from plverify.property import Ball, Group, Property
from plverify.question import Progress, decide
from plverify.result import rounded

if TYPE_CHECKING:
    from plverify.io.onnx import OnnxFile
    from plverify.io.torch import TorchProgram

CONFIRMED, NOT_CONFIRMED, NO_POINT = "confirmed", "not_confirmed", "no_float32_point"
PROVED, UNKNOWN = "proved", "unknown"

SECONDS = 3.0
"""A search that has found nothing stops after this long."""
_ROUNDS = 4
_RUNS = 6
"""Runs per round, of the candidates that look best."""
_RANGE = 2.0**40
"""Infinite sides end here where the nearest numbers are taken; float32 and float64 have it."""
_ROOM = 2.0**-20
"""By so much of the radius points are kept off a ball's sphere."""
_FAR = 10.0
"""Where an input has no bound, points between -10 and 10 are tried."""
_MARGINS = (16, 128, 1024, 8192)
"""Margins that are tried for a proof about executions, in multiples of the error seen at points."""


@dataclass(frozen=True)
class FloatPoint:
    """An input that violates as executed.

    Attributes
    ----------
    point, outputs : tuple of float
        Both are what the element type holds.
    runtime : str
        "onnxruntime", "torch" or "numpy".
    """

    point: tuple[float, ...]
    outputs: tuple[float, ...]
    runtime: str


def confirm(
    net: Network,
    spec: Property,
    disjunct: int,
    witness: Sequence[Fraction],
    seconds: float = SECONDS,
) -> tuple[str, FloatPoint | None]:
    """Look for a float32 input near an exact witness whose execution violates.

    Parameters
    ----------
    net, spec, disjunct, witness
        The witness lies in this disjunct of the property.
    seconds : float
        Wall time after which the search for another point ends.

    Returns
    -------
    status, point
        "confirmed" with a point; "not_confirmed"; "no_float32_point" where no box of the property
        holds a float32 input at all.

    Raises
    ------
    InputError, MissingExtra
        If what the network was loaded from cannot be run.
    """
    runtime = runtime_of(net)
    deadline = time.monotonic() + seconds
    home = spec.disjuncts[disjunct].box
    groups = sorted(spec.groups, key=lambda group: group.box != home)[:8]
    start = np.array([rounded(v) for v in witness])
    status = NO_POINT
    for group in groups:
        if status == NOT_CONFIRMED and time.monotonic() > deadline:
            break
        sides = float_sides(group.box, runtime.dtype)
        if sides is None:
            continue
        status = NOT_CONFIRMED
        goal = Goal(net, group, sides, runtime)
        first = goal.inside(start[None])
        found = goal.run(first) or goal.climb(first[0], deadline)
        if found is not None:
            return CONFIRMED, found
    if status == NO_POINT and len(spec.groups) > len(groups):
        status = NOT_CONFIRMED
    return status, None


def violation(
    net: Network, spec: Property, seconds: float = SECONDS, *, optimised: bool = False
) -> FloatPoint | None:
    """Look for a float32 input whose execution violates, though no real input does.

    Few points are tried, and the runtime is not even loaded unless rounding, as numpy's float32
    shows it, is of the size of what is missing. ``optimised`` is that of `runtime_of`.

    Raises
    ------
    InputError, MissingExtra
        If what the network was loaded from cannot be run.
    """
    kind = _element_type(net)
    deadline = time.monotonic() + seconds
    draws = _Draws()
    runtime: Runtime | None = None
    for group in spec.groups[:8]:
        sides = float_sides(group.box, kind)
        if sides is None:
            continue
        goal = Goal(net, group, sides, Runtime("numpy", kind, _numpy_run(net)))
        points = goal.sample(draws)
        exact, _ = goal.scores(points)
        points = points[np.argsort(exact, kind="stable")[:4]]
        points = np.concatenate([points, goal.around(points[0], draws)])
        exact, executed = goal.scores(points)
        error = float(np.abs(executed - exact).max(initial=0.0))
        best = np.argsort(executed, kind="stable")[:_RUNS]
        if not executed[best[0]] <= 8 * error:
            continue
        goal.runtime = runtime = runtime or runtime_of(net, optimised=optimised)
        found = goal.run(points[best])
        if found is not None or time.monotonic() > deadline:
            return found
    return None


def prove(
    net: Network,
    spec: Property,
    body: bytes,
    *,
    threads: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> bytes | None:
    """A body of a proof of "unsat" that holds for every execution, too; None if none is found.

    Parameters
    ----------
    net : Network
    spec : Property
    body : bytes
        Of a proof about the real function, which is tried first.
    threads, timeout, progress
        As in `plverify.verdict.verify`.

    Raises
    ------
    InputError, MissingExtra
        If there is no error model for the execution.
    """
    model = executed(net)
    header = unsat_header(net, spec)

    def holds(tree: bytes) -> bool:
        return check_executed(encode(header, tree), net, spec, model).accepted

    deadline = None if timeout is None else time.monotonic() + timeout
    if holds(body):
        return body
    error = _seen_error(net, spec)
    for factor in _MARGINS:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            break
        stricter = _with_margin(spec, Fraction(factor * error))
        answer = decide(
            net, stricter, want_proof=True, threads=threads, timeout=left, progress=progress
        )
        if answer["status"] != "unsat":
            break
        if holds(answer["proof"]):
            return bytes(answer["proof"])
    return None


def _seen_error(net: Network, spec: Property) -> float:
    """How far outputs are off at some points when computed in the element type of the inputs."""
    kind, draws = _element_type(net), _Draws()
    seen = 0.0
    for group in spec.groups[:8]:
        sides = float_sides(group.box, kind)
        if sides is None:
            continue
        goal = Goal(net, group, sides, Runtime("numpy", kind, _numpy_run(net)))
        points = goal.sample(draws)
        y = net(points.astype(np.float64))
        off = np.abs(emulate(net, points) - y).max() + np.abs(y).max() * np.finfo(kind).eps
        seen = max(seen, float(np.nan_to_num(off, posinf=0.0)))
    return seen or float(np.finfo(kind).eps)


def _with_margin(spec: Property, margin: Fraction) -> Property:
    """The property that is also violated within a margin of the outputs."""
    cases = []
    for case in spec.disjuncts:
        rows = tuple(
            replace(row, bound=row.bound + margin * sum(abs(c) for _, c in row.outputs))
            for row in case.constraints
        )
        cases.append(replace(case, constraints=rows))
    return replace(spec, disjuncts=tuple(cases))


# ------------------------------------------------------------------ the points that exist


def float_sides(
    box: Box, kind: Any, slack: float = 0.0
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The least and the greatest number of an element type on every side; None if there is none.

    With ``slack``, the nearest numbers, which may lie outside by so much.

    >>> lo, hi = float_sides(Box([0], ["0.1"]), np.float32)
    >>> Fraction(float(hi[0])) < Fraction(1, 10) < Fraction(float(np.nextafter(hi[0], hi[0] + 1)))
    True
    >>> float_sides(Box(["0.1"], ["0.1"]), np.float32) is None
    True
    """
    if slack:
        ends = [np.clip(_floats(side), -_RANGE, _RANGE) for side in (box.lo, box.hi)]
        lo, hi = (end.astype(kind) for end in ends)
        if max(np.abs(a - b).max() for a, b in zip(ends, (lo, hi), strict=True)) > slack:
            return None
    else:
        lo, hi = _at_least(box.lo, kind), -_at_least([-v for v in box.hi], kind)
    return (lo, hi) if bool((lo <= hi).all()) and bool(np.isfinite([lo, hi]).all()) else None


def _floats(values: Sequence[Bound]) -> FloatArray:
    """Bounds, rounded."""
    return np.array([rounded(v) if isinstance(v, Fraction) else v for v in values])


def _at_least(values: Sequence[Bound], kind: Any) -> NDArray[Any]:
    """The least numbers of an element type that are no less than ``values``; maybe inf."""
    near = _floats(values)
    with np.errstate(over="ignore"):
        found = near.astype(kind)
    found[found == -np.inf] = -np.finfo(kind).max
    # Rounding keeps order: `found` and the value differ in the same sense as `found` and `near`,
    # unless those two are equal.
    wide = found.astype(np.float64)
    small = wide < near
    for i in np.flatnonzero((wide == near) & np.isfinite(wide)).tolist():
        small[i] = Fraction(wide[i]) < values[i]
    found[small] = np.nextafter(found[small], kind(np.inf))
    return found


class _Draws:
    """Random numbers, the same in every run; `numpy.random` takes 20 ms to import."""

    def __init__(self) -> None:
        self._source = random.Random(0)

    def uniform(self, rows: int, columns: int) -> FloatArray:
        """(rows, columns) numbers in [0, 1)."""
        bits = np.frombuffer(self._source.randbytes(8 * rows * columns), "<u8") >> np.uint64(11)
        return np.asarray(bits.reshape(rows, columns) * 2.0**-53, np.float64)


class Goal:
    """To violate in one box and ball of a property, at numbers between two ``sides``.

    Where they are ``loose``, the points between the sides are those that count, not those of the
    box.
    """

    def __init__(
        self,
        net: Network,
        group: Group,
        sides: tuple[NDArray[Any], NDArray[Any]],
        runtime: Runtime,
        loose: bool = False,
    ) -> None:
        self.net, self.group, self.runtime, self.loose = net, group, runtime, loose
        self.lo, self.hi = sides
        alternatives = group.alternatives
        rows = [row for case in alternatives for row in case]
        self.inputs = _table([row.inputs for row in rows], net.input_size)
        self.outputs = _table([row.outputs for row in rows], net.output_size)
        size = np.abs(self.inputs).sum(axis=1) + np.abs(self.outputs).sum(axis=1)
        bound = np.array([rounded(row.bound) for row in rows])
        self.inputs, self.outputs = self.inputs / size[:, None], self.outputs / size[:, None]
        self.bound = bound / size
        ends = np.cumsum([len(case) for case in alternatives])
        self.cases = [slice(b - len(c), b) for b, c in zip(ends, alternatives, strict=True)]

    def inside(self, points: FloatArray) -> NDArray[Any]:
        """The points moved into the box, and the ball, and rounded to the element type."""
        with np.errstate(all="ignore"):
            if self.group.ball is not None:
                points = _pulled(points, self.group.ball)
            return np.clip(points.astype(self.lo.dtype), self.lo, self.hi)

    def sample(self, draws: _Draws) -> NDArray[Any]:
        """The centre of the box, points spread over it, and corners."""
        lo, hi = (np.clip(side.astype(np.float64), -_FAR, _FAR) for side in (self.lo, self.hi))
        spread = lo + (hi - lo) * draws.uniform(48, self.net.input_size)
        corners = np.where(draws.uniform(16, self.net.input_size) < 0.5, lo, hi)
        return self.inside(np.concatenate([(lo + hi)[None] / 2, spread, corners]))

    def scores(self, points: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """By how much each point misses a violation, in float64 and as numpy's float32 runs it."""
        x = points.astype(np.float64)
        executed = emulate(self.net, points)
        return self._score(x, self.net(x)), self._score(x, executed)

    def _score(self, x: FloatArray, y: FloatArray) -> FloatArray:
        values = self._rows(x, y)
        cases = [values[:, case].max(axis=1, initial=-np.inf) for case in self.cases]
        return np.nan_to_num(np.min(cases, axis=0), nan=np.inf)

    def _rows(self, x: FloatArray, y: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return np.asarray(x @ self.inputs.T + y @ self.outputs.T - self.bound, np.float64)

    def run(self, points: NDArray[Any]) -> FloatPoint | None:
        """Execute points until one violates, exactly."""
        for point in points:
            got = self.runtime.run(point)
            x = tuple(point.astype(np.float64).tolist())
            if np.isfinite(got).all() and self._violates(x, got):
                return FloatPoint(x, tuple(got.tolist()), self.runtime.name)
        return None

    def _violates(self, x: Sequence[float], got: FloatArray) -> bool:
        """Whether the point is in the box and the ball and some alternative holds, exactly."""
        inputs, outputs = [Fraction(v) for v in x], [Fraction(v) for v in got.tolist()]
        box, alternatives, ball = self.group
        if not self.loose:
            sides = zip(box.lo, inputs, box.hi, strict=True)
            if not all(a <= v <= b for a, v, b in sides):
                return False
        if ball is not None and not ball.contains(inputs):
            return False
        return any(all(c.holds(inputs, outputs) for c in case) for case in alternatives)

    def climb(
        self, start: NDArray[Any], deadline: float, *, rounds: int = _ROUNDS, tried: bool = True
    ) -> FloatPoint | None:
        """Points next to ``start`` and further inside the violations, the best of them executed.

        Unless it was ``tried``, ``start`` is one of them.
        """
        draws = _Draws()
        here, done = start, {start.tobytes()} if tried else set[bytes]()
        for _ in range(rounds):
            points = self.around(here, draws)
            _, executed = self.scores(points)
            order = np.argsort(executed, kind="stable")
            fresh = [k for k in order if points[k].tobytes() not in done][:_RUNS]
            found = self.run(points[fresh])
            if found is not None or time.monotonic() > deadline:
                return found
            done.update(points[k].tobytes() for k in fresh)
            here = points[order[0]]
        return None

    def around(self, here: NDArray[Any], draws: _Draws) -> NDArray[Any]:
        """Candidates: steps into the violations, short to long, and neighbouring numbers."""
        x = here.astype(np.float64)
        reach = 2.0 ** np.arange(-30, 4)
        step = self._inwards(x)
        steps = reach[:, None] * step if step is not None else np.zeros((0, len(x)))
        ulps = np.floor(3 * draws.uniform(32, len(x)) - 1)
        ulps *= 2.0 ** np.floor(6 * draws.uniform(32, 1))
        size = np.minimum(np.abs(here), np.finfo(here.dtype).max / 2)  # beyond it is infinite
        near = ulps * np.spacing(size).astype(np.float64)
        points = self.inside(np.concatenate([x[None], x + steps, x + near]))
        return np.array(list({point.tobytes(): point for point in points}.values()))

    def _inwards(self, x: FloatArray) -> FloatArray | None:
        """The shortest step in the box that lowers every row of the nearest case by 1, locally."""
        y = self.net(x)
        if not np.isfinite(y).all():
            return None
        values = self._rows(x[None], y[None])[0]
        worst = [values[case].max(initial=-np.inf) for case in self.cases]
        case = self.cases[int(np.argmin(worst))]
        slopes = self.inputs[case] + self.net.vjp(x, self.outputs[case], sure=False)
        free = np.ones(len(x), bool)
        step = np.zeros(len(x))
        for _ in range(3):  # a coordinate at its end stays there
            step[:] = 0.0
            if not np.isfinite(slopes).all() or not free.any():
                return None
            wanted = -np.ones(len(slopes))
            step[free] = np.linalg.lstsq(slopes[:, free], wanted, rcond=None)[0]
            stuck = ((x <= self.lo) & (step < 0)) | ((x >= self.hi) & (step > 0))
            if not stuck.any():
                break
            free &= ~stuck
        return step if np.isfinite(step).all() and step.any() else None


def _pulled(points: FloatArray, ball: Ball) -> FloatArray:
    """The points moved towards the center of a ball until they are inside, with room to round."""
    center = np.array([rounded(v) for v in ball.center])
    steps = np.asarray(points, np.float64) - center
    if ball.norm == "l1":
        part = rounded(ball.size) / np.abs(steps).sum(axis=1)
    else:
        part = np.sqrt(rounded(ball.size) / np.square(steps).sum(axis=1))
    return np.asarray(center + np.minimum(1.0, (1 - _ROOM) * part)[:, None] * steps, np.float64)


def _table(rows: Sequence[Sequence[tuple[int, int]]], columns: int) -> FloatArray:
    out = np.zeros((len(rows), columns))
    for k, terms in enumerate(rows):
        for i, v in terms:
            out[k, i] = rounded(Fraction(v))
    return out


# ------------------------------------------------------------------------------- execution


@dataclass(frozen=True)
class Runtime:
    """What executes a network: one row of its element type in, the outputs in float64 out."""

    name: str
    dtype: Any
    run: Callable[[NDArray[Any]], FloatArray]


def runtime_of(net: Network, *, optimised: bool = False) -> Runtime:
    """The runtime of what a network was loaded from, else numpy in float32.

    Parameters
    ----------
    net : Network
    optimised : bool
        Whether onnxruntime may rewrite the graph, as it does by default: other roundings.

    Raises
    ------
    InputError
        If the file is gone or no longer holds this network, or cannot be run.
    MissingExtra
        If the runtime is not installed.
    """
    from plverify.io.onnx import OnnxFile

    if isinstance(net.origin, OnnxFile):
        if optimised not in net.origin.runtimes:
            net.origin.runtimes[optimised] = _onnx_runtime(net, net.origin, optimised)
        found: Runtime = net.origin.runtimes[optimised]
        return found
    if net.origin is not None:
        return _torch_runtime(net.origin)
    return Runtime("numpy", np.float32, _numpy_run(net))


def _element_type(net: Network) -> Any:
    """The element type, without loading the runtime."""
    return getattr(net.origin, "dtype", np.float32)


def emulate(net: Network, points: NDArray[Any]) -> FloatArray:
    """The outputs for rows ``points``, every node computed in their element type by numpy.

    >>> net = Network.from_arrays([[[1.0]], [[1.0]]], [[2.0**25], [-(2.0**25)]])
    >>> emulate(net, np.array([[3.0]], np.float32)), net([3.0])
    (array([[4.]]), array([3.]))
    """
    kind = points.dtype
    tensors: list[NDArray[Any]] = [points]
    with np.errstate(all="ignore"):
        for node in net.nodes:
            read = [tensors[source] for source in node.sources]
            x = read[0] if len(read) == 1 else np.concatenate(read, axis=1)
            if isinstance(node, Linear):
                table = node.table.astype(kind)
                out = node.product(x, table=table).astype(kind)  # type: ignore[arg-type]
                bias = table[:, -1]
                out = out + (np.repeat(bias, node.places) if isinstance(node, Conv) else bias)
            elif isinstance(node, Units):
                out = np.where(x > 0, x, node.slope.astype(kind) * x)
            else:
                out = node.windows(x, -np.inf).max(axis=1)
            tensors.append(out)
    return tensors[-1].astype(np.float64)


def _numpy_run(net: Network) -> Callable[[NDArray[Any]], FloatArray]:
    return lambda row: emulate(net, row[None])[0]


def _onnx_runtime(net: Network, origin: OnnxFile, optimised: bool) -> Runtime:
    from plverify.io.execute import onnx_feeds, onnx_runner
    from plverify.io.onnx import read_model

    path = origin.path
    try:
        model = read_model(path, origin.input_shape)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if model.network != net:
        raise InputError(f"{path} no longer holds the network that was loaded from it")
    if not model.outputs or {i.name for i in model.inputs}.intersection(model.outputs):
        raise InputError(f"{path}: an output is no computed tensor")
    kinds = {np.dtype(i.dtype) for i in model.inputs}
    if len(kinds) > 1:
        raise InputError(f"{path} has inputs of several element types")
    execute = onnx_runner(model, model.outputs, "running ONNX files", optimised=optimised)

    def run(row: NDArray[Any]) -> FloatArray:
        return np.concatenate([v.ravel() for v in execute(onnx_feeds(model, row))])

    return Runtime("onnxruntime", kinds.pop().type, run)


def _torch_runtime(origin: TorchProgram) -> Runtime:
    from plverify.io.execute import torch_runner

    execute = torch_runner(origin.program, origin.outputs)
    import torch

    def run(row: NDArray[Any]) -> FloatArray:
        seen = execute(torch.from_numpy(row.copy()).reshape(origin.input_shape))
        return np.concatenate([seen[name].ravel() for name in origin.outputs])

    return Runtime("torch", origin.dtype, run)
