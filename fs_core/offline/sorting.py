"""The order in which rows lie in data files: by month of event time, keys, availability, event time, seq.

Arrow sorts by several columns with one thread, comparing row by row. Here rows are parted by month, and those of each
month are sorted by one whole number that says as much as their keys and availability; months in threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.runtime.threads import workers

Numbers = np.ndarray[Any, np.dtype[np.int64]]

_FEW = 50_000  # rows that are sorted before threads have begun
_MOST = 2**62  # what a number may say
_WIDE = 2**32  # between the least and the greatest key, from which on keys are numbered anew


def search_order(view: FeatureView, rows: pa.Table, months: Numbers) -> Numbers | None:
    """Return where the rows of a table lie in the order in which history is searched; None if they lie so already.

    Args:
        view: whose rows.
        rows: keys, clocks and seq, in storage types.
        months: of the event times.
    """
    if rows.num_rows < 2:
        return None
    known, event, seq = (micros_of(rows[name]) for name in (AVAILABLE_AT, EVENT_TIME, SEQ))
    keys = _key_numbers([rows[name] for name in view.keys])
    columns = (months, keys, known, event, seq)
    if _is_sorted(columns):
        return None
    if not (np.diff(seq) >= 0).all():
        return np.lexsort(columns[::-1])
    delay = known - event
    same_delay = bool((delay == delay[0]).all())

    def sort(part: Numbers) -> Numbers:
        return part[_order(keys[part], known[part], None if same_delay else event[part])]

    parts = list(_by_month(months))
    return np.concatenate(list(map(sort, parts) if len(seq) <= _FEW else workers().map(sort, parts)))


def _order(keys: Numbers, known: Numbers, event: Numbers | None) -> Numbers:
    """Return the order by keys, availability and event time; of what is equal, the first stays first."""
    if event is not None:
        return np.lexsort((event, known, keys))
    first, least = int(keys.min()), int(known.min())
    span = int(known.max()) - least + 1
    if (int(keys.max()) - first + 1) * span > _MOST:
        return np.lexsort((known, keys))
    return np.argsort((keys - first) * span + (known - least), kind="stable")


def _by_month(months: Numbers) -> Iterator[Numbers]:
    """Yield where the rows of each month are, months in order, rows as they come."""
    which = months - months.min()
    narrow = int(which.max()) < 2**16  # then NumPy sorts by counting
    by_month = np.argsort(which.astype(np.uint16) if narrow else which, kind="stable")
    parts = np.split(by_month, np.cumsum(np.bincount(which))[:-1])
    yield from (part for part in parts if len(part))


def _is_sorted(columns: Sequence[Numbers]) -> bool:
    """Tell whether rows lie in order of their columns, the first counting most."""
    equal = np.ones(len(columns[0]) - 1, dtype=bool)
    for column in columns:
        before, after = column[:-1], column[1:]
        if (equal & (before > after)).any():
            return False
        equal &= before == after
    return True


def _key_numbers(keys: Sequence[pa.ChunkedArray]) -> Numbers:
    """Return whole numbers that compare as the rows' keys do."""
    numbers, count = _ranks(keys[0])
    for key in keys[1:]:
        more, size = _ranks(key)
        if count * size > _MOST:
            present, numbers = np.unique(numbers, return_inverse=True)
            count = len(present)
        numbers, count = numbers * size + more, count * size
    return numbers


def _ranks(column: pa.ChunkedArray) -> tuple[Numbers, int]:
    """Return whole numbers from 0 on that compare as a column's values do, and how many there may be."""
    if pa.types.is_integer(column.type) or pa.types.is_temporal(column.type):
        numbers = micros_of(column)
        first, last = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        if last - first < _WIDE:
            return numbers - first, last - first + 1
        present, ranks = np.unique(numbers, return_inverse=True)
        return ranks.astype(np.int64), len(present)
    encoded = column.dictionary_encode().unify_dictionaries()
    values = encoded.chunk(0).dictionary
    ranks = np.argsort(pc.sort_indices(values).to_numpy())
    indices = pa.chunked_array([chunk.indices for chunk in encoded.chunks]).to_numpy()
    return ranks[indices], len(values)


def micros_of(column: pa.ChunkedArray) -> Numbers:
    """Return whole numbers, dates or moments without nulls as int64; moments in the unit of their type."""
    width = pa.int32() if column.type.bit_width == 32 and pa.types.is_temporal(column.type) else pa.int64()
    return np.asarray(column.cast(width).to_numpy(), dtype=np.int64)


def taken(table: pa.Table, order: Numbers) -> pa.Table:
    """Return the rows of a table in another order."""
    indices = pa.array(order)
    spread = map if table.num_rows <= _FEW else workers().map
    columns = spread(lambda column: column.take(indices), table.columns)
    return pa.table(dict(zip(table.column_names, columns, strict=True)))
