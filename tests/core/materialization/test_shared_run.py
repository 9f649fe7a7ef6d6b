"""One run by many machines: what each may do twice, at any time and beside others. Here they are this process."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OnlineStoreError
from fs_core.materialization.materialize import Materialized, materialize
from fs_core.materialization.shared.reach import Reach
from fs_core.materialization.shared.run import FOUND, GATHERED, SENT, SharedRun
from fs_core.materialization.shared.runner import SharedRunner
from fs_core.materialization.watermark import Progress
from fs_core.online.contract import timeline_name
from fs_core.online.redis import RedisOnlineStore
from fs_core.testing.events import event_scenarios
from fs_core.testing.histories import scenarios

VIEW = FeatureView(
    "counter",
    entity=Entity("user", keys={"user_id": "int64"}, description="A customer."),
    fields=[Field("x", "int64", "X.")],
    description="Counts.",
)
T0 = datetime(2024, 1, 1, tzinfo=UTC)


class Machines:
    """Calls what a cluster calls.

    Args:
        between: what happens between the two stages.
        again: whether tasks of the second stage are done twice.
    """

    def __init__(self, between: Callable[[], object] = lambda: None, again: bool = True) -> None:
        self._between = between
        self._again = again

    def send(self, run: SharedRun, portions: Sequence[Any]) -> Iterable[tuple[int, int]]:
        """See `Cluster.send`."""
        found = [batch for portion in reversed(portions) for batch in self.copy(run).found(portion)]
        self._between()
        gathered = gather(found)
        for part in (gathered.slice(0, 3), gathered.slice(3), gathered.slice(0, 3)) if self._again else ():
            list(self.copy(run).sent(part.to_batches()))
        (told,) = self.copy(run).sent(gathered.to_batches())
        assert told.schema == SENT
        yield told.column(0)[0].as_py(), told.column(1)[0].as_py()

    def copy(self, run: SharedRun) -> SharedRun:
        """Return a run as another machine gets it."""
        opened: SharedRun = pickle.loads(pickle.dumps(run))
        return opened


class ThisMachine(Machines):
    """Uses the stores of the test, so that it can come between."""

    def copy(self, run: SharedRun) -> SharedRun:
        """Return the run."""
        return run


def gather(found: Sequence[pa.RecordBatch]) -> pa.Table:
    """Return what was found by key, as a shuffle does."""
    rows, moments, events = defaultdict[bytes, list[bytes]](list), dict[bytes, list[Any]](), dict[bytes, int]()
    for row in pa.Table.from_batches(found, FOUND).to_pylist():
        key = row["key"]
        rows[key].append(row["row"])
        moments.setdefault(key, []).append(row["collect_at"])
        events[key] = events.get(key, 0) + row["events"]
    latest = [max((m for m in moments[key] if m is not None), default=None) for key in rows]
    columns = [list(rows), list(rows.values()), latest, list(events.values())]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, GATHERED, strict=True)], schema=GATHERED)


@pytest.fixture
def filled(store: FeatureStore) -> FeatureStore:
    """A store with ten users, in three months, so in several portions."""
    store.apply(VIEW)
    for day in (0, 40, 80):
        write(store, range(10), day)
    return store


def write(store: FeatureStore, users: Iterable[int], day: int) -> None:
    """Write a row for each user."""
    ids = list(users)
    times = [T0 + timedelta(days=day)] * len(ids)
    store.write(VIEW, {"user_id": ids, "event_timestamp": times, "x": [1000 * day + n for n in ids]})


def run(store: FeatureStore, machines: Machines) -> Materialized:
    """Materialize by machines."""
    runner = SharedRunner(VIEW, store.offline, store.online, machines)
    return materialize(VIEW, store.offline, store.online, runner=runner)


def held(store: FeatureStore) -> list[Any]:
    """Return each user's value online, None where there is none."""
    return store.get_online_features(VIEW, {"user_id": list(range(10))}).to_arrow()["x"].to_pylist()


def progress(store: FeatureStore) -> Progress | None:
    """Return what is kept of how far the online rows are."""
    text = store.online.watermark(VIEW.storage_name)
    return None if text is None else Progress.from_text(text, VIEW)


@settings(max_examples=8)
@given(data=st.data(), windows=st.booleans())
def test_any_history_goes_online_as_by_one_process(
    fresh_directory: Callable[[], Path], data: st.DataObject, windows: bool
) -> None:
    """Late rows, ties, timelines, windows: the same bytes, after a first run and after what is written then."""
    scenario: Any = data.draw(event_scenarios() if windows else scenarios())
    recent = None if windows else data.draw(st.sampled_from([None, "1h"]))
    view, history = replace(scenario.view, online=True, online_history=recent), scenario.history.sort_by("__seq")
    cut, ticks = data.draw(st.integers(0, len(history))), sorted(data.draw(st.integers(0, 14)) for _ in range(2))
    with FeatureStore(fresh_directory()) as ours, FeatureStore(fresh_directory()) as theirs:
        runner = SharedRunner(view, ours.offline, ours.online, Machines(again=False))
        for rows, tick in zip((history.slice(0, cut), history.slice(cut)), ticks, strict=True):
            until = scenario.scale.micros(tick)
            for store in (ours, theirs):
                if len(rows):
                    store.offline.append(view, rows)
            materialize(view, ours.offline, ours.online, until=until, runner=runner)
            materialize(view, theirs.offline, theirs.online, until=until)
            for name in (view.storage_name, timeline_name(view.storage_name)):
                mine, other = ({r.key: r.row for part in s.online.scan(name) for r in part} for s in (ours, theirs))
                assert mine == other


