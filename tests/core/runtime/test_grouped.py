"""Calls that meet: done as one, each with its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from fs_core.errors import FeatureStoreError
from fs_core.runtime.grouped import Grouped
from tests.forks import in_child


class Work:
    """Doubles numbers, as soon as it may; remembers which it was given together."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.may, self.began = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        """Return what was asked for."""
        self.began.set()
        assert self.may.wait(30)
        self.done.append(list(numbers))
        if 13 in numbers:
            raise ValueError("thirteen")
        if 99 in numbers:
            raise KeyboardInterrupt
        return [ValueError(f"bad {number}") if number < 0 else 2 * number for number in numbers]


def meeting(first: int, others: Sequence[int]) -> tuple[Work, list[int | BaseException]]:
    """Let calls come while the first one's work is under way; return what each returned or raised."""
    work, waiting = Work(), threading.Barrier(len(others) + 1)
    grouped = Grouped(work)

    def call(number: int) -> int | BaseException:
        if number != first:
            waiting.wait()
        try:
            return grouped(number)
        except BaseException as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(others) + 1) as threads:
        calls = [threads.submit(call, first)]
        assert work.began.wait(30)
        calls += [threads.submit(call, number) for number in others]
        waiting.wait()
        while len(grouped._state.get().waiting) < len(others):
            pass
        work.may.set()
        return work, [call.result() for call in calls]


def test_calls_that_come_meanwhile_are_done_together() -> None:
    """Who finds nobody at work is served at once, and all who came meanwhile by one call; each gets its own answer."""
    work, answers = meeting(1, range(2, 10))
    assert answers == [2 * number for number in range(1, 10)]
    assert work.done[0] == [1]
    assert len(work.done) == 2
    assert sorted(work.done[1]) == list(range(2, 10))


def test_all_that_were_done_together_learn_of_an_error() -> None:
    """An error reaches everybody whose call it was, and nobody else."""
    _, (first, *others) = meeting(1, [12, 13, 14])
    assert first == 2
    assert [str(error) for error in others] == ["thirteen"] * 3


def test_a_call_may_fail_alone() -> None:
    """Of calls that were done together, one may be answered by an error of its own."""
    _, (first, *others) = meeting(1, [2, -3, 4])
    assert first == 2
    assert [str(answer) for answer in others] == ["4", "bad -3", "8"]


def test_an_interrupt_leaves_nobody_waiting() -> None:
    """Where the thread that works for several is interrupted, the others are told that the outcome isn't known."""
    _, (first, *others) = meeting(1, [98, 99, 97])
    assert first == 2
    assert sum(isinstance(error, KeyboardInterrupt) for error in others) == 1
    assert sum(isinstance(error, FeatureStoreError) and "isn't known" in str(error) for error in others) == 2


def test_a_call_that_is_interrupted_while_it_waits_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is interrupted before somebody took its item learns so, and nobody does it later."""
    work = Work()
    grouped = Grouped(work)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(grouped, 1)
        assert work.began.wait(30)

        def wait(event: threading.Event, timeout: float | None = None) -> bool:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return waited(event, timeout)

        waited = threading.Event.wait
        with monkeypatch.context() as interrupted:
            interrupted.setattr(threading.Event, "wait", wait)
            with pytest.raises(KeyboardInterrupt):
                grouped(2)
        work.may.set()
        assert call.result() == 2
        assert grouped(3) == 6
    assert work.done == [[1], [3]]


def test_a_child_that_was_forked_in_mid_work_can_call() -> None:
    """A process that is forked while a thread works isn't kept waiting by a thread that it hasn't got."""
    work = Work()
    grouped = Grouped(work)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(grouped, 1)
        assert work.began.wait(30)

        def child() -> bool:
            work.may.set()
            return grouped(4) == 8

        assert in_child(child)
        work.may.set()
        assert call.result() == 2


@pytest.mark.parametrize("number", [0, 7])
def test_a_single_call(number: int) -> None:
    """Alone, a call is what its work is."""
    work = Work()
    work.may.set()
    assert Grouped(work)(number) == 2 * number


def test_the_last_of_those_who_usually_come_starts_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than until as many calls are there as came together the last time."""
    monkeypatch.setattr("fs_core.runtime.grouped._PATIENCE", 3600.0)
    work = Work()
    work.may.set()
    grouped = Grouped(work)
    grouped._state.get().expect(3)
    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(grouped, [1, 2, 3])) == [2, 4, 6]
    assert [sorted(numbers) for numbers in work.done] == [[1, 2, 3]]


def test_many_threads_that_call_again_and_again() -> None:
    """Every call is answered by its own result, whoever leads; callers that come back together are done together."""
    groups: list[int] = []

    def work(numbers: Sequence[int]) -> list[int | Exception]:
        groups.append(len(numbers))
        time.sleep(0.001)
        return [ValueError(str(number)) if number % 7 == 0 else 2 * number for number in numbers]

    grouped = Grouped(work)

    def call(me: int) -> None:
        for number in range(me * 1000 + 1, me * 1000 + 51):
            if number % 7 == 0:
                with pytest.raises(ValueError, match=f"^{number}$"):
                    grouped(number)
            else:
                assert grouped(number) == 2 * number

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(8)))
    assert sum(groups) == 400
    assert len(groups) < 250
