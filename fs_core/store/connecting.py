"""Who reads the online store for the first time, and may take longer for it: a process, or an event loop."""

from __future__ import annotations

import math
import os
import time
from weakref import WeakKeyDictionary

_ANSWERED = -math.inf


class Connecting:
    """Tells a reader that connects from one that has an answer already.

    A reader is an event loop, whose connections are its own, or None for threads, which share theirs. A forked child
    connects anew.
    """

    def __init__(self) -> None:
        self._renew()

    def is_first(self, reader: object | None, seconds: float) -> bool:
        """Tell whether nothing has answered a reader yet, and it began no more than so many seconds ago."""
        reader = self._known(reader)
        began = self._began.get(reader)
        if began is None:
            began = self._began[reader] = time.monotonic()
        return began != _ANSWERED and time.monotonic() - began < seconds

    def answered(self, reader: object | None) -> None:
        """Take note that the online store has answered a reader."""
        self._began[self._known(reader)] = _ANSWERED

    def _known(self, reader: object | None) -> object:
        if self._process != os.getpid():
            self._renew()
        return self if reader is None else reader

    def _renew(self) -> None:
        self._process = os.getpid()
        self._began = WeakKeyDictionary[object, float]()  # since when; what has answered began before all time
