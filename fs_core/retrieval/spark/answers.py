"""A Spark frame as spine: a frame with the features comes back, which Spark computes when somebody wants its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import DataError, FeatureStoreError, NameClashError
from fs_core.offline.contract import EMPTY
from fs_core.retrieval.parts import Question
from fs_core.retrieval.query import joined, query_from_spec
from fs_core.retrieval.spark.types import arrow_schema, known_schema, spark_type
from fs_core.retrieval.streaming import tables_of
from fs_core.training_set import fingerprint_of
from fs_core.values.row_sums import MODULUS, hash_sum, shown_alike, sum_of_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fs_core.offline.contract import OfflineStore
    from fs_core.registry import Registry

Batches = Iterator[pa.RecordBatch]

_ROWS = 65_536  # that are answered at once; Spark's own batches are smaller
_ATTRIBUTE = "_fs_core_provenance"


@dataclass(frozen=True, eq=False)
class FrameProvenance:
    """What a frame with features was made of.

    Attributes:
        frame: the spine's columns, then the features; Spark's rows have no order.
        spec: as of the training set that the same spine in memory gives; `FeatureStore.recreate` takes it.
        features: the names of the feature columns, in order.
        keys: the names of the key columns.
        timestamp: the name of the column that holds each row's moment.
        label: the name of the label column, or a list of several, if any was named.
    """

    frame: DataFrame = field(repr=False)
    spec: Mapping[str, Any] = field(repr=False)
    features: list[str]
    keys: list[str]
    timestamp: str
    label: str | list[str] | None

    @cached_property
    def unordered_fingerprint(self) -> str:
        """SHA-256 (64 hex digits), equal to `unordered_fingerprint` of the training set with the same rows.

        Spark computes the rows for it, unless the frame is cached; each partition gives one number.

        Raises:
            SchemaError: a column is of a type that we don't know.
        """
        schema = arrow_schema(self.frame, "the frame")
        same = pa.schema([(column.name, shown_alike(column.type)) for column in schema])
        sums = self.frame.mapInArrow(_summing(same), "rows long, total binary").collect()
        total = sum(int.from_bytes(row["total"], "big") for row in sums) % MODULUS
        return fingerprint_of(self.spec, hash_sum(same, sum(row["rows"] for row in sums), total))


def provenance(frame: DataFrame) -> FrameProvenance:
    """Return what a frame that `get_historical_features` returned was made of.

    Raises:
        DataError: it is another frame, such as one that was made of it.
    """
    found = getattr(frame, "__dict__", {}).get(_ATTRIBUTE)
    if not isinstance(found, FrameProvenance):
        raise DataError(
            "this frame isn't one that get_historical_features returned; frames made of that one, as by select or "
            "where, have other rows or columns. Pass the one that was returned."
        )
    return found


def answered_frame(question: Question, spine: DataFrame) -> DataFrame:
    """Return a frame of the spine's rows, each with its features; nothing is computed yet.

    The plan moves no row: each row's answer depends on that row alone, and whoever answers reads the same index.

    Args:
        question: what is asked.
        spine: keys and times, among others.

    Raises:
        SchemaError: the spine lacks a column, one has a wrong type, or Spark has no type for a feature.
        SourceError: Spark knows no columns of the spine.
        NameClashError: a feature and a spine column share a name.
    """
    from pyspark.sql.types import StructField, StructType

    query = question.query
    known = known_schema(spine, "the spine")
    unread = replace(query, snapshots=dict.fromkeys(query.snapshots, EMPTY))  # no row needs history to be opened here
    found = joined(question.offline, known.empty_table(), unread).schema
    names = {feature.column: f"feature '{feature.view.name}.{feature.name}'" for feature in query.selection.features}
    made = [StructField(name, spark_type(found.field(name).type, what)) for name, what in names.items()]
    _refuse_alike([*spine.columns, *names])
    frame = spine.mapInArrow(_answering(question), StructType([*spine.schema.fields, *made]))
    selection = query.selection
    told = FrameProvenance(
        frame, query.spec(), list(selection.columns), list(selection.keys), query.timestamp, query.label
    )
    setattr(frame, _ATTRIBUTE, told)
    return frame


def _refuse_alike(names: Sequence[str]) -> None:
    """Refuse columns whose names differ by the case of letters alone: Spark takes either for the other."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise NameClashError(
                f"the columns {other!r} and {name!r} are one name to Spark. Rename the spine's or pass full_names=True."
            )


def recreated_frame(offline: OfflineStore, registry: Registry, spec: Mapping[str, Any], spine: DataFrame) -> DataFrame:
    """Return the frame that a spec describes, from the states of history that it names.

    Args:
        offline: the history that is asked.
        registry: knows the pinned versions.
        spec: of a training set, or of a frame's provenance.
        spine: that it was made from.

    Raises:
        DataError: the spec is none, or of a saved set that was refreshed, which goes by the order of rows.
        UnknownReferenceError: as in `query_from_spec`.
        SchemaError, NameClashError: as in `answered_frame`.
    """
    query = query_from_spec(registry, spec)
    if spec.get("parts"):
        raise DataError(
            "this spec is of a saved training set that was refreshed: it says which rows, one after the other, read "
            "which states of history, and Spark's rows have no order. Pass the spine as a table: frame.toArrow()."
        )
    return answered_frame(Question(offline, query), spine)


def _answering(question: Question) -> Callable[[Batches], Batches]:
    # A function of its own, without a `self`: Spark sends it by value, and what it names by name.
    def answer(batches: Batches) -> Batches:
        return answers_of(question, batches)

    return answer


def answers_of(question: Question, batches: Batches) -> Batches:
    """Yield the rows of a partition with their features, in the types that Spark takes.

    Args:
        question: what is asked.
        batches: of the spine.

    Raises:
        FeatureStoreError: as `joined`; Spark shows it as its own error's text.
    """
    start = 0
    for rows in _tables(batches):
        try:
            found = joined(question.offline, rows, question.query)
        except FeatureStoreError as error:
            error.add_note(f"Rows are counted from row {start} of a partition of the spine.")
            raise
        start += rows.num_rows
        features = pa.schema([(f.name, shown_alike(f.type)) for f in list(found.schema)[rows.num_columns :]])
        yield from found.cast(pa.schema([*rows.schema, *features])).combine_chunks().to_batches()


def _summing(schema: pa.Schema) -> Callable[[Batches], Batches]:
    def add(batches: Batches) -> Batches:
        return sums_of(schema, batches)

    return add


def sums_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Batches:
    """Yield one row: how many rows a partition has, and their `sum_of_rows`, 32 bytes.

    Args:
        schema: the columns, in the types of `shown_alike`.
        batches: the partition's.
    """
    rows = total = 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(schema)
        rows += table.num_rows
        total += sum_of_rows(table)
    told = {"rows": pa.array([rows]), "total": pa.array([(total % MODULUS).to_bytes(32, "big")], pa.binary())}
    yield pa.RecordBatch.from_pydict(told)


def _tables(batches: Batches) -> Iterator[pa.Table]:
    first = next(batches, None)
    if first is not None:
        yield from tables_of(pa.RecordBatchReader.from_batches(first.schema, chain([first], batches)), _ROWS)
