"""The report as a picture and as a page that needs no other file."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fs_core.catalogue.html import Markup, e, facts, section, table
from fs_core.errors import ConfigurationError
from fs_core.monitoring.drift.compare import Thresholds
from fs_core.monitoring.monitor_report import Observed
from fs_core.runtime.files import write_document

_SHOWN = 6  # features in a picture
_INK, _MUTED, _FAINT, _BEFORE, _NOW = "#1f2933", "#66727f", "#dde2e7", "#9aa5b1", "#0f7173"
_MEASURES = {
    "psi": "#0f7173",
    "jensen_shannon": "#6741d9",
    "wasserstein": "#d9822b",
    "null_rate": "#d1495b",
    "unseen": "#1971c2",
}
_STYLE = {
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
}
_LONG = 18  # letters of a bin's label


class MonitorReport(Observed):
    """What monitoring found in a window; it can be written to files."""

    def to_png(self, path: str | os.PathLike[str]) -> None:
        """Draw the features that changed most, and their distances over time, into a PNG file.

        Raises:
            ConfigurationError: matplotlib isn't installed, or the file can't be written.
        """
        write_document(path, self._picture)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report, picture included, as one HTML file that needs no other.

        Raises:
            ConfigurationError: matplotlib isn't installed, or the file can't be written.
        """
        picture = _embedded(self._picture) if self.bins else ""
        write_document(path, _page(self.view, _body(self, picture)).encode())

    @cached_property
    def _picture(self) -> bytes:
        return _drawn(self)


def _body(report: Observed, picture: str) -> str:
    start, end = (f"{moment:%Y-%m-%d %H:%M} UTC" for moment in report.window)
    about = [("Window", f"{start} to {end}"), ("Rows", f"{report.rows:,}"), ("Entities", f"{report.entities:,}")]
    names = ("question", "feature", "measure", "against", "value", "before", "threshold", "p", "n", "reason")
    parts = [
        facts([*about, ("Found", report.verdict)]),
        section("Findings", table(names, _cells(report.findings, names), "What to act on")),
        section("Distributions and distances", picture),
        section("Not judged", "".join(f"<p>{e(reason)}</p>" for reason in report.not_judged)),
    ]
    for title, rows in (("Every distance", report.measures), ("In history", report.backtest)):
        if rows is not None:
            names = tuple(rows.column_names)
            parts.append(section(title, table(names, _cells(rows, names), title)))
    return "".join(parts)


def _page(title: str, body: str) -> str:
    style = files("fs_core.catalogue").joinpath("style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{e(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n<body>\n'
        f'<main id="main"><h1>{e(title)}</h1>\n{body}</main>\n</body>\n</html>\n'
    )


def _embedded(picture: bytes) -> Markup:
    source = f"data:image/png;base64,{b64encode(picture).decode()}"
    text = "Distributions of the features that changed most, and their distances over time. The tables say the same."
    return Markup(f'<img src="{source}" alt="{text}" style="max-width:100%">')


def _cells(rows: Any, names: tuple[str, ...]) -> list[list[object]]:
    return [[_shown(row[name]) for name in names] for row in rows.to_pylist()]


def _shown(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else "yes" if value is True else "no" if value is False else value


def _drawn(report: Observed) -> bytes:
    """Return the picture as PNG: a line for each feature, its distributions and its distances."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ConfigurationError("pictures need matplotlib: pip install 'fs-core[monitor]'.") from None
    subjects = _most_changed(report)
    with mpl.rc_context(_STYLE):
        height = 0.6 + 2.4 * max(1, len(subjects))
        figure = Figure(figsize=(11, height))
        figure.subplots_adjust(0.05, 0.7 / height, 0.98, 1 - 0.75 / height, wspace=0.12, hspace=0.75)
        start, end = (f"{moment:%Y-%m-%d %H:%M}" for moment in report.window)
        figure.suptitle(
            f"{report.view}, {start} to {end} UTC",
            x=0.02,
            y=1 - 0.25 / height,
            ha="left",
            fontweight="bold",
            fontsize=13,
        )
        for row, subject in enumerate(subjects):
            left = figure.add_subplot(len(subjects), 2, 2 * row + 1)
            right = figure.add_subplot(len(subjects), 2, 2 * row + 2)
            _draw_shares(left, report, subject)
            _draw_series(right, report, subject)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _most_changed(report: Observed) -> list[tuple[str, str]]:
    """Return what is drawn: what alarms, then the largest distances."""
    found = [(finding.feature, finding.against) for finding in report.found]
    taken = [row for row in report.measures.to_pylist() if row["measure"] != "volume"]
    ranked = sorted(taken, key=lambda row: -abs(row["value"]) / row["threshold"])
    subjects = [*found, *((row["feature"], row["against"]) for row in ranked)]
    return [subject for subject in dict.fromkeys(subjects) if subject in report.bins][:_SHOWN]


def _draw_shares(axes: Any, report: Observed, subject: tuple[str, str]) -> None:
    """Draw both distributions over each other."""
    bins = report.bins[subject]
    place = np.arange(len(bins.labels))
    reference, current = (side / side.sum() for side in (bins.reference, bins.current))
    axes.bar(place, reference, width=0.9, color=_BEFORE, alpha=0.55, label=subject[1])
    axes.step(
        np.append(place - 0.5, place[-1] + 0.5),
        np.append(current, current[-1]),
        where="post",
        color=_NOW,
        lw=2,
        label="this window",
    )
    axes.set_xticks(place, [cut(label) for label in bins.labels], rotation=30, ha="right", fontsize=7)
    axes.yaxis.set_major_formatter(_percent())
    axes.set_title(subject[0], loc="left", fontweight="bold")
    axes.legend(frameon=False, fontsize=8)


def cut(label: str) -> str:
    """Return a bin's label, a long one without its middle: such labels often begin alike."""
    kept = _LONG // 2
    return label if len(label) <= _LONG else f"{label[:kept]}…{label[1 + kept - _LONG :]}"


def _draw_series(axes: Any, report: Observed, subject: tuple[str, str]) -> None:
    """Draw each distance in every window that was looked at, in units of its threshold."""
    series = report.series.filter(
        pc.and_(pc.equal(report.series["feature"], subject[0]), pc.equal(report.series["against"], subject[1]))
    )
    limits = {row["measure"]: row["threshold"] for row in report.measures.to_pylist()}
    for measure, colour in _MEASURES.items():
        rows = series.filter(pc.equal(series["measure"], measure)).to_pylist()
        if any(row["value"] for row in rows):
            limit = limits.get(measure) or getattr(Thresholds(), measure)
            axes.plot(
                [r["end"] for r in rows],
                [abs(r["value"]) / limit for r in rows],
                "o-",
                ms=4,
                color=colour,
                label=f"{measure} (1 is {limit:g})",
            )
    axes.axhline(1, color=_INK, lw=1, ls=":")
    axes.set_ylim(0, 1.15 * max(1.0, axes.get_ylim()[1]))
    axes.set_title(f"distances from the {subject[1]}, in thresholds", loc="left", color=_MUTED)
    axes.tick_params(axis="x", labelsize=7)
    for label in axes.get_xticklabels():
        label.set(rotation=20, ha="right", rotation_mode="anchor")  # it ends at its tick, within the picture
    if axes.lines[1:]:  # beside the threshold's
        axes.legend(frameon=False, fontsize=8)


def _percent() -> Callable[..., str]:
    return lambda share, _position: f"{share:.0%}"
