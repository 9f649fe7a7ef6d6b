"""A short run of outages while events come; `python -m tests.faults.outages` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_event_is_lost_or_doubled() -> None:
    """Broker, online store and consumers are killed, the disk is full: each message is in history once."""
    words = ["--rounds", "4", "--pause", "0.3", "--seed", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.outages", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout)
