"""Point-in-time retrieval through the store: names, types, refusals, and training sets made again."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field
from fs_core.errors import (
    DataError,
    DefinitionError,
    NameClashError,
    OfflineStoreError,
    SchemaError,
    UnknownReferenceError,
)

T0 = datetime(2024, 1, 1, tzinfo=UTC)
USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
SHOP = Entity("shop", keys={"shop": "string"}, description="Where it was bought.")


def day(*days: float) -> list[datetime]:
    """Moments so many days after a fixed one."""
    return [T0 + timedelta(days=d) for d in days]


@pytest.fixture
def shop(store: FeatureStore) -> FeatureStore:
    """A store with a view of users, one of users in shops, and a service over both."""
    spending = FeatureView(
        "spending",
        entity=USER,
        fields=[Field("orders", "int64", "Orders so far."), Field("amount", "float32", "Last order, EUR.")],
        ttl="30d",
        description="What a user bought.",
    )
    visits = FeatureView(
        "visits",
        entity=[USER, SHOP],
        fields=[Field("orders", "int64", "Orders in this shop."), Field("last", "timestamp", "The last visit.")],
        description="Who was where.",
    )
    service = FeatureService("model", features=["visits.last", "spending.*"])
    store.apply(spending, visits, service)
    store.write(
        "spending",
        {"user_id": [1, 1, 2], "event_timestamp": day(0, 5, 1), "orders": [1, 2, 7], "amount": [0.1, 0.2, 3]},
    )
    store.write(
        "visits",
        {"user_id": [1, 1], "shop": ["a", "b"], "event_timestamp": day(2, 3), "orders": [4, 5], "last": day(1, 2)},
    )
    return store


def spine(**columns: Any) -> dict[str, Any]:
    """Two labelled moments of user 1, one of user 2, in shop b."""
    rows = {"user_id": [1, 2, 1], "shop": ["b"] * 3, "event_timestamp": day(6, 6, 2.5), "late": [True, False, True]}
    return {**rows, **columns}


class TestWhatComesBack:
    def test_spine_first_then_features_in_the_order_asked(self, shop: FeatureStore) -> None:
        """A service's features come in its order, in declared types, beside the spine as it was."""
        training = shop.get_historical_features(spine(), "model", label="late")
        assert training.table.column_names == [
            *("user_id", "shop", "event_timestamp", "late", "last", "orders", "amount")
        ]
        assert training.features == ["last", "orders", "amount"]
        assert training.keys == ["user_id", "shop"]
        assert training.label == "late"
        assert training.table.schema.field("amount").type == pa.float32()
        assert training.table.select(["orders", "last"]).to_pydict() == {
            "orders": [2, 7, 1],
            "last": [*day(2), None, None],
        }

    def test_two_labels_stay_two_columns(self, shop: FeatureStore) -> None:
        """They are named in the set and its spec, which makes the same set again."""
        labelled = spine(minutes=[17, 0, 44])
        training = shop.get_historical_features(labelled, "model", label=["late", "minutes"])
        assert training.label == training.labels == training.spec["label"] == ["late", "minutes"]
        again = shop.recreate(json.loads(json.dumps(training.spec)), labelled)
        assert (again.fingerprint, again.label) == (training.fingerprint, training.label)
        with pytest.raises(SchemaError, match=r"no column 'minuts'.*Did you mean 'minutes'"):
            shop.get_historical_features(labelled, "model", label=["late", "minuts"])

    @pytest.mark.parametrize("label", [[], ["late", "late"], ["late", 1], 5])
    def test_a_label_that_names_no_columns_is_refused(self, shop: FeatureStore, label: Any) -> None:
        """A column, or a list of different ones."""
        with pytest.raises(SchemaError, match="Pass a column, or a list of different columns"):
            shop.get_historical_features(spine(), "model", label=label)

    @pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, lambda s: pa.table(s).to_pylist()])
    def test_every_form_of_spine_gives_the_same_rows(self, shop: FeatureStore, make: Any) -> None:
        """pandas, Polars, Arrow and dicts are equal spines."""
        training = shop.get_historical_features(make(spine()), "model")
        assert training.table.select(["orders", "amount", "late"]).to_pydict() == {
            "orders": [2, 7, 1],
            "amount": pa.array([0.2, 3, 0.1], pa.float32()).to_pylist(),
            "late": [True, False, True],
        }

    def test_full_names_part_features_of_one_name(self, shop: FeatureStore) -> None:
        """Two views may both have `orders`; without full names the clash names both."""
        with pytest.raises(NameClashError, match=r"'spending.orders' and 'visits.orders'.*full_names=True"):
            shop.get_historical_features(spine(), ["spending.orders", "visits.orders"])
        training = shop.get_historical_features(spine(), ["spending.orders", "visits.orders"], full_names=True)
        assert training.features == ["spending__orders", "visits__orders"]
        assert training.table["visits__orders"].to_pylist() == [5, None, None]

    def test_a_lag_looks_back_and_marks_the_set(self, shop: FeatureStore) -> None:
        """The state two days before each label; such a set can't be served online."""
        training = shop.get_historical_features(spine(), "spending.orders", lag="2d")
        assert training.table["orders"].to_pylist() == [1, 7, 1]
        assert training.offline_only
        assert training.table["event_timestamp"].to_pylist() == spine()["event_timestamp"]

    def test_no_rows_give_no_rows(self, shop: FeatureStore) -> None:
        """An empty spine has every column, in its type."""
        empty = pa.table(spine()).slice(0, 0)
        training = shop.get_historical_features(empty, "model")
        assert len(training) == 0
        assert training.table.schema.field("last").type == pa.timestamp("us", tz="UTC")

    def test_a_view_nobody_wrote_to_is_null(self, store: FeatureStore) -> None:
        """A definition without history answers nulls, in the declared types."""
        store.apply(FeatureView("v", entity=USER, fields=[Field("x", "decimal(5, 2)", "X.")], description="None yet."))
        training = store.get_historical_features({"user_id": [1], "event_timestamp": day(0)}, "v")
        assert training.table["x"] == pa.chunked_array([[None]], pa.decimal128(5, 2))

    def test_versions_live_side_by_side(self, shop: FeatureStore) -> None:
        """An old version keeps its rows; a reference without a version means the new one."""
        fields = [Field("orders", "int64", "Orders so far.")]
        shop.apply(FeatureView("spending", entity=USER, version="2.0.0", fields=fields, description="Without amounts."))
        shop.write("spending", {"user_id": [1], "event_timestamp": day(0), "orders": [100]})
        found = [shop.get_historical_features(spine(), ref).table["orders"][0].as_py() for ref in _ORDERS]
        assert found == [100, 2, 100]


