"""A request compiled: which keys it needs, how they are packed, what is read, which columns come out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.online.row.cells import one_array
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.layout import layout_of
from fs_core.retrieval.computed import feature_types
from fs_core.retrieval.selection import Selection, ViewLookup, alone, key_table
from fs_core.serving.tables import TablePlan
from fs_core.values.interchange import to_table
from fs_core.windows.packed.codec import EventCodec

WHAT = "the entities"
"""How errors call the rows of a request."""
_KEY_BYTES = 64  # of a packed key, about


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """One view of a request.

    Attributes:
        view: the view.
        name: what the result calls this look-up of it.
        columns: the columns of a request that hold its keys, in the keys' order.
        codec: packs its keys and reads its rows.
        names: its features that are asked for, in the order asked; the times of a row by the rule's names.
        group: its index among the groups of views that have the same keys in the same columns.
        ttl: the view's, microseconds.
        events: reads and folds its events, where it has windows.
    """

    view: FeatureView
    name: str
    columns: tuple[str, ...]
    codec: RowCodec
    names: tuple[str, ...]
    group: int
    ttl: int | None
    events: EventCodec | None


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """What follows from the features asked for, whatever the entities.

    Attributes:
        views: the views, in order of first mention.
        groups: for each group of views with the same keys, one of them.
        columns: for each feature, its view's index and its own index in that view's `names`; the indices of on-demand
            views follow those of `views`.
        selection: what is asked.
        schema: the features' columns.
        key_schema: the key columns.
        request_schema: the request columns.
        whole: the key columns, the request columns, then the features.
        key_names: the key columns' names.
        in_order: whether the features come view by view.
    """

    views: tuple[ViewPlan, ...]
    groups: tuple[ViewPlan, ...]
    columns: tuple[tuple[int, int], ...]
    selection: Selection
    schema: pa.Schema
    key_schema: pa.Schema
    request_schema: pa.Schema
    whole: pa.Schema
    key_names: tuple[str, ...]
    in_order: bool

    @classmethod
    def of(cls, selection: Selection) -> ReadPlan:
        """Compile a selection.

        Raises:
            NameClashError: a feature would carry a key's name.
        """
        selection.refuse_clash(selection.needed, WHAT)
        groups: dict[tuple[tuple[str, str, pa.DataType], ...], int] = {}
        views: list[ViewPlan] = []
        indices: dict[object, dict[str, tuple[int, int]]] = {}
        for lookup, features in selection.lookups.items():
            view, names = lookup.view, tuple(dict.fromkeys(feature.key for feature in features))
            keys = [
                (column, name, dtype)
                for column, (name, dtype) in zip(lookup.columns, view.request_keys.items(), strict=True)
            ]
            group = groups.setdefault(tuple(keys), len(groups))
            indices[lookup] = {name: (len(views), index) for index, name in enumerate(names)}
            codec, ttl = RowCodec(view), view.ttl_micros
            events = EventCodec(view) if view.aggregations else None
            views.append(ViewPlan(view, lookup.name, lookup.columns, codec, names, group, ttl, events))
        for number, computation in enumerate(selection.computations, len(views)):
            indices[computation] = {name: (number, index) for index, name in enumerate(computation.view.features)}
        firsts = [next(view for view in views if view.group == group) for group in range(len(groups))]
        columns = tuple(indices[f.computation or f.lookup][f.key] for f in selection.features)
        schema = pa.schema(list(feature_types(selection).items()))
        key_schema = pa.schema(list(selection.key_types.items()))
        request_schema = pa.schema(list(selection.requests.items()))
        whole = pa.schema([*key_schema, *request_schema, *schema])
        hidden = len(selection.looked_up) > len(selection.features) or bool(selection.computations)
        in_order = list(columns) == sorted(set(columns)) and not hidden
        return cls(
            tuple(views),
            tuple(firsts),
            columns,
            selection,
            schema,
            key_schema,
            request_schema,
            whole,
            selection.keys,
            in_order,
        )

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """The types of the columns of `whole`, by name, in order."""
        return dict(zip(self.whole.names, self.whole.types, strict=True))

    @cached_property
    def has_windows(self) -> bool:
        """Whether a view has windows."""
        return any(view.events for view in self.views)

    @cached_property
    def tables(self) -> TablePlan | None:
        """How rows of the online store become `whole`; None where they do so column by column."""
        if not self.in_order or self.has_windows:
            return None
        return TablePlan.of(
            self.whole, len(self.key_names), [(layout_of(view.view), view.names) for view in self.views]
        )

    @cached_property
    def names(self) -> list[tuple[str, ...]]:
        """The features that are asked of each view, then of each on-demand view."""
        return [view.names for view in self.views] + [tuple(c.view.features) for c in self.selection.computations]

    @cached_property
    def first_entity(self) -> int | None:
        """The position among `groups` of the first whose views have an entity; None where none has."""
        return next((number for number, group in enumerate(self.groups) if group.columns), None)

    @cached_property
    def has_key_parts(self) -> bool:
        """Whether a key column may be known of a row of which another one is null."""
        return len(self.key_names) > 1

    @cached_property
    def is_fixed(self) -> bool:
        """Whether an answer is keys and rows of fixed width alone, where the online store gives it."""
        return not (
            self.has_windows
            or self.selection.computations
            or self.has_key_parts
            or any(layout_of(view.view).has_streams for view in self.views)
        )

    @cached_property
    def row_bytes(self) -> int:
        """About how many bytes a row's keys and fixed features take in memory, with its statuses; keys are short."""
        return sum(layout_of(view.view).size + 1 for view in self.views) + _KEY_BYTES * len(self.groups)

    def request(self, entities: Any) -> pa.Table | None:
        """Return the rows that hold request columns, as they came; None where nothing is computed from a request."""
        if not self.selection.computations:
            return None
        return to_table(entities, WHAT)

    def keys(self, entities: Any, request: pa.Table | None = None) -> list[list[pa.Array]]:
        """Return each group's key columns, in their declared types.

        Args:
            entities: as they came.
            request: what `request` returned of them.

        Raises:
            SchemaError: a key is missing or of another type.
        """
        straight = self._straight(entities) if type(entities) is dict else None
        if straight is not None:
            return straight
        table = to_table(entities, WHAT) if request is None else request
        if not self.key_names and not table.num_columns and not self.request_schema:
            return [[one_array(column) for column in alone(1).columns] for _ in self.groups]
        lookups = [ViewLookup(first.view, first.columns) for first in self.groups]
        return [[one_array(column) for column in key_table(table, lookup, WHAT).columns] for lookup in lookups]

    def _straight(self, entities: dict[Any, Any]) -> list[list[pa.Array]] | None:
        """Return what `keys` does if the columns are of the declared types as they come, and nothing else is passed."""
        if len(entities) != len(self.key_names):
            return None
        columns: dict[Any, pa.Array] = {}
        for name, column in entities.items():
            array = _straight_array(column)
            if array is None:
                return None
            columns[name] = array
        if len(columns) > 1 and len(set(map(len, columns.values()))) > 1:
            return None
        found = []
        for wanted in self._key_types:
            group = [columns[name] for name, dtype in wanted if name in columns and columns[name].type == dtype]
            if not group or len(group) < len(wanted):
                return None
            found.append(group)
        return found

    @cached_property
    def _key_types(self) -> list[list[tuple[str, pa.DataType]]]:
        """The columns and types of each group's keys; empty where its views have no entity."""
        return [list(zip(first.columns, first.view.request_keys.values(), strict=True)) for first in self.groups]


def _straight_array(column: Any) -> pa.Array | None:
    """Return a column as Arrow reads it; None where it has to be looked at more closely, for an error perhaps."""
    if isinstance(column, pa.Array):
        return column
    if type(column) is not np.ndarray and type(column) is not list:
        return None
    try:
        return one_array(pa.array(column))
    except (pa.ArrowException, OverflowError, ValueError):
        return None
