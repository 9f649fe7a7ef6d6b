"""The example runs as written and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sklearn_pipeline.py"


def test_the_example_learns_and_predicts() -> None:
    """It scores four folds, better than guessing, and names the three pumps most at risk, highest first."""
    words = [sys.executable, "-W", "error", "-m", "examples.sklearn_pipeline"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    summary, title, header, *rows = done.stdout.splitlines()
    scores = [float(score) for score in summary.rpartition(":")[2].split()]
    assert summary.startswith("5,650 past questions.")
    assert len(scores) == 4
    assert all(0.8 < score <= 1 for score in scores)
    assert title == "Most likely to fail within a week from now:"
    assert header.split() == ["pump_id", "risk"]
    found = [re.fullmatch(r"pump-\d\d +(\d+)%", row.strip()) for row in rows]
    risks = [int(match[1]) for match in found if match]
    assert len(rows) == len(risks) == 3
    assert 100 >= risks[0] >= risks[1] >= risks[2] > 0


def test_the_example_is_short() -> None:
    """A newcomer reads it in a minute."""
    assert len(EXAMPLE.read_text().splitlines()) <= 60
