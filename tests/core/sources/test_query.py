"""What SQL may reach: registered sources and the files they name, checked by name at `apply` and again when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import FeatureStoreError, SourceError
from fs_core.offline.duckdb import connect
from fs_core.sources.query import names_in, referenced_tables, refuse_reach
from fs_core.sources.sql import closed_database, parquet
from tests.core.sources.running import run_source

AT = "2026-01-01T00:00:00Z"

REACHING = [
    ("SELECT content AS f FROM read_text('{path}')", r"reads from read_text\(\).*Declare a Source for a file"),
    ("SELECT * FROM s, LATERAL (SELECT * FROM read_csv('{path}'))", r"reads from read_csv\(\)"),
    ("SELECT * FROM s WHERE f IN (SELECT content FROM read_blob('{path}'))", r"reads from read_blob\(\)"),
    ("SELECT * FROM glob('/*')", r"reads from glob\(\)"),
    ("SELECT * FROM duckdb_settings()", r"reads from duckdb_settings\(\)"),
    ("SELECT * FROM duckdb_secrets()", r"reads from duckdb_secrets\(\)"),
    ("SELECT * FROM query('SELECT 1')", r"reads from query\(\)"),
    ("SELECT * FROM query_table('s')", r"reads from query_table\(\)"),
    ("SELECT * FROM arrow_scan(1, 2, 3)", r"reads from arrow_scan\(\)"),
    ("SELECT * FROM parquet_metadata('{path}')", r"reads from parquet_metadata\(\)"),
    ("SELECT *, current_setting('temp_directory') FROM s", r"calls current_setting\(\)"),
    ("SELECT list_transform([1], lambda x: getenv('HOME')) FROM s", r"calls getenv\(\)"),
    ("SELECT getvariable('x') FROM s", r"calls getvariable\(\)"),
    ("SELECT sum(f) FILTER (current_query() = '') FROM s", r"calls current_query\(\)"),
    ("SELECT * FROM information_schema.tables", "'information_schema.tables'"),
    ("SELECT * FROM pg_catalog.pg_settings", "'pg_catalog.pg_settings'"),
    ("SELECT * FROM '{path}'", "no registered source|no such"),
    ("SELECT * FROM sqlite_master", "'sqlite_master'"),
    ("DESCRIBE s", "describes tables"),
    ("SELECT * FROM (SUMMARIZE s)", "describes tables"),
    ("ATTACH '{path}' AS x", "holds ATTACH. It must be one SELECT"),
    ("COPY s TO '{path}'", "holds COPY. It must be one SELECT"),
    ("EXPORT DATABASE '{path}'", "holds EXPORT"),
    ("PRAGMA database_list", "holds PRAGMA"),
    ("CALL pragma_version()", "holds CALL"),
    ("SET threads = 1", "holds SET"),
    ("INSTALL httpfs", "holds INSTALL"),
    ("LOAD httpfs", "holds LOAD"),
    ("CREATE SECRET (TYPE s3)", "holds CREATE"),
    ("SELECT * FROM s; COPY s TO '{path}'", "holds COPY"),
    ("SELECT * FROM s; SELECT * FROM s", "2 statements"),
    ("WITH x AS (COPY s TO '{path}') SELECT * FROM x", "holds COPY|doesn't parse"),
    ("WITH x AS (DELETE FROM s RETURNING *) SELECT * FROM x", "holds DELETE|doesn't parse"),
]


def view(query: str) -> FeatureView:
    """A view of planes."""
    return FeatureView(
        "planes",
        entity=Entity("plane", keys={"plane": "int64"}),
        fields=[Field("f", "int64", "A number.")],
        source=SQL(query),
        description="d",
    )


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A source beside a file that is none."""
    (tmp_path / "secret.txt").write_text("secret")
    pq.write_table(pa.table({"plane": [1], "event_timestamp": [AT], "f": [2]}), tmp_path / "s.parquet")
    return Source("s", tmp_path / "s.parquet")


