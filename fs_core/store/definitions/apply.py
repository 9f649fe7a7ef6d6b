"""Methods that register what a team declares: applied, planned, and written and read as YAML."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fs_core.definitions import (
    SQL,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    Reference,
    Source,
    StreamSource,
    VersionSelector,
)
from fs_core.definitions.base import definitions_among
from fs_core.errors import (
    DefinitionError,
    FeatureStoreError,
    RegistryError,
    UnknownReferenceError,
    VersionConflictError,
)
from fs_core.store.definitions import usage
from fs_core.store.definitions.transforms import tried, without_parts
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.registry import ApplyResult, Registry
    from fs_core.transforms.trial import TransformReport

log = logging.getLogger("fs_core")


def apply(store: Resources, *definitions: Definition | Sequence[Definition] | ModuleType) -> ApplyResult:
    """Register definitions, alone, in lists, or those of a module, all or none; applying them again changes nothing.

    A registered version never changes. One that nothing was made with yet may be replaced, so that a mistake costs no
    version: it has no rows, no alias, and no training set or model rests on it.

    A new version has a history of its own, unless only its documentation differs. The log warns where it becomes
    current and has none yet, while the one before has.

    Raises:
        VersionConflictError: a registered version has other content; says what differs and which
            version to give it.
        DocumentationError: a view or field has no description.
        UnknownReferenceError: SQL reads a table that is no source, or a service names no feature.
        SourceError: SQL doesn't parse, reaches beyond its sources, or doesn't fit them, as far as they can be read;
            names the column or function, and what may have been meant.
        DefinitionError: a `where` or a check is no condition on one row; nobody knows the scheme of a stream's URL; or
            an on-demand view can't be trusted to give the same in training and in serving: says what its code does, or
            what a trial found.
        TransformError: an on-demand view's function isn't here.
        ConfigurationError: a new schedule is a cron text, and the extra `jobs` isn't installed, so nobody can judge it.

    Returns:
        A `Change` for each definition; `.reports` has what on-demand views were tried on, by reference.
    """
    known, reports = _checked(store, definitions)
    result = _register(store, known)
    result.reports.update(reports)
    store._resolve_anew()
    _trace(store, known, result)
    for name, (before, new) in result.replaced_views.items():
        _warn_of_emptiness(store, name, before, new)
    return result


def plan(store: Resources, *definitions: Definition | Sequence[Definition] | ModuleType) -> ApplyResult:
    """Return what `apply` would do, and do nothing.

    Raises:
        VersionConflictError, DocumentationError, UnknownReferenceError, SourceError, DefinitionError: as `apply` would.
    """
    known, reports = _checked(store, definitions)
    result = _register(store, known, dry=True)
    result.reports.update(reports)
    return result


def _checked(store: Resources, given: Sequence[Any]) -> tuple[list[Definition], dict[str, TransformReport]]:
    """Return the definitions given, checked as far as that goes without the registry's lock, and what was tried."""
    known = without_parts([definition for item in given for definition in _flat(item)])
    if any(isinstance(definition, Source) or _has_sql(definition) for definition in known):
        from fs_core.store.definitions.tables import check_queries

        check_queries(store, known)
    _check_predicates(store, known)
    _check_streams(known, store.directory)
    _check_schedules(store, known)
    return tried(store, known)


def _has_sql(definition: Definition) -> bool:
    source = definition.source if isinstance(definition, FeatureView) else definition
    return isinstance(source, SQL) or (isinstance(source, Source) and source.sql is not None)


def _flat(item: Any) -> list[Definition]:
    if isinstance(item, ModuleType):
        found = definitions_among(vars(item).values())
        if not found:
            raise DefinitionError(f"module {item.__name__} defines nothing. Give its views and the rest global names.")
        return found
    found = list(item) if isinstance(item, list | tuple) else [item]
    for definition in found:
        if not isinstance(definition, Definition):
            raise DefinitionError(f"{definition!r} is no definition. Apply sources, entities, views and services.")
    return found


