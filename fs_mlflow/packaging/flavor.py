"""The flavour of packaged models, as MLflow's own flavours are made: `save_model` beside a loader."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from fs_core.encoding import Encoding
from fs_core.values.interchange import to_pandas
from fs_mlflow.columns import input_spec
from fs_mlflow.packaging import features as packaged
from fs_mlflow.packaging import inner, requirements
from fs_mlflow.packaging.code import ModelCode
from fs_mlflow.packaging.features import PackagedFeatures
from fs_mlflow.packaging.served import SETTINGS, STATUS_PARAM, InputLayout


@dataclass(frozen=True)
class Package:
    """What is to be saved.

    Attributes:
        model: what predicts.
        kind: the name of the MLflow flavour that saves it.
        flavor: the flavour as the caller named it.
        features: what the model takes.
        encoding: how its inputs are encoded, if they are.
        rows: some rows of the training set, for signature and input example.
        settings: passed on to the flavour's `save_model`.
        code_paths: files or folders that the model's class comes from.
        code: what its on-demand views need.
    """

    model: Any
    kind: str
    flavor: str | ModuleType | None
    features: PackagedFeatures
    encoding: Encoding | None
    rows: pa.Table
    settings: Mapping[str, Any]
    code_paths: list[str] | None
    code: ModelCode


def save_model(path: str, *, package: Package, mlflow_model: Any, **_: Any) -> None:
    """Save a model with its features' description, as a pyfunc that takes keys.

    Args:
        path: the folder to write.
        package: the model and what goes with it.
        mlflow_model: where MLflow collects what it knows of the model.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as directory, package.code.paths() as own:
        folder = Path(directory, "packaged")
        folder.mkdir()
        packaged.save(package.features, package.encoding, folder)
        saved = folder / packaged.MODEL
        example = _arranged(package)
        inner.save(package.model, package.kind, package.flavor, saved, package.settings, example)
        signature = _signature(inner.predictor(saved)(example), package)
        for cache in folder.rglob("__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)
        mlflow.pyfunc.save_model(
            path,
            loader_module="fs_mlflow.loader",
            data_path=str(folder),
            code_paths=[*(package.code_paths or []), *own] or None,
            mlflow_model=mlflow_model,
            signature=signature,
            input_example=_example(package.features, package.rows),
            pip_requirements=[*_requirements(saved), *package.code.requirements],
            model_config=dict(SETTINGS),
        )


def _arranged(package: Package) -> Any:
    moments = package.rows[package.features.timestamp]
    return InputLayout(package.features, package.encoding).arrange(package.rows, moments)


def _signature(predicted: Any, package: Package) -> Any:
    """Return the columns that callers send, and what the saved model predicts for rows of the training set."""
    from mlflow.models import ModelSignature
    from mlflow.models.signature import infer_signature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema

    features, rows = package.features, package.rows
    columns = features.columns()
    specs = [input_spec(name, dtype, required=name not in features.overrides) for name, dtype in columns.items()]
    if features.timestamp not in columns:
        specs.append(input_spec(features.timestamp, rows.schema.field(features.timestamp).type, required=False))
    asked = ParamSchema([ParamSpec(STATUS_PARAM, DataType.boolean, default=False)])
    return ModelSignature(Schema(specs), infer_signature(model_output=predicted).outputs, asked)


def _example(features: PackagedFeatures, rows: pa.Table) -> Any:
    return to_pandas(rows.select([*features.keys, *features.request]))


def _requirements(saved: Path) -> list[str]:
    """Return what the model needs, and what looking its features up needs."""
    ours = [f"{name}=={version(name)}" for name in ("fs-core", "pandas")]
    return list(dict.fromkeys([*requirements.of_saved(saved), *ours]))
