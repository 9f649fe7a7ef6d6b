"""Entities with many events: what a read fetches, what corrects or repeats an event, and who comes in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, FeatureStore, FeatureView, Field
from fs_core.errors import CorruptRowError, MomentNotOnlineError, OnlineUnavailableError
from fs_core.materialization import event_values, events
from fs_core.online.row.entries import entries, entries_of, has_head
from fs_core.values.times import from_micros, micros
from fs_core.windows.packed import head
from tests.core.materialization.retract.interleaving import Killed, Steps
from tests.core.windows.test_online import key_of
from tests.core.windows.test_parity import HandClock
from tests.core.windows.test_store import day, user

_MINUTE = 60_000_000
_START = int(day(9).timestamp() * 1e6)
FIELDS = [Field("order_id", "string", "The order."), Field("amount", "float64", "Paid, EUR.")]
AGGREGATIONS = [
    Aggregation("count", windows=["10m", "1h", "1d"]),
    Aggregation("var", "amount", windows=["1h", "1d"]),
    Aggregation("max", "amount", windows=["1h", "1d"]),
    Aggregation("last", "order_id", n=2, windows=["1h"], closed="left"),
    Aggregation("count_distinct", "amount", windows=["1d"]),
]
paid = FeatureView("paid", user, FIELDS, aggregations=AGGREGATIONS, description="What was paid.")
corrected = FeatureView(
    "corrected", user, FIELDS, aggregations=AGGREGATIONS, event_id=["order_id"], description="Put right at times."
)  # fmt: skip


def bought(at: int, number: int) -> dict[str, Any]:
    """One order."""
    amount = number % 7 + 0.1
    return {"user_id": 1, "event_timestamp": from_micros(at), "order_id": f"o{number}", "amount": amount}


@pytest.fixture
def clock() -> HandClock:
    """A clock that moves by hand."""
    return HandClock(_START)


def fill(store: FeatureStore) -> None:
    """Write an order a minute of the last twenty hours of user 1, and materialize it."""
    for view in (paid, corrected):
        store.apply(view)
        store.write(view, [bought(_START - n * _MINUTE, n) for n in range(1, 1_200)])
    store.materialize()


@pytest.fixture
def hot(tmp_path: Path, online_url: str, clock: HandClock) -> Iterator[FeatureStore]:
    """A store with a hot user, on each online store in turn."""
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        fill(store)
        yield store
        for view in (paid, corrected):
            store.drop_online(view)


@pytest.fixture
def embedded(tmp_path: Path, clock: HandClock) -> Iterator[FeatureStore]:
    """The same, embedded."""
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        fill(store)
        yield store


def check(store: FeatureStore, view: FeatureView, *, at: int | None = None) -> Any:
    """What is served is what history says of the moment; return what was served."""
    found = store.get_online_features(view, {"user_id": [1]}, at=None if at is None else from_micros(at))
    assert found.table.select(list(view.features)).to_pylist() == said_by_history(store, view, found.at)
    return found


def said_by_history(store: FeatureStore, view: FeatureView, at: datetime) -> list[dict[str, Any]]:
    """Return the user's windows at a moment."""
    table = store.get_historical_features([{"user_id": 1, "event_timestamp": at}], view.name).table
    rows: list[dict[str, Any]] = table.select(list(view.features)).to_pylist()
    return rows


def value_of(store: FeatureStore, view: FeatureView, *, deep: bool = False) -> bytes:
    """Return the user's value, or the deep one."""
    name = event_values.deep_name(view) if deep else view.storage_name
    return store.online.read([(name, [key_of(1)])])[0][0] or b""


