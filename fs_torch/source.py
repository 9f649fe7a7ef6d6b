"""Where batches come from: a table in memory, or look-ups as of each row's moment."""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core import Encoding, TrainingSet
from fs_core.encoding.label import Label, LabelEncoding, label_name, refuse_as_feature
from fs_core.errors import ConfigurationError, FeatureStoreError
from fs_core.retrieval.selection import Features
from fs_core.runtime.per_process import this_process
from fs_core.store import open_store
from fs_core.training_set import label_columns
from fs_core.values.interchange import require_columns, to_table
from fs_torch.batch import Batch, Part, each
from fs_torch.tensors import Form, numpy_dtype

if TYPE_CHECKING:
    from fs_core import FeatureStore
    from fs_core.retrieval.streaming import AsOfReader

Positions = np.ndarray[Any, np.dtype[np.int64]]


class RowSource(ABC):
    """Rows by position. Thread-safe, picklable; what it gives is fresh.

    Args:
        table: has the labels.
        encoding: how features become tensors.
        form: what tensors look like.
        label: the label's column or columns, None for features alone.
    """

    def __init__(self, table: pa.Table, encoding: Encoding, form: Form, label: str | list[str] | None) -> None:
        self.encoding = encoding
        self._form = form.fits(encoding)
        refuse_as_feature(label, encoding.features)
        self._label = None if label is None else LabelEncoding.of(table.schema, label, encoding.dtype)
        self._labels = None if self._label is None else self._label.bind(table)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def _features(self, rows: Positions | slice) -> Part:
        """Return some rows' features, not yet transformed, in the order asked for."""

    def batch(self, rows: Positions | slice) -> Batch:
        """Return features and labels of some rows, in the order asked for."""
        return self._transformed(self._parts(rows))

    def batches(self, rows: Positions, sizes: Sequence[int]) -> Iterator[Batch]:
        """Yield batches of some rows, of these sizes, which is faster than one by one."""
        whole, start = self._parts(rows), 0
        for size in sizes:
            part = Batch(each(part, slice(start, start + size), copied=True) for part in whole)
            yield self._transformed(part)
            start += size

    def _parts(self, rows: Positions | slice) -> Batch:
        features = self._features(rows)
        if self._label is None or self._labels is None:
            return Batch((features,))
        return Batch((features, self._form.tensor(self._label.array(self._labels, rows))))

    def _transformed(self, parts: Batch) -> Batch:
        return Batch((self._form.transformed(parts[0]), *parts[1:]))


class TableRows(RowSource):
    """Rows of a table in memory, looked at where they lie.

    Args:
        table: features, timestamp and label.
        encoding: how features become tensors.
        form: what tensors look like.
        label: the label's column or columns, None for features alone.
    """

    def __init__(self, table: pa.Table, encoding: Encoding, form: Form, label: str | list[str] | None) -> None:
        super().__init__(table, encoding, form, label)
        self._bound = encoding.bind(table)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._bound)

    def _features(self, rows: Positions | slice) -> Part:
        """See `RowSource`."""
        return self._form.features(self._bound, rows)


class SpineRows(RowSource):
    """Rows of a spine; their features are looked up batch by batch, in the process that asks.

    Args:
        spine: keys, moments and labels.
        reader: what looks up.
        encoding: how features become tensors.
        form: what tensors look like.
        label: the label's column or columns, None for features alone.
    """

    def __init__(
        self, spine: pa.Table, reader: AsOfReader, encoding: Encoding, form: Form, label: str | list[str] | None
    ) -> None:
        super().__init__(spine, encoding, form, label)
        wanted = {*reader.keys, reader.timestamp, *encoding.features} - set(reader.schema.names)
        require_columns([*reader.keys, reader.timestamp], spine.column_names, "the spine")
        self._spine = spine.select([name for name in spine.column_names if name in wanted]).combine_chunks()
        self._reader: AsOfReader | None = reader
        self._packed: bytes | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._spine.num_rows)

    def _features(self, rows: Positions | slice) -> Part:
        """See `RowSource`.

        Raises:
            OfflineStoreError: the store can't be opened or read in this process.
        """
        asked = self._spine[rows] if isinstance(rows, slice) else self._spine.take(pa.array(rows))
        found = self._look_up(asked)
        names = [*asked.column_names, *found.schema.names]
        table = pa.Table.from_arrays([*asked.columns, *found.columns], names)
        return self._form.features(self.encoding.bind(table))

    def _look_up(self, asked: pa.Table) -> pa.RecordBatch:
        try:
            return self._opened().lookup(asked)
        except FeatureStoreError as error:
            if self._packed is not None or _is_forked():
                error.add_note(
                    "This happened in a worker of a DataLoader. A worker opens the store anew, so it needs the store's "
                    "directory and environment; start workers with DataLoader(..., multiprocessing_context='spawn')."
                )
            raise

    def _opened(self) -> AsOfReader:
        if self._reader is None:
            assert self._packed is not None
            self._reader = pickle.loads(self._packed)  # noqa: S301  what this process's own parent packed
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        # Packed apart: a worker that can't open the store says so when it is asked for rows, not while it starts.
        return {**self.__dict__, "_reader": None, "_packed": self._packed or pickle.dumps(self._reader)}


