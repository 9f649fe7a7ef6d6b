"""Serving under load: processes and threads that ask a real server for features at moments of their own choosing.

Requests arrive at random at a fixed rate, whether or not the ones before are answered (an open loop), and
a request's latency counts from its arrival: waiting for a thread is part of it. Keys are drawn uniformly,
and by Zipf's law over all entities, never from a few hot ones. A run at full speed finds the rate that the
machine sustains; the others ask for fractions of it. A request that isn't answered within the store's deadline
has failed; it is counted, and so is the time until it gave up.

Run `make loadtest`, or `python -m tests.benchmarks.loadtest`. Everything stays on the loopback device.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineUnavailableError
from tests.servers import available_servers, running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
_QUANTILES = (50, 99, 99.9)
_WARM_UP = 0.5  # seconds at the beginning of a run that don't count

Numbers = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator], Numbers]


@dataclass(frozen=True)
class Load:
    """What is asked of the workers together.

    Attributes:
        keys: `uniform` or `zipf`.
        rate: requests a second; None for as many as go, one after the other.
        seconds: how long requests arrive.
        batch: entities of a request.
        entities: how many there are.
        skew: the exponent of Zipf's law.
    """

    keys: str
    rate: float | None
    seconds: float
    batch: int
    entities: int
    skew: float


@dataclass(frozen=True)
class Crew:
    """Who asks: `processes` with `threads` each, which open the store in `directory` on the server at `url`."""

    processes: int
    threads: int
    directory: str
    url: str

    @property
    def size(self) -> int:
        """How many threads there are in all."""
        return self.processes * self.threads


@dataclass(frozen=True)
class Seen:
    """What came of the requests of one run.

    Attributes:
        load: what was asked.
        latencies: seconds from arrival to answer or failure, of each request after the warm-up.
        failed: how many of them failed.
        rate: requests answered a second, until the last one was.
    """

    load: Load
    latencies: Numbers
    failed: int
    rate: float

    @classmethod
    def of(cls, load: Load, requests: Numbers) -> Seen:
        """Sum up requests: arrival, latency and whether it failed."""
        arrival, latency, failed = requests[requests[:, 0] >= _WARM_UP].T
        seconds = max(load.seconds, (arrival + latency).max()) - _WARM_UP
        return cls(load, latency, int(failed.sum()), (len(failed) - failed.sum()) / seconds)


def fill(store: FeatureStore, entities: int) -> float:
    """Write a row for each user and bring it online; return seconds of the materialization."""
    store.apply(VIEW)
    rng, now = np.random.default_rng(7), pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
    for start in range(0, entities, 250_000):
        users = np.arange(start, min(start + 250_000, entities))
        values = {name: rng.normal(size=len(users)) for name in VIEW.features}
        store.write(VIEW, {"user": users, "event_timestamp": pa.repeat(now, len(users)), **values})
    return store.materialize(VIEW)[0].seconds


def drawing(load: Load) -> Draw:
    """Return what draws the users of one request."""
    if load.keys == "uniform":
        return lambda rng: rng.integers(0, load.entities, load.batch)
    ranks = np.arange(1, load.entities + 1, dtype=np.float64) ** -load.skew
    edges = np.cumsum(ranks / ranks.sum())
    users = np.random.default_rng(7).permutation(load.entities)  # popular users lie anywhere
    return lambda rng: users[np.minimum(np.searchsorted(edges, rng.random(load.batch)), load.entities - 1)]


def work(crew: Crew, load: Load, number: int, start: float) -> list[Numbers]:
    """Ask from the threads of one process; return each thread's requests, as `_ask` does."""
    draw = drawing(load)
    with FeatureStore(crew.directory, online=crew.url) as store:
        store.get_online_features(VIEW, {"user": [0]}, deadline="5s")  # connects

        def ask(thread: int) -> Numbers:
            return _ask(store, load, draw, np.random.default_rng([number, thread]), start, crew.size)

        with ThreadPoolExecutor(crew.threads) as threads:
            return list(threads.map(ask, range(crew.threads)))


def _ask(store: FeatureStore, load: Load, draw: Draw, rng: np.random.Generator, start: float, crew: int) -> Numbers:
    """Make one thread's requests; return for each arrival since `start` and latency, seconds, and whether it failed.

    Between arrivals lie exponential gaps, so together they arrive at random.
    """
    arrival, seen = start, []
    while True:
        arrival = max(start, time.time()) if load.rate is None else arrival + rng.exponential(crew / load.rate)
        if arrival > start + load.seconds:
            return np.array(seen, np.float64).reshape(-1, 3)
        users, failed = draw(rng), False
        time.sleep(max(0.0, arrival - time.time()))
        try:
            store.get_online_features(VIEW, {"user": users}).to_arrow()
        except OnlineUnavailableError:
            failed = True
        seen.append((arrival - start, time.time() - arrival, failed))


