"""Wherever MLflow loads a packaged model: a new process, a real server, MLflow's own batch predictions."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import fs_mlflow
from fs_core import TrainingSet
from fs_sklearn import SKOPS_TRUSTED_TYPES, FeatureStoreTransformer
from tests.core.server.served import NO_TLS
from tests.mlflow_adapter import market
from tests.mlflow_adapter.conftest import REQUIREMENTS, Logged

ROOT = Path(__file__).parents[2]


def environment(store: Path) -> dict[str, str]:
    """What a process elsewhere knows: the tracking server and the store's directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FS_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tracking = {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"], "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**kept, **tracking, "PATH": path, "PYTHONPATH": str(ROOT), "FS_STORE": str(store)}


def as_json(request: Any) -> dict[str, list[Any]]:
    """A request's columns as JSON has them: dates are texts."""
    return {
        name: [x if isinstance(x, int | float | str) else str(x) for x in request[name].tolist()] for name in request
    }


@pytest.fixture(scope="module")
def pipeline(tracking: Path, market_directory: Path, learned: TrainingSet) -> Logged:
    """A scikit-learn pipeline that looks its features up itself, logged by MLflow's own flavour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FS_STORE", str(market_directory))
        step = FeatureStoreTransformer(features=["spending.orders", "spending.amount"])
        rows = learned.to_pandas().query("customer != 7").tail(39)
        model = make_pipeline(step, LogisticRegression()).fit(rows[["customer", "event_timestamp"]], rows["bought"])
        expected = model.predict(rows[["customer"]])
    info = mlflow.sklearn.log_model(model, name="pipeline", skops_trusted_types=SKOPS_TRUSTED_TYPES, **REQUIREMENTS)
    return Logged(info.model_uri, info.model_id, learned, expected)


MODEL_CODE = """
import mlflow
import pandas as pd
from pricing import priced

