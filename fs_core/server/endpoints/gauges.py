"""What `/metrics` says of the store itself: how fresh views are, what is quarantined, what monitoring found."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from fs_core.definitions import FeatureView
from fs_core.errors import FeatureStoreError
from fs_core.materialization.watermark import reached
from fs_core.store import FeatureStore

log = logging.getLogger("fs_core")

_FRESH = 15.0  # seconds for which an answer stands: history is asked for it
_SOON = 2.0  # seconds that a scrape waits
_WHOLE = 60.0  # seconds after which no further view is asked
_MICROS = 1e6


class Gauges:
    """The gauges of one store. Thread-safe.

    They are found out in one thread of their own: a bucket may take minutes to fail, and holds up nothing else then.

    Args:
        store: the store.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._made, self._text = -math.inf, b""
        self._asked: Future[bytes] | None = None

    def text(self) -> bytes:
        """Return them in Prometheus' text format, at most some seconds old, however long that takes."""
        return self._future().result()

    async def text_soon(self) -> bytes:
        """Return the same within two seconds; what was known last, if they aren't known by then."""
        asked = self._future()
        done, _ = await asyncio.wait([asyncio.wrap_future(asked)], timeout=_SOON)
        return asked.result() if done else self._text

    def _future(self) -> Future[bytes]:
        """Return what is or will be the text; ask anew if it is old and nobody asks already."""
        with self._lock:
            if self._asked is None or (self._asked.done() and time.monotonic() - self._made > _FRESH):
                self._asked = Future()
                # No pool's: the process would wait for it at its end.
                threading.Thread(target=self._find_out, args=[self._asked], name="fs-core-gauges", daemon=True).start()
            return self._asked

    def _find_out(self, asked: Future[bytes]) -> None:
        registry = CollectorRegistry()
        try:
            registry.register(self)  # it has what a collector must have
            self._text, self._made = generate_latest(registry), time.monotonic()
        except BaseException as error:  # noqa: BLE001  # whoever scrapes is told
            asked.set_exception(error)
        else:
            asked.set_result(self._text)

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: what there is follows from the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge, for the current version of each view."""
        made = _families()
        try:
            views = [r.definition for r in self._store.registry.listing("view") if r.current]
        except FeatureStoreError as error:
            log.debug("metrics of views aren't known: %s", error)
            views = []
        until = time.monotonic() + _WHOLE
        for view in (view for view in views if isinstance(view, FeatureView)):
            if time.monotonic() > until:
                log.warning("metrics of view %s and those after it aren't known: the others took too long", view.ref)
                break
            self._add(view, made)
        counts = self._store.log_counts()
        for state in ("written", "dropped", "waiting"):
            made["log"].add_metric([state, str(os.getpid())], getattr(counts, state))
        yield from made.values()

    def _add(self, view: FeatureView, made: dict[str, GaugeMetricFamily]) -> None:
        store = self._store

        def newest() -> float | None:
            found = store.offline.newest_event(view)
            return None if found is None else found / _MICROS

        def online() -> float | None:
            found = reached(store.online, view) if view.online else None
            return None if found is None else found.until / _MICROS

        asked = {"quarantined": store._quarantine(view).count, "newest": newest, "online": online}
        for name, ask in asked.items():
            try:
                value = ask()
            except FeatureStoreError as error:  # one that can't be asked is no reason to say nothing of the others
                log.debug("%s of view %s isn't known: %s", made[name].name, view.ref, error)
                continue
            if value is not None:
                made[name].add_metric([view.name], value)
        report = store._reports.of(view)
        if report is None:
            return
        made["reported"].add_metric([view.name], report.end / _MICROS)
        for one in report.distances:
            labels = [view.name, one.feature, one.against, one.measure]
            made["distance"].add_metric(labels, one.value)
            made["threshold"].add_metric(labels, one.threshold)
        found = Counter(report.findings)
        for feature in dict.fromkeys([*(one.feature for one in report.distances), *(f for _, f in report.findings)]):
            for question in ("contract", "skew", "drift"):
                made["findings"].add_metric([view.name, feature, question], found[question, feature])


def _families() -> dict[str, GaugeMetricFamily]:
    compared = ("view", "feature", "against", "measure")
    return {
        name: GaugeMetricFamily(f"fs_{metric}", text, labels=labels)
        for name, metric, text, labels in (
            ("newest", "view_newest_event_timestamp_seconds", "The latest event time in history.", ("view",)),
            ("online", "view_online_until_timestamp_seconds", "The moment the online rows stand at.", ("view",)),
            ("quarantined", "rows_quarantined", "Rows in quarantine.", ("view",)),
            ("reported", "monitor_report_timestamp_seconds", "Where the last report's window ends.", ("view",)),
            ("distance", "monitor_distance", "Distances in the last report.", compared),
            ("threshold", "monitor_threshold", "From where on a distance matters.", compared),
            ("findings", "monitor_findings", "Findings in the last report.", ("view", "feature", "question")),
            ("log", "log_rows", "Rows for request logs, by what became of them.", ("state", "process")),
        )
    }
