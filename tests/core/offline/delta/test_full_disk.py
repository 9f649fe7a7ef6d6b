"""A disk that fills up at any point of a write: what raised has written nothing, what returned is there, once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import FeatureStoreError, OfflineStoreError

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("v", entity=THING, fields=[Field("x", "int64", "X.")], description="V.", online=False)
PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.fixture
def almost(tmp_path: Path) -> Path:
    """A store with nine writes: a checkpoint follows the next."""
    with FeatureStore(tmp_path / "almost") as store:
        store.apply(VIEW)
        for k in range(9):
            write(store, k)
    return tmp_path / "almost"


def write(store: FeatureStore, k: int) -> None:
    """Write a row."""
    store.write(VIEW, {"k": [k], "event_timestamp": [datetime(2025, 1, 1, tzinfo=UTC)], "x": [k]})


def fill(disk: Path, pages: int) -> Path:
    """Fill a disk up to some pages; return the file that does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (64 * PAGE, PAGE):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
        file.truncate(max(0, file.tell() - pages * PAGE))
    return filler


def test_a_write_that_raised_has_written_nothing(disk: Path, almost: Path) -> None:
    """Whatever room there is, a write is acknowledged and there or refused and not; repeated, it is there once."""
    refused = 0
    for pages in range(24):
        directory = disk / f"store{pages}"
        shutil.copytree(almost, directory)
        with FeatureStore(directory) as store:
            assert store.history(VIEW).num_rows == 9
            filler, known = fill(disk, pages), list(range(9))
            for k in (9, 10):
                try:
                    write(store, k)
                    known.append(k)
                except FeatureStoreError:
                    refused += 1
            filler.unlink()
            assert store.history(VIEW)["k"].to_pylist() == known
            write(store, 11)
            store.compact()
            assert store.history(VIEW)["k"].to_pylist() == [*known, 11]
            assert store.verify_history().clean
        shutil.rmtree(directory)
    assert 0 < refused < 48


def test_a_checkpoint_that_finds_no_room_fails_nothing(
    almost: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows whose commit stands are acknowledged, and the log says that there is no checkpoint."""
    from fs_core.offline.delta import rewriting

    class Full(rewriting.DeltaTable):
        def create_checkpoint(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("fs_core.offline.delta.log.DeltaTable", Full)
    with FeatureStore(almost) as store:
        write(store, 9)
        assert store.history(VIEW).num_rows == 10
    assert "is there, but no checkpoint of its log: [Errno 28] No space left on device" in caplog.text


def test_what_a_failed_compaction_wrote_makes_room(disk: Path, almost: Path) -> None:
    """A compaction or a forget that finds no room leaves history as it was, and gives back what it took."""
    directory = disk / "store"
    shutil.copytree(almost, directory)
    with FeatureStore(directory) as store:
        before = store.history(VIEW)
        filler = fill(disk, 0)
        with pytest.raises(OfflineStoreError):
            store.compact()
        with pytest.raises(FeatureStoreError):
            store.forget("thing", {"k": [3]})
        assert store.history(VIEW) == before
        filler.unlink()
        store.forget("thing", {"k": [3]})
        store.compact()
        assert store.history(VIEW)["k"].to_pylist() == [0, 1, 2, 4, 5, 6, 7, 8]
        assert store.verify_history().clean


def test_no_room_for_rows_that_are_compared_with_history(
    store: FeatureStore, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says where they lie and what to do; nothing is written, and nothing is left there."""
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 1 << 20)
    store.apply(VIEW)
    write(store, 0)
    times = pa.repeat(pa.scalar(datetime(2025, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")), 50_000)
    part = pa.record_batch({"k": pa.array(range(50_000)), "event_timestamp": times, "x": pa.array(range(50_000))})
    with pytest.raises(OfflineStoreError, match=rf"(?s)don't fit into {disk}: .*Nothing was written.*TMPDIR"):
        store.backfill(VIEW, pa.RecordBatchReader.from_batches(part.schema, [part] * 3), incremental=True)
    assert store.history(VIEW).num_rows == 1
    assert not list(disk.iterdir())
