"""What fit sees and what predict sees are the same bits, of the same definitions, whatever comes later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline

from fs_core import FeatureStore, FeatureView, Field
from fs_core.errors import UnknownReferenceError
from fs_core.testing.histories import TICKS, Scenario, moments, scenarios
from fs_core.testing.oracle import bits
from fs_core.values.times import Clock
from fs_sklearn import FeatureStoreTransformer
from tests.sklearn_adapter.shop import MODEL_IN, NOW, SPENDING, Recorder, ago

Frame = Callable[[dict[str, Any]], Any]
NUMBERS = ["spending.amount", "spending.orders", "spending.subscribed"]


class StandingClock(Clock):
    """A clock that always shows one moment, so that a question to history and a read online share it."""

    def __init__(self, micros: int) -> None:
        super().__init__()
        self.micros = micros

    def now(self) -> int:
        """Return the moment."""
        return self.micros


class TestParity:
    def test_fit_sees_the_past_and_predict_the_present(self, shop: FeatureStore, frame: Frame) -> None:
        """One pipeline: with times fit sees the rows as of then, on keys alone predict sees the rows of now."""
        model = make_pipeline(FeatureStoreTransformer(shop, NUMBERS), Recorder())
        model.fit(frame({"user_id": [1, 1, 2, 1], "event_timestamp": ago(5, 2, 8.5, 10)}), [0, 1, 0, 1])
        nothing = [np.nan] * 3
        np.testing.assert_array_equal(model[-1].fitted_on_, [[10, 1, 0], [30.5, 2, 1], nothing, nothing])
        found = model.predict(frame({"user_id": [2, 1, 3, 4, 1]}))
        np.testing.assert_array_equal(found, [[20.25, 7, 1], [30.5, 2, 1], nothing, nothing, [30.5, 2, 1]])

    @pytest.mark.parametrize(
        ("features", "dtype"),
        [(NUMBERS, np.float64), (["spending.subscribed"], np.float32), ("model_in", object), ("visits", object)],
    )
    def test_the_rows_of_now_are_the_same_bits_in_both(
        self, shop: FeatureStore, frame: Frame, features: str | list[str], dtype: type
    ) -> None:
        """Asked with the present as time or without a time, the matrix is the same: dtype, nulls as NaN, and text."""
        users = [1, 2, 3, 4, None, 1]
        model = make_pipeline(FeatureStoreTransformer(shop, features), Recorder())
        model.fit(frame({"user_id": users, "event_timestamp": [datetime.now(UTC)] * 6}), [0, 1] * 3)
        fitted, found = model[-1].fitted_on_, model.predict(frame({"user_id": users}))
        assert fitted.dtype == found.dtype == dtype
        assert bits(fitted.tolist()) == bits(found.tolist())
        assert dtype is object or fitted.tobytes() == found.tobytes()

    @settings(max_examples=30)
    @given(data=st.data())
    def test_whatever_was_written_both_see_the_same_bits(
        self, fresh_directory: Callable[[], Path], data: st.DataObject
    ) -> None:
        """Late, tied, expired, of any type: at one moment the rows of history are the rows served."""
        scenario = data.draw(scenarios().filter(lambda drawn: len(drawn.history) > 4))
        view = dataclasses.replace(scenario.view, available_at="known_at")
        at = data.draw(moments_of_interest(scenario))
        asked = data.draw(questions(scenario))
        with FeatureStore(fresh_directory(), clock=StandingClock(at)) as store:
            store.apply(view)
            store.write(view, as_written(view, scenario.history.sort_by("__seq")))
            store.materialize()
            step = FeatureStoreTransformer(store, view.name, timestamp="the moment")
            fitted = step.fit_transform(asked.append_column("the moment", moments([at] * len(asked))))
            found = step.transform(asked)
        assert fitted.dtype == found.dtype
        assert fitted.shape == found.shape == (len(asked), len(view.features))
        assert bits(fitted.tolist()) == bits(found.tolist())

    def test_rows_without_an_answer_stay_in_place(self, shop: FeatureStore) -> None:
        """A null time gives nulls as a null key does, and no row is lost; no rows at all give an empty matrix."""
        step = FeatureStoreTransformer(shop, NUMBERS)
        X = pd.DataFrame({"user_id": pd.array([2, None, 2], "Int64"), "event_timestamp": [pd.NaT, NOW, NOW]})
        np.testing.assert_array_equal(step.fit_transform(X)[:, 0], [np.nan, np.nan, 20.25])
        assert step.transform(X[:0]).shape == step.transform(X[["user_id"]][:0]).shape == (0, 3)

    @pytest.mark.parametrize("timed", [True, False])
    def test_keys_come_in_any_form(self, shop: FeatureStore, timed: bool) -> None:
        """A frame, a table, a mapping and a list of rows ask the same, with columns that nobody needs or without."""
        step = FeatureStoreTransformer(shop, NUMBERS)
        columns: dict[str, list[Any]] = {"user_id": [1, 4], "colour": ["red", "blue"]}
        if timed:
            columns["event_timestamp"] = [datetime.now(UTC)] * 2
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for X in (columns, pa.table(columns), pl.DataFrame(columns), pd.DataFrame(columns), rows):
            np.testing.assert_array_equal(step.fit(X).transform(X), [[30.5, 2, 1], [np.nan] * 3])


def moments_of_interest(scenario: Scenario) -> st.SearchStrategy[int]:
    """Return a strategy for the moments at which a row comes, others at which an answer may change, and any others."""
    come = scenario.history["__available_at"].cast(pa.int64()).to_pylist()
    first, last = scenario.scale.micros(0), scenario.scale.micros(3 * TICKS)
    changes = [at + step for _, at in scenario.changes() for step in (-1, 0, 1) if first < at < last]
    ticks = st.integers(0, 3 * TICKS).map(scenario.scale.micros)
    return st.one_of(ticks, *(st.sampled_from(near) for near in (come, come, changes) if near))


@st.composite
def questions(draw: st.DrawFn, scenario: Scenario) -> pa.Table:
    """Draw whom to ask for: each entity that occurs, one that doesn't, some twice, some with a null in the key."""
    asked = [*scenario.keys, *draw(st.lists(st.sampled_from(list(scenario.keys)), max_size=3))]
    blank = [draw(st.integers(-5, len(scenario.view.keys) - 1)) for _ in asked]
    columns = {
        key: pa.array([None if gap == i else entity[i] for entity, gap in zip(asked, blank, strict=True)], dtype)
        for i, (key, dtype) in enumerate(scenario.view.keys.items())
    }
    return pa.table(columns)


