"""Forgetting entities in logs: their rows, and what was predicted and became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from fs_core.errors import FeatureStoreError, SchemaError
from fs_core.monitoring.log.rows import REQUEST_ID, ROW
from fs_core.monitoring.log.tables import LogTable, LogTables
from fs_core.values.casting import cast_lossless

_IDS = [REQUEST_ID, ROW]
_TRIES = 3


def forget_logged(logs: LogTables, entity: str, keys: Sequence[pa.Table]) -> dict[str, int]:
    """Erase the rows of entities from every log; return how many, of those logs that had some.

    Args:
        logs: the logs.
        entity: the entity's name.
        keys: key columns, in each version's types, without nulls.

    Raises:
        FeatureStoreError: rows are there again.
    """
    found = {}
    for name in logs.names():
        rows = sum(_erase(table, logs.outcomes(name), entity, keys) for table in logs.tables(name))
        if rows:
            found[name] = rows
    return found


def _erase(table: LogTable, outcomes: LogTable, entity: str, keys: Sequence[pa.Table]) -> int:
    erased = 0
    for _ in range(_TRIES):
        ids = _ids(table, entity, keys)
        for held in (outcomes, table):  # what names the outcomes goes last; without ids, files that no state needs go
            held.delete(ids)
        if not ids.num_rows:
            return erased
        erased += ids.num_rows
    raise FeatureStoreError(f"log {table.log!r}: rows of what was to be forgotten are there again. Repeat it.")


def _ids(table: LogTable, entity: str, keys: Sequence[pa.Table]) -> pa.Table:
    """Return which rows are about some entities."""
    found = [pa.schema([(name, table.schema[name]) for name in _IDS]).empty_table()]
    for columns in _columns(table, entity):
        rows = table.read(columns=[*_IDS, *columns.values()])
        for wanted in keys:
            same = _in_types_of(rows, wanted, columns)
            if same is not None:
                found.append(rows.join(same, keys=list(same.column_names), join_type="left semi").select(_IDS))
    return pa.concat_tables(found).group_by(_IDS).aggregate([])


def _columns(table: LogTable, entity: str) -> Iterator[Mapping[str, str]]:
    """Yield for each look-up of an entity which column holds which key."""
    assert table.descriptor is not None
    seen = []
    for lookup in table.descriptor.lookups:
        columns = lookup["entities"].get(entity)
        if columns is not None and columns not in seen:
            seen.append(columns)
            yield columns


def _in_types_of(rows: pa.Table, wanted: pa.Table, columns: Mapping[str, str]) -> pa.Table | None:
    """Return keys under the columns that hold them; None where they are other keys or can't be equal."""
    if set(wanted.column_names) != set(columns):
        return None
    try:
        return pa.table({own: cast_lossless(wanted[key], rows[own].type, own) for key, own in columns.items()})
    except SchemaError:
        return None
