"""Feature lineage in MLflow: logged training sets, and models that look their features up themselves.

MLflow itself is imported with the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_mlflow.batch import score_batch
    from fs_mlflow.dataset import TrainingSetDataset, TrainingSetSource, from_training_set
    from fs_mlflow.log import log_model
    from fs_mlflow.monitoring import log_report
    from fs_mlflow.naming import models_using
    from fs_mlflow.recording import refresh_lineage
    from fs_mlflow.signature import infer_signature
    from fs_mlflow.training import log_training_set

_ROOMS = {
    "TrainingSetDataset": "dataset",
    "TrainingSetSource": "dataset",
    "from_training_set": "dataset",
    "infer_signature": "signature",
    "log_model": "log",
    "log_report": "monitoring",
    "log_training_set": "training",
    "models_using": "naming",
    "refresh_lineage": "recording",
    "score_batch": "batch",
}

__all__ = [
    "TrainingSetDataset",
    "TrainingSetSource",
    "from_training_set",
    "infer_signature",
    "log_model",
    "log_report",
    "log_training_set",
    "models_using",
    "refresh_lineage",
    "score_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'fs_mlflow' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fs_mlflow.{_ROOMS[name]}"), name)
