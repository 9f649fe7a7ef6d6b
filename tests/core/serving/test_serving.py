"""Online reads through the store: what is served, with which status, and what happens when it can't be."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import redis

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field
from fs_core.errors import (
    ConfigurationError,
    CorruptRowError,
    MomentNotOnlineError,
    NotOnlineError,
    OnlineStoreError,
    OnlineUnavailableError,
    SchemaError,
    UnknownReferenceError,
    ValidationError,
)
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.row.codec import RowCodec
from fs_core.values.times import Clock
from tests.servers import free_port

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
PAIR = Entity("pair", keys={"a": "int64", "b": "int64"}, description="Two of them.")


class SetClock(Clock):
    """A clock that shows what a test sets, and moves on a microsecond each time it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = datetime.now(UTC) + timedelta(days=1)  # no server collects what is alive tomorrow

    def now(self) -> int:
        """Return the moment in microseconds."""
        self.moment += timedelta(microseconds=1)
        return (self.moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def ago(self, **units: float) -> datetime:
        """Return a moment before the one shown."""
        return self.moment - timedelta(**units)


@pytest.fixture
def clock() -> SetClock:
    """A clock set to tomorrow."""
    return SetClock()


@pytest.fixture
def online(tmp_path: Path, online_url: str, clock: SetClock) -> Iterator[FeatureStore]:
    """A store on each online back-end in turn, with two online views and one that isn't."""
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as made:
        define(made)
        yield made


@pytest.fixture
def embedded(store: FeatureStore) -> FeatureStore:
    """The same definitions on the embedded store, with today's clock."""
    define(store)
    return store


def define(store: FeatureStore) -> None:
    """Apply two online views, one that isn't, and a service."""
    x = [Field("x", "int64", "X.")]
    facts = FeatureView("facts", entity=USER, fields=x, ttl="10d", description="Facts about users.")
    pairs = FeatureView("pairs", entity=PAIR, fields=[Field("y", "int64", "Y.")], description="Facts about pairs.")
    secret = FeatureView(
        "kept", entity=USER, fields=[Field("z", "int64", "Z.")], online=False, description="Not served."
    )
    store.apply(facts, pairs, secret, FeatureService("model", features=["facts.*", "pairs.*"]))


def values(store: FeatureStore, *users: int | None, **options: Any) -> list[Any]:
    """Return what is served as `x` of users."""
    found: list[Any] = store.get_online_features("facts", {"user_id": list(users)}, **options).table["x"].to_pylist()
    return found


class TestWhatPeersGetWrong:
    def test_a_correction_with_an_equal_event_time_wins(self, online: FeatureStore, clock: SetClock) -> None:
        """Written later, it wins online and offline alike, pushed or materialized."""
        moment = clock.ago(days=1)
        online.push("facts", {"user_id": [1], "event_timestamp": [moment], "x": [10]})
        online.push("facts", {"user_id": [1], "event_timestamp": [moment], "x": [11]})
        assert values(online, 1) == [11]
        online.write("facts", {"user_id": [2, 2], "event_timestamp": [moment] * 2, "x": [20, 21]})
        online.materialize()
        assert values(online, 2) == [21]
        spine = {"user_id": [1, 2], "event_timestamp": [clock.moment] * 2}
        assert online.get_historical_features(spine, "facts").table["x"].to_pylist() == [11, 21]

    def test_a_late_row_goes_online_if_and_only_if_it_wins(self, online: FeatureStore, clock: SetClock) -> None:
        """A push about the past changes nothing where something newer is held, and counts where nothing is."""
        online.push("facts", {"user_id": [1], "event_timestamp": [clock.ago(days=1)], "x": [10]})
        online.push("facts", {"user_id": [1, 2], "event_timestamp": [clock.ago(days=2)] * 2, "x": [9, 20]})
        assert values(online, 1, 2) == [10, 20]
        online.write("facts", {"user_id": [1, 2], "event_timestamp": [clock.ago(days=1.5)] * 2, "x": [8, 21]})
        online.materialize()
        assert values(online, 1, 2) == [10, 21]

    def test_the_time_before_1970_is_time(self, tmp_path: Path, clock: SetClock) -> None:
        """Beside an entity that nobody knows, a row from before 1970 is neither too new nor expired."""
        clock.moment = datetime(1969, 7, 20, tzinfo=UTC)
        fields = [Field("x", "int64", "A number.")]
        view = FeatureView("moon", entity=USER, fields=fields, ttl="1h", description="Seen from far away.")
        with FeatureStore(tmp_path / "old", clock=clock) as store:
            store.apply(view)
            store.write("moon", {"user_id": [1], "event_timestamp": [clock.ago(minutes=1)], "x": [10]})
            store.materialize()
            found = store.get_online_features("moon", {"user_id": [1, 2]})
        assert found.table["x"].to_pylist() == [10, None]
        assert found.status == {"moon": ["present", "missing"]}

    def test_a_missing_entity_is_missing(self, online: FeatureStore, clock: SetClock) -> None:
        """Not a row of nulls dated 1970: a status says so, and a null inside a row is something else."""
        online.push("facts", {"user_id": [1, 2], "event_timestamp": [clock.moment, clock.ago(days=11)], "x": [None, 5]})
        found = online.get_online_features("facts", {"user_id": [1, 2, 3, None]})
        assert found.status == {"facts": ["present", "expired", "missing", "missing"]}
        assert found.table["x"].to_pylist() == [None] * 4

    def test_composite_keys_never_mix(self, online: FeatureStore, clock: SetClock) -> None:
        """(1, 11), (11, 1) and (111, None) are four different things to ask for."""
        rows = {"a": [1, 11], "b": [11, 1], "event_timestamp": [clock.moment] * 2, "y": [1, 2]}
        online.push("pairs", rows)
        found = online.get_online_features("pairs", {"a": [11, 1, 111, 1], "b": [1, 11, None, 1]})
        assert found.table["y"].to_pylist() == [2, 1, None, None]

    def test_duplicates_and_order_are_kept(self, online: FeatureStore, clock: SetClock) -> None:
        """One row for each entity asked for, in the order asked."""
        online.push("facts", {"user_id": [1, 2], "event_timestamp": [clock.moment] * 2, "x": [10, 20]})
        assert values(online, 2, 1, 3, 2, 2) == [20, 10, None, 20, 20]

    def test_large_numbers_survive_beside_nulls(self, online: FeatureStore, clock: SetClock) -> None:
        """2**53 + 1 is served as it was written, in its type."""
        online.push("facts", {"user_id": [1, 2], "event_timestamp": [clock.moment] * 2, "x": [2**53 + 1, None]})
        found = online.get_online_features("facts", {"user_id": [1, 2]}).table["x"]
        assert found.type == pa.int64()
        assert found.to_pylist() == [2**53 + 1, None]

    def test_what_materialize_sends_depends_on_writing_not_on_event_time(
        self, online: FeatureStore, clock: SetClock
    ) -> None:
        """Rows about long ago that were written since the last time are not skipped."""
        online.write("facts", {"user_id": [1], "event_timestamp": [clock.ago(days=1)], "x": [10]})
        online.materialize()
        online.write("facts", {"user_id": [2], "event_timestamp": [clock.ago(days=5)], "x": [20]})
        done = next(d for d in online.materialize() if d.view.startswith("facts"))
        assert (done.rows, done.applied) == (1, 1)
        assert values(online, 1, 2) == [10, 20]

    def test_a_lag_keeps_rows_back_until_their_time(self, online: FeatureStore, clock: SetClock) -> None:
        """Neither push nor materialize serves a row before event time plus lag."""
        x = [Field("x", "int64", "X.")]
        online.apply(FeatureView("slow", entity=USER, fields=x, lag="1h", description="Known an hour later."))
        online.push("slow", {"user_id": [1], "event_timestamp": [clock.moment], "x": [10]})
        online.materialize()
        assert online.get_online_features("slow", {"user_id": [1]}).status["slow"] == ["missing"]
        clock.moment += timedelta(hours=1)
        online.materialize("slow")
        assert online.get_online_features("slow", {"user_id": [1]}).to_dicts() == [{"user_id": 1, "x": 10}]


class TestRequests:
    @pytest.mark.parametrize(
        "entities",
        [
            {"user_id": [2, 1]},
            {"user_id": np.array([2, 1])},
            {"user_id": pa.array([2, 1], pa.int32())},
            pa.table({"user_id": [2, 1]}),
            pd.DataFrame({"user_id": [2, 1]}),
            pl.DataFrame({"user_id": [2, 1]}),
            [{"user_id": 2}, {"user_id": 1}],
        ],
        ids=["lists", "numpy", "arrow", "table", "pandas", "polars", "dicts"],
    )
    def test_every_form_of_entities(self, embedded: FeatureStore, entities: Any) -> None:
        """A mapping of sequences, an Arrow table, a frame and a list of dicts ask the same."""
        embedded.push("facts", {"user_id": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2, "x": [10, 20]})
        found = embedded.get_online_features("facts", entities)
        assert found.to_dicts() == [{"user_id": 2, "x": 20}, {"user_id": 1, "x": 10}]
        assert found.to_arrow().schema == pa.schema({"user_id": pa.int64(), "x": pa.int64()})
        assert found.to_numpy().tolist() == [[20], [10]]
        assert found.to_pandas()["x"].tolist() == [20, 10]
        assert len(found) == 2

    def test_several_views_in_one_request(self, embedded: FeatureStore) -> None:
        """A service's views each get their keys and their status; keys come once."""
        now = datetime.now(UTC)
        embedded.push("facts", {"user_id": [1], "event_timestamp": [now], "x": [10]})
        embedded.push("pairs", {"a": [1], "b": [2], "event_timestamp": [now], "y": [30]})
        found = embedded.get_online_features("model", {"b": [2, 2], "a": [1, 3], "user_id": [5, 1]})
        assert found.status == {"facts": ["missing", "present"], "pairs": ["present", "missing"]}
        assert found.to_dicts() == [
            {"user_id": 5, "a": 1, "b": 2, "x": None, "y": 30},
            {"user_id": 1, "a": 3, "b": 2, "x": 10, "y": None},
        ]
        full = embedded.get_online_features(["facts.x", "pairs"], {"b": [2], "a": [1], "user_id": [1]}, full_names=True)
        assert full.features == ["facts__x", "pairs__y"]

    def test_nobody_is_asked_for(self, embedded: FeatureStore) -> None:
        """No entities give no rows, in the declared types."""
        found = embedded.get_online_features("facts", {"user_id": pa.array([], pa.int64())})
        assert len(found) == 0
        assert found.table.schema == pa.schema({"x": pa.int64()})
        assert found.to_numpy().shape == (0, 1)

    def test_the_moment_is_that_of_the_read(self, online: FeatureStore, clock: SetClock) -> None:
        """It is aware, and no earlier than what the clock showed."""
        before = clock.moment
        assert online.get_online_features("facts", {"user_id": [1]}).at > before

    @pytest.mark.parametrize(
        ("entities", "says"),
        [
            ({"user": [1]}, r"no column 'user_id', a key of view 'facts'.*Did you mean|Known"),
            ({"user_id": ["1"]}, r"'user_id', a key of view 'facts', is string, declared as int64"),
            ({"user_id": [1.5]}, "row 0 holds 1.5"),
            ({"user_id": [1], "x": [3]}, None),
            (7, "is a int|Pass an Arrow table"),
        ],
    )
    def test_entities_that_do_not_fit(self, embedded: FeatureStore, entities: Any, says: str | None) -> None:
        """The key is named, with its type; columns that are no keys don't matter."""
        if says is None:
            assert len(embedded.get_online_features("facts", entities)) == 1
            return
        with pytest.raises(SchemaError, match=says):
            embedded.get_online_features("facts", entities)

    def test_unknown_names(self, embedded: FeatureStore) -> None:
        """The nearest known one is offered."""
        with pytest.raises(UnknownReferenceError, match="Did you mean 'facts'"):
            embedded.get_online_features("fcats", {"user_id": [1]})

    def test_another_version_is_seen_without_reopening(self, embedded: FeatureStore, tmp_path: Path) -> None:
        """What another process applies is current here, at the latest after the second a plan is trusted."""
        assert values(embedded, 1) == [None]
        with FeatureStore(embedded.directory) as other:
            new = FeatureView(
                "facts", entity=USER, fields=[Field("w", "int64", "W.")], version="2.0.0", description="New."
            )
            other.apply(new)
        for plan, kept in list(embedded._requests._kept.items()):
            embedded._requests._kept[plan] = kept._replace(checked=kept.checked - 2)
        assert embedded.get_online_features("facts", {"user_id": [1]}).features == ["w"]

    def test_threads_share_a_store(self, online: FeatureStore, clock: SetClock) -> None:
        """Reads and pushes from many threads at once neither fail nor mix entities up."""
        online.push("facts", {"user_id": list(range(50)), "event_timestamp": [clock.moment] * 50, "x": list(range(50))})
        wrong: list[Any] = []

        def ask(seed: int) -> None:
            users = np.random.default_rng(seed).integers(0, 60, 20)
            for _ in range(10):
                expected = [int(u) if u < 50 else None for u in users]
                if values(online, *map(int, users)) != expected:
                    wrong.append(users)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def _overwrite(store: FeatureStore, view: FeatureView, key: bytes, damage: Callable[[bytes], bytes]) -> None:
    """Damage a stored row past the store's own guards, as a broken disk or another program would."""
    (held,) = store.online.read([(view.storage_name, [key])])[0]
    assert held is not None
    if isinstance(store.online, RedisOnlineStore):
        with redis.Redis.from_url(store._configuration.online) as client:
            names = client.scan_iter(match=store.online.key_patterns[0], count=1000)
            (name,) = [name for name in names if b"{%b}" % key in name]
            client.set(name, damage(held))
        return
    with closing(sqlite3.connect(Path(store.directory) / "online.db")) as connection, connection:
        connection.execute("UPDATE online_rows SET row = ? WHERE key = ?", (damage(held), key))


def _flip_the_order(row: bytes) -> bytes:
    """Make a row look newer than any other."""
    return row[:4] + b"\xff" + row[5:]


class TestFallback:
    def test_a_view_that_is_not_online(self, embedded: FeatureStore) -> None:
        """The refusal says which and why; history answers if it may."""
        embedded.write("kept", {"user_id": [1], "event_timestamp": [datetime(2024, 1, 1)], "z": [5]})
        with pytest.raises(NotOnlineError, match=r"'kept:v1.0.0'.*online=False.*fallback='offline'"):
            embedded.get_online_features(["kept", "facts"], {"user_id": [1]})
        found = embedded.get_online_features(["kept", "facts"], {"user_id": [1, 2]}, fallback="offline")
        assert found.status == {"kept": ["present", "missing"], "facts": ["missing", "missing"]}
        assert found.table["z"].to_pylist() == [5, None]
        with pytest.raises(NotOnlineError, match="kept"):
            embedded.materialize("kept")

    def test_a_store_that_is_down(self, tmp_path: Path) -> None:
        """The refusal names the server, not its password; history answers if it may, and pushes are not lost."""
        url = f"redis://:swordfish@127.0.0.1:{(port := free_port())}/0"
        with FeatureStore(tmp_path / "store", online=url) as store:
            define(store)
            with pytest.raises(OnlineUnavailableError, match=str(port)) as caught:
                values(store, 1)
            assert "swordfish" not in str(caught.value)
            with pytest.raises(OnlineStoreError) as caught_push:
                store.push("facts", {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "x": [10]})
            assert "safe in history" in "".join(caught_push.value.__notes__)
            assert values(store, 1, 2, fallback="offline") == [10, None]
            assert "swordfish" not in repr(store)

    def test_pushes_made_while_the_store_was_down_come_with_materialize(self, tmp_path: Path, redis_url: str) -> None:
        """Nothing that history took is lost to the online store."""
        with FeatureStore(tmp_path / "store", online=f"redis://127.0.0.1:{free_port()}/0") as down:
            define(down)
            with pytest.raises(OnlineUnavailableError):
                down.push("facts", {"user_id": [1], "event_timestamp": [datetime.now(UTC)], "x": [10]})
        with FeatureStore(tmp_path / "store", online=redis_url) as up:
            assert values(up, 1) == [None]
            up.materialize()
            assert values(up, 1) == [10]

    @pytest.mark.parametrize(
        "damage",
        [lambda row: row[:-1], lambda row: row[:10], lambda _: b"", lambda row: row[:-1] + b"\x07", _flip_the_order],
        ids=["shorter", "truncated", "empty", "other bytes", "another order"],
    )
    def test_a_damaged_row(self, online: FeatureStore, clock: SetClock, damage: Any) -> None:
        """It is never served: the error names view and entity, and history answers if it may."""
        online.push("facts", {"user_id": [1, 2], "event_timestamp": [clock.moment] * 2, "x": [10, 20]})
        view = online.view("facts")
        (key,) = RowCodec(view).keys(pa.table({"user_id": [1]}))
        assert key is not None
        _overwrite(online, view, key, damage)
        with pytest.raises(CorruptRowError, match=r"'facts:v1.0.0'.*user_id=1 .*fallback='offline'"):
            values(online, 1, 2)
        assert values(online, 2) == [20]
        assert values(online, 1, 2, fallback="offline") == [10, 20]
        online.materialize("facts", rebuild=True)
        assert values(online, 1, 2) == [10, 20]

    def test_an_earlier_moment(self, online: FeatureStore, clock: SetClock) -> None:
        """The online store answers for moments at which its row was available; history for the rest, if it may."""
        online.push("facts", {"user_id": [1], "event_timestamp": [clock.ago(days=3)], "x": [10]})
        between = clock.moment
        assert values(online, 1, at=between + timedelta(microseconds=1)) == [10]
        clock.moment += timedelta(hours=1)
        online.push("facts", {"user_id": [1], "event_timestamp": [clock.ago(days=2)], "x": [11]})
        with pytest.raises(MomentNotOnlineError, match=r"user_id=1 was not available yet.*fallback='offline'"):
            values(online, 1, at=between + timedelta(seconds=1))
        assert values(online, 1, at=between + timedelta(seconds=1), fallback="offline") == [10]
        assert values(online, 1, at=clock.moment + timedelta(days=30)) == [None]

    def test_a_fallback_that_is_none(self, embedded: FeatureStore) -> None:
        """Only 'offline' is understood."""
        with pytest.raises(ConfigurationError, match="Pass 'offline'"):
            values(embedded, 1, fallback="history")


class TestFilling:
    def test_materialize_can_be_repeated(self, online: FeatureStore, clock: SetClock) -> None:
        """The second time there is nothing to send; an emptied store is filled again."""
        rows = {"user_id": [1, 2, 2], "event_timestamp": [clock.ago(days=d) for d in (1, 2, 1)], "x": [1, 2, 3]}
        online.write("facts", rows)
        assert [(d.view, d.rows, d.applied) for d in online.materialize("facts")] == [("facts:v1.0.0", 2, 2)]
        assert [(d.rows, d.applied) for d in online.materialize("facts")] == [(0, 0)]
        assert online.online.drop(online.view("facts").storage_name) == 2
        assert values(online, 1, 2) == [None, None]
        assert [d.rows for d in online.materialize("facts")] == [2]
        assert values(online, 1, 2) == [1, 3]

    def test_every_version_is_filled(self, online: FeatureStore, clock: SetClock) -> None:
        """A model pinned to an old version is served what was written to it, whatever is current now."""
        fields = [Field("w", "int64", "W.")]
        online.apply(FeatureView("facts", entity=USER, fields=fields, version="2.0.0", description="New facts."))
        online.write("facts:v1.0.0", {"user_id": [1], "event_timestamp": [clock.ago(days=1)], "x": [7]})
        assert {d.view for d in online.materialize()} == {"facts:v1.0.0", "facts:v2.0.0", "pairs:v1.0.0"}
        found = online.get_online_features("facts:v1.0.0", {"user_id": [1]})
        assert found.table["x"].to_pylist() == [7]

    def test_until_is_a_moment_of_the_past(self, online: FeatureStore, clock: SetClock) -> None:
        """Only what was available by then goes online; the future is refused."""
        rows = {"user_id": [1, 1], "event_timestamp": [clock.ago(days=3), clock.ago(days=1)], "x": [1, 2]}
        online.write("facts", rows)
        online.materialize("facts", until=clock.ago(days=2))
        assert values(online, 1) == [1]
        online.materialize("facts")
        assert values(online, 1) == [2]
        with pytest.raises(ConfigurationError, match="in the future"):
            online.materialize(until=clock.moment + timedelta(days=1))

    def test_many_rows_in_several_batches(self, online: FeatureStore, clock: SetClock) -> None:
        """More rows than fit one batch, each with its own value."""
        count = 25_000
        rows = {"user_id": range(count), "event_timestamp": [clock.moment] * count, "x": range(count)}
        assert online.push("facts", {name: list(column) for name, column in rows.items()}) == count
        assert values(online, 0, 9_999, 10_000, 24_999, 25_000) == [0, 9_999, 10_000, 24_999, None]

    @pytest.mark.parametrize(
        ("rows", "error", "says"),
        [
            ({"user_id": [1, None], "x": [1, 2]}, ValidationError, r"'user_id' is null in row 1"),
            ({"user_id": [1, 2], "x": ["a", "b"]}, SchemaError, r"'x' is string, declared as int64"),
            ({"user_id": [1, 2]}, SchemaError, r"missing column 'x'"),
            ({"user_id": [1, 2], "x": [1, 2], "w": [1, 2]}, SchemaError, r"unexpected column 'w'"),
            (
                {"user_id": [1, 2], "x": [1, 2], "event_timestamp": None},
                SchemaError,
                r"missing column 'event_timestamp'",
            ),
        ],
    )
    def test_bad_rows_reach_neither_history_nor_the_online_store(
        self, embedded: FeatureStore, rows: dict[str, Any], error: type[Exception], says: str
    ) -> None:
        """A push is all or nothing, as a write is."""
        rows = {"event_timestamp": [datetime.now(UTC)] * 2, **rows}
        rows = {name: column for name, column in rows.items() if column is not None}
        for take in (embedded.push, embedded.write):
            with pytest.raises(error, match=says):
                take("facts", rows)
        assert embedded.history("facts").num_rows == 0
        assert values(embedded, 1, 2) == [None, None]
