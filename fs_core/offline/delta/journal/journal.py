"""The segments of one table: adding rows to one's own, and folding all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from fs_core.offline.contract import Progress, Snapshot
from fs_core.offline.delta.journal import records
from fs_core.offline.delta.journal.positions import Positions
from fs_core.offline.delta.journal.segment import DAMAGED, PUSHED, TAKEN, Claimed, Segment, claimed, pending
from fs_core.offline.delta.locks import DIRECTORY
from fs_core.offline.delta.log import DeltaLog

_MOST_BYTES = 4 << 20  # of a segment: folding it takes about as long as the append of a row
_MOST_SECONDS = 60.0  # until a segment is folded, so that programs which read the table alone aren't far behind
_MOST_SEGMENTS = 16  # before one is begun: those of processes that pushed and ended

Append = Callable[[pa.Table, str, Progress | None], Snapshot]
"""Commits rows to the table under a name, and how far they bring streams; returns the state."""


class Journal:
    """What has come to one table by any process and isn't in the table yet. Thread-safe.

    Attributes:
        positions: how far streams have been taken.

    Args:
        table: the table's directory.
        history: its log.
    """

    def __init__(self, table: Path, history: DeltaLog) -> None:
        self._directory = table / DIRECTORY / "pushed"
        self._history = history
        self.positions = Positions(table, self._directory, history)
        self._mine: dict[str, Segment] = {}
        self._guard = threading.Lock()

    def add(self, rows: pa.Table, after: Mapping[str, int] | None = None) -> bool:
        """Add rows, which are on disk when this returns; tell whether it is time to fold.

        Args:
            rows: in the history's schema, few enough for one message of Arrow's.
            after: how far they bring partitions of streams, by who holds the `positions`; there may be no rows then.
                None for rows that are pushed, of which there is at least one.

        Raises:
            OSError, DeltaError: none of them is there.
        """
        kind, data = (PUSHED, records.pushed(rows)) if after is None else (TAKEN, records.taken(rows, after))
        with self._guard:
            is_due = False
            while (mine := self._mine.get(kind)) is None or not mine.add(data):
                is_due = len(pending(self._directory)) >= _MOST_SEGMENTS
                self._mine[kind] = Segment(self._directory, kind, self._history.newest(), rows.schema)
            return is_due or mine.size > _MOST_BYTES or time.monotonic() - mine.began > _MOST_SECONDS

    def takes(self, rows: pa.Table) -> bool:
        """Tell whether rows of a stream are few enough for it; more of them are better off as a commit of their own."""
        return int(rows.nbytes) <= _MOST_BYTES

    def has_added(self) -> bool:
        """Tell whether this process has added what isn't in the table yet."""
        return any(mine.path.exists() for mine in tuple(self._mine.values()))

    def fold(self, append: Append) -> Snapshot | None:
        """Bring into the table what any process has added by now; return the state with it, None if there was nothing.

        Args:
            append: commits rows under a name, and how far they bring streams.

        Raises:
            OSError, DeltaError: it isn't there yet; whoever tries again brings it.
        """
        found = pending(self._directory)
        if not found:
            return None
        state = None
        with ExitStack() as held:
            segments = [segment for path in found if (segment := held.enter_context(claimed(path))) is not None]
            new = [segment for segment in segments if not self._is_folded(segment)]
            if new:
                after = records.furthest(*(segment.content.after for segment in new))
                names = " ".join(segment.name for segment in new)
                # Whoever added a batch has seen to it that it is where the one before ends.
                state = append(pa.concat_tables(_rows(new)), names, Progress({}, after) if after else None)
                self._history.bring_to_disk(state)
            for segment in segments:
                segment.remove()
        return state

    def forget_damaged(self) -> None:
        """Delete the copies of damaged segments; it isn't known whose rows they hold."""
        for copy in self._directory.glob(f"*{DAMAGED}"):
            copy.unlink(missing_ok=True)

    def _is_folded(self, segment: Claimed) -> bool:
        """Tell whether what a segment has is in the table, as somebody died before deleting it, or it has nothing."""
        content = segment.content
        return content.rows is None or self._history.find(content.state, segment.name) is not None


def _rows(segments: list[Claimed]) -> list[pa.Table]:
    """Return the rows of segments, whose writers add none from now on, whatever becomes of this process."""
    for segment in segments:
        segment.mark()
    return [s.content.rows for s in segments if s.content.rows is not None]
