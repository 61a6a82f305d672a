"""Build the compiled extensions; everything else about the package is in pyproject.toml.

plverify._core   the engine: every csrc/**/*.cpp except csrc/cuda, csrc/check and csrc/tests.
plverify._check  the checker of proofs: csrc/check, with the integers of csrc/num and nothing else.
plverify._cuda   optional batched kernels: csrc/cuda. Needs the CUDA toolkit to build, neither GPU
                 nor driver; the CUDA runtime is linked statically, so that the module imports
                 anywhere and finds zero devices where there is no driver.

Switches, read from the environment:

PLVERIFY_BUILD   release (default) | debug (-O1 -g, PLV_ASSERTS) | sanitize (debug, ASan, UBSan)
PLVERIFY_CUDA    0 (default) | 1 (fail without nvcc) | auto (build where nvcc is found)
PLVERIFY_JOBS    how many files are compiled at once (default 2)

Objects are kept under build/, apart for every PLVERIFY_BUILD, and are compiled again when their
source, any header or this file is newer: building after a change is quick and never mixes flags.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from glob import glob
from pathlib import Path

import pybind11
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext


def switch(name: str, *values: str) -> str:
    """The environment variable's value; the first of `values` where it is not set."""
    value = os.environ.get(name) or values[0]
    if value not in values:
        raise SystemExit(f"{name}={value}: expected one of {', '.join(values)}")
    return value


BUILD = switch("PLVERIFY_BUILD", "release", "debug", "sanitize")
CUDA = switch("PLVERIFY_CUDA", "0", "1", "auto")

# Answers must not depend on the machine that built the package: no contraction into fused
# multiply-adds behind the error bounds' back, nothing that reorders floating-point operations and
# nothing that ties the binary to one CPU.
FLAGS = ["-ffp-contract=off", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
LINK_FLAGS = ["-pthread"]
if BUILD == "release":
    FLAGS += ["-O3"]
else:
    # Python's own flags hold -DNDEBUG; these come after them.
    FLAGS += ["-O1", "-g", "-UNDEBUG", "-DPLV_ASSERTS"]
if BUILD == "sanitize":
    FLAGS += ["-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    FLAGS += ["-fno-sanitize-recover=undefined"]
    LINK_FLAGS += ["-fsanitize=address,undefined"]

HEADERS = sorted(
    header for kind in ("h", "hpp", "inl") for header in glob(f"csrc/**/*.{kind}", recursive=True)
)


def core_sources() -> list[str]:
    left_out = {"cuda", "check", "tests"}
    sources = glob("csrc/**/*.cpp", recursive=True)
    return sorted(source for source in sources if Path(source).parts[1] not in left_out)


def check_sources() -> list[str]:
    return sorted([*glob("csrc/check/*.cpp"), *glob("csrc/num/*.cpp")])


def extension(name: str, sources: list[str], libraries: list[str]) -> Pybind11Extension:
    return Pybind11Extension(
        name,
        sources,
        libraries=libraries,
        include_dirs=["csrc"],
        depends=[*HEADERS, "setup.py"],
        cxx_std=20,
        extra_compile_args=FLAGS,
        extra_link_args=LINK_FLAGS,
    )


def extensions() -> list[Pybind11Extension]:
    found = [
        extension("plverify._core", core_sources(), []),
        extension("plverify._check", check_sources(), []),
    ]
    if CUDA == "1" and nvcc() is None:
        raise SystemExit("PLVERIFY_CUDA=1 needs nvcc on the PATH, or its path in NVCC")
    if CUDA != "0" and nvcc() is not None:
        found.append(extension("plverify._cuda", sorted(glob("csrc/cuda/*.cpp")), ["dl", "rt"]))
    return found


def nvcc() -> str | None:
    return os.environ.get("NVCC") or shutil.which("nvcc")


def static_cudart(compiler: str) -> str:
    """Path of libcudart_static.a. nvcc can be a wrapper script, so it is asked for its root."""
    command = [compiler, "--dryrun", "-c", "probe.cu"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = dict(re.findall(r"^#\$ (\w+)=(.*)$", answer.stdout + answer.stderr, re.MULTILINE))
    root = Path(settings.get("TOP", "").strip() or "unknown: no TOP= in what --dryrun printed")
    target = settings.get("_TARGET_DIR_", "").strip()
    for folder in (root / target / "lib", root / "lib64", root / "lib"):
        if (library := folder / "libcudart_static.a").exists():
            return str(library.resolve())
    raise SystemExit(f"{compiler}: no libcudart_static.a below its root ({root})")


def out_of_date(obj: str, source: str) -> bool:
    inputs = [source, *HEADERS, "setup.py"]
    return os.stat(obj).st_mtime < max(os.stat(path).st_mtime for path in inputs)


class Build(build):
    """build from an empty build/lib: what an earlier build left there would go into the wheel."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildExt(build_ext):
    """build_ext that keeps objects per switch, always links, and hands .cu files to nvcc."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_temp = f"{self.build_temp}-{BUILD}-pybind11-{pybind11.__version__}"
        # out_of_date decides for each object; setuptools' own test cannot see changed flags.
        self.force = True

    def build_extension(self, ext: Pybind11Extension) -> None:
        compiler = nvcc()
        if ext.name == "plverify._cuda" and compiler is not None:
            kernels = [self.compile_kernels(compiler, path) for path in glob("csrc/cuda/*.cu")]
            ext.extra_objects = [*sorted(kernels), static_cudart(compiler)]
        super().build_extension(ext)

    def compile_kernels(self, compiler: str, source: str) -> str:
        obj = Path(self.build_temp, source).with_suffix(".cu.o")
        if not obj.exists() or out_of_date(str(obj), source):
            obj.parent.mkdir(parents=True, exist_ok=True)
            # -fmad=false: the kernels spell every fused operation and its rounding direction.
            flags = ["-std=c++17", "-O3", "-fmad=false", "-arch=all-major", "--threads=2"]
            flags += ["-Icsrc", "-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra"]
            command = [compiler, "-c", source, "-o", str(obj), *flags]
            print(" ".join(command))
            subprocess.run(command, check=True)
        return str(obj)


with ParallelCompile("PLVERIFY_JOBS", default=2, needs_recompile=out_of_date):
    setup(ext_modules=extensions(), cmdclass={"build": Build, "build_ext": BuildExt})
