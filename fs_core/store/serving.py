"""Filling the online store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError
from fs_core.store.parts import Parts
from fs_core.values.times import Moment, micros

if TYPE_CHECKING:
    from fs_core.materialization.materialize import Materialized


class Serving(Parts):
    """Filling the online store."""

    def materialize(
        self, *views: str | FeatureView, until: Moment | None = None, rebuild: bool = False
    ) -> list[Materialized]:
        """Bring the online store up to date with history; return what was done for each view.

        Args:
            views: references; none means every registered version of every online view, since models may be
                pinned to older ones, but for retired ones.
            until: stand at this moment; by default now.
            rebuild: drop the online rows first, damaged ones too, and fill them again from all of history;
                until that is done, entities are missing online. A store that refuses writes keeps its rows, and
                so does a cluster of which a node is lost.

        Raises:
            NotOnlineError: a named view is not declared online.
            OnlineStoreError: the store can't take the rows, or entities were forgotten meanwhile; repeat it.
        """
        from fs_core.lineage import activities
        from fs_core.lineage.events import reported
        from fs_core.materialization.materialize import materialize, refuse_offline

        targets = [self.view(view) for view in views] or self._online_views()
        for view in targets:
            refuse_offline(view)
        now = self._clock.now()
        moment = now if until is None else micros(until)
        if moment > now:
            raise ConfigurationError(f"until={until} is in the future; only rows available by now may go online.")
        done = []
        try:
            for view in targets:
                with reported(lambda: activities.materialize(self.registry.project, view)) as told:  # noqa: B023  # called at once
                    fill = partial(materialize, view, self.offline, self.online, now=self._clock.now)
                    done.append(fill(until=moment, rebuild=rebuild))
                    if told:
                        told.written = done[-1].applied
        finally:
            if rebuild or len(done) < len(targets):  # rows were dropped, or forgotten while they were sent
                self._caches.clear()
        return done

    def _online_views(self) -> list[FeatureView]:
        """Return every online version but retired ones, since a model may be pinned to any; one for each meaning."""
        retired = {(name, version) for kind, name, version in self.registry.retired() if kind == "view"}
        registered = [r.definition for r in self.registry.listing("view")]
        kept = [view for view in registered if (view.name, view.version) not in retired]
        latest = {view.storage_name: view for view in kept if isinstance(view, FeatureView)}
        return [view for view in latest.values() if view.rows_online]
