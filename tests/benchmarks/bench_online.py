"""Online reads beside the floor: one raw command and one NumPy view. Run `python -m tests.benchmarks.bench_online`.

Every way is checked to give the same numbers before it is timed. What is printed as a multiple is the
median of one way over the median of another in the same run; on a busy machine look at multiples alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
from tests.benchmarks.timing import Timing, race
from tests.servers import available_servers, running_server

FEATURES = [f"f{i}" for i in range(10)]
VIEWS = [f"numbers{i}" for i in range(5)]
SIZES = (1, 100, 1_000)

Way = Callable[[], Any]
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def values(view: str, entities: int) -> Numbers:
    """Return what a view holds: ten numbers for each user."""
    return np.random.default_rng(VIEWS.index(view)).normal(size=(entities, len(FEATURES)))


def fill(store: FeatureStore, entities: int, views: Sequence[str] = ("numbers0",)) -> None:
    """Declare views of ten numbers, write a row for each user, bring them online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field(name, "float64", "A number.") for name in FEATURES]
    now = pa.array([datetime.now(UTC)] * entities, pa.timestamp("us", tz="UTC"))
    for view in views:
        store.apply(FeatureView(view, entity=user, fields=fields, description="Numbers of a user."))
        columns = dict(zip(FEATURES, values(view, entities).T.copy(), strict=True))
        store.write(view, {"user": np.arange(entities), "event_timestamp": now, **columns})
    store.materialize()


class Floor:
    """The same numbers by hand: a key for each user and view, raw bytes, no checks, names made beforehand."""

    def __init__(self, url: str, entities: int) -> None:
        self._client = redis.Redis.from_url(url)
        for view in VIEWS:
            held = values(view, entities)
            self._client.mset({self._name(view, user): held[user].tobytes() for user in range(entities)})

    def get(self, view: str, user: int) -> Way:
        """Return one raw GET and its numbers."""
        name = self._name(view, user)
        return lambda: np.frombuffer(self._client.get(name), dtype=np.float64).reshape(1, -1)  # type: ignore[arg-type]

    def mget(self, view: str, users: Sequence[int]) -> Way:
        """Return one raw MGET and its numbers."""
        names = [self._name(view, user) for user in users]
        return lambda: np.frombuffer(b"".join(self._client.mget(names)), dtype=np.float64).reshape(-1, 10)  # type: ignore[arg-type]

    def several(self, views: Sequence[str], users: Sequence[int]) -> Way:
        """Return one raw MGET after the other, one for each view."""
        ways = [self.mget(view, users) for view in views]
        return lambda: np.concatenate([way() for way in ways], axis=1)

    @staticmethod
    def _name(view: str, user: int) -> bytes:
        return b"raw:%b:%d" % (view.encode(), user)


def as_numbers(result: Any) -> Numbers:
    """Return any way's result as the same matrix."""
    if isinstance(result, pa.Table):
        return np.stack([result[name].to_numpy() for name in result.column_names if name != "user"], axis=1)
    if isinstance(result, list):
        return np.array([[value for name, value in row.items() if name != "user"] for row in result])
    return np.asarray(result)


def check(ways: dict[str, Way], expected: Numbers) -> None:
    """Refuse to time ways that don't give the same numbers, bit for bit."""
    for name, way in ways.items():
        assert np.array_equal(as_numbers(way()), expected), name


class Board:
    """The table of one server's results."""

    def __init__(self, title: str) -> None:
        columns = ("read", "way", "p50", "p99", "beside", "multiple", "bar")
        self._table = Table(*columns, title=title, title_justify="left")

    def add(self, read: str, timings: Sequence[Timing], beside: str, bars: dict[str, float]) -> None:
        """Add each way of a read, as a multiple of the way it is measured beside."""
        medians = {timing.name: timing.median for timing in timings}
        for timing in timings:
            base = "to_arrow" if timing.name == "to_dicts" and "to_arrow" in medians else beside
            multiple = f"{timing.median / medians[base]:.2f}" if base in medians and base != timing.name else ""
            p99 = statistics.quantiles(timing.seconds, n=100)[98]
            bar = f"<= {bars[timing.name]:g}" if timing.name in bars else ""
            shown = (f"{timing.median * 1e6:,.0f} us", f"{p99 * 1e6:,.0f} us")
            self._table.add_row(read, timing.name, *shown, base if multiple else "", multiple, bar)
        self._table.add_section()

    def show(self) -> None:
        """Print it."""
        Console(width=120).print(self._table)


def compare(name: str, store: FeatureStore, floor: Floor | None, entities: int, runs: int) -> None:
    """Print one server's table: each number of entities, then five views at once."""
    rng, board = np.random.default_rng(7), Board(f"Online read, {name}, 10 float64 a view")
    for size in SIZES:
        users = rng.choice(entities, size, replace=False)
        ways = ours(store, "numbers0", users)
        if floor:
            ways["raw"] = floor.get("numbers0", users[0]) if size == 1 else floor.mget("numbers0", users.tolist())
        check(ways, values("numbers0", entities)[users])
        bar = 2.0 if size == 1 else 1.5
        board.add(
            f"{size:,} of 1 view", race(ways, runs=runs), "raw", {"to_arrow": bar, "to_numpy": bar, "to_dicts": 3.0}
        )
    users = rng.choice(entities, 100, replace=False)
    ways = ours(store, VIEWS, users, full_names=True)
    if floor:
        ways["raw, one by one"] = floor.several(VIEWS, users.tolist())
    check(ways, np.concatenate([values(view, entities)[users] for view in VIEWS], axis=1))
    board.add("100 of 5 views", race(ways, runs=runs), "raw, one by one", {"to_arrow": 1.5, "to_numpy": 1.5})
    board.show()


def ours(store: FeatureStore, features: Any, users: Numbers, **options: Any) -> dict[str, Way]:
    """Return our ways of reading some users."""
    request = {"user": pa.array(users)}
    return {
        "to_arrow": lambda: store.get_online_features(features, request, **options).to_arrow(),
        "to_numpy": lambda: store.get_online_features(features, request, **options).to_numpy(),
        "to_dicts": lambda: store.get_online_features(features, request, **options).to_dicts(),
    }


def memory(server: str, folder: Path, entities: int) -> str:
    """Return how much of an empty server's memory an entity of one view takes."""
    with running_server(server) as url, redis.Redis.from_url(url) as client:
        with FeatureStore(folder, online=url) as store:
            store.apply(Entity("user", keys={"user": "int64"}, description="A user."))
            before = int(client.info("memory")["used_memory"])
            fill(store, entities)
        row = next(name for name in client.scan_iter() if b"{" in name)
        each = (int(client.info("memory")["used_memory"]) - before) / entities
        alone = client.memory_usage(row)
    return f"{server}: {each:.0f} bytes of memory an entity, key table included; {alone} by MEMORY USAGE (bar: 176)"


def main() -> None:
    """Race our reads against the floor on SQLite and on every server there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=300)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        urls: dict[str, str | None] = {"SQLite": None}
        urls |= {name: servers.enter_context(running_server(name)) for name in available_servers()}
        for name, url in urls.items():
            with FeatureStore(Path(folder, name.replace(" ", "")), online=url, deadline="5s") as store:
                fill(store, args.entities, VIEWS)
                compare(name, store, Floor(url, args.entities) if url else None, args.entities, args.runs)
            if url:
                Console().print(memory(name, Path(folder, f"{name} memory"), args.entities))


if __name__ == "__main__":
    main()
