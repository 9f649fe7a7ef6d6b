"""The as-of rule as SQL in databases that don't fit beside the tests, against the oracle.

    python -m tests.core.warehouse.engines                         # all, each in a new environment of its own
    python -m tests.core.warehouse.engines snowflake
    python -m tests.core.warehouse.engines snowflake=venv/bin/python  # in one that is there

They are big, or pin other versions of what we use, so this is no test of every run. One that can't be installed is
left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.testing.histories import STARTS, Scenario, scenarios, spines
from fs_core.warehouse.dialects import DIALECTS
from fs_core.warehouse.export import stored
from fs_core.warehouse.query import Spine, as_of_query
from tests.core.warehouse.test_query import ROW, answered, expected, numbered, selection_of

EXAMPLES = 60


def _is_plain(dtype: pa.DataType) -> bool:
    return not pa.types.is_nested(dtype)


def _is_of_clickhouse(dtype: pa.DataType) -> bool:
    """ClickHouse has the times from 1900 to 2299 only."""
    return _is_plain(dtype) and not pa.types.is_temporal(dtype)


class Engine(NamedTuple):
    """A database.

    Attributes:
        shown: what it is called.
        packages: what has it, for pip.
        types: the names of its types, in the order of `_KINDS`; none where it takes them from Parquet files.
        has: whether it has a type.
        starts: where histories may begin.
    """

    shown: str
    packages: tuple[str, ...]
    types: tuple[str, ...] = ()
    has: Callable[[pa.DataType], bool] = _is_plain
    starts: tuple[object, ...] = STARTS


_KINDS: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_date,
    lambda dtype: pa.types.is_timestamp(dtype) and dtype.tz is not None,
    lambda dtype: pa.types.is_timestamp(dtype),
    pa.types.is_decimal,
)
ENGINES = {
    "clickhouse": Engine("ClickHouse (chdb)", ("chdb",), has=_is_of_clickhouse, starts=STARTS[:2]),
    "snowflake": Engine(
        "Snowflake (fakesnow)",
        ("fakesnow", "snowflake-connector-python<5"),
        (
            "BOOLEAN",
            "BIGINT",
            "FLOAT",
            "VARCHAR",
            "BINARY",
            "DATE",
            "TIMESTAMP_TZ",
            "TIMESTAMP_NTZ",
            "NUMBER({p}, {s})",
        ),
    ),
    "bigquery": Engine(
        "BigQuery (bqemulator)",
        ("bqemulator", "google-cloud-bigquery", "numpy", "duckdb==1.5.5", "duckdb-extension-spatial==1.5.5"),
        ("BOOL", "INT64", "FLOAT64", "STRING", "BYTES", "DATE", "TIMESTAMP", "DATETIME", "BIGNUMERIC({p}, {s})"),
    ),
}


def made(name: str, table: str, schema: pa.Schema) -> str:
    """Return SQL that makes a table for rows as a person writes it: quotes where a name needs them."""
    columns = []
    for field in schema:
        kind = next(number for number, is_it in enumerate(_KINDS) if is_it(field.type))
        of = {"p": field.type.precision, "s": field.type.scale} if pa.types.is_decimal(field.type) else {}
        column = DIALECTS[name].name_of(field.name)
        plain = column == f'"{field.name.upper()}"' and field.name.upper() != "SELECT"
        columns.append(f"{field.name if plain else column} {ENGINES[name].types[kind].format(**of)}")
    return f"CREATE OR REPLACE TABLE {table} ({', '.join(columns)})"


def drawn(name: str, folder: Path) -> list[tuple[Scenario, pa.Table]]:
    """Write drawn histories, spines and queries into folders; return what they are of."""
    engine, found = ENGINES[name], list[tuple[Scenario, pa.Table]]()

    def is_asked(one: Scenario) -> bool:
        return all(map(engine.has, [*one.view.keys.values(), *one.view.features.values()]))

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
    def draw(data: st.DataObject) -> None:
        scenario = numbered(data.draw(scenarios(starts=engine.starts).filter(is_asked)))
        spine = data.draw(spines(scenario))
        mine = folder / f"{len(found):04d}"
        mine.mkdir()
        rows = stored(spine).append_column(ROW, pa.array(range(len(spine)), pa.int64()))
        parts = {"spine": rows, "history": stored(scenario.history)}
        for part, table in parts.items():
            pq.write_table(table, mine / f"{part}.parquet")
        tables = {part: f"shop.{part}" for part in parts}
        if engine.types:
            made_by = {part: made(name, tables[part], table.schema) for part, table in parts.items()}
            (mine / "tables.json").write_text(json.dumps(made_by))
        asked = Spine(tables["spine"], "__time", status=True)
        query = as_of_query(selection_of(scenario.view), asked, {scenario.view.name: tables["history"]}, DIALECTS[name])
        (mine / "query.sql").write_text(query)
        found.append((scenario, spine))

    draw()
    return found


def python_of(name: str, folder: Path) -> str | None:
    """Return the Python of a new environment that has a database, or none where it can't be installed."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    words = [python, "-m", "pip", "install", "-q", "--no-compile", *ENGINES[name].packages]
    return str(python) if subprocess.run(words, check=False).returncode == 0 else None


def check(name: str, python: str | None) -> None:
    """Ask a database of each drawn history, and say of how many the answers are the oracle's.

    Args:
        name: of the dialect.
        python: of an environment that has the database; by default one is made.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        python = python or python_of(name, folder)
        if python is None:
            print(f"{ENGINES[name].shown}: left out, it can't be installed here")
            return
        examples = folder / "examples"
        examples.mkdir()
        found = drawn(name, examples)
        subprocess.run([python, "-W", "ignore", Path(__file__).with_name(f"in_{name}.py"), examples], check=True)
        for number, (scenario, spine) in enumerate(found):
            answer = pq.read_table(examples / f"{number:04d}" / "answer.parquet")
            status = f"{scenario.view.name}__status"
            answer = answer.rename_columns([status if c == status.upper() else c for c in answer.column_names])
            assert answered(scenario.view, answer) == expected(scenario, spine), (number, scenario.view)
        rows = sum(len(spine) for _, spine in found)
        print(f"{ENGINES[name].shown}: {len(found)} histories, {rows:,} rows, each the oracle's")


def main(words: list[str]) -> None:
    """Ask some databases, by default all, one after the other."""
    for word in words or ENGINES:
        name, _, python = word.partition("=")
        check(name, python or None)


if __name__ == "__main__":
    main(sys.argv[1:])
