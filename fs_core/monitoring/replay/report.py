"""What a replay found, in a form for people and one for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.values.times import MICROSECONDS

Kinds = np.ndarray[Any, np.dtype[np.int8]]
"""For each row, the position of its `Difference`."""


class Difference(StrEnum):
    """How a logged row compares with the rule. A row with several differences counts as the last of them, here."""

    EQUAL = "equal"
    """What was served is what the rule says, bit for bit."""
    EXPIRED = "expired"
    """The row that wins had expired, and the server had collected it: served as missing, null either way."""
    OVERLAPPED = "overlapped"
    """A push overlapped the read: what was served is what the rule said a moment earlier."""
    HELD_BACK = "held_back"
    """A row became available by the view's lag, and no `materialize` had brought it online yet."""
    LOST = "lost"
    """The row that wins was in history, but not online."""
    CODE = "code"
    """It was served by another definition or other code than is here."""
    UNEXPLAINED = "unexplained"
    """Something else: a value that history doesn't have, or a row that it doesn't know."""


DIFFERENCES = tuple(Difference)
_BENIGN = {Difference.EQUAL, Difference.EXPIRED, Difference.OVERLAPPED, Difference.HELD_BACK}

FINDINGS = pa.schema(
    [
        ("difference", pa.string()),
        ("view", pa.string()),
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("at", MICROSECONDS),
        ("keys", pa.string()),
        ("column", pa.string()),
        ("served", pa.string()),
        ("expected", pa.string()),
        ("served_status", pa.string()),
        ("expected_status", pa.string()),
        ("served_event_time", MICROSECONDS),
        ("served_available_at", MICROSECONDS),
        ("served_seq", pa.int64()),
        ("expected_event_time", MICROSECONDS),
        ("expected_available_at", MICROSECONDS),
        ("expected_seq", pa.int64()),
        ("detail", pa.string()),
    ]
)
"""One row for each look-up or computation that differs: whose, what was served, and what the rule says; null where it
doesn't apply or isn't known."""

_ADVICE = {
    Difference.EXPIRED: "nothing to do.",
    Difference.OVERLAPPED: "nothing to do. Where it takes seconds, compare the clocks of those who push and read.",
    Difference.HELD_BACK: "materialize more often, or accept that delay.",
    Difference.LOST: "the server evicted rows, a push didn't get through, or rows were written and not materialized. "
    "See fs verify.",
    Difference.CODE: "replay with the code and definitions that served.",
    Difference.UNEXPLAINED: "look at the findings: a view with windows was written and not materialized "
    "(store.materialize), the online store was written past this library, history was changed, or there is a bug.",
}


@dataclass(frozen=True, eq=False)
class ReplayReport:
    """What replaying a request log found.

    Attributes:
        log: the log's name.
        rows: how many logged rows were replayed.
        counts: for each `Difference`, how many rows; they add up to `rows`.
        findings: the first differences of each kind, in the columns of `FINDINGS`.
        seconds: how long it took.
    """

    log: str
    rows: int
    counts: Mapping[str, int]
    findings: pa.Table
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether each row is as the rule says, or differs for a reason that is part of the contract.

        So nothing was lost, served by other code, or can't be explained.
        """
        return not any(count for kind, count in self.counts.items() if kind not in _BENIGN)

    def __str__(self) -> str:
        found = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items() if count) or "no rows"
        lines = [f"log {self.log}: {self.rows:,} rows replayed in {self.seconds:.1f} s: {found}"]
        shown = set[str]()
        for row in self.findings.to_pylist():
            kind = row["difference"]
            if kind not in shown:
                shown.add(kind)
                where = f"{row['view']}: {row['keys']} at {row['at'].isoformat()}: " if row["keys"] else ""
                lines.append(f"{kind}: {where}{row['detail']}. To do: {_ADVICE[Difference(kind)]}")
        return "\n".join(lines)


class Findings:
    """Collects a report.

    Args:
        evidence: how many findings of each kind to keep.
    """

    def __init__(self, evidence: int) -> None:
        self._evidence = evidence
        self._counts: Counter[Difference] = Counter(dict.fromkeys(DIFFERENCES, 0))
        self._kept: Counter[Difference] = Counter()
        self._rows: list[Mapping[str, Any]] = []

    def count(self, kinds: Kinds) -> None:
        """Count rows."""
        found = np.bincount(kinds, minlength=len(DIFFERENCES)).tolist()
        self._counts.update(dict(zip(DIFFERENCES, found, strict=True)))

    def room(self, kind: Difference) -> int:
        """Return how many more findings of a kind are wanted."""
        return self._evidence - self._kept[kind]

    def add(self, kind: Difference, row: Mapping[str, Any]) -> None:
        """Keep a finding."""
        self._kept[kind] += 1
        self._rows.append({"difference": str(kind), **row})

    def report(self, log: str, seconds: float) -> ReplayReport:
        """Return the report."""
        order = {str(kind): -position for position, kind in enumerate(DIFFERENCES)}
        rows = sorted(self._rows, key=lambda row: order[row["difference"]])
        counts = {str(kind): self._counts[kind] for kind in DIFFERENCES}
        return ReplayReport(log, sum(counts.values()), counts, pa.Table.from_pylist(rows, schema=FINDINGS), seconds)
