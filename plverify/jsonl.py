"""Files of JSON objects, one per line, that survive being killed.

A line counts when its line break is there: `RowFile.write` flushes every one, `read_lines` leaves
out a last one that was torn off, and can cut it off the file so that more are appended.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from plverify.errors import InputError

Row = dict[str, Any]


class RowFile:
    """A file that rows are appended to; a context manager.

    Raises
    ------
    InputError
        If it cannot be opened, or another process has it open here; from `write` if the disk is
        full.
    """

    def __init__(self, path: str, *, append: bool) -> None:
        self.path = path
        try:
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None
        if not _lock(self._file):
            self._file.close()
            raise InputError(f"{path} is being written by another run")
        if not append:
            self._file.truncate(0)

    def write(self, row: Row) -> None:
        """Append a row."""
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from None

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _lock(file: Any) -> bool:
    """Whether the file is this process's alone; True where the system cannot say."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True


def read_lines(
    path: str, is_row: Callable[[Any], bool], what: str, *, mend: bool = False
) -> list[Row]:
    """The rows of a file.

    Parameters
    ----------
    path : str
    is_row : callable
        Whether a JSON value is one.
    what : str
        What the lines are, for messages: "row of plverify bench".
    mend : bool
        Cut off a last line that a killed run left unfinished, so that rows can be appended.

    Raises
    ------
    InputError
        If it cannot be read, or holds anything else; names the line.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    whole, rows = 0, []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        row = _value(line)
        if row is None or not is_row(row):
            if whole + len(line) == len(data) and not line.endswith(b"\n"):
                break  # torn
            raise InputError(f"{path}:{number}: no {what}")
        rows.append(row)
        whole += len(line)
    if mend and whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
    return rows


def _value(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
