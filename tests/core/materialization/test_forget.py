"""Forgetting: the bytes are gone from every file and key, what stays is as it was, and a crash is made good."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError
from redis import Redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import (
    FeatureStoreError,
    OfflineStoreError,
    OnlineStoreError,
    OnlineUnavailableError,
    SchemaError,
    UnknownReferenceError,
    ValidationError,
)
from fs_core.offline.delta import appending, erasure
from fs_core.offline.delta import store as delta_store
from fs_core.online.contract import timeline_name
from tests.programs import ended
from tests.servers import running_server

USER = Entity("user", keys={"user": "string"}, description="A person.")
SHOP = Entity("shop", keys={"shop": "int64"}, description="A shop.")
FIELDS = [Field("note", "string", "What was said.")]
NOTES = FeatureView("notes", entity=USER, fields=FIELDS, description="Notes.")
VISITS = FeatureView("visits", entity=[SHOP, USER], fields=FIELDS, description="Visits.")
OFFLINE = FeatureView("archive", entity=USER, fields=FIELDS, description="Archive.", online=False)
ALICE, BOB = "alice-4f1d", "bob-77aa"


def notes(*users: str, month: int, **more: Any) -> dict[str, Any]:
    """A note about each user, which nobody else's resembles."""
    times = [datetime(2024, month, 1, tzinfo=UTC)] * len(users)
    texts = [f"said-by-{user}-{month}" for user in users]
    return {"user": list(users), "event_timestamp": times, "note": texts, **more}


@pytest.fixture
def filled(online_url: str, tmp_path: Path) -> Iterator[FeatureStore]:
    """A store in which both are known by three views and an older version of one, in history, index and online."""
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(NOTES)
        store.write(NOTES, notes(ALICE, BOB, month=1))
        renewed = FeatureView("notes", entity=USER, fields=FIELDS, description="Notes.", version="2.0.0", ttl="9999d")
        store.apply(renewed, VISITS, OFFLINE)
        for month in (1, 2, 3):
            store.write("notes", notes(ALICE, BOB, month=month))
            store.write("visits", notes(ALICE, BOB, month=month, shop=[7, 7]))
        store.write("archive", notes(BOB, month=4))
        store.write("archive", notes(ALICE, month=5))
        store.offline.compact(store.view("visits"))
        spine = {"user": [ALICE], "shop": [7], "event_timestamp": [datetime(2025, 1, 1, tzinfo=UTC)]}
        store.get_historical_features(spine, ["notes", "visits"], full_names=True)
        store.materialize()
        yield store


def files_that_hold(store: FeatureStore, text: str) -> list[str]:
    """Return the files of a store that hold a text: as bytes, or as a value of a Parquet column."""
    files = [path for path in Path(store.directory).rglob("*") if path.is_file()]
    return [str(path) for path in files if text.encode() in path.read_bytes() or _parquet_holds(path, text)]


def _parquet_holds(path: Path, text: str) -> bool:
    return path.suffix == ".parquet" and text in repr(pq.ParquetFile(path).read().to_pylist())


def online_rows(store: FeatureStore) -> str:
    """Return every key and row that is online."""
    views = [r.definition for r in store.registry.listing("view")]
    parts = [part for view in views for part in store.online.scan(view.storage_name)]  # type: ignore[attr-defined]
    return repr([(part.keys, part.rows) for part in parts])


def test_nothing_of_a_person_is_left(filled: FeatureStore) -> None:
    """Every version of every view loses them, alone or beside another key; no file and no key mentions them."""
    before = filled.history("visits").num_rows
    assert files_that_hold(filled, ALICE)
    done = {part.view: part for part in filled.forget("user", {"user": [ALICE]})}
    assert {view: part.rows for view, part in done.items()} == {
        "notes:v1.0.0": 1,
        "notes:v2.0.0": 3,
        "visits:v1.0.0": 3,
        "archive:v1.0.0": 1,
    }
    assert {view: part.online for view, part in done.items()} == {
        "notes:v1.0.0": 1,
        "notes:v2.0.0": 1,
        "visits:v1.0.0": 1,
        "archive:v1.0.0": 0,
    }
    filled.online.close()  # SQLite's write-ahead log is gone with the last connection
    assert files_that_hold(filled, ALICE) == []
    assert ALICE not in online_rows(filled)
    assert filled.history("visits").num_rows == before - 3


