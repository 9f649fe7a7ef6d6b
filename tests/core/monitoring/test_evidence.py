"""The kind of a difference: what many rows at once are called equals the definitions, one row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import FeatureStore, FeatureView
from fs_core.monitoring.replay import Difference
from fs_core.monitoring.replay.evidence import Question, explain
from fs_core.monitoring.replay.report import DIFFERENCES
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.values.times import micros
from tests.core.monitoring.conftest import FIELDS, NOW, USER, rows

Order = tuple[int, int, int]


def expected_kind(
    history: list[Order],
    lag: int,
    at: int,
    tolerance: int,
    served: Order | None,
    statuses: tuple[str, str],
    known: bool,
) -> Difference:
    """Return the kind of a difference, from its definition, one row at a time."""
    by = lambda t: max((order for order in history if order[1] <= t), default=None)  # noqa: E731
    if not known:
        return Difference.UNEXPLAINED
    if statuses == ("missing", "expired"):
        return Difference.EXPIRED
    winner, due = by(at), by(at - tolerance)
    if winner is None or (served is not None and winner <= served):
        return Difference.UNEXPLAINED
    if due is None or (served is not None and due <= served):
        return Difference.OVERLAPPED
    moments = sorted({order[1] for order in history if order[1] <= at - tolerance})
    winners = list(dict.fromkeys(by(moment) for moment in moments))
    missed = [row for row in winners if row is not None and (served is None or row > served)]
    waited = lag > 0 and all(available == event + lag for event, available, _ in missed)
    return Difference.HELD_BACK if waited and (served is not None or len(missed) == 1) else Difference.LOST


@pytest.fixture(params=[(0, "0s"), (1, "20us"), (2, "20us")], ids=str)
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FeatureStore, np.random.Generator, int]]:
    """A store with many rows of few moments, a random generator, and the view's lag in microseconds."""
    seed, lag = request.param
    random = np.random.default_rng(seed)
    with FeatureStore(tmp_path / "store") as store:
        amounts = FeatureView(
            "spending",
            entity=USER,
            version="1.0.0",
            description="d",
            fields=FIELDS,
            lag=lag,
            ttl="60us",
            available_at="known",
        )
        store.apply(amounts)
        count, offsets = 1500, lambda size: [NOW + timedelta(microseconds=int(n)) for n in random.integers(0, 60, size)]
        made = rows(random.integers(0, 300, count).tolist(), NOW)
        made |= {
            "event_timestamp": offsets(count),
            "known": offsets(count),
            "amount": random.integers(0, 3, count) * 1.0,
        }
        store.write("spending", made)
        yield store, random, 20 if lag != "0s" else 0


def test_evidence_equals_the_definitions(told: tuple[FeatureStore, np.random.Generator, int]) -> None:
    """The fast search and a plain loop give each of many made-up differences the same kind."""
    store, random, lag = told
    spending, history = store.view("spending"), store.history("spending").to_pylist()
    start = micros(NOW)
    orders: dict[int, list[Order]] = {}
    for row in history:
        order = (micros(row[EVENT_TIME]) - start, micros(row[AVAILABLE_AT]) - start, row[SEQ])
        orders.setdefault(row["user_id"], []).append(order)
    amounts = {row[SEQ]: row["amount"] for row in history}
    users = random.integers(0, 310, 4000).tolist()
    asked: list[dict[str, Any]] = []
    for user in users:
        mine = orders.get(user, [])
        served = mine[random.integers(len(mine))] if mine and random.random() < 0.7 else None
        wrong = served is not None and random.random() < 0.1
        amount = None if served is None else amounts[served[2]] + wrong
        statuses = ("missing" if served is None else "present", str(random.choice(["present", "expired"])))
        at, tolerance = int(random.integers(0, 100)), int(random.choice([0, 5, 200]))
        asked.append(
            {
                "user": user,
                "served": served,
                "amount": amount,
                "wrong": wrong,
                "statuses": statuses,
                "at": at,
                "tolerance": tolerance,
            }
        )
    found = explain(spending, store.offline, store.offline.snapshot(spending), question(asked, start))
    kinds = [DIFFERENCES[code] for code in found.kinds.tolist()]
    expected = [
        expected_kind(
            orders.get(a["user"], []), lag, a["at"], a["tolerance"], a["served"], a["statuses"], not a["wrong"]
        )
        for a in asked
    ]
    assert kinds == expected
    assert set(kinds) >= {Difference.LOST, Difference.OVERLAPPED, Difference.UNEXPLAINED, Difference.EXPIRED}
    assert not lag or Difference.HELD_BACK in kinds


def question(asked: list[dict[str, Any]], start: int) -> Question:
    """Return made-up differences as `explain` takes them."""
    clocks = np.array([a["served"] or (-start - 1, -start - 1, -1) for a in asked])
    return Question(
        pa.table({"user_id": pa.array([a["user"] for a in asked], pa.int64())}),
        np.array([a["at"] for a in asked]) + start,
        np.array([a["tolerance"] for a in asked]),
        np.array([a["statuses"][0] for a in asked], object),
        np.array([a["statuses"][1] for a in asked], object),
        clocks[:, 0] + start,
        clocks[:, 1] + start,
        clocks[:, 2],
        pa.table({"amount": pa.array([a["amount"] for a in asked], pa.float64())}),
    )
