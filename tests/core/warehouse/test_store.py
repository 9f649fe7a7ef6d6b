"""A store's features as SQL, its history as files and tables: what a person does, and what is refused."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from click.testing import CliRunner
from sqlglot import exp

from fs_core import Aggregation, Entity, FeatureLookup, FeatureStore, FeatureView, Field, on_demand
from fs_core.cli.group import cli
from fs_core.errors import ConfigurationError, DataError, DefinitionError, FeatureStoreError, OfflineStoreError
from fs_core.offline.duckdb import connect
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.warehouse.dialects import DIALECTS
from fs_core.warehouse.export import write_parquet
from tests.servers import DatabaseServer

START = datetime(2024, 1, 1, tzinfo=UTC)
user = Entity("user", keys={"user_id": "int64"}, description="A user.")
spending = FeatureView(
    "spending",
    user,
    [Field("amount", "float64", "Paid, EUR."), Field("count", "uint64", "Orders.")],
    ttl="7d",
    lag="1h",
    description="What a user paid.",
)
rates = FeatureView("rates", None, [Field("rate", "decimal(10, 4)", "EUR in USD.")], description="One row for all.")
marks = FeatureView("marks", user, [Field("marks", "list<int32>", "Marks.")], description="Marks.")
FEATURES = [
    "spending.*",
    "spending.available_at",
    "rates",
    FeatureLookup("spending.amount", keys={"user_id": "friend"}, prefix="friend_"),
]


@on_demand(inputs=["spending.amount"], fields=[Field("half", "float64", "Half of it.")], description="Halved.")
def halved(amount: Any) -> Any:
    """Return half of it."""
    return amount / 2


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with rows of every kind: late, tied, expired."""
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    days = [START + timedelta(days=day) for day in (0, 1, 1, 2, 30)]
    store.apply(user, spending, rates, marks)
    rows = {"user_id": [1, 1, 1, 2, 1], "event_timestamp": days, "amount": [1.5, float("nan"), -0.0, None, 4.0]}
    store.write("spending", {**rows, "count": pa.array([1, 2**64 - 1, 3, None, 5], pa.uint64())})
    store.write("rates", {"event_timestamp": days[:2], "rate": [Decimal("1.1"), Decimal("1.2")]})
    return store


def spine() -> pa.Table:
    """Rows with duplicates, null keys and null times."""
    moments = [START + timedelta(days=day, hours=1) for day in (0, 1, 1, 9, 40, 3)]
    rows = {"user_id": [1, 1, 1, 1, 3, None], "friend": [2, 1, 1, None, 1, 1]}
    return pa.table({**rows, "event_timestamp": [*moments[:5], None], "row": range(6)})


def asked_in_duckdb(store: FeatureStore, directory: Path, query: str) -> pa.Table:
    """Return what DuckDB answers from exported files, ordered by the spine's rows."""
    with connect() as connection:
        connection.register("spine", spine())
        for view in ("spending", "rates"):
            assert store.export(view, directory / f"{view}.parquet") == store.history(view).num_rows
            connection.register(view, pq.read_table(directory / f"{view}.parquet"))
        return connection.sql(query).to_arrow_table().sort_by("row")


@pytest.mark.parametrize("lag", [None, "1d"])
def test_the_answer_is_that_of_a_training_set(filled: FeatureStore, tmp_path: Path, lag: str | None) -> None:
    """Several look-ups, one by another column, one without keys, the clocks of the winner: every cell the same."""
    query = filled.sql(FEATURES, dialect="duckdb", spine="spine", lag=lag)
    expected = filled.get_historical_features(spine(), FEATURES, lag=lag).table
    found = asked_in_duckdb(filled, tmp_path, query)
    assert found.column_names == expected.column_names
    assert list(map(str, found.cast(expected.schema).to_pylist())) == list(map(str, expected.to_pylist()))


