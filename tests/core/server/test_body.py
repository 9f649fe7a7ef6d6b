"""Numbers of JSON in the types that were declared: digit for digit, or refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from fs_core.errors import SchemaError
from fs_core.server.body import parse, typed

MONEY = pa.decimal128(38, 2)


def column(values: str, dtype: pa.DataType) -> list[Any]:
    """The values of a column of a body."""
    found: list[Any] = typed(parse(b'{"x": %b}' % values.encode()), {"x": dtype}, "the rows")["x"].to_pylist()
    return found


def test_a_decimal_keeps_its_digits() -> None:
    """Beyond those of a float64 too, beside whole numbers, exponents, nulls and text, and within lists."""
    long = Decimal("12345678901234567.89")
    assert column("[12345678901234567.89, 1, 1e3, null]", MONEY) == [long, Decimal(1), Decimal(1000), None]
    assert column('[12345678901234567.89, 1, "2.25"]', MONEY) == [long, Decimal(1), Decimal("2.25")]
    assert column("[[12345678901234567.89, null]]", pa.list_(MONEY)) == [[long, None]]


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ("[9007199254740993.0]", pa.int64(), r"row 0 holds 9007199254740993\.0; send int64"),
        ("[1.005]", MONEY, r"row 0 holds Decimal\('1\.005'\)"),
        ('["a", 1]', MONEY, "row 0 holds 'a', which is not a number"),
        ("[true]", MONEY, "is bool"),
    ],
)
def test_a_number_that_would_become_another_is_refused(values: str, dtype: pa.DataType, message: str) -> None:
    """A fraction among whole numbers whose digits no float64 has, more digits than a decimal's, what is no number."""
    with pytest.raises(SchemaError, match=message):
        column(values, dtype)


def test_floats_with_many_digits_are_the_nearest_ones() -> None:
    """Beside whole numbers, NaN by its text, and nulls, too."""
    assert column("[0.12345678901234567, 1, null]", pa.float64()) == [0.12345678901234567, 1.0, None]
    assert str(column('[0.12345678901234567, "NaN"]', pa.float64())) == "[0.12345678901234566, nan]"
