"""Comparing an online store with the rule, row by row, and mending what differs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.materialization.check import Check
from fs_core.materialization.check_events import EventCheck

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore

log = logging.getLogger("fs_core")


@dataclass(frozen=True)
class Verification:
    """What comparing one view's online rows with history found.

    Attributes:
        view: the view's reference with its version.
        entities: entities that history has a row for.
        online: rows that the online store holds.
        differences: for each `RowProblem` that occurred, how many rows have it.
        evidence: the first differences, one row each: the key columns, `__problem`, the event time and
            seq of the row that wins (`__event_time`, `__seq`, null if none does) and of the row that
            is online (`__online_event_time`, `__online_seq`, null if it is missing or corrupt), and the
            key's bytes (`__key`), for keys that can't be read. Of a view with windows, of the last event of each.
        repaired: how many differences were mended.
        seconds: how long it took.
    """

    view: str
    entities: int
    online: int
    differences: Mapping[str, int]
    evidence: pa.Table
    repaired: int
    seconds: float

    @property
    def total(self) -> int:
        """How many rows differ."""
        return sum(self.differences.values())


def verify(
    view: FeatureView,
    offline: OfflineStore,
    online: OnlineStore,
    *,
    now: Callable[[], int],
    repair: bool = False,
    evidence: int = 100,
) -> Verification:
    """Compare every online row of a view with the row that wins now, both ways, in bounded memory.

    Of a view with windows the events are compared that matter from now on. Of a view with `online_history` each recent
    row is looked for in history as well; whether one is missing isn't.
    What differs is looked at again, with history read between two looks at the online store, so rows that
    are pushed meanwhile are no differences. Rows that the server may have collected aren't missing.

    Args:
        view: whose rows.
        offline: history.
        online: the online store.
        now: returns the present moment, microseconds.
        repair: write what is missing or stale; delete and write what is wrong, ahead, unknown or corrupt,
            unless somebody changed it meanwhile. Recent rows that aren't right go: until others have come, only
            history answers for the moments that they were kept for.
        evidence: how many differences to return as rows.

    Raises:
        NotOnlineError: the view is not declared online.
    """
    view.require_online()
    check = (EventCheck if view.aggregations else Check)(view, offline, online, now, repair, evidence)
    start = time.perf_counter()
    entities, rows = check.history_against_online(), check.online_against_history()
    if view.online_history is not None and not view.aggregations:
        check.timelines_against_history()
    done = Verification(
        view.ref,
        entities,
        rows,
        {str(problem): count for problem, count in sorted(check.counts.items())},
        pa.Table.from_pylist(check.evidence, schema=check.schema),
        check.repaired,
        time.perf_counter() - start,
    )
    log.info(
        "verified %s: %d differences among %d entities, %d repaired", view.ref, done.total, entities, done.repaired
    )
    return done
