"""A spine's rows as a `tf.data.Dataset`, their features looked up as they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from fs_core import Encoding, FeatureStore
from fs_core.encoding.label import Label, label_name
from fs_core.encoding.raw import Array, Rows
from fs_core.errors import DataError
from fs_core.retrieval.selection import Features
from fs_core.retrieval.streaming import AsOfReader
from fs_core.store import open_store
from fs_core.values.interchange import to_table
from fs_tf.dataset import checked_seed
from fs_tf.inputs import Inputs, Layout
from fs_tf.order import Shard
from fs_tf.pipeline import Batches, by_position, until_empty
from fs_tf.spine import SpineStream

ALL = slice(None)


def stream_dataset(
    store: FeatureStore | str | os.PathLike[str] | None,
    spine: Any,
    features: Features,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    layout: Layout = "columns",
    timestamp: str = "event_timestamp",
    label: Label = None,
    lag: timedelta | str | None = None,
    full_names: bool = False,
    encoding: Encoding | None = None,
    drop_remainder: bool = False,
    shard: tuple[int, int] | tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return what `feature_dataset` would of `get_historical_features`, without a training set in memory.

    Features are looked up as the rows are read, some thousand at a time, from the state that history has now.

    A spine in memory is read by position: the cardinality is known, epochs can be shuffled, and a restored
    iterator goes on where it was. A spine larger than memory is a function that opens a stream; its
    cardinality is unknown. A restored iterator opens the stream anew and skips the rows it has seen: that costs
    reading them, not looking up their features. To shuffle it, use `Dataset.shuffle(buffer_size)`.

    Args:
        store: a `FeatureStore`, the directory of one, or None for the environment's `FS_STORE`.
        spine: keys, times, perhaps a label: anything that `fs_core.values.interchange.to_table` reads; or a function
            without arguments that opens an Arrow stream, the same rows at each call, such as
            `lambda: pyarrow.dataset.dataset("spine/").scanner().to_reader()`.
        features: a service, a reference, or a list of references.
        batch_size: rows of each element; None for single rows.
        shuffle: give each epoch an order of its own; needs a spine in memory.
        seed: makes the orders repeat.
        layout: `"columns"` or `"matrix"`; see `feature_dataset`.
        timestamp: the spine's time column.
        label: the spine's label column, or a list of several; False for x alone.
        lag: look this long before each moment.
        full_names: name columns `view__feature`.
        encoding: how features become numbers; fitted on a sample, say. Without one, as in `feature_dataset`.
        drop_remainder: leave out the rows that fill no batch of every shard.
        shard: of each epoch's order, only every `count`th row, as in `feature_dataset`.

    Raises:
        UnknownReferenceError: no such view, service, version or feature.
        SchemaError, NameClashError, DefinitionError, DataError: as in `get_historical_features` and
            `feature_dataset`. What only rows can show comes while they are read, as an error of TensorFlow that
            quotes ours.
    """
    part = Shard.of(shard)
    seed = checked_seed(part, shuffle=shuffle, seed=seed)
    batches = Batches(batch_size, drop_remainder)
    reader = open_store(store).as_of_reader(features, timestamp=timestamp, lag=lag, full_names=full_names)

    def inputs_of(schema: pa.Schema) -> Inputs:
        whole = reader.joined(schema.empty_table()).schema
        y = label_name(label, None, "the spine")
        wanted = [name for name in reader.schema.names if name != y] if encoding is None else None
        return Inputs.of(whole, wanted, encoding, layout=layout, label=y, timestamp=timestamp)

    if callable(spine):
        if shuffle:
            raise DataError(
                "shuffle=True needs a spine in memory, but this one is a stream. Use dataset.shuffle(buffer_size)."
            )
        stream = SpineStream(spine)
        inputs = inputs_of(stream.schema)
        return until_empty(_in_turn(stream, reader, inputs, batches, part), inputs, batches, part)
    table = _in_memory(spine)
    inputs = inputs_of(table.schema)
    read = _anywhere(table, reader, inputs)
    return by_position(read, table.num_rows, inputs, batches, part, shuffle=shuffle, seed=seed)


def _in_memory(spine: Any) -> pa.Table:
    if isinstance(spine, pa.RecordBatchReader):
        raise DataError(
            "the spine is a stream that can be read only once, so there would be no second epoch and no restoring. "
            "Pass a function that opens it."
        )
    return to_table(spine, "the spine")


def _anywhere(table: pa.Table, reader: AsOfReader, inputs: Inputs) -> Callable[[Rows], list[Array]]:
    def read(rows: Rows) -> list[Array]:
        positions = np.arange(*rows.indices(table.num_rows)) if isinstance(rows, slice) else rows
        return inputs.bind(reader.joined(table.take(pa.array(positions, pa.int64())))).arrays(ALL)

    return read


def _in_turn(
    stream: SpineStream, reader: AsOfReader, inputs: Inputs, batches: Batches, shard: Shard
) -> Callable[[Array], list[Array]]:
    size = batches.chunk(inputs.row_bytes) * shard.count

    def read(number: Array) -> list[Array]:
        part = stream.part(int(number), size)
        positions = np.arange(shard.index, part.num_rows, shard.count)[
            : shard.size(part.num_rows, equal=batches.drop_remainder)
        ]
        rows = part if shard.count == 1 else part.take(pa.array(positions, pa.int64()))
        return [np.array(len(positions)), *inputs.bind(reader.joined(rows)).arrays(ALL)]

    return read
