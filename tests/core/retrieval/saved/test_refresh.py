"""Refreshing: only new rows are looked up, and every row can be made again from the state that it read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core import FeatureStore, FeatureView, Field
from fs_core.errors import DataError, SchemaError
from fs_core.retrieval.saved.refresh import new_rows
from tests.core.retrieval.saved.sets import T0, THING, ask, facts, files, labels, same


class TestRefreshing:
    def test_only_new_rows_are_looked_up(self, filled: FeatureStore) -> None:
        """Rows there before keep their bits, though history says otherwise now; the whole can be made again."""
        made = ask(filled, labels(*range(20)))
        filled.save_training_set(made, "kept")
        filled.write("facts", {**facts(8), "x": [-8]})
        filled.write("facts", facts(*range(40, 60)))
        assert filled.refresh_training_set("kept", labels(*range(50))) == 30
        loaded = filled.load_training_set("kept")
        assert loaded.table.slice(0, 20).equals(made.table)
        assert loaded.table.slice(20).equals(ask(filled, labels(*range(20, 50))).table)
        assert loaded.spec["parts"] == [
            {"rows": 20, "snapshots": {"facts": 0}},
            {"rows": 30, "snapshots": {"facts": 2}},
        ]
        again = filled.recreate(json.loads(json.dumps(loaded.spec)), labels(*range(50)))
        assert same(again, loaded)
        assert ask(filled, labels(*range(50))).fingerprint != loaded.fingerprint
        for part in filled.list_training_sets()[0].parts:
            rows = labels(*range(20)) if part.rows == 20 else labels(*range(20, 50))
            assert filled.recreate(part.spec, rows).fingerprint == part.fingerprint

    def test_where_history_agrees_it_is_the_one_shot_set(self, filled: FeatureStore) -> None:
        """Added bit by bit or made at once: one fingerprint."""
        filled.save_training_set(ask(filled, labels(*range(5))), "kept")
        for end in (9, 9, 30):
            filled.refresh_training_set("kept", labels(*range(end)))
        assert filled.load_training_set("kept").fingerprint == ask(filled, labels(*range(30))).fingerprint
        assert filled.list_training_sets()[0].rows == 30

    def test_nothing_new_writes_nothing(self, filled: FeatureStore) -> None:
        """The same spine in another order adds no row and no part."""
        filled.save_training_set(ask(filled, labels(*range(20))), "kept")
        before = files(filled, "kept")
        assert filled.refresh_training_set("kept", labels(*reversed(range(20)))) == 0
        assert filled.refresh_training_set("kept", labels(3, 4)) == 0
        assert files(filled, "kept") == before

    def test_duplicates_are_counted(self, filled: FeatureStore) -> None:
        """Of three equal rows one was there: two are new. Another label is another row."""
        filled.save_training_set(ask(filled, labels(1, 2)), "kept")
        assert filled.refresh_training_set("kept", labels(1, 1, 1, 2)) == 2
        assert filled.refresh_training_set("kept", labels(1, 1, 1, 2)) == 0
        assert filled.refresh_training_set("kept", labels(1, late=[None])) == 1
        assert filled.load_training_set("kept").table["thing"].to_pylist() == [1, 2, 1, 1, 1]

    def test_versions_stay_pinned(self, filled: FeatureStore) -> None:
        """A new current version of a view doesn't change what is added."""
        filled.save_training_set(ask(filled, labels(1)), "kept")
        fields = [Field("x", "int32", "X.")]
        filled.apply(FeatureView("facts", entity=THING, fields=fields, version="2.0.0", description="Others."))
        assert filled.refresh_training_set("kept", labels(1, 9)) == 1
        assert filled.load_training_set("kept").table["x"] == pa.chunked_array([[1, 9]], pa.int64())

    def test_lagged_sets_look_back_as_before(self, filled: FeatureStore) -> None:
        """The lag is part of what is refreshed."""
        filled.save_training_set(ask(filled, labels(1, 2), lag="4h"), "kept")
        filled.refresh_training_set("kept", labels(1, 2, 30))
        assert filled.load_training_set("kept").table["x"].to_pylist() == [None, None, 26]

    def test_spines_that_do_not_fit(self, filled: FeatureStore) -> None:
        """Missing, further or other columns are named; columns in another order or a narrower type fit."""
        filled.save_training_set(ask(filled, labels(1, 2)), "kept")
        with pytest.raises(SchemaError, match="no column 'thing'"):
            filled.refresh_training_set("kept", labels(3).drop_columns(["thing"]))
        with pytest.raises(SchemaError, match="'weight', which was not saved"):
            filled.refresh_training_set("kept", labels(3, weight=[1.0]))
        with pytest.raises(SchemaError, match="'thing' is string, declared as int64"):
            filled.refresh_training_set("kept", labels(3, thing=["x"]))
        narrow = labels(2, 3, thing=pa.array([2, 3], pa.int8())).select(["late", "event_timestamp", "thing"])
        assert filled.refresh_training_set("kept", narrow) == 1

    def test_a_split_set_is_made_again_too(self, filled: FeatureStore) -> None:
        """Past and future of a refreshed set know which of their rows read which states."""
        filled.save_training_set(ask(filled, labels(*range(20))), "kept")
        filled.write("facts", {**facts(8), "x": [-8]})
        filled.refresh_training_set("kept", labels(*range(30)))
        loaded = filled.load_training_set("kept")
        past, future = loaded.split_by_time(T0 + timedelta(hours=10))
        assert [part["rows"] for part in past.spec["parts"]] == [10, 0]
        assert [part["rows"] for part in future.spec["parts"]] == [10, 10]
        assert same(filled.recreate(past.spec, labels(*range(10))), past)
        assert same(filled.recreate(future.spec, labels(*range(10, 30))), future)
        filled.save_training_set(future, "future")
        assert same(filled.load_training_set("future"), future)
        with pytest.raises(DataError, match="30 rows, the training set 20"):
            filled.recreate(future.spec, labels(*range(30)))
        with pytest.raises(DataError, match="the parts of its spec 20"):
            filled.save_training_set(replace(future, table=loaded.table), "wrong")

    @given(data=st.data())
    def test_new_rows_are_what_counting_says(self, data: st.DataObject) -> None:
        """Nulls, NaN, text and lists identify rows; a multiset difference in plain Python agrees."""
        kinds = data.draw(
            st.sampled_from([("int64", "string"), ("float64", "bool"), ("list", "timestamp"), ("int64",)])
        )
        pools: dict[str, Any] = {
            "int64": (pa.int64(), [None, 0, -1, 2**62]),
            "string": (pa.string(), [None, "", "a"]),
            "float64": (pa.float64(), [None, 0.5, float("nan")]),
            "bool": (pa.bool_(), [None, True, False]),
            "list": (pa.list_(pa.int8()), [None, [], [1], [None]]),
            "timestamp": (pa.timestamp("us", "UTC"), [None, T0]),
        }
        row = st.tuples(*(st.sampled_from(pools[kind][1]) for kind in kinds))
        have, asked = data.draw(st.lists(row, max_size=12)), data.draw(st.lists(row, max_size=12))

        def table(rows: list[Any]) -> pa.Table:
            return pa.table({kind: pa.array([r[i] for r in rows], pools[kind][0]) for i, kind in enumerate(kinds)})

        left = [repr(r) for r in have]
        expected = []
        for index, r in enumerate(asked):
            if repr(r) in left:
                left.remove(repr(r))
            else:
                expected.append(index)
        assert new_rows(table(have), table(asked)).tolist() == expected
