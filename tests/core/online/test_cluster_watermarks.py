"""A cluster's watermark is lost with any node's rows, and only with them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.materialization import materialize as filling
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore, cluster_watermarks
from fs_core.online.redis.cluster_watermarks import Mark, tags
from fs_core.online.redis.errors import driver
from fs_core.online.redis.scripts import source
from fs_core.online.row.codec import RowCodec
from fs_core.testing.online_suite import packed
from fs_core.testing.online_suite.rows import new_view
from tests.core.online.waiting import until
from tests.topologies import SLOTS, Node, cluster, replica, restarted

USER = Entity("user", keys={"user": "int64"}, description="A person.")
VIEW = FeatureView("clicks", entity=USER, fields=[Field("x", "int64", "X.")], description="Clicks.")
NAME = VIEW.storage_name
COUNT = 300
A, B = b"aaaaaaaa", b"bbbbbbbb"


def rows(day: int, *users: int) -> dict[str, Any]:
    """A row of a day for each user, by default of all."""
    chosen = users or tuple(range(COUNT))
    return {"user": chosen, "event_timestamp": [datetime(2024, 1, day, tzinfo=UTC)] * len(chosen), "x": chosen}


def url_of(node: Node) -> str:
    """The URL of its cluster."""
    return f"redis+cluster://127.0.0.1:{node.port}"


def holder(nodes: list[Node], view: str = NAME) -> int:
    """Return the number of the node that holds a view's watermark."""
    for number, node in enumerate(nodes):
        with redis.Redis(port=node.port) as client:
            if client.keys(f"fs:*:online:{view}"):
                return number
    raise AssertionError("nobody holds it")


def flush(node: Node) -> None:
    """Take all from a node."""
    with redis.Redis(port=node.port) as client:
        assert client.dbsize()
        client.flushall()


@contextmanager
def filled(folder: Path, nodes: list[Node]) -> Iterator[FeatureStore]:
    """Yield a store whose rows are on a cluster."""
    with FeatureStore(folder / "store", online=url_of(nodes[0])) as store:
        store.apply(VIEW)
        store.write(VIEW, rows(1))
        store.materialize()
        yield store


def sent_again(store: FeatureStore, count: int = COUNT) -> None:
    """All rows are sent with the next run, no more with the one after it, and all are as the rule says."""
    assert [done.rows for done in store.materialize()] == [count]
    assert [done.rows for done in store.materialize()] == [0]
    assert not any(store.verify_online("clicks").differences.values())


