"""Casting within a kind, without loss."""

from decimal import Decimal

import pyarrow as pa
import pytest

from fs_core.errors import SchemaError
from fs_core.values.casting import cast_lossless


@pytest.mark.parametrize(
    ("values", "have", "want"),
    [
        ([1, None], pa.int32(), pa.int64()),
        ([1, None], pa.int64(), pa.int8()),
        ([1, 2], pa.int64(), pa.float32()),
        ([1.0, None], pa.float64(), pa.int64()),
        ([0.5], pa.float64(), pa.float32()),
        (["a"], pa.large_string(), pa.string()),
        (["a", "a"], pa.dictionary(pa.int8(), pa.string()), pa.string()),
        ([None], pa.null(), pa.string()),
        ([[1.0, 2.0]], pa.list_(pa.float64()), pa.list_(pa.float32(), 2)),
        ([1], pa.int64(), pa.uint64()),
    ],
)
def test_values_that_fit_are_the_same_after(values: list[object], have: pa.DataType, want: pa.DataType) -> None:
    """A cast within one kind keeps every value that the new type holds."""
    cast = cast_lossless(pa.chunked_array([pa.array(values, have)]), want, "column 'x'")
    assert cast.type == want
    assert cast.to_pylist() == values


@pytest.mark.parametrize("have", [pa.float32(), pa.float64()])
def test_a_float_that_a_decimal_was_read_as_becomes_that_decimal(have: pa.DataType) -> None:
    """Prices in a CSV are read as floats; each is the decimal that it was, nulls and lists of them included."""
    cents = [*range(0, 99_999, 7), -12_345, None]
    texts = [None if c is None else str(Decimal(c).scaleb(-2)) for c in cents]
    prices = [None if c is None else Decimal(c).scaleb(-2) for c in cents]
    floats = pa.array(texts).cast(have)
    what, want = "column 'x'", pa.decimal128(12, 2)
    assert cast_lossless(pa.chunked_array([floats]), want, what).to_pylist() == prices
    lists = pa.chunked_array([pa.array([floats.to_pylist()], pa.list_(have))])
    assert cast_lossless(lists, pa.list_(want), what).to_pylist() == [prices]


@pytest.mark.parametrize("value", [12345678.125, 0.001, 1e11])
def test_a_float_that_is_no_such_decimal_is_refused(value: float) -> None:
    """More digits than the decimal has, before or behind the point, aren't rounded away."""
    with pytest.raises(SchemaError, match="row 1 holds"):
        cast_lossless(pa.chunked_array([[12345678.12, value]]), pa.decimal128(12, 2), "column 'x'")


@pytest.mark.parametrize(
    ("values", "want", "row"),
    [
        ([1, 2, 300], pa.int8(), 2),
        ([1.0, 1.5], pa.int64(), 1),
        ([5, -1], pa.uint32(), 1),
        ([2**53 + 1], pa.float64(), 0),
    ],
)
def test_a_value_that_does_not_fit_is_named(values: list[object], want: pa.DataType, row: int) -> None:
    """The error gives the first row, counted from 0, and its value."""
    with pytest.raises(SchemaError, match=rf"column 'x'.*row {row} holds {values[row]}"):
        cast_lossless(pa.chunked_array([pa.array(values)]), want, "column 'x'")


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["1"], pa.int64()),
        ([1], pa.string()),
        ([True], pa.int64()),
        ([1], pa.bool_()),
        ([1], pa.timestamp("us", "UTC")),
        (["2024-01-01"], pa.timestamp("us", "UTC")),
        ([[1]], pa.int64()),
        ([b"x"], pa.string()),
    ],
)
def test_other_kinds_are_refused(values: list[object], want: pa.DataType) -> None:
    """Text is never parsed, numbers are never printed, booleans are no numbers."""
    with pytest.raises(SchemaError, match="declared as"):
        cast_lossless(pa.chunked_array([pa.array(values)]), want, "column 'x'")
