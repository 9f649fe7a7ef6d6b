"""The online store filled, verified and emptied, entities forgotten, values profiled and monitored."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from fs_core.definitions import Entity, FeatureView
from fs_core.definitions.references import Reference
from fs_core.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    FeatureStoreError,
    UnknownReferenceError,
    did_you_mean,
)
from fs_core.store.online import replay
from fs_core.store.resources import Resources
from fs_core.store.training import saved_sets
from fs_core.training_set import TrainingSet, require_training_set
from fs_core.values.interchange import to_table
from fs_core.values.times import EARLIEST, Moment, duration_micros, from_micros, micros, moment_or_ago, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from fs_core.materialization.forget import Erasure
    from fs_core.materialization.materialize import Materialized
    from fs_core.materialization.shared.runner import SharedRunner
    from fs_core.materialization.verify import Verification
    from fs_core.monitoring.monitor_page import MonitorReport
    from fs_core.monitoring.monitor_report import Finding
    from fs_core.monitoring.profiles.profile import Profile
    from fs_core.offline.report import HistoryReport

log = logging.getLogger("fs_core")

_REPLAYED = 1000  # differences of each kind that monitoring counts

_LOG_SECONDS = 60.0  # how long a forget waits for what the request log has to write


def materialize(
    store: Resources,
    *views: str | FeatureView,
    until: Moment | None = None,
    rebuild: bool = False,
    spark: Any = None,
) -> list[Materialized]:
    """Bring the online store up to date with history; return what was done for each view.

    Args:
        views: references; none means every registered version of every online view, since models may be
            pinned to older ones, but for retired ones.
        until: stand at this moment; by default each view at the present one.
        rebuild: drop the online rows first, damaged ones too, and fill them again from all of history;
            until that is done, entities are missing online. A store that refuses writes keeps its rows, and
            so does a cluster of which a node is lost.
        spark: a session of Spark or Spark Connect whose machines shall read history and write to the online store,
            which must be one that they reach; by default this process does.

    Raises:
        NotOnlineError: a named view is not declared online.
        OnlineStoreError: the store can't take the rows, or entities were forgotten meanwhile; repeat it.
        ConfigurationError: `until` is in the future; `spark` is no session, or can't be used with these stores.
    """
    from fs_core.lineage import activities
    from fs_core.lineage.events import reported
    from fs_core.materialization.materialize import materialize as fill_online

    targets = [store.view(view) for view in views] or _online_views(store)
    for view in targets:
        view.require_online()
    runner_of = (lambda _: None) if spark is None else _spark_runners(store, spark, targets)
    moment = None if until is None else micros(until)
    if moment is not None and moment > store._clock.now():
        raise ConfigurationError(f"until={until} is in the future; only rows available by now may go online.")
    if targets:
        store._configuration.directory.mkdir(parents=True, exist_ok=True)  # it isn't there if the registry is elsewhere
    done = []
    try:
        for view in targets:
            with reported(lambda: activities.materialize(store.registry.project, view)) as activity:  # noqa: B023  # called at once
                fill = partial(fill_online, view, store.offline, store.online, now=store._clock.now)
                done.append(fill(until=moment, rebuild=rebuild, runner=runner_of(view)))
                if activity:
                    activity.written = done[-1].applied
    finally:
        if rebuild or len(done) < len(targets):  # rows were dropped, or forgotten while they were sent
            store._cache.take()
    return done


def _spark_runners(
    store: Resources, session: Any, views: Sequence[FeatureView]
) -> Callable[[FeatureView], SharedRunner]:
    """Return what makes the runner of a view that Spark's machines do.

    Args:
        store: whose history and online store.
        session: of Spark.
        views: which there will be.

    Raises:
        ConfigurationError: it is no session, or its machines can't use the store together, or don't reach it.
    """
    from fs_core.materialization.shared.reach import Reach
    from fs_core.materialization.shared.runner import SharedRunner, refuse_alone
    from fs_core.retrieval.spark.cluster import SparkCluster

    cluster = SparkCluster(session)
    refuse_alone(store.offline, store.online)
    if views:
        cluster.check(Reach(views, store.offline, store.online))
    return lambda view: SharedRunner(view, store.offline, store.online, cluster)


def _online_views(store: Resources) -> list[FeatureView]:
    """Return every online version but retired ones, since a model may be pinned to any; one for each meaning."""
    retired = {(name, version) for kind, name, version in store.registry.retired() if kind == "view"}
    registered = [r.definition for r in store.registry.listing("view")]
    kept = [view for view in registered if (view.name, view.version) not in retired]
    latest = {view.storage_name: view for view in kept if isinstance(view, FeatureView)}
    return [view for view in latest.values() if view.online]


def verify_online(
    store: Resources, view: str | FeatureView, *, repair: bool = False, evidence: int = 100
) -> Verification:
    """Compare every online row of a view with what the as-of rule says now; return each kind of difference.

    Both ways: what history has must be online, and nothing else may be. It streams, and others may
    read and write meanwhile.

    Args:
        view: its reference.
        repair: mend what differs.
        evidence: how many differences to return as rows.

    Raises:
        NotOnlineError: the view is not declared online.
        OnlineStoreError, OfflineStoreError: a store can't be read.
    """
    from fs_core.materialization.verify import verify

    target = store.view(view)
    return verify(target, store.offline, store.online, now=store._clock.now, repair=repair, evidence=evidence)


def verify_history(
    store: Resources, view: str | FeatureView | None = None, *, repair: bool = False, evidence: int = 100
) -> HistoryReport:
    """Look at every row and file of a view's history, or of every registered version's; return what is wrong.

    Each row is there once, files are there and whole, clocks are in order, and the search index equals the files.
    Others may append meanwhile; compactions and `forget` wait.

    Args:
        view: its reference; None means every registered version.
        repair: remove exact copies of rows, and what is wrong in the index.
        evidence: how many findings of each kind to return for a view.

    Returns:
        A report: `clean`, `problems` counted, `findings` as an Arrow table; `str()` says what to do.

    Raises:
        OfflineStoreError: history can't be read, or not be repaired.
    """
    from fs_core.offline.report import HistoryReport

    registered = [r.definition for r in store.registry.listing("view")] if view is None else [store.view(view)]
    meanings = {v.storage_name: v for v in registered if isinstance(v, FeatureView)}
    return HistoryReport.united(
        [store.offline.verify(target, repair=repair, evidence=evidence) for target in meanings.values()]
    )


def drop_online(store: Resources, view: str | FeatureView) -> int:
    """Delete the online rows of a retired version, without blocking the server; return how many there were.

    History stays: `materialize` would bring them back. The log warns where the version is still served: its
    entities are missing from then on.

    Raises:
        DefinitionError: a later version that differs in documentation only is served from the same rows.
    """
    target = store.view(view)
    versions = [r.definition for r in store.registry.listing("view") if r.definition.name == target.name]
    last = [v for v in versions if isinstance(v, FeatureView) and v.storage_name == target.storage_name][-1]
    if last.version != target.version:
        raise DefinitionError(
            f"view {target.ref!r} is served from the same rows as {last.ref!r}, since only its documentation "
            f"differs; nothing was dropped. If those are the rows to drop, name {last.ref!r}."
        )
    served = served_as(store, target)
    try:
        dropped = store.online.drop(target.storage_name)
    finally:
        store._cache.take()
    if served:
        log.warning(
            "dropped the online rows of %s, which are served as %s: its entities are missing until "
            "store.materialize(%r).",
            target.ref,
            " and ".join(served),
            target.ref,
        )
    return dropped


def served_as(store: Resources, view: str | FeatureView) -> list[str]:
    """Return the references without a version that lead to a view's online rows: its name, and its aliases.

    Several versions that differ in documentation only have the same rows. What is retired isn't served.
    """
    target, retired = store.view(view), store.registry.retired()
    aliases = [a.alias for a in store.registry.aliases() if (a.kind, a.name) == ("view", target.name)]
    references = [target.name, *(f"{target.name}@{alias}" for alias in aliases)]
    meant = {ref: store.view(ref) for ref in references}
    return [
        ref
        for ref, served in meant.items()
        if served.storage_name == target.storage_name and ("view", served.name, served.version) not in retired
    ]


def forget(
    store: Resources, entity: str | Entity, keys: Any, *, saved: Literal["report", "delete"] = "report"
) -> Erasure:
    """Erase every row of some entities: from history with all its states, quarantine, index and online store.

    Every registered version of every view of the entity counts, views of several entities too. Each
    is read back afterwards, files and keys. Training sets that were made from states which held such
    rows can't be recreated any more, and say so; those made from other states can. Saved training sets that
    hold the entities are reported, or deleted. Request logs lose their rows; another process that serves may have some
    to write still, so repeat this half a minute later. The sources that `backfill` runs, and training sets that
    somebody else has or saves after this, aren't the store's: they must forget on their own. Another process, or
    another store object, that reads with `max_age` may serve what it fetched before until it is that old, where the
    online store's server doesn't notify it of changes.

    The online store is the one that this store object was given: rows in another aren't found. The log warns of
    a view that was never materialized in this one.

    Two more things aren't reached. Messages that `ingest` put aside lie in the broker, in the stream or topic
    `KEY.rejected`: delete them there, or let them expire. And a view that is made of other views, whose rows belong to
    another entity, keeps what it took of a person (their part of a shop's total, their name in a list): once the person
    is forgotten in the views below, fill a new version of it; the old one's rows go where its own entities are
    forgotten.

    Nothing needs to be paused. A push, a `materialize` or a repair that had such a row in hand takes it back from
    the online store as soon as it has sent it; what is pushed or written later is a new fact. Should a
    `materialize` die between the two, the next one of the view compares every row with history first; should a
    push, or the connection, die there, the row stays online until `verify_online(repair=True)` or until this is
    repeated.

    A Redis or Valkey server deletes rows from memory; where it runs with an append-only file the bytes stay there
    until that is rewritten, as by `BGREWRITEAOF`, and in snapshots and backups that were made before.

    Args:
        entity: the entity, or its name.
        keys: its key columns; anything `fs_core.values.interchange.to_table` reads. Columns that only an older
            version of the entity has as keys must be there too.
        saved: what to do with saved training sets that have the key columns and rows of these entities: name
            them in the answer, or delete them whole, since a set without some rows isn't the one that its
            fingerprint and spec describe. A damaged set is reported only.

    Returns:
        What was erased of each view, a list, whose `training_sets` names the saved training sets, `logs` the request
        logs, and `quarantined` the views with rows in quarantine; repeating it erases nothing more.

    Raises:
        UnknownReferenceError: there is no such entity.
        SchemaError, ValidationError: a key is missing, null or of another type; nothing was erased.
        OnlineStoreError, OfflineStoreError: a store fails; notes say what is done. Repeat it.
        FeatureStoreError: rows were written again meanwhile; repeat it.
        SavedTrainingSetError: a set can't be deleted; the rest is done.
    """
    from fs_core.materialization.forget import Erasure, keys_of, views_of
    from fs_core.materialization.forget import forget as erase
    from fs_core.retrieval.saved.forgetting import forget_saved

    if saved not in ("report", "delete"):
        raise ConfigurationError(f"saved={saved!r} is neither 'report' nor 'delete'. Nothing was erased.")
    name = entity.name if isinstance(entity, Entity) else entity
    known = {r.definition.name for r in store.registry.listing("entity")}
    if not isinstance(name, str) or name not in known:
        raise UnknownReferenceError(f"there is no entity {name!r}.{did_you_mean(name, known)}")
    table = to_table(keys, "the keys to forget")
    registered = [r.definition for r in store.registry.listing("view")]
    views = [view for view in registered if isinstance(view, FeatureView)]
    doomed = {view: keys_of(mine, table) for view, mine in views_of(name, views).items()}
    every = list(doomed.values()) or [keys_of(store.registry.entity(name), table)]
    served = {view.storage_name for view in views if view.online}
    held = {view.ref: store._quarantine(view).forget(found) for view, found in doomed.items()}  # before it is released
    try:
        done = [
            erase(view, found, store.offline, store.online if view.storage_name in served else None)
            for view, found in doomed.items()
        ]
    except FeatureStoreError as error:
        error.add_note("Saved training sets weren't looked at, nor were views that come later.")
        raise
    finally:
        store._cache.take()
        store._reports.forget(doomed)
    logged = _forget_logged(store, name, every)
    erased = Erasure(done, forget_saved(saved_sets(store), every, delete=saved == "delete"), logged)
    erased.quarantined.update({ref: rows for ref, rows in held.items() if rows})
    return erased


def _forget_logged(store: Resources, entity: str, keys: list[pa.Table]) -> dict[str, int]:
    """Erase entities from the request logs, and what this process has yet to write; return how many rows, by log."""
    if (writer := store._log.made()) is not None:
        writer.flush(_LOG_SECONDS)
    if not store._log_directory.is_dir():
        return {}
    from fs_core.monitoring.log.forget import forget_logged
    from fs_core.monitoring.log.tables import LogTables

    return forget_logged(LogTables(store._log_directory, store._log_keep), entity, keys)


def profile(
    store: Resources, what: str | FeatureView | TrainingSet, since: Moment | timedelta | str | None = None
) -> Profile:
    """Return what the values of a view's history, or of a training set, are like day by day.

    Counts, nulls, NaN, extremes, exact sums, histograms with fixed buckets, different values, and of a view both
    clocks and the delay between them. Profiles add up (`+`), bit for bit. A view with aggregations is described by
    its events. It is computed from history now and kept nowhere, so `forget` leaves nothing of a person in it.

    Args:
        what: the view's reference, or a training set.
        since: only what became available from this moment on, or so long ago (`"7d"`); for a view.

    Raises:
        DataError: `since` is neither a moment nor a duration, or is given for a training set; or it is neither a view
            nor a training set.
        DefinitionError: a feature is named.
        OfflineStoreError: history can't be read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from fs_core.monitoring.profiles.build import profile_rows, profile_training_set
    from fs_core.rule import AVAILABLE_AT

    if isinstance(what, TrainingSet):
        if since is not None:
            raise DataError("since is for a view's history; cut a training set with split_by_time first.")
        return profile_training_set(what)
    if not isinstance(what, str | FeatureView):
        raise DataError(
            f"a profile is of a view or of a training set, not of {type(what).__name__}. Pass a view's name, or what "
            "get_historical_features returns."
        )
    if isinstance(what, str) and (reference := Reference.parse(what)).feature is not None:
        raise DefinitionError(
            f"{what!r} names a feature, and a profile is of a whole view. Pass {reference.name!r}: the profile's table "
            f"has rows for the column {reference.feature!r}."
        )
    view = store.view(what)
    rows = store.offline.read(view)
    if since is not None:
        first = pa.scalar(moment_or_ago(since, store._clock.now()), pa.int64())
        rows = rows.filter(pc.greater_equal(rows[AVAILABLE_AT].cast(pa.int64()), first))
    return profile_rows(view, rows)


def monitor(
    store: Resources,
    view: str | FeatureView,
    reference: TrainingSet | str | None = None,
    *,
    window: timedelta | str = "1d",
    at: Moment | None = None,
    log: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    backtest: bool = False,
    importance: Mapping[str, float] | None = None,
) -> MonitorReport:
    """Look at the rows that became available in a window: do they keep to the declaration, and did values drift?

    *Contract*: types, ranges, allowed values, nulls, rows, age of the newest event, delay; exact. *Drift*: each
    feature, the delay and the number of rows against a training set and against the same weekdays before. A change is
    an alarm if its size matters, if it is more than noise among all that was looked at (each entity counts once), and
    if it was so in the window before too. A view with aggregations is compared by what its windows hold at the end,
    for entities with an event in it. Dates, times and lists are compared by their nulls alone. *Skew*, with `log`: what
    was served otherwise than the rule says. Reads the view's whole history into memory. The last report of a view is
    kept, for the server's metrics and the catalogue.

    Args:
        view: its reference.
        reference: a training set that has features of the view, or the name of a saved one; None compares with the
            weekdays before alone.
        window: how long it is.
        at: where it ends; by default now.
        log: the name of a request log whose reads in the window are replayed, 1,000 differences of a kind at most.
        thresholds: some of `fs_core.monitoring.drift.compare.Thresholds` by name, such as `{"psi": 0.2}`.
        backtest: look at every window of history too (the latest 100), to say how often each threshold was passed.
        importance: how much a model heeds each feature, such as `fs_sklearn.feature_importance(model)`: what it heeds
            most comes first.

    Returns:
        A report: `clean`, `findings` as an Arrow table; `str()` for people, `to_html` and `to_png` for files.

    Raises:
        ConfigurationError: SciPy isn't installed, or `at` is in the future.
        DataError: a threshold or an importance isn't one, the window is no time or begins before the year 1, or the
            reference is no training set or has no feature of the view.
        UnknownReferenceError: there is no such view, saved training set or log.
    """
    try:
        from fs_core.monitoring import monitor as room
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "scipy":
            raise
        raise ConfigurationError("monitoring needs SciPy: pip install 'fs-core[monitor]'.") from None
    from fs_core.monitoring.drift.compare import Thresholds
    from fs_core.monitoring.drift.windows import Windows
    from fs_core.monitoring.kept import KeptReport
    from fs_core.monitoring.monitor_report import importance_of
    from fs_core.monitoring.monitor_skew import skew_in

    if reference is not None and not isinstance(reference, str):
        require_training_set(reference, "reference")
    target, now = store.view(view), store._clock.now()
    heeded = importance_of(target, importance)
    end, length = now if at is None else micros(at), duration_micros(parse_duration(window, "window"))
    if end > now:
        raise ConfigurationError(f"at={at} is in the future; a window ends now at the latest.")
    if not length:
        raise DataError(f"window={window!r} is no time; pass a duration such as '1d'.")
    if end - 2 * length < EARLIEST:
        raise DataError(f"window={window!r}, or the one before, begins before the year 1. Pass a shorter one.")
    skew: Iterable[Finding] = ()
    if log is not None:
        replayed = replay(store, log, since=from_micros(end - length), evidence=_REPLAYED)
        skew = skew_in(replayed, target, (end - length, end))
    training_set = saved_sets(store).load(reference) if isinstance(reference, str) else reference
    report = room.monitor(
        Windows(target, store.offline),
        training_set,
        window=length,
        at=end,
        skew=skew,
        thresholds=Thresholds.of(thresholds),
        backtest=backtest,
        importance=heeded,
    )
    store._reports.keep(target, KeptReport.of(report, end - length, end))
    return report
