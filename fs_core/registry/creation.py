"""The registry's tables made, or brought up to date, however many processes try at the same moment."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, StatementError
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from fs_core.registry import migrations
from fs_core.registry.tables import MYSQL, SCHEMA_VERSION, definitions, metadata, settings

_UPGRADE_SECONDS = 300  # that a process waits at most for another to upgrade the registry
# What writers need beside their turn: to see what those before them wrote.
_IN_TURN: dict[str, dict[str, Any]] = {
    "sqlite": {},
    **{family: {"isolation_level": "REPEATABLE READ"} for family in MYSQL},  # the turn is taken before anything is read
    "": {"isolation_level": "READ COMMITTED"},
}


def take_turns(connection: sa.Connection) -> None:
    """Wait until no other transaction writes. SQLite's `BEGIN IMMEDIATE` has done so already."""
    lock = sa.select(settings.c.value).where(settings.c.name == "generation").with_for_update()
    connection.execute(lock)


def writing(engine: sa.Engine) -> sa.Engine:
    """Return an engine whose transactions write."""
    return engine.execution_options(fs_writes=True, **_IN_TURN.get(engine.dialect.name, _IN_TURN[""]))


def upgrade(engine: sa.Engine) -> None:
    """Bring an older registry's tables up to date, once."""
    # MySQL ends a turn with each table that is made, so another process may be at it too.
    for attempt in _attempts(IntegrityError, OperationalError):
        with attempt:
            if not _is_older(engine):
                return
            with _upgrading_alone(engine):
                if _is_older(engine):
                    with writing(engine).begin() as connection:
                        take_turns(connection)
                        migrations.upgrade(connection)


def _is_older(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return migrations.is_older(migrations.schema_of(connection)) or migrations.is_narrow(connection)


@contextmanager
def _upgrading_alone(engine: sa.Engine) -> Iterator[None]:
    """Have other processes wait that want to upgrade, too: on MySQL their changes would fail who writes afterwards."""
    if engine.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    name = sa.func.concat("fs_upgrade ", sa.func.md5(sa.func.database()))  # locks are of the whole server
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.get_lock(name, _UPGRADE_SECONDS)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(name)))


def create(engine: sa.Engine) -> None:
    """Make the tables, once."""
    for attempt in _attempts(IntegrityError, OperationalError, ProgrammingError):
        with attempt:
            if not _is_made(engine):
                _make(engine)


def _make(engine: sa.Engine) -> None:
    with writing(engine).begin() as connection:
        if engine.dialect.name == "sqlite":  # the others can't say of an index: unless it exists
            for statement in _statements():
                connection.exec_driver_sql(statement)
        else:
            metadata.create_all(connection)
        if connection.execute(sa.select(settings.c.name)).first() is None:
            # Short, since it is a part of every key of an online store: two of a thousand projects meet by chance
            # once in five hundred million.
            project = secrets.token_urlsafe(6)
            first = {"schema": str(SCHEMA_VERSION), "project": project, "generation": "0"}
            connection.execute(settings.insert(), [{"name": n, "value": v} for n, v in first.items()])


@cache
def _statements() -> Sequence[str]:
    """Return what makes each table that isn't there on SQLite, put into words once a process: that takes longest."""
    made = list[ExecutableDDLElement]()
    for table in metadata.sorted_tables:
        made.append(CreateTable(table, if_not_exists=True))
        made += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
    return [str(one.compile(dialect=sqlite.dialect())) for one in made]


def _is_made(engine: sa.Engine) -> bool:
    """Whether there is a registry, whole or damaged; MySQL shows its tables before what is first written in them."""
    look = sa.inspect(engine)
    if not look.has_table(settings.name):
        return False
    with engine.connect() as connection:
        if migrations.schema_of(connection) is not None:
            return True
        return (
            look.has_table(definitions.name) and connection.execute(sa.select(definitions.c.kind)).first() is not None
        )


def _attempts(*raced: type[StatementError]) -> Retrying:
    """Return attempts at statements that another process may be at, too; not at connecting."""
    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, raced) and error.statement is not None),
        stop=stop_after_attempt(8),
        wait=wait_random(0.01, 0.2),
        reraise=True,
    )
