"""A training set: an Arrow table plus its provenance. What every adapter takes, and all it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.errors import DataError, SchemaError
from fs_core.rule import Status
from fs_core.values.interchange import to_pandas
from fs_core.values.times import from_micros, micros, to_utc_micros

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView, OnDemandView


def checked_label(label: str | Sequence[str] | None) -> str | list[str] | None:
    """Return a label as asked for: a column, a list of columns, or none.

    Raises:
        SchemaError: it is none of these, or names a column twice.
    """
    if label is None or isinstance(label, str):
        return label
    names = list(label) if isinstance(label, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise SchemaError(f"label={label!r} is not understood. Pass a column, or a list of different columns.")
    return names


def label_columns(label: str | Sequence[str] | None) -> list[str]:
    """Return the columns of a checked label."""
    return [] if label is None else [label] if isinstance(label, str) else list(label)


def counted(status: pa.ChunkedArray) -> dict[str, int]:
    """Return how many rows have each status."""
    counts = {str(found["values"]): found["counts"] for found in status.value_counts().to_pylist()}
    return {str(kind): counts.get(kind.value, 0) for kind in Status}


def require_training_set(given: object, what: str) -> None:
    """Raise `DataError` unless something is a training set.

    Args:
        given: what a caller passed.
        what: how errors call it, such as `"training_set"`.
    """
    if not isinstance(given, TrainingSet):
        raise DataError(
            f"{what} is of type {type(given).__name__}, not a TrainingSet, which says what its rows were made from. "
            "Pass what store.get_historical_features(spine, features) returns."
        )


def fingerprint_of(spec: Mapping[str, Any], content: str) -> str:
    """Return the SHA-256 (64 hex digits) of a spec, where rows lay left out, and of a content's hash."""
    said = {name: part for name, part in spec.items() if name not in ("snapshots", "parts")}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{text}\n{content}".encode()).hexdigest()


@dataclass(frozen=True)
class TrainingSet:
    """Point-in-time rows and what they were made from.

    Attributes:
        table: the spine's columns as they came, then the features; one row for each spine row, in the
            spine's order.
        features: the names of the feature columns, in order.
        keys: the names of the key columns.
        timestamp: the name of the column that holds each row's moment.
        label: the name of the label column, or a list of several, if any was named.
        spec: JSON-serialisable provenance: pinned references and digests, the rule's parameters, and
            the snapshot that was read of every view; of a saved set that was refreshed, also how many rows
            after one another read which snapshots (`parts`). `FeatureStore.recreate` takes it.
        views: the definitions whose digests the spec pins, where they are at hand; no part of the fingerprint.
        status: by view name, each row's: `"present"`, `"missing"` (no row was available) or `"expired"`, dictionary
            arrays of strings; empty where that isn't known, as of a saved set. No part of the fingerprint.
        store: the store that made it, in the process that did; None elsewhere.
    """

    table: pa.Table
    features: list[str]
    keys: list[str]
    timestamp: str
    label: str | list[str] | None
    spec: Mapping[str, Any]
    views: tuple[FeatureView | OnDemandView, ...] = ()
    status: Mapping[str, pa.ChunkedArray] = field(default_factory=dict, repr=False, compare=False)
    store: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of spec and content.

        Equal fingerprints mean the same features by the same rule with the same bits. Where the rows
        lay (the snapshot numbers, and which rows read which) doesn't count: compaction changes those and
        nothing else.
        """
        from fs_core.values.fingerprint import hash_table

        return fingerprint_of(self.spec, hash_table(self.table))

    @cached_property
    def unordered_fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of spec and content, in whatever order the rows are.

        It compares this set with one made by an engine whose rows have no order: see `fs_core.retrieval.spark`. Times
        of nanoseconds count as others than those of microseconds: Spark has none.
        """
        from fs_core.values.row_sums import alike, hash_sum, sum_of_rows

        table = alike(self.table)
        return fingerprint_of(self.spec, hash_sum(table.schema, table.num_rows, sum_of_rows(table)))

    @cached_property
    def coverage(self) -> dict[str, dict[str, int]]:
        """By view name, how many rows have each status; empty where that isn't known."""
        return {view: counted(marks) for view, marks in self.status.items()}

    @property
    def labels(self) -> list[str]:
        """The names of the label columns: none, one, or several."""
        return label_columns(self.label)

    @property
    def offline_only(self) -> bool:
        """Whether these rows can't be served online, because the query shifted their moments by a lag."""
        return bool(self.spec["lag"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "store": None}  # rows travel without a store

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return (
            f"TrainingSet({len(self):,} rows, {len(self.features)} features, label={self.label!r}, "
            f"timestamp={self.timestamp!r})"
        )

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame; see `fs_core.values.interchange.to_pandas` for the types.

        Labels alone keep NumPy's types where no row lacks one: scikit-learn makes floats of nullable classes.
        """
        return to_pandas(self.table, plain=self.labels)

    def to_polars(self) -> Any:
        """Return a Polars DataFrame."""
        import polars as pl

        return pl.from_arrow(self.table)

    def split_by_time(self, at: datetime | date | str) -> tuple[TrainingSet, TrainingSet]:
        """Return the rows before the moment `at`, and the rest, each in the order they had.

        Raises:
            DataError: a row has no time, so it belongs to neither side.
        """
        import pyarrow.compute as pc

        times = to_utc_micros(self.table[self.timestamp], self.timestamp, "down")
        if times.null_count:
            raise DataError(f"{times.null_count} rows have no {self.timestamp!r}; drop them before splitting by time.")
        past = pc.less(times, pa.scalar(from_micros(micros(at)), type=times.type))
        return self._where(past), self._where(pc.invert(past))

    def _where(self, mask: pa.ChunkedArray) -> TrainingSet:
        spec = dict(self.spec)
        if "parts" in spec:
            ends = np.cumsum([0, *(part["rows"] for part in spec["parts"])])
            kept = np.diff(np.cumsum([0, *mask.to_numpy()])[ends])
            spec["parts"] = [{**part, "rows": int(n)} for part, n in zip(spec["parts"], kept, strict=True)]
        status = {view: marks.filter(mask) for view, marks in self.status.items()}
        return replace(self, table=self.table.filter(mask), spec=spec, status=status)
