"""The feature store: one object that defines, writes, retrieves and serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fs_core import configuration
from fs_core.store import forget, materialization, monitoring, online, request_log, saved_sets, training
from fs_core.store.definitions import apply as definitions
from fs_core.store.definitions import transforms, versions
from fs_core.store.history import backfill, carry_over, export, maintenance, quarantine, write
from fs_core.store.live import ingestion, push
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fs_core.catalogue import Built
    from fs_core.definitions import FeatureView


class FeatureStore(Resources):
    """Definitions, history and latest values of features, behind one rule.

    An instance is cheap: it opens what it needs when it needs it, in the process that needs it. It may
    be shared by threads, pickled and copied (a copy is the store itself), and forked, with one exception:
    a process forked from one that has used history can't use history itself: that is an error. A pickle
    carries configuration without credentials: where a URL has a password, the process that unpickles it
    reads `FS_ONLINE`, `FS_OFFLINE` and `FS_REGISTRY`.

    Args:
        directory: where history lives and, by default, everything else; made with the first change.
            None means the environment's `FS_STORE`.
        online: `"sqlite"` (embedded, the default) or a URL such as `"redis://localhost:6379/0"`.
        offline: `"delta"` (Delta tables in the directory, the default), a bucket such as `"s3://bucket/prefix"`, or the
            URL of a plugin.
        registry: `"sqlite"` (embedded, the default) or any SQLAlchemy URL.
        deadline: how long an online read may take, such as `"20ms"`; by default a second, or longer for more than
            20,000 keys (50 µs each).
        clock: gives the moment of a push or read; for tests.

    Raises:
        ConfigurationError: no directory is known, it can't be made, or a setting can't be understood.
    """

    # Its methods are functions of its resources, each with its docstring in the file it is named after.

    apply = definitions.apply
    plan = definitions.plan
    delete = versions.delete
    to_yaml = definitions.to_yaml
    read_yaml = definitions.read_yaml
    apply_yaml = definitions.apply_yaml
    diff = versions.diff
    rollback = versions.rollback
    alias = versions.alias
    aliases = versions.aliases
    retire = versions.retire
    check_transform = transforms.check_transform

    write = write.write
    backfill = backfill.backfill
    carry_over = carry_over.carry_over
    quarantined = quarantine.quarantined
    release = quarantine.release
    drop_quarantined = quarantine.drop_quarantined
    compact = maintenance.compact
    verify_history = maintenance.verify_history
    history = export.history
    export = export.export

    push_async = push.push_async
    push = push.push
    ingest = ingestion.ingest

    get_historical_features = training.get_historical_features
    stream_historical_features = training.stream_historical_features
    split = training.split
    sql = training.sql
    as_of_reader = training.as_of_reader
    check_leakage = training.check_leakage
    recreate = training.recreate

    save_training_set = saved_sets.save_training_set
    load_training_set = saved_sets.load_training_set
    refresh_training_set = saved_sets.refresh_training_set
    list_training_sets = saved_sets.list_training_sets
    drop_training_set = saved_sets.drop_training_set

    get_online_features = online.get_online_features
    get_online_features_async = online.get_online_features_async
    estimate = online.estimate

    materialize = materialization.materialize
    verify_online = materialization.verify_online
    drop_online = materialization.drop_online
    served_as = materialization.served_as
    forget = forget.forget

    log_outcome = request_log.log_outcome
    flush_log = request_log.flush_log
    log_counts = request_log.log_counts
    read_log = request_log.read_log
    replay = monitoring.replay
    profile = monitoring.profile
    monitor = monitoring.monitor

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        *,
        online: str | None = None,
        offline: str | None = None,
        registry: str | None = None,
        deadline: str | None = None,
    ) -> FeatureStore:
        """Make a store whose directory remembers its settings, so that the directory alone opens it again.

        Args:
            directory: made if absent.
            online: as for `FeatureStore`.
            offline: as for `FeatureStore`.
            registry: as for `FeatureStore`.
            deadline: as for `FeatureStore`.

        Raises:
            ConfigurationError: a URL carries a password, or names no table or bucket; or the directory can't be
                written.
        """
        from pathlib import Path

        from fs_core.offline import open as offline_stores
        from fs_core.online import open as online_stores

        online_stores.refuse_url(online or "")  # these say where keys belong, which isn't in an environment's URL
        offline_stores.refuse_url(offline or "")
        settings = {"online": online, "offline": offline, "registry": registry, "deadline": deadline}
        configuration.save(Path(directory).expanduser(), **settings)
        store = cls(directory)
        _ = store.registry.project
        return store

    def build_docs(self, directory: str | os.PathLike[str], *, title: str = "") -> Built:
        """Write a static site of everything that is registered, with lineage and freshness; it opens from a file.

        Args:
            directory: made if absent; otherwise empty, or an earlier catalogue, which goes.
            title: what the store is called; by default its directory's name.

        Raises:
            ConfigurationError: the directory holds something else, or can't be written.
        """
        from dataclasses import asdict
        from pathlib import Path

        from fs_core.catalogue import Origin, build

        def report(view: FeatureView) -> Mapping[str, Any] | None:
            kept = self._reports.of(view)
            return None if kept is None else asdict(kept)

        name = title or self._configuration.directory.name or "feature store"
        origin = Origin(self.registry, self.lineage, self.offline, self.online, report)
        return build(origin, Path(directory), title=name, built_at=self._clock.now())


def open_store(store: FeatureStore | str | os.PathLike[str] | None) -> FeatureStore:
    """Return a store as adapters take it: a `FeatureStore`, the directory of one, or None for `FS_STORE`."""
    return store if isinstance(store, FeatureStore) else FeatureStore(store)
