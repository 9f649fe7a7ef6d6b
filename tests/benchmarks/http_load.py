"""The feature server under load, beside Feast's own: the same Redis, the same numbers, the same bytes sent.

Clients send the same JSON (in Feast's shape) over connections that they keep, each the next request when it has its
answer: one client for latency, then more until the server's core is full, which is what throughput means here. Each
server has one worker, on a core of its own; Redis and the clients are on the others, if there are any. Answers are
compared before they are timed, in turns. On a busy machine look at the processor time that a request takes of the
server: the rest measures the neighbours. Where Feast isn't installed (`make bench` does that), ours runs alone. Run
`make loadtest`, or `python -m tests.benchmarks.http_load`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from fs_core import FeatureStore
from tests.benchmarks.feast.process import FEAST, NAME
from tests.benchmarks.http_client import Client, load, post
from tests.benchmarks.online.views import FEATURES, VIEWS, fill, values, write_file
from tests.servers import available_servers, free_port, running_server

ENTITIES = 20_000
OURS = "fs serve"
_VIEW = {OURS: VIEWS[0], NAME: "numbers"}
CLIENTS = (1, 8, 32)
"""How many send at the same time. The last ones fill the server's core."""
_WARM = 0.1  # seconds of a load that aren't counted
_THROUGHPUT, _P99 = 5.0, 1 / 3
"""What we must have of Feast's throughput at least, and of its 99th percentile at most."""


@dataclass(frozen=True)
class Seen:
    """What came of one run.

    Attributes:
        latencies: seconds of each request.
        seconds: how long the run took.
        busy: processor seconds of the server meanwhile.
    """

    latencies: np.ndarray[Any, np.dtype[np.float64]]
    seconds: float
    busy: float

    @classmethod
    def of(cls, parts: list[Seen]) -> Seen:
        """Put runs together."""
        latencies = np.concatenate([part.latencies for part in parts])
        return cls(latencies, sum(part.seconds for part in parts), sum(part.busy for part in parts))

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, percent: float) -> float:
        """Return a percentile of the latencies, milliseconds."""
        return float(np.percentile(self.latencies, percent) * 1e3)


def body_of(server: str, users: list[int]) -> bytes:
    """Return the JSON that asks for ten numbers of some users."""
    features = [f"{_VIEW[server]}:{name}" for name in FEATURES]
    return json.dumps({"features": features, "entities": {"user": users}}).encode()


@dataclass(frozen=True)
class Server:
    """A server that runs, perhaps in several processes."""

    port: int
    pid: int

    def busy(self) -> float:
        """Return the processor seconds that its processes have taken."""
        return _busy(self.pid)

    def under(self, request: bytes, clients: int, seconds: float) -> Seen:
        """Put a load on it, from connections that were used before: to make them is another story."""
        with ExitStack() as stack:
            senders = [Client(self.port, request) for _ in range(clients)]
            for sender in senders:
                stack.enter_context(sender.socket)
            load(senders, _WARM)
            before = self.busy()
            latencies, lasted = load(senders, seconds)
            return Seen(latencies, lasted, self.busy() - before)


