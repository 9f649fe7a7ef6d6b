"""A training set as a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fs_core import Encoding, TrainingSet
from fs_core.encoding.label import Label, label_name
from fs_core.errors import DataError
from fs_core.training_set import label_columns
from fs_tf.inputs import Inputs, Layout
from fs_tf.order import Shard
from fs_tf.pipeline import Batches, by_position


def feature_dataset(
    training_set: TrainingSet,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    layout: Layout = "columns",
    features: Sequence[str] | None = None,
    label: Label = None,
    encoding: Encoding | None = None,
    drop_remainder: bool = False,
    shard: tuple[int, int] | tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return a training set's rows as a dataset of `(x, y)`, or of x alone.

    Each epoch holds every row once. Its cardinality is known. Rows are read from the training set's own
    memory, a few MiB at a time; the graph holds none of them.

    With `layout="columns"`, x is a dict: features become the arrays of `Encoding.encode`, of shape [batch] or,
    for lists of one length, [batch, n]. What the encoding doesn't hold stays as it is: texts and bytes are
    `tf.string` (a null is the empty text), lists of many lengths `tf.RaggedTensor` (a null has no elements).
    With `layout="matrix"`, x is one tensor [batch, width] of the encoding's dtype. y is int64, bool or the
    encoding's dtype, [batch].

    Without an encoding nothing is learnt from rows: numbers are encoded as `Encoding.fit` does without
    arguments, so that a null where there is no NaN is refused; texts stay texts. Fit an `Encoding` on the
    training split for vocabularies, fills, masks and ages, and keep it with the model.

    Iterators can be saved and restored at any step (`tf.train.Checkpoint(iterator=iterator)`): what is left
    equals the uninterrupted run, with the same training set and arguments, on the same releases of this package
    and NumPy. An iterator that is used up remembers no epoch: to stop between epochs, save an iterator over
    `dataset.repeat()`. Reading calls Python, so the dataset can't be handed to another process: make it there.

    Args:
        training_set: the rows.
        batch_size: rows of each element, the last one's perhaps fewer; None for single rows.
        shuffle: give each epoch an order of its own, an exact permutation of all rows.
        seed: makes the orders repeat, epoch by epoch, as in `tf.data.Dataset.shuffle`.
        layout: `"columns"` or `"matrix"`.
        features: the columns, by default all of the encoding, or else all features.
        label: the column of y, or a list of several; by default the training set's label; False for x alone.
        encoding: how features become numbers.
        drop_remainder: leave out the rows that fill no batch. The batch size is static then, and every shard
            has the same number of batches.
        shard: `(index, count)`, or what `tf.distribute.Strategy.distribute_datasets_from_function` hands out:
            of each epoch's order, only every `count`th row. All shards together hold every row once.

    Raises:
        SchemaError: no such column, or one of a type that the layout or encoding doesn't take.
        ValidationError: a null has nothing to become, or a row has no label.
        DefinitionError: arguments contradict each other.
        ConfigurationError, DataError: an argument isn't understood, or shards shuffle without a seed.

    Example:
        >>> dataset = feature_dataset(training, batch_size=1024, shuffle=True, seed=7)   # doctest: +SKIP
        >>> model.fit(dataset, epochs=3, shuffle=False)                                  # doctest: +SKIP
    """
    y = label_name(label, training_set.label, "the training set")
    if features is None and encoding is None:
        features = [name for name in training_set.features if name not in label_columns(y)]
    schema, timestamp = training_set.table.schema, training_set.timestamp
    inputs = Inputs.of(schema, features, encoding, layout=layout, label=y, timestamp=timestamp)
    batches, part = Batches(batch_size, drop_remainder), Shard.of(shard)
    seed = checked_seed(part, shuffle=shuffle, seed=seed)
    bound = inputs.bind(training_set.table)
    return by_position(bound.arrays, len(training_set), inputs, batches, part, shuffle=shuffle, seed=seed)


def checked_seed(shard: Shard, *, shuffle: bool, seed: Any) -> int | None:
    """Return the seed; raise `DataError` if it is none, and for shards that would each draw an order of their own.

    Args:
        shard: which part of the rows is read.
        shuffle: whether rows are shuffled.
        seed: what the caller passed.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
        raise DataError(f"seed={seed!r} is no seed. Pass a whole number, or None for an order that doesn't repeat.")
    if shuffle and shard.count > 1 and seed is None:
        raise DataError("shuffle=True without a seed: each shard would draw an order of its own. Pass the same seed.")
    return None if seed is None else int(seed)
