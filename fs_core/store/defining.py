"""Defining features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fs_core.definitions import SQL, Definition, FeatureView, Source
from fs_core.errors import DefinitionError, RegistryError, UnknownReferenceError
from fs_core.store.parts import Parts

if TYPE_CHECKING:
    from fs_core.registry import ApplyResult

log = logging.getLogger("fs_core")


class Defining(Parts):
    """What is registered."""

    def apply(self, *definitions: Definition | Sequence[Definition]) -> ApplyResult:
        """Register definitions, alone or in lists, all or none; applying them again changes nothing.

        Raises:
            VersionConflictError: a registered version has other content; says what differs and which
                version to give it.
            DocumentationError: a view or field has no description.
            UnknownReferenceError: SQL reads a table that is no source, or a service names no feature.
            SourceError: SQL doesn't parse.
        """
        flat = [d for item in definitions for d in (item if isinstance(item, list | tuple) else [item])]
        known: list[Definition] = [d for d in flat if isinstance(d, Definition)]
        if len(known) < len(flat):
            wrong = next(d for d in flat if not isinstance(d, Definition))
            raise DefinitionError(f"{wrong!r} is no definition. Apply sources, entities, views and services.")
        self._check_tables(known)
        result = self.registry.apply(known)
        self._plans.clear()
        self._trace(known, result)
        return result

    def _trace(self, definitions: Sequence[Definition], result: ApplyResult) -> None:
        """Keep where the columns of new views come from."""
        new = {(change.name, change.version) for change in result.changed if change.kind == "view"}
        views = {d.ref: d for d in definitions if isinstance(d, FeatureView) and (d.name, d.version) in new}
        try:
            self.lineage.add(views.values())
        except RegistryError as error:  # the views are registered; whoever asks for lineage next sees to it
            log.warning("lineage is not kept yet: %s", error)

    def _check_tables(self, definitions: Sequence[Definition]) -> None:
        queries = [d for d in definitions if isinstance(d, FeatureView) and isinstance(d.source, SQL)]
        if not queries:
            return
        from fs_core.errors import did_you_mean
        from fs_core.offline.sources import named, referenced_tables

        known = {r.definition.name for r in self.registry.listing("source")}
        known |= {d.name for d in definitions if isinstance(d, Source)}
        for view in queries:
            assert isinstance(view.source, SQL)
            unknown = [t for t in sorted(referenced_tables(view.source.query)) if named(t, known) is None]
            for table in unknown:
                raise UnknownReferenceError(
                    f"view {view.ref!r}: its SQL reads {table!r}, which is no registered source. "
                    f"Apply a Source({table!r}, path=...) with it.{did_you_mean(table, known)}"
                )
