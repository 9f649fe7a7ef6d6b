"""The method that erases entities from wherever the store has them: history, online, quarantine, logs, saved sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fs_core.definitions import Entity, FeatureView
from fs_core.errors import ConfigurationError, FeatureStoreError, UnknownReferenceError, did_you_mean
from fs_core.store.request_log import log_tables
from fs_core.store.resources import Resources
from fs_core.store.saved_sets import saved_sets
from fs_core.values.interchange import to_table

if TYPE_CHECKING:
    import pyarrow as pa

    from fs_core.materialization.forget import Erasure

_LOG_SECONDS = 60.0  # how long a forget waits for what the request log has to write


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

    return forget_logged(log_tables(store), entity, keys)
