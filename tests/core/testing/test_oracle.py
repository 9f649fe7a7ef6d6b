"""The oracle itself, against answers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.testing import oracle_as_of, oracle_available_at, oracle_winners
from fs_core.testing.oracle import bits

VIEW = FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=[Field("x", "int64")], ttl="10us", lag="3us")


def fact(seq: int, event_time: int, available_at: int, x: int | None, k: int = 1) -> dict[str, Any]:
    """One row of history."""
    return {"k": k, "__event_time": event_time, "__available_at": available_at, "__seq": seq, "x": x}


@pytest.mark.parametrize(
    ("t", "status", "x"),
    [
        (11, "missing", None),  # nothing is available yet
        (12, "present", 0),  # available from this very moment
        (15, "present", 0),  # the newer fact isn't known yet
        (16, "present", 1),
        (20, "present", 1),  # the late one became available at 18, but its event is older: it never wins
        (21, "present", 1),
        (22, "expired", None),  # 22 - 10 is the event time: the interval is half-open
    ],
)
def test_an_entity_through_time(t: int, status: str, x: int | None) -> None:
    """An entity's answer changes exactly when a row becomes available, wins, or expires."""
    history = [fact(0, 10, 12, 0), fact(1, 12, 16, 1), fact(2, 11, 18, 2), fact(3, 19, 99, 3)]
    (answer,) = oracle_as_of(VIEW, history, [{"k": 1, "__time": t}], ["x"])
    assert (answer["__status"], answer["x"]) == (status, x)


def test_ties_are_decided() -> None:
    """Of equal event times the later available wins, of those the later written."""
    ask = [{"k": 1, "__time": 9}]
    assert oracle_as_of(VIEW, [fact(5, 4, 6, 0), fact(1, 4, 7, 1)], ask, ["x"])[0]["x"] == 1
    assert oracle_as_of(VIEW, [fact(5, 4, 6, 0), fact(1, 4, 6, 1)], ask, ["x"])[0]["x"] == 0


def test_rows_win_not_columns() -> None:
    """A null in the winning row is the answer."""
    (answer,) = oracle_as_of(VIEW, [fact(0, 1, 1, 7), fact(1, 2, 2, None)], [{"k": 1, "__time": 3}], ["x"])
    assert answer == {"x": None, "__event_time": 2, "__status": "present"}


def test_null_questions() -> None:
    """A null key or a null time is missing, and keeps its row."""
    spine = [{"k": None, "__time": 3}, {"k": 1, "__time": None}, {"k": 1, "__time": 3}]
    answers = oracle_as_of(VIEW, [fact(0, 1, 1, 7)], spine, ["x"])
    assert [a["__status"] for a in answers] == ["missing", "missing", "present"]


def test_winners_do_not_expire() -> None:
    """The winner of each entity is what goes online, expired or not."""
    history = [fact(0, 1, 1, 7), fact(1, 0, 2, 8), fact(2, 5, 200, 9), fact(3, 1, 1, 4, k=2)]
    assert [row["__seq"] for row in oracle_winners(VIEW, history, 100)] == [0, 3]


def test_available_at() -> None:
    """A row is available no earlier than the lag after its event, and no earlier than it was known."""
    assert [oracle_available_at(VIEW, 10, known) for known in (10, 13, 14)] == [13, 13, 14]


def test_bits_tell_apart_what_equality_does_not() -> None:
    """NaN is itself, zeros have signs, and 1, 1.0 and True are three values."""
    nan = float("nan")
    assert bits([nan]) == bits([nan])
    assert len({bits(v) for v in (0.0, -0.0, 0, False, 1, 1.0, True, None)}) == 8
