"""The strategies draw what the rule is about, often enough to matter."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fs_core.rule import AVAILABLE_AT, EVENT_TIME, TIME
from fs_core.testing import oracle_as_of
from fs_core.testing.histories import feature_types, scenarios, spines, values
from fs_core.testing.oracle import bits
from fs_core.values.dtypes import resolve


def _seen() -> Counter[str]:
    """Count, over the examples of a property, how many hold each thing that matters."""
    seen: Counter[str] = Counter()
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=90, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=checks)
    @given(data=st.data())
    def look(data: st.DataObject) -> None:
        scenario = data.draw(scenarios())
        spine = data.draw(spines(scenario))
        view, history, asked = scenario.view, scenario.history.to_pylist(), spine.to_pylist()
        entities = [tuple(row[key] for key in view.keys) for row in history]
        orders = [(e, r[EVENT_TIME], r[AVAILABLE_AT]) for e, r in zip(entities, history, strict=True)]
        statuses = {answer["__status"] for answer in oracle_as_of(view, history, asked, [])}
        times = {(e, r[AVAILABLE_AT]) for e, r in zip(entities, history, strict=True)}
        keys = [tuple(row[key] for key in view.keys) for row in asked]
        moments = list(zip(keys, [row[TIME] for row in asked], strict=True))
        seen.update(statuses)
        seen["tied"] += len(set(orders)) < len(orders)
        seen["late"] += any(row[AVAILABLE_AT] > row[EVENT_TIME] for row in history)
        seen["out of order"] += any(a[0] == b[0] and a[1] < b[1] and a[2] > b[2] for a in orders for b in orders)
        seen["on a boundary"] += any(moment in times for moment in moments)
        seen["null key"] += any(None in key for key in keys)
        seen["null time"] += any(row[TIME] is None for row in asked)
        seen["duplicates"] += len(set(moments)) < len(moments)
        seen["64 rows"] += len(asked) >= 64
        seen["composite"] += len(view.keys) > 1
        seen["no ttl"] += view.ttl is None
        seen["lag"] += bool(view.lag)
        seen["empty"] += not history
        seen["null payload"] += any(row[name] is None for row in history for name in view.features)

    look()
    return seen


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """The counts, made once."""
    return _seen()


@pytest.mark.parametrize(
    "what",
    [
        *("present", "missing", "expired", "tied", "late", "out of order", "on a boundary", "null key", "null time"),
        *("duplicates", "64 rows", "composite", "no ttl", "lag", "empty", "null payload"),
    ],
)
def test_everything_that_matters_is_drawn(seen: Counter[str], what: str) -> None:
    """At least four of ninety examples hold each situation that the rule decides."""
    assert seen[what] >= 4


@settings(max_examples=200)
@given(data=st.data())
def test_values_fit_their_type(data: st.DataObject) -> None:
    """Every drawn value is one of its type, with the same bits after a journey through Arrow."""
    dtype = resolve(data.draw(feature_types()))
    value: Any = data.draw(values(dtype))
    assert bits(pa.array([value], dtype).to_pylist()) == bits([value])
