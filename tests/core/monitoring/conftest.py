"""What tests of the request log share: a store whose clock they set, and reads that are logged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.values.times import Clock, micros

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
FIELDS = [
    Field("amount", "float64", "Spent."),
    Field("visits", "int64", "Of the shop."),
    Field("shop", "string", "The last."),
]
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


class SetClock(Clock):
    """A clock that shows what a test sets, and moves on a microsecond each time it is read."""

    def __init__(self, moment: datetime = NOW) -> None:
        super().__init__()
        self.moment = moment

    def now(self) -> int:
        """Return the moment in microseconds."""
        self.moment += timedelta(microseconds=1)
        return micros(self.moment)


def view(version: str = "1.0.0", name: str = "spending", lag: str = "0s", ttl: str | None = "7d") -> FeatureView:
    """Return a view of users."""
    return FeatureView(
        name, entity=USER, version=version, description="Spending.", fields=FIELDS, lag=lag, ttl=ttl, online=True
    )


def rows(users: list[int], moment: datetime, amount: float = 1.0) -> dict[str, list[object]]:
    """Return a row for each user."""
    count = len(users)
    return {
        "user_id": list(users),
        "event_timestamp": [moment] * count,
        "amount": [amount + user for user in users],
        "visits": [2**53 + user for user in users],
        "shop": [f"shop {user}" for user in users],
    }


@pytest.fixture
def clock() -> SetClock:
    """A clock set to a day in March."""
    return SetClock()


@pytest.fixture
def served(tmp_path: Path, clock: SetClock) -> Iterator[FeatureStore]:
    """A store whose users 1 to 5 are online."""
    with FeatureStore(tmp_path / "store", clock=clock) as made:
        made.apply(view())
        made.write("spending", rows([1, 2, 3, 4, 5], NOW - timedelta(days=1)))
        made.materialize()
        yield made
