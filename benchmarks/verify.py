"""Verification on the competition's benchmarks: ``python benchmarks/verify.py``.

    python benchmarks/verify.py --run ../shared/data/vnncomp --rows ROWS     every family, hours
    python benchmarks/verify.py ROWS/*.jsonl --markdown benchmarks/RESULTS.md

The first runs `plverify.bench` on every folder below one, a file of rows per family, and goes on
where an earlier run ended. The second writes the table: what was decided, what contradicts a known
verdict, and the times, next to what public tools reached in the competition (on their machines, the
best of several years; ``../shared/data/vnncomp/README.md``). A wrong verdict exits with 1.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parts import put_part
from run import environment

from plverify.bench import (
    Options,
    Summary,
    bench,
    read_folder,
    read_rows,
    resumable,
    summarise,
)
from plverify.bench.summary import short
from plverify.jsonl import Row, RowFile

PEERS = {
    "acasxu": "nnenum 186/186, median 1.15 s, 414 s in total; ab-CROWN 186, median 7.5 s",
    "mnist_fc": "ab-CROWN (GPU) 86/90, median 6.4 s; NeuralSAT 64; nnenum 59; PyRAT 51",
    "tllverifybench": "FastBATLLNN (made for these) 32/32, 0.4 s; ab-CROWN 32/32, 9 s; nnenum 18",
    "collins_rul_cnn": "nnenum 62/62, 1.5 s; ab-CROWN 62, 7.1 s",
    "rl_benchmarks": "ab-CROWN 296/296, 6 s; nnenum 294, 0.94 s",
    "reach_prob_density": "nnenum 36/36, 1.8 s; ab-CROWN 36, 6.6 s",
    "oval21": "ab-CROWN (GPU) 26/30; NeuralSAT 20; nnenum 4; PyRAT 2",
    "sri_resnet_a": "GPU tools only",
    "safenlp": "ab-CROWN 1046, 6.8 s; NeuralSAT 1037; CORA 952; nnenum 947, 1.25 s",
    "cora": "ab-CROWN 153/180; NeuralSAT 152; nnenum 23",
    "malbeware": "ab-CROWN 150/150, 6.5 s; nnenum 137",
    "sat_relu": "ab-CROWN, NeuralSAT, CORA 98/98; PyRAT 57; nnenum 42",
    "cersyve": "ab-CROWN 12/12, 7.2 s",
}
"""Solved of all instances of the competition, of which a folder here may have a part; seconds."""

COLUMNS = (
    "family",
    "decided",
    "known",
    "wrong",
    "median s",
    "slowest s",
    "total s",
    "CPU s",
    "easy, most CPU s",
    "check / search",
    "bytes / leaf",
    "peak MB",
    "best public tools",
)
NOTE = """\
decided: `sat` with a witness evaluated exactly, or `unsat` with a proof that the checker accepted,
within the time limit; known: how many of the instances with a known verdict are decided. Seconds
are wall times, of the decided ones but for the totals, and include reading both files, checking the
proof and running the witness in float32; easy: of the instances that `expected.csv` calls so, the
CPU seconds of the slowest. check / search: time of the proof checker over that of the
search, both summed over the `unsat` ones; bytes / leaf: of their proof files, headers included,
over the leaves of their trees. The public tools ran on other machines (64 cores or a
GPU), on all of the competition's instances, and their times include 0.9 s (nnenum) to 11 s (CORA)
of start-up."""


def most_of_easy(rows: Sequence[Row]) -> float | None:
    """CPU seconds of the slowest instance of a family that expected.csv calls easy."""
    path = Path(rows[0]["folder"], "expected.csv")
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        known = list(csv.DictReader(file))
    easy = {(k["onnx"], k["vnnlib"]) for k in known if k.get("difficulty") == "easy"}
    return max((r["cpu_seconds"] for r in rows if (r["onnx"], r["vnnlib"]) in easy), default=None)


def cells(found: Summary, rows: Sequence[Row]) -> list[str]:
    """One line of the table."""
    known = sum(row["expected"] is not None for row in rows)
    ratio = found.check_seconds / found.search_seconds if found.search_seconds else None
    return [
        found.family,
        f"{found.decided}/{found.total}",
        f"{known - found.missed}/{known}",
        f"**{found.wrong}**" if found.wrong else "0",
        short(found.median_seconds),
        short(found.longest_seconds),
        short(found.seconds),
        short(found.cpu_seconds),
        short(most_of_easy(rows)),
        short(ratio),
        short(found.leaf_bytes),
        "-" if found.peak_mb is None else f"{found.peak_mb:,.0f}",
        PEERS.get(found.family, "-"),
    ]


def table(rows: Sequence[Row]) -> list[list[str]]:
    """One line per family, in alphabetical order."""
    families = {row["folder"]: [r for r in rows if r["folder"] == row["folder"]] for row in rows}
    lines = [cells(summarise(some)[0], some) for some in families.values()]
    return sorted(lines)


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """The part of RESULTS.md."""
    rule = ["---", *["---:"] * (len(COLUMNS) - 2), "---"]
    options = {tuple(sorted(row["options"].items())) for row in rows}
    shown = "; ".join(_shown(dict(found)) for found in sorted(options, key=str))
    where = (
        f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, {facts['kernels']} "
        f"kernels, Python {facts['python']}, NumPy {facts['numpy']}"
    )
    lines = ["## Verification", ""]
    lines += [f"Written by `python benchmarks/verify.py`. {where}; {shown}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in (COLUMNS, rule, *table(rows))]
    lines += ["", NOTE, ""]
    wrong = [row for row in rows if row["wrong"]]
    lines += [
        f"* WRONG: {Path(row['folder']).name} {row['onnx']} {row['vnnlib']}: {row['status']}, "
        f"known: {row['expected']}"
        for row in wrong
    ]
    return "\n".join(lines)


def _shown(options: dict[str, Any]) -> str:
    timeout, memory = options["timeout"], options["memory"]
    limit = "the listed time limits" if timeout is None else f"{timeout:g} s each"
    room = "no memory limit" if memory is None else f"{memory:g} GB"
    many = options["threads"]
    return f"{limit}, {room}, {many} thread{'s' * (many != 1)}"


def run_all(data: Path, place: Path, options: Options, workers: int) -> None:
    """Run every family below a folder; what is there is not run again."""
    place.mkdir(parents=True, exist_ok=True)
    for folder in sorted(data.iterdir()):
        if not (folder / "instances.csv").is_file():
            continue
        path = str(place / f"{folder.name}.jsonl")
        instances = read_folder(folder)
        done = read_rows(path, mend=True) if Path(path).exists() else []
        todo = resumable(path, done, [str(folder)], instances, options)
        print(f"{folder.name}: {len(todo)} of {len(instances)} to do", file=sys.stderr)
        with RowFile(path, append=True) as file:
            bench(todo, options, workers=workers, on_row=file.write)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Verification on the competition's benchmarks.")
    parser.add_argument("files", nargs="*", metavar="ROWS", help="files of rows")
    parser.add_argument("--markdown", metavar="FILE", help="write the part of RESULTS.md")
    parser.add_argument("--run", metavar="DATA", help="run every family below this folder")
    parser.add_argument("--rows", metavar="DIR", help="where --run puts the rows")
    parser.add_argument("--timeout", type=float, metavar="S", help="instead of the listed limits")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB", help="default 4")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default 1")
    options = parser.parse_args(arguments)
    if options.run and not options.rows:
        parser.error("--run needs --rows")
    if not options.run and not options.files:
        parser.error("no ROWS given, nor a folder to --run")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; 1 if a verdict is wrong."""
    given = parse(arguments)
    files = list(given.files)
    if given.run:
        place = Path(given.rows)
        run_all(Path(given.run), place, Options(given.timeout, given.memory), given.workers)
        files += sorted(map(str, place.glob("*.jsonl")))
    rows = [row for path in dict.fromkeys(files) for row in read_rows(path)]
    for line in (list(COLUMNS), *table(rows)):
        print(" | ".join(line))
    if given.markdown:
        put_part(given.markdown, "verification", markdown(rows, environment(0.0)))
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
