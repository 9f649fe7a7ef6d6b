"""A logged training set: MLflow understands it, and it can be made again."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from mlflow.data.dataset_source_registry import get_registered_sources

import fs_mlflow
from fs_core import FeatureStore, FeatureView, Field, TrainingSet
from fs_core.errors import DataError, SourceError, UnknownReferenceError
from fs_mlflow.dataset import read_spine, write
from tests.mlflow_adapter import market


def log(training_set: TrainingSet, **asked: Any) -> tuple[Any, Any]:
    """Log in a run of its own; return the dataset and the run as MLflow gives it back."""
    with mlflow.start_run() as run:
        dataset = fs_mlflow.log_training_set(training_set, **asked)
    return dataset, mlflow.get_run(run.info.run_id)


@pytest.fixture(scope="module")
def logged(tracking: Path, learned: TrainingSet) -> Any:
    """The run that logged the training set."""
    return log(learned)[1]


def test_mlflow_finds_the_classes_by_entry_points() -> None:
    """The source is registered, and the constructor is a function of mlflow.data."""
    assert fs_mlflow.TrainingSetSource in get_registered_sources()
    assert mlflow.data.from_training_set is fs_mlflow.from_training_set


def test_the_dataset_says_what_it_is(logged: Any, learned: TrainingSet) -> None:
    """Name, digest, schema, profile and context are where MLflow's pages look for them."""
    (entry,) = logged.inputs.dataset_inputs
    assert entry.dataset.name == "spending+footfall"
    assert entry.dataset.digest == learned.fingerprint[:36]
    columns = {column["name"]: column["type"] for column in json.loads(entry.dataset.schema)["mlflow_colspec"]}
    assert list(columns) == learned.table.column_names
    assert (columns["amount"], columns["orders"], columns["day"]) == ("double", "integer", "datetime")
    profile = json.loads(entry.dataset.profile)
    assert profile["num_rows"] == 80
    assert profile["features"]["orders"]["nulls"] == 2
    assert {tag.key: tag.value for tag in entry.tags}["mlflow.data.context"] == "training"


def test_the_run_says_what_it_learned_from(logged: Any, learned: TrainingSet) -> None:
    """Feature versions and digests, the data's state, the rule and its lag are tags to search by."""
    tags = logged.data.tags
    pinned = learned.spec["features"][0]["digest"][:12]
    assert tags["fs.feature.spending.amount"] == f"v1.0.0@{pinned}"
    assert tags["fs.view.spending"] == f"v1.0.0@{pinned}"
    assert (tags["fs.training.rule"], tags["fs.training.lag"], tags["fs.training.label"]) == ("as-of/1", "0s", "bought")
    assert tags["fs.training.snapshot.spending"] == str(learned.spec["snapshots"]["spending"])
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`fs.feature.spending.amount` LIKE '%@{pinned}%'",
        output_format="list",
    )
    assert logged.info.run_id in {run.info.run_id for run in found}


