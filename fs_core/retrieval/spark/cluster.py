"""The machines of a Spark session: portions of history are looked at anywhere, then what belongs together is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from fs_core.errors import ConfigurationError, OnlineStoreError
from fs_core.retrieval.spark.failures import reason_of

Batches = Iterator[pa.RecordBatch]


class SparkCluster:
    """Does `fs_core.materialization.shared.run.SharedRun`s: one stage finds, one shuffle gathers, one stage sends.

    Args:
        session: of Spark, or of Spark Connect.

    Raises:
        ConfigurationError: it is none.
    """

    def __init__(self, session: Any) -> None:
        if not hasattr(type(session), "createDataFrame"):  # of a frame, any name is a column
            raise ConfigurationError(
                f"spark={session!r} is no Spark session. Pass what SparkSession.builder.getOrCreate() returns."
            )
        self._session = session

    def check(self, reach: Any) -> None:
        """Have a machine look whether it reaches the stores; nothing is written.

        Args:
            reach: an `fs_core.materialization.shared.reach.Reach`.

        Raises:
            ConfigurationError: it doesn't, or Spark runs nothing.
        """
        try:
            found = self._session.range(0, 1, 1, 1).mapInArrow(_looked(reach), "complaint string").collect()
        except Exception as error:  # Spark's, its transport's, a stopped JVM's: all say that no task of ours runs
            raise ConfigurationError(
                "spark=: the session runs no task of ours, and nothing was written. If it was stopped, pass a new one. "
                f"Its machines need fs_core in this version and the online store's library. {reason_of(error)}"
            ) from error
        for row in found:
            raise ConfigurationError(
                "spark=: a machine of the cluster doesn't reach what it must, and nothing was written. Credentials are "
                "those of its environment: AWS_ACCESS_KEY_ID and so on, FS_ONLINE where the URL has a password. "
                f"{row['complaint']}"
            )

    def send(self, run: Any, portions: Sequence[Any]) -> list[tuple[int, int]]:
        """See `Cluster.send`."""
        from pyspark.errors import PySparkException
        from pyspark.sql import functions

        numbers = self._session.range(0, len(portions), 1, len(portions))
        found = numbers.mapInArrow(_found(run, portions), "key binary, row binary, collect_at long, events long")
        gathered = found.groupBy("key").agg(
            functions.collect_list("row").alias("rows"),
            functions.max("collect_at").alias("collect_at"),
            functions.sum("events").alias("events"),
        )
        try:
            tasks = gathered.mapInArrow(_sent(run), "rows long, applied long").collect()
        except PySparkException as error:
            raise OnlineStoreError(
                f"view {run.view.ref!r}: Spark couldn't bring its rows online; what was sent is right, and another "
                f"materialize sends the rest. {reason_of(error)}"
            ) from error
        return [(task["rows"], task["applied"]) for task in tasks]


# Functions without a `self`: Spark sends them by value, and what they name by name.
def _looked(reach: Any) -> Callable[[Batches], Batches]:
    def looked(batches: Batches) -> Batches:
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"complaint": pa.array(reach.complaints(), pa.string())})

    return looked


def _found(run: Any, portions: Sequence[Any]) -> Callable[[Batches], Batches]:
    def found(batches: Batches) -> Batches:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from run.found(portions[number])

    return found


def _sent(run: Any) -> Callable[[Batches], Batches]:
    def sent(batches: Batches) -> Batches:
        yield from run.sent(batches)

    return sent
