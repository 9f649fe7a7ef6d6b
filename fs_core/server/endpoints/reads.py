"""Reads as JSON has them. Plain ones that begin in one turn of the event loop are one read of the store.

What a read costs hardly depends on how many rows it has, as long as these are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fs_core.errors import OnlineUnavailableError
from fs_core.retrieval.selection import Features, Selection
from fs_core.runtime.turns import Turns
from fs_core.server.answer import read_values
from fs_core.server.body import are_plain, needed
from fs_core.serving import FeatureVectors
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros

_SMALL = 128  # rows of a request at most, to be read with others'
_TOGETHER = 1024  # rows from which on no more requests join
_ENTITIES = "the entities"


class _ApartError(Exception):
    """Read together, somebody would be answered by what is another's alone.

    A row that is ahead of the clock moves the moment of a read; a lost node of a cluster has some entities alone.
    """


@dataclass(eq=False, slots=True)  # each request makes one: a frozen one takes twice as long
class Found:
    """What a read found.

    Attributes:
        selection: what was asked for.
        rows: how many rows.
        columns: their values by column, as JSON has them: keys, request columns, features.
        status: of each row, by view.
        at: the moment of the read.
        request_id: what the request log calls it; None where it isn't logged.
    """

    selection: Selection
    rows: int
    columns: Mapping[str, Sequence[Any]]
    status: Mapping[str, Sequence[str]]
    at: datetime
    request_id: str | None = None

    def __len__(self) -> int:
        return self.rows

    @property
    def features(self) -> list[str]:
        """The names of the features' columns, in order."""
        return list(self.selection.columns)

    def part(self, start: int, rows: int) -> Found:
        """Return some of the rows."""
        stop = start + rows
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Found(self.selection, rows, columns, {n: marks[start:stop] for n, marks in self.status.items()}, self.at)


@dataclass(eq=False, slots=True)  # each request makes one: a frozen one takes twice as long
class Asked:
    """What a request asks for.

    Attributes:
        features: a service or references.
        full_names: whether columns are named `view__feature`.
        selection: what these are.
        columns: the entities, as they came.
    """

    features: Features
    full_names: bool
    selection: Selection
    columns: Mapping[str, list[Any]]

    @property
    def rows(self) -> int:
        """How many entities there are."""
        return len(next(iter(self.columns.values()), ()))


class Reads:
    """Reads of one server process.

    Args:
        store: what is read.
        is_logged: whether reads are logged, each by itself.
    """

    def __init__(self, store: FeatureStore, *, is_logged: bool) -> None:
        self._store, self._is_logged = store, is_logged
        self._turns: Turns[Asked, Found] = Turns(self._together, _TOGETHER, OnlineUnavailableError)

    async def resolve(self, features: Features, columns: Mapping[str, list[Any]], *, full_names: bool) -> Asked:
        """Return a request with what it asks for.

        Args:
            features: a service or references.
            columns: the entities, as they came.
            full_names: whether columns are named `view__feature`.
        """
        return Asked(features, full_names, await self._store.select_async(features, full_names=full_names), columns)

    async def read(self, asked: Asked, **options: Any) -> Found:
        """Return the features of entities; a request without options may be read together with others.

        Args:
            asked: the request.
            options: of `FeatureStore.get_online_features_async`.
        """
        if not options and self._may_share(asked):
            found = await self._turns.join((id(asked.selection), *asked.columns), asked, asked.rows)
            if found is not None:
                return found
        return await self._apart(asked, **options)

    async def vectors(self, asked: Asked, **options: Any) -> FeatureVectors:
        """Return the features of entities as the store has them, read by themselves."""
        entities = needed(asked.columns, asked.selection.needed, _ENTITIES)
        return await self._store.get_online_features_async(
            asked.features, entities, full_names=asked.full_names, **options
        )

    async def _apart(self, asked: Asked, **options: Any) -> Found:
        found = await self.vectors(asked, **options)
        return Found(asked.selection, len(found), read_values(found), found.status, found.at, found.request_id)

    def _may_share(self, asked: Asked) -> bool:
        selection = asked.selection
        return (
            0 < asked.rows <= _SMALL
            and not self._is_logged
            and not selection.computations
            and are_plain(asked.columns, selection.needed)
        )

    async def _together(self, asked: Sequence[Asked]) -> list[Found]:
        columns = {name: [value for one in asked for value in one.columns[name]] for name in asked[0].columns}
        try:
            found, start, parts = await self._apart(replace(asked[0], columns=columns)), 0, []
        except OnlineUnavailableError as error:
            if error.partial is None:
                raise
            raise _ApartError from error
        if found.at > from_micros(self._store._clock.now()):
            raise _ApartError
        for one in asked:
            parts.append(found.part(start, one.rows))
            start += one.rows
        return parts
