"""Measure the region engine on the benchmark cases: ``python benchmarks/run.py``.

Times are CPU seconds of the engine alone (``stats["cpu_seconds"]``: reading the network and
preparing the domain come before), the least and the median over repeats in one process with one
thread. What is compared is measured in turn within every repeat, so that a noisy neighbour meets
all of it:

* filter: the engine as it is, against `unchecked`, which compares the same floating-point numbers
  with 0 and has no error bounds. What exactness costs; the ratio of the least times.
* list: all regions as arrays (vertices, patterns, affine maps), against the count; process CPU,
  because joining and converting the arrays belong to it.
* 2 threads: wall seconds of one thread against two, and in brackets the CPU seconds of two against
  one. The wall ratio means nothing while other processes use the cores.

Memory is by how much one count raises the resident set of a fresh process at most, and in brackets
the peak of that process with Python, NumPy and the reading of the network. A wrong count is an
error (exit code 1); times never are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cases import CASES, Case, find
from parts import put_part

from plverify import _core

HERE = Path(__file__).resolve().parent
PEER_CASES = ("2-16-16-1", "2-16-16-1 plane", "2-32x3-1")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

COLUMNS = (
    "case",
    "regions",
    "CPU ms: least (median)",
    "regions/s",
    "goal ms",
    "best public tool, ms",
    "undecided",
    "filter",
    "list",
    "2 threads",
    "memory MiB",
)
"""Of the table; the module's text says what they mean."""


# ---------------------------------------------------------------------------------- one case


@dataclass(frozen=True)
class Run:
    """One call of the engine: its answer and three times in seconds."""

    regions: int
    stats: dict[str, Any]
    engine: float
    process: float
    wall: float


class Question:
    """A case, ready to be asked again and again."""

    def __init__(self, case: Case) -> None:
        domain = case.make_domain()
        self._net = _core.Net(case.network().canonical)
        self._domain = domain.to_bytes()
        self.has_vertices = domain.dim <= _core.max_dimension
        """Where there are no vertices, the other engine answers."""
        self.is_plane = domain.dim <= 2
        """Without bounds only in the plane: beyond it each wrong sign makes work."""

    def ask(self, want: str = "count", **options: Any) -> Run:
        """One call of the engine."""
        cpu, wall = time.process_time(), time.perf_counter()
        engine = _core.enumerate if self.has_vertices else _core.halfspaces
        answer = engine(self._net, self._domain, want, **options)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stats = answer["stats"]
        return Run(answer["count"], stats, stats["cpu_seconds"], cpu, wall)


def measure(case: Case, budget: float, least: int, most: int = 200) -> dict[str, Any]:
    """All figures of one case but its memory.

    Repeats until `budget` CPU seconds are spent, at least `least` times.
    """
    question = Question(case)
    runs: dict[str, list[Run]] = {"count": [], "unchecked": [], "list": [], "two": []}
    start = time.process_time()
    while len(runs["count"]) < least or (
        time.process_time() - start < budget and len(runs["count"]) < most
    ):
        runs["count"].append(question.ask())
        if question.is_plane:
            runs["unchecked"].append(question.ask(unchecked=True))
        if case.listed:
            runs["list"].append(question.ask("regions"))
        runs["two"].append(question.ask(threads=2))

    def best(which: str, clock: str) -> float:
        return min(float(getattr(run, clock)) for run in runs[which])

    unchecked = runs["unchecked"]
    pairs = zip(runs["count"], unchecked, strict=False)
    counts = {run.regions for which in ("count", "list", "two") for run in runs[which]}
    cpu = best("count", "engine")
    stats = runs["count"][0].stats
    return {
        "case": case.name,
        "regions": runs["count"][0].regions,
        "expected": case.regions,
        "source": case.source,
        "correct": counts == {case.regions},
        "repeats": len(runs["count"]),
        "cpu_seconds": cpu,
        "cpu_seconds_median": median(run.engine for run in runs["count"]),
        "wall_seconds": best("count", "wall"),
        "regions_per_second": case.regions / cpu,
        "goal_seconds": case.goal,
        "best_public_seconds": case.best,
        "undecided": sum(stats["undecided"]) / max(1, sum(stats["unit_tests"]))
        if question.has_vertices
        else None,
        "filter_ratio": cpu / best("unchecked", "engine") if unchecked else None,
        "filter_ratio_median": median(a.engine / b.engine for a, b in pairs) if unchecked else None,
        "list_ratio": best("list", "process") / best("count", "process") if case.listed else None,
        "two_threads_speedup": best("count", "wall") / best("two", "wall"),
        "two_threads_cpu_ratio": best("two", "engine") / cpu,
        "memory_growth_mib": None,
        "memory_peak_mib": None,
    }


