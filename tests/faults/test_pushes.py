"""A short run of pushes whose processes are killed at random; `python -m tests.faults.pushes` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_push_is_lost_or_doubled() -> None:
    """What was answered is there when anybody reads and for ever, once; online is what the rule says."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.pushes", "--kills", "6"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout)
