"""What an `ingest` has done, for Prometheus to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fs_core.errors import ConfigurationError
from fs_core.streams.ingest import Ingested, Watch

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_COUNTED = {
    "messages": "Messages that came.",
    "rows": "Rows added to history.",
    "rejected": "Messages that became no row.",
    "quarantined": "Rows that broke what the view declares, and are in its quarantine.",
    "repeated": "Rows that another consumer had brought first.",
    "batches": "Parts in which they were brought into history.",
}


class _Latest:
    """What was done at the last look, as Prometheus' client asks for it."""

    def __init__(self, view: str, stream: str) -> None:
        self._labels = [view, stream]
        self.done = Ingested()

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, meaning in _COUNTED.items():
            counter = CounterMetricFamily(f"fs_ingest_{name}", meaning, labels=("view", "stream"))
            counter.add_metric(self._labels, getattr(self.done, name))
            yield counter
        gauge = GaugeMetricFamily("fs_ingest_lag", "Messages that wait.", labels=("view", "stream"))
        if self.done.lag is not None:
            gauge.add_metric(self._labels, self.done.lag)
        yield gauge


@contextmanager
def served(host: str, port: int, *, view: str, stream: str) -> Iterator[Watch]:
    """Answer Prometheus over HTTP for as long as the context lasts; yield what `ingest` takes as `watch`.

    Args:
        host: the address to listen at.
        port: the port there.
        view: its name, a label.
        stream: the stream's name, a label.

    Raises:
        ConfigurationError: Prometheus' client isn't installed, or nobody can listen there.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise ConfigurationError("metrics need Prometheus' client: pip install 'fs-core[server]'.") from error
    latest, registry = _Latest(view, stream), CollectorRegistry()
    registry.register(latest)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"nobody can listen at {host}:{port} for metrics: {error}") from error

    def watch(done: Ingested) -> None:
        latest.done = done

    try:
        yield watch
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
