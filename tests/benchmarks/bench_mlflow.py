"""What a packaged model adds to one prediction beside what MLflow adds, and how fast it scores a spine.

Run `make bench`, or `python -m tests.benchmarks.bench_mlflow`. The overhead of the packaged model is its time above the
look-up and the raw model; MLflow's own is that of a pyfunc on a data frame of one column, as the packaged model takes.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console
from sklearn.linear_model import LinearRegression

from fs_core import Entity, FeatureStore, FeatureView, Field, TrainingSet
from fs_core.values.matrix import to_matrix
from tests.benchmarks.timing import race, show

FEATURES = [f"f{i}" for i in range(10)]
REQUIREMENTS = {"pip_requirements": ["scikit-learn"]}


def fill(store: FeatureStore, users: int) -> None:
    """Declare one view of ten float64 features, write a row for each user, bring it online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field(name, "float64", "A number.") for name in FEATURES]
    store.apply(user, FeatureView("numbers", entity=user, fields=fields, description="Numbers of a user."))
    values = {name: np.random.default_rng(7).normal(size=users) for name in FEATURES}
    store.write("numbers", {"user": np.arange(users), "event_timestamp": [datetime.now(UTC)] * users, **values})
    store.materialize()


def spine(users: int, rows: int) -> pa.Table:
    """Any users, now."""
    asked = np.random.default_rng(11).integers(0, users, rows)
    now = pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC")), rows)
    return pa.table({"user": asked, "event_timestamp": now, "label": asked % 2})


def one_row(store: FeatureStore, training: TrainingSet, runs: int) -> None:
    """Print what one prediction takes, raw, as MLflow's pyfunc, and packaged; for models of a matrix and of a frame."""
    import mlflow

    import fs_mlflow

    references = [f"numbers.{name}:v1.0.0" for name in FEATURES]
    frame, labels = training.to_pandas()[FEATURES], training.table["label"].to_numpy()
    keys, narrow = pd.DataFrame({"user": [1]}), frame[FEATURES[:1]]
    for layout, X in {"a matrix": to_matrix(training.table.select(FEATURES)), "a frame": frame}.items():
        model = LinearRegression().fit(X, labels)
        info = fs_mlflow.log_model(model, name="packaged", training_set=training, **REQUIREMENTS)
        plain = mlflow.sklearn.log_model(
            LinearRegression().fit(narrow, labels), name="plain", input_example=narrow[:2], **REQUIREMENTS
        )
        packaged = mlflow.pyfunc.load_model(info.model_uri, model_config={"fs_store": store})
        pyfunc = mlflow.pyfunc.load_model(plain.model_uri)
        named = pyfunc._model_impl.get_raw_model()
        ways: dict[str, Callable[[], object]] = {
            "look-up": lambda: store.get_online_features(references, {"user": [1]}),
            f"raw model on {layout}": lambda model=model, one=X[:1]: model.predict(one),
            "raw model on one column": lambda named=named, one=narrow[:1]: named.predict(one),
            "pyfunc of that, MLflow's own": lambda pyfunc=pyfunc, one=narrow[:1]: pyfunc.predict(one),
            "packaged": lambda packaged=packaged: packaged.predict(keys),
        }
        timings = race(ways, runs=runs)
        show(f"One prediction by a model on {layout}", timings, rows=1, ours="packaged")
        look_up, raw, beside, own, ours = (timing.seconds for timing in timings)
        # Turn by turn, so that a noisy moment meets both sides of a difference.
        added = statistics.median(o - lo - r for o, lo, r in zip(ours, look_up, raw, strict=True))
        theirs = statistics.median(p - b for p, b in zip(own, beside, strict=True))
        text = f"Above look-up and model: {added * 1e6:,.0f} µs. MLflow's own pyfunc overhead: {theirs * 1e6:,.0f} µs."
        Console().print(f"{text} Ratio: {added / theirs:.2f} (the aim: under 2)\n")


def batch(store: FeatureStore, training: TrainingSet, users: int, rows: int) -> None:
    """Print what scoring a spine takes beside the as-of engine alone and beside a training set in memory."""
    import fs_mlflow

    matrix = to_matrix(training.table.select(FEATURES))
    model = LinearRegression().fit(matrix, training.table["label"].to_numpy())
    info = fs_mlflow.log_model(model, name="packaged", training_set=training, **REQUIREMENTS)
    many = spine(users, rows)

    def in_memory() -> Any:
        made = store.get_historical_features(many, "numbers")
        return model.predict(to_matrix(made.table.select(FEATURES)))

    ways: dict[str, Callable[[], object]] = {
        "as-of engine alone, streamed": lambda: store.stream_historical_features(many, "numbers").read_all(),
        "training set in memory, then the model": in_memory,
        "score_batch": lambda: fs_mlflow.score_batch(info.model_uri, many, store=store),
    }
    show(f"{rows:,} rows, 10 float64", race(ways, runs=3), rows=rows, ours="score_batch")


def main() -> None:
    """Race on MLflow's SQLite default in a directory of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=400)
    args = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    warnings.simplefilter("ignore")  # MLflow's, about its own dependencies
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, FeatureStore(Path(folder, "store")) as store:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        experiment = mlflow.create_experiment("bench", artifact_location=f"{folder}/artifacts")
        mlflow.set_experiment(experiment_id=experiment)
        fill(store, args.users)
        training = store.get_historical_features(spine(args.users, 1000), "numbers", label="label")
        one_row(store, training, args.runs)
        batch(store, training, args.users, args.rows)


if __name__ == "__main__":
    main()
