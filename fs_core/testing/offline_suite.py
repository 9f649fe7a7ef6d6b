"""The conformance suite of history back-ends: what `OfflineStore` promises, held against the oracle."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, TIME, history_schema
from fs_core.definitions import Entity, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import EMPTY, OfflineStore, Watermark
from fs_core.testing.histories import TICKS, Scenario, moments, scenarios, spines
from fs_core.testing.oracle import bits, oracle_as_of, oracle_winners
from fs_core.times import MICROSECONDS

_numbers = itertools.count()
_BATCHES, _BATCH = 12, 3  # what each concurrent writer appends

counter = FeatureView(
    "counter", entity=Entity("thing", keys={"thing": "int64"}), fields=[Field("value", "int64")], ttl="10s"
)
"""A plain view for the tests that aren't about types."""


def _examples(count: int) -> settings:
    """Return settings for a property; one store serves every example, one suite every subclass."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    checks += [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(deadline=None, max_examples=count, suppress_health_check=checks)


class OfflineStoreSuite:
    """Subclass it with a fixture `store` that returns an empty `OfflineStore`; pytest does the rest."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """The back-end to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named store")

    @_examples(80)
    @given(data=st.data())
    def test_as_of_equals_the_oracle(self, store: OfflineStore, data: st.DataObject) -> None:
        """Values, nulls, types, row count, row order and status are the oracle's, bit for bit."""
        scenario = _drawn(data)
        view = scenario.view
        _append_all(store, view, _batches(data, scenario.history))
        spine = data.draw(spines(scenario))
        columns = data.draw(st.permutations(list(view.features)))
        expected = oracle_as_of(view, scenario.history.to_pylist(), spine.to_pylist(), columns)
        assert_rows(store.as_of(view, spine, columns), expected, as_of_types(view, columns))

    @_examples(30)
    @given(data=st.data())
    def test_compaction_keeps_everything(self, store: OfflineStore, data: st.DataObject) -> None:
        """Before and after, and for every earlier state: the same rows in the same order, the same answers."""
        scenario = _drawn(data)
        view = scenario.view
        states = [store.snapshot(view), *(store.append(view, batch) for batch in _batches(data, scenario.history))]
        before = [[bits(row) for row in store.read(view, snapshot=state).to_pylist()] for state in states]
        spine, columns = data.draw(spines(scenario)), list(view.features)
        answers = [store.as_of(view, spine, columns, snapshot=state) for state in states]
        compacted = store.compact(view)
        assert store.snapshot(view) == compacted >= states[-1]
        for state, rows, answer in zip(
            [*states, compacted], [*before, before[-1]], [*answers, answers[-1]], strict=True
        ):
            assert [bits(row) for row in store.read(view, snapshot=state).to_pylist()] == rows
            found = store.as_of(view, spine, columns, snapshot=state)
            assert found.schema == answer.schema
            assert [bits(row) for row in found.to_pylist()] == [bits(row) for row in answer.to_pylist()]
        assert store.compact(view) == compacted

    @_examples(40)
    @given(data=st.data())
    def test_history_comes_back_as_it_was_written(self, store: OfflineStore, data: st.DataObject) -> None:
        """Every row is read once, ordered by seq, in the declared schema, with its bits."""
        scenario = _drawn(data)
        _append_all(store, scenario.view, _batches(data, scenario.history))
        expected = sorted(scenario.history.to_pylist(), key=lambda row: int(row[SEQ]))
        found = store.read(scenario.view)
        assert_rows(found, expected, history_types(scenario.view))
        assert found.schema.equals(history_schema(scenario.view))
        wanted = data.draw(st.sets(st.sampled_from(list(scenario.view.features))))
        kept = [name for name in found.column_names if name in wanted or name not in scenario.view.features]
        some = store.read(scenario.view, columns=list(wanted))
        assert some.schema.equals(found.select(kept).schema)
        assert [bits(row) for row in some.to_pylist()] == [bits(row) for row in found.select(kept).to_pylist()]

    @_examples(25)
    @given(data=st.data())
    def test_a_snapshot_is_stable(self, store: OfflineStore, data: st.DataObject) -> None:
        """What a state answered, it answers after every later append too."""
        scenario = _drawn(data)
        view, columns = scenario.view, list(scenario.view.features)
        spine = data.draw(spines(scenario, max_rows=12))
        seen: list[tuple[int, list[Any]]] = [(store.snapshot(view), [])]
        for batch in _batches(data, scenario.history):
            seen.append((store.append(view, batch), seen[-1][1] + batch.to_pylist()))
        for snapshot, rows in seen:
            expected = oracle_as_of(view, rows, spine.to_pylist(), columns)
            assert_rows(store.as_of(view, spine, columns, snapshot=snapshot), expected, as_of_types(view, columns))
            read = store.read(view, snapshot=snapshot)
            assert_rows(read, sorted(rows, key=lambda row: int(row[SEQ])), history_types(view))

    @_examples(60)
    @given(data=st.data())
    def test_winners_fill_an_online_store(self, store: OfflineStore, data: st.DataObject) -> None:
        """Winners since each watermark, united by compare-and-set, are the oracle's state at each moment."""
        scenario = _drawn(data)
        view, written = scenario.view, list[dict[str, Any]]()
        online, expected = dict[Any, Any](), dict[Any, Any]()
        since: Watermark | None = None
        for batch in [*_batches(data, scenario.history), None]:
            if batch is not None:
                store.append(view, batch)
                written += batch.to_pylist()
            # Any order: a later run may stand at an earlier moment.
            for ticks, offset in data.draw(st.lists(_MOMENTS, max_size=2)) if batch else [(99, 0)]:
                until = scenario.scale.micros(ticks, offset)
                run = store.winners(view, until=until, since=since)
                found, total, since = run.rows.read_all(), run.total, run.watermark
                assert (since.until, total) == (until, found.num_rows)
                assert found[SEQ].to_pylist() == sorted(found[SEQ].to_pylist())
                assert found.schema.equals(history_schema(view))
                _compare_and_set(view, online, _available(found, written, until))
                _compare_and_set(view, expected, oracle_winners(view, written, until))
                assert bits(list(online.values())) == bits([expected[entity] for entity in online])
                assert len(online) == len(expected)
        final = oracle_winners(view, written, scenario.scale.micros(99))
        assert sorted(map(repr, map(bits, online.values()))) == sorted(map(repr, map(bits, final)))

    @_examples(20)
    @given(data=st.data())
    def test_winners_repeat_little(self, store: OfflineStore, data: st.DataObject) -> None:
        """A watermark covers what it covers: with nothing written since, only what became available comes."""
        scenario = _drawn(data)
        store.append(scenario.view, scenario.history)
        first, later = sorted(scenario.scale.micros(*data.draw(_MOMENTS)) for _ in range(2))
        since = store.winners(scenario.view, until=first).watermark
        found = store.winners(scenario.view, until=later, since=since).rows.read_all()
        became = [row for row in scenario.history.to_pylist() if first < micros_of(row[AVAILABLE_AT]) <= later]
        assert_rows(found, oracle_winners(scenario.view, became, later), history_types(scenario.view))

    @_examples(25)
    @given(data=st.data())
    def test_winners_go_on_where_they_stopped(self, store: OfflineStore, data: st.DataObject) -> None:
        """A run that stopped after some row has the rest to come, whatever was written meanwhile."""
        scenario = _drawn(data)
        view, batches = scenario.view, _batches(data, scenario.history)
        first, until = sorted(scenario.scale.micros(*data.draw(_MOMENTS)) for _ in range(2))
        since = None
        for batch in batches[:1]:
            store.append(view, batch)
            since = data.draw(st.sampled_from([None, store.winners(view, until=first).watermark]))
        for batch in batches[1:2]:
            store.append(view, batch)
        whole = store.winners(view, until=until, since=since)
        rows = whole.rows.read_all()
        for batch in batches[2:]:
            store.append(view, batch)
        for taken in range(rows.num_rows + 1):
            after = rows[SEQ][taken - 1].as_py() if taken else None
            rest = store.winners(view, until=until, since=since, snapshot=whole.watermark.snapshot, after=after)
            assert (rest.total, rest.watermark) == (rows.num_rows - taken, whole.watermark)
            assert [bits(row) for row in rest.rows.read_all().to_pylist()] == [
                bits(r) for r in rows.to_pylist()[taken:]
            ]

    def test_many_winners_come_in_batches(self, store: OfflineStore) -> None:
        """The rows of many entities come as several batches, none of them large; a reader may stop early."""
        store.append(counter, counted(range(50_000)))
        run = store.winners(counter, until=10**6)
        sizes = [batch.num_rows for batch in run.rows]
        assert (sum(sizes), run.total) == (50_000, 50_000)
        assert max(sizes) <= 20_000
        assert store.winners(counter, until=10**6).rows.read_next_batch().num_rows > 0

    @_examples(30)
    @given(data=st.data())
    def test_erasing_takes_an_entity_and_nothing_else(self, store: OfflineStore, data: st.DataObject) -> None:
        """Its rows are gone from every file; the others', states without it and winners of others are as before."""
        scenario = _drawn(data)
        view = scenario.view
        states = [store.snapshot(view), *(store.append(view, batch) for batch in _batches(data, scenario.history))]
        before = [store.read(view, snapshot=state).to_pylist() for state in states]
        doomed = data.draw(st.sampled_from(scenario.keys))
        some = data.draw(st.integers(1, len(view.keys)))  # a view of several entities may lose rows by one of them
        names = list(view.keys)[:some]
        keys = pa.table({n: pa.array([v], view.keys[n]) for n, v in zip(names, doomed, strict=False)})

        def is_doomed(row: Any) -> bool:
            return all(bits(row[n]) == bits(v) for n, v in zip(names, keys.to_pylist()[0].values(), strict=True))

        gone = [row for row in before[-1] if is_doomed(row)]
        assert store.traces(view, keys) >= len(gone)
        assert store.erase(view, keys).rows == len(gone)
        assert store.traces(view, keys) == 0
        stay = [bits(row) for row in before[-1] if not is_doomed(row)]
        assert [bits(row) for row in store.read(view).to_pylist()] == stay
        for state, rows in zip(states, before, strict=True):
            if not any(map(is_doomed, rows)):
                assert [bits(row) for row in store.read(view, snapshot=state).to_pylist()] == [bits(r) for r in rows]
            elif state != store.snapshot(view):
                with pytest.raises(OfflineStoreError, match="can't be made again"):
                    store.read(view, snapshot=state)
        until = scenario.scale.micros(99)
        found = store.winners(view, until=until).rows.read_all()
        rest = [row for row in before[-1] if not is_doomed(row)]
        assert_rows(found, oracle_winners(view, rest, until), history_types(view))
        spine = data.draw(spines(scenario, max_rows=12))
        expected = oracle_as_of(view, rest, spine.to_pylist(), list(view.features))
        assert_rows(store.as_of(view, spine, list(view.features)), expected, as_of_types(view, list(view.features)))
        assert store.erase(view, keys).rows == 0

    @_examples(25)
    @given(data=st.data())
    def test_winners_and_what_came_recently(self, store: OfflineStore, data: st.DataObject) -> None:
        """With a recent moment, its winners and all that became available since come too, each row once."""
        scenario = _drawn(data)
        view = scenario.view
        _append_all(store, view, _batches(data, scenario.history))
        recent, until = sorted(scenario.scale.micros(*data.draw(_MOMENTS)) for _ in range(2))
        rows = scenario.history.to_pylist()
        wanted = {row[SEQ]: row for moment in (recent, until) for row in oracle_winners(view, rows, moment)}
        wanted |= {row[SEQ]: row for row in rows if recent < micros_of(row[AVAILABLE_AT]) <= until}
        found = store.winners(view, until=until, recent=recent)
        assert found.total == len(wanted)
        assert_rows(found.rows.read_all(), [wanted[seq] for seq in sorted(wanted)], history_types(view))

    @_examples(20)
    @given(data=st.data())
    def test_winners_of_some_entities(self, store: OfflineStore, data: st.DataObject) -> None:
        """Asked for some entities only, the winners are theirs."""
        scenario = _drawn(data)
        view = scenario.view
        store.append(view, scenario.history)
        until = scenario.scale.micros(*data.draw(_MOMENTS))
        chosen = data.draw(st.lists(st.sampled_from(scenario.keys), unique_by=repr, max_size=2))
        columns = {n: pa.array([key[i] for key in chosen], t) for i, (n, t) in enumerate(view.keys.items())}
        wanted = {bits(list(row.values())) for row in pa.table(columns).to_pylist()}
        found = store.winners(view, until=until, entities=pa.table(columns))
        expected = [
            row
            for row in oracle_winners(view, scenario.history.to_pylist(), until)
            if bits([row[key] for key in view.keys]) in wanted
        ]
        assert found.total == len(expected)
        assert_rows(found.rows.read_all(), expected, history_types(view))

    def test_nothing_written(self, store: OfflineStore) -> None:
        """Before the first write there is an empty state, in which everything is missing."""
        spine = pa.table({"thing": [1, None], TIME: moments([5, 5])})
        assert store.snapshot(counter) == EMPTY
        assert store.read(counter).schema.equals(history_schema(counter))
        found = store.as_of(counter, spine, ["value"])
        assert found[STATUS].to_pylist() == ["missing", "missing"]
        assert found.schema.types == [pa.int64(), MICROSECONDS, pa.string()]
        nothing = store.winners(counter, until=9)
        assert nothing.rows.schema.equals(history_schema(counter))
        assert (nothing.rows.read_all().num_rows, nothing.total, nothing.watermark) == (0, 0, Watermark(EMPTY, 9))

    def test_what_was_empty_stays_empty(self, store: OfflineStore) -> None:
        """The empty state can be asked for after writes, and a watermark on it covers nothing."""
        store.append(counter, counted(range(2)))
        spine = pa.table({"thing": [1], TIME: moments([5])})
        assert store.as_of(counter, spine, ["value"], snapshot=EMPTY)[STATUS].to_pylist() == ["missing"]
        assert store.winners(counter, until=9, since=Watermark(EMPTY, 9)).total == 2

    def test_an_empty_spine(self, store: OfflineStore) -> None:
        """A spine without rows gives no rows, in the right types."""
        store.append(counter, counted(range(2)))
        found = store.as_of(counter, pa.table({"thing": pa.array([], pa.int64()), TIME: moments([])}), ["value"])
        assert (found.num_rows, found.schema.types) == (0, [pa.int64(), MICROSECONDS, pa.string()])

    @pytest.mark.parametrize("size", [1, 63, 64, 65, 5000])
    def test_the_order_of_the_spine_is_kept(self, store: OfflineStore, size: int) -> None:
        """However many rows are asked for, each answer stands in its question's row."""
        store.append(counter, counted(range(100)))
        things = [(i * 37) % 100 for i in range(size)]
        found = store.as_of(counter, pa.table({"thing": things, TIME: moments([100] * size)}), ["value"])
        assert found["value"].to_pylist() == things

    def test_states_have_growing_numbers(self, store: OfflineStore) -> None:
        """Each append gives a later state than the one before."""
        states = [store.append(counter, counted([i])) for i in range(3)]
        assert states == sorted(set(states))
        assert store.snapshot(counter) == states[-1] > EMPTY

    @pytest.mark.parametrize("snapshot", [999, -7])
    def test_an_unknown_state(self, store: OfflineStore, snapshot: int) -> None:
        """A state that isn't kept is an error that names the view, never an empty answer."""
        with pytest.raises(OfflineStoreError, match="counter"):
            store.read(counter, snapshot=snapshot)
        store.append(counter, counted([1]))
        with pytest.raises(OfflineStoreError, match="counter"):
            store.read(counter, snapshot=snapshot)

    def test_views_are_kept_apart(self, store: OfflineStore) -> None:
        """Rows of one meaning of a view are no rows of another."""
        store.append(counter, counted([1]))
        assert store.read(replace(counter, ttl="11s")).num_rows == 0

    def test_pickling(self, store: OfflineStore) -> None:
        """A copy made by pickling, after use, sees the same history and can add to it."""
        store.append(counter, counted([1]))
        copy: OfflineStore = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
        copy.append(counter, counted([2]))
        assert copy.read(counter).equals(store.read(counter))
        assert store.read(counter).num_rows == 2

    def test_threads_share_a_store(self, store: OfflineStore) -> None:
        """Many threads that read and append through one instance get whole and right answers."""
        store.append(counter, counted(range(50)))
        spine = pa.table({"thing": list(range(50)), TIME: moments([100] * 50)})

        def work(number: int) -> list[Any]:
            if number % 4 == 0:
                store.append(counter, counted([100 + number]))
            return list(store.as_of(counter, spine, ["value"])["value"].to_pylist())

        with ThreadPoolExecutor(4) as pool:
            assert all(found == list(range(50)) for found in pool.map(work, range(16)))
        assert store.read(counter).num_rows == 54

    def test_processes_append_at_once(self, store: OfflineStore) -> None:
        """Four processes that write at the same time lose nothing; a reader sees whole batches."""
        with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
            writers = [pool.submit(append_batches, store, writer) for writer in range(4)]
            seen = [0]
            while not all(writer.done() for writer in writers):
                seen.append(store.read(counter).num_rows)
            states = [state for writer in writers for state in writer.result()]
        assert seen == sorted(seen)
        assert all(count % _BATCH == 0 for count in seen)
        assert store.read(counter)[SEQ].to_pylist() == list(range(4 * _BATCHES * _BATCH))
        assert store.snapshot(counter) == max(states)

    def test_compaction_beside_writers(self, store: OfflineStore) -> None:
        """What two processes append while a third compacts is there in the end, once."""
        store.append(counter, counted(range(-_BATCH, 0)))
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
            writers = [pool.submit(append_batches, store, writer) for writer in range(2)]
            compactor = pool.submit(compact_often, store)
            compactor.result()
            assert all(len(writer.result()) == _BATCHES for writer in writers)
        store.compact(counter)
        assert store.read(counter)[SEQ].to_pylist() == list(range(-_BATCH, 2 * _BATCHES * _BATCH))


