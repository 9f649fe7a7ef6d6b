"""What uses a definition: what keeps it from being deleted, or replaced by another of the same version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fs_core.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    Source,
    StreamSource,
    VersionSelector,
)
from fs_core.errors import FeatureStoreError, UnknownReferenceError
from fs_core.offline.contract import EMPTY
from fs_core.store.resources import Resources
from fs_core.store.saved_sets import saved_sets

if TYPE_CHECKING:
    from fs_core.lineage.graph import Graph

_MADE = ("training_set", "run", "model")


def is_empty(store: Resources, view: FeatureView) -> bool:
    """Return whether no row was ever written or quarantined; a stream that was put aside leaves a state, but no row."""
    has_rows = store.offline.snapshot(view) != EMPTY and store.offline.reserve(view, 0) > 0
    return not has_rows and store._quarantine(view).is_empty


def users(store: Resources, kind: str, name: str, version: str) -> list[str]:
    """Return what still uses a retired view or service, a phrase each: models, services, aliases.

    Args:
        store: where it is registered.
        kind: `view`, `on_demand` or `service`.
        name: its name.
        version: its version.
    """
    found = store.lineage.downstream(f"{_kind(kind)}:{name}:v{version}")
    retired = {f"{n}:v{v}" for one, n, v in store.registry.retired() if one == "service"}
    services = [service for service in found.services if service not in retired]
    return [
        *_computing(store, found, name),
        *(f"model {model.name}" for model in found.models if model.how == "derives"),
        *(f"service {service}" for service in services),
        *_aliases(store, kind, name, version),
    ]


def uses(store: Resources, definition: Definition) -> Iterator[str]:
    """Yield what keeps a definition from being deleted, a phrase each."""
    if isinstance(definition, Entity):
        if not any(other.digest == definition.digest for other in _others(store, definition)):
            yield from (f"view {view.ref}" for view in _described(store, definition))
    elif isinstance(definition, StreamSource):  # what came from it stays
        if not _others(store, definition):
            yield from (f"view {view.ref}" for view in _taking(store, definition))
    elif isinstance(definition, Source):
        if not _others(store, definition):
            yield from (f"view {view.ref}" for view in _fed(store, definition))
            found = store.lineage.downstream(f"source:{definition.name}")
            yield from (f"source {name}" for name in found.sources if name != definition.name)
    else:
        if isinstance(definition, FeatureView) and not is_empty(store, definition):
            shared = any(_rows_of(other) == _rows_of(definition) for other in _others(store, definition))
            where = "its history" if store._quarantine(definition).is_empty else "quarantine"
            yield from [] if shared else [f"rows in {where}"]
        if isinstance(definition, FeatureView | OnDemandView):
            found = store.lineage.downstream(_node(definition))
            yield from (*_computing(store, found, definition.name), *(f"service {name}" for name in found.services))
        yield from _made(store, definition)


def replaceable(store: Resources, given: Sequence[Definition]) -> Mapping[tuple[str, str, str], Definition]:
    """Return those registered versions of what is to be applied that nothing was made with yet, by kind, name, version.

    Args:
        store: where they are registered.
        given: what is to be applied.
    """
    found = {(d.kind, d.name, d.version): old for d in given if (old := _registered(store, d)) not in (None, d)}
    free = {
        key: old
        for key, old in found.items()
        if old is not None and not isinstance(old, Entity | Source | StreamSource)
    }
    free = {key: old for key, old in free.items() if not _is_in_use(store, old)}
    for key, old in found.items():
        if isinstance(old, StreamSource) and not any(_is_in_use(store, view) for view in _taking(store, old)):
            free[key] = old
        if isinstance(old, Source) and not any(_is_in_use(store, view) for view in _fed(store, old)):
            free[key] = old
        if isinstance(old, Entity) and all(("view", v.name, v.version) in free for v in _described(store, old)):
            free[key] = old
    return free


def _is_in_use(store: Resources, definition: Definition) -> bool:
    """Return whether rows, training sets, models or aliases rest on a view's or service's version."""
    has_rows = isinstance(definition, FeatureView) and not is_empty(store, definition)
    has_rows = has_rows or (isinstance(definition, OnDemandView) and _may_be_used(store, definition))
    return has_rows or next(_made(store, definition), None) is not None


def _may_be_used(store: Resources, definition: OnDemandView) -> bool:
    """Return whether an on-demand view may have been trained on or served: unless what it reads has no rows."""
    try:
        views = store.select(definition.ref).views
    except FeatureStoreError:
        return True
    return not views or not all(is_empty(store, view) for view in views)


def _computing(store: Resources, found: Graph, name: str) -> list[str]:
    """Return the views that are computed from, or read, a view of that name, a phrase each."""
    computing = {summary.name for summary in store.registry.summaries("on_demand")}
    views = sorted({feature.partition(".")[0] for feature in found.features} - {name})
    return [f"{'on-demand view' if view in computing else 'view'} {view}" for view in views]


def _made(store: Resources, definition: Definition) -> Iterator[str]:
    """Yield what was made with a view or service, and its aliases."""
    found = store.lineage.downstream(_node(definition))
    yield from (f"{node.kind.replace('_', ' ')} {node.name}" for node in found.of(*_MADE))
    pinned = {"name": definition.name, "version": definition.version}
    for saved in saved_sets(store).listing() if isinstance(definition, FeatureView | OnDemandView) else ():
        if any(pinned.items() <= view.items() for view in _pinned_views(saved.spec)):
            yield f"saved training set {saved.name}"
    yield from _aliases(store, definition.kind, definition.name, definition.version)


def _pinned_views(spec: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield name and version of every view that a training set pins: looked up, computed, and read by what is."""
    yield from ({"name": view["name"], "version": view["version"]} for view in spec["views"])
    for part in spec["features"]:
        feature, _, version = part["ref"].rpartition(":v")
        yield {"name": feature.partition(".")[0], "version": version}
        yield from ({"name": name, "version": read["version"]} for name, read in part.get("reads", {}).items())


