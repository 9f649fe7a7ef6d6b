"""The result of an online read: rows, in the form that is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import one_array, python_values
from fs_core.serving.answers import Answer, TableAnswer
from fs_core.serving.plan import ReadPlan
from fs_core.values.interchange import to_pandas
from fs_core.values.matrix import to_matrix
from fs_core.values.times import from_micros


class FeatureVectors:
    """What an online read found: one row for each entity asked for, in the order asked.

    Nothing is converted before it is asked for: a table, a matrix and dicts are each made straight from
    what was read.

    Args:
        plan: the request.
        keys: the entities' key columns, for each group of the plan.
        answers: what each view has for them, then each on-demand view.
        at: the moment of the read, microseconds since 1970-01-01 UTC.
        request: the rows of the request, where on-demand views read some of their columns.

    Attributes:
        keys: the key columns, as the views declare them.
        request: the request columns of on-demand views, as they declare them.
        table: the feature columns in their declared types, null unless present.
        status: for each view, by name, one of `"present"`, `"missing"`, `"expired"` for each row; with
            `on_deadline="missing"` also `"unavailable"`.
        at: the moment of the read, aware, UTC: the `t` of the as-of rule.
        moment: the same, microseconds since 1970-01-01 UTC.
        answers: what each view has for the rows, then each on-demand view.
        request_id: what the request log calls this read; None where nothing of it is logged. `store.log_outcome`
            takes it.
    """

    request_id: str | None = None

    def __init__(
        self,
        plan: ReadPlan,
        keys: Sequence[Sequence[pa.Array]],
        answers: Sequence[Answer],
        at: int,
        request: pa.Table | None = None,
    ) -> None:
        self._plan, self._keys, self.answers, self.moment, self._request = plan, keys, answers, at, request

    @cached_property
    def keys(self) -> pa.Table:
        """The key columns, as the views declare them."""
        return pa.Table.from_arrays(self._key_columns(), schema=self._plan.key_schema)

    @cached_property
    def request(self) -> pa.Table:
        """The request columns of on-demand views, as they declare them."""
        schema, given = self._plan.request_schema, self._request
        from fs_core.values.casting import cast_lossless

        columns = [] if given is None else [cast_lossless(given[f.name], f.type, f.name) for f in schema]
        return pa.table(columns, schema=schema)

    @cached_property
    def table(self) -> pa.Table:
        """The feature columns in their declared types, null unless present."""
        only = self.answers[0] if len(self.answers) == 1 and self._plan.in_order else None
        if isinstance(only, TableAnswer) and only.table.schema.equals(self._plan.schema, check_metadata=True):
            return only.table
        return pa.Table.from_arrays(self._columns(), schema=self._plan.schema)

    @cached_property
    def status(self) -> Mapping[str, Sequence[str]]:
        """For each view, by name, the status of each row."""
        plan = self._plan
        names = [view.name for view in plan.views] + [one.name for one in plan.selection.computations]
        return {name: answer.status for name, answer in zip(names, self.answers, strict=True)}

    @cached_property
    def at(self) -> datetime:
        """The moment of the read, aware, UTC."""
        return from_micros(self.moment)

    @property
    def features(self) -> list[str]:
        """The names of the feature columns, in order."""
        return list(self._plan.schema.names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._request.num_rows) if self._request is not None else len(self._keys[0][0])

    def __repr__(self) -> str:
        return f"FeatureVectors({len(self)} rows, at={self.at.isoformat()}, features={list(self.features)})"

    def to_arrow(self) -> pa.Table:
        """Return keys, then request columns, then features."""
        plan = self._plan.tables
        table = None if plan is None else plan.table(self._key_columns(), self.answers)
        return pa.Table.from_arrays(self._whole_columns(), schema=self._plan.whole) if table is None else table

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Return the features as a matrix, shape [rows, features]; see `fs_core.values.matrix.to_matrix`."""
        plan = self._plan
        if plan.in_order:
            named = zip(plan.views, self.answers, strict=True)
            found = [answer.matrix(view.names) for view, answer in named]
            straight = [matrix for matrix in found if matrix is not None]
            if len(straight) == len(found):
                return straight[0] if len(found) == 1 else np.concatenate(straight, axis=1)
        return to_matrix(self.table)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict of keys, request columns and features for each row."""
        columns = self.to_lists()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_lists(self) -> dict[str, list[Any]]:
        """Return what `to_dicts` does, column by column: name to Python's values."""
        plan = self._plan
        beside = [python_values(column) for column in (*self._key_columns(), *self._request_columns())]
        if len(self.answers) == 1 and plan.in_order:
            return dict(zip(plan.types, [*beside, *self.answers[0].values(plan.views[0].names)], strict=True))
        return dict(zip(plan.types, [*beside, *map(python_values, self._columns())], strict=True))

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """The types of the columns of `to_arrow` and `to_lists`, in order."""
        types: Mapping[str, pa.DataType] = self._plan.types
        return types

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame of what `to_arrow` has; see `fs_core.values.interchange.to_pandas`."""
        return to_pandas(self.to_arrow())

    def _whole_columns(self) -> list[pa.Array | pa.ChunkedArray]:
        """Return the columns of `to_arrow`."""
        return [*self._key_columns(), *self._request_columns(), *self._columns()]

    def _request_columns(self) -> list[pa.Array]:
        return [one_array(column) for column in self.request.columns] if self._plan.request_schema else []

    def _key_columns(self) -> list[pa.Array]:
        if len(self._keys) == 1 and self._plan.key_names:
            return list(self._keys[0])
        found: dict[str, pa.Array] = {}
        for group, columns in zip(self._plan.groups, self._keys, strict=True):
            found = dict(zip(group.columns, columns, strict=bool(group.columns))) | found
        return [found[name] for name in self._plan.key_names]

    def _columns(self) -> list[pa.Array | pa.ChunkedArray]:
        plan = self._plan
        found = [answer.arrays(names) for answer, names in zip(self.answers, plan.names, strict=True)]
        if len(found) == 1 and plan.in_order:
            return found[0]
        return [found[view][index] for view, index in plan.columns]
