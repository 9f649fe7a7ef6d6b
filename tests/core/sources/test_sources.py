"""Running sources: files, SQL over them, and what goes wrong with both."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from fs_core.definitions import SQL, Entity, FeatureView, Field, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.offline.duckdb import connect, literal, quoted
from fs_core.offline.validation.rows import validate_rows
from fs_core.sources.sources import read_file, referenced_tables
from tests.core.sources.running import run_source

FLIGHTS = pa.table(
    {
        "plane": ["007", "008", "007"],
        "event_timestamp": pa.array([0, 10**6, 2 * 10**6], pa.timestamp("us")),
        "delay": [1, 2, 3],
        "crew": [4, 5, 6],
    }
)


def view(source: SQL | Source | None, **fields: str) -> FeatureView:
    """A view of planes with a source."""
    kinds = fields or {"delay": "int64"}
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "string"}),
        fields=[Field(name, dtype) for name, dtype in kinds.items()],
        source=source,
    )


@pytest.fixture
def flights(tmp_path: Path) -> dict[str, Source]:
    """A registered Parquet source named flights, its path relative to `tmp_path`."""
    pq.write_table(FLIGHTS, tmp_path / "flights.parquet")
    return {"flights": Source("flights", "flights.parquet")}


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT * FROM a", {"a"}),
        ("FROM a", {"a"}),
        ("SELECT * FROM a JOIN b USING (x), c", {"a", "b", "c"}),
        ("SELECT (SELECT max(y) FROM z) FROM main.x WHERE k IN (SELECT k FROM w)", {"x", "z", "w"}),
        ("WITH t AS (SELECT * FROM a) SELECT * FROM t JOIN b USING (x)", {"a", "b"}),
        ("WITH t AS (SELECT * FROM a), u AS (SELECT * FROM T) SELECT * FROM u", {"a"}),
        ("WITH a AS (SELECT * FROM a WHERE x > 1) SELECT * FROM a", {"a"}),
        ("WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT * FROM r, a", {"a"}),
        ("SELECT * FROM (WITH t AS (FROM a) FROM t) JOIN t USING (x)", {"a", "t"}),
        ("SELECT * FROM a UNION ALL SELECT * FROM b", {"a", "b"}),
        ('SELECT * FROM "Sel""ect" -- from c', {'Sel"ect'}),
        ("SELECT 'FROM a' FROM range(3);", set()),
    ],
)
def test_the_tables_of_a_query(sql: str, tables: set[str]) -> None:
    """Every table a query reads is found, and no name that the query makes itself."""
    assert referenced_tables(sql) == tables


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("INSERT INTO a VALUES (1)", "must be one SELECT"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("DROP TABLE a", "must be one SELECT"),
    ],
)
def test_what_is_no_query(tmp_path: Path, sql: str, says: str) -> None:
    """Text that isn't one SELECT is refused with DuckDB's words, and the view's name when it runs."""
    with pytest.raises(SourceError, match=says):
        referenced_tables(sql)
    with pytest.raises(SourceError, match=rf"view 'planes': .*{says}"):
        run_source(view(SQL(sql)), {}, tmp_path)


def test_sql_yields_the_views_columns(tmp_path: Path, flights: dict[str, Source]) -> None:
    """A query's rows come in its order, columns in the view's."""
    query = "SELECT delay, event_timestamp, plane FROM flights ORDER BY delay DESC; -- newest first"
    found = run_source(view(SQL(query)), flights, tmp_path)
    assert found.column_names == ["plane", "event_timestamp", "delay"]
    assert found["delay"].to_pylist() == [3, 2, 1]


def test_a_query_may_call_its_own_table_as_the_source(tmp_path: Path, flights: dict[str, Source]) -> None:
    """WITH may shadow a source by a filtered version of itself; case doesn't matter."""
    query = "WITH Flights AS (SELECT * EXCLUDE crew FROM FLIGHTS WHERE delay > 1) FROM flights"
    assert run_source(view(SQL(query)), flights, tmp_path)["delay"].to_pylist() == [2, 3]


