"""Calls that are made when a moment has come, to end what would wait for longer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_IDLE_SECONDS = 10.0  # after which the thread ends, where no alarm is set


class Alarm:
    """A call to be made at a moment.

    Attributes:
        moment: when, by `time.monotonic`.
        call: what; it is quick, raises nothing, and sets no alarm.
        rang: whether it was made.
    """

    __slots__ = ("call", "moment", "rang")

    def __init__(self, moment: float, call: Callable[[], object]) -> None:
        self.moment, self.call, self.rang = moment, call, False


class Alarms:
    """The alarms of one process, and the thread that waits for the next. Thread-safe.

    To set and cancel one costs next to nothing: the thread is only woken where it would wake too late. Where no thread
    can start, as when the process ends, no alarm rings.
    """

    def __init__(self) -> None:
        self._alarms: set[Alarm] = set()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._looks_at: float | None = None  # when the thread looks for what is due; None where there is no thread

    def set(self, moment: float, call: Callable[[], object]) -> Alarm:
        """Have a call made at a moment, by `time.monotonic`."""
        alarm = Alarm(moment, call)
        with self._lock:
            self._alarms.add(alarm)
            if self._looks_at is None:
                self._start()
            elif moment < self._looks_at:
                self._changed.notify()
        return alarm

    def cancel(self, alarm: Alarm) -> bool:
        """Take an alarm back; return whether it had rung. When this returns, its call is over or never made."""
        with self._lock:
            self._alarms.discard(alarm)
            return alarm.rang

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="fs-core-alarms", daemon=True).start()
            self._looks_at = -math.inf
        except RuntimeError:  # no more threads
            pass

    def _run(self) -> None:
        with self._lock:
            while True:
                now = time.monotonic()
                for alarm in [alarm for alarm in self._alarms if alarm.moment <= now]:
                    self._alarms.discard(alarm)
                    alarm.rang = True
                    alarm.call()
                self._looks_at = min((alarm.moment for alarm in self._alarms), default=now + _IDLE_SECONDS)
                is_woken = self._changed.wait(self._looks_at - now)
                if not (is_woken or self._alarms):
                    self._looks_at = None
                    return
