"""A short run of six processes that are killed at random; `python -m tests.faults.six_processes` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_nothing_is_lost_doubled_or_left() -> None:
    """What was acknowledged is there once or was forgotten, history and online are clean, and forgetting works."""
    play = {"FS_ROUNDS": "1", "FS_SECONDS": "15", **os.environ}
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.six_processes"],
        cwd=Path(__file__).parents[2],
        env=play,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout)
