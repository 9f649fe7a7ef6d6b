"""What jobs did last, kept where everybody who shares the registry sees it; and who may run them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from fs_core.errors import RegistryError
from fs_core.registry.generation import setting
from fs_core.registry.tables import jobs, jobs_metadata

if TYPE_CHECKING:
    from fs_core.registry.database import Database

Holds = Callable[[], bool]
"""Tells whether the lock is still held: a server drops it with the connection."""

_LOCKS: Mapping[str, str] = {
    "postgresql": "SELECT pg_try_advisory_lock(:number)",
    "mysql": "SELECT get_lock(:name, 0)",
    "mariadb": "SELECT get_lock(:name, 0)",
}
"""How a connection takes a lock at once or not at all, by database. It is the connection's until that ends."""


class JobStorage:
    """The jobs' part of a registry.

    Args:
        database: the registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> dict[str, dict[str, Any]]:
        """Return what was kept of each job, by name."""
        with self._database.reading() as connection:
            if not sa.inspect(connection).has_table(jobs.name):
                return {}
            kept = connection.execute(sa.select(jobs.c.name, jobs.c.body)).all()
            return {name: dict(json.loads(body)) for name, body in kept}

    def keep(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep what a job did, in place of what it did before."""
        with self._database.writing() as connection:
            jobs_metadata.create_all(connection)
            connection.execute(jobs.delete().where(jobs.c.name == name))
            connection.execute(jobs.insert().values(name=name, body=json.dumps(state)))

    @contextmanager
    def alone(self) -> Iterator[Holds | None]:
        """Hold the lock of those who run jobs; yield what tells whether that still is so, None if another holds it.

        The lock goes with its holder, however that ends: it is on a file beside a SQLite registry, and belongs to a
        connection where the registry is on a server.

        Raises:
            RegistryError: the registry can't be reached or written, or its database knows no such locks.
        """
        self._database.make()
        file = self._database.file()
        with self._in_file(file) if file is not None else self._on_server() as holds:
            yield holds

    @contextmanager
    def _in_file(self, registry: Path) -> Iterator[Holds | None]:
        from filelock import FileLock, Timeout

        lock = FileLock(f"{registry}.jobs.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        except OSError as error:
            raise RegistryError(
                f"the registry {self._database}: who runs jobs can't lock {lock.lock_file}: {error.strerror or error}. "
                "Run them where its directory may be written."
            ) from error
        try:
            yield lambda: True
        finally:
            lock.release()

    @contextmanager
    def _on_server(self) -> Iterator[Holds | None]:
        with self._database.reading() as connection:
            name = f"fs_core.jobs.{connection.execute(setting('project')).scalar_one()}"
        with self._database.session() as connection:
            query = _LOCKS.get(connection.dialect.name)
            if query is None:
                raise RegistryError(
                    f"the registry {self._database} can't tell who runs its jobs. fs run needs a registry on SQLite, "
                    "PostgreSQL or MySQL; elsewhere call store.backfill and store.materialize from your scheduler."
                )
            number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
            given = {"number": number} if ":number" in query else {"name": name[:64]}
            yield (lambda: _answers(connection)) if self._database.ask(connection, query, given) else None


def _answers(connection: sa.Connection) -> bool:
    """Return whether a connection is still there; it isn't made again."""
    try:
        return bool(connection.execute(sa.text("SELECT 1")).scalar())
    except sa.exc.SQLAlchemyError:
        return False
