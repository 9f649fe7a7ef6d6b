"""Sources that are queries of real databases: types to the last digit, bounds, SQL over them, secrets, refusals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.definitions import from_dict
from fs_core.definitions.yaml.reading import read
from fs_core.definitions.yaml.writing import write
from fs_core.errors import DefinitionError, SourceError
from fs_core.offline.duckdb import connect
from fs_core.rule import EVENT_TIME
from fs_core.sources.warehouse.read import Bounds, parts, spool
from fs_core.values.times import EARLIEST
from tests.servers import DatabaseServer

user = Entity("user", keys={"user_id": "int64"}, description="A user.")
WIDE = 2**53 + 1
FIELDS = {
    "amount": "decimal(20, 4)",
    "clicks": "int64",
    "score": "float64",
    "ratio": "float32",
    "name": "string",
    "raw": "binary",
    "active": "bool",
    "born": "date",
}
COLUMNS = {
    "postgresql": (
        "user_id bigint, event_timestamp timestamptz, amount numeric(20, 4), clicks bigint, score float8, "
        "ratio float4, name text, raw bytea, active boolean, born date"
    ),
    "mysql": (
        "user_id bigint, event_timestamp datetime(6), amount decimal(20, 4), clicks bigint, score double, ratio float, "
        "name varchar(99) CHARACTER SET utf8mb4, raw blob, active boolean, born date"
    ),
}
EXACT, ODD = Decimal("9007199254740993.0001"), "é😀 '\"\\"
FIRST = datetime(2024, 1, 1, 10, 0, 0, 123456)
ROWS: Sequence[tuple[Any, ...]] = [
    (1, FIRST, EXACT, WIDE, 0.1, 1 / 3, ODD, b"\x00\xff", True, date(1, 1, 1)),
    (2, FIRST + timedelta(days=1), -EXACT, -WIDE, -0.0, 16777216.0, "", b"", False, date(9999, 12, 31)),
    (3, FIRST + timedelta(days=2), *[None] * 8),
]


@pytest.fixture
def at(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Source]:
    """A function that makes a source of a query at a database with the table `orders`; the session isn't in UTC."""
    url = server.new_database()
    scheme = server.scheme.partition("+")[0]
    base = url.replace(server.scheme, scheme).replace("@", ":${ORDERS_PASSWORD}@")
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter/2")
    schema = url.rpartition("%3D")[2] if scheme == "postgresql" else url.rpartition("/")[2].partition("?")[0]
    with server.connect() as connection, connection.cursor() as cursor:
        name = f"{schema}.orders"
        cursor.execute(f"CREATE TABLE {name} ({COLUMNS[scheme]})")
        rows = [(r[0], r[1].replace(tzinfo=UTC), *r[2:]) if scheme == "postgresql" else r for r in ROWS]
        cursor.executemany(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * 10)})", rows)
    return lambda query: Source("orders", url=base, query=query)


def orders_of(source: Source) -> FeatureView:
    """A view of every column of the table."""
    fields = [Field(name, dtype, "A column.") for name, dtype in FIELDS.items()]
    return FeatureView("orders_seen", user, fields, source=source, description="Orders.")


def test_every_digit_is_kept(at: Callable[[str], Source], tmp_path: Path) -> None:
    """Whole numbers beyond 2**53, decimals, floats and signs, text, bytes, dates, moments and nulls come exactly."""
    source = at("SELECT * FROM orders;")
    view = orders_of(source)
    with FeatureStore(tmp_path) as store:
        store.apply(view)
        assert store.backfill("orders_seen") == 3
        found = store.history("orders_seen").sort_by("user_id").to_pylist()
    for row, expected in zip(found, ROWS, strict=True):
        floats = pa.array([expected[5]], pa.float32())[0].as_py()
        assert [row[name] for name in FIELDS] == [*expected[2:5], floats, *expected[6:]]
        assert row[EVENT_TIME] == expected[1].replace(tzinfo=UTC)
    zero = "-0.0" if str(source.url).startswith("postgresql") else "0.0"  # MySQL keeps no sign of it
    assert str(found[1]["score"]) == zero


