"""Definitions by name and version, kept in a database that several processes share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa

from fs_core.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Reference,
    Source,
    VersionSelector,
    from_dict,
)
from fs_core.definitions.base import version_key
from fs_core.definitions.references import CURRENT
from fs_core.errors import (
    DefinitionError,
    DocumentationError,
    FeatureStoreError,
    RegistryError,
    UnknownReferenceError,
    did_you_mean,
)
from fs_core.registry.changes import ApplyResult, Change, refuse_other
from fs_core.registry.database import Database
from fs_core.registry.tables import currents, definitions, sequences, settings
from fs_core.times import Clock, from_micros

_ORDER = ("source", "entity", "view", "service")


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


class Registry:
    """Definitions, immutable by version, several versions side by side.

    Thread-safe; opens its database lazily in each process; pickles as configuration.

    Args:
        place: an SQLAlchemy URL, or the path of a SQLite file.
        read_only: never write. A SQLite file in a directory that can't be written is never written either way.
    """

    def __init__(self, place: str | PurePath, *, read_only: bool = False) -> None:
        self._database = Database(place, read_only=read_only)
        self._clock = Clock()

    def __repr__(self) -> str:
        return f"Registry({self._database!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"_database": self._database}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._database, self._clock = state["_database"], Clock()

    @cached_property
    def project(self) -> str:
        """16 hex digits that tell this registry's rows from another's in a shared online store."""
        with self._database.reading() as connection:
            return str(connection.execute(_setting("project")).scalar_one())

    def generation(self) -> int:
        """Return a number that grows with every change."""
        with self._database.reading() as connection:
            return int(connection.execute(_setting("generation")).scalar_one())

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        self._database.close()

    # --- write -----------------------------------------------------------------------------------

    def apply(self, given: Sequence[Definition]) -> ApplyResult:
        """Register definitions in one transaction, all or none; what is there already stays.

        Raises:
            VersionConflictError, DocumentationError, DefinitionError, UnknownReferenceError: see
                `FeatureStore.apply`.
        """
        _require_documentation(given)
        explicit = {_key(definition) for definition in given}
        whole = sorted([*given, *_embedded(given)], key=lambda d: _ORDER.index(d.kind))
        changes: dict[tuple[str, str, str], Change] = {}
        with self._database.writing() as connection:
            for definition in whole:
                key = _key(definition)
                change = _register(connection, definition, self._clock.now(), given=key in explicit)
                changes.setdefault(key, change)
            for definition in whole:
                if isinstance(definition, FeatureService):
                    _check_features(connection, definition)
            result = ApplyResult(changes.values())
            if result.changed:
                _raise_generation(connection)
        return result

    def reserve(self, storage_name: str, count: int) -> int:
        """Hand out `count` sequence numbers of a view's history, to nobody else ever; return the first."""
        mine = sequences.c.storage_name == storage_name
        with self._database.writing() as connection:
            first = connection.execute(sa.select(sequences.c.next).where(mine)).scalar()
            if first is None:
                connection.execute(sequences.insert().values(storage_name=storage_name, next=count))
                return 0
            connection.execute(sequences.update().where(mine).values(next=first + count))
            return int(first)

    # --- read ------------------------------------------------------------------------------------

    def view(self, name: str, selector: VersionSelector = CURRENT) -> FeatureView:
        """Return a view; raise `UnknownReferenceError` if there is none."""
        found = self._get("view", name, selector)
        assert isinstance(found, FeatureView)
        return found

    def service(self, name: str, selector: VersionSelector = CURRENT) -> FeatureService:
        """Return a service; raise `UnknownReferenceError` if there is none."""
        found = self._get("service", name, selector)
        assert isinstance(found, FeatureService)
        return found

    def entity(self, name: str, selector: VersionSelector = CURRENT) -> Entity:
        """Return an entity; raise `UnknownReferenceError` if there is none."""
        found = self._get("entity", name, selector)
        assert isinstance(found, Entity)
        return found

    def source(self, name: str, selector: VersionSelector = CURRENT) -> Source:
        """Return a source; raise `UnknownReferenceError` if there is none."""
        found = self._get("source", name, selector)
        assert isinstance(found, Source)
        return found

    def find(self, name: str, selector: VersionSelector = CURRENT) -> FeatureView | FeatureService:
        """Return the view or service of that name; the two share one namespace.

        Raises:
            UnknownReferenceError: there is none, or not in that version.
        """
        with self._database.reading() as connection:
            return _find(connection, name, selector)

    def listing(self, kind: str | None = None) -> list[Registered]:
        """Return everything registered, or one kind of it, by kind, name and version."""
        with self._database.reading() as connection:
            query = sa.select(definitions)
            rows = connection.execute(query if kind is None else query.where(definitions.c.kind == kind)).all()
            current = {
                (row.kind, row.name): row.version
                for row in connection.execute(sa.select(currents).order_by(currents.c.since))
            }
            load = _loader(connection)
            listed = [Registered(load(row), row.created_at, current[row.kind, row.name] == row.version) for row in rows]
        return sorted(listed, key=_listing_order)

    def _get(self, kind: str, name: str, selector: VersionSelector) -> Definition:
        with self._database.reading() as connection:
            return _get(connection, [kind], name, selector)


