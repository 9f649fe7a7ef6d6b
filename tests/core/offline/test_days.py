"""Tables by day, of request logs and quarantines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.days.table import DAY, DayTable
from fs_core.offline.delta import merging
from fs_core.values.dtypes import storage_type


def test_small_files_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small appends leave few files, each day its own; no row is lost or there twice. Any path will do."""
    monkeypatch.setattr(merging, "_MANY", 8)
    table = DayTable("test", {DAY: pa.string(), "x": pa.int64()}, tmp_path / "ü x" / "table")
    for number in range(32):
        table.append(pa.table({DAY: [f"2024-01-0{1 + number % 2}"], "x": [number]}))
    assert sorted(table.read(["x"])["x"].to_pylist()) == list(range(32))
    assert len(DeltaTable(str(table.directory)).file_uris()) <= 8
    assert sorted(table.read(["x"], day="2024-01-01")["x"].to_pylist()) == list(range(0, 32, 2))
    table.expire("2024-01-02")
    assert len(list(table.directory.rglob("*.parquet"))) == len(DeltaTable(str(table.directory)).file_uris())
    assert sorted(table.read(["x"])["x"].to_pylist()) == list(range(1, 32, 2))


def test_rows_are_read_without_files_opened_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's threads would hold such files when the process ends, which aborts it; types and days are as declared."""
    monkeypatch.setattr(DeltaTable, "to_pyarrow_dataset", lambda *_, **__: pytest.fail("files in Python"))
    types = {DAY: pa.string(), "x": pa.uint16(), "v": pa.list_(pa.float32(), 2), "t": pa.timestamp("us", "UTC")}
    table = DayTable("test", types, tmp_path / "ü x" / "table")
    rows = pa.table(
        {DAY: ["2024-01-01", "2024-01-02"], "x": [1, None], "v": [None, [1.0, 2.0]], "t": [0, 1]}, pa.schema(types)
    )
    table.append(rows)
    assert table.read().equals(rows)
    assert table.read([DAY]).equals(rows.select([DAY]))
    assert table.read(["t", "x"], since="2024-01-02").equals(rows.slice(1).select(["x", "t"]))
    assert table.read(day="2024-01-03").equals(rows.slice(0, 0))


def test_a_merge_that_fails_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are appended all the same, and the log says which table's small files stay, and why."""
    monkeypatch.setattr(merging, "facts", lambda file: Path(f"{file}.gone").stat())
    table = DayTable("log 'test'", {DAY: pa.string(), "x": pa.int64()}, tmp_path / "table")
    for number in range(16):
        table.append(pa.table({DAY: ["2024-01-01"], "x": [number]}))
    assert table.read(["x"]).num_rows == 16
    assert "log 'test': its small files aren't merged" in caplog.text
    assert ".gone" in caplog.text


def test_rows_of_several_days_are_one_commit(tmp_path: Path) -> None:
    """All of them or none; a table that was made anew in between, or grown by others, is seen."""
    table = DayTable("test", {DAY: pa.string(), "x": pa.int64()}, tmp_path / "table")
    rows = pa.table({DAY: ["2024-01-02", "2024-01-01", "2024-01-02"], "x": [1, 2, 3]})
    table.append(rows)
    table.append(rows)
    opened = DeltaTable(str(table.directory))
    assert opened.version() == 2  # it was made, and then
    assert opened.to_pyarrow_table(columns=["x"]).num_rows == 6
    assert table.read(["x"], day="2024-01-02")["x"].to_pylist() == [1, 3, 1, 3]
    shutil.rmtree(table.directory)
    table.append(rows)
    DayTable("other", table.schema, table.directory).append(rows)
    table.append(rows)
    assert table.read(["x"]).num_rows == 9


def test_dictionaries_go_into_files_only_where_they_are_named(tmp_path: Path) -> None:
    """And where there is one day: else a file would have values of rows that lie elsewhere, which may be forgotten."""
    text = pa.dictionary(pa.int32(), pa.string())
    words = {DAY: ["2024-01-01", "2024-01-02", "2024-01-01"], "word": ["a", "b", None], "name": ["Ada", "Bob", "Eve"]}
    rows = pa.table({name: pa.array(values, text) for name, values in words.items()})
    table = DayTable("test", dict.fromkeys(words, pa.string()), tmp_path / "table")
    for part in (rows, rows.slice(1, 1)):
        table.append(part, [DAY, "word"])
    files = list(table.directory.rglob("*.parquet"))
    assert sorted(name in file.read_bytes() for file in files for name in (b"Ada", b"Bob")) == [False] * 3 + [True] * 3
    coded = [pq.ParquetFile(file).metadata.row_group(0).column(0).has_dictionary_page for file in files]
    assert sorted(coded) == [False, False, True]
    plain = rows.cast(pa.schema(list(table.schema.items())))
    assert table.read(day="2024-01-01").equals(plain.take([0, 2]))
    assert DeltaTable(str(table.directory)).to_pyarrow_table().num_rows == 4


@pytest.mark.parametrize("other", [{"x": pa.string()}, {"x": pa.int64(), "y": pa.int64()}, {"y": pa.int64()}])
def test_rows_of_other_columns_than_the_table_are_refused(tmp_path: Path, other: dict[str, pa.DataType]) -> None:
    """As of one that another program has changed: what was there can still be read and deleted."""
    table = DayTable("test", {DAY: pa.string(), "x": pa.int64()}, tmp_path / "table")
    rows = pa.table({DAY: ["2024-01-01"], "x": [1]})
    table.append(rows)
    types = {DAY: pa.string(), **other}
    wrong = pa.table({name: pa.nulls(1, dtype) for name, dtype in types.items()}).set_column(0, DAY, rows[DAY])
    with pytest.raises(OfflineStoreError, match="its columns are"):
        DayTable("test", types, table.directory).append(wrong)
    assert table.read().equals(rows)
    table.delete(rows.select(["x"]))
    assert table.read().num_rows == 0


def test_tables_that_the_library_wrote_go_on(tmp_path: Path) -> None:
    """Those of earlier releases, of any type."""
    types = {DAY: pa.string(), "x": pa.uint16(), "v": pa.list_(pa.float32(), 2), "t": pa.timestamp("us", "UTC")}
    types |= {"d": pa.decimal128(10, 2), "b": pa.binary(), "f": pa.float16()}
    columns = {name: pa.nulls(1, dtype) for name, dtype in types.items()} | {DAY: ["2024-01-01"]}
    rows = pa.table(columns, pa.schema(types))
    stored = pa.table({name: rows[name].cast(storage_type(dtype)) for name, dtype in types.items()})
    write_deltalake(str(tmp_path / "table"), stored, partition_by=[DAY])
    table = DayTable("test", types, tmp_path / "table")
    table.append(rows)
    assert table.read().equals(pa.concat_tables([rows, rows]))


@pytest.mark.parametrize("name", ["a[b]", "100%25"])
def test_a_directory_that_delta_cannot_use_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written there, and the error says what to do; a table that has no row is read as an empty one."""
    table = DayTable("log 'test'", {DAY: pa.string(), "x": pa.int64()}, tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"log 'test' can't lie .* Choose another directory"):
        table.append(pa.table({DAY: ["2024-01-01"], "x": [1]}))
    with pytest.raises(ConfigurationError, match="Choose another directory"), table.turn():
        pass
    assert table.read().num_rows == 0
    table.delete(pa.table({"x": [1]}))
    table.expire("2024-01-01")
    assert not list(tmp_path.iterdir())
