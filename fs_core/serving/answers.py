"""One view's part of a result: its features under their own names, and a status for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from fs_core.errors import CorruptRowError, MomentNotOnlineError, OnlineStoreError
from fs_core.online.row.cells import Flags, Sizes, one_array, python_values
from fs_core.online.row.codec import ONLINE_GRACE_MICROS, DecodedRows
from fs_core.online.row.columns import FeatureRows
from fs_core.online.row.layout import Hashes, hashes_of
from fs_core.rule import Status, is_expired
from fs_core.serving.plan import ViewPlan
from fs_core.values.times import from_micros

UNAVAILABLE = "unavailable"
"""The status of a row that nobody could read in time, where `on_deadline="missing"` allows that."""

STATUSES = (Status.PRESENT.value, Status.MISSING.value, Status.EXPIRED.value, UNAVAILABLE)
FOUND = (STATUSES.index(Status.PRESENT), STATUSES.index(Status.EXPIRED))
"""The positions of the statuses of rows that were found."""
_NAMES = np.array(STATUSES, dtype=object)


class Answer(Protocol):
    """What each kind of answer can say."""

    @property
    def rows(self) -> FeatureRows | None:
        """The packed rows that it comes from; None where it comes from a table."""
        ...

    @property
    def status(self) -> list[str]:
        """The status of each row."""
        ...

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """Return columns in the order asked, null unless present."""
        ...

    def values(self, names: tuple[str, ...]) -> list[list[Any]]:
        """Return columns as Python's values, in the order asked, None unless present."""
        ...

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """Return columns as one matrix, NaN for null, where that is quicker than by way of Arrow; else None."""
        ...


@dataclass(eq=False, slots=True)  # each read makes one of each class here: frozen ones take twice as long
class OnlineAnswer:
    """An answer from packed rows.

    Attributes:
        rows: the rows, blanked where they aren't present.
        held: what they come from.
        codes: positions in `STATUSES`, uint8 [n]; None where all are present.
    """

    rows: FeatureRows
    held: Held
    codes: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def variable(self, rows: Sizes) -> Mapping[str, pa.Array]:
        """Return those features of some rows, as they were found, whose size varies."""
        position, columns = self.held.keys.position, self.held.rows.features.variable
        indices = rows if position is None else position[rows]
        at = pa.array(indices, mask=indices < 0)
        return {name: column.take(at) for name, column in columns.items()}

    @property
    def status(self) -> list[str]:
        """See `Answer.status`."""
        if self.codes is None:
            return [STATUSES[0]] * len(self.rows)
        found: list[str] = _NAMES[self.codes].tolist()
        return found

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """See `Answer.arrays`."""
        return self.rows.arrays(names)

    def values(self, names: tuple[str, ...]) -> list[list[Any]]:
        """See `Answer.values`."""
        return self.rows.values(names)

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """See `Answer.matrix`."""
        return self.rows.matrix(names)


@dataclass(frozen=True)
class TableAnswer:
    """An answer that is a table already: history's, windows, or nulls.

    Attributes:
        table: the features, null unless present.
        status: of each row.
        event_time: of windows from the online store, when each row's latest known event was, microseconds, int64 [n];
            anything where none was known. None where that isn't known.
    """

    table: pa.Table
    status: list[str]
    event_time: Sizes | None = None
    rows: ClassVar[None] = None

    @classmethod
    def unavailable(cls, types: dict[str, pa.DataType], count: int) -> TableAnswer:
        """Return nulls for rows that couldn't be read."""
        return cls(pa.table({name: pa.nulls(count, dtype) for name, dtype in types.items()}), [UNAVAILABLE] * count)

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """See `Answer.arrays`."""
        if names == tuple(self.table.column_names):  # mostly, and quicker than one by one
            return list(self.table.columns)
        return [self.table[name] for name in names]

    def values(self, names: tuple[str, ...]) -> list[list[Any]]:
        """See `Answer.values`."""
        return [python_values(column) for column in self.arrays(names)]

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """See `Answer.matrix`."""
        del names
        return None


@dataclass(frozen=True)
class ComputedAnswer:
    """The features of an on-demand view; `parts` are the answers that it was computed from."""

    table: pa.Table
    parts: Sequence[Answer]
    rows: ClassVar[None] = None

    @property
    def status(self) -> list[str]:
        """See `Answer.status`: of what it was computed from, the first that isn't present."""
        found = [Status.PRESENT.value] * self.table.num_rows
        for part in reversed(self.parts):
            found = [one if one != Status.PRESENT.value else kept for one, kept in zip(part.status, found, strict=True)]
        return found

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """See `Answer.arrays`."""
        return [one_array(self.table[name]) for name in names]

    def values(self, names: tuple[str, ...]) -> list[list[Any]]:
        """See `Answer.values`."""
        return [python_values(self.table[name]) for name in names]

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """See `Answer.matrix`."""
        del names
        return None


_PRESENT, _MISSING, _EXPIRED, _UNAVAILABLE = (
    np.uint8(STATUSES.index(status)) for status in (Status.PRESENT, Status.MISSING, Status.EXPIRED, UNAVAILABLE)
)