def test_a_plain_source_yields_the_columns_that_are_wanted(tmp_path: Path, flights: dict[str, Source]) -> None:
    """A file may have more columns than the view."""
    found = run_source(view(flights["flights"]), flights, tmp_path)
    assert found.column_names == ["plane", "event_timestamp", "delay"]
    assert found["plane"].to_pylist() == ["007", "008", "007"]


def test_a_plain_source_that_lacks_a_column(tmp_path: Path, flights: dict[str, Source]) -> None:
    """A missing column is named, and so are the columns that there must be."""
    with pytest.raises(SourceError, match=r"view 'planes': its source lacks 'speed'\. The columns must be plane, "):
        run_source(view(flights["flights"], speed="int64"), flights, tmp_path)


def test_sql_whose_columns_are_not_the_views(tmp_path: Path, flights: dict[str, Source]) -> None:
    """Missing and extra columns are both named."""
    query = "SELECT plane, event_timestamp, delay AS dealy, crew FROM flights"
    with pytest.raises(SourceError, match="lacks 'delay' and yields 'dealy', 'crew' beyond the view's columns"):
        run_source(view(SQL(query)), flights, tmp_path)


def test_sql_that_fails(tmp_path: Path, flights: dict[str, Source]) -> None:
    """A failure, before or while running, carries the view's name and DuckDB's words."""
    with pytest.raises(SourceError, match=r"view 'planes': its source failed: .*nowhere"):
        run_source(view(SQL("SELECT nowhere FROM flights")), flights, tmp_path)
    query = "SELECT plane, event_timestamp, plane::INT + 'x'::INT AS delay FROM flights"
    with pytest.raises(SourceError, match=r"view 'planes': its source failed: .*'x'"):
        run_source(view(SQL(query)), flights, tmp_path)


def test_sql_over_a_table_that_is_no_source(tmp_path: Path, flights: dict[str, Source]) -> None:
    """An unregistered table is named, with what may have been meant; a Python variable is no table."""
    flihgts = FLIGHTS  # noqa: F841  # what DuckDB would find
    with pytest.raises(SourceError, match=r"reads 'flihgts', no registered source\. Did you mean 'flights'\?"):
        run_source(view(SQL("SELECT * EXCLUDE crew FROM flihgts")), flights, tmp_path)


def test_a_view_without_a_source(tmp_path: Path) -> None:
    """A view that is only written to has nothing to run."""
    with pytest.raises(SourceError, match="view 'planes' has no source"):
        run_source(view(None), {}, tmp_path)


def test_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the source, the path and both directories where it was looked for."""
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    with pytest.raises(SourceError, match=r"source 's': no file 'x\.parquet'") as caught:
        run_source(view(Source("s", "x.parquet")), {}, store)
    assert repr(str(tmp_path)) in str(caught.value)
    assert repr(str(store)) in str(caught.value)


def test_where_relative_paths_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory comes first, then the store's."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    source = Source("s", "f.parquet")
    pq.write_table(FLIGHTS.slice(0, 1), tmp_path / "f.parquet")
    assert run_source(view(source), {}, tmp_path).num_rows == 1
    pq.write_table(FLIGHTS, tmp_path / "work" / "f.parquet")
    assert run_source(view(source), {}, tmp_path).num_rows == 3


def test_a_damaged_file(tmp_path: Path) -> None:
    """A file that is no Parquet fails with the view's name."""
    (tmp_path / "f.parquet").write_bytes(b"not parquet")
    with pytest.raises(SourceError, match="view 'planes': its source failed"):
        run_source(view(Source("s", "f.parquet")), {}, tmp_path)


def test_globs_and_quotes_in_paths(tmp_path: Path) -> None:
    """A glob reads several files, and a quote in a name is only a quote."""
    (tmp_path / "it's").mkdir()
    for part in range(2):
        pq.write_table(FLIGHTS, tmp_path / "it's" / f"{part}.parquet")
    assert run_source(view(Source("s", "it's/*.parquet")), {}, tmp_path).num_rows == 6


