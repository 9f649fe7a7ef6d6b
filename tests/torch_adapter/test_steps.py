"""How rows are shared among steps and ranks: every row once, and nobody waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.errors import DataError
from fs_torch.steps import Steps

SIZES = st.integers(1, 7)


def batches_of(steps: Steps) -> list[list[range]]:
    """Each step's rows, rank by rank."""
    every = range(steps.rows)
    return [[every[steps.batch(step, rank)] for rank in range(steps.ranks)] for step in range(len(steps))]


@settings(max_examples=500)
@given(st.integers(0, 60), SIZES, SIZES)
def test_every_row_is_in_one_batch(rows: int, batch_size: int, ranks: int) -> None:
    """In order, no batch is empty or too large, and all ranks take equally many steps of nearly equal batches."""
    steps = Steps(rows, batch_size, ranks)
    if 0 < rows < ranks:
        with pytest.raises(DataError, match=f"{rows} rows can't be shared among {ranks} ranks"):
            len(steps)
        return
    found = batches_of(steps)
    assert [row for step in found for batch in step for row in batch] == list(range(rows))
    most = max(batch_size, 2) if rows % (batch_size * ranks) else batch_size
    for step in found:
        lengths = {len(batch) for batch in step}
        assert 1 <= min(lengths) <= max(lengths) <= most
        assert max(lengths) - min(lengths) <= 1
    assert all(len(batch) == batch_size for step in found[:-2] for batch in step)


@given(st.integers(0, 60), SIZES, SIZES)
def test_dropping_leaves_whole_batches(rows: int, batch_size: int, ranks: int) -> None:
    """Every batch is whole, and fewer rows than one step's are left out, at the end."""
    found = batches_of(Steps(rows, batch_size, ranks, drop_last=True))
    given_rows = [row for step in found for batch in step for row in batch]
    assert given_rows == list(range(rows - rows % (batch_size * ranks)))
    assert all(len(batch) == batch_size for step in found for batch in step)
