"""The store as one object: made, opened, shared, refused; and what several processes do with it at once."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    FeatureStoreError,
    OnlineStoreError,
    RegistryError,
    SchemaError,
    SourceError,
    UnknownReferenceError,
    VersionConflictError,
)
from fs_core.offline.contract import EMPTY
from fs_core.store import requests
from fs_core.testing.processes import FRESH

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")


def counter(**changes: Any) -> FeatureView:
    """A view with one whole number for each user."""
    settings: dict[str, Any] = {"fields": [Field("x", "int64", "X.")], "description": "Counts."}
    return FeatureView("counter", entity=USER, **{**settings, **changes})


def rows(*numbers: int, user: int = 1) -> dict[str, Any]:
    """Rows of one user, a day apart."""
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in numbers]
    return {"user_id": [user] * len(numbers), "event_timestamp": days, "x": list(numbers)}


class TestApplying:
    def test_two_features_of_one_name_are_refused(self, store: FeatureStore) -> None:
        """Names that are one name to a database are both named, before anything is registered."""
        with pytest.raises(DefinitionError, match="'x' and 'X' are one name"):
            store.apply(counter(fields=[Field("x", "int64", "X."), Field("X", "int64", "X.")]))
        with pytest.raises(DefinitionError, match="'user_id'"):
            store.apply(counter(fields=[Field("user_id", "int64", "X.")]))
        assert store.registry.listing() == []

    def test_a_version_keeps_its_content(self, store: FeatureStore) -> None:
        """Once it has rows; the refusal shows what differs and which version to give, and the registered one stays."""
        store.apply(counter())
        store.write("counter", rows(1))
        with pytest.raises(VersionConflictError, match=r"fields.x.dtype: 'int64' -> 'int32'(.|\n)*version '2.0.0'"):
            store.apply(counter(fields=[Field("x", "int32", "X.")]))
        assert store.view("counter").features == {"x": pa.int64()}

    def test_what_is_no_definition_is_refused(self, store: FeatureStore) -> None:
        """A list of definitions is fine, a string is not."""
        assert len(store.apply([USER, counter()]).changed) == 2
        with pytest.raises(DefinitionError, match="'counter' is no definition"):
            store.apply("counter")  # type: ignore[arg-type]

    def test_sql_over_an_unknown_table_is_refused(self, store: FeatureStore) -> None:
        """The table is named, with the nearest source; the same SQL passes with its source."""
        orders = Source("orders", path="orders.csv")
        view = counter(source=SQL("SELECT user_id, seen AS event_timestamp, x FROM orders"))
        with pytest.raises(UnknownReferenceError, match=r"'orders', which is no registered source"):
            store.apply(view)
        assert store.registry.listing() == []
        assert [change.kind for change in store.apply(view, orders)] == ["source", "entity", "view"]

    def test_sql_that_does_not_parse_is_refused(self, store: FeatureStore) -> None:
        """DuckDB's own words say where."""
        with pytest.raises(SourceError, match="syntax error"):
            store.apply(counter(source=SQL("SELEC user_id FROM orders")))


