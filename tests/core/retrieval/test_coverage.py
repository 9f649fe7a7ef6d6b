"""Training sets without values: how many rows have none, and why."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
START = datetime(2024, 1, 1, tzinfo=UTC)


def _asked(days: int) -> dict[str, Any]:
    return {"user_id": list(range(100)), "event_timestamp": [START + timedelta(days=days)] * 100}


LATE = FeatureView(
    "late",
    entity=USER,
    fields=[Field("x", "int64", "X.")],
    available_at="created",
    ttl="2d",
    description="Rows whose `created` was filled today.",
)


@pytest.mark.parametrize(
    ("users", "created", "asked", "message"),
    [
        (range(100), START + timedelta(days=300), 1, r"100 have rows that became available after.*'created'"),
        (range(200, 300), START, 1, "100 belong to entities without any row"),
        (range(100), START, 9, r"100 had expired \(ttl 2d\)"),
    ],
)
def test_a_training_set_without_values_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, users: range, created: datetime, asked: int, message: str
) -> None:
    """Where more than 95 % of a view's rows are missing or expired, a warning counts the reasons."""
    store = FeatureStore(tmp_path)
    store.apply(LATE)
    rows = {"user_id": list(users), "event_timestamp": [START] * 100, "created": [created] * 100, "x": [1] * 100}
    store.write("late", rows)
    with caplog.at_level(logging.WARNING, "fs_core"):
        found = store.get_historical_features(_asked(asked), ["late.x"])
    assert found.table["x"].null_count == 100
    (record,) = caplog.records
    assert "view late:v1.0.0 has values for 0 of 100 rows" in record.getMessage()
    assert pa.compute.match_substring_regex(pa.scalar(record.getMessage()), message).as_py()


def test_coverage_counts_each_status(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`coverage` says of each view how many rows have a value, none yet, or one that expired; no warning at 10 %."""
    store = FeatureStore(tmp_path)
    store.apply(LATE)
    users = list(range(30))
    at = [START + timedelta(days=3 if user < 10 else 0) for user in users]
    store.write("late", {"user_id": users, "event_timestamp": at, "created": at, "x": users})
    with caplog.at_level(logging.WARNING, "fs_core"):
        found = store.get_historical_features(_asked(4), ["late.x"])
    assert found.coverage == {"late": {"present": 10, "missing": 70, "expired": 20}}
    assert not caplog.records
    past, future = found.split_by_time(START)
    assert (past.coverage, future.coverage) == ({"late": {"present": 0, "missing": 0, "expired": 0}}, found.coverage)
