"""Worker processes: started ahead, watched, and replaced when they end before their time.

A timeout is the engine's own first. A worker that has not answered `GRACE` seconds after it is
killed: its instance has the status "timeout" all the same. Memory is limited twice: the system
refuses a worker more than the limit (`RLIMIT_DATA`), so that the engine can give up in order, and
a worker that holds more is killed. Workers lead sessions of their own, so that Ctrl-C in a terminal
reaches the pool alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from plverify.bench.instances import Instance, Options
from plverify.bench.rows import Row, limit_of, row_of
from plverify.errors import InputError

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
        self.workers.remove(worker)
        return worker.kill()


class _Worker:
    """One process, from the outside."""

    def __init__(self, options: Options, selector: selectors.BaseSelector) -> None:
        self.options, self.selector = options, selector
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill)
        code = _START.format(paths=json.dumps(sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
        )
        if options.memory is not None:
            _limit(self.process.pid, int(options.memory * 1e9))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        selector.register(self.stdout, selectors.EVENT_READ, self)
        self.partial = b""
        self.ready = self.begun = False
        self.models: set[tuple[str, str]] = set()
        self.instance: Instance | None = None
        self.cpu = self.total_cpu = 0.0  # of the process: when the instance began, in the end
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
        with contextlib.suppress(OSError):  # a worker that has just died is heard of soon
            self.stdin.write(json.dumps(task).encode() + b"\n")
            self.stdin.flush()

    def read(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None at the end of them."""
        try:
            data = os.read(self.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self.partial = (self.partial + data).split(b"\n")
        messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for message in messages:
            if "ready" in message:
                self.ready, self.cpu = True, message["process_cpu"]
                self.deadline = float("inf")
            elif "begun" in message and self.instance is not None:
                self.begun, self.since = True, time.monotonic() - message["used"]
                self.deadline = self.since + limit_of(self.instance, self.options) + GRACE
        return messages

    def finish(self, message: dict[str, Any]) -> None:
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
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                held = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        except (OSError, IndexError, ValueError):
            return None
        self.largest = max(held, self.largest or 0.0)
        if held <= self.options.memory * 1e3:
            return None
        return "memory", f"killed with {held:.0f} MB in use"

    def cause_of_death(self) -> tuple[str, str]:
        """Status and error of a worker that has ended by itself."""
        self._reap()
        code = self.process.returncode
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 4000))
        said = self.errors.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        how = f"exited with code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-code).name}"
        memory = "bad_alloc" in last or "MemoryError" in last
        text = f"the worker {how}" + (f": {last:.300}" if last else "")
        return ("memory" if memory else "error"), text

    def kill(self) -> float:
        """End it; CPU seconds since its last instance began."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reap()
        if not self.stdout.closed:
            self.selector.unregister(self.stdout)
        for stream in (self.stdin, self.stdout, self.errors):
            with contextlib.suppress(OSError):
                stream.close()
        return max(0.0, self.total_cpu - self.cpu)

    def _reap(self) -> None:
        """Wait for its end, which adds its CPU time to that of the ended children."""
        before = _children_cpu()
        self.process.wait()
        self.total_cpu += _children_cpu() - before


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _limit(pid: int, size: int) -> None:
    """Let the system refuse a process more memory than that, where it can."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