# -------------------------------------------------------------------- fresh processes: memory


def memory_in_child(case: Case) -> dict[str, float]:
    """`memory_here` in a fresh process."""
    command = [sys.executable, str(HERE / "run.py"), "--memory-of", case.name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {key: float(value) for key, value in json.loads(done.stdout).items()}


def memory_here(case: Case) -> dict[str, float]:
    """MiB by which one count raises the resident set, and this process's peak over all it did."""
    question = Question(case)
    before = peak_kib()
    reset_peak()
    start = peak_kib()
    question.ask()
    after = peak_kib()
    growth, peak = after - start, max(before, after)
    return {"memory_growth_mib": growth / 1024, "memory_peak_mib": peak / 1024}


def peak_kib() -> int:
    """Peak resident set of this process; not ru_maxrss, which begins with the parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def reset_peak() -> None:
    """Let the peak begin again at the present resident set, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


# ------------------------------------------------------------------- fresh processes: startup


def startup(repeats: int) -> dict[str, Any]:
    """Seconds of ``import plverify`` and of the command line on the smallest network."""
    with tempfile.TemporaryDirectory() as folder:
        net = Path(folder, "net.npz")
        find("2-16-16-1").save(net)
        main = "from plverify.cli import main; main()"
        cli = ["-c", main, "regions", str(net), "--box=-1,1", "--count"]
        return {
            "python": child(["-c", ""], repeats),
            "import numpy": child(["-c", "import numpy"], repeats),
            "import plverify": child(["-c", "import plverify"], repeats),
            "plverify regions 2-16-16-1 --count": child(cli, repeats),
        }


def child(arguments: Sequence[str], repeats: int) -> dict[str, float] | None:
    """Least CPU and wall seconds of a Python process; None if it fails."""
    cpu, wall = [], []
    for _ in range(repeats):
        before, start = children_cpu(), time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True)
        wall.append(time.perf_counter() - start)
        cpu.append(children_cpu() - before)
        if done.returncode:
            return None
    return {"cpu_seconds": min(cpu), "wall_seconds": min(wall)}


def children_cpu() -> float:
    """CPU seconds of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# ----------------------------------------------------------------------------------- relucent


def compare_relucent(python: str | None, limit: float) -> list[dict[str, Any]]:
    """relucent and plverify on the small cases; `python` has relucent, else it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        if python is None:
            python = install_relucent(Path(folder))
        return [compare_case(find(name), python, limit, Path(folder)) for name in PEER_CASES]


