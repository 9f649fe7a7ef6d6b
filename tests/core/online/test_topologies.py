"""Redis in every shape it comes in: cluster, Sentinels, TLS, users, sockets; and what is served when a part is lost."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from fs_core.errors import ConfigurationError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore
from fs_core.testing.online_suite import packed
from tests.servers import available_servers, free_port, running_server
from tests.topologies import Node, Secured, cluster, watched

KEYS = [b"entity %d" % number for number in range(300)]
ROWS = {key: packed((1, 1, 1), key * 5) for key in KEYS}


def put(url: str, view: str, project: str = "p") -> None:
    """Write every row past the store, with a client that knows the shape."""
    store = RedisOnlineStore(url, project=project)
    for key, row in ROWS.items():
        store.write(view, [OnlineWrite(key, row)])
    store.close()


def read_both_ways(store: RedisOnlineStore, view: str, keys: list[bytes]) -> list[bytes | None]:
    """Read, blocking and not; both must agree."""

    async def read() -> list[list[bytes | None]]:
        try:
            return await store.read_async([(view, keys)])
        finally:
            await store.aclose()

    found = store.read([(view, keys)])
    assert asyncio.run(read()) == found
    return found[0]


@pytest.fixture(scope="module", params=["Valkey 9.1", "Redis 6.2"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """A cluster of three nodes, filled."""
    with cluster(request.param, tmp_path_factory.mktemp("cluster")) as made:
        put(f"redis+cluster://127.0.0.1:{made[0].port}", "v-1")
        yield made


class TestCluster:
    def test_rows_of_all_slots_in_their_order(self, nodes: list[Node]) -> None:
        """One node named is enough; every row comes from the node that has it, in the order asked."""
        store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{nodes[1].port}", project="p")
        asked = [*reversed(KEYS), b"nobody", KEYS[0]]
        assert read_both_ways(store, "v-1", asked) == [ROWS.get(key) for key in asked]
        assert store.read([("v-1", KEYS[:2]), ("v-2", KEYS[:1])]) == [[ROWS[KEYS[0]], ROWS[KEYS[1]]], [None]]
        store.close()

    def test_each_node_is_asked_once(self, nodes: list[Node]) -> None:
        """A read is one round trip to each node that has a row of it."""
        store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{nodes[0].port}", project="p")
        store.read([("v-1", KEYS[:1])])
        counts = []
        for node in nodes:
            with redis.Redis(port=node.port) as client:
                client.config_resetstat()
        store.read([("v-1", KEYS)])
        for node in nodes:
            with redis.Redis(port=node.port) as client:
                counts.append(client.info("commandstats")["cmdstat_get"]["calls"])
        assert sum(counts) == len(KEYS)
        assert all(counts)
        store.close()

    def test_a_node_as_if_it_were_alone(self, nodes: list[Node]) -> None:
        """A URL that names a node as a server of its own is refused with the URL to write."""
        store = RedisOnlineStore(nodes[0].url, project="p")
        with pytest.raises(OnlineStoreError, match=r"node of a cluster.*redis\+cluster://"):
            store.read([("v-1", KEYS)])
        store.close()

    def test_slots_that_moved(self, nodes: list[Node]) -> None:
        """A row that another node has by now is asked for there; the caller sees nothing of it."""
        store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{nodes[0].port}", project="p")
        store.read([("v-1", KEYS[:1])])
        topology = store._reads.servers.topology
        assert topology is not None
        assert topology.owners is not None
        store._reads.servers.topology = replace(topology, owners=np.roll(topology.owners, 5_000))
        assert store.read([("v-1", KEYS)]) == [[ROWS[key] for key in KEYS]]
        store.close()


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_a_lost_node(how: str, tmp_path: Path) -> None:
    """Other slots keep serving; the error names the node that doesn't answer, and says what the others had."""
    with cluster("Valkey 9.1", tmp_path) as nodes:
        put(f"redis+cluster://127.0.0.1:{nodes[0].port}", "v-1")
        store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{nodes[0].port}", project="p", timeout=2.0)
        routes = store.read([("v-1", KEYS)]) and store._reads.servers.topology.route(store._names.rows(KEYS, "v-1"))
        lost = {KEYS[i] for i in routes[("127.0.0.1", nodes[2].port)]}
        assert 0 < len(lost) < len(KEYS)
        nodes[2].kill() if how == "killed" else nodes[2].pause()
        kept = [key for key in KEYS if key not in lost]
        assert store.read([("v-1", kept)]) == [[ROWS[key] for key in kept]]
        start = time.monotonic()
        with pytest.raises(OnlineUnavailableError, match=f"node 127.0.0.1:{nodes[2].port}") as caught:
            store.read([("v-1", KEYS)], within=0.5)
        assert time.monotonic() - start < 2.5
        part = caught.value.partial
        assert part.rows == [[None if key in lost else ROWS[key] for key in KEYS]]
        assert part.unread[0].tolist() == [key in lost for key in KEYS]
        store.close()


