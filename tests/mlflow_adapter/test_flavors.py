"""Models of every kind: tensors by the stored encoding, frames, flavours of others; and what importing us costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import fs_mlflow
from fs_core import FeatureStore, TrainingSet
from fs_core.encoding import Encoding
from fs_core.errors import DefinitionError
from tests.mlflow_adapter import market

TEXTS = ["amount", "orders", "weather", "basket"]
LAST = slice(-market.CUSTOMERS, None)


def test_torch_by_an_encoding(tracking: Path, here: Path, learned: TrainingSet, tmp_path: Path) -> None:
    """Words, fills and a request-time column become the tensor of training; a changed encoding is refused."""
    torch = pytest.importorskip("torch")
    encoding = Encoding.fit(learned, features=TEXTS, fill={"orders": 0, "amount": 0}, mask=["orders"])
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(encoding.width, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    info = fs_mlflow.log_model(model, name="torch", training_set=learned, encoding=encoding, pip_requirements=["torch"])
    with torch.no_grad():
        expected = model(torch.from_numpy(encoding.matrix(learned.table.slice(market.CUSTOMERS)))).numpy()
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(loaded.predict(market.request(learned)), expected)
    assert loaded.predict(market.request(learned, 1)).shape == (1, 1)
    loaded._model_impl.store.close()

    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    (file,) = folder.rglob("encoding.json")
    whole = file.read_text()
    try:
        file.write_text(whole.replace('"rain"', '"snow"'))
        with pytest.raises(DefinitionError, match=r"encoding\.json has digest"):
            mlflow.pyfunc.load_model(str(folder))
        file.unlink()
        with pytest.raises(DefinitionError, match=r"encoding\.json can't be read"):
            mlflow.pyfunc.load_model(str(folder))
    finally:
        file.write_text(whole)


def test_torch_by_the_default_encoding(tracking: Path, here: Path, learned: TrainingSet) -> None:
    """Without one of its own a model gets what `FeatureDataset` would give it."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(1, 2)
    info = fs_mlflow.log_model(
        model, name="plain", training_set=learned, inputs=["amount"], flavor="pytorch", pip_requirements=["torch"]
    )
    matrix = Encoding.fit(learned, features=["amount"]).matrix(learned.table)
    expected = model(torch.from_numpy(matrix)).detach().numpy()[LAST]
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(loaded.predict(market.request(learned)[["customer"]]), expected)
    loaded._model_impl.store.close()


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)  # Keras saving with NumPy 2.4
@pytest.mark.parametrize("layout", ["matrix", "columns"])
def test_keras(tracking: Path, here: Path, learned: TrainingSet, layout: str) -> None:
    """One input gets the matrix, named inputs get an array each; which it is, the model says itself."""
    pytest.importorskip("tensorflow")
    import keras

    encoding = Encoding.fit(learned, features=["amount", "basket"], fill=0)
    keras.utils.set_random_seed(7)
    if layout == "matrix":
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        inputs: Any = encoding.matrix(learned.table)[LAST]
    else:
        named = {name: keras.Input((1,), name=name) for name in ("amount", "basket")}
        model = keras.Model(named, keras.layers.Dense(3)(keras.layers.Concatenate()(list(named.values()))))
        inputs = {name: array[LAST] for name, array in encoding.encode(learned.table).items()}
    expected = model.predict(inputs, verbose=0)
    info = fs_mlflow.log_model(
        model, name=f"keras_{layout}", training_set=learned, encoding=encoding, pip_requirements=["keras"]
    )
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(loaded.predict(market.request(learned)[["customer", "basket"]]), expected)
    loaded._model_impl.store.close()


def test_ages_count_from_the_moment_asked_for(tracking: Path, market_directory: Path) -> None:
    """As of a row's time they are those of training; on keys alone they count to the moment of the read."""
    asked = market.spine()
    opened = [at - timedelta(days=n % 5 + 1) for n, at in enumerate(asked["event_timestamp"])]
    with FeatureStore(market_directory) as store:
        made = store.get_historical_features({**asked, "opened": opened}, "spending.orders", label="bought")
        fills = {"fill": {"orders": 0}, "dtype": "float64"}
        encoding = Encoding.fit(made, features=["orders", "opened"], ages=["opened"], **fills)
        X = encoding.matrix(made.table)
        model = LinearRegression().fit(X, X[:, 1])  # it predicts the age in seconds
        info = fs_mlflow.log_model(
            model, name="ages", training_set=made, encoding=encoding, pip_requirements=["scikit-learn"]
        )
        loaded = mlflow.pyfunc.load_model(info.model_uri, model_config={"fs_store": store})
        rows = made.to_pandas()
        then = rows[["customer", "event_timestamp", "opened"]]
        np.testing.assert_array_equal(loaded.predict(then), model.predict(X))
        spelled = then.assign(opened=[at.isoformat() for at in rows["opened"]])
        np.testing.assert_array_equal(loaded.predict(spelled), model.predict(X))
        before = datetime.now(UTC)
        (age,) = loaded.predict(pd.DataFrame({"customer": [1], "opened": [market.NOW.isoformat()]}))
        after = datetime.now(UTC)
        assert (before - market.NOW).total_seconds() - 1e-3 <= age <= (after - market.NOW).total_seconds() + 1e-3


def test_a_flavor_of_others(tracking: Path, here: Path, learned: TrainingSet) -> None:
    """Any module with `save_model` will do, as XGBoost's and LightGBM's have it; its settings reach it."""
    flavor = ModuleType("mlflow.thirds")
    seen: dict[str, Any] = {}

    def save_model(model: Any, path: str, **settings: Any) -> None:
        seen.update(settings)
        mlflow.sklearn.save_model(model, path, pip_requirements=["scikit-learn"])

    flavor.save_model = save_model  # type: ignore[attr-defined]
    rows = learned.to_pandas().tail(market.CUSTOMERS)
    model = LinearRegression().fit(rows[["visitors"]], rows["basket"])
    info = fs_mlflow.log_model(model, name="thirds", training_set=learned, flavor=flavor, depth=3)
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    expected = model.predict(rows[["visitors"]])
    np.testing.assert_array_equal(loaded.predict(market.request(learned)[["shop", "day"]]), expected)
    loaded._model_impl.store.close()
    assert seen == {"depth": 3}


def test_importing_us_loads_no_mlflow() -> None:
    """Until the first use; a name that isn't there is an error as usual."""
    program = "import sys, fs_mlflow; print('mlflow' in sys.modules, 'pandas' in sys.modules, dir(fs_mlflow) != [])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
    with pytest.raises(AttributeError, match="log_modle"):
        fs_mlflow.log_modle  # noqa: B018
    assert sorted(fs_mlflow.__all__) == list(fs_mlflow.__all__)


def test_mlflow_stays_in_its_room() -> None:
    """No other package of ours imports it."""
    root = Path(str(fs_mlflow.__file__)).parents[1]
    for package in ("fs_core", "fs_sklearn", "fs_torch", "fs_tf"):
        for file in (root / package).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(file.read_text())))
            names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
            names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
            assert not any(name.partition(".")[0] in ("mlflow", "fs_mlflow") for name in names), file
