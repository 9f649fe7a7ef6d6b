"""Definitions by name and version, kept in a database that several processes share."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from fs_core.definitions import (
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
from fs_core.definitions.base import REFERABLE, version_key
from fs_core.definitions.references import CURRENT
from fs_core.errors import DefinitionError, DocumentationError, UnknownReferenceError, did_you_mean
from fs_core.registry.changes import ApplyResult, Change, differences, refuse_other
from fs_core.registry.database import Database
from fs_core.registry.generation import raise_generation, setting
from fs_core.registry.lifecycle import Lifecycle, Version
from fs_core.registry.lookup import (
    description_of,
    find,
    get,
    get_anything,
    load_one,
    loader,
    one_version,
    versions_query,
)
from fs_core.registry.tables import currents, definitions, sequences
from fs_core.values.times import Clock

D = TypeVar("D", bound=Definition)

_ORDER = ("source", "entity", "view", "on_demand", "service")


@dataclass(frozen=True)
class Registered:
    """A definition as the registry has it.

    Attributes:
        definition: the definition.
        created_at: when it was registered, microseconds since 1970-01-01 UTC.
        current: whether a reference without a version means it.
    """

    definition: Definition
    created_at: int
    current: bool


class Summary(NamedTuple):
    """A definition as a list shows it.

    Attributes:
        kind: `source`, `entity`, `view`, `on_demand` or `service`.
        name: its name.
        version: its version.
        digest: of its content.
        created_at: when it was registered, microseconds since 1970-01-01 UTC.
        current: whether a reference without a version means it.
        description: what it means.
    """

    kind: str
    name: str
    version: str
    digest: str
    created_at: int
    current: bool
    description: str


class Registry(Lifecycle):
    """Definitions, immutable by version, several versions side by side.

    Thread-safe; opens its database lazily in each process; pickles as configuration.

    Args:
        location: an SQLAlchemy URL, or the path of a SQLite file.
        read_only: never write. A SQLite file in a directory that can't be written is never written either way.
    """

    def __init__(self, location: str | PurePath, *, read_only: bool = False) -> None:
        self.database = Database(location, read_only=read_only)
        self._clock = Clock()

    def __repr__(self) -> str:
        return f"Registry({self.database!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"database": self.database}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.database, self._clock = state["database"], Clock()

    @cached_property
    def project(self) -> str:
        """16 hex digits that distinguish this registry's rows from another's in a shared online store; made with it."""
        self.database.make()
        with self.database.reading() as connection:
            return str(connection.execute(setting("project")).scalar_one())

    def generation(self) -> int:
        """Return a number that grows with every change."""
        with self.database.reading() as connection:
            return int(connection.execute(setting("generation")).scalar_one())

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        self.database.close()

    # --- write -----------------------------------------------------------------------------------

    def apply(
        self, given: Sequence[Definition], *, replaceable: Collection[Version] = (), dry: bool = False
    ) -> ApplyResult:
        """Register definitions in one transaction, all or none; what is there already stays.

        Args:
            given: the definitions.
            replaceable: kinds, names and versions that may get other content.
            dry: whether to undo it all.

        Raises:
            VersionConflictError, DocumentationError, DefinitionError, UnknownReferenceError: see
                `FeatureStore.apply`.
        """
        _require_documentation(given)
        explicit = {_key(definition) for definition in given}
        whole = sorted(with_embedded(given), key=lambda d: _ORDER.index(d.kind))
        changes: dict[Version, Change] = {}
        with self.database.trying() if dry else self.database.writing() as connection:
            for definition in whole:
                key = _key(definition)
                free = key in replaceable and key not in changes
                change = _register(connection, definition, self._clock.now(), given=key in explicit, free=free)
                changes.setdefault(key, change)
            for definition in whole:
                if isinstance(definition, OnDemandView):
                    _check_inputs(connection, definition)
            result = ApplyResult(changes.values())
            _check_services(connection, [d for d in whole if isinstance(d, FeatureService)], result)
            if result.changed:
                raise_generation(connection)
        return result

    def reserve(self, storage_name: str, count: int) -> int:
        """Hand out `count` sequence numbers of a view's history, to nobody else ever; return the first."""
        mine = sequences.c.storage_name == storage_name
        with self.database.writing() as connection:
            first = connection.execute(sa.select(sequences.c.next).where(mine)).scalar()
            if first is None:
                connection.execute(sequences.insert().values(storage_name=storage_name, next=count))
                return 0
            connection.execute(sequences.update().where(mine).values(next=first + count))
            return int(first)

    # --- read ------------------------------------------------------------------------------------

    def view(self, name: str, selector: VersionSelector = CURRENT) -> FeatureView:
        """Return a view; raise `UnknownReferenceError` if there is none."""
        return self._get("view", FeatureView, name, selector)

    def service(self, name: str, selector: VersionSelector = CURRENT) -> FeatureService:
        """Return a service; raise `UnknownReferenceError` if there is none."""
        return self._get("service", FeatureService, name, selector)

    def entity(self, name: str, selector: VersionSelector = CURRENT) -> Entity:
        """Return an entity; raise `UnknownReferenceError` if there is none."""
        return self._get("entity", Entity, name, selector)

    def source(self, name: str, selector: VersionSelector = CURRENT) -> Source | StreamSource:
        """Return a source; raise `UnknownReferenceError` if there is none."""
        found = self._get("source", Definition, name, selector)
        assert isinstance(found, Source | StreamSource)
        return found

    def stream(self, name: str, selector: VersionSelector = CURRENT) -> StreamSource:
        """Return a stream; raise `UnknownReferenceError` if there is none, `DefinitionError` if it is no stream."""
        found = self._get("source", Definition, name, selector)
        if not isinstance(found, StreamSource):
            raise DefinitionError(f"source {name!r} is no stream. Pass a StreamSource, or run it by backfill.")
        return found

    def on_demand(self, name: str, selector: VersionSelector = CURRENT) -> OnDemandView:
        """Return an on-demand view; raise `UnknownReferenceError` if there is none."""
        return self._get("on_demand", OnDemandView, name, selector)

    def find(self, name: str, selector: VersionSelector = CURRENT) -> FeatureView | OnDemandView | FeatureService:
        """Return the view, on-demand view or service of that name; they share one namespace.

        Raises:
            UnknownReferenceError: there is none, or not in that version.
        """
        with self.database.reading() as connection:
            return find(connection, name, selector)

    def anything(self, name: str, selector: VersionSelector = CURRENT) -> Definition:
        """Return the view or service of that name, else the entity, else the source.

        Raises:
            UnknownReferenceError: there is none, or not in that version.
        """
        with self.database.reading() as connection:
            return get_anything(connection, name, selector)

    def listing(self, kind: str | None = None) -> list[Registered]:
        """Return everything registered, or one kind of it, by kind, name and version."""
        with self.database.reading() as connection:
            load = loader(connection)
            return [Registered(load(row), int(row.created_at), current) for row, current in _listed(connection, kind)]

    def summaries(self, kind: str | None = None) -> list[Summary]:
        """Return what a list shows of everything registered, or of one kind, without reading definitions whole.

        Raises:
            RegistryError: a definition is damaged.
        """
        with self.database.reading() as connection:
            return [
                Summary(row.kind, row.name, row.version, row.digest, int(row.created_at), current, description_of(row))
                for row, current in _listed(connection, kind)
            ]

    def _get(self, kind: str, type_: type[D], name: str, selector: VersionSelector) -> D:
        with self.database.reading() as connection:
            found = get(connection, [kind], name, selector)
        assert isinstance(found, type_)
        return found


