"""Filling the online store: in batches, resumed where it was cut off, by several at once, never half true."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from fs_core.materialization import materialize as filling
from fs_core.materialization.watermark import Progress
from fs_core.online.redis import RedisOnlineStore

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("counter", entity=USER, fields=[Field("x", "int64", "X.")], description="Counts.")
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def served(online_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    """A store on each online store in turn that sends ten rows at a time, with a hundred users in its history."""
    monkeypatch.setattr(filling, "BATCH_ROWS", 10)
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(VIEW)
        store.write(VIEW, users(range(100), 0))
        yield store


def users(ids: Any, day: int) -> dict[str, Any]:
    """A row for each user, whose value is a thousand times the day plus the user."""
    moment = START + timedelta(days=day)
    return {"user_id": list(ids), "event_timestamp": [moment] * len(ids), "x": [1000 * day + i for i in ids]}


def held(store: FeatureStore, count: int = 100) -> list[Any]:
    """Return each user's value online."""
    return store.get_online_features(VIEW, {"user_id": list(range(count))}).to_arrow()["x"].to_pylist()


def progress_of(store: FeatureStore) -> Progress:
    """Return what is kept of how far the online store has been filled."""
    text = store.online.watermark(VIEW.storage_name)
    assert text is not None
    return Progress.from_text(text, VIEW)


def break_after(
    monkeypatch: pytest.MonkeyPatch, store: FeatureStore, batches: int, then: Callable[[], object] | None = None
) -> list[int]:
    """Let the online store take so many batches, then do something or fail; return the sizes of what it took."""
    write, sizes = store.online.write, list[int]()

    def failing(view: str, rows: Any) -> int:
        if len(sizes) == batches:
            if then is None:
                raise OnlineStoreError("the server is gone")
            then()
        sizes.append(len(rows))
        return write(view, rows)

    monkeypatch.setattr(store.online, "write", failing)
    return sizes


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"life": "x", "until": 5}', '{"life": "x", "run": {}}'])
def test_damaged_progress_is_told(store: FeatureStore, text: str) -> None:
    """Where what is kept beside the rows makes no sense, an error names the view and the way out, which works."""
    store.apply(VIEW)
    store.write(VIEW, users(range(3), 0))
    store.materialize()
    held_before = store.online.watermark(VIEW.storage_name)
    assert store.online.swap_watermark(VIEW.storage_name, held_before, text)
    message = r"'counter:v1\.0\.0'.*rebuild=True"
    with pytest.raises(OnlineStoreError, match=message):
        store.materialize()
    with pytest.raises(OnlineStoreError, match=message) as error:
        store.push(VIEW, users([0], 1))
    assert "safe in history" in str(error.value.__notes__)
    with pytest.raises(OnlineStoreError, match=message) as error:
        store.forget("user", {"user_id": [2]})
    assert "Repeat forget" in str(error.value.__notes__)
    assert held(store, 2) == [0, 1]
    store.materialize(rebuild=True)
    store.forget("user", {"user_id": [2]})
    assert held(store, 3) == [1000, 1, None]