def test_others_stay_as_they_were(filled: FeatureStore) -> None:
    """Bob's rows, their seqs and what is served of him don't change; nothing differs online."""
    spine = {"user": [BOB, ALICE], "shop": [7, 7], "event_timestamp": [datetime(2025, 1, 1, tzinfo=UTC)] * 2}
    features = ["notes", "visits", "archive"]
    before = filled.get_historical_features(spine, features, full_names=True).table
    rows = [row for row in filled.history("notes").to_pylist() if row["user"] == BOB]
    filled.forget("user", {"user": [ALICE]})
    assert filled.history("notes").to_pylist() == rows
    after = filled.get_historical_features(spine, features, full_names=True).table
    assert after.slice(0, 1) == before.slice(0, 1)
    assert after.slice(1).to_pylist()[0]["notes__note"] is None
    for view in ("notes:v1.0.0", "notes", "visits"):
        assert filled.verify_online(view).total == 0
    filled.materialize()
    assert ALICE not in online_rows(filled)


@pytest.mark.parametrize("entity", [[USER], [SHOP, USER]], ids=["alone", "beside another"])
def test_recent_rows_are_forgotten_too(online_url: str, tmp_path: Path, entity: list[Entity]) -> None:
    """A timeline goes with the person, even where the row beside it was collected long ago."""
    view = FeatureView("recent", entity=entity, fields=FIELDS, description="R.", ttl="1d", online_history="1d")
    more = {"shop": [7, 7]} if len(entity) > 1 else {}
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(view)
        store.push(view, notes(ALICE, BOB, month=1, **more))
        kept = timeline_name(view.storage_name)
        assert ALICE in repr([part.keys for part in store.online.scan(kept)])
        store.forget("user", {"user": [ALICE]})
        left = repr([(part.keys, part.rows) for part in store.online.scan(kept)])
        assert ALICE not in left
        assert BOB in left


def test_it_can_be_repeated(filled: FeatureStore) -> None:
    """A second time there is nothing to erase; an unknown person is nobody; the person may come again."""
    filled.forget("user", {"user": [ALICE]})
    assert all((part.rows, part.files, part.online) == (0, 0, 0) for part in filled.forget("user", {"user": [ALICE]}))
    assert all(part.rows == 0 for part in filled.forget(USER, {"user": ["nobody", ALICE]}))
    filled.push("notes", notes(ALICE, month=6))
    assert filled.get_online_features("notes", {"user": [ALICE]}).to_arrow()["note"].to_pylist() == [
        f"said-by-{ALICE}-6"
    ]


def test_training_sets_that_need_them_say_so(store: FeatureStore) -> None:
    """A set made from a state with the person can't be recreated; one made from a state without them can."""
    store.apply(OFFLINE)
    store.write("archive", notes(BOB, month=4))
    spine = {"user": [BOB], "event_timestamp": [datetime(2025, 1, 1, tzinfo=UTC)]}
    without = store.get_historical_features(spine, "archive")
    store.write("archive", notes(ALICE, month=5))
    having = store.get_historical_features(spine, "archive")
    store.forget("user", {"user": [ALICE]})
    assert store.recreate(without.spec, spine).fingerprint == without.fingerprint
    with pytest.raises(OfflineStoreError, match=r"'archive:v1\.0\.0': state 1 .*forgotten.*can't be made again"):
        store.recreate(having.spec, spine)
    assert store.get_historical_features(spine, "archive").table == having.table


def test_the_log_tells_nothing(store: FeatureStore) -> None:
    """The entries of Delta's log keep no person's values, however many writes there were, nor ever do checkpoints."""
    store.apply(NOTES)
    for month in range(1, 13):
        store.write(NOTES, notes(ALICE, BOB, month=month))
    assert any(ALICE in entry.read_text() for entry in Path(store.directory).rglob("_delta_log/*.json"))
    checkpoints = list(Path(store.directory).rglob("*.checkpoint*.parquet"))
    assert checkpoints
    assert not any(_parquet_holds(path, ALICE) for path in checkpoints)
    store.forget("user", {"user": [ALICE]})
    assert files_that_hold(store, ALICE) == []
    assert sorted(Path(store.directory).rglob("*.checkpoint*.parquet")) == checkpoints


