"""Methods that read the latest rows, with and without blocking, and say how much room they need."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from fs_core.configuration import deadline_seconds, duration_seconds
from fs_core.errors import NotOnlineError, OnlineUnavailableError
from fs_core.retrieval.selection import Features
from fs_core.store.request_log import logged, setting_of
from fs_core.store.resources import Resources
from fs_core.values.times import Moment, micros

if TYPE_CHECKING:
    from fs_core.capacity.estimate import Estimate
    from fs_core.definitions import FeatureView
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
            default what `FS_LOG_RATE` says, or else all. Where no view has an entity, the share of reads.

    Raises:
        NotOnlineError, OnlineUnavailableError, MomentNotOnlineError, CorruptRowError: the online
            store can't answer, and no fallback is allowed.
        DeadlineExceededError: an `OnlineUnavailableError`: it didn't answer in time.
        SchemaError: a key or request column is missing or of another type.
        TransformError: an on-demand view can't be computed.
        ConfigurationError: an option isn't understood.
    """
    budget, setting = _budget(store, deadline, on_deadline, fallback, max_age), setting_of(store, log, log_rate)
    read, online = _read(store, features, full_names, entities, at, budget), store.online
    for requests, seconds in read.steps():
        try:
            read.take(online.read(requests, within=seconds))
        except OnlineUnavailableError as error:
            read.fail(error)
    if read.absent:
        store._unfilled.look_after(online, read.absent)
    return logged(store, setting, read, read.answer(store.offline if read.needs_history else None))


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

    budget, setting = _budget(store, deadline, on_deadline, fallback, max_age), setting_of(store, log, log_rate)
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
        return logged(store, setting, read, found)
    return logged(store, setting, read, read.answer(None))


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

    asked = store._resolved(features, full_names)
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
