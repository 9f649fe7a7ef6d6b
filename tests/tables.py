"""Emulators of DynamoDB, moto and dynalite, on a free port of 127.0.0.1, with an empty table."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.servers import free_port

TABLE = "features"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAOPENSESAME", "AWS_SECRET_ACCESS_KEY": "open sesame"}

MOTO = """
import sys
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=False, request_handler=MotoRequestHandler)
"""
"""Emulates AWS, one request after the other: it looks at a condition and puts an item without a lock."""


EMULATORS = ["moto", "dynalite"]


class TableServer:
    """An emulator with an empty table.

    Args:
        name: which emulator; `dynalite` comes from npm, and is looked for on the path.

    Attributes:
        name: which emulator.
        endpoint: where it listens, the same after a restart.
        url: of its table, as a store takes it.
    """

    def __init__(self, name: str) -> None:
        port, binary = free_port(), shutil.which(name)
        if name == "dynalite" and binary is None:
            pytest.skip("no dynalite is on the path: npm install dynalite")
        at_once = [part for what in ("create", "delete", "update") for part in (f"--{what}TableMs", "0")]
        self.name = name
        self._command = {
            "moto": [sys.executable, "-c", MOTO, str(port)],
            "dynalite": [str(binary), "--host", "127.0.0.1", "--port", str(port), *at_once],
        }[name]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.url = f"dynamodb://eu-central-1/{TABLE}?endpoint={self.endpoint}"
        self.start()

    def start(self) -> None:
        """Start it with an empty table; it remembers nothing."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_up()
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self) -> None:
        with closing(connected(self.endpoint)) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.list_tables()
                    break
                except Exception:  # noqa: BLE001 - it starts
                    assert self._process.poll() is None, f"{self._command[0]} ended with {self._process.returncode}"
                    assert time.monotonic() < deadline, f"{self._command[0]} doesn't answer"
                    time.sleep(0.05)
            make_table(client)

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have it stand still for as long as the context lasts: it takes connections and doesn't answer."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_table_server(name: str) -> Iterator[TableServer]:
    """Run an emulator for as long as the context lasts."""
    server = TableServer(name)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_table() -> Iterator[str]:
    """Run moto for as long as the context lasts; yield the URL of its table."""
    with running_table_server("moto") as server:
        yield server.url


def connected(endpoint: str) -> Any:
    """Return a client of an emulator."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]).client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=endpoint,
        config=Config(retries={"total_max_attempts": 1}),
    )


def make_table(client: Any) -> None:
    """Make the table that the store's error tells how to make, and wait until it is there."""
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "B"} for name in "ps"],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in (("p", "HASH"), ("s", "RANGE"))],
    )
    client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1})
