"""Methods that return a view's history, or write it to a file or to a database."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.store.resources import Resources


def history(store: Resources, view: str | FeatureView) -> pa.Table:
    """Return every row of a view's history, in the order written.

    The columns are the keys; `__event_time` and `__available_at`, the two clocks of the as-of rule; `__seq`, the order
    of writing; and the features.
    """
    target = store.view(view)
    rows = store.offline.read(target)
    return rows if target.entities else rows.drop_columns(list(target.keys))


def export(
    store: Resources,
    view: str | FeatureView,
    to: str | os.PathLike[str],
    *,
    table: str | None = None,
    latest: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a view's history to a Parquet file or a PostgreSQL table, whole or not at all; return how many rows.

    The columns are those of `history`: keys, both clocks, `__seq`, and what is stored. Unsigned numbers become the
    next wider type, float16 becomes float32. The rows are in memory meanwhile.

    Args:
        view: its reference.
        to: the file's path, or `postgresql://user:${NAME}@host/database`; `${NAME}` is an environment variable.
        table: the table's name, perhaps behind a schema's and a dot; by default the view's name.
        latest: only each entity's winner by the rule, now; expired ones too.
        overwrite: replace what has that name.

    Raises:
        ConfigurationError: there is such a file, or it can't be written; it is another database's URL, or the driver
            isn't installed.
        DataError: the table's name is none.
        DefinitionError: `latest` of a view with aggregations, whose rows are events.
        OfflineStoreError: history can't be read, or the database refuses.
        SourceError: the URL names a variable that isn't set.
    """
    from fs_core.warehouse.export import is_url, write_parquet, write_table

    target = store.view(view)
    if latest and target.aggregations:
        raise DefinitionError(f"view {target.name!r} has aggregations: no single row is its latest. Export all rows.")
    rows = _winners_now(store, target) if latest else history(store, target)
    if is_url(to):
        write_table(rows, str(to), table or target.name, overwrite=overwrite)
    elif table is not None:
        raise ConfigurationError(f"{str(to)!r} is a file, which has no table. Leave table out, or name a database.")
    else:
        write_parquet(rows, Path(to), overwrite=overwrite)
    return int(rows.num_rows)


def _winners_now(store: Resources, view: FeatureView) -> pa.Table:
    rows = store.offline.winners(view, until=store._clock.now()).rows.read_all()
    return rows if view.entities else rows.drop_columns(list(view.keys))
