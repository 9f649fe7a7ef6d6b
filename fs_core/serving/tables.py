"""Results as tables: the features of fixed width in one piece of memory, then the keys and all else beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import pyarrow as pa

from fs_core.online.row.cells import is_fixed
from fs_core.online.row.columns import CLOCKS, FeatureRows
from fs_core.online.row.template import FixedColumns


@dataclass(frozen=True, eq=False)
class TablePlan:
    """How rows from the online store become a table.

    Attributes:
        fixed: the features of fixed width of all views.
        names: those of each view.
        others: the other features of each view; none where all are of fixed width.
        beside: the keys and the other features, in order: where in the table each comes.
    """

    fixed: FixedColumns
    names: tuple[tuple[str, ...], ...]
    others: tuple[tuple[str, ...], ...]
    beside: tuple[tuple[int, pa.Field], ...]

    @classmethod
    def of(cls, whole: pa.Schema, keys: int, names: Sequence[tuple[str, ...]]) -> Self | None:
        """Plan the tables of a schema; None where most columns have no fixed width, and are better added one by one.

        Args:
            whole: keys, then features, view by view.
            keys: how many of the columns are keys.
            names: what each view calls its features.
        """
        features = [(view, name) for view, asked in enumerate(names) for name in asked]
        mine, others = [list[str]() for _ in names], [list[str]() for _ in names]
        fixed, beside = list[pa.Field](), list(enumerate(whole))[:keys]
        for position, (view, name) in enumerate(features, keys):
            field = whole.field(position)
            if is_fixed(field.type) and name not in CLOCKS:
                mine[view].append(name)
                fixed.append(field)
            else:
                others[view].append(name)
                beside.append((position, field))
        if len(fixed) < len(beside):
            return None
        left = tuple(map(tuple, others)) if any(others) else ()
        return cls(FixedColumns(pa.schema(fixed)), tuple(map(tuple, mine)), left, tuple(beside))

    def table(self, keys: Sequence[pa.Array], views: Sequence[FeatureRows]) -> pa.Table | None:
        """Return the table, which shares memory with the keys alone; None where rows are none, or too many for this.

        Args:
            keys: the key columns.
            views: each view's rows.
        """
        valid = [rows.valid() for rows in views]
        nulls = [flags for flags in valid if flags is not None]
        template = self.fixed.template(len(views[0]), bool(nulls))
        if template is None:
            return None
        if template.rows == 1 and not nulls:
            memory = template.row(chain.from_iterable(map(FeatureRows.cells, views, self.names)))
        else:
            memory, first = template.memory(), 0
            for rows, flags, mine in zip(views, valid, self.names, strict=True):
                rows.fill(mine, flags, template, memory, first)
                first += len(mine)
        batch, columns = template.batch(memory), list(keys)
        for rows, others in zip(views, self.others, strict=True) if self.others else ():
            columns += rows.arrays(others)
        for (position, field), column in zip(self.beside, columns, strict=True):
            batch = batch.add_column(position, field, column)
        return pa.Table.from_batches([batch])
