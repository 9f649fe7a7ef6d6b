"""A spine in Parquet answered into Parquet: the embedded engine beside Sail, and Spark where `SPARK_HOME` names one.

python -m tests.benchmarks.bench_spark --history 20000000 --spine 2000000 --cores 1 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
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
from tests.benchmarks.processes import watched
from tests.core.retrieval.spark.sessions import sail_session, spark_home, spark_session

FEATURES = 10
YEAR = 365 * 24 * 3600 * 10**6
START = 1_704_067_200 * 10**6
_A_PART = 100_000  # rows that are written at a time


def moments(rng: np.random.Generator, rows: int) -> pa.Array:
    """Return moments of a year, in any order."""
    return pa.array(START + rng.integers(0, YEAR, rows)).cast(pa.timestamp("us", "UTC"))


def fill(directory: Path, history: int, spine: int) -> None:
    """Make a store with so many rows of history, and a spine of so many in 8 Parquet files."""
    rng, entities = np.random.default_rng(1), max(1, history // 100)
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    fields = [Field(f"x{n}", "float64", "A number.") for n in range(FEATURES)]

    def part(rows: int) -> pa.RecordBatch:
        numbers = {field.name: rng.random(rows) for field in fields}
        keys = pa.array(rng.integers(0, entities, rows))
        return pa.RecordBatch.from_pydict({"user_id": keys, "event_timestamp": moments(rng, rows), **numbers})

    parts = (part(min(_A_PART, history - done)) for done in range(0, history, _A_PART))
    with FeatureStore(directory / "store") as store:
        store.apply(FeatureView("v", user, fields, description="Numbers.", ttl="90d"))
        store.write("v", pa.RecordBatchReader.from_batches(part(0).schema, parts))
        store.compact("v")
    (directory / "spine").mkdir()
    for n in range(8):
        rows = spine // 8
        table = pa.table({"user_id": rng.integers(0, entities, rows), "event_timestamp": moments(rng, rows)})
        pq.write_table(table, directory / "spine" / f"{n}.parquet")


@dataclass(frozen=True)
class Run:
    """What an engine takes for a spine in Parquet to be answers in Parquet.

    Attributes:
        first: seconds the first time, in which the index, which is there, is opened.
        seconds: the least of those after.
        cpu: seconds of processor time of one of those, on average.
        megabytes: the most memory of the processes that compute, files that they map not counted.
    """

    first: float
    seconds: float
    cpu: float
    megabytes: float


def embedded(directory: Path) -> TrainingSet:
    """Answer the spine in this process; return the training set."""
    with FeatureStore(directory / "store") as store:
        made = store.get_historical_features(pq.read_table(directory / "spine"), "v")
    pq.write_table(made.table, directory / "answer.parquet")
    return made


def answer_embedded(directory: Path) -> None:
    """Answer the spine in this process."""
    embedded(directory)


def embedded_fingerprint(directory: Path) -> str:
    """Return the fingerprint, without an order, of the embedded engine's answers."""
    return embedded(directory).unordered_fingerprint


def on(session: Any, directory: Path) -> Any:
    """Answer the spine in a session; return the frame."""
    with FeatureStore(directory / "store") as store:
        made = store.get_historical_features(session.read.parquet(str(directory / "spine")), "v")
        made.write.mode("overwrite").parquet(str(directory / "answers"))
    return made


def timed(way: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


@contextmanager
def stores(history: int, spine: int) -> Iterator[Path]:
    """Make what is asked, for as long as the context lasts."""
    directory = Path(tempfile.mkdtemp(prefix="fs-bench-spark-"))
    try:
        fill(directory, history, spine)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def own_process() -> Iterator[Callable[..., Any]]:
    """Start a process, whose memory nobody else fills; yield what calls a function of this module there."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:

        def call(function: Callable[..., Any], *arguments: Any) -> Any:
            return process.submit(function, *arguments).result()

        call(moments, np.random.default_rng(1), 1)  # has the module imported
        yield call


def measured(way: Callable[[], object], runs: int) -> Run:
    """Return what a way takes."""
    with watched() as begun:
        first = timed(way)
    with watched() as use:
        times = [timed(way) for _ in range(runs)]
    return Run(first, min(times), use.cpu_seconds / runs, max(begun.megabytes, use.megabytes))


def compared(directory: Path, sessions: Mapping[str, AbstractContextManager[Any]], runs: int) -> dict[str, Run]:
    """Return what each engine takes, its server started; refuse answers that differ."""
    with own_process() as call:
        found = {"embedded": measured(partial(call, answer_embedded, directory), runs)}
        expected = call(embedded_fingerprint, directory)
    for name, opened in sessions.items():
        with opened as session:
            found[name] = measured(partial(on, session, directory), runs)
            assert provenance(on(session, directory)).unordered_fingerprint == expected, name
    return found


def engines() -> dict[str, AbstractContextManager[Any]]:
    """Return the sessions that can be opened here."""
    home = spark_home()
    return {"Sail": sail_session()} | ({} if home is None else {"Spark": spark_session(home)})


def main() -> None:
    """Print each engine's seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--history", type=int, default=2_000_000, help="rows; 20000000 for a larger look")
    parser.add_argument("--spine", type=int, default=200_000, help="rows; 2000000 for a larger look")
    parser.add_argument("--cores", type=int, nargs="+", default=[os.cpu_count() or 1], help="for each engine, in turn")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # PySpark's, of pandas
    cores = sorted(os.sched_getaffinity(0))
    title = f"{asked.spine:,} rows of {asked.history:,}, {FEATURES} features; the least of {asked.runs} after the first"
    table = Table("cores", "", "first, s", "seconds", "x embedded", "CPU s", "MB", title=title, title_justify="left")
    with stores(asked.history, asked.spine) as directory:
        for count in asked.cores:
            os.sched_setaffinity(0, cores[:count])  # processes that are started inherit it
            found = compared(directory, engines(), asked.runs)
            for name, run in found.items():
                times = f"{run.first:.2f}", f"{run.seconds:.2f}", f"{run.seconds / found['embedded'].seconds:.1f}"
                table.add_row(str(count), name, *times, f"{run.cpu:.2f}", f"{run.megabytes:,.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
