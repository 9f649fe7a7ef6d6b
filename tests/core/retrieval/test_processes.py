"""A stream that several processes answer is the stream of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field, Request, on_demand
from fs_core.errors import ConfigurationError, DataError, OfflineStoreError, SchemaError, TransformError
from fs_core.retrieval.processes import answered
from fs_core.testing import processes  # before any process is started: what the server of processes loads
from tests.forks import in_child

T0 = datetime(2024, 1, 1, tzinfo=UTC)
FACTS = FeatureView(
    "facts",
    entity=Entity("thing", keys={"thing": "int64"}, description="A thing."),
    fields=[Field("x", "float64", "X."), Field("s", "string", "S.")],
    ttl="9h",
    description="Facts.",
)


@on_demand(
    inputs=["facts.x", Request("order", "int64", "What is to happen.")],
    fields=[Field("twice", "float64", "Twice x.")],
    description="Twice, or an error.",
)
def doubled(x: Any, order: Any) -> Any:
    """Compute, or fail."""
    if (order == 13).any():
        raise ValueError("told to fail")
    return x * 2


class Environment:
    """A question that each table answers with a variable of the environment."""

    def answer(self, _rows: pa.Table, _start: int) -> pa.Table:
        """Return the variable."""
        return pa.table({"set": [os.environ.get("SET_LATE")]})


class Patience:
    """A question whose first table is answered at once, and no other for a minute, after which a file says so.

    Attributes:
        said: the file.
    """

    def __init__(self, said: Path) -> None:
        self.said = said

    def answer(self, rows: pa.Table, start: int) -> pa.Table:
        """Return the rows, late."""
        if start:
            threading.Event().wait(60)
            self.said.touch()
        return rows


def filled(directory: Path) -> FeatureStore:
    """Return a store with a hundred rows of four things."""
    store = FeatureStore(directory)
    store.apply(FACTS, doubled)
    numbers = list(range(100))
    times = [T0 + timedelta(hours=n) for n in numbers]
    rows = {"thing": [n % 4 for n in numbers], "x": [n / 7 for n in numbers], "s": [str(n) for n in numbers]}
    store.write("facts", {**rows, "event_timestamp": times})
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A filled store that nobody changes."""
    return filled(tmp_path_factory.mktemp("processes") / "store")


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Whatever a test does, its workers end."""
    before = set(multiprocessing.active_children())
    yield
    until(lambda: set(multiprocessing.active_children()) <= before)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def asked(rows: int, bad: int | None = None) -> pa.Table:
    """Rows with duplicates and null keys; one of them may fail."""
    things = [None if n % 13 == 5 else n % 5 for n in range(rows)]
    columns = {
        "thing": pa.array(things, pa.int64()),
        "event_timestamp": pa.array([T0 + timedelta(hours=n % 40) for n in range(rows)], pa.timestamp("us", "UTC")),
        "order": pa.array([13 if n == bad else 0 for n in range(rows)], pa.int64()),
        "city": pa.array(["ab"[n % 2] for n in range(rows)], pa.string()).dictionary_encode(),
    }
    return pa.table(columns)


@settings(max_examples=2)
@given(rows=st.integers(0, 60), batch_size=st.integers(1, 30), workers=st.integers(1, 2))
def test_the_stream_of_several_processes_is_the_stream_of_one(
    store: FeatureStore, rows: int, batch_size: int, workers: int
) -> None:
    """Any number of rows, size of batches and number of workers: the same batches, bit for bit, in order."""
    stream = store.stream_historical_features(asked(rows), ["facts", "doubled"], batch_size=batch_size, workers=workers)
    wanted = store.stream_historical_features(asked(rows), ["facts", "doubled"], batch_size=batch_size)
    assert stream.schema == wanted.schema
    assert list(stream) == list(wanted)


def test_workers_read_one_state_and_no_more_than_they_need(tmp_path: Path) -> None:
    """A spine without end is read two batches ahead for each; dropping the stream ends them; no later write counts."""
    store, read = filled(tmp_path / "store"), []

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            read.append(1)
            yield asked(10).to_batches()[0]

    expected = store.get_historical_features(asked(10), "facts").table.to_batches()[0]
    spine = pa.RecordBatchReader.from_batches(asked(10).schema, endless())
    stream = store.stream_historical_features(spine, "facts", batch_size=10, workers=2)
    assert stream.read_next_batch().to_pydict() == expected.to_pydict()
    assert len(read) == 4
    store.write("facts", {"thing": [0], "event_timestamp": [T0], "x": [-1.0], "s": ["late"]})
    assert [stream.read_next_batch().to_pydict() for _ in range(6)] == [expected.to_pydict()] * 6
    assert len(read) == 10
    assert multiprocessing.active_children()
    del stream, spine


def test_an_error_of_a_worker_comes_in_its_place(store: FeatureStore) -> None:
    """What was answered before comes first; the error is the one that one process raises, with the rows named."""
    stream = store.stream_historical_features(asked(20, bad=13), "doubled", batch_size=5, workers=1)
    assert [len(stream.read_next_batch()) for _ in range(2)] == [5, 5]
    with pytest.raises(TransformError, match="told to fail") as caught:
        stream.read_next_batch()
    assert "Rows are counted from row 10 of the spine." in caught.value.__notes__
    fraction = asked(4).set_column(0, "thing", pa.array([1.0, 2.0, 3.0, 4.5]))
    with pytest.raises(SchemaError, match=r"row 3 holds 4\.5"):
        store.stream_historical_features(fraction, "facts", workers=1).read_all()


def test_a_killed_worker_is_an_error(store: FeatureStore) -> None:
    """The stream fails at the rows that nobody answered, and names them; it doesn't wait for ever."""
    stream = store.stream_historical_features(asked(1_000), "facts", batch_size=5, workers=1)
    assert len(stream.read_next_batch()) == 5
    (worker,) = multiprocessing.active_children()
    worker.kill()
    worker.join()
    with pytest.raises(OfflineStoreError, match=r"from row (5|10) of the spine on .*fewer workers"):
        stream.read_all()


