"""The last report of each view, kept in the store's directory: for metrics, and for the catalogue's pictures.

reports/spending-3f2a9c1b22d04e55.json

It holds shares of bins and names of categories, which are somebody's values: whoever is forgotten takes it along.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fs_core.runtime.files import make_directory, make_file

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.monitoring.monitor_report import Observed

log = logging.getLogger("fs_core")

FORMAT = 1


@dataclass(frozen=True)
class Distance:
    """How far one feature of the window lies from what it is compared with.

    Attributes:
        feature: the feature, `(rows)` or `(delay)`.
        against: `training set` or `weekdays`.
        measure: in which sense.
        value: how far.
        threshold: from where on it matters.
        alarm: whether it alarms.
    """

    feature: str
    against: str
    measure: str
    value: float
    threshold: float
    alarm: bool


@dataclass(frozen=True)
class Shares:
    """The distribution of a feature, in the window and in what it is compared with.

    Attributes:
        feature: the feature.
        against: `training set` or `weekdays`.
        labels: what each bin holds.
        reference: shares of entities in each bin.
        current: the same of the window.
    """

    feature: str
    against: str
    labels: list[str]
    reference: list[float]
    current: list[float]


@dataclass(frozen=True)
class KeptReport:
    """What is kept of a report.

    Attributes:
        view: the view, as `name:v1.2.3`.
        start: where the window begins, microseconds since 1970-01-01 UTC.
        end: where it ends.
        findings: question and feature of each finding.
        distances: every distance that was taken.
        shares: the distributions.
    """

    view: str
    start: int
    end: int
    findings: list[tuple[str, str]]
    distances: list[Distance]
    shares: list[Shares]

    @classmethod
    def of(cls, report: Observed, start: int, end: int) -> KeptReport:
        """Return what is to be kept of a report.

        Args:
            report: the report.
            start: where its window begins, microseconds.
            end: where it ends.
        """
        names = ("feature", "against", "measure", "value", "threshold", "alarm")
        distances = [Distance(**{name: row[name] for name in names}) for row in report.measures.to_pylist()]
        shares = [
            Shares(
                feature,
                against,
                bins.labels,
                *((side / side.sum()).round(6).tolist() for side in (bins.reference, bins.current)),
            )
            for (feature, against), bins in report.bins.items()
        ]
        findings = [(finding.question, finding.feature) for finding in report.found]
        return cls(report.view, start, end, findings, distances, shares)


class KeptReports:
    """The last reports of a store.

    Args:
        directory: where they lie; made with the first.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, view: FeatureView, report: KeptReport) -> None:
        """Keep a report unless a later one is there; where it can't be, the log says so."""
        known = self.of(view)
        if known is not None and known.end > report.end:
            return
        file = self._file(view)
        unfinished = file.with_suffix(f".{uuid.uuid4().hex}.unfinished")
        try:
            make_directory(self._directory)
            make_file(unfinished)
            unfinished.write_text(json.dumps({"format": FORMAT, **asdict(report)}), encoding="utf-8")
            unfinished.replace(file)
        except OSError as error:
            log.warning("the report on %s isn't kept for metrics and catalogue: %s", view.ref, error)

    def of(self, view: FeatureView) -> KeptReport | None:
        """Return the last report on a view; None where there is none that can be read."""
        try:
            found = json.loads(self._file(view).read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                return None
            distances = [Distance(**one) for one in found.pop("distances")]
            shares = [Shares(**one) for one in found.pop("shares")]
            findings = [(question, feature) for question, feature in found.pop("findings")]
            return KeptReport(**found, findings=findings, distances=distances, shares=shares)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def forget(self, views: Iterable[FeatureView]) -> None:
        """Delete the reports on some views."""
        for view in views:
            self._file(view).unlink(missing_ok=True)

    def _file(self, view: FeatureView) -> Path:
        return self._directory / f"{view.storage_name}.json"
