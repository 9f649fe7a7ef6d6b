"""The order of rows in data files: what Arrow's sort by every column says, whatever the keys and clocks are."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Entity, FeatureView, Field
from fs_core.offline import sorting
from fs_core.offline.delta.layout import MONTH, lay_out
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema

YEARS = st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6)
CLOSE = st.integers(0, 3) | st.integers(0, 10**13)
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2) | st.integers(0, 2**64 - 1),
    "string": st.text(max_size=3),
    "bool": st.booleans(),
    "binary": st.binary(max_size=2),
    "date": st.dates(),
    "int8": st.integers(-128, 127),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[FeatureView, pa.Table]:
    """Return a view of some keys, and rows of it in any order of clocks, seqs as they are written."""
    kinds = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3))
    keys = {f"k{place}": kind for place, kind in enumerate(kinds)}
    view = FeatureView("v", entity=Entity("e", keys=keys), fields=[Field("x", "list<int64>", "X.")], description="V.")
    clocks = draw(st.sampled_from([YEARS, CLOSE]))
    rows = draw(st.lists(st.tuples(clocks, CLOSE, *(KEYS[kind] for kind in kinds)), max_size=20))
    lagged = draw(st.booleans())  # every row as late as every other
    event = [row[0] for row in rows]
    known = [min(row[0] + (5 if lagged else row[1]), 253_402_300_799 * 10**6) for row in rows]
    seqs = list(range(len(rows))) if draw(st.booleans()) else draw(st.permutations(range(len(rows))))
    columns = {name: [row[2 + place] for row in rows] for place, name in enumerate(keys)}
    columns |= {EVENT_TIME: event, AVAILABLE_AT: known, SEQ: list(seqs), "x": [[seq] for seq in seqs]}
    schema = history_schema(view)
    parts = draw(st.integers(0, len(rows)))
    made = [pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema}, schema=schema)]
    return view, pa.concat_tables([made[0].slice(0, parts), made[0].slice(parts)])


@given(tables())
def test_rows_are_in_the_order_of_arrow(made: tuple[FeatureView, pa.Table]) -> None:
    """Month, keys, availability, event time and seq decide in turn; every row stays as it is."""
    view, rows = made
    found = lay_out(view, rows)
    names = [MONTH, *view.keys, AVAILABLE_AT, EVENT_TIME, SEQ]
    assert found == found.take(pc.sort_indices(found, sort_keys=[(name, "ascending") for name in names]))
    assert sorted(found[SEQ].to_pylist()) == sorted(rows[SEQ].to_pylist())
    assert found["x"].to_pylist() == [[seq] for seq in found[SEQ].to_pylist()]
    by_seq = dict(zip(rows[SEQ].to_pylist(), rows[EVENT_TIME].to_pylist(), strict=True))
    for seq, month in zip(found[SEQ].to_pylist(), found[MONTH].to_pylist(), strict=True):
        assert month == f"{by_seq[seq].year:04}-{by_seq[seq].month:02}"


def test_many_rows_are_sorted_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """From some rows on, threads sort and gather; the result is the same."""
    rng = np.random.default_rng(1)
    entity = Entity("e", keys={"day": "date", "name": "string"})
    view = FeatureView("v", entity=entity, fields=[Field("x", "float64", "X.")], description="V.")
    event = rng.integers(0, 10**14, 3_000)
    columns = {
        "day": pa.array([date(2024, 1, int(day)) for day in rng.integers(1, 28, 3_000)]),
        "name": pa.array([f"n{number}" for number in rng.integers(0, 9, 3_000)]),
        EVENT_TIME: pa.array(event).cast(history_schema(view).field(EVENT_TIME).type),
        AVAILABLE_AT: pa.array(event + rng.integers(0, 10, 3_000)).cast(history_schema(view).field(EVENT_TIME).type),
        SEQ: np.arange(3_000),
        "x": rng.normal(size=3_000),
    }
    rows = pa.table({name: columns[name] for name in history_schema(view).names})
    alone = lay_out(view, rows)
    monkeypatch.setattr(sorting, "_FEW", 100)
    assert lay_out(view, rows) == alone
    assert lay_out(view, alone.drop_columns(MONTH)) == alone