_ORDERS = ("spending.orders", "spending.orders:v1.0.0", "spending.orders:v2.0.0")


class TestRefusals:
    @pytest.mark.parametrize(
        ("features", "error", "says"),
        [
            ("spendng", UnknownReferenceError, "Did you mean 'spending'"),
            ("spending.amuont", UnknownReferenceError, "Did you mean 'amount'"),
            ("spending:v9.9.9", UnknownReferenceError, "Known: v1.0.0"),
            ("model.orders", UnknownReferenceError, "is a service"),
            ([], DefinitionError, "no feature is asked for"),
            ("spending orders", DefinitionError, "is no reference"),
        ],
    )
    def test_features_that_are_not_there(
        self, shop: FeatureStore, features: Any, error: type[Exception], says: str
    ) -> None:
        """The nearest known name is offered, or how a reference is written."""
        with pytest.raises(error, match=says):
            shop.get_historical_features(spine(), features)

    @pytest.mark.parametrize(
        ("columns", "error", "says"),
        [
            (
                {"user_id": ["1", "2", "1"]},
                SchemaError,
                r"'user_id', a key of view 'spending', is string, declared as int64",
            ),
            ({"user_id": [1.5, 2.0, 1.0]}, SchemaError, r"row 0 holds 1.5"),
            ({"event_timestamp": ["2024-01-01"] * 3}, SchemaError, r"'event_timestamp' is string, not a timestamp"),
            ({"orders": [0, 0, 0]}, NameClashError, r"has a column 'orders', and so does view 'spending'"),
            ({"event_timestamp": pa.array([2**62] * 3, pa.timestamp("us"))}, DataError, "outside the years 1 to 9999"),
        ],
    )
    def test_spines_that_do_not_fit(
        self, shop: FeatureStore, columns: dict[str, Any], error: type[Exception], says: str
    ) -> None:
        """A key of another type, a time that is none, a name that is taken: the column is named."""
        with pytest.raises(error, match=says):
            shop.get_historical_features(spine(**columns), "spending")

    @pytest.mark.parametrize("column", ["user_id", "event_timestamp", "late"])
    def test_a_missing_column_is_named(self, shop: FeatureStore, column: str) -> None:
        """Key, time and label must be there; the nearest column is offered."""
        rows = {f"{name}s" if name == column else name: values for name, values in spine().items()}
        with pytest.raises(SchemaError, match=rf"no column '{column}'.*Did you mean '{column}s'"):
            shop.get_historical_features(rows, "spending", label="late")

    def test_keys_of_a_wider_type_with_the_same_values_fit(self, shop: FeatureStore) -> None:
        """An int32, a whole float or a dictionary-encoded key means the same entity."""
        for user in (pa.array([1, 2, 1], pa.int32()), [1.0, 2.0, 1.0], pa.array([1, 2, 1]).dictionary_encode()):
            training = shop.get_historical_features(spine(user_id=user), "spending.orders")
            assert training.table["orders"].to_pylist() == [2, 7, 1]


