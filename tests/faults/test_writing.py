"""What breaks while rows go online: servers and processes killed, memory full, several at once. Nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.materialization import materialize as filling
from fs_core.materialization.watermark import Progress
from tests.faults.durable import DURABLE, Server, server
from tests.programs import begun, ended

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView(
    "counter", entity=USER, fields=[Field("x", "int64", "X."), Field("note", "string", "N.")], description="Counts."
)
COUNT = 6_000
START = datetime(2024, 1, 1, tzinfo=UTC)


def users(count: int = COUNT, day: int = 1) -> dict[str, Any]:
    """A row for each user."""
    return {
        "user_id": list(range(count)),
        "event_timestamp": [START.replace(day=day)] * count,
        "x": [1000 * day + i for i in range(count)],
        "note": ["n" * (i % 50) for i in range(count)],
    }


@pytest.fixture(params=["Valkey 9.1", "Redis 6.2"])
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that has on disk what it acknowledged."""
    (tmp_path / "server").mkdir()
    with server(request.param, tmp_path / "server", *DURABLE) as made:
        yield made


@pytest.fixture
def written(durable: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    """A store with history that isn't online yet, which sends a thousand rows at a time."""
    monkeypatch.setattr(filling, "BATCH_ROWS", 300)
    with FeatureStore(tmp_path / "store", online=durable.url) as store:
        store.apply(VIEW)
        store.write(VIEW, users())
        yield store


def kill_in_batch(monkeypatch: pytest.MonkeyPatch, store: FeatureStore, durable: Server, batch: int) -> None:
    """Kill the server while it works on a batch, or just after."""
    write, count = store.online.write, [0]

    def watched(*args: Any) -> int:
        count[0] += 1
        if count[0] == batch:
            threading.Timer(0.002, durable.kill).start()
        return write(*args)

    monkeypatch.setattr(store.online, "write", watched)


def test_a_server_killed_during_materialize(
    written: FeatureStore, durable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again from its file, it is filled from where it was acknowledged; nothing differs."""
    with monkeypatch.context() as broken:
        kill_in_batch(broken, written, durable, 8)
        with pytest.raises(OnlineUnavailableError, match="doesn't answer"):
            written.materialize()
    durable.start()
    left = Progress.from_text(written.online.watermark(VIEW.storage_name) or "", VIEW)
    assert left.reached is None
    assert (left.after or 0) >= 1499
    done = written.materialize()[0]
    assert 0 < done.rows < COUNT
    found = written.verify_online(VIEW)
    assert (found.entities, found.online, found.total) == (COUNT, COUNT, 0)


def test_a_server_killed_that_remembers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without a file comes back empty: what was sent before it died isn't taken to be there."""
    monkeypatch.setattr(filling, "BATCH_ROWS", 300)
    with server("Redis 6.2", tmp_path) as forgetful, FeatureStore(tmp_path / "s", online=forgetful.url) as store:
        store.apply(VIEW)
        store.write(VIEW, users())
        write, count = store.online.write, [0]

        def watched(*args: Any) -> int:
            count[0] += 1
            if count[0] == 8:
                forgetful.kill()
                forgetful.start()
            return write(*args)

        with monkeypatch.context() as broken:
            broken.setattr(store.online, "write", watched)
            with pytest.raises(OnlineStoreError, match=r"lost|doesn't answer"):
                store.materialize()
        assert store.materialize()[0].rows == COUNT
        assert store.verify_online(VIEW).total == 0


MATERIALIZE = """
import sys
from fs_core import FeatureStore
from fs_core.materialization import materialize
materialize.BATCH_ROWS = int(sys.argv[3])
FeatureStore(sys.argv[1], online=sys.argv[2]).materialize()
"""


def start_materialize(store: FeatureStore, durable: Server, batch: int) -> BaseProcess:
    """Materialize in a process of its own."""
    return begun(MATERIALIZE, str(store.directory), durable.url, str(batch))


def test_a_process_killed_during_materialize(written: FeatureStore, durable: Server) -> None:
    """The next one does the rest; nothing differs."""
    process = start_materialize(written, durable, 50)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = written.online.watermark(VIEW.storage_name)
        if text and (Progress.from_text(text, VIEW).after or 0) > 1000:
            break
    process.kill()
    process.join()
    left = Progress.from_text(written.online.watermark(VIEW.storage_name) or "", VIEW)
    assert left.reached is None
    assert written.materialize()[0].rows == COUNT - 1 - (left.after or 0)
    assert written.verify_online(VIEW).total == 0


def test_two_processes_materialize_at_once(written: FeatureStore, durable: Server) -> None:
    """Both succeed, and the result is that of one."""
    processes = [start_materialize(written, durable, 200) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert written.materialize()[0].rows == 0
    assert written.verify_online(VIEW).total == 0


def test_a_server_out_of_memory(durable: Server, written: FeatureStore) -> None:
    """The error says so; what is visible is right, the moment isn't reached; with more memory the rest comes."""
    admin = redis.Redis(port=durable.port)
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) + (1 << 19))
    with pytest.raises(OnlineStoreError, match=r"out of memory and took no more rows.*Raise its maxmemory"):
        written.materialize()
    partly = written.verify_online(VIEW)
    assert set(partly.differences) == {"missing"}
    assert 0 < partly.online < COUNT
    text = written.online.watermark(VIEW.storage_name)
    assert text is None or Progress.from_text(text, VIEW).reached is None
    admin.config_set("maxmemory", 1)
    with pytest.raises(OnlineStoreError, match="out of memory"):
        written.push(VIEW, users(1, day=2))
    admin.config_set("maxmemory", 0)
    admin.close()
    written.materialize()
    assert written.verify_online(VIEW).total == 0


PUSH = """
import os, sys
from fs_core import FeatureStore
from fs_core.materialization import materialize

def die(*_, **__):
    os.kill(os.getpid(), 9)

if sys.argv[3] == "before":
    materialize.send = die
store = FeatureStore(sys.argv[1], online=sys.argv[2])
if sys.argv[3] == "within":
    write, materialize.BATCH_ROWS = store.online.write, 300
    store.online.write = lambda view, rows: die() if rows.keys[0] == (900).to_bytes(2, "big") else write(view, rows)
rows = {"user_id": list(range(2000)), "event_timestamp": ["2024-02-01"] * 2000, "x": [7] * 2000, "note": [""] * 2000}
import pyarrow as pa
rows["event_timestamp"] = pa.array(rows["event_timestamp"]).cast(pa.timestamp("us"))
store.push("counter", rows)
"""


@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_process_killed_during_a_push(written: FeatureStore, durable: Server, moment: str) -> None:
    """What it pushed is in history before any of it is online, so the next materialize brings the rest."""
    written.materialize()
    assert ended(PUSH, str(written.directory), durable.url, moment) == -9
    assert written.history(VIEW).num_rows == COUNT + 2000
    behind = written.verify_online(VIEW)
    assert set(behind.differences) == {"stale"}
    assert behind.total == 2000 if moment == "before" else 0 < behind.total < 2000
    written.materialize()
    assert written.verify_online(VIEW).total == 0


def test_a_push_that_failed_half_way_is_repeated(
    written: FeatureStore, durable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that history has the rows; pushing them again is right, too."""
    with monkeypatch.context() as broken:
        kill_in_batch(broken, written, durable, 4)
        with pytest.raises(OnlineUnavailableError) as failure:
            written.push(VIEW, users(day=2))
    assert "safe in history" in failure.value.__notes__[0]
    durable.start()
    written.push(VIEW, users(day=2))
    assert written.verify_online(VIEW).total == 0
    found = written.get_online_features(VIEW, {"user_id": pa.array(range(COUNT))}).to_arrow()
    assert found["x"].to_pylist() == users(day=2)["x"]