def _listing_order(item: Registered) -> tuple[int, str, tuple[int, int, int]]:
    return _ORDER.index(item.definition.kind), item.definition.name, version_key(item.definition.version)


def _setting(name: str) -> sa.Select[Any]:
    return sa.select(settings.c.value).where(settings.c.name == name)


def _raise_generation(connection: sa.Connection) -> None:
    number = int(connection.execute(_setting("generation")).scalar_one()) + 1
    connection.execute(settings.update().where(settings.c.name == "generation").values(value=str(number)))


def _key(definition: Definition) -> tuple[str, str, str]:
    return definition.kind, definition.name, definition.version


def _embedded(given: Sequence[Definition]) -> list[Definition]:
    """Return the entities and sources that views bring along, but for those passed with the same content."""
    passed = {(_key(d), d.digest) for d in given}
    found: dict[object, Definition] = {}
    for view in (d for d in given if isinstance(d, FeatureView)):
        parts = [*view.entities, *([view.source] if isinstance(view.source, Source) else [])]
        found |= {(_key(part), part.digest): part for part in parts}
    return [part for known, part in found.items() if known not in passed]


def _require_documentation(given: Sequence[Definition]) -> None:
    missing = []
    for view in (d for d in given if isinstance(d, FeatureView)):
        missing += [] if view.description.strip() else [f"view {view.name!r}"]
        missing += [f"field '{view.name}.{f.name}'" for f in view.fields if not f.description.strip()]
    if missing:
        raise DocumentationError(
            f"no description: {', '.join(missing)}. Nothing was registered. "
            "Say what each means and in which unit: description='...' on the view, the third argument of Field."
        )


def _register(connection: sa.Connection, new: Definition, now: int, *, given: bool) -> Change:
    kind, name, version = _key(new)
    _refuse_look_alike(connection, new)
    row = connection.execute(_version(kind, name, version)).first()
    if row is not None:
        old = _load(connection, row)
        # What a view merely brings along may be registered with more documentation than the view knows.
        if given or old.digest != new.digest:
            refuse_other(old, new, connection.execute(_versions(kind, name)).scalars().all())
        return Change(kind, name, version, "unchanged", made_current=False)
    body = json.dumps(new.to_dict(), sort_keys=True)
    connection.execute(
        definitions.insert().values(kind=kind, name=name, version=version, digest=new.digest, body=body, created_at=now)
    )
    return Change(kind, name, version, "registered", made_current=_make_current(connection, new, now))


def _make_current(connection: sa.Connection, new: Definition, now: int) -> bool:
    mine = sa.and_(currents.c.kind == new.kind, currents.c.name == new.name)
    last = connection.execute(sa.select(currents).where(mine).order_by(currents.c.since.desc())).first()
    if last is not None and version_key(last.version) > version_key(new.version):
        return False
    since = now if last is None else max(now, last.since + 1)
    connection.execute(currents.insert().values(kind=new.kind, name=new.name, since=since, version=new.version))
    return True


def _refuse_look_alike(connection: sa.Connection, new: Definition) -> None:
    """Refuse a name that differs by case alone, or that a view and a service would share."""
    kinds = ("view", "service") if new.kind in ("view", "service") else (new.kind,)
    query = sa.select(definitions.c.kind, definitions.c.name).where(definitions.c.kind.in_(kinds)).distinct()
    for kind, name in connection.execute(query):
        if name.lower() == new.name.lower() and (kind, name) != (new.kind, new.name):
            raise DefinitionError(
                f"{new.kind} {new.name!r}: there is a {kind} {name!r} already; references could not tell them apart."
            )


