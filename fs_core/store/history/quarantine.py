"""Methods that show, release and drop quarantined rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError, ValidationError
from fs_core.store.history.append import into_history
from fs_core.store.history.turns import in_turn
from fs_core.store.live.delivery import deliver, delivery
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.offline.quarantine import Quarantine

log = logging.getLogger("fs_core")

_SHOWN = 3  # rows that an error names


def quarantined(store: Resources, view: str | FeatureView) -> pa.Table:
    """Return the rows of a view that are in quarantine, the earliest first.

    The columns are `__id`; `__reason`; `__held_at`; `__pushed`, whether it was pushed or ingested; and what history
    would have. Each meaning of a view has its own: name the version that refused them.

    Args:
        view: its reference.
    """
    target = store.view(view)
    rows = store._quarantine(target).read()
    return rows if target.entities else rows.drop_columns(list(target.keys))


def release(
    store: Resources,
    view: str | FeatureView,
    ids: str | Sequence[str] | None = None,
    *,
    from_: str | FeatureView | None = None,
    mapping: Mapping[str, str] | None = None,
    force: bool = False,
) -> int:
    """Write rows that are in quarantine into history, all or none; return how many.

    What was written keeps its availability. What was pushed or ingested is available from now on, as nobody could use
    it before, and goes online; with one event time, it wins over what came meanwhile, also what was pushed in part,
    with the values that the other fields had then. Rows go in the order in which they came. A row that history has by
    now, as after a release that was interrupted, isn't written twice, unless it was pushed to a view with
    `available_at`; `materialize` then brings it online.

    Args:
        view: the version whose history takes them, such as `"v:v2.0.0"`, whose bounds and checks were corrected.
        ids: which, by `__id`; None for all.
        from_: the version of the same view that refused them; None for the one that takes them.
        mapping: fields that come from one of another name: new name to old. Others that `from_` lacks are null.
        force: although they break what the view declares.

    Raises:
        ValidationError: rows break what the view declares, or, with `force` too, are events without an id or for which
            a `where` fails; nothing was released.
        DataError: there is no such row in quarantine.
        DefinitionError, SchemaError: `from_` is of another view or has other keys, or values for which there is no
            field, or that don't fit it.
        OfflineStoreError, RegistryError: as in `write`.
        OnlineStoreError: the rows are safe in history, but not online; `materialize` brings them.
    """
    from fs_core.offline.carrying import carried_columns, computed_rows
    from fs_core.transforms.written import computed_columns

    target = store.view(view)
    source = target if from_ is None else store.view(from_)
    if source.name != target.name:
        raise DefinitionError(
            f"from_: {source.ref!r} isn't a version of view {target.name!r}, which alone can take what is quarantined "
            f"there. Release into a version of {source.name!r}."
        )
    renamed = dict(mapping or {})
    held_by = store._quarantine(source)
    with in_turn(store, target), held_by.turn():
        held = held_by.read(_listed(ids))
        columns = carried_columns(target, source, held, renamed)
        _refuse_loss(target, source, held, renamed)
        if not force:
            _refuse_broken(target, columns, held)
        rows = computed_rows(target, columns, partial(computed_columns, target))
        _write(store, target, held_by, held, rows)
    log.info("released %d rows of %s into %s", held.num_rows, source.ref, target.ref)
    return int(held.num_rows)


def _write(store: Resources, view: FeatureView, held_by: Quarantine, held: pa.Table, rows: pa.Table) -> None:
    """Bring rows into history, then out of quarantine, then online, so that none is ever lost."""
    import pyarrow.compute as pc

    from fs_core.offline.quarantine import ID, PUSHED
    from fs_core.rule import AVAILABLE_AT
    from fs_core.values.times import MICROSECONDS

    now, index = store._clock.now(), rows.schema.get_field_index(AVAILABLE_AT)
    known = rows[AVAILABLE_AT].cast(pa.int64())
    released = pc.if_else(held[PUSHED], pc.max_element_wise(known, pa.scalar(now, pa.int64())), known)
    rows = rows.set_column(index, rows.schema.field(AVAILABLE_AT), released.cast(MICROSECONDS))
    missing = store.offline.unwritten(view, rows.append_column(PUSHED, held[PUSHED]))
    has_pushed = view.online and bool(pc.any(missing[PUSHED]).as_py())
    sent_by = delivery(store, view) if has_pushed else None  # before the rows are in history
    written = into_history(store, view, missing)
    held_by.drop(held[ID].to_pylist())
    if has_pushed:
        deliver(store, view, written.filter(missing[PUSHED]), now, sent_by)


def _refuse_loss(target: FeatureView, source: FeatureView, held: pa.Table, mapping: Mapping[str, str]) -> None:
    """Refuse rows with a value that no field of the target takes: they leave quarantine, so it would be gone."""
    taken = {mapping.get(name, name) for name in target.written}
    lost = [name for name in source.written if name not in taken and held[name].null_count < held.num_rows]
    if lost:
        raise DefinitionError(
            f"view {target.ref!r} has no field for {', '.join(map(repr, lost))} of rows that {source.ref!r} refused: "
            "these values would be lost. Nothing was released. If a field has another name now, say so: "
            f"store.release(..., mapping={{'new_name': {lost[0]!r}}}). Else write the rows yourself, as "
            f"store.quarantined({source.ref!r}) shows them, and drop them there with store.drop_quarantined."
        )


def _refuse_broken(view: FeatureView, columns: Mapping[str, pa.ChunkedArray], held: pa.Table) -> None:
    from fs_core.offline.quarantine import ID
    from fs_core.offline.validation.violations import reasons_of, violations

    found = violations(view, columns)
    if not found:
        return
    reasons = reasons_of(found, range(held.num_rows))
    odd = [f"{one}: {reason}" for one, reason in zip(held[ID].to_pylist(), reasons, strict=True) if reason]
    rest = f"; and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    raise ValidationError(
        f"view {view.ref!r}: rows still break what it declares: {'; '.join(odd[:_SHOWN])}{rest}. Nothing was released. "
        f"Apply a version that allows them, and release into that with from_={view.ref!r}; or pass force=True."
    )


def drop_quarantined(store: Resources, view: str | FeatureView, ids: str | Sequence[str] | None = None) -> int:
    """Delete rows that are in quarantine for good; return how many.

    Args:
        view: the version that refused them.
        ids: which, by `__id`; None for all.

    Raises:
        DataError: there is no such row.
        OfflineStoreError: somebody adds rows for so long that it isn't known which files are needed. Repeat it.
    """
    from fs_core.offline.quarantine import ID

    held_by = store._quarantine(store.view(view))
    with held_by.turn():
        found = held_by.read(_listed(ids))
        held_by.drop(found[ID].to_pylist())
    return int(found.num_rows)


def _listed(ids: str | Sequence[str] | None) -> list[str] | None:
    return None if ids is None else [ids] if isinstance(ids, str) else [str(one) for one in ids]
