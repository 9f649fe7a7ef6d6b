"""How far streams have been taken: by the table, and by batches that wait beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fs_core.offline.contract import EMPTY, Snapshot
from fs_core.offline.delta.journal.records import furthest, reached
from fs_core.offline.delta.journal.segment import TAKEN, pending
from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.delta.log import DeltaLog


class Positions:
    """The positions of one table, which only their holder may move. Folds don't move them.

    A process remembers them for as long as segments of batches and the table's state are those that it last saw: any
    batch of somebody else's is a longer segment, another one, or a new state.

    Args:
        table: the table's directory.
        waiting: where segments lie.
        history: the table's log.
    """

    def __init__(self, table: Path, waiting: Path, history: DeltaLog) -> None:
        self._locks, self._waiting, self._history = TableLocks(table), waiting, history
        self._seen: tuple[dict[str, int], Snapshot] = {}, EMPTY
        self._known: dict[str, int | None] = {}

    @contextmanager
    def held(self) -> Iterator[Positions]:
        """Hold them: nobody else moves them meanwhile, in any thread or process. All else is for their holder.

        Raises:
            OSError: the file can't be made that is locked for it.
        """
        with self._locks.following():
            yield self

    def of(self, partitions: Iterable[str]) -> dict[str, int | None]:
        """Return the positions of some partitions, None for those of which nothing was taken.

        Raises:
            OSError, DeltaError: they can't be read.
        """
        seen = self._sizes(), self._history.newest()
        if seen != self._seen:
            self._seen, self._known = seen, {}
        wanted = list(partitions)
        self._known |= self._read([name for name in wanted if name not in self._known])
        return {name: self._known[name] for name in wanted}

    def move(self, after: Mapping[str, int]) -> None:
        """Remember how far the batch has brought partitions that was added just now."""
        with suppress(OSError):  # the batch is there; this process reads them anew, as where a state has come meanwhile
            self._seen = self._sizes(), self._seen[1]
            self._known |= after

    def _sizes(self) -> dict[str, int]:
        """Return the sizes of segments, which differ once anybody has added a batch."""
        sizes = dict[str, int]()
        for path in pending(self._waiting, TAKEN):
            with suppress(FileNotFoundError):
                sizes[path.name] = path.stat().st_size
        return sizes

    def _read(self, partitions: list[str]) -> dict[str, int | None]:
        """Read positions, those that wait first: what is folded meanwhile is in the table then."""
        if not partitions:
            return {}
        found = dict[str, int]()
        for path in pending(self._waiting, TAKEN):
            with suppress(FileNotFoundError):
                found = furthest(found, reached(path.read_bytes()))
        committed = self._history.positions(partitions)
        found = furthest(found, {name: position for name, position in committed.items() if position is not None})
        return {name: found.get(name) for name in partitions}
