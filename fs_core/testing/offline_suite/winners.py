"""What winners promise: what an online store is filled from, whole and once."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import FeatureView
from fs_core.offline.contract import DividedHistory, OfflineStore, Watermark
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.testing.offline_suite.tables import (
    MOMENTS,
    append_all,
    assert_rows,
    counted,
    counter,
    cut,
    drawn,
    examples,
    history_types,
    micros_of,
)
from fs_core.testing.oracle import bits, oracle_winners


class WinningRows:
    """United by compare-and-set, winners are the rule's state at each moment."""

    @examples(60)
    @given(data=st.data())
    def test_winners_fill_an_online_store(self, store: OfflineStore, data: st.DataObject) -> None:
        """Winners since each watermark, united by compare-and-set, are the oracle's state at each moment."""
        scenario = drawn(data)
        view, written = scenario.view, list[dict[str, Any]]()
        online, expected = dict[Any, Any](), dict[Any, Any]()
        since: Watermark | None = None
        for batch in [*cut(data, scenario.history), None]:
            if batch is not None:
                store.append(view, batch)
                written += batch.to_pylist()
            # Any order: a later run may stand at an earlier moment.
            for ticks, offset in data.draw(st.lists(MOMENTS, max_size=2)) if batch else [(99, 0)]:
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

    @examples(30)
    @given(data=st.data())
    def test_events_come_by_entity(self, store: OfflineStore, data: st.DataObject) -> None:
        """With a moment of event time the candidates behind it come too, each entity's together, and no others."""
        scenario = drawn(data)
        view = scenario.view
        store.append(view, scenario.history)
        until, recent, happened = (scenario.scale.micros(*data.draw(MOMENTS)) for _ in range(3))
        run = store.winners(view, until=until, recent=recent, happened=happened)
        found = run.rows.read_all()
        assert run.total == found.num_rows
        known = [row for row in scenario.history.to_pylist() if micros_of(row[AVAILABLE_AT]) <= until]
        wins = [oracle_winners(view, known, moment) for moment in (until, min(recent, until))]
        kept = {row[SEQ] for rows in wins for row in rows}
        kept |= {row[SEQ] for row in known if micros_of(row[AVAILABLE_AT]) > recent}
        kept |= {row[SEQ] for row in known if micros_of(row[EVENT_TIME]) > happened}
        assert sorted(found[SEQ].to_pylist()) == sorted(kept)
        entities = [bits([row[key] for key in view.keys]) for row in found.to_pylist()]
        groups = [entity for entity, _ in groupby(map(repr, entities))]
        assert len(groups) == len(set(groups))

    @examples(20)
    @given(data=st.data())
    def test_winners_repeat_little(self, store: OfflineStore, data: st.DataObject) -> None:
        """A watermark covers what it covers: with nothing written since, only what became available comes."""
        scenario = drawn(data)
        store.append(scenario.view, scenario.history)
        first, later = sorted(scenario.scale.micros(*data.draw(MOMENTS)) for _ in range(2))
        since = store.winners(scenario.view, until=first).watermark
        found = store.winners(scenario.view, until=later, since=since).rows.read_all()
        became = [row for row in scenario.history.to_pylist() if first < micros_of(row[AVAILABLE_AT]) <= later]
        assert_rows(found, oracle_winners(scenario.view, became, later), history_types(scenario.view))

    @examples(25)
    @given(data=st.data())
    def test_winners_go_on_where_they_stopped(self, store: OfflineStore, data: st.DataObject) -> None:
        """A run that stopped after some row has the rest to come, whatever was written meanwhile."""
        view, later, until, since = _begun(store, data)
        whole = store.winners(view, until=until, since=since)
        rows = whole.rows.read_all()
        for batch in later:
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

    @examples(25)
    @given(data=st.data())
    def test_winners_and_what_came_recently(self, store: OfflineStore, data: st.DataObject) -> None:
        """With a recent moment, its winners and all that became available since come too, each row once."""
        scenario = drawn(data)
        view = scenario.view
        append_all(store, view, cut(data, scenario.history))
        recent, until = sorted(scenario.scale.micros(*data.draw(MOMENTS)) for _ in range(2))
        rows = scenario.history.to_pylist()
        wanted = {row[SEQ]: row for moment in (recent, until) for row in oracle_winners(view, rows, moment)}
        wanted |= {row[SEQ]: row for row in rows if recent < micros_of(row[AVAILABLE_AT]) <= until}
        found = store.winners(view, until=until, recent=recent)
        assert found.total == len(wanted)
        assert_rows(found.rows.read_all(), [wanted[seq] for seq in sorted(wanted)], history_types(view))

    @examples(20)
    @given(data=st.data())
    def test_winners_of_some_entities(self, store: OfflineStore, data: st.DataObject) -> None:
        """Asked for some entities only, the winners are theirs."""
        scenario = drawn(data)
        view = scenario.view
        store.append(view, scenario.history)
        until = scenario.scale.micros(*data.draw(MOMENTS))
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

    @examples(25)
    @given(data=st.data())
    def test_the_winners_of_portions_hold_the_winners(self, store: OfflineStore, data: st.DataObject) -> None:
        """Of what wins in a portion, the greatest of each entity is its winner, whatever is written meanwhile."""
        if not isinstance(store, DividedHistory):
            pytest.skip("it isn't read in portions")
        view, later, until, since = _begun(store, data)
        whole = store.winners(view, until=until, since=since)
        divided = store.portions(view, until=until, since=since)
        assert divided.watermark == whole.watermark
        portions = pickle.loads(pickle.dumps(divided.portions))  # noqa: S301  # of this test
        for batch in later:
            store.append(view, batch)
        rows = [row for portion in portions for row in store.winners_in(portion).read_all().to_pylist()]
        rows.sort(key=lambda row: (repr([row[key] for key in view.keys]), _order(row)))
        by_entity = groupby(rows, key=lambda row: repr([row[key] for key in view.keys]))
        found = sorted((list(mine)[-1] for _, mine in by_entity), key=lambda row: row[SEQ])
        assert [bits(row) for row in found] == [bits(row) for row in whole.rows.read_all().to_pylist()]


def _begun(store: OfflineStore, data: st.DataObject) -> tuple[FeatureView, list[pa.Table], int, Watermark | None]:
    """Append two batches; return the view, the later batches, the moment of a run, and what an earlier run reached."""
    scenario = drawn(data)
    view, batches = scenario.view, cut(data, scenario.history)
    first, until = sorted(scenario.scale.micros(*data.draw(MOMENTS)) for _ in range(2))
    since = None
    for batch in batches[:1]:
        store.append(view, batch)
        since = data.draw(st.sampled_from([None, store.winners(view, until=first).watermark]))
    for batch in batches[1:2]:
        store.append(view, batch)
    return view, list(batches[2:]), until, since


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
