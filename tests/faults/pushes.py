"""Processes whose threads push and processes that read, all killed at random: no push is lost, none is there twice.

python -m tests.faults.pushes --kills 50
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from tests.faults.six_processes import PRELOADED, Journal
from tests.faults.victims import CONTEXT, kill, started

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("facts", entity=THING, fields=[Field("x", "int64", "Which fact.")], description="Facts.")
START = datetime(2024, 1, 1, tzinfo=UTC)
THREADS, THINGS = 4, 50
PUSHERS, READERS = 2, 2


def push(directory: Path) -> None:
    """Push facts from several threads until killed; write down each before it begins and once it is answered."""
    journal, numbers = Journal(directory / "journal"), itertools.count(time.time_ns() // 1000 * 1000)
    with FeatureStore(directory / "store") as store:

        def work() -> None:
            for fact in numbers:
                journal.say("begun", fact)
                store.push(VIEW, {"k": [fact % THINGS], "event_timestamp": [START], "x": [fact]})
                journal.say("answered", fact)

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def read(directory: Path) -> None:
    """Read history until killed: what was answered before is there. Now and then compact, or materialize."""
    journal = Journal(directory / "journal")
    with FeatureStore(directory / "store") as store:
        for turn in itertools.count():
            answered = journal.numbers("answered")
            missing = set(answered).difference(store.history(VIEW)["x"].to_pylist())
            if missing:
                journal.say("missing", min(missing))
            if turn % 5 == 0:
                store.compact()
            with contextlib.suppress(OnlineStoreError):
                store.materialize()


def play(directory: Path, kills: int, draw: random.Random) -> None:
    """Let all work and kill one after the other at random moments, then all."""
    roles = [push] * PUSHERS + [read] * READERS
    running = [started(role, directory) for role in roles]
    while not Journal(directory / "journal").numbers("answered"):
        time.sleep(0.05)
    for _ in range(kills):
        time.sleep(draw.uniform(0.1, 1.5))
        number = draw.randrange(len(roles))
        kill(running[number])
        running[number] = started(roles[number], directory)
    for process in running:
        kill(process)


def check(directory: Path) -> str:
    """Compare what is there with what was answered; return a line about it.

    Raises:
        AssertionError: a fact is lost, doubled, was never pushed, or was missing when somebody looked.
    """
    journal = Journal(directory / "journal")
    begun, answered = journal.numbers("begun"), journal.numbers("answered")
    assert not journal.numbers("missing"), "not there when it was read"
    with FeatureStore(directory / "store") as store:
        there = store.history(VIEW)["x"].to_pylist()
        assert len(there) == len(set(there)), "doubled"
        assert set(answered) <= set(there), "lost"
        assert set(there) <= set(begun), "rows that nobody pushed"
        assert store.verify_history().clean
        store.materialize()
        assert store.verify_online(VIEW).total == 0
    return (
        f"{len(answered)} pushes answered, {len(begun) - len(answered)} cut off, {len(there) - len(answered)} of them"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    CONTEXT.set_forkserver_preload(
        [*PRELOADED, "fs_core.offline.validation.rows", "fs_core.materialization.materialize"]
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with FeatureStore(directory / "store") as store:
            store.apply(VIEW)
        play(directory, asked.kills, random.Random(asked.seed))
        print(f"{asked.kills} killed; {check(directory)} are there", flush=True)


if __name__ == "__main__":
    main()
