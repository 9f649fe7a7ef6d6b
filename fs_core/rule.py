"""The as-of rule, stated once: which row wins, and when it has expired by `ttl` (`is_expired`).

The offline join and the online read obey it; the oracle of the tests says it once more, by brute force.

A stored row `r` of a feature view has

- `event_time(r)`: when the fact became true in the world;
- `available_at(r)`: when the system could first have used it; its effective value is
  `a(r) = max(available_at(r), event_time(r) + lag)`, `lag` being declared on the view;
- `seq(r)`: the order in which rows were written.

For an entity `e` and a time `t`:

1. candidates are the rows of `e` with `a(r) <= t`;
2. the winner is the greatest by `(event_time, a, seq)`;
3. if `event_time(winner) <= t - ttl` the value is missing: a row lives in the half-open `(t - ttl, t]`.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.values.times import MICROSECONDS

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView

EVENT_TIME = "__event_time"
"""Column: `event_time(r)`, timestamp[us, UTC], never null in history."""
AVAILABLE_AT = "__available_at"
"""Column: the effective `a(r)`, timestamp[us, UTC], never null in history."""
SEQ = "__seq"
"""Column: `seq(r)`, int64, unique within a view version."""
TIME = "__time"
"""Column of a narrowed spine: the `t` asked for, timestamp[us, UTC]."""
STATUS = "__status"
"""Column of an as-of result: one of `Status` as text."""

Micros = np.ndarray[Any, np.dtype[np.int64]]


class Status(StrEnum):
    """What the rule found for one entity at one moment."""

    PRESENT = "present"
    """A row wins and is alive; nulls inside it are values."""
    MISSING = "missing"
    """No row was available, or the key or time is null."""
    EXPIRED = "expired"
    """A row wins but is older than the ttl allows."""


def is_expired(event_time: Micros, moment: Micros | int, ttl: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which winners step 3 of the rule turns into missing values; all times in int64 microseconds.

    Written as a difference: `t - ttl` could leave the range of time, `t - event_time` can't.

    Args:
        event_time: of the winners.
        moment: the `t` asked for, one for each winner or one for all.
        ttl: the view's; None for ever.
    """
    if ttl is None:
        return np.zeros(event_time.shape, dtype=bool)
    return (moment - event_time) >= ttl


def at_moment(keys: pa.Table, moment: pa.ChunkedArray | int) -> pa.Table:
    """Return a narrowed spine that asks for each row of `keys` as of a moment.

    Args:
        keys: a view's key columns, in its types.
        moment: one for each row, `timestamp[us, UTC]`; or one for all, microseconds since 1970-01-01 UTC.
    """
    if isinstance(moment, int):
        moment = pa.chunked_array([pa.repeat(pa.scalar(moment, pa.int64()), keys.num_rows).cast(MICROSECONDS)])
    return keys.append_column(TIME, moment)


@lru_cache(maxsize=1024)
def history_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of a view's history: keys, the rule's three columns, and what the view stores."""
    return pa.schema(
        [
            *(pa.field(name, dtype, nullable=False) for name, dtype in view.keys.items()),
            pa.field(EVENT_TIME, MICROSECONDS, nullable=False),
            pa.field(AVAILABLE_AT, MICROSECONDS, nullable=False),
            pa.field(SEQ, pa.int64(), nullable=False),
            *(pa.field(name, dtype) for name, dtype in view.stored.items()),
        ]
    )
