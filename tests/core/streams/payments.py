"""Payments as messages of a stream, and the view that they fill."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from fs_core import Entity, FeatureStore, FeatureView, Field

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
PAID = FeatureView(
    "paid",
    entity=USER,
    fields=[Field("amount", "float64", "Paid, EUR.", minimum=0), Field("shop", "string", "Where.")],
    description="Payments.",
)
START = datetime(2025, 1, 1, tzinfo=UTC)


def payment(number: int, **more: Any) -> dict[str, Any]:
    """Return one event."""
    moment = (START + timedelta(seconds=number)).isoformat()
    return {"user_id": number % 7, "event_timestamp": moment, "amount": number / 4, "shop": f"s{number}", **more}


def send(client: redis.Redis, *events: Any) -> None:
    """Add messages to the stream."""
    pipeline = client.pipeline(transaction=False)
    for event in events:
        pipeline.xadd("payments", {"m": event if isinstance(event, bytes) else json.dumps(event)})
    pipeline.execute()


def shops(store: FeatureStore) -> list[str]:
    """Return which payments are in history, in the order written."""
    found: list[str] = store.history(PAID)["shop"].to_pylist()
    return found
