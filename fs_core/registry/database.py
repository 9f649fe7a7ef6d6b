"""Connections to the registry's database: one engine for each process, transactions, honest errors."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random

from fs_core.configuration import for_pickle, from_pickle
from fs_core.errors import MISSHAPEN, FeatureStoreError, RegistryError, redact_url
from fs_core.registry import migrations
from fs_core.registry.creation import create, take_turns, upgrade, writing
from fs_core.registry.tables import MYSQL, SCHEMA_VERSION, aliases, settings
from fs_core.runtime.files import about_slashes, make_directory, make_file, may_write
from fs_core.runtime.forks import outside_forks
from fs_core.runtime.per_process import PerProcess

_BUSY_SECONDS = 30
_STATEMENTS = 500  # that are kept, as many as SQLAlchemy keeps for an engine
_MEMORY = ":memory:"
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""Which driver a URL means that names none, if it is installed: the one of our extra."""
_EXTRAS = {
    "postgresql": " pip install 'fs-core[postgres]', or install the driver that the URL names.",
    **dict.fromkeys(MYSQL, " pip install 'fs-core[mysql]', or install the driver that the URL names."),
}
_UNREACHABLE = re.compile("refused|timed out|timeout|gone away|lost connection", re.IGNORECASE)
# What makes several queries see one state. SQLite's transactions do so by themselves.
_ONE_STATE: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "oracle": {"isolation_level": "SERIALIZABLE"},
    "": {"isolation_level": "REPEATABLE READ"},
}