_started_in = this_process()


def _is_forked() -> bool:
    return this_process() is not _started_in


def of_training_set(
    training_set: TrainingSet, features: Sequence[str] | None, label: Label, form: Form, encoding: Encoding | None
) -> TableRows:
    """Return a training set's rows, under an encoding of their own if none is given.

    Args:
        training_set: the rows.
        features: the columns, in order; None for all.
        label: the label's column or columns; None for the training set's, False for none.
        form: what tensors look like.
        encoding: how columns become numbers; None to fit one.
    """
    name = label_name(label, training_set.label, "the training set")
    used = encoding or _fitted(training_set, features, name, form)
    return TableRows(training_set.table, _narrowed(used, features), form, name)


def of_spine(
    store: FeatureStore | str | os.PathLike[str] | None,
    spine: Any,
    features: Features,
    label: Label,
    form: Form,
    encoding: Encoding | None,
    **query: Any,
) -> SpineRows:
    """Return a spine's rows with features looked up as of their moments.

    Args:
        store: a `FeatureStore`, the directory of one, or None for `FS_STORE`.
        spine: keys, times, perhaps a label.
        features: a service, a reference, or a list of references.
        label: the spine's label column or columns, False for none.
        form: what tensors look like.
        encoding: how columns become numbers; None for one that knows types alone.
        query: what else `FeatureStore.as_of_reader` takes.
    """
    reader = open_store(store).as_of_reader(features, **query)
    name = label_name(label, None, "a spine")
    table = to_table(spine, "the spine")
    dtype = numpy_dtype(form.dtype)
    used = encoding or Encoding.for_schema(reader.schema, reader.schema.names, timestamp=reader.timestamp, dtype=dtype)
    require_columns([n for n in used.features if n not in reader.schema.names], table.column_names, "the spine")
    return SpineRows(table, reader, used, form, name)


def of_stream(
    stream: Any, features: Sequence[str] | None, label: Label, form: Form, encoding: Encoding | None
) -> tuple[Encoding, str | list[str] | None]:
    """Return the encoding of a stream's rows and the label's column or columns.

    Args:
        stream: a `pyarrow.RecordBatchReader`, or a function that opens one.
        features: the columns, in order.
        label: the label's column or columns, False for none.
        form: what tensors look like.
        encoding: how columns become numbers.

    Raises:
        ConfigurationError: it is no stream, or neither an encoding nor features are named.
    """
    if not callable(stream) and not isinstance(stream, pa.RecordBatchReader):
        raise ConfigurationError(
            f"{type(stream).__name__}: no rows to iterate over. Pass a TrainingSet, a pyarrow.RecordBatchReader or a "
            "function that opens one."
        )
    name = label_name(label, None, "a stream")
    if encoding is not None:
        return _narrowed(encoding, features), name
    if features is None:
        raise ConfigurationError("a stream doesn't say which columns are features. Pass encoding= or features=.")
    reader = stream() if callable(stream) else stream
    refuse_as_feature(name, _listed(features))
    return Encoding.for_schema(reader.schema, _listed(features), dtype=numpy_dtype(form.dtype)), name


def _fitted(
    training_set: TrainingSet, features: Sequence[str] | None, label: str | list[str] | None, form: Form
) -> Encoding:
    """Return an encoding of a training set's own; a label that was made one of the features is left out of them."""
    kept = (
        [name for name in training_set.features if name not in label_columns(label)] if features is None else features
    )
    unlabelled = replace(training_set, label=label)
    return Encoding.fit(unlabelled, features=kept, dtype=numpy_dtype(form.dtype))


def _listed(features: Sequence[str]) -> tuple[str, ...]:
    return (features,) if isinstance(features, str) else tuple(features)


def _narrowed(encoding: Encoding, features: Sequence[str] | None) -> Encoding:
    """Refuse other features than the encoding's: it is used whole or not at all."""
    names = encoding.features if features is None else _listed(features)
    if names != encoding.features:
        raise ConfigurationError(
            f"features={list(names)}, but the encoding was fitted for {list(encoding.features)}. Leave features out."
        )
    return encoding
