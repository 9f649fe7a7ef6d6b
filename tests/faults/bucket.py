"""History on S3: four processes append, two read and one compacts, all of them killed at random.

Readers look all the time: what was acknowledged before they began is there, and no row twice. In the end nothing runs,
and what was acknowledged is compared with what is there.

    python -m tests.faults.bucket --rounds 10 --seconds 30
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from fs_core import FeatureStore
from fs_core.offline.objects import lease
from tests.faults.six_processes import PRELOADED, SCALE, VIEW, Journal, compact, write
from tests.faults.victims import CONTEXT, kill, started
from tests.servers import running_s3

SECONDS = 2.0  # of a lease, so that a killed process isn't waited for that long


def read(store: FeatureStore, journal: Journal, me: int) -> Iterator[None]:
    """Read all of history again and again."""
    while True:
        written = set(journal.numbers("written"))
        found = store.history(VIEW)["x"].to_pylist()
        assert len(found) == len(set(found)), "a reader saw rows twice"
        assert written <= set(found), f"a reader missed {sorted(written.difference(found))[:10]}"
        yield


ROLES: Sequence[tuple[str, Callable[[FeatureStore, Journal, int], Iterator[None]]]] = [
    *[("append", write)] * 4,
    *[("read", read)] * 2,
    ("compact", compact),
]


def work(directory: Path, offline: str, environment: Mapping[str, str], me: int) -> None:
    """Do one role's work until killed; write down what went wrong."""
    os.environ.update(environment)
    lease.LEASE = SECONDS
    journal = Journal(directory / "journal")
    logging.getLogger("fs_core").setLevel(logging.ERROR)
    try:
        with FeatureStore(directory / "store", offline=offline) as store:
            for _ in ROLES[me][1](store, journal, me):
                journal.say(ROLES[me][0], me)
    except BaseException:
        (directory / f"error-{me}-{time.time_ns()}").write_text(f"{ROLES[me][0]}: {traceback.format_exc()}")
        raise


def play(directory: Path, offline: str, environment: Mapping[str, str], seconds: float, draw: random.Random) -> int:
    """Let all work for a while, kill one at random again and again, then all; return how many were killed.

    Args:
        directory: where the store lies.
        offline: where its history does.
        environment: how that is reached.
        seconds: how long.
        draw: chance.
    """
    running = {me: started(work, directory, offline, environment, me) for me in range(len(ROLES))}
    kills, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(draw.uniform(0.1, 1.5))
        me = draw.randrange(len(ROLES))
        kill(running[me])
        kills += 1
        running[me] = started(work, directory, offline, environment, me)
    for process in running.values():
        kill(process)
    return kills


def check(directory: Path, offline: str) -> str:
    """Compare what is there with what was acknowledged, now that nothing runs; return a line about it.

    Raises:
        AssertionError: something is lost or doubled.
    """
    for error in sorted(directory.glob("error-*")):
        raise AssertionError(error.read_text())
    journal = Journal(directory / "journal")
    with FeatureStore(directory / "store", offline=offline) as store:
        report = store.verify_history()
        assert report.clean, str(report)
        there = Counter(store.history(VIEW)["x"].to_pylist())
        assert not [fact for fact, count in there.items() if count > 1], "doubled"
        begun, written = set(journal.numbers("begun")), set(journal.numbers("written"))
        assert set(there) <= begun, "rows that nobody wrote"
        assert written <= set(there), f"lost: {sorted(written.difference(there))[:10]}"
        store.compact()
        assert Counter(store.history(VIEW)["x"].to_pylist()) == there, "compaction changed history"
        state = store.offline.snapshot(VIEW)
    done = {role: len(journal.numbers(role)) for role, _ in ROLES}
    by_writer = Counter(fact // SCALE for fact in written)
    return f"{len(written)} facts acknowledged {dict(by_writer)}, {state + 1} states, deeds: {done}"


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Play rounds in one history, and check after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("FS_ROUNDS", "10")))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FS_SECONDS", "30")))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    draw = random.Random(asked.seed)
    CONTEXT.set_forkserver_preload(PRELOADED)
    lease.LEASE = SECONDS
    with tempfile.TemporaryDirectory() as name, running_s3() as environment:
        os.environ.update(environment)
        directory, offline = Path(name), f"s3://history/{uuid.uuid4().hex}"
        with FeatureStore(directory / "store", offline=offline) as store:
            store.apply(VIEW)
        for number in range(asked.rounds):
            kills = play(directory, offline, environment, asked.seconds, draw)
            print(f"round {number + 1}: {kills} killed; {check(directory, offline)}", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
