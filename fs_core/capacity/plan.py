"""The model: from what views need and what is asked to nodes, processors, requests and money."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fs_core.capacity.demand import MONTH, Demand, Prices, Rates
from fs_core.capacity.estimate import Estimate, shown
from fs_core.capacity.hot_spots import HotSpots, hot_spots
from fs_core.errors import DataError

_FRAGMENTS = 1.2  # what a server takes of the system, as a multiple of what it uses
_USABLE = 0.75  # of a node's memory; the rest is for clients and for saving a copy
_MOST = 1_000  # nodes, copies counted, which the makers of Redis and Valkey advise at most
_OF_AN_ITEM = 3_000  # read units of DynamoDB a second: those of a partition, of which an item fills one at most
_GIB = 2**30
_HOURS = MONTH / 3600


@dataclass(frozen=True)
class Cluster:
    """A Valkey cluster.

    Attributes:
        used: bytes that all shards and copies use.
        shards: nodes with rows of their own.
        copies: of each shard.
        spots: how many rows a second each shard is asked for, of all views.
        cores: processors of the shards at work, all together.
        lacks: why it isn't enough, and what to do; nothing if it is.
        cost: of the nodes' memory, a month.
    """

    used: float
    shards: int
    copies: int
    spots: HotSpots
    cores: float
    lacks: str
    cost: float

    def __str__(self) -> str:
        spots, copies = self.spots, f"{self.copies} cop{'y' if self.copies == 1 else 'ies'}"
        text = (
            f"valkey: {shown(self.used)} on {self.shards:,} shard{'s' * (self.shards > 1)} with {copies} each, "
            f"{_cores_shown(self.cores)} cores busy, {self.cost:,.2f} a month; the busiest shard has "
            f"{spots.busiest:.2f} times the mean's reads, the hottest entity {spots.hottest:,.0f} rows a second"
        )
        return text + _shortage(self.lacks)


@dataclass(frozen=True)
class Table:
    """A table of DynamoDB.

    Attributes:
        stored: bytes.
        reads: read units a second, of consistent reads.
        writes: write units a second.
        lacks: why it isn't enough, and what to do; nothing if it is.
        cost: a month, on demand.
    """

    stored: float
    reads: float
    writes: float
    lacks: str
    cost: float

    def __str__(self) -> str:
        text = (
            f"dynamodb: {shown(self.stored)}, {self.reads:,.0f} read and {self.writes:,.0f} write units a second, "
            f"{self.cost:,.2f} a month"
        )
        return text + _shortage(self.lacks)


@dataclass(frozen=True)
class Bucket:
    """History in a bucket.

    Attributes:
        stored: bytes, once all entities have as many rows as one has now.
        growth: bytes a month.
        puts: requests that write or list, a month.
        gets: other requests, a month.
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
        cost: of all that a month, as many training sets as were asked for by Spark.
    """

    serving: float
    ingesting: float
    joining: float
    spark: int
    cost: float

    def __str__(self) -> str:
        trained = f"; a training set takes {self.joining:,.0f} s of one, or {self.spark:,} of Spark's" * bool(
            self.spark
        )
        parts = f"{_cores_shown(self.serving)} to serve, {_cores_shown(self.ingesting)} to ingest"
        return f"cores: {parts}, {self.cost:,.2f} a month{trained}"


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
    cores = _cores(estimates, asked, rates, prices)
    if not asked.processes:
        asked = replace(asked, processes=max(1, math.ceil(cores.serving)))
    cluster = _cluster(estimates, asked, rates, prices)
    table, bucket = _table(estimates, asked, prices), _bucket(estimates, asked, rates, prices)
    return Plan(tuple(one.view for one in estimates), cluster, table, bucket, cores)


def _cluster(estimates: Sequence[Estimate], asked: Demand, rates: Rates, prices: Prices) -> Cluster:
    """Return the smallest cluster that has the memory, and of which no shard is too busy, or what comes next to it."""
    each = sum(one.valkey * one.entities for one in estimates) * _FRAGMENTS
    most = _MOST // (1 + asked.replicas)
    least = max(math.ceil(each / (asked.node * _GIB * _USABLE)), 1)
    if least > most:
        shards, lacks = most, f"{least:,} shards have the memory, and a cluster has {most:,}; take larger nodes, --node"
        spots = _spots(estimates, asked, most)
    else:
        shards, spots = _enough(estimates, asked, rates, least, most)
        lacks = _overload(asked, rates, spots, shards)
    cores = spots.total * rates.served + asked.events * rates.stored
    cost = shards * (1 + asked.replicas) * asked.node * prices.memory * _HOURS
    return Cluster(each * (1 + asked.replicas), shards, asked.replicas, spots, cores, lacks, cost)


def _enough(estimates: Sequence[Estimate], asked: Demand, rates: Rates, least: int, most: int) -> tuple[int, HotSpots]:
    """Return the fewest shards of which none is too busy; where none will do, so many that more hardly help."""
    for shards in _counts(least, most):
        spots = _spots(estimates, asked, shards)
        others = max(spots.nodes.max() - spots.hottest, 0.0) * rates.served + asked.events * rates.stored / shards
        hopeless = spots.hottest * rates.served > asked.busy
        if not _overload(asked, rates, spots, shards) or (hopeless and others <= asked.busy):
            break
    return shards, spots


def _counts(least: int, most: int) -> Iterator[int]:
    """Yield numbers of shards that are tried: each some more than the one before."""
    count = least
    while count < most:
        yield count
        count = max(count + 1, count * 11 // 10)
    yield most


def _overload(asked: Demand, rates: Rates, spots: HotSpots, shards: int) -> str:
    """Return why a shard is too busy, and what to do; nothing if none is."""
    writing = asked.events * rates.stored / shards
    if spots.nodes.max() * rates.served + writing <= asked.busy:
        return ""
    if spots.hottest * rates.served <= asked.busy:
        return f"{shards:,} shards are too busy, and a cluster has no more; take several, or ask for less"
    if asked.max_age:
        return (
            "one entity is asked for too often; more shards don't help it, rows that are kept for longer do, --max-age"
        )
    return "one entity is asked for too often; more shards don't help it, let processes keep rows: --max-age 1"


def _spots(estimates: Sequence[Estimate], asked: Demand, nodes: int) -> HotSpots:
    """Return what nodes are asked for, of all views; those with as many entities have the same ones."""
    loads, hottest = np.zeros(nodes), 0.0
    for entities, views in Counter(one.entities for one in estimates).items():
        found = hot_spots(
            nodes,
            entities,
            asked.reads,
            batch=asked.batch,
            skew=asked.skew,
            max_age=asked.max_age,
            processes=asked.processes,
        )
        loads += views * found.nodes
        hottest = max(hottest, views * found.hottest)
    return HotSpots(loads, hottest)


def _table(estimates: Sequence[Estimate], asked: Demand, prices: Prices) -> Table:
    stored, each = sum(one.dynamodb * one.entities for one in estimates), asked.events / len(estimates)
    spots = [_spots([one], asked, 1) for one in estimates]
    reads = sum(found.total * one.read_units for one, found in zip(estimates, spots, strict=True))
    reads += sum(each * one.write_reads for one in estimates)
    writes = sum(each * one.write_units for one in estimates)
    hottest = max(found.hottest * one.read_units for one, found in zip(estimates, spots, strict=True))
    lacks = (
        f"one entity takes {hottest:,.0f} read units a second, and an item has {_OF_AN_ITEM:,}; let processes keep rows"
    )
    by_use = (reads * prices.million_read + writes * prices.million_written) * MONTH / 1e6
    cost = stored / 1e9 * prices.stored_item + by_use
    return Table(stored, reads, writes, lacks if hottest > _OF_AN_ITEM else "", cost)


def _bucket(estimates: Sequence[Estimate], asked: Demand, rates: Rates, prices: Prices) -> Bucket:
    stored = sum(one.planned_rows * one.history_row for one in estimates)
    growth = asked.events * sum(one.history_row for one in estimates) / len(estimates) * MONTH
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


def _shortage(lacks: str) -> str:
    """Return what the line of a part ends with that isn't enough; nothing where it is."""
    return f". NOT ENOUGH: {lacks}" if lacks else ""


def _cores_shown(cores: float) -> str:
    return f"{cores:,.0f}" if cores >= 10 else f"{cores:.2g}"
