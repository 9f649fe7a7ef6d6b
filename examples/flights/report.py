"""The report: what took how long, how honest the scores are, and one picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass
class Step:
    """One step of the demo: its name, the rows it handled, and the seconds it took."""

    name: str
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Score:
    """AUC of one model: on test rows made like its training rows, and on the rows it would have been served."""

    name: str
    remark: str
    offline: float
    served: float


@dataclass
class Report:
    """What the demo found.

    Attributes:
        console: where progress and tables go.
        steps: in the order they were done.
        scores: one for each model.
        read: milliseconds of each single-row online read.
        predict: milliseconds of each single-row prediction, the online read included.
        served: how many served rows were compared.
        differing: how many of them differ from their as-of rows.
        wrong: for which share of flights a count over a week is wrong if it is kept as a row, 0 to 1.
    """

    console: Console
    steps: list[Step] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    read: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0))
    predict: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0))
    served: int = 0
    differing: int = 0
    wrong: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step; its body sets the number of rows."""
        step = Step(name)
        start = time.perf_counter()
        yield step
        step.seconds = time.perf_counter() - start
        self.steps.append(step)
        self.console.print(f"  {name:<34} {step.rows:>9,} rows {step.seconds:>7.2f} s")

    def run(self, name: str, work: Callable[[], int]) -> None:
        """Time a step that returns its number of rows."""
        with self.step(name) as step:
            step.rows = work()

    def show(self) -> None:
        """Print the tables."""
        self.console.print(self._steps_table(), self._scores_table(), self._serving_table(), sep="\n")

    def _steps_table(self) -> Table:
        table = _table("Step", "Rows", "Seconds", "Rows/s")
        for step in self.steps:
            table.add_row(step.name, f"{step.rows:,}", f"{step.seconds:.2f}", f"{step.rows / step.seconds:,.0f}")
        table.add_section()
        table.add_row("in all", "", f"{sum(s.seconds for s in self.steps):.2f}", "")
        return table

    def _scores_table(self) -> Table:
        table = _table("AUC of a model trained on", "Offline", "As served", "Too good by")
        for score in self.scores:
            excess = score.offline - score.served
            table.add_row(
                f"{score.name}, {score.remark}", f"{score.offline:.3f}", f"{score.served:.3f}", f"{excess:.3f}"
            )
        return table

    def _serving_table(self) -> Table:
        table = _table("Serving one flight", "p50", "p99")
        for name, taken in (("features", self.read), ("features and prediction", self.predict)):
            p50, p99 = np.percentile(taken, [50, 99])
            table.add_row(name, f"{p50:.2f} ms", f"{p99:.2f} ms")
        table.add_section()
        colour = "green" if self.differing == 0 else "red"
        differing = f"[bold {colour}]{self.differing}[/] of"
        table.add_row("Served rows that differ from the as-of rows", differing, f"{self.served:,}")
        table.add_row("Counts over a week that are wrong if they are kept as rows", f"{self.wrong:.0%} of", "all")
        return table


def _table(*columns: str) -> Table:
    table = Table(title_justify="left", header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    return table
