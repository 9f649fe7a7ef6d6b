"""A table's rows into history: checked, numbered and appended; those that break a rule go into quarantine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.contract import EMPTY
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.offline.sifted import Sifted, Written
    from fs_core.sources.sources import Times

log = logging.getLogger("fs_core")

FEW_ROWS = 10_000
"""Up to which writes and pushes that meet are one."""

_FEW_BYTES = 8 << 20  # up to which pushes go by the journal
_SEQS = 1_000  # of pushes, after which the registry is told


def append(
    store: Resources,
    view: FeatureView,
    data: pa.Table,
    *,
    incremental: bool | None = None,
    times: Times | None = None,
) -> Written:
    """Check, number and append rows; return how many.

    Args:
        store: where.
        view: to whose history.
        data: the rows.
        incremental: for a backfill, whether to leave out what is there already.
        times: for a backfill, which rows are asked for; the others are checked, too.
    """
    from fs_core.offline.sifted import Written

    sifted = sifted_of(view, data, times)
    checked = sifted.good
    if incremental is not None and store.offline.snapshot(view) != EMPTY:
        missing = store.offline.unwritten(view, checked)
        known = checked.num_rows - missing.num_rows
        if incremental:
            checked = missing
            sifted = sifted.without_known(partial(store.offline.unwritten, view))
        elif known:
            warn_of_known(view, known, f"these {checked.num_rows}")
    quarantined = into_quarantine(store, view, sifted)
    if checked.num_rows > FEW_ROWS:
        return Written(len(into_history(store, view, checked)), quarantined)
    return Written(store._grouped(_write, view)(checked), quarantined)


def sifted_of(view: FeatureView, data: pa.Table, times: Times | None) -> Sifted:
    """Return the rows that are asked for; all are checked, so that they are counted as in the data.

    Args:
        view: whose rows.
        data: the rows.
        times: which rows are asked for; None for all.
    """
    from fs_core.transforms.written import sifted_rows

    sifted = sifted_rows(view, data)
    return sifted if times is None else sifted.within(times.start, times.end)


def warn_of_known(view: FeatureView, known: int, of: str) -> None:
    """Say in the log how many rows history has twice now.

    Args:
        view: whose history.
        known: how many it had already.
        of: of which rows, for people.
    """
    log.warning(
        "backfill of %s: history had %d of %s rows already, and has them twice now. "
        "backfill(..., incremental=True) writes the others alone.",
        view.ref,
        known,
        of,
    )


def _write(store: Resources, view: FeatureView, together: Sequence[pa.Table]) -> list[int]:
    """Append the rows of writes that met; return how many each had."""
    into_history(store, view, pa.concat_tables(together))
    return [rows.num_rows for rows in together]


def into_quarantine(store: Resources, view: FeatureView, sifted: Sifted, *, pushed: bool = False) -> pa.Table:
    """Quarantine the rows that break a rule, before the others are in history; return which these are.

    Args:
        store: where.
        view: whose rows.
        sifted: the rows.
        pushed: whether they were.

    Raises:
        OfflineStoreError: they can't be kept.
    """
    from fs_core.offline.sifted import NOTHING

    return store._quarantine(view).add(sifted, store._clock.now(), pushed=pushed) if sifted.positions else NOTHING


def into_history(store: Resources, view: FeatureView, checked: pa.Table, *, pushed: bool = False) -> pa.Table:
    """Number and append checked rows; return them as history has them.

    Args:
        view: whose rows.
        checked: the rows, as `validate_rows` returns them.
        pushed: whether they are live, so that few of them needn't be a commit of the table.
    """
    from fs_core.offline.contract import PushedHistory

    rows, count = numbered(store, view, checked, pushed=pushed), checked.num_rows
    if count == 0:
        return rows
    few = count <= FEW_ROWS and rows.nbytes <= _FEW_BYTES
    if pushed and few and isinstance(store.offline, PushedHistory):
        store.offline.push(view, rows)
    else:
        store.offline.append(view, rows)
    log.info("wrote %d rows to %s", rows.num_rows, view.ref)
    return rows


def numbered(store: Resources, view: FeatureView, checked: pa.Table, *, pushed: bool = False) -> pa.Table:
    """Return checked rows as history has them, with seqs that no other row has.

    Args:
        store: whose registry and history number them.
        view: whose rows.
        checked: the rows.
        pushed: whether they are, so that the registry needn't hear of each.
    """
    from fs_core.offline.validation.rows import with_sequence

    count = checked.num_rows
    least = _least_seq(store, view, count, pushed=pushed) if count else 0
    return with_sequence(view, checked, store.offline.reserve(view, count, at_least=least) if count else 0)


def _least_seq(store: Resources, view: FeatureView, count: int, *, pushed: bool) -> int:
    """Return from which seq on the registry gives out numbers; pushes tell it of many at a time, as each is a commit.

    History's own number is what counts; the registry's is for a history whose directory was lost.
    """
    name = view.storage_name
    first, owed = store._seqs.get(name, (None, 0))
    owed += count
    if first is None or owed >= _SEQS or not pushed:
        first, owed = store.registry.reserve(name, owed), 0
    store._seqs[name] = first, owed
    return first
