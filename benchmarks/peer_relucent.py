"""Count activation regions with relucent; started by ``run.py --compare relucent``.

It runs in relucent's own environment and knows nothing of plverify. Argument: an ``.npz`` of
``W0, b0, ...``, and ``box`` for [-1, 1]^n or ``plane`` for R^n. One JSON line on stdout. The time
is that of the search, workers included: imports and the network's conversion come before it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from itertools import count, takewhile
from typing import Any

import numpy as np
import relucent
import torch


def cpu_seconds() -> float:
    """CPU seconds of this process and of its workers that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    """Count one network's regions."""
    path, domain = sys.argv[1:]
    torch.set_num_threads(1)
    with np.load(path) as data:
        indices = takewhile(lambda k: f"W{k}" in data.files, count())
        layers = [(data[f"W{k}"], data[f"b{k}"]) for k in indices]
    modules: list[torch.nn.Module] = []
    for weight, bias in layers:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        modules += [linear, torch.nn.ReLU()]
    complex_ = relucent.Complex(torch.nn.Sequential(*modules[:-1]))
    options: dict[str, Any] = {"nworkers": 1, "verbose": 0}
    if domain == "box":
        options.update(cube_radius=1, cube_mode="clipped")
    wall, cpu = time.perf_counter(), cpu_seconds()
    complex_.bfs(**options)
    answer = {
        "regions": len(complex_),
        "cpu_seconds": cpu_seconds() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "version": version("relucent"),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
