"""Windows of an online read: the events that the store holds, folded at the moment of the read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fs_core.errors import MomentNotOnlineError, OnlineStoreError
from fs_core.online.row.cells import Flags
from fs_core.rule import Status
from fs_core.serving.answers import UNAVAILABLE, AskedKeys, TableAnswer, damaged
from fs_core.serving.plan import ViewPlan
from fs_core.values.times import EARLIEST, from_micros
from fs_core.windows.answer import TooLargeError, too_large
from fs_core.windows.packed.codec import EventCodec, HeldEvents

_STATUSES = np.array([Status.MISSING.value, Status.PRESENT.value], dtype=object)


@dataclass(eq=False, slots=True)
class HeldWindows:
    """What the online store held for the distinct keys of a view with windows.

    Attributes:
        plan: the view.
        codec: of its events.
        keys: the keys.
        events: what each key's value holds.
        unread: whose value couldn't be read, bool [distinct]; None where all could.
    """

    plan: ViewPlan
    codec: EventCodec
    keys: AskedKeys
    events: HeldEvents
    unread: Flags | None = None

    @property
    def latest(self) -> int:
        """The latest moment that a value speaks of, microseconds; `EARLIEST` where there is none."""
        return int(max(self.events.clocks[1].max(initial=EARLIEST), self.floor))

    @property
    def floor(self) -> int:
        """The first moment that all values tell of, microseconds; `EARLIEST` where there is none."""
        return int(self.events.floors.max(initial=EARLIEST))

    def problem(self, moment: int, now: int | None) -> OnlineStoreError | None:
        """Return why these events don't answer for `moment`, or None if they do. `now` is None if moment is now."""
        if self.events.corrupt:
            return damaged(self.plan, self.keys, self.events.corrupt)
        bare = np.flatnonzero(self.events.bare)
        if len(bare):
            return MomentNotOnlineError(
                f"view {self.plan.view.ref!r}: the online store may have lost events of "
                f"{self.keys.entity(self.plan, int(bare[0]))} ({len(bare)} such entities). Materialize the view, or "
                "pass fallback='offline': history knows all."
            )
        early = np.flatnonzero(self.events.floors > moment)
        if now is None or not len(early):
            return None
        since = from_micros(int(self.events.floors[early[0]])).isoformat()
        return MomentNotOnlineError(
            f"view {self.plan.view.ref!r}: the online store knows the events of "
            f"{self.keys.entity(self.plan, int(early[0]))} for moments from {since} on, not at "
            f"{from_micros(moment).isoformat()} ({len(early)} such entities). Declare a longer online_history, or pass "
            "fallback='offline': history knows all."
        )

    def answer(self, moment: int) -> TableAnswer:
        """Return the windows at a moment, for each row asked for: present where an event was known.

        Raises:
            DataError: a whole number or a decimal doesn't fit its type.
        """
        count = len(self.keys.distinct)
        try:
            found = self.codec.fold(self.events, self.plan.names, np.full(count, moment, np.int64))
        except TooLargeError as error:
            raise too_large(self.plan.view, error, self.keys.entity(self.plan, error.row), moment) from error
        status = _STATUSES[found.known.astype(np.intp)]
        table, position = found.features, self.keys.position
        if position is None and self.unread is None:
            return TableAnswer(table, status.tolist(), found.event_time)
        rows = np.arange(count) if position is None else position
        nothing = rows < 0  # a null key
        status = np.append(status, Status.MISSING.value)[rows]
        if self.unread is not None:
            lost = np.append(self.unread, False)[rows]
            status[lost], nothing = UNAVAILABLE, nothing | lost
        event_time = np.append(found.event_time, 0)[rows]
        return TableAnswer(table.take(pa.array(rows, mask=nothing)), status.tolist(), event_time)
