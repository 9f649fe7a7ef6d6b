"""What a server tells of itself: counters for Prometheus, and log lines in JSON, one object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where several processes count together."""

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one process, or of all workers together where the environment names a folder for them."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "fs_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "fs_request_seconds", "How long answers took.", ("route",), registry=self._registry, buckets=_SECONDS
        )
        self._served = Counter("fs_rows_served", "Rows read, by status.", ("view", "status"), registry=self._registry)
        self._pushed = Counter("fs_rows_pushed", "Rows pushed.", ("view",), registry=self._registry)
        # Kept, since each look-up of a counter by its labels checks them anew.
        self._by_status = cache(self._requests.labels)
        self._by_route = cache(self._seconds.labels)
        self._by_mark = cache(self._served.labels)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: of HTTP.
            route: the path's pattern.
            status: of the answer.
            seconds: how long it took.
        """
        self._by_status(method, route, str(status)).inc()
        self._by_route(route).observe(seconds)

    def served(self, status: Mapping[str, Sequence[str]]) -> None:
        """Count rows that were read, by view and status; by which columns they were looked up makes no series."""
        for name, marks in status.items():
            view = name.partition("[")[0]
            for mark in {*marks}:
                self._by_mark(view, mark).inc(marks.count(mark))

    def pushed(self, view: str, rows: int) -> None:
        """Count rows that were pushed."""
        self._pushed.labels(view).inc(rows)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


access = logging.getLogger("fs_core.access")


class _Lines(logging.Formatter):
    """Writes a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, message, and what a request was."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        request = getattr(record, "request", None)
        line |= {"message": record.getMessage()} if request is None else request
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure() -> None:
    """Let this process log to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("uvicorn", access.name):
        logging.getLogger(name).setLevel(logging.INFO)
