"""A fraud model whose features are computed at request time: trained, packaged, and served by two servers, same bits.

    python -m examples.fraud

The payment's own amount is known to the request alone. `fraud_features.py` says what is computed from it; the training
set, `fs serve` and MLflow's server run that code, and all that they give is compared bit for bit. Any client may ask:

    curl localhost:8000/v1/features -H 'content-type: application/json' \\
        -d '{"service": "fraud_model", "entities": {"customer_id": [7], "amount": [900.0]}}'
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fs_mlflow
from examples import fraud_features
from examples.mlflow_flights import free_port, post, served
from fs_core import FeatureStore, TrainingSet
from fs_core.definitions.base import definitions_among
from fs_core.values.matrix import to_matrix

CUSTOMERS, DAYS, PAYMENTS = 200, 30, 4000
DEFINITIONS = definitions_among(vars(fraud_features).values())


def main() -> int:
    """Run the example; return 0 if both servers give the bits of training, else 1."""
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        fill(store)
        training = store.get_historical_features(payments(), "fraud_model", label="fraud")
        model, uri = train(training, directory)
        print(f"{len(training):,} payments, {sum(training.table['fraud'].to_pylist())} of them fraud")
        asked = {"customer_id": list(range(100)), "amount": np.random.default_rng(1).gamma(2, 90, 100).tolist()}
        now = store.get_historical_features({**asked, "event_timestamp": [datetime.now(UTC)] * 100}, "fraud_model")
        wanted = model.predict_proba(matrix(now))
        with served_features(directory) as url:
            answer = ask(url, {"service": "fraud_model", "entities": asked})
        found = np.array([[row[name] for name in training.features] for row in answer["rows"]], np.float64)
        with served(uri, directory) as url:
            rows = list(zip(*asked.values(), strict=True))
            predicted = np.array(post(url, {"columns": list(asked), "data": rows}))
        same = {"fs serve": bits(model.predict_proba(found), wanted), "MLflow": bits(predicted, wanted)}
        print(
            *(f"{name}: {'the same bits as in training' if ok else 'other bits'}" for name, ok in same.items()),
            sep="\n",
        )
    return 0 if all(same.values()) else 1


def fill(store: FeatureStore) -> None:
    """Write what each customer had spent by each of thirty days, and bring the latest online."""
    store.apply(DEFINITIONS)
    rng, today = np.random.default_rng(0), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store.write(
        "spending",
        {
            "customer_id": np.repeat(np.arange(CUSTOMERS), DAYS),
            "event_timestamp": [today - timedelta(days=DAYS - day) for _ in range(CUSTOMERS) for day in range(DAYS)],
            "mean_30d": np.repeat(rng.gamma(4, 20, CUSTOMERS), DAYS) * rng.uniform(0.8, 1.2, CUSTOMERS * DAYS),
            "payments_30d": rng.integers(1, 60, CUSTOMERS * DAYS),
        },
    )
    store.materialize()


def payments() -> dict[str, Any]:
    """Return past payments: whose, when, how much, and whether it was fraud, which large ones are more often."""
    rng, today = np.random.default_rng(2), datetime.now(UTC)
    amounts = rng.gamma(2, 60, PAYMENTS)
    return {
        "customer_id": rng.integers(0, CUSTOMERS, PAYMENTS),
        "event_timestamp": [today - timedelta(days=float(day)) for day in rng.uniform(1, DAYS - 2, PAYMENTS)],
        "amount": amounts,
        "fraud": (rng.random(PAYMENTS) < 1 / (1 + np.exp(6 - amounts / 60))).astype(int),
    }


def train(training: TrainingSet, directory: str) -> tuple[Any, str]:
    """Return a model and what MLflow calls it; the code that computes its features is packaged with it."""
    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    experiment = mlflow.create_experiment("fraud", artifact_location=f"{directory}/artifacts")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(matrix(training), np.array(training.table["fraud"].to_pylist()))
    with mlflow.start_run(experiment_id=experiment):
        info = fs_mlflow.log_model(model, name="fraud", training_set=training, pyfunc_predict_fn="predict_proba")
    return model, str(info.model_uri)


def matrix(training: TrainingSet) -> Any:
    """Return what the model takes, shape [rows, features]."""
    return to_matrix(training.table.select(training.features))


@contextlib.contextmanager
def served_features(directory: str) -> Iterator[str]:
    """Serve the store by `fs serve`, in a process of its own."""
    port = free_port()
    words = [sys.executable, "-m", "fs_core.cli", "--store", directory, "serve", "--port", str(port), "--no-access-log"]
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=2):
                break
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def ask(url: str, body: dict[str, Any]) -> Any:
    """Return what the feature server answers."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/features", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def bits(one: Any, other: Any) -> bool:
    """Tell whether two arrays are the same, bit for bit."""
    return bool(np.asarray(one).tobytes() == np.asarray(other).tobytes())


if __name__ == "__main__":
    sys.exit(main())
