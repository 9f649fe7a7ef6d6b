"""Rows that keep to what a view declares, those that don't apart, and what a writer is told of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa

_PLACE = "__place"


class Sifted(NamedTuple):
    """Rows, those that break a rule apart.

    Attributes:
        good: those that don't, in `history_schema(view)` without its sequence.
        held: those that do, in the columns that rows bring, and both clocks.
        positions: where these were in the data, from 0.
        reasons: what each of them breaks.
    """

    good: pa.Table
    held: pa.Table
    positions: Sequence[int]
    reasons: Sequence[str]

    def moved(self, first: int) -> Sifted:
        """Return the same rows, of which the first is another one of the data."""
        return self._replace(positions=[first + position for position in self.positions])

    def without_known(self, unwritten: Callable[[pa.Table], pa.Table]) -> Sifted:
        """Return what is left without those held back that history has already, as after a release.

        Args:
            unwritten: returns those of some rows that history doesn't have.
        """
        if not self.positions:
            return self
        kept = unwritten(self.held.append_column(_PLACE, pa.array(range(len(self.positions)))))
        places = kept[_PLACE].to_pylist()
        reasons, positions = ([column[place] for place in places] for column in (self.reasons, self.positions))
        return Sifted(self.good, kept.drop_columns([_PLACE]), positions, reasons)


HELD = pa.schema([("row", pa.int64()), ("id", pa.string()), ("reason", pa.string())])
"""What a writer is told of rows that were put into quarantine: where they were in the data, from 0, and why."""

NOTHING = HELD.empty_table()


class Written(int):
    """How many rows were written.

    Args:
        rows: how many.
        quarantined: which of the data's rows were put into quarantine.

    Attributes:
        quarantined: the same; columns `row` (where it was in the data, from 0), `id` and `reason`. `release` takes ids.
    """

    quarantined: pa.Table

    def __new__(cls, rows: int, quarantined: pa.Table = NOTHING) -> Written:
        """Return the number."""
        made = super().__new__(cls, rows)
        made.quarantined = quarantined
        return made