def test_a_run_travels_without_a_password(filled: FeatureStore) -> None:
    """The machines have it from their own environment."""
    online = RedisOnlineStore("redis://reader:hush@features:6379/0", project="p")
    reached = Progress("generation", None, filled.offline.winners(VIEW, until=0).watermark)
    shared = SharedRun(VIEW, filled.offline, online, reached)
    assert b"hush" not in pickle.dumps(shared)
    assert "hush" not in repr(shared)


def test_a_machine_says_which_store_it_does_not_reach(filled: FeatureStore) -> None:
    """History that isn't on its disk, an online store that is another one there: named, one or the other."""
    run(filled, Machines())
    reach = Reach([replace(VIEW, name="never_written"), VIEW], filled.offline, filled.online)

    def elsewhere() -> list[str]:
        other: Reach = pickle.loads(pickle.dumps(reach))
        return list(other.complaints())

    assert elsewhere() == []
    directory = Path(filled.directory)
    (directory / "history").rename(directory / "gone")
    assert [text for text in elsewhere() if "'counter:v1.0.0'" in text and "history" in text] == elsewhere() != []
    (directory / "gone").rename(directory / "history")
    filled.drop_online(VIEW)
    (found,) = elsewhere()
    assert "finds nothing of view 'counter:v1.0.0' in SQLiteOnlineStore(" in found


def test_tasks_may_be_done_twice_and_in_any_order(filled: FeatureStore) -> None:
    """The winners of all portions are online, one for each entity."""
    assert len(filled.offline.portions(VIEW, until=2**60).portions) == 3  # type: ignore[attr-defined]
    assert run(filled, Machines()).rows == 10
    assert held(filled) == [80_000 + n for n in range(10)]
    assert filled.verify_online(VIEW).differences == {}


def test_who_is_forgotten_between_the_stages_is_not_sent(filled: FeatureStore) -> None:
    """The run ends with an error, and nothing is marked as done; the next one looks at every row and does the rest."""
    with pytest.raises(OnlineStoreError, match="entities forgotten, while it was materialized"):
        run(filled, Machines(lambda: filled.forget("user", {"user_id": [4]})))
    assert held(filled) == [None] * 10
    left = progress(filled)
    assert left is not None
    assert (left.reached, len(left.suspects)) == (None, 1)
    assert run(filled, Machines()).rows == 9
    assert held(filled) == [None if n == 4 else 80_000 + n for n in range(10)]
    assert progress(filled).suspects == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("first", [True, False])
def test_who_is_forgotten_while_rows_are_sent_is_taken_back(
    filled: FeatureStore, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """Just before the store takes the rows, or just after: by then history lacks the entity."""
    offer, done = filled.online.write, list[int]()

    def interrupted(view: str, rows: Any) -> int:
        if not first and not done:
            done.append(offer(view, rows))
        if not done or not first:
            monkeypatch.setattr(filled.online, "write", offer)
            filled.forget("user", {"user_id": [1]})
        return offer(view, rows)

    monkeypatch.setattr(filled.online, "write", interrupted)
    with pytest.raises(OnlineStoreError, match="entities forgotten"):
        run(filled, ThisMachine())
    keys = {row.key for part in filled.online.scan(VIEW.storage_name) for row in part}
    assert held(filled)[1] is None
    assert len(keys) <= 9
    assert run(filled, ThisMachine()).rows == 9
    assert filled.verify_online(VIEW).differences == {}


def test_of_a_view_that_is_dropped_between_the_stages_nothing_is_left(filled: FeatureStore) -> None:
    """No row, no timeline and no mark: a task looks before it sends."""
    with pytest.raises(OnlineStoreError, match="rows were dropped"):
        run(filled, Machines(lambda: filled.drop_online(VIEW)))
    names = VIEW.storage_name, timeline_name(VIEW.storage_name)
    assert [row for name in names for part in filled.online.scan(name) for row in part] == []
    assert progress(filled) is None


def test_of_a_view_that_is_dropped_while_rows_are_sent_nothing_is_left(
    filled: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has sent rows deletes them where their generation is gone."""
    offer = filled.online.write

    def interrupted(view: str, rows: Any) -> int:
        monkeypatch.setattr(filled.online, "write", offer)
        filled.drop_online(VIEW)
        return offer(view, rows)

    monkeypatch.setattr(filled.online, "write", interrupted)
    with pytest.raises(OnlineStoreError, match="rows were dropped"):
        run(filled, ThisMachine())
    assert [row for part in filled.online.scan(VIEW.storage_name) for row in part] == []


def test_a_run_whose_state_of_history_is_gone_begins_anew(filled: FeatureStore) -> None:
    """A stage failed, then somebody was forgotten: the state that it read can't be read any more."""

    def fail() -> None:
        raise OnlineStoreError("a machine is gone")

    with pytest.raises(OnlineStoreError, match="a machine is gone"):
        run(filled, Machines(fail))
    before = progress(filled)
    assert before is not None
    assert before.run is not None
    filled.forget("user", {"user_id": [0]})
    assert run(filled, Machines()).rows == 9
    assert held(filled) == [None, *(80_000 + n for n in range(1, 10))]


def test_what_is_pushed_meanwhile_stays(filled: FeatureStore) -> None:
    """A newer row is online before the run sends the older one: it wins."""
    row = {"user_id": [2], "event_timestamp": [T0 + timedelta(days=90)], "x": [7]}
    run(filled, Machines(lambda: filled.push(VIEW, row)))
    assert held(filled)[2] == 7
    assert filled.verify_online(VIEW).differences == {}
