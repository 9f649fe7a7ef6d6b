"""The index of windows: when it is made, what an append costs it, and that it may be damaged or gone at any time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import Aggregation, Entity, FeatureView, Field
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search import window_index
from fs_core.offline.search.index import IndexEngine
from fs_core.offline.search.runs import window_run
from fs_core.offline.search.runs.meta import MARK
from fs_core.offline.search.window_index import WindowIndex
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, TIME
from fs_core.testing.histories import moments
from fs_core.testing.oracle import bits
from fs_core.testing.window_oracle import oracle_windows

VIEW = FeatureView(
    "v",
    Entity("e", keys={"k": "string", "n": "int64"}),
    [Field("x", "float64", "A value."), Field("shop", "string", "Where."), Field("id", "int64", "Which.")],
    event_id=["id"],
    aggregations=[
        Aggregation("count", windows=["10us", None]),
        Aggregation("sum", "x", windows=["10us"], where="shop <> 'b'"),
        Aggregation("std", "x", windows=[None]),
        Aggregation("max", "x", windows=["30us"]),
        Aggregation("last", "shop", n=3, windows=[None]),
        Aggregation("count_distinct", "shop", windows=["30us"]),
    ],
)
MEANS = {"shop <> 'b'": lambda row: row["shop"] is not None and row["shop"] != "b"}


def rows(first: int, count: int, *, entities: int = 20) -> pa.Table:
    """Return events, some of them corrections of others, some late."""
    numbers = np.arange(first, first + count)
    rng = np.random.default_rng(first)
    entity = rng.integers(0, entities, count)
    times = rng.integers(0, 100, count)
    return pa.table(
        {
            "k": pa.array([f"user {e % 7}" for e in entity]),
            "n": pa.array(entity // 7),
            EVENT_TIME: moments(times.tolist()),
            AVAILABLE_AT: moments((times + rng.choice([0, 0, 0, 20], count)).tolist()),
            SEQ: pa.array(numbers),
            "x": pa.array(np.round(rng.random(count), 2), mask=rng.random(count) < 0.1),
            "shop": pa.array(rng.choice(["a", "b", "c"], count)),
            "id": pa.array(rng.integers(0, 50, count)),
        }
    )


SPINE = pa.table(
    {
        "k": [f"user {i % 8}" for i in range(100)],
        "n": [i % 3 for i in range(100)],
        TIME: moments([i * 37 % 130 for i in range(100)]),
    }
)


class Counted:
    """Counts how often events are read and runs are written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written = self.read = 0
        write, read = window_run.write_window_run, window_index.read_events

        def counted_write(*arguments: Any) -> None:
            self.written += 1
            write(*arguments)

        def counted_read(*arguments: Any, **options: Any) -> pa.Table:
            self.read += 1
            return read(*arguments, **options)

        monkeypatch.setattr(window_index, "write_window_run", counted_write)
        monkeypatch.setattr(window_index, "read_events", counted_read)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts from before the store is opened."""
    return Counted(monkeypatch)


@pytest.fixture
def store(counted: Counted, tmp_path: Path) -> DeltaOfflineStore:
    """A store with four hundred events."""
    made = DeltaOfflineStore(tmp_path / "history", IndexEngine(tmp_path / "index"))
    made.append(VIEW, rows(0, 400))
    return made


def assert_right(store: DeltaOfflineStore, snapshot: int | None = None) -> None:
    """Assert that a state answers as the oracle does."""
    history = store.read(VIEW, snapshot=snapshot).to_pylist()
    expected = oracle_windows(VIEW, history, SPINE.to_pylist(), MEANS)
    found = store.as_of(VIEW, SPINE, list(VIEW.features), snapshot=snapshot).to_pylist()
    assert [bits(row) for row in found] == [bits({name: want[name] for name in found[0]}) for want in expected]


def runs_of(store: DeltaOfflineStore, tmp_path: Path) -> list[str]:
    """Return the names of the runs on disk."""
    return sorted(path.name for path in (tmp_path / "index" / VIEW.storage_name).iterdir() if path.is_dir())


def test_a_small_append_leaves_the_run_alone(store: DeltaOfflineStore, counted: Counted, tmp_path: Path) -> None:
    """Only the entities of the new events are prepared again, and only once; a large append makes a new run."""
    assert_right(store)
    (run,) = runs_of(store, tmp_path)
    for number in range(12):
        state = store.append(VIEW, rows(1000 + number, 2))
        before = counted.read
        assert_right(store)
        assert_right(store)
        assert counted.read == before + 1
    assert (runs_of(store, tmp_path), counted.written) == ([run], 1)
    store.append(VIEW, rows(2000, 200))
    assert_right(store)
    assert counted.written == 2
    assert run not in runs_of(store, tmp_path)
    assert_right(store, snapshot=state)
    assert counted.written == 2


def test_a_few_rows_do_not_make_the_world_be_read(
    store: DeltaOfflineStore, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a handful of questions about much data their entities' events are read, and nothing is made."""
    monkeypatch.setattr(window_index, "_LITTLE_DATA", 0)
    few = SPINE.slice(0, 10)
    answer = store.as_of(VIEW, few, list(VIEW.features))
    assert counted.written == 0
    assert_right(store)
    assert counted.written == 1
    assert store.as_of(VIEW, few, list(VIEW.features)).equals(answer)