def test_lost_nodes_share_the_time(tmp_path: Path) -> None:
    """What one node's reply took is not left for the next one's."""
    with cluster("Valkey 9.1", tmp_path) as nodes:
        put(f"redis+cluster://127.0.0.1:{nodes[0].port}", "v-1")
        store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{nodes[0].port}", project="p", timeout=20.0)
        assert store.read([("v-1", KEYS)], within=20.0) == [list(ROWS.values())]
        for lost in nodes[1:]:
            lost.pause()
        start = time.monotonic()
        with pytest.raises(OnlineUnavailableError, match=r"node 127.0.0.1:\d+ didn't answer") as caught:
            store.read([("v-1", KEYS)], within=0.8)
        assert time.monotonic() - start < 1.5
        assert 0 < caught.value.partial.unread[0].sum() < len(KEYS)
        store.close()


@pytest.mark.parametrize("name", ["Valkey 9.1", "Redis 6.2"])
def test_a_watched_master_and_its_successor(name: str, tmp_path: Path) -> None:
    """Sentinels say who the master is; when it is lost, the same store reads from the one that follows it."""
    with watched(name, tmp_path) as (servers, sentinel):
        url = f"redis://127.0.0.1:1,127.0.0.1:{sentinel.port}/0?sentinel=mymaster"
        put(url, "v-1")
        store = RedisOnlineStore(url, project="p")
        assert read_both_ways(store, "v-1", KEYS) == list(ROWS.values())
        with redis.Redis(port=servers[0].port) as master:
            assert master.wait(1, 20_000) == 1
            deadline = time.monotonic() + 20
            with redis.Redis(port=sentinel.port) as watcher:
                while not watcher.execute_command("SENTINEL", "REPLICAS", "mymaster"):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        servers[0].kill()
        deadline = time.monotonic() + 30
        while True:
            try:
                assert store.read([("v-1", KEYS)]) == [list(ROWS.values())]
                break
            except OnlineUnavailableError:
                assert time.monotonic() < deadline, "no successor was found"
                time.sleep(0.1)
        store.close()


def test_a_master_that_nobody_watches(tmp_path: Path) -> None:
    """A name that the Sentinels don't know is an error that names the store and it, whoever asks."""
    with watched("Valkey 9.1", tmp_path) as (_, sentinel):
        store = RedisOnlineStore(f"redis://127.0.0.1:{sentinel.port}?sentinel=other", project="p")
        for call in (lambda: store.read([("v-1", KEYS)]), lambda: store.watermark("v-1")):
            with pytest.raises(OnlineUnavailableError, match=rf"{sentinel.port}.*'other'"):
                call()
        store.close()


def test_sentinels_that_are_gone() -> None:
    """Where no Sentinel answers, whoever writes hears which master was asked for, without the driver's objects."""
    store = RedisOnlineStore(f"redis://127.0.0.1:{free_port()}?sentinel=mymaster", project="p")
    with pytest.raises(OnlineUnavailableError, match="No master found for 'mymaster'") as caught:
        store.watermark("v-1")
    assert "redis.client" not in str(caught.value)
    store.close()


def test_a_sentinel_or_a_replica_in_the_masters_place(tmp_path: Path) -> None:
    """A URL that leads to a Sentinel or a replica says so, and what to write instead."""
    with watched("Valkey 9.1", tmp_path) as (servers, sentinel):
        store = RedisOnlineStore(f"redis://127.0.0.1:{sentinel.port}", project="p")
        for call in (lambda: store.read([("v-1", KEYS)]), lambda: store.watermark("v-1")):
            with pytest.raises(OnlineStoreError, match=r"may be a Sentinel.*\?sentinel="):
                call()
        store.close()
        store = RedisOnlineStore(servers[1].url, project="p")
        with pytest.raises(OnlineStoreError, match=r"is a replica.*master's URL"):
            store.swap_watermark("v-1", None, "x")
        store.close()


