"""Reports of `FeatureStore.monitor` beside the model that they are about."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_core.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from fs_core.monitoring.monitor_page import MonitorReport


def log_report(report: MonitorReport, *, model: str | None = None, run_id: str | None = None) -> str:
    """Log a report as artifacts of a model's run: a page with pictures, a picture, and JSON.

    They lie under `monitoring/VIEW/WINDOW'S END/`; the tag `fs.monitor.VIEW` says what the last one found. None of them
    holds a URL or a setting of the store. They hold shares of bins, names of categories, and values that break the
    declaration, which `FeatureStore.forget` doesn't reach here.

    Args:
        report: what `FeatureStore.monitor` returned.
        model: the URI of the model, such as `"models:/delays/3"`; its run is meant.
        run_id: the run; by default the model's, or the current one.

    Returns:
        The artifacts' path in the run.

    Raises:
        DataError: it is no report.
        ConfigurationError: no run is named and none is active, or both a model and a run are named; or matplotlib
            isn't installed.
        mlflow.exceptions.MlflowException: there is no such run or model, or the tracking server refuses.
    """
    import mlflow

    if not hasattr(report, "to_html") or not hasattr(report, "findings"):
        raise DataError(f"log_report takes what store.monitor(...) returns, not {type(report).__name__}.")
    run = _run(model, run_id)
    view = report.view.partition(":")[0]
    path = f"monitoring/{view}/{report.window[1]:%Y-%m-%dT%H%M%SZ}"
    with tempfile.TemporaryDirectory() as folder:
        report.to_html(Path(folder) / "report.html")
        if report.bins:
            report.to_png(Path(folder) / "report.png")
        (Path(folder) / "report.json").write_text(json.dumps(report.to_dict(), default=_plain), encoding="utf-8")
        client = mlflow.MlflowClient()
        client.log_artifacts(run, folder, path)
    client.set_tag(run, f"fs.monitor.{view}", f"{report.verdict}, until {report.window[1]:%Y-%m-%d %H:%M} UTC")
    return path


def _run(model: str | None, run_id: str | None) -> str:
    """Return the run that is meant."""
    import mlflow

    if model is not None and run_id is not None:
        raise ConfigurationError("name either the model or its run.")
    if model is not None:
        found = mlflow.models.get_model_info(model).run_id
        if not found:
            raise ConfigurationError(f"model {model!r} was logged without a run. Name one, as run_id=...")
        return str(found)
    active = mlflow.active_run()
    if run_id is None and active is None:
        raise ConfigurationError("which run is it about? Pass model='models:/NAME/VERSION' or run_id=...")
    return run_id or str(active.info.run_id)


def _plain(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