class Compiled(dict[Any, Any]):
    """Statements in SQLite's SQL, kept for every registry of a process: each makes the same ones, which takes 10 ms.

    SQLAlchemy keeps them for one dialect, and gives each engine its own. Those of one kind speak alike.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a statement that any engine has made."""
        return super().get(_by_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= _STATEMENTS:
            self.clear()
        super().__setitem__(_by_kind(key), value)


def _by_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(type(part) if isinstance(part, sa.Dialect) else part for part in key)


compiled = Compiled()


class Database:
    """A database by URL, or a SQLite file by path. Opens lazily in each process, may be forked, pickles by address.

    A SQLite file that lies in a directory without write permission is only read.
    """

    def __init__(self, location: str | PurePath, *, read_only: bool = False) -> None:
        self._location = location
        self._read_only = read_only
        self._engine = PerProcess(lambda: self._connect())
        outside_forks.close_first(self)

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    def __str__(self) -> str:
        return redact_url(self._location) if isinstance(self._location, str) else str(self._location)

    def __reduce__(self) -> tuple[Any, ...]:
        location = for_pickle(self._location) if isinstance(self._location, str) else self._location
        return (_reopen, (location, self._read_only))

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that only reads, and sees one state of the registry.

        Where there is no registry yet, none is made: it reads as an empty one.
        """
        with outside_forks, self._said_as_ours("failed"):
            absent = self._engine.made() is None and self._is_absent()
            engine = _nothing_registered() if absent else self._engine.get()
            options = _ONE_STATE.get(engine.dialect.name, _ONE_STATE[""])
            called = f"{self} (which isn't there)" if absent else str(self)
            with engine.execution_options(fs_registry=called, **options).connect() as connection:
                yield connection

    @contextmanager
    def trying(self) -> Iterator[sa.Connection]:
        """Yield a connection as `writing` does, and undo what was written; no registry is made for it."""
        if self._engine.made() is None and self._is_absent():
            with _nothing_registered().begin() as connection:
                yield connection
            return
        with self.writing() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """Yield a connection as `writing` does, to change what is registered; no registry is made where none is."""
        if self._engine.made() is None and self._is_absent():
            with self.reading() as connection:
                yield connection
            return
        with self.writing() as connection:
            yield connection

    def make(self) -> None:
        """Make the registry, unless it is there."""
        with outside_forks:
            self._engine.get()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that commits at the end, or leaves no trace.

        Writers go one after the other: SQLite by `BEGIN IMMEDIATE`, others by locking one row.
        """
        with outside_forks, self._said_as_ours("failed"):
            engine = self._engine.get()
            if self._is_read_only():
                raise RegistryError(f"the registry {self} is read-only here; nothing was written.")
            with writing(engine).begin() as connection:
                take_turns(connection)
                yield connection

    @contextmanager
    def session(self) -> Iterator[sa.Connection]:
        """Yield a connection to a server that nobody else uses meanwhile, outside of transactions."""
        with self._said_as_ours("failed"):
            connection = self._engine.get().connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            yield connection
        finally:
            connection.invalidate()  # so that the server ends what belongs to it
            connection.close()

    def ask(self, connection: sa.Connection, query: str, given: Mapping[str, Any]) -> Any:
        """Return the one value that a query has.

        Args:
            connection: to this registry.
            query: SQL.
            given: its parameters.

        Raises:
            RegistryError: it failed.
        """
        with self._said_as_ours("failed"):
            return connection.execute(sa.text(query), given).scalar()

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        engine = self._engine.take()
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _said_as_ours(self, what: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # str(error) may quote parameters; the driver's own words are enough, its URL too much.
            reason = str(getattr(error, "orig", None) or error)
            password = self._url().password
            reason = reason.replace(str(password), "***") if password else reason
            raise RegistryError(f"the registry {self} {what}: {reason}.{self._advice(error, reason)}") from None
        except FeatureStoreError:
            raise
        except MISSHAPEN as error:
            raise RegistryError(
                f"the registry {self} holds what no fs_core wrote: {error!r}. Restore it from a backup."
            ) from error

    def _advice(self, error: SQLAlchemyError, reason: str) -> str:
        if "unable to open" in reason:
            file = self.file()
            slashes = "" if file is None else about_slashes(file)
            return f" Check that its directory exists and what you may do there.{slashes}"
        if "not a database" in reason or "malformed" in reason:
            return (
                " The file is damaged, or another program's: restore it from a backup, since nothing else knows the "
                "versions and the numbers of rows that it keeps; or name another registry. History is unharmed."
            )
        if "Unknown database" in reason or ("database" in reason and "does not exist" in reason):
            return " Make the database first: the registry makes its tables in it."
        if isinstance(error, OperationalError) and (error.connection_invalidated or _UNREACHABLE.search(reason)):
            return " Check that the server runs."
        return ""

    def _connect(self) -> sa.Engine:
        file = self.file()
        with self._said_as_ours("can't be opened"):
            if file is None:
                engine = self._make_engine(pool_pre_ping=True)
            elif self._is_read_only():
                if not file.exists():
                    raise RegistryError(f"there is no registry at {file}, and none may be made there. Choose another.")
                engine = self._make_engine(creator=lambda: _open_to_read(file), poolclass=sa.NullPool)
            else:
                kept = {"compiled_cache": compiled}
                engine = self._make_engine(connect_args={"timeout": _BUSY_SECONDS}, execution_options=kept)
                event.listen(engine, "connect", _prepare_sqlite)
                event.listen(engine, "begin", _begin_sqlite)
            try:
                if not self._is_read_only():
                    if isinstance(self._location, PurePath):
                        _make_directory(Path(self._location).parent)
                    if file is not None and file != Path(_MEMORY):
                        make_file(file)
                    create(engine)
                    upgrade(engine)
                self._refuse_other_schema(engine)
            except BaseException:
                engine.dispose()
                raise
            return engine

    def _is_absent(self) -> bool:
        """Whether there is no registry, and one could be made."""
        file = self.file()
        if file is not None and (self._read_only or file.exists()):
            return False
        with self._said_as_ours("can't be opened"):
            engine = self._make_engine(poolclass=sa.NullPool)
            if file is None:
                return not sa.inspect(engine).has_table(settings.name)
        # A store's directory is made with its registry. One that a URL names should be there: it may be mistyped.
        return isinstance(self._location, PurePath) or file.parent.is_dir()

    def _make_engine(self, **options: Any) -> sa.Engine:
        try:
            return sa.create_engine(self._url(), **options)
        except ImportError as error:
            way_out = _EXTRAS.get(self._url().get_backend_name(), "")
            raise RegistryError(f"the registry {self} needs a driver that isn't installed: {error}.{way_out}") from None

    def _url(self) -> sa.URL:
        if isinstance(self._location, PurePath):
            return sa.URL.create("sqlite", database=str(self._location))
        try:
            return _with_driver(sa.make_url(self._location))
        except (ArgumentError, ValueError):
            raise RegistryError(
                f"the registry {self} is no URL that SQLAlchemy reads, such as 'postgresql://host/database'."
            ) from None

    def file(self) -> Path | None:
        """Return the SQLite file, if it is one."""
        url = self._url()
        return Path(url.database or _MEMORY) if url.get_backend_name() == "sqlite" else None

    def _is_read_only(self) -> bool:
        if self._read_only:
            return True
        file = self.file()
        return file is not None and file.exists() and not may_write(file.parent)

    def _refuse_other_schema(self, engine: sa.Engine) -> None:
        with engine.connect() as connection:
            found = migrations.schema_of(connection)
        if not str(found).isdigit():
            raise RegistryError(f"{self} is no registry, or a damaged one: its schema is {found!r}.")
        if int(str(found)) > SCHEMA_VERSION:
            raise RegistryError(
                f"the registry {self} has schema {found}; this fs_core reads up to {SCHEMA_VERSION}. "
                "A newer program wrote it: upgrade fs-core."
            )
        if migrations.is_older(found) and engine.dialect.name != "sqlite":  # which gets stand-ins when it is opened
            raise RegistryError(
                f"the registry {self} has schema {found} and is read-only here; this fs_core reads {SCHEMA_VERSION}. "
                "Open it once where it may be written, such as with fs list: that upgrades it in place."
            )


def _with_driver(url: sa.URL) -> sa.URL:
    driver = _DRIVERS.get(url.drivername)
    return url.set(drivername=f"{url.drivername}+{driver}") if driver and find_spec(driver) else url


@cache
def _nothing_registered() -> sa.Engine:
    """Return a registry in memory for whoever reads one that isn't there, empty again for each connection."""
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    create(made)
    with made.connect() as connection:
        script = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    made.dispose()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(_MEMORY)
        connection.executescript(script)
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


def _make_directory(directory: Path) -> None:
    try:
        make_directory(directory)
    except OSError as error:
        raise RegistryError(
            f"can't make the store's directory {str(directory)!r}: {error.strerror}. Choose one you can write to."
        ) from error


def _reopen(location: tuple[str, bool] | PurePath, read_only: bool) -> Database:
    """Open a registry in another process; a password was left out, and comes from the environment."""
    named = from_pickle("registry", location) if isinstance(location, tuple) else location
    return Database(named, read_only=read_only)


def _open_to_read(file: Path) -> sqlite3.Connection:
    """Open a SQLite file without writing beside it; `immutable` where even WAL's helpers can't be made.

    For one transaction only: an immutable file is never looked at twice, and another user may write it.
    """
    for option in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"file:{quote(str(file))}?{option}", uri=True, check_same_thread=False)
        try:
            _stand_in(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            refusal = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refusal


def _stand_in(connection: sqlite3.Connection) -> None:
    """Give an older registry that may not be upgraded empty temporary tables for what it lacks."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if settings.name in tables and aliases.name not in tables:
        for statement in migrations.stand_in_statements(sqlite.dialect()):
            connection.execute(statement)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the begin event below says BEGIN itself
    # Where the file isn't in WAL mode yet and another process writes, SQLite fails at once instead of waiting.
    for attempt in Retrying(
        retry=retry_if_exception_message(match="database is locked"),
        stop=stop_after_delay(_BUSY_SECONDS),
        wait=wait_random(0.01, 0.1),
        reraise=True,
    ):
        with attempt:
            connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("fs_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
