"""What history promises: every row, of every state, as it was written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import EMPTY, OfflineStore
from fs_core.rule import SEQ, history_schema
from fs_core.testing.histories import spines
from fs_core.testing.offline_suite.tables import (
    append_all,
    as_of_types,
    assert_rows,
    counted,
    counter,
    cut,
    drawn,
    examples,
    history_types,
)
from fs_core.testing.oracle import bits, oracle_as_of


class States:
    """What a state held it holds, after later appends and compaction too."""

    @examples(30)
    @given(data=st.data())
    def test_compaction_keeps_everything(self, store: OfflineStore, data: st.DataObject) -> None:
        """Before and after, and for every earlier state: the same rows in the same order, the same answers."""
        scenario = drawn(data)
        view = scenario.view
        states = [store.snapshot(view), *(store.append(view, batch) for batch in cut(data, scenario.history))]
        before = [[bits(row) for row in store.read(view, snapshot=state).to_pylist()] for state in states]
        spine, columns = data.draw(spines(scenario)), list(view.features)
        answers = [store.as_of(view, spine, columns, snapshot=state) for state in states]
        compacted = store.compact(view)
        assert store.snapshot(view) == compacted >= states[-1]
        for state, rows, answer in zip(
            [*states, compacted], [*before, before[-1]], [*answers, answers[-1]], strict=True
        ):
            assert [bits(row) for row in store.read(view, snapshot=state).to_pylist()] == rows
            found = store.as_of(view, spine, columns, snapshot=state)
            assert found.schema == answer.schema
            assert [bits(row) for row in found.to_pylist()] == [bits(row) for row in answer.to_pylist()]
        assert store.compact(view) == compacted
        found = store.verify(view)
        assert found.clean, str(found)
        assert found.rows == len(before[-1])

    @examples(40)
    @given(data=st.data())
    def test_history_comes_back_as_it_was_written(self, store: OfflineStore, data: st.DataObject) -> None:
        """Every row is read once, ordered by seq, in the declared schema, with its bits."""
        scenario = drawn(data)
        append_all(store, scenario.view, cut(data, scenario.history))
        expected = sorted(scenario.history.to_pylist(), key=lambda row: int(row[SEQ]))
        found = store.read(scenario.view)
        assert_rows(found, expected, history_types(scenario.view))
        assert found.schema.equals(history_schema(scenario.view))
        wanted = data.draw(st.sets(st.sampled_from(list(scenario.view.features))))
        kept = [name for name in found.column_names if name in wanted or name not in scenario.view.features]
        some = store.read(scenario.view, columns=list(wanted))
        assert some.schema.equals(found.select(kept).schema)
        assert [bits(row) for row in some.to_pylist()] == [bits(row) for row in found.select(kept).to_pylist()]

    @examples(25)
    @given(data=st.data())
    def test_a_snapshot_is_stable(self, store: OfflineStore, data: st.DataObject) -> None:
        """What a state answered, it answers after every later append too."""
        scenario = drawn(data)
        view, columns = scenario.view, list(scenario.view.features)
        spine = data.draw(spines(scenario, max_rows=12))
        seen: list[tuple[int, list[Any]]] = [(store.snapshot(view), [])]
        for batch in cut(data, scenario.history):
            seen.append((store.append(view, batch), seen[-1][1] + batch.to_pylist()))
        for snapshot, rows in seen:
            expected = oracle_as_of(view, rows, spine.to_pylist(), columns)
            assert_rows(store.as_of(view, spine, columns, snapshot=snapshot), expected, as_of_types(view, columns))
            read = store.read(view, snapshot=snapshot)
            assert_rows(read, sorted(rows, key=lambda row: int(row[SEQ])), history_types(view))

    def test_seqs_are_reserved_once(self, store: OfflineStore) -> None:
        """Reserved seqs are nobody else's, greater than those of any row, and no less than what is asked for."""
        first = store.reserve(counter, 3)
        store.append(counter, counted(range(first, first + 3)))
        assert store.reserve(counter, 1) == first + 3
        assert store.reserve(counter, 2, at_least=1000) == 1000
        assert store.reserve(counter, 1, at_least=7) == 1002
        assert store.reserve(replace(counter, ttl="11s"), 1) == 0

    def test_states_have_growing_numbers(self, store: OfflineStore) -> None:
        """Each append gives a later state than the one before."""
        states = [store.append(counter, counted([i])) for i in range(3)]
        assert states == sorted(set(states))
        assert store.snapshot(counter) == states[-1] > EMPTY

    @pytest.mark.parametrize("snapshot", [999, -7])
    def test_an_unknown_state(self, store: OfflineStore, snapshot: int) -> None:
        """A state that isn't kept is an error that names the view, never an empty answer."""
        with pytest.raises(OfflineStoreError, match="counter"):
            store.read(counter, snapshot=snapshot)
        store.append(counter, counted([1]))
        with pytest.raises(OfflineStoreError, match="counter"):
            store.read(counter, snapshot=snapshot)

    def test_views_are_kept_apart(self, store: OfflineStore) -> None:
        """Rows of one meaning of a view are no rows of another."""
        store.append(counter, counted([1]))
        assert store.read(replace(counter, ttl="11s")).num_rows == 0
