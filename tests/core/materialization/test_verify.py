"""Comparing the online store with the rule: each kind of difference is found, shown and mended."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from redis import Redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, NotOnlineError, OnlineStoreError
from fs_core.materialization import recent
from fs_core.online.contract import OnlineRows, OnlineWrite, timeline_name
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.row.codec import RowCodec

USER = Entity("user", keys={"user_id": "int64", "region": "string"}, description="U.")
VIEW = FeatureView("counter", entity=USER, fields=[Field("x", "int64", "X.")], description="Counts.")
NAME = VIEW.storage_name
START = datetime(2024, 1, 1, tzinfo=UTC)


def users(*ids: int, day: int = 0, x: int | None = None) -> dict[str, Any]:
    """A row for each user."""
    moment = START + timedelta(days=day)
    return {
        "user_id": list(ids),
        "region": [f"é{i}" for i in ids],
        "event_timestamp": [moment] * len(ids),
        "x": [i if x is None else x for i in ids],
    }


@pytest.fixture
def filled(online_url: str, tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with ten users online, on each online store in turn."""
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(VIEW)
        store.write(VIEW, users(*range(10)))
        store.materialize()
        yield store


def key(user: int) -> bytes:
    """Return a user's key bytes."""
    return RowCodec(VIEW).keys(pa.table({"user_id": [user], "region": [f"é{user}"]}))[0]  # type: ignore[return-value]


def packed(user: int, *, day: int, seq: int, x: int, view: FeatureView = VIEW) -> OnlineWrite:
    """Return a packed row that history need not know."""
    moment = START + timedelta(days=day)
    row = {
        "user_id": user,
        "region": f"é{user}",
        "__event_time": moment,
        "__available_at": moment,
        "__seq": seq,
        "x": x,
    }
    from fs_core.rule import history_schema

    return RowCodec(view).encode(pa.Table.from_pylist([row], schema=history_schema(view)))[0]


def of_another_key(write: OnlineWrite, key: bytes) -> bytes:
    """Return a row sealed as that of another key."""
    seal = int.from_bytes(write.row[:4], "little") ^ zlib.crc32(write.key) ^ zlib.crc32(key)
    return seal.to_bytes(4, "little") + write.row[4:]


def put(store: FeatureStore, *writes: OnlineWrite, name: str = NAME) -> None:
    """Put rows online, whatever is there."""
    store.online.delete(name, [write.key for write in writes])
    store.online.write(name, list(writes))


@pytest.mark.parametrize("how", ["rebuilt", "dropped"])
def test_a_key_of_another_type(redis_url: str, tmp_path: Path, how: str) -> None:
    """A row that something else has overwritten counts as missing; a push and a repair say how to get rid of it."""
    with FeatureStore(tmp_path / "store", online=redis_url) as store, Redis.from_url(redis_url) as client:
        store.apply(VIEW)
        store.write(VIEW, users(1, 2))
        store.materialize()
        (name,) = RedisOnlineStore(redis_url, project=store.registry.project)._names.rows([key(1)], NAME)
        client.delete(name)
        client.rpush(name, "no row")
        assert store.verify_online("counter").differences == {"missing": 1}
        for call in (lambda: store.push("counter", users(1, day=1)), lambda: store.verify_online(VIEW, repair=True)):
            with pytest.raises(OnlineStoreError, match=r"Something else has written under this project's keys"):
                call()
        if how == "dropped":
            store.drop_online("counter")
        store.materialize(rebuild=how == "rebuilt")
        assert (store.verify_online("counter").total, store.push("counter", users(1, day=2))) == (0, 1)


def test_nothing_differs(filled: FeatureStore) -> None:
    """After a materialize there is no difference, and evidence is empty in the right columns."""
    found = filled.verify_online("counter")
    assert (found.entities, found.online, found.total, found.repaired) == (10, 10, 0, 0)
    assert found.evidence.num_rows == 0
    assert found.evidence.column_names[:3] == ["user_id", "region", "__problem"]


def test_each_kind_of_difference(filled: FeatureStore) -> None:
    """Missing, stale, wrong, ahead, unknown and corrupt rows are distinguished, shown with evidence, and mended."""
    filled.write(VIEW, users(1, day=1, x=100))
    filled.online.delete(NAME, [key(0)])
    put(filled, packed(2, day=0, seq=2, x=-1), packed(3, day=9, seq=99, x=3), packed(77, day=0, seq=77, x=7))
    put(filled, OnlineWrite(key(4), packed(4, day=0, seq=4, x=4).row[:-1] + b"?"))
    foreign = b"no key of this view"
    put(filled, OnlineWrite(foreign, of_another_key(packed(5, day=0, seq=5, x=5), foreign)))
    put(filled, OnlineWrite(key(6), packed(5, day=0, seq=5, x=5).row))
    found = filled.verify_online("counter")
    assert found.differences == {"ahead": 1, "corrupt": 2, "missing": 1, "stale": 1, "unknown": 2, "wrong": 1}
    shown = {row["user_id"]: row for row in found.evidence.to_pylist()}
    problems = {user: row["__problem"] for user, row in shown.items()}
    expected = {
        0: "missing",
        1: "stale",
        2: "wrong",
        3: "ahead",
        4: "corrupt",
        6: "corrupt",
        77: "unknown",
        None: "unknown",
    }
    assert problems == expected
    assert (shown[1]["__seq"], shown[1]["__online_seq"]) == (10, 1)
    assert shown[1]["__event_time"] == START + timedelta(days=1)
    assert (shown[0]["__seq"], shown[0]["__online_seq"]) == (0, None)
    assert shown[None]["__key"] == foreign
    mended = filled.verify_online("counter", repair=True)
    assert (mended.differences, mended.repaired) == (found.differences, 8)
    assert filled.verify_online("counter").total == 0
    asked = {"user_id": list(range(10)), "region": [f"é{i}" for i in range(10)]}
    assert filled.get_online_features(VIEW, asked).to_arrow()["x"].to_pylist() == [0, 100, *range(2, 10)]


