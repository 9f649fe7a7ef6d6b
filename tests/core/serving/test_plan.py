"""Requests compiled: entities are understood the same in whatever form they come, quickly or with a closer look."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fs_core import Entity, FeatureView, Field
from fs_core.errors import SchemaError
from fs_core.retrieval.selection import SelectedFeature, Selection
from fs_core.serving.plan import ReadPlan

DTYPES = ["int64", "int32", "uint8", "string", "bytes", "bool", "date", "timestamp"]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.integers(0, 9)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.just(date(2024, 1, 1))
    | st.just(datetime(2024, 1, 1, tzinfo=UTC))
    | st.just(Decimal("1.5"))
    | st.lists(st.integers(0, 9), max_size=2)
)
NUMBERS = st.sampled_from(["i8", "i4", "u1", ">i8", "f8", "?", "U3", "S3", "M8[us]", "O"])


@st.composite
def columns(draw: st.DrawFn) -> Any:
    """A list of one kind or of several, an array of some type and shape, or of Arrow's."""
    kind = draw(st.sampled_from(["alike", "mixed", "numpy", "arrow"]))
    if kind == "alike":
        return draw(st.sampled_from([st.integers(0, 9), st.text(max_size=3), st.booleans()]).flatmap(_lists))
    if kind == "mixed":
        return draw(_lists(VALUES))
    if kind == "numpy":
        array = np.array(draw(_lists(st.integers(0, 9)))).astype(draw(NUMBERS))
        return array.reshape(-1, 1) if draw(st.booleans()) and len(array) == 3 else array[:: draw(st.integers(1, 2))]
    types = st.sampled_from([pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.large_string()])
    return pa.array(draw(_lists(st.integers(0, 9)))).cast(draw(types))


def _lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=3)


def plan_of(dtypes: list[str]) -> ReadPlan:
    """A request for a view with such keys."""
    keys = {f"k{number}": dtype for number, dtype in enumerate(dtypes)}
    entity = Entity("thing", keys=keys, description="A thing.")
    view = FeatureView("facts", entity=entity, fields=[Field("x", "int64", "X.")], description="Facts.")
    return ReadPlan.of(Selection((SelectedFeature(view, "x", "x"),), full_names=False))


def asked(plan: ReadPlan, entities: Any) -> Any:
    """Return the key columns of each group, or the error's text."""
    try:
        return [[(column.type, column.to_pylist()) for column in group] for group in plan.keys(entities)]
    except SchemaError as error:
        return str(error)


@given(st.lists(st.tuples(st.sampled_from(DTYPES), columns()), min_size=1, max_size=2))
def test_what_comes_straight_is_what_a_closer_look_gives(keys: list[tuple[str, Any]]) -> None:
    """A dict of lists or arrays, which is taken as it comes where that will do, asks what any other mapping asks."""
    plan = plan_of([dtype for dtype, _ in keys])
    entities = {f"k{number}": column for number, (_, column) in enumerate(keys)}
    assert asked(plan, entities) == asked(plan, MappingProxyType(entities))