def test_the_database_leaves_out_what_is_not_asked_for(at: Callable[[str], Source]) -> None:
    """A bound is a part of the query: other rows aren't sent; what is sent holds every row that counts."""
    source = at("SELECT user_id, event_timestamp FROM orders -- to the end of the line")
    start, end = (int(datetime(2024, 1, n, tzinfo=UTC).timestamp()) * 10**6 for n in (2, 3))
    found = pa.concat_tables(parts(source, Bounds("event_timestamp", start, end)))
    assert found["user_id"].to_pylist() == [2]
    assert pa.concat_tables(parts(source, Bounds("event_timestamp", end, None)))["user_id"].to_pylist() == [3]
    assert pa.concat_tables(parts(source, rows=False)).num_rows == 0
    without = at("SELECT user_id, CASE WHEN user_id > 1 THEN event_timestamp END AS event_timestamp FROM orders")
    found = pa.concat_tables(parts(without, Bounds("event_timestamp", end, end + 1)))
    assert found["user_id"].to_pylist() == [1], "a time that is null is read, so that it is refused"


def test_a_bound_before_the_first_year(at: Callable[[str], Source]) -> None:
    """A start at the first moment that a time can have, or a lookback beyond it, leaves nothing out."""
    source = at("SELECT user_id, event_timestamp FROM orders")
    for start in (EARLIEST, EARLIEST - 10**6):
        assert pa.concat_tables(parts(source, Bounds("event_timestamp", start, None))).num_rows == 3


def test_backfill_goes_on_where_it_stopped(at: Callable[[str], Source], tmp_path: Path) -> None:
    """An incremental backfill writes new rows once; with a lookback, it asks for late ones alone."""
    view = orders_of(at("SELECT * FROM orders WHERE user_id < 3"))
    with FeatureStore(tmp_path) as store:
        store.apply(view)
        assert store.backfill("orders_seen", end="2024-01-02") == 1
        assert store.backfill("orders_seen", incremental=True) == 1
        assert store.backfill("orders_seen", incremental=True, lookback="1h") == 0
        assert store.backfill("orders_seen", start="2025-01-01") == 0


def test_sql_over_a_query(at: Callable[[str], Source], tmp_path: Path) -> None:
    """DuckDB's SQL reads a database's rows as it reads files; lineage knows the columns; mistakes show at apply."""
    source = at("SELECT * FROM orders")
    total = FeatureView(
        "total",
        user,
        [Field("amount", "decimal(20, 4)", "Paid.")],
        source=SQL("SELECT user_id, event_timestamp, amount FROM orders WHERE active"),
        description="Orders.",
    )
    with FeatureStore(tmp_path) as store:
        store.apply(source, total)
        assert store.backfill("total") == 1
        assert store.history("total")["amount"].to_pylist() == [ROWS[0][2]]
        assert "orders.amount" in store.lineage.upstream("total.amount").columns
        wrong = SQL("SELECT user_id, event_timestamp, amuont AS amount FROM orders")
        with pytest.raises(SourceError, match=r"names 'amuont', no column there\. Did you mean 'amount'"):
            store.apply(FeatureView("other", user, total.fields, source=wrong, description="Orders."))