def _register(store: Resources, known: Sequence[Definition], *, dry: bool = False) -> ApplyResult:
    try:
        return store.registry.apply(known, dry=dry)
    except VersionConflictError:
        from fs_core.registry.registry import with_embedded

        free = usage.replaceable(store, with_embedded(known))
        if not free:
            raise
    result = store.registry.apply(known, replaceable=free.keys(), dry=dry)
    if not dry:
        store.lineage.remove([old for old in free.values() if isinstance(old, FeatureView)])
    return result


def _warn_of_emptiness(store: Resources, name: str, before: str, new: str) -> None:
    """Say in the log where a view's new version has no history, though the one that was current has."""
    try:
        view, known = store.view(f"{name}:v{new}"), store.view(f"{name}:v{before}")
        if not usage.is_empty(store, view) or usage.is_empty(store, known):
            return
    except FeatureStoreError as error:  # the versions are registered all the same
        log.debug("unknown whether %s:v%s has history: %s", name, new, error)
        return
    fill = f"store.write({name!r}, ...)" if view.source is None else f"store.backfill({name!r})"
    fill += f", then store.materialize({name!r})" if view.online else ""
    log.warning(
        "view %s: v%s is current now and has no history yet, as v%s has: who asks for %r without a version finds "
        "nothing, neither online nor in history. Fill it: %s; store.carry_over(%r, from_=%r) keeps both clocks of the "
        "rows that are there. Or go back until then: store.rollback(%r, to=%r), "
        "or fs rollback %s %s.",
        name,
        new,
        before,
        name,
        fill,
        f"{name}:v{new}",
        f"{name}:v{before}",
        name,
        before,
        name,
        before,
    )


def _trace(store: Resources, definitions: Sequence[Definition], result: ApplyResult) -> None:
    """Keep where the columns of new views come from."""
    new = {(change.name, change.version) for change in result.changed if change.kind == "view"}
    views = {d.ref: d for d in definitions if isinstance(d, FeatureView) and (d.name, d.version) in new}
    try:
        store.lineage.add(views.values())
    except RegistryError as error:  # the views are registered; whoever asks for lineage next sees to it
        log.warning("lineage is not kept yet: %s", error)


def _check_predicates(store: Resources, definitions: Sequence[Definition]) -> None:
    """Refuse conditions that are none, but for those registered already, which a newer DuckDB may judge otherwise."""
    views = [d for d in definitions if isinstance(d, FeatureView)]
    filtering = [view for view in views if view.checks or any(a.where for a in view.aggregations)]
    filtering = [view for view in filtering if not _is_registered(store, view)]
    if not filtering:
        return
    from fs_core.offline.predicates import check_predicates

    for view in filtering:
        check_predicates(view)


def _check_streams(definitions: Sequence[Definition], directory: os.PathLike[str]) -> None:
    for definition in definitions:
        view = definition if isinstance(definition, FeatureView) else None
        stream = definition if view is None else view.source
        if isinstance(stream, StreamSource):
            from fs_core.streams.open import check_stream

            check_stream(stream, view, Path(directory))


def _check_schedules(store: Resources, definitions: Sequence[Definition]) -> None:
    """Refuse schedules that are never due, but for those registered already: a server may apply these anew."""
    for view in definitions:
        if not isinstance(view, FeatureView) or view.scheduled is None or _is_registered(store, view):
            continue
        try:
            view.scheduled.next_after(0)
        except FeatureStoreError as error:
            raise type(error)(f"view {view.ref!r}: {error}") from error


def _is_registered(store: Resources, view: FeatureView) -> bool:
    try:
        return store.registry.view(view.name, VersionSelector(version=view.version)) == view
    except FeatureStoreError:  # it isn't there, or what is can't be read: registering tells
        return False


