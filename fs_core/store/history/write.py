"""The method that writes rows which somebody brings, a table or a stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.store.history.append import FEW_ROWS, append
from fs_core.store.history.parts import append_parts
from fs_core.store.resources import Resources
from fs_core.values.interchange import is_spark_frame, to_reader, to_table

if TYPE_CHECKING:
    from fs_core.offline.sifted import Written
    from fs_core.sources.sources import Times


def write(store: Resources, view: str | FeatureView, data: Any) -> Written:
    """Append rows to a view's history, all or none; return how many.

    Where the view has a quarantine, rows that break what it declares go there, and the number's `.quarantined` names
    them.

    Args:
        view: its reference.
        data: key columns, the event time, the availability if the view names its column, and the
            features; anything `fs_core.values.interchange.to_table` reads. Of a `pyarrow.RecordBatchReader`, and of a
            data frame of Spark or Spark Connect, part after part is read, so that it may be larger than memory.

    Raises:
        SchemaError: a column is missing, unexpected or of the wrong type.
        ValidationError: a null key or time, or a value outside its declared range.
        RegistryError: the registry, which numbers the rows, can't be written, as on a full disk; nothing was
            written.
        OfflineStoreError: history can't be written.
        SourceError: Spark can't compute the frame.
    """
    target = store.view(view)
    found = opened(target, data)
    return append(store, target, found) if isinstance(found, pa.Table) else append_parts(store, target, found)


def opened(view: FeatureView, data: Any, times: Times | None = None) -> pa.Table | Iterator[pa.Table]:
    """Return the rows of data as a table, or part after part where it is a stream: at least one, the first empty.

    Args:
        view: whose rows they are.
        data: as `write` takes it.
        times: other rows of a Spark frame may be left out.

    Raises:
        SchemaError, SourceError: as `write`; while parts are read, too.
    """
    what = f"data for view {view.name!r}"
    if is_spark_frame(data):
        from fs_core.retrieval.spark.frames import reader_of

        data = reader_of(data, what, times)
    if not isinstance(data, pa.RecordBatchReader):
        return to_table(data, what)
    read = to_reader(data, what, batch_size=FEW_ROWS)
    return chain([read.schema.empty_table()], map(pa.table, read))
