"""Results as tables: the features of fixed width as one batch, then the keys and all else beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from fs_core.online.row.cells import is_fixed
from fs_core.online.row.columns import CLOCKS
from fs_core.online.row.layout import Layout
from fs_core.online.row.template import FixedFeatures, HasRows


@dataclass(frozen=True, eq=False)
class TablePlan:
    """How rows from the online store become a table.

    Attributes:
        fixed: the features of fixed width of all views.
        others: the other features of each view; none where all are of fixed width.
        beside: the keys and the other features, in order: where in the table each comes.
    """

    fixed: FixedFeatures
    others: tuple[tuple[str, ...], ...]
    beside: tuple[tuple[int, pa.Field], ...]

    @classmethod
    def of(cls, whole: pa.Schema, keys: int, views: Sequence[tuple[Layout, tuple[str, ...]]]) -> Self | None:
        """Plan the tables of a schema; None where most columns have no fixed width, and are better added one by one.

        Args:
            whole: keys, then features, view by view.
            keys: how many of the columns are keys.
            views: how the rows of each view lie, and what it calls its features.
        """
        features = [(number, name) for number, (_, names) in enumerate(views) for name in names]
        mine, others = [list[str]() for _ in views], [list[str]() for _ in views]
        fixed, beside = list[pa.Field](), list(enumerate(whole))[:keys]
        for position, (number, name) in enumerate(features, keys):
            field = whole.field(position)
            if is_fixed(field.type) and name not in CLOCKS:
                mine[number].append(name)
                fixed.append(field)
            else:
                others[number].append(name)
                beside.append((position, field))
        if len(fixed) < len(beside):
            return None
        parts = tuple((layout, tuple(names)) for (layout, _), names in zip(views, mine, strict=True))
        left = tuple(map(tuple, others)) if any(others) else ()
        return cls(FixedFeatures(pa.schema(fixed), parts), left, tuple(beside))

    def table(self, keys: Sequence[pa.Array], answers: Sequence[HasRows]) -> pa.Table | None:
        """Return the table, which shares memory with the keys alone; None where that takes another way.

        Args:
            keys: the key columns.
            answers: each view's.
        """
        batch = self.fixed.batch(answers)
        if batch is None:
            return None
        columns = keys
        if self.others:
            found = zip(answers, self.others, strict=True)
            columns = [*keys, *(column for answer, names in found for column in answer.rows.arrays(names))]  # type: ignore[union-attr]  # there are rows
        for (position, field), column in zip(self.beside, columns, strict=True):
            batch = batch.add_column(position, field, column)
        return pa.Table.from_batches([batch])
