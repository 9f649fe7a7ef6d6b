"""Processes that push to one hot entity, rewrite its values, and read it, killed at random: each push counts, once.

python -m tests.faults.hot_windows --kills 50 --online "Valkey 9.1"
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from fs_core.materialization import event_values, events
from fs_core.windows.packed import head
from tests.faults.six_processes import PRELOADED, Journal
from tests.faults.victims import CONTEXT, kill, started
from tests.servers import SERVERS, running_server

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
FIELDS = [Field("x", "int64", "Which fact.")]
VIEW = FeatureView(
    "facts",
    entity=THING,
    fields=FIELDS,
    description="Facts.",
    aggregations=[
        Aggregation("count", windows=["1s", "1d"]),
        Aggregation("sum", "x", windows=["2s", "1d"]),
        Aggregation("max", "x", windows=["1d"]),
    ],
)
PUSHERS, READERS = 3, 1


def _open(directory: Path, online: str) -> FeatureStore:
    """Open the store; values are rewritten all the time, and heads end soon."""
    event_values.HOT, event_values._SHORTER, event_values.GRACE_MICROS = 8, 0, 300_000
    events._SMALL, events._EAGER = 0, 20
    head.MOST_ENDS = 20
    return FeatureStore(directory / "store", online=online)


def push(directory: Path, online: str) -> None:
    """Push facts until killed; write down each before it begins and once it is answered."""
    journal = Journal(directory / "journal")
    with _open(directory, online) as store:
        for fact in itertools.count(time.time_ns() // 1000):
            journal.say("begun", fact)
            store.push(VIEW, {"k": [1], "event_timestamp": [datetime.now(UTC)], "x": [fact]})
            journal.say("answered", fact)


def read(directory: Path, online: str) -> None:
    """Read until killed: what was answered before counts, and nothing twice. Now and then materialize, or collect."""
    journal = Journal(directory / "journal")
    with _open(directory, online) as store:
        for turn in itertools.count():
            answered = len(journal.numbers("answered"))
            found = store.get_online_features(VIEW, {"k": [1]}).table["count_1d"].to_pylist()[0]
            if not answered <= found <= len(journal.numbers("begun")):
                journal.say("wrong", found - answered)
            with contextlib.suppress(OnlineStoreError):
                if turn % 7 == 0:
                    store.materialize()
                elif turn % 7 == 3:
                    events.collect(VIEW, store.online, time.time_ns() // 1000)


def play(directory: Path, online: str, kills: int, draw: random.Random) -> None:
    """Let all work and kill one after the other at random moments, then all."""
    roles = [push] * PUSHERS + [read] * READERS
    running = [started(role, directory, online) for role in roles]
    while not Journal(directory / "journal").numbers("answered"):
        time.sleep(0.05)
    for _ in range(kills):
        time.sleep(draw.uniform(0.1, 1.5))
        number = draw.randrange(len(roles))
        kill(running[number])
        running[number] = started(roles[number], directory, online)
    for process in running:
        kill(process)


def check(directory: Path, online: str) -> str:
    """Compare what is served with what was pushed, and with history; return a line about it.

    Raises:
        AssertionError: a read was wrong, then or now, or a value differs from history.
    """
    journal = Journal(directory / "journal")
    assert not journal.numbers("wrong"), f"reads were wrong by {journal.numbers('wrong')}"
    with _open(directory, online) as store:
        answered = len(journal.numbers("answered"))
        served = store.get_online_features(VIEW, {"k": [1]}).table["count_1d"].to_pylist()[0]
        assert answered <= served <= len(journal.numbers("begun"))
        store.materialize()
        found = store.get_online_features(VIEW, {"k": [1]})
        said = store.get_historical_features([{"k": 1, "event_timestamp": found.at}], VIEW.name).table
        names = list(VIEW.features)
        assert found.table.select(names).to_pylist() == said.select(names).to_pylist()
        assert store.verify_online(VIEW).total == 0
    return f"{answered} pushes answered, {served} served"


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--online", default="sqlite", choices=["sqlite", *SERVERS])
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    CONTEXT.set_forkserver_preload([*PRELOADED, "fs_core.materialization.materialize"])
    serving = contextlib.nullcontext("sqlite") if asked.online == "sqlite" else running_server(asked.online)
    with tempfile.TemporaryDirectory() as name, serving as online:
        directory = Path(name)
        with _open(directory, online) as store:
            store.apply(VIEW)
        play(directory, online, asked.kills, random.Random(asked.seed))
        print(f"{asked.kills} killed; {check(directory, online)}", flush=True)


if __name__ == "__main__":
    main()