def test_statuses_are_told(filled: FeatureStore, tmp_path: Path) -> None:
    """Each look-up has a column that says present, missing or expired."""
    query = filled.sql("spending", dialect="duckdb", spine="spine", status=True)
    found = asked_in_duckdb(filled, tmp_path, query)["spending__status"].to_pylist()
    assert found == ["present", "present", "present", "expired", "missing", "missing"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_rule(filled: FeatureStore, dialect: str) -> None:
    """Windows and equality joins alone; both orders by availability, event time and seq; lengths in microseconds."""
    text = filled.sql(FEATURES, dialect=dialect, spine="my_schema.my_spine", tables={"rates": "other.rates"})
    tree = sqlglot.parse_one(text, read=dialect)
    tables = {f"{table.db}.{table.name}".strip(".") for table in tree.find_all(exp.Table)}
    upper = DIALECTS[dialect].upper
    assert {"my_schema.my_spine", "other.rates", "SPENDING" if upper else "spending"} <= tables
    orders = [[one.name for one in window.args["order"].expressions] for window in tree.find_all(exp.Window)]
    columns = [column.upper() if upper else column for column in (AVAILABLE_AT, EVENT_TIME, SEQ)]
    assert orders == [columns, ["fs_moment", "fs_event", "fs_seq"], ["fs_moment", "fs_asked"]] * 3
    assert all(not one.args.get("desc") and "NULLS" not in one.sql(dialect) for one in tree.find_all(exp.Ordered))
    conditions = [join.args["on"] for join in tree.find_all(exp.Join)]
    parts = [one for on in conditions for one in (on.flatten() if isinstance(on, exp.And) else [on])]
    assert {type(one) for one in parts} == {exp.EQ}
    assert {join.side for join in tree.find_all(exp.Join)} == {"LEFT", ""}
    assert text.count("604800000000") == 4 + 2 == text.count("MICROSECOND")
    assert text.startswith("-- spending:v1.0.0, rates:v1.0.0 ")
    assert text.endswith("join_use_nulls = 1") == (dialect == "clickhouse")


def test_snowflake_has_names_in_capitals(filled: FeatureStore) -> None:
    """As it calls what was made without quotes; a name that isn't plain stays as it is."""
    text = filled.sql("spending.amount", dialect="snowflake", spine='MY.Spine."x"', timestamp="Bought at")
    assert 'fs_spine."USER_ID"' in text
    assert 'fs_spine."Bought at"' in text
    assert 'AS "AMOUNT"' in text
    assert 'MY.Spine."x" AS fs_spine' in text


def test_what_sql_would_compute_otherwise_is_refused(filled: FeatureStore) -> None:
    """Windows, code at request time, and lists where they aren't kept: the message names the feature and a way out."""
    counted = FeatureView(
        "counted",
        user,
        [Field("amount", "float64", "Paid.")],
        aggregations=[Aggregation("sum", "amount", windows=["7d"])],
        description="Windows.",
    )
    filled.apply(counted, halved)
    for asked, reason, dialect in (
        ("counted", "of a window", "duckdb"),
        ("halved.half", "computed at request time", "duckdb"),
        ("marks", "is a list", "bigquery"),
    ):
        with pytest.raises(DefinitionError, match=f"{reason}.*get_historical_features"):
            filled.sql(asked, dialect=dialect, spine="spine")
    assert "marks" in filled.sql("marks", dialect="postgres", spine="spine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "postgress"}, "no SQL for 'postgress'. Did you mean 'postgres'"),
        ({"dialect": "oracle"}, "no SQL for 'oracle'. Known: bigquery"),
        ({"spine": "a; DROP TABLE b"}, "is no table's name"),
        ({"spine": ""}, "is no table's name"),
        ({"timestamp": ""}, "'' is no column's name. Name the spine's time column"),
        ({"spine": "(SELECT 1)"}, "is no table's name"),
        ({"spine": "a JOIN b"}, "is no table's name"),
        ({"spine": "a AS b"}, "is no table's name"),
        ({"spine": "labels(a)"}, "is no table's name"),
        ({"spine": "unnest([1])", "dialect": "snowflake"}, "is no table's name"),
        ({"spine": "a\0b"}, "is no table's name"),
        ({"tables": {"spendings": "x"}}, "a table is named for view 'spendings'"),
        ({"tables": {"spending": "x y"}}, "is no table's name"),
    ],
)
def test_a_mistake_is_named(filled: FeatureStore, options: dict[str, Any], message: str) -> None:
    """An unknown dialect, a table that is none, a table for a view that isn't asked for."""
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        filled.sql("spending", **{"dialect": "duckdb", "spine": "spine", **options})


def test_a_name_that_would_be_cut_is_refused(filled: FeatureStore) -> None:
    """Two features whose names begin alike would be one column."""
    view = replace(spending, name="v" * 60)
    filled.apply(view)
    with pytest.raises(DataError, match="has 68 bytes, and postgres cuts names behind 63"):
        filled.sql(f"{view.name}.amount", dialect="postgres", spine="spine", full_names=True)
    assert "__amount" in filled.sql(f"{view.name}.amount", dialect="duckdb", spine="spine", full_names=True)


