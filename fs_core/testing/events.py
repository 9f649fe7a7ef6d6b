"""Hypothesis strategies for views of events: late, tied, repeated, corrected, with values that are hard to add up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from fs_core.definitions import Aggregation, Entity, FeatureView, Field
from fs_core.definitions.aggregation import FUNCTIONS
from fs_core.errors import DefinitionError
from fs_core.testing.histories import KEYS, SCALARS, STARTS, TICKS, Scenario, Timescale, history_of, values
from fs_core.testing.window_oracle import Conditions

HARD_FLOATS = (1e16, 1.0, -1e16, 0.1, 0.3, -0.0, 0.0, 5e-324, -5e-324, 2.2e-308, 1.7976931348623157e308, 1e-300, 3.0)
"""Floats whose sum depends on the order, unless it is exact."""
SPECIAL_FLOATS = (math.nan, math.inf, -math.inf)

_LENGTHS = (timedelta(microseconds=1), timedelta(hours=7), timedelta(days=17))
_CONDITIONS: Conditions = {
    "flag > 1": lambda row: row["flag"] is not None and row["flag"] > 1,
    "flag IS NULL OR flag % 2 = 0": lambda row: row["flag"] is None or row["flag"] % 2 == 0,
    "x IS NOT NULL": lambda row: row["x"] is not None,
    "false": lambda _: False,
}


@dataclass(frozen=True)
class EventScenario(Scenario):
    """One world of events to ask questions about; its view has aggregations.

    Attributes:
        conditions: what each `where` means.
    """

    conditions: Conditions

    def edges(self, event: int, available: int) -> list[int]:
        """Return at which moments an event may change an answer: it comes, or goes."""
        lengths = {length for a in self.view.aggregations for length in a.window_micros if length is not None}
        hops = {a.hop_micros for a in self.view.aggregations if a.hop_micros is not None}
        ends = [event + length for length in lengths]
        ends += [-(-event // hop) * hop + length for length in lengths for hop in hops]
        return [at for at in (available, *ends) if at <= self.scale.micros(3 * TICKS)]


@st.composite
def event_views(draw: st.DrawFn, tick: timedelta) -> FeatureView:
    """Draw a view of events: one or two keys, a column `x` of any type, a few aggregations of any kind."""
    # Half of the time floats and decimals: they have the most to go wrong.
    dtype = draw(st.sampled_from([*SCALARS, "list<int64>"]) | st.sampled_from(["float64", "float32", "decimal(38, 2)"]))
    names = draw(st.sampled_from([["k"], ["k", "key"]]))
    event_id = draw(st.sampled_from(["int16", "string"]))
    fields = [Field("x", dtype, "Drawn."), Field("flag", "int8", "Drawn."), Field("id", event_id, "Drawn.")]
    stored = {f.name: f.type for f in fields}
    count = draw(st.integers(1, 5))
    return FeatureView(
        "v" + draw(st.sampled_from(["", "a", "b"])),
        entity=Entity("e", keys={name: draw(st.sampled_from(KEYS)) for name in names}, description="Drawn."),
        fields=fields,
        description="Drawn.",
        lag=draw(st.sampled_from([0, 0, 1])) * tick,
        event_id=draw(st.sampled_from([(), ("id",)])),
        aggregations=[draw(aggregations(tick, stored, f"f{number}")) for number in range(count)],
    )


@cache
def event_ids(dtype: pa.DataType, most: int) -> st.SearchStrategy[Any]:
    """Return a strategy for the ids of some events.

    Args:
        dtype: of the column: a whole number, or a text.
        most: how many ids there are at most, less one.
    """
    numbers = st.integers(0, most)
    return numbers.map(lambda n: f"{n:0{n % 3 * 20}}") if pa.types.is_string(dtype) else numbers


@st.composite
def aggregations(draw: st.DrawFn, tick: timedelta, stored: Mapping[str, pa.DataType], name: str) -> Aggregation:
    """Draw an aggregation that the columns allow."""
    column = draw(st.sampled_from(["x", "x", "x", "flag"]))
    possible = [(f, n) for f in FUNCTIONS for n in (None, 2) if _is_defined(f, stored[column], n)]
    function, n = draw(st.sampled_from(possible))
    micro = timedelta(microseconds=1)
    lengths = st.sampled_from(
        [None, micro, tick, 2 * tick, 3 * tick + micro, TICKS * tick, timedelta(days=999_999_999)]
    )
    windows = draw(st.lists(lengths, min_size=1, max_size=2, unique=True))
    hops = [None, None, None, tick, 3 * tick, timedelta(days=999_999_999), timedelta(microseconds=7)]
    return Aggregation(
        function,
        None if function == "count" and draw(st.booleans()) else column,
        windows=windows,
        n=n,
        where=draw(st.sampled_from([None, None, *_CONDITIONS])),
        closed=draw(st.sampled_from(["right", "right", "left"])),
        hop=None if windows == [None] else draw(st.sampled_from(hops)),
        name=name,
    )


def _is_defined(function: str, dtype: pa.DataType, n: int | None) -> bool:
    try:
        Aggregation(function, "x", windows=[None], n=n).output_type({"x": dtype}, "")
    except DefinitionError:
        return False
    return True


@cache
def event_values(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a dtype: over the whole range, or such as lose digits when they are added."""
    if pa.types.is_floating(dtype):
        found = {
            float(pa.scalar(value, dtype).as_py()) for value in HARD_FLOATS if abs(value) < 6e4 or dtype.bit_width > 16
        }
        hard = st.sampled_from(sorted(value for value in found if math.isfinite(value)))
        return hard | hard | hard | values(dtype) | st.sampled_from(SPECIAL_FLOATS)
    if pa.types.is_integer(dtype):
        return st.integers(0, 5) | st.integers(0, 5) | values(dtype)
    return values(dtype)


