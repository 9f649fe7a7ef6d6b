"""Erasing beside other writers: it comes to an end, loses nobody else's row, and leaves what Delta's library reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta import log, rewriting, store
from fs_core.offline.delta import log as delta_log
from fs_core.offline.delta import store as delta_store
from fs_core.offline.delta.log import log_actions

USER = Entity("user", keys={"user": "int64"}, description="A person.")
FACTS = FeatureView("facts", entity=USER, fields=[Field("x", "int64", "X.")], description="Facts.", online=False)
START = 1_700_000_000_000_000


def facts(users: list[int] | np.ndarray[Any, Any], x: int = 0) -> pa.Table:
    """Return a row for each user, an hour apart."""
    times = START + np.arange(len(users)) * 3_600_000_000
    return pa.table(
        {"user": users, "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")), "x": [x] * len(users)}
    )


@pytest.fixture
def history(store: FeatureStore) -> FeatureStore:
    """A store with three files of one month, each with a row of users 0 to 9."""
    store.apply(FACTS)
    for x in range(3):
        store.write(FACTS, facts(list(range(10)), x))
    return store


def table_of(store: FeatureStore) -> DeltaTable:
    """Return the view's history as Delta's library reads it."""
    return DeltaTable(str(place_of(store)))


def place_of(store: FeatureStore) -> Path:
    """Return where the view's history lies."""
    (place,) = (Path(store.directory) / "history").iterdir()
    return place


def erase(store: FeatureStore, *users: int) -> Any:
    """Erase users from history."""
    return store.offline.erase(store.view("facts"), pa.table({"user": pa.array(users, pa.int64())}))


def users_of(store: FeatureStore) -> list[int]:
    """Return whose rows history has, in its order."""
    found: list[int] = store.history(FACTS)["user"].to_pylist()
    return found


WRITER = """
import sys
from datetime import UTC, datetime
from fs_core import FeatureStore

with FeatureStore(sys.argv[1]) as store:
    written = 0
    while True:
        store.write("facts", {"user": [int(sys.argv[2])], "event_timestamp": [datetime.now(UTC)], "x": [written]})
        written += 1
        print(written, flush=True)
"""


@contextmanager
def writing(store: FeatureStore, users: list[int]) -> Iterator[dict[int, int]]:
    """Let a process for each user append a row of them, again and again; yield how many each has written at the end."""
    command = [sys.executable, "-c", WRITER, str(store.directory)]
    running = {user: subprocess.Popen([*command, str(user)], stdout=subprocess.PIPE, text=True) for user in users}
    written: dict[int, int] = {}
    try:
        for process in running.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "1\n"
        yield written
    finally:
        for process in running.values():
            process.kill()
        for user, process in running.items():
            said, _ = process.communicate()
            written[user] = len(said.split()) + 1


def test_writers_who_never_pause(store: FeatureStore) -> None:
    """Erasing ends beside processes that append all the time, and every other row is there once."""
    store.apply(FACTS)
    for x in range(3):
        store.write(FACTS, facts(np.arange(50_000) % 100, x))
    with writing(store, [1001, 1002, 1003]) as written:
        before = table_of(store).version()
        assert erase(store, 7).rows == 1500
        assert erase(store, 8).rows == 1500
        assert store.offline.traces(store.view("facts"), pa.table({"user": pa.array([7, 8], pa.int64())})) == 0
        assert table_of(store).version() > before + 6  # they did go on
    found = store.history(FACTS)
    counts = dict(zip(*np.unique(found["user"].to_numpy(), return_counts=True), strict=True))
    assert counts.pop(7, 0) == counts.pop(8, 0) == 0
    for user, rows in written.items():
        assert rows <= counts.pop(user) <= rows + 1  # one that was killed may not have said so
    assert set(counts.values()) == {1500}
    assert len(np.unique(found["__seq"].to_numpy())) == len(found)


def meanwhile(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any]) -> None:
    """Let something happen between the rewriting of files and the commit, the first time."""
    commit, deeds = rewriting._commit, [deed]

    def late(*arguments: Any) -> None:
        while deeds:
            deeds.pop()()
        commit(*arguments)

    monkeypatch.setattr(rewriting, "_commit", late)


