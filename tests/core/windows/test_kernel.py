"""The kernel against the oracle: every answer, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureView, Field
from fs_core.offline.predicates import passing
from fs_core.testing.events import EventScenario, event_scenarios
from fs_core.testing.histories import spines
from fs_core.testing.oracle import bits
from fs_core.testing.window_oracle import TOO_LARGE, oracle_windows
from fs_core.windows import answer, lists, prepared
from fs_core.windows.answer import Answers, TooLargeError
from fs_core.windows.evaluate import evaluate
from fs_core.windows.events import Events
from fs_core.windows.plan import Lane


def codes_of(scenario: EventScenario, table: pa.Table) -> Any:
    """Return a number for each row's entity; -1 for a null key."""
    keys = list(scenario.view.keys)
    known = {bits(tuple(row.values())): code for code, row in enumerate(scenario.history.select(keys).to_pylist())}
    rows = [tuple(row.values()) for row in table.select(keys).to_pylist()]
    return np.array([known.get(bits(row), -1) for row in rows], np.int64)


def asked(scenario: EventScenario, history: pa.Table, spine: pa.Table, names: Sequence[str] | None = None) -> Answers:
    """Ask the kernel."""
    view = scenario.view
    moments = spine["__time"].cast(pa.int64()).to_numpy()
    questions = codes_of(scenario, spine), moments
    conditions = passing(view, history)
    return evaluate(view, history, codes_of(scenario, history), conditions, questions, names or list(view.features))


def without_nulls(spine: pa.Table) -> pa.Table:
    """Return the rows that reach the kernel."""
    return pa.Table.from_pylist([r for r in spine.to_pylist() if None not in r.values()], spine.schema)


@pytest.mark.parametrize("chains", [0, 1, 4])
@settings(max_examples=80)
@given(data=st.data())
def test_the_kernel_equals_the_oracle(chains: int, data: st.DataObject) -> None:
    """Whatever events and questions, each feature is the oracle's: values, nulls, types, bits.

    However many chains are made of the events, however many questions are answered together, and whether all windows
    are looked at together.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "_CHAINS", chains)
        patch.setattr(prepared, "_FEW", 0)
        patch.setattr(answer, "_BLOCK", data.draw(st.sampled_from([3, 1 << 16])))
        patch.setattr(answer, "_FEW", data.draw(st.sampled_from([0, 1 << 10])))
        patch.setattr(lists, "_PAIRS", data.draw(st.sampled_from([3, 1 << 22])))
        _compare(data)


def _compare(data: st.DataObject) -> None:
    scenario = data.draw(event_scenarios())
    spine = without_nulls(data.draw(spines(scenario, max_rows=40)))
    expected = oracle_windows(scenario.view, scenario.history.to_pylist(), spine.to_pylist(), scenario.conditions)
    if any(TOO_LARGE in row.values() for row in expected):
        with pytest.raises(TooLargeError) as caught:
            asked(scenario, scenario.history, spine)
        assert expected[caught.value.row][caught.value.feature.name] == TOO_LARGE
        return
    found = asked(scenario, scenario.history, spine)
    assert found.features.schema.types == list(scenario.view.features.values())
    assert found.known.tolist() == [row["__status"] == "present" for row in expected]
    for number, (row, want) in enumerate(zip(found.features.to_pylist(), expected, strict=True)):
        assert bits(row) == bits({name: want[name] for name in row}), f"row {number}"


@settings(max_examples=60)
@given(data=st.data())
def test_the_order_of_rows_does_not_matter(data: st.DataObject) -> None:
    """The same events in any order, and any questions asked together or alone, give the same bits."""
    scenario = data.draw(event_scenarios(max_rows=16))
    spine = without_nulls(data.draw(spines(scenario, max_rows=8)))
    order = data.draw(st.permutations(range(scenario.history.num_rows)))
    try:
        found = asked(scenario, scenario.history, spine).features
        again = asked(scenario, scenario.history.take(pa.array(order, pa.int64())), spine).features
    except TooLargeError:
        return
    assert [bits(row) for row in again.to_pylist()] == [bits(row) for row in found.to_pylist()]
    for number in range(min(3, len(spine))):
        alone = asked(scenario, scenario.history, spine.slice(number, 1)).features
        assert bits(alone.to_pylist()) == bits(found.slice(number, 1).to_pylist())


def test_many_entities_over_a_long_time() -> None:
    """Entities and moments that don't fit 64 bits together are told apart all the same."""
    rng = np.random.default_rng(7)
    entities, years = 1 << 21, 9000 * 365 * 86_400_000_000
    codes = np.sort(rng.choice(entities, 5000))
    times = rng.integers(0, years, 5000)
    view = FeatureView(
        "v",
        Entity("e", {"k": "int64"}),
        [Field("x", "float64", "A value.")],
        aggregations=[Aggregation("sum", "x", windows=[None, "40000d"]), Aggregation("max", "x", windows=["40000d"])],
    )
    table = pa.table(
        {"__event_time": times, "__available_at": times, "__seq": np.arange(5000), "x": np.round(rng.random(5000), 2)}
    )
    questions = codes[::5], times[::5] + rng.integers(0, 10**15, 1000)
    found = evaluate(view, table, codes, {}, questions, list(view.features)).features
    for number in range(0, 1000, 50):
        entity, at = questions[0][number], questions[1][number]
        mine = table["x"].to_numpy()[(codes == entity) & (times <= at)]
        recent = table["x"].to_numpy()[(codes == entity) & (times <= at) & (times > at - 40_000 * 86_400_000_000)]
        assert found["x_sum"][number].as_py() == math.fsum(mine)
        assert found["x_sum_40000d"][number].as_py() == (math.fsum(recent) if len(recent) else None)
        assert found["x_max_40000d"][number].as_py() == (recent.max() if len(recent) else None)


