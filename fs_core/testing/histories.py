"""Hypothesis strategies for views, their histories and spines: small domains, so that things collide.

Times are ticks after a start, and few; so late rows, ties, expiries to the microsecond and questions
exactly on a boundary come up in most examples, not in one of a million.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from fs_core.definitions import Entity, FeatureView, Field
from fs_core.values import dtypes

SCALARS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *("float64", "string", "binary", "date", "timestamp", "timestamp[s]", "timestamp[ms, UTC]"),
    *("timestamp[us, Europe/Berlin]", "decimal(5, 2)", "decimal(38, 0)", "decimal(38, 38)"),
)
"""A dtype of every kind a feature may have, lists aside."""

KEYS = tuple(name for name in SCALARS if dtypes.is_key_type(dtypes.resolve(name)))
"""A dtype of every kind a key may have."""

TICKS = 8
"""Event times are at most so many ticks after the start; availability at most so many after that."""

STARTS = (
    datetime(2024, 1, 31, 23, 59, 59, 999_998, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_997, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(999, 12, 30, tzinfo=UTC),
    datetime(9990, 1, 1, tzinfo=UTC),
)
"""Where tick 0 may lie: beside a month's end, 1970, the calendar's beginning and, nearly, its end."""

_LENGTHS = (timedelta(microseconds=1), timedelta(hours=7), timedelta(days=17))
# Names that a careless query would mistake for its own.
_NAMES = (
    "x_y",
    "coord_y",
    "select",
    "Row",
    "a",
    "t",
    "et",
    "seq",
    "k0",
    "spine",
    "history",
    "SEQ",
    "row_number",
    "key",
)


@dataclass(frozen=True)
class Timescale:
    """How a view's small whole numbers become moments.

    Attributes:
        start: the moment of tick 0.
        tick: the length of one.
    """

    start: datetime
    tick: timedelta

    def micros(self, ticks: int, offset: int = 0) -> int:
        """Return the moment so many ticks after the start, and so many microseconds off, in microseconds."""
        since = self.start - datetime(1970, 1, 1, tzinfo=UTC) + ticks * self.tick
        return since // timedelta(microseconds=1) + offset


@dataclass(frozen=True)
class Scenario:
    """One world to ask questions about.

    Attributes:
        view: a feature view.
        scale: its times.
        history: rows in `history_schema(view)`, in any order, `__seq` unique.
        keys: the key tuples that occur, and one that never does.
    """

    view: FeatureView
    scale: Timescale
    history: pa.Table
    keys: Sequence[tuple[Any, ...]]

    def changes(self) -> list[tuple[tuple[Any, ...], int]]:
        """Return each entity with the moments, microseconds, at which its answer may change: a row comes or expires."""
        found = []
        for row in self.history.select([*self.view.keys, "__event_time", "__available_at"]).to_pylist():
            *entity, event, available = row.values()
            times = (int(pa.scalar(at, pa.timestamp("us", "UTC")).value) for at in (event, available))
            found += [(tuple(entity), at) for at in self.edges(*times)]
        return found

    def edges(self, event: int, available: int) -> list[int]:
        """Return at which moments a row may change an answer, by its two clocks."""
        ttl = self.view.ttl_micros
        return [available] if ttl is None else [available, event + ttl]


@cache  # else each example has its own checked
def values(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a dtype over their whole range, as `to_pylist` shows them."""
    if pa.types.is_fixed_size_list(dtype):
        return st.lists(nullable(dtype.value_type), min_size=dtype.list_size, max_size=dtype.list_size)
    if pa.types.is_list(dtype):
        return st.lists(nullable(dtype.value_type), max_size=3)
    if pa.types.is_boolean(dtype):
        return st.booleans()
    if pa.types.is_integer(dtype):
        low = 0 if pa.types.is_unsigned_integer(dtype) else -(2 ** (dtype.bit_width - 1))
        high = low + 2**dtype.bit_width - 1
        return st.integers(low, high) | st.sampled_from([low, high, min(high, 2**53 + 1)])
    if pa.types.is_floating(dtype):
        return st.floats(width=dtype.bit_width)
    if pa.types.is_string(dtype):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    return _others(dtype)


