"""Column lineage of hard queries, against edges written by hand and against DuckDB's answers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from tests.core.lineage.hard_queries import QUERIES, SCHEMAS, Hard, origins, read


@pytest.mark.parametrize("hard", QUERIES.values(), ids=QUERIES.keys())
def test_a_hard_query(hard: Hard) -> None:
    """Each column derives from, and is influenced by, exactly the columns expected, and so are the rows."""
    found, notes = read(hard.sql, SCHEMAS)
    assert list(found.columns) == list(hard.columns)
    for name, (derives, influences) in hard.columns.items():
        flow = found.columns[name]
        assert (name, flow.derives, flow.influences - flow.derives) == (name, origins(derives), origins(influences))
    assert found.rows == origins(hard.rows)
    assert (notes, found.open, found.anything) == ([], (), None)


BARE = [name for name, hard in QUERIES.items() if not any(word in hard.sql for word in ("*", "COLUMNS", "NATURAL"))]
SEVERAL = {
    "bare names that only one table has",
    "USING",
    "a subquery that uses a column of the outer query by its bare name",
    "an alias that a column hides",
}


@pytest.mark.parametrize("name", sorted(set(BARE) - SEVERAL))
def test_a_hard_query_without_the_tables_columns(name: str) -> None:
    """Where the text alone shows which table a column is of, the columns of the tables needn't be known."""
    hard = QUERIES[name]
    found, notes = read(hard.sql, {})
    for column, (derives, influences) in hard.columns.items():
        flow = found.columns[column]
        assert (column, flow.derives, flow.influences - flow.derives) == (column, origins(derives), origins(influences))
    assert found.rows == origins(hard.rows)
    assert notes == []


# They want other types, or a setting of a later release.
OTHERS = ("a field of a struct", "unnesting", "a lambda as it was written once")
TYPED = [name for name in QUERIES if name not in OTHERS]
NUMBERS = {"order_id": 4, "user_id": 3, "amount": 9, "seen": 6, "born": 9}


def rows_of(table: str, seed: int) -> dict[str, list[object]]:
    """Return twelve rows of small values that meet each other often."""
    draw = random.Random(f"{table} {seed}")
    columns: dict[str, list[object]] = {}
    for name in SCHEMAS[table]:
        words = {"status": ["paid", "returned", "open"], "country": ["DE", "FR"]}
        columns[name] = [
            draw.choice(words[name]) if name in words else draw.randint(0, NUMBERS[name]) for _ in range(12)
        ]
    return columns


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def answer(
    database: duckdb.DuckDBPyConnection, sql: str, tables: dict[str, dict[str, list[object]]]
) -> dict[str, list[str]]:
    """Return what DuckDB answers: the sorted values of each column."""
    for name, columns in tables.items():
        database.register(name, pa.table(columns))
    found = database.sql(sql).to_arrow_table()
    return {n.lower(): sorted(map(str, found.column(i).to_pylist())) for i, n in enumerate(found.column_names)}


@pytest.mark.parametrize("name", TYPED)
def test_nothing_is_overlooked(database: duckdb.DuckDBPyConnection, name: str) -> None:
    """Whatever a changed source column changes in DuckDB's answer, lineage knew that it may; tried on random tables."""
    found, _ = read(QUERIES[name].sql, SCHEMAS)
    for seed in range(2):
        tables = {table: rows_of(table, seed) for table in SCHEMAS}
        before = answer(database, QUERIES[name].sql, tables)
        for table, column in ((t, c) for t in SCHEMAS for c in SCHEMAS[t]):
            changed = {**tables[table], column: rows_of(table, seed + 100)[column]}
            after = answer(database, QUERIES[name].sql, {**tables, table: changed})
            for result in before:
                if before[result] != after[result]:
                    assert (table, column) in found.columns[result].all | found.rows, (result, table, column)


def test_columns_that_share_an_alias_are_numbered(database: duckdb.DuckDBPyConnection) -> None:
    """Where several columns get one alias, a view numbers them, and lineage does the same."""
    sql = "SELECT COLUMNS('_id$') + 1 AS F FROM numbered"
    found, _ = read(sql, {"numbered": SCHEMAS["orders"]})
    database.execute("CREATE TEMP TABLE numbered(order_id INT, user_id INT, amount INT)")
    database.execute(f"CREATE TEMP VIEW several AS {sql}")
    assert [name.lower() for name in database.table("several").columns] == list(found.columns)
    assert found.columns["f_1"].derives == {("numbered", "user_id")}
