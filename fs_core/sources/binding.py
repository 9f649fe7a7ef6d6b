"""Whether the SQL of a view or source fits what it reads, without running it: for `apply`, as far as that is there."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from fs_core.definitions import FeatureView, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.sources.query import takes_all_columns
from fs_core.sources.sources import check_columns, names_meant, query_run
from fs_core.sources.sql import database_of, define_query, explained
from fs_core.sources.tables import Table, Tables, ViewHistory, refuse_unknown_availability, tables_read
from fs_core.sources.text.spool import TextFiles, schema_of, shapes_of


def check_sql(defined: FeatureView | Source, tables: Tables, directory: Path) -> None:
    """Refuse the SQL of a view or source that reaches beyond its sources, or doesn't fit them.

    Types of text files follow from what they hold. The first rows are looked at, and all of them only before a query
    is refused. Where a file is missing or can't be read nothing is checked: `backfill` will fail.

    Args:
        defined: nothing is checked unless it has SQL, or its source has.
        tables: what the query may read, by name.
        directory: where relative paths are looked up after the working directory.

    Raises:
        DefinitionError: a view reads another and doesn't say when its own rows are known.
        SourceError: the query reads or calls what it may not, names a column or function that isn't there, or yields
            other columns than the view's, whatever columns its sources may get; names it, and what may have been meant.
    """
    query = query_run(defined)
    if query is None:
        return
    read = tables_read(f"{defined.kind} {defined.name!r}", query, tables)
    if isinstance(defined, FeatureView):
        refuse_unknown_availability(defined, read)
    complaint = _complaint(defined, query, read, directory, batches=1)
    if complaint is not None and any(isinstance(table, Source) and table.format in ("csv", "json") for table in read):
        complaint = _complaint(defined, query, read, directory, batches=None)
    if complaint is not None:
        raise complaint


def _complaint(
    defined: FeatureView | Source, query: str, read: list[Table], directory: Path, batches: int | None
) -> SourceError | None:
    """Return why a query doesn't fit its sources, judged by some batches of text files or by all."""

    def types_alone(files: TextFiles, target: Path) -> None:
        pq.write_table(schema_of(shapes_of(files, batches)).empty_table(), target)

    with ExitStack() as stack:
        try:
            wanted = names_meant(defined, query, read)
            database = database_of(read, directory, wanted, write=types_alone, rows=ViewHistory.empty)
            connection = stack.enter_context(database)
        except (SchemaError, SourceError, duckdb.Error):
            return None
        try:
            columns = define_query(connection, query).columns
            if isinstance(defined, FeatureView) and not takes_all_columns(query):
                check_columns(defined, columns)
        except duckdb.Error as error:
            return SourceError(f"{defined.kind} {defined.name!r}: {explained(connection, error)}")
        except SourceError as error:
            return error
    return None
