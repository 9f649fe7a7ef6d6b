"""Files that are read in several batches, though they aren't long."""

from __future__ import annotations

import pytest

from fs_core.sources.text import csv, json


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after 3,000 objects, or 45,000 lines of a CSV, is in a later batch than the first ones.

    DuckDB looks at the first 20,480 lines of a CSV to find out how it is written.
    """
    monkeypatch.setattr(json, "_BATCH", 2_048)
    monkeypatch.setattr(csv, "_BATCH", 20_480)
