"""Reading the latest rows, with and without blocking, and the log of what was read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from fs_core.configuration import deadline_seconds, duration_seconds
from fs_core.errors import NotOnlineError, OnlineUnavailableError, UnknownReferenceError
from fs_core.retrieval.selection import Features
from fs_core.store.resources import Resources
from fs_core.values.times import Moment, micros, moment_or_ago

if TYPE_CHECKING:
    import pyarrow as pa

    from fs_core.capacity.estimate import Estimate
    from fs_core.definitions import FeatureView
    from fs_core.monitoring.log import Flushed, LogSetting
    from fs_core.monitoring.log.tables import LogTables
    from fs_core.monitoring.replay import ReplayReport
    from fs_core.serving import Budget, Fallback, FeatureVectors, OnDeadline, OnlineRead


def get_online_features(
    store: Resources,
    features: Features,
    entities: Any,
    *,
    at: Moment | None = None,
    deadline: timedelta | str | None = None,
    on_deadline: OnDeadline = "error",
    fallback: Fallback = None,
    max_age: timedelta | str | None = None,
    full_names: bool = False,
    log: str | Literal[False] | None = None,
    log_rate: float | None = None,
) -> FeatureVectors:
    """Return the features of entities as the as-of rule gives them now, or at `at`.

    Args:
        features: a service, a reference, or a list of references.
        entities: key columns, and request columns of on-demand views: a mapping of names to sequences, an Arrow
            table, a data frame, or a list of dicts.
        at: the moment of the read. The online store answers if what it holds was available then.
        deadline: how long to wait for the online store's server, connecting and trying again included,
            such as `"20ms"`; by default the store's, else a second. The embedded store has no server to wait for.
        on_deadline: what to do where the server doesn't answer by then: `"error"`, or `"missing"`, which
            serves nulls whose status is `"unavailable"`.
        fallback: `"offline"` lets history answer what the online store can't, however long that takes.
        max_age: how long ago a row may have been fetched by this process, such as `"10m"`; then it isn't fetched
            again, whatever becomes of it meanwhile. By default every row is fetched. Expiry is decided anew in
            any case.
        full_names: name columns `view__feature`.
        log: the request log that keeps what is served, such as the model's name; False for none. By default what
            `FS_LOG` says, or else none.
        log_rate: the share of entities that are logged, from 0 to 1; all moments of an entity are, or none. By
            default what `FS_LOG_RATE` says, or else all.

    Raises:
        NotOnlineError, OnlineUnavailableError, MomentNotOnlineError, CorruptRowError: the online
            store can't answer, and no fallback is allowed.
        DeadlineExceededError: an `OnlineUnavailableError`: it didn't answer in time.
        SchemaError: a key or request column is missing or of another type.
        TransformError: an on-demand view can't be computed.
        ConfigurationError: an option isn't understood.
    """
    budget, setting = _budget(store, deadline, on_deadline, fallback, max_age), _log_setting(store, log, log_rate)
    read, online = _read(store, features, full_names, entities, at, budget), store.online
    for requests, seconds in read.steps():
        try:
            read.take(online.read(requests, within=seconds))
        except OnlineUnavailableError as error:
            read.fail(error)
    if read.absent:
        store._unfilled.look_after(online, read.absent)
    return _logged(store, setting, read, read.answer(store.offline if read.needs_history else None))


async def get_online_features_async(
    store: Resources,
    features: Features,
    entities: Any,
    *,
    at: Moment | None = None,
    deadline: timedelta | str | None = None,
    on_deadline: OnDeadline = "error",
    fallback: Fallback = None,
    max_age: timedelta | str | None = None,
    full_names: bool = False,
    log: str | Literal[False] | None = None,
    log_rate: float | None = None,
) -> FeatureVectors:
    """Return what `get_online_features` does, while the event loop goes on.

    Redis is read through `redis.asyncio`; the embedded store, a fallback to history and the registry
    (where a request is resolved for the first time, or it may have changed) are read in a thread.
    """
    from fs_core.online.contract import awaitable

    budget, setting = _budget(store, deadline, on_deadline, fallback, max_age), _log_setting(store, log, log_rate)
    await store.select_async(features, full_names=full_names)
    read, online = _read(store, features, full_names, entities, at, budget), store.online
    reader = awaitable(online)
    for requests, seconds in read.steps():
        try:
            if reader is None:
                read.take(await asyncio.to_thread(online.read, requests, within=seconds))
            else:
                read.take(await reader.read_async(requests, within=seconds))
        except OnlineUnavailableError as error:
            read.fail(error)
    if read.absent:
        store._unfilled.look_after(online, read.absent)
    if read.needs_history or read.computes:  # a function may take its time
        found = await asyncio.to_thread(lambda: read.answer(store.offline if read.needs_history else None))
        return _logged(store, setting, read, found)
    return _logged(store, setting, read, read.answer(None))


def estimate(store: Resources, view: str | FeatureView, *, entities: int | None = None) -> Estimate:
    """Return how much room a view needs online in each kind of store, and for its search index.

    What 10,000 entities have now is measured as it would be stored, or 1,000 where they have events or several rows; of
    a view without rows, the schema says the least. Reads the keys and clocks of the view's history. What a load takes
    is planned from it by `fs_core.capacity.plan`.

    Args:
        view: its reference.
        entities: how many there will be; by default as many as history has.

    Raises:
        DataError: `entities` isn't 1 or more, or isn't given and the view has no rows.
        DefinitionError: the view keeps events or several rows of an entity online, and has no rows yet.
        OfflineStoreError: history can't be read.
    """
    from fs_core.capacity.estimate import estimate as estimated

    return estimated(store.offline, store.registry.project, store.view(view), store._clock.now(), entities)


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
    return rows_of(_logs(store), name, None if since is None else moment_or_ago(since, store._clock.now()))


def replay(
    store: Resources,
    name: str,
    *,
    since: Moment | timedelta | None = None,
    overlap: timedelta | str = "5s",
    evidence: int = 100,
) -> ReplayReport:
    """Compare every row of a request log with what history, by the training path, says of its moment.

    Each row is `equal`, or `overlapped` (a push overlapped the read), `held_back` (by lag, until a `materialize`),
    `lost` (evicted or never online), `expired` (and collected), `code` (served by another definition or other code
    than is here), or `unexplained`. Rows that `write` and `backfill` brought after a read, with earlier times, count
    as lost: as the rule sees it, they were known. So replay a log before such loads.

    Args:
        name: the log's.
        since: what was read from this moment on; a duration, such as `"1d"`, counts back from now.
        overlap: how long before a read a row may have become available that it needn't show: as long as a push takes,
            and as far as clocks are apart.
        evidence: how many findings of each kind to return.

    Returns:
        A report: `clean` (nothing is lost, of other code or unexplained), `counts`, `findings` as an Arrow table;
        `str()` says what to do.

    Raises:
        UnknownReferenceError: there is no such log.
        DataError: `since` is no moment.
        OfflineStoreError: history can't be read.
    """
    from fs_core.monitoring.replay import replay as compare

    flush_log(store)
    moment = None if since is None else moment_or_ago(since, store._clock.now())
    tolerance = int(duration_seconds(overlap, "overlap") * 1e6)
    return compare(
        _logs(store), name, store.registry, store.offline, since=moment, overlap=tolerance, evidence=evidence
    )


def _logs(store: Resources) -> LogTables:
    from fs_core.monitoring.log.tables import LogTables

    return LogTables(store._log_directory, store._log_keep)


def _log_setting(store: Resources, log: str | Literal[False] | None, rate: float | None) -> LogSetting | None:
    name = store._configuration.log if log is None else log
    if not name:
        return None
    try:
        return store._log_settings[name, rate]
    except (KeyError, TypeError):  # one of them may be no name or number at all
        return store._log_setting(name, rate)


def _logged(store: Resources, setting: LogSetting | None, read: OnlineRead, found: FeatureVectors) -> FeatureVectors:
    """Return what was found; what of it is to be logged is in the queue by then. Nothing here fails a read."""
    if setting is not None and len(rows := setting.sampled(read)):
        found.request_id = store._log.get().record(setting, rows, read, found)
    return found


def _budget(
    store: Resources,
    deadline: timedelta | str | None,
    on_deadline: OnDeadline,
    fallback: Fallback,
    max_age: timedelta | str | None,
) -> Budget:
    from fs_core.serving import budget

    seconds = store._deadline if deadline is None else deadline_seconds(deadline)
    oldest = 0.0 if max_age is None else duration_seconds(max_age, "max_age")
    return budget(seconds, on_deadline, fallback, oldest)


def _read(
    store: Resources, features: Features, full_names: bool, entities: Any, at: Moment | None, budget: Budget
) -> OnlineRead:
    from fs_core.serving import OnlineRead, ReadPlan

    asked = store._plan(features, full_names)
    _refuse_retired(asked.retired)
    moment = None if at is None else micros(at)
    cache = store._cache.get() if budget.max_age else None
    return OnlineRead(asked.made_by(ReadPlan.of), entities, budget, at=moment, now=store._clock.now(), cache=cache)


def _refuse_retired(retired: tuple[str, ...]) -> None:
    """Refuse what is retired, for it would be served ever older rows."""
    if retired:
        raise NotOnlineError(
            f"{', '.join(map(repr, retired))} is retired and not served. Ask for another version, or take it back: "
            "store.retire(ref, undo=True), then materialize."
        )
