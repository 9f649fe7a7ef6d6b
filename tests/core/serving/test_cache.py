"""Rows of a moment ago: never older than allowed, never more than allowed, and expiry decided anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, OnlineUnavailableError
from fs_core.online.contract import PartialRead
from fs_core.serving import RowCache
from fs_core.values.times import Clock
from tests.topologies import node

KEYS = [b"a", b"b", b"c", b"d"]
RECENT = FeatureView(
    "recent",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field("x", "int64", "X.")],
    description="Recent.",
    online_history="9000d",
)


class Seconds:
    """A clock that shows what a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "read", "wait"]),
        st.lists(st.sampled_from(KEYS), max_size=5, unique=True),
        st.sampled_from([0.5, 1.0, 3.0]),
    ),
    max_size=30,
)


@given(steps=STEPS, most=st.integers(1, 5))
def test_a_row_is_one_of_those_held_within_its_age(steps: list[Any], most: int) -> None:
    """Whatever is written and read, a row is what the store held at some moment no longer ago than allowed."""
    clock = Seconds()
    cache, version = RowCache(most, clock), 0
    held: dict[bytes, list[tuple[float, bytes | None]]] = {key: [(0.0, None)] for key in KEYS}
    for what, keys, age in steps:
        if what == "wait":
            clock.now += age
        elif what == "write":
            for key in keys:
                version += 1
                held[key].append((clock.now, b"%d" % version))
        else:
            read = cache.ask([("v", keys)], age)
            (found,) = read.whole([[held[key][-1][1] for key in read.rest[0][1]]])
            for key, row in zip(keys, found, strict=True):
                since = [moment for moment, value in held[key] if value == row]
                until = next((m for m, _ in held[key] if m > since[0]), clock.now)
                assert until >= clock.now - age
            assert len(cache) <= most


def test_only_what_is_not_known_is_fetched() -> None:
    """Rows, and that there is no row, are known; what is too old, of another view or forgotten is asked for again."""
    clock = Seconds()
    cache = RowCache(3, clock)
    assert cache.ask([("v", [b"a", b"b"])], 1.0).whole([[b"1", None]]) == [[b"1", None]]
    read = cache.ask([("v", [b"c", b"b", b"a"]), ("w", [b"a"])], 1.0)
    assert read.rest == [("v", [b"c"]), ("w", [b"a"])]
    assert read.whole([[b"3"], [b"4"]]) == [[b"3", None, b"1"], [b"4"]]
    assert cache.ask([("v", [b"b"])], 1.0).rest == [("v", [b"b"])]  # the fourth: the one not asked for longest is gone
    clock.now += 1.5
    assert cache.ask([("v", [b"a"])], 1.0).rest == [("v", [b"a"])]
    assert cache.ask([("v", [b"a"])], 2.0).rest == [("v", [])]


