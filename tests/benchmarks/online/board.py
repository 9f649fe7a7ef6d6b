"""The table of one server's results."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.timing import Timing


@dataclass(frozen=True)
class Bar:
    """What a way is measured beside, and how many times as long it takes at most; at least, where `least` is set.

    Without a `bar` the multiple is shown alone.
    """

    beside: str
    bar: float | None = None
    stretch: float | None = None
    least: bool = False

    def __str__(self) -> str:
        if self.bar is None:
            return ""
        goal = f"{'>=' if self.least else '<='} {self.bar:g}"
        return goal if self.stretch is None else f"{goal} ({self.stretch:g})"


class Board:
    """Medians, tails, and each way's median as a multiple of another's in the same run."""

    def __init__(self, title: str) -> None:
        columns = ("read", "way", "p50", "p99", "beside", "multiple", "bar (stretch)")
        self._table = Table(*columns, title=title, title_justify="left")

    def add(self, read: str, timings: Sequence[Timing], bars: Mapping[str, Bar]) -> None:
        """Add each way of a read, as a multiple of the way it is measured beside, where that was timed."""
        medians = {timing.name: timing.median for timing in timings}
        for timing in timings:
            p99 = statistics.quantiles(timing.seconds, n=100)[98]
            shown = (f"{timing.median * 1e6:,.0f} us", f"{p99 * 1e6:,.0f} us")
            bar = bars.get(timing.name)
            beside = ("", "", "")
            if bar is not None and bar.beside in medians:
                beside = (bar.beside, f"{timing.median / medians[bar.beside]:.2f}", str(bar))
            self._table.add_row(read, timing.name, *shown, *beside)
        self._table.add_section()

    def show(self) -> None:
        """Print it."""
        Console(width=120).print(self._table)
