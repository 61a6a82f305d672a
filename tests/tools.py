"""What tests share: scripts as modules, models on disk, other processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


@cache
def script(name: str) -> ModuleType:
    """A script of the repository, such as ``"dev/fuzz.py"``, as a module."""
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def write_net(path: Any, sizes: list[int], seed: int = 0, **extra: Any) -> str:
    """A file of a random network of these sizes; its path."""
    rng = np.random.default_rng(seed)
    arrays = dict(extra)
    for k, (a, b) in enumerate(pairwise(sizes)):
        arrays[f"W{k}"] = rng.standard_normal((b, a)).astype(np.float32)
        arrays[f"b{k}"] = (0.4 * rng.standard_normal(b)).astype(np.float32)
    np.savez(path, **arrays)
    return str(path)


def child(code: str, *arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code that ends in the command line, in a process of its own."""
    script = f"{code}\nfrom plverify.cli import main\nmain()\n"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def signal_soon(function: str, name: str = "SIGINT") -> str:
    """Code for `child`: a signal comes a second after the engine is called, on any machine."""
    return f"""
import os, signal, threading, types
import plverify.question as question
signal.signal(signal.SIGINT, signal.default_int_handler)
core = question._core
def soon(*arguments, **options):
    threading.Timer(1.0, os.kill, (os.getpid(), signal.{name})).start()
    return core.{function}(*arguments, **options)
question._core = types.SimpleNamespace({function}=soon)
"""


def limited(limit: str, size: int, script: str) -> str:
    """What a script prints in a Python of its own that has less than it may want."""
    import resource

    kind = getattr(resource, limit)
    done = subprocess.run(
        [sys.executable, "-c", "import plverify as pv\n" + script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        preexec_fn=lambda: resource.setrlimit(kind, (size, resource.getrlimit(kind)[1])),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.strip()
