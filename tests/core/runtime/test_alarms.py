"""Alarms ring when their moment has come, and never once they are cancelled."""

from __future__ import annotations

import threading
import time

import pytest

from fs_core.runtime import alarms
from fs_core.runtime.alarms import Alarms


def soon(seconds: float = 0.0) -> float:
    """Return a moment that comes in so many seconds."""
    return time.monotonic() + seconds


def test_alarms_ring_in_the_order_of_their_moments() -> None:
    """A later alarm that is set first doesn't hold up an earlier one."""
    made, rang, over = Alarms(), list[str](), threading.Event()
    made.set(soon(0.3), lambda: (rang.append("late"), over.set()))
    made.set(soon(0.05), lambda: rang.append("early"))
    made.set(soon(-1), lambda: rang.append("at once"))
    assert over.wait(20)
    assert rang == ["at once", "early", "late"]


def test_a_cancelled_alarm_never_rings() -> None:
    """Whoever cancels an alarm learns whether it has rung; if not, it never does."""
    made, rang = Alarms(), threading.Event()
    cancelled, other = made.set(soon(0.2), rang.set), made.set(soon(0.1), lambda: None)
    assert not made.cancel(cancelled)
    time.sleep(0.4)
    assert not rang.is_set()
    assert made.cancel(other)


def test_the_thread_ends_when_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no alarm is set for a while, no thread waits; the next alarm starts another."""
    monkeypatch.setattr(alarms, "_IDLE_SECONDS", 0.1)
    made, before = Alarms(), threading.active_count()
    for _ in range(2):
        rang = threading.Event()
        made.set(soon(0.05), rang.set)
        assert rang.wait(20)
        deadline = soon(20)
        while threading.active_count() > before:
            assert time.monotonic() < deadline, "the thread goes on"
            time.sleep(0.01)


def test_many_threads_and_alarms() -> None:
    """Of alarms that threads set and cancel at once, each rings once or was cancelled before."""
    made, rang, count = Alarms(), list[int](), 200
    lost = list[int]()

    def work(thread: int) -> None:
        for number in range(count):
            mine = thread * count + number
            alarm = made.set(soon(0.0005 * (number % 3)), lambda mine=mine: rang.append(mine))  # type: ignore[misc]
            time.sleep(0.0005 * (number % 2))
            if not made.cancel(alarm):
                lost.append(mine)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rang + lost) == list(range(4 * count))
