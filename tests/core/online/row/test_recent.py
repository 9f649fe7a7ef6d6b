"""Recent rows online: a moment in the past is answered by the rule, without history, on every online store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.definitions import from_dict
from fs_core.errors import DefinitionError, MomentNotOnlineError
from fs_core.materialization import recent
from fs_core.online.contract import OnlineRows, timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.recent import Timelines
from fs_core.rule import history_schema
from fs_core.testing.histories import TICKS, Scenario, nullable, scenarios
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.values.times import Clock, from_micros

NewDirectory = Callable[[], Path]
_TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
THING = Entity("thing", keys={"thing": "int64"}, description="A thing.")


class HandClock(Clock):
    """A clock set by hand."""

    def __init__(self, micros: int) -> None:
        super().__init__()
        self.micros = micros

    def now(self) -> int:
        """Return the moment it shows."""
        return self.micros


def oracle(view: FeatureView, rows: list[Any], asked: pa.Table, at: int) -> tuple[Any, list[str]]:
    """Return what the oracle says: the features' bits, and statuses."""
    answers = oracle_as_of(view, rows, [{**row, "__time": at} for row in asked.to_pylist()], list(view.features))
    return (
        [bits({name: answer[name] for name in view.features}) for answer in answers],
        [answer["__status"] for answer in answers],
    )


def online(store: FeatureStore, view: FeatureView, asked: pa.Table, at: int) -> tuple[Any, list[str]]:
    """Return what the online store says of a moment, without history."""
    found = store.get_online_features(view, asked, at=from_micros(at))
    return [bits(row) for row in found.table.to_pylist()], list(found.status[view.name])


def entities(scenario: Scenario) -> pa.Table:
    """Every entity that occurs, and one that doesn't."""
    keys = scenario.view.keys
    return pa.table({n: pa.array([key[i] for key in scenario.keys], t) for i, (n, t) in enumerate(keys.items())})


@settings(max_examples=20)
@given(data=st.data())
def test_moments_within_are_answered_by_the_rule(
    online_urls: list[str], fresh_directory: NewDirectory, data: st.DataObject
) -> None:
    """Whatever was written, late, out of order and in parts: after a materialize each moment of the time that is
    kept is answered by each online store, as the oracle answers it; an earlier one is, or is refused.
    """
    scenario = data.draw(scenarios(starts=[_TOMORROW]))
    tick = scenario.scale.micros(1) - scenario.scale.micros(0)
    kept = min(data.draw(st.integers(1, 2 * TICKS)) * tick, 86_400_000_000)
    view = dataclasses.replace(scenario.view, available_at="known_at", online_history=timedelta(microseconds=kept))
    history = scenario.history.sort_by("__seq")
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=2))), len(history)]
    moments = sorted(data.draw(st.lists(_moments(scenario), min_size=len(cuts) - 1, max_size=len(cuts) - 1)))
    clock, asked, directory = HandClock(moments[0]), entities(scenario), fresh_directory()
    with ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore(directory, online=url, clock=clock)) for url in online_urls]
        stores[0].apply(view)
        for start, end, now in zip(cuts, cuts[1:], moments, strict=False):
            clock.micros = now
            stores[0].write(view, _as_written(view, history.slice(start, end - start)))
            for store in stores:
                store.materialize()
            rows = history.slice(0, end).to_pylist()
            for at in [now, now - kept, *data.draw(st.lists(_moments(scenario), max_size=6))]:
                expected = oracle(view, rows, asked, at)
                for store in stores:
                    if now - kept <= at <= now:
                        assert online(store, view, asked, at) == expected
                    elif at < now:
                        _answered_or_refused(store, view, expected, asked, at)


def _answered_or_refused(
    store: FeatureStore, view: FeatureView, expected: tuple[Any, list[str]], asked: pa.Table, at: int
) -> None:
    try:
        found = online(store, view, asked, at)
    except MomentNotOnlineError:
        found = expected
        fallen = store.get_online_features(view, asked, at=from_micros(at), fallback="offline")
        assert [bits(row) for row in fallen.table.to_pylist()] == expected[0]
    assert found == expected


