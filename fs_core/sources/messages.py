"""The SQL of a stream: rows from the messages that have just come, which are the table `message`."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.offline.duckdb import connect
from fs_core.sources.query import names_in, referenced_tables, refuse_reach, takes_all_columns

TABLE = "message"
"""What the query selects from."""


def check_message_sql(query: str) -> None:
    """Refuse a query that reads anything but the table of messages.

    Raises:
        SourceError: it does, or is no query.
    """
    refuse_reach(query)
    others = {name for name in referenced_tables(query) if name.lower() != TABLE}
    if others:
        raise SourceError(f"the SQL of a stream reads {sorted(others)[0]!r}. It reads the table {TABLE!r} alone.")


def members_in(query: str) -> set[str] | None:
    """Return the members that a checked query may read, in lower case; None for all."""
    return None if takes_all_columns(query) else {name.lower() for name in names_in(query)}


def rows_of_messages(messages: pa.Table, query: str, *, has_all: bool = False) -> pa.Table:
    """Return what a checked query makes of messages.

    Args:
        messages: their columns.
        query: the query.
        has_all: whether there are no columns but these; else others, which no message has, are null.

    Raises:
        SourceError: the query fails.
    """
    known = {name.lower() for name in messages.column_names}
    for name in () if has_all else names_in(query):
        if name.lower() not in known:
            messages = messages.append_column(name, pa.nulls(messages.num_rows))
            known.add(name.lower())
    with connect() as connection:
        try:
            connection.register(TABLE, messages)
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(f"its SQL fails: {error}") from error