def _others(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_binary(dtype):
        return st.binary(max_size=6)
    if pa.types.is_date(dtype):
        return st.dates(date(1, 1, 1), date(9999, 12, 31))
    if pa.types.is_decimal(dtype):
        most = 10**dtype.precision - 1
        return st.integers(-most, most).map(lambda n: _decimal(n, dtype.scale))
    assert pa.types.is_timestamp(dtype), dtype
    # A day away from the ends, so that every zone can show it.
    moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
    return moments.map(lambda moment: _moment(moment, dtype))


def _decimal(digits: int, scale: int) -> Any:
    from decimal import Decimal

    sign, magnitude = int(digits < 0), tuple(int(d) for d in str(abs(digits)))
    return Decimal((sign, magnitude, -scale))


def _moment(moment: datetime, dtype: pa.DataType) -> datetime:
    step = {"s": 10**6, "ms": 10**3, "us": 1}[dtype.unit]
    coarse = moment.replace(microsecond=moment.microsecond // step * step)
    return coarse.replace(tzinfo=UTC) if dtype.tz else coarse


@cache
def nullable(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a dtype, and null."""
    return st.none() | values(dtype)


@cache
def feature_types() -> st.SearchStrategy[str]:
    """Return a strategy for the dtypes of features: every scalar, and lists of both kinds."""
    scalars = st.sampled_from(SCALARS)
    lists = st.sampled_from([f"list<{name}>" for name in SCALARS] + [f"list<{name}>[2]" for name in SCALARS])
    return scalars | lists


@st.composite
def views(draw: st.DrawFn, tick: timedelta = timedelta(hours=7)) -> FeatureView:
    """Draw a view: one to three keys, one to four features, ttl and lag of a few ticks or none."""
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=2, max_size=5, unique_by=str.lower))
    split = draw(st.integers(1, min(3, len(names) - 1)))
    lag = draw(st.integers(0, 2))
    ttl = draw(st.none() | st.integers(lag + 1, lag + 6))
    return FeatureView(
        "v" + draw(st.text(string.ascii_lowercase, max_size=2)),
        entity=Entity("e", keys={name: draw(st.sampled_from(KEYS)) for name in names[:split]}, description="Drawn."),
        fields=[Field(name, draw(feature_types()), "Drawn.") for name in names[split:]],
        description="Drawn.",
        ttl=None if ttl is None else ttl * tick,
        lag=lag * tick,
    )


@st.composite
def scenarios(draw: st.DrawFn, max_rows: int = 24, starts: Sequence[datetime] = STARTS) -> Scenario:
    """Draw a view with a history: late, out of order, tied, expired, with nulls inside.

    Args:
        draw: Hypothesis passes it.
        max_rows: how long the history may be.
        starts: where tick 0 may lie. A server that collects what has expired, by its own clock, wants
            the present or later.
    """
    scale = Timescale(draw(st.sampled_from(starts)), draw(st.sampled_from(_LENGTHS)))
    view = draw(views(tick=scale.tick))
    # Two values a key column: pairs such as (1, 11) and (11, 1) come up, and entities repeat.
    domains = [draw(st.lists(values(t), min_size=2, max_size=2, unique=True)) for t in view.keys.values()]
    entities = st.tuples(*(st.sampled_from(domain) for domain in domains))
    known = draw(st.lists(entities, min_size=1, max_size=3, unique=True))
    payloads = {name: draw(st.lists(nullable(t), min_size=1, max_size=3)) for name, t in view.features.items()}
    row = st.fixed_dictionaries(
        {
            "entity": st.sampled_from(known),
            "event": st.integers(0, TICKS),
            "delay": st.sampled_from([0, 0, 1, 3, TICKS]),
            "payload": st.fixed_dictionaries({n: st.sampled_from(pool) for n, pool in payloads.items()}),
        }
    )
    # Left alone, lists are mostly too short for anything to collide.
    size = draw(st.sampled_from([1, 0, 5, max_rows // 2, max_rows // 2, max_rows, max_rows]))
    rows = draw(st.lists(row, min_size=size, max_size=size))
    asked = [*known, draw(entities)]
    return Scenario(view, scale, history_of(view, scale, rows, draw(st.permutations(range(len(rows))))), asked)


def history_of(view: FeatureView, scale: Timescale, rows: Sequence[dict[str, Any]], order: Sequence[int]) -> pa.Table:
    """Return drawn rows in `history_schema(view)`.

    Args:
        view: whose rows.
        scale: its times.
        rows: each with its `entity`, `event` and `delay` in ticks, and `payload`.
        order: in which they lie; `__seq` numbers them as they are given.
    """
    columns: dict[str, Any] = {
        key: pa.array([row["entity"][i] for row in rows], dtype) for i, (key, dtype) in enumerate(view.keys.items())
    }
    times, lag = [scale.micros(row["event"]) for row in rows], view.lag_micros
    known = [max(scale.micros(row["event"] + row["delay"]), t + lag) for row, t in zip(rows, times, strict=True)]
    columns["__event_time"] = moments(times)
    columns["__available_at"] = moments(known)
    columns["__seq"] = pa.array(range(len(rows)), pa.int64())
    for name, dtype in view.stored.items():
        columns[name] = pa.array([row["payload"][name] for row in rows], dtype)
    return pa.table(columns).take(pa.array(order, pa.int64()))


@st.composite
def spines(draw: st.DrawFn, scenario: Scenario, max_rows: int = 70) -> pa.Table:
    """Draw a narrowed spine: duplicates, null keys, null times, and moments at, before and after changes of answers.

    Up to 70 rows, since DuckDB changes its plan at 64.
    """
    view, scale = scenario.view, scenario.scale
    free = st.tuples(st.sampled_from(list(scenario.keys)), st.integers(0, 3 * TICKS).map(scale.micros))
    changes = scenario.changes()
    edges = st.tuples(st.sampled_from(changes), st.sampled_from([0, 0, 1, -1])) if changes else st.nothing()
    question = free | edges.map(lambda edge: (edge[0][0], edge[0][1] + edge[1]))
    blank = st.sampled_from([None] * 12 + [0, len(view.keys) - 1, len(view.keys)])  # which column is null, if any
    drawn = draw(st.lists(st.tuples(question, blank), min_size=draw(st.sampled_from([12, 6, 0])), max_size=12))
    asked = [drawn[i % len(drawn)] for i in range(draw(_sizes(max_rows)))] if drawn else []
    columns: dict[str, pa.Array] = {}
    for i, (key, dtype) in enumerate(view.keys.items()):
        columns[key] = pa.array([None if gap == i else entity[i] for (entity, _), gap in asked], dtype)
    times = [None if gap == len(view.keys) else max(scale.micros(0), at) for (_, at), gap in asked]
    return pa.table({**columns, "__time": moments(times)})


def _sizes(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, 12) | st.sampled_from([n for n in (0, 12, 63, 64, 65, most) if n <= most])


def moments(micros: Sequence[int | None]) -> pa.Array:
    """Return microseconds as an Arrow column of UTC timestamps."""
    return pa.array(micros, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
