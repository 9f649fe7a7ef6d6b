"""The promise: what is served is what the as-of rule says, bit for bit, on every online store, against the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore, FeatureView
from fs_core.errors import MomentNotOnlineError
from fs_core.serving import FeatureVectors
from fs_core.testing.histories import TICKS, Scenario, moments, nullable, scenarios
from fs_core.testing.oracle import bits, oracle_as_of
from fs_core.values.times import Clock, from_micros, micros, parse_duration

NewDirectory = Callable[[], Path]

# Servers collect what has expired by their own clock, so stories that they take part in begin tomorrow.
_TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


class HandClock(Clock):
    """A clock set by hand: it stands still until it is moved, so that a materialize and a read share a moment."""

    def __init__(self, micros: int) -> None:
        super().__init__()
        self.micros = micros

    def now(self) -> int:
        """Return the moment it shows."""
        return self.micros


def answered(view: FeatureView, rows: Sequence[Any], asked: pa.Table, at: int) -> tuple[Any, list[str]]:
    """Return what the oracle says of the keys in `asked` at a moment: the features' bits, and statuses."""
    spine = [{**row, "__time": at} for row in asked.to_pylist()]
    answers = oracle_as_of(view, rows, spine, list(view.features))
    return (
        [bits({name: answer[name] for name in view.features}) for answer in answers],
        [answer["__status"] for answer in answers],
    )


def served(view: FeatureView, vectors: FeatureVectors) -> tuple[Any, list[str]]:
    """Return what was served in the same form, its dtypes checked."""
    assert vectors.table.schema == pa.schema(list(view.features.items()))
    return [bits(row) for row in vectors.table.to_pylist()], list(vectors.status[view.name])


def retrieved(view: FeatureView, store: FeatureStore, asked: pa.Table, at: int) -> Any:
    """Return what history says for the keys in `asked` at a moment: the features' bits."""
    spine = asked.append_column("the moment", pa.chunked_array([moments([at] * len(asked))]))
    training = store.get_historical_features(spine, view.name, timestamp="the moment").table
    assert training.select(asked.column_names).cast(asked.schema).equals(asked) or _has_nan(asked)
    features = training.select(list(view.features))
    assert features.schema == pa.schema(list(view.features.items()))
    return [bits(row) for row in features.to_pylist()]


def _has_nan(table: pa.Table) -> bool:
    return any(pa.types.is_floating(column.type) for column in table.columns)


def _as_written(view: FeatureView, history: pa.Table) -> pa.Table:
    """Return rows of history as somebody would write them."""
    names = {"__event_time": view.event_timestamp, "__available_at": view.available_at}
    rows = history.drop_columns(["__seq"])
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


@st.composite
def questions(draw: st.DrawFn, scenario: Scenario) -> pa.Table:
    """Draw whom to ask for: the known and the unknown, with null keys, again and again, or nobody."""
    view, keys = scenario.view, list(scenario.keys)
    entities = draw(st.sampled_from([[], *[keys] * 9])) + draw(st.lists(st.sampled_from(keys), max_size=3))
    asked = [(entity, draw(st.sampled_from([None] * 9 + [0, len(view.keys) - 1]))) for entity in entities]
    columns = {
        key: pa.array([None if gap == i else entity[i] for entity, gap in asked], dtype)
        for i, (key, dtype) in enumerate(view.keys.items())
    }
    return pa.table(columns)


def moments_of_interest(scenario: Scenario) -> st.SearchStrategy[int]:
    """Return a strategy for moments on, just before and just after those at which an answer changes, and others."""
    ticks = st.integers(0, 3 * TICKS).map(scenario.scale.micros)
    edges = [at + step for _, at in scenario.changes() for step in (-1, 0, 1)]
    last = scenario.scale.micros(3 * TICKS)  # a ttl of thousands of years ends after the calendar
    near = [at for at in edges if scenario.scale.micros(0) <= at <= last]
    return ticks | st.sampled_from(near) if near else ticks


@settings(max_examples=100)
@given(data=st.data())
def test_served_rows_are_the_oracles(
    online_urls: list[str], fresh_directory: NewDirectory, data: st.DataObject
) -> None:
    """Whatever is written, late and out of order, after each materialize each online store serves what the rule says.

    So a row that arrives late reaches an online store if and only if it wins.
    """
    scenario = data.draw(scenarios(starts=[_TOMORROW]))
    view = dataclasses.replace(scenario.view, available_at="known_at")
    history = scenario.history.sort_by("__seq")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=2)))
    parts = zip([0, *cuts], [*cuts, len(history)], strict=True)
    times = sorted(data.draw(st.lists(moments_of_interest(scenario), min_size=len(cuts) + 1, max_size=5)))
    clock, directory = HandClock(times[0]), fresh_directory()
    with ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore(directory, online=url, clock=clock)) for url in online_urls]
        stores[0].apply(view)
        for number, (start, end) in enumerate(parts):
            stores[0].write(view, _as_written(view, history.slice(start, end - start)))
            written = history.slice(0, end).to_pylist()
            for at in times[number : None if end == len(history) and number == len(cuts) else number + 1]:
                clock.micros = max(clock.micros, at)
                asked, earlier = data.draw(questions(scenario)), data.draw(st.sampled_from(times))
                expected = answered(view, written, asked, clock.micros)
                assert retrieved(view, stores[0], asked, clock.micros) == expected[0]
                for store in stores:
                    store.materialize()
                    vectors = store.get_online_features(view, asked)
                    assert micros(vectors.at) == clock.micros
                    assert served(view, vectors) == expected
                    _look_back(store, view, written, asked, earlier)


