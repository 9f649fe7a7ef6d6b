"""Windows from history files, plainly: the events of the entities asked for are read, and the kernel is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError
from fs_core.offline.delta.layout import as_declared, prune
from fs_core.offline.duckdb import connect, quoted, scan
from fs_core.offline.predicates import columns_read, passing
from fs_core.offline.search.engine import Found, numbers
from fs_core.offline.search.entity_codes import KeyDictionary
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, TIME, history_schema
from fs_core.values.dtypes import storage_type
from fs_core.windows import answer
from fs_core.windows.answer import Answers, TooLargeError
from fs_core.windows.evaluate import columns_of, evaluate

if TYPE_CHECKING:
    Ints = np.ndarray[Any, np.dtype[np.int64]]


def search_events(view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
    """Return windows as of given moments. See `AsOfEngine.search`.

    Args:
        view: whose events.
        files: Parquet files that together hold them.
        spine: the view's keys and `TIME`, no nulls.
        columns: the features wanted.
    """
    keys, moments = spine.select(list(view.keys)), numbers(spine[TIME])
    rows = read_events(view, prune(files, spine[TIME]), keys=keys)
    dictionary, codes = KeyDictionary.of(rows.select(list(view.keys)))
    questions = dictionary.codes(keys), moments
    try:
        return found_of(evaluate(view, rows, codes, passing(view, rows), questions, columns))
    except TooLargeError as error:
        raise too_large(view, error, spine) from error


def found_of(answers: Answers) -> Found:
    """Return what the kernel answered; windows don't expire, so whatever is known is alive."""
    return Found(answers.features, answers.event_time, answers.known, answers.known)


def too_large(view: FeatureView, error: TooLargeError, spine: pa.Table) -> DataError:
    """Return the error that names the entity and the moment of a sum that doesn't fit its type.

    Args:
        view: whose feature it is.
        error: which feature, and for which row.
        spine: the keys and moments that were asked.
    """
    asked = spine.slice(error.row, 1)
    entity = ", ".join(f"{name}={asked[name][0].as_py()!r}" for name in view.keys)
    return answer.too_large(view, error, entity, int(numbers(asked[TIME])[0]))


def needed_columns(view: FeatureView) -> list[str]:
    """Return the columns of history from which a view's windows are computed."""
    read = {*columns_of(view), *columns_read(view)}
    return [*view.keys, EVENT_TIME, AVAILABLE_AT, SEQ, *(name for name in view.stored if name in read)]


def read_events(
    view: FeatureView, files: Sequence[str], *, keys: pa.Table | None = None, part: tuple[int, int] = (0, 1)
) -> pa.Table:
    """Return events, in any order, in the declared types: what windows need of them.

    Args:
        view: whose history.
        files: Parquet files; without any, there are no events.
        keys: of which entities, perhaps repeated; None for all.
        part: of all entities, which of how many parts.
    """
    names = needed_columns(view)
    types = {field.name: field.type for field in history_schema(view) if field.name in names}
    if not files:
        return pa.schema(list(types.items())).empty_table()
    by = ", ".join(map(quoted, view.keys))
    sql = f"SELECT {', '.join(map(quoted, types))} FROM {scan(files)}"
    number, count = part
    with connect() as connection:
        if keys is not None:
            connection.register("fs_wanted", _stored(view, keys))
            sql += f" SEMI JOIN fs_wanted USING ({by})"
        if count > 1:
            sql += f" WHERE hash({by}) % {count} = {number}"
        return as_declared(connection.sql(sql).to_arrow_table(), types)


def entities_of(view: FeatureView, files: Sequence[str]) -> pa.Table:
    """Return the entities that data files have events of."""
    with connect() as connection:
        sql = f"SELECT DISTINCT {', '.join(map(quoted, view.keys))} FROM {scan(files)}"
        return as_declared(connection.sql(sql).to_arrow_table(), dict(view.keys))


def _stored(view: FeatureView, keys: pa.Table) -> pa.Table:
    return pa.table({name: keys[name].cast(storage_type(dtype)) for name, dtype in view.keys.items()})