_MOMENTS = st.tuples(st.integers(0, 3 * TICKS), st.sampled_from([0, 0, -1, 1]))


def append_batches(store: OfflineStore, writer: int) -> list[int]:
    """Append one writer's batches; return the states; runs in a process of its own."""
    first = writer * _BATCHES * _BATCH
    starts = range(first, first + _BATCHES * _BATCH, _BATCH)
    return [store.append(counter, counted(range(start, start + _BATCH))) for start in starts]


def compact_often(store: OfflineStore) -> None:
    """Compact as often as a writer appends; runs in a process of its own."""
    for _ in range(_BATCHES):
        store.compact(counter)


def counted(numbers: Sequence[int]) -> pa.Table:
    """Return rows of `counter` in which thing, value, seq and both clocks (microseconds) are one number."""
    column = pa.array(numbers, pa.int64())
    time = moments(list(numbers))
    return pa.table({"thing": column, EVENT_TIME: time, AVAILABLE_AT: time, SEQ: column, "value": column})


def assert_rows(found: pa.Table, expected: Sequence[Any], types: dict[str, pa.DataType]) -> None:
    """Assert that a table has these columns, types and rows, bit for bit and in this order."""
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == types
    assert found.schema.names == list(types)
    rows = found.to_pylist()
    assert len(rows) == len(expected)
    for number, (have, want) in enumerate(zip(rows, expected, strict=True)):
        assert bits(have) == bits({name: want[name] for name in types}), f"row {number}"


