"""Views of thousands of columns are read in seconds."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.bench_wide import fill, retrievals


def test_the_first_retrieval_of_two_thousand_columns_takes_seconds(tmp_path: Path) -> None:
    """Twenty rows, under three seconds of CPU, for it grows with the columns and not with their square."""
    fill(tmp_path, 2_000)
    first, second = retrievals(tmp_path, 2_000)
    assert first.cpu < 3
    assert second.cpu < 1
