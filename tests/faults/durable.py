"""A real server that can be killed and started again from what it had written to disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import SERVERS, free_port, wait_until_up

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Server:
    """One server on one port, with a directory of its own.

    Args:
        name: which of `tests.servers.SERVERS`.
        directory: where it keeps its append-only file.
        options: beyond those, such as `--maxmemory 5mb`.
    """

    def __init__(self, name: str, directory: Path, *options: str) -> None:
        self._name, self._directory, self._options = name, directory, options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return once it answers and has read what it had written."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        command = [str(SERVERS[self._name]()), *where, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_up(self._process, self.port)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def server(name: str, directory: Path, *options: str) -> Iterator[Server]:
    """Run a server for as long as the context lasts."""
    made = Server(name, directory, *options)
    made.start()
    try:
        yield made
    finally:
        made.kill()
