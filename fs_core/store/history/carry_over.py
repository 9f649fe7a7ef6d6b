"""The method that copies an earlier version's history into a version that has none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError
from fs_core.offline.contract import EMPTY
from fs_core.store.history.append import into_history
from fs_core.store.history.turns import in_turn
from fs_core.store.resources import Resources


def carry_over(
    store: Resources, view: str | FeatureView, *, from_: str | FeatureView, mapping: Mapping[str, str] | None = None
) -> int:
    """Copy an earlier version's history into a version that has none, with both clocks and the order; return the rows.

    So a field can be added without making past pushes known earlier than they were. What was available stays so at
    the same moments, or later where the new version declares a longer lag. What transforms compute is computed anew.

    Args:
        view: the version to fill, such as `"v:v2.0.0"`. Fields that the earlier one lacks are null.
        from_: the version to copy from, such as `"v:v1.0.0"`.
        mapping: fields that come from one of another name: new name to old.

    Raises:
        DefinitionError: the keys differ, the version has rows already, or `mapping` names no field.
        SchemaError, ValidationError: a value doesn't fit the new field, or may not be null; nothing was written.
        OfflineStoreError, RegistryError: as in `write`.
    """
    from fs_core.offline.carrying import carried
    from fs_core.transforms.written import computed_columns

    target, source = store.view(view), store.view(from_)
    with in_turn(store, target):
        if store.offline.snapshot(target) != EMPTY:
            raise DefinitionError(
                f"view {target.ref!r} has rows already, and rows that are carried over must come first. Apply a new "
                "version, or write the rows that are missing."
            )
        compute = partial(computed_columns, target)
        rows = carried(target, source, store.offline.read(source), dict(mapping or {}), compute)
        return len(into_history(store, target, rows))
