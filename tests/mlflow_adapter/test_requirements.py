"""What a model needs, derived from what it is made of."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fs_mlflow.packaging.requirements import named


def needs(model: Any, flavor: str, **settings: Any) -> set[str]:
    """The packages, each in the version that is installed here."""
    lines = [line.split("==") for line in named(model, flavor, settings)["pip_requirements"]]
    assert all(version(name).partition("+")[0] == wanted for name, wanted in lines)
    return {name for name, _ in lines}


def test_functions_and_classes_of_other_packages_count() -> None:
    """A step that calls a function of Polars needs Polars; what comes from no package is for code_paths."""
    import polars as pl

    model = make_pipeline(FunctionTransformer(pl.from_numpy), FunctionTransformer(needs))
    assert needs(model, "sklearn") == {"numpy", "polars", "scikit-learn", "scipy", "skops"}
    assert needs(model, "sklearn", serialization_format="cloudpickle") >= {"cloudpickle", "polars"}
    assert "skops" not in needs(model, "sklearn", serialization_format="cloudpickle")


def test_torch_needs_what_its_modules_come_from() -> None:
    """And nothing of a build's own version label, which no index has."""
    torch = pytest.importorskip("torch")
    assert needs(torch.nn.Sequential(torch.nn.Linear(1, 1)), "pytorch") == {"cloudpickle", "numpy", "torch"}
    assert not any("+" in line for line in named(torch.nn.Linear(1, 1), "pytorch", {})["pip_requirements"])


@pytest.mark.parametrize("option", ["pip_requirements", "extra_pip_requirements", "conda_env"])
def test_what_the_caller_says_counts(option: str) -> None:
    """And what a PythonModel imports only MLflow finds out."""
    assert named(FunctionTransformer(np.log1p), "sklearn", {option: ["x"]}) == {}
    assert named(object(), "pyfunc", {}) == {}
