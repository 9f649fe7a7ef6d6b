"""What a computed feature costs beyond its function: a read of 100 entities with it, and without it.

The bare function is called with the arrays that it would be called with. What is left is ours: 150 microseconds at
most. Of each way the best of many runs counts. Run `make bench`, or `python -m tests.benchmarks.bench_on_demand`.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core import Entity, FeatureStore, FeatureView, Field, Request, on_demand
from tests.benchmarks.timing import race

ENTITIES, BAR = 100, 150e-6

VIEW = FeatureView(
    "spending",
    entity=Entity("user", keys={"user_id": "int64"}, description="A user."),
    fields=[Field("mean", "float64", "EUR.")],
    description="What a user spent.",
)


@on_demand(
    inputs=["spending.mean", Request("amount", "float64", "EUR.")],
    fields=[Field("ratio", "float64", "Over the mean.")],
    description="How a payment compares.",
)
def ratio(mean: Any, amount: Any) -> Any:
    """Divide."""
    return amount / mean


def main() -> None:
    """Race both reads and the function; print what is left."""
    now = datetime.now(UTC)
    users, amounts = np.arange(ENTITIES), np.random.default_rng(0).gamma(2, 50, ENTITIES)
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        store.apply(VIEW, ratio)
        store.write("spending", {"user_id": users, "event_timestamp": [now] * ENTITIES, "mean": amounts + 1})
        store.materialize()
        entities = pa.table({"user_id": users, "amount": amounts})
        ways = {
            "plain": lambda: store.get_online_features(["spending.mean"], entities).to_arrow(),
            "computed": lambda: store.get_online_features(["ratio"], entities).to_arrow(),
            "function": lambda: ratio(mean=amounts, amount=amounts),
        }
        seconds = {timing.name: min(timing.seconds) for timing in race(ways, runs=500)}
    left = seconds["computed"] - seconds["plain"] - seconds["function"]
    print(*(f"{name}: {1e6 * best:.0f} us" for name, best in seconds.items()), sep="\n")
    print(
        f"on-demand adds {1e6 * left:.0f} us to a read of {ENTITIES} ({'within' if left <= BAR else 'ABOVE'} the bar)"
    )


if __name__ == "__main__":
    main()