@pytest.mark.parametrize(("query", "says"), REACHING)
def test_sql_that_reaches_beyond_its_sources(
    store: FeatureStore, tmp_path: Path, source: Source, query: str, says: str
) -> None:
    """The error names what it reaches for, at `apply` and when a registered query is run. Nothing is written."""
    reaching = view(query.format(path=tmp_path / "secret.txt"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FeatureStoreError, match=says):
        store.apply(source, reaching)
    with pytest.raises(SourceError, match=rf"view 'planes'.*({says})"):
        run_source(reaching, {"s": source}, tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM s WHERE f IN (FROM range(5))",
        "SELECT plane, event_timestamp, unnest([f]) AS f FROM s",
        "SELECT s.* FROM s, generate_series(1, 1) g(i)",
        "SELECT plane, event_timestamp, (j.value)::BIGINT AS f FROM s, json_each('[2]') j",
        "SELECT * FROM main.S",
        "TABLE s",
        "WITH x AS MATERIALIZED (FROM s) FROM x",
        "SELECT plane, event_timestamp, sum(f) OVER (PARTITION BY plane ORDER BY event_timestamp)::BIGINT AS f FROM s",
        "/* all */ SELECT * -- of them\nFROM s;",
    ],
)
def test_sql_that_stays_with_its_sources(store: FeatureStore, tmp_path: Path, source: Source, query: str) -> None:
    """Whatever a query makes of its sources' rows is allowed."""
    store.apply(source, view(query))
    assert run_source(view(query), {"s": source}, tmp_path)["f"].to_pylist() == [2]


def test_sql_nested_deeper_than_python_reads() -> None:
    """A query that would end in a RecursionError is refused with what to do."""
    with pytest.raises(SourceError, match="nested too deeply"):
        referenced_tables("SELECT 1" + " + 1" * 900)


def test_sql_that_is_no_unicode() -> None:
    """Half of a surrogate pair is refused, as what doesn't parse is."""
    with pytest.raises(SourceError, match="can't be read"):
        refuse_reach("SELECT '\ud800'")


def test_names_that_a_query_means() -> None:
    """Columns are collected wherever they stand; they decide the delimiter of a CSV."""
    found = names_in("SELECT a.x, sum(y) FROM a JOIN b USING (z) WHERE w > (SELECT max(v) FROM c)")
    assert found >= {"x", "y", "z", "w", "v"}


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Callable[[str], object]]:
    """A function that runs any statement in a database that may open one file."""
    pq.write_table(pa.table({"x": [1]}), tmp_path / "f[1].parquet")
    pq.write_table(pa.table({"x": [2]}), tmp_path / "f1.parquet")
    (tmp_path / "secret.txt").write_text("secret")
    with TemporaryDirectory() as scratch, closed_database([str(tmp_path / "f[1].parquet")], scratch) as connection:
        yield lambda sql: connection.execute(sql.format(here=tmp_path)).fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_text('{here}/secret.txt')",
        "FROM read_parquet('{here}/f1.parquet')",
        "FROM read_parquet('{here}/*.parquet')",
        "FROM glob('{here}/*')",
        "FROM read_text('/proc/self/environ')",
        "COPY (SELECT 1) TO '{here}/out.csv'",
        "COPY (SELECT 1) TO '{here}/f[1].parquet'",
        "ATTACH '{here}/x.db'",
        "EXPORT DATABASE '{here}/x'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'https://localhost:1/x.parquet'",
        "CREATE SECRET (TYPE s3)",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET autoinstall_known_extensions = true",
        "SET TimeZone = 'Asia/Tokyo'",
    ],
)
def test_what_the_database_of_a_query_refuses(tmp_path: Path, closed: Callable[[str], object], statement: str) -> None:
    """Should a statement get past the check by name, the database itself opens no other file and keeps its settings."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(duckdb.Error):
        closed(statement)
    assert sorted(tmp_path.iterdir()) == before


def test_the_database_of_a_query_opens_its_files(tmp_path: Path, closed: Callable[[str], object]) -> None:
    """A file is opened by its name, though it looks like a pattern that another file matches."""
    assert closed(f"FROM {parquet([str(tmp_path / 'f[1].parquet')])}") == [(1,)]


def test_no_extension_is_fetched_or_loaded_by_itself() -> None:
    """In no database of this library does a query that names an extension's function bring the extension."""
    with connect() as connection:
        found = connection.execute(
            "SELECT current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions')"
        ).fetchall()
        needed = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    assert found == [(False, False)]
    assert {name for (name,) in needed} >= {"icu", "json", "parquet"}


def test_scratch_files_of_a_query_are_removed(tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a query runs, fails or is damaged, nothing of it stays on disk."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (tmp_path / "s.csv").write_text(f"plane,event_timestamp,f\n1,{AT},2\n")
    assert run_source(view("FROM s"), {"s": Source("s", tmp_path / "s.csv")}, tmp_path).num_rows == 1
    for query, name in (("SELECT nothing FROM s", "s.csv"), ("FROM s", "secret.txt")):
        with pytest.raises(SourceError):
            run_source(view(query), {"s": Source("s", tmp_path / name, format="csv")}, tmp_path)
    assert not list(scratch.iterdir())