class TestSources:
    @pytest.fixture
    def orders(self, tmp_path: Path) -> Source:
        """A CSV file of orders."""
        (tmp_path / "orders.csv").write_text("user_id,seen,x\n1,2024-01-01,5\n1,2024-01-03,7\n2,2024-01-02,9\n")
        return Source("orders", path=tmp_path / "orders.csv")

    def test_backfill_runs_sql(self, store: FeatureStore, orders: Source) -> None:
        """What the query yields is appended, all of it or between two moments."""
        query = (
            "SELECT user_id, seen AS event_timestamp, sum(x) OVER (PARTITION BY user_id ORDER BY seen) AS x FROM orders"
        )
        store.apply(orders, counter(source=SQL(query)))
        assert store.backfill("counter", start="2024-01-02", end=datetime(2024, 1, 3)) == 1
        assert store.backfill("counter") == 3
        assert sorted(store.history("counter")["x"].to_pylist()) == [5, 9, 9, 12]

    def test_backfill_reads_a_plain_source(self, store: FeatureStore, orders: Source) -> None:
        """A source whose columns carry the fields' names needs no SQL."""
        store.apply(counter(source=orders, event_timestamp="seen"))
        assert store.backfill("counter") == 3

    @pytest.mark.parametrize(
        ("sql", "says"),
        [
            ("SELECT user_id, seen AS event_timestamp, error('boom') AS x FROM orders", "boom"),
            ("SELECT *, seen AS event_timestamp FROM orders", "yields 'seen' beyond the view's columns"),
            ("SELECT user_id, seen AS event_timestamp, 'many' AS x FROM orders", "'x' is string, declared as int64"),
        ],
    )
    def test_sql_that_fails_or_yields_something_else(
        self, store: FeatureStore, orders: Source, sql: str, says: str
    ) -> None:
        """The view and the reason are named; nothing is written."""
        store.apply(orders, counter(source=SQL(sql)))
        with pytest.raises(FeatureStoreError, match=f"view 'counter'.*{says}"):
            store.backfill("counter")
        assert store.history("counter").num_rows == 0

    def test_a_view_without_a_source(self, store: FeatureStore) -> None:
        """There is nothing to run; the ways to fill it are named."""
        store.apply(counter())
        with pytest.raises(SourceError, match="Use write or push"):
            store.backfill("counter")


