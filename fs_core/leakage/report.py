"""What a leak check found, in a form for people and one for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

EVIDENCE_ROWS = 10
"""Rows of evidence that a finding carries at most."""


class Severity(StrEnum):
    """How sure it is, from the least to the most."""

    NOTICE = "notice"
    """Not known: something that a leak would hide behind was never declared."""
    WARNING = "warning"
    """Suspicious: an honest reason is possible, and should be known."""
    LEAK = "leak"
    """Proven: a value that was not known at its moment."""

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that was found.

    Attributes:
        severity: how sure it is.
        check: which look found it: `availability`, `truncation`, `label`, `crowding` or `claims`.
        view: the view, as `name:v1.2.3`.
        feature: the feature's column in a result, None where all of the view's are concerned.
        reason: what is wrong and what to do about it.
        numbers: what was measured; durations in seconds.
        evidence: rows that show it, at most `EVIDENCE_ROWS`.
    """

    severity: Severity
    check: str
    view: str
    feature: str | None
    reason: str
    numbers: Mapping[str, Any]
    evidence: pa.Table

    @property
    def subject(self) -> str:
        """The view, or its feature."""
        return self.view if self.feature is None else f"{self.view} {self.feature}"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding in plain Python values."""
        return {
            "severity": str(self.severity),
            "check": self.check,
            "view": self.view,
            "feature": self.feature,
            "reason": self.reason,
            "numbers": dict(self.numbers),
            "evidence": self.evidence.to_pylist(),
        }


@dataclass(frozen=True, eq=False)
class LeakageReport:
    """What a leak check looked at and what it found.

    Attributes:
        findings: the most severe first, then in the order of the features asked for.
        checked: what was looked at: the features, the number of rows, the moments before which the future
            was deleted, the label, the seed, and the features that can't be ranked against a label.
    """

    findings: Sequence[Finding]
    checked: Mapping[str, Any]

    def at_least(self, severity: Severity | str) -> list[Finding]:
        """Return the findings of a severity or above."""
        return [f for f in self.findings if f.severity.rank >= Severity(severity).rank]

    @property
    def clean(self) -> bool:
        """Whether nothing suspicious was found; notices don't count."""
        return not self.at_least(Severity.WARNING)

    def __str__(self) -> str:
        looked = f"{len(self.checked['features'])} features, {self.checked['rows']:,} rows"
        lines = [f"{len(self.findings)} findings in {looked}" if self.findings else f"no finding in {looked}"]
        for finding in self.findings:
            lines.append(f"{finding.severity.upper()} {finding.check}: {finding.subject}: {finding.reason}")
            if len(finding.evidence):
                lines.append(f"    for example {finding.evidence.slice(0, 1).to_pylist()[0]}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain Python values."""
        return {
            "clean": self.clean,
            "checked": dict(self.checked),
            "findings": [finding.to_dict() for finding in self.findings],
        }