def install_relucent(folder: Path) -> str:
    """Make a virtual environment with relucent; its Python. PyTorch comes without CUDA."""
    note("installing relucent into a temporary environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "torch", "--index-url", TORCH_INDEX], check=True)
    subprocess.run([*pip, "relucent"], check=True)
    return python


def compare_case(case: Case, python: str, limit: float, folder: Path) -> dict[str, Any]:
    """One row of the comparison; its ``error`` says why relucent gave no answer."""
    note(f"relucent on {case.name}")
    ours = measure(case, 0.5, 5)
    row = {"case": case.name, "expected": case.regions, "cpu_seconds": ours["cpu_seconds"]}
    case.save(folder / "net.npz")
    command = [python, str(HERE / "peer_relucent.py"), str(folder / "net.npz"), case.domain]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {**row, "error": f"no answer in {limit:g} s"}
    if done.returncode:
        return {**row, "error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    theirs = json.loads(done.stdout.splitlines()[-1])
    ratio = theirs["cpu_seconds"] / ours["cpu_seconds"]
    return {**row, **{f"relucent_{k}": v for k, v in theirs.items()}, "ratio": ratio}


# ------------------------------------------------------------------------------------- output


def environment(load_before: float) -> dict[str, Any]:
    """What the figures depend on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        model = next(names, model)
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": round(load_before, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "kernels": _core.kernel_isa(),
        "asserts": _core.asserts_on,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def milliseconds(seconds: float | None) -> str:
    """Three significant digits; a dash for nothing.

    >>> milliseconds(0.0123456), milliseconds(1.88), milliseconds(None)
    ('12.3', '1,880', '-')
    """
    if seconds is None:
        return "-"
    return f"{1000 * seconds:,.0f}" if seconds >= 1 else f"{1000 * seconds:.3g}"


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    cpu, goal, best = row["cpu_seconds"], row["goal_seconds"], row["best_public_seconds"]
    wrong = "" if row["correct"] else f" WRONG, {row['expected']:,}"
    growth, peak = row["memory_growth_mib"], row["memory_peak_mib"]
    return [
        row["case"],
        f"{row['regions']:,}{wrong}",
        f"{milliseconds(cpu)} ({milliseconds(row['cpu_seconds_median'])})",
        f"{row['regions_per_second'] / 1e6:.2f} M",
        milliseconds(goal) + (f" ({cpu / goal:.2f} x)" if goal else ""),
        milliseconds(best) + (f" ({best / cpu:.1f} x)" if best else ""),
        "-" if row["undecided"] is None else f"{row['undecided']:.2g}",
        "-" if row["filter_ratio"] is None else f"{row['filter_ratio']:.2f}",
        "-" if row["list_ratio"] is None else f"{row['list_ratio']:.2f}",
        f"{row['two_threads_speedup']:.2f} ({row['two_threads_cpu_ratio']:.2f})",
        "-" if growth is None else f"{growth:.1f} ({peak:.0f})",
    ]


def startup_rows(results: dict[str, Any]) -> list[list[str]]:
    """What, CPU ms, wall ms."""
    return [
        [what, *(milliseconds(times[f"{clock}_seconds"]) for clock in ("cpu", "wall"))]
        if times
        else [what, "failed", "failed"]
        for what, times in results["startup"].items()
    ]


def peer_rows(results: dict[str, Any]) -> list[list[str]]:
    """Case, regions, both CPU times in seconds, ratio."""
    rows = []
    for row in results["relucent"]:
        start = [row["case"], f"{row['expected']:,}", f"{row['cpu_seconds']:.6f}"]
        if "error" in row:
            rows.append([*start, row["error"], "-", "-"])
        else:
            seconds, found = row["relucent_cpu_seconds"], row["relucent_regions"]
            rows.append([*start, f"{seconds:.2f}", f"{found:,}", f"{row['ratio']:,.0f}"])
    return rows


PEER_TITLE = "Beside relucent"
PEER_NOTE = (
    "relucent 1.0.0 with one worker needed 2.0 s for 2-16-16-1 and 34.5 s for 2-32x3-1 when\n"
    "nothing else ran on such a machine. It does more than count; see `README.md`."
)
STARTUP_COLUMNS = ("process", "CPU ms", "wall ms")
PEER_COLUMNS = (
    "case",
    "regions",
    "plverify CPU s",
    "relucent CPU s",
    "relucent's count",
    "relucent / plverify",
)


def tables(results: dict[str, Any]) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, columns and rows of everything that was measured."""
    found: list[tuple[str, Sequence[str], list[list[str]]]] = [
        ("Counting regions, one thread", COLUMNS, [cells(row) for row in results["cases"]])
    ]
    if results["startup"]:
        found.append(("Starting up", STARTUP_COLUMNS, startup_rows(results)))
    if results["relucent"]:
        found.append((PEER_TITLE, PEER_COLUMNS, peer_rows(results)))
    return found


def print_tables(results: dict[str, Any]) -> None:
    """On stdout, for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for title, columns, rows in tables(results):
        view = Table(title=title, title_justify="left")
        for k, column in enumerate(columns):
            view.add_column(column, justify="right" if k else "left")
        for row in rows:
            view.add_row(*row)
        console.print(view)
        if title == PEER_TITLE:
            console.print(PEER_NOTE, highlight=False)
    console.print(describe(results["environment"]), highlight=False)
    if results["missing"]:
        console.print(f"left out, files not found: {', '.join(results['missing'])}")


def describe(facts: dict[str, Any]) -> str:
    """The environment in a line."""
    asserts = ", ASSERTS ON: not a build to measure" if facts["asserts"] else ""
    return (
        f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, {facts['kernels']} "
        f"kernels{asserts}, Python {facts['python']}, NumPy {facts['numpy']}, load average "
        f"{facts['load_before']} before and {facts['load_after']} after"
    )


def markdown(results: dict[str, Any], command: str) -> str:
    """The part of RESULTS.md."""
    lines = [
        f"Written by `{command}`.",
        f"{describe(results['environment'])}.",
        "",
        "This process makes one of the load average; more means that others used the cores",
        "meanwhile, and then caches and hyper-threads too: compare ratios first, CPU seconds with",
        "care, and wall times not at all. `README.md` explains the columns. The best public tool's",
        "figures were taken at another, quieter time on the same kind of machine.",
    ]
    for title, columns, rows in tables(results):
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines += ["", f"## {title}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (columns, rule, *rows)]
        if title == PEER_TITLE:
            lines += ["", PEER_NOTE]
    if results["missing"]:
        lines += ["", f"Left out, files not found: {', '.join(results['missing'])}."]
    return "\n".join(lines) + "\n"


def note(text: str) -> None:
    """Progress on a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


# --------------------------------------------------------------------------------------- main


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the region engine.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names; default all")
    parser.add_argument("--quick", action="store_true", help="small cases, a few seconds")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables, as in RESULTS.md")
    parser.add_argument("--compare", choices=["relucent"], help="a public tool beside plverify")
    parser.add_argument("--peer-python", metavar="FILE", help="a Python that has relucent")
    parser.add_argument("--peer-limit", metavar="S", type=float, default=600.0, help="wall seconds")
    parser.add_argument("--memory-of", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    known = [case.name for case in CASES]
    for name in [*options.cases, *filter(None, [options.memory_of])]:
        if name not in known:
            parser.error(f"no case {name!r}; there are {', '.join(map(repr, known))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 if a count is wrong."""
    options = parse(arguments)
    if options.memory_of:
        print(json.dumps(memory_here(find(options.memory_of))))
        return 0
    load_before = os.getloadavg()[0]
    wanted = [case for case in CASES if not options.cases or case.name in options.cases]
    if options.quick:
        wanted = [case for case in wanted if case.quick]
    results: dict[str, Any] = {
        "cases": [],
        "missing": [case.name for case in wanted if not case.available],
        "startup": {},
        "relucent": [],
    }
    budget, least = (0.1, 2) if options.quick else (1.5, 5)
    for case in wanted:
        if not case.available:
            continue
        note(case.name)
        row = measure(case, budget, least)
        if not options.quick:
            row.update(memory_in_child(case))
        results["cases"].append(row)
    if not options.quick:
        note("starting up")
        results["startup"] = startup(5)
    if options.compare:
        results["relucent"] = compare_relucent(options.peer_python, options.peer_limit)
    results["environment"] = environment(load_before)
    print_tables(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    if options.markdown:
        shown = " ".join(["python", "benchmarks/run.py", *(arguments or sys.argv[1:])])
        put_part(options.markdown, "regions", markdown(results, shown))
    return 0 if all(row["correct"] for row in results["cases"]) else 1


if __name__ == "__main__":
    sys.exit(main())
