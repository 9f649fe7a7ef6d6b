"""The flights demo in MLflow: a run, its dataset, a packaged model, and a served prediction.

    python -m examples.mlflow_flights

MLflow keeps runs and models in SQLite beside the store, all in a temporary directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa

import fs_mlflow
from examples.flights import data, serve, train
from examples.flights.__main__ import DEFINITIONS, VIEWS
from fs_core import FeatureStore, TrainingSet
from fs_core.values.matrix import to_matrix

FEATURE = "plane_history.last_arr_delay"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; return 0 if what was served over HTTP is what the model says as of that moment, else 1."""
    parser = argparse.ArgumentParser(prog="python -m examples.mlflow_flights", description=__doc__)
    parser.add_argument("--limit", type=int, default=20_000, help="learn from the latest flights only")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        raw = data.prepare(Path(directory, "data"), limit=options.limit)
        store.apply(DEFINITIONS)
        for view in VIEWS:
            store.backfill(view)
        store.materialize()
        spine = train.spine(Path(directory, "data"), raw.study_end)
        training = store.get_historical_features(spine, train.SERVICE, timestamp=train.TIMESTAMP, label=train.LABEL)
        model_uri = log(training, directory)
        answers(store)
        differing = predict(store, model_uri, serve.upcoming(Path(directory, "data"), raw.now, 100), directory)
    return 0 if differing == 0 else 1


def log(training: TrainingSet, directory: str) -> str:
    """Train in a run that says what it learned from; package and register the model."""
    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    experiment = mlflow.create_experiment("flights", artifact_location=f"{directory}/artifacts")
    past, future = training.split_by_time(train.cutoff(training.table))
    with mlflow.start_run(experiment_id=experiment) as run:
        dataset = fs_mlflow.log_training_set(past)
        fs_mlflow.log_training_set(future, context="test")
        model = train.classifier().fit(matrix(past), train.labels(past.table))
        mlflow.log_metric("auc", train.auc(model, matrix(future), train.labels(future.table)))
        info = fs_mlflow.log_model(
            model,
            name="late",
            training_set=past,
            pyfunc_predict_fn="predict_proba",
            registered_model_name="late",
        )
    print(f"run {run.info.run_id}: dataset {dataset.digest} of {len(past):,} rows, model {info.model_uri}")
    same = mlflow.data.get_source(mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0]).load(training.store)
    print(f"made again from the run alone: {same.fingerprint == past.fingerprint}")
    return str(info.model_uri)


def matrix(training: TrainingSet) -> Any:
    """Return what the model learns from, shape [rows, features], null as NaN."""
    return to_matrix(training.table.select(training.features))


def answers(store: FeatureStore) -> None:
    """Ask which models use a feature, what it is made from, and what changing a column of raw data touches."""
    print(f"models using {FEATURE}, says MLflow:", *(model.name for model in fs_mlflow.models_using(FEATURE)))
    print(f"models using {FEATURE}, says the store:", *(node.name for node in store.lineage.models_using(FEATURE)))
    print(f"{FEATURE} is made from:")
    print(store.lineage.upstream(FEATURE))
    touched = store.lineage.impact("column:flights.arr_delay")
    models = ", ".join(model.name for model in touched.models)
    print(f"changing flights.arr_delay touches {len(touched.features)} features and the models {models}")


def predict(store: FeatureStore, model_uri: str, flights: pa.Table, directory: str) -> int:
    """Ask a server about the next flights by their keys; return how many answers aren't the model's as of now."""
    columns = {name: [str(x) if name == "flight_date" else x for x in flights[name].to_pylist()] for name in train.KEYS}
    rows = {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
    with served(model_uri, directory) as url:
        found = np.array(post(url, rows))
    now = pa.array([datetime.now(UTC)] * len(flights))
    scored = fs_mlflow.score_batch(model_uri, flights.append_column(train.TIMESTAMP, now), store=store)
    differing = int((found != np.array(scored["prediction"].to_pylist())).any(axis=1).sum())
    print(
        f"{len(found)} flights predicted over HTTP, the first late with {found[0, 1]:.0%}; {differing} differ as of now"
    )
    return differing


@contextlib.contextmanager
def served(model_uri: str, directory: str) -> Iterator[str]:
    """Serve a model as MLflow does; the process knows the tracking server and the store's directory, nothing else."""
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "-p",
        str(port),
        "-m",
        model_uri,
    ]
    known = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "FS_STORE": directory}
    known["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn by name
    process = subprocess.Popen(
        words,
        cwd=directory,  # where no module of ours lies
        env={**os.environ, **known},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers_at(url):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers_at(url: str) -> bool:
    """Return whether the server is up."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ping", timeout=2):
        return True
    return False


def post(url: str, rows: dict[str, Any]) -> list[list[float]]:
    """Return what the server predicts."""
    body = json.dumps({"dataframe_split": rows}).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[list[float]] = json.load(answer)["predictions"]
    return found


if __name__ == "__main__":
    sys.exit(main())
