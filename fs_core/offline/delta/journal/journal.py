"""The segments of one table: adding rows to one's own, and folding all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.journal.segment import DAMAGED, Claimed, Segment, claimed, pending
from fs_core.offline.delta.locks import DIRECTORY
from fs_core.offline.delta.log import DeltaLog

_MOST_BYTES = 4 << 20  # of a segment: folding it takes about as long as the append of a row
_MOST_SECONDS = 60.0  # until a segment is folded, so that programs which read the table alone aren't far behind
_MOST_SEGMENTS = 16  # before one is begun: those of processes that pushed and ended

Append = Callable[[pa.Table, str], Snapshot]
"""Commits rows to the table under a name; returns the state."""


class Journal:
    """What any process has pushed into one table and isn't in the table yet. Thread-safe.

    Args:
        table: the table's directory.
        history: its log.
    """

    def __init__(self, table: Path, history: DeltaLog) -> None:
        self._directory = table / DIRECTORY / "pushed"
        self._history = history
        self._mine: Segment | None = None
        self._guard = threading.Lock()

    def add(self, rows: pa.Table) -> bool:
        """Add rows, which are on disk when this returns; tell whether it is time to fold.

        Args:
            rows: in the history's schema, at least one, few enough for one message of Arrow's.

        Raises:
            OSError, DeltaError: none of them is there.
        """
        with self._guard:
            is_due = False
            while self._mine is None or not self._mine.add(rows):
                is_due = len(pending(self._directory)) >= _MOST_SEGMENTS
                self._mine = Segment(self._directory, self._history.newest(), rows.schema)
            age = time.monotonic() - self._mine.began
            return is_due or self._mine.size > _MOST_BYTES or age > _MOST_SECONDS

    def has_pushed(self) -> bool:
        """Tell whether this process has pushed what isn't in the table yet."""
        mine = self._mine
        return mine is not None and mine.path.exists()

    def fold(self, append: Append) -> Snapshot | None:
        """Bring into the table what any process has pushed by now; return the state with it, None if there was nothing.

        Args:
            append: commits rows under a name.

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
                state = append(pa.concat_tables(_rows(new)), " ".join(segment.name for segment in new))
                self._history.bring_to_disk(state)
            for segment in segments:
                segment.remove()
        return state

    def forget_damaged(self) -> None:
        """Delete the copies of damaged segments; it isn't known whose rows they hold."""
        for copy in self._directory.glob(f"*{DAMAGED}"):
            copy.unlink(missing_ok=True)

    def _is_folded(self, segment: Claimed) -> bool:
        """Tell whether a segment's rows are in the table, as somebody died before deleting it, or it has none."""
        content = segment.content
        return content.rows is None or self._history.find(content.state, segment.name) is not None


def _rows(segments: list[Claimed]) -> list[pa.Table]:
    """Return the rows of segments, whose writers add none from now on, whatever becomes of this process."""
    for segment in segments:
        segment.mark()
    return [s.content.rows for s in segments if s.content.rows is not None]
