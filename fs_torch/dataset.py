"""A map-style dataset of feature rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.utils.data import Dataset

from fs_core import Encoding, TrainingSet
from fs_core.encoding.label import Label
from fs_core.retrieval.selection import Features
from fs_torch.batch import Row, Rows, each, given
from fs_torch.source import RowSource, of_spine, of_training_set
from fs_torch.tensors import Form, Layout, Transform

if TYPE_CHECKING:
    from fs_core import FeatureStore


class FeatureDataset(Dataset[Any]):  # type: ignore[misc]
    """Rows of a training set for torch's stock `DataLoader`, gathered a whole batch at a time.

    Nothing to configure: no `collate_fn`, any sampler, any number of workers, forked or spawned. The rows
    stay where they lie in the training set's table; what a batch holds is its own, so in-place operations
    are safe. A table of several chunks is joined once.

    Items are `(X, y)`: `X[features]` and `y[]` for `dataset[i]`, `X[batch, features]` and `y[batch]` from a
    loader or for `dataset[[i, j]]`; with `layout="columns"`, `X` is a dict of columns. Features alone, without
    the tuple, if `label=False`. See `Encoding` for the dtypes of columns; floating labels have `dtype`, whole
    numbers int64, booleans bool.

    Args:
        training_set: the rows.
        features: the columns, in order; by default all features.
        label: the label's column, or a list of several (`y[batch, n]`), by default the training set's; False for
            features alone.
        dtype: of the matrix and of floating columns; float32, float64, float16 or bfloat16.
        layout: `"matrix"` or `"columns"`.
        transform: what is done to a batch's features, a matrix [rows, features] or a dict of columns; for one row
            too it is called with a batch of one.
        encoding: how columns become tensors; by default one fitted on this very training set. Pass the one of the
            training split for every other split, and keep it for serving.

    Attributes:
        encoding: the encoding.

    Raises:
        SchemaError: a column is missing or of a type that no tensor holds, or no label is named.
        ValidationError: a null has no number to become, a text column no words, a row no label.
        ConfigurationError: an argument isn't understood.

    See Also:
        FeatureIterableDataset: faster, sharded, resumable. OnlineFeatures: the same tensors when serving.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> for X, y in DataLoader(FeatureDataset(training), batch_size=1024, shuffle=True):
        ...     print(X.shape, X.dtype, y.shape, y.dtype)
        torch.Size([9, 2]) torch.float32 torch.Size([9]) torch.int64
    """

    def __init__(
        self,
        training_set: TrainingSet,
        *,
        features: Sequence[str] | None = None,
        label: Label = None,
        dtype: torch.dtype = torch.float32,
        layout: Layout = "matrix",
        transform: Transform | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        form = Form(dtype, layout, transform)
        self._rows: RowSource = of_training_set(training_set, features, label, form, encoding)

    @classmethod
    def from_spine(
        cls,
        store: FeatureStore | str | os.PathLike[str] | None,
        spine: Any,
        features: Features,
        *,
        timestamp: str = "event_timestamp",
        label: Label = None,
        lag: timedelta | str | None = None,
        full_names: bool = False,
        dtype: torch.dtype = torch.float32,
        layout: Layout = "matrix",
        transform: Transform | None = None,
        encoding: Encoding | None = None,
    ) -> Self:
        """Return a dataset that holds keys, moments and labels alone, and looks each batch's features up.

        Every batch is as-of by the state that history has now, whatever is written later. Workers open the store
        themselves and share the pages of its index. They can't be forked from a process that has used history:
        pass `multiprocessing_context="spawn"` to the `DataLoader`.

        Args:
            store: a `FeatureStore`, the directory of one, or None for the environment's `FS_STORE`.
            spine: keys, times, perhaps a label; anything that `fs_core.values.interchange.to_table` reads.
            features: a service, a reference, or a list of references.
            timestamp: the spine's time column.
            label: the spine's label column, or a list of several; False for features alone.
            lag: look this long before each moment.
            full_names: name columns `view__feature`.
            dtype: of the matrix and of floating columns; float32, float64, float16 or bfloat16.
            layout: `"matrix"` or `"columns"`.
            transform: what is done to a batch's features.
            encoding: how columns become tensors. By default one that knows types alone; text needs one that was
                fitted, with its words.

        Raises:
            UnknownReferenceError, NameClashError, SchemaError, ValidationError: as for a training set; nulls
                that can't be show when their batch is made.
        """
        made = cls.__new__(cls)
        query = {"timestamp": timestamp, "lag": lag, "full_names": full_names}
        made._rows = of_spine(store, spine, features, label, Form(dtype, layout, transform), encoding, **query)
        return made

    @property
    def encoding(self) -> Encoding:
        """How columns become tensors."""
        return self._rows.encoding

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Return one row for a position (negative counts from the end), a batch for a list of them or a slice."""
        if isinstance(index, slice):
            return given(self._rows.batch(index))
        if isinstance(index, Sequence | np.ndarray) or (isinstance(index, torch.Tensor) and index.ndim):
            return given(self._rows.batch(self._positions(index)))
        batch = self._rows.batch(self._positions([int(index)]))
        row = Row(each(part, 0) for part in batch)
        return row if len(row) > 1 else row[0]

    def __getitems__(self, indices: Sequence[int]) -> Rows:
        """Return a batch, which torch's default `collate_fn` passes on as it is."""
        return Rows(self._rows.batch(self._positions(indices)), len(indices))

    def _positions(self, indices: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        positions = np.fromiter(indices, np.int64, len(indices)) if isinstance(indices, list) else np.asarray(indices)
        if positions.dtype == np.bool_ or positions.ndim != 1:
            raise IndexError("pass row numbers in one dimension")
        low, high = (int(positions.min()), int(positions.max())) if len(positions) else (0, -1)
        if low < -len(self) or high >= len(self):
            raise IndexError(f"row {high if high >= len(self) else low} of {len(self)}")
        return (
            np.where(positions < 0, positions + len(self), positions)
            if low < 0
            else positions.astype(np.int64, copy=False)
        )
