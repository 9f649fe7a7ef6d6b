"""Dask with the parts of a question, on few rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_joins_what_dask_answers() -> None:
    """Dask's processes give what one process gives, from the state of history that was split."""
    pytest.importorskip("dask")
    words = [sys.executable, "-m", "examples.dask_parts", "--rows", "2000", "--parts", "3"]
    environment = {**os.environ, "DASK_NUM_WORKERS": "1"}  # one other process shows as much as two, in half the time
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "2,000 rows in 3 parts\nthe same fingerprint as from one process: True\n"
