"""Online reads: the as-of rule at one moment, answered from the latest rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from fs_core.asof import EVENT_TIME, STATUS, TIME, Status, is_expired
from fs_core.definitions import FeatureView
from fs_core.errors import (
    ConfigurationError,
    CorruptRowError,
    MomentNotOnlineError,
    NotOnlineError,
    OnlineStoreError,
    OnlineUnavailableError,
)
from fs_core.interchange import to_pandas, to_table
from fs_core.keys import key_table
from fs_core.matrix import to_matrix
from fs_core.online.codec import ONLINE_GRACE_MICROS, DecodedRows, RowCodec
from fs_core.selection import Selection
from fs_core.times import MICROSECONDS, from_micros

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore

Fallback = Literal["offline"] | None
"""What to do where the online store can't answer: raise, or read history."""


@dataclass(frozen=True)
class FeatureVectors:
    """What an online read found: one row for each entity asked for, in the order asked.

    Attributes:
        keys: the key columns, as the views declare them.
        table: the feature columns in their declared types, null unless present.
        status: for each view, by name, one of `"present"`, `"missing"`, `"expired"` for each row.
        at: the moment of the read, aware, UTC: the `t` of the as-of rule.
    """

    keys: pa.Table
    table: pa.Table
    status: Mapping[str, Sequence[str]]
    at: datetime

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the feature columns, in order."""
        return tuple(self.table.column_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def to_arrow(self) -> pa.Table:
        """Return keys, then features."""
        table = self.keys
        for name in self.table.column_names:
            table = table.append_column(self.table.schema.field(name), self.table[name])
        return table

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Return the features as a matrix, shape [rows, features]; see `fs_core.matrix.to_matrix`."""
        return to_matrix(self.table)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict of keys and features for each row."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame of keys and features; see `fs_core.interchange.to_pandas`."""
        return to_pandas(self.to_arrow())


@dataclass(frozen=True)
class _Answer:
    """One view's answer: its features under their own names, and a status for each row."""

    table: pa.Table
    status: list[str]


class OnlineReader:
    """Answers one request: every online view in one round trip, the rest from history if allowed."""

    def __init__(self, online: OnlineStore, offline: OfflineStore, selection: Selection, fallback: Fallback) -> None:
        if fallback not in (None, "offline"):
            raise ConfigurationError(f"fallback={fallback!r} is not understood. Pass 'offline' or leave it out.")
        self._online = online
        self._offline = offline
        self._selection = selection
        self._fallback = fallback

    def read(self, entities: Any, *, at: int | None, now: int) -> FeatureVectors:
        """Return the features of `entities` at the moment `at` (microseconds), by default `now`.

        Raises:
            SchemaError: a key is missing or of another type.
            NotOnlineError, OnlineUnavailableError, MomentNotOnlineError, CorruptRowError: the online
                store can't answer and no fallback was allowed.
        """
        table = to_table(entities, "the entities")
        self._selection.refuse_clash(self._selection.keys, "the entities")
        keys = {view: key_table(table, view, "the entities") for view in self._selection.views}
        held = self._fetch(keys)
        moment = _moment_of_read(held.values(), now) if at is None else at
        answers = {view: self._answer(view, keys[view], held.get(view), moment, at, now) for view in keys}
        columns = {f.column: answers[f.view].table[f.name] for f in self._selection.features}
        schema = pa.schema([pa.field(f.column, f.view.features[f.name]) for f in self._selection.features])
        return FeatureVectors(
            keys=_all_keys(keys),
            table=pa.table(columns, schema=schema),
            status={view.name: answer.status for view, answer in answers.items()},
            at=from_micros(moment),
        )

    def _fetch(self, keys: Mapping[FeatureView, pa.Table]) -> dict[FeatureView, _Held]:
        """Read what the online store holds, each entity once; leave out what history must answer."""
        online = [view for view in keys if self._is_online(view)]
        encoded = {view: _DistinctKeys.of(RowCodec(view).keys(keys[view])) for view in online}
        try:
            found = self._online.read([(view.storage_name, encoded[view].distinct) for view in online])
        except OnlineUnavailableError:
            if self._fallback is None:
                raise
            return {}
        return {
            view: _Held(encoded[view], RowCodec(view).decode(values))
            for view, values in zip(online, found, strict=True)
        }

    def _is_online(self, view: FeatureView) -> bool:
        if not view.online and self._fallback is None:
            raise NotOnlineError(
                f"view {view.ref!r} is not served online: it was declared with online=False. "
                "Declare online=True in a new version, or pass fallback='offline' to read it from history."
            )
        return view.online

    def _answer(
        self, view: FeatureView, keys: pa.Table, held: _Held | None, moment: int, at: int | None, now: int
    ) -> _Answer:
        if held is None:
            return self._from_history(view, keys, moment)
        problem = _why_not_online(view, keys, held, moment, None if at is None else now)
        if problem is None:
            return _from_online(view, held, moment)
        if self._fallback is None:
            raise problem
        return self._from_history(view, keys, moment)

    def _from_history(self, view: FeatureView, keys: pa.Table, moment: int) -> _Answer:
        times = pa.chunked_array([pa.repeat(pa.scalar(moment, pa.int64()), len(keys)).cast(MICROSECONDS)])
        rows = self._offline.as_of(view, keys.append_column(TIME, times), list(view.features))
        return _Answer(rows.drop_columns([EVENT_TIME, STATUS]), rows[STATUS].to_pylist())