def _look_back(store: FeatureStore, view: FeatureView, written: Sequence[Any], asked: pa.Table, at: int) -> None:
    """Ask for an earlier moment: the online store answers as the rule says, or admits that only history can."""
    moment, expected = from_micros(at), answered(view, written, asked, at)
    if moment > from_micros(store._clock.now()):
        return
    assert served(view, store.get_online_features(view, asked, at=moment, fallback="offline")) == expected
    try:
        vectors = store.get_online_features(view, asked, at=moment)
    except MomentNotOnlineError:
        return
    assert served(view, vectors) == expected


@pytest.mark.parametrize("lag", ["0s", "2us"])
@settings(max_examples=40)
@given(data=st.data())
def test_the_parity_theorem(online_url: str, fresh_directory: NewDirectory, lag: str, data: st.DataObject) -> None:
    """Each read, while facts are pushed late and out of order, equals what history later says of its moment.

    Two processes' worth of stores take turns. Nothing is materialized before a read unless a row was
    held back (by the lag, or since it is about the future) and has become available.
    """
    scenario = data.draw(scenarios(starts=[_TOMORROW], max_rows=1))
    ttl = scenario.view.ttl
    if ttl is not None:  # which must exceed the lag
        ttl += parse_duration(lag)
    view = dataclasses.replace(scenario.view, lag=lag, ttl=ttl)
    clock = HandClock(scenario.scale.micros(TICKS))
    directory = fresh_directory()
    stores = [FeatureStore(directory, online=online_url, clock=clock) for _ in range(2)]
    stores[0].apply(view)
    held_back: list[int] = []
    reads: list[tuple[pa.Table, FeatureVectors]] = []
    steps = st.sampled_from(["push", "push", "read", "read", "wait", "materialize"])
    for step in data.draw(st.lists(steps, max_size=20)):
        store = data.draw(st.sampled_from(stores))
        if step == "push":
            rows = data.draw(pushes(scenario, clock.micros))
            store.push(view, rows)
            known = [max(clock.micros, at + _micros(view.lag)) for at in _micros_of(rows[view.event_timestamp])]
            held_back += [at for at in known if at > clock.micros]
        elif step == "wait":
            clock.micros += data.draw(st.sampled_from([1, 2, scenario.scale.micros(1) - scenario.scale.micros(0)]))
        if step == "materialize" or (step == "read" and any(at <= clock.micros for at in held_back)):
            store.materialize()
            held_back = [at for at in held_back if at > clock.micros]
        if step == "read":
            asked = data.draw(questions(scenario))
            reads.append((asked, store.get_online_features(view, asked)))
        clock.micros += 1  # like any clock of ours, it shows no two events of a process the same moment
    for asked, vectors in reads:
        at = micros(vectors.at)
        history = stores[1].history(view).to_pylist()
        assert served(view, vectors) == answered(view, history, asked, at)
        assert served(view, vectors)[0] == retrieved(view, stores[0], asked, at)
    for store in stores:
        store.close()


def _micros_of(times: pa.ChunkedArray) -> list[int]:
    counts: list[int] = times.cast(pa.int64()).to_pylist()
    return counts


def _micros(duration: timedelta | str) -> int:
    assert isinstance(duration, timedelta)
    return duration // timedelta(microseconds=1)


@st.composite
def pushes(draw: st.DrawFn, scenario: Scenario, now: int) -> pa.Table:
    """Draw one to four live rows about moments up to eight ticks ago, the present, and the near future."""
    view = scenario.view
    tick = scenario.scale.micros(1) - scenario.scale.micros(0)
    about = st.sampled_from([-TICKS * tick, -2 * tick, -tick, -1, 0, 0, 1, 2, tick])
    rows = draw(st.lists(st.tuples(st.sampled_from(list(scenario.keys)), about), min_size=1, max_size=4))
    columns: dict[str, Any] = {
        key: pa.array([entity[i] for entity, _ in rows], dtype) for i, (key, dtype) in enumerate(view.keys.items())
    }
    columns[view.event_timestamp] = moments([now + offset for _, offset in rows])
    for name, dtype in view.features.items():
        columns[name] = pa.array([draw(nullable(dtype)) for _ in rows], dtype)
    return pa.table(columns)
