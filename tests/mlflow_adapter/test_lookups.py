"""One view, looked up for origin and destination: the same bits in a pipeline, a loader and a packaged model."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader

import fs_mlflow
from fs_core import Encoding, FeatureLookup, FeatureStore
from fs_sklearn import FeatureStoreTransformer
from fs_torch import FeatureDataset, OnlineFeatures
from tests.core.retrieval.test_lookup import AIRPORT, RATES, START, WEATHER
from tests.mlflow_adapter.conftest import REQUIREMENTS
from tests.mlflow_adapter.test_elsewhere import ROOT, environment

KEYS = {"origin": ["JFK", "EWR"], "dest": ["EWR", "JFK"]}
FEATURES = ["weather.temp", FeatureLookup("weather.temp", keys={"origin": "dest"}, prefix="dest_"), "rates.eur"]
EXPECTED = np.array([[1.5, 3.5, 1.2], [3.5, 1.5, 1.2]])


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with two airports' weather of today, online."""
    store = FeatureStore(tmp_path / "store")
    store.apply(AIRPORT, WEATHER, RATES)
    now = datetime.now(UTC)
    store.push("weather", {"origin": ["JFK", "EWR"], "event_timestamp": [now, now], "temp": [1.5, 3.5], "wind": [1, 2]})
    store.write("rates", {"event_timestamp": [START], "eur": [1.2]})
    store.materialize()
    return store


def test_a_pipeline_serves_origin_and_destination_as_it_learned_them(store: FeatureStore) -> None:
    """As-of rows and rows of now are the same matrix, and the pipeline predicts the same from both."""
    flights = pd.DataFrame({**KEYS, "event_timestamp": [pd.Timestamp.now("UTC")] * 2})
    transformer = FeatureStoreTransformer(store, FEATURES)
    model = make_pipeline(transformer, LinearRegression()).fit(flights, [0.0, 1.0])
    keys = flights[["origin", "dest"]]
    assert transformer.transform(flights).tobytes() == EXPECTED.tobytes()
    assert transformer.transform(keys).tobytes() == EXPECTED.tobytes()
    assert model.predict(keys).tobytes() == model.predict(flights).tobytes()
    assert list(transformer.get_feature_names_out()) == ["temp", "dest_temp", "eur"]


def test_a_loader_and_an_online_reader_give_the_same_tensors(store: FeatureStore) -> None:
    """What the loader yields of the training set is what the reader serves now, bit for bit."""
    rows = {**KEYS, "event_timestamp": [datetime.now(UTC)] * 2, "late": [0.0, 1.0]}
    training = store.get_historical_features(rows, FEATURES, label="late")
    ((batch, _),) = DataLoader(FeatureDataset(training), batch_size=2)
    served = OnlineFeatures(store, training.spec, Encoding.fit(training))(KEYS)
    assert batch.numpy().tobytes() == served.numpy().tobytes() == EXPECTED.astype("float32").tobytes()


def test_a_packaged_model_looks_both_up_in_a_new_process(tracking: Path, store: FeatureStore) -> None:
    """With the tracking server and the store's directory alone, it predicts what it did when it was trained."""
    rows = {**KEYS, "event_timestamp": [datetime.now(UTC)] * 2, "late": [0.0, 1.0]}
    training = store.get_historical_features(rows, FEATURES, label="late")
    model = LinearRegression().fit(EXPECTED, [0.0, 1.0])
    with mlflow.start_run():
        info = fs_mlflow.log_model(model, name="flights", training_set=training, **REQUIREMENTS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.mlflow_adapter.fresh"],
        input=json.dumps({info.model_uri: KEYS}),
        cwd=ROOT,
        env=environment(Path(store.directory)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[info.model_uri]["bits"] == model.predict(EXPECTED).tobytes().hex()
