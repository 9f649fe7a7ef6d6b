"""How one column becomes numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.encoding.raw import Array, Raw, Rows, Vocabulary, raw_column
from fs_core.encoding.scale import Scale
from fs_core.errors import SchemaError, ValidationError
from fs_core.values.dtypes import plain_type
from fs_core.values.interchange import require_columns

MASK = "__mask"
"""What the name of a mask adds to its feature's."""
MICROS_A_SECOND = 1e6
MICROS_A_DAY = 86_400 * 10**6

Fill = bool | int | float


@dataclass(frozen=True)
class ColumnEncoding:
    """How one column becomes numbers.

    Attributes:
        name: the column.
        type: the Arrow type it has, in its plain form; a column of another type is refused.
        floats: the dtype of whatever isn't whole.
        fill: what a null becomes; None for NaN, where the dtype has one.
        masked: whether a second array marks which values are missing.
        vocabulary: the codes of texts.
        is_age: whether a time counts as the seconds from it to the row's moment.
        length: for lists, how many elements of each.
        scale: what is done to its numbers; None leaves them as they are.
    """

    name: str
    type: pa.DataType
    floats: np.dtype[Any]
    fill: Fill | None = None
    masked: bool = False
    vocabulary: Vocabulary | None = None
    is_age: bool = False
    length: int | None = None
    scale: Scale | None = None

    @cached_property
    def element(self) -> pa.DataType:
        """The type of a list's elements, or the type itself."""
        return self.type if self.length is None else self.type.value_type

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its own array: bool; int64 for whole numbers, times, dates and codes; else `floats`."""
        is_float = pa.types.is_floating(self.element) or pa.types.is_decimal(self.element)
        if is_float or self.is_age or self.scale is not None:
            return self.floats
        if pa.types.is_boolean(self.element):
            return np.dtype(np.bool_)
        return np.dtype(np.uint64 if pa.types.is_uint64(self.element) else np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's value: `()`, or `(length,)` for lists."""
        return () if self.length is None else (self.length,)

    @property
    def width(self) -> int:
        """How many columns of a matrix it takes, its mask aside."""
        return self.length or 1

    @cached_property
    def filling(self) -> Fill | None:
        """What a null becomes; None if it may not be."""
        if self.fill is not None:
            return self.fill
        if self.vocabulary is not None or self.masked:
            return 0
        return float("nan") if np.issubdtype(self.dtype, np.floating) else None

    def raw(self, table: pa.Table) -> Raw:
        """Return the column's values, still as they are.

        Raises:
            SchemaError: the table has no such column, or it has another type.
            ValidationError: a null has no number to become.
        """
        raw = raw_column(self._column(table), self.length, self.vocabulary)
        if raw.valid is not None and self.filling is None:
            self._refuse_null(raw.valid)
        return raw

    def _column(self, table: pa.Table) -> pa.ChunkedArray:
        try:
            column = table.column(self.name)
        except KeyError:
            require_columns([self.name], table.column_names, "the table to encode")
            raise
        if column.type == self.type:
            return column
        plain = plain_type(column.type)
        if plain not in (self.type, pa.null()):
            raise SchemaError(
                f"column {self.name!r} is {plain}, but was fitted as {self.type}. Cast it, or fit the encoding again."
            )
        return column.cast(plain)

    def write(self, raw: Raw, moments: Raw | None, out: Array) -> None:
        """Write the numbers into `out`, of the raw values' shape and any numeric dtype.

        Args:
            raw: the column.
            moments: each row's moment, for an age; else None.
            out: where to write, shape as `raw`.
        """
        values, valid = raw.values, raw.valid
        if self.is_age:
            assert moments is not None
            values, valid = self._ages(raw, moments)
        if self.scale is not None:
            values = self.scale.applied(values)
        with np.errstate(over="ignore"):
            np.copyto(out, values, casting="unsafe")
            if valid is not None:
                np.copyto(out, np.asarray(self.filling).astype(out.dtype), where=~valid)

    def arrays(self, raw: Raw, moments: Raw | None) -> Iterator[tuple[str, Array]]:
        """Yield its own array, then its mask if it has one: fresh, under their names."""
        out = np.empty(raw.values.shape, self.dtype)
        self.write(raw, moments, out)
        yield self.name, out
        if self.masked:
            yield self.name + MASK, self.mask(raw)

    def mask(self, raw: Raw) -> Array:
        """Return which values are missing, bool, of the raw values' shape."""
        return np.zeros(raw.values.shape, bool) if raw.valid is None else ~raw.valid

    def _ages(self, raw: Raw, moments: Raw) -> tuple[Array, Array | None]:
        """Return the seconds from each time to its row's moment, float64."""
        by_row = (...,) if self.length is None else (..., None)
        times = raw.values.astype(np.int64) * (MICROS_A_DAY if pa.types.is_date(self.element) else 1)
        ages = (moments.values[by_row] - times) / MICROS_A_SECOND
        if moments.valid is None:
            return ages, raw.valid
        known = np.broadcast_to(moments.valid[by_row], ages.shape)
        return ages, known if raw.valid is None else known & raw.valid

    def _refuse_null(self, valid: Array) -> None:
        missing = np.flatnonzero(~valid.reshape(len(valid), -1).all(axis=1))
        if not len(missing):
            return
        raise ValidationError(
            f"column {self.name!r} is {self.type}, which has no NaN, and {len(missing)} rows hold a null "
            f"(the first is row {missing[0]}). Fit the encoding with fill={{{self.name!r}: 0}}, or with "
            f"mask=[{self.name!r}] to keep nulls apart."
        )


def take(raw: Raw | None, rows: Rows) -> Raw | None:
    """Return some of the rows of what may not be there."""
    return None if raw is None else raw.take(rows)
