"""The conformance suite of engines: who answers the parts of a question, held against the oracle.

The questions are those of the suite of histories, whatever they are about: each is split, as `FeatureStore.split` does,
and the engine answers its parts, of which some are empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import FeatureView, Field, OnDemandView
from fs_core.errors import DataError
from fs_core.offline.contract import OfflineStore, Snapshot
from fs_core.offline.open import open_offline_store
from fs_core.retrieval.parts import Question, SpinePart, split
from fs_core.retrieval.query import Query, historical_features
from fs_core.retrieval.resolution import select_among
from fs_core.retrieval.selection import SelectedFeature, Selection
from fs_core.rule import AVAILABLE_AT, TIME
from fs_core.testing.histories import spines
from fs_core.testing.offline_suite.as_of import AsOf
from fs_core.testing.offline_suite.erasure import ErasedEntities
from fs_core.testing.offline_suite.states import States
from fs_core.testing.offline_suite.tables import append_all, cut, drawn, examples
from fs_core.testing.offline_suite.windows import Windows, drawn_events
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.testing.window_oracle import TOO_LARGE, oracle_windows
from fs_core.values.dtypes import canonical

Answer = Callable[[Sequence[SpinePart]], Iterable[pa.Table]]
"""What an engine does: parts in, the answer of each out, in any order."""

PARTS = 3
"""Into how many a question is split."""


class HistoryInParts:
    """A history whose questions an engine answers in parts.

    Event times and statuses are the history's own: answers of parts have none.

    Args:
        history: where rows are.
        answer: the engine.
    """

    def __init__(self, history: OfflineStore, answer: Answer) -> None:
        self._history, self._answer = history, answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def as_of(
        self, view: FeatureView, spine: pa.Table, columns: Sequence[str], *, snapshot: Snapshot | None = None
    ) -> pa.Table:
        """See `OfflineStore.as_of`."""
        state = self._history.snapshot(view) if snapshot is None else snapshot
        names = {AVAILABLE_AT: "available_at"}
        asked = Selection(tuple(SelectedFeature(view, names.get(column, column), column) for column in columns))
        parts = split(Question(self._history, _query(asked, view, state)), spine, PARTS)
        features = parts.joined(self._answer(parts)).table.select(list(columns))
        for field, column in _known(self._history, view, spine, state):
            features = features.append_column(field, column)
        return features


def _known(
    history: OfflineStore, view: FeatureView, spine: pa.Table, state: Snapshot
) -> Iterable[tuple[pa.Field, pa.ChunkedArray]]:
    """Yield the columns of event time and status."""
    found = history.as_of(view, spine, [], snapshot=state)
    return zip(found.schema, found.columns, strict=True)


def _query(asked: Selection, view: FeatureView, state: Snapshot) -> Query:
    return Query(asked, TIME, None, timedelta(0), {view.name: state})


def handed_on(**columns: Any) -> Mapping[str, Any]:
    """Return each column as it is, and which rows have nothing in it."""
    same = {f"same_{name}": column for name, column in columns.items()}
    return {**same, **{f"no_{name}": column.is_null() for name, column in columns.items()}}


def computed_of(view: FeatureView) -> OnDemandView:
    """Return a view that is computed of each feature of another."""
    same = [Field(f"same_{name}", canonical(dtype), "The same.") for name, dtype in view.features.items()]
    nulls = [Field(f"no_{name}", "bool", "Whether nothing is there.") for name in view.features]
    inputs = [f"{view.name}.{name}" for name in view.features]
    return OnDemandView(
        f"computed_{view.name}", inputs, [*same, *nulls], function=handed_on, mode="arrow", description="The same."
    )


class PartsSuite(AsOf, States, ErasedEntities, Windows):
    """Subclass it with a fixture `answer` that returns an `Answer`; pytest does the rest."""

    @pytest.fixture
    def answer(self) -> Answer:
        """The engine to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named answer")

    @pytest.fixture
    def history(self, tmp_path: Path) -> OfflineStore:
        """An empty history that every process of the engine reaches; a directory of this machine by default."""
        return open_offline_store("delta", directory=tmp_path)

    @pytest.fixture
    def store(self, history: OfflineStore, answer: Answer) -> Any:
        """The history, with its questions answered by the engine."""
        return HistoryInParts(history, answer)

    @examples(40)
    @given(data=st.data())
    def test_what_is_computed_equals_the_oracle(
        self, history: OfflineStore, answer: Answer, data: st.DataObject
    ) -> None:
        """An on-demand view of rows or windows of any type: bits, nulls, order, types, and the fingerprint."""
        windows = data.draw(st.booleans())
        scenario: Any = drawn_events(data) if windows else drawn(data)
        spine = data.draw(spines(scenario, max_rows=40 if windows else 70))
        view, computed = scenario.view, computed_of(scenario.view)
        append_all(history, view, cut(data, scenario.history))
        found = {view.name: view, computed.name: computed}
        asked = select_among(lambda name, _: found[name], computed)
        query = _query(asked, view, history.snapshot(view))
        parts = split(Question(history, query), spine, PARTS)
        told, names = (scenario.history.to_pylist(), spine.to_pylist()), list(view.features)
        wanted = oracle_windows(view, *told, scenario.conditions) if windows else oracle_as_of(view, *told, names)
        if any(TOO_LARGE in row.values() for row in wanted):
            with pytest.raises(DataError, match="doesn't fit"):
                parts.joined(answer(parts))
            return
        made = parts.joined(answer(parts))
        rows = [{f"same_{n}": row[n] for n in names} | {f"no_{n}": row[n] is None for n in names} for row in wanted]
        assert [bits(row) for row in made.table.select(made.features).to_pylist()] == [bits(row) for row in rows]
        assert made.table.select(made.features).schema == pa.schema(list(computed.features.items()))
        assert made.fingerprint == historical_features(history, spine, query).fingerprint
