"""Whether the SQL of a view fits its sources, without running it: for `apply`, where their files can be read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.sources.query import takes_all_columns
from fs_core.sources.sources import check_columns, names_meant, sources_read
from fs_core.sources.spool import TextFiles, schema_of, shapes_of
from fs_core.sources.sql import database_of, define_query, explained


def check_sql(view: FeatureView, sources: Mapping[str, Source], directory: Path) -> None:
    """Refuse a view's SQL that reaches beyond its sources, or doesn't fit them.

    Types of text files follow from what they hold. The first rows are looked at, and all of them only before a query
    is refused. Where a file is missing or can't be read nothing is checked: `backfill` will fail.

    Args:
        view: nothing is checked unless its source is `SQL`.
        sources: those that the query may read, by name.
        directory: where relative paths are looked up after the working directory.

    Raises:
        SourceError: the query reads or calls what it may not, names a column or function that isn't there, or yields
            other columns than the view's, whatever columns its sources may get; names it, and what may have been meant.
    """
    if not isinstance(view.source, SQL):
        return
    read = sources_read(view, view.source.query, sources)
    complaint = _complaint(view, view.source.query, read, directory, batches=1)
    if complaint is not None and any(source.format != "parquet" for source in read):
        complaint = _complaint(view, view.source.query, read, directory, batches=None)
    if complaint is not None:
        raise complaint


def _complaint(
    view: FeatureView, query: str, read: list[Source], directory: Path, batches: int | None
) -> SourceError | None:
    """Return why a query doesn't fit its sources, judged by some batches of text files or by all."""

    def types_alone(files: TextFiles, target: Path) -> None:
        pq.write_table(schema_of(shapes_of(files, batches)).empty_table(), target)

    with ExitStack() as stack:
        try:
            connection = stack.enter_context(database_of(read, directory, names_meant(view, query), write=types_alone))
        except (SchemaError, SourceError, duckdb.Error):
            return None
        try:
            columns = define_query(connection, query).columns
            if not takes_all_columns(query):
                check_columns(view, columns)
        except duckdb.Error as error:
            return SourceError(f"view {view.name!r}: {explained(connection, error)}")
        except SourceError as error:
            return error
    return None
