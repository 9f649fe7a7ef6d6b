"""The model: what a plan says follows from what is asked, and hot spots are those of requests that are drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.capacity import Demand, Estimate, Plan, Prices, Rates, hot_spots, plan
from fs_core.cli.group import cli
from fs_core.errors import DataError

ROW = Estimate(
    "spending",
    entities=10**7,
    known=10**7,
    sampled=10**4,
    row=107,
    sqlite=200,
    redis=185,
    valkey=180,
    dynamodb=260,
    read_units=1,
    write_units=1,
    write_reads=0,
    rows=10**8,
    history=10**10,
    index=10**10,
)
GIB = 2**30


def zipf(entities: int, skew: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what share of rows each entity is asked for, by rank."""
    weights = np.arange(1, entities + 1, dtype=np.float64) ** -skew
    return weights / weights.sum()


def asked_for(entities: int, skew: float, reads: float, batch: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return how often a second each entity is read, by rank: in a request once, however often it is drawn."""
    return reads * (1 - (1 - zipf(entities, skew)) ** batch)


@given(
    nodes=st.integers(1, 300),
    entities=st.integers(1, 200_000),
    skew=st.sampled_from([0.0, 0.5, 1.0, 1.1, 2.0]),
    reads=st.floats(0, 1e7),
    batch=st.sampled_from([1, 2, 100]),
)
def test_nodes_are_asked_for_all_rows(nodes: int, entities: int, skew: float, reads: float, batch: int) -> None:
    """Whatever the law, nothing is lost and nothing asked twice; the hottest entity has its share."""
    found, each = hot_spots(nodes, entities, reads, batch=batch, skew=skew), asked_for(entities, skew, reads, batch)
    assert len(found.nodes) == nodes
    assert found.total == pytest.approx(each.sum(), rel=1e-3)
    assert found.hottest == pytest.approx(each[0], rel=1e-3)
    assert found.nodes.max() >= found.hottest * (1 - 1e-9)
    assert found.hottest <= reads * (1 + 1e-9)


def test_a_cluster_is_as_uneven_as_one_that_is_asked_at_random() -> None:
    """Of requests that are drawn one by one, the busiest of 100 nodes gets what the model says: the median of draws."""
    entities, random = 50_000, np.random.default_rng(3)
    for skew in (0.8, 1.1):
        shares = zipf(entities, skew)
        drawn = []
        for _ in range(15):
            nodes = random.integers(0, 100, entities)  # where a key lies is as good as random
            asked = random.choice(entities, 200_000, p=shares)
            loads = np.bincount(nodes[asked], minlength=100)
            drawn.append(loads.max() / loads.mean())
        assert hot_spots(100, entities, 1e6, skew=skew).busiest == pytest.approx(np.median(drawn), rel=0.15)


def test_a_request_reads_an_entity_once() -> None:
    """Of requests that are drawn one by one, as many different entities are read as the model says."""
    entities, batch, random = 5_000, 50, np.random.default_rng(4)
    requests = random.choice(entities, (2_000, batch), p=zipf(entities, 1.1))
    different = np.mean([len(set(request)) for request in requests.tolist()])
    assert hot_spots(1, entities, 1.0, batch=batch).total == pytest.approx(different, rel=0.02)
    assert hot_spots(4, 1, 10.0, batch=100).hottest == 10


def test_rows_that_are_kept_are_asked_for_once_in_a_while() -> None:
    """With `max_age` a process asks for the hottest entity once a second, so it is hot no more."""
    kept = hot_spots(100, 10**8, 1e6, skew=1.1, max_age=1.0, processes=64)
    assert 60 < kept.hottest <= 64
    assert kept.total < 1e6
    assert kept.busiest < hot_spots(100, 10**8, 1e6, skew=1.1).busiest / 5


@given(
    reads=st.floats(0, 1e6),
    batch=st.integers(1, 1_000),
    events=st.floats(0, 1e5),
    entities=st.integers(1, 10**12),
    replicas=st.integers(0, 3),
)
def test_a_cluster_has_the_memory_and_no_shard_is_too_busy(
    reads: float, batch: int, events: float, entities: int, replicas: int
) -> None:
    """Each shard's rows fit into its node, its processor isn't fuller than was asked, and there aren't more nodes than
    a cluster has; or the plan says what it lacks.
    """
    asked, rates = Demand(reads=reads, batch=batch, events=events, replicas=replicas, skew=0.8), Rates()
    cluster = plan([replace(ROW, entities=entities)], asked).cluster
    busy = cluster.spots.nodes.max() * rates.served + events * rates.stored / cluster.shards
    has_room = cluster.used / (1 + replicas) / cluster.shards <= asked.node * GIB
    assert cluster.shards * (1 + replicas) <= 1_000
    assert has_room or "--node" in cluster.lacks
    assert busy <= asked.busy or cluster.lacks
    assert bool(cluster.lacks) == ("NOT ENOUGH" in str(cluster))
    assert not cluster.lacks or not has_room or busy > asked.busy or "the memory" in cluster.lacks


def test_what_lacks_is_told() -> None:
    """More shards don't help an entity that everybody wants, keeping rows does; too much of all is another thing."""
    asked, rates = Demand(reads=1_000_000, skew=2.0), Rates(served=1e-6)
    alone = plan([ROW], asked, rates=rates).cluster
    assert "--max-age 1" in alone.lacks
    assert alone.shards < 100  # more would cost more and not help
    assert plan([ROW], replace(asked, max_age=1.0), rates=rates).cluster.lacks == ""
    assert "an item has 3,000" in plan([ROW], Demand(reads=10_000, skew=2.0)).table.lacks
    much = plan([ROW], Demand(reads=10**7, batch=100, skew=0), rates=rates).cluster
    assert "take several" in much.lacks
    large = plan([replace(ROW, entities=10**12)], Demand()).cluster
    assert "--node" in large.lacks


def test_each_view_has_its_own_hot_entity() -> None:
    """A view of few entities, or without one, is as hot beside a large one as alone."""
    few, one, asked = replace(ROW, entities=50), replace(ROW, entities=1), Demand(reads=100_000)

    def hottest(*views: Estimate) -> float:
        return plan(views, asked).cluster.spots.hottest

    assert hottest(ROW, few) == pytest.approx(hottest(few))
    assert hottest(ROW, one) == pytest.approx(100_000)
    assert hottest(ROW, ROW) == pytest.approx(2 * hottest(ROW))


def test_as_many_processes_serve_as_it_takes() -> None:
    """Kept rows are counted for each of the processes that serving takes, unless their number is given."""
    asked = Demand(reads=50_000, batch=100, max_age=60)
    found = plan([ROW], asked)
    serving = math.ceil(found.cores.serving)
    one, all_of_them = (plan([ROW], replace(asked, processes=number)).table.reads for number in (1, serving))
    assert one < all_of_them == found.table.reads


def test_more_costs_more() -> None:
    """What is asked for twice isn't cheaper anywhere, and twice the prices are twice the cost."""
    asked = Demand(reads=2_000, batch=50, events=500, spine=10**6, trainings=30)
    found, double = plan([ROW], asked), Prices(*(2 * price for price in vars(Prices()).values()))

    def costs(made: Plan) -> list[float]:
        return [made.cluster.cost, made.table.cost, made.bucket.cost, made.cores.cost]

    twice = plan([ROW], replace(asked, reads=4_000, events=1_000, spine=2 * 10**6))
    assert all(more >= cost > 0 for more, cost in zip(costs(twice), costs(found), strict=True))
    assert costs(plan([ROW], asked, prices=double)) == pytest.approx([2 * cost for cost in costs(found)])
    assert plan([ROW, ROW], asked).table.reads == 2 * found.table.reads


def test_what_a_plan_says_by_hand() -> None:
    """Numbers of a small case, worked out without the model: units, requests and money of a month of 30 days."""
    asked = Demand(reads=10, batch=10, events=1, commit=10, skew=0, replicas=0)
    found = plan([ROW], asked, rates=Rates(puts=3, gets=6), prices=Prices(thousand_puts=1, thousand_gets=1, object=0))
    assert (found.table.reads, found.table.writes) == (pytest.approx(100, rel=1e-5), 1)
    seconds = 30 * 86_400
    assert found.bucket.puts == 3 * seconds / 10
    assert found.bucket.cost == pytest.approx(9 * seconds / 10 / 1000)
    assert found.bucket.growth == 100 * seconds
    assert found.table.cost == pytest.approx(2.6 * 0.25 + (100 * 0.125 + 1 * 0.625) * seconds / 1e6, rel=1e-5)
    assert plan([ROW], Demand()).cores.cost == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"reads": -1}, "reads is -1"),
        ({"batch": 0}, "batch is 0"),
        ({"events": float("nan")}, "events is nan"),
        ({"busy": 1.5}, "busy is 1.5"),
        ({"max_age": "1s"}, "max_age is '1s'"),
        ({"batch": 2.5}, "batch is 2.5: it must be a whole number"),
    ],
)
def test_what_cannot_be_asked_is_refused(wrong: dict[str, Any], named: str) -> None:
    """The error names the number."""
    with pytest.raises(DataError, match=named):
        Demand(**wrong)
    with pytest.raises(DataError, match="served is -1"):
        Rates(served=-1)
    assert Demand(batch=np.int64(5), reads=np.float32(2)).batch == 5
    for nodes, entities in ((0, 1), (1, 0), (20_000, 1)):
        with pytest.raises(DataError, match=f"{nodes:,} nodes, {entities} entities"):
            hot_spots(nodes, entities, 1.0)
    with pytest.raises(DataError, match="one view or more"):
        plan([], Demand())


def test_the_command_prints_a_plan(tmp_path: Path) -> None:
    """`fs estimate` prints the plan below the estimates where a load is named, and only there; all of it as JSON."""
    user = Entity("user", keys={"user_id": "int64"})
    with FeatureStore(tmp_path) as store:
        store.apply(FeatureView("v", user, [Field("x", "float64", "A number.")], description="V."))
    command = ["--store", str(tmp_path), "estimate", "v", "--entities", "1000000"]
    plain, loaded = (CliRunner().invoke(cli, [*command, *more]) for more in ([], ["--reads", "500", "--batch", "10"]))
    assert "dynamodb at least" in plain.output
    assert "a month" not in plain.output
    for part in ("valkey: ", "dynamodb: ", "bucket: ", "cores: "):
        assert f"\n{part}" in loaded.output
    told = CliRunner().invoke(cli, [*command, "--reads", "500", "--json"])
    assert '"shards": 1' in told.output
