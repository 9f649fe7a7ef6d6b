"""Ray with the parts of a question, on few rows."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.engines
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: make engines")
def test_the_example_joins_what_ray_answers() -> None:
    """Ray's processes give what one process gives, from the state of history that was split."""
    words = [sys.executable, "-m", "examples.ray_parts", "--rows", "2000", "--parts", "3"]
    with tempfile.TemporaryDirectory() as folder:  # a short path: Ray's sockets lie below it
        environment = {**os.environ, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "2,000 rows in 3 parts\nthe same fingerprint as from one process: True\n"