class TestPlaces:
    def test_a_made_store_remembers_its_settings(self, tmp_path: Path) -> None:
        """The directory alone opens it again; opening by the environment is the same store."""
        directory = tmp_path / "made"
        FeatureStore.create(directory, online=f"sqlite:///{tmp_path / 'elsewhere.db'}").close()
        with FeatureStore(directory) as store:
            store.apply(counter())
            store.push("counter", rows(1))
        assert (tmp_path / "elsewhere.db").exists()
        assert not (directory / "online.db").exists()

    def test_without_a_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a directory and FS_STORE there is nothing to open."""
        monkeypatch.delenv("FS_STORE", raising=False)
        with pytest.raises(ConfigurationError, match="FS_STORE"):
            FeatureStore()

    def test_a_closed_store_opens_again(self, store: FeatureStore) -> None:
        """Closing releases connections; the next call opens new ones."""
        store.apply(counter())
        store.push("counter", rows(1))
        store.close()
        store.close()
        assert store.get_online_features("counter", {"user_id": [1]}).to_dicts() == [{"user_id": 1, "x": 1}]

    @pytest.mark.parametrize("use", ["read", "write", "push"])
    def test_a_closed_store_lives_no_longer_than_its_user(self, store: FeatureStore, use: str) -> None:
        """Nothing that it keeps holds it in a circle, so its files are released without waiting for the collector."""
        thing = Entity("thing", keys={"k": "int64"})
        store.apply(FeatureView("v", thing, [Field("x", "int64", "X.")], description="V."))
        gc.collect()
        gc.disable()
        try:
            with FeatureStore(store.directory) as used:
                row = {"k": [1], "event_timestamp": [datetime.now(UTC)], "x": [1]}
                if use == "read":
                    used.get_online_features("v", {"k": [1]})
                else:
                    getattr(used, use)("v", row)
            seen = weakref.ref(used)
            del used
            assert seen() is None
        finally:
            gc.enable()

    def test_requests_that_are_made_up_are_not_kept_for_ever(self, store: FeatureStore) -> None:
        """The last ones are, and those still in use."""
        thing = Entity("thing", keys={"k": "int64"})
        store.apply(FeatureView("v", thing, [Field("x", "int64", "X.")], description="V."))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(requests, "_MOST", 3)
            patched.setattr(requests, "FRESH_SECONDS", 0.0)  # so that each use is seen
            for number in range(5):
                store.select(f"v@2100-01-0{number + 1}T00:00:00Z")
                store.select("v")
        assert len(store._requests._kept) == 3
        assert store._requests.fresh("v", False)

    def test_a_registry_and_history_elsewhere(self, tmp_path: Path) -> None:
        """Any SQLAlchemy URL holds definitions; two stores share them, not their rows."""
        url = f"sqlite:///{tmp_path / 'shared.db'}"
        with FeatureStore(tmp_path / "a", registry=url) as one, FeatureStore(tmp_path / "b", registry=url) as two:
            one.apply(counter())
            one.write("counter", rows(1))
            assert two.view("counter") == one.view("counter")
            assert two.history("counter").num_rows == 0
        assert not (tmp_path / "a" / "registry.db").exists()

    def test_a_read_only_store_answers_and_refuses_to_change(self) -> None:
        """Without write permission every read works, the online one too; each change is refused by name."""
        directory = Path(tempfile.mkdtemp())
        try:
            with FeatureStore(directory / "store") as store:
                store.apply(counter())
                store.write("counter", rows(1, 2))
                store.materialize()
            with FRESH.Pool(1) as pool:
                answers, refusals = pool.apply(_use_without_permission, (directory,))
        finally:
            shutil.rmtree(directory)
        assert answers == [["counter"], [2], [2], 2]
        assert refusals[:3] == [RegistryError, RegistryError, OnlineStoreError]
        assert issubclass(refusals[3], ConfigurationError)


def _use_without_permission(directory: Path) -> tuple[list[Any], list[type]]:
    """Use a store as somebody who may only read it; root may do anything, so it steps down first."""
    _ask(FeatureStore(directory / "store"))  # what is imported late may lie where nobody else may read
    everything = [directory, *directory.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    store = FeatureStore(directory / "store")
    answers = _ask(store)
    attempts = [
        lambda: store.apply(counter(version="2.0.0", ttl="1d")),
        lambda: store.write("counter", rows(3)),
        lambda: store.online.swap_watermark("v", None, "x"),
        lambda: FeatureStore(directory / "another"),
    ]
    refusals = [_refused(attempt) for attempt in attempts]
    if os.getuid() == 0:
        os.seteuid(0)
    for path in everything:
        path.chmod(0o755)
    return answers, refusals


def _ask(store: FeatureStore) -> list[Any]:
    spine = {"user_id": [1], "event_timestamp": [datetime(2025, 1, 1)]}
    return [
        [r.definition.name for r in store.registry.listing("view")],
        store.get_historical_features(spine, "counter").table["x"].to_pylist(),
        store.get_online_features("counter", {"user_id": [1]}).table["x"].to_pylist(),
        store.history("counter").num_rows,
    ]


def _refused(attempt: Any) -> type:
    try:
        attempt()
    except OnlineStoreError:
        return OnlineStoreError
    except FeatureStoreError as error:
        return type(error)
    return type(None)


class TestSharing:
    def test_processes_push_at_once(self, tmp_path: Path) -> None:
        """No row is lost or numbered twice, and what is served is what history says wins."""
        with FeatureStore(tmp_path / "store") as store:
            store.apply(counter())
            with FRESH.Pool(2) as pool:
                pool.starmap(_push_many, [(store, 0), (store, 1)])
            history = store.history("counter")
            assert sorted(history["x"].to_pylist()) == list(range(40))
            assert sorted(history["__seq"].to_pylist()) == list(range(40))
            served = store.get_online_features("counter", {"user_id": [1]})
            spine = {"user_id": [1], "event_timestamp": [served.at]}
            assert served.table["x"] == store.get_historical_features(spine, "counter").table["x"]

    def test_threads_write_at_once(self, store: FeatureStore) -> None:
        """One instance takes writes from many threads."""
        store.apply(counter())
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda n: store.write("counter", rows(n)), range(24))) == [1] * 24
        assert sorted(store.history("counter")["x"].to_pylist()) == list(range(24))

    def test_a_pickled_store_opens_what_it_was(self, tmp_path: Path) -> None:
        """A pickle is configuration: small, and without open handles."""
        with FeatureStore(tmp_path / "store") as store:
            store.apply(counter())
            store.push("counter", rows(1))
            text = pickle.dumps(store)
            assert len(text) < 500
            with pickle.loads(text) as again:
                assert again.get_online_features("counter", {"user_id": [1]}).table["x"].to_pylist() == [1]

    def test_events_are_logged_without_values_or_secrets(
        self, store: FeatureStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Writes and materializations say view, rows and seconds, under one logger."""
        store.apply(counter())
        with caplog.at_level(logging.INFO, "fs_core"):
            store.write("counter", {**rows(1), "x": [8_675_309]})
            store.materialize()
        assert [record.name for record in caplog.records] == ["fs_core"] * 2
        assert caplog.messages[0] == "wrote 1 rows to counter:v1.0.0"
        assert "8675309" not in caplog.text
        assert caplog.messages[1].startswith("materialized counter:v1.0.0: 1 rows, 1 applied")


