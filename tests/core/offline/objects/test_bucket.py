"""A feature store whose history lies in a bucket, on a real S3 server."""

from __future__ import annotations

import json
import logging
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.cli.group import cli
from fs_core.errors import ConfigurationError, FeatureStoreError, OfflineStoreError
from fs_core.offline.delta import appending, merging
from fs_core.offline.delta import store as delta_store
from fs_core.offline.objects import lease, memory, path
from fs_core.offline.objects.path import ObjectPath
from tests.buckets import KEY, SECRET, Relay

PERSON = Entity("person", keys={"name": "string"}, description="A person.")
VIEW = FeatureView(
    "facts", entity=PERSON, fields=[Field("x", "int64", "X."), Field("y", "float64", "Y.")], description="F."
)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def rows(*names: str, x: int = 0) -> dict[str, list[object]]:
    """Return a row for each of some people."""
    return {"name": list(names), "event_timestamp": [NOW] * len(names), "x": [x] * len(names), "y": [0.5] * len(names)}


def table_of(bucket: str) -> ObjectPath:
    """Return where the view's table lies."""
    return ObjectPath(bucket) / VIEW.storage_name


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with history in a bucket."""
    with FeatureStore(tmp_path / "store", offline=bucket) as made:
        made.apply(VIEW)
        yield made


def test_from_writing_to_serving(store: FeatureStore) -> None:
    """What is written and pushed is joined as of moments, served, compacted and recreated, with the same bits."""
    store.write("facts", rows("ann", "bob", x=1))
    spine = {"name": ["bob", "eve"], "event_timestamp": [NOW + timedelta(hours=1)] * 2}
    training = store.get_historical_features(spine, ["facts.x"])
    assert training.table["x"].to_pylist() == [1, None]
    store.materialize("facts")
    store.push("facts", rows("bob", x=2))
    assert store.get_online_features(["facts.x"], {"name": ["ann", "bob"]}).to_dicts()[1]["x"] == 2
    store.compact()
    assert store.recreate(training.spec, spine).fingerprint == training.fingerprint
    assert store.verify_history().clean
    assert store.verify_online("facts").total == 0


def test_a_push_is_in_the_table_when_it_returns(store: FeatureStore, bucket: str) -> None:
    """A bucket takes no journal: pushes of threads that meet are one commit, which every program sees at once."""
    threads = [threading.Thread(target=store.push, args=("facts", rows(f"p{n}", x=n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = DeltaTable(table_of(bucket).url)
    assert sorted(table.to_pyarrow_table()["x"].to_pylist()) == list(range(8))
    assert table.version() < 8


def test_forgetting_leaves_no_trace_in_any_object(store: FeatureStore, bucket: str) -> None:
    """Neither data files nor the log's statistics name who was forgotten, and states that held them can't be read."""
    store.write("facts", rows("ann", "zzz-secret-person", x=1))
    store.write("facts", rows("bob", x=1))
    spine = {"name": ["ann"], "event_timestamp": [NOW]}
    training = store.get_historical_features(spine, ["facts.x"])
    assert store.forget("person", {"name": ["zzz-secret-person"]})[0].rows == 1
    held = {str(found): found.read_bytes() for found in ObjectPath(bucket).rglob("*")}
    assert not [path for path, content in held.items() if b"zzz-secret" in content]
    assert sorted(store.history("facts")["name"].to_pylist()) == ["ann", "bob"]
    with pytest.raises(OfflineStoreError, match="can't be read any more"):
        store.recreate(training.spec, spine)


def test_a_file_that_may_be_an_appends_keeps_forget_from_being_done(
    store: FeatureStore, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An append can't be told from a killed one before a day has passed: until then, forget says that rows are left."""
    store.write("facts", rows("ann", "bob"))
    (file,) = (found for found in table_of(bucket).rglob("*.parquet"))
    left = file.parent / "part-00000-left.parquet"
    left.write_bytes(file.read_bytes())
    with pytest.raises(FeatureStoreError, match="1 rows of what was to be forgotten are there still"):
        store.forget("person", {"name": ["bob"]})
    assert "no state names: 1. They are an append's that is under way, or" in caplog.text
    store.compact()
    assert left.exists()


