"""Calls of one event loop that begin in the same turn of it, done as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Turn(Generic[T, R]):
    """The items of one kind in one turn, each with what its caller waits for."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.waiting: list[asyncio.Future[R | None]] = []
        self.size = 0


class Turns(Generic[T, R]):
    """Work on items, done together for those of a kind that come in one turn of the event loop.

    A process under load takes in several requests a turn; one that isn't loses nothing: who is alone goes on at once.

    Args:
        work: does it for several items of a kind; returns what each comes to, in their order.
        most: the size of items from which on no more join.
        common: the errors of `work` that aren't one item's, so that none is tried again by itself.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[R]]], most: int, common: type[Exception]
    ) -> None:
        self._work, self._most, self._common = work, most, common
        self._turns: dict[Hashable, _Turn[T, R]] = {}
        self._running: set[asyncio.Task[Sequence[R]]] = set()

    def join(self, kind: Hashable, item: T, size: int) -> asyncio.Future[R | None]:
        """Return what an item comes to, or None: its caller is to do the work by itself, for nobody else came, or
        because it failed, which may be for another's item. An error that is common is raised to each.

        Args:
            kind: of the item; only those of one kind go together.
            item: the item.
            size: how large it is.
        """
        loop, turn = asyncio.get_running_loop(), self._turns.get(kind)
        if turn is None or turn.size >= self._most:
            turn = self._turns[kind] = _Turn()
            loop.call_soon(self._begin, kind, turn)
        mine: asyncio.Future[R | None] = loop.create_future()
        turn.items.append(item)
        turn.waiting.append(mine)
        turn.size += size
        return mine

    def _begin(self, kind: Hashable, turn: _Turn[T, R]) -> None:
        if self._turns.get(kind) is turn:
            del self._turns[kind]
        if len(turn.items) == 1:
            _settle(turn, [None])
            return
        task = asyncio.get_running_loop().create_task(self._work(turn.items))
        self._running.add(task)
        task.add_done_callback(partial(self._done, turn))

    def _done(self, turn: _Turn[T, R], task: asyncio.Task[Sequence[R]]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, self._common):
            _settle(turn, [error] * len(turn.items))
        elif error is not None or task.cancelled():  # which each finds out by itself
            _settle(turn, [None] * len(turn.items))
        else:
            _settle(turn, task.result())


def _settle(turn: _Turn[T, R], found: Sequence[R | Exception | None]) -> None:
    for waiting, one in zip(turn.waiting, found, strict=True):
        if waiting.done():  # or cancelled
            continue
        if isinstance(one, Exception):
            waiting.set_exception(one)
        else:
            waiting.set_result(one)
