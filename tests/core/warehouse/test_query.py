"""The as-of rule as SQL, run by real databases on drawn histories: equal to the oracle, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.definitions import FeatureView, Field
from fs_core.offline.duckdb import connect
from fs_core.retrieval.selection import SelectedFeature, Selection
from fs_core.rule import SEQ
from fs_core.testing.histories import Scenario, scenarios, spines
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.values.dtypes import as_type, storage_type
from fs_core.warehouse.dialects import DIALECTS
from fs_core.warehouse.export import stored, write_table
from fs_core.warehouse.query import Spine, as_of_query
from tests.servers import DatabaseServer

ROW = "number of the row"


def numbered(scenario: Scenario) -> Scenario:
    """Return a scenario with one feature more, each row's number, as rows with the same values look alike."""
    view, history = scenario.view, scenario.history
    more = replace(view, fields=[*view.fields, Field("which", "int64", "The row's number.")])
    return replace(scenario, view=more, history=history.append_column("which", history[SEQ]))


def selection_of(view: FeatureView) -> Selection:
    """Return all features of a view."""
    return Selection(tuple(SelectedFeature(view, name, f"{name} then") for name in view.features))


def expected(scenario: Scenario, spine: pa.Table) -> list[Any]:
    """Return what the oracle says for each row of a spine: features and status."""
    view = scenario.view
    answers = oracle_as_of(view, scenario.history.to_pylist(), spine.to_pylist(), list(view.features))
    return [(bits({name: one[name] for name in view.features}), one["__status"]) for one in answers]


def answered(view: FeatureView, rows: pa.Table) -> list[Any]:
    """Return what a query said in the same form, in the spine's order."""
    rows = rows.sort_by(ROW)
    columns = {name: as_type(rows[f"{name} then"], dtype) for name, dtype in view.features.items()}
    found = pa.table(columns).to_pylist()
    return list(zip(map(bits, found), rows[f"{view.name}__status"].to_pylist(), strict=True))


def asked_of(scenario: Scenario, spine: pa.Table, dialect: str) -> tuple[pa.Table, str]:
    """Return a spine's rows as a database has them, numbered, and the query."""
    rows = stored(spine).append_column(ROW, pa.array(range(len(spine)), pa.int64()))
    asked = Spine("spine", "__time", status=True)
    return rows, as_of_query(selection_of(scenario.view), asked, {}, DIALECTS[dialect])


@given(data=st.data())
@settings(max_examples=12)
def test_duckdb_answers_as_the_oracle(data: st.DataObject) -> None:
    """Two clocks, ties, lateness, lag, ttl, null keys and times, every dtype: each row of the spine, the same bits."""
    scenario = numbered(data.draw(scenarios()))
    spine = data.draw(spines(scenario))
    rows, query = asked_of(scenario, spine, "duckdb")
    with connect() as connection:
        connection.register("spine", rows)
        connection.register(scenario.view.name, stored(scenario.history))
        found = connection.sql(query).to_arrow_table()
    assert answered(scenario.view, found) == expected(scenario, spine)


@pytest.fixture(scope="module")
def url(postgres: DatabaseServer) -> str:
    """The URL of an empty database in PostgreSQL."""
    return postgres.new_database().replace("+psycopg", "")


@given(data=st.data())
@settings(max_examples=12)
def test_postgres_answers_as_the_oracle(data: st.DataObject, url: str) -> None:
    """History and spine are exported to a real PostgreSQL, which gives each row's features with the same bits."""
    scenario = numbered(data.draw(scenarios().filter(lambda one: not _has_no_like(one))))
    spine = data.draw(spines(scenario))
    rows, query = asked_of(scenario, spine, "postgres")
    write_table(scenario.history, url, scenario.view.name, overwrite=True)
    write_table(rows, url, "spine", overwrite=True)
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.cursor(binary=True).execute(query)
        names = [column.name for column in cursor.description or ()]
        found = dict(zip(names, zip(*cursor.fetchall(), strict=True) or [()] * len(names), strict=False))
    types = {f"{name} then": storage_type(dtype) for name, dtype in scenario.view.features.items()}
    types |= {f"{scenario.view.name}__status": pa.string(), ROW: pa.int64()}
    table = pa.table({name: pa.array(found.get(name, ()), dtype) for name, dtype in types.items()})
    assert answered(scenario.view, table) == expected(scenario, spine)


def _has_no_like(scenario: Scenario) -> bool:
    """Tell whether a text holds a NUL, which PostgreSQL has in none."""
    rows = [*scenario.history.to_pylist(), *({"keys": key} for key in scenario.keys)]
    return "\\x00" in repr([[v for v in row.values() if not isinstance(v, bytes)] for row in rows])
