"""The README's section on MLflow runs as written, after the quickstart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import FeatureStore
from tests.test_readme import snippets


def test_the_section_shows_what_it_says(tracking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction for each key, the scored spine, and the model found by its feature."""
    monkeypatch.chdir(tmp_path)
    # MLflow would load the model once more, in a process of its own, to see what it needs.
    monkeypatch.setattr("mlflow.models.infer_pip_requirements", lambda *_, fallback=None, **__: fallback)
    printed: list[Any] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(words[0])}
    exec(compile(snippets("Quickstart")[0], "README.md", "exec"), names)
    printed.clear()
    exec(compile(snippets("MLflow")[0], "README.md", "exec"), names)
    predicted, scored, found = printed
    assert isinstance(predicted, np.ndarray)
    assert len(predicted) == 3
    assert isinstance(scored, pa.Table)
    assert scored.column_names == ["user_id", "event_timestamp", "bought", "prediction"]
    assert "buyers" in found
    store = names["store"]
    assert isinstance(store, FeatureStore)
    store.close()
