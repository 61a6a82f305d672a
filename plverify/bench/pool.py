"""Worker processes: started ahead, watched, and replaced when they end before their time.

A timeout is the engine's own first. A worker that has not answered `GRACE` seconds after it is
killed: its instance has the status "timeout" all the same. Memory is limited twice: the system
refuses a worker more than the limit (`RLIMIT_DATA`), so that the engine can give up in order, and
a worker that holds more is killed.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from plverify.bench.instances import Instance, Options
from plverify.bench.rows import limit_of, row_of
from plverify.errors import InputError
from plverify.jsonl import Row
from plverify.processes import Message, Process

GRACE = 1.5
"""Seconds after its timeout that a worker may take to say so."""
PREPARE = 600.0
"""Seconds that reading a model and comparing it with onnxruntime may take."""
START = 120.0
"""Seconds in which a worker must be ready."""
TICK = 0.1
"""Seconds between two looks at the memory of the workers."""
ATTEMPTS = 3
"""Workers in a row that may end before they are ready."""

_START = """\
import json, sys
sys.path[:] = json.loads({paths!r})
from plverify.bench.worker import main
main()
"""


class Pool:
    """Some workers; a context manager that leaves none behind."""

    def __init__(self, size: int, options: Options) -> None:
        self.size, self.options = size, options
        self.selector = selectors.DefaultSelector()
        self.workers: list[_Worker] = []
        self.failed = 0

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self.selector.close()

    def run(self, instances: Sequence[Instance]) -> Iterator[Row]:
        """The rows of instances, as they are done."""
        waiting = list(instances)
        while waiting or any(worker.instance for worker in self.workers):
            idle = [worker for worker in self.workers if worker.ready and not worker.instance]
            while waiting and idle:
                row = self._assign(idle.pop(), waiting)
                if row is not None:
                    yield row
            busy = sum(worker.instance is not None for worker in self.workers)
            while len(self.workers) < min(self.size, busy + len(waiting)):
                self.workers.append(_Worker(self.options, self.selector))
            for worker in self._heard():
                yield from self._listen(worker)
            for worker in list(self.workers):
                reason = worker.overdue() or worker.too_large()
                if reason is not None:
                    yield from self._end(worker, *reason)

    def _assign(self, worker: _Worker, waiting: list[Instance]) -> Row | None:
        """Give an instance to a worker, one whose model it has read if there is one.

        Returns its row at once if its files are not there.
        """
        elsewhere = {path for other in self.workers for path in other.models}
        names = [(instance.folder, instance.onnx) for instance in waiting]
        own = (k for k, name in enumerate(names) if name in worker.models)
        new = (k for k, name in enumerate(names) if name not in elsewhere)
        instance = waiting.pop(next(own, next(new, 0)))
        try:
            worker.begin(instance)
        except InputError as error:
            answer = {"status": "error", "error": str(error), "seconds": 0.0, "cpu_seconds": 0.0}
            return row_of(instance, self.options, answer)
        return None

    def _heard(self) -> list[_Worker]:
        soon = TICK if self.options.memory is not None else 1.0
        now = time.monotonic()
        wait = min([soon, *(w.deadline - now for w in self.workers)])
        return [key.data for key, _ in self.selector.select(max(0.0, wait))]

    def _listen(self, worker: _Worker) -> Iterator[Row]:
        """Read what a worker has written."""
        messages = worker.read()
        for message in messages or ():
            if "ready" in message:
                self.failed = 0
            if "status" in message:
                instance = worker.instance
                assert instance is not None
                worker.finish(message)
                yield row_of(instance, self.options, message)
                if message.get("retire"):
                    self._remove(worker)
                    return
        if messages is None:
            yield from self._end(worker, *worker.cause_of_death())

    def _end(self, worker: _Worker, status: str, error: str | None) -> Iterator[Row]:
        """Take a worker out; the row of the instance that it had."""
        cpu = self._remove(worker)
        if worker.instance is not None:
            seconds = time.monotonic() - worker.since
            answer = {"status": status, "error": error, "seconds": seconds, "cpu_seconds": cpu}
            yield row_of(worker.instance, self.options, answer | {"peak_mb": worker.largest})
        elif not worker.ready:
            self.failed += 1
            if self.failed == ATTEMPTS:
                raise InputError(f"no worker can be started: {error or 'it does not answer'}")

    def _remove(self, worker: _Worker) -> float:
        """End a worker; CPU seconds since its last instance began."""
        self.workers.remove(worker)
        worker.kill()
        return max(0.0, worker.total_cpu - worker.cpu)


class _Worker(Process):
    """One process, and the instance that it has."""

    def __init__(self, options: Options, selector: selectors.BaseSelector) -> None:
        super().__init__(_START, selector, options.memory)
        self.options = options
        self.ready = self.begun = False
        self.models: set[tuple[str, str]] = set()
        self.instance: Instance | None = None
        self.cpu = 0.0  # of the process, when the instance began
        self.largest: float | None = None  # memory seen, 10**6 bytes
        self.since = time.monotonic()
        self.deadline = self.since + START

    def begin(self, instance: Instance) -> None:
        """Send a task.

        Raises
        ------
        InputError
            If a file is missing.
        """
        onnx, vnnlib = instance.paths()
        limit = limit_of(instance, self.options)
        task = {
            "onnx": onnx,
            "vnnlib": vnnlib,
            "timeout": limit,
            "threads": self.options.threads,
            "float32": self.options.float32,
        }
        self.instance, self.largest, self.begun = instance, None, False
        self.models.add((instance.folder, instance.onnx))
        self.since = time.monotonic()
        self.deadline = self.since + limit + PREPARE
        self.write(task)

    def read(self) -> list[Message] | None:
        """The messages that have come, noted; None at the end of them."""
        messages = super().read()
        for message in messages or ():
            if "ready" in message:
                self.ready, self.cpu = True, message["process_cpu"]
                self.deadline = float("inf")
            elif "begun" in message and self.instance is not None:
                self.begun, self.since = True, time.monotonic() - message["used"]
                self.deadline = self.since + limit_of(self.instance, self.options) + GRACE
        return messages

    def finish(self, message: Message) -> None:
        """The instance is done."""
        self.instance, self.cpu = None, message["process_cpu"]
        self.deadline = float("inf")

    def overdue(self) -> tuple[str, str | None] | None:
        """Status and error of a worker that takes too long."""
        if time.monotonic() < self.deadline:
            return None
        if self.instance is not None and not self.begun:
            return "error", f"reading and replaying the model took more than {PREPARE:g} s"
        return "timeout", None

    def too_large(self) -> tuple[str, str] | None:
        """Status and error of a worker that holds too much memory."""
        if self.options.memory is None or self.instance is None:
            return None
        held = self.memory_held()
        if held is None:
            return None
        self.largest = max(held, self.largest or 0.0)
        if held <= self.options.memory * 1e3:
            return None
        return "memory", f"killed with {held:.0f} MB in use"
