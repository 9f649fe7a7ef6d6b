"""Ending at a signal, between two steps."""

from __future__ import annotations

import os
import select
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Stop(Protocol):
    """Tells whether to end, and waits until then; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Return whether to end."""

    def wait(self, timeout: float) -> object:
        """Wait for so many seconds, or until it is time to end."""


class SignalStop:
    """Is set by signals; unlike a `threading.Event`, whose lock the waiting thread may hold when a signal comes."""

    def __init__(self) -> None:
        self._is_set = False
        self._read_end, self._write_end = os.pipe()
        for end in (self._read_end, self._write_end):
            weakref.finalize(self, os.close, end)

    def is_set(self) -> bool:
        """Return whether a signal came."""
        return self._is_set

    def set(self) -> None:
        """End."""
        if not self._is_set:
            self._is_set = True
            os.write(self._write_end, b"\0")

    def wait(self, timeout: float) -> bool:
        """Wait for so many seconds, or until a signal has come; return whether it has."""
        select.select([self._read_end], [], [], timeout)
        return self._is_set

    @contextmanager
    def at_signals(self) -> Iterator[None]:
        """Be set by SIGTERM and SIGINT meanwhile; a second one acts as it would have without this.

        In another thread than the main one, which gets no signals, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handle(number: int, _frame: object) -> None:
            signal.signal(number, before[signal.Signals(number)])
            self.set()

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
