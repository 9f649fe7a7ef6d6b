"""The oracle of windows, against answers worked out by hand."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureView, Field
from fs_core.testing.window_oracle import TOO_LARGE, nearest, nearest_root, oracle_windows


def view(*aggregations: Aggregation, x: str = "float64", event_id: tuple[str, ...] = ()) -> FeatureView:
    """A view of events with a value and an id."""
    fields = [Field("x", x, "A value."), Field("id", "int64", "An event.")]
    entity = Entity("e", keys={"k": "int64"})
    return FeatureView("v", entity, fields, description="V.", event_id=event_id, aggregations=aggregations)


def event(seq: int, time: int, available: int, x: Any, event_id: int = 0, k: int = 1) -> dict[str, Any]:
    """One row of history."""
    return {"k": k, "__event_time": time, "__available_at": available, "__seq": seq, "x": x, "id": event_id}


def ask(made: FeatureView, history: list[dict[str, Any]], *times: int, **conditions: Any) -> list[Any]:
    """Return the first feature at each moment."""
    spine = [{"k": 1, "__time": t} for t in times]
    return [row[next(iter(made.features))] for row in oracle_windows(made, history, spine, conditions)]


def test_an_event_is_in_its_window_from_when_it_is_known() -> None:
    """An event of 10, known at 12, is in a window of 5 from 12 until before 15; one that comes too late never is."""
    counted = view(Aggregation("count", windows=["5us"]))
    assert ask(counted, [event(0, 10, 12, 1.0)], 11, 12, 14, 15) == [0, 1, 1, 0]
    assert ask(counted, [event(0, 10, 15, 1.0)], 14, 15, 99) == [0, 0, 0]


def test_left_is_one_microsecond_earlier() -> None:
    """With closed='left' an event isn't in a window at its own moment, and leaves one microsecond later."""
    counted = view(Aggregation("count", windows=["5us"], closed="left"))
    assert ask(counted, [event(0, 10, 10, 1.0)], 10, 11, 15, 16) == [0, 1, 1, 0]


def test_a_hop_keeps_events_longer() -> None:
    """With hop=4 a window of 5 begins at a multiple of 4: the event of 10 stays while t - 5 < 12, the one of 12 too."""
    counted = view(Aggregation("count", windows=["5us"], hop="4us"))
    assert ask(counted, [event(0, 10, 10, 1.0)], 9, 10, 16, 17) == [0, 1, 1, 0]
    assert ask(counted, [event(0, 12, 12, 1.0)], 16, 17, 18) == [1, 0, 0]


def test_a_correction_replaces_from_when_it_is_known() -> None:
    """Of rows with one id the greatest known counts; one that comes after a greater never does."""
    total = view(Aggregation("sum", "x", windows=[None]), event_id=("id",))
    history = [event(0, 10, 10, 1.0, 7), event(1, 10, 20, 5.0, 7), event(2, 9, 30, 100.0, 7), event(3, 11, 11, 0.5, 8)]
    assert ask(total, history, 10, 11, 19, 20, 40) == [1.0, 1.5, 1.5, 5.5, 5.5]


def test_a_condition_is_asked_after_corrections() -> None:
    """A correction that fails the condition takes the event out."""
    big = view(Aggregation("count", windows=[None], where="x > 2"), event_id=("id",))
    history = [event(0, 10, 10, 5.0, 7), event(1, 10, 20, 1.0, 7)]
    spine = [{"k": 1, "__time": t} for t in (10, 20)]
    found = oracle_windows(big, history, spine, {"x > 2": lambda row: row["x"] > 2})
    assert [row["count"] for row in found] == [1, 0]


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("sum", [1e16, 1.0, 1.0, -1e16], 2.0),
        ("sum", [1e308, 1e308, -1e308], 1e308),
        ("sum", [1e308, 1e308], math.inf),
        ("sum", [math.inf, 1.0], math.inf),
        ("sum", [math.inf, -math.inf], math.nan),
        ("sum", [None, None], None),
        ("sum", [], None),
        ("sum", [-0.0], 0.0),
        ("mean", [0.1, 0.2, None], math.fsum([0.1, 0.2]) / 2),
        ("var", [1e16, 1e16 + 2], 2.0),
        ("var", [1.0], None),
        ("var", [math.inf, 1.0], math.nan),
        ("std", [1.0, 2.0, 4.0], statistics.stdev([1.0, 2.0, 4.0])),
        ("min", [2.0, math.nan, 1.0], math.nan),
        ("max", [2.0, None, math.inf], math.inf),
        ("min", [0.0, -0.0], 0.0),
        ("count", [None, math.nan, 1.0], 2),
        ("count_distinct", [math.nan, -math.nan, 0.0, -0.0, 1.0], 3),
        ("first", [None, 2.0, 3.0], 2.0),
        ("last", [2.0, 3.0, None], 3.0),
    ],
)
def test_what_functions_make_of_hard_values(function: str, values: list[Any], expected: Any) -> None:
    """Sums are exact, nulls are skipped, NaN and infinities propagate, zeros have no sign."""
    (found,) = ask(
        view(Aggregation(function, "x", windows=[None])), [event(i, i, i, x) for i, x in enumerate(values)], 99
    )
    assert repr(found) == repr(expected)


def test_lists_are_in_the_order_of_the_rule() -> None:
    """The last two of three, the oldest first, by event time, then availability, then seq."""
    last = view(Aggregation("last", "x", n=2, windows=[None]))
    assert ask(last, [event(1, 5, 5, 1.0), event(0, 5, 5, 2.0), event(2, 4, 9, 3.0)], 9) == [[2.0, 1.0]]


def test_what_does_not_fit_is_said() -> None:
    """A whole number beyond 64 bits and a decimal beyond 38 digits are too large."""
    assert ask(
        view(Aggregation("sum", "x", windows=[None]), x="int64"), [event(0, 0, 0, 2**63 - 1), event(1, 0, 0, 1)], 9
    ) == [TOO_LARGE]
    most = Decimal(10**38 - 1)
    assert ask(
        view(Aggregation("sum", "x", windows=[None]), x="decimal(38, 0)"),
        [event(0, 0, 0, most), event(1, 0, 0, most)],
        9,
    ) == [TOO_LARGE]


def test_nobody_is_missing() -> None:
    """An entity never seen has an empty window: no events, nothing else. Without key or time there is no window."""
    made = view(Aggregation("count", windows=[None]), Aggregation("sum", "x", windows=[None]))
    spine = [{"k": 2, "__time": 9}, {"k": None, "__time": 9}, {"k": 1, "__time": None}]
    found = oracle_windows(made, [event(0, 1, 1, 1.0)], spine)
    assert [(row["count"], row["x_sum"], row["__status"]) for row in found] == [
        (0, None, "missing"),
        (None, None, "missing"),
        (None, None, "missing"),
    ]


@given(st.fractions(min_value=0))
def test_the_nearest_root(value: Fraction) -> None:
    """No float is nearer to the root; for whole squares it is exact."""
    root = nearest_root(value)
    for other in (math.nextafter(root, math.inf), math.nextafter(root, 0.0)):
        middle = (Fraction(root) + Fraction(other)) / 2
        assert (middle**2 >= value) if other > root else (middle**2 <= value or root == 0)
    assert nearest_root(value * value) == nearest(value)
