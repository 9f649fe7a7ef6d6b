"""Methods that profile values, watch new rows for drift, and hold what was served against the rule."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fs_core.configuration import duration_seconds
from fs_core.definitions import FeatureView
from fs_core.definitions.references import Reference
from fs_core.errors import ConfigurationError, DataError, DefinitionError
from fs_core.store.request_log import flush_log, log_tables
from fs_core.store.resources import Resources
from fs_core.store.saved_sets import saved_sets
from fs_core.training_set import TrainingSet, require_training_set
from fs_core.values.times import EARLIEST, Moment, duration_micros, from_micros, micros, moment_or_ago, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fs_core.monitoring.monitor_page import MonitorReport
    from fs_core.monitoring.monitor_report import Finding
    from fs_core.monitoring.profiles.profile import Profile
    from fs_core.monitoring.replay import ReplayReport

_REPLAYED = 1000  # differences of each kind that monitoring counts


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
        log_tables(store), name, store.registry, store.offline, since=moment, overlap=tolerance, evidence=evidence
    )
