"""What SQL may select from by name: files, other SQL, and the histories of views; each after what it reads itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.errors import DefinitionError, SourceError, did_you_mean
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, history_schema
from fs_core.sources.query import named, referenced_tables, refuse_reach

KNOWN_AT = "available_at"
"""What the table of a view calls the moment from which a row counts, where the view has no name for it."""


@dataclass(frozen=True)
class ViewHistory:
    """The history of a view as a table: keys, event time, availability (the lag included), and what it stores.

    Attributes:
        view: the view.
        read: gives its history, as `OfflineStore.read` returns it.
    """

    view: FeatureView
    read: Callable[[], pa.Table]

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """The table's columns: name to what history calls it."""
        view = self.view
        own = {**{key: key for key in view.request_keys}, view.event_timestamp: EVENT_TIME}
        stored = {name: name for name in view.stored}
        known_at = view.available_at or KNOWN_AT
        clock = {} if known_at in (*own, *stored) else {known_at: AVAILABLE_AT}
        return {**own, **clock, **stored}

    def rows(self) -> pa.Table:
        """Return the table, in the order in which its rows were written."""
        return self._named(self.read())

    def empty(self) -> pa.Table:
        """Return the table without rows."""
        return self._named(history_schema(self.view).empty_table())

    def _named(self, history: pa.Table) -> pa.Table:
        return history.select(list(self.columns.values())).rename_columns(list(self.columns))


Table = Source | ViewHistory
Tables = Mapping[str, Table]
"""What queries may read, by name."""


def query_of(definition: FeatureView | Source) -> str | None:
    """Return the SQL of a view or source; None where it has none."""
    if isinstance(definition, Source):
        return definition.sql
    return definition.source.query if isinstance(definition.source, SQL) else None


def tables_read(what: str, query: str, tables: Tables) -> list[Table]:
    """Return what a query reads, each once however its name is spelled, and after what it reads itself.

    Args:
        what: how errors call whose query it is.
        query: one SELECT.
        tables: what it may read.

    Raises:
        SourceError: it reads a table that is none of them, or anything else, or a source that reads itself; names it.
    """
    found: dict[str, Table] = {}
    _collect(what, query, tables, found, ())
    return list(found.values())


def _collect(what: str, query: str, tables: Tables, found: dict[str, Table], above: tuple[str, ...]) -> None:
    try:
        refuse_reach(query)
        names = sorted(referenced_tables(query))
    except SourceError as error:
        raise SourceError(f"{what}: {error}") from error
    for written in names:
        name = named(written, tables)
        if name is None:
            raise SourceError(f"{what} reads {written!r}, no registered source.{did_you_mean(written, tables)}")
        if name in above:
            raise SourceError(f"{what} reads itself: {' -> '.join([*above[above.index(name) :], name])}.")
        table = tables[name]
        if isinstance(table, Source) and table.sql is not None and name not in found:
            _collect(f"source {name!r}", table.sql, tables, found, (*above, name))
        found.setdefault(name, table)


def refuse_circle(definition: FeatureView | Source, tables: Tables) -> None:
    """Refuse SQL that reads itself, by way of views and sources.

    Args:
        definition: a view or source, perhaps not registered yet.
        tables: what it may read.

    Raises:
        DefinitionError: it does; shows the way.
    """
    _follow(definition, tables, ())


Place = tuple[str, str]
"""Kind and name: a view may be called as a source is."""


def _follow(definition: FeatureView | Source, tables: Tables, above: tuple[Place, ...]) -> None:
    here = definition.kind, definition.name
    if here in above:
        circle = " -> ".join(name for _, name in [*above[above.index(here) :], here])
        raise DefinitionError(f"{definition.kind} {definition.name!r} reads itself: {circle}. Take one of them out.")
    for table in read_directly(definition, tables):
        _follow(table.view if isinstance(table, ViewHistory) else table, tables, (*above, here))


def read_directly(definition: FeatureView | Source, tables: Tables) -> Iterator[Table]:
    """Yield what a view or source reads itself, as far as it is there.

    Args:
        definition: whose SQL, or source.
        tables: what it may read.
    """
    if isinstance(definition, FeatureView) and isinstance(definition.source, Source):
        yield definition.source
    query = query_of(definition)
    for written in sorted(referenced_tables(query)) if query is not None else ():
        name = named(written, tables)
        if name is not None:
            yield tables[name]


def refuse_unknown_availability(view: FeatureView, read: list[Table]) -> None:
    """Refuse a view that reads views and doesn't say when its own rows are known.

    A row of another view may have become known long after its event, so the event time would say it too early.

    Args:
        view: the view.
        read: what its query reads.

    Raises:
        DefinitionError: it names no column for it.
    """
    base = next((table for table in read if isinstance(table, ViewHistory)), None)
    if base is not None and view.available_at is None:
        column = next(name for name, own in base.columns.items() if own in (AVAILABLE_AT, EVENT_TIME))
        column = next((name for name, own in base.columns.items() if own == AVAILABLE_AT), column)
        raise DefinitionError(
            f"view {view.name!r} reads view {base.view.name!r}, whose rows may have become known after they happened. "
            f"Say when its own are known: select {column!r} (of several rows the greatest) in its SQL, and name that "
            "column by available_at=."
        )
