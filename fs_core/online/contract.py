"""What an online back-end must do. `fs_core.testing.OnlineStoreSuite` certifies one.

A back-end moves bytes: it never looks into a row, except at its order, which `fs_core.online.row.codec`
puts at a fixed position so that a store's own script can compare it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast, overload, runtime_checkable

import numpy as np

ORDER = slice(4, 26)
"""Where a packed row carries `(event_time, a, seq)`: two big-endian 64-bit words with the sign bit flipped
and one of 48 bits without a sign, so that comparing the 22 bytes from left to right compares the three numbers."""

AVAILABLE = slice(12, 20)
"""The second of those words: from when the row is available."""

LAST_SEQ = 2**48 - 1
"""The greatest seq that a row can carry."""


@dataclass(frozen=True)
class OnlineWrite:
    """One packed row on its way into the store.

    Attributes:
        key: the entity's key bytes, unique within a view.
        row: the packed row; `row[ORDER]` is its order.
        collect_at: milliseconds since 1970-01-01 UTC after which the store may delete the row to save
            memory; None for never. Expiry itself is decided by the reader.
    """

    key: bytes
    row: bytes
    collect_at: int | None = None


Additions = Mapping[bytes, tuple[bytes, bytes]]
"""What `OnlineStore.write` adds to timelines: by key, the order that the stored row must have, nothing where there must
be none, and the bytes that come at the end of the key's timeline, if any."""


def timeline_name(view: str) -> str:
    """Return the name of a view's timelines: values, as `splice` has them, that go with the rows of the same keys.

    With windows there are none: then it is where all events of those entities are that have many.
    """
    return f"{view}:recent"


class OnlineRows(Sequence[OnlineWrite]):
    """Packed rows column by column: a sequence of `OnlineWrite`s that nobody has to make one by one.

    Attributes:
        keys: each row's key.
        rows: each packed row.
        collect_at: each row's moment of collection; None where no row has one.
    """

    __slots__ = ("collect_at", "keys", "rows")

    def __init__(
        self, keys: Sequence[bytes], rows: Sequence[bytes], collect_at: Sequence[int | None] | None = None
    ) -> None:
        self.keys = keys
        self.rows = rows
        self.collect_at = collect_at

    @classmethod
    def of(cls, writes: Sequence[OnlineWrite]) -> OnlineRows:
        """Return writes column by column; at no cost where they are already."""
        if isinstance(writes, OnlineRows):
            return writes
        moments = [write.collect_at for write in writes]
        return cls([write.key for write in writes], [write.row for write in writes], moments if any(moments) else None)

    def take(self, positions: Sequence[int]) -> OnlineRows:
        """Return the rows at some positions."""
        moments = None if self.collect_at is None else [self.collect_at[i] for i in positions]
        return OnlineRows([self.keys[i] for i in positions], [self.rows[i] for i in positions], moments)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> OnlineWrite: ...
    @overload
    def __getitem__(self, index: slice) -> OnlineRows: ...
    def __getitem__(self, index: int | slice) -> OnlineWrite | OnlineRows:
        moments = None if self.collect_at is None else self.collect_at[index]
        if isinstance(index, slice):
            return OnlineRows(self.keys[index], self.rows[index], moments)  # type: ignore[arg-type]
        return OnlineWrite(self.keys[index], self.rows[index], moments)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PartialRead:
    """What a read could find where a part of the store doesn't answer; `OnlineUnavailableError.partial` carries it.

    Attributes:
        rows: as `OnlineStore.read` returns them, None where unread.
        unread: for each request, which of its keys couldn't be read, bool [keys]; None where all could.
    """

    rows: list[list[bytes | None]]
    unread: list[np.ndarray[Any, np.dtype[np.bool_]] | None]