@pytest.mark.parametrize("name", ["f.csv", "f.json", "f.csv.gz"])
def test_text_formats(tmp_path: Path, name: str) -> None:
    """CSV and JSON read like Parquet, and a text key of digits keeps its zeros."""
    with connect() as connection:
        connection.register("flights", FLIGHTS)
        connection.execute(f"COPY flights TO {literal(str(tmp_path / name))}")
    planes = view(Source("s", name), delay="int64", crew="int8")
    checked = validate_rows(planes, run_source(planes, {}, tmp_path))
    assert checked["plane"].to_pylist() == ["007", "008", "007"]
    assert checked["crew"].to_pylist() == [4, 5, 6]
    assert checked["__event_time"].cast(pa.int64()).to_pylist() == [0, 10**6, 2 * 10**6]


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz"])
def test_decimals_of_a_csv_keep_their_digits(tmp_path: Path, name: str) -> None:
    """What a float couldn't hold is read digit for digit, from a source and from a file that is written."""
    digits = ["1234567890123456.78", "0.10", None, "-7"]
    with connect() as connection:
        connection.register("rows", rows_of(delay=digits))
        connection.execute(f"COPY rows TO {literal(str(tmp_path / name))}")
    planes = view(Source("s", name), delay="decimal(20, 2)")
    for found in (run_source(planes, {}, tmp_path), read_file([planes], tmp_path / name)):
        kept = validate_rows(planes, found)["delay"].to_pylist()
        assert kept == [None if text is None else Decimal(text) for text in digits]


@pytest.mark.parametrize("text", ["1.005", "1,5"])
def test_a_text_that_is_no_such_decimal(tmp_path: Path, text: str) -> None:
    """Nothing is rounded to what was declared, and no other notation is guessed."""
    with connect() as connection:
        connection.register("rows", rows_of(delay=["1.00", text]))
        connection.execute(f"COPY rows TO {literal(str(tmp_path / 'f.csv'))}")
    planes = view(None, delay="decimal(20, 2)")
    with pytest.raises(SchemaError, match=rf"'delay' is declared as decimal128\(20, 2\): row 1 holds '{text}'"):
        validate_rows(planes, read_file([planes], tmp_path / "f.csv"))


@pytest.mark.parametrize("dtype", ["int64", "float64", "decimal(9, 2)", "bool", "date32", "string", "list<int64>"])
def test_a_csv_without_values(tmp_path: Path, dtype: str) -> None:
    """A column without a value is all nulls, whatever was declared, and a file with a header alone has no rows."""
    planes = view(Source("s", "f.csv"), delay=dtype)
    header, row = "plane,event_timestamp,delay\n", "007,2024-01-01T10:00:00Z,\n"
    for text, delays in ((header + row * 2, [None, None]), (header, [])):
        (tmp_path / "f.csv").write_text(text)
        for found in (run_source(planes, {}, tmp_path), read_file([planes], tmp_path / "f.csv")):
            checked = validate_rows(planes, found)
            assert checked["delay"].to_pylist() == delays
            assert checked["plane"].to_pylist() == ["007"] * len(delays)


