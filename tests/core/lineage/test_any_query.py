"""Column lineage of queries that nobody thought of, against what DuckDB answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.lineage.sql.queries import QueryReader

SCHEMAS = {"t": ["k", "x", "y"], "u": ["k", "x", "z"], "v": ["k", "w"]}
ROWS = 9


@dataclass(frozen=True)
class Made:
    """A query, and the names of its columns."""

    sql: str
    columns: list[str]


class Maker:
    """Draws queries: every clause may hold every other, names meet often."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._count = 0

    def query(self, depth: int) -> Made:
        """Return a SELECT, perhaps with a CTE before it or a union after it."""
        if depth and self._maybe():
            inner = self.query(depth - 1)
            outer = self._select(depth - 1, {"q": inner.columns})
            return Made(f"WITH q AS ({inner.sql}) {outer.sql}", outer.columns)
        first = self._select(depth, {})
        if not self._maybe():
            return first
        second = self._select(depth, {}, len(first.columns))
        kind = self._one(["UNION ALL", "UNION", "EXCEPT", "INTERSECT"])
        return Made(f"({first.sql}) {kind} ({second.sql})", first.columns)

    def _select(self, depth: int, ctes: dict[str, list[str]], width: int | None = None) -> Made:
        scope, source = self._from(depth, ctes)
        names = [f"c{n}" for n in range(width or self._draw(st.integers(1, 3)))]
        clauses = f" WHERE {self._condition(scope, depth)}" if self._maybe() else ""
        if self._maybe():
            by = self._column(scope)
            items = [by, *(self._aggregate(scope) for _ in names[1:])]
            clauses += f" GROUP BY {by}" + (f" HAVING {self._aggregate(scope)} > 2" if self._maybe() else "")
        else:
            items = [self._expression(scope, depth) for _ in names]
            if self._maybe():
                parts = f"PARTITION BY {self._column(scope)} ORDER BY {self._column(scope)}"
                clauses += f" QUALIFY rank() OVER ({parts}) = 1"
        listed = ", ".join(f"{item} AS {name}" for item, name in zip(items, names, strict=True))
        return Made(f"SELECT {listed} FROM {source}{clauses}", names)

    def _from(self, depth: int, ctes: dict[str, list[str]]) -> tuple[dict[str, list[str]], str]:
        known = {**SCHEMAS, **ctes}
        scope: dict[str, list[str]] = {}
        text = ""
        for number in range(self._draw(st.integers(1, 2))):
            alias = self._fresh()
            if depth and self._maybe():
                inner = self.query(depth - 1)
                table, columns = f"({inner.sql}) {alias}", inner.columns
            else:
                name = self._one(sorted(known))
                table, columns = f"{name} {alias}", known[name]
            before, scope = dict(scope), {**scope, alias: columns}
            if not number:
                text = table
                continue
            condition = f"{self._column(before)} = {self._column({alias: columns})}"
            text += f" {self._one(['JOIN', 'LEFT JOIN', 'FULL JOIN'])} {table} ON {condition}"
        return scope, text

    def _column(self, scope: dict[str, list[str]]) -> str:
        alias = self._one(sorted(scope))
        return f"{alias}.{self._one(scope[alias])}"

    def _aggregate(self, scope: dict[str, list[str]]) -> str:
        column, other = self._column(scope), self._column(scope)
        forms = [f"sum({column})", "count(*)", f"max({column}) FILTER (WHERE {other} > 2)", f"min({column} + {other})"]
        return self._one(forms)

    def _expression(self, scope: dict[str, list[str]], depth: int) -> str:
        a, b, c = (self._column(scope) for _ in range(3))
        forms = [a, a, f"{a} + {b}", f"CASE WHEN {a} > 2 THEN {b} ELSE {c} END", f"coalesce({a}, {b})"]
        forms.append(f"sum({a}) OVER (PARTITION BY {b} ORDER BY {c})")
        if depth:
            forms.append(self._subquery(scope, a))
        return self._one(forms)

    def _subquery(self, scope: dict[str, list[str]], outer: str) -> str:
        table, alias = self._one(sorted(SCHEMAS)), self._fresh()
        own = {alias: SCHEMAS[table]}
        value = self._one(["count(*)", f"max({self._column(own)})", f"max({self._column(own)} + {outer})"])
        return f"(SELECT {value} FROM {table} {alias} WHERE {self._column(own)} = {self._column(scope)})"

    def _condition(self, scope: dict[str, list[str]], depth: int) -> str:
        column, other = self._column(scope), self._column(scope)
        forms = [f"{column} > 2", f"{column} <> {other}"]
        if depth:
            table, alias = self._one(sorted(SCHEMAS)), self._fresh()
            own = self._column({alias: SCHEMAS[table]})
            forms.append(f"{column} IN (SELECT {own} FROM {table} {alias})")
            forms.append(f"EXISTS (SELECT 1 FROM {table} {alias} WHERE {own} = {other})")
        return self._one(forms)

    def _fresh(self) -> str:
        self._count += 1
        return f"r{self._count}"

    def _one(self, items: list[str]) -> str:
        return self._draw(st.sampled_from(items))

    def _maybe(self) -> bool:
        return self._draw(st.booleans())


@st.composite
def queries(draw: st.DrawFn) -> Made:
    """Draw a query of up to two levels."""
    return Maker(draw).query(2)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def values(table: str, column: str, seed: int) -> list[int | None]:
    """Return small values that meet each other often, and now and then none."""
    draw = random.Random(f"{table} {column} {seed}")
    return [draw.choice([None, 0, 1, 2, 3, 4]) for _ in range(ROWS)]


def answer(
    database: duckdb.DuckDBPyConnection, sql: str, tables: dict[str, dict[str, list[int | None]]]
) -> list[list[str]]:
    """Return the sorted values of each column."""
    for name, columns in tables.items():
        database.register(name, pa.table({c: pa.array(v, pa.int64()) for c, v in columns.items()}))
    found = database.sql(sql).to_arrow_table()
    return [sorted(map(str, column.to_pylist())) for column in found.columns]


@settings(max_examples=80)
@given(made=queries(), seed=st.integers(0, 99))
def test_nothing_is_overlooked(database: duckdb.DuckDBPyConnection, made: Made, seed: int) -> None:
    """Whatever a changed column changes in DuckDB's answer to any query, lineage knew that it may."""
    reader = QueryReader(SCHEMAS)
    found = reader.query(sqlglot.parse_one(made.sql, read="duckdb"), {})
    assert (list(found.columns), reader.notes, found.open) == (made.columns, [], ())
    tables = {table: {c: values(table, c, seed) for c in columns} for table, columns in SCHEMAS.items()}
    before = answer(database, made.sql, tables)
    for table, column in ((t, c) for t in SCHEMAS for c in SCHEMAS[t]):
        changed = {**tables, table: {**tables[table], column: values(table, column, seed + 1000)}}
        for name, old, new in zip(made.columns, before, answer(database, made.sql, changed), strict=True):
            if old != new:
                assert (table, column) in found.columns[name].all | found.rows, (name, table, column)


@settings(max_examples=60)
@given(made=queries())
def test_text_alone_is_enough_where_names_are_qualified(made: Made) -> None:
    """Where every column says whose it is, lineage is the same whether the tables' columns are known or not."""
    tree = sqlglot.parse_one(made.sql, read="duckdb")
    assert QueryReader({}).query(tree, {}) == QueryReader(SCHEMAS).query(tree, {})