@dataclass(frozen=True)
class _DistinctKeys:
    """Key bytes asked for, each once; `position[i]` is row i's place among them, -1 for a null key."""

    distinct: list[bytes]
    position: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, keys: Sequence[bytes | None]) -> _DistinctKeys:
        places: dict[bytes, int] = {}
        position = [-1 if key is None else places.setdefault(key, len(places)) for key in keys]
        return cls(list(places), np.array(position, dtype=np.int64))


@dataclass(frozen=True)
class _Held:
    """What the online store held for one view's distinct keys."""

    keys: _DistinctKeys
    rows: DecodedRows


def _moment_of_read(held: Iterable[_Held], now: int) -> int:
    """Return the moment a read stands for: now, or later if a row shows that later has come.

    Another machine's clock may be ahead; a row that is there was available.
    """
    latest = [int(h.rows.available_at[h.rows.found].max()) for h in held if h.rows.found.any()]
    return max([now, *latest])


def _why_not_online(
    view: FeatureView, keys: pa.Table, held: _Held, moment: int, now: int | None
) -> OnlineStoreError | None:
    """Return why the online store can't answer for `moment`, or None if it can. `now` is None if moment is now."""
    if held.rows.corrupt:
        names = [_entity(keys, held, place) for place in held.rows.corrupt[:3]]
        return CorruptRowError(
            f"view {view.ref!r}: the online row of {', '.join(names)} is damaged or of another schema "
            f"({len(held.rows.corrupt)} in all). Materialize the view with rebuild=True, or pass fallback='offline'."
        )
    newer = np.flatnonzero(held.rows.found & (held.rows.available_at > moment))
    if len(newer):
        return MomentNotOnlineError(
            f"view {view.ref!r}: at {from_micros(moment).isoformat()} the online row of "
            f"{_entity(keys, held, int(newer[0]))} was not available yet ({len(newer)} such rows). "
            "Only history knows what was: pass fallback='offline'."
        )
    collected = now is not None and view.ttl_micros is not None and moment < now - ONLINE_GRACE_MICROS
    absent = np.flatnonzero(~held.rows.found)
    if collected and len(absent):
        return MomentNotOnlineError(
            f"view {view.ref!r}: nothing is held for {_entity(keys, held, int(absent[0]))}, and what was alive at "
            f"{from_micros(moment).isoformat()} may have been collected since. Pass fallback='offline'."
        )
    return None


def _from_online(view: FeatureView, held: _Held, moment: int) -> _Answer:
    """Spread the distinct rows over the rows asked for. A null key has position -1: the place after the last."""
    expired = is_expired(held.rows.event_time, moment, view.ttl_micros)
    distinct = np.where(held.rows.found, np.where(expired, Status.EXPIRED, Status.PRESENT), Status.MISSING)
    status = np.append(distinct, Status.MISSING)[held.keys.position]
    rows = held.rows.table.take(pa.array(held.keys.position, mask=status != Status.PRESENT))
    return _Answer(rows, [str(s) for s in status])


def _entity(keys: pa.Table, held: _Held, place: int) -> str:
    row = int(np.flatnonzero(held.keys.position == place)[0])
    return ", ".join(f"{name}={keys[name][row].as_py()!r}" for name in keys.column_names)


def _all_keys(keys: Mapping[FeatureView, pa.Table]) -> pa.Table:
    columns: dict[str, Any] = {}
    for table in keys.values():
        columns |= {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(columns)
