"""Stores of a small shop, and both kinds of data frame to ask with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from fs_core import FeatureStore
from tests.sklearn_adapter.shop import fill


@pytest.fixture
def shop(store: FeatureStore) -> FeatureStore:
    """An embedded store of the shop."""
    return fill(store)


@pytest.fixture(scope="session")
def shop_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a shop that nobody changes."""
    directory = tmp_path_factory.mktemp("shop")
    with FeatureStore(directory) as store:
        fill(store)
    return directory


@pytest.fixture(params=["pandas", "Polars"])
def frame(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], Any]:
    """Makes data frames of columns: of pandas, then of Polars."""
    return {"pandas": pd.DataFrame, "Polars": pl.DataFrame}[request.param]