class Priced(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        return priced(model_input["basket"], model_input["visitors"])

mlflow.models.set_model(Priced())
"""


@pytest.fixture(scope="module")
def from_code(tracking: Path, learned: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """A model from code that needs a module of its own, which nobody can import elsewhere."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "pricing.py").write_text("def priced(basket, visitors):\n    return basket / (1 + visitors)\n")
    (folder / "model.py").write_text(MODEL_CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        info = fs_mlflow.log_model(
            str(folder / "model.py"),
            name="priced",
            training_set=learned,
            inputs=["basket", "visitors"],
            flavor="pyfunc",
            code_paths=[str(folder / "pricing.py")],
            pip_requirements=["pandas"],
        )
    sys.modules.pop("pricing")
    rows = learned.to_pandas().tail(market.CUSTOMERS)
    expected = (rows["basket"] / (1 + rows["visitors"].astype("Int16"))).to_numpy(dtype="float64")
    return Logged(info.model_uri, info.model_id, learned, expected)


def test_a_new_process_predicts_the_same_bits(
    market_directory: Path, boosted: Logged, pipeline: Logged, from_code: Logged
) -> None:
    """With the tracking server and the store's directory alone."""
    keys = boosted.request.query("customer != 7")[["customer"]]
    questions = {boosted.uri: as_json(boosted.request), pipeline.uri: as_json(keys)}
    questions[from_code.uri] = as_json(from_code.request[["shop", "day", "basket"]])
    done = subprocess.run(
        [sys.executable, "-m", "tests.mlflow_adapter.fresh"],
        input=json.dumps(questions),
        cwd=ROOT,
        env=environment(market_directory),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for logged in (boosted, pipeline, from_code):
        answer = answers[logged.uri]
        assert answer["shape"] == list(logged.expected.shape)
        assert answer["dtype"] == str(logged.expected.dtype)
        assert answer["bits"] == logged.expected.tobytes().hex()


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, which is not on this machine")
def test_spark_predicts_the_same_bits(market_directory: Path, boosted: Logged) -> None:
    """As a function on columns, in Spark's own worker process.

    pyspark is for who installs it: beside pandas 3 it ends the process that imports it under a test runner.
    """
    found = importlib.util.find_spec("pyspark")
    if found is None or not (Path(str(found.origin)).parent / "jars").is_dir():
        pytest.skip("pyspark isn't installed, or only its client of a Spark elsewhere")
    done = subprocess.run(
        [sys.executable, "-m", "tests.mlflow_adapter.on_spark"],
        input=json.dumps([boosted.uri, as_json(boosted.request)]),
        cwd=ROOT,
        env={**environment(market_directory), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split()[-1] == boosted.expected.tobytes().hex()


@pytest.fixture(scope="module")
def server(market_directory: Path, boosted: Logged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `mlflow models serve` with the boosted model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["models", "serve", "-m", boosted.uri, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=environment(market_directory),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait(url, process, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def wait(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    """Return when the server answers."""
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/ping", timeout=2, verify=NO_TLS).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"the server never came up:\n{log.read_text()}")


def ask(url: str, columns: dict[str, list[Any]], **more: Any) -> httpx.Response:
    """Post a request in MLflow's form."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": rows}
    return httpx.post(f"{url}/invocations", json={"dataframe_split": split, **more}, timeout=30, verify=NO_TLS)


def test_a_served_model_predicts_the_same_bits(server: str, boosted: Logged) -> None:
    """Over HTTP: keys and baskets as JSON; and as of the times of training if they are sent."""
    found = ask(server, as_json(boosted.request))
    assert found.status_code == 200, found.text
    assert np.array(found.json()["predictions"]).tobytes() == boosted.expected.tobytes()
    rows = boosted.training_set.to_pandas()[["customer", "shop", "day", "event_timestamp", "basket"]]
    then = ask(server, as_json(rows))
    assert np.array(then.json()["predictions"][-market.CUSTOMERS :]).tobytes() == boosted.expected.tobytes()
    assert then.json()["predictions"][: market.CUSTOMERS] != boosted.expected.tolist()


def test_a_served_model_says_what_it_found(server: str, boosted: Logged) -> None:
    """Over HTTP, null and unknown keys and text times among them."""
    columns = as_json(boosted.request.head(3)) | {"customer": [1, None, 999], "event_timestamp": [str(market.NOW)] * 3}
    found = ask(server, columns, params={"status": True})
    assert found.status_code == 200, found.text
    rows = found.json()["predictions"]
    assert [row["spending__status"] for row in rows] == ["present", "missing", "missing"]
    assert [len(row["prediction"]) for row in rows] == [2, 2, 2]


def test_a_served_model_says_what_is_wrong(server: str, boosted: Logged) -> None:
    """A request without a key, or with one that isn't a key, is the caller's fault and says which."""
    columns = as_json(boosted.request.head(1))
    without = ask(server, {name: column for name, column in columns.items() if name != "customer"})
    assert without.status_code == 400
    assert "customer" in without.text
    wrong = ask(server, {**columns, "customer": ["one"]})
    assert wrong.status_code == 400
    unknown = ask(server, {**columns, "customer": [999], "shop": [None]})
    assert unknown.status_code == 200


def test_mlflow_predicts_in_batch(boosted: Logged, here: Path, tmp_path: Path) -> None:
    """`mlflow.models.predict` reads rows from a file and writes predictions to another."""
    request, found = tmp_path / "request.json", tmp_path / "found.json"
    rows = {"columns": list(boosted.request), "data": list(zip(*as_json(boosted.request).values(), strict=True))}
    request.write_text(json.dumps({"dataframe_split": rows}))
    mlflow.models.predict(
        boosted.uri,
        input_path=str(request),
        output_path=str(found),
        content_type="json",
        env_manager="local",
    )
    assert np.array(json.loads(found.read_text())["predictions"]).tobytes() == boosted.expected.tobytes()


def test_a_pipeline_keeps_no_location(pipeline: Logged, market_directory: Path) -> None:
    """A pipeline whose store the environment names has no path in its file."""
    location = Path(mlflow.artifacts.download_artifacts(pipeline.uri))
    import zipfile

    with zipfile.ZipFile(location / "model.skops") as archive:
        assert all(str(market_directory).encode() not in archive.read(name) for name in archive.namelist())
