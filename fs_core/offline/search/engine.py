"""What an as-of engine is, and what surrounds every one: null keys, expiry, statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, STATUS, TIME, Status, is_expired
from fs_core.values.times import MICROSECONDS
from fs_core.windows.answer import nothing as windows_of_nobody
from fs_core.windows.plan import features_of

Micros = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_STATUSES = (Status.MISSING, Status.EXPIRED, Status.PRESENT)


@dataclass(frozen=True)
class Found:
    """What an engine found for the rows of a narrowed spine, in its order.

    Attributes:
        features: the columns asked for in their declared types, null unless the winner is alive.
        event_time: each winner's, microseconds; anything where there is none.
        wins: whether there is a winner.
        alive: whether there is one that hasn't expired.
    """

    features: pa.Table
    event_time: Micros
    wins: Flags
    alive: Flags


class AsOfEngine(Protocol):
    """Finds winners in history files. Deterministic, thread-safe, picklable."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """Apply the rule to each row of a narrowed spine.

        Args:
            view: whose history.
            files: Parquet files that together hold the candidates, at least one.
            spine: the view's keys and `TIME`, no nulls, at least one row.
            columns: the features wanted.
        """
        ...

    def prepare(self, view: FeatureView, files: Sequence[str]) -> None:
        """Make the search of these files, the newest state of a history, as fast as it gets."""
        ...

    def forget(self, view: FeatureView) -> None:
        """Delete everything derived from a view's history; what is asked for is derived anew."""
        ...

    def verify(self, view: FeatureView, files: Sequence[str], *, repair: bool) -> list[str]:
        """Return the paths of what was derived from these files and isn't what they say.

        Args:
            view: whose history.
            files: those of the newest state.
            repair: delete what is wrong.
        """
        ...


def column_types(view: FeatureView) -> Mapping[str, pa.DataType]:
    """Return the types of what may be asked of a view: its features, and `AVAILABLE_AT`."""
    return {**view.features, AVAILABLE_AT: MICROSECONDS}


def alive(view: FeatureView, wins: Flags, event_time: Micros, moments: Micros) -> Flags:
    """Return which winners step 3 of the rule leaves.

    Args:
        view: whose ttl counts.
        wins: which rows of the spine have a winner.
        event_time: of the winners, microseconds.
        moments: of the spine's rows, microseconds.
    """
    return wins & ~is_expired(event_time, moments, view.ttl_micros)


def apply_rule(
    engine: AsOfEngine, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]
) -> pa.Table:
    """Return `OfflineStore.as_of`'s result: every spine row, nulls unless present, and its status.

    Rows whose key or time is null never reach the engine: nothing equals a null.

    Args:
        engine: who searches.
        view: whose history.
        files: the data files of a state.
        spine: key columns and `TIME`; nulls allowed.
        columns: the features wanted.
    """
    spine = spine.select([*view.keys, TIME])
    if not any(column.null_count for column in spine.columns):
        return _as_table(_search(engine, view, files, spine, columns))
    usable = np.ones(spine.num_rows, dtype=bool)
    for column in spine.columns:
        usable &= column.is_valid().to_numpy()
    found = _as_table(_search(engine, view, files, spine.filter(pa.array(usable)), columns))
    position = pa.array(np.where(usable, np.cumsum(usable) - 1, 0), mask=~usable)
    spread = found.take(position)
    status = spread[STATUS].fill_null(Status.MISSING.value)
    return spread.set_column(spread.schema.get_field_index(STATUS), STATUS, status)


def _search(
    engine: AsOfEngine, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]
) -> Found:
    rows = spine.num_rows
    if files and rows:
        return engine.search(view, files, spine, columns)
    types = column_types(view)
    nothing = pa.table({name: pa.nulls(rows, types[name]) for name in columns})
    if view.aggregations:
        nothing = windows_of_nobody(features_of(view, columns), rows)
    none = np.zeros(rows, dtype=bool)
    return Found(nothing, np.zeros(rows, dtype=np.int64), none, none)


def _as_table(found: Found) -> pa.Table:
    codes = pa.array(found.wins.astype(np.int8) + found.alive)
    status = pa.DictionaryArray.from_arrays(codes, pa.array([str(s) for s in _STATUSES])).cast(pa.string())
    times = pa.array(found.event_time, mask=~found.wins).cast(MICROSECONDS)
    columns = dict(zip(found.features.column_names, found.features.columns, strict=True))
    return pa.table({**columns, EVENT_TIME: times, STATUS: status})


def numbers(times: pa.ChunkedArray) -> Micros:
    """Return moments as microseconds, a null as 0."""
    return np.asarray(pc.fill_null(times.cast(MICROSECONDS).cast(pa.int64()), 0).to_numpy(), dtype=np.int64)
