"""What a catalogue shows, gathered once: definitions, their versions, lineage, and how fresh views are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from fs_core.catalogue import paths
from fs_core.definitions import Definition, Entity, FeatureView
from fs_core.errors import OfflineStoreError, OnlineStoreError, OnlineUnavailableError
from fs_core.materialization.watermark import reached
from fs_core.offline.contract import EMPTY
from fs_core.registry import Registered
from fs_core.registry.records import Edge, Record

if TYPE_CHECKING:
    from fs_core.lineage import Lineage
    from fs_core.offline.contract import OfflineStore
    from fs_core.offline.delta.log import LastWrite
    from fs_core.online.contract import OnlineStore
    from fs_core.registry import Registry

log = logging.getLogger("fs_core")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class State:
    """How far a view is written and served.

    Attributes:
        written: whether it has a history.
        last: what the last write brought; None if unknown.
        online_until: the moment that the online store stands at, microseconds; None if never filled to
            the end, or not known.
    """

    written: bool
    last: LastWrite | None
    online_until: int | None


@dataclass(frozen=True)
class Contents:
    """Everything a catalogue shows.

    Attributes:
        title: what the store is called.
        built_at: when this was gathered, microseconds since 1970-01-01 UTC.
        registered: the definitions, by kind, name and version.
        edges: the lineage graph.
        records: training sets, runs and models.
        notes: what lineage doesn't know of a view, by name and version.
        aliases: by kind, name and version.
        retired: kinds, names and versions.
        states: by view reference.
        reports: by view reference, what monitoring last saw, in plain values.
    """

    title: str
    built_at: int
    registered: tuple[Registered, ...]
    edges: tuple[Edge, ...]
    records: tuple[Record, ...]
    notes: Mapping[tuple[str, str], list[str]]
    aliases: Mapping[tuple[str, str, str], list[str]]
    retired: frozenset[tuple[str, str, str]]
    states: Mapping[str, State]
    reports: Mapping[str, Mapping[str, Any]]

    def of(self, kind: str) -> list[Registered]:
        """Return what is registered of a kind."""
        return [r for r in self.registered if r.definition.kind == kind]

    def versions(self, definition: Definition) -> list[Registered]:
        """Return every version of a definition, newest first."""
        return self._by_name[definition.kind, definition.name][::-1]

    def recorded(self, kind: str) -> list[Record]:
        """Return what was recorded of a kind."""
        return [record for record in self.records if record.kind == kind]

    @cached_property
    def records_by_id(self) -> Mapping[str, Record]:
        """What was recorded, by node."""
        return {record.id: record for record in self.records}

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], list[Registered]]:
        return _grouped(((r.definition.kind, r.definition.name), r) for r in self.registered)

    @cached_property
    def upstream(self) -> Mapping[str, list[Edge]]:
        """The edges that lead to each node."""
        return _grouped((edge.downstream, edge) for edge in self.edges)

    @cached_property
    def downstream(self) -> Mapping[str, list[Edge]]:
        """The edges that lead from each node."""
        return _grouped((edge.upstream, edge) for edge in self.edges)

    @cached_property
    def views_of(self) -> Mapping[str, list[FeatureView]]:
        """The current views of each entity, by its name."""
        views = [r.definition for r in self.of("view") if r.current and isinstance(r.definition, FeatureView)]
        return _grouped((entity.name, view) for view in views for entity in view.entities)

    def entity_of(self, bare: Entity) -> Entity:
        """Return a view's entity as it is registered."""
        known = [r.definition for r in self._by_name.get(("entity", bare.name), [])]
        return next((e for e in reversed(known) if isinstance(e, Entity) and e.digest == bare.digest), bare)

    def source_path(self, name: str) -> str:
        """Return the page of a source's current version; the list of sources where it isn't registered."""
        return self._source_paths.get(name.lower(), "index.html#sources")

    @cached_property
    def _source_paths(self) -> Mapping[str, str]:
        current = [r.definition for r in self.of("source") if r.current]
        return {d.name.lower(): paths.of_definition("source", d.name, d.version) for d in current}


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return values by key."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


@dataclass(frozen=True)
class Origin:
    """What a catalogue is gathered from.

    Attributes:
        registry: the definitions.
        lineage: what is made from what.
        offline: the history.
        online: the latest rows.
        report: returns what monitoring last saw of a view, in plain values; None where nothing is known.
    """

    registry: Registry
    lineage: Lineage
    offline: OfflineStore
    online: OnlineStore
    report: Callable[[FeatureView], Mapping[str, Any] | None] = lambda _: None


def gather(origin: Origin, title: str, built_at: int) -> Contents:
    """Return what there is to show of a store.

    Args:
        origin: where to look.
        title: what the store is called.
        built_at: the moment, microseconds since 1970-01-01 UTC.

    Raises:
        RegistryError: the registry can't be read.
    """
    edges, records = origin.lineage.everything()
    registered = origin.registry.listing()
    views = [r.definition for r in registered if isinstance(r.definition, FeatureView)]
    return Contents(
        title,
        built_at,
        tuple(registered),
        tuple(edges),
        tuple(records),
        origin.lineage.notes(),
        _grouped(((alias.kind, alias.name, alias.version), alias.alias) for alias in origin.registry.aliases()),
        frozenset(origin.registry.retired()),
        dict(_states(origin, views)),
        {view.ref: report for view in views if (report := origin.report(view)) is not None},
    )


def _states(origin: Origin, views: list[FeatureView]) -> Iterator[tuple[str, State]]:
    """Yield how far each view is written and served; a store that is down is no reason not to show the rest."""
    last_write = getattr(origin.offline, "last_write", lambda _: None)  # a back-end of others may not have it
    answers = True
    for view in views:
        try:
            written = origin.offline.snapshot(view) != EMPTY
            last = last_write(view) if written else None
        except OfflineStoreError as error:
            log.warning("catalogue: %s", error)
            written, last = False, None
        until = None
        if answers and written and view.online:
            try:
                mark = reached(origin.online, view)
                until = None if mark is None else mark.until
            except OnlineUnavailableError as error:
                log.warning("catalogue: the online store doesn't answer, so it is left out: %s", error)
                answers = False
            except OnlineStoreError as error:
                log.warning("catalogue: %s", error)
        yield view.ref, State(written, last, until)
