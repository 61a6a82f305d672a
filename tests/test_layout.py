"""The layout of DESIGN section 2, read off the #include and import lines of the sources.

Which folder may include which, which module may import which, what is imported only where it is
needed. The tables below are the design; a new folder or a new edge is added to them on purpose.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "plverify"

# ------------------------------------------------------------------------- C++

KERNEL = {"base", "num", "net", "geom", "lp"}
MAY_INCLUDE = {
    "base": set(),
    "num": {"base"},
    "net": {"base", "num"},
    "geom": {"base", "num"},
    "lp": {"base", "num"},
    "proof": {"base", "num"},
    "region": KERNEL | {"proof"},
    "bound": KERNEL | {"proof"},
    "search": KERNEL | {"proof", "region", "bound"},
    "bindings": KERNEL | {"proof", "region", "bound", "search"},
    "check": {"base", "num", "proof"},
    "cuda": {"base"},
    "tests": KERNEL | {"proof", "region", "bound", "search", "check"},
}
FOREIGN = re.compile(r"pybind11|Python\.h|numpy|torch|cuda|cublas|thrust|^omp\.h")
MAY_BE_FOREIGN = {"bindings", "cuda"}
FOREIGN_FILES = {CSRC / "check" / "module.cpp"}  # a module of its own, to share no binding code
INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)

CPP_FILES = sorted(
    path for path in CSRC.rglob("*") if path.suffix in {".h", ".hpp", ".inl", ".cpp", ".cu"}
)


def area(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def resolve_include(path: Path, name: str) -> Path | None:
    """The file that `#include "name"` in `path` means: beside it, else below csrc."""
    for folder in (path.parent, CSRC):
        if (folder / name).exists():
            return (folder / name).resolve()
    return None


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_includes_point_downwards(path):
    allowed = MAY_INCLUDE[area(path)] | {area(path)}
    for bracket, name in INCLUDE.findall(path.read_text()):
        if bracket == "<":
            foreign = area(path) in MAY_BE_FOREIGN or path in FOREIGN_FILES
            assert foreign or not FOREIGN.search(name), f"<{name}>"
            continue
        target = resolve_include(path, name)
        assert target is not None, f'no file for #include "{name}"'
        assert area(target) in allowed, f'#include "{name}" in csrc/{area(path)}'


def test_the_table_of_areas_has_no_cycle():
    rank: dict[str, int] = {}
    while len(rank) < len(MAY_INCLUDE):
        ready = [a for a, below in MAY_INCLUDE.items() if a not in rank and below <= rank.keys()]
        assert ready, f"a cycle among {sorted(MAY_INCLUDE.keys() - rank.keys())}"
        rank.update(dict.fromkeys(ready, len(rank)))


# ---------------------------------------------------------------------- Python

# Every module by name; what is not named is a topic module. An import goes to the same rank or a
# lower one. `STRICT` lists the modules whose imports are a promise: a proof checker that shares no
# reasoning code with the engine, oracles that share nothing at all.
RANKS = [
    {"closest", "errors", "theory", "theory_nets", "reference", "vertices", "volume"},
    {"exact_nodes"},
    {"exact_net"},
    {"exact_array"},
    {"nodes"},
    {"filters"},
    {"domain", "result", "proof_reader", "_check", "_core", "_cuda"},
    {"constraint", "programs"},
    {"facets"},
    {"checker_nets"},
    {"checker_claims"},
    {"checker_minima"},
    {"checker_bounds"},
    {"checker_gain"},
    {"network", "local", "checker", "checker_dual", "checker_tree", "io", "property", "replay"}
    | {"cuda", "executed", "replay_cache"},
    {"certificate", "proof"},
    {"question", "unbounded"},
    {"a topic module"},
    {"report", "cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
STRICT = {
    "errors": set(),
    "theory": {"theory_nets"},
    "theory_nets": {"theory"},
    "reference": set(),
    "exact_nodes": set(),
    "exact_net": {"errors", "exact_nodes"},
    "exact_array": {"errors", "exact_net"},
    "domain": {"errors", "exact_net", "exact_array"},
    "result": {"errors", "exact_net", "exact_array"},
    "constraint": {"domain", "errors", "exact_array"},
    "property": {"constraint", "domain", "errors", "exact_array", "io"},
    "proof_reader": {"exact_net"},
    "checker_tree": {"exact_net", "proof_reader"},
    "checker_nets": {"exact_net"},
    "checker_claims": {"checker_nets", "exact_net", "proof_reader"},
    "checker_minima": {"checker_claims"},
    "checker_bounds": {"checker_claims", "checker_minima", "exact_net"},
    "checker_gain": {"checker_bounds", "checker_claims", "checker_minima"},
    "checker_dual": {"checker_bounds", "checker_claims", "checker_gain", "checker_minima"}
    | {"exact_net", "proof_reader"},
    "checker": {"checker_dual", "checker_tree", "exact_net", "proof_reader"},
}
# Slow or optional: imported inside the function that needs them.
HEAVY = {
    "clarabel",
    "cvxpy",
    "dask",
    "distributed",
    "jinja2",
    "matplotlib",
    "numba",
    "onnx",
    "onnxruntime",
    "plotly",
    "sklearn",
    "torch",
}

PY_FILES = sorted(PACKAGE.rglob("*.py"))


def module_parts(path: Path) -> tuple[str, ...]:
    """Name of a module of the package without the package: ("io", "onnx"), ("__init__",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts


def imports(nodes: Iterator[ast.AST], package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Absolute dotted names imported by `nodes`; `package` is what a relative import starts at."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            for alias in node.names:
                yield (*base, alias.name)


def package_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, functions included.

    What is taken from the package itself (`import plverify`, `from plverify import Box`) counts as
    an import of `__init__`, which stands above everything.
    """
    where = ("plverify", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for name in imports(ast.walk(ast.parse(path.read_text())), where):
        if name[0] == "plverify":
            module = name[1] if len(name) > 1 else "__init__"
            found.add(module if is_module(module) else "__init__")
    return found


def is_module(name: str) -> bool:
    path = PACKAGE / name
    return path.is_dir() or path.with_suffix(".py").exists() or name in {"_check", "_core", "_cuda"}


def executed_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes that run when the module is imported: no function bodies, no TYPE_CHECKING."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack.extend(node.orelse)
            continue
        yield node
        stack.extend(ast.iter_child_nodes(node))


python_file = pytest.mark.parametrize("path", PY_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


@python_file
def test_imports_point_downwards(path):
    name = module_parts(path)[0]
    imported = package_imports(path) - {name}
    if name in STRICT:
        assert imported <= STRICT[name]
    rank = RANK.get(name, RANK["a topic module"])
    upwards = {other for other in imported if RANK.get(other, RANK["a topic module"]) > rank}
    assert not upwards


@python_file
def test_heavy_packages_are_imported_where_they_are_needed(path):
    tree = ast.parse(path.read_text())
    found = {name[0] for name in imports(executed_at_import(tree), ("plverify",))}
    assert not found & HEAVY


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = f"import sys, plverify; print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------------- all files


def text_files(*folders: str) -> Iterator[tuple[Path, str]]:
    # .git is a file, which names a path, where the checkout is a linked work tree.
    paths = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in folders:
        paths += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in paths:
        if "__pycache__" in path.parts or path.stat().st_size > 1 << 20:
            continue
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def test_no_file_is_too_long_to_read():
    suffixes = {".py", ".h", ".hpp", ".inl", ".cpp", ".cu"}
    lengths = {
        str(path.relative_to(ROOT)): len(text.splitlines())
        for path, text in text_files("csrc", "plverify", "tests")
        if path.suffix in suffixes
    }
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > 800}


def test_no_path_of_one_machine_is_written_down():
    # The character class keeps this line, and ordinary words with slashes, from matching.
    machine_path = re.compile(r"(?:^|[^\w.])/(?:work|farm|root|home/\w+|tmp/w)/", re.MULTILINE)
    folders = ("csrc", "plverify", "tests", "docs", "dev", "benchmarks", "examples", ".ci")
    folders += ("competition",)
    assert not [str(path) for path, text in text_files(*folders) if machine_path.search(text)]


def test_no_flag_makes_answers_depend_on_the_machine():
    text = (ROOT / "setup.py").read_text()
    assert not re.search(r"openmp|fast-math|-march|-mtune|Ofast|unsafe-math", text)
    assert "-ffp-contract=off" in text
    assert not [path.name for path in CPP_FILES if re.search(r"#\s*pragma\s+omp", path.read_text())]
