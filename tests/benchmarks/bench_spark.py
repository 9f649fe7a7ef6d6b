"""A spine in Parquet answered into Parquet: the embedded engine beside Sail, and Spark where `SPARK_HOME` names one.

python -m tests.benchmarks.bench_spark --history 2000000 --spine 200000 --cores 1
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.retrieval.spark import provenance
from tests.core.retrieval.spark.sessions import sail_session, spark_home, spark_session

FEATURES = 10
YEAR = 365 * 24 * 3600 * 10**6
START = 1_704_067_200 * 10**6


def moments(rng: np.random.Generator, rows: int) -> pa.Array:
    """Return moments of a year, in any order."""
    return pa.array(START + rng.integers(0, YEAR, rows)).cast(pa.timestamp("us", "UTC"))


def fill(directory: Path, history: int, spine: int) -> None:
    """Make a store with so many rows of history, and a spine of so many in 8 Parquet files."""
    rng, entities = np.random.default_rng(1), max(1, history // 100)
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    fields = [Field(f"x{n}", "float64", "A number.") for n in range(FEATURES)]
    numbers = {field.name: rng.random(history) for field in fields}
    with FeatureStore(directory / "store") as store:
        store.apply(FeatureView("v", user, fields, description="Numbers.", ttl="90d"))
        keys = rng.integers(0, entities, history)
        store.write("v", pa.table({"user_id": keys, "event_timestamp": moments(rng, history), **numbers}))
    (directory / "spine").mkdir()
    for n in range(8):
        rows = spine // 8
        table = pa.table({"user_id": rng.integers(0, entities, rows), "event_timestamp": moments(rng, rows)})
        pq.write_table(table, directory / "spine" / f"{n}.parquet")


def embedded(directory: Path) -> TrainingSet:
    """Answer the spine in this process; return the training set."""
    with FeatureStore(directory / "store") as store:
        made = store.get_historical_features(pq.read_table(directory / "spine"), "v")
    pq.write_table(made.table, directory / "answer.parquet")
    return made


def on(session: Any, directory: Path) -> Any:
    """Answer the spine in a session; return the frame."""
    with FeatureStore(directory / "store") as store:
        made = store.get_historical_features(session.read.parquet(str(directory / "spine")), "v")
        made.write.mode("overwrite").parquet(str(directory / "answers"))
    return made


def best_of(runs: int, way: Any) -> float:
    """Return the least seconds that some runs take."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        way()
        taken.append(time.perf_counter() - start)
    return min(taken)


@contextmanager
def stores(history: int, spine: int) -> Iterator[Path]:
    """Make what is asked, for as long as the context lasts."""
    directory = Path(tempfile.mkdtemp(prefix="fs-bench-spark-"))
    try:
        fill(directory, history, spine)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def seconds(directory: Path, sessions: Mapping[str, AbstractContextManager[Any]], runs: int) -> dict[str, float]:
    """Return what each engine takes, its server started and its index made; refuse answers that differ."""
    expected = embedded(directory).unordered_fingerprint
    found = {"embedded": best_of(runs, partial(embedded, directory))}
    for name, opened in sessions.items():
        with opened as session:
            made = on(session, directory)
            assert provenance(made).unordered_fingerprint == expected, name
            found[name] = best_of(runs, partial(on, session, directory))
    return found


def main() -> None:
    """Print each engine's seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--history", type=int, default=2_000_000, help="rows; 20000000 for a larger look")
    parser.add_argument("--spine", type=int, default=200_000, help="rows; 2000000 for a larger look")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="for each engine")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # PySpark's, of pandas
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])  # servers inherit it
    sessions: dict[str, AbstractContextManager[Any]] = {"Sail": sail_session()}
    home = spark_home()
    if home is not None:
        sessions["Spark"] = spark_session(home)
    with stores(asked.history, asked.spine) as directory:
        found = seconds(directory, sessions, asked.runs)
    title = f"{asked.spine:,} rows of {asked.history:,}, {FEATURES} features, {asked.cores} cores; best of {asked.runs}"
    table = Table("", "seconds", "x embedded", title=title, title_justify="left")
    for name, taken in found.items():
        table.add_row(name, f"{taken:.2f}", f"{taken / found['embedded']:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