def test_the_source_makes_the_same_bits_again(tmp_path: Path, tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After later writes too, late ones among them, and with nothing but the run and the store's directory."""
    store = market.make(tmp_path / "store")
    monkeypatch.setenv("FS_STORE", str(tmp_path / "store"))
    made = market.training_set(store)
    run = log(made)[1]
    late = {"customer": [1], "event_timestamp": [market.NOW - timedelta(hours=1)], "amount": [9.0], "orders": [9]}
    store.write("spending", {**late, "member": [True]})
    source = mlflow.data.get_source(run.inputs.dataset_inputs[0])
    assert market.training_set(store).fingerprint != made.fingerprint
    assert source.load().table.equals(made.table)
    assert source.load(store).fingerprint == made.fingerprint


def test_a_store_with_another_history_is_refused(tmp_path: Path, logged: Any) -> None:
    """Equal definitions over other rows make another training set; a store without them makes none."""
    source = mlflow.data.get_source(logged.inputs.dataset_inputs[0])
    with FeatureStore(tmp_path / "empty") as empty, pytest.raises(UnknownReferenceError):
        source.load(empty)
    with FeatureStore(tmp_path / "other") as other:
        other.apply(market.orders, market.spending(), market.FOOTFALL)
        times = [market.NOW - timedelta(days=9)]
        amounts = {"amount": [1.0], "orders": [1], "member": [True]}
        other.write("spending", {"customer": [1], "event_timestamp": times, **amounts})
        seen = {"visitors": [1], "weather": ["hail"]}
        other.write("footfall", {"shop": ["north"], "day": [market.today()], "event_timestamp": times, **seen})
        with pytest.raises(DataError, match="its history is another"):
            source.load(other)


def test_a_changed_training_set_is_never_hidden(tracking: Path, market_directory: Path, learned: TrainingSet) -> None:
    """MLflow keeps one dataset of a name and digest: one value, one type or one pin more, and ours is another."""
    other = market.spine()
    other["basket"][0] += 1e-12
    with FeatureStore(market_directory) as store:
        nudged = store.get_historical_features(other, "model_in", label="bought")
        lagged = store.get_historical_features(market.spine(), "model_in", label="bought", lag="1us")
    with mlflow.start_run() as run:
        for made in (learned, nudged, lagged, learned):
            fs_mlflow.log_training_set(made, name="the same name")
    kept = [entry.dataset.digest for entry in mlflow.get_run(run.info.run_id).inputs.dataset_inputs]
    assert sorted(kept) == sorted({made.fingerprint[:36] for made in (learned, nudged, lagged)})
    assert len(kept) == 3


def test_any_run_that_has_it_will_do(tracking: Path, here: Path, learned: TrainingSet) -> None:
    """MLflow keeps the source of the run that came first; if that is gone, another's copy is as good."""
    part, _ = learned.split_by_time(market.NOW - timedelta(days=1))
    first, second = log(part)[1], log(part)[1]
    shutil.rmtree(first.info.artifact_uri)
    source = mlflow.data.get_source(second.inputs.dataset_inputs[0])
    assert source.run_id == first.info.run_id
    assert source.load().fingerprint == part.fingerprint
    shutil.rmtree(second.info.artifact_uri)
    with pytest.raises(SourceError, match=first.info.run_id):
        source.load()


def test_a_dataset_that_no_run_keeps_says_so(learned: TrainingSet) -> None:
    """In its process it is at hand; read back from JSON it isn't, and the error says how to log it."""
    dataset = mlflow.data.from_training_set(learned, name="mine")
    assert (dataset.name, dataset.digest) == ("mine", learned.fingerprint[:36])
    assert dataset.source.load() is learned
    with pytest.raises(SourceError, match="log_training_set"):
        fs_mlflow.TrainingSetSource.from_json(dataset.source.to_json()).load()


def test_wide_training_sets_fit(tmp_path: Path, tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More features than MLflow takes tags at once, and than its source field would hold."""
    names = [f"a_rather_long_name_of_a_feature_{n:03}" for n in range(250)]
    fields = [Field(name, "float32", "A number.") for name in names]
    with FeatureStore(tmp_path / "store") as store:
        store.apply(FeatureView("wide", entity=market.customer, fields=fields, description="Many numbers."))
        values = {name: np.float32([n]) for n, name in enumerate(names)}
        store.write("wide", {"customer": [1], "event_timestamp": [market.NOW], **values})
        made = store.get_historical_features({"customer": [1], "event_timestamp": [market.NOW]}, "wide")
        run = log(made)[1]
        entry = run.inputs.dataset_inputs[0]
        assert len(entry.dataset.source) < 500
        assert sum(tag.startswith("fs.feature.wide.") for tag in run.data.tags) == 250
        assert mlflow.data.get_source(entry).load(store).fingerprint == made.fingerprint


def test_a_schema_beyond_what_mlflow_keeps_is_left_out(learned: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would refuse the whole dataset for it."""
    monkeypatch.setattr("fs_mlflow.dataset._LONGEST_SCHEMA", 100)
    assert json.loads(mlflow.data.from_training_set(learned).to_dict()["schema"]) == {"mlflow_colspec": []}


def test_a_spine_comes_back_in_its_own_types(tmp_path: Path, market_directory: Path) -> None:
    """Also those that Parquet doesn't have."""
    asked = market.spine()
    table = pa.table(asked).append_column("since", pa.array([0] * 80, pa.timestamp("s")))
    table = table.append_column("kind", pa.array(["a", None] * 40).dictionary_encode())
    table = table.append_column("half", pa.array(np.float16([1.5] * 80)))
    with FeatureStore(market_directory) as store:
        write(store.get_historical_features(table, "model_in"), tmp_path)
    assert read_spine(tmp_path / "spine.parquet").equals(table)


def test_what_is_no_training_set_is_refused(learned: TrainingSet) -> None:
    """Before a run is started; a data frame doesn't say what its rows were made from."""
    frame = learned.to_pandas()
    with pytest.raises(DataError, match="training_set is of type DataFrame, not a TrainingSet"):
        fs_mlflow.log_training_set(frame)
    with pytest.raises(DataError, match="training_set is of type DataFrame, not a TrainingSet"):
        fs_mlflow.log_model(object(), name="model", training_set=frame)
    assert mlflow.active_run() is None
