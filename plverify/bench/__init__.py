"""`bench`: verify all instances of benchmark folders, each within its limits.

A folder is laid out as in the verification competition: ``instances.csv`` with lines
``onnx,vnnlib,timeout`` and no header, the files it names (or them with ``.gz``), and maybe
``expected.csv``, whose columns ``onnx``, ``vnnlib`` and ``verdict`` say what is known.

Instances are handed to processes that have everything imported and keep the networks they have
read (`plverify.bench.pool`), so that an easy instance costs what it costs and no start-up. Whatever
happens to one of them (an error, no more memory, a crash, no answer in time) is that instance's
status and nothing else's. A row is written as soon as its instance is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plverify.bench.instances import Instance, Options, read_folder
from plverify.bench.pool import Pool
from plverify.bench.rows import read_rows, resumable
from plverify.bench.summary import Summary, summarise
from plverify.jsonl import Row

__all__ = [
    "Instance",
    "Options",
    "Row",
    "Summary",
    "bench",
    "read_folder",
    "read_rows",
    "resumable",
    "summarise",
]


def bench(
    instances: Sequence[Instance],
    options: Options | None = None,
    *,
    workers: int = 1,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Verify instances and return their rows, in the order in which they were done.

    Parameters
    ----------
    instances : sequence of Instance
        From `read_folder`.
    options : Options, optional
    workers : int
        Processes at a time. Times are wall times: more workers than free cores lengthen them.
    on_row : callable, optional
        Called with every row as soon as it is there.

    Returns
    -------
    list of dict
        See `plverify.bench.rows`.

    Raises
    ------
    InputError
        If no worker can be started, because too little memory is allowed for instance.
    KeyboardInterrupt
        On Ctrl-C, when all workers are gone; the rows so far went to ``on_row``.
    """
    done: list[Row] = []
    with Pool(min(workers, len(instances)), options or Options()) as pool:
        for row in pool.run(instances):
            done.append(row)
            if on_row is not None:
                on_row(row)
    return done
