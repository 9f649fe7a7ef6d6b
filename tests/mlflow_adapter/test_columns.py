"""Requests as tables: whatever kind of column a caller sends arrives with every value the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models.utils import _enforce_schema
from mlflow.types import Schema
from mlflow.types.schema import AnyType

from fs_core.errors import DataError, SchemaError
from fs_core.values.interchange import to_pandas
from fs_mlflow.columns import input_spec, request_table
from fs_mlflow.packaging.features import PackagedFeatures
from fs_mlflow.packaging.served import InputLayout

MOMENT = datetime(2024, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [-128, 127]),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1]),
    "int64": (pa.int64(), [2**53 + 1, -(2**63)]),
    "uint64": (pa.uint64(), [0, 2**64 - 1]),
    "float32": (pa.float32(), [0.5, -1.25]),
    "float64": (pa.float64(), [0.1, 1e300]),
    "bool": (pa.bool_(), [True, False]),
    "string": (pa.string(), ["", "Zürich 雪"]),
    "binary": (pa.binary(), [b"", b"\x00\xff"]),
    "date": (pa.date32(), [date(1900, 1, 1), date(2024, 2, 29)]),
    "timestamp": (pa.timestamp("us", "UTC"), [MOMENT, MOMENT.replace(year=1970)]),
    "naive": (pa.timestamp("us"), [MOMENT.replace(tzinfo=None), datetime(2000, 1, 1)]),
    "decimal": (pa.decimal128(12, 2), [Decimal("0.10"), Decimal("-1234567890.99")]),
    "list": (pa.list_(pa.float64()), [[], [0.1, 2.0]]),
    "embedding": (pa.list_(pa.float32(), 2), [[0.5, 1.0], [2.0, 3.0]]),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("with_null", [False, True])
def test_frames_arrive_as_they_were(kind: str, with_null: bool) -> None:
    """Through MLflow's own check of the signature, nulls included."""
    dtype, values = COLUMNS[kind]
    table = pa.table({"x": pa.array([*values, None] if with_null else values, dtype)})
    schema = Schema([input_spec("x", dtype)])
    checked = _enforce_schema(to_pandas(table), schema)
    assert request_table(checked, {"x": dtype}).equals(table)
    assert request_table(table, {"x": dtype}).equals(table)


@pytest.mark.parametrize("kind", ["date", "timestamp", "naive", "decimal"])
def test_texts_stand_for_what_json_lacks(kind: str) -> None:
    """ISO 8601 for times and dates, digits for decimals."""
    dtype, values = COLUMNS[kind]
    texts = [str(x) if isinstance(x, Decimal) else x.isoformat() for x in values]
    frame = pd.DataFrame({"x": [*texts, None]})
    assert request_table(frame, {"x": dtype})["x"].to_pylist() == [*values, None]


def test_what_isn_t_asked_for_is_left_out_and_what_is_missing_stays_so() -> None:
    """The signature says what is required; here columns only become what they are."""
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert request_table(frame, {"b": pa.int32(), "c": pa.int32()}).column_names == ["b"]


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [
        (pa.int8(), 300, SchemaError),
        (pa.int64(), "one", SchemaError),
        (pa.timestamp("us", "UTC"), "yesterday", DataError),
        (pa.decimal128(4, 2), "much", SchemaError),
        (pa.date32(), "2024-02-29T01:00:00", SchemaError),
    ],
)
def test_what_a_type_does_not_hold_is_refused(dtype: pa.DataType, value: Any, error: type[Exception]) -> None:
    """By name, before anything is looked up."""
    with pytest.raises(error, match=r"'x'|yesterday"):
        request_table(pd.DataFrame({"x": [value]}), {"x": dtype})


def test_a_column_of_several_types_is_refused() -> None:
    """It has no type to look anything up by."""
    with pytest.raises(SchemaError, match="'x' can't be read"):
        request_table(pd.DataFrame({"x": [1, "two"]}), {"x": pa.int64()})


def test_signatures_say_any_only_where_mlflow_has_nothing_better() -> None:
    """Or where it would refuse a null or a zone, whether there is one or not."""
    says_any = {name for name, (dtype, _) in COLUMNS.items() if input_spec("x", dtype).type == AnyType()}
    numbers = {name for name, (dtype, _) in COLUMNS.items() if pa.types.is_integer(dtype)}
    assert says_any == {*numbers, "bool", "date", "timestamp", "naive", "decimal", "list", "embedding"}


@pytest.mark.parametrize("dtype", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_frame_of_floats_is_the_frame_of_training(dtype: pa.DataType, rows: int) -> None:
    """In values, types, names and the order of memory, which decides the last bit of a product."""
    values = {name: pa.array([0.1, None, 3.0][:rows], dtype) for name in ("b", "a", "c")}
    table = pa.table({"c": values["c"], "key": pa.array(range(rows)), **values})
    arranged = InputLayout(takes(["b", "a"]), None).arrange(table)
    trained_on = to_pandas(table)[["b", "a"]]
    pd.testing.assert_frame_equal(arranged, trained_on)
    assert arranged.to_numpy().flags.f_contiguous == trained_on.to_numpy().flags.f_contiguous
    assert arranged.to_numpy().tobytes() == trained_on.to_numpy().tobytes()


def takes(inputs: list[str]) -> PackagedFeatures:
    """What a model of named inputs knows."""
    return PackagedFeatures(
        rule="as-of/1",
        features=[],
        views=[],
        keys={},
        request={},
        overrides={},
        inputs=inputs,
        layout="columns",
        timestamp="event_timestamp",
        full_names=False,
        fingerprint="",
        encoding_digest=None,
    )
