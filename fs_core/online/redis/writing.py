"""Writing rows, watermarks, and dropping both.

Collection. A row carries the moment from which the server may forget it. What is forgotten shadows
nothing and brings nothing back, even if that moment is past when the row arrives (the server then
drops it at once, with the row it replaced): within a view that moment grows with the event time, so
whatever the row beat, then or later, is past its own moment as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_DELETE = """
local deleted = 0
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i] then deleted = deleted + redis.call('UNLINK', key) end
end
return deleted
"""


class Writing(Connecting):
    """The write half of the store."""

    def write(self, view: str, rows: Sequence[OnlineWrite]) -> int:
        """See `OnlineStore.write`."""
        tag, applied, columns = view_tag(view), 0, OnlineRows.of(rows)
        with self._said_as_ours():
            for start in range(0, len(rows), _ROWS_A_CALL):
                part = columns[start : start + _ROWS_A_CALL]
                args = [_lengths(part), b"".join(part.rows)]
                applied += int(
                    self._scripts["write"](keys=self._names.rows(part.keys, tag), args=args, client=self._client)
                )
        return applied

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        with self._said_as_ours():
            found: bytes | None = self._client.get(self._names.watermark(view))  # type: ignore[assignment]
        return None if found is None else found.decode()

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """See `OnlineStore.swap_watermark`."""
        with self._said_as_ours():
            swap = self._scripts["swap"]
            return bool(swap(keys=[self._names.watermark(view)], args=[held or "", text], client=self._client))

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        for names in self._scanned(view):
            with self._said_as_ours():
                found: list[bytes | None] = self._client.mget(names)  # type: ignore[assignment]
            there = [(self._names.key(name), row) for name, row in zip(names, found, strict=True) if row is not None]
            yield OnlineRows([key for key, _ in there], [row for _, row in there])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`."""
        deleted, names = 0, self._names.rows(keys, view_tag(view))
        with self._said_as_ours():
            for start in range(0, len(names), _ROWS_A_CALL):
                part = slice(start, start + _ROWS_A_CALL)
                if rows is None:
                    deleted += int(self._client.unlink(*names[part]))
                else:
                    delete = self._scripts["delete"]
                    deleted += int(delete(keys=names[part], args=list(rows[part]), client=self._client))
        return deleted

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`.

        The server's keys are walked through, in steps that hold nobody up: a set of each view's keys would
        take as much memory again as a third of the rows, at every moment, to save a walk now and then.
        """
        with self._said_as_ours():
            self._client.unlink(self._names.watermark(view))
            return sum(int(self._client.unlink(*names)) for names in self._scanned(view))

    def _scanned(self, view: str) -> Iterator[list[bytes]]:
        """Yield the names of a view's rows, up to a thousand at a time or few more."""
        ending, batch = b"}" + view_tag(view), list[bytes]()
        with self._said_as_ours():
            for name in self._client.scan_iter(match=self._names.rows_pattern(), count=_SCAN_COUNT):
                if name.endswith(ending):
                    batch.append(name)
                if len(batch) >= _SCAN_COUNT:
                    yield batch
                    batch = []
        if batch:
            yield batch

    @cached_property
    def _scripts(self) -> dict[str, Script]:
        sources = {"write": _compare_and_set(), "swap": _SWAP, "delete": _DELETE}
        return {name: self._client.register_script(source) for name, source in sources.items()}


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