def _busy(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(_busy(int(child)) for child in children)


@contextmanager
def started(command: list[str], port: int, core: int, environment: dict[str, str]) -> Iterator[Server]:
    """Run a server on one core until the context ends."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        os.sched_setaffinity(process.pid, {core})
        try:
            deadline = time.monotonic() + 120
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise SystemExit(f"{command[0]} doesn't serve: {said.read()[-2000:].decode()}")
                time.sleep(0.2)
            yield Server(port, process.pid)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def ours(directory: Path, url: str, core: int) -> Any:
    """Run our server."""
    port = free_port()
    command = [sys.executable, "-m", "fs_core.cli", "--store", str(directory), "serve", "--port", str(port)]
    return started([*command, "--no-access-log"], port, core, {"FS_ONLINE": url})


def feasts(history: Path, url: str, core: int) -> Any:
    """Run Feast's server, on another database of the same Redis."""
    port, script = free_port(), Path(__file__).parent / "feast" / "server.py"
    command = [str(FEAST.absolute()), "-W", "ignore", str(script), str(history), f"{urlsplit(url).netloc},db=1"]
    return started([*command, str(port)], port, core, {})


def check(servers: dict[str, Server], users: list[int]) -> None:
    """Refuse to time servers that don't give the same numbers."""
    expected = values(VIEWS[0], ENTITIES)[users]
    for server, running in servers.items():
        headers = {"content-type": "application/json"}
        url = f"http://127.0.0.1:{running.port}/get-online-features"
        answer = httpx.post(url, content=body_of(server, users), headers=headers).json()
        found = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
        given = np.array([found[name]["values"] for name in FEATURES]).T
        if not np.array_equal(given, expected):
            raise SystemExit(f"{server} gives other numbers")


def compare(servers: dict[str, Server], seconds: float, turns: int) -> Table:
    """Return a table of both servers' rates and latencies, for one entity and for a hundred, by numbers of clients."""
    names = ("entities", "clients", "server", "req/s", "p50, ms", "p99, ms", "CPU, ms", "core, %")
    ratios = ("rate x Feast", "p99 x Feast", "CPU x Feast")
    table = Table(*names, *ratios, title="Features over HTTP, 10 float64", title_justify="left")
    for entities in (1, 100):
        asked = np.random.default_rng(7).choice(ENTITIES, entities, replace=False).tolist()
        check(servers, asked)
        for clients in CLIENTS:
            seen = _seen(servers, asked, clients, seconds, turns)
            for server, one in seen.items():
                cost, full = 1e3 * one.busy / len(one.latencies), 100 * one.busy / one.seconds
                numbers = (f"{one.rate:,.0f}", f"{one.quantile(50):.2f}", f"{one.quantile(99):.2f}", f"{cost:.2f}")
                beside = _ratios(one, seen[NAME], clients) if server == OURS and NAME in seen else ()
                table.add_row(str(entities), str(clients), server, *numbers, f"{full:.0f}", *beside)
    return table


def _seen(servers: dict[str, Server], users: list[int], clients: int, seconds: float, turns: int) -> dict[str, Seen]:
    """Return what came of the servers under one load, in turns."""
    parts: dict[str, list[Seen]] = {server: [] for server in servers}
    for _ in range(turns):
        for server, running in servers.items():
            request = post("/get-online-features", body_of(server, users))
            parts[server].append(running.under(request, clients, seconds / turns))
    return {server: Seen.of(found) for server, found in parts.items()}


def _ratios(ours: Seen, theirs: Seen, clients: int) -> tuple[str, ...]:
    """Return our rate, tail and processor time beside Feast's, and where a bar isn't held."""
    rate, tail = ours.rate / theirs.rate, ours.quantile(99) / theirs.quantile(99)
    cost = (ours.busy / len(ours.latencies)) / (theirs.busy / len(theirs.latencies))
    is_enough = rate >= _THROUGHPUT or clients < CLIENTS[-1]  # what one client gets is latency, no throughput
    return _held(rate, is_enough), _held(tail, tail <= _P99), f"{cost:.2f}"


def _held(ratio: float, is_held: bool) -> str:
    return f"{ratio:.2f}{'' if is_held else ' (bar missed)'}"


def main() -> None:
    """Fill both stores, serve both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=available_servers(), default=available_servers()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load on each server")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, set(cores))
        os.sched_setaffinity(0, set(cores[1:] or cores))  # with all that is started from here, but the servers
        url = stack.enter_context(running_server(options.server))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with FeatureStore(folder / "store", online=url) as store:
            fill(store, ENTITIES)
        write_file(folder / "history.parquet", ENTITIES)
        makers: dict[str, Callable[[], Any]] = {OURS: lambda: ours(folder / "store", url, cores[0])}
        if FEAST.exists():
            makers[NAME] = lambda: feasts(folder / "history.parquet", url, cores[0])
        servers = {name: stack.enter_context(made()) for name, made in makers.items()}
        table = compare(servers, options.seconds, options.turns)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
