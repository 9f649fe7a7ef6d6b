"""Carrying history over from one version of a view to another: both clocks and the order stay."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError, did_you_mean
from fs_core.offline.validation.rows import Compute, computed, refuse_unreadable, refuse_violations
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.values.casting import cast_lossless
from fs_core.values.times import LATEST


def carried(
    target: FeatureView, source: FeatureView, history: pa.Table, mapping: Mapping[str, str], compute: Compute
) -> pa.Table:
    """Return a version's history in the schema of another, without its sequence, in the order it was written.

    Args:
        target: the version to fill.
        source: the version whose history it is.
        history: its rows, in `history_schema(source)`, ordered by seq.
        mapping: fields of `target` that come from one of another name: new name to old.
        compute: gives the columns of the target's transforms, which are computed anew.

    Raises:
        DefinitionError: the keys differ, or `mapping` names no field.
        SchemaError: a value doesn't fit its new type.
        ValidationError: a value is null or out of range where the new field doesn't allow it, or a check is false;
            an event has no id, or a `where` fails for it.
    """
    columns = carried_columns(target, source, history, mapping)
    refuse_violations(target, columns)
    return computed_rows(target, columns, compute)


def carried_columns(
    target: FeatureView, source: FeatureView, history: pa.Table, mapping: Mapping[str, str]
) -> dict[str, pa.ChunkedArray]:
    """Return what rows of one version bring to another: keys, both clocks and fields; whether it's allowed is open.

    Args:
        target: the version to fill.
        source: the version whose rows they are.
        history: the rows; what they lack, or what is computed, is null.
        mapping: fields of `target` that come from one of another name: new name to old.

    Raises:
        DefinitionError: the keys differ, or `mapping` names no field.
        SchemaError: a value doesn't fit its new type.
    """
    if dict(target.keys) != dict(source.keys):
        raise DefinitionError(f"views {target.ref!r} and {source.ref!r} have other keys: rows can't be carried over.")
    for new, old in mapping.items():
        for name, view, known in ((new, target, target.written), (old, source, source.stored)):
            if name not in known:
                raise DefinitionError(f"mapping: view {view.ref!r} has no field {name!r}.{did_you_mean(name, known)}")
    columns = {name: history[name] for name in target.keys}
    for name, dtype in target.written.items():
        old = mapping.get(name, name)
        if old in history.column_names and old in source.stored:
            columns[name] = cast_lossless(history[old], dtype, f"view {target.name!r}: column {name!r}")
        else:
            columns[name] = pa.chunked_array([pa.nulls(history.num_rows, dtype)])
    return columns | {EVENT_TIME: history[EVENT_TIME], AVAILABLE_AT: _available(target, history)}


def computed_rows(target: FeatureView, columns: Mapping[str, pa.ChunkedArray], compute: Compute) -> pa.Table:
    """Return rows as a view's history has them, but for their sequence.

    Args:
        target: the view.
        columns: as `carried_columns` returns them.
        compute: gives the columns of the view's transforms.

    Raises:
        ValidationError: an event has no id, or one that isn't whole, or a `where` fails for it.
    """
    every = {**columns, **computed(target, columns, compute)}
    schema = pa.schema([field for field in history_schema(target) if field.name != SEQ])
    rows = pa.table({name: every[name] for name in schema.names}, schema=schema)
    refuse_unreadable(target, rows)
    return rows


def _available(target: FeatureView, history: pa.Table) -> pa.ChunkedArray:
    """Return from when rows are available, by the target's lag too."""
    lag = min(target.lag_micros, LATEST)
    ready = pc.min_element_wise(pc.add(history[EVENT_TIME].cast(pa.int64()), lag), LATEST)
    return pc.max_element_wise(ready, history[AVAILABLE_AT].cast(pa.int64())).cast(history[AVAILABLE_AT].type)