def _listed(connection: sa.Connection, kind: str | None) -> list[tuple[sa.Row[Any], bool]]:
    """Return the rows of everything registered, or of one kind, by kind, name and version, and which are current."""
    query = sa.select(definitions)
    rows = connection.execute(query if kind is None else query.where(definitions.c.kind == kind)).all()
    since = connection.execute(sa.select(currents).order_by(currents.c.since))
    current = {(row.kind, row.name): row.version for row in since}
    ordered = sorted(rows, key=lambda row: (_ORDER.index(row.kind), row.name, version_key(row.version)))
    return [(row, current[row.kind, row.name] == row.version) for row in ordered]


def _key(definition: Definition) -> tuple[str, str, str]:
    return definition.kind, definition.name, definition.version


def with_embedded(given: Sequence[Definition]) -> list[Definition]:
    """Return definitions, and the entities and sources that views bring along, but for those given as they are."""
    passed = {(_key(d), d.digest) for d in given}
    found: dict[object, Definition] = {}
    for view in (d for d in given if isinstance(d, FeatureView)):
        parts = [*view.entities, *([view.source] if isinstance(view.source, Source | StreamSource) else [])]
        found |= {(_key(part), part.digest): part for part in parts}
    return [*given, *(part for known, part in found.items() if known not in passed)]


def _require_documentation(given: Sequence[Definition]) -> None:
    missing = []
    for view in (d for d in given if isinstance(d, FeatureView | OnDemandView)):
        missing += [] if view.description.strip() else [f"view {view.name!r}"]
        fields = view.kept if isinstance(view, FeatureView) else view.fields
        missing += [f"field '{view.name}.{f.name}'" for f in fields if not f.description.strip()]
        transforms = view.transforms if isinstance(view, FeatureView) else ()
        missing += [f"transform {t.name!r} of view {view.name!r}" for t in transforms if not t.description.strip()]
        requests = view.requests.values() if isinstance(view, OnDemandView) else ()
        missing += [f"request column '{view.name}.{r.name}'" for r in requests if not r.description.strip()]
    if missing:
        raise DocumentationError(
            f"no description: {', '.join(missing)}. Nothing was registered. "
            "Say what each means and in which unit: description='...' on the view, the third argument of Field."
        )