def test_a_password_is_shown_nowhere(
    at: Callable[[str], Source], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable's value is in no error, log, definition or file; where it isn't set, the error says so."""
    caplog.set_level(logging.DEBUG)
    source = at("SELECT nothing FROM nowhere")
    with FeatureStore(tmp_path) as store:
        store.apply(orders_of(source))
        with pytest.raises(SourceError, match=r"source 'orders' at .*nowhere") as caught:
            store.backfill("orders_seen")
        shown = f"{caught.value!r} {caught.value.__cause__!r} {source!r} {source.to_dict()} {caplog.text}"
        assert "hunter" not in shown
        assert not any(b"hunter" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        monkeypatch.delenv("ORDERS_PASSWORD")
        with pytest.raises(SourceError, match=r"its URL names \$\{ORDERS_PASSWORD\}, which isn't set here"):
            store.backfill("orders_seen")


def test_a_query_changes_nothing(at: Callable[[str], Source]) -> None:
    """A second statement, or one that writes, is refused by the database, and what was there stays."""
    for query in ("SELECT 1) AS x; DELETE FROM orders; SELECT (2", "DELETE FROM orders RETURNING user_id"):
        with pytest.raises(SourceError):
            list(parts(at(query)))
    assert pa.concat_tables(parts(at("SELECT * FROM orders"))).num_rows == 3


def test_types_without_a_like_are_refused(postgres: DatabaseServer) -> None:
    """A numeric of any size and an infinite moment can't be kept to the digit: the error names column and cast."""
    url = postgres.new_database().replace("+psycopg", "")
    for query, message in [
        ("SELECT 1.5::numeric AS n", r"column 'n' is 'numeric' without a size.*n::numeric\(20, 4\)"),
        ("SELECT 'infinity'::timestamptz AS t", "column 't' holds 'infinity'"),
        ("SELECT '-infinity'::timestamp AS t", "column 't' holds 'infinity'"),
        ("SELECT 'infinity'::date AS d", "column 'd' holds 'infinity'"),
        ("SELECT '1.2.3.4'::inet AS i", r"column 'i' is 'inet' without.*i::text"),
    ]:
        with pytest.raises(SourceError, match=message):
            list(parts(Source("s", url=url, query=query)))
    kept = "SELECT 12::numeric(5, 0) AS n, '{\"a\": 1}'::jsonb AS j, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u"
    (row,) = pa.concat_tables(parts(Source("s", url=url, query=kept))).to_pylist()
    assert row == {"n": Decimal(12), "j": '{"a": 1}', "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT '1.20'::money AS m", r"column 'm' is 'money', .*m::numeric\(20, 2\) AS m"),
        ("SELECT 4000000000::oid AS o", "column 'o' is 'oid', .*o::bigint AS o"),
        ("SELECT ARRAY['1.20'::money] AS l", r"column 'l' is 'money\[\]', .*l::numeric\(20, 2\)\[\] AS l"),
        ("SELECT '1 day'::interval AS i", r"column 'i' is 'interval', .*EXTRACT\(EPOCH FROM i\)::float8 AS i"),
        ("SELECT ARRAY['1 day'::interval] AS i", r"column 'i' is 'interval\[\]', .*i::text\[\] AS i"),
        ("SELECT ARRAY[1.5]::numeric(10, 2)[] AS n", r"column 'n' is 'numeric\[\]', .*n::float8\[\] AS n"),
        ("SELECT 'NaN'::numeric(10, 2) AS n", r"column 'n' holds a value that is no decimal128\(10, 2\): .*nan"),
    ],
)
def test_postgres_types_that_come_as_other_values(postgres: DatabaseServer, query: str, message: str) -> None:
    """What the driver would hand over as another value is refused, with the column, its type and the cast."""
    url = postgres.new_database().replace("+psycopg", "")
    with pytest.raises(SourceError, match=f"source 's': {message}"):
        list(parts(Source("s", url=url, query=query)))


def test_mysql_values_that_have_no_like(mariadb: DatabaseServer) -> None:
    """A MySQL TIME, which SQL would read as a whole number, and a date of zeros are refused by the column's name."""
    url = mariadb.new_database().replace("+pymysql", "")
    name = url.rpartition("/")[2].partition("?")[0]
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"CREATE TABLE {name}.t (d date, m datetime(6))")
        cursor.execute(f"INSERT INTO {name}.t VALUES ('0000-00-00', '0000-00-00 00:00:00')")
    for query, message in [
        ("SELECT CAST('10:00:00' AS TIME) AS t", r"column 't' is 'duration\[us\]', .*TIME_TO_SEC\(t\) AS t"),
        ("SELECT d FROM t", "column 'd' holds '0000-00-00', which is no date"),
        ("SELECT m FROM t", "column 'm' holds '0000-00-00 00:00:00.000000', which is no date"),
    ]:
        with pytest.raises(SourceError, match=f"source 's': {message}"):
            list(parts(Source("s", url=url, query=query)))


