"""Writers in any number and order: the end state is the rule's, on every back-end."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.testing.oracle import bits, oracle_winners
from fs_core.testing.processes import FRESH

ENTITIES = 1_000
PROCESSES, THREADS, PUSHES = 4, 2, 2
NOW = datetime.now(UTC).replace(microsecond=0)

VIEW = FeatureView(
    "seen",
    entity=Entity("thing", keys={"thing": "int64"}, description="A thing."),
    fields=[Field("writer", "int32", "Who wrote."), Field("text", "string", "What, so that rows differ in length.")],
    description="Who saw it last.",
    ttl="30d",
)


def pushed(writer: int, seed: int) -> dict[str, Any]:
    """Rows of half of the things in random order, at random moments of which many coincide."""
    chance = random.Random(seed)  # no secret
    things = chance.sample(range(ENTITIES), ENTITIES // 2)
    moments = [NOW - timedelta(seconds=chance.randrange(20)) for _ in things]
    return {
        "thing": things,
        "event_timestamp": moments,
        "writer": [writer] * len(things),
        "text": [f"{seed} " * chance.randrange(4) for _ in things],
    }


def write(store: FeatureStore, process: int) -> None:
    """Push from the threads of one process, each store call racing all others."""

    def push(thread: int) -> None:
        writer = process * THREADS + thread
        for number in range(PUSHES):
            store.push(VIEW, pushed(writer, seed=writer * PUSHES + number))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(push, range(THREADS)))


def test_eight_writers_end_in_the_rules_state(online_url: str, tmp_path: Path) -> None:
    """However eight writers interleave, what is served of each entity is the oracle's winner, bit for bit."""
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        store.apply(VIEW)
        with ProcessPoolExecutor(PROCESSES, mp_context=FRESH) as pool:
            for done in [pool.submit(write, store, process) for process in range(PROCESSES)]:
                done.result()
        history = store.history(VIEW).to_pylist()
        assert len(history) == PROCESSES * THREADS * PUSHES * ENTITIES // 2
        vectors = store.get_online_features(VIEW, {"thing": list(range(ENTITIES))})
        winners = {row["thing"]: row for row in oracle_winners(VIEW, history, vectors.at)}
        expected = [{name: winners[thing][name] for name in VIEW.features} for thing in range(ENTITIES)]
        assert bits(vectors.table.to_pylist()) == bits(expected)
        assert store.verify_online(VIEW).total == 0
        store.online.drop(VIEW.storage_name)
