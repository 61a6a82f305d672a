"""Who certifies points: this process, processes beside it, or a Dask cluster.

All three give rows in the order in which they are done. Tasks and rows are JSON; the network goes
over as its canonical bytes.
"""

from __future__ import annotations

import base64
import contextlib
import selectors
from collections.abc import Iterator, Sequence
from typing import Any

from plverify.certification.point import Certifier, Number, PointResult, Settings
from plverify.errors import InputError, MissingExtra
from plverify.exact_net import ExactNet
from plverify.network import Network
from plverify.processes import Parent, Process

Task = tuple[int, Sequence[Number], int | None]
"""Number, point, label (None: the predicted one)."""

ATTEMPTS = 3
"""Workers in a row that may end before they have certified anything."""
_AHEAD = 2
"""Tasks of a cluster per thread that are handed out at a time."""

_START = """\
import json, sys
sys.path[:] = json.loads({paths!r})
from plverify.certification.workers import main
main()
"""


def here(net: Network, settings: Settings, tasks: Sequence[Task]) -> Iterator[PointResult]:
    """Certify in this process."""
    certifier = Certifier(net, settings)
    for index, x, label in tasks:
        yield certifier.point(index, x, label)


# ------------------------------------------------------------------------------ processes


def beside(
    net: Network, settings: Settings, tasks: Sequence[Task], workers: int
) -> Iterator[PointResult]:
    """Certify in processes, each of which loses no more than its own point if it crashes.

    Raises
    ------
    InputError
        If no worker can be started.
    """
    first = {**_network(net), "settings": settings.to_dict()}
    waiting = list(reversed(tasks))
    selector = selectors.DefaultSelector()
    busy: dict[Process, Task | None] = {}
    failed = 0
    try:
        while waiting or any(task is not None for task in busy.values()):
            wanted = len(waiting) + sum(task is not None for task in busy.values())
            while len(busy) < min(workers, wanted):
                process = Process(_START, selector)
                process.write(first)
                busy[process] = waiting.pop() if waiting else None
                _hand_over(process, busy[process])
            for key, _ in selector.select():
                process = key.data
                messages = process.read()
                for message in messages or ():
                    if "error" in message:
                        raise InputError(message["error"])
                    failed = 0
                    busy[process] = waiting.pop() if waiting else None
                    _hand_over(process, busy[process])
                    yield PointResult.from_dict(message)
                if messages is None:
                    lost = busy.pop(process)
                    _, error = process.cause_of_death()
                    process.kill()
                    failed += 1
                    if failed == ATTEMPTS:
                        raise InputError(f"the workers end: {error}")
                    if lost is not None:
                        yield _crashed(lost, settings)
    finally:
        for process in busy:
            process.kill()
        selector.close()


def _hand_over(process: Process, task: Task | None) -> None:
    if task is not None:
        process.write({"index": task[0], "x": list(task[1]), "label": task[2]})


def _crashed(task: Task, settings: Settings) -> PointResult:
    """The row of a point whose worker ended."""
    label = -1 if task[2] is None else task[2]
    return PointResult(
        task[0], label, -1, None, "crashed", 0.0, float("inf"), method=settings.method
    )


def main() -> None:
    """A worker: reads the network and the settings, then points."""
    parent = Parent()
    first = parent.task()
    certifier = _certifier(first)
    while True:
        try:
            parent.send(_answer(certifier, parent.task()))
        except InputError as error:
            parent.send({"error": str(error)})


def _network(net: Network) -> dict[str, Any]:
    return {"network": base64.b64encode(net.canonical).decode()}


def _certifier(first: dict[str, Any]) -> Certifier:
    net = Network.from_exact(ExactNet.from_bytes(base64.b64decode(first["network"])))
    return Certifier(net, Settings.from_dict(first["settings"], net.input_size))


def _answer(certifier: Certifier, task: dict[str, Any]) -> dict[str, Any]:
    return certifier.point(task["index"], task["x"], task["label"]).to_dict()


# -------------------------------------------------------------------------------- a cluster


def on_cluster(
    net: Network, settings: Settings, tasks: Sequence[Task], scheduler: str
) -> Iterator[PointResult]:
    """Certify on a Dask cluster.

    Parameters
    ----------
    scheduler : str
        Address of its scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    MissingExtra
        If ``distributed`` is not installed.
    InputError
        If there is no cluster at the address.
    """
    try:
        import distributed
    except ImportError:
        raise MissingExtra("distributed", "certifying on a Dask cluster", "cluster") from None
    try:
        # Its annotations are incomplete.
        cluster: Any = distributed
        client = cluster.Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())
        raise InputError(f"no Dask scheduler at {scheduler}: {what:.200}") from None
    with contextlib.closing(client):
        shared = client.scatter({**_network(net), "settings": settings.to_dict()}, broadcast=True)
        threads = sum(client.nthreads().values()) or 1
        waiting = list(reversed(tasks))

        def submit() -> Any:
            index, x, label = waiting.pop()
            task = {"index": index, "x": list(x), "label": label}
            return client.submit(_on_worker, shared, task, pure=False)

        some = [submit() for _ in range(min(len(waiting), _AHEAD * threads))]
        done = cluster.as_completed(some, loop=client.loop)
        for future in done:
            if waiting:
                done.add(submit())
            yield PointResult.from_dict(future.result())


def _on_worker(first: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """Certify one point on a worker of the cluster, which keeps the networks it was given."""
    return _answer(_kept(first), task)


def _kept(first: dict[str, Any]) -> Certifier:
    from distributed import get_worker

    worker = get_worker()
    key = first["network"], repr(first["settings"])
    kept: dict[Any, Certifier] = worker.__dict__.setdefault("_plverify", {})
    if key not in kept:
        kept.clear()
        kept[key] = _certifier(first)
    return kept[key]
