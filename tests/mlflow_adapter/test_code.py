"""The code of computed features: packaged with a model, and compared with what was registered wherever it is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts
from sklearn.linear_model import LinearRegression

import fs_mlflow
from fs_core import FeatureStore
from fs_core.values.matrix import to_matrix
from tests.mlflow_adapter.conftest import REQUIREMENTS

ROOT = Path(__file__).parents[2]
MODULE = """
from fs_core import Entity, FeatureView, Field, Request, on_demand

user = Entity("user", keys={"user_id": "int64"}, description="Who pays.")
spending = FeatureView(
    "spending", entity=user, fields=[Field("mean", "float64", "EUR.")], description="What was spent."
)


def guarded(mean):
    return mean + 1.0


@on_demand(
    inputs=["spending.mean", Request("amount", "float64", "EUR.")],
    fields=[Field("ratio", "float64", "Over the mean.")],
    description="How a payment compares.",
)
def ratio(mean, amount):
    return amount / guarded(mean)
"""


def test_packaged_code_that_was_changed_is_refused(
    tmp_path: Path, tracking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module lies in the package; with another helper in it a new process refuses, and names both digests."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "payment_ratios.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    import payment_ratios  # type: ignore[import-not-found]

    asked = {"user_id": [1, 2, 1], "amount": [9.5, 3.0, 0.1]}
    with FeatureStore(tmp_path / "store") as store:
        store.apply(payment_ratios.spending, payment_ratios.ratio)
        store.push("spending", {"user_id": [1, 2], "event_timestamp": [datetime.now(UTC)] * 2, "mean": [2.5, 4.0]})
        spine = {**asked, "event_timestamp": [datetime.now(UTC)] * 3, "y": [1.0, 2.0, 3.0]}
        training = store.get_historical_features(spine, ["ratio", "spending.mean"], label="y")
        model = LinearRegression().fit(to_matrix(training.table.select(training.features)), [1.0, 2.0, 3.0])
        info = fs_mlflow.log_model(model, name="ratios", training_set=training, **REQUIREMENTS)
    sys.modules.pop("payment_ratios")
    packaged = Path(download_artifacts(info.model_uri, dst_path=str(tmp_path / "model")))
    (module,) = packaged.rglob("payment_ratios.py")
    module.write_text(MODULE.replace("return mean + 1.0", "return mean + 2.0"))
    done = _elsewhere(packaged, asked, tmp_path / "store")
    assert done.returncode != 0
    assert "function payment_ratios:guarded: registered " in done.stderr
    assert "TransformCodeError" in done.stderr


def _elsewhere(model: Path, asked: dict[str, list[float]], store: Path) -> subprocess.CompletedProcess[str]:
    """Ask a packaged model in a new process, which finds its module nowhere but in the package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FS_")}
    return subprocess.run(
        [sys.executable, "-m", "tests.mlflow_adapter.fresh"],
        input=json.dumps({str(model): asked}),
        cwd=model,
        env={**kept, "PYTHONPATH": str(ROOT), "FS_STORE": str(store)},
        capture_output=True,
        text=True,
        check=False,
    )