def to_yaml(store: Resources, *refs: str, every_version: bool = False) -> str:
    """Return definitions as YAML documents, in an order that suits version control.

    Args:
        refs: which, with all that they need (a service its views, a view its entities and sources); none
            means everything current and what that needs, as far as a service's references still mean
            something.
        every_version: every version, where no reference is given.

    Aliases aren't exported: a service that names one can be applied only where that alias is set.

    Raises:
        UnknownReferenceError: there is no such definition.
    """
    from fs_core.definitions.yaml.writing import write
    from fs_core.sources.sources import referenced_tables

    listed = store.registry.listing()
    if refs:
        chosen = {(d.kind, d.ref) for ref in refs for d in _with_needs(store.registry, Reference.parse(ref))}
        listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
    elif not every_version:
        chosen = {(d.kind, d.ref) for r in listed if r.current for d in _closed(store.registry, r.definition)}
        listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
    created = {r.definition: r.created_at for r in listed}
    return write(created, referenced_tables, created, store.registry.retired())


def read_yaml(store: Resources, text: str, file: str = "definitions.yaml") -> list[Definition]:
    """Return the definitions of YAML documents; what they lean on may be registered here.

    Args:
        text: as `to_yaml` returns it.
        file: what to call the text in errors.

    Raises:
        DefinitionError: it is no YAML, or defines what can't be; names file and line.
        UnknownReferenceError: a view's source is neither in it nor registered.
    """
    from fs_core.definitions.yaml.reading import read
    from fs_core.sources.sources import referenced_tables

    return read(text, referenced_tables, store.registry.source, partial(_registered_entity, store.registry), file)


def apply_yaml(store: Resources, text: str, file: str = "definitions.yaml") -> ApplyResult:
    """Register what YAML documents define, all or none; see `apply` and `read_yaml`."""
    return apply(store, *read_yaml(store, text, file))


def _registered_entity(registry: Registry, bare: Entity) -> Entity:
    try:
        return registry.entity(bare.name, VersionSelector(digest=bare.digest))
    except UnknownReferenceError:
        return bare


def _with_needs(registry: Registry, reference: Reference) -> Iterator[Definition]:
    """Yield what a reference means and what that can't be registered without."""
    yield from _closed(registry, registry.anything(reference.name, reference.selector), whole=True)


def _closed(registry: Registry, found: Definition, *, whole: bool = False) -> Iterator[Definition]:
    """Yield a definition and what it needs; unless `whole`, without what it names and isn't there."""
    yield found
    if isinstance(found, FeatureView | Source):
        yield from _origins(registry, found)
    if isinstance(found, FeatureService | OnDemandView):
        for text in found.references:
            try:
                yield from _with_needs(registry, Reference.parse(text))
            except UnknownReferenceError:
                if whole:
                    raise


def _origins(registry: Registry, definition: FeatureView | Source) -> Iterator[Definition]:
    """Yield a view's entities, and what a view or source reads, with what that needs."""
    seen: set[Definition] = set()
    waiting: list[Definition] = [definition]
    while waiting:
        one = waiting.pop()
        if one in seen or not isinstance(one, FeatureView | Source | StreamSource):
            continue
        seen.add(one)
        if one is not definition:
            yield one
        if isinstance(one, FeatureView):
            yield from (_registered_entity(registry, entity) for entity in one.entities)
        waiting += [] if isinstance(one, StreamSource) else _read(registry, one)


def _read(registry: Registry, definition: FeatureView | Source) -> list[Definition]:
    from fs_core.sources.sources import referenced_tables
    from fs_core.sources.tables import query_of

    if isinstance(definition, FeatureView) and isinstance(definition.source, Source | StreamSource):
        return [registry.source(definition.source.name)]
    query = query_of(definition)
    return [] if query is None else [_table(registry, name) for name in sorted(referenced_tables(query))]


def _table(registry: Registry, table: str) -> Definition:
    """Return the source, or view, that a query means by a table."""
    from fs_core.sources.sources import named

    for kind, get in (("source", registry.source), ("view", registry.view)):
        name = named(table, {r.name for r in registry.summaries(kind)})
        if name is not None:
            return get(name)
    return registry.source(table)