def test_entities_in_several_parts(store: DeltaOfflineStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What doesn't fit memory is prepared in parts, and another process answers from them alike."""
    monkeypatch.setattr(window_run, "_ROWS", 90)
    assert_right(store)
    again = DeltaOfflineStore(tmp_path / "history", IndexEngine(tmp_path / "index"))
    assert_right(again)
    assert len(WindowIndex(tmp_path / "index").catalogue.largest(VIEW, again._files(VIEW, None)).parts) == 5  # type: ignore[union-attr]


def wait_until_durable(directory: Path) -> None:
    """Wait until the thread that brings a run to disk has marked it: it would put its mark into what is deleted."""
    deadline = time.monotonic() + 30
    while not (directory / MARK).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_what_is_gone_or_damaged_is_made_again(store: DeltaOfflineStore, counted: Counted, tmp_path: Path) -> None:
    """A run may be deleted, or cut short, at any time."""
    assert_right(store)
    (run,) = runs_of(store, tmp_path)
    directory = tmp_path / "index" / VIEW.storage_name / run
    wait_until_durable(directory)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert_right(store)
    assert counted.written == 2
    (directory / "arrays-0").write_bytes(b"short")
    other = DeltaOfflineStore(tmp_path / "history", IndexEngine(tmp_path / "index"))
    assert_right(other)
    assert counted.written == 3


def test_verification_finds_a_run_that_is_wrong(store: DeltaOfflineStore, tmp_path: Path) -> None:
    """A run that isn't what its data files say is named, and made again once it is repaired."""
    assert_right(store)
    engine, files = IndexEngine(tmp_path / "index"), store._files(VIEW, None)
    assert engine.verify(VIEW, files, repair=False) == []
    (run,) = runs_of(store, tmp_path)
    path = tmp_path / "index" / VIEW.storage_name / run / "arrays-0"
    damaged = bytearray(path.read_bytes())
    damaged[-9] ^= 1
    path.write_bytes(damaged)
    assert engine.verify(VIEW, files, repair=True) == [str(path.parent)]
    assert_right(DeltaOfflineStore(tmp_path / "history", engine))


def test_compaction_prepares_the_run(store: DeltaOfflineStore, counted: Counted, tmp_path: Path) -> None:
    """After it nothing is left in memory alone, and earlier states are answered as before."""
    assert_right(store)
    state = store.append(VIEW, rows(1000, 3))
    assert_right(store)
    store.compact(VIEW)
    assert counted.written == 2
    read = counted.read
    assert_right(store)
    assert counted.read == read
    assert_right(store, snapshot=state)
    assert len(runs_of(store, tmp_path)) == 1