@settings(max_examples=20)
@given(data=st.data())
def test_pushes_and_materializations(online_url: str, fresh_directory: NewDirectory, data: st.DataObject) -> None:
    """Rows pushed late and out of order, materialized in between: no moment is ever answered otherwise than the
    oracle does, and those after an entity's first push are answered.
    """
    scenario = data.draw(scenarios(starts=[_TOMORROW], max_rows=1))
    tick = scenario.scale.micros(1) - scenario.scale.micros(0)
    kept = min(4 * tick, 86_400_000_000)
    view = dataclasses.replace(scenario.view, lag="0s", online_history=timedelta(microseconds=kept))
    clock, asked = HandClock(scenario.scale.micros(TICKS)), entities(scenario)
    first = clock.micros
    with FeatureStore(fresh_directory(), online=online_url, clock=clock) as store:
        store.apply(view)
        store.push(view, _rows(view, asked, [first] * len(asked), data))
        for _ in range(data.draw(st.integers(1, 8))):
            clock.micros += data.draw(st.sampled_from([1, 2, tick // 2 + 1, tick]))
            chosen = asked.slice(data.draw(st.integers(0, len(asked) - 1)))
            about = data.draw(st.lists(st.sampled_from([0, 1, 2, tick]), min_size=len(chosen), max_size=len(chosen)))
            store.push(view, _rows(view, chosen, [clock.micros - ago for ago in about], data))
            if data.draw(st.booleans()):
                store.materialize()
        rows, now = store.history(view).to_pylist(), clock.micros
        available = [int(row["__available_at"].timestamp() * 10**6) for row in rows]
        for at in {first, now, *(a + step for a in available for step in (-1, 0, 1))}:
            if max(first, now - kept) <= at <= now:
                assert online(store, view, asked, at) == oracle(view, rows, asked, at)
            elif at < now:
                _answered_or_refused(store, view, oracle(view, rows, asked, at), asked, at)


def _rows(view: FeatureView, asked: pa.Table, times: list[int], data: st.DataObject) -> pa.Table:
    columns = {name: asked[name] for name in asked.column_names}
    columns[view.event_timestamp] = pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    for name, dtype in view.features.items():
        columns[name] = pa.array([data.draw(nullable(dtype)) for _ in times], dtype)
    return pa.table(columns)


def _moments(scenario: Scenario) -> st.SearchStrategy[int]:
    edges = [at + step for _, at in scenario.changes() for step in (-1, 0, 1)]
    near = [at for at in edges if scenario.scale.micros(0) <= at <= scenario.scale.micros(3 * TICKS)]
    ticks = st.integers(0, 3 * TICKS).map(scenario.scale.micros)
    return ticks | st.sampled_from(near) if near else ticks


def _as_written(view: FeatureView, history: pa.Table) -> pa.Table:
    names = {"__event_time": view.event_timestamp, "__available_at": view.available_at}
    rows = history.drop_columns(["__seq"])
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def counter(**changes: Any) -> FeatureView:
    """A view that keeps an hour."""
    settings: dict[str, Any] = {"fields": [Field("x", "int64", "X.")], "description": "C.", "online_history": "1h"}
    return FeatureView("counter", entity=THING, **{**settings, **changes})


def at_minute(minute: int, x: int) -> dict[str, Any]:
    """A row of one thing."""
    return {"thing": [1], "event_timestamp": [_TOMORROW + timedelta(minutes=minute)], "x": [x]}


def test_it_changes_no_meaning_and_is_registered(store: FeatureStore) -> None:
    """The digest is that of a view without it; the registry gives it back; a patch version may add it."""
    assert counter().digest == counter(online_history=None).digest
    store.apply(counter(online_history=None))
    store.apply(counter(version="1.0.1"))
    assert store.view("counter").online_history == timedelta(hours=1)
    assert store.view("counter:v1.0.0").online_history is None
    assert from_dict(counter().to_dict(), lambda name: pytest.fail(name)) == counter()


@pytest.mark.parametrize(
    "changes", [{"online": False}, {"online_history": "0s"}, {"ttl": "2d", "online_history": "25h"}]
)
def test_what_is_refused(changes: dict[str, Any]) -> None:
    """Keeping nothing, keeping offline, or keeping beyond what is collected contradicts itself."""
    with pytest.raises(DefinitionError, match="online_history"):
        counter(**changes)


def test_what_was_lost_is_left_to_history(online_url: str, tmp_path: Path) -> None:
    """An entity whose rows the online store has lost isn't missing before its next one: only history can answer. One
    that history didn't know before is.
    """
    clock = HandClock(0)
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        store.apply(counter())
        for minute, things in ((0, [1]), (30, [1, 2])):
            clock.micros = int((_TOMORROW + timedelta(minutes=minute)).timestamp() * 10**6)
            for thing in things:
                store.write("counter", {**at_minute(minute, minute), "thing": [thing]})
            store.materialize()
            if minute == 0:
                name = store.view("counter").storage_name
                assert store.online.delete(name, RowCodec(counter()).keys(pa.table({"thing": [1]}))) == 1  # type: ignore[arg-type]
        now, before = ({"at": _TOMORROW + timedelta(minutes=minute)} for minute in (30, 10))
        assert store.get_online_features("counter", {"thing": [1, 2]}, **now).to_arrow()["x"].to_pylist() == [30, 30]
        with pytest.raises(MomentNotOnlineError, match="thing=1 was not available"):
            store.get_online_features("counter", {"thing": [1, 2]}, **before)
        assert store.get_online_features("counter", {"thing": [2]}, **before).status["counter"] == ["missing"]
        found = store.get_online_features("counter", {"thing": [1, 2]}, **before, fallback="offline")
        assert found.to_arrow()["x"].to_pylist() == [0, None]


def test_a_moment_before_is_left_to_history(online_url: str, tmp_path: Path) -> None:
    """Within the hour online, before it an error that offers history, or history's answer."""
    clock = HandClock(0)
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        store.apply(counter())
        for minute in (0, 30, 60, 90, 120):
            clock.micros = int((_TOMORROW + timedelta(minutes=minute)).timestamp() * 10**6)
            store.push("counter", at_minute(minute, minute))
        for minute, x in ((60, 60), (89, 60), (90, 90), (119, 90), (120, 120)):
            found = store.get_online_features("counter", {"thing": [1]}, at=_TOMORROW + timedelta(minutes=minute))
            assert found.to_arrow()["x"].to_pylist() == [x]
        with pytest.raises(MomentNotOnlineError, match="fallback='offline'"):
            store.get_online_features("counter", {"thing": [1]}, at=_TOMORROW + timedelta(minutes=59))
        fallen = store.get_online_features("counter", {"thing": [1]}, at=_TOMORROW, fallback="offline")
        assert fallen.to_arrow()["x"].to_pylist() == [0]


def packed(view: FeatureView, things: list[int], minutes: list[int]) -> OnlineRows:
    """Rows of the counter, available when they happened, numbered by their minutes."""
    times = pa.array([_minute(minute) for minute in minutes], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    numbers = pa.array(minutes, pa.int64())
    columns = [pa.array(things, pa.int64()), times, times, numbers, numbers]
    return RowCodec(view).encode(pa.table(columns, schema=history_schema(view)))


def _minute(minute: int) -> int:
    return int((_TOMORROW + timedelta(minutes=minute)).timestamp() * 10**6)


def test_what_is_kept_is_bounded(online_url: str, tmp_path: Path) -> None:
    """Of many rows at most twice those of the last hour stay, or few; nothing of an entity that none came of since."""
    view, lengths = counter(), list[int]()
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        for minute in range(400):
            rows = packed(view, [1], [minute])
            recent.write(view, store.online, rows, _minute(minute - 60))
            (kept,) = store.online.read([(timeline_name(view.storage_name), rows.keys)])[0]
            lengths.append(len(kept or b""))
        row = 4 + len(rows.rows[0])
        assert 60 * row <= lengths[-1]
        assert max(lengths) <= max(2_048, 2 * (16 + 61 * row)) + 16 + row
        assert recent.collect(view, store.online, _minute(399 - 60)) == 1
        (kept,) = store.online.read([(timeline_name(view.storage_name), rows.keys)])[0]
        assert kept is not None
        assert len(kept) == 16 + 61 * row
        assert recent.collect(view, store.online, _minute(399)) == 1
        assert store.online.read([(timeline_name(view.storage_name), rows.keys)]) == [[None]]


def test_what_is_kept_goes_with_the_rows(online_url: str, tmp_path: Path) -> None:
    """Verifying finds nothing wrong with recent rows; dropping and forgetting takes them, too."""
    clock, view = HandClock(0), counter()
    key, name = RowCodec(view).keys(pa.table({"thing": [1]})), timeline_name(view.storage_name)
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        store.apply(view)
        for minute in (0, 10, 20):
            clock.micros = _minute(minute)
            store.push("counter", at_minute(minute, minute))
        assert store.verify_online("counter").total == 0
        assert store.online.read([(name, key)])[0] != [None]  # type: ignore[list-item]
        store.forget("thing", {"thing": [1]})
        assert store.online.read([(name, key)])[0] == [None]  # type: ignore[list-item]
        store.push("counter", at_minute(20, 1))
        store.drop_online("counter")
        assert store.online.read([(name, key)])[0] == [None]  # type: ignore[list-item]


def every_ten_minutes(clock: HandClock, *steps: Callable[[], object]) -> None:
    """Do one step after the other, the first tomorrow at midnight."""
    for number, step in enumerate(steps):
        clock.micros = int((_TOMORROW + timedelta(minutes=10 * number)).timestamp() * 10**6)
        step()
    clock.micros += 5 * 60 * 10**6


def in_between(store: FeatureStore, steps: int) -> list[int | None]:
    """Return what the online store says of five minutes after each step, None where it leaves that to history."""
    found = list[int | None]()
    for number in range(steps):
        at = _TOMORROW + timedelta(minutes=10 * number + 5)
        try:
            found += store.get_online_features("counter", {"thing": [1]}, at=at).to_arrow()["x"].to_pylist()
        except MomentNotOnlineError:
            found.append(None)
        else:
            fallen = store.get_historical_features({"thing": [1], "event_timestamp": [at]}, "counter")
            assert fallen.table["x"].to_pylist() == found[-1:]
    return found


@pytest.mark.parametrize("way", ["rolled back", "pinned"])
def test_rows_of_a_version_that_keeps_no_time(online_url: str, tmp_path: Path, way: str) -> None:
    """A patch version without `online_history` writes the same rows: what was before them is left to history, and
    what comes after them is kept again.
    """
    clock = HandClock(0)
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        store.apply(counter(online_history=None))
        store.apply(counter(version="1.0.1"))

        def roll(to: str) -> None:
            if way == "rolled back":
                store.rollback("counter", to=to)

        steps: list[Callable[[], object]] = [
            lambda: store.push("counter", at_minute(0, 0)),
            lambda: roll("1.0.0"),
            lambda: store.push("counter:v1.0.0", at_minute(20, 20)),
            lambda: store.push("counter:v1.0.0", at_minute(30, 30)),
            lambda: roll("1.0.1"),
        ]
        every_ten_minutes(clock, *steps)
        assert in_between(store, 5) == [None, None, None, 30, 30]
        every_ten_minutes(clock, *[lambda: None] * 5, lambda: store.push("counter", at_minute(50, 50)))
        assert in_between(store, 6) == [None, None, None, 30, 30, 50]


def test_mended_rows(online_url: str, tmp_path: Path) -> None:
    """Of several rows that didn't come online a repair brings the last: what was before it is left to history."""
    clock = HandClock(0)
    with FeatureStore(tmp_path / "store", online=online_url, clock=clock) as store:
        store.apply(counter())
        steps: list[Callable[[], object]] = [
            lambda: store.push("counter", at_minute(0, 0)),
            lambda: store.write("counter", at_minute(10, 10)),
            lambda: store.write("counter", at_minute(20, 20)),
            lambda: store.verify_online("counter", repair=True),
        ]
        every_ten_minutes(clock, *steps)
        assert store.verify_online("counter").total == 0
        assert in_between(store, 4) == [None, None, 20, 20]
        every_ten_minutes(clock, *[lambda: None] * 4, lambda: store.push("counter", at_minute(40, 40)))
        assert in_between(store, 5) == [None, None, 20, 20, 40]
        store.materialize()
        assert in_between(store, 5)[2:] == [20, 20, 40]


def test_a_row_in_between(online_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a writer that keeps none, which comes when another has looked, and is replaced at once, isn't lost."""
    view = counter()
    with FeatureStore(tmp_path / "store", online=online_url) as store:
        first, other, last = (packed(view, [1], [minute]) for minute in (0, 10, 20))
        recent.write(view, store.online, first, _minute(-60))
        read = store.online.read

        def overtaken(*asked: Any, **options: Any) -> Any:
            monkeypatch.setattr(store.online, "read", read)
            found = read(*asked, **options)
            store.online.write(view.storage_name, other)
            return found

        monkeypatch.setattr(store.online, "read", overtaken)
        assert recent.write(view, store.online, last, _minute(-60)) == 1
        names = [view.storage_name, timeline_name(view.storage_name)]
        latest, timelines = store.online.read([(name, first.keys) for name in names])
        assert latest == last.rows
        for minute, rows in ((5, last.rows), (10, other.rows), (19, other.rows), (20, last.rows)):
            assert Timelines(view).resolve(first.keys, latest, timelines, _minute(minute)) == rows


@given(data=st.data())
def test_a_damaged_timeline_tells_nothing(data: st.DataObject) -> None:
    """A flipped bit, a cut or noise anywhere in it, and the moment is left to history; no other row is taken."""
    view = counter()
    codec, numbers = RowCodec(view), pa.array(range(10, 15), pa.int64())
    times = numbers.cast(pa.timestamp("us", tz="UTC"))
    table = pa.table([pa.array([1] * 5), times, times, numbers, numbers], schema=history_schema(view))
    rows, (key, *_) = (writes := codec.encode(table)).rows, writes.keys
    timelines, latest = Timelines(view), rows[-1]
    timeline = timelines.addition(key, None, None, rows, 11, complete=True)
    assert timelines.resolve([key], [latest], [timeline], 12) == [rows[2]]
    assert timelines.resolve([key], [latest], [timeline], 10) == [latest]
    damaged = bytearray(timeline)
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(timeline) * 8 - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    else:
        del damaged[data.draw(st.integers(0, len(timeline) - 1)) :]
    for noise in (bytes(damaged), data.draw(st.binary(max_size=60))):
        assert timelines.resolve([key], [latest], [noise], 12) == [latest]