def test_an_append_meanwhile(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended before the commit stays; rows of the person among it go, too; nothing is written twice."""
    rewrite, calls = store.replace_without, list[list[str]]()

    def counted(place: Path, state: int, files: list[str], seqs: list[int]) -> None:
        calls.append(files)
        rewrite(place, state, files, seqs)

    monkeypatch.setattr(delta_store, "replace_without", counted)
    meanwhile(monkeypatch, lambda: history.write(FACTS, facts([20, 3, 21], 9)))
    assert erase(history, 3).rows == 4
    assert list(map(len, calls)) == [3, 1]
    assert users_of(history) == [*([0, 1, 2, 4, 5, 6, 7, 8, 9] * 3), 20, 21]


DEEDS: dict[str, Callable[[FeatureStore], Any]] = {
    "compact": lambda store: store.offline.compact(store.view("facts")),
    "erase the same": lambda store: erase(store, 3),
    "erase another": lambda store: erase(store, 4),
    "change the table": lambda store: table_of(store).alter.set_table_properties({"delta.checkpointInterval": "7"}),
}


@pytest.mark.parametrize("deed", list(DEEDS))
def test_who_touches_the_same_files_meanwhile(
    history: FeatureStore, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    """If files were replaced before the commit, or the table changed, it begins anew from there and leaves no file."""
    expected = [u for u in users_of(history) if u not in ({3, 4} if deed == "erase another" else {3})]
    meanwhile(monkeypatch, lambda: DEEDS[deed](history))
    erase(history, 3)
    assert users_of(history) == expected
    assert history.offline.traces(history.view("facts"), pa.table({"user": pa.array([3], pa.int64())})) == 0
    named = {str(place_of(history) / path) for path in _ever_named(history)}
    assert {str(path) for path in place_of(history).rglob("part-*.parquet")} <= named
    assert not list(place_of(history).rglob("*.tmp"))


def _ever_named(store: FeatureStore) -> set[str]:
    """Return the files that any state of the view's history names."""
    log = place_of(store) / "_delta_log"
    return {action["add"]["path"] for entry in log.glob("*.json") for action in log_actions(entry) if "add" in action}


def test_a_failure_leaves_no_file(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commit fails, as on a full disk, the state stays and what was rewritten is removed."""
    before = sorted(place_of(history).rglob("*"))

    def full(*_: Any) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rewriting, "_publish", full)
    with pytest.raises(OfflineStoreError, match="No space left"):
        erase(history, 3)
    assert sorted(place_of(history).rglob("*")) == before
    assert users_of(history) == list(range(10)) * 3


def test_a_failure_after_the_commit_loses_nothing(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something fails once the commit stands, the files that it names stay."""
    bring = rewriting._bring_to_disk

    def fail(path: Path) -> None:
        if path.name == "_delta_log":
            raise OSError(5, "Input/output error")
        bring(path)

    with monkeypatch.context() as broken:
        broken.setattr(rewriting, "_bring_to_disk", fail)
        erase(history, 3)
    assert users_of(history) == [0, 1, 2, 4, 5, 6, 7, 8, 9] * 3


def test_the_library_reads_what_is_committed(history: FeatureStore) -> None:
    """Delta's own reader, compaction, checkpoints and history agree; a file without rows left isn't replaced."""
    history.write(FACTS, facts([3]))
    assert erase(history, 3, 3).rows == 4
    table = table_of(history)
    assert sorted(table.to_pyarrow_table()["user"].to_pylist()) == sorted(users_of(history))
    assert len(table.file_uris()) == 3
    assert table.history(1)[0]["operation"] == "DELETE"
    table.create_checkpoint()
    assert sorted(table_of(history).to_pyarrow_table()["user"].to_pylist()) == sorted(users_of(history))
    history.offline.compact(history.view("facts"))
    assert len(table_of(history).file_uris()) == 1
    assert users_of(history) == [0, 1, 2, 4, 5, 6, 7, 8, 9] * 3
    history.write(FACTS, facts([3]))
    assert users_of(history)[-1] == 3


def test_the_last_write_is_not_an_erasure(history: FeatureStore) -> None:
    """What stays after erasing wasn't written then."""
    history.write(FACTS, facts([1, 50]))
    history.write(FACTS, facts([1, 2, 4]))
    erase(history, 50)
    last = history.offline.last_write(history.view("facts"))  # type: ignore[attr-defined]
    assert last.rows == 3


def test_a_reader_whose_checkpoint_was_replaced(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is about to read a checkpoint when erasing replaces it looks again; one that never comes is an error."""
    place = place_of(history)
    table_of(history).create_checkpoint()
    checkpoints = list((place / "_delta_log").glob("*.checkpoint.parquet"))
    held = [path.read_bytes() for path in checkpoints]
    for path in checkpoints:
        path.unlink()
    slept: list[float] = []

    def come_back(seconds: float) -> None:
        slept.append(seconds)
        for path, data in zip(checkpoints, held, strict=True):
            path.write_bytes(data)

    monkeypatch.setattr("tenacity.nap.time.sleep", come_back)
    assert log.open_table(place).version() == 2
    assert slept
    monkeypatch.undo()
    monkeypatch.setattr(delta_log, "_CHECKPOINT_SECONDS", 0.1)
    for path in checkpoints:
        path.unlink()
    with pytest.raises(OfflineStoreError, match="checkpoint"):
        FeatureStore(history.directory).history(FACTS)
