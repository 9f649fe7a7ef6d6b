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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from tests.benchmarks.processes import descendants, watched
from tests.core.retrieval.spark.sessions import sail_session, spark_home, spark_session

Sessions = Callable[[int], Mapping[str, AbstractContextManager[Any]]]

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


@dataclass(frozen=True)
class Way:
    """An engine on some cores, started.

    Attributes:
        answer: has it answer the spine.
        fingerprint: returns that of the answers, without an order.
        processes: that it has started.
    """

    answer: Callable[[], object]
    fingerprint: Callable[[], str]
    processes: frozenset[int] = frozenset()


@contextmanager
def embedded_engine(directory: Path) -> Iterator[Way]:
    """Start a process of the embedded engine."""
    with own_process() as call:
        yield Way(partial(call, answer_embedded, directory), partial(call, embedded_fingerprint, directory))


@contextmanager
def engine_of(opened: AbstractContextManager[Any], directory: Path) -> Iterator[Way]:
    """Open a session."""
    with opened as session:
        answer = partial(on, session, directory)
        yield Way(answer, lambda: provenance(answer()).unordered_fingerprint)


def compared(directory: Path, sessions: Sessions, cores: Sequence[int], runs: int) -> dict[tuple[str, int], Run]:
    """Return what each engine takes on each number of cores, in turns; refuse answers that differ.

    Args:
        directory: what `fill` made.
        sessions: returns by name what opens an engine's session, for a number of cores.
        cores: how many, each in turn.
        runs: so many after the first.
    """
    available = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        ways = dict[tuple[str, int], Way]()
        for count in cores:
            engines = {name: engine_of(opened, directory) for name, opened in sessions(count).items()}
            os.sched_setaffinity(0, available[:count])  # processes that are started inherit it
            for name, engine in {"embedded": embedded_engine(directory), **engines}.items():
                before = descendants([os.getpid()])
                way = stack.enter_context(engine)
                ways[name, count] = replace(way, processes=frozenset(descendants([os.getpid()]) - before))
            os.sched_setaffinity(0, available)
        found = measured(ways, runs)
        assert len({way.fingerprint() for way in ways.values()}) == 1, "the answers differ"
    return found


def measured(ways: Mapping[tuple[str, int], Way], runs: int) -> dict[tuple[str, int], Run]:
    """Return what each way takes, one after the other and so in each round: a noisy moment hits all of them."""
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in ways}
    cpu, megabytes = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for number in range(runs + 1):
        for key, way in ways.items():
            with watched(way.processes) as use:
                seconds[key].append(timed(way.answer))
            cpu[key] += use.cpu_seconds if number else 0.0
            megabytes[key] = max(megabytes[key], use.megabytes)
    return {key: Run(took[0], min(took[1:]), cpu[key] / runs, megabytes[key]) for key, took in seconds.items()}


def engines(cores: int) -> dict[str, AbstractContextManager[Any]]:
    """Return the sessions that can be opened here; Spark's with a thread for each core."""
    home = spark_home()
    return {"Sail": sail_session()} | ({} if home is None else {"Spark": spark_session(home, cores)})


def main() -> None:
    """Print each engine's seconds and memory, and what more cores gain."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--history", type=int, default=2_000_000, help="rows; 20000000 for a larger look")
    parser.add_argument("--spine", type=int, default=200_000, help="rows; 2000000 for a larger look")
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        default=[os.cpu_count() or 1],
        help="of which numbers; the first is compared with",
    )
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # PySpark's, of pandas
    title = f"{asked.spine:,} rows of {asked.history:,}, {FEATURES} features; the least of {asked.runs} after the first"
    heads = "engine", "cores", "first, s", "seconds", "x embedded", f"x faster than on {asked.cores[0]}", "CPU s", "MB"
    table = Table(*heads, title=title, title_justify="left")
    with stores(asked.history, asked.spine) as directory:
        found = compared(directory, engines, asked.cores, asked.runs)
    for (name, count), run in sorted(found.items()):
        beside = run.seconds / found["embedded", count].seconds, found[name, asked.cores[0]].seconds / run.seconds
        cells = f"{run.first:.2f}", f"{run.seconds:.2f}", *(f"{ratio:.2f}" for ratio in beside), f"{run.cpu:.2f}"
        table.add_row(name, str(count), *cells, f"{run.megabytes:,.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
