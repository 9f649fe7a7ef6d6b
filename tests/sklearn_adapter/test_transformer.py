"""The step of a pipeline: in which form its answer comes, and what is refused."""

from __future__ import annotations

import dataclasses
import doctest
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder

import fs_sklearn.transformer
from fs_core import FeatureStore, FeatureView, Field
from fs_core.errors import NameClashError, NotOnlineError, SchemaError, UnknownReferenceError
from fs_sklearn import FeatureStoreTransformer
from tests.sklearn_adapter.shop import NOW, USER, VISITS, Recorder, ago, fill

Frame = Callable[[dict[str, Any]], Any]
NUMBERS = ["spending.amount", "spending.orders", "spending.subscribed"]


class TestOutput:
    features = ("model_in", "visits.member_number")
    names = ("amount", "orders", "subscribed", "page", "member_number")

    @pytest.mark.parametrize("timed", [True, False])
    def test_pandas_keeps_types_and_index(self, shop: FeatureStore, frame: Frame, timed: bool) -> None:
        """Whole numbers and booleans with nulls stay such, exact beyond what floats hold; a pandas index is kept."""
        X = frame({"user_id": [3, 1, 2], "event_timestamp": [datetime.now(UTC)] * 3})
        index = pd.RangeIndex(3)
        if isinstance(X, pd.DataFrame):
            index = pd.Index(["c", "a", "b"])
            X = X.set_axis(index, axis=0)
        X = X if timed else X[["user_id"]]
        found = FeatureStoreTransformer(shop, self.features).set_output(transform="pandas").fit_transform(X)
        assert isinstance(found, pd.DataFrame)
        pd.testing.assert_index_equal(found.index, index)
        assert tuple(found.columns) == self.names
        assert [str(t) for t in found.dtypes[["amount", "orders", "subscribed", "member_number"]]] == [
            "float64",
            "Int32",
            "boolean",
            "Int64",
        ]
        assert found["member_number"].tolist() == [pd.NA, 2**53 + 1, pd.NA]
        assert found["subscribed"].tolist() == [pd.NA, True, True]
        assert found["page"].tolist()[:2] == ["home", "cart"]
        assert found["page"].isna().tolist() == [False, False, True]

    def test_an_encoder_fitted_on_known_users_takes_unknown_ones(self, shop: FeatureStore) -> None:
        """The frame's dtypes are the same whoever is asked for, so what follows meets the types it was fitted on."""
        look_up = FeatureStoreTransformer(shop, ["spending.orders", "spending.subscribed"])
        encoders = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["subscribed"])
        model = make_pipeline(look_up, make_column_transformer(encoders, remainder="passthrough"), Recorder())
        model.set_output(transform="pandas").fit(pd.DataFrame({"user_id": [1, 2], "event_timestamp": [NOW, NOW]}))
        for users in ([1], [1, 4], [4], []):
            found = look_up.fit_transform(pd.DataFrame({"user_id": pd.array(users, "Int64")}))
            assert [str(dtype) for dtype in found.dtypes] == ["Int32", "boolean"]
            asked = model.predict(pd.DataFrame({"user_id": pd.array(users, "Int64")})) if users else None
            assert asked is None or asked.dtypes.equals(model[-1].fitted_on_.dtypes)

    @pytest.mark.parametrize("timed", [True, False])
    def test_polars_keeps_types(self, shop: FeatureStore, frame: Frame, timed: bool) -> None:
        """The declared types, nulls as nulls."""
        X = frame({"user_id": [3, 1, 2], "event_timestamp": [datetime.now(UTC)] * 3})
        step = FeatureStoreTransformer(shop, self.features).set_output(transform="polars")
        found = step.fit_transform(X if timed else X[["user_id"]])
        assert isinstance(found, pl.DataFrame)
        types = [pl.Float64, pl.Int32, pl.Boolean, pl.String, pl.Int64]
        assert dict(found.schema) == dict(zip(self.names, types, strict=True))
        assert found["member_number"].to_list() == [None, 2**53 + 1, None]
        assert found["page"].to_list() == ["home", "cart", None]

    @pytest.mark.parametrize(("kind", "made"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
    def test_scikit_learns_configuration_decides_unless_the_step_does(
        self, shop: FeatureStore, frame: Frame, kind: str, made: type
    ) -> None:
        """`set_config` holds for steps that say nothing; a step's own choice, "default" too, is stronger."""
        X = frame({"user_id": [1]})
        silent = FeatureStoreTransformer(shop, NUMBERS).fit(X)
        loud = FeatureStoreTransformer(shop, NUMBERS).fit(X).set_output(transform="default")
        with sklearn.config_context(transform_output=kind):
            assert isinstance(silent.transform(X), made)
            assert isinstance(loud.transform(X), np.ndarray)
            assert isinstance(loud.set_output(transform=None).transform(X), np.ndarray)
        assert isinstance(silent.transform(X), np.ndarray)
        assert isinstance(silent.set_output(transform=kind).transform(X), made)

    def test_an_unknown_form_is_refused(self, shop: FeatureStore) -> None:
        """At once, with the choices."""
        with pytest.raises(ValueError, match="choose 'default', 'pandas' or 'polars'"):
            FeatureStoreTransformer(shop, NUMBERS).set_output(transform="arrow")

    @pytest.mark.parametrize("kind", ["default", "pandas", "polars"])
    def test_it_stands_beside_other_steps(self, shop: FeatureStore, frame: Frame, kind: str) -> None:
        """In a union, which passes all columns on, keys alone are still enough; names show where columns are from."""
        looked_up, rest = FeatureStoreTransformer(shop, NUMBERS), make_column_transformer(("passthrough", ["price"]))
        union = make_union(looked_up, rest).set_output(transform=kind)
        X = frame({"user_id": [1, 2], "price": [5.0, 6.0], "event_timestamp": ago(5, 5)})
        expected = [[10, 1, 0, 5], [20.25, 7, 1, 6]]
        np.testing.assert_array_equal(np.asarray(union.fit_transform(X), dtype=float), expected)
        found = union.transform(X[["user_id", "price"]])
        np.testing.assert_array_equal(np.asarray(found, dtype=float)[0], [30.5, 2, 1, 5])
        names = [*(text.partition(".")[2] for text in NUMBERS), "price"]
        assert [name.rpartition("__")[2] for name in union.get_feature_names_out()] == names
        assert kind == "default" or [name.rpartition("__")[2] for name in found.columns] == names

    @pytest.mark.parametrize("kind", ["default", "pandas", "polars"])
    def test_it_takes_the_columns_it_is_given(self, shop: FeatureStore, frame: Frame, kind: str) -> None:
        """In a column transformer, which picks columns once for all, it answers for those it was given at fit."""
        X = frame({"user_id": [1, 2], "price": [5.0, 6.0], "event_timestamp": ago(5, 5)})
        for columns, amounts in ((["user_id", "event_timestamp"], [10, 20.25]), (["user_id"], [30.5, 20.25])):
            step = (FeatureStoreTransformer(shop, "spending.amount"), columns)
            both = make_column_transformer(step, ("passthrough", ["price"])).set_output(transform=kind)
            expected = np.column_stack([amounts, [5, 6]])
            np.testing.assert_array_equal(np.asarray(both.fit_transform(X)), expected)
            np.testing.assert_array_equal(np.asarray(both.transform(X)), expected)
            assert list(both.get_feature_names_out()) == ["featurestoretransformer__amount", "passthrough__price"]

    @pytest.mark.parametrize("kind", ["default", "pandas", "polars"])
    def test_columns_of_a_request_go_beside_the_features(self, shop: FeatureStore, frame: Frame, kind: str) -> None:
        """Fitted with times it predicts on keys alone, whatever columns are passed through."""
        X = frame({"user_id": [1, 2], "price": [5.0, 6.0], "event_timestamp": ago(5, 5)})
        for passed in (["price"], "price", True):
            step = FeatureStoreTransformer(shop, NUMBERS, passthrough=passed).set_output(transform=kind)
            fitted = step.fit_transform(X, [0, 1])
            np.testing.assert_array_equal(np.asarray(fitted, dtype=float), [[10, 1, 0, 5], [20.25, 7, 1, 6]])
            found = step.transform(X[["user_id", "price"]])
            np.testing.assert_array_equal(np.asarray(found, dtype=float), [[30.5, 2, 1, 5], [20.25, 7, 1, 6]])
            assert list(step.get_feature_names_out()) == ["amount", "orders", "subscribed", "price"]
            with pytest.raises(SchemaError, match="X: there is no column 'price'"):
                step.transform(X[["user_id"]])

    def test_a_column_transformer_comes_after_it(self, shop: FeatureStore) -> None:
        """Encoders of looked-up columns and of the request's own, in one pipeline that was fitted with times."""
        looked_up = FeatureStoreTransformer(shop, ["spending.amount", "visits.page"], passthrough=["colour"])
        encoders = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["page", "colour"])
        model = make_pipeline(looked_up.set_output(transform="pandas"), make_column_transformer(encoders), Recorder())
        X = pd.DataFrame({"user_id": [1, 2], "colour": ["red", "blue"], "event_timestamp": ago(0, 0)})
        model.fit(X, [0, 1])
        found = model.predict(pd.DataFrame({"user_id": [4, 1], "colour": ["blue", "green"]}))
        np.testing.assert_array_equal(found, [[0, 1, 1, 0], [1, 0, 0, 0]])

    def test_full_names_part_features_of_one_name(self, shop: FeatureStore, frame: Frame) -> None:
        """What the error of a clash advises: between views, and with a column that is passed through."""
        shop.apply(dataclasses.replace(VISITS, name="views", fields=[Field("amount", "int64", "Seen.")]))
        X = frame({"user_id": [1], "amount": [3.5]})
        with pytest.raises(NameClashError, match="Pass full_names=True"):
            FeatureStoreTransformer(shop, ["spending.amount", "views"]).fit(X)
        with pytest.raises(NameClashError, match="pass full_names=True"):
            FeatureStoreTransformer(shop, "spending.amount", passthrough=True).fit(X)
        step = FeatureStoreTransformer(shop, ["spending.amount", "views"], passthrough=True, full_names=True).fit(X)
        assert list(step.get_feature_names_out()) == ["spending__amount", "views__amount", "amount"]
        np.testing.assert_array_equal(step.transform(X), [[30.5, np.nan, 3.5]])

    @pytest.mark.parametrize("timed", [True, False])
    def test_status_says_what_is_missing_and_what_expired(self, shop: FeatureStore, frame: Frame, timed: bool) -> None:
        """A column for each view, of history's rows and of those served."""
        X = frame({"user_id": [1, 2, 4], "event_timestamp": [datetime.now(UTC)] * 3})
        step = FeatureStoreTransformer(shop, ["spending.amount", "visits.page"], status=True)
        found = step.set_output(transform="pandas").fit_transform(X if timed else X[["user_id"]])
        assert list(found.columns) == ["amount", "page", "spending__status", "visits__status"]
        assert found["spending__status"].tolist() == ["present", "present", "missing"]
        assert found["visits__status"].tolist() == ["present", "expired", "missing"]

    @pytest.mark.parametrize("timed", [True, False])
    def test_a_view_of_one_row_for_all_answers_every_row(self, shop: FeatureStore, frame: Frame, timed: bool) -> None:
        """A request that needs no key has as many rows as it has."""
        shop.apply(FeatureView("rates", entity=None, fields=[Field("eur", "float64", "EUR.")], description="Rates."))
        shop.write("rates", {"event_timestamp": ago(2), "eur": [1.5]})
        shop.materialize("rates")
        X = frame({"price": [7.0, 8.0], "event_timestamp": ago(1, 1)})
        step = FeatureStoreTransformer(shop, "rates", passthrough=["price"], status=True)
        found = step.set_output(transform="pandas").fit_transform(X if timed else X[["price"]])
        assert found.to_numpy().tolist() == [[1.5, 7.0, "present"], [1.5, 8.0, "present"]]

    def test_it_warns_where_every_row_has_expired(self, shop: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
        """Once, until one is alive again."""
        step = FeatureStoreTransformer(shop, ["visits.page"]).fit({"user_id": [1]})
        counts = []
        for users in ([1, 2], [2, 4], [2], [1], [2]):
            caplog.clear()
            step.transform({"user_id": users})
            counts.append(len([r for r in caplog.records if "view visits: every row that was found" in r.getMessage()]))
        assert counts == [0, 1, 0, 0, 1]

    def test_text_stands_for_times(self, shop: FeatureStore, frame: Frame) -> None:
        """As in a JSON request; the error names row and text."""
        step = FeatureStoreTransformer(shop, "spending.amount").fit(frame({"user_id": [1]}))
        texts = [ago(5)[0].isoformat(), ago(1)[0].strftime("%Y-%m-%dT%H:%M:%SZ"), None]
        X = frame({"user_id": [1, 1, 1], "event_timestamp": texts})
        np.testing.assert_array_equal(step.transform(X), [[10], [30.5], [np.nan]])
        with pytest.raises(SchemaError, match=r"column 'event_timestamp': row 1 holds 'yesterday'.*ISO 8601"):
            step.transform(frame({"user_id": [1, 1], "event_timestamp": [texts[0], "yesterday"]}))

    def test_names_and_numbers_of_columns(self, shop: FeatureStore, frame: Frame) -> None:
        """Names of what goes in and comes out are as in scikit-learn."""
        step = FeatureStoreTransformer(shop, self.features).fit(frame({"user_id": [1], "event_timestamp": ago(1)}))
        assert step.get_feature_names_out().dtype == object
        assert tuple(step.get_feature_names_out()) == self.names
        assert list(step.feature_names_in_) == ["user_id", "event_timestamp"]
        assert step.n_features_in_ == 2
        assert tuple(make_pipeline(step, "passthrough").get_feature_names_out()) == self.names


class TestRefusals:
    @pytest.mark.parametrize("method", ["transform", "get_feature_names_out"])
    def test_what_was_not_fitted_says_so(self, shop: FeatureStore, method: str) -> None:
        """By scikit-learn's own error."""
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(FeatureStoreTransformer(shop, NUMBERS), method)({"user_id": [1]})

    @pytest.mark.parametrize(
        ("X", "message"),
        [
            (np.ones((2, 1)), "X is a NumPy array, which has no column names.*Pass a data frame"),
            (scipy.sparse.eye_array(2), "X is a sparse matrix, which has no column names.*Pass a data frame"),
            ([[1], [2]], "X is a list. Pass an Arrow table, a data frame, a mapping or a list of dicts"),
            (pl.Series([1, 2]), "X is a series without a name"),
            (None, "X is a NoneType"),
            ({"user": [1, 2]}, "X: there is no column 'user_id'. Did you mean 'user'"),
            ({"event_timestamp": ago(1)}, "X: there is no column 'user_id'"),
        ],
    )
    def test_x_without_the_keys_is_refused(self, shop: FeatureStore, X: Any, message: str) -> None:
        """By fit and by transform, with what to do."""
        fitted = FeatureStoreTransformer(shop, NUMBERS).fit({"user_id": [1]})
        for call in (FeatureStoreTransformer(shop, NUMBERS).fit, fitted.transform):
            with pytest.raises(SchemaError, match=message):
                call(X)

    @pytest.mark.parametrize("timed", [True, False])
    def test_keys_and_times_of_other_types_are_refused(self, shop: FeatureStore, frame: Frame, timed: bool) -> None:
        """Text for a number, or a number for a time: the error names the column."""
        step = FeatureStoreTransformer(shop, NUMBERS).fit(frame({"user_id": [1]}))
        with pytest.raises(SchemaError, match="column 'user_id', a key of view 'spending'"):
            step.transform(frame({"user_id": ["one"], **({"event_timestamp": ago(1)} if timed else {})}))
        with pytest.raises(SchemaError, match="'event_timestamp' is int64, not a timestamp"):
            step.transform(frame({"user_id": [1], "event_timestamp": [1]}))

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            (None, "no features are named. Pass features="),
            ("spendings", "Did you mean 'spending'"),
            ("spending.amont", "view 'spending:v1.0.0' has no feature 'amont'. Did you mean 'amount'"),
        ],
    )
    def test_features_that_nobody_defined_are_refused(self, shop: FeatureStore, features: Any, message: str) -> None:
        """When fitted, with what was meant."""
        with pytest.raises(UnknownReferenceError, match=message):
            FeatureStoreTransformer(shop, features).fit({"user_id": [1]})

    def test_a_view_that_is_not_online_has_a_past_only(self, shop: FeatureStore) -> None:
        """It can be learned from; asked on keys alone, the error says why there is no answer."""
        fields = [Field("age", "int8", "Years.")]
        shop.apply(FeatureView("profile", entity=USER, fields=fields, online=False, description="Who a user is."))
        shop.write("profile", {"user_id": [1], "event_timestamp": ago(2), "age": [44]})
        step = FeatureStoreTransformer(shop, "profile")
        assert step.fit_transform({"user_id": [1], "event_timestamp": ago(1)}).tolist() == [[44]]
        with pytest.raises(NotOnlineError, match="online=False"):
            step.transform({"user_id": [1]})


def test_a_second_store_answers_for_the_first(shop: FeatureStore, tmp_path: Path) -> None:
    """A fitted step takes any store with the same definitions: what is fitted with one store serves with another."""
    step = FeatureStoreTransformer(shop, NUMBERS).fit({"user_id": [1]})
    with fill(FeatureStore(tmp_path / "copy")) as copy:
        rows = {"amount": [1.0], "orders": [3], "subscribed": [False]}
        copy.push("spending", {"user_id": [1], "event_timestamp": [NOW], **rows})
        assert step.set_params(store=copy).transform({"user_id": [1]}).tolist() == [[1, 3, 0]]


def test_the_docstrings_example_runs() -> None:
    """It makes a pipeline."""
    results = doctest.testmod(fs_sklearn.transformer)
    assert results.attempted > 0
    assert results.failed == 0
