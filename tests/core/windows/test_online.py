"""Windows served: beside plain and computed views, at moments of the past, verified, mended and forgotten."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from fs_core import Aggregation, FeatureService, FeatureStore, FeatureView, Field, OnDemandView
from fs_core.cli.group import cli
from fs_core.errors import CorruptRowError, DataError, MomentNotOnlineError, OnlineUnavailableError
from fs_core.materialization import events, materialize
from fs_core.online.contract import PartialRead
from fs_core.online.row.codec import RowCodec
from fs_core.values.times import from_micros
from tests.core.windows.test_parity import HandClock
from tests.core.windows.test_store import ORDERS, day, order, profile, purchases, user

_DAY = 86_400_000_000


@pytest.fixture
def clock() -> HandClock:
    """A clock that shows the tenth of January, noon, and moves by hand."""
    return HandClock(int(day(9.5).timestamp() * 1e6))


@contextmanager
def opened(directory: Path, online: str, clock: HandClock) -> Iterator[FeatureStore]:
    """Return a store with purchases and profiles, materialized; take them out of the online store in the end."""
    with FeatureStore(directory, online=online, clock=clock) as store:
        store.apply(user, purchases, profile)
        store.write(purchases, ORDERS)
        store.write(profile, [{"user_id": 1, "event_timestamp": day(0), "country": "FR"}])
        store.materialize()
        yield store
        for view in (purchases, profile):
            store.drop_online(view)


@pytest.fixture
def shop(tmp_path: Path, online_url: str, clock: HandClock) -> Iterator[FeatureStore]:
    """A store with purchases and profiles, on each online store in turn."""
    with opened(tmp_path / "store", online_url, clock) as store:
        yield store


@pytest.fixture
def embedded(tmp_path: Path, clock: HandClock) -> Iterator[FeatureStore]:
    """The same, embedded."""
    with opened(tmp_path / "store", "sqlite", clock) as store:
        yield store


def as_history_says(store: FeatureStore, ids: list[int | None], at: Any) -> list[dict[str, Any]]:
    """Return what history says of some users at a moment."""
    spine = [{"user_id": user_id, "event_timestamp": at} for user_id in ids]
    table = store.get_historical_features(spine, "purchases").table
    return list(table.select(list(purchases.features)).to_pylist())


def test_windows_are_served_beside_others(shop: FeatureStore, clock: HandClock) -> None:
    """One read takes windows, plain views and services, blocking or not; users repeat, are unknown, or null."""
    shop.apply(FeatureService("both", features=["profile.country", "purchases.*"], description="Both."))
    ids = [2, 1, None, 3, 1]
    found = shop.get_online_features("both", {"user_id": ids})
    assert found.table.select(list(purchases.features)).to_pylist() == as_history_says(shop, ids, found.at)
    assert found.table["country"].to_pylist() == [None, "FR", None, None, "FR"]
    assert found.status["purchases"] == ["present", "present", "missing", "missing", "present"]

    async def read() -> Any:
        try:
            return await shop.get_online_features_async("both", {"user_id": ids})
        finally:
            await shop.aclose()

    assert asyncio.run(read()).to_arrow().equals(found.to_arrow())
    assert found.to_dicts()[3]["count_7d"] == 0
    assert shop.get_online_features(["purchases.count_7d"], {"user_id": [1]}).to_numpy().tolist() == [[1.0]]
    clock.micros += 26 * _DAY
    later = shop.get_online_features("both", {"user_id": [1]})
    assert later.table["amount_sum_30d"].to_pylist() == [1e16]
    assert later.status["purchases"] == ["present"]


def test_events_that_were_fetched_before_are_folded_anew(embedded: FeatureStore, clock: HandClock) -> None:
    """With `max_age` the events of a moment ago are used, but each window ends at the moment asked for."""
    asked: dict[str, Any] = {"user_id": [1]}
    for days, count_7d in ((0, 1), (4, 0)):
        clock.micros += days * _DAY
        found = embedded.get_online_features("purchases.count_7d", asked, max_age="1h")
        assert found.table["count_7d"].to_pylist() == [count_7d]
    embedded.push(purchases, [order(1, 13, "new", 1.0)])
    for max_age, count_7d in (("1h", 0), (None, 1)):
        found = embedded.get_online_features("purchases.count_7d", asked, max_age=max_age)
        assert found.table["count_7d"].to_pylist() == [count_7d]


def test_windows_that_could_not_be_read_are_unavailable(
    embedded: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a part of the store is lost, its users' windows are null, counts too, and the others' are served."""
    (values,) = embedded.online.read([(purchases.storage_name, [key_of(1), key_of(2)])])

    def fail(*_: Any, **__: Any) -> Any:
        error = OnlineUnavailableError("a node is gone")
        error.partial = PartialRead([[None, values[1]]], [np.array([True, False])])
        raise error

    monkeypatch.setattr(embedded.online, "read", fail)
    found = embedded.get_online_features("purchases.count_7d", {"user_id": [1, 2, None, 1]}, on_deadline="missing")
    assert found.status["purchases"] == ["unavailable", "present", "missing", "unavailable"]
    assert found.table["count_7d"].to_pylist() == [None, 3, None, None]