def _aliases(store: Resources, kind: str, name: str, version: str) -> list[str]:
    pointing = [a.alias for a in store.registry.aliases() if (a.kind, a.name, a.version) == (kind, name, version)]
    return [f"alias {name}@{alias}" for alias in pointing]


def _registered(store: Resources, definition: Definition) -> Definition | None:
    """Return what is registered under a definition's name and version."""
    try:
        found: Definition = getattr(store.registry, definition.kind)(
            definition.name, VersionSelector(version=definition.version)
        )
    except UnknownReferenceError:
        return None
    return found


def _others(store: Resources, definition: Definition) -> list[Definition]:
    """Return the other versions of a definition."""
    listed = (r.definition for r in store.registry.listing(definition.kind))
    return [d for d in listed if d.name == definition.name and d.version != definition.version]


def _views(store: Resources) -> list[FeatureView]:
    return [r.definition for r in store.registry.listing("view") if isinstance(r.definition, FeatureView)]


def _described(store: Resources, entity: Entity) -> list[FeatureView]:
    """Return the views of an entity."""
    return [v for v in _views(store) if any((e.name, e.digest) == (entity.name, entity.digest) for e in v.entities)]


def _fed(store: Resources, source: Source) -> list[FeatureView]:
    """Return the views that read a source."""
    reading = set(store.lineage.downstream(f"source:{source.name}").views)
    return [view for view in _views(store) if view.ref in reading]


def _taking(store: Resources, stream: StreamSource) -> list[FeatureView]:
    """Return the views whose source is a stream."""
    return [view for view in _views(store) if isinstance(view.source, StreamSource) and view.source.name == stream.name]


def _rows_of(definition: Definition) -> str:
    assert isinstance(definition, FeatureView)
    return definition.storage_name


def _node(definition: Definition) -> str:
    assert isinstance(definition, FeatureView | OnDemandView | FeatureService)
    return f"{_kind(definition.kind)}:{definition.ref}"


def _kind(kind: str) -> str:
    """Return what the graph calls a kind of definition."""
    return "view" if kind == "on_demand" else kind
