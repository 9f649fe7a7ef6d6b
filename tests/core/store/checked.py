"""A view whose rows are checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fs_core import Entity, FeatureView, Field

ENTITY = Entity("e", keys={"k": "int64"}, description="An entity.")


DAY = datetime(2024, 1, 1, tzinfo=UTC)


def view(version: str = "1.0.0", **options: Any) -> FeatureView:
    """A view whose x is at most 10 and below y, rows that break it in quarantine."""
    options = {"checks": ["x < y"], "on_violation": "quarantine"} | options
    fields = options.pop("fields", [Field("x", "int64", "X.", maximum=10), Field("y", "float64", "Y.", nullable=False)])
    return FeatureView("v", ENTITY, fields, version, description="V.", **options)


def rows(x: list[Any], y: list[Any] | None = None, first: int = 0) -> dict[str, list[Any]]:
    """Rows of entities 0, 1, ..., all of one day."""
    return {
        "k": list(range(first, first + len(x))),
        "event_timestamp": [DAY] * len(x),
        "x": x,
        "y": [100.0] * len(x) if y is None else y,
    }