def test_pushed_events_are_in_the_next_window(shop: FeatureStore) -> None:
    """A push counts at once, a retry of it not again, a correction replaces; on-demand views see it too."""
    share = OnDemandView(
        "share", inputs=["purchases.count_1h"], fields=[Field("twice", "int64", "Twice as many.")],
        expressions={"twice": "count_1h * 2"}, description="Twice.",
    )  # fmt: skip
    shop.apply(share)
    now = from_micros(shop._clock.now())
    for amount in (5.0, 5.0, 7.0):
        shop.push(purchases, [order(4, 0, "x", amount) | {"event_timestamp": now}])
    found = shop.get_online_features(["share.twice", "purchases.amount_sum_7d"], {"user_id": [4]})
    assert found.table.to_pylist() == [{"twice": 2, "amount_sum_7d": 7.0}]
    assert shop.materialize("purchases")[0].rows == 3
    assert shop.get_online_features("purchases.amount_sum_7d", {"user_id": [4]}).table.to_pylist() == [
        {"amount_sum_7d": 7.0}
    ]
    assert shop.verify_online("purchases").total == 0


def test_windows_without_an_entity_are_pushed_and_served(store: FeatureStore) -> None:
    """Events of a view that has one row for all, with a condition."""
    fields = [Field("n", "int64", "N.")]
    sums = [Aggregation("sum", "n", windows=["1d"], where="n > 1")]
    store.apply(FeatureView("all_of_it", None, fields, aggregations=sums, description="A."))
    for n in (1, 2, 3):
        store.push("all_of_it", {"event_timestamp": [from_micros(store._clock.now())], "n": [n]})
    assert store.get_online_features("all_of_it", {}).to_dicts() == [{"n_sum_1d": 5}]


def test_moments_of_the_past(embedded: FeatureStore, clock: HandClock) -> None:
    """A moment that the values still know is exact; for an earlier one history must answer, and does where it may."""
    recent = dataclasses.replace(purchases, name="recent", online_history="12h")
    embedded.apply(recent)
    embedded.write(recent, ORDERS)
    clock.micros += 1
    embedded.materialize(recent)
    for hours in (0, 1, 11.99):
        at = from_micros(clock.micros) - timedelta(hours=hours)
        found = embedded.get_online_features("recent", {"user_id": [1, 2]}, at=at)
        assert found.table.to_pylist() == as_history_says(embedded, [1, 2], at)
    at = day(7)
    with pytest.raises(
        MomentNotOnlineError, match=r"knows the events of user_id=1 for moments from .* on, not at 2024"
    ):
        embedded.get_online_features("recent", {"user_id": [1]}, at=at)
    found = embedded.get_online_features("recent", {"user_id": [1]}, at=at, fallback="offline")
    assert found.table.to_pylist() == as_history_says(embedded, [1], at)


