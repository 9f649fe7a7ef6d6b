"""`fs ingest` shows how it goes, to people and to Prometheus."""

from __future__ import annotations

import io
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
import redis

from fs_core import FeatureStore, StreamSource
from fs_core.cli import ingest_progress
from fs_core.errors import ConfigurationError
from fs_core.streams.contract import Messages
from fs_core.streams.ingest import Ingested, Ingestion
from fs_core.streams.metrics import served
from tests.core.cli.conftest import Fs, answer, refusal
from tests.servers import free_port, running_server

MANY = Ingested(messages=1500, rows=1200, rejected=300, quarantined=3, batches=7, delay=timedelta(seconds=2), lag=40)


@pytest.fixture(scope="module")
def key() -> Iterator[str]:
    """A Redis Stream with three messages, one of them poison."""
    with running_server("Valkey 9.1") as url, redis.Redis.from_url(url) as client:
        for number in range(2):
            event = {"user_id": "7", "event_timestamp": f"2025-01-0{number + 1}", "amount": number, "note": None}
            client.xadd("spent", {"m": json.dumps(event)})
        client.xadd("spent", {"m": "poison"})
        yield f"{url}/spent"


def page(port: int) -> str:
    """Return what Prometheus gets at a port, empty where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answered:
            return str(answered.read().decode())
    except urllib.error.URLError:
        return ""


def test_a_signal_ends_it_after_the_batch_in_hand(shop: Fs, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM in mid-batch ends it with 0, once that batch is in history and online; later ones act as before."""
    with FeatureStore(".") as store:
        store.apply(StreamSource("spent", url=key, description="Spending."))
    take = Ingestion.take

    def interrupted(run: Ingestion, found: Sequence[Messages]) -> None:
        signal.raise_signal(signal.SIGTERM)
        take(run, found)

    monkeypatch.setattr(Ingestion, "take", interrupted)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = answer(shop("ingest", "spending", "spent", "--json"))
    finally:
        assert signal.signal(signal.SIGTERM, before) is signal.default_int_handler
    assert (done["rows"], done["rejected"]) == (2, 1)
    with FeatureStore(".") as store:
        assert store.history("spending").num_rows == 2
        assert store.verify_online("spending").total == 0


def test_ingest_with_metrics(shop: Fs, key: str) -> None:
    """Counters are there while it runs, and nobody listens afterwards; the answer says the counts."""
    with FeatureStore(".") as store:
        store.apply(StreamSource("spent", url=key, description="Spending."))
    port, results = free_port(), list[object]()
    words = ("ingest", "spending", "spent", "--until-idle", "1500ms", "--metrics", port, "--json")
    running = threading.Thread(target=lambda: results.append(answer(shop(*words))))
    running.start()
    wanted, found = 'fs_ingest_rows_total{stream="spent",view="spending"} 2.0', ""
    while wanted not in found and running.is_alive():
        found = page(port)
        time.sleep(0.02)
    running.join()
    assert 'fs_ingest_rejected_total{stream="spent",view="spending"} 1.0' in found
    assert 'fs_ingest_lag{stream="spent",view="spending"} 0.0' in found
    counts = {"messages": 3, "rows": 2, "rejected": 1, "quarantined": 0, "repeated": 0, "batches": 1, "lag": 0}
    assert results == [{"view": "spending", "stream": "spent", **counts}]
    assert page(port) == ""


def test_metrics_say_what_was_told_last() -> None:
    """A lag that the broker can't tell has no value; a port that is taken is an error."""
    port = free_port()
    with served("127.0.0.1", port, view="v", stream="s") as watch:
        assert 'fs_ingest_messages_total{stream="s",view="v"} 0.0' in page(port)
        assert "fs_ingest_lag{" not in page(port)
        watch(MANY)
        assert 'fs_ingest_messages_total{stream="s",view="v"} 1500.0' in page(port)
        assert 'fs_ingest_quarantined_total{stream="s",view="v"} 3.0' in page(port)
        assert 'fs_ingest_lag{stream="s",view="v"} 40.0' in page(port)
        with (
            pytest.raises(ConfigurationError, match=f"nobody can listen at 127.0.0.1:{port} for metrics"),
            served("127.0.0.1", port, view="v", stream="s"),
        ):
            pass


@pytest.mark.parametrize("address", ["localhost", "0", "70000", "here:there", "localhost:"])
def test_addresses_that_are_none(shop: Fs, key: str, address: str) -> None:
    """They are refused with what to write."""
    assert "give a port, such as 9100" in refusal(shop("ingest", "spending", "spent", "--metrics", address))


def test_how_it_goes_on_standard_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line now and then where no terminal is, with rate and lag; a terminal shows it in place."""
    with ingest_progress.shown() as show:
        show(MANY)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(ingest_progress, "_SECONDS", 0.0)
    with ingest_progress.shown() as show:
        show(MANY)
    line = capsys.readouterr().err
    counts = (
        "1,500 messages: 1,200 new rows, 300 rejected, 3 in quarantine, 0 repeated; at most 0:00:02 late, 40 wait; "
    )
    assert line.startswith(counts)
    assert line.endswith(" messages/s\n")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with ingest_progress.shown() as show:
        show(MANY)
        until = time.monotonic() + 20
        while "1,500 messages" not in terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
    assert "1,500 messages" in terminal.getvalue()