@pytest.mark.parametrize("url", ["redis://slow.test/0", "redis://slow.test/0?sentinel=m", "redis+cluster://slow.test"])
def test_a_name_that_is_not_resolved_in_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read goes at its deadline, whatever the resolver does, blocking or not."""
    over = threading.Event()

    def stalled(*_: Any, **__: Any) -> Any:
        over.wait(5)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", stalled)
    store = RedisOnlineStore(url, project="p", timeout=5.0)
    start = time.monotonic()
    with pytest.raises(OnlineUnavailableError):
        store.read([("v-1", [b"e"])], within=0.2)
    assert time.monotonic() - start < 2

    async def timed() -> float:
        start = time.monotonic()
        with pytest.raises(OnlineUnavailableError):
            await store.read_async([("v-1", [b"e"])], within=0.2)
        return time.monotonic() - start

    async def whole() -> float:
        try:
            return await timed()
        finally:
            over.set()
            await store.aclose()

    assert asyncio.run(whole()) < 2


class TestTLS:
    def test_a_trusted_server(self, tls: Secured) -> None:
        """Rows are read and written through TLS when the authority is trusted."""
        url = f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.certificate}"
        put(url, "v-1")
        store = RedisOnlineStore(url, project="p")
        assert read_both_ways(store, "v-1", KEYS) == list(ROWS.values())
        store.close()

    @pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
    def test_the_wrong_authority(self, tls: Secured, scheme: str) -> None:
        """A server that the authority doesn't vouch for gets no command; the error says so."""
        store = RedisOnlineStore(f"{scheme}://127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.other}", project="p")
        for call in (lambda: store.read([("v-1", KEYS)]), lambda: store.watermark("v-1")):
            with pytest.raises(OnlineUnavailableError, match=r"(?i)certificate verify failed.*\?ssl_ca_certs="):
                call()
        store.close()

    def test_an_authority_that_is_missing(self, tls: Secured, tmp_path: Path) -> None:
        """Where the authority's file is missing, the error asks about it."""
        store = RedisOnlineStore(f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={tmp_path}/none.pem", project="p")
        for call in (lambda: store.read([("v-1", KEYS)]), lambda: store.watermark("v-1")):
            with pytest.raises(
                OnlineUnavailableError, match=r"file that an ssl_ option of its URL names may be missing"
            ):
                call()
        store.close()

    def test_without_tls(self, tls: Secured) -> None:
        """A plain connection to a TLS port is unavailable, within the time allowed; the error asks about TLS."""
        store = RedisOnlineStore(f"redis://127.0.0.1:{tls.port}/0", project="p", timeout=0.5)
        for call in calls(store):
            with pytest.raises(OnlineUnavailableError, match=r"port with TLS.* write rediss instead of redis "):
                call()
        store.close()

    def test_where_there_is_none(self) -> None:
        """A connection with TLS to a plain port is unavailable, within the time allowed; the error asks about TLS."""
        with running_server("Valkey 9.1") as url:
            store = RedisOnlineStore(url.replace("redis://", "rediss://"), project="p", timeout=0.5)
            for call in calls(store):
                with pytest.raises(OnlineUnavailableError, match=r"port without TLS.* write redis instead of rediss "):
                    call()
            store.close()

    def test_nobody_there(self) -> None:
        """A port that refuses connections has nothing to do with TLS; a busy machine may take its time to say so."""
        store = RedisOnlineStore("rediss://127.0.0.1:1", project="p", timeout=10.0)
        for call in calls(store, within=10.0):
            with pytest.raises(OnlineUnavailableError, match=r"refused|Connect call failed") as caught:
                call()
            assert "port without TLS" not in str(caught.value)
        store.close()


def calls(store: RedisOnlineStore, within: float = 0.2) -> list[Callable[[], Any]]:
    """Return ways of asking a server: with and without waiting, within a deadline, and of the driver's own."""
    wanted = [("v-1", KEYS)]
    return [
        lambda: store.read(wanted),
        lambda: store.read(wanted, within=within),
        lambda: asyncio.run(store.read_async(wanted)),
        lambda: store.watermark("v-1"),
    ]


@pytest.mark.parametrize("name", available_servers())
def test_users_and_their_rights(name: str) -> None:
    """A user who may only read this project's rows reads them; all else is refused in our words."""
    with running_server(name) as url:
        put(url, "v-1")
        rows, _ = RedisOnlineStore(url, project="p").key_patterns
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">s3same", f"~{rows}", "+get", "+mget")
        reader = RedisOnlineStore(url.replace("//", "//reader:s3same@"), project="p")
        assert read_both_ways(reader, "v-1", KEYS) == list(ROWS.values())
        with pytest.raises(OnlineStoreError, match=r"reader|permissions"):
            reader.swap_watermark("v-1", None, "x")
        stranger = RedisOnlineStore(url.replace("//", "//reader:wr0ng@"), project="p")
        with pytest.raises(OnlineUnavailableError, match="refuses the credentials") as caught:
            stranger.read([("v-1", KEYS)])
        assert "wr0ng" not in f"{caught.value} {stranger!r} {stranger._url!r}"
        other = RedisOnlineStore(url.replace("//", "//reader:s3same@"), project="q")
        with pytest.raises(OnlineStoreError, match=r"(?i)permission"):
            other.read([("v-1", KEYS)])
        for store in (reader, stranger, other):
            store.close()