def test_a_moment_of_which_only_the_latest_row_is_here(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept row that is too new is unavailable where those before it are; one that will do is served."""
    store.apply(RECENT)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for users, day in (([1, 2], 0), ([1], 2)):
        moments = [start + timedelta(days=day)] * len(users)
        store.write(RECENT, {"user": users, "event_timestamp": moments, "x": [day] * len(users)})
        store.materialize()
    asked = {"user": [1, 2, 3, 1]}
    store.get_online_features("recent", {"user": [1, 2]}, max_age="1h")

    def gone(*_: Any, **__: Any) -> Any:
        raise OnlineUnavailableError("gone")

    monkeypatch.setattr(store.online, "read", gone)
    at = start + timedelta(days=1)
    found = store.get_online_features("recent", asked, at=at, max_age="1h", on_deadline="missing")
    assert found.status["recent"] == ["unavailable", "present", "unavailable", "unavailable"]
    assert found.table["x"].to_pylist() == [None, 0, None, None]
    with pytest.raises(OnlineUnavailableError, match="gone"):
        store.get_online_features("recent", asked, at=at, max_age="1h")


def test_what_belongs_together_is_of_one_read() -> None:
    """A row and its recent rows are kept from one read, or fetched anew; the row alone serves in need."""
    clock = Seconds()
    cache = RowCache(9, clock)
    both, pair = [("v", [b"a", b"b"]), ("v:recent", [b"a", b"b"])], [(0, 1)]
    cache.ask(both, 9.0, pair).whole([[b"1", None], [b"1..", None]])
    assert cache.ask(both, 9.0, pair).rest == [("v", []), ("v:recent", [])]
    clock.now += 1
    cache.ask([("v", [b"a"])], 0.5).whole([[b"2"]])
    assert cache.ask(both, 9.0).rest == [("v", []), ("v:recent", [])]
    read = cache.ask(both, 9.0, pair)
    assert read.rest == [("v", [b"a"]), ("v:recent", [b"a"])]
    part = read.partial(None)
    assert part is not None
    assert part.rows == [[b"2", None], [None, None]]
    assert part.unread[0] is None
    assert part.unread[1].tolist() == [True, False]  # type: ignore[union-attr]
    assert read.whole([[b"3"], [b"3.."]]) == [[b"3", None], [b"3..", None]]
    assert cache.ask(both, 9.0, pair).rest == [("v", []), ("v:recent", [])]


def test_a_fresh_row_beside_older_recent_ones(fresh_directory: Callable[[], Path]) -> None:
    """A moment before the latest row is answered though the recent rows that are kept don't know that row yet."""
    directory, asked = fresh_directory(), {"user": [1]}
    with FeatureStore(directory) as writer, FeatureStore(directory) as reader:
        writer.apply(RECENT)
        start = datetime(2024, 1, 1, tzinfo=UTC)
        for day in (0, 2):
            writer.write(RECENT, {**asked, "event_timestamp": [start + timedelta(days=day)], "x": [day]})
            writer.materialize()
            at = start + timedelta(days=1)
            assert reader.get_online_features("recent", asked, at=at, max_age="1h").to_dicts()[0]["x"] == 0
            assert reader.get_online_features("recent", asked, max_age="1us").to_dicts()[0]["x"] == day
        assert reader.get_online_features("recent", asked, at=at, max_age="1h").to_dicts()[0]["x"] == 0


def test_what_is_here_while_the_rest_is_not() -> None:
    """Where the rest can't be fetched, what is known is served and the gaps are marked."""
    cache = RowCache(9, Seconds())
    assert cache.ask([("v", [b"a"])], 1.0).partial(None) is None
    cache.ask([("v", [b"a"])], 1.0).whole([[b"1"]])
    read = cache.ask([("v", [b"b", b"a", b"c"]), ("v", [b"a"])], 1.0)
    nothing = read.partial(None)
    assert nothing is not None
    assert nothing.rows == [[None, b"1", None], [b"1"]]
    assert nothing.unread[0].tolist() == [True, False, True]  # type: ignore[union-attr]
    assert nothing.unread[1] is None
    part = read.partial(PartialRead([[b"2", None], []], [np.array([False, True]), None]))
    assert part is not None
    assert part.rows == [[b"2", b"1", None], [b"1"]]
    assert part.unread[0].tolist() == [False, False, True]  # type: ignore[union-attr]


class SetClock(Clock):
    """A clock that a test moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = timedelta(0)

    def now(self) -> int:
        """Return the moment, so much ahead."""
        return super().now() + self.ahead // timedelta(microseconds=1)


def test_reads_through_a_store(fresh_directory: Callable[[], Path]) -> None:
    """A read that allows an age sees the row of a moment ago, one that doesn't the newest; an expired row neither."""
    clock = SetClock()
    with FeatureStore(fresh_directory(), clock=clock) as store:
        user = Entity("user", keys={"user": "int64"}, description="A user.")
        store.apply(
            FeatureView("facts", entity=user, fields=[Field("x", "int64", "X.")], ttl="1h", description="Facts.")
        )

        def read(**options: Any) -> Any:
            found = store.get_online_features("facts", {"user": [1, 2]}, **options)
            return found.table["x"].to_pylist(), found.status["facts"]

        now = datetime.now(UTC)
        store.push("facts", {"user": [1], "event_timestamp": [now], "x": [1]})
        assert read(max_age="1h") == ([1, None], ["present", "missing"])
        store.push("facts", {"user": [1, 2], "event_timestamp": [now] * 2, "x": [2, 3]})
        assert read(max_age="1h") == ([1, None], ["present", "missing"])
        assert read() == ([2, 3], ["present", "present"])
        assert read(max_age="0s") == ([2, 3], ["present", "present"])
        clock.ahead = timedelta(hours=2)
        assert read(max_age="1h") == ([None, None], ["expired", "missing"])
        with pytest.raises(ConfigurationError, match="max_age"):
            read(max_age="a while")


@pytest.mark.parametrize("how", ["forget", "drop_online", "rebuild"])
def test_what_is_deleted_is_not_kept(
    fresh_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A store that deletes rows serves none of them any more, whatever age is allowed, though a read be on its way."""
    with FeatureStore(fresh_directory()) as store:
        user = Entity("user", keys={"user": "int64"}, description="A user.")
        store.apply(FeatureView("facts", entity=user, fields=[Field("x", "int64", "X.")], description="Facts."))
        store.push("facts", {"user": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2, "x": [1, 2]})
        fetch = store.online.read

        def read(*users: int) -> Any:
            return store.get_online_features("facts", {"user": list(users)}, max_age="1h").table["x"].to_pylist()

        def delete() -> None:
            if how == "forget":
                store.forget("user", {"user": [1, 2]})
            elif how == "drop_online":
                store.drop_online("facts")
            else:
                store.push("facts", {"user": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2, "x": [3, 4]})
                store.materialize("facts", rebuild=True)

        def slow(*asked: Any, **options: Any) -> Any:
            found = fetch(*asked, **options)
            monkeypatch.setattr(store.online, "read", fetch)
            delete()
            return found

        assert read(1) == [1]
        monkeypatch.setattr(store.online, "read", slow)
        assert read(1, 2) == [1, 2]
        assert read(1, 2) == ([3, 4] if how == "rebuild" else [None, None])


@pytest.mark.parametrize("name", ["Valkey 9.1", "Redis 6.2"])
def test_a_dead_server_and_rows_of_a_moment_ago(fresh_directory: Callable[[], Path], tmp_path: Path, name: str) -> None:
    """What is known is served though the server is gone; what isn't is unavailable."""
    directory = fresh_directory()
    with node(name, tmp_path) as server, FeatureStore(directory, online=server.url) as store:
        user = Entity("user", keys={"user": "int64"}, description="A user.")
        store.apply(FeatureView("facts", entity=user, fields=[Field("x", "int64", "X.")], description="Facts."))
        store.push("facts", {"user": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2, "x": [1, 2]})

        def read(*users: int, **options: Any) -> Any:
            return store.get_online_features("facts", {"user": list(users)}, max_age="1h", **options)

        assert read(1).to_dicts() == [{"user": 1, "x": 1}]
        server.kill()
        assert read(1).to_dicts() == [{"user": 1, "x": 1}]
        with pytest.raises(OnlineUnavailableError):
            read(1, 2)
        assert read(1, 2, on_deadline="missing").status == {"facts": ["present", "unavailable"]}
