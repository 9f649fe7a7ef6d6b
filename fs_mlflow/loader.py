"""What MLflow calls to load a packaged model; named in the model's MLmodel file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Any:
    """Return the packaged model of a folder; see `fs_mlflow.packaging.served.load`."""
    from fs_mlflow.packaging.served import load

    return load(Path(path), model_config or {})