def as_written(view: FeatureView, history: pa.Table) -> pa.Table:
    """Return rows of history as somebody would write them."""
    names = {"__event_time": view.event_timestamp, "__available_at": view.available_at}
    rows = history.drop_columns(["__seq"])
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


class TestPins:
    def later(self, store: FeatureStore) -> None:
        """Give `spending` a second version, in which an order's amount is in cents."""
        fields = [Field("amount", "int64", "Last order, cents."), *SPENDING.fields[1:]]
        store.apply(dataclasses.replace(SPENDING, version="2.0.0", fields=fields))
        rows = {"amount": [3050], "orders": [2], "subscribed": [True]}
        store.write("spending", {"user_id": [1], "event_timestamp": ago(2), **rows})
        store.materialize()

    def test_a_later_version_changes_nothing_for_a_fitted_step(self, shop: FeatureStore, frame: Frame) -> None:
        """What was fitted keeps its versions, in history and online; what is fitted anew gets the current ones."""
        keys, timed = frame({"user_id": [1]}), frame({"user_id": [1], "event_timestamp": [datetime.now(UTC)]})
        step = FeatureStoreTransformer(shop, "spending.amount").fit(timed)
        self.later(shop)
        assert step.transform(keys).tolist() == step.transform(timed).tolist() == [[30.5]]
        assert step.spec_ == [["spending.amount:v1.0.0", shop.view("spending:v1.0.0").digest]]
        step.fit(timed)
        assert step.transform(keys).tolist() == step.transform(timed).tolist() == [[3050]]

    def test_a_service_means_what_it_meant_when_fitted(self, shop: FeatureStore) -> None:
        """A fitted step keeps the features that its service named then, in their order."""
        step = FeatureStoreTransformer(shop, "model_in").fit({"user_id": [1]})
        shop.apply(dataclasses.replace(MODEL_IN, version="2.0.0", features=("visits.page",)))
        assert list(step.get_feature_names_out()) == ["amount", "orders", "subscribed", "page"]
        assert step.transform({"user_id": [1]}).tolist() == [[30.5, 2, True, "cart"]]
        assert list(step.fit({"user_id": [1]}).get_feature_names_out()) == ["page"]

    def test_a_store_in_which_a_version_means_something_else_is_refused(
        self, shop: FeatureStore, tmp_path: Path
    ) -> None:
        """The same name and version with other content would serve other numbers, so nothing is served."""
        step = FeatureStoreTransformer(shop, "spending.amount").fit({"user_id": [1]})
        with FeatureStore(tmp_path / "other") as other:
            other.apply(dataclasses.replace(SPENDING, ttl="1d"))
            step.set_params(store=other)
            for X in ({"user_id": [1]}, {"user_id": [1], "event_timestamp": [NOW]}):
                with pytest.raises(UnknownReferenceError, match=r"spending.amount:v1.0.0 was fitted with digest .*"):
                    step.transform(X)

    def test_a_store_without_the_version_is_refused(self, shop: FeatureStore, tmp_path: Path) -> None:
        """The error names what is missing."""
        step = FeatureStoreTransformer(shop, "spending.amount").fit({"user_id": [1]})
        with FeatureStore(tmp_path / "empty") as empty, pytest.raises(UnknownReferenceError, match="spending"):
            step.set_params(store=empty).transform({"user_id": [1]})

    def test_features_can_be_named_by_definitions_too(self, shop: FeatureStore) -> None:
        """A view or a service stands for its reference, alone or in a list."""
        for features in (SPENDING, "spending", [SPENDING], ("spending.*",), np.array(["spending.*"])):
            step = FeatureStoreTransformer(shop, features).fit({"user_id": [1]})
            assert step.transform({"user_id": [1]}).tolist() == [[30.5, 2, 1]]
        assert FeatureStoreTransformer(shop, MODEL_IN).fit({"user_id": [1]}).transform({"user_id": [1]}).shape == (1, 4)
