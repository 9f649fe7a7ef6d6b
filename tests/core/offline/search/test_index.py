"""The fast engine in every state its directory can be in: the answers are always the oracle's."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.search import index
from fs_core.offline.search.index import IndexEngine
from fs_core.offline.search.runs import catalogue, meta
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, TIME, history_schema
from fs_core.testing.histories import moments, scenarios, spines
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.testing.processes import FRESH

counter = FeatureView(
    "counter", entity=Entity("thing", keys={"thing": "int64"}), fields=[Field("x", "int64"), Field("s", "string")]
)


def rows(start: int, count: int) -> pa.Table:
    """Rows of ten things, one microsecond after the other, each with its number."""
    numbers = list(range(start, start + count))
    columns = {
        "thing": [n % 10 for n in numbers],
        EVENT_TIME: moments(numbers),
        AVAILABLE_AT: moments(numbers),
        SEQ: numbers,
        "x": numbers,
        "s": [str(n) for n in numbers],
    }
    return pa.table(columns).select(history_schema(counter).names).cast(history_schema(counter))


def store_in(directory: Path) -> DeltaOfflineStore:
    """A store and its index below a directory."""
    return DeltaOfflineStore(directory / "history", IndexEngine(directory / "index"))


def ask(store: DeltaOfflineStore, count: int = 100, snapshot: int | None = None) -> list[int | None]:
    """Return what the things 0 to 9, in turn, have at the moments 0, 1, ..."""
    spine = pa.table({"thing": [n % 10 for n in range(count)], TIME: moments(list(range(count)))})
    found = store.as_of(counter, spine, ["s", "x"], snapshot=snapshot)
    assert [None if s is None else int(s) for s in found["s"].to_pylist()] == found["x"].to_pylist()
    answers: list[int | None] = found["x"].to_pylist()
    return answers


def expected(written: int, count: int = 100) -> list[int | None]:
    """Return what `ask` must, after rows 0 to `written` were written."""
    return [max((n for n in range(t % 10, min(t + 1, written), 10)), default=None) for t in range(count)]


def runs_of(directory: Path) -> list[Path]:
    """The directories of whole runs."""
    folder = directory / "index" / counter.storage_name
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


@settings(max_examples=60)
@given(data=st.data())
def test_every_state_gives_the_oracles_answers(fresh_directory: Callable[[], Path], data: st.DataObject) -> None:
    """Appends, questions about any state, and an index that is deleted, cut short or not trusted in between."""
    scenario = data.draw(scenarios())
    view, history = scenario.view, scenario.history.sort_by(SEQ)
    directory = fresh_directory()
    store = store_in(directory)
    written = {store.snapshot(view): 0}
    cuts = sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(history)], strict=True):
        if end > start:
            part = history.slice(start, end - start).select(history_schema(view).names)
            written[store.append(view, part.cast(history_schema(view)))] = end
        _damage(directory, data.draw(st.sampled_from(["no", "no", "delete", "cut", "distrust"])), data)
        if data.draw(st.booleans()):
            store = store_in(directory)
        state = data.draw(st.sampled_from([None, *written]))
        known = history.slice(0, end if state is None else written[state]).to_pylist()
        spine = data.draw(spines(scenario))
        found = store.as_of(view, spine, list(view.features), snapshot=state)
        answers = oracle_as_of(view, known, spine.to_pylist(), list(view.features))
        assert [bits(row) for row in found.to_pylist()] == [bits(row) for row in answers]


def _damage(directory: Path, how: str, data: st.DataObject) -> None:
    index = directory / "index"
    if how == "delete":
        shutil.rmtree(index, ignore_errors=True)
    elif how == "cut":
        # Which files there are depends on when the disk was ready; what is drawn may not.
        files = sorted(path for path in index.rglob("*.*") if path.is_file() and path.name != ".lock")
        victim, share = data.draw(st.integers(0, 999)), data.draw(st.sampled_from([0.0, 0.1, 0.5]))
        if files:
            _cut(files[victim % len(files)], share)
    elif how == "distrust":
        for mark in index.rglob(meta.MARK):
            mark.unlink()


def _cut(path: Path, share: float) -> None:
    """Leave the beginning of a file, as a disk may after a crash; who has the whole one mapped keeps it."""
    short = path.with_name(f".{path.name}")
    short.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    short.replace(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_a_file_cut_short_is_noticed(tmp_path: Path, share: float) -> None:
    """Whichever file of a run lost its end, the next to open the run makes it again and answers right."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 200))
    assert ask(store) == expected(200)
    (run,) = runs_of(tmp_path)
    for name in sorted(path.name for path in run.iterdir() if path.suffix):
        _cut(run / name, share)
        assert ask(store_in(tmp_path)) == expected(200), name
        assert runs_of(tmp_path) == [run], name