def test_mysql_sends_no_more_than_is_read(mariadb: DatabaseServer) -> None:
    """Who stops early, for an error or by choice, doesn't wait until MySQL has sent all the rest."""
    url = mariadb.new_database().replace("+pymysql", "")
    with mariadb.connect() as connection, connection.cursor() as cursor:

        def sent() -> int:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Bytes_sent'")
            return int(cursor.fetchone()[1])

        before = sent()
        some = parts(Source("s", url=url, query="SELECT REPEAT('x', 1000) AS x FROM seq_1_to_50000"))
        next(some)
        some.close()
        assert sent() - before < 40_000_000  # of 50 million, after what sockets hold


def test_sql_keeps_every_digit_of_a_wide_decimal(mariadb: DatabaseServer, tmp_path: Path) -> None:
    """What MySQL sums has 41 digits or more: SQL over it reads a decimal, not a float; too many digits are refused."""
    url = mariadb.new_database().replace("+pymysql", "")
    query = f"SELECT CAST('{WIDE}' AS decimal(50, 0)) AS n"
    spool(Source("s", url=url, query=query), tmp_path / "s.parquet")
    with connect() as connection:
        rows = connection.sql(f"SELECT n::bigint FROM '{tmp_path / 's.parquet'}'").fetchall()
    assert rows == [(WIDE,)]
    wide = Source("s", url=url, query=query.replace("'9", f"'{'9' * 30}"))
    with pytest.raises(SourceError, match=r"source 's': column 'n' is a decimal\(50, 0\) and holds .*CAST\(n AS"):
        spool(wide, tmp_path / "s.parquet")


def test_what_mysql_calls_boolean(mariadb: DatabaseServer) -> None:
    """TINYINT(1) is a boolean, and an error where it holds another number; unsigned numbers and times are exact."""
    url = mariadb.new_database().replace("+pymysql", "")
    with mariadb.connect() as connection, connection.cursor() as cursor:
        name = url.rpartition("/")[2].partition("?")[0]
        cursor.execute(f"CREATE TABLE {name}.t (b boolean, u bigint unsigned)")
        cursor.execute(f"INSERT INTO {name}.t VALUES (7, 18446744073709551615)")
    with pytest.raises(SourceError, match=r"column 'b' is a BOOLEAN, or TINYINT\(1\), and holds 7\. .*CAST"):
        list(parts(Source("s", url=url, query="SELECT b FROM t")))
    (row,) = pa.concat_tables(parts(Source("s", url=url, query="SELECT CAST(b AS SIGNED) AS b, u FROM t"))).to_pylist()
    assert row == {"b": 7, "u": 2**64 - 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "postgresql://u:secret@h/d", "query": "SELECT 1"}, r"carries a password.*\$\{ORDERS_PASSWORD\}"),
        ({"url": "postgresql://u:secret${X}@h/d", "query": "SELECT 1"}, "carries a password"),
        ({"url": "snowflake://u@h/d?password=secret", "query": "SELECT 1"}, "carries a password"),
        ({"url": "snowflake://u@h/d?token=${X}secret", "query": "SELECT 1"}, "carries a password"),
        ({"url": "oracle://h/d", "query": "SELECT 1"}, "no database's that can be read here. Known: postgresql://"),
        ({"url": "postgresql://h/d"}, "needs both: url"),
        ({"query": "SELECT 1"}, "needs both: url"),
        ({"url": "postgresql://h/d", "query": " ; "}, "needs both: url"),
        ({"url": "postgresql://h/d", "query": "SELECT 1", "path": "x.csv"}, "leave path, format and sql out"),
    ],
)
def test_definitions_that_are_refused(given: dict[str, Any], message: str) -> None:
    """A password, another database, or half a definition is refused, and no secret shows in the error."""
    with pytest.raises(DefinitionError, match=message) as caught:
        Source("orders", **given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:${PW}@h/d", "postgresql://u@h/d", "snowflake://u@h/d?token=${X}&role=r", "mysql://${U}@h/d"]
)
def test_definitions_survive(url: str) -> None:
    """A source with a query comes back from its stored form and from YAML, its variables unread."""
    source = Source("orders", url=url, query="SELECT *\nFROM orders WHERE x = '${PW}'", description="Orders.")
    assert from_dict(source.to_dict(), lambda _: source) == source
    (back,) = read(write([source], lambda _: []), lambda _: [], lambda _: source, lambda bare: bare)
    assert (back, back.to_dict()) == (source, source.to_dict())