@pytest.mark.parametrize("name", available_servers())
def test_a_user_who_writes(name: str) -> None:
    """A user with both patterns of a project's keys does all of the work of a store there, and nowhere else."""
    with running_server(name) as url:
        patterns = [f"~{pattern}" for pattern in RedisOnlineStore(url, project="p").key_patterns]
        with redis.Redis.from_url(url) as client:
            rights = ["+@read", "+@write", "+@scripting"]
            client.execute_command("ACL", "SETUSER", "writer", "on", ">s3same", *patterns, *rights)
        put(url.replace("//", "//writer:s3same@"), "v-1")
        writer = RedisOnlineStore(url.replace("//", "//writer:s3same@"), project="p")
        assert writer.swap_watermark("v-1", None, "x")
        assert sorted(key for rows in writer.scan("v-1") for key in rows.keys) == sorted(KEYS)
        assert writer.drop("v-1") == len(KEYS)
        with pytest.raises(OnlineStoreError, match=r"(?i)permission"):
            put(url.replace("//", "//writer:s3same@"), "v-1", project="q")
        writer.close()


@pytest.mark.parametrize("name", ["Valkey 9.1", "Redis 6.2"])
def test_a_user_of_a_cluster(name: str, tmp_path: Path) -> None:
    """On a cluster, too, little is enough to read: the rows, and who has which slots."""
    with cluster(name, tmp_path) as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        put(url, "v-1")
        rows, _ = RedisOnlineStore(url, project="p").key_patterns
        for node in nodes:
            with redis.Redis(port=node.port) as client:
                rights = ["+get", "+mget", "+cluster|slots"]
                client.execute_command("ACL", "SETUSER", "reader", "on", ">s3same", f"~{rows}", *rights)
        reader = RedisOnlineStore(url.replace("//", "//reader:s3same@"), project="p")
        assert read_both_ways(reader, "v-1", KEYS) == list(ROWS.values())
        reader.close()


@pytest.mark.parametrize("name", available_servers())
def test_a_unix_socket(name: str, tmp_path: Path) -> None:
    """A server behind a socket is read and written as one behind a port."""
    path = tmp_path / "server.sock"
    with running_server(name, "--unixsocket", str(path)):
        put(f"unix://{path}", "v-1")
        store = RedisOnlineStore(f"unix://{path}?db=0", project="p")
        assert read_both_ways(store, "v-1", KEYS) == list(ROWS.values())
        store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h1,h2", r"redis\+cluster://, or \?sentinel="),
        ("redis+cluster://h1,h2/3", "no databases"),
        ("redis+cluster://h1?sentinel=m", "not both"),
        ("redis+ring://h1", "not both|cluster"),
        ("redis://h1:port,h2?sentinel=m", "not understood"),
        ("redis+cluster://user:hunter2@h1,h2?colour=blue", "not understood"),
    ],
)
def test_urls_that_contradict_themselves(url: str, says: str) -> None:
    """Hosts, shape and options must go together; the mistake is named before anything is sent, without the password."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        RedisOnlineStore(url, project="p").read([("v-1", [b"e"])])
    assert "hunter2" not in str(caught.value)
