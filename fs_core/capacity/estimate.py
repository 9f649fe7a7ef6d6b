"""What a view needs: online by store, and for its history and search index, from its rows or from its schema alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.capacity import sizes
from fs_core.capacity.stored import stored
from fs_core.definitions import FeatureView
from fs_core.errors import DataError, DefinitionError
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore

_SAMPLE = 10_000  # entities whose rows are measured
_FEW = 1_000  # the same, where an entity has more than a row
_CLOCKS = 3 * 8  # bytes of a row's times and seq in the index


@dataclass(frozen=True)
class Estimate:
    """What one view needs, in bytes.

    Attributes:
        view: its name.
        entities: how many it is for.
        known: how many history has.
        sampled: how many entities were measured; 0 where the view has no rows: then texts, bytes and lists are
            taken as empty, so that it needs at least so much.
        row: what an entity has online, packed, mean: a row, or its events, or its row and those before it.
        sqlite: an entity's room in an SQLite file.
        redis: an entity's memory in Redis, the server's own tables included.
        valkey: an entity's memory in Valkey 9.
        dynamodb: an entity's room in DynamoDB.
        read_units: of DynamoDB, for a consistent read of an entity.
        write_units: of DynamoDB, for a write of an entity; twice as many where two items change together.
        write_reads: read units of DynamoDB, for what is read before such a write.
        rows: how many rows history has.
        history: of the data files of history, about.
        index: of the search index, with all columns.
    """

    view: str
    entities: int
    known: int
    sampled: int
    row: float
    sqlite: float
    redis: float
    valkey: float
    dynamodb: float
    read_units: float
    write_units: float
    write_reads: float
    rows: int
    history: int
    index: int

    def __str__(self) -> str:
        least = "" if self.sampled else "at least "
        total = ", ".join(f"{name} {least}{shown(getattr(self, name) * self.entities)}" for name in _STORES)
        return f"{self.view}: {self.entities:,} entities: {total}; index {least}{shown(self.index)}"

    @property
    def history_row(self) -> float:
        """Bytes of a row of history; of a view without rows the packed row's."""
        return self.history / self.rows if self.rows else self.row

    @property
    def planned_rows(self) -> float:
        """Rows of history when there are all those entities, each with as many as one has now; one at least."""
        return self.entities * max(self.rows / self.known if self.known else 1.0, 1.0)


_STORES = ("sqlite", "redis", "valkey", "dynamodb")


def estimate(offline: OfflineStore, project: str, view: FeatureView, now: int, entities: int | None) -> Estimate:
    """Return what a view needs.

    Args:
        offline: its history.
        project: of the store; SQLite's rows carry its name.
        view: which.
        now: the moment whose winners are measured, microseconds.
        entities: how many there will be; by default as many as history has. A view without an entity has one row.

    Raises:
        DataError: `entities` isn't 1 or more, or isn't given and the view has no rows.
        DefinitionError: the view keeps events or several rows of an entity online, and has no rows yet.
        OfflineStoreError: history can't be read.
    """
    if entities is not None and entities < 1:
        raise DataError(f"entities is {entities}: say for how many entities, 1 or more, or leave it out.")
    found = offline.winners(view, until=now)
    sample = _sample(view, found.rows)
    if entities is None and not found.total and view.entities:
        raise DataError(f"view {view.name!r} has no rows: say for how many entities, entities=1_000_000 (--entities).")
    latest = sample if len(sample) else _blank(view)
    held, rows = stored(view, offline, latest, now), len(offline.read(view, columns=[]))
    known = found.total
    count = 1 if not view.entities else known if entities is None else entities
    pairs = [*held.rows, *held.others]
    each, row = len(pairs) / len(latest), sum(value for _, value in pairs) / len(latest)
    named = [(key + sizes.AROUND_KEY, value) for key, value in pairs]
    expires = view.ttl is not None and not view.aggregations
    items, asked = sizes.dynamodb(pairs), sizes.units(sizes.dynamodb(held.rows), sizes.READ_UNIT)
    is_read = bool(view.aggregations) or view.online_history is not None
    return Estimate(
        view.name,
        count,
        known,
        len(sample),
        row=row,
        sqlite=each * sizes.sqlite(pairs, len(project.encode()) + len(view.storage_name.encode())),
        redis=each * sizes.redis(named, int(count * each), expires=expires),
        valkey=each * sizes.valkey(named, expires=expires),
        dynamodb=each * (sum(items) / max(len(items), 1) + sizes.INDEXED),
        read_units=asked,
        write_units=each * sizes.units(items, sizes.WRITE_UNIT) * (2 if held.others else 1),
        write_reads=each * sizes.units(items, sizes.READ_UNIT) if is_read else 0.0,
        rows=rows,
        history=int(rows * _parquet(sample)),
        index=_index(view, sample, rows, known),
    )


def _sample(view: FeatureView, latest: pa.RecordBatchReader) -> pa.Table:
    """Return the latest rows of some entities.

    Raises:
        DefinitionError: there are none, and the schema doesn't say how much an entity has.
    """
    kept = "windows, so it keeps events" if view.aggregations else "online_history, so it keeps several rows"
    has_more = bool(view.aggregations) or view.online_history is not None
    sample = pa.Table.from_batches(_first(latest, _FEW if has_more else _SAMPLE), history_schema(view))
    if has_more and not len(sample):
        raise DefinitionError(
            f"view {view.name!r} has {kept}: how many an entity has depends on what comes. Write what comes of some "
            "entities first, and it is measured."
        )
    return sample


def _first(batches: pa.RecordBatchReader, count: int) -> Iterator[pa.RecordBatch]:
    with batches:
        for batch in batches:
            yield batch.slice(0, count)
            count -= min(count, len(batch))
            if not count:
                return


def _parquet(rows: pa.Table) -> float:
    """Return a row's mean bytes in a data file; in memory, where there are so few that a file is more than its rows."""
    if len(rows) < _FEW:
        return float(rows.nbytes) / max(len(rows), 1)
    file = io.BytesIO()
    pq.write_table(rows, file)
    return len(file.getbuffer()) / len(rows)


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


def shown(size: float) -> str:
    """Return bytes as people say them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
