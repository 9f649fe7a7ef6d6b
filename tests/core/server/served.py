"""A store with a value of every kind, and a real `fs serve` process over it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field
from tests.core.transforms import shop
from tests.servers import free_port
from tests.snippets import ROOT

BIG = 2**53 + 1
NO_TLS = False
"""Servers speak plain HTTP here, and reading certificates for each request would take 20 ms of a processor."""
DTYPES = {
    "whole": "int64",
    "huge": "uint64",
    "real": "float64",
    "narrow": "float32",
    "flag": "bool",
    "words": "string",
    "raw": "binary",
    "day": "date",
    "seen": "timestamp",
    "price": "decimal(38, 2)",
    "vector": "list<float64>",
    "marks": "list<int64>",
}
THINGS = FeatureView(
    "things",
    entity=Entity("thing", keys={"name": "string"}, description="Something."),
    fields=[Field(name, dtype, f"A {dtype}.") for name, dtype in DTYPES.items()],
    description="One of every type.",
    ttl="365d",
)
MODEL = FeatureService("thing_model", features=["things.whole", "things.real"])
NOW = datetime.now(UTC).replace(microsecond=0)
VALUES: dict[str, tuple[Any, Any, Any]] = {
    "whole": (BIG, None, -(2**63)),
    "huge": (2**64 - 1, None, 0),
    "real": (float("nan"), None, float("-inf")),
    "narrow": (0.1, None, float("inf")),
    "flag": (True, None, False),
    "words": ("日本\n\"'", None, ""),
    "raw": (b"\x00\xff", None, b""),
    "day": (date(2024, 2, 29), None, date(1, 1, 1)),
    "seen": (datetime(2024, 1, 15, 10, 30, 0, 1, UTC), None, datetime(1969, 12, 31, tzinfo=UTC)),
    "price": (Decimal("123456789012345678901234567890.25"), None, Decimal("-0.01")),
    "vector": ([0.5, float("nan"), None], None, []),
    "marks": ([BIG, None], None, []),
}
"""What the things `Zürich 🚆`, `empty` and `edge` have."""
NAMES = ["Zürich 🚆", "empty", "edge"]
JSON: dict[str, tuple[Any, Any, Any]] = {
    **VALUES,
    "real": ("NaN", None, "-Infinity"),
    "narrow": (0.10000000149011612, None, "Infinity"),
    "raw": ("AP8=", None, ""),
    "day": ("2024-02-29", None, "0001-01-01"),
    "seen": ("2024-01-15T10:30:00.000001Z", None, "1969-12-31T00:00:00Z"),
    "price": ("123456789012345678901234567890.25", None, "-0.01"),
    "vector": ([0.5, "NaN", None], None, []),
}
"""The same in JSON."""


def fill(store: FeatureStore) -> None:
    """Define and write the things and the shop, and bring them online."""
    store.apply(THINGS, MODEL, shop.EVERYTHING)
    rows = {"name": NAMES, "event_timestamp": [NOW - timedelta(days=1)] * 3}
    store.write("things", {**rows, **{name: list(values) for name, values in VALUES.items()}})
    shopped = {**shop.ROWS, "event_timestamp": [NOW - timedelta(days=d) for d in (4, 3, 2, 1)]}
    store.write("spending", shopped)
    store.materialize()


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Attributes:
        url: where it listens.
        directory: the store's.
        process: itself.
        log: the file that has what it printed.
    """

    url: str
    directory: Path
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """Send JSON, for as long as it takes."""
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, verify=NO_TLS, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for a path."""
        return httpx.get(f"{self.url}{path}", timeout=60, verify=NO_TLS, **options)

    def term(self) -> int:
        """Tell it to stop, and return what it exits with."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def served(directory: Path, *options: str, **environment: str) -> Iterator[Served]:
    """Run `fs serve` over a store for as long as the context lasts; it must end well when it is told to."""
    port, log = free_port(), directory.parent / f"{directory.name}.log"
    command = [sys.executable, "-m", "fs_core.cli", "--store", str(directory), "serve", "--port", str(port), *options]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with log.open("wb") as printed:
        process = subprocess.Popen(
            command,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
    found = Served(f"http://127.0.0.1:{port}", directory, process, log)
    try:
        _wait(found)
        yield found
        assert found.term() == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(found: Served) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert found.process.poll() is None, found.log.read_text()
        try:
            httpx.get(f"{found.url}/health", timeout=5, verify=NO_TLS)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(found.log.read_text())
