#!/usr/bin/env python
"""Random properties that hold or fail by a hair: ``python dev/fuzz_verify.py --seconds 60``.

Statuses are compared with exact extrema and proofs go through the independent checker; see
tests/tight_margins.py. The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from tight_margins import mistakes


def main() -> int:
    """Run seeds one after the other until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    options = parser.parse_args()
    stop = time.monotonic() + options.seconds
    seed, wrong = options.seed, 0
    while time.monotonic() < stop:
        found = mistakes(seed)
        for line in found:
            print(line, flush=True)
        wrong += bool(found)
        seed += 1
    print(f"{seed - options.seed} networks, {wrong} with mistakes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
