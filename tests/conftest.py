"""Every test runs in an empty folder, so that a child process sees the installed package too.

`python -c` puts the current folder first on `sys.path`: from the checkout it would import the
sources, which have no compiled engine.
"""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def empty_folder(tmp_path_factory):
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)
