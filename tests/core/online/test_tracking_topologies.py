"""Rows kept in a process that several servers, or one behind TLS or a socket, tell of changes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from fs_core.errors import OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from tests.core.online.tracked import VIEW, Cached, put, row, until
from tests.servers import available_servers, running_server
from tests.topologies import Secured, cluster, watched

KEYS = [b"entity %d" % number for number in range(50)]


@pytest.mark.parametrize("name", ["Valkey 9.1", "Redis 6.2"])
def test_a_cluster(name: str, tmp_path: Path) -> None:
    """Each node tells of its rows; where one is lost, what it had is served no more and the rest is."""
    with cluster(name, tmp_path) as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        reader = Cached(url)
        put(url, 1, *KEYS)
        assert reader.keep(*KEYS) == [row(1)] * len(KEYS)
        put(url, 2, *KEYS)
        reader.sees([row(2)] * len(KEYS), *KEYS)
        reader.keep(*KEYS)
        routes = reader.store._transport.topology.route(reader.store._names.rows(KEYS, VIEW))
        lost = [KEYS[place] for place in routes[("127.0.0.1", nodes[2].port)]]
        rest = [key for key in KEYS if key not in lost]
        assert lost
        assert rest
        nodes[2].kill()
        until(lambda: not any(reader.tells(key) for key in lost), "kept though nobody tells of changes")
        assert reader.tells(*rest)
        assert not reader.cache.ask([(VIEW, rest)], 3600).rest[0][1]
        with pytest.raises(OnlineUnavailableError, match=str(nodes[2].port)):
            reader.read(*KEYS)
        reader.close()


def test_slots_that_move(tmp_path: Path) -> None:
    """A row whose slot another node takes over is told of by that one."""
    key = KEYS[0]
    with cluster("Valkey 9.1", tmp_path) as nodes, ExitStack() as stack:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        reader = Cached(url)
        put(url, 1, key)
        reader.keep(key)
        clients = {n.port: stack.enter_context(redis.Redis(port=n.port)) for n in nodes}
        name = reader.store._names.rows([key], VIEW)[0]
        slot = clients[nodes[0].port].execute_command("CLUSTER", "KEYSLOT", name)
        (here,) = reader.store._transport.topology.route([name])
        assert here is not None
        there = next(n.port for n in nodes if n.port != here[1])
        ids = {port: client.execute_command("CLUSTER", "MYID").decode() for port, client in clients.items()}
        clients[there].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here[1]])
        clients[here[1]].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
        names = clients[here[1]].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10)
        clients[here[1]].execute_command("MIGRATE", "127.0.0.1", there, "", 0, 5000, "KEYS", *names)
        for port in (there, here[1], *clients):
            clients[port].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
        put(f"redis+cluster://127.0.0.1:{there}", 2, key)
        reader.sees([row(2)], key)
        reader.keep(key)
        put(f"redis+cluster://127.0.0.1:{there}", 3, key)
        reader.sees([row(3)], key)
        reader.close()


def test_a_watched_master_and_its_successor(tmp_path: Path) -> None:
    """When the master is lost, what it had is served no more; its successor is listened to, and nobody else."""
    with watched("Valkey 9.1", tmp_path) as (servers, sentinel):
        url = f"redis://127.0.0.1:{sentinel.port}/0?sentinel=mymaster"
        put(url, 1, *KEYS)
        reader = Cached(url)
        reader.keep(*KEYS)
        with redis.Redis(port=servers[0].port) as master, redis.Redis(port=sentinel.port) as watcher:
            until(lambda: bool(watcher.execute_command("SENTINEL", "REPLICAS", "mymaster")), "no replica is known")
            assert master.wait(1, 20_000) == 1
        servers[0].kill()
        until(lambda: not reader.tells(*KEYS), "kept though nobody tells of changes")

        def is_kept() -> bool:
            try:
                return reader.read(*KEYS) == [row(1)] * len(KEYS) and reader.tells(*KEYS)
            except OnlineUnavailableError:
                return False

        until(is_kept, "no successor is listened to", seconds=40)
        assert list(reader.store._tracking._listeners) == [("127.0.0.1", servers[1].port)]
        put(servers[1].url, 2, *KEYS)
        reader.sees([row(2)] * len(KEYS), *KEYS)
        reader.close()


def test_through_tls(tls: Secured) -> None:
    """A server that speaks TLS tells of changes through TLS, many at once."""
    url = f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.certificate}"
    keys = [b"%d" % number for number in range(2000)]
    reader = Cached(url)
    put(url, 1, *keys)
    reader.keep(*keys)
    put(url, 2, *keys)
    reader.sees([row(2)] * len(keys), *keys)
    assert reader.keep(*keys) == [row(2)] * len(keys)
    with redis.Redis(host="127.0.0.1", port=tls.port, ssl=True, ssl_ca_certs=str(tls.certificate)) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    until(lambda: not reader.tells(*keys[:1]), "kept though nobody tells of changes")
    reader.close()


@pytest.mark.parametrize("name", available_servers())
def test_through_a_socket(name: str, tmp_path: Path) -> None:
    """A server behind a socket tells of changes; a few thousand at once lose none."""
    path = tmp_path / "server.sock"
    keys = [b"%d" % number for number in range(5000)]
    with running_server(name, "--unixsocket", str(path)):
        reader = Cached(f"unix://{path}?db=1")
        reader.keep(*keys)
        other = Cached(f"unix://{path}?db=1").store
        other.write(VIEW, [OnlineWrite(key, row(2)) for key in keys])
        other.close()
        reader.sees([row(2)] * len(keys), *keys)
        reader.close()
