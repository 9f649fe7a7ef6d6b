"""The jobs' part of the registry: what is kept of them, and a lock that dies with its holder."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa

from fs_core.errors import RegistryError
from fs_core.registry import Registry, jobs
from fs_core.registry.jobs import JobStorage
from fs_core.testing.processes import FRESH
from tests.core.registry.conftest import emptied
from tests.servers import DatabaseServer


def test_the_last_state_of_a_job_is_kept(new_url: Callable[[], str]) -> None:
    """By name, for whoever opens the registry; one that never kept any has none, and gets no table by asking."""
    url = new_url()
    registry = Registry(url)
    assert registry.project
    jobs = JobStorage(registry.database)
    assert jobs.states() == {}
    with registry.database.reading() as connection:
        assert not sa.inspect(connection).has_table("fs_jobs")
    for state in ({"rows": 1}, {"rows": 2, "error": "é" * 1000}):
        jobs.keep("v", state)
    jobs.keep("w", {})
    other = Registry(url)
    assert JobStorage(other.database).states() == {"v": {"rows": 2, "error": "é" * 1000}, "w": {}}
    other.close()
    registry.close()


def test_one_holds_the_lock(new_url: Callable[[], str]) -> None:
    """Of two, in one process or in several, one has it, until it lets go; another registry has another."""
    url = new_url()
    first, second, other = Registry(url), Registry(url), Registry(new_url())
    with JobStorage(first.database).alone() as mine, JobStorage(other.database).alone() as elsewhere:
        assert mine is not None
        assert mine()
        assert elsewhere is not None
        with JobStorage(second.database).alone() as theirs:
            assert theirs is None
    with JobStorage(second.database).alone() as theirs:
        assert theirs is not None
    for registry in (first, second, other):
        registry.close()


def hold(url: str, told: Connection) -> None:
    """Hold the lock until this process is killed."""
    with JobStorage(Registry(url).database).alone() as holds:
        told.send(holds is not None)
        time.sleep(600)


def test_the_lock_goes_with_its_holder(empty_url: Callable[[], str]) -> None:
    """A process that is killed holds it no longer, and the next one has it at once."""
    url = empty_url()
    registry = Registry(url)
    assert registry.project
    here, there = FRESH.Pipe()
    holder = FRESH.Process(target=hold, args=(url, there))
    holder.start()
    assert here.recv()
    with JobStorage(registry.database).alone() as holds:
        assert holds is None
    holder.kill()
    holder.join()
    ends = time.monotonic() + 30
    while time.monotonic() < ends:  # a server sees a moment later that the connection is gone
        with JobStorage(registry.database).alone() as holds:
            if holds is not None:
                break
    assert holds is not None
    registry.close()


ENDS_HOLDERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "mysql": "SELECT is_used_lock(concat('fs_core.jobs.', (SELECT value FROM fs_settings WHERE name = 'project')))",
}


def test_who_lost_the_connection_holds_nothing(server: DatabaseServer) -> None:
    """The server has dropped the lock, and the one that held it learns so, however often it asks."""
    registry = Registry(emptied(server))
    with JobStorage(registry.database).alone() as holds:
        assert holds is not None
        assert holds()
        with registry.database.session() as connection:
            found = connection.execute(sa.text(ENDS_HOLDERS[connection.dialect.name])).scalar()
            if connection.dialect.name == "mysql":
                connection.execute(sa.text(f"KILL {found}"))
        assert not holds()
        assert not holds()
    with JobStorage(registry.database).alone() as holds:
        assert holds is not None
    registry.close()


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """It names the registry and says what to do."""
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    assert registry.project
    (tmp_path / "registry.db.jobs.lock").mkdir()
    with (
        pytest.raises(RegistryError, match=r"registry\.db: who runs jobs can't lock"),
        JobStorage(registry.database).alone(),
    ):
        pass
    registry.close()


def test_a_lock_that_cant_be_asked_for_is_our_error(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So `run` tries again, as it does where the registry can't be reached."""
    registry = Registry(server.new_database())
    monkeypatch.setattr(jobs, "_LOCKS", dict.fromkeys(jobs._LOCKS, "SELECT nothing_of_the_kind()"))
    with pytest.raises(RegistryError, match="failed"), JobStorage(registry.database).alone():
        pass
    registry.close()
