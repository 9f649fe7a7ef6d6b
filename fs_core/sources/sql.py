"""SQL over sources, in a database of its own in which each source is a table and nothing else can be reached.

`fs_core.sources.query` has refused by name what isn't allowed. Should something get past it: this database opens the
sources' files and its own scratch directory alone, installs and loads no extension, and its settings are locked. It
has no part in the database that reads history.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.definitions import Source
from fs_core.errors import did_you_mean
from fs_core.offline.duckdb import SETTINGS, literal, one_file, quoted
from fs_core.sources.files import files_of
from fs_core.sources.tables import Table, ViewHistory
from fs_core.sources.text.spool import TextFiles, spool, text_files
from fs_core.sources.warehouse.read import spool as spool_query

_QUERY = "__query"  # a name that no source can have
_COLUMN = re.compile(r'(?:Referenced column|column named|Column) "([^"]+)"')
_EXTENSION = re.compile(r'Function with name "([^"]+)" is not in the catalog, but it exists in the (\w+) extension')


@contextmanager
def database_of(
    tables: Collection[Table],
    directory: Path,
    wanted: Collection[str],
    *,
    write: Callable[[TextFiles, Path], None] = spool,
    rows: Callable[[ViewHistory], pa.Table] = ViewHistory.rows,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a database in which sources and views' histories are tables.

    Parquet is read where it lies. CSV and JSON are read by our own reader and written to scratch files first, so that
    they mean the same as without SQL; histories are written to scratch files, too.

    Args:
        tables: what the query reads, each after what it reads itself.
        directory: where relative paths are looked up after the working directory.
        wanted: names that the query may mean.
        write: makes a Parquet file of text files.
        rows: gives the rows of a view's history.

    Raises:
        SourceError: a file is missing, or is no such file.
        SchemaError: a row of a JSON file is no object, or has a name twice.
    """
    with TemporaryDirectory(prefix="fs_core-") as scratch:
        files: list[str] = []
        queries: dict[str, str] = {}
        for table in tables:
            if isinstance(table, Source) and table.sql is not None:
                queries[table.name] = table.sql
                continue
            name = table.name if isinstance(table, Source) else table.view.name
            spooled = Path(scratch) / f"{name}.parquet"
            paths = [str(spooled)]
            if isinstance(table, Source) and table.url is not None:
                spool_query(table, spooled, rows=rows is ViewHistory.rows)
            elif isinstance(table, ViewHistory):
                pq.write_table(rows(table), spooled, compression="lz4")
            else:
                paths = [str(Path(path).absolute()) for path in files_of(table, directory)]
                if table.format != "parquet":
                    write(text_files(paths, str(table.format), wanted), spooled)
                    paths = [str(spooled)]
            files += paths
            queries[name] = f"SELECT * FROM {parquet(paths)}"
        with closed_database(files, scratch) as connection:
            for name, query in queries.items():
                connection.execute(f"CREATE VIEW {quoted(name)} AS {query}")
            yield connection


@contextmanager
def closed_database(paths: Collection[str], scratch: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a database that opens some files and a directory, and no others, whatever is asked of it.

    Args:
        paths: the files.
        scratch: the directory, where it puts rows that memory doesn't hold.
    """
    allowed = {
        name for path in paths for name in (path, glob.escape(path))
    }  # as the file, and as a pattern of it alone
    with duckdb.connect(config=SETTINGS) as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.execute(f"SET temp_directory={literal(scratch)}")
        connection.execute(f"SET allowed_paths=[{', '.join(map(literal, sorted(allowed)))}]")
        connection.execute("SET enable_external_access=false")
        connection.execute("SET lock_configuration=true")
        yield connection


def parquet(paths: Collection[str]) -> str:
    """Return what DuckDB reads Parquet files with; each path means a file alone, though it look like a pattern."""
    return f"read_parquet([{', '.join(map(one_file, paths))}])"


def define_query(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    """Return the rows, not yet computed, of a query."""
    # As a view's body, a query may end in a semicolon and a comment; some releases of sql() take neither.
    connection.execute(f"CREATE TEMP VIEW {_QUERY} AS {query}")
    return connection.table(_QUERY)


def explained(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> str:
    """Return what is wrong with a query, in our words where a name is."""
    message = str(error).partition("\n\nLINE")[0]
    if isinstance(error, duckdb.BinderException) and (named := _COLUMN.search(message)):
        columns = connection.execute("SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
        return f"SQL names {named[1]!r}, no column there.{did_you_mean(named[1], (name for (name,) in columns))}"
    if found := _EXTENSION.search(message):
        return f"SQL calls {found[1]}() of DuckDB's extension {found[2]}. Extensions are never loaded for a view."
    return message
