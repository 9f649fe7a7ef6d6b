"""What is particular to winners: they are looked for month by month, the latest first."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fs_core.offline.delta.layout import by_recency
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.testing.histories import moments
from fs_core.testing.offline_suite import assert_rows, counter, history_types
from fs_core.testing.oracle import oracle_winners
from fs_core.values.times import micros

START, YEAR = micros("2023-01-01"), micros("2024-01-01") - micros("2023-01-01")


def year_of(things: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Rows of a year, one for each thing given, some of them known a year late."""
    count = len(things)
    times = START + rng.integers(0, 40, count) * (YEAR // 40)  # so coarse that some of an entity tie
    late = np.where(rng.random(count) < 0.2, rng.integers(0, YEAR, count), 0)
    columns = {"thing": things, EVENT_TIME: moments(times.tolist()), AVAILABLE_AT: moments((times + late).tolist())}
    numbers = rng.permutation(count)
    return pa.table({**columns, SEQ: numbers, "value": numbers}, schema=history_schema(counter))


@pytest.mark.parametrize("rows_each", [1, 3, 40], ids=["most in one month only", "some", "nearly all in every month"])
def test_winners_of_a_year(tmp_path: Path, rows_each: int) -> None:
    """Whether few or many entities have no row in later months, every winner is the rule's."""
    rng = np.random.default_rng(rows_each)
    history = year_of(np.append(rng.integers(0, 150, 150 * rows_each), [1_000, 1_001]), rng)  # two have one row only
    store = DeltaOfflineStore(tmp_path)
    for start in range(0, history.num_rows, 2_500):
        store.append(counter, history.slice(start, 2_500))
    written = history.to_pylist()
    for until in (START - 1, START + YEAR // 2, START + YEAR, START + 2 * YEAR):
        found = store.winners(counter, until=until)
        assert_rows(found.rows.read_all(), oracle_winners(counter, written, until), history_types(counter))


def test_files_by_recency() -> None:
    """Each group covers twice as many months as the one before, and none is left out."""
    files = {month: [f"/h/__event_month=2023-{month:02}/{name}.parquet" for name in "ab"] for month in range(1, 11)}
    groups = by_recency([file for month in (3, 9, 1, 10, 2, 8, 4, 7, 5, 6) for file in files[month]])
    months = [{int(file[-12:-10]) for file in group} for group in groups]
    assert months == [{10}, {9, 8}, {7, 6, 5, 4}, {3, 2, 1}]
    assert sorted(chain(*groups)) == sorted(chain(*files.values()))
    assert by_recency([]) == []
