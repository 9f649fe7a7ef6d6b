"""An emulator of DynamoDB, moto, on a free port of 127.0.0.1, with an empty table."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers import free_port

TABLE = "features"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAOPENSESAME", "AWS_SECRET_ACCESS_KEY": "open sesame"}

# One request after the other: moto looks at a condition and puts the item without a lock.
_MOTO = """
import sys
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=False, request_handler=MotoRequestHandler)
"""


@contextmanager
def running_table() -> Iterator[str]:
    """Run the emulator for as long as the context lasts; yield the URL of its table."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _MOTO, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        client = connected(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while True:
            try:
                client.list_tables()
                break
            except Exception:  # noqa: BLE001 - it starts
                assert process.poll() is None, f"moto ended with {process.returncode}"
                assert time.monotonic() < deadline, "moto doesn't answer"
                time.sleep(0.05)
        make_table(client)
        client.close()
        yield f"dynamodb://eu-central-1/{TABLE}?endpoint=http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


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
