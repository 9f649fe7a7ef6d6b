"""The flights in MLflow, on the last flights only: a run, its dataset, a packaged model, served over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_trains_logs_and_serves() -> None:
    """The dataset is made again, MLflow and the store name the same model, and what is served is as of now."""
    words = [sys.executable, "-m", "examples.mlflow_flights", "--limit", "2000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout
    assert re.search(
        r"^run [0-9a-f]{32}: dataset [0-9a-f]{36} of 1,600 rows, model models:/m-[0-9a-f]{32}$", output, re.M
    )
    assert "made again from the run alone: True" in output
    assert "models using plane_history.last_arr_delay, says MLflow: late\n" in output
    assert "models using plane_history.last_arr_delay, says the store: late/1\n" in output
    assert "derives─ column flights.arr_delay" in output
    assert "changing flights.arr_delay touches 10 features and the models late/1" in output
    assert re.search(r"^100 flights predicted over HTTP, the first late with \d+%; 0 differ as of now$", output, re.M)
