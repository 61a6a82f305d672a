"""Worker processes from the outside: started by spawn, spoken to in lines of JSON over pipes.

A worker runs Python code that it is given with the parent's `sys.path`; `multiprocessing` would
import the caller's main module again. It leads a session of its own, so that Ctrl-C in a terminal
reaches the parent alone, and it must end when its input does, so that none outlives its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

Message = dict[str, Any]


_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    # glibc keeps what arrays of one task held for the next one: fresh pages cost up to a tenth.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""What a process gets unless it is set already."""


class Process:
    """One worker process.

    Parameters
    ----------
    code : str
        Python code; ``{paths!r}`` in it stands for the parent's `sys.path` in JSON.
    selector : BaseSelector
        Where its output is registered, with the object itself as data.
    memory : float, optional
        10**9 bytes beyond which the system refuses it more.
    """

    def __init__(
        self, code: str, selector: selectors.BaseSelector, memory: float | None = None
    ) -> None:
        self.selector = selector
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code.format(paths=json.dumps(sys.path))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
            env={**_ENVIRONMENT, **os.environ},
        )
        if memory is not None:
            _limit(self.process.pid, int(memory * 1e9))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        selector.register(self.stdout, selectors.EVENT_READ, self)
        self.partial = b""
        self.total_cpu = 0.0  # in the end

    def write(self, message: Message) -> None:
        """Send a message."""
        with contextlib.suppress(OSError):  # a worker that has just died is heard of soon
            self.stdin.write(json.dumps(message).encode() + b"\n")
            self.stdin.flush()

    def read(self) -> list[Message] | None:
        """The messages that have come; None at the end of them."""
        try:
            data = os.read(self.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self.partial = (self.partial + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def memory_held(self) -> float | None:
        """10**6 bytes that it holds now; None where the system does not say."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        except (OSError, IndexError, ValueError):
            return None

    def cause_of_death(self) -> tuple[str, str]:
        """Status ("memory" or "error") and words, of a worker that has ended by itself."""
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

    def kill(self) -> None:
        """End it, if it has not ended."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reap()
        if not self.stdout.closed:
            self.selector.unregister(self.stdout)
        for stream in (self.stdin, self.stdout, self.errors):
            with contextlib.suppress(OSError):
                stream.close()

    def _reap(self) -> None:
        """Wait for its end, which adds its CPU time to that of the ended children."""
        before = _children_cpu()
        self.process.wait()
        self.total_cpu += _children_cpu() - before


class Parent:
    """The other end, in the worker: tasks from its input, messages to what was its output.

    Whatever else is printed goes to standard error. The end of the input ends the process at once,
    even in the middle of a task.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._tasks: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: Message) -> None:
        """Tell the parent."""
        print(json.dumps(message), file=self._out, flush=True)

    def task(self) -> Message:
        """The next task."""
        return self._tasks.get()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._tasks.put(json.loads(line))
        os._exit(0)


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _limit(pid: int, size: int) -> None:
    """Let the system refuse a process more memory than that, where it can."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
