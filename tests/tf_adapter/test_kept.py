"""What a dataset reads from lives as long as the dataset, its descendants and iterators, and no longer."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from fs_core import TrainingSet
from fs_tf import feature_dataset


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_go_with_their_last_reader(shuffle: bool) -> None:
    """An iterator, then a bare variant, keep the rows; after them the memory is free, epochs read or not."""
    values = np.arange(100, dtype=np.float32)
    seen = weakref.ref(values)
    training = TrainingSet(pa.table({"x": values}), ["x"], [], "t", None, {"lag": None})
    dataset = feature_dataset(training, batch_size=10, shuffle=shuffle, label=False).map(lambda x: x["x"])
    assert len(list(dataset)) == 10
    iterator, variant = iter(dataset), tf.data.experimental.to_variant(dataset)
    del dataset, training, values
    gc.collect()
    rows = np.concatenate(list(iterator))
    assert sorted(rows) == list(range(100))
    del iterator
    gc.collect()
    again = tf.data.experimental.from_variant(variant, tf.TensorSpec([None], tf.float32))
    assert len(list(again)) == 10
    del again, variant
    gc.collect()
    assert seen() is None
