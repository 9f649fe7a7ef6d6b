"""What verifying history found, in a form for people and one for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Problem(StrEnum):
    """What can be wrong with a view's history."""

    DOUBLED = "doubled"
    """A row is there more than once, equal in every column."""
    SHARED = "shared seq"
    """Rows that differ have the same seq."""
    LOST = "lost file"
    """A data file that the newest state needs isn't there."""
    DAMAGED = "damaged file"
    """A data file has another size than the log says, or can't be read."""
    CLOCKS = "clocks"
    """A row is available before its event time and the view's lag allow."""
    MISPLACED = "misplaced"
    """A row lies in a file of another month than its event time's."""
    INDEX = "index"
    """A part of the search index isn't what its data files say."""


_ADVICE = {
    Problem.DOUBLED: "Two compactions at once did so before they excluded each other. repair=True removes the copies.",
    Problem.SHARED: "Which of two that tie wins isn't decided, and nothing shows which seq is right, so it isn't "
    "repaired. A registry that was restored from a backup did so before tables numbered their rows.",
    Problem.LOST: "Restore it from a backup of the history directory.",
    Problem.DAMAGED: "Restore it from a backup of the history directory.",
    Problem.CLOCKS: "Another program wrote it, or the file is damaged.",
    Problem.MISPLACED: "Another program wrote it, or the file is damaged.",
    Problem.INDEX: "repair=True deletes it; it is made again when it is needed.",
}

FINDINGS = pa.schema(
    [
        ("view", pa.string()),
        ("problem", pa.string()),
        ("seq", pa.int64()),
        ("file", pa.string()),
        ("detail", pa.string()),
    ]
)
"""One row for each finding: what is wrong, of which row, in which file; null where it doesn't apply."""


@dataclass(frozen=True, eq=False)
class HistoryReport:
    """What verifying the history of views found.

    Attributes:
        views: their references with the version.
        rows: rows that their newest states hold, in files that can be read.
        files: the data files of those states.
        problems: for each `Problem` that occurred, how many rows or files have it.
        findings: the first of each, in the columns of `FINDINGS`.
        repaired: how many were mended.
        seconds: how long it took.
    """

    views: Sequence[str]
    rows: int
    files: int
    problems: Mapping[str, int]
    findings: pa.Table
    repaired: int
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing was found, mended or not."""
        return not self.problems

    @classmethod
    def united(cls, parts: Sequence[HistoryReport]) -> HistoryReport:
        """Return one report of several."""
        problems: Counter[str] = Counter()
        for part in parts:
            problems.update(part.problems)
        return cls(
            [view for part in parts for view in part.views],
            sum(part.rows for part in parts),
            sum(part.files for part in parts),
            dict(problems),
            pa.concat_tables([FINDINGS.empty_table(), *(part.findings for part in parts)]),
            sum(part.repaired for part in parts),
            sum(part.seconds for part in parts),
        )

    def __str__(self) -> str:
        views = self.views[0] if len(self.views) == 1 else f"{len(self.views)} views"
        found = ", ".join(f"{count:,} {problem}" for problem, count in self.problems.items()) or "nothing wrong"
        mended = f"; {self.repaired:,} repaired" if self.repaired else ""
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        lines = [f"history of {views}: {self.rows:,} rows in {files}, {found}{mended}"]
        shown = set()
        for row in self.findings.to_pylist():
            if row["problem"] not in shown:
                shown.add(row["problem"])
                lines.append(f"{row['problem']}: {row['view']}: {row['detail']}. {_ADVICE[Problem(row['problem'])]}")
        return "\n".join(lines)
