"""One MLflow, one store, and the models that several tests ask about; all made once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from fs_core import FeatureStore, TrainingSet
from tests.mlflow_adapter import market

HERE = Path(__file__).parent
REQUIREMENTS = {"pip_requirements": ["scikit-learn"]}  # else MLflow works them out, in a process of its own
# What mlflow 3.17 does with sqlalchemy 2.1 and pandas 3.1; nothing of ours.
KNOWN = [
    "ignore:The ``noload`` loader strategy is deprecated",
    "ignore:Operation with range is deprecated",
    "ignore:.*Any type hint is inferred as AnyType",
    "ignore:The inplace keyword in DataFrame.drop is deprecated",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let MLflow's own warnings pass in these tests, and no other."""
    for item in items:
        if HERE in Path(item.path).parents:
            for known in KNOWN:
                item.add_marker(pytest.mark.filterwarnings(known))


@dataclass(frozen=True)
class Logged:
    """A model as MLflow has it.

    Attributes:
        uri: what loads it.
        model_id: MLflow's name for it.
        training_set: what it learned from.
        expected: what it predicted, when it was trained, for the training set's rows of now.
    """

    uri: str
    model_id: str
    training_set: TrainingSet
    expected: Any

    @property
    def request(self) -> Any:
        """What a caller sends to get that."""
        return market.request(self.training_set)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """MLflow's default, a SQLite file and artifacts beside it, in a directory of its own."""
    import mlflow

    folder = tmp_path_factory.mktemp("tracking")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("market", artifact_location=str(folder / "artifacts")))
    yield folder
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(scope="session")
def market_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a filled store that nobody changes."""
    directory = tmp_path_factory.mktemp("market")
    market.make(directory).close()
    return directory


@pytest.fixture
def here(market_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The market's directory, set in the environment."""
    monkeypatch.setenv("FS_STORE", str(market_directory))
    return market_directory


@pytest.fixture(scope="session")
def learned(market_directory: Path) -> TrainingSet:
    """The training set of every model here."""
    with FeatureStore(market_directory) as store:
        return market.training_set(store)


@pytest.fixture(scope="session")
def boosted(tracking: Path, learned: TrainingSet) -> Logged:
    """Gradient boosting on a data frame: nulls, whole numbers, a request-time column, one feature to override."""
    import mlflow

    import fs_mlflow

    rows = learned.to_pandas()
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=2).fit(rows[market.INPUTS], rows["bought"])
    with mlflow.start_run():
        fs_mlflow.log_training_set(learned)
        info = fs_mlflow.log_model(
            model,
            name="boosted",
            training_set=learned,
            overrides=["amount"],
            pyfunc_predict_fn="predict_proba",
            registered_model_name="bought",
            **REQUIREMENTS,
        )
    expected = model.predict_proba(rows[market.INPUTS])[-market.CUSTOMERS :]
    assert len(np.unique(expected)) > market.CUSTOMERS
    return Logged(info.model_uri, info.model_id, learned, expected)
