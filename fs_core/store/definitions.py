"""What is registered: applied, compared, rolled back to, retired, and written as YAML."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fs_core.definitions import (
    SQL,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Reference,
    Source,
    VersionSelector,
)
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, FeatureStoreError, RegistryError, UnknownReferenceError, did_you_mean
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.registry import Alias, ApplyResult, Difference, Moved, Registry

log = logging.getLogger("fs_core")


@dataclass(frozen=True)
class Retired:
    """What `retire` did.

    Attributes:
        kind: `view` or `service`.
        name: its name.
        version: the version.
        retired: whether it is retired now; False after `undo`.
        used_by: what still uses it: models, services, aliases; a phrase each.
    """

    kind: str
    name: str
    version: str
    retired: bool
    used_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.kind} {self.name}:v{self.version} is {'retired' if self.retired else 'in use again'}"
        return said + (f"; still used by {', '.join(self.used_by)}" if self.used_by else "")


def apply(store: Resources, *definitions: Definition | Sequence[Definition]) -> ApplyResult:
    """Register definitions, alone or in lists, all or none; applying them again changes nothing.

    A new version has a history of its own, unless only its documentation differs. The log warns where it becomes
    current and has none yet, while the one before has.

    Raises:
        VersionConflictError: a registered version has other content; says what differs and which
            version to give it.
        DocumentationError: a view or field has no description.
        UnknownReferenceError: SQL reads a table that is no source, or a service names no feature.
        SourceError: SQL doesn't parse, reaches beyond its sources, or doesn't fit them, as far as they can be read;
            names the column or function, and what may have been meant.
        DefinitionError: a `where` is no condition on one event.
    """
    flat = [d for item in definitions for d in (item if isinstance(item, list | tuple) else [item])]
    known: list[Definition] = [d for d in flat if isinstance(d, Definition)]
    if len(known) < len(flat):
        wrong = next(d for d in flat if not isinstance(d, Definition))
        raise DefinitionError(f"{wrong!r} is no definition. Apply sources, entities, views and services.")
    _check_queries(store, known)
    _check_predicates(known)
    result = store.registry.apply(known)
    store._plans.clear()
    _trace(store, known, result)
    for name, (before, new) in result.replaced_views.items():
        _warn_of_emptiness(store, name, before, new)
    return result


def _warn_of_emptiness(store: Resources, name: str, before: str, new: str) -> None:
    """Say in the log where a view's new version has no history, though the one that was current has."""
    try:
        view, known = store.view(f"{name}:v{new}"), store.view(f"{name}:v{before}")
        if not _is_empty(store, view) or _is_empty(store, known):
            return
    except FeatureStoreError as error:  # the versions are registered all the same
        log.debug("can't tell whether %s:v%s has history: %s", name, new, error)
        return
    fill = f"store.write({name!r}, ...)" if view.source is None else f"store.backfill({name!r})"
    fill += f", then store.materialize({name!r})" if view.rows_online else ""
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


def _is_empty(store: Resources, view: FeatureView) -> bool:
    """Tell whether nothing was ever written to a view."""
    from fs_core.offline.contract import EMPTY

    return store.offline.snapshot(view) == EMPTY


def _trace(store: Resources, definitions: Sequence[Definition], result: ApplyResult) -> None:
    """Keep where the columns of new views come from."""
    new = {(change.name, change.version) for change in result.changed if change.kind == "view"}
    views = {d.ref: d for d in definitions if isinstance(d, FeatureView) and (d.name, d.version) in new}
    try:
        store.lineage.add(views.values())
    except RegistryError as error:  # the views are registered; whoever asks for lineage next sees to it
        log.warning("lineage is not kept yet: %s", error)


def _check_predicates(definitions: Sequence[Definition]) -> None:
    filtering = [d for d in definitions if isinstance(d, FeatureView) and any(a.where for a in d.aggregations)]
    if not filtering:
        return
    from fs_core.offline.predicates import check_predicates

    for view in filtering:
        check_predicates(view)


