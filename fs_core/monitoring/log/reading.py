"""A request log as one table, for people and monitors."""

from __future__ import annotations

import pyarrow as pa

from fs_core.errors import UnknownReferenceError, did_you_mean
from fs_core.monitoring.log.outcomes import latest
from fs_core.monitoring.log.rows import ORDER, REQUEST_ID, ROW, Descriptor, column
from fs_core.monitoring.log.tables import LogTables
from fs_core.offline.days.table import DAY

_NAMED = "__number"


def read_log(logs: LogTables, name: str, since: int | None) -> pa.Table:
    """Return the rows of a log with what became of them; see `FeatureStore.read_log`.

    Args:
        logs: the logs.
        name: which.
        since: what was read from this moment on, microseconds; None for all.
    """
    require(logs, name)
    parts = [_named(table.read_since(since), table.descriptor) for table in logs.tables(name) if table.descriptor]
    rows = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({REQUEST_ID: [], ROW: []})
    outcomes = latest(logs.outcomes(name).read())
    numbered = rows.select([REQUEST_ID, ROW]).append_column(_NAMED, pa.array(range(rows.num_rows), pa.int64()))
    joined = numbered.join(outcomes, keys=[REQUEST_ID, ROW]).sort_by(_NAMED)
    for added in joined.column_names[3:]:
        rows = rows.append_column(added, joined[added])
    return rows


def require(logs: LogTables, name: str) -> None:
    """Raise `UnknownReferenceError` unless there is a log of that name."""
    known = logs.names()
    if name not in known:
        raise UnknownReferenceError(
            f"there is no request log {name!r}. Reads are logged with get_online_features(..., log={name!r}), or where "
            f"FS_LOG={name}.{did_you_mean(name, known)}"
        )


def _named(rows: pa.Table, descriptor: Descriptor) -> pa.Table:
    """Return rows with what belongs to a look-up under the look-up's name."""
    renamed = {
        column(what, n): f"{lookup['name']}.__{what}" for n, lookup in enumerate(descriptor.lookups) for what in ORDER
    }
    rows = rows.drop_columns([DAY]).rename_columns(
        [renamed.get(name, name) for name in rows.column_names if name != DAY]
    )
    for lookup in descriptor.lookups:
        for what in ("view", "digest"):
            rows = rows.append_column(f"{lookup['name']}.__{what}", pa.repeat(pa.scalar(lookup[what]), rows.num_rows))
    return rows