def test_files_left_behind_go_after_a_day(store: FeatureStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that no state names is deleted by a compaction once it is old; those that any state names stay."""
    store.write("facts", rows("ann"))
    (file,) = (found for found in table_of(bucket).rglob("*.parquet"))
    left = file.parent / "part-00000-left.parquet"
    left.write_bytes(file.read_bytes())
    monkeypatch.setattr(lease, "ABANDONED", -60.0)
    store.compact()
    assert not left.exists()
    assert file.exists()


def test_credentials_appear_nowhere(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, bucket: str
) -> None:
    """Not in what is shown, logged, pickled, kept in files, or put into a training set's spec."""
    caplog.set_level(logging.DEBUG)
    store.write("facts", rows("ann"))
    training = store.get_historical_features({"name": ["ann"], "event_timestamp": [NOW]}, ["facts.*"])
    store.compact()
    shown = [repr(store), repr(store.offline), json.dumps(training.spec), caplog.text, repr(training)]
    shown.append(pickle.dumps(store).decode("latin-1"))
    shown += [found.read_bytes().decode("latin-1") for found in tmp_path.rglob("*") if found.is_file()]
    shown += [found.read_bytes().decode("latin-1") for found in ObjectPath(bucket).rglob("*")]
    assert not [text for text in shown if KEY in text or SECRET in text]


def test_a_wrong_key_is_an_error_that_doesnt_show_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's refusal names the history, and neither key."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-" + SECRET)
    with FeatureStore(tmp_path / "other", offline=bucket.replace("history", "elsewhere")) as store:
        store.apply(VIEW)
        with pytest.raises(OfflineStoreError, match=r"facts:v1\.0\.0.*s3://elsewhere") as raised:
            store.write("facts", rows("ann"))
    assert SECRET not in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("url", ["s3://key:hidden@bucket/x", "s3://bucket/x?secret=hidden", "abfss://key:hidden@box/x"])
def test_a_url_with_a_key_is_refused(url: str, tmp_path: Path) -> None:
    """Keys belong in the environment; the error says so and doesn't repeat them."""
    with (
        FeatureStore(tmp_path, offline=url) as store,
        pytest.raises(ConfigurationError, match="environment") as raised,
    ):
        _ = store.offline
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("url", ["s3://", "gs:///prefix", "abfss://@account.dfs.core.windows.net/x"])
def test_a_url_without_a_bucket_is_refused(url: str, tmp_path: Path) -> None:
    """The error shows what such a URL looks like."""
    with FeatureStore(tmp_path, offline=url) as store, pytest.raises(ConfigurationError, match="names no bucket"):
        _ = store.offline


@pytest.mark.parametrize("library", ["obstore", "fsspec"])
def test_without_the_library_the_extra_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hasn't installed it is told what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    missing = pytest.raises(ConfigurationError, match=rf"{library}.*pip install 'fs-core\[s3\]'")
    with FeatureStore(tmp_path, offline="s3://bucket/x") as store, missing:
        _ = store.offline


WIDE = FeatureView(
    "wide",
    entity=Entity("thing", keys={"k": "int64"}, description="A thing."),
    fields=[Field(f"f{n}", "float64", "A number.") for n in range(40)],
    description="Wide.",
)


def test_a_question_about_one_feature_fetches_little(
    bucket: str, s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 features, one and the clocks are fetched; and the next process answers from the index on this machine."""
    draw, count = np.random.default_rng(1), 30_000
    columns = {f"f{n}": draw.random(count) for n in range(40)}
    moments = np.datetime64("2026-01-01", "us") + np.arange(count).astype("timedelta64[s]")
    data = pa.table({"k": np.arange(count) % 1000, "event_timestamp": pa.array(moments), **columns})
    with FeatureStore(tmp_path / "store", offline=bucket) as store:
        store.apply(WIDE)
        store.write("wide", data)
    size = sum(found.stat().st_size for found in ObjectPath(bucket).rglob("*.parquet"))
    spine = {"k": list(range(100)), "event_timestamp": [NOW] * 100}
    with Relay(s3_server["AWS_ENDPOINT_URL"]) as meter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", meter.url)
        path._buckets.take()
        memory._memory.take()
        with FeatureStore(tmp_path / "store", offline=bucket) as store:
            cold = store.get_historical_features(spine, ["wide.f3"]).table["f3"].to_pylist()
        assert meter.received < 0.15 * size
        before = meter.received
        with FeatureStore(tmp_path / "store", offline=bucket) as store:
            assert store.get_historical_features(spine, ["wide.f3"]).table["f3"].to_pylist() == cold
        assert meter.received - before < 0.01 * size
    path._buckets.take()
    assert cold == [columns["f3"][count - 1000 + k] for k in range(100)]


def test_columns_that_nobody_asked_for_are_not_in_the_index(store: FeatureStore, tmp_path: Path) -> None:
    """A column appears in the index with the first question for it, and the index is verified with it."""
    store.write("facts", rows("ann", x=3))
    spine = {"name": ["ann"], "event_timestamp": [NOW]}

    def laid_out() -> list[str]:
        return sorted(found.stem for found in (tmp_path / "store" / "index").rglob("column-*.arrow"))

    store.get_historical_features(spine, ["facts.x"])
    assert laid_out() == ["column-x"]
    assert store.get_historical_features(spine, ["facts.*"]).table["y"].to_pylist() == [0.5]
    assert laid_out() == ["column-x", "column-y"]
    assert store.verify_history().clean
    (column,) = (tmp_path / "store" / "index").rglob("column-y.arrow")
    column.write_bytes(column.read_bytes().replace(np.float64(0.5).tobytes(), np.float64(0.25).tobytes()))
    assert store.verify_history().problems == {"index": 1}
    store.verify_history(repair=True)
    assert store.get_historical_features(spine, ["facts.*"]).table["y"].to_pylist() == [0.5]


def test_the_index_lies_where_the_environment_says_and_stays_small(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `FS_CACHE` and `FS_INDEX_CACHE` it lies there, and what was used longest ago makes room."""
    monkeypatch.setenv("FS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FS_INDEX_CACHE", "1B")
    other = FeatureView("others", entity=PERSON, fields=[Field("x", "int64", "X.")], description="O.")
    with FeatureStore(tmp_path / "store", offline=bucket) as store:
        store.apply(VIEW, other)
        for view in ("facts", "others", "facts"):
            store.write(view, {name: column for name, column in rows("ann").items() if view == "facts" or name != "y"})
            store.get_historical_features({"name": ["ann"], "event_timestamp": [NOW]}, [f"{view}.x"])
            assert len(list((tmp_path / "cache").glob("*/*/*/run.json"))) == 1
    assert not (tmp_path / "store" / "index").exists()


@pytest.mark.parametrize("size", ["20", "GB", "-1GB", "1e3GB", ""])
def test_a_size_that_is_none(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that can't be understood is refused when the store is opened; none at all is any size."""
    monkeypatch.setenv("FS_INDEX_CACHE", size)
    if not size:
        FeatureStore(tmp_path).close()
        return
    with pytest.raises(ConfigurationError, match="is no size"):
        FeatureStore(tmp_path)


def test_rewriters_exclude_each_other(bucket: str) -> None:
    """Who has the lock renews it for as long as it takes; nobody else gets it, and then somebody does."""
    first, second = lease.LeaseLocks(table_of(bucket)), lease.LeaseLocks(table_of(bucket))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "LEASE", 0.3)
        lock = table_of(bucket) / ".fs_core" / "rewriting"
        with first.rewriting():
            versions = set()
            while len(versions) < 15:  # two and a half leases
                versions.add(lock.read_bytes())
                with second.rewriting_now() as alone:
                    assert not alone
        with second.rewriting_now() as alone:
            assert alone
    assert lock.read_bytes() == b"free"


def test_the_lock_of_a_killed_process_is_taken_over(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that nobody renews is somebody else's after a while, not before."""
    monkeypatch.setattr(lease, "LEASE", 0.5)
    lock = table_of(bucket) / ".fs_core" / "rewriting"
    lock.write_bytes(b"of somebody who was killed")
    locks = lease.LeaseLocks(table_of(bucket))
    began = time.monotonic()
    with locks.rewriting():
        assert time.monotonic() - began > 0.5
    assert lock.read_bytes() == b"free"


def test_a_lock_that_was_lost_is_not_given_back(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose lock was taken over leaves it alone."""
    monkeypatch.setattr(lease, "LEASE", 0.3)
    lock = table_of(bucket) / ".fs_core" / "rewriting"
    noticed = threading.Event()
    monkeypatch.setattr(lease.log, "error", lambda *_: noticed.set())
    with lease.LeaseLocks(table_of(bucket)).rewriting():
        lock.write_bytes(b"somebody else's")
        assert noticed.wait(20)
    assert lock.read_bytes() == b"somebody else's"


def test_a_lock_that_was_taken_over_unnoticed_is_not_given_back(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that stood still and goes on may end before it renews: the new holder keeps the lock."""
    first, second, third = (lease.LeaseLocks(table_of(bucket)) for _ in range(3))
    with first.rewriting():  # renews in 40 s
        monkeypatch.setattr(lease, "LEASE", 0.3)
        taking = second.rewriting()
        taking.__enter__()
        monkeypatch.undo()
        caplog.clear()
    assert "lost the lock" in caplog.text
    with third.rewriting_now() as alone:
        assert not alone
    taking.__exit__(None, None, None)
    with third.rewriting_now() as alone:
        assert alone


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_compaction_that_stood_still_doubles_no_rows(
    store: FeatureStore, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confirmed: bool
) -> None:
    """Who loses the lock, before or after it was confirmed, commits nothing that somebody else has replaced."""
    for x in range(3):
        store.write("facts", rows("ann", "bob", x=x))
    merge = merging.merge

    def others_compact() -> None:
        monkeypatch.setattr(delta_store, "merge", merge)
        monkeypatch.setattr(lease, "LEASE", 0.3)
        with FeatureStore(tmp_path / "store", offline=bucket) as other:
            other.compact()
        monkeypatch.setattr(lease, "LEASE", 240.0)

    def stalled(table: DeltaTable, files: Sequence[str], most: int, confirm: lease.Confirm) -> None:
        def stalling() -> None:
            confirm()
            others_compact()

        if not confirmed:
            others_compact()
        merge(table, files, most, stalling if confirmed else confirm)

    monkeypatch.setattr(delta_store, "merge", stalled)
    with pytest.raises(OfflineStoreError, match=r"view 'facts:v1\.0\.0': can't compact .* lost the lock on s3://"):
        store.compact()
    assert sorted(store.history("facts")["x"].to_pylist()) == [0, 0, 1, 1, 2, 2]
    assert store.verify_history("facts").clean
    store.compact()


def test_an_append_that_meets_a_fence_is_there_once(
    store: FeatureStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose append began before somebody took the lock over appends again, and knows of no error."""
    store.write("facts", rows("ann"))
    commit = appending._commit

    def late(*given: Any) -> None:
        monkeypatch.setattr(appending, "_commit", commit)
        appending.fence(table_of(bucket))
        commit(*given)

    monkeypatch.setattr(appending, "_commit", late)
    store.write("facts", rows("bob"))
    assert store.history("facts")["name"].to_pylist() == ["ann", "bob"]


def test_numbers_are_handed_out_once(store: FeatureStore) -> None:
    """Threads that take seqs at once get different ones, all of them in a row."""
    view, found = store.view("facts"), list[int]()
    threads = [
        threading.Thread(target=lambda: found.extend(store.offline.reserve(view, 2) for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(0, 40, 2))


def test_a_shell_makes_a_store_with_history_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    """`fs init --offline URL` remembers it, so that the directory alone opens the store."""
    done = CliRunner().invoke(cli, ["init", str(tmp_path / "store"), "--offline", bucket])
    assert done.exit_code == 0, done.output
    with FeatureStore(tmp_path / "store") as store:
        store.apply(VIEW)
        store.write("facts", rows("ann"))
    assert any(table_of(bucket).rglob("*.parquet"))


@pytest.mark.parametrize(
    ("option", "url"),
    [
        ("--offline", "s3://KEYID:hidden@bucket/prefix"),
        ("--offline", "S3://hidden@bucket/prefix"),
        ("--offline", "s3://bucket/prefix?aws_secret_access_key=hidden"),
        ("--online", "dynamodb://KEYID:hidden@eu-central-1/table"),
        ("--online", "dynamodb://eu-central-1/table?aws_secret_access_key=hidden"),
    ],
)
def test_a_shell_is_told_where_keys_belong(option: str, url: str, tmp_path: Path) -> None:
    """`fs init` with a key in a URL makes nothing, and says what will work: the variables of the cloud's own tools."""
    done = CliRunner().invoke(cli, ["init", str(tmp_path / "store"), option, url])
    assert done.exit_code == 1
    assert "AWS_ACCESS_KEY_ID" in done.output
    assert "hidden" not in done.output
    assert "FS_O" not in done.output
    assert not (tmp_path / "store").exists()


def test_an_append_that_takes_too_long_is_refused(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of an append that goes on for half a day could count as left behind before they are committed."""
    monkeypatch.setattr("fs_core.offline.delta.table.ABANDONED", -1.0)
    with pytest.raises(OfflineStoreError, match=r"longer than half a day.*Nothing was written"):
        store.write("facts", pa.table(rows("ann")).to_reader())
    assert store.history("facts").num_rows == 0


def test_a_reader_that_is_far_behind_finds_the_newest_state(store: FeatureStore, bucket: str, tmp_path: Path) -> None:
    """Who has last looked many states ago lists the log, rather than asking for each entry."""
    store.write("facts", rows("ann"))
    with FeatureStore(tmp_path / "store", offline=bucket) as other:
        assert other.history("facts").num_rows == 1
        for n in range(12):
            store.write("facts", rows("bob", x=n))
        assert other.history("facts").num_rows == 13


def test_verifying_reads_the_bucket_and_not_what_is_remembered(store: FeatureStore, bucket: str) -> None:
    """A data file whose bytes were changed is found by the process that has read it before."""
    store.write("facts", rows("ann"))
    assert store.verify_history().clean
    (file,) = table_of(bucket).rglob("*.parquet")
    file.write_bytes(bytes(file.stat().st_size))
    assert store.verify_history().problems == {"damaged file": 1}


def test_files_that_are_gone_are_an_error_that_names_the_view(store: FeatureStore, bucket: str) -> None:
    """Whatever asks for a data file first, the library's error is one of ours."""
    store.write("facts", rows("ann"))
    store.write("facts", rows("bob"))
    for file in list(table_of(bucket).rglob("*.parquet")):
        file.unlink()
    with pytest.raises(OfflineStoreError, match=r"facts:v1\.0\.0.*can't read its history"):
        store.history("facts")