@runtime_checkable
class AwaitableReader(Protocol):
    """An online store that can be read without blocking; others are read in a thread."""

    async def read_async(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """Return what `OnlineStore.read` does."""
        ...

    async def aclose(self) -> None:
        """Release the running event loop's connections; the next read opens new ones."""
        ...


def awaitable(store: OnlineStore) -> AwaitableReader | None:
    """Return a store as one that can be read without blocking; None where it can't."""
    return cast(AwaitableReader, store) if _is_awaitable(type(store)) else None


@cache
def _is_awaitable(kind: type) -> bool:
    return issubclass(kind, AwaitableReader)  # which takes long, so each class is looked at once


@runtime_checkable
class EvictingStore(Protocol):
    """An online store whose server may delete rows by itself when its memory is full, if so configured."""

    def eviction(self, *, expiring: bool) -> str | None:
        """Return the name of the rule by which the server would delete rows; None where none of them would go.

        Args:
            expiring: whether the rows have moments of collection: some rules take no others.

        Raises:
            OnlineStoreError: the store can't be asked, or this user may not.
        """
        ...


@runtime_checkable
class DividedStore(Protocol):
    """An online store of several parts, each of which may be lost while the others answer."""

    def refuse_unready(self) -> None:
        """Raise, as `OnlineStore.write` would, unless every part takes rows now; change nothing.

        Raises:
            OnlineStoreError: a part doesn't.
        """
        ...


@runtime_checkable
class OnlineStore(Protocol):
    """The latest row of each entity of each view.

    `view` is `FeatureView.storage_name`, unique to one meaning of one view.
    Atomicity: each row is written whole or not at all, and only if its order is not smaller than the
    stored row's, compared in the store; so writers in any order and number leave the same end state.
    Thread-safety: one instance serves any number of threads. Pickling and forking: an instance holds
    configuration only and opens connections in the process that uses them. `repr` shows no password.
    Errors: `OnlineUnavailableError` when the server can't be reached or doesn't answer in time,
    `OnlineStoreError` otherwise; both say which store and why.
    """

    def write(self, view: str, rows: Sequence[OnlineWrite], *, additions: Additions | None = None) -> int:
        """Compare-and-set each row; return how many were applied (the rest had lost to a newer one).

        With additions, a row is left alone unless the stored one has the order that they name; if it has, they are
        added in the same step, whether the row is applied or not. Returned is then of how many rows that was so.

        Args:
            view: whose rows they are.
            rows: what to write; `OnlineRows` costs least. With additions, each key once.
            additions: what to add to the timelines, for each key; None for nothing, whatever is stored.

        Raises:
            OnlineUnavailableError: the store, or a part of it, doesn't answer.
        """
        ...

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """Return the stored row of each key of each view, None where there is none, in one round trip.

        Args:
            requests: views with the keys wanted of each.
            within: how many seconds to wait for the server at most, connecting and trying again included; None
                for the store's own limit. A store that waits for no server may ignore it.

        Raises:
            DeadlineExceededError: it took longer than `within`.
            OnlineUnavailableError: the store, or a part of it, doesn't answer.
        """
        ...

    def splice(self, view: str, keys: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """Put bytes in place of those that values begin with; return how long each is then, -1 where it isn't changed.

        What follows those bytes stays as it is. Where nothing is held, the bytes come at the end, which takes no longer
        for a long value; none come where only the lengths are asked for. A value of which nothing is left is deleted.
        `read`, `scan`, `delete` and `drop` take values for rows. For each key it is done whole or not at all, compared
        in the store.

        Args:
            view: whose values: one that has no rows.
            keys: which, each once.
            held: what each value must begin with still; nothing, to add to it.
            values: what comes instead.
        """
        ...

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """Yield every row of the view in batches, with its key and without its moment of collection.

        A row that is written or deleted meanwhile comes or doesn't; one may come twice.
        Never blocks other clients for long.
        """
        ...

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """Delete the rows of these keys, and their timelines; return how many rows there were.

        The rows first or both at once: a timeline that is begun anew starts with the row that is there. The timelines
        go in any case. A store that keeps a log of its own empties it, also of what `splice` has replaced; no keys may
        be named, for that alone.

        Args:
            view: whose rows.
            keys: which.
            rows: delete only what is still these bytes, compared in the store; by default whatever is there.
        """
        ...

    def watermark(self, view: str) -> str | None:
        """Return what `swap_watermark` kept for the view, None if nothing or if the rows are gone."""
        ...

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """Keep a short text beside the view's rows, lost exactly when they are, and return whether that was done.

        Args:
            view: whose.
            held: what must be kept still, None for nothing; compared in the store, so of several that
                swap the same text one succeeds.
            text: what to keep, not empty.
        """
        ...

    def drop(self, view: str) -> int:
        """Delete the view's rows, timelines and watermark; return how many rows there were.

        Never blocks other clients for long.
        """
        ...

    def close(self) -> None:
        """Release connections; the next call opens new ones."""
        ...
