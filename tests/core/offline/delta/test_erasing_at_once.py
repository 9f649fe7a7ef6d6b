"""Two people who are forgotten at once, by two stores: neither hinders the other, nothing is left of either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta import erasure

USER = Entity("user", keys={"user": "string"}, description="A person.")
NOTES = FeatureView(
    "notes", entity=USER, fields=[Field("note", "string", "What was said.")], description="Notes.", online=False
)
ALICE, BOB, CAROL = "alice-4f1d", "bob-77aa", "carol-90c2"


@pytest.fixture
def other(store: FeatureStore) -> Iterator[FeatureStore]:
    """Another store on the same history, which holds a file of each person, all of one write."""
    store.apply(NOTES)
    times = [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    store.write(NOTES, {"user": [ALICE, BOB, CAROL], "event_timestamp": times, "note": ["a", "b", "c"]})
    with FeatureStore(store.directory) as made:
        yield made


def forget(store: FeatureStore, user: str) -> int:
    """Forget a person; return how many rows were erased."""
    return sum(view.rows for view in store.forget("user", {"user": [user]}))


@contextmanager
def at(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: Callable[[], bool], deed: Callable[[], Any]
) -> Iterator[list[Future[Any]]]:
    """Let something begin in a thread, once, as soon as a step is done; wait for it at the end."""
    step, begun = getattr(where, name), list[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def followed(*arguments: Any) -> Any:
            found = step(*arguments)
            if when() and not begun:
                begun.append(pool.submit(deed))
                time.sleep(0.1)
            return found

        monkeypatch.setattr(where, name, followed)
        yield begun


def test_the_log_gets_nothing_back(store: FeatureStore, other: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of the log that both mend keeps the values of neither, though one begins when the other has read it."""
    with at(monkeypatch, erasure, "log_lines", lambda: True, lambda: forget(other, BOB)) as begun:
        assert forget(store, ALICE) == 1
    assert begun[0].result() == 1
    files = [path for path in Path(store.directory).rglob("*") if path.is_file()]
    assert [path for path in files for user in (ALICE, BOB) if user.encode() in path.read_bytes()] == []
    assert store.history(NOTES)["user"].to_pylist() == [CAROL]


@pytest.mark.parametrize("looks", [1, 2], ids=["erase", "traces"])
def test_files_that_the_other_deletes(
    store: FeatureStore, other: FeatureStore, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Nobody deletes a file between being listed and being searched: who wants to waits."""
    seen: list[None] = []

    def is_time() -> bool:
        seen.append(None)
        return len(seen) == looks

    with at(monkeypatch, erasure, "data_files", is_time, lambda: forget(other, BOB)) as begun:
        assert forget(store, ALICE) == 1
    assert begun[0].result() == 1
    assert store.history(NOTES)["user"].to_pylist() == [CAROL]


def read_history(store: FeatureStore) -> Any:
    """Return who history knows."""
    return store.history(NOTES)["user"].to_pylist()


def read_now(store: FeatureStore) -> Any:
    """Return what was said by a person as history has it now."""
    return store.get_online_features("notes", {"user": [CAROL]}, fallback="offline").to_dicts()[0]["note"]


def read_then(store: FeatureStore) -> Any:
    """Return what was said by a person by some moment, from the state that is the newest as it begins."""
    spine = {"user": [CAROL], "event_timestamp": [datetime(2024, 5, 1, tzinfo=UTC)]}
    return store.get_historical_features(spine, ["notes"]).table["note"].to_pylist()


def read_winners(store: FeatureStore) -> Any:
    """Return how many persons have a row that wins."""
    return store.offline.winners(store.view("notes"), until=10**17).total


@pytest.mark.parametrize(
    ("read", "answer"), [(read_history, [ALICE, CAROL]), (read_now, "c"), (read_winners, 2), (read_then, None)]
)
def test_who_reads_meanwhile(
    store: FeatureStore, other: FeatureStore, monkeypatch: pytest.MonkeyPatch, read: Callable[[Any], Any], answer: Any
) -> None:
    """A read of the newest state as its files go reads what is newest then; an older one is refused with the reason."""
    files, deeds = store.offline._files, [other]  # type: ignore[attr-defined]

    def listed(*arguments: Any) -> Any:
        found = files(*arguments)
        while deeds:
            forget(deeds.pop(), BOB)
        return found

    monkeypatch.setattr(store.offline, "_files", listed)
    if answer is None:
        with pytest.raises(OfflineStoreError, match=r"can't be read any more: .* had to be forgotten"):
            read(store)
    else:
        assert read(store) == answer
    assert not deeds


def test_a_damaged_file_is_told(store: FeatureStore, other: FeatureStore) -> None:
    """A file that is there and can't be searched ends the forgetting, as before: it may hold the person."""
    damaged = next(path for path in Path(store.directory).rglob("*.parquet") if "month=2024-03" in str(path))
    forget(other, CAROL)
    damaged.write_bytes(b"PAR1")
    with pytest.raises(OfflineStoreError, match="can't erase from its history"):
        forget(store, ALICE)


def test_a_lost_file_is_told(store: FeatureStore, other: FeatureStore) -> None:
    """A file of the newest state that is gone without a word is no erasure: nobody waits for another state."""
    next(Path(store.directory).rglob("*.parquet")).unlink()
    with pytest.raises(OfflineStoreError, match=r"can't read its history.*if that was just now, repeat it"):
        other.history(NOTES)