def test_few_runs_however_many_appends(tmp_path: Path) -> None:
    """Runs that have grown alike are merged, so forty appends leave a handful, and the large one alone."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 200))
    assert ask(store) == expected(200)
    (large,) = runs_of(tmp_path)
    for n in range(40):
        store.append(counter, rows(200 + n, 1))
        assert ask(store, 300) == expected(201 + n, 300)
    assert large in runs_of(tmp_path)
    assert len(runs_of(tmp_path)) <= 4
    for n in range(40, 100):
        store.append(counter, rows(200 + n, 1))
    assert ask(store, 300) == expected(300, 300)
    assert large not in runs_of(tmp_path)


def test_compaction_leaves_one_run_and_every_state(tmp_path: Path) -> None:
    """Many files and runs become one of each; earlier states answer as before."""
    store = store_in(tmp_path)
    states = {store.append(counter, rows(10 * n, 10)): 10 * n + 10 for n in range(10)}
    for state, written in states.items():
        assert ask(store, snapshot=state) == expected(written)
    assert store.compact(counter) == 10
    assert len(runs_of(tmp_path)) == 1
    assert ask(store) == ask(store_in(tmp_path)) == expected(100)
    assert len(runs_of(tmp_path)) == 1
    for state, written in states.items():
        assert ask(store, snapshot=state) == expected(written)


def test_run_marked_durable_while_it_is_removed_is_removed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was held up may mark a run at any moment; no directory with the mark alone is left."""
    store = store_in(tmp_path)
    for n in range(3):
        store.append(counter, rows(10 * n, 10))
        ask(store)
    earlier, rmdir = runs_of(tmp_path), os.rmdir

    def mark_first(*args: Any, **options: Any) -> None:
        for run in earlier:
            with contextlib.suppress(FileNotFoundError):
                (run / meta.MARK).touch()
        rmdir(*args, **options)

    monkeypatch.setattr(os, "rmdir", mark_first)
    store.compact(counter)
    assert len(runs_of(tmp_path)) == 1


def test_an_old_state_leaves_the_index_of_the_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is searched without an index if none fits; the newest state's isn't made again afterwards."""
    store = store_in(tmp_path)
    old = store.append(counter, rows(0, 50))
    store.append(counter, rows(50, 50))
    assert ask(store) == expected(100)
    before = runs_of(tmp_path)
    monkeypatch.setattr(index, "_LITTLE_DATA", 0)
    assert ask(store, snapshot=old) == expected(50)
    assert runs_of(tmp_path) == before


def test_a_handful_of_rows_does_not_open_the_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index, and much history, few rows are looked up where they lie."""
    monkeypatch.setattr(index, "_LITTLE_DATA", 0)
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    assert ask(store, 64) == expected(100, 64)
    assert not (tmp_path / "index").exists()
    assert ask(store, 65) == expected(100, 65)
    assert len(runs_of(tmp_path)) == 1


@pytest.mark.parametrize("most", [1, 30, 10**9])
def test_large_histories_are_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """No run is larger than memory allows; several are searched side by side."""
    monkeypatch.setattr(catalogue, "LARGEST", most)
    store = store_in(tmp_path)
    for n in range(4):
        store.append(counter, rows(25 * n, 25))
    assert ask(store) == expected(100)
    assert len(runs_of(tmp_path)) == (1 if most > 100 else 4)


