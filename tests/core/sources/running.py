"""Running a source whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fs_core import FeatureView
from fs_core.sources.sources import joined, source_parts
from fs_core.sources.tables import Tables


def run_source(
    view: FeatureView, tables: Tables, directory: Path, *, start: int | None = None, end: int | None = None
) -> pa.Table:
    """Return all parts of what a view's source yields, in one table."""
    return joined(source_parts(view, tables, directory, start=start, end=end))
