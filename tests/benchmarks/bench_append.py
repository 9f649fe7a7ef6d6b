"""How fast one writer appends, and two together; beside another working tree where one is named.

python -m tests.benchmarks.bench_append [--against TREE] [--seconds 4] [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parents[2]
ROWS = (1, 1000)
WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from fs_core import Entity, FeatureStore, FeatureView, Field

directory, rows, seconds, me = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
fields = [Field(f"x{n}", "float64", "X.") for n in range(10)]
view = FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=fields, description="V.", online=False)
moment = datetime(2025, 1, 1, tzinfo=UTC)
columns = {f"x{n}": [float(n)] * rows for n in range(10)}
data = {"k": list(range(rows)), "event_timestamp": [moment] * rows, **columns}
with FeatureStore(directory) as store:
    store.apply(view)
    store.write("v", data)
    Path(directory, f"ready-{me}").touch()
    while not Path(directory, "go").exists():
        time.sleep(0.001)
    start, written = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        store.write("v", data)
        written += 1
    print(written / (time.perf_counter() - start))
"""


def appends_a_second(tree: Path, rows: int, writers: int, seconds: float) -> float:
    """Let processes that run a tree's code append to one new store at once; return how many appends a second in all."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", WRITER, directory, str(rows), str(seconds)]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        running = [
            subprocess.Popen([*command, str(me)], env=environment, cwd=directory, stdout=subprocess.PIPE, text=True)
            for me in range(writers)
        ]
        while len(list(Path(directory).glob("ready-*"))) < writers:
            if any(process.poll() for process in running):
                raise RuntimeError("a writer failed")
        Path(directory, "go").touch()
        return sum(float(process.communicate()[0]) for process in running)


def main(words: Sequence[str] | None = None) -> None:
    """Measure in turns, so that a noisy moment of the machine is shared; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another working tree")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args(words)
    trees = [HERE, *([asked.against] if asked.against else [])]
    table = Table("writers", "rows each", *(tree.name for tree in trees), "first / second", title="appends a second")
    for writers in (1, 2):
        for rows in ROWS:
            rates: dict[Path, list[float]] = {tree: [] for tree in trees}
            for _ in range(asked.runs):
                for tree in trees:
                    rates[tree].append(appends_a_second(tree, rows, writers, asked.seconds))
            medians = [statistics.median(rates[tree]) for tree in trees]
            ratio = f"{medians[0] / medians[1]:.2f}" if len(medians) > 1 else ""
            table.add_row(str(writers), f"{rows:,}", *(f"{median:.1f}" for median in medians), ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
