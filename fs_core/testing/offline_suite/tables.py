"""What the suite writes and compares with: drawn histories, a plain view, tables held against the oracle's rows."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.offline.contract import OfflineStore
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, history_schema
from fs_core.testing.histories import TICKS, Scenario, moments, scenarios
from fs_core.testing.oracle import bits
from fs_core.values.times import MICROSECONDS

_numbers = itertools.count()

counter = FeatureView(
    "counter", entity=Entity("thing", keys={"thing": "int64"}), fields=[Field("value", "int64")], ttl="10s"
)
"""A plain view for the tests that aren't about types."""

MOMENTS = st.tuples(st.integers(0, 3 * TICKS), st.sampled_from([0, 0, -1, 1]))
"""Ticks and a neighbour's offset, of which a scenario makes a moment."""


def examples(count: int) -> settings:
    """Return settings for a property; one store serves every example, one suite every subclass."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    checks += [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(deadline=None, max_examples=count, suppress_health_check=checks)


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
    return {
        **{name: view.features.get(name, MICROSECONDS) for name in columns},
        EVENT_TIME: MICROSECONDS,
        STATUS: pa.string(),
    }


def history_types(view: FeatureView) -> dict[str, pa.DataType]:
    """Return the columns and types of history."""
    return {f.name: f.type for f in history_schema(view)}


def micros_of(moment: Any) -> int:
    """Return an aware datetime in microseconds since 1970."""
    return int(pa.scalar(moment, MICROSECONDS).value)


def drawn(data: st.DataObject) -> Scenario:
    """Draw a scenario whose view no other example shares."""
    scenario = data.draw(scenarios())
    return replace(scenario, view=replace(scenario.view, name=f"v{next(_numbers)}_{uuid.uuid4().hex[:8]}"))


def cut(data: st.DataObject, history: pa.Table) -> list[pa.Table]:
    """Draw where history is cut into appends; none is empty."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, history.num_rows - 1)), max_size=2)))
    edges = [0, *(cut for cut in cuts if cut < history.num_rows), history.num_rows]
    return [history.slice(a, b - a) for a, b in itertools.pairwise(edges) if b > a]


def append_all(store: OfflineStore, view: FeatureView, batches: Sequence[pa.Table]) -> None:
    """Append one after the other."""
    for batch in batches:
        store.append(view, batch)
