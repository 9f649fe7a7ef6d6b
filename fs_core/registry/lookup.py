"""Looking definitions up in the registry's tables: by name, version, digest, alias or moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from fs_core.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    Source,
    StreamSource,
    VersionSelector,
    from_dict,
)
from fs_core.definitions.base import version_key
from fs_core.definitions.references import CURRENT
from fs_core.definitions.stored import check_kind, whole
from fs_core.errors import MISSHAPEN, FeatureStoreError, RegistryError, UnknownReferenceError, did_you_mean
from fs_core.registry.tables import aliases, currents, definitions
from fs_core.values.times import from_micros

Referable = FeatureView | OnDemandView | FeatureService
"""What references to features may mean."""


def find(connection: sa.Connection, name: str, selector: VersionSelector) -> Referable:
    """Return the view, on-demand view or service of a name; raise `UnknownReferenceError` if there is none.

    Args:
        connection: to the registry.
        name: of any of these.
        selector: which version.
    """
    found = get(connection, ["view", "on_demand", "service"], name, selector)
    assert isinstance(found, Referable)
    return found


def get_anything(connection: sa.Connection, name: str, selector: VersionSelector) -> Definition:
    """Return what a name means: a view, on-demand view or service, else an entity, else a source.

    Args:
        connection: to the registry.
        name: of anything.
        selector: which version.
    """
    named = sa.select(definitions.c.kind).where(definitions.c.name == name)
    kinds = set(connection.execute(named).scalars())
    for kind in ("view", "on_demand", "service", "entity", "source"):
        if kind in kinds:
            return get(connection, [kind], name, selector)
    known = connection.execute(sa.select(definitions.c.name)).scalars()
    raise UnknownReferenceError(f"nothing is called {name!r}.{_way_out(connection, name, known)}")


def get(connection: sa.Connection, kinds: Sequence[str], name: str, selector: VersionSelector) -> Definition:
    """Return the definition of a name among some kinds; raise `UnknownReferenceError` if there is none.

    Args:
        connection: to the registry.
        kinds: in which kinds to look.
        name: its name.
        selector: which version.
    """
    return load_one(connection, row_of(connection, kinds, name, selector))


def row_of(connection: sa.Connection, kinds: Sequence[str], name: str, selector: VersionSelector) -> sa.Row[Any]:
    """Return the row of a definition; raise `UnknownReferenceError` if there is none.

    Args:
        connection: to the registry.
        kinds: in which kinds to look.
        name: its name.
        selector: which version.
    """
    query = sa.select(definitions).where(definitions.c.kind.in_(kinds), definitions.c.name == name)
    rows = connection.execute(query).all()
    if not rows:
        other = connection.execute(sa.select(definitions.c.kind).where(definitions.c.name == name)).scalar()
        if other is not None and other != "on_demand":
            article = "an" if other == "entity" else "a"
            raise UnknownReferenceError(f"there is no {_words(kinds)} {name!r}, but {article} {other} of that name.")
        known = connection.execute(sa.select(definitions.c.name).where(definitions.c.kind.in_(kinds))).scalars()
        raise UnknownReferenceError(
            f"there is no {_words(kinds)} {name!r}."
            f"{_is_computed(connection, name) or _way_out(connection, name, known)}"
        )
    version = _choose(connection, rows, selector)
    found = next((row for row in rows if row.version == version), None)
    if found is None:
        raise RegistryError(
            f"{rows[0].kind} {name}:v{version} is current or has an alias in the registry, and isn't there. Restore "
            "the registry from a backup."
        )
    return found


def _words(kinds: Sequence[str]) -> str:
    named = {"on_demand": "" if "view" in kinds else "on-demand view"}  # which is a view to who asks for features
    return " or ".join(word for kind in kinds if (word := named.get(kind, kind)))


def _is_computed(connection: sa.Connection, name: str) -> str:
    """Return a sentence on the on-demand view of a name, empty where there is none."""
    query = sa.select(definitions.c.name).where(definitions.c.kind == "on_demand", definitions.c.name == name)
    computed = connection.execute(query).first()
    return "" if computed is None else f" {name!r} is an on-demand view, which is computed and has no rows of its own."


def _way_out(connection: sa.Connection, name: str, known: Iterable[str]) -> str:
    where = connection.get_execution_options().get("fs_registry", "this registry")
    return did_you_mean(name, known) or f" None is registered in {where} yet: store.apply(...), or fs apply FILE."


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
    elif selector.alias is not None:
        found = alias_target(connection, kind, name, selector.alias)
        chosen = [] if found is None else [found]
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
    if selector.alias is not None:
        return f"has no alias {selector.alias!r}"
    return f"was not registered yet at {from_micros(selector.moment or 0).isoformat()}"


def alias_target(connection: sa.Connection, kind: str, name: str, alias: str) -> str | None:
    """Return the version that an alias means now, None if it means nothing.

    Args:
        connection: to the registry.
        kind: `view` or `service`.
        name: its name.
        alias: as it was set.
    """
    mine = sa.and_(aliases.c.kind == kind, aliases.c.name == name, aliases.c.alias == alias)
    query = sa.select(aliases.c.version).where(mine).order_by(aliases.c.since.desc())
    return connection.execute(query).scalar()


def one_version(kind: str, name: str, version: str) -> sa.ColumnElement[bool]:
    """Return what picks one version out of the definitions.

    Args:
        kind: `source`, `entity`, `view`, `on_demand` or `service`.
        name: its name.
        version: `major.minor.patch`.
    """
    return sa.and_(definitions.c.kind == kind, definitions.c.name == name, definitions.c.version == version)


def versions_query(kind: str, name: str) -> sa.Select[Any]:
    """Return the query for the versions of a name."""
    return sa.select(definitions.c.version).where(definitions.c.kind == kind, definitions.c.name == name)


def load_one(connection: sa.Connection, row: sa.Row[Any]) -> Definition:
    """Return the definition that a row holds."""
    return loader(connection)(row)


def loader(connection: sa.Connection) -> Callable[[sa.Row[Any]], Definition]:
    """Return what turns rows into definitions; it looks up each source and entity once."""

    @cache
    def source(name: str) -> Source | StreamSource:
        found = get(connection, ["source"], name, CURRENT)
        assert isinstance(found, Source | StreamSource)
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
        with _named_if_damaged(row):
            body = json.loads(row.body)
            kind = body["kind"]
        check_kind(kind)
        with _named_if_damaged(row):
            found = from_dict(body, source, entity)
            if (found.kind, found.name, found.version, found.digest) != (row.kind, row.name, row.version, row.digest):
                raise ValueError(f"it says {found.kind} {found.ref}, digest {found.digest[:12]}")
            return found

    return load


def description_of(row: sa.Row[Any]) -> str:
    """Return the description in a definition's row."""
    with _named_if_damaged(row):
        return str(whole(json.loads(row.body)["documentation"]["description"]))


@contextmanager
def _named_if_damaged(row: sa.Row[Any]) -> Iterator[None]:
    try:
        yield
    except (RegistryError, UnknownReferenceError):
        raise
    except MISSHAPEN as error:
        reason = error if isinstance(error, FeatureStoreError) else repr(error)
        raise RegistryError(
            f"{row.kind} {row.name}:v{row.version} is damaged in the registry ({reason}). Restore it from a backup."
        ) from error
