"""The command ``plverify``: one module per subcommand, and what all of them promise.

Exit codes: 0 answered; 1 unknown, timeout, interrupted or rejected; 2 usage or bad input, with
exactly one line on stderr; 3 an internal error, with one line that says how to see the traceback
(``--debug``, anywhere on the command line). Answers go to stdout, everything else to stderr.

Subcommands raise `plverify.errors.InputError` for what the user can mend and
`plverify.cli.arguments.Exit` for an answer that is no answer; `run` turns everything that is raised
into a code and a line. Only the module of the command that was asked for is imported, and modules
import what is slow inside their functions: small questions are answered in 0.3 s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from plverify.cli.arguments import Exit, parse
from plverify.errors import InputError, MissingExtra

ANSWERED, UNKNOWN, BAD_INPUT, INTERNAL = 0, 1, 2, 3

COMMANDS = (
    "info",
    "regions",
    "verify",
    "maximize",
    "lipschitz",
    "certify",
    "merge",
    "report",
    "attack",
    "check",
    "bench",
    "bounds",
    "selftest",
    "supports",
    "compete",
)
"""Each is the function of the same name in the module of the same name."""

ABOUT = """\
Exact answers about piecewise-linear neural networks, with proofs.

Exit codes: 0 answered, 1 unknown, timeout, interrupted or rejected, 2 usage or bad input, 3
internal error.
"""
OPTIONS = """\
options:
  -h, --help  Show this text; after a command, that command's.
  --name      Print the name, as VNN-LIB 2.0 asks for.
  --version   Print the version.
  --debug     Show the traceback of an error (given anywhere)."""


def command(name: str) -> Callable[..., None]:
    """The function of a subcommand."""
    function: Callable[..., None] = getattr(import_module(f"plverify.cli.{name}"), name)
    return function


def _help() -> str:
    """What ``plverify --help`` prints."""
    lines = [f"  {name:<10}{(command(name).__doc__ or '').splitlines()[0]}" for name in COMMANDS]
    usage = "Usage: plverify [--debug] COMMAND [ARGUMENTS] ..."
    return "\n".join([usage, "", ABOUT, "commands:", *lines, "", OPTIONS])


def main() -> None:
    """Entry point of the command ``plverify``."""
    # Schedulers end a job with SIGTERM: print what is known so far, as for Ctrl-C.
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # --threads is about the engine. NumPy's threads only start (0.1 s of CPU time) and wait.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing is raised except with ``--debug``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    name = f"plverify {words[0]}" if words and words[0] in COMMANDS else "plverify"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            code = _answer(name, words)
            sys.stdout.flush()
            return code
        except BaseException as error:
            if debug and not isinstance(error, SystemExit):
                raise
            return _report(error, name)


def _answer(name: str, words: Sequence[str]) -> int:
    """Run a command; the exit code of an answer."""
    first = words[0] if words else None
    try:
        if first in COMMANDS:
            function = command(first)
            function(**parse(function, name, words[1:]))
        elif first == "--name":
            print("plverify")
        elif first == "--version":
            print(import_module("plverify").__version__)
        elif first in ("-h", "--help"):
            print(_help())
        elif first is None:
            print(_help())
            raise InputError("no command given")
        else:
            what = "option" if first.startswith("-") else "command"
            raise InputError(f"No such {what} {first!r:.60} (see plverify --help)")
    except Exit as end:
        return end.code
    return ANSWERED


def _report(error: BaseException, name: str) -> int:
    """Say on stderr in one line what went wrong; the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else UNKNOWN
    if isinstance(error, KeyboardInterrupt):
        return _interrupted(name)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _drop_stdout()  # whoever read our output has seen enough
        return UNKNOWN
    if isinstance(error, (InputError, MissingExtra)):
        return _say(name, str(error), BAD_INPUT)
    if isinstance(error, OSError):
        _drop_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _say(name, f"{where}{error.strerror or error}", BAD_INPUT)
    if isinstance(error, MemoryError):
        return _say(name, "out of memory; regions --count needs none for the list", INTERNAL)
    what = f"{type(error).__name__}: {error}"
    return _say(
        name, f"internal error, please report it: {what} (--debug shows the traceback)", INTERNAL
    )


def _say(name: str, message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        print(f"{name}: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def _interrupted(name: str) -> int:
    return _say(name, "interrupted", UNKNOWN)


def _drop_stdout() -> None:
    """What is still buffered cannot be written: do not try again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Any, *ignored: Any, **also_ignored: Any) -> None:
    _say("plverify", f"warning: {message}", 0)
