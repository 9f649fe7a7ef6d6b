"""The promise for windows: what is served is what history says of the same moment, bit for bit, on every store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore
from fs_core.errors import DataError, MomentNotOnlineError
from fs_core.materialization import event_values as stored
from fs_core.materialization import events
from fs_core.online.row.codec import RowCodec
from fs_core.testing.events import EventScenario, event_ids, event_scenarios, event_values
from fs_core.testing.histories import TICKS, moments
from fs_core.testing.oracle import bits
from fs_core.testing.window_oracle import TOO_LARGE, oracle_windows
from fs_core.values.times import Clock, from_micros, micros
from fs_core.windows.packed import head

NewDirectory = Callable[[], Path]
_START = datetime(2024, 5, 5, tzinfo=UTC)
_STEPS = st.sampled_from(["push"] * 4 + ["read"] * 3 + ["wait"] * 3 + ["write", "lose", "materialize", "at"])


class HandClock(Clock):
    """A clock set by hand."""

    def __init__(self, micros: int) -> None:
        super().__init__()
        self.micros = micros

    def now(self) -> int:
        """Return the moment it shows."""
        return self.micros


def expected(scenario: EventScenario, history: pa.Table, asked: pa.Table, at: int) -> list[dict[str, Any]]:
    """Return what the oracle says of the entities at a moment."""
    spine = [{**row, "__time": at} for row in asked.to_pylist()]
    return oracle_windows(scenario.view, history.to_pylist(), spine, scenario.conditions)


class World:
    """Stores that share a history and an online store, and what was read so far.

    Attributes:
        scenario: the view, its values and entities.
        clock: the clock of all stores.
        stores: several processes' worth of them.
        ends: moments just before an event leaves a window, and after.
        owed: whether something was written that waits for a `materialize`, or from when on it will.
        reads: whom was asked for, when, what came (statuses and the features' bits, or None for too large), and how
            many events had been written: what is written later may say that it was known before.
    """

    def __init__(self, scenario: EventScenario, directory: Path, online: str) -> None:
        self.scenario, self.clock = scenario, HandClock(scenario.scale.micros(TICKS))
        self.stores = [FeatureStore(directory, online=online, clock=self.clock) for _ in range(2)]
        self.stores[0].apply(scenario.view)
        self.owed: list[int] = []
        self.written = 0
        self.ends: set[int] = set()
        self.reads: list[tuple[pa.Table, int, Any, int]] = []

    def rows(self, data: st.DataObject) -> pa.Table:
        """Draw a few events, of up to eight ticks ago, of now, or of the near future; ids come again."""
        view, tick = self.scenario.view, self.scenario.scale.micros(1) - self.scenario.scale.micros(0)
        about = st.sampled_from([-TICKS * tick, -2 * tick, -tick, -tick, -1, 0, 0, 1, tick])
        drawn = data.draw(st.lists(st.tuples(st.sampled_from(list(self.scenario.keys)), about), min_size=1, max_size=4))
        columns: dict[str, Any] = {
            key: pa.array([entity[i] for entity, _ in drawn], dtype) for i, (key, dtype) in enumerate(view.keys.items())
        }
        columns[view.event_timestamp] = moments([self.clock.micros + offset for _, offset in drawn])
        x = st.none() | event_values(view.stored["x"])
        for name, values in (("x", x), ("flag", st.integers(0, 3)), ("id", event_ids(view.stored["id"], 2))):
            columns[name] = pa.array([data.draw(values) for _ in drawn], view.stored[name])
        late = self.clock.micros, self.scenario.view.lag_micros
        self.owed += [at for at in (self.clock.micros + o + late[1] for _, o in drawn) if at > self.clock.micros]
        self.written += len(drawn)
        lengths = {length for a in view.aggregations for length in a.window_micros if length and length < 10 * tick}
        self.ends |= {
            self.clock.micros + offset + length + near
            for _, offset in drawn
            for length in lengths
            for near in (-2, -1, 0)
        }
        return pa.table(columns)

    def materialize(self, store: FeatureStore) -> None:
        """Bring everything online."""
        store.materialize()
        self.owed = [at for at in self.owed if at > self.clock.micros]

    def lose(self, store: FeatureStore, rows: pa.Table) -> None:
        """Lose the values of some entities, as a server does that evicts them, and push events of theirs."""
        view = self.scenario.view
        ready = [
            at
            for at in rows[view.event_timestamp].cast(pa.int64()).to_pylist()
            if at + view.lag_micros <= self.clock.micros
        ]
        if len(ready) == len(rows):  # or a lost value would stay lost until the next run
            keys = [key for key in RowCodec(view).keys(rows) if key is not None]
            store.online.delete(view.storage_name, list(dict.fromkeys(keys)))
        store.push(view, rows)

    def read(self, store: FeatureStore, data: st.DataObject, *, back: bool) -> None:
        """Read now, or at an earlier moment; keep what came."""
        view = self.scenario.view
        keys = [*self.scenario.keys, *data.draw(st.lists(st.sampled_from(list(self.scenario.keys)), max_size=2))]
        asked = pa.table(
            {key: pa.array([entity[i] for entity in keys], dtype) for i, (key, dtype) in enumerate(view.keys.items())}
        )
        at = None
        if back:
            at = from_micros(self.clock.micros - data.draw(st.sampled_from([1, 2, 7, self.scenario.scale.micros(1)])))
        now = self.clock.micros if at is None else micros(at)
        try:
            vectors = store.get_online_features(view, asked, at=at)
            found: Any = vectors.status[view.name], [bits(row) for row in vectors.table.to_pylist()]
            now = micros(vectors.at)
        except DataError:
            found = None
        except MomentNotOnlineError:
            assert back
            return
        self.reads.append((asked, now, found, self.written))

    def step(self, step: str, data: st.DataObject) -> None:
        """Do one thing."""
        store = data.draw(st.sampled_from(self.stores))
        if step == "push":
            store.push(self.scenario.view, self.rows(data))
        elif step == "lose":
            self.lose(store, self.rows(data))
        elif step == "write":
            store.write(self.scenario.view, self.rows(data))
            self.owed.append(self.clock.micros)
        elif step == "wait":
            tick = self.scenario.scale.micros(1) - self.scenario.scale.micros(0)
            jumps = st.sampled_from([self.clock.micros + by for by in (1, 2, tick, 3 * tick)])
            ends = sorted(end for end in self.ends if end > self.clock.micros)[:9]
            self.clock.micros = data.draw(jumps | st.sampled_from(ends) if ends else jumps)
        if step == "materialize" or (step in ("read", "at") and any(at <= self.clock.micros for at in self.owed)):
            self.materialize(store)
        if step in ("read", "at"):
            self.read(store, data, back=step == "at")
        self.clock.micros += 1

    def check(self) -> None:
        """Compare every read with the oracle, and with what history says now."""
        view, history = self.scenario.view, self.stores[1].history(self.scenario.view)
        for asked, at, found, written in self.reads:
            rows = expected(self.scenario, history.slice(0, written), asked, at)
            if found is None or any(TOO_LARGE in row.values() for row in rows):
                assert found is None
                assert any(TOO_LARGE in row.values() for row in rows)
                continue
            assert found[0] == [row["__status"] for row in rows]
            assert found[1] == [bits({name: row[name] for name in view.features}) for row in rows]
            if written < len(history):
                continue
            spine = asked.append_column("the moment", pa.chunked_array([moments([at] * len(asked))]))
            made = self.stores[0].get_historical_features(spine, view.name, timestamp="the moment").table
            assert [bits(row) for row in made.select(list(view.features)).to_pylist()] == found[1]
        for store in self.stores:
            store.close()


@settings(max_examples=12)
@given(data=st.data())
def test_the_parity_theorem_for_windows(online_url: str, fresh_directory: NewDirectory, data: st.DataObject) -> None:
    """Each read, while events are pushed late, repeated and corrected, and written and materialized in between,
    equals what the oracle and history later say of its moment.

    What was written, or held back by a lag, is materialized before the next read: until then it isn't online.
    """
    scenario = data.draw(event_scenarios(max_rows=1, starts=[_START]))
    with pytest.MonkeyPatch.context() as patch:
        # Values are rewritten by many pushes, however short they are, and tell of little time before that.
        patch.setattr(events, "_SMALL", 0)
        patch.setattr(stored, "GRACE_MICROS", data.draw(st.sampled_from([0, 5])))
        # So are entities hot, however few their events, and heads answer for a short time.
        patch.setattr(stored, "HOT", data.draw(st.sampled_from([1, 2, 200])))
        patch.setattr(stored, "_SHORTER", 0)
        patch.setattr(head, "MOST_ENDS", data.draw(st.integers(0, 9)))
        world = World(scenario, fresh_directory(), online_url)
        for step in data.draw(st.lists(_STEPS, min_size=4, max_size=20)):
            world.step(step, data)
        world.step("read", data)
        world.materialize(world.stores[0])
        found = world.stores[0].verify_online(scenario.view)
        assert found.total == 0, found.evidence.to_pylist()
        world.check()