def test_a_file_is_replaced_when_asked(filled: FeatureStore, tmp_path: Path) -> None:
    """Never by itself; it is whole at any moment, and what can't be written leaves nothing."""
    file = tmp_path / "rows.parquet"
    assert filled.export("spending", file, latest=True) == 2
    with pytest.raises(ConfigurationError, match=r"there already.*overwrite=True"):
        filled.export("spending", file)
    assert filled.export("spending", file, overwrite=True) == 5
    assert pq.read_table(file).column_names == filled.history("spending").column_names
    with pytest.raises(ConfigurationError, match="can't write"):
        filled.export("spending", tmp_path / "nowhere" / "rows.parquet")
    with pytest.raises(ConfigurationError, match="a file, which has no table"):
        filled.export("spending", file, table="x", overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["rows.parquet"]
    long = tmp_path / ("x" * 255)
    assert filled.export("spending", long) == 5
    link = tmp_path / "link.parquet"
    link.symlink_to(long)
    assert filled.export("spending", link, latest=True, overwrite=True) == 2
    assert (link.is_symlink(), pq.read_table(long).num_rows) == (True, 2)


def test_of_several_who_make_one_file_one_does(filled: FeatureStore, tmp_path: Path) -> None:
    """The others are told that it is there."""
    rows, file = filled.history("spending"), tmp_path / "rows.parquet"

    def make(_: int) -> bool:
        try:
            write_parquet(rows, file, overwrite=False)
        except ConfigurationError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(4))).count(True) == 1


def test_a_view_without_rows_is_exported(filled: FeatureStore, tmp_path: Path) -> None:
    """Its columns, and no row."""
    assert filled.export("marks", tmp_path / "none.parquet") == 0
    assert filled.export("marks", tmp_path / "none.parquet", latest=True, overwrite=True) == 0
    assert pq.read_table(tmp_path / "none.parquet").schema.names[0] == "user_id"


def test_a_table_is_made_whole_or_not_at_all(
    filled: FeatureStore, postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is there stays unless it may be overwritten; a password is in no message."""
    monkeypatch.setenv("EXPORT_PASSWORD", "hunter/2")
    url = postgres.new_database().replace("+psycopg", "").replace("@", ":${EXPORT_PASSWORD}@")
    schema = url.rpartition("%3D")[2]
    assert filled.export("spending", url, table=f"{schema}.paid") == 5
    with pytest.raises(OfflineStoreError, match="overwrite=True") as refused:
        filled.export("rates", url, table=f"{schema}.paid")
    assert "hunter" not in str(refused.value)
    assert filled.export("spending", url, table="paid", latest=True, overwrite=True) == 2
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT "user_id", "amount" FROM {schema}.paid ORDER BY 1')
        assert cursor.fetchall() == [(1, 4.0), (2, None)]


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("snowflake://u:secret@account/db", None, r"postgresql:// alone, not in snowflake://.*Parquet"),
        ("postgresql://u:se/cret@localhost:1/db", None, r"can't make table 'spending' at postgresql://u:\*\*\*@"),
        ("postgresql://u:${NOWHERE}@localhost:1/db", None, r"names \$\{NOWHERE\}, which isn't set"),
        ("postgresql://localhost:1/db", 'a"b', "is no table's name"),
        ("postgresql://localhost:1/db", "t" * 64, "has 64 bytes, and a name there has 63 at most"),
    ],
)
def test_an_export_that_fails_says_why(filled: FeatureStore, url: str, table: str | None, message: str) -> None:
    """Another database, one that doesn't answer, an unset variable, a name that is none; no password is shown."""
    with pytest.raises(FeatureStoreError, match=message) as refused:
        filled.export("spending", url, table=table)
    assert "cret" not in str(refused.value)
    assert os.environ.get("NOWHERE") is None


def test_commands_print_the_query_and_export(filled: FeatureStore, tmp_path: Path) -> None:
    """`fs sql` prints what `store.sql` returns; `fs export-rows` writes a file and says how many rows."""
    where = ["--store", str(filled.directory)]
    run = CliRunner().invoke
    words = ["sql", "spending", "--dialect", "bigquery", "--spine", "p.d.spine", "--table", "spending=p.d.spending"]
    printed = run(cli, [*words, *where])
    assert printed.exit_code == 0, printed.output
    query = filled.sql("spending", dialect="bigquery", spine="p.d.spine", tables={"spending": "p.d.spending"})
    assert printed.output.rstrip() == query
    assert run(cli, [*words[:-1], "nothing", *where]).exit_code == 2
    assert run(cli, ["sql", "spending", "--dialect", "sybase", "--spine", "s", *where]).exit_code == 1
    done = run(cli, ["export-rows", "spending", str(tmp_path / "out.parquet"), *where])
    assert (done.exit_code, done.output) == (0, f"5 rows of spending into {tmp_path / 'out.parquet'}\n")
    secret = run(cli, ["export-rows", "spending", "mysql://u:secret@host/db", *where])
    assert secret.exit_code == 1
    assert "secret" not in secret.output
