"""Damaged network files: a first stretch of what ``dev/fuzz_files.py`` does at length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "dev" / "fuzz_files.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the dev folder is not here")
def test_damaged_files_are_refused_in_one_line_or_read_right() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--cases", "1500", "--seed", "1000000"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