@dataclass(eq=False, slots=True)
class AskedKeys:
    """The entities of a request as one group of views has them: key bytes, each read once.

    Attributes:
        columns: the key columns.
        distinct: the key bytes to read.
        position: the index among them of row i's key, -1 for a null key; None where that is i.
        has_null: whether there is a null key.
    """

    columns: Sequence[pa.Array]
    distinct: list[bytes]
    position: np.ndarray[Any, np.dtype[np.int64]] | None
    has_null: bool = False
    _hashes: Hashes | None = None

    @classmethod
    def of(cls, view: ViewPlan, columns: Sequence[pa.Array]) -> AskedKeys:
        """Pack the keys of the entities asked for."""
        keys = view.codec.pack_keys(columns)
        if len(known := set(keys)) == len(keys) and None not in known:
            return cls(columns, keys, None)  # type: ignore[arg-type]  # no null, no None
        indices: dict[bytes, int] = {}
        position = [-1 if key is None else indices.setdefault(key, len(indices)) for key in keys]
        return cls(columns, list(indices), np.array(position, dtype=np.int64), None in known)

    def __len__(self) -> int:
        return len(self.columns[0])

    def hashes(self) -> Hashes:
        """Return the CRC-32 of each distinct key, uint64 [distinct]."""
        if self._hashes is None:
            self._hashes = hashes_of(self.distinct)
        return self._hashes

    def entity(self, view: ViewPlan, index: int) -> str:
        """Return how an error calls the entity whose key has an index."""
        row = index if self.position is None else int(np.flatnonzero(self.position == index)[0])
        named = zip(view.view.keys, self.columns, strict=True)
        return ", ".join(f"{name}={column[row].as_py()!r}" for name, column in named)


@dataclass(eq=False, slots=True)
class Held:
    """What the online store held for one view's distinct keys.

    Attributes:
        plan: the view.
        keys: the keys.
        rows: the row of each distinct key.
        unread: whose row couldn't be read, bool [distinct]; None where all could.
    """

    plan: ViewPlan
    keys: AskedKeys
    rows: DecodedRows
    unread: Flags | None = None

    @property
    def latest(self) -> int:
        """The latest moment at which a row became available, microseconds; `EARLIEST` where there is none."""
        return self.rows.latest

    def problem(self, moment: int, now: int | None) -> OnlineStoreError | None:
        """Return why these rows don't answer for `moment`, or None if they do. `now` is None if moment is now."""
        if now is None:  # then no row is too new, and what was collected is expired
            return self._damage()
        return self._damage() or self._too_new(moment) or self._collected(moment, now)

    def answer(self, moment: int) -> OnlineAnswer:
        """Spread the distinct rows over the rows asked for. A null key has position -1: the row after the last."""
        position, rows, ttl = self.keys.position, self.rows, self.plan.ttl
        if ttl is None and rows.sound is None and position is None and self.unread is None:
            return OnlineAnswer(rows.features, self)
        expired = is_expired(rows.event_time, moment, ttl)
        status = np.where(rows.found, np.where(expired, _EXPIRED, _PRESENT), _MISSING)
        if self.unread is not None:
            status[self.unread] = _UNAVAILABLE
        if position is not None:
            status = np.append(status, _MISSING)[position]
        present = status == _PRESENT
        return OnlineAnswer(rows.features.take(position, None if present.all() else present), self, status)

    def _damage(self) -> OnlineStoreError | None:
        return damaged(self.plan, self.keys, self.rows.corrupt) if self.rows.corrupt else None

    def _too_new(self, moment: int) -> OnlineStoreError | None:
        newer = np.flatnonzero(self.rows.found & (self.rows.available_at > moment))
        if not len(newer):
            return None
        return MomentNotOnlineError(
            f"view {self.plan.view.ref!r}: at {from_micros(moment).isoformat()} the online row of "
            f"{self.keys.entity(self.plan, int(newer[0]))} was not available yet ({len(newer)} such rows). "
            "Only history knows what was: pass fallback='offline'."
        )

    def _collected(self, moment: int, now: int) -> OnlineStoreError | None:
        absent = np.flatnonzero(~self.rows.found if self.unread is None else ~(self.rows.found | self.unread))
        if self.plan.ttl is None or moment >= now - ONLINE_GRACE_MICROS or not len(absent):
            return None
        return MomentNotOnlineError(
            f"view {self.plan.view.ref!r}: nothing is held for {self.keys.entity(self.plan, int(absent[0]))}, and what "
            f"was alive at {from_micros(moment).isoformat()} may have been collected since. Pass fallback='offline'."
        )


def damaged(plan: ViewPlan, keys: AskedKeys, positions: Sequence[int]) -> CorruptRowError:
    """Return the error that names whose rows are damaged.

    Args:
        plan: the view.
        keys: the entities asked for.
        positions: of damaged rows among the distinct keys.
    """
    names = [keys.entity(plan, place) for place in positions[:3]]
    return CorruptRowError(
        f"view {plan.view.ref!r}: the online row of {', '.join(names)} is damaged or of another schema or "
        f"format ({len(positions)} in all). Materialize the view with rebuild=True (fs materialize --rebuild), or "
        "pass fallback='offline'."
    )
