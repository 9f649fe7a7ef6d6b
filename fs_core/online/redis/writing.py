"""Writing rows, watermarks, and dropping both.

Collection. A row carries the moment from which the server may forget it. What is forgotten shadows
nothing and brings nothing back, even if that moment is past when the row arrives (the server then
drops it at once, with the row it replaced): within a view that moment grows with the event time, so
whatever the row beat, then or later, is past its own moment as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from fs_core.online.contract import OnlineRows, OnlineWrite
from fs_core.online.redis.connection import Connecting
from fs_core.online.redis.naming import view_tag

if TYPE_CHECKING:
    from redis.commands.core import Script

_ROWS_A_CALL = 500  # bounds how long one script call holds the server
_SCAN_COUNT = 1000


class Writing(Connecting):
    """The write half of the store."""

    def write(self, view: str, rows: Sequence[OnlineWrite]) -> int:
        """See `OnlineStore.write`."""
        tag, applied, columns = view_tag(view), 0, OnlineRows.of(rows)
        with self._said_as_ours():
            for start in range(0, len(rows), _ROWS_A_CALL):
                part = columns[start : start + _ROWS_A_CALL]
                args = [_lengths(part), b"".join(part.rows)]
                applied += int(self._script(keys=self._names.rows(part.keys, tag), args=args, client=self._client))
        return applied

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        with self._said_as_ours():
            found: bytes | None = self._client.get(self._names.watermark(view))  # type: ignore[assignment]
        return None if found is None else found.decode()

    def set_watermark(self, view: str, text: str) -> None:
        """See `OnlineStore.set_watermark`."""
        with self._said_as_ours():
            self._client.set(self._names.watermark(view), text)

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`."""
        ending, dropped = b"}" + view_tag(view), 0
        with self._said_as_ours():
            self._client.unlink(self._names.watermark(view))
            batch: list[bytes] = []
            for key in self._client.scan_iter(match=self._names.rows_pattern(), count=_SCAN_COUNT):
                batch += [key] if key.endswith(ending) else []
                if len(batch) >= _SCAN_COUNT:
                    dropped += int(self._client.unlink(*batch))
                    batch = []
            return dropped + (int(self._client.unlink(*batch)) if batch else 0)

    @cached_property
    def _script(self) -> Script:
        return self._client.register_script(_compare_and_set())


def _lengths(rows: OnlineRows) -> bytes:
    """Return each row's length and moment of collection, as the script reads them."""
    table = np.zeros(len(rows), [("length", ">u4"), ("collect_at", ">u8")])
    table["length"] = np.fromiter(map(len, rows.rows), np.int64, len(rows))
    if rows.collect_at is not None:
        table["collect_at"] = [moment or 0 for moment in rows.collect_at]
    return table.tobytes()


@cache
def _compare_and_set() -> str:
    return resources.files("fs_core.online.redis").joinpath("compare_and_set.lua").read_text()
