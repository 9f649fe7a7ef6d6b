"""Which MLflow flavour saves a model, how the model takes its inputs, and how it is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from fs_core.errors import ConfigurationError
from fs_mlflow.packaging import requirements
from fs_mlflow.packaging.features import Layout

_FLAVORS = {
    "catboost": "catboost",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "mlflow": "pyfunc",
    "onnx": "onnx",
    "sklearn": "sklearn",
    "statsmodels": "statsmodels",
    "tensorflow": "tensorflow",
    "torch": "pytorch",
    "xgboost": "xgboost",
}
"""The flavour for a model, by the package that its class, or a class it derives from, comes from."""
ENCODED = ("keras", "pytorch", "tensorflow")
"""Flavours that take tensors: without an encoding of their own, models get the default one."""
_SKLEARN_LOSSES = "_loss.Cy"  # how scikit-learn's compiled losses call themselves


def flavor_name(model: Any, flavor: str | ModuleType | None) -> str:
    """Return the name of the flavour to save a model with: the one named, or the model's own.

    Raises:
        ConfigurationError: the model is of none that we know.
    """
    if flavor is not None:
        return flavor if isinstance(flavor, str) else flavor.__name__.rpartition(".")[2]
    for kind in type(model).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _FLAVORS:
            return _FLAVORS[package]
    raise ConfigurationError(
        f"no MLflow flavour is known to save a {type(model).__name__}. Pass flavor='sklearn' or another "
        "of mlflow's, a module with save_model, or wrap the model as an mlflow.pyfunc.PythonModel."
    )


def input_names(model: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that a model was fitted on, if it remembers them."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def input_layout(model: Any, name: str) -> Layout:
    """Return how a model takes its inputs: by name if it knows their names, or is a pyfunc; else as a matrix."""
    if name == "keras" or (name == "tensorflow" and hasattr(model, "inputs")):
        return "columns" if isinstance(getattr(model, "input", None), dict) else "matrix"
    return "columns" if name in ("pyfunc", "tensorflow") or input_names(model) is not None else "matrix"


def save(
    model: Any, name: str, flavor: str | ModuleType | None, path: Path, settings: Mapping[str, Any], example: Any
) -> None:
    """Save a model by its flavour, without pickling where the flavour can.

    Args:
        model: what to save.
        name: the flavour's name.
        flavor: the flavour as the caller named it.
        path: the folder to write.
        settings: the caller's, for the flavour's `save_model`.
        example: a few rows of what the model takes.

    Raises:
        ConfigurationError: MLflow has no such flavour.
    """
    module = flavor if isinstance(flavor, ModuleType) else _module(name)
    settings = {**_safely(model, name, settings, example), **requirements.named(model, name, settings), **settings}
    if name == "pyfunc":
        module.save_model(path=str(path), python_model=model, **settings)
    else:
        module.save_model(model, path=str(path), **settings)
    _forget_directories(path)
    if name == "pytorch":
        _forget_traces(path)


def _forget_directories(path: Path) -> None:
    """Keep the name alone of the file that a model from code came from: MLflow looks for no more when it loads it."""
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME, MODEL_CODE_PATH

    saved = Model.load(str(path))
    from_code = [conf for conf in saved.flavors.values() if conf.get(MODEL_CODE_PATH)]
    for conf in from_code:
        conf[MODEL_CODE_PATH] = Path(conf[MODEL_CODE_PATH]).name
    if from_code:
        saved.save(str(path / MLMODEL_FILE_NAME))


def _forget_traces(path: Path) -> None:
    """Drop from an exported program where in whose files each of its steps was called."""
    for archive in path.rglob("*.pt2"):
        import torch

        program = torch.export.load(archive)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        torch.export.save(program, archive)


def _safely(model: Any, name: str, settings: Mapping[str, Any], example: Any) -> dict[str, Any]:
    """Return what a flavour's own way without pickle asks for, if that is the way."""
    wished = settings.get("serialization_format")
    if name == "sklearn" and wished in (None, "skops") and "skops_trusted_types" not in settings:
        return {"skops_trusted_types": sklearn_types(model)}
    if name == "pytorch" and wished in (None, "pt2"):
        # A batch of one row would be exported as the only size there is.
        return {"input_example": example if len(example) > 1 else example.repeat(2, axis=0)}
    return {}


def sklearn_types(model: Any) -> list[str]:
    """Return those types of scikit-learn itself that a model is made of and skops asks about.

    skops asks before it makes anything but the plainest estimators. The list becomes part of the model's
    description, so a file that somebody swaps can't bring other types in. Types of other packages are for
    the caller to trust.
    """
    import skops.io

    asked = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    return [name for name in asked if name.startswith(("sklearn.", "numpy.", _SKLEARN_LOSSES))]


def predictor(path: Path) -> Callable[[Any], Any]:
    """Return what a saved model predicts with: MLflow's wrapper of its flavour, without the check of its input.

    What is passed is made by the look-up, in the types of training, so there is nothing to check.
    """
    import mlflow

    loaded = mlflow.pyfunc.load_model(str(path), suppress_warnings=True)
    name = loaded.metadata.flavors[mlflow.pyfunc.FLAVOR_NAME].get("predict_fn", "predict")
    predict: Callable[[Any], Any] = getattr(loaded._model_impl, name)
    return predict


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"mlflow.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"flavor={name!r} can't be used: {error}. Name one of mlflow's flavours, such as 'sklearn'."
        ) from error