def _check_queries(store: Resources, definitions: Sequence[Definition]) -> None:
    """Refuse SQL that reads what is no source, and of new views SQL that reaches beyond its sources or doesn't fit."""
    queries = [(d, d.source.query) for d in definitions if isinstance(d, FeatureView) and isinstance(d.source, SQL)]
    if not queries:
        return
    from fs_core.sources.binding import check_sql
    from fs_core.sources.sources import named, referenced_tables

    known = [r.definition for r in store.registry.listing("source") if r.current]
    sources = {d.name: d for d in (*known, *definitions) if isinstance(d, Source)}
    registered = {(s.name, s.version, s.digest) for s in store.registry.summaries("view")}
    for view, query in queries:
        for table in sorted(referenced_tables(query)):
            if named(table, sources) is None:
                raise UnknownReferenceError(
                    f"view {view.ref!r}: its SQL reads {table!r}, which is no registered source. "
                    f"Apply a Source({table!r}, path=...) with it.{did_you_mean(table, sources)}"
                )
        if (view.name, view.version, view.digest) not in registered:
            check_sql(view, sources, Path(store.directory))


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
    from fs_core.definitions.yaml_writing import write
    from fs_core.sources.sources import referenced_tables

    listed = store.registry.listing()
    if refs:
        chosen = {(d.kind, d.ref) for ref in refs for d in _with_needs(store.registry, Reference.parse(ref))}
        listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
    elif not every_version:
        chosen = {(d.kind, d.ref) for r in listed if r.current for d in _closed(store.registry, r.definition)}
        listed = [r for r in listed if (r.definition.kind, r.definition.ref) in chosen]
    created = {r.definition: r.created_at for r in listed}
    return write(created, referenced_tables, created)


def read_yaml(store: Resources, text: str, file: str = "definitions.yaml") -> list[Definition]:
    """Return the definitions of YAML documents; what they lean on may be registered here.

    Args:
        text: as `to_yaml` returns it.
        file: what to call the text in errors.

    Raises:
        DefinitionError: it is no YAML, or defines what can't be; names file and line.
        UnknownReferenceError: a view's source is neither in it nor registered.
    """
    from fs_core.definitions.yaml_reading import read
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
    """Yield a definition and what it needs; unless `whole`, without what a service names and isn't there."""
    yield found
    if isinstance(found, FeatureView):
        yield from _origins(registry, found)
    if isinstance(found, FeatureService):
        for text in found.references:
            try:
                yield from _with_needs(registry, Reference.parse(text))
            except UnknownReferenceError:
                if whole:
                    raise


def _origins(registry: Registry, view: FeatureView) -> Iterator[Definition]:
    """Yield a view's entities and sources."""
    from fs_core.sources.sources import referenced_tables

    yield from (_registered_entity(registry, entity) for entity in view.entities)
    if isinstance(view.source, Source):
        yield registry.source(view.source.name)
    if isinstance(view.source, SQL):
        for table in sorted(referenced_tables(view.source.query)):
            yield _source_read(registry, table)


def _source_read(registry: Registry, table: str) -> Source:
    """Return the source that a query means by a table."""
    from fs_core.sources.sources import named

    try:
        return registry.source(table)
    except UnknownReferenceError:
        name = named(table, {r.name for r in registry.summaries("source")})
        if name is None:
            raise
        return registry.source(name)


def diff(store: Resources, before: str | Definition, after: str | Definition) -> Difference:
    """Return what differs between two versions, and the version bump that calls for.

    Args:
        before: a reference to anything registered, or a definition.
        after: the same; a definition needn't be registered yet.

    Raises:
        UnknownReferenceError: there is no such version.
        DefinitionError: the two are no versions of one thing.
    """
    from fs_core.registry.changes import difference

    old, new = _definition(store, before), _definition(store, after)
    if (old.kind, old.name) != (new.kind, new.name):
        raise DefinitionError(
            f"{old.kind} {old.ref!r} and {new.kind} {new.ref!r} are no versions of one thing. Name two of one."
        )
    return difference(old, new)


