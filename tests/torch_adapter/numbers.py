"""Training sets whose rows all differ, and what a loader gave of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from fs_core import TrainingSet
from tests.core.encoding.drawing import training_set_of

QUIET = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # four workers on two cores
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata's own call
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),  # there is no accelerator to pin for
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]
"""Marks for tests that start loaders: what they warn of is no fault of ours."""


def numbered(rows: int, chunks: int = 1) -> TrainingSet:
    """Return rows of two features and a label, each of which gives the row's number."""
    numbers = np.arange(rows)
    cut = np.linspace(0, rows, chunks + 1).astype(int)
    columns = {"a": numbers.astype(np.float32), "b": -numbers.astype(np.float64), "y": numbers}
    parts = {
        name: pa.chunked_array([pa.array(values[i:j]) for i, j in itertools.pairwise(cut)])
        for name, values in columns.items()
    }
    return training_set_of(parts, label="y")


def rows_of(batches: Iterable[Any]) -> list[int]:
    """Return the rows' numbers in the order given, after a look at whether features and labels belong together."""
    found: list[int] = []
    for X, y in batches:
        assert X.dtype == torch.float32
        assert y.dtype == torch.int64
        assert X.tolist() == [[row, -row] for row in y.tolist()]
        found += y.tolist()
    return found
