"""What the SQL of views and sources may read in a store: sources by name, and views' histories where no source is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from fs_core.definitions import Definition, FeatureView, Source
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, UnknownReferenceError, did_you_mean
from fs_core.sources.binding import check_sql
from fs_core.sources.query import named, referenced_tables
from fs_core.sources.tables import Table, ViewHistory, query_of, read_directly, refuse_circle
from fs_core.store.definitions.transforms import Meanings
from fs_core.store.resources import Resources


class StoreTables(Mapping[str, Table]):
    """The current sources and views by name; a view is looked up when it is asked for.

    Args:
        store: where they are registered.
        given: definitions that count as registered.
    """

    def __init__(self, store: Resources, given: Sequence[Definition] = ()) -> None:
        self._store, self._meanings = store, Meanings(store.registry, given)
        current = [r.definition for r in store.registry.listing("source") if r.current]
        self._sources = {d.name: d for d in (*current, *given) if isinstance(d, Source)}
        views = [summary.name for summary in store.registry.summaries("view")]
        views += [d.name for d in given if isinstance(d, FeatureView)]
        self._names = dict.fromkeys([*self._sources, *views])

    def __getitem__(self, name: str) -> Table:
        if name in self._sources:
            return self._sources[name]
        if name not in self._names:
            raise KeyError(name)
        view = self._meanings.find(name, CURRENT)
        assert isinstance(view, FeatureView)
        return ViewHistory(view, partial(self._store.offline.read, view))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)


def check_queries(store: Resources, definitions: Sequence[Definition]) -> None:
    """Refuse SQL that reads what isn't there, or itself; of what is new, also SQL that doesn't fit what it reads.

    Args:
        store: where the rest is registered.
        definitions: what is to be.

    Raises:
        UnknownReferenceError: it reads what is neither a source nor a view.
        DefinitionError: it reads itself by a detour; a view that reads views doesn't say when its rows are known; or
            a new source has the name of a view whose history is read.
        SourceError: it reaches beyond its sources, or doesn't fit them.
    """
    asking = [d for d in definitions if isinstance(d, FeatureView | Source)]
    _refuse_hiding(store, definitions)
    tables = StoreTables(store, definitions)
    registered = {(s.kind, s.name, s.version, s.digest) for s in store.registry.summaries()}
    for definition in asking:
        query = query_of(definition)
        for table in sorted(referenced_tables(query)) if query is not None else ():
            if named(table, tables) is None:
                raise UnknownReferenceError(
                    f"{definition.kind} {definition.ref!r}: its SQL reads {table!r}, which is no registered source. "
                    f"Apply a Source({table!r}, path=...) with it.{did_you_mean(table, tables)}"
                )
        refuse_circle(definition, tables)
        if (definition.kind, definition.name, definition.version, definition.digest) not in registered:
            check_sql(definition, tables, Path(store.directory))


def _refuse_hiding(store: Resources, definitions: Sequence[Definition]) -> None:
    """Refuse a new source that registered SQL would read from now on in place of a view's history."""
    given = {(d.kind, d.name) for d in definitions}
    new = {d.name for d in definitions if isinstance(d, Source)} - {s.name for s in store.registry.summaries("source")}
    hiding = new & {s.name for s in store.registry.summaries("view")}
    if not hiding:
        return
    for record in (*store.registry.listing("view"), *store.registry.listing("source")):
        reader = record.definition
        if not record.current or not isinstance(reader, FeatureView | Source) or (reader.kind, reader.name) in given:
            continue
        query = query_of(reader)
        for table in sorted(referenced_tables(query)) if query is not None else ():
            if (name := named(table, hiding)) is not None:
                raise DefinitionError(
                    f"source {name!r}: the SQL of {reader.kind} {reader.ref!r} reads the history of the view of that "
                    "name, and would read the source from now on. Give the source another name."
                )


def in_order(store: Resources, views: Sequence[FeatureView]) -> list[FeatureView]:
    """Return views such that each comes after those whose histories it reads; otherwise in their order."""
    tables = StoreTables(store, views)
    found: dict[str, FeatureView] = {}
    seen: set[Definition] = set()

    def add(definition: FeatureView | Source) -> None:
        if definition in seen:
            return
        seen.add(definition)
        for table in read_directly(definition, tables):
            add(table.view if isinstance(table, ViewHistory) else table)
        if isinstance(definition, FeatureView):
            found.setdefault(definition.name, definition)

    for view in views:
        add(view)
    asked = {view.name for view in views}
    return [view for name, view in found.items() if name in asked]
