"""Timing several ways of doing one job, side by side in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

RUNS = 5


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of the runs of one way."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median run, in seconds."""
        return statistics.median(self.seconds)


def race(
    ways: Mapping[str, Callable[[], object]],
    *,
    runs: int = RUNS,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> list[Timing]:
    """Run every way in turn, `runs` times over, after one round that isn't counted.

    Taking turns spreads a noisy moment of the machine over all of them. What a way needs `before` each
    run isn't timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            (before or {}).get(name, _nothing)()
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return [Timing(name, tuple(runs)) for name, runs in seconds.items()]


def _nothing() -> None:
    pass


def show(title: str, timings: list[Timing], *, rows: int, ours: str) -> None:
    """Print medians, spreads, rows a second, and each way's time as a multiple of ours."""
    base = next(t.median for t in timings if t.name == ours)
    table = Table("", "median", "min", "max", "rows/s", f"x {ours}", title=title, title_justify="left")
    for timing in timings:
        table.add_row(
            timing.name,
            *(_readable(s) for s in (timing.median, min(timing.seconds), max(timing.seconds))),
            f"{rows / timing.median:,.0f}",
            f"{timing.median / base:.2f}",
        )
    Console(width=110).print(table)


def _readable(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.3f} ms"
