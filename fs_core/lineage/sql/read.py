"""What SQL reads, as it is registered now: sources, and views where no source has the name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView, Source
from fs_core.errors import SourceError
from fs_core.lineage.sql.analysis import analyse, columns_of_sql, source_edges

if TYPE_CHECKING:
    from fs_core.registry import Registry
    from fs_core.registry.records import Analysis, Edge

log = logging.getLogger("fs_core")


class ReadTables:
    """The current sources and views, their columns, and the edges that their SQL makes. Files are read once.

    Args:
        registry: where they are registered.
        directory: where relative paths of sources are looked up after the working directory.
    """

    def __init__(self, registry: Registry, directory: Path) -> None:
        self._registry, self._directory = registry, directory
        self._columns: dict[str, list[str] | None] = {}

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The current sources, by name."""
        listed = [r.definition for r in self._registry.listing("source") if r.current]
        return {source.name: source for source in listed if isinstance(source, Source)}

    @cached_property
    def views(self) -> dict[str, FeatureView]:
        """The current views, by name."""
        listed = [r.definition for r in self._registry.listing("view") if r.current]
        return {view.name: view for view in listed if isinstance(view, FeatureView)}

    def columns(self, name: str) -> list[str] | None:
        """Return the columns of a source or view; None where nobody can tell."""
        if name not in self._columns:
            self._columns[name] = None  # while they are looked for, lest SQL reads itself
            self._columns[name] = self._found(name)
        return self._columns[name]

    def _found(self, name: str) -> list[str] | None:
        from fs_core.sources.sources import columns_of

        source = self.sources.get(name)
        if source is None:
            view = self.views.get(name)
            return None if view is None else _columns_of_history(view)
        if source.sql is None:
            return columns_of(source, self._directory)
        tables, _ = self.read_by(source)
        return columns_of_sql(source, tables, self.columns)

    def read_by(self, definition: FeatureView | Source) -> tuple[list[str], dict[str, FeatureView]]:
        """Return the tables that the SQL of a view or source reads, as they are registered, and which are views."""
        from fs_core.sources.sources import referenced_tables
        from fs_core.sources.tables import query_of

        query = query_of(definition)
        if query is None:
            return [], {}
        try:
            written = referenced_tables(query)
        except SourceError as error:  # registered by another program or release, which let it pass
            log.warning("lineage of %s %s: %s", definition.kind, definition.ref, error)
            written = set()
        spelled = {name.lower(): name for name in self.sources}
        if any(name.lower() not in spelled for name in written):
            spelled = {name.lower(): name for name in self.views} | spelled
        tables = sorted({spelled.get(name.lower(), name) for name in written})
        return tables, {name: self.views[name] for name in tables if name not in self.sources and name in self.views}

    def analysed(self, views: Sequence[FeatureView]) -> list[Analysis]:
        """Return what the sources of views say about where their columns come from."""
        found = []
        for view in views:
            tables, read = self.read_by(view)
            found.append(analyse(view, tables, self.columns, read))
        return found

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that lead to sources that are SQL, and to their columns."""
        for source in self.sources.values():
            if source.sql is not None:
                tables, views = self.read_by(source)
                yield from source_edges(source, tables, self.columns, views)


def _columns_of_history(view: FeatureView) -> list[str]:
    from fs_core.rule import history_schema
    from fs_core.sources.tables import ViewHistory

    return list(ViewHistory(view, history_schema(view).empty_table).columns)