@pytest.mark.parametrize("name", ["f.csv", "f.json", "f.parquet"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    """A file without a byte is called empty, and not blamed for the columns that it lacks."""
    (tmp_path / name).touch()
    with pytest.raises(SourceError, match=rf"{name}' is empty"):
        read_file([view(None)], tmp_path / name)


def rows_of(**columns: list[str | None]) -> pa.Table:
    """Rows of planes, with columns of text."""
    length = len(next(iter(columns.values())))
    times = pa.array(range(length), pa.timestamp("us"))
    return pa.table({"plane": [f"00{n}" for n in range(length)], "event_timestamp": times, **columns})


def test_wide_sums_fit_the_declared_type(tmp_path: Path, flights: dict[str, Source]) -> None:
    """DuckDB sums integers into 128 bits; rows pass the check as the declared int64."""
    query = "SELECT plane, max(event_timestamp) AS event_timestamp, sum(delay) AS delay FROM flights GROUP BY plane"
    found = run_source(view(SQL(query)), flights, tmp_path)
    assert found["delay"].type == pa.decimal128(38, 0)
    checked = validate_rows(view(SQL(query)), found)
    assert sorted(checked["delay"].to_pylist()) == [2, 4]


@pytest.mark.parametrize(
    ("start", "end", "delays"),
    [(None, None, [1, 2, 3]), (10**6, None, [2, 3]), (None, 10**6, [1]), (1, 10**6 + 1, [2]), (2 * 10**6, 10**6, [])],
)
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_a_range_of_event_times(
    tmp_path: Path, start: int | None, end: int | None, delays: list[int], zone: str | None
) -> None:
    """The start is inside, the end outside; a naive time is UTC and a zoned one its instant."""
    times = FLIGHTS["event_timestamp"].cast(pa.timestamp("us", tz=zone))
    pq.write_table(FLIGHTS.set_column(1, "event_timestamp", times), tmp_path / "f.parquet")
    found = run_source(view(Source("s", "f.parquet")), {}, tmp_path, start=start, end=end)
    assert found["delay"].to_pylist() == delays


@pytest.mark.parametrize("name", ["f.parquet", "f.csv"])
def test_a_time_that_is_null_is_in_every_range(tmp_path: Path, name: str) -> None:
    """It is read, by SQL too, so that whoever checks rows refuses it: a bound makes no bad row good."""
    times = pa.array([None, 10**6, 2 * 10**6], pa.timestamp("us", "UTC"))
    flown = FLIGHTS.set_column(1, "event_timestamp", times)
    (pq.write_table if name == "f.parquet" else csv.write_csv)(flown, tmp_path / name)
    source = Source("s", tmp_path / name)
    query = SQL("SELECT plane, event_timestamp, delay FROM s")
    for planes in (view(source), view(query)):
        for start, end in ((2 * 10**6, None), (2 * 10**6, 3 * 10**6)):
            found = run_source(planes, {"s": source}, tmp_path, start=start, end=end)
            assert sorted(found["delay"].to_pylist()) == [1, 3]


def test_a_range_of_nanoseconds(tmp_path: Path) -> None:
    """A fact between two microseconds is in the range that its rounded time is in, and in no other."""
    times = pa.array([999, 1_000, 1_001], pa.timestamp("ns", tz="UTC"))
    pq.write_table(FLIGHTS.set_column(1, "event_timestamp", times), tmp_path / "f.parquet")
    planes = view(Source("s", "f.parquet"))
    ranges = [run_source(planes, {}, tmp_path, start=at, end=at + 1)["delay"].to_pylist() for at in range(4)]
    assert ranges == [[], [1, 2], [3], []]


def test_identifiers_and_texts_are_quoted() -> None:
    """Whatever a name or text holds, SQL reads back the same."""
    name, text = 'a"b; DROP', "it's '' x"
    with connect() as connection:
        found = connection.sql(f"SELECT {literal(text)} AS {quoted(name)}").to_arrow_table()
    assert found.to_pydict() == {name: [text]}


def test_cursors_are_alone_and_mean_utc() -> None:
    """What one call registers no other sees, in any thread, and every one of them is in UTC."""
    found: list[Any] = []

    def look() -> None:
        with connect() as connection:
            zone = connection.execute("SELECT current_setting('TimeZone')").fetchall()[0][0]
            tables = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall()[0][0]
            found.append((zone, tables))

    with connect() as connection:
        connection.register("spine", FLIGHTS)
        connection.execute("CREATE TEMP VIEW v AS SELECT 1")
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [("UTC", 0)] * 4