def test_a_run_that_was_cut_off_is_finished(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged isn't sent again; the moment isn't reached before the end; then all is there."""
    with monkeypatch.context() as broken:
        break_after(broken, served, 4)
        with pytest.raises(OnlineStoreError, match="gone"):
            served.materialize()
    left = progress_of(served)
    assert (left.reached, left.after) == (None, 39)
    assert held(served) == [*range(40), *[None] * 60]
    sizes = break_after(monkeypatch, served, 99)
    assert served.materialize()[0].rows == 60
    assert sum(sizes) == 60
    assert held(served) == list(range(100))
    assert progress_of(served).reached is not None


def test_what_was_written_while_it_was_cut_off_comes_too(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the old run is sent first, then what came since; so no row is skipped, whatever its seq."""
    with monkeypatch.context() as broken:
        break_after(broken, served, 5)
        with pytest.raises(OnlineStoreError):
            served.materialize()
    served.write(VIEW, users(range(0, 100, 3), 1))
    served.offline.compact(VIEW)
    served.materialize()
    assert held(served) == [i + (1000 if i % 3 == 0 else 0) for i in range(100)]
    assert served.verify_online(VIEW).total == 0


def test_a_later_run_that_is_cut_off(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run since a moment goes on as a run since that moment."""
    served.materialize()
    served.write(VIEW, users(range(50), 1))
    with monkeypatch.context() as broken:
        break_after(broken, served, 2)
        with pytest.raises(OnlineStoreError):
            served.materialize()
    before = progress_of(served)
    assert before.reached is not None
    assert before.run is not None
    assert served.materialize()[0].rows == 30
    assert served.verify_online(VIEW).total == 0


def test_repeating_sends_nothing(served: FeatureStore) -> None:
    """A second run has nothing to do."""
    assert served.materialize()[0].rows == 100
    assert served.materialize()[0].rows == 0


def test_rows_lost_meanwhile_are_not_marked_as_done(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who empties the store during a run makes it fail; the next one sends everything."""
    with monkeypatch.context() as broken:
        break_after(broken, served, 5, then=lambda: served.online.drop(VIEW.storage_name))
        with pytest.raises(OnlineStoreError, match=r"'counter:v1\.0\.0': its online rows were dropped or lost"):
            served.materialize()
    assert served.online.watermark(VIEW.storage_name) is None
    served.materialize()
    assert held(served) == list(range(100))


def test_a_state_that_is_gone_is_started_afresh(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cut-off run's state of history can't be read any more, the next run does all of it."""
    with monkeypatch.context() as broken:
        break_after(broken, served, 5)
        with pytest.raises(OnlineStoreError):
            served.materialize()
    served.forget("user", {"user_id": [7]})
    served.materialize()
    assert held(served) == [None if i == 7 else i for i in range(100)]
    assert served.verify_online(VIEW).total == 0


def test_several_runs_at_once(served: FeatureStore) -> None:
    """Threads that materialize and write at once all succeed; one more run, and nothing differs."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                served.materialize()
        except BaseException as error:  # noqa: BLE001  # shown below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for day in range(1, 6):
        served.write(VIEW, users(range(0, 100, day), day))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    served.materialize()
    assert served.verify_online(VIEW).total == 0


def test_rows_dropped_under_a_run_are_sent_again(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that begins and ends while another process's drop walks through the keys isn't counted as done."""
    with FeatureStore(tmp_path / "store", online=redis_url) as store:
        store.apply(VIEW)
        store.write(VIEW, users(range(100), 0))
        store.materialize()
        scanned, met = RedisOnlineStore._scanned, list[int]()

        def walk(online: RedisOnlineStore, view: str) -> Iterator[list[bytes]]:
            if not met:
                met.append(store.materialize()[0].rows)
            yield from scanned(online, view)

        monkeypatch.setattr(RedisOnlineStore, "_scanned", walk)
        assert store.drop_online(VIEW) == 100
        assert met == [100]
        assert held(store) == [None] * 100
        assert store.materialize()[0].rows == 100
        assert held(store) == list(range(100))


def test_rebuilding_on_a_full_server_drops_nothing(redis_url: str, tmp_path: Path) -> None:
    """A server that refuses writes keeps the rows that it has, and the error doesn't mention dropped ones."""
    with FeatureStore(tmp_path / "store", online=redis_url) as store, Redis.from_url(redis_url) as server:
        store.apply(VIEW)
        store.write(VIEW, users(range(3), 0))
        store.materialize()
        server.config_set("maxmemory", 1)
        try:
            with pytest.raises(OnlineStoreError, match="out of memory") as caught:
                store.materialize(rebuild=True)
        finally:
            server.config_set("maxmemory", 0)
        assert not hasattr(caught.value, "__notes__")
        assert held(store, 3) == [0, 1, 2]


def test_rebuilding_that_fails_says_what_is_gone(served: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows were dropped before the online store failed, the error says so; where it was asked for."""
    served.materialize()
    for rebuild in (True, False):
        with monkeypatch.context() as broken:
            break_after(broken, served, 1)
            with pytest.raises(OnlineStoreError) as caught:
                served.materialize(rebuild=rebuild)
        notes = getattr(caught.value, "__notes__", [])
        assert [note for note in notes if "were dropped; reads find nothing" in note] == notes[:rebuild]
        assert len(notes) == rebuild
    served.materialize()
    assert held(served) == list(range(100))
