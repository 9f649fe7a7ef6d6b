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

from fs_core.definitions import Source
from fs_core.errors import did_you_mean
from fs_core.offline.duckdb import SETTINGS, literal, one_file, quoted
from fs_core.sources.files import files_of
from fs_core.sources.spool import TextFiles, spool, text_files

_QUERY = "__query"  # a name that no source can have
_COLUMN = re.compile(r'(?:Referenced column|column named|Column) "([^"]+)"')
_EXTENSION = re.compile(r'Function with name "([^"]+)" is not in the catalog, but it exists in the (\w+) extension')


@contextmanager
def database_of(
    sources: Collection[Source],
    directory: Path,
    wanted: Collection[str],
    *,
    write: Callable[[TextFiles, Path], None] = spool,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a database in which sources are tables.

    Parquet is read where it lies. CSV and JSON are read by our own reader and written to scratch files first, so that
    they mean the same as without SQL.

    Args:
        sources: which the query reads.
        directory: where relative paths are looked up after the working directory.
        wanted: names that the query may mean.
        write: makes a Parquet file of text files.

    Raises:
        SourceError: a file is missing, or is no such file.
        SchemaError: a row of a JSON file is no object, or has a name twice.
    """
    with TemporaryDirectory(prefix="fs_core-") as scratch:
        files: dict[str, list[str]] = {}
        for source in sources:
            files[source.name] = [str(Path(path).absolute()) for path in files_of(source, directory)]
            if source.format != "parquet":
                spooled = Path(scratch) / f"{source.name}.parquet"
                write(text_files(files[source.name], str(source.format), wanted), spooled)
                files[source.name] = [str(spooled)]
        with closed_database([path for paths in files.values() for path in paths], scratch) as connection:
            for name, paths in files.items():
                connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM {parquet(paths)}")
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
