"""Verifying history finds what is wrong in a table, names it, and mends what can be mended."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.offline.delta import rewriting
from fs_core.offline.delta.layout import MONTH, lay_out
from fs_core.offline.report import FINDINGS
from fs_core.rule import AVAILABLE_AT, EVENT_TIME

THING = Entity("thing", keys={"k": "string"}, description="A thing.")
FIELDS = [Field("x", "float64", "X."), Field("l", "list<float32>[2]", "L."), Field("d", "decimal(5, 1)", "D.")]
VIEW = FeatureView("v", entity=THING, fields=FIELDS, description="V.", lag="1h", online=False)


def write(store: FeatureStore, *keys: str) -> None:
    """Write a row in each of two months for every key, with nulls and values that are easily changed on the way."""
    times = [datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2)] * len(keys)
    columns: dict[str, Any] = {"x": [-0.0, float("nan")], "l": [[0.1, None], None], "d": [None, "1.5"]}
    many = {name: values * len(keys) for name, values in columns.items()}
    many["d"] = pa.array(many["d"]).cast(pa.decimal128(5, 1))
    store.write(VIEW, {"k": [k for k in keys for _ in "12"], "event_timestamp": times, **many})


@pytest.fixture
def written(store: FeatureStore) -> FeatureStore:
    """A store with four rows of each of three things in two months, searched once."""
    store.apply(VIEW)
    for _ in range(2):
        write(store, "a", "b", "c")
    spine = {"k": ["a"], "event_timestamp": [datetime(2025, 3, 1, tzinfo=UTC)]}
    store.get_historical_features(spine, "v")
    return store


def table_of(store: FeatureStore) -> Path:
    """Return where the view's table lies."""
    return Path(store.directory) / "history" / VIEW.storage_name


def double(store: FeatureStore) -> None:
    """Compact twice from one state, as two compactions at once did; the library doesn't refuse the second."""
    first, second = (DeltaTable(str(table_of(store))) for _ in range(2))
    first.optimize.compact()
    second.optimize.compact()


def test_sound_history_is_clean(written: FeatureStore) -> None:
    """Nothing is found in history as the store writes, compacts and forgets it, nor in a view without any."""
    other = FeatureView("other", entity=THING, fields=[Field("y", "int64", "Y.")], description="O.", online=False)
    written.apply(other)
    for deed in (lambda: None, written.compact, lambda: written.forget("thing", {"k": ["a"]})):
        deed()
        found = written.verify_history()
        assert found.clean, str(found)
        assert (list(found.views), found.findings.schema) == (["other:v1.0.0", "v:v1.0.0"], FINDINGS)
    assert (found.rows, found.problems) == (8, {})
    assert str(found) == "history of 2 views: 8 rows in 2 files, nothing wrong"


