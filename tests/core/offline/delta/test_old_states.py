"""Letting go of old states: what is kept reads as before, what isn't is refused, and a table has few files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.contract import Progress
from fs_core.offline.delta.leftovers import remove_leftovers
from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.delta.log import DeltaLog, entry_runs
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.offline.objects.path import located
from fs_core.testing.offline_suite import counted, counter

STATES, YOUNG, PINNED = 25, 21, {3, 13, 5_000}
NUMBERS = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field("n", "int64", "A number.")],
    description="Numbers of users.",
)
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def table_of(store: DeltaOfflineStore) -> Path:
    """The directory of the counter's table."""
    return Path(store._table(counter).path)


def data_files(table: Path) -> set[str]:
    """All data files on disk."""
    return {str(path) for path in table.rglob("*.parquet") if "_delta_log" not in path.parts}


def what_is_readable(store: DeltaOfflineStore) -> dict[int, list[int]]:
    """The values of each state that can be read; what can't says so."""
    found = {}
    for state in range(store.snapshot(counter) + 1):
        try:
            found[state] = store.read(counter, snapshot=state)["value"].to_pylist()
        except OfflineStoreError as error:
            if "can't be read any more" not in str(error):
                raise
    return found


def filled(directory: Path, states: int = STATES) -> tuple[DeltaOfflineStore, int]:
    """A store with a row and a commit for each state, and a moment in the middle."""
    store, moment = DeltaOfflineStore(directory), 0
    for number in range(states):
        moment = time.time_ns() // 1000 if number == YOUNG else moment
        progress = Progress({"stream": number - 1 if number else None}, {"stream": number})
        store.append_from(counter, counted([number]), progress)
    return store, moment


def test_states_that_are_kept_read_as_before(tmp_path: Path) -> None:
    """Young and pinned states stay, others are refused; rows, the stream's position and numbers are as before."""
    store, moment = filled(tmp_path)
    store.compact(counter)
    before = what_is_readable(store)
    store.let_go(counter, moment, PINNED)
    for reader in (store, DeltaOfflineStore(tmp_path)):
        after = what_is_readable(reader)
        assert set(after) >= {*range(YOUNG, store.snapshot(counter) + 1), *PINNED - {5_000}}
        assert after == {state: before[state] for state in after}
        assert len(after) == 17
        assert reader.positions(counter, ["stream"]) == {"stream": STATES - 1}
        assert reader.reserve(counter, 1) >= STATES
    needed = {file for state in after for file in DeltaLog(located(str(table_of(store)))).files(state)}
    assert data_files(table_of(store)) == needed
    store.append(counter, counted([STATES]))
    assert store.read(counter)["value"].to_pylist() == list(range(STATES + 1))
    assert store.verify(counter).clean
    again = what_is_readable(store)
    store.compact(counter)
    store.let_go(counter, moment, PINNED)
    assert {state: again[state] for state in again} == {s: v for s, v in what_is_readable(store).items() if s in again}


def test_a_table_has_few_files(tmp_path: Path) -> None:
    """However many commits there were: the log goes back to the last checkpoint, and the data to its state."""
    store = DeltaOfflineStore(tmp_path)
    for day in range(3):
        for number in range(15):
            store.append(counter, counted([day * 15 + number]))
        store.compact(counter)
        store.let_go(counter, time.time_ns() // 1000, ())
        assert sum(path.is_file() for path in table_of(store).rglob("*")) < 45
    assert store.read(counter)["value"].to_pylist() == list(range(45))


@pytest.mark.parametrize("deeds", [0, 9])
def test_a_death_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deeds: int) -> None:
    """Whoever dies after some deletions leaves each state right or refused; files in use stay; the next one ends it."""
    store, moment = filled(tmp_path)
    store.compact(counter)
    before, left = what_is_readable(store), deeds
    unlink = Path.unlink

    def dying(path: Path, *args: Any, **options: Any) -> None:
        nonlocal left
        if not left:
            raise OSError("killed")
        left -= 1
        unlink(path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dying)
        with pytest.raises(OfflineStoreError):
            store.let_go(counter, moment, PINNED)
    after = what_is_readable(DeltaOfflineStore(tmp_path))
    assert after == {state: before[state] for state in after}
    assert set(after) >= {*range(YOUNG, store.snapshot(counter) + 1), *PINNED - {5_000}}
    store.compact(counter)
    assert what_is_readable(store) == {**after, store.snapshot(counter): before[max(before)]}
    store.let_go(counter, moment, PINNED)
    assert len(what_is_readable(store)) == 17
    assert store.read(counter)["value"].to_pylist() == list(range(STATES))


def test_forgetting_goes_on(tmp_path: Path) -> None:
    """An entity can be forgotten after old states went: its rows are nowhere, others' all there, and no other file."""
    store, moment = filled(tmp_path)
    store.let_go(counter, moment, {3})
    left = table_of(store) / "__event_month=1970-01" / "left-by-somebody.parquet"
    left.write_bytes(b"half a file")
    gone = pa.table({"thing": pa.array([2, 24], pa.int64())})
    assert store.erase(counter, gone).rows == 2
    assert store.traces(counter, gone) == 0
    assert store.read(counter)["value"].to_pylist() == [n for n in range(STATES) if n not in (2, 24)]
    assert not left.exists()
    with pytest.raises(OfflineStoreError, match="can't be read any more"):
        store.read(counter, snapshot=3)
    assert store.verify(counter).clean


def test_a_log_that_another_program_cut_keeps_every_file(tmp_path: Path) -> None:
    """Where entries are gone and no checkpoint stands for them, it isn't known what is needed: nothing is deleted."""
    store, _ = filled(tmp_path, 25)
    log = table_of(store) / "_delta_log"
    known = data_files(table_of(store))
    for name in (f"{5:020}.json", f"{9:020}.checkpoint.parquet", f"{19:020}.checkpoint.parquet"):
        (log / name).rename(log / f"{name}.aside")
    assert [(run.start, run.stop) for run in entry_runs(table_of(store))] == [(0, 5), (6, 26)]
    left = next(iter(sorted(known))).replace("part-", "left-")
    Path(left).write_bytes(b"half a file")
    locks = TableLocks(table_of(store))
    with locks.rewriting():
        remove_leftovers(table_of(store), locks, 0.0)
    assert data_files(table_of(store)) == known | {left}


def test_training_sets_that_are_saved_can_be_made_again(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compact(keep=)` keeps the states of saved and logged training sets; it refuses to make others again."""
    store.apply(NUMBERS)
    spine = {"user": [1], "event_timestamp": [datetime.now(UTC)]}

    def write(count: int) -> Any:
        for number in range(count):
            store.write("numbers", {"user": [1], "event_timestamp": [NOW], "n": [number]})
        return store.get_historical_features(spine, ["numbers.n"])

    saved, logged, lost = write(12), write(7), write(12)
    store.save_training_set(saved, "kept")
    store.lineage.record_training_set(logged)
    write(12)
    with pytest.raises(ConfigurationError, match="less than an hour"):
        store.compact(keep="59m")
    store.compact(keep="1h")
    assert store.recreate(lost.spec, spine).fingerprint == lost.fingerprint  # that was just now
    real = store._clock.now
    monkeypatch.setattr(store._clock, "now", lambda: real() + 2 * 3_600_000_000)
    store.compact("numbers", keep="1h")
    for made in (saved, logged):
        assert store.recreate(made.spec, spine).fingerprint == made.fingerprint
    with pytest.raises(OfflineStoreError, match="no training set that is saved or logged"):
        store.recreate(lost.spec, spine)
    assert store.history("numbers").num_rows == 43
