"""Writing rows, watermarks, and dropping both.

Collection. A row carries the moment from which the server may forget it. What is forgotten shadows
nothing and brings nothing back, even if that moment is past when the row arrives (the server then
drops it at once, with the row it replaced): within a view that moment grows with the event time, so
whatever the row beat, then or later, is past its own moment as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fs_core.online.contract import OnlineRows, OnlineWrite, Recent, timeline_name
from fs_core.online.redis.scripts import Call, is_cluster, run
from fs_core.online.redis.witnesses import Witnessing
from fs_core.online.row.recent import moment_word

_ROWS_A_CALL = 500  # bounds how long one script call holds the server
_SCAN_COUNT = 1000


class Writing(Witnessing):
    """The write half of the store."""

    def write(self, view: str, rows: Sequence[OnlineWrite], *, recent: Recent | None = None) -> int:
        """See `OnlineStore.write`."""
        columns = OnlineRows.of(rows)
        keep = [] if recent is None else [_keeping(recent)]
        views = (view, timeline_name(view))[: 1 + len(keep)]
        names = [self._names.rows(columns.keys, name) for name in views]
        with self._said_as_ours():
            calls = self._calls(names, lambda part: [*_arguments(columns[part]), *keep])
            return run(self._client, "write", calls)

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        found: bytes | None
        if self._in_parts:
            mark, lost, _ = self._attested(view)
            found = None if mark is None or lost else mark.text
        else:
            with self._said_as_ours():
                found = self._client.get(self._names.watermark(view))  # type: ignore[assignment]
        return None if found is None else found.decode(errors="surrogateescape")  # damaged ones as well

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """See `OnlineStore.swap_watermark`."""
        texts = [(held or "").encode(errors="surrogateescape"), text.encode(errors="surrogateescape")]
        with self._said_as_ours():
            if self._in_parts:
                return self._swap_attested(view, *texts)
            return bool(run(self._client, "swap", [([self._names.watermark(view)], texts)]))

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        for names in self._scanned(view):
            keys = [self._names.key(name) for name in names]
            there = [(key, row) for key, row in zip(keys, self.read([(view, keys)])[0], strict=True) if row is not None]
            yield OnlineRows([key for key, _ in there], [row for _, row in there])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`."""
        names = self._names.rows(keys, view)
        with self._said_as_ours():
            if rows is None:
                deleted = self._unlink(names)
            else:
                deleted = run(self._client, "delete", self._calls([names], lambda part: list(rows[part])))
            # Afterwards: a writer that comes in between would begin a timeline with the row that is to be deleted.
            self._unlink(self._names.rows(keys, timeline_name(view)))
            return deleted

    @property
    def _in_parts(self) -> bool:
        """Whether some rows may be lost while others and the watermark stay."""
        return self._place.kind == "cluster"

    def _unlink(self, names: Sequence[bytes]) -> int:
        parts = range(0, len(names), _ROWS_A_CALL)
        return sum(int(self._client.unlink(*names[start : start + _ROWS_A_CALL])) for start in parts)

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`.

        The server's keys are walked through, in steps that hold nobody up: a set of each view's keys would
        take as much memory again as a third of the rows, at every moment, to save a walk now and then.
        """
        with self._said_as_ours():
            self._client.unlink(self._names.watermark(view))
            for names in self._scanned(timeline_name(view)):
                self._client.unlink(*names)
            dropped = sum(int(self._client.unlink(*names)) for names in self._scanned(view))
            if self._in_parts:
                self._client.unlink(*self._witnesses(view))
            self._client.unlink(self._names.watermark(view))  # again: a run that began meanwhile has lost rows
            return dropped

    def _scanned(self, view: str) -> Iterator[list[bytes]]:
        """Yield the names of a view's rows, up to a thousand at a time or few more."""
        batch = list[bytes]()
        with self._said_as_ours():
            for name in self._client.scan_iter(match=self._names.pattern(view), count=_SCAN_COUNT):
                batch.append(name)
                if len(batch) >= _SCAN_COUNT:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _calls(self, names: Sequence[Sequence[bytes]], arguments: Callable[[slice], Sequence[Any]]) -> Iterator[Call]:
        """Yield calls for rows by their names of one or more kinds, five hundred rows each; on a cluster one."""
        size = 1 if is_cluster(self._client) else _ROWS_A_CALL
        for start in range(0, len(names[0]), size):
            part = slice(start, start + size)
            yield [name for kind in names for name in kind[part]], arguments(part)


def _arguments(rows: OnlineRows) -> list[bytes]:
    """Return what the script takes beside the names: lengths and moments of collection, then the rows."""
    return [_lengths(rows), b"".join(rows.rows)]


def _keeping(recent: Recent) -> bytes:
    """Return how timelines are kept, as the script reads it."""
    return moment_word(recent.horizon) + recent.keep.to_bytes(8, "big") + bytes([recent.complete])


def _lengths(rows: OnlineRows) -> bytes:
    """Return each row's length and moment of collection, as the script reads them."""
    table = np.zeros(len(rows), [("length", ">u4"), ("collect_at", ">u8")])
    table["length"] = np.fromiter(map(len, rows.rows), np.int64, len(rows))
    if rows.collect_at is not None:
        table["collect_at"] = [moment or 0 for moment in rows.collect_at]
    return table.tobytes()