def test_forgetting(embedded: FeatureStore) -> None:
    """Events of a forgotten user are gone from both stores; others stay; a push in flight is taken back."""
    done = embedded.forget("user", {"user_id": [1]})
    assert {(one.view, one.online) for one in done} == {("purchases:v1.0.0", 1), ("profile:v1.0.0", 1)}
    found = embedded.get_online_features("purchases.count_7d", {"user_id": [1, 2]})
    assert found.status["purchases"] == ["missing", "present"]
    assert embedded.verify_online("purchases").total == 0


def test_a_push_that_meets_a_forget_is_taken_back(
    shop: FeatureStore, tmp_path: Path, online_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that were in hand while their user was forgotten don't stay online; what is pushed later does."""
    now = from_micros(shop._clock.now())
    rows = [order(1, 0, "x", 1.0) | {"event_timestamp": now}]
    add = events.add

    def late(*args: Any) -> int:
        monkeypatch.setattr(events, "add", add)
        with FeatureStore(tmp_path / "store", online=online_url, clock=shop._clock) as other:
            other.forget("user", {"user_id": [1]})
            other.push(purchases, [order(2, 0, "y", 1.0) | {"event_timestamp": now}])
        return add(*args)

    monkeypatch.setattr(events, "add", late)
    shop.push(purchases, rows)
    found = shop.get_online_features("purchases.count_7d", {"user_id": [1, 2]})
    assert found.table["count_7d"].to_pylist() == [0, 4]
    assert found.status["purchases"] == ["missing", "present"]
    assert shop.verify_online("purchases").total == 0


def test_verifying_and_mending(shop: FeatureStore) -> None:
    """Each way in which values can differ from history is named, and mended; events of no window are no difference."""
    name = shop.view("purchases").storage_name
    history = shop.history("purchases")
    real = events.packed(purchases, history.filter(pc.equal(history["user_id"], 2)).slice(0, 1)).rows[0]
    changes: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
        "missing": (1, lambda _: b""),
        "corrupt": (1, lambda held: held[:-1]),
        "stale": (2, lambda _: real),
        "unknown": (9, lambda _: forged(shop, 9)),
        "ahead": (2, lambda held: held + forged(shop, 2)),
        "wrong": (2, lambda _: real + forged(shop, 2)),
    }
    assert shop.verify_online("purchases").total == 0
    for problem, (user_id, change) in changes.items():
        held = value_of(shop, purchases, user_id)
        assert shop.online.splice(name, [key_of(user_id)], [held], [change(held)]) != [-1]
        if problem == "corrupt":
            with pytest.raises(CorruptRowError, match="the online row of user_id=1 is damaged"):
                shop.get_online_features("purchases.count_7d", {"user_id": [1]})
        found = shop.verify_online("purchases", repair=True)
        assert found.differences == {problem: 1}
        assert found.evidence["__problem"].to_pylist() == [problem]
        assert shop.verify_online("purchases").total == 0
    assert value_of(shop, purchases, 9) == b""


def key_of(user_id: int) -> bytes:
    """Return the bytes of a user's key."""
    (key,) = RowCodec(purchases).keys(pa.table({"user_id": [user_id]}))
    assert key is not None
    return key


def value_of(store: FeatureStore, view: FeatureView, user_id: int) -> bytes:
    """Return what the online store holds of a user, nothing where there is nothing."""
    return store.online.read([(view.storage_name, [key_of(user_id)])])[0][0] or b""


def forged(store: FeatureStore, user_id: int) -> bytes:
    """Return the entry of an event that history doesn't have."""
    history = store.history(purchases).slice(0, 1)
    at = from_micros(store._clock.now() - 1000)
    row = {"user_id": user_id, "__seq": 99, "__event_time": at, "__available_at": at, "order_id": "forged"}
    return events.packed(purchases, pa.Table.from_pylist([history.to_pylist()[0] | row], history.schema)).rows[0]


def test_emptied_and_filled_again(embedded: FeatureStore) -> None:
    """A dropped view is missing until it is materialized; a rebuild gives the same windows."""
    before = embedded.get_online_features("purchases", {"user_id": [1, 2]}).table
    assert embedded.drop_online("purchases") == 2
    assert embedded.get_online_features("purchases", {"user_id": [1]}).status["purchases"] == ["missing"]
    assert embedded.materialize("purchases")[0].rows > 0
    assert embedded.get_online_features("purchases", {"user_id": [1, 2]}).table.equals(before)
    embedded.materialize("purchases", rebuild=True)
    assert embedded.get_online_features("purchases", {"user_id": [1, 2]}).table.equals(before)


