"""What becomes of registered versions: rolled back to, given aliases, retired. Every move is kept with its moment."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fs_core.definitions import Definition, Reference
from fs_core.definitions.base import REFERABLE, version_key
from fs_core.definitions.references import check_alias
from fs_core.errors import DefinitionError, UnknownReferenceError, did_you_mean
from fs_core.registry.database import Database
from fs_core.registry.generation import raise_generation
from fs_core.registry.lookup import alias_target, one_version, row_of, versions_query
from fs_core.registry.tables import aliases, currents, definitions, retirements
from fs_core.values.times import Clock

Version = tuple[str, str, str]
"""Kind, name and version."""


@dataclass(frozen=True)
class Moved:
    """What a name without a version, or an alias, means now, and meant before.

    Attributes:
        kind: `view`, `on_demand` or `service`.
        name: its name.
        alias: the alias that moved; None where the current version did.
        previous: the version it meant before; None for none.
        version: the version it means now; None if an alias was removed.
    """

    kind: str
    name: str
    alias: str | None
    previous: str | None
    version: str | None

    def __str__(self) -> str:
        before, after = (f"v{v}" if v else "nothing" for v in (self.previous, self.version))
        name = self.name if self.alias is None else f"{self.name}@{self.alias}"
        return f"{self.kind} {name}: " + (f"stays {after}" if before == after else f"{before} -> {after}")


@dataclass(frozen=True)
class Alias:
    """A name that means a version until it is moved.

    Attributes:
        kind: `view`, `on_demand` or `service`.
        name: whose version.
        alias: what follows the `@`.
        version: the version it means.
        since: from when on, microseconds since 1970-01-01 UTC.
    """

    kind: str
    name: str
    alias: str
    version: str
    since: int


class Lifecycle:
    """Moves between versions of views and services."""

    database: Database
    _clock: Clock

    def rollback(self, target: Reference) -> Moved:
        """Make a registered version current again; references to earlier moments keep their answer.

        Raises:
            UnknownReferenceError: there is no such view, service or version.
            DefinitionError: that version is retired.
        """
        with self.database.changing() as connection:
            row = row_of(connection, REFERABLE, target.name, target.selector)
            _refuse_retired(connection, row, "made current")
            last = _latest_current(connection, row)
            if last.version != row.version:
                since = max(self._clock.now(), last.since + 1)
                connection.execute(
                    currents.insert().values(kind=row.kind, name=row.name, since=since, version=row.version)
                )
                raise_generation(connection)
            return Moved(row.kind, row.name, None, last.version, row.version)

    def set_alias(self, target: Reference, alias: str) -> Moved:
        """Let an alias mean a version from now on, whatever it meant before.

        Raises:
            UnknownReferenceError: there is no such view, service or version.
            DefinitionError: the alias can't stand in a reference, or the version is retired.
        """
        check_alias(alias)
        with self.database.changing() as connection:
            row = row_of(connection, REFERABLE, target.name, target.selector)
            _refuse_retired(connection, row, "given an alias")
            return self._point(connection, row.kind, row.name, alias, row.version)

    def drop_alias(self, name: str, alias: str) -> Moved:
        """Let an alias mean nothing any more.

        Raises:
            UnknownReferenceError: there is no such alias.
        """
        with self.database.changing() as connection:
            known = {a.alias: a for a in _aliases(connection) if a.name == name}
            if alias not in known:
                raise UnknownReferenceError(f"{name!r} has no alias {alias!r}.{did_you_mean(alias, known)}")
            return self._point(connection, known[alias].kind, name, alias, None)

    def aliases(self) -> list[Alias]:
        """Return the aliases that mean something, by kind, name and alias."""
        with self.database.reading() as connection:
            return _aliases(connection)

    def _point(self, connection: sa.Connection, kind: str, name: str, alias: str, version: str | None) -> Moved:
        before = alias_target(connection, kind, name, alias)
        if before != version:
            mine = sa.and_(aliases.c.kind == kind, aliases.c.name == name, aliases.c.alias == alias)
            last = connection.execute(sa.select(sa.func.max(aliases.c.since)).where(mine)).scalar()
            since = self._clock.now() if last is None else max(self._clock.now(), last + 1)
            row = {"kind": kind, "name": name, "alias": alias, "since": since, "version": version}
            connection.execute(aliases.insert().values(row))
            raise_generation(connection)
        return Moved(kind, name, alias, before, version)

    def retire(self, target: Reference) -> Version:
        """Mark a version as not to be served any more; it stays readable.

        Raises:
            UnknownReferenceError: there is no such view, service or version.
            DefinitionError: it is current, and there are others that could be.
        """
        with self.database.changing() as connection:
            row = row_of(connection, REFERABLE, target.name, target.selector)
            _refuse_current(connection, row)
            if (row.kind, row.name, row.version) not in _retired(connection):
                values = {"kind": row.kind, "name": row.name, "version": row.version, "since": self._clock.now()}
                connection.execute(retirements.insert().values(values))
                raise_generation(connection)
            return row.kind, row.name, row.version

    def reinstate(self, target: Reference) -> Version:
        """Take a retirement back.

        Raises:
            UnknownReferenceError: there is no such view, service or version.
        """
        with self.database.changing() as connection:
            row = row_of(connection, REFERABLE, target.name, target.selector)
            mine = sa.and_(
                retirements.c.kind == row.kind, retirements.c.name == row.name, retirements.c.version == row.version
            )
            if connection.execute(retirements.delete().where(mine)).rowcount:
                raise_generation(connection)
            return row.kind, row.name, row.version

    def delete(self, definition: Definition) -> None:
        """Remove a version for good; where it was current, the one that was so before is again, or the greatest."""
        kind, name, version = definition.kind, definition.name, definition.version
        with self.database.changing() as connection:
            connection.execute(definitions.delete().where(one_version(kind, name, version)))
            for table in (currents, aliases, retirements):
                mine = sa.and_(table.c.kind == kind, table.c.name == name)
                connection.execute(table.delete().where(mine, table.c.version == version))
            left = connection.execute(versions_query(kind, name)).scalars().all()
            mine = sa.and_(currents.c.kind == kind, currents.c.name == name)
            if left and connection.execute(sa.select(currents.c.version).where(mine)).first() is None:
                values = {"kind": kind, "name": name, "since": self._clock.now(), "version": max(left, key=version_key)}
                connection.execute(currents.insert().values(values))
            raise_generation(connection)

    def retired(self) -> set[Version]:
        """Return what is retired."""
        with self.database.reading() as connection:
            return _retired(connection)


def _aliases(connection: sa.Connection) -> list[Alias]:
    latest = {
        (row.kind, row.name, row.alias): row for row in connection.execute(sa.select(aliases).order_by(aliases.c.since))
    }
    kept = [row for _, row in sorted(latest.items()) if row.version is not None]
    return [Alias(row.kind, row.name, row.alias, row.version, row.since) for row in kept]


def _retired(connection: sa.Connection) -> set[Version]:
    return {(row.kind, row.name, row.version) for row in connection.execute(sa.select(retirements))}


def _refuse_retired(connection: sa.Connection, row: sa.Row[Any], what: str) -> None:
    if (row.kind, row.name, row.version) in _retired(connection):
        raise DefinitionError(
            f"{row.kind} '{row.name}:v{row.version}' is retired and can't be {what}. "
            "Take that back first: store.retire(ref, undo=True), or fs retire --undo."
        )


def _refuse_current(connection: sa.Connection, row: sa.Row[Any]) -> None:
    others = sorted(_others(connection, row), key=version_key)
    if others and _latest_current(connection, row).version == row.version:
        raise DefinitionError(
            f"{row.kind} '{row.name}:v{row.version}' is current, and {row.name!r} would mean a retired version. "
            f"Make another current first: store.rollback({row.name!r}, to={others[-1]!r}), or fs rollback."
        )


def _latest_current(connection: sa.Connection, row: sa.Row[Any]) -> sa.Row[Any]:
    mine = sa.and_(currents.c.kind == row.kind, currents.c.name == row.name)
    rows = connection.execute(sa.select(currents).where(mine).order_by(currents.c.since.desc()).limit(1))
    return rows.one()


def _others(connection: sa.Connection, row: sa.Row[Any]) -> Collection[str]:
    """Return the versions that could be current instead."""
    query = sa.select(definitions.c.version).where(definitions.c.kind == row.kind, definitions.c.name == row.name)
    retired = {version for kind, name, version in _retired(connection) if (kind, name) == (row.kind, row.name)}
    return set(connection.execute(query).scalars()) - retired - {row.version}
