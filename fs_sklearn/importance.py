"""How much a fitted model heeds each feature, for `FeatureStore.monitor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from fs_core.errors import ConfigurationError


def feature_importance(model: Any, features: Sequence[str] | None = None) -> dict[str, float]:
    """Return the share of each feature in what a fitted model heeds, 1 together.

    It is the model's `feature_importances_`, or the size of its `coef_` (the mean over classes), which says something
    only of features of one scale. Columns that an encoder made of one feature, `shop_A` and `shop_B`, are added up.

    Args:
        model: an estimator, or a pipeline that ends in one.
        features: the names of its inputs; by default those that it was fitted with.

    Raises:
        ConfigurationError: the model has neither attribute, or it isn't known which column is which feature.
    """
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    weights = _weights(last)
    columns = _columns(model, last, len(weights)) if features is None else list(features)
    if len(columns) != len(weights):
        raise ConfigurationError(
            f"the model has {len(weights)} weights, and {len(columns)} names are known: {', '.join(columns[:5])}. Pass "
            "the names of its inputs as features=[...]."
        )
    inputs, total = _inputs(model), float(weights.sum()) or 1.0
    found: dict[str, float] = {}
    for column, weight in zip(columns, weights.tolist(), strict=True):
        name = _feature(column, inputs)
        found[name] = found.get(name, 0.0) + weight / total
    return found


def _weights(model: Any) -> Any:
    found = getattr(model, "feature_importances_", None)
    if found is not None:
        return np.abs(np.asarray(found, np.float64))
    found = getattr(model, "coef_", None)
    if found is None:
        raise ConfigurationError(
            f"{type(model).__name__} has neither feature_importances_ nor coef_. Fit it first, or measure them with "
            "sklearn.inspection.permutation_importance and pass the mapping yourself."
        )
    return np.abs(np.atleast_2d(np.asarray(found, np.float64))).mean(axis=0)


def _columns(model: Any, last: Any, count: int) -> list[str]:
    """Return the names of the columns that the last step has."""
    named = getattr(last, "feature_names_in_", None)
    if named is None and isinstance(model, Pipeline) and len(model.steps) > 1:
        try:
            named = model[:-1].get_feature_names_out()
        except (AttributeError, ValueError):  # a step can't tell
            named = None
    if named is None:
        raise ConfigurationError(
            f"the model was fitted on a matrix: which of its {count} columns is which feature isn't known. Pass the "
            "names as features=[...], or fit it on a data frame."
        )
    return [str(name) for name in named]


def _inputs(model: Any) -> list[str]:
    """Return the names of what encoders were given, the longest first."""
    steps = [step for _, step in model.steps[1:-1]] if isinstance(model, Pipeline) else []
    found = [str(name) for step in steps for name in getattr(step, "feature_names_in_", ())]
    return sorted(set(found), key=len, reverse=True)


def _feature(column: str, inputs: Sequence[str]) -> str:
    """Return the feature that a column was made of: the input that its name begins with, without a transformer's."""
    for name in (column, column.partition("__")[2]):
        if name in inputs:
            return name
        found = next((one for one in inputs if name.startswith(f"{one}_")), None)
        if found is not None:
            return found
    return column
