"""tf.data over a training set beside `from_tensor_slices`: in order and shuffled, dict of columns and matrix.

Two readers: `for batch in dataset` in Python, whose own cost per batch bounds every way, and a loop that
TensorFlow compiles, as Keras reads. Then the memory above the training set, and the import.
Run `make bench`, or `python -m tests.benchmarks.bench_tf --rows 1000000`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import tensorflow as tf

from fs_core import TrainingSet
from fs_tf import feature_dataset
from tests.benchmarks.timing import race, show

BATCH = 1024
NAMES = [f"f{i}" for i in range(10)]


def training_set(rows: int) -> TrainingSet:
    """Ten float32 features and a float32 label, in one chunk of memory each."""
    rng = np.random.default_rng(0)
    columns = {name: pa.array(rng.normal(size=rows).astype(np.float32)) for name in NAMES}
    label = pa.array(rng.integers(0, 2, rows).astype(np.float32))
    return TrainingSet(pa.table({**columns, "y": label}), list(NAMES), [], "event_timestamp", "y", {"lag": None})


def slices(training: TrainingSet, layout: str) -> tf.data.Dataset:
    """The peer: TensorFlow's own dataset of single rows, from arrays that are ready."""
    columns = {name: training.table[name].to_numpy() for name in NAMES}
    x: Any = columns if layout == "columns" else np.column_stack(list(columns.values()))
    return tf.data.Dataset.from_tensor_slices((x, training.table["y"].to_numpy()))


def in_python(dataset: tf.data.Dataset) -> None:
    """Read an epoch as a Python loop does."""
    for _ in dataset:
        pass


def compiled(dataset: tf.data.Dataset) -> None:
    """Read an epoch as Keras does: TensorFlow itself asks for each batch."""
    dataset.reduce(np.int64(0), lambda count, *_: count + 1).numpy()


def check(training: TrainingSet, layout: str) -> None:
    """Refuse to time ways that don't give the same batches in order, or the same rows shuffled."""
    asked: dict[str, Any] = {"batch_size": BATCH, "layout": layout}
    for ours, theirs in zip(feature_dataset(training, **asked), slices(training, layout).batch(BATCH), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)
    first = np.concatenate([_first(x) for x, _ in feature_dataset(training, shuffle=True, **asked)])
    np.testing.assert_array_equal(np.sort(first), np.sort(training.table["f0"].to_numpy()))


def _first(x: Any) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = (x["f0"] if isinstance(x, dict) else x[:, 0]).numpy()
    return found


def compare(training: TrainingSet, layout: Any, reader: Callable[[tf.data.Dataset], None], runs: int) -> None:
    """Race the ways of one layout under one reader."""
    rows = len(training)
    ours = {
        "in order": feature_dataset(training, batch_size=BATCH, layout=layout),
        "shuffled": feature_dataset(training, batch_size=BATCH, shuffle=True, seed=0, layout=layout),
    }
    peers = {
        "in order": slices(training, layout).batch(BATCH),
        "shuffled": slices(training, layout).shuffle(rows).batch(BATCH),
    }
    for order, dataset in ours.items():
        ways = {"fs_tf": dataset, "from_tensor_slices": peers[order]}
        found = race({name: lambda way=way: reader(way) for name, way in ways.items()}, runs=runs)
        show(f"{layout}, {order}, read {reader.__name__}", found, rows=rows, ours="fs_tf")


def peak_memory(rows: int) -> None:
    """Print how much memory an epoch takes beside the training set, as a share of it; call in a fresh process."""
    training = training_set(rows)
    small = training_set(4 * BATCH)
    for layout in ("columns", "matrix"):
        in_python(feature_dataset(small, batch_size=BATCH, shuffle=True, layout=layout))  # TensorFlow's own, once
        before, peak, done = _resident(), [0], threading.Event()

        def watch(peak: list[int] = peak, done: threading.Event = done) -> None:
            while not done.wait(0.001):
                peak[0] = max(peak[0], _resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        in_python(feature_dataset(training, batch_size=BATCH, shuffle=True, layout=layout))
        done.set()
        watcher.join()
        index = 4 * rows
        share = (peak[0] - before - index) / training.table.nbytes
        print(f"memory above the training set, {layout}, shuffled, beside one index: {share:.2f} of it")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def import_seconds(runs: int = 5) -> float:
    """Return the median of what `import fs_tf` takes after `import tensorflow`."""
    program = "import time, tensorflow; t = time.perf_counter(); import fs_tf; print(time.perf_counter() - t)"
    words = [sys.executable, "-c", program]
    found = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(runs)]
    return statistics.median(float(text) for text in found)


def main() -> None:
    """Check, race, and weigh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="weigh alone, in this process")
    asked = parser.parse_args()
    if asked.memory:
        peak_memory(asked.rows)
        return
    training = training_set(asked.rows)
    for layout in ("matrix", "columns"):
        check(training, layout)
        for reader in (compiled, in_python):
            compare(training, layout, reader, asked.runs)
    words = [sys.executable, "-m", "tests.benchmarks.bench_tf", "--memory", "--rows", str(asked.rows)]
    subprocess.run(words, check=True)
    print(f"import fs_tf above import tensorflow: {import_seconds():.2f} s")


if __name__ == "__main__":
    main()
