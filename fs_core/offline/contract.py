"""What a history back-end must do. `fs_core.testing.OfflineStoreSuite` certifies one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.report import HistoryReport

Snapshot = int
"""One whole state of a view's history; later states have greater numbers. -1: nothing was ever written."""

EMPTY: Snapshot = -1


@dataclass(frozen=True)
class Watermark:
    """How far an online store has been filled: the state of history read, and the moment it stood for.

    Attributes:
        snapshot: the history state that was read.
        until: microseconds since 1970-01-01 UTC; rows available by then were considered.
    """

    snapshot: Snapshot
    until: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {"snapshot": self.snapshot, "until": self.until}


@dataclass(frozen=True)
class Winners:
    """The rows that bring an online store up to a moment.

    Attributes:
        rows: a stream of batches in `history_schema(view)`, ordered by seq, one row for each entity
            concerned, more with `recent`; it takes the memory of a few batches.
        total: how many rows there are.
        watermark: what an online store that took them all has reached; pass it next time.
    """

    rows: pa.RecordBatchReader
    total: int
    watermark: Watermark


@dataclass(frozen=True)
class Portions:
    """A state of a history in portions, so that each of many machines looks for winners in some.

    Attributes:
        portions: for `DividedHistory.winners_in`, picklable; each row that a run considers is in one of them.
        watermark: what an online store that took the winners of all portions has reached.
    """

    portions: Sequence[Any]
    watermark: Watermark


@dataclass(frozen=True)
class Erased:
    """What was removed from a view's history.

    Attributes:
        rows: rows that the newest state held.
        files: files of older states that held such rows and are deleted.
    """

    rows: int
    files: int


