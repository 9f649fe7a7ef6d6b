"""Methods of the request log: its rows, and what became of what was predicted from them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from fs_core.configuration import duration_seconds
from fs_core.errors import UnknownReferenceError
from fs_core.store.resources import Resources
from fs_core.values.times import Moment, moment_or_ago

if TYPE_CHECKING:
    import pyarrow as pa

    from fs_core.monitoring.log import Flushed, LogSetting
    from fs_core.monitoring.log.tables import LogTables
    from fs_core.serving import FeatureVectors, OnlineRead


def log_outcome(
    store: Resources,
    request_id: str | None,
    label: Any = None,
    *,
    prediction: Any = None,
    model: str | None = None,
    model_version: str | None = None,
) -> None:
    """Say what a model predicted from a logged read, or, later, what came true; `read_log` joins both to its rows.

    Args:
        request_id: of what `get_online_features` returned; None, where nothing of it was logged, does nothing.
        label: what came true: a list with one value for each row of the request, None where it isn't known; of a
            request of one row, also the value itself, unless that is a list.
        prediction: what was predicted, likewise.
        model: the model's name.
        model_version: its version.

    Raises:
        DataError: it is no request id, the values aren't as many as the request had rows, or they can't be logged.
        UnknownReferenceError: there is no such log. What another process reads is in one within half a minute.
    """
    if request_id is None:
        return
    from fs_core.monitoring.log.outcomes import outcome_of

    outcome = outcome_of(request_id, store._clock.now(), label, prediction, model, model_version)
    writer = store._log.get()
    if not writer.has_log(outcome.log):
        raise UnknownReferenceError(
            f"there is no request log {outcome.log!r} in {store._log_directory}, so {request_id!r} is no read of it. "
            "Open the store that logged the read; what another process has read is there within half a minute."
        )
    writer.put(outcome)


def flush_log(store: Resources, *, within: timedelta | str = "60s") -> Flushed:
    """Wait until what this process has logged by now is written; return how many rows are, and how many are lost.

    Args:
        within: how long to wait at most, where a disk doesn't answer.

    Raises:
        ConfigurationError: that is no duration.
    """
    return store._log.get().flush(duration_seconds(within, "within"))


def log_counts(store: Resources) -> Flushed:
    """Return how many rows this process has logged, dropped and yet to write; nothing is waited for."""
    from fs_core.monitoring.log.writer import Flushed

    writer = store._log.made()
    return Flushed(0, 0, 0) if writer is None else writer.counts


def read_log(store: Resources, name: str, *, since: Moment | timedelta | None = None) -> pa.Table:
    """Return a request log, a row for each logged row of a read.

    Columns: `__request_id`, `__row` (its index in the request), `__at` (the moment of the read), `__read_at` (what the
    reader's clock showed), `__max_age`, keys, request columns, features; of each look-up, such as `weather`:
    `weather.__view`, `weather.__digest`, `weather.__status` and the winner's `weather.__event_time`,
    `weather.__available_at`, `weather.__seq`; then `__prediction`, `__label` (JSON), `__model`, `__model_version`.

    Args:
        name: the log's.
        since: what was read from this moment on; a duration, such as `"1d"`, counts back from now.

    Raises:
        UnknownReferenceError: there is no such log.
        DataError: `since` is no moment.
    """
    from fs_core.monitoring.log.reading import read_log as rows_of

    flush_log(store)
    return rows_of(log_tables(store), name, None if since is None else moment_or_ago(since, store._clock.now()))


def log_tables(store: Resources) -> LogTables:
    """Return the tables of the store's request logs."""
    from fs_core.monitoring.log.tables import LogTables

    return LogTables(store._log_directory, store._log_keep)


def setting_of(store: Resources, log: str | Literal[False] | None, rate: float | None) -> LogSetting | None:
    """Return how a read is logged that says so much of it; None where it isn't."""
    name = store._configuration.log if log is None else log
    if not name:
        return None
    try:
        return store._log_settings[name, rate]
    except (KeyError, TypeError):  # one of them may be no name or number at all
        return store._log_setting(name, rate)


def logged(store: Resources, setting: LogSetting | None, read: OnlineRead, found: FeatureVectors) -> FeatureVectors:
    """Return what was found; what of it is to be logged is in the queue by then. Nothing here fails a read.

    Args:
        setting: how it is logged; None for not at all.
        read: what was asked.
        found: the answer.
    """
    if setting is not None and len(rows := setting.sampled(read, found)):
        found.request_id = store._log.get().record(setting, rows, read, found)
    return found
