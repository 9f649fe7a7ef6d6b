"""Forgetting entities: out of history and all its states, the index, and the online store, with proof."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import Entity, FeatureView
from fs_core.errors import (
    FeatureStoreError,
    OnlineStoreError,
    OnlineUnavailableError,
    SchemaError,
    ValidationError,
    did_you_mean,
)
from fs_core.materialization.watermark import ViewProgress, was_filled
from fs_core.offline.contract import EMPTY
from fs_core.online.contract import timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.keys import unpack_keys
from fs_core.values.casting import cast_lossless

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore
    from fs_core.retrieval.saved.forgetting import SavedRows

log = logging.getLogger("fs_core")


@dataclass(frozen=True)
class Forgotten:
    """What was erased of one view, and read back to be gone.

    Attributes:
        view: the reference of one version of that meaning.
        rows: rows erased from the newest state of history.
        files: older files deleted because they held such rows; states that need them can't be read again.
        online: rows deleted from the online store.
    """

    view: str
    rows: int
    files: int
    online: int


class Erasure(list[Forgotten]):
    """What was erased of each view and request log, and which saved training sets hold the same entities.

    Args:
        views: what was erased of each view.
        training_sets: the sets, each with how many rows and whether it was deleted.
        logs: how many rows were erased from each request log that had some.

    Attributes:
        training_sets: the same.
        logs: the same.
        quarantined: how many rows were erased from quarantine, by the reference of a view that had some.
    """

    def __init__(self, views: Sequence[Forgotten], training_sets: Sequence[SavedRows], logs: Mapping[str, int]) -> None:
        super().__init__(views)
        self.training_sets = list(training_sets)
        self.logs = dict(logs)
        self.quarantined: dict[str, int] = {}

    def __repr__(self) -> str:
        held = f", quarantined={self.quarantined!r}" if self.quarantined else ""
        return f"Erasure({super().__repr__()}, training_sets={self.training_sets!r}, logs={self.logs!r}{held})"


def keys_of(entity: Entity, table: pa.Table) -> pa.Table:
    """Return an entity's key columns in its types.

    Raises:
        SchemaError: a column is missing or of another type.
        ValidationError: a key is null.
    """
    columns = {}
    for name, dtype in entity.keys.items():
        if name not in table.column_names:
            raise SchemaError(
                f"the keys to forget have no column {name!r}, a key of entity {entity.ref!r}. Nothing was erased."
                f"{did_you_mean(name, table.column_names)}"
            )
        columns[name] = cast_lossless(table[name], dtype, f"the keys to forget: column {name!r}")
        if columns[name].null_count:
            raise ValidationError(f"the keys to forget: column {name!r} holds a null. Nothing was erased.")
    return pa.table(columns)


def forget(view: FeatureView, keys: pa.Table, offline: OfflineStore, online: OnlineStore | None) -> Forgotten:
    """Erase every row of some entities from one view, then read back that none is left.

    History first, then the view's online rows begin another generation, then they are deleted. How a sender that is
    under way knows by that what it must take back, `fs_core.materialization.retract` says. What was interrupted
    is finished by repeating it.

    Args:
        view: a view of these entities, perhaps among others.
        keys: their key columns, in the view's types, without nulls.
        offline: history.
        online: the online store; None where the view isn't online.

    Raises:
        OnlineStoreError: the online store fails; a note says what is done.
        FeatureStoreError: rows were written again meanwhile.
    """
    erased = offline.erase(view, keys)
    deleted = left = 0
    if online is not None:
        try:
            filled = was_filled(online, view)
            deleted = _erase_online(view, keys, online)
            left = sum(map(len, _online_keys(view, keys, online)))
        except OnlineStoreError as error:
            error.add_note(
                f"Erased from the history of {view.ref}; rows of it may still be online. Repeat forget when the online "
                "store answers: materialize doesn't delete them."
            )
            raise
        if not filled and not deleted and offline.snapshot(view) != EMPTY:
            log.warning(
                "view %s has never been materialized in %r: is that the online store that serves it? If not, name that "
                "one, by online= or FS_ONLINE, and forget again.",
                view.ref,
                online,
            )
    left += offline.traces(view, keys)
    if left:
        raise FeatureStoreError(
            f"view {view.ref!r}: {left} rows of what was to be forgotten are there still or again. "
            "Stop what writes them, and repeat."
        )
    log.info("forgot %d rows and %d files of %s, %d online", erased.rows, erased.files, view.ref, deleted)
    return Forgotten(view.ref, erased.rows, erased.files, deleted)


def _erase_online(view: FeatureView, keys: pa.Table, online: OnlineStore) -> int:
    """Begin another generation of a view's online rows, delete those of these entities; return how many there were."""
    deleted = 0
    try:
        ViewProgress(view, online).begin_generation()
    except OnlineUnavailableError:
        raise
    except OnlineStoreError:  # a server out of memory refuses to write, but not to delete, which makes room
        deleted = _delete(view, keys, online)
        ViewProgress(view, online).begin_generation()
    return deleted + _delete(view, keys, online)


def _delete(view: FeatureView, keys: pa.Table, online: OnlineStore) -> int:
    return sum(online.delete(view.storage_name, found) for found in _online_keys(view, keys, online))


def _online_keys(view: FeatureView, keys: pa.Table, online: OnlineStore) -> Iterator[Sequence[bytes]]:
    """Yield the keys of these entities that have a row online, or a timeline: a row may be collected before it."""
    codec = RowCodec(view)
    doomed = set(zip(*(keys[column].to_pylist() for column in keys.column_names), strict=True))
    for name in (view.storage_name, timeline_name(view.storage_name)):
        if set(keys.column_names) == set(view.keys):
            asked = [key for key in codec.keys(keys) if key is not None]
            yield [key for key, row in zip(asked, online.read([(name, asked)])[0], strict=True) if row is not None]
            continue
        for part in online.scan(name):
            there = unpack_keys(view.keys, part.keys)[0].select(keys.column_names)
            rows = zip(*(there[column].to_pylist() for column in keys.column_names), strict=True)
            yield [key for key, row in zip(part.keys, rows, strict=True) if row in doomed]


def views_of(entity: str, views: Sequence[FeatureView]) -> Mapping[FeatureView, Entity]:
    """Return one view of each meaning that describes an entity, alone or among others, and the entity as it has it."""
    latest = {view.storage_name: view for view in views}
    return {view: mine for view in latest.values() for mine in view.entities if mine.name == entity}