def _push_many(store: FeatureStore, worker: int) -> None:
    for n in range(20):
        store.push("counter", rows(2 * n + worker))


MISTAKES: dict[str, tuple[type[FeatureStoreError], str, Callable[[FeatureStore], object]]] = {
    "key": (SchemaError, "'user_id'.*sequence", lambda s: s.get_online_features("counter", {"user_id": 5})),
    "row": (SchemaError, "'x'.*sequence", lambda s: s.write("counter", {**rows(0), "x": 5})),
    "spine": (SchemaError, "sequence", lambda s: s.get_historical_features({**rows(0), "user_id": 5}, "counter")),
    "forgotten": (SchemaError, "sequence", lambda s: s.forget("user", {"user_id": 1})),
    "views": (DefinitionError, r"\['counter'\] is no reference", lambda s: s.materialize(["counter"])),  # type: ignore[arg-type]
    "a feature": (
        DefinitionError,
        r"'counter.n@production' names a feature, and here a view is meant. Write 'counter@production'",
        lambda s: s.push("counter.n@production", {}),
    ),
    "no view": (DefinitionError, "None is no reference", lambda s: s.verify_online(None)),  # type: ignore[arg-type]
    "version": (DefinitionError, "5 is no reference", lambda s: s.retire(5)),  # type: ignore[arg-type]
    "feature": (DefinitionError, "is no reference", lambda s: s.select([["counter"]])),  # type: ignore[list-item]
    "entity": (UnknownReferenceError, "no entity", lambda s: s.forget(["user"], {"user_id": [1]})),  # type: ignore[arg-type]
    "spec": (DataError, "json.loads", lambda s: s.recreate("{}", rows(0))),  # type: ignore[arg-type]
    "part": (DataError, "no 'features'", lambda s: s.recreate({"format": 1, "rule": "as-of/1"}, rows(0))),
    "fallback": (ConfigurationError, "'offline'", lambda s: read(s, fallback=["x"])),
    "on_deadline": (ConfigurationError, "'missing'", lambda s: read(s, on_deadline=["x"])),
    "lag": (DefinitionError, "longer than any history", lambda s: look_up(s, lag="999999999d")),
    "time": (SchemaError, "no column 5", lambda s: look_up(s, timestamp=5)),
}


def read(store: FeatureStore, **options: Any) -> object:
    """Read one user online."""
    return store.get_online_features("counter", {"user_id": [1]}, **options)


def look_up(store: FeatureStore, **options: Any) -> object:
    """Look one user up in history."""
    return store.get_historical_features({"user_id": [1], "event_timestamp": [datetime.now(UTC)]}, "counter", **options)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_arguments(store: FeatureStore, mistake: str) -> None:
    """An argument of another kind is refused by an error of ours that says what to pass; nothing is done."""
    store.apply(counter())
    store.push("counter", rows(0))
    kind, says, call = MISTAKES[mistake]
    with pytest.raises(kind, match=says):
        call(store)
    assert store.history("counter").num_rows == 1


