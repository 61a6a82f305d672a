"""A process that verifies one instance after the other, for `plverify.bench.pool`.

It reads tasks and sends messages (`plverify.processes`): ``{"ready": ...}`` when everything is
imported, ``{"begun": ...}`` when the model of an instance has been read, then its answer.

Networks that were read are kept, the least recently used ones are dropped first. The clock of an
instance is stopped while its model is compared with onnxruntime (`plverify.replay`), which is done
once per file.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import OrderedDict
from typing import Any

from plverify.errors import InputError, MissingExtra
from plverify.io import read_file
from plverify.io.onnx import OnnxFile
from plverify.io.onnx_proto import messages
from plverify.io.vnnlib import read_vnnlib
from plverify.network import Network
from plverify.nodes import Linear
from plverify.processes import Parent
from plverify.replay_cache import replay_once
from plverify.result import Status
from plverify.verdict import Verification, verify

KEPT_NUMBERS = 4_000_000
"""Weights of all kept networks together; exact integers take about 100 bytes each."""


def main() -> None:
    """Serve until the input ends."""
    warnings.simplefilter("ignore")
    parent = Parent()
    worker = Worker(parent.send)
    with contextlib.suppress(MissingExtra):
        messages()
    worker.send({"ready": True, "process_cpu": time.process_time()})
    while True:
        worker.answer(parent.task())


class Worker:
    """What is kept from one instance to the next."""

    def __init__(self, send: Any) -> None:
        self.send = send
        self.networks: OrderedDict[str, tuple[Network, int]] = OrderedDict()
        self.replayed: set[str] = set()
        self.wall = self.cpu = 0.0

    def answer(self, task: dict[str, Any]) -> None:
        """Verify one instance and send what was found, whatever happens."""
        _reset_peak()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        message: dict[str, Any]
        try:
            message = self._verify(task)
        except (InputError, MissingExtra) as error:
            message = {"status": "error", "error": str(error)}
        except MemoryError:
            # What can still be allocated is not known: the pool starts another worker.
            self.networks.clear()
            message = {"status": "memory", "error": "out of memory", "retire": True}
        except Exception as error:
            what = " ".join(str(error).split())
            message = {"status": "error", "error": f"{type(error).__name__}: {what:.500}"}
        message["seconds"] = time.perf_counter() - self.wall
        message["cpu_seconds"] = time.process_time() - self.cpu
        message["peak_mb"] = _peak_mb()
        message["process_cpu"] = time.process_time()
        self.send(message)

    def _verify(self, task: dict[str, Any]) -> dict[str, Any]:
        net = self._network(task["onnx"])
        replayed = self._replay(net, task["onnx"])
        used = time.perf_counter() - self.wall
        self.send({"begun": True, "used": used})
        spec = read_vnnlib(task["vnnlib"])
        left = task["timeout"] - (time.perf_counter() - self.wall)
        if left <= 0:
            return {"status": "timeout", "replay_seconds": replayed}
        found = verify(
            net,
            spec,
            timeout=left,
            threads=task["threads"],
            proof=True,
            float32=task["float32"],
        )
        return _answer(found) | {"replay_seconds": replayed}

    def _replay(self, net: Network, path: str) -> float:
        """Compare a model that was never compared, the clock being stopped; CPU seconds."""
        if path in self.replayed or not isinstance(net.origin, OnnxFile):
            return 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        replay_once(net, path)
        self.replayed.add(path)
        took = time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        self.cpu += took
        return took

    def _network(self, path: str) -> Network:
        if path not in self.networks:
            net = read_file(path, replay=False)
            size = sum(node.rows.num.size for node in net.nodes if isinstance(node, Linear))
            self.networks[path] = net, size
            while len(self.networks) > 1 and self._kept() > KEPT_NUMBERS:
                self.networks.popitem(last=False)
        self.networks.move_to_end(path)
        return self.networks[path][0]

    def _kept(self) -> int:
        return sum(size for _, size in self.networks.values())


def _answer(found: Verification) -> dict[str, Any]:
    """The fields of a row that a verification knows."""
    status = found.status
    decided = status in (Status.SAT, Status.UNSAT)
    float32 = "violation" if found.float32_violation is not None else found.float32
    answer: dict[str, Any] = {
        "status": status.value if status is not Status.INTERRUPTED else "unknown",
        "nodes": found.nodes,
        "leaves": found.leaves,
        "proof_bytes": len(found.proof) if isinstance(found.proof, bytes) else None,
        "checked": True if decided else None,
        "float32": float32,
        "search_seconds": found.stats.get("search_seconds"),
        "check_seconds": found.stats.get("check_seconds"),
    }
    if "rejected" in found.stats:
        answer["error"] = f"the proof was rejected: {found.stats['rejected']}"
    return answer


def _reset_peak() -> None:
    """Let the peak of memory begin again at what is held now, where the system can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak_mb() -> float | None:
    """Most memory since then, in 10**6 bytes."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        return None