def test_checkpoints_of_older_tables_tell_nothing(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints that have a person's values, as tables made before have, are made anew without."""
    monkeypatch.delitem(appending.TABLE, "delta.checkpoint.writeStatsAsJson")
    store.apply(NOTES)
    for month in range(1, 13):
        store.write(NOTES, notes(ALICE, BOB, month=month))
    checkpoints = list(Path(store.directory).rglob("*.checkpoint*.parquet"))
    assert any(_parquet_holds(path, ALICE) for path in checkpoints)
    store.forget("user", {"user": [ALICE]})
    assert files_that_hold(store, ALICE) == []
    assert store.history(NOTES)["user"].to_pylist() == [BOB] * 12
    store.write(NOTES, notes(BOB, month=1))
    assert store.history(NOTES).num_rows == 13


@pytest.mark.parametrize("step", ["doomed", "data_files", "remove_leftovers", "scrub_log"])
def test_a_crash_in_between_is_made_good(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Wherever it stopped, repeating it finishes the job."""
    store.apply(NOTES)
    for month in (1, 2):
        store.write(NOTES, notes(ALICE, BOB, month=month))
    store.materialize()
    left = next(Path(store.directory).rglob("*.parquet"))
    orphan = left.with_name("part-00000-left-by-a-writer-that-died.parquet")
    orphan.write_bytes(left.read_bytes())
    os.utime(orphan, (0, 0))

    def crash(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(delta_store if step == "doomed" else erasure, step, crash)
        with pytest.raises(KeyboardInterrupt):
            store.forget("user", {"user": [ALICE]})
    store.forget("user", {"user": [ALICE]})
    store.online.close()
    assert files_that_hold(store, ALICE) == []


KILLED = """
import os, sys, time
from fs_core import FeatureStore
from fs_core.offline.delta import erasure
from fs_core.online.contract import timeline_name

def die(*_):
    os.kill(os.getpid(), 9)

setattr(erasure, sys.argv[2], die)
FeatureStore(sys.argv[1]).forget("user", {"user": [sys.argv[3]]})
"""


@pytest.mark.parametrize("step", ["data_files", "scrub_log"])
def test_a_killed_process_is_made_good(store: FeatureStore, step: str) -> None:
    """A process killed after the rows left the newest state, before older files went, leaves a job to repeat."""
    store.apply(NOTES)
    store.write(NOTES, notes(ALICE, BOB, month=1))
    store.materialize()
    assert ended(KILLED, str(store.directory), step, ALICE) == -9
    assert store.offline.traces(store.view("notes"), pa.table({"user": [ALICE]})) > 0
    store.forget("user", {"user": [ALICE]})
    store.online.close()
    assert files_that_hold(store, ALICE) == []


def test_rows_that_come_back_meanwhile_are_told(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a writer brings the person back before the check, it is no success."""
    store.apply(NOTES)
    store.write(NOTES, notes(ALICE, month=1))
    erase = store.offline.erase

    def erase_and_write(*args: Any) -> Any:
        done = erase(*args)
        store.write(NOTES, notes(ALICE, month=2))
        return done

    monkeypatch.setattr(store.offline, "erase", erase_and_write)
    with pytest.raises(FeatureStoreError, match="1 rows of what was to be forgotten are there still or again"):
        store.forget("user", {"user": [ALICE]})


def test_what_is_appended_meanwhile_stays(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that comes between the erasing of rows and the deletion of old files belongs to the newest state."""
    store.apply(NOTES)
    store.write(NOTES, notes(ALICE, BOB, month=1))
    look, come = erasure.data_files, [notes(ALICE, BOB, month=2)]

    def late(*arguments: Any) -> Any:
        while come:
            store.write(NOTES, come.pop())
        return look(*arguments)

    monkeypatch.setattr(erasure, "data_files", late)
    with pytest.raises(FeatureStoreError, match="again"):
        store.forget("user", {"user": [ALICE]})
    assert store.history(NOTES)["user"].to_pylist() == [BOB, ALICE, BOB]
    store.forget("user", {"user": [ALICE]})
    assert store.history(NOTES)["user"].to_pylist() == [BOB, BOB]


def test_an_append_that_was_overtaken_leaves_nothing(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lost attempt wrote is no trace for ever: a person can be forgotten at once, not in an hour."""
    store.apply(NOTES)
    store.write(NOTES, notes(BOB, month=1))
    write, lost = appending.write, list[Path]()

    def overtaken(table: Path, rows: pa.Table, *rest: Any) -> Any:
        if not lost:
            lost.append(next(table.rglob("*.parquet")).with_name("part-lost.parquet"))
            pq.write_table(rows, lost[0])
            raise CommitFailedError("a concurrent transaction deleted data this operation read")
        return write(table, rows, *rest)

    monkeypatch.setattr(appending, "write", overtaken)
    store.write(NOTES, notes(ALICE, month=2))
    assert store.history(NOTES)["user"].to_pylist() == [BOB, ALICE]
    store.forget("user", {"user": [ALICE]})
    assert not lost[0].exists()
    assert store.history(NOTES)["user"].to_pylist() == [BOB]


def test_an_append_that_failed_after_its_commit(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose commit stands are not appended again, though the library failed when it looked after the log."""
    store.apply(NOTES)
    write = appending.write

    def late(*arguments: Any) -> None:
        write(*arguments)
        raise DeltaError("Kernel error: Had a _last_checkpoint hint but didn't find any checkpoints")

    monkeypatch.setattr(appending, "write", late)
    store.write(NOTES, notes(ALICE, BOB, month=1))
    assert store.history(NOTES)["user"].to_pylist() == [ALICE, BOB]


def test_what_is_refused(store: FeatureStore) -> None:
    """Unknown entities, missing, null and mistyped keys are refused before anything is erased."""
    store.apply(NOTES)
    store.write(NOTES, notes(ALICE, month=1))
    with pytest.raises(UnknownReferenceError, match=r"'usr'.*'user'"):
        store.forget("usr", {"user": [ALICE]})
    with pytest.raises(SchemaError, match="no column 'user'"):
        store.forget("user", {"usr": [ALICE]})
    with pytest.raises(SchemaError, match="'user'"):
        store.forget("user", {"user": [7]})
    with pytest.raises(ValidationError, match="null"):
        store.forget("user", {"user": [ALICE, None]})
    assert store.history(NOTES).num_rows == 1


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool", "date", "binary", "timestamp[ms, UTC]", "string"])
def test_keys_of_every_kind(store: FeatureStore, dtype: str) -> None:
    """Whatever the key's type, exactly its rows go."""
    thing = Entity("thing", keys={"k": dtype}, description="T.")
    view = FeatureView("things", entity=thing, fields=[Field("x", "int64", "X.")], description="T.")
    values: dict[str, list[Any]] = {
        "int8": [-128, 127],
        "uint64": [2**64 - 1, 2**63],
        "bool": [True, False],
        "date": [datetime(1, 1, 1).date(), datetime(9999, 1, 1).date()],
        "binary": [b"\x00'", b""],
        "timestamp[ms, UTC]": [datetime(2024, 1, 1, tzinfo=UTC), datetime(1950, 1, 1, tzinfo=UTC)],
        "string": ["o'hara \N{SNOWMAN}", ""],
    }
    keys = pa.array(values[dtype], view.keys["k"])
    store.apply(view)
    store.write(view, {"k": keys, "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * 2, "x": [0, 1]})
    store.materialize()
    assert [part.rows for part in store.forget("thing", {"k": keys.slice(0, 1)})] == [1]
    assert store.history(view)["x"].to_pylist() == [1]
    assert store.get_online_features(view, {"k": keys}).to_arrow()["x"].to_pylist() == [None, 1]


@pytest.mark.parametrize("server", ["Valkey 9.1", "Redis 6.2"])
def test_a_server_out_of_memory(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without memory lets rows be deleted, so a person is no longer served, and the error says what is done.

    With room for more once they are gone, nothing fails.
    """
    with (
        running_server(server) as url,
        FeatureStore(tmp_path / "store", online=url) as store,
        Redis.from_url(url) as at,
    ):
        store.apply(NOTES)
        store.write(NOTES, notes(ALICE, BOB, month=1))
        store.materialize()
        at.config_set("maxmemory", 1)
        with pytest.raises(OnlineStoreError, match="out of memory") as caught:
            store.forget("user", {"user": [ALICE]})
        assert "Erased from the history of notes:v1.0.0" in caught.value.__notes__[0]
        assert "Saved training sets weren't looked at" in caught.value.__notes__[1]
        assert ALICE not in online_rows(store)
        at.config_set("maxmemory", 0)
        assert [part.online for part in store.forget("user", {"user": [ALICE]})] == [0]
        store.write(NOTES, notes(ALICE, month=2))
        store.materialize()
        at.config_set("maxmemory", 1)
        delete = store.online.delete

        def room(*arguments: Any) -> int:
            at.config_set("maxmemory", 0)
            return delete(*arguments)

        monkeypatch.setattr(store.online, "delete", room)
        assert [part.online for part in store.forget("user", {"user": [ALICE]})] == [1]


def test_an_online_store_that_fails_half_way(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the online store fails, the error says that history is erased, what may be online, and to repeat it."""
    store.apply(NOTES)
    store.write(NOTES, notes(ALICE, month=1))
    store.materialize()

    def gone(*_: Any) -> Any:
        raise OnlineUnavailableError("no answer")

    for call in ("watermark", "swap_watermark", "delete"):
        with monkeypatch.context() as broken:
            broken.setattr(store.online, call, gone)
            with pytest.raises(OnlineUnavailableError) as caught:
                store.forget("user", {"user": [ALICE]})
        assert re.search(r"history of notes:v1.0.0; .* still be online. Repeat forget", caught.value.__notes__[0])
    assert [part.online for part in store.forget("user", {"user": [ALICE]})] == [1]
