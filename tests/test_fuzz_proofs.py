"""Changed proofs: a first stretch of what ``dev/fuzz_proofs.py`` does at length."""

from __future__ import annotations

import pytest
from proof_mutations import Tally, run


@pytest.mark.parametrize("block", range(4))
def test_changed_proofs_are_judged_alike_and_nothing_false_is_accepted(block: int) -> None:
    tally = Tally()
    for seed in range(15_000 + 15 * block, 15_015 + 15 * block):  # every kind of proof once
        run(seed, 8, tally)
    assert not tally.wrong, tally.wrong[0]
    assert sum(tally.mutants.values()) == 120
    assert len(tally.kinds) == 9
    assert sum(tally.false.values()) > 3
    assert sum(tally.accepted.values()) > 3
