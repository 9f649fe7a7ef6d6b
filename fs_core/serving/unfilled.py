"""Views of which reads find nothing: whether anybody has brought them online, asked while the reads go on."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fs_core.errors import FeatureStoreError, OnlineUnavailableError

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.online.contract import OnlineStore

log = logging.getLogger("fs_core")

_AGAIN_SECONDS = 60.0  # until a view is asked after again: somebody may drop it, and a store that fails may answer
_lock = threading.Lock()  # for moments, never while a store is asked


class Unfilled:
    """Says in the log, once of each view, that nobody has brought it online where reads look for it.

    A thread asks the online store, and ends when nothing is left to ask; no read waits for it. Each view is asked
    after once a minute at most. A forked child doesn't repeat what its parent has logged.
    """

    def __init__(self) -> None:
        self._again: dict[str, float] = {}  # by names of views' rows: from when on to ask; never for what was logged
        self._waiting: dict[str, tuple[OnlineStore, FeatureView]] = {}
        self._asking_in: int | None = None  # the process whose thread sees to what waits
        self._thread: threading.Thread | None = None

    @property
    def is_asking(self) -> bool:
        """Whether `wait` would."""
        return self._thread is not None and self._thread.is_alive()

    def look_after(self, online: OnlineStore, views: Sequence[FeatureView]) -> None:
        """Have a thread see why a read found nothing of some views; return at once."""
        now = time.monotonic()
        if not any(self._is_due(view, now) for view in views):
            return
        with _lock:
            if self._asking_in != os.getpid():
                self._waiting.clear()  # what is there is a fork's copy: its parent asks
            for view in views:
                if self._is_due(view, now):
                    self._again[view.storage_name] = now + _AGAIN_SECONDS
                    self._waiting[view.storage_name] = online, view
            if self._waiting and self._asking_in != os.getpid():
                self._start()

    def wait(self) -> None:
        """Return when nothing is asked any more."""
        with _lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _is_due(self, view: FeatureView, now: float) -> bool:
        return now >= self._again.get(view.storage_name, now)

    def _start(self) -> None:
        """Start a thread, unless the process ends: nobody would wait for it any more.

        It imports nothing: in a process that is forked meanwhile, what it imports could never be imported.
        """
        from fs_core.materialization.watermark import was_filled

        thread = threading.Thread(target=self._run, args=[was_filled], name="fs-core-unfilled", daemon=False)
        try:
            if threading.main_thread().is_alive():
                thread.start()
                self._thread, self._asking_in = thread, os.getpid()
                return
        except RuntimeError:  # no more threads
            pass
        self._waiting.clear()

    def _run(self, was_filled: Callable[[OnlineStore, FeatureView], bool]) -> None:
        try:
            while (asked := self._next()) is not None:
                self._ask(was_filled, *asked)
        except BaseException:
            with _lock:
                self._asking_in = None
            raise

    def _next(self) -> tuple[OnlineStore, FeatureView] | None:
        with _lock:
            if self._waiting:
                return self._waiting.pop(next(iter(self._waiting)))
            self._asking_in = None
            return None

    def _ask(
        self, was_filled: Callable[[OnlineStore, FeatureView], bool], online: OnlineStore, view: FeatureView
    ) -> None:
        try:
            filled = was_filled(online, view)
        except FeatureStoreError as error:  # who may read rows alone; a server gone; damage
            log.debug("unknown whether %s was ever materialized in %r: %s", view.ref, online, error)
            if isinstance(error, OnlineUnavailableError):
                self._waiting.clear()  # whoever closes the store would wait for each of them
            return
        if not filled:
            self._again[view.storage_name] = math.inf
            log.warning(
                "view %s has never been materialized in %r, so what isn't pushed is missing: "
                "store.materialize(%r), or fs materialize %s. Is another online store the one that serves it? "
                "Then name that, by online= or FS_ONLINE.",
                view.ref,
                online,
                view.ref,
                view.ref,
            )


def _renew_lock() -> None:
    """Give a forked child a lock that no thread of its parent holds."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
