"""`certify`: which labels of a data set are proven to be robust, and how far others are.

Every point is a question of its own (`plverify.certification.point`), asked here, in processes
beside or on a cluster (`.workers`); rows are appended to a file as they are done (`.results`), so
that a run can be killed and taken up again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from plverify.certification.point import PointResult, Settings, exact_eps
from plverify.certification.results import (
    Certification,
    Data,
    absolute,
    header_of,
    read_file,
    refuse_other,
)
from plverify.certification.workers import Task, beside, here, on_cluster
from plverify.domain import Box
from plverify.errors import InputError
from plverify.jsonl import RowFile
from plverify.network import Network, load
from plverify.question import as_domain

__all__ = ["Certification", "PointResult", "Settings", "certify"]


def certify(
    net: Network | Any,
    X: Any,
    y: Any = None,
    eps: Any = 0.05,
    norm: str = "linf",
    domain: Box | None = None,
    *,
    radius: bool = False,
    method: str = "exact",
    timeout: float | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] | None = None,
    proofs: str | os.PathLike[str] | None = None,
    names: dict[str, str | None] | None = None,
    on_row: Callable[[PointResult, int], None] | None = None,
) -> Certification:
    """Prove of every point of a data set that its label is robust, or find a counterexample.

    Parameters
    ----------
    net : Network, or what `load` reads
    X : (points, n) or (points, *input shape) array of numbers
    y : (points,) ints, optional
        Labels; without them the predicted ones are meant.
    eps : number
        The radius of the ball: a label is robust if its output is strictly the largest on all of
        it, cut to the domain. Give ``"0.1"`` for a tenth.
    norm : "linf", "l1" or "l2"
    domain : Box, optional
        Where inputs may lie, such as ``Box(0, 1, n)``; it holds all points.
    radius : bool
        Also find how far the nearest other label is, exactly.
    method : "exact" or "lipschitz"
        "lipschitz" divides margins by proven Lipschitz constants (`plverify.gain.margins`), found
        once per network: for networks of any size, in milliseconds a point. What that does not
        reach is "unknown", with a lower end of the distance in every row.
    timeout : float, optional
        Seconds per point.
    workers : int
        Processes at a time; 1 for this one.
    scheduler : str, optional
        Address of a Dask scheduler whose cluster does the work.
    out : path, optional
        A file that every row is appended to as soon as it is known.
    resume : bool
        Go on with ``out``: points that it has are not asked again.
    shard : (i, n), optional
        Only the points whose number is ``i`` modulo ``n``.
    proofs : path, optional
        A folder that a proof per point is written to.
    names : dict, optional
        Paths of the "model" and the "data", for the header of ``out``.
    on_row : callable, optional
        Called with every row, and how many points there are in all.

    Returns
    -------
    Certification
        Interrupted by Ctrl-C it has the rows known so far.

    Raises
    ------
    InputError
        On bad numbers, shapes and labels, points outside the domain, a file that is there without
        ``resume`` or was made for another question, or a full disk.

    >>> net = Network.from_arrays([[[1.0], [-1.0]]])         # the label is the sign
    >>> found = certify(net, [[0.75], [0.25], [-0.5]], [0, 0, 0], eps=0.5, radius=True)
    >>> [(row.robust, row.upper) for row in found.rows]
    [(True, 0.75), (False, 0.25), (False, 0.0)]
    >>> found.accuracy, found.certified
    (0.6666666666666666, 0.3333333333333333)
    """
    start = time.perf_counter()
    network = net if isinstance(net, Network) else load(net)
    if network.output_size < 2:
        raise InputError("the network has one output: labels need at least 2")
    if domain is not None and not isinstance(domain, Box):
        raise InputError(f"domain is a {type(domain).__name__}, expected a Box")
    folder = None if proofs is None else os.path.abspath(proofs)
    settings = Settings(exact_eps(eps), norm, domain, radius, timeout, folder, method)
    data = Data.of(network, X, y)
    tasks = _tasks(network, data, domain, shard)
    paths = {"model": None, "data": None} | (names or {})
    head = header_of(
        network, data, settings, shard, {key: absolute(value) for key, value in paths.items()}
    )
    rows: list[PointResult] = []
    interrupted = False
    with contextlib.ExitStack() as stack:
        file = None
        if out is not None:
            rows, file = _open(os.fspath(out), head, resume, stack)
        if folder is not None:
            _make_folder(folder)
        done = {row.index for row in rows}
        left = [task for task in tasks if task[0] not in done]
        answers: Iterator[PointResult]
        if scheduler is not None:
            answers = on_cluster(network, settings, left, scheduler)
        elif workers > 1 and len(left) > 1:
            answers = beside(network, settings, left, min(workers, len(left)))
        else:
            answers = here(network, settings, left)
        try:
            with contextlib.closing(answers):  # type: ignore[type-var]
                for row in answers:
                    if file is not None:
                        file.write(row.to_dict())
                    rows.append(row)
                    if on_row is not None:
                        on_row(row, len(tasks))
        except KeyboardInterrupt:
            interrupted = True
    return Certification(
        eps=settings.eps,
        norm=norm,
        points=len(tasks),
        rows=tuple(sorted(rows, key=lambda row: row.index)),
        interrupted=interrupted,
        seconds=round(time.perf_counter() - start, 3),
    )


def _tasks(
    net: Network, data: Data, domain: Box | None, shard: tuple[int, int] | None
) -> list[Task]:
    """The points of a shard."""
    if domain is not None:
        as_domain(domain, net)
        for k, point in enumerate(data.points):
            if not domain.contains(point):
                raise InputError(f"point {k} lies outside the domain, {domain.describe()}")
    i, n = (0, 1) if shard is None else shard
    if n < 1 or not 0 <= i <= n:
        raise InputError(f"shard is {i}/{n}, expected i/n with 0 <= i <= n and n >= 1")
    labels: list[int | None] = [None] * len(data.points)
    if data.labels is not None:
        labels = [*data.labels]
    every = zip(range(len(labels)), data.points, labels, strict=True)
    return [task for task in every if task[0] % n == i % n]


def _open(
    path: str, head: dict[str, Any], resume: bool, stack: contextlib.ExitStack
) -> tuple[list[PointResult], RowFile]:
    """The rows that a file has, and the file to append to."""
    there = os.path.exists(path) and os.path.getsize(path) > 0
    if there and not resume:
        raise InputError(f"{path} is there: --resume (resume=True) goes on with it")
    file = stack.enter_context(RowFile(path, append=True))
    found, rows = read_file(path, mend=True) if there else (None, [])
    if found is None:
        file.write(head)
    else:
        refuse_other(path, found, head)
    return rows, file


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
