"""Reading rows."""

from __future__ import annotations

from collections.abc import Sequence

from fs_core.online.redis.connection import Connecting
from fs_core.online.redis.naming import view_tag


class Reading(Connecting):
    """The read half of the store."""

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, ends: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`."""
        names = [self._names.row(key, tag) for view, keys in requests for tag in [view_tag(view)] for key in keys]
        with self._said_as_ours():
            found: list[bytes | None] = self._client.mget(names) if names else []  # type: ignore[assignment]
        rows = iter(found)
        return [[next(rows) for _ in keys] for _, keys in requests]