@pytest.mark.parametrize(
    ("scheme", "package"), [("snowflake", "adbc-driver-snowflake"), ("bigquery", "adbc-driver-bigquery")]
)
def test_a_driver_that_is_missing(scheme: str, package: str) -> None:
    """Where a database's driver isn't installed, the error says what to install."""
    with pytest.raises(
        SourceError, match=rf"source 'orders' needs a driver that isn't installed: .*pip install {package}"
    ):
        next(parts(Source("orders", url=f"{scheme}://h/d", query="SELECT 1")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ssl_veryfy_cert=true", r"its URL has the option 'ssl_veryfy_cert'\. Known are ssl_ca, "),
        ("ssl_verify_cert=maybe", "option ssl_verify_cert is neither true nor false"),
        ("ssl_verify_identity=true", "ssl_verify_identity needs ssl_ca"),
        ("ssl_ca=/no/such.pem", "No such file"),
    ],
)
def test_options_of_mysql_that_would_be_ignored(options: str, message: str) -> None:
    """An option that isn't known is refused by name, and the known ones reach the driver."""
    with pytest.raises(SourceError, match=f"source 'orders'.*{message}"):
        next(parts(Source("orders", url=f"mysql://u@127.0.0.1:1/d?{options}", query="SELECT 1")))


def test_options_of_bigquery_are_refused() -> None:
    """BigQuery's URL takes no options, so one is refused by name."""
    with pytest.raises(SourceError, match="source 'orders': its URL has the options location"):
        next(parts(Source("orders", url="bigquery://h/d?location=EU", query="SELECT 1")))


def test_a_server_that_should_be_checked(mariadb: DatabaseServer) -> None:
    """Where a URL asks for a checked server, one without a certificate isn't talked to."""
    url = mariadb.new_database().replace("+pymysql", "").partition("?")[0]
    with pytest.raises(SourceError, match="SSL"):
        next(parts(Source("orders", url=f"{url}?ssl_verify_cert=true", query="SELECT 1")))


def test_a_server_that_is_down() -> None:
    """A database that doesn't answer is an error that names source and address."""
    for scheme in ("postgresql", "mysql"):
        with pytest.raises(SourceError, match=r"source 'orders' at .*127\.0\.0\.1:1/d: "):
            next(parts(Source("orders", url=f"{scheme}://u@127.0.0.1:1/d", query="SELECT 1")))


def test_a_query_is_a_spine(at: Callable[[str], Source], tmp_path: Path) -> None:
    """Its rows, as the database orders them, get their features, also as a stream; files and faults are refused."""
    view = FeatureView("seen", user, [Field("total", "float64", "A number.")], description="Seen.")
    spine = at("SELECT user_id, event_timestamp, amount FROM orders")
    with FeatureStore(tmp_path) as store:
        store.apply(view)
        store.write(
            "seen", {"user_id": [1, 3], "event_timestamp": [FIRST.replace(tzinfo=UTC)] * 2, "total": [1.5, 2.5]}
        )
        table = store.get_historical_features(spine, "seen", label="amount").table.sort_by("user_id")
        assert table["total"].to_pylist() == [1.5, None, 2.5]
        assert table["amount"].to_pylist() == [EXACT, -EXACT, None]
        stream = store.stream_historical_features(spine, "seen", batch_size=2)
        assert stream.read_all().sort_by("user_id").equals(table)
        parts_of_it = store.split(spine, "seen", parts=2)
        assert parts_of_it.joined([part.answer() for part in parts_of_it]).table.sort_by("user_id").equals(table)
        again = store.recreate(store.get_historical_features(spine, "seen").spec, spine)
        assert again.table.sort_by("user_id").equals(table)
        for read in (store.get_historical_features, store.stream_historical_features):
            with pytest.raises(SourceError, match=r"source 'files' has no url and query"):
                read(Source("files", path="x.parquet"), "seen")
            with pytest.raises(SourceError, match=r"source 'orders' at .*nowhere"):
                read(at("SELECT * FROM nowhere"), "seen")
