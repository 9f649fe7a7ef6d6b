"""Defining features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fs_core.definitions import SQL, Definition, FeatureView, Source
from fs_core.errors import DefinitionError, FeatureStoreError, RegistryError, UnknownReferenceError
from fs_core.store.parts import Parts

if TYPE_CHECKING:
    from fs_core.registry import ApplyResult

log = logging.getLogger("fs_core")


class Defining(Parts):
    """What is registered."""

    def apply(self, *definitions: Definition | Sequence[Definition]) -> ApplyResult:
        """Register definitions, alone or in lists, all or none; applying them again changes nothing.

        A new version has a history of its own, unless only its documentation differs. The log warns where it becomes
        current and has none yet, while the one before has.

        Raises:
            VersionConflictError: a registered version has other content; says what differs and which
                version to give it.
            DocumentationError: a view or field has no description.
            UnknownReferenceError: SQL reads a table that is no source, or a service names no feature.
            SourceError: SQL doesn't parse.
            DefinitionError: a `where` is no condition on one event.
        """
        flat = [d for item in definitions for d in (item if isinstance(item, list | tuple) else [item])]
        known: list[Definition] = [d for d in flat if isinstance(d, Definition)]
        if len(known) < len(flat):
            wrong = next(d for d in flat if not isinstance(d, Definition))
            raise DefinitionError(f"{wrong!r} is no definition. Apply sources, entities, views and services.")
        self._check_tables(known)
        _check_predicates(known)
        result = self.registry.apply(known)
        self._plans.clear()
        self._trace(known, result)
        for name, (before, new) in result.replaced_views.items():
            self._warn_of_emptiness(name, before, new)
        return result

    def _warn_of_emptiness(self, name: str, before: str, new: str) -> None:
        """Say in the log where a view's new version has no history, though the one that was current has."""
        try:
            view, known = self.view(f"{name}:v{new}"), self.view(f"{name}:v{before}")
            if not self._is_empty(view) or self._is_empty(known):
                return
        except FeatureStoreError as error:  # the versions are registered all the same
            log.debug("can't tell whether %s:v%s has history: %s", name, new, error)
            return
        fill = f"store.write({name!r}, ...)" if view.source is None else f"store.backfill({name!r})"
        fill += f", then store.materialize({name!r})" if view.rows_online else ""
        log.warning(
            "view %s: v%s is current now and has no history yet, as v%s has: who asks for %r without a version finds "
            "nothing, neither online nor in history. Fill it: %s. Or go back until then: store.rollback(%r, to=%r), "
            "or fs rollback %s %s.",
            name,
            new,
            before,
            name,
            fill,
            name,
            before,
            name,
            before,
        )

    def _is_empty(self, view: FeatureView) -> bool:
        """Tell whether nothing was ever written to a view."""
        from fs_core.offline.contract import EMPTY

        return self.offline.snapshot(view) == EMPTY

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
        from fs_core.sources.sources import named, referenced_tables

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


def _check_predicates(definitions: Sequence[Definition]) -> None:
    filtering = [d for d in definitions if isinstance(d, FeatureView) and any(a.where for a in d.aggregations)]
    if not filtering:
        return
    from fs_core.offline.predicates import check_predicates

    for view in filtering:
        check_predicates(view)
