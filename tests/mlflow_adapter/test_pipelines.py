"""Pipelines that look their features up themselves, logged by MLflow's own flavour; and evaluation by MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.types.schema import AnyType
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline

import fs_mlflow
from fs_core import TrainingSet
from fs_mlflow.packaging.inner import sklearn_types
from fs_sklearn import SKOPS_TRUSTED_TYPES, FeatureStoreTransformer
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS

KEYS = ["customer", "shop", "day"]
FEATURES = ["spending.amount", "spending.orders", "footfall.visitors"]


@pytest.fixture(scope="module")
def pipeline(market_directory: Path, learned: TrainingSet) -> Iterator[Any]:
    """Fitted with times, on features and a basket that only the caller knows; the environment names the store."""
    rows = learned.to_pandas()
    step = FeatureStoreTransformer(features=FEATURES, passthrough=["basket"])
    model = make_pipeline(step, HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FS_STORE", str(market_directory))
        yield model.fit(rows[[*KEYS, "basket", "event_timestamp"]], rows["bought"])


@pytest.fixture(scope="module")
def served(tracking: Path, pipeline: Any, learned: TrainingSet) -> Any:
    """The pipeline, logged with an example of keys alone, as MLflow loads it."""
    asked = market.request(learned, 5)
    info = mlflow.sklearn.log_model(
        pipeline,
        name="pipeline",
        input_example=asked,
        signature=fs_mlflow.infer_signature(asked, pipeline.predict(asked)),
        skops_trusted_types=[*SKOPS_TRUSTED_TYPES, *sklearn_types(pipeline)],
        **REQUIREMENTS,
    )
    return mlflow.pyfunc.load_model(info.model_uri)


def test_times_reach_a_pipeline_that_was_logged_with_keys(served: Any, pipeline: Any, learned: TrainingSet) -> None:
    """A backtest is answered as of its times, whether they are times or text; without times, as of now."""
    asked = market.request(learned)
    past = [market.NOW - timedelta(days=4)] * len(asked)
    then = pipeline.predict(asked.assign(event_timestamp=past))
    now = pipeline.predict(asked)
    assert not np.array_equal(then, now)
    np.testing.assert_array_equal(served.predict(asked), now)
    for times in (past, [at.isoformat() for at in past], pd.to_datetime(past).tz_convert(None)):
        np.testing.assert_array_equal(served.predict(asked.assign(event_timestamp=times)), then)


def test_keys_may_be_null_or_texts(served: Any, pipeline: Any, learned: TrainingSet) -> None:
    """As JSON has them: a missing customer, and the day as text."""
    asked = market.request(learned, 3).assign(customer=pd.array([None, 999, 1], "Int64"))
    texts = asked.assign(day=[day.isoformat() for day in asked["day"]])
    np.testing.assert_array_equal(served.predict(texts), pipeline.predict(asked))


def test_the_signature_asks_for_no_time(served: Any) -> None:
    """The time column is there, and optional."""
    inputs = served.metadata.signature.inputs
    assert inputs.required_input_names() == [*KEYS, "basket"]
    assert inputs.optional_input_names() == ["event_timestamp"]
    made = fs_mlflow.infer_signature({"k": ["a"], "at": [datetime.now(UTC)]}, timestamp="at").inputs
    assert [(spec.name, spec.type, spec.required) for spec in made.inputs][1:] == [("at", AnyType(), False)]


def test_evaluation_measures_a_packaged_model_by_the_label(learned: TrainingSet, tracking: Path, here: Path) -> None:
    """A logged training set is a dataset whose label is the target; the model is asked as of its times."""
    priced = replace(learned, label="basket")
    rows = priced.to_pandas()
    names = ["amount", "orders", "visitors"]
    with mlflow.start_run():
        model = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=2).fit(rows[names], rows["basket"])
        info = fs_mlflow.log_model(model, name="basket", training_set=priced, inputs=names, **REQUIREMENTS)
        dataset = fs_mlflow.log_training_set(priced)
        quick = {"log_model_explainability": False}
        found = mlflow.models.evaluate(info.model_uri, dataset, model_type="regressor", evaluator_config=quick)
    expected = np.abs(model.predict(rows[names]) - rows["basket"]).mean()
    assert found.metrics["mean_absolute_error"] == pytest.approx(expected, rel=1e-12)


def test_a_dataset_hands_its_label_on(learned: TrainingSet) -> None:
    """To whatever of MLflow asks for inputs and outputs; several labels, or none, are no target."""
    dataset = fs_mlflow.from_training_set(learned)
    asked = dataset.to_pyfunc()
    assert dataset.targets == "bought"
    assert "bought" not in asked.inputs.columns
    assert asked.outputs.tolist() == learned.table["bought"].to_pylist()
    for label in (None, ["bought", "basket"]):
        other = fs_mlflow.from_training_set(replace(learned, label=label))
        assert other.targets is None
        assert other.to_pyfunc().outputs is None
