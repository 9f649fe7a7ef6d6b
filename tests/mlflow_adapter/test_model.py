"""A packaged model: keys in, the training-time prediction out, whatever the request looks like."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fs_mlflow
from fs_core import FeatureStore, TrainingSet
from fs_core.errors import (
    ConfigurationError,
    DefinitionError,
    NotOnlineError,
    OnlineUnavailableError,
    SchemaError,
)
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS, Logged


@pytest.fixture
def loaded(boosted: Logged, here: Path) -> Iterator[Any]:
    """The boosted model, loaded where the environment says the store's directory."""
    model = mlflow.pyfunc.load_model(boosted.uri)
    yield model
    model._model_impl.store.close()


class TestPrediction:
    def test_keys_give_what_training_gave(self, loaded: Any, boosted: Logged) -> None:
        """Bit for bit, for all rows at once and for each alone; the index of the frame doesn't matter."""
        asked = boosted.request.set_axis(range(900, 940), axis=0)
        np.testing.assert_array_equal(loaded.predict(asked), boosted.expected)
        for row in (0, 7, 39):
            np.testing.assert_array_equal(loaded.predict(asked.iloc[[row]]), boosted.expected[[row]])

    def test_predictions_are_logged_with_what_they_were_made_of(
        self, boosted: Logged, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the environment names a request log, without a word in the model's code; and the replay is clean."""
        monkeypatch.setenv("FS_LOG", "bought")
        model = mlflow.pyfunc.load_model(boosted.uri)
        np.testing.assert_array_equal(model.predict(boosted.request), boosted.expected)
        with model._model_impl.store as store:
            logged = store.read_log("bought")
            assert store.replay("bought").counts["equal"] == logged.num_rows == market.CUSTOMERS
        predictions = [json.loads(text) for text in logged["__prediction"].to_pylist()]
        np.testing.assert_array_equal(np.array(predictions)[logged["__row"].to_numpy().argsort()], boosted.expected)

    def test_times_mean_as_of(self, loaded: Any, boosted: Logged) -> None:
        """With the training set's times the rows are those of training, the old ones too; texts are times as well."""
        rows = boosted.training_set.to_pandas()
        asked = rows[["customer", "shop", "day", "event_timestamp", "basket"]]
        then = loaded.predict(asked)
        np.testing.assert_array_equal(then[-market.CUSTOMERS :], boosted.expected)
        assert not np.array_equal(then[: market.CUSTOMERS], boosted.expected)
        spelled = [at.isoformat() for at in rows["event_timestamp"]]
        np.testing.assert_array_equal(loaded.predict(asked.assign(event_timestamp=spelled)), then)
        naive = rows["event_timestamp"].dt.tz_convert(None)
        np.testing.assert_array_equal(loaded.predict(asked.assign(event_timestamp=naive)), then)

    def test_dates_may_be_texts_or_midnights(self, loaded: Any, boosted: Logged) -> None:
        """JSON has no dates and pandas makes times of them; a time of day is none."""
        asked = boosted.request
        for day in (market.today().isoformat(), pd.Timestamp(market.today())):
            np.testing.assert_array_equal(loaded.predict(asked.assign(day=day)), boosted.expected)
        with pytest.raises(SchemaError, match="time of day"):
            loaded.predict(asked.assign(day=pd.Timestamp(market.today()) + timedelta(hours=1)))

    def test_unknown_keys_are_rows_without_features(self, loaded: Any, boosted: Logged) -> None:
        """As are null keys: they predict as customers do of whom nothing is known."""
        asked = boosted.request.head(2).assign(customer=[7, 999], shop=[None, "nowhere"])
        seven, nobody = loaded.predict(asked.assign(basket=1.0))
        np.testing.assert_array_equal(seven, nobody)  # customer 7's row is there, with nulls in it
        for unknown in ([999, None], [None, None], pd.array([999, None], "Int64")):
            np.testing.assert_array_equal(loaded.predict(asked.assign(basket=1.0, customer=unknown)), [seven, nobody])

    def test_a_key_that_pandas_made_another_float_is_refused(self, loaded: Any, boosted: Logged) -> None:
        """Beside a null pandas makes whole numbers floats; above 2**53 nobody knows which one it was."""
        with pytest.raises(SchemaError, match=r"column 'customer'.*Int64"):
            loaded.predict(boosted.request.head(2).assign(customer=[1234567890123456789, None]))

    def test_an_override_replaces_the_look_up(self, loaded: Any, boosted: Logged) -> None:
        """A column that was allowed counts as sent; nulls in it too."""
        asked = boosted.request
        amounts = boosted.training_set.to_pandas()["amount"].tail(market.CUSTOMERS).to_numpy()
        np.testing.assert_array_equal(loaded.predict(asked.assign(amount=amounts)), boosted.expected)
        assert not np.array_equal(loaded.predict(asked.assign(amount=0.0)), boosted.expected)
        gone = loaded.predict(asked.assign(customer=7))
        known = loaded.predict(asked.assign(amount=np.nan, customer=7))
        np.testing.assert_array_equal(known, gone)

    def test_other_features_can_not_be_sent(
        self, loaded: Any, boosted: Logged, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MLflow leaves a column out that the signature doesn't have, and says so."""
        monkeypatch.setattr(logging.getLogger("mlflow"), "propagate", True)
        found = loaded.predict(boosted.request.assign(orders=0))
        np.testing.assert_array_equal(found, boosted.expected)
        assert "orders" in caplog.text

    def test_what_is_missing_or_wrong_is_named(self, loaded: Any, boosted: Logged) -> None:
        """A key, a request-time column, a type."""
        asked = boosted.request
        for column in ("customer", "basket"):
            with pytest.raises(MlflowException, match=column):
                loaded.predict(asked.drop(columns=column))
        with pytest.raises(SchemaError, match="'customer'"):
            loaded.predict(asked.assign(customer="one"))
        with pytest.raises(SchemaError, match="'day'"):
            loaded.predict(asked.assign(day=7))


class TestStatus:
    def test_a_null_key_an_unknown_one_and_text_times_say_what_was_found(self, loaded: Any, boosted: Logged) -> None:
        """The prediction stays what it is; beside it each row says of each view whether it was there."""
        asked = boosted.request.head(3).assign(
            customer=pd.array([None, 999, 1], "Int64"), shop=["north", None, "south"]
        )
        spending, footfall = ["missing", "missing", "present"], ["present", "missing", "present"]
        now = datetime.now(UTC)
        times = [now.isoformat(), now.strftime("%Y-%m-%dT%H:%M:%SZ"), now.isoformat()]
        for request in (asked, asked.assign(event_timestamp=times)):
            found = loaded.predict(request, params={"status": True})
            assert list(found.columns) == ["prediction", "spending__status", "footfall__status"]
            assert found["spending__status"].tolist() == spending
            assert found["footfall__status"].tolist() == footfall
            np.testing.assert_array_equal(np.array(found["prediction"].tolist()), loaded.predict(request))
        with pytest.raises(SchemaError, match=r"'event_timestamp': row 1 holds 'now'.*ISO 8601"):
            loaded.predict(asked.assign(event_timestamp=[times[0], "now", None]))

    def test_rows_that_expired_say_so_and_the_log_warns(
        self, loaded: Any, boosted: Logged, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As of a moment that is too late; and where all that is online is too old, the log says it."""
        late = (market.NOW + timedelta(days=40)).isoformat()
        asked = boosted.request.head(2)
        found = loaded.predict(asked.assign(event_timestamp=late), params={"status": True})
        assert found["footfall__status"].tolist() == ["expired", "expired"]
        assert found["spending__status"].tolist() == ["present", "present"]
        read = loaded._model_impl.store.get_online_features

        def later(*asked: Any, **options: Any) -> Any:
            return read(*asked, at=late, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loaded._model_impl.store, "get_online_features", later)
            loaded.predict(asked)
        assert [r for r in caplog.records if "view footfall: every row that was found online" in r.getMessage()]


class TestDescription:
    def test_the_signature_is_what_callers_send(self, loaded: Any) -> None:
        """Keys and request-time columns are required, times and overrides are not."""
        inputs = loaded.metadata.signature.inputs
        assert inputs.required_input_names() == ["customer", "shop", "day", "basket"]
        assert inputs.optional_input_names() == ["amount", "event_timestamp"]
        assert [str(kind) for kind in inputs.input_types()[:2]] == ["Any", "DataType.string"]

    def test_the_example_is_a_request(self, loaded: Any) -> None:
        """What MLflow shows to copy from predicts as it is."""
        assert list(loaded.input_example.columns) == ["customer", "shop", "day", "basket"]
        assert loaded.predict(loaded.input_example).shape == (5, 2)

    def test_requirements_are_named_by_us_where_nobody_does(
        self, tracking: Path, here: Path, learned: TrainingSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the model is made of, in installed versions: MLflow needn't load it once more to find out."""
        monkeypatch.setattr("mlflow.models.infer_pip_requirements", lambda *_, **__: pytest.fail("it was inferred"))
        rows = learned.to_pandas().tail(market.CUSTOMERS)
        model = make_pipeline(StandardScaler(), LinearRegression()).fit(rows[["visitors"]], rows["basket"])
        info = fs_mlflow.log_model(model, name="named", training_set=learned, inputs=["visitors"])
        needed = (Path(mlflow.artifacts.download_artifacts(info.model_uri)) / "requirements.txt").read_text().split()
        for package in ("scikit-learn", "numpy", "skops", "pandas", "fs-core"):
            assert f"{package}=={version(package)}" in needed
        assert len(needed) == len(set(needed))

    def test_requirements_and_flavor_are_said(self, boosted: Logged) -> None:
        """What the model needs, and us; our own part is JSON, with the model in its flavour beside it."""
        folder = Path(mlflow.artifacts.download_artifacts(boosted.uri))
        needed = (folder / "requirements.txt").read_text().split()
        assert "scikit-learn" in needed
        assert any(line.startswith("fs-core==") for line in needed)
        kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert {"data/packaged/features.json", "data/packaged/model/model.skops"} <= kept
        assert not any(name.endswith((".pkl", ".pickle", ".pyc")) for name in kept)

    def test_the_store_is_named_by_configuration(
        self, boosted: Logged, market_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is passed when the model is loaded goes before the environment; without either the error says how."""
        monkeypatch.setenv("FS_STORE", str(tmp_path))
        with FeatureStore(market_directory) as store:
            for folder in (str(market_directory), store):
                model = mlflow.pyfunc.load_model(boosted.uri, model_config={"fs_store": folder})
                np.testing.assert_array_equal(model.predict(boosted.request), boosted.expected)
                model._model_impl.store.close()
        unreachable = {"fs_store": str(market_directory), "fs_online": "redis://localhost:1/0"}
        model = mlflow.pyfunc.load_model(boosted.uri, model_config=unreachable)
        with pytest.raises(OnlineUnavailableError):
            model.predict(boosted.request)
        model._model_impl.store.close()
        monkeypatch.delenv("FS_STORE")
        with pytest.raises(ConfigurationError, match="FS_STORE"):
            mlflow.pyfunc.load_model(boosted.uri)


class TestLogging:
    def test_a_lagged_training_set_is_refused(self, tracking: Path, market_directory: Path) -> None:
        """Nothing online is ever like its rows, so nothing is logged."""
        with FeatureStore(market_directory) as store:
            lagged = store.get_historical_features(market.spine(), "spending.amount", lag="1d")
        before = len(fs_mlflow.models_using("spending.amount"))
        with pytest.raises(NotOnlineError, match="lag='1d'"):
            fs_mlflow.log_model(LinearRegression(), name="lagged", training_set=lagged)
        assert len(fs_mlflow.models_using("spending.amount")) == before

    @pytest.mark.parametrize(
        ("asked", "error", "says"),
        [
            ({"inputs": ["amuont"]}, SchemaError, "Did you mean 'amount'"),
            ({"inputs": ["amount", "bought"]}, SchemaError, "is the label"),
            ({"inputs": ["customer", "event_timestamp"]}, SchemaError, "FeatureStoreTransformer"),
            ({"inputs": ["amount"], "overrides": ["orders"]}, SchemaError, "no column 'orders'"),
            ({"flavor": "no_such"}, ConfigurationError, "no_such"),
        ],
    )
    def test_what_can_not_be_packaged_is_refused(
        self, tracking: Path, learned: TrainingSet, asked: dict[str, Any], error: type[Exception], says: str
    ) -> None:
        """Inputs that nobody can send or that aren't there, overrides of nothing, flavours of nobody."""
        with pytest.raises(error, match=says):
            fs_mlflow.log_model(LinearRegression(), name="wrong", training_set=learned, **asked)

    def test_a_model_of_no_known_kind_is_refused(self, tracking: Path, learned: TrainingSet) -> None:
        """The error says which flavours there are and the way round."""
        with pytest.raises(ConfigurationError, match="PythonModel"):
            fs_mlflow.log_model(object(), name="what", training_set=learned)

    def test_definitions_may_come_from_the_store(
        self, tracking: Path, here: Path, learned: TrainingSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A training set that was read from elsewhere has none; then the store is asked, or asked for."""
        from dataclasses import replace

        bare = replace(learned, views=(), store=None)
        assert bare.fingerprint == learned.fingerprint
        rows = learned.to_pandas()
        model = HistGradientBoostingClassifier(max_iter=2).fit(rows[["orders"]], rows["bought"])
        info = fs_mlflow.log_model(model, name="bare", training_set=bare, **REQUIREMENTS)
        loaded = mlflow.pyfunc.load_model(info.model_uri)
        expected = model.predict(rows[["orders"]])[-market.CUSTOMERS :]
        np.testing.assert_array_equal(loaded.predict(market.request(learned)[["customer"]]), expected)
        loaded._model_impl.store.close()
        monkeypatch.delenv("FS_STORE")
        with pytest.raises(ConfigurationError, match="Pass store="):
            fs_mlflow.log_model(model, name="bare", training_set=bare, **REQUIREMENTS)

    def test_a_matrix_is_a_matrix(self, tracking: Path, here: Path, learned: TrainingSet) -> None:
        """A model fitted on an array gets an array, in the dtype that the types alone decide."""
        from fs_core.values.matrix import to_matrix

        asked = ["basket", "visitors", "amount"]
        kept = learned.table.select(asked).drop_null()
        X, y = to_matrix(kept), np.arange(len(kept))
        model = LinearRegression().fit(X, y)
        info = fs_mlflow.log_model(model, name="matrix", training_set=learned, inputs=asked, **REQUIREMENTS)
        loaded = mlflow.pyfunc.load_model(info.model_uri)
        request = market.request(learned).query("customer != 7")
        np.testing.assert_array_equal(loaded.predict(request), model.predict(X)[-len(request) :])
        loaded._model_impl.store.close()

    def test_an_encoding_of_other_columns_is_refused(self, tracking: Path, learned: TrainingSet) -> None:
        """Inputs given twice have to agree."""
        from fs_core.encoding import Encoding

        encoding = Encoding.fit(learned, features=["amount"])
        with pytest.raises(DefinitionError, match="what the encoding encodes"):
            fs_mlflow.log_model(
                LinearRegression(), name="two", training_set=learned, inputs=["orders"], encoding=encoding
            )


def test_the_day_is_a_date(learned: TrainingSet) -> None:
    """These tests are about real dates: keys that MLflow has no type for."""
    assert isinstance(learned.table["day"][0].as_py(), dt.date)
