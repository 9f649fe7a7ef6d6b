"""Quarantined rows, which break what their view declares: kept with the reason, released, or dropped.

quarantine/spending-3f2a9c1b22d04e55/        a Delta table for each meaning of a view, in partitions by day

A row is known by an id, a hash of what it says: what is written again, as by a backfill that is repeated, is kept once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, DataError, OfflineStoreError, did_you_mean
from fs_core.offline.days.table import DAY, DayTable
from fs_core.offline.sifted import NOTHING, QUARANTINED, Sifted
from fs_core.offline.validation.rows import given_schema
from fs_core.rule import AVAILABLE_AT
from fs_core.values.times import MICROSECONDS, from_micros

log = logging.getLogger("fs_core")

_POSITION = "__position"
ID, REASON, HELD_AT, PUSHED = "__id", "__reason", "__held_at", "__pushed"
"""What is kept of a row beside what history would have: its id, why, since when, and whether it was pushed."""

_HEAD = {
    DAY: pa.string(),
    ID: pa.string(),
    REASON: pa.string(),
    HELD_AT: MICROSECONDS,
    PUSHED: pa.bool_(),
    _POSITION: pa.int64(),  # in the data, for the order in which they are released
}


class Quarantine:
    """The quarantined rows of one view.

    Args:
        view: whose.
        directory: of all quarantines; made with the first row.
    """

    def __init__(self, view: FeatureView, directory: Path) -> None:
        self._view = view
        self._columns = {field.name: field.type for field in given_schema(view)}
        self._table = DayTable(
            f"quarantine of view {view.name!r}", {**_HEAD, **self._columns}, directory / view.storage_name
        )

    @property
    def is_empty(self) -> bool:
        """Whether no row is quarantined."""
        return self.count() == 0

    def count(self) -> int:
        """Return how many rows are quarantined."""
        return len(set(self._table.read([ID])[ID].to_pylist())) if self._table.directory.is_dir() else 0

    def add(self, sifted: Sifted, now: int, *, pushed: bool) -> pa.Table:
        """Keep rows; return what a writer is answered of them, in `QUARANTINED`.

        Args:
            sifted: whose `quarantined` rows.
            now: the present moment, microseconds.
            pushed: whether they were, so that they are known from their release on.

        Raises:
            OfflineStoreError: they can't be kept; none is.
        """
        if not sifted.positions:
            return NOTHING
        ids = self._ids(sifted.quarantined, pushed=pushed)
        answer = pa.table([pa.array(sifted.positions, pa.int64()), ids, list(sifted.reasons)], schema=QUARANTINED)
        head = {
            DAY: pa.repeat(from_micros(now).date().isoformat(), len(ids)),
            ID: ids,
            REASON: answer["reason"],
            HELD_AT: pa.repeat(pa.scalar(now, MICROSECONDS), len(ids)),
            PUSHED: pa.repeat(pushed, len(ids)),
            _POSITION: answer["row"],
        }
        rows = _once(pa.table({**head, **{name: sifted.quarantined[name] for name in self._columns}}))
        try:
            if self._table.directory.is_dir():
                known = self._table.read([ID])[ID]
                rows = rows.filter(pc.invert(pc.is_in(rows[ID], known.combine_chunks())))
            if rows.num_rows:
                self._table.append(rows)
        except (ConfigurationError, OfflineStoreError) as error:
            raise OfflineStoreError(
                f"{str(error).removesuffix('.')}. They belong into quarantine, so nothing was written."
            ) from error
        log.warning(
            "%d rows of %s are in quarantine; store.quarantined(%r) has them.",
            len(ids),
            self._view.ref,
            self._view.name,
        )
        return answer

    def _ids(self, rows: pa.Table, *, pushed: bool) -> list[str]:
        """Return a hash of each row: of its keys, event time and values, and its availability if that was given."""
        given = self._view.available_at is not None and not pushed
        columns = [rows[name].to_pylist() for name in self._columns if name != AVAILABLE_AT or given]
        return [blake2b(repr(row).encode(), digest_size=8).hexdigest() for row in zip(*columns, strict=True)]

    def read(self, ids: Sequence[str] | None = None) -> pa.Table:
        """Return quarantined rows in the order in which they came: `ID`, `REASON`, `HELD_AT`, `PUSHED`, and the rest.

        Args:
            ids: which; None for all.

        Raises:
            DataError: one isn't there.
        """
        order = [(name, "ascending") for name in (HELD_AT, _POSITION, ID)]
        found = _once(self._table.read().sort_by(order)).drop_columns([DAY, _POSITION])
        if ids is None:
            return found
        known = set(found[ID].to_pylist())
        for one in ids:
            if one not in known:
                hint = did_you_mean(one, known) if known else " It is empty."
                raise DataError(f"the quarantine of view {self._view.ref!r} has no row {one!r}.{hint}")
        return found.filter(pc.is_in(found[ID], pa.array(ids, pa.string())))

    def drop(self, ids: Sequence[str]) -> None:
        """Delete rows for good."""
        self._table.delete(pa.table({ID: pa.array(ids, pa.string())}))

    def forget(self, keys: pa.Table) -> int:
        """Erase the rows of some entities; return how many there were.

        Args:
            keys: some of the view's key columns, in its types, without nulls.
        """
        if not self._table.directory.is_dir():
            return 0
        with self.turn():
            names = keys.column_names
            held = self._table.read([ID, *names])
            doomed = held.join(keys.group_by(names).aggregate([]), keys=names, join_type="left semi")
            self.drop(pc.unique(doomed[ID]).to_pylist())
        return len(set(doomed[ID].to_pylist()))

    def turn(self) -> AbstractContextManager[None]:
        """Keep others from releasing or erasing rows meanwhile."""
        return self._table.turn()


def _once(rows: pa.Table) -> pa.Table:
    """Return rows without those whose id an earlier one has."""
    seen: set[str] = set()
    fresh = [not (one in seen or seen.add(one)) for one in rows[ID].to_pylist()]  # type: ignore[func-returns-value]
    return rows if all(fresh) else rows.filter(pa.array(fresh, pa.bool_()))
