"""What the engine must show beside its rivals: each measure, its bar, and how far it got."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        what: what is measured.
        value: what came out.
        bar: what it should be at most; at least, where `least` is set.
        stretch: what would be better still, None for nothing more.
        unit: of all three.
        least: whether more is better.
    """

    what: str
    value: float
    bar: float
    stretch: float | None = None
    unit: str = "x"
    least: bool = False

    @property
    def verdict(self) -> str:
        """How far the value got."""
        if self.stretch is not None and self._meets(self.stretch):
            return "stretch"
        return "bar" if self._meets(self.bar) else "misses"

    def _meets(self, goal: float) -> bool:
        return self.value >= goal if self.least else self.value <= goal


def show_measures(title: str, measures: list[Measure]) -> None:
    """Print the table."""
    table = Table("", "measured", "bar", "stretch", "meets", title=title, title_justify="left")
    for m in measures:
        sign = "≥" if m.least else "≤"
        goals = ["" if goal is None else f"{sign} {goal:,g} {m.unit}" for goal in (m.bar, m.stretch)]
        table.add_row(
            m.what, f"{m.value:,.3g} {m.unit}" if m.value < 1000 else f"{m.value:,.0f} {m.unit}", *goals, m.verdict
        )
    Console().print(table)
