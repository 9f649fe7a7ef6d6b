"""Calls of several threads that meet, done as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from fs_core.errors import FeatureStoreError
from fs_core.runtime.per_process import PerProcess

T = TypeVar("T")
R = TypeVar("R")

_INTERRUPTED = (
    "the thread that did this for several was interrupted; whether it was done isn't known. Look, or repeat it."
)


class Grouped(Generic[T, R]):
    """A function of one item, done by a function of several. Thread-safe; usable after a fork.

    A call that finds nobody at work does its work at once. Those that come meanwhile wait, and the first of them then
    does the work of all.

    Args:
        work: does the work of some calls; returns what each of them returns, or raises, in their order. What it raises
            itself, all raise.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._waiting: PerProcess[list[tuple[T, Future[R]]]] = PerProcess(list)
        self._turn = PerProcess(threading.Lock)

    def __call__(self, item: T) -> R:
        """Return what the work of an item is, done beside that of others."""
        mine: Future[R] = Future()
        waiting = self._waiting.get()
        waiting.append((item, mine))
        with self._turn.get():
            if not mine.done():
                together = waiting[:]
                del waiting[: len(together)]
                self._do(together)
        return mine.result()

    def _do(self, together: Sequence[tuple[T, Future[R]]]) -> None:
        try:
            found = self._work([item for item, _ in together])
        except Exception as error:  # noqa: BLE001  # each call raises it
            for _, future in together:
                future.set_exception(error)
        except BaseException:  # an interrupt is this thread's alone, but nobody may wait for ever
            for _, future in together:
                future.set_exception(FeatureStoreError(_INTERRUPTED))
            raise
        else:
            for (_, future), result in zip(together, found, strict=True):
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
