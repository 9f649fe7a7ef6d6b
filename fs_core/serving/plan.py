"""A request compiled: which keys it needs, how they are packed, what is read, which columns come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.interchange import to_table
from fs_core.keys import key_table
from fs_core.online.cells import one_array
from fs_core.online.codec import RowCodec
from fs_core.selection import SelectedFeature, Selection

_WHAT = "the entities"


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """One view of a request.

    Attributes:
        view: the view.
        codec: packs its keys and reads its rows.
        names: its features that are asked for, in the order asked.
        group: its place among the groups of views that have the same keys.
    """

    view: FeatureView
    codec: RowCodec
    names: tuple[str, ...]
    group: int


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """What follows from the features asked for, whatever the entities.

    Attributes:
        views: the views, in order of first mention.
        groups: for each group of views with the same keys, one of them.
        columns: for each feature, its view's place and its own place in that view's `names`.
        schema: the features' columns.
        key_schema: the key columns, then.
        whole: the key columns, then the features.
        in_order: whether the features come view by view.
    """

    views: tuple[ViewPlan, ...]
    groups: tuple[ViewPlan, ...]
    columns: tuple[tuple[int, int], ...]
    schema: pa.Schema
    key_schema: pa.Schema
    whole: pa.Schema
    in_order: bool

    @classmethod
    def of(cls, selection: Selection) -> ReadPlan:
        """Compile a selection.

        Raises:
            NameClashError: a feature would carry a key's name.
        """
        selection.refuse_clash(selection.keys, _WHAT)
        groups: dict[tuple[tuple[str, pa.DataType], ...], int] = {}
        views: list[ViewPlan] = []
        places: dict[SelectedFeature, tuple[int, int]] = {}
        for view, features in selection.views.items():
            group = groups.setdefault(tuple(view.keys.items()), len(groups))
            places |= {feature: (len(views), place) for place, feature in enumerate(features)}
            views.append(ViewPlan(view, RowCodec(view), tuple(f.name for f in features), group))
        firsts = [next(view for view in views if view.group == group) for group in range(len(groups))]
        columns = tuple(places[feature] for feature in selection.features)
        schema = pa.schema([pa.field(f.column, f.view.features[f.name]) for f in selection.features])
        keys: dict[str, pa.DataType] = {}
        for first in firsts:
            keys = {**first.view.keys, **keys}
        key_schema = pa.schema([(name, keys[name]) for name in selection.keys])
        whole = pa.schema([*key_schema, *schema])
        return cls(tuple(views), tuple(firsts), columns, schema, key_schema, whole, list(columns) == sorted(columns))

    def keys(self, entities: Any) -> list[list[pa.Array]]:
        """Return each group's key columns, in their declared types.

        Raises:
            SchemaError: a key is missing or of another type.
        """
        table = to_table(entities, _WHAT)
        return [_declared(table, first.view) for first in self.groups]


def _declared(table: pa.Table, view: FeatureView) -> list[pa.Array]:
    names = table.schema.names
    if all(name in names and table.schema.field(name).type == dtype for name, dtype in view.keys.items()):
        return [one_array(table[name]) for name in view.keys]
    return [one_array(column) for column in key_table(table, view, _WHAT).columns]
