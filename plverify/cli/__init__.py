"""The command ``plverify``: one module per subcommand, and what all of them promise.

Exit codes: 0 answered; 1 unknown, timeout, interrupted or rejected; 2 usage or bad input, with
exactly one line on stderr; 3 an internal error, with one line that says how to see the traceback
(``--debug``, anywhere on the command line). Answers go to stdout, everything else to stderr.

Subcommands raise `plverify.errors.InputError` for what the user can mend and ``typer.Exit`` for an
answer that is no answer; `run` turns everything that is raised into a code and a line. Modules are
imported when this one is, so they import what is slow inside their functions.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from plverify.cli import bounds as bounds_module
from plverify.cli import check as check_module
from plverify.cli import info as info_module
from plverify.cli import maximize as maximize_module
from plverify.cli import regions as regions_module
from plverify.cli import selftest as selftest_module
from plverify.cli import verify as verify_module
from plverify.errors import InputError, MissingExtra

ANSWERED, UNKNOWN, BAD_INPUT, INTERNAL = 0, 1, 2, 3

app = typer.Typer(
    name="plverify",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The class from which all usage errors derive; it has moved between typer's releases.
_UsageFailure = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"plverify {import_module('plverify').__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (given anywhere).")
    ] = False,
) -> None:
    """Exact answers about piecewise-linear neural networks, with proofs.

    Exit codes: 0 answered, 1 unknown, timeout, interrupted or rejected, 2 usage or bad input, 3
    internal error.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise InputError("no command given")


app.command("info")(info_module.info)
app.command("regions")(regions_module.regions)
app.command("verify")(verify_module.verify)
app.command("maximize")(maximize_module.maximize)
app.command("check")(check_module.check)
app.command("bounds")(bounds_module.bounds)
app.command("selftest")(selftest_module.selftest)


def main() -> None:
    """Entry point of the command ``plverify``."""
    # Schedulers end a job with SIGTERM: print what is known so far, as for Ctrl-C.
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing is raised except with ``--debug``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    known = {command.name for command in app.registered_commands}
    name = f"plverify {words[0]}" if words and words[0] in known else "plverify"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            code = app(args=words, prog_name="plverify", standalone_mode=False)
            sys.stdout.flush()
            return _interrupted(name) if code == 130 else int(code or 0)
        except BaseException as error:
            if debug and not isinstance(error, SystemExit):
                raise
            return _report(error, name)


def _report(error: BaseException, name: str) -> int:
    """Say on stderr in one line what went wrong; the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else UNKNOWN
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _interrupted(name)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _drop_stdout()  # whoever read our output has seen enough
        return UNKNOWN
    if isinstance(error, _UsageFailure):
        message: Any = error
        return _say(name, f"{message.format_message()} (see {name} --help)", BAD_INPUT)
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
