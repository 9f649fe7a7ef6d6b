"""What as-of reads of a view of events promise: the windows of the oracle, however its history came about."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import DataError
from fs_core.offline.contract import OfflineStore, Snapshot
from fs_core.rule import SEQ
from fs_core.testing.events import EventScenario, event_scenarios
from fs_core.testing.histories import spines
from fs_core.testing.offline_suite.tables import append_all, as_of_types, assert_rows, cut, examples
from fs_core.testing.window_oracle import TOO_LARGE, oracle_windows

_numbers = itertools.count()


class Windows:
    """Each feature is what the rule of `fs_core.windows` says of the events of a state."""

    @examples(60)
    @given(data=st.data())
    def test_windows_equal_the_oracle(self, store: OfflineStore, data: st.DataObject) -> None:
        """After each append and after compaction, for each state: values, nulls, types, order and status."""
        scenario = drawn_events(data)
        spine = data.draw(spines(scenario, max_rows=40))
        columns = data.draw(st.permutations(list(scenario.view.features)))
        states, written = [store.snapshot(scenario.view)], [0]
        for batch in cut(data, scenario.history):
            states.append(store.append(scenario.view, batch))
            written.append(written[-1] + batch.num_rows)
            if data.draw(st.booleans()):
                assert_windows(store, scenario, scenario.history.slice(0, written[-1]), spine, columns)
        if data.draw(st.booleans()):
            store.compact(scenario.view)
        for state, rows in zip(states, written, strict=True):
            assert_windows(store, scenario, scenario.history.slice(0, rows), spine, columns, state)

    @examples(20)
    @given(data=st.data())
    def test_windows_forget(self, store: OfflineStore, data: st.DataObject) -> None:
        """Events of an erased entity are in no window any more; others' are as before."""
        scenario = drawn_events(data)
        view, history = scenario.view, scenario.history
        append_all(store, view, cut(data, history))
        spine, columns = data.draw(spines(scenario, max_rows=40)), list(view.features)
        assert_windows(store, scenario, history, spine, columns)
        gone = data.draw(st.sampled_from(list(scenario.keys)))
        key_columns = {name: pa.array([key], view.keys[name]) for name, key in zip(view.keys, gone, strict=True)}
        store.erase(view, pa.table(key_columns))
        left = {row[SEQ] for row in store.read(view, columns=[]).to_pylist()}
        rest = history.filter(pa.array([seq in left for seq in history[SEQ].to_pylist()], pa.bool_()))
        assert all(tuple(row[name] for name in view.keys) != gone for row in rest.to_pylist())
        assert_windows(store, scenario, rest, spine, columns)


def drawn_events(data: st.DataObject) -> EventScenario:
    """Draw a scenario whose view no other example shares."""
    scenario = data.draw(event_scenarios())
    return replace(scenario, view=replace(scenario.view, name=f"w{next(_numbers)}_{uuid.uuid4().hex[:8]}"))


def assert_windows(
    store: OfflineStore,
    scenario: EventScenario,
    history: pa.Table,
    spine: pa.Table,
    columns: Sequence[str],
    snapshot: Snapshot | None = None,
) -> None:
    """Assert that a state answers as the oracle does of some events."""
    view = scenario.view
    wanted: list[dict[str, Any]] = oracle_windows(view, history.to_pylist(), spine.to_pylist(), scenario.conditions)
    if any(TOO_LARGE in row.values() for row in wanted):
        with pytest.raises(DataError, match="doesn't fit"):
            store.as_of(view, spine, columns, snapshot=snapshot)
        return
    assert_rows(store.as_of(view, spine, columns, snapshot=snapshot), wanted, as_of_types(view, columns))
