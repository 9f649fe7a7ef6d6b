"""PyTorch's input beside TensorDataset, plain tensor indexing and a row at a time: speed, memory, import.

Every way's rows are checked before a time is printed; then the ratios that count, each with the least it should be.
Run `make bench`, or `python -m tests.benchmarks.bench_torch --history 10000000`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fs_core import FeatureStore, TrainingSet
from fs_torch import FeatureDataset, FeatureIterableDataset
from tests.benchmarks.asof.workloads import FEATURES, STAMP, declare, history, spine_of
from tests.benchmarks.timing import Timing, race, show

BATCH = 1024
SKETCHED = 20_000  # rows that are taken one by one with iloc; all of them would take minutes

Way = Callable[[], Iterable[Any]]


class Sketch(Dataset[Any]):  # type: ignore[misc]
    """What one writes first: a data frame, a row at a time."""

    def __init__(self, training: TrainingSet) -> None:
        self.frame = training.to_pandas()

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: int) -> Any:
        row = self.frame.iloc[index]
        features = torch.tensor(row[list(FEATURES)].to_numpy(np.float32))
        return features, torch.tensor(row["y"], dtype=torch.float32)


def training_set(rows: int) -> TrainingSet:
    """Ten float32 features, a key, a moment, and a label that is the row's number modulo 2**20."""
    rng = np.random.default_rng(7)
    features = {name: pa.array(rng.normal(size=rows).astype(np.float32)) for name in FEATURES}
    numbers = pa.array((np.arange(rows) % 2**20).astype(np.float32))
    times = pa.array(np.arange(rows)).cast(STAMP)
    table = pa.table({"user": np.arange(rows), "event_timestamp": times, **features, "y": numbers})
    return TrainingSet(table, list(FEATURES), ["user"], "event_timestamp", "y", {"lag": None})


def as_tensors(training: TrainingSet) -> tuple[torch.Tensor, torch.Tensor]:
    """The same rows as a matrix and a vector."""
    columns = [training.table[name].to_numpy() for name in FEATURES]
    return torch.from_numpy(np.stack(columns, 1)), torch.from_numpy(training.table["y"].to_numpy().copy())


def indexed(X: torch.Tensor, y: torch.Tensor, threads: int) -> Iterator[Any]:
    """The floor: one permutation, tensor indexing, no loader."""
    torch.set_num_threads(threads)
    order = torch.randperm(len(X))
    for start in range(0, len(X), BATCH):
        rows = order[start : start + BATCH]
        yield X[rows], y[rows]


def spend(way: Way) -> Callable[[], None]:
    """Return what runs through an epoch."""

    def epoch() -> None:
        for _ in way():
            pass

    return epoch


def refuse_difference(ways: dict[str, Way], X: torch.Tensor, y: torch.Tensor) -> None:
    """Stop unless every way gives each row once, with its own features."""
    for name, way in ways.items():
        features, labels = (torch.cat(parts) for parts in zip(*way(), strict=True))
        same = torch.equal(features.nan_to_num(), X[labels.long()].nan_to_num())
        if not same or not torch.equal(labels.sort().values, y.sort().values):
            raise SystemExit(f"{name} gives other rows: nothing was timed.")


def ratio(what: str, found: float, least: float, stretch: float | None = None) -> None:
    """Print a ratio beside what it should be."""
    wanted = f"at least {least:g}" + (f", better {stretch:g}" if stretch else "")
    print(f"{what}: {found:.2f}x ({wanted}){'' if found >= least else '  MISSED'}")


def rate(timings: list[Timing], name: str, rows: int) -> float:
    """Rows a second of a way's median run."""
    return rows / next(t.median for t in timings if t.name == name)


def compare_datasets(rows: int, runs: int) -> float:
    """Race the datasets over a training set; return the sketch's rows a second."""
    training, threads = training_set(rows), torch.get_num_threads()
    X, y = as_tensors(training)
    dataset, batches = FeatureDataset(training), FeatureIterableDataset(training, batch_size=BATCH, shuffle=True)
    ways: dict[str, Way] = {
        "FeatureDataset": lambda: DataLoader(dataset, batch_size=BATCH, shuffle=True),
        "TensorDataset": lambda: DataLoader(TensorDataset(X, y), batch_size=BATCH, shuffle=True),
        "FeatureIterableDataset": lambda: batches,
        "randperm": lambda: indexed(X, y, threads),
        "randperm, 1 thread": lambda: indexed(X, y, 1),  # which is faster where other work keeps the cores busy
    }
    refuse_difference(ways, X, y)
    timings = race({name: spend(way) for name, way in ways.items()}, runs=runs)
    torch.set_num_threads(threads)
    title = f"An epoch, shuffled, in batches of {BATCH:,}: {rows:,} rows, 10 float32"
    show(title, timings, rows=rows, ours="FeatureDataset")
    speed = {name: rate(timings, name, rows) for name in ways}
    few = Sketch(training_set(SKETCHED))
    alone = race({"sketch": spend(lambda: DataLoader(few, batch_size=BATCH, shuffle=True))}, runs=1)
    sketched = rate(alone, "sketch", SKETCHED)
    print(f"A row at a time with iloc: {sketched:,.0f} rows/s")
    ratio("FeatureDataset / TensorDataset", speed["FeatureDataset"] / speed["TensorDataset"], 10, 15)
    floor = max(speed["randperm"], speed["randperm, 1 thread"])
    ratio("FeatureIterableDataset / randperm", speed["FeatureIterableDataset"] / floor, 0.5, 0.8)
    return sketched


