"""Training sets to feed, and their rows as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from fs_core import TrainingSet

STAMP = pa.timestamp("us", tz="UTC")


def numbered(rows: int, *, label: bool = True) -> TrainingSet:
    """A training set whose row i holds i as a number, as a text, and i % 4 times in a list."""
    columns = {
        "event_timestamp": pa.array(range(rows), pa.int64()).cast(STAMP),
        "number": pa.array(range(rows), pa.int64()),
        "half": pa.array([i / 2 for i in range(rows)], pa.float32()),
        "text": pa.array([str(i) for i in range(rows)], pa.string()),
        "list": pa.array([[i] * (i % 4) for i in range(rows)], pa.list_(pa.int32())),
        "y": pa.array([i % 3 for i in range(rows)], pa.int8()),
    }
    features = ["number", "half", "text", "list"]
    return TrainingSet(pa.table(columns), features, [], "event_timestamp", "y" if label else None, {"lag": None})


def read(dataset: tf.data.Dataset) -> list[list[int]]:
    """The numbers of each batch of a dataset of columns, every other tensor checked against them."""
    return [_checked(element) for element in dataset]


def _checked(element: Any) -> list[int]:
    x, y = element if isinstance(element, tuple) else (element, None)
    numbers = np.atleast_1d(x["number"].numpy())
    if "half" in x:
        assert np.atleast_1d(x["half"].numpy()).tolist() == (numbers / 2).tolist()
    if "text" in x:
        assert np.atleast_1d(x["text"].numpy()).tolist() == [str(i).encode() for i in numbers]
    if "list" in x:
        lists = x["list"].to_list() if hasattr(x["list"], "to_list") else [x["list"].numpy().tolist()]
        assert lists == [[i] * (i % 4) for i in numbers]
    if y is not None:
        assert np.atleast_1d(y.numpy()).tolist() == (numbers % 3).tolist()
    found: list[int] = numbers.tolist()
    return found


def flat(batches: list[list[int]]) -> list[int]:
    """The rows of all batches."""
    return [row for batch in batches for row in batch]
