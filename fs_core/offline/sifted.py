"""Rows that keep to what a view declares, those to be quarantined, and what a writer is answered of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

import pyarrow as pa

from fs_core.rule import EVENT_TIME
from fs_core.values.times import within

_POSITION = "__position"


class Sifted(NamedTuple):
    """Good rows, and those to be quarantined: they break a rule.

    Attributes:
        good: the good ones, in `history_schema(view)` without its sequence.
        quarantined: the others, in the columns that rows bring, and both clocks.
        positions: where the others were in the data, from 0.
        reasons: what each of them breaks.
    """

    good: pa.Table
    quarantined: pa.Table
    positions: Sequence[int]
    reasons: Sequence[str]

    def moved(self, first: int) -> Sifted:
        """Return the same rows, of which the first is another one of the data."""
        return self._replace(positions=[first + position for position in self.positions])

    def within(self, start: int | None, end: int | None) -> Sifted:
        """Return those rows whose event time is `start` or later and before `end`, microseconds; None is no bound."""
        good, held = (rows.filter(within(rows[EVENT_TIME], start, end)) for rows in (self.good, self.quarantined))
        kept = within(self.quarantined[EVENT_TIME], start, end).to_pylist()
        return Sifted(good, held, list(compress(self.positions, kept)), list(compress(self.reasons, kept)))

    @classmethod
    def joined(cls, parts: Sequence[Sifted]) -> Sifted:
        """Return those to be quarantined of several parts of the data, at least one, as one; without good ones."""
        return cls(
            parts[0].good.slice(0, 0),
            pa.concat_tables([part.quarantined for part in parts]),
            [position for part in parts for position in part.positions],
            [reason for part in parts for reason in part.reasons],
        )

    def without_known(self, unwritten: Callable[[pa.Table], pa.Table]) -> Sifted:
        """Return what is left without those to be quarantined that history has already, as after a release.

        Args:
            unwritten: returns those of some rows that history doesn't have.
        """
        if not self.positions:
            return self
        kept = unwritten(self.quarantined.append_column(_POSITION, pa.array(range(len(self.positions)))))
        taken = kept[_POSITION].to_pylist()
        reasons, positions = ([column[index] for index in taken] for column in (self.reasons, self.positions))
        return Sifted(self.good, kept.drop_columns([_POSITION]), positions, reasons)


QUARANTINED = pa.schema([("row", pa.int64()), ("id", pa.string()), ("reason", pa.string())])
"""What a writer is answered of quarantined rows: where they were in the data, from 0, and why."""

NOTHING = QUARANTINED.empty_table()


class Written(int):
    """How many rows were written.

    Args:
        rows: how many.
        quarantined: which of the data's rows were quarantined.

    Attributes:
        quarantined: the same; columns `row` (where it was in the data, from 0), `id` and `reason`. `release` takes ids.
    """

    quarantined: pa.Table

    def __new__(cls, rows: int, quarantined: pa.Table = NOTHING) -> Written:
        """Return the number."""
        made = super().__new__(cls, rows)
        made.quarantined = quarantined
        return made