def test_recent_rows_are_compared_too(online_url: str, tmp_path: Path) -> None:
    """Among recent rows, one that history doesn't know and damage are found, shown and taken away; others stay."""
    view = FeatureView("recent", entity=USER, fields=VIEW.fields, description="R.", online_history="9000d")
    name = view.storage_name
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(view)
        for day in (0, 1):
            store.write(view, users(0, 1, 2, day=day))
            store.materialize()
        asked = [(timeline_name(name), [key(0), key(1), key(2)])]
        assert store.verify_online("recent").total == 0
        timelines: list[Any] = store.online.read(asked)[0]
        stray = [packed(0, day=0, seq=99, x=-1, view=view)]
        recent.write(view, store.online, OnlineRows.of(stray), 0)
        damaged = timelines[1][:-1] + bytes([timelines[1][-1] ^ 1])
        put(store, OnlineWrite(key(1), damaged), name=timeline_name(name))
        found = store.verify_online("recent", repair=True)
        assert (found.differences, found.repaired) == ({"corrupt": 1, "unknown": 1}, 2)
        shown = {row["user_id"]: (row["__problem"], row["__online_seq"]) for row in found.evidence.to_pylist()}
        assert shown == {0: ("unknown", 99), 1: ("corrupt", None)}
        assert store.online.read(asked)[0] == [None, None, timelines[2]]
        assert store.verify_online("recent").total == 0


def test_evidence_is_bounded(filled: FeatureStore) -> None:
    """All differences are counted, as many are shown as asked for."""
    filled.online.drop(NAME)
    found = filled.verify_online("counter", evidence=3)
    assert (found.total, found.evidence.num_rows) == (10, 3)


def test_rows_that_wait_for_their_lag_are_no_differences(online_url: str, tmp_path: Path) -> None:
    """What isn't available yet is neither missing nor known."""
    view = FeatureView("late", entity=USER, fields=[Field("x", "int64", "X.")], description="L.", lag="100000d")
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(view)
        store.push(view, users(1))
        assert store.verify_online("late").total == 0


def test_rows_that_may_have_been_collected_are_not_missing(online_url: str, tmp_path: Path) -> None:
    """Long after its ttl a row may be gone."""
    view = FeatureView("short", entity=USER, fields=[Field("x", "int64", "X.")], description="S.", ttl="1s")
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(view)
        store.write(view, users(1))
        store.materialize()
        assert store.verify_online("short").total == 0


def test_pushes_meanwhile_are_no_differences(filled: FeatureStore) -> None:
    """While others push, a comparison finds nothing."""
    stop = threading.Event()

    def push() -> None:
        while not stop.is_set():
            filled.push(VIEW, users(3, 50, day=1))
            time.sleep(0.005)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        assert [filled.verify_online("counter").total for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        thread.join()


def test_offline_views_are_refused(store: FeatureStore) -> None:
    """There is nothing to compare."""
    store.apply(FeatureView("off", entity=USER, fields=[Field("x", "int64", "X.")], description="O.", online=False))
    with pytest.raises(NotOnlineError, match="off"):
        store.verify_online("off")


def test_dropping_a_retired_version(filled: FeatureStore) -> None:
    """The old version's rows go, the new one's stay, history too."""
    new = FeatureView("counter", entity=USER, fields=[Field("y", "int64", "Y.")], description="C.", version="2.0.0")
    filled.apply(new)
    filled.push(new, {**{n: v for n, v in users(1).items() if n != "x"}, "y": [1]})
    assert filled.drop_online("counter:v1.0.0") == 10
    assert filled.drop_online("counter:v1.0.0") == 0
    assert filled.get_online_features("counter", {"user_id": [1], "region": ["é1"]}).to_arrow()["y"].to_pylist() == [1]
    assert filled.history("counter:v1.0.0").num_rows == 10


def test_rows_that_a_later_version_is_served_from_are_not_dropped(filled: FeatureStore) -> None:
    """A version that only mends documentation shares its rows; the older name doesn't drop them."""
    filled.apply(FeatureView("counter", entity=USER, fields=VIEW.fields, description="Better.", version="1.0.1"))
    with pytest.raises(DefinitionError, match=r"same rows as 'counter:v1\.0\.1'"):
        filled.drop_online("counter:v1.0.0")
    assert filled.drop_online("counter") == 10
