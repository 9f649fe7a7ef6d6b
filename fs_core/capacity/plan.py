"""The model: from what views need and what is asked to nodes, processors, requests and money."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fs_core.capacity.demand import MONTH, Demand, Prices, Rates
from fs_core.capacity.estimate import Estimate, shown
from fs_core.capacity.hot_spots import HotSpots, hot_spots
from fs_core.errors import DataError

_FRAGMENTS = 1.2  # what a server takes of the system, as a multiple of what it uses
_USABLE = 0.75  # of a node's memory; the rest is for clients and for saving a copy
_MOST = 1_000  # nodes, which the makers of Redis and Valkey advise at most
_GIB = 2**30
_HOURS = MONTH / 3600


@dataclass(frozen=True)
class Cluster:
    """A Valkey cluster.

    Attributes:
        used: bytes that all shards and copies use.
        shards: nodes with rows of their own.
        copies: of each shard.
        spots: how many rows a second of one view each shard is asked for.
        cores: processors of the shards at work, all together.
        is_enough: whether no shard is too busy; else one entity alone is asked for too often.
        cost: of the nodes' memory, a month.
    """

    used: float
    shards: int
    copies: int
    spots: HotSpots
    cores: float
    is_enough: bool
    cost: float

    def __str__(self) -> str:
        spots, copies = self.spots, f"{self.copies} cop{'y' if self.copies == 1 else 'ies'}"
        text = (
            f"valkey: {shown(self.used)} on {self.shards:,} shard{'s' * (self.shards > 1)} with {copies} each, "
            f"{self.cores:.2g} cores busy, {self.cost:,.2f} a month; the busiest shard has {spots.busiest:.2f} times "
            f"the mean's reads, the hottest entity {spots.hottest:,.0f} a second"
        )
        if self.is_enough:
            return text
        return f"{text}. NOT ENOUGH: more shards don't help one entity; let processes keep rows, --max-age 1"


@dataclass(frozen=True)
class Table:
    """A table of DynamoDB.

    Attributes:
        stored: bytes.
        reads: read units a second, of consistent reads.
        writes: write units a second.
        cost: a month, on demand.
    """

    stored: float
    reads: float
    writes: float
    cost: float

    def __str__(self) -> str:
        return (
            f"dynamodb: {shown(self.stored)}, {self.reads:,.0f} read and {self.writes:,.0f} write units a second, "
            f"{self.cost:,.2f} a month"
        )


@dataclass(frozen=True)
class Bucket:
    """History in a bucket.

    Attributes:
        stored: bytes, once all entities have as many rows as one has now.
        growth: bytes a month.
        puts: requests that write, a month.
        gets: requests that read, a month.
        cost: of a month, at whose end that much has come.
    """

    stored: float
    growth: float
    puts: float
    gets: float
    cost: float

    def __str__(self) -> str:
        return (
            f"bucket: {shown(self.stored)}, {shown(self.growth)} more a month, {self.puts:,.0f} PUT and "
            f"{self.gets:,.0f} GET a month, {self.cost:,.2f} a month"
        )


@dataclass(frozen=True)
class Cores:
    """Processors of those who ask and write.

    Attributes:
        serving: processors.
        ingesting: processors.
        joining: seconds of one processor for a training set, by the embedded engine.
        spark: processors with which Spark makes one in time.
        cost: a month, training by Spark.
    """

    serving: float
    ingesting: float
    joining: float
    spark: int
    cost: float

    def __str__(self) -> str:
        trained = f", a training set takes {self.joining:,.0f} s of one, or {self.spark:,} of Spark's" * bool(
            self.spark
        )
        return f"cores: {self.serving:.2g} to serve, {self.ingesting:.2g} to ingest{trained}, {self.cost:,.2f} a month"


@dataclass(frozen=True)
class Plan:
    """What some views need together for what is asked.

    Attributes:
        views: their names.
        cluster: where their rows lie in a Valkey cluster.
        table: where they lie in DynamoDB.
        bucket: where history lies in a bucket.
        cores: of those who ask and write.
    """

    views: tuple[str, ...]
    cluster: Cluster
    table: Table
    bucket: Bucket
    cores: Cores

    def __str__(self) -> str:
        return "\n".join(map(str, (self.cluster, self.table, self.bucket, self.cores)))

    @property
    def data(self) -> dict[str, Any]:
        """All numbers, by part and name."""
        spots = self.cluster.spots
        numbers = {name: asdict(part) for name, part in vars(self).items() if name not in ("views", "cluster")}
        cluster = {name: value for name, value in vars(self.cluster).items() if name != "spots"}
        cluster |= {"busiest": spots.busiest, "hottest": spots.hottest}
        return {"views": list(self.views), "cluster": cluster, **numbers}


def plan(
    estimates: Sequence[Estimate], asked: Demand, *, rates: Rates | None = None, prices: Prices | None = None
) -> Plan:
    """Return what some views need together.

    Args:
        estimates: what `FeatureStore.estimate` says of each view.
        asked: what is asked of the store.
        rates: what a processor does in a second; by default what ours did.
        prices: what things cost.

    Raises:
        DataError: there is no view.
    """
    if not estimates:
        raise DataError("a plan is made for one view or more: pass what store.estimate says of each.")
    rates, prices = rates or Rates(), prices or Prices()
    cluster = _cluster(estimates, asked, rates, prices)
    table = _table(estimates, asked, prices, cluster.spots.total)
    bucket, cores = _bucket(estimates, asked, rates, prices), _cores(estimates, asked, rates, prices)
    return Plan(tuple(one.view for one in estimates), cluster, table, bucket, cores)


def _cluster(estimates: Sequence[Estimate], asked: Demand, rates: Rates, prices: Prices) -> Cluster:
    """Return the smallest cluster that has the memory, and of which no shard is too busy."""
    each = sum(one.valkey * one.entities for one in estimates) * _FRAGMENTS
    for shards in _counts(math.ceil(each / (asked.node * _GIB * _USABLE))):
        spots = _spots(estimates, asked, shards)
        writing = asked.events * rates.stored / shards
        if spots.nodes.max() * len(estimates) * rates.served + writing <= asked.busy:
            break
    busy = spots.nodes.max() * len(estimates) * rates.served + writing
    cores = spots.total * len(estimates) * rates.served + asked.events * rates.stored
    nodes = shards * (1 + asked.replicas)
    cost = nodes * asked.node * prices.memory * _HOURS
    return Cluster(each * (1 + asked.replicas), shards, asked.replicas, spots, cores, bool(busy <= asked.busy), cost)


def _counts(least: int) -> Iterator[int]:
    """Yield numbers of shards that are tried: each some more than the one before, to the most that are advised."""
    count = max(least, 1)
    while count < _MOST:
        yield count
        count = max(count + 1, count * 11 // 10)
    yield max(least, _MOST)


def _spots(estimates: Sequence[Estimate], asked: Demand, shards: int) -> HotSpots:
    entities, rows = max(one.entities for one in estimates), asked.reads * asked.batch
    return hot_spots(shards, entities, rows, skew=asked.skew, max_age=asked.max_age, processes=asked.processes)


def _table(estimates: Sequence[Estimate], asked: Demand, prices: Prices, rows: float) -> Table:
    stored = sum(one.dynamodb * one.entities for one in estimates)
    reads = rows * sum(one.read_units for one in estimates)
    writes = asked.events * sum(one.write_units for one in estimates) / len(estimates)
    by_use = (reads * prices.million_read + writes * prices.million_written) * MONTH / 1e6
    return Table(stored, reads, writes, stored / 1e9 * prices.stored_item + by_use)


def _bucket(estimates: Sequence[Estimate], asked: Demand, rates: Rates, prices: Prices) -> Bucket:
    stored, row = (
        sum(one.planned_rows * one.history_row for one in estimates),
        sum(one.history_row for one in estimates) / len(estimates),
    )
    growth = asked.events * row * MONTH
    commits = min(asked.events, len(estimates) / asked.commit) * MONTH
    puts, gets = commits * rates.puts, commits * rates.gets
    by_use = (puts * prices.thousand_puts + gets * prices.thousand_gets) / 1e3
    return Bucket(stored, growth, puts, gets, (stored + growth) / 1e9 * prices.object + by_use)


def _cores(estimates: Sequence[Estimate], asked: Demand, rates: Rates, prices: Prices) -> Cores:
    rows = asked.reads * asked.batch * len(estimates)
    serving = (asked.reads * rates.request + rows * rates.row) / asked.busy
    ingesting = asked.events * rates.event / asked.busy
    joined = sum(asked.spine + one.planned_rows for one in estimates) if asked.spine else 0
    by_spark = joined * rates.joined_by_spark
    cost = ((serving + ingesting) * _HOURS + asked.trainings * by_spark / 3600) * prices.core
    return Cores(serving, ingesting, joined * rates.joined, math.ceil(by_spark / (asked.within * 3600)), cost)
