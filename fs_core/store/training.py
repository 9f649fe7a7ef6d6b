"""Methods that look features up by the as-of rule: as training sets, streams, parts, or a warehouse's SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import Source
from fs_core.errors import DefinitionError
from fs_core.retrieval.selection import Features
from fs_core.store.resources import Resources
from fs_core.training_set import TrainingSet, checked_label
from fs_core.values.interchange import is_spark_frame
from fs_core.values.times import EARLIEST, LATEST, duration_micros, parse_duration

if TYPE_CHECKING:
    from fs_core.leakage import LeakageReport
    from fs_core.retrieval.parts import SpineParts
    from fs_core.retrieval.query import Query
    from fs_core.retrieval.streaming import AsOfReader


def get_historical_features(
    store: Resources,
    spine: Any,
    features: Features,
    *,
    timestamp: str = "event_timestamp",
    label: str | Sequence[str] | None = None,
    lag: timedelta | str | None = None,
    full_names: bool = False,
) -> TrainingSet:
    """Return the spine with each row's features as the as-of rule gives them at the row's moment.

    A spine that is a data frame of Spark or Spark Connect gives such a frame back, not a training set: its rows are
    computed on the cluster, when somebody wants them. `fs_core.retrieval.spark` says more.

    Args:
        spine: key columns, a time, perhaps a label and anything else; rows and order are kept. A `Source` with `url`
            and `query` is read from its database.
        features: a service, a reference, or a list of references.
        timestamp: the spine's time column; naive is UTC, finer than microseconds rounds down.
        label: the spine's label column, or a list of several.
        lag: look this long before each moment; the result can't be served online then.
        full_names: name columns `view__feature`.

    Raises:
        UnknownReferenceError: no such view, service, version or feature.
        SourceError: the spine's database doesn't answer, or refuses the query.
        SchemaError: the spine lacks a column or one has the wrong type.
        NameClashError: two columns of the result would share a name.
    """
    from fs_core.lineage import activities
    from fs_core.lineage.events import reported
    from fs_core.retrieval.query import historical_features

    query = _query(store, features, timestamp, label, lag, full_names)
    if is_spark_frame(spine):
        from fs_core.retrieval.parts import Question
        from fs_core.retrieval.spark.answers import answered_frame

        made: TrainingSet = answered_frame(Question(store.offline, query), spine)
        return made  # a frame: types can't say so, where Spark isn't installed
    with reported(lambda: activities.training_set(store.registry.project, query.selection.views)) as activity:
        made = replace(historical_features(store.offline, read_spine(spine), query), store=store)
        if activity:
            activities.add_training_set(activity, store.registry.project, made)
    return made


def stream_historical_features(
    store: Resources,
    spine: Any,
    features: Features,
    *,
    batch_size: int = 65_536,
    workers: int | None = None,
    timestamp: str = "event_timestamp",
    label: str | Sequence[str] | None = None,
    lag: timedelta | str | None = None,
    full_names: bool = False,
) -> pa.RecordBatchReader:
    """Return the table of `get_historical_features` as a stream: same rows, order and bits, in bounded memory.

    Args:
        spine: key columns, a time, perhaps a label and anything else. A `pyarrow.RecordBatchReader` is read as the
            stream is, and so are the rows of a `Source` with `url` and `query`.
        features: a service, a reference, or a list of references.
        batch_size: rows of each batch but the last.
        workers: answer by so many processes of this machine, each with two batches in memory; by this one if None.
            They start with the first batch, and end with the last, or when the stream is dropped.
        timestamp: the spine's time column; naive is UTC, finer than microseconds rounds down.
        label: the spine's label column, or a list of several.
        lag: look this long before each moment.
        full_names: name columns `view__feature`.

    Raises:
        DataError: `batch_size` or `workers` isn't 1 or more.
        ConfigurationError: this process may start no workers.
        OfflineStoreError: history can't be read, or a worker was killed.
        UnknownReferenceError, SchemaError, NameClashError: as in `get_historical_features`; what only rows can
            show comes with their batch.
    """
    from fs_core.retrieval.streaming import stream

    query = _query(store, features, timestamp, label, lag, full_names)
    return stream(store.offline, read_spine(spine, whole=False), query, batch_size, workers)


def split(
    store: Resources,
    spine: Any,
    features: Features,
    *,
    parts: int,
    timestamp: str = "event_timestamp",
    label: str | Sequence[str] | None = None,
    lag: timedelta | str | None = None,
    full_names: bool = False,
) -> SpineParts:
    """Return `get_historical_features` in parts, which other processes and machines answer, each alone.

    `part.answer()` gives the rows of a part with their features, as a `pyarrow.Table`; `parts.joined(answers)` makes
    the training set of them, with the same bits and fingerprint. A part may be pickled. It holds its rows of the
    spine, and the versions of definitions and the states of history that are current now: all parts read these,
    whatever is written meanwhile. Where it is answered, the history must be reachable: the store's directory, or its
    bucket.

    Args:
        spine: key columns, a time, perhaps a label and anything else; rows and order are kept. Of a Parquet file whose
            path is given each part reads its own rows, and nobody all of them.
        features: a service, a reference, or a list of references.
        parts: how many, 1 or more; with fewer rows, some are empty.
        timestamp: the spine's time column; naive is UTC, finer than microseconds rounds down.
        label: the spine's label column, or a list of several.
        lag: look this long before each moment; the result can't be served online then.
        full_names: name columns `view__feature`.

    Raises:
        DataError: `parts` isn't 1 or more.
        SourceError: the Parquet file can't be read.
        UnknownReferenceError, SchemaError, NameClashError: as in `get_historical_features`; what only rows can
            show comes with their answer.
    """
    from fs_core.retrieval.parts import Question
    from fs_core.retrieval.parts import split as in_parts

    query = _query(store, features, timestamp, label, lag, full_names)
    return in_parts(Question(store.offline, query), read_spine(spine), parts, store)


def as_of_reader(
    store: Resources,
    features: Features,
    *,
    timestamp: str = "event_timestamp",
    lag: timedelta | str | None = None,
    full_names: bool = False,
) -> AsOfReader:
    """Return a reader that looks features up as of given moments, batch by batch, without a training set.

    It reads the state that history has now, whatever is written later.

    Args:
        features: a service, a reference, or a list of references.
        timestamp: the time column of the rows that are looked up.
        lag: look this long before each moment.
        full_names: name columns `view__feature`.

    Raises:
        UnknownReferenceError, NameClashError: as in `get_historical_features`.
    """
    from fs_core.retrieval.streaming import AsOfReader

    return AsOfReader(store.offline, _query(store, features, timestamp, None, lag, full_names))


def check_leakage(
    store: Resources,
    features: Features,
    spine: Any,
    label: str | Sequence[str] | None = None,
    *,
    timestamp: str = "event_timestamp",
    lag: timedelta | str | None = None,
    full_names: bool = False,
    samples: int = 16,
    rows: int = 100_000,
    seed: int = 0,
) -> LeakageReport:
    """Look for answers that knew more than could be known at their moments.

    - Declarations: views that never say when their facts are known, or say it earlier than pushes measured.
    - Deletion: for some of the spine's moments, everything later is deleted from a copy of history, and
      the answers must stay the same.
    - The label: a feature that alone predicts it suspiciously well; facts that happen right after its moments.
    - Columns of the spine that carry a feature's name, from a join made elsewhere, are held against what
      was known.

    What a source's own SQL looked up ahead, before its rows were written, only the label can show. Reads
    the clocks and the features asked for of one view's whole history after another into memory.

    Args:
        features: a service, a reference, or a list of references.
        spine: key columns, a time, perhaps a label and features from elsewhere; rows without a time are left out.
        label: the spine's label column, or a list of several; without it only the clocks and the columns from
            elsewhere are checked.
        timestamp: the spine's time column; naive is UTC, finer than microseconds rounds down.
        lag: look this long before each moment.
        full_names: name columns `view__feature`.
        samples: at most so many moments, drawn from the spine's own, before which the future is deleted.
        rows: look at so many of the spine's rows at most, drawn at random.
        seed: what the draws depend on.

    Raises:
        DataError: `samples` or `rows` isn't 1 or more.
        UnknownReferenceError, SchemaError, NameClashError: as in `get_historical_features`.
    """
    from fs_core.leakage import check

    query = _query(store, features, timestamp, label, lag, full_names)
    return check.check_leakage(store.offline, read_spine(spine), query, samples=samples, rows=rows, seed=seed)


def sql(
    store: Resources,
    features: Features,
    *,
    dialect: str,
    spine: str,
    tables: Mapping[str, str] | None = None,
    timestamp: str = "event_timestamp",
    lag: timedelta | str | None = None,
    full_names: bool = False,
    status: bool = False,
) -> str:
    """Return the query that gives a table's rows, each with its features as of its moment, in a warehouse.

    Its answer is that of `get_historical_features`, bit for bit, over history that `export` has put into tables. Rows
    come in any order. It runs in a session whose time zone is UTC.

    Args:
        features: a service, a reference, or a list of references.
        dialect: `bigquery`, `clickhouse`, `databricks`, `duckdb`, `postgres`, `redshift` or `snowflake`.
        spine: the table there that has the keys and times, as a query names it.
        tables: by a view's name, the table that has its history; by default it has the view's name.
        timestamp: the spine's time column, with a time zone; naive where it is UTC.
        lag: look this long before each moment.
        full_names: name columns `view__feature`.
        status: add a column `view__status` for each look-up: `present`, `missing` or `expired`.

    Raises:
        DataError: there is no such dialect, or a table's or the time column's name is none.
        DefinitionError: SQL would give other bits: the feature is of a window, computed at request time, or a list
            where the database has no such lists.
        UnknownReferenceError, NameClashError: as in `get_historical_features`.
    """
    from fs_core.warehouse.dialects import dialect_of
    from fs_core.warehouse.query import Spine, as_of_query

    target = dialect_of(dialect)
    selection = store.select(features, full_names=full_names)
    asked = Spine(spine, timestamp, parse_duration(lag if lag is not None else "0s", "lag"), status)
    text = as_of_query(selection, asked, tables or {}, target)
    versions = ", ".join(f"{view.name}:v{view.version}" for view in selection.views)
    return f"-- {versions} by the as-of rule; for a session whose time zone is UTC\n{text}"


def recreate(store: Resources, spec: Mapping[str, Any], spine: Any) -> TrainingSet:
    """Return the training set that `spec` describes, from the states of history it was made from.

    With the spine it was made from, the result has the same fingerprint, whatever was written since. A spine that is
    a Spark frame gives such a frame.

    Raises:
        DataError: the spec is none, or incomplete; a saved set's spec says which rows read which states, and
            the spine has another number.
        UnknownReferenceError: a pinned version is gone or means something else here.
        OfflineStoreError: a state of history is no longer kept.
    """
    from fs_core.retrieval import query

    if is_spark_frame(spine):
        from fs_core.retrieval.spark.answers import recreated_frame

        made: TrainingSet = recreated_frame(store.offline, store.registry, spec, spine)
        return made
    return replace(query.recreate(store.offline, store.registry, spec, read_spine(spine)), store=store)


def read_spine(spine: Any, *, whole: bool = True) -> Any:
    """Return a spine's rows; where it is a query of a database, all of them or a stream.

    Arrow, which reads streams, would wrap what goes wrong on the way in an error of its own.
    """
    if not isinstance(spine, Source):
        return spine
    from fs_core.sources.warehouse.read import reader, table

    return table(spine) if whole else reader(spine)


def _query(
    store: Resources,
    features: Features,
    timestamp: str,
    label: str | Sequence[str] | None,
    lag: timedelta | str | None,
    full_names: bool,
) -> Query:
    """Pin what is asked: versions of definitions, states of history."""
    from fs_core.retrieval.query import Query

    selection = store.select(features, full_names=full_names)
    shift = parse_duration(lag if lag is not None else "0s", "lag")
    if duration_micros(shift) > LATEST - EARLIEST:
        raise DefinitionError(f"lag {lag!r} is longer than any history can be. Look less far back.")
    snapshots = {view.name: store.offline.snapshot(view) for view in selection.views}
    return Query(selection, timestamp, checked_label(label), shift, snapshots)
