"""OpenLineage events: what the client's own transports deliver, and that nothing they do disturbs the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fs_core import FeatureStore, Source
from fs_core.errors import SchemaError, SourceError
from fs_core.lineage import activities, events
from fs_core.training_set import TrainingSet
from tests.core.lineage.conftest import VALUE
from tests.servers import free_port

pytest.importorskip("openlineage.client")

Train = Callable[..., TrainingSet]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No transport of the machine's own, and none left behind: the client writes into the environment."""
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(events, "_quiet_until", 0.0)
    yield
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        del os.environ[name]


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns the events delivered so far to a file, as the client's configuration file says."""
    log = tmp_path / "events.jsonl"
    config = tmp_path / "openlineage.yml"
    config.write_text(f"transport:\n  type: file\n  log_file_path: {log}\n  append: true\n")
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(config))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_backfill_is_reported(shop: FeatureStore, sent: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    """A backfill is one run: its SQL, its files, the schema, column lineage and row count of its history."""
    shop.backfill("value")
    start, end = sent()
    assert [event["eventType"] for event in (start, end)] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == end["run"]["runId"]
    assert (end["job"]["namespace"], end["job"]["name"]) == ("fs_core", "backfill.value")
    assert end["job"]["facets"]["sql"]["query"] == VALUE.strip()
    files = {(d["namespace"], d["name"]) for d in end["inputs"]}
    assert files == {("file", str(tmp_path / "shop" / name)) for name in ("orders.csv", "users.csv")}
    (history,) = end["outputs"]
    assert history["namespace"] == f"feature-store://{shop.registry.project}"
    assert history["name"] == "value:v1.0.0"
    assert history["outputFacets"]["outputStatistics"]["rowCount"] == 3
    schema = {f["name"]: (f["type"], f.get("description")) for f in history["facets"]["schema"]["fields"]}
    assert schema["country"] == ("string", "Where a customer lives.")
    lineage = history["facets"]["columnLineage"]
    found = {
        name: {(i["field"], i["transformations"][0]["type"]) for i in part["inputFields"]}
        for name, part in lineage["fields"].items()
    }
    assert found == {
        "country": {("country", "DIRECT")},
        "customer_lifetime_value": {("order_amount", "DIRECT"), ("user_id", "INDIRECT"), ("ordered_at", "INDIRECT")},
    }
    assert ("status", "INDIRECT") in {(i["field"], i["transformations"][0]["type"]) for i in lineage["dataset"]}
    assert "outputStatistics" not in json.dumps(start)


def test_a_backfill_of_data_is_reported(shop: FeatureStore, sent: Callable[[], list[dict[str, Any]]]) -> None:
    """It is the same job; what it writes is named, and nothing that it reads: nobody knows where data comes from."""
    at = datetime(2024, 1, 1, tzinfo=UTC)
    row = {"user_id": [1], "event_timestamp": [at], "country": ["DE"], "customer_lifetime_value": [1.0]}
    shop.backfill("value", row)
    start, end = sent()
    assert [event["eventType"] for event in (start, end)] == ["START", "COMPLETE"]
    assert end["job"]["name"] == "backfill.value"
    assert "sql" not in end["job"]["facets"]
    assert end["inputs"] == []
    (history,) = end["outputs"]
    assert (history["name"], history["outputFacets"]["outputStatistics"]["rowCount"]) == ("value:v1.0.0", 1)
    with pytest.raises(SchemaError):
        shop.backfill("value", {"user_id": [1]})
    assert [event["eventType"] for event in sent()[2:]] == ["START", "FAIL"]


def test_materializing_and_training_are_told(
    shop: FeatureStore, train: Train, sent: Callable[[], list[dict[str, Any]]]
) -> None:
    """Each view that goes online is a run of its own; a training set reports which views and columns it took."""
    before = len(sent())
    shop.materialize("value", "habits")
    made = train("churn_features")
    new = [e for e in sent()[before:] if e["eventType"] == "COMPLETE"]
    assert [e["job"]["name"] for e in new] == ["materialize.value", "materialize.habits", "training_set"]
    assert new[0]["inputs"][0]["name"] == "value:v1.0.0"
    assert new[0]["outputs"][0]["name"] == "value:v1.0.0/online"
    (table,) = new[2]["outputs"]
    assert table["name"] == f"training_set/{made.fingerprint}"
    assert sorted(d["name"] for d in new[2]["inputs"]) == ["habits:v1.0.0", "value:v1.0.0"]
    fields = table["facets"]["columnLineage"]["fields"]
    assert {name: part["inputFields"][0]["name"] for name, part in fields.items()} == {
        "customer_lifetime_value": "value:v1.0.0",
        "country": "value:v1.0.0",
        "orders": "habits:v1.0.0",
    }


def test_a_failure_is_reported(shop: FeatureStore, sent: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    """A backfill that fails raises as ever and ends its run as failed, with what was wrong."""
    (tmp_path / "shop" / "users.csv").unlink()
    with pytest.raises(SourceError, match="no file"):
        shop.backfill("profile")
    assert [e["eventType"] for e in sent()] == ["START", "FAIL"]
    assert "SourceError" in sent()[-1]["run"]["facets"]["errorMessage"]["message"]


def test_a_training_set_that_fails_is_reported(shop: FeatureStore, sent: Callable[[], list[dict[str, Any]]]) -> None:
    """A training set is one run from before its first look-up: it starts with what is read, and fails."""
    before = len(sent())
    with pytest.raises(SchemaError, match="event_timestamp"):
        shop.get_historical_features({"user_id": ["a"]}, ["value.country"])
    start, end = sent()[before:]
    assert [event["eventType"] for event in (start, end)] == ["START", "FAIL"]
    assert [d["name"] for d in start["inputs"]] == ["value:v1.0.0"]
    assert start["outputs"] == []
    assert "event_timestamp" in end["run"]["facets"]["errorMessage"]["message"]


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    kept: list[tuple[str, dict[str, Any]]]
    status = 201

    def do_POST(self) -> None:
        """Take an event."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).kept.append((self.path, json.loads(body)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[tuple[str, type[Listener]]]:
    """A local HTTP server that takes events, its URL first."""
    kind = type("Fresh", (Listener,), {"kept": []})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_events_by_http(
    shop: FeatureStore, listener: tuple[str, type[Listener]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL in the environment is enough; the namespace is what the environment says."""
    url, server = listener
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "shop")
    assert shop.backfill("habits") == 2
    assert [(path, e["eventType"], e["job"]["namespace"]) for path, e in server.kept] == [
        ("/api/v1/lineage", "START", "shop"),
        ("/api/v1/lineage", "COMPLETE", "shop"),
    ]


def test_a_receiver_that_refuses(
    shop: FeatureStore,
    listener: tuple[str, type[Listener]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A receiver that refuses is logged once and left alone for a while; every row is written all the same."""
    url, server = listener
    server.status = 400
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    assert (shop.backfill("habits"), shop.backfill("profile")) == (2, 2)
    assert len(server.kept) == 1
    assert [r.message.partition(" (")[0] for r in caplog.records if r.name == "fs_core"] == ["OpenLineage got no event"]


@pytest.mark.parametrize(
    "settings",
    [
        {"OPENLINEAGE__TRANSPORT__TYPE": "nonsense"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "file", "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": "/proc/nowhere/events"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "file"},
    ],
)
def test_a_transport_that_cannot_work(
    shop: FeatureStore, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that is configured wrongly is logged, and the work is done."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert shop.backfill("habits") == 2
    assert "OpenLineage got no event" in caplog.text


def test_it_is_off_unless_configured(shop: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a transport, or switched off, nothing is sent and the client isn't even imported."""
    assert not events.is_configured()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{free_port()}")
    assert events.is_configured()
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    assert not events.is_configured()
    assert shop.backfill("habits") == 2
    program = (
        f"import sys; from fs_core import FeatureStore; FeatureStore({str(shop.directory)!r}).backfill('profile'); "
    )
    program += "assert not [m for m in sys.modules if m.startswith('openlineage')]"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENLINEAGE")}
    subprocess.run([sys.executable, "-c", program], check=True, env=clean, cwd=tmp_path)


def test_queries_of_one_database_are_told_apart(tmp_path: Path) -> None:
    """Each query is a dataset of its own, named by its source; no credentials are in the name."""
    url = "postgresql://reader@db.example:5432/shop"
    named = [activities._file(Source(name, url=url, query="SELECT 1 AS x"), tmp_path) for name in ("orders", "users")]
    assert [(one.namespace, one.name) for one in named] == [
        ("postgresql://db.example:5432", "shop/orders"),
        ("postgresql://db.example:5432", "shop/users"),
    ]