def _check_features(connection: sa.Connection, service: FeatureService) -> None:
    for text in service.features:
        reference = Reference.parse(text)
        found = _find(connection, reference.name, reference.selector)
        if isinstance(found, FeatureService):
            raise DefinitionError(f"service {service.name!r} takes features, but {text!r} is a service.")
        if reference.feature is not None and reference.feature not in found.features:
            raise UnknownReferenceError(
                f"service {service.name!r}: view {found.ref!r} has no feature {reference.feature!r}."
                + did_you_mean(reference.feature, found.features)
            )


def _find(connection: sa.Connection, name: str, selector: VersionSelector) -> FeatureView | FeatureService:
    found = _get(connection, ["view", "service"], name, selector)
    assert isinstance(found, FeatureView | FeatureService)
    return found


def _get(connection: sa.Connection, kinds: Sequence[str], name: str, selector: VersionSelector) -> Definition:
    query = sa.select(definitions).where(definitions.c.kind.in_(kinds), definitions.c.name == name)
    rows = connection.execute(query).all()
    if not rows:
        known = connection.execute(sa.select(definitions.c.name).where(definitions.c.kind.in_(kinds))).scalars()
        raise UnknownReferenceError(f"there is no {' or '.join(kinds)} {name!r}.{did_you_mean(name, known)}")
    version = _choose(connection, rows, selector)
    return _load(connection, next(row for row in rows if row.version == version))


def _choose(connection: sa.Connection, rows: Sequence[Any], selector: VersionSelector) -> str:
    kind, name = rows[0].kind, rows[0].name
    versions = sorted((row.version for row in rows), key=version_key)
    if selector.version is not None:
        chosen = [v for v in versions if v == selector.version]
    elif selector.digest is not None:
        matching = [row for row in rows if row.digest.startswith(selector.digest)]
        if len({row.digest for row in matching}) > 1:
            several = ", ".join(f"{row.digest[:12]} (v{row.version})" for row in matching)
            raise UnknownReferenceError(f"{kind} {name!r}: digest {selector.digest!r} is ambiguous: {several}.")
        chosen = sorted((row.version for row in matching), key=version_key)
    else:
        mine = sa.and_(currents.c.kind == kind, currents.c.name == name)
        then = mine if selector.moment is None else sa.and_(mine, currents.c.since <= selector.moment)
        row = connection.execute(sa.select(currents.c.version).where(then).order_by(currents.c.since.desc())).first()
        chosen = [] if row is None else [str(row.version)]
    if not chosen:
        raise UnknownReferenceError(
            f"{kind} {name!r} {_lacks(selector)}. Known: {', '.join(f'v{v}' for v in versions)}."
        )
    return str(chosen[-1])


def _lacks(selector: VersionSelector) -> str:
    if selector.version is not None:
        return f"has no version {selector.version!r}"
    if selector.digest is not None:
        return f"has no version with digest {selector.digest!r}"
    return f"was not registered yet at {from_micros(selector.moment or 0).isoformat()}"


def _version(kind: str, name: str, version: str) -> sa.Select[Any]:
    return sa.select(definitions).where(
        definitions.c.kind == kind, definitions.c.name == name, definitions.c.version == version
    )


def _versions(kind: str, name: str) -> sa.Select[Any]:
    return sa.select(definitions.c.version).where(definitions.c.kind == kind, definitions.c.name == name)


def _load(connection: sa.Connection, row: sa.Row[Any]) -> Definition:
    return _loader(connection)(row)


def _loader(connection: sa.Connection) -> Callable[[sa.Row[Any]], Definition]:
    """Return what turns rows into definitions; it looks up each source and entity once."""

    @cache
    def source(name: str) -> Source:
        found = _get(connection, ["source"], name, CURRENT)
        assert isinstance(found, Source)
        return found

    @cache
    def entity(bare: Entity) -> Entity:
        same = definitions.c.digest == bare.digest
        rows = connection.execute(
            sa.select(definitions).where(definitions.c.kind == "entity", definitions.c.name == bare.name, same)
        )
        latest = max(rows, key=lambda row: version_key(row.version), default=None)
        found = bare if latest is None else load(latest)
        assert isinstance(found, Entity)
        return found

    def load(row: sa.Row[Any]) -> Definition:
        try:
            return from_dict(json.loads(row.body), source, entity)
        except FeatureStoreError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RegistryError(
                f"{row.kind} {row.name}:v{row.version} is damaged in the registry ({error!r}). "
                "Restore it from a backup."
            ) from error

    return load