@pytest.fixture(scope="module", params=["Valkey 9.1", "Redis 6.2"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """A cluster of three nodes."""
    with cluster(request.param, tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def empty(nodes: list[Node]) -> list[Node]:
    """The cluster without a key."""
    for node in nodes:
        with redis.Redis(port=node.port) as client:
            client.flushall()
    return nodes


@pytest.fixture
def store(empty: list[Node]) -> Iterator[RedisOnlineStore]:
    """An online store on it."""
    made = RedisOnlineStore(url_of(empty[0]), project="p", timeout=5.0)
    yield made
    made.close()


def test_witnesses_lie_evenly() -> None:
    """However the slots are shared out, 271 in sequence hold a witness."""
    slots = [driver().crc.key_slot(b"fs:p:witness:{%b}:v" % tag) for tag in tags()]
    assert len(slots) == 64
    assert max(after - before for before, after in zip([-1, *slots], [*slots, SLOTS], strict=True)) <= 271


@pytest.mark.parametrize(
    "witness",
    [
        *(None, b"", b"damaged", b"9 damaged", b"9", b"9 " + A[1:], b"1" * 16 + b" " + A, b"9 " + A + b"\n"),
        *(b"1 " + A, b"1 %b %b" % (A, B), b"1 " + B, b"12 " + A),
    ],
)
@pytest.mark.parametrize("kept", [b"", b"damaged", b"1 %b {}" % A, b"2 %b {}" % A])
def test_a_witness_records_a_swap_if_it_confirms_what_is_replaced(
    witness: bytes | None, kept: bytes, server: redis.Redis
) -> None:
    """The script and `Mark.is_confirmed_by` agree, whatever is damaged; who recorded a swap confirms it."""
    mark, new = Mark.of(kept), Mark.of(b"5 cccccccc {}")
    if witness is not None:
        server.set("w", witness)
    found = server.eval(source("record"), 1, "w", mark.level, mark.token, new.level, new.token)
    assert (found >= 0) == mark.is_confirmed_by(witness)
    assert new.is_confirmed_by(server.get("w")) == (found >= 0)
    if found < 0:
        assert server.get("w") == witness
    else:
        found = server.eval(source("record"), 1, "w", 5, b"cccccccc", 5, b"dddddddd")
        assert found in (5, 9, 12)
        assert new.is_confirmed_by(server.get("w"))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_flushed_node(which: int, empty: list[Node], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a node lost its rows, the next run sends all again, and a warning names the node."""
    with filled(tmp_path, empty) as store:
        lost_all = holder(empty) == which
        flush(empty[which])
        assert store.online.watermark(NAME) is None
        with caplog.at_level(logging.WARNING):
            sent_again(store)
        named = [
            record.getMessage()
            for record in caplog.records
            if f":{empty[which].port} lost rows of {NAME}" in record.getMessage()
        ]
        assert len(named) == (0 if lost_all else 1)


def test_a_push_after_a_loss(empty: list[Node], tmp_path: Path) -> None:
    """A push brings its own row, and leaves the rest to a run."""
    with filled(tmp_path, empty) as store:
        store.push(VIEW, rows(2, 5))
        flush(empty[holder(empty) - 1])
        for day in (3, 4):
            store.push(VIEW, rows(day, 5))
            assert store.get_online_features(VIEW.ref, {"user": [5]}).status["clicks"][0] == "present"
        sent_again(store)


@pytest.mark.parametrize("name", ["Valkey 9.1", "Redis 6.2"])
def test_a_node_that_comes_back_empty(name: str, tmp_path: Path) -> None:
    """A node that is down isn't taken for a loss; when it comes back without its rows, all is sent again."""
    with cluster(name, tmp_path) as nodes, filled(tmp_path, nodes) as store:
        lost = holder(nodes) - 1
        nodes[lost].kill()
        assert store.online.watermark(NAME)
        with pytest.raises(OnlineUnavailableError, match=str(nodes[lost].port)):
            store.materialize()
        with restarted(name, tmp_path, nodes, lost % len(nodes)):
            sent_again(store)


def test_a_node_that_is_down(tmp_path: Path) -> None:
    """The others' rows are pushed as before; without the watermark's own node the store is unavailable."""
    with cluster("Valkey 9.1", tmp_path) as nodes, filled(tmp_path, nodes) as store:
        own = holder(nodes)
        keys = RowCodec(VIEW).keys(pa.table({"user": pa.array(range(COUNT), pa.int64())}))
        names = store.online._names.rows(keys, NAME)  # type: ignore[attr-defined]
        routes = store.online._reads.servers.topology.route(names)  # type: ignore[attr-defined]
        nodes[own - 1].kill()
        for user in routes["127.0.0.1", nodes[own].port][:3]:
            assert store.push(VIEW, rows(2, user)) == 1
        nodes[own].kill()
        with pytest.raises(OnlineUnavailableError, match=rf"node 127.0.0.1:({nodes[own].port}|{nodes[own - 1].port})"):
            store.online.watermark(NAME)


@pytest.mark.parametrize("lags", [True, False])
def test_a_replica_that_takes_over(lags: bool, tmp_path: Path) -> None:
    """When a replica takes over that lacks the last rows, all is sent again; nothing, if it has them."""
    with cluster("Valkey 9.1", tmp_path) as nodes, filled(tmp_path, nodes) as store:
        master = nodes[holder(nodes) - 1]
        with (
            replica("Valkey 9.1", tmp_path / "replica", master) as successor,
            redis.Redis(port=master.port) as here,
            redis.Redis(port=successor.port) as there,
        ):
            if lags:
                there.config_set("masterauth", "which nobody asks for, so that it can't follow any more")
                here.client_kill_filter(_type="replica")
            store.write(VIEW, rows(2))
            assert [done.rows for done in store.materialize()] == [COUNT]
            assert here.dbsize() == there.dbsize()
            assert here.wait(1, 100 if lags else 10_000) == (0 if lags else 1)
            master.kill()
            there.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            if lags:
                until(lambda: store.online.watermark(NAME) is None, "nobody noticed")
            sent = list[int]()
            until(lambda: _runs(store, sent), "the cluster never settled")
            assert sent == [COUNT if lags else 0]
            assert not any(store.verify_online("clicks").differences.values())


def test_slots_that_move(tmp_path: Path) -> None:
    """Slots that another node takes over, with or without a witness or the watermark, take all along."""
    with cluster("Valkey 9.1", tmp_path) as nodes, filled(tmp_path, nodes) as store, ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis(port=node.port)) for node in nodes]
        ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
        own = driver().crc.key_slot(store.online._names.watermark(NAME))  # type: ignore[attr-defined]
        kept = store.online.watermark(NAME)
        for slot in {own, *range(1024)}:
            here = slot * 3 // SLOTS
            there = (here + 1) % 3
            clients[there].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
            clients[here].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
            while names := clients[here].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                clients[here].execute_command("MIGRATE", "127.0.0.1", nodes[there].port, "", 0, 5000, "KEYS", *names)
                if slot in (own, 5):  # a witness's, in the midst of moving: unavailable or there, but not lost
                    with suppress(OnlineUnavailableError):
                        assert store.online.watermark(NAME) == kept
            for number in (there, here, 3 - here - there):
                clients[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
        assert store.online.watermark(NAME) == kept
        store.write(VIEW, rows(2, 7))
        assert [done.rows for done in store.materialize()] == [1]
        flush(nodes[1])
        sent_again(store)


def test_runs_and_readers_at_once(empty: list[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs at once none takes another's swap for a loss, and neither does who reads meanwhile."""
    monkeypatch.setattr(filling, "BATCH_ROWS", 10)
    disowned = list[Any]()
    monkeypatch.setattr(cluster_watermarks.ClusterWatermarks, "_delete", lambda *args: disowned.append(args))
    with filled(tmp_path, empty) as store, FeatureStore(tmp_path / "store", online=url_of(empty[1])) as other:
        store.write(VIEW, rows(2))
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(each.materialize) for each in (store, other)]
            while not all(run.done() for run in runs):
                assert store.online.watermark(NAME) is not None
            for run in runs:
                run.result()
        assert not disowned
        assert not any(store.verify_online("clicks").differences.values())
        assert [done.rows for done in store.materialize()] == [0]


def test_a_swap_across_a_loss(store: RedisOnlineStore, empty: list[Node]) -> None:
    """A run whose rows were lost before it says that they are there doesn't hide that."""
    view = new_view()
    assert store.swap_watermark(view, None, "rows are sent")
    flush(empty[holder(empty, view) - 1])
    assert not store.swap_watermark(view, "rows are sent", "rows are there")
    assert store.watermark(view) is None
    assert not store.swap_watermark(view, "rows are sent", "rows are there")
    assert store.swap_watermark(view, None, "another generation")
    assert store.watermark(view) == "another generation"


def test_a_run_that_died_hides_no_loss(
    store: RedisOnlineStore, empty: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Witnesses that have a record only of a swap that never came about don't confirm the one that did."""
    view = new_view()
    assert store.swap_watermark(view, None, "first")
    with monkeypatch.context() as patch:
        patch.setattr(cluster_watermarks, "run", _die)
        with pytest.raises(KeyboardInterrupt):
            store.swap_watermark(view, "first", "second")
    assert store.watermark(view) == "first"
    client = store._client
    names = [store._names.witness(view, tag) for tag in tags()]
    before: dict[bytes, Any] = {name: client.get(name) for name in names}
    assert store.swap_watermark(view, "first", "second")
    assert store.watermark(view) == "second"
    client.set(names[7], before[names[7]])  # as a replica that lagged has it
    assert store.watermark(view) is None


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_watermark_that_was_lost_alone(store: RedisOnlineStore) -> None:
    """The next generation begins where the witnesses stand; an older watermark that comes back is swapped on."""
    view, texts = new_view(), ["one", "two", "three", "four"]
    name, kept = store._names.watermark(view), list[Any]()
    for held, text in zip([None, *texts], texts, strict=False):
        assert store.swap_watermark(view, held, text)
        kept.append(store._client.get(name))
    store._client.set(name, kept[1])  # as a replica that lagged has it
    assert store.watermark(view) == "two"
    assert store.swap_watermark(view, "two", "another three")
    assert store.watermark(view) == "another three"
    store._client.unlink(name)
    assert store.watermark(view) is None
    assert store.swap_watermark(view, None, "another generation")
    assert store.watermark(view) == "another generation"
    assert store.swap_watermark(view, "another generation", "goes on")
    assert store.watermark(view) == "goes on"
    store._client.unlink(store._names.witness(view, tags()[9]))
    assert store.watermark(view) is None


def test_a_watermark_without_witnesses(store: RedisOnlineStore) -> None:
    """What a version without witnesses wrote, or is damaged, is kept until it is swapped."""
    view = new_view()
    store._client.set(store._names.watermark(view), "old")
    assert store.watermark(view) == "old"
    assert not store.swap_watermark(view, None, "new")
    assert store.swap_watermark(view, "old", "new")
    store._client.unlink(store._names.witness(view, tags()[0]))
    assert store.watermark(view) is None


def test_a_witness_that_is_damaged(store: RedisOnlineStore) -> None:
    """It is taken for one that was lost, and written anew."""
    view = new_view()
    assert store.swap_watermark(view, None, "one")
    store._client.set(store._names.witness(view, tags()[0]), "9 damaged")
    assert store.watermark(view) is None
    assert store.swap_watermark(view, None, "two")
    assert store.watermark(view) == "two"


def test_nothing_is_left_of_a_view(store: RedisOnlineStore, empty: list[Node]) -> None:
    """Dropping a view leaves no key of it on any node, and a generation after it has nothing of the one before."""
    view = new_view()
    for generation in ("one", "two"):
        assert store.swap_watermark(view, None, generation)
        store.write(view, [OnlineWrite(b"e%d" % number, packed((1, 1, 1))) for number in range(30)])
        assert store.drop(view) == 30
        assert store.watermark(view) is None
        for node in empty:
            with redis.Redis(port=node.port) as client:
                assert not client.keys()


def test_a_watermark_is_one_command_for_each_key(store: RedisOnlineStore, empty: list[Node]) -> None:
    """Asking for a watermark reads it and its witnesses, each once."""
    view = new_view()
    assert store.swap_watermark(view, None, "kept")
    clients = [redis.Redis(port=node.port) for node in empty]
    for client in clients:
        client.config_resetstat()
    assert store.watermark(view) == "kept"
    counts = [client.info("commandstats")["cmdstat_get"]["calls"] for client in clients]
    assert sum(counts) == 1 + len(tags())
    for client in clients:
        client.close()


def test_one_server_has_no_witnesses(url: str, server: redis.Redis) -> None:
    """On a server by itself a watermark is its text, one key, read by one command."""
    store = RedisOnlineStore(url, project="p")
    assert store.swap_watermark("v-1", None, "one")
    assert store.swap_watermark("v-1", "one", "two")
    server.config_resetstat()
    assert store.watermark("v-1") == "two"
    assert server.info("commandstats")["cmdstat_get"]["calls"] == 1
    assert list(map(server.get, server.scan_iter())) == [b"two"]
    store.close()


def test_a_user_who_writes_to_a_cluster(empty: list[Node]) -> None:
    """The rights that are asked for are enough on a cluster, too, for all that a writer does."""
    patterns = [f"~{pattern}" for pattern in RedisOnlineStore(url_of(empty[0]), project="p").key_patterns]
    rights = ["+@read", "+@write", "+@scripting", "+cluster", "+command"]
    for node in empty:
        with redis.Redis(port=node.port) as client:
            client.execute_command("ACL", "SETUSER", "writer", "on", ">s3same", *patterns, *rights)
    writer = RedisOnlineStore(url_of(empty[0]).replace("//", "//writer:s3same@"), project="p")
    assert writer.swap_watermark("v-1", None, "x")
    assert writer.swap_watermark("v-1", "x", "y")
    writer.write("v-1", [OnlineWrite(b"e", packed((1, 1, 1)))])
    flush(empty[holder(empty, "v-1") - 1])
    assert writer.watermark("v-1") is None
    assert writer.swap_watermark("v-1", None, "z")
    assert writer.watermark("v-1") == "z"
    writer.drop("v-1")
    other = RedisOnlineStore(url_of(empty[0]).replace("//", "//writer:s3same@"), project="q")
    for refused in (lambda: other.watermark("v-1"), lambda: other.swap_watermark("v-1", None, "x")):
        with pytest.raises(OnlineStoreError, match=r"(?i)permission"):
            refused()
    writer.close()
    other.close()


def _runs(store: FeatureStore, sent: list[int]) -> bool:
    """Materialize if the cluster lets us; keep how many rows were sent."""
    try:
        sent += [done.rows for done in store.materialize()]
    except OnlineUnavailableError:
        return False
    return True