def rollback(store: Resources, name: str, *, to: str) -> Moved:
    """Make an earlier version of a view or service current again; nothing is deleted.

    References to a moment (`@2024-01-15`) go on telling what was current then. A version applied later
    becomes current as always; applying again what is registered changes nothing.

    Args:
        name: the view or service.
        to: a version (`1.2.0`), or what may follow a name in a reference (`@3f2a9c1`).

    Raises:
        UnknownReferenceError: there is no such view, service or version.
        DefinitionError: the version is retired.
    """
    moved = store.registry.rollback(_version_of(name, to))
    store._plans.clear()
    log.info("%s", moved)
    return moved


def alias(store: Resources, ref: str, alias: str, *, remove: bool = False) -> Moved:
    """Let `name@alias` mean a version of a view or service until it is moved.

    Args:
        ref: the version, such as `stats:v1.2.0`; without one, the version that is current now.
        alias: such as `production` or `candidate`.
        remove: let it mean nothing any more instead.

    Raises:
        UnknownReferenceError: there is no such version, or no such alias to remove.
        DefinitionError: references couldn't carry the alias, or the version is retired.
    """
    target = _whole(ref)
    moved = store.registry.drop_alias(target.name, alias) if remove else store.registry.set_alias(target, alias)
    store._plans.clear()
    log.info("%s", moved)
    return moved


def aliases(store: Resources, name: str | None = None) -> list[Alias]:
    """Return the aliases, of one view or service or of all."""
    return [alias for alias in store.registry.aliases() if name in (None, alias.name)]


def retire(store: Resources, ref: str, *, undo: bool = False) -> Retired:
    """Retire a version: not served; materialized only if named; readable for old training sets for ever.

    What still uses it is in the result and in the log.

    Args:
        ref: the version, such as `stats:v1.0.0`.
        undo: take a retirement back.

    Raises:
        UnknownReferenceError: there is no such view, service or version.
        DefinitionError: the version is current and others could be; roll back first.
    """
    target = _whole(ref)
    kind, name, version = store.registry.reinstate(target) if undo else store.registry.retire(target)
    store._plans.clear()
    done = Retired(kind, name, version, not undo, () if undo else tuple(_users(store, kind, name, version)))
    log.log(logging.WARNING if done.used_by else logging.INFO, "%s", done)
    return done


def _users(store: Resources, kind: str, name: str, version: str) -> list[str]:
    found = store.lineage.downstream(f"{kind}:{name}:v{version}")
    retired = {f"{n}:v{v}" for one, n, v in store.registry.retired() if one == "service"}
    services = [service for service in found.services if service not in retired]
    pointing = [a.alias for a in store.registry.aliases() if (a.kind, a.name, a.version) == (kind, name, version)]
    return [
        *(f"model {model.name}" for model in found.models if model.how == "derives"),
        *(f"service {service}" for service in services),
        *(f"alias {name}@{alias}" for alias in pointing),
    ]


def _definition(store: Resources, given: str | Definition) -> Definition:
    if isinstance(given, Definition):
        return given
    reference = _whole(given)
    return store.registry.anything(reference.name, reference.selector)


def _whole(ref: str | FeatureView | FeatureService) -> Reference:
    """Return a reference to a view or service; one to a feature is refused, for versions are its view's."""
    reference = Reference.parse(ref.ref if isinstance(ref, FeatureView | FeatureService) else ref)
    if reference.feature is not None:
        raise DefinitionError(f"{ref!r} is a feature; versions are those of its view {reference.name!r}.")
    return reference


def _version_of(name: str, version: str) -> Reference:
    reference = _whole(name)
    if reference.selector != CURRENT:
        raise DefinitionError(f"{name!r} names a version already. Pass the name, and to={version!r} for the version.")
    text = version if version.startswith((":", "@")) else f":{version}"
    return Reference.parse(reference.name + text)