def test_nobody_known() -> None:
    """Without events, or for entities that have none, counts are 0 and all else is null."""
    view = FeatureView(
        "v",
        Entity("e", {"k": "int64"}),
        [Field("x", "float64", "A value.")],
        aggregations=[Aggregation(function, "x", windows=[None]) for function in ("count", "sum", "last", "max")],
    )
    none = pa.table({n: pa.array([], pa.int64()) for n in ("__event_time", "__available_at", "__seq")})
    none = none.append_column("x", pa.array([], pa.float64()))
    for codes in ([-1, -1], [0, -1], []):
        questions = np.array(codes, np.int64), np.zeros(len(codes), np.int64)
        found = evaluate(view, none, np.zeros(0, np.int64), {}, questions, list(view.features))
        assert found.features.to_pylist() == [{"x_count": 0, "x_sum": None, "x_last": None, "x_max": None}] * len(codes)
        assert not found.known.any()


def test_late_events_make_chains_of_their_own() -> None:
    """Events in order are one chain; those that became available after a later one did are the next."""
    codes = np.zeros(6, np.int64)
    event_time, available_at = np.array([1, 2, 3, 4, 5, 6]), np.array([1, 2, 9, 4, 9, 6])
    events = Events.of(codes, (event_time, available_at, np.arange(6)), {}, {})
    made = prepared.prepare(events, 1, {Lane(None, None): frozenset()})
    assert [chain.rows.tolist() for chain in made.chains if chain.rows is not None] == [[0, 1, 3, 5], [2, 4]]
    assert not len(made.loose.rows)


def test_a_row_that_is_there_twice_counts_once() -> None:
    """Rows are told apart by seq: what was written once counts once, however often it is read."""
    view = FeatureView(
        "v",
        Entity("e", {"k": "int64"}),
        [Field("x", "float64", "A value.")],
        aggregations=[Aggregation("sum", "x", windows=[None]), Aggregation("count", windows=[None])],
    )
    once = {"__event_time": [1, 1, 2], "__available_at": [1, 1, 2], "__seq": [0, 1, 2], "x": [1.0, 1.0, 5.0]}
    rows = pa.table({name: values * 2 for name, values in once.items()})
    questions = np.array([0]), np.array([9])
    found = evaluate(view, rows, np.zeros(6, np.int64), {}, questions, list(view.features))
    assert found.features.to_pylist() == [{"x_sum": 7.0, "count": 3}]
