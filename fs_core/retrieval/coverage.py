"""A warning where hardly any row of a training set has a value of a view."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.offline.contract import OfflineStore, Snapshot
from fs_core.rule import STATUS, TIME, Status, at_moment
from fs_core.training_set import counted
from fs_core.values.times import LATEST, format_duration, parse_duration

log = logging.getLogger("fs_core")

_HARDLY_ANY = 0.05
_ENOUGH_ROWS = 20  # of fewer, a share says nothing


def warn_of_absence(offline: OfflineStore, view: FeatureView, found: pa.Table, snapshot: Snapshot) -> None:
    """Say in the log where hardly any row of a training set has values of a view, with the reasons counted.

    Args:
        offline: history.
        view: whose values.
        found: the keys and `TIME` of each row, and its `STATUS`.
        snapshot: the state of history that was read.
    """
    counts, rows = counted(found[STATUS]), found.num_rows
    if rows < _ENOUGH_ROWS or counts[Status.PRESENT] >= _HARDLY_ANY * rows:
        return
    absent = found.filter(pc.equal(found[STATUS], Status.MISSING.value)).select([*view.keys, TIME])
    ever = offline.as_of(view, at_moment(absent.select(list(view.keys)), LATEST), [], snapshot=snapshot)
    later = absent.num_rows - counted(ever[STATUS])[Status.MISSING]
    clock = f"its {view.available_at!r}" if view.available_at else "the event time, or of the push,"
    reasons = {
        f"have rows that became available after the row's moment only ({clock} plus the lag decides)": later,
        "belong to entities without any row": absent.num_rows - later,
        f"had expired (ttl {_shown(view)})": counts[Status.EXPIRED],
    }
    shown = "; ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number)
    log.warning("view %s has values for %d of %d rows: %s.", view.ref, counts[Status.PRESENT], rows, shown)


def _shown(view: FeatureView) -> str:
    return "none" if view.ttl is None else format_duration(parse_duration(view.ttl))
