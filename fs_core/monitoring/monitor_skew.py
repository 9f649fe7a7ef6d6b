"""What was served otherwise than the rule says, of one view in one window: a replay's findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fs_core.monitoring.drift.windows import ROWS, Span
from fs_core.monitoring.monitor_report import Finding
from fs_core.monitoring.replay import Difference
from fs_core.values.times import micros

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.monitoring.replay import ReplayReport

_SERIOUS = (Difference.LOST, Difference.CODE, Difference.UNEXPLAINED)


def skew_in(replayed: ReplayReport, view: FeatureView, span: Span) -> Iterator[Finding]:
    """Yield what isn't as the contract has it, one finding for each kind of difference.

    Args:
        replayed: a log's rows held against history.
        view: whose rows matter.
        span: when they were read.
    """
    rows = [
        row
        for row in replayed.findings.to_pylist()
        if row["view"].partition("[")[0] == view.name and span[0] < micros(row["at"]) <= span[1]
    ]
    for kind in _SERIOUS:
        found = [row for row in rows if row["difference"] == kind]
        if found:
            first = f"{found[0]['keys']} at {found[0]['at']:%Y-%m-%d %H:%M:%S}: {found[0]['detail']}"
            reason = f"{len(found):,} of the rows served by log {replayed.log} are {kind}; {first}"
            yield Finding("skew", found[0]["column"] or ROWS, str(kind), reason, value=float(len(found)), threshold=0.0)
