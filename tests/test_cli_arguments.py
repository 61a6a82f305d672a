"""Command lines from signatures."""

from typing import Annotated

import pytest

from plverify.cli.arguments import Argument, Exit, Option, parse
from plverify.errors import InputError


def command(
    net: Annotated[str, Argument(help="A file, 100 % of it.", metavar="NET")],
    more: Annotated[list[str] | None, Argument(help="More files.", metavar="MORE")] = None,
    box: Annotated[str | None, Option(help="A box.", metavar="LO,HI")] = None,
    out_file: Annotated[str | None, Option("-o", "--out", help="Written.")] = None,
    threads: Annotated[int, Option(help="How many.", min=1)] = 1,
    share: Annotated[float, Option(help="A share.")] = 0.5,
    network: Annotated[list[str] | None, Option(help="May be repeated.")] = None,
    no_plot: Annotated[bool, Option(help="A flag.")] = False,
) -> None:
    """Do something.

    Example: plverify something
    """


def short(widths: Annotated[str, Option(help="Needed.")]) -> None:
    """A command that needs an option."""


DEFAULTS = {"box": None, "out_file": None, "threads": 1, "share": 0.5, "network": None}


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("a", {"more": []}),
        ("a b --box -1,1 c", {"more": ["b", "c"], "box": "-1,1"}),
        ("--box=-1,1 a", {"more": [], "box": "-1,1"}),
        ("--box a=b a", {"more": [], "box": "a=b"}),
        ("a -o x.npz", {"more": [], "out_file": "x.npz"}),
        ("a --out -", {"more": [], "out_file": "-"}),
        ("a --threads 3 --share -1e-3 --no-plot", {"threads": 3, "share": -1e-3, "no_plot": True}),
        ("a --network f=x --network g=-y", {"network": ["f=x", "g=-y"]}),
        ("--no-plot -- a -b --box", {"more": ["-b", "--box"], "no_plot": True}),
        ("a -", {"more": ["-"]}),
    ],
)
def test_words_become_keyword_arguments(line, given):
    expected = {"net": "a", "more": [], "no_plot": False, **DEFAULTS, **given}
    found = parse(command, "plverify command", line.split())
    assert {k: v or [] if k == "more" else v for k, v in found.items()} == expected


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "required: NET"),
        ("a --threads 0", "--threads: 0 is less than 1"),
        ("a --threads x", "--threads: invalid int value: 'x'"),
        ("a --share x", "--share: invalid float value"),
        ("a --box", "--box: expected one argument"),
        ("a --thr 3", "unrecognized arguments: --thr"),
        ("a -x", "unrecognized arguments: -x"),
        ("a --no-plot=1", "--no-plot: ignored explicit argument"),
    ],
)
def test_other_words_are_refused_in_one_line(line, named):
    with pytest.raises(InputError, match=r"\(see plverify command --help\)$") as caught:
        parse(command, "plverify command", line.split())
    assert named in str(caught.value)


def test_an_option_without_a_default_is_required():
    assert parse(short, "short", ["--widths", "3"]) == {"widths": "3"}
    with pytest.raises(InputError, match="required: --widths"):
        parse(short, "short", [])


@pytest.mark.parametrize("line", ["-h", "a b --help", "--threads 0 --help"])
def test_help_comes_from_the_signature_and_the_docstring(line, capsys):
    with pytest.raises(Exit) as caught:
        parse(command, "plverify command", line.split())
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: plverify command ")
    for part in (
        "Do something.",
        "Example: plverify something",
        "LO,HI",
        "100 % of it",
        "--no-plot",
    ):
        assert part in text
