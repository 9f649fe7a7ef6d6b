"""The fraud model: what is computed at request time is the same in training, by `fs serve`, and by MLflow's server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_servers_give_the_bits_of_training() -> None:
    """Trained, packaged with the code of its features, served over HTTP by two servers."""
    words = [sys.executable, "-m", "examples.fraud"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fs serve: the same bits as in training\n" in done.stdout
    assert "MLflow: the same bits as in training\n" in done.stdout
