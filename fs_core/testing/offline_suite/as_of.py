"""What as-of reads promise: the oracle's rows, in the spine's order."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.offline.contract import EMPTY, OfflineStore, Watermark
from fs_core.rule import AVAILABLE_AT, STATUS, TIME, history_schema
from fs_core.testing.histories import moments, spines
from fs_core.testing.offline_suite.tables import (
    append_all,
    as_of_types,
    assert_rows,
    counted,
    counter,
    cut,
    drawn,
    examples,
)
from fs_core.testing.oracle import oracle_as_of
from fs_core.values.times import MICROSECONDS


class AsOf:
    """Each question is answered by the rule, in its row."""

    @examples(80)
    @given(data=st.data())
    def test_as_of_equals_the_oracle(self, store: OfflineStore, data: st.DataObject) -> None:
        """Values, nulls, types, row count, row order and status are the oracle's, bit for bit."""
        scenario = drawn(data)
        view = scenario.view
        append_all(store, view, cut(data, scenario.history))
        spine = data.draw(spines(scenario))
        columns = data.draw(st.permutations([*view.features, AVAILABLE_AT]))
        expected = oracle_as_of(view, scenario.history.to_pylist(), spine.to_pylist(), columns)
        assert_rows(store.as_of(view, spine, columns), expected, as_of_types(view, columns))

    def test_nothing_written(self, store: OfflineStore) -> None:
        """Before the first write there is an empty state, in which everything is missing."""
        spine = pa.table({"thing": [1, None], TIME: moments([5, 5])})
        assert store.snapshot(counter) == EMPTY
        assert store.read(counter).schema.equals(history_schema(counter))
        found = store.as_of(counter, spine, ["value"])
        assert found[STATUS].to_pylist() == ["missing", "missing"]
        assert found.schema.types == [pa.int64(), MICROSECONDS, pa.string()]
        nothing = store.winners(counter, until=9)
        assert nothing.rows.schema.equals(history_schema(counter))
        assert (nothing.rows.read_all().num_rows, nothing.total, nothing.watermark) == (0, 0, Watermark(EMPTY, 9))

    def test_what_was_empty_stays_empty(self, store: OfflineStore) -> None:
        """The empty state can be asked for after writes, and a watermark on it covers nothing."""
        store.append(counter, counted(range(2)))
        spine = pa.table({"thing": [1], TIME: moments([5])})
        assert store.as_of(counter, spine, ["value"], snapshot=EMPTY)[STATUS].to_pylist() == ["missing"]
        assert store.winners(counter, until=9, since=Watermark(EMPTY, 9)).total == 2

    def test_an_empty_spine(self, store: OfflineStore) -> None:
        """A spine without rows gives no rows, in the right types."""
        store.append(counter, counted(range(2)))
        found = store.as_of(counter, pa.table({"thing": pa.array([], pa.int64()), TIME: moments([])}), ["value"])
        assert (found.num_rows, found.schema.types) == (0, [pa.int64(), MICROSECONDS, pa.string()])

    @pytest.mark.parametrize("size", [1, 63, 64, 65, 5000])
    def test_the_order_of_the_spine_is_kept(self, store: OfflineStore, size: int) -> None:
        """However many rows are asked for, each answer stands in its question's row."""
        store.append(counter, counted(range(100)))
        things = [(i * 37) % 100 for i in range(size)]
        found = store.as_of(counter, pa.table({"thing": things, TIME: moments([100] * size)}), ["value"])
        assert found["value"].to_pylist() == things
