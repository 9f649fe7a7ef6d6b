"""A year of flights, watched month by month: `python -m examples.monitor_flights`.

A model learns from the first quarter of 2013. Is what it is shown later still what it learned from? It prints a report
for each month, and draws the last one, with the year's distances, into `.out/`.
"""

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc

from examples.flights import data
from examples.flights.definitions import flights, plane, plane_history
from fs_core import FeatureStore, TrainingSet

FIRST = datetime(2013, 1, 1, tzinfo=UTC)


def training_set(store: FeatureStore) -> TrainingSet:
    """Return what was known of each plane in ten weeks of the first quarter."""
    tails = pc.unique(store.history(plane_history)["tailnum"]).to_pylist()
    weeks = [FIRST + timedelta(weeks=week) for week in range(2, 12)]
    spine = {"tailnum": tails * len(weeks), "event_timestamp": [week for week in weeks for _ in tails]}
    return store.get_historical_features(spine, plane_history)


def main(months: Iterable[int] = range(5, 13), out: Path = Path(".out")) -> None:
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        data.prepare(Path(directory) / "data", now=data.LAST_WEEK)  # as of then, so that dates are true
        store.apply(flights, plane, plane_history)
        store.backfill(plane_history)
        trained = training_set(store)
        for month in months:
            print(store.monitor(plane_history, trained, window="28d", at=datetime(2013, month, 1, tzinfo=UTC)))
        year = store.monitor(plane_history, trained, window="28d", at=data.LAST_WEEK, backtest=True)
        out.mkdir(exist_ok=True)
        year.to_png(out / "monitor_flights.png")
        year.to_html(out / "monitor_flights.html")


if __name__ == "__main__":
    main()
