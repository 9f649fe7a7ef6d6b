"""How much a model heeds each feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from fs_core.errors import ConfigurationError
from fs_sklearn import feature_importance

RNG = np.random.default_rng(1)
ROWS = pd.DataFrame({"amount": RNG.normal(size=60), "noise": RNG.normal(size=60), "shop": list("ABC") * 20})
WANTED = 3 * ROWS["amount"] + (ROWS["shop"] == "A")
NUMBERS = ROWS[["amount", "noise"]]


def test_what_decides_has_most_of_it() -> None:
    """Of trees their importances, of a linear model the size of its coefficients; shares of one."""
    for model in (RandomForestRegressor(5, random_state=1), LinearRegression()):
        found = feature_importance(model.fit(NUMBERS, WANTED))
        assert set(found) == {"amount", "noise"}
        assert found["amount"] > 0.8
        assert sum(found.values()) == pytest.approx(1)
    several = LogisticRegression().fit(NUMBERS, ROWS["shop"])
    assert sum(feature_importance(several).values()) == pytest.approx(1)


def test_columns_of_an_encoder_are_their_feature() -> None:
    """In a pipeline, with a data frame between the steps or a matrix."""
    encoder = make_column_transformer((OneHotEncoder(sparse_output=False), ["shop"]), remainder="passthrough")
    for output in ("default", "pandas"):
        first = FunctionTransformer(feature_names_out="one-to-one")
        model = make_pipeline(first, encoder, LinearRegression()).set_output(transform=output)
        found = feature_importance(model.fit(ROWS, WANTED))
        assert set(found) == {"amount", "noise", "shop"}
        assert found["amount"] > found["shop"] > found["noise"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearRegression(), "has neither"),
        (KNeighborsRegressor().fit(NUMBERS, WANTED), "permutation_importance"),
        (LinearRegression().fit(NUMBERS.to_numpy(), WANTED), "fitted on a matrix"),
    ],
)
def test_what_is_not_known_is_said(model: Any, message: str) -> None:
    """With the way out."""
    with pytest.raises(ConfigurationError, match=message):
        feature_importance(model)


def test_names_may_be_passed() -> None:
    """Where the model was fitted on a matrix; as many as it has columns."""
    model = LinearRegression().fit(NUMBERS.to_numpy(), WANTED)
    assert set(feature_importance(model, ["a", "n"])) == {"a", "n"}
    with pytest.raises(ConfigurationError, match="2 weights, and 1 names"):
        feature_importance(model, ["a"])
