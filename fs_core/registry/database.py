"""Connections to the registry's database: one engine for each process, transactions, honest errors."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from fs_core.errors import RegistryError, redact_url
from fs_core.registry.tables import SCHEMA_VERSION, metadata, settings

_BUSY_SECONDS = 30


class Database:
    """A database by URL. Opens lazily in each process, survives forks, pickles as its URL."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._url = url
        self._read_only = read_only
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        self._pid = 0

    def __repr__(self) -> str:
        return f"Database({redact_url(self._url)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self._url, self._read_only))

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that only reads."""
        with self._said_as_ours(), self._open().connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that commits at the end, or leaves no trace.

        Writers go one after the other: SQLite by `BEGIN IMMEDIATE`, others by locking one row.
        """
        if self._read_only:
            raise RegistryError(f"the registry {redact_url(self._url)} is read-only here; nothing was written.")
        with self._said_as_ours(), self._open().execution_options(fs_writes=True).begin() as connection:
            lock = sa.select(settings.c.value).where(settings.c.name == "generation").with_for_update()
            connection.execute(lock)
            yield connection

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        with self._lock:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
            self._engine = None

    @contextmanager
    def _said_as_ours(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # str(error) may quote parameters, never the URL; the driver's own words are enough.
            reason = str(getattr(error, "orig", None) or error)
            raise RegistryError(f"the registry {redact_url(self._url)} failed: {reason}") from None

    def _open(self) -> sa.Engine:
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    self._engine.dispose(close=False)  # the parent process still uses those connections
                self._engine, self._pid = self._connect(), os.getpid()
            return self._engine

    def _connect(self) -> sa.Engine:
        if self._url.startswith("sqlite"):
            if self._read_only:
                return self._read_only_sqlite()
            engine = sa.create_engine(self._url, connect_args={"timeout": _BUSY_SECONDS})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = sa.create_engine(self._url, pool_pre_ping=True)
        if not self._read_only:
            _create(engine)
        _refuse_newer(engine, redact_url(self._url))
        return engine

    def _read_only_sqlite(self) -> sa.Engine:
        """Open a SQLite file without writing beside it; `immutable` where even WAL's helpers can't be made."""
        path = Path(self._url.partition("///")[2])
        if not path.exists():
            raise RegistryError(f"there is no registry at {path}, and the directory is read-only. Choose another.")
        for option in ("mode=ro", "mode=ro&immutable=1"):
            engine = sa.create_engine(f"sqlite:///file:{path}?{option}&uri=true")
            try:
                _refuse_newer(engine, str(path))
            except OperationalError:
                engine.dispose()
                continue
            return engine
        raise RegistryError(f"the registry {path} can't be read. Check its permissions.")


def _reopen(url: str, read_only: bool) -> Database:
    return Database(url, read_only=read_only)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the begin event below says BEGIN itself
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("fs_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _create(engine: sa.Engine) -> None:
    """Make the tables once, however many processes try at the same moment."""
    if sa.inspect(engine).has_table(settings.name):
        return
    raced = (IntegrityError, OperationalError, ProgrammingError)
    for attempt in Retrying(
        retry=retry_if_exception_type(raced), stop=stop_after_attempt(8), wait=wait_random(0.01, 0.2), reraise=True
    ):
        with attempt, engine.execution_options(fs_writes=True).begin() as connection:
            metadata.create_all(connection)
            if connection.execute(sa.select(settings.c.name)).first() is None:
                first = {"schema": str(SCHEMA_VERSION), "project": secrets.token_hex(8), "generation": "0"}
                connection.execute(settings.insert(), [{"name": n, "value": v} for n, v in first.items()])


def _refuse_newer(engine: sa.Engine, place: str) -> None:
    with engine.connect() as connection:
        found = connection.execute(sa.select(settings.c.value).where(settings.c.name == "schema")).scalar_one()
    if int(found) > SCHEMA_VERSION:
        raise RegistryError(
            f"the registry {place} has schema {found}; this fs_core reads up to {SCHEMA_VERSION}. "
            "A newer program wrote it: upgrade fs-core."
        )
