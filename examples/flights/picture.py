"""The picture: what each model promised and kept, how long a read takes, how often a window as a row is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from examples.flights.report import Report, Score

mpl.use("Agg")
from matplotlib import pyplot as plt

_INK, _MUTED, _FAINT = "#1f2933", "#66727f", "#dde2e7"
_HONEST, _LEAKY = "#0f7173", "#d1495b"
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": _MUTED,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "figure.facecolor": "white",
}


def draw(report: Report, path: Path) -> None:
    """Write the picture as PNG, 1980 x 828 pixels."""
    with plt.rc_context(_STYLE):
        figure = plt.figure(figsize=(11, 4.6))
        scores, latency = figure.add_axes((0.29, 0.13, 0.36, 0.62)), figure.add_axes((0.72, 0.44, 0.25, 0.31))
        wrong = figure.add_axes((0.72, 0.06, 0.25, 0.1))
        figure.text(0.025, 0.91, "A leak looks like skill until it is served", fontsize=14, fontweight="bold")
        figure.text(
            0.025, 0.845, "AUC on the latest fifth of the flights: is it more than 15 minutes late?", color=_MUTED
        )
        figure.text(
            0.72, 0.91, f"{report.served:,} served rows, {report.differing} differ", fontsize=14, fontweight="bold"
        )
        figure.text(0.72, 0.845, "from their as-of rows; time to read one", color=_MUTED)
        _draw_scores(scores, report.scores)
        _draw_latency(latency, report.read)
        figure.text(0.72, 0.275, f"As rows, {report.wrong:.0%} of windows are wrong", fontweight="bold")
        figure.text(0.72, 0.225, "landings in 7 days, kept at the last one", color=_MUTED, fontsize=9.5)
        _draw_wrong(wrong, report.wrong)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=180)
        plt.close(figure)


def _draw_scores(axes: Any, scores: Sequence[Score]) -> None:
    """For each model a line from what it promised (filled) to what it kept (open)."""
    axes.set(xlim=(0.5, 1.0), ylim=(-0.45, len(scores) - 0.4), yticks=[], xticks=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    axes.grid(axis="x", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for row, score in enumerate(reversed(scores)):
        axes.text(
            -0.735,
            row + 0.1,
            score.name,
            fontsize=12,
            fontweight="bold",
            va="center",
            transform=axes.get_yaxis_transform(),
        )
        axes.text(-0.735, row - 0.14, score.remark, color=_MUTED, va="center", transform=axes.get_yaxis_transform())
        _draw_score(axes, row, score)


def _draw_score(axes: Any, row: int, score: Score) -> None:
    if round(score.offline, 3) == round(score.served, 3):
        axes.plot(score.offline, row, "o", markersize=11, color=_HONEST)
        _value(axes, score.offline, row, f"{score.offline:.3f}", "offline and served", _HONEST, "center")
        return
    axes.plot([score.served, score.offline], [row, row], color=_LEAKY, linewidth=2.5, zorder=2)
    axes.plot(score.offline, row, "o", markersize=11, color=_LEAKY, zorder=3)
    axes.plot(score.served, row, "o", markersize=10, mfc="white", mec=_LEAKY, mew=2.2, zorder=3)
    # Labels of points far apart stand over them; of near ones, they lean away from each other.
    near = abs(score.offline - score.served) < 0.09
    higher, lower = ("left", "right") if near else ("center", "center")
    offline_align, served_align = (higher, lower) if score.offline > score.served else (lower, higher)
    _value(axes, score.offline, row, f"{score.offline:.3f}", "offline", _LEAKY, offline_align)
    _value(axes, score.served, row, f"{score.served:.3f}", "served", _LEAKY, served_align)


def _value(axes: Any, x: float, row: int, number: str, what: str, colour: str, align: str) -> None:
    """Write a number above a point and its meaning below."""
    x += {"left": -0.012, "center": 0.0, "right": 0.012}[align]  # aligned with the edge of the marker
    axes.text(x, row + 0.2, number, ha=align, va="bottom", color=colour, fontweight="bold", fontsize=12)
    axes.text(x, row - 0.2, what, ha=align, va="top", color=_MUTED, fontsize=9.5)


def _draw_latency(axes: Any, taken: np.ndarray[Any, Any]) -> None:
    """The distribution of single-row reads from zero to beyond the 99th percentile; it and the median are marked."""
    p50, p99 = np.percentile(taken, [50, 99])
    end = 1.6 * p99  # room for the label of the mark
    counts, _, _ = axes.hist(np.minimum(taken, end), bins=np.linspace(0, end, 41), color=_HONEST)
    top = counts.max()
    for value, name, height in ((p50, "median", 1.12), (p99, "99 %", 0.45)):
        axes.plot([value, value], [0, height * top], color=_INK, linewidth=1)
        axes.text(value, height * top, f" {name} {value:.2f} ms", va="top", fontweight="bold")
    axes.set(xlim=(0, end), ylim=(0, 1.18 * top), yticks=[], xlabel="milliseconds")


def _draw_wrong(axes: Any, share: float) -> None:
    """One bar: the share of flights for which a window that was written as a row is false by then."""
    axes.barh([0, 0], [share, 1 - share], left=[0, share], color=[_LEAKY, _FAINT], height=0.6)
    axes.text(share, 0, " wrong ", ha="right" if share > 0.3 else "left", va="center", color=_INK, fontsize=9.5)
    axes.set(xlim=(0, 1), yticks=[], xticks=[])
    axes.spines["bottom"].set_visible(False)
