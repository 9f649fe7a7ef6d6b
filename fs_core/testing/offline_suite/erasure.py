"""What erasure promises: an entity is gone from every file, and nobody else."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import OfflineStore
from fs_core.testing.histories import spines
from fs_core.testing.offline_suite.tables import as_of_types, assert_rows, cut, drawn, examples, history_types
from fs_core.testing.oracle import bits, oracle_as_of, oracle_winners


class ErasedEntities:
    """Who is erased leaves no trace; who isn't loses nothing."""

    @examples(30)
    @given(data=st.data())
    def test_erasing_takes_an_entity_and_nothing_else(self, store: OfflineStore, data: st.DataObject) -> None:
        """Its rows are gone from every file; the others', states without it and winners of others are as before."""
        scenario = drawn(data)
        view = scenario.view
        states = [store.snapshot(view), *(store.append(view, batch) for batch in cut(data, scenario.history))]
        before = [store.read(view, snapshot=state).to_pylist() for state in states]
        doomed = data.draw(st.sampled_from(scenario.keys))
        some = data.draw(st.integers(1, len(view.keys)))  # a view of several entities may lose rows by one of them
        names = list(view.keys)[:some]
        keys = pa.table({n: pa.array([v], view.keys[n]) for n, v in zip(names, doomed, strict=False)})

        def is_doomed(row: Any) -> bool:
            return all(bits(row[n]) == bits(v) for n, v in zip(names, keys.to_pylist()[0].values(), strict=True))

        gone = [row for row in before[-1] if is_doomed(row)]
        assert store.traces(view, keys) >= len(gone)
        assert store.erase(view, keys).rows == len(gone)
        assert store.traces(view, keys) == 0
        stay = [bits(row) for row in before[-1] if not is_doomed(row)]
        assert [bits(row) for row in store.read(view).to_pylist()] == stay
        for state, rows in zip(states, before, strict=True):
            if not any(map(is_doomed, rows)):
                assert [bits(row) for row in store.read(view, snapshot=state).to_pylist()] == [bits(r) for r in rows]
            elif state != store.snapshot(view):
                with pytest.raises(OfflineStoreError, match="can't be made again"):
                    store.read(view, snapshot=state)
        until = scenario.scale.micros(99)
        found = store.winners(view, until=until).rows.read_all()
        rest = [row for row in before[-1] if not is_doomed(row)]
        assert_rows(found, oracle_winners(view, rest, until), history_types(view))
        spine = data.draw(spines(scenario, max_rows=12))
        expected = oracle_as_of(view, rest, spine.to_pylist(), list(view.features))
        assert_rows(store.as_of(view, spine, list(view.features)), expected, as_of_types(view, list(view.features)))
        assert store.erase(view, keys).rows == 0
