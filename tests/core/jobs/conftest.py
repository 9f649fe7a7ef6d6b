"""A shop whose views have schedules, and a clock that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Schedule, Source
from fs_core.values.times import Clock

HOUR = 3_600_000_000
MINUTE = 60_000_000


class HandClock(Clock):
    """Goes by a microsecond a look, and as a test sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 480_000 * HOUR

    def now(self) -> int:
        """Return the moment."""
        self.moment += 1
        return self.moment


class Steps:
    """Stops after so many looks or waits; its waiting moves the clock instead of taking time."""

    def __init__(self, clock: HandClock, looks: float = float("inf"), waits: float = float("inf")) -> None:
        self.clock, self.looks, self.waits = clock, looks, waits
        self.slept = list[float]()

    def is_set(self) -> bool:
        """Return whether it has been looked at often enough."""
        self.looks -= 1
        return self.looks < 0 or self.waits < 0

    def wait(self, timeout: float) -> None:
        """Let the time go by."""
        self.waits -= 1
        self.slept.append(timeout)
        self.clock.moment += int(timeout * 10**6)


USER = Entity("user", keys={"id": "int64"}, description="A user.")


def visits(name: str = "visits", file: str = "visits", schedule: Schedule | str = "1h", **more: object) -> FeatureView:
    """A view of the rows of a file."""
    sql = SQL(f"SELECT id, seen AS event_timestamp, n FROM {file}")
    fields = [Field("n", "int64", "Visits.")]
    return FeatureView(name, USER, fields, source=sql, description="V.", schedule=schedule, **more)  # type: ignore[arg-type]


def write_rows(directory: Path, numbers: range, file: str = "visits") -> None:
    """Let a file have a row for each number."""
    lines = [f"{n},2024-01-01T01:{n:02d}:00,{n}\n" if n >= 0 else f"{n},2024-01-01T00:50:00,{n}\n" for n in numbers]
    (directory / f"{file}.csv").write_text("id,seen,n\n" + "".join(lines))


@pytest.fixture
def clock() -> HandClock:
    """A clock in a test's hands."""
    return HandClock()


@pytest.fixture
def shop(tmp_path: Path, clock: HandClock) -> Callable[..., FeatureStore]:
    """A function that opens a store with three rows to backfill and applies views."""

    def open_shop(*views: FeatureView, online: str | None = None) -> FeatureStore:
        store = FeatureStore(tmp_path / "store", online=online, clock=clock)
        for file in ("visits", "broken"):
            store.apply(Source(file, path=str(tmp_path / f"{file}.csv")))
        store.apply(*views)
        return store

    write_rows(tmp_path, range(3))
    return open_shop
