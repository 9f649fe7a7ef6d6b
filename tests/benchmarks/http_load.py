"""The feature server under load, beside Feast's own: the same Redis, the same numbers, the same bytes sent.

Clients of one process send the same JSON (in Feast's shape) over connections that they keep, each the next request
when it has its answer; once with one connection for latency, once with several for throughput. Each server has one
worker, on a core of its own where the machine has two. Their answers are compared before they are timed, in turns.
On a busy machine look at the processor time that a request takes of the server: the rest measures the neighbours.
Where Feast isn't installed (`make bench` does that), ours runs alone. Run `make loadtest`, or
`python -m tests.benchmarks.http_load`.
"""

from __future__ import annotations

import argparse
import asyncio
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
from tests.benchmarks.online.views import FEATURES, VIEWS, fill, values, write_file
from tests.servers import available_servers, free_port, running_server

ENTITIES = 20_000
OURS = "fs serve"
_VIEW = {OURS: VIEWS[0], NAME: "numbers"}
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
    """Return a request for ten numbers of some users."""
    features = [f"{_VIEW[server]}:{name}" for name in FEATURES]
    return json.dumps({"features": features, "entities": {"user": users}}).encode()


async def connection(port: int, body: bytes, until: float, seen: list[float]) -> None:
    """Send the same request again and again over one connection, and note how long each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /get-online-features HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    while (start := time.perf_counter()) < until:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        seen.append(time.perf_counter() - start)
    writer.close()
    await writer.wait_closed()


async def run(server: Server, body: bytes, connections: int, seconds: float) -> Seen:
    """Put one load on a server."""
    seen: list[float] = []
    start, busy = time.perf_counter(), server.busy()
    await asyncio.gather(*(connection(server.port, body, start + seconds, seen) for _ in range(connections)))
    return Seen(np.array(seen), time.perf_counter() - start, server.busy() - busy)


@dataclass(frozen=True)
class Server:
    """A server that runs, perhaps in several processes."""

    port: int
    pid: int

    def busy(self) -> float:
        """Return the processor seconds that its processes have taken."""
        return _busy(self.pid)


def _busy(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(_busy(int(child)) for child in children)


@contextmanager
def started(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Server]:
    """Run a server on the first core until the context ends."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
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


def ours(directory: Path, url: str) -> Any:
    """Run our server."""
    port = free_port()
    command = [sys.executable, "-m", "fs_core.cli", "--store", str(directory), "serve", "--port", str(port)]
    return started([*command, "--no-access-log"], port, {"FS_ONLINE": url})


def feasts(history: Path, url: str) -> Any:
    """Run Feast's server, on another database of the same Redis."""
    port, script = free_port(), Path(__file__).parent / "feast" / "server.py"
    command = [str(FEAST.absolute()), "-W", "ignore", str(script), str(history), f"{urlsplit(url).netloc},db=1"]
    return started([*command, str(port)], port, {})


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
    """Return a table of both servers' rates and latencies, for one user and for a hundred."""
    names = (
        "users",
        "connections",
        "server",
        "req/s",
        "p50, ms",
        "p99, ms",
        "CPU, ms",
        "rate x Feast",
        "p99 x Feast",
        "CPU x Feast",
    )
    table = Table(*names, title="Features over HTTP, 10 float64", title_justify="left")
    for users in (1, 100):
        asked = np.random.default_rng(7).choice(ENTITIES, users, replace=False).tolist()
        check(servers, asked)
        for connections in (1, 8):
            parts: dict[str, list[Seen]] = {server: [] for server in servers}
            for turn in range(turns + 1):
                for server, running in servers.items():
                    part = asyncio.run(run(running, body_of(server, asked), connections, seconds / turns))
                    parts[server] += [part] if turn else []
            seen = {server: Seen.of(found) for server, found in parts.items()}
            for server, one in seen.items():
                cost = 1e3 * one.busy / len(one.latencies)
                numbers = (f"{one.rate:,.0f}", f"{one.quantile(50):.2f}", f"{one.quantile(99):.2f}", f"{cost:.2f}")
                ratios = _ratios(one, seen[NAME]) if server == OURS and NAME in seen else ()
                table.add_row(str(users), str(connections), server, *numbers, *ratios)
    return table


def _ratios(ours: Seen, theirs: Seen) -> tuple[str, ...]:
    """Return our rate, tail and processor time beside Feast's, and where a bar isn't held."""
    rate, tail = ours.rate / theirs.rate, ours.quantile(99) / theirs.quantile(99)
    cost = (ours.busy / len(ours.latencies)) / (theirs.busy / len(theirs.latencies))
    return _held(rate, rate >= _THROUGHPUT), _held(tail, tail <= _P99), f"{cost:.2f}"


def _held(ratio: float, is_held: bool) -> str:
    return f"{ratio:.2f}{'' if is_held else ' (bar missed)'}"


def main() -> None:
    """Fill both stores, serve both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=available_servers(), default=available_servers()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load on each server")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(running_server(options.server))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with FeatureStore(folder / "store", online=url) as store:
            fill(store, ENTITIES)
        write_file(folder / "history.parquet", ENTITIES)
        makers: dict[str, Callable[[], Any]] = {OURS: lambda: ours(folder / "store", url)}
        if FEAST.exists():
            makers[NAME] = lambda: feasts(folder / "history.parquet", url)
        servers = {name: stack.enter_context(made()) for name, made in makers.items()}
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[1:] or cores))
        table = compare(servers, options.seconds, options.turns)
        os.sched_setaffinity(0, set(cores))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
