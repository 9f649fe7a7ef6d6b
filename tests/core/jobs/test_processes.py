"""Runners in processes of their own: one leads, another takes over, and a signal ends them between two steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.cli.group import cli
from fs_core.jobs import Runner, jobs_of
from fs_core.runtime.stop import SignalStop
from fs_core.testing.processes import FRESH
from tests.core.jobs.conftest import HandClock, Steps, visits, write_rows

Shop = Callable[..., FeatureStore]


def fs_run(directory: str) -> None:
    """Do what `fs run` does, for ever."""
    cli(["--store", directory, "run"], prog_name="fs")


@contextmanager
def running(store: FeatureStore) -> Iterator[BaseProcess]:
    """Have another process run the jobs; yield it once it has run one."""
    process = FRESH.Process(target=fs_run, args=(str(store.directory),))
    process.start()
    try:
        ends = time.monotonic() + 60
        while jobs_of(store)[0].state.ended is None and time.monotonic() < ends:
            process.join(0.05)
            assert process.is_alive()
        yield process
    finally:
        process.kill()
        process.join()


def test_another_takes_over_from_one_that_is_killed(
    shop: Shop, clock: HandClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one runs the jobs, no other does; once it is dead, the one that waited does."""
    store = shop(visits(online=False))
    stop = Steps(clock)
    with running(store) as leader:
        assert Runner(store, now=clock.now).run_once() is None
        write_rows(tmp_path, range(5))

        def wait(timeout: float) -> None:
            """Kill the leader while the other waits; then let it run the job once, and stop."""
            if leader.is_alive():
                leader.kill()
                leader.join()
                clock.moment = jobs_of(store)[0].due
            else:
                stop.waits = -1

        monkeypatch.setattr(stop, "wait", wait)
        Runner(store, now=clock.now, stop=stop).run()
    assert store.history("visits").num_rows == 5


def test_sigterm_ends_a_runner(shop: Shop) -> None:
    """It exits with 0, what it has done is kept, and the next one needn't wait."""
    store = shop(visits(online=False))
    with running(store) as leader:
        os.kill(leader.pid or 0, signal.SIGTERM)
        leader.join(60)
        assert leader.exitcode == 0
    assert jobs_of(store)[0].state.rows == 3
    assert Runner(store).run_once() == []


def test_the_second_signal_acts_as_ever() -> None:
    """The first one asks to stop, and wakes who waits; the second one interrupts; afterwards all is as before."""
    stop, before = SignalStop(), signal.default_int_handler
    outer = signal.signal(signal.SIGINT, before)  # a shell has its background jobs ignore it
    try:
        with stop.at_signals():
            signal.raise_signal(signal.SIGINT)
            assert stop.is_set()
            assert stop.wait(600)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, outer)
    assert not SignalStop().wait(0)
