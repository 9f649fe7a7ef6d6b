"""Servers that share the work, on free ports of 127.0.0.1: a cluster, Sentinels, TLS, a proxy that breaks off."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.servers import SERVERS, free_port, wait_until_up

SLOTS = 16_384
_CLUSTERED = (
    *("--cluster-enabled", "yes"),
    *("--cluster-require-full-coverage", "no"),
    *("--cluster-node-timeout", "2000"),
)


@dataclass(frozen=True)
class Node:
    """A running server.

    Attributes:
        port: where it listens on 127.0.0.1.
        process: the process.
    """

    port: int
    process: subprocess.Popen[bytes]

    def pause(self) -> None:
        """Stop it, as a machine that hangs."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def node(name: str, folder: Path, *options: str, port: int | None = None) -> Iterator[Node]:
    """Run a server of a kind for as long as the context lasts."""
    binary = SERVERS[name]()
    assert binary, f"{name} is not on this machine"
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    always = ["--save", "", "--repl-diskless-sync-delay", "0"]  # a replica needn't wait for others
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *always, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = Node(port, process)
    try:
        wait_until_up(process, port)
        yield made
    finally:
        process.send_signal(signal.SIGCONT)
        made.kill()


@contextmanager
def cluster(name: str, folder: Path, size: int = 3) -> Iterator[list[Node]]:
    """Run a cluster of primaries that share all slots evenly; it serves the rest when one is lost."""
    with ExitStack() as stack:
        runs = (node(name, folder / str(number), *_CLUSTERED, port=_port_of_two()) for number in range(size))
        nodes = [stack.enter_context(run) for run in runs]
        clients = [stack.enter_context(redis.Redis(port=n.port)) for n in nodes]
        for number, client in enumerate(clients):
            first, last = number * SLOTS // size, (number + 1) * SLOTS // size
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last))
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for other in nodes[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
        _until(lambda: all(_agrees(client, size) for client in clients), "the nodes never agreed")
        yield nodes


@contextmanager
def restarted(name: str, folder: Path, nodes: list[Node], number: int) -> Iterator[Node]:
    """Run a killed node of a cluster again: without its rows, and with its slots."""
    with node(name, folder / str(number), *_CLUSTERED, port=nodes[number].port) as made:
        _until(lambda: all(_all_well(n) for n in nodes), "the node never came back")
        yield made


@contextmanager
def replica(name: str, folder: Path, master: Node) -> Iterator[Node]:
    """Run a replica of a node of a cluster; it has what the master had."""
    with (
        node(name, folder, *_CLUSTERED, port=_port_of_two()) as made,
        redis.Redis(port=master.port) as its_master,
        redis.Redis(port=made.port) as client,
    ):
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", master.port)
        name_of = its_master.execute_command("CLUSTER", "MYID")
        _until(lambda: name_of in client.execute_command("CLUSTER", "NODES"), "it never met its master")
        _until(lambda: _replicates(client, name_of), "it never took to its master")
        _until_told(client)
        yield made


def _until_told(replica: redis.Redis) -> None:
    """Wait until a replica has what its master had; only what is written from then on is waited for by WAIT."""
    _until(lambda: replica.info("replication").get("master_link_status") == "up", "it never got its master's data")


def _replicates(client: redis.Redis, master: bytes) -> bool:
    try:
        client.execute_command("CLUSTER", "REPLICATE", master)
    except redis.ResponseError:  # it doesn't know yet that the other is a master
        return False
    return True


def _all_well(node: Node) -> bool:
    with redis.Redis(port=node.port) as client:
        return b"fail" not in client.execute_command("CLUSTER", "NODES") and _agrees(client)


def _until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def _port_of_two() -> int:
    """Return a free port whose double on the cluster's bus, 10,000 further, is free as well."""
    while True:
        port = free_port() % 30_000 + 20_000
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def _agrees(client: redis.Redis, size: int | None = None) -> bool:
    state = dict(line.split(":", 1) for line in client.execute_command("CLUSTER", "INFO").decode().split())
    known = {entry[2][1] for entry in client.execute_command("CLUSTER", "SLOTS")}
    return (
        state["cluster_state"] == "ok" and int(state["cluster_slots_assigned"]) == SLOTS and size in (None, len(known))
    )


@contextmanager
def watched(name: str, folder: Path) -> Iterator[tuple[list[Node], Node]]:
    """Run a master, its replica and a Sentinel that watches them as `mymaster`; yield both and the Sentinel."""
    binary = SERVERS[name]()
    assert binary
    with ExitStack() as stack:
        master = stack.enter_context(node(name, folder / "master"))
        replica = stack.enter_context(node(name, folder / "replica", "--replicaof", "127.0.0.1", str(master.port)))
        _until_told(stack.enter_context(redis.Redis(port=replica.port)))
        port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        )
        command = [binary, str(settings), "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_until_up(process, port)
        yield [master, replica], Node(port, process)


def speaks_tls() -> bool:
    """Return whether the system's own server knows TLS, and something can make certificates for it."""
    binary = shutil.which("redis-server")
    if binary is None or shutil.which("openssl") is None:
        return False
    command = [binary, "--port", "0", "--tls-port", str(free_port()), "--bind", "127.0.0.1", "--save", ""]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    return b"No tls-cert-file configured" in done.stdout + done.stderr


@dataclass(frozen=True)
class Secured:
    """A running server that speaks TLS.

    Attributes:
        port: where it does.
        certificate: the file of its certificate, which is its own authority.
        other: the file of somebody else's.
    """

    port: int
    certificate: Path
    other: Path


@contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """Run the system's server with TLS for as long as the context lasts."""
    (certificate, key), (other, _) = certified(folder / "server"), certified(folder / "stranger")
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]
    with node("Redis of the system", folder / "data", *options):
        yield Secured(port, certificate, other)


def certified(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself; return its file and its key's."""
    folder.mkdir(parents=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def cut_off(port: int, after: int | None = None, *, late: float = 0.0) -> Iterator[int]:
    """Listen for as long as the context lasts, pass all on to a server, and break off after that many bytes of replies.

    It yields the port where it listens. Every connection is cut off anew, and begins so many seconds late.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, after, late), daemon=True).start()
        yield int(listener.getsockname()[1])


def _accept(listener: socket.socket, port: int, after: int | None, late: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        time.sleep(late)
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:  # it has ended already: whoever connects so late finds nobody, as without us
            client.close()
            continue
        threading.Thread(target=_pass_on, args=(client, server, None), daemon=True).start()
        threading.Thread(target=_pass_on, args=(server, client, after), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, after: int | None) -> None:
    left = after
    try:
        while (left is None or left > 0) and (data := source.recv(65_536)):
            part = data if left is None else data[:left]
            sink.sendall(part)
            left = None if left is None else left - len(part)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
