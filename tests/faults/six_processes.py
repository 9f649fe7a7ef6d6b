"""Six processes on one store: two write, two compact, one forgets, one materializes and drops; all killed at random.

After each round nothing runs, and what was acknowledged is compared with what is there.

    python -m tests.faults.six_processes --rounds 20 --seconds 60
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from tests.faults.victims import CONTEXT, kill, started

PRELOADED = ["fs_core.store", "fs_core.offline.delta.store", "fs_core.offline.search.index", "fs_core.online.sqlite"]
THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("facts", entity=THING, fields=[Field("x", "int64", "Which fact.")], description="Facts.")
START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS_A_KEY = 3  # appends, then a writer goes on to another thing, and this one may be forgotten
SCALE = 10**6  # facts of a writer


class Journal:
    """Lines that survive whoever wrote them: each begins with a word and goes on with a number.

    Args:
        path: one file for all processes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, word: str, number: int) -> None:
        """Add a line, whole or not at all."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{word} {number}\n".encode())
        finally:
            os.close(file)

    def numbers(self, word: str) -> list[int]:
        """Return the numbers that were printed after a word, in order."""
        if not self._path.exists():
            return []
        lines = (line.split() for line in self._path.read_text().splitlines())
        return [int(number) for first, number in lines if first == word]


def write(store: FeatureStore, journal: Journal, me: int) -> Iterator[None]:
    """Write or push fact after fact, each with a number of its own; things change every few facts."""
    mine = [fact for fact in journal.numbers("begun") if fact // SCALE == me]
    for fact in range(max(mine, default=me * SCALE - 1) + 1, (me + 1) * SCALE):
        journal.say("begun", fact)
        moment = START + timedelta(hours=fact % 5000)
        row = {"k": [thing_of(fact)], "event_timestamp": [moment], "x": [fact]}
        (store.push if me == 1 else store.write)(VIEW, row)
        journal.say("written", fact)
        yield


def thing_of(fact: int) -> int:
    """Return which thing a fact is about."""
    return fact // ROWS_A_KEY


def compact(store: FeatureStore, journal: Journal, me: int) -> Iterator[None]:
    """Compact again and again."""
    while True:
        store.compact()
        time.sleep(0.05)
        yield


def forget(store: FeatureStore, journal: Journal, me: int) -> Iterator[None]:
    """Forget things of which no more facts come, one after the other."""
    draw = random.Random(time.time_ns())
    while True:
        begun = journal.numbers("begun")
        last = {writer: max((f for f in begun if f // SCALE == writer), default=0) for writer in (0, 1)}
        known = {thing_of(f) for f in begun if thing_of(f) != thing_of(last[f // SCALE])}
        left = sorted(known.difference(journal.numbers("forgotten")))
        if left:
            thing = draw.choice(left)
            journal.say("forgetting", thing)
            with contextlib.suppress(OnlineStoreError):  # which asks to repeat it
                store.forget("thing", {"k": [thing]})
                journal.say("forgotten", thing)
        else:
            time.sleep(0.1)
        yield


def materialize(store: FeatureStore, journal: Journal, me: int) -> Iterator[None]:
    """Materialize, and drop what is online now and then."""
    draw = random.Random(time.time_ns())
    while True:
        with contextlib.suppress(OnlineStoreError):  # entities were forgotten meanwhile: it asks to repeat it
            store.materialize()
        if draw.random() < 0.2:
            store.drop_online(VIEW)
        yield


ROLES: Sequence[tuple[str, Callable[[FeatureStore, Journal, int], Iterator[None]]]] = [
    ("write", write),
    ("push", write),
    ("compact", compact),
    ("compact too", compact),
    ("forget", forget),
    ("materialize", materialize),
]


def work(directory: Path, me: int) -> None:
    """Do one role's work until killed; write down what went wrong."""
    journal = Journal(directory / "journal")
    logging.getLogger("fs_core").setLevel(logging.ERROR)
    try:
        with FeatureStore(directory / "store") as store:
            for done, _ in enumerate(ROLES[me][1](store, journal, me)):
                if done % 10 == 0:
                    journal.say("done", me)
    except BaseException:
        (directory / f"error-{me}-{time.time_ns()}").write_text(f"{ROLES[me][0]}: {traceback.format_exc()}")
        raise


def play(directory: Path, seconds: float, draw: random.Random) -> int:
    """Let all work for a while, kill one at random again and again, then all; return how many were killed."""
    running = {me: started(work, directory, me) for me in range(len(ROLES))}
    kills, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(draw.uniform(0.2, 2.5))
        me = draw.randrange(len(ROLES))
        kill(running[me])
        kills += 1
        running[me] = started(work, directory, me)
    for process in running.values():
        kill(process)
    return kills


def check(directory: Path) -> str:
    """Compare what is there with what was acknowledged, now that nothing runs; return a line about it.

    Raises:
        AssertionError: something is lost, doubled, left behind, or can't be forgotten.
    """
    for error in sorted(directory.glob("error-*")):
        raise AssertionError(error.read_text())
    journal = Journal(directory / "journal")
    with FeatureStore(directory / "store") as store:
        report = store.verify_history()
        assert report.clean, str(report)
        there = Counter(store.history(VIEW)["x"].to_pylist())
        assert not [fact for fact, count in there.items() if count > 1], "doubled"
        begun, written = set(journal.numbers("begun")), set(journal.numbers("written"))
        forgetting, forgotten = set(journal.numbers("forgetting")), set(journal.numbers("forgotten"))
        assert set(there) <= begun, "rows that nobody wrote"
        lost = [fact for fact in written.difference(there) if thing_of(fact) not in forgetting]
        assert not lost, f"lost: {lost[:10]}"
        left = [fact for fact in there if thing_of(fact) in forgotten]
        assert not left, f"forgotten, and there: {left[:10]}"
        if forgetting:
            store.forget("thing", {"k": sorted(forgetting)})
        assert not [x for x in store.history(VIEW)["x"].to_pylist() if thing_of(x) in forgetting], "can't be forgotten"
        store.compact()
        store.materialize()
        online = store.verify_online(VIEW)
        assert online.total == 0, f"online: {online.differences} {online.evidence.to_pylist()[:3]}"
        assert store.verify_history().clean
    done = Counter(ROLES[me][0] for me in journal.numbers("done"))
    return f"{len(written)} facts acknowledged, {len(forgotten)} things forgotten, tens of deeds: {dict(done)}"


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Play rounds in one store, and check after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("FS_ROUNDS", "20")))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FS_SECONDS", "60")))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    draw = random.Random(asked.seed)
    CONTEXT.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with FeatureStore(directory / "store") as store:
            store.apply(VIEW)
        for number in range(asked.rounds):
            kills = play(directory, asked.seconds, draw)
            print(f"round {number + 1}: {kills} killed; {check(directory)}", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
