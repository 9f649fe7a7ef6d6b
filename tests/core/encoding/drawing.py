"""Training sets of every dtype that a tensor can hold, and wishes for their encoding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from fs_core import TrainingSet
from fs_core.testing.histories import SCALARS, nullable
from fs_core.training_set import label_columns
from fs_core.values import dtypes

STAMP = pa.timestamp("us", tz="UTC")
ELEMENTS = tuple(name for name in SCALARS if name != "binary")
TYPES = (*ELEMENTS, *(f"list<{name}>[3]" for name in ELEMENTS), *(f"list<{name}>" for name in ELEMENTS))
"""A dtype of every kind that an encoding takes."""


def training_set_of(
    columns: dict[str, Any], *, label: str | list[str] | None = None, timestamp: Any = None
) -> TrainingSet:
    """Return a training set of these columns, a moment for each row beside them; all but labels are features."""
    rows = len(next(iter(columns.values())))
    times = timestamp if timestamp is not None else pa.array([datetime(2024, 1, 2, tzinfo=UTC)] * rows, STAMP)
    features = [name for name in columns if name not in label_columns(label)]
    table = pa.table({"event_timestamp": times, **columns})
    return TrainingSet(table, features, [], "event_timestamp", label, {"lag": None})


def columns_of(names: Sequence[str], rows: int) -> st.SearchStrategy[pa.Table]:
    """Return a strategy for tables: a column of each dtype, named by it, and a moment for each row."""
    types = {name: dtypes.resolve(name) for name in names}
    moments = nullable(STAMP)
    cells = st.fixed_dictionaries({"event_timestamp": moments} | {n: nullable(t) for n, t in types.items()})
    schema = pa.schema([("event_timestamp", STAMP), *types.items()])
    return st.lists(cells, min_size=rows, max_size=rows).map(lambda found: pa.Table.from_pylist(found, schema=schema))


@st.composite
def wishes(draw: st.DrawFn, names: Sequence[str]) -> dict[str, Any]:
    """Draw arguments of `Encoding.fit` for columns named by their dtypes; nulls always have something to become."""
    texts = [name for name in names if "string" in name]
    times = [name for name in names if "timestamp" in name or "date" in name]
    some = st.lists(st.sampled_from(names), unique=True)
    return {
        "features": names,
        "dtype": draw(st.sampled_from(["float64", "float32", "float16"])),
        "fill": draw(st.sampled_from([0, 1, {name: 1 for name in names if name not in texts}])),
        "mask": draw(some | st.booleans()),
        "vocabulary": {name: ["", "a", "b", "ä"] for name in texts},
        "ages": draw(st.lists(st.sampled_from(times), unique=True)) if times else False,
        "lengths": {name: draw(st.integers(1, 4)) for name in names if name.endswith(">")},
    }
