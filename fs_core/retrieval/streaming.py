"""Point-in-time rows without a training set in memory: as a stream, or looked up batch by batch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import DataError
from fs_core.retrieval.computed import feature_types
from fs_core.retrieval.parts import Question
from fs_core.retrieval.processes import answered, require_workers
from fs_core.retrieval.query import Query, features_of, historical_features, joined
from fs_core.values.interchange import to_reader, to_table

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.training_set import TrainingSet


def stream(
    offline: OfflineStore, spine: Any, query: Query, batch_size: int, workers: int | None = None
) -> pa.RecordBatchReader:
    """Return what `historical_features` would, batch by batch, in the memory of one batch, or of two for each worker.

    Args:
        offline: the history.
        spine: a `pyarrow.RecordBatchReader`, or anything that `fs_core.values.interchange.to_table` reads.
        query: what is asked; the states of history it names are read throughout.
        batch_size: rows of each batch but the last.
        workers: how many processes answer; this one if None.

    Raises:
        DataError: `batch_size` or `workers` isn't 1 or more.
        ConfigurationError: this process may start no workers.
        SchemaError, NameClashError: as in `historical_features`, before the first batch if the columns show it.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise DataError(f"batch_size={batch_size!r} is not a number of rows; pass 1 or more.")
    require_workers(workers)
    reader = to_reader(spine, "the spine", batch_size=batch_size)
    schema = joined(offline, reader.schema.empty_table(), query).schema
    question, tables = Question(offline, query), tables_of(reader, batch_size)
    answers = _answered_here(question, tables) if workers is None else answered(question, tables, workers)
    return pa.RecordBatchReader.from_batches(schema, _batches(answers, schema))


def _batches(answers: Generator[pa.Table, None, None], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with closing(answers):
        for found in answers:
            yield from found.cast(schema).combine_chunks().to_batches()


def _answered_here(question: Question, tables: Iterable[pa.Table]) -> Generator[pa.Table, None, None]:
    start = 0
    for rows in tables:
        yield question.answer(rows, start)
        start += rows.num_rows


def tables_of(reader: pa.RecordBatchReader, batch_size: int) -> Iterator[pa.Table]:
    """Yield a reader's rows in tables of one size, whatever the size of its own batches."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= batch_size:
            table = pa.Table.from_batches(waiting, reader.schema)
            yield table.slice(0, batch_size)
            waiting = table.slice(batch_size).to_batches()
            rows -= batch_size
    if rows:
        yield pa.Table.from_batches(waiting, reader.schema)


class AsOfReader:
    """Looks features up as of given moments, batch by batch, from one state of history.

    Thread-safe. A pickle holds the history's configuration, as `OfflineStore` promises: another process opens the
    same history and reads the same state, sharing the pages of the index.

    Args:
        offline: the history.
        query: what is asked; pins versions and states of history.
    """

    def __init__(self, offline: OfflineStore, query: Query) -> None:
        self._offline = offline
        self._query = query

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that `lookup` needs, beside the time: keys, and request columns of on-demand views."""
        return tuple(self._query.selection.needed)

    @property
    def timestamp(self) -> str:
        """The time column that `lookup` needs."""
        return self._query.timestamp

    @property
    def schema(self) -> pa.Schema:
        """The schema of what `lookup` returns: the features, in the order asked for."""
        return pa.schema(list(feature_types(self._query.selection).items()))

    @property
    def spec(self) -> dict[str, Any]:
        """What is read, as in `TrainingSet.spec`."""
        return self._query.spec()

    def rows(self, spine: Any) -> TrainingSet:
        """Return a spine's rows with their features, as `get_historical_features` does, from the reader's state.

        Raises:
            SchemaError, NameClashError: as in `get_historical_features`.
        """
        return historical_features(self._offline, spine, self._query)

    def joined(self, spine: Any) -> pa.Table:
        """Return the table of `rows` alone, which costs a batch less: the spine's columns, then the features."""
        return joined(self._offline, to_table(spine, "the spine"), self._query)

    def lookup(self, keys_and_times: Any) -> pa.RecordBatch:
        """Return the features of each row, in the rows' order; other columns don't matter.

        Args:
            keys_and_times: keys and time; anything that `fs_core.values.interchange.to_table` reads.

        Raises:
            SchemaError: a column is missing or of the wrong type.
        """
        found = features_of(self._offline, to_table(keys_and_times, "the rows to look up"), self._query)
        return pa.RecordBatch.from_arrays([column.combine_chunks() for column in found.values()], list(found))