def test_a_registry_that_is_full(store: FeatureStore) -> None:
    """Where the registry can't number rows, writes and pushes say so as they promise, and history stays as it was."""
    store.apply(counter())
    store.registry.close()
    full = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    with sqlite3.connect(Path(store.directory) / "registry.db") as connection:
        for event in ("INSERT", "UPDATE"):
            connection.execute(f"CREATE TRIGGER no_{event} BEFORE {event} ON fs_sequences {full}")
    connection.close()
    for call in (store.write, store.push):
        with pytest.raises(RegistryError, match="disk is full"):
            call("counter", rows(1))
    assert store.offline.snapshot(counter()) == EMPTY


class TestOpeningMakesNothing:
    def test_a_mistyped_directory_is_named_and_not_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading a store that isn't there names where it was looked for; no file and no directory appears."""
        monkeypatch.setenv("FS_STORE", str(tmp_path / "typo"))
        spine = {"user_id": [1], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)]}
        with FeatureStore() as store:
            for read in (
                lambda: store.view("counter"),
                lambda: store.get_online_features("counter", {"user_id": [1]}),
                lambda: store.get_historical_features(spine, "counter"),
                lambda: store.push("counter", rows(1)),
                lambda: store.to_yaml("counter"),
                lambda: store.retire("counter:v1.0.0"),
                lambda: store.retire("counter:v1.0.0", undo=True),
                lambda: store.rollback("counter", to="1.0.0"),
                lambda: store.alias("counter", "production"),
                lambda: store.delete("counter:v1.0.0"),
            ):
                with pytest.raises(
                    UnknownReferenceError, match=r"typo/registry\.db \(which isn't there\) yet: store\.ap"
                ):
                    read()
            with pytest.raises(UnknownReferenceError, match="no alias 'production'"):
                store.alias("counter", "production", remove=True)
            assert store.registry.listing() == []
            assert store.materialize() == []
            assert store.list_training_sets() == []
            assert store.lineage.everything() == ([], [])
        assert list(tmp_path.iterdir()) == []

    def test_an_unpickled_store_is_not_made(self, tmp_path: Path) -> None:
        """Where a pickled store's directory isn't there, it reads as empty until somebody applies."""
        there = FeatureStore(tmp_path / "there")
        elsewhere = pickle.loads(pickle.dumps(there))
        with pytest.raises(UnknownReferenceError, match="there"):
            elsewhere.view("counter")
        assert list(tmp_path.iterdir()) == []
        there.apply(counter())
        assert elsewhere.view("counter") == counter()
        there.close()
        elsewhere.close()

    def test_a_registry_elsewhere_makes_no_history(self, tmp_path: Path) -> None:
        """Views known from a registry elsewhere have no rows in a directory that isn't there; reading makes nothing."""
        registry = f"sqlite:///{tmp_path}/registry.db"
        with FeatureStore(tmp_path / "right", registry=registry) as right:
            right.apply(counter())
        spine = {"user_id": [1], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)]}
        with FeatureStore(tmp_path / "typo", registry=registry) as store:
            with pytest.raises(
                OnlineStoreError, match=r"typo/online\.db can't be used.*Check that the directory exists"
            ):
                store.get_online_features("counter", {"user_id": [1]})
            assert store.get_historical_features(spine, "counter").table["x"].to_pylist() == [None]
            assert store.history("counter").num_rows == 0
            assert store.list_training_sets() == []
            assert not (tmp_path / "typo").exists()
            (tmp_path / "typo").mkdir()
            assert store.get_online_features("counter", {"user_id": [1]}).status["counter"] == ["missing"]
            assert store.verify_online("counter").total == 0
            assert list((tmp_path / "typo").iterdir()) == []
            assert store.push("counter", rows(1)) == 1
            assert store.get_online_features("counter", {"user_id": [1]}).status["counter"] == ["present"]

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        """Where a file lies in the way, opening says so."""
        (tmp_path / "file").write_text("no directory")
        for directory in ("file", "file/store"):
            with pytest.raises(ConfigurationError, match=rf"can't make .*'{tmp_path}/{directory}' in .*that is a file"):
                FeatureStore(tmp_path / directory)
