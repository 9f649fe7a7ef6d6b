"""What monitoring found, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import DataError, did_you_mean
from fs_core.monitoring.drift.bins import Bins
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView


@dataclass(frozen=True)
class Finding:
    """One thing to act on.

    Attributes:
        question: `contract`, `skew` or `drift`.
        feature: the feature, `(rows)` or `(delay)`.
        measure: what shows it.
        reason: what is wrong, for people.
        against: `training set` or `weekdays`; empty of the other questions.
        value: how large it is; None where the declaration decides, like the rest.
        before: how large it was in the window before.
        threshold: from where on it matters.
        p: how likely noise alone would do it, adjusted for the number of tests.
        n: entities in the window.
        n_reference: entities in what it is compared with.
        importance: how much a model heeds the feature, where that is known.
    """

    question: str
    feature: str
    measure: str
    reason: str
    against: str = ""
    value: float | None = None
    before: float | None = None
    threshold: float | None = None
    p: float | None = None
    n: int | None = None
    n_reference: int | None = None
    importance: float | None = None

    def __str__(self) -> str:
        heeded = "" if self.importance is None else f" (importance {self.importance:.3g})"
        return f"{self.question.upper()} {self.feature}{heeded}: {self.reason}"


_QUESTIONS = ("contract", "skew", "drift")
_NUMBERS = (
    *(("value", pa.float64()), ("before", pa.float64()), ("threshold", pa.float64()), ("p", pa.float64())),
    *(("n", pa.int64()), ("n_reference", pa.int64()), ("importance", pa.float64())),
)
_FINDINGS = pa.schema([*((name, pa.string()) for name in ("question", "feature", "measure", "against")), *_NUMBERS])
_FINDINGS = _FINDINGS.append(pa.field("reason", pa.string()))


@dataclass(frozen=True)
class Observed:
    """What monitoring saw in a window.

    Attributes:
        view: the view, as `name:v1.2.3`.
        window: from when to when, in UTC.
        rows: how many became available in it.
        entities: of how many entities.
        found: what to act on, contract first; of one question what a model heeds most, then the largest changes.
        measures: every distance that was taken, in this window and the one before, whether it alarms or not.
        series: each distance in each window that was looked at: two, or with a backtest all.
        backtest: of each distance: in how many windows of history it was judged, how often it was over its threshold,
            how often it would have alarmed, and its 95th percentile; None if it wasn't asked for.
        not_judged: what couldn't be judged, and why.
        bins: the distributions: by feature and what it is compared with.
    """

    view: str
    window: tuple[datetime, datetime]
    rows: int
    entities: int
    found: Sequence[Finding]
    measures: pa.Table
    series: pa.Table
    backtest: pa.Table | None
    not_judged: Sequence[str]
    bins: Mapping[tuple[str, str], Bins] = field(repr=False)

    @property
    def clean(self) -> bool:
        """Whether there is nothing to act on."""
        return not self.found

    @property
    def findings(self) -> pa.Table:
        """What to act on, with the evidence: see `Finding`."""
        return pa.Table.from_pylist([vars(finding) for finding in self.found], schema=_FINDINGS)

    @property
    def verdict(self) -> str:
        """How much there is to act on, for people."""
        count = len(self.found)
        return "nothing found" if not count else "1 finding" if count == 1 else f"{count} findings"

    def __str__(self) -> str:
        start, end = (f"{moment:%Y-%m-%d %H:%M}" for moment in self.window)
        window = f"{self.view}, {start} to {end} UTC, {self.rows:,} rows of {self.entities:,} entities"
        lines = [f"{window}: {self.verdict}"]
        lines += map(str, self.found)
        lines += [f"not judged: {reason}" for reason in self.not_judged]
        if self.backtest is not None:
            lines.append("in history, each threshold was passed, and would have alarmed:")
            lines += [_fired(row) for row in self.backtest.to_pylist() if row["large"]]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain Python values."""
        return {
            "clean": self.clean,
            "view": self.view,
            "window": list(self.window),
            "rows": self.rows,
            "entities": self.entities,
            "findings": self.findings.to_pylist(),
            "measures": self.measures.to_pylist(),
            "backtest": None if self.backtest is None else self.backtest.to_pylist(),
            "not_judged": list(self.not_judged),
        }


def _fired(row: Mapping[str, Any]) -> str:
    what = f"{row['feature']} {row['measure']} {row['threshold']:g} against {row['against']}"
    fired = f"{row['large']:,} and {row['alarms']:,} of {row['windows']:,} windows"
    return f"  {what}: {fired}; 95 % below {row['below_95']:.3g}"


def ranked(found: Iterable[Finding], importance: Mapping[str, float]) -> list[Finding]:
    """Return findings with what a model heeds most first, among those of one question; else in their order.

    Args:
        found: the findings.
        importance: of features, by name.
    """
    known = [replace(finding, importance=importance.get(finding.feature)) for finding in found]
    return sorted(known, key=lambda finding: (_QUESTIONS.index(finding.question), -(finding.importance or 0.0)))


def importance_of(view: FeatureView, given: Mapping[str, float] | None) -> dict[str, float]:
    """Return how much a model heeds a view's features.

    Args:
        view: whose.
        given: by `feature`, `view.feature` or `view__feature`; other views' are left out.

    Raises:
        DataError: it is no mapping, a weight is no number of 0 or more, or none is of the view.
    """
    if given is not None and not isinstance(given, Mapping):
        raise DataError(f"importance is {given!r}; pass a mapping of features to numbers.")
    found = {}
    for name, weight in (given or {}).items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise DataError(f"importance of {name!r} is {weight!r}; pass a finite number of 0 or more.")
        feature = name.removeprefix(f"{view.name}.").removeprefix(f"{view.name}__")
        if feature in view.features:
            found[feature] = float(weight)
    if given and not found:
        hint = did_you_mean(next(iter(given)), view.features)
        raise DataError(f"importance names no feature of view {view.name!r}.{hint}")
    return found


def moments(span: tuple[int, int]) -> tuple[datetime, datetime]:
    """Return a window's ends as a person reads them."""
    return from_micros(span[0]), from_micros(span[1])
