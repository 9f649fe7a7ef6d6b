"""The label of a dataset: numbers that every row has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from fs_core.dtypes import is_supported, plain_type
from fs_core.encoding.column import ColumnEncoding
from fs_core.encoding.raw import Array, Raw, Rows
from fs_core.errors import SchemaError, ValidationError
from fs_core.selection import require_columns


@dataclass(frozen=True)
class Label:
    """How the label becomes a tensor, by the dtypes of `Encoding`; no null has a number to become.

    Attributes:
        part: its encoding.
    """

    part: ColumnEncoding

    @classmethod
    def of(cls, table: pa.Table, name: str, floats: np.dtype[Any]) -> Label:
        """Return the label that a column makes.

        Raises:
            SchemaError: there is no such column, or it holds no numbers.
        """
        require_columns([name], table.column_names, "the training set")
        dtype = plain_type(table.schema.field(name).type)
        length = dtype.list_size if pa.types.is_fixed_size_list(dtype) else None
        element = dtype if length is None else dtype.value_type
        if not is_supported(dtype) or not _is_number(element):
            raise SchemaError(
                f"label {name!r} is {dtype}, which is no number. Map it to one in the spine, such as a class's place."
            )
        return cls(ColumnEncoding(name, dtype, floats, length=length))

    @property
    def flat(self) -> tuple[tf.DType, tuple[int | None, ...]]:
        """Dtype and shape of the array."""
        return tf.as_dtype(self.part.dtype), (None, *self.part.shape)

    def bind(self, table: pa.Table) -> Raw:
        """Return the column as `array` takes it.

        Raises:
            SchemaError: the table has no such column, or it has another type.
            ValidationError: a row has no label.
        """
        require_columns([self.part.name], table.column_names, "the table")
        missing = table[self.part.name].null_count
        if missing:
            raise ValidationError(
                f"label {self.part.name!r}: {missing} of {table.num_rows} rows have none. Drop those rows from the "
                "spine before asking for their features."
            )
        return self.part.raw(table)

    def array(self, raw: Raw, rows: Rows) -> Array:
        """Return some rows of a bound column, shape [rows] or [rows, length]; fresh."""
        ((_, values),) = self.part.arrays(raw.take(rows), None)
        return values


def _is_number(dtype: pa.DataType) -> bool:
    number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    return bool(number or pa.types.is_boolean(dtype))
