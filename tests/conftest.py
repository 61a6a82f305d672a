"""What all tests share.

Every test runs in an empty folder, so that a child process sees the installed package too.
`python -c` puts the current folder first on `sys.path`: from the checkout it would import the
sources, which have no compiled engine.
"""

import os
import signal

import pytest

from plverify.cli import run


@pytest.fixture(scope="session", autouse=True)
def empty_folder(tmp_path_factory):
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def heard_ctrl_c():
    """Ctrl-C reaches child processes also where pytest runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def cli(capsys):
    """Run a command line; the exit code, stdout and stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
