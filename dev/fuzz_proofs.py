#!/usr/bin/env python
"""Changed proofs of every kind: ``python dev/fuzz_proofs.py --cases 10000``.

Valid proofs of all claims about small networks are changed in every way that
``tests/proof_mutations.py`` knows: what they state, the network, the tree, multipliers, bounds,
bytes. Both checkers must agree about each, and nothing false may be accepted; what is true is
decided by exact enumeration, without engine and checkers. The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from proof_mutations import Tally, run

EACH = 25
"""Mutations of one proof."""


def main() -> int:
    """Change the proofs of seeds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="mutations")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    options = parser.parse_args()
    start, tally, told = time.monotonic(), Tally(), 0
    proofs = -(-options.cases // EACH)
    for k in range(proofs):
        run(options.seed + k, min(EACH, options.cases - k * EACH), tally)
        for line in tally.wrong[told:]:
            print(line, flush=True)
        told = len(tally.wrong)
    print(f"{'class':22}{'mutants':>9}{'false statements':>18}{'accepted':>10}")
    for how in sorted(tally.mutants):
        counts = tally.mutants[how], tally.false[how], tally.accepted[how]
        print(f"{how:22}{counts[0]:9}{counts[1]:18}{counts[2]:10}")
    totals = (sum(c.values()) for c in (tally.mutants, tally.false, tally.accepted))
    mutants, false, accepted = totals
    print(f"{'all':22}{mutants:9}{false:18}{accepted:10}")
    print(", ".join(f"{kind} {n}" for kind, n in sorted(tally.kinds.items())))
    seconds = time.monotonic() - start
    print(f"{tally.differ} true ones with no margin that the last digits of bounds decide")
    print(f"{proofs} proofs, {seconds:.0f} s: {told} wrong (disagreement, or a false acceptance)")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
