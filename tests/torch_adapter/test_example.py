"""The example runs as it is written, on the last flights only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "torch_flights.py"


def test_the_example_learns_and_serves() -> None:
    """It scores the future, names the flights most at risk, and finds no served tensor that differs."""
    words = [sys.executable, "-W", "error", "-m", "examples.torch_flights", "--limit", "2000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    learned, risky, proof = done.stdout.splitlines()
    score = re.fullmatch(r"Learned from [\d,]+ flights\. ROC AUC on the [\d,]+ after them: (0\.\d{3})", learned)
    assert score
    assert 0.3 < float(score[1]) < 1
    assert len(re.findall(r"\w{2}\d+ of \d{2} \w{3}", risky)) == 3
    assert proof == "Served tensors that differ from training's: 0 of 1,000"


def test_the_example_is_short() -> None:
    """A newcomer reads it in two minutes."""
    assert len(EXAMPLE.read_text().splitlines()) <= 90