class TestMakingItAgain:
    def test_later_writes_change_nothing(self, shop: FeatureStore) -> None:
        """The same bits from spec and spine, though rows that would win were written since."""
        training = shop.get_historical_features(spine(), "model", label="late")
        spec = json.loads(json.dumps(training.spec))
        for value in (50, 51):
            shop.write("spending", {"user_id": [1], "event_timestamp": day(2), "orders": [value], "amount": [9]})
        assert shop.get_historical_features(spine(), "model").table["orders"][2].as_py() == 51
        again = shop.recreate(spec, spine())
        assert again.table.equals(training.table)
        assert again.fingerprint == training.fingerprint
        assert again.label == "late"

    def test_a_new_current_version_changes_nothing(self, shop: FeatureStore) -> None:
        """A spec pins versions."""
        training = shop.get_historical_features(spine(), "spending")
        fields = [Field("orders", "int64", "Orders so far.")]
        shop.apply(FeatureView("spending", entity=USER, version="2.0.0", fields=fields, description="Without amounts."))
        assert shop.recreate(training.spec, spine()).fingerprint == training.fingerprint

    def test_another_spine_is_another_fingerprint(self, shop: FeatureStore) -> None:
        """Content counts, and so do the names of columns."""
        training = shop.get_historical_features(spine(), "spending", label="late")
        other = shop.recreate(training.spec, spine(late=[True, True, True]))
        assert other.fingerprint != training.fingerprint
        assert shop.get_historical_features(spine(), "spending").fingerprint != training.fingerprint

    def test_another_store_has_other_meanings(self, shop: FeatureStore, tmp_path: Path) -> None:
        """A spec whose version means something else elsewhere is refused, and one of nobody's states too."""
        training = shop.get_historical_features(spine(), "spending")
        with FeatureStore(tmp_path / "elsewhere") as other:
            with pytest.raises(UnknownReferenceError, match="spending"):
                other.recreate(training.spec, spine())
            fields = [Field("orders", "int64", "Orders so far."), Field("amount", "float32", "EUR.")]
            other.apply(FeatureView("spending", entity=USER, fields=fields, description="For ever."))
            with pytest.raises(UnknownReferenceError, match="Open the store it was made in"):
                other.recreate(training.spec, spine())
        lost = {**training.spec, "snapshots": {"spending": 99}}
        with pytest.raises(OfflineStoreError, match="state 99"):
            shop.recreate(lost, spine())
        with pytest.raises(UnknownReferenceError, match="format"):
            shop.recreate({**training.spec, "format": 99}, spine())

    def test_the_fingerprint_is_the_same_in_another_process_on_one_thread(self, shop: FeatureStore) -> None:
        """Neither the number of threads nor the process decides a bit."""
        training = shop.get_historical_features(spine(), "model", label="late")
        program = """
import sys, json
from fs_core import FeatureStore
from fs_core.offline.duckdb import connect
connect().execute("SET GLOBAL threads = 1")
from tests.core.retrieval.test_query import spine
print(FeatureStore(sys.argv[1]).recreate(json.loads(sys.argv[2]), spine()).fingerprint)
"""
        words = [sys.executable, "-c", program, str(shop.directory), json.dumps(training.spec)]
        done = subprocess.run(words, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == training.fingerprint


@settings(max_examples=30)
@given(order=st.permutations(range(40)))
def test_rows_are_answered_one_by_one(order: list[int], fresh_directory: Any) -> None:
    """A spine in another order has the same answers in that order."""
    with FeatureStore(fresh_directory()) as store:
        store.apply(FeatureView("v", entity=USER, fields=[Field("x", "int64", "X.")], ttl="9d", description="V."))
        rows = {"user_id": [i % 3 for i in range(30)], "event_timestamp": day(*range(30)), "x": list(range(30))}
        store.write("v", rows)
        asked = pa.table({"user_id": [i % 4 for i in range(40)], "event_timestamp": day(*range(40))})
        whole = store.get_historical_features(asked, "v").table
        shuffled = store.get_historical_features(asked.take(order), "v").table
        assert shuffled.to_pydict() == whole.take(order).to_pydict()
