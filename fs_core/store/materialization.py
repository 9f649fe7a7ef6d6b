"""Methods that fill the online store from history, verify it against that, and empty it."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.store.resources import Resources
from fs_core.values.times import Moment, micros

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fs_core.materialization.materialize import Materialized
    from fs_core.materialization.shared.runner import SharedRunner
    from fs_core.materialization.verify import Verification

log = logging.getLogger("fs_core")


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
