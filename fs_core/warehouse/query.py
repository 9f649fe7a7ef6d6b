"""The as-of rule as SQL that any warehouse runs: window functions and equality joins, nothing else.

Why not `ASOF JOIN`: few databases have one, ties are arbitrary in it, and its syntax differs. And a join by `a <= t`
has as many rows as an entity's history times its questions. Instead history is reduced to its effective timeline (see
`fs_core.offline.search.sql`), in whose order its rows are numbered. Sorted together with the moments that are asked
for, the count of rows so far is the number of the winner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError, DefinitionError
from fs_core.retrieval.selection import SelectedFeature, Selection, ViewLookup
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, Status
from fs_core.values.times import duration_micros
from fs_core.warehouse.dialects import Dialect

_KNOWN = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


@dataclass(frozen=True)
class Spine:
    """The table whose rows are asked for.

    Attributes:
        table: its name, as a query of the dialect has it.
        timestamp: its time column.
        lag: how long before each moment to look.
        status: whether the answer says of each row and look-up if it is present, missing or expired.
    """

    table: str
    timestamp: str
    lag: timedelta = timedelta(0)
    status: bool = False


def as_of_query(selection: Selection, spine: Spine, tables: Mapping[str, str], dialect: Dialect) -> str:
    """Return a query that gives the spine's rows, each with its features as of its moment.

    Args:
        selection: the features.
        spine: whose rows.
        tables: by a view's name, the table that holds its history with the columns of `history_schema`; by default it
            has the view's name.
        dialect: the SQL wanted.

    Raises:
        DefinitionError: a feature can't be computed by SQL to the same bits: it is of a window, computed at request
            time, or a list where the database has no such lists.
        DataError: a table's name is none, or is given for a view that isn't asked for.
    """
    for feature in selection.features:
        _refuse_what_differs(feature, dialect)
    for name in tables:
        if name not in (known := [view.name for view in selection.views]):
            raise DataError(f"a table is named for view {name!r}, and the features are of {', '.join(known)} alone.")
    parts = [
        _Lookup(number, lookup, tuple(features), spine, dialect)
        for number, (lookup, features) in enumerate(selection.lookups.items())
    ]
    steps = [step for part in parts for step in part.steps(tables.get(part.lookup.view.name))]
    columns = {feature.column: part.column(feature) for part in parts for feature in part.features}
    named = [f"{columns[column]} AS {dialect.name_of(column)}" for column in selection.columns]
    if spine.status:
        named += [f"{part.status()} AS {dialect.name_of(f'{part.lookup.name}__status')}" for part in parts]
    asked = f"FROM {dialect.table(spine.table)} AS fs_spine {' '.join(part.join() for part in parts)}"
    return dialect.query(f"WITH {', '.join(steps)} SELECT fs_spine.*, {', '.join(named)} {asked}")


def _refuse_what_differs(feature: SelectedFeature, dialect: Dialect) -> None:
    reason = None
    if feature.computation is not None:
        reason = "is computed at request time by its own code"
    elif isinstance(feature.view, FeatureView) and feature.view.aggregations:
        reason = "is of a window, whose exact sums no warehouse computes"
    elif not dialect.lists and (pa.types.is_list(feature.type) or pa.types.is_fixed_size_list(feature.type)):
        reason = f"is a list, and in {dialect.name} a list that is null, or has nulls in it, becomes something else"
    if reason:
        raise DefinitionError(
            f"{feature.view.name}.{feature.name} {reason}: SQL would give other bits. Leave it out, and add it with "
            "get_historical_features, whose spine the query's result can be."
        )


@dataclass(frozen=True)
class _Lookup:
    """One look-up of a view, as steps of a query.

    Attributes:
        number: of the look-up, from which its steps are named.
        lookup: the view, and the spine's columns that hold its keys.
        features: those wanted.
        spine: whose rows are asked for.
        dialect: the SQL wanted.
    """

    number: int
    lookup: ViewLookup
    features: tuple[SelectedFeature, ...]
    spine: Spine
    dialect: Dialect

    def steps(self, table: str | None) -> list[str]:
        """Return what stands in WITH: history, its timeline, what is asked, both in order, and the answers."""
        view = self.lookup.view
        return [
            f"{self._step('history')} AS ({self._history(table or self.dialect.name_of(view.name))})",
            f"{self._step('timeline')} AS ({self._timeline()})",
            f"{self._step('asked')} AS ({self._asked()})",
            f"{self._step('moments')} AS ({self._moments()})",
            f"{self._step('answers')} AS ({self._answers()})",
        ]

    def _history(self, table: str) -> str:
        """History as the query calls it, with the newest event time that was known as each row became available."""
        name = self.dialect.name_of
        keys = [f"{name(key)} AS {k}" for key, k in zip(self.lookup.view.request_keys, self._keys, strict=True)]
        stored = [f"{name(feature.key)} AS fs_f{i}" for i, feature in enumerate(self.features)]
        times = [f"{name(EVENT_TIME)} AS fs_event", f"{name(AVAILABLE_AT)} AS fs_moment", f"{name(SEQ)} AS fs_seq"]
        order = [name(column) for column in (AVAILABLE_AT, EVENT_TIME, SEQ)]
        by = [name(key) for key in self.lookup.view.request_keys]
        newest = f"MAX({name(EVENT_TIME)}) {_over(by, order, _KNOWN)} AS fs_newest"
        return f"SELECT {', '.join([*keys, *times, *stored, newest])} FROM {self.dialect.table(table)}"

    def _timeline(self) -> str:
        """The rows that win at some moment: none that was available earlier is greater. Numbered as they come."""
        payload = [f"fs_f{i}" for i in range(len(self.features))]
        number = f"ROW_NUMBER() {_over(self._keys, ['fs_moment', 'fs_event', 'fs_seq'])} AS fs_number"
        columns = [*self._keys, "fs_event", "fs_moment", *payload, number]
        return f"SELECT {', '.join(columns)} FROM {self._step('history')} WHERE fs_event = fs_newest"

    def _asked(self) -> str:
        """Each entity and moment of the spine, once. Nothing equals a null, so those are left out."""
        columns = self._spine_columns()
        named = [f"{column} AS {k}" for column, k in zip(columns, self._keys, strict=True)]
        known = " AND ".join(f"{column} IS NOT NULL" for column in (*columns, self._time))
        moment = f"{self._moment} AS fs_moment"
        return f"SELECT DISTINCT {', '.join([*named, moment])} FROM {self._spine_table} AS fs_spine WHERE {known}"

    def _moments(self) -> str:
        """Timeline and questions in one order, a row before the question of its own moment; rows so far are counted."""
        columns = ", ".join([*self._keys, "fs_moment"])
        both = (
            f"SELECT {columns}, 0 AS fs_asked FROM {self._step('timeline')} "
            f"UNION ALL SELECT {columns}, 1 AS fs_asked FROM {self._step('asked')}"
        )
        number = f"SUM(1 - fs_asked) {_over(self._keys, ['fs_moment', 'fs_asked'], _KNOWN)} AS fs_number"
        return f"SELECT {columns}, fs_asked, {number} FROM ({both}) AS fs_both"

    def _answers(self) -> str:
        """Each question with its winner, whose values are null where it has expired."""
        keys = [f"fs_m.{k} AS {k}" for k in self._keys]
        values = [f"{self._if_alive(f'fs_t.fs_f{i}')} AS fs_f{i}" for i in range(len(self.features))]
        same = " AND ".join(f"fs_m.{name} = fs_t.{name}" for name in [*self._keys, "fs_number"])
        columns = ", ".join([*keys, "fs_m.fs_moment AS fs_moment", *values, f"{self._alive()} AS fs_alive"])
        tables = f"{self._step('moments')} AS fs_m JOIN {self._step('timeline')} AS fs_t ON {same}"
        return f"SELECT {columns} FROM {tables} WHERE fs_m.fs_asked = 1"

    def join(self) -> str:
        """Return how the spine's rows find their answers."""
        name = self._step("answers")
        pairs = zip(self._spine_columns(), self._keys, strict=True)
        same = [*(f"{column} = {name}.{k}" for column, k in pairs), f"{self._moment} = {name}.fs_moment"]
        return f"LEFT JOIN {name} ON {' AND '.join(same)}"

    def column(self, feature: SelectedFeature) -> str:
        """Return where the answers have a feature."""
        return f"{self._step('answers')}.fs_f{self.features.index(feature)}"

    def status(self) -> str:
        """Return SQL for what the rule found, as `Status` says it."""
        alive = f"{self._step('answers')}.fs_alive"
        return (
            f"CASE WHEN {alive} = 1 THEN '{Status.PRESENT}' WHEN {alive} = 0 THEN '{Status.EXPIRED}' "
            f"ELSE '{Status.MISSING}' END"
        )

    def _if_alive(self, value: str) -> str:
        return value if self.lookup.view.ttl_micros is None else f"CASE WHEN {self._lives()} THEN {value} END"

    def _alive(self) -> str:
        return "1" if self.lookup.view.ttl_micros is None else f"CASE WHEN {self._lives()} THEN 1 ELSE 0 END"

    def _lives(self) -> str:
        return f"fs_t.fs_event > {self.dialect.earlier('fs_m.fs_moment', self.lookup.view.ttl_micros or 0)}"

    def _step(self, what: str) -> str:
        return f"fs_{what}_{self.number}"

    @property
    def _keys(self) -> list[str]:
        return [f"fs_k{i}" for i in range(len(self.lookup.columns))]

    def _spine_columns(self) -> list[str]:
        return [f"fs_spine.{self.dialect.name_of(column)}" for column in self.lookup.columns]

    @property
    def _spine_table(self) -> str:
        return self.dialect.table(self.spine.table)

    @property
    def _time(self) -> str:
        return f"fs_spine.{self.dialect.name_of(self.spine.timestamp)}"

    @property
    def _moment(self) -> str:
        return self.dialect.earlier(self._time, duration_micros(self.spine.lag))


def _over(by: list[str], order: list[str], frame: str = "") -> str:
    """Return a window: of each entity's rows in an order; of all, where nothing says whose they are."""
    parts = f"PARTITION BY {', '.join(by)} " if by else ""
    return f"OVER ({parts}ORDER BY {', '.join(order)} {frame})"
