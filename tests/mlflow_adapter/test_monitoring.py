"""Reports of monitoring as artifacts of a model's run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest

import fs_mlflow
from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import ConfigurationError, DataError
from tests.mlflow_adapter.conftest import Logged

NOW = datetime.now(UTC).replace(microsecond=0)
SECRET = "open-sesame-95"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A report on a view of a store whose online URL has a password."""
    directory = tmp_path_factory.mktemp("watched") / "store"
    with FeatureStore(directory, online=f"redis://reader:{SECRET}@localhost:1/0") as store:
        entity = Entity("user", keys={"user": "int64"}, description="A user.")
        store.apply(FeatureView("spent", entity, [Field("x", "float64", "X.")], description="Spent."))
        users = list(range(60))
        for days in (2.5, 1.5, 0.5):
            moment = NOW - timedelta(days=days)
            store.write("spent", {"user": users, "event_timestamp": [moment] * 60, "x": [float(u) for u in users]})
        made = store.get_historical_features(
            {"user": users, "event_timestamp": [NOW - timedelta(days=2)] * 60}, "spent"
        )
        return store.monitor("spent", made, at=NOW)


def test_a_report_is_logged_to_the_models_run(report: Any, boosted: Logged) -> None:
    """As a page, a picture and JSON, by the model's URI or the run; a tag says what was found; no secret is in it."""
    path = fs_mlflow.log_report(report, model=boosted.uri)
    run = mlflow.models.get_model_info(boosted.uri).run_id
    assert path == f"monitoring/spent/{NOW:%Y-%m-%dT%H%M%SZ}"
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run, artifact_path=path))
    assert {file.name for file in folder.iterdir()} == {"report.html", "report.png", "report.json"}
    assert json.loads((folder / "report.json").read_text())["view"] == "spent:v1.0.0"
    assert mlflow.get_run(run).data.tags["fs.monitor.spent"].startswith("nothing found, until ")
    for file in folder.iterdir():
        assert SECRET.encode() not in file.read_bytes()
        assert b"localhost:1" not in file.read_bytes()
    assert fs_mlflow.log_report(report, run_id=run) == path
    with mlflow.start_run() as active:
        fs_mlflow.log_report(report)
    assert "fs.monitor.spent" in mlflow.get_run(active.info.run_id).data.tags


def test_it_says_which_run_is_missing(report: Any, boosted: Logged) -> None:
    """None is started for it; and what is no report is named."""
    with pytest.raises(ConfigurationError, match="which run"):
        fs_mlflow.log_report(report)
    with pytest.raises(ConfigurationError, match="either the model or its run"):
        fs_mlflow.log_report(report, model=boosted.uri, run_id="x")
    with pytest.raises(DataError, match="not dict"):
        fs_mlflow.log_report({}, run_id="x")  # type: ignore[arg-type]