def test_doubled_rows_are_found_and_mended(written: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Rows that two compactions doubled are noticed by the next, shown, and removed; every row is as it was before."""
    before = written.history(VIEW)
    double(written)
    assert written.history(VIEW).num_rows == 24
    with FeatureStore(written.directory) as store, caplog.at_level(logging.WARNING):
        store.compact()
        assert "12 rows of its history have the seq of another row" in caplog.text
        assert "store.verify_history('v:v1.0.0'), and mend it by repair=True" in caplog.text
        caplog.clear()
        store.compact()
        assert caplog.text == ""
    found = written.verify_history("v")
    assert found.problems == {"doubled": 12}
    assert found.findings["seq"].to_pylist() == list(range(12))
    assert "seq 0 is there 2 times" in str(found)
    assert "repair=True removes the copies" in str(found)
    assert written.history(VIEW).num_rows == 24
    mended = written.verify_history("v", repair=True)
    assert (mended.problems, mended.repaired, mended.clean) == ({"doubled": 12}, 12, False)
    assert written.verify_history().clean
    assert repr(written.history(VIEW).to_pylist()) == repr(before.to_pylist())


def test_repair_beside_appends(written: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended while copies are removed stays, also with seqs that were given out long before."""
    replace, early = rewriting.write_deltalake, list[int]()
    for _ in range(20):  # more than there are ranges in a condition
        early.append(written.offline.reserve(VIEW, 1))
        write(written, "e")
    double(written)
    rows = written.history(VIEW).slice(0, 20)
    late = rows.set_column(rows.column_names.index("__seq"), "__seq", [pa.array(early, pa.int64())])
    deeds = [lambda: write(written, "f"), lambda: written.offline.append(VIEW, late)]

    def slowly(*arguments: Any, **options: Any) -> None:
        if deeds:
            deeds.pop()()
        replace(*arguments, **options)

    monkeypatch.setattr(rewriting, "write_deltalake", slowly)
    written.verify_history(repair=True)
    assert not deeds
    assert written.history(VIEW)["__seq"].to_pylist() == list(range(12 + 60 + 2))
    assert written.verify_history().clean


def test_a_seq_that_several_rows_share(written: FeatureStore) -> None:
    """Rows that differ and have one seq are shown and kept: nothing shows which is right. Copies of them go."""
    rows = written.history(VIEW)
    other = rows.slice(0, 2).set_column(0, "k", [pa.array(["x", "y"])])
    for _ in range(2):
        written.offline.append(VIEW, other)
    found = written.verify_history(repair=True)
    assert (found.problems, found.repaired) == ({"doubled": 2, "shared seq": 2}, 2)
    assert "2 rows that differ have seq 0" in str(found)
    assert written.verify_history(repair=True).problems == {"shared seq": 2}
    assert sorted(written.history(VIEW)["k"].to_pylist()) == sorted([*rows["k"].to_pylist(), "x", "y"])


def test_files_that_are_lost_or_damaged(written: FeatureStore) -> None:
    """Files that are gone, cut short or spoilt are named; the rows of the others are looked at all the same."""
    files = sorted(table_of(written).rglob("part-*.parquet"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-20])
    data = files[2].read_bytes()
    files[2].write_bytes(data + b" ")
    found = written.verify_history("v", repair=True)
    assert found.problems == {"lost file": 1, "damaged file": 2}
    assert sorted(found.findings["file"].to_pylist()) == sorted(map(str, files[:3]))
    assert (found.rows, found.files, found.repaired) == (3, 4, 0)
    assert "Restore it from a backup" in str(found)


def test_clocks_and_months(written: FeatureStore) -> None:
    """A row that is available before it is true, or lies in another month's file, is named by its seq."""
    rows = written.history(VIEW)
    number = rows.column_names.index("__seq")
    early = rows.slice(0, 1).set_column(number, "__seq", [pa.array([100], pa.int64())])
    early = early.set_column(rows.column_names.index(AVAILABLE_AT), AVAILABLE_AT, early[EVENT_TIME])
    written.offline.append(VIEW, early)
    misplaced = lay_out(VIEW, rows.slice(1, 1).set_column(number, "__seq", [pa.array([101], pa.int64())]))
    misplaced = misplaced.set_column(misplaced.column_names.index(MONTH), MONTH, [pa.array(["2024-07"])])
    write_deltalake(str(table_of(written)), misplaced, mode="append", partition_by=[MONTH])
    found = written.verify_history("v", evidence=1)
    assert found.problems == {"clocks": 1, "misplaced": 1}
    assert dict(zip(*found.findings.select(["problem", "seq"]).to_pydict().values(), strict=True)) == {
        "clocks": 100,
        "misplaced": 101,
    }


def test_an_index_that_differs(written: FeatureStore) -> None:
    """An index whose bytes aren't what its data files say is named, deleted, and made again when it is needed."""
    (seqs,) = (Path(written.directory) / "index").rglob("seq.npy")
    array = np.load(seqs)
    np.save(seqs, array[::-1])
    found = FeatureStore(written.directory).verify_history("v")
    assert found.problems == {"index": 1}
    assert found.findings["file"].to_pylist() == [str(seqs.parent)]
    assert FeatureStore(written.directory).verify_history("v", repair=True).repaired == 1
    assert not seqs.exists()
    assert written.verify_history().clean
