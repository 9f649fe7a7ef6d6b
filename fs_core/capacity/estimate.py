"""What a view needs: online by store, and for its search index, from its rows or from its schema alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.capacity import sizes
from fs_core.definitions import FeatureView
from fs_core.errors import DataError, DefinitionError
from fs_core.online.row.codec import RowCodec
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore

_SAMPLE = 10_000  # entities whose rows are measured
_CLOCKS = 3 * 8  # bytes of a row's times and seq in the index


@dataclass(frozen=True)
class Estimate:
    """What one view needs, in bytes.

    Attributes:
        view: its name.
        entities: how many it is for.
        sampled: how many entities' rows were measured; 0 where the view has none: then texts, bytes and lists are
            taken as empty, so that it needs at least so much.
        row: an entity's packed row, mean.
        sqlite: an entity's room in an SQLite file.
        redis: an entity's memory in Redis, the server's own tables included.
        valkey: an entity's memory in Valkey 9.
        rows: how many rows history has.
        index: of the search index, with all columns.
    """

    view: str
    entities: int
    sampled: int
    row: float
    sqlite: float
    redis: float
    valkey: float
    rows: int
    index: int

    def __str__(self) -> str:
        least = "" if self.sampled else "at least "
        total = ", ".join(f"{name} {least}{_shown(getattr(self, name) * self.entities)}" for name in _STORES)
        return f"{self.view}: {self.entities:,} entities: {total}; index {least}{_shown(self.index)}"


_STORES = ("sqlite", "redis", "valkey")


def estimate(offline: OfflineStore, project: str, view: FeatureView, now: int, entities: int | None) -> Estimate:
    """Return what a view needs.

    Args:
        offline: its history.
        project: of the store; SQLite's rows carry its name.
        view: which.
        now: the moment whose winners are measured, microseconds.
        entities: how many there will be; by default as many as history has.

    Raises:
        DataError: `entities` isn't 1 or more.
        DefinitionError: the view keeps events or several rows of an entity online, which depends on how many come.
        OfflineStoreError: history can't be read.
    """
    if view.aggregations or view.online_history is not None:
        what = "windows, so it keeps events" if view.aggregations else "online_history, so it keeps several rows"
        raise DefinitionError(
            f"view {view.name!r} has {what}: how many an entity has depends on what comes. Fill it with a sample, and "
            "measure the store."
        )
    if entities is not None and entities < 1:
        raise DataError(f"entities is {entities}: say for how many entities, 1 or more, or leave it out.")
    found = offline.winners(view, until=now)
    sample = pa.Table.from_batches(_first(found.rows), history_schema(view))
    packed = RowCodec(view).encode(sample if len(sample) else _blank(view))
    count = found.total if entities is None else entities
    pairs = [(len(key), len(row)) for key, row in zip(packed.keys, packed.rows, strict=True)]
    named = [(key + sizes.AROUND_KEY, row) for key, row in pairs]
    expires = packed.collect_at is not None
    rows = len(offline.read(view, columns=[]))
    return Estimate(
        view.name,
        count,
        len(sample),
        sum(row for _, row in pairs) / len(pairs),
        sizes.sqlite(pairs, len(project.encode()) + len(view.storage_name.encode())),
        sizes.redis(named, count, expires=expires),
        sizes.valkey(named, expires=expires),
        rows,
        _index(view, sample, rows, found.total),
    )


def _first(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    left = _SAMPLE
    with batches:
        for batch in batches:
            yield batch.slice(0, left)
            left -= min(left, len(batch))
            if not left:
                return


def _blank(view: FeatureView) -> pa.Table:
    """Return one row without values: what the schema alone says of its size."""
    schema = history_schema(view)
    values = {EVENT_TIME: 0, AVAILABLE_AT: 0, SEQ: 0}
    columns = {}
    for field in schema:
        if field.name in values:
            columns[field.name] = pa.array([values[field.name]], pa.int64()).cast(field.type)
        else:
            columns[field.name] = _some(field.type) if field.name in view.keys else pa.nulls(1, field.type)
    return pa.table(columns)


def _some(dtype: pa.DataType) -> pa.Array:
    """Return a key: a number that takes all its bytes, an empty text."""
    if pa.types.is_string(dtype):
        return pa.array([""], dtype)
    if pa.types.is_binary(dtype):
        return pa.array([b""], dtype)
    if pa.types.is_integer(dtype):
        return pa.array([(1 << min(dtype.bit_width, 32) - 1) - 1], dtype)
    return pa.Array.from_buffers(dtype, 1, [None, pa.py_buffer(bytes(16))])  # of one width: zero, whatever it means


def _index(view: FeatureView, sample: pa.Table, rows: int, entities: int) -> int:
    """Return the bytes of the search index: clocks and values of every row, keys and offsets of every entity."""
    if not len(sample):
        return 0
    stored = sum(_width(sample[name]) for name in view.stored)
    keys = sum(sample[name].nbytes / len(sample) + 4 * pa.types.is_integer(dtype) for name, dtype in view.keys.items())
    return int(rows * (_CLOCKS + stored) + entities * (keys + 8))


def _width(column: pa.ChunkedArray) -> float:
    """Return a value's mean bytes in the index, where texts and lists have offsets of eight bytes."""
    long = pa.types.is_string(column.type) or pa.types.is_binary(column.type) or pa.types.is_list(column.type)
    return float(column.nbytes) / len(column) + (4 if long else 0)


def _shown(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