def test_who_gives_up_waits_for_no_batch(tmp_path: Path) -> None:
    """Closing a stream, as Ctrl-C does, ends its workers in the middle of what they compute."""
    tables = answered(Patience(tmp_path / "said"), [asked(1)] * 4, 1)  # type: ignore[arg-type]
    next(tables)
    tables.close()
    assert not multiprocessing.active_children()
    assert not (tmp_path / "said").exists()


def test_a_forked_child_makes_nobody_wait(tmp_path: Path) -> None:
    """A child that lives holds a copy of the pipe by which workers learn that they aren't wanted: they end at once."""
    tables = answered(Patience(tmp_path / "said"), [asked(1)] * 4, 1)  # type: ignore[arg-type]
    next(tables)
    end, parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(parent)
        os.read(end, 1)  # until the parent is done
        os._exit(0)
    os.close(end)
    try:
        tables.close()
        assert not multiprocessing.active_children()
        assert not (tmp_path / "said").exists()
    finally:
        os.close(parent)
        os.waitpid(child, 0)


def test_a_signal_for_all_is_for_the_process_that_asks() -> None:
    """Ctrl-C reaches workers, too; none of them ends by it, or says anything."""
    tables = answered(Environment(), [asked(1)] * 9, 1)  # type: ignore[arg-type]
    next(tables)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    assert len(list(tables)) == 8


def test_a_stream_is_not_for_forked_children(store: FeatureStore) -> None:
    """A child that goes on with its parent's stream is told so, and doesn't wait for ever; the parent goes on."""
    stream = store.stream_historical_features(asked(20), "facts", batch_size=5, workers=1)
    stream.read_next_batch()

    def is_refused() -> bool:
        with pytest.raises(ConfigurationError, match="Make a stream here"):
            stream.read_next_batch()
        return True

    assert in_child(is_refused)
    assert len(stream.read_all()) == 15


def test_workers_know_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are set after other processes were started reach the workers."""
    found: list[Any] = []
    for value in ("early", "late"):
        monkeypatch.setenv("SET_LATE", value)
        tables = answered(Environment(), [asked(1)], 1)  # type: ignore[arg-type]
        found += [table["set"].to_pylist() for table in tables]
    assert found == [["early"], ["late"]]


@pytest.mark.parametrize("workers", [0, -1, True, 2.5])
def test_numbers_of_workers_that_are_none(store: FeatureStore, workers: Any) -> None:
    """There is one worker or more, or none."""
    with pytest.raises(DataError, match="workers="):
        store.stream_historical_features(asked(4), "facts", workers=workers)


def test_a_worker_starts_no_workers(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may start none, as those of a data loader, says so instead of failing inside."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="Leave workers out"):
        store.stream_historical_features(asked(4), "facts", workers=2)


def _takes_one(directory: Path, workers: Any) -> None:
    multiprocessing.set_forkserver_preload(["fs_core.retrieval.processes"])  # a server for one worker needs no more
    stream = FeatureStore(directory).stream_historical_features(asked(20), "facts", batch_size=5, workers=1)
    stream.read_next_batch()
    workers.send([child.pid for child in multiprocessing.active_children()])
    workers.recv()  # never


def test_workers_end_with_a_process_that_is_killed(store: FeatureStore) -> None:
    """No worker waits for the next table of a process that is gone."""
    here, there = multiprocessing.Pipe()
    reads = processes.FRESH.Process(target=_takes_one, args=(Path(store.directory), there))
    reads.start()
    (worker,) = here.recv()
    reads.kill()
    reads.join()
    until(lambda: not is_alive(worker))


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody waits for doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