def reads_of(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the names that are read are added."""
    asked, read = list[str](), store.online.read

    def noted(requests: Sequence[tuple[str, Sequence[bytes]]], **more: Any) -> Any:
        asked.extend(name for name, _ in requests)
        return read(requests, **more)

    monkeypatch.setattr(store.online, "read", noted)
    return asked


def test_a_hot_entity_is_read_from_its_head(
    hot: FeatureStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read fetches few bytes, as long as the head answers; then the deep value as well, until a push renews it."""
    for view in (paid, corrected):
        assert len(value_of(hot, view)) * 5 < len(value_of(hot, view, deep=True))
    asked = reads_of(hot, monkeypatch)
    for minutes in (0, 3, 20):
        clock.micros = _START + minutes * _MINUTE
        hot.push(paid, [bought(clock.micros, 2_000 + minutes)])
        asked.clear()
        check(hot, paid)
        assert asked == [paid.storage_name]
    clock.micros += 300 * _MINUTE
    for expected in ([paid.storage_name, event_values.deep_name(paid)], [paid.storage_name]):
        asked.clear()
        check(hot, paid)
        assert asked == expected
        hot.push(paid, [bought(clock.micros, 3_000)])
    assert hot.verify_online(paid).total == 0


def test_an_event_that_a_head_stands_for_is_corrected(hot: FeatureStore, clock: HandClock) -> None:
    """A correction, a retry and a late event count at once as history says, whatever the head stands for."""
    for number in (500, 501, 500, 9_000):
        clock.micros += 1
        hot.push(corrected, [bought(_START - number * _MINUTE // 2, number) | {"amount": 1e6}])
        assert check(hot, corrected).table["amount_max_1d"].to_pylist() == [1e6]
    hot.materialize(corrected)
    check(hot, corrected)
    assert hot.verify_online(corrected).total == 0


def test_an_event_that_comes_again_counts_once(embedded: FeatureStore, clock: HandClock) -> None:
    """A sender that had an event in hand while it went into a head adds it once more, to no effect."""
    clock.micros += 2 * _MINUTE
    embedded.push(paid, [bought(clock.micros, 5_000)])
    again = events.packed(paid, embedded.history(paid).sort_by("__seq")[-1:])
    clock.micros += 2 * _MINUTE
    embedded.materialize(paid)
    embedded.write(paid, [bought(clock.micros, 5_001)])
    embedded.materialize(paid)
    embedded.online.splice(paid.storage_name, again.keys, [b""], again.rows)
    check(embedded, paid)
    embedded.materialize(paid)
    check(embedded, paid)


@pytest.mark.parametrize("is_rewritten", [False, True])
def test_earlier_moments_are_answered_by_the_deep_value(
    embedded: FeatureStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch, *, is_rewritten: bool
) -> None:
    """A moment before the head is exact from the floor on, which a push that rewrites moves; before it history must."""
    monkeypatch.setattr(random, "random", lambda: 0.0 if is_rewritten else 1.0)  # it does so by chance
    clock.micros += 5 * _MINUTE
    embedded.push(paid, [bought(clock.micros, 6_000)])
    floor = (clock.micros if is_rewritten else _START) - event_values.GRACE_MICROS
    for at in (clock.micros, clock.micros - 1, floor + 1, floor):
        check(embedded, paid, at=at)
    with pytest.raises(MomentNotOnlineError, match="knows the events of user_id=1 for moments from"):
        embedded.get_online_features(paid, {"user_id": [1]}, at=from_micros(floor - 1))


def test_a_lost_deep_value_is_missed_where_it_is_needed(embedded: FeatureStore, clock: HandClock) -> None:
    """While the head answers all is well; then the read says that history must, until a run or a repair mends it."""
    name, deep = event_values.deep_name(paid), value_of(embedded, paid, deep=True)
    assert embedded.online.splice(name, [key_of(1)], [deep], [b""]) == [0]
    check(embedded, paid)
    clock.micros += 300 * _MINUTE
    with pytest.raises(MomentNotOnlineError, match="may have lost events of user_id=1"):
        embedded.get_online_features(paid, {"user_id": [1]})
    embedded.write(paid, [bought(clock.micros, 7_000)])
    embedded.materialize(paid)
    check(embedded, paid)
    assert embedded.verify_online(paid).total == 0


@pytest.mark.parametrize("later", [1, 5 * _MINUTE])
def test_a_deep_value_that_is_later_than_the_others(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """Where a deep value has what came later, or tells of later moments only, all windows are of the moment served."""
    for name, value in {"HOT": 3, "_SHORTER": 0}.items():
        monkeypatch.setattr(event_values, name, value)
    monkeypatch.setattr(head, "MOST_ENDS", 3)
    view = FeatureView("lately", user, FIELDS, aggregations=[Aggregation("count", windows=["1h"])], description="Few.")
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.apply(view)
        orders = [(1, -50), (2, -59)]  # the first user's leave the window later
        rows = [bought(_START + (n + first) * _MINUTE, n) | {"user_id": u} for u, first in orders for n in range(20)]
        store.write(view, rows)
        store.materialize()
        keys = [key_of(1), key_of(2)]
        heads = event_values.codec_of(view).decode(keys, store.online.read([(view.storage_name, keys)])[0]).heads
        clock.micros = heads[0].until
        assert heads[0].answers(clock.micros)
        assert not heads[1].answers(clock.micros)
        read = store.online.read

        def overtaken(requests: Sequence[tuple[str, Sequence[bytes]]], **more: Any) -> Any:
            if requests[0][0] == event_values.deep_name(view) and clock.micros == heads[0].until:
                clock.micros += later
                store.push(view, [bought(clock.micros, 99) | {"user_id": 2}])
            return read(requests, **more)

        monkeypatch.setattr(store.online, "read", overtaken)
        served = store.get_online_features(view, {"user_id": [1, 2]})
        asked = [{"user_id": number, "event_timestamp": served.at} for number in (1, 2)]
        said = store.get_historical_features(asked, view.name).table
        assert served.table["count_1h"].to_pylist() == said["count_1h"].to_pylist()


def test_a_deep_value_that_cannot_be_read(
    embedded: FeatureStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where head and store don't answer, the read fails, asks history, or serves nulls, as it may."""
    clock.micros += 300 * _MINUTE
    read = embedded.online.read

    def failing(requests: Sequence[tuple[str, Sequence[bytes]]], **more: Any) -> Any:
        if requests[0][0] == event_values.deep_name(paid):
            raise OnlineUnavailableError("it went away")
        return read(requests, **more)

    monkeypatch.setattr(embedded.online, "read", failing)
    asked = {"user_id": [1, 2]}
    with pytest.raises(OnlineUnavailableError, match="it went away"):
        embedded.get_online_features(paid, asked)
    found = embedded.get_online_features(paid, asked, on_deadline="missing")
    assert found.status["paid"] == ["unavailable", "missing"]
    assert found.table["count_1d"].to_pylist() == [None, 0]
    found = embedded.get_online_features(paid, asked, fallback="offline")
    assert found.status["paid"] == ["present", "missing"]


def test_reading_deep_without_blocking_and_from_a_cache(hot: FeatureStore, clock: HandClock) -> None:
    """The other ways to read fetch the deep value where the head doesn't answer, too."""
    clock.micros += 300 * _MINUTE
    expected = check(hot, paid).table

    async def read() -> Any:
        try:
            return await hot.get_online_features_async(paid, {"user_id": [1]})
        finally:
            await hot.aclose()

    assert asyncio.run(read()).table.equals(expected)
    for _ in range(2):
        assert hot.get_online_features(paid, {"user_id": [1]}, max_age="1h").table.equals(expected)


def test_a_head_that_misleads_is_found_and_mended(embedded: FeatureStore) -> None:
    """A damaged head is an error to readers; verification finds it, a wrong one, and a deep value that nobody has."""
    key, name = key_of(1), paid.storage_name
    good, deep = value_of(embedded, paid), value_of(embedded, paid, deep=True)
    rows, floors = entries_of(deep) or ([], [])
    lying = events.codec_of(paid).headed([key], [floors[0] + entries(rows[: len(rows) // 2])], _START - _MINUTE)
    assert has_head(lying[0])
    flipped = bytearray(good)
    flipped[40] ^= 1
    for wrong, problem in ((bytes(flipped), "corrupt"), (lying[0], "corrupt"), (b"", "missing")):
        held = value_of(embedded, paid)
        embedded.online.splice(name, [key], [held], [wrong])
        if wrong == flipped:
            with pytest.raises(CorruptRowError):
                embedded.get_online_features(paid, {"user_id": [1]})
        assert embedded.verify_online(paid).differences == {problem: 1}
        assert embedded.verify_online(paid, repair=True).differences == {problem: 1}
        assert embedded.verify_online(paid).total == 0
        check(embedded, paid)


def test_a_damaged_deep_value_stays_until_it_is_mended(embedded: FeatureStore, clock: HandClock) -> None:
    """The head goes on to answer, with what comes; who needs the deep value is told, and a repair mends it."""
    key, name, deep = key_of(1), event_values.deep_name(paid), value_of(embedded, paid, deep=True)
    embedded.online.splice(name, [key], [deep], [deep[:-1]])
    clock.micros += 2 * _MINUTE
    embedded.write(paid, [bought(clock.micros, 8_000)])
    embedded.materialize(paid)
    check(embedded, paid)
    clock.micros += 300 * _MINUTE
    with pytest.raises(CorruptRowError):
        check(embedded, paid)
    assert embedded.verify_online(paid, repair=True).differences == {"corrupt": 1}
    check(embedded, paid)


def test_a_hot_entity_is_forgotten_whole(hot: FeatureStore) -> None:
    """Forgetting deletes the deep value as well, and dropping does."""
    hot.forget("user", {"user_id": [1]})
    for view in (paid, corrected):
        assert value_of(hot, view) == value_of(hot, view, deep=True) == b""
    assert hot.verify_online(paid).total == 0


@pytest.mark.parametrize("view", [paid, corrected])
def test_a_hot_entity_becomes_cold_and_hot_again(embedded: FeatureStore, clock: HandClock, view: FeatureView) -> None:
    """Once few events are left its value has no head; what is left of the deep one doesn't count, nor hinder."""
    clock.micros += 23 * 60 * _MINUTE
    embedded.push(view, [bought(clock.micros, 9_000)])
    check(embedded, view)
    assert not has_head(value_of(embedded, view))
    embedded.push(view, [bought(clock.micros - 22 * 60 * _MINUTE, 9_000) | {"amount": 7e3}])
    for hours in (0, 12):
        clock.micros += hours * 60 * _MINUTE
        embedded.write(view, [bought(clock.micros - n * _MINUTE, 10_000 + n % 400) for n in range(1 + 40 * hours)])
        embedded.materialize(view)
        check(embedded, view)
        assert has_head(value_of(embedded, view)) == (hours > 0)
        assert embedded.verify_online(view).total == 0
    clock.micros += 300 * _MINUTE
    check(embedded, view)
    embedded.forget("user", {"user_id": [1]})
    assert value_of(embedded, view) == value_of(embedded, view, deep=True) == b""


DEEDS = ["push", "late", "materialize", "repair", "collect"]


@settings(max_examples=12)
@given(
    work=st.sampled_from([*DEEDS, "read"]),
    plan=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(DEEDS)), max_size=4),
    dies=st.none() | st.integers(0, 12),
    view=st.sampled_from([paid, corrected]),
    cools=st.booleans(),
)
def test_any_deeds_between_any_steps_of_a_rewrite(
    fresh_directory: Callable[[], Path],
    work: str,
    plan: list[tuple[int, str]],
    dies: int | None,
    view: FeatureView,
    cools: bool,
) -> None:
    """Whoever pushes, rewrites or dies in between, no event is lost or counted twice, before and after heads end.

    Also where whoever rewrites finds that the entity has few events, and makes it cold.
    """
    clock = HandClock(_START)
    with (
        pytest.MonkeyPatch.context() as patch,
        FeatureStore(fresh_directory() / "store", clock=clock) as one,
        FeatureStore(one.directory, clock=clock) as other,
    ):
        for name, value in {"HOT": 1, "_SHORTER": 0, "GRACE_MICROS": 5}.items():
            patch.setattr(event_values, name, value)
        for name, value in {"_SMALL": 0, "_EAGER": 10**9}.items():
            patch.setattr(events, name, value)
        patch.setattr(head, "MOST_ENDS", 3)
        patch.setattr("fs_core.materialization.check._SETTLING_SECONDS", 0.0)
        one.apply(view)
        one.write(view, [bought(_START - n * _MINUTE, n) for n in (1, 2, 7, 9, 11, 50, 59)])
        one.materialize()
        assert has_head(value_of(one, view))
        if cools:
            patch.setattr(event_values, "HOT", 40)
        clock.micros += 10 if work != "read" else 50 * _MINUTE  # by then no head answers
        read = list[tuple[int, list[dict[str, Any]]]]()

        def does(store: FeatureStore, deed: str) -> None:
            clock.micros += 1
            if deed == "push":
                store.push(view, [bought(clock.micros, 9)])
            elif deed == "late":
                store.write(view, [bought(clock.micros - _MINUTE, 10)])
                store.materialize()
            elif deed == "materialize":
                store.write(view, [bought(clock.micros, clock.micros % 5)])
                store.materialize()
            elif deed == "repair":
                store.verify_online(view, repair=True)
            elif deed == "read":
                found = store.get_online_features(view, {"user_id": [1]})
                read.append((micros(found.at), found.table.select(list(view.features)).to_pylist()))
            else:
                events.collect(view, store.online, clock.micros)

        happens: dict[int, list[str]] = {}
        for moment, deed in plan:
            happens.setdefault(moment, []).append(deed)
        steps = Steps(
            {at: lambda deeds=deeds: [does(other, deed) for deed in deeds] for at, deeds in happens.items()},  # type: ignore[misc]
            dies,
        )
        with pytest.MonkeyPatch.context() as between:
            for call in ("read", "splice"):
                between.setattr(one.online, call, steps.before(getattr(one.online, call), after=False))
            try:
                does(one, work)
            except Killed:
                pass
        if dies is not None and work in ("push", "late", "materialize"):
            other.materialize()  # what had come to history only
        for at, rows in read:
            if {"late", "materialize"}.isdisjoint(deed for _, deed in plan):  # these bring what happened before
                assert rows == said_by_history(other, view, from_micros(at))
        for later in (0, 1, 2 * _MINUTE, 30 * _MINUTE):
            clock.micros += later
            check(other, view)
        other.materialize()
        assert other.verify_online(view).differences == {}
        check(one, view)
