"""Values of windows that lack events: never made, lost, or taken back; and what reads, pushes and runs do then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.errors import MomentNotOnlineError
from fs_core.materialization import events
from fs_core.values.times import from_micros
from tests.core.windows.test_online import as_history_says, key_of, opened, value_of
from tests.core.windows.test_parity import HandClock
from tests.core.windows.test_store import day, order, purchases


@pytest.fixture
def clock() -> HandClock:
    """A clock that shows the tenth of January, noon, and moves by hand."""
    return HandClock(int(day(9.5).timestamp() * 1e6))


@pytest.fixture
def shop(tmp_path: Path, online_url: str, clock: HandClock) -> Iterator[FeatureStore]:
    """A store with purchases, on each online store in turn."""
    with opened(tmp_path / "store", online_url, clock) as store:
        yield store


@pytest.fixture
def embedded(tmp_path: Path, clock: HandClock) -> Iterator[FeatureStore]:
    """The same, embedded."""
    with opened(tmp_path / "store", "sqlite", clock) as store:
        yield store


def buy(store: FeatureStore, how: Callable[..., object], user_id: int, name: str) -> None:
    """Write or push an order of now; the clock goes on."""
    now = from_micros(store._clock.now())
    how(purchases, [order(user_id, 0, name, 1.0) | {"event_timestamp": now}])
    store._clock.micros += 1  # type: ignore[attr-defined]


def check(store: FeatureStore, user_id: int) -> None:
    """What is served is what history says."""
    found = store.get_online_features("purchases", {"user_id": [user_id]})
    assert found.status["purchases"] == ["present"]
    assert found.table.to_pylist() == as_history_says(store, [user_id], found.at)


def lose(store: FeatureStore, user_id: int) -> None:
    """Lose a user's value, as a server does that evicts it."""
    assert store.online.delete(purchases.storage_name, [key_of(user_id)]) == 1


def test_a_first_push_counts_what_was_only_written(shop: FeatureStore) -> None:
    """The first event that is pushed of a user is served beside those that were written and never materialized."""
    for number in range(3):
        buy(shop, shop.write, 7, f"written {number}")
    buy(shop, shop.push, 7, "pushed")
    check(shop, 7)
    shop.materialize("purchases")
    check(shop, 7)
    assert shop.verify_online("purchases").total == 0


@pytest.mark.parametrize("how", ["push", "write"])
def test_a_lost_value_is_made_whole_by_the_next_event(shop: FeatureStore, how: str) -> None:
    """A push, or a run that brings what was written, restores what the server lost of a user; new users stay right."""
    lose(shop, 2)
    for user_id in (2, 8):
        buy(shop, getattr(shop, how), user_id, "next")
    if how == "write":
        shop.materialize("purchases")
    for user_id in (1, 2, 8):
        check(shop, user_id)
    assert shop.verify_online("purchases").total == 0


def test_a_value_without_a_floor_answers_for_no_moment(embedded: FeatureStore) -> None:
    """Events of which nobody knows whether they are all aren't served: history answers, and a run or repair mends."""
    name, key = purchases.storage_name, key_of(2)
    for mend in ("materialize", "verify_online"):
        buy(embedded, embedded.push, 2, mend)
        last = events.packed(purchases, embedded.history(purchases).sort_by("__seq")[-1:]).rows
        assert embedded.online.splice(name, [key], [value_of(embedded, purchases, 2)], last) == [len(last[0])]
        with pytest.raises(MomentNotOnlineError, match="may have lost events of user_id=2"):
            embedded.get_online_features("purchases", {"user_id": [2]})
        found = embedded.get_online_features("purchases", {"user_id": [2]}, fallback="offline")
        assert found.table.to_pylist() == as_history_says(embedded, [2], found.at)
        if mend == "materialize":
            embedded.materialize("purchases")
        else:
            assert embedded.verify_online("purchases", repair=True).differences == {"stale": 1}
        check(embedded, 2)


def test_a_new_user_is_pushed_with_one_look_into_history(
    embedded: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History is asked at the first push of users, once for all of them, and not at the next."""
    asked = list[object]()
    winners = embedded.offline.winners

    def counted(*args: object, **more: object) -> object:
        asked.append(more["entities"])
        return winners(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(embedded.offline, "winners", counted)
    now = from_micros(embedded._clock.now())
    for name in ("first", "second"):
        rows = [order(user_id, 0, name, 1.0) | {"event_timestamp": now} for user_id in (1, 11, 12)]
        embedded.push(purchases, rows)
    assert [len(each) for each in asked] == [2]  # type: ignore[arg-type]
    for user_id in (1, 11, 12):
        check(embedded, user_id)


def test_events_taken_back_are_gone_from_the_log(embedded: FeatureStore) -> None:
    """What a repair or a sender takes out of values leaves no bytes in the files of the embedded store."""

    def holding() -> list[str]:
        files = Path(embedded.directory).glob("online.db*")
        return [file.name for file in files if b"SECRET SHOP" in file.read_bytes()]

    now = from_micros(embedded._clock.now())
    rows = [order(20 + number, 0, "x", 1.0) | {"event_timestamp": now, "shop": "SECRET SHOP"} for number in range(2)]
    embedded.push(purchases, rows)
    assert holding()
    held = events.packed(purchases, embedded.history(purchases).sort_by("__seq")[-2:])
    events.withdraw(purchases, embedded.online, held.take([0]))
    history = embedded.offline
    history.erase(purchases, embedded.history(purchases).select(["user_id"]))
    events.restore(purchases, history, embedded.online, held.keys, embedded._clock.now)
    assert not holding()
    assert value_of(embedded, purchases, 20) == value_of(embedded, purchases, 21) == b""
