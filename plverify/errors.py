"""The errors that are the caller's to fix, each one line long.

`InputError` is a `ValueError`: a file, array or argument that cannot be used, with the offending
name, its value and what was expected. `MissingExtra` is an `ImportError`: an optional package is
not installed, with the command that installs it. What is plverify's own fault is never one of
these.

>>> isinstance(InputError("W1 has shape (3, 4), expected (*, 5)"), ValueError)
True
"""

from __future__ import annotations


class InputError(ValueError):
    """Input that plverify cannot use; the message is one line.

    Parameters
    ----------
    message : str
        Line breaks and runs of blanks are folded, so that nested messages stay on one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class MissingExtra(ImportError):
    """A package that is needed here is not installed.

    Parameters
    ----------
    package : str
        What could not be imported.
    purpose : str
        What it is needed for.
    extra : str, optional
        The extra of plverify that brings it; without one the package itself is named.

    >>> print(MissingExtra("torch", "reading torch modules", "torch"))
    torch is needed for reading torch modules: pip install 'plverify[torch]'
    """

    def __init__(self, package: str, purpose: str, extra: str | None = None) -> None:
        target = f"'plverify[{extra}]'" if extra else package
        super().__init__(f"{package} is needed for {purpose}: pip install {target}")
        self.package = package
