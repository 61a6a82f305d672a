"""Command lines from signatures: what a subcommand takes is written once, in its parameters.

A parameter annotated ``Annotated[T, Argument(...)]`` is positional, ``Annotated[T, Option(...)]``
an option. ``T`` is ``str``, ``int``, ``float``, ``bool`` (a flag), ``list[str]`` (any number of
words, or an option that may be repeated), or one of them ``| None``. Without a default it is
required.

The standard library's argparse does the work: libraries that read signatures take longer to import
(typer: 0.2 s) than a small network takes to verify. Two of its habits are mended first: an option
takes the next word as its value even if that starts with ``-`` (``--box -1,1``), and options may
stand between positional words.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_type_hints

from plverify.errors import InputError


class Exit(Exception):
    """The command is done, with this exit code."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(code)
        self.code = code


class Argument:
    """A positional parameter."""

    def __init__(self, *, help: str, metavar: str) -> None:
        self.help, self.metavar = help, metavar


class Option:
    """An option; without names it is called as its parameter."""

    def __init__(
        self, *names: str, help: str, metavar: str | None = None, min: int | None = None
    ) -> None:
        self.names, self.help, self.metavar, self.min = names, help, metavar, min


Model = Annotated[str, Argument(help="A network file.", metavar="MODEL")]
Threads = Annotated[int, Option(help="Threads; 0 for one per core. The answer is the same.", min=0)]
Json = Annotated[bool, Option("--json", help="Print one JSON object.")]


def parse(command: Callable[..., None], name: str, words: Sequence[str]) -> dict[str, Any]:
    """The keyword arguments that a command line gives to a command.

    Raises
    ------
    InputError
        On words that the command does not take.
    Exit
        After its help was printed.

    >>> from typing import Annotated
    >>> def show(
    ...     net: Annotated[str, Argument(help="A file.", metavar="NET")],
    ...     box: Annotated[str | None, Option(help="A box.")] = None,
    ... ) -> None: ...
    >>> parse(show, "show", ["--box", "-1,1", "a.onnx"])
    {'net': 'a.onnx', 'box': '-1,1'}
    """
    parser = _Parser(
        prog=name,
        description=inspect.getdoc(command),
        formatter_class=_Help,
        add_help=False,
        allow_abbrev=False,
    )
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind, given = get_args(hints[parameter.name])
        parser.add_parameter(parameter, kind, given)
    parser.add_argument("-h", "--help", action="store_true", help="Show this text.")
    options, rest = _sorted(words, parser.takes_value)
    if "-h" in options or "--help" in options:
        print(parser.format_help(), end="")
        raise Exit
    found = vars(parser.parse_args([*options, "--", *rest] if rest else options))
    del found["help"]
    return found


def _sorted(words: Sequence[str], takes_value: set[str]) -> tuple[list[str], list[str]]:
    """Options, each joined with its value, and positional words."""
    options: list[str] = []
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += queue
            break
        if word in takes_value and queue:
            options.append(f"{word}={queue.pop(0)}")
        elif word.startswith("-") and word != "-":
            options.append(word)
        else:
            rest.append(word)
    return options, rest


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse's help, as wide as our docstrings, its first word spelt like them."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)  # or argparse imports shutil to ask the terminal

    def add_usage(
        self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None
    ) -> None:
        super().add_usage(usage, actions, groups, "Usage: ")


class _Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are `InputError`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.takes_value: set[str] = set()

    def error(self, message: str) -> Any:
        """Raise what `plverify.cli.run` prints."""
        raise InputError(f"{message} (see {self.prog} --help)")

    def add_parameter(
        self, parameter: inspect.Parameter, kind: Any, given: Argument | Option
    ) -> None:
        """Add one parameter of a command, of the type ``kind``."""
        needed = parameter.default is inspect.Parameter.empty
        options: dict[str, Any] = {"help": given.help.replace("%", "%%")}
        if not needed:
            options["default"] = parameter.default
        kinds = get_args(kind)  # of `int | None`, `list[str]`
        many = kind is list or list[str] in (kind, *kinds)
        base = str if many else next((k for k in (int, float, bool) if k in (kind, *kinds)), str)
        if isinstance(given, Argument):
            nargs = "+" if many else None
            if not needed:
                nargs = "*" if many else "?"
            self.add_argument(
                parameter.name, type=base, metavar=given.metavar, nargs=nargs, **options
            )
            return
        names = given.names or (f"--{parameter.name.replace('_', '-')}",)
        if base is bool:
            self.add_argument(*names, dest=parameter.name, action="store_true", **options)
            return
        self.takes_value.update(names)
        self.add_argument(
            *names,
            dest=parameter.name,
            type=_at_least(base, given.min),
            metavar=given.metavar or {int: "N", float: "X"}.get(base, "TEXT"),
            required=needed,
            action="append" if many else "store",
            **options,
        )


def _at_least(kind: type, least: int | None) -> Callable[[str], Any]:
    """A conversion that refuses smaller numbers."""
    if least is None:
        return kind

    def convert(text: str) -> Any:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    convert.__name__ = kind.__name__  # what argparse calls it in "invalid int value"
    return convert
