"""Running something else, or dying, between any two steps in which a store touches history or the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from fs_core import FeatureStore
from fs_core.materialization import materialize as filling

ONLINE = ("write", "splice", "delete", "watermark", "swap_watermark", "drop")
OFFLINE = ("append", "push", "winners", "as_of")


class Killed(BaseException):
    """The process is gone: nothing that it would do from here on happens."""


class Steps:
    """Counts the moments before each call, and lets something happen at some of them.

    What comes before a call comes after the one before it: between them nothing is touched that others see.

    Attributes:
        seen: how many moments there were.
        happens: what to do at which.
        dies: the moment from which on every call fails.
    """

    def __init__(self, happens: Mapping[int, Callable[[], object]], dies: int | None = None) -> None:
        self.seen = 0
        self._happens = happens
        self._dies = dies

    def before(self, call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        """Return a call with a moment before it, and perhaps one after."""

        def stepped(*args: Any, **more: Any) -> Any:
            self._pass()
            answer = call(*args, **more)
            if after:
                self._pass()
            return answer

        return stepped

    def _pass(self) -> None:
        moment, self.seen = self.seen, self.seen + 1
        if self._dies is not None and moment >= self._dies:
            raise Killed
        if moment in self._happens:
            self._happens[moment]()


class _Serial:
    """Does at once what an executor would do in its thread, so that steps come in the same order each time."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> _Serial:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Return what a call returns, or raise what it raises, later."""
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args))
        except BaseException as error:  # noqa: BLE001  # handed over, as an executor does
            done.set_exception(error)
        return done


@contextmanager
def stepped(
    store: FeatureStore, happens: Mapping[int, Callable[[], object]], dies: int | None = None
) -> Iterator[Steps]:
    """Let things happen, by other stores, while one store works."""
    steps = Steps(happens, dies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "ThreadPoolExecutor", _Serial)
        for part, names in ((store.online, ONLINE), (store.offline, OFFLINE)):
            for name in names:
                # What `winners` returns is read from disk afterwards.
                patch.setattr(part, name, steps.before(getattr(part, name), after=name == "winners"))
        yield steps
