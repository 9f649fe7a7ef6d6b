"""Serving under load: processes and threads that ask a real server for features at moments of their own choosing.

Requests arrive at random at a fixed rate, whether or not the ones before are answered (an open loop), and
a request's latency counts from its arrival: waiting for a thread is part of it. Keys are drawn uniformly,
and by Zipf's law over all entities, never from a few hot ones. A run at full speed finds the rate that the
machine sustains; the others ask for fractions of it.

Run `make loadtest`, or `python -m tests.benchmarks.loadtest`. Everything stays on the loopback device.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
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


def fill(store: FeatureStore, entities: int) -> float:
    """Write a row for each user and bring it online; return seconds of the materialization."""
    store.apply(VIEW)
    rng, now = np.random.default_rng(7), pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
    for start in range(0, entities, 250_000):
        users = np.arange(start, min(start + 250_000, entities))
        values = {name: rng.normal(size=len(users)) for name in VIEW.features}
        store.write(VIEW, {"user": users, "event_timestamp": pa.repeat(now, len(users)), **values})
    return store.materialize(VIEW)[0].seconds


def drawing(load: Load, rng: np.random.Generator) -> Callable[[], Numbers]:
    """Return what draws the users of one request."""
    if load.keys == "uniform":
        return lambda: rng.integers(0, load.entities, load.batch)
    ranks = np.arange(1, load.entities + 1, dtype=np.float64) ** -load.skew
    edges = np.cumsum(ranks / ranks.sum())
    users = np.random.default_rng(7).permutation(load.entities)  # popular users lie anywhere
    return lambda: users[np.minimum(np.searchsorted(edges, rng.random(load.batch)), load.entities - 1)]


def work(crew: Crew, load: Load, number: int, start: float) -> list[Numbers]:
    """Ask from the threads of one process; return arrivals and latencies, seconds since `start` and seconds."""
    with FeatureStore(crew.directory, online=crew.url) as store:
        store.get_online_features(VIEW, {"user": [0]})
        found: list[Numbers] = [np.empty((0, 2))] * crew.threads

        def ask(thread: int) -> None:
            rng = np.random.default_rng([number, thread])
            found[thread] = _ask(store, load, drawing(load, rng), rng, start, crew.size)

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(crew.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def _ask(
    store: FeatureStore, load: Load, draw: Callable[[], Numbers], rng: np.random.Generator, start: float, crew: int
) -> Numbers:
    """Make one thread's requests; between arrivals lie exponential gaps, so together they arrive at random."""
    arrival, seen = start, []
    while True:
        arrival = time.time() if load.rate is None else arrival + rng.exponential(crew / load.rate)
        if arrival > start + load.seconds:
            return np.array(seen).reshape(-1, 2)
        users = draw()
        time.sleep(max(0.0, arrival - time.time(), start - time.time()))
        began = max(arrival, start)
        store.get_online_features(VIEW, {"user": users}).to_arrow()
        seen.append((began - start, time.time() - began))


def run(crew: Crew, load: Load, pool: Any) -> Numbers:
    """Return the latencies of all requests after the warm-up, seconds [n]."""
    start = time.time() + 1.5  # by then every process has opened the store
    jobs = [pool.apply_async(work, (crew, load, number, start)) for number in range(crew.processes)]
    seen = np.concatenate([part for job in jobs for part in job.get(timeout=load.seconds + 60)])
    return seen[seen[:, 0] >= _WARM_UP, 1]


def report(results: dict[str, tuple[Load, Numbers]], title: str) -> None:
    """Print a line for each run."""
    table = Table("", "asked, req/s", "done, req/s", "entities/s", *(f"p{q}, ms" for q in _QUANTILES), title=title)
    for name, (load, latencies) in results.items():
        done = len(latencies) / (load.seconds - _WARM_UP)
        quantiles = (f"{1e3 * q:.2f}" for q in np.percentile(latencies, _QUANTILES))
        asked = "as many as go" if load.rate is None else f"{load.rate:,.0f}"
        table.add_row(name, asked, f"{done:,.0f}", f"{done * load.batch:,.0f}", *quantiles)
    Console(width=120).print(table)


def draw_picture(results: dict[str, tuple[Load, Numbers]], title: str, path: Path) -> None:
    """Draw each run's latency against the share of requests that were slower."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for name, (_, latencies) in results.items():
        ordered = np.sort(latencies)
        axes.plot(1 - np.arange(len(ordered)) / len(ordered), ordered * 1e3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="share of requests that took longer", ylabel="latency, ms", title=title)
    axes.invert_xaxis()
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
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
        results: dict[str, tuple[Load, Numbers]] = {}
        with spawn.Pool(args.processes) as pool:
            for keys in ("uniform", "zipf"):
                full = Load(keys, None, args.seconds, args.batch, args.entities, args.skew)
                latencies = run(crew, full, pool)
                sustained = len(latencies) / (args.seconds - _WARM_UP)
                results[f"{keys}, full speed"] = full, latencies
                for fraction in args.fractions:
                    load = Load(keys, fraction * sustained, args.seconds, args.batch, args.entities, args.skew)
                    results[f"{keys}, {fraction:.0%}"] = load, run(crew, load, pool)
    title = (
        f"{args.server}: {args.entities:,} entities, {args.batch} a request, {args.processes} x {args.threads} threads"
    )
    report(results, title)
    print(f"materialized {args.entities / seconds:,.0f} rows/s")
    cost = entity * 1e6 / 2**30 * args.price
    print(f"{entity:.0f} bytes of server memory an entity: a million cost {cost:.2f} a month at {args.price:g} a GiB")
    draw_picture(results, title, args.picture)
    print(f"picture: {args.picture}")


if __name__ == "__main__":
    main()
