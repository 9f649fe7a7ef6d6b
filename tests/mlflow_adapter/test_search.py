"""Which models use a feature: answered by MLflow's search alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from sklearn.dummy import DummyRegressor

import fs_mlflow
from fs_core import FeatureStore
from fs_core.errors import DefinitionError
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS, Logged


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A market with two versions of spending."""
    with FeatureStore(tmp_path_factory.mktemp("versions")) as made:
        market.fill(made)
        made.apply(market.spending(version="2.0.0", source=None))
        yield made


@pytest.fixture(scope="module")
def models(tracking: Path, store: FeatureStore) -> dict[str, str]:
    """Three models, in two experiments: of two versions of spending, and of footfall; ids by name."""
    found, aside = {}, "aside"
    mlflow.create_experiment(aside, artifact_location=str(tracking / aside))
    for name, refs in {
        "first": ["spending.amount:v1.0.0", "footfall.visitors"],
        "second": ["spending.amount:v2.0.0", "spending.orders:v2.0.0"],
        "third": ["footfall.visitors", "footfall.weather"],
    }.items():
        made = store.get_historical_features(market.spine(), refs, label="bought")
        numbers = [column for column in made.features if column != "weather"]
        model = DummyRegressor().fit(made.to_pandas()[numbers], made.table["bought"].to_numpy())
        mlflow.set_experiment(aside if name == "third" else "market")
        info = fs_mlflow.log_model(model, name=name, training_set=made, inputs=numbers, **REQUIREMENTS)
        found[info.model_id] = name
    mlflow.set_experiment("market")
    return found


@pytest.mark.parametrize("feature", ["spending.amount", "spending.orders", "footfall.visitors", "footfall.weather"])
def test_the_registry_says_the_same(models: dict[str, str], store: FeatureStore, feature: str) -> None:
    """The store's own lineage, asked without MLflow, names the same models."""
    known = {node.body["model_id"] for node in store.lineage.models_using(feature)}
    assert known == {model.model_id for model in fs_mlflow.models_using(feature) if model.model_id in models}
    assert {models[model_id] for model_id in known} == using(feature, models)


def using(reference: str, models: dict[str, str]) -> set[str]:
    """The names of those of our models that use a feature."""
    return {models[model.model_id] for model in fs_mlflow.models_using(reference) if model.model_id in models}


def test_models_are_found_by_feature_view_version_and_digest(models: dict[str, str]) -> None:
    """In every experiment; a feature that a training set had but the model doesn't take doesn't count."""
    assert using("spending.amount", models) == {"first", "second"}
    assert using("spending.orders", models) == {"second"}
    assert using("spending", models) == {"first", "second"}
    assert using("spending.amount:v1.0.0", models) == {"first"}
    assert using("spending:v2.0.0", models) == {"second"}
    assert using(f"spending.amount@{market.spending().digest[:9]}", models) == {"first"}
    assert using("footfall.visitors", models) == {"first", "third"}
    assert using("footfall.weather", models) == set()
    assert using("nothing.at_all", models) == set()


def test_a_moment_can_not_be_searched_for(tracking: Path) -> None:
    """What was current then is a store's knowledge."""
    with pytest.raises(DefinitionError, match="by time"):
        fs_mlflow.models_using("spending@2024-01-15T10:30:00Z")


def test_mlflows_own_search_says_the_same(models: dict[str, str]) -> None:
    """One filter string, for people who write their own."""
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    found = mlflow.search_logged_models(
        experiment_ids=experiments,
        filter_string="tags.`fs.feature.spending.amount` LIKE 'v1.0.0@%'",
        output_format="list",
    )
    assert {model.model_id for model in found} & set(models) == {
        model_id for model_id, name in models.items() if name == "first"
    }


def test_a_registered_model_has_the_tags_too(boosted: Logged) -> None:
    """And so does the model that was logged, whose fingerprint leads to its training set."""
    (version,) = mlflow.MlflowClient().search_model_versions("name='bought'")
    assert version.tags["fs.feature.spending.amount"].startswith("v1.0.0@")
    assert version.tags["fs.fingerprint"] == boosted.training_set.fingerprint
    logged = mlflow.get_logged_model(boosted.model_id)
    assert logged.tags["fs.rule"] == "as-of/1"
    key = f"fs.training_set.{logged.tags['fs.fingerprint'][:36]}"
    runs = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`{key}` = 'training'", output_format="list"
    )
    assert logged.source_run_id in {run.info.run_id for run in runs}


def test_stages_and_aliases_reach_the_lineage(boosted: Logged, market_directory: Path, tmp_path: Path) -> None:
    """They move in MLflow's registry; a store that never heard of a model learns of it too."""
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("bought", "production", "1")
    with FeatureStore(market_directory) as store:
        assert "bought/1" in fs_mlflow.refresh_lineage(store)
        (model,) = [node for node in store.lineage.models_using("spending.amount") if node.name == "bought/1"]
        assert (model.body["aliases"], model.body["model_id"]) == (["production"], boosted.model_id)
        pins = {pin["ref"]: pin["digest"] for pin in model.body["features"]}
        assert pins["spending.amount:v1.0.0"] == market.spending().digest
        client.delete_registered_model_alias("bought", "production")
        fs_mlflow.refresh_lineage(store)
        (model,) = [node for node in store.lineage.models_using("spending.amount") if node.name == "bought/1"]
        assert model.body["aliases"] == []
    with FeatureStore(tmp_path) as other:
        other.apply(market.orders, market.spending(), market.FOOTFALL)
        fs_mlflow.refresh_lineage(other)
        assert "bought/1" in [node.name for node in other.lineage.models_using("spending.orders")]