@st.composite
def event_scenarios(draw: st.DrawFn, max_rows: int = 24, starts: Sequence[datetime] = STARTS) -> EventScenario:
    """Draw a view of events with a history.

    Args:
        draw: Hypothesis passes it.
        max_rows: how long the history may be.
        starts: where tick 0 may lie.
    """
    scale = Timescale(draw(st.sampled_from(starts)), draw(st.sampled_from(_LENGTHS)))
    view = draw(event_views(scale.tick))
    domains = [draw(st.lists(values(t), min_size=2, max_size=2, unique=True)) for t in view.keys.values()]
    entities = st.tuples(*(st.sampled_from(domain) for domain in domains))
    known = draw(st.lists(entities, min_size=1, max_size=3, unique=True))
    pool = draw(st.lists(st.none() | event_values(view.stored["x"]), min_size=1, max_size=5))
    # One kind of lateness in half of the stories, so that whole chains come up; any in the others.
    delays = draw(st.sampled_from([[0], [0, 0, 0, 1], [0, 1, 3, TICKS], list(range(TICKS + 1))]))
    row = st.fixed_dictionaries(
        {
            "entity": st.sampled_from(known),
            "event": st.integers(0, TICKS),
            "delay": st.sampled_from(delays),
            "payload": st.fixed_dictionaries(
                {
                    "x": st.sampled_from(pool),
                    "flag": st.sampled_from([None, 0, 1, 2, 3]),
                    "id": event_ids(view.stored["id"], draw(st.sampled_from([2, 30]))),
                }
            ),
        }
    )
    size = draw(st.sampled_from([1, 0, 5, max_rows // 2, max_rows // 2, max_rows, max_rows]))
    rows = draw(st.lists(row, min_size=size, max_size=size))
    history = history_of(view, scale, rows, draw(st.permutations(range(len(rows)))))
    return EventScenario(view, scale, history, [*known, draw(entities)], _CONDITIONS)