def test_a_run_that_was_cut_off_is_finished(embedded: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `materialize` whose store fails after some batches is done again, and the windows are whole."""
    embedded.drop_online("purchases")
    monkeypatch.setattr(materialize, "BATCH_ROWS", 2)
    splice, calls = embedded.online.splice, count()

    def failing(*args: Any) -> list[int]:
        if next(calls) == 2:
            raise OnlineUnavailableError("it went away")
        return splice(*args)

    monkeypatch.setattr(embedded.online, "splice", failing)
    with pytest.raises(OnlineUnavailableError, match="it went away"):
        embedded.materialize("purchases")
    assert embedded.verify_online("purchases").total > 0
    embedded.materialize("purchases")
    assert embedded.verify_online("purchases").total == 0


def test_expired_events_are_left_out(embedded: FeatureStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no window holds any more goes as others come, so a value's bytes are bounded by its windows."""
    view = FeatureView(
        "bounded", user, [Field("n", "int64", "A number.")], description="B.",
        aggregations=[dataclasses.replace(purchases.aggregations[0], windows=["1h"])],
    )  # fmt: skip
    embedded.apply(view)
    monkeypatch.setattr(events, "_SMALL", 64)
    monkeypatch.setattr(events, "_EAGER", 8)
    for _ in range(60):
        clock.micros += 600_000_000
        embedded.push(view, [{"user_id": 1, "event_timestamp": from_micros(clock.micros), "n": 1}])
    assert 0 < len(value_of(embedded, view, 1)) < 30 * 40
    assert embedded.get_online_features(view, {"user_id": [1]}).table["count_1h"].to_pylist() == [6]


def test_what_no_window_holds_is_collected(embedded: FeatureStore, clock: HandClock) -> None:
    """Once a day a run leaves old events out of values to which nothing comes; the last stays, and its status."""
    hourly = dataclasses.replace(purchases, name="hourly", aggregations=purchases.aggregations[:1])
    embedded.apply(hourly)
    embedded.push(hourly, [order(1, 9, str(number), 1.0) for number in range(9)])
    embedded.materialize(hourly)
    before = len(value_of(embedded, hourly, 1))
    clock.micros += 9 * _DAY
    embedded.materialize(hourly)
    assert 0 < len(value_of(embedded, hourly, 1)) < before / 3
    assert embedded.verify_online(hourly).total == 0
    found = embedded.get_online_features(hourly, {"user_id": [1]})
    assert (found.table["count_7d"].to_pylist(), found.status["hourly"]) == ([0], ["present"])


def test_a_sum_that_does_not_fit_is_an_error_online_too(embedded: FeatureStore) -> None:
    """The error says of whom and when, as history's does."""
    sums = [dataclasses.replace(purchases.aggregations[1], column="n", where=None)]
    view = FeatureView("v", user, [Field("n", "int64", "A number.")], description="V.", aggregations=sums)
    embedded.apply(view)
    now = from_micros(embedded._clock.now())
    embedded.push(view, [{"user_id": 5, "event_timestamp": now, "n": 2**63 - 1}] * 2)
    with pytest.raises(
        DataError, match=r"view 'v': amount_sum_7d of user_id=5 at 2024-01-10.* doesn't fit int64|n_sum"
    ):
        embedded.get_online_features("v", {"user_id": [5]})


def test_the_command_line(tmp_path: Path) -> None:
    """`fs get` shows windows, `fs show` how far they are online."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(user, purchases)
        store.write(purchases, ORDERS)
        store.materialize()

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["--store", str(tmp_path / "store"), *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "[b, c, a, d]" in run("get", "purchases.shop_last_5", "-e", "user_id=1")
    assert "materialized until" in run("show", "purchases")
    assert "none differs" in run("verify", "purchases")