def run(crew: Crew, load: Load, pool: Any) -> Seen:
    """Put one load on the server."""
    start = time.time() + 2.0  # by then every process has opened the store
    jobs = [pool.apply_async(work, (crew, load, number, start)) for number in range(crew.processes)]
    return Seen.of(load, np.concatenate([part for job in jobs for part in job.get(timeout=load.seconds + 60)]))


def report(results: dict[str, Seen], title: str) -> None:
    """Print a line for each run."""
    columns = ("asked, req/s", "answered, req/s", "entities/s", *(f"p{q}, ms" for q in _QUANTILES), "failed")
    table = Table("", *columns, title=title, title_justify="left")
    for name, seen in results.items():
        quantiles = (f"{1e3 * q:.2f}" for q in np.percentile(seen.latencies, _QUANTILES))
        asked = "as many as go" if seen.load.rate is None else f"{seen.load.rate:,.0f}"
        failed = f"{seen.failed / len(seen.latencies):.2%}"
        table.add_row(name, asked, f"{seen.rate:,.0f}", f"{seen.rate * seen.load.batch:,.0f}", *quantiles, failed)
    Console(width=120).print(table)


def draw_picture(results: dict[str, Seen], title: str, path: Path) -> None:
    """Draw each run's latency against the share of requests that were slower: a colour a rate, dashes for Zipf."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    figure, axes = plt.subplots(figsize=(8, 5))
    rates = list(dict.fromkeys(name.partition(", ")[2] for name in results))
    for name, seen in results.items():
        ordered, shares = np.sort(seen.latencies), 1 - np.arange(len(seen.latencies)) / len(seen.latencies)
        colour, style = f"C{rates.index(name.partition(', ')[2])}", "--" if seen.load.keys == "zipf" else "-"
        axes.plot(shares, ordered * 1e3, style, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="share of requests that took longer", ylabel="latency, ms", title=title)
    shares = {1.0: "all", 0.5: "50 %\np50", 0.1: "10 %\np90", 0.01: "1 %\np99", 1e-3: "0.1 %\np99.9"}
    axes.set_xticks(list(shares), list(shares.values()))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.invert_xaxis()
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(title="keys, rate")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def memory(url: str) -> int:
    """Return the bytes that a server has in use."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=available_servers(), default=available_servers()[0])
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=20, help="entities of a request")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.3, 0.6], help="of the rate that is sustained")
    parser.add_argument("--skew", type=float, default=1.1, help="the exponent of Zipf's law")
    parser.add_argument("--price", type=float, default=5.0, help="of a GiB of server memory a month, in any currency")
    parser.add_argument("--picture", type=Path, default=Path(".out/loadtest.png"))
    return parser.parse_args()


def main() -> None:
    """Fill a server, find what it sustains, ask for less, print and draw."""
    args = arguments()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, running_server(args.server) as url:
        crew = Crew(args.processes, args.threads, folder, url)
        empty = memory(url)
        with FeatureStore(folder, online=url) as store:
            seconds = fill(store, args.entities)
        entity = (memory(url) - empty) / args.entities
        results: dict[str, Seen] = {}
        with spawn.Pool(args.processes) as pool:
            for keys in ("uniform", "zipf"):
                full = Load(keys, None, args.seconds, args.batch, args.entities, args.skew)
                seen = results[f"{keys}, full speed"] = run(crew, full, pool)
                for fraction in args.fractions:
                    load = replace(full, rate=fraction * seen.rate)
                    results[f"{keys}, {fraction:.0%}"] = run(crew, load, pool)
    asking = f"{args.processes} processes x {args.threads} threads"
    title = f"{args.server}: {args.entities:,} entities, 10 float64, {args.batch} a request, {asking}"
    report(results, title)
    print(f"Materialized at {args.entities / seconds:,.0f} rows/s.")
    cost = entity * 1e6 / 2**30 * args.price
    print(f"{entity:.0f} bytes of server memory an entity: a million cost {cost:.2f} a month at {args.price:g} a GiB.")
    draw_picture(results, title, args.picture)
    print(f"Picture: {args.picture}")


if __name__ == "__main__":
    main()