def as_of_types(view: FeatureView, columns: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the columns and types of an as-of result."""
    return {**{name: view.features[name] for name in columns}, EVENT_TIME: MICROSECONDS, STATUS: pa.string()}


def history_types(view: FeatureView) -> dict[str, pa.DataType]:
    """Return the columns and types of history."""
    return {f.name: f.type for f in history_schema(view)}


def micros_of(moment: Any) -> int:
    """Return an aware datetime in microseconds since 1970."""
    return int(pa.scalar(moment, MICROSECONDS).value)


def _drawn(data: st.DataObject) -> Scenario:
    """Draw a scenario whose view no other example shares."""
    scenario = data.draw(scenarios())
    return replace(scenario, view=replace(scenario.view, name=f"v{next(_numbers)}_{uuid.uuid4().hex[:8]}"))


def _batches(data: st.DataObject, history: pa.Table) -> list[pa.Table]:
    """Draw where history is cut into appends; none is empty."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, history.num_rows - 1)), max_size=2)))
    edges = [0, *(cut for cut in cuts if cut < history.num_rows), history.num_rows]
    return [history.slice(a, b - a) for a, b in itertools.pairwise(edges) if b > a]


def _append_all(store: OfflineStore, view: FeatureView, batches: Sequence[pa.Table]) -> None:
    for batch in batches:
        store.append(view, batch)


def _available(found: pa.Table, written: Sequence[Any], until: int) -> list[Any]:
    """Return the rows found, each of them once written, available, and its entity's only one."""
    rows: list[Any] = found.to_pylist()
    by_seq = {row[SEQ]: row for row in written}
    for row in rows:
        assert bits(row) == bits({name: by_seq[row[SEQ]][name] for name in row})
        assert micros_of(row[AVAILABLE_AT]) <= until
    return rows


def _compare_and_set(view: FeatureView, state: dict[Any, Any], rows: Sequence[Any]) -> None:
    """Apply rows as an online store does: one that is older than what is kept is refused."""
    entities = [tuple(row[key] for key in view.keys) for row in rows]
    assert len(set(entities)) == len(entities)
    for entity, row in zip(entities, rows, strict=True):
        kept = state.get(entity)
        if kept is None or _order(row) >= _order(kept):
            state[entity] = row


def _order(row: Any) -> tuple[Any, Any, Any]:
    return row[EVENT_TIME], row[AVAILABLE_AT], row[SEQ]