def _register(connection: sa.Connection, new: Definition, now: int, *, given: bool, free: bool) -> Change:
    """Register a definition, unless it is; refuse other content, unless the version is free to be replaced."""
    kind, name, version = _key(new)
    _refuse_look_alike(connection, new)
    row = connection.execute(sa.select(definitions).where(one_version(kind, name, version))).first()
    if row is not None:
        old = load_one(connection, row)
        # What a view merely brings along may be registered with more documentation than the view knows.
        same = old == new if given else old.digest == new.digest
        if not same and not free:
            refuse_other(old, new, connection.execute(versions_query(kind, name)).scalars().all())
        if same:
            return Change(kind, name, version, "unchanged", made_current=False)
    values = {"digest": new.digest, "body": json.dumps(new.to_dict(), sort_keys=True), "created_at": now}
    if row is not None:
        connection.execute(definitions.update().where(one_version(kind, name, version)).values(values))
        return Change(kind, name, version, "replaced", made_current=False, differs=tuple(differences(old, new)))
    connection.execute(definitions.insert().values(kind=kind, name=name, version=version, **values))
    made_current, replaced = _make_current(connection, new, now)
    return Change(kind, name, version, "registered", made_current=made_current, replaced=replaced)


def _make_current(connection: sa.Connection, new: Definition, now: int) -> tuple[bool, str | None]:
    """Make a definition current unless a greater version is; return whether it is, and which it replaced."""
    mine = sa.and_(currents.c.kind == new.kind, currents.c.name == new.name)
    last = connection.execute(sa.select(currents).where(mine).order_by(currents.c.since.desc())).first()
    if last is not None and version_key(last.version) > version_key(new.version):
        return False, None
    since = now if last is None else max(now, last.since + 1)
    connection.execute(currents.insert().values(kind=new.kind, name=new.name, since=since, version=new.version))
    return True, None if last is None else last.version


def _refuse_look_alike(connection: sa.Connection, new: Definition) -> None:
    """Refuse a name that differs by case alone, or that two things would share that references may mean."""
    kinds = REFERABLE if new.kind in REFERABLE else (new.kind,)
    query = sa.select(definitions.c.kind, definitions.c.name).where(definitions.c.kind.in_(kinds)).distinct()
    for kind, name in connection.execute(query):
        if name.lower() == new.name.lower() and (kind, name) != (new.kind, new.name):
            raise DefinitionError(
                f"{new.kind} {new.name!r}: there is a {kind} {name!r} already; a reference would be ambiguous."
            )


def _check_services(connection: sa.Connection, given: Sequence[FeatureService], result: ApplyResult) -> None:
    """Refuse services whose features aren't there: those given, and those that take a view which was replaced."""
    replaced = {change.name for change in result if change.action == "replaced"}
    rows = connection.execute(sa.select(definitions).where(definitions.c.kind == "service")) if replaced else ()
    for service in [*given, *map(loader(connection), rows)]:
        assert isinstance(service, FeatureService)
        if service in given or replaced.intersection(Reference.parse(text).name for text in service.references):
            _check_features(connection, service)


def _check_features(connection: sa.Connection, service: FeatureService) -> None:
    for text in service.references:
        reference = Reference.parse(text)
        found = find(connection, reference.name, reference.selector)
        if isinstance(found, FeatureService):
            raise DefinitionError(f"service {service.name!r} takes features, but {text!r} is a service.")
        if reference.feature is not None and reference.feature not in (*found.features, *found.clocks):
            raise UnknownReferenceError(
                f"service {service.name!r}: view {found.ref!r} has no feature {reference.feature!r}."
                + did_you_mean(reference.feature, found.features)
            )


def _check_inputs(connection: sa.Connection, view: OnDemandView, above: tuple[str, ...] = ()) -> None:
    """Refuse an on-demand view that reads what isn't there, or itself by a detour, as things are now."""
    if view.name in above:
        circle = " -> ".join([*above[above.index(view.name) :], view.name])
        raise DefinitionError(f"on-demand view {view.name!r} reads itself: {circle}. Take one of the inputs out.")
    for lookup in view.lookups.values():
        reference = Reference.parse(lookup.ref)
        found = find(connection, reference.name, reference.selector)
        if isinstance(found, FeatureService):
            raise DefinitionError(f"on-demand view {view.name!r} reads features, but {found.name!r} is a service.")
        if reference.feature not in (*found.features, *found.clocks):
            raise UnknownReferenceError(
                f"on-demand view {view.name!r}: view {found.ref!r} has no feature {reference.feature!r}."
                + did_you_mean(str(reference.feature), found.features)
            )
        if isinstance(found, OnDemandView):
            _check_inputs(connection, found, (*above, view.name))
