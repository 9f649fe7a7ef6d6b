"""In which condition servers are: whether each takes rows, and whether one deletes some by itself."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.materialization import materialize as filling
from fs_core.online.contract import DividedStore, EvictingStore
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.sqlite import SQLiteOnlineStore
from tests.servers import available_servers, running_server
from tests.topologies import cluster

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("counter", entity=USER, fields=[Field("x", "int64", "X.")], description="Counts.")
FADING = replace(VIEW, name="fading", ttl="3650d")
COUNT = 60


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has warned of no store yet."""
    monkeypatch.setattr(filling, "_warned", set())


def fill(store: FeatureStore, *views: FeatureView) -> None:
    """Write a row for each user."""
    store.apply(*views)
    for view in views:
        users = list(range(COUNT))
        store.write(view, {"user_id": users, "event_timestamp": [datetime.now(UTC)] * COUNT, "x": users})


def held(store: FeatureStore) -> int:
    """Return how many users' rows are online, however many nodes are lost."""
    users = {"user_id": list(range(COUNT))}
    found = store.get_online_features(VIEW, users, on_deadline="missing", deadline="2s")
    return found.to_arrow()["x"].is_valid().to_pylist().count(True)


def test_who_can_tell() -> None:
    """The store on a server is asked; one that is a file, or anybody's who knows nothing of it, is left in peace."""
    server, file = RedisOnlineStore("redis://127.0.0.1:1/0", project="p"), SQLiteOnlineStore("x.db", project="p")
    assert isinstance(server, EvictingStore)
    assert isinstance(server, DividedStore)
    assert not isinstance(file, EvictingStore | DividedStore)


@pytest.mark.parametrize("name", available_servers())
@pytest.mark.parametrize(
    ("policy", "maxmemory", "warned"),
    [
        ("allkeys-lru", "100mb", ["counter", "fading"]),
        ("volatile-ttl", "100mb", ["fading"]),
        ("noeviction", "100mb", []),
        ("allkeys-lru", "0", []),
    ],
)
def test_a_server_that_evicts(
    name: str, policy: str, maxmemory: str, warned: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first materialize of a view whose rows may go says so, with the policy; later ones needn't, nor do reads."""
    options = ["--maxmemory", maxmemory, "--maxmemory-policy", policy]
    with running_server(name, *options) as url, FeatureStore(tmp_path, online=url) as store:
        fill(store, VIEW, FADING)
        for view in ("counter", "fading"):
            caplog.clear()
            store.materialize(view)
            warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
            assert len(warnings) == (view in warned[:1])
            assert all(f"{url}') deletes rows by itself" in text and policy in text for text in warnings)
        assert store.online.eviction(expiring=True) == (policy if warned else None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", available_servers())
def test_who_may_not_ask(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A user with the rights that writing takes, who may not ask, materializes without a word."""
    with running_server(name, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as url:
        with FeatureStore(tmp_path, online=url) as owner:
            fill(owner, VIEW)
            patterns = [f"~{pattern}" for pattern in owner.online.key_patterns]  # type: ignore[attr-defined]
        with redis.Redis.from_url(url) as client:
            rights = ["+@read", "+@write", "+@scripting"]
            client.execute_command("ACL", "SETUSER", "writer", "on", ">s3same", *patterns, *rights)
        with FeatureStore(tmp_path, online=url.replace("//", "//writer:s3same@")) as store:
            assert store.materialize(rebuild=True)[0].applied == COUNT
            with pytest.raises(OnlineUnavailableError, match="ACL user may not"):
                store.online.eviction(expiring=True)  # type: ignore[attr-defined]
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_cluster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One master that evicts is enough; nothing is dropped while a master is lost, or refuses rows."""
    with cluster("Valkey 9.1", tmp_path / "nodes") as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        with FeatureStore(tmp_path / "store", online=url) as store:
            fill(store, VIEW)
            with redis.Redis(port=nodes[1].port) as client:
                client.config_set("maxmemory-policy", "allkeys-lfu")
                client.config_set("maxmemory", "100mb")
                store.materialize()
                assert [r.levelname for r in caplog.records if "allkeys-lfu" in r.message] == ["WARNING"]
                mark = store.online._names.watermark(VIEW.storage_name)  # type: ignore[attr-defined]
                marked = store.online._client.get_node_from_key(mark).port  # type: ignore[attr-defined]
                client.config_set("maxmemory-policy", "noeviction")
            full, lost = (node for node in nodes if node.port != marked)
            with redis.Redis(port=full.port) as client:
                client.config_set("maxmemory", "1000")
                with pytest.raises(OnlineStoreError, match="out of memory"):
                    store.materialize(rebuild=True)
                client.config_set("maxmemory", "0")
            assert held(store) == COUNT
            lost.kill()
            left = held(store)
            assert 0 < left < COUNT
            with pytest.raises(OnlineUnavailableError) as caught:
                store.materialize(rebuild=True)
            assert "were dropped" not in str(getattr(caught.value, "__notes__", ""))
            assert held(store) == left
