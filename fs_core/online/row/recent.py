"""An entity's timeline: its recent rows, kept beside the latest one, from which a moment in the past is answered.

It is rows and floors, as `fs_core.online.row.entries` has them. A timeline is a set: rows may come twice; of several
floors the latest counts. For a moment at or after it the winner is the greatest, by order, of the rows available by
then; for an earlier one only history can answer. A timeline without a floor tells nothing, and neither does one that
lacks the latest row: that one came by a writer that kept none, and before it others may have.
`fs_core.materialization.recent` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from fs_core.definitions import FeatureView
from fs_core.online.contract import AVAILABLE, ORDER
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.entries import FLOOR, SEAL, body_of, entries, entries_of, moment_word
from fs_core.online.row.layout import layout_of


class Timelines:
    """Reads and makes the timelines of one view. Thread-safe, and cheap to make."""

    def __init__(self, view: FeatureView) -> None:
        self._codec, self._layout = RowCodec(view), layout_of(view)

    def floor(self, key: bytes, word: bytes) -> bytes:
        """Return the floor of an entity's timeline, given its moment as rows carry it."""
        return FLOOR + SEAL.pack(self._layout.seal(key, word)) + word

    def parsed(self, key: bytes, timeline: bytes | None) -> tuple[bytes | None, list[bytes]] | None:
        """Return the floor's moment, None where there is none, and the rows; None where the bytes make no sense."""
        found = entries_of(timeline or b"")
        if found is None:
            return None
        rows, marks = found
        floors = [body_of(mark) for mark in marks]
        if marks != [self.floor(key, floor) for floor in floors] or any(len(row) < ORDER.stop for row in rows):
            return None
        return max(floors, default=None), rows

    def tells(self, key: bytes, timeline: bytes | None, latest: bytes | None) -> bool:
        """Return whether a timeline tells what was from its floor on.

        Args:
            key: the entity.
            timeline: as the store holds it.
            latest: its latest row.
        """
        known = self.parsed(key, timeline)
        return known is not None and known[0] is not None and not _lacks(known[1], latest)

    def addition(
        self,
        key: bytes,
        timeline: bytes | None,
        latest: bytes | None,
        rows: Sequence[bytes],
        since: int,
        *,
        complete: bool,
    ) -> bytes:
        """Return what makes a timeline tell of more rows; nothing where it isn't needed for that.

        Args:
            key: the entity.
            timeline: as the store holds it.
            latest: its latest row.
            rows: what comes, one row at least.
            since: from which moment on it is to tell, microseconds.
            complete: whether these are all rows that any moment from then on may want, where none are held.
        """
        word, held = moment_word(since), list[bytes]()
        floor = word
        if not self.tells(key, timeline, latest):
            held = [row for row in (latest,) if row is not None and len(row) >= ORDER.stop]
            if not timeline and all(row[AVAILABLE] <= word for row in (*held, *rows)):
                return b""
            first = held[0] if held else max(rows, key=lambda row: row[ORDER])
            floor = word if complete and not held else max(word, first[AVAILABLE])
        return self.floor(key, floor) + entries((*held, *rows))

    def resolve(
        self, keys: Sequence[bytes], latest: Sequence[bytes | None], timelines: Sequence[bytes | None], moment: int
    ) -> list[bytes | None]:
        """Return the rows that win at a moment, where that is known; elsewhere the latest, which show that it isn't.

        A timeline of which any byte is damaged says nothing.

        Args:
            keys: the entities.
            latest: each entity's latest row, None where there is none.
            timelines: each entity's timeline, None where there is none.
            moment: the moment asked for, int64 microseconds.
        """
        asked = moment_word(moment)
        found = list(latest)
        for index, (key, row, timeline) in enumerate(zip(keys, latest, timelines, strict=True)):
            if row is None or timeline is None or row[AVAILABLE] <= asked:
                continue
            floor, rows = self.parsed(key, timeline) or (None, [])
            if floor is None or floor > asked or _lacks(rows, row):
                continue
            if not self._codec.decode([key] * len(rows), rows).corrupt:
                winners = [row for row in rows if row[AVAILABLE] <= asked]
                found[index] = max(winners, key=lambda row: row[ORDER], default=None)
        return found

    def trimmed(self, key: bytes, timeline: bytes, since: int) -> bytes:
        """Return a timeline without the rows that win at no moment from one on; nothing if the latest row is enough.

        Args:
            key: the entity.
            timeline: as the store holds it; of one that tells nothing, nothing is left.
            since: the moment, int64 microseconds.
        """
        floor, rows = self.parsed(key, timeline) or (None, [])
        word = moment_word(since)
        if floor is None or all(row[AVAILABLE] <= word for row in rows):
            return b""
        base = max((row[ORDER] for row in rows if row[AVAILABLE] <= word), default=b"")
        kept = {row[ORDER]: row for row in rows if row[ORDER] >= base}
        return self.floor(key, max(floor, word)) + entries(kept[order] for order in sorted(kept))


def _lacks(rows: Sequence[bytes], latest: bytes | None) -> bool:
    return latest is not None and all(row[ORDER] != latest[ORDER] for row in rows)
