"""The page on MLflow runs as written, after the quickstart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from fs_core import FeatureStore
from tests.snippets import PAGES, run


def test_the_page_shows_what_it_says(tracking: Path, tmp_path: Path) -> None:
    """A prediction for each key, the scored spine, and the model found by its feature."""
    left = run(PAGES["fs_mlflow/README.md"], tmp_path)
    predicted, scored, store = (left.names[name] for name in ("predicted", "scored", "store"))
    assert isinstance(predicted, np.ndarray)
    assert len(predicted) == 3
    assert isinstance(scored, pa.Table)
    assert scored.column_names == ["user_id", "event_timestamp", "bought", "prediction"]
    assert "buyers" in left.printed[0]
    assert isinstance(store, FeatureStore)
    store.close()