def test_processes_that_ask_at_once_make_one_index(tmp_path: Path) -> None:
    """Who comes second waits and uses what the first made."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    with FRESH.Pool(2) as pool:
        assert pool.map(ask, [store] * 4) == [expected(100)] * 4
    assert len(runs_of(tmp_path)) == 1


def _make_slowly(store: DeltaOfflineStore) -> None:
    write = store._engine._catalogue._write

    def slowly(directory: Path, *rest: Any) -> None:
        write(directory, *rest)
        time.sleep(60)

    store._engine._catalogue._write = slowly  # in a process that will be killed
    ask(store)


def test_a_killed_process_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its lock is free, its unfinished run is removed, and the next one makes it again."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    process = FRESH.Process(target=_make_slowly, args=(store,))
    process.start()
    folder = tmp_path / "index" / counter.storage_name
    deadline = time.monotonic() + 60
    while not list(folder.glob(".unfinished-*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(folder.glob(".unfinished-*"))
    assert ask(store) == expected(100)
    assert not list(folder.glob(".unfinished-*"))
    assert len(runs_of(tmp_path)) == 1


def test_what_never_reached_the_disk_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that isn't marked as durable counts until the machine restarts, one that is, for ever."""
    store_in(tmp_path).append(counter, rows(0, 100))
    assert ask(store_in(tmp_path)) == expected(100)
    (run,) = runs_of(tmp_path)
    deadline = time.monotonic() + 60
    while not (run / meta.MARK).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    made = run.stat().st_ino
    monkeypatch.setattr(meta, "boot", lambda: "another")
    assert ask(store_in(tmp_path)) == expected(100)
    assert runs_of(tmp_path)[0].stat().st_ino == made
    (run / meta.MARK).unlink()
    for column in run.glob("column-*"):
        column.write_bytes(bytes(column.stat().st_size))  # what a power failure leaves
    assert ask(store_in(tmp_path)) == expected(100)
    assert runs_of(tmp_path)[0].stat().st_ino != made


def test_an_index_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be made, answers come without."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    (tmp_path / "index").write_text("a file where the directory should be")
    assert ask(store) == expected(100)
    (tmp_path / "index").unlink()
    monkeypatch.setattr(catalogue, "may_write", lambda _: False)
    assert ask(store) == expected(100)
    assert not (tmp_path / "index").exists()


def test_a_data_file_that_is_gone_is_history_s_fault(tmp_path: Path) -> None:
    """The error is that of history, and no run is made from what is left."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    for file in (tmp_path / "history").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(OfflineStoreError, match=r"counter:v1\.0\.0"):
        ask(store)
    assert not list((tmp_path / "index").rglob("run.json"))


def test_an_index_is_pickled_by_its_directory(tmp_path: Path) -> None:
    """A pickle holds the directory and nothing else."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 100))
    assert ask(store) == expected(100)
    text = pickle.dumps(store)
    assert len(text) < 500
    assert ask(pickle.loads(text)) == expected(100)


def test_states_without_rows(tmp_path: Path) -> None:
    """An append of nothing is a state like any other."""
    store = store_in(tmp_path)
    store.append(counter, rows(0, 0))
    assert ask(store) == [None] * 100
    store.append(counter, rows(0, 100))
    assert ask(store) == expected(100)


def test_a_wide_view_opens_each_file_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a thousand columns opens a data file as often as a run of one: each opening reads of every column."""
    opened = list[str]()
    parquet_file = pq.ParquetFile

    def counted(file: str) -> Any:
        opened.append(file)
        return parquet_file(file)

    def times_opened(columns: int) -> int:
        names = [f"x{number}" for number in range(columns)]
        entity = Entity("e", keys={"k": "int64"})
        wide = FeatureView("wide", entity=entity, version="1.0.0", fields=[Field(name, "int64") for name in names])
        store = DeltaOfflineStore(tmp_path / f"{columns}", IndexEngine(tmp_path / f"index-{columns}"))
        clocks = pa.array([0, 0], pa.timestamp("us", "UTC"))
        rows = {"k": pa.array([1, 2]), **{name: pa.array([n, n]) for n, name in enumerate(names)}}
        rows |= {EVENT_TIME: clocks, AVAILABLE_AT: clocks, SEQ: pa.array([0, 1])}
        schema = history_schema(wide)
        store.append(wide, pa.table({name: rows[name] for name in schema.names}, schema=schema))
        opened.clear()
        spine = pa.table({"k": pa.array([2]), TIME: pa.array([1], pa.timestamp("us", "UTC"))})
        found = store.as_of(wide, spine, names[-1:])
        assert found[names[-1]].to_pylist() == [columns - 1]
        return len(opened)

    monkeypatch.setattr(pq, "ParquetFile", counted)
    assert times_opened(1000) == times_opened(1)