@runtime_checkable
class OfflineStore(Protocol):
    """Append-only history of feature views, with snapshots.

    Determinism: the same snapshot gives the same bits for ever, on any thread count.
    Atomicity: an append is seen whole or not at all, by every process, and never blocks readers.
    Thread-safety: one instance serves any number of threads. Pickling and forking: an instance holds
    configuration only and opens what it needs in the process that uses it; a library that doesn't survive
    a fork is no crash but an `OfflineStoreError`.
    Rows arrive validated: in `history_schema(view)`, keys and times without nulls.
    Errors: `OfflineStoreError`, naming the view.
    """

    def append(self, view: FeatureView, rows: pa.Table) -> Snapshot:
        """Add rows (in `history_schema(view)`, any order) in one atomic step; return the new state.

        Raises:
            OfflineStoreError: none of the rows is there, unless the message says that nobody can know.
        """
        ...

    def reserve(self, view: FeatureView, count: int, *, at_least: int = 0) -> int:
        """Hand out seqs in a row for rows of a view, to nobody else ever; return the first.

        It is greater than any that was handed out before and than that of any row, whoever wrote it.

        Args:
            view: whose history.
            count: how many.
            at_least: what the first may not be less than.
        """
        ...

    def snapshot(self, view: FeatureView) -> Snapshot:
        """Return the newest state, `EMPTY` if nothing was ever written."""
        ...

    def read(
        self, view: FeatureView, *, snapshot: Snapshot | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return every row of a state (default: the newest), in `history_schema(view)`, ordered by seq.

        Args:
            view: whose history.
            snapshot: the state to read (default: the newest).
            columns: which of what the view stores is wanted (default: all), in any order; keys, clocks and seq
                always come, and columns keep the order of the schema.
        """
        ...

    def as_of(
        self, view: FeatureView, spine: pa.Table, columns: Sequence[str], *, snapshot: Snapshot | None = None
    ) -> pa.Table:
        """Apply the as-of rule to each row of a narrowed spine.

        Args:
            view: whose history to search.
            spine: the view's key columns (in the view's types) and `TIME`; nulls allowed, any order.
            columns: the features wanted; also `AVAILABLE_AT`, where the view has no windows, for the winner's.
            snapshot: the state to read (default: the newest).

        Returns:
            One row for each spine row, in the spine's order: the `columns` in their declared types
            (null unless present), `EVENT_TIME` of the winner (null if missing) and `STATUS`.
        """
        ...

    def winners(
        self,
        view: FeatureView,
        *,
        until: int,
        since: Watermark | None = None,
        snapshot: Snapshot | None = None,
        after: int | None = None,
        entities: pa.Table | None = None,
        recent: int | None = None,
        happened: int | None = None,
    ) -> Winners:
        """Return the rows an online store needs to stand at the moment `until`.

        For each entity the winner at `until` among its candidate rows (`a <= until`, ttl not applied)
        that `since` didn't cover: rows written after `since.snapshot`, and rows that became available
        in `(since.until, until]`. A row may be returned again; the online store's compare-and-set makes
        that harmless. Without `since`, every candidate counts.

        The rows come ordered by seq, the same for the same arguments: who stopped in the middle goes on
        with the run's `snapshot` and, as `after`, the last seq that was taken.

        Args:
            view: whose history.
            until: the moment, microseconds since 1970-01-01 UTC.
            since: what an earlier run covered.
            snapshot: the state to read (default: the newest).
            after: leave out winners whose seq is this or less.
            entities: only of these: the view's key columns, in its types, without nulls.
            recent: beside the winners at `until`, return the candidates that became available after this moment, and
                the winners at it: all that any moment from it on may want.
            happened: with `recent`, return the candidates too that have a later event time than this moment: all that
                windows may hold. The rows of an entity come together then, its own by seq.

        Raises:
            OfflineStoreError: the state is no longer kept; while reading too.
        """
        ...

    def unwritten(self, view: FeatureView, rows: pa.Table) -> pa.Table:
        """Return those of some rows that the newest state doesn't have, in their order.

        A row is there if one has the same keys, event time and values, and availability where the view names a
        column for it. Of rows with one key and event time (or one event id), the one that counts must be the
        given one, if only one is given: a value that went and came back isn't there.

        Args:
            view: whose history.
            rows: in `history_schema(view)`, none of them null in keys or clocks; what transforms compute, the sequence
                and further columns aren't compared, and may lack.
        """
        ...

    def newest_event(self, view: FeatureView) -> int | None:
        """Return the latest event time of the newest state, microseconds since 1970-01-01 UTC; None without rows."""
        ...

    def compact(self, view: FeatureView) -> Snapshot:
        """Lay history out afresh for fast search, every row and every state kept; return the new state.

        Others may append and read meanwhile. Where there is nothing to gain, the state is the old one.
        """
        ...

    def erase(self, view: FeatureView, entities: pa.Table) -> Erased:
        """Remove every row of some entities from every state, for good.

        States that held such rows can't be read any more: asking for one is an `OfflineStoreError` that
        says so. Others, and the order and seq of what stays, are as before. What was interrupted is
        finished by repeating it.

        Args:
            view: whose history.
            entities: some of the view's key columns, in its types, without nulls; a row goes if these
                columns match.
        """
        ...

    def verify(self, view: FeatureView, *, repair: bool = False, evidence: int = 100) -> HistoryReport:
        """Look at every row and file of the newest state; return what is wrong.

        Each seq is there once; files are there and whole; clocks are in order; what is derived from files equals them.

        Args:
            view: whose history.
            repair: remove exact copies of rows, and what is derived and wrong.
            evidence: how many findings of each kind to return.
        """
        ...

    def traces(self, view: FeatureView, entities: pa.Table) -> int:
        """Return how many rows of entities any file still holds, whatever state it belongs to, read back from disk."""
        ...


@runtime_checkable
class PushedHistory(Protocol):
    """What a history offers beside `OfflineStore` if it takes a few rows in less time than an append."""

    def push(self, view: FeatureView, rows: pa.Table) -> None:
        """Add rows as `OfflineStore.append` does, but for the new state: it begins where somebody asks for the newest.

        They survive a loss of power once this returns.

        Args:
            view: to whose history.
            rows: in `history_schema(view)`, some ten thousand at most, and some megabytes.

        Raises:
            OfflineStoreError: none of the rows is there.
        """
        ...

    def settle(self) -> None:
        """Bring what this process has added to where other programs see it, too; it never fails."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a history has taken a stream: for each of its partitions, a position before some rows and one after.

    Attributes:
        before: None for a partition of which nothing was taken.
        after: greater than before.
    """

    before: Mapping[str, int | None]
    after: Mapping[str, int]


class OvertakenError(Exception):
    """Somebody else has brought a partition of a stream further meanwhile; none of the rows was appended."""


@runtime_checkable
class PositionedHistory(Protocol):
    """What a history offers beside `OfflineStore` if it knows how far it has taken streams, each message once."""

    def positions(self, view: FeatureView, partitions: Sequence[str]) -> dict[str, int | None]:
        """Return how far history has taken some partitions of streams.

        Args:
            view: whose history.
            partitions: their names, each with that of its stream.
        """
        ...

    def append_from(self, view: FeatureView, rows: pa.Table, progress: Progress) -> None:
        """Add rows that were made of messages, and how far that brings the stream, in one atomic step.

        The new state may begin where somebody asks for the newest, as with `PushedHistory.push`.

        Args:
            view: to whose history.
            rows: in `history_schema(view)`; none where no message became a row.
            progress: where the messages lie.

        Raises:
            OvertakenError: the history isn't where the messages begin.
            OfflineStoreError: none of the rows is there.
        """
        ...


@runtime_checkable
class StreamedHistory(Protocol):
    """What a history offers beside `OfflineStore` if rows needn't be in memory together to be one append."""

    def append_parts(self, view: FeatureView, parts: Iterable[pa.Table]) -> Snapshot:
        """Add the rows of tables as `OfflineStore.append` does, in one atomic step; return the new state.

        Args:
            view: to whose history.
            parts: at least one, each in `history_schema(view)`; one is read after the other.

        Raises:
            OfflineStoreError, or what reading the parts raises: none of the rows is there.
        """
        ...


@runtime_checkable
class ComparedHistory(Protocol):
    """What a history offers beside `OfflineStore` if two who add what it lacks don't both add the same."""

    def comparing(self, view: FeatureView) -> AbstractContextManager[None]:
        """Be the only one, in any process, who compares rows with a history and adds those it lacks; others wait.

        Raises:
            OfflineStoreError: another takes too long, or the history can't be locked.
        """
        ...


@runtime_checkable
class DividedHistory(Protocol):
    """What a history offers beside `OfflineStore` if machines can look for winners in a portion of it each."""

    def portions(
        self, view: FeatureView, *, until: int, since: Watermark | None = None, snapshot: Snapshot | None = None
    ) -> Portions:
        """Return what a run considers, in portions; none of them is read.

        Args:
            view: whose history.
            until: as in `OfflineStore.winners`.
            since: as in `OfflineStore.winners`.
            snapshot: as in `OfflineStore.winners`.

        Raises:
            OfflineStoreError: the state is no longer kept.
        """
        ...

    def winners_in(
        self, portion: Any, *, after: int | None = None, recent: int | None = None, happened: int | None = None
    ) -> pa.RecordBatchReader:
        """Return what `OfflineStore.winners` does if there were no other rows than those of a portion.

        Args:
            portion: one of `portions`.
            after: as in `OfflineStore.winners`.
            recent: as in `OfflineStore.winners`.
            happened: as in `OfflineStore.winners`.

        Raises:
            OfflineStoreError: the state is no longer kept, or can't be read on this machine; while reading too.
        """
        ...
