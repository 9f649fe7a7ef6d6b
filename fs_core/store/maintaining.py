"""Looking after what is online, and erasing what must be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fs_core.definitions import Entity, FeatureView
from fs_core.errors import DefinitionError, UnknownReferenceError, did_you_mean
from fs_core.store.parts import Parts

if TYPE_CHECKING:
    from fs_core.erasure import Forgotten
    from fs_core.verification import Verification


class Maintaining(Parts):
    """Verifying, dropping and forgetting."""

    def verify_online(self, view: str | FeatureView, *, repair: bool = False, evidence: int = 100) -> Verification:
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
        from fs_core.verification import verify

        target = self.view(view)
        return verify(target, self.offline, self.online, now=self._clock.now, repair=repair, evidence=evidence)

    def drop_online(self, view: str | FeatureView) -> int:
        """Delete the online rows of a retired version, without blocking the server; return how many there were.

        History stays: `materialize` would bring them back.

        Raises:
            DefinitionError: a later version that differs in documentation only is served from the same rows.
        """
        target = self.view(view)
        versions = [r.definition for r in self.registry.listing("view") if r.definition.name == target.name]
        last = [v for v in versions if isinstance(v, FeatureView) and v.storage_name == target.storage_name][-1]
        if last.version != target.version:
            raise DefinitionError(
                f"view {target.ref!r} is served from the same rows as {last.ref!r}, since only its documentation "
                f"differs; nothing was dropped. If those are the rows to drop, name {last.ref!r}."
            )
        try:
            return self.online.drop(target.storage_name)
        finally:
            self._caches.clear()

    def forget(self, entity: str | Entity, keys: Any) -> list[Forgotten]:
        """Erase every row of some entities: from history with all its states, the index and the online store.

        Every registered version of every view of the entity counts, views of several entities too. Each
        is read back afterwards, files and keys. Training sets that were made from states which held such
        rows can't be recreated any more, and say so; those made from other states can. The sources that
        `backfill` runs, and training sets already made, aren't the store's: they must forget on their own.
        Another process, or another store object, that reads with `max_age` may serve what it fetched before
        until it is that old, where the online store's server doesn't tell it of changes.
        A push or `materialize` that had read such a row before, and sends it afterwards, brings it online again:
        pause those, or repeat this, or let `verify_online(repair=True)` delete what history doesn't know.

        Args:
            entity: the entity, or its name.
            keys: its key columns; anything `fs_core.interchange.to_table` reads. Columns that only an older
                version of the entity has as keys must be there too.

        Returns:
            What was erased of each view; repeating it erases nothing more.

        Raises:
            UnknownReferenceError: there is no such entity.
            SchemaError, ValidationError: a key is missing, null or of another type; nothing was erased.
            FeatureStoreError: rows were written again meanwhile; repeat it.
        """
        from fs_core.erasure import forget, keys_of, views_of
        from fs_core.interchange import to_table

        name = entity.name if isinstance(entity, Entity) else entity
        known = {r.definition.name for r in self.registry.listing("entity")}
        if not isinstance(name, str) or name not in known:
            raise UnknownReferenceError(f"there is no entity {name!r}.{did_you_mean(name, known)}")
        table = to_table(keys, "the keys to forget")
        registered = [r.definition for r in self.registry.listing("view")]
        views = [view for view in registered if isinstance(view, FeatureView)]
        doomed = {view: keys_of(mine, table) for view, mine in views_of(name, views).items()}
        served = {view.storage_name for view in views if view.online}
        try:
            return [
                forget(view, found, self.offline, self.online if view.storage_name in served else None)
                for view, found in doomed.items()
            ]
        finally:
            self._caches.clear()
