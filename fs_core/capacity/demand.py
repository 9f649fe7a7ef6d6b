"""What is asked of a store, what a processor does in a second, and what things cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from fs_core.errors import DataError

MONTH = 30 * 86_400
"""Seconds."""


@dataclass(frozen=True)
class Demand:
    """What is asked of a store, on average; machines are planned for `busy`, money for the average.

    Attributes:
        reads: requests a second.
        batch: entities of a request; each has a row of every view. One that is there twice is read once.
        events: rows that come a second, of all views together.
        commit: seconds between two commits to a bucket.
        max_age: seconds for which a serving process keeps rows; 0 for none.
        processes: that serve; 0 for as many as processors are needed to.
        skew: the exponent of Zipf's law by which entities are asked for: 0 is all alike, 1.1 is steep.
        replicas: copies of each shard.
        node: GiB of memory of a server.
        spine: rows of a training set; 0 for none.
        trainings: training sets a month.
        within: hours in which a training set is to be made.
        busy: the share of its processor at which a server or process is full.

    Raises:
        DataError: one of them is no number, or out of its range.
    """

    reads: float = 0.0
    batch: int = 1
    events: float = 0.0
    commit: float = 5.0
    max_age: float = 0.0
    processes: int = 0
    skew: float = 1.1
    replicas: int = 1
    node: float = 13.07
    spine: int = 0
    trainings: int = 0
    within: float = 1.0
    busy: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what no store can be asked for."""
        _refuse_unusable(self, positive=("batch", "commit", "node", "within", "busy"))
        if self.busy > 1:
            raise DataError(f"busy is {self.busy}: it is a share of a processor, from above 0 to 1.")


@dataclass(frozen=True)
class Rates:
    """Seconds of one processor, and requests to a bucket, measured on two cores of a small virtual machine.

    `python -m tests.benchmarks.bench_capacity` measures all but Spark's on yours, which is `bench_spark`'s processor
    time: views of ten float64 features, entities with one int64 key. Pass what they print.

    Attributes:
        served: of a Valkey server, for a row that it is asked for, in requests of a hundred.
        stored: of a Valkey server, for a row that is written.
        request: of a serving process, for a request.
        row: of a serving process, for each row that it returns.
        event: of a process that takes events of a stream into history and online.
        joined: of the embedded engine, for each row of spine and history of one view.
        joined_by_spark: of Spark's executors, for the same, where their machines have the index already.
        puts: requests to a bucket that write or list, for a commit.
        gets: other requests to it, for a commit.
    """

    served: float = 1.0e-6
    stored: float = 2.1e-6
    request: float = 1.8e-4
    row: float = 0.9e-6
    event: float = 1.05e-5
    joined: float = 2.5e-7
    joined_by_spark: float = 2.5e-7
    puts: float = 6.6
    gets: float = 14.0

    def __post_init__(self) -> None:
        """Refuse what no machine does."""
        _refuse_unusable(self, positive=())


@dataclass(frozen=True)
class Prices:
    """What things cost, in one currency. The defaults are list prices of AWS in US dollars, us-east-1, 2026.

    Attributes:
        memory: a GiB of a Redis or Valkey server's memory for an hour (cache.r7g.large, 13.07 GiB, Valkey).
        core: a processor for an hour (m7g).
        stored_item: a GB in DynamoDB for a month.
        million_read: a million read units of DynamoDB, on demand: 4 kB each.
        million_written: a million write units of DynamoDB, on demand: 1 kB each.
        object: a GB in S3 for a month.
        thousand_puts: a thousand requests to S3 that write or list.
        thousand_gets: a thousand other requests to S3.
    """

    memory: float = 0.0134
    core: float = 0.0408
    stored_item: float = 0.25
    million_read: float = 0.125
    million_written: float = 0.625
    object: float = 0.023
    thousand_puts: float = 0.005
    thousand_gets: float = 0.0004

    def __post_init__(self) -> None:
        """Refuse what nothing costs."""
        _refuse_unusable(self, positive=())


def _refuse_unusable(found: Any, positive: tuple[str, ...]) -> None:
    for field in fields(found):
        value, is_whole = getattr(found, field.name), field.type == "int"
        is_number = isinstance(value, Integral if is_whole else Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0 or (value == 0 and field.name in positive):
            kind, least = (
                "a whole number" if is_whole else "a number",
                "above 0" if field.name in positive else "0 or more",
            )
            raise DataError(f"{field.name} is {value!r}: it must be {kind}, {least}.")
