"""Calls of several threads that meet, done as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from fs_core.errors import FeatureStoreError
from fs_core.runtime.per_process import PerProcess

T = TypeVar("T")
R = TypeVar("R")

_INTERRUPTED = (
    "the thread that did this for several was interrupted; whether it was done isn't known. Look, or repeat it."
)


_PATIENCE = 0.002  # seconds for which those are waited for who were there the last time


class _Call(Generic[T, R]):
    """One call: its item, its outcome, and what wakes it when that is there, or when the work is its own to do."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: R | Exception | None = None
        self.is_done = False
        self.woken = threading.Event()

    def done(self, outcome: R | Exception) -> None:
        """Keep what the call returns, or raises."""
        self.outcome, self.is_done = outcome, True

    def result(self) -> R:
        """Return the outcome, or raise it."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome  # type: ignore[return-value]  # it is done


class _State(Generic[T, R]):
    """The calls of a process that wait, whether somebody works, and how many calls usually come together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: list[_Call[T, R]] = []
        self.is_busy = False
        self.usual = 1
        self.complete = threading.Event()  # set while as many wait as usual

    def expect(self, usual: int) -> None:
        """Keep how many calls usually come together, and whether they are there. Only with the lock."""
        self.usual = usual
        is_complete = len(self.waiting) >= usual
        if is_complete and not self.complete.is_set():
            self.complete.set()
        elif not is_complete and self.complete.is_set():
            self.complete.clear()


class Grouped(Generic[T, R]):
    """A function of one item, done by a function of several. Thread-safe; usable after a fork.

    A call that finds nobody at work does its work at once. Those that come meanwhile wait, and the first of them then
    does the work of all. Where several came together the last time, it waits a moment until as many are there again.

    Args:
        work: does the work of some calls; returns what each of them returns, or raises, in their order. What it raises
            itself, all raise.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._state: PerProcess[_State[T, R]] = PerProcess(_State)

    def __call__(self, item: T) -> R:
        """Return what the work of an item is, done beside that of others."""
        state, mine = self._state.get(), _Call[T, R](item)
        with state.lock:
            state.waiting.append(mine)
            leads, state.is_busy = not state.is_busy, True
            state.expect(state.usual)
        try:
            if not leads:
                mine.woken.wait()
            if not mine.is_done:
                leads = True
                self._lead(state)
        finally:
            if leads or not mine.is_done:
                self._leave(state, mine, leads)
        return mine.result()

    def _lead(self, state: _State[T, R]) -> None:
        """Do the work of all that wait, and answer them."""
        state.complete.wait(_PATIENCE)
        together: list[_Call[T, R]] = []
        try:
            with state.lock:
                together, state.waiting = state.waiting, []
            self._do(together)
        finally:
            with state.lock:
                state.expect(len(together) + len(state.waiting))
            for call in together:
                if not call.is_done:  # interrupted between two steps
                    call.done(FeatureStoreError(_INTERRUPTED))
                call.woken.set()

    def _leave(self, state: _State[T, R], mine: _Call[T, R], leads: bool) -> None:
        """Hand the work over to the next that waits, if it was this call's to do, also where that was interrupted."""
        with state.lock:
            if mine in state.waiting:
                state.waiting.remove(mine)
                leads = leads or mine.woken.is_set()
            if not leads:
                return
            state.is_busy = bool(state.waiting)
            if state.waiting:
                state.waiting[0].woken.set()

    def _do(self, together: Sequence[_Call[T, R]]) -> None:
        try:
            found: Sequence[R | Exception] = self._work([call.item for call in together])
        except Exception as error:  # noqa: BLE001  # each call raises it
            found = [error] * len(together)
        for call, outcome in zip(together, found, strict=True):
            call.done(outcome)
