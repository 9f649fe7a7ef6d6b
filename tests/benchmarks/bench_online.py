"""Online reads beside the floor: a raw MGET of as many bytes and one NumPy view over them.

Run `make bench`, or `python -m tests.benchmarks.bench_online`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from tests.benchmarks.timing import race, show
from tests.servers import available_servers, running_server

FEATURES = [f"f{i}" for i in range(10)]
SIZES = (1, 100, 1000)


def fill(store: FeatureStore, entities: int) -> None:
    """Declare one view, write a row for each user, bring it online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field(name, "float64", "A number.") for name in FEATURES]
    store.apply(user, FeatureView("numbers", entity=user, fields=fields, description="Numbers of a user."))
    now = pa.array([datetime.now(UTC)] * entities, pa.timestamp("us", tz="UTC"))
    values = {name: np.random.default_rng(7).normal(size=entities) for name in FEATURES}
    store.write("numbers", {"user": np.arange(entities), "event_timestamp": now, **values})
    store.materialize()


def raw_reader(url: str, users: np.ndarray[Any, Any]) -> Callable[[], object]:
    """The floor: ten float64 for each user, one MGET, one NumPy view."""
    client = redis.Redis.from_url(url)
    names = [b"raw:%d" % user for user in users]
    client.mset({name: np.random.default_rng(7).normal(size=10).tobytes() for name in names})
    return lambda: np.frombuffer(b"".join(client.mget(names)), dtype=np.float64).reshape(-1, 10)


def compare(name: str, store: FeatureStore, url: str | None, entities: int, runs: int) -> None:
    """Print one table for each number of entities asked for at once."""
    rng = np.random.default_rng(7)
    for size in SIZES:
        users = rng.choice(entities, size, replace=False)
        request = {"user": pa.array(users)}
        ways: dict[str, Callable[[], object]] = {
            "to_arrow": lambda request=request: store.get_online_features("numbers", request).to_arrow(),
            "to_numpy": lambda request=request: store.get_online_features("numbers", request).to_numpy(),
            "to_dicts": lambda request=request: store.get_online_features("numbers", request).to_dicts(),
        }
        if url:
            ways["raw MGET + frombuffer"] = raw_reader(url, users)
        show(f"Online read, {name}, {size:,} entities, 10 float64", race(ways, runs=runs), rows=size, ours="to_arrow")


def main() -> None:
    """Race our reads against the floor on SQLite and on every server there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        urls: dict[str, str | None] = {"SQLite": None}
        urls |= {name: servers.enter_context(running_server(name)) for name in available_servers()}
        for name, url in urls.items():
            store = FeatureStore(Path(folder, name.replace(" ", "")), online=url)
            fill(store, args.entities)
            compare(name, store, url, args.entities, args.runs)


if __name__ == "__main__":
    main()
