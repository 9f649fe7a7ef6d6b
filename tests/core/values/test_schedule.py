"""Schedules: intervals and cron texts, in UTC."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Schedule
from fs_core.errors import ConfigurationError, DefinitionError
from fs_core.values.times import from_micros, micros

MOMENTS = st.integers(0, 4_000_000_000_000_000)


@given(moment=MOMENTS, seconds=st.integers(1, 10**6))
def test_an_interval_counts_from_1970(moment: int, seconds: int) -> None:
    """The next moment is the only multiple of the interval that comes after one and no later than an interval."""
    step = seconds * 10**6
    following = Schedule(timedelta(seconds=seconds)).next_after(moment)
    assert following % step == 0
    assert moment < following <= moment + step


@given(moment=MOMENTS)
def test_a_cron_text_counts_as_an_interval_where_they_mean_the_same(moment: int) -> None:
    """Every five minutes, and each midnight, in UTC, also from within a second before."""
    assert Schedule("*/5 * * * *").next_after(moment) == Schedule("5m").next_after(moment)
    assert Schedule("0 0  * * *").next_after(moment) == Schedule("1d").next_after(moment)


def test_a_cron_text_names_days() -> None:
    """Names of days and months, ranges and the last day of a month, as cron has them."""
    friday = micros(datetime(2024, 3, 1, 12, tzinfo=UTC))
    assert from_micros(Schedule("30 3 * * mon").next_after(friday)) == datetime(2024, 3, 4, 3, 30, tzinfo=UTC)
    assert from_micros(Schedule("0 6 L * *").next_after(friday)) == datetime(2024, 3, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("", "not a duration"),
        ("hourly", "not a duration"),
        ("-1h", "count forward"),
        ("999ms", "more often than once a second"),
        (0, "schedule is 0"),
        ("* * * *", "no cron text"),
        ("61 * * * *", "no cron text"),
        ("0 0 30 2 *", "no cron text"),
        ("* * * * * *", "no cron text"),
        ({"every": "1h", "look_back": "1d"}, "Did you mean 'lookback'"),
        ({"lookback": "1d"}, "pass a Schedule"),
        ({"every": "1h", "lookback": "soon"}, "not a duration"),
        ({"every": "1h", "reference": ""}, "name of a saved training set"),
    ],
)
def test_what_is_no_schedule_is_refused(given_: Any, says: str) -> None:
    """Where it is declared, by the name of what it is declared on."""
    with pytest.raises(DefinitionError, match=rf"^view 'v': .*{says}"):
        Schedule.of(given_, "view 'v'")


@pytest.mark.parametrize(
    ("schedule", "plain", "shown"),
    [
        (Schedule("60m"), "1h", "1h"),
        (Schedule(" 30  3 * * * "), "30 3 * * *", "30 3 * * *"),
        (
            Schedule("1d", lookback="48h", reference="march"),
            {"every": "1d", "lookback": "2d", "reference": "march"},
            "1d, lookback 2d, reference march",
        ),
    ],
)
def test_a_schedule_reads_back(schedule: Schedule, plain: Any, shown: str) -> None:
    """It is as JSON has it, and equal again."""
    assert schedule.plain() == plain
    assert Schedule.of(plain, "v") == Schedule.of(schedule, "v") == schedule
    assert str(schedule) == shown


def test_a_cron_text_is_declared_anywhere_and_read_where_its_extra_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that only reads definitions needn't have it; who asks when it is due is told what to install."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    schedule = Schedule("0 3 * * *")
    assert Schedule("1h").next_after(0) == 3_600_000_000
    with pytest.raises(ConfigurationError, match=r"pip install 'fs-core\[jobs\]'"):
        schedule.next_after(0)
