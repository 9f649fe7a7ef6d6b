"""Timelines against plain Python: whatever times and ties there are, packed or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fs_core.offline.search.entity_codes import UNKNOWN
from fs_core.offline.search.timeline import NOWHERE, Timeline, order_rows
from fs_core.values.times import EARLIEST, LATEST

Row = tuple[int, int, int]

_TIMES = st.integers(0, 6) | st.sampled_from([EARLIEST, LATEST, -1]) | st.integers(EARLIEST, LATEST)
_ROWS = st.lists(st.tuples(st.integers(0, 3), _TIMES, _TIMES), min_size=1, max_size=40)


def arrays(rows: list[Row]) -> tuple[Any, Any, Any, Any]:
    """Return codes, availability (never before the event), event times and sequence numbers of rows."""
    codes = np.array([code for code, _, _ in rows], np.int64)
    event_time = np.array([min(a, b) for _, a, b in rows], np.int64)
    available_at = np.array([max(a, b) for _, a, b in rows], np.int64)
    return codes, available_at, event_time, np.random.default_rng(len(rows)).permutation(len(rows))


@settings(max_examples=400)
@given(rows=_ROWS, asked=st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, UNKNOWN]), _TIMES), max_size=20))
@example(rows=[(0, 5, 5), (0, 5, 5)], asked=[(0, 5), (0, 4)])
@example(rows=[(3, EARLIEST, LATEST), (0, LATEST, LATEST)], asked=[(3, LATEST), (0, LATEST), (0, EARLIEST)])
def test_the_position_found_is_the_rules_winner(rows: list[Row], asked: list[tuple[int, int]]) -> None:
    """For each entity and moment: the greatest by (event_time, a, seq) of what was available."""
    codes, available_at, event_time, seq = arrays(rows)
    order = order_rows(codes, available_at, event_time, seq)
    timeline = Timeline.of(codes[order], available_at[order], 4)
    positions = timeline.last_by(np.array([c for c, _ in asked], np.int64), np.array([t for _, t in asked], np.int64))
    for (code, moment), position in zip(asked, positions, strict=True):
        known = [i for i in range(len(rows)) if codes[i] == code and available_at[i] <= moment]
        winner = max(known, key=lambda i: (event_time[i], available_at[i], seq[i]), default=None)
        assert (None if position == NOWHERE else order[position]) == winner
    assert timeline.available_at(np.arange(len(order))).tolist() == available_at[order].tolist()


@settings(max_examples=200)
@given(rows=_ROWS)
def test_what_is_left_increases_in_both_clocks(rows: list[Row]) -> None:
    """Entities follow one another; within one, availability grows and event time never falls."""
    codes, available_at, event_time, seq = arrays(rows)
    order = order_rows(codes, available_at, event_time, seq)
    assert (np.diff(codes[order]) >= 0).all()
    same = np.diff(codes[order]) == 0
    assert (available_at[order][1:] > available_at[order][:-1])[same].all()
    assert (event_time[order][1:] >= event_time[order][:-1])[same].all()


@pytest.mark.parametrize("entities", [1, 1000, 2**20])
@pytest.mark.parametrize("span", [1, 10**6, LATEST - EARLIEST])
def test_packing_is_chosen_by_what_fits(entities: int, span: int) -> None:
    """Entity and time share 64 bits where they fit; where not, the search goes without, to the same end."""
    rng = np.random.default_rng(7)
    codes = np.sort(rng.integers(0, entities, 5000))
    codes[-1] = entities - 1
    times = EARLIEST + rng.integers(0, span, 5000)
    times[:2] = EARLIEST, EARLIEST + span - 1
    order = order_rows(codes, times, times, np.arange(5000))
    timeline = Timeline.of(codes[order], times[order], entities)
    bits = (entities - 1).bit_length() + (span - 1).bit_length()
    assert (timeline.shift is not None) == (bits <= 62)
    positions = timeline.last_by(codes, times)
    assert (codes[order][positions] == codes).all()
    assert (times[order][positions] == times).all()
