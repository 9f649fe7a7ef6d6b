"""History on S3: four processes append, two read and one compacts, all of them killed at random.

Readers look all the time: what was acknowledged before they began is there, and no row twice. In the end nothing runs,
and what was acknowledged is compared with what is there.

    python -m tests.faults.bucket --rounds 10 --kills 30 --restarts
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
from contextlib import nullcontext, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

from fs_core import FeatureStore
from fs_core.errors import OfflineStoreError
from fs_core.offline.objects import lease
from tests.buckets import running_s3
from tests.faults.six_processes import PRELOADED, VIEW, Journal, compact, write
from tests.faults.victims import CONTEXT, kill, started

PRELOAD = [*PRELOADED, "fs_core.offline.validation.rows", "fs_core.registry", "fs_core.transforms.written"]
PRELOAD += ["obstore.store", "pandas", "tests.buckets", "tests.faults.six_processes"]
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


def work(directory: Path, offline: str, environment: Mapping[str, str], me: int, patient: bool) -> None:
    """Do one role's work until killed; write down what went wrong, unless patient and that is the server's fault."""
    os.environ.update(environment)
    lease.LEASE = SECONDS
    journal = Journal(directory / "journal")
    logging.getLogger("fs_core").setLevel(logging.ERROR)
    try:
        with FeatureStore(directory / "store", offline=offline) as store:
            while True:
                with suppress(OfflineStoreError) if patient else nullcontext():
                    for _ in ROLES[me][1](store, journal, me):
                        journal.say("done", me)
    except BaseException:
        (directory / f"error-{me}-{time.time_ns()}").write_text(f"{ROLES[me][0]}: {traceback.format_exc()}")
        raise


def play(
    directory: Path,
    offline: str,
    environment: Mapping[str, str],
    kills: int,
    draw: random.Random,
    restart: Callable[[], None] | None = None,
) -> None:
    """Let all work, kill one at random again and again, each once it has done something, then all.

    Args:
        directory: where the store lies.
        offline: where its history does.
        environment: how that is reached.
        kills: how many to kill, before all are.
        draw: chance.
        restart: kills the server and starts it again; None where it lives on.
    """
    journal = Journal(directory / "journal")
    running = {me: started(work, directory, offline, environment, me, restart is not None) for me in range(len(ROLES))}
    before = Counter(journal.numbers("done"))
    for _ in range(kills):
        if restart is not None and draw.random() < 1 / len(ROLES):
            restart()
        me = draw.randrange(len(ROLES))
        wait_until(lambda me=me: Counter(journal.numbers("done"))[me] > before[me], running[me])  # type: ignore[misc]
        time.sleep(draw.uniform(0.0, 0.2))  # so that it is killed at any point of what it does next
        kill(running[me])
        before[me] = Counter(journal.numbers("done"))[me]
        running[me] = started(work, directory, offline, environment, me, restart is not None)
    for me, process in running.items():
        wait_until(lambda me=me: Counter(journal.numbers("done"))[me] > before[me], process)  # type: ignore[misc]
    for process in running.values():
        kill(process)


def wait_until(is_so: Callable[[], bool], worker: BaseProcess, seconds: float = 120.0) -> None:
    """Return once something is so, or the process that works towards it has ended."""
    ends = time.monotonic() + seconds
    while not is_so() and worker.is_alive():
        assert time.monotonic() < ends, "a process did nothing for minutes"
        time.sleep(0.02)


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
    done = Counter(ROLES[me][0] for me in journal.numbers("done"))
    return f"{len(written)} facts acknowledged, {state + 1} states, deeds: {dict(done)}"


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Play rounds in one history, and check after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("FS_ROUNDS", "10")))
    parser.add_argument("--kills", type=int, default=int(os.environ.get("FS_KILLS", "30")))
    parser.add_argument("--restarts", action="store_true", help="kill the server now and then, too")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    draw = random.Random(asked.seed)
    CONTEXT.set_forkserver_preload(PRELOAD)
    lease.LEASE = SECONDS
    with tempfile.TemporaryDirectory() as name, running_s3() as server:
        os.environ.update(server.environment)
        directory, offline = Path(name), f"s3://history/{uuid.uuid4().hex}"
        with FeatureStore(directory / "store", offline=offline) as store:
            store.apply(VIEW)
        for number in range(asked.rounds):
            restart = server.restart if asked.restarts else None
            play(directory, offline, server.environment, asked.kills, draw, restart)
            print(f"round {number + 1}: {asked.kills} killed; {check(directory, offline)}", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