def compare_spine(rows: int, history_rows: int, entities: int, runs: int, sketched: float) -> None:
    """Race look-ups of a spine, after a look at whether they are the training set's rows."""
    rng = np.random.default_rng(7)
    spine = spine_of(rows, entities, rng).append_column("y", pa.array(np.arange(rows) % 2**20, pa.float32()))
    with tempfile.TemporaryDirectory() as folder, FeatureStore(Path(folder, "store")) as store:
        declare(store, "numbers")
        store.write("numbers", history(history_rows, entities, rng))
        store.compact("numbers")
        training = FeatureDataset(store.get_historical_features(spine, "numbers", label="y"))
        dataset = FeatureDataset.from_spine(store, spine, "numbers", label="y")
        batches = FeatureIterableDataset.from_spine(store, spine, "numbers", label="y", batch_size=BATCH, shuffle=True)
        ways: dict[str, Way] = {
            "FeatureDataset.from_spine": lambda: DataLoader(dataset, batch_size=BATCH, shuffle=True),
            "FeatureIterableDataset.from_spine": lambda: batches,
        }
        X, y = training[:]
        refuse_difference(ways, X, y)
        timings = race({name: spend(way) for name, way in ways.items()}, runs=runs)
    title = f"An epoch, shuffled, looked up: spine of {rows:,}, history of {history_rows:,} rows, 10 float64"
    show(title, timings, rows=rows, ours="FeatureDataset.from_spine")
    found = rate(timings, "FeatureDataset.from_spine", rows)
    ratio("FeatureDataset.from_spine / 1,000 rows/s", found / 1000, 250, 500)
    ratio("FeatureDataset.from_spine / iloc", found / sketched, 50)


MEMORY = """
from pathlib import Path
from torch.utils.data import DataLoader
from tests.benchmarks.bench_torch import BATCH, training_set
from fs_torch import FeatureDataset, FeatureIterableDataset

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

for _ in FeatureIterableDataset(training_set(5000), batch_size=BATCH, shuffle=True): pass
training = training_set({rows})
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
for _ in {way}: pass
print((resident("VmHWM") - before) / training.table.nbytes)
"""
WAYS = {
    # In order: a stock shuffle makes a list of Python's numbers, which is the loader's.
    "FeatureDataset": "DataLoader(FeatureDataset(training), batch_size=BATCH)",
    "FeatureIterableDataset, shuffled": "FeatureIterableDataset(training, batch_size=BATCH, shuffle=True)",
}


def measure_memory(rows: int) -> None:
    """Print what an epoch takes at its peak, as a multiple of the training set, in a process of its own."""
    for name, way in WAYS.items():
        words = [sys.executable, "-c", MEMORY.format(rows=rows, way=way)]
        taken = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        print(
            f"{name}: {taken:.2f}x the training set's memory above it (at most 0.3){'' if taken <= 0.3 else '  MISSED'}"
        )


def measure_import(runs: int) -> None:
    """Print what our package adds to torch's import, in fresh interpreters."""
    programs = {"torch": "import torch", "torch and fs_torch": "import torch, fs_torch"}
    ways = {name: _interpreter(program) for name, program in programs.items()}
    timings = race(ways, runs=runs)
    show("A fresh interpreter that imports", timings, rows=1, ours="torch")
    added = timings[1].median - timings[0].median
    print(f"fs_torch above torch: {added:.2f} s (at most 0.3){'' if added <= 0.3 else '  MISSED'}")


def _interpreter(program: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", program], check=True)


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--spine", type=int, default=200_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    sketched = compare_datasets(args.rows, args.runs)
    compare_spine(args.spine, args.history, args.entities, args.runs, sketched)
    measure_memory(args.rows)
    measure_import(args.runs)


if __name__ == "__main__":
    main()
